// Generated from include/strata/advisory_lock.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ADVISORY_LOCK_HPP
#define STRATA_SINGLE_ADVISORY_LOCK_HPP

#include <strata/strata.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// A literal whose text a type writes while the program is compiled: for statements made from `mapping<T>`.
//
// It is read by the same lexer as one written by hand, and has the same facts, checks and cost.
#ifndef STRATA_SQL_WRITTEN_LITERAL_HPP
#define STRATA_SQL_WRITTEN_LITERAL_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Writes the name of a table or column, quoted.
constexpr void put_quoted(text_writer& out, std::string_view name) noexcept {
    out.put('"');
    for (const char c : name) {
        if (c == '"') out.put(c);
        out.put(c);
    }
    out.put('"');
}

template <class Text>
[[nodiscard]] consteval auto written_text() {
    constexpr std::size_t size = [] {
        text_writer measure;
        Text::write(measure);
        return measure.size;
    }();
    char text[size + 1]{};
    text_writer out{text};
    Text::write(out);
    return fixed_string<size + 1>(text);
}

/// `Text::write(text_writer&)` puts the statement, twice: to measure it and to write it.
template <class Text>
inline constexpr auto written_literal = literals::operator""_sql < written_text<Text>()>();

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Locks on names that the database knows nothing of: one process at a time imports, migrates, sends the newsletter.
//
//   db.transaction([&](auto& tx) {
//       strata::advisory_lock(tx, "import");                        // until the transaction ends, however it ends
//       ...
//   });
//   auto lock = strata::hold_advisory_lock(db, "import");           // longer than a transaction: pins a connection until it is released
//
// Prefer the first: it cannot be forgotten, and works through a pooler that hands out connections by the transaction (pgbouncer), where
// the second does not. Who waits is bounded by the call's deadline (`errc::timeout`), and in a transaction by `tx.set_lock_timeout(...)`
// (`errc::lock_not_available`). A database without such locks does not compile.
#ifndef STRATA_ADVISORY_LOCK_HPP
#define STRATA_ADVISORY_LOCK_HPP

namespace strata::inline STRATA_ABI {

/// What is locked: a number, a pair of numbers, or a name. These never meet: pairs have a space of their own in the server, and so have
/// numbers, which names share by their hash. All programs on one database share these spaces.
///
/// A name becomes 64 bits of `hash_text`, equal in every process and version. Two names of the same hash (with a million names in use the
/// odds are 1 to 40 million) exclude each other though they need not: that costs time, never safety.
class advisory_key {
public:
    template <std::integral N>
    constexpr advisory_key(N number) noexcept : first_(static_cast<std::int64_t>(number)) {}  // NOLINT: a key is written as it is
    constexpr advisory_key(std::int32_t group, std::int32_t number) noexcept
        : first_(static_cast<std::int64_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(group)) << 32 |
                                           static_cast<std::uint32_t>(number))),
          pair_(true) {}
    constexpr advisory_key(std::string_view name) noexcept : first_(static_cast<std::int64_t>(hash_text(name).high)) {}  // NOLINT
    constexpr advisory_key(const char* name) noexcept : advisory_key(std::string_view{name}) {}                          // NOLINT
    advisory_key(const std::string& name) noexcept : advisory_key(std::string_view{name}) {}                             // NOLINT

    [[nodiscard]] constexpr bool is_pair() const noexcept { return pair_; }
    /// The number; of a pair both, the first in the upper half.
    [[nodiscard]] constexpr std::int64_t number() const noexcept { return first_; }
    [[nodiscard]] constexpr std::int32_t group() const noexcept {
        return static_cast<std::int32_t>(static_cast<std::uint64_t>(first_) >> 32);
    }
    [[nodiscard]] constexpr std::int32_t member() const noexcept { return static_cast<std::int32_t>(first_ & 0xffffffff); }

    /// As logs and `pg_locks` show it: `7`, `3:7`.
    [[nodiscard]] std::string to_string() const {
        return pair_ ? std::to_string(group()) + ':' + std::to_string(member()) : std::to_string(first_);
    }

    friend constexpr bool operator==(const advisory_key&, const advisory_key&) noexcept = default;

private:
    std::int64_t first_;
    bool pair_ = false;
};

struct advisory_options {
    bool shared = false;  ///< with others that share it; otherwise alone
    duration deadline{};  ///< of the wait, from the start of the call; zero: that of the transaction, or none
};

