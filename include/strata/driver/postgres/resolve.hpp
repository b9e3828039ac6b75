// What became of a COMMIT whose answer was lost: the server is asked by the transaction's id, on a new connection.
//
// "in progress" is no answer yet: the COMMIT may still be on its way, or the server has not noticed that the client is gone. Nor is what a
// standby says, which may not have heard. "aborted" is one: the transaction can never be committed any more.
//
// Of several hosts only the one is asked that the lost connection led to: a standby that was promoted since, without having heard of the
// COMMIT, may have given the number to a transaction of its own. So do not ask for `resolve_commit` behind a name or a proxy that may lead
// to such a server afterwards, unless replication is synchronous.
#ifndef STRATA_DRIVER_POSTGRES_RESOLVE_HPP
#define STRATA_DRIVER_POSTGRES_RESOLVE_HPP

#include <strata/driver/postgres/connection.hpp>

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// One try; empty where there was no answer, with the reason in `why`.
[[nodiscard]] STRATA_COLD inline std::string ask_transaction_status(const postgres_target& target, const std::string& id, time_point until,
                                                                    std::string& why) {
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
    const std::string sql = joined({"select case when pg_is_in_recovery() then 'unknown to a standby' else coalesce(",
                                    old ? "txid_status(" : "pg_xact_status('", id, old ? ")" : "'::xid8)", ", 'forgotten') end"});
    std::string status;
    error e;
    static_cast<void>(asked.control_step(sql, e, &status));
    why = e ? e.message() : joined({"the server says: ", status});
    asked.close();  // before the handle goes
    return e ? std::string{} : status;
}

}  // namespace detail

STRATA_COLD inline detail::commit_fate postgres_connection::resolve_commit(const std::string& id, std::string& why) {
    detail::postgres_target target;
    if (db_ == nullptr || !target.read(db_)) {
        why = "the lost connection does not say any more where it led to";
        return detail::commit_fate::unknown;
    }
    const time_point until = add_saturated(clock::now(), finish_limit_);
    bool answered = false;  // what the server has said is worth more than why it does not answer now
    for (duration pause = std::chrono::milliseconds{2};; pause = pause < std::chrono::milliseconds{500} ? pause * 2 : pause) {
        std::string reason;
        const std::string status = detail::ask_transaction_status(target, id, until, reason);
        if (!answered || !status.empty()) why = std::move(reason);
        answered = answered || !status.empty();
        if (status == "committed") return detail::commit_fate::committed;
        if (status == "aborted") return detail::commit_fate::rolled_back;
        if (status == "forgotten") return detail::commit_fate::unknown;
        if (add_saturated(clock::now(), pause) >= until) return detail::commit_fate::unknown;
        std::this_thread::sleep_for(pause);
    }
}

}  // namespace strata::inline STRATA_ABI

#endif
