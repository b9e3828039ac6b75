// A function of the user's among options: copies share it, and are equal for that. Two functions that were given separately never are.
#ifndef STRATA_CORE_SHARED_FUNCTION_HPP
#define STRATA_CORE_SHARED_FUNCTION_HPP

#include <strata/core/config.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

template <class Signature>
class shared_function;

/// Made from anything that can be called so. Calls are as safe from several threads as the function's own are.
template <class Result, class... A>
class shared_function<Result(A...)> {
public:
    shared_function() noexcept = default;
    shared_function(std::nullptr_t) noexcept {}
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, shared_function> && std::is_invocable_r_v<Result, F&, A...>)
    shared_function(F&& f) {
        std::function<Result(A...)> function(std::forward<F>(f));
        if (function) shared_ = std::make_shared<const std::function<Result(A...)>>(std::move(function));  // else there is none
    }

    [[nodiscard]] explicit operator bool() const noexcept { return shared_ != nullptr; }
    Result operator()(A... a) const { return (*shared_)(std::forward<A>(a)...); }
    friend bool operator==(const shared_function&, const shared_function&) = default;

private:
    std::shared_ptr<const std::function<Result(A...)>> shared_;
};

}  // namespace strata::inline STRATA_ABI

#endif
