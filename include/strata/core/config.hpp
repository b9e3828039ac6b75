// Version of the library and the name of its inline namespace.
//
// Everything lies in `strata::STRATA_ABI`, which carries the version of strata and of Boost (its types
// are members of ours), so that two libraries of one program that were built with different ones do not clash.
#ifndef STRATA_CORE_CONFIG_HPP
#define STRATA_CORE_CONFIG_HPP

#include <boost/version.hpp>

#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0
#define STRATA_VERSION_STRING "0.1.0"

#define STRATA_PASTE_(a, b) a##b
#define STRATA_PASTE(a, b) STRATA_PASTE_(a, b)
#define STRATA_ABI STRATA_PASTE(v0_1_boost_, BOOST_VERSION)

#if BOOST_VERSION < 108100
#error "strata needs Boost 1.81 or newer (Debian 12: libboost1.81-dev)"
#endif

// Cold paths are kept out of line, hot ones inline: the passage of an empty call is a hundred instructions.
#if defined(__GNUC__) || defined(__clang__)
#define STRATA_INLINE inline __attribute__((always_inline))
#define STRATA_NOINLINE __attribute__((noinline))
#define STRATA_COLD __attribute__((noinline, cold))
#else
#define STRATA_INLINE inline
#define STRATA_NOINLINE
#define STRATA_COLD
#endif

#endif
