// Hedged reads of simulated clients: `co_await db.hedged(h).one<account>(find("id"_arg = 7))`.
//
// The twin of async/hedged.hpp over the same decisions and the same tries. Each try is a client of its own in the world, which the
// caller cancels, or destroys when it is destroyed itself; one that has lost goes on until its connection is back.
#ifndef STRATA_TESTING_SIMULATED_HEDGED_HPP
#define STRATA_TESTING_SIMULATED_HEDGED_HPP

#include <strata/hedged.hpp>
#include <strata/testing/simulated_database.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What a try brought home.
template <class T>
struct simulated_answer {
    error failed;
    std::exception_ptr thrown;
    std::optional<T> value;
    bool is_usual = false;
};

template <class Home, class Bound, class Sink, class T>
class simulated_try : public simulated_statement<Home, Bound, Sink, T, false, true> {
    using base = simulated_statement<Home, Bound, Sink, T, false, true>;

public:
    simulated_try(Home home, Bound&& statement, const call_options& o) : base(std::move(home), std::move(statement), o) {
        if constexpr (Home::is_second) this->op_.handed_over = true;  // so nobody repeats it
    }
    [[nodiscard]] simulated_answer<T> take() {
        simulated_answer<T> a{std::move(this->flight_.result().error()), std::move(this->flight_.thrown()), {}};
        a.is_usual = !this->op_.waited_for_lease && this->op_.attempt == 1;
        if (!a.failed && !a.thrown) a.value.emplace(std::move(this->sink_).take());
        return a;
    }
};

/// One read. Shared by the caller and the tries.
template <class Runtime, class Bound, class Sink, class T>
class simulated_race : public std::enable_shared_from_this<simulated_race<Runtime, Bound, Sink, T>> {
    enum which : std::uint8_t { first, second };

public:
    simulated_race(std::shared_ptr<Runtime> rt, hedge& h, Bound statement, const call_options& o)
        : rt_(std::move(rt)), statement_(std::move(statement)), tags_(own_tags::of(o.tags)), options_(options_of_first(o, tags_)),
          read_(h) {}

    /// When to ask `delay_is_over`; `never`: not at all.
    [[nodiscard]] time_point begin(simulated_process& caller) {
        if (error e = check_hedgeable<Runtime::driver::dialect>(statement_)) {
            result.emplace(simulated_answer<T>{std::move(e), {}, {}});
            return never;
        }
        caller_ = &caller;
        const time_point now = rt_->world().moment().now;
        if (options_.deadline != duration::zero()) deadline_ = add_saturated(now, options_.deadline);
        const time_point at = read_.begin(now);
        launch<try_home<Runtime, false>>(first, options_);
        return at;
    }
    void delay_is_over() {
        duration left{};
        if (may_begin_second(read_, *rt_, deadline_, left)) launch<try_home<Runtime, true>>(second, options_of_second(options_, left));
    }
    void cancel() noexcept {
        read_.cancel();
        for (const which who : {first, second}) stop(who);
    }
    /// The caller is being destroyed.
    void abandon() {
        caller_ = nullptr;
        for (const auto& t : tries_)
            if (t) t->destroy();
    }
    [[nodiscard]] std::string_view statement() const noexcept { return statement_.label(); }

    std::optional<simulated_answer<T>> result;

private:
    template <class Home>
    void launch(which who, const call_options& o) {
        auto body = [race = this->shared_from_this(), who, o] { return run<Home>(race, who, o); };
        tries_[who] = rt_->world().spawn(who == first ? "first try" : "second try", std::move(body));
    }
    template <class Home>
    static simulated_task<> run(std::shared_ptr<simulated_race> race, which who, call_options o) {
        simulated_answer<T> a{error{errc::cancelled, phase::admission}, {}, {}};
        if (!race->result) {
            Bound statement = race->statement_;
            using job = simulated_try<Home, Bound, Sink, T>;
            a = co_await simulated_call<job>{std::in_place, Home{race->rt_, race->tags_}, std::move(statement), o};
        }
        race->ended(who, std::move(a));
    }
    void ended(which who, simulated_answer<T>&& a) {
        const time_point now = rt_->world().moment().now;
        const auto over = who == first ? read_.first_ended(a.failed, a.is_usual, now) : read_.second_ended(a.failed, now);
        if (over == hedged_read::ending::none) {
            if (who == first) failed_first_ = std::move(a);
            return;
        }
        stop(who == first ? second : first);
        const bool others = (over == hedged_read::ending::first) != (who == first);
        result.emplace(std::move(others ? *failed_first_ : a));
        if (caller_ != nullptr) caller_->wake();
    }
    void stop(which who) noexcept {
        if (tries_[who] && !tries_[who]->done()) static_cast<void>(tries_[who]->cancel());
    }

