// Several statements in one flight through libpq's pipeline mode: sent ahead, answered in order.
//
// Outside of a transaction each statement stands for itself, behind a Sync of its own, so that none can roll another back. Reads
// that call nothing but pure functions have nothing to roll back and share one: those that the server skipped, since one before
// them failed, are sent again. Inside a transaction there is one Sync at the end, and what follows a failure is not run.
#ifndef STRATA_DRIVER_POSTGRES_FLIGHT_HPP
#define STRATA_DRIVER_POSTGRES_FLIGHT_HPP

#include <strata/driver/postgres/flown.hpp>
#include <strata/driver/postgres/run.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

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
