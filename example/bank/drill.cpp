#include "drill.hpp"

#include "../common/interrupt.hpp"

#include <algorithm>
#include <limits>

namespace bank {

using namespace std::chrono_literals;

// Takes down what a phase should have shown and did not.
static void expect(phase& p, bool seen, const char* what) {
    if (!seen && !example::interrupted) p.missed.append(p.missed.empty() ? "" : "; ").append(what);
}

template <class Database>
std::vector<phase> run_drill(Database& db, const options& o, std::int64_t accounts, journal& book) {
    constexpr std::int64_t without_limit = std::numeric_limits<std::int64_t>::max();
    const std::int64_t some = std::clamp<std::int64_t>(o.transactions / 10, 500, 10'000);
    const auto too_late = [until = strata::clock::now() + 60s] { return strata::clock::now() > until; };

    auto& chaos = db.template policy<strata::chaos>();
    const auto& breaker = db.template policy<strata::circuit_breaker<>>();
    std::vector<phase> phases;
    const auto run = [&](assignment what) -> phase& { return phases.emplace_back(run_phase(db, o, accounts, book, what)); };

    // 1. One attempt in twenty finds the database busy. Retry tries again, and hardly a client notices.
    chaos.set_code(strata::errc::busy);
    chaos.set_rate(0.05);
    phase& busy = run({.title = "5 % busy", .transactions = some});
    expect(busy, busy.counted.faults > 0, "no attempt met a fault");
    expect(busy, busy.counted.calls.retries > 0, "nothing was tried again");
    expect(busy, busy.did.acknowledged > some * 9 / 10, "too many transactions failed");

    // 2. The disk is gone: every attempt fails. After a few the breaker opens, and the rest are refused without being tried.
    chaos.set_code(strata::errc::io_error);
    chaos.set_rate(1);
    phase& gone = run({.title = "disk gone", .transactions = without_limit, .enough = [&](std::int64_t) {
        return (breaker.state() == strata::circuit_state::open && breaker.snapshot().refused >= 20) || too_late();
    }});
    expect(gone, gone.counted.faults > 0, "no attempt met a fault");
    expect(gone, gone.counted.breaker.opened > 0, "the breaker did not open");
    expect(gone, gone.counted.breaker.refused > 0, "nothing was refused");

    // 3. All is well again. The breaker lets a probe through once its time is over, closes, and work goes on.
    chaos.set_rate(0);
    phase& back = run({.title = "disk back", .transactions = without_limit, .enough = [&](std::int64_t acknowledged) {
        return (breaker.state() == strata::circuit_state::closed && acknowledged >= some) || too_late();
    }});
    expect(back, back.counted.breaker.closed > 0, "the breaker did not close");
    expect(back, back.did.acknowledged >= some, "the work did not go on");
    return phases;
}

template std::vector<phase> run_drill(file_bank&, const options&, std::int64_t, journal&);
template std::vector<phase> run_drill(server_bank&, const options&, std::int64_t, journal&);

}  // namespace bank
