// What `metrics<>` has counted, as a plain struct: to read, to subtract, to print (observe/print.hpp).
#ifndef STRATA_OBSERVE_METRICS_SNAPSHOT_HPP
#define STRATA_OBSERVE_METRICS_SNAPSHOT_HPP

#include <strata/core/operation.hpp>
#include <strata/observe/histogram.hpp>
#include <strata/observe/outcome_class.hpp>

#include <string>
#include <vector>

namespace strata::inline STRATA_ABI {

/// One statement name. Statements inside transactions count here too.
struct statement_metrics {
    std::string name;
    std::uint64_t failures = 0;
    small_histogram_snapshot latency;
};

struct metrics_snapshot {
    /// Finished operations, `[kind][class]`.
    std::array<std::array<std::uint64_t, outcome_classes>, operation_kinds> operations{};
    std::uint64_t retries = 0;                  ///< attempts after the first, ordered by a retry
    std::uint64_t rollbacks = 0;                ///< operations that ended with effect rolled_back
    std::uint64_t abandoned = 0;                ///< operations destroyed before they had finished; not among `operations`
    histogram_snapshot latency;                 ///< from admission to the end, with all retries and waits
    std::vector<statement_metrics> statements;  ///< by name; names beyond the table's size are under "(others)"

    [[nodiscard]] std::uint64_t count(operation_kind k, outcome_class c) const noexcept {
        return operations[static_cast<std::size_t>(k)][static_cast<std::size_t>(c)];
    }
    [[nodiscard]] std::uint64_t count(outcome_class c) const noexcept {
        std::uint64_t n = 0;
        for (const auto& of_kind : operations) n += of_kind[static_cast<std::size_t>(c)];
        return n;
    }
    [[nodiscard]] std::uint64_t count(operation_kind k) const noexcept {
        std::uint64_t n = 0;
        for (const std::uint64_t of_class : operations[static_cast<std::size_t>(k)]) n += of_class;
        return n;
    }
    /// All finished operations.
    [[nodiscard]] std::uint64_t total() const noexcept {
        std::uint64_t n = 0;
        for (std::size_t k = 0; k < operation_kinds; ++k) n += count(static_cast<operation_kind>(k));
        return n;
    }
    /// Passes below the retry, also those that a breaker or a pool refused.
    [[nodiscard]] std::uint64_t attempts() const noexcept { return total() + retries; }
    [[nodiscard]] std::uint64_t refusals() const noexcept { return count(outcome_class::refused); }

    /// The line of a name; null when it was never seen.
    [[nodiscard]] const statement_metrics* find(std::string_view name) const noexcept {
        for (const statement_metrics& s : statements)
            if (s.name == name) return &s;
        return nullptr;
    }

    /// What was counted between `earlier` and this, two snapshots of one `metrics<>`.
    [[nodiscard]] metrics_snapshot since(const metrics_snapshot& earlier) const {
        metrics_snapshot d = *this;
        for (std::size_t k = 0; k < operation_kinds; ++k)
            for (std::size_t c = 0; c < outcome_classes; ++c) d.operations[k][c] -= earlier.operations[k][c];
        d.retries -= earlier.retries;
        d.rollbacks -= earlier.rollbacks;
        d.abandoned -= earlier.abandoned;
        d.latency = latency.since(earlier.latency);
        for (statement_metrics& s : d.statements) {
            const statement_metrics* before = earlier.find(s.name);
            if (before == nullptr) continue;
            s.failures -= before->failures;
            s.latency = s.latency.since(before->latency);
        }
        return d;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
