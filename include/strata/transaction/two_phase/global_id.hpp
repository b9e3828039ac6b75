// The name under which a branch of a distributed transaction is prepared in its database.
//
//   strata:bank-transfers:6b1c0f0e5a7d4c21:3.1047.0            coordinator's name and log, opening, number, branch
//   strata:bank-transfers:6b1c0f0e5a7d4c21:3.1048.1:09d3...    its decision stands in the SQLite file of this identity
//
// At most 150 of PostgreSQL's 199 bytes, and no character that would have to be quoted.
#ifndef STRATA_TRANSACTION_TWO_PHASE_GLOBAL_ID_HPP
#define STRATA_TRANSACTION_TWO_PHASE_GLOBAL_ID_HPP

#include <strata/core/joined.hpp>
#include <strata/transaction/two_phase/decision.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Of every coordinator.
inline constexpr std::string_view global_prefix = "strata:";

/// 16 digits, the same for the same number.
[[nodiscard]] inline std::string hex_of(std::uint64_t n) {
    std::string s(16, '0');
    for (std::size_t i = 16; i-- > 0; n >>= 4) s[i] = "0123456789abcdef"[n & 15];
    return s;
}

[[nodiscard]] inline std::string decimal_of(std::uint64_t n) {
    std::string s;
    do s.insert(s.begin(), static_cast<char>('0' + n % 10));
    while ((n /= 10) != 0);
    return s;
}

struct global_id {
    transaction_number id;
    std::uint32_t branch = 0;
    std::uint64_t last_resource = 0;  ///< 0: the coordinator's log decides

    /// `coordinator`: what all its ids begin with, up to the last colon.
    [[nodiscard]] std::string to_string(std::string_view coordinator) const {
        std::string s{coordinator};
        s.append(decimal_of(id.opening)).append(".").append(decimal_of(id.number)).append(".").append(decimal_of(branch));
        if (last_resource != 0) s.append(":").append(hex_of(last_resource));
        return s;
    }

    /// Nothing for what this coordinator cannot have written.
    [[nodiscard]] static std::optional<global_id> read(std::string_view text, std::string_view coordinator) {
        if (!text.starts_with(coordinator)) return std::nullopt;
        std::string_view rest = text.substr(coordinator.size());
        global_id g;
        g.id.opening = static_cast<std::uint32_t>(number(rest, 10));
        skip(rest, '.');
        g.id.number = number(rest, 10);
        skip(rest, '.');
        g.branch = static_cast<std::uint32_t>(number(rest, 10));
        if (skip(rest, ':')) g.last_resource = number(rest, 16);
        return g.to_string(coordinator) == text ? std::optional{g} : std::nullopt;
    }

private:
    [[nodiscard]] static std::uint64_t number(std::string_view& rest, std::uint64_t base) noexcept {
        constexpr std::string_view digits = "0123456789abcdef";
        std::uint64_t n = 0;
        for (std::size_t digit = 0; !rest.empty() && (digit = digits.find(rest[0])) < base; rest.remove_prefix(1)) n = n * base + digit;
        return n;
    }
    static bool skip(std::string_view& rest, char c) noexcept {
        if (rest.empty() || rest[0] != c) return false;
        rest.remove_prefix(1);
        return true;
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
