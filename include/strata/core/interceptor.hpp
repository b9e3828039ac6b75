// What makes a type an interceptor, and how the engine calls its hooks. All hooks are optional:
//
//   void    admit(auto& op, frame& f, moment m);                    // or verdict; a hook may leave out the moment
//   void    settle(auto& op, frame& f, outcome& result, moment m);  // or verdict
//   void    abandon(frame& f) noexcept;                             // the operation ended without settle
//
// A layer that was entered gets exactly one exit: `settle`, or `abandon`. Hooks are called as noexcept: one
// that throws ends the program, so a policy that calls a user's function catches what it throws.
// A policy that looks at `op.priority` states  static constexpr bool asks_priority = true;
// One that looks at `op.cache` states  caches = true,  one that looks at `op.aside`  replaces = true  (in the same way): calls that ask for
// that compile only over such a layer.
#ifndef STRATA_CORE_INTERCEPTOR_HPP
#define STRATA_CORE_INTERCEPTOR_HPP

#include <strata/core/operation.hpp>
#include <strata/core/place.hpp>
#include <strata/core/verdict.hpp>

#include <concepts>

namespace strata::inline STRATA_ABI {

/// The memory of a layer that needs none.
struct no_frame {};

namespace detail {

template <class P>
struct frame_type {
    using type = no_frame;
};
template <class P>
    requires requires { typename P::frame; }
struct frame_type<P> {
    using type = typename P::frame;
};

template <class P>
struct options_type {
    using type = void;
};
template <class P>
    requires requires { typename P::options; }
struct options_type<P> {
    using type = typename P::options;
};

/// Only the shape of a hook is asked for here, so any operation will do.
using probe_operation = operation<operation_facts{}>;

template <class P>
concept admits_at = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, moment m) { p.admit(op, f, m); };
template <class P>
concept admits_untimed = requires(P& p, probe_operation& op, typename frame_type<P>::type& f) { p.admit(op, f); };
template <class P>
concept settles_at = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, outcome& o, moment m) { p.settle(op, f, o, m); };
template <class P>
concept settles_untimed = requires(P& p, probe_operation& op, typename frame_type<P>::type& f, outcome& o) { p.settle(op, f, o); };
template <class P>
concept abandons = requires(P& p, typename frame_type<P>::type& f) { p.abandon(f); };

template <class P>
inline constexpr bool has_hook = admits_at<P> || admits_untimed<P> || settles_at<P> || settles_untimed<P> || abandons<P>;
template <class P>
inline constexpr bool abandons_quietly = !abandons<P> || requires(P& p, typename frame_type<P>::type& f) {
    { p.abandon(f) } noexcept;
};

template <class P>
inline constexpr bool is_timed = admits_at<P> || settles_at<P>;

template <class P>
inline constexpr bool goes_inside_transaction = requires { requires P::inside_transaction; };

template <class P>
inline constexpr bool asks_priority = requires { requires P::asks_priority; };

/// What a stack says of its transactions; see transaction/modes.hpp.
template <class P>
inline constexpr bool is_automatic = requires { requires P::automatic_transactions; };
template <class P>
inline constexpr bool forbids_transactions = requires { requires P::no_transactions; };

template <class P>
inline constexpr bool caches = requires { requires P::caches; };
template <class P>
inline constexpr bool replaces = requires { requires P::replaces; };

template <class P>
inline constexpr bool holds_something = requires { requires P::holds; };

/// The hooks, whatever their form; `void` counts as proceed or accept.
template <class P, class Op>
STRATA_INLINE auto call_admit(P& p, Op& op, typename frame_type<P>::type& f, moment m) noexcept {
    if constexpr (admits_at<P>)
        return p.admit(op, f, m);
    else
        return p.admit(op, f);
}
template <class P, class Op>
STRATA_INLINE auto call_settle(P& p, Op& op, typename frame_type<P>::type& f, outcome& o, moment m) noexcept {
    if constexpr (settles_at<P>)
        return p.settle(op, f, o, m);
    else
        return p.settle(op, f, o);
}
template <class P>
STRATA_INLINE void call_abandon(P& p, typename frame_type<P>::type& f) noexcept {
    if constexpr (abandons<P>) p.abandon(f);
}

}  // namespace detail

/// An interceptor. What is missing is told by the comment at the requirement that fails.
template <class P>
concept interceptor =
    requires {
        // The policy must state where it may stand:  static constexpr auto place = strata::place::observe;
        { P::place } -> std::convertible_to<strata::place>;
    } &&
    // Only the source and the driver stand below the interceptors: choose another place.
    (P::place < place::source) &&
    // A policy that takes something in admit (`holds = true`) must give it back in `void abandon(frame&) noexcept`.
    (!detail::holds_something<P> || detail::abandons<P>);

}  // namespace strata::inline STRATA_ABI

#endif
