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
#include <strata/transaction/options.hpp>

namespace strata::inline STRATA_ABI {

/// An open transaction (or savepoint) as a closure sees it. Not copied, not moved: it lives as long as the closure
/// runs. Statements on it ask only the layers that stand inside transactions; they share its deadline.
/// Not thread-safe: one thread at a time.
template <class Runtime>
class basic_transaction : public calls<basic_transaction<Runtime>>,
                          public detail::extensions<basic_transaction<Runtime>, typename Runtime::interceptors> {
public:
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    using transaction_type = basic_transaction;
    static constexpr scope where = scope::transaction;

    basic_transaction(Runtime& rt, connection& c, operation_base& op, unsigned depth) noexcept
        : rt_(rt), connection_(c), op_(op), depth_(depth) {}
    basic_transaction(const basic_transaction&) = delete;
    basic_transaction& operator=(const basic_transaction&) = delete;

    /// A savepoint: the closure's value comes out; when it throws or returns an error, only what it did is rolled
    /// back and this transaction stays usable. Never repeated by itself.
    template <class Closure>
    auto transaction(Closure&& closure) {
        using value = detail::closure_value<Closure, basic_transaction>;
        if (error e = enter()) throw_failure(std::move(e));
        basic_transaction inner{rt_, connection_, op_, depth_ + 1};
        try {
            if constexpr (std::is_void_v<value>) {
                closure(inner);
                leave();
            } else {
                value v = closure(inner);
                if (!detail::holds_error(v)) {
                    leave();
                    return v;
                }
                undo();
                if constexpr (detail::our_result<value>) {
                    error e = v.error();
                    e.set(effect::rolled_back);
                    return detail::failed_value(std::move(v), std::move(e));
                } else {
                    return v;
                }
            }
        } catch (const failure& f) {
            undo();
            error e = detail::told_by_closure(f.error());
            if (e.effect() == effect::none) e.set(effect::rolled_back);
            throw_failure(std::move(e));
        } catch (...) {
            undo();
            throw;
        }
    }

    /// Number of the attempt, from 1: the closure may run again after a conflict.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }
    /// The driver's own handle, for what strata does not offer. Do not end the transaction through it.
    [[nodiscard]] auto native_handle() const noexcept { return connection_.native_handle(); }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        source_type source{connection_, true};
        detail::perform_statement<true>(rt_, source, statement, sink, done, o, &op_, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        source_type source{connection_, true};
        return detail::perform_batch<true>(rt_, source, statement, elements, depth_ + 1, done, o, &op_);
    }
    template <class F>
    error on_source(F&& f) {
        source_type source{connection_, true};
        return f(rt_, source, depth_ + 1, static_cast<const interruption*>(&op_));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::own_source<source_type>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, true>;
        return std::make_unique<state>(rt_, source{source_type{connection_, true}}, std::move(statement), std::move(sink), o, &op_,
                                       nullptr);
    }

private:
    using source_type = detail::pinned_source<driver>;
    using savepoint_type = detail::savepoint<driver>;

    [[nodiscard]] error enter() {
        if (!connection_.in_transaction()) return source_type::ended();
        error e;
        static_cast<void>(savepoint_type{depth_ + 1}.enter(connection_, e));
        return e;
    }
    void leave() {
        error e;
        if (savepoint_type{depth_ + 1}.leave(connection_, e) == signal::done) return;
        undo();
        throw_failure(std::move(e));
    }
    void undo() noexcept { static_cast<void>(savepoint_type{depth_ + 1}.undo(connection_)); }

    Runtime& rt_;
    connection& connection_;
    operation_base& op_;
    unsigned depth_;
};

}  // namespace strata::inline STRATA_ABI

#endif
