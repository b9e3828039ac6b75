// The fault drill: the database is busy now and then, then it is gone, then it is back. The stack must meet each as it should.
#ifndef EXAMPLE_BANK_DRILL_HPP
#define EXAMPLE_BANK_DRILL_HPP

#include "report.hpp"

namespace bank {

// Runs the clients and measures what the layers count meanwhile.
phase run_phase(database& db, const options& o, std::int64_t accounts, journal& book, const assignment& what);

std::vector<phase> run_drill(database& db, const options& o, std::int64_t accounts, journal& book);

}  // namespace bank

#endif
