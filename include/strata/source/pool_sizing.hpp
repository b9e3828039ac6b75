// How large a pool should be: as large as the database turns more connections into more work.
//
// With N connections busy, each lease taking the time R, the database does N / R leases a second. How much one more connection brings is
//
//     worth = 1 - ln(R' / R) / ln(N' / N)          R' measured at the size N', R at N
//
// 1: all that it would bring on an idle server (R did not change); 0: nothing, R grew as N did; less: harm. The sizer measures at one size,
// tries another a quarter or a half away, and stays there if more is worth it (or less costs little), else it goes back. Only such a
// comparison moves the target: slower queries change R at both sizes alike. The limit of policy/concurrency_limit.hpp, which holds R
// against what is usual, must first see a time of little load to learn that, and is lowered by slower queries until it has learned them.
//
// A target that has been found is left alone for a time that doubles with each trial in vain, unless R changes by much. A trial takes a
// few rounds, in which the database may do up to a third less. Nothing is tried unless all connections are in use, callers wait, and the
// database is what keeps the connections busy. When leases end by faults (timeouts) the pool becomes smaller at once, and quickly half as
// large as it was when that is over.
//
// Waits for locks are not the database's work. Where they take 30 % of the time or more, the size stays as it is, and timeouts are no
// reason to change it: neither a larger pool nor a smaller one helps callers who wait for one row. Where they take less, they are left out
// of R, but a larger size must bring more leases a second.
#ifndef STRATA_SOURCE_POOL_SIZING_HPP
#define STRATA_SOURCE_POOL_SIZING_HPP

#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What a server allows, as the caller has asked it.
struct server_budget {
    std::size_t max_connections = 100;   ///< PostgreSQL's setting of that name
    std::size_t superuser_reserved = 3;  ///< `superuser_reserved_connections` and `reserved_connections`
    std::int64_t role_limit = -1;        ///< the role's `rolconnlimit`; negative: none
    std::size_t instances = 1;           ///< so many processes with a pool like this one, this one included
    double share = 1;                    ///< of what is left of the server, for all of them; in (0, 1]

    /// So many connections this pool may have: at least 1.
    [[nodiscard]] constexpr std::size_t connections() const noexcept {
        std::size_t all = max_connections > superuser_reserved ? max_connections - superuser_reserved : 0;
        if (role_limit >= 0 && static_cast<std::size_t>(role_limit) < all) all = static_cast<std::size_t>(role_limit);
        const auto ours = static_cast<std::size_t>(static_cast<double>(all) * share) / (instances > 0 ? instances : 1);
        return ours > 0 ? ours : 1;
    }
};

struct sizing_options {
    std::size_t min = 1;                        ///< never fewer, unless the server allows fewer; at least 1
    std::size_t max = 64;                       ///< never more; `min` to 65,535
    duration period = std::chrono::seconds{2};  ///< a round: how often the sizer is to be asked; 10 ms to 1 h
    double worth = 0.25;                        ///< a connection must bring this share of what it would on an idle server; in [0.05, 0.95]
    double tolerance = 1.5;      ///< when leases take so many times as long as before, or as short, a target is looked at anew; above 1
    std::uint32_t samples = 30;  ///< a round counts when so many leases ended, else some rounds together; 1 to 1,000,000
    std::uint32_t longest_rest = 512;  ///< a target is tried again after so many rounds at the latest; 8 to 1,000,000
    double fault_share = 0.05;         ///< when so many of the leases end by faults, the pool becomes smaller; in (0, 1]
    double backoff = 0.9;              ///< what is left of it then, each round; in (0, 1)
    bool dry_run = false;              ///< decisions are only told

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return error{errc::invalid_argument, detail::joined({"sizing_options.", field, " must lie ", rule}), phase::admission};
        };
        if (min < 1 || min > 65'535) return bad("min", "in 1 to 65,535");
        if (max < min || max > 65'535) return bad("max", "in `min` to 65,535");
        if (period < std::chrono::milliseconds{10} || period > std::chrono::hours{1}) return bad("period", "in 10 ms to 1 h");
        if (!(worth >= 0.05 && worth <= 0.95)) return bad("worth", "in 0.05 to 0.95");
        if (!(tolerance > 1.0 && tolerance <= 1e6)) return bad("tolerance", "between 1 and 1,000,000");
        if (samples < 1 || samples > 1'000'000) return bad("samples", "in 1 to 1,000,000");
        if (longest_rest < 8 || longest_rest > 1'000'000) return bad("longest_rest", "in 8 to 1,000,000");
        if (!(fault_share > 0.0 && fault_share <= 1.0)) return bad("fault_share", "in 0 to 1, without 0");
        if (!(backoff > 0.0 && backoff < 1.0)) return bad("backoff", "between 0 and 1");
        return {};
    }
};

