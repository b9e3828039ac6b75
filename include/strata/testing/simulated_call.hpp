// One operation of a simulated client: the same flight that a blocked thread and Asio drive, carried on by the world.
#ifndef STRATA_TESTING_SIMULATED_CALL_HPP
#define STRATA_TESTING_SIMULATED_CALL_HPP

#include <strata/core/flight.hpp>
#include <strata/testing/simulated_world.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The awaitable around a job, which has
///     operation_base& op();   need begin();   need resume();   time_point parked_until();   bool is_queued();
///     void call(simulated_loop&, continuation done);     // for need::call: starts the user's coroutine
///     T take();                                           // what comes out of co_await
template <class Job>
class simulated_call {
public:
    template <class... Args>
    explicit simulated_call(std::in_place_t, Args&&... args) : job_(std::forward<Args>(args)...) {}
    simulated_call(const simulated_call&) = delete;
    simulated_call& operator=(const simulated_call&) = delete;
    ~simulated_call() { leave(); }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> h) {
        process_ = &process_of(h);
        back_ = continuation::of_coroutine(h);
        operation_base& op = job_.op();
        op.drive = process_;
        op.make_waker = [](operation_base& o) -> waker* { return static_cast<simulated_process*>(o.drive); };
        if (process_->call == nullptr) process_->call = &op;
        return !carry_on(job_.begin());
    }
    decltype(auto) await_resume() { return job_.take(); }

    void go_on() noexcept {
        if (carry_on(job_.resume())) process_->next = back_;
    }

private:
    /// True when it has come to its end.
    [[nodiscard]] bool carry_on(need n) noexcept {
        for (;;) {
            switch (n) {
                case need::work:
                    n = job_.resume();
                    break;
                case need::park: {
                    const operation_base& op = job_.op();
                    process_->park(continuation::of(*this), job_.parked_until(), job_.is_queued() ? "a connection" : "an answer",
                                   op.name.empty() ? op.statement : op.name);
                    return false;
                }
                case need::call:
                    job_.call(*process_, continuation::of(*this));
                    return false;
                default:
                    leave();
                    return true;
            }
        }
    }
    void leave() noexcept {
        if (process_ != nullptr && process_->call == &job_.op()) process_->call = nullptr;
    }

    Job job_;
    simulated_process* process_ = nullptr;
    continuation back_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
