// One versioned write on a connection: the checked statement, and when the row has another version the read that tells why, the
// strategy's answer, and the next try. A resumable algorithm that is part of an operation, or of a batch.
//
//   writing --row--> done
//      | none                       (strategies that repeat, while tries are left)
//      v                            v
//   [pausing] ----> reading --none--> not found
//      ^               | row
//      +--- writing <--+--> conflict, exhausted, merge conflict
//
// Each try is one statement that checks and writes, so there is no moment between a check and its write. The read after it only explains,
// or is what the next try starts from; whatever it finds, the next try checks again.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_WRITE_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_WRITE_HPP

#include <strata/core/operation.hpp>
#include <strata/core/signal.hpp>
#include <strata/transaction/control.hpp>
#include <strata/transaction/optimistic/conflict_log.hpp>
#include <strata/transaction/optimistic/given.hpp>
#include <strata/transaction/optimistic/merge.hpp>
#include <strata/transaction/optimistic/statements.hpp>
#include <strata/value/sinks.hpp>

#include <exception>
#include <limits>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Reads `versioned<T>`: the version is one of T's members, or stands in the first column.
template <class T>
class versioned_sink : public decoding_sink<T> {
public:
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        if (row_) {
            e = too_many_rows_error();
            return flow::stop;
        }
        T value{};
        version_of<T> version{};
        if (!row_decoder<T>::decode(r, p, value, e)) return flow::stop;
        if constexpr (has_version_column<T>)
            version = get_member<version_type<T>::number>(value);
        else if (!read_column(r, 0, version, e))
            return flow::stop;
        row_.emplace(std::move(value), std::move(version));
        return flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { row_.reset(); }
    [[nodiscard]] std::optional<versioned<T>> take() && { return std::move(row_); }

private:
    std::optional<versioned<T>> row_;
};

/// The same of exactly one row.
template <class T>
class inserted_sink : public decoding_sink<T> {
public:
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return sink_.row(r, p, e);
    }
    void finish(error&) noexcept {}
    void restart() noexcept { sink_.restart(); }
    [[nodiscard]] versioned<T> take() && {
        std::optional<versioned<T>> row = std::move(sink_).take();
        return row ? *std::move(row) : versioned<T>{};  // a trigger may have taken the row away
    }

private:
    versioned_sink<T> sink_;
};

/// How often and with which pauses strategies repeat.
struct repetition {
    unsigned max_attempts;
    duration base, cap;

    /// Full jitter: uniform in [0, min(cap, base * 2^(attempt - 1))).
    [[nodiscard]] duration pause_after(unsigned attempt, const moment& m) const noexcept {
        duration bound = base;
        for (unsigned i = 1; i < attempt && bound < cap; ++i) bound *= 2;
        if (bound > cap) bound = cap;
        return duration{static_cast<duration::rep>(m.random_unit() * static_cast<double>(bound.count()))};
    }
};

/// A statement that runs on a connection, with its sink.
template <class Connection, class Bound, class Sink>
struct running_statement {
    running_statement(Connection& c, Bound&& s) : statement(std::move(s)), query(c, statement, sink) {}
    const Bound statement;
    Sink sink;
    typename Connection::template query<Bound, Sink> query;
};

/// The statement that checks (if it does) and writes. All must live until it has run.
template <class Table, bool Removes, bool Checks, class Keys>
[[nodiscard]] auto checked_statement(const typename Table::row* row, const Keys& keys,
                                     const std::optional<typename Table::version>& expected) {
    if constexpr (Removes && Checks)
        return Table::remove(keys, *expected);
    else if constexpr (Removes)
        return Table::remove(keys);
    else if constexpr (Checks)
        return Table::update(*row, keys, *expected);
    else
        return Table::update(*row, keys);
}

/// `Given` and the strategy live until the end, as the log does.
template <class Driver, class Table, class Given, class Strategy, bool Removes>
class versioned_write {
    using connection = typename Driver::connection;
    using row_type = typename Table::row;
    using version_type = typename Table::version;
    using keys_type = decltype(std::declval<const Given&>().template keys<Table>());
    static constexpr bool starts_by_reading = recomputes<Strategy> && !requires(const Given& g) { g.value(); };
    static constexpr bool tells_version = !Removes && Table::template tells_version<Strategy::checks>;
    static constexpr bool counts_up = !Removes && !tells_version;
    static_assert(
        !merges<Strategy> || requires(const Given& g) { g.base(); },
        "strata: merge needs the row as it was read: give what find_versioned returned");
    static_assert(!Removes || !Strategy::repeats, "strata: a removal is neither merged nor recomputed: fail_fast or last_writer_wins");

public:
    using outcome_type = write_outcome<row_type>;

    /// `told` becomes the outcome, where the caller will have it.
    versioned_write(outcome_type& told, const Given& given, const Strategy& strategy, conflict_log& log, const repetition& r) noexcept
        : result(told), given_(given), strategy_(strategy), log_(log), repetition_(r), keys_(given.template keys<Table>()) {}

