// A connection's descriptor in the reactor of a context: registered once, as long as the connection is used there.
//
// What is registered is a duplicate of our own. The driver's library closes its descriptor as it likes, and another connection may
// have the same number before we come to deregister it: then that one would never hear of its answers. Connection and context may end
// in either order: the context's end releases first what is registered in it.
//
// The bound of a wait is kept by a timer of the work threads, which does not keep the user's context from its end. It is
// armed anew only for an earlier point: to arm one for each call would be a system call, a tenth of a round trip.
#ifndef STRATA_ASYNC_DESCRIPTOR_HPP
#define STRATA_ASYNC_DESCRIPTOR_HPP

#include <strata/async/context_end.hpp>
#include <strata/core/time.hpp>
#include <strata/core/watch.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Lies in a connection's `watch()`. Its calls are safe from any thread.
class descriptor_watch final : public io_watch, public ends_with_context, public std::enable_shared_from_this<descriptor_watch> {
public:
    /// Registers the descriptor with the context of `ex`.
    descriptor_watch(const asio::any_io_executor& ex, std::shared_ptr<asio::thread_pool> workers, int fd)
        : executor_(ex), fd_(fd), workers_(std::move(workers)) {
        own_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (own_ < 0) throw boost::system::system_error(errno, boost::system::system_category(), "strata: no second descriptor");
        try {
            descriptor_.emplace(ex, own_);  // its service first: what was made later ends earlier
        } catch (...) {
            ::close(own_);
            throw;
        }
        try {
            context_ = context_end::of(ex);
        } catch (...) {
            let_go();
            throw;
        }
        hold guard(context_->lock);
        context_->link(*this);
    }
    ~descriptor_watch() override {
        hold guard(context_->lock);
        context_->unlink(*this);
        let_go();
    }

    /// The watch in `place`, made anew if it is for another executor or descriptor; null where the process or the reactor has no room.
    [[nodiscard]] static descriptor_watch* of(watch_place& place, const asio::any_io_executor& ex,
                                              const std::shared_ptr<asio::thread_pool>& workers, int fd) {
        auto* const there = static_cast<descriptor_watch*>(place.get());
        if (there != nullptr && there->is_for(ex, fd)) [[likely]]
            return there;
        place.clear();  // two reactors must not know it at once
        try {
            auto made = std::make_shared<descriptor_watch>(ex, workers, fd);
            descriptor_watch* const here = made.get();
            place.put(std::move(made));
            return here;
        } catch (const boost::system::system_error&) {
            return nullptr;
        }
    }

    /// Takes `go_on`, to be called on its executor when the descriptor is ready, at `until`, or after `nudge()`. Leaves it where the
    /// context has ended: what it owns must not die under a lock. This may be gone when it returns.
    template <class Handler>
    void wait(bool writable, time_point until, Handler& go_on) {
        hold guard(context_->lock);
        if (!descriptor_) return;
        due_ = until;
        if (until < armed_) arm(until);
        descriptor_->async_wait(writable ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read,
                                std::move(go_on));
        if (std::exchange(nudged_, false)) end_wait();
    }
    void nudge() noexcept override {
        hold guard(context_->lock);
        nudged_ = true;
        end_wait();
    }

    void context_ends() noexcept override { let_go(); }

private:
    /// Another context may lie where one that has ended lay.
    [[nodiscard]] bool is_for(const asio::any_io_executor& ex, int fd) const noexcept {
        hold guard(context_->lock);
        return !context_->ended && fd_ == fd && executor_ == ex;
    }
    void end_wait() noexcept {
        boost::system::error_code ignored;
        if (descriptor_) descriptor_->cancel(ignored);
    }
    /// An older point may still ring: then it looks again.
    void arm(time_point at) {
        if (!alarm_) alarm_.emplace(workers_->get_executor());
        alarm_->expires_at(at);
        armed_ = at;
        alarm_->async_wait([weak = weak_from_this()](const boost::system::error_code& e) {
            if (e) return;
            if (const auto watch = weak.lock()) watch->rang();
        });
    }
    void rang() noexcept {
        hold guard(context_->lock);
        armed_ = never;
        if (due_ == never || !descriptor_) return;
        if (due_ <= steady_now()) {
            due_ = never;
            return end_wait();
        }
        try {
            arm(due_);
        } catch (...) {  // no memory: rather too early than never
            end_wait();
        }
    }
    void let_go() noexcept {
        if (!descriptor_) return;
        try {
            descriptor_->release();
        } catch (...) {  // it is not registered any more
        }
        descriptor_.reset();
        ::close(own_);
    }

    asio::any_io_executor executor_;
    int fd_;                                      // the library's
    int own_ = -1;                                // the duplicate that is registered
    std::shared_ptr<asio::thread_pool> workers_;  // before the timer, which must go first
    std::optional<asio::steady_timer> alarm_;
    time_point armed_ = never;  // when it rings; never: it is not armed
    time_point due_ = never;    // the bound of the latest wait, which may be over
    bool nudged_ = false;
    std::optional<asio::posix::stream_descriptor> descriptor_;
    std::shared_ptr<context_end> context_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
