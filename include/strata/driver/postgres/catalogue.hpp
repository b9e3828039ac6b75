// What a type is made of: arrays, ranges and records by their parts. Built-in types by a table; those that the database defines
// (enums, domains, composites, extensions) are looked up once a connection.
//
// A type that is altered while a connection knows it (ALTER TYPE ... ADD ATTRIBUTE) is seen anew by the next connection.
#ifndef STRATA_DRIVER_POSTGRES_CATALOGUE_HPP
#define STRATA_DRIVER_POSTGRES_CATALOGUE_HPP

#include <strata/driver/postgres/oid.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// How the binary form of a type is laid out.
enum class type_kind : std::uint8_t { plain, array, record, range, multirange, enumeration, domain, hstore };

/// The kind of types whose values are opened so.
[[nodiscard]] constexpr bool is_kind(nesting what, type_kind kind) noexcept {
    switch (what) {
        case nesting::array:
            return kind == type_kind::array;
        case nesting::record:
            return kind == type_kind::record;
        case nesting::range:
            return kind == type_kind::range;
        case nesting::multirange:
            return kind == type_kind::multirange;
        case nesting::pairs:
            return kind == type_kind::hstore;
    }
    return false;
}

/// A type's kind, and the type of its parts: of an array's elements, a range's bounds, a multirange's ranges; a domain's base.
struct type_shape {
    type_kind kind = type_kind::plain;
    ::Oid part = 0;
};

struct array_type {
    ::Oid array;
    ::Oid element;
    std::string_view name;
};

/// Source: pg_type.dat, as in oid.hpp.
inline constexpr array_type array_types[] = {
    {1000, oid::boolean, "boolean[]"},
    {1001, oid::bytea, "bytea[]"},
    {1002, oid::internal_char, "\"char\"[]"},
    {1003, oid::name, "name[]"},
    {1016, oid::int8, "bigint[]"},
    {1005, oid::int2, "smallint[]"},
    {1007, oid::int4, "integer[]"},
    {1008, oid::regproc, "regproc[]"},
    {1009, oid::text, "text[]"},
    {1028, oid::oid, "oid[]"},
    {1011, oid::xid, "xid[]"},
    {1012, oid::cid, "cid[]"},
    {199, oid::json, "json[]"},
    {143, oid::xml, "xml[]"},
    {651, oid::cidr, "cidr[]"},
    {1021, oid::float4, "real[]"},
    {1022, oid::float8, "double precision[]"},
    {775, oid::macaddr8, "macaddr8[]"},
    {791, oid::money, "money[]"},
    {1040, oid::macaddr, "macaddr[]"},
    {1041, oid::inet, "inet[]"},
    {1014, oid::bpchar, "character[]"},
    {1015, oid::varchar, "character varying[]"},
    {1182, oid::date, "date[]"},
    {1183, oid::time, "time without time zone[]"},
    {1115, oid::timestamp, "timestamp without time zone[]"},
    {1185, oid::timestamptz, "timestamp with time zone[]"},
    {1187, oid::interval, "interval[]"},
    {1270, oid::timetz, "time with time zone[]"},
    {1561, oid::bit, "bit[]"},
    {1563, oid::varbit, "bit varying[]"},
    {1231, oid::numeric, "numeric[]"},
    {2201, oid::refcursor, "refcursor[]"},
    {2951, oid::uuid, "uuid[]"},
    {3807, oid::jsonb, "jsonb[]"},
    {271, oid::xid8, "xid8[]"},
    {2287, oid::record, "record[]"},
    {3905, oid::int4range, "int4range[]"},
    {3907, oid::numrange, "numrange[]"},
    {3909, oid::tsrange, "tsrange[]"},
    {3911, oid::tstzrange, "tstzrange[]"},
    {3913, oid::daterange, "daterange[]"},
    {3927, oid::int8range, "int8range[]"},
    {6150, oid::int4multirange, "int4multirange[]"},
    {6151, oid::nummultirange, "nummultirange[]"},
    {6152, oid::tsmultirange, "tsmultirange[]"},
    {6153, oid::tstzmultirange, "tstzmultirange[]"},
    {6155, oid::datemultirange, "datemultirange[]"},
    {6157, oid::int8multirange, "int8multirange[]"},
};

[[nodiscard]] constexpr type_shape built_in_shape(::Oid type) noexcept {
    switch (type) {
        case oid::record:
            return {type_kind::record, 0};
        case oid::int4range:
            return {type_kind::range, oid::int4};
        case oid::numrange:
            return {type_kind::range, oid::numeric};
        case oid::tsrange:
            return {type_kind::range, oid::timestamp};
        case oid::tstzrange:
            return {type_kind::range, oid::timestamptz};
        case oid::daterange:
            return {type_kind::range, oid::date};
        case oid::int8range:
            return {type_kind::range, oid::int8};
        case oid::int4multirange:
            return {type_kind::multirange, oid::int4range};
        case oid::nummultirange:
            return {type_kind::multirange, oid::numrange};
        case oid::tsmultirange:
            return {type_kind::multirange, oid::tsrange};
        case oid::tstzmultirange:
            return {type_kind::multirange, oid::tstzrange};
        case oid::datemultirange:
            return {type_kind::multirange, oid::daterange};
        case oid::int8multirange:
            return {type_kind::multirange, oid::int8range};
        default:
            break;
    }
    for (const array_type& a : array_types)
        if (a.array == type) return {type_kind::array, a.element};
    return {};
}

/// Below are the types that every database has under the same number (FirstGenbkiObjectId in access/transam.h).
inline constexpr ::Oid first_own_type = 10000;

