// Leader leases: one leads, loss is noticed in time, and the fence refuses who is late.
#include "fault_fixture.hpp"

#include <strata/leader.hpp>

#include <thread>

using namespace strata_test;

namespace {

using strata::leader_options;
using strata::leadership;
using db_type = strata::database<plain_stack>;
using lease = strata::leader_lease<db_type>;

std::string own(const std::string& name) {
    return name + std::to_string(::getpid());
}
const leader_options quick{.check_every = 1ms, .check_timeout = 20s, .valid_for = 30s};

/// Work that only the newest leader may do.
constexpr auto enter =
    "insert into fence values ('mail', :fence::int8) on conflict (name) do update set number = :fence where fence.number <= :fence"_sql;

template <class Db>
bool may_write(Db& db, std::int64_t fence) {
    return db.execute(enter(fence)).affected == 1;
}

void end_holders(bank<>& b, const strata::advisory_key& key) {
    b.db.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid::int8 = :low and pid <> pg_backend_pid()"_sql(
            key.number() & 0xffffffff));
}

}  // namespace

TEST_CASE("one leads, the next one has a greater number", "[postgres][leader]") {
    bank<> b{1};
    db_type other{b.in.options(), server::one()};
    lease first{b.db, own("one"), quick}, second{other, own("one"), quick}, elsewhere{other, own("another"), quick};
    CHECK_FALSE(first.is_leader());
    CHECK(first.fence() == 0);
    CHECK(first.poll() == leadership::gained);
    CHECK(first.is_leader());
    CHECK(first.fence() > 0);
    CHECK(second.poll() == leadership::follows);
    CHECK_FALSE(second.last_error());
    CHECK_FALSE(second.is_leader());
    CHECK(second.fence() == 0);
    CHECK(elsewhere.poll() == leadership::gained);
    elsewhere.resign();
    CHECK(first.poll() == leadership::leads);

    first.resign();
    CHECK_FALSE(first.is_leader());
    CHECK(second.poll() == leadership::gained);
    CHECK(second.fence() > first.fence());
    CHECK(first.poll() == leadership::follows);
    {
        lease third{b.db, own("three"), quick};
        CHECK(third.poll() == leadership::gained);
    }
    lease third{other, own("three"), quick};  // it went with the object
    CHECK(third.poll() == leadership::gained);
}

TEST_CASE("a leader whose connection ends has lost, and may gain again", "[postgres][leader]") {
    bank<> b{1};
    db_type db{b.in.options(), server::one()};
    const std::string name = own("ended");
    lease l{db, name, quick};
    REQUIRE(l.poll() == leadership::gained);
    const std::int64_t before = l.fence();
    end_holders(b, name);
    std::this_thread::sleep_for(2ms);
    CHECK(l.poll() == leadership::lost);
    CHECK_FALSE(l.is_leader());
    CHECK(l.fence() == before);
    leadership now = leadership::follows;
    CHECK(comes_true([&] { return (now = l.poll()) != leadership::follows; }));
    CHECK(now == leadership::gained);
    CHECK(l.fence() > before);
}

TEST_CASE("an answer is believed for so long, whether or not anybody polls", "[postgres][leader]") {
    bank<> b{1};
    lease l{b.db, own("believed"), {.check_every = 20ms, .check_timeout = 20s, .valid_for = 1s}};
    const auto began = strata::clock::now();
    REQUIRE(l.poll() == leadership::gained);
    while (l.is_leader() && strata::clock::now() - began < 10s) std::this_thread::sleep_for(1ms);
    CHECK(strata::clock::now() - began >= 1s);
    CHECK(strata::clock::now() - began < 10s);
    CHECK(l.poll() == leadership::leads);  // the lock was there all the time
    CHECK(l.is_leader());
    std::this_thread::sleep_for(600ms);
    CHECK(l.poll() == leadership::leads);
    std::this_thread::sleep_for(600ms);
    CHECK(l.is_leader());  // by the poll between
}

TEST_CASE("the server is asked no more often than said", "[postgres][leader]") {
    bank<> b{1};
    db_type db{b.in.options(), server::one()};
    const std::string name = own("seldom");
    lease l{db, name, {.check_every = 1h, .check_timeout = 20s, .valid_for = 2h}};
    REQUIRE(l.poll() == leadership::gained);
    end_holders(b, name);
    CHECK(l.poll() == leadership::leads);  // nobody has asked
}

