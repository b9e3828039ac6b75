// What runs inside a transaction: the handle that a closure gets, with savepoints by nesting.
#ifndef STRATA_TRANSACTION_TRANSACTION_HPP
#define STRATA_TRANSACTION_TRANSACTION_HPP

#include <strata/calls.hpp>
#include <strata/core/extensions.hpp>
#include <strata/core/health.hpp>
#include <strata/perform.hpp>
#include <strata/stream.hpp>
#include <strata/transaction/closure.hpp>
#include <strata/transaction/control.hpp>
#include <strata/transaction/hooks.hpp>
#include <strata/transaction/options.hpp>

namespace strata::inline STRATA_ABI {

/// An open transaction (or savepoint) as a closure sees it. Not copied, not moved: it lives as long as the closure
/// runs. Statements on it ask only the layers that stand inside transactions; they share its deadline.
/// One thread at a time: a second one is refused with `errc::misuse`, and so is the handle of an outer level while a savepoint is open.
template <class Runtime>
class basic_transaction : public calls<basic_transaction<Runtime>>,
                          public detail::extensions<basic_transaction<Runtime>, typename Runtime::interceptors> {
public:
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    using transaction_type = basic_transaction;
    static constexpr scope where = scope::transaction;

    basic_transaction(Runtime& rt, connection& c, operation_base& op, detail::transaction_state& state, unsigned depth) noexcept
        : rt_(rt), connection_(c), op_(op), state_(state), depth_(depth) {}
    basic_transaction(const basic_transaction&) = delete;
    basic_transaction& operator=(const basic_transaction&) = delete;

    /// A savepoint: the closure's value comes out; when it throws or returns an error, only what it did is rolled
    /// back and this transaction stays usable. Never repeated by itself: a conflict in it is one of the whole transaction, which is rolled
    /// back at its end and repeated where the stack does so, even if the closure goes on.
    template <class Closure>
    auto transaction(Closure&& closure) {
        using value = detail::closure_value<Closure, basic_transaction>;
        detail::assert_kept<value, basic_transaction>();
        if (error e = enter()) throw_failure(std::move(e));
        const detail::transaction_hooks::mark before = state_.hooks.now();
        basic_transaction inner{rt_, connection_, op_, state_, depth_ + 1};
        try {
            if constexpr (std::is_void_v<value>) {
                closure(inner);
                leave(before);
            } else {
                value v = closure(inner);
                if (!detail::holds_error(v)) {
                    leave(before);
                    return v;
                }
                undo(before);
                if constexpr (detail::our_result<value>) {
                    error e = v.error();
                    e.set(effect::rolled_back);
                    return detail::failed_value(std::move(v), std::move(e));
                } else {
                    return v;
                }
            }
        } catch (const failure& f) {
            undo(before);
            error e = detail::told_by_closure(f.error());
            if (e.effect() == effect::none) e.set(effect::rolled_back);
            throw_failure(std::move(e));
        } catch (...) {
            undo(before);
            throw;
        }
    }

    /// Calls `f()` when the transaction has been committed; see hooks.hpp. One allocation. `errc::misuse` where a statement on this handle
    /// would be.
    template <class F>
    void on_commit(F&& f) {
        state_.add_hook(depth_, true, std::forward<F>(f));
    }
    /// Calls `f()` when the transaction, or the savepoint whose closure this is, has been rolled back.
    template <class F>
    void on_rollback(F&& f) {
        state_.add_hook(depth_, false, std::forward<F>(f));
    }

    /// Number of the attempt, from 1: the closure may run again after a conflict.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }
    /// The driver's own handle, for what strata does not offer. Do not end the transaction through it.
    [[nodiscard]] auto native_handle() const noexcept { return connection_.native_handle(); }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        source_type source{connection_, state_.use, depth_};
        detail::perform_statement<true>(rt_, source, statement, sink, done, o, &op_, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        source_type source{connection_, state_.use, depth_};
        return detail::perform_batch<true>(rt_, source, statement, elements, depth_ + 1, done, o, &op_);
    }
    template <class F>
    error on_source(F&& f) {
        source_type source{connection_, state_.use, depth_};
        return f(rt_, source, depth_ + 1, static_cast<const interruption*>(&op_));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::own_source<source_type>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, true>;
        return std::make_unique<state>(rt_, source{source_type{connection_, state_.use, depth_, false}}, std::move(statement),
                                       std::move(sink), o, &op_, nullptr);
    }

private:
    using source_type = detail::pinned_source<driver>;
    using savepoint_type = detail::savepoint<driver>;

    [[nodiscard]] error enter() {
        if (!state_.use.enter(depth_)) return state_.use.refusal();
        error e = connection_.in_transaction() ? error{} : source_type::ended();
        if (!e) static_cast<void>(savepoint_type{depth_ + 1}.enter(connection_, e));
        if (e) state_.use.note(e);
        state_.use.leave(e ? depth_ : depth_ + 1);
        return e;
    }
    void leave(detail::transaction_hooks::mark before) {
        error e;
        if (!state_.use.enter(depth_ + 1)) throw_failure(state_.use.doom_unfinished());
        const signal s = savepoint_type{depth_ + 1}.leave(connection_, e);
        if (s == signal::failed) state_.use.note(e);
        state_.use.leave(s == signal::done ? depth_ : depth_ + 1);
        if (s == signal::done) return;
        undo(before);
        throw_failure(std::move(e));
    }
    void undo(detail::transaction_hooks::mark before) noexcept {
        if (!state_.use.is_open(depth_ + 1)) return;  // undone by `leave`
        if (!state_.use.enter(depth_ + 1)) return state_.use.doom();
        static_cast<void>(savepoint_type{depth_ + 1}.undo(connection_));
        state_.use.leave(depth_);
        state_.hooks.run(false, before);
    }

    Runtime& rt_;
    connection& connection_;
    operation_base& op_;
    detail::transaction_state& state_;
    unsigned depth_;
};

}  // namespace strata::inline STRATA_ABI

#endif