/// The bytes of a type whose size is fixed; -1 for one of any size.
[[nodiscard]] constexpr int fixed_size(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
        case oid::internal_char:
            return 1;
        case oid::int2:
            return 2;
        case oid::int4:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
        case oid::float4:
        case oid::date:
            return 4;
        case oid::int8:
        case oid::float8:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::time:
        case oid::xid8:
            return 8;
        default:
            return -1;
    }
}

/// A type that the database defines.
struct own_type {
    type_shape shape;
    std::string name;
    std::vector<std::string> attributes;  ///< of a composite, in their order
    std::vector<::Oid> attribute_types;
};

/// The types that one connection has met. Used by one thread at a time.
class type_catalogue {
public:
    void clear() noexcept { own_.clear(); }
    [[nodiscard]] bool knows(::Oid type) const { return type < first_own_type || own_.count(type) != 0; }

    [[nodiscard]] type_shape shape(::Oid type) const noexcept {
        if (type < first_own_type) return built_in_shape(type);
        const own_type* const own = find(type);
        return own != nullptr ? own->shape : type_shape{};
    }
    /// A domain's base, which may be a domain itself; any other type is its own.
    [[nodiscard]] ::Oid base(::Oid type) const noexcept {
        for (int depth = 0; type >= first_own_type && depth < 64; ++depth) {
            const type_shape s = shape(type);
            if (s.kind != type_kind::domain) break;
            type = s.part;
        }
        return type;
    }
    [[nodiscard]] const own_type* find(::Oid type) const noexcept {
        const auto at = own_.find(type);
        return at != own_.end() ? &at->second : nullptr;
    }
    [[nodiscard]] std::string_view name(::Oid type) const noexcept {
        if (type >= first_own_type) {
            const own_type* const own = find(type);
            return own != nullptr ? std::string_view{own->name} : std::string_view{};
        }
        for (const array_type& a : array_types)
            if (a.array == type) return a.name;
        return type_name(type);
    }
    [[nodiscard]] own_type& put(::Oid type) { return own_[type]; }

    /// Those types of a description's columns and parameters that are still to be looked up, as the text of an array; empty: none.
    [[nodiscard]] STRATA_COLD std::string unknown_in(const PGresult* description) const {
        std::string unknown;
        const int columns = ::PQnfields(description);
        for (int i = 0, n = columns + ::PQnparams(description); i < n; ++i) {
            const ::Oid type = i < columns ? ::PQftype(description, i) : ::PQparamtype(description, i - columns);
            if (!knows(type)) unknown.append(unknown.empty() ? "{" : ",").append(std::to_string(type));
        }
        return unknown.empty() ? unknown : unknown + '}';
    }
    /// The statement that looks types up, `$1` being their numbers, and all that they are made of. Multiranges came with PostgreSQL 14.
    [[nodiscard]] STRATA_COLD static std::string question(int server_version) {
        const bool multiranges = server_version >= 140000;
        std::string q =
            "with recursive t(oid) as (select pg_catalog.unnest($1::pg_catalog.oid[]) union select d.oid from t "
            "join pg_catalog.pg_type p on p.oid = t.oid, lateral ("
            "select p.typelem where p.typcategory = 'A' union all select p.typbasetype where p.typtype = 'd' union all "
            "select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid union all ";
        if (multiranges) q += "select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid union all ";
        q += "select a.atttypid from pg_catalog.pg_attribute a where p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 "
             "and not a.attisdropped) d(oid) where d.oid >= 10000) "
             "select p.oid, case when p.typtype = 'b' and p.typcategory = 'A' and p.typlen = -1 and p.typelem <> 0 then 'a' "
             "when p.typtype = 'b' and p.typname = 'hstore' and p.typsend::pg_catalog.text like '%hstore_send' then 'h' "
             "else p.typtype end, case p.typtype when 'b' then p.typelem when 'd' then p.typbasetype when 'r' then "
             "(select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid) ";
        if (multiranges) q += "when 'm' then (select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid) ";
        q += "else 0 end, pg_catalog.format_type(p.oid, null), a.attname, a.atttypid from t join pg_catalog.pg_type p on p.oid = t.oid "
             "left join pg_catalog.pg_attribute a on p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 and not a.attisdropped "
             "order by p.oid, a.attnum";
        return q;
    }
    /// Takes the answer, which is in text.
    STRATA_COLD void learn(const PGresult* answer) {
        const auto number = [answer](int row, int column) {
            return static_cast<::Oid>(std::strtoul(::PQgetvalue(answer, row, column), nullptr, 10));
        };
        ::Oid last = 0;
        for (int i = 0; i < ::PQntuples(answer); ++i) {
            const ::Oid type = number(i, 0);
            own_type& t = own_[type];
            if (type != last) {
                t = {};
                t.shape = {kind_of(*::PQgetvalue(answer, i, 1)), number(i, 2)};
                t.name = ::PQgetvalue(answer, i, 3);
            }
            last = type;
            if (::PQgetisnull(answer, i, 4) != 0) continue;
            t.attributes.emplace_back(::PQgetvalue(answer, i, 4));
            t.attribute_types.push_back(number(i, 5));
        }
    }

private:
    [[nodiscard]] static constexpr type_kind kind_of(char letter) noexcept {
        switch (letter) {
            case 'a':
                return type_kind::array;
            case 'c':
                return type_kind::record;
            case 'd':
                return type_kind::domain;
            case 'e':
                return type_kind::enumeration;
            case 'h':
                return type_kind::hstore;
            case 'm':
                return type_kind::multirange;
            case 'r':
                return type_kind::range;
            default:
                return type_kind::plain;
        }
    }

    std::unordered_map<::Oid, own_type> own_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
