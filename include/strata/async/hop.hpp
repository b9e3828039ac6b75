// A step of an operation on its way to another thread or executor, and the operation with it.
//
// One type for all operations, so that Asio's queues, timers and descriptors are compiled for it once, and not once for each
// kind of call: that was most of what an asynchronous call took to compile.
#ifndef STRATA_ASYNC_HOP_HPP
#define STRATA_ASYNC_HOP_HPP

#include <strata/core/config.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <utility>

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// Owns the operation: where the hop is destroyed before it is called, since a context has ended, so is the operation.
class hop {
public:
    /// `take` runs the step and owns `operation` from then on; `drop` destroys it.
    hop(void* operation, void (*take)(void*), void (*drop)(void*) noexcept) noexcept : operation_(operation), take_(take), drop_(drop) {}
    hop(hop&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)), take_(other.take_), drop_(other.drop_) {}
    hop& operator=(hop&&) = delete;
    ~hop() {
        if (operation_ != nullptr) drop_(operation_);
    }

    template <class... Ignored>
    void operator()(Ignored&&...) {
        take_(std::exchange(operation_, nullptr));
    }

private:
    void* operation_;
    void (*take_)(void*);
    void (*drop_)(void*) noexcept;
};

/// The same, to be called on an executor when a wait has ended.
class hop_to : public hop {
public:
    using executor_type = asio::any_io_executor;
    hop_to(hop&& h, const executor_type& where) noexcept : hop(std::move(h)), where_(where) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return where_; }

private:
    executor_type where_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
