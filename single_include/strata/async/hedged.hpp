// Generated from include/strata/async/hedged.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_HEDGED_HPP
#define STRATA_SINGLE_ASYNC_HEDGED_HPP

#include <strata/strata.hpp>
#include <strata/async.hpp>
#include <strata/policy/hedge.hpp>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

// The sources of two operations that run beside each other for one result, over the source of the stack.
//
// The second leases only what is idle just now: never both on one saturated pool. Whichever is cancelled has lost, and its connection was
// the slower one: it goes behind all others, or the next call would take it first.
#ifndef STRATA_SOURCE_BESIDE_HPP
#define STRATA_SOURCE_BESIDE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Source` has `acquire_idle` and `release_behind`, and outlives this.
template <class Source, bool OnlyIdle>
class source_beside {
public:
    using driver = typename Source::driver;
    using connection = typename Source::connection;
    using lease = typename Source::lease;

    explicit source_beside(Source& s) noexcept : source_(&s) {}

    [[nodiscard]] acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if constexpr (OnlyIdle)
            return source_->acquire_idle(op, out) ? acquired::ready : acquired::refused;
        else
            return source_->acquire(op, node, out);
    }
    template <class Op>
    void release(lease& l, Op& op, health h) noexcept {
        if (op.is_cancelled())
            source_->release_behind(l, op, h);
        else
            source_->release(l, op, h);
    }
    [[nodiscard]] error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if constexpr (OnlyIdle)
            return error{errc::pool_exhausted, phase::acquire}.set_local();
        else
            return source_->refusal(op, now, waited);
    }
    [[nodiscard]] acquired end_wait(operation_base& op, waiter& node, lease& out, duration waited) noexcept {
        return source_->end_wait(op, node, out, waited);
    }
    void release_unconnected(lease& l) noexcept { source_->release_unconnected(l); }
    [[nodiscard]] signal connect(lease& l, operation_base& op, error& e) { return source_->connect(l, op, e); }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return source_->connection_of(l); }
    [[nodiscard]] duration wait_limit() const noexcept { return source_->wait_limit(); }

private:
    Source* source_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What the faces' hedged reads share: which statements may have a second try, and what the two tries are made of.
//
// Each try is one operation through the whole stack, so metrics and logs see two operations where a read was hedged: one that went
// well, and one that was cancelled, which is no sample for a breaker and is not repeated. The second try has the time that is left to the
// first, the lowest priority, and takes only a connection that is idle; it is never repeated by a retry, and costs one of its repetitions.
// The connection of a try that was cancelled is taken last from then on. A try that has lost may live on for a while after the call has
// ended, so what it uses is kept, or refused when it compiles.
#ifndef STRATA_HEDGED_HPP
#define STRATA_HEDGED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What lies elsewhere, and may be gone when the call has ended.
template <class T>
inline constexpr bool lies_elsewhere = false;
template <class Char, class Traits>
inline constexpr bool lies_elsewhere<std::basic_string_view<Char, Traits>> = true;
template <class T, std::size_t Extent>
inline constexpr bool lies_elsewhere<std::span<T, Extent>> = true;
template <class T>
inline constexpr bool lies_elsewhere<std::reference_wrapper<T>> = true;
template <class T>
inline constexpr bool lies_elsewhere<typed<T>> = lies_elsewhere<T>;
template <class T>
    requires requires { typename T::value_type; } && (!std::is_same_v<typename T::value_type, T>)
inline constexpr bool lies_elsewhere<T> = lies_elsewhere<typename T::value_type>;

template <class Bound>
inline constexpr bool keeps_views = false;
template <statement_facts Facts, class... Args>
inline constexpr bool keeps_views<bound<Facts, Args...>> = (lies_elsewhere<Args> || ... || false);

/// `Bound` owns its arguments.
template <class Bound>
constexpr void assert_hedgeable() {
    if constexpr (Bound::facts.kind_known) {
        static_assert(
            Bound::facts.kind == statement_kind::read && Bound::facts.idempotent == known::yes,
            "strata: only a read that may be repeated can be hedged, for two tries of it run side by side: this statement writes, or "
            "calls functions that are not known to be pure; if they are, say so:  \"...\"_sql.idempotent()");
        static_assert(!keeps_views<Bound>,
                      "strata: a hedged read may go on for a while after its result is there: give it arguments that it can keep, such as "
                      "std::string for std::string_view, std::vector for std::span");
    }
}

