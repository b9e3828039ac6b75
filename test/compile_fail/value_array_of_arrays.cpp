// expect: strata: an array's elements are no arrays; several dimensions are strata::array<T>
#include <strata/value/array.hpp>

#include <vector>

#ifdef STRATA_CONTROL
using matrix = strata::array<int>;
#else
using matrix = std::vector<std::vector<int>>;
#endif
constexpr std::string_view name = strata::codec<matrix>::name;
