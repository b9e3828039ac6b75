// Who opens a pool's connections: callers wait for the pool only, few are opened at once, and none for nobody.
#include "probe.hpp"

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using task = strata::simulated_task<>;

namespace {

/// No thread is to be had.
struct nobody_runs final : strata::background_runner {
    bool rouse(strata::background&) noexcept override { return false; }
    [[nodiscard]] std::chrono::system_clock::time_point wall_now() const noexcept override { return {}; }
};

}  // namespace

TEST_CASE("what comes back serves who waits, though a connection is being opened for him", "[pool][opening]") {
    pool_of<> p{{.max_size = 4}, 150ms};
    p.client("holder", [&]() -> task { co_await lease(p.r, {.takes = 2ms}); });
    p.client("next", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1ms});
        CHECK(w.connection == 1);
    });
    const strata::time_point begin = p.world.now();
    p.world.run();
    CHECK(p.world.now() - begin == strata::duration{3ms});
    p.world.run_for(1s);
    CHECK(p.now().idle == 2);  // it was begun, so it is kept
}

TEST_CASE("a rush of short calls does not open what it does not need", "[pool][opening]") {
    // 50 callers at once, a connect takes 150 ms, a call 2 ms: few connections do (the spike test of HikariCP).
    pool_of<> p{{.max_size = 50}, 150ms};
    for (int i = 0; i < 50; ++i) p.client("caller", [&]() -> task { co_await lease(p.r, {.takes = 2ms}); });
    p.world.run();
    p.world.run_for(1s);
    CHECK(p.now().open <= 3);
    CHECK(p.log.most_open <= 3);
}

TEST_CASE("so many are opened at once, at first and after a recovery one more with each success", "[pool][opening]") {
    const std::size_t at_once = GENERATE(1u, 2u, 5u, 16u);
    pool_of<> p{{.min_size = 0, .max_size = 40, .max_connecting = at_once}, 10ms};
    for (int i = 0; i < 40; ++i) p.client("caller", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.world.run_for(5ms);
    CHECK(p.now().opening == at_once);
    p.world.run();
    CHECK(p.now().open == 40);
    SECTION("after a failure one") {
        p.source.retire_all();
        p.log.refuse_connects = 1;
        p.client("first", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1s});
            CHECK(w.error.code() == errc::cannot_connect);
        });
        p.world.run();
        for (int i = 0; i < 40; ++i) p.client("caller", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
        p.world.run_for(15ms);  // the pause is over
        CHECK(p.now().opening == 1);
        std::size_t most = 1;
        for (int i = 0; i < 300; ++i) {
            const std::size_t before = p.now().opening;
            p.world.run_for(1ms);
            CHECK(p.now().opening <= 2 * before + 1);
            most = std::max(most, p.now().opening);
        }
        CHECK(most == at_once);
        p.world.run();
    }
}

TEST_CASE("a caller's own deadline ends his wait for a connection that is being opened, and the next caller finds it", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 2}, 100ms};
    p.client("hurried", [&]() -> task {
        const went w = co_await lease(p.r, {.deadline = 10ms});
        CHECK(w.error.code() == errc::timeout);
        CHECK(p.world.elapsed() == strata::duration{10ms});
        CHECK(w.error.message() ==
              "no connection became free in time: 0 of 2 connections are in use, 1 more is being opened, 0 callers wait");
        CHECK_THAT(w.error.texts().hint, contains_text("connecting takes long"));
    });
    p.world.run();
    p.world.run_for(1s);
    CHECK(p.now().idle == 1);
    p.use(1, 1ms);
    CHECK(p.now().opened == 1);
}

