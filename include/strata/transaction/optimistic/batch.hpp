// Many versioned writes on one connection, as one operation: all or nothing, or each by itself.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_BATCH_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_BATCH_HPP

#include <strata/core/result.hpp>
#include <strata/transaction/batch.hpp>
#include <strata/transaction/optimistic/work.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// An insert, as a part of a batch.
template <class Driver, class Table>
class versioned_insert {
    using connection = typename Driver::connection;
    using row_type = typename Table::row;
    using statement = decltype(Table::insert(std::declval<const row_type&>()));

public:
    using outcome_type = versioned<row_type>;

    versioned_insert(outcome_type& told, const row_type& row, const fail_fast&, conflict_log&, const repetition&) noexcept
        : result(told), row_(row) {}

    template <class World>
    [[nodiscard]] signal resume(connection& c, const operation_base&, World&, error& e) {
        if (!running_) running_.emplace(c, Table::insert(row_));
        const signal s = running_->query.resume();
        if (s == signal::failed) e = std::move(running_->query.failure());
        if (s == signal::done) result = std::move(running_->sink).take();
        return s;
    }
    [[nodiscard]] static bool pauses() noexcept { return false; }
    [[nodiscard]] static time_point pauses_until() noexcept { return never; }

    [[nodiscard]] static constexpr std::string_view text() { return Table::insert_text(); }

    outcome_type& result;
    std::exception_ptr thrown;

private:
    const row_type& row_;
    std::optional<running_statement<connection, statement, inserted_sink<row_type>>> running_;
};

/// A row of a batch on its way. `Given`: what `Write` is made of, made of an element.
template <class Write, class Given, class Element, class Strategy>
struct versioned_part {
    using outcome_type = typename Write::outcome_type;
    using write_type = Write;
    static Given given_of(const Element& element) {
        if constexpr (std::is_same_v<Given, const Element&>)
            return element;
        else
            return given_for(element);
    }
    versioned_part(const Element& element, const Strategy& s, conflict_log& log, const repetition& r)
        : given(given_of(element)), write(outcome, given, s, log, r) {}
    Given given;
    outcome_type outcome;
    Write write;
};

template <class T>
[[nodiscard]] bool was_written(const write_outcome<T>& o) noexcept {
    return static_cast<bool>(o);
}
template <class T>
[[nodiscard]] bool was_written(const versioned<T>&) noexcept {
    return true;
}

/// What the user's function threw, as the error of its row.
[[nodiscard]] STRATA_COLD inline error error_of_function(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
        return {errc::user_exception, e.what(), phase::execute};
    } catch (...) {
        return {errc::user_exception, "an exception that is no std::exception", phase::execute};
    }
}

/// `Together`: in a transaction, or behind the savepoint of `depth`, until a row is not written; else each by itself. `Rows` outlive it.
template <class Runtime, class Part, class Rows, class Strategy, bool Together>
class versioned_batch_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using iterator = decltype(std::begin(std::declval<const Rows&>()));

public:
    using outcome_type = typename Part::outcome_type;

    versioned_batch_work(Runtime& rt, const Rows& rows, const Strategy& strategy, conflict_log& log, const repetition& r,
                         unsigned depth) noexcept
        : rt_(rt), rows_(rows), strategy_(strategy), log_(log), repetition_(r), depth_(depth), plan_(plan_of(rt)) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!next_) begin();
        signal s = signal::done;
        if constexpr (Together)
            s = whole_->resume(c, op, rt_.world(), error_, [&](error& e) { return run(c, op, e); });
        else
            s = run(c, op, error_);
        if (s == signal::failed && stopped_) {
            if (error_.health() == health::good) return signal::done;  // the outcomes say why
            error_ = error{errc::connection_lost, "the rollback failed", phase::commit, effect::unknown}.set(health::lost);
        }
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        part_.reset();
        whole_.reset();
        next_.reset();
    }
    [[nodiscard]] bool pauses() const noexcept { return part_ && part_->write.pauses(); }
    [[nodiscard]] time_point pauses_until() const noexcept { return part_->write.pauses_until(); }

    /// Of each row that was come to; the last one is what stopped the batch, if something did.
    [[nodiscard]] std::vector<result<outcome_type>>& outcomes() noexcept { return outcomes_; }
    [[nodiscard]] bool stopped() const noexcept { return stopped_; }
    [[nodiscard]] const std::exception_ptr& thrown() const noexcept { return thrown_; }
    /// The operation's error as that of the row at which it failed: where rows before it stay, the operation's effect is theirs.
    [[nodiscard]] error of_row(error e) const noexcept {
        if (!Together && wrote_ && e.effect() == effect::applied) e.set(row_effect_);
        return e;
    }

