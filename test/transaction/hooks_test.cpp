// What runs after a transaction, and who may use its handle when. No database, and SQLite where threads meet.
#include <face/fixture.hpp>
#include <strata/testing/scripted.hpp>

#include <atomic>
#include <random>
#include <stdexcept>
#include <thread>
#include <variant>
#include <vector>

using namespace strata_test;
using strata::effect;

namespace {

using lines = std::vector<std::string>;
template <class... Layers>
using scripted_client = strata::database<strata::stack<Layers..., strata::single, strata::scripted_postgres>>;

constexpr auto put = "insert into t values (1)"_sql.named("put");
const strata::retry_options at_once{.max_attempts = 3, .base = {}, .cap = {}};

strata::script answering() {
    strata::script s;
    s.on_any().rows({{1}});
    return s;
}

/// What hooks wrote down.
struct book {
    lines seen;
    auto note(std::string text) {
        return [this, text = std::move(text)] { seen.push_back(text); };
    }
    void both(auto& tx, const std::string& text) {
        tx.on_commit(note("+" + text));
        tx.on_rollback(note("-" + text));
    }
};

}  // namespace

TEST_CASE("hooks run after the fact, in order, when the connection has gone back", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    book b;
    db.transaction([&](auto& tx) {
        b.both(tx, "1");
        tx.on_commit([&] {
            db.execute(put);  // its only connection
            CHECK(script.journal() == lines{"begin immediate", "put", "commit", "put"});
        });
        b.both(tx, "2");
        tx.execute(put);
        CHECK(b.seen.empty());
    });
    CHECK(b.seen == lines{"+1", "+2"});
    CHECK(script.journal().size() == 4);

    b.seen.clear();
    CHECK_THROWS_AS(db.transaction([&](auto& tx) {
        b.both(tx, "1");
        b.both(tx, "2");
        throw std::domain_error("mine");
    }),
                    std::domain_error);
    CHECK(b.seen == lines{"-1", "-2"});
    b.seen.clear();
    script.on_commit().fails(errc::foreign_key_violation).times(1);
    CHECK(!db.try_transaction([&](auto& tx) { b.both(tx, "1"); }));
    CHECK(b.seen == lines{"-1"});
}

TEST_CASE("a savepoint that is rolled back takes its hooks with it", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    book b;
    db.transaction([&](auto& tx) {
        b.both(tx, "1");
        tx.transaction([&](auto& inner) { b.both(inner, "kept"); });
        CHECK(!tx.try_transaction([&](auto& inner) {
            b.both(inner, "a");
            inner.transaction([&](auto& innermost) { b.both(innermost, "b"); });
            strata::throw_failure(strata::error{errc::user_error, strata::phase::execute});
        }));
        CHECK(b.seen == lines{"-a", "-b"});
        CHECK(script.journal().back() == "release 1");
        b.both(tx, "2");
    });
    CHECK(b.seen == lines{"-a", "-b", "+1", "+kept", "+2"});
}

TEST_CASE("hooks of an attempt that is repeated run before the next", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<strata::retry<>> db{strata::scripted_options{script}, at_once};
    script.on(put).fails(errc::serialization_failure).times(2);
    book b;
    db.transaction([&](auto& tx) {
        b.seen.push_back("attempt");
        b.both(tx, std::to_string(tx.attempt()));
        tx.execute(put);
    });
    CHECK(b.seen == lines{"attempt", "-1", "attempt", "-2", "attempt", "+3"});
    // Also those of an attempt after which no connection can be had.
    b.seen.clear();
    script.on(put).fails(errc::connection_lost, effect::rolled_back);
    const auto r = db.try_transaction([&](auto& tx) {
        script.on_connect().fails(errc::cannot_connect);
        b.both(tx, std::to_string(tx.attempt()));
        tx.execute(put);
    });
    CHECK(!r);
    CHECK(b.seen == lines{"-1"});
}

TEST_CASE("of an unknown outcome no hook is told, and the error says so", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<strata::retry<>> db{strata::scripted_options{script}, at_once};
    for (const bool hooked : {true, false}) {
        script.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
        book b;
        const auto r = db.try_transaction([&](auto& tx) {
            if (hooked) b.both(tx, "1");
            tx.execute(put);
        });
        CHECK(r.error().effect() == effect::unknown);
        CHECK(b.seen.empty());
        CHECK((r.error().texts().detail.find("neither on_commit nor on_rollback was run") != std::string::npos) == hooked);
    }
}

