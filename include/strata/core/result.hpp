// `result<T>`: a value or an error, for the `try_` forms.
//
// Small on purpose: Boost.System's result does more, and its header alone costs a third of what a small program of strata
// takes to compile. An `error` knows by itself whether there is one, so no further discriminator is kept.
#ifndef STRATA_CORE_RESULT_HPP
#define STRATA_CORE_RESULT_HPP

#include <strata/core/outcome.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

template <class Self>
class calls;

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
    result(strata::error e) noexcept : outcome_(std::move(e)) {
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
    }
    result(const result& other) requires std::copy_constructible<T> : outcome_(other.outcome_) {
        if (outcome_.ok()) std::construct_at(std::addressof(value_), other.value_);
    }
    /// A result that was moved from still is what it was: a value, moved from, or an error.
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : outcome_(std::move(other.outcome_)) {
        if (outcome_.ok()) std::construct_at(std::addressof(value_), std::move(other.value_));
    }
    /// Should the move of a value throw, the result holds `errc::unknown`.
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        if (other.has_error()) return *this = std::move(other.outcome_.error());
        *this = strata::error{errc::unknown};
        std::construct_at(std::addressof(value_), std::move(other.value_));
        outcome_.clear();
        return *this;
    }
    result& operator=(strata::error e) noexcept {
        if (outcome_.ok()) std::destroy_at(std::addressof(value_));
        outcome_.replace(std::move(e));
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
        return *this;
    }
    ~result() {
        if (outcome_.ok()) std::destroy_at(std::addressof(value_));
    }

    [[nodiscard]] bool has_value() const noexcept { return outcome_.ok(); }
    [[nodiscard]] bool has_error() const noexcept { return !outcome_.ok(); }
    [[nodiscard]] explicit operator bool() const noexcept { return outcome_.ok(); }

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
        return !outcome_.ok() ? static_cast<T>(std::forward<U>(otherwise)) : value_;
    }
    template <class U>
    [[nodiscard]] T value_or(U&& otherwise) && {
        return !outcome_.ok() ? static_cast<T>(std::forward<U>(otherwise)) : std::move(value_);
    }

    /// The value, unchecked: call only where there is one.
    [[nodiscard]] T& operator*() & noexcept { return value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return value_; }
    [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
    [[nodiscard]] T* operator->() noexcept { return std::addressof(value_); }
    [[nodiscard]] const T* operator->() const noexcept { return std::addressof(value_); }

    /// The error; one that is false where there is a value.
    [[nodiscard]] const strata::error& error() const& noexcept { return outcome_.error(); }
    [[nodiscard]] strata::error error() && noexcept { return std::move(outcome_.error()); }

private:
    template <class Self>
    friend class calls;

    /// For `calls`: a call writes its outcome here while the value lives, and `settle` ends the value if there is none.
    [[nodiscard]] outcome& slot() noexcept { return outcome_; }
    void settle() noexcept {
        if (!outcome_.ok()) [[unlikely]]
            std::destroy_at(std::addressof(value_));
    }
    void throw_error() const {
        if (!outcome_.ok()) [[unlikely]]
            throw_failure(outcome_.error());
    }

    union {
        T value_;
    };
    outcome outcome_;
};

/// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;
    using error_type = strata::error;

    result() noexcept = default;
    result(strata::error e) noexcept : outcome_(std::move(e)) {
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
    }

    [[nodiscard]] bool has_value() const noexcept { return outcome_.ok(); }
    [[nodiscard]] bool has_error() const noexcept { return !outcome_.ok(); }
    [[nodiscard]] explicit operator bool() const noexcept { return outcome_.ok(); }
    void value() const {
        if (!outcome_.ok()) [[unlikely]]
            throw_failure(outcome_.error());
    }
    [[nodiscard]] const strata::error& error() const& noexcept { return outcome_.error(); }
    [[nodiscard]] strata::error error() && noexcept { return std::move(outcome_.error()); }

private:
    outcome outcome_;
};

}  // namespace strata::inline STRATA_ABI

#endif