TEST_CASE("while the database cannot be reached callers are told why, at once, and it is tried by one", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 8, .first_pause = 100ms, .longest_pause = 1s}, 1ms};
    p.log.refuse_connects = 1'000'000;
    int told = 0, refused = 0;
    strata::duration longest{};
    for (int c = 0; c < 20; ++c)
        p.client("caller", [&]() -> task {
            for (int i = 0; i < 200; ++i) {
                const strata::time_point begin = p.world.now();
                const went w = co_await lease(p.r);
                longest = std::max(longest, p.world.now() - begin);
                CHECK_THAT(w.error.message(), contains_text("nobody is at home"));
                CHECK(w.error.effect() == strata::effect::none);
                if (w.error.code() == errc::cannot_connect) {
                    ++told;
                    CHECK_FALSE(w.error.local());
                } else {
                    ++refused;
                    CHECK(w.error.code() == errc::pool_unreachable);
                    CHECK(w.error.local());
                    CHECK(w.error.retry_after() > strata::duration::zero());
                    CHECK(w.error.retry_after() <= strata::duration{1s});
                }
                co_await p.world.sleep(p.world.between(1ms, 20ms));
            }
        });
    p.world.run();
    CHECK(p.log.most_open <= 2);
    CHECK(longest <= strata::duration{102ms});  // the first pause is waited out
    CHECK(1'000'000 - p.log.refuse_connects <= 12);
    CHECK(refused > 100 * told / 10);
    CHECK(p.now().open == 0);
    CHECK_FALSE(p.now().reachable);
    p.log.refuse_connects = 0;
    p.world.run_for(1s);  // the pause that has begun
    p.use(3, 1ms);
    CHECK(p.now().reachable);
}

TEST_CASE("callers may wait while the database cannot be reached", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 2, .max_wait = 3s, .first_pause = 10ms, .longest_pause = 200ms, .wait_while_down = true}, 1ms};
    p.log.refuse_connects = 1'000'000;
    p.client("patient", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.code() == errc::pool_unreachable);
        CHECK_FALSE(w.error.local());  // its time went by for nothing: an outer breaker may count that
        CHECK_THAT(w.error.message(), contains_text("nobody is at home"));
        CHECK(p.world.elapsed() == strata::duration{3s});
        const went other = co_await lease(p.r);
        CHECK_FALSE(other.error);
    });
    p.client("the server", [&]() -> task {
        co_await p.world.sleep(4s);
        p.log.refuse_connects = 0;
    });
    p.world.run();
    CHECK(p.world.elapsed() >= strata::duration{4s});
    CHECK(p.world.elapsed() <= strata::duration{4s + 202ms});
}

TEST_CASE("where somebody has a connection, the others wait for that one when no more can be had", "[pool][opening]") {
    pool_of<> p{{.max_size = 8}, 1ms};
    p.log.refuse_connects = 1'000'000;
    for (int i = 0; i < 10; ++i)
        p.client("caller", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 5ms});
            CHECK_FALSE(w.error);
            CHECK(w.connection == 1);
        });
    p.client("in vain", [&]() -> task {
        const went w = co_await lease(p.r, {.deadline = 7ms});
        CHECK(w.error.code() == errc::timeout);
        CHECK_THAT(w.error.texts().detail, contains_text("another one could not be opened: nobody is at home"));
    });
    const strata::time_point begin = p.world.now();
    p.world.run();
    CHECK(p.world.now() - begin == strata::duration{50ms});
}

TEST_CASE("a lost connection is replaced up to min_size, whoever comes or not", "[pool][opening]") {
    pool_of<> p{{.min_size = 2, .max_size = 4}, 5ms};
    p.client("unlucky", [&]() -> task { co_await lease(p.r, {.ends_with = errc::connection_lost}); });
    p.world.run();
    p.world.run_for(5ms);
    CHECK(p.now().idle == 2);
    CHECK(p.now().lost == 1);
}

