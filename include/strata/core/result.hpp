// `result<T>`: a value or an error, for the `try_` forms.
//
// Small on purpose: Boost.System's result does more, and its header alone costs a third of what a small program of strata
// takes to compile. An `error` knows by itself whether there is one, so no further discriminator is kept.
#ifndef STRATA_CORE_RESULT_HPP
#define STRATA_CORE_RESULT_HPP

#include <strata/core/error.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {
/// A number is made of numbers that it holds whatever they are: not of a wider one, nor a bool of a pointer.
template <class T, class U>
concept keeps_value = !std::is_arithmetic_v<T> || requires(U&& u) { T{std::forward<U>(u)}; };
}  // namespace detail

/// A value of `T`, or an `error`. Implicitly made from either, and by default from `T{}`. Distinct objects are independent.
///
///     result<account> r = db.try_one<account>(find("id"_arg = 7));
///     if (!r) return log(r.error());
///     use(r->owner);                    // `value()` throws `strata::failure` where there is an error
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;
    using error_type = strata::error;

    result() noexcept(std::is_nothrow_default_constructible_v<T>) requires std::default_initializable<T> : value_() {}
    template <class U = T>
        requires(std::is_constructible_v<T, U> && std::is_convertible_v<U, T> && detail::keeps_value<T, U> &&
                 !std::same_as<std::remove_cvref_t<U>, strata::error> && !std::same_as<std::remove_cvref_t<U>, result>)
    result(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) : value_(std::forward<U>(value)) {}
    /// An error without a condition (`errc::ok`) says nothing went wrong; there is no value, so it becomes `errc::unknown`.
    result(strata::error e) noexcept : error_(std::move(e)) {
        if (!error_) [[unlikely]]
            error_.set(errc::unknown);
    }
    result(const result& other) requires std::copy_constructible<T> : error_(other.error_) {
        if (!error_) std::construct_at(std::addressof(value_), other.value_);
    }
    /// A result that was moved from still is what it was: a value, moved from, or an error.
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : error_(std::move(other.error_)) {
        if (!error_) std::construct_at(std::addressof(value_), std::move(other.value_));
    }
    /// Should the move of a value throw, the result holds `errc::unknown`.
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        if (other.error_) return *this = std::move(other.error_);
        *this = strata::error{errc::unknown};
        std::construct_at(std::addressof(value_), std::move(other.value_));
        error_ = {};
        return *this;
    }
    result& operator=(strata::error e) noexcept {
        if (!error_) std::destroy_at(std::addressof(value_));
        error_ = std::move(e);
        if (!error_) [[unlikely]]
            error_.set(errc::unknown);
        return *this;
    }
    ~result() {
        if (!error_) std::destroy_at(std::addressof(value_));
    }

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    [[nodiscard]] bool has_error() const noexcept { return static_cast<bool>(error_); }
    [[nodiscard]] explicit operator bool() const noexcept { return !error_; }

    /// The value; throws `failure` with the error where there is none.
    [[nodiscard]] T& value() & {
        throw_error();
        return value_;
    }
    [[nodiscard]] const T& value() const& {
        throw_error();
        return value_;
    }
    [[nodiscard]] T&& value() && {
        throw_error();
        return std::move(value_);
    }
    template <class U>
    [[nodiscard]] T value_or(U&& otherwise) const& {
        return error_ ? static_cast<T>(std::forward<U>(otherwise)) : value_;
    }
    template <class U>
    [[nodiscard]] T value_or(U&& otherwise) && {
        return error_ ? static_cast<T>(std::forward<U>(otherwise)) : std::move(value_);
    }

    /// The value, unchecked: call only where there is one.
    [[nodiscard]] T& operator*() & noexcept { return value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return value_; }
    [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
    [[nodiscard]] T* operator->() noexcept { return std::addressof(value_); }
    [[nodiscard]] const T* operator->() const noexcept { return std::addressof(value_); }

    /// The error; one that is false where there is a value.
    [[nodiscard]] const strata::error& error() const& noexcept { return error_; }
    [[nodiscard]] strata::error error() && noexcept { return std::move(error_); }

private:
    void throw_error() const {
        if (error_) [[unlikely]]
            throw_failure(error_);
    }

    union {
        T value_;
    };
    strata::error error_;
};

/// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;
    using error_type = strata::error;

    result() noexcept = default;
    result(strata::error e) noexcept : error_(std::move(e)) {
        if (!error_) [[unlikely]]
            error_.set(errc::unknown);
    }

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    [[nodiscard]] bool has_error() const noexcept { return static_cast<bool>(error_); }
    [[nodiscard]] explicit operator bool() const noexcept { return !error_; }
    void value() const {
        if (error_) [[unlikely]]
            throw_failure(error_);
    }
    [[nodiscard]] const strata::error& error() const& noexcept { return error_; }
    [[nodiscard]] strata::error error() && noexcept { return std::move(error_); }

private:
    strata::error error_;
};

}  // namespace strata::inline STRATA_ABI

#endif