namespace detail {

template <class Session>
constexpr bool assert_advisory() {
    static_assert(requires { typename Session::driver; }, "strata: an advisory lock needs a session whose type is known, not any_session");
    if constexpr (requires { typename Session::driver; }) {
        static_assert(
            requires { requires Session::driver::advisory_locks; },
            "strata: this database has no advisory locks: SQLite lies in one file, whose only lock is that of a transaction that writes; "
            "use db.transaction(...), or a lock of the operating system");
        return requires { requires Session::driver::advisory_locks; };
    } else {
        return false;
    }
}

/// `pg_advisory_xact_lock` and its relatives, whichever the arguments ask for; the others are not called.
template <bool Waits, bool UntilTheEnd>
struct advisory_call {
    static constexpr void write(text_writer& out) {
        out.put("select case when :shared::bool then case when :pair::bool then ");
        call(out, true, "(:group::int4, :member::int4) else ");
        call(out, true, "(:number::int8) end else case when :pair::bool then ");
        call(out, false, "(:group::int4, :member::int4) else ");
        call(out, false, "(:number::int8) end end");
    }

private:
    static constexpr void call(text_writer& out, bool shared, std::string_view rest) {
        out.put(Waits ? "null is distinct from pg_advisory" : "pg_try_advisory");  // the one that waits has no value
        if (UntilTheEnd) out.put("_xact");
        out.put("_lock");
        if (shared) out.put("_shared");
        out.put(rest);
    }
};

template <bool Waits, bool UntilTheEnd>
[[nodiscard]] auto ask_advisory(const advisory_key& key, const advisory_options& o) {
    return written_literal<advisory_call<Waits, UntilTheEnd>>(bool{o.shared}, key.is_pair(), key.group(), key.member(), key.number());
}

[[nodiscard]] STRATA_COLD inline error advisory_failure(error e, const advisory_key& key) {
    std::string& detail = e.edit_texts().detail;
    if (!detail.empty()) detail += "; ";
    detail += "waiting for the advisory lock " + key.to_string();
    return e;
}

template <class Transaction>
constexpr void assert_in_transaction() {
    if constexpr (assert_advisory<Transaction>())
        static_assert(Transaction::where == scope::transaction,
                      "strata: this advisory lock ends with its transaction: write db.transaction([&](auto& tx) { "
                      "strata::advisory_lock(tx, key); ... }), or hold_advisory_lock(db, key) to have it for longer");
}

}  // namespace detail

/// Waits for the lock and has it until the transaction ends (a savepoint that is rolled back gives back what was locked in it).
/// The error's detail names the key. Locking again what this transaction has locked is harmless.
template <class Transaction>
[[nodiscard]] result<void> try_advisory_lock(Transaction& tx, const advisory_key& key, const advisory_options& o = {}) {
    detail::assert_in_transaction<Transaction>();
    auto r = tx.template try_one<bool>(detail::ask_advisory<true, true>(key, o), call_options{.deadline = o.deadline});
    if (!r) return detail::advisory_failure(std::move(r).error(), key);
    return {};
}
template <class Transaction>
void advisory_lock(Transaction& tx, const advisory_key& key, const advisory_options& o = {}) {
    try_advisory_lock(tx, key, o).value();
}
/// The same without waiting: false where somebody else has it.
template <class Transaction>
[[nodiscard]] bool advisory_lock_if_free(Transaction& tx, const advisory_key& key, const advisory_options& o = {}) {
    detail::assert_in_transaction<Transaction>();
    return tx.template one<bool>(detail::ask_advisory<false, true>(key, o), call_options{.deadline = o.deadline});
}
/// The same inside an asynchronous transaction: they complete as `async_one<bool>` does, the first always with true.
template <class Transaction, class... Token>
auto async_advisory_lock(Transaction& tx, const advisory_key& key, const advisory_options& o = {}, Token&&... token) {
    detail::assert_in_transaction<Transaction>();
    return tx.template async_one<bool>(detail::ask_advisory<true, true>(key, o), call_options{.deadline = o.deadline},
                                       std::forward<Token>(token)...);
}
template <class Transaction, class... Token>
auto async_advisory_lock_if_free(Transaction& tx, const advisory_key& key, const advisory_options& o = {}, Token&&... token) {
    detail::assert_in_transaction<Transaction>();
    return tx.template async_one<bool>(detail::ask_advisory<false, true>(key, o), call_options{.deadline = o.deadline},
                                       std::forward<Token>(token)...);
}

/// A lock of a session's, and the connection that it pins. Released when the object dies, and by the server when the connection breaks or
/// the process ends. Moves, does not copy; one thread at a time.
template <class Runtime>
class held_advisory_lock {
public:
    held_advisory_lock(held_advisory_lock&& other) noexcept
        : session_(std::exchange(other.session_, std::nullopt)), key_(other.key_), lost_(other.lost_) {}
    held_advisory_lock& operator=(held_advisory_lock&& other) noexcept {
        std::swap(session_, other.session_);
        std::swap(key_, other.key_);
        std::swap(lost_, other.lost_);
        return *this;
    }
    ~held_advisory_lock() { release(); }

