// The part of a query that needs no templates: found prepared or prepared, sent, its results taken one by one, its end told.
#ifndef STRATA_DRIVER_POSTGRES_RUN_HPP
#define STRATA_DRIVER_POSTGRES_RUN_HPP

#include <strata/core/joined.hpp>
#include <strata/core/signal.hpp>
#include <strata/driver/postgres/connection.hpp>
#include <strata/value/row_error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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
    }

    void begin(const descriptor& what, bool literal) noexcept {
        what_ = &what;
        literal_ = literal;
        key_ = literal ? what.hash : key_of_composed(what.hash);
        typed_ = false;
    }
    /// Parameter `index` has a type that the server need not infer: another statement for the server.
    void want_type(std::size_t index, std::string_view type) {
        if (!std::exchange(typed_, true)) connection_.wanted_types_.clear();
        connection_.wanted_types_.emplace_back(index, type);
        const hash128 h = hash_text(type);
        key_.high = finish_mix(key_.high ^ (h.high + index));
        key_.low = finish_mix(key_.low ^ (h.low + index));
    }
    /// Finds or prepares the statement; false with the error set when that fails.
    [[nodiscard]] bool take() {
        const descriptor& what = *what_;
        connection_.start_the_clock();
        connection_.waiting_ = false;
        if (connection_.is_lost()) return error_ = connection_.lost_error(phase::execute, effect::none), false;
        if (connection_.busy_) {
            error_ = error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
            return false;
        }
        was_in_transaction_ = connection_.in_transaction();
        if (!what.fits(dialect::postgres)) {
            error_ = error{errc::invalid_statement, "the text does not follow PostgreSQL's lexical rules", phase::prepare};
            error_.edit_texts().statement = what.text;
            return false;
        }
        if (!connection_.prepares_) return find_types();
        if (entry_ == nullptr) entry_ = connection_.statements_.take(key_, what.postgres_text, literal_);
        if (entry_ != nullptr) return true;
        const bool yields = std::exchange(connection_.yields_, false);
        const bool prepared = prepare();
        connection_.yields_ = yields;
        return prepared;
    }

    void begin_parameters() { connection_.writer_.reset(types(), entry_ != nullptr, connection_.reading_.types); }
    [[nodiscard]] postgres_writer& writer() noexcept { return connection_.writer_; }
    [[nodiscard]] reading_memory& reading() noexcept { return connection_.reading_; }

    /// Sends the bound statement.
    [[nodiscard]] bool send(bool one_by_one) {
        postgres_writer& w = connection_.writer_;
        w.finish();
        PGconn* const db = connection_.db_;
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
        if (one_by_one) ::PQsetSingleRowMode(db);
        under_way_ = connection_.busy_ = true;
        return true;
    }

    /// `io`, or done with the next result in `result_`, which is null at the end of the statement or of the connection.
    [[nodiscard]] signal next() {
        row_ = 0;
        if (!connection_.yields_) {
            result_ = connection_.next_result();
            return signal::done;
        }
        if (connection_.lost_) return signal::done;
        switch (connection_.look_for_result()) {
            case postgres_connection::waited::not_yet:
                return signal::io;
            case postgres_connection::waited::ready:
                result_.reset(::PQgetResult(connection_.db_));
                break;
            default:
                connection_.lost_ = true;
                break;
        }
        if (::PQstatus(connection_.db_) != CONNECTION_OK) connection_.lost_ = true;
        return signal::done;
    }
    /// Where the thread may not block, the statement is first prepared on one that may.
    [[nodiscard]] bool must_move() {
        if (!connection_.yields_ || moved_) return false;
        if (!connection_.prepares_) return moved_ = typed_;
        entry_ = connection_.statements_.take(key_, what_->postgres_text, literal_);
        return moved_ = entry_ == nullptr;
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
            const std::string_view tag = ::PQcmdStatus(result_.get());
            if (!tag.empty() && tag[0] != 'S' && tag[0] != 'F') {  // what SELECT, SHOW and FETCH count was not changed
                affected_ += std::strtoll(::PQcmdTuples(result_.get()), nullptr, 10);
                wrote_ = wrote_ || affected_ != 0;
            }
        } else if (s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE) {
            failed_on_server_ = true;
            error server = make_postgres_error(result_.get(), phase::execute, what_->text, what_->postgres_text);
            was_hit_ = server.code() == errc::cancelled && connection_.ended_by_ != errc::ok;
            if (was_hit_) server.set(connection_.ended_by_);
            if (!error_) error_ = std::move(server);
        } else if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
            error_ = error{errc::unsupported, "COPY cannot be run as a statement", phase::execute}.set(health::lost);
            connection_.lost_ = true;
        }
    }

    /// All results are read: what came of it.
    [[nodiscard]] signal end() {
        if (connection_.ended_by_ != errc::ok && !connection_.lost_) {
            const bool waits = !was_hit_ || !connection_.cancels_.have_ended();
            if (waits && connection_.yields_ && !std::exchange(fencing_, true)) return signal::work;
            const bool yields = std::exchange(connection_.yields_, false);
            connection_.raise_fence(was_hit_);
            connection_.yields_ = yields;
        }
        under_way_ = connection_.busy_ = false;
        connection_.hooks_.look(connection_.db_);
        if (connection_.lost_) {
            if (!failed_on_server_)
                error_ = connection_.lost_error(phase::execute, was_in_transaction_ ? effect::rolled_back : effect::unknown);
            error_.set(health::lost);
        }
        if (!error_) return signal::done;
        if (!failed_on_server_ && !connection_.lost_) error_.set(phase::result).set(wrote_ ? effect::applied : effect::none);
        if (error_.has_texts() && error_.texts().statement.empty()) error_.edit_texts().statement = what_->text;
        return signal::failed;
    }

    /// A stale statement of the server's: forgotten, so that the next try prepares it anew. True when that may happen at once.
    [[nodiscard]] STRATA_COLD bool is_stale() {
        if (entry_ == nullptr || renewed_ || was_in_transaction_ || !failed_on_server_ || connection_.lost_) return false;
        const std::string& code = error_.texts().native_code;
        const bool stale = code == "26000" || (code == "0A000" && error_.message().find("cached plan") != std::string::npos);
        if (!stale) return false;
        renewed_ = true;
        connection_.statements_.forget(entry_->key);
        entry_ = nullptr;
        error_ = {};
        failed_on_server_ = was_hit_ = moved_ = false;
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
                const result_owner r = connection_.next_result();
                if (r == nullptr) break;
                was_hit = was_hit || field_of(r.get(), PG_DIAG_SQLSTATE) == "57014";
            }
            if (connection_.ended_by_ != errc::ok) connection_.raise_fence(was_hit);
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
    bool typed_ = false;    // an argument says its type
    bool fencing_ = false;  // the result is complete; a thread that may block waits for the cancel's end
    bool moved_ = false;    // to a thread that may block