TEST_CASE("no more are opened than there are callers without one, whatever else happens", "[pool][opening]") {
    pool_of<> p{{.min_size = 1, .max_size = 8, .max_connecting = 4}, 20ms};
    const strata::time_point begin = p.world.now();
    p.client("unlucky", [&]() -> task { co_await lease(p.r, {.takes = 10ms, .ends_with = errc::connection_lost}); });
    p.client("next", [&]() -> task { co_await lease(p.r, {.takes = 1ms}); });
    p.world.run_until(begin + 15ms);
    CHECK(p.now().lost == 1);
    CHECK(p.now().opening == 1);
    p.world.run();
    p.world.run_for(1s);
    CHECK(p.now().opened == 2);
}

TEST_CASE("after a failure none is begun while one is still on its way, even when the pause is over", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 8, .max_connecting = 2, .first_pause = 5ms}, 2ms};
    p.log.refuse_connects = 1;
    int served = 0;
    const auto client = [&] {
        p.client("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);  // the other attempt may still succeed
            ++served;
        });
        p.world.run_for(1ms);
    };
    client();
    p.log.connecting = 100ms;
    client();
    p.world.run_for(50ms);
    CHECK(p.log.refuse_connects == 0);  // the first one has failed
    CHECK(p.now().opening == 1);
    p.world.run();
    CHECK(served == 2);
}

TEST_CASE("the error of who waited in vain names those who hold the connections", "[pool][holders]") {
    pool_of<> p{{.max_size = 5, .max_wait = 10ms}};
    const std::string_view names[] = {"pay", "refund", {}, "audit", "report"};
    for (const std::string_view name : names)
        p.client("holder", [&p, name]() -> task {
            auto call = lease(p.r, {.takes = 1s, .name = name});
            co_await call;
        });
    p.client("patient", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.message() == "no connection became free in time: 5 of 5 connections are in use, 0 callers wait");
        CHECK_THAT(w.error.texts().detail, contains_text("held by: "));
        CHECK_THAT(w.error.texts().detail, contains_text(" | and 2 more"));
        CHECK((w.error.texts().detail.find("pay") != std::string::npos || w.error.texts().detail.find("report") != std::string::npos));
    });
    p.world.run();
}

TEST_CASE("a long name of a holder is cut, never within a character", "[pool][holders]") {
    for (std::size_t n = 0; n < 8; ++n) {
        strata::detail::pool_holders h;
        strata::operation_base op;
        const std::string text =
            std::string(n, 'x') +
            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
        op.statement = text;
        h.add(op);
        const std::string_view name = h.names[0];
        CHECK(name.size() <= 60);
        CHECK(name.size() >= 56);
        CHECK((static_cast<unsigned char>(text[name.size()]) & 0xc0) != 0x80);  // what follows begins a character
    }
}

// Health.

TEST_CASE("a connection whose backend fails again and again is closed, one that errs now and then is not", "[pool][health]") {
    pool_of<> p{{.min_size = 1, .max_size = 1}};
    const auto calls = [&](std::initializer_list<errc> ends) {
        p.client("client", [&p, ends]() -> task {
            for (const errc e : ends) co_await lease(p.r, {.ends_with = e});
        });
        p.world.run();
        p.world.run_for(1ms);
    };
    constexpr errc good = errc::ok, late = errc::out_of_memory;
    SECTION("three in a row") {
        calls({late, late});
        CHECK(p.now().retired == 0);
        calls({late});
        CHECK(p.now().retired == 1);
        CHECK(p.now().idle == 1);  // a new one, of full health
        calls({late, late});
        CHECK(p.now().retired == 1);
    }
    SECTION("successes restore it") {
        for (int i = 0; i < 50; ++i) calls({late, good, good, good, good, good});
        CHECK(p.now().retired == 0);
    }
    SECTION("but only so much") {
        for (int i = 0; i < 50; ++i) calls({late, good, good});
        CHECK(p.now().retired > 10);
    }
    SECTION("errors of the statement, conflicts and cancels take nothing") {
        for (int i = 0; i < 50; ++i)
            calls({errc::unique_violation, errc::serialization_failure, errc::cancelled, errc::syntax_error, errc::timeout});
        CHECK(p.now().retired == 0);
    }
    CHECK(p.now().lost == 0);
}

