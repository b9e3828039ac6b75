// A queue of jobs in a table: workers that never wait for each other, each job done once, and those of a killed worker done by another.
//
// A worker locks a job by `claim` (for update skip locked), does it and removes it, in one transaction. While it works, others pass its
// job by; when it dies, the server rolls its transaction back, and the job is there again. job.hpp has tables and statements.
#include "job.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/progress.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace queue {

using namespace std::chrono_literals;

static constexpr const char* help =
    "usage: queue --database URL [OPTION]...\n"
    "\n"
    "Fills a queue in PostgreSQL, works on it until it is empty, checks that each job was done once, and removes it.\n"
    "\n"
    "  --database URL   postgresql://...; a table strata_job is made there, and strata_job_done; both are replaced\n"
    "  --jobs N         how many jobs there are (1000)\n"
    "  --workers N      threads that work, each with a connection (4)\n"
    "  --work-ms N      how long a job takes, in milliseconds (0)\n"
    "\n"
    "Several processes on one queue:\n"
    "\n"
    "  --fill           only fills\n"
    "  --work           only works, until the queue is empty\n"
    "  --check          only checks; status 1 if a job is left, or was done twice\n"
    "\n"
    "Ctrl-C: workers finish the jobs that they have begun; --work goes on with the others.\n";

struct options {
    std::string server;
    std::int64_t jobs = 1000;
    std::int64_t workers = 4;
    std::int64_t work_ms = 0;
    bool fill = true, work = true, check = true;
    bool help = false;
};

static options parse(int argc, char** argv) {
    options o;
    bool only_fill = false, only_work = false, only_check = false;
    example::command_line line(argc, argv);
    while (line.next()) {
        if (line.is("--database")) o.server = line.text();
        else if (line.is("--jobs")) o.jobs = line.number(1, 10'000'000);
        else if (line.is("--workers")) o.workers = line.number(1, 1000);
        else if (line.is("--work-ms")) o.work_ms = line.number(0, 3'600'000);
        else if (line.is("--fill")) only_fill = true;
        else if (line.is("--work")) only_work = true;
        else if (line.is("--check")) only_check = true;
        else if (line.is("--help") || line.is("-h")) o.help = true;
        else throw example::usage_error("there is no option " + line.name() + "; try --help");
    }
    if (only_fill || only_work || only_check) o.fill = only_fill, o.work = only_work, o.check = only_check;
    // The text may hold a password, so it is not shown.
    if (!o.help && !o.server.starts_with("postgresql://") && !o.server.starts_with("postgres://"))
        throw example::usage_error("--database needs a URL that begins with postgresql://");
    return o;
}

// Takes a job, does it, and writes down what came of it: all or nothing. False when there is none that nobody else has.
static bool work_on(database& db, const std::string& worker, std::chrono::milliseconds takes) {
    return db.transaction([&](auto& tx) {
        for (const job& j : tx.template claim<job>(1)) {
            std::this_thread::sleep_for(takes);  // the work
            tx.execute(write_result("id"_arg = j.id, "worker"_arg = worker, "result"_arg = static_cast<std::int64_t>(j.task.size())));
            tx.execute(remove("id"_arg = j.id));
            return true;
        }
        return false;
    });
}

// Until the queue is empty. Jobs that others have may come back, so a worker that finds none waits a little.
static void run_worker(database& db, const std::string& worker, std::chrono::milliseconds takes) {
    while (!example::interrupted) {
        if (work_on(db, worker, takes)) continue;
        if (db.one<std::int64_t>(count_left) == 0) return;
        std::this_thread::sleep_for(20ms);
    }
}

static void work(database& db, const options& o) {
    std::atomic<std::int64_t> working = o.workers;
    std::exception_ptr failure;
    std::mutex guard;
    std::vector<std::jthread> threads;
    const std::int64_t total = db.one<std::int64_t>(count_left);
    example::progress bar("jobs", total);
    for (std::int64_t w = 1; w <= o.workers; ++w) {
        threads.emplace_back([&, w] {
            try {
                run_worker(db, std::to_string(::getpid()) + "/" + std::to_string(w), std::chrono::milliseconds{o.work_ms});
            } catch (...) {
                const std::lock_guard hold(guard);
                failure = std::current_exception();
                example::interrupted = true;  // the others end in good order
            }
            --working;
        });
    }
    while (working > 0) {
        std::this_thread::sleep_for(50ms);
        if (const auto left = db.try_one<std::int64_t>(count_left)) bar.show(total - *left);
    }
    threads.clear();
    if (failure) std::rethrow_exception(failure);
}

static int check(database& db) {
    const std::int64_t left = db.one<std::int64_t>(count_left), done = db.one<std::int64_t>(count_done),
                       different = db.one<std::int64_t>(count_different);
    std::printf("jobs: %lld done by %lld workers, %lld left, %lld done twice\n", static_cast<long long>(done),
                static_cast<long long>(db.one<std::int64_t>(count_workers)), static_cast<long long>(left),
                static_cast<long long>(done - different));
    const bool right = done == different && (left == 0 || example::interrupted);
    std::printf("queue: %s\n", right ? "consistent" : "INCONSISTENT");
    return right ? 0 : 1;
}

static int run(const options& o) {
    const auto connections = static_cast<std::size_t>(o.workers) + 1;  // one for the progress
    database db = [&] {
        try {
            return database{strata::postgres_options{.connection = o.server, .application_name = "strata-queue"},
                            strata::pool_options{.min_size = 1, .max_size = connections}};
        } catch (const strata::failure& f) {
            throw example::usage_error(std::string("cannot open the queue's server: ") + f.what());
        }
    }();
    if (o.fill) {
        db.transaction([&](auto& tx) {
            tx.execute(drop_jobs);
            tx.execute(drop_done);
            tx.execute(make_jobs);
            tx.execute(make_done);
            tx.execute(fill(o.jobs));
        });
        std::printf("jobs: %lld in the queue\n", static_cast<long long>(o.jobs));
    }
    if (o.work) {
        const auto begin = strata::clock::now();
        work(db, o);
        std::printf("%s after %.2f s\n", example::interrupted ? "interrupted" : "the queue is empty",
                    std::chrono::duration<double>(strata::clock::now() - begin).count());
    }
    const int status = o.check ? check(db) : 0;
    if (o.fill && o.check) {  // all in one run
        db.execute(drop_jobs);
        db.execute(drop_done);
    }
    return status;
}

}  // namespace queue

int main(int argc, char** argv) {
    try {
        const queue::options o = queue::parse(argc, argv);
        if (o.help) {
            std::fputs(queue::help, stdout);
            return 0;
        }
        std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
        example::watch_for_interrupts();
        const int status = queue::run(o);
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw std::runtime_error("the report could not be written");
        return status;
    } catch (const example::usage_error& e) {
        std::fprintf(stderr, "queue: %s\n", e.what());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "queue: %s\n", e.what());
        return 1;
    }
}
