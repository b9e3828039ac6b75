// The try-forms of what is a coroutine itself: an awaitable's failure as a result.
#ifndef STRATA_ASYNC_CAUGHT_HPP
#define STRATA_ASYNC_CAUGHT_HPP

#include <strata/transaction/closure.hpp>

#include <boost/asio/awaitable.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What an awaitable ends with, as a result; exceptions that are not ours are still thrown.
template <class T>
boost::asio::awaitable<typename as_result<T>::type> caught(boost::asio::awaitable<T> call) {
    typename as_result<T>::type r;
    try {
        if constexpr (std::is_void_v<T>)
            co_await std::move(call);
        else
            r = co_await std::move(call);
    } catch (const failure& f) {
        r = f.error();
    }
    co_return r;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
