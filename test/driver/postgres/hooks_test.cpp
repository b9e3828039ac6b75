// What the server says unasked reaches the user's functions.
#include "fixture.hpp"

#include <mutex>
#include <utility>

using namespace strata_test;

namespace {

/// What the hooks were told, by any thread.
struct heard {
    std::mutex lock;
    std::vector<std::pair<std::string, std::string>> notices;     // severity and message
    std::vector<std::pair<std::string, std::string>> parameters;  // name and value
    std::string sqlstate, detail, hint;

    void hook(strata::postgres_options& o) {
        o.context = this;
        o.on_notice = [](void* self, const strata::postgres_notice& n) noexcept {
            heard& h = *static_cast<heard*>(self);
            const std::lock_guard guard(h.lock);
            h.notices.emplace_back(n.severity, n.message);
            h.sqlstate = n.sqlstate;
            h.detail = n.detail;
            h.hint = n.hint;
        };
    }
    void watch(strata::postgres_options& o, std::vector<std::string> names) {
        o.context = this;
        o.watched_parameters = std::move(names);
        o.on_parameter = [](void* self, const strata::postgres_parameter& p) noexcept {
            heard& h = *static_cast<heard*>(self);
            const std::lock_guard guard(h.lock);
            h.parameters.emplace_back(p.name, p.value);
        };
    }
};

using texts = std::vector<std::pair<std::string, std::string>>;

constexpr auto warn =
    "do $$ begin raise warning 'mind the gap' using errcode = '01234', detail = 'one foot', hint = 'jump';"
    " raise notice 'well done'; end $$"_sql;

}  // namespace

TEST_CASE("notices reach the hook, in their order and whole", "[postgres][hooks]") {
    server s;
    heard h;
    auto options = s.options();
    h.hook(options);
    strata::database<plain_stack> db{options, strata::pool_options{.max_size = 1}};
    db.execute(warn);
    CHECK(h.notices == texts{{"WARNING", "mind the gap"}, {"NOTICE", "well done"}});
    h.notices.clear();
    db.execute("do $$ begin raise warning 'mind the gap' using errcode = '01234', detail = 'one foot', hint = 'jump'; end $$"_sql);
    CHECK(h.sqlstate == "01234");
    CHECK(h.detail == "one foot");
    CHECK(h.hint == "jump");
    db.session().execute("set client_min_messages = error"_sql);
    h.notices.clear();
    db.execute(warn);
    CHECK(h.notices.empty());
}

TEST_CASE("a connection that was adopted tells nobody once it has been let go", "[postgres][hooks]") {
    PGconn* const raw = ::PQconnectdb(server_url().c_str());
    REQUIRE(::PQstatus(raw) == CONNECTION_OK);
    {
        heard h;
        strata::postgres_options options;
        h.hook(options);
        strata::postgres_connection c;
        REQUIRE(!c.adopt(raw, options));
        REQUIRE(!c.control("do $$ begin raise notice 'a'; end $$"));
        CHECK(h.notices == texts{{"NOTICE", "a"}});
        c.close();
        ::PQclear(::PQexec(raw, "do $$ begin raise notice 'b'; end $$"));
        CHECK(h.notices.size() == 1);
    }
    ::PQclear(::PQexec(raw, "do $$ begin raise notice 'c'; end $$"));  // under a sanitizer: nothing dead is touched
    ::PQfinish(raw);
}

TEST_CASE("changed settings that are watched are told at the end of a statement", "[postgres][hooks]") {
    server s;
    heard h;
    auto options = s.options();
    h.watch(options, {"TimeZone", "DateStyle", "no_such_setting"});
    strata::database<plain_stack> db{options, strata::pool_options{.max_size = 1}};
    db.execute("select 1"_sql);
    CHECK(h.parameters.empty());
    db.session().execute("set timezone = 'Asia/Tokyo'"_sql);
    CHECK(h.parameters == texts{{"TimeZone", "Asia/Tokyo"}});
    db.execute("select 1"_sql);
    CHECK(h.parameters.size() == 1);
    {
        auto tx = db.begin();
        tx.execute("set local timezone = 'Europe/Berlin'"_sql);
        tx.execute("set application_name = 'unwatched'"_sql);
    }
    CHECK(h.parameters == texts{{"TimeZone", "Asia/Tokyo"}, {"TimeZone", "Europe/Berlin"}, {"TimeZone", "Asia/Tokyo"}});
}

TEST_CASE("watched settings without a hook, and a hook without settings, are refused", "[postgres][hooks]") {
    strata::postgres_options o;
    o.watched_parameters = {"TimeZone"};
    CHECK(o.validate().message().find("watched_parameters") != std::string::npos);
    o.on_parameter = [](void*, const strata::postgres_parameter&) noexcept {};
    CHECK(!o.validate());
    o.watched_parameters.clear();
    CHECK(o.validate().code() == errc::invalid_argument);
}
