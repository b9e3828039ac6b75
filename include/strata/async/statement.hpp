// One statement, asynchronously: the same operation, work and flight as the blocking call, with its own copy of the arguments.
#ifndef STRATA_ASYNC_STATEMENT_HPP
#define STRATA_ASYNC_STATEMENT_HPP

#include <strata/async/answer.hpp>
#include <strata/async/drive.hpp>
#include <strata/calls.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `execute` has no sink of interest: its value is the work's count.
template <class Sink>
struct sink_value {
    static auto take(Sink& sink, const execution&) { return std::move(sink).take(); }
};
template <>
struct sink_value<discard_sink> {
    static execution take(discard_sink&, const execution& done) { return done; }
};

/// `Home` keeps what the call needs alive: `runtime()` and `source()`.
template <class Home, class Bound, class Sink, class Form, scope Where, class Wish = no_wish>
class statement_job {
    using runtime_type = typename Home::runtime_type;
    using source_type = typename Home::source_type;
    using op_type = operation<Wish::refine(facts_of_statement<Bound>(Where != scope::database))>;
    using work_type = typename work_of_statement<runtime_type, source_type, Bound, Sink,
                                                 runtime_type::interceptors::automatic && Where == scope::database>::type;

public:
    using form = Form;
    using home_type = Home;

    statement_job(Home home, Bound statement, Sink sink, const call_options& o, Wish wish = {})
        : home_(std::move(home)), statement_(std::move(statement)), sink_(std::move(sink)), wish_(std::move(wish)),
          work_(statement_, sink_), flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.outer = home_.outer();
        if constexpr (requires { work_.runs_in(home_.runtime()); }) work_.runs_in(home_.runtime());
        if (error e = check_made_at_run_time<runtime_type::driver::dialect, Where>(statement_)) {
            flight_.result().replace(std::move(e));
            return;
        }
        describe(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        wish_.tell(op_, statement_, sink_);
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.result().ok() ? flight_.start() : need::done; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if constexpr (!std::is_same_v<Wish, no_wish>) {
            try {
                if (!a.failed && !a.thrown) a.failed = wish_.fulfil(sink_);
            } catch (...) {
                a.thrown = std::current_exception();
            }
        }
        if (!a.failed && !a.thrown) a.value.emplace(sink_value<Sink>::take(sink_, work_.executed()));
        return a;
    }

private:
    Home home_;
    Bound statement_;
    Sink sink_;
    [[no_unique_address]] Wish wish_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
