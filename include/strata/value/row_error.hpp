// Errors of rows that do not fit their type, and the search for columns by name: cold, and free of templates.
#ifndef STRATA_VALUE_ROW_ERROR_HPP
#define STRATA_VALUE_ROW_ERROR_HPP

#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>
#include <strata/value/column.hpp>
#include <strata/value/row_plan.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// A column that a row type needs.
struct wanted_column {
    std::string_view name;
    std::string_view type;  ///< the codec's name
    column_classes takes = {};
    std::string_view hint = {};
};

/// Why a value could not be read. Tells classes, never the value.
[[nodiscard]] STRATA_COLD inline error column_error(errc code, std::string_view column, std::string_view wanted, column_type found,
                                                    std::string_view declared, std::string_view hint) {
    std::string message = "column \"";
    message.append(column).append("\"");
    if (code == errc::null_value) {
        message.append(" is NULL, wanted ").append(wanted);
        if (hint.empty()) hint = "read a column that may be NULL as std::optional";
    } else if (code == errc::type_mismatch) {
        const bool own = found == column_type::other && !declared.empty();  // the class says nothing
        message.append(": wanted ").append(wanted).append(", found ").append(own ? declared : to_string(found));
        if (own) declared = {};
        if (found == column_type::text && wanted != "blob" && !hint.empty()) message.append(" in another form");
    } else if (code == errc::out_of_range) {
        message.append(": the ").append(to_string(found)).append(" found does not fit ").append(wanted);
    } else {
        message.append(": ").append(to_string(found)).append(" cannot be read as ").append(wanted);
    }
    if (!declared.empty()) message.append(" (the column is declared ").append(declared).append(")");
    error e{code, std::move(message), phase::result};
    e.edit_texts().column = column;
    e.edit_texts().hint = hint;
    return e;
}

[[nodiscard]] inline std::string listed(std::span<const std::string_view> names) {
    std::string list;
    for (const std::string_view n : names) list.append(list.empty() ? "" : ", ").append(n);
    return list;
}

[[nodiscard]] inline error no_columns_error() {
    error e{errc::missing_column, "the statement returns no columns, but rows are wanted", phase::result};
    e.edit_texts().hint = "a statement that writes returns rows only by RETURNING; without rows call execute";
    return e;
}

[[nodiscard]] STRATA_COLD inline error missing_column_error(const wanted_column& wanted, std::span<const std::string_view> names) {
    std::string message = "the statement returns no column \"";
    message.append(wanted.name).append("\" (wanted ").append(wanted.type).append("); it returns ").append(listed(names));
    error e{errc::missing_column, std::move(message), phase::result};
    e.edit_texts().column = wanted.name;
    return e;
}

[[nodiscard]] STRATA_COLD inline error ambiguous_column_error(std::string_view wanted, std::span<const std::string_view> names) {
    std::string message = "more than one column is named \"";
    message.append(wanted).append("\"; the statement returns ").append(listed(names));
    error e{errc::invalid_statement, std::move(message), phase::result};
    e.edit_texts().column = wanted;
    e.edit_texts().hint = "give each a name of its own by AS";
    return e;
}

[[nodiscard]] STRATA_COLD inline error column_count_error(std::size_t found, std::span<const wanted_column> wanted) {
    if (found == 0) return no_columns_error();
    std::string message = joined({"wanted ", digits_of(wanted.size()), wanted.size() == 1 ? " column (" : " columns ("});
    for (const wanted_column& w : wanted) message.append(&w == wanted.data() ? "" : ", ").append(w.type);
    message.append("), the statement returns ").append(digits_of(found));
    return error{found < wanted.size() ? errc::missing_column : errc::type_mismatch, std::move(message), phase::result};
}

[[nodiscard]] constexpr char ascii_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

[[nodiscard]] constexpr bool same_name_ignoring_case(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
    return true;
}

inline constexpr int no_such_column = -1;
inline constexpr int ambiguous_column = -2;

/// The column of this name: the one that is equal, otherwise the one that is equal when ASCII letters' case is ignored.
[[nodiscard]] constexpr int find_column(std::string_view name, std::span<const std::string_view> names) noexcept {
    int equal = no_such_column;
    int similar = no_such_column;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) equal = equal == no_such_column ? static_cast<int>(i) : ambiguous_column;
        if (same_name_ignoring_case(names[i], name)) similar = similar == no_such_column ? static_cast<int>(i) : ambiguous_column;
    }
    return equal != no_such_column ? equal : similar;
}

/// Finds each wanted column among those of the statement. Columns that nobody wants are left alone.
[[nodiscard]] STRATA_COLD inline error plan_by_name(std::span<const std::string_view> names, std::span<const wanted_column> wanted,
                                                    row_plan& p) {
    if (names.empty()) return no_columns_error();
    p.reset(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const int column = find_column(wanted[i].name, names);
        if (column == no_such_column) return missing_column_error(wanted[i], names);
        if (column == ambiguous_column) return ambiguous_column_error(wanted[i].name, names);
        p.set(i, column);
    }
    return {};
}

/// Why an argument could not be written; `number` counts from 1, `name` may be empty.
[[nodiscard]] STRATA_COLD inline error argument_error(errc code, std::size_t number, std::string_view name, std::string_view type) {
    std::string message = joined({"argument ", digits_of(number)});
    if (!name.empty()) message.append(" (").append(name).append(")");
    message.append(" of type ").append(type);
    message.append(code == errc::out_of_range ? " is out of the database's range" : " cannot be a parameter: ");
    if (code != errc::out_of_range) message.append(to_string(code));
    return error{code, std::move(message), phase::execute};
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