TEST_CASE("a leader that hears nothing stops in time, and what it still writes is refused", "[postgres][leader]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{1};
    b.behind.db.execute("create table fence (name text primary key, number bigint not null)"_sql());
    strata::postgres_options through = b.options();
    through.cancel_grace = 100ms;
    db_type far{through, server::one()};
    const std::string name = own("cut off");
    lease old{far, name, {.check_every = 10ms, .check_timeout = 500ms, .valid_for = 150ms}}, next{b.behind.db, name, quick};
    REQUIRE(old.poll() == leadership::gained);
    CHECK(may_write(b.behind.db, old.fence()));
    CHECK(may_write(b.behind.db, old.fence()));

    b.proxy.black_hole(true);
    const auto began = strata::clock::now();
    CHECK(next.poll() == leadership::follows);  // the server knows of nothing yet
    strata::duration took{};
    std::jthread watcher{[&] {
        while (old.is_leader() && strata::clock::now() - began < 10s) std::this_thread::sleep_for(1ms);
        took = strata::clock::now() - began;
    }};
    std::this_thread::sleep_for(15ms);
    CHECK(old.poll() == leadership::lost);
    CHECK_FALSE(old.is_leader());
    watcher.join();
    CHECK(took < 10s);

    end_holders(b.behind, name);  // as its keepalive would
    REQUIRE(comes_true([&] { return next.poll() != leadership::follows; }));
    CHECK(next.fence() > old.fence());
    CHECK(may_write(b.behind.db, next.fence()));
    CHECK_FALSE(may_write(b.behind.db, old.fence()));
    CHECK(may_write(b.behind.db, next.fence()));
    b.proxy.black_hole(false);
}

TEST_CASE("who leads no more says so before anybody else can lead", "[postgres][leader]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{1};
    db_type far{b.options(), server::one()};
    const std::string name = own("slow");
    lease old{far, name, {.check_every = 1ms, .check_timeout = 50ms, .valid_for = 1h}}, next{b.behind.db, name, quick};
    REQUIRE(old.poll() == leadership::gained);
    b.proxy.delay(way::to_client, 400ms);  // the server answers, too late
    std::this_thread::sleep_for(2ms);
    std::jthread polls{[&] { CHECK(old.poll() == leadership::lost); }};
    REQUIRE(comes_true([&] { return next.poll() != leadership::follows; }));
    CHECK_FALSE(old.is_leader());
    polls.join();
    b.proxy.delay(0ms);
}

TEST_CASE("a database that cannot be reached makes no leader, and says why", "[postgres][leader]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{1};
    db_type far{b.options(), strata::pool_options{.min_size = 0, .max_size = 1}};
    lease l{far, own("unreached"), quick};
    b.proxy.refuse(true);
    CHECK(l.poll() == leadership::follows);
    CHECK(l.last_error());
    b.proxy.refuse(false);
    CHECK(comes_true([&] { return l.poll() == leadership::gained; }));
    CHECK_FALSE(l.last_error());
}

TEST_CASE("leader options that make no sense are refused", "[postgres][leader]") {
    bank<> b{1};
    CHECK_THROWS_AS((lease{b.db, 1, {.check_every = 0s}}), strata::failure);
    CHECK_THROWS_AS((lease{b.db, 1, {.check_timeout = -1s}}), strata::failure);
    CHECK_THROWS_AS((lease{b.db, 1, {.check_every = 3s, .valid_for = 3s}}), strata::failure);
}

TEST_CASE("of many that contend one leads at a time, and their numbers ascend", "[postgres][leader]") {
    bank<> b{1, 8};
    const std::string name = own("many");
    std::atomic<int> leading{0}, most{0};
    std::atomic<std::int64_t> latest{0};
    std::atomic<int> terms{0}, wrong{0};
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&] {
                lease l{b.db, name, quick};
                for (int mine = 0; mine < 10;) {
                    if (l.poll() != leadership::gained) {
                        std::this_thread::sleep_for(500us);
                        continue;
                    }
                    ++mine, ++terms;
                    most = std::max(most.load(), ++leading);
                    if (latest.exchange(l.fence()) >= l.fence()) ++wrong;
                    std::this_thread::sleep_for(500us);
                    --leading;
                    l.resign();
                }
            });
    }
    CHECK(terms == 40);
    CHECK(most == 1);
    CHECK(wrong == 0);
}