    /// Until `done`, with the outcome in `result`, or `failed`, with the error in `e`, and what the user's function threw in `thrown`.
    template <class World>
    [[nodiscard]] signal resume(connection& c, const operation_base& op, World& world, error& e) {
        for (;;) {
            switch (at_) {
                case at::begun:
                    if (op.is_cancelled()) [[unlikely]]  // a short statement would be over before the driver looks
                        return e = error{errc::cancelled, phase::execute}, signal::failed;
                    if constexpr (!Strategy::idempotent)
                        if (op.run_time_idempotent) [[unlikely]]
                            return e = not_idempotent(), signal::failed;
                    if (result.attempts != 0) result = {};  // of the operation's attempt before
                    thrown = nullptr;
                    if constexpr (requires { given_.base(); }) {
                        if (Table::key_of(given_.value()) != keys_) return e = key_was_changed(), signal::failed;
                    }
                    at_ = starts_by_reading ? at::reading : at::writing;
                    if constexpr (!starts_by_reading && Strategy::checks) expected_.emplace(given_.version());
                    if constexpr (!starts_by_reading && recomputes<Strategy>)
                        if (!compute(as_it_was_read(), e)) return signal::failed;
                    break;
                case at::writing: {
                    const signal s = write(c, e);
                    if (s != signal::done) return s;
                    if (ended_) return s;
                    if (Strategy::repeats && result.attempts < repetition_.max_attempts) {
                        const moment m = world.moment();
                        until_ = add_saturated(m.now, repetition_.pause_after(result.attempts, m));
                        if (until_ > op.deadline) until_ = op.deadline;
                        at_ = at::pausing;
                        return signal::park;
                    }
                    at_ = at::reading;
                    break;
                }
                case at::pausing:
                    if (error why = stopped_in_pause(op, world)) return e = std::move(why), signal::failed;
                    if (world.moment().now < until_) return signal::park;  // woken for nothing
                    at_ = at::reading;
                    if constexpr (Driver::blocking) return signal::work;  // the read may block
                    break;
                case at::reading: {
                    const signal s = read(c, op, world, e);
                    if (s != signal::done || ended_) return s;
                    at_ = at::writing;
                    break;
                }
            }
        }
    }
    /// Lets go of the connection; another resume begins anew.
    void end() noexcept {
        writing_.reset();
        reading_.reset();
        at_ = at::begun;
        ended_ = false;
    }

    [[nodiscard]] bool pauses() const noexcept { return at_ == at::pausing; }
    [[nodiscard]] time_point pauses_until() const noexcept { return until_; }

    /// Of the statement that writes, for logs.
    [[nodiscard]] static constexpr std::string_view text() {
        if constexpr (Removes)
            return Table::template remove_text<Strategy::checks>();
        else
            return Table::template update_text<Strategy::checks>();
    }

    outcome_type& result;
    std::exception_ptr thrown;

private:
    enum class at : std::uint8_t { begun, writing, pausing, reading };

    /// A removal writes none.
    [[nodiscard]] const row_type* to_write() const {
        if constexpr (Removes)
            return nullptr;
        else if constexpr (starts_by_reading)
            return &*next_;
        else
            return next_ ? &*next_ : &given_.value();
    }

    [[nodiscard]] signal write(connection& c, error& e) {
        if (!writing_) {
            if constexpr (counts_up) {
                if (*expected_ == std::numeric_limits<version_type>::max()) return e = no_version_left(), signal::failed;
            }
            (++result.attempts == 1) ? log_.began() : log_.retried();
            writing_.emplace(c, checked_statement<Table, Removes, Strategy::checks>(to_write(), keys_, expected_));
        }
        const signal s = writing_->query.resume();
        if (!has_ended(s)) return s;
        std::optional<version_type> written;
        if (s == signal::failed)
            e = std::move(writing_->query.failure());
        else if constexpr (tells_version)
            written = std::move(writing_->sink).take();
        else if (const std::int64_t rows = writing_->query.affected(); rows == 1)
            written = next_version();
        else if (rows > 1)
            return writing_.reset(), e = several_rows(), signal::failed;
        writing_.reset();
        if (s == signal::failed) return s;
        if (written) {
            result.status = Removes ? write_status::removed : write_status::updated;
            if (next_) {
                set_version(*next_, *written);
                result.row.emplace(*std::move(next_), *written);
            }
            if constexpr (!Removes) result.version = *std::move(written);
            ended_ = true;
        } else if constexpr (!Strategy::checks) {
            result.status = write_status::not_found;
            ended_ = true;
        }
        return s;
    }

