// A row whose driver is not known: one virtual call a column.
#ifndef STRATA_VALUE_ANY_ROW_HPP
#define STRATA_VALUE_ANY_ROW_HPP

#include <strata/value/concepts.hpp>

namespace strata::inline STRATA_ABI {

/// One value of any row; models `column_reader`. A small value itself, so that reading it costs no further virtual calls;
/// its text or blob is a view with the lifetime of the row that it comes from.
class any_column_reader {
public:
    /// NULL.
    any_column_reader() noexcept = default;
    explicit any_column_reader(bool value) noexcept : type_(column_type::boolean), integer_(value ? 1 : 0) {}
    explicit any_column_reader(std::int64_t value) noexcept : type_(column_type::integer), integer_(value) {}
    explicit any_column_reader(double value) noexcept : type_(column_type::real), real_(value) {}
    explicit any_column_reader(std::string_view value) noexcept
        : type_(column_type::text), size_(value.size()), bytes_(value.data()) {}
    explicit any_column_reader(std::span<const std::byte> value) noexcept
        : type_(column_type::blob), size_(value.size()), bytes_(value.data()) {}
    /// From another model.
    template <column_reader R>
    [[nodiscard]] static any_column_reader of(const R& in) {
        switch (in.type()) {
        case column_type::boolean: return any_column_reader{in.boolean()};
        case column_type::integer: return any_column_reader{in.integer()};
        case column_type::real: return any_column_reader{in.real()};
        case column_type::text: return any_column_reader{in.text()};
        case column_type::blob: return any_column_reader{in.blob()};
        case column_type::null: return any_column_reader{};
        case column_type::other: break;
        }
        return unreadable();
    }
    /// A value of `column_type::other`, which no getter reads.
    [[nodiscard]] static any_column_reader unreadable() noexcept {
        any_column_reader value;
        value.type_ = column_type::other;
        return value;
    }

    [[nodiscard]] column_type type() const noexcept { return type_; }
    [[nodiscard]] bool boolean() const noexcept { return integer_ != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }
    [[nodiscard]] double real() const noexcept { return real_; }
    [[nodiscard]] std::string_view text() const noexcept { return {static_cast<const char*>(bytes_), size_}; }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return {static_cast<const std::byte*>(bytes_), size_}; }

private:
    column_type type_ = column_type::null;
    std::size_t size_ = 0;
    union {
        std::int64_t integer_ = 0;
        double real_;
        const void* bytes_;
    };
};

/// The current row; models `row_reader`.
class any_row {
public:
    [[nodiscard]] virtual int size() const = 0;
    [[nodiscard]] virtual std::string_view name(int i) const = 0;
    [[nodiscard]] virtual std::string_view declared_type(int i) const = 0;
    [[nodiscard]] virtual any_column_reader column(int i) const = 0;
    /// The class of all values of a column; `null` where values, not columns, have types.
    [[nodiscard]] virtual column_type static_type(int) const { return column_type::null; }

protected:
    any_row() = default;
    any_row(const any_row&) = default;
    any_row& operator=(const any_row&) = default;
    ~any_row() = default;
};

/// A driver's row as `any_row`. Refers to it.
template <row_reader Row>
class erased_row final : public any_row {
public:
    explicit erased_row(const Row& row) noexcept : row_(row) {}

    [[nodiscard]] int size() const override { return row_.size(); }
    [[nodiscard]] std::string_view name(int i) const override { return row_.name(i); }
    [[nodiscard]] std::string_view declared_type(int i) const override { return row_.declared_type(i); }
    [[nodiscard]] any_column_reader column(int i) const override { return any_column_reader::of(row_.column(i)); }
    [[nodiscard]] column_type static_type(int i) const override {
        if constexpr (requires { row_.static_type(i); })
            return row_.static_type(i);
        else
            return column_type::null;
    }

private:
    const Row& row_;
};

}  // namespace strata::inline STRATA_ABI

#endif
