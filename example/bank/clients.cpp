#include "clients.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/progress.hpp"

#include <strata/async.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace bank {

namespace asio = boost::asio;
using namespace std::chrono_literals;

journal::journal(const std::string& file) {
    if (file.empty()) return;
    file_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file_ < 0) throw example::usage_error("cannot write " + file);
}

journal::~journal() {
    if (file_ >= 0) ::close(file_);
}

void journal::acknowledge(std::int64_t id) {
    ++acknowledged_;
    if (file_ < 0) return;
    const std::string line = std::to_string(id) + '\n';
    const ssize_t written = ::write(file_, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) throw std::runtime_error("cannot write down an acknowledgement");
}

// The transactions of one assignment: hands them out and takes down how each ended. Thread-safe.
class desk {
public:
    desk(journal& book, std::int64_t accounts, const assignment& what) : book_(book), accounts_(accounts), what_(what) {}

    // Another transaction, unless it is time to stop.
    std::optional<transfer> next(std::mt19937_64& choose) {
        if (example::interrupted || what_.enough(acknowledged_) || begun_.fetch_add(1) >= what_.transactions) return {};
        const auto any = [&](std::int64_t least, std::int64_t most) { return std::uniform_int_distribution(least, most)(choose); };
        return transfer{.id = book_.next(),
                        .account = any(1, accounts_),
                        .teller = any(1, tellers),
                        .branch = 1,
                        .delta = any(-5'000, 5'000)};
    }

    void acknowledge(const transfer& t) {
        book_.acknowledge(t.id);
        ++acknowledged_;
    }

    void decline(const strata::error& e) {
        std::lock_guard guard(lock_);
        ++failed_;
        if (e.effect() == strata::effect::unknown) ++in_doubt_;
        last_error_ = e.to_string();
    }

    std::int64_t acknowledged() const { return acknowledged_; }
    achievement result() {
        std::lock_guard guard(lock_);
        return {acknowledged_ + failed_, acknowledged_, failed_, in_doubt_, last_error_};
    }

private:
    journal& book_;
    const std::int64_t accounts_;
    const assignment& what_;
    std::atomic<std::int64_t> begun_{0};
    std::atomic<std::int64_t> acknowledged_{0};
    std::mutex lock_;
    std::int64_t failed_ = 0;
    std::int64_t in_doubt_ = 0;
    std::string last_error_;
};

// The heart of the bank. It may run again after a conflict: then all that it did was rolled back.
template <class Transaction>
static asio::awaitable<std::int64_t> move_money(Transaction& tx, const transfer& t) {
    co_await tx.async_execute(strata::bind_members(credit_account, t));
    const auto balance = co_await tx.template async_one<std::int64_t>(strata::bind_members(account_balance, t));
    co_await tx.async_execute(strata::bind_members(credit_teller, t));
    co_await tx.async_execute(strata::bind_members(credit_branch, t));
    co_await tx.async_execute(strata::bind_members(write_history, t));
    co_return balance;
}

template <class Face>
static asio::awaitable<void> client(Face db, desk& work, std::uint64_t seed) {
    std::mt19937_64 choose(seed);
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (const std::optional<transfer> t = work.next(choose)) {
        const auto balance = co_await db.async_try_transaction([&](auto& tx) { return move_money(tx, *t); });
        if (balance) {
            work.acknowledge(*t);  // committed: from here on it must be in the books, whatever happens
            continue;
        }
        work.decline(balance.error());
        // An open breaker says when to come back. A client has other things to do until then, but looks in every 10 ms.
        timer.expires_after(std::min<strata::duration>(balance.error().retry_after(), 10ms));
        co_await timer.async_wait(asio::use_awaitable);
    }
}

template <class Database>
achievement run_clients(Database& db, const options& o, std::int64_t accounts, journal& book, const assignment& what) {
    if (example::interrupted) return {};
    desk work(book, accounts, what);
    asio::thread_pool threads(std::max(std::thread::hardware_concurrency(), 1u));
    const auto face = db.async(threads.get_executor());

    std::vector<std::future<void>> clients;
    for (std::int64_t i = 0; i < o.clients; ++i) {
        const std::uint64_t seed = o.seed * 10'000 + static_cast<std::uint64_t>(i);
        clients.push_back(asio::co_spawn(threads, client(face, work, seed), asio::use_future));
    }

    example::progress bar(what.title, what.transactions);
    for (std::future<void>& c : clients) {
        while (c.wait_for(20ms) == std::future_status::timeout) bar.show(work.acknowledged());
    }
    bar.show(work.acknowledged());
    for (std::future<void>& c : clients) c.get();  // throws what the client threw
    return work.result();
}

template achievement run_clients(file_bank&, const options&, std::int64_t, journal&, const assignment&);
template achievement run_clients(server_bank&, const options&, std::int64_t, journal&, const assignment&);

}  // namespace bank
