// A histogram of durations that many threads write without a lock.
//
// The buckets are fixed and log-linear, as in HdrHistogram: each power of two is cut into 2^Bits equal parts, so the relative
// error of a value read back is the same everywhere, at most 1 / 2^(Bits + 1). One record is a shift, a few
// additions and one atomic increment. Nothing is ever reset: the difference of two snapshots is the time between them.
#ifndef STRATA_OBSERVE_HISTOGRAM_HPP
#define STRATA_OBSERVE_HISTOGRAM_HPP

#include <strata/core/time.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Which bucket a number falls into, and which numbers a bucket holds. All of uint64 is covered.
template <unsigned Bits>
struct log_linear {
    static constexpr std::uint64_t parts = std::uint64_t{1} << Bits;
    static constexpr std::size_t buckets = (65 - Bits) * parts;

    [[nodiscard]] static constexpr std::size_t index(std::uint64_t v) noexcept {
        const auto shift = static_cast<unsigned>(std::bit_width(v | (2 * parts - 1))) - (Bits + 1);
        return static_cast<std::size_t>((std::uint64_t{shift} << Bits) + (v >> shift));
    }
    /// Smallest number in the bucket.
    [[nodiscard]] static constexpr std::uint64_t lower(std::size_t i) noexcept {
        return i < 2 * parts ? i : (i % parts + parts) << (i / parts - 1);
    }
    /// How many numbers are in it.
    [[nodiscard]] static constexpr std::uint64_t width(std::size_t i) noexcept {
        return i < 2 * parts ? 1 : std::uint64_t{1} << (i / parts - 1);
    }
    /// The number that stands for all of them.
    [[nodiscard]] static constexpr std::uint64_t middle(std::size_t i) noexcept { return lower(i) + (width(i) - 1) / 2; }
};

}  // namespace detail

/// A plain copy of a histogram: to read, add and subtract.
template <unsigned Bits>
struct basic_histogram_snapshot {
    using layout = detail::log_linear<Bits>;
    std::array<std::uint64_t, layout::buckets> counts{};

    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t n = 0;
        for (const std::uint64_t c : counts) n += c;
        return n;
    }

    /// The value that the share `q` (0 to 1) of all values does not exceed; relative error at most 1 / 2^(Bits + 1). Zero when empty.
    [[nodiscard]] duration percentile(double q) const noexcept {
        const std::uint64_t n = count();
        if (n == 0) return {};
        const double exact = (q < 0 ? 0 : q > 1 ? 1 : q) * static_cast<double>(n);
        auto rank = static_cast<std::uint64_t>(exact);
        if (static_cast<double>(rank) < exact || rank == 0) ++rank;
        std::size_t i = 0;
        for (std::uint64_t seen = counts[0]; seen < rank && i + 1 < counts.size(); seen += counts[i]) ++i;
        return as_duration(layout::middle(i));
    }

    /// Within the same relative error.
    [[nodiscard]] duration mean() const noexcept {
        double sum = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) sum += static_cast<double>(counts[i]) * static_cast<double>(layout::middle(i));
        const std::uint64_t n = count();
        return n == 0 ? duration{} : duration{static_cast<duration::rep>(sum / static_cast<double>(n))};
    }

    [[nodiscard]] duration largest() const noexcept {
        for (std::size_t i = counts.size(); i-- > 0;)
            if (counts[i] != 0) return as_duration(layout::middle(i));
        return {};
    }

    void merge(const basic_histogram_snapshot& other) noexcept {
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    }

    /// What was recorded between `earlier` and this, two snapshots of one histogram.
    [[nodiscard]] basic_histogram_snapshot since(const basic_histogram_snapshot& earlier) const noexcept {
        basic_histogram_snapshot difference;
        for (std::size_t i = 0; i < counts.size(); ++i) difference.counts[i] = counts[i] - earlier.counts[i];
        return difference;
    }

private:
    [[nodiscard]] static duration as_duration(std::uint64_t v) noexcept {
        return duration{v > static_cast<std::uint64_t>(duration::max().count()) ? duration::max().count() : static_cast<duration::rep>(v)};
    }
};

/// Thread-safe; wait-free. 8 * (65 - Bits) * 2^Bits bytes.
template <unsigned Bits>
class basic_histogram {
public:
    using layout = detail::log_linear<Bits>;
    using snapshot_type = basic_histogram_snapshot<Bits>;

    /// About ten instructions. A negative duration counts as the longest one.
    STRATA_INLINE void record(duration d) noexcept {
        counts_[layout::index(static_cast<std::uint64_t>(d.count()))].fetch_add(1, std::memory_order_relaxed);
    }

    /// Not one moment's state: what other threads record meanwhile may or may not be in it.
    [[nodiscard]] snapshot_type snapshot() const noexcept {
        snapshot_type s;
        for (std::size_t i = 0; i < layout::buckets; ++i) s.counts[i] = counts_[i].load(std::memory_order_relaxed);
        return s;
    }

private:
    std::array<std::atomic<std::uint64_t>, layout::buckets> counts_{};
};

/// 7.6 KiB; relative error at most 3.2 %.
using histogram = basic_histogram<4>;
using histogram_snapshot = basic_histogram_snapshot<4>;
/// 2 KiB; relative error at most 12.5 %. One for each statement's name.
using small_histogram = basic_histogram<2>;
using small_histogram_snapshot = basic_histogram_snapshot<2>;

}  // namespace strata::inline STRATA_ABI

#endif
