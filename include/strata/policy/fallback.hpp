// A value for a failure: a read whose database cannot be had is answered with what its caller says instead.
//
//   db.one<account>(or_else(find("id"_arg = 7), account{}));
//
// The policy decides whether a failure is one to be answered, counts it and takes it away, so that the layers outside of it (metrics, logs)
// see a success; the face then puts the value there, or calls the function, with the error (see `or_else` in sql/marked.hpp). So a
// fallback may use another database: it runs after the operation has ended, under no layer of this stack.
//
// Answered are, of reads only: what is transient by the table of conditions (no connection, a lost one, timeouts, contention that outlasted
// the retries) and refusals of this process. Never: what the database or the result says (no_rows, a violated constraint, a wrong
// statement), what the caller cancelled, what the caller's own code threw, and nothing of a statement that may write.
#ifndef STRATA_POLICY_FALLBACK_HPP
#define STRATA_POLICY_FALLBACK_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/conditions.hpp>
#include <strata/policy/tagged.hpp>
#include <strata/sql/marked.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

struct fallback_options {
    /// Which failures are answered, given what the table says; null: as the table says. Must not block. Not asked about a cancel or an
    /// exception of the caller's.
    bool (*when)(const error& why, bool by_table) noexcept = nullptr;

    [[nodiscard]] error validate() const { return {}; }
    friend bool operator==(const fallback_options&, const fallback_options&) = default;
};

/// What a fallback has done so far.
struct fallback_snapshot {
    std::uint64_t used = 0;       ///< failures that were taken away
    std::uint64_t passed_on = 0;  ///< failures of calls that had a fallback, but were not to be answered
};

/// Thread-safe. A success costs one comparison, and a call without `or_else` nothing.
template <class Tag = void>
class fallback {
public:
    using options = detail::options_for<Tag, fallback_options>;
    static constexpr auto place = strata::place::fallback;
    static constexpr bool replaces = true;

    fallback() : fallback(options{}) {}
    explicit fallback(const options& o) noexcept : options_(detail::untagged(o)) {}

    template <class Op>
    STRATA_INLINE void settle([[maybe_unused]] Op& op, no_frame&, [[maybe_unused]] outcome& result) noexcept {
        if constexpr (Op::facts.replaceable) {
            if (!result.ok()) [[unlikely]]
                take_away(*op.aside, op.kind() == operation_kind::read, op.idempotent(), result);
        }
    }

    [[nodiscard]] fallback_snapshot snapshot() const noexcept {
        return {used_.load(std::memory_order_relaxed), passed_on_.load(std::memory_order_relaxed)};
    }

private:
    STRATA_COLD void take_away(outcome& aside, bool reads, bool idempotent, outcome& result) noexcept {
        const effect did = result.error().effect();  // a function of the statement's may have written
        const bool harmless = idempotent || did == effect::none || did == effect::rolled_back;
        if (!reads || !harmless || !is_answered(result.error())) {
            passed_on_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        used_.fetch_add(1, std::memory_order_relaxed);
        aside.replace(std::move(result.error()));
        result.clear();
    }
    [[nodiscard]] bool is_answered(const error& e) const noexcept {
        if (e.code() == errc::cancelled || e.code() == errc::user_exception) return false;
        const bool by_table = is_refusal(e.code()) || traits_of(e.code()).transient;
        return options_.when == nullptr ? by_table : options_.when(e, by_table);
    }

    const fallback_options options_;
    std::atomic<std::uint64_t> used_{0};
    std::atomic<std::uint64_t> passed_on_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