TEST_CASE("a hook that throws keeps no other from running, and changes no outcome", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    book b;
    CHECK(db.transaction([&](auto& tx) {
        tx.on_commit([] { throw 7; });
        b.both(tx, "1");
        return 5;
    }) == 5);
    CHECK(b.seen == lines{"+1"});
}

TEST_CASE("a transaction in the user's hands has hooks too", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    for (const char* const how : {"commit", "rollback", "drop", "fail"}) {
        CAPTURE(how);
        book b;
        {
            auto tx = db.begin();
            b.both(tx, "1");
            tx.transaction([&](auto& inner) { b.both(inner, "2"); });
            CHECK(b.seen.empty());
            if (how == std::string{"commit"}) tx.commit();
            if (how == std::string{"rollback"}) tx.rollback();
            if (how == std::string{"fail"}) {
                script.on_commit().fails(errc::check_violation).times(1);
                CHECK(!tx.try_commit());
            }
        }
        CHECK(b.seen == (how == std::string{"commit"} ? lines{"+1", "+2"} : lines{"-1", "-2"}));
    }
}

namespace {

/// A random tree of savepoints with hooks at every place, and what must be seen of it.
struct plan_of_hooks {
    struct level;
    using step = std::variant<int, level>;
    struct level {
        std::vector<step> steps;
        bool fails = false;
    };
    static level draw(std::mt19937& random, int depth, int& next) {
        level l;
        const int steps = static_cast<int>(random() % 4);
        for (int i = 0; i < steps; ++i) {
            if (depth < 4 && random() % 3 == 0)
                l.steps.emplace_back(draw(random, depth + 1, next));
            else
                l.steps.emplace_back(next++);
        }
        l.fails = random() % 3 == 0;
        return l;
    }
    /// The model: hooks that live on, in order; those of a failed level are told in order at once.
    static void expect(const level& l, std::vector<int>& alive, lines& seen) {
        std::vector<int> mine;
        for (const step& s : l.steps)
            std::visit(
                [&](const auto& v) {
                    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(v)>, int>)
                        mine.push_back(v);
                    else
                        expect(v, mine, seen);
                },
                s);
        if (l.fails)
            for (const int n : mine) seen.push_back("-" + std::to_string(n));
        else
            alive.insert(alive.end(), mine.begin(), mine.end());
    }
    template <class Tx>
    static strata::result<void> run(const level& l, Tx& tx, book& b) {
        for (const step& s : l.steps) {
            if (const int* n = std::get_if<int>(&s)) {
                b.both(tx, std::to_string(*n));
            } else {
                const auto& inner_level = std::get<level>(s);
                static_cast<void>(tx.try_transaction([&](auto& inner) { return run(inner_level, inner, b); }));
            }
        }
        if (l.fails) return strata::error{errc::user_error, "as planned", strata::phase::execute};
        return {};
    }
};

}  // namespace

