// A bank in an SQLite file or on a PostgreSQL server: clients that move money at the same time, faults that are survived, books that agree.
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
#include <stdexcept>
#include <string>

namespace bank {

using namespace std::chrono_literals;

// Options reach their layer by type, in any order; a layer that gets none has its defaults. That the database cannot be used is
// the user's affair: status 2.
template <class Database, class DriverOptions>
static Database open(const DriverOptions& driver, std::size_t connections, const std::string& place) {
    try {
        return Database{
            driver,
            strata::pool_options{.min_size = 1, .max_size = connections},
            strata::total_timeout_options{.limit = 60s},
            strata::attempt_timeout_options{.limit = 20s},
            strata::retry_options{.max_attempts = 5, .patience = 5ms},  // a breaker that stays open for longer ends a call at once
            strata::circuit_breaker_options{.consecutive_failures = 5, .open_time = 200ms}};
    } catch (const strata::failure& f) {
        throw example::usage_error("cannot open " + place + ": " + f.what());
    }
}

// Opens what the user asked for; `work` gets it and the name of its place.
template <class Work>
static int with_bank(const options& o, const Work& work) {
    if (o.server.empty()) {
        // What it acknowledges survives a power cut. One connection writes, three read.
        auto db = open<file_bank>(strata::sqlite_options{.path = o.file, .create = !o.check}, 4, o.file);
        return work(db, o.file);
    }
    auto db = open<server_bank>(strata::postgres_options{.connection = o.server, .application_name = "strata-bank"}, 8,
                                "the bank's server");  // not by its URL, which may hold a password
    return work(db, server_of(db));
}

static void make_tables(strata::any_session db, const std::string& place) {
    try {
        if (!may_be_replaced(db)) throw example::usage_error(place + " holds something else than a bank: name another one");
        create(db);
    } catch (const strata::failure& f) {
        throw example::usage_error("cannot write " + place + ": " + f.what());
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

template <class Database>
static int run(Database& db, const options& o, const std::string& place) {
    report r;
    r.asked = o;
    r.place = place;
    journal book(o.acknowledge);
    make_tables(db, place);
    std::FILE* const out = o.json ? stderr : stdout;  // for all but the report
    std::fprintf(out, "bank in %s%s: %lld clients, seed %llu\n", place.c_str(), o.is_temporary ? " (removed at the end)" : "",
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
static int check(strata::any_session db, const options& o, const std::string& place) {
    const books sums = [&] {
        try {
            return audit(db);
        } catch (const strata::failure& f) {
            using strata::errc;
            if (f.error().code() != errc::undefined_object && f.error().code() != errc::not_a_database) throw;
            throw example::usage_error(place + " holds no bank: " + std::string(f.error().message()));
        }
    }();
    std::printf("bank in %s: %lld transactions in the history\n", place.c_str(), static_cast<long long>(sums.history_rows));
    if (!sums.agree()) return conclude("the sums of branches, tellers, accounts and history differ", stdout);
    if (o.acknowledge.empty()) return conclude("", stdout);

    const std::vector<std::int64_t> missing = missing_in_history(db, o.acknowledge);
    std::printf("acknowledged transactions that are not in the history: %zu\n", missing.size());
    return conclude(missing.empty() ? "" : "acknowledged, but not in the history: " + std::to_string(missing.front()), stdout);
}

}  // namespace bank

int main(int argc, char** argv) {
    try {
        bank::options o = bank::parse(argc, argv);
        if (o.help) {
            std::fputs(bank::help, stdout);
            return 0;
        }
        std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
        example::watch_for_interrupts();
        std::optional<example::scratch_folder> scratch;
        if (o.file.empty() && o.server.empty()) {
            scratch.emplace("strata-bank");
            o.file = scratch->file("bank.db");
            o.is_temporary = true;
        }
        const int status = bank::with_bank(o, [&](auto& db, const std::string& place) {
            return o.check ? bank::check(db, o, place) : bank::run(db, o, place);
        });
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw std::runtime_error("the report could not be written");
        return status;
    } catch (const example::usage_error& e) {
        std::fprintf(stderr, "bank: %s\n", e.what());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bank: %s\n", e.what());
        return 1;
    }
}
