// strata: stacks of policies over a database driver. What most programs need of it, without driver, Asio and JSON.
//
//   #include <strata/strata.hpp>
//   #include <strata/driver/sqlite.hpp>   // one include a driver
//   #include <strata/async.hpp>           // the asynchronous face, if wanted
//
// What only some programs use costs the others no compile time and has a header of its own: run-time statements
// (sql/statement.hpp), dynamic rows (value/row.hpp), times (value/chrono.hpp), value/uuid.hpp, value/decimal.hpp,
// value/json.hpp, value/interval.hpp, composites, ranges and other values of PostgreSQL (value/), testing/chaos.hpp, testing/scripted.hpp.
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
