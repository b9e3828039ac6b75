// Numbers of PostgreSQL's built-in types, as the catalogue pg_type fixes them, and the class of value that each is.
#ifndef STRATA_DRIVER_POSTGRES_OID_HPP
#define STRATA_DRIVER_POSTGRES_OID_HPP

#include <strata/value/column.hpp>

#include <libpq-fe.h>

#include <string_view>

namespace strata::inline STRATA_ABI {

/// Built-in types by the names that SQL gives them. Source: src/include/catalog/pg_type.dat of PostgreSQL; they never change.
namespace oid {
enum : ::Oid {
    boolean = 16,
    bytea = 17,
    internal_char = 18,
    name = 19,
    int8 = 20,
    int2 = 21,
    int4 = 23,
    regproc = 24,
    text = 25,
    oid = 26,
    xid = 28,
    cid = 29,
    json = 114,
    xml = 142,
    cidr = 650,
    float4 = 700,
    float8 = 701,
    unknown = 705,
    macaddr8 = 774,
    money = 790,
    macaddr = 829,
    inet = 869,
    bpchar = 1042,
    varchar = 1043,
    date = 1082,
    time = 1083,
    timestamp = 1114,
    timestamptz = 1184,
    interval = 1186,
    timetz = 1266,
    bit = 1560,
    varbit = 1562,
    numeric = 1700,
    refcursor = 1790,
    record = 2249,
    uuid = 2950,
    jsonb = 3802,
    int4range = 3904,
    numrange = 3906,
    tsrange = 3908,
    tstzrange = 3910,
    daterange = 3912,
    int8range = 3926,
    int4multirange = 4451,
    nummultirange = 4532,
    tsmultirange = 4533,
    tstzmultirange = 4534,
    datemultirange = 4535,
    int8multirange = 4536,
    xid8 = 5069
};
}  // namespace oid

namespace detail {

/// The binary form is the characters themselves.
[[nodiscard]] constexpr bool is_plain_text(::Oid type) noexcept {
    switch (type) {
        case oid::text:
        case oid::varchar:
        case oid::bpchar:
        case oid::name:
        case oid::json:
        case oid::xml:
        case oid::unknown:
        case oid::refcursor:
        case oid::internal_char:
            return true;
        default:
            return false;
    }
}

/// What codecs see. Types whose binary form is turned into PostgreSQL's own text (numeric, dates, uuid ...) are texts, too.
[[nodiscard]] constexpr column_type class_of(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return column_type::boolean;
        case oid::int2:
        case oid::int4:
        case oid::int8:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
            return column_type::integer;
        case oid::float4:
        case oid::float8:
            return column_type::real;
        case oid::bytea:
            return column_type::blob;
        case oid::numeric:
        case oid::uuid:
        case oid::date:
        case oid::time:
        case oid::timetz:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::interval:
        case oid::jsonb:
        case oid::inet:
        case oid::cidr:
        case oid::macaddr:
        case oid::macaddr8:
        case oid::bit:
        case oid::varbit:
        case oid::xid8:
            return column_type::text;
        default:
            return is_plain_text(type) ? column_type::text : column_type::other;
    }
}

/// For errors: the name of a built-in type; empty for one that the catalogue of the database defines.
[[nodiscard]] constexpr std::string_view type_name(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return "boolean";
        case oid::bytea:
            return "bytea";
        case oid::name:
            return "name";
        case oid::int8:
            return "bigint";
        case oid::int2:
            return "smallint";
        case oid::int4:
            return "integer";
        case oid::text:
            return "text";
        case oid::oid:
            return "oid";
        case oid::json:
            return "json";
        case oid::float4:
            return "real";
        case oid::float8:
            return "double precision";
        case oid::money:
            return "money";
        case oid::inet:
            return "inet";
        case oid::cidr:
            return "cidr";
        case oid::macaddr:
            return "macaddr";
        case oid::bpchar:
            return "character";
        case oid::varchar:
            return "character varying";
        case oid::date:
            return "date";
        case oid::time:
            return "time";
        case oid::timetz:
            return "time with time zone";
        case oid::timestamp:
            return "timestamp";
        case oid::timestamptz:
            return "timestamp with time zone";
        case oid::interval:
            return "interval";
        case oid::bit:
            return "bit";
        case oid::varbit:
            return "bit varying";
        case oid::numeric:
            return "numeric";
        case oid::uuid:
            return "uuid";
        case oid::jsonb:
            return "jsonb";
        case oid::record:
            return "record";
        case oid::int4range:
            return "int4range";
        case oid::numrange:
            return "numrange";
        case oid::tsrange:
            return "tsrange";
        case oid::tstzrange:
            return "tstzrange";
        case oid::daterange:
            return "daterange";
        case oid::int8range:
            return "int8range";
        case oid::int4multirange:
            return "int4multirange";
        case oid::nummultirange:
            return "nummultirange";
        case oid::tsmultirange:
            return "tsmultirange";
        case oid::tstzmultirange:
            return "tstzmultirange";
        case oid::datemultirange:
            return "datemultirange";
        case oid::int8multirange:
            return "int8multirange";
        case oid::xml:
            return "xml";
        case oid::xid8:
            return "xid8";
        case oid::macaddr8:
            return "macaddr8";
        default:
            return {};
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