TEST_CASE("without a threshold no connection is closed for its health", "[pool][health]") {
    pool_of<> p{{.max_size = 1, .min_health = 0}};
    p.client("client", [&]() -> task {
        for (int i = 0; i < 100; ++i) co_await lease(p.r, {.ends_with = errc::io_error});
    });
    p.world.run();
    CHECK(p.now().retired == 0);
}

TEST_CASE("when the server says that it goes down, all that were opened before are let go of, and no more than those", "[pool][health]") {
    pool_of<> p{{.min_size = 4, .max_size = 8}, 5ms};
    p.client("long", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1s});
        CHECK(w.connection == 4);
        CHECK_FALSE(w.error);  // it is not disturbed
    });
    p.client("told", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1ms, .ends_with = errc::connection_lost, .all_lost = true});
        CHECK(w.connection == 3);
        CHECK(p.now().idle == 0);
        const went after = co_await lease(p.r);
        CHECK(after.connection > 4);
    });
    p.client("told later", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 100ms, .ends_with = errc::connection_lost, .all_lost = true});
        CHECK(w.connection == 2);
    });
    p.world.run();
    p.world.run_for(100ms);
    CHECK(p.now().idle == 4);
    CHECK(p.now().lost == 2);
    CHECK(p.now().retired == 2);  // the idle one, and the long one; not those that were opened after it
    CHECK(p.now().opened == 8);
}

// Hygiene.

namespace {

/// What a session or a transaction does to its connection.
template <strata::operation_kind Kind>
void use_and_return(pool_of<>& p, bool changes, bool leaves_transaction = false) {
    strata::operation<strata::operation_facts{.kind = Kind}> op;
    strata::waiter node;
    pool_of<>::source_type::lease l;
    REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
    l->connection.changed = changes;
    l->connection.dirty = leaves_transaction;
    p.source.release(l, op, strata::health::good);
    p.world.run_for(1ms);
}

}  // namespace

TEST_CASE("a session's connection is reset before anybody else gets it, by the pool's own threads", "[pool][hygiene]") {
    using enum strata::operation_kind;
    using texts = std::vector<std::string>;
    SECTION("not if nobody wants it") {
        pool_of<> p{{}};
        use_and_return<pinned_session>(p, true);
        CHECK(p.log.controls == texts{});
    }
    SECTION("by DISCARD ALL") {
        pool_of<> p{{.max_size = 1, .on_return = strata::session_reset::discard_all}};
        use_and_return<pinned_session>(p, false);
        CHECK(p.log.controls == texts{"discard all on 1"});
        use_and_return<transaction>(p, false);
        use_and_return<write>(p, true);
        CHECK(p.log.controls.size() == 1);
        use_and_return<transaction>(p, true);
        CHECK(p.log.controls.size() == 2);
        CHECK(p.now().idle == 1);
    }
    SECTION("by what the user says") {
        pool_of<> p{{.max_size = 1, .on_return = strata::session_reset::custom, .reset_sql = "reset role"}};
        use_and_return<pinned_session>(p, false);
        CHECK(p.log.controls == texts{"reset role on 1"});
        SECTION("and where that fails it is closed") {
            p.log.dead_up_to = 1;
            use_and_return<pinned_session>(p, false);
            CHECK(p.log.controls.size() == 2);
            CHECK(p.now().lost == 1);
            CHECK(p.now().idle == 1);
            CHECK(p.log.opened == std::vector<unsigned>{1, 2});
        }
    }
    SECTION("a transaction left open is rolled back, and counted") {
        pool_of<> p{{.max_size = 1}};
        use_and_return<pinned_session>(p, false, true);
        CHECK(p.now().left_open == 1);
        CHECK(p.now().idle == 1);
        p.use(2, 1ms);  // the probe looks whether one is left
    }
    SECTION("and who waits gets it after that") {
        pool_of<> p{{.max_size = 1, .on_return = strata::session_reset::discard_all}};
        strata::operation<strata::operation_facts{.kind = pinned_session}> op;
        strata::waiter node;
        pool_of<>::source_type::lease l;
        REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
        p.client("next", [&]() -> task {
            const went w = co_await lease(p.r);
            CHECK(w.connection == 1);
            CHECK(p.log.controls.size() == 1);
        });
        p.world.run_for(1ms);
        CHECK(p.log.controls.empty());
        p.source.release(l, op, strata::health::good);
        p.world.run();
    }
    SECTION("where no thread is to be had, by who returns it") {
        pool_of<> p{{.max_size = 1, .on_return = strata::session_reset::discard_all}};
        nobody_runs nobody;
        for (strata::background* b : p.tasks) b->runner = &nobody;
        use_and_return<pinned_session>(p, false);
        CHECK(p.log.controls.size() == 1);
        CHECK(p.now().idle == 1);
        CHECK(p.now().opening == 0);
    }
    SECTION("a closed pool resets nothing") {
        pool_of<> p{{.max_size = 1, .on_return = strata::session_reset::discard_all}};
        strata::operation<strata::operation_facts{.kind = pinned_session}> op;
        strata::waiter node;
        pool_of<>::source_type::lease l;
        REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
        p.source.release(l, op, strata::health::good);
        CHECK(p.source.stop(p.world, p.world.now()));  // before an opener had its turn
        p.world.run_for(1s);
        CHECK(p.log.controls.empty());
        CHECK(p.log.open == 0);
    }
}

