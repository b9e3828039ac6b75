// The end of a runtime, asynchronously: no thread blocks while the last connections come back.
#ifndef STRATA_ASYNC_CLOSE_HPP
#define STRATA_ASYNC_CLOSE_HPP

#include <strata/async/answer.hpp>
#include <strata/async/start.hpp>
#include <strata/runtime.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Looks every few milliseconds whether all connections are back; what is not back after the grace is cancelled.
template <class Runtime>
class close_job {
public:
    using form = throwing<void>;

    close_job(std::shared_ptr<Runtime> rt, duration grace) noexcept
        : rt_(std::move(rt)), patience_(add_saturated(rt_->world().moment().now, grace)) {}

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] close_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept { return look(); }
    [[nodiscard]] need resume() noexcept { return look(); }
    [[nodiscard]] time_point parked_until() const noexcept { return next_look_; }
    [[nodiscard]] answer<form> take_result() noexcept { return {}; }

private:
    [[nodiscard]] need look() noexcept {
        const time_point now = rt_->world().moment().now;
        if (rt_->connections().stop(rt_->world(), now)) return need::done;
        if (now >= patience_ || op_.is_cancelled()) rt_->connections().cancel_all();
        next_look_ = now + std::chrono::milliseconds{5};
        return need::park;
    }

    std::shared_ptr<Runtime> rt_;
    operation_base op_;
    time_point patience_;
    time_point next_look_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