private:
    [[nodiscard]] std::span<const ::Oid> types() const noexcept {
        return entry_ != nullptr ? std::span<const ::Oid>{entry_->parameters} : std::span<const ::Oid>{};
    }
    [[nodiscard]] bool prepare();
    [[nodiscard]] bool answer_of(int sent, result_owner& last);
    [[nodiscard]] bool learn_types(const PGresult* description);
    [[nodiscard]] bool find_types();
    [[nodiscard]] bool ask_types();
    /// For libpq: null where the server is to infer them all.
    [[nodiscard]] const ::Oid* parameter_types() const noexcept { return typed_ ? connection_.parameter_types_.data() : nullptr; }
};

/// Waits for the answer to `prepare` or `describe`.
STRATA_COLD inline bool postgres_run::answer_of(int sent, result_owner& last) {
    if (sent == 0) connection_.lost_ = true;
    bool was_hit = false;
    while (result_owner r = connection_.next_result()) {
        if (::PQresultStatus(r.get()) == PGRES_FATAL_ERROR) {
            error_ = make_postgres_error(r.get(), phase::prepare, what_->text, what_->postgres_text);
            was_hit = error_.code() == errc::cancelled && connection_.ended_by_ != errc::ok;
            if (was_hit) error_.set(connection_.ended_by_);
        }
        last = std::move(r);
    }
    if (connection_.ended_by_ != errc::ok && !connection_.lost_) {
        connection_.raise_fence(was_hit);
        if (!error_) error_ = error{connection_.ended_by_, phase::prepare};
    }
    if (connection_.lost_ && !error_)
        error_ = connection_.lost_error(phase::prepare, was_in_transaction_ ? effect::rolled_back : effect::none);
    if (connection_.lost_) error_.set(health::lost);
    return !error_;
}

