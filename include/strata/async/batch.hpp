// A batch, asynchronously: one operation, and where the driver blocks one hop to a work thread, for all its elements.
#ifndef STRATA_ASYNC_BATCH_HPP
#define STRATA_ASYNC_BATCH_HPP

#include <strata/async/answer.hpp>
#include <strata/async/drive.hpp>
#include <strata/transaction/batch.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `depth`: that of its savepoint; 0 for a transaction of its own.
template <class Home, class Statement, class Range, class Form, bool InsideTransaction>
class batch_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_batch(InsideTransaction)>;
    using work_type = batch_work<runtime_type, Statement, Range>;

public:
    using form = Form;

    batch_job(Home home, unsigned depth, const Statement& statement, Range elements, const call_options& o)
        : home_(std::move(home)), statement_(statement), elements_(std::move(elements)),
          work_(home_.runtime(), statement_, elements_, depth),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        describe_batch<op_type, bound_element<Statement, Range>>(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if (!a.failed && !a.thrown) a.value.emplace(work_.executed());
        return a;
    }

private:
    Home home_;
    Statement statement_;
    Range elements_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
