// What is measured of a phase, and how it is told: for people, or as JSON.
#ifndef EXAMPLE_BANK_REPORT_HPP
#define EXAMPLE_BANK_REPORT_HPP

#include "clients.hpp"

#include <string>
#include <vector>

namespace bank {

// All that the stack's layers count, read at one moment.
struct meters {
    strata::time_point at;
    strata::metrics_snapshot calls;
    strata::circuit_breaker_snapshot breaker;
    strata::pool_snapshot pool;
    std::uint64_t faults = 0;  // injected by chaos

    template <class Database>
    static meters read(Database& db) {
        return {.at = strata::clock::now(),
                .calls = db.template policy<strata::metrics<>>().snapshot(),
                .breaker = db.template policy<strata::circuit_breaker<>>().snapshot(),
                .pool = db.connections(),
                .faults = db.template policy<strata::chaos>().injected()};
    }
    [[nodiscard]] meters since(const meters& before) const;
};

// A stretch of work: what the clients did, what the layers counted meanwhile, and what should have happened and did not.
struct phase {
    std::string name;
    double seconds = 0;
    achievement did;
    meters counted;
    std::string missed;

    [[nodiscard]] double per_second() const { return seconds > 0 ? static_cast<double>(did.acknowledged) / seconds : 0; }
};

struct report {
    options asked;
    std::string place;
    std::int64_t accounts = 0;  // loaded
    double load_seconds = 0;
    std::vector<phase> phases;
    bool interrupted = false;
    std::int64_t acknowledged = 0;
    books sums{};
    std::string problem;  // why the balances are not consistent; empty when they are
};

std::string to_text(const report& r);
std::string to_json(const report& r);

}  // namespace bank

#endif
