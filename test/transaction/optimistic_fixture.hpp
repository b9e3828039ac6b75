// What the tests of optimistic locking share: rows with a version column, and databases with their tables.
#ifndef STRATA_TEST_TRANSACTION_OPTIMISTIC_FIXTURE_HPP
#define STRATA_TEST_TRANSACTION_OPTIMISTIC_FIXTURE_HPP

#include <face/fixture.hpp>

#include <strata/optimistic_locking.hpp>

namespace strata_test {

/// The names are such that each must be quoted.
struct item {
    std::int64_t id = 0;
    std::string name;
    std::int64_t amount = 0;
    std::int64_t version = 0;

    friend bool operator==(const item&, const item&) = default;
};
/// The same columns, with its version in none of them.
struct plain_item {
    std::int64_t id = 0;
    std::string name;
    std::int64_t amount = 0;

    friend bool operator==(const plain_item&, const plain_item&) = default;
};
/// A key of two columns.
struct place {
    std::string house;
    std::int32_t room = 0;
    std::optional<std::string> guest;
    std::int32_t turn = 0;

    friend bool operator==(const place&, const place&) = default;
};

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::item, id, name, amount, version);
BOOST_HANA_ADAPT_STRUCT(strata_test::plain_item, id, name, amount);
BOOST_HANA_ADAPT_STRUCT(strata_test::place, house, room, guest, turn);

template <>
struct strata::mapping<strata_test::item> {
    static constexpr std::string_view table = "the \"Items\"";
    static constexpr std::string_view key = "select";
    static constexpr std::string_view version = "Version";
    static constexpr strata::renamed columns[] = {{.member = "id", .column = "select"}, {.member = "version", .column = "Version"}};
};
template <>
struct strata::mapping<strata_test::plain_item> {
    static constexpr std::string_view table = "plain";
    static constexpr std::string_view key = "id";
};
template <>
struct strata::mapping<strata_test::place> {
    static constexpr std::string_view table = "place";
    static constexpr std::array<std::string_view, 2> key = {"room", "house"};
    static constexpr std::string_view version = "turn";
};

namespace strata_test {

inline constexpr auto create_items =
    R"(create table "the ""Items""" ("select" bigint primary key, name text not null, amount bigint not null,
                                     "Version" bigint not null))"_sql;
inline constexpr auto create_plain = "create table plain (id bigint primary key, name text not null, amount bigint not null)"_sql;
inline constexpr auto create_place =
    "create table place (house text, room int, guest text, turn int not null, primary key (house, room))"_sql;

}  // namespace strata_test

#endif
