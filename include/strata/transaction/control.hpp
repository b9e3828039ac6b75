// Begin, commit and roll back on a leased connection, with the truth about the effect. Shared by all forms of transactions.
//
// Each goes over several resumes where the connection waits for its descriptor: it is called again, with the same arguments, until it
// answers `done` or `failed`. Where the thread may block it answers at once.
#ifndef STRATA_TRANSACTION_CONTROL_HPP
#define STRATA_TRANSACTION_CONTROL_HPP

#include <strata/core/guarded.hpp>
#include <strata/core/joined.hpp>
#include <strata/core/operation.hpp>
#include <strata/core/pacing.hpp>
#include <strata/transaction/plan.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] constexpr bool has_ended(signal s) noexcept {
    return s == signal::done || s == signal::failed;
}

template <class Connection>
[[nodiscard]] signal control(Connection& c, std::string_view sql, error& e) {
    if constexpr (controls_in_steps<Connection>) {
        return c.control_step(sql, e);
    } else {
        e = c.control(sql);
        return e ? signal::failed : signal::done;
    }
}

/// What the end of a transaction knows beside it, where the driver can look a COMMIT up.
template <bool Resolves>
struct resolution {
    explicit resolution(bool) noexcept {}
};
template <>
struct resolution<true> {
    enum class at : std::uint8_t { asking_id, committing, resolving };

    explicit resolution(bool w) noexcept : wanted(w) {}
    bool wanted;
    at stage = at::asking_id;
    std::string id;
};

/// The end of a transaction: one of the two.
template <class Driver>
class transaction_end {
    using connection = typename Driver::connection;

public:
    /// `resolves`: a COMMIT that got no answer is looked up.
    explicit transaction_end(bool resolves = false) noexcept : look_up_(resolves) {}

    /// COMMIT. On a failure the transaction is rolled back as far as possible, and the error says so.
    [[nodiscard]] signal commit(connection& c, error& e) {
        if (rolls_back_) return roll_back(c, e);
        const guarded unhurried{c, nullptr};
        if (!std::exchange(begun_, true) && !c.in_transaction()) {
            e = error{errc::commit_rolled_back, "the database had already rolled the transaction back", phase::commit, effect::rolled_back};
            return signal::failed;
        }
        if constexpr (resolves_commits<Driver>) {
            if (look_up_.wanted) [[unlikely]]
                return commit_and_resolve(c, e);
        }
        const signal s = control(c, Driver::commit(), e);
        if (s != signal::failed) return s;
        e.set(phase::commit);
        return c.in_transaction() ? roll_back(c, e) : signal::failed;
    }
    /// Rolls back after `why`, which then knows what became of the transaction. Never `done`.
    [[nodiscard]] STRATA_COLD signal roll_back(connection& c, error& why) {
        const guarded unhurried{c, nullptr};
        if (std::exchange(rolls_back_, true) || c.in_transaction()) {
            const signal s = control(c, Driver::rollback(), second_);
            if (!has_ended(s)) return s;
            if (s == signal::failed && c.in_transaction()) {
                why.set_lost().set(effect::unknown);
                return signal::failed;
            }
        }
        why.set(effect::rolled_back);
        return signal::failed;
    }

private:
    using at = resolution<true>::at;

    /// The transaction's id, COMMIT, and if that is not answered what became of the id.
    [[nodiscard]] STRATA_COLD signal commit_and_resolve(connection& c, error& e) {
        if (look_up_.stage == at::asking_id) {
            const signal s = c.transaction_id_step(look_up_.id, second_);
            if (!has_ended(s)) return s;
            if (s == signal::failed && !c.in_transaction()) {  // lost before COMMIT was sent
                e = std::move(second_.set(phase::commit).set(effect::rolled_back));
                return signal::failed;
            }
            look_up_.stage = at::committing;  // COMMIT will say whatever else is wrong
        }
        if (look_up_.stage == at::committing) {
            const signal s = control(c, Driver::commit(), e);
            if (s != signal::failed) return s;
            e.set(phase::commit);
            if (e.effect() != effect::unknown) return c.in_transaction() ? roll_back(c, e) : signal::failed;
            look_up_.stage = at::resolving;
            if (c.yields()) return signal::work;  // to where it may block
        }
        return resolve(c, e);
    }
    [[nodiscard]] signal resolve(connection& c, error& e) {
        if (look_up_.id.empty()) {
            e.edit_texts().detail = "the transaction had no id: as far as rows go it has changed nothing";
            return signal::failed;
        }
        std::string why;
        switch (c.resolve_commit(look_up_.id, why)) {
            case commit_fate::committed:
                e = {};
                return signal::done;
            case commit_fate::rolled_back:
                e.set(errc::connection_lost).set(effect::rolled_back);
                e.edit_texts().detail =
                    joined({"COMMIT was not answered; the server says that transaction ", look_up_.id, " was rolled back"});
                return signal::failed;
            case commit_fate::unknown:
                break;
        }
        error_texts& t = e.edit_texts();
        t.detail = joined({"transaction ", look_up_.id, ": ", why});
        t.hint = joined({"ask the server: select ", Driver::status_function(), "('", look_up_.id, "')"});
        return signal::failed;
    }

