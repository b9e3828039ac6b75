// Metrics: what is counted where, and that nothing is counted twice or lost.
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using strata::operation_kind;
using strata::outcome_class;
using strata::step;

namespace {

using alone = strata::layers<strata::metrics<>>;

template <operation_kind Kind>
using of_kind = strata::operation<strata::operation_facts{.kind = Kind}>;

}  // namespace

TEST_CASE("operations are counted by kind and outcome", "[metrics]") {
    STATIC_REQUIRE(strata::metrics<>::place == strata::place::observe);
    alone l;
    manual_world w;
    for (int i = 0; i < 3; ++i) run<of_kind<operation_kind::read>>(l, w, succeeds());
    run<of_kind<operation_kind::read>>(l, w, ends_with(errc::no_rows));
    run<of_kind<operation_kind::transaction>>(l, w, ends_with(errc::deadlock, strata::effect::rolled_back));
    run<of_kind<operation_kind::transaction>>(l, w, ends_with(errc::user_error, strata::effect::rolled_back));
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    CHECK(s.count(operation_kind::read, outcome_class::ok) == 3);
    CHECK(s.count(operation_kind::read, outcome_class::result) == 1);
    CHECK(s.count(operation_kind::transaction, outcome_class::contention) == 1);
    CHECK(s.count(operation_kind::transaction, outcome_class::user) == 1);
    CHECK(s.count(operation_kind::read) == 4);
    CHECK(s.count(operation_kind::transaction) == 2);
    CHECK(s.count(operation_kind::write) == 0);
    CHECK(s.count(outcome_class::ok) == 3);
    CHECK(s.total() == 6);
    CHECK(s.attempts() == 6);
    CHECK(s.rollbacks == 2);
    CHECK(s.retries == 0);
    CHECK(s.latency.count() == 6);
    CHECK(s.statements.empty());
}

TEST_CASE("the kind of a run-time statement is its own", "[metrics]") {
    alone l;
    manual_world w;
    strata::operation<strata::operation_facts{.kind_known = false}> op;
    op.run_time_kind = operation_kind::ddl;
    strata::passage p{l, op};
    drive(p, op, w, succeeds());
    CHECK(l.at<0>().snapshot().count(operation_kind::ddl, outcome_class::ok) == 1);
}

TEST_CASE("latency runs from admission to the end, with retries and pauses", "[metrics]") {
    using both = strata::layers<strata::metrics<>, strata::retry<>>;
    both l = build<both>(strata::retry_options{.max_attempts = 2, .base = 100ms});
    manual_world w;
    w.set_unit(0.5);
    run(l, w, [&](auto&, strata::outcome& o) {
        w.pass(25ms);
        o.replace(strata::error{errc::busy});
    });
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    CHECK(s.total() == 1);
    CHECK(s.retries == 1);
    CHECK(s.attempts() == 2);
    const auto ms = static_cast<double>(s.latency.percentile(1).count()) / 1e6;
    CHECK(ms == approx(100).epsilon(0.032));
}

TEST_CASE("refusals are those of this process", "[metrics]") {
    alone l;
    manual_world w;
    const auto local = [](errc code) {
        return [code](auto&, strata::outcome& o) { o.replace(std::move(strata::error{code}.set_local())); };
    };
    run(l, w, local(errc::circuit_open));
    run(l, w, local(errc::cannot_connect));  // refused by a pool, say
    run(l, w, local(errc::timeout));
    run(l, w, local(errc::cancelled));
    run(l, w, ends_with(errc::timeout));
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    CHECK(s.refusals() == 2);
    CHECK(s.count(outcome_class::timeout) == 2);
    CHECK(s.count(outcome_class::cancelled) == 1);
    CHECK(s.count(outcome_class::connection) == 0);
}

