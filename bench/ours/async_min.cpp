// compile.async: the smallest asynchronous program, doing what bench/raw/async_min.cpp does.
#include <strata/async.hpp>
#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

using namespace strata::literals;

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(account, (), (id, owner, balance, version));

int main(int argc, char** argv) {
    namespace asio = boost::asio;
    if (argc != 2) return 2;
    strata::database<strata::stack<strata::single, strata::sqlite>> db{strata::sqlite_options{.path = argv[1]}};
    asio::io_context io;
    bool found = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto async_db = db.async(io.get_executor());
            constexpr auto find = "select id, owner, balance, version from account where id = :id"_sql;
            const auto a = co_await async_db.async_maybe_one<account>(find("id"_arg = 7));
            found = a && a->owner == "owner-7";
        },
        [](std::exception_ptr) {});
    io.run();
    return found ? 0 : 1;
}