TEST_CASE("options of hygiene that make no sense name their field", "[pool][hygiene]") {
    using options = strata::pool_options;
    using enum strata::session_reset;
    CHECK_THAT((options{.on_return = custom}.validate().message()), contains_text("reset_sql"));
    CHECK_THAT((options{.reset_sql = "x"}.validate().message()), contains_text("reset_sql"));
    CHECK_FALSE((options{.on_return = custom, .reset_sql = "x"}.validate()));
    CHECK_THAT((options{.validate_after = -1s}.validate().message()), contains_text("validate_after"));
    CHECK_THAT((options{.min_health = 101}.validate().message()), contains_text("min_health"));
    CHECK_THAT((options{.max_connecting = 0}.validate().message()), contains_text("max_connecting"));
    CHECK_THAT((options{.max_connecting = 17}.validate().message()), contains_text("max_connecting"));
    CHECK_THAT((options{.first_pause = 0s}.validate().message()), contains_text("first_pause"));
    CHECK_THAT((options{.first_pause = 2s, .longest_pause = 1s}.validate().message()), contains_text("longest_pause"));
}

TEST_CASE("who was idle for long is asked for a sign of life before somebody gets it", "[pool][validation]") {
    pool_of<> p{{.min_size = 2, .max_size = 2, .validate_after = 1s}};
    using texts = std::vector<std::string>;
    const auto get = [&](unsigned expected) {
        p.client("client", [&p, expected]() -> task {
            const went w = co_await lease(p.r);
            CHECK_FALSE(w.error);
            CHECK(w.connection == expected);
        });
        p.world.run();
        p.world.run_for(1ms);
    };
    get(2);
    CHECK(p.log.controls == texts{});
    p.world.run_for(2s);
    CHECK(p.log.controls == texts{});  // only when it is wanted
    get(2);
    CHECK(p.log.controls == texts{"ping on 2"});
    get(2);  // it is warm now
    CHECK(p.log.controls.size() == 1);
    SECTION("and closed if there is none") {
        p.world.run_for(2s);
        p.log.dead_up_to = 2;
        p.log.hides_death = true;  // nothing is seen at the socket
        get(3);
        CHECK(p.now().lost >= 1);
    }
    SECTION("what is used is not asked") {
        for (int i = 0; i < 100; ++i) {
            p.world.run_for(100ms);
            get(2);
        }
        CHECK(p.log.controls.size() == 1);
    }
    SECTION("two at once are both asked") {
        p.world.run_for(2s);
        p.use(2, 5ms);
        CHECK(p.log.controls.size() == 3);
        CHECK(p.now().opened == 2);
    }
}

