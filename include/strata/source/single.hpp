// One connection for all: the smallest source. It is a pool of one, so callers take turns in order.
#ifndef STRATA_SOURCE_SINGLE_HPP
#define STRATA_SOURCE_SINGLE_HPP

#include <strata/source/pool.hpp>

namespace strata::inline STRATA_ABI {

struct single_options {
    duration max_wait = std::chrono::seconds{30};  ///< how long a caller waits for its turn at most
    [[nodiscard]] error validate() const {
        if (max_wait < duration::zero()) return {errc::invalid_argument, "single_options.max_wait is negative", phase::admission};
        return {};
    }
    friend bool operator==(const single_options&, const single_options&) = default;
};

namespace detail {

template <class Driver>
class single_source : public pool_source<Driver, inline_lock> {
public:
    single_source(const single_options& options, const typename Driver::options& target)
        : pool_source<Driver, inline_lock>({.min_size = 1, .max_size = 1, .max_wait = options.max_wait}, target) {}
};

}  // namespace detail

struct single {
    static constexpr auto place = strata::place::source;
    using options = single_options;
    template <class Driver>
    using source = detail::single_source<Driver>;
};

}  // namespace strata::inline STRATA_ABI

#endif
