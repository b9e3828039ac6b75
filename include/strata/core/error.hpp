// What went wrong, as a value: a portable condition, what is known about the effect, and the texts.
//
// An error is small (at most 48 bytes) because it is made and dropped on hot paths: a refusal by an open
// breaker has no texts and allocates nothing. The texts of a database's error hang on one pointer.
#ifndef STRATA_CORE_ERROR_HPP
#define STRATA_CORE_ERROR_HPP

#include <strata/core/config.hpp>
#include <strata/core/joined.hpp>
#include <strata/core/time.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

/// Portable conditions: the vocabulary of retry, breaker and of users' code. The native code is in the texts.
enum class errc : std::uint8_t {
    ok = 0,
    // refused locally: nothing was sent
    circuit_open, bulkhead_full, rate_limited, pool_exhausted, pool_unreachable, shutting_down, refused, access_denied,
    // time and the caller's will
    timeout, cancelled,
    // connection
    cannot_connect, connection_lost,
    // contention: as a rule worth another try
    busy, busy_snapshot, locked, serialization_failure, deadlock, lock_not_available,
    // constraints
    unique_violation, foreign_key_violation, not_null_violation, check_violation, constraint_violation,
    // the statement and its arguments
    syntax_error, undefined_object, invalid_argument, invalid_statement, read_only, too_big, permission_denied,
    // the result
    no_rows, too_many_rows, missing_column, type_mismatch, out_of_range, null_value,
    // the machine
    disk_full, io_error, corrupt, out_of_memory, not_a_database,
    // transactions; commit_rolled_back: COMMIT was asked for, but the database had rolled back, or answered ROLLBACK
    transaction_aborted, commit_rolled_back, outcome_unknown,
    // distributed transactions: committed, but not yet in every database; ended in part by somebody's hand
    commit_pending, heuristic_outcome,
    // a statement of a pipeline that was skipped, since one before it failed
    not_run,
    // the user's code and ours
    user_exception, user_error, misuse, unsupported, unknown
};

/// What a failed call did to the database. Only what is known to be safe is repeated.
enum class effect : std::uint8_t { none, rolled_back, applied, unknown };

/// How far a failed call had come.
enum class phase : std::uint8_t { admission, acquire, connect, prepare, execute, commit, result };

/// Whether the connection can serve the next caller.
enum class health : std::uint8_t {
    good,
    late,      ///< it can: a call ran out of time, and was ended in good order
    doubtful,  ///< it can, though what went wrong may have been its own fault
    lost,
    all_lost   ///< nor can any that was opened before: the server goes down, or has become a standby
};

/// `serialization_failure` for `errc::serialization_failure`; static storage.
[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
    constexpr std::string_view names[] = {
        "ok", "circuit_open", "bulkhead_full", "rate_limited", "pool_exhausted", "pool_unreachable", "shutting_down", "refused",
        "access_denied", "timeout", "cancelled", "cannot_connect", "connection_lost", "busy", "busy_snapshot", "locked",
        "serialization_failure", "deadlock", "lock_not_available", "unique_violation", "foreign_key_violation",
        "not_null_violation", "check_violation", "constraint_violation", "syntax_error", "undefined_object", "invalid_argument",
        "invalid_statement", "read_only", "too_big", "permission_denied", "no_rows", "too_many_rows", "missing_column",
        "type_mismatch", "out_of_range", "null_value", "disk_full", "io_error", "corrupt", "out_of_memory", "not_a_database",
        "transaction_aborted", "commit_rolled_back", "outcome_unknown", "commit_pending", "heuristic_outcome", "not_run",
        "user_exception", "user_error", "misuse", "unsupported", "unknown"};
    static_assert(sizeof(names) / sizeof(names[0]) == static_cast<std::size_t>(errc::unknown) + 1);
    return names[static_cast<std::size_t>(code)];
}

[[nodiscard]] constexpr std::string_view to_string(effect e) noexcept {
    constexpr std::string_view names[] = {"none", "rolled_back", "applied", "unknown"};
    return names[static_cast<std::size_t>(e)];
}