/// What a pool saw since the sizer was asked last.
struct sizing_round {
    time_point now{};
    std::size_t size = 0;      ///< so many connections the pool may have now: its limit
    std::size_t peak = 0;      ///< the most that were leased at once
    std::size_t waiting = 0;   ///< the most callers that waited at once
    std::uint64_t ended = 0;   ///< leases that ended
    duration served{};         ///< the time that the database worked on leases, all together: without waits for locks
    std::uint64_t faults = 0;  ///< leases that ended by a timeout, or because the connection failed
    duration locked{};         ///< the time that leases waited for locks in the database, all together
};

enum class sizing_reason : std::uint8_t {
    measuring,      ///< it stays until enough is known
    opening,        ///< it stays: connections are being opened, or leases of a larger size are still out
    application,    ///< it stays: nobody waits for a connection
    not_busy,       ///< it stays: the database works on too few (little to do, or the application's own work between statements)
    at_target,      ///< it stays: another size was not better
    grow,           ///< a larger size is tried
    shrink,         ///< a smaller size is tried
    back,           ///< what was tried was not better
    faults,         ///< smaller, for leases ended by faults
    recovering,     ///< larger: faults have ended
    limits,         ///< it stays at `max`, or was outside of `min` to `max`
    server_budget,  ///< it stays at what the server's budget allows, or was beyond it
    locks,          ///< it stays: too many leases wait for locks
};

[[nodiscard]] constexpr std::string_view to_string(sizing_reason r) noexcept {
    constexpr std::string_view names[] = {"measuring", "opening", "application", "not_busy", "at_target",     "grow", "shrink",
                                          "back",      "faults",  "recovering",  "limits",   "server_budget", "locks"};
    return names[static_cast<std::size_t>(r)];
}

struct sizing_decision {
    std::size_t target;  ///< so many connections are best, as far as is known
    sizing_reason reason;
    bool apply;             ///< the pool is to be resized to `target`; never in a dry run
    double lock_waits = 0;  ///< so many leases, on the average of the round, waited for locks; their time was left out
};

/// Not thread-safe. Asked once a round, it takes some 300 instructions (measured), and allocates nothing. A pool whose size is changed by
/// another, or not changed in a dry run, is measured anew at the size that it has.
class pool_sizer {
public:
    /// `o` must be valid.
    explicit pool_sizer(const sizing_options& o) noexcept : options_(o) {}

    /// From now on no more than this, whatever the options say (`server_budget::connections`); 0 counts as 1.
    void set_budget(std::size_t connections) noexcept {
        connections = std::max<std::size_t>(connections, 1);
        if (target_ == budget_ && connections > budget_) {  // there may be use for them now
            rest_ = 0;
            up_ = true;
        }
        budget_ = connections;
    }

    [[nodiscard]] sizing_decision decide(const sizing_round& r) noexcept {
        if (r.size != target_) stand_at(r.size);
        const duration elapsed = r.now - std::exchange(last_, r.now);
        const sizing_reason reason = judge(r, elapsed);
        const double waits =
            elapsed > duration::zero() ? static_cast<double>(r.locked.count()) / static_cast<double>(elapsed.count()) : 0.0;
        return {target_, reason, target_ != r.size && !options_.dry_run, waits};
    }

private:
    static constexpr double small_step = 0.25, large_step = 0.5;
    static constexpr double least_blocks = 3, most_blocks = 60;
    static constexpr double busy = 0.7;  ///< so much of the time the database must be at work on a connection
    static constexpr std::uint32_t first_rest = 8, longest_unmeasured = 30;

    /// A round, or some: until enough leases have ended.
    struct block {
        double leases = 0;
        double worked = 0;  ///< nanoseconds of the database
        double locked = 0;  ///< and in which leases waited for locks
        double held = 0;    ///< and what they would be if it worked on all leases all the time
    };
    /// What leases took at one size.
    struct measure {
        double sum = 0;      ///< of the blocks' means
        double squares = 0;  ///< and of their squares
        double blocks = 0;
        block all;

        void add(double mean, const block& b) noexcept {
            sum += mean;
            squares += mean * mean;
            ++blocks;
            all.leases += b.leases;
            all.worked += b.worked;
            all.locked += b.locked;
            all.held += b.held;
        }
        [[nodiscard]] double mean() const noexcept { return sum / blocks; }
        [[nodiscard]] double mean_with_locks() const noexcept { return mean() * (1 + all.locked / std::max(all.worked, 1.0)); }
        /// The variance of the mean's logarithm: as the blocks differ, but no less than that of so many exponential times.
        [[nodiscard]] double variance() const noexcept {
            const double seen = blocks > 1 ? (squares / blocks / (mean() * mean()) - 1) / (blocks - 1) : 1;
            return std::max(seen, 1 / all.leases);
        }
        /// Too far from the others for chance: of few blocks it is not known how far they lie from each other.
        [[nodiscard]] bool is_alien(double block_mean) const noexcept {
            const double of_one = blocks >= least_blocks ? variance() * blocks : 4 * blocks / all.leases;
            return std::abs(std::log(block_mean / mean())) > 3 * std::sqrt(of_one);
        }
        [[nodiscard]] bool is_enough(double precision) const noexcept {
            return blocks >= most_blocks || variance() <= precision * precision;
        }
    };

