// How an attempt or an operation ended. It lies where the caller will look for it, so that an error is made once and never moved.
#ifndef STRATA_CORE_OUTCOME_HPP
#define STRATA_CORE_OUTCOME_HPP

#include <strata/core/error.hpp>

#include <utility>

namespace strata::inline STRATA_ABI {

/// How an attempt or an operation ended, as `settle` sees it. A hook may replace it.
class outcome {
public:
    outcome() noexcept = default;
    explicit outcome(strata::error e) noexcept : error_(std::move(e)) {}

    [[nodiscard]] bool ok() const noexcept { return error_.code() == errc::ok; }
    [[nodiscard]] errc code() const noexcept { return error_.code(); }
    [[nodiscard]] const strata::error& error() const noexcept { return error_; }
    [[nodiscard]] strata::error& error() noexcept { return error_; }
    void replace(strata::error e) noexcept { error_ = std::move(e); }
    void clear() noexcept {
        if (error_.code() != errc::ok) [[unlikely]]
            error_ = strata::error{};
    }

private:
    strata::error error_;
};

}  // namespace strata::inline STRATA_ABI

#endif