    template <class World>
    [[nodiscard]] signal read(connection& c, const operation_base&, World& world, error& e) {
        if (!reading_) reading_.emplace(c, Table::find(keys_));
        const signal s = reading_->query.resume();
        if (!has_ended(s)) return s;
        std::optional<versioned<row_type>> fresh = std::move(reading_->sink).take();
        if (s == signal::failed) e = std::move(reading_->query.failure());
        reading_.reset();
        if (s == signal::failed) return s;
        if (result.attempts != 0 && fresh) log_.met(mapping<row_type>::table, key_text::of(keys_), result.attempts, world.moment().now);
        if (!fresh)
            end_with(write_status::not_found, {});
        else if (!Strategy::repeats)
            end_with(write_status::conflict, std::move(fresh));
        else if (result.attempts >= repetition_.max_attempts)
            log_.exhausted(), end_with(write_status::exhausted, std::move(fresh));
        else
            return next_from(std::move(*fresh), e);
        return s;
    }
    void end_with(write_status s, std::optional<versioned<row_type>> found) {
        result.status = s;
        result.row = std::move(found);
        ended_ = true;
    }

    /// What to write on the fresh row.
    [[nodiscard]] signal next_from([[maybe_unused]] versioned<row_type> fresh, [[maybe_unused]] error& e) {
        if constexpr (recomputes<Strategy>) {
            if (!compute(*fresh, e)) return signal::failed;
        } else if constexpr (merges<Strategy>) {
            next_.emplace(*fresh);
            if (!guarded_call(e, [&] { merged_ = strategy_.make(given_.base(), given_.value(), *fresh, *next_, result.fields); }))
                return signal::failed;
            if (!merged_) {
                log_.merge_conflict();
                next_.reset();
                end_with(write_status::merge_conflict, std::move(fresh));
                return signal::done;
            }
        }
        expected_.emplace(fresh.version());
        return signal::done;
    }
    /// What a caller did to the row that was read is no part of what is recomputed: it would be lost after a conflict, and only then.
    [[nodiscard]] const row_type& as_it_was_read() const {
        if constexpr (requires { given_.base(); })
            return given_.base();
        else
            return given_.value();
    }
    [[nodiscard]] bool compute(const row_type& from, error& e) {
        next_.emplace(from);
        return guarded_call(e, [&] { strategy_.make(*next_); });
    }
    /// What the user's function throws ends the write, which has not happened.
    template <class F>
    [[nodiscard]] bool guarded_call(error& e, F&& f) {
        try {
            f();
            return true;
        } catch (...) {
            thrown = std::current_exception();
            e = error{errc::user_exception, phase::execute};
            return false;
        }
    }

    template <class World>
    [[nodiscard]] STRATA_COLD static error stopped_in_pause(const operation_base& op, World& world) {
        if (op.is_cancelled()) return error{errc::cancelled, phase::execute};
        if (op.deadline != never && world.moment().now >= op.deadline)
            return error{errc::timeout, "the deadline passed before another try after a conflict", phase::execute};
        return {};
    }

    /// Nothing of a removal.
    [[nodiscard]] version_type next_version() const {
        if constexpr (counts_up)
            return static_cast<version_type>(*expected_ + 1);
        else
            return {};
    }
    [[nodiscard]] STRATA_COLD static error no_version_left() {
        return {errc::out_of_range, "the version is the greatest that the struct's member can hold", phase::admission};
    }
    [[nodiscard]] STRATA_COLD static error not_idempotent() {
        return {errc::invalid_argument,
                "recompute, and merge by sums, lists or functions, cannot be idempotent: repeated after a lost answer it would go on from "
                "what it may have written itself; leave call_options::idempotent out",
                phase::admission};
    }
    [[nodiscard]] STRATA_COLD static error several_rows() {
        return {errc::too_many_rows, "more than one row has this key: strata::mapping<T>::key names columns that are not unique",
                phase::result, effect::applied};
    }
    [[nodiscard]] STRATA_COLD static error key_was_changed() {
        return {errc::invalid_argument, "the key of a row that was read has been changed: insert another row, and remove this one",
                phase::admission};
    }

    const Given& given_;
    const Strategy& strategy_;
    conflict_log& log_;
    const repetition& repetition_;
    keys_type keys_;
    std::optional<version_type> expected_;
    std::optional<row_type> next_;  // where the strategy has made one
    time_point until_{};
    at at_ = at::begun;
    bool ended_ = false;
    bool merged_ = false;
    using write_statement = decltype(checked_statement<Table, Removes, Strategy::checks>(
        std::declval<const row_type*>(), std::declval<const keys_type&>(), std::declval<const std::optional<version_type>&>()));
    using read_statement = decltype(Table::find(std::declval<const keys_type&>()));
    using write_sink = std::conditional_t<tells_version, maybe_one_sink<version_type>, discard_sink>;
    std::optional<running_statement<connection, write_statement, write_sink>> writing_;
    std::optional<running_statement<connection, read_statement, versioned_sink<row_type>>> reading_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
