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

template <bool InsideTransaction, class Runtime, class Source, class Bound, class Sink>
STRATA_INLINE error perform_statement(Runtime& rt, Source& source, const Bound& statement, Sink& sink, execution& done,
                                      const call_options& o, const interruption* outer) {
    using op_type = operation<facts_of_statement<Bound>(InsideTransaction)>;
    using work_type = statement_work<typename Runtime::driver, Bound, Sink>;
    op_type op{statement.label(), statement.text().text, o.tags, deadline_of(rt.world(), o.deadline, outer)};
    if constexpr (InsideTransaction) op.outer = outer;
    classify(op, statement, o);
    using layers_type = typename Runtime::interceptors;
    using way = passage<layers_type, op_type>;
    way through{rt.policies(), op};
    moment m{};
    if constexpr (way::timed) m = rt.world().moment();
    const step entered = through.first(m);
    if (entered == step::done) [[unlikely]]
        return std::move(through.result().error());
    work_type work{statement, sink};
    flight<typename Runtime::world_type, layers_type, Source, op_type, work_type, way&> f{rt.world(), through, source, op, work};
    static_cast<void>(drive(f, rt.world(), f.go_on_here(entered)));
    if (f.result().ok()) [[likely]] {
        if constexpr (work_type::counts) done = work.executed();
        return {};
    }
    if (f.thrown()) std::rethrow_exception(f.thrown());
    return std::move(f.result().error());
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
