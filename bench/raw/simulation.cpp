// The base of simulation.steps: the same clients as an event loop by hand, a priority queue of functions. A step is an event.
//   raw_simulation CALLS CLIENTS SEED
#include "../closed_queue.hpp"

#include <deque>
#include <functional>
#include <queue>
#include <random>

namespace {

struct event {
    std::int64_t at;
    std::uint64_t number;  ///< orders the events of one point in time
    std::function<void()> go;
    bool operator>(const event& o) const noexcept { return at != o.at ? at > o.at : number > o.number; }
};

class loop {
public:
    void after(std::int64_t ns, std::function<void()> go) {
        events_.push_back({now_ + ns, ++number_, std::move(go)});
        std::push_heap(events_.begin(), events_.end(), std::greater<>{});
    }
    void run() {
        while (!events_.empty()) {
            std::pop_heap(events_.begin(), events_.end(), std::greater<>{});
            const event next = std::move(events_.back());
            events_.pop_back();
            now_ = next.at;
            ++steps;
            next.go();
        }
    }
    std::uint64_t steps = 0;

private:
    std::vector<event> events_;
    std::int64_t now_ = 0;
    std::uint64_t number_ = 0;
};

struct clients_by_hand {
    loop events;
    std::mt19937_64 random;
    long idle;
    long left;
    bench::checksum sum;
    std::deque<std::size_t> queue;  // clients

    void think(std::size_t client) {
        if (left-- > 0) events.after(bench::exponential(random()), [this, client] { ask(client); });
    }
    void ask(std::size_t client) {
        if (idle == 0) return queue.push_back(client);
        --idle;
        serve(client);
    }
    void serve(std::size_t client) {
        events.after(static_cast<std::int64_t>(bench::mean_ns), [this, client] {
            sum.add(1);
            if (queue.empty()) {
                ++idle;
            } else {
                const std::size_t next = queue.front();
                queue.pop_front();
                events.after(0, [this, next] { serve(next); });
            }
            think(client);
        });
    }
};

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1), clients = bench::number(argc, argv, 2), seed = bench::number(argc, argv, 3);
    clients_by_hand all{{}, std::mt19937_64{static_cast<std::uint64_t>(seed)}, clients / 2, calls, {}, {}};
    for (long i = 0; i < clients; ++i) all.think(static_cast<std::size_t>(i));
    const long long cpu = bench::cpu_ns();
    const auto start = std::chrono::steady_clock::now();
    all.events.run();
    char more[40];
    std::snprintf(more, sizeof(more), " steps=%llu", static_cast<unsigned long long>(all.events.steps));
    bench::report(all.sum, start, cpu, more);
}
