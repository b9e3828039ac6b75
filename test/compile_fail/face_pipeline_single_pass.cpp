// expect: strata: the elements of a pipeline's statement must be a forward range: some may be sent again
// needs: sqlite
#include "face.hpp"

#include <strata/pipeline.hpp>

#include <sstream>

struct once {
    std::istream_iterator<int> first;
    [[nodiscard]] auto begin() const { return first; }
    [[nodiscard]] auto end() const { return std::istream_iterator<int>{}; }
};

constexpr auto remove_one = "delete from account where id = :id"_sql;
#ifdef STRATA_CONTROL
auto f(const std::vector<int>& ids) { return strata::execute_each(remove_one, ids); }
#else
auto f(const once& ids) { return strata::execute_each(remove_one, ids); }
#endif
