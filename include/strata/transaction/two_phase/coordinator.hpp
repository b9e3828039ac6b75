// Who decides in distributed transactions, and remembers the decision: one object for a process, with a log of its own.
//
//   strata::transaction_coordinator coordinator{{.name = "transfers", .log = "/var/lib/bank/transfers.log"}};
#ifndef STRATA_TRANSACTION_TWO_PHASE_COORDINATOR_HPP
#define STRATA_TRANSACTION_TWO_PHASE_COORDINATOR_HPP

#include <strata/transaction/two_phase/decision_log.hpp>
#include <strata/transaction/two_phase/global_id.hpp>
#include <strata/transaction/two_phase/protocol.hpp>

#include <functional>
#include <set>

namespace strata::inline STRATA_ABI {

struct coordinator_options {
    std::string name;  ///< 1 to 64 letters, digits, `_`, `.` and `-`; part of what `pg_prepared_xacts` shows
    std::string log;   ///< path of the decision log, on a disk that keeps what was synced; its folder must be there
    /// Told what somebody ended by hand otherwise than it was decided, as soon as that is found out. It is kept in the log, too. What it
    /// throws is dropped: other branches are still to be ended.
    std::function<void(const heuristic_outcome&)> on_heuristic = {};
    /// For tests: called before and after each step of each transaction. What it throws ends the process.
    std::function<void(two_phase_step, std::size_t participant, bool done)> on_step = {};
};

/// Thread-safe. Outlives the `distributed_transaction`s that use it.
class transaction_coordinator {
public:
    /// Throws `failure`: `invalid_argument` for the options, and what opening the log gives (see `decision_log`): `busy` where another
    /// coordinator, here or in another process, uses it.
    explicit transaction_coordinator(coordinator_options o)
        : options_(checked(std::move(o))), log_(options_.log, options_.name),
          prefix_(detail::joined({detail::global_prefix, options_.name, ":", detail::hex_of(log_.identity()), ":"})) {}

    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    /// What was decided and is not known to be complete, without what is on its way in this process. One of whose databases nothing is
    /// left stays for ever: `log().forget(d.id)`.
    [[nodiscard]] std::vector<decision> pending() const {
        std::vector<decision> all = log_.decisions();
        std::erase_if(all, [&](const decision& d) { return is_in_flight(d.id); });
        return all;
    }
    /// What somebody has ended by hand otherwise than it was decided, since the last `acknowledge_heuristics`, which drops them.
    [[nodiscard]] std::vector<heuristic_outcome> heuristics() const { return log_.heuristics(); }
    void acknowledge_heuristics() {
        if (error e = log_.acknowledge_heuristics()) throw_failure(std::move(e));
    }

    /// With what the ids of its branches begin.
    [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }
    [[nodiscard]] decision_log& log() noexcept { return log_; }

    /// A number for as long as a transaction is on its way: recovery leaves its branches alone.
    class flight {
    public:
        explicit flight(transaction_coordinator& c) : coordinator_(c), id_(c.enter()) {}
        flight(const flight&) = delete;
        flight& operator=(const flight&) = delete;
        ~flight() { coordinator_.leave(id_); }
        [[nodiscard]] const transaction_number& id() const noexcept { return id_; }

    private:
        transaction_coordinator& coordinator_;
        transaction_number id_;
    };
    [[nodiscard]] bool is_in_flight(const transaction_number& id) const {
        const std::lock_guard guard(lock_);
        return id.opening == log_.opening() && in_flight_.contains(id.number);
    }

    void at_step(two_phase_step s, std::size_t participant, bool done) const noexcept {
        if (options_.on_step) options_.on_step(s, participant, done);
    }
    /// Keeps and tells it; an error where it could not be kept.
    [[nodiscard]] error found(const heuristic_outcome& h) {
        error e = log_.note(h);
        try {
            if (options_.on_heuristic) options_.on_heuristic(h);
        } catch (...) {
        }
        return e;
    }

private:
    [[nodiscard]] transaction_number enter() {
        const std::lock_guard guard(lock_);
        in_flight_.insert(next_);
        return {log_.opening(), next_++};
    }
    void leave(const transaction_number& id) noexcept {
        const std::lock_guard guard(lock_);
        in_flight_.erase(id.number);
    }
    [[nodiscard]] static coordinator_options checked(coordinator_options o) {
        bool right = !o.name.empty() && o.name.size() <= 64;
        for (const char c : o.name)
            right =
                right && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-');
        if (!right)
            throw_failure(
                {errc::invalid_argument, "coordinator_options.name must be 1 to 64 letters, digits, '_', '.' or '-'", phase::admission});
        if (o.log.empty())
            throw_failure(
                {errc::invalid_argument, "coordinator_options.log must name a file, which remembers what was decided", phase::admission});
        return o;
    }

    coordinator_options options_;
    decision_log log_;
    std::string prefix_;
    mutable std::mutex lock_;
    std::set<std::uint64_t> in_flight_;
    std::uint64_t next_ = 1;
};

}  // namespace strata::inline STRATA_ABI

#endif
