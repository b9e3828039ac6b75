// The base of pool.fairness: how long callers wait where they are served strictly in order, computed, and simulated by hand.
//   raw_fairness ACQUIRES CONNECTIONS SEED
//
// Computed. With c servers and K = 2c callers, thinking at the rate l each and served at the rate m, the number n of those who wait or are
// served is a birth and death process: up by (K - n) l, down by min(n, c) m. So in equilibrium
//
//     p(K, n) ~ C(K, n) (l/m)^n                     for n < c
//     p(K, n) ~ C(K, n) (l/m)^n n! / (c! c^(n-c))   for n >= c
//
// (the machine repairman, M/M/c//K: Kleinrock, Queueing Systems I, 3.8; Gross and Harris, Fundamentals of Queueing Theory, 2.7). A caller
// that asks finds what the same system holds in equilibrium without this caller, p(K - 1, n): the arrival theorem of closed networks
// (Sevcik and Mitrani, and Lavenberg and Reiser, 1980). Who finds n >= c waits until n - c + 1 have gone; while anybody waits all c serve,
// so these are as many exponential times of the rate c m in a row, an Erlang time, and
//
//     P(wait > t) = sum over n = c ... K-1 of p(K-1, n) * sum over j = 0 ... n-c of e^(-c m t) (c m t)^j / j!
//
// Simulated. Events by hand, with a generator and a queue that have nothing in common with strata's: in order (`fifo`), which must agree
// with what was computed, and last come first served (`lifo`), as a pool serves whose callers may overtake one another.
#include "../closed_queue.hpp"

#include <deque>
#include <queue>
#include <random>

namespace {

/// P(wait > t), t in mean times of service.
double waits_longer(double t, int c) {
    const int others = 2 * c - 1;
    std::vector<double> p(static_cast<std::size_t>(others) + 1, 1.0);
    double sum = 1.0;
    for (int n = 1; n <= others; ++n) {
        p[static_cast<std::size_t>(n)] = p[static_cast<std::size_t>(n) - 1] * (others - n + 1) / std::min(n, c);
        sum += p[static_cast<std::size_t>(n)];
    }
    double longer = 0.0, term = std::exp(-c * t), erlang = 0.0;
    for (int n = c; n <= others; ++n) {
        erlang += term;
        term *= c * t / (n - c + 1);
        longer += p[static_cast<std::size_t>(n)] / sum * erlang;
    }
    return longer;
}

double computed(double q, int c) {
    double low = 0.0, high = 1000.0;
    for (int i = 0; i < 200; ++i) {
        const double middle = (low + high) / 2;
        (waits_longer(middle, c) > 1.0 - q ? low : high) = middle;
    }
    return high * bench::mean_ns;
}

/// The 99.9th percentile of so many waits.
std::int64_t simulated(long acquires, int c, std::uint64_t seed, bool in_order) {
    struct event {
        std::int64_t at;
        bool asks;  ///< else it comes back
        bool operator>(const event& o) const noexcept { return at > o.at; }
    };
    std::mt19937_64 random{seed};
    const auto later = [&] { return bench::exponential(random()); };
    std::priority_queue<event, std::vector<event>, std::greater<>> events;
    std::deque<std::int64_t> queue;  // when they asked
    int idle = c;
    bench::waits waits{acquires};
    for (int i = 0; i < 2 * c; ++i) events.push({later(), true});
    while (!waits.enough()) {
        const event e = events.top();
        events.pop();
        if (!e.asks) {
            ++idle;
            events.push({e.at + later(), true});
        } else {
            queue.push_back(e.at);
        }
        if (idle == 0 || queue.empty()) continue;
        const std::int64_t asked = in_order ? queue.front() : queue.back();
        in_order ? queue.pop_front() : queue.pop_back();
        --idle;
        waits.add(e.at - asked);
        events.push({e.at + later(), false});
    }
    return waits.quantile(0.999);
}

}  // namespace

int main(int argc, char** argv) {
    const long acquires = bench::number(argc, argv, 1);
    const int connections = static_cast<int>(bench::number(argc, argv, 2));
    const auto seed = static_cast<std::uint64_t>(bench::number(argc, argv, 3));
    std::printf("computed=%lld fifo=%lld lifo=%lld\n", static_cast<long long>(computed(0.999, connections)),
                static_cast<long long>(simulated(acquires, connections, seed, true)),
                static_cast<long long>(simulated(acquires, connections, seed + 1, false)));
}
