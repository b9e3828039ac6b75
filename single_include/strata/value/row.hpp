// Generated from include/strata/value/row.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_ROW_HPP
#define STRATA_SINGLE_VALUE_ROW_HPP

#include <strata/strata.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// A row whose columns are known at run time only: it owns its values, and each is converted when it is asked for.
#ifndef STRATA_VALUE_ROW_HPP
#define STRATA_VALUE_ROW_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What the rows of one statement share.
struct row_layout {
    std::vector<std::string> names;
    std::vector<std::string> declared;
};

}  // namespace detail

/// One value of a `row`: a view, valid as long as the row is neither changed nor destroyed.
class row_value {
public:
    row_value(any_column_reader value, std::string_view name, std::string_view declared) noexcept
        : value_(value), name_(name), declared_(declared) {}

    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    /// The class of this value; `type()` of two rows may differ in SQLite.
    [[nodiscard]] column_type type() const noexcept { return value_.type(); }
    /// The type in the table's declaration; empty for expressions.
    [[nodiscard]] std::string_view declared_type() const noexcept { return declared_; }
    [[nodiscard]] bool is_null() const noexcept { return type() == column_type::null; }

    /// The value as a T, by `codec<T>`. Throws `failure` (`type_mismatch`, `out_of_range`, `null_value`).
    template <class T>
    [[nodiscard]] T as() const {
        T out{};
        if (error e = try_as(out)) throw_failure(std::move(e));
        return out;
    }
    /// The same without an exception: the error, or none and the value in `out`.
    template <class T>
    [[nodiscard]] error try_as(T& out) const {
        static_assert(detail::column_of<T, any_column_reader>, "strata: this type can be a parameter but not a column");
        const errc code = codec<T>::read(value_, out);
        if (code == errc::ok) return {};
        return detail::column_error(code, name_, codec<T>::name, type(), declared_, detail::hint_of<T>());
    }
    /// The value as it was read; models `column_reader`.
    [[nodiscard]] const any_column_reader& reader() const noexcept { return value_; }

private:
    any_column_reader value_;
    std::string_view name_;
    std::string_view declared_;
};

/// A row that owns its values. Wanted where a row type is: `db.all<strata::row>("select * from account"_sql)`. Columns are found by
/// name (an equal name, otherwise one that differs only in the case of ASCII letters) or number.
///
/// ```cpp
/// for (const strata::row& r : db.all<strata::row>(query)) {
///     auto owner = r["owner"].as<std::string>();
///     for (strata::row_value v : r) print(v.name(), v.type());
/// }
/// ```
///
/// Cost: two allocations a row with texts, one without; names are shared by the rows of a statement.
class row {
public:
    class iterator {
    public:
        using value_type = row_value;
        using difference_type = std::ptrdiff_t;
        using reference = row_value;
        using pointer = void;
        using iterator_category = std::input_iterator_tag;

        iterator() noexcept = default;
        iterator(const row& r, std::size_t i) noexcept : row_(&r), i_(i) {}
        [[nodiscard]] row_value operator*() const noexcept { return row_->value(i_); }
        iterator& operator++() noexcept {
            ++i_;
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator before = *this;
            ++i_;
            return before;
        }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return i_ == other.i_; }

