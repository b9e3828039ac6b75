// Generated from include/strata/leader.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_LEADER_HPP
#define STRATA_SINGLE_LEADER_HPP

#include <strata/strata.hpp>
#include <strata/advisory_lock.hpp>

#include <atomic>
#include <optional>
#include <utility>

// One process at a time leads: by an advisory lock on a connection that it keeps, in the user's own loop, without a thread.
//
//   strata::leader_lease lease{db, "nightly-mail"};
//   for (;; sleep(lease.options().check_every)) {
//       switch (lease.poll()) {
//           case strata::leadership::gained: start(lease.fence()); break;
//           case strata::leadership::lost: stop(); break;
//           default: break;                                  // leads, follows
//       }
//       if (lease.is_leader()) work(lease.fence());
//   }
//
// What it cannot promise: that no second leader is there already. When a connection breaks, the server frees the lock as soon as it knows,
// and this process knows later: `is_leader()` is false at the latest `valid_for` after the server's last answer, whether or not anybody
// calls `poll()`, and work that was begun before goes on for as long as it takes. So let the data refuse who is late: `fence()` is greater
// for each later leader, and a leader writes only where nobody has written with a greater one, in the transaction of its work:
//
//   insert into fence values ('nightly-mail', :fence)
//     on conflict (name) do update set number = :fence where fence.number <= :fence      -- no row changed: leave, somebody else leads
//
// Nor that there is a leader soon: a server that is not told of a client's death (a machine that vanished) keeps the lock until its own
// keepalive finds out, after two hours unless set: `options=-ctcp_keepalives_idle=10`. After a failover to a standby that lacked the
// last transactions, numbers may come again. Not through a pooler that hands out connections by the transaction.
#ifndef STRATA_LEADER_HPP
#define STRATA_LEADER_HPP

namespace strata::inline STRATA_ABI {

struct leader_options {
    duration check_every = std::chrono::seconds{1};    ///< how often `poll` asks the server whether the connection stands
    duration check_timeout = std::chrono::seconds{1};  ///< how long it may take to answer
    duration valid_for = std::chrono::seconds{3};      ///< how long an answer is believed, from when it was asked for

    [[nodiscard]] error validate() const {
        if (check_every <= duration::zero()) return detail::bad_option("leader_options.check_every", "must be positive");
        if (check_timeout <= duration::zero()) return detail::bad_option("leader_options.check_timeout", "must be positive");
        if (valid_for <= check_every) return detail::bad_option("leader_options.valid_for", "must be greater than check_every");
        return {};
    }
};

/// What a `poll` has found.
enum class leadership : std::uint8_t {
    follows,  ///< somebody else leads, or the database cannot be reached: `last_error()`
    gained,   ///< leads since this very call
    leads,    ///< as before
    lost      ///< led until this very call
};
[[nodiscard]] constexpr std::string_view to_string(leadership l) noexcept {
    constexpr std::string_view names[] = {"follows", "gained", "leads", "lost"};
    return names[static_cast<std::size_t>(l)];
}

/// See above. One thread polls; any thread may ask `is_leader()` and `fence()`. While it leads it holds a connection of the database's.
template <class Database>
class leader_lease {
    static_assert(detail::assert_advisory<Database>());

public:
    /// Throws `failure` (`errc::invalid_argument`) for options that make no sense. The database must outlive it.
    leader_lease(Database& db, const advisory_key& key, const leader_options& o = {}) : db_(db), key_(key), options_(o) {
        if (error e = o.validate()) throw_failure(std::move(e));
    }
    leader_lease(const leader_lease&) = delete;
    leader_lease& operator=(const leader_lease&) = delete;
    ~leader_lease() { resign(); }

    /// Tries to become the leader, or makes sure that it still is, if `check_every` has passed since it last did. Blocks for up to
    /// `check_timeout`, or until the pool has a connection; a server that says nothing any more is left after another
    /// `postgres_options::cancel_grace`. Throws nothing but `std::bad_alloc`.
    leadership poll() {
        if (!lock_) return try_to_lead();
        const time_point now = this->now();
        if (now - checked_ < options_.check_every) return leadership::leads;
        if (!lock_->answers(options_.check_timeout)) {
            give_up();
            return leadership::lost;
        }
        believe(now);
        return leadership::leads;
    }
    /// Lets others lead at once.
    void resign() noexcept { give_up(); }

    /// True while the server's last answer is believed. Reads the clock.
    [[nodiscard]] bool is_leader() const noexcept { return now() < time_point{duration{valid_until_.load(std::memory_order_acquire)}}; }
    /// The number of this leadership, or of the last one; 0 before the first. Greater than that of every earlier leader on this database.
    [[nodiscard]] std::int64_t fence() const noexcept { return fence_.load(std::memory_order_acquire); }
    /// Why the last try to become leader failed; none where somebody else leads. For the polling thread.
    [[nodiscard]] const error& last_error() const noexcept { return last_error_; }
    [[nodiscard]] const leader_options& options() const noexcept { return options_; }

private:
    using lock = held_advisory_lock<typename Database::runtime_type>;
    static constexpr duration::rep nothing = time_point::min().time_since_epoch().count();

    struct fence_text {
        static constexpr void write(detail::text_writer& out) { out.put("select txid_current()"); }
    };

    [[nodiscard]] time_point now() const noexcept { return db_.shared_runtime()->world().moment().now; }
    void believe(time_point asked) noexcept {
        checked_ = asked;
        valid_until_.store(add_saturated(asked, options_.valid_for).time_since_epoch().count(), std::memory_order_release);
    }
    void give_up() noexcept {
        valid_until_.store(nothing, std::memory_order_release);  // before anybody else can have the lock
        lock_.reset();
    }

    [[nodiscard]] leadership try_to_lead() {
        auto got = try_hold_advisory_lock_if_free(db_, key_, {.deadline = options_.check_timeout});
        if (!got || !*got) {
            last_error_ = got ? error{} : std::move(got).error();
            return leadership::follows;
        }
        // After the lock, so that the number is greater than those of all who had it before. (A standby has locks, but no numbers.)
        const time_point asked = now();
        auto number = (*got)->session().template try_one<std::int64_t>(detail::written_literal<fence_text>(),
                                                                       call_options{.deadline = options_.check_timeout});
        if (!number) {
            last_error_ = std::move(number).error();
            return leadership::follows;
        }
        last_error_ = {};
        lock_.emplace(std::move(**got));
        fence_.store(*number, std::memory_order_release);
        believe(asked);
        return leadership::gained;
    }

    Database& db_;
    advisory_key key_;
    leader_options options_;
    std::optional<lock> lock_;
    error last_error_;
    time_point checked_{};
    std::atomic<duration::rep> valid_until_{nothing};
    std::atomic<std::int64_t> fence_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
