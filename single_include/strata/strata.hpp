// Generated from include/strata/strata.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_STRATA_HPP
#define STRATA_SINGLE_STRATA_HPP

#include <boost/hana/accessors.hpp>
#include <boost/version.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// Version of the library and the name of its inline namespace.
//
// Everything lies in `strata::STRATA_ABI`, which carries the version of strata and of Boost (its types
// are members of ours), so that two libraries of one program that were built with different ones do not clash.
#ifndef STRATA_CORE_CONFIG_HPP
#define STRATA_CORE_CONFIG_HPP

#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0
#define STRATA_VERSION_STRING "0.1.0"

#define STRATA_PASTE_(a, b) a##b
#define STRATA_PASTE(a, b) STRATA_PASTE_(a, b)
#define STRATA_ABI STRATA_PASTE(v0_1_boost_, BOOST_VERSION)

#if BOOST_VERSION < 108100
#error "strata needs Boost 1.81 or newer (Debian 12: libboost1.81-dev)"
#endif

// Cold paths are kept out of line, hot ones inline: the passage of an empty call is a hundred instructions.
#if defined(__GNUC__) || defined(__clang__)
#define STRATA_INLINE inline __attribute__((always_inline))
#define STRATA_NOINLINE __attribute__((noinline))
#define STRATA_COLD __attribute__((noinline, cold))
#else
#define STRATA_INLINE inline
#define STRATA_NOINLINE
#define STRATA_COLD
#endif

#endif

// Texts of errors, put together from parts. A chain of `+` and `std::to_string` says the same, but is compiled anew in
// every program: C++20's std::string is a template without an instantiation in the standard library.
#ifndef STRATA_CORE_JOINED_HPP
#define STRATA_CORE_JOINED_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// A number's digits, readable while the object lives: `joined({"argument ", digits_of(3)})`.
class digits_of {
public:
    explicit digits_of(std::int64_t n) noexcept {
        std::uint64_t rest = n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
        do text_[--from_] = static_cast<char>('0' + rest % 10);
        while ((rest /= 10) != 0);
        if (n < 0) text_[--from_] = '-';
    }
    explicit digits_of(std::size_t n) noexcept : digits_of(static_cast<std::int64_t>(n)) {}
    explicit digits_of(int n) noexcept : digits_of(static_cast<std::int64_t>(n)) {}
    operator std::string_view() const noexcept { return {text_ + from_, sizeof text_ - from_}; }

private:
    char text_[20];
    unsigned from_ = sizeof text_;
};

[[nodiscard]] STRATA_COLD inline std::string joined(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text.append(part.data(), part.size());
    return text;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Time as the library sees it: monotonic points and nanoseconds. Simulated worlds use the same types
// with a virtual origin, so nothing above a world can tell them apart.
#ifndef STRATA_CORE_TIME_HPP
#define STRATA_CORE_TIME_HPP

namespace strata::inline STRATA_ABI {

using clock = std::chrono::steady_clock;
using duration = std::chrono::nanoseconds;
using time_point = std::chrono::time_point<clock, duration>;

/// "No deadline": later than every other point.
inline constexpr time_point never = time_point::max();

/// `clock::now()` without the way through the C++ library, which on Linux asks `CLOCK_MONOTONIC` too: read twice by each call.
[[nodiscard]] STRATA_INLINE time_point steady_now() noexcept {
#if defined(__linux__)
    std::timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return time_point{duration{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec}};
#else
    return clock::now();
#endif
}

/// What is left until `until`, but never more than `most`; nothing, however long ago it was. Far from the end a coarse clock tells, which
/// costs little (4 ns against 60 measured); near it the exact one does.
[[nodiscard]] inline duration time_left(time_point until, duration most) noexcept {
    if (until == never) return most;
#if defined(__linux__)
    constexpr duration lag = std::chrono::milliseconds{20};  // it moves with the kernel's tick, 10 ms where that is slowest
    std::timespec t;
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    const time_point about{duration{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec}};
    if (until > about && until - about >= most + lag) return most;
#endif
    const time_point now = steady_now();
    if (until <= now) return duration::zero();  // the difference may be more than a duration can hold
    return until - now < most ? until - now : most;
}

/// `at + by` that stops at `never` instead of overflowing. `by` must not be negative.
[[nodiscard]] constexpr time_point add_saturated(time_point at, duration by) noexcept {
    return by >= never - at ? never : at + by;
}

/// A value that is written before it is read, and so not first set to zero: for members on hot paths.
template <class T>
class unset {
public:
    unset() noexcept {}
    unset(T value) noexcept : value_(value) {}
    operator T() const noexcept { return value_; }

private:
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
    union {
        T value_;
    };
};

/// A stream of random numbers for all threads of a world: splitmix64 (Steele, Lea, Flood 2014) over an
/// atomic counter would be shared state; worlds decide. A policy draws through `moment::random()`.
class random_source {
public:
    virtual std::uint64_t next() noexcept = 0;

protected:
    ~random_source() = default;
};

/// What the engine gives a policy with every hook: the time, read once a hop, and randomness, drawn only when asked.
struct moment {
    time_point now;
    random_source* source = nullptr;

    /// 64 uniform random bits; 0 in a world without randomness.
    [[nodiscard]] std::uint64_t random() const noexcept { return source != nullptr ? source->next() : 0; }

    /// Uniform in [0, 1): the upper 53 bits of `random()`.
    [[nodiscard]] double random_unit() const noexcept { return static_cast<double>(random() >> 11) * 0x1.0p-53; }
};

}  // namespace strata::inline STRATA_ABI

#endif

// What went wrong, as a value: a portable condition, what is known about the effect, and the texts.
//
// An error is small (at most 48 bytes) because it is made and dropped on hot paths: a refusal by an open
// breaker has no texts and allocates nothing. The texts of a database's error hang on one pointer.
#ifndef STRATA_CORE_ERROR_HPP
#define STRATA_CORE_ERROR_HPP

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

// A string that can be a template argument: the text of a literal, the name of an argument.
#ifndef STRATA_SQL_FIXED_STRING_HPP
#define STRATA_SQL_FIXED_STRING_HPP

namespace strata::inline STRATA_ABI {

/// A string of `Size - 1` characters and a NUL, structural.
template <std::size_t Size>
struct fixed_string {
    char characters[Size]{};

    constexpr fixed_string(const char (&text)[Size]) noexcept {
        for (std::size_t i = 0; i < Size; ++i) characters[i] = text[i];
    }
    /// From `Size - 1` characters that need not end with a NUL, as reflection libraries give member names.
    constexpr fixed_string(const char* text, std::size_t length) noexcept {
        for (std::size_t i = 0; i < length && i + 1 < Size; ++i) characters[i] = text[i];
    }

    [[nodiscard]] static constexpr std::size_t size() noexcept { return Size - 1; }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {characters, Size - 1}; }
};

namespace detail {

/// Equality for constant evaluation: libstdc++'s `string_view` compares step by step through four calls.
[[nodiscard]] constexpr bool same_text(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) return false;
    return true;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The classes of values that a database hands out.
//
// SQLite types values, not columns: two rows of one column may hold an integer and a text. So a class belongs to the value
// that is read, and each value is checked when it is read; a typed database reports the same class for every row.
#ifndef STRATA_VALUE_COLUMN_HPP
#define STRATA_VALUE_COLUMN_HPP

namespace strata::inline STRATA_ABI {

/// The class of one value. `other`: only the driver's own getters can read it (a native timestamp, an array ...).
enum class column_type : std::uint8_t { null, boolean, integer, real, text, blob, other };

[[nodiscard]] constexpr std::string_view to_string(column_type type) noexcept {
    constexpr std::string_view names[] = {"null", "boolean", "integer", "real", "text", "blob", "other"};
    return names[static_cast<std::size_t>(type)];
}

/// A set of classes: `column_classes{column_type::integer, column_type::boolean}`. NULL belongs to none, and every column may have it.
class column_classes {
public:
    /// All.
    constexpr column_classes() noexcept = default;
    template <class... Types>
    explicit constexpr column_classes(column_type first, Types... more) noexcept
        : bits_(static_cast<std::uint8_t>((bit(first) | ... | bit(more)))) {}

    [[nodiscard]] constexpr bool has(column_type type) const noexcept { return (bits_ & bit(type)) != 0; }
    [[nodiscard]] constexpr std::uint8_t bits() const noexcept { return bits_; }

private:
    static constexpr unsigned bit(column_type type) noexcept { return 1U << static_cast<unsigned>(type); }

    std::uint8_t bits_ = 0xff;
};

/// Kinds of values that hold values; see nested.hpp.
enum class nesting : std::uint8_t { array, record, range, multirange, pairs };

/// The flags of a range, as PostgreSQL's binary form has them (src/include/utils/rangetypes.h).
namespace range_flag {
inline constexpr std::uint8_t empty = 0x01;
inline constexpr std::uint8_t lower_included = 0x02;
inline constexpr std::uint8_t upper_included = 0x04;
inline constexpr std::uint8_t lower_infinite = 0x08;
inline constexpr std::uint8_t upper_infinite = 0x10;
}  // namespace range_flag

/// One dimension of an array.
struct array_dimension {
    std::int32_t size = 0;
    std::int32_t lower = 1;  ///< the number of the first element

    [[nodiscard]] constexpr bool operator==(const array_dimension&) const noexcept = default;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What codecs are written against: a value that is read, a place where parameters go, a row.
//
// Each driver models these three; `any_column_reader`, `any_parameter_writer` and `any_row` erase them.
#ifndef STRATA_VALUE_CONCEPTS_HPP
#define STRATA_VALUE_CONCEPTS_HPP

namespace strata::inline STRATA_ABI {

/// One value of a row. A getter is called only for the class that `type()` reports, and at most once a value. Texts and blobs are
/// views that live until the next row. A reader may offer more, which codecs find by `if constexpr (requires ...)`:
/// `std::optional<std::chrono::sys_time<std::chrono::microseconds>> timestamp()`, nullopt where the value is none.
template <class R>
concept column_reader = requires(const R& r) {
    // `type()` is missing, or not const, or does not return strata::column_type: the class of this value.
    { r.type() } -> std::same_as<column_type>;
    // `boolean()` is missing. A database without booleans never reports the class; returning false is enough.
    { r.boolean() } -> std::same_as<bool>;
    // `integer()` is missing, or returns another type than std::int64_t: convert before you return.
    { r.integer() } -> std::same_as<std::int64_t>;
    // `real()` is missing, or does not return double.
    { r.real() } -> std::same_as<double>;
    // `text()` is missing, or does not return a std::string_view (UTF-8, valid until the next row; not NUL-terminated).
    { r.text() } -> std::same_as<std::string_view>;
    // `blob()` is missing, or does not return a std::span<const std::byte> (valid until the next row).
    { r.blob() } -> std::same_as<std::span<const std::byte>>;
};

/// Where parameters go: each call writes the next one. A value that the database cannot hold (a NaN in SQLite, a text that is too
/// long) is kept by the writer and becomes the call's error.
template <class W>
concept parameter_writer = requires(W& w, std::string_view text, std::span<const std::byte> blob) {
    // `null()` is missing: writes NULL.
    w.null();
    // `boolean(bool)` is missing: writes the database's own truth value, or 0 and 1.
    w.boolean(true);
    // `integer(std::int64_t)` is missing.
    w.integer(std::int64_t{});
    // `real(double)` is missing.
    w.real(double{});
    // `text(std::string_view)` is missing: the characters live until the call ends, so they need not be copied.
    w.text(text);
    // `text_copy(std::string_view)` is missing: the characters may be gone when it returns.
    w.text_copy(text);
    // `blob(std::span<const std::byte>)` is missing: the bytes live until the call ends.
    w.blob(blob);
    // `blob_copy(std::span<const std::byte>)` is missing: the bytes may be gone when it returns.
    w.blob_copy(blob);
};

/// The current row, and the names of its columns. Valid until the next row. Where columns, not values, have types, a row may offer
/// `column_type static_type(int)`, the class of all values of a column (`null`: not known), and `type_of(int)`, what codecs of values that
/// hold values look at (`fits`, see nested.hpp): then a row type that does not fit is an error before the first row.
template <class Row>
concept row_reader = requires(const Row& r, int i) {
    // `size()` is missing: the number of columns, as int.
    { r.size() } -> std::same_as<int>;
    // `name(int)` is missing: a column's name as the statement gives it. Asked once a statement, not per row.
    { r.name(i) } -> std::same_as<std::string_view>;
    // `declared_type(int)` is missing: the type in the table's declaration, for error texts; empty where nobody knows.
    { r.declared_type(i) } -> std::same_as<std::string_view>;
    // `column(int)` is missing, or what it returns (by value, cheap to make) is no strata::column_reader.
    { r.column(i) } -> column_reader;
};

}  // namespace strata::inline STRATA_ABI

#endif

// `codec<T>`: how a C++ type is read from a column and written as a parameter. The one customisation point.
#ifndef STRATA_VALUE_PRIMARY_HPP
#define STRATA_VALUE_PRIMARY_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
inline constexpr bool no_codec_for = false;  // depends on T, so that a static_assert waits for one

/// What a codec answers to a class that it does not read.
[[nodiscard]] constexpr errc unreadable(column_type found) noexcept {
    return found == column_type::null ? errc::null_value : errc::type_mismatch;
}

}  // namespace detail

/// The customisation point: specialise it for a type of yours. All members are static, none throws for a bad value:
///
/// ```cpp
/// struct celsius { double degrees; };
///
/// template <>
/// struct strata::codec<celsius> {
///     static constexpr std::string_view name = "celsius";            // for error texts
///     // optional: static constexpr std::string_view hint = "...";   // what to do when a value cannot be read
///     // optional: static constexpr bool view = true;                // the object points into the row
///     // optional: static constexpr column_classes takes{column_type::real};   // a column of another class is refused before any row
///
///     template <strata::column_reader R>
///     static strata::errc read(const R& in, celsius& out) { return strata::codec<double>::read(in, out.degrees); }
///
///     template <strata::parameter_writer W>
///     static strata::errc write(W& out, const celsius& value) { return strata::codec<double>::write(out, value.degrees); }
/// };
/// ```
///
/// `read` answers `ok`, `null_value`, `type_mismatch` or `out_of_range`; `write` calls the writer exactly once and answers `ok`,
/// or does not call it and answers `out_of_range` or `invalid_argument`. A type that is only read, or only written, has one of both.
template <class T>
struct codec {
    /// No codec of its own: see `has_codec`.
    using unspecialised = void;
    static constexpr std::string_view name = "unknown";

    template <class R>
    static errc read(const R&, T&) {
        refuse<R>();
        return errc::unsupported;
    }
    template <class W>
    static errc write(W&, const T&) {
        refuse<W>();
        return errc::unsupported;
    }

private:
    template <class Other>
    static void refuse() {
        static_assert(detail::no_codec_for<Other>,
                      "strata: this type is neither a column nor a parameter. Specialise strata::codec<T> with `name`, `read` and "
                      "`write` (strata/value/primary.hpp shows how), include the header that has its codec (strata/value/json.hpp ...), "
                      "or, for a row, adapt the struct with BOOST_HANA_ADAPT_STRUCT or BOOST_DESCRIBE_STRUCT");
    }
};

/// True for a T that is a column, a parameter, or both.
template <class T>
concept has_codec = !requires { typename codec<T>::unspecialised; };

namespace detail {

template <class T, class R>
concept column_of = requires(const R& in, T& out) {
    { codec<T>::read(in, out) } -> std::same_as<errc>;
};

template <class T, class W>
concept parameter_of = requires(W& out, const T& value) {
    { codec<T>::write(out, value) } -> std::same_as<errc>;
};

template <class T>
[[nodiscard]] constexpr std::string_view hint_of() noexcept {
    if constexpr (requires { codec<T>::hint; }) return codec<T>::hint;
    else return {};
}

/// The classes of columns that T can be read from.
template <class T>
[[nodiscard]] constexpr column_classes classes_of() noexcept {
    if constexpr (requires { codec<T>::takes; }) return codec<T>::takes;
    else return {};
}

/// True when T can be read from a column whose type `c` tells.
template <class T, class Type>
[[nodiscard]] bool fits_type(const Type& c) {
    if constexpr (requires { codec<T>::fits(c); }) return codec<T>::fits(c);
    else return classes_of<T>().has(c.type());
}

/// True when a T that was read points into the row.
template <class T>
[[nodiscard]] constexpr bool is_view() noexcept {
    if constexpr (requires { codec<T>::view; }) return codec<T>::view;
    else return false;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// An argument whose type in the database is said, where the server cannot infer it: `"settings"_arg.as("jsonb") = text`.
//
// The name is checked by the compiler against a closed grammar, and never becomes part of a statement's text: the driver asks the
// server for its number.
#ifndef STRATA_SQL_TYPED_ARGUMENT_HPP
#define STRATA_SQL_TYPED_ARGUMENT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Names of types: `jsonb`, `app.mood`, `"My Type"`, `double precision`, `timestamp(3) with time zone`, `numeric(10,2)`, `text[]`,
/// `int[3][]`.
class type_name_grammar {
public:
    constexpr explicit type_name_grammar(std::string_view text) noexcept : rest_(text) {}

    [[nodiscard]] constexpr bool accepts() noexcept {
        const bool time = is_next("timestamp") || is_next("time");
        const bool varying = is_next("character") || is_next("bit");
        if (is_next("double")) {
            if (!take("double precision")) return false;
        } else if (!take_name()) {
            return false;
        } else {
            while (take("."))
                if (!take_name()) return false;
        }
        if (varying) static_cast<void>(take(" varying"));
        if (take("(") && !take_numbers()) return false;
        if (time && !take(" with time zone")) static_cast<void>(take(" without time zone"));
        while (take("[")) {
            while (!rest_.empty() && is_digit(rest_.front())) rest_.remove_prefix(1);
            if (!take("]")) return false;
        }
        return rest_.empty();
    }

private:
    [[nodiscard]] static constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
    [[nodiscard]] static constexpr bool begins_name(char c) noexcept {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
    }
    [[nodiscard]] static constexpr bool is_in_name(char c) noexcept { return begins_name(c) || is_digit(c) || c == '$'; }

    /// The whole word, not the beginning of a longer one.
    [[nodiscard]] constexpr bool is_next(std::string_view word) const noexcept {
        return rest_.substr(0, word.size()) == word && (rest_.size() == word.size() || !is_in_name(rest_[word.size()]));
    }
    [[nodiscard]] constexpr bool take(std::string_view text) noexcept {
        if (rest_.substr(0, text.size()) != text) return false;
        rest_.remove_prefix(text.size());
        return true;
    }
    [[nodiscard]] constexpr bool take_name() noexcept {
        if (take("\"")) {
            bool any = false;
            while (!rest_.empty()) {
                const char c = rest_.front();
                rest_.remove_prefix(1);
                if (c == '"' && !take("\"")) return any;
                if (c == '\0') return false;
                any = true;
            }
            return false;
        }
        if (rest_.empty() || !begins_name(rest_.front())) return false;
        while (!rest_.empty() && is_in_name(rest_.front())) rest_.remove_prefix(1);
        return true;
    }
    /// After `(`: numbers parted by commas, and `)`.
    [[nodiscard]] constexpr bool take_numbers() noexcept {
        do {
            while (take(" ")) {
            }
            static_cast<void>(take("-"));
            if (rest_.empty() || !is_digit(rest_.front())) return false;
            while (!rest_.empty() && is_digit(rest_.front())) rest_.remove_prefix(1);
        } while (take(","));
        return take(")");
    }

    std::string_view rest_;
};

[[nodiscard]] constexpr bool is_type_name(std::string_view text) noexcept {
    return type_name_grammar{text}.accepts();
}

/// Not constexpr: the compiler's message names it.
inline void the_type_name_of_as_is_none_write_it_like_jsonb_or_numeric_10_2_or_app_mood_or_text_array() {}

/// A type's name that the compiler has checked.
class checked_type_name {
public:
    consteval checked_type_name(const char* text) : text_(text) {  // NOLINT: a literal is meant to become one
        if (!is_type_name(text_)) the_type_name_of_as_is_none_write_it_like_jsonb_or_numeric_10_2_or_app_mood_or_text_array();
    }
    [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

private:
    std::string_view text_;
};

namespace plain {

/// A value, kept as a call keeps it, with the name of its type.
template <class Kept>
struct typed {
    std::string_view type;
    Kept value;
};

}  // namespace plain

using plain::typed;

template <class T>
inline constexpr bool is_typed = false;
template <class Kept>
inline constexpr bool is_typed<typed<Kept>> = true;

/// The name of an argument's type in the database; empty where it was not said. Arguments whose own type is forgotten know it
/// themselves.
template <class T>
[[nodiscard]] constexpr std::string_view type_of_argument(const T& value) noexcept {
    if constexpr (is_typed<T>)
        return value.type;
    else if constexpr (requires { value.type_in_database(); })
        return value.type_in_database();
    else
        return {};
}

/// False for arguments that cannot have a type of their own.
template <class T>
inline constexpr bool may_be_typed = is_typed<T> || requires(const T& value) { value.type_in_database(); };

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Arguments of statements: `"id"_arg = 7`, and how a call keeps what it is given.
//
// Rvalues are kept by value, lvalues by reference to const; C strings become views that know where they came from, so
// that a call which outlives its expression copies them, but not the views that a user made.
#ifndef STRATA_SQL_ARGUMENTS_HPP
#define STRATA_SQL_ARGUMENTS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

[[noreturn]] STRATA_COLD inline void throw_null_text() {
    error e{errc::null_value, "an argument is a null char pointer", phase::admission};
    e.edit_texts().hint = "for NULL pass std::nullopt or a std::optional, for an empty text \"\"";
    throw_failure(std::move(e));
}

namespace plain {  // a namespace of its own: bound statements name it, and must not draw in our functions where a user calls theirs

/// A view of a C string or character array. Codecs never see it: it is handed on as a `string_view`.
struct c_text {
    std::string_view view;

    /// An array up to its first NUL, or whole; a pointer up to the NUL. A null pointer is a mistake as often as it is meant
    /// for NULL or for an empty text, so it is none of them: it throws `failure` (`errc::null_value`).
    template <class T>
    [[nodiscard]] static constexpr c_text of(const T& text) noexcept(std::is_array_v<T>) {
        if constexpr (std::is_array_v<T>) {
            std::size_t length = 0;
            while (length < std::extent_v<T> && text[length] != '\0') ++length;
            return {{text, length}};
        } else {
            if (text == nullptr) [[unlikely]]
                throw_null_text();
            return {std::string_view(text)};
        }
    }
};

}  // namespace plain

using plain::c_text;

template <class T>
inline constexpr bool is_c_text = false;
template <>
inline constexpr bool is_c_text<char*> = true;
template <>
inline constexpr bool is_c_text<const char*> = true;
template <std::size_t Size>
inline constexpr bool is_c_text<char[Size]> = true;

/// How a call keeps an argument given as `T&&`.
template <class T>
using kept =
    std::conditional_t<is_c_text<std::remove_cvref_t<T>>, c_text,
                       std::conditional_t<std::is_lvalue_reference_v<T>, const std::remove_reference_t<T>&, std::remove_cvref_t<T>>>;

template <class T>
[[nodiscard]] constexpr kept<T> keep(T&& value) {
    if constexpr (std::is_same_v<kept<T>, c_text>)
        return c_text::of(value);
    else
        return static_cast<T&&>(value);
}

/// What a call that outlives its expression keeps of a kept argument.
template <class Kept>
struct owned_of {
    using type = std::remove_cvref_t<Kept>;
    static_assert(!std::is_array_v<type>, "strata: an array cannot be kept by a call: pass a std::array, std::vector or std::span");
};
template <>
struct owned_of<c_text> {
    using type = std::string;
};
template <class Kept>
struct owned_of<typed<Kept>> {
    using type = typed<typename owned_of<Kept>::type>;
};
template <class Kept>
using owned = typename owned_of<Kept>::type;

/// From a kept argument, moved if it is an rvalue.
template <class Kept, class Given>
[[nodiscard]] constexpr owned<Kept> own_argument(Given&& given) {
    if constexpr (std::is_same_v<Kept, c_text>)
        return std::string(given.view);
    else
        return static_cast<Given&&>(given);
}
template <class Kept, class Given>
    requires is_typed<Kept>
[[nodiscard]] constexpr owned<Kept> own_argument(Given&& given) {
    using value = decltype(Kept::value);
    return {given.type, own_argument<value>(static_cast<Given&&>(given).value)};
}

/// What codecs see of a kept argument.
[[nodiscard]] constexpr const std::string_view& shown(const c_text& text) noexcept {
    return text.view;
}
template <class T>
[[nodiscard]] constexpr const T& shown(const T& value) noexcept {
    return value;
}

[[nodiscard]] constexpr bool is_name(std::string_view name) noexcept {
    for (std::size_t i = 0; i < name.size(); ++i) {
        const auto c = static_cast<unsigned char>(name[i]);
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return !name.empty();
}

}  // namespace detail

/// As the value itself; a database that infers types takes no notice of the name.
template <class Kept>
struct codec<detail::typed<Kept>> {
    using value_codec = codec<std::remove_cvref_t<decltype(detail::shown(std::declval<const Kept&>()))>>;
    static constexpr std::string_view name = value_codec::name;

    template <parameter_writer W>
    static errc write(W& out, const detail::typed<Kept>& argument) {
        return value_codec::write(out, detail::shown(argument.value));
    }
};

/// A named argument: made by `"id"_arg = value`. `Kept` is `T` for an rvalue and `const T&` for an lvalue.
template <fixed_string Name, class Kept>
struct argument {
    Kept value;

    [[nodiscard]] static constexpr std::string_view name() noexcept { return Name.view(); }
};

/// The name of an argument with the name of its type, waiting for its value.
template <fixed_string Name>
struct typed_argument_name {
    std::string_view type;

    /// Keeps an rvalue by value and an lvalue by reference.
    template <class T>
    [[nodiscard]] constexpr argument<Name, detail::typed<detail::kept<T>>> operator=(T&& value) const {  // NOLINT: as below
        return {{type, detail::keep(static_cast<T&&>(value))}};
    }
};

/// The name of an argument, waiting for its value.
template <fixed_string Name>
struct argument_name {
    /// Says the parameter's type, where the server cannot infer it: `"settings"_arg.as("jsonb") = text`, `"ids"_arg.as("bigint[]") = ids`.
    /// PostgreSQL's names of types: qualified (`app.mood`) or quoted, with a modifier (`numeric(10,2)`, which only names the type) or
    /// `[]`. Another text does not compile; a type that the server does not have is its error when the statement is prepared. Cost: one
    /// more round trip when a connection prepares the statement, none after. SQLite takes no notice.
    [[nodiscard]] consteval typed_argument_name<Name> as(detail::checked_type_name type) const { return {type.text()}; }

    /// Keeps an rvalue by value and an lvalue by reference.
    template <class T>
    [[nodiscard]] constexpr argument<Name, detail::kept<T>> operator=(T&& value) const {  // NOLINT: makes an argument, assigns nothing
        return {detail::keep(static_cast<T&&>(value))};
    }
};

/// Arguments that belong together, such as the members of a struct: a statement takes those it names and ignores the others.
template <class... Arguments>
struct argument_set {
    std::tuple<Arguments...> arguments;
};
template <class... Arguments>
argument_set(std::tuple<Arguments...>) -> argument_set<Arguments...>;

namespace literals {

/// `"id"_arg = 7` gives the parameter `:id` its value.
template <fixed_string Name>
[[nodiscard]] consteval argument_name<Name> operator""_arg() noexcept {
    static_assert(detail::is_name(Name.view()),
                  "strata: an argument's name is that of the parameter without its colon: \"id\"_arg for :id");
    return {};
}

}  // namespace literals
}  // namespace strata::inline STRATA_ABI

#endif

// A fact about an operation: settled at compile time, or asked of the object at run time.
#ifndef STRATA_CORE_KNOWN_HPP
#define STRATA_CORE_KNOWN_HPP

namespace strata::inline STRATA_ABI {

enum class known : std::uint8_t { no, yes, at_run_time };

}  // namespace strata::inline STRATA_ABI

#endif

// The two dialects whose lexical rules strata knows.
#ifndef STRATA_SQL_DIALECT_HPP
#define STRATA_SQL_DIALECT_HPP

namespace strata::inline STRATA_ABI {

/// Whose lexical rules a text is read under. PostgreSQL is read with `standard_conforming_strings = on` (its default).
enum class dialect : std::uint8_t { postgres, sqlite };

}  // namespace strata::inline STRATA_ABI

#endif

// What is known about a statement: its kind, whether it may be repeated, which dialect it fits.
#ifndef STRATA_SQL_FACTS_HPP
#define STRATA_SQL_FACTS_HPP

namespace strata::inline STRATA_ABI {

/// What a text does. `read` only routes (to a reader, a replica); what is not understood is `other`, never `read`.
enum class statement_kind : std::uint8_t {
    read,                 ///< select, values, table, explain without analyze: changes nothing that its text shows
    write,                ///< insert, update, delete, merge, replace; a query that locks, writes or calls a function known to
    ddl,                  ///< create, alter, drop, ...
    transaction_control,  ///< begin, commit, rollback, savepoint, release, prepare transaction
    session,              ///< pragma, set, show, reset, attach, listen, ...: acts on this connection
    other                 ///< everything else
};

/// Static storage.
[[nodiscard]] constexpr std::string_view to_string(statement_kind k) noexcept {
    constexpr std::string_view names[] = {"read", "write", "ddl", "transaction_control", "session", "other"};
    return names[static_cast<unsigned>(k)];
}

/// The facts of a bound statement's type; structural, so that statements of equal facts share one type.
struct statement_facts {
    statement_kind kind = statement_kind::other;
    bool kind_known = true;        ///< false: ask the object (`kind()`), `kind` means nothing
    known idempotent = known::no;  ///< may be repeated after it may have been sent
    bool fits_postgres = true;     ///< text and arguments are right under PostgreSQL's rules
    bool fits_sqlite = true;       ///< the same under SQLite's
    std::uint16_t statements = 1;  ///< how many statements the text holds; 0 for none, or when only known at run time

    friend constexpr bool operator==(const statement_facts&, const statement_facts&) noexcept = default;
};

namespace detail {

/// The kind of a text whose statements are of kinds `a` and `b`, or which two dialects read as `a` and as `b`: the one that
/// demands most of where it runs, so that no COMMIT hides among other statements.
[[nodiscard]] constexpr statement_kind join_kinds(statement_kind a, statement_kind b) noexcept {
    using enum statement_kind;
    if (a == b) return a;
    for (const statement_kind demanding : {transaction_control, session, other, ddl})
        if (a == demanding || b == demanding) return demanding;
    return write;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// A 128-bit hash of a statement's text: the same number in every library and process, at compile time for literals.
//
// It is the key of each connection's prepared cache and becomes the statement's name on a server. It is not
// cryptographic: texts come from programmers, and 128 well-mixed bits make an accidental collision negligible. A cache
// that may meet texts which an attacker composed (quoted identifiers) compares the text as well on a hit.
#ifndef STRATA_SQL_HASH_HPP
#define STRATA_SQL_HASH_HPP

namespace strata::inline STRATA_ABI {

/// 128 bits; structural and comparable.
struct hash128 {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    friend constexpr bool operator==(const hash128&, const hash128&) noexcept = default;
};

namespace detail {

/// The key of a text made at run time. Others may have composed it, so its look-up compares the text as well; and it never meets a
/// literal's, which is trusted by its hash.
[[nodiscard]] constexpr hash128 key_of_composed(hash128 text) noexcept { return {~text.high, text.low}; }

/// Eight bytes as a little-endian number: one step of constant evaluation.
[[nodiscard]] constexpr std::uint64_t eight_bytes(const char* p) noexcept {
    using u = std::uint64_t;
    using c = unsigned char;
    return static_cast<u>(static_cast<c>(p[0])) | static_cast<u>(static_cast<c>(p[1])) << 8 | static_cast<u>(static_cast<c>(p[2])) << 16 |
           static_cast<u>(static_cast<c>(p[3])) << 24 | static_cast<u>(static_cast<c>(p[4])) << 32 |
           static_cast<u>(static_cast<c>(p[5])) << 40 | static_cast<u>(static_cast<c>(p[6])) << 48 |
           static_cast<u>(static_cast<c>(p[7])) << 56;
}

/// MurmurHash3's 64-bit finaliser (Appleby, public domain): every input bit reaches every output bit.
[[nodiscard]] constexpr std::uint64_t finish_mix(std::uint64_t h) noexcept {
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

}  // namespace detail

/// Hash of a text. Two independent 64-bit states over words of eight bytes: one FNV-1a like (exclusive or, then
/// multiply) with a folding shift, one Murmur-like (multiply, add, rotate); both are finalised with the length.
[[nodiscard]] constexpr hash128 hash_text(std::string_view text) noexcept {
    std::uint64_t a = 0xcbf29ce484222325ULL;  // FNV-1a's offset basis
    std::uint64_t b = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio
    const auto take = [&](std::uint64_t word) {
        a = (a ^ word) * 0x00000100000001b3ULL;  // FNV's prime
        a ^= a >> 29;
        b += word * 0x87c37b91114253d5ULL;  // MurmurHash3's first constant
        b = ((b << 31) | (b >> 33)) * 0x4cf5ad432745937fULL;
    };
    const char* p = text.data();
    std::size_t left = text.size();
    for (; left >= 8; left -= 8, p += 8) take(detail::eight_bytes(p));
    std::uint64_t tail = 0;
    for (std::size_t i = 0; i < left; ++i) tail |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
    take(tail);
    const std::uint64_t length = text.size();
    const std::uint64_t high = detail::finish_mix(a ^ length);
    const std::uint64_t low = detail::finish_mix(b + length * 0x9e3779b97f4a7c15ULL);
    return {high + low, low ^ ((high << 17) | (high >> 47))};
}

}  // namespace strata::inline STRATA_ABI

#endif

// All that drivers and caches need of one statement's text: made at compile time for literals, once for run-time texts.
#ifndef STRATA_SQL_DESCRIPTOR_HPP
#define STRATA_SQL_DESCRIPTOR_HPP

namespace strata::inline STRATA_ABI {

/// One statement text. Immutable; static for literals, shared by copies of a `strata::statement` otherwise.
///
/// Its address is no key (a reloaded library may get the same one): `hash` is. Equal hashes send equal texts to a database.
struct descriptor {
    std::string_view text;                    ///< as written; data() is NUL-terminated
    hash128 hash;                             ///< of what is sent to a database
    std::string_view sqlite_text;             ///< with ?1 ?2 ...; NUL-terminated; data() is null where the text does not fit SQLite
    std::string_view postgres_text;           ///< with $1 $2 ...; the same
    const std::string_view* names = nullptr;  ///< of the parameters, in their order
    std::uint16_t parameters = 0;
    statement_kind kind = statement_kind::other;
    bool idempotent = false;       ///< by the text; the user may have said so of a bound statement
    std::uint16_t statements = 0;  ///< how many the text holds
    bool on_session = false;       ///< of a literal: it may leave something in its session, or asks about it

    [[nodiscard]] constexpr std::string_view text_for(dialect d) const noexcept {
        return d == dialect::postgres ? postgres_text : sqlite_text;
    }
    [[nodiscard]] constexpr bool fits(dialect d) const noexcept { return text_for(d).data() != nullptr; }
    /// Name of parameter `index`, from 0; empty when there is none.
    [[nodiscard]] constexpr std::string_view parameter(std::size_t index) const noexcept {
        return index < parameters ? names[index] : std::string_view{};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// A statement with its arguments: what faces take and drivers run. Its type carries facts and argument types, never the text.
#ifndef STRATA_SQL_BOUND_HPP
#define STRATA_SQL_BOUND_HPP

namespace strata::inline STRATA_ABI {

/// A literal called with its arguments, kept in the order of its parameters: `T` for rvalues, `const T&` for lvalues.
/// A call that outlives its expression keeps `own()` instead.
template <statement_facts Facts, class... Args>
struct bound {
    static constexpr statement_facts facts = Facts;

    const descriptor* what;
    std::string_view name;  ///< from `.named()`, for metrics; may be empty
    std::tuple<Args...> arguments;

    [[nodiscard]] constexpr const descriptor& text() const noexcept { return *what; }
    [[nodiscard]] constexpr std::string_view label() const noexcept { return name; }
    [[nodiscard]] static constexpr statement_kind kind() noexcept { return Facts.kind; }
    [[nodiscard]] static constexpr bool idempotent() noexcept { return Facts.idempotent == known::yes; }

    /// Calls `f(index, value)` for each argument, in order, index from 0 as `std::size_t`, value as `const T&`.
    template <class F>
    constexpr void for_each_argument(F&& f) const {
        each(f, std::index_sequence_for<Args...>{});
    }

    /// The same with nothing kept by reference: lvalues copied, C strings as `std::string`. What a user passed as
    /// `string_view`, `span` or `reference_wrapper` stays what it is.
    [[nodiscard]] constexpr bound<Facts, detail::owned<Args>...> own() const& { return own_all(*this, std::index_sequence_for<Args...>{}); }
    [[nodiscard]] constexpr bound<Facts, detail::owned<Args>...> own() && {
        return own_all(std::move(*this), std::index_sequence_for<Args...>{});
    }

private:
    template <class F, std::size_t... I>
    constexpr void each(F& f, std::index_sequence<I...>) const {
        (static_cast<void>(f(I, detail::shown(std::get<I>(arguments)))), ...);
    }
    template <class Self, std::size_t... I>
    static constexpr auto own_all(Self&& self, std::index_sequence<I...>) {
        return bound<Facts, detail::owned<Args>...>{
            self.what, self.name,
            std::tuple<detail::owned<Args>...>(detail::own_argument<Args>(std::get<I>(std::forward<Self>(self).arguments))...)};
    }
};

namespace detail {
template <class T>
inline constexpr bool is_bound = false;
template <statement_facts Facts, class... Args>
inline constexpr bool is_bound<bound<Facts, Args...>> = true;

/// A statement with a wish of its caller's: see sql/marked.hpp.
template <class S>
inline constexpr bool is_marked = false;

struct argument_probe {
    template <class T>
    void operator()(std::size_t, const T&) const noexcept {}
};
}  // namespace detail

/// What can be run: `bound`, or `strata::statement`, whose facts are known at run time only.
template <class B>
concept bound_statement = requires(const B& b) {
    requires std::same_as<std::remove_cvref_t<decltype(B::facts)>, statement_facts>;
    { b.text() } -> std::same_as<const descriptor&>;  // of a run-time statement: throws where check() returns an error
    { b.label() } -> std::convertible_to<std::string_view>;
    { b.kind() } -> std::same_as<statement_kind>;
    { b.idempotent() } -> std::same_as<bool>;
    b.for_each_argument(detail::argument_probe{});
    b.own();
};

namespace detail {

/// What is wrong with a statement under a dialect, before anything is sent. Nothing for a bound literal, whose face has
/// asserted that it fits; a run-time statement is read here, and `text()` does not throw any more after it passed.
template <bound_statement B>
[[nodiscard]] error check_statement(const B& b, dialect d) {
    if constexpr (requires { b.check(d); })
        return b.check(d);
    else
        return error{};
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Codecs of texts and blobs: owned, or as views that cost no copy.
#ifndef STRATA_VALUE_TEXT_HPP
#define STRATA_VALUE_TEXT_HPP

namespace strata::inline STRATA_ABI {

/// A blob that owns its bytes.
using blob = std::vector<std::byte>;

/// Text. Reads texts only, bytes as they are: neither a number nor a blob is taken for one.
template <>
struct codec<std::string> {
    static constexpr std::string_view name = "string";
    static constexpr column_classes takes{column_type::text};

    template <column_reader R>
    static errc read(const R& in, std::string& out) {
        const column_type found = in.type();
        if (found != column_type::text) [[unlikely]] return detail::unreadable(found);
        const std::string_view text = in.text();
        out.clear();  // together less work than assign(), which also minds a text that lies in `out` itself
        out.append(text);
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const std::string& value) {
        out.text(value);
        return errc::ok;
    }
};

/// Text without a copy. Read, it is a view into the row and lives until the next row: rows that are kept need `std::string`.
/// Written, its characters must live until the call ends (an asynchronous call: until its completion).
template <>
struct codec<std::string_view> {
    static constexpr std::string_view name = "string";
    static constexpr column_classes takes{column_type::text};
    static constexpr bool view = true;

    template <column_reader R>
    static errc read(const R& in, std::string_view& out) {
        const column_type found = in.type();
        if (found != column_type::text) [[unlikely]] return detail::unreadable(found);
        out = in.text();
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, std::string_view value) {
        out.text(value);
        return errc::ok;
    }
};

/// Parameters only. A null pointer is `errc::invalid_argument`: NULL is `std::nullopt`.
template <>
struct codec<const char*> {
    static constexpr std::string_view name = "string";

    template <parameter_writer W>
    static errc write(W& out, const char* value) {
        if (value == nullptr) return errc::invalid_argument;
        out.text(value);
        return errc::ok;
    }
};

template <>
struct codec<char*> : codec<const char*> {};

/// Parameters only: the characters before the first NUL.
template <std::size_t Size>
struct codec<char[Size]> {
    static constexpr std::string_view name = "string";

    template <parameter_writer W>
    static errc write(W& out, const char (&value)[Size]) {
        const void* const end = std::memchr(value, 0, Size);
        out.text({value, end != nullptr ? static_cast<std::size_t>(static_cast<const char*>(end) - value) : Size});
        return errc::ok;
    }
};

/// Bytes. Reads blobs only.
template <>
struct codec<blob> {
    static constexpr std::string_view name = "blob";
    static constexpr column_classes takes{column_type::blob};

    template <column_reader R>
    static errc read(const R& in, blob& out) {
        const column_type found = in.type();
        if (found != column_type::blob) return detail::unreadable(found);
        const std::span<const std::byte> bytes = in.blob();
        out.assign(bytes.begin(), bytes.end());
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const blob& value) {
        out.blob(value);
        return errc::ok;
    }
};

/// Bytes without a copy; the same lifetimes as `std::string_view`.
template <>
struct codec<std::span<const std::byte>> {
    static constexpr std::string_view name = "blob";
    static constexpr column_classes takes{column_type::blob};
    static constexpr bool view = true;

    template <column_reader R>
    static errc read(const R& in, std::span<const std::byte>& out) {
        const column_type found = in.type();
        if (found != column_type::blob) return detail::unreadable(found);
        out = in.blob();
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, std::span<const std::byte> value) {
        out.blob(value);
        return errc::ok;
    }
};

/// Parameters only.
template <>
struct codec<std::span<std::byte>> {
    static constexpr std::string_view name = "blob";

    template <parameter_writer W>
    static errc write(W& out, std::span<const std::byte> value) {
        out.blob(value);
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Codecs of the types that need no header of their own: numbers, bool, text and blobs (text.hpp), optional, enums.
//
// Exact by default: a value that does not fit its target is an error, never a wrap, a truncation or a guess, and only
// `std::optional` takes NULL. `codec` itself is in primary.hpp.
#ifndef STRATA_VALUE_CODEC_HPP
#define STRATA_VALUE_CODEC_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Integers that are numbers: not bool, and not the types that are nothing but characters.
template <class T>
concept number = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, wchar_t> && !std::same_as<T, char8_t> &&
                 !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;

template <number T>
[[nodiscard]] constexpr std::string_view integer_name() noexcept {
    constexpr std::string_view names[2][4] = {{"uint8", "uint16", "uint32", "uint64"}, {"int8", "int16", "int32", "int64"}};
    constexpr int log = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
    return names[std::is_signed_v<T> ? 1 : 0][log];
}

/// `value` as a T, exactly.
template <number T>
[[nodiscard]] constexpr errc narrow(std::int64_t value, T& out) noexcept {
    const T narrowed = static_cast<T>(value);
    if constexpr (!std::is_signed_v<T>) {
        if (value < 0) [[unlikely]] return errc::out_of_range;
    }
    if constexpr (sizeof(T) < sizeof(std::int64_t)) {
        if (static_cast<std::int64_t>(narrowed) != value) [[unlikely]] return errc::out_of_range;
    }
    out = narrowed;
    return errc::ok;
}

/// `std::reference_wrapper`, `boost::reference_wrapper`, without their headers.
template <class T>
concept reference_like = std::is_class_v<T> && requires(const T& r) {
    typename T::type;
    { r.get() } -> std::same_as<typename T::type&>;
};

}  // namespace detail

/// All integers, `char` among them (as a number). Reads integers only: neither a real nor a text is taken for one.
template <detail::number T>
struct codec<T> {
    static_assert(sizeof(T) <= sizeof(std::int64_t), "strata: integers of more than 64 bits have no codec; strata::decimal has 38 digits");
    static constexpr std::string_view name = detail::integer_name<T>();
    static constexpr column_classes takes{column_type::integer};

    template <column_reader R>
    static errc read(const R& in, T& out) {
        const column_type found = in.type();
        if (found != column_type::integer) [[unlikely]] return detail::unreadable(found);
        return detail::narrow(in.integer(), out);
    }
    template <parameter_writer W>
    static errc write(W& out, T value) {
        if constexpr (!std::is_signed_v<T> && sizeof(T) == sizeof(std::int64_t)) {
            if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max())) return errc::out_of_range;
        }
        out.integer(static_cast<std::int64_t>(value));
        return errc::ok;
    }
};

/// Reads booleans, and the integers 0 and 1; any other integer is out of range.
template <>
struct codec<bool> {
    static constexpr std::string_view name = "bool";
    static constexpr column_classes takes{column_type::boolean, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, bool& out) {
        const column_type found = in.type();
        if (found == column_type::boolean) {
            out = in.boolean();
            return errc::ok;
        }
        if (found != column_type::integer) return detail::unreadable(found);
        const std::int64_t value = in.integer();
        if (value != 0 && value != 1) return errc::out_of_range;
        out = value == 1;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, bool value) {
        out.boolean(value);
        return errc::ok;
    }
};

/// Reads reals, and integers that a double holds exactly (a database stores 2.0 as 2 where it may).
template <>
struct codec<double> {
    static constexpr std::string_view name = "double";
    static constexpr column_classes takes{column_type::real, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, double& out) {
        const column_type found = in.type();
        if (found == column_type::real) [[likely]] {
            out = in.real();
            return errc::ok;
        }
        if (found != column_type::integer) return detail::unreadable(found);
        const std::int64_t value = in.integer();
        const double rounded = static_cast<double>(value);
        // 2^63 itself would overflow on the way back
        if (rounded >= 0x1p63 || static_cast<std::int64_t>(rounded) != value) return errc::out_of_range;
        out = rounded;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, double value) {
        out.real(value);
        return errc::ok;
    }
};

/// As `double`: an integer must be held exactly. A real is rounded to the nearest float, as every assignment does, and is out of
/// range when it is finite but greater than every float. What must keep its digits is a `double`.
template <>
struct codec<float> {
    static constexpr std::string_view name = "float";
    static constexpr column_classes takes{column_type::real, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, float& out) {
        double wide = 0;
        if (const errc e = codec<double>::read(in, wide); e != errc::ok) return e;
        constexpr double most = std::numeric_limits<float>::max();
        constexpr double infinite = std::numeric_limits<double>::infinity();
        if ((wide > most && wide != infinite) || (wide < -most && wide != -infinite)) return errc::out_of_range;
        if (in.type() == column_type::integer && static_cast<double>(static_cast<float>(wide)) != wide) return errc::out_of_range;
        out = static_cast<float>(wide);
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, float value) {
        out.real(static_cast<double>(value));
        return errc::ok;
    }
};

/// NULL or a value: `std::nullopt` is NULL, in both directions.
template <class T>
struct codec<std::optional<T>> {
    static constexpr std::string_view name = codec<T>::name;
    static constexpr std::string_view hint = detail::hint_of<T>();
    static constexpr bool view = detail::is_view<T>();
    static constexpr column_classes takes = detail::classes_of<T>();

    template <column_reader R>
        requires detail::column_of<T, R>
    static errc read(const R& in, std::optional<T>& out) {
        if (in.type() == column_type::null) {
            out.reset();
            return errc::ok;
        }
        const errc e = codec<T>::read(in, out.emplace());
        if (e != errc::ok) out.reset();
        return e;
    }
    template <parameter_writer W>
        requires detail::parameter_of<T, W>
    static errc write(W& out, const std::optional<T>& value) {
        if (value) return codec<T>::write(out, *value);
        out.null();
        return errc::ok;
    }
    template <class Type>
        requires requires(const Type& c) { codec<T>::fits(c); }
    static bool fits(const Type& c) {
        return codec<T>::fits(c);
    }
};

/// NULL as a parameter.
template <>
struct codec<std::nullopt_t> {
    static constexpr std::string_view name = "null";

    template <parameter_writer W>
    static errc write(W& out, std::nullopt_t) {
        out.null();
        return errc::ok;
    }
};

/// By default an enumeration is its underlying integer; that it has an enumerator for the value is not checked. Specialise
/// `codec` for one that is stored as text.
template <class T>
    requires std::is_enum_v<T>
struct codec<T> {
    using underlying = std::underlying_type_t<T>;
    static constexpr std::string_view name = codec<underlying>::name;
    static constexpr column_classes takes = detail::classes_of<underlying>();

    template <column_reader R>
    static errc read(const R& in, T& out) {
        underlying value{};
        const errc e = codec<underlying>::read(in, value);
        if (e == errc::ok) out = static_cast<T>(value);
        return e;
    }
    template <parameter_writer W>
    static errc write(W& out, T value) {
        return codec<underlying>::write(out, static_cast<underlying>(value));
    }
};

/// Parameters only: what a `std::ref` refers to, which must live until the call ends.
template <detail::reference_like T>
struct codec<T> {
    using referred = std::remove_cv_t<typename T::type>;
    static constexpr std::string_view name = codec<referred>::name;

    template <parameter_writer W>
    static errc write(W& out, const T& value) {
        return codec<referred>::write(out, value.get());
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// A row whose driver is not known: one virtual call a column.
#ifndef STRATA_VALUE_ANY_ROW_HPP
#define STRATA_VALUE_ANY_ROW_HPP

namespace strata::inline STRATA_ABI {

/// One value of any row; models `column_reader`. A small value itself, so that reading it costs no further virtual calls;
/// its text or blob is a view with the lifetime of the row that it comes from.
class any_column_reader {
public:
    /// NULL.
    any_column_reader() noexcept = default;
    explicit any_column_reader(bool value) noexcept : type_(column_type::boolean), integer_(value ? 1 : 0) {}
    explicit any_column_reader(std::int64_t value) noexcept : type_(column_type::integer), integer_(value) {}
    explicit any_column_reader(double value) noexcept : type_(column_type::real), real_(value) {}
    explicit any_column_reader(std::string_view value) noexcept
        : type_(column_type::text), size_(value.size()), bytes_(value.data()) {}
    explicit any_column_reader(std::span<const std::byte> value) noexcept
        : type_(column_type::blob), size_(value.size()), bytes_(value.data()) {}
    /// From another model.
    template <column_reader R>
    [[nodiscard]] static any_column_reader of(const R& in) {
        switch (in.type()) {
        case column_type::boolean: return any_column_reader{in.boolean()};
        case column_type::integer: return any_column_reader{in.integer()};
        case column_type::real: return any_column_reader{in.real()};
        case column_type::text: return any_column_reader{in.text()};
        case column_type::blob: return any_column_reader{in.blob()};
        case column_type::null: return any_column_reader{};
        case column_type::other: break;
        }
        return unreadable();
    }
    /// A value of `column_type::other`, which no getter reads.
    [[nodiscard]] static any_column_reader unreadable() noexcept {
        any_column_reader value;
        value.type_ = column_type::other;
        return value;
    }

    [[nodiscard]] column_type type() const noexcept { return type_; }
    [[nodiscard]] bool boolean() const noexcept { return integer_ != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }
    [[nodiscard]] double real() const noexcept { return real_; }
    [[nodiscard]] std::string_view text() const noexcept { return {static_cast<const char*>(bytes_), size_}; }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return {static_cast<const std::byte*>(bytes_), size_}; }

private:
    column_type type_ = column_type::null;
    std::size_t size_ = 0;
    union {
        std::int64_t integer_ = 0;
        double real_;
        const void* bytes_;
    };
};

/// The current row; models `row_reader`.
class any_row {
public:
    [[nodiscard]] virtual int size() const = 0;
    [[nodiscard]] virtual std::string_view name(int i) const = 0;
    [[nodiscard]] virtual std::string_view declared_type(int i) const = 0;
    [[nodiscard]] virtual any_column_reader column(int i) const = 0;
    /// The class of all values of a column; `null` where values, not columns, have types.
    [[nodiscard]] virtual column_type static_type(int) const { return column_type::null; }

protected:
    any_row() = default;
    any_row(const any_row&) = default;
    any_row& operator=(const any_row&) = default;
    ~any_row() = default;
};

/// A driver's row as `any_row`. Refers to it.
template <row_reader Row>
class erased_row final : public any_row {
public:
    explicit erased_row(const Row& row) noexcept : row_(row) {}

    [[nodiscard]] int size() const override { return row_.size(); }
    [[nodiscard]] std::string_view name(int i) const override { return row_.name(i); }
    [[nodiscard]] std::string_view declared_type(int i) const override { return row_.declared_type(i); }
    [[nodiscard]] any_column_reader column(int i) const override { return any_column_reader::of(row_.column(i)); }
    [[nodiscard]] column_type static_type(int i) const override {
        if constexpr (requires { row_.static_type(i); })
            return row_.static_type(i);
        else
            return column_type::null;
    }

private:
    const Row& row_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Where parameters go when the driver's type is not known: run-time statements and erased sessions write here.
#ifndef STRATA_VALUE_ANY_WRITER_HPP
#define STRATA_VALUE_ANY_WRITER_HPP

namespace strata::inline STRATA_ABI {

/// A parameter writer behind virtual calls: one call a parameter. The members mean what they mean in the concept
/// `parameter_writer`: `text` and `blob` must live until the call ends, `text_copy` and `blob_copy` are copied.
class any_parameter_writer {
public:
    virtual void null() = 0;
    virtual void boolean(bool value) = 0;
    virtual void integer(std::int64_t value) = 0;
    virtual void real(double value) = 0;
    virtual void text(std::string_view value) = 0;
    virtual void text_copy(std::string_view value) = 0;
    virtual void blob(std::span<const std::byte> value) = 0;
    virtual void blob_copy(std::span<const std::byte> value) = 0;
    /// A point of time in microseconds since 1970 UTC, as the database's own type; false, and nothing is written, where it has none.
    [[nodiscard]] virtual bool timestamp_since_1970(std::int64_t) { return false; }
    /// Values that hold values, where the database has them; see nested.hpp.
    [[nodiscard]] virtual bool open(nesting, std::span<const array_dimension>, std::uint8_t) { return false; }
    [[nodiscard]] virtual bool close() { return true; }
    [[nodiscard]] virtual std::string_view part_name(std::size_t) const { return {}; }

protected:
    any_parameter_writer() = default;
    any_parameter_writer(const any_parameter_writer&) = default;
    any_parameter_writer& operator=(const any_parameter_writer&) = default;
    ~any_parameter_writer() = default;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The members of a struct that its author has adapted: their names, types and references, in one form for both libraries.
//
// Hana: BOOST_HANA_ADAPT_STRUCT (<boost/hana/adapt_struct.hpp>) or BOOST_HANA_DEFINE_STRUCT. Boost.Describe: BOOST_DESCRIBE_STRUCT or
// BOOST_DESCRIBE_CLASS (<boost/describe/class.hpp>); public data members, those of described bases first. Describe's descriptors are
// found through the functions that its macros define, so nothing of it is included here; of Hana, only its accessors.
#ifndef STRATA_VALUE_MEMBERS_HPP
#define STRATA_VALUE_MEMBERS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <class... Members>
struct member_list {
    static constexpr std::size_t size = sizeof...(Members);
};

template <class... Lists>
struct concatenated {
    using type = member_list<>;
};
template <class... A>
struct concatenated<member_list<A...>> {
    using type = member_list<A...>;
};
template <class... A, class... B, class... Rest>
struct concatenated<member_list<A...>, member_list<B...>, Rest...> : concatenated<member_list<A..., B...>, Rest...> {};

// Each member is a type with `name()`, `get(object)` and, for a struct, the `type` of the member.

/// Of `hana::pair<hana::string<characters...>, accessor>`.
template <class Pair>
struct hana_member;
template <template <class, class> class Pair, template <char...> class String, char... Characters, class Accessor>
struct hana_member<Pair<String<Characters...>, Accessor>> {
    static constexpr char characters[] = {Characters..., '\0'};
    static constexpr std::string_view name() noexcept { return {characters, sizeof...(Characters)}; }
    template <class T>
    static constexpr decltype(auto) get(T& object) noexcept {
        return Accessor{}(object);
    }
};

template <class Tuple>
struct hana_members;
template <template <class...> class Tuple, class... Pairs>
struct hana_members<Tuple<Pairs...>> {
    using type = member_list<hana_member<Pairs>...>;
};

template <class T>
concept hana_adapted = requires { boost::hana::accessors_impl<T>::apply(); };

/// Of Describe's `member_descriptor`.
template <class Descriptor>
struct describe_member {
    static constexpr std::string_view name() noexcept { return Descriptor::name; }
    template <class T>
    static constexpr auto& get(T& object) noexcept {
        return object.*Descriptor::pointer;
    }
};

/// Data members only: functions and static members have other pointers.
template <class List>
struct describe_members;
template <template <class...> class List, class... Descriptors>
struct describe_members<List<Descriptors...>> {
    template <class D>
    using if_data = std::conditional_t<std::is_member_object_pointer_v<std::remove_cv_t<decltype(D::pointer)>>,
                                       member_list<describe_member<D>>, member_list<>>;
    using type = typename concatenated<member_list<>, if_data<Descriptors>...>::type;
};

template <class T>
concept describe_adapted = requires { boost_public_member_descriptor_fn(static_cast<T**>(nullptr)); };

template <class T>
struct members_of;

template <class T>
    requires hana_adapted<T>
struct members_of<T> {
    using type = typename hana_members<std::remove_cvref_t<decltype(boost::hana::accessors_impl<T>::apply())>>::type;
};

template <class List>
struct describe_bases;
template <template <class...> class List, class... Bases>
struct describe_bases<List<Bases...>> {
    using type = typename concatenated<member_list<>, typename members_of<typename Bases::type>::type...>::type;
};

template <class T>
    requires(!hana_adapted<T> && describe_adapted<T>)
struct members_of<T> {
    using bases = decltype(boost_base_descriptor_fn(static_cast<T**>(nullptr)));
    using own = decltype(boost_public_member_descriptor_fn(static_cast<T**>(nullptr)));
    using type = typename concatenated<typename describe_bases<bases>::type, typename describe_members<own>::type>::type;
};

}  // namespace detail

/// A struct whose members strata knows by name.
template <class T>
concept adapted_struct = std::is_class_v<T> && (detail::hana_adapted<T> || detail::describe_adapted<T>);

namespace detail {

template <adapted_struct T>
using members = typename members_of<T>::type;

template <class Member, class T>
using member_type = std::remove_cvref_t<decltype(Member::get(std::declval<T&>()))>;

template <class List>
struct member_names;
template <class... Members>
struct member_names<member_list<Members...>> {
    static constexpr std::string_view all[sizeof...(Members) + 1] = {Members::name()..., {}};
};

}  // namespace detail

/// The number of members of an adapted struct.
template <adapted_struct T>
inline constexpr std::size_t member_count = detail::members<T>::size;

/// The name of member `i` as it is declared.
template <adapted_struct T>
[[nodiscard]] constexpr std::string_view member_name(std::size_t i) noexcept {
    return detail::member_names<detail::members<T>>::all[i];
}

/// The number of the member with this name; -1 when there is none.
template <adapted_struct T>
[[nodiscard]] constexpr int member_index(std::string_view name) noexcept {
    for (std::size_t i = 0; i < member_count<T>; ++i)
        if (member_name<T>(i) == name) return static_cast<int>(i);
    return -1;
}

/// Calls `f(name, member)` for each member of `object`, in order of declaration; `member` is a reference, const if `object` is.
template <class T, class F>
    requires adapted_struct<std::remove_const_t<T>>
constexpr void for_each_member(T& object, F&& f) {
    [&]<class... M>(detail::member_list<M...>) {
        (static_cast<void>(f(M::name(), M::get(object))), ...);
    }(detail::members<std::remove_const_t<T>>{});
}

namespace detail {

template <std::size_t I, class M>
struct indexed_member {};
template <class Indices, class... Members>
struct indexed_members;
template <std::size_t... I, class... Members>
struct indexed_members<std::index_sequence<I...>, Members...> : indexed_member<I, Members>... {};
template <std::size_t I, class M>
M find_member(const indexed_member<I, M>&);
template <std::size_t I, class... Members>
auto nth_member(member_list<Members...>)
    -> decltype(find_member<I>(std::declval<const indexed_members<std::index_sequence_for<Members...>, Members...>&>()));

/// Member number I of T.
template <adapted_struct T, std::size_t I>
using member = decltype(nth_member<I>(members<T>{}));

}  // namespace detail

/// A reference to member number `I`, const if `object` is.
template <std::size_t I, class T>
    requires adapted_struct<std::remove_const_t<T>>
[[nodiscard]] constexpr auto& get_member(T& object) noexcept {
    return detail::member<std::remove_const_t<T>, I>::get(object);
}

}  // namespace strata::inline STRATA_ABI

#endif

// What a struct's members do not say about its table: the name, the key, the version column, columns with other names.
#ifndef STRATA_VALUE_MAPPING_HPP
#define STRATA_VALUE_MAPPING_HPP

namespace strata::inline STRATA_ABI {

/// A member whose column has another name.
struct renamed {
    std::string_view member;
    std::string_view column;
};

/// Specialise it for an adapted struct; each part may be left out. Rows are read, and parameters taken from members, by these names.
///
/// ```cpp
/// struct account { std::int64_t id; std::string owner; std::int64_t version; };
/// BOOST_HANA_ADAPT_STRUCT(account, id, owner, version);
///
/// template <>
/// struct strata::mapping<account> {
///     static constexpr std::string_view table = "accounts";
///     static constexpr std::string_view schema = "bank";         // where it is not found by its name alone
///     static constexpr std::string_view key = "id";              // a column; more are {"branch", "id"} in a std::array
///     static constexpr std::string_view version = "version";     // a column, counted up by each update (optimistic_locking.hpp)
///     static constexpr strata::renamed columns[] = {{.member = "owner", .column = "owner_name"}};
/// };
/// ```
///
/// A name in it that no member has does not compile.
template <class T>
struct mapping {};

namespace detail {

template <class T>
[[nodiscard]] constexpr std::string_view column_of_member(std::string_view member) noexcept {
    if constexpr (requires { mapping<T>::columns; }) {
        for (const renamed& r : mapping<T>::columns)
            if (r.member == member) return r.column;
    }
    return member;
}

/// The number of the member whose column has this name; -1 when there is none.
template <adapted_struct T>
[[nodiscard]] constexpr int member_of_column(std::string_view column) noexcept {
    for (std::size_t i = 0; i < member_count<T>; ++i)
        if (column_of_member<T>(member_name<T>(i)) == column) return static_cast<int>(i);
    return -1;
}

template <adapted_struct T>
consteval bool renamed_members_exist() {
    if constexpr (requires { mapping<T>::columns; }) {
        for (const renamed& r : mapping<T>::columns)
            if (member_index<T>(r.member) < 0) return false;
    }
    return true;
}

template <class T>
[[nodiscard]] consteval auto mapped_key() {
    if constexpr (!requires { mapping<T>::key; }) return std::array<std::string_view, 0>{};
    else if constexpr (requires { std::string_view{mapping<T>::key}; }) return std::array<std::string_view, 1>{mapping<T>::key};
    else return mapping<T>::key;
}

template <adapted_struct T>
consteval bool key_exists() {
    for (const std::string_view k : mapped_key<T>())
        if (member_of_column<T>(k) < 0) return false;
    return true;
}

template <adapted_struct T>
consteval bool version_exists() {
    if constexpr (requires { mapping<T>::version; }) return member_of_column<T>(mapping<T>::version) >= 0;
    else return true;
}

template <class T>
consteval bool table_is_named() {
    if constexpr (requires { mapping<T>::table; }) return !std::string_view{mapping<T>::table}.empty();
    else return true;
}

/// Instantiated by everything that uses the mapping of T.
template <adapted_struct T>
struct checked_mapping {
    static_assert(renamed_members_exist<T>(), "strata: mapping<T>::columns renames a member that T does not have, or has not adapted");
    static_assert(key_exists<T>(), "strata: mapping<T>::key names a column that no member of T has");
    static_assert(table_is_named<T>(), "strata: mapping<T>::table is empty; leave it out where T has no table");
    static_assert(version_exists<T>(), "strata: mapping<T>::version names a column that no member of T has");

    static constexpr auto columns = []() {
        std::array<std::string_view, member_count<T>> names{};
        for (std::size_t i = 0; i < names.size(); ++i) names[i] = column_of_member<T>(member_name<T>(i));
        return names;
    }();
};

}  // namespace detail

/// The columns of T's members, renamed where its mapping says so, in order of declaration: `std::array<std::string_view, N>`.
template <adapted_struct T>
inline constexpr auto& column_names = detail::checked_mapping<T>::columns;

/// The columns of T's key: `std::array<std::string_view, N>`, empty where the mapping names none.
template <adapted_struct T>
inline constexpr auto key_columns = detail::mapped_key<T>();

}  // namespace strata::inline STRATA_ABI

#endif

// An array on the heap whose size is set once. `std::unique_ptr<T[]>` does the same and is thirty functions more
// to compile in every program: measured 20 ms a type with g++ -O0, a tenth of what strata's smallest program may add.
#ifndef STRATA_CORE_HEAP_ARRAY_HPP
#define STRATA_CORE_HEAP_ARRAY_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Owns value-initialised elements, or nothing. Indices are not checked.
template <class T>
class heap_array {
public:
    heap_array() noexcept = default;
    explicit heap_array(std::size_t size) : first_(new T[size]{}) {}
    heap_array(const heap_array&) = delete;
    heap_array& operator=(heap_array other) noexcept {
        std::swap(first_, other.first_);
        return *this;
    }
    heap_array(heap_array&& other) noexcept : first_(other.release()) {}
    ~heap_array() { delete[] first_; }

    [[nodiscard]] T& operator[](std::size_t i) const noexcept { return first_[i]; }
    [[nodiscard]] T* data() const noexcept { return first_; }
    [[nodiscard]] explicit operator bool() const noexcept { return first_ != nullptr; }
    /// Gives the elements up: nobody will destroy them.
    T* release() noexcept { return std::exchange(first_, nullptr); }

private:
    T* first_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Where the columns of a row type are in a statement's result: looked up once a statement, not per row.
#ifndef STRATA_VALUE_ROW_PLAN_HPP
#define STRATA_VALUE_ROW_PLAN_HPP

namespace strata::inline STRATA_ABI {

/// Made by `row_decoder<T>::plan`, kept by a driver beside the prepared statement under `tag`, and made anew when the rows are
/// wanted as another type or the statement was prepared anew. Move-only; reading it from one thread at a time is up to the connection.
class row_plan {
public:
    /// So many columns need no memory of their own.
    static constexpr std::size_t inline_columns = 16;

    /// Which row type it was made for; nullptr: for none that needs columns.
    const void* tag = nullptr;
    /// What a decoder of dynamic rows keeps: names and types of the columns, shared with its rows.
    std::shared_ptr<const void> layout;

    /// Makes room for `count` columns, all of them number 0.
    void reset(std::size_t count) {
        if (count > inline_columns) more_ = detail::heap_array<std::uint16_t>(count);
        for (std::uint16_t& i : few_) i = 0;
        count_ = count;
        layout = nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    void set(std::size_t i, int column) noexcept {
        (count_ > inline_columns ? more_.data() : few_)[i] = static_cast<std::uint16_t>(column);
    }

    /// The column of each member. `count` is what was given to `reset`: known at compile time, so that no branch is left.
    [[nodiscard]] const std::uint16_t* columns(std::size_t count) const noexcept { return count > inline_columns ? more_.data() : few_; }

private:
    std::uint16_t few_[inline_columns]{};
    std::size_t count_ = 0;
    detail::heap_array<std::uint16_t> more_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Errors of rows that do not fit their type, and the search for columns by name: cold, and free of templates.
#ifndef STRATA_VALUE_ROW_ERROR_HPP
#define STRATA_VALUE_ROW_ERROR_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// A column that a row type needs.
struct wanted_column {
    std::string_view name;
    std::string_view type;  ///< the codec's name
    column_classes takes = {};
    std::string_view hint = {};
};

/// Why a value could not be read. Tells classes, never the value.
[[nodiscard]] STRATA_COLD inline error column_error(errc code, std::string_view column, std::string_view wanted, column_type found,
                                                    std::string_view declared, std::string_view hint) {
    std::string message = "column \"";
    message.append(column).append("\"");
    if (code == errc::null_value) {
        message.append(" is NULL, wanted ").append(wanted);
        if (hint.empty()) hint = "read a column that may be NULL as std::optional";
    } else if (code == errc::type_mismatch) {
        const bool own = found == column_type::other && !declared.empty();  // the class says nothing
        message.append(": wanted ").append(wanted).append(", found ").append(own ? declared : to_string(found));
        if (own) declared = {};
        if (found == column_type::text && wanted != "blob" && !hint.empty()) message.append(" in another form");
    } else if (code == errc::out_of_range) {
        message.append(": the ").append(to_string(found)).append(" found does not fit ").append(wanted);
    } else {
        message.append(": ").append(to_string(found)).append(" cannot be read as ").append(wanted);
    }
    if (!declared.empty()) message.append(" (the column is declared ").append(declared).append(")");
    error e{code, std::move(message), phase::result};
    e.edit_texts().column = column;
    e.edit_texts().hint = hint;
    return e;
}

[[nodiscard]] inline std::string listed(std::span<const std::string_view> names) {
    std::string list;
    for (const std::string_view n : names) list.append(list.empty() ? "" : ", ").append(n);
    return list;
}

[[nodiscard]] inline error no_columns_error() {
    error e{errc::missing_column, "the statement returns no columns, but rows are wanted", phase::result};
    e.edit_texts().hint = "a statement that writes returns rows only by RETURNING; without rows call execute";
    return e;
}

[[nodiscard]] STRATA_COLD inline error missing_column_error(const wanted_column& wanted, std::span<const std::string_view> names) {
    std::string message = "the statement returns no column \"";
    message.append(wanted.name).append("\" (wanted ").append(wanted.type).append("); it returns ").append(listed(names));
    error e{errc::missing_column, std::move(message), phase::result};
    e.edit_texts().column = wanted.name;
    return e;
}

[[nodiscard]] STRATA_COLD inline error ambiguous_column_error(std::string_view wanted, std::span<const std::string_view> names) {
    std::string message = "more than one column is named \"";
    message.append(wanted).append("\"; the statement returns ").append(listed(names));
    error e{errc::invalid_statement, std::move(message), phase::result};
    e.edit_texts().column = wanted;
    e.edit_texts().hint = "give each a name of its own by AS";
    return e;
}

[[nodiscard]] STRATA_COLD inline error column_count_error(std::size_t found, std::span<const wanted_column> wanted) {
    if (found == 0) return no_columns_error();
    std::string message = joined({"wanted ", digits_of(wanted.size()), wanted.size() == 1 ? " column (" : " columns ("});
    for (const wanted_column& w : wanted) message.append(&w == wanted.data() ? "" : ", ").append(w.type);
    message.append("), the statement returns ").append(digits_of(found));
    return error{found < wanted.size() ? errc::missing_column : errc::type_mismatch, std::move(message), phase::result};
}

[[nodiscard]] constexpr char ascii_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

[[nodiscard]] constexpr bool same_name_ignoring_case(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
    return true;
}

inline constexpr int no_such_column = -1;
inline constexpr int ambiguous_column = -2;

/// The column of this name: the one that is equal, otherwise the one that is equal when ASCII letters' case is ignored.
[[nodiscard]] constexpr int find_column(std::string_view name, std::span<const std::string_view> names) noexcept {
    int equal = no_such_column;
    int similar = no_such_column;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) equal = equal == no_such_column ? static_cast<int>(i) : ambiguous_column;
        if (same_name_ignoring_case(names[i], name)) similar = similar == no_such_column ? static_cast<int>(i) : ambiguous_column;
    }
    return equal != no_such_column ? equal : similar;
}

/// Finds each wanted column among those of the statement. Columns that nobody wants are left alone.
[[nodiscard]] STRATA_COLD inline error plan_by_name(std::span<const std::string_view> names, std::span<const wanted_column> wanted,
                                                    row_plan& p) {
    if (names.empty()) return no_columns_error();
    p.reset(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const int column = find_column(wanted[i].name, names);
        if (column == no_such_column) return missing_column_error(wanted[i], names);
        if (column == ambiguous_column) return ambiguous_column_error(wanted[i].name, names);
        p.set(i, column);
    }
    return {};
}

/// Why an argument could not be written; `number` counts from 1, `name` may be empty.
[[nodiscard]] STRATA_COLD inline error argument_error(errc code, std::size_t number, std::string_view name, std::string_view type) {
    std::string message = joined({"argument ", digits_of(number)});
    if (!name.empty()) message.append(" (").append(name).append(")");
    message.append(" of type ").append(type);
    message.append(code == errc::out_of_range ? " is out of the database's range" : " cannot be a parameter: ");
    if (code != errc::out_of_range) message.append(to_string(code));
    return error{code, std::move(message), phase::execute};
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Rows into C++ values: structs by column name, tuples and pairs by position, single values.
//
// Columns are found once a statement (`plan`); a row then costs one class check and one direct read a column. A database that
// types values and not columns (SQLite) may hold a text in an integer column: so the class is checked with every value.
#ifndef STRATA_VALUE_ROW_DECODER_HPP
#define STRATA_VALUE_ROW_DECODER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <row_reader Row>
STRATA_COLD void column_failed(const Row& row, int column, errc code, std::string_view wanted, std::string_view hint, error& e) {
    e = column_error(code, row.name(column), wanted, row.column(column).type(), row.declared_type(column), hint);
}

template <class T, row_reader Row>
STRATA_INLINE bool read_column(const Row& row, int column, T& out, error& e) {
    const auto& in = row.column(column);
    static_assert(column_of<T, std::remove_cvref_t<decltype(in)>>,
                  "strata: this type can be a parameter but not a column; read std::string for text, strata::blob for bytes");
    const errc code = codec<T>::read(in, out);
    if (code == errc::ok) [[likely]] return true;
    column_failed(row, column, code, codec<T>::name, hint_of<T>(), e);
    return false;
}

template <row_reader Row>
[[nodiscard]] STRATA_COLD error plan_columns(const Row& meta, std::span<const wanted_column> wanted, row_plan& p) {
    const std::size_t count = static_cast<std::size_t>(meta.size());
    const heap_array<std::string_view> names(count);
    for (std::size_t i = 0; i < count; ++i) names[i] = meta.name(static_cast<int>(i));
    return plan_by_name({names.data(), count}, wanted, p);
}

template <class T>
[[nodiscard]] constexpr wanted_column wanted_as(std::string_view name) noexcept {
    return {name, codec<T>::name, classes_of<T>(), hint_of<T>()};
}

/// Where columns have types: whether they fit those that are wanted. `at`: the column of each, if not its own number.
template <row_reader Row>
[[nodiscard]] STRATA_COLD error check_classes(const Row& meta, std::span<const wanted_column> wanted, const std::uint16_t* at) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const int column = at != nullptr ? at[i] : static_cast<int>(i);
        const column_type found = meta.static_type(column);
        const wanted_column& w = wanted[i];
        if (found == column_type::null || w.takes.has(found)) continue;
        return column_error(errc::type_mismatch, meta.name(column), w.type, found, meta.declared_type(column), w.hint);
    }
    return {};
}
template <class T, row_reader Row>
void check_parts(const Row& meta, int column, error& e) {
    if constexpr (requires { codec<T>::fits(meta.type_of(column)); }) {
        if (!e && !codec<T>::fits(meta.type_of(column)))
            e = column_error(errc::type_mismatch, meta.name(column), codec<T>::name, meta.static_type(column), meta.declared_type(column),
                             hint_of<T>());
    }
}
template <class... T, row_reader Row>
[[nodiscard]] error check_types(const Row& meta, std::span<const wanted_column> wanted, const std::uint16_t* at) {
    if constexpr (requires { meta.static_type(0); }) {
        error e = check_classes(meta, wanted, at);
        int i = 0;
        (check_parts<T>(meta, at != nullptr ? at[i++] : i++, e), ...);
        return e;
    } else {
        return {};
    }
}

/// Tags tell plans apart. They are made of the wanted names and types, not of an address, which a plugin that was loaded anew may
/// reuse: two row types that want the same columns can share a plan. (FNV-1a; nobody chooses names to collide.)
[[nodiscard]] constexpr std::uint64_t tag_of(std::string_view kind, std::span<const wanted_column> wanted) noexcept {
    std::uint64_t hash = 14695981039346656037u;
    const auto add = [&hash](unsigned char c) { hash = (hash ^ c) * 1099511628211u; };
    const auto add_text = [&add](std::string_view text) {
        for (const char c : text) add(static_cast<unsigned char>(c));
        add(0);
    };
    add_text(kind);
    for (const wanted_column& w : wanted) {
        add_text(w.name);
        add_text(w.type);
        add(w.takes.bits());
    }
    return hash | 1;  // not that of rows that need no plan
}

[[nodiscard]] inline const void* tag_pointer(std::uint64_t hash) noexcept {
    return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(hash));
}

/// True when T keeps a view into the row.
template <class T>
struct keeps_view {
    static constexpr bool value = is_view<T>();
};
template <class... E>
struct keeps_view<std::tuple<E...>> {
    static constexpr bool value = (is_view<E>() || ...);
};
template <class A, class B>
struct keeps_view<std::pair<A, B>> : keeps_view<std::tuple<A, B>> {};

template <class T>
concept struct_row = adapted_struct<T> && !has_codec<T>;

template <struct_row T>
struct keeps_view<T> {
    static constexpr bool value = []<class... M>(member_list<M...>) { return (is_view<member_type<M, T>>() || ...); }(members<T>{});
};

/// Columns by position, exactly as many as elements.
template <class... E>
struct positional {
    static constexpr wanted_column wanted[sizeof...(E) + 1] = {wanted_as<E>({})..., {}};
    static constexpr std::uint64_t tag = tag_of("#", {wanted, sizeof...(E)});

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        const std::size_t found = static_cast<std::size_t>(meta.size());
        if (found != sizeof...(E)) return column_count_error(found, {wanted, sizeof...(E)});
        p.reset(0);
        return check_types<E...>(meta, {wanted, sizeof...(E)}, nullptr);
    }
};

}  // namespace detail

/// How a row becomes a T. T is one of
/// * a struct adapted by Hana or Boost.Describe: by column name, as its `mapping` renames them; a name that is equal is preferred
///   to one that is equal but for the case of ASCII letters; columns that no member has are ignored;
/// * `std::tuple`, `std::pair`: by position, with exactly as many columns;
/// * a type with a codec: exactly one column;
/// * `strata::row` (strata/value/row.hpp): whatever there is.
///
/// `tag()` tells plans apart: keep a plan while tag and prepared statement stay the same. `plan` looks at names, and at types where
/// columns have them, so it may be asked before the first row or without any. `decode` writes all of `out`, or answers false with `e`
/// naming column, wanted and found type; a struct that was there before is then half overwritten. Errors: `missing_column`,
/// `invalid_statement` (a wanted name occurs twice), `type_mismatch`, `out_of_range`, `null_value`.
template <class T>
struct row_decoder {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::positional<T>::tag); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return detail::positional<T>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, T& out, error& e) {
        return detail::read_column(row, 0, out, e);
    }
};

template <detail::struct_row T>
struct row_decoder<T> {
    static constexpr std::size_t count = member_count<T>;
    static_assert(count > 0, "strata: a row type needs a member");

    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(columns_of<detail::members<T>>::tag); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return columns_of<detail::members<T>>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan& p, T& out, error& e) {
        const std::uint16_t* const at = p.columns(count);
        return decode_all(detail::members<T>{}, std::make_index_sequence<count>{}, row, at, out, e);
    }

private:
    template <class Members>
    struct columns_of;
    template <class... M>
    struct columns_of<detail::member_list<M...>> {
        static constexpr auto wanted = []<std::size_t... I>(std::index_sequence<I...>) {
            return std::array<detail::wanted_column, count>{detail::wanted_as<detail::member_type<M, T>>(column_names<T>[I])...};
        }(std::make_index_sequence<count>{});
        static constexpr std::uint64_t tag = detail::tag_of("struct", wanted);

        template <row_reader Row>
        [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
            if (error e = detail::plan_columns(meta, wanted, p)) return e;
            return detail::check_types<detail::member_type<M, T>...>(meta, wanted, p.columns(count));
        }
    };
    template <class... M, std::size_t... I, row_reader Row>
    STRATA_INLINE static bool decode_all(detail::member_list<M...>, std::index_sequence<I...>, const Row& row, const std::uint16_t* at,
                                         T& out, error& e) {
        return (detail::read_column(row, at[I], M::get(out), e) && ...);
    }
};

template <class... E>
struct row_decoder<std::tuple<E...>> {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::positional<E...>::tag); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return detail::positional<E...>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, std::tuple<E...>& out, error& e) {
        return decode_all(std::index_sequence_for<E...>{}, row, out, e);
    }

private:
    template <std::size_t... I, row_reader Row>
    STRATA_INLINE static bool decode_all(std::index_sequence<I...>, const Row& row, std::tuple<E...>& out, error& e) {
        return (detail::read_column(row, static_cast<int>(I), std::get<I>(out), e) && ...);
    }
};

template <class A, class B>
struct row_decoder<std::pair<A, B>> {
    [[nodiscard]] static const void* tag() noexcept { return row_decoder<std::tuple<A, B>>::tag(); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return row_decoder<std::tuple<A, B>>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, std::pair<A, B>& out, error& e) {
        return detail::read_column(row, 0, out.first, e) && detail::read_column(row, 1, out.second, e);
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Where the rows of a statement go: into one value, none or one, all, batches, nowhere.
#ifndef STRATA_VALUE_SINKS_HPP
#define STRATA_VALUE_SINKS_HPP

namespace strata::inline STRATA_ABI {

/// What a sink says after a row.
enum class flow : std::uint8_t {
    more,   ///< the next row
    pause,  ///< not before I am asked again: a batch is full
    stop    ///< no further row: enough, or the error is set
};

/// Takes the rows of one statement, attempt by attempt; `Row` is the driver's. A sink that pauses says
/// `static constexpr bool one_by_one = true`: it is given rows as they arrive, where others wait for the whole result.
template <class S, class Row = any_row>
concept row_sink = requires(S& s, const Row& row, row_plan& plan, const row_plan& made, error& e) {
    // `tag()` is missing: which plan the rows need; nullptr when none (row_decoder<T>::tag()).
    { s.tag() } -> std::convertible_to<const void*>;
    // `plan(row, row_plan&)` is missing: finds the columns, once a statement; also asked when there is no row at all.
    { s.plan(row, plan) } -> std::same_as<error>;
    // `row(row, const row_plan&, error&)` is missing: takes one row; `stop` with the error set when it cannot.
    { s.row(row, made, e) } -> std::same_as<flow>;
    // `finish(error&)` is missing: after the last row, not after `stop`; may set the error (no_rows).
    s.finish(e);
    // `restart()` is missing: before another attempt; forgets what the attempt before has delivered.
    s.restart();
};

namespace detail {

[[nodiscard]] STRATA_COLD inline error no_rows_error() {
    return error{errc::no_rows, "the statement returned no row, but exactly one was wanted", phase::result};
}
[[nodiscard]] STRATA_COLD inline error too_many_rows_error() {
    return error{errc::too_many_rows, "the statement returned more than one row", phase::result};
}

/// What sinks that keep rows as T share.
template <class T>
class decoding_sink {
    static_assert(std::is_default_constructible_v<T>,
                  "strata: a row is read into a default-constructed object; give this type a default constructor");
    static_assert(!keeps_view<T>::value,
                  "strata: this type keeps a view (std::string_view, std::span) into the row, which is gone when the call returns; use "
                  "std::string or strata::blob, or read the rows one by one with rows()");

public:
    /// Whoever wants rows asks for no number of changed ones.
    static constexpr bool wants_count = false;
    [[nodiscard]] static const void* tag() noexcept { return row_decoder<T>::tag(); }
    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return row_decoder<T>::plan(meta, p);
    }
};

}  // namespace detail

/// At most one row. `Held` is `std::optional<T>&` for a value that lies with the caller.
template <class T, class Held = std::optional<T>>
class maybe_one_sink : public detail::decoding_sink<T> {
public:
    maybe_one_sink() requires(!std::is_reference_v<Held>) = default;
    explicit maybe_one_sink(std::optional<T>& value) noexcept requires std::is_reference_v<Held> : value_(value) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if (value_) {
            e = detail::too_many_rows_error();
            return flow::stop;
        }
        return row_decoder<T>::decode(r, p, value_.emplace(), e) ? flow::more : flow::stop;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { value_.reset(); }

    /// The value that was read. Call when the statement went well.
    [[nodiscard]] std::optional<T> take() && { return std::move(value_); }
    /// Where the value lies, for a layer that answers in the database's stead.
    [[nodiscard]] std::optional<T>& value() noexcept { return value_; }

private:
    Held value_;
};

/// Exactly one row. `Held` is `T&` for a value that lies with the caller, fresh.
template <class T, class Held = T>
class one_sink : public detail::decoding_sink<T> {
public:
    one_sink() requires(!std::is_reference_v<Held>) : value_{} {}
    explicit one_sink(T& value) noexcept requires std::is_reference_v<Held> : value_(value) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if (found_) [[unlikely]] {
            e = detail::too_many_rows_error();
            return flow::stop;
        }
        found_ = true;
        return row_decoder<T>::decode(r, p, value_, e) ? flow::more : flow::stop;
    }
    void finish(error& e) {
        if (!found_) [[unlikely]] e = detail::no_rows_error();
    }
    void restart() {
        found_ = false;
        value_ = T{};
    }

    /// The value that was read. Call when the statement went well.
    [[nodiscard]] T take() && { return std::move(value_); }
    [[nodiscard]] T& value() noexcept { return value_; }

private:
    Held value_;
    bool found_ = false;
};

/// All rows, in memory. `Held` is `std::vector<T>&` for rows that lie with the caller.
template <class T, class Held = std::vector<T>>
class all_sink : public detail::decoding_sink<T> {
public:
    all_sink() requires(!std::is_reference_v<Held>) = default;
    explicit all_sink(std::vector<T>& rows) noexcept requires std::is_reference_v<Held> : rows_(rows) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if constexpr (std::is_same_v<T, bool>) {  // std::vector<bool> has no bool to refer to
            bool value = false;
            if (!row_decoder<bool>::decode(r, p, value, e)) return flow::stop;
            rows_.push_back(value);
        } else {
            if (!row_decoder<T>::decode(r, p, rows_.emplace_back(), e)) [[unlikely]] return flow::stop;
        }
        return flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { rows_.clear(); }

    /// The rows that were read. Call when the statement went well.
    [[nodiscard]] std::vector<T> take() && { return std::move(rows_); }
    [[nodiscard]] std::vector<T>& value() noexcept { return rows_; }

private:
    Held rows_;
};

/// Rows in batches: pauses when `limit` rows lie in `batch()`; the consumer takes them and lets the statement go on.
template <class T>
class batch_sink : public detail::decoding_sink<T> {
public:
    static constexpr bool one_by_one = true;
    explicit batch_sink(std::size_t limit) noexcept : limit_(limit == 0 ? 1 : limit) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if constexpr (std::is_same_v<T, bool>) {
            bool value = false;
            if (!row_decoder<bool>::decode(r, p, value, e)) return flow::stop;
            rows_.push_back(value);
        } else if (!row_decoder<T>::decode(r, p, rows_.emplace_back(), e)) {
            rows_.pop_back();
            return flow::stop;
        }
        return rows_.size() >= limit_ ? flow::pause : flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { rows_.clear(); }

    /// The rows since the last `clear()`: at most `limit`, fewer after the last row.
    [[nodiscard]] std::vector<T>& batch() noexcept { return rows_; }
    void clear() noexcept { rows_.clear(); }

private:
    std::vector<T> rows_;
    std::size_t limit_;
};

/// Rows nobody wants.
class discard_sink {
public:
    [[nodiscard]] static const void* tag() noexcept { return nullptr; }
    template <row_reader Row>
    [[nodiscard]] static error plan(const Row&, row_plan& p) noexcept {
        p.tag = nullptr;
        return {};
    }
    template <row_reader Row>
    [[nodiscard]] static flow row(const Row&, const row_plan&, error&) noexcept {
        return flow::more;
    }
    static void finish(error&) noexcept {}
    static void restart() noexcept {}
};

}  // namespace strata::inline STRATA_ABI

#endif

// The bridge between what knows its driver and what does not: sinks and writers behind virtual calls.
//
// `any_session` hands an `any_sink` down to the stack (one virtual call a row and a column); run-time statements hand their
// arguments to an `any_parameter_writer` (one virtual call a parameter).
#ifndef STRATA_VALUE_ERASED_HPP
#define STRATA_VALUE_ERASED_HPP

namespace strata::inline STRATA_ABI {

/// A sink behind virtual calls; the members mean what they mean in the concept `row_sink`, of which it is a model over `any_row`.
class any_sink {
public:
    [[nodiscard]] virtual const void* tag() const = 0;
    [[nodiscard]] virtual error plan(const any_row& meta, row_plan& p) = 0;
    [[nodiscard]] virtual flow row(const any_row& r, const row_plan& p, error& e) = 0;
    virtual void finish(error& e) = 0;
    virtual void restart() = 0;

protected:
    any_sink() = default;
    any_sink(const any_sink&) = default;
    any_sink& operator=(const any_sink&) = default;
    ~any_sink() = default;
};

/// A concrete sink as `any_sink`. Refers to it.
template <row_sink S>
class erased_sink final : public any_sink {
public:
    explicit erased_sink(S& sink) noexcept : sink_(sink) {}

    [[nodiscard]] const void* tag() const override { return sink_.tag(); }
    [[nodiscard]] error plan(const any_row& meta, row_plan& p) override { return sink_.plan(meta, p); }
    [[nodiscard]] flow row(const any_row& r, const row_plan& p, error& e) override { return sink_.row(r, p, e); }
    void finish(error& e) override { sink_.finish(e); }
    void restart() override { sink_.restart(); }

private:
    S& sink_;
};

/// An `any_sink` as a sink for the rows of every driver. Refers to it.
class sink_ref {
public:
    explicit sink_ref(any_sink& sink) noexcept : sink_(&sink) {}

    [[nodiscard]] const void* tag() const { return sink_->tag(); }
    template <row_reader Row>
    [[nodiscard]] error plan(const Row& meta, row_plan& p) {
        return sink_->plan(erased_row<Row>{meta}, p);
    }
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return sink_->row(erased_row<Row>{r}, p, e);
    }
    void finish(error& e) { sink_->finish(e); }
    void restart() { sink_->restart(); }

private:
    any_sink* sink_;
};

/// The sink of an erased stream, which pauses.
class stream_sink_ref : public sink_ref {
public:
    static constexpr bool one_by_one = true;
    using sink_ref::sink_ref;
};

/// A driver's writer as `any_parameter_writer`. Refers to it.
template <parameter_writer W>
class erased_writer final : public any_parameter_writer {
public:
    explicit erased_writer(W& writer) noexcept : writer_(writer) {}

    void null() override { writer_.null(); }
    void boolean(bool value) override { writer_.boolean(value); }
    void integer(std::int64_t value) override { writer_.integer(value); }
    void real(double value) override { writer_.real(value); }
    void text(std::string_view value) override { writer_.text(value); }
    void text_copy(std::string_view value) override { writer_.text_copy(value); }
    void blob(std::span<const std::byte> value) override { writer_.blob(value); }
    void blob_copy(std::span<const std::byte> value) override { writer_.blob_copy(value); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t microseconds) override {
        const std::chrono::sys_time<std::chrono::microseconds> time{std::chrono::microseconds{microseconds}};
        if constexpr (requires { writer_.timestamp(time); }) {
            writer_.timestamp(time);
            return true;
        } else {
            return false;
        }
    }
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) override {
        if constexpr (requires { writer_.open(what, dimensions, flags); })
            return writer_.open(what, dimensions, flags);
        else
            return false;
    }
    [[nodiscard]] bool close() override {
        if constexpr (requires { writer_.close(); })
            return writer_.close();
        else
            return true;
    }
    [[nodiscard]] std::string_view part_name(std::size_t i) const override {
        if constexpr (requires { writer_.part_name(i); })
            return writer_.part_name(i);
        else
            return {};
    }

private:
    W& writer_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A bound statement whose type is forgotten: descriptor, facts and a list of arguments that can write themselves.
#ifndef STRATA_ANY_STATEMENT_HPP
#define STRATA_ANY_STATEMENT_HPP

namespace strata::inline STRATA_ABI {

/// A reference to an argument: its address and how it is written.
struct any_argument {
    const void* value = nullptr;
    errc (*write)(any_parameter_writer& out, const void* value) = nullptr;
    std::string_view type = {};  ///< in the database, where it was said

    [[nodiscard]] std::string_view type_in_database() const noexcept { return type; }
    template <class T>
    [[nodiscard]] static any_argument of(const T& value) noexcept {
        return {&value, [](any_parameter_writer& out, const void* v) { return codec<T>::write(out, *static_cast<const T*>(v)); },
                detail::type_of_argument(value)};
    }
};

template <>
struct codec<any_argument> {
    static constexpr std::string_view name = "argument";
    template <parameter_writer W>
    static errc write(W& out, const any_argument& a) {
        erased_writer<W> writer{out};
        return a.write(writer, a.value);
    }
};

/// Models `bound_statement` by reference: what it was made from must outlive it.
class any_statement {
public:
    static constexpr statement_facts facts{
        .kind = statement_kind::other, .kind_known = false, .idempotent = known::at_run_time, .statements = 0};

    template <class Bound>
    any_statement(const Bound& statement, std::span<const any_argument> arguments)
        : what_(&statement.text()), label_(statement.label()), kind_(statement.kind()), idempotent_(statement.idempotent()),
          arguments_(arguments) {}

    [[nodiscard]] const descriptor& text() const noexcept { return *what_; }
    [[nodiscard]] std::string_view label() const noexcept { return label_; }
    [[nodiscard]] statement_kind kind() const noexcept { return kind_; }
    [[nodiscard]] bool idempotent() const noexcept { return idempotent_; }
    [[nodiscard]] any_statement own() const noexcept { return *this; }
    template <class F>
    void for_each_argument(F&& f) const {
        for (std::size_t i = 0; i < arguments_.size(); ++i) f(i, arguments_[i]);
    }

private:
    const descriptor* what_;
    std::string_view label_;
    statement_kind kind_;
    bool idempotent_;
    std::span<const any_argument> arguments_;
};

namespace detail {

/// References to the arguments of a bound statement, eight of them without an allocation.
class argument_views {
public:
    template <class Bound>
    explicit argument_views(const Bound& statement) {
        statement.for_each_argument([this](std::size_t, const auto& value) { add(any_argument::of(value)); });
    }
    argument_views(const argument_views&) = delete;
    argument_views& operator=(const argument_views&) = delete;

    [[nodiscard]] std::span<const any_argument> all() const noexcept {
        return more_.empty() ? std::span<const any_argument>{few_.data(), size_} : std::span<const any_argument>{more_};
    }

private:
    void add(const any_argument& a) {
        if (size_ < few_.size() && more_.empty()) {
            few_[size_++] = a;
            return;
        }
        if (more_.empty()) more_.assign(few_.begin(), few_.end());
        more_.push_back(a);
    }

    std::array<any_argument, 8> few_;
    std::size_t size_ = 0;
    std::vector<any_argument> more_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a call that asks for caching hands down its stack: the key, where its result lies, and how a copy of that is made.
//
// So a cache knows no type of a row, and is compiled once. Only an operation whose facts say `cacheable` carries one.
#ifndef STRATA_CORE_CACHE_REQUEST_HPP
#define STRATA_CORE_CACHE_REQUEST_HPP

namespace strata::inline STRATA_ABI {

/// A copy of a result, immutable and counted: it is copied out while others do the same, and lives as long as somebody reads it.
class kept_value {
public:
    kept_value(const kept_value&) = delete;
    kept_value& operator=(const kept_value&) = delete;

    /// Copies it to where a call wants its result, of the type that the call's key names. May throw; then nothing was changed.
    virtual void copy_to(void* result) const = 0;
    /// What it takes of memory.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    void retain() noexcept { users_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

protected:
    kept_value() = default;
    virtual ~kept_value() = default;
    std::size_t bytes_ = 0;

private:
    std::atomic<std::uint32_t> users_{1};
};

/// The views live as long as the call.
struct cache_request {
    std::string_view key;  ///< statement, arguments, type of the result and tags: equal bytes, equal results
    std::uint64_t hash = 0;
    std::span<const std::string_view> tags;
    duration ttl{};  ///< zero: the cache's own
    void* result = nullptr;
    kept_value* (*keep)(const void* result) = nullptr;  ///< a copy with one user; may throw
};

}  // namespace strata::inline STRATA_ABI

#endif

// What can end a running call early: its deadline, or the caller's change of mind.
//
// One lies in each operation; the driver looks at it while it works and never keeps it beyond the call.
#ifndef STRATA_CORE_INTERRUPTION_HPP
#define STRATA_CORE_INTERRUPTION_HPP

namespace strata::inline STRATA_ABI {

struct interruption {
    interruption() noexcept = default;
    explicit interruption(time_point until) noexcept : deadline(until) {}

    /// The call ends with `errc::timeout` soon after this point. Written only while no driver works on the call.
    time_point deadline = never;
    /// Set from any thread: the call ends with `errc::cancelled` as soon as the driver can.
    std::atomic<bool> cancelled{false};
    /// What the call is part of (a transaction, a session); its cancel is the call's too. Outlives the call.
    const interruption* outer = nullptr;

    /// This call, or what it is part of, was cancelled.
    [[nodiscard]] bool is_cancelled() const noexcept {
        return cancelled.load(std::memory_order_relaxed) || (outer != nullptr && outer->is_cancelled());
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// How an attempt or an operation ended. It lies where the caller will look for it, so that an error is made once and never moved.
#ifndef STRATA_CORE_OUTCOME_HPP
#define STRATA_CORE_OUTCOME_HPP

namespace strata::inline STRATA_ABI {

/// How an attempt or an operation ended, as `settle` sees it. A hook may replace it.
class outcome {
public:
    outcome() noexcept = default;
    explicit outcome(strata::error e) noexcept : error_(std::move(e)) {}

    [[nodiscard]] bool ok() const noexcept { return error_.code() == errc::ok; }
    [[nodiscard]] errc code() const noexcept { return error_.code(); }
    [[nodiscard]] const strata::error& error() const noexcept { return error_; }
    [[nodiscard]] strata::error& error() noexcept { return error_; }
    void replace(strata::error e) noexcept { error_ = std::move(e); }
    void clear() noexcept {
        if (error_.code() != errc::ok) [[unlikely]]
            error_ = strata::error{};
    }

private:
    strata::error error_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Waiting on a 32-bit word until it changes, with a deadline: the one blocking primitive of the library.
//
// On Linux it is the futex system call. Elsewhere (or with STRATA_PORTABLE_FUTEX) the word is polled with
// growing pauses of at most a millisecond: correct, but neither exact nor free.
#ifndef STRATA_CORE_FUTEX_HPP
#define STRATA_CORE_FUTEX_HPP

#if defined(__linux__) && !defined(STRATA_PORTABLE_FUTEX)
#define STRATA_HAS_FUTEX 1
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define STRATA_HAS_FUTEX 0
#include <thread>
#endif

namespace strata::inline STRATA_ABI {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "strata: a futex word must be a plain 32-bit word");

/// Sleeps while `word == expected`, at most until `until`. May return early without a cause.
STRATA_COLD inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, time_point until = never) noexcept {
#if STRATA_HAS_FUTEX
    std::timespec at{};
    if (until != never) {
        const auto since = until.time_since_epoch();  // steady_clock is CLOCK_MONOTONIC, which FUTEX_WAIT_BITSET takes as it is
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
        at.tv_sec = static_cast<std::time_t>(seconds.count());
        at.tv_nsec = static_cast<long>((since - seconds).count());
        if (at.tv_sec < 0 || at.tv_nsec < 0) return;
    }
    ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, until == never ? nullptr : &at, nullptr, FUTEX_BITSET_MATCH_ANY);
#else
    auto pause = std::chrono::microseconds{10};
    while (word.load(std::memory_order_acquire) == expected && clock::now() < until) {
        std::this_thread::sleep_for(pause);
        if (pause < std::chrono::milliseconds{1}) pause *= 2;
    }
#endif
}

/// Wakes at most one thread that sleeps on the word at this address. The word itself is not read: it may be gone already.
STRATA_COLD inline void futex_wake_one(std::atomic<std::uint32_t>* word) noexcept {
#if STRATA_HAS_FUTEX
    ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#else
    static_cast<void>(word);
#endif
}

}  // namespace strata::inline STRATA_ABI

#endif

// A lock of four bytes whose uncontended path is one exchange each way.
//
// Drepper, "Futexes are tricky", mutex 2: 0 free, 1 held, 2 held and somebody may wait. Measured around the
// pool's hand-out: about 50 instructions an acquire and release together, against 163 with std::mutex.
#ifndef STRATA_CORE_LOCK_HPP
#define STRATA_CORE_LOCK_HPP

namespace strata::inline STRATA_ABI {

class inline_lock {
public:
    void lock() noexcept {
        std::uint32_t free = 0;
        if (!word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]]
            wait();
    }
    void unlock() noexcept {
        if (word_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
            futex_wake_one(&word_);
    }

private:
    STRATA_COLD void wait() noexcept {
        while (word_.exchange(2, std::memory_order_acquire) != 0) futex_wait(word_, 2);
    }

    std::atomic<std::uint32_t> word_{0};
};

/// For sources that only one thread uses.
struct no_lock {
    void lock() noexcept {}
    void unlock() noexcept {}
};

/// Holds a lock for a scope; `unlock()` ends it early.
template <class Lock>
class [[nodiscard]] hold {
public:
    explicit hold(Lock& lock) noexcept : lock_(&lock) { lock_->lock(); }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;
    ~hold() {
        if (lock_ != nullptr) lock_->unlock();
    }
    void unlock() noexcept {
        lock_->unlock();
        lock_ = nullptr;
    }

private:
    Lock* lock_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A place in a queue for something that somebody else will give: a connection, a slot, a permit.
//
// The node lies in the waiting operation. Whoever gives and whoever gives up race for it, and a
// compare-and-swap decides exactly one of *granted* and *withdrawn*. The giver copies the way to wake the
// other side (`wake_call`) while it still holds the queue's lock, because once granted the node may be gone.
#ifndef STRATA_CORE_WAITER_HPP
#define STRATA_CORE_WAITER_HPP

namespace strata::inline STRATA_ABI {

/// How an operation that does not block a thread is woken: the asynchronous and the simulated drive make one.
/// Counted, since a giver may still hold it when the operation has gone.
class waker {
public:
    /// Lets the operation go on soon, on its own executor; never runs it in this call. From any thread.
    virtual void wake() noexcept = 0;

    void retain() noexcept { users_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose();
    }

protected:
    waker() = default;
    waker(const waker&) = delete;
    waker& operator=(const waker&) = delete;
    ~waker() = default;

private:
    virtual void dispose() noexcept = 0;

    std::atomic<std::uint32_t> users_{1};
};

/// What a giver does after it has let go of the queue's lock.
class [[nodiscard]] wake_call {
public:
    wake_call() noexcept = default;
    wake_call(std::atomic<std::uint32_t>* word, waker* other) noexcept : word_(word), waker_(other) {
        if (waker_ != nullptr) waker_->retain();
    }
    wake_call(wake_call&& other) noexcept : word_(std::exchange(other.word_, nullptr)), waker_(std::exchange(other.waker_, nullptr)) {}
    wake_call& operator=(wake_call&& other) noexcept {
        std::swap(word_, other.word_);
        std::swap(waker_, other.waker_);
        return *this;
    }
    ~wake_call() {
        if (waker_ != nullptr) waker_->release();
    }
    void operator()() noexcept {
        if (waker_ != nullptr) waker_->wake();
        else if (word_ != nullptr) futex_wake_one(word_);
    }

private:
    std::atomic<std::uint32_t>* word_ = nullptr;
    waker* waker_ = nullptr;
};

class waiter {
public:
    enum state : std::uint32_t { idle, waiting, granted, withdrawn };

    waiter() noexcept {}  // NOLINT: gift and links are written before they are read, for most operations never wait
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    /// Before the node is put into a queue. `other` is null when a thread will block on the node.
    void prepare(waker* other) noexcept {
        waker_ = other;
        gift = nullptr;
        state_.store(waiting, std::memory_order_relaxed);
    }

    /// Giver, under the queue's lock: true when the node is now granted; then `call` wakes it, after unlocking.
    [[nodiscard]] bool grant(void* what, wake_call& call) noexcept {
        // The giver alone may write the gift: it is read only after `granted` was seen.
        gift = what;
        wake_call made(&state_, waker_);
        std::uint32_t expected = waiting;
        if (!state_.compare_exchange_strong(expected, granted, std::memory_order_acq_rel, std::memory_order_acquire)) return false;
        call = std::move(made);
        return true;
    }

    /// The waiting side gives up: true when it was in time; false when the gift has arrived.
    [[nodiscard]] bool withdraw() noexcept {
        std::uint32_t expected = waiting;
        return state_.compare_exchange_strong(expected, withdrawn, std::memory_order_acq_rel, std::memory_order_acquire);
    }

    [[nodiscard]] bool is_granted() const noexcept { return state_.load(std::memory_order_acquire) == granted; }

    /// Blocks the thread until granted or `until`. For nodes prepared without a waker.
    STRATA_COLD void block(time_point until) noexcept {
        while (state_.load(std::memory_order_acquire) == waiting && clock::now() < until) futex_wait(state_, waiting, until);
    }

    void* gift;  ///< what was given; valid when granted

    // Links of the queue that the node stands in; guarded by that queue's lock.
    waiter* next;
    waiter* previous;
    bool queued = false;

private:
    std::atomic<std::uint32_t> state_{idle};
    waker* waker_ = nullptr;
};

/// First in, first out; intrusive. Not synchronised: its owner's lock guards it.
class wait_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void push(waiter& w) noexcept {
        w.next = nullptr;
        w.previous = last_;
        (last_ != nullptr ? last_->next : first_) = &w;
        last_ = &w;
        w.queued = true;
        ++size_;
    }
    [[nodiscard]] waiter* front() noexcept { return first_; }
    [[nodiscard]] waiter* back() noexcept { return last_; }
    void remove(waiter& w) noexcept {
        if (!w.queued) return;
        (w.previous != nullptr ? w.previous->next : first_) = w.next;
        (w.next != nullptr ? w.next->previous : last_) = w.previous;
        w.queued = false;
        --size_;
    }
    /// Gives `what` to the oldest node that still waits; nodes that have withdrawn are dropped. False when nobody waits.
    [[nodiscard]] bool grant_first(void* what, wake_call& call) noexcept {
        while (waiter* w = first_) {
            remove(*w);
            if (w->grant(what, call)) return true;
        }
        return false;
    }

private:
    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What travels down a stack: the facts and the few variables that policies may look at.
//
// The type carries what is known at compile time (`operation_facts`); it never carries a statement's text or
// its arguments, so one passage is compiled for all statements of equal facts.
#ifndef STRATA_CORE_OPERATION_HPP
#define STRATA_CORE_OPERATION_HPP

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

// What a caller may say about one call.
#ifndef STRATA_CALL_OPTIONS_HPP
#define STRATA_CALL_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

struct call_options {
    duration deadline{};             ///< from the start of the call; zero: none of its own. A call past it ends with `errc::timeout`
    std::span<const tag> tags = {};  ///< for logs and metrics; must live as long as the call
    bool idempotent = false;         ///< repeating the call after it may have been sent changes nothing
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
};

/// Of a call that says nothing of the kind.
inline constexpr call_options no_call_options{};

/// What `execute` returns.
struct execution {
    std::int64_t affected = 0;  ///< rows inserted, updated or deleted
    /// SQLite: rowid of the last inserted row, 0 when none was. Of a table WITHOUT ROWID, or of an upsert that only updated, the
    /// rowid that was inserted last before it on that connection.
    std::int64_t last_id = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

// `result<T>`: a value or an error, for the `try_` forms.
//
// Small on purpose: Boost.System's result does more, and its header alone costs a third of what a small program of strata
// takes to compile. An `error` knows by itself whether there is one, so no further discriminator is kept.
#ifndef STRATA_CORE_RESULT_HPP
#define STRATA_CORE_RESULT_HPP

namespace strata::inline STRATA_ABI {

template <class Self>
class calls;

namespace detail {
/// A number is made of numbers that it holds whatever they are: not of a wider one, nor a bool of a pointer.
template <class T, class U>
concept keeps_value = !std::is_arithmetic_v<T> || requires(U&& u) { T{std::forward<U>(u)}; };
}  // namespace detail

/// A value of `T`, or an `error`. Implicitly made from either, and by default from `T{}`. Distinct objects are independent.
///
///     result<account> r = db.try_one<account>(find("id"_arg = 7));
///     if (!r) return log(r.error());
///     use(r->owner);                    // `value()` throws `strata::failure` where there is an error
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;
    using error_type = strata::error;

    result() noexcept(std::is_nothrow_default_constructible_v<T>) requires std::default_initializable<T> : value_() {}
    template <class U = T>
        requires(std::is_constructible_v<T, U> && std::is_convertible_v<U, T> && detail::keeps_value<T, U> &&
                 !std::same_as<std::remove_cvref_t<U>, strata::error> && !std::same_as<std::remove_cvref_t<U>, result>)
    result(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) : value_(std::forward<U>(value)) {}
    /// An error without a condition (`errc::ok`) says nothing went wrong; there is no value, so it becomes `errc::unknown`.
    result(strata::error e) noexcept : outcome_(std::move(e)) {
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
    }
    result(const result& other) requires std::copy_constructible<T> : outcome_(other.outcome_) {
        if (outcome_.ok()) std::construct_at(std::addressof(value_), other.value_);
    }
    /// A result that was moved from still is what it was: a value, moved from, or an error.
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : outcome_(std::move(other.outcome_)) {
        if (outcome_.ok()) std::construct_at(std::addressof(value_), std::move(other.value_));
    }
    /// Should the move of a value throw, the result holds `errc::unknown`.
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        if (other.has_error()) return *this = std::move(other.outcome_.error());
        *this = strata::error{errc::unknown};
        std::construct_at(std::addressof(value_), std::move(other.value_));
        outcome_.clear();
        return *this;
    }
    result& operator=(strata::error e) noexcept {
        if (outcome_.ok()) std::destroy_at(std::addressof(value_));
        outcome_.replace(std::move(e));
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
        return *this;
    }
    ~result() {
        if (outcome_.ok()) std::destroy_at(std::addressof(value_));
    }

    [[nodiscard]] bool has_value() const noexcept { return outcome_.ok(); }
    [[nodiscard]] bool has_error() const noexcept { return !outcome_.ok(); }
    [[nodiscard]] explicit operator bool() const noexcept { return outcome_.ok(); }

    /// The value; throws `failure` with the error where there is none.
    [[nodiscard]] T& value() & {
        throw_error();
        return value_;
    }
    [[nodiscard]] const T& value() const& {
        throw_error();
        return value_;
    }
    [[nodiscard]] T&& value() && {
        throw_error();
        return std::move(value_);
    }
    template <class U>
    [[nodiscard]] T value_or(U&& otherwise) const& {
        return !outcome_.ok() ? static_cast<T>(std::forward<U>(otherwise)) : value_;
    }
    template <class U>
    [[nodiscard]] T value_or(U&& otherwise) && {
        return !outcome_.ok() ? static_cast<T>(std::forward<U>(otherwise)) : std::move(value_);
    }

    /// The value, unchecked: call only where there is one.
    [[nodiscard]] T& operator*() & noexcept { return value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return value_; }
    [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
    [[nodiscard]] T* operator->() noexcept { return std::addressof(value_); }
    [[nodiscard]] const T* operator->() const noexcept { return std::addressof(value_); }

    /// The error; one that is false where there is a value.
    [[nodiscard]] const strata::error& error() const& noexcept { return outcome_.error(); }
    [[nodiscard]] strata::error error() && noexcept { return std::move(outcome_.error()); }

private:
    template <class Self>
    friend class calls;

    /// For `calls`: a call writes its outcome here while the value lives, and `settle` ends the value if there is none.
    [[nodiscard]] outcome& slot() noexcept { return outcome_; }
    void settle() noexcept {
        if (!outcome_.ok()) [[unlikely]]
            std::destroy_at(std::addressof(value_));
    }
    void throw_error() const {
        if (!outcome_.ok()) [[unlikely]]
            throw_failure(outcome_.error());
    }

    union {
        T value_;
    };
    outcome outcome_;
};

/// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;
    using error_type = strata::error;

    result() noexcept = default;
    result(strata::error e) noexcept : outcome_(std::move(e)) {
        if (outcome_.ok()) [[unlikely]]
            outcome_.error().set(errc::unknown);
    }

    [[nodiscard]] bool has_value() const noexcept { return outcome_.ok(); }
    [[nodiscard]] bool has_error() const noexcept { return !outcome_.ok(); }
    [[nodiscard]] explicit operator bool() const noexcept { return outcome_.ok(); }
    void value() const {
        if (!outcome_.ok()) [[unlikely]]
            throw_failure(outcome_.error());
    }
    [[nodiscard]] const strata::error& error() const& noexcept { return outcome_.error(); }
    [[nodiscard]] strata::error error() && noexcept { return std::move(outcome_.error()); }

private:
    outcome outcome_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Calls of a session whose headers the user chooses to include: what they are until then, a compile error that names the header.
#ifndef STRATA_OPTIONAL_CALLS_HPP
#define STRATA_OPTIONAL_CALLS_HPP

namespace strata::inline STRATA_ABI {

struct copy_options;

namespace detail {

/// Options whose type is known by name only until their header is read.
template <class Options>
[[nodiscard]] const Options& default_options() {
    static_assert(requires { sizeof(Options); }, "strata: COPY needs  #include <strata/copy.hpp>");
    static const Options none{};
    return none;
}

/// Filled in by copy.hpp, pipeline.hpp and row_lock.hpp, so that this file does not know them.
template <class Session, bool CopyIncluded>
struct copy_calls {
    template <class... Any>
    static result<int> in(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: COPY needs  #include <strata/copy.hpp>");
        return 0;
    }
    template <class T, class... Any>
    static result<int> out(const Any&... any) {
        return in(any...);
    }
    template <class... Any>
    static result<int> raw(const Any&... any) {
        return in(any...);
    }
};

template <class Session, bool PipelineIncluded>
struct pipeline_calls {
    template <class... Any>
    static int run(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: db.pipeline(...) needs  #include <strata/pipeline.hpp>");
        return 0;
    }
    template <class... Any>
    static int try_run(const Any&...) {
        return run(0);
    }
};

template <class Session, bool RowLockIncluded>
struct row_lock_calls {
    template <class T, class... Any>
    static T row(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: row locks need  #include <strata/row_lock.hpp>");
        return T{};
    }
    template <class T, fixed_string, class... Any>
    static std::vector<T> rows(const Any&... any) {
        return {row<T>(any...)};
    }
    template <class... Any>
    static int timeout(const Any&... any) {
        return row<int>(any...);
    }
};

/// Inside a transaction: rows that nobody else changes until it ends. See `strata/row_lock.hpp`, where the locks are.
template <class Self>
class row_lock_members {
    using locks = row_lock_calls<Self, true>;

public:
    /// Locks the row of this key (a tuple, where the key has several columns) and reads it: `lock_one<account>(7)`, and where wanted
    /// how it is locked, and `call_options`. `errc::no_rows` where there is none, and with `skip_locked` where somebody holds it.
    template <class T, class Key, class... More>
    T lock_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template one<T>(s, o...); }, key, more...);
    }
    template <class T, class Key, class... More>
    result<T> try_lock_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template try_one<T>(s, o...); }, key,
                                      more...);
    }
    /// The same where the row may be missing.
    template <class T, class Key, class... More>
    std::optional<T> lock_maybe_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template maybe_one<T>(s, o...); }, key,
                                      more...);
    }
    template <class T, class Key, class... More>
    result<std::optional<T>> try_lock_maybe_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template try_maybe_one<T>(s, o...); }, key,
                                      more...);
    }
    /// Up to `most` rows that nobody holds, the first ones by their key, locked `for update`: a queue's workers never wait for each other
    /// nor get the same row. The condition is SQL, a part of the program's text; it takes named arguments:
    /// `claim<job, "queue = :queue">(10, "queue"_arg = name)`.
    template <class T, fixed_string Condition = "true", class... More>
    std::vector<T> claim(std::int64_t most, const More&... more) {
        return locks::template rows<T, Condition>([this](const auto& s, const auto&... o) { return self().template all<T>(s, o...); }, most,
                                                  more...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    result<std::vector<T>> try_claim(std::int64_t most, const More&... more) {
        return locks::template rows<T, Condition>([this](const auto& s, const auto&... o) { return self().template try_all<T>(s, o...); },
                                                  most, more...);
    }
    /// From here on no statement of this transaction waits longer than this for a lock of any kind, a row's, a table's or an advisory one:
    /// it ends with `errc::lock_not_available`. Rounded up to milliseconds; zero: as long as it takes. A round trip. A savepoint that is
    /// rolled back takes it back.
    void set_lock_timeout(duration limit) {
        locks::timeout([this](const auto& s) { self().execute(s); }, limit);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

/// The same for asynchronous sessions: what they complete with, options and tokens are those of `async_one`, `async_all` and so on.
template <class Self>
class async_row_lock_members {
    using locks = row_lock_calls<Self, true>;

public:
    template <class T, class Key, class... More>
    auto async_lock_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_try_lock_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_lock_maybe_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_maybe_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_try_lock_maybe_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_maybe_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    auto async_claim(std::int64_t most, More&&... more) {
        return locks::template rows<T, Condition>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_all<T>(s, std::forward<O>(o)...); }, most,
            std::forward<More>(more)...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    auto async_try_claim(std::int64_t most, More&&... more) {
        return locks::template rows<T, Condition>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_all<T>(s, std::forward<O>(o)...); }, most,
            std::forward<More>(more)...);
    }
    /// Completes as `async_execute` does.
    template <class... More>
    auto async_set_lock_timeout(duration limit, More&&... more) {
        return locks::timeout([this]<class... O>(const auto& s, O&&... o) { return self().async_execute(s, std::forward<O>(o)...); }, limit,
                              std::forward<More>(more)...);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How the arguments of a call meet the parameters of a literal: one check for each dialect's list of names.
#ifndef STRATA_SQL_LITERAL_CALL_HPP
#define STRATA_SQL_LITERAL_CALL_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What is wrong with a call.
enum class call_problem : std::uint8_t { none, mixed, unknown_name, repeated_name, missing_name, wrong_count };

/// Names parted by commas, apart again.
template <fixed_string Joined>
struct name_list {
    static constexpr std::size_t count() {
        std::size_t n = Joined.size() == 0 ? 0 : 1;
        for (const char c : Joined.characters) n += c == ',' ? 1U : 0U;
        return n;
    }
    static constexpr std::size_t size = count();
    std::string_view names[size + 1]{};

    constexpr name_list() {
        std::size_t begin = 0;
        std::size_t n = 0;
        for (std::size_t i = 0; i < Joined.size(); ++i) {
            if (Joined.characters[i] != ',') continue;
            names[n++] = {Joined.characters + begin, i - begin};
            begin = i + 1;
        }
        if (size > 0) names[n] = {Joined.characters + begin, Joined.size() - begin};
    }
};

template <class A>
inline constexpr bool is_named = false;
template <fixed_string Name, class Kept>
inline constexpr bool is_named<argument<Name, Kept>> = true;

template <class A>
struct name_of_argument {
    static constexpr std::string_view value{};
};
template <fixed_string Name, class Kept>
struct name_of_argument<argument<Name, Kept>> {
    static constexpr std::string_view value = Name.view();
};

/// What a call's arguments are: their names, empty where positional.
template <class... Arguments>
struct given_names {
    static constexpr std::size_t size = sizeof...(Arguments);
    std::string_view names[size + 1]{name_of_argument<Arguments>::value...};
    static constexpr std::size_t named = (std::size_t{0} + ... + (is_named<Arguments> ? 1U : 0U));
};

/// How a call fits one list of parameters: `from[p]` is the argument of parameter `p`.
template <std::size_t Parameters>
struct call_match {
    call_problem problem = call_problem::none;
    std::size_t culprit = 0;  ///< index of the argument (unknown, repeated) or of the parameter (missing) that is wrong
    std::uint16_t from[Parameters + 1]{};
};

/// `Rest`: arguments that no parameter names are ignored, as those of a struct's members are.
template <bool Rest, fixed_string Joined, class... Arguments>
constexpr auto match_call() {
    constexpr name_list<Joined> parameters{};
    constexpr given_names<Arguments...> given{};
    call_match<parameters.size> m;
    const auto fail = [&m](call_problem p, std::size_t culprit) {
        m.problem = p;
        m.culprit = culprit;
        return m;
    };
    if (given.named == 0) {
        if (given.size == 0 && parameters.size > 0) return fail(call_problem::missing_name, 0);
        if (given.size != parameters.size) return fail(call_problem::wrong_count, 0);
        for (std::size_t i = 0; i < given.size; ++i) m.from[i] = static_cast<std::uint16_t>(i);
        return m;
    }
    if (given.named != given.size) return fail(call_problem::mixed, 0);
    bool found[parameters.size + 1]{};
    for (std::size_t a = 0; a < given.size; ++a) {
        std::size_t p = 0;
        while (p < parameters.size && !same_text(parameters.names[p], given.names[a])) ++p;
        if (p == parameters.size) {
            if (Rest) continue;
            return fail(call_problem::unknown_name, a);
        }
        if (found[p]) return fail(call_problem::repeated_name, a);
        found[p] = true;
        m.from[p] = static_cast<std::uint16_t>(a);
    }
    for (std::size_t p = 0; p < parameters.size; ++p)
        if (!found[p]) return fail(call_problem::missing_name, p);
    return m;
}

/// One argument among others, reached by its index without recursion.
template <std::size_t I, class T>
struct indexed_argument {
    T&& value;
};
template <class Indices, class... Arguments>
struct argument_pack;
template <std::size_t... I, class... Arguments>
struct argument_pack<std::index_sequence<I...>, Arguments...> : indexed_argument<I, Arguments>... {};

/// How a bound statement keeps the argument that was given as `T&&`.
template <class T>
struct kept_argument {
    using type = kept<T>;
    [[nodiscard]] static constexpr type make(T&& given) { return keep(static_cast<T&&>(given)); }
};
template <class T>
    requires is_named<std::remove_cvref_t<T>>
struct kept_argument<T> {
    using type = decltype(std::remove_cvref_t<T>::value);
    [[nodiscard]] static constexpr type make(T&& given) {
        if constexpr (std::is_reference_v<type>)
            return given.value;
        else
            return static_cast<T&&>(given).value;
    }
};

template <std::size_t I, class T>
[[nodiscard]] constexpr typename kept_argument<T>::type take(const indexed_argument<I, T>& a) {
    return kept_argument<T>::make(static_cast<T&&>(a.value));
}

/// A call with the arguments `A&&...` against the parameters `Names`.
template <bool Rest, fixed_string Names, class... A>
struct call_of {
    static constexpr auto match = match_call<Rest, Names, std::remove_cvref_t<A>...>();
    static constexpr bool right = match.problem == call_problem::none;
    using order = std::make_index_sequence<right ? name_list<Names>::size : 0>;
};

template <class A>
inline constexpr bool is_argument_set = false;
template <class... A>
inline constexpr bool is_argument_set<argument_set<A...>> = true;

/// Holds the errors of a call; the compiler's note shows the statement's names and the arguments' types.
template <call_problem Problem>
struct call_check {
    using enum call_problem;
    static_assert(Problem != mixed, "strata: give all arguments by name (\"id\"_arg = 7) or all by position");
    static_assert(Problem != unknown_name,
                  "strata: an argument has a name that this statement does not know: use the names written as :name in its text");
    static_assert(Problem != repeated_name, "strata: an argument is given twice: give each name once");
    static_assert(Problem != missing_name, "strata: a parameter has no argument: give \"name\"_arg = value for each :name in the text");
    static_assert(Problem != wrong_count,
                  "strata: the number of arguments is wrong: give one for each different :name, in the order of their first appearance");
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What the lexer cuts a text into, and what can be wrong with a text.
#ifndef STRATA_SQL_TOKEN_HPP
#define STRATA_SQL_TOKEN_HPP

namespace strata::inline STRATA_ABI {

/// What is wrong with a text under one dialect, or with its parameters.
enum class text_problem : std::uint8_t {
    none,
    unterminated_string,
    unterminated_name,
    unterminated_comment,
    placeholder,    ///< `?` or `$1`, the drivers' own forms
    bad_parameter,  ///< a name that no database could tell from what follows
    bad_number,
    bad_blob,       ///< x'..' with an odd number of digits or other characters
    bad_character,  ///< belongs to no token of the dialect
    nul_character,
    too_deep,  ///< more than 64 open brackets
    list,      ///< `:name...` where lists are not possible
    torn,      ///< a string, name, comment or parameter runs across the border of a fragment
    arguments  ///< the arguments do not fit the parameters
};

/// What to write instead; static storage.
[[nodiscard]] constexpr std::string_view to_string(text_problem p) noexcept {
    constexpr std::string_view texts[] = {
        "no problem",
        "a string has no end: close it with ' and write a quote inside it twice",
        "a quoted name has no end: close it",
        "a comment has no end: close it with */",
        "? and $1 are placeholders of drivers: write :name",
        "a parameter's name is letters, digits and _, not followed by $",
        "letters follow a number: put a space between them",
        "a blob is x'..' with an even number of hexadecimal digits",
        "a character that belongs to no token of this dialect",
        "a text must not contain a NUL character",
        "more than 64 brackets are open",
        "a list is written in (:name...), alone in its parentheses",
        "a string, quoted name, comment or word runs from one fragment into the next: end it, or put a space, before the fragment",
        "arguments and parameters differ"};
    static_assert(sizeof(texts) / sizeof(texts[0]) == static_cast<std::size_t>(text_problem::arguments) + 1);
    return texts[static_cast<std::size_t>(p)];
}

namespace detail {

enum class token_kind : std::uint8_t {
    end,
    bad,   ///< see `token::problem`
    word,  ///< a key word or identifier that is not quoted
    number,
    string,     ///< every literal in quotes, with its prefix
    name,       ///< a quoted identifier
    parameter,  ///< :name
    list,       ///< :name...
    symbol      ///< punctuation, one character, or an operator
};

struct token {
    token_kind kind = token_kind::end;
    text_problem problem = text_problem::none;
    std::size_t begin = 0;
    std::size_t end = 0;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The words that decide a statement's facts: key words and names of functions, in sorted tables.
//
// Words are looked up by their first eight letters, folded to lower case and packed into a number: to compare two is one
// step of constant evaluation, and a word that is in no table, as most are, meets only those with its first letter.
#ifndef STRATA_SQL_WORDS_HPP
#define STRATA_SQL_WORDS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What a word means at the beginning of a statement, and what it may stand before.
enum class word_role : std::uint8_t {
    none,         ///< an ordinary identifier
    connective,   ///< a key word after which an operand or a parenthesis follows
    operand,      ///< a key word that may stand before a parenthesis without calling a function, such as a type
    query,        ///< select, values, table, with
    changing,     ///< insert, update, ...: begins a write, and makes one of a query that contains it
    writing,      ///< replace, truncate: begins a write; elsewhere an ordinary identifier
    ddl,          ///< create, alter, ...
    transaction,  ///< begin, commit, ...
    session,      ///< pragma, set, ...
    prepare,      ///< with `transaction` transaction control, else session
    start,        ///< with `transaction` transaction control
    explain,
};

/// Up to eight characters of a word as a number, the first highest. Setting the sixth bit folds ASCII letters; of the
/// characters that make up words no other two fall together with those of the tables.
[[nodiscard]] constexpr std::uint64_t fold_letters(const char* p, std::size_t size) noexcept {
    const std::size_t n = size < 8 ? size : 8;
    std::uint64_t letters = 0;
    for (std::size_t i = 0; i < n; ++i) letters = (letters << 8) | (static_cast<unsigned char>(p[i]) | 0x20U);
    return n == 0 ? 0 : letters << (64 - 8 * n);
}

[[nodiscard]] constexpr bool same_folded(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if ((static_cast<unsigned char>(a[i]) | 0x20U) != (static_cast<unsigned char>(b[i]) | 0x20U)) return false;
    return true;
}

/// An index over words in alphabetical order.
template <std::size_t Count>
struct word_index {
    std::string_view words[Count]{};
    std::uint64_t letters[Count]{};
    std::uint8_t begins[27]{};  // where the words with each first letter begin

    template <class Entry>
    constexpr explicit word_index(const Entry (&entries)[Count]) {
        static_assert(Count < 256);
        for (std::size_t i = 0; i < Count; ++i) {
            words[i] = entries[i];
            letters[i] = fold_letters(words[i].data(), words[i].size());
            ++begins[words[i].front() - 'a' + 1];
        }
        for (int letter = 1; letter < 27; ++letter) begins[letter] = static_cast<std::uint8_t>(begins[letter] + begins[letter - 1]);
    }
    [[nodiscard]] constexpr bool sorted() const noexcept {
        for (std::size_t i = 1; i < Count; ++i)
            if (words[i - 1] >= words[i]) return false;
        return true;
    }
    /// Index of the word, or `Count`.
    [[nodiscard]] constexpr std::size_t find(std::string_view word) const noexcept {
        const std::uint64_t wanted = fold_letters(word.data(), word.size());
        const std::uint64_t first = (wanted >> 56) - 'a';
        if (first > 25) return Count;
        for (std::size_t i = begins[first]; i < begins[first + 1]; ++i)
            if (letters[i] == wanted && (word.size() < 8 || same_folded(words[i], word))) return i;
        return Count;
    }
    [[nodiscard]] constexpr bool contains(std::string_view word) const noexcept { return find(word) != Count; }
};

struct key_word {
    std::string_view word;
    word_role role = word_role::none;

    constexpr operator std::string_view() const noexcept { return word; }  // NOLINT: an entry of an index
};

/// Words with a meaning, and a few ordinary ones that have one behind others (`for share`).
struct key_words {
    using enum word_role;
    static constexpr word_role n = none, c = connective, o = operand, q = query, m = changing, w = writing, d = ddl, t = transaction,
                               s = session;
    // clang-format off
    static constexpr key_word words[] = {
        {"abort", t}, {"all", o}, {"alter", d}, {"analyse", n}, {"analyze", n}, {"and", c}, {"any", o}, {"array", o}, {"as", c},
        {"atomic", n}, {"attach", s}, {"begin", t}, {"between", c}, {"bit", o}, {"by", c}, {"case", c}, {"char", o},
        {"character", o}, {"close", s}, {"comment", d}, {"commit", t}, {"create", d}, {"cross", c}, {"cube", o},
        {"deallocate", s}, {"decimal", o}, {"declare", s}, {"delete", m}, {"detach", s}, {"discard", s}, {"distinct", c},
        {"drop", d}, {"else", c}, {"end", t}, {"except", c}, {"exists", c}, {"explain", explain}, {"fetch", s}, {"filter", o},
        {"float", o}, {"for", n}, {"from", c}, {"grant", d}, {"group", o}, {"having", c}, {"ilike", c}, {"import", d},
        {"in", c}, {"insert", m}, {"intersect", c}, {"interval", o}, {"into", m}, {"is", c}, {"join", c}, {"key", n},
        {"lateral", c}, {"like", c}, {"limit", c}, {"listen", s}, {"load", s}, {"materialized", o}, {"merge", m}, {"move", s},
        {"not", c}, {"numeric", o}, {"offset", c}, {"on", c}, {"or", c}, {"over", o}, {"pragma", s}, {"precision", o},
        {"prepare", prepare}, {"reassign", d}, {"refresh", d}, {"release", t}, {"replace", w}, {"reset", s}, {"returning", c},
        {"revoke", d}, {"rollback", t}, {"rollup", o}, {"row", o}, {"savepoint", t}, {"security", d}, {"select", q}, {"set", s},
        {"share", n}, {"show", s}, {"some", o}, {"start", start}, {"table", q}, {"then", c}, {"time", o}, {"timestamp", o},
        {"transaction", n}, {"trigger", n}, {"truncate", w}, {"union", c}, {"unlisten", s}, {"update", m}, {"using", c},
        {"values", q}, {"varchar", o}, {"when", c}, {"where", c}, {"with", q}};
    // clang-format on
    static constexpr std::size_t count = sizeof(words) / sizeof(words[0]);
    static constexpr word_index<count> index{words};

    /// The role of the word at an index that `index.find` returned.
    [[nodiscard]] static constexpr word_role role(std::size_t i) noexcept { return i < count ? words[i].role : none; }
};
static_assert(key_words::index.sorted());

/// Functions that compute their value from their arguments, the rows or the time, and change nothing: a read that calls
/// no others may be repeated.
struct pure_functions {
    // clang-format off
    static constexpr std::string_view words[] = {
        "abs", "acos", "age", "array_agg", "array_length", "array_position", "asin", "atan", "atan2", "avg", "bit_length",
        "bool_and", "bool_or", "btrim", "cast", "cbrt", "ceil", "ceiling", "char_length", "chr", "coalesce", "concat",
        "concat_ws", "cos", "count", "cume_dist", "date", "date_part", "date_trunc", "datetime", "degrees", "dense_rank", "div",
        "every", "exp", "extract", "first_value", "floor", "format", "generate_series", "glob", "greatest", "group_concat",
        "grouping", "hex", "ifnull", "iif", "initcap", "instr", "json", "json_agg", "json_array", "json_array_length",
        "json_each", "json_extract", "json_object", "json_type", "json_valid", "jsonb_agg", "jsonb_array_length", "julianday",
        "lag", "last_value", "lead", "least", "left", "length", "ln", "log", "log10", "log2", "lower", "lpad", "ltrim", "max",
        "md5", "min", "mod", "now", "nth_value", "ntile", "nullif", "octet_length", "overlay", "percent_rank", "percentile_cont",
        "percentile_disc", "pi", "position", "pow", "power", "printf", "quote", "radians", "rank", "regexp_replace", "repeat",
        "replace", "reverse", "right", "round", "row_number", "rpad", "rtrim", "sign", "sin", "split_part", "sqrt", "stddev",
        "stddev_pop", "stddev_samp", "strftime", "string_agg", "strpos", "substr", "substring", "sum", "tan", "to_char",
        "to_date", "to_number", "to_timestamp", "total", "translate", "trim", "trunc", "typeof", "unicode", "unistr", "unixepoch",
        "unnest", "upper", "var_pop", "var_samp", "variance"};
    // clang-format on
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};
};
static_assert(pure_functions::index.sorted());

/// Functions that change something or answer about their own connection: a query that calls one is no read, for on a
/// reader or a replica it fails or answers for the wrong connection.
struct writing_functions {
    // clang-format off
    static constexpr std::string_view words[] = {
        "changes", "currval", "last_insert_rowid", "lastval", "load_extension", "nextval", "pg_current_xact_id",
        "pg_export_snapshot", "pg_notify", "set_config", "setseed", "setval", "total_changes", "txid_current"};
    // clang-format on
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};

    /// The same for families: pg_advisory_lock, pg_try_advisory_xact_lock, lo_create, dblink_exec, ...
    [[nodiscard]] static constexpr bool contains(std::string_view word) noexcept {
        constexpr std::string_view families[] = {"dblink", "lo_", "pg_advisory", "pg_create", "pg_drop", "pg_try_advisory"};
        for (const std::string_view family : families)
            if (word.size() > family.size() && same_folded(word.substr(0, family.size()), family)) return true;
        return index.contains(word);
    }
};
static_assert(writing_functions::index.sorted());

/// Those of them that neither set anything for their session nor ask about it.
struct passing_functions {
    static constexpr std::string_view words[] = {"nextval", "pg_current_xact_id", "pg_notify", "setval", "txid_current"};
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};
};
static_assert(passing_functions::index.sorted());

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Finds a text's facts from its tokens: how many statements, of which kind, and whether all they call is known to be pure.
//
// It errs to one side only. A column named `update` may make a write of a read; nothing makes a read of a write.
#ifndef STRATA_SQL_CLASSIFIER_HPP
#define STRATA_SQL_CLASSIFIER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Fed with every token of a text in order, then asked.
class classifier {
public:
    constexpr classifier(std::string_view text, dialect d) noexcept : text_(text), postgres_(d == dialect::postgres) {}

    constexpr void take(const token& t) noexcept {
        const char c = t.kind == token_kind::symbol ? text_[t.begin] : '\0';
        if (c == ';') {
            if (body_ == 0 && parentheses_ == 0) return end_statement();
        } else if (!begun_) {
            begun_ = true;
            if (count_ != 0xffff) ++count_;
        }
        if (t.kind == token_kind::word) {
            take_word({text_.data() + t.begin, t.end - t.begin});
            return;
        }
        if (verb_ == verb::none && (c != '(' || first_ != word_role::none)) verb_ = verb::fixed;  // nothing begins so
        if (c == '(') {
            ++parentheses_;
            note_call();
        } else if (c == ')' && parentheses_ > 0) {
            --parentheses_;
        }
        closed_ = c == ')';
        qualified_ = c == '.' && t.end - t.begin == 1;
        callee_ = t.kind == token_kind::name ? callee::quoted : callee::none;
        if (t.kind == token_kind::name) callee_text_ = {text_.data() + t.begin + 1, t.end - t.begin - 2};
        previous_ = key_words::count;
    }

    constexpr void finish() noexcept { end_statement(); }

    [[nodiscard]] constexpr std::uint16_t statements() const noexcept { return count_; }
    [[nodiscard]] constexpr statement_kind kind() const noexcept { return finished_ ? kind_ : statement_kind::other; }
    /// True when the other dialect would have found the same from the same tokens.
    [[nodiscard]] constexpr bool neutral() const noexcept { return !differs_; }
    /// All are reads, and all functions are in the list.
    [[nodiscard]] constexpr bool idempotent() const noexcept { return kind() == statement_kind::read && pure_; }
    /// A function is called that is about its own session, or a table made by `select into`.
    [[nodiscard]] constexpr bool on_session() const noexcept { return on_session_; }

private:
    static constexpr std::size_t is_analyse = key_words::index.find("analyse"), is_analyze = key_words::index.find("analyze"),
                                 is_atomic = key_words::index.find("atomic"), is_begin = key_words::index.find("begin"),
                                 is_case = key_words::index.find("case"), is_create = key_words::index.find("create"),
                                 is_end = key_words::index.find("end"), is_filter = key_words::index.find("filter"),
                                 is_for = key_words::index.find("for"), is_insert = key_words::index.find("insert"),
                                 is_into = key_words::index.find("into"), is_key = key_words::index.find("key"),
                                 is_merge = key_words::index.find("merge"), is_over = key_words::index.find("over"),
                                 is_share = key_words::index.find("share"), is_transaction = key_words::index.find("transaction"),
                                 is_trigger = key_words::index.find("trigger"), is_with = key_words::index.find("with");

    enum class verb : std::uint8_t { none, query, with, explain, fixed };
    enum class callee : std::uint8_t { none, word, quoted, qualified };

    constexpr void take_word(std::string_view text) noexcept {
        const std::size_t word = key_words::index.find(text);
        const word_role role = key_words::role(word);
        callee_ = qualified_ ? callee::qualified : may_call(role, word) ? callee::word : callee::none;
        callee_text_ = text;
        qualified_ = closed_ = false;
        switch (verb_) {
            case verb::none:
                if (first_ == word_role::none)
                    begin(role, word);
                else
                    second(word);
                break;
            case verb::explain:
                take_explained(role, word);
                break;
            case verb::query:
            case verb::with:
                take_in_query(role, word);
                break;
            case verb::fixed:
                take_body(word);
                break;
        }
        previous_ = word;
    }

    /// Whether a word before a parenthesis is a function's name; `over` and `filter` are key words only behind a call.
    [[nodiscard]] constexpr bool may_call(word_role role, std::size_t word) const noexcept {
        switch (role) {
            case word_role::connective:
            case word_role::query:
            case word_role::changing:
            case word_role::explain:
                return false;
            case word_role::operand:
                return !closed_ && (word == is_over || word == is_filter);
            default:
                return true;
        }
    }

    constexpr void begin(word_role role, std::size_t word) noexcept {
        if (role == word_role::prepare || role == word_role::start) {
            first_ = role;
            current_ = role == word_role::prepare ? statement_kind::session : statement_kind::other;
        } else if (role == word_role::explain) {
            verb_ = verb::explain;
        } else if (role == word_role::query) {
            verb_ = word == is_with ? verb::with : verb::query;
            current_ = verb_ == verb::with ? statement_kind::other : statement_kind::read;
        } else {
            verb_ = verb::fixed;
            current_ = kind_of(role);
            create_ = word == is_create;
        }
    }
    constexpr void second(std::size_t word) noexcept {
        verb_ = verb::fixed;
        if (word == is_transaction) current_ = statement_kind::transaction_control;
    }
    [[nodiscard]] static constexpr statement_kind kind_of(word_role role) noexcept {
        switch (role) {
            case word_role::changing:
            case word_role::writing:
                return statement_kind::write;
            case word_role::ddl:
                return statement_kind::ddl;
            case word_role::transaction:
                return statement_kind::transaction_control;
            case word_role::session:
                return statement_kind::session;
            default:
                return statement_kind::other;
        }
    }

    /// Behind explain: options until a word that begins a statement. Without analyze the statement does not run.
    constexpr void take_explained(word_role role, std::size_t word) noexcept {
        if (word == is_analyze || word == is_analyse) {
            runs_ = true;
        } else if (role == word_role::query || role == word_role::changing || role == word_role::writing || role == word_role::ddl) {
            if (role == word_role::ddl) {  // SQLite takes even the explanation for a change
                verb_ = verb::fixed;
                current_ = statement_kind::write;
            } else if (!runs_) {
                verb_ = verb::fixed;
                current_ = statement_kind::read;
            } else {
                begin(role, word);
            }
        } else if (role == word_role::session || role == word_role::transaction || role == word_role::prepare) {
            verb_ = verb::fixed;  // SQLite acts on some pragmas while it prepares them, explained or not
        }
    }

    constexpr void take_in_query(word_role role, std::size_t word) noexcept {
        const bool locks = previous_ == is_for && (word == is_share || word == is_key);
        if (role == word_role::changing || locks) {
            current_ = statement_kind::write;  // select into, select for update, with ... delete
            if (word == is_into && previous_ != is_insert && previous_ != is_merge) on_session_ = true;  // perhaps a temporary table
        } else if (verb_ == verb::with && role == word_role::query && current_ == statement_kind::other) {
            current_ = statement_kind::read;
        }
    }

    /// The body of a trigger (SQLite) or function (PostgreSQL's begin atomic) holds semicolons of its own.
    constexpr void take_body(std::size_t word) noexcept {
        if (!create_) return;
        if (body_ == 0) {
            differs_ = true;
            if (!postgres_ && word == is_trigger) trigger_ = true;
            const bool atomic = postgres_ && previous_ == is_begin && word == is_atomic;
            if (atomic || (trigger_ && word == is_begin)) body_ = 1;
        } else if (word == is_case) {
            ++body_;
        } else if (word == is_end) {
            --body_;
        }
    }

    /// At a parenthesis: what stands before it may be a function's name.
    constexpr void note_call() noexcept {
        if (callee_ == callee::none) return;
        if (callee_ != callee::word || !pure_functions::index.contains(callee_text_)) pure_ = false;
        if (!writing_functions::contains(callee_text_)) return;
        calls_writer_ = true;
        if (!passing_functions::index.contains(callee_text_)) on_session_ = true;
    }

    constexpr void end_statement() noexcept {
        if (begun_) {
            statement_kind kind = current_;
            if (kind == statement_kind::read && calls_writer_) kind = statement_kind::write;
            kind_ = finished_ ? join_kinds(kind_, kind) : kind;
            finished_ = true;
        }
        begun_ = runs_ = create_ = trigger_ = calls_writer_ = qualified_ = closed_ = false;
        verb_ = verb::none;
        first_ = word_role::none;
        current_ = statement_kind::other;
        callee_ = callee::none;
        previous_ = key_words::count;
        parentheses_ = body_ = 0;
    }

    std::string_view text_;
    bool postgres_;
    // of the whole text
    bool finished_ = false;
    bool pure_ = true;
    bool on_session_ = false;
    bool differs_ = false;
    statement_kind kind_ = statement_kind::other;
    std::uint16_t count_ = 0;
    // of the current statement
    bool begun_ = false;
    bool runs_ = false;
    bool create_ = false;
    bool trigger_ = false;
    bool calls_writer_ = false;
    verb verb_ = verb::none;
    word_role first_ = word_role::none;
    statement_kind current_ = statement_kind::other;
    unsigned parentheses_ = 0;
    unsigned body_ = 0;
    std::size_t previous_ = key_words::count;  // word; the number of words if it was none
    // of the last token
    bool qualified_ = false;
    bool closed_ = false;
    callee callee_ = callee::none;
    std::string_view callee_text_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One lexer for both dialects, at compile time and at run time: it cuts a text into tokens just finely enough to find
// parameters and facts, and to never take a colon in a string, a name, a comment, a cast or a slice for one.
// A parameter is a colon directly followed by a letter, _ or a byte >= 0x80. A colon that is none is followed by
// something else (`arr[1:2]`, `arr[lo : hi]`), or belongs to `::` or `:=`, or stands between the bounds of a slice:
// inside the brackets of PostgreSQL and behind an operand (`arr[1:n]`, n being a column).
#ifndef STRATA_SQL_LEXER_HPP
#define STRATA_SQL_LEXER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Classes of characters: one look-up each.
struct character_table {
    /// `operation`: characters of operators in both dialects; `special`: in PostgreSQL only, but for `!=`.
    static constexpr unsigned char blank = 1, start = 2, more = 4, digit = 8, operation = 16, special = 32, hexadecimal = 64;
    unsigned char classes[256]{};

    constexpr character_table() {
        for (int c = 0; c < 256; ++c) {
            const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
            if (letter) classes[c] = start | more;
            if (c >= '0' && c <= '9') classes[c] = digit | more | hexadecimal;
            if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) classes[c] |= hexadecimal;
        }
        for (const char c : {' ', '\t', '\n', '\r', '\f'}) classes[static_cast<unsigned char>(c)] = blank;
        for (const char c : {'~', '&', '|', '+', '-', '*', '/', '%', '<', '>', '='}) classes[static_cast<unsigned char>(c)] = operation;
        for (const char c : {'!', '@', '#', '^', '`', '?'}) classes[static_cast<unsigned char>(c)] = special;
        classes[static_cast<unsigned char>('$')] = more;
    }
};
inline constexpr character_table characters{};

/// The text ends with a NUL that is not part of it, so that looking one character ahead needs no question.
class lexer {
public:
    constexpr lexer(std::string_view text, strata::dialect d) noexcept
        : text_(text.data()), size_(text.size()), postgres_(d == strata::dialect::postgres) {}

    /// The next token; `end` at the end, for ever. After a `bad` one the lexer is not to be used any more.
    constexpr token next() noexcept {
        const std::size_t comment = skip_blank();
        if (comment != none) return {token_kind::bad, at_end(text_problem::unterminated_comment), comment, at_};
        token t{token_kind::symbol, text_problem::none, at_, at_};
        const unsigned char c = class_of(at_);
        if ((c & character_table::start) != 0)
            lex_word(t);
        else if ((c & character_table::digit) != 0)
            lex_number(t);
        else if (at_ == size_)
            t.kind = token_kind::end;
        else
            lex_other(t);
        t.end = at_;
        if (t.problem != text_problem::none) t.kind = token_kind::bad;
        last_ = t;
        return t;
    }

    /// The first character of the next token, or NUL at the end: what follows the last token.
    [[nodiscard]] constexpr char following() noexcept {
        lexer ahead = *this;
        const bool some = ahead.skip_blank() == none;
        asked_ = asked_ || ahead.asked_;
        return some ? ahead.text_[ahead.at_] : '\0';
    }

    /// True while nothing was met that depends on the dialect: so far the other one's tokens are the same.
    [[nodiscard]] constexpr bool neutral() const noexcept { return !asked_; }

private:
    static constexpr std::size_t none = ~std::size_t{0};

    /// Every decision between the dialects is made through this.
    [[nodiscard]] constexpr bool postgres() noexcept {
        asked_ = true;
        return postgres_;
    }
    [[nodiscard]] constexpr unsigned char class_of(std::size_t position) const noexcept {
        return characters.classes[static_cast<unsigned char>(text_[position])];
    }
    [[nodiscard]] constexpr bool is(std::size_t position, unsigned char mask) const noexcept { return (class_of(position) & mask) != 0; }
    [[nodiscard]] constexpr bool begins(char first, char second) const noexcept { return text_[at_] == first && text_[at_ + 1] == second; }
    constexpr void skip(unsigned char mask) noexcept {
        while ((characters.classes[static_cast<unsigned char>(text_[at_])] & mask) != 0) ++at_;
    }
    /// A NUL ends everything; one inside the text is the problem then.
    [[nodiscard]] constexpr text_problem at_end(text_problem p) const noexcept { return at_ < size_ ? text_problem::nul_character : p; }

    /// Skips white space and comments. Returns `none`, or where a comment begins that has no end.
    constexpr std::size_t skip_blank() noexcept {
        for (;;) {
            skip(character_table::blank);
            if (text_[at_] != '-' && text_[at_] != '/') return none;
            if (begins('-', '-')) {
                skip_line();
            } else if (begins('/', '*')) {
                const std::size_t begin = at_;
                if (!skip_block()) return begin;
            } else {
                return none;
            }
        }
    }
    constexpr void skip_line() noexcept {  // only PostgreSQL ends a line at a carriage return
        while (text_[at_] != '\0' && text_[at_] != '\n' && !(text_[at_] == '\r' && postgres())) ++at_;
    }
    constexpr bool skip_block() noexcept {  // only PostgreSQL nests them
        at_ += 2;
        for (std::size_t depth = 1; depth != 0;) {
            while (text_[at_] != '*' && text_[at_] != '/' && text_[at_] != '\0') ++at_;
            if (text_[at_] == '\0') return false;
            if (begins('*', '/'))
                --depth, at_ += 2;
            else if (begins('/', '*') && postgres())
                ++depth, at_ += 2;
            else
                ++at_;
        }
        return true;
    }

    /// From the opening quote to behind the closing one; a doubled quote is part of the text, but for SQLite's [name].
    constexpr bool skip_quoted(char quote, bool backslash) noexcept {
        for (++at_;; ++at_) {
            while (text_[at_] != quote && text_[at_] != '\0' && !(text_[at_] == '\\' && backslash)) ++at_;
            if (text_[at_] == '\\' && backslash)
                ++at_;
            else if (text_[at_] == quote && text_[at_ + 1] == quote && quote != ']')
                ++at_;
            else
                break;
            if (text_[at_] == '\0') break;
        }
        if (text_[at_] == '\0') return false;
        ++at_;
        return true;
    }
    constexpr void lex_string(token& t, bool backslash) noexcept {
        t.kind = token_kind::string;
        do {
            if (skip_quoted('\'', backslash)) continue;
            t.problem = at_end(text_problem::unterminated_string);
            return;
        } while (backslash && continues());
    }
    /// PostgreSQL joins strings that only white space with a line break (and -- comments) part, and the second follows
    /// the rules of the first. It matters where a backslash escapes a quote.
    constexpr bool continues() noexcept {
        lexer ahead = *this;
        bool line_break = false;
        for (;;) {
            const std::size_t blank = ahead.at_;
            ahead.skip(character_table::blank);
            for (std::size_t i = blank; i < ahead.at_; ++i) line_break = line_break || text_[i] == '\n' || text_[i] == '\r';
            if (!ahead.begins('-', '-')) break;
            ahead.skip_line();
        }
        if (!line_break || text_[ahead.at_] != '\'') return false;
        at_ = ahead.at_;
        return true;
    }
    constexpr void lex_name(token& t, char quote) noexcept {
        t.kind = token_kind::name;
        if (!skip_quoted(quote, false)) t.problem = at_end(text_problem::unterminated_name);
    }

    constexpr void lex_word(token& t) noexcept {
        t.kind = token_kind::word;
        skip(character_table::more);
        // SQLite takes a byte order mark for white space wherever a token begins, and would see another word
        if (text_[t.begin] == '\xEF' && text_[t.begin + 1] == '\xBB' && text_[t.begin + 2] == '\xBF' && !postgres())
            t.problem = text_problem::bad_character;
        if (at_ - t.begin != 1) return;
        const char prefix = static_cast<char>(text_[t.begin] | 0x20);
        const char c = text_[at_];
        if ((c != '\'' && c != '&') || (prefix != 'e' && prefix != 'x' && prefix != 'b' && prefix != 'n' && prefix != 'u')) return;
        if (!postgres()) {
            if (c == '\'' && prefix == 'x') lex_sqlite_blob(t);
        } else if (c == '\'' && prefix != 'u') {
            lex_string(t, prefix == 'e');
        } else if (prefix == 'u' && c == '&' && (text_[at_ + 1] == '\'' || text_[at_ + 1] == '"')) {
            ++at_;
            if (text_[at_] == '"')
                lex_name(t, '"');
            else
                lex_string(t, false);
        }
    }
    constexpr void lex_sqlite_blob(token& t) noexcept {
        t.kind = token_kind::string;
        const std::size_t begin = ++at_;
        skip(character_table::hexadecimal);
        if (text_[at_] != '\'' || (at_ - begin) % 2 != 0)
            t.problem = text_problem::bad_blob;
        else
            ++at_;
    }

    constexpr void lex_number(token& t) noexcept {
        t.kind = token_kind::number;
        const char radix = text_[at_] == '0' ? static_cast<char>(text_[at_ + 1] | 0x20) : ' ';
        if (radix == 'x' || radix == 'o' || radix == 'b') {
            at_ += 2;
            const std::size_t digits = at_;
            while (is(at_, character_table::hexadecimal) || text_[at_] == '_') ++at_;
            if (at_ == digits) t.problem = text_problem::bad_number;
        } else {
            lex_digits();
            if (text_[at_] == '.' && text_[at_ + 1] != '.') {  // 1..2 is a range
                ++at_;
                lex_digits();
            }
            if ((text_[at_] | 0x20) == 'e') {
                const bool sign = text_[at_ + 1] == '+' || text_[at_ + 1] == '-';
                if (is(at_ + (sign ? 2U : 1U), character_table::digit)) {
                    at_ += sign ? 2U : 1U;
                    lex_digits();
                }
            }
        }
        if (is(at_, character_table::more)) t.problem = text_problem::bad_number;
    }
    constexpr void lex_digits() noexcept {
        while (is(at_, character_table::digit) || (text_[at_] == '_' && is(at_ + 1, character_table::digit))) ++at_;
    }

    constexpr void lex_other(token& t) noexcept {
        const char c = text_[at_];
        switch (c) {
            case '\'':
                return lex_string(t, false);
            case '"':
                return lex_name(t, '"');
            case ':':
                return lex_colon(t);
            case '$':
                return lex_dollar(t);
            case '(':
            case ')':
            case ',':
            case ';':
                break;
            case '[':
                if (!postgres()) return lex_name(t, ']');
                break;
            case ']':
                if (!postgres()) t.problem = text_problem::bad_character;
                break;
            case '.':
                if (is(at_ + 1, character_table::digit)) return lex_number(t);
                if (text_[at_ + 1] == '.') ++at_;
                break;
            case '\0':
                t.problem = text_problem::nul_character;
                break;
            default:
                if (is(at_, character_table::operation | character_table::special)) return lex_operator(t);
                t.problem = text_problem::bad_character;
        }
        ++at_;
        track_brackets(t, c);
    }

    constexpr void track_brackets(token& t, char c) noexcept {
        if (c == '(' || c == '[') {
            if (depth_ == 64) t.problem = text_problem::too_deep;
            square_ = (square_ << 1) | (c == '[' ? 1U : 0U);
            ++depth_;
        } else if ((c == ')' || c == ']') && depth_ > 0) {
            square_ >>= 1;
            --depth_;
        }
    }

    /// The longest run of an operator's characters, ended by a comment. Where all are common to both dialects nobody
    /// needs to know that SQLite would see several operators.
    constexpr void lex_operator(token& t) noexcept {
        lex_run(character_table::operation);
        if (text_[at_] == '!' && text_[at_ + 1] == '=' && at_ == t.begin) {
            at_ += 2;
            lex_run(character_table::operation);
        }
        if (!is(at_, character_table::special)) return;
        if (postgres()) {
            lex_run(character_table::operation | character_table::special);
            if (text_[at_ - 1] == '?' && is_placeholder(t.begin)) t.problem = text_problem::placeholder;
        } else if (at_ == t.begin) {
            lex_sqlite_special(t);
        }
    }
    constexpr void lex_run(unsigned char mask) noexcept {
        while (is(at_, mask) && !begins('-', '-') && !begins('/', '*')) ++at_;
    }
    /// `?` is an operator only between operands; no operator ends `=?`.
    [[nodiscard]] constexpr bool is_placeholder(std::size_t begin) noexcept {
        if (at_ - begin > 1) {
            for (std::size_t i = begin; i + 1 < at_; ++i)
                if (text_[i] != '=' && text_[i] != '<' && text_[i] != '>' && text_[i] != '!') return false;
            return true;
        }
        const char after = following();
        return !after_operand() || after == '\0' || after == ')' || after == ',' || after == ';';
    }
    constexpr void lex_sqlite_special(token& t) noexcept {
        const char c = text_[at_];
        if (c == '`') return lex_name(t, '`');
        ++at_;
        if (c == '?' || (c == '@' && is(at_, character_table::more)))
            t.problem = text_problem::placeholder;
        else if (c != '!' || text_[at_] != '=')
            t.problem = text_problem::bad_character;
    }

    constexpr void lex_colon(token& t) noexcept {
        const bool slice = (square_ & 1U) != 0;  // only PostgreSQL has brackets
        const char c = text_[at_ + 1];
        if (is(at_ + 1, character_table::start)) {
            if (slice && after_operand())
                ++at_;
            else
                lex_parameter(t);
        } else if (is(at_ + 1, character_table::digit) && !slice) {
            t.problem = text_problem::placeholder;
        } else {
            if (!postgres()) t.problem = text_problem::bad_character;
            at_ += c == ':' || c == '=' ? 2 : 1;
        }
    }
    constexpr void lex_parameter(token& t) noexcept {
        t.kind = token_kind::parameter;
        ++at_;
        skip(character_table::more);
        for (std::size_t i = t.begin; i < at_; ++i)
            if (text_[i] == '$') t.problem = text_problem::bad_parameter;
        if (text_[at_] == '.' && text_[at_ + 1] == '.' && text_[at_ + 2] == '.') {
            t.kind = token_kind::list;
            at_ += 3;
        }
    }

    constexpr void lex_dollar(token& t) noexcept {
        const bool named = is(at_ + 1, character_table::start);
        if (is(at_ + 1, character_table::digit) || (named && !postgres())) {
            t.problem = text_problem::placeholder;
            return;
        }
        std::size_t tag_end = at_ + 1;
        while (is(tag_end, character_table::more) && text_[tag_end] != '$') ++tag_end;
        if (!postgres() || text_[tag_end] != '$') {
            t.problem = text_problem::bad_character;
            return;
        }
        const std::string_view tag{text_ + at_, tag_end - at_ + 1};
        t.kind = token_kind::string;
        for (at_ = tag_end + 1; text_[at_] != '\0'; ++at_) {
            if (text_[at_] != '$' || size_ - at_ < tag.size() || !same_text({text_ + at_, tag.size()}, tag)) continue;
            at_ += tag.size();
            return;
        }
        t.problem = at_end(text_problem::unterminated_string);
    }

    /// Whether the last token ends an operand, so that an infix operator or a slice's colon may follow.
    [[nodiscard]] constexpr bool after_operand() const noexcept {
        switch (last_.kind) {
            case token_kind::word: {
                const word_role role = key_words::role(key_words::index.find({text_ + last_.begin, last_.end - last_.begin}));
                return role != word_role::connective && role != word_role::query;
            }
            case token_kind::number:
            case token_kind::string:
            case token_kind::name:
            case token_kind::parameter:
                return true;
            case token_kind::symbol:
                return text_[last_.begin] == ')' || text_[last_.begin] == ']';
            default:
                return false;
        }
    }

    const char* text_;
    std::size_t size_;
    bool postgres_;
    bool asked_ = false;
    std::size_t at_ = 0;
    std::uint64_t square_ = 0;  // innermost bracket in the lowest bit: 1 for [
    unsigned depth_ = 0;
    token last_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One pass over a text under one dialect: its facts, its parameters, or the first thing that is wrong with it.
#ifndef STRATA_SQL_READING_HPP
#define STRATA_SQL_READING_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What a text is under one dialect.
struct reading {
    text_problem problem = text_problem::none;
    std::size_t position = 0;  ///< of the problem, in bytes
    statement_kind kind = statement_kind::other;
    bool idempotent = false;
    std::uint16_t statements = 0;
    bool on_session = false;
    bool neutral = false;  ///< the other dialect reads the text in the same way

    [[nodiscard]] constexpr bool fits() const noexcept { return problem == text_problem::none; }
};

/// A parameter where it stands in the text.
struct occurrence {
    std::size_t begin = 0;  ///< of the colon
    std::size_t end = 0;    ///< behind the name, for a list behind its dots
    bool list = false;
    bool negated = false;      ///< a list behind `not in`
    std::size_t in_begin = 0;  ///< a list's `in` or `not in`
    std::size_t close = 0;     ///< behind a list's closing parenthesis

    [[nodiscard]] constexpr std::string_view name(std::string_view text) const noexcept {
        return {text.data() + begin + 1, end - begin - (list ? 4 : 1)};
    }
};

/// Reads a text, in one go or in several.
class text_reader {
public:
    constexpr text_reader(std::string_view text, dialect d) noexcept : text_(text), lexer_(text, d), facts_(text, d) {}

    /// Reads the tokens that begin before `until`. `on_token(const token&)` sees each token, `on_parameter(const
    /// occurrence&)` each parameter, in order; both return what is wrong, or `text_problem::none`.
    template <class OnToken, class OnParameter>
    constexpr void read(std::size_t until, OnToken&& on_token, OnParameter&& on_parameter) {
        while (!finished_ && last_.begin < until) {
            token t = lexer_.next();
            if (t.kind == token_kind::end) return finish();
            const std::size_t begin = t.begin;
            text_problem problem = t.problem;
            if (problem == text_problem::none) problem = on_token(t);
            if (problem == text_problem::none && t.kind == token_kind::parameter) problem = on_parameter(occurrence{t.begin, t.end});
            if (problem == text_problem::none && t.kind == token_kind::list) problem = read_list(t, on_token, on_parameter);
            if (problem != text_problem::none) {
                finished_ = true;
                read_.problem = problem;
                read_.position = begin;
                read_.neutral = lexer_.neutral();
                return;
            }
            note(t);
        }
    }
    [[nodiscard]] constexpr const reading& result() const noexcept { return read_; }

private:
    constexpr void note(const token& t) noexcept {
        facts_.take(t);
        before_[0] = before_[1];
        before_[1] = last_;
        last_ = t;
    }
    constexpr void finish() noexcept {
        finished_ = true;
        facts_.finish();
        read_.neutral = lexer_.neutral() && facts_.neutral();
        read_.kind = facts_.kind();
        read_.idempotent = facts_.idempotent();
        read_.statements = facts_.statements();
        read_.on_session = facts_.on_session();
    }
    [[nodiscard]] constexpr bool is_word(const token& t, std::string_view word) const noexcept {
        return t.kind == token_kind::word && same_folded(text_.substr(t.begin, t.end - t.begin), word);
    }
    /// `[not] in (:name...)`; leaves `t` at the closing parenthesis.
    template <class OnToken, class OnParameter>
    constexpr text_problem read_list(token& t, OnToken& on_token, OnParameter& on_parameter) {
        const bool open = last_.kind == token_kind::symbol && text_[last_.begin] == '(';
        if (!open || !is_word(before_[1], "in") || lexer_.following() != ')') return text_problem::list;
        occurrence list{t.begin, t.end, true, is_word(before_[0], "not"), before_[1].begin, 0};
        if (list.negated) list.in_begin = before_[0].begin;
        facts_.take(t);
        t = lexer_.next();
        list.close = t.end;
        const text_problem problem = on_parameter(list);
        return problem != text_problem::none ? problem : on_token(t);
    }

    std::string_view text_;
    lexer lexer_;
    classifier facts_;
    reading read_;
    bool finished_ = false;
    token before_[2];  // what stands before the last token
    token last_;
};

/// Reads a whole text.
template <class OnToken, class OnParameter>
constexpr reading read_text(std::string_view text, dialect d, OnToken&& on_token, OnParameter&& on_parameter) {
    text_reader reader(text, d);
    reader.read(~std::size_t{0}, on_token, on_parameter);
    return reader.result();
}

/// What two dialects say together: the kind both can answer for, idempotent only if both are.
[[nodiscard]] constexpr reading join_readings(const reading& a, const reading& b) noexcept {
    if (!b.fits()) return a;
    if (!a.fits()) return b;
    reading r = a;
    r.kind = join_kinds(a.kind, b.kind);
    r.idempotent = a.idempotent && b.idempotent;
    r.on_session = a.on_session || b.on_session;
    r.statements = a.statements > b.statements ? a.statements : b.statements;
    return r;
}

/// Writes a text in pieces; without a place to write to it only counts, so that one algorithm measures and writes.
struct text_writer {
    char* out = nullptr;
    std::size_t size = 0;
    bool writes = false;  // g++ under -fsanitize=undefined compares no address with null in a constant expression

    constexpr text_writer() noexcept = default;
    constexpr explicit text_writer(char* to) noexcept : out(to), writes(true) {}

    constexpr void put(char c) noexcept {
        if (writes) out[size] = c;
        ++size;
    }
    constexpr void put(std::string_view s) noexcept {
        if (writes)
            for (std::size_t i = 0; i < s.size(); ++i) out[size + i] = s[i];
        size += s.size();
    }
    /// `$7` or `?7`, apart from a word or number before it: PostgreSQL's identifiers may contain `$`.
    constexpr void put_placeholder(dialect d, unsigned number, char before) noexcept {
        if ((characters.classes[static_cast<unsigned char>(before)] & character_table::more) != 0) put(' ');
        put(d == dialect::postgres ? '$' : '?');
        unsigned unit = 1;
        while (number / unit >= 10) unit *= 10;
        for (; unit != 0; unit /= 10) put(static_cast<char>('0' + number / unit % 10));
    }
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The compile-time side of `"..."_sql`: reads a literal under both dialects and lays out its descriptor.
//
// Each step is a constant of its own, so that each has the whole budget of constant evaluation that compilers allow.
// One variable a literal is emitted; its name carries the text, so everything else is kept out of it.
#ifndef STRATA_SQL_LITERAL_TEXT_HPP
#define STRATA_SQL_LITERAL_TEXT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

inline constexpr std::size_t literal_limit = 16 * 1024;

/// A literal under one dialect. `Capacity` is the number of colons in the text: there are no more parameters. Names are
/// found by hashing, or a literal of a thousand parameters would exceed the compilers' limits.
template <std::size_t Capacity>
struct literal_reading {
    reading read;
    std::size_t count = 0;                 // of occurrences
    std::size_t parameters = 0;            // of different names
    std::uint16_t begins[Capacity + 1]{};  // of each occurrence
    std::uint16_t ends[Capacity + 1]{};
    std::uint16_t numbers[Capacity + 1]{};  // of each occurrence: its parameter, from 0
    std::uint16_t firsts[Capacity + 1]{};   // of each parameter: its first occurrence

    constexpr void add(std::string_view text, const occurrence& o) {
        begins[count] = static_cast<std::uint16_t>(o.begin);
        ends[count] = static_cast<std::uint16_t>(o.end);
        numbers[count] = number_of(text, o.name(text));
        ++count;
    }

    [[nodiscard]] constexpr std::string_view name(std::string_view text, std::size_t parameter) const noexcept {
        const std::size_t o = firsts[parameter];
        return {text.data() + begins[o] + 1, static_cast<std::size_t>(ends[o] - begins[o] - 1)};
    }
    /// The parameter of this name, or `parameters`.
    [[nodiscard]] constexpr std::size_t find(std::string_view text, std::string_view wanted) const noexcept {
        const std::size_t b = bucket_of(text, wanted);
        return buckets[b] != 0 ? buckets[b] - 1U : parameters;
    }

private:
    constexpr std::uint16_t number_of(std::string_view text, std::string_view wanted) {
        const std::size_t b = bucket_of(text, wanted);
        if (buckets[b] == 0) {
            firsts[parameters++] = static_cast<std::uint16_t>(count);
            buckets[b] = static_cast<std::uint16_t>(parameters);
        }
        return static_cast<std::uint16_t>(buckets[b] - 1);
    }
    /// Where the name is, or would be.
    [[nodiscard]] constexpr std::size_t bucket_of(std::string_view text, std::string_view wanted) const noexcept {
        std::size_t hash = 0;
        for (const char c : wanted) hash = hash * 31 + static_cast<unsigned char>(c);
        std::size_t b = hash % bucket_count;
        while (buckets[b] != 0 && !same_text(name(text, buckets[b] - 1U), wanted)) b = (b + 1) % bucket_count;
        return b;
    }

    static constexpr std::size_t bucket_count = 2 * Capacity + 3;  // odd, and never full
    std::uint16_t buckets[bucket_count]{};                         // a parameter and one, or 0
};

/// A literal that is being read.
template <std::size_t Capacity>
struct literal_reader {
    text_reader reader;
    literal_reading<Capacity> found;

    constexpr literal_reader(std::string_view text, dialect d) : reader(text, d) {}

    [[nodiscard]] constexpr literal_reader read(std::string_view text, std::size_t until) const {
        literal_reader next = *this;
        next.reader.read(
            until, [](const token&) { return text_problem::none; },
            [&](const occurrence& o) {
                if (o.list) return text_problem::list;
                next.found.add(text, o);
                return text_problem::none;
            });
        next.found.read = next.reader.result();
        return next;
    }
};

/// Writes the text with placeholders that carry the numbers of `names`; `Same`: `names` is `r`. (No comparison of addresses: g++ 12
/// with UBSan takes none for a constant.)
template <bool Same, std::size_t Capacity>
constexpr void write_literal(text_writer& out, std::string_view text, dialect d, const literal_reading<Capacity>& r,
                             const literal_reading<Capacity>& names) {
    std::size_t from = 0;
    for (std::size_t i = 0; i < r.count; ++i) {
        out.put(std::string_view(text.data() + from, r.begins[i] - from));
        const std::size_t number = Same ? r.numbers[i] : names.find(text, r.name(text, r.numbers[i]));
        out.put_placeholder(d, static_cast<unsigned>(number + 1), r.begins[i] == 0 ? '\0' : text[r.begins[i] - 1U]);
        from = r.ends[i];
    }
    out.put(std::string_view(text.data() + from, text.size() - from));
    out.put('\0');
}

/// All that is found out about one literal.
template <fixed_string Text>
struct literal_text {
    static constexpr std::size_t count_colons() {
        std::size_t n = 0;
        for (const char c : Text.characters) n += c == ':' ? 1U : 0U;
        return n;
    }
    static constexpr std::string_view text = Text.view();

    /// Reads 4 KiB more in each step.
    template <dialect D, std::size_t Step>
    static constexpr auto read_to() {
        constexpr std::size_t until = (Step + 1) * 4096;
        if constexpr (Step == 0)
            return literal_reader<count_colons()>(text, D).read(text, until);
        else
            return steps<D, Step - 1>.read(text, until);
    }
    template <dialect D, std::size_t Step>
    static constexpr auto steps = read_to<D, Step>();

    static constexpr auto postgres = steps<dialect::postgres, Text.size() / 4096>.found;
    static constexpr auto read_sqlite() {
        if constexpr (postgres.read.neutral)
            return postgres;
        else
            return steps<dialect::sqlite, Text.size() / 4096>.found;
    }
    static constexpr auto sqlite = read_sqlite();
    static constexpr bool fits = postgres.read.fits() || sqlite.read.fits();

    static constexpr bool same_names() {
        if (!postgres.read.fits() || !sqlite.read.fits()) return true;
        if (postgres.parameters != sqlite.parameters) return false;
        for (std::size_t i = 0; i < sqlite.parameters; ++i)
            if (postgres.find(text, sqlite.name(text, i)) == postgres.parameters) return false;
        return true;
    }
    /// Both dialects see the same set of names, or only one fits. If they see it in different orders, PostgreSQL's counts.
    static constexpr bool same = same_names();
    /// The one whose list of names counts; the other one's counts beside it where `same` is false.
    static constexpr const auto& main = postgres.read.fits() ? postgres : sqlite;
    static constexpr const auto& sqlite_names = same ? main : sqlite;

    static constexpr void write(text_writer& out, dialect d) {
        if (d == dialect::postgres || postgres.read.neutral)
            write_literal<true>(out, text, d, postgres, postgres);
        else
            write_literal<!same || !postgres.read.fits()>(out, text, d, sqlite, sqlite_names);
    }
    /// The size of a rewritten text with its NUL; 0 where the text as it is serves, or does not fit.
    static constexpr std::size_t measure(dialect d) {
        text_writer out;
        if (!(d == dialect::postgres ? postgres : sqlite).read.fits() || main.count + sqlite.count == 0) return 0;
        write(out, d);
        return out.size;
    }
    template <dialect D>
    struct rewritten {
        static constexpr std::size_t size = measure(D);
        char characters[size + 1]{};

        constexpr rewritten() {
            text_writer out{characters};
            if (size > 0) write(out, D);
        }
    };
    static constexpr rewritten<dialect::postgres> postgres_rewritten{};
    static constexpr rewritten<dialect::sqlite> sqlite_rewritten{};

    /// The names of a list in their order, parted by commas: the part of a literal's type that its calls are checked with.
    template <bool Main>
    static constexpr auto joined_names() {
        constexpr std::size_t size = join_names<Main>(text_writer{}) + 1;
        char joined[size]{};
        join_names<Main>(text_writer{joined});
        return fixed_string<size>(joined);
    }
    template <bool Main>
    static constexpr std::size_t join_names(text_writer out) {
        const auto& r = Main ? main : sqlite_names;
        for (std::size_t i = 0; i < r.parameters; ++i) {
            if (i > 0) out.put(',');
            out.put(r.name(text, i));
        }
        return out.size;
    }

    /// The one object that is emitted: descriptors and every character they point to.
    struct storage {
        static constexpr std::size_t lists = same ? 1 : 2;
        static constexpr std::size_t names_count = main.parameters + (same ? 0 : sqlite_names.parameters);

        descriptor of[lists]{};  // by PostgreSQL's names and, where they differ, by SQLite's
        std::string_view names[names_count + 1]{};
        char characters[Text.size() + 1 + postgres_rewritten.size + sqlite_rewritten.size]{};

        constexpr storage() {
            text_writer out{characters};
            out.put(text);
            out.put('\0');
            const std::string_view written{characters, Text.size()};
            const std::string_view postgres_text = place(out, postgres.read, postgres_rewritten, written);
            const std::string_view sqlite_text = place(out, sqlite.read, sqlite_rewritten, written);
            const reading both = join_readings(postgres.read, sqlite.read);
            for (std::size_t i = 0; i < main.parameters; ++i) names[i] = main.name(written, i);
            of[0] = {written,   hash_text(text), sqlite_text,     postgres_text,  names, static_cast<std::uint16_t>(main.parameters),
                     both.kind, both.idempotent, both.statements, both.on_session};
            if constexpr (!same) {
                for (std::size_t i = 0; i < sqlite.parameters; ++i) names[main.parameters + i] = sqlite.name(written, i);
                of[1] = of[0];
                of[1].names = names + main.parameters;
                of[1].parameters = static_cast<std::uint16_t>(sqlite.parameters);
            }
        }

    private:
        template <class Rewritten>
        static constexpr std::string_view place(text_writer& out, const reading& r, const Rewritten& from, std::string_view written) {
            if (!r.fits()) return {};
            if (from.size == 0) return written;
            const std::size_t begin = out.size;
            out.put(std::string_view(from.characters, from.size));
            return {out.out + begin, from.size - 1};
        }
    };
    static constexpr storage stored{};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// `"select ... where id = :id"_sql`: a statement that is read, checked and rewritten while the program is compiled.
//
// The literal's type carries its facts and the names of its parameters, never its text: statements of the same shape
// share types, and with them all that faces, engine and driver instantiate.
#ifndef STRATA_SQL_LITERAL_HPP
#define STRATA_SQL_LITERAL_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

struct dialect_facts {
    bool fits = false;
    statement_kind kind = statement_kind::other;
    bool idempotent = false;
    std::uint16_t statements = 0;
};

/// What a literal's type carries beside the names.
struct literal_facts {
    dialect_facts postgres;
    dialect_facts sqlite;
    bool same_names = true;
    bool broken = false;  // was refused already: say nothing more
};

[[nodiscard]] consteval dialect_facts facts_of(const reading& r) noexcept {
    return {r.fits(), r.kind, r.idempotent, r.statements};
}

[[nodiscard]] consteval statement_facts join_facts(const dialect_facts& p, const dialect_facts& s, bool postgres, bool sqlite) noexcept {
    statement_facts f;
    const dialect_facts& one = postgres ? p : s;
    f.kind = postgres && sqlite ? join_kinds(p.kind, s.kind) : one.kind;
    f.idempotent = one.idempotent && (!(postgres && sqlite) || s.idempotent) ? known::yes : known::no;
    f.statements = postgres && sqlite && s.statements > p.statements ? s.statements : one.statements;
    f.fits_postgres = postgres;
    f.fits_sqlite = sqlite;
    return f;
}

/// Holds the errors of a literal's text. The compiler's note names problem and byte: `text_check<problem, byte>`.
template <text_problem Problem, std::size_t Byte>
struct text_check {
    using enum text_problem;
    static_assert(Problem != unterminated_string,
                  "strata: a string of this statement has no end: close it with ' and write a quote inside it twice");
    static_assert(Problem != unterminated_name, "strata: a quoted name of this statement has no end: close it");
    static_assert(Problem != unterminated_comment, "strata: a comment of this statement has no end: close it with */");
    static_assert(Problem != placeholder, "strata: ? and $1 are placeholders of drivers: write :name");
    static_assert(Problem != bad_parameter, "strata: a parameter's name is letters, digits and _, not followed by $");
    static_assert(Problem != bad_number, "strata: letters follow a number in this statement: put a space between them");
    static_assert(Problem != bad_blob, "strata: a blob is written x'..' with an even number of hexadecimal digits");
    static_assert(Problem != bad_character,
                  "strata: this text fits neither PostgreSQL nor SQLite: outside of strings it has a character that neither knows");
    static_assert(Problem != nul_character, "strata: a statement must not contain a NUL character");
    static_assert(Problem != too_deep, "strata: this statement has more than 64 open brackets");
    static_assert(Problem != list, "strata: a list (:name...) is expanded at run time: use strata::statement");
    static constexpr bool right = Problem == none;
};

/// The problem to tell: the only one, or what the dialect says that got further or knows the character.
[[nodiscard]] consteval reading worst(const reading& p, const reading& s) noexcept {
    if (p.fits() || s.fits()) return {};
    if (p.problem == text_problem::bad_character) return s;
    if (s.problem == text_problem::bad_character) return p;
    return s.position > p.position ? s : p;
}

}  // namespace detail

/// A statement known at compile time. Call it with arguments to get a `bound` statement; without parameters it can be
/// given to a face as it is. Two words of size, constexpr, free to copy; the text has static storage.
template <detail::literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
class literal {
public:
    constexpr explicit literal(const descriptor* what, std::string_view name = {}) noexcept : what_(what), name_(name) {}

    /// The text's facts and rewritten texts.
    [[nodiscard]] constexpr const descriptor& text() const noexcept { return *what_; }
    [[nodiscard]] constexpr std::string_view label() const noexcept { return name_; }

    /// The same with a name for metrics and logs, which must live as long as the literal: give a string literal.
    [[nodiscard]] constexpr literal named(std::string_view name) const noexcept { return literal(what_, name); }

    /// The same, said by the user to be harmless when repeated after it may have been executed.
    [[nodiscard]] constexpr auto idempotent() const noexcept {
        constexpr detail::literal_facts said = [] {
            detail::literal_facts f = Facts;
            f.postgres.idempotent = f.sqlite.idempotent = true;
            return f;
        }();
        return literal<said, Names, SqliteNames>(what_, name_);
    }

    /// Binds arguments: all by name, in any order, or all by position, in the order in which the names first appear.
    /// Rvalues are kept by value, lvalues by reference to const.
    /// Given one `argument_set` (a struct's members), it takes those that the text names.
    template <class... A>
    [[nodiscard]] constexpr auto operator()(A&&... arguments) const {
        if constexpr (sizeof...(A) == 1 && (detail::is_argument_set<std::remove_cvref_t<A>> && ...)) {
            return std::apply([this](const auto&... each) { return this->template call<true>(each...); }, arguments.arguments...);
        } else {
            return call<false>(static_cast<A&&>(arguments)...);
        }
    }

private:
    template <bool Rest, class... A>
    [[nodiscard]] constexpr auto call(A&&... arguments) const {
        const detail::argument_pack<std::index_sequence_for<A...>, A...> pack{{static_cast<A&&>(arguments)}...};
        using first = detail::call_of<Rest, Names, A...>;
        if constexpr (Facts.broken) {
            return bound<statement_facts{}>{what_, name_, {}};
        } else if constexpr (Facts.same_names) {
            static_cast<void>(detail::call_check<first::match.problem>{});
            constexpr statement_facts facts = detail::join_facts(Facts.postgres, Facts.sqlite, Facts.postgres.fits, Facts.sqlite.fits);
            return bind<facts, first>(what_, pack, typename first::order{});
        } else {  // the dialects see different parameters: the call decides
            using second = detail::call_of<Rest, SqliteNames, A...>;
            constexpr bool wrong = !first::right && !second::right;
            static_cast<void>(detail::call_check<wrong ? first::match.problem : detail::call_problem::none>{});
            constexpr statement_facts facts = detail::join_facts(Facts.postgres, Facts.sqlite, first::right || wrong, second::right);
            if constexpr (first::right || wrong)
                return bind<facts, first>(what_, pack, typename first::order{});
            else
                return bind<facts, second>(what_ + 1, pack, typename second::order{});
        }
    }

    template <statement_facts F, class Call, class Pack, std::size_t... P>
    constexpr auto bind(const descriptor* what, [[maybe_unused]] const Pack& pack, std::index_sequence<P...>) const {
        using kept_arguments = std::tuple<decltype(detail::take<Call::match.from[P]>(pack))...>;
        return bound<F, decltype(detail::take<Call::match.from[P]>(pack))...>{what, name_,
                                                                              kept_arguments(detail::take<Call::match.from[P]>(pack)...)};
    }

    const descriptor* what_;
    std::string_view name_;
};

namespace detail {

template <class T>
inline constexpr bool is_literal = false;
template <literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
inline constexpr bool is_literal<literal<Facts, Names, SqliteNames>> = true;

/// What a face was given, as a bound statement: a literal is called without arguments, everything else is passed on, a
/// temporary as a temporary.
template <class S>
[[nodiscard]] constexpr decltype(auto) as_bound(S&& s) {
    using given = std::remove_cvref_t<S>;
    if constexpr (is_literal<given>) {
        return s();
    } else if constexpr (bound_statement<given>) {
        return static_cast<S&&>(s);
    } else {
        static_assert(bound_statement<given>,
                      "strata: a statement is \"...\"_sql, such a literal called with its arguments, or a strata::statement");
        return bound<statement_facts{}>{nullptr, {}, {}};  // says nothing more
    }
}

}  // namespace detail

namespace literals {

/// A statement, read at compile time under both dialects; compiles if it fits one. At most 16 KiB.
template <fixed_string Text>
[[nodiscard]] consteval auto operator""_sql() noexcept {
    constexpr bool short_enough = Text.size() <= detail::literal_limit;
    static_assert(short_enough, "strata: a literal has at most 16 KiB: use strata::statement, or several statements");
    if constexpr (!short_enough) {
        return literal<detail::literal_facts{{}, {}, true, true}, "", "">(nullptr);
    } else {
        using text = detail::literal_text<Text>;
        constexpr detail::reading worst = detail::worst(text::postgres.read, text::sqlite.read);
        if constexpr (!detail::text_check<worst.problem, worst.position>::right) {
            return literal<detail::literal_facts{{}, {}, true, true}, "", "">(nullptr);
        } else {
            constexpr detail::literal_facts facts{detail::facts_of(text::postgres.read), detail::facts_of(text::sqlite.read), text::same};
            if constexpr (text::same)
                return literal<facts, text::template joined_names<true>(), "">(text::stored.of);
            else
                return literal<facts, text::template joined_names<true>(), text::template joined_names<false>()>(text::stored.of);
        }
    }
}

}  // namespace literals
}  // namespace strata::inline STRATA_ABI

#endif

// What a failed call tells about the connection that it ran on.
#ifndef STRATA_CORE_HEALTH_HPP
#define STRATA_CORE_HEALTH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] constexpr bool is_usable(health h) noexcept {
    return h < health::lost;
}

/// Another place with connections to the same server. Called without the lock of who tells.
class farewell_listener {
public:
    /// The server said farewell to a connection (`health::all_lost`): nor can any here be used.
    virtual void all_lost() noexcept = 0;

protected:
    ~farewell_listener() = default;
};

/// An error that the user's closure lets out: what it says of other connections may be of another database's.
[[nodiscard]] STRATA_COLD inline error told_by_closure(error e) noexcept {
    if (e.health() == health::all_lost) e.set(health::lost);
    return e;
}

/// A violated constraint tells nothing about a connection, nor does a conflict, a caller's cancel or a refusal. Nor does a call that ran
/// out of time, where the connection could be brought back. An I/O error, or lack of memory, may be its own fault.
[[nodiscard]] STRATA_COLD inline health health_after(const error& e) noexcept {
    if (e.health() != health::good || e.local()) return e.health();
    switch (e.code()) {
        case errc::timeout:
            return health::late;
        case errc::io_error:
        case errc::out_of_memory:
            return health::doubtful;
        default:
            return health::good;
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a resumable algorithm of a driver says when it returns: finished, or what it waits for.
#ifndef STRATA_CORE_SIGNAL_HPP
#define STRATA_CORE_SIGNAL_HPP

namespace strata::inline STRATA_ABI {

enum class signal : std::uint8_t {
    done,    ///< finished well
    failed,  ///< finished with an error: ask the object for it
    io,      ///< wait for a descriptor, then resume
    turn,    ///< let whatever is ready have its turn first, then resume
    park,    ///< wait for what the connection says (pacing.hpp), then resume
    work,    ///< the next resume may block: move to a thread that may
    call,    ///< a closure of the user must run: resume when it has ended
    item     ///< rows for the consumer are ready: resume when they are taken
};

/// After `signal::io`: what is waited for, and until when.
struct io_wait {
    int descriptor = -1;
    bool writable = false;  ///< until it can be written to; else until there is something to read
    time_point until = never;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Where a connection keeps whatever waits for its descriptor, so that it can be told to look again from any thread.
#ifndef STRATA_CORE_WATCH_HPP
#define STRATA_CORE_WATCH_HPP

namespace strata::inline STRATA_ABI {

/// A descriptor's registration with a reactor. Made by the drive.
class io_watch {
public:
    virtual ~io_watch() = default;
    /// Ends the wait that is under way, or the next one, at once. From any thread.
    virtual void nudge() noexcept = 0;

protected:
    io_watch() = default;
    io_watch(const io_watch&) = delete;
    io_watch& operator=(const io_watch&) = delete;
};

/// Lies in a connection. Thread-safe: where a connection is shared, one may still wait by a watch that another has replaced.
class watch_place {
public:
    [[nodiscard]] std::shared_ptr<io_watch> get() const noexcept {
        hold guard(lock_);
        return watch_;
    }
    void put(std::shared_ptr<io_watch> w) noexcept {
        hold guard(lock_);
        watch_.swap(w);
        guard.unlock();                // the old one dies outside
        if (w != nullptr) w->nudge();  // who waits by it would not hear of what comes here
    }
    void clear() noexcept { put(nullptr); }
    void nudge() noexcept {
        hold guard(lock_);
        if (watch_ != nullptr) watch_->nudge();
    }

private:
    mutable inline_lock lock_;
    std::shared_ptr<io_watch> watch_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// How a driver waits through the world: for time that it wants to pass, or for something that somebody will give.
//
// A driver whose connections have these members may answer `signal::park`, while it connects and while it works, and is
// resumed when the wait has ended, for whatever reason. It is told operation and time before each resume and so reads no
// clock; the blocking, the asynchronous and the simulated drive then wait for it as they wait for everything else.
// Connections without them never park, and cost nothing here.
#ifndef STRATA_CORE_PACING_HPP
#define STRATA_CORE_PACING_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Connection>
concept paced_connection = requires(Connection& c, operation_base& op, moment m) {
    // `on_resume(op, moment)` is missing: called before each resume; the node that is waited on is prepared with `op.waking()`.
    c.on_resume(op, m);
    // `parked_on()` is missing: after `park`, the node that is waited on; null when it is only time.
    { c.parked_on() } -> std::same_as<waiter*>;
    // `parked_until()` is missing: after `park`, how long at most; after `io`, the bound of that wait.
    { c.parked_until() } -> std::same_as<time_point>;
};

/// Connects over several resumes, and says so by a signal.
template <class Connection, class Options, class Role>
concept opens_in_steps = requires(Connection& c, const Options& o, Role role, error& e) {
    { c.open_step(o, role, e) } -> std::same_as<signal>;
};

/// Waits for its descriptor where the drive cannot block: what it does answers `signal::io` after `may_yield(true)`.
template <class Connection>
concept yielding_connection = requires(Connection& c) {
    // `may_yield(bool)` is missing: false before a drive that blocks, true before one that waits for descriptors.
    c.may_yield(true);
    // `awaited()` is missing: after `io`, what is waited for.
    { c.awaited() } -> std::same_as<io_wait>;
    // `watch()` is missing: a place for what the drive keeps with the descriptor; emptied before the descriptor is closed.
    { c.watch() } -> std::same_as<watch_place&>;
};

/// BEGIN, COMMIT and the like go over several resumes.
template <class Connection>
concept controls_in_steps = requires(Connection& c, std::string_view sql, error& e) {
    { c.control_step(sql, e) } -> std::same_as<signal>;
};
template <class Connection, class World>
STRATA_INLINE void announce_resume([[maybe_unused]] Connection& c, [[maybe_unused]] operation_base& op,
                                   [[maybe_unused]] World& world) noexcept {
    if constexpr (paced_connection<Connection>) c.on_resume(op, world.moment());
    if constexpr (yielding_connection<Connection>) c.may_yield(op.make_waker != nullptr);
}
template <class Connection>
[[nodiscard]] waiter* node_of([[maybe_unused]] Connection& c) noexcept {
    if constexpr (paced_connection<Connection>)
        return c.parked_on();
    else
        return nullptr;
}
template <class Connection>
[[nodiscard]] time_point end_of_wait([[maybe_unused]] Connection& c) noexcept {
    if constexpr (paced_connection<Connection>)
        return c.parked_until();
    else
        return never;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Where in a stack a layer may stand. `stack.hpp` checks that places never ascend towards the top;
// layers of equal place stand in any order.
#ifndef STRATA_CORE_PLACE_HPP
#define STRATA_CORE_PLACE_HPP

namespace strata::inline STRATA_ABI {

/// Outermost first. DESIGN: what stands further out sees an operation as a whole, what stands inside `repeat` sees each attempt.
enum class place : std::uint8_t {
    extend,    ///< members of the faces only, no hooks: transactions, optimistic locking
    observe,   ///< metrics, logs, tracing: the logical operation, cached answers and all retries as one
    shape,     ///< validation, access control, masking
    fallback,  ///< a value for a failure
    cache,     ///< inside observation, outside repetition
    bound,     ///< total_timeout and limits per operation
    repeat,    ///< retry
    rate,      ///< rate limit per attempt
    throttle,  ///< client-side throttling per attempt
    breaker,   ///< circuit breaker: samples attempts
    bulkhead,  ///< concurrent attempts
    limit,     ///< adaptive concurrency limit
    attempt,   ///< one attempt, after admission: attempt_timeout, chaos
    source,    ///< exactly one: where a connection comes from
    driver     ///< exactly one: the database
};

}  // namespace strata::inline STRATA_ABI

#endif

// What an interceptor's hook answers: go on, refuse, fail, wait, answer; or, going out, accept or try again.
#ifndef STRATA_CORE_VERDICT_HPP
#define STRATA_CORE_VERDICT_HPP

namespace strata::inline STRATA_ABI {

/// Each kind writes only what it uses, for most verdicts lie on the hot path of every layer.
struct [[nodiscard]] verdict {
    enum class what : std::uint8_t { proceed, refuse, fail, park, answer, accept, again };

    what kind;
    errc code;                ///< refuse, fail; park: what the end of `until` is refused with, where the operation's own deadline is later
    bool works;               ///< park: the wait stands for work, so running out of time fails the attempt instead of refusing it
    duration after;           ///< refuse: retry_after; again: the pause
    unset<time_point> until;  ///< park: how long at most
    waiter* node;             ///< park: who is waited for; null means just time

    explicit verdict(what k) noexcept : kind(k) {}
    verdict(what k, errc c, duration d) noexcept : kind(k), code(c), after(d) {}
    verdict(waiter* on, time_point end, bool busy, errc at_end) noexcept
        : kind(what::park), code(at_end), works(busy), after{}, until(end), node(on) {}
};

static_assert(sizeof(verdict) <= 32 && std::is_trivially_copyable_v<verdict>);

/// admit: let it pass.
[[nodiscard]] inline verdict proceed() noexcept {
    return verdict{verdict::what::proceed};
}
/// admit: not now. A local refusal: nothing was sent, no breaker counts it; repeated only if `retry_after` is positive.
[[nodiscard]] inline verdict refuse(errc code, duration retry_after = {}) noexcept {
    return {verdict::what::refuse, code, retry_after};
}
/// admit: this attempt has failed, as if the database had said so. For fault injection.
[[nodiscard]] inline verdict fail(errc code) noexcept {
    return {verdict::what::fail, code, {}};
}
/// admit: wait for the node's gift (or just for time) and ask me again. The end of time or a cancel is a refusal here: with `at_end`
/// where it was `until` that came, not the operation's deadline. `errc::ok`: then I am asked again too, and find the node without a gift.
[[nodiscard]] inline verdict park(waiter* node, time_point until, errc at_end = errc::timeout) noexcept {
    return {node, until, false, at_end};
}
/// admit: the attempt is busy until then (injected latency). A park for time whose end by deadline is the attempt's own failure.
[[nodiscard]] inline verdict work_until(time_point until) noexcept {
    return {nullptr, until, true, errc::timeout};
}
/// admit: the result already lies in the operation's slot (cache).
[[nodiscard]] inline verdict answer() noexcept {
    return {verdict::what::answer, errc::ok, {}};
}
/// settle: pass the outcome on.
[[nodiscard]] inline verdict accept() noexcept {
    return verdict{verdict::what::accept};
}
/// settle: sleep for `after`, then enter again below me.
[[nodiscard]] inline verdict again(duration after) noexcept {
    return {verdict::what::again, errc::ok, after};
}

}  // namespace strata::inline STRATA_ABI

#endif

// What makes a type an interceptor, and how the engine calls its hooks. All hooks are optional:
//
//   void    admit(auto& op, frame& f, moment m);                    // or verdict; a hook may leave out the moment
//   void    settle(auto& op, frame& f, outcome& result, moment m);  // or verdict
//   void    abandon(frame& f) noexcept;                             // the operation ended without settle
//
// A layer that was entered gets exactly one exit: `settle`, or `abandon`. Hooks are called as noexcept: one
// that throws ends the program, so a policy that calls a user's function catches what it throws.
// A policy that looks at `op.priority` states  static constexpr bool asks_priority = true;
// One that looks at `op.cache` states  caches = true,  one that looks at `op.aside`  replaces = true  (in the same way): calls that ask for
// that compile only over such a layer.
#ifndef STRATA_CORE_INTERCEPTOR_HPP
#define STRATA_CORE_INTERCEPTOR_HPP

namespace strata::inline STRATA_ABI {

/// The memory of a layer that needs none.
struct no_frame {};

namespace detail {

template <class P>
struct frame_type {
    using type = no_frame;
};
template <class P>
    requires requires { typename P::frame; }
struct frame_type<P> {
    using type = typename P::frame;
};

template <class P>
struct options_type {
    using type = void;
};
template <class P>
    requires requires { typename P::options; }
struct options_type<P> {
    using type = typename P::options;
};

/// Only the shape of a hook is asked for here, so any operation will do.
using probe_operation = operation<operation_facts{}>;

template <class P>
concept admits_at = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, moment m) { p.admit(op, f, m); };
template <class P>
concept admits_untimed = requires(P& p, probe_operation& op, typename frame_type<P>::type& f) { p.admit(op, f); };
template <class P>
concept settles_at = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, outcome& o, moment m) { p.settle(op, f, o, m); };
template <class P>
concept settles_untimed = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, outcome& o) { p.settle(op, f, o); };
template <class P>
concept abandons = requires(P& p, typename frame_type<P>::type& f) { p.abandon(f); };

template <class P>
inline constexpr bool has_hook = admits_at<P> || admits_untimed<P> || settles_at<P> || settles_untimed<P> || abandons<P>;
template <class P>
inline constexpr bool abandons_quietly = !abandons<P> || requires(P& p, typename frame_type<P>::type& f) {
    { p.abandon(f) } noexcept;
};

template <class P>
inline constexpr bool is_timed = admits_at<P> || settles_at<P>;

template <class P>
inline constexpr bool goes_inside_transaction = requires { requires P::inside_transaction; };

template <class P>
inline constexpr bool asks_priority = requires { requires P::asks_priority; };

/// What a stack says of its transactions; see transaction/modes.hpp.
template <class P>
inline constexpr bool is_automatic = requires { requires P::automatic_transactions; };
template <class P>
inline constexpr bool forbids_transactions = requires { requires P::no_transactions; };

template <class P>
inline constexpr bool caches = requires { requires P::caches; };
template <class P>
inline constexpr bool replaces = requires { requires P::replaces; };

template <class P>
inline constexpr bool holds_something = requires { requires P::holds; };

/// The hooks, whatever their form; `void` counts as proceed or accept.
template <class P, class Op>
STRATA_INLINE auto call_admit(P& p, Op& op, typename frame_type<P>::type& f, moment m) noexcept {
    if constexpr (admits_at<P>)
        return p.admit(op, f, m);
    else
        return p.admit(op, f);
}
template <class P, class Op>
STRATA_INLINE auto call_settle(P& p, Op& op, typename frame_type<P>::type& f, outcome& o, moment m) noexcept {
    if constexpr (settles_at<P>)
        return p.settle(op, f, o, m);
    else
        return p.settle(op, f, o);
}
template <class P>
STRATA_INLINE void call_abandon(P& p, typename frame_type<P>::type& f) noexcept {
    if constexpr (abandons<P>) p.abandon(f);
}

}  // namespace detail

/// An interceptor. What is missing is told by the comment at the requirement that fails.
template <class P>
concept interceptor =
    requires {
        // The policy must state where it may stand:  static constexpr auto place = strata::place::observe;
        { P::place } -> std::convertible_to<strata::place>;
    } &&
    // Only the source and the driver stand below the interceptors: choose another place.
    (P::place < place::source) &&
    // A policy that takes something in admit (`holds = true`) must give it back in `void abandon(frame&) noexcept`.
    (!detail::holds_something<P> || detail::abandons<P>);

}  // namespace strata::inline STRATA_ABI

#endif

// A list of interceptors as an object (their shared state) and the list of their frames (their memory for one operation).
#ifndef STRATA_CORE_LAYERS_HPP
#define STRATA_CORE_LAYERS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A policy is built in place, which g++ does not do in a member that may share its address: only empty ones do.
template <std::size_t I, class T>
struct layer_slot {
    T value{};
};
template <std::size_t I, class T>
    requires std::is_empty_v<T>
struct layer_slot<I, T> {
    [[no_unique_address]] T value{};
};

/// A frame begins when its layer is entered, so that what `admit` writes at once is not written twice. One that has a
/// destructor is there from the start.
template <std::size_t I, class T>
struct frame_slot {
    T value{};
};
template <std::size_t I, class T>
    requires std::is_empty_v<T>
struct frame_slot<I, T> {
    [[no_unique_address]] T value;
};
template <std::size_t I, class T>
    requires(!std::is_empty_v<T> && std::is_trivially_destructible_v<T>)
struct frame_slot<I, T> {
    frame_slot() noexcept {}
    union {
        T value;
    };
};

template <std::size_t I, class T>
STRATA_INLINE void begin_frame(frame_slot<I, T>& s) noexcept {
    if constexpr (!std::is_trivially_destructible_v<T>) std::destroy_at(&s.value);
    if constexpr (!std::is_empty_v<T>) std::construct_at(&s.value);
}

/// A tuple with few instantiations: one base class a member, found by overload resolution.
template <class Indices, class... T>
struct slots;
template <std::size_t... I, class... T>
struct slots<std::index_sequence<I...>, T...> : layer_slot<I, T>... {};

template <class Indices, class... T>
struct frame_slots;
template <std::size_t... I, class... T>
struct frame_slots<std::index_sequence<I...>, T...> : frame_slot<I, T>... {};

template <std::size_t I, class T>
STRATA_INLINE T& slot_at(layer_slot<I, T>& s) noexcept {
    return s.value;
}
template <std::size_t I, class T>
STRATA_INLINE frame_slot<I, T>& frame_at(frame_slot<I, T>& s) noexcept {
    return s;
}

}  // namespace detail

/// The policies of a stack, outermost first.
template <class... P>
struct layers {
    static_assert(((P::place == place::extend || detail::has_hook<P>) && ...),
                  "strata: a policy has no hook that the engine would call; their forms are  admit(auto& op, frame& f, moment m),  "
                  "settle(auto& op, frame& f, outcome& result, moment m)  and  abandon(frame& f) noexcept");
    static_assert(((!detail::holds_something<P> || detail::abandons<P>) && ...),
                  "strata: a policy that takes something in admit (holds = true) must give it back in  void abandon(frame&) noexcept");
    static_assert((detail::abandons_quietly<P> && ...), "strata: abandon must be noexcept: it runs where an operation is destroyed");

    static constexpr std::size_t size = sizeof...(P);
    /// Whether a layer looks at the operation's priority; a statement of the blocking face is not told it otherwise.
    static constexpr bool asks_priority = (detail::asks_priority<P> || ... || false);
    /// Whether a layer caches results, and whether one takes failures away for which a call has something to put in their place.
    static constexpr bool caches = (detail::caches<P> || ... || false);
    static constexpr bool replaces = (detail::replaces<P> || ... || false);
    /// Whether each statement runs in a transaction of its own, and whether there are any others.
    static constexpr bool automatic = (detail::is_automatic<P> || ... || false);
    static constexpr bool forbids_transactions = (detail::forbids_transactions<P> || ... || false);
    using frames = detail::frame_slots<std::index_sequence_for<P...>, typename detail::frame_type<P>::type...>;

    layers() = default;
    /// `make(std::type_identity<P>{})` returns each policy, built in place (a policy holds atomics and does not move).
    template <class Make>
    explicit layers(Make&& make) : layers(std::index_sequence_for<P...>{}, make) {}

    template <std::size_t I>
    [[nodiscard]] STRATA_INLINE auto& at() noexcept {
        return detail::slot_at<I>(state_);
    }

    /// The layer of this type.
    template <class Policy>
    [[nodiscard]] Policy& of() noexcept {
        static_assert((std::is_same_v<Policy, P> || ...), "strata: no such layer in the stack");
        Policy* found = nullptr;
        [&]<std::size_t... I>(std::index_sequence<I...>) { (pick<Policy>(at<I>(), found), ...); }(std::index_sequence_for<P...>{});
        return *found;
    }

private:
    template <class Policy, class Layer>
    static void pick(Layer& layer, Policy*& found) noexcept {
        if constexpr (std::is_same_v<Policy, Layer>) found = &layer;
    }

    template <std::size_t... I, class Make>
    layers(std::index_sequence<I...>, Make& make) : state_{{make(std::type_identity<P>{})}...} {}

    detail::slots<std::index_sequence_for<P...>, P...> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The passage of one operation through the interceptors of its stack: a resumable algorithm that does no I/O.
//
// Going in, `admit` is called outermost first; going out, `settle` innermost first. An `again(after)` of
// layer k sleeps and enters once more at k + 1, so a layer outside k sees one operation and a layer inside
// sees each attempt. Whoever drives it (a blocked thread, Asio, a simulation) gives it time and does what the
// returned step says:
//
//   attempt   lease a connection and do the work, put its error into `result()`, then call `landed`
//   park      wait for `parked_on()` until `parked_until()`, then call `resume`
//   done      `result()` is final
//
// The happy path is inlined as a whole; everything else lies out of line.
#ifndef STRATA_CORE_PASSAGE_HPP
#define STRATA_CORE_PASSAGE_HPP

namespace strata::inline STRATA_ABI {

enum class step : std::uint8_t { attempt, park, done };

/// `Slot` is where the outcome lies: in the passage, or with `outcome&` where the caller wants to have it. Such a caller drives it to
/// `done` in one call, so there is never anything to abandon.
template <class Layers, class Op, class Slot = outcome>
class passage;

template <class... P, class Op, class Slot>
class passage<layers<P...>, Op, Slot> {
    static constexpr std::size_t depth = sizeof...(P);
    template <std::size_t K>
    using layer = std::remove_reference_t<decltype(std::declval<layers<P...>&>().template at<K>())>;
    template <std::size_t K>
    static constexpr bool is_asked = !Op::facts.inside_transaction || detail::goes_inside_transaction<layer<K>>;
    template <std::size_t K>
    static constexpr bool enters = is_asked<K> && (detail::admits_at<layer<K>> || detail::admits_untimed<layer<K>>);
    template <std::size_t K>
    static constexpr bool leaves = is_asked<K> && (detail::settles_at<layer<K>> || detail::settles_untimed<layer<K>>);

public:
    /// False when no hook that will be called takes a moment: then the clock is not read.
    static constexpr bool timed = []<std::size_t... I>(std::index_sequence<I...>) {
        return ((is_asked<I> && detail::is_timed<layer<I>>) || ... || false);
    }(std::index_sequence_for<P...>{});

    passage(layers<P...>& policies, Op& op) noexcept
        requires(!std::is_reference_v<Slot>)
        : policies_(policies), op_(op), result_(), entered_(0) {}
    /// `empty` holds no error yet.
    passage(layers<P...>& policies, Op& op, outcome& empty) noexcept
        requires(std::is_reference_v<Slot>)
        : policies_(policies), op_(op), result_(empty) {}
    passage(const passage&) = delete;
    passage& operator=(const passage&) = delete;
    /// Destroyed before it was done: every layer that was entered is abandoned, innermost first.
    ~passage() {
        if constexpr (!std::is_reference_v<Slot>) {
            if (entered_ != 0) [[unlikely]]
                abandon_down_to(0);
        }
    }

    [[nodiscard]] outcome& result() noexcept { return result_; }
    /// After `park`: the node, null when it is only time that is waited for.
    [[nodiscard]] waiter* parked_on() const noexcept { return parked_.on; }
    [[nodiscard]] time_point parked_until() const noexcept { return parked_.until; }

    /// Enters the outermost layer.
    [[nodiscard]] STRATA_INLINE step first(moment m) noexcept { return in<0>(m); }

    /// The attempt has ended with `result()`.
    [[nodiscard]] STRATA_INLINE step landed(moment m) noexcept { return out<depth>(m); }

    /// After `park`: the node was granted, time is up, or the operation was cancelled.
    [[nodiscard]] STRATA_COLD step resume(moment m) noexcept { return resume_at(m, std::index_sequence_for<P...>{}); }

private:
    /// Layers 0 .. n-1 are to be abandoned should the operation end here; nobody asks where it cannot.
    STRATA_INLINE void note_entered(std::size_t n) noexcept {
        if constexpr (!std::is_reference_v<Slot>) entered_ = n;
    }
    template <std::size_t K>
    STRATA_INLINE typename detail::frame_type<layer<K>>::type& frame() noexcept {
        return detail::frame_at<K>(frames_).value;
    }

    /// Enters layer K with a new frame: on the first pass, and again inside a layer that repeats.
    template <std::size_t K>
    STRATA_INLINE step in(moment m) noexcept {
        if constexpr (K == depth) {
            note_entered(depth);
            return step::attempt;
        } else {
            if constexpr (is_asked<K>) detail::begin_frame(detail::frame_at<K>(frames_));
            return ask<K>(m);
        }
    }

    /// Asks layer K, whose frame is there: on the way in, and after it was parked.
    template <std::size_t K>
    STRATA_INLINE step ask(moment m) noexcept {
        if constexpr (!enters<K>) {
            return in<K + 1>(m);
        } else if constexpr (std::is_void_v<decltype(detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m))>) {
            detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m);
            return in<K + 1>(m);
        } else {
            const verdict v = detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m);
            if (v.kind == verdict::what::proceed) [[likely]]
                return in<K + 1>(m);
            if (v.kind == verdict::what::refuse) {
                if constexpr (K == 0)
                    return note_refusal<0>(v.code, v.after), step::done;  // nobody outside has to hear of it
                else
                    return refused<K>(v.code, v.after, m);
            }
            return held_up<K>(v, m);
        }
    }

    /// Layers 0 .. K-1 are still to be settled.
    template <std::size_t K>
    STRATA_INLINE step out(moment m) noexcept {
        if constexpr (K == 0) {
            note_entered(0);
            return step::done;
        } else if constexpr (!leaves<K - 1>) {
            return out<K - 1>(m);
        } else if constexpr (std::is_void_v<decltype(detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_,
                                                                         m))>) {
            detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_, m);
            return out<K - 1>(m);
        } else {
            const verdict v = detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_, m);
            if (v.kind == verdict::what::again) [[unlikely]] {
                // The engine, not the policy, refuses what could not begin in time; then the outcome stays as it is.
                if (op_.may_repeat(v.after, m)) return repeat<K - 1>(v.after, m);
            }
            return out<K - 1>(m);
        }
    }

    /// Out of line twins, so that cold re-entry does not copy the inlined paths.
    template <std::size_t K>
    STRATA_COLD step cold_in(moment m) noexcept {
        return in<K>(m);
    }
    template <std::size_t K>
    STRATA_COLD step cold_ask(moment m) noexcept {
        return ask<K>(m);
    }
    template <std::size_t K>
    STRATA_COLD step cold_out(moment m) noexcept {
        note_entered(K);
        return out<K>(m);
    }

    /// Layer K refused. Out of line, but not cold: an open breaker refuses all there is, and fast.
    template <std::size_t K>
    STRATA_NOINLINE step refused(errc code, duration retry_after, moment m) noexcept {
        note_refusal<K>(code, retry_after);
        return out<K>(m);
    }
    template <std::size_t K>
    STRATA_INLINE void note_refusal(errc code, duration retry_after) noexcept {
        note_entered(K);
        result_.error().set(code).set_local().set_retry_after(retry_after);  // it was empty
    }

    /// Layer K did not let the operation pass: it was not entered, or only parked.
    template <std::size_t K>
    STRATA_COLD step held_up(const verdict& v, moment m) noexcept {
        note_entered(K);
        switch (v.kind) {
            case verdict::what::fail:
                result_.replace(error{v.code, phase::execute});
                return cold_out<K>(m);
            case verdict::what::answer:
                result_.clear();
                return cold_out<K>(m);
            case verdict::what::park: {
                const time_point until = v.until;
                parked_ = {v.node, until < op_.deadline ? until : op_.deadline, K, v.code, false, v.works};
                note_entered(K + 1);  // destroyed while parked: the layer's frame must be abandoned too
                return step::park;
            }
            default:
                return cold_in<K + 1>(m);
        }
    }

    template <std::size_t K>
    STRATA_COLD step repeat(duration after, moment m) noexcept {
        note_entered(K + 1);
        parked_ = {nullptr, add_saturated(m.now, after), K, errc::timeout, true, false};
        return after > duration::zero() ? step::park : reenter<K>(m);
    }

    /// Frames inside the repeating layer begin anew; its own is kept.
    template <std::size_t K>
    STRATA_COLD step reenter(moment m) noexcept {
        ++op_.attempt;
        op_.waited_for_lease = false;
        result_.clear();
        return in<K + 1>(m);
    }

    template <std::size_t... I>
    step resume_at([[maybe_unused]] moment m, std::index_sequence<I...>) noexcept {
        step next = step::done;
        static_cast<void>(((parked_.at == I && (next = resume_layer<I>(m), true)) || ...));
        return next;
    }

    template <std::size_t K>
    STRATA_COLD step resume_layer(moment m) noexcept {
        const bool cancelled = op_.cancelled.load(std::memory_order_relaxed);
        if (!cancelled && m.now < parked_until() && (parked_.on == nullptr || !parked_.on->is_granted()))
            return step::park;  // woken for nothing
        if (parked_.asleep) {
            if (!cancelled) return reenter<K>(m);
            // Died in backoff: the layer that repeats is abandoned, those outside it see the cancel.
            detail::call_abandon(policies_.template at<K>(), frame<K>());
            result_.clear();
            return refused<K>(errc::cancelled, {}, m);
        }
        const bool in_time = !cancelled && m.now < op_.deadline;
        // It came, or the layer wants to be asked without it too.
        if (parked_.on != nullptr ? !parked_.on->withdraw() || (in_time && parked_.code == errc::ok) : in_time) return cold_ask<K>(m);
        detail::call_abandon(policies_.template at<K>(), frame<K>());
        if (!parked_.works || cancelled)
            return refused<K>(cancelled ? errc::cancelled : m.now < op_.deadline ? parked_.code : errc::timeout, {}, m);
        result_.replace(error{errc::timeout, phase::execute});
        return cold_out<K>(m);
    }

    STRATA_COLD void abandon_down_to(std::size_t outermost) noexcept {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (abandon_layer<depth - 1 - I>(outermost), ...);
        }(std::index_sequence_for<P...>{});
        entered_ = 0;
    }
    template <std::size_t K>
    void abandon_layer(std::size_t outermost) noexcept {
        if constexpr (is_asked<K>) {
            if (K < entered_ && K >= outermost) detail::call_abandon(policies_.template at<K>(), frame<K>());
        }
    }

    /// Where it waits. Written when it parks and only then, for an operation that never parks pays for nothing.
    struct parking {
        waiter* on;
        unset<time_point> until;
        std::size_t at;  ///< the layer
        errc code;       ///< what it is refused with when the layer's own patience ends
        bool asleep;     ///< by `again`, not by `admit`
        bool works;      ///< see verdict::works
    };

    layers<P...>& policies_;
    Op& op_;
    typename layers<P...>::frames frames_;
    Slot result_;
    std::size_t entered_;  ///< how many layers, from the outermost, have neither been settled nor abandoned (`note_entered`)
    parking parked_;
};

template <class Layers, class Op>
passage(Layers&, Op&) -> passage<Layers, Op>;

}  // namespace strata::inline STRATA_ABI

#endif

// One operation on its whole way: through the interceptors, to a connection, to the database and back.
//
// A resumable algorithm over a passage, a source and a piece of work; nothing in it knows whether a thread, an
// Asio loop or a simulation drives it. The driver of a flight does what `need` says and calls `resume`:
//
//   park   wait for `parked_on()` until `parked_until()`
//   work   the next resume may block: go where that is allowed
//   io     wait for the connection's descriptor until `parked_until()`
//   call   a user's asynchronous closure must run: start it, resume when it has ended
//   item   rows, or a handle, are with the user: resume when they are done with it
//   done   `result()` and `thrown()` are final
#ifndef STRATA_CORE_FLIGHT_HPP
#define STRATA_CORE_FLIGHT_HPP

namespace strata::inline STRATA_ABI {

enum class need : std::uint8_t { done, park, work, io, call, item, turn };

/// What a source answers to a request for a connection.
enum class acquired : std::uint8_t {
    ready,    ///< the lease is there
    connect,  ///< the lease is a place without a connection: open one there
    wait,     ///< the node stands in the queue
    refused   ///< `refusal` was set
};

namespace detail {

/// Work that may let time pass between its statements: it answers `park`, and these say that it is the work, not its connection, that
/// waits.
template <class Work>
concept pausing_work = requires(const Work& w) {
    { w.pauses() } -> std::same_as<bool>;
    { w.pauses_until() } -> std::same_as<time_point>;
};

}  // namespace detail

/// A flight of `Op` through `World`'s time. `Source` leases, `Work` does the attempt:
///     signal Work::resume(connection&, Op&, outcome&)   // starts, goes on, ends; sets the outcome when it fails
///     void   Work::end() noexcept                       // lets go of the connection, also midway
///
/// `Way` is the passage, or a reference to one that was entered before anything else was built: so a refusal pays for nothing more.
template <class World, class Layers, class Source, class Op, class Work, class Way = passage<Layers, Op>>
class flight {
    using lease = typename Source::lease;
    enum class at : std::uint8_t { outside, waiting, connecting, working };

public:
    /// Whether it must be done where blocking is allowed.
    static constexpr bool blocks = Source::driver::blocking;

    flight(World& world, Layers& layers, Source& source, Op& op, Work& work) noexcept
        : op_(op), world_(world), work_(work), source_(source), passage_(layers, op) {}
    flight(World& world, std::remove_reference_t<Way>& entered, Source& source, Op& op, Work& work) noexcept
        requires(std::is_reference_v<Way>)
        : op_(op), world_(world), work_(work), source_(source), passage_(entered) {}
    flight(const flight&) = delete;
    flight& operator=(const flight&) = delete;
    /// Destroyed midway: the place in the queue and the connection go back; the passage abandons its layers.
    ~flight() {
        if (at_ != at::outside) [[unlikely]]
            give_up();
    }

    [[nodiscard]] STRATA_INLINE need start() noexcept { return follow<false>(passage_.first(timed_moment())); }
    /// The same for a drive that may block where it stands: the first attempt is made at once.
    [[nodiscard]] STRATA_INLINE need start_here() noexcept { return go_on_here(passage_.first(timed_moment())); }
    /// The same on a passage that has been entered already.
    [[nodiscard]] STRATA_INLINE need go_on_here(step entered) noexcept { return follow<true>(entered); }

    [[nodiscard]] STRATA_INLINE need resume() noexcept {
        if (at_ == at::working) [[likely]]
            return run();
        return resume_elsewhere();
    }

    [[nodiscard]] outcome& result() noexcept { return passage_.result(); }
    /// What the user's code threw in the last attempt; null when it threw nothing.
    [[nodiscard]] std::exception_ptr& thrown() noexcept { return thrown_; }
    [[nodiscard]] waiter* parked_on() noexcept {
        switch (at_) {
            case at::outside:
                return passage_.parked_on();
            case at::waiting:
                return &node_;
            default:
                if constexpr (detail::pausing_work<Work>)
                    if (work_.pauses()) return nullptr;
                return detail::node_of(source_.connection_of(lease_));
        }
    }
    [[nodiscard]] time_point parked_until() noexcept {
        switch (at_) {
            case at::outside:
                return passage_.parked_until();
            case at::waiting:
                return until_;
            default:
                if constexpr (detail::pausing_work<Work>)
                    if (work_.pauses()) return work_.pauses_until();
                return detail::end_of_wait(source_.connection_of(lease_));
        }
    }
    /// After `io`: the descriptor, and where the drive keeps what it has registered it with.
    [[nodiscard]] io_wait awaited() noexcept
        requires detail::yielding_connection<typename Source::connection>
    {
        return source_.connection_of(lease_).awaited();
    }
    [[nodiscard]] watch_place& watch() noexcept
        requires detail::yielding_connection<typename Source::connection>
    {
        return source_.connection_of(lease_).watch();
    }
    /// True while it stands in the source's queue.
    [[nodiscard]] bool is_queued() const noexcept { return at_ == at::waiting; }
    [[nodiscard]] Op& operation() noexcept { return op_; }
    [[nodiscard]] lease& leased() noexcept { return lease_; }

private:
    [[nodiscard]] STRATA_INLINE moment timed_moment() noexcept {
        if constexpr (std::remove_reference_t<Way>::timed)
            return world_.moment();
        else
            return moment{};
    }

    template <bool MayBlock>
    [[nodiscard]] STRATA_INLINE need follow(step s) noexcept {
        if (s == step::attempt) [[likely]]
            return acquire<MayBlock>();
        return s == step::park ? need::park : need::done;
    }

    template <bool MayBlock>
    [[nodiscard]] STRATA_INLINE need acquire() noexcept {
        const acquired a = source_.acquire(op_, node_, lease_);
        if (a == acquired::ready) [[likely]] {
            at_ = at::working;
            if constexpr (blocks && !MayBlock)
                return need::work;
            else
                return run();
        }
        return acquire_otherwise(a);
    }

    [[nodiscard]] STRATA_COLD need acquire_otherwise(acquired a) noexcept {
        op_.waited_for_lease = true;
        switch (a) {
            case acquired::connect:
                return begin_connecting();
            case acquired::wait: {
                at_ = at::waiting;
                const time_point now = world_.moment().now;
                waiting_since_ = now;
                const time_point limit = add_saturated(now, source_.wait_limit());
                until_ = time_point{limit < op_.deadline ? limit : op_.deadline};
                return need::park;
            }
            default:
                result().replace(source_.refusal(op_, world_.moment().now, false));
                return follow_cold(passage_.landed(timed_moment()));
        }
    }

    [[nodiscard]] STRATA_COLD need follow_cold(step s) noexcept {
        if (s == step::attempt) thrown_ = nullptr;  // of the attempt before
        return follow<false>(s);
    }

    [[nodiscard]] STRATA_INLINE need run() noexcept {
        signal s = signal::failed;
        detail::announce_resume(source_.connection_of(lease_), op_, world_);
        try {
            s = work_.resume(source_.connection_of(lease_), op_, result());
        } catch (...) {
            user_threw();
        }
        if (s == signal::done || s == signal::failed) [[likely]] {
            end_of_work();
            const step next = passage_.landed(timed_moment());
            if (next == step::done) [[likely]]
                return need::done;
            return follow_cold(next);
        }
        return more_work(s);
    }

    [[nodiscard]] STRATA_COLD need more_work(signal s) noexcept {
        switch (s) {
            case signal::io:
                return need::io;
            case signal::park:
                return need::park;
            case signal::turn:
                return need::turn;
            case signal::call:
                return need::call;
            case signal::item:
                op_.handed_over = true;
                return need::item;
            default:
                return need::work;
        }
    }

    STRATA_INLINE void end_of_work() noexcept {
        at_ = at::outside;
        work_.end();
        source_.release(lease_, op_, result().ok() ? health::good : after_failure());
    }
    [[nodiscard]] STRATA_COLD health after_failure() noexcept {
        if constexpr (requires { source_.note(result().error()); }) source_.note(result().error());
        return detail::health_after(result().error());
    }

    /// An exception of the user's sink, codec or closure, or out of memory: an outcome like others, rethrown by the face.
    STRATA_COLD void user_threw() noexcept {
        thrown_ = std::current_exception();
        result().replace(error{errc::user_exception, phase::result, effect::unknown});
    }

    [[nodiscard]] STRATA_COLD need resume_elsewhere() noexcept {
        switch (at_) {
            case at::waiting:
                return end_waiting();
            case at::connecting:
                return connect();
            default:
                thrown_ = nullptr;
                return follow<false>(passage_.resume(world_.moment()));
        }
    }

    /// A lease that came late: a driver that blocks is moved to where it may.
    [[nodiscard]] STRATA_COLD need begin_working() noexcept {
        at_ = at::working;
        if constexpr (blocks)
            return need::work;
        else
            return run();
    }
    [[nodiscard]] STRATA_COLD need begin_connecting() noexcept {
        at_ = at::connecting;
        if constexpr (blocks)
            return need::work;
        else
            return connect();
    }

    [[nodiscard]] STRATA_COLD need connect() noexcept {
        error e;
        detail::announce_resume(source_.connection_of(lease_), op_, world_);
        try {
            const signal s = source_.connect(lease_, op_, e);
            if (s == signal::io) return need::io;
            if (s == signal::park) return need::park;
            if (s == signal::work) return need::work;
            if (s == signal::done) {
                at_ = at::working;
                return run();
            }
        } catch (...) {
            thrown_ = std::current_exception();
            e = error{errc::user_exception, phase::connect};
        }
        at_ = at::outside;
        source_.release_unconnected(lease_);
        result().replace(std::move(e));
        return follow_cold(passage_.landed(timed_moment()));
    }

    [[nodiscard]] STRATA_COLD need end_waiting() noexcept {
        const moment m = world_.moment();
        if (!node_.is_granted() && m.now < time_point{until_} && !op_.cancelled.load(std::memory_order_relaxed))
            return need::park;  // woken for nothing
        at_ = at::outside;
        const acquired a = source_.end_wait(op_, node_, lease_, m.now - time_point{waiting_since_});
        if (a == acquired::ready) return begin_working();
        if (a == acquired::connect) return begin_connecting();
        if (op_.cancelled.load(std::memory_order_relaxed)) {
            result().replace(error{errc::cancelled, phase::acquire}.set_local());
        } else {
            error e = source_.refusal(op_, m.now, true);
            // It was the call's own time that ran out, not the source's patience.
            if (e.code() == errc::pool_exhausted && m.now >= op_.deadline) e.set(errc::timeout);
            result().replace(std::move(e));
        }
        return follow_cold(passage_.landed(m));
    }

    STRATA_COLD void give_up() noexcept {
        switch (at_) {
            case at::waiting:
                switch (source_.end_wait(op_, node_, lease_, duration::zero())) {
                    case acquired::ready:
                        source_.release(lease_, op_, health::good);
                        break;
                    case acquired::connect:
                        source_.release_unconnected(lease_);
                        break;
                    default:
                        break;
                }
                break;
            case at::connecting:
                source_.release_unconnected(lease_);
                break;
            case at::working:
                work_.end();
                source_.release(lease_, op_, health::good);
                break;
            default:
                break;
        }
        at_ = at::outside;
    }

    // Operation and work lie in the caller's frame, and so are not neighbours here: g++ 12 would make a pair of their addresses before it
    // is known whether the call is refused.
    Op& op_;
    World& world_;
    Work& work_;
    Source& source_;
    Way passage_;
    lease lease_{};
    at at_ = at::outside;
    waiter node_;
    unset<time_point> until_;  // these two are written when it begins to wait
    unset<time_point> waiting_since_;
    std::exception_ptr thrown_;
};

/// The blocking drive: the calling thread waits and works. Returns at `done` or `item`.
template <class Flight, class World>
STRATA_INLINE need drive(Flight& f, World& world, need n) noexcept {
    while (n == need::work || n == need::park) [[unlikely]] {
        if (n == need::park) world.park(f.parked_on(), f.parked_until());
        n = f.resume();
    }
    return n;
}

}  // namespace strata::inline STRATA_ABI

#endif

// What the handles of one transaction share: who uses the connection now, and whether something has doomed it.
//
// One word says both that a statement runs and how deep the open savepoint is, so that one compare-and-swap finds a second task or
// thread, the handle of an outer level while an inner one is open, and a transaction that has ended.
#ifndef STRATA_CORE_TRANSACTION_USE_HPP
#define STRATA_CORE_TRANSACTION_USE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// After this nothing but the whole, from the start, may succeed: the database has given up one of several that ran at once, or is gone.
[[nodiscard]] constexpr bool dooms_transaction(errc c) noexcept {
    return c == errc::serialization_failure || c == errc::deadlock || c == errc::busy_snapshot || c == errc::connection_lost;
}

class transaction_use {
public:
    /// For a handle of the level `depth`; false: `refusal` says why.
    [[nodiscard]] STRATA_INLINE bool enter(unsigned depth) noexcept {
        std::uint32_t expected = idle(depth);
        return word_.compare_exchange_strong(expected, idle(depth) | busy, std::memory_order_acquire, std::memory_order_relaxed);
    }
    /// By whoever has entered. `depth`: the level that is open now.
    STRATA_INLINE void leave(unsigned depth) noexcept { word_.store(idle(depth), std::memory_order_release); }
    [[nodiscard]] bool is_busy() const noexcept {
        const std::uint32_t now = word_.load(std::memory_order_acquire);
        return now != ended && (now & busy) != 0;
    }
    [[nodiscard]] bool has_ended() const noexcept { return word_.load(std::memory_order_acquire) == ended; }

    /// A new attempt.
    void begin() noexcept {
        doom_ = {};
        unfinished_.store(false, std::memory_order_relaxed);
        word_.store(0, std::memory_order_release);
    }
    /// From now on nobody may enter, whatever level is open; a savepoint that is open dooms the transaction, for only a part of it has
    /// been done. False: somebody is inside still.
    [[nodiscard]] bool try_end() noexcept {
        std::uint32_t now = word_.load(std::memory_order_relaxed);
        while ((now & busy) == 0 || now == ended) {
            if (!word_.compare_exchange_weak(now, ended, std::memory_order_acquire, std::memory_order_relaxed)) continue;
            if (now != idle(0) && now != ended) [[unlikely]]
                left_open();
            return true;
        }
        return false;
    }

    /// The same, but only where nobody is inside and no savepoint is open; false: nothing has changed.
    [[nodiscard]] bool try_end_alone() noexcept {
        std::uint32_t expected = idle(0);
        return word_.compare_exchange_strong(expected, ended, std::memory_order_acquire, std::memory_order_relaxed);
    }

    [[nodiscard]] STRATA_COLD error refusal() const {
        const std::uint32_t now = word_.load(std::memory_order_relaxed);
        if (now == ended)
            return {errc::misuse, "the transaction has ended: it was committed or rolled back, and its handle is of no use after that",
                    phase::admission};
        if ((now & busy) != 0)
            return {errc::misuse, "another task or thread is using this transaction: one statement at a time", phase::admission};
        return {errc::misuse, "a savepoint is open: within its closure use the handle that the closure was given", phase::admission};
    }

    /// After each statement that failed. What dooms the transaction does so even if a savepoint is rolled back and the closure goes on.
    STRATA_COLD void note(const error& e) noexcept {
        if (!dooms_transaction(e.code()) || doom_) return;
        doom_ = error{e.code(), e.phase(), e.effect()};  // also where there is no memory for its texts
        try {
            doom_ = e;
        } catch (...) {
        }
    }
    /// A closure has ended while somebody uses its handle: nothing can be said on the connection now, and nothing will be committed.
    /// That somebody may just `note` an error of its own.
    STRATA_COLD void doom() noexcept { unfinished_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] STRATA_COLD error doom_unfinished() {
        doom();
        return unfinished();
    }
    [[nodiscard]] STRATA_COLD static error unfinished() {
        return {errc::misuse, "the closure has ended while another task or thread is using its transaction: wait for it", phase::execute};
    }
    /// Whether the savepoint of this level is the innermost one.
    [[nodiscard]] bool is_open(unsigned depth) const noexcept {
        const std::uint32_t now = word_.load(std::memory_order_relaxed);
        return now != ended && (now & ~busy) == idle(depth);
    }
    // After `try_end`.
    [[nodiscard]] bool is_doomed() const noexcept { return doom_ || unfinished_.load(std::memory_order_relaxed); }
    [[nodiscard]] STRATA_COLD error why_doomed() const { return unfinished_.load(std::memory_order_relaxed) ? unfinished() : doom_; }

private:
    STRATA_COLD void left_open() noexcept {
        if (doom_) return;
        try {
            doom_ = {errc::misuse, "the transaction ended while a savepoint of it was open: wait for the savepoint's closure",
                     phase::execute};
        } catch (...) {  // no memory
            doom_ = error{errc::misuse, phase::execute};
        }
    }

    static constexpr std::uint32_t busy = 1;
    static constexpr std::uint32_t ended = ~std::uint32_t{0};
    static constexpr std::uint32_t idle(unsigned depth) noexcept { return depth << 1; }

    std::atomic<std::uint32_t> word_{0};
    std::atomic<bool> unfinished_{false};
    error doom_;  // written by whoever has entered
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The source of statements inside a session or a transaction: the one connection that these hold.
#ifndef STRATA_SOURCE_PINNED_HPP
#define STRATA_SOURCE_PINNED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver>
class pinned_source {
public:
    using driver = Driver;
    using connection = typename Driver::connection;
    using lease = connection*;

    explicit pinned_source(connection& c) noexcept : connection_(&c) {}
    /// Of the transaction's level `depth`: nothing runs once it has ended, for it would run outside of one. `alone`: nor beside another
    /// statement; a stream, which lies still between its rows, minds none.
    pinned_source(connection& c, transaction_use& use, unsigned depth, bool alone = true) noexcept
        : connection_(&c), use_(&use), depth_(depth), alone_(alone) {}

    STRATA_INLINE acquired acquire(operation_base&, waiter&, lease& out) noexcept {
        if (use_ != nullptr && !may_use()) [[unlikely]]
            return acquired::refused;
        out = connection_;
        return acquired::ready;
    }
    STRATA_INLINE void release(lease& l, operation_base&, health) noexcept {
        l = nullptr;
        if (use_ != nullptr && alone_) use_->leave(depth_);
    }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return *l; }
    /// Of an operation that failed.
    STRATA_COLD void note(const error& e) noexcept {
        if (use_ != nullptr) use_->note(e);
    }

    [[nodiscard]] STRATA_COLD error refusal(const operation_base&, time_point, bool) { return has_ended_ ? ended() : use_->refusal(); }
    [[nodiscard]] STRATA_COLD static error ended() {
        return {errc::transaction_aborted, "the transaction has ended: the database rolled it back, or it was committed", phase::admission,
                effect::rolled_back};
    }

    // Never asked for: nobody waits for a pinned connection.
    [[nodiscard]] acquired end_wait(operation_base&, waiter&, lease&, duration) noexcept { return acquired::refused; }
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }
    [[nodiscard]] duration wait_limit() const noexcept { return {}; }

private:
    [[nodiscard]] STRATA_INLINE bool may_use() noexcept {
        if (alone_ ? !use_->enter(depth_) : use_->has_ended()) [[unlikely]]
            return false;
        if (connection_->in_transaction()) [[likely]]
            return true;
        has_ended_ = true;
        if (alone_) use_->leave(depth_);
        return false;
    }

    connection* connection_;
    transaction_use* use_ = nullptr;
    unsigned depth_ = 0;
    bool alone_ = false;
    bool has_ended_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Lets an operation guard a connection for a scope, and puts back whoever guarded it before: the operation
// may lie on a stack that is gone when the connection is used again.
#ifndef STRATA_CORE_GUARDED_HPP
#define STRATA_CORE_GUARDED_HPP

namespace strata::inline STRATA_ABI {

/// A connection whose calls end early when `i` says so, until the end of the scope. Null: nothing ends them.
template <class Connection>
class [[nodiscard]] guarded {
public:
    STRATA_INLINE guarded(Connection& c, const interruption* i) noexcept : connection_(c), before_(c.guard()) { c.guard(i); }
    guarded(const guarded&) = delete;
    guarded& operator=(const guarded&) = delete;
    STRATA_INLINE ~guarded() { connection_.guard(before_); }

private:
    Connection& connection_;
    const interruption* before_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The work of one statement: a driver's query between the engine and a sink.
#ifndef STRATA_STATEMENT_WORK_HPP
#define STRATA_STATEMENT_WORK_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What most calls want besides their rows: nothing. See sql/marked.hpp for the others.
struct no_wish {
    [[nodiscard]] static consteval operation_facts refine(operation_facts f) { return f; }
    template <class Op, class Bound, class Sink>
    STRATA_INLINE static void tell(Op&, const Bound&, Sink&) noexcept {}
    template <class Sink>
    [[nodiscard]] STRATA_INLINE static error fulfil(Sink&) noexcept {
        return {};
    }
};

/// The facts of an operation that consists of this statement. A caller may say `idempotent`, so "no" means "ask".
template <class Bound>
consteval operation_facts facts_of_statement(bool inside_transaction) {
    constexpr statement_facts s = Bound::facts;
    return {.kind = static_cast<operation_kind>(s.kind),
            .kind_known = s.kind_known,
            .idempotent = s.idempotent == known::yes ? known::yes : known::at_run_time,
            .inside_transaction = inside_transaction};
}
static_assert(static_cast<int>(operation_kind::other) == static_cast<int>(statement_kind::other));

/// Tells the operation what kind of statement it is.
template <class Op, class Bound>
STRATA_INLINE void classify(Op& op, const Bound& statement, const call_options& options) {
    if constexpr (!Op::facts.kind_known) op.run_time_kind = static_cast<operation_kind>(statement.kind());
    if constexpr (Op::facts.idempotent == known::at_run_time) op.run_time_idempotent = options.idempotent || statement.idempotent();
    op.reads_only = op.kind() == operation_kind::read;
}

/// Tells the operation what its statement is.
template <class Op, class Bound>
STRATA_INLINE void describe(Op& op, const Bound& statement, const call_options& options) {
    op.name = statement.label();
    op.statement = statement.text().text;
    op.tags = options.tags;
    op.priority = options.priority;
    classify(op, statement, options);
}

/// A source in which statements may share connections; see source/pipelined.hpp.
template <class Source>
concept has_shared_side = requires(Source& s) { s.shared(); };
/// Which of them do: those of which is known that they leave nothing behind on a connection, and not that they keep others waiting.
template <class Source, class Bound>
[[nodiscard]] STRATA_INLINE bool shares_connection(Source& source, const Bound& statement, const call_options& options) noexcept {
    constexpr statement_facts f = Bound::facts;
    if constexpr (f.kind_known && (f.kind == statement_kind::read || f.kind == statement_kind::write)) {
        if (f.kind == statement_kind::read && f.idempotent != known::yes && !options.idempotent && !statement.idempotent()) return false;
        const descriptor& d = statement.text();
        return !d.on_session && !source.shared().keeps_apart(d.hash.low);
    } else {
        return false;
    }
}

template <class Driver, class Bound, class Sink>
class statement_work {
    using connection = typename Driver::connection;
    using query = typename connection::template query<Bound, Sink>;

public:
    /// False for a sink whose caller asks for rows only.
    static constexpr bool counts = !requires { requires !Sink::wants_count; };

    statement_work(const Bound& statement, Sink& sink) noexcept : statement_(statement), sink_(sink) {}
    statement_work(const statement_work&) = delete;
    statement_work& operator=(const statement_work&) = delete;
    ~statement_work() {}  // NOLINT: the flight, which goes before, has called end()

    STRATA_INLINE signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!running_) {
            if (op.is_cancelled()) [[unlikely]]  // a short statement would be over before the driver looks
                return refused(result);
            if (op.attempt > 1) [[unlikely]]
                sink_.restart();
            std::construct_at(&query_, c, statement_, sink_);
            running_ = true;
        }
        const signal s = query_.resume();
        if (s == signal::done) [[likely]] {
            if constexpr (counts) executed_ = {query_.affected(), query_.last_id()};
        } else if (s == signal::failed) {
            result.replace(std::move(query_.failure()));
        }
        return s;
    }
    STRATA_INLINE void end() noexcept {
        if (std::exchange(running_, false)) std::destroy_at(&query_);
    }

    [[nodiscard]] const execution& executed() const noexcept { return executed_; }

private:
    STRATA_COLD static signal refused(outcome& result) {
        result.replace(error{errc::cancelled, phase::execute});
        return signal::failed;
    }

    const Bound& statement_;
    Sink& sink_;
    union {  // an optional of it would be forty functions more to compile for each kind of statement
        query query_;
    };
    bool running_ = false;
    execution executed_;
};

/// What carries a statement out. `Alone`: in a transaction of its own; see transaction/modes.hpp.
template <class Runtime, class Source, class Bound, class Sink, bool Alone>
struct work_of_statement {
    using type = statement_work<typename Source::driver, Bound, Sink>;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One statement through one source, blocking: what all blocking sessions do under `calls`.
#ifndef STRATA_PERFORM_HPP
#define STRATA_PERFORM_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The deadline of a call: its own, but not beyond that of what it is part of.
template <class World>
STRATA_INLINE time_point deadline_of(World& world, duration own, const interruption* outer) noexcept {
    const time_point limit = outer != nullptr ? outer->deadline : never;
    if (own == duration::zero()) [[likely]]
        return limit;
    const time_point mine = add_saturated(world.moment().now, own);
    return mine < limit ? mine : limit;
}

/// Blocks until the operation has ended: for work that is not a single statement.
template <class Runtime, class Source, class Op, class Work>
error perform_work(Runtime& rt, Source& source, Op& op, Work& work) {
    flight<typename Runtime::world_type, typename Runtime::interceptors, Source, Op, Work> f{rt.world(), rt.policies(), source, op, work};
    static_cast<void>(drive(f, rt.world(), f.start_here()));
    if (f.thrown()) std::rethrow_exception(f.thrown());
    return std::move(f.result().error());
}

template <bool InsideTransaction, class Runtime, class Source, class Bound, class Sink, class Wish = no_wish>
STRATA_INLINE void perform_statement(Runtime& rt, Source& source, const Bound& statement, Sink& sink, execution& done,
                                     const call_options& o, const interruption* outer, outcome& ended, Wish&& wish = {}) {
    using op_type = operation<std::remove_cvref_t<Wish>::refine(facts_of_statement<Bound>(InsideTransaction))>;
    if constexpr (has_shared_side<Source> && !Runtime::interceptors::automatic) {
        if (shares_connection(source, statement, o))
            return perform_statement<InsideTransaction>(rt, source.shared(), statement, sink, done, o, outer, ended, wish);
    }
    using layers_type = typename Runtime::interceptors;
    using work_type = typename work_of_statement<Runtime, Source, Bound, Sink, layers_type::automatic && !InsideTransaction>::type;
    using way = passage<layers_type, op_type, outcome&>;
    moment m{};  // first: what lay in memory by then would have to be read again after the clock
    if constexpr (way::timed) m = rt.world().moment();
    op_type op{statement.label(), statement.text().text, o.tags, deadline_of(rt.world(), o.deadline, outer)};
    if constexpr (InsideTransaction) op.outer = outer;
    if constexpr (layers_type::asks_priority) op.priority = o.priority;
    classify(op, statement, o);
    wish.tell(op, statement, sink);
    way through{rt.policies(), op, ended};
    const step entered = through.first(m);
    if (entered == step::done) [[unlikely]]
        return;
    work_type work{statement, sink};
    if constexpr (requires { work.runs_in(rt); }) work.runs_in(rt);
    flight<typename Runtime::world_type, layers_type, Source, op_type, work_type, way&> f{rt.world(), through, source, op, work};
    static_cast<void>(drive(f, rt.world(), f.go_on_here(entered)));
    if (ended.ok()) [[likely]] {
        if constexpr (work_type::counts) done = work.executed();
    } else if (f.thrown()) {
        ended.clear();
        std::rethrow_exception(f.thrown());
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Rows one after the other, in bounded memory: `for (const account& a : db.rows<account>(query)) ...`
//
// The stream is one operation that holds its connection until it is exhausted or destroyed. It is repeated, by
// the layers that do so, only until the first row has reached the user.
#ifndef STRATA_STREAM_HPP
#define STRATA_STREAM_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A sink that pauses after each row, which lies in `current`.
template <class T>
struct cursor_sink {
    static constexpr bool one_by_one = true;
    T current{};

    [[nodiscard]] const void* tag() const noexcept { return row_decoder<T>::tag(); }
    template <class Row>
    [[nodiscard]] error plan(const Row& meta, row_plan& p) {
        return row_decoder<T>::plan(meta, p);
    }
    template <class Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return row_decoder<T>::decode(r, p, current, e) ? flow::pause : flow::stop;
    }
    void finish(error&) noexcept {}
    void restart() noexcept {}
};

/// What a stream keeps at a fixed address: its operation, with its own copy of the arguments.
template <class Runtime, class Source, class Bound, class Sink, bool InsideTransaction>
struct stream_state {
    static constexpr bool inside_transaction = InsideTransaction;
    using op_type = operation<facts_of_statement<Bound>(InsideTransaction)>;
    using work_type = statement_work<typename Runtime::driver, Bound, Sink>;

    stream_state(Runtime& r, Source s, Bound b, Sink into, const call_options& o, const interruption* outer, std::shared_ptr<void> keep)
        : keep_alive(std::move(keep)), rt(r), source(std::move(s)), statement(std::move(b)), sink(std::move(into)), work(statement, sink),
          f(rt.world(), rt.policies(), source.get(), op, work) {
        describe(op, statement, o);
        op.deadline = deadline_of(rt.world(), o.deadline, outer);
        op.outer = outer;
    }

    std::shared_ptr<void> keep_alive;
    Runtime& rt;
    Source source;
    Bound statement;
    Sink sink;
    op_type op;
    work_type work;
    flight<typename Runtime::world_type, typename Runtime::interceptors, std::remove_reference_t<decltype(std::declval<Source&>().get())>,
           op_type, work_type>
        f;
    bool started = false;

    /// True when a row lies in the sink; false at the end.
    bool advance(error& e) {
        const need n = drive(f, rt.world(), std::exchange(started, true) ? f.resume() : f.start());
        if (n == need::item) return true;
        if (f.thrown()) std::rethrow_exception(f.thrown());
        e = std::move(f.result().error());
        return false;
    }
};

/// A stream's source: the runtime's, or a pinned one of its own.
template <class Source>
struct borrowed_source {
    Source* source;
    Source& get() noexcept { return *source; }
};
template <class Source>
struct own_source {
    Source source;
    Source& get() noexcept { return source; }
};

}  // namespace detail

/// An input range of rows. Views inside a row (`std::string_view`) live until the next row. Not thread-safe; keeps the
/// runtime, but not a transaction, alive: a stream inside a transaction must end before it.
template <class T, class State>
class row_stream {
public:
    using state_type = State;
    class iterator {
    public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;

        iterator() noexcept = default;
        explicit iterator(row_stream* s) noexcept : stream_(s) {}
        [[nodiscard]] T& operator*() const noexcept { return stream_->state_->sink.current; }
        [[nodiscard]] T* operator->() const noexcept { return &stream_->state_->sink.current; }
        iterator& operator++() {
            stream_->step();
            return *this;
        }
        void operator++(int) { ++*this; }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return stream_ == nullptr || stream_->state_ == nullptr; }

    private:
        row_stream* stream_ = nullptr;
    };

    explicit row_stream(std::unique_ptr<State> s) noexcept : state_(std::move(s)) {}

    /// Runs the statement up to its first row. Call once.
    [[nodiscard]] iterator begin() {
        step();
        return iterator{this};
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// The next row; null at the end. Throws `failure`.
    [[nodiscard]] T* next() {
        step();
        return state_ != nullptr ? &state_->sink.current : nullptr;
    }
    /// The same without exceptions of ours.
    [[nodiscard]] result<T*> try_next() {
        error e;
        if (advance(e)) return &state_->sink.current;
        if (e) return e;
        return nullptr;
    }

private:
    void step() {
        error e;
        if (!advance(e) && e) throw_failure(std::move(e));
    }
    bool advance(error& e) {
        if (state_ == nullptr) return false;
        bool row = false;
        try {
            row = state_->advance(e);
        } catch (...) {
            state_.reset();
            throw;
        }
        if (!row) state_.reset();  // the connection goes back at once
        return row;
    }

    std::unique_ptr<State> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// How a transaction begins, once all defaults are in: what a driver makes its BEGIN of.
#ifndef STRATA_CORE_TRANSACTION_MODE_HPP
#define STRATA_CORE_TRANSACTION_MODE_HPP

namespace strata::inline STRATA_ABI {

/// What transactions that run at once may see of each other, at most. A database may give more than it is asked for: SQLite's transactions
/// are always serializable. From weak to strong, so that they compare.
enum class isolation : std::uint8_t {
    read_committed,   ///< each statement sees what was committed before it
    repeatable_read,  ///< all statements see one snapshot; a write that conflicts is `errc::serialization_failure`
    serializable      ///< as if one ran after the other; may end with `errc::serialization_failure` at any statement, and at COMMIT
};

[[nodiscard]] constexpr std::string_view to_string(isolation i) noexcept {
    constexpr std::string_view names[] = {"read_committed", "repeatable_read", "serializable"};
    return names[static_cast<std::size_t>(i)];
}

namespace detail {

/// For a database whose locks are taken when statements need them.
struct no_locking {};

/// `Locking`: the driver's kinds of BEGIN, where it has some.
template <class Locking = no_locking>
struct transaction_mode {
    bool read_only = false;
    bool deferrable = false;
    std::optional<strata::isolation> isolation = std::nullopt;  ///< empty: the database's default
    std::optional<Locking> locking = std::nullopt;              ///< empty: what is right for reading or writing

    /// Why there can be no such transaction; null when there can.
    [[nodiscard]] constexpr const char* contradiction() const noexcept {
        if (deferrable && !(read_only && isolation == strata::isolation::serializable))
            return "deferrable means something for a serializable transaction that only reads: set read_only = true and isolation = "
                   "strata::isolation::serializable too";
        return nullptr;
    }
};

/// What a database says of a COMMIT whose answer was lost.
enum class commit_fate : std::uint8_t { unknown, committed, rolled_back };

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How a transaction begins, and what is done when it meets a conflict.
//
//   db.transaction(pay, {.isolation = strata::isolation::serializable});
//   db.transaction(report, {.read_only = true, .isolation = strata::isolation::serializable, .deferrable = true});   // PostgreSQL
//   db.transaction(book, {.isolation = strata::isolation::repeatable_read, .escalation = {.from = 3, .lock = 4711}});
//
// What is left out is as the stack says (policy/transactions.hpp), or else as the database does it by default.
#ifndef STRATA_TRANSACTION_OPTIONS_HPP
#define STRATA_TRANSACTION_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// An option that a database does not have: it may be left out, and nothing else compiles.
struct no_locking_option {
    constexpr no_locking_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_locking_option>)
    constexpr no_locking_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database locks rows when statements need them, not at BEGIN: leave .locking out, and write .isolation "
                      "= strata::isolation::serializable, or lock rows by `select ... for update`");
    }
};
struct no_deferrable_option {
    constexpr no_deferrable_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_deferrable_option>)
    constexpr no_deferrable_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database has no deferrable transactions, and needs none, for a transaction that only reads never meets "
                      "a conflict there: leave .deferrable out, and write .read_only = true");
    }
};
struct no_resolve_option {
    constexpr no_resolve_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_resolve_option>)
    constexpr no_resolve_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: COMMIT always answers where the database is part of this process, so there is nothing to resolve: leave "
                      ".resolve_commit out");
    }
};
struct no_lock_option {
    constexpr no_lock_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_lock_option>)
    constexpr no_lock_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database has no advisory locks: leave .lock out; from attempt .from on the transaction takes the "
                      "write lock at its beginning, which nobody else can hold then");
    }
    [[nodiscard]] constexpr bool has_value() const noexcept { return false; }
};

template <class Driver>
struct locking_of {
    using kind = no_locking;
    using option = no_locking_option;
};
template <class Driver>
    requires requires { typename Driver::locking; }
struct locking_of<Driver> {
    using kind = typename Driver::locking;
    using option = std::optional<kind>;
};
template <class Driver>
inline constexpr bool defers = requires { requires Driver::deferrable; };
template <class Driver>
inline constexpr bool resolves_commits = requires { requires Driver::resolves_commits; };
template <class Driver>
inline constexpr bool has_advisory_locks = requires { requires Driver::advisory_locks; };

/// A session of a stack that says transactions<none>; asked where the session's type is to be forgotten.
template <class Session>
inline constexpr bool begins_no_transaction = requires { requires Session::runtime_type::interceptors::forbids_transactions; };

template <class Driver>
using mode_of = transaction_mode<typename locking_of<Driver>::kind>;

}  // namespace detail

/// Against livelock: closures that are repeated again and again, because they conflict with each other. For closures only.
template <class Driver>
struct transaction_escalation {
    /// The attempt from which on it holds, from 2; 0: never. On SQLite the transaction then takes the write lock at its beginning.
    unsigned from = 0;
    /// At least so isolated then.
    std::optional<strata::isolation> isolation = std::nullopt;
    /// PostgreSQL: the advisory lock of this number is taken before the attempt begins, and given back when it has ended, so that those who
    /// escalate come one after the other. A session's lock, for a transaction would have its snapshot before it has the lock; so not
    /// behind a pooler that gives each transaction another server.
    std::conditional_t<detail::has_advisory_locks<Driver>, std::optional<std::int64_t>, detail::no_lock_option> lock = {};
};

/// Options of one transaction on `Driver`'s database. What the database cannot do does not compile.
template <class Driver>
struct transaction_options {
    duration deadline{};  ///< over all attempts, from the start of the call; zero: none of its own
    std::span<const tag> tags = {};
    std::string_view name = {};                            ///< for metrics and logs
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    /// Only reads: runs on a reading connection, where a write fails with `errc::read_only`. A pool of one connection has
    /// none; there it is the caller's promise.
    bool read_only = false;
    /// At least so isolated.
    std::optional<strata::isolation> isolation = std::nullopt;
    /// PostgreSQL: a serializable transaction that only reads waits at its beginning for a snapshot with which it cannot meet a conflict.
    /// With others it is `errc::invalid_argument`.
    std::conditional_t<detail::defers<Driver>, std::optional<bool>, detail::no_deferrable_option> deferrable = {};
    /// SQLite: when the locks are taken. By default `deferred` with `read_only`, else `immediate`, so that what may write never finds that
    /// another has written since it read.
    typename detail::locking_of<Driver>::option locking = {};
    /// PostgreSQL: a COMMIT whose answer was lost is looked up on a new connection, by the transaction's id, which costs a round trip
    /// before each COMMIT of what has run a statement, and two more before a connection's first. Only the host is asked that the connection
    /// led to, and only if it is the same server still. It takes up to `postgres_options::finish_limit`; what is still not known then is
    /// `errc::outcome_unknown` with the id. Not asked for where the transaction only reads.
    std::conditional_t<detail::resolves_commits<Driver>, std::optional<bool>, detail::no_resolve_option> resolve_commit = {};
    transaction_escalation<Driver> escalation = {};
};

/// Marks a closure that must not run twice: `db.transaction(strata::once([&](auto& tx) { ... }))` is never repeated.
template <class Closure>
struct once {
    Closure closure;
    explicit once(Closure c) : closure(std::move(c)) {}
    template <class Transaction>
    decltype(auto) operator()(Transaction& tx) {
        return closure(tx);
    }
    template <class Transaction>
    decltype(auto) operator()(Transaction& tx) const {
        return closure(tx);
    }
};

namespace detail {

template <class Closure>
inline constexpr bool runs_once = false;
template <class Closure>
inline constexpr bool runs_once<once<Closure>> = true;
template <class Closure>
inline constexpr bool runs_once<const once<Closure>> = true;

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a transaction's options come to: how each of its attempts begins, and how much is asked about its end.
#ifndef STRATA_TRANSACTION_PLAN_HPP
#define STRATA_TRANSACTION_PLAN_HPP

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

// Begin, commit and roll back on a leased connection, with the truth about the effect. Shared by all forms of transactions.
//
// Each goes over several resumes where the connection waits for its descriptor: it is called again, with the same arguments, until it
// answers `done` or `failed`. Where the thread may block it answers at once.
#ifndef STRATA_TRANSACTION_CONTROL_HPP
#define STRATA_TRANSACTION_CONTROL_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] constexpr bool has_ended(signal s) noexcept {
    return s == signal::done || s == signal::failed;
}

template <class Connection>
[[nodiscard]] signal control(Connection& c, std::string_view sql, error& e) {
    if constexpr (controls_in_steps<Connection>) {
        return c.control_step(sql, e);
    } else {
        e = c.control(sql);
        return e ? signal::failed : signal::done;
    }
}

/// What the end of a transaction knows beside it, where the driver can look a COMMIT up.
template <bool Resolves>
struct resolution {
    explicit resolution(bool) noexcept {}
};
template <>
struct resolution<true> {
    enum class at : std::uint8_t { asking_id, committing, resolving };

    explicit resolution(bool w) noexcept : wanted(w) {}
    bool wanted;
    at stage = at::asking_id;
    std::string id;
};

/// The end of a transaction: one of the two.
template <class Driver>
class transaction_end {
    using connection = typename Driver::connection;

public:
    /// `resolves`: a COMMIT that got no answer is looked up.
    explicit transaction_end(bool resolves = false) noexcept : look_up_(resolves) {}

    /// COMMIT. On a failure the transaction is rolled back as far as possible, and the error says so.
    [[nodiscard]] signal commit(connection& c, error& e) {
        if (rolls_back_) return roll_back(c, e);
        const guarded unhurried{c, nullptr};
        if (!std::exchange(begun_, true) && !c.in_transaction()) {
            e = error{errc::commit_rolled_back, "the database had already rolled the transaction back", phase::commit, effect::rolled_back};
            return signal::failed;
        }
        if constexpr (resolves_commits<Driver>) {
            if (look_up_.wanted) [[unlikely]]
                return commit_and_resolve(c, e);
        }
        const signal s = control(c, Driver::commit(), e);
        if (s != signal::failed) return s;
        e.set(phase::commit);
        return c.in_transaction() ? roll_back(c, e) : signal::failed;
    }
    /// Rolls back after `why`, which then knows what became of the transaction. Never `done`.
    [[nodiscard]] STRATA_COLD signal roll_back(connection& c, error& why) {
        const guarded unhurried{c, nullptr};
        if (std::exchange(rolls_back_, true) || c.in_transaction()) {
            const signal s = control(c, Driver::rollback(), second_);
            if (!has_ended(s)) return s;
            if (s == signal::failed && c.in_transaction()) {
                why.set_lost().set(effect::unknown);
                return signal::failed;
            }
        }
        why.set(effect::rolled_back);
        return signal::failed;
    }

private:
    using at = resolution<true>::at;

    /// The transaction's id, COMMIT, and if that is not answered what became of the id.
    [[nodiscard]] STRATA_COLD signal commit_and_resolve(connection& c, error& e) {
        if (look_up_.stage == at::asking_id) {
            const signal s = c.transaction_id_step(look_up_.id, second_);
            if (!has_ended(s)) return s;
            if (s == signal::failed && !c.in_transaction()) {  // lost before COMMIT was sent
                e = std::move(second_.set(phase::commit).set(effect::rolled_back));
                return signal::failed;
            }
            look_up_.stage = at::committing;  // COMMIT will say whatever else is wrong
        }
        if (look_up_.stage == at::committing) {
            const signal s = control(c, Driver::commit(), e);
            if (s != signal::failed) return s;
            e.set(phase::commit);
            if (e.effect() != effect::unknown) return c.in_transaction() ? roll_back(c, e) : signal::failed;
            look_up_.stage = at::resolving;
            if (c.yields()) return signal::work;  // to where it may block
        }
        return resolve(c, e);
    }
    [[nodiscard]] signal resolve(connection& c, error& e) {
        if (look_up_.id.empty()) {
            e.edit_texts().detail = "the transaction had no id: as far as rows go it has changed nothing";
            return signal::failed;
        }
        std::string why;
        switch (c.resolve_commit(look_up_.id, why)) {
            case commit_fate::committed:
                e = {};
                return signal::done;
            case commit_fate::rolled_back:
                e.set(errc::connection_lost).set(effect::rolled_back);
                e.edit_texts().detail =
                    joined({"COMMIT was not answered; the server says that transaction ", look_up_.id, " was rolled back"});
                return signal::failed;
            case commit_fate::unknown:
                break;
        }
        error_texts& t = e.edit_texts();
        t.detail = joined({"transaction ", look_up_.id, ": ", why});
        t.hint = joined({"ask the server: select ", Driver::status_function(), "('", look_up_.id, "')"});
        return signal::failed;
    }

    bool begun_ = false;
    bool rolls_back_ = false;
    [[no_unique_address]] resolution<resolves_commits<Driver>> look_up_;
    error second_;  // of the rollback, or of the question for the id
};

/// One attempt of a transaction from BEGIN to its end, with the advisory lock around it where the attempt escalates. What it cannot give
/// back is given up with the connection.
template <class Driver>
class transaction_course {
    using connection = typename Driver::connection;

public:
    transaction_course() noexcept = default;
    transaction_course(const transaction_plan<Driver>& plan, unsigned attempt) : plan_(&plan), attempt_(attempt), end_(plan.resolves) {}

    /// It ends early when the guard says so.
    [[nodiscard]] signal begin(connection& c, error& e) {
        if (unlocks_) [[unlikely]]
            return after(c, signal::failed);
        if (const char* const why = plan_->contradiction()) [[unlikely]] {
            e = error{errc::invalid_argument, why, phase::admission};
            return signal::failed;
        }
        if constexpr (has_advisory_locks<Driver>) {
            if (!locked_ && plan_->lock_at(attempt_)) [[unlikely]] {
                const signal s = control(c, Driver::lock(*plan_->lock_at(attempt_)), e);
                if (s != signal::done) return s;
                locked_ = true;
            }
        }
        if constexpr (requires { c.begin_later(Driver::begin(plan_->mode_at(attempt_))); }) {
            if (c.begin_later(Driver::begin(plan_->mode_at(attempt_)))) return signal::done;
        }
        const signal s = control(c, Driver::begin(plan_->mode_at(attempt_)), e);
        return s == signal::failed ? after(c, s) : s;
    }
    /// As `transaction_end`.
    [[nodiscard]] signal commit(connection& c, error& e) { return unlocks_ ? after(c, ended_) : after(c, end_.commit(c, e)); }
    [[nodiscard]] signal roll_back(connection& c, error& why) { return unlocks_ ? after(c, ended_) : after(c, end_.roll_back(c, why)); }

private:
    [[nodiscard]] signal after([[maybe_unused]] connection& c, signal s) {
        if constexpr (has_advisory_locks<Driver>) {
            if (has_ended(s) && locked_) [[unlikely]]
                return unlock(c, s);
        }
        return s;
    }
    [[nodiscard]] STRATA_COLD signal unlock(connection& c, signal s) {
        const guarded unhurried{c, nullptr};
        unlocks_ = true;
        ended_ = s;
        error ignored;
        const signal u = control(c, Driver::unlock(*plan_->lock_at(attempt_)), ignored);
        if (!has_ended(u)) return u;
        unlocks_ = locked_ = false;
        return s;
    }

    const transaction_plan<Driver>* plan_ = nullptr;
    unsigned attempt_ = 1;
    transaction_end<Driver> end_;
    signal ended_ = signal::done;
    bool locked_ = false;
    bool unlocks_ = false;
};

/// A savepoint of the transaction that is open.
template <class Driver>
class savepoint {
    using connection = typename Driver::connection;

public:
    explicit savepoint(unsigned depth) noexcept : depth_(depth) {}

    [[nodiscard]] signal enter(connection& c, error& e) { return control(c, Driver::savepoint(depth_), e); }
    [[nodiscard]] signal leave(connection& c, error& e) { return control(c, Driver::release(depth_), e); }
    /// Back to it, and it is gone; nothing where the database has rolled back everything by itself. Never `failed`: the transaction
    /// will see what is left.
    [[nodiscard]] STRATA_COLD signal undo(connection& c) noexcept {
        const guarded unhurried{c, nullptr};
        try {
            if (!undoing_ && !c.in_transaction()) return signal::done;
            undoing_ = true;
            if (!back_) {
                const signal s = control(c, Driver::rollback_to(depth_), ignored_);
                if (!has_ended(s)) return s;
                back_ = true;
            }
            const signal s = control(c, Driver::release(depth_), ignored_);
            return has_ended(s) ? signal::done : s;
        } catch (...) {  // no memory for an error's texts
            return signal::done;
        }
    }

private:
    unsigned depth_;
    bool undoing_ = false;
    bool back_ = false;
    error ignored_;
};

/// The deadline or a cancel stops a transaction up to here; a COMMIT once sent is awaited.
template <class World>
[[nodiscard]] error stopped(const operation_base& op, World& world) {
    if (op.is_cancelled()) return error{errc::cancelled, "cancelled before the transaction was committed", phase::commit};
    if (op.deadline != never && world.moment().now >= op.deadline)
        return error{errc::timeout, "the deadline passed before the transaction was committed", phase::commit};
    return {};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Several steps on one connection, all or nothing: in a transaction of their own, or behind a savepoint of the one that is open.
#ifndef STRATA_TRANSACTION_ENCLOSED_HPP
#define STRATA_TRANSACTION_ENCLOSED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// BEGIN, a body, COMMIT; inside a transaction, where `depth` is not 0, the savepoint of that depth. When the body fails, throws, or the
/// operation is stopped, nothing of it stays, and the error says so.
template <class Driver>
class enclosed {
    using connection = typename Driver::connection;

public:
    /// `plan`: of a transaction of its own; it must live as long.
    enclosed(unsigned depth, const transaction_plan<Driver>& plan) : savepoint_(depth), course_(plan, 1), in_savepoint_(depth != 0) {}

    /// `body(error&)` answers a signal, and is called again until that is `done` or `failed`. So is this, with the error in `e`.
    template <class World, class Body>
    [[nodiscard]] signal resume(connection& c, const operation_base& op, World& world, error& e, Body&& body) {
        if (at_ == at::entering) {
            const signal s = in_savepoint_ ? savepoint_.enter(c, e) : course_.begin(c, e);
            if (s != signal::done) return s;
            at_ = at::inside;
        }
        if (at_ == at::inside) {
            try {
                const signal s = body(e);
                if (!has_ended(s)) return s;
            } catch (...) {
                thrown_ = std::current_exception();
                e = error{errc::user_exception, phase::execute};
            }
            if (!e) e = stopped(op, world);
            at_ = e ? at::undoing : at::leaving;
        }
        if (at_ == at::leaving) {
            if (!in_savepoint_) return course_.commit(c, e);
            const signal s = savepoint_.leave(c, e);
            if (s != signal::failed) return s;
            at_ = at::undoing;
        }
        const signal s = in_savepoint_ ? savepoint_.undo(c) : course_.roll_back(c, e);
        if (!has_ended(s)) return s;
        if (in_savepoint_) e.set(effect::rolled_back);
        if (thrown_) std::rethrow_exception(thrown_);
        return signal::failed;
    }

private:
    enum class at : std::uint8_t { entering, inside, leaving, undoing };

    savepoint<Driver> savepoint_;
    transaction_course<Driver> course_;
    std::exception_ptr thrown_;  // by the body
    at at_ = at::entering;
    bool in_savepoint_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Parameters from the members of a struct: `bind_members(insert, account)`.
#ifndef STRATA_VALUE_BIND_MEMBERS_HPP
#define STRATA_VALUE_BIND_MEMBERS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <class Member>
inline constexpr fixed_string<Member::name().size() + 1> fixed_name{Member::name().data(), Member::name().size()};

template <class Member, class T>
inline constexpr std::string_view member_column = column_of_member<T>(Member::name());
template <class Member, class T>
inline constexpr fixed_string<member_column<Member, T>.size() + 1> fixed_column{member_column<Member, T>.data(),
                                                                               member_column<Member, T>.size()};

/// A member under its own name, and under its column's where that is another one.
template <class Member, class T>
[[nodiscard]] constexpr auto arguments_of_member(const T& object) {
    using kept_member = kept<decltype((Member::get(object)))>;
    using own = argument<fixed_name<Member>, kept_member>;
    if constexpr (member_column<Member, T> == Member::name()) {
        return std::tuple<own>{own{keep(Member::get(object))}};
    } else {
        using renamed_one = argument<fixed_column<Member, T>, kept_member>;
        return std::tuple<own, renamed_one>{own{keep(Member::get(object))}, renamed_one{keep(Member::get(object))}};
    }
}

template <class T, class... Members>
[[nodiscard]] constexpr auto arguments_of_members(const T& object, member_list<Members...>) {
    return argument_set{std::tuple_cat(arguments_of_member<Members>(object)...)};
}

/// The first name of a statement that no member has; empty if there is none.
template <class T, fixed_string Names>
consteval auto nameless_parameter() {
    constexpr name_list<Names> parameters{};
    constexpr std::size_t first = [](const auto& list) {
        std::size_t i = 0;
        while (i < list.size && (member_index<T>(list.names[i]) >= 0 || member_of_column<T>(list.names[i]) >= 0)) ++i;
        return i;
    }(parameters);
    constexpr std::size_t size = parameters.names[first].size();
    return fixed_string<size + 1>{parameters.names[first].data(), size};
}

/// The compiler's note shows the parameter's name.
template <class T, fixed_string Parameter>
struct no_member_named {
    static_assert(Parameter.size() == 0,
                  "strata: the statement has a parameter that no member of the struct is named after: rename it, give the arguments one by "
                  "one, or map the column with strata::mapping<T>");
};

template <class T, class Literal>
struct member_check;
template <class T, literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
struct member_check<T, literal<Facts, Names, SqliteNames>> {
    using told = no_member_named<T, nameless_parameter<T, Names>()>;
    /// Where the dialects see different parameters, the call itself says what is missing.
    static constexpr bool right = !Facts.same_names || nameless_parameter<T, Names>().size() == 0;
};

}  // namespace detail

/// Calls the literal with the members of an adapted struct: each parameter `:name` takes the member of this name, or the member whose
/// `mapping` gives its column this name; members that the text does not name are ignored. A parameter without a member does not
/// compile, and the compiler names it. The members are kept by reference: `object` must live until the call ends (an asynchronous
/// call copies them, as it copies all arguments).
///
/// ```cpp
/// constexpr auto insert = "insert into account (id, owner) values (:id, :owner)"_sql;
/// db.execute(strata::bind_members(insert, account{.id = 7, .owner = "Ada"}));
/// ```
template <class Literal, adapted_struct T>
    requires detail::is_literal<Literal>
[[nodiscard]] constexpr auto bind_members(const Literal& statement, const T& object) {
    using check = detail::member_check<T, Literal>;
    if constexpr (check::right) return statement(detail::arguments_of_members(object, detail::members<T>{}));
    else return sizeof(typename check::told);
}

}  // namespace strata::inline STRATA_ABI

#endif

// One statement for each element of a range, all or nothing: one operation, one lease, and for asynchronous code one hop.
#ifndef STRATA_TRANSACTION_BATCH_HPP
#define STRATA_TRANSACTION_BATCH_HPP

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

// What a transaction's closure returns, and whether that is an error: a result that holds one rolls back.
#ifndef STRATA_TRANSACTION_CLOSURE_HPP
#define STRATA_TRANSACTION_CLOSURE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Closure, class Handle>
using closure_value = std::remove_cvref_t<std::invoke_result_t<Closure&, Handle&>>;

template <class T, class Handle>
inline constexpr bool lets_out = std::is_same_v<T, Handle> || std::is_same_v<T, Handle*> || std::is_same_v<T, const Handle*> ||
                                 std::is_same_v<T, std::reference_wrapper<Handle>>;

/// A stream of rows on a connection that somebody else holds.
template <class T>
concept stream_inside = requires { requires T::state_type::inside_transaction; };

/// The handle stays where it is, and so does what reads through it.
template <class Value, class Handle>
constexpr void assert_kept() {
    static_assert(!lets_out<Value, Handle>,
                  "strata: a transaction's handle must not leave its closure, with which the transaction ends: return values, or use "
                  "db.begin() for a transaction that you end by hand");
    static_assert(
        !stream_inside<Value>,
        "strata: a stream of rows must not leave the closure of its transaction, which ends before the first row is read: read the "
        "rows within the closure, or return tx.all<T>(...)");
}

/// `void` as something that can be stored.
struct nothing {};
template <class T>
using storable = std::conditional_t<std::is_void_v<T>, nothing, T>;

template <class T>
concept error_valued = requires(const T& v) {
    { v.has_error() } -> std::convertible_to<bool>;
};

/// `std::expected` and its relatives.
template <class T>
concept expected_valued = !error_valued<T> && requires(const T& v) {
    { v.has_value() } -> std::convertible_to<bool>;
    v.error();
};

template <class T>
[[nodiscard]] bool holds_error(const T& v) noexcept {
    if constexpr (error_valued<T>)
        return v.has_error();
    else if constexpr (expected_valued<T>)
        return !v.has_value();
    else
        return false;
}

/// A result whose error is ours.
template <class T>
concept our_result = requires { typename T::error_type; } && std::is_same_v<typename T::error_type, error>;

/// What a form that does not throw returns for a closure's value: a result, but no result in a result.
template <class T>
struct as_result {
    using type = result<T>;
};
template <our_result T>
struct as_result<T> {
    using type = T;
};

/// The closure's error-valued result with what became of it: ours learns the effect, another's comes out as it is.
template <class T>
[[nodiscard]] T failed_value(T&& returned, error&& e) {
    if constexpr (our_result<T>)
        return T{std::move(e)};
    else
        return std::move(returned);
}

/// The error that the outcome carries for an error-valued result: ours as it is, another type's as `user_error`.
template <class T>
[[nodiscard]] error error_in(const T& v) {
    if constexpr (requires {
                      { v.error() } -> std::convertible_to<const error&>;
                  })
        return v.error();
    else
        return error{errc::user_error, "the closure returned an error", phase::execute};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The calls that every session offers: a database, a pinned connection, a transaction, an erased session.
//
// A mixin over one primitive of the session, `perform`, so each form is written once. The throwing forms
// throw `strata::failure`; the `try_` forms return `strata::result` and throw only what the user's own codecs do.
#ifndef STRATA_CALLS_HPP
#define STRATA_CALLS_HPP

namespace strata::inline STRATA_ABI {

/// Which statements may run where: transaction control never inside a transaction, session state only on a pinned connection.
enum class scope : std::uint8_t { database, session, transaction };

namespace detail {

template <class Facts>
constexpr bool is_fit(const Facts& f, dialect d) {
    return d == dialect::sqlite ? f.fits_sqlite : f.fits_postgres;
}

/// Checked at compile time where the kind is known, at run time otherwise.
constexpr bool may_run(statement_kind k, scope where) {
    switch (k) {
        case statement_kind::transaction_control:
            return where == scope::session;
        case statement_kind::session:
            return where != scope::database;
        default:
            return true;
    }
}

/// What the session's type can tell of the statement's type.
template <class Bound, class Session>
constexpr void assert_placement() {
    if constexpr (requires { Session::dialect; }) {
        static_assert(is_fit(Bound::facts, Session::dialect),
                      "strata: this statement is not written in the dialect of the session's database");
        if constexpr (Bound::facts.kind_known) {
            static_assert(may_run(Bound::facts.kind, Session::where) || Bound::facts.kind != statement_kind::transaction_control,
                          "strata: begin, commit, rollback and savepoint are not statements here: write db.transaction([&](auto& tx) { ... "
                          "}), or use db.session()");
            static_assert(may_run(Bound::facts.kind, Session::where) || Bound::facts.kind != statement_kind::session,
                          "strata: session state would land on some connection of the pool: pin one with db.session()");
        }
    }
}

[[nodiscard]] STRATA_COLD inline error misplaced_statement() {
    error e{errc::misuse, "this kind of statement cannot run here: transaction control and session state need a pinned connection",
            phase::admission};
    e.edit_texts().hint = "use db.transaction(...) for transactions and db.session() for session state";
    return e;
}

/// What only the object can tell of a statement, before anything is sent.
template <dialect Dialect, scope Where, class Bound>
STRATA_INLINE error check_made_at_run_time(const Bound& statement) {
    if constexpr (Bound::facts.kind_known) {
        return {};
    } else {
        if (error e = check_statement(statement, Dialect)) return e;
        return may_run(statement.kind(), Where) ? error{} : misplaced_statement();
    }
}

/// The rest, which is empty for literals on a session whose type says all.
template <class Session, class Bound>
STRATA_INLINE error check_placement(const Session& session, const Bound& statement) {
    assert_placement<Bound, Session>();
    if constexpr (requires { Session::dialect; }) {
        return check_made_at_run_time<Session::dialect, Session::where>(statement);
    } else {
        if (!is_fit(Bound::facts, session.dialect_now()))
            return {errc::invalid_statement, "the statement is not written in the dialect of the session's database", phase::admission};
        if (error e = check_statement(statement, session.dialect_now())) return e;
        return may_run(statement.kind(), session.where_now()) ? error{} : misplaced_statement();
    }
}

/// Whether a session can do what a marked statement asks for, as far as its type tells. Nothing is cached inside a transaction or on a
/// pinned connection, which may see what others do not; there, and where the type does not tell, the mark `cached` is passed over.
template <class Marked, class Session>
constexpr bool fulfils_wishes() {
    if constexpr (requires {
                      requires Session::where == scope::database;
                      typename Session::runtime_type;
                  }) {
        using layers = typename Session::runtime_type::interceptors;
        static_assert(!Marked::is_cached || layers::caches,
                      "strata: a call asks for caching, but no layer of its stack caches: add strata::cache<>, or leave out cached(...)");
        static_assert(!Marked::is_replaced || layers::replaces,
                      "strata: this call says what stands for a failure, but no layer of the stack decides when: add strata::fallback<>, "
                      "or leave or_else(...) out");
        return true;
    } else {
        static_assert(!Marked::is_replaced,
                      "strata: or_else(...) needs a database whose type is known: in a transaction or a session a failure must be seen");
        return false;
    }
}

}  // namespace detail

template <class Self>
class calls : public detail::row_lock_members<Self> {
public:
    // Each form is there with options and without: an options object that nobody gave would be made, passed and read in vain, 12 to 18
    // instructions of each call.

    /// Runs a statement and drops its rows. Rows that were changed, and the last id.
    template <class S>
    execution execute(const S& statement, const call_options& o) {
        return run(statement, o);
    }
    template <class S>
    execution execute(const S& statement) {
        return run(statement, no_call_options);
    }
    template <class S>
    result<execution> try_execute(const S& statement, const call_options& o) {
        return try_run(statement, o);
    }
    template <class S>
    result<execution> try_execute(const S& statement) {
        return try_run(statement, no_call_options);
    }

    /// Exactly one row: `errc::no_rows` and `errc::too_many_rows` otherwise.
    template <class T, class S>
    T one(const S& statement, const call_options& o) {
        return fetch<one_sink<T, T&>, T>(statement, o);
    }
    template <class T, class S>
    T one(const S& statement) {
        return fetch<one_sink<T, T&>, T>(statement, no_call_options);
    }
    template <class T, class S>
    result<T> try_one(const S& statement, const call_options& o) {
        return try_fetch<one_sink<T, T&>, T>(statement, o);
    }
    template <class T, class S>
    result<T> try_one(const S& statement) {
        return try_fetch<one_sink<T, T&>, T>(statement, no_call_options);
    }

    /// One row or none: `errc::too_many_rows` otherwise.
    template <class T, class S>
    std::optional<T> maybe_one(const S& statement, const call_options& o) {
        return fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, o);
    }
    template <class T, class S>
    std::optional<T> maybe_one(const S& statement) {
        return fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, no_call_options);
    }
    template <class T, class S>
    result<std::optional<T>> try_maybe_one(const S& statement, const call_options& o) {
        return try_fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, o);
    }
    template <class T, class S>
    result<std::optional<T>> try_maybe_one(const S& statement) {
        return try_fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, no_call_options);
    }

    /// All rows, in memory. For results without a bound use `rows`.
    template <class T, class S>
    std::vector<T> all(const S& statement, const call_options& o) {
        return fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, o);
    }
    template <class T, class S>
    std::vector<T> all(const S& statement) {
        return fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, no_call_options);
    }
    template <class T, class S>
    result<std::vector<T>> try_all(const S& statement, const call_options& o) {
        return try_fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, o);
    }
    template <class T, class S>
    result<std::vector<T>> try_all(const S& statement) {
        return try_fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, no_call_options);
    }

    /// All rows, one after the other, in bounded memory: an input range; see `row_stream`.
    template <class T, class S>
    [[nodiscard]] auto rows(const S& statement, const call_options& o = no_call_options) {
        static_assert(!detail::is_marked<S>, "strata: rows one after the other are neither cached nor replaced: use all");
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        auto state = static_cast<Self&>(*this).open_stream(bound.own(), detail::cursor_sink<T>{}, o);
        return row_stream<T, typename decltype(state)::element_type>{std::move(state)};
    }

    /// Runs a literal for each element of `elements` in one transaction (inside a transaction: a savepoint), all or nothing.
    /// An element is a tuple of arguments in order, a struct whose members have the parameters' names, or one argument.
    /// A failure names the element. `affected` is the sum, `last_id` the last one. It is one operation, admitted and repeated
    /// as a whole.
    template <class Statement, class Range>
    execution execute_many(const Statement& statement, const Range& elements, const call_options& o = no_call_options) {
        execution done;
        if (error e = go_many(statement, elements, done, o)) throw_failure(std::move(e));
        return done;
    }
    template <class Statement, class Range>
    result<execution> try_execute_many(const Statement& statement, const Range& elements, const call_options& o = no_call_options) {
        execution done;
        if (error e = go_many(statement, elements, done, o)) return e;
        return done;
    }

    /// Rows of a range into a table by COPY, all or nothing: `copied`. `table`: a name, or `copy_table`. A row that cannot be
    /// written, or that the server refuses, is named by its number. See `strata/copy.hpp`, as for the two below.
    template <class Table, class Rows, class Options = copy_options>
    auto copy_in(const Table& table, Rows&& rows, const Options& o = detail::default_options<Options>()) {
        return try_copy_in(table, rows, o).value();
    }
    template <class Table, class Rows, class Options = copy_options>
    auto try_copy_in(const Table& table, Rows&& rows, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::in(static_cast<Self&>(*this), table, rows, o);
    }
    /// Rows of a table, or of a query without parameters, by COPY: `each_row(T&)` for one after the other, in bounded memory. What it
    /// throws ends the copy.
    template <class T, class Source, class F, class Options = copy_options>
    auto copy_out(const Source& source, F&& each_row, const Options& o = detail::default_options<Options>()) {
        return try_copy_out<T>(source, each_row, o).value();
    }
    template <class T, class Source, class F, class Options = copy_options>
    auto try_copy_out(const Source& source, F&& each_row, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::template out<T>(static_cast<Self&>(*this), source, each_row, o);
    }
    /// The same column by column, appended to vectors: `db.copy_out("account", std::tie(ids, owners))`. After an error they are as before.
    template <class Source, class... T, class Options = copy_options>
    auto copy_out(const Source& source, std::tuple<std::vector<T>&...> columns, const Options& o = detail::default_options<Options>()) {
        return try_copy_out(source, columns, o).value();
    }
    template <class Source, class... T, class Options = copy_options>
    auto try_copy_out(const Source& source, std::tuple<std::vector<T>&...> columns, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::columns(static_cast<Self&>(*this), source, columns, o);
    }
    /// The same as the server writes it, text, CSV or binary, to a `std::ostream`, a `file_descriptor`, or a function of `string_view`.
    template <class Source, class Sink, class Options = copy_options>
    auto copy_to(const Source& source, Sink&& sink, const Options& o = detail::default_options<Options>()) {
        return try_copy_to(source, sink, o).value();
    }
    template <class Source, class Sink, class Options = copy_options>
    auto try_copy_to(const Source& source, Sink&& sink, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::raw(static_cast<Self&>(*this), source, sink, o);
    }

    /// Independent statements in one flight to the server and back: the tuple of their results; see `strata/pipeline.hpp`.
    template <class... S>
    auto pipeline(const S&... statements) {
        return pipeline(call_options{}, statements...);
    }
    template <class... S>
    auto pipeline(const call_options& o, const S&... statements) {
        return detail::pipeline_calls<Self, true>::run(static_cast<Self&>(*this), o, statements...);
    }
    /// The same with a `result` for each statement: the others' are there when one has failed.
    template <class... S>
    auto try_pipeline(const S&... statements) {
        return try_pipeline(call_options{}, statements...);
    }
    template <class... S>
    auto try_pipeline(const call_options& o, const S&... statements) {
        return detail::pipeline_calls<Self, true>::try_run(static_cast<Self&>(*this), o, statements...);
    }

    /// `transaction`, with failures of the database as a `result`; exceptions of the closure are thrown.
    template <class Closure, class Me = Self, class Value = detail::closure_value<Closure, typename Me::transaction_type>>
    auto try_transaction(Closure&& closure) -> typename detail::as_result<Value>::type {
        try {
            if constexpr (std::is_void_v<Value>) {
                static_cast<Self&>(*this).transaction(closure);
                return {};
            } else {
                return static_cast<Self&>(*this).transaction(closure);
            }
        } catch (const failure& f) {
            return f.error();
        }
    }

private:
    template <class S, class Sink>
    STRATA_INLINE void go(const S& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if constexpr (detail::is_marked<S>) {
            go_marked(statement, sink, done, o, ended);
        } else {
            const auto& bound = detail::as_bound(statement);
            if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) [[unlikely]]
                return ended.replace(std::move(e));
            static_cast<Self&>(*this).perform(bound, sink, done, o, ended);
        }
    }
    template <class S, class Sink>
    void go_marked(const S& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if constexpr (!detail::fulfils_wishes<S, Self>()) {
            go(statement.bound, sink, done, o, ended);
        } else {
            if (error e = detail::check_placement(static_cast<const Self&>(*this), statement.bound)) return ended.replace(std::move(e));
            auto wish = statement.template wish_for<Sink>();
            static_cast<Self&>(*this).perform(statement.bound, sink, done, o, ended, wish);
            if (!ended.ok()) return;
            if (error e = wish.fulfil(sink)) ended.replace(std::move(e));
        }
    }

    template <class Statement, class Range>
    error go_many(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        detail::assert_placement<detail::bound_element<Statement, Range>, Self>();
        return static_cast<Self&>(*this).perform_batch(statement, elements, done, o);
    }

    template <class S>
    STRATA_INLINE execution run(const S& statement, const call_options& o) {
        discard_sink sink;
        execution done;
        outcome ended;
        go(statement, sink, done, o, ended);
        if (!ended.ok()) [[unlikely]]
            throw_failure(std::move(ended.error()));
        return done;
    }
    template <class S>
    STRATA_INLINE result<execution> try_run(const S& statement, const call_options& o) {
        discard_sink sink;
        result<execution> done;
        go(statement, sink, *done, o, done.slot());
        done.settle();
        return done;
    }

    /// The sink writes where the caller will have the value, so it never moves.
    template <class Sink, class Value, class S>
    STRATA_INLINE Value fetch(const S& statement, const call_options& o) {
        Value value{};
        Sink sink{value};
        execution done;
        outcome ended;
        go(statement, sink, done, o, ended);
        if (!ended.ok()) [[unlikely]]
            throw_failure(std::move(ended.error()));
        return value;
    }
    template <class Sink, class Value, class S>
    STRATA_INLINE result<Value> try_fetch(const S& statement, const call_options& o) {
        result<Value> value;
        Sink sink{*value};
        execution done;
        go(statement, sink, done, o, value.slot());
        value.settle();
        return value;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// A session whose stack and driver are not known: for code compiled apart from both.
//
//   account load(strata::any_session& s, std::int64_t id);     // a .cpp that sees no stack and no driver
//   strata::any_session s{db};  load(s, 7);                    // database, session, transaction
//
// One virtual call an operation plus one a column and parameter. It refers to the session it was made from.
#ifndef STRATA_ANY_SESSION_HPP
#define STRATA_ANY_SESSION_HPP

namespace strata::inline STRATA_ABI {

class any_session;

namespace detail {

/// An open stream whose type is forgotten.
class any_stream {
public:
    template <class State>
    explicit any_stream(std::unique_ptr<State> s)
        : state_(s.release(), [](void* p) { delete static_cast<State*>(p); }),
          advance_([](void* p, error& e) { return static_cast<State*>(p)->advance(e); }) {}

    [[nodiscard]] bool advance(error& e) { return advance_(state_.get(), e); }

private:
    std::unique_ptr<void, void (*)(void*)> state_;
    bool (*advance_)(void*, error&);
};

/// What a session must do, behind one table a session type.
struct session_table {
    dialect speaks;
    scope where;
    void (*perform)(void* session, const any_statement&, any_sink&, execution&, const call_options&, outcome&);
    any_stream (*open)(void* session, any_statement, any_sink&, const call_options&);
    /// Runs `call(closure, inner)` in a transaction, at most once if so marked; an error that it returns rolls back and comes out.
    /// Of the options a savepoint has no use for deadline and tags.
    error (*transact)(void* session, void* closure, error (*call)(void* closure, any_session& inner), bool once, const call_options&);
};

/// The near side of an erased stream: the arguments, and the sink that the far side fills.
template <class Bound, class Sink>
struct erased_stream_state {
    erased_stream_state(Bound s, Sink into) : statement(std::move(s)), arguments(statement), sink(std::move(into)), out(sink) {}

    Bound statement;
    argument_views arguments;
    Sink sink;
    erased_sink<Sink> out;
    std::optional<any_stream> far;

    bool advance(error& e) { return far->advance(e); }
};

}  // namespace detail

/// See above. Cheap to copy. Thread-safe where the session that it refers to is.
class any_session : public calls<any_session> {
public:
    /// From a database, a pinned session, a transaction or a transaction's handle, which must outlive it.
    template <class Session>
        requires(!std::is_same_v<std::remove_cv_t<Session>, any_session>)
    any_session(Session& session) noexcept;

    using transaction_type = any_session;

    [[nodiscard]] dialect dialect_now() const noexcept { return table_->speaks; }
    [[nodiscard]] scope where_now() const noexcept { return table_->where; }

    /// A transaction; inside one, a savepoint. The closure gets an `any_session&`; its value comes out.
    template <class Closure>
    auto transaction(Closure&& closure) {
        return transact(closure, {});
    }

private:
    template <class Closure>
    auto transact(Closure& closure, const call_options& o) {
        using value = detail::closure_value<Closure, any_session>;
        struct context {
            std::remove_reference_t<Closure>& closure;
            std::optional<detail::storable<value>> returned;
        } here{closure, {}};
        error e = table_->transact(
            session_, &here,
            [](void* c, any_session& inner) -> error {
                context& at = *static_cast<context*>(c);
                at.returned.reset();
                if constexpr (std::is_void_v<value>) {
                    at.closure(inner);
                    at.returned.emplace();
                } else {
                    at.returned.emplace(at.closure(inner));
                    if (detail::holds_error(*at.returned)) return detail::error_in(*at.returned);
                }
                return {};
            },
            detail::runs_once<std::remove_reference_t<Closure>>, o);
        if (e) {
            if constexpr (!std::is_void_v<value>) {
                if (here.returned && detail::holds_error(*here.returned))
                    return detail::failed_value(std::move(*here.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<value>) return std::move(*here.returned);
    }

public:
    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        const detail::argument_views arguments{statement};
        erased_sink<Sink> out{sink};
        table_->perform(session_, any_statement{statement, arguments.all()}, out, done, o, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        call_options each = o;
        const time_point until = o.deadline != duration::zero() ? add_saturated(steady_now(), o.deadline) : never;
        const auto run = [&](any_session& tx) -> result<execution> {
            execution total;
            std::size_t number = 0;
            for (const auto& element : elements) {
                if (until != never) each.deadline = until - steady_now() != duration::zero() ? until - steady_now() : duration{-1};
                auto one = tx.try_execute(detail::bind_element(statement, element), each);
                if (!one) return detail::in_element(std::move(one).error(), number);
                total.affected += one->affected;
                total.last_id = one->last_id;
                ++number;
            }
            return total;
        };
        try {
            const result<execution> r = transact(run, o);
            if (!r) return r.error();
            done = *r;
            return {};
        } catch (const failure& f) {
            return f.error();
        }
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        auto state = std::make_unique<detail::erased_stream_state<Bound, Sink>>(std::move(statement), std::move(sink));
        state->far.emplace(table_->open(session_, any_statement{state->statement, state->arguments.all()}, state->out, o));
        return state;
    }

private:
    void* session_;
    const detail::session_table* table_;
};

namespace detail {

template <class Session>
struct session_functions {
    static void perform(void* s, const any_statement& statement, any_sink& sink, execution& done, const call_options& o, outcome& ended) {
        sink_ref out{sink};
        static_cast<Session*>(s)->perform(statement, out, done, o, ended);
    }
    static any_stream open(void* s, any_statement statement, any_sink& sink, const call_options& o) {
        return any_stream{static_cast<Session*>(s)->open_stream(statement, stream_sink_ref{sink}, o)};
    }
    static error transact([[maybe_unused]] void* s, [[maybe_unused]] void* closure, [[maybe_unused]] error (*call)(void*, any_session&),
                          [[maybe_unused]] bool only_once, [[maybe_unused]] const call_options& o) {
        if constexpr (begins_no_transaction<Session>)
            return {errc::unsupported, "the stack of this session says transactions<none>", phase::admission};
        else
            return begin(s, closure, call, only_once, o);
    }
    static constexpr session_table table{Session::dialect, Session::where, &perform, &open, &transact};

private:
    static error begin(void* s, void* closure, error (*call)(void*, any_session&), bool only_once, const call_options& o) {
        const auto body = [&](auto& tx) -> result<void> {
            any_session inner{tx};
            if (error e = call(closure, inner)) return e;
            return {};
        };
        Session& session = *static_cast<Session*>(s);
        const auto run = [&](const auto& what) -> result<void> {
            using options = transaction_options<typename Session::driver>;
            if constexpr (requires { session.transaction(what, options{}); })
                return session.transaction(what, options{.deadline = o.deadline, .tags = o.tags, .priority = o.priority});
            else
                return session.transaction(what);
        };
        result<void> r = only_once ? run(once(body)) : run(body);
        return r ? error{} : std::move(r).error();
    }
};

}  // namespace detail

template <class Session>
    requires(!std::is_same_v<std::remove_cv_t<Session>, any_session>)
any_session::any_session(Session& session) noexcept : session_(&session), table_(&detail::session_functions<Session>::table) {}

}  // namespace strata::inline STRATA_ABI

#endif

// Members that a policy adds to the faces of a stack: `db.update_versioned(...)` is there where `optimistic_locking<>` stands in the
// stack, and nowhere else.
//
//   struct some_policy {
//       static constexpr auto place = strata::place::extend;   // such a policy needs no hooks
//       template <class Self> struct members { ... };          // of the blocking faces: database, transactions, sessions
//       template <class Self> struct async_members { ... };    // of the asynchronous ones; either may be left out
//   };
//
// The faces inherit them, and `static_cast<Self&>(*this)` is the face. They have no data.
#ifndef STRATA_CORE_EXTENSIONS_HPP
#define STRATA_CORE_EXTENSIONS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class P>
concept extending = requires { requires P::place == place::extend; };

/// What one layer adds to a face: nothing, as a rule.
template <class P, class Self>
struct added_members {};
template <class P, class Self>
    requires extending<P> && requires { typename P::template members<Self>; }
struct added_members<P, Self> : P::template members<Self> {
    static_assert(std::is_empty_v<typename P::template members<Self>>, "strata: the members that a policy adds to a face have no data");
};

template <class P, class Self>
struct added_async_members {};
template <class P, class Self>
    requires extending<P> && requires { typename P::template async_members<Self>; }
struct added_async_members<P, Self> : P::template async_members<Self> {
    static_assert(std::is_empty_v<typename P::template async_members<Self>>,
                  "strata: the members that a policy adds to a face have no data");
};

/// What a list of layers adds to a face, which inherits it. `List` is a stack, or its interceptors.
template <class Self, class List>
struct extensions {};
template <class Self, template <class...> class List, class... P>
    requires(extending<P> || ...)
struct extensions<Self, List<P...>> : added_members<P, Self>... {};

template <class Self, class List>
struct async_extensions {};
template <class Self, template <class...> class List, class... P>
    requires(extending<P> || ...)
struct async_extensions<Self, List<P...>> : added_async_members<P, Self>... {};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What runs after a transaction has ended: `tx.on_commit(f)` and `tx.on_rollback(f)`, plain functions without arguments.
//
// They run after the fact, in the order in which they were registered, where the closure ran: the thread of the call, or the handler's
// executor. When they run the connection has gone back, so they may use the database.
//
//   committed                 on_commit; the others are dropped
//   rolled back               on_rollback; the others are dropped
//   a savepoint rolled back   at once, the on_rollback of its closure; its on_commit are dropped
//   an attempt repeated       its on_rollback, before the next attempt begins, which has its connection by then
//   outcome unknown           neither, and the error says so
//   never ended               neither, where the operation itself was destroyed on its way
//
// A hook belongs to the handle on which it is registered: on any but the innermost open savepoint's, or after the end, that is
// `errc::misuse`, thrown, and nothing is registered.
//
// What a hook throws is dropped and the others run: what has happened has happened. One that wants to be heard catches by itself.
#ifndef STRATA_TRANSACTION_HOOKS_HPP
#define STRATA_TRANSACTION_HOOKS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A list in the order of registration. Each hook is one allocation; the list has none of its own.
class transaction_hooks {
    struct hook {
        explicit hook(bool c) noexcept : after_commit(c) {}
        hook(const hook&) = delete;
        hook& operator=(const hook&) = delete;
        virtual ~hook() = default;
        virtual void run() = 0;
        hook* next = nullptr;
        const bool after_commit;
    };
    template <class F>
    struct hook_of final : hook {
        template <class G>
        hook_of(bool c, G&& g) : hook(c), function(std::forward<G>(g)) {}
        void run() override { function(); }
        F function;
    };

public:
    /// The newest hook at that time; what comes after it is younger.
    using mark = hook*;

    transaction_hooks() noexcept = default;
    transaction_hooks(const transaction_hooks&) = delete;
    transaction_hooks& operator=(const transaction_hooks&) = delete;
    ~transaction_hooks() {
        if (first_ != nullptr) [[unlikely]]
            drop(nullptr);
    }

    template <class F>
    void add(bool after_commit, F&& f) {
        static_assert(std::is_invocable_r_v<void, std::decay_t<F>&> && std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>,
                      "strata: a hook of a transaction is a plain function without arguments that returns nothing: write "
                      "tx.on_commit([&] { ... })");
        hook* const h = new hook_of<std::decay_t<F>>(after_commit, std::forward<F>(f));
        (last_ != nullptr ? last_->next : first_) = h;
        last_ = h;
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] mark now() const noexcept { return last_; }

    /// Runs those of one kind that are younger than `since` (null: all) and drops these and the others.
    STRATA_COLD void run(bool after_commit, mark since = nullptr) noexcept {
        hook* h = since != nullptr ? std::exchange(since->next, nullptr) : std::exchange(first_, nullptr);
        last_ = since;
        while (h != nullptr) {
            hook* const next = h->next;
            if (h->after_commit == after_commit) {
                try {
                    h->run();
                } catch (...) {
                }
            }
            delete h;
            h = next;
        }
    }
    STRATA_COLD void drop(mark since) noexcept {
        hook* h = since != nullptr ? std::exchange(since->next, nullptr) : std::exchange(first_, nullptr);
        last_ = since;
        while (h != nullptr) delete std::exchange(h, h->next);
    }

private:
    hook* first_ = nullptr;
    hook* last_ = nullptr;
};

/// What lies beside a transaction from its first attempt to its last.
struct transaction_state {
    transaction_use use;
    transaction_hooks hooks;

    /// By the handle of the level `depth`. Throws `failure`, `misuse`, where that is not the one to be used now: what it registers would be
    /// dropped with a savepoint that is not its own, or never run.
    template <class F>
    void add_hook(unsigned depth, bool after_commit, F&& f) {
        if (!use.is_open(depth)) [[unlikely]]
            throw_failure(use.refusal());
        hooks.add(after_commit, std::forward<F>(f));
    }

    /// After the last attempt, when the connection has gone back. `e`: how it ended, no error after a commit.
    void run_hooks(error& e) noexcept {
        if (!hooks.empty()) [[unlikely]]
            run_after(e);
    }
    /// Before another attempt: what was to follow the rollback of the one before.
    void run_before_attempt() noexcept {
        if (!hooks.empty()) [[unlikely]]
            hooks.run(false);
    }

    /// Another thread uses the connection at the end of the closure: its statement is cancelled, and waited for.
    STRATA_COLD error end_late(operation_base& op) {
        op.cancelled.store(true, std::memory_order_relaxed);
        while (!use.try_end()) std::this_thread::sleep_for(std::chrono::microseconds{200});
        op.cancelled.store(false, std::memory_order_relaxed);
        return use.doom_unfinished();
    }

private:
    STRATA_COLD void run_after(error& e) noexcept {
        if (!e) return hooks.run(true);
        if (e.effect() != effect::unknown) return hooks.run(false);
        hooks.drop(nullptr);
        try {
            std::string& detail = e.edit_texts().detail;
            detail.append(detail.empty() ? "" : "; ").append("neither on_commit nor on_rollback was run");
        } catch (...) {  // no memory
        }
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What runs inside a transaction: the handle that a closure gets, with savepoints by nesting.
#ifndef STRATA_TRANSACTION_TRANSACTION_HPP
#define STRATA_TRANSACTION_TRANSACTION_HPP

namespace strata::inline STRATA_ABI {

/// An open transaction (or savepoint) as a closure sees it. Not copied, not moved: it lives as long as the closure
/// runs. Statements on it ask only the layers that stand inside transactions; they share its deadline.
/// One thread at a time: a second one is refused with `errc::misuse`, and so is the handle of an outer level while a savepoint is open.
template <class Runtime>
class basic_transaction : public calls<basic_transaction<Runtime>>,
                          public detail::extensions<basic_transaction<Runtime>, typename Runtime::interceptors> {
public:
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    using transaction_type = basic_transaction;
    static constexpr scope where = scope::transaction;

    basic_transaction(Runtime& rt, connection& c, operation_base& op, detail::transaction_state& state, unsigned depth) noexcept
        : rt_(rt), connection_(c), op_(op), state_(state), depth_(depth) {}
    basic_transaction(const basic_transaction&) = delete;
    basic_transaction& operator=(const basic_transaction&) = delete;

    /// A savepoint: the closure's value comes out; when it throws or returns an error, only what it did is rolled
    /// back and this transaction stays usable. Never repeated by itself: a conflict in it is one of the whole transaction, which is rolled
    /// back at its end and repeated where the stack does so, even if the closure goes on.
    template <class Closure>
    auto transaction(Closure&& closure) {
        using value = detail::closure_value<Closure, basic_transaction>;
        detail::assert_kept<value, basic_transaction>();
        if (error e = enter()) throw_failure(std::move(e));
        const detail::transaction_hooks::mark before = state_.hooks.now();
        basic_transaction inner{rt_, connection_, op_, state_, depth_ + 1};
        try {
            if constexpr (std::is_void_v<value>) {
                closure(inner);
                leave(before);
            } else {
                value v = closure(inner);
                if (!detail::holds_error(v)) {
                    leave(before);
                    return v;
                }
                undo(before);
                if constexpr (detail::our_result<value>) {
                    error e = v.error();
                    e.set(effect::rolled_back);
                    return detail::failed_value(std::move(v), std::move(e));
                } else {
                    return v;
                }
            }
        } catch (const failure& f) {
            undo(before);
            error e = detail::told_by_closure(f.error());
            if (e.effect() == effect::none) e.set(effect::rolled_back);
            throw_failure(std::move(e));
        } catch (...) {
            undo(before);
            throw;
        }
    }

    /// Calls `f()` when the transaction has been committed; see hooks.hpp. One allocation. `errc::misuse` where a statement on this handle
    /// would be.
    template <class F>
    void on_commit(F&& f) {
        state_.add_hook(depth_, true, std::forward<F>(f));
    }
    /// Calls `f()` when the transaction, or the savepoint whose closure this is, has been rolled back.
    template <class F>
    void on_rollback(F&& f) {
        state_.add_hook(depth_, false, std::forward<F>(f));
    }

    /// Number of the attempt, from 1: the closure may run again after a conflict.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }
    /// The driver's own handle, for what strata does not offer. Do not end the transaction through it.
    [[nodiscard]] auto native_handle() const noexcept { return connection_.native_handle(); }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        source_type source{connection_, state_.use, depth_};
        detail::perform_statement<true>(rt_, source, statement, sink, done, o, &op_, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        source_type source{connection_, state_.use, depth_};
        return detail::perform_batch<true>(rt_, source, statement, elements, depth_ + 1, done, o, &op_);
    }
    template <class F>
    error on_source(F&& f) {
        source_type source{connection_, state_.use, depth_};
        return f(rt_, source, depth_ + 1, static_cast<const interruption*>(&op_));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::own_source<source_type>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, true>;
        return std::make_unique<state>(rt_, source{source_type{connection_, state_.use, depth_, false}}, std::move(statement),
                                       std::move(sink), o, &op_, nullptr);
    }

private:
    using source_type = detail::pinned_source<driver>;
    using savepoint_type = detail::savepoint<driver>;

    [[nodiscard]] error enter() {
        if (!state_.use.enter(depth_)) return state_.use.refusal();
        error e = connection_.in_transaction() ? error{} : source_type::ended();
        if (!e) static_cast<void>(savepoint_type{depth_ + 1}.enter(connection_, e));
        if (e) state_.use.note(e);
        state_.use.leave(e ? depth_ : depth_ + 1);
        return e;
    }
    void leave(detail::transaction_hooks::mark before) {
        error e;
        if (!state_.use.enter(depth_ + 1)) throw_failure(state_.use.doom_unfinished());
        const signal s = savepoint_type{depth_ + 1}.leave(connection_, e);
        if (s == signal::failed) state_.use.note(e);
        state_.use.leave(s == signal::done ? depth_ : depth_ + 1);
        if (s == signal::done) return;
        undo(before);
        throw_failure(std::move(e));
    }
    void undo(detail::transaction_hooks::mark before) noexcept {
        if (!state_.use.is_open(depth_ + 1)) return;  // undone by `leave`
        if (!state_.use.enter(depth_ + 1)) return state_.use.doom();
        static_cast<void>(savepoint_type{depth_ + 1}.undo(connection_));
        state_.use.leave(depth_);
        state_.hooks.run(false, before);
    }

    Runtime& rt_;
    connection& connection_;
    operation_base& op_;
    detail::transaction_state& state_;
    unsigned depth_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A transaction as one operation: admitted once, its closure run on one connection, repeated as a whole or not at all.
#ifndef STRATA_TRANSACTION_RUN_HPP
#define STRATA_TRANSACTION_RUN_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What a closure that ended with `e` comes to: what has doomed the transaction, though the closure went on, goes before success and before
/// its own consequences, but not before what the closure itself has thrown or returned.
[[nodiscard]] inline error verdict_of(const transaction_use& use, error e) {
    if (use.is_doomed() && (!e || e.code() == errc::transaction_aborted)) [[unlikely]]
        return use.why_doomed();
    return e;
}

template <class Runtime, class Closure>
class transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = basic_transaction<Runtime>;
    using value = closure_value<Closure, handle>;

public:
    transaction_work(Runtime& rt, Closure& closure, const transaction_plan<driver>& plan) noexcept
        : rt_(rt), closure_(closure), plan_(plan) {
        assert_kept<value, handle>();
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        thrown = nullptr;
        returned.reset();
        state.run_before_attempt();
        const guarded guard{c, &op};
        error e;
        transaction_course<driver> course{plan_, op.attempt};
        signal s = course.begin(c, e);  // it blocks: each step answers its end
        if (s == signal::done) {
            e = run(c, op);
            if (!e) e = stopped(op, rt_.world());
            s = e ? course.roll_back(c, e) : course.commit(c, e);
        }
        if (s == signal::failed) result.replace(std::move(e));
        return s;
    }
    void end() noexcept {}

    std::exception_ptr thrown;  ///< what the closure threw, unless it was ours
    std::optional<storable<value>> returned;
    transaction_state state;

private:
    [[nodiscard]] error run(connection& c, operation_base& op) {
        state.use.begin();
        handle_.emplace(rt_, c, op, state, 0u);
        op.handed_over = runs_once<Closure>;
        error e = call(*handle_);
        if (!state.use.try_end()) [[unlikely]]
            e = state.end_late(op);
        return verdict_of(state.use, std::move(e));
    }
    [[nodiscard]] error call(handle& tx) {
        try {
            if constexpr (std::is_void_v<value>) {
                closure_(tx);
                returned.emplace();
            } else {
                returned.emplace(closure_(tx));
                if (holds_error(*returned)) return error_in(*returned);
            }
            return {};
        } catch (const failure& f) {
            return told_by_closure(f.error());
        } catch (...) {
            thrown = std::current_exception();
            return error{errc::user_exception, phase::execute};
        }
    }

    Runtime& rt_;
    Closure& closure_;
    const transaction_plan<driver> plan_;
    std::optional<handle> handle_;  // outlives the closure, so that it can refuse whoever uses it then
};

inline constexpr operation_facts transaction_facts{.kind = operation_kind::transaction};

/// Runs a closure as a transaction on connections of `source`. `thrown` and the value are in the work.
template <class Runtime, class Source, class Work>
error drive_transaction(Runtime& rt, Source& source, Work& work, const transaction_options<typename Runtime::driver>& o,
                        const interruption* outer) {
    using op_type = operation<transaction_facts>;
    op_type op;
    op.name = o.name;
    op.tags = o.tags;
    op.priority = o.priority;
    op.reads_only = o.read_only;
    op.deadline = deadline_of(rt.world(), o.deadline, outer);
    op.outer = outer;
    flight<typename Runtime::world_type, typename Runtime::interceptors, Source, op_type, Work> f{rt.world(), rt.policies(), source, op,
                                                                                                  work};
    static_cast<void>(drive(f, rt.world(), f.start()));
    work.state.run_hooks(f.result().error());
    if (f.thrown()) std::rethrow_exception(f.thrown());
    return std::move(f.result().error());
}

/// The throwing form: the closure's value, its own exception, or `failure`. An error-valued result is returned, not thrown.
template <class Runtime, class Source, class Closure>
auto run_transaction(Runtime& rt, Source& source, Closure& closure, const transaction_options<typename Runtime::driver>& o,
                     const interruption* outer = nullptr) {
    using value = closure_value<Closure, basic_transaction<Runtime>>;
    assert_transactions<Runtime>();
    transaction_work<Runtime, Closure> work{rt, closure, plan_of(rt, o)};
    error e = drive_transaction(rt, source, work, o, outer);
    if (e) [[unlikely]] {
        if (work.thrown) std::rethrow_exception(work.thrown);
        if constexpr (!std::is_void_v<value>) {
            if (work.returned && holds_error(*work.returned)) return failed_value(std::move(*work.returned), std::move(e));
        }
        throw_failure(std::move(e));
    }
    if constexpr (!std::is_void_v<value>) return std::move(*work.returned);
}

/// The `try_` form: exceptions of the closure that are not ours are still thrown.
template <class Runtime, class Source, class Closure>
auto try_run_transaction(Runtime& rt, Source& source, Closure& closure, const transaction_options<typename Runtime::driver>& o,
                         const interruption* outer = nullptr) ->
    typename as_result<closure_value<Closure, basic_transaction<Runtime>>>::type {
    using value = closure_value<Closure, basic_transaction<Runtime>>;
    assert_transactions<Runtime>();
    transaction_work<Runtime, Closure> work{rt, closure, plan_of(rt, o)};
    error e = drive_transaction(rt, source, work, o, outer);
    if (e) [[unlikely]] {
        if (work.thrown) std::rethrow_exception(work.thrown);
        return e;
    }
    if constexpr (std::is_void_v<value>)
        return {};
    else
        return std::move(*work.returned);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Work that stands by itself, also within a transaction of the same database: an audit record that must not be rolled back with it.
//
//   db.transaction([&](auto& tx) {
//       tx.execute(pay(...));
//       db.independent().execute(audit(...));      // on a connection of its own, kept for such work
//   });
//
// Whoever holds a connection and asks the pool for another one may wait for himself, when all who hold one do so. What is independent waits
// for none of those: it has places of its own, `pool_options::reserved`.
#ifndef STRATA_INDEPENDENT_HPP
#define STRATA_INDEPENDENT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The pool of what is independent; throws `failure` where there is none.
template <class Runtime>
[[nodiscard]] auto& reserve_of(Runtime& rt) {
    static_assert(!Runtime::driver::single_writer,
                  "strata: this database has one writer, so independent work would wait for the transaction it is independent of: write "
                  "before or after the transaction");
    static_assert(requires { rt.connections().reserve(); }, "strata: independent() needs a stack with a pool");
    auto* reserve = rt.connections().reserve();
    if (reserve == nullptr)
        throw_failure(error{errc::misuse, "independent() needs connections of its own: set pool_options.reserved", phase::admission});
    return *reserve;
}
template <class Runtime>
using reserve_type = std::remove_reference_t<decltype(reserve_of(std::declval<Runtime&>()))>;

}  // namespace detail

/// Calls and transactions on the reserved connections; they pass all layers of the stack as any others. Cheap; keeps the runtime alive.
template <class Runtime>
class independent_database : public calls<independent_database<Runtime>>,
                             public detail::extensions<independent_database<Runtime>, typename Runtime::interceptors> {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// `database::independent()`.
    explicit independent_database(std::shared_ptr<Runtime> rt) : rt_(std::move(rt)), source_(detail::reserve_of(*rt_)) {}

    /// As `database::transaction`.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::run_transaction(*rt_, source_, closure, o);
    }
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::try_run_transaction(*rt_, source_, closure, o);
    }

    // For `calls`.
    template <class Bound, class Sink, class Wish = detail::no_wish>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended, Wish&& wish = {}) {
        detail::perform_statement<false>(*rt_, source_, statement, sink, done, o, nullptr, ended, wish);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return detail::perform_batch<false>(*rt_, source_, statement, elements, 0, done, o, nullptr);
    }
    template <class F>
    error on_source(F&& f) {
        return f(*rt_, source_, 0u, static_cast<const interruption*>(nullptr));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::borrowed_source<detail::reserve_type<Runtime>>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, false>;
        return std::make_unique<state>(*rt_, source{&source_}, std::move(statement), std::move(sink), o, nullptr, rt_);
    }

private:
    std::shared_ptr<Runtime> rt_;
    detail::reserve_type<Runtime>& source_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Tells whether this process is a child forked after the object was made: connections must not be shared with the parent.
#ifndef STRATA_CORE_FORK_HPP
#define STRATA_CORE_FORK_HPP

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace strata::inline STRATA_ABI {

/// One load a question: the count of forks above this process, kept by a handler that runs in each child.
class fork_guard {
public:
    fork_guard() noexcept : born_(generation().load(std::memory_order_relaxed)) {}
    [[nodiscard]] bool is_forked_child() const noexcept { return counter.load(std::memory_order_relaxed) != born_; }

private:
    static inline std::atomic<std::uint32_t> counter{0};

    static std::atomic<std::uint32_t>& generation() noexcept {
#if defined(__unix__) || defined(__APPLE__)
        static const int installed = ::pthread_atfork(nullptr, nullptr, [] { counter.fetch_add(1, std::memory_order_relaxed); });
        static_cast<void>(installed);
#endif
        return counter;
    }

    std::uint32_t born_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Work that a runtime does by itself, besides its callers: a pool that looks after its connections.
//
// A task is resumable: it is run when its time has come, does what is due, and says when it wants to be run again. So the same task is run
// by a thread in the real world and in virtual time by a simulation.
#ifndef STRATA_CORE_BACKGROUND_HPP
#define STRATA_CORE_BACKGROUND_HPP

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <csignal>
#else
#include <thread>
#endif

namespace strata::inline STRATA_ABI {

class background;

/// Whoever runs tasks: a world.
class background_runner {
public:
    /// `background::rouse`.
    virtual bool rouse(background& task) noexcept = 0;
    /// The calendar's time, for what depends on the hour of the day.
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall_now() const noexcept = 0;

protected:
    ~background_runner() = default;
};

class background {
public:
    /// Does what is due; returns when it wants to be run again, `never`: not before it is roused. Never called by two threads at once.
    virtual time_point run(moment m) noexcept = 0;

    /// What it is doing should end soon, for it will be removed. From any thread.
    virtual void cancel() noexcept {}

    /// It is due at once; while it is running, as soon as it has ended. From any thread; not while it is added or removed. False where
    /// nobody can run it: no world has it, or no thread is to be had.
    bool rouse() noexcept { return runner != nullptr && runner->rouse(*this); }

    // For the world that runs it.
    background_runner* runner = nullptr;
    background* next = nullptr;  ///< the one behind it in its list
    time_point due{};            ///< when it is run next; `never` before it is added: not before it is roused
    bool running = false;
    bool roused = false;  ///< while it was running

    background* behind = nullptr;  ///< for whoever added it: the one added before it

protected:
    background() = default;
    background(const background&) = delete;
    background& operator=(const background&) = delete;
    ~background() = default;
};

/// Runs tasks in threads of its own, which take no signals. The first one begins with the first task that is due; another one where all
/// are busy and something else is, or will be, due. Thread-safe.
class background_threads final : public background_runner {
public:
    static constexpr std::size_t most = 48;  ///< threads; beyond that tasks wait

    explicit background_threads(random_source& random) noexcept : random_(random) {}
    background_threads(const background_threads&) = delete;
    background_threads& operator=(const background_threads&) = delete;
    /// Ends the threads and waits for them. In a forked child there are none.
    ~background_threads() {
        if (begun_ == 0 || process_.is_forked_child()) return;
        lock_.lock();
        stop_ = true;
        lock_.unlock();
        for (std::size_t i = 0; i < begun_; ++i) ring();  // no thread is begun any more
        for (std::size_t i = 0; i < begun_; ++i) join(threads_[i]);
    }

    /// The task is run whenever it is due. False when there is no thread to be had.
    [[nodiscard]] STRATA_COLD bool add(background& b) noexcept {
        {
            hold guard(lock_);
            b.runner = this;
            b.next = first_;
            first_ = &b;
            if (b.due != never && !has_thread()) {
                first_ = b.next;
                return false;
            }
        }
        ring();
        return true;
    }
    /// Waits until it is not running; it is not run again.
    STRATA_COLD void remove(background& b) noexcept {
        if (process_.is_forked_child()) return;
        b.cancel();
        lock_.lock();
        for (background** link = &first_; *link != nullptr; link = &(*link)->next)
            if (*link == &b) {
                *link = b.next;
                break;
            }
        while (b.running) {
            const std::uint32_t before = runs_.load(std::memory_order_relaxed);
            lock_.unlock();
            futex_wait(runs_, before, steady_now() + std::chrono::milliseconds{10});  // another may have been woken
            lock_.lock();
        }
        lock_.unlock();
    }
    STRATA_COLD bool rouse(background& b) noexcept override {
        {
            hold guard(lock_);
            if (b.running) {
                b.roused = true;
                return true;
            }
            const time_point before = std::exchange(b.due, time_point{});
            if (!has_thread()) {
                b.due = before;
                return false;
            }
        }
        ring();
        return true;
    }

    [[nodiscard]] std::chrono::system_clock::time_point wall_now() const noexcept override { return std::chrono::system_clock::now(); }

private:
    void ring() noexcept {
        rings_.fetch_add(1, std::memory_order_release);
        futex_wake_one(&rings_);
    }

    void work() noexcept {
        lock_.lock();
        while (!stop_) {
            const std::uint32_t heard = rings_.load(std::memory_order_acquire);
            background* b = earliest();
            const time_point now = steady_now();
            if (b != nullptr && b->due <= now) {
                b->running = true;
                if (const background* other = earliest(); other != nullptr && other->due != never)
                    static_cast<void>(has_thread());  // somebody has to look after that one
                lock_.unlock();
                const time_point due = b->run({now, &random_});
                lock_.lock();
                b->due = std::exchange(b->roused, false) ? time_point{} : due;
                b->running = false;
                runs_.fetch_add(1, std::memory_order_release);
                futex_wake_one(&runs_);
                continue;
            }
            const time_point until = b != nullptr ? b->due : never;
            ++waiting_;
            lock_.unlock();
            futex_wait(rings_, heard, until);
            lock_.lock();
            --waiting_;
        }
        lock_.unlock();
    }

    /// Under the lock: the one to be run next that is not running; null: there is none.
    [[nodiscard]] background* earliest() const noexcept {
        background* found = nullptr;
        for (background* b = first_; b != nullptr; b = b->next)
            if (!b->running && (found == nullptr || b->due < found->due)) found = b;
        return found;
    }

    /// Under the lock. True when a thread waits, or one was begun, or all there may be are busy and will look.
    [[nodiscard]] STRATA_COLD bool has_thread() noexcept {
        if (waiting_ != 0 || begun_ == most || stop_) return true;
        if (begin(threads_[begun_])) ++begun_;
        return begun_ != 0;
    }

#if defined(__unix__) || defined(__APPLE__)
    using thread = ::pthread_t;
    [[nodiscard]] bool begin(thread& t) noexcept {
        ::sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        const auto entry = [](void* self) -> void* { return static_cast<background_threads*>(self)->work(), nullptr; };
        const bool begun = ::pthread_create(&t, nullptr, entry, this) == 0;
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return begun;
    }
    static void join(thread& t) noexcept { ::pthread_join(t, nullptr); }
#else
    using thread = std::thread;
    [[nodiscard]] bool begin(thread& t) noexcept {
        try {
            t = std::thread([this] { work(); });
            return true;
        } catch (...) {
            return false;
        }
    }
    static void join(thread& t) noexcept { t.join(); }
#endif

    random_source& random_;
    inline_lock lock_;
    background* first_ = nullptr;
    std::size_t begun_ = 0;
    std::size_t waiting_ = 0;
    bool stop_ = false;
    std::atomic<std::uint32_t> rings_{0};
    std::atomic<std::uint32_t> runs_{0};
    fork_guard process_;
    thread threads_[most]{};
};

}  // namespace strata::inline STRATA_ABI

#endif

// The world of a runtime: where it takes time and randomness from, and how a thread waits in it.
//
// An object, never a global: tests give a runtime another one (testing/simulated_world.hpp), and the Asio
// face waits by timers of its own executor (async.hpp).
#ifndef STRATA_CORE_WORLD_HPP
#define STRATA_CORE_WORLD_HPP

namespace strata::inline STRATA_ABI {

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): the n-th number is a mix of
/// seed + n * golden gamma, so one atomic add serves all threads and a seed gives one sequence.
class splitmix final : public random_source {
public:
    explicit splitmix(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t next() noexcept override {
        std::uint64_t z = state_.fetch_add(0x9e3779b97f4a7c15ull, std::memory_order_relaxed) + 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

private:
    std::atomic<std::uint64_t> state_;
};

/// The real clock, and threads that really block.
class system_world {
public:
    /// Seeded from the clock and the object's address: good for jitter, not for secrets.
    system_world() noexcept
        : random_(static_cast<std::uint64_t>(clock::now().time_since_epoch().count()) ^ reinterpret_cast<std::uintptr_t>(this)) {}
    /// Seeded by the user, for runs that can be repeated.
    explicit system_world(std::uint64_t seed) noexcept : random_(seed) {}

    [[nodiscard]] STRATA_INLINE strata::moment moment() noexcept { return {steady_now(), &random_}; }

    /// Blocks the calling thread until the node is granted or `until`; null means just time.
    STRATA_COLD void park(waiter* node, time_point until) noexcept {
        if (node != nullptr) return node->block(until);
        waiter nobody;
        nobody.prepare(nullptr);
        nobody.block(until);
    }

    /// Runs the task in a thread of the world, begun when the first one is due, until `unspawn`. Throws `failure` when there is no thread
    /// to be had.
    STRATA_COLD void spawn(background& task) {
        if (!threads_.add(task))
            throw_failure(error{errc::out_of_memory, "no thread could be begun for the upkeep of a pool", phase::admission});
    }
    /// Waits until the task is not running; it is not run again.
    STRATA_COLD void unspawn(background& task) noexcept { threads_.remove(task); }

private:
    splitmix random_;
    background_threads threads_{random_};
};

}  // namespace strata::inline STRATA_ABI

#endif

// A stack: the list of layers from the top to the driver, and the law of its order.
//
//   using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::pool<>, strata::sqlite>;
//
// `stack_traits` sorts the list into interceptors, source and driver and checks it; the checks fire in the
// faces (`database<bank>`), one `static_assert` each, and know no policy by name: only places.
#ifndef STRATA_STACK_HPP
#define STRATA_STACK_HPP

namespace strata::inline STRATA_ABI {

/// The layers of a client, read downwards: a call falls from the first to the last, which is the driver.
template <class... Layers>
struct stack {};

namespace detail {

template <class... T>
struct type_list {};

template <class T>
concept has_place = requires {
    { T::place } -> std::convertible_to<strata::place>;
};

template <class T>
concept has_driver_place = has_place<T> && T::place == place::driver;
template <class T>
concept has_source_place = has_place<T> && T::place == place::source;
template <class T>
concept has_interceptor_place = has_place<T> && T::place < place::source;

template <class... T>
constexpr bool places_ascend() {
    if constexpr ((has_place<T> && ...)) {
        constexpr strata::place all[] = {T::place..., place::driver};
        for (std::size_t i = 1; i <= sizeof...(T); ++i)
            if (all[i - 1] > all[i]) return false;
    }
    return true;
}

template <class T, class... All>
inline constexpr std::size_t occurrences = (std::size_t{0} + ... + (std::is_same_v<T, All> ? 1u : 0u));

/// The interceptors of a list, in order.
template <class Kept, class... Rest>
struct only_interceptors {
    using type = Kept;
};
template <class... Kept, class First, class... Rest>
struct only_interceptors<layers<Kept...>, First, Rest...>
    : only_interceptors<std::conditional_t<has_interceptor_place<First>, layers<Kept..., First>, layers<Kept...>>, Rest...> {};

template <class... T>
struct source_in {
    using type = void;
};
template <class First, class... Rest>
struct source_in<First, Rest...> : source_in<Rest...> {};
template <class First, class... Rest>
    requires has_source_place<First>
struct source_in<First, Rest...> {
    using type = First;
};

template <class... T>
struct driver_in {
    using type = void;
};
template <class First, class... Rest>
struct driver_in<First, Rest...> : driver_in<Rest...> {};
template <class First, class... Rest>
    requires has_driver_place<First>
struct driver_in<First, Rest...> {
    using type = First;
};

template <class Stack>
struct stack_traits {
    static_assert(sizeof(Stack) == 0,
                  "strata: a database takes a stack: write strata::database<strata::stack<..., strata::pool<>, strata::sqlite>>");
};

/// The sorted list. By itself, so that a failed check does not hide it and bring more errors.
template <class Stack>
struct stack_parts;
template <class... T>
struct stack_parts<stack<T...>> {
    using interceptors = typename only_interceptors<layers<>, T...>::type;
    using source_layer = typename source_in<T...>::type;
    using driver = typename driver_in<T...>::type;
};

template <class... T>
struct stack_traits<stack<T...>> : stack_parts<stack<T...>> {
    static_assert((has_place<T> && ...),
                  "strata: something in the stack is no layer: every layer states its place, as in  static constexpr auto place = "
                  "strata::place::observe;");
    static_assert((std::size_t{0} + ... + (has_driver_place<T> ? 1u : 0u)) == 1,
                  "strata: a stack ends with exactly one driver: write stack<..., strata::pool<>, strata::sqlite>");
    static_assert((std::size_t{0} + ... + (has_source_place<T> ? 1u : 0u)) == 1,
                  "strata: a stack needs exactly one source right above its driver: strata::single or strata::pool<>");
    static_assert(places_ascend<T...>(),
                  "strata: the layers of the stack stand in the wrong order; outermost first: extend (transactions), observe (metrics), "
                  "shape, fallback, "
                  "cache, bound (total_timeout), repeat (retry), rate, throttle, breaker (circuit_breaker), bulkhead, limit, attempt "
                  "(attempt_timeout, "
                  "chaos), source (single, pool), driver");
    static_assert(((occurrences<T, T...> == 1) && ...),
                  "strata: a layer stands twice in the stack: give one of them a tag type, as in circuit_breaker<struct reads>");
    static_assert(((!has_interceptor_place<T> || !holds_something<T> || abandons<T>) && ...),
                  "strata: a policy that takes something in admit (holds = true) must give it back in  void abandon(frame&) noexcept");
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Options reach their layer by type, in any order.
#ifndef STRATA_OPTIONS_HPP
#define STRATA_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Layer, class Option>
inline constexpr bool takes_option = std::is_same_v<typename options_type<Layer>::type, Option>;
/// A source that holds another one takes the options of both.
template <class Layer, class Option>
    requires requires { typename Layer::inner; }
inline constexpr bool takes_option<Layer, Option> =
    std::is_same_v<typename options_type<Layer>::type, Option> || takes_option<typename Layer::inner, Option>;

template <class Option, class Stack>
inline constexpr bool belongs_to = false;
template <class Option, class... T>
inline constexpr bool belongs_to<Option, stack<T...>> = (takes_option<T, Option> || ...);

/// The given options of type `Wanted`, or its defaults.
template <class Wanted>
[[nodiscard]] Wanted pick_option() {
    return Wanted{};
}
template <class Wanted, class First, class... Rest>
[[nodiscard]] Wanted pick_option(const First& first, const Rest&... rest) {
    if constexpr (std::is_same_v<Wanted, First>)
        return first;
    else
        return pick_option<Wanted>(rest...);
}

/// Throws when the options themselves say that a value makes no sense.
template <class Options>
const Options& checked(const Options& o) {
    if constexpr (requires { o.validate(); }) {
        if (error e = o.validate()) throw_failure(std::move(e));
    }
    return o;
}

/// Makes a source, in place.
template <class Source, class Layer, class Target, class... Given>
[[nodiscard]] Source make_source(const Target& target, const Given&... given) {
    using wanted = typename options_type<Layer>::type;
    if constexpr (requires { typename Layer::inner; })
        return Source(checked(pick_option<wanted>(given...)),
                      checked(pick_option<typename options_type<typename Layer::inner>::type>(given...)), target);
    else
        return Source(checked(pick_option<wanted>(given...)), target);
}

/// Makes a policy from its options, in place.
template <class Policy, class... Given>
[[nodiscard]] Policy make_policy(const Given&... given) {
    using wanted = typename options_type<Policy>::type;
    if constexpr (std::is_void_v<wanted>)
        return Policy{};
    else
        return Policy(checked(pick_option<wanted>(given...)));
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One instance of a stack: its policies' state, its source and its world. The faces share it, and operations keep it,
// so a database may be destroyed while an asynchronous call is still on its way.
#ifndef STRATA_RUNTIME_HPP
#define STRATA_RUNTIME_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A world that lives outside of the runtimes in it, such as a simulation; every other is part of its runtime.
template <class World>
concept shared_world = requires { requires World::shared; };

struct own_world {};
template <class World>
struct world_of_runtime {
    explicit world_of_runtime(own_world) {}
    World world;
};
template <shared_world World>
struct world_of_runtime<World> {
    explicit world_of_runtime(World& w) noexcept : world(w) {}
    World& world;
};

}  // namespace detail

template <class Stack, class World = system_world>
class runtime {
    using traits = detail::stack_traits<Stack>;

public:
    using interceptors = typename traits::interceptors;
    using driver = typename traits::driver;
    using source_layer = typename traits::source_layer;
    using source = typename source_layer::template source<driver>;
    using world_type = World;

    template <class... Options>
    explicit runtime(const Options&... options) : runtime(in_world{}, detail::own_world{}, options...) {
        static_assert(!detail::shared_world<World>,
                      "strata: a simulated world is shared: give it first, as in database<stack<...>, "
                      "strata::simulated_world> db{world, options...}");
    }
    /// In a world that is shared; it must outlive the runtime.
    template <class... Options>
    explicit runtime(World& world, const Options&... options) : runtime(in_world{}, world, options...) {}

private:
    struct in_world {};

    template <class Where, class... Options>
    runtime(in_world, Where&& where, const Options&... options)
        : world_(where), policies_([&]<class P>(std::type_identity<P>) { return detail::make_policy<P>(options...); }),
          source_(detail::make_source<source, source_layer>(detail::checked(detail::pick_option<typename driver::options>(options...)),
                                                            options...)) {
        static_assert((detail::belongs_to<Options, Stack> && ...),
                      "strata: an option given to the database belongs to no layer of its stack: add the layer, or remove the option");
        static_assert(((detail::occurrences<Options, Options...> == 1) && ...), "strata: the same kind of options is given twice");
        if (error e = source_.open_first(world())) throw_failure(std::move(e));
        tasks_.world = &world();
        source_.spawn_tasks([this](background& b) { tasks_.begin(b); });
    }

public:
    [[nodiscard]] interceptors& policies() noexcept { return policies_; }
    [[nodiscard]] source& connections() noexcept { return source_; }
    [[nodiscard]] World& world() noexcept { return world_.world; }

    /// The state of a layer, to look at or to steer: `db.policy<strata::circuit_breaker<>>().state()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return policies_.template of<P>();
    }

    /// Stops admission, waits up to `grace` for what is on its way, then cancels it and waits for its end.
    void close(duration grace) noexcept {
        if (source_.stop(world(), add_saturated(world().moment().now, grace))) return;
        source_.cancel_all();
        static_cast<void>(source_.stop(world(), never));
    }

    /// What the asynchronous face adds (its work executor); made by it on first use.
    struct extension {
        inline_lock lock;
        std::shared_ptr<void> object;
    };
    [[nodiscard]] extension& asynchronous() noexcept { return extension_; }

private:
    /// What the source does by itself; ended before the source.
    struct tasks {
        void begin(background& b) {
            world->spawn(b);
            b.behind = std::exchange(first, &b);
        }
        ~tasks() {
            for (; first != nullptr; first = first->behind) world->unspawn(*first);
        }
        World* world = nullptr;
        background* first = nullptr;
    };

    detail::world_of_runtime<World> world_;
    interceptors policies_;
    source source_;
    tasks tasks_;
    extension extension_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A connection in the user's hands: a pinned session, or a transaction that the user ends by hand.
//
// It is one operation, admitted once; the layers above see its end when the handle is given back. It is never
// repeated, since nobody but the user knows what was done with it.
#ifndef STRATA_TRANSACTION_HELD_HPP
#define STRATA_TRANSACTION_HELD_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

enum class ending : std::uint8_t { give_back, commit, roll_back };

/// First resume: begins (a transaction) and hands the connection over. Second: ends as told.
template <class Runtime>
class held_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    /// `begin`: how the transaction begins; none for a session.
    explicit held_work(Runtime& rt, const std::optional<transaction_plan<driver>>& begin) noexcept : rt_(rt), begin_(begin) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = held == nullptr ? take(c, op) : give_back(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { held = nullptr; }

    connection* held = nullptr;
    ending how = ending::give_back;
    transaction_state state;

    /// By the user, who can reach it through a session.
    [[nodiscard]] static bool is_closed(const connection& c) noexcept {
        if constexpr (requires { c.is_open(); })
            return !c.is_open();
        else
            return false;
    }

private:
    [[nodiscard]] signal take(connection& c, operation_base& op) {
        const guarded guard{c, &op};
        error_ = {};
        if (!course_) begin_ ? course_.emplace(*begin_, 1u) : course_.emplace();
        if (begin_) {
            const signal s = course_->begin(c, error_);
            if (s == signal::failed) course_.reset();
            if (s != signal::done) return s;
        }
        state.use.begin();
        ending_ = false;
        held = &c;
        return signal::item;
    }
    [[nodiscard]] signal give_back(connection& c, operation_base& op) {
        if (!ending_) {
            ending_ = true;
            if (is_closed(c)) {
                error_ = error{errc::misuse, "the connection was closed while it was held", phase::execute}.set(health::lost);
                return signal::failed;
            }
            if (how != ending::commit && !c.in_transaction()) return signal::done;
            left_open_ = how == ending::give_back;
            if (how == ending::commit) error_ = verdict_of(state.use, stopped(op, rt_.world()));
            commits_ = how == ending::commit && !error_;
        }
        const signal s = commits_ ? course_->commit(c, error_) : course_->roll_back(c, error_);
        if (s != signal::failed || how == ending::commit) return s;
        const bool lost = error_.health() != health::good;
        if (lost)
            error_ = error{errc::connection_lost, "the rollback failed", phase::commit, effect::unknown}.set(health::lost);
        else if (left_open_)
            error_ = error{errc::misuse, "the session ended in the middle of a transaction, which was rolled back", phase::commit,
                           effect::rolled_back};
        else
            error_ = {};
        return error_ ? signal::failed : signal::done;
    }

    Runtime& rt_;
    const std::optional<transaction_plan<driver>> begin_;
    std::optional<transaction_course<driver>> course_;
    error error_;
    bool ending_ = false;
    bool commits_ = false;
    bool left_open_ = false;
};

/// The operation behind a handle, at a fixed address.
template <class Runtime, operation_facts Facts>
struct holding {
    using op_type = operation<Facts>;
    using work_type = held_work<Runtime>;

    holding(std::shared_ptr<Runtime> r, const std::optional<transaction_plan<typename Runtime::driver>>& begin)
        : rt(std::move(r)), work(*rt, begin), f(rt->world(), rt->policies(), rt->connections(), op, work) {}

    std::shared_ptr<Runtime> rt;
    std::atomic<unsigned> closures{0};  ///< of a session: that run in a transaction on it
    std::source_location where{};       ///< where the user asked for it
    op_type op;
    work_type work;
    flight<typename Runtime::world_type, typename Runtime::interceptors, typename Runtime::source, op_type, work_type> f;

    /// Blocks until the connection is here.
    [[nodiscard]] error take() {
        static_cast<void>(drive(f, rt->world(), f.start()));
        if (f.thrown()) std::rethrow_exception(f.thrown());
        note_place();
        return work.held != nullptr ? error{} : std::move(f.result().error());
    }
    /// For the report of a leak.
    void note_place() noexcept {
        if constexpr (requires { rt->connections().lent_to(f.leased(), where); })
            if (work.held != nullptr) rt->connections().lent_to(f.leased(), where);
    }
    /// Blocks until the connection has been given back as told.
    [[nodiscard]] error give_back(ending how) {
        if (!work.state.use.try_end()) [[unlikely]]
            work.state.end_late(op);
        work.how = how;
        op.make_waker = nullptr;  // also where it was taken by a drive that waits
        static_cast<void>(drive(f, rt->world(), f.resume()));
        run_hooks();
        return std::move(f.result().error());
    }
    /// After its end.
    void run_hooks() noexcept {
        if (work.state.hooks.empty()) return;
        if (how_rolled_back()) return work.state.hooks.run(false);
        work.state.run_hooks(f.result().error());
    }
    /// As told, and so without an error.
    [[nodiscard]] bool how_rolled_back() noexcept { return work.how != ending::commit && f.result().ok(); }
};

inline constexpr operation_facts session_facts{.kind = operation_kind::pinned_session};

}  // namespace detail

/// A transaction in the user's hands (RAII). Destroyed without `commit()` it rolls back. Moves, does not copy.
/// One thread at a time, as a closure's: whoever comes while another is inside is refused with `errc::misuse`. To be destroyed, assigned to
/// or moved when nobody is. What it is made of, with the database, lives until then, also after its end.
template <class Runtime>
class owned_transaction : public calls<owned_transaction<Runtime>>,
                          public detail::extensions<owned_transaction<Runtime>, typename Runtime::interceptors> {
    using held = detail::holding<Runtime, detail::transaction_facts>;

public:
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    owned_transaction(owned_transaction&&) noexcept = default;
    owned_transaction& operator=(owned_transaction&& other) noexcept {
        std::swap(held_, other.held_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~owned_transaction() {
        if (held_ != nullptr && !held_->work.state.use.has_ended()) static_cast<void>(held_->give_back(detail::ending::roll_back));
    }

    /// Makes everything durable, or throws; either way the transaction has ended after it. But not where a statement or a savepoint of it
    /// is open, in this thread or another: then nothing is done, it goes on, and this is `errc::misuse`. So is `rollback`.
    void commit() {
        if (error e = finish(detail::ending::commit)) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_commit() {
        if (error e = finish(detail::ending::commit)) return e;
        return {};
    }
    void rollback() {
        if (error e = finish(detail::ending::roll_back)) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_rollback() {
        if (error e = finish(detail::ending::roll_back)) return e;
        return {};
    }

    /// A savepoint; see `basic_transaction::transaction`.
    template <class Closure>
    auto transaction(Closure&& closure) {
        return handle().transaction(closure);
    }

    /// See `basic_transaction::on_commit`; here they run in `commit`, `rollback` or the destructor.
    template <class F>
    void on_commit(F&& f) {
        handle().on_commit(std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        handle().on_rollback(std::forward<F>(f));
    }

    /// The same handle that a closure gets, for functions that take one.
    [[nodiscard]] basic_transaction<Runtime>& handle() {
        if (!handle_ || held_->work.state.use.has_ended()) throw_failure(gone());
        return *handle_;
    }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if (handle_ == nullptr) return ended.replace(gone());
        handle_->perform(statement, sink, done, o, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return handle_ != nullptr ? handle_->perform_batch(statement, elements, done, o) : gone();
    }
    template <class F>
    error on_source(F&& f) {
        return handle_ != nullptr ? handle_->on_source(f) : gone();
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        return handle().open_stream(std::move(statement), std::move(sink), o);
    }

    /// Made by `begin()`.
    explicit owned_transaction(std::unique_ptr<held> h)
        : held_(std::move(h)),
          handle_(std::make_unique<basic_transaction<Runtime>>(*held_->rt, *held_->work.held, held_->op, held_->work.state, 0u)) {}

private:
    [[nodiscard]] STRATA_COLD static error gone() {
        return {errc::misuse, "the transaction has ended: it was committed, rolled back or moved from", phase::admission};
    }
    /// Frees nothing: another thread may be on its way in.
    [[nodiscard]] error finish(detail::ending how) {
        if (held_ != nullptr) {
            detail::transaction_use& use = held_->work.state.use;
            if (use.try_end_alone()) return held_->give_back(how);
            if (!use.has_ended()) return use.refusal();
        }
        return how == detail::ending::commit ? gone() : error{};
    }

    std::unique_ptr<held> held_;
    std::unique_ptr<basic_transaction<Runtime>> handle_;
};

/// A pinned connection: temporary tables, session settings and statements in sequence. It goes back to the source when the
/// handle dies, rolled back if needed; what else was set on it stays, so set back what you set. Moves, does not copy.
template <class Runtime>
class basic_session : public calls<basic_session<Runtime>>,
                      public detail::extensions<basic_session<Runtime>, typename Runtime::interceptors> {
    using held = detail::holding<Runtime, detail::session_facts>;

public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::session;

    basic_session(basic_session&&) noexcept = default;
    basic_session& operator=(basic_session&& other) noexcept {
        std::swap(held_, other.held_);
        return *this;
    }
    ~basic_session() {
        if (held_ != nullptr) static_cast<void>(held_->give_back(detail::ending::give_back));
    }

    /// Gives the connection back now; the handle is empty after it. Throws `failure`: `errc::misuse` where a transaction was left open,
    /// which was rolled back. (The destructor does so silently; layers above see the error.) Within `transaction` nothing is done, and that
    /// is `errc::misuse`.
    void close() {
        if (error e = give_back()) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_close() {
        if (error e = give_back()) return e;
        return {};
    }

    /// A transaction on this very connection. Like `database::transaction`, it may be repeated.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        detail::pinned_source<driver> source{connection()};
        const inside here{*held_};
        return detail::run_transaction(*held_->rt, source, closure, o, &held_->op);
    }
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        detail::pinned_source<driver> source{connection()};
        const inside here{*held_};
        return detail::try_run_transaction(*held_->rt, source, closure, o, &held_->op);
    }

    [[nodiscard]] auto native_handle() { return connection().native_handle(); }
    [[nodiscard]] typename driver::connection& connection() {
        if (held_ == nullptr) throw_failure(gone());
        return *held_->work.held;
    }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if (held_ == nullptr) return ended.replace(gone());
        detail::pinned_source<driver> source{connection()};
        detail::perform_statement<true>(*held_->rt, source, statement, sink, done, o, &held_->op, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        if (held_ == nullptr) return gone();
        detail::pinned_source<driver> source{connection()};
        return detail::perform_batch<false>(*held_->rt, source, statement, elements, 0, done, o, &held_->op);
    }
    template <class F>
    error on_source(F&& f) {
        if (held_ == nullptr) return gone();
        detail::pinned_source<driver> source{connection()};
        return f(*held_->rt, source, 0u, static_cast<const interruption*>(&held_->op));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::own_source<detail::pinned_source<driver>>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, true>;
        return std::make_unique<state>(*held_->rt, source{detail::pinned_source<driver>{connection()}}, std::move(statement),
                                       std::move(sink), o, &held_->op, held_->rt);
    }

    /// Made by `session()`.
    explicit basic_session(std::unique_ptr<held> h) noexcept : held_(std::move(h)) {}

private:
    [[nodiscard]] STRATA_COLD static error gone() { return {errc::misuse, "the session was closed or moved from", phase::admission}; }
    /// While a closure runs in a transaction of the session.
    class inside {
    public:
        explicit inside(held& h) noexcept : of_(h) { of_.closures.fetch_add(1, std::memory_order_relaxed); }
        inside(const inside&) = delete;
        inside& operator=(const inside&) = delete;
        ~inside() { of_.closures.fetch_sub(1, std::memory_order_relaxed); }

    private:
        held& of_;
    };
    [[nodiscard]] error give_back() {
        if (held_ != nullptr && held_->closures.load(std::memory_order_relaxed) != 0)
            return {errc::misuse, "the session is closed within a transaction on it: end that first", phase::admission};
        const std::unique_ptr<held> h = std::move(held_);
        return h != nullptr ? h->give_back(detail::ending::give_back) : gone();
    }

    std::unique_ptr<held> held_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The blocking face of a stack.
//
//   strata::database<bank> db{strata::sqlite_options{.path = "bank.db"}};
//   account a = db.one<account>(find("id"_arg = 7));
#ifndef STRATA_DATABASE_HPP
#define STRATA_DATABASE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Filled in by async.hpp, so that this file does not know Asio.
template <class Stack, class World, bool AsioIncluded>
struct async_face {
    template <class... Any>
    static int make(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: db.async(...) needs  #include <strata/async.hpp>");
        return 0;
    }
};

}  // namespace detail

/// A database, as threads that block see it. Thread-safe; cheap to share by reference, not copied.
template <class Stack, class World = system_world>
class database : public calls<database<Stack, World>>, public detail::extensions<database<Stack, World>, Stack> {
public:
    using runtime_type = runtime<Stack, World>;
    using driver = typename runtime_type::driver;
    /// What a transaction's closure gets, for functions that take one: `void pay(strata::database<bank>::transaction_type& tx)`.
    using transaction_type = basic_transaction<runtime_type>;
    using owned_transaction_type = owned_transaction<runtime_type>;
    using session_type = basic_session<runtime_type>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// Options by type, in any order: `sqlite_options`, `pool_options`, `retry_options` ... Opens the first connections.
    /// Throws `failure`: `invalid_argument` for options that make no sense, and what opening gives.
    template <class... Options>
    explicit database(const Options&... options) : rt_(new runtime_type(options...)) {}
    /// The same in a world that is shared with others (a simulation), which must outlive the database.
    template <class... Options>
    explicit database(World& world, const Options&... options) : rt_(new runtime_type(world, options...)) {}
    database(const database&) = delete;
    database& operator=(const database&) = delete;

    /// Runs the closure in a transaction: commits when it returns, rolls back when it throws or returns a `result` that
    /// holds an error. Repeated as a whole by the stack's retry after conflicts, so the closure may run several times
    /// (`strata::once` forbids it). The closure's value comes out.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::run_transaction(*rt_, rt_->connections(), closure, o);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::try_run_transaction(*rt_, rt_->connections(), closure, o);
    }

    /// A transaction in the caller's hands: rolled back unless `commit()` is called.
    [[nodiscard]] owned_transaction_type begin(const transaction_options<driver>& o = {},
                                               std::source_location at = std::source_location::current()) {
        return try_begin(o, at).value();
    }
    [[nodiscard]] result<owned_transaction_type> try_begin(const transaction_options<driver>& o = {},
                                                           std::source_location at = std::source_location::current()) {
        return begun(o, at);
    }

    /// A pinned connection; the writing one unless `read_only`.
    [[nodiscard]] session_type session(const transaction_options<driver>& o = {},
                                       std::source_location at = std::source_location::current()) {
        return try_session(o, at).value();
    }
    [[nodiscard]] result<session_type> try_session(const transaction_options<driver>& o = {},
                                                   std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, session_type>(o, std::nullopt, at);
    }

    /// Calls and transactions on the connections that `pool_options::reserved` keeps for work that must go through while all others are in
    /// use, by this very caller even; see independent.hpp. Throws `failure`: `errc::misuse` where none are reserved.
    [[nodiscard]] independent_database<runtime_type> independent() { return independent_database<runtime_type>{rt_}; }

    /// Stops admission (`errc::shutting_down`), waits up to `grace` for what is on its way, cancels the rest and waits for its end.
    void close(duration grace = std::chrono::seconds{5}) noexcept { rt_->close(grace); }

    /// Gives nobody a connection any more (they wait), and waits up to `grace` for those that are lent out. True when all came back; either
    /// way `db.source().resume()` goes on. For a planned switch of the server.
    bool drain(duration grace) noexcept { return rt_->connections().drain(rt_->world(), add_saturated(rt_->world().moment().now, grace)); }

    /// The state of a layer: `db.policy<strata::circuit_breaker<>>()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return rt_->template policy<P>();
    }

    /// What the source has done and holds, as `pool_snapshot`.
    [[nodiscard]] auto connections() noexcept { return rt_->connections().snapshot(); }
    /// The source itself, to steer: `db.source().resize(4)`, `db.source().retire_all()`. Thread-safe.
    [[nodiscard]] auto& source() noexcept { return rt_->connections(); }

    /// Not here: `db.async(executor).hedged(h)`. A thread that is blocked in one try cannot wait for another beside it.
    template <class Hedge>
    auto hedged(Hedge&) const {
        static_assert(!std::is_class_v<Hedge>,
                      "strata: hedged reads belong to the asynchronous face, for a thread that is blocked in one try cannot wait for a "
                      "second: write db.async(executor).hedged(h), with boost::asio::use_future where a thread is to wait for the result");
        return 0;
    }

    /// The asynchronous face of the same runtime: `db.async(io.get_executor())`, with `async_options` if wanted.
    template <class Executor, class... Options>
    [[nodiscard]] auto async(const Executor& ex, const Options&... options) const {
        return detail::async_face<Stack, World, true>::make(rt_, ex, options...);
    }

    /// What both faces share.
    [[nodiscard]] const std::shared_ptr<runtime_type>& shared_runtime() const noexcept { return rt_; }

    /// For `calls`. `ended` is empty, and holds the error if there is one.
    template <class Bound, class Sink, class Wish = detail::no_wish>
    STRATA_INLINE void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended,
                               Wish&& wish = {}) {
        detail::perform_statement<false>(*rt_, rt_->connections(), statement, sink, done, o, nullptr, ended, wish);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return detail::perform_batch<false>(*rt_, rt_->connections(), statement, elements, 0, done, o, nullptr);
    }
    /// For work of several statements: `f(runtime, source, depth, outer)`, which answers an error. `depth`: of its savepoint, or 0.
    template <class F>
    error on_source(F&& f) {
        return f(*rt_, rt_->connections(), 0u, static_cast<const interruption*>(nullptr));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::borrowed_source<typename runtime_type::source>;
        using state = detail::stream_state<runtime_type, source, Bound, Sink, false>;
        return std::make_unique<state>(*rt_, source{&rt_->connections()}, std::move(statement), std::move(sink), o, nullptr, rt_);
    }

private:
    [[nodiscard]] result<owned_transaction_type> begun(const transaction_options<driver>& o, const std::source_location& at) {
        detail::assert_transactions<runtime_type>();
        return hold<detail::transaction_facts, owned_transaction_type>(o, detail::plan_of(*rt_, o), at);
    }
    template <operation_facts Facts, class Handle>
    [[nodiscard]] result<Handle> hold(const transaction_options<driver>& o, std::optional<detail::transaction_plan<driver>> begin,
                                      const std::source_location& at) {
        auto h = std::make_unique<detail::holding<runtime_type, Facts>>(rt_, begin);
        h->where = at;
        h->op.name = o.name;
        h->op.tags = o.tags;
        h->op.priority = o.priority;
        h->op.reads_only = o.read_only;
        h->op.deadline = detail::deadline_of(rt_->world(), o.deadline, nullptr);
        if (error e = h->take()) return e;
        return Handle{std::move(h)};
    }

    std::shared_ptr<runtime_type> rt_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Telling two policies of one kind apart. `circuit_breaker<>` takes `circuit_breaker_options`; the one with a tag,
// `circuit_breaker<struct reads>`, takes `tagged<struct reads, circuit_breaker_options>{{...}}`.
#ifndef STRATA_POLICY_TAGGED_HPP
#define STRATA_POLICY_TAGGED_HPP

namespace strata::inline STRATA_ABI {

/// Options for the policy with this tag.
template <class Tag, class Options>
struct tagged {
    Options value{};

    [[nodiscard]] error validate() const { return value.validate(); }
};

namespace detail {

template <class Tag, class Options>
using options_for = std::conditional_t<std::is_void_v<Tag>, Options, tagged<Tag, Options>>;

template <class Options>
[[nodiscard]] constexpr const Options& untagged(const Options& o) noexcept {
    return o;
}
template <class Tag, class Options>
[[nodiscard]] constexpr const Options& untagged(const tagged<Tag, Options>& o) noexcept {
    return o.value;
}

/// `errc::invalid_argument` with "retry_options.base: must be positive".
[[nodiscard]] STRATA_COLD inline error bad_option(std::string_view field, std::string_view rule) {
    std::string text{field};
    text.append(": ").append(rule);
    return error{errc::invalid_argument, std::move(text), phase::admission};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A bound on the whole operation: all attempts, the pauses between them, the waits for a connection.
#ifndef STRATA_POLICY_TOTAL_TIMEOUT_HPP
#define STRATA_POLICY_TOTAL_TIMEOUT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Longer limits are cut, so that now + limit cannot overflow.
inline constexpr duration longest_limit = std::chrono::hours{24 * 365 * 100};

[[nodiscard]] constexpr duration cut_limit(duration d) noexcept {
    return d < longest_limit ? d : longest_limit;
}

}  // namespace detail

struct total_timeout_options {
    duration limit = std::chrono::seconds{30};  ///< from admission to the end; must be positive (to have none, leave the layer out)

    [[nodiscard]] error validate() const {
        return limit > duration::zero() ? error{} : detail::bad_option("total_timeout_options.limit", "must be positive");
    }
    friend bool operator==(const total_timeout_options&, const total_timeout_options&) = default;
};

/// Narrows the operation's deadline; whoever waits or works below keeps to it and reports `errc::timeout`.
/// Thread-safe; no shared state. A call's own, nearer deadline stays.
class total_timeout {
public:
    using options = total_timeout_options;
    static constexpr auto place = strata::place::bound;
    struct frame {
        unset<time_point> outer;
    };

    total_timeout() : total_timeout(options{}) {}
    explicit total_timeout(const options& o) noexcept : limit_(detail::cut_limit(o.limit)) {}

    STRATA_INLINE void admit(auto& op, frame& f, moment m) noexcept {
        const time_point ours = m.now + limit_;
        const time_point outer = op.deadline;
        f.outer = outer;
        if (ours < outer) op.deadline = ours;
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome&) noexcept { op.deadline = f.outer; }

private:
    duration limit_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A bound on one attempt: from its admission, through the wait for a connection, to its end. A retry outside may try again.
#ifndef STRATA_POLICY_ATTEMPT_TIMEOUT_HPP
#define STRATA_POLICY_ATTEMPT_TIMEOUT_HPP

namespace strata::inline STRATA_ABI {

struct attempt_timeout_options {
    duration limit = std::chrono::seconds{10};  ///< for each attempt; must be positive (to have none, leave the layer out)

    [[nodiscard]] error validate() const {
        return limit > duration::zero() ? error{} : detail::bad_option("attempt_timeout_options.limit", "must be positive");
    }
    friend bool operator==(const attempt_timeout_options&, const attempt_timeout_options&) = default;
};

/// Narrows the deadline for one attempt, and marks the attempt as `hurried` when the operation's own deadline is nearer:
/// then a timeout says nothing about the database, and a circuit breaker outside does not count it.
/// Thread-safe; no shared state.
class attempt_timeout {
public:
    using options = attempt_timeout_options;
    static constexpr auto place = strata::place::attempt;
    struct frame {
        unset<time_point> outer;
    };

    attempt_timeout() : attempt_timeout(options{}) {}
    explicit attempt_timeout(const options& o) noexcept : limit_(detail::cut_limit(o.limit)) {}

    STRATA_INLINE void admit(auto& op, frame& f, moment m) noexcept {
        const time_point ours = m.now + limit_;
        const time_point outer = op.deadline;
        f.outer = outer;
        op.hurried = outer < ours;
        if (ours < outer) op.deadline = ours;
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome&) noexcept { op.deadline = f.outer; }

private:
    duration limit_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a condition means to the policies that decide by it: the one table of retry and circuit breaker.
//
// Two questions, answered for each condition. Is it transient: may the same call succeed a little later? And
// what does it say of the database's health? Whether a repetition is *safe* is another matter: that is told by
// the error's effect and the operation's idempotence (see `retry`).
#ifndef STRATA_POLICY_CONDITIONS_HPP
#define STRATA_POLICY_CONDITIONS_HPP

namespace strata::inline STRATA_ABI {

/// What an outcome tells about the database: nothing, that it answered, or that it is ill.
enum class health_sign : std::uint8_t { none, good, ill };

/// One line of the table.
struct condition_traits {
    bool transient;
    health_sign sign;
};

/// The table. Contention (busy, deadlock ...) is transient and a sign of life: the database answered, another caller was in
/// the way. A violated constraint or a syntax error is an answer too. What the caller or this process did says nothing.
[[nodiscard]] constexpr condition_traits traits_of(errc code) noexcept {
    constexpr condition_traits answer{false, health_sign::good}, contention{true, health_sign::good}, silence{false, health_sign::none},
        illness{false, health_sign::ill}, hiccup{true, health_sign::ill};
    switch (code) {
        // contention
        case errc::busy:
        case errc::busy_snapshot:
        case errc::locked:
        case errc::serialization_failure:
        case errc::deadlock:
        case errc::lock_not_available:
            return contention;
        // ill, and perhaps well again soon
        case errc::cannot_connect:
        case errc::connection_lost:
        case errc::timeout:
            return hiccup;
        // ill, and no pause of ours will help
        case errc::disk_full:
        case errc::io_error:
        case errc::corrupt:
        case errc::out_of_memory:
        case errc::not_a_database:
            return illness;
        // nobody knows whether it took place: transient for those who may repeat it all the same
        case errc::outcome_unknown:
            return hiccup;
        // answers
        case errc::ok:
        case errc::unique_violation:
        case errc::foreign_key_violation:
        case errc::not_null_violation:
        case errc::check_violation:
        case errc::constraint_violation:
        case errc::syntax_error:
        case errc::undefined_object:
        case errc::read_only:
        case errc::too_big:
        case errc::permission_denied:
        case errc::no_rows:
        case errc::too_many_rows:
        case errc::missing_column:
        case errc::type_mismatch:
        case errc::out_of_range:
        case errc::null_value:
        case errc::transaction_aborted:
        case errc::commit_rolled_back:
            return answer;
        // refused here, the caller's own doing, or never sent
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::shutting_down:
        case errc::refused:
        case errc::access_denied:
        case errc::cancelled:
        case errc::not_run:
        case errc::commit_pending:
        case errc::heuristic_outcome:
        case errc::invalid_argument:
        case errc::invalid_statement:
        case errc::user_exception:
        case errc::user_error:
        case errc::misuse:
        case errc::unsupported:
        case errc::unknown:
            return silence;
    }
    return silence;
}

/// Refused for a while by a layer of this process: nothing is wrong with the call. Not what has come to its end (`shutting_down`), nor what
/// the caller may not do (`access_denied`).
[[nodiscard]] constexpr bool is_refusal(errc code) noexcept {
    switch (code) {
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::refused:
            return true;
        default:
            return false;
    }
}

/// A user's line for an error, given that of the table: to count a disk that is full as a passing fault, or to leave an SQLSTATE of an
/// extension out (`e.texts().native_code`). Must not block. An option of `retry`, `circuit_breaker` and `throttle`; null: the table.
/// A call that succeeded with a value that means failure is judged where the value is known: `strata::judged` (guard.hpp).
using condition_judge = condition_traits (*)(const error& e, condition_traits by_table) noexcept;

[[nodiscard]] inline condition_traits traits_of(const error& e, condition_judge judge) noexcept {
    const condition_traits by_table = traits_of(e.code());
    return judge == nullptr ? by_table : judge(e, by_table);
}

/// What an attempt that failed with `e` tells about the database. A refusal of this process tells nothing; nor does a timeout
/// before a connection was there, or one that an outer deadline made shorter than attempt_timeout allows.
[[nodiscard]] inline health_sign sign_of(const error& e, const operation_base& op, condition_judge judge = nullptr) noexcept {
    if (e.local()) return health_sign::none;
    if (e.code() == errc::timeout && (op.hurried || e.phase() == phase::admission || e.phase() == phase::acquire)) return health_sign::none;
    return traits_of(e, judge).sign;
}

}  // namespace strata::inline STRATA_ABI

#endif

// The numbers and names of a circuit breaker, apart from its machinery.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

enum class circuit_state : std::uint8_t {
    closed,    ///< attempts pass and are sampled
    open,      ///< attempts are refused until the open time is over
    half_open  ///< a few attempts pass as probes and decide
};

/// Who decides: the breaker, or the user (`circuit_breaker::set_mode`).
enum class circuit_mode : std::uint8_t {
    automatic,      ///< the breaker
    forced_open,    ///< all attempts are refused, until another mode is set; the refusal names no time
    forced_closed,  ///< all pass; failures are counted, but open nothing
    disabled,       ///< all pass, and nothing is counted
    observing       ///< the breaker changes its state as ever and counts what it would refuse, but all pass
};

/// Why a breaker is in its state.
enum class circuit_cause : std::uint8_t {
    start,                 ///< nothing has happened yet
    consecutive_failures,  ///< opened by that rule
    failure_rate,
    slow_rate,
    probe_failed,
    probes_unanswered,  ///< half-open for `half_open_time` without a decision
    open_time_over,
    probes_succeeded,
    user  ///< `set_mode`
};

[[nodiscard]] constexpr std::string_view to_string(circuit_state s) noexcept {
    constexpr std::string_view names[] = {"closed", "open", "half_open"};
    return names[static_cast<std::size_t>(s)];
}
[[nodiscard]] constexpr std::string_view to_string(circuit_mode m) noexcept {
    constexpr std::string_view names[] = {"automatic", "forced_open", "forced_closed", "disabled", "observing"};
    return names[static_cast<std::size_t>(m)];
}
[[nodiscard]] constexpr std::string_view to_string(circuit_cause c) noexcept {
    constexpr std::string_view names[] = {"start",          "consecutive_failures", "failure_rate",
                                          "slow_rate",      "probe_failed",         "probes_unanswered",
                                          "open_time_over", "probes_succeeded",     "user"};
    return names[static_cast<std::size_t>(c)];
}

/// A breaker went from one state to another.
struct circuit_change {
    circuit_state from;
    circuit_state to;
    time_point at;
    circuit_cause cause = circuit_cause::start;
    errc failure = errc::ok;  ///< the failure that opened it; ok where it was none
};

/// Three rules may be used, alone or together; at least one must be.
struct circuit_breaker_options {
    unsigned consecutive_failures = 5;  ///< opens after so many failures in a row; 0: not by this rule
    double failure_rate = 0;            ///< opens when this share of the window has failed, in (0, 1]; 0: not by this rule
    double slow_rate = 0;               ///< opens when this share of the window was slow, in (0, 1]; 0: not by this rule
    duration slow_call{};         ///< an attempt is slow when it takes longer, waits in layers below included, but not one for a connection
    unsigned window = 100;        ///< how many of the latest attempts the rates look at; 1 to 1,000,000
    duration window_time{};       ///< positive: they look at the attempts of so long instead; at least 1 microsecond
    unsigned minimum_calls = 20;  ///< the rates are silent below so many; 1 to `window`
    duration open_time = std::chrono::seconds{5};       ///< positive; doubles with each failed probe
    duration max_open_time = std::chrono::seconds{60};  ///< not below `open_time`
    double jitter = 0.1;                                ///< up to this share of an open time is left out at random, in [0, 1)
    unsigned half_open_permits = 1;                     ///< so many probes at a time, and so many must succeed to close; at least 1
    /// Half-open no longer than this: if the probes have not decided by then, the next attempt finds it open once more. Positive.
    duration half_open_time = std::chrono::seconds{30};
    condition_judge judge = nullptr;  ///< what counts as failure, where it is not the table
    /// Told of each change, after it, from the thread that caused it; must not block. Null costs nothing.
    void (*on_change)(void* context, const circuit_change& change) noexcept = nullptr;
    void* context = nullptr;  ///< handed to `on_change`

    [[nodiscard]] bool has_window() const noexcept { return failure_rate > 0.0 || slow_rate > 0.0; }

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return detail::bad_option(std::string{"circuit_breaker_options."}.append(field), rule);
        };
        if (!(failure_rate >= 0.0 && failure_rate <= 1.0)) return bad("failure_rate", "must lie in 0 to 1");
        if (!(slow_rate >= 0.0 && slow_rate <= 1.0)) return bad("slow_rate", "must lie in 0 to 1");
        if (consecutive_failures == 0 && !has_window())
            return bad("consecutive_failures", "is 0, and so are failure_rate and slow_rate: nothing could open it");
        if (slow_call < duration::zero() || (slow_rate > 0.0 && slow_call == duration::zero()))
            return bad("slow_call", "must be positive where slow_rate is given");
        if (window < 1 || window > 1'000'000) return bad("window", "must lie in 1 to 1,000,000");
        if (window_time != duration::zero() && window_time < std::chrono::microseconds{1})
            return bad("window_time", "must be at least 1 microsecond, or zero");
        if (has_window() && (minimum_calls < 1 || (minimum_calls > window && window_time == duration::zero())))
            return bad("minimum_calls", "must lie in 1 to window");
        if (open_time <= duration::zero()) return bad("open_time", "must be positive");
        if (max_open_time > std::chrono::hours{87'600}) return bad("max_open_time", "must be at most 10 years");
        if (max_open_time < open_time) return bad("max_open_time", "must not be less than open_time");
        if (!(jitter >= 0.0 && jitter < 1.0)) return bad("jitter", "must lie in 0 to 1, without 1");
        if (half_open_permits < 1) return bad("half_open_permits", "must be at least 1");
        if (half_open_time <= duration::zero()) return bad("half_open_time", "must be positive");
        return {};
    }
    friend bool operator==(const circuit_breaker_options&, const circuit_breaker_options&) = default;
};

/// What a breaker has seen and done so far. The first four are of one moment.
struct circuit_breaker_snapshot {
    circuit_state state = circuit_state::closed;
    circuit_mode mode = circuit_mode::automatic;
    circuit_change last{circuit_state::closed, circuit_state::closed, {}};  ///< the latest change, with its cause
    std::string reason{};                                                   ///< what the user said in `set_mode`
    std::uint64_t opened = 0;                                               ///< changes to open, also from half_open
    std::uint64_t half_opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t refused = 0;   ///< attempts refused; in mode `observing` those that would have been
    std::uint64_t failures = 0;  ///< attempts counted as failed
    std::uint64_t stale = 0;     ///< results dropped because the breaker had changed since they were admitted
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a circuit breaker remembers of the latest attempts: how many there were, how many of them failed, how many were slow.
//
// All is counted from the beginning of time, and the window is what has been counted since it begins. So a good attempt is one
// addition; what is rare (a failure, a slow attempt, a new slice of time) moves the window, under the breaker's lock.
#ifndef STRATA_POLICY_OUTCOME_WINDOW_HPP
#define STRATA_POLICY_OUTCOME_WINDOW_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

struct outcome_counts {
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
    std::uint64_t slow = 0;
};

/// The latest `size` attempts, or those of the latest `time` (in ten slices, so a slice more or less). Exact for one thread; a good
/// attempt that another thread counts while the window moves lies on the one or the other side of its edge.
class outcome_window {
public:
    /// `time` zero: by number. `size` 0 and no time: forgets nothing. Below `minimum` attempts every one is for `add`.
    outcome_window(std::size_t size, duration time, unsigned minimum)
        : size_(time > duration::zero() ? 0 : size), slice_(time / slices), minimum_(minimum), enough_(minimum),
          slice_ends_(slice_ > duration::zero() ? 0 : duration::max().count()) {
        if (size_ != 0) bad_ = heap_array<bad_one>(size_);
        if (slice_ > duration::zero()) starts_ = heap_array<outcome_counts>(slices);
    }

    /// Thread-safe, for a good attempt that cannot make a rate worse. False: it may, so it was not counted, and is for `add`.
    [[nodiscard]] STRATA_INLINE bool count_good(time_point now) noexcept {
        if (now.time_since_epoch().count() >= slice_ends_.load(std::memory_order_relaxed) ||
            calls_.load(std::memory_order_relaxed) < enough_.load(std::memory_order_relaxed))
            return false;
        calls_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }

    // Under the lock.

    /// What the window holds with this one.
    outcome_counts add(bool failed, bool slow, time_point now) noexcept {
        if (starts_) forget_until(now);
        const std::uint64_t calls = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (bad_) forget_before(calls);
        failures_ += failed ? 1u : 0u;
        slow_ += slow ? 1u : 0u;
        if (bad_ && (failed || slow)) bad_[(oldest_ + bad_count_++) % size_] = {calls, failed, slow};
        return {calls - begin_.calls, failures_ - begin_.failures, slow_ - begin_.slow};
    }
    void clear() noexcept {
        bad_count_ = 0;
        begin_at(so_far());
        for (std::size_t i = 0; starts_ && i < slices; ++i) starts_[i] = begin_;
    }

private:
    static constexpr std::size_t slices = 10;

    struct bad_one {
        std::uint64_t number = 0;  ///< its own, from 1
        bool failed = false;
        bool slow = false;
    };

    [[nodiscard]] outcome_counts so_far() const noexcept { return {calls_.load(std::memory_order_relaxed), failures_, slow_}; }

    void begin_at(const outcome_counts& from) noexcept {
        begin_ = from;
        enough_.store(from.calls + minimum_, std::memory_order_relaxed);
    }

    /// By number: attempt `last` is the last one of the window.
    void forget_before(std::uint64_t last) noexcept {
        if (last - begin_.calls <= size_) return;
        begin_.calls = last - size_;
        for (; bad_count_ != 0 && bad_[oldest_].number <= begin_.calls; --bad_count_) {
            begin_.failures += bad_[oldest_].failed ? 1u : 0u;
            begin_.slow += bad_[oldest_].slow ? 1u : 0u;
            oldest_ = (oldest_ + 1) % size_;
        }
    }
    /// By time: a slice that begins takes the place of the oldest one.
    void forget_until(time_point now) noexcept {
        const time_point end{duration{slice_ends_.load(std::memory_order_relaxed)}};
        if (now < end) return;
        const duration::rep passed = (now - end) / slice_ + 1;
        slice_ends_.store((end + slice_ * passed).time_since_epoch().count(), std::memory_order_relaxed);
        for (duration::rep i = 0; i < passed && i < duration::rep{slices}; ++i) {
            starts_[oldest_] = so_far();
            oldest_ = (oldest_ + 1) % slices;
        }
        begin_at(starts_[oldest_]);
    }

    const std::size_t size_;
    const duration slice_;
    const unsigned minimum_;
    heap_array<bad_one> bad_;            ///< by number, else null: a ring of those in the window
    heap_array<outcome_counts> starts_;  ///< by time, else null: a ring of what had been counted when each slice began
    std::size_t oldest_ = 0;             ///< in its ring
    std::size_t bad_count_ = 0;
    std::uint64_t failures_ = 0, slow_ = 0;
    outcome_counts begin_;  ///< what had been counted when the window began

    std::atomic<std::uint64_t> calls_{0};
    std::atomic<std::uint64_t> enough_;  ///< with so many calls the window holds its minimum
    std::atomic<duration::rep> slice_ends_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Leaving an ill database alone: after enough failures attempts are refused at once, then a few probes decide.
//
// Each attempt remembers the state it was admitted in, with that state's generation; a result of another generation is
// dropped, so what began before a change can neither open nor close anything after it. Probes that never come back
// do not hold the breaker half-open for ever: after `half_open_time` it is open once more.
// What counts as failure is told by policy/conditions.hpp. A breaker for each shard or host: policy/keyed.hpp.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_HPP

namespace strata::inline STRATA_ABI {

/// Thread-safe. A success while nothing is on record costs two relaxed loads; with a rate rule it is counted by one atomic addition.
/// A refusal by an open breaker is `errc::circuit_open` and says when to come back. A short lock is taken by a failure, a slow
/// attempt, the first success after a failure, results below `minimum_calls`, and the first one in each tenth of `window_time`.
///
/// With many threads the row of failures is exact: the n-th one opens it, unless a success was counted in between. The rates may miss
/// a success that another thread counts in the moment of the decision, or have one of the moment before.
template <class Tag = void>
class circuit_breaker {
public:
    using options = detail::options_for<Tag, circuit_breaker_options>;
    static constexpr auto place = strata::place::breaker;
    static constexpr bool holds = true;
    struct frame {
        unset<std::uint64_t> admitted;  ///< the word at admission
        unset<time_point> started;
    };

    circuit_breaker() : circuit_breaker(options{}) {}
    explicit circuit_breaker(const options& o)
        : options_(detail::untagged(o)), slow_call_(options_.slow_rate > 0.0 ? options_.slow_call : duration::max()),
          window_(options_.has_window() ? options_.window : 0, options_.has_window() ? options_.window_time : duration{},
                  options_.minimum_calls) {
        set_meaning();
    }

    STRATA_INLINE verdict admit(auto&, frame& f, moment m) noexcept {
        const std::uint64_t now = word_.load(std::memory_order_acquire);
        if ((now & position_bits) != closed) [[unlikely]] {
            duration left = open_until() - m.now;
            if ((now & (position_bits | observed)) != open || left <= duration::zero()) {
                left = admit_otherwise(f, m);
                if (left < duration::zero()) return proceed();
            }
            refused_.fetch_add(1, std::memory_order_relaxed);
            return refuse(errc::circuit_open, left);
        }
        f.admitted = now;
        f.started = m.now;
        return proceed();
    }

    STRATA_INLINE void settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (result.ok() && success_.load(std::memory_order_relaxed) == meaning::nothing) [[likely]]
            return;
        sample_result(op, f, result, m);
    }

    /// A probe's permit goes back; nothing is counted.
    void abandon(frame& f) noexcept {
        if ((f.admitted & position_bits) == half_open) sample(f, health_sign::none, errc::ok, moment{});
    }

    /// The state now; an open breaker says `open` until an attempt finds that its time is over.
    [[nodiscard]] circuit_state state() const noexcept { return state_of(word_.load(std::memory_order_acquire)); }
    [[nodiscard]] circuit_mode mode() const noexcept { return mode_of(word_.load(std::memory_order_acquire)); }
    /// A mode is in force that somebody set; see `keyed`.
    [[nodiscard]] bool is_set_by_hand() const noexcept { return mode() != circuit_mode::automatic; }

    /// Takes the decision away from the breaker, or gives it back; then it begins closed, with nothing on record. `reason` is kept
    /// for the snapshot. `at`: now, in the time of the database's world.
    void set_mode(circuit_mode mode, std::string_view reason = {}, time_point at = steady_now()) {
        std::string said{reason};
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        if (mode == mode_of(before)) return reason_.swap(said);
        const bool decides = mode == circuit_mode::automatic || mode == circuit_mode::observing;
        std::uint64_t to = before & position_bits;
        if (!decides) {
            to = mode == circuit_mode::forced_open ? forced_open : mode == circuit_mode::forced_closed ? forced_closed : disabled;
        } else if (to > half_open) {
            to = closed;
        } else if (to == half_open) {  // permits taken in the other mode are void: begin with new ones
            to = open;
            set_open_until(at);
        }
        if (to != open) {
            in_a_row_ = 0;
            window_.clear();
        }
        reason_.swap(said);
        last_ = {state_of(before), state_of(to), at, circuit_cause::user};
        set_word(to | (mode == circuit_mode::observing ? observed : 0));
        announce(guard, before);
    }

    [[nodiscard]] circuit_breaker_snapshot snapshot() const {
        hold guard{lock_};
        return {state(), mode(), last_, reason_, opens_, half_opens_, closes_, refused_.load(std::memory_order_relaxed), failures_, stale_};
    }

private:
    // The word: a position, whether the breaker is only observed, and above these the generation.
    static constexpr std::uint64_t closed = 0, open = 1, half_open = 2, forced_open = 3, forced_closed = 4, disabled = 5;
    static constexpr std::uint64_t position_bits = 7, observed = 8, generation = 16;
    static constexpr std::uint64_t no_sample = ~std::uint64_t{0};  ///< the word of nobody
    static constexpr duration no_refusal{-1};

    enum class meaning : std::uint8_t {
        nothing,
        one_more,  ///< in the window
        a_change
    };

    [[nodiscard]] static constexpr circuit_state state_of(std::uint64_t word) noexcept {
        const std::uint64_t p = word & position_bits;
        return p == open || p == forced_open ? circuit_state::open : p == half_open ? circuit_state::half_open : circuit_state::closed;
    }
    [[nodiscard]] static constexpr circuit_mode mode_of(std::uint64_t word) noexcept {
        const std::uint64_t p = word & position_bits;
        if (p > half_open) return static_cast<circuit_mode>(p - forced_open + static_cast<std::uint64_t>(circuit_mode::forced_open));
        return (word & observed) != 0 ? circuit_mode::observing : circuit_mode::automatic;
    }

    /// How long to stay away, which is never negative, or `no_refusal`.
    [[nodiscard]] STRATA_COLD duration admit_otherwise(frame& f, moment m) noexcept {
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        const std::uint64_t found = before & position_bits;
        if (found == open && m.now >= open_until()) {
            taken_ = succeeded_ = 0;
            ++half_opens_;
            set_open_until(add_saturated(m.now, options_.half_open_time));
            change_to(half_open, circuit_cause::open_time_over, errc::ok, m);
        } else if (found == half_open && m.now >= open_until()) {
            if (taken_ > succeeded_)
                open_longer(circuit_cause::probes_unanswered, errc::ok, m);
            else  // nobody is on the way: there were too few callers
                set_open_until(add_saturated(m.now, options_.half_open_time));
        }
        const std::uint64_t now = word_.load(std::memory_order_relaxed), position = now & position_bits;
        const bool probe = position == half_open && taken_ < options_.half_open_permits;
        if (probe) ++taken_;
        const bool passes = probe || (position != open && position != half_open && position != forced_open);
        f.admitted = passes ? now : no_sample;
        f.started = m.now;
        duration left = position == forced_open ? duration::zero() : open_until() - m.now;
        if (position == half_open && left > options_.open_time) left = options_.open_time;  // the probes will have decided by then
        announce(guard, before);
        if (passes) return no_refusal;
        if ((now & observed) == 0) return left > duration::zero() ? left : duration::zero();
        refused_.fetch_add(1, std::memory_order_relaxed);  // as it would have been
        return no_refusal;
    }

    STRATA_NOINLINE void sample_result(const operation_base& op, const frame& f, const outcome& result, moment m) noexcept {
        if (!result.ok() || !is_one_more(f, m)) sample_more(op, f, result, m);
    }
    /// A success that the window has counted, and that has no other consequence.
    [[nodiscard]] STRATA_INLINE bool is_one_more(const frame& f, moment m) noexcept {
        return success_.load(std::memory_order_relaxed) == meaning::one_more && word_.load(std::memory_order_relaxed) == f.admitted &&
               m.now - time_point{f.started} <= slow_call_ && window_.count_good(m.now);
    }
    STRATA_COLD void sample_more(const operation_base& op, const frame& f, const outcome& result, moment m) noexcept {
        sample(f, result.ok() ? health_sign::good : sign_of(result.error(), op, options_.judge), result.code(), m, op.waited_for_lease);
    }

    STRATA_COLD void sample(const frame& f, health_sign sign, errc code, moment m, bool waited = false) noexcept {
        if (f.admitted == no_sample) return;
        const bool slow = !waited && m.now - time_point{f.started} > slow_call_;
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        if (before != f.admitted) {
            ++stale_;
            return;
        }
        const std::uint64_t position = before & position_bits;
        if (sign == health_sign::ill && position != disabled) ++failures_;
        if (position == closed && sign != health_sign::none) sample_closed(sign == health_sign::ill, slow, code, m);
        if (position == half_open) sample_probe(sign, slow, code, m);
        announce(guard, before);
    }

    // Under the lock.

    void sample_closed(bool failed, bool slow, errc code, moment m) noexcept {
        in_a_row_ = failed ? in_a_row_ + 1 : 0;
        const circuit_cause broken = broken_rule(window_.add(failed, slow, m.now));
        set_meaning();
        if (broken == circuit_cause::start) return;
        open_time_ = options_.open_time;
        open_for_now(broken, code, m);
    }
    /// `start`: none.
    [[nodiscard]] circuit_cause broken_rule(const detail::outcome_counts& n) const noexcept {
        if (options_.consecutive_failures != 0 && in_a_row_ >= options_.consecutive_failures) return circuit_cause::consecutive_failures;
        if (n.calls < options_.minimum_calls) return circuit_cause::start;
        const auto reached = [&n](std::uint64_t count, double rate) {
            return rate > 0.0 && static_cast<double>(count) >= rate * static_cast<double>(n.calls);
        };
        if (reached(n.failures, options_.failure_rate)) return circuit_cause::failure_rate;
        return reached(n.slow, options_.slow_rate) ? circuit_cause::slow_rate : circuit_cause::start;
    }

    void sample_probe(health_sign sign, bool slow, errc code, moment m) noexcept {
        if (sign == health_sign::none) {
            --taken_;
        } else if (sign == health_sign::ill || slow) {
            open_longer(sign == health_sign::ill ? circuit_cause::probe_failed : circuit_cause::slow_rate, code, m);
        } else if (++succeeded_ == options_.half_open_permits) {
            in_a_row_ = 0;
            window_.clear();
            ++closes_;
            change_to(closed, circuit_cause::probes_succeeded, errc::ok, m);
        }
    }

    void open_longer(circuit_cause why, errc code, moment m) noexcept {
        open_time_ = open_time_ <= options_.max_open_time / 2 ? open_time_ * 2 : options_.max_open_time;
        open_for_now(why, code, m);
    }
    void open_for_now(circuit_cause why, errc code, moment m) noexcept {
        const double share = 1.0 - options_.jitter * m.random_unit();
        set_open_until(add_saturated(m.now, duration{static_cast<duration::rep>(static_cast<double>(open_time_.count()) * share)}));
        ++opens_;
        change_to(open, why, code, m);
    }

    void change_to(std::uint64_t position, circuit_cause why, errc code, moment m) noexcept {
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        last_ = {state_of(before), state_of(position), m.now, why, code};
        set_word(position | (before & observed));
    }
    /// A new generation. Publishes what was written before it.
    void set_word(std::uint64_t low) noexcept {
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        word_.store((before / generation + 1) * generation | low, std::memory_order_release);
        set_meaning();
    }
    void set_meaning() noexcept {
        const std::uint64_t position = word_.load(std::memory_order_relaxed) & position_bits;
        meaning m = meaning::a_change;
        if (position == disabled) m = meaning::nothing;
        if (position == closed && in_a_row_ == 0) m = options_.has_window() ? meaning::one_more : meaning::nothing;
        success_.store(m, std::memory_order_relaxed);
    }

    /// Ends the lock, then tells of the change that was made under it, if there was one.
    void announce(hold<inline_lock>& guard, std::uint64_t before) const noexcept {
        const bool changed = word_.load(std::memory_order_relaxed) != before && last_.from != last_.to;
        if (!changed || options_.on_change == nullptr) return guard.unlock();
        const circuit_change change = last_;
        guard.unlock();
        options_.on_change(options_.context, change);
    }

    [[nodiscard]] time_point open_until() const noexcept { return time_point{duration{open_until_.load(std::memory_order_relaxed)}}; }
    void set_open_until(time_point at) noexcept { open_until_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }

    std::atomic<std::uint64_t> word_{0};        ///< written under the lock
    std::atomic<duration::rep> open_until_{0};  ///< open: when a probe may go; half-open: when that has lasted too long
    const circuit_breaker_options options_;
    const duration slow_call_;                        ///< more than this is slow
    std::atomic<meaning> success_{meaning::nothing};  ///< what it means now

    mutable inline_lock lock_;
    detail::outcome_window window_;
    unsigned in_a_row_ = 0;
    unsigned taken_ = 0;      ///< permits given out in this half-open state
    unsigned succeeded_ = 0;  ///< probes that succeeded in it
    duration open_time_{};    ///< before jitter
    circuit_change last_{circuit_state::closed, circuit_state::closed, {}};
    std::string reason_;
    std::uint64_t opens_ = 0, half_opens_ = 0, closes_ = 0, failures_ = 0, stale_ = 0;

    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

// A histogram of durations that many threads write without a lock.
//
// The buckets are fixed and log-linear, as in HdrHistogram: each power of two is cut into 2^Bits equal parts, so the relative
// error of a value read back is the same everywhere, at most 1 / 2^(Bits + 1). One record is a shift, a few
// additions and one atomic increment. Nothing is ever reset: the difference of two snapshots is the time between them.
#ifndef STRATA_OBSERVE_HISTOGRAM_HPP
#define STRATA_OBSERVE_HISTOGRAM_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Which bucket a number falls into, and which numbers a bucket holds. All of uint64 is covered.
template <unsigned Bits>
struct log_linear {
    static constexpr std::uint64_t parts = std::uint64_t{1} << Bits;
    static constexpr std::size_t buckets = (65 - Bits) * parts;

    [[nodiscard]] static constexpr std::size_t index(std::uint64_t v) noexcept {
        const auto shift = static_cast<unsigned>(std::bit_width(v | (2 * parts - 1))) - (Bits + 1);
        return static_cast<std::size_t>((std::uint64_t{shift} << Bits) + (v >> shift));
    }
    /// Smallest number in the bucket.
    [[nodiscard]] static constexpr std::uint64_t lower(std::size_t i) noexcept {
        return i < 2 * parts ? i : (i % parts + parts) << (i / parts - 1);
    }
    /// How many numbers are in it.
    [[nodiscard]] static constexpr std::uint64_t width(std::size_t i) noexcept {
        return i < 2 * parts ? 1 : std::uint64_t{1} << (i / parts - 1);
    }
    /// The number that stands for all of them.
    [[nodiscard]] static constexpr std::uint64_t middle(std::size_t i) noexcept { return lower(i) + (width(i) - 1) / 2; }
};

}  // namespace detail

/// A plain copy of a histogram: to read, add and subtract.
template <unsigned Bits>
struct basic_histogram_snapshot {
    using layout = detail::log_linear<Bits>;
    std::array<std::uint64_t, layout::buckets> counts{};

    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t n = 0;
        for (const std::uint64_t c : counts) n += c;
        return n;
    }

    /// The value that the share `q` (0 to 1) of all values does not exceed; relative error at most 1 / 2^(Bits + 1). Zero when empty.
    [[nodiscard]] duration percentile(double q) const noexcept {
        const std::uint64_t n = count();
        if (n == 0) return {};
        const double exact = (q < 0 ? 0 : q > 1 ? 1 : q) * static_cast<double>(n);
        auto rank = static_cast<std::uint64_t>(exact);
        if (static_cast<double>(rank) < exact || rank == 0) ++rank;
        std::size_t i = 0;
        for (std::uint64_t seen = counts[0]; seen < rank && i + 1 < counts.size(); seen += counts[i]) ++i;
        return as_duration(layout::middle(i));
    }

    /// Within the same relative error.
    [[nodiscard]] duration mean() const noexcept {
        double sum = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) sum += static_cast<double>(counts[i]) * static_cast<double>(layout::middle(i));
        const std::uint64_t n = count();
        return n == 0 ? duration{} : duration{static_cast<duration::rep>(sum / static_cast<double>(n))};
    }

    [[nodiscard]] duration largest() const noexcept {
        for (std::size_t i = counts.size(); i-- > 0;)
            if (counts[i] != 0) return as_duration(layout::middle(i));
        return {};
    }

    void merge(const basic_histogram_snapshot& other) noexcept {
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    }

    /// What was recorded between `earlier` and this, two snapshots of one histogram.
    [[nodiscard]] basic_histogram_snapshot since(const basic_histogram_snapshot& earlier) const noexcept {
        basic_histogram_snapshot difference;
        for (std::size_t i = 0; i < counts.size(); ++i) difference.counts[i] = counts[i] - earlier.counts[i];
        return difference;
    }

private:
    [[nodiscard]] static duration as_duration(std::uint64_t v) noexcept {
        return duration{v > static_cast<std::uint64_t>(duration::max().count()) ? duration::max().count() : static_cast<duration::rep>(v)};
    }
};

/// Thread-safe; wait-free. 8 * (65 - Bits) * 2^Bits bytes.
template <unsigned Bits>
class basic_histogram {
public:
    using layout = detail::log_linear<Bits>;
    using snapshot_type = basic_histogram_snapshot<Bits>;

    /// About ten instructions. A negative duration counts as the longest one.
    STRATA_INLINE void record(duration d) noexcept {
        counts_[layout::index(static_cast<std::uint64_t>(d.count()))].fetch_add(1, std::memory_order_relaxed);
    }

    /// Not one moment's state: what other threads record meanwhile may or may not be in it.
    [[nodiscard]] snapshot_type snapshot() const noexcept {
        snapshot_type s;
        for (std::size_t i = 0; i < layout::buckets; ++i) s.counts[i] = counts_[i].load(std::memory_order_relaxed);
        return s;
    }

private:
    std::array<std::atomic<std::uint64_t>, layout::buckets> counts_{};
};

/// 7.6 KiB; relative error at most 3.2 %.
using histogram = basic_histogram<4>;
using histogram_snapshot = basic_histogram_snapshot<4>;
/// 2 KiB; relative error at most 12.5 %. One for each statement's name.
using small_histogram = basic_histogram<2>;
using small_histogram_snapshot = basic_histogram_snapshot<2>;

}  // namespace strata::inline STRATA_ABI

#endif

// Outcomes sorted into few classes, for counting: some fifty conditions are too many for a table that people read.
#ifndef STRATA_OBSERVE_OUTCOME_CLASS_HPP
#define STRATA_OBSERVE_OUTCOME_CLASS_HPP

namespace strata::inline STRATA_ABI {

enum class outcome_class : std::uint8_t {
    ok,
    refused,  ///< by this process: open breaker, full pool, shutdown; nothing was sent
    timeout,
    cancelled,   ///< by the caller
    contention,  ///< busy, deadlock, serialization failure
    connection,  ///< none, or lost
    constraint,
    statement,  ///< wrong text, arguments or rights
    result,     ///< not the rows that were asked for
    machine,    ///< disk, memory, corruption
    in_doubt,   ///< nobody knows whether it took place
    user,       ///< the caller's closure threw or failed
    other
};
inline constexpr std::size_t outcome_classes = 13;

[[nodiscard]] constexpr std::string_view to_string(outcome_class c) noexcept {
    constexpr std::string_view names[] = {"ok",        "refused", "timeout", "cancelled", "contention", "connection", "constraint",
                                          "statement", "result",  "machine", "in_doubt",  "user",       "other"};
    static_assert(sizeof(names) / sizeof(names[0]) == outcome_classes);
    return names[static_cast<std::size_t>(c)];
}

[[nodiscard]] constexpr outcome_class class_of(errc code) noexcept {
    switch (code) {
        case errc::ok:
            return outcome_class::ok;
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::shutting_down:
        case errc::refused:
        case errc::access_denied:
            return outcome_class::refused;
        case errc::timeout:
            return outcome_class::timeout;
        case errc::cancelled:
            return outcome_class::cancelled;
        case errc::cannot_connect:
        case errc::connection_lost:
            return outcome_class::connection;
        case errc::busy:
        case errc::busy_snapshot:
        case errc::locked:
        case errc::serialization_failure:
        case errc::deadlock:
        case errc::lock_not_available:
            return outcome_class::contention;
        case errc::unique_violation:
        case errc::foreign_key_violation:
        case errc::not_null_violation:
        case errc::check_violation:
        case errc::constraint_violation:
            return outcome_class::constraint;
        case errc::syntax_error:
        case errc::undefined_object:
        case errc::invalid_argument:
        case errc::invalid_statement:
        case errc::read_only:
        case errc::too_big:
        case errc::permission_denied:
            return outcome_class::statement;
        case errc::no_rows:
        case errc::too_many_rows:
        case errc::missing_column:
        case errc::type_mismatch:
        case errc::out_of_range:
        case errc::null_value:
            return outcome_class::result;
        case errc::disk_full:
        case errc::io_error:
        case errc::corrupt:
        case errc::out_of_memory:
        case errc::not_a_database:
            return outcome_class::machine;
        case errc::outcome_unknown:
        case errc::commit_pending:
        case errc::heuristic_outcome:
            return outcome_class::in_doubt;
        case errc::user_exception:
        case errc::user_error:
            return outcome_class::user;
        case errc::transaction_aborted:
        case errc::commit_rolled_back:
        case errc::not_run:
        case errc::misuse:
        case errc::unsupported:
        case errc::unknown:
            return outcome_class::other;
    }
    return outcome_class::other;
}

}  // namespace strata::inline STRATA_ABI

#endif

// What `metrics<>` has counted, as a plain struct: to read, to subtract, to print (observe/print.hpp).
#ifndef STRATA_OBSERVE_METRICS_SNAPSHOT_HPP
#define STRATA_OBSERVE_METRICS_SNAPSHOT_HPP

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

// Counters by statement name, for up to 256 names, without a lock.
//
// A name's counters are made when it is first seen, entered by one compare-and-swap, and live as long as the table. Names
// beyond the 256th share one line, so a program that makes up names cannot fill the memory.
#ifndef STRATA_OBSERVE_STATEMENT_TABLE_HPP
#define STRATA_OBSERVE_STATEMENT_TABLE_HPP

namespace strata::inline STRATA_ABI {

/// What is counted of one name. Thread-safe.
class statement_counters {
public:
    static constexpr std::size_t longest_name = 63;  ///< what is longer is cut: names alike up to there share a line

    statement_counters() noexcept = default;
    statement_counters(std::string_view name, std::uint64_t hash) noexcept : hash_(hash) { size_ = name.copy(name_, longest_name); }

    STRATA_INLINE void record(duration d, bool ok) noexcept {
        latency_.record(d);
        if (!ok) [[unlikely]]
            failures_.fetch_add(1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::string_view name() const noexcept { return {name_, size_}; }
    [[nodiscard]] bool is(std::string_view name, std::uint64_t hash) const noexcept { return hash_ == hash && this->name() == name; }
    [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }
    [[nodiscard]] const small_histogram& latency() const noexcept { return latency_; }

private:
    std::uint64_t hash_ = 0;
    std::size_t size_ = 0;
    char name_[longest_name + 1] = {};
    std::atomic<std::uint64_t> failures_{0};
    small_histogram latency_;
};

class statement_table {
public:
    static constexpr std::size_t capacity = 256;

    statement_table() noexcept = default;
    statement_table(const statement_table&) = delete;
    statement_table& operator=(const statement_table&) = delete;
    ~statement_table() {
        for (auto& slot : slots_) delete slot.load(std::memory_order_relaxed);
    }

    /// The counters of a name; those of `others()` when the table is full or memory is out.
    [[nodiscard]] statement_counters& find(std::string_view name) noexcept {
        if (name.size() > statement_counters::longest_name) name = name.substr(0, statement_counters::longest_name);
        const std::uint64_t hash = hash_of(name);
        for (std::size_t i = hash >> shift;; i = (i + 1) % places) {
            statement_counters* there = slots_[i].load(std::memory_order_acquire);
            if (there == nullptr) {
                there = enter(i, name, hash);
                if (there == nullptr) return others_;
            }
            if (there->is(name, hash)) return *there;
        }
    }

    /// Statements whose name found no place.
    [[nodiscard]] const statement_counters& others() const noexcept { return others_; }

    /// `f(counters)` for each name, in no order.
    template <class F>
    void for_each(F&& f) const {
        for (const auto& slot : slots_)
            if (const statement_counters* there = slot.load(std::memory_order_acquire)) f(*there);
    }

private:
    static constexpr std::size_t places = 2 * capacity;  // never more than half full: a search is short and ends
    static constexpr unsigned shift = 64 - 9;
    static_assert(places == 1u << 9);

    /// By words, of which the last two overlap, so that no byte is read alone: 38 instructions less for a name of 13.
    [[nodiscard]] static std::uint64_t hash_of(std::string_view name) noexcept {
        std::uint64_t h = name.size();
        const auto mix = [&h](std::uint64_t word) { h = (std::rotl(h, 29) ^ word) * 0x9e3779b97f4a7c15ull; };
        const char* p = name.data();
        const std::size_t size = name.size();
        if (size >= 8) {
            for (std::size_t i = 0; i + 8 < size; i += 8) mix(read<std::uint64_t>(p + i));
            mix(read<std::uint64_t>(p + size - 8));
        } else if (size >= 4) {
            mix(read<std::uint32_t>(p) | read<std::uint32_t>(p + size - 4) << 32);
        } else if (size > 0) {
            mix(read<std::uint8_t>(p) | read<std::uint8_t>(p + size / 2) << 8 | read<std::uint8_t>(p + size - 1) << 16);
        }
        return h;
    }
    template <class Word>
    [[nodiscard]] static std::uint64_t read(const char* from) noexcept {
        Word word;
        std::memcpy(&word, from, sizeof word);
        return word;
    }

    /// Puts new counters into an empty place; returns what lies there afterwards, null when there is no room.
    [[nodiscard]] STRATA_COLD statement_counters* enter(std::size_t i, std::string_view name, std::uint64_t hash) noexcept {
        if (used_.fetch_add(1, std::memory_order_relaxed) < capacity) {
            if (auto* made = new (std::nothrow) statement_counters(name, hash)) {
                statement_counters* there = nullptr;
                if (slots_[i].compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return made;
                delete made;
                used_.fetch_sub(1, std::memory_order_relaxed);
                return there;
            }
        }
        used_.fetch_sub(1, std::memory_order_relaxed);
        return nullptr;
    }

    std::array<std::atomic<statement_counters*>, places> slots_{};
    std::atomic<std::size_t> used_{0};
    statement_counters others_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Counting: operations by kind and outcome, their latency, retries, and statements by name.
//
// Statements inside a transaction are not operations of their own: the transaction is one. They are counted by name
// only, where they have one.
#ifndef STRATA_POLICY_METRICS_HPP
#define STRATA_POLICY_METRICS_HPP

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

// Trying again what failed for a passing reason and may safely be repeated.
//
// What is repeated: an operation whose error is transient (policy/conditions.hpp) and left no trace (effect none or
// rolled back), or whose effect is unknown but which is idempotent. A refusal of this process is repeated only if it says
// when (`retry_after`), and soon (`patience`): an open breaker is there to fail fast. Never: what the caller cancelled, what
// reached the user already, what could not begin before the deadline.
//
// Between attempts a pause is drawn, by default with full jitter (Brooker 2015: the least work under contention). With bound = base * 2^n
// (or base, where it is constant), never above cap:
//
//     full          uniform in [0, bound)
//     equal         bound / 2 + uniform in [0, bound / 2)
//     decorrelated  min(cap, uniform in [base, 3 * the pause before))
//     none          bound
//
// Over all operations: a budget of tokens (Brooker 2022). A repetition costs one, a success gives back a tenth, so a long
// outage is met with at most a tenth more load than without retry. When the budget is empty the original error goes out.
#ifndef STRATA_POLICY_RETRY_HPP
#define STRATA_POLICY_RETRY_HPP

namespace strata::inline STRATA_ABI {

/// How chance enters the pauses between attempts, so that callers which failed together do not come back together.
enum class jitter : std::uint8_t { full, equal, decorrelated, none };
/// How pauses grow from attempt to attempt (`decorrelated` grows by itself).
enum class backoff : std::uint8_t { exponential, constant };

struct retry_options {
    unsigned max_attempts = 3;                      ///< the first one included; 1 to 65535
    duration base = std::chrono::milliseconds{10};  ///< bound of the first pause; not negative
    duration cap = std::chrono::seconds{1};         ///< bound of every pause; not below `base`
    duration patience = std::chrono::seconds{1};    ///< a refusal that says to come back later than this goes out at once
    unsigned budget = 100;                          ///< repetitions in reserve over all operations; 0: no budget is kept
    double refund = 0.1;                            ///< what a success gives back, in [0, 1]
    strata::jitter jitter = strata::jitter::full;
    strata::backoff backoff = strata::backoff::exponential;
    condition_judge judge = nullptr;  ///< what is worth another attempt, where it is not the table; never overrules safety

    [[nodiscard]] error validate() const {
        if (max_attempts < 1 || max_attempts > 65535)
            return detail::bad_option("retry_options.max_attempts", "must be between 1 and 65535");
        if (base < duration::zero()) return detail::bad_option("retry_options.base", "must not be negative");
        if (cap < base) return detail::bad_option("retry_options.cap", "must not be less than base");
        if (cap > std::chrono::hours{87'600}) return detail::bad_option("retry_options.cap", "must be at most 10 years");
        if (patience < duration::zero()) return detail::bad_option("retry_options.patience", "must not be negative");
        if (budget > 1'000'000) return detail::bad_option("retry_options.budget", "must be at most 1,000,000");
        if (!(refund >= 0.0 && refund <= 1.0)) return detail::bad_option("retry_options.refund", "must lie in 0 to 1");
        return {};
    }
    friend bool operator==(const retry_options&, const retry_options&) = default;
};

/// What a `retry` has done so far.
struct retry_snapshot {
    std::uint64_t repeats = 0;           ///< attempts that were ordered after a failure
    std::uint64_t attempts_used_up = 0;  ///< operations that failed in their last attempt
    std::uint64_t budget_used_up = 0;    ///< operations that were not repeated for lack of tokens
    double tokens = 0;                   ///< what the budget holds now
};

/// Thread-safe. A success costs one relaxed load (and one addition while the budget is not full).
template <class Tag = void>
class retry {
public:
    using options = detail::options_for<Tag, retry_options>;
    static constexpr auto place = strata::place::repeat;
    struct frame {
        unsigned made = 0;       ///< attempts that went further than a refusal of this process
        unsigned pauses = 0;     ///< with it the two are one store
        unset<duration> paused;  ///< the latest of these
    };

    retry() : retry(options{}) {}
    explicit retry(const options& o) noexcept
        : options_(detail::untagged(o)), full_(std::int64_t{options_.budget} * token),
          refund_(static_cast<std::int64_t>(options_.refund * token)) {}

    STRATA_INLINE verdict settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (!result.ok()) [[unlikely]]
            return after_failure(op, op.idempotent(), f, result.error(), m);
        if (spent_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            give_back();
        return accept();
    }

    /// For one who repeats an operation beside this layer (a hedged read): takes a repetition from the budget. False: it is empty.
    [[nodiscard]] bool take_repetition() noexcept { return take_token(); }

    [[nodiscard]] retry_snapshot snapshot() const noexcept {
        return {repeats_.load(std::memory_order_relaxed), attempts_used_up_.load(std::memory_order_relaxed),
                budget_used_up_.load(std::memory_order_relaxed),
                static_cast<double>(full_ - spent_.load(std::memory_order_relaxed)) / static_cast<double>(token)};
    }

private:
    static constexpr std::int64_t token = 1000;

    STRATA_COLD verdict after_failure(operation_base& op, bool idempotent, frame& f, error& e, moment m) noexcept {
        if (!e.local()) ++f.made;
        e.set_attempts(f.made);
        if (!may_help(e) || !is_safe(e, idempotent)) return accept();
        if (op.attempt >= options_.max_attempts) {
            attempts_used_up_.fetch_add(1, std::memory_order_relaxed);
            return accept();
        }
        // Who was told when to come back waits at least so long; the jitter on top spreads those who were told the same.
        const duration drawn = draw(op.attempt - 1, f.pauses++ == 0 ? duration::zero() : duration{f.paused}, m);
        f.paused = drawn;
        const duration pause = add_saturated(time_point{e.retry_after()}, drawn).time_since_epoch();
        if (!op.may_repeat(pause, m)) return accept();  // the engine would refuse it too; here it costs no token
        if (!take_token()) {
            budget_used_up_.fetch_add(1, std::memory_order_relaxed);
            return accept();
        }
        repeats_.fetch_add(1, std::memory_order_relaxed);
        return again(pause);
    }

    [[nodiscard]] bool may_help(const error& e) const noexcept {
        if (e.retry_after() > options_.patience) return false;
        if (e.local()) return e.retry_after() > duration::zero() && e.code() != errc::cancelled && e.code() != errc::shutting_down;
        return traits_of(e, options_.judge).transient;
    }

    [[nodiscard]] static bool is_safe(const error& e, bool idempotent) noexcept {
        switch (e.effect()) {
            case effect::none:
            case effect::rolled_back:
                return true;
            case effect::unknown:
                return idempotent;
            case effect::applied:
                break;
        }
        return false;
    }

    /// The pause after attempt n, from 0.
    [[nodiscard]] duration draw(unsigned n, duration before, moment m) const noexcept {
        if (options_.jitter == strata::jitter::decorrelated) {
            const duration from = options_.base, last = before > from ? before : from;
            const duration drawn = from + part(last * 3 - from, m);
            return drawn < options_.cap ? drawn : options_.cap;
        }
        duration bound = options_.base;
        if (options_.backoff == strata::backoff::exponential && bound > duration::zero())
            for (; n > 0 && bound < options_.cap; --n) bound = bound <= options_.cap / 2 ? bound * 2 : options_.cap;
        if (options_.jitter == strata::jitter::none) return bound;
        if (options_.jitter == strata::jitter::equal) return bound / 2 + part(bound - bound / 2, m);
        return part(bound, m);
    }
    [[nodiscard]] static duration part(duration of, moment m) noexcept {
        return duration{static_cast<duration::rep>(static_cast<double>(of.count()) * m.random_unit())};
    }

    [[nodiscard]] bool take_token() noexcept {
        if (full_ == 0) return true;
        std::int64_t spent = spent_.load(std::memory_order_relaxed);
        while (spent + token <= full_)
            if (spent_.compare_exchange_weak(spent, spent + token, std::memory_order_relaxed)) return true;
        return false;
    }
    STRATA_COLD void give_back() noexcept {
        std::int64_t spent = spent_.load(std::memory_order_relaxed);
        while (spent > 0)
            if (spent_.compare_exchange_weak(spent, spent > refund_ ? spent - refund_ : 0, std::memory_order_relaxed)) return;
    }

    const retry_options options_;
    const std::int64_t full_;
    const std::int64_t refund_;
    std::atomic<std::int64_t> spent_{0};  ///< of the budget, in thousandths of a token
    std::atomic<std::uint64_t> repeats_{0};
    std::atomic<std::uint64_t> attempts_used_up_{0};
    std::atomic<std::uint64_t> budget_used_up_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

// How many connections a pool may open at once, and when: few at a time, and while the server cannot be reached only one, seldom.
//
// One number says it all: `allowed()`, how many may be on their way at once. A failure makes it 1 and draws a pause, which grows with
// each further failure; each success adds 1, so that it is 1, 2, 4 ... where each round of connects succeeds, up to `max_connecting`.
// When the server goes away, others are on their way already. They fail for the same reason, so they count as one failure, and none is
// begun before they have ended. Which one ends is not asked: the first to end after a failure are those that were on their way then.
#ifndef STRATA_SOURCE_CONNECT_GOVERNOR_HPP
#define STRATA_SOURCE_CONNECT_GOVERNOR_HPP

namespace strata::inline STRATA_ABI {

struct connect_governor_options {
    std::uint32_t max_connecting = 2;                      ///< so many connects at once; 1 to 65,535
    duration first_pause = std::chrono::milliseconds{10};  ///< after the first failure in a row, before jitter; positive
    duration longest_pause = std::chrono::seconds{5};      ///< the pause doubles up to this; from `first_pause` to one day

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* what) { return error{errc::invalid_argument, what, phase::admission}; };
        if (max_connecting < 1 || max_connecting > 65'535) return bad("connect_governor_options.max_connecting must lie in 1 to 65,535");
        if (first_pause <= duration::zero()) return bad("connect_governor_options.first_pause must be positive");
        if (longest_pause < first_pause || longest_pause > std::chrono::hours{24})
            return bad("connect_governor_options.longest_pause must lie in `first_pause` to one day");
        return {};
    }
};

/// Each connect is one `begun` and then exactly one of `succeeded`, `failed` and `abandoned`. Not thread-safe: the pool's lock guards it.
/// Allocates nothing; each call is a few instructions. Randomness is drawn by `failed` only.
class connect_governor {
public:
    connect_governor() noexcept : connect_governor(connect_governor_options{}) {}
    /// `o` must be valid.
    explicit connect_governor(const connect_governor_options& o) noexcept : options_(o), allowed_(o.max_connecting) {}

    /// Whether one more connect may begin now. When not: ask again at `next_try`, and whenever a connect has ended.
    [[nodiscard]] bool may_begin(time_point now) const noexcept { return connecting_ < allowed_ && now >= next_try_; }
    /// One begins. Counted also where nobody asked `may_begin`, as a connect for a caller who would not wait.
    void begun() noexcept { ++connecting_; }
    void succeeded() noexcept {
        end_one();
        failures_ = 0;
        next_try_ = time_point::min();
        if (allowed_ < options_.max_connecting) ++allowed_;
    }
    /// Also for a connect that took too long. The pause begins at `m.now`, when it ended.
    void failed(moment m) noexcept {
        if (end_one()) return;
        pause_ = failures_ == 0 ? options_.first_pause : pause_ < options_.longest_pause / 2 ? pause_ * 2 : options_.longest_pause;
        if (failures_ < ~std::uint32_t{0}) ++failures_;
        allowed_ = 1;
        of_before_ = connecting_;
        const duration half = pause_ / 2;
        next_try_ =
            add_saturated(m.now, pause_ - half + duration{static_cast<duration::rep>(static_cast<double>(half.count()) * m.random_unit())});
    }
    /// It was given up for a reason that tells nothing about the server: nobody needs it any more, the pool is closed.
    void abandoned() noexcept { end_one(); }

    /// The latest connect that counts has failed.
    [[nodiscard]] bool is_down() const noexcept { return failures_ != 0; }
    /// So many in a row have failed, those that fell together counted once; 0 where none did.
    [[nodiscard]] std::uint32_t failures() const noexcept { return failures_; }
    /// None may begin before; in the distant past unless `is_down`.
    [[nodiscard]] time_point next_try() const noexcept { return next_try_; }
    /// So many may be on their way at once, as things stand.
    [[nodiscard]] std::uint32_t allowed() const noexcept { return allowed_; }
    /// So many are.
    [[nodiscard]] std::uint32_t connecting() const noexcept { return connecting_; }

private:
    /// True where it was on its way already when the server went away.
    bool end_one() noexcept {
        --connecting_;
        if (of_before_ == 0) return false;
        --of_before_;
        return true;
    }

    connect_governor_options options_;
    std::uint32_t allowed_;
    std::uint32_t connecting_ = 0;
    std::uint32_t of_before_ = 0;  ///< of these, those that were on their way at the latest failure that counts
    std::uint32_t failures_ = 0;
    duration pause_{};  ///< the latest, before jitter
    time_point next_try_ = time_point::min();
};

}  // namespace strata::inline STRATA_ABI

#endif

// A function of the user's among options: copies share it, and are equal for that. Two functions that were given separately never are.
#ifndef STRATA_CORE_SHARED_FUNCTION_HPP
#define STRATA_CORE_SHARED_FUNCTION_HPP

namespace strata::inline STRATA_ABI {

template <class Signature>
class shared_function;

/// Made from anything that can be called so. Calls are as safe from several threads as the function's own are. (A `std::function` in it
/// would cost each program that includes a pool 0.1 s to compile.)
template <class Result, class... A>
class shared_function<Result(A...)> {
public:
    shared_function() noexcept = default;
    shared_function(std::nullptr_t) noexcept {}
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, shared_function> && std::is_invocable_r_v<Result, std::decay_t<F>&, A...>)
    shared_function(F&& f) {
        if constexpr (requires { static_cast<bool>(f == nullptr); })
            if (f == nullptr) return;  // an empty std::function, a null pointer
        shared_ = std::make_shared<held<std::decay_t<F>>>(std::forward<F>(f));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return shared_ != nullptr; }
    Result operator()(A... a) const { return shared_->call(std::forward<A>(a)...); }
    friend bool operator==(const shared_function&, const shared_function&) = default;

private:
    struct callable {
        virtual Result call(A... a) = 0;

    protected:
        ~callable() = default;
    };
    template <class F>
    struct held final : callable {
        template <class G>
        explicit held(G&& g) : function(std::forward<G>(g)) {}
        Result call(A... a) override { return function(std::forward<A>(a)...); }
        F function;
    };
    std::shared_ptr<callable> shared_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// How many of a pool's connections wait for locks in the database: no work of the database's, so the planner leaves it out.
//
// A driver that waits itself (SQLite) knows: `connection.waited_for_locks()` is the sum of its waits, as a duration that only grows and may
// be read from any thread. Where the server waits (PostgreSQL) it is asked: the driver has a type `lock_watch` with
//
//     std::optional<std::size_t> ask(const options&, const std::int32_t* sessions, std::size_t n, const interruption&) noexcept
//
// which keeps a connection of its own, besides the pool's, and counts those of the sessions (`connection.session_number()`) that wait; none
// where it cannot tell. It is asked as often as the planner says, only while all connections are lent out and callers wait; no caller
// waits for it. A driver with neither waits for no locks, as far as the planner knows.
#ifndef STRATA_SOURCE_POOL_LOCK_WATCH_HPP
#define STRATA_SOURCE_POOL_LOCK_WATCH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A pool at one moment.
struct pool_look {
    std::size_t lent = 0;  ///< connections that are lent out
    bool is_full = false;  ///< all are, and callers wait
    duration locked{};     ///< since the look before: waits for locks that connections have counted themselves
};

/// Nothing, for drivers that are not asked.
template <class Control, class Driver = typename Control::driver>
class pool_lock_watch {
public:
    static constexpr bool asks = false;
    explicit pool_lock_watch(Control&) noexcept {}
    [[nodiscard]] std::size_t waiting(const pool_look&, duration, time_point) const noexcept { return 0; }
    void rest() const noexcept {}
    void cancel() const noexcept {}
};

template <class Control, class Driver>
    requires requires { typename Driver::lock_watch; }
class pool_lock_watch<Control, Driver> {
public:
    static constexpr bool asks = true;

    explicit pool_lock_watch(Control& control) noexcept : control_(control) {}
    pool_lock_watch(const pool_lock_watch&) = delete;
    pool_lock_watch& operator=(const pool_lock_watch&) = delete;
    /// In a forked child the connection belongs to the parent.
    ~pool_lock_watch() {
        if (process_.is_forked_child()) static_cast<void>(watch_.release());
    }

    /// How many of those that are lent out wait for locks; the server is asked no more often than `every` (zero: never), else it is what it
    /// said last. Blocks for `longest_answer` at most.
    [[nodiscard]] STRATA_COLD std::size_t waiting(const pool_look& seen, duration every, time_point now) noexcept {
        if (!seen.is_full || every <= duration::zero() || end_.is_cancelled()) return waiting_ = 0;
        if (now >= next_) {
            next_ = add_saturated(now, every);
            ask(now);
        }
        asked_ = true;
        return waiting_ < seen.lent ? waiting_ : seen.lent;
    }
    /// A round has ended: where the server was not asked in it, the connection is closed.
    STRATA_COLD void rest() noexcept {
        if (!std::exchange(asked_, false)) watch_ = nullptr;
    }
    /// From any thread.
    void cancel() noexcept { end_.cancelled.store(true, std::memory_order_relaxed); }

private:
    static constexpr duration longest_answer = std::chrono::seconds{1}, after_failure = std::chrono::minutes{1};
    static constexpr duration longest_use = std::chrono::minutes{1};  ///< of a connection: a new one may lead elsewhere

    void ask(time_point now) noexcept {
        waiting_ = 0;
        try {
            const auto target = control_.target();
            if (target_ != target || now >= until_) watch_ = nullptr;
            if (watch_ == nullptr) {
                watch_ = std::make_unique<typename Driver::lock_watch>();
                target_ = target;
                until_ = add_saturated(now, longest_use);
            }
            if (!sessions_) sessions_ = heap_array<std::int32_t>(control_.capacity());
            end_.deadline = add_saturated(now, longest_answer);
            const std::size_t n = control_.sessions(sessions_.data());
            if (const std::optional<std::size_t> said = watch_->ask(*target, sessions_.data(), n, end_)) {
                waiting_ = *said;
                return;
            }
        } catch (...) {  // no memory
        }
        watch_ = nullptr;
        next_ = add_saturated(now, after_failure);
    }

    Control& control_;
    std::unique_ptr<typename Driver::lock_watch> watch_;
    std::shared_ptr<const typename Driver::options> target_;  ///< of `watch_`
    heap_array<std::int32_t> sessions_;
    interruption end_;
    fork_guard process_;
    time_point next_{};   ///< when it may be asked again
    time_point until_{};  ///< the end of `watch_`
    std::size_t waiting_ = 0;
    bool asked_ = false;  ///< in this round
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Who says how large a pool is to be, and how many connections it is to hold ready: an object of the user's choice, asked now and then.
//
// The library's own is in source/pool_planner.hpp. The pool watches itself for the planner, from outside: it looks a few times a second how
// many connections are lent out, and so callers pay nothing for it. How long they wait for locks it learns from the driver, see
// source/pool_lock_watch.hpp.
#ifndef STRATA_SOURCE_POOL_PLAN_HPP
#define STRATA_SOURCE_POOL_PLAN_HPP

namespace strata::inline STRATA_ABI {

/// What a pool saw since its planner was asked last; the first time: since it began.
struct pool_usage {
    std::chrono::system_clock::time_point wall{};  ///< the calendar's time now
    std::size_t limit = 0;                         ///< so many connections the pool may have now
    std::size_t peak = 0;                          ///< the most that were lent out at once
    std::size_t waiting = 0;                       ///< the most callers that waited at once
    std::uint64_t ended = 0;                       ///< leases that ended
    duration lent{};                               ///< the time that connections were lent out, all together
    std::uint64_t faults = 0;                      ///< leases that ended by a timeout, or because the connection failed
    duration locked{};        ///< of `lent`, the time in which they waited for locks in the database, as far as the driver can tell
    std::size_t besides = 0;  ///< so many connections the pool may have open besides, to ask for locks: they count for the server
};

/// How a pool is to be from now on.
struct pool_plan {
    std::size_t size = 0;   ///< so many connections at most, up to `pool_options::max_size`; 0: as it is
    std::size_t ready = 0;  ///< so many are opened without being asked for, besides `pool_options::min_size`: the larger counts
    duration ask_again{};   ///< the planner is asked again after this; positive
};

class pool_planner {
public:
    /// Called by one thread at a time, which the planner may keep for as long as it needs, without a lock of the pool.
    virtual pool_plan plan(const pool_usage& u, moment m) noexcept = 0;
    /// How often the pool is to look how many connections are lent out; positive.
    [[nodiscard]] virtual duration look_every() const noexcept = 0;
    /// How often the server is to be asked which connections wait for locks, while all are lent out and callers wait; zero: never.
    [[nodiscard]] virtual duration ask_for_locks_every() const noexcept { return {}; }

    virtual ~pool_planner() = default;

protected:
    pool_planner() = default;
    pool_planner(const pool_planner&) = delete;
    pool_planner& operator=(const pool_planner&) = delete;
};

namespace detail {

/// Watches a pool for its planner, and does what that says. `Control` is the pool.
template <class Control>
class pool_planning final : public background {
public:
    explicit pool_planning(Control& control) noexcept : control_(control), locks_(control) {}

    STRATA_COLD time_point run(moment m) noexcept override {
        pool_planner& planner = *control_.planner();
        const pool_look seen = control_.watch(usage_);
        const duration since = last_look_ != time_point{} ? m.now - last_look_ : duration{};
        const std::size_t waits = locks_.waiting(seen, planner.ask_for_locks_every(), m.now);
        usage_.lent += static_cast<duration::rep>(seen.lent) * since;
        usage_.locked += seen.locked + static_cast<duration::rep>(waits) * since;
        last_look_ = m.now;
        if (m.now >= next_plan_) {
            usage_.wall = runner->wall_now();
            if (usage_.locked > usage_.lent) usage_.locked = usage_.lent;
            usage_.besides = locks_.asks && planner.ask_for_locks_every() > duration::zero() ? 1 : 0;
            const pool_plan p = planner.plan(usage_, m);
            usage_ = {};
            next_plan_ = add_saturated(m.now, p.ask_again > duration::zero() ? p.ask_again : std::chrono::seconds{1});
            control_.follow(p);
            locks_.rest();
        }
        const time_point look = add_saturated(m.now, planner.look_every());
        return look < next_plan_ ? look : next_plan_;
    }

    void cancel() noexcept override { locks_.cancel(); }

private:
    Control& control_;
    pool_lock_watch<Control> locks_;
    pool_usage usage_;
    time_point last_look_{};
    time_point next_plan_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How a pool is set up, and what it tells of itself; its errors are in source/pool_errors.hpp.
#ifndef STRATA_SOURCE_POOL_OPTIONS_HPP
#define STRATA_SOURCE_POOL_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

/// What is done to a connection that comes back from a session, or from a transaction that set something for the session.
enum class session_reset : std::uint8_t {
    rollback_only,  ///< nothing, unless a transaction was left open: that is rolled back, whatever is chosen
    discard_all,    ///< PostgreSQL: DISCARD ALL, and its statements are prepared anew; a driver without that: the connection is closed
    custom          ///< `pool_options::reset_sql` is run; where it fails the connection is closed
};

/// A lease that was out for longer than `pool_options::leak_threshold`. The texts live until the function returns.
struct pool_leak {
    std::string_view name;       ///< of the operation, else its statement; empty for a session or transaction without a name
    std::source_location where;  ///< where `begin()` or `session()` was called; line 0 for anything else
    duration held{};             ///< for how long at least: it is looked for only now and then
};

struct pool_options {
    std::size_t min_size = 1;                      ///< connections opened when the database is constructed; 0: none
    std::size_t max_size = 8;                      ///< never more than this; on SQLite one of them writes
    std::size_t reserved = 0;                      ///< besides these, so many for `db.independent()`, opened when they are needed
    duration max_wait = std::chrono::seconds{30};  ///< how long a caller waits for a connection at most
    std::size_t max_waiting = 10'000;              ///< callers beyond this many are refused at once

    // Opening. Threads of the database do it, which begin when the pool grows beyond `min_size` for the first time.
    std::size_t max_connecting = 2;                        ///< so many connections are opened at once, 1 to 16; after a failure: one
    duration first_pause = std::chrono::milliseconds{10};  ///< after a failure; doubled, and drawn from half to all of it, for each further
    duration longest_pause = std::chrono::seconds{5};      ///< up to this
    /// While no connection is open and none can be had: false, who has waited for the attempt is told, and from the second failure in a row
    /// on newcomers are refused until the next one; true, all wait for the next attempt, `max_wait` at most.
    bool wait_while_down = false;
    /// A connection whose health (0 to 100: an I/O error or lack of memory takes 25 of it, a success gives 5 back) is below this is closed
    /// when it comes back. 0: none is.
    unsigned min_health = 50;

    // Hygiene: done by the same threads before the connection serves anybody else.
    session_reset on_return = session_reset::rollback_only;
    std::string reset_sql = {};  ///< one statement without parameters, for `session_reset::custom`

    // Upkeep: what the pool does by itself. A thread of the database does it, which begins only if one of these is set.
    duration max_lifetime{};       ///< a connection is closed at this age, if it is lent out when it comes back; zero: at none
    double lifetime_jitter = 0.1;  ///< up to this share of a lifetime is left out at random, for each connection, in [0, 1)
    duration max_idle{};           ///< connections beyond `min_size` are closed when nobody used them for so long; zero: never
    /// A connection that nobody used for so long is asked for a sign of life (PostgreSQL: a round trip) before somebody gets it, which is
    /// when no other is idle. Zero: never.
    duration validate_after{};
    /// A lease that is out for so long is reported, once, to `on_leak`, and counted. Zero: none is.
    duration leak_threshold{};
    shared_function<void(const pool_leak&)> on_leak =
        nullptr;  ///< called by upkeep's thread, which waits for it; what it throws is dropped
    /// How often upkeep looks whether idle connections are alive and too old. Zero: every tenth of the limits above, and every 10 seconds
    /// at least, if one of them is set.
    duration check_interval{};

    /// Of the pool of those that are reserved.
    [[nodiscard]] pool_options for_reserve() const {
        pool_options o = *this;
        o.min_size = o.reserved = 0;
        o.max_size = reserved;
        o.planner = nullptr;
        return o;
    }
    [[nodiscard]] connect_governor_options connecting() const noexcept {
        return {static_cast<std::uint32_t>(max_connecting), first_pause, longest_pause};
    }
    [[nodiscard]] bool has_upkeep() const noexcept {
        return max_lifetime > duration::zero() || max_idle > duration::zero() || validate_after > duration::zero() ||
               leak_threshold > duration::zero() || check_interval > duration::zero();
    }
    [[nodiscard]] duration upkeep_period() const noexcept {
        const bool given = check_interval > duration::zero();
        duration period = given ? check_interval : std::chrono::seconds{10};
        for (const duration limit : {max_lifetime, max_idle, validate_after, leak_threshold}) {
            const duration often = given ? limit : limit / 10;
            if (limit > duration::zero() && often < period) period = often;
        }
        return given || period > std::chrono::milliseconds{1} ? period : std::chrono::milliseconds{1};
    }

    /// Says how large the pool is to be, and how much it holds ready, from time to time; see source/pool_planner.hpp. Null: nobody.
    std::shared_ptr<pool_planner> planner = nullptr;

    /// Names the first field that makes no sense.
    [[nodiscard]] error validate() const {
        if (max_size == 0)
            return {errc::invalid_argument, "pool_options.max_size is 0: a pool needs at least one connection", phase::admission};
        if (max_size > 65'535) return {errc::invalid_argument, "pool_options.max_size is above 65535", phase::admission};
        if (reserved > 65'535) return {errc::invalid_argument, "pool_options.reserved is above 65535", phase::admission};
        if (min_size > max_size) return {errc::invalid_argument, "pool_options.min_size is above max_size", phase::admission};
        if (max_wait < duration::zero()) return {errc::invalid_argument, "pool_options.max_wait is negative", phase::admission};
        if (max_connecting < 1 || max_connecting > 16)
            return {errc::invalid_argument, "pool_options.max_connecting must lie in 1 to 16", phase::admission};
        if (first_pause <= duration::zero() || longest_pause < first_pause || longest_pause > std::chrono::hours{24})
            return {errc::invalid_argument, "pool_options.first_pause must be positive, and longest_pause lie between it and a day",
                    phase::admission};
        if (min_health > 100) return {errc::invalid_argument, "pool_options.min_health must lie in 0 to 100", phase::admission};
        if (max_lifetime < duration::zero()) return {errc::invalid_argument, "pool_options.max_lifetime is negative", phase::admission};
        if (!(lifetime_jitter >= 0.0 && lifetime_jitter < 1.0))
            return {errc::invalid_argument, "pool_options.lifetime_jitter must lie in 0 to 1, without 1", phase::admission};
        if (max_idle < duration::zero()) return {errc::invalid_argument, "pool_options.max_idle is negative", phase::admission};
        if (validate_after < duration::zero()) return {errc::invalid_argument, "pool_options.validate_after is negative", phase::admission};
        if ((on_return == session_reset::custom) == reset_sql.empty())
            return {errc::invalid_argument, "pool_options.reset_sql goes with session_reset::custom, and with nothing else",
                    phase::admission};
        if (leak_threshold < duration::zero()) return {errc::invalid_argument, "pool_options.leak_threshold is negative", phase::admission};
        if (check_interval < duration::zero()) return {errc::invalid_argument, "pool_options.check_interval is negative", phase::admission};
        return {};
    }
    friend bool operator==(const pool_options&, const pool_options&) = default;
};

/// What a pool has done and holds. Counters only grow.
struct pool_snapshot {
    std::size_t open = 0;         ///< connections that exist, or are being opened
    std::size_t opening = 0;      ///< of these, being opened, or made fit for the next caller
    std::size_t idle = 0;         ///< of these, neither leased nor being opened
    std::size_t waiting = 0;      ///< callers in the queue now
    bool suspended = false;       ///< nobody is given a connection, see `suspend()`
    bool closed = false;          ///< the database was closed
    bool reachable = true;        ///< false: the latest attempt to connect failed
    std::uint64_t waits = 0;      ///< acquisitions that had to wait
    duration waited{};            ///< their time in the queue, all together
    std::uint64_t timeouts = 0;   ///< waits that ended without a connection
    std::uint64_t opened = 0;     ///< connections opened so far
    std::uint64_t lost = 0;       ///< connections closed because they were broken
    std::uint64_t leaks = 0;      ///< leases that were reported as too long
    std::uint64_t left_open = 0;  ///< leases that came back in the middle of a transaction, which was rolled back
    std::uint64_t retired =
        0;  ///< connections closed while they were sound: too old, unused for too long, unwell, or the pool became smaller
};

}  // namespace strata::inline STRATA_ABI

#endif

// One place of a pool for a connection, and the lane it stands in.
#ifndef STRATA_SOURCE_POOL_SLOT_HPP
#define STRATA_SOURCE_POOL_SLOT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Why a connection takes the slow way when it comes back.
struct slot_mark {
    enum : std::uint8_t {
        retired = 1,  ///< it is closed then; all are once the pool is closed
        check = 2,    ///< the pool became smaller since it was lent out
        held = 4,     ///< the pool is suspended
        unwell = 8    ///< its score is not full
    };
};

/// The health of a connection that is not surely broken, from 0 to 100. A doubtful end takes 25 of it, a good one gives 5 back: three
/// doubtful ones in a row bring it below the usual threshold of 50, one in seven calls never does.
inline constexpr std::uint8_t full_score = 100;
[[nodiscard]] constexpr std::uint8_t score_after(std::uint8_t score, health h) noexcept {
    constexpr std::uint8_t fault = 25, success = 5;
    if (h == health::doubtful) return score > fault ? static_cast<std::uint8_t>(score - fault) : std::uint8_t{0};
    return score < full_score - success ? static_cast<std::uint8_t>(score + success) : full_score;
}

/// What has to be done with a connection before anybody gets it.
enum class slot_need : std::uint8_t { nothing, cleaning, checking };

/// Lives as long as the pool; the connection in it may come and go. Guarded by the pool's lock, but for the connection of a lease.
template <class Driver>
struct pool_slot {
    typename Driver::connection connection;
    pool_slot* next = nullptr;          // idle or empty list
    operation_base* current = nullptr;  // whoever holds the lease, or opens the connection
    std::uint8_t lane = 0;
    bool open = false;
    slot_need need = slot_need::nothing;
    std::uint8_t marks = 0;
    std::uint8_t score = full_score;
    bool seen = false;               // upkeep: in this round
    std::uint32_t returns = 0;       // how often it came back
    std::uint32_t seen_returns = 0;  // upkeep: at the last look
    std::int32_t session = 0;        // the server's number of it, where it has one
    time_point ends = never;         // upkeep: end of its life; `never` before it has been seen, and where there is no limit
    time_point idle_since{};

    // Of the lease whose `returns` is `lease`.
    std::uint32_t lease = ~std::uint32_t{0};
    bool reported = false;
    time_point lent_since{};
    std::source_location where{};

    /// The notes on a lease begin.
    void note_lease(time_point now) noexcept {
        if (lease == returns && lent_since != time_point{}) return;
        if (lease != returns) where = {};
        lease = returns;
        reported = false;
        lent_since = now;
    }
};

/// Connections that serve the same calls: all, or with a single writer those that write and those that read.
template <class Slot>
struct alignas(64) pool_lane {
    Slot* idle = nullptr;     // the warmest first
    Slot* cold = nullptr;     // idle for so long that they are checked first
    Slot* kept = nullptr;     // idle ones that nobody gets: the pool is suspended
    std::size_t count = 0;    // of all three
    std::size_t taken = 0;    // places with a connection, or with one being opened
    std::size_t opening = 0;  // being opened, or made fit
    std::size_t fitting = 0;  // of these, made fit
    std::size_t limit = 0;
    wait_queue queue;

    /// Null when there is none.
    [[nodiscard]] STRATA_INLINE Slot* take_idle() noexcept {
        Slot* s = idle;
        if (s != nullptr) [[likely]] {
            idle = s->next;
            --count;
        }
        return s;
    }
    /// The one that is missed least; null when there is none.
    [[nodiscard]] Slot* take_any() noexcept {
        Slot** const list = cold != nullptr ? &cold : idle != nullptr ? &idle : &kept;
        Slot* s = *list;
        if (s == nullptr) return nullptr;
        *list = s->next;
        --count;
        return s;
    }
    STRATA_INLINE void put_idle(Slot* s) noexcept {
        s->next = idle;
        idle = s;
        ++count;
    }
    /// Connected and lent out.
    [[nodiscard]] std::size_t lent() const noexcept { return taken - opening - count; }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The places of a pool: which are empty, which hold an idle connection, who waits for one, and how a pool comes to an end.
//
// Under one lock: a list of idle connections and a queue of waiters for each lane, and the places without a connection.
// What a caller sees of it is source/pool.hpp; who opens connections is source/pool_opener.hpp; how a pool is steered is
// source/pool_control.hpp; what it does by itself is source/pool_upkeep.hpp.
#ifndef STRATA_SOURCE_POOL_PLACES_HPP
#define STRATA_SOURCE_POOL_PLACES_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Places>
class pool_opener;

template <class Driver, class Lock>
class pool_places {
public:
    using driver = Driver;
    using slot = pool_slot<Driver>;
    using lane = pool_lane<slot>;
    using lease = slot*;
    using connection = typename Driver::connection;
    using opener = pool_opener<pool_places>;

    pool_places(const pool_options& options, const typename Driver::options& target)
        : options_(options), target_(std::make_shared<const typename Driver::options>(target)), slots_(options.max_size),
          split_(Driver::single_writer && options.max_size > 1), ready_(has_handle(target) ? 0 : options.min_size),
          governor_(options.connecting()) {
        lanes_[0].limit = split_ ? 1 : options.max_size;
        lanes_[1].limit = split_ ? options.max_size - 1 : 0;
        for (std::size_t i = options.max_size; i-- > 0;) put(empty_, &slots_[i]);
    }
    pool_places(const pool_places&) = delete;
    pool_places& operator=(const pool_places&) = delete;
    /// In a forked child the connections still belong to the parent: not even closing them would be safe, so they are left alone.
    ~pool_places() {
        if (process_.is_forked_child()) static_cast<void>(slots_.release());
    }

    /// Closes whatever connection there is, and gives the place back: it is free, and somebody may open another one.
    STRATA_COLD void release_unconnected(lease& l) noexcept {
        slot* s = std::exchange(l, nullptr);
        close(*s);
        wake_call wake;
        opener* next = nullptr;
        bool at_rest = false;
        {
            hold guard(lock_);
            lane& where = lanes_[s->lane];
            if (closed_ || has_openers() || suspended_ || where.taken > where.limit || !where.queue.grant_first(s, wake)) free_place(s);
            next = wanted_opener();
            at_rest = is_at_rest();
        }
        wake();
        static_cast<void>(rouse(next));
        if (at_rest) wake_closers();
    }

    /// Opens the connection of a place. A driver that waits while it connects is asked again after each wait.
    [[nodiscard]] STRATA_COLD signal connect(lease& l, operation_base& op, error& e) {
        const guarded guard_of_connection{l->connection, &op};
        const auto role = Driver::role_of(l->lane == 1, split_);
        const auto target = this->target();
        if constexpr (opens_in_steps<connection, typename Driver::options, decltype(role)>) {
            const signal s = l->connection.open_step(*target, role, e);
            if (s != signal::done) return s;
        } else {
            e = l->connection.open(*target, role, &op);  // the operation becomes the guard
            if (e) return signal::failed;
        }
        hold guard(lock_);
        l->open = true;
        if constexpr (requires { l->connection.session_number(); }) l->session = l->connection.session_number();
        l->ends = never;
        l->idle_since = {};
        l->score = full_score;
        ++opened_;
        return signal::done;
    }

    [[nodiscard]] STRATA_INLINE connection& connection_of(lease& l) noexcept { return l->connection; }
    [[nodiscard]] duration wait_limit() const noexcept { return options_.max_wait; }
    [[nodiscard]] std::size_t capacity() const noexcept { return options_.max_size; }
    /// Who else is to know when the server says farewell.
    void tells(farewell_listener& other) noexcept { beside_ = &other; }
    /// What its connections are opened with from now on.
    [[nodiscard]] std::shared_ptr<const typename Driver::options> target() noexcept {
        hold guard(lock_);
        return target_;
    }

protected:
    template <class Places>
    friend class pool_upkeep;
    template <class Places>
    friend class pool_opener;

    /// Of the user's: nothing is opened anew on it without being asked for.
    [[nodiscard]] static bool has_handle([[maybe_unused]] const typename Driver::options& o) noexcept {
        if constexpr (requires { o.handle; })
            return o.handle != nullptr;
        else
            return false;
    }
    static void put(slot*& list, slot* s) noexcept {
        s->next = list;
        list = s;
    }
    /// To the end of a list; `s` may be one itself.
    static void append(slot*& list, slot* s) noexcept {
        slot** end = &list;
        while (*end != nullptr) end = &(*end)->next;
        *end = s;
    }
    [[nodiscard]] STRATA_INLINE lane& lane_for(const operation_base& op) noexcept { return lanes_[split_ && op.reads_only ? 1 : 0]; }

    /// Under the lock, as everything below unless it says otherwise. Empty places are unmarked when they are taken.
    void mark_all(std::uint8_t mark) noexcept {
        for (std::size_t i = 0; i < options_.max_size; ++i) slots_[i].marks |= mark;
    }
    [[nodiscard]] std::size_t open_or_opening() const noexcept { return lanes_[0].taken + lanes_[1].taken; }

    /// Null when the lane is full.
    [[nodiscard]] slot* take_empty(lane& l) noexcept {
        if (l.taken >= l.limit) return nullptr;  // beyond it while a smaller size is awaited
        slot* s = empty_;
        empty_ = s->next;
        s->marks = closed_ ? slot_mark::retired : suspended_ ? slot_mark::held : 0;
        s->lane = static_cast<std::uint8_t>(&l - lanes_);
        ++l.taken;
        return s;
    }

    /// Without the lock, since it may take its time. The place still counts as taken.
    void close(slot& s) noexcept {
        {
            hold guard(lock_);
            s.current = nullptr;  // from here on nobody interrupts it
        }
        s.connection.close();
        hold guard(lock_);
        s.open = false;
        if (!closed_) s.marks = suspended_ ? slot_mark::held : 0;  // what is opened here from now on is new
    }
    /// Of a place whose connection was closed.
    void free_place(slot* s) noexcept {
        --lanes_[s->lane].taken;
        put(empty_, s);
    }

    // Opening. Where no world runs openers (pool<no_lock>), callers open what they need themselves.
    [[nodiscard]] bool has_openers() const noexcept { return openers_begun_; }
    /// Idle ones that are cold have to be checked first: they are, where somebody waits.
    void warm_up() noexcept {
        if (closed_ || suspended_) return;
        for (lane& l : lanes_)
            while (l.cold != nullptr && l.queue.size() > l.fitting) {
                slot* s = std::exchange(l.cold, l.cold->next);
                --l.count;
                make_fit(s, slot_need::checking);
            }
    }
    /// Before anybody gets it: by an opener, for which it waits in a list.
    void make_fit(slot* s, slot_need n) noexcept {
        s->current = nullptr;
        s->need = n;
        ++lanes_[s->lane].opening;
        ++lanes_[s->lane].fitting;
        s->next = nullptr;
        append(unfit_, s);
    }
    /// The lane that wants one more connection than there are and are being opened; null: none does.
    [[nodiscard]] lane* wanting() noexcept {
        if (closed_ || suspended_) return nullptr;
        for (lane& l : lanes_)
            if (l.queue.size() > l.opening && l.taken < l.limit) return &l;
        if (open_or_opening() >= ready_ + (replacing_ ? 1 : 0)) return nullptr;
        lane& l = lanes_[split_ && lanes_[0].taken != 0 ? 1 : 0];
        return l.taken < l.limit ? &l : nullptr;
    }
    /// One that rests, to be roused after the lock; null: none is needed, or those at work will look themselves.
    [[nodiscard]] opener* wanted_opener() noexcept {
        warm_up();
        if (unfit_ != nullptr && resting_ == nullptr) return std::exchange(pausing_opener_, nullptr);  // it need not wait for that
        if (resting_ == nullptr) return nullptr;
        if (unfit_ == nullptr && (pausing_ || governor_.connecting() >= governor_.allowed() || wanting() == nullptr)) return nullptr;
        return std::exchange(resting_, resting_->resting_behind);
    }
    /// Without the lock. False: there is no thread to be had.
    bool rouse(opener* o) noexcept {
        if (o == nullptr || o->rouse()) return true;
        hold guard(lock_);
        if (o->is_pausing()) {
            pausing_opener_ = o;
            return false;
        }
        o->resting_behind = std::exchange(resting_, o);
        return false;
    }
    /// Nobody has a connection of the lane that could come back, and none is being opened.
    [[nodiscard]] bool is_forlorn(const lane& l) const noexcept { return pausing_ && !options_.wait_while_down && l.taken == 0; }
    /// Callers are told so at once, instead of waiting until the next attempt. One failure alone, whose pause is short, is waited out.
    [[nodiscard]] bool is_refusing(const lane& l) const noexcept { return is_forlorn(l) && governor_.failures() > 1; }

    /// Serves the oldest waiter, else it is idle: the first to be taken, or the last (`behind`).
    void hand_over(slot* s, wake_call& wake, bool behind = false) noexcept {
        s->current = nullptr;
        lane& where = lanes_[s->lane];
        if (suspended_) {
            put(where.kept, s);
            ++where.count;
        } else if (!where.queue.grant_first(s, wake)) {
            slot** at = &where.idle;
            while (behind && *at != nullptr) at = &(*at)->next;
            put(*at, s);
            ++where.count;
        }
    }

    /// Rolls back what was left open, and resets the session. Without the lock, by whoever has the connection.
    /// `bound` ends the reset, not the rollback.
    [[nodiscard]] STRATA_COLD health clean(slot& s, const interruption* bound) noexcept {
        auto& c = s.connection;
        if (const health h = c.tidy(); !is_usable(h)) return h;
        if (options_.on_return == session_reset::rollback_only) return health::good;
        const guarded guard_of_connection{c, bound};
        try {
            if (options_.on_return == session_reset::custom) {
                if constexpr (requires { c.control(options_.reset_sql); }) {
                    if (c.control(options_.reset_sql)) return health::lost;
                    if constexpr (requires { c.session_was_reset(); }) c.session_was_reset();
                    return health::good;
                }
            } else if constexpr (requires { c.discard_all(); }) {
                return c.discard_all() ? health::lost : health::good;
            }
        } catch (...) {  // no memory
        }
        return health::lost;
    }
    /// A connection that nobody may get as it is. Without the lock.
    STRATA_COLD void release_unfit(slot* s, health h) noexcept {
        opener* next = nullptr;
        bool left_to_opener = false;
        const std::uint8_t score = s->score;
        {
            hold guard(lock_);
            if (s->connection.in_transaction()) ++left_open_;
            if (has_openers() && !closed_ && (s->marks & slot_mark::retired) == 0 && resting_ != nullptr) {
                ++s->returns;
                if (h != health::good) ++faults_;
                if (h != health::late) s->score = score_after(s->score, h);
                if (s->score < full_score) s->marks |= slot_mark::unwell;
                make_fit(s, slot_need::cleaning);
                next = wanted_opener();
                left_to_opener = true;
            }
        }
        if (left_to_opener) {
            if (rouse(next)) return;
            hold guard(lock_);  // no thread is to be had
            slot** link = &unfit_;
            while (*link != nullptr && *link != s) link = &(*link)->next;
            if (*link == nullptr) return;  // another opener has it
            *link = s->next;
            s->need = slot_need::nothing;
            --lanes_[s->lane].opening;
            --lanes_[s->lane].fitting;
            --s->returns;
            if (h != health::good) --faults_;
            s->score = score;
        }
        release_slowly(s, is_usable(clean(*s, nullptr)) ? h : health::lost);
    }

    /// What took the slow way back. Without the lock.
    STRATA_COLD void release_slowly(slot* s, health h, bool behind = false) noexcept {
        wake_call wake;
        slot* others = nullptr;
        bool closes = false, at_rest = false, farewell = false;
        {
            hold guard(lock_);
            ++s->returns;
            if (h != health::good) ++faults_;
            farewell = h == health::all_lost && (s->marks & slot_mark::retired) == 0;
            if (farewell) others = take_all();
            closes = !stays(*s, h);
            if (!closes)
                hand_over(s, wake, behind);
            else if (!is_usable(h))
                ++lost_;
            else if (!closed_)
                ++retired_;
            at_rest = suspended_ && is_at_rest();
        }
        wake();
        if (closes) release_unconnected(s);
        close_all(others);
        if (farewell) tell_farewell();
        if (at_rest) wake_closers();
    }
    STRATA_COLD void tell_farewell() noexcept {
        if (beside_ != nullptr) beside_->all_lost();
    }
    /// Whether a connection that comes back is kept; its score and marks are those from here on.
    [[nodiscard]] bool stays(slot& s, health h) noexcept {
        s.marks &= static_cast<std::uint8_t>(~(slot_mark::check | slot_mark::unwell));
        if (is_usable(h) && h != health::late) s.score = score_after(s.score, h);
        const bool stays = is_usable(h) && !closed_ && (s.marks & slot_mark::retired) == 0 &&
                           lanes_[s.lane].taken <= lanes_[s.lane].limit && s.score >= options_.min_health;
        if (s.score < full_score) s.marks |= slot_mark::unwell;
        return stays;
    }

    /// Every connection that there is: those lent out and being opened are closed when they come back, the idle ones are in the list.
    [[nodiscard]] slot* take_all() noexcept {
        mark_all(slot_mark::retired);
        slot* all = nullptr;
        for (lane& l : lanes_)
            for (slot** list : {&l.idle, &l.cold, &l.kept})
                while (slot* s = *list) {
                    *list = s->next;
                    --l.count;
                    ++retired_;
                    put(all, s);
                }
        return all;
    }
    /// Without the lock.
    void close_all(slot* list) noexcept {
        while (list != nullptr) {
            slot* s = std::exchange(list, list->next);
            release_unconnected(s);
        }
    }

    /// No lease is out and nothing is being opened; of a closed pool: nothing is open.
    [[nodiscard]] bool is_at_rest() const noexcept { return open_or_opening() == (closed_ ? 0 : lanes_[0].count + lanes_[1].count); }
    /// The pool has come to rest: all who wait for that are told. Without the lock.
    STRATA_COLD void wake_closers() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!closers_.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }
    Lock lock_;
    lane lanes_[2];
    wait_queue closers_;
    bool closed_ = false;
    bool cancelling_ = false;
    bool suspended_ = false;
    bool pausing_ = false;  ///< after a connect that failed: an opener waits until the next one may begin
    const pool_options options_;
    std::shared_ptr<const typename Driver::options> target_;
    heap_array<slot> slots_;
    slot* empty_ = nullptr;
    const bool split_;
    fork_guard process_;
    std::size_t ready_;       ///< so many connections are opened without being asked for
    bool replacing_ = false;  ///< and one more, for one that is too old
    connect_governor governor_;
    bool openers_begun_ = false;
    opener* resting_ = nullptr;
    opener* pausing_opener_ = nullptr;  ///< the one that waits for the end of the pause
    slot* unfit_ = nullptr;             ///< connections that have to be cleaned or checked, the oldest first
    error connect_error_;               ///< why the latest connect failed; empty after one that did not
    std::uint64_t waits_ = 0, timeouts_ = 0, opened_ = 0, lost_ = 0, retired_ = 0, left_open_ = 0, leaks_ = 0, faults_ = 0;
    duration waited_{};
    operation_base* upkeep_op_ = nullptr;
    farewell_listener* beside_ = nullptr;
    background* replacement_awaited_ = nullptr;  ///< by this task, which is roused when one more has been opened
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Who opens a pool's connections, so that callers wait only for the pool, never for a connect.
//
// An opener is a task of the world. It is roused when somebody has to wait and there is room, looks again when its turn comes (a lease that
// came back meanwhile has served the waiter: nothing is opened for nobody), opens one connection, hands it to the oldest waiter, and rests
// when nothing more is wanted. The governor says how many may be at it. After a failure one opener waits for the pause to end; meanwhile
// callers who would depend on it are refused with what it was told, or wait on, as `pool_options::wait_while_down` says.
#ifndef STRATA_SOURCE_POOL_OPENER_HPP
#define STRATA_SOURCE_POOL_OPENER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A world for drivers that ask for the time.
struct at_moment {
    strata::moment given;
    [[nodiscard]] strata::moment moment() const noexcept { return given; }
};

/// Asks no peer.
[[nodiscard]] bool is_alive(auto& connection) noexcept {
    if constexpr (requires { connection.is_alive(); })
        return connection.is_alive();
    else
        return true;
}

/// What a waiter is given in place of a connection when none could be opened.
inline constexpr char connect_has_failed = 0;
[[nodiscard]] inline void* failed_connect() noexcept {
    return const_cast<char*>(&connect_has_failed);
}

template <class Places>
class pool_opener final : public background {
    using slot = typename Places::slot;

public:
    pool_opener() noexcept {
        due = never;
        op_.name = "the pool itself";
    }
    /// Before it is given to a world.
    void belong_to(Places& places) noexcept {
        places_ = &places;
        resting_behind = std::exchange(places.resting_, this);
    }

    STRATA_COLD time_point run(moment m) noexcept override {
        if (opening_ == nullptr) return begin(m) ? time_point{} : pauses_ ? until_ : never;
        if (opening_->need != slot_need::nothing) return made_fit(m);
        if (ended_ != signal::work) return end(m);
        at_moment now{m};
        announce_resume(opening_->connection, op_, now);
        signal s = signal::failed;
        error_ = {};
        try {
            do s = places_->connect(opening_, op_, error_);
            while (s == signal::work);
        } catch (...) {
            error_ = error{errc::out_of_memory, phase::connect};
        }
        if (s == signal::park) {  // a cancel is seen soon
            const time_point soon = m.now + std::chrono::milliseconds{50}, end = end_of_wait(opening_->connection);
            return end < soon ? end : soon;
        }
        ended_ = s;
        return {};  // it may have taken its time: what follows needs a moment of its own
    }

    void cancel() noexcept override { op_.cancelled.store(true, std::memory_order_relaxed); }

    pool_opener* resting_behind = nullptr;  ///< in the pool's list of those that rest
    /// Under the pool's lock.
    [[nodiscard]] bool is_pausing() const noexcept { return pauses_; }

private:
    /// False when nothing is to be opened now: then it rests, or waits for the end of the pause.
    [[nodiscard]] bool begin(moment m) noexcept {
        hold guard(places_->lock_);
        if (pauses_ && m.now >= until_) pauses_ = places_->pausing_ = false;
        places_->pausing_opener_ = pauses_ ? this : places_->pausing_opener_ == this ? nullptr : places_->pausing_opener_;
        places_->warm_up();
        if (places_->unfit_ != nullptr) {
            opening_ = std::exchange(places_->unfit_, places_->unfit_->next);
            opening_->current = &op_;
            return true;
        }
        auto* l = op_.is_cancelled() || places_->pausing_ || !places_->governor_.may_begin(m.now) ? nullptr : places_->wanting();
        opening_ = l != nullptr ? places_->take_empty(*l) : nullptr;
        if (opening_ == nullptr) {
            if (!pauses_) resting_behind = std::exchange(places_->resting_, this);
            return false;
        }
        places_->governor_.begun();
        ++l->opening;
        opening_->current = &op_;
        ended_ = signal::work;
        return true;
    }

    [[nodiscard]] time_point made_fit(moment m) noexcept {
        slot* s = std::exchange(opening_, nullptr);
        op_.deadline = add_saturated(m.now, std::chrono::seconds{5});
        const bool fit = s->need == slot_need::checking ? answers(*s) : is_usable(places_->clean(*s, &op_));
        op_.deadline = never;
        wake_call wake;
        slot* others = nullptr;
        bool closes = false, at_rest = false, farewell = false;
        {
            hold guard(places_->lock_);
            s->need = slot_need::nothing;
            auto& l = places_->lanes_[s->lane];
            --l.opening;
            --l.fitting;
            if constexpr (requires { s->connection.said(); })
                farewell = !fit && s->connection.said() == health::all_lost && (s->marks & slot_mark::retired) == 0;
            if (farewell) others = places_->take_all();
            closes = !fit || places_->closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit ||
                     s->score < places_->options_.min_health;
            if (!closes)
                places_->hand_over(s, wake);
            else if (!fit)
                ++places_->lost_;
            else if (!places_->closed_)
                ++places_->retired_;
            at_rest = places_->is_at_rest();
        }
        wake();
        if (closes) places_->release_unconnected(s);
        places_->close_all(others);
        if (farewell) places_->tell_farewell();
        if (at_rest) places_->wake_closers();
        return {};
    }
    [[nodiscard]] bool answers(slot& s) noexcept {
        if constexpr (requires { s.connection.ping(); }) {
            const guarded guard{s.connection, &op_};
            return is_usable(s.connection.ping());
        } else {
            return is_alive(s.connection);
        }
    }

    [[nodiscard]] time_point end(moment m) noexcept { return ended_ == signal::done ? opened() : failed(m); }

    [[nodiscard]] time_point opened() noexcept {
        slot* s = std::exchange(opening_, nullptr);
        wake_call wake;
        pool_opener* another = nullptr;
        background* awaiting = nullptr;
        bool closes = false, at_rest = false;
        {
            hold guard(places_->lock_);
            places_->governor_.succeeded();
            places_->connect_error_ = {};
            auto& l = places_->lanes_[s->lane];
            --l.opening;
            closes = places_->closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit;
            if (!closes)
                places_->hand_over(s, wake);
            else if (!places_->closed_)
                ++places_->retired_;
            another = places_->wanted_opener();
            awaiting = std::exchange(places_->replacement_awaited_, nullptr);
            at_rest = places_->is_at_rest();
        }
        wake();
        if (closes) places_->release_unconnected(s);
        static_cast<void>(places_->rouse(another));
        if (awaiting != nullptr) awaiting->rouse();
        if (at_rest) places_->wake_closers();
        return {};  // to look whether there is more to do
    }

    [[nodiscard]] time_point failed(moment m) noexcept {
        slot* s = std::exchange(opening_, nullptr);
        auto& l = places_->lanes_[s->lane];
        places_->close(*s);
        bool at_rest = false;
        std::size_t told = 0;
        {
            hold guard(places_->lock_);
            --l.opening;
            places_->free_place(s);
            if (op_.is_cancelled()) {
                places_->governor_.abandoned();
            } else {
                places_->governor_.failed(m);
                places_->connect_error_ = std::move(error_);
                pauses_ = !std::exchange(places_->pausing_, true);
                if (pauses_) {
                    until_ = places_->governor_.next_try();
                    places_->pausing_opener_ = this;
                }
            }
            told = l.queue.size();  // whoever has waited for it, not who comes now
            at_rest = places_->is_at_rest();
        }
        if (at_rest) places_->wake_closers();
        for (; told != 0; --told) {
            wake_call wake;
            {
                hold guard(places_->lock_);
                if (!places_->is_forlorn(l) || !l.queue.grant_first(failed_connect(), wake)) break;
            }
            wake();
        }
        return pauses_ ? until_ : time_point{};
    }

    Places* places_ = nullptr;
    operation_base op_;  ///< whoever holds the place meanwhile; cancelled when the pool is closed
    slot* opening_ = nullptr;
    signal ended_ = signal::work;  ///< how the attempt ended; `work`: it has not
    error error_;
    bool pauses_ = false;  ///< it is the one that waits for the end of the pause
    time_point until_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How a pool is steered while it is in use: made larger or smaller, emptied, suspended, closed; and what it tells of itself.
#ifndef STRATA_SOURCE_POOL_CONTROL_HPP
#define STRATA_SOURCE_POOL_CONTROL_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Everything here is thread-safe. In a forked child it does nothing.
template <class Driver, class Lock>
class pool_control : public pool_places<Driver, Lock> {
    using places = pool_places<Driver, Lock>;

protected:
    using places::closed_;
    using places::governor_;
    using places::lanes_;
    using places::lock_;
    using places::options_;
    using places::process_;
    using places::split_;
    using places::suspended_;
    using typename places::lane;
    using typename places::opener;
    using typename places::slot;

public:
    using places::places;

    [[nodiscard]] pool_snapshot snapshot() noexcept {
        pool_snapshot s;
        if (process_.is_forked_child()) return s;
        hold guard(lock_);
        for (const lane& l : lanes_) {
            s.open += l.taken;
            s.opening += l.opening;
            s.idle += l.count;
            s.waiting += l.queue.size();
        }
        s.suspended = suspended_;
        s.closed = closed_;
        s.reachable = !governor_.is_down();
        s.waits = places::waits_;
        s.waited = places::waited_;
        s.timeouts = places::timeouts_;
        s.opened = places::opened_;
        s.lost = places::lost_;
        s.retired = places::retired_;
        s.leaks = places::leaks_;
        s.left_open = places::left_open_;
        return s;
    }

    /// Where the holder of a lease asked for it, for the report of a leak.
    void lent_to(typename places::lease& l, const std::source_location& where) noexcept {
        if (l == nullptr || options_.leak_threshold == duration::zero() || process_.is_forked_child()) return;
        hold guard(lock_);
        l->lease = l->returns;
        l->lent_since = {};
        l->where = where;
    }

    /// From now on at most so many connections: from 1 (with a writer and readers: 2) to `pool_options.max_size`; the nearest is taken.
    /// Beyond that idle ones are closed, and those lent out when they come back.
    STRATA_COLD void resize(std::size_t size) noexcept {
        if (process_.is_forked_child()) return;
        const std::size_t least = split_ ? 2 : 1;
        size = size < least ? least : size > options_.max_size ? options_.max_size : size;
        lane& l = lanes_[split_ ? 1 : 0];
        {
            hold guard(lock_);
            l.limit = split_ ? size - 1 : size;
            if (l.taken > l.limit) places::mark_all(slot_mark::check);
        }
        close_while([&l] { return l.taken > l.limit ? l.take_any() : nullptr; });
        for (;;) {
            wake_call wake;
            opener* next = nullptr;
            {
                hold guard(lock_);
                next = places::wanted_opener();
                if (next == nullptr && !grant_empty(l, wake)) return;
            }
            wake();
            if (!places::rouse(next)) return;
        }
    }

    /// Closes idle connections down to `min_size`, the coldest last; whoever comes later finds new ones opened.
    STRATA_COLD void shrink() noexcept {
        if (process_.is_forked_child()) return;
        close_while([this]() -> slot* {
            if (places::open_or_opening() <= places::ready_) return nullptr;
            if (slot* s = lanes_[1].take_any(); s != nullptr) return s;
            return split_ && places::ready_ != 0 ? nullptr : lanes_[0].take_any();
        });
    }

    /// Lets go of every connection that there is now: idle ones at once, those lent out or being opened when they come back. What is
    /// opened from here on is new: after a failover, or with new credentials. A database in memory goes with its last connection.
    /// Nothing happens to a handle of the user's (`options.handle`).
    STRATA_COLD void retire_all() noexcept {
        if (process_.is_forked_child()) return;
        if (places::has_handle(*places::target())) return;
        slot* all = nullptr;
        {
            hold guard(lock_);
            all = places::take_all();
        }
        places::close_all(all);
    }

    /// New connections are opened with these options from now on, those that there are retire as with `retire_all`: for new credentials, or
    /// another server. What is on its way is not disturbed. An error, and nothing has changed, for options that make no sense, and where
    /// the old or the new ones hold a handle of the user's.
    [[nodiscard]] STRATA_COLD error rotate(const typename Driver::options& target) {
        if (process_.is_forked_child()) return {errc::misuse, "this process was forked after the database was opened", phase::admission};
        if (error e = target.validate()) return e;
        if (places::has_handle(target) || places::has_handle(*places::target()))
            return {errc::invalid_argument, "a pool on a connection of the user's (handle) cannot be turned to another one",
                    phase::admission};
        auto next = std::make_shared<const typename Driver::options>(target);
        {
            hold guard(lock_);
            places::target_.swap(next);
        }
        retire_all();
        return {};
    }

    /// From now on nobody is given a connection, until `resume()`: whoever comes waits, as long as the pool's `max_wait` and his deadline
    /// allow. Leases that are out are not disturbed. `drain` of the database suspends, and waits until all have come back.
    STRATA_COLD void suspend() noexcept {
        if (process_.is_forked_child()) return;
        hold guard(lock_);
        if (closed_ || std::exchange(suspended_, true)) return;
        places::mark_all(slot_mark::held);
        for (lane& l : lanes_) places::append(l.kept, std::exchange(l.idle, nullptr));
    }
    /// Serves those who have waited, in their order.
    STRATA_COLD void resume() noexcept {
        if (process_.is_forked_child()) return;
        for (bool serves = true; serves;) {  // newcomers stand behind until all are served
            wake_call wake;
            {
                hold guard(lock_);
                if (!suspended_) return;
                serves = serve_one(lanes_[0], wake) || serve_one(lanes_[1], wake);
                if (!serves) end_suspension();
            }
            wake();
        }
        for (bool granted = true; granted;) {
            wake_call wake;
            opener* next = nullptr;
            {
                hold guard(lock_);
                next = places::wanted_opener();
                granted = next != nullptr || grant_empty(lanes_[0], wake) || grant_empty(lanes_[1], wake);
            }
            wake();
            if (!places::rouse(next)) return;
        }
    }

    /// Suspends, and waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        suspend();
        while (!wait_for_rest(world, until))
            if (world.moment().now >= until) return false;
        return true;
    }

    /// Refuses newcomers and waiters, then waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        if (process_.is_forked_child()) return true;
        refuse_all();
        for (;;) {
            close_idle();
            if (wait_for_rest(world, until)) return true;
            if (world.moment().now >= until) return false;
        }
    }

    /// Asks everything that runs on a lease to end as soon as it can.
    void cancel_all() noexcept {
        if (process_.is_forked_child()) return;
        hold guard(lock_);
        places::cancelling_ = true;
        for (std::size_t i = 0; i < options_.max_size; ++i)
            if (places::slots_[i].current != nullptr) cancel(places::slots_[i]);
    }

    // For its planner.
    [[nodiscard]] pool_planner* planner() const noexcept { return options_.planner.get(); }
    /// What there is now; the rest into `u`.
    [[nodiscard]] STRATA_COLD pool_look watch(pool_usage& u) noexcept {
        hold guard(lock_);
        std::size_t lent = 0, waiting = 0;
        std::uint32_t returns = 0;
        for (const lane& l : lanes_) {
            lent += l.lent();
            waiting += l.queue.size();
            u.limit = (&l == lanes_ ? 0 : u.limit) + l.limit;
        }
        duration locked{};
        for (std::size_t i = 0; i < options_.max_size; ++i) {
            returns += places::slots_[i].returns;
            if constexpr (requires { places::slots_[i].connection.waited_for_locks(); })
                locked += places::slots_[i].connection.waited_for_locks();
        }
        u.peak = lent > u.peak ? lent : u.peak;
        u.waiting = waiting > u.waiting ? waiting : u.waiting;
        u.ended += static_cast<std::uint32_t>(returns - std::exchange(watched_returns_, returns));  // the counters go round
        u.faults += places::faults_ - std::exchange(watched_faults_, places::faults_);
        return {lent, waiting > 0 && lent >= u.limit, locked - std::exchange(watched_locked_, locked)};
    }
    /// The server's numbers of the open sessions into `out`, which has room for `capacity()`; how many.
    [[nodiscard]] STRATA_COLD std::size_t sessions(std::int32_t* out) noexcept {
        hold guard(lock_);
        std::size_t n = 0;
        for (std::size_t i = 0; i < options_.max_size; ++i)
            if (places::slots_[i].open) out[n++] = places::slots_[i].session;
        return n;
    }
    STRATA_COLD void follow(const pool_plan& p) noexcept {
        {
            hold guard(lock_);
            places::ready_ = p.ready > options_.min_size ? p.ready : options_.min_size;
        }
        if (p.size != 0 && p.size != size()) return resize(p.size);
        opener* next = nullptr;
        {
            hold guard(lock_);
            next = places::wanted_opener();
        }
        static_cast<void>(places::rouse(next));
    }

private:
    /// From here on nobody is served. Without the lock.
    void refuse_all() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!std::exchange(closed_, true)) {
                    places::mark_all(slot_mark::retired);
                    for (lane& l : lanes_)  // nobody finds an idle one any more
                        for (slot** list : {&l.idle, &l.cold}) places::append(l.kept, std::exchange(*list, nullptr));
                    suspended_ = false;
                    while (slot* s = places::unfit_) {
                        places::unfit_ = s->next;
                        lane& l = lanes_[s->lane];
                        --l.opening;
                        --l.fitting;
                        ++l.count;
                        places::put(l.kept, s);
                    }
                    for (std::size_t i = 0; places::has_openers() && i < options_.max_size; ++i)
                        if (is_opening(places::slots_[i])) cancel(places::slots_[i]);
                    if (places::upkeep_op_ != nullptr) places::upkeep_op_->cancelled.store(true, std::memory_order_relaxed);
                }
                if (!lanes_[0].queue.grant_first(nullptr, wake) && !lanes_[1].queue.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }
    /// By an opener: opened, or made fit.
    [[nodiscard]] static bool is_opening(const slot& s) noexcept {
        return s.current != nullptr && (!s.open || s.need != slot_need::nothing);
    }
    static void cancel(slot& s) noexcept {
        s.current->cancelled.store(true, std::memory_order_relaxed);
        if constexpr (requires { s.connection.interrupt(); }) s.connection.interrupt();  // it may be waiting where nobody looks at the flag
    }

    /// True when the pool is at rest; waits for it once, at most until `until`. Without the lock.
    template <class World>
    [[nodiscard]] bool wait_for_rest(World& world, time_point until) noexcept {
        waiter node;
        {
            hold guard(lock_);
            if (places::is_at_rest()) return true;
            if (world.moment().now >= until) return false;
            node.prepare(nullptr);
            places::closers_.push(node);
        }
        world.park(&node, until);
        hold guard(lock_);
        if (node.withdraw()) places::closers_.remove(node);
        return places::is_at_rest();
    }

    /// One after the other, without the lock: closing a connection may take its time.
    void close_idle() noexcept {
        for (;;) {
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = lanes_[0].take_any();
                if (s == nullptr) s = lanes_[1].take_any();
                if (s == nullptr) return;
            }
            places::release_unconnected(s);
        }
    }

    [[nodiscard]] std::size_t size() noexcept {
        hold guard(lock_);
        return lanes_[0].limit + lanes_[1].limit;
    }
    /// Closes what `next`, asked under the lock, hands out.
    template <class Next>
    void close_while(Next next) noexcept {
        for (;;) {
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = next();
                if (s == nullptr) return;
                ++places::retired_;
            }
            places::release_unconnected(s);
        }
    }
    /// Under the lock: one that was kept back for the oldest waiter.
    [[nodiscard]] bool serve_one(lane& l, wake_call& wake) noexcept {
        if (closed_ || l.kept == nullptr || l.queue.empty()) return false;
        slot* s = l.kept;
        if (!l.queue.grant_first(s, wake)) return false;
        l.kept = s->next;
        --l.count;
        return true;
    }
    /// Under the lock.
    void end_suspension() noexcept {
        suspended_ = false;
        for (lane& l : lanes_) places::append(l.idle, std::exchange(l.kept, nullptr));
        for (std::size_t i = 0; i < options_.max_size; ++i) places::slots_[i].marks &= static_cast<std::uint8_t>(~slot_mark::held);
    }
    /// Under the lock, where callers open what they need: a free place for the oldest waiter.
    [[nodiscard]] bool grant_empty(lane& l, wake_call& wake) noexcept {
        if (places::has_openers() || closed_ || suspended_ || l.queue.empty()) return false;
        slot* s = places::take_empty(l);
        if (s == nullptr) return false;
        if (l.queue.grant_first(s, wake)) return true;
        places::free_place(s);
        return false;
    }

    std::uint32_t watched_returns_ = 0;
    std::uint64_t watched_faults_ = 0;
    duration watched_locked_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Why a pool has no connection for a caller: all are in use (and by whom), one is being opened still, or the database cannot be reached.
#ifndef STRATA_SOURCE_POOL_ERRORS_HPP
#define STRATA_SOURCE_POOL_ERRORS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// How things stood in a lane of the pool when a caller was refused. The views are valid only as long as the pool's lock is held.
struct pool_holders {
    const char* which = "";  ///< `"writing "`, `"reading "`, or nothing
    std::size_t lent = 0;
    std::size_t opening = 0;
    std::size_t limit = 0;
    std::size_t waiting = 0;
    bool suspended = false;
    std::string_view names[3]{};  ///< of those who hold them, the first few
    std::size_t named = 0;

    void add(const operation_base& op) noexcept {
        constexpr std::size_t most = 60;
        std::string_view name = !op.name.empty()        ? op.name
                                : !op.statement.empty() ? op.statement
                                                        : "a session or transaction without a name";
        if (name.size() > most) {
            std::size_t end = most;
            while (end != 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // within a character
            name = name.substr(0, end);
        }
        if (named < 3) names[named] = name;
        ++named;
    }
};

/// `connect`: what the latest attempt to open one more ended with, if it failed.
[[nodiscard]] STRATA_COLD inline error pool_exhausted_error(const pool_holders& h, bool queue_is_full, const error& connect) {
    std::string text = joined({queue_is_full ? "the queue for a connection is full: " : "no connection became free in time: "});
    if (h.suspended) text += "the pool is suspended, ";
    text += joined({digits_of(h.lent), " of ", digits_of(h.limit), " ", h.which, "connections are in use, "});
    if (h.opening != 0) text += joined({digits_of(h.opening), " more ", h.opening == 1 ? "is" : "are", " being opened, "});
    text += joined({digits_of(h.waiting), " callers wait"});
    error e{errc::pool_exhausted, std::move(text), phase::acquire};
    error_texts& t = e.edit_texts();
    for (std::size_t i = 0; i < h.named && i < 3; ++i) t.detail.append(i == 0 ? "held by: " : " | ").append(h.names[i]);
    if (h.named > 3) t.detail.append(" | and ").append(digits_of(h.named - 3)).append(" more");
    if (connect) t.detail.append(t.detail.empty() ? "" : "; ").append("another one could not be opened: ").append(connect.message());
    t.hint = h.suspended     ? "somebody called suspend() or drain(): resume() goes on"
             : queue_is_full ? "raise pool_options.max_size or max_waiting, or send less at a time"
             : h.opening != 0
                 ? "connecting takes long: open more beforehand (min_size), or give it more time (max_wait)"
                 : "raise max_size or max_wait, or hold connections for less time; inside a transaction or session use its own "
                   "handle, for a further call on the database waits for the connection that its caller holds";
    return e.set_local();
}

/// `why`: what the latest attempt to connect ended with. `next`: until the next one. Who has waited in vain has made an attempt; to be
/// refused at once tells an outer layer nothing that it does not know.
[[nodiscard]] STRATA_COLD inline error pool_unreachable_error(const error& why, duration next, bool waited) {
    error e{errc::pool_unreachable, joined({"the database could not be reached: ", why.message()}), phase::acquire};
    error_texts& t = e.edit_texts();
    t.native_code = why.texts().native_code;
    t.detail = why.texts().detail;
    t.hint = !why.texts().hint.empty() ? why.texts().hint : "it is tried again by itself, see pool_options.first_pause and wait_while_down";
    return e.set_local(!waited).set_retry_after(next);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a pool does by itself, besides its callers: it closes connections that are too old, that nobody used for long, or that the server
// has given up; and it sees to it that those missing to `min_size` are opened, so that callers find them.
//
// A round looks at each idle connection once; who is leased and too old is closed when it comes back. Ages are drawn from a range, so
// that connections which were opened together do not end together. Where there is room, what replaces a connection is opened before
// that is closed (not with two lanes: a database with one writer is a file, and opened at once).
#ifndef STRATA_SOURCE_POOL_UPKEEP_HPP
#define STRATA_SOURCE_POOL_UPKEEP_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Places>
class pool_upkeep final : public background {
    using slot = typename Places::slot;

public:
    explicit pool_upkeep(Places& places) noexcept : places_(places) {
        op_.name = "the pool itself";
        places_.upkeep_op_ = &op_;
    }

    STRATA_COLD time_point run(moment m) noexcept override {
        look_at_all(m);
        report_leaks(m);
        typename Places::opener* opener = nullptr;
        {
            hold guard(places_.lock_);
            if (places_.closed_ || op_.is_cancelled()) return never;
            places_.replacement_awaited_ = places_.replacing_ ? this : nullptr;
            opener = places_.wanted_opener();
        }
        static_cast<void>(places_.rouse(opener));
        return add_saturated(m.now, places_.options_.upkeep_period());
    }

    void cancel() noexcept override { op_.cancelled.store(true, std::memory_order_relaxed); }

private:
    void look_at_all(moment m) noexcept {
        now_ = m.now;
        {
            hold guard(places_.lock_);
            places_.replacing_ = false;
        }
        while (slot* s = take_unseen()) {
            if (std::exchange(s->seen_returns, s->returns) != s->returns || s->idle_since == time_point{}) s->idle_since = m.now;
            give_age(*s, m);
            const bool lost = !is_alive(s->connection);
            if (lost || is_over(*s, m.now))
                close(s, lost);
            else
                put_back(s);
        }
        hold guard(places_.lock_);
        for (std::size_t i = 0; i < places_.options_.max_size; ++i) {
            slot& s = places_.slots_[i];
            s.seen = false;
            if (s.current == nullptr || !s.open) continue;
            give_age(s, m);
            if (m.now >= s.ends && (s.marks & slot_mark::retired) == 0 && !is_needed_for_now()) s.marks |= slot_mark::retired;
        }
    }

    void report_leaks(moment m) noexcept {
        const duration threshold = places_.options_.leak_threshold;
        for (std::size_t i = 0; threshold > duration::zero() && i < places_.options_.max_size; ++i) {
            try {
                std::string name;
                pool_leak leak;
                {
                    hold guard(places_.lock_);
                    slot& s = places_.slots_[i];
                    if (!s.open || s.current == nullptr || s.need != slot_need::nothing) continue;
                    s.note_lease(m.now);
                    leak.held = m.now - s.lent_since;
                    if (leak.held < threshold || std::exchange(s.reported, true)) continue;
                    ++places_.leaks_;
                    name = !s.current->name.empty() ? s.current->name : s.current->statement;
                    leak.where = s.where;
                }
                leak.name = name;
                if (places_.options_.on_leak) places_.options_.on_leak(leak);
            } catch (...) {  // the user's, or no memory
            }
        }
    }

    /// The warmest idle connection that this round has not looked at, as a lease; null: there is none left. It goes to the cold end
    /// after, so at the end of the round the order is the same.
    [[nodiscard]] slot* take_unseen() noexcept {
        hold guard(places_.lock_);
        if (places_.closed_) return nullptr;
        for (auto& l : places_.lanes_) {
            slot** found = nullptr;
            for (slot** list : {&l.idle, &l.cold})
                for (slot** link = list; found == nullptr && *link != nullptr; link = &(*link)->next)
                    if (!(*link)->seen) found = link;
            if (found == nullptr) continue;
            slot* s = *found;
            *found = s->next;
            --l.count;
            s->seen = true;
            s->current = &op_;
            return s;
        }
        return nullptr;
    }

    void give_age(slot& s, moment m) noexcept {
        const duration limit = places_.options_.max_lifetime;
        if (limit == duration::zero() || s.ends != never) return;
        const double left_out = static_cast<double>(limit.count()) * places_.options_.lifetime_jitter * m.random_unit();
        s.ends = add_saturated(m.now, limit - duration{static_cast<duration::rep>(left_out)});
    }
    [[nodiscard]] bool is_over(const slot& s, time_point now) noexcept {
        hold guard(places_.lock_);
        if ((s.marks & slot_mark::retired) != 0) return true;
        if (now >= s.ends) return !is_needed_for_now();
        const duration idle = places_.options_.max_idle;
        if (places_.split_ && s.lane == 0 && places_.options_.min_size > 0) return false;  // the writer is the first that is needed
        return idle > duration::zero() && now - s.idle_since >= idle && places_.open_or_opening() > places_.ready_;
    }
    /// Under the lock: true where its replacement can be opened first; it is asked for.
    [[nodiscard]] bool is_needed_for_now() noexcept {
        if (places_.open_or_opening() > places_.ready_) return false;
        if (places_.open_or_opening() >= places_.lanes_[0].limit || places_.split_) return false;
        places_.replacing_ = true;
        return true;
    }

    void close(slot* s, bool lost) noexcept {
        {
            hold guard(places_.lock_);
            ++(lost ? places_.lost_ : places_.retired_);
        }
        places_.release_unconnected(s);
    }
    /// To the oldest waiter, else to the cold end; one that is cold has to be checked first.
    void put_back(slot* s) noexcept {
        wake_call wake;
        typename Places::opener* opener = nullptr;
        bool at_rest = false;
        {
            hold guard(places_.lock_);
            s->current = nullptr;
            auto& l = places_.lanes_[s->lane];
            if (places_.closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit) {
                if (!places_.closed_) ++places_.retired_;
                guard.unlock();
                return places_.release_unconnected(s);
            }
            const duration window = places_.options_.validate_after;
            const bool cold = window > duration::zero() && now_ - s->idle_since >= window;
            if (places_.suspended_ || cold || !l.queue.grant_first(s, wake)) {
                s->next = nullptr;
                Places::append(cold ? l.cold : places_.suspended_ ? l.kept : l.idle, s);
                ++l.count;
                if (cold) opener = places_.wanted_opener();
                at_rest = places_.suspended_ && places_.is_at_rest();
            }
        }
        wake();
        static_cast<void>(places_.rouse(opener));
        if (at_rest) places_.wake_closers();
    }

    Places& places_;
    operation_base op_;  ///< whoever leases for upkeep; cancelled when the pool is closed
    time_point now_{};   ///< of this round
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A pool of connections: the source of most stacks.
//
// Idle connections are taken last in, first out (the warmest first). Waiters are served strictly first in,
// first out by direct hand-off: a returned connection is given to the oldest waiter under the lock and the
// waiter is woken after it, so nobody can overtake. A blocking thread and an asynchronous operation stand in
// the same queue. A database with a single writer (SQLite) gets two lanes: one connection that writes, the
// others only read; statements go by their kind.
#ifndef STRATA_SOURCE_POOL_HPP
#define STRATA_SOURCE_POOL_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver, class Lock>
class pool_source : public pool_control<Driver, Lock> {
    using control = pool_control<Driver, Lock>;
    using places = pool_places<Driver, Lock>;
    using typename places::lane;
    using typename places::opener;

public:
    using places::connect;
    using places::release_unconnected;
    using typename places::connection;
    using typename places::lease;
    using typename places::slot;

    pool_source(const pool_options& options, const typename Driver::options& target)
        : control(options, target), upkeep_(*this), planning_(*this) {
        if (options.reserved != 0) reserve_ = std::make_unique<pool_source>(options.for_reserve(), target);
    }

    /// Opens the first `min_size` connections, the writer first, in this thread. An error names the target.
    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = options_.max_size > 1 ? Driver::check_shared(*places::target()) : error{}) return e;
        if (std::is_same_v<Lock, no_lock> && (options_.has_upkeep() || options_.planner != nullptr))
            return {errc::invalid_argument,
                    "pool<no_lock> is for one thread: without upkeep (max_lifetime, max_idle ...) and without a planner", phase::admission};
        if (error e = options_.has_upkeep() ? Driver::check_reopened(*places::target()) : error{}) return e;
        for (std::size_t i = 0; i < options_.min_size; ++i) {
            operation_base op;
            op.reads_only = split_ && i > 0;
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = take_empty(places::lane_for(op));
            }
            error e;
            if (connect_here(s, op, e, world) != signal::done) {
                release_unconnected(s);
                return e;
            }
            hold guard(lock_);
            lanes_[s->lane].put_idle(s);
            s->current = nullptr;
        }
        return {};
    }

    /// Gives the pool's tasks to the world, which runs them until `unspawn`: `begin(task)`.
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        if constexpr (!std::is_same_v<Lock, no_lock>) {
            openers_ = heap_array<opener>(options_.max_connecting);
            for (std::size_t i = 0; i < options_.max_connecting; ++i) {
                openers_[i].belong_to(*this);
                begin(openers_[i]);
            }
            if (options_.has_upkeep()) begin(upkeep_);
            if (options_.planner != nullptr) begin(planning_);
            if (reserve_ != nullptr) reserve_->spawn_tasks(begin);
            hold guard(lock_);
            places::openers_begun_ = true;
        }
    }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if (process_.is_forked_child()) [[unlikely]]
            return acquired::refused;
        hold guard(lock_);
        slot* s = places::lane_for(op).take_idle();
        if (s == nullptr) [[unlikely]] {
            guard.unlock();
            return acquire_slowly(op, node, out);
        }
        s->current = &op;
        out = s;
        return acquired::ready;
    }

    /// Whether `acquire_idle` would find one now.
    [[nodiscard]] STRATA_COLD bool has_idle(bool reads_only) noexcept {
        hold guard(lock_);
        const lane& l = lanes_[split_ && reads_only ? 1 : 0];
        return l.idle != nullptr && l.queue.empty() && !closed_;
    }
    /// An idle connection, if there is one and nobody waits: never waits, opens nothing. For the second try of a hedged read.
    [[nodiscard]] STRATA_COLD bool acquire_idle(operation_base& op, lease& out) noexcept {
        if (process_.is_forked_child()) return false;
        hold guard(lock_);
        lane& l = places::lane_for(op);
        slot* s = !l.queue.empty() || closed_ ? nullptr : l.take_idle();
        if (s == nullptr) return false;
        s->current = &op;
        out = s;
        return true;
    }

    /// After a park on the node: what came of it.
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base& op, waiter& node, lease& out, duration waited) noexcept {
        hold guard(lock_);
        waited_ += waited;
        if (node.withdraw()) {
            places::lane_for(op).queue.remove(node);
            ++timeouts_;
            return acquired::refused;
        }
        op.connect_failed = node.gift == failed_connect();
        if (node.gift == nullptr || op.connect_failed) return acquired::refused;  // null: the pool was closed
        out = static_cast<slot*>(node.gift);
        out->current = &op;
        if (cancelling_) op.cancelled.store(true, std::memory_order_relaxed);  // it got its gift before, and nobody could tell it
        return out->open ? acquired::ready : acquired::connect;
    }

    /// Returns a lease. A connection that is broken, or that cannot be brought out of its transaction, is closed.
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health h) noexcept {
        slot* s = std::exchange(l, nullptr);
        if constexpr (!surely_reads<Op>) {
            if (is_usable(h) && (s->connection.in_transaction() || changes_session<Op>(s->connection))) [[unlikely]]
                return release_unfit(s, h);
        }
        if constexpr (requires { s->connection.said(); }) {  // it may know what the operation's outcome does not tell
            if (const health said = s->connection.said(); said > h) [[unlikely]]
                h = said;
        }
        lock_.lock();
        lane& where = lanes_[s->lane];
        if (h == health::good && s->marks == 0 && where.queue.empty()) [[likely]] {
            ++s->returns;
            s->current = nullptr;
            where.put_idle(s);
            lock_.unlock();
        } else {
            lock_.unlock();
            release_slowly(s, h);
        }
    }

    /// As `release`, for a connection that has just shown itself to be slow: it is taken after all others that are idle.
    template <class Op>
    STRATA_COLD void release_behind(lease& l, Op&, health h) noexcept {
        slot* s = std::exchange(l, nullptr);
        if (is_usable(h) && s->connection.in_transaction()) return release_unfit(s, h);
        if constexpr (requires { s->connection.said(); }) {  // it may know what the operation's outcome does not tell
            if (const health said = s->connection.said(); said > h) [[unlikely]]
                h = said;
        }
        release_slowly(s, h, true);
    }

    /// Why the last acquisition of `op` did not succeed; `waited`: after a wait, and not at once.
    [[nodiscard]] STRATA_COLD error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if (process_.is_forked_child())
            return error{errc::misuse, "this process was forked after the database was opened: open a database of its own in the child",
                         phase::acquire};
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        const lane& l = places::lane_for(op);
        const bool down = places::governor_.is_down() && (op.connect_failed || l.taken == l.opening);
        const duration next = down ? places::governor_.next_try() - now : duration::zero();
        try {
            if (op.connect_failed && places::connect_error_) return places::connect_error_;
            if (down) return pool_unreachable_error(places::connect_error_, next, waited);
            return pool_exhausted_error(holders(l, op.reads_only), is_full(l), places::connect_error_);
        } catch (...) {  // no memory for the texts
            error e{down ? errc::pool_unreachable : errc::pool_exhausted, phase::acquire};
            return std::move(e.set_local(!down || !waited).set_retry_after(next));
        }
    }

    /// The connections for independent work; null: there are none. What steers the pool steers these too, but for their number.
    [[nodiscard]] pool_source* reserve() const noexcept { return reserve_.get(); }

    void retire_all() noexcept {
        control::retire_all();
        if (reserve_ != nullptr) reserve_->retire_all();
    }
    [[nodiscard]] error rotate(const typename Driver::options& target) {
        if (error e = control::rotate(target)) return e;
        return reserve_ != nullptr ? reserve_->rotate(target) : error{};
    }
    void suspend() noexcept {
        control::suspend();
        if (reserve_ != nullptr) reserve_->suspend();
    }
    void resume() noexcept {
        control::resume();
        if (reserve_ != nullptr) reserve_->resume();
    }
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        const bool drained = control::drain(world, until);
        return (reserve_ == nullptr || reserve_->drain(world, until)) && drained;
    }
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        const bool stopped = control::stop(world, until);
        return (reserve_ == nullptr || reserve_->stop(world, until)) && stopped;
    }
    void cancel_all() noexcept {
        control::cancel_all();
        if (reserve_ != nullptr) reserve_->cancel_all();
    }

private:
    using places::cancelling_;
    using places::closed_;
    using places::lanes_;
    using places::lock_;
    using places::options_;
    using places::process_;
    using places::release_slowly;
    using places::release_unfit;
    using places::split_;
    using places::take_empty;
    using places::timeouts_;
    using places::waited_;
    using places::waits_;

    /// Whether the session may not be as it was.
    template <class Op>
    [[nodiscard]] STRATA_INLINE bool changes_session([[maybe_unused]] connection& c) const noexcept {
        if constexpr (Op::facts.kind == operation_kind::pinned_session)
            return options_.on_return != session_reset::rollback_only;
        else if constexpr (Op::facts.kind == operation_kind::transaction && requires { c.has_changed_session(); })
            return options_.on_return != session_reset::rollback_only && c.has_changed_session();
        else
            return false;
    }

    [[nodiscard]] STRATA_COLD acquired acquire_slowly(operation_base& op, waiter& node, lease& out) noexcept {
        waker* other = op.waking();  // made outside the lock: it may allocate
        op.connect_failed = false;
        opener* next = nullptr;
        lane& l = places::lane_for(op);
        {
            hold guard(lock_);
            if (closed_) return acquired::refused;
            if (slot* s = l.take_idle(); s != nullptr) return leased(op, s, out);
            if (!places::has_openers() && l.queue.empty() && !places::suspended_)  // while the pool grows some may wait already
                if (slot* s = take_empty(l); s != nullptr) return leased(op, s, out);
            if (is_full(l) || places::is_refusing(l)) return acquired::refused;
            node.prepare(other);
            l.queue.push(node);
            ++waits_;
            next = places::wanted_opener();
        }
        if (places::rouse(next)) return acquired::wait;
        hold guard(lock_);  // no thread is to be had: then the caller opens it
        slot* s = closed_ || l.queue.front() != &node ? nullptr : take_empty(l);
        if (s == nullptr) return acquired::wait;
        if (node.withdraw()) {
            l.queue.remove(node);
            return leased(op, s, out);
        }
        places::free_place(s);
        return acquired::wait;
    }
    /// Those for whom there is room do not count.
    [[nodiscard]] bool is_full(const lane& l) const noexcept {
        const std::size_t room = l.taken < l.limit ? l.limit - l.taken : 0;
        return l.queue.size() >= add_bounded(options_.max_waiting, room + l.opening + l.count);
    }
    [[nodiscard]] static std::size_t add_bounded(std::size_t a, std::size_t b) noexcept { return a > ~b ? ~std::size_t{0} : a + b; }
    [[nodiscard]] static acquired leased(operation_base& op, slot* s, lease& out) noexcept {
        s->current = &op;
        out = s;
        return s->open ? acquired::ready : acquired::connect;
    }

    /// Under the lock.
    [[nodiscard]] pool_holders holders(const lane& l, bool reads) const {
        pool_holders h{.which = !split_ ? ""
                                : reads ? "reading "
                                        : "writing ",
                       .lent = l.lent(),
                       .opening = l.opening,
                       .limit = l.limit,
                       .waiting = l.queue.size(),
                       .suspended = places::suspended_};
        for (std::size_t i = 0; i < options_.max_size; ++i) {
            const slot& s = places::slots_[i];
            if (s.open && s.current != nullptr && &lanes_[s.lane] == &l) h.add(*s.current);
        }
        return h;
    }

    template <class World>
    [[nodiscard]] signal connect_here(lease& l, operation_base& op, error& e, World& world) {
        for (;;) {
            announce_resume(l->connection, op, world);
            const signal s = connect(l, op, e);
            if (s != signal::park) return s;
            world.park(node_of(l->connection), end_of_wait(l->connection));
        }
    }

    heap_array<opener> openers_;
    std::unique_ptr<pool_source> reserve_;
    pool_upkeep<places> upkeep_;
    pool_planning<control> planning_;
};

}  // namespace detail

/// The pool as a layer of a stack. `Lock` is `inline_lock`, or `no_lock` where only one thread uses the database.
template <class Lock = inline_lock>
struct pool {
    static constexpr auto place = strata::place::source;
    using options = pool_options;
    template <class Driver>
    using source = detail::pool_source<Driver, Lock>;
};

}  // namespace strata::inline STRATA_ABI

#endif

// One connection for all: the smallest source. It is a pool of one, so callers take turns in order.
#ifndef STRATA_SOURCE_SINGLE_HPP
#define STRATA_SOURCE_SINGLE_HPP

namespace strata::inline STRATA_ABI {

struct single_options {
    duration max_wait = std::chrono::seconds{30};  ///< how long a caller waits for its turn at most
    [[nodiscard]] error validate() const {
        if (max_wait < duration::zero()) return {errc::invalid_argument, "single_options.max_wait is negative", phase::admission};
        return {};
    }
    friend bool operator==(const single_options&, const single_options&) = default;
};

namespace detail {

template <class Driver>
class single_source : public pool_source<Driver, inline_lock> {
public:
    single_source(const single_options& options, const typename Driver::options& target)
        : pool_source<Driver, inline_lock>({.min_size = 1, .max_size = 1, .max_wait = options.max_wait}, target) {}
};

}  // namespace detail

struct single {
    static constexpr auto place = strata::place::source;
    using options = single_options;
    template <class Driver>
    using source = detail::single_source<Driver>;
};

}  // namespace strata::inline STRATA_ABI

#endif

// strata: stacks of policies over a database driver. What most programs need of it, without driver, Asio and JSON.
//
//   #include <strata/strata.hpp>
//   #include <strata/driver/sqlite.hpp>   // one include a driver
//   #include <strata/async.hpp>           // the asynchronous face, if wanted
//
// What only some programs use costs the others no compile time and has a header of its own: run-time statements
// (sql/statement.hpp), dynamic rows (value/row.hpp), times (value/chrono.hpp), value/uuid.hpp, value/decimal.hpp,
// value/json.hpp, value/interval.hpp, composites, ranges and other values of PostgreSQL (value/), testing/chaos.hpp, testing/scripted.hpp.
#ifndef STRATA_STRATA_HPP
#define STRATA_STRATA_HPP

#endif

#endif
