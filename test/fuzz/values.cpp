// PostgreSQL's binary values as text, and the texts of our own types: what is read prints, and reads back as the same.
#include "fuzz.hpp"

#include <strata/driver/postgres/reader.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/interval.hpp>
#include <strata/value/uuid.hpp>

#include <chrono>
#include <string>

namespace {

constexpr ::Oid types[] = {
    strata::oid::numeric, strata::oid::uuid,    strata::oid::date,     strata::oid::time, strata::oid::timetz,  strata::oid::timestamp,
    strata::oid::bit,     strata::oid::inet,    strata::oid::interval, strata::oid::cidr, strata::oid::macaddr, strata::oid::timestamptz,
    strata::oid::varbit,  strata::oid::boolean, strata::oid::macaddr8, strata::oid::xid8, strata::oid::float4,  strata::oid::int2,
    strata::oid::int4,    strata::oid::int8,    strata::oid::float8,   strata::oid::oid,  strata::oid::jsonb,   strata::oid::text};

/// Every getter of a column, whatever its bytes are.
void read_column(::Oid type, std::span<const std::byte> bytes) {
    strata::detail::reading_memory memory;
    const strata::postgres_column column{type, bytes, 0, memory};
    static_cast<void>(column.boolean());
    static_cast<void>(column.integer());
    static_cast<void>(column.real());
    static_cast<void>(column.timestamp());
    static_cast<void>(column.text());
    strata::decimal number;
    if (strata::codec<strata::decimal>::read(column, number) == strata::errc::ok)
        strata_fuzz::require(strata::decimal{number.to_string()} == number);
    strata::interval span;
    if (strata::codec<strata::interval>::read(column, span) == strata::errc::ok) {
        strata::interval again;
        strata_fuzz::require(strata::interval::parse(span.to_string(), again) == strata::errc::ok && again == span);
        strata_fuzz::require(type != strata::oid::interval || bytes.size() == 16);
    }
    std::chrono::sys_time<std::chrono::microseconds> time;
    static_cast<void>(strata::codec<decltype(time)>::read(column, time));
    std::chrono::year_month_day day{};
    if (strata::codec<std::chrono::year_month_day>::read(column, day) == strata::errc::ok) strata_fuzz::require(day.ok());
    std::chrono::hh_mm_ss<std::chrono::microseconds> of_day;
    static_cast<void>(strata::codec<decltype(of_day)>::read(column, of_day));
}

void read_texts(std::string_view text) {
    if (const auto id = strata::uuid::parse(text)) strata_fuzz::require(strata::uuid::parse(id->to_string()) == id);
    strata::decimal number;
    if (strata::decimal::parse(text, number) == strata::errc::ok) strata_fuzz::require(strata::decimal{number.to_string()} == number);
    static_cast<void>(strata::detail::is_type_name(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const strata_fuzz::input in{data, size};
    std::string printed;
    const ::Oid type = types[in.choice() % std::size(types)];
    static_cast<void>(strata::detail::print_value(type, in.bytes(), printed));
    read_column(type, in.bytes());
    read_texts(in.text());
    return 0;
}
