#include "ledger.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/progress.hpp"

#include <algorithm>
#include <fstream>
#include <ranges>
#include <set>

namespace bank {

// The application's mark in the head of an SQLite file ("bank" in ASCII).
constexpr auto read_mark = "select application_id from pragma_application_id"_sql;
constexpr auto write_mark = "pragma application_id = 1650552427"_sql;
constexpr std::int64_t mark = 1650552427;

constexpr auto open_teller = "insert into tellers (id, branch, balance) values (:id, 1, 0)"_sql.named("open_teller");
constexpr auto open_account = "insert into accounts (id, branch, balance) values (:id, 1, 0)"_sql.named("open_account");

bool may_be_replaced(database& db) {
    if (db.one<std::int64_t>(read_mark) == mark) return true;
    return db.one<std::int64_t>("select count(*) from sqlite_master"_sql) == 0;
}

void create(database& db) {
    // All or nothing: when this throws, the file is as it was.
    db.transaction([](auto& tx) {
        tx.execute("drop table if exists history"_sql);
        tx.execute("drop table if exists accounts"_sql);
        tx.execute("drop table if exists tellers"_sql);
        tx.execute("drop table if exists branches"_sql);

        tx.execute("create table branches (id integer primary key, balance integer not null)"_sql);
        tx.execute("create table tellers (id integer primary key, branch integer not null, balance integer not null)"_sql);
        tx.execute("create table accounts (id integer primary key, branch integer not null, balance integer not null)"_sql);
        tx.execute(
            "create table history (id integer primary key, account integer not null, teller integer not null,"
            " branch integer not null, delta integer not null, at text not null)"_sql);
        tx.execute(write_mark);

        tx.execute("insert into branches (id, balance) values (1, 0)"_sql);
        tx.execute_many(open_teller, std::views::iota(std::int64_t{1}, tellers + 1));
    });
}

std::int64_t load(database& db, std::int64_t accounts) {
    constexpr std::int64_t batch = 5'000;
    example::progress bar("loading accounts", accounts);
    std::int64_t loaded = 0;
    while (loaded < accounts && !example::interrupted) {
        const std::int64_t more = std::min(batch, accounts - loaded);
        db.execute_many(open_account, std::views::iota(loaded + 1, loaded + more + 1));  // one transaction
        loaded += more;
        bar.show(loaded);
    }
    return loaded;
}

books audit(database& db) {
    // One statement reads one moment, whatever is written meanwhile.
    return db.one<books>(
        "select (select coalesce(sum(balance), 0) from branches) as branches,"
        "       (select coalesce(sum(balance), 0) from tellers) as tellers,"
        "       (select coalesce(sum(balance), 0) from accounts) as accounts,"
        "       (select coalesce(sum(delta), 0) from history) as history,"
        "       (select count(*) from history) as history_rows"_sql.named("audit"));
}

std::vector<std::int64_t> missing_in_history(database& db, const std::string& file) {
    std::ifstream in(file);
    if (!in) throw example::usage_error("cannot read " + file);
    std::set<std::int64_t> acknowledged;
    for (std::int64_t id = 0; in >> id;) acknowledged.insert(id);
    if (!in.eof()) throw example::usage_error(file + " holds a line that is no number");

    for (const std::int64_t id : db.rows<std::int64_t>("select id from history"_sql)) acknowledged.erase(id);
    return {acknowledged.begin(), acknowledged.end()};
}

}  // namespace bank
