// The world of a runtime: where it takes time and randomness from, and how a thread waits in it.
//
// An object, never a global: tests give a runtime another one (testing/simulated_world.hpp), and the Asio
// face waits by timers of its own executor (async.hpp).
#ifndef STRATA_CORE_WORLD_HPP
#define STRATA_CORE_WORLD_HPP

#include <strata/core/background.hpp>
#include <strata/core/error.hpp>
#include <strata/core/waiter.hpp>

namespace strata::inline STRATA_ABI {

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): the n-th number is a mix of
/// seed + n * golden gamma, so one atomic add serves all threads and a seed gives one sequence.
class splitmix final : public random_source {
public:
    explicit splitmix(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t next() noexcept override {
        std::uint64_t z = state_.fetch_add(0x9e3779b97f4a7c15ull, std::memory_order_relaxed) + 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

private:
    std::atomic<std::uint64_t> state_;
};

/// The real clock, and threads that really block.
class system_world {
public:
    /// Seeded from the clock and the object's address: good for jitter, not for secrets.
    system_world() noexcept
        : random_(static_cast<std::uint64_t>(clock::now().time_since_epoch().count()) ^ reinterpret_cast<std::uintptr_t>(this)) {}
    /// Seeded by the user, for runs that can be repeated.
    explicit system_world(std::uint64_t seed) noexcept : random_(seed) {}

    [[nodiscard]] STRATA_INLINE strata::moment moment() noexcept { return {steady_now(), &random_}; }

    /// Blocks the calling thread until the node is granted or `until`; null means just time.
    STRATA_COLD void park(waiter* node, time_point until) noexcept {
        if (node != nullptr) return node->block(until);
        waiter nobody;
        nobody.prepare(nullptr);
        nobody.block(until);
    }

    /// Runs the task in a thread of the world, begun when the first one is due, until `unspawn`. Throws `failure` when there is no thread
    /// to be had.
    STRATA_COLD void spawn(background& task) {
        if (!threads_.add(task))
            throw_failure(error{errc::out_of_memory, "no thread could be begun for the upkeep of a pool", phase::admission});
    }
    /// Waits until the task is not running; it is not run again.
    STRATA_COLD void unspawn(background& task) noexcept { threads_.remove(task); }

private:
    splitmix random_;
    background_threads threads_{random_};
};

}  // namespace strata::inline STRATA_ABI

#endif
