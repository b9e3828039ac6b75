// Sources as a database's user meets them.
#include <support/catch.hpp>

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;

namespace {

template <class Source, class Driver = strata::scripted>
using client = strata::database<strata::stack<Source, Driver>>;

}  // namespace

TEST_CASE("a database cannot be made when nobody answers", "[source]") {
    strata::script script;
    script.on_connect().fails(errc::cannot_connect, strata::effect::none, "connection refused");
    try {
        client<strata::pool<>> db{strata::scripted_options{script}};
        FAIL("it was made");
    } catch (const strata::failure& f) {
        CHECK(f.code() == errc::cannot_connect);
        CHECK(f.error().message() == "connection refused");
        CHECK(f.error().phase() == strata::phase::connect);
    }
}

TEST_CASE("a pool that opens nothing at first lets its first call connect", "[source]") {
    strata::script script;
    script.on_connect().fails(errc::cannot_connect).times(1);
    script.on("select 1").rows({{1}});
    client<strata::pool<>> db{strata::scripted_options{script}, strata::pool_options{.min_size = 0}};
    CHECK(db.try_one<int>("select 1"_sql).error().code() == errc::cannot_connect);
    CHECK(db.one<int>("select 1"_sql) == 1);
    CHECK(db.connections().opened == 1);
}

TEST_CASE("a lost connection is replaced before the next call, also when a transaction's closure hid the loss", "[source]") {
    strata::script script;
    script.on("select 1").rows({{1}});
    script.on("select 1").fails(errc::connection_lost).times(1);
    client<strata::single> db{strata::scripted_options{script}};
    const auto r = db.try_transaction([&](auto& tx) { static_cast<void>(tx.template try_one<int>("select 1"_sql)); });
    CHECK(r.error().code() == errc::connection_lost);
    CHECK(db.one<int>("select 1"_sql) == 1);
    CHECK(script.calls().back().connection == 2);
    CHECK(db.connections().lost == 1);
}

TEST_CASE("holding the last connection while asking for another ends with an error, not for ever", "[source]") {
    strata::script script;
    script.on_any().rows({{1}});
    client<strata::single> db{strata::scripted_options{script}, strata::single_options{.max_wait = 1ms}};
    const auto session = db.session();
    const auto r = db.try_one<int>("select 1"_sql);
    CHECK(r.error().code() == errc::pool_exhausted);
    CHECK(r.error().message() == "no connection became free in time: 1 of 1 connections are in use, 0 callers wait");
}

TEST_CASE("close cancels a call that hangs, also one inside a transaction, and refuses newcomers", "[source]") {
    strata::script script;
    script.on("select 1").hangs();
    client<strata::pool<>> db{strata::scripted_options{script}};
    errc alone = errc::ok, inside = errc::ok;
    std::thread first([&] { alone = db.try_one<int>("select 1"_sql).error().code(); });
    std::thread second([&] {
        const auto r = db.try_transaction([&](auto& tx) { return tx.template one<int>("select 1"_sql); });
        inside = r.error().code();
    });
    while (script.calls().size() < 3) std::this_thread::yield();
    db.close(0s);
    first.join();
    second.join();
    CHECK(alone == errc::cancelled);
    CHECK(inside == errc::cancelled);
    CHECK(db.try_one<int>("select 1"_sql).error().code() == errc::shutting_down);
    CHECK(script.journal().back() == "rollback");
}

TEST_CASE("a deadline ends a call that hangs", "[source]") {
    strata::script script;
    script.on("select 1").hangs();
    client<strata::pool<>> db{strata::scripted_options{script}};
    CHECK(db.try_one<int>("select 1"_sql, {.deadline = 1ms}).error().code() == errc::timeout);
    CHECK(db.connections().idle == 1);
}

TEST_CASE("statements of a database with one writer go by their kind", "[source]") {
    strata::script script;
    script.on("select 1").rows({{1}});
    script.on("delete from t").affected(1);
    client<strata::pool<>, strata::scripted_single_writer> db{strata::scripted_options{script},
                                                              strata::pool_options{.min_size = 2, .max_size = 2}};
    static_cast<void>(db.one<int>("select 1"_sql));
    static_cast<void>(db.execute("delete from t"_sql));
    const auto calls = script.calls();
    CHECK(calls[0].connection == 2);  // the reader
    CHECK(calls[1].connection == 1);  // the writer
}

TEST_CASE("a forked child is told to open a database of its own", "[source]") {
    strata::script script;
    script.on("select 1").rows({{1}});
    client<strata::pool<>> db{strata::scripted_options{script}};
    CHECK(db.one<int>("select 1"_sql) == 1);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const auto r = db.try_one<int>("select 1"_sql);
        const bool told =
            r.has_error() && r.error().code() == errc::misuse &&
            r.error().message() == "this process was forked after the database was opened: open a database of its own in the child";
        client<strata::pool<>> own{strata::scripted_options{script}};
        const bool works = own.one<int>("select 1"_sql) == 1;
        ::_exit(told && works ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(db.one<int>("select 1"_sql) == 1);  // the parent goes on
}
