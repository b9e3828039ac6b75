// The SQLite driver: one include. Link with -lsqlite3 (3.38 or newer).
#ifndef STRATA_DRIVER_SQLITE_HPP
#define STRATA_DRIVER_SQLITE_HPP

#include <strata/driver/sqlite/driver.hpp>
#include <strata/driver/sqlite/maintenance.hpp>

#endif
