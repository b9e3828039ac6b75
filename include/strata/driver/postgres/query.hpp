// One statement on its way: bound in the server's types, its rows given to a sink. All but these two is in run.hpp.
#ifndef STRATA_DRIVER_POSTGRES_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_QUERY_HPP

#include <strata/core/signal.hpp>
#include <strata/driver/postgres/arguments.hpp>
#include <strata/driver/postgres/description.hpp>
#include <strata/driver/postgres/run.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/value/sinks.hpp>

namespace strata::inline STRATA_ABI {

/// One statement. Call `resume()` until it says `done` or `failed`, and not again after that; `item` means that the sink has paused and
/// goes on at the next call. Connection, statement, arguments and sink must outlive the query.
template <class Bound, class Sink>
class postgres_connection::query : public detail::postgres_run {
public:
    query(postgres_connection& connection, const Bound& statement, Sink& sink) noexcept
        : detail::postgres_run(connection), statement_(statement), sink_(sink) {}

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() {
        if (ending_) [[unlikely]]
            return end();
        if (!under_way_) {
            if (const signal s = start(); s != signal::done) [[unlikely]]
                return s;
        }
        for (;;) {
            if (result_ == nullptr) {
                if (next() == signal::io) return signal::io;
                if (result_ == nullptr) break;
            }
            const ExecStatusType s = ::PQresultStatus(result_.get());
            if (s == PGRES_TUPLES_OK || s == PGRES_SINGLE_TUPLE) {
                if (!planned_ && !stopped_ && !plan_unprepared()) stopped_ = true;
                for (const int rows = ::PQntuples(result_.get()); row_ < rows && !stopped_;) {
                    const flow f = sink_.row(postgres_row{result_.get(), row_++, reading()}, plan(), error_);
                    if (f == flow::pause) return signal::item;
                    if (f == flow::stop) stopped_ = true;
                }
            }
            if (s != PGRES_SINGLE_TUPLE) keep_outcome();
            result_.reset();
        }
        if (failed_on_server_ && is_stale()) [[unlikely]]
            return resume();
        if (error_ || stopped_ || connection_lost()) return end();
        sink_.finish(error_);
        return end();
    }

    /// Has the server prepare and describe the statement, executes nothing, and hands a `postgres_description` to `use`. Blocks. False
    /// when that fails: see `failure()`.
    template <class Use>
    [[nodiscard]] bool describe(Use&& use) {
        begin(statement_.text(), Bound::facts.kind_known);
        take_types();
        if (!can_be_described() || take(false) != signal::done) return false;
        use(postgres_description{entry_->columns.get(), reading()});
        return true;
    }

private:
    [[nodiscard]] bool connection_lost() const noexcept { return connection_.is_lost(); }

    [[nodiscard]] signal start() {
        if (!preparing_ && !limiting_ && !beginning_) [[likely]] {
            begin(statement_.text(), Bound::facts.kind_known);
            take_types();
        }
        if (const signal s = take(!detail::wants_rows_one_by_one<Sink>); s != signal::done) [[unlikely]]
            return s;
        if (entry_ != nullptr && !plan_prepared()) return signal::failed;
        return bind() && send(detail::wants_rows_one_by_one<Sink>) ? signal::done : signal::failed;
    }

    /// The types that arguments say themselves.
    void take_types() {
        statement_.for_each_argument([this](std::size_t index, const auto& value) {
            if constexpr (detail::may_be_typed<std::remove_cvref_t<decltype(value)>>) {
                if (const std::string_view type = detail::type_of_argument(value); !type.empty()) want_type(index, type);
            }
        });
    }

    /// Binds the arguments; false when one is refused.
    [[nodiscard]] bool bind() {
        begin_parameters();
        const detail::refused_argument r = detail::write_arguments(statement_, writer());
        if (r.number == 0) [[likely]]
            return true;
        static_cast<void>(argument_refused(r.number, r.why, r.type));
        return false;
    }

    /// Before anything is sent: a row type that misses a column is refused without an effect.
    [[nodiscard]] bool plan_prepared() {
        planned_ = true;
        if (entry_->planned && entry_->plan.tag == sink_.tag()) return true;
        entry_->planned = false;
        error_ = sink_.plan(postgres_row{entry_->columns.get(), -1, reading()}, entry_->plan);
        if (error_) {
            error_.set(phase::prepare).edit_texts().statement = what_->text;
            return false;
        }
        entry_->plan.tag = sink_.tag();
        entry_->planned = true;
        return true;
    }
    [[nodiscard]] bool plan_unprepared() {
        planned_ = true;
        error_ = sink_.plan(postgres_row{result_.get(), -1, reading()}, own_plan_);
        return !error_;
    }
    [[nodiscard]] const row_plan& plan() const noexcept { return entry_ != nullptr ? entry_->plan : own_plan_; }

    const Bound& statement_;
    Sink& sink_;
    row_plan own_plan_;  // where nothing is prepared
    bool planned_ = false;
    bool stopped_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif
