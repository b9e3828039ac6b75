// Whatever is lost at whatever step, once or again and again: what is said of a transaction is what happened to it. No database.
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_world.hpp>

#include <support/catch.hpp>

#include <random>
#include <utility>

using namespace strata::literals;
using strata::effect;
using strata::errc;

namespace {

using stack = strata::stack<strata::retry<>, strata::pool<>, strata::scripted_postgres>;
constexpr auto put = "insert into t values (1)"_sql.named("put");

/// What the database does in each attempt, drawn when the closure runs, and what it has done.
class fate {
public:
    fate(strata::script s, unsigned seed, bool resolves) : script_(std::move(s)), random_(seed), resolves_(resolves) {}

    /// In the closure. False: a statement of it is to fail.
    void draw(unsigned attempt) {
        CHECK(++closures == attempt);
        switch (random_() % 8) {
            case 0:
                return script_.on(put).fails(errc::serialization_failure).times(1), lose();
            case 1:
                return script_.on(put).fails(errc::connection_lost, effect::rolled_back).times(1), lose();
            default:
                break;
        }
        if (resolves_) {
            switch (random_() % 8) {
                case 0:
                    return script_.on("pg_current_xact_id").fails(errc::connection_lost).times(1), lose();
                case 1:
                    script_.on("pg_current_xact_id").rows({{nullptr}}).times(1);
                    has_id_ = false;
                    break;
                default:
                    script_.on("pg_current_xact_id").rows({{"7"}}).times(1);
                    has_id_ = true;
            }
        }
        switch (random_() % 8) {
            case 0:
                return script_.on_commit().fails(errc::serialization_failure).times(1), lose();
            case 1:
                return script_.on_commit().fails(errc::foreign_key_violation).times(1), lose();
            case 2:
            case 3:
                return answer_lost();
            default:
                ++commits;
                known_ = true;
        }
    }
    bool is_known() const { return known_; }

    unsigned closures = 0, rollbacks = 0;
    int commits = 0;

private:
    void lose() { ++rollbacks; }
    void answer_lost() {
        const bool committed = random_() % 2 == 0;
        commits += committed;
        script_.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
        known_ = false;
        if (!resolves_ || !has_id_) return;
        switch (random_() % 3) {
            case 0:
                script_.on("pg_xact_status").fails(errc::cannot_connect).times(1);
                break;
            case 1:
                script_.on("pg_xact_status").rows({{"in progress"}}).times(1);
                break;
            default:
                script_.on("pg_xact_status").rows({{committed ? "committed" : "aborted"}}).times(1);
                known_ = true;
                if (!committed) lose();
        }
    }

    strata::script script_;
    std::mt19937 random_;
    bool resolves_;
    bool has_id_ = false;
    bool known_ = true;
};

struct told {
    unsigned committed = 0, rolled_back = 0;
};

void is_true(const strata::result<int>& r, const fate& f, const told& t, bool once) {
    CHECK(f.commits <= 1);
    if (r) {
        CHECK(f.commits == 1);
        CHECK(f.is_known());
        CHECK(t.committed == 1);
        CHECK(*r == static_cast<int>(f.closures));
    } else if (r.error().effect() == effect::unknown) {
        CHECK(!f.is_known());
        CHECK(t.committed == 0);
    } else {
        CAPTURE(r.error().to_string());
        CHECK(r.error().effect() != effect::applied);
        CHECK(f.commits == 0);
        CHECK(t.committed == 0);
    }
    CHECK(t.rolled_back == f.rollbacks);
    if (once) CHECK(f.closures <= 1);
}

const strata::retry_options patient{.max_attempts = 6, .base = std::chrono::milliseconds{1}, .budget = 0};

}  // namespace

TEST_CASE("what is said of a transaction is what happened, whatever was lost", "[transaction][truth]") {
    int unknown = 0, repeated = 0;
    for (unsigned seed = 1; seed <= static_cast<unsigned>(strata_test::count(1500, 60'000)); ++seed) {
        const bool resolves = seed % 2 == 0, once = seed % 5 == 0;
        CAPTURE(seed, resolves, once);
        strata::script script;
        script.on_any().rows({{1}});
        std::mt19937 begins{seed};
        for (auto n = begins() % 3; n > 0; --n) script.on_begin().fails(begins() % 2 ? errc::busy : errc::connection_lost).times(1);
        strata::simulated_world world{seed};
        strata::database<stack, strata::simulated_world> db{world, strata::scripted_options{script}, patient,
                                                            strata::pool_options{.min_size = 0, .max_size = 1}};
        fate f{script, seed, resolves};
        told t;
        const auto body = [&](auto& tx) {
            tx.on_commit([&] { ++t.committed; });
            tx.on_rollback([&] { ++t.rolled_back; });
            f.draw(f.closures + 1);
            static_cast<void>(tx.try_transaction([](auto& inner) { inner.execute(put); }));  // swallowed, if it fails
            return static_cast<int>(f.closures);
        };
        const strata::transaction_options<strata::scripted_postgres> o{.resolve_commit = resolves};
        const auto r = once ? db.try_transaction(strata::once(body), o) : db.try_transaction(body, o);
        is_true(r, f, t, once);
        unknown += !r && r.error().effect() == effect::unknown;
        repeated += f.closures > 1;
        CHECK(db.one<int>("select 1"_sql) == 1);
    }
    CHECK(unknown > 0);
    CHECK(repeated > 0);
}
