// Lets the tests of what is durable count syncs, and make them, writes and then allocations fail. The C library's `fdatasync` and
// `pwrite`, and `operator new`, are replaced in this program; see decision_log_test.cpp.
#ifndef STRATA_TEST_TRANSACTION_FAILING_SYNCS_HPP
#define STRATA_TEST_TRANSACTION_FAILING_SYNCS_HPP

#include <atomic>

namespace strata_test {

inline std::atomic<int> syncs{0};
inline std::atomic<int> failing_syncs{0};  ///< so many of the next fail
inline std::atomic<long> write_room{-1};   ///< so many bytes more can be written; -1: as many as you like
inline std::atomic<bool> starves{false};   ///< from a write on that fails there is no memory either
inline thread_local bool no_memory = false;

}  // namespace strata_test

#endif