    bool begun_ = false;
    bool rolls_back_ = false;
    [[no_unique_address]] resolution<resolves_commits<Driver>> look_up_;
    error second_;  // of the rollback, or of the question for the id
};

/// One attempt of a transaction from BEGIN to its end, with the advisory lock around it where the attempt escalates. What it cannot give
/// back is given up with the connection.
template <class Driver>
class transaction_course {
    using connection = typename Driver::connection;

public:
    transaction_course() noexcept = default;
    transaction_course(const transaction_plan<Driver>& plan, unsigned attempt) : plan_(&plan), attempt_(attempt), end_(plan.resolves) {}

    /// It ends early when the guard says so.
    [[nodiscard]] signal begin(connection& c, error& e) {
        if (unlocks_) [[unlikely]]
            return after(c, signal::failed);
        if (const char* const why = plan_->contradiction()) [[unlikely]] {
            e = error{errc::invalid_argument, why, phase::admission};
            return signal::failed;
        }
        if constexpr (has_advisory_locks<Driver>) {
            if (!locked_ && plan_->lock_at(attempt_)) [[unlikely]] {
                const signal s = control(c, Driver::lock(*plan_->lock_at(attempt_)), e);
                if (s != signal::done) return s;
                locked_ = true;
            }
        }
        if constexpr (requires { c.begin_later(Driver::begin(plan_->mode_at(attempt_))); }) {
            if (c.begin_later(Driver::begin(plan_->mode_at(attempt_)))) return signal::done;
        }
        const signal s = control(c, Driver::begin(plan_->mode_at(attempt_)), e);
        return s == signal::failed ? after(c, s) : s;
    }
    /// As `transaction_end`.
    [[nodiscard]] signal commit(connection& c, error& e) { return unlocks_ ? after(c, ended_) : after(c, end_.commit(c, e)); }
    [[nodiscard]] signal roll_back(connection& c, error& why) { return unlocks_ ? after(c, ended_) : after(c, end_.roll_back(c, why)); }

private:
    [[nodiscard]] signal after([[maybe_unused]] connection& c, signal s) {
        if constexpr (has_advisory_locks<Driver>) {
            if (has_ended(s) && locked_) [[unlikely]]
                return unlock(c, s);
        }
        return s;
    }
    [[nodiscard]] STRATA_COLD signal unlock(connection& c, signal s) {
        const guarded unhurried{c, nullptr};
        unlocks_ = true;
        ended_ = s;
        error ignored;
        const signal u = control(c, Driver::unlock(*plan_->lock_at(attempt_)), ignored);
        if (!has_ended(u)) return u;
        unlocks_ = locked_ = false;
        return s;
    }

    const transaction_plan<Driver>* plan_ = nullptr;
    unsigned attempt_ = 1;
    transaction_end<Driver> end_;
    signal ended_ = signal::done;
    bool locked_ = false;
    bool unlocks_ = false;
};

/// A savepoint of the transaction that is open.
template <class Driver>
class savepoint {
    using connection = typename Driver::connection;

public:
    explicit savepoint(unsigned depth) noexcept : depth_(depth) {}

    [[nodiscard]] signal enter(connection& c, error& e) { return control(c, Driver::savepoint(depth_), e); }
    [[nodiscard]] signal leave(connection& c, error& e) { return control(c, Driver::release(depth_), e); }
    /// Back to it, and it is gone; nothing where the database has rolled back everything by itself. Never `failed`: the transaction
    /// will see what is left.
    [[nodiscard]] STRATA_COLD signal undo(connection& c) noexcept {
        const guarded unhurried{c, nullptr};
        try {
            if (!undoing_ && !c.in_transaction()) return signal::done;
            undoing_ = true;
            if (!back_) {
                const signal s = control(c, Driver::rollback_to(depth_), ignored_);
                if (!has_ended(s)) return s;
                back_ = true;
            }
            const signal s = control(c, Driver::release(depth_), ignored_);
            return has_ended(s) ? signal::done : s;
        } catch (...) {  // no memory for an error's texts
            return signal::done;
        }
    }

private:
    unsigned depth_;
    bool undoing_ = false;
    bool back_ = false;
    error ignored_;
};

/// The deadline or a cancel stops a transaction up to here; a COMMIT once sent is awaited.
template <class World>
[[nodiscard]] error stopped(const operation_base& op, World& world) {
    if (op.is_cancelled()) return error{errc::cancelled, "cancelled before the transaction was committed", phase::commit};
    if (op.deadline != never && world.moment().now >= op.deadline)
        return error{errc::timeout, "the deadline passed before the transaction was committed", phase::commit};
    return {};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
