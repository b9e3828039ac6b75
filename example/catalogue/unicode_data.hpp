// The lines of UnicodeData.txt: fifteen fields, parted by semicolons.
#ifndef EXAMPLE_CATALOGUE_UNICODE_DATA_HPP
#define EXAMPLE_CATALOGUE_UNICODE_DATA_HPP

#include "character.hpp"

#include <stdexcept>
#include <string>
#include <string_view>

namespace catalogue {

// Says which field is wrong, and why.
struct broken_row : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Throws `broken_row`.
character parse_line(std::string_view line);

// The line that `parse_line` would read.
std::string to_line(const character& c);

// U+2603, and so on.
std::string notation(std::uint32_t code);

// The character itself in UTF-8; empty for those that are not to be printed.
std::string glyph(const character& c);

}  // namespace catalogue

#endif
