// Rows of any range into a table by COPY, in the types that the server says its columns have.
#ifndef STRATA_DRIVER_POSTGRES_COPY_IN_HPP
#define STRATA_DRIVER_POSTGRES_COPY_IN_HPP

#include <strata/core/operation.hpp>
#include <strata/driver/postgres/copy.hpp>
#include <strata/driver/postgres/copy_writer.hpp>
#include <strata/value/row_decoder.hpp>

#include <array>
#include <iterator>
#include <optional>
#include <tuple>
#include <type_traits>

namespace strata::inline STRATA_ABI {
namespace detail {

/// The names quoted, with commas; false with the error set when one is none.
[[nodiscard]] inline bool quote_all(std::span<const std::string> names, std::string& out, error& e) {
    for (const std::string& n : names) {
        const identifier name{n};
        if (!name.valid()) {
            e = error{errc::invalid_argument, "a column's name is empty or holds a NUL character", phase::prepare};
            return false;
        }
        out.append(out.empty() ? "" : ", ").append(name.quoted());
    }
    return true;
}

/// `select COLUMNS from TABLE`; no columns: all.
[[nodiscard]] inline error select_of(const copy_table& table, std::span<const std::string> columns, std::string& out) {
    if (!table.name().valid()) return error{errc::invalid_argument, "the table's name is empty or holds a NUL character", phase::prepare};
    std::string list;
    error e;
    if (!quote_all(columns, list, e)) return e;
    out = joined({"select ", list.empty() ? std::string_view{"*"} : std::string_view{list}, " from ", table.name().quoted()});
    return {};
}

/// Adds the number of the row.
STRATA_COLD inline error in_row(error e, std::int64_t row) {
    std::string& detail = e.edit_texts().detail;
    detail.append(detail.empty() ? "" : "; ").append(joined({"row ", digits_of(row), " of the copy, counted from 0"}));
    return e;
}

/// The values of a row: `each(row, f)` calls `f(index, value)` until that answers false.
template <class Row>
struct row_values {
    static constexpr std::size_t count = 1;
    using types = std::tuple<Row>;
    template <class F>
    static bool each(const Row& row, F&& f) {
        return f(std::size_t{0}, row);
    }
};
template <struct_row Row>
struct row_values<Row> {
    static constexpr std::size_t count = member_count<Row>;
    template <class F>
    static bool each(const Row& row, F&& f) {
        return [&]<class... M, std::size_t... I>(member_list<M...>, std::index_sequence<I...>) { return (f(I, M::get(row)) && ...); }(
                   members<Row>{}, std::make_index_sequence<count>{});
    }
    template <class List>
    struct types_of;
    template <class... M>
    struct types_of<member_list<M...>> {
        using type = std::tuple<member_type<M, Row>...>;
    };
    using types = typename types_of<members<Row>>::type;
};
template <class... E>
struct row_values<std::tuple<E...>> {
    static constexpr std::size_t count = sizeof...(E);
    using types = std::tuple<std::remove_cvref_t<E>...>;
    template <class F>
    static bool each(const std::tuple<E...>& row, F&& f) {
        return
            [&]<std::size_t... I>(std::index_sequence<I...>) { return (f(I, std::get<I>(row)) && ...); }(std::make_index_sequence<count>{});
    }
};
template <class A, class B>
struct row_values<std::pair<A, B>> {
    static constexpr std::size_t count = 2;
    using types = std::tuple<std::remove_cvref_t<A>, std::remove_cvref_t<B>>;
    template <class F>
    static bool each(const std::pair<A, B>& row, F&& f) {
        return f(std::size_t{0}, row.first) && f(std::size_t{1}, row.second);
    }
};

/// A value of the type, to see in which form it is written; of an optional, one that is there.
template <class T>
struct sample {
    static constexpr bool there = std::is_default_constructible_v<T>;
    static T make() { return T{}; }
};
template <class T>
struct sample<std::optional<T>> : sample<T> {};
template <class T>
struct sample<std::vector<T>> {
    static constexpr bool there = sample<T>::there;
    static std::vector<T> make() {
        std::vector<T> one;
        one.push_back(sample<T>::make());
        return one;
    }
};

/// What needs no templates: which columns there are, and what is said of a value that cannot be written.
class postgres_copy_in_base {
public:
    [[nodiscard]] const copied& done() const noexcept { return done_; }

protected:
    postgres_copy_in_base(const copy_table& table, const copy_options& o) noexcept : table_(table), options_(o) {}

    /// Which members go in, and where; `names` are those of a struct's columns, none for a tuple.
    [[nodiscard]] error choose(std::span<const std::string_view> names, std::span<bool> wanted) {
        columns_ = table_.columns();
        for (bool& w : wanted) w = names.empty() || columns_.empty();
        if (names.empty()) return {};
        std::vector<std::string> chosen;
        for (const std::string& c : columns_) {
            std::size_t i = 0;
            while (i < names.size() && names[i] != c) ++i;
            if (i == names.size() || wanted[i])
                return error{i == names.size() ? errc::missing_column : errc::invalid_argument,
                             joined({i == names.size() ? "no member of the rows' type has the column \"" : "twice the column \"", c, "\""}),
                             phase::prepare};
            wanted[i] = true;
        }
        for (std::size_t i = 0; i < names.size(); ++i)
            if (wanted[i]) chosen.emplace_back(names[i]);
        columns_ = std::move(chosen);
        return {};
    }
    [[nodiscard]] error describe(postgres_copy& k, std::size_t values) {
        std::string select;
        if (error e = select_of(table_, columns_, select)) return e;
        if (error e = k.describe(select)) return e;
        const auto found = static_cast<std::size_t>(::PQnfields(k.columns()));
        if (found != values)
            return error{errc::invalid_argument,
                         joined({"a row has ", digits_of(values), " values for ", digits_of(found), " columns: name the columns"}),
                         phase::prepare};
        columns_.clear();
        types_.clear();
        for (int i = 0; i < static_cast<int>(found); ++i) {
            columns_.emplace_back(::PQfname(k.columns(), i));
            types_.push_back(::PQftype(k.columns(), i));
        }
        return {};
    }
    [[nodiscard]] error start(postgres_copy& k, copy_format format) {
        std::string list;
        error e;
        if (!quote_all(columns_, list, e)) return e;
        constexpr std::string_view names[] = {"text", "binary", "text", "csv"};
        return k.start(
            joined({"copy ", table_.name().quoted(), " (", list, ") from stdin (format ", names[static_cast<std::size_t>(format)], ")"}),
            PGRES_COPY_IN);
    }
    [[nodiscard]] STRATA_COLD error refused(std::size_t column, errc why, std::string_view type, const postgres_copy_writer& w) const {
        const std::string_view server = w.catalogue().name(types_[column]);
        std::string message = joined({"column \"", columns_[column], "\": "});
        if (w.wants_text()) {
            message.append("no binary form is known for a value of this type");
        } else {
            message.append("a value of type ").append(type);
            message.append(why == errc::out_of_range ? " is out of the column's range" : " cannot be written: ");
            if (why != errc::out_of_range) message.append(to_string(why));
        }
        error e{why, std::move(message), phase::execute};
        error_texts& t = e.edit_texts();
        t.column = columns_[column];
        if (!server.empty()) t.detail = joined({"the column's type is ", server});
        if (w.wants_text()) t.hint = "use copy_format::text";
        return e;
    }
    [[nodiscard]] error flush(postgres_copy& k, postgres_copy_writer& w) {
        error e = k.put(w.data(), w.size());
        if (e) return e;
        done_.bytes += static_cast<std::int64_t>(w.size());
        w.clear();
        options_.progress(done_);
        return {};
    }
    [[nodiscard]] error finish(postgres_copy& k, postgres_copy_writer& w) {
        w.end();
        if (error e = k.put(w.data(), w.size())) return e;
        done_.bytes += static_cast<std::int64_t>(w.size());
        if (error e = k.finish(done_.rows)) return e;
        options_.progress(done_);
        return {};
    }

    const copy_table& table_;
    const copy_options& options_;
    std::vector<std::string> columns_;
    std::vector<::Oid> types_;
    copied done_;
};

template <class Rows>
class postgres_copy_in : public postgres_copy_in_base {
    using row = std::remove_cvref_t<decltype(*std::begin(std::declval<Rows&>()))>;
    using values = row_values<row>;

public:
    /// A range that can be read only once is never begun again.
    static constexpr bool once = !std::forward_iterator<decltype(std::begin(std::declval<Rows&>()))>;

    postgres_copy_in(const copy_table& table, Rows& rows, const copy_options& o) noexcept : postgres_copy_in_base(table, o), rows_(rows) {}

    /// Within a transaction of the caller's, which rolls back when it fails.
    [[nodiscard]] error run(postgres_connection& c, operation_base&) {
        done_ = {};
        postgres_copy k{c};
        std::array<bool, values::count> wanted{};
        if constexpr (struct_row<row>) {
            if (error e = choose(column_names<row>, wanted)) return e;
        } else if (error e = choose({}, wanted)) {
            return e;
        }
        std::size_t used = 0;
        for (const bool w : wanted) used += w ? 1u : 0u;
        if (error e = describe(k, used)) return e;
        const copy_format format = chosen_format(wanted, k.reading().types);
        if (error e = start(k, format)) return e;
        postgres_copy_writer w{types_, k.reading().types, format, options_.buffer + options_.buffer / 8};
        w.begin();
        for (auto&& r : rows_) {
            w.begin_row();
            if (error e; !write(w, r, wanted, e)) return in_row(std::move(e), done_.rows);
            w.end_row();
            ++done_.rows;
            if (w.size() >= options_.buffer || done_.rows % 4096 == 0) [[unlikely]]
                if (error e = flush(k, w)) return e;
        }
        return finish(k, w);
    }

private:
    [[nodiscard]] STRATA_INLINE bool write(postgres_copy_writer& w, const row& r, const std::array<bool, values::count>& wanted, error& e) {
        std::size_t column = 0;
        return values::each(r, [&](std::size_t i, const auto& value) {
            if (!wanted[i]) return true;
            const errc why = w.field(value);
            if (why != errc::ok) [[unlikely]] {
                e = refused(column, why, codec<std::remove_cvref_t<decltype(value)>>::name, w);
                return false;
            }
            ++column;
            return true;
        });
    }
    /// Binary, unless a type among the values is one that the writer gives as text.
    [[nodiscard]] copy_format chosen_format(const std::array<bool, values::count>& wanted, const type_catalogue& catalogue) const {
        if (options_.format != copy_format::automatic) return options_.format;
        std::size_t column = 0;
        bool binary = true;
        const auto look = [&]<class T>(std::type_identity<T>) {
            if constexpr (sample<T>::there) {
                postgres_copy_writer w{std::span{types_}.subspan(column, 1), catalogue, copy_format::binary, 0};
                static_cast<void>(w.field(sample<T>::make()));
                binary = binary && !w.wants_text();
            }
            ++column;
        };
        [&]<class... T, std::size_t... I>(std::type_identity<std::tuple<T...>>, std::index_sequence<I...>) {
            ((wanted[I] ? look(std::type_identity<T>{}) : void()), ...);
        }(std::type_identity<typename values::types>{}, std::make_index_sequence<values::count>{});
        return binary ? copy_format::binary : copy_format::text;
    }

    Rows& rows_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
