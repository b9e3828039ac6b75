// Rows one after the other, in bounded memory: `for (const account& a : db.rows<account>(query)) ...`
//
// The stream is one operation that holds its connection until it is exhausted or destroyed. It is repeated, by
// the layers that do so, only until the first row has reached the user.
#ifndef STRATA_STREAM_HPP
#define STRATA_STREAM_HPP

#include <strata/core/flight.hpp>
#include <strata/core/result.hpp>
#include <strata/perform.hpp>
#include <strata/value/sinks.hpp>

#include <iterator>
#include <memory>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A sink that pauses after each row, which lies in `current`.
template <class T>
struct cursor_sink {
    static constexpr bool one_by_one = true;
    T current{};

    [[nodiscard]] const void* tag() const noexcept { return row_decoder<T>::tag(); }
    template <class Row>
    [[nodiscard]] error plan(const Row& meta, row_plan& p) {
        return row_decoder<T>::plan(meta, p);
    }
    template <class Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return row_decoder<T>::decode(r, p, current, e) ? flow::pause : flow::stop;
    }
    void finish(error&) noexcept {}
    void restart() noexcept {}
};

/// What a stream keeps at a fixed address: its operation, with its own copy of the arguments.
template <class Runtime, class Source, class Bound, class Sink, bool InsideTransaction>
struct stream_state {
    static constexpr bool inside_transaction = InsideTransaction;
    using op_type = operation<facts_of_statement<Bound>(InsideTransaction)>;
    using work_type = statement_work<typename Runtime::driver, Bound, Sink>;

    stream_state(Runtime& r, Source s, Bound b, Sink into, const call_options& o, const interruption* outer, std::shared_ptr<void> keep)
        : keep_alive(std::move(keep)), rt(r), source(std::move(s)), statement(std::move(b)), sink(std::move(into)), work(statement, sink),
          f(rt.world(), rt.policies(), source.get(), op, work) {
        describe(op, statement, o);
        op.deadline = deadline_of(rt.world(), o.deadline, outer);
        op.outer = outer;
    }

    std::shared_ptr<void> keep_alive;
    Runtime& rt;
    Source source;
    Bound statement;
    Sink sink;
    op_type op;
    work_type work;
    flight<typename Runtime::world_type, typename Runtime::interceptors, std::remove_reference_t<decltype(std::declval<Source&>().get())>,
           op_type, work_type>
        f;
    bool started = false;

    /// True when a row lies in the sink; false at the end.
    bool advance(error& e) {
        const need n = drive(f, rt.world(), std::exchange(started, true) ? f.resume() : f.start());
        if (n == need::item) return true;
        if (f.thrown()) std::rethrow_exception(f.thrown());
        e = std::move(f.result().error());
        return false;
    }
};

/// A stream's source: the runtime's, or a pinned one of its own.
template <class Source>
struct borrowed_source {
    Source* source;
    Source& get() noexcept { return *source; }
};
template <class Source>
struct own_source {
    Source source;
    Source& get() noexcept { return source; }
};

}  // namespace detail

/// An input range of rows. Views inside a row (`std::string_view`) live until the next row. Not thread-safe; keeps the
/// runtime, but not a transaction, alive: a stream inside a transaction must end before it.
template <class T, class State>
class row_stream {
public:
    using state_type = State;
    class iterator {
    public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;

        iterator() noexcept = default;
        explicit iterator(row_stream* s) noexcept : stream_(s) {}
        [[nodiscard]] T& operator*() const noexcept { return stream_->state_->sink.current; }
        [[nodiscard]] T* operator->() const noexcept { return &stream_->state_->sink.current; }
        iterator& operator++() {
            stream_->step();
            return *this;
        }
        void operator++(int) { ++*this; }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return stream_ == nullptr || stream_->state_ == nullptr; }

    private:
        row_stream* stream_ = nullptr;
    };

    explicit row_stream(std::unique_ptr<State> s) noexcept : state_(std::move(s)) {}

    /// Runs the statement up to its first row. Call once.
    [[nodiscard]] iterator begin() {
        step();
        return iterator{this};
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// The next row; null at the end. Throws `failure`.
    [[nodiscard]] T* next() {
        step();
        return state_ != nullptr ? &state_->sink.current : nullptr;
    }
    /// The same without exceptions of ours.
    [[nodiscard]] result<T*> try_next() {
        error e;
        if (advance(e)) return &state_->sink.current;
        if (e) return e;
        return nullptr;
    }

private:
    void step() {
        error e;
        if (!advance(e) && e) throw_failure(std::move(e));
    }
    bool advance(error& e) {
        if (state_ == nullptr) return false;
        bool row = false;
        try {
            row = state_->advance(e);
        } catch (...) {
            state_.reset();
            throw;
        }
        if (!row) state_.reset();  // the connection goes back at once
        return row;
    }

    std::unique_ptr<State> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif
