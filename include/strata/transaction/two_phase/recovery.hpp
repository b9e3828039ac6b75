// What a crash, a lost connection or a lost server has left of distributed transactions, found and brought to its end.
//
// Only ids of the coordinator's own log are touched, and of these none that is on its way in this process; another process cannot have
// the log open. A branch is committed where its transaction was decided, else rolled back. Ids are never used twice, so a race with a
// transaction that ends meanwhile is lost without harm.
#ifndef STRATA_TRANSACTION_TWO_PHASE_RECOVERY_HPP
#define STRATA_TRANSACTION_TWO_PHASE_RECOVERY_HPP

#include <strata/transaction/two_phase/coordinator.hpp>
#include <strata/transaction/two_phase/last_resource.hpp>

#include <algorithm>

namespace strata::inline STRATA_ABI {

/// What `recover` has done.
struct recovery_report {
    std::size_t committed = 0;    ///< branches that were committed now, or had been
    std::size_t rolled_back = 0;  ///< branches that were rolled back now
    std::size_t remaining =
        0;  ///< branches that could not be ended now: `errors` says why, or their SQLite file or database is not among these
    std::vector<heuristic_outcome> heuristics;  ///< found now; the coordinator's log keeps them until they are acknowledged
    std::vector<error> errors;

    /// Nothing is left to do.
    [[nodiscard]] bool complete() const noexcept { return remaining == 0 && errors.empty(); }
};

/// A prepared transaction of a database.
struct in_doubt_transaction {
    enum class kind : std::uint8_t {
        in_flight,          ///< of this coordinator, and on its way in this process
        awaits_recovery,    ///< of this coordinator, and nobody's work at the moment
        other_coordinator,  ///< strata's, but not of this coordinator's log
        foreign             ///< of another program
    };
    std::size_t database = 0;  ///< which of the participants it was found in, from 0
    std::string id;
    std::string owner;  ///< the role that prepared it, and that may end it
    duration age{};     ///< by the server's clock
    kind what = kind::foreign;
};

namespace detail {

/// Recovery over any number of databases: `list` each, then `read` what was decided, then `settle` each, then `forget`.
class two_phase_recovery {
public:
    explicit two_phase_recovery(transaction_coordinator& c) : coordinator_(c) {}

    /// What is prepared in a database and nobody's work at the moment.
    template <class Database>
    void list(enlisted<Database>& where, duration deadline) {
        if constexpr (can_prepare<typename Database::driver>) {
            std::vector<prepared_line> lines;
            with_session(where, deadline, [&](auto& s) { return list_prepared(s, coordinator_.prefix(), lines); });
            for (const prepared_line& l : lines) add(where.identity, l.id);
        }
    }
    template <class Database>
    void read(enlisted<Database>& where) {
        if constexpr (!can_prepare<typename Database::driver>) {
            std::vector<std::pair<std::string, decision>> rows;
            if (error e = where.read(coordinator_.prefix(), rows)) return failed(std::move(e));
            file_ = where.file;
            for (auto& [name, d] : rows)
                if (!coordinator_.is_in_flight(d.id)) decisions_.push_back({std::move(d), std::move(name), {}});
        }
    }
    void read_log() {
        for (decision& d : coordinator_.pending()) decisions_.push_back({std::move(d), {}, {}});
    }
    /// Commits what was decided, rolls back what was not.
    template <class Database>
    void settle(enlisted<Database>& where, duration deadline) {
        if constexpr (can_prepare<typename Database::driver>) {
            for (standing& s : decisions_) s.settled.resize(s.d.branches.size());
            if (!concerns(where.identity)) return;
            with_session(where, deadline, [&](auto& session) {
                for (standing& s : decisions_) commit(session, where.identity, s);
                for (found& f : found_) roll_back(session, where.identity, f);
                return error{};
            });
        }
    }
    /// What is complete is forgotten; `drop(name)`: from the last resource. What is not is counted.
    template <class Drop>
    void forget(Drop&& drop) {
        for (const standing& s : decisions_) {
            const auto open = std::count(s.settled.begin(), s.settled.end(), false);
            report.remaining += static_cast<std::size_t>(open);
            if (open != 0) continue;
            if (s.row.empty())
                coordinator_.log().forget(s.d.id);
            else
                drop(s.row);
        }
        for (const found& f : found_) report.remaining += f.ended || is_decided(f.id.id) ? 0u : 1u;
        coordinator_.log().tidy();
    }

