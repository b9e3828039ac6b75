// What an asynchronous call keeps alive and works on: the runtime and its source, or a pinned connection.
#ifndef STRATA_ASYNC_HOME_HPP
#define STRATA_ASYNC_HOME_HPP

#include <strata/runtime.hpp>
#include <strata/source/pinned.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Runtime>
class runtime_home {
public:
    using runtime_type = Runtime;
    using source_type = typename Runtime::source;

    explicit runtime_home(std::shared_ptr<Runtime> rt) noexcept : rt_(std::move(rt)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return rt_->connections(); }
    [[nodiscard]] const interruption* outer() const noexcept { return nullptr; }

private:
    std::shared_ptr<Runtime> rt_;
};

/// The same among statements that share connections.
template <class Runtime>
class sharing_home : public runtime_home<Runtime> {
public:
    using source_type = typename Runtime::source::shared_side;
    explicit sharing_home(runtime_home<Runtime>&& home) noexcept : runtime_home<Runtime>(std::move(home)) {}
    [[nodiscard]] source_type& source() noexcept { return this->runtime().connections().shared(); }
};

/// A call on a connection that a session or a transaction holds. The lease lives until the call has ended: `keep` says so
/// for what is held by hand, and a transaction's closure outlives what it awaits.
template <class Runtime>
class pinned_home {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using source_type = pinned_source<driver>;

    pinned_home(Runtime& rt, source_type source, const interruption* outer, std::shared_ptr<void> keep) noexcept
        : rt_(&rt), source_(source), outer_(outer), keep_(std::move(keep)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return source_; }
    [[nodiscard]] const interruption* outer() const noexcept { return outer_; }

private:
    Runtime* rt_;
    source_type source_;
    const interruption* outer_;
    std::shared_ptr<void> keep_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
