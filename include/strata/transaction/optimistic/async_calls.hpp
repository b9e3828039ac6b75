// The names of the asynchronous calls for versioned rows. What they do is in strata/async/optimistic_locking.hpp, for this file does not
// know Asio.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_ASYNC_CALLS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_ASYNC_CALLS_HPP

#include <strata/core/config.hpp>

#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The two forms of asynchronous calls, by name only: async/answer.hpp.
template <class T>
struct throwing;
template <class T>
struct trying;

/// Filled in by async/optimistic_locking.hpp.
template <class Policy, class Self, bool AsyncIncluded>
struct async_versioned_calls {
    template <class T, template <class> class Form, class... Any>
    static int find(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: asynchronous versioned calls need  #include <strata/async/optimistic_locking.hpp>");
        return 0;
    }
    template <template <class> class Form, class... Any>
    static int insert(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <class T, bool Removes, template <class> class Form, class... Any>
    static int write(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <bool Removes, bool Together, template <class> class Form, class... Any>
    static int write_many(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <bool Together, template <class> class Form, class... Any>
    static int insert_many(const Any&... any) {
        return find<void, Form>(any...);
    }
};

/// Of the asynchronous faces: the same calls, see strata/async/optimistic_locking.hpp. `async_x` completes with
/// `void(std::exception_ptr, T)`, `async_try_x` with `void(result<T>)`, those of rows by themselves with their vector.
template <class Policy, class Self>
class async_versioned_members {
    using calls = async_versioned_calls<Policy, Self, true>;

public:
    template <class T, class... A>
    auto async_find_versioned(A&&... a) {
        return calls::template find<T, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_versioned(A&&... a) {
        return calls::template insert<throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_versioned(A&&... a) {
        return calls::template write<void, false, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_update_versioned(A&&... a) {
        return calls::template write<T, false, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_versioned(A&&... a) {
        return calls::template write<void, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_remove_versioned(A&&... a) {
        return calls::template write<T, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_all_versioned(A&&... a) {
        return calls::template write_many<false, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_all_versioned(A&&... a) {
        return calls::template write_many<true, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_all_versioned(A&&... a) {
        return calls::template insert_many<true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_find_versioned(A&&... a) {
        return calls::template find<T, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_insert_versioned(A&&... a) {
        return calls::template insert<trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_update_versioned(A&&... a) {
        return calls::template write<void, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_update_versioned(A&&... a) {
        return calls::template write<T, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_remove_versioned(A&&... a) {
        return calls::template write<void, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_remove_versioned(A&&... a) {
        return calls::template write<T, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_update_all_versioned(A&&... a) {
        return calls::template write_many<false, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_remove_all_versioned(A&&... a) {
        return calls::template write_many<true, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_insert_all_versioned(A&&... a) {
        return calls::template insert_many<true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_each_versioned(A&&... a) {
        return calls::template write_many<false, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_each_versioned(A&&... a) {
        return calls::template write_many<true, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_each_versioned(A&&... a) {
        return calls::template insert_many<false, trying>(self(), std::forward<A>(a)...);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
