// The bank's clients: coroutines over a few threads that share one database.
#ifndef EXAMPLE_BANK_CLIENTS_HPP
#define EXAMPLE_BANK_CLIENTS_HPP

#include "bank.hpp"
#include "options.hpp"

#include <atomic>
#include <functional>
#include <string>

namespace bank {

// Numbers the transactions and writes down which were acknowledged: in memory, and in a file if one is wanted. Thread-safe.
class journal {
public:
    explicit journal(const std::string& file);
    journal(const journal&) = delete;
    journal& operator=(const journal&) = delete;
    ~journal();

    std::int64_t next() { return ++last_; }
    void acknowledge(std::int64_t id);
    [[nodiscard]] std::int64_t acknowledged() const { return acknowledged_; }

private:
    std::atomic<std::int64_t> last_{0};
    std::atomic<std::int64_t> acknowledged_{0};
    int file_ = -1;
};

// What the clients shall do together: so many transactions, or fewer if `enough` says so before one of them begins.
struct assignment {
    std::string title;
    std::int64_t transactions = 0;
    std::function<bool(std::int64_t acknowledged)> enough = [](std::int64_t) { return false; };
};

// How it went.
struct achievement {
    std::int64_t begun = 0;
    std::int64_t acknowledged = 0;
    std::int64_t failed = 0;    // with an error: not in the books
    std::int64_t in_doubt = 0;  // of these, nobody knows: a server was lost at COMMIT. SQLite never leaves one
    std::string last_error;
};

template <class Database>  // a file_bank or a server_bank
achievement run_clients(Database& db, const options& o, std::int64_t accounts, journal& book, const assignment& what);

}  // namespace bank

#endif
