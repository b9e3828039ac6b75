// A COPY as the work of one operation: in a transaction of its own, or behind a savepoint.
#ifndef STRATA_COPY_WORK_HPP
#define STRATA_COPY_WORK_HPP

#include <strata/core/operation.hpp>
#include <strata/core/signal.hpp>
#include <strata/sql/literal.hpp>
#include <strata/transaction/enclosed.hpp>
#include <strata/value/copy_options.hpp>

#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

consteval operation_facts facts_of_copy(bool inside_transaction) {
    return {.kind = operation_kind::batch, .inside_transaction = inside_transaction};
}

template <class Driver>
constexpr void assert_copy() {
    static_assert(
        requires { typename Driver::template copy_raw<int>; },
        "strata: this driver has no COPY: write rows by execute_many, and read them by rows()");
}

template <class Driver>
[[nodiscard]] copy_source copy_source_of(const descriptor& text) {
    copy_source s;
    s.query = text.text_for(Driver::dialect);
    while (!s.query.empty() && (s.query.back() == ';' || s.query.back() == ' ' || s.query.back() == '\n')) s.query.pop_back();
    if (text.parameters != 0 || text.statements != 1)
        s.wrong = error{errc::invalid_statement, "COPY reads from one query without parameters", phase::prepare};
    if (text.kind != statement_kind::read)
        s.wrong = error{errc::invalid_statement, "COPY reads from a query that only reads", phase::prepare};
    return s;
}
template <class Driver, class Source>
[[nodiscard]] copy_source as_copy_source(const Source& source) {
    if constexpr (is_literal<Source>) {
        const auto bound = source();
        return copy_source_of<Driver>(bound.text());
    } else if constexpr (bound_statement<Source>) {
        if (error e = check_statement(source, Driver::dialect)) return {copy_table{""}, {}, std::move(e)};
        return copy_source_of<Driver>(source.text());
    } else {
        return {copy_table(source), {}, {}};
    }
}

/// `Copy` is the driver's: `run(connection, operation)` and `done()`.
template <class Runtime, class Copy>
class copy_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    copy_work(Runtime& rt, Copy& copy, unsigned depth) noexcept : rt_(rt), copy_(copy), depth_(depth), plan_(plan_of(rt)) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!whole_) {
            if constexpr (requires { requires Copy::once; }) op.handed_over = true;
            if (op.is_cancelled()) {
                result.replace(error{errc::cancelled, phase::execute});
                return signal::failed;
            }
            whole_.emplace(depth_, plan_);
            error_ = {};
            may_block_ = op.make_waker == nullptr;
        }
        const signal s = whole_->resume(c, op, rt_.world(), error_, [&](error& e) {
            if (!std::exchange(may_block_, true)) return signal::work;
            e = copy_.run(c, op);
            return e ? signal::failed : signal::done;
        });
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { whole_.reset(); }

private:
    Runtime& rt_;
    Copy& copy_;
    unsigned depth_;
    const transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    error error_;
    bool may_block_ = true;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
