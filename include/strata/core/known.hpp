// A fact about an operation: settled at compile time, or asked of the object at run time.
#ifndef STRATA_CORE_KNOWN_HPP
#define STRATA_CORE_KNOWN_HPP

#include <strata/core/config.hpp>

#include <cstdint>

namespace strata::inline STRATA_ABI {

enum class known : std::uint8_t { no, yes, at_run_time };

}  // namespace strata::inline STRATA_ABI

#endif
