// Composite types of a database that has them (PostgreSQL) as adapted structs: `create type address as (street text, number int)`.
//
// A struct is a row unless it has a codec, so the author of one that is a column says so.
#ifndef STRATA_VALUE_COMPOSITE_HPP
#define STRATA_VALUE_COMPOSITE_HPP

#include <strata/value/codec.hpp>
#include <strata/value/mapping.hpp>
#include <strata/value/nested.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

/// The codec of an adapted struct as one column of a composite type:
///
/// ```cpp
/// struct address { std::string street; int number; };
/// BOOST_HANA_ADAPT_STRUCT(address, street, number);
/// template <>
/// struct strata::codec<address> : strata::composite_codec<address> {};
/// ```
///
/// Each attribute of the type goes into the member of its name (as `mapping` renames it), whatever their order; those of an anonymous
/// record (`row(...)`), and of a parameter whose type nobody knows (`prepare = false`), by position. There must be as many attributes as
/// members; one that may be NULL is a `std::optional` member.
template <adapted_struct T>
struct composite_codec {
    static_assert(member_count<T> > 0, "strata: a composite type needs a member");
    static constexpr std::string_view name = "composite";
    static constexpr std::string_view hint =
        "a composite has as many attributes as the struct has members, each named and typed as one; what may be NULL is std::optional";
    static constexpr column_classes takes{column_type::other};

    template <column_reader R>
    static errc read(const R& in, T& out) {
        return detail::read_nested(in, nesting::record, [&](auto& parts) {
            if (parts.size() != member_count<T>) return errc::type_mismatch;
            for (std::size_t i = 0; i < member_count<T>; ++i) {
                const int m = member_for(parts.part_name(), i);
                if (m < 0) return errc::type_mismatch;
                const auto& part = parts.next();
                const errc e = with_member(m, out, [&]<class M>(M& member) {
                    static_assert(!detail::is_view<M>(), "strata: the members of a composite are values of their own: use std::string");
                    return codec<M>::read(part, member);
                });
                if (e != errc::ok) return e;
            }
            return errc::ok;
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        if (!c.is(nesting::record)) return false;
        if (c.parts() < 0) return true;  // anonymous: found out value by value
        if (c.parts() != static_cast<int>(member_count<T>)) return false;
        bool all = true;
        for (int i = 0; i < c.parts(); ++i) {
            const int m = member_for(c.part_name(i), static_cast<std::size_t>(i));
            T probe{};
            all = all && m >= 0 && with_member(m, probe, [&]<class M>(M&) {
                                       return detail::fits_type<M>(c.part(i)) ? errc::ok : errc::type_mismatch;
                                   }) == errc::ok;
        }
        return all;
    }
    template <parameter_writer W>
    static errc write(W& out, const T& value) {
        return detail::write_nested(out, nesting::record, {}, 0, [&](W& to) {
            if (!to.part_name(member_count<T>).empty()) return errc::type_mismatch;
            for (std::size_t i = 0; i < member_count<T>; ++i) {
                const int m = member_for(to.part_name(i), i);
                if (m < 0) return errc::type_mismatch;
                const errc e = with_member(m, value, [&]<class M>(const M& member) { return codec<M>::write(to, member); });
                if (e != errc::ok) return e;
            }
            return errc::ok;
        });
    }

private:
    static int member_for(std::string_view attribute, std::size_t position) noexcept {
        return attribute.empty() ? static_cast<int>(position) : detail::member_of_column<T>(attribute);
    }
    /// Calls `f` with member number `m`.
    template <class Object, class F>
    static errc with_member(int m, Object& object, F&& f) {
        errc e = errc::type_mismatch;
        int i = 0;
        for_each_member(object, [&](std::string_view, auto& member) {
            if (i++ == m) e = f(member);
        });
        return e;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
