// Generated from include/strata/driver/postgres.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_DRIVER_POSTGRES_HPP
#define STRATA_SINGLE_DRIVER_POSTGRES_HPP

#include <strata/strata.hpp>
#include <strata/value/array.hpp>
#include <strata/value/range.hpp>

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

// How a PostgreSQL connection is opened: what libpq takes, by URL or by field, checked before anything is sent.
#ifndef STRATA_DRIVER_POSTGRES_OPTIONS_HPP
#define STRATA_DRIVER_POSTGRES_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

/// A notice or warning of the server, or one of libpq's own (without an SQLSTATE). Texts live until the hook returns.
struct postgres_notice {
    std::string_view severity;  ///< `WARNING`, `NOTICE`, `INFO`, `LOG`, `DEBUG`; never translated
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail;
    std::string_view hint;
};

/// A setting that the server reports has changed. Texts live until the hook returns.
struct postgres_parameter {
    std::string_view name;
    std::string_view value;
};

/// Who connects. Empty fields leave what the options say.
struct postgres_credentials {
    std::string user = {};
    std::string password = {};
};

/// Options of the PostgreSQL driver. A value that makes no sense is refused by `validate()`, which the database calls.
struct postgres_options {
    /// Everything that libpq takes: a URL (`postgresql://user@host:5432/db?sslmode=require`) or `key=value` pairs; several hosts,
    /// `target_session_attrs`, TLS settings, service and password files. `${NAME}` is replaced from the environment.
    std::string connection = {};

    // A field that is set goes before the same setting in `connection`.
    std::string host = {};  ///< a name, an address, or the folder of a Unix socket; several separated by commas
    std::uint16_t port = 0;
    std::string user = {};
    std::string password = {};
    std::string database = {};
    std::string application_name = {};
    /// If set, asked before each connect: for a token that lives an hour, or a vault. By the thread that connects, several at once; it may
    /// block, and `connect_timeout` begins after it. What it throws is `errc::cannot_connect` with the exception's sentence.
    shared_function<postgres_credentials()> credentials = nullptr;

    /// Over all of it: name look-up, TLS, authentication, all hosts. A call's own deadline may come first.
    duration connect_timeout = std::chrono::seconds{10};
    /// Prepared statements kept a connection; the least recently used goes first.
    std::size_t statement_cache = 256;
    /// False behind a pooler that gives each transaction another server (pgbouncer in transaction mode): nothing is prepared on the
    /// server, and arguments go as text of no type, which it infers.
    bool prepare = true;
    /// How long a cancelled statement may take to end before the connection is given up.
    duration cancel_grace = std::chrono::seconds{5};
    /// How long COMMIT or ROLLBACK, which no deadline ends, may take before the connection is given up: a COMMIT's outcome is unknown then.
    duration finish_limit = std::chrono::seconds{60};

    /// True: the server is told as well how long a statement may take, by `statement_timeout`, for a client that dies cannot cancel. It is
    /// the time to the call's deadline, rounded up to a power of two of milliseconds and sent only when that changes, which takes a round
    /// trip. Not behind a pooler (`prepare = false`), where a session belongs to nobody, nor for statements that share a connection
    /// (`pipelined`): for those put a `statement_timeout` into `connection`.
    bool limit_on_server = false;

    /// If not empty, the only hosts that may be connected to: exact names, or `*.suffix`. Held against what libpq has parsed.
    std::vector<std::string> allowed_hosts = {};
    /// Settings that must not have these values, such as `{"sslmode", "disable"}`. Held against what libpq has parsed.
    std::vector<std::pair<std::string, std::string>> forbidden = {};

    /// Told of each notice, from the thread that works on the connection, several at once for several connections; must not block, nor use
    /// the connection. Null: notices are dropped.
    void (*on_notice)(void* context, const postgres_notice& notice) noexcept = nullptr;
    /// Told, at the end of a statement, which of the `watched_parameters` the server has reported with another value than before on this
    /// connection; under the same rules.
    void (*on_parameter)(void* context, const postgres_parameter& parameter) noexcept = nullptr;
    /// Of those that a server reports by itself: `TimeZone`, `in_hot_standby`, `default_transaction_read_only`, `search_path` (18) ...
    std::vector<std::string> watched_parameters = {};
    void* context = nullptr;  ///< handed to both

    /// A connection of the user's own, idle, used instead of connecting: for `single`, or a pool of one. It stays the user's, who ends it
    /// after the database. It is not made anew when it is lost: each call then fails with
    /// `errc::cannot_connect`, or `errc::pool_unreachable` until it is looked at again.
    PGconn* handle = nullptr;

    /// `errc::invalid_argument` or `errc::access_denied` naming the setting, or no error. Never shows a password.
    [[nodiscard]] error validate() const;
    friend bool operator==(const postgres_options&, const postgres_options&) = default;
};

namespace detail {

[[nodiscard]] STRATA_COLD inline error bad_postgres_option(std::string_view field, std::string_view why,
                                                           errc code = errc::invalid_argument) {
    return error{code, joined({"postgres_options.", field, ": ", why}), phase::connect};
}

/// Replaces each `${NAME}`. A `$` elsewhere is literal. Errors name the variable.
[[nodiscard]] STRATA_COLD inline error expand_environment(std::string_view text, std::string& out) {
    out.clear();
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = text.find("${", at);
        out.append(text.substr(at, begin - at));
        if (begin == text.npos) return {};
        const std::size_t end = text.find('}', begin);
        if (end == text.npos) return bad_postgres_option("connection", "holds a \"${\" without its \"}\"");
        const std::string name{text.substr(begin + 2, end - begin - 2)};
        const char* const value = std::getenv(name.c_str());
        if (value == nullptr)
            return bad_postgres_option("connection", joined({"the environment has no variable ", name, ", which ${", name, "} asks for"}));
        out.append(value);
        at = end + 1;
    }
    return {};
}

/// The settings for libpq, in two lists that end with null. Texts live in the object.
class postgres_target {
public:
    /// Parses and checks; the error names the setting. `connects`: the user's credentials are asked for.
    [[nodiscard]] STRATA_COLD error read(const postgres_options& o, bool connects = true) {
        std::string text;
        if (error e = expand_environment(o.connection, text)) return e;
        char* why = nullptr;
        const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed{::PQconninfoParse(text.c_str(), &why),
                                                                                    &::PQconninfoFree};
        if (parsed == nullptr) {
            // libpq's sentence quotes what it stumbled over, which may be the password: it is not shown.
            ::PQfreemem(why);
            return bad_postgres_option("connection", "is neither a postgresql:// URL nor a list of key=value pairs that libpq understands");
        }
        for (const PQconninfoOption* p = parsed.get(); p->keyword != nullptr; ++p)
            if (p->val != nullptr) set(p->keyword, p->val);
        set("host", o.host);
        set("user", o.user);
        set("password", o.password);
        if (error e = connects ? ask_credentials(o) : error{}) return e;
        set("dbname", o.database);
        set("application_name", o.application_name);
        if (o.port != 0) set("port", std::string{digits_of(static_cast<int>(o.port))});
        return check(o);
    }

    /// As this connection was made, whatever the environment and files say now, and to the server that it led to, were there several.
    /// False without memory.
    [[nodiscard]] STRATA_COLD bool read(PGconn* c) {
        const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> all{::PQconninfo(c), &::PQconninfoFree};
        settings_.clear();
        for (const PQconninfoOption* o = all.get(); o != nullptr && o->keyword != nullptr; ++o)
            if (o->val != nullptr && std::string_view{o->keyword} != "client_encoding") set(o->keyword, o->val);
        if (!value("hostaddr").empty()) set("hostaddr", ::PQhostaddr(c));
        set("host", ::PQhost(c));
        set("port", ::PQport(c));
        return all != nullptr;
    }

    [[nodiscard]] std::string_view value(std::string_view keyword) const noexcept {
        for (const auto& [k, v] : settings_)
            if (k == keyword) return v;
        return {};
    }

    /// What libpq has to ask the resolver about.
    enum class look_up : std::uint8_t { none, one, several };
    [[nodiscard]] look_up names() const noexcept {
        const std::string_view hosts = value("host");
        if (!value("hostaddr").empty()) return look_up::none;
        if (hosts.empty()) {  // whatever else says it is read by libpq alone
            bool elsewhere = !value("service").empty();
            for (const char* const name : {"PGHOST", "PGHOSTADDR", "PGSERVICE"}) elsewhere = elsewhere || std::getenv(name) != nullptr;
            return elsewhere ? look_up::several : look_up::none;
        }
        // Looked up again by a step in the middle: each of several, and the one where a standby is only preferred.
        const bool several = hosts.find(',') != hosts.npos || value("target_session_attrs") == "prefer-standby";
        for (std::string_view rest = hosts; !rest.empty();) {
            const std::size_t comma = rest.find(',');
            const std::string host{rest.substr(0, comma)};
            rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
            unsigned char address[sizeof(::in6_addr)];
            const bool is_folder = host.empty() || host.front() == '/' || host.front() == '@';
            if (!is_folder && ::inet_pton(AF_INET, host.c_str(), address) != 1 && ::inet_pton(AF_INET6, host.c_str(), address) != 1)
                return several ? look_up::several : look_up::one;
        }
        return look_up::none;
    }
    /// Begins to connect; null without memory.
    [[nodiscard]] PGconn* start() const {
        std::vector<const char*> keywords, values;
        for (const auto& [k, v] : settings_) {
            keywords.push_back(k.c_str());
            values.push_back(v.c_str());
        }
        keywords.insert(keywords.end(), {"client_encoding", nullptr});
        values.insert(values.end(), {"UTF8", nullptr});
        return ::PQconnectStartParams(keywords.data(), values.data(), 0);
    }

private:
    [[nodiscard]] error ask_credentials(const postgres_options& o) {
        if (!o.credentials) return {};
        try {
            postgres_credentials c = o.credentials();
            set("user", std::move(c.user));
            set("password", std::move(c.password));
            return {};
        } catch (const std::exception& e) {
            return bad_postgres_option("credentials", e.what(), errc::cannot_connect);
        } catch (...) {
            return bad_postgres_option("credentials", "threw what is no std::exception", errc::cannot_connect);
        }
    }
    void set(std::string_view keyword, std::string value) {
        if (value.empty()) return;
        for (auto& [k, v] : settings_) {
            if (k == keyword) {
                v = std::move(value);
                return;
            }
        }
        settings_.emplace_back(std::string{keyword}, std::move(value));
    }

    [[nodiscard]] error check(const postgres_options& o) const {
        for (const auto& [k, v] : settings_)
            if (v.find('\0') != v.npos) return bad_postgres_option(k, "contains a NUL character");
        for (const auto& [keyword, bad] : o.forbidden) {
            if (value(keyword) == bad)
                return bad_postgres_option("forbidden", joined({keyword, "=", bad, " is not allowed here"}), errc::access_denied);
        }
        if (o.allowed_hosts.empty()) return {};
        bool any = false;
        for (const std::string_view keyword : {"host", "hostaddr"}) {
            for (std::string_view rest = value(keyword); !rest.empty();) {
                const std::size_t comma = rest.find(',');
                const std::string_view host = rest.substr(0, comma);
                rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
                any = true;
                if (!is_allowed(host, o.allowed_hosts))
                    return bad_postgres_option("allowed_hosts", joined({"does not hold the host \"", host, "\""}), errc::access_denied);
            }
        }
        if (!any) return bad_postgres_option("allowed_hosts", "is set, but the connection names no host", errc::access_denied);
        return {};
    }

    [[nodiscard]] static bool is_allowed(std::string_view host, const std::vector<std::string>& allowed) noexcept {
        for (const std::string_view a : allowed) {
            if (a == host) return true;
            if (a.size() > 2 && a.substr(0, 2) == "*." && host.size() > a.size() - 1 &&
                host.substr(host.size() - (a.size() - 1)) == a.substr(1))
                return true;
        }
        return false;
    }

    std::vector<std::pair<std::string, std::string>> settings_;
};

}  // namespace detail

STRATA_COLD inline error postgres_options::validate() const {
    using detail::bad_postgres_option;
    if (connect_timeout <= duration::zero()) return bad_postgres_option("connect_timeout", "must be positive");
    if (cancel_grace <= duration::zero()) return bad_postgres_option("cancel_grace", "must be positive");
    if (finish_limit <= duration::zero()) return bad_postgres_option("finish_limit", "must be positive");
    if (statement_cache == 0 || statement_cache > 65536)
        return bad_postgres_option("statement_cache", "must be between 1 and 65536 statements");
    if (limit_on_server && !prepare) return bad_postgres_option("limit_on_server", "needs sessions of its own: prepare is false");
    if (watched_parameters.empty() != (on_parameter == nullptr))
        return bad_postgres_option("watched_parameters", "and on_parameter go together: one is set, the other is not");
    if (connection.find('\0') != connection.npos) return bad_postgres_option("connection", "contains a NUL character");
    detail::postgres_target target;
    return target.read(*this, false);
}

}  // namespace strata::inline STRATA_ABI

#endif

// Cancels on the server, each on a thread of its own: a cancel opens a second connection, and may meet a network that swallows it.
//
// A cancel that the server gets before the statement does is ignored, so one may not be enough; but never two at once, and the fence
// waits for the last: when its connection has ended, no signal of any of them is still to come.
#ifndef STRATA_DRIVER_POSTGRES_CANCEL_HPP
#define STRATA_DRIVER_POSTGRES_CANCEL_HPP

namespace strata::inline STRATA_ABI::detail {

#ifdef LIBPQ_HAS_ASYNC_CANCEL
/// libpq 17 and newer: encrypted where the connection is, and ended at the bound.
struct cancel_request {
    static constexpr auto release = &::PQcancelFinish;
    [[nodiscard]] static ::PGcancelConn* of(PGconn* c) noexcept { return ::PQcancelCreate(c); }
    static void send(::PGcancelConn* c, time_point until) noexcept {
        if (::PQcancelStart(c) == 0) return;
        for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING;) {
            const duration left = until - clock::now();
            if (left <= duration::zero()) return;
            ::pollfd p{::PQcancelSocket(c), static_cast<short>(s == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
            const auto most = std::min<duration>(left, std::chrono::seconds{1}) / std::chrono::milliseconds{1};
            if (::poll(&p, 1, static_cast<int>(most) + 1) != 0) s = ::PQcancelPoll(c);
        }
    }
};
#else
/// Unencrypted, and it lasts as long as the network makes it last.
struct cancel_request {
    static constexpr auto release = &::PQfreeCancel;
    [[nodiscard]] static ::PGcancel* of(PGconn* c) noexcept { return ::PQgetCancel(c); }
    static void send(::PGcancel* c, time_point) noexcept {
        char why[256];
        ::PQcancel(c, why, sizeof why);
    }
};
#endif

/// The cancels of one connection.
class postgres_cancels {
public:
    postgres_cancels() noexcept = default;
    postgres_cancels(const postgres_cancels&) = delete;
    postgres_cancels& operator=(const postgres_cancels&) = delete;
    ~postgres_cancels() { forget(); }

    /// Sends one, unless the last is still under way or there is no memory for it; it ends by `until` where libpq can bound it.
    STRATA_COLD void send(PGconn* connection, time_point until) noexcept {
        if (!have_ended()) return;
        forget();
        const auto request = cancel_request::of(connection);
        if (request == nullptr) return;
        try {
            auto sent = std::make_unique<std::atomic<stage>>(stage::under_way);
            std::thread([request, until, here = sent.get()] {
                cancel_request::send(request, until);
                cancel_request::release(request);
                if (here->exchange(stage::ended, std::memory_order_acq_rel) == stage::forgotten) delete here;
            }).detach();  // whoever waits for the statement does so under a bound, and does not wait for this
            sent_ = sent.release();
        } catch (...) {
            cancel_request::release(request);  // no thread: the bound for the result ends the connection
        }
    }
    [[nodiscard]] bool have_ended() const noexcept { return sent_ == nullptr || sent_->load(std::memory_order_acquire) == stage::ended; }
    /// What is under way ends without us.
    void forget() noexcept {
        if (sent_ != nullptr && sent_->exchange(stage::forgotten, std::memory_order_acq_rel) == stage::ended) delete sent_;
        sent_ = nullptr;
    }

private:
    enum class stage : std::uint8_t { under_way, ended, forgotten };

    std::atomic<stage>* sent_ = nullptr;  // shared with the thread that sends: the second of the two to leave deletes it
};

}  // namespace strata::inline STRATA_ABI::detail

#endif

// PostgreSQL's SQLSTATEs and messages as `strata::error`: what happened, to what, and what is known about the effect.
#ifndef STRATA_DRIVER_POSTGRES_ERROR_HPP
#define STRATA_DRIVER_POSTGRES_ERROR_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The five characters of an SQLSTATE as a number, so that a switch can tell them apart.
[[nodiscard]] constexpr std::uint64_t sqlstate(std::string_view s) noexcept {
    std::uint64_t n = 0;
    for (const char c : s) n = n << 8 | static_cast<unsigned char>(c);
    return n;
}

}  // namespace detail

/// The portable condition of an SQLSTATE (PostgreSQL 15, appendix A): the exact code where it matters, else its class.
[[nodiscard]] constexpr errc postgres_condition(std::string_view state) noexcept {
    using detail::sqlstate;
    if (state.size() != 5) return errc::unknown;
    switch (sqlstate(state)) {
        case sqlstate("40001"):
            return errc::serialization_failure;
        case sqlstate("40P01"):
            return errc::deadlock;
        case sqlstate("40002"):
            return errc::constraint_violation;
        case sqlstate("40003"):
            return errc::outcome_unknown;
        case sqlstate("55P03"):
            return errc::lock_not_available;
        case sqlstate("23505"):
            return errc::unique_violation;
        case sqlstate("23503"):
            return errc::foreign_key_violation;
        case sqlstate("23502"):
            return errc::not_null_violation;
        case sqlstate("23514"):
            return errc::check_violation;
        case sqlstate("08001"):
        case sqlstate("08004"):
        case sqlstate("57P03"):
        case sqlstate("53300"):
            return errc::cannot_connect;
        case sqlstate("57P01"):
        case sqlstate("57P02"):
        case sqlstate("57P04"):
        case sqlstate("57P05"):
            return errc::connection_lost;
        case sqlstate("25P03"):
        case sqlstate("25P04"):
            return errc::connection_lost;
        case sqlstate("57014"):
            return errc::cancelled;
        case sqlstate("25006"):
            return errc::read_only;
        case sqlstate("25P02"):
            return errc::transaction_aborted;
        case sqlstate("42501"):
            return errc::permission_denied;
        case sqlstate("42601"):
            return errc::syntax_error;
        case sqlstate("42P01"):
        case sqlstate("42703"):
        case sqlstate("42883"):
        case sqlstate("42704"):
        case sqlstate("42P02"):
        case sqlstate("3D000"):
        case sqlstate("3F000"):
        case sqlstate("26000"):
        case sqlstate("34000"):
            return errc::undefined_object;
        case sqlstate("42804"):
        case sqlstate("42P18"):
        case sqlstate("42846"):
        case sqlstate("22P02"):
        case sqlstate("22P03"):
            return errc::invalid_argument;
        case sqlstate("22003"):
        case sqlstate("22008"):
            return errc::out_of_range;
        case sqlstate("22001"):
            return errc::too_big;
        case sqlstate("22004"):
            return errc::null_value;
        case sqlstate("53100"):
            return errc::disk_full;
        case sqlstate("53200"):
            return errc::out_of_memory;
        case sqlstate("58030"):
            return errc::io_error;
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return errc::corrupt;
        case sqlstate("0A000"):
            return errc::unsupported;
        case sqlstate("P0001"):
            return errc::user_error;
        default:
            break;
    }
    switch (sqlstate(state.substr(0, 2))) {
        case sqlstate("08"):
            return errc::connection_lost;
        case sqlstate("22"):
            return errc::invalid_argument;
        case sqlstate("23"):
            return errc::constraint_violation;
        case sqlstate("28"):
            return errc::permission_denied;
        case sqlstate("40"):
            return errc::serialization_failure;
        case sqlstate("42"):
            return errc::invalid_statement;
        case sqlstate("54"):
            return errc::too_big;
        case sqlstate("58"):
            return errc::io_error;
        default:
            return errc::unknown;
    }
}

/// Whether a connection that reported this SQLSTATE can serve the next caller: not after the server's farewell, nor on a
/// server that has become a standby. `in_hot_standby`: the setting of this name as the server has reported it (14 and newer), null where
/// it has not: a write that was refused in a read-only transaction of the user's own says nothing about the connection.
[[nodiscard]] constexpr health postgres_health(std::string_view state, const char* in_hot_standby) noexcept {
    using detail::sqlstate;
    if (state.substr(0, 2) == "08") return health::lost;
    switch (sqlstate(state)) {
        case sqlstate("57P01"):
        case sqlstate("57P02"):
            return health::all_lost;
        case sqlstate("25006"):
            return in_hot_standby == nullptr ? health::lost : std::string_view{in_hot_standby} == "on" ? health::all_lost : health::good;
        case sqlstate("57P04"):
        case sqlstate("57P05"):
        case sqlstate("25P03"):
        case sqlstate("25P04"):
        case sqlstate("40003"):
        case sqlstate("58030"):
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return health::lost;
        default:
            return health::good;
    }
}

