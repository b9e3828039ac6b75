// Hedged reads on SQLite, whose tries run on work threads.
#include <async/fixture.hpp>

#include <strata/async/hedged.hpp>

#include <sqlite3.h>

using namespace strata_test;

namespace {

std::atomic<bool> may_answer{false};

/// `answer(n)`: on a slow connection once `may_answer` says so, or when the statement is interrupted.
void answer_function(sqlite3_context* c, int, sqlite3_value** v) {
    const bool slow = ::sqlite3_user_data(c) != nullptr;
    for (int i = 0; slow && i < 10'000 && !may_answer; ++i) std::this_thread::sleep_for(1ms);
    ::sqlite3_result_int64(c, ::sqlite3_value_int64(v[0]));
}
template <class Session>
void define_answer(Session& s, bool slow) {
    static int mark = 0;
    REQUIRE(::sqlite3_create_function(s.native_handle(), "answer", 1, SQLITE_UTF8, slow ? &mark : nullptr, &answer_function, nullptr,
                                      nullptr) == SQLITE_OK);
}

constexpr auto answer = "select answer(:n)"_sql.idempotent();

}  // namespace

TEST_CASE("a hedged read on work threads: the result does not wait for the thread of the loser", "[hedge][async]") {
    async_bank<full_stack> b{strata::pool_options{.min_size = 3, .max_size = 3}};  // two of them read
    // Long enough for the quick one of two to be over, whose connection the second try of the other needs.
    strata::hedge h{{.percentile = 0.5, .min_delay = 200ms, .minimum_samples = 20, .budget = 1}};
    {
        auto last = b.db.session({.read_only = true});
        auto other = b.db.session({.read_only = true});
        define_answer(last, true);
        define_answer(other, false);
        may_answer = true;
    }
    const auto reads = [&](int n) -> asio::awaitable<void> {
        for (int i = 0; i < n; ++i) {
            const int got = co_await b.adb.hedged(h).async_one<int>(answer(i));
            CHECK(got == i);
        }
    };
    run(b.io, reads(40));
    const auto before = h.snapshot();
    may_answer = false;
    // The one that hangs may be on top or not: one of two reads at once takes it.
    int done = 0;
    for (int i = 0; i < 2; ++i)
        b.adb.hedged(h).async_one<int>(answer(i), [&, i](std::exception_ptr e, int got) {
            CHECK_FALSE(e);
            CHECK(got == i);
            if (++done == 2) may_answer = true;  // only now the loser can end
        });
    b.io.restart();
    b.io.run();
    CHECK(done == 2);
    CHECK(h.snapshot().hedged > before.hedged);
    CHECK(h.snapshot().won > before.won);
    wait_until([&] { return all_home(b.db); });
    run(b.io, reads(4));
    check_at_rest(b.db);
}

TEST_CASE("both tries of a hedged read on work threads end at its deadline, or with its context", "[hedge][async][lifetime]") {
    strata::hedge h{{.percentile = 0.5, .minimum_samples = 1, .budget = 1}};
    strata::hedge* const by = &h;
    bank<full_stack> b{strata::pool_options{.min_size = 3, .max_size = 3}};
    for (const bool ends : {false, true}) {
        asio::io_context io;
        auto adb = b.db.async(io.get_executor());
        run(io, [](auto& db, strata::hedge* hedge) -> asio::awaitable<void> {
            for (int i = 0; i < 4; ++i) static_cast<void>(co_await db.hedged(*hedge).template async_one<int>("select 1"_sql));
        }(adb, by));
        int called = 0;
        adb.hedged(h).async_try_one<std::int64_t>(endless_query.idempotent(), {.deadline = ends ? 1h : 100ms},
                                                  [&](strata::result<std::int64_t> r) {
                                                      ++called;
                                                      CHECK(r.error().code() == errc::timeout);
                                                  });
        io.restart();
        if (ends)
            io.run_for(50ms);
        else
            io.run();
        CHECK(called == (ends ? 0 : 1));
    }
    CHECK(h.snapshot().hedged >= 2);
    wait_until([&] { return all_home(b.db); });
    check_at_rest(b.db);
}
