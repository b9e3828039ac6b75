// How a PostgreSQL connection is opened: what libpq takes, by URL or by field, checked before anything is sent.
#ifndef STRATA_DRIVER_POSTGRES_OPTIONS_HPP
#define STRATA_DRIVER_POSTGRES_OPTIONS_HPP

#include <strata/core/error.hpp>
#include <strata/core/shared_function.hpp>
#include <strata/core/time.hpp>

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