    struct compared {
        std::size_t size = 0;  ///< 0: nothing is being tried
        measure here{};
    };

    [[nodiscard]] std::size_t most() const noexcept { return std::min(options_.max, budget_); }
    [[nodiscard]] std::size_t least() const noexcept { return std::min(options_.min, budget_); }

    [[nodiscard]] sizing_reason judge(const sizing_round& r, duration elapsed) noexcept {
        if (target_ > most()) return move_to(most(), budget_ < options_.max ? sizing_reason::server_budget : sizing_reason::limits);
        if (target_ < least()) return move_to(least(), sizing_reason::limits);
        const auto all = static_cast<double>(r.ended + r.faults);
        const bool many = r.faults > 0 && static_cast<double>(r.faults) >= options_.fault_share * all;
        if (many && r.peak >= r.size && !is_for_locks(r)) return fall();
        falling_ = false;
        if (r.waiting > 0 && r.peak != r.size) {  // connections are missing, or leases of a larger size are still out
            settling_ = 1;
            return base_.size != 0 && ++unmeasured_ >= longest_unmeasured ? give_up() : sizing_reason::opening;
        }
        if (settling_ > 0) {  // leases that began before the move are among those that ended
            --settling_;
            return sizing_reason::measuring;
        }
        if (r.waiting == 0) return lull(r.peak, sizing_reason::application);
        if (target_ >= recover_to_) recover_to_ = 0;
        if (recover_to_ != 0 && r.ended > 0) return move_to(std::min({2 * target_, recover_to_, most()}), sizing_reason::recovering);
        return measured(r, elapsed);
    }

    [[nodiscard]] sizing_reason measured(const sizing_round& r, duration elapsed) noexcept {
        if (rest_ > 0) --rest_;
        block_.leases += static_cast<double>(r.ended);
        block_.worked += static_cast<double>(r.served.count());
        block_.locked += static_cast<double>(r.locked.count());
        block_.held += static_cast<double>(elapsed.count()) * static_cast<double>(r.size);
        if (base_.size == 0 && next_size() == target_) turn();
        if (block_.leases < options_.samples) return still();
        const block done = std::exchange(block_, {});
        const double mean = std::max(done.worked / done.leases, 1.0);
        if (here_.blocks > 0 && here_.is_alien(mean) && differs(mean, here_.mean())) {  // other queries have come
            here_ = {};
            if (base_.size != 0) return void_trial();
        }
        here_.add(mean, done);
        if (here_.blocks < least_blocks) return still();
        if (here_.all.worked < busy * here_.all.held)
            return here_.all.worked + here_.all.locked < busy * here_.all.held ? lull(r.peak, sizing_reason::not_busy) : locked_out();
        if (base_.size != 0) return compare();
        if (!is_enough(next_size())) return still();
        if (usual_ != 0 && differs(here_.mean(), usual_)) {
            rest_ = 0;
            up_ = here_.mean() < usual_;
        }
        if (rest_ == 0) return try_next();
        here_ = {};
        return still();
    }
    [[nodiscard]] sizing_reason still() const noexcept {
        if (rest_ == 0) return sizing_reason::measuring;
        if (target_ == most()) return budget_ < options_.max ? sizing_reason::server_budget : sizing_reason::limits;
        return sizing_reason::at_target;
    }

    [[nodiscard]] std::size_t next_size() const noexcept {
        const auto now = static_cast<double>(target_), factor = 1 + step_;
        return up_ ? std::min(most(), std::max(target_ + 1, static_cast<std::size_t>(now * factor + 0.5)))
                   : std::max(least(), std::min(target_ - 1, static_cast<std::size_t>(now / factor + 0.5)));
    }
    /// Between two sizes, as far as throughput can tell them apart.
    [[nodiscard]] double distance_to(std::size_t size) const noexcept {
        return std::log(static_cast<double>(target_) / static_cast<double>(size));
    }
    /// What leases take here is known as well as a comparison with `other` asks for.
    [[nodiscard]] bool is_enough(std::size_t other) const noexcept {
        return here_.is_enough((step_ > small_step ? 0.15 : 0.045) * std::abs(distance_to(other)));
    }

