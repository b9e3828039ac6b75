// What whoever is busy does on a shared connection: sends the queue, and takes answers.
#ifndef STRATA_DRIVER_POSTGRES_MULTIPLEXER_WORK_HPP
#define STRATA_DRIVER_POSTGRES_MULTIPLEXER_WORK_HPP

#include <strata/driver/postgres/multiplexer.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

/// As much of the queue as may be sent.
inline void postgres_multiplexer::send_queue() {
    if (held_ && preparing_for_ == nullptr && in_flight() != 0) return;
    if (unsent_) flush();
    bool any = false;
    while (seat* const s = queue_.first()) {
        if (is_broken() || is_full()) break;
        const readiness r = make_ready(*s);
        held_ = r == readiness::waits;
        if (held_) break;
        if (r == readiness::ready) {
            const bool shares = s->idempotent_ && limits_.shares && !s->alone_;
            if (shared_ != 0 && (!shares || shared_ == limits_.share)) sync(nullptr);
            make_room();
            if (bind_and_send(*s)) {
                any = true;
                if (shares)
                    ++shared_;
                else
                    sync(s->idempotent_ ? nullptr : s);
                continue;
            }
        }
        queue_.remove(*s);
        s->error_ = std::exchange(error_, {});
        s->at_ = seat::at::sent;
        ended_.push_back(*s);
    }
    if (shared_ != 0) sync(nullptr);
    if (any) flush();
}

/// Its statement is found, or prepared when nothing is under way.
inline postgres_multiplexer::readiness postgres_multiplexer::make_ready(seat& s) {
    postgres_flown& f = *s.statement_;
    if (preparing_for_ != &s) {
        begin(*f.what, f.literal);
        if (f.has_types) f.each_type([this](std::size_t index, std::string_view type) { want_type(index, type); });
        entry_ = connection_.statements_.take(key_, f.what->postgres_text, f.literal);
        if (entry_ == nullptr) {
            if (in_flight() != 0) return readiness::waits;
            if (::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0) {
                connection_.lost_ = true;
                return readiness::waits;
            }
            preparing_for_ = &s;
            connection_.may_yield(true);
            connection_.guard(nullptr);
            connection_.start_the_clock(connection_.finish_limit_);
        }
    }
    if (preparing_for_ == &s) {
        const signal now = find();
        if (now == signal::io || now == signal::work) return readiness::waits;
        preparing_for_ = nullptr;
        if (now == signal::failed) return readiness::refused;
    }
    plan(s);
    return error_ ? readiness::refused : readiness::ready;
}

inline void postgres_multiplexer::plan(seat& s) {
    postgres_flown& f = *s.statement_;
    const postgres_row meta{entry_->columns.get(), -1, reading()};
    if (!entry_->planned) {
        error_ = f.plan(meta, entry_->plan);
        if (!error_) {
            entry_->plan.tag = f.tag();
            entry_->planned = true;
        }
    }
    f.columns = &entry_->plan;
    f.entry = entry_;
    if (!error_ && entry_->plan.tag != f.tag()) {  // somebody else may be reading by that one
        error_ = f.plan(meta, f.own_plan);
        f.columns = &f.own_plan;
    }
    if (error_) error_.set(phase::prepare).edit_texts().statement = f.what->text;
}

