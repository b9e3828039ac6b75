// Shared connections beside what else a stack and a program do: a fork, other options, independent work, what is kept apart, age.
#include "pipelined_fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/independent.hpp>
#include <strata/policy/metrics.hpp>

#include <boost/asio/io_context.hpp>

#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using db1 = strata::database<shared_stack<1>>;

}  // namespace

TEST_CASE("a forked child leaves the shared connections to its parent", "[postgres][pipelined][fork]") {
    server in;
    db1 db{in.options(), server::one()};
    const int shared = db.one<int>(shared_backend());
    const pid_t child = ::fork();
    if (child == 0) {
        const auto r = db.try_one<int>(shared_backend(), {.deadline = 5s});
        db.source().retire_all();
        ::_exit(!r && r.error().code() == errc::misuse && r.error().message().find("forked") != std::string::npos ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(db.one<int>(shared_backend()) == shared);
    CHECK(db.source().shared_snapshot().lost == 0);
}

TEST_CASE("shared connections cannot be turned to options that they cannot have", "[postgres][pipelined][options]") {
    server in;
    db1 db{in.options(), server::one()};
    const int shared = db.one<int>(shared_backend());
    strata::postgres_options o = in.options();
    o.prepare = false;
    const strata::error e = db.source().rotate(o);
    CHECK(e.code() == errc::invalid_argument);
    CHECK_THAT(e.message(), contains_text("postgres_options.prepare"));
    CHECK(db.one<int>(shared_backend()) == shared);
}

TEST_CASE("independent work does not share", "[postgres][pipelined][independent]") {
    server in;
    db1 db{in.options(), strata::pool_options{.min_size = 1, .max_size = 1, .reserved = 1}};
    const int shared = db.one<int>(shared_backend());
    db.transaction([&](auto& tx) {
        const int here = tx.template one<int>(shared_backend());
        const int beside = db.independent().template one<int>(shared_backend());
        CHECK(beside != here);
        CHECK(beside != shared);
        int streamed = 0;
        for (const int pid : db.independent().template rows<int>(shared_backend())) streamed = pid;
        CHECK(streamed == beside);
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        int later = 0;
        adb.independent().template async_one<int>(shared_backend(), [&](std::exception_ptr p, int pid) {
            CHECK(p == nullptr);
            later = pid;
        });
        io.run();
        CHECK(later == beside);
    });
}
