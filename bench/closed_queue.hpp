// The closed queue that pool.fairness and simulation.steps run: C connections, 2C callers. A caller thinks, asks for a connection, holds
// it, gives it back, and thinks again; thinking and holding take exponential times of one mean, which is 1 ms. Nothing of strata.
#ifndef BENCH_CLOSED_QUEUE_HPP
#define BENCH_CLOSED_QUEUE_HPP

#include "measure.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bench {

inline constexpr double mean_ns = 1e6;  ///< of thinking and of holding

/// An exponential time of mean `mean_ns` from 64 random bits.
inline std::int64_t exponential(std::uint64_t random) noexcept {
    return static_cast<std::int64_t>(-std::log1p(-static_cast<double>(random >> 11) * 0x1.0p-53) * mean_ns);
}

/// The waits of a run, in nanoseconds, those of the beginning left out: everybody thinks then.
class waits {
public:
    explicit waits(long wanted) : wanted_(static_cast<std::size_t>(wanted)) { all_.reserve(wanted_); }
    void add(std::int64_t ns) {
        if (skipped_ < wanted_ / 100)
            ++skipped_;
        else if (!enough())
            all_.push_back(ns);
    }
    [[nodiscard]] bool enough() const noexcept { return all_.size() >= wanted_; }
    /// The least wait that the share `q` of all did not exceed.
    [[nodiscard]] std::int64_t quantile(double q) {
        const auto nth = all_.begin() + static_cast<std::ptrdiff_t>(std::ceil(q * static_cast<double>(all_.size()))) - 1;
        std::nth_element(all_.begin(), nth, all_.end());
        return *nth;
    }

private:
    std::vector<std::int64_t> all_;
    std::size_t wanted_;
    std::size_t skipped_ = 0;
};

}  // namespace bench

#endif
