// Values of the scripted driver: what a script answers, and what a statement was called with.
#ifndef STRATA_TESTING_SCRIPTED_VALUE_HPP
#define STRATA_TESTING_SCRIPTED_VALUE_HPP

#include <strata/value/codec.hpp>

#include <string>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

class scripted_value;

namespace detail {

/// Takes down arguments; models `parameter_writer`.
class scripted_writer {
public:
    explicit scripted_writer(std::vector<scripted_value>& out) noexcept : out_(out) {}
    inline void null();
    inline void boolean(bool v);
    inline void integer(std::int64_t v);
    inline void real(double v);
    inline void text(std::string_view v);
    void text_copy(std::string_view v) { text(v); }
    inline void blob(std::span<const std::byte> v);
    void blob_copy(std::span<const std::byte> v) { blob(v); }

private:
    inline scripted_value& add(column_type type);

    std::vector<scripted_value>& out_;
};

}  // namespace detail

/// One value as databases have them: null, boolean, integer, real, text or blob. Made from whatever has a codec.
class scripted_value {
public:
    scripted_value() noexcept = default;
    scripted_value(std::nullptr_t) noexcept {}                                    // NOLINT: {7, "ada", nullptr} is a row
    scripted_value(const char* text) : type_(column_type::text), bytes_(text) {}  // NOLINT
    /// Throws `failure` for what its codec does not write.
    template <class T>
        requires(!std::is_same_v<T, scripted_value> && has_codec<T>)
    scripted_value(const T& value) {  // NOLINT
        std::vector<scripted_value> written;
        detail::scripted_writer out{written};
        const errc e = codec<T>::write(out, value);
        if (e != errc::ok || written.size() != 1) {
            throw_failure(error{e != errc::ok ? e : errc::misuse, "a value of type " + std::string(codec<T>::name) + " cannot be scripted",
                                phase::prepare});
        }
        *this = std::move(written.front());
    }

    [[nodiscard]] column_type type() const noexcept { return type_; }
    [[nodiscard]] bool operator==(const scripted_value&) const = default;

    // For codecs; each only when `type()` says so.
    [[nodiscard]] bool boolean() const noexcept { return integer_ != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }
    [[nodiscard]] double real() const noexcept { return real_; }
    [[nodiscard]] std::string_view text() const noexcept { return bytes_; }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return std::as_bytes(std::span<const char>(bytes_)); }

    /// `null`, `true`, `7`, `0.5`, `'ada'`, `x'00ff'`.
    [[nodiscard]] std::string to_string() const {
        switch (type()) {
            case column_type::boolean:
                return boolean() ? "true" : "false";
            case column_type::integer:
                return std::to_string(integer());
            case column_type::real: {
                std::string s = std::to_string(real());
                s.erase(s.find_last_not_of('0') + 1);
                return s.back() == '.' ? s + '0' : s;
            }
            case column_type::text:
                return "'" + std::string(text()) + "'";
            case column_type::blob: {
                std::string s = "x'";
                for (const std::byte b : blob()) {
                    s += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
                    s += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
                }
                return s + "'";
            }
            default:
                return "null";
        }
    }

private:
    friend class detail::scripted_writer;

    column_type type_ = column_type::null;
    std::int64_t integer_ = 0;  // 0 or 1 for a boolean
    double real_ = 0;
    std::string bytes_;  // text or blob
};

using scripted_rows = std::vector<std::vector<scripted_value>>;

namespace detail {

inline scripted_value& scripted_writer::add(column_type type) {
    scripted_value& v = out_.emplace_back();
    v.type_ = type;
    return v;
}
inline void scripted_writer::null() {
    add(column_type::null);
}
inline void scripted_writer::boolean(bool v) {
    add(column_type::boolean).integer_ = v ? 1 : 0;
}
inline void scripted_writer::integer(std::int64_t v) {
    add(column_type::integer).integer_ = v;
}
inline void scripted_writer::real(double v) {
    add(column_type::real).real_ = v;
}
inline void scripted_writer::text(std::string_view v) {
    add(column_type::text).bytes_ = v;
}
inline void scripted_writer::blob(std::span<const std::byte> v) {
    add(column_type::blob).bytes_.assign(reinterpret_cast<const char*>(v.data()), v.size());
}

/// A value of an answer; models `column_reader`.
class scripted_column {
public:
    explicit scripted_column(const scripted_value& v) noexcept : value_(&v) {}
    [[nodiscard]] column_type type() const noexcept { return value_->type(); }
    [[nodiscard]] bool boolean() const noexcept { return value_->boolean(); }
    [[nodiscard]] std::int64_t integer() const noexcept { return value_->integer(); }
    [[nodiscard]] double real() const noexcept { return value_->real(); }
    [[nodiscard]] std::string_view text() const noexcept { return value_->text(); }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return value_->blob(); }

private:
    const scripted_value* value_;
};

/// A row of an answer; models `row_reader`. Columns without names are called by their numbers.
class scripted_row {
public:
    /// `row` is null where only the columns are asked for.
    scripted_row(const std::vector<std::string>& names, const std::vector<scripted_value>* row) noexcept : names_(names), row_(row) {}

    [[nodiscard]] int size() const noexcept { return static_cast<int>(names_.size()); }
    [[nodiscard]] std::string_view name(int i) const noexcept { return names_[static_cast<std::size_t>(i)]; }
    [[nodiscard]] std::string_view declared_type(int) const noexcept { return {}; }
    [[nodiscard]] scripted_column column(int i) const noexcept { return scripted_column{(*row_)[static_cast<std::size_t>(i)]}; }

private:
    const std::vector<std::string>& names_;
    const std::vector<scripted_value>* row_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