/// The same for a statement that was made at run time. Its views cannot be seen: they must live until the losing try has ended too.
template <dialect Dialect, class Bound>
[[nodiscard]] error check_hedgeable(const Bound& statement) {
    if constexpr (!Bound::facts.kind_known) {
        if (error e = check_made_at_run_time<Dialect, scope::database>(statement)) return e;
        if (statement.kind() != statement_kind::read || !statement.idempotent()) {
            error e{errc::misuse, "only a read that may be repeated can be hedged: two tries of it run side by side", phase::admission};
            e.edit_texts().hint = "if the functions that it calls change nothing, say .idempotent()";
            return e;
        }
    }
    return {};
}

/// A repetition from the budget of each layer that repeats. False when one has none left.
template <class Layers>
[[nodiscard]] bool take_repetition(Layers& layers) noexcept {
    const auto of = []<class P>(P& policy) noexcept {
        if constexpr (requires { policy.take_repetition(); })
            return policy.take_repetition();
        else
            return true;
    };
    return [&]<std::size_t... I>(std::index_sequence<I...>) noexcept {
        return (of(layers.template at<I>()) && ... && true);
    }(std::make_index_sequence<Layers::size>{});
}

/// A caller's tags, for as long as a try may look at them.
struct own_tags {
    std::vector<std::pair<std::string, std::string>> texts;
    std::vector<tag> views;

    /// Null where there are none.
    [[nodiscard]] static std::shared_ptr<const own_tags> of(std::span<const tag> tags) {
        if (tags.empty()) return nullptr;
        auto own = std::make_shared<own_tags>();
        own->texts.reserve(tags.size());  // the views stay right
        for (const tag& t : tags) {
            const auto& [key, value] = own->texts.emplace_back(t.key, t.value);
            own->views.push_back({key, value});
        }
        return own;
    }
};

/// What a try keeps alive and leases from.
template <class Runtime, bool Second>
class try_home : public runtime_home<Runtime> {
public:
    static constexpr bool is_second = Second;
    using source_type = source_beside<typename Runtime::source, Second>;
    try_home(std::shared_ptr<Runtime> rt, std::shared_ptr<const own_tags> tags) noexcept
        : runtime_home<Runtime>(std::move(rt)), tags_(std::move(tags)), source_(this->runtime().connections()) {}
    [[nodiscard]] source_type& source() noexcept { return source_; }

private:
    std::shared_ptr<const own_tags> tags_;
    source_type source_;
};

/// The options of a try.
[[nodiscard]] inline call_options options_of_first(call_options o, const std::shared_ptr<const own_tags>& tags) noexcept {
    o.tags = tags != nullptr ? std::span<const tag>{tags->views} : std::span<const tag>{};
    return o;
}
/// `left`: of the call's deadline; zero: it has none.
[[nodiscard]] inline call_options options_of_second(call_options first, duration left) noexcept {
    first.deadline = left;
    first.priority = priority::low;
    return first;
}

