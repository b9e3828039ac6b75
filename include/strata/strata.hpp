// strata: stacks of policies over a database driver. Everything that needs neither a driver nor Asio nor JSON.
//
//   #include <strata/strata.hpp>
//   #include <strata/driver/sqlite.hpp>   // one include a driver
//   #include <strata/async.hpp>           // the asynchronous face, if wanted
#ifndef STRATA_STRATA_HPP
#define STRATA_STRATA_HPP

#include <strata/any_session.hpp>
#include <strata/database.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>
#include <strata/source/pool.hpp>
#include <strata/source/single.hpp>

#endif
