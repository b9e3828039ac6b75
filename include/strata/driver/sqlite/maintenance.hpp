// Care of a database file while it is in use: copy it, shorten its log, look for damage.
// All three block, honour the connection's guard, and are meant for a leased connection.
#ifndef STRATA_DRIVER_SQLITE_MAINTENANCE_HPP
#define STRATA_DRIVER_SQLITE_MAINTENANCE_HPP

#include <strata/core/joined.hpp>
#include <strata/core/result.hpp>
#include <strata/driver/sqlite/open.hpp>

#include <string>
#include <type_traits>
#include <vector>

namespace strata::inline STRATA_ABI {

/// How far a backup has come, in pages. `total` may grow while others write.
struct sqlite_backup_progress {
    int remaining = 0;
    int total = 0;
};

/// How much of the write-ahead log was looked at; both -1 when the database is not in WAL mode.
struct sqlite_checkpoint_counts {
    int log = -1;           ///< frames in the log
    int checkpointed = -1;  ///< frames of it that are in the file now
};

enum class sqlite_checkpoint_mode : std::uint8_t {
    passive,  ///< as much as is possible without waiting for anybody
    full,     ///< waits for writers and readers, then all
    restart,  ///< and the next writer begins the log anew
    truncate  ///< and the log is cut to nothing
};

namespace detail {

struct backup_handle {
    ::sqlite3_backup* handle;
    ~backup_handle() { ::sqlite3_backup_finish(handle); }
};

struct guard_lent {  // the target waits no longer than the source may
    sqlite_connection& to;
    const interruption* before;
    guard_lent(sqlite_connection& target, const interruption* i) : to(target), before(target.guard()) { to.guard(i); }
    guard_lent(const guard_lent&) = delete;
    guard_lent& operator=(const guard_lent&) = delete;
    ~guard_lent() { to.guard(before); }
};

/// errc::ok as long as the call may go on.
[[nodiscard]] inline errc ended(const interruption* i) noexcept {
    if (i == nullptr) return errc::ok;
    if (i->is_cancelled()) return errc::cancelled;
    return i->deadline != never && clock::now() >= i->deadline ? errc::timeout : errc::ok;
}

using backup_report = void (*)(void*, const sqlite_backup_progress&);

STRATA_COLD inline error run_backup(sqlite_connection& from, sqlite_connection& to, int pages, void* user, backup_report report) {
    if (pages == 0) return error{errc::invalid_argument, "pages_per_step must not be 0; a negative number copies all at once"};
    const guard_lent lent{to, from.guard()};
    const backup_handle backup{::sqlite3_backup_init(to.native_handle(), "main", from.native_handle(), "main")};
    if (backup.handle == nullptr) return to.error_of(::sqlite3_errcode(to.native_handle()));
    for (;;) {
        if (const errc why = ended(from.guard()); why != errc::ok) return error{why, phase::execute};
        const int code = ::sqlite3_backup_step(backup.handle, pages);
        if (code != SQLITE_OK && code != SQLITE_DONE) return to.error_of(code);
        report(user, {::sqlite3_backup_remaining(backup.handle), ::sqlite3_backup_pagecount(backup.handle)});
        if (code == SQLITE_DONE) return {};
    }
}

}  // namespace detail

/// Copies the whole database of `from` over that of `to`, a few pages at a time, so that others can write in
/// between (the copy then starts again, and is consistent). `progress(sqlite_backup_progress)` is called after each step.
/// On an error, or when the guard of `from` ends the call, `to` holds what it held before.
template <class Progress>
[[nodiscard]] error sqlite_backup(sqlite_connection& from, sqlite_connection& to, Progress&& progress, int pages_per_step = 256) {
    const auto report = [](void* user, const sqlite_backup_progress& p) { (*static_cast<std::remove_reference_t<Progress>*>(user))(p); };
    void* const user = const_cast<void*>(static_cast<const volatile void*>(&progress));
    return detail::run_backup(from, to, pages_per_step, user, report);
}

/// The same into a file, which is made when it does not exist and replaced when it does.
template <class Progress>
[[nodiscard]] error sqlite_backup(sqlite_connection& from, const std::string& path, Progress&& progress, int pages_per_step = 256) {
    sqlite_connection to;
    if (error e = to.open({.path = path, .journal = sqlite_journal::as_is}, connection_role::both, from.guard())) return e;
    return strata::sqlite_backup(from, to, progress, pages_per_step);
}

/// Moves the write-ahead log into the database file. Waits only in modes other than `passive`, and no longer than
/// `busy_timeout` and the guard allow; then `errc::busy` or `errc::timeout`.
[[nodiscard]] inline result<sqlite_checkpoint_counts> sqlite_checkpoint(sqlite_connection& c,
                                                                        sqlite_checkpoint_mode mode = sqlite_checkpoint_mode::passive) {
    static_assert(SQLITE_CHECKPOINT_PASSIVE == 0 && SQLITE_CHECKPOINT_TRUNCATE == 3);
    sqlite_checkpoint_counts counts;
    const int code = ::sqlite3_wal_checkpoint_v2(c.native_handle(), "main", static_cast<int>(mode), &counts.log, &counts.checkpointed);
    if (code != SQLITE_OK) return c.error_of(code);
    return counts;
}

/// What is wrong with the file, one finding a string, at most `limit`; empty when it is sound. `quick` leaves out the
/// comparison of tables with their indexes. Reads the whole file. An error when the check itself could not be done.
[[nodiscard]] inline result<std::vector<std::string>> sqlite_integrity_check(sqlite_connection& c, bool quick = false, int limit = 100) {
    const std::string sql = detail::joined({quick ? "pragma quick_check(" : "pragma integrity_check(", detail::digits_of(limit), ")"});
    detail::cached_statement statement;  // finalizes
    int code = ::sqlite3_prepare_v2(c.native_handle(), sql.c_str(), -1, &statement.handle, nullptr);
    if (code != SQLITE_OK) return c.error_of(code, phase::prepare);
    std::vector<std::string> findings;
    while ((code = ::sqlite3_step(statement.handle)) == SQLITE_ROW) {
        const unsigned char* const text = ::sqlite3_column_text(statement.handle, 0);
        findings.emplace_back(text != nullptr ? reinterpret_cast<const char*>(text) : "");
    }
    if (code != SQLITE_DONE) return c.error_of(code);
    if (findings.size() == 1 && findings.front() == "ok") findings.clear();
    return findings;
}

}  // namespace strata::inline STRATA_ABI

#endif