TEST_CASE("named statements are counted by name, also inside a transaction", "[metrics]") {
    alone l;
    manual_world w;
    const auto named = [&]<class Op>(std::type_identity<Op>, std::string_view name, errc code) {
        Op op;
        op.name = name;
        strata::passage p{l, op};
        drive(p, op, w, [&](auto& o, strata::outcome& out) {
            w.pass(2ms);
            ends_with(code)(o, out);
        });
    };
    const std::string once = "find_account";  // equal text, another address
    named(std::type_identity<plain_operation>{}, "find_account", errc::ok);
    named(std::type_identity<plain_operation>{}, once, errc::no_rows);
    named(std::type_identity<inner_operation>{}, "find_account", errc::ok);
    named(std::type_identity<inner_operation>{}, "add", errc::busy);
    named(std::type_identity<inner_operation>{}, "", errc::ok);
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    CHECK(s.total() == 2);  // what runs inside a transaction is no operation of its own
    CHECK(s.latency.count() == 2);
    REQUIRE(s.statements.size() == 2);
    REQUIRE(s.find("find_account") != nullptr);
    CHECK(s.find("find_account")->latency.count() == 3);
    CHECK(s.find("find_account")->failures == 1);
    const auto ms = static_cast<double>(s.find("find_account")->latency.percentile(0.5).count()) / 1e6;
    CHECK(ms == approx(2).epsilon(0.125));
    REQUIRE(s.find("add") != nullptr);
    CHECK(s.find("add")->failures == 1);
    CHECK(s.find("transfer") == nullptr);
}

TEST_CASE("an operation destroyed midway is abandoned, not counted", "[metrics]") {
    alone l;
    manual_world w;
    {
        plain_operation op;
        strata::passage p{l, op};
        REQUIRE(p.first(w.moment()) == step::attempt);
    }
    {
        inner_operation op;
        strata::passage p{l, op};
        REQUIRE(p.first(w.moment()) == step::attempt);
    }
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    CHECK(s.abandoned == 1);
    CHECK(s.total() == 0);
    CHECK(s.latency.count() == 0);
}

TEST_CASE("the difference of two snapshots is what happened between", "[metrics]") {
    using both = strata::layers<strata::metrics<>, strata::retry<>>;
    both l;
    manual_world w;
    const auto some = [&] {
        plain_operation op;
        op.name = "one";
        strata::passage p{l, op};
        drive(p, op, w, ends_with(errc::busy, strata::effect::rolled_back));
        run(l, w, succeeds());
    };
    some();
    const strata::metrics_snapshot before = l.at<0>().snapshot();
    some();
    some();
    {
        plain_operation op;
        op.name = "two";
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
    }
    {
        plain_operation op;
        strata::passage p{l, op};
        static_cast<void>(p.first(w.moment()));
    }
    const strata::metrics_snapshot d = l.at<0>().snapshot().since(before);
    CHECK(d.total() == 5);
    CHECK(d.count(outcome_class::contention) == 2);
    CHECK(d.retries == 4);
    CHECK(d.rollbacks == 2);
    CHECK(d.abandoned == 1);
    CHECK(d.latency.count() == 5);
    CHECK(d.find("one")->latency.count() == 2);
    CHECK(d.find("one")->failures == 2);
    CHECK(d.find("two")->latency.count() == 1);
}

TEST_CASE("threads count together", "[metrics][threads]") {
    alone l;
    constexpr int threads = 4;
    const int rounds = count(5'000, 100'000);
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            manual_world w;
            const std::string names[] = {"a", "b", "name" + std::to_string(t)};
            for (int i = 0; i < rounds; ++i) {
                plain_operation op;
                op.name = names[i % 3];
                strata::passage p{l, op};
                drive(p, op, w, ends_with(i % 5 == 0 ? errc::busy : errc::ok));
                if (i % 1'000 == 0) static_cast<void>(l.at<0>().snapshot());
            }
        });
    }
    for (std::thread& t : all) t.join();
    const strata::metrics_snapshot s = l.at<0>().snapshot();
    const auto whole = static_cast<std::uint64_t>(threads * rounds);
    CHECK(s.total() == whole);
    CHECK(s.count(outcome_class::contention) == whole / 5);
    CHECK(s.latency.count() == whole);
    CHECK(s.statements.size() == 2 + threads);
    std::uint64_t named = 0;
    for (const auto& one : s.statements) named += one.latency.count();
    CHECK(named == whole);
}