[[nodiscard]] constexpr std::string_view to_string(phase p) noexcept {
    constexpr std::string_view names[] = {"admission", "acquire", "connect", "prepare", "execute", "commit", "result"};
    return names[static_cast<std::size_t>(p)];
}

/// The parts of an error that need memory. Every field may be empty; no secret is ever put here.
struct error_texts {
    std::string message;      ///< the database's or the library's own sentence
    std::string native_code;  ///< SQLSTATE, or SQLite's extended code as a number
    std::string detail;
    std::string hint;        ///< what to do
    std::string constraint;  ///< name of the violated constraint
    std::string table;
    std::string column;     ///< one column, or several separated by ", "
    std::string statement;  ///< text or name of the statement
    std::int64_t position = -1;  ///< byte position in the statement, -1 when unknown
};

/// An error as a value. Cost: a move is two words and a pointer; a copy clones the texts, if there are any.
/// Distinct objects are independent; one object is not for concurrent use.
class error {
public:
    constexpr error() noexcept = default;

    /// A condition without texts; by default nothing happened in the database.
    constexpr explicit error(errc code, strata::phase at = phase::admission, strata::effect did = effect::none) noexcept
        : code_(code), effect_(did), phase_(at) {}

    /// A condition with its sentence.
    error(errc code, std::string message, strata::phase at = phase::execute, strata::effect did = effect::none)
        : code_(code), effect_(did), phase_(at) {
        edit_texts().message = std::move(message);
    }

    error(const error& other) : error(other, other.texts_ != nullptr ? new error_texts(*other.texts_) : nullptr) {}
    /// What was moved from keeps its condition, without the texts.
    constexpr error(error&& other) noexcept : error(other, std::exchange(other.texts_, nullptr)) {}
    error& operator=(const error& other) {
        if (this != &other) *this = error(other);
        return *this;
    }
    error& operator=(error&& other) noexcept {
        if (this != &other) {
            drop_texts();
            std::construct_at(this, std::move(other));
        }
        return *this;
    }
    constexpr ~error() { drop_texts(); }

    [[nodiscard]] constexpr errc code() const noexcept { return code_; }
    [[nodiscard]] constexpr strata::effect effect() const noexcept { return effect_; }
    [[nodiscard]] constexpr strata::phase phase() const noexcept { return phase_; }
    [[nodiscard]] constexpr strata::health health() const noexcept { return health_; }
    /// True for a refusal made in this process (open breaker, full pool, shutdown): no sample for a breaker.
    [[nodiscard]] constexpr bool local() const noexcept { return local_; }
    /// How many attempts were made before the error was given up on, at most 65535; 0 when no attempt was made.
    [[nodiscard]] constexpr unsigned attempts() const noexcept { return attempts_; }
    /// When another try may succeed; zero when nobody knows.
    [[nodiscard]] constexpr duration retry_after() const noexcept { return retry_after_; }
    /// True when there is an error.
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return code_ != errc::ok; }

    /// The texts; an empty set when there are none.
    [[nodiscard]] const error_texts& texts() const noexcept {
        static const error_texts none;
        return texts_ != nullptr ? *texts_ : none;
    }
    [[nodiscard]] bool has_texts() const noexcept { return texts_ != nullptr; }
    [[nodiscard]] const std::string& message() const noexcept { return texts().message; }

    // Made by drivers, sources and the engine.
    constexpr error& set(errc c) noexcept { code_ = c; return *this; }
    constexpr error& set(strata::effect e) noexcept { effect_ = e; return *this; }
    constexpr error& set(strata::phase p) noexcept { phase_ = p; return *this; }
    constexpr error& set(strata::health h) noexcept { health_ = h; return *this; }
    /// Its connection cannot be used any more; what is known beyond that stays.
    constexpr error& set_lost() noexcept { return health_ < health::lost ? set(health::lost) : *this; }
    constexpr error& set_local(bool yes = true) noexcept { local_ = yes; return *this; }
    constexpr error& set_attempts(unsigned n) noexcept { attempts_ = static_cast<std::uint16_t>(n < 65535 ? n : 65535); return *this; }
    constexpr error& set_retry_after(duration d) noexcept { retry_after_ = d > duration{} ? d : duration{}; return *this; }
    /// The texts, to be filled in; made on first use.
    [[nodiscard]] error_texts& edit_texts() {
        if (texts_ == nullptr) texts_ = new error_texts;
        return *texts_;
    }

    /// One line for people: condition, message, where, effect. Holds no parameter values.
    [[nodiscard]] std::string to_string() const;

