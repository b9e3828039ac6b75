// Members that a policy adds to the faces of a stack: `db.update_versioned(...)` is there where `optimistic_locking<>` stands in the
// stack, and nowhere else.
//
//   struct some_policy {
//       static constexpr auto place = strata::place::extend;   // such a policy needs no hooks
//       template <class Self> struct members { ... };          // of the blocking faces: database, transactions, sessions
//       template <class Self> struct async_members { ... };    // of the asynchronous ones; either may be left out
//   };
//
// The faces inherit them, and `static_cast<Self&>(*this)` is the face. They have no data.
#ifndef STRATA_CORE_EXTENSIONS_HPP
#define STRATA_CORE_EXTENSIONS_HPP

#include <strata/core/place.hpp>

#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class P>
concept extending = requires { requires P::place == place::extend; };

/// What one layer adds to a face: nothing, as a rule.
template <class P, class Self>
struct added_members {};
template <class P, class Self>
    requires extending<P> && requires { typename P::template members<Self>; }
struct added_members<P, Self> : P::template members<Self> {
    static_assert(std::is_empty_v<typename P::template members<Self>>, "strata: the members that a policy adds to a face have no data");
};

template <class P, class Self>
struct added_async_members {};
template <class P, class Self>
    requires extending<P> && requires { typename P::template async_members<Self>; }
struct added_async_members<P, Self> : P::template async_members<Self> {
    static_assert(std::is_empty_v<typename P::template async_members<Self>>,
                  "strata: the members that a policy adds to a face have no data");
};

/// What a list of layers adds to a face, which inherits it. `List` is a stack, or its interceptors.
template <class Self, class List>
struct extensions {};
template <class Self, template <class...> class List, class... P>
    requires(extending<P> || ...)
struct extensions<Self, List<P...>> : added_members<P, Self>... {};

template <class Self, class List>
struct async_extensions {};
template <class Self, template <class...> class List, class... P>
    requires(extending<P> || ...)
struct async_extensions<Self, List<P...>> : added_async_members<P, Self>... {};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
