// Two-phase commit as a pure state machine: it says what to do next, is told how that ended, and knows at the end what became of the
// transaction. It does nothing itself, so one form serves every drive and is tested with every failure at every step.
//
//   for (two_phase_order o = p.next(); o.step != two_phase_step::ended; o = p.next()) p.answer(perform(o));
//
// Presumed abort: a transaction whose decision was not written is rolled back, whoever finds its branches. Participants that wrote
// nothing are committed before anything is prepared; a single one that wrote is committed plainly.
#ifndef STRATA_TRANSACTION_TWO_PHASE_PROTOCOL_HPP
#define STRATA_TRANSACTION_TWO_PHASE_PROTOCOL_HPP

#include <strata/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

/// One thing that is done for a distributed transaction.
enum class two_phase_step : std::uint8_t {
    begin,              ///< a transaction on a participant
    work,               ///< the caller's closure
    ask,                ///< a participant whether it has written
    commit,             ///< a participant, plainly: it alone has written, or nothing; or it is the last resource, which decides
    roll_back,          ///< a participant
    prepare,            ///< a branch; from here on it outlives its connection
    note_decision,      ///< in the last resource's transaction, whose commit makes it count
    decide,             ///< durably, in the coordinator's log: from here on it is committed
    commit_prepared,    ///< a branch
    rollback_prepared,  ///< a branch
    complete,           ///< `commit_prepared` on another connection, after it failed
    discard,            ///< `rollback_prepared` on another connection, where a branch may have been prepared
    forget,             ///< the decision
    ended
};

[[nodiscard]] constexpr std::string_view to_string(two_phase_step s) noexcept {
    constexpr std::string_view names[] = {"begin",
                                          "work",
                                          "ask",
                                          "commit",
                                          "roll_back",
                                          "prepare",
                                          "note_decision",
                                          "decide",
                                          "commit_prepared",
                                          "rollback_prepared",
                                          "complete",
                                          "discard",
                                          "forget",
                                          "ended"};
    return names[static_cast<std::size_t>(s)];
}

namespace detail {

struct two_phase_order {
    two_phase_step step;
    std::size_t participant = 0;  ///< of those that have one
};

class two_phase_protocol {
public:
    static constexpr std::size_t none = ~std::size_t{0};

    /// `participants` have begun and the caller's work is done. `last_resource`: the one that cannot prepare, or `none`. `why`: an error
    /// with which everything is rolled back.
    two_phase_protocol(std::size_t participants, std::size_t last_resource, error why)
        : branches_(participants, branch::open), last_(last_resource) {
        if (why) abort(std::move(why));
    }

    [[nodiscard]] two_phase_order next() noexcept {
        for (;; ++at_) {
            if (at_ == branches_.size()) {
                at_ = 0;
                if (!enter_next_stage()) return {two_phase_step::ended};
            }
            if (stage_ == stage::deciding) return {two_phase_step::decide};
            if (stage_ == stage::forgetting) return {two_phase_step::forget};
            const two_phase_step s = step_of(at_);
            if (s != two_phase_step::ended) return {s, at_};
        }
    }

    /// How the last order ended. Of `ask`, `wrote` says what was asked. Lost: the connection is; the server may have done it all the same.
    void answer(error e, bool wrote = true) {
        branch& b = branches_[at_];
        switch (stage_) {
            case stage::asking:
                b = wrote ? branch::wrote : branch::only_read;
                if (e) return abort(std::move(e));
                break;
            case stage::reading:
                b = branch::done;
                if (e) return abort(std::move(e));
                break;
            case stage::alone:
                b = branch::done;
                result_ = std::move(e);
                break;
            case stage::preparing:
                b = !e ? branch::prepared : is_lost(e) ? branch::doubtful : branch::done;
                if (e) return abort(std::move(e));
                break;
            case stage::noting:
                if (e) return abort(std::move(e));
                break;
            case stage::deciding:
            case stage::committing_last:
                if (stage_ == stage::committing_last) b = branch::done;
                if (e && e.effect() == effect::unknown) return leave_in_doubt(std::move(e));
                if (e) return abort(std::move(e));
                at_ = branches_.size();
                return;
            case stage::committing:
                b = e ? branch::pending : branch::done;
                break;
            case stage::completing:
                if (e)
                    fail_late(std::move(e));
                else
                    b = branch::done;
                break;
            case stage::aborting:
                b = b == branch::prepared && e ? branch::doubtful : branch::done;
                break;
            case stage::discarding:
                if (!e)
                    b = branch::done;
                else if (e.code() == errc::heuristic_outcome)
                    result_ = std::move(e);
                else
                    left_over_ = true;
                break;
            case stage::forgetting:
                at_ = branches_.size();
                return;
            case stage::ended:
                break;
        }
        ++at_;
    }