    /// Gives lock and connection back; the object holds nothing after it, and calling it again does nothing. Not within a transaction of
    /// its session. From a server that says nothing it waits for an answer for up to `postgres_options::finish_limit`.
    void release() noexcept {
        if (session_) let_go(*session_);
        session_.reset();
    }
    /// Asks the server, in a round trip: false once the connection is lost, and with it the lock, or no answer came within `limit`; then it
    /// is given up, and its connection closed. (A server that says nothing any more is left after another
    /// `postgres_options::cancel_grace`.) Others may have had the lock since, so what must not be done by two at once needs more than this
    /// look: see leader.hpp on fencing.
    [[nodiscard]] bool check(duration limit = std::chrono::seconds{5}) {
        if (answers(limit)) return true;
        if (holds()) close(*session_);  // not released yet: the caller may be in the middle of a transaction on it
        lost_ = true;
        return false;
    }
    /// The same look, and nothing is given up yet: for callers who have to tell somebody first.
    [[nodiscard]] bool answers(duration limit = std::chrono::seconds{5}) {
        if (!holds()) return false;
        using namespace literals;
        const auto r = session_->template try_one<bool>("select true"_sql, {.deadline = limit});
        return r || r.error().code() == errc::transaction_aborted;  // an answer too
    }
    [[nodiscard]] bool holds() const noexcept { return session_.has_value() && !lost_; }
    [[nodiscard]] const advisory_key& key() const noexcept { return key_; }

    /// The pinned connection, for statements and transactions of the holder's. Throws `failure` (`errc::misuse`) once it is released.
    [[nodiscard]] basic_session<Runtime>& session() {
        if (!holds()) throw_failure(error{errc::misuse, "the advisory lock was released or lost", phase::admission});
        return *session_;
    }

    /// Made by the functions below.
    held_advisory_lock(basic_session<Runtime>&& s, const advisory_key& key) : session_(std::move(s)), key_(key) {}

    /// Takes every lock of a session off, whatever state it is in; where that fails, the connection is closed, and the server does it.
    STRATA_COLD static void let_go(basic_session<Runtime>& session) noexcept {
        try {
            auto& c = session.connection();
            if (c.in_transaction()) static_cast<void>(c.control(Runtime::driver::rollback()));
            if (c.control("select pg_advisory_unlock_all()")) c.close();
            static_cast<void>(session.try_close());
        } catch (...) {  // no memory: the session's destructor gives it back, the pool rolls it back
            close(session);
        }
    }

private:
    static void close(basic_session<Runtime>& session) noexcept {
        try {
            session.connection().close();
        } catch (...) {  // was given back already
        }
    }

    std::optional<basic_session<Runtime>> session_;
    advisory_key key_;
    bool lost_ = false;  // as a check has found
};

/// Takes a connection of the database's, waits for the lock on it and keeps both: for what outlasts a transaction. The pool has one
/// connection less meanwhile. The deadline is that of the wait for the lock.
template <class Database>
[[nodiscard]] auto try_hold_advisory_lock(Database& db, const advisory_key& key, const advisory_options& o = {})
    -> result<held_advisory_lock<typename Database::runtime_type>> {
    using held = held_advisory_lock<typename Database::runtime_type>;
    static_assert(detail::assert_advisory<Database>());
    auto session = db.try_session();
    if (!session) return std::move(session).error();
    auto locked = session->template try_one<bool>(detail::ask_advisory<true, false>(key, o), {.deadline = o.deadline});
    if (locked) return held{std::move(*session), key};
    held::let_go(*session);  // it may have come at the last moment
    return detail::advisory_failure(std::move(locked).error(), key);
}
template <class Database>
[[nodiscard]] auto hold_advisory_lock(Database& db, const advisory_key& key, const advisory_options& o = {}) {
    return try_hold_advisory_lock(db, key, o).value();
}
/// The same without waiting: nothing where somebody else has it.
template <class Database>
[[nodiscard]] auto try_hold_advisory_lock_if_free(Database& db, const advisory_key& key, const advisory_options& o = {})
    -> result<std::optional<held_advisory_lock<typename Database::runtime_type>>> {
    using held = held_advisory_lock<typename Database::runtime_type>;
    static_assert(detail::assert_advisory<Database>());
    auto session = db.try_session();
    if (!session) return std::move(session).error();
    auto locked = session->template try_one<bool>(detail::ask_advisory<false, false>(key, o), {.deadline = o.deadline});
    if (locked && *locked) return std::optional<held>{held{std::move(*session), key}};
    if (locked) return std::optional<held>{};
    held::let_go(*session);
    return detail::advisory_failure(std::move(locked).error(), key);
}
template <class Database>
[[nodiscard]] auto hold_advisory_lock_if_free(Database& db, const advisory_key& key, const advisory_options& o = {}) {
    return try_hold_advisory_lock_if_free(db, key, o).value();
}

}  // namespace strata::inline STRATA_ABI

#endif

#endif
