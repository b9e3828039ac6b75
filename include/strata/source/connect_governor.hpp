// How many connections a pool may open at once, and when: few at a time, and while the server cannot be reached only one, seldom.
//
// One number says it all: `allowed()`, how many may be on their way at once. A failure makes it 1 and draws a pause, which grows with
// each further failure; each success adds 1, so that it is 1, 2, 4 ... where each round of connects succeeds, up to `max_connecting`.
// When the server goes away, others are on their way already. They fail for the same reason, so they count as one failure, and none is
// begun before they have ended. Which one ends is not asked: the first to end after a failure are those that were on their way then.
#ifndef STRATA_SOURCE_CONNECT_GOVERNOR_HPP
#define STRATA_SOURCE_CONNECT_GOVERNOR_HPP

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

struct connect_governor_options {
    std::uint32_t max_connecting = 2;                      ///< so many connects at once; 1 to 65,535
    duration first_pause = std::chrono::milliseconds{10};  ///< after the first failure in a row, before jitter; positive
    duration longest_pause = std::chrono::seconds{5};      ///< the pause doubles up to this; from `first_pause` to one day

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* what) { return error{errc::invalid_argument, what, phase::admission}; };
        if (max_connecting < 1 || max_connecting > 65'535) return bad("connect_governor_options.max_connecting must lie in 1 to 65,535");
        if (first_pause <= duration::zero()) return bad("connect_governor_options.first_pause must be positive");
        if (longest_pause < first_pause || longest_pause > std::chrono::hours{24})
            return bad("connect_governor_options.longest_pause must lie in `first_pause` to one day");
        return {};
    }
};

/// Each connect is one `begun` and then exactly one of `succeeded`, `failed` and `abandoned`. Not thread-safe: the pool's lock guards it.
/// Allocates nothing; each call is a few instructions. Randomness is drawn by `failed` only.
class connect_governor {
public:
    connect_governor() noexcept : connect_governor(connect_governor_options{}) {}
    /// `o` must be valid.
    explicit connect_governor(const connect_governor_options& o) noexcept : options_(o), allowed_(o.max_connecting) {}

    /// Whether one more connect may begin now. When not: ask again at `next_try`, and whenever a connect has ended.
    [[nodiscard]] bool may_begin(time_point now) const noexcept { return connecting_ < allowed_ && now >= next_try_; }
    /// One begins. Counted also where nobody asked `may_begin`, as a connect for a caller who would not wait.
    void begun() noexcept { ++connecting_; }
    void succeeded() noexcept {
        end_one();
        failures_ = 0;
        next_try_ = time_point::min();
        if (allowed_ < options_.max_connecting) ++allowed_;
    }
    /// Also for a connect that took too long. The pause begins at `m.now`, when it ended.
    void failed(moment m) noexcept {
        if (end_one()) return;
        pause_ = failures_ == 0 ? options_.first_pause : pause_ < options_.longest_pause / 2 ? pause_ * 2 : options_.longest_pause;
        if (failures_ < ~std::uint32_t{0}) ++failures_;
        allowed_ = 1;
        of_before_ = connecting_;
        const duration half = pause_ / 2;
        next_try_ =
            add_saturated(m.now, pause_ - half + duration{static_cast<duration::rep>(static_cast<double>(half.count()) * m.random_unit())});
    }
    /// It was given up for a reason that tells nothing about the server: nobody needs it any more, the pool is closed.
    void abandoned() noexcept { end_one(); }

    /// The latest connect that counts has failed.
    [[nodiscard]] bool is_down() const noexcept { return failures_ != 0; }
    /// So many in a row have failed, those that fell together counted once; 0 where none did.
    [[nodiscard]] std::uint32_t failures() const noexcept { return failures_; }
    /// None may begin before; in the distant past unless `is_down`.
    [[nodiscard]] time_point next_try() const noexcept { return next_try_; }
    /// So many may be on their way at once, as things stand.
    [[nodiscard]] std::uint32_t allowed() const noexcept { return allowed_; }
    /// So many are.
    [[nodiscard]] std::uint32_t connecting() const noexcept { return connecting_; }

private:
    /// True where it was on its way already when the server went away.
    bool end_one() noexcept {
        --connecting_;
        if (of_before_ == 0) return false;
        --of_before_;
        return true;
    }

    connect_governor_options options_;
    std::uint32_t allowed_;
    std::uint32_t connecting_ = 0;
    std::uint32_t of_before_ = 0;  ///< of these, those that were on their way at the latest failure that counts
    std::uint32_t failures_ = 0;
    duration pause_{};  ///< the latest, before jitter
    time_point next_try_ = time_point::min();
};

}  // namespace strata::inline STRATA_ABI

#endif