    recovery_report report;

private:
    struct standing {
        decision d;
        std::string row;  // of the last resource's table; empty: it stands in the log
        std::vector<bool> settled;
    };
    struct found {
        database_identity where;
        global_id id;
        std::string text;
        bool ended = false;
    };

    void failed(error e) { report.errors.push_back(std::move(e)); }

    template <class Database, class F>
    void with_session(enlisted<Database>& where, duration deadline, F&& f) {
        auto s = where.db.try_session({.deadline = deadline, .name = "strata two-phase recovery"});
        error e = s ? check_identity(*s, where.identity) : s.error();
        if (!e) e = f(*s);
        if (e) failed(std::move(e));
    }

    void add(const database_identity& where, const std::string& text) {
        const auto id = global_id::read(text, coordinator_.prefix());
        if (!id || coordinator_.is_in_flight(id->id)) return;
        for (const found& f : found_)
            if (f.where == where && f.text == text) return;  // two participants are one database
        found_.push_back({where, *id, text});
        if (id->id.opening <= coordinator_.log().opening()) return;
        error e{errc::corrupt, joined({"the branch '", text, "' is younger than the decision log, which is an old copy"}),
                phase::admission};
        e.edit_texts().hint = "open the newest log: by this one, nothing of later openings is ended";
        failed(std::move(e));
    }
    [[nodiscard]] bool concerns(const database_identity& where) const {
        return std::any_of(found_.begin(), found_.end(), [&](const found& f) { return f.where == where; }) ||
               std::any_of(decisions_.begin(), decisions_.end(), [&](const standing& s) {
                   return std::any_of(s.d.branches.begin(), s.d.branches.end(), [&](const auto& b) { return b.where == where; });
               });
    }
    [[nodiscard]] bool is_decided(const transaction_number& id) const {
        return std::any_of(decisions_.begin(), decisions_.end(), [&](const standing& s) { return s.d.id == id; });
    }

    template <class Session>
    void commit(Session& session, const database_identity& where, standing& s) {
        for (std::size_t i = 0; i < s.d.branches.size(); ++i) {
            const prepared_branch& b = s.d.branches[i];
            if (s.settled[i] || !(b.where == where)) continue;
            const global_id id{s.d.id, b.branch, s.row.empty() ? 0 : file_};
            error e = end_prepared(session, id.to_string(coordinator_.prefix()), b.transaction_id, true);
            s.settled[i] = !e || e.code() == errc::heuristic_outcome;
            if (!e) ++report.committed;
            if (e.code() == errc::heuristic_outcome) {
                report.heuristics.push_back({s.d.id, b, false});
                if (error unkept = coordinator_.found(report.heuristics.back())) {
                    s.settled[i] = false;  // to be found again
                    failed(std::move(unkept));
                }
            }
            if (e) failed(std::move(e));
        }
    }
    template <class Session>
    void roll_back(Session& session, const database_identity& where, found& f) {
        const bool elsewhere = f.id.last_resource != 0 && f.id.last_resource != file_;  // decided where we cannot look
        if (!(f.where == where) || elsewhere || f.ended || f.id.id.opening > coordinator_.log().opening() || is_decided(f.id.id)) return;
        if (error e = end_prepared(session, f.text, 0, false)) return failed(std::move(e));
        f.ended = true;
        ++report.rolled_back;
    }

    transaction_coordinator& coordinator_;
    std::vector<found> found_;
    std::vector<standing> decisions_;
    std::uint64_t file_ = 0;  // of the last resource that was read
};

[[nodiscard]] inline in_doubt_transaction::kind kind_of(const std::string& text, const transaction_coordinator& c) {
    using enum in_doubt_transaction::kind;
    if (const auto id = global_id::read(text, c.prefix())) return c.is_in_flight(id->id) ? in_flight : awaits_recovery;
    return text.starts_with(global_prefix) ? other_coordinator : foreign;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
