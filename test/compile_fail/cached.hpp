// A database with a cache and a fallback for the negative tests.
#ifndef STRATA_TEST_COMPILE_FAIL_CACHED_HPP
#define STRATA_TEST_COMPILE_FAIL_CACHED_HPP

#include <strata/driver/sqlite.hpp>
#include <strata/policy/cache.hpp>
#include <strata/policy/fallback.hpp>
#include <strata/strata.hpp>

using namespace strata::literals;
using bank = strata::stack<strata::pool<>, strata::sqlite>;
using cached_bank = strata::stack<strata::fallback<>, strata::cache<>, strata::pool<>, strata::sqlite>;
constexpr auto names = "select name from city"_sql;

#endif