/// Looks up those types of columns and parameters that the database defines and the connection has not met.
STRATA_COLD inline bool postgres_run::learn_types(const PGresult* description) {
    type_catalogue& types = connection_.reading_.types;
    std::string unknown;
    const int columns = ::PQnfields(description);
    for (int i = 0, n = columns + ::PQnparams(description); i < n; ++i) {
        const ::Oid type = i < columns ? ::PQftype(description, i) : ::PQparamtype(description, i - columns);
        if (!types.knows(type)) unknown.append(unknown.empty() ? "{" : ",").append(std::to_string(type));
    }
    if (unknown.empty()) return true;
    unknown += '}';
    const char* const values[] = {unknown.c_str()};
    result_owner answer;
    const std::string question = type_catalogue::question(::PQserverVersion(connection_.db_));
    if (!answer_of(::PQsendQueryParams(connection_.db_, question.c_str(), 1, nullptr, values, nullptr, nullptr, 0), answer)) return false;
    types.learn(answer.get());
    return true;
}

/// The numbers of the types that arguments say. They are asked for each time: a type may be made anew under its name.
STRATA_COLD inline bool postgres_run::ask_types() {
    const auto& wanted = connection_.wanted_types_;
    std::string question = "select";
    std::vector<std::string> names;
    std::vector<const char*> values;
    for (const auto& [index, type] : wanted) {
        names.emplace_back(type);
        question += joined({names.size() == 1 ? " $" : ", $", digits_of(names.size())});
        question += "::pg_catalog.text::pg_catalog.regtype::pg_catalog.oid";
    }
    for (const std::string& name : names) values.push_back(name.c_str());
    result_owner answer;
    const int count = static_cast<int>(values.size());
    if (!answer_of(::PQsendQueryParams(connection_.db_, question.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0), answer))
        return false;
    connection_.parameter_types_.assign(what_->parameters, 0);
    for (int i = 0; i < count; ++i) {
        ::Oid& type = connection_.parameter_types_[wanted[static_cast<std::size_t>(i)].first];
        type = static_cast<::Oid>(std::strtoul(::PQgetvalue(answer.get(), 0, i), nullptr, 10));
    }
    return true;
}

inline bool postgres_run::find_types() {
    if (!typed_) [[likely]]
        return true;
    const bool yields = std::exchange(connection_.yields_, false);
    const bool found = ask_types();
    connection_.yields_ = yields;
    return found;
}

STRATA_COLD inline bool postgres_run::prepare() {
    if (what_->statements > 1) {
        error_ = error{errc::invalid_statement, "PostgreSQL takes one statement at a time", phase::prepare};
        error_.edit_texts().statement = what_->text;
        error_.edit_texts().hint = "run them one by one, in a transaction if they belong together";
        return false;
    }
    PGconn* const db = connection_.db_;
    if (!find_types()) return false;
    const int typed = typed_ ? static_cast<int>(connection_.parameter_types_.size()) : 0;
    if (const std::string old = connection_.statements_.evict(); !old.empty()) {
        if (error e = connection_.run_simple(joined({"deallocate \"", old, "\""}), phase::prepare)) {
            error_ = std::move(e);
            return false;
        }
    }
    char name[40] = "strata_";
    char* at = name + 7;
    for (const std::uint64_t half : {key_.high, key_.low})
        for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[half >> shift & 15];
    *at = '\0';
    // A statement of this name is there if another text fell to the same hash, or after a renewal.
    const std::string text{what_->postgres_text};
    result_owner answer;
    if (!answer_of(::PQsendPrepare(db, name, text.c_str(), typed, parameter_types()), answer)) {
        if (error_.texts().native_code != "42P05" || was_in_transaction_) return false;
        error_ = {};
        if (error e = connection_.run_simple(joined({"deallocate \"", name, "\""}), phase::prepare)) return error_ = std::move(e), false;
        if (!answer_of(::PQsendPrepare(db, name, text.c_str(), typed, parameter_types()), answer)) return false;
    }
    result_owner description;
    if (!answer_of(::PQsendDescribePrepared(db, name), description)) return false;
    if (!learn_types(description.get())) return false;
    prepared_statement& s = connection_.statements_.put(key_, text);
    std::copy(name, at + 1, s.name);
    const int count = ::PQnparams(description.get());
    for (int i = 0; i < count; ++i) s.parameters.push_back(::PQparamtype(description.get(), i));
    s.columns = std::move(description);
    entry_ = &s;
    if (count != what_->parameters) {
        error_ =
            error{errc::invalid_statement,
                  joined({"the server counts ", digits_of(count), " parameters where ", digits_of(int{what_->parameters}), " are bound"}),
                  phase::prepare};
        return false;
    }
    return true;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
