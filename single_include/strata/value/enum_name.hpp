// Generated from include/strata/value/enum_name.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_ENUM_NAME_HPP
#define STRATA_SINGLE_VALUE_ENUM_NAME_HPP

#include <strata/strata.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

// Enumerations by the names of their enumerators, as an `enum` type of PostgreSQL or a text column has them.
//
// By default an enumeration is its number (codec.hpp); the author of one that is a name says so.
#ifndef STRATA_VALUE_ENUM_NAME_HPP
#define STRATA_VALUE_ENUM_NAME_HPP

namespace strata::inline STRATA_ABI {

/// An enumerator whose name in the database is another.
template <class E>
struct enum_name {
    E value;
    std::string_view name;
};

namespace detail {

template <class E>
concept described_enum = std::is_enum_v<E> && requires { boost_enum_descriptor_fn(static_cast<E**>(nullptr)); };

template <class List>
struct described_names;
template <template <class...> class List, class... Descriptors>
struct described_names<List<Descriptors...>> {
    /// Calls `f(value, name)` for each enumerator until it answers true.
    template <class F>
    static constexpr bool any(F&& f) {
        return (f(Descriptors::value, std::string_view{Descriptors::name}) || ...);
    }
};

}  // namespace detail

/// The codec of an enumeration by names. They come from BOOST_DESCRIBE_ENUM (<boost/describe/enum.hpp>), or from a list `names`:
///
/// ```cpp
/// enum class mood { sad, ok };
/// BOOST_DESCRIBE_ENUM(mood, sad, ok)
/// template <>
/// struct strata::codec<mood> : strata::enum_codec<mood> {};
///
/// template <>
/// struct strata::codec<colour> : strata::enum_codec<colour> {
///     static constexpr strata::enum_name<colour> names[] = {{colour::light_blue, "light blue"}};
/// };
/// ```
///
/// A text that is no name is `out_of_range`; so is a value without a name as a parameter.
template <class E, class Codec = codec<E>>
struct enum_codec {
    static_assert(std::is_enum_v<E>);
    static constexpr std::string_view name = "enum";
    static constexpr std::string_view hint = "the text must be the name of an enumerator";
    static constexpr column_classes takes{column_type::text};

    template <column_reader R>
    static errc read(const R& in, E& out) {
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        const std::string_view text = in.text();
        const bool known = any([&](E value, std::string_view n) {
            if (n != text) return false;
            out = value;
            return true;
        });
        return known ? errc::ok : errc::out_of_range;
    }
    template <parameter_writer W>
    static errc write(W& out, E value) {
        const bool known = any([&](E one, std::string_view n) {
            if (one != value) return false;
            out.text(n);
            return true;
        });
        return known ? errc::ok : errc::out_of_range;
    }

private:
    template <class F>
    static constexpr bool any(F&& f) {
        if constexpr (requires { Codec::names; }) {
            for (const enum_name<E>& n : Codec::names)
                if (f(n.value, n.name)) return true;
            return false;
        } else {
            static_assert(detail::described_enum<E>,
                          "strata: the enumerators have no names: use BOOST_DESCRIBE_ENUM, or give the codec a list `names`");
            if constexpr (detail::described_enum<E>)
                return detail::described_names<decltype(boost_enum_descriptor_fn(static_cast<E**>(nullptr)))>::any(f);
            else
                return false;
        }
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