inline bool postgres_multiplexer::bind_and_send(seat& s) {
    if (::PQpipelineStatus(connection_.db_) == PQ_PIPELINE_OFF && ::PQenterPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
    what_ = s.statement_->what;
    begin_parameters();
    refused_argument r{};
    try {
        r = s.statement_->bind(0, writer());
    } catch (...) {  // by a codec of the user's, which is his affair alone
        s.thrown_ = std::current_exception();
        return false;
    }
    if (r.number != 0) {
        static_cast<void>(argument_refused(r.number, r.why, r.type));
        return false;
    }
    if (connection_.lost_ || !postgres_run::send(false)) {
        if (!error_) error_ = connection_.lost_error(phase::execute, effect::none);
        return false;
    }
    for (int n = 0; n < writer().written(); ++n) bytes_ += static_cast<std::size_t>(writer().lengths()[n]);
    queue_.remove(s);
    s.at_ = seat::at::sent;
    s.number_ = sent_end_;
    note(&s, what::statement);
    return true;
}

inline void postgres_multiplexer::sync(seat* whose) {
    make_room();
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    const int sent = ::PQsendPipelineSync(connection_.db_);
#else
    const int sent = ::PQpipelineSync(connection_.db_);  // which sends all that lies there, too
#endif
    if (sent == 0) connection_.lost_ = true;
    note(whose, what::sync);
    shared_ = 0;
}
/// For one more spot, before anything is given to libpq.
inline void postgres_multiplexer::make_room() {
    if (in_flight() + 1 < sent_.size()) return;
    std::vector<spot> larger(2 * sent_.size());
    for (std::uint64_t n = answered_; n != sent_end_; ++n) larger[n & (larger.size() - 1)] = at(n);
    sent_.swap(larger);
}
inline void postgres_multiplexer::note(seat* who, what kind) noexcept {
    at(sent_end_++) = {who, kind};
}
inline void postgres_multiplexer::flush() noexcept {
    const int left = ::PQflush(connection_.db_);
    if (left < 0) connection_.lost_ = true;
    unsent_ = left > 0;
}

/// Whatever has come.
inline void postgres_multiplexer::take_answers() {
    if (preparing_for_ != nullptr) return;  // it listens itself
    if (::PQconsumeInput(connection_.db_) == 0) {
        connection_.lost_ = true;
        return;
    }
    while (in_flight() != 0 && ::PQisBusy(connection_.db_) == 0 && !connection_.lost_) take_answer();
    if (in_flight() == 0) bytes_ = 0;
    if (!again_.empty()) {
        for (seat* last = again_.last(); last != nullptr; last = again_.last()) {
            again_.remove(*last);
            last->at_ = seat::at::queued;
            queue_.push_front(*last);
        }
    }
}

inline void postgres_multiplexer::take_answer() {
    result_.reset(::PQgetResult(connection_.db_));
    spot& now = at(answered_);
    if (result_ == nullptr) {
        connection_.lost_ = true;
        return;
    }
    const ExecStatusType status = ::PQresultStatus(result_.get());
    if (now.kind == what::sync) {
        if (status == PGRES_PIPELINE_SYNC) {
            seat* const s = now.who;
            ++answered_;
            if (s != nullptr) finish(*s);
        } else if (status == PGRES_FATAL_ERROR && now.who != nullptr) {  // what it was to commit could not be committed
            what_ = now.who->statement_->what;
            keep_outcome();
            now.who->error_ = std::exchange(error_, {});
            failed_on_server_ = false;
            result_.reset(::PQgetResult(connection_.db_));  // null ends the error, and is there already; the Sync's own answer follows
            if (result_ != nullptr) connection_.lost_ = true;
        } else if (status != PGRES_FATAL_ERROR) {
            connection_.lost_ = true;
        }
        result_.reset();
        return;
    }
    if (status == PGRES_PIPELINE_SYNC) {
        connection_.lost_ = true;
        return;
    }
    seat* const s = now.kind == what::statement ? now.who : nullptr;
    const bool skipped = status == PGRES_PIPELINE_ABORTED;
    if (s != nullptr && !skipped) {
        what_ = s->statement_->what;
        try {
            if (status == PGRES_TUPLES_OK) s->statement_->read(0, result_.get(), *s->statement_->columns, reading(), error_);
        } catch (...) {
            s->thrown_ = std::current_exception();
        }
        if (status != PGRES_TUPLES_OK || !s->idempotent_ || s->statement_->wants_count) keep_outcome();
    }
    result_.reset(::PQgetResult(connection_.db_));  // null ends a statement's answer, and is there already
    if (result_ != nullptr) {
        connection_.lost_ = true;
        return;
    }
    ++answered_;
    if (s == nullptr) return;
    const bool on_server = std::exchange(failed_on_server_, false);
    s->error_ = std::exchange(error_, {});
    s->affected_ = std::exchange(affected_, 0);
    const bool wrote = std::exchange(wrote_, false);
    if (skipped || (on_server && is_stale(*s))) {
        s->error_ = {};
        s->alone_ = true;
        again_.push_back(*s);
        if (!s->idempotent_) at(answered_).who = nullptr;  // its Sync commits nothing
        return;
    }
    if (s->error_) {
        if (!on_server) s->error_.set(phase::result).set(wrote ? effect::applied : effect::none);
        if (s->error_.has_texts() && s->error_.texts().statement.empty()) s->error_.edit_texts().statement = what_->text;
    }
    if (s->idempotent_) finish(*s);
}

/// A prepared statement that the server does not know any more, or whose columns have changed: once it is prepared anew.
inline bool postgres_multiplexer::is_stale(seat& s) {
    const std::string& code = s.error_.texts().native_code;
    const bool stale = code == "26000" || (code == "0A000" && s.error_.message().find("cached plan") != std::string::npos);
    if (!stale || std::exchange(s.renewed_, true)) return false;
    begin(*s.statement_->what, s.statement_->literal);
    if (s.statement_->has_types) s.statement_->each_type([this](std::size_t index, std::string_view type) { want_type(index, type); });
    connection_.statements_.forget(key_);
    return true;
}

/// The connection broke: of a write that was sent and not answered nobody knows anything; a read had no effect.
inline void postgres_multiplexer::lose() noexcept {
    const auto fail = [this](seat& s, effect did) {
        s.error_ = connection_.lost_error(phase::execute, did);
        s.error_.set_lost();
        s.at_ = seat::at::sent;
        ended_.push_back(s);
    };
    preparing_for_ = nullptr;
    held_ = unsent_ = false;
    for (; answered_ != sent_end_; ++answered_) {
        const spot& now = at(answered_);
        if (now.who == nullptr || (now.kind == what::statement && !now.who->idempotent_)) continue;
        fail(*now.who, now.who->idempotent_ ? effect::none : effect::unknown);
    }
    while (seat* const s = again_.pop()) fail(*s, effect::none);
    while (seat* const s = queue_.pop()) fail(*s, effect::none);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
