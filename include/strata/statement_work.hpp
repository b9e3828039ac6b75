// The work of one statement: a driver's query between the engine and a sink.
#ifndef STRATA_STATEMENT_WORK_HPP
#define STRATA_STATEMENT_WORK_HPP

#include <strata/call_options.hpp>
#include <strata/core/guarded.hpp>
#include <strata/core/pacing.hpp>
#include <strata/core/signal.hpp>
#include <strata/sql/bound.hpp>

#include <memory>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What most calls want besides their rows: nothing. See sql/marked.hpp for the others.
struct no_wish {
    [[nodiscard]] static consteval operation_facts refine(operation_facts f) { return f; }
    template <class Op, class Bound, class Sink>
    STRATA_INLINE static void tell(Op&, const Bound&, Sink&) noexcept {}
    template <class Sink>
    [[nodiscard]] STRATA_INLINE static error fulfil(Sink&) noexcept {
        return {};
    }
};

/// The facts of an operation that consists of this statement. A caller may say `idempotent`, so "no" means "ask".
template <class Bound>
consteval operation_facts facts_of_statement(bool inside_transaction) {
    constexpr statement_facts s = Bound::facts;
    return {.kind = static_cast<operation_kind>(s.kind),
            .kind_known = s.kind_known,
            .idempotent = s.idempotent == known::yes ? known::yes : known::at_run_time,
            .inside_transaction = inside_transaction};
}
static_assert(static_cast<int>(operation_kind::other) == static_cast<int>(statement_kind::other));

/// Tells the operation what kind of statement it is.
template <class Op, class Bound>
STRATA_INLINE void classify(Op& op, const Bound& statement, const call_options& options) {
    if constexpr (!Op::facts.kind_known) op.run_time_kind = static_cast<operation_kind>(statement.kind());
    if constexpr (Op::facts.idempotent == known::at_run_time) op.run_time_idempotent = options.idempotent || statement.idempotent();
    op.reads_only = op.kind() == operation_kind::read;
}

/// Tells the operation what its statement is.
template <class Op, class Bound>
STRATA_INLINE void describe(Op& op, const Bound& statement, const call_options& options) {
    op.name = statement.label();
    op.statement = statement.text().text;
    op.tags = options.tags;
    op.priority = options.priority;
    classify(op, statement, options);
}

/// A source in which statements may share connections; see source/pipelined.hpp.
template <class Source>
concept has_shared_side = requires(Source& s) { s.shared(); };
/// Which of them do: those of which is known that they leave nothing behind on a connection, and not that they keep others waiting.
template <class Source, class Bound>
[[nodiscard]] STRATA_INLINE bool shares_connection(Source& source, const Bound& statement, const call_options& options) noexcept {
    constexpr statement_facts f = Bound::facts;
    if constexpr (f.kind_known && (f.kind == statement_kind::read || f.kind == statement_kind::write)) {
        if (f.kind == statement_kind::read && f.idempotent != known::yes && !options.idempotent && !statement.idempotent()) return false;
        const descriptor& d = statement.text();
        return !d.on_session && !source.shared().keeps_apart(d.hash.low);
    } else {
        return false;
    }
}

template <class Driver, class Bound, class Sink>
class statement_work {
    using connection = typename Driver::connection;
    using query = typename connection::template query<Bound, Sink>;

public:
    /// False for a sink whose caller asks for rows only.
    static constexpr bool counts = !requires { requires !Sink::wants_count; };

    statement_work(const Bound& statement, Sink& sink) noexcept : statement_(statement), sink_(sink) {}
    statement_work(const statement_work&) = delete;
    statement_work& operator=(const statement_work&) = delete;
    ~statement_work() {}  // NOLINT: the flight, which goes before, has called end()

    STRATA_INLINE signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!running_) {
            if (op.is_cancelled()) [[unlikely]]  // a short statement would be over before the driver looks
                return refused(result);
            if (op.attempt > 1) [[unlikely]]
                sink_.restart();
            std::construct_at(&query_, c, statement_, sink_);
            running_ = true;
        }
        const signal s = query_.resume();
        if (s == signal::done) [[likely]] {
            if constexpr (counts) executed_ = {query_.affected(), query_.last_id()};
        } else if (s == signal::failed) {
            result.replace(std::move(query_.failure()));
        }
        return s;
    }
    STRATA_INLINE void end() noexcept {
        if (std::exchange(running_, false)) std::destroy_at(&query_);
    }

    [[nodiscard]] const execution& executed() const noexcept { return executed_; }

private:
    STRATA_COLD static signal refused(outcome& result) {
        result.replace(error{errc::cancelled, phase::execute});
        return signal::failed;
    }

    const Bound& statement_;
    Sink& sink_;
    union {  // an optional of it would be forty functions more to compile for each kind of statement
        query query_;
    };
    bool running_ = false;
    execution executed_;
};

/// What carries a statement out. `Alone`: in a transaction of its own; see transaction/modes.hpp.
template <class Runtime, class Source, class Bound, class Sink, bool Alone>
struct work_of_statement {
    using type = statement_work<typename Source::driver, Bound, Sink>;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
