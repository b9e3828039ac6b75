// One COPY on its way, in or out: begun, its bytes put or got with a bound on what waits in memory, ended or given up.
//
// Blocks. A deadline or a cancel ends it: what goes in by telling the server that it failed, and both by a cancel, which is needed
// where the server waits for something else; the connection is used again behind a fence.
#ifndef STRATA_DRIVER_POSTGRES_COPY_HPP
#define STRATA_DRIVER_POSTGRES_COPY_HPP

#include <strata/core/joined.hpp>
#include <strata/driver/postgres/connection.hpp>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

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
