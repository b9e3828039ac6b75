// Not too many at once: a set number of attempts is on its way, others wait in order, and those beyond the queue are refused.
//
// Over a pool it keeps one kind of work from taking all connections; two stacks over one database may each have their own. Who waits is
// served first in, first out within its priority (`call_options::priority`); a high one goes before all normal ones, these before all low
// ones. Where the queue is full a newcomer of higher priority takes the place of the youngest of the lowest.
#ifndef STRATA_POLICY_BULKHEAD_HPP
#define STRATA_POLICY_BULKHEAD_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/permits.hpp>
#include <strata/policy/tagged.hpp>

namespace strata::inline STRATA_ABI {

struct bulkhead_options {
    std::uint32_t max_concurrent = 16;            ///< so many at a time; 1 to 1,000,000
    std::size_t max_waiting = 1'000;              ///< callers beyond this many are refused at once; 0: nobody waits
    duration max_wait = std::chrono::seconds{1};  ///< how long a caller waits at most; not negative

    [[nodiscard]] error validate() const {
        if (max_concurrent < 1 || max_concurrent > 1'000'000)
            return detail::bad_option("bulkhead_options.max_concurrent", "must lie in 1 to 1,000,000");
        if (max_wait < duration::zero()) return detail::bad_option("bulkhead_options.max_wait", "must not be negative");
        return {};
    }
    friend bool operator==(const bulkhead_options&, const bulkhead_options&) = default;
};

/// What a bulkhead holds and has done so far. Not one moment's state.
struct bulkhead_snapshot {
    std::size_t inside = 0;     ///< on their way now
    std::size_t waiting = 0;    ///< in the queue now
    std::uint64_t waits = 0;    ///< had to wait
    std::uint64_t refused = 0;  ///< found the queue full, or had to leave it for a higher priority
};

/// Thread-safe. While there is room it costs one compare-and-swap each way. A refusal is `errc::bulkhead_full`, also when `max_wait` has
/// passed. `Where` is `place::bulkhead`, inside the retry: each attempt takes a slot, and none is held during a pause; or `place::bound`,
/// outside of it: an operation keeps its slot over all its attempts. `Tag` tells two of them apart.
template <class Tag = void, strata::place Where = strata::place::bulkhead>
class bulkhead {
    static_assert(Where == strata::place::bulkhead || Where == strata::place::bound,
                  "strata: a bulkhead stands at place::bulkhead (per attempt) or at place::bound (per operation)");

public:
    using options = detail::options_for<Tag, bulkhead_options>;
    static constexpr auto place = Where;
    static constexpr bool holds = true;
    static constexpr bool asks_priority = true;
    using frame = detail::permits::place;

    bulkhead() : bulkhead(options{}) {}
    explicit bulkhead(const options& o) noexcept : options_(detail::untagged(o)), permits_(options_.max_concurrent) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        if (permits_.admits(f)) [[likely]]
            return proceed();
        return permits_.admit_slowly(f, op, m, options_.max_waiting, options_.max_wait);
    }
    STRATA_INLINE void settle(auto&, frame&, outcome&) noexcept { permits_.give_back(); }
    void abandon(frame& f) noexcept { permits_.abandon(f); }

    /// From now on so many at a time (at least 1); who is inside beyond that stays until done.
    void resize(std::uint32_t max_concurrent) noexcept { permits_.resize(max_concurrent > 0 ? max_concurrent : 1); }
    /// Its size is another than that of its options; see `keyed`.
    [[nodiscard]] bool is_set_by_hand() noexcept { return permits_.count() != options_.max_concurrent; }

    [[nodiscard]] bulkhead_snapshot snapshot() noexcept {
        return {permits_.taken(), permits_.queue_size(), permits_.waits(), permits_.refusals()};
    }

private:
    const bulkhead_options options_;
    detail::permits permits_;
};

}  // namespace strata::inline STRATA_ABI

#endif
