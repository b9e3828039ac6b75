// Faults on order: a share of the attempts fails, or is slow, as if the database had been the cause.
//
// It stands innermost, so retry, breaker and timeouts meet the fault as they would meet a real one. Randomness
// comes from the world, so a seeded run is repeated exactly.
#ifndef STRATA_TESTING_CHAOS_HPP
#define STRATA_TESTING_CHAOS_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/tagged.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

struct chaos_options {
    double rate = 0;         ///< share of the attempts that are struck, in [0, 1]
    errc code = errc::busy;  ///< what a struck attempt fails with; `errc::ok`: it is only slow
    duration latency{};      ///< how long a struck attempt takes before that; not negative

    [[nodiscard]] error validate() const {
        if (!(rate >= 0.0 && rate <= 1.0)) return detail::bad_option("chaos_options.rate", "must lie in 0 to 1");
        if (latency < duration::zero()) return detail::bad_option("chaos_options.latency", "must not be negative");
        return {};
    }
    friend bool operator==(const chaos_options&, const chaos_options&) = default;
};

/// Thread-safe, and settable while in use. At rate 0 it costs one relaxed load.
class chaos {
public:
    using options = chaos_options;
    static constexpr auto place = strata::place::attempt;
    struct frame {
        bool delayed = false;
    };

    chaos() : chaos(options{}) {}
    explicit chaos(const options& o) noexcept : threshold_(threshold_of(o.rate)), code_(o.code), latency_(o.latency.count()) {}

    STRATA_INLINE verdict admit(auto&, frame& f, moment m) noexcept {
        const std::uint64_t threshold = threshold_.load(std::memory_order_relaxed);
        if (threshold == 0 && !f.delayed) [[likely]]
            return proceed();
        return strike(threshold, f, m);
    }

    /// Clipped to 0 .. 1.
    void set_rate(double rate) noexcept { threshold_.store(threshold_of(rate), std::memory_order_relaxed); }
    void set_code(errc code) noexcept { code_.store(code, std::memory_order_relaxed); }
    void set_latency(duration d) noexcept { latency_.store(d.count(), std::memory_order_relaxed); }
    /// Attempts struck so far.
    [[nodiscard]] std::uint64_t injected() const noexcept { return injected_.load(std::memory_order_relaxed); }

private:
    static constexpr double all = 4294967296.0;  // 2^32

    [[nodiscard]] static std::uint64_t threshold_of(double rate) noexcept {
        return rate > 0 ? static_cast<std::uint64_t>((rate < 1 ? rate : 1) * all) : 0;
    }

    STRATA_COLD verdict strike(std::uint64_t threshold, frame& f, moment m) noexcept {
        if (!f.delayed) {
            if ((m.random() >> 32) >= threshold) return proceed();
            injected_.fetch_add(1, std::memory_order_relaxed);
            const duration latency{latency_.load(std::memory_order_relaxed)};
            if (latency > duration::zero()) {
                f.delayed = true;
                return work_until(add_saturated(m.now, latency));
            }
        }
        const errc code = code_.load(std::memory_order_relaxed);
        return code == errc::ok ? proceed() : fail(code);
    }

    std::atomic<std::uint64_t> threshold_;  ///< rate * 2^32
    std::atomic<errc> code_;
    std::atomic<duration::rep> latency_;
    std::atomic<std::uint64_t> injected_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
