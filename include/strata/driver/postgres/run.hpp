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
