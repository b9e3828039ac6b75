// Threads for what blocks: begun when the first of it comes, for a database whose driver waits in the loop may never need them.
#ifndef STRATA_ASYNC_WORK_THREADS_HPP
#define STRATA_ASYNC_WORK_THREADS_HPP

#include <strata/core/config.hpp>

#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// The threads of a runtime, shared by its faces. Thread-safe.
class work_threads {
public:
    explicit work_threads(std::size_t number) noexcept : number_(number) {}
    work_threads(const work_threads&) = delete;
    work_threads& operator=(const work_threads&) = delete;

    /// For what blocks. Throws `std::exception` where the process has no room for a thread; then the next call tries again. Where it has
    /// room for some, these must do.
    [[nodiscard]] asio::thread_pool::executor_type executor() {
        std::call_once(begun_, [this] { begin(); });
        return threads_->get_executor();
    }
    /// For timers, which must ring while all the others are busy.
    [[nodiscard]] asio::thread_pool::executor_type alarms() {
        std::call_once(ringing_, [this] { alarms_.emplace(1); });
        return alarms_->get_executor();
    }

    /// The last operation of a runtime may end on one of the threads themselves, which cannot join itself.
    struct end {
        void operator()(work_threads* w) const {
            if (w->is_own_thread())
                std::thread([w] { delete w; }).detach();
            else
                delete w;
        }
    };

private:
    ~work_threads() {
        if (threads_) threads_->stop();
        for (std::thread& t : more_) t.join();
    }

    /// One by one: a pool that cannot begin its second thread waits for ever for its first.
    void begin() {
        threads_.emplace(1);
        try {
            more_.reserve(number_ - 1);
            while (more_.size() + 1 < number_) more_.emplace_back([this] { threads_->attach(); });
        } catch (const std::exception&) {
        }
    }
    [[nodiscard]] bool is_own_thread() {
        return (threads_ && threads_->get_executor().running_in_this_thread()) ||
               (alarms_ && alarms_->get_executor().running_in_this_thread());
    }

    std::size_t number_;
    std::once_flag begun_, ringing_;
    std::optional<asio::thread_pool> threads_;
    std::vector<std::thread> more_;  // of the same pool
    std::optional<asio::thread_pool> alarms_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
