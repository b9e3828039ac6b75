// The base of compile.async: the smallest asynchronous SQLite program by hand, with the few Asio headers that it
// needs. The statement runs on a thread that may block; the coroutine waits for it on its own executor.
#include <sqlite3.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace asio = boost::asio;

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::int64_t version = 0;
};

std::optional<account> find(sqlite3* db, std::int64_t id) {
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v2(db, "select id, owner, balance, version from account where id = ?1", -1, &s, nullptr) != SQLITE_OK) return {};
    sqlite3_bind_int64(s, 1, id);
    std::optional<account> found;
    if (sqlite3_step(s) == SQLITE_ROW) {
        found.emplace();
        found->id = sqlite3_column_int64(s, 0);
        found->owner = reinterpret_cast<const char*>(sqlite3_column_text(s, 1));
        found->balance = sqlite3_column_int64(s, 2);
        found->version = sqlite3_column_int64(s, 3);
    }
    sqlite3_finalize(s);
    return found;
}

asio::awaitable<std::optional<account>> async_find(asio::thread_pool& work, sqlite3* db, std::int64_t id) {
    co_await asio::post(asio::bind_executor(work, asio::use_awaitable));
    std::optional<account> found = find(db, id);
    co_await asio::post(asio::use_awaitable);
    co_return found;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    sqlite3* db = nullptr;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK) return 1;
    asio::io_context io;
    asio::thread_pool work{1};
    bool found = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const std::optional<account> a = co_await async_find(work, db, 7);
            found = a && a->owner == "owner-7";
        },
        [](std::exception_ptr) {});
    io.run();
    work.join();
    sqlite3_close(db);
    return found ? 0 : 1;
}
