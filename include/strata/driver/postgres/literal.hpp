// Arrays, records, ranges and hstores as the texts that PostgreSQL parses, for parts that have no plain binary form.
//
// Every part is quoted, so that none can be taken for NULL or for two; a quote and a backslash get a backslash before them, which
// all these grammars understand.
#ifndef STRATA_DRIVER_POSTGRES_LITERAL_HPP
#define STRATA_DRIVER_POSTGRES_LITERAL_HPP

#include <strata/value/column.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

inline void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

/// One literal, part by part.
class nested_literal {
public:
    nested_literal(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags)
        : what_(what), flags_(flags), dimensions_(dimensions.begin(), dimensions.end()) {
        if (what == nesting::array) begin_array();
        if (what == nesting::record) text_ = "(";
        if (what == nesting::multirange) text_ = "{";
        if (what == nesting::range) {
            text_ = (flags & range_flag::empty) != 0 ? "empty" : (flags & range_flag::lower_included) != 0 ? "[" : "(";
            if ((flags & (range_flag::empty | range_flag::lower_infinite)) == range_flag::lower_infinite) text_ += ',';
        }
    }

    void part(std::string_view text) {
        before();
        if (what_ == nesting::multirange)
            text_ += text;  // a range, whose own bounds are quoted
        else
            append_quoted(text_, text);
        after();
    }
    void null_part() {
        before();
        if (what_ != nesting::record) text_ += "NULL";
        after();
    }
    [[nodiscard]] std::string finish() && {
        if (what_ == nesting::record) text_ += ')';
        if (what_ == nesting::multirange || (what_ == nesting::array && dimensions_.empty())) text_ += '}';
        if (what_ == nesting::range && (flags_ & range_flag::empty) == 0) text_ += (flags_ & range_flag::upper_included) != 0 ? ']' : ')';
        return std::move(text_);
    }

private:
    void begin_array() {
        if (dimensions_.empty()) text_ = "{";
        bool usual = true;
        for (const array_dimension& d : dimensions_) usual = usual && d.lower == 1;
        if (usual) return;
        for (const array_dimension& d : dimensions_)
            text_ += '[' + std::to_string(d.lower) + ':' + std::to_string(std::int64_t{d.lower} + d.size - 1) + ']';
        text_ += '=';
    }
    /// How many dimensions begin, or end, at part number `n`: as many of the last ones as `n` is a multiple of.
    [[nodiscard]] std::size_t borders(std::size_t n) const noexcept {
        std::size_t count = 0;
        std::size_t stride = 1;
        for (std::size_t i = dimensions_.size(); i > 0; --i, ++count) {
            stride *= static_cast<std::size_t>(dimensions_[i - 1].size);
            if (stride == 0 || n % stride != 0) break;
        }
        return count;
    }
    void before() {
        if (what_ == nesting::pairs && parts_ % 2 != 0)
            text_ += "=>";
        else if (parts_ != 0 && what_ != nesting::range)
            text_ += ',';
        if (what_ == nesting::array) text_.append(borders(parts_), '{');
    }
    void after() {
        ++parts_;
        if (what_ == nesting::array) text_.append(borders(parts_), '}');
        if (what_ == nesting::range && parts_ == 1 && (flags_ & range_flag::lower_infinite) == 0) text_ += ',';
    }

    nesting what_;
    std::uint8_t flags_;
    std::vector<array_dimension> dimensions_;
    std::size_t parts_ = 0;
    std::string text_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
