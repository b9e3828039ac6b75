#include "unicode_data.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace catalogue {

constexpr std::uint32_t last_code = 0x10FFFF;

constexpr std::array<const char*, 15> field_names = {
    "code point",    "name",    "general category",  "combining class", "bidirectional class",    "decomposition",  "decimal digit",
    "digit",         "numeric", "mirrored",          "old name",        "comment",                "uppercase",      "lowercase",
    "titlecase"};

// A line cut at its semicolons; each `take` names the field when it is wrong.
class fields {
public:
    explicit fields(std::string_view line) {
        std::size_t count = 0;
        for (std::size_t begin = 0; begin <= line.size(); ++count) {
            const std::size_t end = std::min(line.find(';', begin), line.size());
            if (count < values_.size()) values_[count] = line.substr(begin, end - begin);
            begin = end + 1;
        }
        if (count != values_.size()) throw broken_row("15 fields are expected, there are " + std::to_string(count));
    }

    [[nodiscard]] std::string text(std::size_t i) const {
        if (values_[i].empty()) fail(i, "is empty");
        return std::string(values_[i]);
    }
    [[nodiscard]] std::optional<std::string> optional_text(std::size_t i) const {
        if (values_[i].empty()) return {};
        return std::string(values_[i]);
    }

    [[nodiscard]] std::uint32_t code(std::size_t i) const {
        if (values_[i].size() < 4) fail(i, "is not a hexadecimal code point of at least four digits");
        return number(i, 16, last_code, "is not a hexadecimal code point up to 10FFFF");
    }
    [[nodiscard]] std::optional<std::uint32_t> optional_code(std::size_t i) const {
        if (values_[i].empty()) return {};
        return code(i);
    }

    [[nodiscard]] std::uint8_t combining_class(std::size_t i) const {
        return static_cast<std::uint8_t>(number(i, 10, 254, "is not a number from 0 to 254"));
    }
    [[nodiscard]] std::optional<std::uint8_t> optional_digit(std::size_t i) const {
        if (values_[i].empty()) return {};
        return static_cast<std::uint8_t>(number(i, 10, 9, "is not a digit"));
    }

    [[nodiscard]] bool yes_or_no(std::size_t i) const {
        if (values_[i] != "Y" && values_[i] != "N") fail(i, "is neither Y nor N");
        return values_[i] == "Y";
    }

private:
    std::uint32_t number(std::size_t i, int base, std::uint32_t most, const char* problem) const {
        const char* const begin = values_[i].data();
        const char* const end = begin + values_[i].size();
        std::uint32_t n = 0;
        const auto [stopped, code] = std::from_chars(begin, end, n, base);
        if (code != std::errc{} || stopped != end || n > most) fail(i, problem);
        return n;
    }

    [[noreturn]] void fail(std::size_t i, const char* problem) const {
        std::string shown(values_[i].substr(0, 40));
        for (char& c : shown) {
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
        }
        throw broken_row("field " + std::to_string(i) + " (" + field_names[i] + "): '" + shown + "' " + problem);
    }

    std::array<std::string_view, field_names.size()> values_;
};

character parse_line(std::string_view line) {
    const fields f(line);
    return {.code = f.code(0),
            .name = f.text(1),
            .category = f.text(2),
            .combining = f.combining_class(3),
            .bidi = f.text(4),
            .decomposition = f.optional_text(5),
            .decimal = f.optional_digit(6),
            .digit = f.optional_digit(7),
            .numeric = f.optional_text(8),
            .mirrored = f.yes_or_no(9),
            .old_name = f.optional_text(10),
            .comment = f.optional_text(11),
            .upper = f.optional_code(12),
            .lower = f.optional_code(13),
            .title = f.optional_code(14)};
}

static std::string hexadecimal(std::uint32_t code) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%04X", code);
    return digits;
}

std::string to_line(const character& c) {
    const auto code = [](std::optional<std::uint32_t> n) { return n ? hexadecimal(*n) : ""; };
    const auto digit = [](std::optional<std::uint8_t> n) { return n ? std::to_string(*n) : ""; };
    const std::string values[] = {hexadecimal(c.code),       c.name,
                                  c.category,                std::to_string(c.combining),
                                  c.bidi,                    c.decomposition.value_or(""),
                                  digit(c.decimal),          digit(c.digit),
                                  c.numeric.value_or(""),    c.mirrored ? "Y" : "N",
                                  c.old_name.value_or(""),   c.comment.value_or(""),
                                  code(c.upper),             code(c.lower),
                                  code(c.title)};
    std::string line;
    for (const std::string& v : values) line.append(line.empty() ? "" : ";").append(v);
    return line;
}

std::string notation(std::uint32_t code) { return "U+" + hexadecimal(code); }

std::string glyph(const character& c) {
    if (c.category.starts_with('C') || c.category.starts_with('Z') || c.category.starts_with('M')) return {};
    const auto tail = [&](unsigned shift) { return static_cast<char>(0x80 | (c.code >> shift & 0x3F)); };
    if (c.code < 0x80) return {static_cast<char>(c.code)};
    if (c.code < 0x800) return {static_cast<char>(0xC0 | c.code >> 6), tail(0)};
    if (c.code < 0x10000) return {static_cast<char>(0xE0 | c.code >> 12), tail(6), tail(0)};
    return {static_cast<char>(0xF0 | c.code >> 18), tail(12), tail(6), tail(0)};
}

}  // namespace catalogue