/// When the delay is over: whether a second try is to begin, and with which time left (zero: no limit).
template <class Runtime>
[[nodiscard]] bool may_begin_second(hedged_read& read, Runtime& rt, time_point deadline, duration& left) noexcept {
    left = {};
    if (deadline != never) {
        left = deadline - rt.world().moment().now;
        if (left <= duration::zero()) return false;
    }
    return read.second_begins(rt.connections().has_idle(true), [&rt]() noexcept { return take_repetition(rt.policies()); });
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Hedged reads, asynchronously: a second try where the first takes longer than such reads usually do.
//
//   strata::hedge h{strata::hedge_options{.percentile = 0.99}};          // one for each kind of read; outlives its calls
//   account a = co_await adb.hedged(h).async_one<account>(find("id"_arg = 7));
//
// What is decided lies in policy/hedge.hpp. Here the tries are raced: each is an operation as of any call. The first answer goes out at
// once; the other try is cancelled, as by its caller, and goes on by itself until its connection can be used again: nobody waits for it
// but the context, whose `run()` ends after it.
//
// Cost where no second try begins: one allocation, and a timer (a system call) once enough reads were measured.
#ifndef STRATA_ASYNC_HEDGED_HPP
#define STRATA_ASYNC_HEDGED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// How a try completes: with its answer, for the race to deliver.
template <class T>
struct bringing {
    using value = T;
};
template <class T>
struct answer<bringing<T>> {
    error failed;
    std::exception_ptr thrown;
    std::optional<storable<T>> value;
    bool is_usual = false;  ///< it neither waited for a connection nor was it repeated

    template <class Handler>
    void deliver(Handler&& handler) && {
        std::move(handler)(std::move(*this));
    }
};

/// One try.
template <class Home, class Bound, class Sink, class T>
class hedged_try : public statement_job<Home, Bound, Sink, bringing<T>, scope::database> {
    using base = statement_job<Home, Bound, Sink, bringing<T>, scope::database>;

public:
    hedged_try(Home home, const Bound& statement, const call_options& o) : base(std::move(home), statement, Sink{}, o) {
        if constexpr (Home::is_second) this->op().handed_over = true;  // so nobody repeats it
    }
    [[nodiscard]] answer<bringing<T>> take_result() {
        auto a = base::take_result();
        const operation_base& op = this->op();
        a.is_usual = !op.waited_for_lease && op.attempt == 1;
        return a;
    }
};

/// What a hedged call is given.
template <class Runtime, class Bound>
struct hedged_call {
    std::shared_ptr<Runtime> rt;
    hedge* by;
    Bound statement;
    call_options options;
    std::shared_ptr<const own_tags> tags;
};

/// One read. Owned by what is on its way: the tries and the timer. Its parts may end on several threads at once: a lock orders them.
template <class Runtime, class Bound, class Sink, class T>
class hedged_race : public std::enable_shared_from_this<hedged_race<Runtime, Bound, Sink, T>> {
    using answer_type = answer<bringing<T>>;
    enum which : std::uint8_t { first, second };

    /// How a try is cancelled, from any thread. Asio's own slot is for one.
    class try_slot {
    public:
        try_slot(hedged_race& race, which who) noexcept : race_(&race), who_(who) {}
        [[nodiscard]] static constexpr bool is_connected() noexcept { return true; }
        template <class F>
        void assign(F cancel) {
            hold guard(race_->lock_);
            race_->cancels_[who_] = cancel;
            if (race_->stopped_[who_]) cancel(asio::cancellation_type::total);
        }
        void clear() noexcept {
            hold guard(race_->lock_);
            race_->cancels_[who_] = nullptr;
        }
        [[nodiscard]] friend bool operator==(const try_slot&, const try_slot&) noexcept = default;

    private:
        hedged_race* race_;
        which who_;
    };

    /// The handler of a try; runs where the face's handlers do.
    struct at_end {
        std::shared_ptr<hedged_race> race;
        which who;
        using cancellation_slot_type = try_slot;
        [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return {*race, who}; }
        void operator()(answer_type a) { race->ended(who, std::move(a)); }
    };

public:
    hedged_race(const asio_world& world, hedged_call<Runtime, Bound>&& call) : world_(world), call_(std::move(call)), read_(*call_.by) {}
    hedged_race(const hedged_race&) = delete;
    hedged_race& operator=(const hedged_race&) = delete;

    /// In the initiation: the first try sets out.
    void start() {
        if (error e = check_hedgeable<Runtime::driver::dialect>(call_.statement)) return deliver({std::move(e), {}, {}, false}, true);
        const time_point now = call_.rt->world().moment().now;
        if (call_.options.deadline != duration::zero()) deadline_ = add_saturated(now, call_.options.deadline);
        call_.options = options_of_first(call_.options, call_.tags);
        const time_point at = read_.begin(now);
        try {
            if (at != never) {
                timer_.emplace(world_.executor());
                timer_->expires_at(at);
                timer_->async_wait([self = this->shared_from_this()](const boost::system::error_code& e) {
                    if (!e) self->delay_is_over();
                });
            }
            launch<try_home<Runtime, false>>(first, call_.options);
        } catch (...) {
            cancel();
            throw;
        }
    }
    /// From any thread: the caller does not want it any more.
    void cancel() noexcept {
        hold guard(lock_);
        read_.cancel();
        stop(first);
        stop(second);
    }

protected:
    virtual ~hedged_race() = default;
    /// Called once. `later`: not within this call.
    virtual void deliver(answer_type&& a, bool later) = 0;

private:
    template <class Home>
    void launch(which who, const call_options& o) {
        async_operation<at_end, hedged_try<Home, Bound, Sink, T>>::launch(at_end{this->shared_from_this(), who}, world_,
                                                                          Home{call_.rt, call_.tags}, call_.statement, o);
    }
    void delay_is_over() {
        duration left{};
        {
            hold guard(lock_);
            if (!may_begin_second(read_, *call_.rt, deadline_, left)) return;
        }
        try {
            launch<try_home<Runtime, true>>(second, options_of_second(call_.options, left));
        } catch (...) {  // no memory
            ended(second, {error{errc::out_of_memory, phase::admission}, std::current_exception(), {}, false});
        }
    }
    void ended(which who, answer_type&& a) {
        {
            hold guard(lock_);
            const time_point now = call_.rt->world().moment().now;
            const auto over = who == first ? read_.first_ended(a.failed, a.is_usual, now) : read_.second_ended(a.failed, now);
            if (over == hedged_read::ending::none) {
                if (who == first) failed_first_ = std::move(a);
                return;
            }
            if (timer_) timer_->cancel();
            stop(who == first ? second : first);
            if (over == hedged_read::ending::first && who == second) a = std::move(*failed_first_);
        }
        deliver(std::move(a), false);
    }
    /// Under the lock.
    void stop(which who) noexcept {
        stopped_[who] = true;
        if (cancels_[who]) cancels_[who](asio::cancellation_type::total);
    }

    asio_world world_;
    hedged_call<Runtime, Bound> call_;
    time_point deadline_ = never;
    inline_lock lock_;
    hedged_read read_;
    std::optional<asio::steady_timer> timer_;
    std::function<void(asio::cancellation_type)> cancels_[2];  // of the tries that are on their way
    bool stopped_[2]{};
    std::optional<answer_type> failed_first_;  // while the second is on its way
};

/// The same with the handler of its caller.
template <class Handler, class Form, class Runtime, class Bound, class Sink>
class hedged_race_for final : public hedged_race<Runtime, Bound, Sink, typename Form::value> {
    using base = hedged_race<Runtime, Bound, Sink, typename Form::value>;
    using executor_type = asio::associated_executor_t<Handler, asio::any_io_executor>;

    struct delivery {
        Handler handler;
        answer<Form> result;
        void operator()() {
            asio::get_associated_cancellation_slot(handler).clear();
            std::move(result).deliver(std::move(handler));
        }
    };

public:
    hedged_race_for(Handler handler, const asio_world& world, hedged_call<Runtime, Bound>&& call)
        : base(world, std::move(call)), handler_(std::move(handler)), work_(asio::get_associated_executor(handler_, world.executor())) {}

    /// The slot is the caller's: in the call itself.
    void listen() {
        auto slot = asio::get_associated_cancellation_slot(handler_);
        if (slot.is_connected())
            slot.assign([weak = this->weak_from_this()](asio::cancellation_type type) {
                const auto race = type != asio::cancellation_type::none ? weak.lock() : nullptr;
                if (race != nullptr) race->cancel();
            });
    }

private:
    void deliver(answer<bringing<typename Form::value>>&& a, bool later) override {
        const executor_type ex = work_.get_executor();
        delivery d{std::move(handler_), {std::move(a.failed), std::move(a.thrown), std::move(a.value)}};
        if (later)
            asio::post(ex, std::move(d));
        else
            asio::dispatch(ex, std::move(d));
        work_.reset();
    }

    Handler handler_;
    asio::executor_work_guard<executor_type> work_;
};

/// The initiation.
template <class Form, class Sink>
struct start_hedged {
    asio_world world;
    using executor_type = asio::any_io_executor;
    [[nodiscard]] executor_type get_executor() const noexcept { return world.executor(); }

    template <class Handler, class Runtime, class Bound>
    void operator()(Handler&& handler, hedged_call<Runtime, Bound> call) const {
        using race = hedged_race_for<std::decay_t<Handler>, Form, Runtime, Bound, Sink>;
        auto made = std::make_shared<race>(std::forward<Handler>(handler), world, std::move(call));
        made->listen();
        made->start();
    }
};

template <class Database>
struct async_hedged_calls<Database, true> {
    [[nodiscard]] static async_hedged<Database> of(const Database& db, hedge& h) { return {db, h}; }
};

}  // namespace detail