    private:
        const row* row_ = nullptr;
        std::size_t i_ = 0;
    };
    using const_iterator = iterator;
    using value_type = row_value;

    /// A row without columns.
    row() = default;

    [[nodiscard]] std::size_t size() const noexcept { return cells_.size(); }
    [[nodiscard]] bool empty() const noexcept { return cells_.empty(); }
    [[nodiscard]] iterator begin() const noexcept { return {*this, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {*this, size()}; }
    /// What it takes of memory besides itself; the names are shared and do not count.
    [[nodiscard]] std::size_t heap_bytes() const noexcept { 
        const std::size_t text = bytes_.capacity();
        return cells_.capacity() * sizeof(cell) + (text > std::string{}.capacity() ? text : 0);
    }

    /// Column number `i`, from 0. Throws `failure` (`missing_column`) when there is none.
    [[nodiscard]] row_value operator[](std::size_t i) const {
        if (i >= size()) {
            const std::string number = "#" + std::to_string(i);
            throw_failure(detail::missing_column_error({number, "any type"}, names()));
        }
        return value(i);
    }
    /// The column of this name. Throws `failure`: `missing_column`, or `invalid_statement` when the name is not unique.
    [[nodiscard]] row_value operator[](std::string_view name) const {
        const std::vector<std::string_view> all = names();
        const int i = detail::find_column(name, all);
        if (i == detail::no_such_column) throw_failure(detail::missing_column_error({name, "any type"}, all));
        if (i == detail::ambiguous_column) throw_failure(detail::ambiguous_column_error(name, all));
        return value(static_cast<std::size_t>(i));
    }
    /// The column of this name, if there is exactly one.
    [[nodiscard]] std::optional<row_value> find(std::string_view name) const {
        const int i = detail::find_column(name, names());
        if (i < 0) return std::nullopt;
        return value(static_cast<std::size_t>(i));
    }

private:
    friend struct row_decoder<row>;

    struct cell {
        column_type type = column_type::null;
        std::size_t size = 0;
        union {
            std::int64_t integer = 0;
            double real;
            std::size_t offset;  // in bytes_
        };
    };

    [[nodiscard]] row_value value(std::size_t i) const noexcept { return {reader(cells_[i]), layout_->names[i], layout_->declared[i]}; }
    [[nodiscard]] any_column_reader reader(const cell& c) const noexcept {
        switch (c.type) {
        case column_type::boolean: return any_column_reader{c.integer != 0};
        case column_type::integer: return any_column_reader{c.integer};
        case column_type::real: return any_column_reader{c.real};
        case column_type::text: return any_column_reader{std::string_view{bytes_}.substr(c.offset, c.size)};
        case column_type::blob:
            return any_column_reader{std::as_bytes(std::span<const char>{bytes_.data() + c.offset, c.size})};
        case column_type::null: return {};
        case column_type::other: break;
        }
        return any_column_reader::unreadable();
    }
    [[nodiscard]] std::vector<std::string_view> names() const {
        if (layout_ == nullptr) return {};
        return {layout_->names.begin(), layout_->names.end()};
    }
    template <column_reader R>
    void append(const R& in) {
        cell c;
        c.type = in.type();
        switch (c.type) {
        case column_type::boolean: c.integer = in.boolean() ? 1 : 0; break;
        case column_type::integer: c.integer = in.integer(); break;
        case column_type::real: c.real = in.real(); break;
        case column_type::text: append_text(c, in.text()); break;
        case column_type::blob: {
            const std::span<const std::byte> bytes = in.blob();
            append_text(c, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
            break;
        }
        case column_type::null:
        case column_type::other: break;
        }
        cells_.push_back(c);
    }
    void append_text(cell& c, std::string_view text) {
        c.offset = bytes_.size();
        c.size = text.size();
        bytes_.append(text);
    }

    std::shared_ptr<const detail::row_layout> layout_;
    std::vector<cell> cells_;
    std::string bytes_;
};

template <>
struct row_decoder<row> {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::tag_of("row", {})); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        if (meta.size() == 0) return detail::no_columns_error();
        auto layout = std::make_shared<detail::row_layout>();
        for (int i = 0; i < meta.size(); ++i) {
            layout->names.emplace_back(meta.name(i));
            layout->declared.emplace_back(meta.declared_type(i));
        }
        p.reset(0);
        p.tag = tag();
        p.layout = std::move(layout);
        return {};
    }
    template <row_reader Row>
    [[nodiscard]] static bool decode(const Row& in, const row_plan& p, row& out, error&) {
        out.layout_ = std::static_pointer_cast<const detail::row_layout>(p.layout);
        out.cells_.clear();
        out.bytes_.clear();
        const int count = static_cast<int>(out.layout_->names.size());
        out.cells_.reserve(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) out.append(in.column(i));
        return true;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