// Steering.

TEST_CASE("a suspended pool gives nobody a connection; who waits is served in order when it goes on", "[pool][suspend]") {
    pool_of<> p{{.min_size = 2, .max_size = 2}};
    std::vector<int> order;
    p.client("before", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 10ms});
        CHECK_FALSE(w.error);
        order.push_back(0);
    });
    p.world.run_for(1ms);
    p.source.suspend();
    p.source.suspend();
    CHECK(p.now().suspended);
    for (int i = 1; i <= 4; ++i) {
        p.client("caller", [&, i]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
            order.push_back(i);
        });
        p.world.run_for(1ms);
    }
    p.world.run_for(1s);
    CHECK(order == std::vector<int>{0});
    CHECK(p.now().idle == 2);
    CHECK(p.now().waiting == 4);
    p.source.resume();
    p.source.resume();
    p.world.run();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(p.now().opened == 2);
    CHECK_FALSE(p.now().suspended);
    p.use(2, 1ms);  // marks are taken off
    CHECK(p.now().waits == 4);
    leasing_operation op;
    strata::waiter node;
    pool_of<>::source_type::lease l;
    REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
    CHECK(l->marks == 0);  // it comes back the short way again
    p.source.release(l, op, strata::health::good);
}

TEST_CASE("a caller of a suspended pool waits as long as he may, and is told", "[pool][suspend]") {
    pool_of<> p{{.max_wait = 50ms}};
    p.source.suspend();
    p.client("caller", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.code() == errc::pool_exhausted);
        CHECK_THAT(w.error.message(), contains_text("the pool is suspended"));
        CHECK_THAT(w.error.texts().hint, contains_text("resume()"));
    });
    p.world.run();
    p.source.retire_all();
    CHECK(p.now().open == 0);
    p.source.resume();
    p.use(1, 1ms);
}

TEST_CASE("a suspended pool opens nothing, and what is wanted when it goes on", "[pool][suspend]") {
    pool_of<> p{{.min_size = 2, .max_size = 4}, 1ms};
    p.source.suspend();
    int served = 0;
    for (int i = 0; i < 3; ++i)
        p.client("caller", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 10ms});
            CHECK_FALSE(w.error);
            ++served;
        });
    p.world.run_for(1s);
    CHECK(p.now().open == 2);
    p.source.retire_all();
    p.world.run_for(1s);
    CHECK(p.now().open == 0);
    CHECK(p.now().opened == 2);
    p.source.resume();
    p.world.run();
    CHECK(served == 3);
    CHECK(p.log.most_in_use == 3);
}

TEST_CASE("who has waited for a suspended pool is served at once also by those that were idle for long", "[pool][suspend]") {
    pool_of<> p{{.min_size = 2, .max_size = 2, .validate_after = 1s}};
    p.world.run_for(3s);
    p.source.suspend();
    p.world.run_for(GENERATE(0s, 2s));  // upkeep goes on meanwhile
    int served = 0;
    for (int i = 0; i < 3; ++i)
        p.client("caller", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
            ++served;
        });
    p.world.run_for(5ms);
    CHECK(p.log.controls.empty());
    p.source.resume();
    p.world.run_for(5ms);
    CHECK(served == 3);
    CHECK(p.log.controls.size() == 2);  // each was asked before
    CHECK(p.now().opened == 2);
}

