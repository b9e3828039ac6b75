// `result<T>`: a value or an error, for the `try_` forms. It is Boost.System's result with our error.
#ifndef STRATA_CORE_RESULT_HPP
#define STRATA_CORE_RESULT_HPP

#include <strata/core/error.hpp>

#include <boost/system/result.hpp>

namespace strata::inline STRATA_ABI {

/// A value or a `strata::error`; `value()` throws `strata::failure` when it holds an error.
template <class T>
using result = boost::system::result<T, error>;

/// Found by argument-dependent look-up from `result<T>::value()`.
[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) { throw_failure(e); }

}  // namespace strata::inline STRATA_ABI

#endif
