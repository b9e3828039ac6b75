// The blocking drive of two-phase commit: does what the protocol says, on the participants and the coordinator's log.
#ifndef STRATA_TRANSACTION_TWO_PHASE_SETTLE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_SETTLE_HPP

#include <strata/transaction/two_phase/branch.hpp>
#include <strata/transaction/two_phase/coordinator.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// One transaction of a coordinator on its way to its end.
class two_phase_settlement {
public:
    /// `last_resource`: which of the participants cannot prepare, and the identity of its file; `none` and 0 without one.
    two_phase_settlement(transaction_coordinator& c, const transaction_number& id, std::span<two_phase_participant* const> participants,
                         std::size_t last_resource, std::uint64_t file)
        : coordinator_(c), id_(id), participants_(participants), last_(last_resource), file_(file) {
        decision_.id = id;
    }

    /// Begins on all, or on none.
    [[nodiscard]] error begin() {
        for (std::size_t i = 0; i < participants_.size(); ++i) {
            const at_step told{coordinator_, two_phase_step::begin, i};
            error e = participants_[i]->begin();
            if (!e) continue;
            bool wrote = false;
            while (i-- > 0) static_cast<void>(participants_[i]->perform(two_phase_step::roll_back, {}, wrote));
            return e;
        }
        return {};
    }

    /// Commits, or rolls back for `why`. What comes out says what became of the whole.
    [[nodiscard]] error settle(error why) {
        for (two_phase_participant* p : participants_) {
            error e = p->end_work();
            if (e && (!why || why.code() == errc::transaction_aborted)) why = std::move(e);
        }
        two_phase_protocol protocol{participants_.size(), last_, std::move(why)};
        for (two_phase_order o = protocol.next(); o.step != two_phase_step::ended; o = protocol.next()) {
            const at_step told{coordinator_, o.step, o.participant};
            bool wrote = true;
            error e;
            try {
                e = perform(o, wrote);
            } catch (const std::exception& x) {  // no memory, or no random numbers
                e = error{errc::out_of_memory, x.what(), phase::commit, o.step == two_phase_step::decide ? effect::unknown : effect::none};
            }
            protocol.answer(std::move(e), wrote);
        }
        error e = std::move(protocol).result();
        for (two_phase_participant* p : participants_) p->run_hooks(e);
        return e;
    }

    /// Whether the decision stands in the last resource, and is complete.
    [[nodiscard]] bool is_to_be_forgotten_there() const noexcept { return forgotten_ && last_ != two_phase_protocol::none; }
    [[nodiscard]] std::string decision_name() const { return global_id{id_, 0, file_}.to_string(coordinator_.prefix()); }

private:
    /// Tells a test.
    struct at_step {
        at_step(const transaction_coordinator& c, two_phase_step s, std::size_t i) noexcept : coordinator(c), step(s), participant(i) {
            coordinator.at_step(step, participant, false);
        }
        at_step(const at_step&) = delete;
        at_step& operator=(const at_step&) = delete;
        ~at_step() { coordinator.at_step(step, participant, true); }
        const transaction_coordinator& coordinator;
        two_phase_step step;
        std::size_t participant;
    };

    [[nodiscard]] error perform(const two_phase_order& o, bool& wrote) {
        switch (o.step) {
            case two_phase_step::decide:
                return coordinator_.log().decide(decision_);
            case two_phase_step::note_decision:
                return participants_[o.participant]->note(decision_name(), decision_);
            case two_phase_step::forget:
                forgotten_ = true;
                if (last_ == two_phase_protocol::none) coordinator_.log().forget(id_);
                return {};
            default:
                break;
        }
        two_phase_participant& p = *participants_[o.participant];
        const auto number = static_cast<std::uint32_t>(o.participant);
        error e = p.perform(o.step, global_id{id_, number, file_}.to_string(coordinator_.prefix()), wrote);
        if (o.step == two_phase_step::prepare && !e) decision_.branches.push_back(p.as_prepared(number));
        if (e.code() == errc::heuristic_outcome) {
            const error unkept = coordinator_.found({id_, p.as_prepared(number), o.step == two_phase_step::discard});
            if (unkept) e.edit_texts().detail = joined({"this could not be noted: ", unkept.message()});
        }
        return e;
    }

    transaction_coordinator& coordinator_;
    transaction_number id_;
    std::span<two_phase_participant* const> participants_;
    std::size_t last_;
    std::uint64_t file_;
    decision decision_;
    bool forgotten_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