private:
    void begin() {
        next_.emplace(std::begin(rows_));
        whole_.emplace(depth_, plan_);
        outcomes_.clear();
        error_ = {};
        thrown_ = nullptr;
        stopped_ = wrote_ = false;
    }

    [[nodiscard]] signal run(connection& c, const operation_base& op, error& e) {
        for (; part_ || *next_ != std::end(rows_); ++*next_) {
            if (!part_) {
                if (error why = strata::detail::stopped(op, rt_.world())) return give_up(std::move(why), e);
                part_.emplace(**next_, strategy_, log_, repetition_);
            }
            error failed;
            const signal s = part_->write.resume(c, op, rt_.world(), failed);
            if (!has_ended(s)) return s;
            if (part_->write.thrown && Together) thrown_ = part_->write.thrown;
            if (part_->write.thrown && !Together) failed = error_of_function(part_->write.thrown);
            if (s == signal::done)
                outcomes_.emplace_back(std::move(part_->outcome));
            else if (!Together && failed.health() == health::good)
                outcomes_.emplace_back(std::move(failed));
            else
                return part_.reset(), give_up(in_element(std::move(failed), outcomes_.size()), e);
            part_.reset();
            const bool written = outcomes_.back().has_value() && was_written(*outcomes_.back());
            wrote_ = wrote_ || written;
            if (Together && !written) {
                stopped_ = true;
                e = error{errc::user_error, "a row of the batch was not written", phase::execute};
                return signal::failed;
            }
        }
        return signal::done;
    }
    /// The operation fails here; what was written by itself stays.
    [[nodiscard]] signal give_up(error why, error& e) {
        e = std::move(why);
        row_effect_ = e.effect();
        if (!Together && wrote_ && e.effect() != effect::unknown) e.set(effect::applied);
        return signal::failed;
    }

    Runtime& rt_;
    const Rows& rows_;
    const Strategy& strategy_;
    conflict_log& log_;
    const repetition& repetition_;
    unsigned depth_;
    const transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    std::optional<iterator> next_;
    std::optional<Part> part_;
    std::vector<result<outcome_type>> outcomes_;
    error error_;
    std::exception_ptr thrown_;
    bool stopped_ = false;
    bool wrote_ = false;
    effect row_effect_ = effect::none;  // of the row at which the operation failed
};

/// What a batch is told to its caller as: each row's own result ...
template <class Outcome, bool Together>
struct batch_answer {
    using type = std::vector<result<Outcome>>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t) {
        return std::move(work.outcomes());
    }
    /// `e`: what ended the operation before all rows were come to.
    [[nodiscard]] static type finish(type&& all, std::size_t rows, error&& e) {
        if (e && all.size() < rows) all.emplace_back(std::move(e));
        while (all.size() < rows)
            all.emplace_back(error{errc::not_run, "a row of the batch before this one met an error that ended the batch", phase::execute});
        return std::move(all);
    }
};
/// ... one outcome for all of them ...
template <class T>
struct batch_answer<write_outcome<T>, true> {
    using type = batch_outcome<T>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t rows) {
        type all;
        all.rows.resize(rows);
        const std::size_t seen = work.outcomes().size();
        if (work.stopped()) all.failed = seen - 1;
        for (std::size_t i = work.stopped() ? seen - 1 : 0; i < seen; ++i) all.rows[i] = *std::move(work.outcomes()[i]);
        return all;
    }
    [[nodiscard]] static result<type> finish(type&& all, std::size_t, error&& e) {
        if (e) return std::move(e);
        return std::move(all);
    }
};
/// ... or the rows that were inserted.
template <class T>
struct batch_answer<versioned<T>, true> {
    using type = std::vector<versioned<T>>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t rows) {
        type all;
        all.reserve(rows);
        for (auto& o : work.outcomes()) all.push_back(*std::move(o));
        return all;
    }
    [[nodiscard]] static result<type> finish(type&& all, std::size_t, error&& e) {
        if (e) return std::move(e);
        return std::move(all);
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
