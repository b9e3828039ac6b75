// The asynchronous face: everything of strata that needs Boost.Asio.
#ifndef STRATA_ASYNC_HPP
#define STRATA_ASYNC_HPP

#include <strata/strata.hpp>

#include <strata/async/any_session.hpp>
#include <strata/async/database.hpp>

#endif
