// A connection's descriptor in the reactor of a context: registered once, as long as the connection is used there.
//
// What is registered is a duplicate of our own. The driver's library closes its descriptor as it likes, and another connection may
// have the same number before we come to deregister it: then that one would never hear of its answers. Connection and context may end
// in either order: the context's end releases first what is registered in it.
//
// The bound of a wait is kept by a timer on a thread of the library's, which does not keep the user's context from its end. It is
// armed anew only for an earlier point: to arm one for each call would be a system call, a tenth of a round trip.
#ifndef STRATA_ASYNC_DESCRIPTOR_HPP
#define STRATA_ASYNC_DESCRIPTOR_HPP

#include <strata/async/context_end.hpp>
#include <strata/async/world.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/time.hpp>
#include <strata/core/watch.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Lies in a connection's `watch()`. Its calls are safe from any thread.
class descriptor_watch final : public io_watch, public ends_with_context, public std::enable_shared_from_this<descriptor_watch> {
public:
    /// Registers a duplicate of the descriptor with the context of the face.
    descriptor_watch(const asio_world& face, int fd)
        : threads_(face.threads()), face_(face), fd_(fd), own_(::fcntl(fd, F_DUPFD_CLOEXEC, 0)) {
        if (own_ < 0) throw boost::system::system_error(errno, boost::system::system_category(), "strata: no second descriptor");
        try {
            descriptor_.emplace(face.executor(), own_);  // its service first: what was made later ends earlier
            context_ = context_end::of(face.executor());
        } catch (...) {
            if (descriptor_) descriptor_->release();
            ::close(own_);
            throw;
        }
        hold guard(context_->lock);
        context_->link(*this);
    }
    ~descriptor_watch() override {
        hold guard(context_->lock);
        context_->unlink(*this);
        let_go();
        face_.reset();  // as at the end of its context, which may come in the next moment
    }

    /// What lies in the place; null at first.
    [[nodiscard]] static std::shared_ptr<descriptor_watch> in(const watch_place& place) noexcept {
        return std::static_pointer_cast<descriptor_watch>(place.get());
    }
    /// The watch in `place`, made anew if it is not for this face and descriptor; null where the process or the reactor has no room.
    [[nodiscard]] STRATA_COLD static std::shared_ptr<descriptor_watch> of(watch_place& place, const asio_world& face, int fd) {
        if (const std::shared_ptr<descriptor_watch> there = in(place)) {
            hold guard(there->context_->lock);
            if (there->is_for(face, fd)) return there;
        }
        place.clear();  // two reactors must not know it at once
        try {
            auto made = std::make_shared<descriptor_watch>(face, fd);
            place.put(made);
            return made;
        } catch (const boost::system::system_error&) {
            return nullptr;
        }
    }

    /// What became of a handler that was to wait.
    enum class taken : std::uint8_t {
        waits,      ///< it is called on its executor when the descriptor is ready, at the bound, or after `nudge()`
        elsewhere,  ///< left: this is for another face or descriptor
        no_alarm    ///< left: nobody could end the wait at its bound
    };
    template <class Handler>
    [[nodiscard]] taken wait(const asio_world& face, const io_wait& w, Handler& go_on) {
        hold guard(context_->lock);
        if (!is_for(face, w.descriptor)) [[unlikely]]
            return taken::elsewhere;
        due_ = w.until;
        if (w.until < armed_ && !arm(w.until)) [[unlikely]]
            return taken::no_alarm;
        descriptor_->async_wait(w.writable ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read,
                                std::move(go_on));
        if (std::exchange(nudged_, false)) [[unlikely]]
            end_wait();
        return taken::waits;
    }
    void nudge() noexcept override {
        hold guard(context_->lock);
        nudged_ = true;
        end_wait();
    }

    void context_ends() noexcept override {
        let_go();
        face_.reset();  // its executor may need what goes with the context, such as a strand
    }

private:
    /// Under the lock. Another context may lie where one that has ended lay, but then there is no face.
    [[nodiscard]] bool is_for(const asio_world& face, int fd) const noexcept {
        return face_ && fd_ == fd && (face_->is(face) || face_->executor() == face.executor());
    }
    void end_wait() noexcept {
        boost::system::error_code ignored;
        if (descriptor_) descriptor_->cancel(ignored);
    }
    /// An older point may still ring: then it looks again. False where there is no room for a timer or its thread.
    [[nodiscard]] STRATA_COLD bool arm(time_point at) noexcept {
        try {
            if (!alarm_) alarm_.emplace(threads_->alarms());
            alarm_->expires_at(at);
            armed_ = at;
            alarm_->async_wait([weak = weak_from_this()](const boost::system::error_code& e) {
                if (e) return;
                if (const auto watch = weak.lock()) watch->rang();
            });
            return true;
        } catch (...) {
            armed_ = never;
            return false;
        }
    }
    void rang() noexcept {
        hold guard(context_->lock);
        armed_ = never;
        if (due_ == never || !descriptor_) return;
        const bool is_over = due_ <= steady_now();
        if (!is_over && arm(due_)) return;  // else rather too early than never
        if (is_over) due_ = never;
        end_wait();
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

    std::shared_ptr<work_threads> threads_;  // before the timer, which must go first
    std::optional<asio_world> face_;         // until its context ends
    int fd_;                                 // the library's
    int own_;                                // the duplicate that is registered
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
