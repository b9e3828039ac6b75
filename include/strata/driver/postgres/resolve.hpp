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

#include <strata/driver/postgres/connection.hpp>

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

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