namespace detail {

[[nodiscard]] inline std::string_view field_of(const PGresult* r, int field) noexcept {
    const char* const text = ::PQresultErrorField(r, field);
    return text != nullptr ? std::string_view{text} : std::string_view{};
}

/// Characters to bytes: the server counts the characters of a UTF-8 text from 1, we count bytes from 0.
[[nodiscard]] inline std::int64_t byte_of_character(std::string_view text, long character) noexcept {
    if (character <= 0) return -1;
    std::size_t at = 0;
    for (long n = 1; at < text.size(); ++at) {
        if ((static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) continue;
        if (n++ == character) return static_cast<std::int64_t>(at);
    }
    return static_cast<std::int64_t>(text.size());
}

/// The error of a result of `c`. `sent` is the text as the server saw it.
[[nodiscard]] STRATA_COLD inline error make_postgres_error(const PGconn* c, const PGresult* r, phase at, std::string_view written,
                                                           std::string_view sent) {
    const std::string_view state = field_of(r, PG_DIAG_SQLSTATE);
    error e{postgres_condition(state), std::string{field_of(r, PG_DIAG_MESSAGE_PRIMARY)}, at};
    e.set(postgres_health(state, c != nullptr ? ::PQparameterStatus(c, "in_hot_standby") : nullptr));
    error_texts& t = e.edit_texts();
    if (t.message.empty()) t.message = ::PQresultErrorMessage(r);
    t.native_code = state;
    t.detail = field_of(r, PG_DIAG_MESSAGE_DETAIL);
    if (t.detail.empty() && e.code() == errc::lock_not_available) t.detail = field_of(r, PG_DIAG_CONTEXT);  // which names what is locked
    t.hint = field_of(r, PG_DIAG_MESSAGE_HINT);
    t.constraint = field_of(r, PG_DIAG_CONSTRAINT_NAME);
    t.table = field_of(r, PG_DIAG_TABLE_NAME);
    t.column = field_of(r, PG_DIAG_COLUMN_NAME);
    t.statement = written.empty() ? sent : written;
    const std::string_view position = field_of(r, PG_DIAG_STATEMENT_POSITION);
    if (!position.empty()) t.position = byte_of_character(sent, std::strtol(std::string{position}.c_str(), nullptr, 10));
    return e;
}

/// libpq's sentences, which stand on lines of their own or go on behind a tab, in one line.
[[nodiscard]] STRATA_COLD inline std::string one_line(std::string_view text) {
    std::string line;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        const std::string_view part = text.substr(at, end == text.npos ? end : end - at);
        const std::size_t begin = part.find_first_not_of(" \t");
        if (begin != part.npos) {
            const bool goes_on = begin != 0 && part[begin] >= 'a' && part[begin] <= 'z';
            line.append(line.empty() ? "" : goes_on ? " " : "; ").append(part.substr(begin));
        }
        at += part.size() + 1;
    }
    return line;
}

/// Of a server's error: it does not know the prepared statement any more, or the columns of its result have changed.
[[nodiscard]] STRATA_COLD inline bool tells_stale_plan(const error& e) {
    const std::string& code = e.texts().native_code;
    return code == "26000" || (code == "0A000" && e.message().find("cached plan") != std::string::npos);
}

/// The connection broke, or libpq itself failed. libpq's sentences show no secret.
[[nodiscard]] STRATA_COLD inline error make_connection_error(PGconn* c, errc code, phase at, effect did) {
    std::string text = c != nullptr ? one_line(::PQerrorMessage(c)) : "no memory for a connection";
    if (text.empty()) text = "the connection to the server is gone";
    return error{code, std::move(text), at, did}.set(health::lost);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The prepared statements of one connection: found by the hash of their text, the least recently used let go first.
#ifndef STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP
#define STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

struct clear_result {
    void operator()(PGresult* r) const noexcept { ::PQclear(r); }
};
using result_owner = std::unique_ptr<PGresult, clear_result>;

/// A statement that the server has prepared and described.
struct prepared_statement {
    hash128 key{};
    std::string text;
    char name[52];  // on the server
    std::vector<::Oid> parameters;
    result_owner columns;  // of the description
    row_plan plan{};       // made for its tag
    bool planned = false;
    bool shares = false;  ///< others may stand behind the same Sync; see shared_link.hpp
};

/// Owned by one connection and used by one thread at a time.
class prepared_statements {
public:
    void reset(std::size_t bound) {
        clear();
        bound_ = bound;
    }
    void clear() noexcept {
        found_.clear();
        order_.clear();
    }
    [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
    [[nodiscard]] std::size_t bound() const noexcept { return bound_; }

    /// The statement of this key, now the most recently used. The text is compared where others may have composed it.
    [[nodiscard]] prepared_statement* take(const hash128& key, std::string_view text, bool literal) {
        const auto at = found_.find(key);
        if (at == found_.end() || (!literal && at->second->text != text)) return nullptr;
        order_.splice(order_.begin(), order_, at->second);
        return &*at->second;
    }
    /// Room for one more: the name of a statement that the server should let go, or nothing.
    [[nodiscard]] std::string evict() {
        if (order_.size() < bound_) return {};
        std::string name = order_.back().name;
        found_.erase(order_.back().key);
        order_.pop_back();
        return name;
    }
    /// A new one; another one of the same key is forgotten (on the server it was replaced).
    [[nodiscard]] prepared_statement& put(const hash128& key, std::string_view text) {
        forget(key);
        std::list<prepared_statement> one(1);
        one.front().key = key;
        one.front().text = text;
        found_.emplace(key, one.begin());
        order_.splice(order_.begin(), one);
        return order_.front();
    }
    void forget(const hash128& key) noexcept {
        if (const auto at = found_.find(key); at != found_.end()) {
            order_.erase(at->second);
            found_.erase(at);
        }
    }

private:
    struct hash_of {
        std::size_t operator()(const hash128& h) const noexcept { return static_cast<std::size_t>(h.low); }
    };
    std::list<prepared_statement> order_;  // newest first
    std::unordered_map<hash128, std::list<prepared_statement>::iterator, hash_of> found_;
    std::size_t bound_ = 0;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// libpq's handle of one connection: how answers are waited for, and how what runs on it is cancelled.
//
// Whatever is asked of the server is heard in steps: a step blocks where the thread may, and answers `signal::io` where the drive
// waits for the descriptor. Each step looks at the guard: at a deadline or a cancel the call is cancelled on the server, and the
// connection is used again only behind a fence, so that a late cancel cannot hit the next call.
#ifndef STRATA_DRIVER_POSTGRES_WIRE_HPP
#define STRATA_DRIVER_POSTGRES_WIRE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One question to the server, and what came back.
struct postgres_round {
    result_owner last{};  // of its results; the first error, if there was one
    bool under_way = false;
    bool sent = false;
    bool failed = false;   // `last` is the server's error
    bool was_hit = false;  // by our own cancel
};

/// Used by one thread at a time.
class postgres_wire {
public:
    postgres_wire() noexcept = default;
    postgres_wire(const postgres_wire&) = delete;
    postgres_wire& operator=(const postgres_wire&) = delete;

    /// Or left in the middle of a round by a call that was destroyed.
    [[nodiscard]] bool is_lost() const noexcept { return lost_ || round_.under_way || db_ == nullptr || ::PQstatus(db_) != CONNECTION_OK; }
    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept {
        if (db_ == nullptr) return false;
        const PGTransactionStatusType s = ::PQtransactionStatus(db_);
        return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
    }

    /// Before each call. `limit` bounds it where no guard does.
    void start_the_clock(duration limit = duration::max()) noexcept {
        ended_by_ = errc::ok;
        waiting_ = fencing_ = false;
        give_up_at_ = guard_ == nullptr && limit != duration::max() ? add_saturated(clock::now(), limit) : never;
    }
    /// The next result in `r`, null at the end of a statement; or `io`. `lost_` says when there will be none.
    [[nodiscard]] signal next(result_owner& r);
    /// The same, blocking.
    [[nodiscard]] result_owner next_result();

    /// Begins a round whose question was sent; 0: it could not be.
    void ask(int sent) noexcept {
        round_ = {.under_way = true, .sent = sent != 0};
        if (sent == 0) lost_ = true;
    }
    /// Goes on with it: `io` or `work` where the drive waits; `done`, or `failed` when the server or the connection failed.
    [[nodiscard]] signal hear();

    /// After a call that may have been cancelled: `work` before it blocks where that is not allowed, `done` when the connection can
    /// be used again or is lost. `was_hit`: the cancel has ended the call.
    [[nodiscard]] signal fence(bool was_hit) noexcept;

    /// Blocks until the descriptor is ready for what is asked, looking at the flag of the guard meanwhile.
    [[nodiscard]] bool poll_until(bool read, bool write, time_point until) noexcept;
    [[nodiscard]] bool is_ready(bool write) const noexcept {
        ::pollfd p{::PQsocket(db_), static_cast<short>(write ? POLLOUT : POLLIN), 0};
        return ::poll(&p, 1, 0) != 0;
    }
    /// Cancels when the guard says so, and again while the statement goes on, since the server ignores a cancel that it gets before
    /// the statement; false when there is nothing left to wait for.
    [[nodiscard]] bool look_at_guard() noexcept;
    void begin_to_cancel(errc why) noexcept;
    /// When `look_at_guard` must be asked again.
    [[nodiscard]] time_point look_again_at() const noexcept {
        if (ended_by_ != errc::ok) return cancel_again_at_ < give_up_at_ ? cancel_again_at_ : give_up_at_;
        return guard_ != nullptr ? guard_->deadline : give_up_at_;
    }
    [[nodiscard]] error lost_error(phase at, effect did) const;
    /// The error of a result; what that says of the connection is kept.
    [[nodiscard]] STRATA_COLD error error_of(const PGresult* r, phase at, std::string_view written, std::string_view sent) {
        error e = make_postgres_error(db_, r, at, written, sent);
        farewell_ = farewell_ || e.health() == health::all_lost;
        return e;
    }

    PGconn* db_ = nullptr;
    const interruption* guard_ = nullptr;
    duration cancel_grace_{};
    time_point give_up_at_ = never;
    time_point cancel_again_at_ = never;
    duration cancel_pause_{};
    errc ended_by_ = errc::ok;  // set when a call is being cancelled, cleared when one begins
    bool lost_ = false;
    bool farewell_ = false;  // the server goes down, or has become a standby
    bool yields_ = false;    // the drive waits for the descriptor
    bool waiting_ = false;   // it was told to
    bool fencing_ = false;   // the result is complete; a thread that may block waits for the cancel's end
    io_wait awaited_;
    watch_place watch_;
    postgres_cancels cancels_;
    postgres_round round_;

private:
    enum class waited : std::uint8_t { ready, lost, out_of_time, not_yet };

    /// Sends what is left and waits until a result can be taken without blocking.
    [[nodiscard]] waited wait_for_result();
    /// The same where the drive waits: `not_yet` with `awaited_` set.
    [[nodiscard]] waited look_for_result();
    /// Blocks. Waits until the cancel's own connection has ended, since the server signals twice, to process and to group, and the
    /// second signal may come long after the first; and if the call was not hit, lets a late signal hit an empty one.
    void raise_fence(bool was_hit) noexcept;
};

inline bool postgres_wire::poll_until(bool read, bool write, time_point until) noexcept {
    constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
    for (;;) {
        const duration left = time_left(until, slice);
        if (left <= duration::zero() || (guard_ != nullptr && guard_->is_cancelled() && ended_by_ == errc::ok)) return false;
        ::pollfd p{::PQsocket(db_), static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0)), 0};
        const int n = ::poll(&p, 1, static_cast<int>((left + std::chrono::milliseconds{1} - duration{1}) / std::chrono::milliseconds{1}));
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return true;  // libpq will say what is wrong
    }
}

inline postgres_wire::waited postgres_wire::wait_for_result() {
    bool unsent = ::PQflush(db_) > 0;
    while (unsent || ::PQisBusy(db_) != 0) {
        if (!poll_until(true, unsent, look_again_at())) {
            if (!look_at_guard()) return waited::out_of_time;
            continue;
        }
        if (::PQconsumeInput(db_) == 0) return waited::lost;
        if (unsent) {
            const int left = ::PQflush(db_);
            if (left < 0) return waited::lost;
            unsent = left > 0;
        }
    }
    return waited::ready;
}

inline postgres_wire::waited postgres_wire::look_for_result() {
    if (std::exchange(waiting_, false) && ::PQconsumeInput(db_) == 0) return waited::lost;
    const int unsent = ::PQflush(db_);
    if (unsent < 0) return waited::lost;
    if (unsent == 0 && ::PQisBusy(db_) == 0) return waited::ready;
    if (!look_at_guard()) return waited::out_of_time;
    awaited_ = {::PQsocket(db_), unsent > 0, look_again_at()};
    if (unsent > 0) {  // the server may want to be read from before it reads on
        const time_point soon = clock::now() + std::chrono::milliseconds{5};
        if (soon < awaited_.until) awaited_.until = soon;
    }
    waiting_ = true;
    return waited::not_yet;
}

inline result_owner postgres_wire::next_result() {
    if (lost_) return nullptr;
    if (wait_for_result() != waited::ready) {
        lost_ = true;
        return nullptr;
    }
    result_owner r{::PQgetResult(db_)};
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return r;
}

inline signal postgres_wire::next(result_owner& r) {
    if (!yields_) {
        r = next_result();
        return signal::done;
    }
    if (lost_) return signal::done;
    switch (look_for_result()) {
        case waited::not_yet:
            return signal::io;
        case waited::ready:
            r.reset(::PQgetResult(db_));
            break;
        default:
            lost_ = true;
            break;
    }
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return signal::done;
}

STRATA_COLD inline signal postgres_wire::hear() {
    while (!fencing_) {
        result_owner r;
        if (next(r) == signal::io) return signal::io;
        if (r == nullptr) break;
        if (round_.failed) continue;
        const ExecStatusType s = ::PQresultStatus(r.get());
        round_.failed = s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
        round_.was_hit = round_.failed && ended_by_ != errc::ok && field_of(r.get(), PG_DIAG_SQLSTATE) == "57014";
        round_.last = std::move(r);
    }
    if (fence(round_.was_hit) == signal::work) return signal::work;
    round_.under_way = false;
    return round_.failed || lost_ ? signal::failed : signal::done;
}

inline signal postgres_wire::fence(bool was_hit) noexcept {
    if (ended_by_ == errc::ok || lost_) [[likely]]
        return signal::done;
    if (yields_ && (!was_hit || !cancels_.have_ended()) && !std::exchange(fencing_, true)) return signal::work;
    const bool yields = std::exchange(yields_, false);
    raise_fence(was_hit);
    yields_ = yields;
    fencing_ = false;
    return signal::done;
}

inline bool postgres_wire::look_at_guard() noexcept {
    if (ended_by_ != errc::ok) {
        const time_point now = clock::now();
        if (now >= give_up_at_) return false;
        if (now < cancel_again_at_) return true;
        cancels_.send(db_, give_up_at_);
        cancel_pause_ *= 2;
        cancel_again_at_ = add_saturated(now, cancel_pause_);
    } else if (guard_ == nullptr) {
        if (give_up_at_ == never || clock::now() < give_up_at_) return true;
        ended_by_ = errc::timeout;
        return false;
    } else if (guard_->is_cancelled()) {
        begin_to_cancel(errc::cancelled);
    } else if (time_left(guard_->deadline, std::chrono::milliseconds{1}) <= duration::zero()) {
        begin_to_cancel(errc::timeout);
    }
    return true;
}

STRATA_COLD inline void postgres_wire::begin_to_cancel(errc why) noexcept {
    ended_by_ = why;
    const time_point now = clock::now();
    give_up_at_ = add_saturated(now, cancel_grace_);
    cancel_pause_ = cancel_grace_ / 64;
    cancel_again_at_ = add_saturated(now, cancel_pause_);
    cancels_.send(db_, give_up_at_);
}

STRATA_COLD inline void postgres_wire::raise_fence(bool was_hit) noexcept {
    give_up_at_ = add_saturated(clock::now(), cancel_grace_);
    cancel_again_at_ = never;
    for (; !lost_ && !cancels_.have_ended(); std::this_thread::sleep_for(std::chrono::microseconds{200}))
        lost_ = clock::now() >= give_up_at_;
    if (lost_ || was_hit) return;
    // The cancel may still be on its way: whatever it hits now is empty.
    if (::PQsendQuery(db_, "") == 0) lost_ = true;
    while (next_result() != nullptr) {
    }
}

STRATA_COLD inline error postgres_wire::lost_error(phase at, effect did) const {
    if (ended_by_ != errc::ok) {
        error e{ended_by_, "the server did not answer in time; the connection was given up", at, did};
        return e.set(health::lost);
    }
    return make_connection_error(db_, errc::connection_lost, at, did);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// How a connection comes about: the target read, names looked up where that disturbs nobody, libpq's steps taken as the socket allows.
//
// Looking up a name may take as long as it likes, and libpq does it inside its calls. So where there is a name, it is left to a
// thread of its own, for which nobody waits beyond the bound. One host: that thread only begins. Several: each may be looked up at any
// step, so that thread goes through all of them.
#ifndef STRATA_DRIVER_POSTGRES_CONNECT_HPP
#define STRATA_DRIVER_POSTGRES_CONNECT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// libpq's calls that begin to connect, on a thread of their own.
class postgres_dialling {
public:
    /// `to_the_end`: until there is a connection, or none can be had, or `until`.
    STRATA_COLD postgres_dialling(postgres_target target, bool to_the_end, time_point until)
        : shared_(std::make_shared<shared>(std::move(target))) {
        std::thread([s = shared_, to_the_end, until] {
            PGconn* c = nullptr;
            try {
                c = s->target.start();
            } catch (...) {  // no memory
            }
            if (c != nullptr && to_the_end) walk(c, *s, until);
            s->made = c;
            if (s->at.exchange(ended, std::memory_order_acq_rel) == abandoned)
                ::PQfinish(c);
            else
                futex_wake_one(&s->at);
        }).detach();
    }
    postgres_dialling(const postgres_dialling&) = delete;
    postgres_dialling& operator=(const postgres_dialling&) = delete;
    ~postgres_dialling() {
        if (shared_->at.exchange(abandoned, std::memory_order_acq_rel) == ended) ::PQfinish(shared_->made);
    }

    /// Blocks until it has ended, and then hands over what there is in `c`; false when the time is up, or `i` is cancelled.
    [[nodiscard]] STRATA_COLD bool wait(const interruption* i, time_point until, PGconn*& c) noexcept {
        constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
        while (shared_->at.load(std::memory_order_acquire) == under_way) {
            const time_point now = clock::now();
            if (now >= until || (i != nullptr && i->is_cancelled())) return false;
            futex_wait(shared_->at, under_way, std::min(until, add_saturated(now, slice)));
        }
        c = std::exchange(shared_->made, nullptr);
        return true;
    }

private:
    static constexpr std::uint32_t under_way = 0, ended = 1, abandoned = 2;
    struct shared {
        explicit shared(postgres_target t) : target(std::move(t)) {}
        postgres_target target;
        PGconn* made = nullptr;  // belongs to the second of the two to leave, unless it was handed over
        std::atomic<std::uint32_t> at{under_way};
    };

    static void walk(PGconn* c, const shared& s, time_point until) noexcept {
        for (PostgresPollingStatusType p = PGRES_POLLING_WRITING; p == PGRES_POLLING_WRITING || p == PGRES_POLLING_READING;) {
            if (::PQstatus(c) == CONNECTION_BAD) return;
            if (clock::now() >= until || s.at.load(std::memory_order_relaxed) == abandoned) return;
            ::pollfd d{::PQsocket(c), static_cast<short>(p == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
            if (::poll(&d, 1, 10) != 0) p = ::PQconnectPoll(c);
        }
    }

    std::shared_ptr<shared> shared_;
};

/// A connection that is being opened.
class postgres_connecting {
public:
    [[nodiscard]] STRATA_COLD error read(const postgres_options& o, const interruption* guard) {
        if (error e = target_.read(o)) return e;
        until_ = add_saturated(clock::now(), o.connect_timeout);
        if (guard != nullptr && guard->deadline < until_) until_ = guard->deadline;
        return {};
    }

    /// Begins, once; then it may block up to the bound. False when it was begun before.
    STRATA_COLD bool begin(postgres_wire& w) {
        if (std::exchange(begun_, true)) return false;
        const postgres_target::look_up names = target_.names();
        if (names == postgres_target::look_up::none) {
            w.db_ = target_.start();
            return true;
        }
        const bool several = names == postgres_target::look_up::several;
        postgres_dialling thread{target_, several, until_};
        late_ = !thread.wait(w.guard_, until_, w.db_);
        if (several && w.db_ != nullptr) {
            if (::PQstatus(w.db_) == CONNECTION_OK)
                next_ = PGRES_POLLING_OK;
            else
                late_ = ::PQstatus(w.db_) != CONNECTION_BAD;
        }
        return true;
    }
    [[nodiscard]] STRATA_COLD signal step(postgres_wire& w, error& e) {
        if (late_) return give_up(w, e);
        for (;;) {
            if (w.db_ == nullptr || ::PQstatus(w.db_) == CONNECTION_BAD || next_ == PGRES_POLLING_FAILED) {
                e = make_connection_error(w.db_, errc::cannot_connect, phase::connect, effect::none);
                return signal::failed;
            }
            if (next_ == PGRES_POLLING_OK) return signal::done;
            const bool writes = next_ == PGRES_POLLING_WRITING;
            if (w.yields_ && !w.is_ready(writes)) {
                if (is_over(w)) return give_up(w, e);
                w.awaited_ = {::PQsocket(w.db_), writes, until_};
                return signal::io;
            }
            if (!w.yields_ && !w.poll_until(!writes, writes, until_)) return give_up(w, e);
            next_ = ::PQconnectPoll(w.db_);
        }
    }

    /// Adds to the error where it was to go.
    STRATA_COLD void name_target(error& e) const {
        const std::string_view host = target_.value("host");
        const std::string_view database = target_.value("dbname");
        if (!host.empty() || !database.empty()) e.edit_texts().detail = joined({"host \"", host, "\", database \"", database, "\""});
    }

private:
    [[nodiscard]] bool is_over(const postgres_wire& w) const noexcept {
        return (w.guard_ != nullptr && w.guard_->is_cancelled()) || clock::now() >= until_;
    }
    [[nodiscard]] static signal give_up(const postgres_wire& w, error& e) {
        const bool cancelled = w.guard_ != nullptr && w.guard_->is_cancelled();
        e = error{cancelled ? errc::cancelled : errc::timeout, cancelled ? "cancelled while connecting" : "connecting took too long",
                  phase::connect};
        return signal::failed;
    }

    postgres_target target_;
    time_point until_ = never;
    PostgresPollingStatusType next_ = PGRES_POLLING_WRITING;
    bool begun_ = false;
    bool late_ = false;  // the time was up before there was anything to poll
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a server says unasked, handed to the user's functions: notices, and changes of the settings that it reports.
#ifndef STRATA_DRIVER_POSTGRES_HOOKS_HPP
#define STRATA_DRIVER_POSTGRES_HOOKS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The hooks of one connection, which it must not leave: libpq keeps its address. Used by one thread at a time.
class postgres_hooks {
public:
    postgres_hooks() noexcept = default;
    postgres_hooks(const postgres_hooks&) = delete;
    postgres_hooks& operator=(const postgres_hooks&) = delete;

    /// From now on notices go to the hook, or nowhere: libpq's own receiver would write to the standard error.
    void hear(PGconn* c, const postgres_options& o) noexcept {
        on_notice_ = o.on_notice;
        on_parameter_ = o.on_parameter;
        context_ = o.context;
        ::PQsetNoticeReceiver(c, [](void* self, const PGresult* r) { static_cast<postgres_hooks*>(self)->tell(r); }, this);
    }
    /// The settings that are watched, as they are now.
    void know(const PGconn* c, const postgres_options& o) {
        watched_.clear();
        if (on_parameter_ == nullptr) return;
        for (const std::string& name : o.watched_parameters) watched_.emplace_back(name, value_of(c, name));
    }
    /// Tells which of them have changed. Sends nothing: the server has reported them by itself.
    STRATA_INLINE void look(const PGconn* c) {
        if (!watched_.empty()) [[unlikely]]
            compare(c);
    }
    /// The connection goes back to whoever opened it.
    static void leave(PGconn* c) noexcept {
        ::PQsetNoticeReceiver(c, [](void*, const PGresult*) {}, nullptr);
    }

private:
    STRATA_COLD void compare(const PGconn* c) {
        for (auto& [name, value] : watched_) {
            const std::string_view now = value_of(c, name);
            if (now == value) continue;
            value = now;
            on_parameter_(context_, postgres_parameter{name, value});
        }
    }
    void tell(const PGresult* r) noexcept {
        if (on_notice_ == nullptr) return;
        on_notice_(context_,
                   {field_of(r, PG_DIAG_SEVERITY_NONLOCALIZED), field_of(r, PG_DIAG_SQLSTATE), field_of(r, PG_DIAG_MESSAGE_PRIMARY),
                    field_of(r, PG_DIAG_MESSAGE_DETAIL), field_of(r, PG_DIAG_MESSAGE_HINT)});
    }
    [[nodiscard]] static std::string_view value_of(const PGconn* c, const std::string& name) noexcept {
        const char* const value = ::PQparameterStatus(c, name.c_str());
        return value != nullptr ? std::string_view{value} : std::string_view{};
    }

    void (*on_notice_)(void*, const postgres_notice&) noexcept = nullptr;
    void (*on_parameter_)(void*, const postgres_parameter&) noexcept = nullptr;
    void* context_ = nullptr;
    std::vector<std::pair<std::string, std::string>> watched_;  // name and value
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Numbers of PostgreSQL's built-in types, as the catalogue pg_type fixes them, and the class of value that each is.
#ifndef STRATA_DRIVER_POSTGRES_OID_HPP
#define STRATA_DRIVER_POSTGRES_OID_HPP

namespace strata::inline STRATA_ABI {

/// Built-in types by the names that SQL gives them. Source: src/include/catalog/pg_type.dat of PostgreSQL; they never change.
namespace oid {
enum : ::Oid {
    boolean = 16,
    bytea = 17,
    internal_char = 18,
    name = 19,
    int8 = 20,
    int2 = 21,
    int4 = 23,
    regproc = 24,
    text = 25,
    oid = 26,
    xid = 28,
    cid = 29,
    json = 114,
    xml = 142,
    cidr = 650,
    float4 = 700,
    float8 = 701,
    unknown = 705,
    macaddr8 = 774,
    money = 790,
    macaddr = 829,
    inet = 869,
    bpchar = 1042,
    varchar = 1043,
    date = 1082,
    time = 1083,
    timestamp = 1114,
    timestamptz = 1184,
    interval = 1186,
    timetz = 1266,
    bit = 1560,
    varbit = 1562,
    numeric = 1700,
    refcursor = 1790,
    record = 2249,
    uuid = 2950,
    jsonb = 3802,
    int4range = 3904,
    numrange = 3906,
    tsrange = 3908,
    tstzrange = 3910,
    daterange = 3912,
    int8range = 3926,
    int4multirange = 4451,
    nummultirange = 4532,
    tsmultirange = 4533,
    tstzmultirange = 4534,
    datemultirange = 4535,
    int8multirange = 4536,
    xid8 = 5069
};
}  // namespace oid

namespace detail {

/// The binary form is the characters themselves.
[[nodiscard]] constexpr bool is_plain_text(::Oid type) noexcept {
    switch (type) {
        case oid::text:
        case oid::varchar:
        case oid::bpchar:
        case oid::name:
        case oid::json:
        case oid::xml:
        case oid::unknown:
        case oid::refcursor:
        case oid::internal_char:
            return true;
        default:
            return false;
    }
}

/// What codecs see. Types whose binary form is turned into PostgreSQL's own text (numeric, dates, uuid ...) are texts, too.
[[nodiscard]] constexpr column_type class_of(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return column_type::boolean;
        case oid::int2:
        case oid::int4:
        case oid::int8:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
            return column_type::integer;
        case oid::float4:
        case oid::float8:
            return column_type::real;
        case oid::bytea:
            return column_type::blob;
        case oid::numeric:
        case oid::uuid:
        case oid::date:
        case oid::time:
        case oid::timetz:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::interval:
        case oid::jsonb:
        case oid::inet:
        case oid::cidr:
        case oid::macaddr:
        case oid::macaddr8:
        case oid::bit:
        case oid::varbit:
        case oid::xid8:
            return column_type::text;
        default:
            return is_plain_text(type) ? column_type::text : column_type::other;
    }
}

/// For errors: the name of a built-in type; empty for one that the catalogue of the database defines.
[[nodiscard]] constexpr std::string_view type_name(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return "boolean";
        case oid::bytea:
            return "bytea";
        case oid::name:
            return "name";
        case oid::int8:
            return "bigint";
        case oid::int2:
            return "smallint";
        case oid::int4:
            return "integer";
        case oid::text:
            return "text";
        case oid::oid:
            return "oid";
        case oid::json:
            return "json";
        case oid::float4:
            return "real";
        case oid::float8:
            return "double precision";
        case oid::money:
            return "money";
        case oid::inet:
            return "inet";
        case oid::cidr:
            return "cidr";
        case oid::macaddr:
            return "macaddr";
        case oid::bpchar:
            return "character";
        case oid::varchar:
            return "character varying";
        case oid::date:
            return "date";
        case oid::time:
            return "time";
        case oid::timetz:
            return "time with time zone";
        case oid::timestamp:
            return "timestamp";
        case oid::timestamptz:
            return "timestamp with time zone";
        case oid::interval:
            return "interval";
        case oid::bit:
            return "bit";
        case oid::varbit:
            return "bit varying";
        case oid::numeric:
            return "numeric";
        case oid::uuid:
            return "uuid";
        case oid::jsonb:
            return "jsonb";
        case oid::record:
            return "record";
        case oid::int4range:
            return "int4range";
        case oid::numrange:
            return "numrange";
        case oid::tsrange:
            return "tsrange";
        case oid::tstzrange:
            return "tstzrange";
        case oid::daterange:
            return "daterange";
        case oid::int8range:
            return "int8range";
        case oid::int4multirange:
            return "int4multirange";
        case oid::nummultirange:
            return "nummultirange";
        case oid::tsmultirange:
            return "tsmultirange";
        case oid::tstzmultirange:
            return "tstzmultirange";
        case oid::datemultirange:
            return "datemultirange";
        case oid::int8multirange:
            return "int8multirange";
        case oid::xml:
            return "xml";
        case oid::xid8:
            return "xid8";
        case oid::macaddr8:
            return "macaddr8";
        default:
            return {};
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a type is made of: arrays, ranges and records by their parts. Built-in types by a table; those that the database defines
// (enums, domains, composites, extensions) are looked up once a connection.
//
// A type that is altered while a connection knows it (ALTER TYPE ... ADD ATTRIBUTE) is seen anew by the next connection.
#ifndef STRATA_DRIVER_POSTGRES_CATALOGUE_HPP
#define STRATA_DRIVER_POSTGRES_CATALOGUE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// How the binary form of a type is laid out.
enum class type_kind : std::uint8_t { plain, array, record, range, multirange, enumeration, domain, hstore };

/// The kind of types whose values are opened so.
[[nodiscard]] constexpr bool is_kind(nesting what, type_kind kind) noexcept {
    switch (what) {
        case nesting::array:
            return kind == type_kind::array;
        case nesting::record:
            return kind == type_kind::record;
        case nesting::range:
            return kind == type_kind::range;
        case nesting::multirange:
            return kind == type_kind::multirange;
        case nesting::pairs:
            return kind == type_kind::hstore;
    }
    return false;
}

/// A type's kind, and the type of its parts: of an array's elements, a range's bounds, a multirange's ranges; a domain's base.
struct type_shape {
    type_kind kind = type_kind::plain;
    ::Oid part = 0;
};

struct array_type {
    ::Oid array;
    ::Oid element;
    std::string_view name;
};

/// Source: pg_type.dat, as in oid.hpp.
inline constexpr array_type array_types[] = {
    {1000, oid::boolean, "boolean[]"},
    {1001, oid::bytea, "bytea[]"},
    {1002, oid::internal_char, "\"char\"[]"},
    {1003, oid::name, "name[]"},
    {1016, oid::int8, "bigint[]"},
    {1005, oid::int2, "smallint[]"},
    {1007, oid::int4, "integer[]"},
    {1008, oid::regproc, "regproc[]"},
    {1009, oid::text, "text[]"},
    {1028, oid::oid, "oid[]"},
    {1011, oid::xid, "xid[]"},
    {1012, oid::cid, "cid[]"},
    {199, oid::json, "json[]"},
    {143, oid::xml, "xml[]"},
    {651, oid::cidr, "cidr[]"},
    {1021, oid::float4, "real[]"},
    {1022, oid::float8, "double precision[]"},
    {775, oid::macaddr8, "macaddr8[]"},
    {791, oid::money, "money[]"},
    {1040, oid::macaddr, "macaddr[]"},
    {1041, oid::inet, "inet[]"},
    {1014, oid::bpchar, "character[]"},
    {1015, oid::varchar, "character varying[]"},
    {1182, oid::date, "date[]"},
    {1183, oid::time, "time without time zone[]"},
    {1115, oid::timestamp, "timestamp without time zone[]"},
    {1185, oid::timestamptz, "timestamp with time zone[]"},
    {1187, oid::interval, "interval[]"},
    {1270, oid::timetz, "time with time zone[]"},
    {1561, oid::bit, "bit[]"},
    {1563, oid::varbit, "bit varying[]"},
    {1231, oid::numeric, "numeric[]"},
    {2201, oid::refcursor, "refcursor[]"},
    {2951, oid::uuid, "uuid[]"},
    {3807, oid::jsonb, "jsonb[]"},
    {271, oid::xid8, "xid8[]"},
    {2287, oid::record, "record[]"},
    {3905, oid::int4range, "int4range[]"},
    {3907, oid::numrange, "numrange[]"},
    {3909, oid::tsrange, "tsrange[]"},
    {3911, oid::tstzrange, "tstzrange[]"},
    {3913, oid::daterange, "daterange[]"},
    {3927, oid::int8range, "int8range[]"},
    {6150, oid::int4multirange, "int4multirange[]"},
    {6151, oid::nummultirange, "nummultirange[]"},
    {6152, oid::tsmultirange, "tsmultirange[]"},
    {6153, oid::tstzmultirange, "tstzmultirange[]"},
    {6155, oid::datemultirange, "datemultirange[]"},
    {6157, oid::int8multirange, "int8multirange[]"},
};

[[nodiscard]] constexpr type_shape built_in_shape(::Oid type) noexcept {
    switch (type) {
        case oid::record:
            return {type_kind::record, 0};
        case oid::int4range:
            return {type_kind::range, oid::int4};
        case oid::numrange:
            return {type_kind::range, oid::numeric};
        case oid::tsrange:
            return {type_kind::range, oid::timestamp};
        case oid::tstzrange:
            return {type_kind::range, oid::timestamptz};
        case oid::daterange:
            return {type_kind::range, oid::date};
        case oid::int8range:
            return {type_kind::range, oid::int8};
        case oid::int4multirange:
            return {type_kind::multirange, oid::int4range};
        case oid::nummultirange:
            return {type_kind::multirange, oid::numrange};
        case oid::tsmultirange:
            return {type_kind::multirange, oid::tsrange};
        case oid::tstzmultirange:
            return {type_kind::multirange, oid::tstzrange};
        case oid::datemultirange:
            return {type_kind::multirange, oid::daterange};
        case oid::int8multirange:
            return {type_kind::multirange, oid::int8range};
        default:
            break;
    }
    for (const array_type& a : array_types)
        if (a.array == type) return {type_kind::array, a.element};
    return {};
}

/// Below are the types that every database has under the same number (FirstGenbkiObjectId in access/transam.h).
inline constexpr ::Oid first_own_type = 10000;

/// The bytes of a type whose size is fixed; -1 for one of any size.
[[nodiscard]] constexpr int fixed_size(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
        case oid::internal_char:
            return 1;
        case oid::int2:
            return 2;
        case oid::int4:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
        case oid::float4:
        case oid::date:
            return 4;
        case oid::int8:
        case oid::float8:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::time:
        case oid::xid8:
            return 8;
        default:
            return -1;
    }
}

/// A type that the database defines.
struct own_type {
    type_shape shape;
    std::string name;
    std::vector<std::string> attributes;  ///< of a composite, in their order
    std::vector<::Oid> attribute_types;
};

/// The types that one connection has met. Used by one thread at a time.
class type_catalogue {
public:
    void clear() noexcept { own_.clear(); }
    [[nodiscard]] bool knows(::Oid type) const { return type < first_own_type || own_.count(type) != 0; }

    [[nodiscard]] type_shape shape(::Oid type) const noexcept {
        if (type < first_own_type) return built_in_shape(type);
        const own_type* const own = find(type);
        return own != nullptr ? own->shape : type_shape{};
    }
    /// A domain's base, which may be a domain itself; any other type is its own.
    [[nodiscard]] ::Oid base(::Oid type) const noexcept {
        for (int depth = 0; type >= first_own_type && depth < 64; ++depth) {
            const type_shape s = shape(type);
            if (s.kind != type_kind::domain) break;
            type = s.part;
        }
        return type;
    }
    [[nodiscard]] const own_type* find(::Oid type) const noexcept {
        const auto at = own_.find(type);
        return at != own_.end() ? &at->second : nullptr;
    }
    [[nodiscard]] std::string_view name(::Oid type) const noexcept {
        if (type >= first_own_type) {
            const own_type* const own = find(type);
            return own != nullptr ? std::string_view{own->name} : std::string_view{};
        }
        for (const array_type& a : array_types)
            if (a.array == type) return a.name;
        return type_name(type);
    }
    [[nodiscard]] own_type& put(::Oid type) { return own_[type]; }

    /// Those types of a description's columns and parameters that are still to be looked up, as the text of an array; empty: none.
    [[nodiscard]] STRATA_COLD std::string unknown_in(const PGresult* description) const {
        std::string unknown;
        const int columns = ::PQnfields(description);
        for (int i = 0, n = columns + ::PQnparams(description); i < n; ++i) {
            const ::Oid type = i < columns ? ::PQftype(description, i) : ::PQparamtype(description, i - columns);
            if (!knows(type)) unknown.append(unknown.empty() ? "{" : ",").append(std::to_string(type));
        }
        return unknown.empty() ? unknown : unknown + '}';
    }
    /// The statement that looks types up, `$1` being their numbers, and all that they are made of. Multiranges came with PostgreSQL 14.
    [[nodiscard]] STRATA_COLD static std::string question(int server_version) {
        const bool multiranges = server_version >= 140000;
        std::string q =
            "with recursive t(oid) as (select pg_catalog.unnest($1::pg_catalog.oid[]) union select d.oid from t "
            "join pg_catalog.pg_type p on p.oid = t.oid, lateral ("
            "select p.typelem where p.typcategory = 'A' union all select p.typbasetype where p.typtype = 'd' union all "
            "select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid union all ";
        if (multiranges) q += "select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid union all ";
        q += "select a.atttypid from pg_catalog.pg_attribute a where p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 "
             "and not a.attisdropped) d(oid) where d.oid >= 10000) "
             "select p.oid, case when p.typtype = 'b' and p.typcategory = 'A' and p.typlen = -1 and p.typelem <> 0 then 'a' "
             "when p.typtype = 'b' and p.typname = 'hstore' and p.typsend::pg_catalog.text like '%hstore_send' then 'h' "
             "else p.typtype end, case p.typtype when 'b' then p.typelem when 'd' then p.typbasetype when 'r' then "
             "(select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid) ";
        if (multiranges) q += "when 'm' then (select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid) ";
        q += "else 0 end, pg_catalog.format_type(p.oid, null), a.attname, a.atttypid from t join pg_catalog.pg_type p on p.oid = t.oid "
             "left join pg_catalog.pg_attribute a on p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 and not a.attisdropped "
             "order by p.oid, a.attnum";
        return q;
    }
    /// Takes the answer, which is in text.
    STRATA_COLD void learn(const PGresult* answer) {
        const auto number = [answer](int row, int column) {
            return static_cast<::Oid>(std::strtoul(::PQgetvalue(answer, row, column), nullptr, 10));
        };
        ::Oid last = 0;
        for (int i = 0; i < ::PQntuples(answer); ++i) {
            const ::Oid type = number(i, 0);
            own_type& t = own_[type];
            if (type != last) {
                t = {};
                t.shape = {kind_of(*::PQgetvalue(answer, i, 1)), number(i, 2)};
                t.name = ::PQgetvalue(answer, i, 3);
            }
            last = type;
            if (::PQgetisnull(answer, i, 4) != 0) continue;
            t.attributes.emplace_back(::PQgetvalue(answer, i, 4));
            t.attribute_types.push_back(number(i, 5));
        }
    }

private:
    [[nodiscard]] static constexpr type_kind kind_of(char letter) noexcept {
        switch (letter) {
            case 'a':
                return type_kind::array;
            case 'c':
                return type_kind::record;
            case 'd':
                return type_kind::domain;
            case 'e':
                return type_kind::enumeration;
            case 'h':
                return type_kind::hstore;
            case 'm':
                return type_kind::multirange;
            case 'r':
                return type_kind::range;
            default:
                return type_kind::plain;
        }
    }

    std::unordered_map<::Oid, own_type> own_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// A statement on its way to being prepared: asked for over several steps, since each question waits for its answer.
//
//   the numbers of the types that arguments name; room in the cache; the text; its description; the types in it that are new
//
// Where nothing is prepared on the server it ends after the first.
#ifndef STRATA_DRIVER_POSTGRES_PREPARATION_HPP
#define STRATA_DRIVER_POSTGRES_PREPARATION_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What is prepared.
struct to_prepare {
    const descriptor* what = nullptr;
    hash128 key{};
    bool typed = false;  // arguments name types
    bool kept = true;    // prepared on the server
    bool in_transaction = false;
};

/// Of one connection; one statement at a time.
class postgres_preparation {
public:
    /// Parameter `index` has a type that an argument names; `first`: of the statement.
    void want_type(std::size_t index, std::string_view type, bool first) {
        if (first) wanted_.clear();
        wanted_.emplace_back(index, type);
    }
    /// By number, in the order of the parameters; those of a statement whose arguments name types.
    [[nodiscard]] const std::vector<::Oid>& parameter_types() const noexcept { return numbers_; }
    void set_parameter_types(const std::vector<::Oid>& types) { numbers_ = types; }

    void begin(const to_prepare& p) noexcept {
        now_ = p;
        at_ = stage::ask_types;
        replaced_ = false;
    }
    /// `io`, `work`, `done` with the statement in `entry` where it is kept, or `failed` with the error in `e`.
    [[nodiscard]] signal step(postgres_wire& w, prepared_statements& cache, type_catalogue& types, error& e, prepared_statement*& entry);

    void clear() noexcept {
        description_.reset();
        suffix_ = 0;
    }
    /// On a session that was ours before, where our names may stand for what was prepared then.
    void use_other_names() noexcept {
        static std::atomic<std::uint32_t> sessions{0};
        suffix_ = (sessions.fetch_add(1, std::memory_order_relaxed) + 1) << 16;
    }

private:
    enum class stage : std::uint8_t { ask_types, make_room, prepare, describe, learn, finish };

    [[nodiscard]] const ::Oid* types_to_send() const noexcept { return now_.typed ? numbers_.data() : nullptr; }
    /// What the round left; none when it went well.
    [[nodiscard]] error failure_of(postgres_wire& w) const;
    void ask_types(postgres_wire& w) const;
    void ask_catalogue(postgres_wire& w, const type_catalogue& types) const;
    [[nodiscard]] std::string name() const {
        std::string n = "strata_";
        for (const std::uint64_t half : {now_.key.high, now_.key.low})
            for (int shift = 60; shift >= 0; shift -= 4) n += "0123456789abcdef"[half >> shift & 15];
        if (suffix_ != 0) n.append("_").append(std::to_string(suffix_));
        return n;
    }
    [[nodiscard]] bool put(prepared_statements& cache, error& e, prepared_statement*& entry);

    to_prepare now_;
    stage at_ = stage::ask_types;
    bool replaced_ = false;
    std::uint32_t suffix_ = 0;
    result_owner description_;
    std::vector<std::pair<std::size_t, std::string_view>> wanted_;
    std::vector<::Oid> numbers_;
};

STRATA_COLD inline signal postgres_preparation::step(postgres_wire& w, prepared_statements& cache, type_catalogue& types, error& e,
                                                     prepared_statement*& entry) {
    PGconn* const db = w.db_;
    for (;;) {
        if (w.round_.under_way) {
            const signal s = w.hear();
            if (s == signal::io || s == signal::work) return s;
            e = failure_of(w);
            // A statement of this name is there if another text fell to the same hash, or after a renewal.
            if (e && at_ == stage::describe && e.texts().native_code == "42P05" && !now_.in_transaction &&
                !std::exchange(replaced_, true)) {
                e = {};
                at_ = stage::prepare;
                w.ask(::PQsendQuery(db, joined({"deallocate \"", name(), "\""}).c_str()));
                continue;
            }
            if (e) {
                // What was cut short may be there or not, under its name: the next one gets another.
                if (at_ != stage::describe || !w.round_.failed) ++suffix_;
                return signal::failed;
            }
        }
        switch (at_) {
            case stage::ask_types:
                at_ = stage::make_room;
                if (now_.typed) ask_types(w);
                break;
            case stage::make_room:
                if (now_.typed) {
                    // They are asked for each time: a type may be made anew under its name.
                    numbers_.assign(now_.what->parameters, 0);
                    for (std::size_t i = 0; i < wanted_.size(); ++i)
                        numbers_[wanted_[i].first] =
                            static_cast<::Oid>(std::strtoul(::PQgetvalue(w.round_.last.get(), 0, static_cast<int>(i)), nullptr, 10));
                }
                if (!now_.kept) return signal::done;
                at_ = stage::prepare;
                if (const std::string old = cache.evict(); !old.empty())
                    w.ask(::PQsendQuery(db, joined({"deallocate \"", old, "\""}).c_str()));
                break;
            case stage::prepare:
                at_ = stage::describe;
                w.ask(::PQsendPrepare(db, name().c_str(), std::string{now_.what->postgres_text}.c_str(),
                                      now_.typed ? static_cast<int>(numbers_.size()) : 0, types_to_send()));
                break;
            case stage::describe:
                at_ = stage::learn;
                w.ask(::PQsendDescribePrepared(db, name().c_str()));
                break;
            case stage::learn:
                at_ = stage::finish;
                description_ = std::move(w.round_.last);
                ask_catalogue(w, types);
                break;
            case stage::finish:
                if (w.round_.last != nullptr) types.learn(w.round_.last.get());
                w.round_.last.reset();
                return put(cache, e, entry) ? signal::done : signal::failed;
        }
    }
}

STRATA_COLD inline error postgres_preparation::failure_of(postgres_wire& w) const {
    error e;
    if (w.round_.failed) {
        e = w.error_of(w.round_.last.get(), phase::prepare, now_.what->text, now_.what->postgres_text);
        if (w.round_.was_hit) e.set(w.ended_by_);
    } else if (w.lost_) {
        e = w.lost_error(phase::prepare, now_.in_transaction ? effect::rolled_back : effect::none);
    } else if (w.ended_by_ != errc::ok) {
        e = error{w.ended_by_, phase::prepare};
    }
    if (w.lost_) e.set_lost();
    return e;
}

STRATA_COLD inline void postgres_preparation::ask_types(postgres_wire& w) const {
    std::string question = "select";
    std::vector<std::string> names;
    std::vector<const char*> values;
    for (const auto& [index, type] : wanted_) {
        names.emplace_back(type);
        question += joined({names.size() == 1 ? " $" : ", $", digits_of(names.size())});
        question += "::pg_catalog.text::pg_catalog.regtype::pg_catalog.oid";
    }
    for (const std::string& n : names) values.push_back(n.c_str());
    w.ask(::PQsendQueryParams(w.db_, question.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0));
}

/// For those types of columns and parameters that the database defines and the connection has not met.
STRATA_COLD inline void postgres_preparation::ask_catalogue(postgres_wire& w, const type_catalogue& types) const {
    const std::string unknown = types.unknown_in(description_.get());
    if (unknown.empty()) return;
    const char* const values[] = {unknown.c_str()};
    const std::string question = type_catalogue::question(::PQserverVersion(w.db_));
    w.ask(::PQsendQueryParams(w.db_, question.c_str(), 1, nullptr, values, nullptr, nullptr, 0));
}

STRATA_COLD inline bool postgres_preparation::put(prepared_statements& cache, error& e, prepared_statement*& entry) {
    const std::string called = name();
    const int count = ::PQnparams(description_.get());
    std::vector<::Oid> parameters;
    for (int i = 0; i < count; ++i) parameters.push_back(::PQparamtype(description_.get(), i));
    prepared_statement& s = cache.put(now_.key, now_.what->postgres_text);
    s.name[called.copy(s.name, sizeof s.name - 1)] = '\0';
    s.parameters = std::move(parameters);
    s.columns = std::move(description_);
    entry = &s;
    if (count == now_.what->parameters) return true;
    e = error{errc::invalid_statement,
              joined({"the server counts ", digits_of(count), " parameters where ", digits_of(int{now_.what->parameters}), " are bound"}),
              phase::prepare};
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Digits to numbers and back, for the texts of timestamps and uuids: without locale, format or streams.
#ifndef STRATA_VALUE_DIGITS_HPP
#define STRATA_VALUE_DIGITS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// 128 bits where arithmetic must not overflow; not part of ISO C++, hence the keyword.
__extension__ using int128 = __int128;
__extension__ using uint128 = unsigned __int128;

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Takes exactly `count` digits off the front; false when they are not there.
[[nodiscard]] constexpr bool take_digits(std::string_view& text, std::size_t count, int& out) noexcept {
    if (text.size() < count) return false;
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (!is_digit(text[i])) return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    out = value;
    return true;
}

[[nodiscard]] constexpr bool take_char(std::string_view& text, char c) noexcept {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

/// Writes `count` digits of `value`, with leading zeros; returns the end.
constexpr char* put_digits(char* at, int value, std::size_t count) noexcept {
    for (std::size_t i = count; i > 0; --i) {
        at[i - 1] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// PostgreSQL's binary values as text: numbers, dates, addresses, exactly and in a form that the server itself reads.
//
// So every codec that reads text (decimal, uuid, chrono, std::string) reads these types, without another round trip.
#ifndef STRATA_DRIVER_POSTGRES_TEXT_HPP
#define STRATA_DRIVER_POSTGRES_TEXT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Reads big-endian numbers off the front of a value. What is too short reads as zero and is remembered.
class wire_reader {
public:
    explicit wire_reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

    template <class Int>
    Int take() noexcept {
        if (rest_.size() < sizeof(Int)) {
            rest_ = {};
            short_ = true;
            return 0;
        }
        std::make_unsigned_t<Int> n = 0;
        for (std::size_t i = 0; i < sizeof(Int); ++i)
            n = static_cast<std::make_unsigned_t<Int>>(static_cast<std::uint64_t>(n) << 8 | std::to_integer<std::uint64_t>(rest_[i]));
        rest_ = rest_.subspan(sizeof(Int));
        return static_cast<Int>(n);
    }
    /// The next `size` bytes; none, and remembered, where there are fewer.
    std::span<const std::byte> take_bytes(std::size_t size) noexcept {
        if (rest_.size() < size) {
            rest_ = {};
            short_ = true;
            return {};
        }
        const std::span<const std::byte> taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
    /// Everything was there and nothing is left.
    [[nodiscard]] bool complete() const noexcept { return !short_ && rest_.empty(); }
    [[nodiscard]] bool is_short() const noexcept { return short_; }

private:
    std::span<const std::byte> rest_;
    bool short_ = false;
};

inline void append_padded(std::string& out, std::uint64_t n, std::size_t width) {
    char digits[20];
    std::size_t at = sizeof digits;
    do digits[--at] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    while (sizeof digits - at < width) digits[--at] = '0';
    out.append(digits + at, sizeof digits - at);
}

inline void append_hex(std::string& out, std::span<const std::byte> bytes) {
    constexpr char hex[] = "0123456789abcdef";
    for (const std::byte b : bytes) {
        out += hex[std::to_integer<unsigned>(b) >> 4];
        out += hex[std::to_integer<unsigned>(b) & 15];
    }
}

/// Digits in groups of four, with the weight of the first group (src/backend/utils/adt/numeric.c, numeric_send).
[[nodiscard]] inline bool print_numeric(wire_reader in, std::string& out) {
    const auto groups = in.take<std::uint16_t>();
    const auto weight = in.take<std::int16_t>();
    const auto sign = in.take<std::uint16_t>();
    const auto scale = in.take<std::uint16_t>();
    if (in.is_short()) return false;
    switch (sign) {
        case 0xC000:
            out = "NaN";
            return true;
        case 0xD000:
            out = "Infinity";
            return true;
        case 0xF000:
            out = "-Infinity";
            return true;
        default:
            break;
    }
    if (in.rest().size() != 2u * groups) return false;
    const std::span<const std::byte> digits = in.rest();
    const auto group = [&](int position) -> std::uint64_t {  // the one with weight `position`
        const int i = weight - position;
        if (i < 0 || i >= groups) return 0;
        return std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i)]) << 8 |
               std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i) + 1]);
    };
    out.clear();
    if (sign == 0x4000) out += '-';
    if (weight < 0) out += '0';
    for (int p = weight; p >= 0; --p) append_padded(out, group(p), p == weight ? 1 : 4);
    if (scale == 0) return true;
    out += '.';
    const std::size_t end = out.size() + scale;
    for (int p = -1; out.size() < end; --p) append_padded(out, group(p), 4);
    out.resize(end);
    return true;
}

inline constexpr std::int64_t microseconds_a_day = 86'400'000'000;

/// `YYYY-MM-DD`; false for a year before 1, of which the caller appends " BC".
inline bool append_date(std::string& out, std::int64_t days_since_2000) {
    using namespace std::chrono;
    // The civil calendar by hand: std::chrono::year ends at 32767, PostgreSQL's at 5874897. (Howard Hinnant's algorithm,
    // chrono-Compatible Low-Level Date Algorithms.)
    const std::int64_t z = days_since_2000 + 10957 + 719468;
    const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const std::int64_t doe = z - era * 146097;
    const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const std::int64_t mp = (5 * doy + 2) / 153;
    const std::int64_t month = mp < 10 ? mp + 3 : mp - 9;
    const std::int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    append_padded(out, static_cast<std::uint64_t>(year > 0 ? year : 1 - year), 4);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(month), 2);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(doy - (153 * mp + 2) / 5 + 1), 2);
    return year > 0;
}

/// `HH:MM:SS`, and the fraction without the zeros at its end.
inline void append_time(std::string& out, std::int64_t us) {
    append_padded(out, static_cast<std::uint64_t>(us / 3'600'000'000), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 60'000'000 % 60), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 1'000'000 % 60), 2);
    if (const std::int64_t fraction = us % 1'000'000; fraction != 0) {
        out += '.';
        append_padded(out, static_cast<std::uint64_t>(fraction), 6);
        while (out.back() == '0') out.pop_back();
    }
}

/// Date and time of microseconds since 2000.
inline void append_timestamp(std::string& out, std::int64_t us, bool zone) {
    const std::int64_t days = us / microseconds_a_day - (us % microseconds_a_day < 0 ? 1 : 0);
    const bool after_christ = append_date(out, days);
    out += ' ';
    const std::int64_t rest = us % microseconds_a_day;
    append_time(out, rest < 0 ? rest + microseconds_a_day : rest);
    if (zone) out += "+00";
    if (!after_christ) out += " BC";
}

[[nodiscard]] inline bool print_date(wire_reader in, std::string& out) {
    const auto days = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out.clear();
    if (days == std::numeric_limits<std::int32_t>::max())
        out = "infinity";
    else if (days == std::numeric_limits<std::int32_t>::min())
        out = "-infinity";
    else if (!append_date(out, days))
        out += " BC";
    return true;
}

[[nodiscard]] inline bool print_timestamp(wire_reader in, bool zone, std::string& out) {
    const auto us = in.take<std::int64_t>();
    if (!in.complete()) return false;
    out.clear();
    if (us == std::numeric_limits<std::int64_t>::max()) {
        out = "infinity";
        return true;
    }
    if (us == std::numeric_limits<std::int64_t>::min()) {
        out = "-infinity";
        return true;
    }
    append_timestamp(out, us, zone);
    return true;
}

[[nodiscard]] inline bool print_timetz(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto west = in.take<std::int32_t>();
    if (!in.complete() || us < 0) return false;
    out.clear();
    append_time(out, us);
    const auto offset = static_cast<std::uint64_t>(west < 0 ? -std::int64_t{west} : std::int64_t{west});
    out += west > 0 ? '-' : '+';
    append_padded(out, offset / 3600, 2);
    if (offset % 3600 != 0) {
        out += ':';
        append_padded(out, offset / 60 % 60, 2);
        if (offset % 60 != 0) {
            out += ':';
            append_padded(out, offset % 60, 2);
        }
    }
    return true;
}

/// ISO 8601 with designators, each part with its own sign: `P1Y2M-3DT4H5M6.5S`.
[[nodiscard]] inline bool print_interval(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto days = in.take<std::int32_t>();
    const auto months = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out = "P";
    const auto part = [&out](std::int64_t n, char unit) {
        if (n == 0) return;
        if (n < 0) out += '-';
        append_padded(out, n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n), 1);
        out += unit;
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if (us != 0) {
        out += 'T';
        part(us / 3'600'000'000, 'H');
        part(us / 60'000'000 % 60, 'M');
        if (const std::int64_t rest = us % 60'000'000; rest != 0) {
            if (rest < 0) out += '-';
            const auto size = static_cast<std::uint64_t>(rest < 0 ? -rest : rest);
            append_padded(out, size / 1'000'000, 1);
            if (size % 1'000'000 != 0) {
                out += '.';
                append_padded(out, size % 1'000'000, 6);
                while (out.back() == '0') out.pop_back();
            }
            out += 'S';
        }
    }
    if (out.size() == 1) out += "T0S";
    return true;
}

[[nodiscard]] inline bool print_uuid(std::span<const std::byte> bytes, std::string& out) {
    if (bytes.size() != 16) return false;
    out.clear();
    std::size_t at = 0;
    for (const std::size_t size : {4u, 2u, 2u, 2u, 6u}) {
        if (at != 0) out += '-';
        append_hex(out, bytes.subspan(at, size));
        at += size;
    }
    return true;
}

/// The longest run of zero groups becomes `::`, as in RFC 5952.
inline void append_ipv6(std::string& out, std::span<const std::byte> bytes) {
    std::uint16_t groups[8];
    wire_reader in{bytes};
    for (std::uint16_t& g : groups) g = in.take<std::uint16_t>();
    int best = -1, length = 1;
    for (int i = 0; i < 8;) {
        int n = 0;
        while (i + n < 8 && groups[i + n] == 0) ++n;
        if (n > length) best = i, length = n;
        i += n != 0 ? n : 1;
    }
    for (int i = 0; i < 8; ++i) {
        if (i == best) {
            out += "::";
            i += length - 1;
            continue;
        }
        if (i != 0 && out.back() != ':') out += ':';
        char digits[4];
        int n = 0;
        for (std::uint16_t g = groups[i]; n == 0 || g != 0; g = static_cast<std::uint16_t>(g >> 4))
            digits[n++] = "0123456789abcdef"[g & 15];
        while (n > 0) out += digits[--n];
    }
}

[[nodiscard]] inline bool print_inet(wire_reader in, std::string& out) {
    const auto family = in.take<std::uint8_t>();
    const auto bits = in.take<std::uint8_t>();
    const auto is_cidr = in.take<std::uint8_t>();
    const auto size = in.take<std::uint8_t>();
    const std::span<const std::byte> address = in.rest();
    if (in.is_short() || address.size() != size || (size != 4 && size != 16) || family != (size == 4 ? 2 : 3)) return false;
    out.clear();
    if (size == 4) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != 0) out += '.';
            append_padded(out, std::to_integer<std::uint64_t>(address[i]), 1);
        }
    } else {
        append_ipv6(out, address);
    }
    if (is_cidr != 0 || bits != 8 * size) {
        out += '/';
        append_padded(out, bits, 1);
    }
    return true;
}

[[nodiscard]] inline bool print_mac(std::span<const std::byte> bytes, std::size_t size, std::string& out) {
    if (bytes.size() != size) return false;
    out.clear();
    for (std::size_t i = 0; i < size; ++i) {
        if (i != 0) out += ':';
        append_hex(out, bytes.subspan(i, 1));
    }
    return true;
}

[[nodiscard]] inline bool print_bits(wire_reader in, std::string& out) {
    const auto count = in.take<std::int32_t>();
    const std::span<const std::byte> bytes = in.rest();
    if (in.is_short() || count < 0 || bytes.size() != (static_cast<std::size_t>(count) + 7) / 8) return false;
    out.clear();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        out += (std::to_integer<unsigned>(bytes[i / 8]) >> (7 - i % 8) & 1) != 0 ? '1' : '0';
    return true;
}

/// A value of a type that `class_of` calls text and `is_plain_text` does not, as text. False when the bytes are not of that type.
[[nodiscard]] inline bool print_value(::Oid type, std::span<const std::byte> bytes, std::string& out) {
    const wire_reader in{bytes};
    switch (type) {
        case oid::numeric:
            return print_numeric(in, out);
        case oid::uuid:
            return print_uuid(bytes, out);
        case oid::date:
            return print_date(in, out);
        case oid::timestamp:
            return print_timestamp(in, false, out);
        case oid::timestamptz:
            return print_timestamp(in, true, out);
        case oid::timetz:
            return print_timetz(in, out);
        case oid::interval:
            return print_interval(in, out);
        case oid::inet:
        case oid::cidr:
            return print_inet(in, out);
        case oid::macaddr:
            return print_mac(bytes, 6, out);
        case oid::macaddr8:
            return print_mac(bytes, 8, out);
        case oid::bit:
        case oid::varbit:
            return print_bits(in, out);
        case oid::time: {
            wire_reader r = in;
            const auto us = r.take<std::int64_t>();
            if (!r.complete() || us < 0) return false;
            out.clear();
            append_time(out, us);
            return true;
        }
        case oid::xid8: {
            wire_reader r = in;
            const auto id = r.take<std::uint64_t>();
            out.clear();
            append_padded(out, id, 1);
            return r.complete();
        }
        default:
            return false;
    }
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// A row of a result in binary form, as codecs read it.
#ifndef STRATA_DRIVER_POSTGRES_READER_HPP
#define STRATA_DRIVER_POSTGRES_READER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Int>
[[nodiscard]] STRATA_INLINE Int big_endian(const char* p) noexcept {
    std::make_unsigned_t<Int> n;
    std::memcpy(&n, p, sizeof n);
    if constexpr (std::endian::native == std::endian::little) {
        if constexpr (sizeof n == 2)
            n = __builtin_bswap16(n);
        else if constexpr (sizeof n == 4)
            n = __builtin_bswap32(n);
        else if constexpr (sizeof n == 8)
            n = __builtin_bswap64(n);
    }
    return static_cast<Int>(n);
}

/// What reading a connection's rows needs: the types that its database defines, and texts that were made of binary values, one a
/// column, which live until the next row.
struct reading_memory {
    type_catalogue types;
    std::vector<std::string> texts;
};

}  // namespace detail

class postgres_parts;

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class postgres_column {
public:
    postgres_column(const PGresult* r, int row, int column, detail::reading_memory& memory) noexcept
        : type_(::PQftype(r, column)), column_(column), data_(::PQgetvalue(r, row, column)), size_(::PQgetlength(r, row, column)),
          null_(size_ == 0 && ::PQgetisnull(r, row, column) != 0), memory_(memory) {}
    /// A part of a value in column `column`; no bytes: NULL.
    postgres_column(::Oid type, std::optional<std::span<const std::byte>> bytes, int column, detail::reading_memory& memory) noexcept
        : type_(type), column_(column), data_(bytes ? reinterpret_cast<const char*>(bytes->data()) : nullptr),
          size_(bytes ? static_cast<int>(bytes->size()) : 0), null_(!bytes), memory_(memory) {}

    [[nodiscard]] column_type type() const noexcept {
        if (null_) return column_type::null;
        const column_type c = detail::class_of(type_);
        return c == column_type::other && is_enum() ? column_type::text : c;
    }
    /// The number of the server's type.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    /// The value as it came.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {reinterpret_cast<const std::byte*>(data_), static_cast<std::size_t>(size_)};
    }

    [[nodiscard]] bool boolean() const noexcept { return size_ == 1 && data_[0] != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept {
        switch (size_) {
            case 2:
                return detail::big_endian<std::int16_t>(data_);
            case 8:
                return detail::big_endian<std::int64_t>(data_);
            case 4:
                break;
            default:
                return 0;  // no integer
        }
        // oid, xid and their like have no sign
        return type_ == oid::int4 ? detail::big_endian<std::int32_t>(data_) : std::int64_t{detail::big_endian<std::uint32_t>(data_)};
    }
    [[nodiscard]] double real() const noexcept {
        if (size_ == 4) return std::bit_cast<float>(detail::big_endian<std::uint32_t>(data_));
        if (size_ != 8) return 0;  // no real
        return std::bit_cast<double>(detail::big_endian<std::uint64_t>(data_));
    }
    [[nodiscard]] std::string_view text() const {
        if (detail::is_plain_text(type_)) [[likely]]
            return {data_, static_cast<std::size_t>(size_)};
        if (type_ == oid::jsonb) return {data_ + 1, size_ > 0 ? static_cast<std::size_t>(size_) - 1 : 0};  // a version byte goes first
        if (is_enum()) return {data_, static_cast<std::size_t>(size_)};
        if (memory_.texts.size() <= static_cast<std::size_t>(column_)) memory_.texts.resize(static_cast<std::size_t>(column_) + 1);
        std::string& out = memory_.texts[static_cast<std::size_t>(column_)];
        if (!detail::print_value(type_, bytes(), out)) out.clear();
        return out;
    }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return bytes(); }

    /// A timestamp, with or without zone, as a point of time; nothing for another type, NULL or an infinity. One without zone is
    /// taken for UTC.
    [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::microseconds>> timestamp() const noexcept {
        if (null_ || size_ != 8 || (type_ != oid::timestamptz && type_ != oid::timestamp)) return std::nullopt;
        const auto us = detail::big_endian<std::int64_t>(data_);
        constexpr std::int64_t from_1970 = 946'684'800'000'000;  // 1970 to 2000
        if (us == std::numeric_limits<std::int64_t>::min() || us > std::numeric_limits<std::int64_t>::max() - from_1970)
            return std::nullopt;
        return std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{us + from_1970}};
    }

    /// The parts of an array, record, range ...; see `nested_reader`.
    [[nodiscard]] postgres_parts open(nesting what) const noexcept;

private:
    [[nodiscard]] bool is_enum() const noexcept {
        return type_ >= detail::first_own_type && memory_.types.shape(type_).kind == detail::type_kind::enumeration;
    }

    ::Oid type_;
    int column_;
    const char* data_;
    int size_;
    bool null_;
    detail::reading_memory& memory_;
};

/// The parts of a value that holds values. All that the bytes say is checked before it is believed. Parts live as long as the row.
class postgres_parts {
public:
    /// Not a value of this kind, or no sound header: not `ok()`.
    postgres_parts(nesting what, ::Oid type, std::span<const std::byte> bytes, int column, detail::reading_memory& memory) noexcept
        : what_(what), type_(type), in_(bytes), column_(column), memory_(memory) {
        const detail::type_shape shape = memory.types.shape(type);
        part_ = shape.part;
        ok_ = begin(shape.kind) && !in_.is_short();
        if (!ok_) left_ = 0;
    }

    /// Sound so far; after the last part, also that nothing is left over.
    [[nodiscard]] bool ok() const noexcept { return ok_ && (left_ > 0 || in_.complete()); }
    /// Parts that are still to come.
    [[nodiscard]] std::size_t size() const noexcept { return left_; }
    [[nodiscard]] std::span<const array_dimension> dimensions() const noexcept { return {dimensions_, dimension_count_}; }
    [[nodiscard]] std::uint8_t flags() const noexcept { return flags_; }
    /// Of the next part of a composite; empty for an anonymous record.
    [[nodiscard]] std::string_view part_name() const noexcept {
        const detail::own_type* const own = memory_.types.find(type_);
        return own != nullptr && taken_ < own->attributes.size() ? std::string_view{own->attributes[taken_]} : std::string_view{};
    }
    /// The next part; when there is none, or its bytes are not there, one that nothing reads, and `ok()` is false.
    [[nodiscard]] postgres_column next() noexcept {
        if (!ok_ || left_ == 0) return unsound();
        --left_;
        ++taken_;
        if (what_ == nesting::record) part_ = in_.take<std::uint32_t>();
        const auto size = in_.take<std::int32_t>();
        const ::Oid type = memory_.types.base(part_);
        if (size == -1 && what_ != nesting::range && what_ != nesting::multirange && !in_.is_short())
            return {type, std::nullopt, column_, memory_};
        if (size < 0) return unsound();
        const std::span<const std::byte> bytes = in_.take_bytes(static_cast<std::size_t>(size));
        const int fixed = detail::fixed_size(type);
        if (in_.is_short() || (fixed >= 0 && size != fixed)) return unsound();
        return {type, bytes, column_, memory_};
    }

private:
    [[nodiscard]] postgres_column unsound() noexcept {
        ok_ = false;
        left_ = 0;
        return {0, std::span<const std::byte>{}, column_, memory_};
    }
    /// Reads the header; false when it is none.
    [[nodiscard]] bool begin(detail::type_kind kind) noexcept {
        if (!detail::is_kind(what_, kind)) return false;
        switch (what_) {
            case nesting::array:
                return begin_array();
            case nesting::record:
                return count(8);
            case nesting::range:
                flags_ = in_.take<std::uint8_t>();
                if ((flags_ & range_flag::empty) != 0) return true;
                for (const std::uint8_t missing : {range_flag::lower_infinite, range_flag::upper_infinite})
                    if ((flags_ & missing) == 0) ++left_;
                return true;
            case nesting::multirange:
                return count(4);
            case nesting::pairs:
                if (!count(8)) return false;
                left_ *= 2;
                part_ = oid::text;
                return true;
        }
        return false;
    }
    /// Takes the number of parts, each of which has at least `least` bytes.
    [[nodiscard]] bool count(std::size_t least) noexcept {
        const auto n = in_.take<std::int32_t>();
        if (n < 0 || static_cast<std::size_t>(n) > in_.rest().size() / least) return false;
        left_ = static_cast<std::size_t>(n);
        return true;
    }
    [[nodiscard]] bool begin_array() noexcept {
        const auto n = in_.take<std::int32_t>();
        static_cast<void>(in_.take<std::int32_t>());  // whether there are NULLs: each part says so itself
        part_ = in_.take<std::uint32_t>();
        if (n < 0 || n > most_dimensions) return false;
        std::uint64_t product = n == 0 ? 0 : 1;
        for (; dimension_count_ < static_cast<std::size_t>(n); ++dimension_count_) {
            const auto size = in_.take<std::int32_t>();
            const auto lower = in_.take<std::int32_t>();
            if (size < 0 || __builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product)) return false;
            dimensions_[dimension_count_] = {size, lower};
        }
        if (product > in_.rest().size() / 4) return false;  // each element has a length
        left_ = static_cast<std::size_t>(product);
        return true;
    }

    static constexpr int most_dimensions = 6;  // MAXDIM of the server

    nesting what_;
    ::Oid type_;
    ::Oid part_ = 0;
    detail::wire_reader in_;
    int column_;
    detail::reading_memory& memory_;
    std::size_t left_ = 0;
    std::size_t taken_ = 0;
    array_dimension dimensions_[most_dimensions];
    std::size_t dimension_count_ = 0;
    std::uint8_t flags_ = 0;
    bool ok_ = false;
};

inline postgres_parts postgres_column::open(nesting what) const noexcept {
    return {what, type_, bytes(), column_, memory_};
}

/// The type of a column, or of a part of its values; models `nested_type`.
class postgres_type {
public:
    postgres_type(::Oid type, const detail::type_catalogue& types) noexcept : type_(types.base(type)), types_(&types) {}

    [[nodiscard]] column_type type() const noexcept {
        const column_type c = detail::class_of(type_);
        return c == column_type::other && kind() == detail::type_kind::enumeration ? column_type::text : c;
    }
    /// The number of the server's type; of a domain, of its base.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    [[nodiscard]] bool is(nesting what) const noexcept { return detail::is_kind(what, kind()); }
    [[nodiscard]] postgres_type part() const noexcept {
        return {kind() == detail::type_kind::hstore ? ::Oid{oid::text} : types_->shape(type_).part, *types_};
    }
    [[nodiscard]] int parts() const noexcept {
        const detail::own_type* const own = types_->find(type_);
        return own != nullptr ? static_cast<int>(own->attributes.size()) : -1;
    }
    [[nodiscard]] postgres_type part(int i) const noexcept {
        return {types_->find(type_)->attribute_types[static_cast<std::size_t>(i)], *types_};
    }
    [[nodiscard]] std::string_view part_name(int i) const noexcept { return types_->find(type_)->attributes[static_cast<std::size_t>(i)]; }

private:
    [[nodiscard]] detail::type_kind kind() const noexcept { return types_->shape(type_).kind; }

    ::Oid type_;
    const detail::type_catalogue* types_;
};

/// A row of a result, or with row -1 only its columns; models `row_reader`.
class postgres_row {
public:
    postgres_row(const PGresult* r, int row, detail::reading_memory& memory) noexcept : result_(r), row_(row), memory_(memory) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(result_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(result_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return memory_.types.name(::PQftype(result_, i)); }
    /// The class of all values of a column, and its type in full.
    [[nodiscard]] column_type static_type(int i) const noexcept { return type_of(i).type(); }
    [[nodiscard]] postgres_type type_of(int i) const noexcept { return {::PQftype(result_, i), memory_.types}; }
    [[nodiscard]] postgres_column column(int i) const noexcept { return {result_, row_, i, memory_}; }

private:
    const PGresult* result_;
    int row_;
    detail::reading_memory& memory_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// `statement_timeout`: what the server is told of a call's deadline, for a client that dies or is cut off cancels nothing.
//
// The time that is left is rounded up to the next power of two of milliseconds, so that calls of one kind ask for one value, and it is sent
// only when it differs from what is in force: outside of a transaction for the session, inside for the rest of the transaction, since
// the server takes back with a transaction what was set in it. COMMIT has no such limit: the server stops its clock before.
#ifndef STRATA_DRIVER_POSTGRES_SERVER_LIMIT_HPP
#define STRATA_DRIVER_POSTGRES_SERVER_LIMIT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Of one connection.
class postgres_server_limit {
public:
    void reset(bool on) noexcept {
        on_ = on;
        session_ = now_ = none;
        asking_ = false;
    }
    [[nodiscard]] bool is_on() const noexcept { return on_; }
    /// A limit of ours is in force.
    [[nodiscard]] bool limits() const noexcept { return on_ && now_ > 0; }

    /// Sends what the guard's deadline asks for if that is not in force: `io` or `work` where the drive waits, `done`, or `failed`.
    [[nodiscard]] STRATA_COLD signal step(postgres_wire& w, error& e) {
        if (!asking_) {
            const PGTransactionStatusType s = ::PQtransactionStatus(w.db_);
            if (s == PQTRANS_IDLE) now_ = session_;
            asked_ = w.guard_ != nullptr && w.guard_->deadline != never ? rung(w.guard_->deadline - clock::now()) : none;
            locally_ = s != PQTRANS_IDLE;
            if (asked_ == now_ || s == PQTRANS_INERROR) return signal::done;  // a failed transaction takes nothing any more
            const std::string to = asked_ == none ? "default" : std::to_string(asked_);
            w.ask(::PQsendQuery(w.db_, joined({locally_ ? "set local" : "set", " statement_timeout to ", to}).c_str()));
            asking_ = true;
        }
        const signal s = w.hear();
        if (s == signal::io || s == signal::work) return s;
        asking_ = false;
        if (s == signal::done && w.ended_by_ == errc::ok) {
            now_ = asked_;
            if (!locally_) session_ = asked_;
            return s;
        }
        now_ = unknown;
        if (!locally_) session_ = unknown;
        if (w.round_.failed && !w.round_.was_hit)
            e = w.error_of(w.round_.last.get(), phase::prepare, {}, "set statement_timeout");
        else if (w.lost_)
            e = w.lost_error(phase::prepare, effect::none);
        else
            e = error{w.ended_by_, phase::prepare};
        if (w.lost_) e.set_lost();
        return signal::failed;
    }

    /// A transaction begins.
    void back_to_session() noexcept { now_ = session_; }
    /// Part of a transaction was rolled back.
    void forget() noexcept {
        if (on_) now_ = unknown;
    }
    /// The user runs a statement that may change what is in force.
    void look_at(statement_kind k) noexcept {
        if (k == statement_kind::transaction_control || k == statement_kind::session) forget();
        if (on_ && k == statement_kind::session) session_ = unknown;
    }

private:
    static constexpr std::int64_t none = 0;  // of ours: what the server, the role or the URL says
    static constexpr std::int64_t unknown = -1;

    /// In milliseconds; no longer than the server's own bound, an int.
    [[nodiscard]] static std::int64_t rung(duration left) noexcept {
        const std::int64_t ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(ms, 1, 1 << 30))));
    }

    bool on_ = false;
    bool asking_ = false;
    bool locally_ = false;
    std::int64_t asked_ = 0;
    std::int64_t session_ = 0;  // in force outside of transactions
    std::int64_t now_ = 0;      // in force
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Arrays, records, ranges and hstores as the texts that PostgreSQL parses, for parts that have no plain binary form.
//
// Every part is quoted, so that none can be taken for NULL or for two; a quote and a backslash get a backslash before them, which
// all these grammars understand.
#ifndef STRATA_DRIVER_POSTGRES_LITERAL_HPP
#define STRATA_DRIVER_POSTGRES_LITERAL_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

inline void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

/// One literal, part by part.
class nested_literal {
public:
    nested_literal(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags)
        : what_(what), flags_(flags), dimensions_(dimensions.begin(), dimensions.end()) {
        if (what == nesting::array) begin_array();
        if (what == nesting::record) text_ = "(";
        if (what == nesting::multirange) text_ = "{";
        if (what == nesting::range) {
            text_ = (flags & range_flag::empty) != 0 ? "empty" : (flags & range_flag::lower_included) != 0 ? "[" : "(";
            if ((flags & (range_flag::empty | range_flag::lower_infinite)) == range_flag::lower_infinite) text_ += ',';
        }
    }

    void part(std::string_view text) {
        before();
        if (what_ == nesting::multirange)
            text_ += text;  // a range, whose own bounds are quoted
        else
            append_quoted(text_, text);
        after();
    }
    void null_part() {
        before();
        if (what_ != nesting::record) text_ += "NULL";
        after();
    }
    [[nodiscard]] std::string finish() && {
        if (what_ == nesting::record) text_ += ')';
        if (what_ == nesting::multirange || (what_ == nesting::array && dimensions_.empty())) text_ += '}';
        if (what_ == nesting::range && (flags_ & range_flag::empty) == 0) text_ += (flags_ & range_flag::upper_included) != 0 ? ']' : ')';
        return std::move(text_);
    }

private:
    void begin_array() {
        if (dimensions_.empty()) text_ = "{";
        bool usual = true;
        for (const array_dimension& d : dimensions_) usual = usual && d.lower == 1;
        if (usual) return;
        for (const array_dimension& d : dimensions_)
            text_ += '[' + std::to_string(d.lower) + ':' + std::to_string(std::int64_t{d.lower} + d.size - 1) + ']';
        text_ += '=';
    }
    /// How many dimensions begin, or end, at part number `n`: as many of the last ones as `n` is a multiple of.
    [[nodiscard]] std::size_t borders(std::size_t n) const noexcept {
        std::size_t count = 0;
        std::size_t stride = 1;
        for (std::size_t i = dimensions_.size(); i > 0; --i, ++count) {
            stride *= static_cast<std::size_t>(dimensions_[i - 1].size);
            if (stride == 0 || n % stride != 0) break;
        }
        return count;
    }
    void before() {
        if (what_ == nesting::pairs && parts_ % 2 != 0)
            text_ += "=>";
        else if (parts_ != 0 && what_ != nesting::range)
            text_ += ',';
        if (what_ == nesting::array) text_.append(borders(parts_), '{');
    }
    void after() {
        ++parts_;
        if (what_ == nesting::array) text_.append(borders(parts_), '}');
        if (what_ == nesting::range && parts_ == 1 && (flags_ & range_flag::lower_infinite) == 0) text_ += ',';
    }

    nesting what_;
    std::uint8_t flags_;
    std::vector<array_dimension> dimensions_;
    std::size_t parts_ = 0;
    std::string text_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Arguments of a statement as the server's types want them: binary where the form is plain, text where the server parses best.
#ifndef STRATA_DRIVER_POSTGRES_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_WRITER_HPP

namespace strata::inline STRATA_ABI {

/// Collects the parameters of one statement; models `parameter_writer`. The types are those that the server has described. Memory is
/// kept for the next statement.
class postgres_writer {
public:
    /// Begins a new statement; without types (nothing was described) everything but bytes goes as text, which the server parses.
    void reset(std::span<const ::Oid> types, bool described, const detail::type_catalogue& catalogue) {
        types_ = types;
        catalogue_ = &catalogue;
        described_ = described;
        count_ = 0;
        own_.clear();
        open_.clear();
        refused_ = errc::ok;
        as_text_ = false;
    }

    void null() {
        if (!open_.empty()) return add_null_part();
        add(nullptr, 0, 0);
    }
    void boolean(bool v) {
        if (next_type() == oid::boolean) {
            const char byte = v ? 1 : 0;
            return add_copy({&byte, 1}, 1);
        }
        add_copy(v ? "true" : "false", 0);
    }
    /// What does not fit the server's type is refused; digits go to types that take them.
    void integer(std::int64_t v) {
        switch (next_type()) {
            case oid::int8:
                return add_number(static_cast<std::uint64_t>(v));
            case oid::int4:
                return v == static_cast<std::int32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::int2:
                return v == static_cast<std::int16_t>(v) ? add_number(static_cast<std::uint16_t>(v)) : refuse(errc::out_of_range);
            case oid::oid:
                return v == static_cast<std::uint32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::float8: {
                const auto d = static_cast<double>(v);
                // exact: compared as integers, and 2^63 itself is none
                if (d >= 9223372036854775808.0 || static_cast<std::int64_t>(d) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint64_t>(d));
            }
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (f >= 9223372036854775808.0F || static_cast<std::int64_t>(f) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    void real(double v) {
        switch (next_type()) {
            case oid::float8:
                return add_number(std::bit_cast<std::uint64_t>(v));
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (std::isfinite(v) && !std::isfinite(f)) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            // The server would round to a whole number.
            case oid::int2:
            case oid::int4:
            case oid::int8:
            case oid::oid:
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        if (!std::isfinite(v)) return add_copy(std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity", 0);
        char digits[40];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;  // the shortest text that reads back as the same number
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    /// Not copied: must live until the call ends. A text for another type is parsed by the server.
    void text(std::string_view v) {
        if (is_described() && detail::is_plain_text(next_type())) {
            if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);  // no text of the server's has one
            return add(v.data() != nullptr ? v.data() : "", v.size(), 1);
        }
        text_copy(v);
    }
    void text_copy(std::string_view v) {
        const ::Oid type = next_type();
        if (type == oid::bytea) return refuse(errc::type_mismatch);  // the server would read escapes in it
        if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);
        add_copy(v, is_described() && detail::is_plain_text(type) ? 1 : 0);
    }
    void blob(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add(v.data() != nullptr ? reinterpret_cast<const char*>(v.data()) : "", v.size(), 1);
    }
    void blob_copy(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add_copy({reinterpret_cast<const char*>(v.data()), v.size()}, 1);
    }
    /// A point of time; for a column without zone, in UTC.
    void timestamp(std::chrono::sys_time<std::chrono::microseconds> t) {
        constexpr std::int64_t from_1970 = 946'684'800'000'000;
        const std::int64_t us = t.time_since_epoch().count();
        if (us < std::numeric_limits<std::int64_t>::min() + 1 + from_1970) return refuse(errc::out_of_range);
        switch (next_type()) {
            case oid::timestamptz:
            case oid::timestamp:
                return add_number(static_cast<std::uint64_t>(us - from_1970));
            default:
                break;
        }
        if (is_described() && class_of_next() != column_type::text) return refuse(errc::type_mismatch);
        std::string text;
        detail::append_timestamp(text, us - from_1970, true);
        add_copy(text, is_described() && detail::is_plain_text(next_type()) ? 1 : 0);
    }

    /// Begins a value that holds values; see `nested_writer`. An array whose elements are plain in binary goes so, everything else as the
    /// text that the server parses. A parameter of another kind is refused.
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) {
        const bool top = open_.empty();
        const ::Oid type = type_to_open();
        const detail::type_shape shape = catalogue_->shape(type);
        if (type != oid::unknown && !detail::is_kind(what, shape.kind)) keep_refusal(errc::type_mismatch);
        if (!top && !open_.back().literal) open_.back().has_text = true;
        container& c = open_.emplace_back();
        c.type = type;
        c.begin = own_.size();
        if (!top || what != nesting::array || shape.kind != detail::type_kind::array || std::exchange(as_text_, false)) {
            c.literal.emplace(what, dimensions, flags);
            return true;
        }
        c.part = shape.part;
        put(static_cast<std::uint32_t>(dimensions.size()));
        put(std::uint32_t{0});  // whether a NULL is in it: set by the first
        put(static_cast<std::uint32_t>(shape.part));
        for (const array_dimension& d : dimensions) {
            put(static_cast<std::uint32_t>(d.size));
            put(static_cast<std::uint32_t>(d.lower));
        }
        return true;
    }
    /// Ends it; false when its parts are wanted once more, because one has no binary form here.
    [[nodiscard]] bool close() {
        container c = std::move(open_.back());
        open_.pop_back();
        if (refused_ != errc::ok) {
            if (open_.empty()) refuse(refused_);
        } else if (c.literal) {
            add_copy(std::move(*c.literal).finish(), 0);
        } else if (c.has_text) {
            own_.resize(c.begin);
            as_text_ = true;
            return false;
        } else {
            const std::size_t size = own_.size() - c.begin;
            add("", size, 1);
            offsets_[count_ - 1] = c.begin;
        }
        return true;
    }

    /// What attribute `i` of the composite that is open is called.
    [[nodiscard]] std::string_view part_name(std::size_t i) const noexcept {
        const detail::own_type* const own = open_.empty() ? nullptr : catalogue_->find(open_.back().type);
        return own != nullptr && i < own->attributes.size() ? std::string_view{own->attributes[i]} : std::string_view{};
    }

    [[nodiscard]] errc refused() const noexcept { return refused_; }
    [[nodiscard]] int written() const noexcept { return static_cast<int>(count_); }

    /// For libpq; valid until `reset`. Call `finish` once after the last parameter.
    void finish() noexcept {
        for (std::size_t i = 0; i < count_; ++i)
            if (offsets_[i] != not_own) values_[i] = own_.data() + offsets_[i];
    }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    static constexpr std::size_t not_own = static_cast<std::size_t>(-1);
    static constexpr std::size_t too_long = 0x3fffffff;  // a field holds at most 1 GB

    /// A value that is being written part by part.
    struct container {
        std::optional<detail::nested_literal> literal;  // none: binary, in `own_` from `begin` on
        ::Oid type = oid::unknown;                      // its own, as far as it is known
        ::Oid part = oid::unknown;                      // of the parts that go in binary
        std::size_t parts = 0;                          // written
        std::size_t begin = 0;
        bool has_text = false;  // a part that is text where binary was wanted
    };

    /// The type of what is written next.
    [[nodiscard]] ::Oid next_type() const noexcept {
        if (!open_.empty()) [[unlikely]]
            return open_.back().part;
        return count_ < types_.size() ? types_[count_] : oid::unknown;
    }
    /// The type of a value that is about to be opened, without its domains; `unknown` where nobody knows.
    [[nodiscard]] ::Oid type_to_open() const noexcept {
        if (open_.empty()) return described_ ? catalogue_->base(next_type()) : ::Oid{oid::unknown};
        const container& c = open_.back();
        if (c.type == oid::unknown) return oid::unknown;
        const detail::own_type* const own = catalogue_->find(c.type);
        const ::Oid type = own == nullptr || own->shape.kind != detail::type_kind::record ? catalogue_->shape(c.type).part
                           : c.parts < own->attribute_types.size()                        ? own->attribute_types[c.parts]
                                                                                          : ::Oid{oid::unknown};
        return type == 0 ? ::Oid{oid::unknown} : catalogue_->base(type);
    }
    [[nodiscard]] bool is_described() const noexcept { return described_ && (open_.empty() || !open_.back().literal); }
    [[nodiscard]] column_type class_of_next() const noexcept { return detail::class_of(next_type()); }
    [[nodiscard]] bool takes_bytes(std::size_t size) const noexcept {
        return !is_described() || next_type() == oid::bytea || (next_type() == oid::uuid && size == 16);
    }
    void add(const char* data, std::size_t size, int format) {
        if (size > too_long) return refuse(errc::too_big);
        if (!open_.empty()) [[unlikely]]
            return add_part({data, size}, format);
        push(data, static_cast<int>(size), format, not_own);
    }
    STRATA_INLINE void push(const char* data, int size, int format, std::size_t offset) {
        if (count_ == values_.size()) [[unlikely]]
            grow();
        values_[count_] = data;
        lengths_[count_] = size;
        formats_[count_] = format;
        offsets_[count_] = offset;
        ++count_;
    }
    STRATA_COLD void grow() {
        const std::size_t room = count_ < 8 ? 8 : count_ * 2;
        offsets_.resize(room);
        formats_.resize(room);
        lengths_.resize(room);
        values_.resize(room);  // the last: its size says how much room there is
    }
    void add_copy(std::string_view v, int format) {
        if (!open_.empty()) [[unlikely]]
            return add(v.data(), v.size(), format);
        if (v.size() > too_long) return refuse(errc::too_big);
        const std::size_t at = own_.size();
        own_.append(v);
        own_.push_back('\0');  // libpq reads texts up to their NUL
        push(nullptr, static_cast<int>(v.size()), format, at);
    }
    void add_part(std::string_view v, int format) {
        container& c = open_.back();
        ++c.parts;
        if (c.literal && format == 0) {
            c.literal->part(v);
        } else if (c.literal) {
            std::string hex = "\\x";
            detail::append_hex(hex, {reinterpret_cast<const std::byte*>(v.data()), v.size()});
            c.literal->part(hex);
        } else if (format == 0 || c.has_text) {
            c.has_text = true;
        } else {
            put(static_cast<std::uint32_t>(v.size()));
            own_.append(v);
        }
    }
    void add_null_part() {
        container& c = open_.back();
        ++c.parts;
        if (c.literal) return c.literal->null_part();
        own_[c.begin + 7] = 1;
        put(~std::uint32_t{0});
    }
    template <class Unsigned>
    static void to_big_endian(Unsigned n, char (&bytes)[sizeof(Unsigned)]) noexcept {
        for (std::size_t i = 0; i < sizeof n; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(n >> (8 * (sizeof n - 1 - i))));
    }
    template <class Unsigned>
    void add_number(Unsigned n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        if (!open_.empty()) [[unlikely]]
            return add(bytes, sizeof n, 1);
        const std::size_t at = own_.size();
        own_.append(bytes, sizeof n);
        push(nullptr, sizeof n, 1, at);
    }
    void put(std::uint32_t n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        own_.append(bytes, sizeof n);
    }
    void keep_refusal(errc why) noexcept {
        if (refused_ == errc::ok) refused_ = why;
    }
    void refuse(errc why) {
        keep_refusal(why);
        if (!open_.empty()) return;
        push(nullptr, 0, 0, not_own);
    }

    std::span<const ::Oid> types_;
    const detail::type_catalogue* catalogue_ = nullptr;
    bool described_ = false;
    std::size_t count_ = 0;  // of parameters; the vectors have room for more
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    std::vector<std::size_t> offsets_;  // into `own_`, which moves while it grows
    std::string own_;
    std::vector<container> open_;  // values that hold values, the innermost last
    bool as_text_ = false;         // the next array: it has been tried in binary
    errc refused_ = errc::ok;
};

}  // namespace strata::inline STRATA_ABI

#endif

// One PostgreSQL connection over libpq: how it is opened and closed, and what is said on it besides statements.
//
// How it waits, and how what runs on it is cancelled, is in wire.hpp; how it connects in connect.hpp.
#ifndef STRATA_DRIVER_POSTGRES_CONNECTION_HPP
#define STRATA_DRIVER_POSTGRES_CONNECTION_HPP

namespace strata::inline STRATA_ABI {

namespace detail {
class postgres_run;
class postgres_flight;
class postgres_shared_link;
class postgres_copy;
}  // namespace detail

/// A connection to a PostgreSQL server. It belongs to one thread at a time (a lease).
class postgres_connection : detail::postgres_wire {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;
    /// Several statements in one flight; see pipeline.hpp.
    template <class... Items>
    class pipeline;

    postgres_connection() noexcept = default;
    ~postgres_connection() { close(); }

    /// Connects; blocks up to `connect_timeout`, or until `i`, which becomes the guard, ends it. Errors: `invalid_argument`,
    /// `access_denied` (options), `cannot_connect`, `timeout`, `cancelled`.
    [[nodiscard]] error open(const postgres_options& o, int role = 0, const interruption* i = nullptr);
    /// The same over several resumes, ended early by the guard: `io`, `work`, `done` or `failed` with the error in `e`.
    [[nodiscard]] signal open_step(const postgres_options& o, int role, error& e);

    /// Works on a connection that the user opened, which must be idle; it is closed only if `close_it`. It is switched to non-blocking.
    [[nodiscard]] error adopt(PGconn* handle, const postgres_options& o = {}, bool close_it = false);

    void close() noexcept {
        guard_ = nullptr;
        statements_.clear();
        preparation_.clear();
        round_ = {};
        controlling_ = 0;
        begin_ = beginning_ = {};
        watch_.clear();  // before libpq closes the descriptor
        connecting_.reset();
        if (db_ != nullptr) owned_ ? ::PQfinish(db_) : hooks_.leave(db_);
        db_ = nullptr;
        lost_ = busy_ = locked_ = waiting_ = fencing_ = false;
    }

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }
    /// libpq's handle, null when closed. Leave it idle, in the state in which you found it.
    [[nodiscard]] PGconn* native_handle() noexcept {
        if (!begin_.empty()) [[unlikely]]
            begin_now();
        return db_;
    }
    /// The number of the server's process, 0 when closed.
    [[nodiscard]] std::int32_t session_number() const noexcept { return ::PQbackendPID(db_); }
    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept { return !begin_.empty() || detail::postgres_wire::in_transaction(); }
    using detail::postgres_wire::is_lost;
    /// What is known of this connection, and of those opened before it; also where a session that holds it was told. With an advisory lock
    /// that could not be given back it is not to be kept.
    [[nodiscard]] health said() const noexcept { return farewell_ ? health::all_lost : is_lost() || locked_ ? health::lost : health::good; }

    /// From now on every call ends early when `i` says so; see `sqlite_connection::guard`.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    // For the engine; see `yielding_connection`.
    void may_yield(bool yes) noexcept { yields_ = yes; }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }
    [[nodiscard]] watch_place& watch() noexcept { return watch_; }
    /// Whoever waits on it looks at its guard again. From any thread.
    void interrupt() noexcept { watch_.nudge(); }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, by the simple protocol; rows are dropped. Blocks.
    [[nodiscard]] error control(std::string_view sql) {
        const bool yields = std::exchange(yields_, false);
        error e;
        static_cast<void>(control_step(sql, e));
        yields_ = yields;
        return e;
    }
    /// The same over several resumes, each with the same text: `io`, `work`, `done` or `failed` with the error in `e`.
    [[nodiscard]] signal control_step(std::string_view sql, error& e) { return control_step(sql, e, nullptr); }
    /// The same; `answer` takes the first column of the first row, if there is one.
    [[nodiscard]] signal control_step(std::string_view sql, error& e, std::string* answer);

    // For `transaction_options::resolve_commit`.
    /// The id of the open transaction, empty where it has none, in steps. With the first id the server is asked which one it is.
    [[nodiscard]] signal transaction_id_step(std::string& id, error& e);
    /// What became of a transaction of the connection, which is lost: asked on a new one, opened as this one was, for up to `finish_limit`.
    /// `why`: what there was instead of an answer. Blocks; see resolve.hpp.
    [[nodiscard]] detail::commit_fate resolve_commit(const std::string& id, std::string& why);
    /// The drive waits for the descriptor, and must not be blocked.
    [[nodiscard]] bool yields() const noexcept { return yields_; }

    /// Begins a transaction by this text, which must live as long, when something else is sent: both in one flight, so that it costs no
    /// round trip. False, and nothing happens: it must be sent by itself.
    [[nodiscard]] bool begin_later(std::string_view sql) noexcept {
        if (is_lost() || busy_ || limit_.is_on() || in_transaction()) return false;
        begin_ = sql;
        return true;
    }

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off. Blocks where there is one.
    [[nodiscard]] health tidy() noexcept {
        guard_ = nullptr;
        if (is_lost() || busy_ || locked_) return health::lost;
        if (!in_transaction()) return health::good;
        try {
            const error e = control("rollback");
            return e || in_transaction() ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }

    /// Of an idle connection: whether the server has not given it up. Asks the socket only, so a peer that vanished without a word is not
    /// noticed; reads what the server sent meanwhile (notices, settings). Never blocks.
    [[nodiscard]] bool is_alive() noexcept {
        for (int i = 0; i < 8 && db_ != nullptr && ::PQstatus(db_) == CONNECTION_OK && is_ready(false); ++i)
            if (::PQconsumeInput(db_) == 0) return false;
        if (db_ != nullptr)
            while (PGnotify* const n = ::PQnotifies(db_)) ::PQfreemem(n);  // which reads what has come
        return db_ != nullptr && ::PQstatus(db_) == CONNECTION_OK;
    }

    /// A round trip: whether the server answers. Blocks until then, the guard's deadline or `postgres_options::finish_limit`.
    [[nodiscard]] health ping() noexcept {
        try {
            const error e = control("");
            return is_lost() || e ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }
    /// The session as it was when it began: settings, temporary tables, locks, LISTEN. Its statements are prepared anew. Blocks.
    [[nodiscard]] error discard_all() {
        statements_.clear();
        limit_.look_at(statement_kind::session);
        error e = control("discard all");
        if (!e) changed_session_ = false;
        return e;
    }
    /// By a statement of the user's.
    void session_was_reset() noexcept { changed_session_ = false; }
    /// Whether a statement was run that sets something for the session, since it began or was discarded.
    [[nodiscard]] bool has_changed_session() const noexcept { return changed_session_; }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t prepared() const noexcept { return statements_.size(); }

private:
    friend class detail::postgres_run;
    friend class detail::postgres_flight;
    friend class detail::postgres_shared_link;
    friend class detail::postgres_copy;

    void install(const postgres_options& o, bool owned);
    /// Why no call may begin on it; `did`: what became of the caller's work where the connection is gone.
    [[nodiscard]] error unusable(effect did) const {
        if (is_lost()) [[unlikely]]
            return lost_error(phase::execute, did);
        if (busy_) [[unlikely]]
            return error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
        return {};
    }

    STRATA_COLD void take_answer(std::string& text) {
        const PGresult* const r = round_.last.get();
        text.clear();
        if (r != nullptr && ::PQntuples(r) > 0 && ::PQgetisnull(r, 0, 0) == 0) text = ::PQgetvalue(r, 0, 0);
    }
    [[nodiscard]] bool begins() const noexcept { return !begin_.empty() || !beginning_.empty(); }
    /// BEGIN by itself, before what cannot go with it, as `control_step`.
    [[nodiscard]] STRATA_COLD signal begin_step(error& e) {
        if (!begin_.empty()) beginning_ = std::exchange(begin_, {});
        const signal s = control_step(beginning_, e);
        if (s != signal::io && s != signal::work) {
            beginning_ = {};
            start_the_clock();
        }
        return s;
    }
    /// For the user, who will say more by the handle. Where it fails he sees a connection that is in no transaction, or lost.
    STRATA_COLD void begin_now() noexcept {
        try {
            static_cast<void>(control(std::exchange(begin_, {})));
        } catch (...) {  // no memory
            lost_ = true;
        }
    }

    /// Before a statement of this kind.
    void look_at(statement_kind k) noexcept {
        limit_.look_at(k);
        if (k == statement_kind::session) changed_session_ = true;
    }

    detail::prepared_statements statements_;
    detail::postgres_preparation preparation_;
    detail::postgres_server_limit limit_;
    postgres_writer writer_;
    detail::reading_memory reading_;
    detail::postgres_hooks hooks_;
    std::unique_ptr<detail::postgres_connecting> connecting_;  // while it is being opened
    duration finish_limit_{};
    std::string_view begin_{};       // BEGIN, not sent yet
    std::string_view beginning_{};   // under way by itself
    std::string server_;             // which one it is; empty: not asked yet
    std::uint64_t controlling_ = 0;  // which text `control_step` is about; 0: none
    enum class asking : std::uint8_t { id, permission, cluster, start };
    asking asking_ = asking::id;  // what `transaction_id_step` is about
    bool prepares_ = true;
    bool owned_ = false;
    bool changed_session_ = false;
    bool locked_ = false;                // an attempt that escalates holds an advisory lock
    bool busy_ = false;                  // a stream stands on the connection
    bool streamed_ = false;              // libpq may still give rows one by one
    bool began_in_transaction_ = false;  // what `control_step` does
};

STRATA_COLD inline void postgres_connection::install(const postgres_options& o, bool owned) {
    owned_ = owned;
    lost_ = busy_ = streamed_ = locked_ = changed_session_ = farewell_ = false;
    prepares_ = o.prepare;
    cancel_grace_ = o.cancel_grace;
    finish_limit_ = o.finish_limit;
    limit_.reset(o.limit_on_server);
    cancels_.forget();
    statements_.reset(o.statement_cache);
    server_.clear();
    asking_ = asking::id;
    reading_.types.clear();
    ::PQsetnonblocking(db_, 1);
    hooks_.hear(db_, o);
    hooks_.know(db_, o);
}

STRATA_COLD inline error postgres_connection::open(const postgres_options& o, int role, const interruption* i) {
    guard_ = i;
    yields_ = false;
    error e;
    try {
        static_cast<void>(open_step(o, role, e));
    } catch (...) {  // no memory, or no thread
        close();
        throw;
    }
    return e;
}

STRATA_COLD inline signal postgres_connection::open_step(const postgres_options& o, int, error& e) {
    if (connecting_ == nullptr) {
        e = db_ != nullptr ? error{errc::misuse, "the connection is open already", phase::connect} : o.validate();
        if (e) return signal::failed;
        if (o.handle != nullptr) {
            e = ::PQstatus(o.handle) == CONNECTION_OK && ::PQtransactionStatus(o.handle) != PQTRANS_ACTIVE
                    ? adopt(o.handle, o)
                    : error{errc::cannot_connect, "the connection in postgres_options.handle is lost, or not idle; it is not made anew",
                            phase::connect};
            return e ? signal::failed : signal::done;
        }
        auto made = std::make_unique<detail::postgres_connecting>();
        if ((e = made->read(o, guard_))) return signal::failed;
        connecting_ = std::move(made);
        owned_ = true;
        ended_by_ = errc::ok;
        if (yields_) return signal::work;  // it begins with what may block: files, names
    }
    watch_.clear();  // libpq may close its descriptor now, and open another of the same number
    const interruption* const guard = guard_;
    if (connecting_->begin(*this) && db_ != nullptr) hooks_.hear(db_, o);
    const signal s = connecting_->step(*this, e);
    if (s == signal::io) return s;
    const std::unique_ptr<detail::postgres_connecting> ended = std::move(connecting_);
    if (s == signal::done) {
        install(o, true);
        return s;
    }
    close();
    guard_ = guard;
    ended->name_target(e);
    return s;
}

STRATA_COLD inline error postgres_connection::adopt(PGconn* handle, const postgres_options& o, bool close_it) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (handle == nullptr || ::PQstatus(handle) != CONNECTION_OK || ::PQtransactionStatus(handle) == PQTRANS_ACTIVE)
        return error{errc::invalid_argument, "the adopted handle is null, not connected or not idle", phase::connect};
    db_ = handle;
    install(o, close_it);
    preparation_.use_other_names();
    limit_.look_at(statement_kind::session);  // which one it has is not known
    return {};
}

inline signal postgres_connection::control_step(std::string_view sql, error& e, std::string* answer) {
    const bool commit = sql == "commit";
    const phase at = commit ? phase::commit : phase::execute;
    const std::uint64_t key = hash_text(sql).low | 1;
    if (round_.under_way && controlling_ != key) {  // of a call that was destroyed midway
        lost_ = true;
        round_ = {};
    }
    if (!round_.under_way) {
        if ((e = unusable(effect::rolled_back))) return signal::failed;
        start_the_clock(finish_limit_);
        began_in_transaction_ = in_transaction();
        if (!began_in_transaction_) limit_.back_to_session();
        const std::string_view begin = std::exchange(begin_, {});
        if (!begin.empty() && (commit || sql == "rollback")) return signal::done;  // of nothing
        ask(::PQsendQuery(db_, detail::joined({begin, begin.empty() ? "" : "; ", sql}).c_str()));
        controlling_ = key;
        if (sql.starts_with("rollback to")) limit_.forget();
    }
    const signal s = hear();
    if (s == signal::io || s == signal::work) return s;
    controlling_ = 0;
    hooks_.look(db_);
    if (round_.failed) {
        e = error_of(round_.last.get(), at, {}, sql);
        if (round_.was_hit)
            e.set(ended_by_);
        else if (e.code() == errc::cancelled && limit_.limits())
            e.set(errc::timeout);
    } else if (lost_) {
        const bool nothing = !round_.sent || !commit;  // a transaction that hardly began, or was to be rolled back
        e = lost_error(at, began_in_transaction_ ? effect::rolled_back : nothing ? effect::none : effect::unknown);
    } else if ((commit || sql.starts_with("prepare transaction")) && std::string_view{::PQcmdStatus(round_.last.get())} == "ROLLBACK") {
        // PostgreSQL answers COMMIT and PREPARE TRANSACTION in a failed transaction with the tag ROLLBACK and no error.
        e = error{errc::commit_rolled_back, "a statement of the transaction had failed, so its end rolled it back", at,
                  effect::rolled_back};
        return signal::failed;
    }
    if (answer != nullptr) [[unlikely]]
        take_answer(*answer);
    round_.last.reset();
    if (!e) {
        if (sql.starts_with("select pg_advisory_")) [[unlikely]]
            locked_ = sql.starts_with("select pg_advisory_lock");
        return signal::done;
    }
    if (lost_) e.set_lost();
    if (commit && lost_)
        e.set(errc::outcome_unknown).set(effect::unknown);
    else if (commit)
        e.set(effect::rolled_back);
    else if (e.effect() == effect::unknown)
        e.set(effect::none);
    return signal::failed;
}

}  // namespace strata::inline STRATA_ABI

#endif

// One COPY on its way, in or out: begun, its bytes put or got with a bound on what waits in memory, ended or given up.
//
// Blocks. A deadline or a cancel ends it: what goes in by telling the server that it failed, and both by a cancel, which is needed
// where the server waits for something else; the connection is used again behind a fence.
#ifndef STRATA_DRIVER_POSTGRES_COPY_HPP
#define STRATA_DRIVER_POSTGRES_COPY_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

class postgres_copy {
public:
    explicit postgres_copy(postgres_connection& c) noexcept : connection_(c) {
        c.yields_ = false;
        c.start_the_clock();
    }
    postgres_copy(const postgres_copy&) = delete;
    postgres_copy& operator=(const postgres_copy&) = delete;
    /// Destroyed midway, by an exception: the server is told, and what it still sends is dropped.
    ~postgres_copy() {
        if (!under_way_) [[likely]]
            return;
        try {
            static_cast<void>(stop(errc::cancelled));
        } catch (...) {  // no memory
            connection_.lost_ = true;
            connection_.busy_ = false;
        }
    }

    /// Asks for the columns of a statement that reads; they are in `columns()`.
    [[nodiscard]] error describe(const std::string& sql) {
        if (error e = usable()) return e;
        sql_ = sql;
        PGconn* const db = connection_.db_;
        for (const bool describing : {false, true}) {
            const int sent = describing ? ::PQsendDescribePrepared(db, "") : ::PQsendPrepare(db, "", sql_.c_str(), 0, nullptr);
            if (sent == 0) return lose();
            std::int64_t none = 0;
            if (error e = results(none, phase::prepare)) return e;
        }
        columns_ = std::move(last_);
        return learn_types();
    }
    [[nodiscard]] const PGresult* columns() const noexcept { return columns_.get(); }
    [[nodiscard]] reading_memory& reading() noexcept { return connection_.reading_; }

    /// Sends the COPY; `wanted` is PGRES_COPY_IN or PGRES_COPY_OUT.
    [[nodiscard]] error start(const std::string& sql, ExecStatusType wanted) {
        if (error e = usable()) return e;
        sql_ = sql;
        if (::PQsendQuery(connection_.db_, sql_.c_str()) == 0) return lose();
        result_owner r = connection_.next_result();
        if (r != nullptr && ::PQresultStatus(r.get()) == wanted) {
            in_ = wanted == PGRES_COPY_IN;
            under_way_ = connection_.busy_ = true;
            return {};
        }
        std::int64_t none = 0;
        error e = r != nullptr ? failure_of(r.get(), phase::execute) : error{};
        error rest = results(none, phase::execute);
        return e ? e : rest ? rest : error{errc::invalid_statement, "the server did not begin a COPY", phase::execute};
    }

    /// Hands bytes to the server; returns when libpq holds none of them any more.
    [[nodiscard]] error put(const char* data, std::size_t size) {
        if (const errc why = asked_to_stop(); why != errc::ok) return stop(why);
        if (size != 0 && ::PQputCopyData(connection_.db_, data, static_cast<int>(size)) != 1) return lose();
        for (;;) {
            const int left = ::PQflush(connection_.db_);
            if (left == 0) return {};
            if (left < 0) return lose();
            if (!connection_.poll_until(true, true, deadline())) return stop(asked_to_stop());
            if (::PQconsumeInput(connection_.db_) == 0) return lose();
        }
    }
    /// All is put: `rows` is what the server counts.
    [[nodiscard]] error finish(std::int64_t& rows) {
        if (::PQputCopyEnd(connection_.db_, nullptr) != 1) return lose();
        return results(rows, phase::execute);
    }

    /// The next bytes, which live until the next call; none at the end, where `rows` is what the server counts.
    [[nodiscard]] error get(std::string_view& data, std::int64_t& rows) {
        buffer_.reset();
        data = {};
        for (;;) {
            char* bytes = nullptr;
            const int size = ::PQgetCopyData(connection_.db_, &bytes, 1);
            buffer_.reset(bytes);
            if (size > 0) {
                if (connection_.ended_by_ != errc::ok) continue;  // nobody wants it any more
                data = {bytes, static_cast<std::size_t>(size)};
                if (const errc why = ++taken_ % 64 == 0 ? asked_to_stop() : errc::ok; why != errc::ok) connection_.begin_to_cancel(why);
                return {};
            }
            if (size < 0) return results(rows, phase::execute);
            if (!connection_.poll_until(true, false, connection_.look_again_at())) {
                if (!connection_.look_at_guard()) return lose();
            } else if (::PQconsumeInput(connection_.db_) == 0) {
                return lose();
            }
        }
    }

    /// Ends it early; the error says why.
    [[nodiscard]] STRATA_COLD error stop(errc why) {
        connection_.begin_to_cancel(why);
        std::int64_t none = 0;
        if (in_) {
            if (::PQputCopyEnd(connection_.db_, "the client stopped the copy") != 1) return lose();
        } else {
            for (std::string_view data; under_way_;) {
                if (error e = get(data, none)) return e;
            }
        }
        error e = under_way_ ? results(none, phase::execute) : error{};
        if (!e) e = error{why, why == errc::timeout ? "the deadline passed within the copy" : "the copy was stopped", phase::execute};
        return e;
    }

private:
    struct free_buffer {
        void operator()(char* p) const noexcept { ::PQfreemem(p); }
    };

    [[nodiscard]] time_point deadline() const noexcept { return connection_.guard_ != nullptr ? connection_.guard_->deadline : never; }
    [[nodiscard]] errc asked_to_stop() const noexcept {
        const interruption* const g = connection_.guard_;
        if (g == nullptr) return errc::ok;
        if (g->is_cancelled()) return errc::cancelled;
        return g->deadline != never && clock::now() >= g->deadline ? errc::timeout : errc::ok;
    }
    [[nodiscard]] error usable() {
        error e = connection_.unusable(effect::none);
        if (!e && connection_.begins()) static_cast<void>(connection_.begin_step(e));
        if (!e && connection_.limit_.is_on()) static_cast<void>(connection_.limit_.step(connection_, e));
        return e;
    }
    [[nodiscard]] STRATA_COLD error lose() {
        connection_.lost_ = true;
        under_way_ = connection_.busy_ = false;
        return connection_.lost_error(phase::execute, effect::rolled_back);
    }

    /// Looks up those types of the columns that the database defines and the connection has not met.
    [[nodiscard]] error learn_types() {
        type_catalogue& types = connection_.reading_.types;
        const std::string unknown = types.unknown_in(columns());
        if (unknown.empty()) return {};
        const char* const values[] = {unknown.c_str()};
        sql_ = type_catalogue::question(::PQserverVersion(connection_.db_));
        if (::PQsendQueryParams(connection_.db_, sql_.c_str(), 1, nullptr, values, nullptr, nullptr, 0) == 0) return lose();
        std::int64_t none = 0;
        error e = results(none, phase::prepare);
        if (!e) types.learn(last_.get());
        return e;
    }
    /// Reads what the statement ends with.
    [[nodiscard]] error results(std::int64_t& rows, phase at) {
        error e;
        while (result_owner r = connection_.next_result()) {
            const ExecStatusType s = ::PQresultStatus(r.get());
            if (s == PGRES_COMMAND_OK) {
                rows = std::strtoll(::PQcmdTuples(r.get()), nullptr, 10);
            } else if (s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE) {
                e = failure_of(r.get(), at);
            } else if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
                return lose();
            }
            last_ = std::move(r);
        }
        under_way_ = connection_.busy_ = false;
        if (connection_.lost_) return e ? std::move(e.set_lost()) : lose();
        // Which of the two ended it, our own word or the cancel, cannot be told: the cancel may still come.
        static_cast<void>(connection_.fence(false));
        if (connection_.lost_) return lose();
        return e;
    }
    /// With the row that the server blames; what stands in that row is not told.
    [[nodiscard]] STRATA_COLD error failure_of(const PGresult* r, phase at) {
        error e = connection_.error_of(r, at, {}, sql_);
        if (e.code() == errc::cancelled && connection_.ended_by_ != errc::ok) e.set(connection_.ended_by_);
        const std::string_view context = field_of(r, PG_DIAG_CONTEXT);
        if (const std::size_t line = context.find(", line "); context.substr(0, 5) == "COPY " && line != context.npos) {
            const std::int64_t number = std::strtoll(context.data() + line + 7, nullptr, 10);
            std::string& detail = e.edit_texts().detail;
            detail.append(detail.empty() ? "" : "; ").append(joined({"row ", digits_of(number - 1), " of the copy, counted from 0"}));
        }
        return e;
    }

    postgres_connection& connection_;
    std::string sql_;
    result_owner columns_;
    result_owner last_;
    std::unique_ptr<char, free_buffer> buffer_;
    unsigned taken_ = 0;
    bool in_ = false;
    bool under_way_ = false;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Bytes that are only ever appended, without being cleared first: where requests to a server are put together.
#ifndef STRATA_CORE_BYTE_BUFFER_HPP
#define STRATA_CORE_BYTE_BUFFER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Keeps its memory over `clear()`. Appending costs a comparison and the copy.
class byte_buffer {
public:
    byte_buffer() noexcept = default;
    explicit byte_buffer(std::size_t room) : bytes_(new char[room]), end_(bytes_.get()), limit_(bytes_.get() + room) {}

    [[nodiscard]] const char* data() const noexcept { return bytes_.get(); }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - bytes_.get()); }
    void clear() noexcept { end_ = bytes_.get(); }

    /// Room for `n` more bytes, whose values are whatever was there. Pointers into the buffer are gone.
    [[nodiscard]] STRATA_INLINE char* extend(std::size_t n) {
        if (static_cast<std::size_t>(limit_ - end_) < n) [[unlikely]]
            grow(n);
        char* const at = end_;
        end_ += n;
        return at;
    }
    void append(std::string_view v) {
        char* const at = extend(v.size());
        if (!v.empty()) std::memcpy(at, v.data(), v.size());
    }

private:
    STRATA_COLD void grow(std::size_t n) {
        const std::size_t used = size();
        const auto room = static_cast<std::size_t>(limit_ - bytes_.get());
        const std::size_t wanted = used + n > 2 * room ? used + n : 2 * room;
        std::unique_ptr<char[]> larger{new char[wanted < 64 ? 64 : wanted]};
        if (used != 0) std::memcpy(larger.get(), bytes_.get(), used);
        bytes_ = std::move(larger);
        end_ = bytes_.get() + used;
        limit_ = bytes_.get() + (wanted < 64 ? 64 : wanted);
    }

    std::unique_ptr<char[]> bytes_;
    char* end_ = nullptr;
    char* limit_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Names of tables and columns that are only known at run time, quoted so that they can never be anything else.
#ifndef STRATA_SQL_IDENTIFIER_HPP
#define STRATA_SQL_IDENTIFIER_HPP

namespace strata::inline STRATA_ABI {

/// A quoted identifier: `q += strata::identifier("account")` appends `"account"`. Quoted names keep their case in both
/// dialects. Whether it exists is for the database to say. SQLite takes a quoted name of no column for a string unless
/// `SQLITE_DBCONFIG_DQS_DML` is off; PostgreSQL cuts names after 63 bytes.
class identifier {
public:
    explicit identifier(std::string name) : name_(std::move(name)) {}
    /// `"schema"."name"`.
    identifier(std::string schema, std::string name) : schema_(std::move(schema)), name_(std::move(name)), qualified_(true) {}

    /// False for an empty name and one with a NUL character: a statement refuses them.
    [[nodiscard]] bool valid() const noexcept { return valid(name_) && (!qualified_ || valid(schema_)); }
    /// As it is written in SQL.
    [[nodiscard]] std::string quoted() const { return qualified_ ? quote(schema_) + '.' + quote(name_) : quote(name_); }

private:
    [[nodiscard]] static bool valid(const std::string& s) noexcept { return !s.empty() && s.find('\0') == std::string::npos; }
    [[nodiscard]] static std::string quote(std::string_view s) {
        std::string q = "\"";
        for (const char c : s) q.append(c == '"' ? 2 : 1, c);
        return q += '"';
    }

    std::string schema_;
    std::string name_;
    bool qualified_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a COPY is told: where, in which form, within which time, and whom to tell how far it has come.
#ifndef STRATA_VALUE_COPY_OPTIONS_HPP
#define STRATA_VALUE_COPY_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

/// The form of a COPY. `automatic`: binary where each column's type has a binary form for its C++ type, else text; raw output: text.
enum class copy_format : std::uint8_t { automatic, binary, text, csv };

/// How much a COPY has moved.
struct copied {
    std::int64_t rows = 0;   ///< when it has ended: as the server counts them; 0 so far where the rows are not parted
    std::int64_t bytes = 0;  ///< of data, in the form of the COPY
};

/// Who is told of the progress: any callable of `const copied&`, which is not copied and must live until the call has ended. Called
/// by the thread that works, about once a buffer. What it throws ends the copy.
class copy_progress {
public:
    copy_progress() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, copy_progress> && std::is_invocable_v<F&, const copied&>)
    copy_progress(F&& f) noexcept
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, const copied& done) { (*static_cast<std::remove_reference_t<F>*>(object))(done); }) {}

    void operator()(const copied& done) const {
        if (call_ != nullptr) call_(object_, done);
    }

private:
    void* object_ = nullptr;
    void (*call_)(void*, const copied&) = nullptr;
};

/// What a caller may say about a COPY.
struct copy_options {
    duration deadline{};             ///< from the start of the call; zero: none of its own
    std::span<const tag> tags = {};  ///< for logs and metrics; must live as long as the call
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    copy_format format = copy_format::automatic;
    bool header = false;             ///< raw output as CSV: a first line with the columns' names
    std::size_t buffer = 64 * 1024;  ///< bytes that may wait in this process to be sent, besides one row
    copy_progress progress = {};
};

/// A table and its columns. Without columns: those of the struct's members, or for tuples all of the table's.
class copy_table {
public:
    copy_table(const char* name) : name_(name) {}
    copy_table(std::string_view name) : name_(std::string{name}) {}
    copy_table(const std::string& name) : name_(name) {}
    copy_table(identifier name, std::vector<std::string> names_of_columns = {})
        : name_(std::move(name)), columns_(std::move(names_of_columns)) {}
    copy_table(const char* name, std::vector<std::string> names_of_columns) : name_(name), columns_(std::move(names_of_columns)) {}

    [[nodiscard]] const identifier& name() const noexcept { return name_; }
    [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }

private:
    identifier name_;
    std::vector<std::string> columns_;
};

/// The table that `mapping<T>` names.
template <adapted_struct T>
[[nodiscard]] copy_table table_of() {
    static_assert(
        requires { mapping<T>::table; }, "strata: name the table: static constexpr std::string_view table = ...; in strata::mapping<T>");
    if constexpr (requires { mapping<T>::table; })
        return copy_table{std::string_view{mapping<T>::table}};
    else
        return copy_table{""};  // says nothing more
}

/// Where raw output may go, besides streams and functions: a file, pipe or socket that the caller has opened and will close.
struct file_descriptor {
    int number = -1;
};

namespace detail {

/// What is copied out: a table, or a query without parameters.
struct copy_source {
    copy_table table{""};
    std::string query = {};  // goes before the table
    error wrong = {};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Rows as COPY wants them: in the binary form of the server's types, or as text or CSV.
//
// The values that most columns hold are written straight into the bytes to be sent; all others by the writer of parameters.
#ifndef STRATA_DRIVER_POSTGRES_COPY_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_COPY_WRITER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Collects the bytes of rows; models `parameter_writer` for the binary form.
class postgres_copy_writer : public postgres_writer {
public:
    /// `types`: of the columns; they and the catalogue outlive the writer.
    postgres_copy_writer(std::span<const ::Oid> types, const type_catalogue& catalogue, copy_format format, std::size_t room)
        : types_of_columns_(types), catalogue_(catalogue), format_(format), bytes_(room) {}

    /// What goes before the first row.
    void begin() {
        if (format_ == copy_format::binary) bytes_.append({"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19});
    }
    void begin_row() {
        column_ = 0;
        if (format_ == copy_format::binary) put(static_cast<std::uint16_t>(types_of_columns_.size()));
    }
    /// The next value of the row. On a refusal nothing more may be written.
    template <class T>
    [[nodiscard]] errc field(const T& value) {
        if (format_ == copy_format::binary) {
            direct_ = false;
            type_ = types_of_columns_[column_];
            reset(types_of_columns_.subspan(column_, 1), true, catalogue_);
            const errc why = codec<T>::write(*this, value);
            if (why == errc::ok && direct_) [[likely]]
                return ++column_, errc::ok;
            return end_field(why);
        }
        reset({}, false, catalogue_);
        return end_field(codec<T>::write(static_cast<postgres_writer&>(*this), value));
    }
    void end_row() {
        if (format_ != copy_format::binary) bytes_.append("\n");
    }
    /// What goes after the last row.
    void end() {
        if (format_ == copy_format::binary) put(static_cast<std::uint16_t>(-1));
    }
    /// True when the last refusal means that a value came in a form that only a text COPY takes.
    [[nodiscard]] bool wants_text() const noexcept { return wants_text_; }

    [[nodiscard]] const type_catalogue& catalogue() const noexcept { return catalogue_; }

    [[nodiscard]] const char* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    void clear() noexcept { bytes_.clear(); }

    // What codecs write; the rest is inherited.
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) {
        type_ = 0;  // what is within another value is none of ours
        return postgres_writer::open(what, dimensions, flags);
    }
    void null() {
        if (type_ == 0) return postgres_writer::null();
        put(static_cast<std::uint32_t>(-1));
        direct_ = true;
    }
    void boolean(bool v) {
        if (type_ != oid::boolean) return postgres_writer::boolean(v);
        const char byte = v ? 1 : 0;
        put_field({&byte, 1});
    }
    void integer(std::int64_t v) {
        if (type_ == oid::int8) return put_number(static_cast<std::uint64_t>(v));
        if (type_ == oid::int4 && v == static_cast<std::int32_t>(v)) return put_number(static_cast<std::uint32_t>(v));
        if (type_ == oid::int2 && v == static_cast<std::int16_t>(v)) return put_number(static_cast<std::uint16_t>(v));
        postgres_writer::integer(v);
    }
    void real(double v) {
        if (type_ == oid::float8) return put_number(std::bit_cast<std::uint64_t>(v));
        postgres_writer::real(v);
    }
    void text(std::string_view v) { text_copy(v); }
    void text_copy(std::string_view v) {
        if (!is_plain_text(type_) || v.size() > most_of_a_field || std::memchr(v.data() != nullptr ? v.data() : "", 0, v.size()) != nullptr)
            return postgres_writer::text_copy(v);
        put_field(v);
    }
    void blob(std::span<const std::byte> v) { blob_copy(v); }
    void blob_copy(std::span<const std::byte> v) {
        if (type_ != oid::bytea || v.size() > most_of_a_field) return postgres_writer::blob_copy(v);
        put_field({reinterpret_cast<const char*>(v.data()), v.size()});
    }

private:
    static constexpr std::size_t most_of_a_field = 0x3fffffff;

    /// A value that the parameter writer took.
    [[nodiscard]] errc end_field(errc why) {
        if (why == errc::ok) why = refused();
        if (why == errc::ok && written() != 1) why = errc::misuse;  // a codec must write exactly once
        if (why != errc::ok) return why;
        finish();
        const char* const value = values()[0];
        const std::string_view v{value != nullptr ? value : "", value != nullptr ? static_cast<std::size_t>(lengths()[0]) : 0};
        const bool is_binary = formats()[0] == 1;
        if (format_ != copy_format::binary) {
            if (column_++ != 0) bytes_.append(format_ == copy_format::csv ? "," : "\t");
            if (value == nullptr)
                bytes_.append(format_ == copy_format::csv ? "" : "\\N");
            else
                append_text(v, is_binary);
            return errc::ok;
        }
        if (value != nullptr && !is_binary) {
            wants_text_ = true;
            return errc::unsupported;
        }
        if (value == nullptr)
            put(static_cast<std::uint32_t>(-1));
        else
            put_field(v);
        ++column_;
        return errc::ok;
    }
    void append_text(std::string_view v, bool bytes) {
        if (bytes) {
            escaped_ = format_ == copy_format::csv ? "\\x" : "\\\\x";
            append_hex(escaped_, {reinterpret_cast<const std::byte*>(v.data()), v.size()});
            return bytes_.append(escaped_);
        }
        escaped_.clear();
        if (format_ == copy_format::csv) {
            escaped_ += '"';
            for (const char c : v) escaped_.append(c == '"' ? 2 : 1, c);
            escaped_ += '"';
            return bytes_.append(escaped_);
        }
        for (const char c : v) {
            switch (c) {
                case '\n':
                    escaped_ += "\\n";
                    break;
                case '\r':
                    escaped_ += "\\r";
                    break;
                case '\t':
                    escaped_ += "\\t";
                    break;
                case '\\':
                    escaped_ += "\\\\";
                    break;
                default:
                    escaped_ += c;
            }
        }
        bytes_.append(escaped_);
    }

    template <class Unsigned>
    static void store(char* to, Unsigned n) noexcept {
        if constexpr (std::endian::native == std::endian::little) {
            if constexpr (sizeof n == 2)
                n = __builtin_bswap16(n);
            else if constexpr (sizeof n == 4)
                n = __builtin_bswap32(n);
            else
                n = __builtin_bswap64(n);
        }
        std::memcpy(to, &n, sizeof n);
    }
    template <class Unsigned>
    void put(Unsigned n) {
        store(bytes_.extend(sizeof n), n);
    }
    template <class Unsigned>
    void put_number(Unsigned n) {
        char* const to = bytes_.extend(4 + sizeof n);
        store(to, std::uint32_t{sizeof n});
        store(to + 4, n);
        direct_ = true;
    }
    void put_field(std::string_view v) {
        char* const to = bytes_.extend(4 + v.size());
        store(to, static_cast<std::uint32_t>(v.size()));
        if (!v.empty()) std::memcpy(to + 4, v.data(), v.size());
        direct_ = true;
    }

    std::span<const ::Oid> types_of_columns_;
    const type_catalogue& catalogue_;
    copy_format format_;
    byte_buffer bytes_;
    std::size_t column_ = 0;
    ::Oid type_ = 0;
    bool direct_ = false;  // the value is written already
    bool wants_text_ = false;
    std::string escaped_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Rows of any range into a table by COPY, in the types that the server says its columns have.
#ifndef STRATA_DRIVER_POSTGRES_COPY_IN_HPP
#define STRATA_DRIVER_POSTGRES_COPY_IN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The names quoted, with commas; false with the error set when one is none.
[[nodiscard]] inline bool quote_all(std::span<const std::string> names, std::string& out, error& e) {
    for (const std::string& n : names) {
        const identifier name{n};
        if (!name.valid()) {
            e = error{errc::invalid_argument, "a column's name is empty or holds a NUL character", phase::prepare};
            return false;
        }
        out.append(out.empty() ? "" : ", ").append(name.quoted());
    }
    return true;
}

/// `select COLUMNS from TABLE`; no columns: all.
[[nodiscard]] inline error select_of(const copy_table& table, std::span<const std::string> columns, std::string& out) {
    if (!table.name().valid()) return error{errc::invalid_argument, "the table's name is empty or holds a NUL character", phase::prepare};
    std::string list;
    error e;
    if (!quote_all(columns, list, e)) return e;
    out = joined({"select ", list.empty() ? std::string_view{"*"} : std::string_view{list}, " from ", table.name().quoted()});
    return {};
}

/// Adds the number of the row.
STRATA_COLD inline error in_row(error e, std::int64_t row) {
    std::string& detail = e.edit_texts().detail;
    detail.append(detail.empty() ? "" : "; ").append(joined({"row ", digits_of(row), " of the copy, counted from 0"}));
    return e;
}

/// The values of a row: `each(row, f)` calls `f(index, value)` until that answers false.
template <class Row>
struct row_values {
    static constexpr std::size_t count = 1;
    using types = std::tuple<Row>;
    template <class F>
    static bool each(const Row& row, F&& f) {
        return f(std::size_t{0}, row);
    }
};
template <struct_row Row>
struct row_values<Row> {
    static constexpr std::size_t count = member_count<Row>;
    template <class F>
    static bool each(const Row& row, F&& f) {
        return [&]<class... M, std::size_t... I>(member_list<M...>, std::index_sequence<I...>) { return (f(I, M::get(row)) && ...); }(
                   members<Row>{}, std::make_index_sequence<count>{});
    }
    template <class List>
    struct types_of;
    template <class... M>
    struct types_of<member_list<M...>> {
        using type = std::tuple<member_type<M, Row>...>;
    };
    using types = typename types_of<members<Row>>::type;
};
template <class... E>
struct row_values<std::tuple<E...>> {
    static constexpr std::size_t count = sizeof...(E);
    using types = std::tuple<std::remove_cvref_t<E>...>;
    template <class F>
    static bool each(const std::tuple<E...>& row, F&& f) {
        return
            [&]<std::size_t... I>(std::index_sequence<I...>) { return (f(I, std::get<I>(row)) && ...); }(std::make_index_sequence<count>{});
    }
};
template <class A, class B>
struct row_values<std::pair<A, B>> {
    static constexpr std::size_t count = 2;
    using types = std::tuple<std::remove_cvref_t<A>, std::remove_cvref_t<B>>;
    template <class F>
    static bool each(const std::pair<A, B>& row, F&& f) {
        return f(std::size_t{0}, row.first) && f(std::size_t{1}, row.second);
    }
};

/// A value of the type, to see in which form it is written; of an optional, one that is there.
template <class T>
struct sample {
    static constexpr bool there = std::is_default_constructible_v<T>;
    static T make() { return T{}; }
};
template <class T>
struct sample<std::optional<T>> : sample<T> {};
template <class T>
struct sample<std::vector<T>> {
    static constexpr bool there = sample<T>::there;
    static std::vector<T> make() {
        std::vector<T> one;
        one.push_back(sample<T>::make());
        return one;
    }
};

/// What needs no templates: which columns there are, and what is said of a value that cannot be written.
class postgres_copy_in_base {
public:
    [[nodiscard]] const copied& done() const noexcept { return done_; }

protected:
    postgres_copy_in_base(const copy_table& table, const copy_options& o) noexcept : table_(table), options_(o) {}

    /// Which members go in, and where; `names` are those of a struct's columns, none for a tuple.
    [[nodiscard]] error choose(std::span<const std::string_view> names, std::span<bool> wanted) {
        columns_ = table_.columns();
        for (bool& w : wanted) w = names.empty() || columns_.empty();
        if (names.empty()) return {};
        std::vector<std::string> chosen;
        for (const std::string& c : columns_) {
            std::size_t i = 0;
            while (i < names.size() && names[i] != c) ++i;
            if (i == names.size() || wanted[i])
                return error{i == names.size() ? errc::missing_column : errc::invalid_argument,
                             joined({i == names.size() ? "no member of the rows' type has the column \"" : "twice the column \"", c, "\""}),
                             phase::prepare};
            wanted[i] = true;
        }
        for (std::size_t i = 0; i < names.size(); ++i)
            if (wanted[i]) chosen.emplace_back(names[i]);
        columns_ = std::move(chosen);
        return {};
    }
    [[nodiscard]] error describe(postgres_copy& k, std::size_t values) {
        std::string select;
        if (error e = select_of(table_, columns_, select)) return e;
        if (error e = k.describe(select)) return e;
        const auto found = static_cast<std::size_t>(::PQnfields(k.columns()));
        if (found != values)
            return error{errc::invalid_argument,
                         joined({"a row has ", digits_of(values), " values for ", digits_of(found), " columns: name the columns"}),
                         phase::prepare};
        columns_.clear();
        types_.clear();
        for (int i = 0; i < static_cast<int>(found); ++i) {
            columns_.emplace_back(::PQfname(k.columns(), i));
            types_.push_back(::PQftype(k.columns(), i));
        }
        return {};
    }
    [[nodiscard]] error start(postgres_copy& k, copy_format format) {
        std::string list;
        error e;
        if (!quote_all(columns_, list, e)) return e;
        constexpr std::string_view names[] = {"text", "binary", "text", "csv"};
        return k.start(
            joined({"copy ", table_.name().quoted(), " (", list, ") from stdin (format ", names[static_cast<std::size_t>(format)], ")"}),
            PGRES_COPY_IN);
    }
    [[nodiscard]] STRATA_COLD error refused(std::size_t column, errc why, std::string_view type, const postgres_copy_writer& w) const {
        const std::string_view server = w.catalogue().name(types_[column]);
        std::string message = joined({"column \"", columns_[column], "\": "});
        if (w.wants_text()) {
            message.append("no binary form is known for a value of this type");
        } else {
            message.append("a value of type ").append(type);
            message.append(why == errc::out_of_range ? " is out of the column's range" : " cannot be written: ");
            if (why != errc::out_of_range) message.append(to_string(why));
        }
        error e{why, std::move(message), phase::execute};
        error_texts& t = e.edit_texts();
        t.column = columns_[column];
        if (!server.empty()) t.detail = joined({"the column's type is ", server});
        if (w.wants_text()) t.hint = "use copy_format::text";
        return e;
    }
    [[nodiscard]] error flush(postgres_copy& k, postgres_copy_writer& w) {
        error e = k.put(w.data(), w.size());
        if (e) return e;
        done_.bytes += static_cast<std::int64_t>(w.size());
        w.clear();
        options_.progress(done_);
        return {};
    }
    [[nodiscard]] error finish(postgres_copy& k, postgres_copy_writer& w) {
        w.end();
        if (error e = k.put(w.data(), w.size())) return e;
        done_.bytes += static_cast<std::int64_t>(w.size());
        if (error e = k.finish(done_.rows)) return e;
        options_.progress(done_);
        return {};
    }

    const copy_table& table_;
    const copy_options& options_;
    std::vector<std::string> columns_;
    std::vector<::Oid> types_;
    copied done_;
};

template <class Rows>
class postgres_copy_in : public postgres_copy_in_base {
    using row = std::remove_cvref_t<decltype(*std::begin(std::declval<Rows&>()))>;
    using values = row_values<row>;

public:
    /// A range that can be read only once is never begun again.
    static constexpr bool once = !std::forward_iterator<decltype(std::begin(std::declval<Rows&>()))>;

    postgres_copy_in(const copy_table& table, Rows& rows, const copy_options& o) noexcept : postgres_copy_in_base(table, o), rows_(rows) {}

    /// Within a transaction of the caller's, which rolls back when it fails.
    [[nodiscard]] error run(postgres_connection& c, operation_base&) {
        done_ = {};
        postgres_copy k{c};
        std::array<bool, values::count> wanted{};
        if constexpr (struct_row<row>) {
            if (error e = choose(column_names<row>, wanted)) return e;
        } else if (error e = choose({}, wanted)) {
            return e;
        }
        std::size_t used = 0;
        for (const bool w : wanted) used += w ? 1u : 0u;
        if (error e = describe(k, used)) return e;
        const copy_format format = chosen_format(wanted, k.reading().types);
        if (error e = start(k, format)) return e;
        postgres_copy_writer w{types_, k.reading().types, format, options_.buffer + options_.buffer / 8};
        w.begin();
        for (auto&& r : rows_) {
            w.begin_row();
            if (error e; !write(w, r, wanted, e)) return in_row(std::move(e), done_.rows);
            w.end_row();
            ++done_.rows;
            if (w.size() >= options_.buffer || done_.rows % 4096 == 0) [[unlikely]]
                if (error e = flush(k, w)) return e;
        }
        return finish(k, w);
    }

private:
    [[nodiscard]] STRATA_INLINE bool write(postgres_copy_writer& w, const row& r, const std::array<bool, values::count>& wanted, error& e) {
        std::size_t column = 0;
        return values::each(r, [&](std::size_t i, const auto& value) {
            if (!wanted[i]) return true;
            const errc why = w.field(value);
            if (why != errc::ok) [[unlikely]] {
                e = refused(column, why, codec<std::remove_cvref_t<decltype(value)>>::name, w);
                return false;
            }
            ++column;
            return true;
        });
    }
    /// Binary, unless a type among the values is one that the writer gives as text.
    [[nodiscard]] copy_format chosen_format(const std::array<bool, values::count>& wanted, const type_catalogue& catalogue) const {
        if (options_.format != copy_format::automatic) return options_.format;
        std::size_t column = 0;
        bool binary = true;
        const auto look = [&]<class T>(std::type_identity<T>) {
            if constexpr (sample<T>::there) {
                postgres_copy_writer w{std::span{types_}.subspan(column, 1), catalogue, copy_format::binary, 0};
                static_cast<void>(w.field(sample<T>::make()));
                binary = binary && !w.wants_text();
            }
            ++column;
        };
        [&]<class... T, std::size_t... I>(std::type_identity<std::tuple<T...>>, std::index_sequence<I...>) {
            ((wanted[I] ? look(std::type_identity<T>{}) : void()), ...);
        }(std::type_identity<typename values::types>{}, std::make_index_sequence<values::count>{});
        return binary ? copy_format::binary : copy_format::text;
    }

    Rows& rows_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Rows out of the bytes of a binary COPY, wherever the server has cut them.
#ifndef STRATA_DRIVER_POSTGRES_COPY_READER_HPP
#define STRATA_DRIVER_POSTGRES_COPY_READER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One value as it lies in the bytes; a negative size is NULL.
struct copied_field {
    const char* data = nullptr;
    int size = -1;
};

/// A row of a COPY, whose columns the server described before; models `row_reader`. Valid until the next row.
class postgres_copy_row {
public:
    postgres_copy_row(const PGresult* columns, const copied_field* fields, reading_memory& memory) noexcept
        : columns_(columns), fields_(fields), memory_(memory) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(columns_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(columns_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return memory_.types.name(::PQftype(columns_, i)); }
    [[nodiscard]] postgres_column column(int i) const noexcept {
        const copied_field f = fields_ != nullptr ? fields_[i] : copied_field{};
        std::optional<std::span<const std::byte>> bytes;
        if (f.size >= 0) bytes.emplace(reinterpret_cast<const std::byte*>(f.data), static_cast<std::size_t>(f.size));
        return {::PQftype(columns_, i), bytes, i, memory_};
    }

private:
    const PGresult* columns_;
    const copied_field* fields_;
    reading_memory& memory_;
};

/// Parts the bytes into rows. What it has not understood yet it keeps: at most one row and one piece.
class postgres_copy_reader {
public:
    enum class found : std::uint8_t { row, more, end, nonsense };

    explicit postgres_copy_reader(std::size_t columns) : fields_(columns) {}

    /// The next piece, which must live until `next()` has asked for more.
    void take(std::string_view piece) {
        if (rest_.empty()) {
            kept_.clear();
            rest_ = piece;
        } else {
            kept_ = std::string{rest_}.append(piece);
            rest_ = kept_;
        }
    }
    [[nodiscard]] found next() {
        if (!begun_) {
            if (rest_.size() < 19) return keep();
            if (rest_.substr(0, 11) != std::string_view{"PGCOPY\n\377\r\n\0", 11}) return found::nonsense;
            const auto flags = big_endian<std::uint32_t>(rest_.data() + 11);
            const auto more = big_endian<std::int32_t>(rest_.data() + 15);
            if ((flags & 0xffff0000u) != 0 || more < 0) return found::nonsense;
            if (rest_.size() - 19 < static_cast<std::size_t>(more)) return keep();
            rest_.remove_prefix(19 + static_cast<std::size_t>(more));
            begun_ = true;
        }
        const char* at = rest_.data();
        const char* const end = at + rest_.size();
        if (end - at < 2) return keep();
        const auto count = big_endian<std::int16_t>(at);
        if (count == -1) return found::end;
        if (static_cast<std::size_t>(count) != fields_.size()) return found::nonsense;
        at += 2;
        for (copied_field& f : fields_) {
            if (end - at < 4) return keep();
            f.size = big_endian<std::int32_t>(at);
            at += 4;
            f.data = at;
            if (f.size < -1) return found::nonsense;
            if (f.size == -1) continue;
            if (end - at < f.size) return keep();
            at += f.size;
        }
        rest_ = {at, static_cast<std::size_t>(end - at)};
        return found::row;
    }
    [[nodiscard]] const copied_field* fields() const noexcept { return fields_.data(); }

private:
    /// The piece goes: what is left of it is copied.
    [[nodiscard]] found keep() {
        if (!rest_.empty() && rest_.data() != kept_.data()) {
            kept_ = std::string{rest_};
            rest_ = kept_;
        }
        return found::more;
    }

    std::vector<copied_field> fields_;
    std::string_view rest_;
    std::string kept_;
    bool begun_ = false;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Rows of a table or a query by COPY: one after the other as C++ values, or as the server writes them.
#ifndef STRATA_DRIVER_POSTGRES_COPY_OUT_HPP
#define STRATA_DRIVER_POSTGRES_COPY_OUT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The query that reads the source. `names`: a struct's columns, for a table that is given without.
[[nodiscard]] inline error query_of(const copy_source& source, std::span<const std::string_view> names, std::string& out) {
    if (source.wrong) return source.wrong;
    if (!source.query.empty()) {
        out = source.query;
        return {};
    }
    std::vector<std::string> columns = source.table.columns();
    if (columns.empty()) columns.assign(names.begin(), names.end());
    return select_of(source.table, columns, out);
}

/// A line feed ends a comment at the end of the query.
[[nodiscard]] inline std::string copy_of_query(const std::string& query, std::string_view options) {
    return joined({"copy (", query, "\n) to stdout (", options, ")"});
}

template <class T, class F>
class postgres_copy_out {
public:
    postgres_copy_out(const copy_source& source, F& each_row, const copy_options& o) noexcept
        : source_(source), each_row_(each_row), options_(o) {}

    [[nodiscard]] const copied& done() const noexcept { return done_; }

    [[nodiscard]] error run(postgres_connection& c, operation_base& op) {
        done_ = {};
        if (options_.format != copy_format::automatic && options_.format != copy_format::binary)
            return error{errc::invalid_argument, "rows are read from the binary form only; copy_to writes the others", phase::prepare};
        postgres_copy k{c};
        std::string query;
        if constexpr (struct_row<T>) {
            if (error e = query_of(source_, column_names<T>, query)) return e;
        } else if (error e = query_of(source_, {}, query)) {
            return e;
        }
        if (error e = k.describe(query)) return e;
        reading_memory& memory = k.reading();
        row_plan plan;
        if (error e = row_decoder<T>::plan(postgres_copy_row{k.columns(), nullptr, memory}, plan)) return e.set(phase::prepare), e;
        if (error e = k.start(copy_of_query(query, "format binary"), PGRES_COPY_OUT)) return e;
        postgres_copy_reader reader{static_cast<std::size_t>(::PQnfields(k.columns()))};
        T current{};
        std::int64_t on_server = 0;
        std::int64_t told = 0;
        for (std::string_view piece;;) {
            if (error e = k.get(piece, on_server)) return e;
            if (piece.empty()) break;
            done_.bytes += static_cast<std::int64_t>(piece.size());
            reader.take(piece);
            postgres_copy_reader::found f = reader.next();
            for (; f == postgres_copy_reader::found::row; f = reader.next()) {
                error e;
                if (!row_decoder<T>::decode(postgres_copy_row{k.columns(), reader.fields(), memory}, plan, current, e))
                    return in_row(std::move(e), done_.rows);
                op.handed_over = true;
                each_row_(current);
                ++done_.rows;
            }
            if (f == postgres_copy_reader::found::nonsense)
                return in_row(error{errc::corrupt, "the server's binary COPY cannot be understood", phase::result}, done_.rows);
            if (done_.bytes - told >= static_cast<std::int64_t>(options_.buffer)) {
                told = done_.bytes;
                options_.progress(done_);
            }
        }
        options_.progress(done_);
        return {};
    }

private:
    const copy_source& source_;
    F& each_row_;
    const copy_options& options_;
    copied done_;
};

/// Writes all of it, whatever the descriptor takes at a time.
[[nodiscard]] inline bool write_to_descriptor(const file_descriptor& to, std::string_view bytes) {
    while (!bytes.empty()) {
        const ::ssize_t n = ::write(to.number, bytes.data(), bytes.size());
        if (n > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(n));
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ::pollfd p{to.number, POLLOUT, 0};
            ::poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}
template <class Sink>
[[nodiscard]] bool write_raw(Sink& to, std::string_view bytes) {
    if constexpr (std::is_same_v<std::remove_const_t<Sink>, file_descriptor>) {
        return write_to_descriptor(to, bytes);
    } else if constexpr (requires { to.write(bytes.data(), std::ptrdiff_t{}).good(); }) {
        return to.write(bytes.data(), static_cast<std::ptrdiff_t>(bytes.size())).good();
    } else {
        static_assert(std::is_invocable_v<Sink&, std::string_view>,
                      "strata: raw output goes to a std::ostream, a strata::file_descriptor, or a function of std::string_view");
        to(bytes);
        return true;
    }
}

template <class Sink>
class postgres_copy_raw {
public:
    postgres_copy_raw(const copy_source& source, Sink& sink, const copy_options& o) noexcept : source_(source), sink_(sink), options_(o) {}

    [[nodiscard]] const copied& done() const noexcept { return done_; }

    [[nodiscard]] error run(postgres_connection& c, operation_base& op) {
        done_ = {};
        postgres_copy k{c};
        std::string query;
        if (error e = query_of(source_, {}, query)) return e;
        const bool csv = options_.format == copy_format::csv;
        if (options_.header && !csv) return error{errc::invalid_argument, "only CSV has a header", phase::prepare};
        const std::string_view form = csv                                      ? (options_.header ? "format csv, header" : "format csv")
                                      : options_.format == copy_format::binary ? "format binary"
                                                                               : "format text";
        if (error e = k.start(copy_of_query(query, form), PGRES_COPY_OUT)) return e;
        std::int64_t told = 0;
        for (std::string_view piece;;) {
            if (error e = k.get(piece, done_.rows)) return e;
            if (piece.empty()) break;
            op.handed_over = true;
            if (!write_raw(sink_, piece)) return error{errc::io_error, "the output could not be written", phase::result};
            done_.bytes += static_cast<std::int64_t>(piece.size());
            if (done_.bytes - told >= static_cast<std::int64_t>(options_.buffer)) {
                told = done_.bytes;
                options_.progress(done_);
            }
        }
        options_.progress(done_);
        return {};
    }

private:
    const copy_source& source_;
    Sink& sink_;
    const copy_options& options_;
    copied done_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// How many sessions of a pool wait for locks, asked of the server for the pool's planner; see source/pool_lock_watch.hpp.
//
// It costs the server what a look at pg_stat_activity costs: in proportion to all of its sessions (46 of them: 0.6 ms measured, of which
// two thirds are the plan). A role sees what its own sessions wait for, and needs no right for that. Behind a proxy that shares sessions
// (PgBouncer) their numbers are not the server's: then it finds none that wait.
#ifndef STRATA_DRIVER_POSTGRES_LOCK_WATCH_HPP
#define STRATA_DRIVER_POSTGRES_LOCK_WATCH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A connection of its own, opened when it is asked first. Not thread-safe.
class postgres_lock_watch {
public:
    /// How many of `n` sessions, by their processes' numbers, wait for a lock of any kind. None where there is no answer until the
    /// deadline, and for a connection of the user's, which is not opened twice.
    [[nodiscard]] STRATA_COLD std::optional<std::size_t> ask(const postgres_options& o, const std::int32_t* sessions, std::size_t n,
                                                             const interruption& limit) noexcept {
        if (o.handle != nullptr) return std::nullopt;
        try {
            if (!connection_.is_open() && connection_.open(o, 0, &limit)) return std::nullopt;
            std::string sql = "select count(*) from pg_catalog.pg_stat_activity where wait_event_type = 'Lock' and pid in (0";
            for (std::size_t i = 0; i < n; ++i) sql.append(",").append(digits_of(sessions[i]));
            sql += ")";
            connection_.guard(&limit);
            std::string text;
            error e;
            static_cast<void>(connection_.control_step(sql, e, &text));
            connection_.guard(nullptr);
            std::size_t waiting = 0;
            if (e || std::from_chars(text.data(), text.data() + text.size(), waiting).ec != std::errc{}) return std::nullopt;
            return waiting;
        } catch (...) {  // no memory
            return std::nullopt;
        }
    }

private:
    postgres_connection connection_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A bound statement's arguments into the writer: shared by the single statement and the flight of several.
#ifndef STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP
#define STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The first argument that could not be written: its number from 1 (0: none), why, and the name of its type.
struct refused_argument {
    int number = 0;
    errc why = errc::ok;
    std::string_view type = {};
};

template <class Bound>
[[nodiscard]] refused_argument write_arguments(const Bound& statement, postgres_writer& out) {
    refused_argument r;
    statement.for_each_argument([&](std::size_t index, const auto& value) {
        using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
        if (r.number != 0) return;
        const int number = static_cast<int>(index) + 1;
        errc why = value_codec::write(out, value);
        if (why == errc::ok) why = out.refused();
        if (why == errc::ok && out.written() != number) why = errc::misuse;  // a codec must write exactly once
        if (why != errc::ok) r = {number, why, value_codec::name};
    });
    return r;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a flight of statements knows of each: what it sends, who takes the answer, and its own notes on it.
#ifndef STRATA_DRIVER_POSTGRES_FLOWN_HPP
#define STRATA_DRIVER_POSTGRES_FLOWN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One statement of a flight, or one for each element of a range.
class postgres_flown {
public:
    /// Fills in the five facts.
    virtual void describe() = 0;
    [[nodiscard]] virtual refused_argument bind(std::size_t element, postgres_writer& out) = 0;
    /// The types that arguments say themselves, by their number from 0.
    virtual void each_type(const std::function<void(std::size_t, std::string_view)>& f) const = 0;
    [[nodiscard]] virtual const void* tag() const noexcept = 0;
    [[nodiscard]] virtual error plan(const postgres_row& meta, row_plan& p) = 0;
    /// Takes the rows of an element's answer; sets the error when it cannot.
    virtual void read(std::size_t element, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) = 0;
    /// Each element ends once; one without an error, whose count nobody wants, need not be told.
    virtual void end(std::size_t element, error e, std::int64_t affected) = 0;

    const descriptor* what = nullptr;
    bool literal = false;
    bool only_reads = false;
    bool wants_count = true;
    bool has_types = true;  // arguments may say theirs
    std::size_t count = 0;

    /// The same for all of one text.
    [[nodiscard]] std::uint64_t key() const noexcept { return what->hash.low; }

    // The flight's notes.
    std::size_t first = 0;                // the number of its first statement
    prepared_statement* entry = nullptr;  // valid in the round that found it
    const row_plan* columns = nullptr;
    row_plan own_plan;
    std::vector<::Oid> types;  // of typed arguments, where nothing is prepared
    unsigned round = 0;
    bool renewed = false;  // its prepared statement was stale once
    error refusal;         // it cannot be sent

protected:
    ~postgres_flown() = default;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The part of a query that needs no templates: found prepared or prepared, sent, its results taken one by one, its end told.
#ifndef STRATA_DRIVER_POSTGRES_RUN_HPP
#define STRATA_DRIVER_POSTGRES_RUN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// True for a sink that takes rows one by one and may pause: it gets them as they arrive, not when all are here.
template <class Sink>
inline constexpr bool wants_rows_one_by_one = requires { requires Sink::one_by_one; };

/// The part of a query that needs no templates.
class postgres_run {
public:
    postgres_run(const postgres_run&) = delete;
    postgres_run& operator=(const postgres_run&) = delete;

    [[nodiscard]] error& failure() noexcept { return error_; }
    /// Rows that were inserted, updated, deleted or copied; of a select, 0.
    [[nodiscard]] std::int64_t affected() const noexcept { return affected_; }
    /// Always 0: PostgreSQL has no such thing; use `returning`.
    [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

protected:
    explicit postgres_run(postgres_connection& c) noexcept : connection_(c) {}
    /// Destroyed midway: the rest of the result is not read row by row; the statement is cancelled.
    ~postgres_run() {
        if (under_way_) [[unlikely]]
            abandon();
        else if ((preparing_ || limiting_ || beginning_) && connection_.round_.under_way) [[unlikely]]
            connection_.lost_ = true;
    }

    void begin(const descriptor& what, bool literal) noexcept {
        what_ = &what;
        literal_ = literal;
        key_ = literal ? what.hash : key_of_composed(what.hash);
        typed_ = false;
    }
    /// Parameter `index` has a type that the server need not infer: another statement for the server.
    void want_type(std::size_t index, std::string_view type) {
        connection_.preparation_.want_type(index, type, !std::exchange(typed_, true));
        const hash128 h = hash_text(type);
        key_.high = finish_mix(key_.high ^ (h.high + index));
        key_.low = finish_mix(key_.low ^ (h.low + index));
    }
    /// Finds or prepares the statement: `done`, `failed` with the error set, or `io` or `work` and to be called again. `together`: BEGIN
    /// may be sent with it.
    [[nodiscard]] signal take(bool together) {
        if (preparing_) [[unlikely]]
            return prepare();
        if (beginning_) [[unlikely]]
            return begin_first(false);
        if (limiting_) [[unlikely]]
            return limit();
        connection_.start_the_clock();
        if ((error_ = connection_.unusable(effect::none))) [[unlikely]]
            return signal::failed;
        was_in_transaction_ = connection_.in_transaction();
        if (connection_.limit_.is_on()) [[unlikely]]
            return limit();
        if (connection_.begins()) [[unlikely]]
            return begin_first(together);
        return find();
    }
    /// The same within a call that has begun.
    [[nodiscard]] signal find() {
        if (preparing_) [[unlikely]]
            return prepare();
        const descriptor& what = *what_;
        if (!what.fits(dialect::postgres)) [[unlikely]]
            return refuse("the text does not follow PostgreSQL's lexical rules");
        if (connection_.prepares_) {
            entry_ = connection_.statements_.take(key_, what.postgres_text, literal_);
            if (entry_ != nullptr) [[likely]]
                return signal::done;
            if (what.statements > 1) {
                const signal s = refuse("PostgreSQL takes one statement at a time");
                error_.edit_texts().hint = "run them one by one, in a transaction if they belong together";
                return s;
            }
        } else if (!typed_) {
            return signal::done;
        }
        return begin_to_prepare();
    }

    void begin_parameters() { connection_.writer_.reset(types(), entry_ != nullptr, connection_.reading_.types); }
    [[nodiscard]] postgres_writer& writer() noexcept { return connection_.writer_; }
    [[nodiscard]] reading_memory& reading() noexcept { return connection_.reading_; }

    /// Sends the bound statement.
    [[nodiscard]] bool send(bool one_by_one) {
        postgres_writer& w = connection_.writer_;
        w.finish();
        PGconn* const db = connection_.db_;
        if (!connection_.begin_.empty()) [[unlikely]]
            send_begin();
        const int n = w.written();
        const int sent = entry_ != nullptr ? ::PQsendQueryPrepared(db, entry_->name, n, w.values(), w.lengths(), w.formats(), 1)
                                           : ::PQsendQueryParams(db, std::string{what_->postgres_text}.c_str(), n, parameter_types(),
                                                                 w.values(), w.lengths(), w.formats(), 1);
        if (sent == 0) {
            connection_.lost_ = connection_.is_lost();
            error_ = connection_.lost_error(phase::execute, effect::none);
            if (!connection_.lost_) error_.set(errc::invalid_statement).set(health::good);
            return false;
        }
        if (one_by_one) [[unlikely]]
            connection_.streamed_ = ::PQsetSingleRowMode(db) != 0;
        if (flown_ != flown::alone && ::PQpipelineSync(db) == 0) [[unlikely]]
            connection_.lost_ = true;
        under_way_ = connection_.busy_ = true;
        return true;
    }

    /// `io`, or done with the next result in `result_`, which is null at the end of the statement or of the connection.
    [[nodiscard]] STRATA_INLINE signal next() {
        row_ = 0;
        const signal s = connection_.next(result_);
        if (flown_ == flown::alone) [[likely]]
            return s;
        return next_of_flight(s);
    }

    [[nodiscard]] bool can_be_described() {
        if (connection_.prepares_) return true;
        error_ =
            error{errc::unsupported, "without prepared statements (postgres_options.prepare) the server describes none", phase::prepare};
        return false;
    }

    /// Keeps what a finished command left, or its error.
    void keep_outcome() {
        const ExecStatusType s = ::PQresultStatus(result_.get());
        if (s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK) {
            if (what_->kind == statement_kind::session) [[unlikely]]
                connection_.changed_session_ = true;
            const std::string_view tag = ::PQcmdStatus(result_.get());
            if (!tag.empty() && tag[0] != 'S' && tag[0] != 'F') {  // what SELECT, SHOW and FETCH count was not changed
                affected_ += std::strtoll(::PQcmdTuples(result_.get()), nullptr, 10);
                wrote_ = wrote_ || affected_ != 0;
            }
        } else if (s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE) {
            failed_on_server_ = true;
            error server = connection_.error_of(result_.get(), phase::execute, what_->text, what_->postgres_text);
            was_hit_ = server.code() == errc::cancelled && connection_.ended_by_ != errc::ok;
            if (was_hit_)
                server.set(connection_.ended_by_);
            else if (server.code() == errc::cancelled && connection_.limit_.limits())
                server.set(errc::timeout);
            if (!error_) error_ = std::move(server);
        } else if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
            error_ = error{errc::unsupported, "COPY cannot be run as a statement", phase::execute}.set(health::lost);
            connection_.lost_ = true;
        }
    }

    /// All results are read: what came of it.
    [[nodiscard]] signal end() {
        ending_ = connection_.fence(was_hit_) == signal::work;
        if (ending_) return signal::work;
        under_way_ = connection_.busy_ = false;
        connection_.hooks_.look(connection_.db_);
        if (connection_.lost_) {
            if (!failed_on_server_)
                error_ = connection_.lost_error(phase::execute, was_in_transaction_ ? effect::rolled_back : effect::unknown);
            error_.set_lost();
        }
        if (!error_) return signal::done;
        if (!failed_on_server_ && !connection_.lost_) error_.set(phase::result).set(wrote_ ? effect::applied : effect::none);
        if (error_.has_texts() && error_.texts().statement.empty()) error_.edit_texts().statement = what_->text;
        return signal::failed;
    }

    /// A stale statement of the server's: forgotten, so that the next try prepares it anew. True when that may happen at once.
    [[nodiscard]] STRATA_COLD bool is_stale() {
        if (entry_ == nullptr || renewed_ || was_in_transaction_ || !failed_on_server_ || connection_.lost_) return false;
        if (!tells_stale_plan(error_)) return false;
        renewed_ = true;
        connection_.statements_.forget(entry_->key);
        entry_ = nullptr;
        error_ = {};
        failed_on_server_ = was_hit_ = false;
        under_way_ = connection_.busy_ = false;
        return true;
    }

    [[nodiscard]] signal argument_refused(int number, errc why, std::string_view type) {
        const std::size_t at = static_cast<std::size_t>(number - 1);
        error_ = argument_error(why, at + 1, what_->parameter(at), type);
        error_texts& t = error_.edit_texts();
        if (at < types().size() && !reading().types.name(types()[at]).empty())
            t.detail = joined({"the server wants ", reading().types.name(types()[at])});
        t.statement = what_->text;
        return signal::failed;
    }

    /// Nobody wants the rest: the server is told, and what has already been sent is dropped.
    void abandon() noexcept {
        under_way_ = false;
        if (connection_.yields_) {  // this thread may not wait for the rest: the connection is given up
            connection_.lost_ = true;
            return;
        }
        try {
            const bool more = result_ == nullptr || ::PQresultStatus(result_.get()) == PGRES_SINGLE_TUPLE;
            if (more && connection_.ended_by_ == errc::ok && !connection_.lost_) connection_.begin_to_cancel(errc::cancelled);
            bool was_hit = false;
            for (;;) {
                static_cast<void>(next());
                if (result_ == nullptr) break;
                was_hit = was_hit || field_of(result_.get(), PG_DIAG_SQLSTATE) == "57014";
            }
            static_cast<void>(connection_.fence(was_hit));
        } catch (...) {  // no memory
            connection_.lost_ = true;
        }
        connection_.busy_ = false;
    }

    postgres_connection& connection_;
    const descriptor* what_ = nullptr;
    hash128 key_;
    prepared_statement* entry_ = nullptr;  // null where nothing is prepared
    result_owner result_;
    int row_ = 0;
    error error_;
    std::int64_t affected_ = 0;
    bool under_way_ = false;
    bool was_in_transaction_ = false;
    bool failed_on_server_ = false;
    bool was_hit_ = false;  // by our own cancel
    bool wrote_ = false;
    bool renewed_ = false;
    bool literal_ = false;
    bool typed_ = false;  // an argument says its type
    bool preparing_ = false;
    bool limiting_ = false;
    bool beginning_ = false;
    /// Which answer comes next where BEGIN was sent with the statement.
    enum class flown : std::uint8_t { alone, begin, end_of_begin, statement, sync };
    flown flown_ = flown::alone;
    bool ending_ = false;  // a thread that may block waits for the end of our cancel

private:
    [[nodiscard]] std::span<const ::Oid> types() const noexcept {
        return entry_ != nullptr ? std::span<const ::Oid>{entry_->parameters} : std::span<const ::Oid>{};
    }
    [[nodiscard]] signal limit();
    [[nodiscard]] signal begin_first(bool together);
    void send_begin();
    [[nodiscard]] signal next_of_flight(signal s);
    [[nodiscard]] signal begin_to_prepare();
    [[nodiscard]] signal prepare();
    [[nodiscard]] STRATA_COLD signal refuse(const char* why) {
        error_ = error{errc::invalid_statement, why, phase::prepare};
        error_.edit_texts().statement = what_->text;
        return signal::failed;
    }
    /// For libpq: null where the server is to infer them all.
    [[nodiscard]] const ::Oid* parameter_types() const noexcept {
        return typed_ ? connection_.preparation_.parameter_types().data() : nullptr;
    }
};

/// Tells the server the deadline, then finds the statement.
STRATA_COLD inline signal postgres_run::limit() {
    const signal s = connection_.limit_.step(connection_, error_);
    limiting_ = s == signal::io || s == signal::work;
    connection_.limit_.look_at(what_->kind);
    return s == signal::done ? find() : s;
}

/// A transaction's first statement: BEGIN goes with it where it is prepared already, and before it else.
STRATA_COLD inline signal postgres_run::begin_first(bool together) {
    if (together && connection_.prepares_) {
        entry_ = connection_.statements_.take(key_, what_->postgres_text, literal_);
        if (entry_ != nullptr) return signal::done;
    }
    const signal s = connection_.begin_step(error_);
    beginning_ = s == signal::io || s == signal::work;
    return s == signal::done ? find() : s;
}
STRATA_COLD inline void postgres_run::send_begin() {
    const std::string begin{std::exchange(connection_.begin_, {})};
    flown_ = flown::begin;
    if (::PQenterPipelineMode(connection_.db_) == 0 ||
        ::PQsendQueryParams(connection_.db_, begin.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 1) == 0)
        connection_.lost_ = true;
}
/// The statement's results out of those of the flight.
STRATA_COLD inline signal postgres_run::next_of_flight(signal s) {
    for (; s != signal::io && !connection_.lost_; s = connection_.next(result_)) {
        const ExecStatusType is = result_ != nullptr ? ::PQresultStatus(result_.get()) : PGRES_EMPTY_QUERY;
        switch (flown_) {
            case flown::begin:
                flown_ = flown::end_of_begin;
                if (is != PGRES_COMMAND_OK) return s;  // the statement's own failure, for it was not run
                break;
            case flown::end_of_begin:
                flown_ = flown::statement;
                break;
            case flown::statement:
                if (result_ != nullptr && is != PGRES_PIPELINE_ABORTED) return s;
                if (result_ == nullptr) flown_ = flown::sync;
                break;
            default:
                result_.reset();
                flown_ = flown::alone;
                if (is != PGRES_PIPELINE_SYNC || ::PQexitPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
                return s;
        }
    }
    if (connection_.lost_) flown_ = flown::alone;
    return s;
}

STRATA_COLD inline signal postgres_run::begin_to_prepare() {
    connection_.preparation_.begin({what_, key_, typed_, connection_.prepares_, was_in_transaction_});
    preparing_ = true;
    return prepare();
}

STRATA_COLD inline signal postgres_run::prepare() {
    const signal s = connection_.preparation_.step(connection_, connection_.statements_, connection_.reading_.types, error_, entry_);
    preparing_ = s == signal::io || s == signal::work;
    const bool limited = s == signal::failed && error_.code() == errc::cancelled && connection_.ended_by_ == errc::ok;
    if (limited && connection_.limit_.limits()) error_.set(errc::timeout);
    return s;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Several statements in one flight through libpq's pipeline mode: sent ahead, answered in order.
//
// Outside of a transaction each statement stands for itself, behind a Sync of its own, so that none can roll another back. Reads
// that call nothing but pure functions have nothing to roll back and share one: those that the server skipped, since one before
// them failed, are sent again. Inside a transaction there is one Sync at the end, and what follows a failure is not run.
#ifndef STRATA_DRIVER_POSTGRES_FLIGHT_HPP
#define STRATA_DRIVER_POSTGRES_FLIGHT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

class postgres_flight : public postgres_run {
public:
    postgres_flight(postgres_connection& c, std::span<postgres_flown* const> items) noexcept : postgres_run(c), items_(items) {}
    ~postgres_flight() {
        if (!std::exchange(under_way_, false)) [[likely]]
            return;
        connection_.lost_ = true;  // destroyed midway, with answers that nobody will take
        connection_.busy_ = false;
    }

    /// `io` and `work` only where the connection yields.
    [[nodiscard]] signal resume() {
        if (ending_) return finish();
        if (!started_ && !start()) return finish();
        if (limiting_) [[unlikely]] {
            const signal s = connection_.begins() ? connection_.begin_step(error_) : connection_.limit_.step(connection_, error_);
            if (s == signal::io || s == signal::work) return s;
            limiting_ = false;
            if (s == signal::failed) {
                fail_rest(std::exchange(error_, {}));
                return finish();
            }
        }
        for (;;) {
            if (answered_ == sent_.size()) {
                land();
                const filled f = fill();
                if (f == filled::nothing) return finish();
                if (f == filled::waits) return wait_;
            }
            while (answered_ < sent_.size()) {
                if (!unflushed_ && ::PQisBusy(connection_.db_) == 0) [[likely]] {
                    result_.reset(::PQgetResult(connection_.db_));
                } else {
                    if (next() == signal::io) return signal::io;
                    unflushed_ = false;  // it waits until all is sent
                }
                take_result();
            }
        }
    }

private:
    /// A statement on its way; without an item, a Sync.
    struct spot {
        postgres_flown* item = nullptr;
        std::size_t element = 0;
    };
    enum class readiness : std::uint8_t { ready, refused, next_round, waits };
    enum class filled : std::uint8_t { sent, nothing, waits };
    static constexpr std::size_t most_statements = 1024;    // of one round, so that neither side's memory is without a bound
    static constexpr std::size_t most_bytes = 1024 * 1024;  // of their arguments

    [[nodiscard]] bool start() {
        started_ = true;
        std::size_t number = 0;
        for (postgres_flown* const i : items_) {
            i->describe();
            i->first = number;
            number += i->count;
        }
        sent_.reserve(number < most_statements ? 2 * number + 1 : 2 * most_statements + 1);
        connection_.start_the_clock();
        if (error e = connection_.unusable(effect::none)) return fail_rest(std::move(e)), false;
        was_in_transaction_ = connection_.in_transaction();
        limiting_ = connection_.limit_.is_on() || connection_.begins();
        return true;
    }

    /// The statement that is to be sent next.
    [[nodiscard]] bool peek(spot& s) {
        if (again_at_ < again_.size()) {
            s = again_[again_at_];
            return true;
        }
        while (item_ < items_.size() && element_ == items_[item_]->count) {
            ++item_;
            element_ = 0;
        }
        if (item_ == items_.size()) return false;
        s = {items_[item_], element_};
        return true;
    }
    void advance() noexcept {
        if (again_at_ < again_.size())
            ++again_at_;
        else
            ++element_;
    }

    /// Sends a round, unless nothing is left to send; `waits` until a statement is prepared.
    [[nodiscard]] filled fill() {
        if (!filling_) {
            ++round_;
            distinct_ = 0;
            if (again_at_ == again_.size()) again_.clear(), again_at_ = 0;
        }
        filling_ = true;
        if (!preparing_ && stop_now()) return filled::nothing;  // what is being prepared looks at the guard itself
        const bool repeating = again_at_ < again_.size();
        if (!was_in_transaction_ && !repeating && connection_.prepares_) {
            // Whatever is missing is prepared first, so that all goes in one flight.
            for (std::size_t i = item_; i < items_.size(); ++i) {
                const readiness r = items_[i]->count != 0 ? make_ready(*items_[i]) : readiness::ready;
                if (r == readiness::waits) return filled::waits;
                if (r == readiness::next_round || connection_.lost_ || connection_.ended_by_ != errc::ok) break;
            }
        }
        spot last;
        std::size_t bytes = 0;
        for (spot s; sent_.size() < most_statements && bytes < most_bytes && peek(s);) {
            postgres_flown& i = *s.item;
            if (i.round != round_ || i.refusal) [[unlikely]] {
                const readiness r = make_ready(i);
                if (r == readiness::waits) return filled::waits;
                if (r == readiness::next_round) break;
                if (r == readiness::refused) {
                    advance();
                    fail(s, i.refusal);
                    if (stop_now()) break;
                    continue;
                }
            }
            advance();
            const bool stands_alone = !i.only_reads || repeating;
            if (!was_in_transaction_ && last.item != nullptr && (stands_alone || !last.item->only_reads)) sync();
            if (!send(s)) [[unlikely]] {
                if (stop_now()) break;
                continue;
            }
            last = s;
            for (int n = 0; n < writer().written(); ++n) bytes += static_cast<std::size_t>(writer().lengths()[n]);
        }
        if (last.item != nullptr) sync();
        unflushed_ = true;
        filling_ = false;
        if (!sent_.empty()) return filled::sent;
        spot left;
        return peek(left) && !stop_now() ? fill() : filled::nothing;
    }

    /// True when nothing more may be sent; then all that is left has ended.
    [[nodiscard]] bool stop_now() {
        const bool broken = connection_.is_lost() || connection_.ended_by_ != errc::ok;
        if (broken || stopped_) {
            if (sent_.empty())
                fail_rest(not_run(broken ? "those before it were not answered in time, or the connection broke" : "one before it failed"));
            return true;
        }
        const interruption* const g = connection_.guard_;
        if (g == nullptr || !sent_.empty() || (!g->is_cancelled() && (g->deadline == never || clock::now() < g->deadline))) return false;
        const bool cancelled = g->is_cancelled();
        fail_rest(error{cancelled ? errc::cancelled : errc::timeout,
                        cancelled ? "cancelled before it was sent" : "the deadline passed before it was sent", phase::execute});
        return true;
    }

    /// Finds or prepares the item's statement for this round.
    [[nodiscard]] readiness make_ready(postgres_flown& i) {
        if (i.round == round_) return i.refusal ? readiness::refused : readiness::ready;
        if (connection_.prepares_ && distinct_ == connection_.statements_.bound()) return readiness::next_round;
        identify(i);
        entry_ = nullptr;
        i.columns = nullptr;
        if (!sent_.empty() && must_ask(i)) return readiness::next_round;
        wait_ = find();
        if (wait_ == signal::io || wait_ == signal::work) return readiness::waits;
        if (!error_ && entry_ != nullptr) plan_prepared(i);
        if (!error_ && typed_ && entry_ == nullptr) i.types = connection_.preparation_.parameter_types();
        i.round = round_;
        i.entry = entry_;
        ++distinct_;
        if (!error_) return readiness::ready;
        i.refusal = std::exchange(error_, {});
        if (i.refusal.texts().statement.empty()) i.refusal.edit_texts().statement = i.what->text;
        return readiness::refused;
    }

    [[nodiscard]] bool must_ask(const postgres_flown& i) {
        if (!connection_.prepares_) return typed_;
        return connection_.statements_.take(key_, i.what->postgres_text, i.literal) == nullptr;
    }
    /// Which statement is talked of: text and types that arguments say.
    void identify(postgres_flown& i) {
        begin(*i.what, i.literal);
        now_ = &i;
        i.each_type([this](std::size_t index, std::string_view type) { want_type(index, type); });
    }
    void plan_prepared(postgres_flown& i) {
        if (!entry_->planned) {
            error_ = i.plan(postgres_row{entry_->columns.get(), -1, reading()}, entry_->plan);
            if (error_) {
                error_.set(phase::prepare);
                return;
            }
            entry_->plan.tag = i.tag();
            entry_->planned = true;
        }
        i.columns = &entry_->plan;
        if (entry_->plan.tag == i.tag()) return;  // else another item of the flight may be reading by it
        error_ = i.plan(postgres_row{entry_->columns.get(), -1, reading()}, i.own_plan);
        error_.set(phase::prepare);
        i.columns = &i.own_plan;
    }

    [[nodiscard]] bool send(const spot& s) {
        if (now_ != s.item) {
            identify(*s.item);
            entry_ = s.item->entry;
            if (typed_ && entry_ == nullptr) connection_.preparation_.set_parameter_types(s.item->types);
        }
        begin_parameters();
        const refused_argument r = s.item->bind(s.element, writer());
        if (r.number != 0) {
            static_cast<void>(argument_refused(r.number, r.why, r.type));
            return fail(s, std::exchange(error_, {})), false;
        }
        if (sent_.empty()) {
            if (::PQenterPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
            if (std::exchange(connection_.streamed_, false)) sync();  // the first thing in a pipeline is still read row by row
        }
        if (connection_.lost_ || !postgres_run::send(false)) {
            error e = std::exchange(error_, {});
            if (!e) e = connection_.lost_error(phase::execute, effect::none);
            return fail(s, std::move(e)), false;
        }
        sent_.push_back(s);
        connection_.look_at(s.item->what->kind);
        return true;
    }
    void sync() {
        if (::PQpipelineSync(connection_.db_) == 0) connection_.lost_ = true;
        sent_.push_back({});
    }

    void take_result() {
        const spot s = sent_[answered_];
        if (connection_.lost_ || result_ == nullptr) [[unlikely]]
            return lose();
        const ExecStatusType status = ::PQresultStatus(result_.get());
        if (status == PGRES_PIPELINE_SYNC || s.item == nullptr) {
            if ((status == PGRES_PIPELINE_SYNC) != (s.item == nullptr)) return lose();
            ++answered_;
            return result_.reset();
        }
        if (status == PGRES_PIPELINE_ABORTED) {
            skipped_ = true;
        } else {
            if (status == PGRES_TUPLES_OK) read(s);
            if (status != PGRES_TUPLES_OK || !s.item->only_reads) {
                what_ = s.item->what;
                keep_outcome();
            }
        }
        // A null ends each statement's results, and does not wait.
        result_.reset(::PQgetResult(connection_.db_));
        if (result_ != nullptr || connection_.lost_) return lose();
        ++answered_;
        if (!error_ && !skipped_ && s.item->only_reads && !s.item->wants_count) [[likely]]
            return;
        end_of_statement(s);
    }
    void read(const spot& s) {
        postgres_flown& i = *s.item;
        if (i.columns == nullptr) {  // nothing is prepared
            error_ = i.plan(postgres_row{result_.get(), -1, reading()}, i.own_plan);
            if (!error_) i.columns = &i.own_plan;
        }
        if (!error_) i.read(s.element, result_.get(), *i.columns, reading(), error_);
    }
    void end_of_statement(const spot& s) {
        error e = std::exchange(error_, {});
        const auto affected = std::exchange(affected_, 0);
        const bool on_server = std::exchange(failed_on_server_, false);
        const bool hit = std::exchange(was_hit_, false);
        const bool wrote = std::exchange(wrote_, false);
        if (std::exchange(skipped_, false)) {
            if (was_in_transaction_ || connection_.ended_by_ != errc::ok)
                fail(s, not_run("a statement before it in the flight failed"));
            else
                again_.push_back(s);
            return;
        }
        if (!s.item->only_reads && !on_server) applied_ = true;
        if (!e) return s.item->end(s.element, {}, affected);
        if (on_server && is_stale(e, s)) return again_.push_back(s);
        if (!on_server) e.set(phase::result).set(wrote ? effect::applied : effect::none);
        hit_ = hit_ || hit;
        fail(s, std::move(e));
    }
    /// A prepared statement that the server does not know any more, or whose columns have changed: prepared anew, once.
    [[nodiscard]] bool is_stale(const error& e, const spot& s) {
        postgres_flown& i = *s.item;
        const bool stale = tells_stale_plan(e);
        if (!stale || was_in_transaction_ || i.entry == nullptr || (i.renewed && i.round != renewed_in_)) return false;
        if (!std::exchange(i.renewed, true)) {
            renewed_in_ = round_;
            identify(i);
            connection_.statements_.forget(key_);
        }
        return true;
    }
    /// The connection broke: of what was sent and not answered nobody knows anything.
    STRATA_COLD void lose() {
        connection_.lost_ = true;
        const error e = connection_.lost_error(phase::execute, was_in_transaction_ ? effect::rolled_back : effect::unknown);
        for (; answered_ < sent_.size(); ++answered_)
            if (sent_[answered_].item != nullptr) fail(sent_[answered_], e);
    }

    void land() {
        sent_.clear();
        answered_ = 0;
        under_way_ = connection_.busy_ = false;
        if (!connection_.lost_ && ::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0)
            connection_.lost_ = true;
    }
    [[nodiscard]] static error not_run(const char* why) { return error{errc::not_run, why, phase::execute}; }

    STRATA_COLD void fail(const spot& s, error e) {
        const std::size_t number = s.item->first + s.element;
        error_texts& t = e.edit_texts();
        if (t.statement.empty()) t.statement = s.item->what->text;
        t.detail.append(t.detail.empty() ? "" : "; ").append(joined({"statement ", digits_of(number), " of the pipeline, counted from 0"}));
        if (was_in_transaction_) stopped_ = true;
        const bool skipped = e.code() == errc::not_run;
        if (!first_failure_ || (!skipped && number < first_failed_)) {
            first_failed_ = number;
            first_failure_ = e;
        }
        s.item->end(s.element, std::move(e), 0);
    }
    /// All that has not been sent: the first one ends with `why`, the others were not run.
    STRATA_COLD void fail_rest(error why) {
        for (spot s; peek(s); why = not_run("a statement before it in the flight failed")) {
            advance();
            fail(s, std::move(why));
        }
    }

    [[nodiscard]] signal finish() {
        ending_ = connection_.fence(hit_) == signal::work;
        if (ending_) return signal::work;
        under_way_ = connection_.busy_ = false;
        error_ = std::move(first_failure_);
        if (connection_.lost_ && error_) error_.set_lost();
        // Of the whole: others were carried out, and a second time is another time.
        if (error_ && error_.effect() == effect::none && applied_ && !was_in_transaction_) error_.set(effect::unknown);
        return error_ ? signal::failed : signal::done;
    }

    std::span<postgres_flown* const> items_;
    std::size_t item_ = 0;  // what has been sent, or has ended, of the items
    std::size_t element_ = 0;
    std::vector<spot> again_;  // skipped by the server, or stale
    std::size_t again_at_ = 0;
    std::vector<spot> sent_;  // in this round
    std::size_t answered_ = 0;
    unsigned round_ = 0;
    unsigned renewed_in_ = 0;
    std::size_t distinct_ = 0;  // statements of this round
    postgres_flown* now_ = nullptr;
    bool started_ = false;
    bool filling_ = false, skipped_ = false, stopped_ = false, applied_ = false;
    bool hit_ = false;  // by our own cancel
    bool unflushed_ = false;
    signal wait_ = signal::done;  // of a statement that is being prepared
    std::size_t first_failed_ = 0;
    error first_failure_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Several statements in one flight through libpq's pipeline mode. The logic is in flight.hpp; this binds and reads by types.
#ifndef STRATA_DRIVER_POSTGRES_PIPELINE_HPP
#define STRATA_DRIVER_POSTGRES_PIPELINE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// An item of the face's, as the flight sees it. An item has
///     static constexpr bool wants_count, may_have_types;
///     const descriptor& text();  bool literal();  bool only_reads();  std::size_t size();
///     void with_statement(i, f);            // f(bound) for element i
///     static const void* tag();  static error plan(meta, row_plan&);
///     void with_sink(i, f);                 // f(sink) for the answer to element i
///     void end(i, error, execution);  void restart();
template <class Item>
class postgres_flown_item final : public postgres_flown {
public:
    explicit postgres_flown_item(Item& item) noexcept : item_(item) {}

    void describe() override {
        what = &item_.text();
        literal = item_.literal();
        only_reads = item_.only_reads();
        wants_count = Item::wants_count;
        count = item_.size();
    }
    [[nodiscard]] refused_argument bind(std::size_t i, postgres_writer& out) override {
        refused_argument r;
        item_.with_statement(i, [&](const auto& statement) { r = write_arguments(statement, out); });
        return r;
    }
    void each_type(const std::function<void(std::size_t, std::string_view)>& f) const override {
        if constexpr (Item::may_have_types) {
            item_.with_statement(0, [&](const auto& statement) {
                statement.for_each_argument([&](std::size_t index, const auto& value) {
                    if (const std::string_view type = type_of_argument(value); !type.empty()) f(index, type);
                });
            });
        }
    }
    [[nodiscard]] const void* tag() const noexcept override { return Item::tag(); }
    [[nodiscard]] error plan(const postgres_row& meta, row_plan& p) override { return Item::plan(meta, p); }
    void read(std::size_t i, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) override {
        item_.with_sink(i, [&](auto&& sink) {
            const int rows = ::PQntuples(r);
            for (int row = 0; row < rows; ++row)
                if (sink.row(postgres_row{r, row, memory}, p, e) != flow::more) return;
            sink.finish(e);
        });
    }
    void end(std::size_t i, error e, std::int64_t affected) override { item_.end(i, std::move(e), {.affected = affected}); }

private:
    Item& item_;
};

}  // namespace detail

/// A flight of independent statements. Call `resume()` until it says `done` or `failed`, which it is when one of them has failed:
/// `failure()` is the first one's error, each item knows its own.
template <class... Items>
class postgres_connection::pipeline {
public:
    pipeline(postgres_connection& c, std::tuple<Items...>& items) noexcept : pipeline(c, items, std::index_sequence_for<Items...>{}) {}
    pipeline(const pipeline&) = delete;
    pipeline& operator=(const pipeline&) = delete;

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() { return flight_.resume(); }
    [[nodiscard]] error& failure() noexcept { return flight_.failure(); }

private:
    template <std::size_t... I>
    pipeline(postgres_connection& c, std::tuple<Items...>& items, std::index_sequence<I...>) noexcept
        : adapters_(std::get<I>(items)...), items_{&std::get<I>(adapters_)...}, flight_(c, items_) {}

    std::tuple<detail::postgres_flown_item<Items>...> adapters_;
    std::array<detail::postgres_flown*, sizeof...(Items)> items_;
    detail::postgres_flight flight_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What the server says of a statement that it has prepared: its columns, and the types of its parameters.
//
// Before a call, so that a test or a start can hold all of them against the C++ types that they are used with. That is stricter than a
// call, for which the server parses a text, whatever it is for.
#ifndef STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP
#define STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What an argument's type is beneath what holds it.
template <class T>
struct sent_as {
    using type = T;
    static constexpr bool list = false;
};
template <>
struct sent_as<c_text> : sent_as<std::string_view> {};
template <class T>
struct sent_as<std::optional<T>> : sent_as<T> {};
template <class Kept>
struct sent_as<typed<Kept>> : sent_as<std::remove_cvref_t<Kept>> {};
template <reference_like T>
struct sent_as<T> : sent_as<std::remove_cv_t<typename T::type>> {};
template <class T>
struct list_sent {
    using type = T;
    static constexpr bool list = true;
};
template <class T>
    requires(!std::is_same_v<T, std::byte>)
struct sent_as<std::vector<T>> : list_sent<T> {};
template <class T>
    requires(!std::is_same_v<std::remove_const_t<T>, std::byte>)
struct sent_as<std::span<T>> : list_sent<std::remove_const_t<T>> {};

/// True when a T can be an argument for a parameter of the type `to`: as the writer sends it, and no text for a number.
template <class T>
[[nodiscard]] bool fits_parameter(const postgres_type& to) {
    using sent = sent_as<T>;
    using value = typename sent::type;
    if constexpr (sent::list) {
        return to.is(nesting::array) && fits_parameter<value>(to.part());
    } else if constexpr (requires { codec<value>::fits(to); }) {
        return codec<value>::fits(to);
    } else {
        constexpr column_classes takes = classes_of<value>();
        const column_type found = to.type();
        const bool decimal = to.server_type() == oid::numeric;
        if constexpr (takes.has(column_type::other) || takes.has(column_type::text))
            return takes.has(found);
        else if constexpr (takes.has(column_type::boolean))
            return found == column_type::boolean;
        else if constexpr (takes.has(column_type::real))
            return found == column_type::real || decimal;
        else if constexpr (takes.has(column_type::integer))
            return found == column_type::integer || found == column_type::real || decimal || to.server_type() == oid::money;
        else
            return takes.has(found);
    }
}

}  // namespace detail

/// The columns of a prepared statement (models `row_reader`; there is no row) and its parameters, counted from 0.
class postgres_description : public postgres_row {
public:
    postgres_description(const PGresult* described, detail::reading_memory& memory) noexcept
        : postgres_row(described, -1, memory), described_(described), types_(memory.types) {}

    [[nodiscard]] int parameters() const noexcept { return ::PQnparams(described_); }
    /// As the server names it; empty for a type without a name here.
    [[nodiscard]] std::string_view parameter_type(int i) const noexcept { return types_.name(::PQparamtype(described_, i)); }
    /// Whether a T fits the parameter.
    template <class T>
    [[nodiscard]] bool takes(int i) const {
        return detail::fits_parameter<T>(postgres_type{::PQparamtype(described_, i), types_});
    }

private:
    const PGresult* described_;
    const detail::type_catalogue& types_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// One statement on its way: bound in the server's types, its rows given to a sink. All but these two is in run.hpp.
#ifndef STRATA_DRIVER_POSTGRES_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_QUERY_HPP

namespace strata::inline STRATA_ABI {

/// One statement. Call `resume()` until it says `done` or `failed`, and not again after that; `item` means that the sink has paused and
/// goes on at the next call. Connection, statement, arguments and sink must outlive the query.
template <class Bound, class Sink>
class postgres_connection::query : public detail::postgres_run {
public:
    query(postgres_connection& connection, const Bound& statement, Sink& sink) noexcept
        : detail::postgres_run(connection), statement_(statement), sink_(sink) {}

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() {
        if (ending_) [[unlikely]]
            return end();
        if (!under_way_) {
            if (const signal s = start(); s != signal::done) [[unlikely]]
                return s;
        }
        for (;;) {
            if (result_ == nullptr) {
                if (next() == signal::io) return signal::io;
                if (result_ == nullptr) break;
            }
            const ExecStatusType s = ::PQresultStatus(result_.get());
            if (s == PGRES_TUPLES_OK || s == PGRES_SINGLE_TUPLE) {
                if (!planned_ && !stopped_ && !plan_unprepared()) stopped_ = true;
                for (const int rows = ::PQntuples(result_.get()); row_ < rows && !stopped_;) {
                    const flow f = sink_.row(postgres_row{result_.get(), row_++, reading()}, plan(), error_);
                    if (f == flow::pause) return signal::item;
                    if (f == flow::stop) stopped_ = true;
                }
            }
            if (s != PGRES_SINGLE_TUPLE) keep_outcome();
            result_.reset();
        }
        if (failed_on_server_ && is_stale()) [[unlikely]]
            return resume();
        if (error_ || stopped_ || connection_lost()) return end();
        sink_.finish(error_);
        return end();
    }

    /// Has the server prepare and describe the statement, executes nothing, and hands a `postgres_description` to `use`. Blocks. False
    /// when that fails: see `failure()`.
    template <class Use>
    [[nodiscard]] bool describe(Use&& use) {
        begin(statement_.text(), Bound::facts.kind_known);
        take_types();
        if (!can_be_described() || take(false) != signal::done) return false;
        use(postgres_description{entry_->columns.get(), reading()});
        return true;
    }

private:
    [[nodiscard]] bool connection_lost() const noexcept { return connection_.is_lost(); }

    [[nodiscard]] signal start() {
        if (!preparing_ && !limiting_ && !beginning_) [[likely]] {
            begin(statement_.text(), Bound::facts.kind_known);
            take_types();
        }
        if (const signal s = take(!detail::wants_rows_one_by_one<Sink>); s != signal::done) [[unlikely]]
            return s;
        if (entry_ != nullptr && !plan_prepared()) return signal::failed;
        return bind() && send(detail::wants_rows_one_by_one<Sink>) ? signal::done : signal::failed;
    }

    /// The types that arguments say themselves.
    void take_types() {
        statement_.for_each_argument([this](std::size_t index, const auto& value) {
            if constexpr (detail::may_be_typed<std::remove_cvref_t<decltype(value)>>) {
                if (const std::string_view type = detail::type_of_argument(value); !type.empty()) want_type(index, type);
            }
        });
    }

    /// Binds the arguments; false when one is refused.
    [[nodiscard]] bool bind() {
        begin_parameters();
        const detail::refused_argument r = detail::write_arguments(statement_, writer());
        if (r.number == 0) [[likely]]
            return true;
        static_cast<void>(argument_refused(r.number, r.why, r.type));
        return false;
    }

    /// Before anything is sent: a row type that misses a column is refused without an effect.
    [[nodiscard]] bool plan_prepared() {
        planned_ = true;
        if (entry_->planned && entry_->plan.tag == sink_.tag()) return true;
        entry_->planned = false;
        error_ = sink_.plan(postgres_row{entry_->columns.get(), -1, reading()}, entry_->plan);
        if (error_) {
            error_.set(phase::prepare).edit_texts().statement = what_->text;
            return false;
        }
        entry_->plan.tag = sink_.tag();
        entry_->planned = true;
        return true;
    }
    [[nodiscard]] bool plan_unprepared() {
        planned_ = true;
        error_ = sink_.plan(postgres_row{result_.get(), -1, reading()}, own_plan_);
        return !error_;
    }
    [[nodiscard]] const row_plan& plan() const noexcept { return entry_ != nullptr ? entry_->plan : own_plan_; }

    const Bound& statement_;
    Sink& sink_;
    row_plan own_plan_;  // where nothing is prepared
    bool planned_ = false;
    bool stopped_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What became of a COMMIT whose answer was lost: the server is asked by the transaction's id, on a new connection.
//
// "in progress" is no answer yet: the COMMIT may still be on its way, or the server has not noticed that the client is gone. Nor is what a
// standby says, which may not have heard. "aborted" is one: the transaction can never be committed any more.
//
// Only the host is asked that the lost connection led to, and only the very server that had the transaction is believed. Another one, be it
// a standby that was promoted since without having heard of the COMMIT, may have given the number to a transaction of its own. So together
// with the id the server is asked, once a connection, for the number of its cluster and for its timeline, which a promotion changes. Where
// the role may not see that number, the moment of the server's start has its place: then the server does not know itself again after a
// restart, and the outcome stays unknown.
#ifndef STRATA_DRIVER_POSTGRES_RESOLVE_HPP
#define STRATA_DRIVER_POSTGRES_RESOLVE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Which server it is, as an expression. Not for a standby.
[[nodiscard]] STRATA_COLD inline std::string server_expression(bool by_cluster) {
    return joined({by_cluster ? "(select 'cluster ' || system_identifier from pg_control_system())"
                              : "'started ' || (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8",
                   " || ' timeline ' || left(pg_walfile_name(pg_current_wal_lsn()), 8)"});
}

/// One try; empty where there was no answer, with the reason in `why`.
[[nodiscard]] STRATA_COLD inline std::string ask_transaction_status(const postgres_target& target, const std::string& id,
                                                                    const std::string& server, time_point until, std::string& why) {
    PGconn* made = nullptr;
    postgres_dialling thread{target, true, until};
    if (!thread.wait(nullptr, until, made)) {
        why = "no new connection in time to ask the server";
        return {};
    }
    const std::unique_ptr<PGconn, void (*)(PGconn*)> c{made, &::PQfinish};
    if (c == nullptr || ::PQstatus(c.get()) != CONNECTION_OK) {
        why = c == nullptr ? "no memory" : one_line(::PQerrorMessage(c.get()));
        return {};
    }
    interruption limit{until};
    postgres_connection asked;
    if (error e = asked.adopt(c.get())) {
        why = e.message();
        return {};
    }
    asked.guard(&limit);
    const bool old = ::PQserverVersion(c.get()) < 130000;
    const std::unique_ptr<char, void (*)(void*)> same{::PQescapeLiteral(c.get(), server.data(), server.size()), &::PQfreemem};
    if (same == nullptr) {
        why = "no memory";
        return {};
    }
    const std::string sql =
        joined({"select case when pg_is_in_recovery() then 'unknown to a standby' when ", server_expression(server.starts_with("cluster")),
                " is distinct from ", same.get(), " then 'unknown to another server' else coalesce(",
                old ? "txid_status(" : "pg_xact_status('", id, old ? ")" : "'::xid8)", ", 'forgotten') end"});
    std::string status;
    error e;
    static_cast<void>(asked.control_step(sql, e, &status));
    why = e ? e.message() : joined({"the server says: ", status});
    asked.close();  // before the handle goes
    return e ? std::string{} : status;
}

}  // namespace detail

STRATA_COLD inline signal postgres_connection::transaction_id_step(std::string& id, error& e) {
    if (!begin_.empty()) {  // nothing has been sent yet
        id.clear();
        return signal::done;
    }
    for (;;) {
        const bool old = db_ != nullptr && ::PQserverVersion(db_) < 130000;
        const asking about = asking_;
        const signal s = about == asking::id
                             ? control_step(old ? "select txid_current_if_assigned()" : "select pg_current_xact_id_if_assigned()", e, &id)
                         : about == asking::permission
                             ? control_step("select has_function_privilege('pg_control_system()', 'execute')", e, &server_)
                             : control_step(detail::joined({"select ", detail::server_expression(about == asking::cluster)}), e, &server_);
        if (s == signal::io || s == signal::work) return s;
        asking_ = asking::id;
        if (s == signal::failed) server_.clear();
        if (s == signal::failed || about == asking::cluster || about == asking::start) return s;
        if (about == asking::id) {
            if (id.empty() || !server_.empty()) return s;
            asking_ = asking::permission;
        } else {
            asking_ = server_ == "t" ? asking::cluster : asking::start;
        }
    }
}

STRATA_COLD inline detail::commit_fate postgres_connection::resolve_commit(const std::string& id, std::string& why) {
    detail::postgres_target target;
    if (db_ == nullptr || !target.read(db_)) {
        why = "the lost connection does not say any more where it led to";
        return detail::commit_fate::unknown;
    }
    if (server_.empty()) {
        why = "the server did not say which one it is";
        return detail::commit_fate::unknown;
    }
    const time_point until = add_saturated(clock::now(), finish_limit_);
    bool answered = false;  // what the server has said is worth more than why it does not answer now
    for (duration pause = std::chrono::milliseconds{2};; pause = pause < std::chrono::milliseconds{500} ? pause * 2 : pause) {
        std::string reason;
        const std::string status = detail::ask_transaction_status(target, id, server_, until, reason);
        if (!answered || !status.empty()) why = std::move(reason);
        answered = answered || !status.empty();
        if (status == "committed") return detail::commit_fate::committed;
        if (status == "aborted") return detail::commit_fate::rolled_back;
        if (status == "forgotten" || status == "unknown to another server") return detail::commit_fate::unknown;
        if (add_saturated(clock::now(), pause) >= until) return detail::commit_fate::unknown;
        std::this_thread::sleep_for(pause);
    }
}

}  // namespace strata::inline STRATA_ABI

#endif

// Statements that only differ in a number, such as `savepoint strata_3`, without an allocation.
#ifndef STRATA_SQL_CONTROL_TEXT_HPP
#define STRATA_SQL_CONTROL_TEXT_HPP

namespace strata::inline STRATA_ABI {

/// A short control statement with a number in it, by value.
class control_text {
public:
    constexpr control_text(std::string_view words, unsigned number) noexcept {
        for (const char c : words) text_[size_++] = c;
        char digits[10];
        int count = 0;
        do {
            digits[count++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (count > 0) text_[size_++] = digits[--count];
    }
    [[nodiscard]] constexpr operator std::string_view() const noexcept { return {text_, size_}; }

private:
    char text_[40]{};
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The statements of two-phase commit, as PostgreSQL writes them. A driver whose database understands them says
// `using two_phase = prepared_transactions;`
#ifndef STRATA_SQL_PREPARED_TRANSACTIONS_HPP
#define STRATA_SQL_PREPARED_TRANSACTIONS_HPP

namespace strata::inline STRATA_ABI {

/// `id`: less than 200 bytes, chosen by whoever prepares; quoted here.
struct prepared_transactions {
    /// Ends the open transaction of a connection, and keeps what it did until somebody decides.
    [[nodiscard]] static std::string prepare(std::string_view id) { return quoted("prepare transaction ", id); }
    [[nodiscard]] static std::string commit(std::string_view id) { return quoted("commit prepared ", id); }
    [[nodiscard]] static std::string roll_back(std::string_view id) { return quoted("rollback prepared ", id); }

private:
    [[nodiscard]] static std::string quoted(std::string_view words, std::string_view id) {
        std::string s{words};
        s += '\'';
        for (const char c : id) s.append(c == '\'' ? 2 : 1, c);
        return s += '\'';
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// The tag that stands at the bottom of a stack: what the layers above ask a PostgreSQL driver for.
#ifndef STRATA_DRIVER_POSTGRES_DRIVER_HPP
#define STRATA_DRIVER_POSTGRES_DRIVER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {
template <class Rows>
class postgres_copy_in;
template <class T, class F>
class postgres_copy_out;
template <class Sink>
class postgres_copy_raw;
}  // namespace detail

struct postgres_sharing;

/// The driver for a PostgreSQL server, 12 or newer: `stack<..., pool<>, postgres>`. Link with libpq, 14 or newer.
struct postgres {
    static constexpr auto place = strata::place::driver;
    using options = postgres_options;
    using connection = postgres_connection;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    /// Waits for its descriptor, on whatever thread the drive runs. What may block all the same says so when it comes to it: name look-up,
    /// COPY, and the wait for the end of a cancel.
    static constexpr bool blocking = false;
    /// Statements may share a connection: `pipelined<2, pool<>>`; shared_query.hpp.
    using sharing = postgres_sharing;
    /// Statements may go in one flight: `db.pipeline(...)`.
    static constexpr bool pipelines = true;
    static constexpr bool row_locks = true;  ///< by statements: row_lock.hpp
    /// Rows may go in bulk: `db.copy_in(...)`; copy_in.hpp and copy_out.hpp.
    template <class Rows>
    using copy_in = detail::postgres_copy_in<Rows>;
    template <class T, class F>
    using copy_out = detail::postgres_copy_out<T, F>;
    template <class Sink>
    using copy_raw = detail::postgres_copy_raw<Sink>;
    /// Tells a pool's planner how many connections wait for locks.
    using lock_watch = detail::postgres_lock_watch;
    /// Takes part in distributed transactions, by PREPARE TRANSACTION: `strata/distributed_transaction.hpp`.
    using two_phase = prepared_transactions;
    /// All connections write.
    static constexpr bool single_writer = false;

    [[nodiscard]] static constexpr int role_of(bool, bool) noexcept { return 0; }

    static constexpr bool deferrable = true;        ///< SERIALIZABLE READ ONLY DEFERRABLE
    static constexpr bool resolves_commits = true;  ///< `transaction_options::resolve_commit`
    static constexpr bool advisory_locks = true;    ///< advisory_lock.hpp, `transaction_escalation::lock`

    [[nodiscard]] static constexpr std::string_view begin(const detail::transaction_mode<>& m) noexcept {
        constexpr std::string_view texts[4][2] = {
            {"begin", "begin read only"},
            {"begin isolation level read committed", "begin isolation level read committed, read only"},
            {"begin isolation level repeatable read", "begin isolation level repeatable read, read only"},
            {"begin isolation level serializable", "begin isolation level serializable, read only"}};
        if (m.deferrable) return "begin isolation level serializable, read only, deferrable";
        return texts[m.isolation ? 1 + static_cast<std::size_t>(*m.isolation) : 0][m.read_only ? 1 : 0];
    }
    /// The session's, so that a transaction may begin when it has it.
    [[nodiscard]] static std::string lock(std::int64_t key) {
        return detail::joined({"select pg_advisory_lock(", detail::digits_of(key), ")"});
    }
    [[nodiscard]] static std::string unlock(std::int64_t key) {
        return detail::joined({"select pg_advisory_unlock(", detail::digits_of(key), ")"});
    }
    /// What tells a transaction's fate on servers of this time, for people.
    [[nodiscard]] static constexpr std::string_view status_function() noexcept { return "pg_xact_status"; }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static constexpr control_text savepoint(unsigned depth) noexcept { return {"savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text release(unsigned depth) noexcept { return {"release savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text rollback_to(unsigned depth) noexcept { return {"rollback to savepoint strata_", depth}; }

    /// Connections to a server always see the same database.
    /// Whether its connections may be closed and opened anew, as a pool's upkeep does.
    [[nodiscard]] static error check_reopened(const postgres_options& o) {
        if (o.handle == nullptr) return {};
        return detail::bad_postgres_option(
            "handle", "is not opened anew, as a pool with max_lifetime, max_idle or check_interval does with connections");
    }
    [[nodiscard]] static error check_shared(const postgres_options& o) {
        if (o.handle == nullptr) return {};
        return detail::bad_postgres_option("handle", "is one connection: use single instead of the pool, or pool_options.max_size 1");
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// A statement's place on a connection that it shares: what it takes for its connection, and its notes on the way. See multiplexer.hpp.
#ifndef STRATA_CORE_SEAT_HPP
#define STRATA_CORE_SEAT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Link>
class multiplexer;
template <class Link>
class seat_list;

/// Where one who sits may go when his connection is lost: to another one. Of the source's.
template <class Link>
class seat_owner {
public:
    /// Leaves the lost connection; `to` is another one, or null. True when one must be waited for, on this node, until then.
    [[nodiscard]] virtual bool move(operation_base& op, waiter& node, multiplexer<Link>*& to, time_point& until) noexcept = 0;
    /// Ends the wait: the connection, or null.
    [[nodiscard]] virtual multiplexer<Link>* arrive(waiter& node) noexcept = 0;

protected:
    ~seat_owner() = default;
};

/// Lies in the operation. One operation's, but for what the multiplexer does under its lock.
template <class Link>
class seat {
public:
    using call = typename Link::call;

    seat() noexcept = default;
    seat(const seat&) = delete;
    seat& operator=(const seat&) = delete;

    // For the engine; see core/pacing.hpp. Before each resume; others may read what does not change while it is aboard.
    void on_resume(operation_base& op, moment) noexcept {
        if (op_ != &op) op_ = &op;
    }
    [[nodiscard]] waiter* parked_on() noexcept { return &node_; }
    [[nodiscard]] time_point parked_until() noexcept { return moving_ ? moves_until_ : on_->waits_until(*this); }
    void may_yield(bool yes) noexcept {
        if (yields_ != yes) yields_ = yes;  // others look at it, under the lock, once it sits
    }
    [[nodiscard]] io_wait awaited() noexcept { return on_->awaited(*this); }
    [[nodiscard]] watch_place& watch() noexcept { return on_->watch(); }
    // Its operation's deadline and cancel are asked by itself.
    void guard(const interruption*) noexcept {}
    [[nodiscard]] static const interruption* guard() noexcept { return nullptr; }

    /// Where it sits from now on.
    void sit(multiplexer<Link>& m, seat_owner<Link>* owner) noexcept {
        on_ = &m;
        owner_ = owner;
    }

    /// The statement begins. `idempotent`: a read that may be sent again.
    [[nodiscard]] signal begin(call& statement, bool idempotent) {
        call_ = &statement;
        idempotent_ = idempotent;
        alone_ = renewed_ = has_moved_ = moving_ = false;
        return board();
    }
    [[nodiscard]] signal go_on() {
        if (!moving_) [[likely]]
            return told(on_->go_on(*this));
        if (!node_.is_granted() && !op_->is_cancelled() && steady_now() < moves_until_) return signal::park;  // woken for nothing
        moving_ = false;
        on_ = owner_->arrive(node_);
        if (on_ != nullptr) return board();
        if (op_->is_cancelled()) error_ = error{errc::cancelled, phase::execute};
        return signal::failed;
    }
    /// Leaves, whether it has ended or not; what was sent is not taken back.
    void end() noexcept {
        if (std::exchange(moving_, false)) static_cast<void>(owner_->arrive(node_));
        if (stay_ == stay::aboard) on_->abandon(*this);
        stay_ = stay::none;
    }
    [[nodiscard]] bool is_seated() const noexcept { return stay_ != stay::none; }

    error error_;
    std::int64_t affected_ = 0;
    operation_base* op_ = nullptr;

private:
    friend class multiplexer<Link>;
    friend class seat_list<Link>;

    /// Just come; in the queue of what is to be sent; sent; answered.
    enum class at : std::uint8_t { nowhere, arrived, queued, sent, ended };
    /// As its operation knows it: what has ended is aboard until it has been told, for others may be telling it.
    enum class stay : std::uint8_t { none, aboard, over };

    [[nodiscard]] signal board() {
        leads_ = lost_with_connection_ = false;
        given_up_ = errc::ok;
        signal next = signal::failed;
        stay_ = stay::aboard;
        if (on_->board(*this, next)) [[likely]]
            return told(next);
        stay_ = stay::over;
        error_ = on_->refusal();
        lost_with_connection_ = true;
        return move_or_fail();
    }
    [[nodiscard]] signal told(signal next) {
        if (next == signal::done || next == signal::failed) stay_ = stay::over;
        if (next != signal::failed) [[likely]]
            return next;
        return move_or_fail();
    }
    [[nodiscard]] STRATA_COLD signal move_or_fail() {
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        if (!lost_with_connection_ || owner_ == nullptr || std::exchange(has_moved_, true)) return signal::failed;
        multiplexer<Link>* to = nullptr;
        moving_ = owner_->move(*op_, node_, to, moves_until_);
        on_ = to;
        if (moving_) return signal::park;
        return to != nullptr ? board() : signal::failed;
    }

    multiplexer<Link>* on_ = nullptr;
    seat_owner<Link>* owner_ = nullptr;
    call* call_ = nullptr;
    seat* next_ = nullptr;  // in one list
    seat* previous_ = nullptr;
    seat* next_leaver_ = nullptr;
    std::uint64_t number_ = 0;  // of what was sent
    /// Whoever works writes it without the lock; only `arrived` and `ended`, which are written under it, mean something to others.
    class place {
    public:
        operator at() const noexcept { return value_.load(std::memory_order_relaxed); }
        void operator=(at value) noexcept { value_.store(value, std::memory_order_relaxed); }

    private:
        std::atomic<at> value_{at::nowhere};
    };
    place at_;
    stay stay_ = stay::none;
    bool yields_ = false;
    bool idempotent_ = false;            // a read: it may be sent again
    bool alone_ = false;                 // it was skipped: behind a Sync of its own
    bool has_turn_ = false;              // it sends for all, in the next turn
    bool leads_ = false;                 // it waits for the descriptor
    bool leaves_ = false;                // whoever is busy will let it go
    bool renewed_ = false;               // its prepared statement was stale once
    bool lost_with_connection_ = false;  // and nothing came of it
    bool has_moved_ = false;
    bool moving_ = false;
    time_point moves_until_{};
    errc given_up_ = errc::ok;
    waiter node_;
    std::exception_ptr thrown_;  // by its sink
};

/// Seats in a row.
template <class Link>
class seat_list {
public:
    [[nodiscard]] seat<Link>* first() const noexcept { return first_; }
    [[nodiscard]] seat<Link>* last() const noexcept { return last_; }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push_back(seat<Link>& s) noexcept {
        s.next_ = nullptr;
        s.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &s;
        last_ = &s;
    }
    void push_front(seat<Link>& s) noexcept {
        s.previous_ = nullptr;
        s.next_ = first_;
        (first_ != nullptr ? first_->previous_ : last_) = &s;
        first_ = &s;
    }
    void remove(seat<Link>& s) noexcept {
        (s.previous_ != nullptr ? s.previous_->next_ : first_) = s.next_;
        (s.next_ != nullptr ? s.next_->previous_ : last_) = s.previous_;
    }
    [[nodiscard]] seat<Link>* pop() noexcept {
        seat<Link>* const s = first_;
        if (s != nullptr) remove(*s);
        return s;
    }
    [[nodiscard]] static seat<Link>* after(const seat<Link>& s) noexcept { return s.next_; }

private:
    seat<Link>* first_ = nullptr;
    seat<Link>* last_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Which statements are kept off shared connections for a while, since they keep the others waiting: what was slow, or brought much.
//
// Each time that a statement is the one that the others waited for, longer than the threshold, its level rises by 8; each time that it is
// not, it falls by 1. At 16 it is kept apart for `period`, then tried again among the others; if it shows itself slow once more, for twice
// as long, up to 32 times. So one hiccup of the server moves nothing, and what is slow each time is moved after two. What brings more
// than the bound moves at once.
//
// A table of fixed size: while nothing was slow, asking it is one load. Where it is full, what is new to it is not kept apart.
#ifndef STRATA_CORE_KEPT_APART_HPP
#define STRATA_CORE_KEPT_APART_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

struct apart_limits {
    duration slow{};        ///< zero: nothing is slow
    std::size_t bytes = 0;  ///< of one result; 0: nothing is much
    duration period = std::chrono::seconds{10};
};

/// Thread-safe. Statements are known by a hash of their text.
class kept_apart {
public:
    explicit kept_apart(const apart_limits& limits) noexcept : limits_(limits) {}

    /// Whether it is to have a connection for itself.
    [[nodiscard]] STRATA_INLINE bool contains(std::uint64_t key) noexcept {
        return known_.load(std::memory_order_relaxed) != 0 && look_up(key);
    }
    /// It was answered. `kept_waiting`: how long all waited for it; zero where they waited for another.
    STRATA_INLINE void judge(std::uint64_t key, duration kept_waiting, std::size_t bytes, time_point now) noexcept {
        const bool slow = limits_.slow > duration::zero() && kept_waiting > limits_.slow;
        const bool much = limits_.bytes != 0 && bytes > limits_.bytes;
        if (slow || much || known_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            note(key, slow, much, now);
    }
    /// Statements that are kept apart at the moment, or were.
    [[nodiscard]] std::size_t size() const noexcept { return known_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t places = 256;
    static constexpr unsigned tries = 8;
    static constexpr unsigned rise = 8, full = 16;

    struct entry {
        std::uint64_t key = 0;
        unsigned level = 0;
        unsigned times = 0;  // it was kept apart, in a row
        time_point until{};
    };

    /// Its entry, or the place for one; null where there is none.
    [[nodiscard]] entry* find(std::uint64_t key) noexcept {
        for (unsigned i = 0; i < tries; ++i) {
            entry& e = table_[(key + i) % places];
            if (e.key == key || e.key == 0) return &e;
        }
        return nullptr;
    }
    [[nodiscard]] STRATA_COLD bool look_up(std::uint64_t key) noexcept {
        hold guard(lock_);
        const entry* const e = find(key);
        return e != nullptr && e->key == key && e->until != time_point{} && steady_now() < e->until;
    }
    STRATA_COLD void note(std::uint64_t key, bool slow, bool much, time_point now) noexcept {
        hold guard(lock_);
        entry* const e = find(key);
        if (e == nullptr || (e->key == 0 && !slow && !much)) return;
        if (e->key == 0) {
            e->key = key;
            known_.fetch_add(1, std::memory_order_relaxed);
        }
        if (now < e->until) return;  // it was on its way already
        if (!slow && !much) {
            if (e->level != 0 && --e->level == 0) e->times = 0;
            return;
        }
        e->level += much ? full : rise;
        if (e->level < full) return;
        e->level = full - rise;  // once more, and it goes
        const unsigned shift = e->times < 5 ? e->times++ : 5;
        e->until = add_saturated(now, limits_.period * (1 << shift));
    }

    const apart_limits limits_;
    inline_lock lock_;
    std::atomic<std::size_t> known_{0};
    std::array<entry, places> table_{};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a connection must be able to do to be shared by many statements.
#ifndef STRATA_CORE_SHARED_LINK_HPP
#define STRATA_CORE_SHARED_LINK_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// How much may be under way on one shared connection.
struct flow_limits {
    std::size_t statements = 256;  ///< sent and not answered
    std::size_t bytes = 65536;     ///< of their arguments
    std::size_t share = 64;        ///< reads behind one Sync; 1: none shares
    kept_apart* apart = nullptr;   ///< hears how long each statement kept the others waiting, and how much it brought
};

/// Whether a statement can be sent.
enum class readiness : std::uint8_t {
    ready,
    refused,    ///< with an error
    waits,      ///< for the server: `awaited()` says for what, then ask `go_on`
    when_idle,  ///< it must be prepared, and nothing else may be under way then
};

/// What has come for one statement, or for one Sync.
struct shared_answer {
    enum class is : std::uint8_t {
        answered,
        skipped,  ///< not run, for one before it failed
        stale,    ///< nothing came of it, for it must be prepared anew, or stood in its neighbours' way: once more, alone
        more,     ///< of a Sync: to be asked for again, whatever else this says holds
        broken,   ///< the connection makes no sense any more
    };
    is what = is::answered;
    error failed;
    std::int64_t affected = 0;
    std::size_t bytes = 0;  ///< about
    std::exception_ptr thrown;
};

/// The connection, as `multiplexer` wants it. Called by one thread at a time, but for `interrupt`.
template <class L>
concept shared_link = requires(L& l, const L& c, typename L::call& call, typename L::call* listener, error& e, shared_answer& a, bool yes) {
    // `call::key()` is missing: the same for all statements of one text
    { std::as_const(call).key() } -> std::same_as<std::uint64_t>;
    // `find(call, idle, error)` is missing: whether the statement can be sent; `idle`: nothing is under way
    { l.find(call, yes, e) } -> std::same_as<readiness>;
    // `go_on(error)` is missing: after `waits`
    { l.go_on(e) } -> std::same_as<readiness>;
    // `may_share(call)` is missing: of one that was found, whether others may stand behind the same Sync
    { l.may_share(call) } -> std::same_as<bool>;
    // `send(call, error)` is missing: the bytes of its arguments, or -1 with the error
    { l.send(call, e) } -> std::same_as<std::ptrdiff_t>;
    // `sync()` is missing: puts a Sync behind what was sent
    { l.sync() } -> std::same_as<void>;
    // `flush()` is missing: true when all bytes have left
    { l.flush() } -> std::same_as<bool>;
    // `listen()` is missing: takes in what has come
    { l.listen() } -> std::same_as<void>;
    // `has_answer()` is missing: whether the next answer can be taken without waiting
    { l.has_answer() } -> std::same_as<bool>;
    // `take(call, answer)` is missing: the answer to the oldest statement; null: nobody wants it
    { l.take(listener, a) } -> std::same_as<void>;
    // `take_sync(call, answer)` is missing: that of the oldest Sync; `call`: the statement that it commits, or null
    { l.take_sync(listener, a) } -> std::same_as<void>;
    // `is_broken()` is missing: it cannot be used any more, and `lost_error(effect)`: which tells it
    { c.is_broken() } -> std::same_as<bool>;
    { c.lost_error(effect::none) } -> std::same_as<error>;
    // `looks_alive()` is missing: of an idle one, whether the server has not given it up; does not wait
    { l.looks_alive() } -> std::same_as<bool>;
    // `awaited()` is missing: the descriptor, and of a statement that `waits` what for
    { c.awaited() } -> std::same_as<io_wait>;
    // `wait(io_wait)` is missing: blocks the thread until then
    { l.wait(c.awaited()) } -> std::same_as<void>;
    { l.watch() } -> std::same_as<watch_place&>;
    // `clear()` is missing: fit for another use, once nothing is under way
    { l.clear() } -> std::same_as<void>;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a multiplexer consists of; see multiplexer.hpp.
#ifndef STRATA_CORE_MULTIPLEXER_STATE_HPP
#define STRATA_CORE_MULTIPLEXER_STATE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Thread-safe but for its construction and end.
template <class Link>
class multiplexer {
    using seat = detail::seat<Link>;
    using seat_list = detail::seat_list<Link>;
    using call = typename Link::call;
    static_assert(shared_link<Link>);

public:
    using limits = flow_limits;

    template <class... Args>
    explicit multiplexer(const limits& most, Args&&... link)
        : link_(std::forward<Args>(link)...), limits_(most), descriptor_(link_.awaited().descriptor), sent_(64) {}
    multiplexer(const multiplexer&) = delete;
    multiplexer& operator=(const multiplexer&) = delete;
    ~multiplexer() { link_.clear(); }

    /// A statement comes. False when the connection is lost.
    [[nodiscard]] bool board(seat& s, signal& next);
    /// It has waited. Where it may block it returns only to park, or at its end.
    [[nodiscard]] signal go_on(seat& s) {
        for (bool readable = s.yields_ && s.leads_;; readable = wait_here(s)) {
            const signal next = step(s, readable);
            if (next != signal::io || s.yields_) return next;
        }
    }
    /// Its operation ends without waiting for the end.
    void abandon(seat& s) noexcept {
        {
            hold guard(lock_);  // whoever works may be about to let it go
            s.yields_ = false;
            s.given_up_ = errc::cancelled;
        }
        for (signal now = step(s, false); now == signal::park || now == signal::io; now = step(s, now == signal::io && wait_here(s)))
            if (now == signal::park) s.node_.block(never);
    }

    /// The leader's wait.
    [[nodiscard]] io_wait awaited(const seat& s) noexcept {
        hold guard(lock_);
        if (leader_ != &s) [[unlikely]]  // it ended, or was relieved, before it began to wait: the nudge may have gone to another
            return {descriptor_, wait_writable_, time_point::min()};
        leads_until_ = earliest_ < wait_until_ ? earliest_ : wait_until_;
        if (wait_writable_) [[unlikely]]  // the server may want to be read from before it reads on
            leads_until_ = std::min(leads_until_, add_saturated(steady_now(), std::chrono::milliseconds{5}));
        return {descriptor_, wait_writable_, leads_until_};
    }
    /// Until when one who does not lead waits by himself: the leader looks after those whose time ends after his wait.
    [[nodiscard]] time_point waits_until(const seat& s) noexcept {
        hold guard(lock_);
        if (s.leaves_) return never;  // whoever works lets it go
        if (!s.yields_) return s.op_->deadline;
        return s.op_->deadline < leads_until_ ? s.op_->deadline : never;
    }
    [[nodiscard]] watch_place& watch() noexcept { return link_.watch(); }

    /// Statements that are here.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool is_lost() const noexcept { return gone_.load(std::memory_order_acquire); }
    /// Why it takes nobody.
    [[nodiscard]] STRATA_COLD error refusal() const {
        return error{errc::connection_lost, "the shared connection was lost", phase::execute};
    }
    /// All that are here end soon, as if their callers had cancelled them.
    STRATA_COLD void cancel_all() noexcept {
        hold guard(lock_);
        cancelling_ = true;
        earliest_ = time_point::min();
        link_.watch().nudge();
    }

private:
    enum class what : std::uint8_t { dropped, statement, sync };
    /// Something that was sent and will be answered.
    struct spot {
        seat* who = nullptr;  // of a Sync: whose statement it commits
        what kind = what::dropped;
        std::uint64_t key = 0;  // of a statement whose caller has given up
        std::size_t bytes = 0;  // of its arguments
    };
    /// Wakes some, once the lock has gone. Empty when it ends; nothing is made before it is needed.
    class wakes {
    public:
        wakes() noexcept {}
        wakes(const wakes&) = delete;
        wakes& operator=(const wakes&) = delete;
        ~wakes() {}
        [[nodiscard]] bool full() const noexcept { return number_ == most; }
        void add(seat& s) noexcept {
            wake_call w;
            if (s.node_.grant(nullptr, w)) std::construct_at(&all_[number_++], std::move(w));
        }
        void go() noexcept {
            for (std::size_t i = 0; i < number_; ++i) {
                all_[i]();
                std::destroy_at(&all_[i]);
            }
            number_ = 0;
        }

    private:
        static constexpr std::size_t most = 32;
        union {
            wake_call all_[most];
        };
        std::size_t number_ = 0;
    };

    [[nodiscard]] signal step(seat& s, bool readable);
    void work(seat& s, bool readable) noexcept;
    /// For a thread that may block: until there is something to read, or a look around is due.
    [[nodiscard]] bool wait_here(const seat& s) noexcept {
        constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
        io_wait w = awaited(s);
        const time_point soon = add_saturated(steady_now(), slice);
        if (s.given_up_ == errc::ok && s.op_->deadline < w.until) w.until = s.op_->deadline;
        if (soon < w.until) w.until = soon;
        link_.wait(w);
        return true;
    }

    // Under the lock.
    void prepare_to_park(seat& s) { s.node_.prepare(s.yields_ ? s.op_->waking() : nullptr); }
    void end(seat& s) noexcept {
        s.at_ = seat::at::ended;
        load_.store(load() - 1, std::memory_order_release);
        if (leader_ == &s) leader_ = nullptr;
    }
    [[nodiscard]] bool can_send() const noexcept { return (!arrivals_.empty() || !queue_.empty()) && !held_ && !is_full(); }
    /// In a loop: to whoever has the next turn, so that what becomes ready in one turn leaves together.
    [[nodiscard]] bool leaves_it_to_another(const seat& s) const noexcept { return s.yields_ && turn_taken_; }
    /// Who may block does not rely on a loop: it may be the one that he blocks, or nobody may run it any more.
    [[nodiscard]] bool takes_the_lead(const seat& s) const noexcept { return !s.yields_ && leader_->yields_; }
    void look_at_guard(seat& s);
    [[nodiscard]] bool let_go(seat& s);
    void stays(seat& s) noexcept;
    void tell(const seat& me, wakes& w) noexcept;
    void rouse(seat& s, wakes& w) noexcept;
    void let_leavers_go(const seat& me, wakes& w) noexcept;
    void look_after(const seat& me, wakes& w) noexcept;
    void appoint(wakes& w) noexcept;
    /// For one more: leaves the lock in between, where no more can be remembered.
    void make_room(wakes& w) noexcept {
        if (!w.full()) [[likely]]
            return;
        lock_.unlock();
        w.go();
        lock_.lock();
    }

    // Whoever is busy, without the lock.
    void send_queue();
    [[nodiscard]] bool look_before_first();
    [[nodiscard]] readiness make_ready(seat& s, error& e);
    void sync(seat* whose);
    void note(seat* who, what kind, std::size_t bytes = 0) noexcept { at(sent_end_++) = {who, kind, 0, bytes}; }
    void make_room_in_ring();
    void flush() { unsent_ = !link_.flush(); }
    void take_answers();
    void take_answer(time_point now);
    void take_sync();
    void finish(seat& s, error&& e) noexcept;
    void lose() noexcept;
    [[nodiscard]] std::size_t in_flight() const noexcept { return static_cast<std::size_t>(sent_end_ - answered_); }
    [[nodiscard]] bool is_full() const noexcept { return in_flight() >= limits_.statements || bytes_ >= limits_.bytes; }
    [[nodiscard]] spot& at(std::uint64_t n) noexcept { return sent_[n & (sent_.size() - 1)]; }

    Link link_;
    const limits limits_;
    inline_lock lock_;
    int descriptor_;
    seat_list arrivals_;
    seat* leader_ = nullptr;
    seat* leavers_ = nullptr;         // gave up while somebody was busy
    time_point earliest_ = never;     // nobody's deadline is before it
    time_point leads_until_ = never;  // the bound of the leader's wait
    time_point wait_until_ = never;   // while something is prepared
    bool wait_writable_ = false;
    bool turn_taken_ = false;  // somebody will send in his turn
    bool busy_ = false;
    bool cancelling_ = false;
    std::atomic<std::size_t> load_{0};
    std::atomic<bool> gone_{false};

    // Of whoever is busy; under the lock while nobody is.
    seat_list queue_;         // to be sent
    seat_list ended_;         // their answers were taken, and they were not told yet
    seat_list again_;         // skipped by the server
    std::vector<spot> sent_;  // a ring
    std::uint64_t answered_ = 0, sent_end_ = 0;
    std::size_t bytes_ = 0;   // of the arguments of what is under way
    std::size_t shared_ = 0;  // reads that were sent since the last Sync
    seat* preparing_for_ = nullptr;
    time_point heard_at_{};  // when the last answers came, or else the first of those was sent that wait
    duration kept_waiting_{};
    bool held_ = false;    // what comes next must be prepared, and waits for the answers before it, or for the server
    bool unsent_ = false;  // bytes
    bool lost_ = false;    // `lose` has told everybody
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Those who sit on a shared connection: who gives up, who is told, and who leads.
#ifndef STRATA_CORE_MULTIPLEXER_GUESTS_HPP
#define STRATA_CORE_MULTIPLEXER_GUESTS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <class Link>
void multiplexer<Link>::look_at_guard(seat& s) {
    if (s.at_ == seat::at::ended || (s.leaves_ && busy_)) return;
    if (s.leaves_) stays(s);  // it was being prepared
    if (s.given_up_ == errc::ok) {
        if (s.op_->is_cancelled() || cancelling_)
            s.given_up_ = errc::cancelled;
        else if (s.op_->deadline == never || steady_now() < s.op_->deadline)
            return;
        else
            s.given_up_ = errc::timeout;
    }
    if ((s.at_ == seat::at::arrived || !busy_) && let_go(s)) return;
    s.leaves_ = true;
    s.next_leaver_ = std::exchange(leavers_, &s);
}

/// Who has given up: what was sent will be answered to nobody. False for what is being prepared: that must be waited for, and has a bound.
template <class Link>
bool multiplexer<Link>::let_go(seat& s) {
    effect did = effect::none;
    if (s.at_ == seat::at::arrived) {
        arrivals_.remove(s);
    } else if (s.at_ == seat::at::queued) {
        if (preparing_for_ == &s) return false;
        queue_.remove(s);
        held_ = false;  // perhaps it was the one that had to wait
    } else {
        spot& its = at(s.number_);
        its = {nullptr, what::dropped, s.call_->key(), its.bytes};
        if (!s.idempotent_) {
            did = effect::unknown;
            for (std::uint64_t n = s.number_; n != sent_end_; ++n)
                if (at(n).who == &s) at(n).who = nullptr;
        }
    }
    s.error_ = error{s.given_up_, phase::execute, did};
    end(s);
    return true;
}

template <class Link>
void multiplexer<Link>::let_leavers_go(const seat& me, wakes& w) noexcept {
    seat* waits = nullptr;
    while (leavers_ != nullptr) {
        make_room(w);
        seat* const n = leavers_;
        leavers_ = n->next_leaver_;
        if (let_go(*n))
            n->leaves_ = false;
        else
            waits = n;
        if (n != &me && (n != waits || !n->yields_)) rouse(*n, w);  // who may block leads, rather than wait for the end
    }
    if (waits == nullptr) return;
    waits->next_leaver_ = nullptr;
    leavers_ = waits;
}

/// Wherever it waits.
template <class Link>
void multiplexer<Link>::rouse(seat& s, wakes& w) noexcept {
    if (s.leads_ && s.yields_) link_.watch().nudge();
    w.add(s);
}

/// Its answer was quicker.
template <class Link>
void multiplexer<Link>::stays(seat& s) noexcept {
    seat** link = &leavers_;
    while (*link != &s) link = &(*link)->next_leaver_;
    *link = s.next_leaver_;
    s.leaves_ = false;
}

/// Those whose answers were taken.
template <class Link>
void multiplexer<Link>::tell(const seat& me, wakes& w) noexcept {
    while (!ended_.empty()) {
        make_room(w);
        seat* const n = ended_.pop();
        if (n->leaves_) [[unlikely]]
            stays(*n);
        end(*n);
        if (n != &me) rouse(*n, w);
    }
}

/// Wakes those whose deadline has come: they look at it themselves.
template <class Link>
void multiplexer<Link>::look_after(const seat& me, wakes& w) noexcept {
    if (earliest_ == never) return;
    const time_point now = steady_now();
    if (now < earliest_ && !cancelling_) return;
    earliest_ = never;
    const auto look = [&](seat& n) {
        if (n.op_->deadline > now && !cancelling_) {
            if (n.op_->deadline < earliest_) earliest_ = n.op_->deadline;
        } else if (n.yields_ && &n != &me && !n.leaves_) {
            if (w.full() || n.leads_) earliest_ = now;  // before a leader begins to wait the nudge may go to another
            if (!w.full()) rouse(n, w);
        }
    };
    for (seat* n = queue_.first(); n != nullptr; n = seat_list::after(*n)) look(*n);
    for (seat* n = arrivals_.first(); n != nullptr; n = seat_list::after(*n)) look(*n);
    for (std::uint64_t n = answered_; n != sent_end_; ++n)
        if (at(n).who != nullptr) look(*at(n).who);  // a write's until its Sync is answered
}

/// Somebody who is here leads from now on: the newest, so that he leads for long.
template <class Link>
void multiplexer<Link>::appoint(wakes& w) noexcept {
    make_room(w);
    for (std::uint64_t n = sent_end_; n != answered_ && leader_ == nullptr; --n)
        if (seat* const s = at(n - 1).who; s != nullptr && !s->leaves_) leader_ = s;
    if (leader_ == nullptr) leader_ = queue_.first();
    if (leader_ == nullptr) leader_ = arrivals_.first();
    if (leader_ != nullptr) w.add(*leader_);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What whoever is busy does on a shared connection: sends the queue, and takes answers.
#ifndef STRATA_CORE_MULTIPLEXER_WORK_HPP
#define STRATA_CORE_MULTIPLEXER_WORK_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// As much of the queue as may be sent.
template <class Link>
void multiplexer<Link>::send_queue() {
    if (unsent_) flush();
    if (held_ && preparing_for_ == nullptr && in_flight() != 0) return;
    if (queue_.empty()) return;
    if (in_flight() == 0 && preparing_for_ == nullptr && !look_before_first()) return;
    bool any = false;
    while (seat* const s = queue_.first()) {
        if (link_.is_broken() || is_full()) break;
        error refused;
        const bool was_prepared = preparing_for_ == s;
        const readiness r = make_ready(*s, refused);
        held_ = r == readiness::waits || r == readiness::when_idle;
        if (held_ || (was_prepared && r == readiness::ready)) break;  // perhaps it has given up meanwhile: it is looked for again
        if (r == readiness::ready) {
            const bool shares = s->idempotent_ && !s->alone_ && limits_.share > 1 && link_.may_share(*s->call_);
            if (shared_ != 0 && (!shares || shared_ == limits_.share)) sync(nullptr);
            make_room_in_ring();
            std::ptrdiff_t bytes = -1;
            try {
                bytes = link_.send(*s->call_, refused);
            } catch (...) {  // by a codec of the user's, while it wrote an argument: nothing was sent, and nobody else is concerned
                s->thrown_ = std::current_exception();
            }
            if (bytes >= 0) {
                bytes_ += static_cast<std::size_t>(bytes);
                queue_.remove(*s);
                s->at_ = seat::at::sent;
                s->number_ = sent_end_;
                note(s, what::statement, static_cast<std::size_t>(bytes));
                any = true;
                if (shares)
                    ++shared_;
                else
                    sync(s->idempotent_ ? nullptr : s);
                continue;
            }
        }
        queue_.remove(*s);
        finish(*s, std::move(refused));
    }
    if (shared_ != 0) sync(nullptr);
    if (any) flush();
}

/// Nothing is under way: false when the server has given up the connection meanwhile, so that nothing is sent to nobody.
template <class Link>
bool multiplexer<Link>::look_before_first() {
    constexpr duration unheard = std::chrono::seconds{1};
    const time_point now = steady_now();
    if (now - heard_at_ > unheard && !link_.looks_alive()) return false;
    heard_at_ = now;
    return true;
}

/// Its statement is found, or prepared when nothing is under way.
template <class Link>
readiness multiplexer<Link>::make_ready(seat& s, error& e) {
    const readiness r = preparing_for_ == &s ? link_.go_on(e) : link_.find(*s.call_, in_flight() == 0, e);
    preparing_for_ = r == readiness::waits ? &s : nullptr;
    return r;
}

template <class Link>
void multiplexer<Link>::sync(seat* whose) {
    make_room_in_ring();
    link_.sync();
    note(whose, what::sync);
    shared_ = 0;
}
/// For one more, before anything is given to the link.
template <class Link>
void multiplexer<Link>::make_room_in_ring() {
    if (in_flight() + 1 < sent_.size()) [[likely]]
        return;
    std::vector<spot> larger(2 * sent_.size());
    for (std::uint64_t n = answered_; n != sent_end_; ++n) larger[n & (larger.size() - 1)] = at(n);
    sent_.swap(larger);
}

/// Whatever has come.
template <class Link>
void multiplexer<Link>::take_answers() {
    if (preparing_for_ != nullptr) return;  // the link listens itself
    link_.listen();
    const time_point now = steady_now();
    kept_waiting_ = now - heard_at_;
    if (in_flight() != 0 && !link_.is_broken() && link_.has_answer()) heard_at_ = now;
    while (in_flight() != 0 && !link_.is_broken() && !lost_ && link_.has_answer())
        at(answered_).kind == what::sync ? take_sync() : take_answer(now);
    for (seat* last = again_.last(); last != nullptr; last = again_.last()) {
        again_.remove(*last);
        last->at_ = seat::at::queued;
        queue_.push_front(*last);
    }
}

template <class Link>
void multiplexer<Link>::take_sync() {
    seat* const s = at(answered_).who;
    shared_answer a;
    link_.take_sync(s != nullptr ? s->call_ : nullptr, a);
    if (a.what == shared_answer::is::broken) {
        lost_ = true;
        return;
    }
    if (s != nullptr && a.failed) s->error_ = std::move(a.failed);
    if (a.what == shared_answer::is::more) return;
    ++answered_;
    if (s != nullptr) finish(*s, std::move(s->error_));
}

template <class Link>
void multiplexer<Link>::take_answer(time_point now) {
    spot& first = at(answered_);
    seat* const s = first.kind == what::statement ? first.who : nullptr;
    shared_answer a;
    link_.take(s != nullptr ? s->call_ : nullptr, a);
    if (a.what == shared_answer::is::broken) {
        lost_ = true;
        return;
    }
    ++answered_;
    bytes_ -= first.bytes;
    duration waited = std::exchange(kept_waiting_, duration::zero());  // the others, for the first of what came
    if (load() == (s != nullptr ? 1 : 0)) waited = duration::zero();   // there are none
    if (s == nullptr) {
        if (first.key != 0 && a.what == shared_answer::is::answered && limits_.apart != nullptr)
            limits_.apart->judge(first.key, waited, 0, now);
        return;
    }
    if (a.what == shared_answer::is::skipped || (a.what == shared_answer::is::stale && !std::exchange(s->renewed_, true))) {
        s->alone_ = true;
        again_.push_back(*s);
        if (!s->idempotent_) at(answered_).who = nullptr;  // its Sync commits nothing
        return;
    }
    if (a.failed.health() >= health::lost) {  // the server's farewell: no answer to a read
        lost_ = true;
        if (s->idempotent_) {
            --answered_;
            return;
        }
        at(answered_).who = nullptr;
        return finish(*s, std::move(a.failed));
    }
    if (limits_.apart != nullptr) limits_.apart->judge(s->call_->key(), waited, a.bytes, now);
    s->affected_ = a.affected;
    s->thrown_ = std::move(a.thrown);
    if (s->idempotent_)
        finish(*s, std::move(a.failed));
    else
        s->error_ = std::move(a.failed);  // until it is committed
}

template <class Link>
void multiplexer<Link>::finish(seat& s, error&& e) noexcept {
    if (&e != &s.error_) s.error_ = std::move(e);
    s.at_ = seat::at::sent;
    ended_.push_back(s);
}

/// The connection broke: of a write that was sent and not answered nobody knows anything; nothing came of all else.
template <class Link>
void multiplexer<Link>::lose() noexcept {
    const auto fail = [this](seat& s, effect did) {
        s.lost_with_connection_ = did == effect::none;
        try {
            finish(s, link_.lost_error(did));
        } catch (...) {  // no memory for the texts
            error e{errc::connection_lost, phase::execute, did};
            finish(s, std::move(e.set_lost()));
        }
    };
    preparing_for_ = nullptr;
    held_ = unsent_ = false;
    bytes_ = 0;
    for (; answered_ != sent_end_; ++answered_) {
        const spot& now = at(answered_);
        const bool has_sync = answered_ + 1 != sent_end_;  // but for a write whose Sync threw
        if (now.who == nullptr || (now.kind == what::statement && !now.who->idempotent_ && has_sync)) continue;
        if (now.who->error_ && !now.who->idempotent_)  // the server has said that it failed: so it was not committed
            finish(*now.who, std::move(now.who->error_));
        else
            fail(*now.who, now.who->idempotent_ ? effect::none : effect::unknown);
    }
    while (seat* const s = again_.pop()) fail(*s, effect::none);
    while (seat* const s = queue_.pop()) fail(*s, effect::none);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One connection that many statements share: each is sent as soon as it comes, and none waits for the answer to another.
//
// Whatever has come while somebody was at work, or in one turn of the loop, leaves in one piece. A statement that is no idempotent read
// has a Sync of its own, so that none can roll another back, and is answered when that is; reads that leave together share one. Those
// that the server skipped, since one before them failed, are sent again, each behind a Sync of its own, and nobody notices.
//
// Nobody owns the connection. Of those who wait for answers one, the leader, waits for the descriptor as well; what has come he takes
// for everybody, and when his own was among it another one leads. Whoever works on the connection does so alone (`busy_`); whoever
// comes meanwhile is among the arrivals, and who works looks there before he stops.
//
// Waits are bounded: each statement's by its operation's deadline. Who gives up leaves an answer that is dropped when it comes; his
// neighbours do not notice, and the server is not told.
//
// The algorithm knows no database. `Link` is the connection: it finds and sends statements, and takes answers; see `shared_link`.
#ifndef STRATA_CORE_MULTIPLEXER_HPP
#define STRATA_CORE_MULTIPLEXER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <class Link>
bool multiplexer<Link>::board(seat& s, signal& next) {
    {
        hold guard(lock_);
        if (gone_.load(std::memory_order_relaxed)) return false;
        s.at_ = seat::at::arrived;
        s.error_ = {};
        arrivals_.push_back(s);
        load_.store(load() + 1, std::memory_order_relaxed);
        if (s.op_->deadline < earliest_) earliest_ = s.op_->deadline;
        if (s.yields_) {
            next = signal::park;
            if (!busy_ && !std::exchange(turn_taken_, true)) {
                s.has_turn_ = true;
                next = signal::turn;
            } else {
                prepare_to_park(s);
            }
            return true;
        }
    }
    next = go_on(s);
    return true;
}

/// One thing after the other that can be done without waiting.
template <class Link>
signal multiplexer<Link>::step(seat& s, bool readable) {
    hold guard(lock_);
    if (std::exchange(s.has_turn_, false)) turn_taken_ = false;
    for (;;) {
        look_at_guard(s);
        if (!busy_ && (readable || (can_send() && !leaves_it_to_another(s)))) {
            work(s, std::exchange(readable, false));
            continue;
        }
        if (s.at_ == seat::at::ended) {
            if (!busy_ && leader_ == nullptr && (in_flight() != 0 || !queue_.empty() || !arrivals_.empty())) {
                wakes w;
                appoint(w);
                guard.unlock();
                w.go();
            }
            s.leads_ = false;
            return s.error_ || s.thrown_ ? signal::failed : signal::done;
        }
        s.leads_ = leader_ == &s || (!busy_ && (leader_ == nullptr || takes_the_lead(s)));
        if (!s.leads_)
            prepare_to_park(s);
        else if (seat* const before = std::exchange(leader_, &s); before != nullptr && before != &s)
            link_.watch().nudge();
        return s.leads_ ? signal::io : signal::park;
    }
}

/// With the lock, which it leaves in between. Afterwards nothing can be done without waiting, unless it came in the last moment.
template <class Link>
void multiplexer<Link>::work(seat& s, bool readable) noexcept {
    busy_ = true;
    wakes w;
    do {
        while (seat* const n = arrivals_.pop()) {
            n->at_ = seat::at::queued;
            queue_.push_back(*n);
        }
        lock_.unlock();
        w.go();
        try {
            if (std::exchange(readable, false)) take_answers();
            if (!lost_ && !link_.is_broken()) send_queue();
        } catch (...) {  // no memory: what the link has and what we know of it may differ
            lost_ = true;
        }
        lost_ = lost_ || link_.is_broken();
        if (lost_) lose();
        lock_.lock();
        if (lost_) gone_.store(true, std::memory_order_release);
        tell(s, w);
        let_leavers_go(s, w);
        look_after(s, w);
    } while ((can_send() && !leaves_it_to_another(s)) || w.full());  // full: nobody was looked after that found no room
    if (leader_ == nullptr) {
        if (s.at_ != seat::at::ended)
            leader_ = &s;
        else
            appoint(w);
    }
    const io_wait wanted = link_.awaited();
    descriptor_ = wanted.descriptor;
    wait_until_ = preparing_for_ != nullptr ? wanted.until : never;
    const bool writable = preparing_for_ != nullptr ? wanted.writable : unsent_;
    if (std::exchange(wait_writable_, writable) != writable && leader_ != &s) link_.watch().nudge();  // it waits for something else
    busy_ = false;
    lock_.unlock();
    w.go();
    lock_.lock();
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Whether a statement may ask when its transaction began. Statements that share a transaction would be told the same.
#ifndef STRATA_DRIVER_POSTGRES_TRANSACTION_TIME_HPP
#define STRATA_DRIVER_POSTGRES_TRANSACTION_TIME_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// By the words in it, wherever they stand: now, today and its like, current_timestamp and its like, age. May say so of one that does not.
[[nodiscard]] constexpr bool tells_transaction_time(std::string_view sql) noexcept {
    constexpr std::string_view words[] = {"now",
                                          "transaction_timestamp",
                                          "current_timestamp",
                                          "current_time",
                                          "current_date",
                                          "localtimestamp",
                                          "localtime",
                                          "age",
                                          "today",
                                          "tomorrow",
                                          "yesterday"};
    const auto is_part = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
    for (std::size_t begin = 0; begin < sql.size();) {
        std::size_t end = begin;
        while (end < sql.size() && is_part(sql[end])) ++end;
        for (const std::string_view word : words)
            if (end - begin == word.size() && same_folded(sql.substr(begin, end - begin), word)) return true;
        begin = end == begin ? end + 1 : end;
    }
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// A connection that many statements share, as the multiplexer drives it: libpq in pipeline mode.
//
// Before the first statement the server is asked two things. How it isolates by default: where that is stricter than READ COMMITTED,
// reads behind one Sync would see one snapshot, so each gets its own. And whether it is the one that we talk to: behind a pooler that hands
// each transaction to another session our prepared statements would be missing.
//
// libpq before 17 sends what lies there with each Sync; so statements that have one of their own leave one by one.
#ifndef STRATA_DRIVER_POSTGRES_SHARED_LINK_HPP
#define STRATA_DRIVER_POSTGRES_SHARED_LINK_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// See `shared_link`. The connection belongs to it meanwhile, and must prepare its statements.
class postgres_shared_link : postgres_run {
public:
    using call = postgres_flown;

    postgres_shared_link(postgres_connection& c, bool through_pooler) : postgres_run(c), route_known_(through_pooler) {}

    [[nodiscard]] readiness find(call& f, bool idle, error& e) {
        if (!greeted_ || !stale_.empty()) [[unlikely]] {
            if (!idle) return readiness::when_idle;
            for (const hash128& key : stale_) connection_.statements_.forget(key);
            stale_.clear();
            if (!greeted_) return greet(f, e);
        }
        want(f);
        entry_ = connection_.statements_.take(key_, f.what->postgres_text, f.literal);
        if (entry_ == nullptr) [[unlikely]]
            return idle ? begin_to_prepare(f, e) : readiness::when_idle;
        return plan(f, e);
    }
    [[nodiscard]] readiness go_on(error& e) {
        call& f = *preparing_for_;
        if (!greeted_) return greet(f, e);
        return go_on_preparing(f, e);
    }
    [[nodiscard]] bool may_share(const call&) const noexcept { return shares_ && entry_->shares; }

    [[nodiscard]] std::ptrdiff_t send(call& f, error& e) {
        if (::PQpipelineStatus(connection_.db_) == PQ_PIPELINE_OFF && ::PQenterPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
        what_ = f.what;
        begin_parameters();
        const refused_argument r = f.bind(0, writer());
        if (r.number != 0) {
            static_cast<void>(argument_refused(r.number, r.why, r.type));
            e = std::exchange(error_, {});
            return -1;
        }
        if (connection_.lost_ || !postgres_run::send(false)) {
            e = error_ ? std::exchange(error_, {}) : connection_.lost_error(phase::execute, effect::none);
            return -1;
        }
        std::ptrdiff_t bytes = 0;
        for (int n = 0; n < writer().written(); ++n) bytes += writer().lengths()[n];
        return bytes;
    }
    void sync() {
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
        if (::PQsendPipelineSync(connection_.db_) == 0) connection_.lost_ = true;
#else
        if (::PQpipelineSync(connection_.db_) == 0) connection_.lost_ = true;
#endif
    }
    [[nodiscard]] bool flush() {
        const int left = ::PQflush(connection_.db_);
        if (left < 0) connection_.lost_ = true;
        return left <= 0;
    }
    void listen() {
        if (::PQconsumeInput(connection_.db_) == 0) connection_.lost_ = true;
        connection_.hooks_.look(connection_.db_);
    }
    [[nodiscard]] bool has_answer() { return ::PQisBusy(connection_.db_) == 0; }
    void take(call* listener, shared_answer& a);
    void take_sync(call* listener, shared_answer& a);

    [[nodiscard]] bool is_broken() const noexcept { return connection_.lost_ || ::PQstatus(connection_.db_) != CONNECTION_OK; }
    [[nodiscard]] bool looks_alive() {
        if (!connection_.is_alive()) connection_.lost_ = true;
        return !connection_.lost_;
    }
    [[nodiscard]] STRATA_COLD error lost_error(effect did) const noexcept {
        error e{errc::connection_lost, phase::execute, did};
        try {
            e = connection_.lost_error(phase::execute, did);
        } catch (...) {  // no memory for the texts: perhaps it was lost for that
        }
        e.set_lost();
        return e;
    }
    [[nodiscard]] io_wait awaited() const noexcept {
        if (preparing_for_ == nullptr) return {::PQsocket(connection_.db_), false, never};
        return connection_.awaited();
    }
    static void wait(const io_wait& w) noexcept {
        ::pollfd p{w.descriptor, static_cast<short>(POLLIN | (w.writable ? POLLOUT : 0)), 0};
        const duration left = time_left(w.until, std::chrono::seconds{1});
        static_cast<void>(::poll(&p, 1, left > duration::zero() ? static_cast<int>(left / std::chrono::milliseconds{1}) + 1 : 0));
    }
    [[nodiscard]] watch_place& watch() noexcept { return connection_.watch(); }
    void clear() {
        under_way_ = connection_.busy_ = false;
        if (!is_broken() && ::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0)
            connection_.lost_ = true;
    }

private:
    void want(call& f) {
        begin(*f.what, f.literal);
        if (f.has_types) f.each_type([this](std::size_t index, std::string_view type) { want_type(index, type); });
    }
    [[nodiscard]] readiness greet(call& f, error& e);
    [[nodiscard]] readiness begin_to_prepare(call& f, error& e);
    [[nodiscard]] readiness go_on_preparing(call& f, error& e);
    [[nodiscard]] readiness plan(call& f, error& e);
    /// What is asked next may take several steps.
    void stand_alone() noexcept {
        if (::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
        connection_.busy_ = false;
        connection_.may_yield(true);
        connection_.guard(nullptr);
    }

    call* preparing_for_ = nullptr;
    std::vector<hash128> stale_;  // prepared statements to be forgotten
    bool greeted_ = false;
    bool greeting_ = false;
    bool route_known_;  // no pooler matters
    bool shares_ = true;
};

STRATA_COLD inline readiness postgres_shared_link::greet(call& f, error& e) {
    if (!std::exchange(greeting_, true)) stand_alone();
    std::string answer;
    const signal s =
        connection_.control_step("select pg_backend_pid() || ' ' || current_setting('default_transaction_isolation')", e, &answer);
    preparing_for_ = s == signal::io || s == signal::work ? &f : nullptr;
    if (preparing_for_ != nullptr) return readiness::waits;
    greeting_ = false;
    if (s == signal::failed) return readiness::refused;
    char* level = nullptr;
    const long pid = std::strtol(answer.c_str(), &level, 10);
    if (!route_known_ && pid != ::PQbackendPID(connection_.db_)) {
        e = error{errc::unsupported,
                  "a pooler stands before the server, and statements that share a connection need a session of their own: connect to the "
                  "server, or set pipelined_options.through_pooler where the pooler keeps sessions, or knows prepared statements",
                  phase::prepare};
        return readiness::refused;
    }
    greeted_ = true;
    shares_ = std::string_view{level} == " read committed" || std::string_view{level} == " read uncommitted";
    return find(f, true, e);
}

STRATA_COLD inline readiness postgres_shared_link::begin_to_prepare(call& f, error& e) {
    stand_alone();
    connection_.start_the_clock(connection_.finish_limit_);
    return go_on_preparing(f, e);
}
STRATA_COLD inline readiness postgres_shared_link::go_on_preparing(call& f, error& e) {
    const signal now = postgres_run::find();
    preparing_for_ = now == signal::io || now == signal::work ? &f : nullptr;
    if (preparing_for_ != nullptr) return readiness::waits;
    if (now == signal::done) return plan(f, e);
    e = std::exchange(error_, {});
    return readiness::refused;
}

/// How its rows are read.
inline readiness postgres_shared_link::plan(call& f, error& e) {
    const postgres_row meta{entry_->columns.get(), -1, reading()};
    if (!entry_->planned) [[unlikely]] {
        e = f.plan(meta, entry_->plan);
        if (!e) {
            entry_->plan.tag = f.tag();
            entry_->planned = true;
            entry_->shares = f.what->idempotent && !tells_transaction_time(f.what->postgres_text);
        }
    }
    f.columns = &entry_->plan;
    f.entry = entry_;
    if (!e && entry_->plan.tag != f.tag()) {  // somebody else may be reading by that one
        e = f.plan(meta, f.own_plan);
        f.columns = &f.own_plan;
    }
    if (!e) [[likely]]
        return readiness::ready;
    e.set(phase::prepare).edit_texts().statement = f.what->text;
    return readiness::refused;
}

inline void postgres_shared_link::take(call* listener, shared_answer& a) {
    using is = shared_answer::is;
    result_.reset(::PQgetResult(connection_.db_));
    const ExecStatusType status = result_ != nullptr ? ::PQresultStatus(result_.get()) : PGRES_PIPELINE_SYNC;
    if (status == PGRES_PIPELINE_SYNC) {
        a.what = is::broken;
        return;
    }
    const bool skipped = status == PGRES_PIPELINE_ABORTED;
    if (listener != nullptr && !skipped) {
        what_ = listener->what;
        a.bytes = ::PQresultMemorySize(result_.get());
        try {
            if (status == PGRES_TUPLES_OK) listener->read(0, result_.get(), *listener->columns, reading(), error_);
        } catch (...) {
            a.thrown = std::current_exception();
        }
        if (status != PGRES_TUPLES_OK || !listener->only_reads || listener->wants_count) keep_outcome();
    }
    result_.reset(::PQgetResult(connection_.db_));  // null ends a statement's answer, and is there already
    if (result_ != nullptr) a.what = is::broken;
    if (skipped) a.what = is::skipped;
    if (a.what != is::answered || listener == nullptr) return;
    const bool on_server = std::exchange(failed_on_server_, false);
    const bool wrote = std::exchange(wrote_, false);
    a.failed = std::exchange(error_, {});
    a.affected = std::exchange(affected_, 0);
    if (!a.failed) [[likely]]
        return;
    if (on_server) {
        if (tells_stale_plan(a.failed)) {
            want(*listener);
            stale_.push_back(key_);
            a.what = is::stale;
        } else if (a.failed.texts().native_code == "40P01" &&
                   listener->only_reads) {  // alone it holds none of the locks of those before it
            a.what = is::stale;
        }
    } else {
        a.failed.set(phase::result).set(wrote ? effect::applied : effect::none);
    }
    if (a.failed.has_texts() && a.failed.texts().statement.empty()) a.failed.edit_texts().statement = listener->what->text;
}

inline void postgres_shared_link::take_sync(call* listener, shared_answer& a) {
    result_.reset(::PQgetResult(connection_.db_));
    const ExecStatusType status = result_ != nullptr ? ::PQresultStatus(result_.get()) : PGRES_BAD_RESPONSE;
    if (status == PGRES_FATAL_ERROR) {  // it could not be committed
        a.what = shared_answer::is::more;
        if (listener != nullptr) {
            what_ = listener->what;
            keep_outcome();
            failed_on_server_ = false;
            a.failed = std::exchange(error_, {});
        }
        result_.reset(::PQgetResult(connection_.db_));  // null ends the error, and is there already; the Sync's own answer follows
        if (result_ != nullptr) a.what = shared_answer::is::broken;
    } else if (status != PGRES_PIPELINE_SYNC) {
        a.what = shared_answer::is::broken;
    }
    result_.reset();
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One statement on a connection that it shares: bound and read by types. The logic is in core/multiplexer.hpp and shared_link.hpp.
#ifndef STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP

namespace strata::inline STRATA_ABI {

/// What a statement takes for its connection; see `detail::seat`.
class postgres_seat : public detail::seat<detail::postgres_shared_link> {
public:
    /// One statement, from here.
    template <class Bound, class Sink>
    class query;
};

/// As `postgres_connection::query`. Destroyed midway it leaves its place; what was sent is not taken back. Whoever leads reads the rows,
/// which may be another thread of those that share.
template <class Bound, class Sink>
class postgres_seat::query final : detail::postgres_flown {
public:
    query(postgres_seat& seat, const Bound& statement, Sink& sink) noexcept : seat_(seat), statement_(statement), sink_(sink) {}
    ~query() { seat_.end(); }

    [[nodiscard]] signal resume() { return seat_.is_seated() ? seat_.go_on() : begin(); }
    [[nodiscard]] error& failure() noexcept { return seat_.error_; }
    [[nodiscard]] std::int64_t affected() const noexcept { return seat_.affected_; }
    [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

private:
    [[nodiscard]] signal begin() {
        what = &statement_.text();
        literal = Bound::facts.kind_known;
        wants_count = !requires { requires !Sink::wants_count; };
        only_reads = statement_.kind() == statement_kind::read;
        const bool idempotent = only_reads && (seat_.op_->run_time_idempotent || statement_.idempotent());
        return seat_.begin(*this, idempotent);
    }

    void describe() override {}
    [[nodiscard]] detail::refused_argument bind(std::size_t, postgres_writer& out) override {
        return detail::write_arguments(statement_, out);
    }
    void each_type(const std::function<void(std::size_t, std::string_view)>& f) const override {
        statement_.for_each_argument([&](std::size_t index, const auto& value) {
            if constexpr (detail::may_be_typed<std::remove_cvref_t<decltype(value)>>) {
                if (const std::string_view type = detail::type_of_argument(value); !type.empty()) f(index, type);
            }
        });
    }
    [[nodiscard]] const void* tag() const noexcept override { return sink_.tag(); }
    [[nodiscard]] error plan(const postgres_row& meta, row_plan& p) override { return sink_.plan(meta, p); }
    void read(std::size_t, const PGresult* r, const row_plan& p, detail::reading_memory& memory, error& e) override {
        const int rows = ::PQntuples(r);
        for (int row = 0; row < rows; ++row)
            if (sink_.row(postgres_row{r, row, memory}, p, e) != flow::more) return;
        sink_.finish(e);
    }
    void end(std::size_t, error, std::int64_t) override {}

    postgres_seat& seat_;
    const Bound& statement_;
    Sink& sink_;
};

/// The driver, as the statements that share its connections see it.
struct postgres_sharing {
    using connection = postgres_seat;
    using link = detail::postgres_shared_link;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    static constexpr bool blocking = false;

    [[nodiscard]] static error check(const postgres_options& o) {
        if (!o.prepare)
            return {errc::invalid_argument, "pipelined needs postgres_options.prepare: statements that share a connection are prepared",
                    phase::admission};
        if (o.handle != nullptr)
            return {errc::invalid_argument, "pipelined opens its connections itself: postgres_options.handle is one of the user's",
                    phase::admission};
        return {};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// The PostgreSQL driver: one include. Link with -lpq (libpq 14 or newer).
#ifndef STRATA_DRIVER_POSTGRES_HPP
#define STRATA_DRIVER_POSTGRES_HPP

#endif

#endif
