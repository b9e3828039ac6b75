// What transactions see of each other on a real server, judged by support/history.hpp: clients that append to lists and read them.
#include "fault_fixture.hpp"

#include <strata/value/array.hpp>
#include <support/history.hpp>

#include <cstdio>
#include <mutex>
#include <random>
#include <thread>

using namespace strata_test;

namespace {

using stack = strata::stack<strata::retry<>, strata::pool<>, strata::postgres>;
enum class level : std::uint8_t { read_committed, repeatable_read, serializable };

/// The one place that says how a transaction is isolated.
strata::transaction_options<strata::postgres> isolated(level l) {
    using enum strata::isolation;
    return {.isolation = l == level::serializable ? serializable : l == level::repeatable_read ? repeatable_read : read_committed};
}

constexpr auto read_list = "select items from list where id = :id"_sql;
constexpr auto append_to_list = "update list set items = items || :value::int8 where id = :id"_sql;

struct workload {
    level isolation = level::serializable;
    int clients = 6;
    int transactions = 0;  // of each client
    int lists = 6;
    unsigned seed = 1;
};

struct outcome_of_workload {
    list_history history;
    history_report report;
    std::uint64_t retries = 0;
    std::size_t committed = 0, aborted = 0, unknown = 0;

    void tell(const char* title) const {
        std::printf(
            "%s: %zu transactions committed, %llu retries, %zu attempts rolled back, %zu unknown (%zu of them seen); anomalies: %s\n",
            title, committed, static_cast<unsigned long long>(retries), aborted, unknown, report.resolved, report.to_string().c_str());
        std::fflush(stdout);
    }
};

/// One client: small random transactions as closures; every attempt is a transaction of the history.
class client {
public:
    client(strata::database<stack>& db, const workload& w, int number, std::atomic<std::int64_t>& values)
        : db_(db), work_(w), random_(w.seed * 1000U + static_cast<unsigned>(number)), values_(values) {}

    void run() {
        for (int i = 0; i < work_.transactions; ++i) {
            std::vector<std::pair<int, bool>> plan(2 + random_() % 3);
            for (auto& [list, append] : plan) {
                list = static_cast<int>(random_() % static_cast<unsigned>(work_.lists));
                append = random_() % 2 == 0;
            }
            one(plan);
        }
    }
    list_history seen;

private:
    void one(const std::vector<std::pair<int, bool>>& plan) {
        std::optional<list_transaction> attempt;
        const auto end_attempt = [&](fate f) {
            if (!attempt) return;
            attempt->ended = f;
            seen.push_back(std::move(*attempt));
            attempt.reset();
        };
        const auto done = db_.try_transaction(
            [&](auto& tx) {
                end_attempt(fate::aborted);  // one that was repeated
                attempt.emplace();
                for (const auto& [list, append] : plan) {
                    if (append) {
                        const std::int64_t value = ++values_;
                        attempt->steps.push_back(appends(list, value));  // before it is sent: it may arrive though no answer does
                        tx.execute(append_to_list("id"_arg = list, "value"_arg = value));
                    } else {
                        attempt->steps.push_back(reads(list, tx.template one<std::vector<std::int64_t>>(read_list(list))));
                    }
                }
            },
            isolated(work_.isolation));
        end_attempt(done ? fate::committed : done.error().effect() == strata::effect::unknown ? fate::unknown : fate::aborted);
    }

