// A row of UnicodeData.txt as a struct, and the table that holds it. (The fields are explained in Unicode's UAX #44.)
#ifndef EXAMPLE_CATALOGUE_CHARACTER_HPP
#define EXAMPLE_CATALOGUE_CHARACTER_HPP

#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace catalogue {

struct character {
    std::uint32_t code = 0;
    std::string name;
    std::string category;
    std::uint8_t combining = 0;
    std::string bidi;
    std::optional<std::string> decomposition;
    std::optional<std::uint8_t> decimal;
    std::optional<std::uint8_t> digit;
    std::optional<std::string> numeric;
    bool mirrored = false;
    std::optional<std::string> old_name;
    std::optional<std::string> comment;
    std::optional<std::uint32_t> upper;
    std::optional<std::uint32_t> lower;
    std::optional<std::uint32_t> title;
};

}  // namespace catalogue

BOOST_HANA_ADAPT_STRUCT(catalogue::character, code, name, category, combining, bidi, decomposition, decimal, digit, numeric, mirrored,
                        old_name, comment, upper, lower, title);

// Members whose columns have another name.
template <>
struct strata::mapping<catalogue::character> {
    static constexpr std::string_view table = "characters";
    static constexpr std::string_view key = "codepoint";
    static constexpr strata::renamed columns[] = {{.member = "code", .column = "codepoint"},
                                                  {.member = "upper", .column = "uppercase"},
                                                  {.member = "lower", .column = "lowercase"},
                                                  {.member = "title", .column = "titlecase"}};
};

namespace catalogue {

using namespace strata::literals;

// One connection, no policies: what is not in the stack does not exist in the program.
using database = strata::database<strata::stack<strata::single, strata::sqlite>>;

inline constexpr auto drop_table = "drop table if exists characters"_sql;

inline constexpr auto create_table =
    "create table characters ("
    " codepoint integer primary key, name text not null, category text not null, combining integer not null, bidi text not null,"
    " decomposition text, decimal integer, digit integer, numeric text, mirrored integer not null, old_name text, comment text,"
    " uppercase integer, lowercase integer, titlecase integer)"_sql;

inline constexpr auto create_index = "create index characters_by_name on characters (name collate nocase)"_sql;

// Parameters take the members of their names.
inline constexpr auto insert =
    "insert into characters values (:code, :name, :category, :combining, :bidi, :decomposition, :decimal, :digit, :numeric,"
    " :mirrored, :old_name, :comment, :upper, :lower, :title)"_sql;

inline constexpr auto select_all = "select * from characters order by codepoint"_sql;
inline constexpr auto select_by_name = "select * from characters where name = :name collate nocase order by codepoint limit 5"_sql;

}  // namespace catalogue

#endif
