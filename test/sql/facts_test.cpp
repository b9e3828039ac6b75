// The facts that are found in a text: kind, idempotence, number of statements.
#include <sql/rewriting.hpp>
#include <strata/sql/statement.hpp>
#include <support/catch.hpp>

using namespace strata_test;
using strata::dialect;
using strata::statement_kind;
using is = strata::statement_kind;

namespace {

void check(const std::string& text, statement_kind kind, bool idempotent = false, int statements = 1) {
    for (const dialect d : {dialect::postgres, dialect::sqlite}) {
        CAPTURE(text, d == dialect::sqlite);
        const auto r = rewrite(text, d).facts;
        if (!r.fits()) continue;
        CHECK(r.kind == kind);
        CHECK(r.idempotent == idempotent);
        CHECK(r.statements == statements);
    }
    REQUIRE((rewrite(text, dialect::postgres).facts.fits() || rewrite(text, dialect::sqlite).facts.fits()));
}

void check_all(const std::vector<std::string>& texts, statement_kind kind, bool idempotent = false) {
    for (const std::string& text : texts) check(text, kind, idempotent);
}

}  // namespace

TEST_CASE("sql: reads", "[sql][facts]") {
    check_all({"select 1",
               "SELECT * FROM t",
               "  -- comment\n select 1",
               "/* c */ select 1",
               "(select 1) union (select 2)",
               "((select 1))",
               "values (1), (2)",
               "table t",
               "with a as (select 1) select * from a",
               "with recursive a as (select 1 union select 2) select * from a",
               "sElEcT 'delete from t'",
               "select \"delete\" from \"update\"",
               "select 1 -- delete from t",
               "select * from t where a in (1, 2) and exists (select 1)",
               "explain select * from t",
               "explain query plan delete from t",
               "explain (format json) update t set a = 1",
               "explain analyze select 1",
               "explain (analyze, buffers) select 1",
               "select 1;",
               "select cast(a as numeric(10, 2))",
               "select case when a then (1) else (2) end",
               "select sum(a) over (partition by b) from t",
               "select count(*) filter (where a) from t",
               "select replace(a, 'x', 'y') from t",
               "with a as (values (1)) table a",
               "select a::varchar(10)",
               "select (a).b from t",
               "select distinct (a) from t",
               "select array(select 1)",
               "select a from t group by (a) having (a) > 1 order by (a) limit (1) offset (2)"},
              is::read, true);
}

TEST_CASE("sql: reads that call what is not known to be pure may not be repeated", "[sql][facts]") {
    check_all({"select my_function(1)", "select random()", "select \"count\"(*) from t", "select pg_catalog.lower(a) from t",
               "select pg_sleep(1)", "with a as (select f(1)) select * from a", "explain analyze select f(1)", "select release(1)",
               "select over(1)", "select filter (1)", "select count(*), g (a) from t", "select start(1)"},
              is::read, false);
    check_all({"select count(*), sum(a), min(b), max(c), avg(d), coalesce(a, b), lower(a), upper(b), length(c), abs(d) from t",
               "select LOWER(a), Upper (b) from t", "select json_array_length(a)", "select to_timestamp(1)",
               "select date(a), time(b) from t", "select jsonb_array_length(a)", "select stddev_pop(a)"},
              is::read, true);
    check("select json_array_lengthy(a)", is::read, false);
    check("select abss(a)", is::read, false);
    CHECK_FALSE(rewrite("select `count`(a)", dialect::sqlite).facts.idempotent);
    CHECK_FALSE(rewrite("select [count] (a)", dialect::sqlite).facts.idempotent);
    check("select ab(a)", is::read, false);
}

TEST_CASE("sql: writes", "[sql][facts]") {
    check_all({"insert into t values (1)",
               "update t set a = 1",
               "delete from t",
               "replace into t values (1)",
               "merge into t using s on true when matched then delete",
               "truncate t",
               "insert into t select * from s",
               "with a as (delete from t returning *) select * from a",
               "with a as (select 1) insert into t select * from a",
               "with a as (insert into t values (1) returning *) select * from a",
               "with a as (select 1) replace into t select * from a",
               "with a as materialized (update t set b = 1 returning b) select * from a",
               "select * from t for update",
               "select * from t for share",
               "select * from t for no key update",
               "select * from t FOR  /* */ KEY SHARE",
               "select * into t from s",
               "explain analyze delete from t",
               "explain (analyze) insert into t values (1)",
               "explain (analyze, verbose) select 1 into t",
               "explain analyze verbose update t set a = 1",
               "EXPLAIN ANALYSE delete from t",
               "explain create table t as select 1",
               "explain drop table t",
               "explain analyze create table t as select 1",
               "explain analyze with a as (delete from t returning *) select * from a",
               "with a as (merge into t using s on true) select 1",
               "delete from t where a = (select 1)",
               "insert into t values ('select')"},
              is::write);
}

TEST_CASE("sql: queries that call what writes, or what asks about its connection, are no reads", "[sql][facts]") {
    check_all({"select nextval('s')", "select pg_advisory_lock(1)", "select pg_try_advisory_xact_lock_shared(1)",
               "select last_insert_rowid()", "select changes()", "select total_changes ()", "select set_config('a', 'b', false)",
               "select \"nextval\"('s')", "select pg_catalog.setval('s', 1)", "select lo_create(0)", "select dblink_exec('x')",
               "with a as (select pg_notify('a', 'b')) select * from a", "select 1 where (select NEXTVAL ('s')) > 1", "values (lastval())",
               "select pg_drop_replication_slot('a')"},
              is::write);
    check("select nextval from t", is::read, true);
    check("select changes from t", is::read, true);
}

