// Lets the tests of what is durable count syncs and make them fail. The C library's `fdatasync` is replaced in this program; see
// decision_log_test.cpp.
#ifndef STRATA_TEST_TRANSACTION_FAILING_SYNCS_HPP
#define STRATA_TEST_TRANSACTION_FAILING_SYNCS_HPP

#include <atomic>

namespace strata_test {

inline std::atomic<int> syncs{0};
inline std::atomic<int> failing_syncs{0};  ///< so many of the next fail

}  // namespace strata_test

#endif
