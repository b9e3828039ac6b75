// The PostgreSQL driver: one include. Link with -lpq (libpq 14 or newer).
#ifndef STRATA_DRIVER_POSTGRES_HPP
#define STRATA_DRIVER_POSTGRES_HPP

#include <strata/driver/postgres/copy_in.hpp>
#include <strata/driver/postgres/copy_out.hpp>
#include <strata/driver/postgres/driver.hpp>
#include <strata/driver/postgres/shared_query.hpp>
#include <strata/value/array.hpp>
#include <strata/value/range.hpp>

#endif
