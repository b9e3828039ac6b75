// The table of conditions: what may be tried again, what says that the database is ill.
#include <strata/policy/conditions.hpp>

#include <support/catch.hpp>

#include <set>

using strata::errc;
using strata::health_sign;

TEST_CASE("the transient conditions are these and no others", "[conditions]") {
    const std::set<errc> transient{errc::busy,     errc::busy_snapshot,      errc::locked,         errc::serialization_failure,
                                   errc::deadlock, errc::lock_not_available, errc::cannot_connect, errc::connection_lost,
                                   errc::timeout,  errc::outcome_unknown};
    for (int i = 0; i <= static_cast<int>(errc::unknown); ++i) {
        const auto code = static_cast<errc>(i);
        CAPTURE(code);
        CHECK(strata::traits_of(code).transient == transient.contains(code));
    }
}

TEST_CASE("the signs of illness are these and no others", "[conditions]") {
    const std::set<errc> ill{errc::cannot_connect, errc::connection_lost, errc::timeout,        errc::disk_full,      errc::io_error,
                             errc::corrupt,        errc::out_of_memory,   errc::not_a_database, errc::outcome_unknown};
    const std::set<errc> silent{errc::circuit_open,     errc::bulkhead_full,    errc::rate_limited,      errc::pool_exhausted,
                                errc::pool_unreachable, errc::shutting_down,    errc::refused,           errc::access_denied,
                                errc::cancelled,        errc::invalid_argument, errc::invalid_statement, errc::user_exception,
                                errc::user_error,       errc::misuse,           errc::unsupported,       errc::unknown,
                                errc::not_run,          errc::commit_pending,   errc::heuristic_outcome};
    for (int i = 0; i <= static_cast<int>(errc::unknown); ++i) {
        const auto code = static_cast<errc>(i);
        CAPTURE(code);
        const health_sign expected = ill.contains(code) ? health_sign::ill : silent.contains(code) ? health_sign::none : health_sign::good;
        CHECK((strata::traits_of(code).sign == expected));
    }
}

TEST_CASE("a refusal of this process says nothing, nor does a timeout that proves nothing", "[conditions]") {
    strata::operation_base op;
    const auto sign = [&](const strata::error& e) { return strata::sign_of(e, op); };
    CHECK((sign(strata::error{errc::io_error, strata::phase::execute}) == health_sign::ill));
    CHECK((sign(std::move(strata::error{errc::io_error, strata::phase::execute}.set_local())) == health_sign::none));
    CHECK((sign(strata::error{errc::timeout, strata::phase::execute}) == health_sign::ill));
    CHECK((sign(strata::error{errc::timeout, strata::phase::connect}) == health_sign::ill));
    CHECK((sign(strata::error{errc::timeout, strata::phase::acquire}) == health_sign::none));
    CHECK((sign(strata::error{errc::timeout, strata::phase::admission}) == health_sign::none));
    op.hurried = true;
    CHECK((sign(strata::error{errc::timeout, strata::phase::execute}) == health_sign::none));
    CHECK((sign(strata::error{errc::connection_lost, strata::phase::execute}) == health_sign::ill));
}
