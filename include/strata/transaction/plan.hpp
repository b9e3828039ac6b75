// What a transaction's options come to: how each of its attempts begins, and how much is asked about its end.
#ifndef STRATA_TRANSACTION_PLAN_HPP
#define STRATA_TRANSACTION_PLAN_HPP

#include <strata/core/layers.hpp>
#include <strata/transaction/options.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver>
struct transaction_plan {
    mode_of<Driver> mode;
    transaction_escalation<Driver> escalation;
    bool resolves = false;

    [[nodiscard]] bool escalates(unsigned attempt) const noexcept { return escalation.from != 0 && attempt >= escalation.from; }
    [[nodiscard]] mode_of<Driver> mode_at(unsigned attempt) const noexcept { return escalates(attempt) ? escalated() : mode; }
    /// The advisory lock that an attempt takes first.
    [[nodiscard]] std::optional<std::int64_t> lock_at([[maybe_unused]] unsigned attempt) const noexcept {
        if constexpr (has_advisory_locks<Driver>)
            if (escalates(attempt)) return escalation.lock;
        return std::nullopt;
    }
    /// Why there can be no such transaction; null when there can.
    [[nodiscard]] const char* contradiction() const noexcept {
        if (escalation.from == 1)
            return "escalation.from counts attempts, of which the first cannot escalate: begin so from the start, or write 2 or more";
        return mode.contradiction();
    }

private:
    [[nodiscard]] STRATA_COLD mode_of<Driver> escalated() const noexcept {
        mode_of<Driver> m = mode;
        if (escalation.isolation && (!m.isolation || *m.isolation < *escalation.isolation)) m.isolation = escalation.isolation;
        using kind = typename locking_of<Driver>::kind;
        if constexpr (requires { kind::deferred; })
            if (!m.read_only && m.locking == kind::deferred) m.locking.reset();  // the default is the write lock at once
        return m;
    }
};

/// The layer of a stack that speaks of transactions, if there is one.
template <class Layers>
struct transactions_layer {
    using type = void;
};
template <class First, class... Rest>
struct transactions_layer<layers<First, Rest...>> : transactions_layer<layers<Rest...>> {};
template <class First, class... Rest>
    requires requires(const First& f) { f.transaction_defaults(); }
struct transactions_layer<layers<First, Rest...>> {
    using type = First;
};

/// The options with the stack's defaults in the place of what they leave out.
template <class Runtime>
[[nodiscard]] transaction_plan<typename Runtime::driver> plan_of([[maybe_unused]] Runtime& rt,
                                                                 const transaction_options<typename Runtime::driver>& o = {}) {
    using driver = typename Runtime::driver;
    using layer = typename transactions_layer<typename Runtime::interceptors>::type;
    transaction_plan<driver> p;
    p.mode.read_only = o.read_only;
    p.mode.isolation = o.isolation;
    if constexpr (requires { typename driver::locking; }) p.mode.locking = o.locking;
    if constexpr (!std::is_void_v<layer>) {
        const auto& all = rt.template policy<layer>().transaction_defaults();
        if (!p.mode.isolation) p.mode.isolation = all.isolation;
        const bool may_wait = all.deferrable && o.read_only && p.mode.isolation == isolation::serializable;
        if constexpr (defers<driver>) p.mode.deferrable = o.deferrable.value_or(may_wait);
        if constexpr (resolves_commits<driver>) p.resolves = o.resolve_commit.value_or(all.resolve_commit) && !o.read_only;
    } else {
        if constexpr (defers<driver>) p.mode.deferrable = o.deferrable.value_or(false);
        if constexpr (resolves_commits<driver>) p.resolves = o.resolve_commit.value_or(false) && !o.read_only;
    }
    p.escalation = o.escalation;
    return p;
}

/// Where the user begins a transaction, or a batch.
template <class Runtime>
constexpr void assert_transactions() {
    static_assert(!Runtime::interceptors::forbids_transactions,
                  "strata: the stack says transactions<none>: run statements one by one, or take that layer out of the stack");
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
