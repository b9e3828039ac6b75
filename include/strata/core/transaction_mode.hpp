// How a transaction begins, once all defaults are in: what a driver makes its BEGIN of.
#ifndef STRATA_CORE_TRANSACTION_MODE_HPP
#define STRATA_CORE_TRANSACTION_MODE_HPP

#include <strata/core/config.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What transactions that run at once may see of each other, at most. A database may give more than it is asked for: SQLite's transactions
/// are always serializable. From weak to strong, so that they compare.
enum class isolation : std::uint8_t {
    read_committed,   ///< each statement sees what was committed before it
    repeatable_read,  ///< all statements see one snapshot; a write that conflicts is `errc::serialization_failure`
    serializable      ///< as if one ran after the other; may end with `errc::serialization_failure` at any statement, and at COMMIT
};

[[nodiscard]] constexpr std::string_view to_string(isolation i) noexcept {
    constexpr std::string_view names[] = {"read_committed", "repeatable_read", "serializable"};
    return names[static_cast<std::size_t>(i)];
}

namespace detail {

/// For a database whose locks are taken when statements need them.
struct no_locking {};

/// `Locking`: the driver's kinds of BEGIN, where it has some.
template <class Locking = no_locking>
struct transaction_mode {
    bool read_only = false;
    bool deferrable = false;
    std::optional<strata::isolation> isolation = std::nullopt;  ///< empty: the database's default
    std::optional<Locking> locking = std::nullopt;              ///< empty: what is right for reading or writing

    /// Why there can be no such transaction; null when there can.
    [[nodiscard]] constexpr const char* contradiction() const noexcept {
        if (deferrable && !(read_only && isolation == strata::isolation::serializable))
            return "deferrable means something for a serializable transaction that only reads: set read_only = true and isolation = "
                   "strata::isolation::serializable too";
        return nullptr;
    }
};

/// What a database says of a COMMIT whose answer was lost.
enum class commit_fate : std::uint8_t { unknown, committed, rolled_back };

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
