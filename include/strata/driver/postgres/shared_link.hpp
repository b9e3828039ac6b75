// A connection that many statements share, as the multiplexer drives it: libpq in pipeline mode.
//
// Before the first statement the server is asked two things. How it isolates by default: where that is stricter than READ COMMITTED,
// reads behind one Sync would see one snapshot, so each gets its own. And whether it is the one that we talk to: behind a pooler that hands
// each transaction to another session our prepared statements would be missing.
//
// libpq before 17 sends what lies there with each Sync; so statements that have one of their own leave one by one.
#ifndef STRATA_DRIVER_POSTGRES_SHARED_LINK_HPP
#define STRATA_DRIVER_POSTGRES_SHARED_LINK_HPP

#include <strata/core/multiplexer.hpp>
#include <strata/driver/postgres/flown.hpp>
#include <strata/driver/postgres/run.hpp>
#include <strata/driver/postgres/transaction_time.hpp>

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
