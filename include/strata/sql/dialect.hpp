// The two dialects whose lexical rules strata knows.
#ifndef STRATA_SQL_DIALECT_HPP
#define STRATA_SQL_DIALECT_HPP

#include <strata/core/config.hpp>

#include <cstdint>

namespace strata::inline STRATA_ABI {

/// Whose lexical rules a text is read under. PostgreSQL is read with `standard_conforming_strings = on` (its default).
enum class dialect : std::uint8_t { postgres, sqlite };

}  // namespace strata::inline STRATA_ABI

#endif