    /// From the size that was measured to the next, if there is one.
    [[nodiscard]] sizing_reason try_next() noexcept {
        const std::size_t next = next_size();
        usual_ = here_.mean();
        if (next == target_) {
            here_ = {};
            return still();
        }
        const compared base{target_, here_};
        static_cast<void>(move_to(next, sizing_reason::grow));
        base_ = base;
        return up_ ? sizing_reason::grow : sizing_reason::shrink;
    }

    [[nodiscard]] sizing_reason compare() noexcept {
        const double distance = distance_to(base_.size);
        const double longer = up_ ? here_.mean_with_locks() / base_.here.mean_with_locks() : here_.mean() / base_.here.mean();
        const double worth = 1 - std::log(longer) / distance;
        const double doubt = 2 * std::sqrt(here_.variance() + base_.here.variance()) / std::abs(distance);
        if (worth - doubt > 1.3 || worth + doubt < -2.5) return void_trial();  // no server is like that: other queries have come
        if (up_ ? worth - doubt > options_.worth : worth + doubt < options_.worth) {
            step_ = large_step;
            rest_length_ = first_rest;
            base_ = {};
            return try_next();
        }
        const bool in_vain = up_ ? worth + doubt < options_.worth : worth - doubt > options_.worth;
        return in_vain || is_enough(base_.size) ? give_up() : sizing_reason::measuring;
    }

    [[nodiscard]] bool differs(double one, double other) const noexcept {
        return one > options_.tolerance * other || other > options_.tolerance * one;
    }
    /// Back to where it was: nothing was learned.
    [[nodiscard]] sizing_reason void_trial() noexcept {
        rest_ = first_rest;
        return move_to(base_.size, sizing_reason::back);
    }
    /// Back to where it was; nearer next time, or the other way after a rest.
    [[nodiscard]] sizing_reason give_up() noexcept {
        const std::size_t size = base_.size;
        if (step_ > small_step)
            step_ = small_step;
        else
            turn();
        return move_to(size, sizing_reason::back);
    }
    void turn() noexcept {
        up_ = !up_;
        rest_ = rest_length_;
        rest_length_ = std::min(2 * rest_length_, options_.longest_rest);
    }

    /// Nothing can be measured. A larger size that is being tried is kept while more is in use than before.
    [[nodiscard]] sizing_reason lull(std::size_t peak, sizing_reason why) noexcept {
        here_ = {};
        block_ = {};
        if (base_.size != 0 && !(up_ && peak > base_.size)) return void_trial();
        if (++unmeasured_ >= longest_unmeasured) base_ = {};  // what was measured then is of another time
        return why;
    }

    /// Locks are what keeps the connections. What was being tried is given up: either it brought them about, or no size helps.
    [[nodiscard]] sizing_reason locked_out() noexcept {
        if (base_.size != 0) return give_up();
        here_ = {};
        return sizing_reason::locks;
    }
    [[nodiscard]] static bool is_for_locks(const sizing_round& r) noexcept {
        return static_cast<double>(r.locked.count()) > (1 - busy) * static_cast<double>((r.locked + r.served).count());
    }

    [[nodiscard]] sizing_reason fall() noexcept {
        if (base_.size != 0 && up_) return give_up();
        if (!std::exchange(falling_, true)) recover_to_ = target_ / 2;
        step_ = small_step;
        up_ = true;
        rest_ = rest_length_ = first_rest;
        const auto left = static_cast<std::size_t>(static_cast<double>(target_) * options_.backoff);
        return move_to(std::max(least(), std::min(left, target_ - 1)), sizing_reason::faults);
    }

    [[nodiscard]] sizing_reason move_to(std::size_t size, sizing_reason why) noexcept {
        target_ = size;
        base_ = {};
        here_ = {};
        block_ = {};
        settling_ = 1;
        unmeasured_ = 0;
        return why;
    }
    void stand_at(std::size_t size) noexcept {
        static_cast<void>(move_to(size, sizing_reason::measuring));
        recover_to_ = 0;
    }

    const sizing_options options_;
    std::size_t budget_ = std::numeric_limits<std::size_t>::max();
    time_point last_{};
    std::size_t target_ = 0;
    compared base_;  ///< where it was before what is being tried
    measure here_;   ///< at the target
    block block_;
    double usual_ = 0;  ///< nanoseconds, when the target was looked at
    double step_ = large_step;
    bool up_ = true;                ///< where it goes next
    bool falling_ = false;          ///< the round before was one of faults
    std::uint32_t settling_ = 0;    ///< rounds that are passed over
    std::uint32_t unmeasured_ = 0;  ///< rounds of a trial in which nothing could be measured
    std::uint32_t rest_ = 0;        ///< rounds until the next is tried
    std::uint32_t rest_length_ = first_rest;
    std::size_t recover_to_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif
