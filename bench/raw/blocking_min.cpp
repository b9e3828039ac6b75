// The base of compile.blocking: the smallest blocking SQLite program by hand. Its includes are the ones that
// every program of this kind needs; the bound on strata's compile time is relative to exactly these.
#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::int64_t version = 0;
};

std::optional<account> find(sqlite3* db, std::int64_t id) {
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v2(db, "select id, owner, balance, version from account where id = ?1", -1, &s, nullptr) != SQLITE_OK) return {};
    sqlite3_bind_int64(s, 1, id);
    std::optional<account> found;
    if (sqlite3_step(s) == SQLITE_ROW) {
        found.emplace();
        found->id = sqlite3_column_int64(s, 0);
        found->owner = reinterpret_cast<const char*>(sqlite3_column_text(s, 1));
        found->balance = sqlite3_column_int64(s, 2);
        found->version = sqlite3_column_int64(s, 3);
    }
    sqlite3_finalize(s);
    return found;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    sqlite3* db = nullptr;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK) return 1;
    const std::optional<account> a = find(db, 7);
    sqlite3_close(db);
    return a && a->owner == "owner-7" ? 0 : 1;
}
