// What chain.six stands beside: the same six layers, each a std::function around the next, doing its share by hand as programs do it: a
// mutex where several things change together, atomics where it is one.
//   raw_function_tower CALLS LAYERS     LAYERS is 0 (the empty call) or 6
#include "../allocations.hpp"
#include "../measure.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct call {
    const std::string& name;
    bool idempotent;
    clock_type::time_point deadline;
    unsigned attempt = 1;
};
enum class code { ok, busy, refused };
using layer = std::function<code(call&)>;

[[gnu::noinline]] code work(std::int64_t& rows) {
    asm volatile("" : "+m"(rows));
    ++rows;
    return code::ok;
}

struct latency {
    std::atomic<std::uint64_t> failures{0};
    std::array<std::atomic<std::uint64_t>, 64> buckets{};

    void record(clock_type::duration d, code c) {
        buckets[63 - static_cast<std::size_t>(__builtin_clzll(static_cast<std::uint64_t>(d.count()) | 1))].fetch_add(
            1, std::memory_order_relaxed);
        if (c != code::ok) failures.fetch_add(1, std::memory_order_relaxed);
    }
};

layer metrics(layer next) {
    struct state {
        latency all;
        std::mutex mutex;
        std::unordered_map<std::string, latency> named;
    };
    return [s = std::make_shared<state>(), next = std::move(next)](call& c) {
        const auto started = clock_type::now();
        const code r = next(c);
        const auto took = clock_type::now() - started;
        s->all.record(took, r);
        const std::lock_guard guard{s->mutex};
        s->named[c.name].record(took, r);
        return r;
    };
}

layer timeout(clock_type::duration limit, layer next) {
    return [limit, next = std::move(next)](call& c) {
        const auto outer = c.deadline;
        c.deadline = std::min(outer, clock_type::now() + limit);
        const code r = next(c);
        c.deadline = outer;
        return r;
    };
}

layer retry(layer next) {
    struct state {
        std::mutex mutex;
        double tokens = 0;
    };
    return [s = std::make_shared<state>(), next = std::move(next)](call& c) {
        code r = next(c);
        while (r != code::ok && c.idempotent && c.attempt < 3) {
            {
                const std::lock_guard guard{s->mutex};
                if (s->tokens < 1) break;
                s->tokens -= 1;
            }
            ++c.attempt;
            r = next(c);
        }
        if (r == code::ok) {
            const std::lock_guard guard{s->mutex};
            s->tokens = std::min(s->tokens + 0.1, 20'000.0);
        }
        return r;
    };
}

layer breaker(layer next) {
    struct counts {
        unsigned calls = 0, failures = 0, slow = 0;
    };
    struct state {
        std::mutex mutex;
        std::array<counts, 10> slices{};
        counts sum;
        std::size_t at = 0;
        unsigned in_a_row = 0;
        bool open = false;
        clock_type::time_point next_slice = clock_type::now() + 1s, until;
    };
    return [s = std::make_shared<state>(), next = std::move(next)](call& c) {
        const auto started = clock_type::now();
        {
            const std::lock_guard guard{s->mutex};
            if (s->open && started < s->until) return code::refused;
        }
        const code r = next(c);
        const auto now = clock_type::now();
        const std::lock_guard guard{s->mutex};
        for (; now >= s->next_slice; s->next_slice += 1s) {
            s->at = (s->at + 1) % s->slices.size();
            counts& oldest = s->slices[s->at];
            s->sum.calls -= oldest.calls, s->sum.failures -= oldest.failures, s->sum.slow -= oldest.slow;
            oldest = {};
        }
        for (counts* n : {&s->sum, &s->slices[s->at]}) {
            ++n->calls;
            if (r != code::ok) ++n->failures;
            if (now - started > 1s) ++n->slow;
        }
        s->in_a_row = r == code::ok ? 0 : s->in_a_row + 1;
        if (s->in_a_row >= 5 || (s->sum.calls >= 20 && (s->sum.failures * 2 >= s->sum.calls || s->sum.slow * 2 >= s->sum.calls))) {
            s->open = true;
            s->until = now + 5s;
        }
        return r;
    };
}

layer chaos(layer next) {
    struct state {
        std::mutex mutex;
        std::mt19937_64 random{1};
    };
    return [s = std::make_shared<state>(), next = std::move(next)](call& c) {
        {
            const std::lock_guard guard{s->mutex};
            if (s->random() >> 32 == 0) return code::busy;
        }
        return next(c);
    };
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1), layers = bench::number(argc, argv, 2);
    std::thread{[] {}}.join();  // as long as there never was one, glibc's mutexes take no atomic instruction
    std::int64_t rows = 0;
    layer all = [&rows](call&) { return work(rows); };
    if (layers != 0) all = metrics(timeout(10s, retry(breaker(timeout(1s, chaos(std::move(all)))))));
    const std::string name = "empty_account";
    bench::checksum sum;
    const auto once = [&] {
        call c{name, true, clock_type::now() + 30s};
        sum.add(all(c) == code::ok);
    };
    for (int i = 0; i < 1000; ++i) once();
    const long before = bench::allocations;
    const auto start = clock_type::now();
    for (long i = 0; i < calls; ++i) once();
    bench::report(sum, clock_type::now() - start, bench::allocations - before);
}
