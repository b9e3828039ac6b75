// One statement for each element of a range, all or nothing: one operation, one lease, and for asynchronous code one hop.
#ifndef STRATA_TRANSACTION_BATCH_HPP
#define STRATA_TRANSACTION_BATCH_HPP

#include <strata/call_options.hpp>
#include <strata/core/joined.hpp>
#include <strata/perform.hpp>
#include <strata/transaction/enclosed.hpp>
#include <strata/value/bind_members.hpp>
#include <strata/value/sinks.hpp>

#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Calls the statement with one element of a batch.
template <class Statement, class Element>
[[nodiscard]] auto bind_element(const Statement& statement, const Element& element) {
    if constexpr (!is_literal<Statement>) {
        static_assert(is_literal<Statement>, "strata: execute_many takes a literal without its arguments: each element brings them");
        return bound<statement_facts{}>{nullptr, {}, {}};  // says nothing more
    } else if constexpr (requires { std::tuple_size<Element>::value; }) {
        return std::apply([&](const auto&... each) { return statement(each...); }, element);
    } else if constexpr (adapted_struct<Element>) {
        return bind_members(statement, element);
    } else {
        return statement(element);
    }
}

template <class Statement, class Range>
using bound_element = decltype(bind_element(std::declval<const Statement&>(), *std::begin(std::declval<const Range&>())));

/// Adds which element of a batch failed.
[[nodiscard]] STRATA_COLD inline error in_element(error e, std::size_t element) {
    std::string& detail = e.edit_texts().detail;
    if (!detail.empty()) detail += "; ";
    detail += joined({"element ", digits_of(element), " of the batch, counted from 0"});
    return e;
}

/// The facts of a batch. A caller may say `idempotent`.
consteval operation_facts facts_of_batch(bool inside_transaction) {
    return {.kind = operation_kind::batch, .idempotent = known::at_run_time, .inside_transaction = inside_transaction};
}

/// BEGIN, the statement for each element, COMMIT; inside a transaction, where `depth` is not 0, the savepoint of that depth.
template <class Runtime, class Statement, class Range>
class batch_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using iterator = decltype(std::begin(std::declval<const Range&>()));
    using reference = decltype(*std::declval<iterator&>());

    /// One element on its way. What a range makes as it goes is kept: the bound statement refers to it.
    struct part {
        part(connection& c, const Statement& s, iterator& at)
            : element(*at), statement(bind_element(s, element)), query(c, statement, nobody) {}
        std::conditional_t<std::is_reference_v<reference>, const std::remove_reference_t<reference>&, const reference> element;
        const bound_element<Statement, Range> statement;
        discard_sink nobody;
        typename connection::template query<bound_element<Statement, Range>, discard_sink> query;
    };

public:
    batch_work(Runtime& rt, const Statement& statement, const Range& elements, unsigned depth) noexcept
        : rt_(rt), statement_(statement), elements_(elements), depth_(depth), plan_(plan_of(rt)) {
        assert_transactions<Runtime>();
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!whole_) {
            whole_.emplace(depth_, plan_);
            next_.emplace(std::begin(elements_));
            number_ = 0;
            executed_ = {};
            error_ = {};
        }
        const signal s = whole_->resume(c, op, rt_.world(), error_, [&](error& e) {
            try {
                return run(c, op, e);
            } catch (...) {
                now_.reset();  // before the rollback
                throw;
            }
        });
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        now_.reset();
        whole_.reset();
    }

    [[nodiscard]] const execution& executed() const noexcept { return executed_; }

private:
    [[nodiscard]] signal run(connection& c, const operation_base& op, error& e) {
        for (; now_ || *next_ != std::end(elements_); ++*next_, ++number_) {
            if (!now_) {
                if ((e = stopped(op, rt_.world()))) return e = in_element(std::move(e), number_), signal::failed;
                now_.emplace(c, statement_, *next_);
            }
            const signal s = now_->query.resume();
            if (!has_ended(s)) return s;
            if (s == signal::failed) e = in_element(std::move(now_->query.failure()), number_);
            executed_.affected += now_->query.affected();
            executed_.last_id = now_->query.last_id();
            now_.reset();
            if (s == signal::failed) return s;
        }
        return signal::done;
    }

    Runtime& rt_;
    const Statement& statement_;
    const Range& elements_;
    unsigned depth_;
    const transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    std::optional<iterator> next_;
    std::optional<part> now_;
    std::size_t number_ = 0;
    error error_;
    execution executed_;
};

/// Tells the operation what its batch is.
template <class Op, class Bound, class Statement>
void describe_batch(Op& op, const Statement& statement, const call_options& o) {
    op.name = statement.label();
    op.statement = statement.text().text;
    op.tags = o.tags;
    op.priority = o.priority;
    op.run_time_idempotent = o.idempotent || Bound::idempotent();
}

/// The blocking drive of a batch. `outer`: what it is part of.
template <bool InsideTransaction, class Runtime, class Source, class Statement, class Range>
error perform_batch(Runtime& rt, Source& source, const Statement& statement, const Range& elements, unsigned depth, execution& done,
                    const call_options& o, const interruption* outer) {
    using op_type = operation<facts_of_batch(InsideTransaction)>;
    using work_type = batch_work<Runtime, Statement, Range>;
    op_type op;
    describe_batch<op_type, bound_element<Statement, Range>>(op, statement, o);
    op.deadline = deadline_of(rt.world(), o.deadline, outer);
    op.outer = outer;
    work_type work{rt, statement, elements, depth};
    error e = perform_work(rt, source, op, work);
    done = work.executed();
    return e;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
