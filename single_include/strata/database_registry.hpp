// Generated from include/strata/database_registry.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_DATABASE_REGISTRY_HPP
#define STRATA_SINGLE_DATABASE_REGISTRY_HPP

#include <strata/strata.hpp>

#include <list>
#include <memory>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <utility>

// One database, and so one pool, for all who ask with equal options: modules of a program that know nothing of each other.
//
//   strata::database_registry<bank> registry;                       // an object of the program's: there is no hidden global
//   auto db = registry.open(strata::postgres_options{...}, strata::pool_options{...});
//
// Every option counts, those left out by their defaults, credentials and TLS settings too; a function is equal only to copies of itself.
#ifndef STRATA_DATABASE_REGISTRY_HPP
#define STRATA_DATABASE_REGISTRY_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T, class Option = typename options_type<T>::type>
struct own_options {
    using type = std::tuple<Option>;
    static_assert(std::equality_comparable<Option>, "strata: a registry compares options, and these of a layer have no operator==");
};
template <class T>
struct own_options<T, void> {
    using type = std::tuple<>;
};

/// The options of all layers of a stack.
template <class Stack>
struct all_options;
template <class... T>
struct all_options<stack<T...>> {
    using type = decltype(std::tuple_cat(std::declval<typename own_options<T>::type>()...));
};

template <class Tuple>
struct picked;
template <class... Option>
struct picked<std::tuple<Option...>> {
    template <class... Given>
    static std::tuple<Option...> from(const Given&... given) {
        return {pick_option<Option>(given...)...};
    }
};

}  // namespace detail

/// Thread-safe. It does not keep databases: one ends with the last who holds it, and is opened anew for the next who asks.
template <class Stack, class World = system_world>
class database_registry {
    using key = typename detail::all_options<Stack>::type;
    using database_type = database<Stack, World>;

public:
    database_registry() = default;
    database_registry(const database_registry&) = delete;
    database_registry& operator=(const database_registry&) = delete;

    /// The database of these options: one that is open already and was not closed, with its layers' state as it is, or a new one. Throws as
    /// the constructor of `database` does. Others wait meanwhile, for a database that is being opened may be theirs.
    template <class... Options>
    [[nodiscard]] std::shared_ptr<database_type> open(const Options&... options) {
        static_assert((detail::belongs_to<Options, Stack> && ...),
                      "strata: an option given to the registry belongs to no layer of its stack: add the layer, or remove the option");
        key wanted = detail::picked<key>::from(options...);
        const std::lock_guard guard{lock_};
        entries_.remove_if([](const entry& e) { return e.second.expired(); });
        for (const entry& e : entries_)
            if (e.first == wanted)
                if (auto open = e.second.lock(); open != nullptr && !open->connections().closed) return open;
        auto made = std::make_shared<database_type>(options...);
        entries_.emplace_back(std::move(wanted), made);
        return made;
    }

    /// Databases that somebody holds.
    [[nodiscard]] std::size_t size() {
        const std::lock_guard guard{lock_};
        entries_.remove_if([](const entry& e) { return e.second.expired(); });
        return entries_.size();
    }

private:
    using entry = std::pair<key, std::weak_ptr<database_type>>;
    std::mutex lock_;
    std::list<entry> entries_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