    strata::database<stack>& db_;
    const workload& work_;
    std::mt19937 random_;
    std::atomic<std::int64_t>& values_;
};

/// The server looks for deadlocks, of which there are many here, after a second: the lists are locked in any order.
strata::postgres_options impatient(strata::postgres_options o) {
    std::string text{o.connection};
    const std::size_t quoted = text.find("options='");  // or in a URL, at its end
    if (quoted != text.npos)
        text.insert(quoted + 9, "-cdeadlock_timeout=10ms ");
    else
        text += "%20-cdeadlock_timeout%3D10ms";
    o.connection = text;
    return o;
}

outcome_of_workload run(const server& in, strata::postgres_options through, const workload& w) {
    strata::database<plain_stack> direct{in.options(), server::one()};
    direct.execute("drop table if exists list"_sql());
    direct.execute("create table list (id int primary key, items bigint[] not null default '{}')"_sql());
    direct.execute("insert into list select i from generate_series(0, :most::int) i"_sql(w.lists - 1));

    strata::database<stack> db{impatient(through), strata::pool_options{.min_size = 0, .max_size = static_cast<std::size_t>(w.clients)},
                               strata::retry_options{.max_attempts = 50, .base = 500us, .cap = 20ms, .budget = 0}};
    std::atomic<std::int64_t> values{0};
    std::vector<client> clients;
    for (int c = 0; c < w.clients; ++c) clients.emplace_back(db, w, c, values);
    {
        std::vector<std::jthread> threads;
        for (client& c : clients) threads.emplace_back([&c] { c.run(); });
    }
    outcome_of_workload o;
    for (client& c : clients) o.history.insert(o.history.end(), c.seen.begin(), c.seen.end());
    list_transaction last;  // sees everything
    for (int list = 0; list < w.lists; ++list) last.steps.push_back(reads(list, direct.one<std::vector<std::int64_t>>(read_list(list))));
    o.history.push_back(last);
    for (const list_transaction& t : o.history)
        ++(t.ended == fate::committed ? o.committed : t.ended == fate::aborted ? o.aborted : o.unknown);
    o.retries = db.policy<strata::retry<>>().snapshot().repeats;
    o.report = check_ended_history(o.history);
    return o;
}

unsigned any_seed() {
    return std::random_device{}() % 1'000'000;
}

void forbid(const outcome_of_workload& o, std::initializer_list<anomaly> kinds) {
    for (const anomaly a : kinds) {
        CAPTURE(to_string(a), o.report.to_string());
        CHECK(o.report.count(a) == 0);
    }
}
using enum anomaly;

}  // namespace

TEST_CASE("serializable closures with retry show no anomaly", "[postgres][isolation]") {
    const server in;
    const workload w{.isolation = level::serializable, .transactions = count(150, 2'000), .seed = any_seed()};
    CAPTURE(w.seed);
    const outcome_of_workload o = run(in, in.options(), w);
    o.tell("serializable");
    CHECK(o.report.found.empty());
    CHECK(o.unknown == 0);
    CHECK(o.retries > 0);  // there was something to get wrong
    CHECK(o.committed + o.aborted == o.history.size());
    CHECK(o.committed >= static_cast<std::size_t>(w.clients * w.transactions) * 9 / 10);
    CHECK(o.report.dependencies > o.committed);
}

TEST_CASE("weaker levels show only what they allow", "[postgres][isolation]") {
    const server in;
    workload w{.isolation = level::read_committed, .transactions = count(150, 2'000), .seed = any_seed()};
    CAPTURE(w.seed);
    const outcome_of_workload weak = run(in, in.options(), w);
    weak.tell("read committed");
    forbid(weak, {invented, repeated, diverging, lost, vanished, g1a, g1b, g0, g1c});

    w.isolation = level::repeatable_read;
    const outcome_of_workload snapshot = run(in, in.options(), w);
    snapshot.tell("repeatable read");
    forbid(snapshot, {invented, repeated, diverging, lost, vanished, g1a, g1b, g0, g1c, g_single});
}

TEST_CASE("serializable stays so when connections are cut, with outcomes that nobody knows", "[postgres][isolation][fault]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    const workload w{.isolation = level::serializable, .transactions = count(120, 1'000), .seed = any_seed()};
    CAPTURE(w.seed);
    std::atomic<bool> over{false};
    std::jthread cutter{[&] {
        std::mt19937 random{w.seed};
        for (std::uint64_t next = 0; !over; std::this_thread::sleep_for(1ms)) {
            if (b.proxy.bytes(way::to_server) < next) continue;  // by what was done, not by the time that it took
            next = b.proxy.bytes(way::to_server) + 8'000 + random() % 12'000;
            b.proxy.cut_after(random() % 2 == 0 ? way::to_server : way::to_client, random() % 3'000);  // in the middle of something
        }
        b.proxy.do_not_cut();
    }};
    const outcome_of_workload o = run(b.behind.in, b.options(), w);
    over = true;
    cutter.join();
    o.tell("serializable, with cut connections");
    std::printf("  %d cuts\n", b.proxy.struck());
    CHECK(o.report.found.empty());
    CHECK(b.proxy.struck() > 3);
    CHECK(o.committed > static_cast<std::size_t>(w.clients * w.transactions) / 2);
}
