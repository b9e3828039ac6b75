// One statement through one source, blocking: what all blocking sessions do under `calls`.
#ifndef STRATA_PERFORM_HPP
#define STRATA_PERFORM_HPP

#include <strata/source/pinned.hpp>
#include <strata/statement_work.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The deadline of a call: its own, but not beyond that of what it is part of.
template <class World>
STRATA_INLINE time_point deadline_of(World& world, duration own, const interruption* outer) noexcept {
    const time_point limit = outer != nullptr ? outer->deadline : never;
    if (own == duration::zero()) [[likely]]
        return limit;
    const time_point mine = add_saturated(world.moment().now, own);
    return mine < limit ? mine : limit;
}

/// Blocks until the operation has ended: for work that is not a single statement.
template <class Runtime, class Source, class Op, class Work>
error perform_work(Runtime& rt, Source& source, Op& op, Work& work) {
    flight<typename Runtime::world_type, typename Runtime::interceptors, Source, Op, Work> f{rt.world(), rt.policies(), source, op, work};
    static_cast<void>(drive(f, rt.world(), f.start_here()));
    if (f.thrown()) std::rethrow_exception(f.thrown());
    return std::move(f.result().error());
}

template <bool InsideTransaction, class Runtime, class Source, class Bound, class Sink, class Wish = no_wish>
STRATA_INLINE void perform_statement(Runtime& rt, Source& source, const Bound& statement, Sink& sink, execution& done,
                                     const call_options& o, const interruption* outer, outcome& ended, Wish&& wish = {}) {
    using op_type = operation<std::remove_cvref_t<Wish>::refine(facts_of_statement<Bound>(InsideTransaction))>;
    if constexpr (has_shared_side<Source> && !Runtime::interceptors::automatic) {
        if (shares_connection(source, statement, o))
            return perform_statement<InsideTransaction>(rt, source.shared(), statement, sink, done, o, outer, ended, wish);
    }
    using layers_type = typename Runtime::interceptors;
    using work_type = typename work_of_statement<Runtime, Source, Bound, Sink, layers_type::automatic && !InsideTransaction>::type;
    using way = passage<layers_type, op_type, outcome&>;
    moment m{};  // first: what lay in memory by then would have to be read again after the clock
    if constexpr (way::timed) m = rt.world().moment();
    op_type op{statement.label(), statement.text().text, o.tags, deadline_of(rt.world(), o.deadline, outer)};
    if constexpr (InsideTransaction) op.outer = outer;
    if constexpr (layers_type::asks_priority) op.priority = o.priority;
    classify(op, statement, o);
    wish.tell(op, statement, sink);
    way through{rt.policies(), op, ended};
    const step entered = through.first(m);
    if (entered == step::done) [[unlikely]]
        return;
    work_type work{statement, sink};
    if constexpr (requires { work.runs_in(rt); }) work.runs_in(rt);
    flight<typename Runtime::world_type, layers_type, Source, op_type, work_type, way&> f{rt.world(), through, source, op, work};
    static_cast<void>(drive(f, rt.world(), f.go_on_here(entered)));
    if (ended.ok()) [[likely]] {
        if constexpr (work_type::counts) done = work.executed();
    } else if (f.thrown()) {
        ended.clear();
        std::rethrow_exception(f.thrown());
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
