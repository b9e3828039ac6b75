// Counting: operations by kind and outcome, their latency, retries, and statements by name.
//
// Statements inside a transaction are not operations of their own: the transaction is one. They are counted by name
// only, where they have one.
#ifndef STRATA_POLICY_METRICS_HPP
#define STRATA_POLICY_METRICS_HPP

#include <strata/core/interceptor.hpp>
#include <strata/observe/metrics_snapshot.hpp>
#include <strata/observe/statement_table.hpp>

namespace strata::inline STRATA_ABI {

/// Thread-safe; no lock. A success costs two atomic increments; a named statement a look-up and one more.
/// `Tag` tells two of them apart.
template <class Tag = void>
class metrics {
public:
    static constexpr auto place = strata::place::observe;
    static constexpr bool inside_transaction = true;
    struct frame {
        unset<time_point> started;
        unset<bool> inner;  ///< a statement inside a transaction
    };

    STRATA_INLINE void admit(auto& op, frame& f, moment m) noexcept {
        f.started = m.now;
        f.inner = std::remove_reference_t<decltype(op)>::facts.inside_transaction;
    }

    STRATA_INLINE void settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        const duration took = m.now - time_point{f.started};
        if constexpr (!std::remove_reference_t<decltype(op)>::facts.inside_transaction) {
            latency_.record(took);
            if (op.attempt != 1) [[unlikely]]
                retries_.fetch_add(op.attempt - 1, std::memory_order_relaxed);
            auto& of_kind = operations_[static_cast<std::size_t>(op.kind())];
            if (result.ok()) [[likely]]
                of_kind[0].fetch_add(1, std::memory_order_relaxed);
            else
                count_failure(of_kind, result.error());
        }
        if (!op.name.empty()) [[unlikely]]
            count_statement(op.name, took, result.ok());
    }

    void abandon(frame& f) noexcept {
        if (!f.inner) abandoned_.fetch_add(1, std::memory_order_relaxed);
    }

    /// Not one moment's state: what finishes meanwhile may be in one part and not yet in another.
    [[nodiscard]] metrics_snapshot snapshot() const {
        metrics_snapshot s;
        for (std::size_t k = 0; k < operation_kinds; ++k)
            for (std::size_t c = 0; c < outcome_classes; ++c) s.operations[k][c] = operations_[k][c].load(std::memory_order_relaxed);
        s.retries = retries_.load(std::memory_order_relaxed);
        s.rollbacks = rollbacks_.load(std::memory_order_relaxed);
        s.abandoned = abandoned_.load(std::memory_order_relaxed);
        s.latency = latency_.snapshot();
        const auto add = [&s](const statement_counters& c, std::string_view name) {
            s.statements.push_back({std::string{name}, c.failures(), c.latency().snapshot()});
        };
        statements_.for_each([&add](const statement_counters& c) { add(c, c.name()); });
        if (statements_.others().latency().snapshot().count() != 0) add(statements_.others(), "(others)");
        return s;
    }

private:
    using by_class = std::array<std::atomic<std::uint64_t>, outcome_classes>;

    STRATA_COLD void count_failure(by_class& of_kind, const error& e) noexcept {
        // A park that ended by time or cancel is local too, but no refusal.
        const outcome_class c = class_of(e.code());
        const bool refused = e.local() && c != outcome_class::timeout && c != outcome_class::cancelled;
        of_kind[static_cast<std::size_t>(refused ? outcome_class::refused : c)].fetch_add(1, std::memory_order_relaxed);
        if (e.effect() == effect::rolled_back) rollbacks_.fetch_add(1, std::memory_order_relaxed);
    }

    STRATA_COLD void count_statement(std::string_view name, duration took, bool ok) noexcept { statements_.find(name).record(took, ok); }

    std::array<by_class, operation_kinds> operations_{};
    std::atomic<std::uint64_t> retries_{0};
    std::atomic<std::uint64_t> rollbacks_{0};
    std::atomic<std::uint64_t> abandoned_{0};
    histogram latency_;
    statement_table statements_;
};

}  // namespace strata::inline STRATA_ABI

#endif
