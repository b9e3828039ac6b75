// Connection settings: what is parsed is what is checked, and no error shows a secret.
#include "fixture.hpp"

using namespace strata_test;

namespace {

strata::error why_not(strata::postgres_options o) {
    strata::postgres_connection c;
    return c.open(o);
}

}  // namespace

TEST_CASE("variables of the environment are put into the connection string", "[postgres][options]") {
    ::setenv("STRATA_TEST_SECRET", "s3cr$t{", 1);
    std::string out;
    CHECK(!strata::detail::expand_environment("a ${STRATA_TEST_SECRET} $x ${STRATA_TEST_SECRET}b$", out));
    CHECK(out == "a s3cr$t{ $x s3cr$t{b$");
    ::unsetenv("STRATA_TEST_NOTHING");
    const strata::error e = why_not({.connection = "host=127.0.0.1 password=${STRATA_TEST_NOTHING}"});
    CHECK(e.code() == errc::invalid_argument);
    CHECK(e.message().find("STRATA_TEST_NOTHING") != std::string::npos);
    CHECK(why_not({.connection = "host=${OPEN"}).code() == errc::invalid_argument);
}

TEST_CASE("hosts and settings are held against the lists after parsing", "[postgres][options]") {
    const std::vector<std::string> allowed{"db.internal", "*.example.com"};
    const auto code = [&](std::string connection) {
        strata::postgres_options o{.connection = std::move(connection), .allowed_hosts = allowed, .forbidden = {{"sslmode", "disable"}}};
        return o.validate().code();
    };
    CHECK(code("postgresql://db.internal/x") == errc::ok);
    CHECK(code("host=a.example.com,db.internal") == errc::ok);
    CHECK(code("postgresql://evil.com/x") == errc::access_denied);
    CHECK(code("postgresql://db.internal,evil.com/x") == errc::access_denied);
    CHECK(code("postgresql://db.internal/x?host=evil.com") == errc::access_denied);
    CHECK(code("postgresql://db.internal/x?hostaddr=10.0.0.1") == errc::access_denied);
    CHECK(code("postgresql://%65vil.com/x") == errc::access_denied);
    CHECK(code("host=example.com") == errc::access_denied);
    CHECK(code("host=badexample.com") == errc::access_denied);
    CHECK(code("host=.example.com") == errc::access_denied);
    CHECK(code("dbname=x") == errc::access_denied);
    CHECK(code("host=db.internal sslmode=disable") == errc::access_denied);
    CHECK(code("postgresql://db.internal/x?ssl%6dode=disable") == errc::access_denied);
}

TEST_CASE("options that make no sense are refused, and no secret is shown", "[postgres][options]") {
    CHECK(why_not({.connect_timeout = 0s}).code() == errc::invalid_argument);
    CHECK(why_not({.statement_cache = 0}).code() == errc::invalid_argument);
    CHECK(why_not({.connection = "postgresql://u:hunter2@[oops/x"}).to_string().find("hunter2") == std::string::npos);
    CHECK(why_not({.connection = "password=hunter2 nonsense"}).to_string().find("hunter2") == std::string::npos);
    CHECK(why_not({.connection = "password=hunter2 nonsense"}).code() == errc::invalid_argument);
}

TEST_CASE("a server that is not there, and a wrong password, are told apart from the rest", "[postgres][options]") {
    const strata::error nobody = why_not({.host = "127.0.0.1", .port = 1, .user = "u", .password = "hunter2"});
    CHECK(nobody.code() == errc::cannot_connect);
    CHECK(nobody.phase() == strata::phase::connect);
    CHECK(nobody.effect() == strata::effect::none);
    CHECK(nobody.to_string().find("hunter2") == std::string::npos);
    CHECK(nobody.message().find('\n') == std::string::npos);
    CHECK_THAT(nobody.message(), contains_text("Connection refused; Is the server running"));
    const strata::error wrong = why_not({.connection = server_url(), .password = "hunter2"});
    CHECK(wrong.code() == errc::cannot_connect);
    CHECK(wrong.message().find("password authentication failed") != std::string::npos);
    CHECK(wrong.to_string().find("hunter2") == std::string::npos);
    strata::postgres_connection c;
    REQUIRE(!c.open({.connection = server_url()}));
    CHECK(c.open({.connection = server_url()}).code() == errc::misuse);
}

TEST_CASE("a connection of the user's own can be adopted", "[postgres][options]") {
    PGconn* const handle = ::PQconnectdb(server_url().c_str());
    REQUIRE(::PQstatus(handle) == CONNECTION_OK);
    {
        strata::postgres_connection c;
        CHECK(c.adopt(nullptr).code() == errc::invalid_argument);
        REQUIRE(!c.adopt(handle));
        CHECK(c.native_handle() == handle);
        CHECK(!c.control("begin"));
        CHECK(c.in_transaction());
        CHECK(c.tidy() == strata::health::good);
        CHECK(!c.in_transaction());
    }
    CHECK(::PQstatus(handle) == CONNECTION_OK);  // it is the user's still
    ::PQfinish(handle);
}

TEST_CASE("a database may work on a connection of the user's own", "[postgres][options]") {
    PGconn* const handle = ::PQconnectdb(server_url().c_str());
    REQUIRE(::PQstatus(handle) == CONNECTION_OK);
    {
        strata::database<strata::stack<strata::single, strata::postgres>> db{strata::postgres_options{.handle = handle}};
        CHECK(db.one<int>("select pg_backend_pid()"_sql()) == ::PQbackendPID(handle));
    }
    for (int i = 0; i < 3; ++i) {  // what was prepared before is not taken for ours, nor does it stand in the way in a transaction
        strata::database<strata::stack<strata::single, strata::postgres>> db{strata::postgres_options{.handle = handle}};
        db.transaction([&](auto& tx) { CHECK(tx.template one<int>("select :n::int"_sql(i)) == i); });
    }
    {
        strata::database<strata::stack<strata::single, strata::postgres>> db{strata::postgres_options{.handle = handle}};
        db.transaction([](auto& tx) { CHECK(tx.template one<int>("select :n::int"_sql(3)) == 3); });
        CHECK(db.try_execute("select 1/0"_sql()).error().texts().native_code == "22012");
        CHECK(db.one<int>("select 1"_sql()) == 1);
    }
    CHECK(::PQstatus(handle) == CONNECTION_OK);
    CHECK(::PQtransactionStatus(handle) == PQTRANS_IDLE);
    CHECK_THROWS_WITH((strata::database<plain_stack>{strata::postgres_options{.handle = handle}}),
                      contains_text("postgres_options.handle"));
    {
        strata::database<strata::stack<strata::single, strata::postgres>> db{strata::postgres_options{.handle = handle}};
        server s;
        s.admin().execute("select pg_terminate_backend(:pid)"_sql(::PQbackendPID(handle)));
        CHECK(db.try_one<int>("select 1"_sql()).error().code() == errc::connection_lost);
        CHECK(db.try_one<int>("select 1"_sql()).error().code() == errc::cannot_connect);
    }
    ::PQfinish(handle);
}
