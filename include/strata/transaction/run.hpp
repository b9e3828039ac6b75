// A transaction as one operation: admitted once, its closure run on one connection, repeated as a whole or not at all.
#ifndef STRATA_TRANSACTION_RUN_HPP
#define STRATA_TRANSACTION_RUN_HPP

#include <strata/core/health.hpp>
#include <strata/transaction/plan.hpp>
#include <strata/transaction/transaction.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What a closure that ended with `e` comes to: what has doomed the transaction, though the closure went on, goes before success and before
/// its own consequences, but not before what the closure itself has thrown or returned.
[[nodiscard]] inline error verdict_of(const transaction_use& use, error e) {
    if (use.is_doomed() && (!e || e.code() == errc::transaction_aborted)) [[unlikely]]
        return use.why_doomed();
    return e;
}

template <class Runtime, class Closure>
class transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = basic_transaction<Runtime>;
    using value = closure_value<Closure, handle>;

public:
    transaction_work(Runtime& rt, Closure& closure, const transaction_plan<driver>& plan) noexcept
        : rt_(rt), closure_(closure), plan_(plan) {
        assert_kept<value, handle>();
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        thrown = nullptr;
        returned.reset();
        state.run_before_attempt();
        const guarded guard{c, &op};
        error e;
        transaction_course<driver> course{plan_, op.attempt};
        signal s = course.begin(c, e);  // it blocks: each step answers its end
        if (s == signal::done) {
            e = run(c, op);
            if (!e) e = stopped(op, rt_.world());
            s = e ? course.roll_back(c, e) : course.commit(c, e);
        }
        if (s == signal::failed) result.replace(std::move(e));
        return s;
    }
    void end() noexcept {}

    std::exception_ptr thrown;  ///< what the closure threw, unless it was ours
    std::optional<storable<value>> returned;
    transaction_state state;

private:
    [[nodiscard]] error run(connection& c, operation_base& op) {
        state.use.begin();
        handle_.emplace(rt_, c, op, state, 0u);
        op.handed_over = runs_once<Closure>;
        error e = call(*handle_);
        if (!state.use.try_end()) [[unlikely]]
            e = state.end_late(op);
        return verdict_of(state.use, std::move(e));
    }
    [[nodiscard]] error call(handle& tx) {
        try {
            if constexpr (std::is_void_v<value>) {
                closure_(tx);
                returned.emplace();
            } else {
                returned.emplace(closure_(tx));
                if (holds_error(*returned)) return error_in(*returned);
            }
            return {};
        } catch (const failure& f) {
            return told_by_closure(f.error());
        } catch (...) {
            thrown = std::current_exception();
            return error{errc::user_exception, phase::execute};
        }
    }

    Runtime& rt_;
    Closure& closure_;
    const transaction_plan<driver> plan_;
    std::optional<handle> handle_;  // outlives the closure, so that it can refuse whoever uses it then
};

inline constexpr operation_facts transaction_facts{.kind = operation_kind::transaction};

/// Runs a closure as a transaction on connections of `source`. `thrown` and the value are in the work.
template <class Runtime, class Source, class Work>
error drive_transaction(Runtime& rt, Source& source, Work& work, const transaction_options<typename Runtime::driver>& o,
                        const interruption* outer) {
    using op_type = operation<transaction_facts>;
    op_type op;
    op.name = o.name;
    op.tags = o.tags;
    op.priority = o.priority;
    op.reads_only = o.read_only;
    op.deadline = deadline_of(rt.world(), o.deadline, outer);
    op.outer = outer;
    flight<typename Runtime::world_type, typename Runtime::interceptors, Source, op_type, Work> f{rt.world(), rt.policies(), source, op,
                                                                                                  work};
    static_cast<void>(drive(f, rt.world(), f.start()));
    work.state.run_hooks(f.result().error());
    if (f.thrown()) std::rethrow_exception(f.thrown());
    return std::move(f.result().error());
}

/// The throwing form: the closure's value, its own exception, or `failure`. An error-valued result is returned, not thrown.
template <class Runtime, class Source, class Closure>
auto run_transaction(Runtime& rt, Source& source, Closure& closure, const transaction_options<typename Runtime::driver>& o,
                     const interruption* outer = nullptr) {
    using value = closure_value<Closure, basic_transaction<Runtime>>;
    assert_transactions<Runtime>();
    transaction_work<Runtime, Closure> work{rt, closure, plan_of(rt, o)};
    error e = drive_transaction(rt, source, work, o, outer);
    if (e) [[unlikely]] {
        if (work.thrown) std::rethrow_exception(work.thrown);
        if constexpr (!std::is_void_v<value>) {
            if (work.returned && holds_error(*work.returned)) return failed_value(std::move(*work.returned), std::move(e));
        }
        throw_failure(std::move(e));
    }
    if constexpr (!std::is_void_v<value>) return std::move(*work.returned);
}

/// The `try_` form: exceptions of the closure that are not ours are still thrown.
template <class Runtime, class Source, class Closure>
auto try_run_transaction(Runtime& rt, Source& source, Closure& closure, const transaction_options<typename Runtime::driver>& o,
                         const interruption* outer = nullptr) ->
    typename as_result<closure_value<Closure, basic_transaction<Runtime>>>::type {
    using value = closure_value<Closure, basic_transaction<Runtime>>;
    assert_transactions<Runtime>();
    transaction_work<Runtime, Closure> work{rt, closure, plan_of(rt, o)};
    error e = drive_transaction(rt, source, work, o, outer);
    if (e) [[unlikely]] {
        if (work.thrown) std::rethrow_exception(work.thrown);
        return e;
    }
    if constexpr (std::is_void_v<value>)
        return {};
    else
        return std::move(*work.returned);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
