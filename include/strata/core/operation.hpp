// What travels down a stack: the facts and the few variables that policies may look at.
//
// The type carries what is known at compile time (`operation_facts`); it never carries a statement's text or
// its arguments, so one passage is compiled for all statements of equal facts.
#ifndef STRATA_CORE_OPERATION_HPP
#define STRATA_CORE_OPERATION_HPP

#include <strata/core/cache_request.hpp>
#include <strata/core/interruption.hpp>
#include <strata/core/known.hpp>
#include <strata/core/outcome.hpp>
#include <strata/core/waiter.hpp>

#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// The first six mirror a statement's kind; the others are operations of several statements.
enum class operation_kind : std::uint8_t {
    read, write, ddl, transaction_control, session, other, transaction, batch, stream, pinned_session
};
inline constexpr std::size_t operation_kinds = 10;

[[nodiscard]] constexpr std::string_view to_string(operation_kind k) noexcept {
    constexpr std::string_view names[] = {"read", "write", "ddl", "transaction_control", "session",
                                          "other", "transaction", "batch", "stream", "pinned_session"};
    return names[static_cast<std::size_t>(k)];
}

/// What is known of an operation at compile time. A template argument.
struct operation_facts {
    operation_kind kind = operation_kind::other;
    bool kind_known = true;               ///< false: `operation::run_time_kind` says it
    known idempotent = known::no;
    bool cacheable = false;               ///< its caller asks for caching: it carries a `cache_request`, and a layer may `answer` it
    bool replaceable = false;             ///< its caller has something to put in the place of a failure
    bool inside_transaction = false;      ///< only layers with `inside_transaction = true` are asked
};

/// Who goes first where operations wait for a slot of a bulkhead or a concurrency limit. The pool's queue is strictly first in, first out.
enum class priority : std::uint8_t { normal, high, low };

/// A user's mark on a call, for logs and metrics of their own. The views must live as long as the call.
struct tag {
    std::string_view key;
    std::string_view value;
};

/// The part of an operation that does not depend on its facts. Not for concurrent use, but for `cancelled`.
struct operation_base : interruption {
    operation_base() noexcept = default;
    operation_base(std::string_view label, std::string_view text, std::span<const tag> marks, time_point until) noexcept
        : interruption(until), name(label), statement(text), tags(marks) {}

    std::string_view name;       ///< of the statement, from `.named()`; empty without
    std::string_view statement;  ///< text, for logs; empty for a transaction
    std::span<const tag> tags;
    std::uint16_t attempt = 1;   ///< number of the current attempt, from 1
    bool handed_over : 1 = false;       ///< a row or a handle has reached the user: never repeated any more
    bool waited_for_lease : 1 = false;  ///< this attempt waited for a connection: its time says nothing about the database
    bool connect_failed : 1 = false;    ///< it waited for a connection that could not be opened
    std::uint8_t unused : 5 = 0;        // written, so that nothing has to be kept when the others are
    bool hurried = false;        ///< this attempt got less than attempt_timeout's limit, since the operation's deadline was nearer
    bool reads_only = false;     ///< may run on a connection that cannot write
    operation_kind run_time_kind = operation_kind::other;
    bool run_time_idempotent = false;
    /// Of a blocking statement only where a layer states `asks_priority`. With it these make eight bytes, which are written as one.
    strata::priority priority = strata::priority::normal;
    /// Makes the waker of an operation that does not block its thread; null for one that does. Called on slow paths only.
    waker* (*make_waker)(operation_base&) = nullptr;
    void* drive = nullptr;  ///< whatever `make_waker` needs; belongs to the drive

    /// Whether another attempt may begin `after` from now: not beyond the deadline, not against the caller's will, and not
    /// once a row or a handle has reached the user.
    [[nodiscard]] bool may_repeat(duration after, moment m) const noexcept {
        return !handed_over && !cancelled.load(std::memory_order_relaxed) && add_saturated(m.now, after) < deadline;
    }

    /// The waker for `waiter::prepare`: null when a thread will block.
    [[nodiscard]] waker* waking() { return make_waker != nullptr ? make_waker(*this) : nullptr; }
};

namespace detail {

/// What only some operations carry; the others have neither a byte nor an instruction of it.
template <bool Cacheable>
struct cache_part {};
template <>
struct cache_part<true> {
    const cache_request* cache = nullptr;  ///< null where the key could not be made: then nothing is cached
};
template <bool Replaceable>
struct fallback_part {};
template <>
struct fallback_part<true> {
    outcome* aside = nullptr;  ///< where a layer puts the failure that it takes away; the face then puts a value in its place
};

}  // namespace detail

/// One call on its way through a stack.
template <operation_facts Facts>
struct operation : operation_base, detail::cache_part<Facts.cacheable>, detail::fallback_part<Facts.replaceable> {
    using operation_base::operation_base;

    static constexpr operation_facts facts = Facts;
    static constexpr bool cacheable = Facts.cacheable;

    /// `constexpr` unless the statement was made at run time.
    [[nodiscard]] constexpr operation_kind kind() const noexcept {
        if constexpr (Facts.kind_known) return Facts.kind;
        else return this->run_time_kind;
    }
    /// True when repeating it after it may have been sent changes nothing.
    [[nodiscard]] constexpr bool idempotent() const noexcept {
        if constexpr (Facts.idempotent == known::at_run_time) return this->run_time_idempotent;
        else return Facts.idempotent == known::yes;
    }
};

/// Known at compile time to be a read, which begins no transaction.
template <class Op>
inline constexpr bool surely_reads = false;
template <operation_facts Facts>
inline constexpr bool surely_reads<operation<Facts>> = Facts.kind_known && Facts.kind == operation_kind::read;

}  // namespace strata::inline STRATA_ABI

#endif