/// The reads of an asynchronous database, hedged: its `async_one`, `async_maybe_one`, `async_all` and their `try_` forms, with the same
/// options, tokens, errors and cancellation. Cheap to copy; thread-safe. Made by `adb.hedged(h)`.
///
/// * The call ends with the first answer. A failure that may be one connection's alone (lost, refused, busy) is no answer while the other
///   try is on its way; if both fail it is that of the first. The deadline and the timeouts of the first try end the call.
/// * A cancel by the caller ends both tries.
/// * Arguments and tags are copied. Views among the arguments do not compile; those of a run-time `statement` must live until
///   the losing try has ended too, as must what the codecs of the result look at.
/// * On a stack whose source is `single` there is never a second connection, and so no second try.
template <class Database>
class async_hedged : async_calls<async_hedged<Database>> {
    using base = async_calls<async_hedged>;
    friend base;

public:
    static constexpr strata::dialect dialect = Database::dialect;
    static constexpr scope where = scope::database;

    async_hedged(Database db, hedge& h) noexcept : db_(std::move(db)), hedge_(&h) {}

    using base::async_all;
    using base::async_maybe_one;
    using base::async_one;
    using base::async_try_all;
    using base::async_try_maybe_one;
    using base::async_try_one;

private:
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink, const call_options& o, Token&& token) {
        detail::assert_hedgeable<Bound>();
        using call = detail::hedged_call<typename Database::runtime_type, Bound>;
        return asio::async_initiate<Token, typename Form::signature>(
            detail::start_hedged<Form, Sink>{db_.world()}, token,
            call{db_.shared_runtime(), hedge_, std::move(statement), o, detail::own_tags::of(o.tags)});
    }

    Database db_;
    hedge* hedge_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
