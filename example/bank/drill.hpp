// The fault drill: the database is busy now and then, then it is gone, then it is back. The stack must meet each as it should.
#ifndef EXAMPLE_BANK_DRILL_HPP
#define EXAMPLE_BANK_DRILL_HPP

#include "report.hpp"

namespace bank {

// Runs the clients and measures what the layers count meanwhile.
template <class Database>
phase run_phase(Database& db, const options& o, std::int64_t accounts, journal& book, const assignment& what) {
    const meters before = meters::read(db);
    phase p;
    p.name = what.title;
    p.did = run_clients(db, o, accounts, book, what);
    p.counted = meters::read(db).since(before);
    p.seconds = std::chrono::duration<double>(strata::clock::now() - before.at).count();
    return p;
}

template <class Database>
std::vector<phase> run_drill(Database& db, const options& o, std::int64_t accounts, journal& book);

}  // namespace bank

#endif
