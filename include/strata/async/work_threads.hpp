// Threads for what blocks: begun when the first of it comes, for a database whose driver waits in the loop may never need them.
#ifndef STRATA_ASYNC_WORK_THREADS_HPP
#define STRATA_ASYNC_WORK_THREADS_HPP

#include <strata/core/config.hpp>

#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <mutex>
#include <optional>
#include <thread>

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// The threads of a runtime, shared by its faces. Thread-safe.
class work_threads {
public:
    explicit work_threads(std::size_t number) noexcept : number_(number) {}
    work_threads(const work_threads&) = delete;
    work_threads& operator=(const work_threads&) = delete;

    /// Throws `std::exception` where the process has no room for them; then the next call tries again.
    [[nodiscard]] asio::thread_pool::executor_type executor() {
        std::call_once(begun_, [this] { threads_.emplace(number_); });
        return threads_->get_executor();
    }

    /// The last operation of a runtime may end on one of the threads themselves, which cannot join itself.
    struct end {
        void operator()(work_threads* w) const {
            if (w->threads_ && w->threads_->get_executor().running_in_this_thread())
                std::thread([w] { delete w; }).detach();
            else
                delete w;
        }
    };

private:
    ~work_threads() = default;  // which joins them

    std::size_t number_;
    std::once_flag begun_;
    std::optional<asio::thread_pool> threads_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
