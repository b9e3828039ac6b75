// The row that the postgres.rows lines read. Nothing of strata.
#ifndef BENCH_POSTGRES_ROW_HPP
#define BENCH_POSTGRES_ROW_HPP

#include "measure.hpp"

#include <bit>
#include <cstdint>
#include <string>

struct measurement {
    std::int32_t id = 0;
    std::int64_t total = 0;
    std::string name;
    double value = 0;
};

namespace bench {

inline void add(checksum& sum, const measurement& m) noexcept {
    sum.add(m.id);
    sum.add(m.total);
    sum.add(m.name);
    sum.add(std::bit_cast<std::int64_t>(m.value));
}

}  // namespace bench

#endif