TEST_CASE("a pool is drained when all leases have come back, and closed while it is suspended", "[pool][suspend]") {
    pool_of<> p{{.min_size = 2, .max_size = 4}};
    p.client("holder", [&]() -> task { co_await lease(p.r, {.takes = 100ms}); });
    p.world.run_for(1ms);
    CHECK_FALSE(p.source.drain(p.world, p.world.now() + 50ms));
    CHECK(p.world.elapsed() == strata::duration{51ms});
    CHECK(p.source.drain(p.world, p.world.now() + 1s));
    CHECK(p.world.elapsed() == strata::duration{100ms});
    CHECK(p.source.drain(p.world, p.world.now()));
    CHECK(p.now().idle == 2);
    strata::errc end = errc::ok;
    p.client("waits", [&]() -> task { end = (co_await lease(p.r)).error.code(); });
    p.world.run_for(1ms);
    CHECK(p.source.stop(p.world, p.world.now()));
    p.world.run();
    CHECK(end == errc::shutting_down);
    CHECK(p.log.open == 0);
}

TEST_CASE("a drain waits also for what is being opened or made fit", "[pool][suspend]") {
    pool_of<> p{{.min_size = 1, .max_size = 2, .on_return = strata::session_reset::discard_all}, 10ms};
    p.client("one", [&]() -> task { co_await lease(p.r, {.takes = 1ms}); });
    p.client("another", [&]() -> task { co_await lease(p.r, {.takes = 1ms}); });
    p.world.run();
    const strata::time_point begin = p.world.now();  // 2 ms; the second one is being opened
    CHECK(p.now().opening == 1);
    CHECK(p.source.drain(p.world, begin + 1s));
    CHECK(p.world.now() - begin == strata::duration{8ms});
    p.source.resume();
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::pinned_session}> op;
    strata::waiter node;
    pool_of<>::source_type::lease l;
    REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
    p.source.suspend();
    p.source.release(l, op, strata::health::good);
    CHECK(p.now().idle == 1);
    CHECK(p.source.drain(p.world, p.world.now() + 1s));
    CHECK(p.now().idle == 2);
    CHECK(p.log.controls.size() == 1);
    p.source.retire_all();
    p.source.resume();
    p.use(2, 1ms);
    p.source.suspend();
    p.source.retire_all();  // and what is opened while the pool is suspended is kept back too
    p.source.resume();
    p.use(2, 1ms);
}

TEST_CASE("a pool shrinks to min_size", "[pool][resize]") {
    pool_of<> p{{.min_size = 2, .max_size = 6}};
    p.use(6, 1ms);
    CHECK(p.now().idle == 6);
    p.source.shrink();
    CHECK(p.now().idle == 2);
    CHECK(p.now().retired == 4);
    p.world.run_for(1s);
    CHECK(p.now().opened == 6);
    pool_of<true> split{{.min_size = 1, .max_size = 6}};
    split.client("reader", [&]() -> task { co_await lease(split.r, {.reads = true}); });
    split.world.run();
    split.source.shrink();
    CHECK(split.now().idle == 1);
    split.client("writer", [&]() -> task {
        const went w = co_await lease(split.r);
        CHECK(w.connection == 1);  // the writer has stayed
    });
    split.world.run();
    split.client("a longer one", [&]() -> task { co_await lease(split.r, {.takes = 5ms, .reads = true}); });
    split.world.run_for(1ms);
    REQUIRE(split.now().open == 2);
    split.source.shrink();  // also where no reader can go
    CHECK(split.now().idle == 1);
    split.world.run();
}

TEST_CASE("where no thread is to be had, the caller opens his connection himself", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 2}, 5ms};
    nobody_runs nobody;
    for (strata::background* b : p.tasks) b->runner = &nobody;
    for (int i = 0; i < 4; ++i)
        p.client("caller", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
        });
    p.world.run();
    CHECK(p.now().opened == 2);
    CHECK(p.now().idle == 2);
}