    /// Once it has ended: empty where the transaction is committed, and complete.
    [[nodiscard]] error result() && {
        if (left_over_) {
            std::string& detail = result_.edit_texts().detail;
            if (!detail.empty()) detail += "; ";
            detail += "a branch may still be prepared, and hold its locks until recover() rolls it back";
        }
        return std::move(result_);
    }

private:
    enum class branch : std::uint8_t {
        open,
        only_read,
        wrote,
        prepared,
        doubtful,  // perhaps prepared
        pending,   // to be committed on another connection
        done
    };
    enum class stage : std::uint8_t {
        asking,
        reading,
        alone,
        preparing,
        noting,
        deciding,
        committing_last,
        committing,
        completing,
        forgetting,
        aborting,
        discarding,
        ended
    };

    [[nodiscard]] two_phase_step step_of(std::size_t i) const noexcept {
        using enum two_phase_step;
        const branch b = branches_[i];
        const auto when = [](bool so, two_phase_step s) { return so ? s : ended; };
        switch (stage_) {
            case stage::asking:
                return when(i != last_, ask);
            case stage::reading:
                return when(b == branch::only_read, commit);
            case stage::alone:
                return when(b == branch::wrote, commit);
            case stage::preparing:
                return when(b == branch::wrote && i != last_, prepare);
            case stage::noting:
                return when(i == last_, note_decision);
            case stage::committing_last:
                return when(i == last_, commit);
            case stage::committing:
                return when(b == branch::prepared, commit_prepared);
            case stage::completing:
                return when(b == branch::pending, complete);
            case stage::aborting:
                return b == branch::prepared ? rollback_prepared : when(b != branch::done && b != branch::doubtful, roll_back);
            case stage::discarding:
                return when(b == branch::doubtful, discard);
            default:
                return ended;
        }
    }

    /// False at the end.
    [[nodiscard]] bool enter_next_stage() noexcept {
        switch (stage_) {
            case stage::asking:
                if (last_ != none) branches_[last_] = branch::wrote;  // whether it has written cannot be asked
                stage_ = stage::reading;
                break;
            case stage::reading: {
                std::size_t writers = 0;
                for (const branch b : branches_) writers += b == branch::wrote ? 1u : 0u;
                stage_ = writers == 0 ? stage::ended : writers == 1 ? stage::alone : stage::preparing;
                break;
            }
            case stage::preparing:
                stage_ = last_ == none ? stage::deciding : stage::noting;
                break;
            case stage::noting:
                stage_ = stage::committing_last;
                break;
            case stage::deciding:
            case stage::committing_last:
                stage_ = stage::committing;
                break;
            case stage::committing:
                stage_ = stage::completing;
                break;
            case stage::completing:
                stage_ = unfinished_ ? stage::ended : stage::forgetting;
                break;
            case stage::aborting:
                stage_ = stage::discarding;
                break;
            default:
                stage_ = stage::ended;
                break;
        }
        return stage_ != stage::ended;
    }

    [[nodiscard]] static bool is_lost(const error& e) noexcept { return e.health() >= health::lost || e.effect() == effect::unknown; }

    void abort(error why) noexcept {
        result_ = std::move(why.set(effect::rolled_back));
        stage_ = stage::aborting;
        at_ = 0;
    }
    void leave_in_doubt(error why) {
        why.set(errc::outcome_unknown).set(effect::unknown);
        why.edit_texts().hint = "it is committed or rolled back as a whole: recover() finds out which, once the log can be read";
        result_ = std::move(why);
        stage_ = stage::ended;
        at_ = branches_.size();
    }
    /// Decided, and yet a branch could not be committed.
    void fail_late(error why) {
        unfinished_ = unfinished_ || why.code() != errc::heuristic_outcome;
        if (result_.code() == errc::heuristic_outcome) return;
        if (why.code() != errc::heuristic_outcome) {
            error_texts& t = why.edit_texts();
            t.detail = joined({"the transaction is committed, but not yet so in every database: ", t.message});
            t.message = "a branch could not be reached to be committed";
            t.hint = "nothing is lost and nothing must be repeated: recover() completes it";
            why.set(errc::commit_pending);
        }
        result_ = std::move(why.set(effect::applied).set(health::good).set(phase::commit));
    }

    std::vector<branch> branches_;
    std::size_t last_;
    std::size_t at_ = 0;
    stage stage_ = stage::asking;
    bool unfinished_ = false;
    bool left_over_ = false;
    error result_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
