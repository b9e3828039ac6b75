// The databases of a distributed transaction between its runs, and the one among them that cannot prepare: an SQLite file.
//
// The last resource commits when all others are prepared, and its commit is the decision: in the same transaction it writes what it
// decides into a table of its own, `strata_decision`. So after a crash the file says which way the branches go, whatever the moment was;
// until it is there again they wait. The file must sync its commits, and must not be replaced by an older copy while branches wait.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LAST_RESOURCE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LAST_RESOURCE_HPP

#include <strata/transaction/two_phase/decision_log.hpp>
#include <strata/transaction/two_phase/global_id.hpp>
#include <strata/transaction/two_phase/prepared.hpp>

#include <cstring>

namespace strata::inline STRATA_ABI {

namespace detail {

using blob = std::vector<std::byte>;

[[nodiscard]] inline blob to_blob(std::string_view s) {
    blob b(s.size());
    if (!s.empty()) std::memcpy(b.data(), s.data(), s.size());
    return b;
}
[[nodiscard]] inline std::string from_blob(const blob& b) {
    return b.empty() ? std::string{} : std::string{reinterpret_cast<const char*>(b.data()), b.size()};
}

/// A database that prepares.
template <class Database>
struct enlisted {
    explicit enlisted(Database& d) noexcept : db(d) {}
    [[nodiscard]] error open() { return ask_identity(db, identity); }

    Database& db;
    database_identity identity;
};

/// The last resource. Thread-safe once it is open.
template <class Database>
    requires(!can_prepare<typename Database::driver>)
struct enlisted<Database> {
    explicit enlisted(Database& d) noexcept : db(d) {}

    /// Makes the table where it is missing.
    [[nodiscard]] error open() {
        using namespace literals;
        auto s = db.try_session();
        if (!s) return s.error();
        const auto synchronous = s->template try_one<std::int64_t>("pragma synchronous"_sql());
        if (!synchronous) return synchronous.error();
        const auto journal = s->template try_one<std::string>("pragma journal_mode"_sql());
        if (!journal) return journal.error();
        const bool unlinks = *journal == "delete";  // and commits so, which lasts when its folder is synced: at `extra`, and only there
        if (*synchronous < (unlinks ? 3 : 2) || *journal == "off" || *journal == "memory") {
            error e{errc::unsupported, "this SQLite database may lose what it has committed, and so cannot decide for others",
                    phase::admission};
            e.edit_texts().hint =
                "a file with sqlite_options.synchronous = full and journal = wal; under a rollback journal add \"pragma "
                "synchronous = extra\" to its pragmas";
            return e;
        }
        if (auto made = s->try_execute(
                "create table if not exists strata_decision (id text primary key, decision blob not null) without rowid"_sql());
            !made)
            return made.error();
        if (auto put =
                s->try_execute("insert or ignore into strata_decision values ('identity', :id)"_sql(to_blob(hex_of(random_identity()))));
            !put)
            return put.error();
        const auto mine = s->template try_one<blob>("select decision from strata_decision where id = 'identity'"_sql());
        if (!mine) return mine.error();
        file = from_hex(from_blob(*mine));
        return file != 0 ? error{} : error{errc::corrupt, "the table strata_decision has no identity", phase::admission};
    }

    /// What the transaction decides when it is committed. Drops what was forgotten meanwhile.
    template <class Transaction>
    [[nodiscard]] error note(Transaction& tx, const std::string& id, const decision& d) {
        using namespace literals;
        const std::vector<std::string> old = [&] {
            const std::lock_guard guard(lock);
            return std::exchange(forgotten, {});  // if this is rolled back, recovery deletes them
        }();
        for (const std::string& o : old)
            if (auto gone = tx.try_execute("delete from strata_decision where id = :id"_sql(o)); !gone) return gone.error();
        std::string bytes;
        write_decision(bytes, d);
        if (auto put = tx.try_execute("insert into strata_decision values (:id, :decision)"_sql(id, to_blob(bytes))); !put)
            return put.error();
        return {};
    }
    void forget(const std::string& id) {
        const std::lock_guard guard(lock);
        if (forgotten.size() == most_forgotten) forgotten.erase(forgotten.begin());  // recovery deletes it
        forgotten.push_back(id);
    }
    /// Now, or by the next recovery.
    void drop(const std::string& id) {
        using namespace literals;
        static_cast<void>(db.try_execute("delete from strata_decision where id = :id"_sql(id)));
    }

    /// What it has decided for the coordinator whose ids begin so. Writes first: a commit that failed while it was written cannot come
    /// back to life after that.
    [[nodiscard]] error read(const std::string& prefix, std::vector<std::pair<std::string, decision>>& all) {
        using namespace literals;
        const auto fenced = db.try_execute("insert or replace into strata_decision values ('recovered', x'00')"_sql());
        if (!fenced) return fenced.error();
        const auto rows = db.template try_all<std::tuple<std::string, blob>>(
            "select id, decision from strata_decision where substr(id, 1, length(:prefix)) = :prefix"_sql("prefix"_arg = prefix));
        if (!rows) return rows.error();
        for (const auto& [id, bytes] : *rows) {
            decision d;
            if (!read_decision(from_blob(bytes), d))
                return {errc::corrupt, joined({"the row '", id, "' of strata_decision is no decision"}), phase::admission};
            all.emplace_back(id, std::move(d));
        }
        return {};
    }

    Database& db;
    database_identity identity;  // of none
    std::uint64_t file = 0;      ///< random, made with the table
    std::mutex lock;
    std::vector<std::string> forgotten;

private:
    static constexpr std::size_t most_forgotten = 64;

    [[nodiscard]] static std::uint64_t from_hex(const std::string& s) noexcept {
        std::uint64_t n = 0;
        for (const char c : s) n = n << 4 | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
        return n;
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
