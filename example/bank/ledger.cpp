#include "ledger.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/progress.hpp"

#include <algorithm>
#include <fstream>
#include <ranges>
#include <set>

namespace bank {

// What differs between the databases: how a bank is marked as ours, and the tables.
namespace in_file {

constexpr std::int64_t mark = 1650552427;  // "bank" in ASCII, in the head of the file
constexpr auto read_mark = "select application_id from pragma_application_id"_sql;
constexpr auto write_mark = "pragma application_id = 1650552427"_sql;
constexpr auto objects = "select count(*) from sqlite_master"_sql;

constexpr auto make_branches = "create table branches (id integer primary key, balance integer not null)"_sql;
constexpr auto make_tellers = "create table tellers (id integer primary key, branch integer not null, balance integer not null)"_sql;
constexpr auto make_accounts = "create table accounts (id integer primary key, branch integer not null, balance integer not null)"_sql;
constexpr auto make_history =
    "create table history (id integer primary key, account integer not null, teller integer not null, branch integer not null,"
    " delta integer not null, at text not null)"_sql;

}  // namespace in_file

namespace on_server {

constexpr auto write_mark = "comment on table branches is 'strata: the example bank'"_sql;
// Tables of the bank's names where there is no bank of ours.
constexpr auto strangers =
    "select count(*) from pg_class where relnamespace = current_schema()::regnamespace"
    " and relname in ('branches', 'tellers', 'accounts', 'history')"
    " and obj_description(to_regclass('branches'), 'pg_class') is distinct from 'strata: the example bank'"_sql;

// One row of the branch and ten of the tellers change all the time: room in their pages keeps those changes cheap.
constexpr auto make_branches = "create table branches (id bigint primary key, balance bigint not null) with (fillfactor = 10)"_sql;
constexpr auto make_tellers =
    "create table tellers (id bigint primary key, branch bigint not null, balance bigint not null) with (fillfactor = 10)"_sql;
constexpr auto make_accounts = "create table accounts (id bigint primary key, branch bigint not null, balance bigint not null)"_sql;
constexpr auto make_history =
    "create table history (id bigint primary key, account bigint not null, teller bigint not null, branch bigint not null,"
    " delta bigint not null, at timestamptz not null)"_sql;

}  // namespace on_server

static bool is_server(const strata::any_session& db) { return db.dialect_now() == strata::dialect::postgres; }

constexpr auto open_teller = "insert into tellers (id, branch, balance) values (:id, 1, 0)"_sql.named("open_teller");
constexpr auto open_account = "insert into accounts (id, branch, balance) values (:id, 1, 0)"_sql.named("open_account");
// One statement reads one moment, whatever is written meanwhile. (PostgreSQL's sum of bigint is a numeric.)
constexpr auto sum_books =
    "select (select cast(coalesce(sum(balance), 0) as bigint) from branches) as branches,"
    "       (select cast(coalesce(sum(balance), 0) as bigint) from tellers) as tellers,"
    "       (select cast(coalesce(sum(balance), 0) as bigint) from accounts) as accounts,"
    "       (select cast(coalesce(sum(delta), 0) as bigint) from history) as history,"
    "       (select count(*) from history) as history_rows"_sql.named("audit");
constexpr auto history_ids = "select id from history"_sql;

bool may_be_replaced(strata::any_session db) {
    if (is_server(db)) return db.one<std::int64_t>(on_server::strangers) == 0;
    return db.one<std::int64_t>(in_file::read_mark) == in_file::mark || db.one<std::int64_t>(in_file::objects) == 0;
}

std::string server_of(strata::any_session db) {
    return db.one<std::string>(
        "select 'PostgreSQL database ' || current_database()"
        " || coalesce(' on ' || host(inet_server_addr()) || ':' || inet_server_port(), ' on this machine')"_sql);
}

void create(strata::any_session db) {
    // All or nothing: when this throws, the database is as it was.
    db.transaction([server = is_server(db)](strata::any_session& tx) {
        tx.execute("drop table if exists history"_sql);
        tx.execute("drop table if exists accounts"_sql);
        tx.execute("drop table if exists tellers"_sql);
        tx.execute("drop table if exists branches"_sql);

        if (server) {
            tx.execute(on_server::make_branches);
            tx.execute(on_server::make_tellers);
            tx.execute(on_server::make_accounts);
            tx.execute(on_server::make_history);
            tx.execute(on_server::write_mark);
        } else {
            tx.execute(in_file::make_branches);
            tx.execute(in_file::make_tellers);
            tx.execute(in_file::make_accounts);
            tx.execute(in_file::make_history);
            tx.execute(in_file::write_mark);
        }

        tx.execute("insert into branches (id, balance) values (1, 0)"_sql);
        tx.execute_many(open_teller, std::views::iota(std::int64_t{1}, tellers + 1));
    });
}

std::int64_t load(strata::any_session db, std::int64_t accounts) {
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

books audit(strata::any_session db) {
    return db.one<books>(sum_books);
}

std::vector<std::int64_t> missing_in_history(strata::any_session db, const std::string& file) {
    std::ifstream in(file);
    if (!in) throw example::usage_error("cannot read " + file);
    std::set<std::int64_t> acknowledged;
    for (std::int64_t id = 0; in >> id;) acknowledged.insert(id);
    if (!in.eof()) throw example::usage_error(file + " holds a line that is no number");

    for (const std::int64_t id : db.rows<std::int64_t>(history_ids)) acknowledged.erase(id);
    return {acknowledged.begin(), acknowledged.end()};
}

}  // namespace bank
