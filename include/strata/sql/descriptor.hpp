// All that drivers and caches need of one statement's text: made at compile time for literals, once for run-time texts.
#ifndef STRATA_SQL_DESCRIPTOR_HPP
#define STRATA_SQL_DESCRIPTOR_HPP

#include <strata/sql/facts.hpp>
#include <strata/sql/hash.hpp>

#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// One statement text. Immutable; static for literals, shared by copies of a `strata::statement` otherwise.
///
/// Its address is no key (a reloaded library may get the same one): `hash` is. Equal hashes send equal texts to a database.
struct descriptor {
    std::string_view text;                    ///< as written; data() is NUL-terminated
    hash128 hash;                             ///< of what is sent to a database
    std::string_view sqlite_text;             ///< with ?1 ?2 ...; NUL-terminated; data() is null where the text does not fit SQLite
    std::string_view postgres_text;           ///< with $1 $2 ...; the same
    const std::string_view* names = nullptr;  ///< of the parameters, in their order
    std::uint16_t parameters = 0;
    statement_kind kind = statement_kind::other;
    bool idempotent = false;       ///< by the text; the user may have said so of a bound statement
    std::uint16_t statements = 0;  ///< how many the text holds
    bool on_session = false;       ///< of a literal: it may leave something in its session, or asks about it

    [[nodiscard]] constexpr std::string_view text_for(dialect d) const noexcept {
        return d == dialect::postgres ? postgres_text : sqlite_text;
    }
    [[nodiscard]] constexpr bool fits(dialect d) const noexcept { return text_for(d).data() != nullptr; }
    /// Name of parameter `index`, from 0; empty when there is none.
    [[nodiscard]] constexpr std::string_view parameter(std::size_t index) const noexcept {
        return index < parameters ? names[index] : std::string_view{};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
