// The end of an execution context, as others must see it: before its reactor and its timers go.
//
// Whoever touches a context from a thread that does not run it holds this lock and asks first. (Asio's own services end
// without a lock.) A service that was made later ends earlier, so this one is asked for after the context's timers and reactor.
#ifndef STRATA_ASYNC_CONTEXT_END_HPP
#define STRATA_ASYNC_CONTEXT_END_HPP

#include <strata/async/hop.hpp>
#include <strata/core/lock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// What is told of the end. Linked and unlinked under the lock.
class ends_with_context {
public:
    virtual void context_ends() noexcept = 0;

protected:
    ends_with_context() = default;
    ends_with_context(const ends_with_context&) = delete;
    ends_with_context& operator=(const ends_with_context&) = delete;
    virtual ~ends_with_context() = default;

private:
    friend struct context_end;
    ends_with_context* next_ = nullptr;
    ends_with_context* previous_ = nullptr;
};

/// An operation that waits for nothing that the context knows. Guarded by the lock of its context's end.
struct parked_operation {
    std::optional<hop> go_on{};
    parked_operation* next = nullptr;
    parked_operation* previous = nullptr;
    parked_operation* next_woken = nullptr;
};

/// Outlives the context: whoever looks shares it.
struct context_end {
    inline_lock lock;
    bool ended = false;

    void link(ends_with_context& m) noexcept {
        m.next_ = first_;
        if (first_ != nullptr) first_->previous_ = &m;
        first_ = &m;
    }
    void unlink(ends_with_context& m) noexcept {
        (m.previous_ != nullptr ? m.previous_->next_ : first_) = m.next_;
        if (m.next_ != nullptr) m.next_->previous_ = m.previous_;
    }

    /// Owns the operation until it is taken, or destroys it when the context ends; and the context does not run out of work meanwhile.
    void keep(parked_operation& p, hop&& go_on, const asio::any_io_executor& ex) {
        if (parked_ == 0) work_.emplace(asio::prefer(ex, asio::execution::outstanding_work.tracked));
        ++parked_;
        p.go_on.emplace(std::move(go_on));
        p.previous = nullptr;
        p.next = first_parked_;
        if (first_parked_ != nullptr) first_parked_->previous = &p;
        first_parked_ = &p;
    }
    [[nodiscard]] hop take(parked_operation& p) noexcept {
        hop h = std::move(*p.go_on);
        p.go_on.reset();
        (p.previous != nullptr ? p.previous->next : first_parked_) = p.next;
        if (p.next != nullptr) p.next->previous = p.previous;
        if (--parked_ == 0) work_.reset();
        return h;
    }

    /// That of an executor's context. Made after the services of timers and descriptors, and so ended before them; and only when something
    /// waits: a context that has them runs its reactor after each handler.
    [[nodiscard]] static std::shared_ptr<context_end> of(const asio::any_io_executor& ex) {
        const asio::steady_timer timer(ex);
        const asio::posix::stream_descriptor descriptor(ex);
        return asio::use_service<service>(asio::query(ex, asio::execution::context)).shared;
    }

private:
    class service : public asio::execution_context::service {
    public:
        using key_type = service;
        static inline asio::execution_context::id id;
        explicit service(asio::execution_context& c) : asio::execution_context::service(c), shared(std::make_shared<context_end>()) {}
        std::shared_ptr<context_end> shared;

    private:
        void shutdown() override {
            hold guard(shared->lock);
            shared->ended = true;
            for (ends_with_context* m = shared->first_; m != nullptr; m = m->next_) m->context_ends();
            guard.unlock();
            while (std::optional<hop> h = next_parked()) h.reset();
        }
        [[nodiscard]] std::optional<hop> next_parked() noexcept {
            hold guard(shared->lock);
            if (shared->first_parked_ == nullptr) return std::nullopt;
            return shared->take(*shared->first_parked_);
        }
    };

    ends_with_context* first_ = nullptr;
    parked_operation* first_parked_ = nullptr;
    std::size_t parked_ = 0;
    std::optional<asio::any_io_executor> work_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