TEST_CASE("sql: definitions", "[sql][facts]") {
    check_all({"create table t (a int)", "alter table t add b int", "drop table t", "comment on table t is 'x'", "grant select on t to u",
               "revoke select on t from u", "create index i on t (a)", "create table t as select 1", "create view v as select * from t",
               "refresh materialized view v", "create temp table t (a)", "reassign owned by a to b",
               "import foreign schema a from server b into c"},
              is::ddl);
    check("create table begin (a int)", is::ddl);
}

TEST_CASE("sql: transactions and sessions", "[sql][facts]") {
    check_all({"begin", "BEGIN IMMEDIATE", "commit", "rollback", "savepoint a", "release a", "rollback to savepoint a",
               "prepare transaction 'x'", "start transaction", "end", "abort", "commit prepared 'x'", "begin isolation level serializable"},
              is::transaction_control);
    check_all({"pragma journal_mode = wal", "set search_path = a", "show all", "reset all", "attach 'x' as y", "detach y", "listen a",
               "unlisten a", "discard all", "prepare a as select 1", "deallocate a", "declare c cursor for select 1", "fetch c", "close c",
               "move c", "load 'x'", "set transaction isolation level serializable", "prepare \"transaction\" as select 1",
               "prepare transact as select 1"},
              is::session);
}

TEST_CASE("sql: what is not understood is never a read", "[sql][facts]") {
    check_all({"vacuum",
               "analyze",
               "call f()",
               "do 'x'",
               "copy t from stdin",
               "copy (select 1) to stdout",
               "execute a",
               "lock t",
               "notify a",
               "reindex t",
               "start 1",
               "frobnicate select",
               "1 select",
               "+ select",
               "'select'",
               "\"select\" 1",
               "explain",
               "explain execute a",
               "explain pragma user_version",
               "explain begin",
               "explain analyze execute a",
               "with a as (x)",
               ":a select",
               ") select 1",
               " and owner = :owner",
               "selects 1",
               "select_ 1",
               "sel\xc3\xa4"
               "ect 1",
               "checkpoint",
               "explain call f()",
               "not select",
               "cluster t"},
              is::other);
    check("", is::other, false, 0);
    check(" -- nothing\n", is::other, false, 0);
    check(";;", is::other, false, 0);
}

TEST_CASE("sql: several statements", "[sql][facts]") {
    check("select 1; select 2", is::read, true, 2);
    check("select 1; select f(2);", is::read, false, 2);
    check("select f(1); select 2;", is::read, false, 2);
    check("select 1;; select 2; ", is::read, true, 2);
    check("select 1; delete from t", is::write, false, 2);
    check("delete from t; select 1", is::write, false, 2);
    check("select 1; create table t (a)", is::ddl, false, 2);
    check("insert into t values (1); create table s (a)", is::ddl, false, 2);
    check("select 1; pragma x", is::session, false, 2);
    check("begin; delete from t; commit", is::transaction_control, false, 3);
    check("begin; commit", is::transaction_control, false, 2);
    check("select 1; vacuum", is::other, false, 2);
    check("select nextval('s'); select 1", is::write, false, 2);
    check("create rule r as on insert to t do also (insert into a values (1); insert into b values (2)); select 1", is::ddl, false, 2);
    check("select ';', \";\", 1 -- ;\n", is::read, true, 1);
    std::string many;
    for (int i = 0; i < 70000; ++i) many += "a;";
    CHECK(rewrite(many, dialect::sqlite).facts.statements == 65535);
}

TEST_CASE("sql: bodies hold semicolons of their own", "[sql][facts]") {
    const std::string trigger =
        "create temp trigger x after insert on t begin update t set a = case when b then 1 else 2 end; delete from s; end; select 1";
    CHECK(rewrite(trigger, dialect::sqlite).facts.statements == 2);
    CHECK(rewrite(trigger, dialect::postgres).facts.statements == 4);
    const std::string function =
        "create function f() returns int language sql begin atomic select case when true then 1 end; select 2; end; select 1";
    CHECK(rewrite(function, dialect::postgres).facts.statements == 2);
    CHECK(rewrite(function, dialect::sqlite).facts.statements == 4);
}

TEST_CASE("sql: the dialects may read a text as different things", "[sql][facts]") {
    const std::string text = "select 1 /* /* */; delete from t -- */ */";
    CHECK(rewrite(text, dialect::postgres).facts.kind == is::read);
    CHECK(rewrite(text, dialect::sqlite).facts.kind == is::write);
    const auto both = strata::detail::join_readings(rewrite(text, dialect::postgres).facts, rewrite(text, dialect::sqlite).facts);
    CHECK(both.kind == is::write);
    CHECK_FALSE(both.idempotent);
    CHECK(both.statements == 2);
}

TEST_CASE("sql: a byte order mark, which SQLite takes for white space, hides no word", "[sql][facts]") {
    for (const char* text : {"with x as (select 1) \xEF\xBB\xBF" "delete from t", "\xEF\xBB\xBF" "commit", "select 1 \xEF\xBB\xBF"}) {
        const strata::statement s{text};
        CHECK(s.check(strata::dialect::sqlite).code() == strata::errc::invalid_statement);
    }
    CHECK(!strata::statement{"select '\xEF\xBB\xBF' as \"a\xEF\xBB\xBF\""}.check(strata::dialect::sqlite));
}
