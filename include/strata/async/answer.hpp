// How an asynchronous call ends: an error, an exception of the user's, or a value; delivered in one of two forms.
#ifndef STRATA_ASYNC_ANSWER_HPP
#define STRATA_ASYNC_ANSWER_HPP

#include <strata/core/health.hpp>
#include <strata/core/result.hpp>
#include <strata/transaction/run.hpp>

#include <exception>
#include <optional>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What an exception says, as an error: for the forms that do not throw.
[[nodiscard]] STRATA_COLD inline error error_of_exception(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const failure& f) {
        return told_by_closure(f.error());
    } catch (const std::exception& e) {
        return {errc::user_exception, e.what(), phase::execute, effect::unknown};
    } catch (...) {
        return {errc::user_exception, "an exception that is no std::exception", phase::execute, effect::unknown};
    }
}

/// `async_x`: completes with `void(std::exception_ptr, T)`, or `void(std::exception_ptr)`.
template <class T>
struct throwing {
    using value = T;
    using signature = void(std::exception_ptr, T);
};
template <>
struct throwing<void> {
    using value = void;
    using signature = void(std::exception_ptr);
};

/// `async_try_x`: completes with `void(strata::result<T>)`; a `T` that is our result already is not wrapped once more.
template <class T>
struct trying {
    using value = T;
    using signature = void(typename as_result<T>::type);
};

template <class Form>
struct answer;

template <class T>
struct answer<throwing<T>> {
    error failed;
    std::exception_ptr thrown;
    std::optional<storable<T>> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        if (!thrown && failed) [[unlikely]]
            thrown = std::make_exception_ptr(failure(std::move(failed)));
        if constexpr (std::is_void_v<T>) {
            std::move(handler)(std::move(thrown));
        } else {
            static_assert(
                std::is_default_constructible_v<T>,
                "strata: Asio needs a value also when there is an error: the type of an asynchronous result must be default-constructible");
            if constexpr (!std::is_default_constructible_v<T>)
                return;  // was refused above
            else if (thrown || !value)
                std::move(handler)(std::move(thrown), T{});
            else
                std::move(handler)(std::exception_ptr{}, std::move(*value));
        }
    }
};

template <class T>
struct answer<trying<T>> {
    error failed;
    std::exception_ptr thrown;
    std::optional<storable<T>> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        using answered = typename as_result<T>::type;
        if (thrown) {
            error e = error_of_exception(thrown);
            if (failed) e.set(failed.effect());  // what became of it is known there
            std::move(handler)(answered{std::move(e)});
        } else if (failed)
            std::move(handler)(answered{std::move(failed)});
        else if constexpr (std::is_void_v<T>)
            std::move(handler)(answered{});
        else
            std::move(handler)(answered{std::move(*value)});
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