    std::shared_ptr<Runtime> rt_;
    Bound statement_;
    std::shared_ptr<const own_tags> tags_;
    call_options options_;
    hedged_read read_;
    time_point deadline_ = never;
    simulated_process* caller_ = nullptr;
    std::optional<simulated_client> tries_[2];
    std::optional<simulated_answer<T>> failed_first_;
};

template <class Runtime, class Bound, class Sink, class T, bool Tries>
class simulated_hedged_call {
    using race_type = simulated_race<Runtime, Bound, Sink, T>;

public:
    explicit simulated_hedged_call(std::shared_ptr<race_type> race) noexcept : race_(std::move(race)) {}
    simulated_hedged_call(const simulated_hedged_call&) = delete;
    simulated_hedged_call& operator=(const simulated_hedged_call&) = delete;
    ~simulated_hedged_call() {
        leave();
        if (process_ != nullptr && !race_->result) race_->abandon();
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> h) {
        process_ = &process_of(h);
        back_ = continuation::of_coroutine(h);
        if (process_->call == nullptr) process_->call = &op_;
        until_ = race_->begin(*process_);
        if (race_->result) return false;
        park();
        return true;
    }
    [[nodiscard]] auto await_resume() {
        leave();
        auto& a = *race_->result;
        return simulated_outcome<T, Tries>(a.failed, a.thrown, a.value);
    }

    void go_on() noexcept {
        if (race_->result) {
            process_->next = back_;
            return;
        }
        if (op_.cancelled.exchange(false, std::memory_order_relaxed)) race_->cancel();
        if (process_->now() >= until_) {
            until_ = never;
            race_->delay_is_over();
        }
        park();
    }

private:
    void park() noexcept { process_->park(continuation::of(*this), until_, "an answer", race_->statement()); }
    void leave() noexcept {
        if (process_ != nullptr && process_->call == &op_) process_->call = nullptr;
    }

    std::shared_ptr<race_type> race_;
    simulated_process* process_ = nullptr;
    continuation back_;
    time_point until_ = never;
    operation_base op_;  // only to be cancelled
};

template <class Database>
struct simulated_hedged_calls<Database, true> {
    [[nodiscard]] static simulated_hedged<Database> of(const Database& db, hedge& h) { return {db, h}; }
};

}  // namespace detail

/// As `async_hedged`, for simulated clients. Each call is to be awaited at once.
template <class Database>
class simulated_hedged {
public:
    simulated_hedged(const Database& db, hedge& h) : rt_(db.shared_runtime()), hedge_(&h) {}

    template <class T, class S>
    [[nodiscard]] auto one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, true>(statement, o);
    }

private:
    using runtime_type = typename Database::runtime_type;

    template <class Sink, class T, bool Tries, class S>
    auto go(const S& statement, const call_options& o) {
        decltype(auto) bound = detail::as_bound(statement);
        detail::assert_placement<std::remove_cvref_t<decltype(bound)>, Database>();
        auto kept = bound.own();
        using kept_type = decltype(kept);
        detail::assert_hedgeable<kept_type>();
        auto race = std::make_shared<detail::simulated_race<runtime_type, kept_type, Sink, T>>(rt_, *hedge_, std::move(kept), o);
        return detail::simulated_hedged_call<runtime_type, kept_type, Sink, T, Tries>{std::move(race)};
    }

    std::shared_ptr<runtime_type> rt_;
    hedge* hedge_;
};

}  // namespace strata::inline STRATA_ABI

#endif
