// A database for the negative tests of the faces.
#ifndef STRATA_TEST_COMPILE_FAIL_FACE_HPP
#define STRATA_TEST_COMPILE_FAIL_FACE_HPP

#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

using namespace strata::literals;
using bank = strata::stack<strata::metrics<>, strata::pool<>, strata::sqlite>;

#endif
