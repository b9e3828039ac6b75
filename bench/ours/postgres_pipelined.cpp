// The pipelined lines: many callers at once through the bank's eight layers, over a pool or over connections that they share.
//   ours_postgres_pipelined CALLS URL SOURCE CALLERS WHAT [THREADS]
//     SOURCE   pool:N: a pool of N connections; shared: for each thread two that all share; alone: the same, each read behind its own Sync
//     CALLERS  each asks again as soon as it has its answer; spread over THREADS, each with an io_context of its own
//     WHAT     reads: selects by key; mixed: every fifth an update of one row; sleep, sum: reads, while four more callers ask for
//              something slow (not counted): a sleep of 20 ms, which has a connection for itself, or the sum of all balances
// Slow statements are moved to the pool only for sleep and sum: on a busy machine, or under valgrind, every statement may seem slow.
// For sleep and sum the line ends with the times of the reads: p50_ns=A p99_ns=B
#include "../account.hpp"
#include "../measure.hpp"
#include "postgres_bank.hpp"

#include <strata/async.hpp>
#include <strata/source/pipelined.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/hana/adapt_struct.hpp>

#include <algorithm>
#include <barrier>
#include <string>
#include <thread>
#include <vector>

BOOST_HANA_ADAPT_STRUCT(account, id, owner, balance, version);

using namespace strata::literals;

namespace {

using pipelined_bank = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>,
                                     strata::attempt_timeout, strata::chaos, strata::pipelined<2, strata::pool<>>, strata::postgres>;

constexpr auto find = "select id, owner, balance, version from strata_bench_account where id = :id"_sql;
constexpr auto add = "update strata_bench_account set balance = balance + 1 where id = :id"_sql;
constexpr auto sleep_20_ms = "select 1 from pg_sleep(0.02)"_sql;
constexpr auto sum_all = "select sum(balance)::bigint from strata_bench_account"_sql;

struct plan {
    long calls = 0;
    const char* url = nullptr;
    std::string source;
    long callers = 0;
    std::string what;
    long threads = 1;

    [[nodiscard]] bool has_slow() const { return what == "sleep" || what == "sum"; }
};

/// The callers of one thread.
template <class Face>
class callers {
    using clock = std::chrono::steady_clock;

public:
    callers(Face& face, const plan& p) : face_(face), mixed_(p.what == "mixed"), slow_(p.has_slow()), sum_(p.what == "sum") {}

    /// From the `first` to before the `end` of all calls.
    void ask(long first, long end, long number) {
        next_ = first;
        end_ = end;
        left_ = end - first;
        if (slow_) {
            times.clear();
            times.reserve(static_cast<std::size_t>(left_));
            for (int i = 0; i < 4 && left_ > 0; ++i) ask_slow();
        }
        for (long i = 0; i < number && next_ < end_; ++i) ask_next();
    }

    bench::checksum sum;
    clock::time_point finished;
    std::vector<long long> times;

private:
    void ask_next() {
        const long i = next_++;
        if (mixed_ && i % 5 == 4)
            update(bench::key(i));
        else if (slow_)
            read(bench::key(i), clock::now());
        else
            read(bench::key(i));
    }
    template <class... At>
    void read(std::int64_t id, At... asked) {
        face_.template async_try_one<account>(find("id"_arg = id), [this, id, asked...](strata::result<account> r) {
            if (!r) bench::give_up(r.error().to_string().c_str());
            if (r->id != id) bench::give_up("another one's row");
            bench::add_in_any_order(sum, *r);
            (times.push_back(std::chrono::nanoseconds{clock::now() - asked}.count()), ...);
            go_on();
        });
    }
    void update(std::int64_t id) {
        face_.async_execute(add("id"_arg = id), [this](const std::exception_ptr& failed, const strata::execution& done) {
            if (failed) bench::give_up("an update failed");
            sum.sum += static_cast<std::uint64_t>(done.affected);
            go_on();
        });
    }
    void ask_slow() {
        const auto again = [this](const auto& r) {
            if (!r) bench::give_up(r.error().to_string().c_str());
            if (left_ > 0) ask_slow();
        };
        if (sum_)
            face_.template async_try_one<std::int64_t>(sum_all, again);
        else
            face_.template async_try_one<std::int32_t>(sleep_20_ms, again);
    }
    void go_on() {
        if (--left_ == 0) finished = clock::now();
        if (next_ < end_) ask_next();
    }

    Face& face_;
    const bool mixed_, slow_, sum_;
    long next_ = 0, end_ = 0, left_ = 0;
};

std::string percentiles(std::vector<long long>& times) {
    std::sort(times.begin(), times.end());
    const auto at = [&](double share) {
        return std::to_string(times[static_cast<std::size_t>(share * static_cast<double>(times.size()))]);
    };
    return " p50_ns=" + at(0.5) + " p99_ns=" + at(0.99);
}

template <class Database>
void run(Database& db, const plan& p) {
    bench::checksum sum;
    std::vector<long long> times;
    std::chrono::steady_clock::time_point start, finished;
    long long cpu = 0;
    std::mutex results;
    std::barrier warm(p.threads, [&]() noexcept {
        cpu = bench::cpu_ns();
        start = std::chrono::steady_clock::now();
    });
    const auto work = [&](long thread) {
        boost::asio::io_context io{1};
        auto face = db.async(io.get_executor());
        callers mine{face, p};
        const long number = p.callers / p.threads;
        mine.ask(0, 2000, number);
        io.run();
        io.restart();
        mine.sum = {};
        warm.arrive_and_wait();
        mine.ask(p.calls * thread / p.threads, p.calls * (thread + 1) / p.threads, number);
        io.run();
        const std::lock_guard lock(results);
        sum.sum += mine.sum.sum - bench::checksum{}.sum;
        times.insert(times.end(), mine.times.begin(), mine.times.end());
        finished = std::max(finished, mine.finished);
    };
    std::vector<std::jthread> others;
    for (long i = 1; i < p.threads; ++i) others.emplace_back(work, i);
    work(0);
    others.clear();
    const std::string more = p.has_slow() && !times.empty() ? percentiles(times) : "";
    std::printf("checksum=%016llx ns=%lld cpu_ns=%lld%s\n", static_cast<unsigned long long>(sum.sum),
                static_cast<long long>(std::chrono::nanoseconds{finished - start}.count()), bench::cpu_ns() - cpu, more.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    const plan p{bench::number(argc, argv, 1), bench::text(argc, argv, 2), bench::text(argc, argv, 3),
                 bench::number(argc, argv, 4), bench::text(argc, argv, 5), argc > 6 ? bench::number(argc, argv, 6) : 1};
    const strata::postgres_options target{.connection = p.url};
    if (p.source.starts_with("pool:")) {
        const std::size_t size = std::stoul(p.source.substr(5));
        strata::database<bench::postgres_bank> db{target, strata::pool_options{.min_size = size, .max_size = size}};
        run(db, p);
    } else if (p.source == "shared" || p.source == "alone") {
        strata::pipelined_options sharing{.groups = static_cast<std::size_t>(p.threads)};
        if (p.source == "alone") sharing.max_sharing = 1;
        if (!p.has_slow()) sharing.slow = {};
        strata::database<pipelined_bank> db{target, strata::pool_options{.min_size = 1, .max_size = 8}, sharing};
        run(db, p);
    } else {
        bench::give_up("SOURCE is pool:N, shared or alone");
    }
}
