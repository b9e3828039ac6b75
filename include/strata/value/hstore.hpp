// PostgreSQL's extension hstore: texts by key, each of which may be NULL.
#ifndef STRATA_VALUE_HSTORE_HPP
#define STRATA_VALUE_HSTORE_HPP

#include <strata/value/codec.hpp>
#include <strata/value/nested.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What an hstore holds.
using hstore = std::map<std::string, std::optional<std::string>>;

template <>
struct codec<hstore> {
    static constexpr std::string_view name = "hstore";
    static constexpr column_classes takes{column_type::other};

    template <column_reader R>
    static errc read(const R& in, hstore& out) {
        return detail::read_nested(in, nesting::pairs, [&](auto& parts) {
            out.clear();
            std::string key;
            for (std::size_t left = parts.size() / 2; left > 0; --left) {
                if (const errc e = codec<std::string>::read(parts.next(), key); e != errc::ok) return e;
                if (const errc e = codec<std::optional<std::string>>::read(parts.next(), out[key]); e != errc::ok) return e;
            }
            return errc::ok;
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return c.is(nesting::pairs);
    }
    template <parameter_writer W>
    static errc write(W& out, const hstore& value) {
        return detail::write_nested(out, nesting::pairs, {}, 0, [&](W& to) {
            for (const auto& [key, one] : value) {
                if (const errc e = codec<std::string>::write(to, key); e != errc::ok) return e;
                if (const errc e = codec<std::optional<std::string>>::write(to, one); e != errc::ok) return e;
            }
            return errc::ok;
        });
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
