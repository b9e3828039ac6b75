// Parked operations of one executor that were woken: they go on in order, and all that were woken meanwhile cost one post.
//
// A post by itself takes two blocks of memory, of which Asio keeps only a few for the next one; where an answer from the database wakes
// a crowd, that was a third of what a call costs. While one of them is run and others are in line, another post is always on its way: a
// second thread of the context takes what a first one that is busy with its handler does not.
#ifndef STRATA_ASYNC_WOKEN_LINE_HPP
#define STRATA_ASYNC_WOKEN_LINE_HPP

#include <strata/async/context_end.hpp>
#include <strata/core/lock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The operations stay parked, the context's own, until it is their turn. Guarded by the lock of the context's end.
class woken_line : public std::enable_shared_from_this<woken_line> {
public:
    explicit woken_line(const asio::any_io_executor& ex) : executor_(ex) {}

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }
    /// Looked for when the first of them parks; does not throw after that.
    [[nodiscard]] context_end& context() {
        context_end* known = known_.load(std::memory_order_acquire);
        if (known == nullptr) [[unlikely]] {
            hold guard(finding_);
            if (context_ == nullptr) context_ = context_end::of(executor_);
            known = context_.get();
            known_.store(known, std::memory_order_release);
        }
        return *known;
    }

    /// Under the lock, of a context that has not ended.
    void add(parked_operation& p) noexcept {
        p.next_woken = nullptr;
        (last_ != nullptr ? last_->next_woken : first_) = &p;
        last_ = &p;
        ++number_;
        if (!posted_) post();
    }

private:
    /// Terminates where there is no memory: nobody could be told.
    void post() noexcept {
        posted_ = shared_from_this();
        asio::post(executor_, hop{this, [](void* p) { static_cast<woken_line*>(p)->run(); },
                                  [](void* p) noexcept { static_cast<void>(static_cast<woken_line*>(p)->arrive()); }});
    }
    struct arrival {
        std::shared_ptr<woken_line> line;
        std::size_t number;
    };
    [[nodiscard]] arrival arrive() noexcept {
        hold guard(context_->lock);
        return {std::move(posted_), number_};
    }
    /// Those who are in line now: who comes later must not keep the context from its other work.
    void run() {
        const arrival now = arrive();
        for (std::size_t left = now.number; left != 0; --left) {
            std::optional<hop> go_on = next();
            if (!go_on) return;
            (*go_on)();
        }
    }
    [[nodiscard]] std::optional<hop> next() noexcept {
        hold guard(context_->lock);
        if (context_->ended || first_ == nullptr) return std::nullopt;
        parked_operation& p = *first_;
        first_ = p.next_woken;
        --number_;
        if (first_ == nullptr)
            last_ = nullptr;
        else if (!posted_)
            post();
        return context_->take(p);
    }

    const asio::any_io_executor executor_;
    std::atomic<context_end*> known_{nullptr};
    inline_lock finding_;
    std::shared_ptr<context_end> context_;
    parked_operation* first_ = nullptr;
    parked_operation* last_ = nullptr;
    std::size_t number_ = 0;
    std::shared_ptr<woken_line> posted_;  // while one is on its way
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
