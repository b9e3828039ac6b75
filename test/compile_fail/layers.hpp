// Layers without behaviour, to build stacks from that are right or wrong.
#ifndef STRATA_TEST_COMPILE_FAIL_LAYERS_HPP
#define STRATA_TEST_COMPILE_FAIL_LAYERS_HPP

#include <strata/stack.hpp>

struct outer { static constexpr auto place = strata::place::observe; };
struct inner { static constexpr auto place = strata::place::attempt; };
struct source { static constexpr auto place = strata::place::source; };
struct driver { static constexpr auto place = strata::place::driver; };

/// What the faces do with their stack.
template <class Stack>
inline constexpr bool accepted = sizeof(strata::detail::stack_traits<Stack>) > 0;

#endif
