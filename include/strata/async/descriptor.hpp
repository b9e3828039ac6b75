// A connection's descriptor in the reactor of a context: registered once, as long as the connection is used there.
//
// The descriptor belongs to the driver's library, so it is only ever released, never closed here. Connection and context may
// end in either order: a service of the context knows all that is registered in it and releases it first.
#ifndef STRATA_ASYNC_DESCRIPTOR_HPP
#define STRATA_ASYNC_DESCRIPTOR_HPP

#include <strata/core/lock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/query.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// Lies in a connection's `watch()`. Its calls are safe from any thread.
class descriptor_watch {
    struct registry {
        inline_lock lock;
        descriptor_watch* first = nullptr;
        bool ended = false;
    };

    /// Of each context: at its end, before its reactor goes, every descriptor is let go.
    class service : public asio::execution_context::service {
    public:
        using key_type = service;
        static inline asio::execution_context::id id;
        explicit service(asio::execution_context& c) : asio::execution_context::service(c), all(std::make_shared<registry>()) {}
        std::shared_ptr<registry> all;

    private:
        void shutdown() override {
            hold guard(all->lock);
            all->ended = true;
            for (descriptor_watch* w = all->first; w != nullptr; w = w->next_) w->let_go();
        }
    };

public:
    /// Registers the descriptor with the context of `ex`.
    descriptor_watch(const asio::any_io_executor& ex, int fd) : context_(&asio::query(ex, asio::execution::context)), fd_(fd) {
        descriptor_.emplace(ex, fd);  // its service first: what was made later ends earlier
        try {
            all_ = asio::use_service<service>(*context_).all;
        } catch (...) {
            let_go();
            throw;
        }
        hold guard(all_->lock);
        next_ = all_->first;
        if (next_ != nullptr) next_->previous_ = this;
        all_->first = this;
    }
    descriptor_watch(const descriptor_watch&) = delete;
    descriptor_watch& operator=(const descriptor_watch&) = delete;
    ~descriptor_watch() {
        hold guard(all_->lock);
        (previous_ != nullptr ? previous_->next_ : all_->first) = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
        let_go();
    }

    /// The watch in `place`, made anew if it is for another context or descriptor.
    [[nodiscard]] static std::shared_ptr<descriptor_watch> of(std::shared_ptr<void>& place, const asio::any_io_executor& ex, int fd) {
        auto watch = std::static_pointer_cast<descriptor_watch>(place);
        if (watch == nullptr || !watch->is_for(asio::query(ex, asio::execution::context), fd)) {
            place = nullptr;  // two reactors must not know it at once
            watch = nullptr;
            watch = std::make_shared<descriptor_watch>(ex, fd);
            place = watch;
        }
        return watch;
    }

    /// Takes `go_on`, to be called on its executor when the descriptor is ready, or after `cancel()`. Leaves it where the context
    /// has ended: what it owns must not die under a lock.
    template <class Handler>
    void wait(bool writable, Handler& go_on) {
        hold guard(all_->lock);
        if (!descriptor_) return;
        descriptor_->async_wait(writable ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read,
                                std::move(go_on));
    }
    void cancel() noexcept {
        hold guard(all_->lock);
        boost::system::error_code ignored;
        if (descriptor_) descriptor_->cancel(ignored);
    }

private:
    /// Another context may lie where one that has ended lay.
    [[nodiscard]] bool is_for(const asio::execution_context& c, int fd) const noexcept {
        hold guard(all_->lock);
        return !all_->ended && context_ == &c && fd_ == fd;
    }
    void let_go() noexcept {
        if (!descriptor_) return;
        try {
            descriptor_->release();
        } catch (...) {  // it is not registered any more
        }
        descriptor_.reset();
    }

    asio::execution_context* context_;
    int fd_;
    std::optional<asio::posix::stream_descriptor> descriptor_;
    std::shared_ptr<registry> all_;
    descriptor_watch* next_ = nullptr;
    descriptor_watch* previous_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
