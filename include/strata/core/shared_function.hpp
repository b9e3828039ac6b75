// A function of the user's among options: copies share it, and are equal for that. Two functions that were given separately never are.
#ifndef STRATA_CORE_SHARED_FUNCTION_HPP
#define STRATA_CORE_SHARED_FUNCTION_HPP

#include <strata/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

template <class Signature>
class shared_function;

/// Made from anything that can be called so. Calls are as safe from several threads as the function's own are. (A `std::function` in it
/// would cost each program that includes a pool 0.1 s to compile.)
template <class Result, class... A>
class shared_function<Result(A...)> {
public:
    shared_function() noexcept = default;
    shared_function(std::nullptr_t) noexcept {}
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, shared_function> && std::is_invocable_r_v<Result, std::decay_t<F>&, A...>)
    shared_function(F&& f) {
        if constexpr (requires { static_cast<bool>(f == nullptr); })
            if (f == nullptr) return;  // an empty std::function, a null pointer
        shared_ = std::make_shared<held<std::decay_t<F>>>(std::forward<F>(f));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return shared_ != nullptr; }
    Result operator()(A... a) const { return shared_->call(std::forward<A>(a)...); }
    friend bool operator==(const shared_function&, const shared_function&) = default;

private:
    struct callable {
        virtual Result call(A... a) = 0;

    protected:
        ~callable() = default;
    };
    template <class F>
    struct held final : callable {
        template <class G>
        explicit held(G&& g) : function(std::forward<G>(g)) {}
        Result call(A... a) override { return function(std::forward<A>(a)...); }
        F function;
    };
    std::shared_ptr<callable> shared_;
};

}  // namespace strata::inline STRATA_ABI

#endif
