// expect: strata: a transaction's handle must not leave its closure, with which the transaction ends
// needs: asio
#include <strata/async.hpp>

#include "transactions.hpp"

using face = strata::async_database<strata::stack<strata::single, strata::scripted>>;

boost::asio::awaitable<void> f(face& db) {
#ifdef STRATA_CONTROL
    static_cast<void>(co_await db.async_transaction([](auto& tx) -> boost::asio::awaitable<unsigned> { co_return tx.attempt(); }));
#else
    static_cast<void>(co_await db.async_transaction([](auto& tx) -> boost::asio::awaitable<decltype(&tx)> { co_return &tx; }));
#endif
}
