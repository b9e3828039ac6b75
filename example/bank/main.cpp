// A bank on an SQLite file: clients that move money at the same time, faults that are survived, books that agree.
//
// bank.hpp is where to begin to read, then move_money and client in clients.cpp, then drill.cpp.
#include "drill.hpp"
#include "ledger.hpp"
#include "report.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/scratch_folder.hpp"

#include <cstdio>
#include <optional>

namespace bank {

using namespace std::chrono_literals;

// Options reach their layer by type, in any order; a layer that gets none has its defaults. That the file cannot be used is
// the user's affair: status 2.
static database open(const std::string& file, bool create_file) {
    try {
        return database{
            strata::sqlite_options{.path = file, .create = create_file},  // what it acknowledges survives a power cut
            strata::pool_options{.max_size = 4},                          // one connection writes, three read
            strata::total_timeout_options{.limit = 60s},
            strata::attempt_timeout_options{.limit = 20s},
            strata::retry_options{.max_attempts = 5, .patience = 5ms},    // a breaker that stays open for longer ends a call at once
            strata::circuit_breaker_options{.consecutive_failures = 5, .open_time = 200ms}};
    } catch (const strata::failure& f) {
        throw example::usage_error("cannot open " + file + ": " + f.what());
    }
}

static void make_tables(database& db, const std::string& file) {
    try {
        if (!may_be_replaced(db)) throw example::usage_error(file + " holds something else than a bank: name another file");
        create(db);
    } catch (const strata::failure& f) {
        throw example::usage_error("cannot write " + file + ": " + f.what());
    }
}

// Why the books are not in order; empty when they are.
static std::string problem_of(const report& r) {
    if (!r.sums.agree()) return "the sums of branches, tellers, accounts and history differ";
    for (const phase& p : r.phases) {
        if (p.did.in_doubt != 0) return p.name + ": nobody knows whether " + std::to_string(p.did.in_doubt) + " transactions took place";
    }
    if (r.sums.history_rows != r.acknowledged) return "the history does not hold exactly the acknowledged transactions";
    for (const phase& p : r.phases) {
        if (!p.missed.empty()) return p.name + ": " + p.missed;
    }
    return {};
}

static int conclude(const std::string& problem, std::FILE* out) {
    if (problem.empty()) std::fputs("balances: consistent\n", out);
    else std::fprintf(out, "balances: INCONSISTENT: %s\n", problem.c_str());
    return problem.empty() ? 0 : 1;
}

static int run(const options& o) {
    std::optional<example::scratch_folder> scratch;
    if (o.file.empty()) scratch.emplace("strata-bank");
    report r;
    r.asked = o;
    r.file = scratch ? scratch->file("bank.db") : o.file;

    journal book(o.acknowledge);
    database db = open(r.file, true);
    make_tables(db, r.file);
    std::FILE* const out = o.json ? stderr : stdout;  // for all but the report
    std::fprintf(out, "bank in %s%s: %lld clients, seed %llu\n", r.file.c_str(), scratch ? " (removed at the end)" : "",
                 static_cast<long long>(o.clients), static_cast<unsigned long long>(o.seed));

    const strata::time_point begin = strata::clock::now();
    r.accounts = load(db, o.accounts);
    r.load_seconds = std::chrono::duration<double>(strata::clock::now() - begin).count();
    std::fprintf(out, "%lld accounts in %.2f s\n", static_cast<long long>(r.accounts), r.load_seconds);

    r.phases.push_back(run_phase(db, o, r.accounts, book, {.title = "transactions", .transactions = o.transactions}));
    if (o.faults && !example::interrupted) {
        for (phase& p : run_drill(db, o, r.accounts, book)) r.phases.push_back(std::move(p));
    }

    r.interrupted = example::interrupted;
    r.acknowledged = book.acknowledged();
    r.sums = audit(db);
    r.problem = problem_of(r);
    std::fputs(o.json ? to_json(r).c_str() : to_text(r).c_str(), stdout);
    return conclude(r.problem, out);
}

// The books of a bank that somebody else has left.
static int check(const options& o) {
    database db = open(o.file, false);
    const books sums = audit(db);
    std::printf("bank in %s: %lld transactions in the history\n", o.file.c_str(), static_cast<long long>(sums.history_rows));
    if (!sums.agree()) return conclude("the sums of branches, tellers, accounts and history differ", stdout);
    if (o.acknowledge.empty()) return conclude("", stdout);

    const std::vector<std::int64_t> missing = missing_in_history(db, o.acknowledge);
    std::printf("acknowledged transactions that are not in the history: %zu\n", missing.size());
    return conclude(missing.empty() ? "" : "acknowledged, but not in the history: " + std::to_string(missing.front()), stdout);
}

}  // namespace bank

int main(int argc, char** argv) {
    try {
        const bank::options o = bank::parse(argc, argv);
        if (o.help) {
            std::fputs(bank::help, stdout);
            return 0;
        }
        std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
        example::watch_for_interrupts();
        return o.check ? bank::check(o) : bank::run(o);
    } catch (const example::usage_error& e) {
        std::fprintf(stderr, "bank: %s\n", e.what());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bank: %s\n", e.what());
        return 1;
    }
}