private:
    constexpr error(const error& other, error_texts* texts) noexcept
        : code_(other.code_), local_(other.local_), effect_(other.effect_), phase_(other.phase_), health_(other.health_),
          unused_(other.unused_), attempts_(other.attempts_), retry_after_(other.retry_after_), texts_(texts) {}
    constexpr void drop_texts() noexcept {
        if (texts_ != nullptr) [[unlikely]]
            delete_texts(texts_);
    }
    STRATA_COLD static void delete_texts(error_texts* t) noexcept { delete t; }

    errc code_ = errc::ok;
    bool local_ = false;  // next to the code: a refusal writes both at once
    strata::effect effect_ = effect::none;
    strata::phase phase_ = phase::admission;
    strata::health health_ = health::good;
    std::uint8_t unused_ = 0;  // so that no hole is left and these move as one word
    std::uint16_t attempts_ = 0;
    duration retry_after_{};
    error_texts* texts_ = nullptr;  // owned; a plain pointer, for a unique_ptr is a dozen functions more to compile
};

static_assert(sizeof(error) <= 48);

inline std::string error::to_string() const {
    std::string s{strata::to_string(code_)};
    const error_texts& t = texts();
    const auto add = [&s](std::string_view label, const std::string& text) {
        if (!text.empty()) s.append(label).append(text);
    };
    add(": ", t.message);
    add("; ", t.detail);
    add(" [code ", t.native_code);
    if (!t.native_code.empty()) s += ']';
    add("; table ", t.table);
    add("; column ", t.column);
    add("; constraint ", t.constraint);
    if (t.position >= 0) s.append("; at byte ").append(detail::digits_of(t.position));
    add("; in: ", t.statement);
    if (effect_ != effect::none) s.append("; effect: ").append(strata::to_string(effect_));
    if (attempts_ > 1) s.append("; attempts: ").append(detail::digits_of(static_cast<int>(attempts_)));
    add("; hint: ", t.hint);
    return s;
}

/// What the throwing forms throw. `what()` is `error().to_string()`.
class failure : public std::exception {
public:
    explicit failure(strata::error e) {
        std::string text = e.to_string();
        shared_ = new shared{std::move(e), std::move(text)};
    }
    failure(const failure& other) noexcept : std::exception(other), shared_(other.shared_) {
        shared_->users.fetch_add(1, std::memory_order_relaxed);
    }
    failure& operator=(const failure& other) noexcept {
        other.shared_->users.fetch_add(1, std::memory_order_relaxed);
        let_go();
        shared_ = other.shared_;
        return *this;
    }
    ~failure() override { let_go(); }

    [[nodiscard]] const strata::error& error() const noexcept { return shared_->error; }
    [[nodiscard]] errc code() const noexcept { return shared_->error.code(); }
    [[nodiscard]] const char* what() const noexcept override { return shared_->text.c_str(); }

private:
    struct shared {  // copying an exception must not throw
        strata::error error;
        std::string text;
        std::atomic<unsigned> users{1};
    };
    void let_go() noexcept {
        if (shared_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared_;
    }

    shared* shared_;
};

/// Throws `failure` out of line, so that callers stay small.
/// (g++ 12 with -fsanitize=thread takes an argument of a function that never returns for unchanged, and destroys it twice.)
#if defined(__GNUC__) && !defined(__clang__)
[[gnu::noipa]]
#endif
[[noreturn]] STRATA_COLD inline void throw_failure(error e) { throw failure(std::move(e)); }

}  // namespace strata::inline STRATA_ABI

#endif
