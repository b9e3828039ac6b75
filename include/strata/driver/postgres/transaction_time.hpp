// Whether a statement may ask when its transaction began. Statements that share a transaction would be told the same.
#ifndef STRATA_DRIVER_POSTGRES_TRANSACTION_TIME_HPP
#define STRATA_DRIVER_POSTGRES_TRANSACTION_TIME_HPP

#include <strata/sql/words.hpp>

#include <cstddef>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// By the words in it, wherever they stand: now, today and its like, current_timestamp and its like, age. May say so of one that does not.
[[nodiscard]] constexpr bool tells_transaction_time(std::string_view sql) noexcept {
    constexpr std::string_view words[] = {"now",
                                          "transaction_timestamp",
                                          "current_timestamp",
                                          "current_time",
                                          "current_date",
                                          "localtimestamp",
                                          "localtime",
                                          "age",
                                          "today",
                                          "tomorrow",
                                          "yesterday"};
    const auto is_part = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
    for (std::size_t begin = 0; begin < sql.size();) {
        std::size_t end = begin;
        while (end < sql.size() && is_part(sql[end])) ++end;
        for (const std::string_view word : words)
            if (end - begin == word.size() && same_folded(sql.substr(begin, end - begin), word)) return true;
        begin = end == begin ? end + 1 : end;
    }
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
