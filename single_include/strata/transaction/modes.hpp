// Generated from include/strata/transaction/modes.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_TRANSACTION_MODES_HPP
#define STRATA_SINGLE_TRANSACTION_MODES_HPP

#include <strata/strata.hpp>

#include <optional>
#include <type_traits>

// What a stack says of its transactions, as a layer at its top:
//
//   stack<transactions<automatic>, metrics<>, retry<>, pool<>, postgres>
//
//   manual      As without the layer: a statement stands for itself, transactions are closures, `begin()` and batches. The layer only
//   brings
//               the defaults of all of them, as its options.
//   automatic   Besides, each statement that reads or writes, and is called on the database itself, runs in a transaction of its own with
//               these defaults: BEGIN, the statement, COMMIT. That costs two round trips (none for a batch, which has them anyway), and
//               gives a single statement what only transactions have: the isolation that was asked for; the certainty that a write whose
//               connection is lost before COMMIT was rolled back, so that `retry` may repeat it; and with `resolve_commit` the outcome of
//               the others. On SQLite a write meets a lock at BEGIN. Not for streams, pipelines and what is neither a read nor a write
//               (VACUUM, CREATE INDEX CONCURRENTLY), which run as they are, nor on a pinned session.
//   none        Closures, `begin()` and batches do not compile: for a database behind something that tears transactions apart, or an
//               audit trail to which single statements are added.
#ifndef STRATA_TRANSACTION_MODES_HPP
#define STRATA_TRANSACTION_MODES_HPP

namespace strata::inline STRATA_ABI {

/// The modes of `transactions<>`; see above.
struct automatic {};
struct manual {};
struct none {};

/// What transactions begin with where they do not say otherwise.
struct transactions_options {
    /// At least so isolated; empty: the database's default.
    std::optional<strata::isolation> isolation = std::nullopt;
    /// Those that are serializable and read only wait at their beginning for a snapshot that cannot meet a conflict. On SQLite none can.
    bool deferrable = false;
    /// Of those that may write, the single writer of a distributed transaction too; see `transaction_options::resolve_commit`. On SQLite
    /// COMMIT always answers.
    bool resolve_commit = false;

    friend bool operator==(const transactions_options&, const transactions_options&) = default;
};

/// See above. `Mode` is `automatic`, `manual` or `none`. Thread-safe; it has no hooks, so a call does not pass it.
template <class Mode>
class transactions {
    static_assert(std::is_same_v<Mode, automatic> || std::is_same_v<Mode, manual> || std::is_same_v<Mode, none>,
                  "strata: transactions<> takes strata::automatic, strata::manual or strata::none");

public:
    using options = transactions_options;
    static constexpr auto place = strata::place::extend;
    static constexpr bool automatic_transactions = std::is_same_v<Mode, automatic>;
    static constexpr bool no_transactions = std::is_same_v<Mode, none>;

    transactions() = default;
    explicit transactions(const transactions_options& o) noexcept : options_(o) {}

    [[nodiscard]] const transactions_options& transaction_defaults() const noexcept { return options_; }

private:
    const transactions_options options_{};
};

namespace detail {

/// A statement in a transaction of its own.
template <class Runtime, class Bound, class Sink>
class automatic_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using inner = statement_work<driver, Bound, Sink>;

public:
    static constexpr bool counts = inner::counts;

    automatic_work(const Bound& statement, Sink& sink) noexcept : statement_(statement), work_(statement, sink) {}
    automatic_work(const automatic_work&) = delete;
    automatic_work& operator=(const automatic_work&) = delete;

    /// Before it starts.
    void runs_in(Runtime& rt) { rt_ = &rt; }

    signal resume(connection& c, operation_base& op, outcome& result) {
        if (!stands_in_transaction()) return work_.resume(c, op, result);
        const guarded guard{c, &op};
        if (!whole_) {
            transaction_options<driver> o;
            o.read_only = op.reads_only;
            plan_ = plan_of(*rt_, o);
            whole_.emplace(0u, plan_);
            error_ = {};
        }
        const signal s = whole_->resume(c, op, rt_->world(), error_, [&](error& e) {
            outcome one;
            const signal ended = work_.resume(c, op, one);
            if (ended == signal::failed) e = std::move(one.error());
            return ended;
        });
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        work_.end();
        whole_.reset();
    }

    [[nodiscard]] const execution& executed() const noexcept { return work_.executed(); }

private:
    [[nodiscard]] bool stands_in_transaction() const noexcept {
        const statement_kind k = statement_.kind();
        return k == statement_kind::read || k == statement_kind::write;
    }

    const Bound& statement_;
    Runtime* rt_ = nullptr;
    inner work_;
    transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    error error_;
};

template <class Runtime, class Source, class Bound, class Sink>
struct work_of_statement<Runtime, Source, Bound, Sink, true> {
    using type = automatic_work<Runtime, Bound, Sink>;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

#endif