TEST_CASE("hooks in random trees of savepoints do as a model says", "[transaction][hooks]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    std::mt19937 random{20261122};
    for (int round = 0; round < count(300, 10'000); ++round) {
        CAPTURE(round);
        int next = 0;
        const auto whole = plan_of_hooks::draw(random, 0, next);
        lines expected;
        std::vector<int> alive;
        plan_of_hooks::expect(whole, alive, expected);
        for (const int n : alive) expected.push_back("+" + std::to_string(n));
        book b;
        static_cast<void>(db.try_transaction([&](auto& tx) { return plan_of_hooks::run(whole, tx, b); }));
        if (b.seen != expected) CHECK(b.seen == expected);
    }
}

TEST_CASE("while a savepoint is open only its own handle may be used", "[transaction][misuse]") {
    bank<> b;
    b.fill(1);
    b.db.transaction([&](auto& tx) {
        tx.transaction([&](auto& inner) {
            CHECK(tx.try_execute(add_balance(1, 1)).error().code() == errc::misuse);
            CHECK(tx.try_transaction([](auto&) {}).error().code() == errc::misuse);
            CHECK(tx.try_execute_many(insert_account, std::vector<account>{{7, "x", 1}}).error().code() == errc::misuse);
            CHECK(inner.execute(add_balance(1, 1)).affected == 1);
            CHECK(inner.transaction([&](auto& innermost) {
                CHECK(inner.try_execute(add_balance(1, 1)).error().code() == errc::misuse);
                return innermost.execute(add_balance(1, 1)).affected;
            }) == 1);
        });
        CHECK(tx.execute(add_balance(1, 1)).affected == 1);
    });
    CHECK(b.balance_of(1) == 103);
    // The same after a savepoint that failed.
    b.db.transaction([&](auto& tx) {
        CHECK(!tx.try_transaction([&](auto& inner) { inner.execute(insert_account(1, "twice", 0)); }));
        CHECK(tx.execute(add_balance(1, 1)).affected == 1);
    });
    CHECK(b.balance_of(1) == 104);
    check_at_rest(b.db);
}

TEST_CASE("a hook belongs to the savepoint that is open, or is refused", "[transaction][hooks][misuse]") {
    auto script = answering();
    scripted_client<> db{strata::scripted_options{script}};
    book b;
    db.transaction([&](auto& tx) {
        b.both(tx, "1");
        tx.transaction([&](auto& inner) {  // were it the outer level's, a rollback of the savepoint would drop it
            CHECK(failure_of([&] { return b.both(tx, "outer"), 0; }).code() == errc::misuse);
            b.both(inner, "inner");
        });
        b.both(tx, "2");
    });
    CHECK(b.seen == lines{"+1", "+inner", "+2"});
}

TEST_CASE("two threads in one transaction: one of them is refused", "[transaction][misuse]") {
    bank<> b;
    b.fill(1);
    std::atomic<bool> running{false};
    const auto r = b.db.try_transaction(
        [&](auto& tx) {
            std::thread other([&] {
                running = true;
                CHECK(tx.template try_one<std::int64_t>(endless_query).error().code() == errc::timeout);
            });
            while (!running) std::this_thread::yield();
            std::this_thread::sleep_for(20ms);
            const auto refused = tx.try_execute(add_balance(1, 1));
            other.join();
            REQUIRE(!refused);
            CHECK(refused.error().code() == errc::misuse);
            CHECK(refused.error().effect() == effect::none);
            tx.execute(add_balance(1, 1));  // it is free again
        },
        {.deadline = 500ms});
    static_cast<void>(r);
    check_at_rest(b.db);
}

TEST_CASE("a closure that ends while a thread still uses its transaction is not committed", "[transaction][misuse]") {
    bank<> b;
    b.fill(1);
    std::atomic<bool> running{false};
    std::thread other;
    const auto began = strata::clock::now();
    const auto r = b.db.try_transaction([&](auto& tx) {
        tx.execute(add_balance(1, 1));
        other = std::thread([&] {
            running = true;
            CHECK(tx.template try_one<std::int64_t>(endless_query).error().code() == errc::cancelled);
        });
        while (!running) std::this_thread::yield();
        std::this_thread::sleep_for(20ms);
    });
    other.join();
    CHECK(strata::clock::now() - began < 30s);
    REQUIRE(!r);
    CHECK(r.error().code() == errc::misuse);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("a savepoint may end while a thread of its own fails: that is misuse, not a conflict to be repeated", "[transaction][misuse]") {
    for (int i = 0; i < 200; ++i) {
        strata::detail::transaction_use use;
        std::atomic<bool> inside{false};
        std::thread other([&] {
            CHECK(use.enter(1) == false);
            CHECK(use.enter(0));
            inside = true;
            use.note(strata::error{errc::serialization_failure, strata::phase::execute});
            use.leave(0);
        });
        while (!inside) std::this_thread::yield();
        use.doom();  // by the level that ends
        while (!use.try_end()) std::this_thread::yield();
        other.join();
        REQUIRE(use.is_doomed());
        CHECK(use.why_doomed().code() == errc::misuse);
    }
}

TEST_CASE("a closure that ends while a savepoint is open is not committed, for that would be half of it", "[transaction][misuse]") {
    bank<> b;
    b.fill(2);
    enum : int { not_yet, half, hooked, ended };
    std::atomic<int> at{not_yet};
    std::thread other;
    const auto r = b.db.try_transaction([&](auto& tx) {
        const auto wait = [&] {  // while the handle is there
            at = hooked;
            while (at != ended) std::this_thread::yield();
        };
        tx.on_commit(wait);
        tx.on_rollback(wait);
        other = std::thread([&] {
            const auto refused = tx.try_transaction([&](auto& inner) {
                inner.execute(add_balance(-10, 1));
                at = half;
                while (at != hooked) std::this_thread::yield();
                inner.execute(add_balance(10, 2));
            });
            CHECK(refused.error().code() == errc::misuse);
            at = ended;
        });
        while (at != half) std::this_thread::yield();
    });
    other.join();
    REQUIRE(!r);
    CHECK(r.error().code() == errc::misuse);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK_THAT(r.error().to_string(), contains_text("savepoint"));
    CHECK(b.balance_of(1) == 100);
    CHECK(b.balance_of(2) == 200);
    check_at_rest(b.db);
}

TEST_CASE("a handle refuses after its closure, within the call and by hand", "[transaction][misuse]") {
    bank<> b;
    b.fill(1);
    int refused = 0;
    b.db.transaction([&](auto& tx) {
        tx.on_commit([&] {
            CHECK(failure_of([&] { return tx.on_commit([] {}), 0; }).code() == errc::misuse);
            const auto r = tx.try_execute(add_balance(1, 1));
            refused += r.error().code() == errc::misuse;
            refused += tx.try_transaction([](auto&) {}).error().code() == errc::misuse;
        });
    });
    CHECK(refused == 2);
    auto held = b.db.begin();
    held.on_rollback([&] { refused += held.try_execute(add_balance(1, 1)).error().code() == errc::misuse; });
    held.rollback();
    CHECK(refused == 3);
    CHECK(held.try_execute(add_balance(1, 1)).error().code() == errc::misuse);
    CHECK(b.balance_of(1) == 100);
}

TEST_CASE("a transaction by hand does not end under whoever is inside", "[transaction][misuse]") {
    bank<> b;
    b.fill(2);
    auto held = b.db.begin();
    const auto refuses = [&] {
        for (const auto& r : {held.try_commit(), held.try_rollback()}) {
            REQUIRE(!r);
            CHECK(r.error().code() == errc::misuse);
            CHECK(r.error().effect() == effect::none);
        }
    };

    std::atomic<int> at{0};
    std::thread other([&] {
        held.transaction([&](auto& inner) {
            inner.execute(add_balance(-10, 1));
            at = 1;
            while (at != 2) std::this_thread::yield();
            inner.execute(add_balance(10, 2));
        });
    });
    while (at != 1) std::this_thread::yield();
    refuses();
    at = 2;
    other.join();

    at = 0;
    std::thread running([&] {
        at = 1;
        CHECK(held.try_one<std::int64_t>(endless_query, {.deadline = 300ms}).error().code() == errc::timeout);
    });
    while (at != 1) std::this_thread::yield();
    std::this_thread::sleep_for(20ms);
    refuses();
    running.join();

    held.transaction([&](auto&) { refuses(); });  // nor in its own thread
    held.commit();
    CHECK(b.balance_of(1) == 90);
    CHECK(b.balance_of(2) == 210);
    check_at_rest(b.db);
}

TEST_CASE("whoever comes while a transaction by hand is ended is inside of it, or refused", "[transaction][misuse]") {
    bank<> b;
    b.fill(1);
    std::int64_t expected = 100;
    for (int i = 0; i < count(100, 2000); ++i) {
        auto held = b.db.begin();
        int added = 0;
        bool otherwise = false;
        std::thread other([&] {
            for (errc why{}; why == errc{} && added < 20;) {
                const auto r = held.try_transaction([](auto& inner) { inner.execute(add_balance(1, 1)); });
                if (r)
                    ++added;
                else
                    why = r.error().code();
                otherwise = why != errc{} && why != errc::misuse;
            }
        });
        for (int n = i % 7; n > 0; --n) std::this_thread::yield();
        while (!held.try_commit()) std::this_thread::yield();
        other.join();
        REQUIRE(!otherwise);
        expected += added;
        REQUIRE(b.balance_of(1) == expected);
    }
    check_at_rest(b.db);
}
