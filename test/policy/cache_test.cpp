// The cache by itself: what is kept, for how long, who fetches, who waits, and a long random life beside a plain model.
#include <strata/policy/cache.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;

namespace {

using alone = strata::layers<strata::cache<>>;
using options = strata::cache_options;
using read_operation =
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::read, .idempotent = strata::known::yes, .cacheable = true}>;
using asked_operation = strata::operation<strata::operation_facts{
    .kind = strata::operation_kind::read, .kind_known = false, .idempotent = strata::known::at_run_time, .cacheable = true}>;

/// A text whose copies can be made to fail.
struct fragile {
    std::string text;
    fragile() = default;
    explicit fragile(std::string t) : text(std::move(t)) {}
    fragile(const fragile& other) : text(other.text) {
        ++copies;
        if (fails > 0 && --fails == 0) throw std::bad_alloc{};
    }
    fragile(fragile&&) = default;
    fragile& operator=(const fragile&) = default;
    fragile& operator=(fragile&&) = default;
    [[nodiscard]] std::size_t heap_bytes() const noexcept { return text.size(); }

    static inline std::atomic<int> copies = 0;
    static inline std::atomic<int> fails = 0;  ///< the n-th copy from now on
};

/// A read of `key`, carried on by hand.
template <class Op = read_operation>
class lookup_of {
public:
    lookup_of(alone& l, manual_world& w, std::string key, std::vector<std::string_view> tags = {}, strata::duration ttl = {},
              strata::time_point deadline = strata::never)
        : key_(std::move(key)), tags_(std::move(tags)), passage_(l, op_), world_(w) {
        request_.key = key_;
        request_.hash = key_.size();  // many keys of one hash: they are told apart by their bytes
        request_.tags = tags_;
        request_.ttl = ttl;
        request_.result = &result_;
        request_.keep = &strata::detail::kept_copy<fragile>::keep;
        op_.cache = &request_;
        op_.deadline = deadline;
    }
    lookup_of& begin() {
        step_ = passage_.first(world_.moment());
        return *this;
    }
    [[nodiscard]] bool fetches() const { return step_ == strata::step::attempt; }
    [[nodiscard]] bool waits() const { return step_ == strata::step::park; }
    [[nodiscard]] bool is_over() const { return step_ == strata::step::done; }
    [[nodiscard]] bool is_granted() const { return waits() && passage_.parked_on()->is_granted(); }
    [[nodiscard]] strata::time_point until() const { return passage_.parked_until(); }
    void resume() { step_ = passage_.resume(world_.moment()); }
    void cancel() {
        op_.cancelled.store(true);
        resume();
    }
    /// The database answers.
    void bring(std::string text) {
        result_ = fragile{std::move(text)};
        step_ = passage_.landed(world_.moment());
    }
    void fail(errc code = errc::connection_lost) {
        result_ = fragile{"half a row"};
        passage_.result().replace(strata::error{code, strata::phase::execute});
        step_ = passage_.landed(world_.moment());
    }
    [[nodiscard]] errc code() { return passage_.result().code(); }
    [[nodiscard]] const std::string& text() const { return result_.text; }
    [[nodiscard]] Op& operation() { return op_; }
    [[nodiscard]] const std::string& key() const { return key_; }

private:
    std::string key_;
    std::vector<std::string_view> tags_;
    strata::cache_request request_;
    Op op_;
    fragile result_;
    strata::passage<alone, Op> passage_;
    manual_world& world_;
    strata::step step_ = strata::step::done;
};
using lookup = lookup_of<>;

struct fixture {
    explicit fixture(options o = {.jitter = 0}) : l(build<alone>(o)) {}
    [[nodiscard]] auto& cache() { return l.at<0>(); }
    [[nodiscard]] auto counts() { return cache().snapshot(); }
    [[nodiscard]] std::unique_ptr<lookup> begin(std::string key, std::vector<std::string_view> tags = {}, strata::duration ttl = {},
                                                strata::time_point deadline = strata::never) {
        auto call = std::make_unique<lookup>(l, w, std::move(key), std::move(tags), ttl, deadline);
        call->begin();
        return call;
    }
    /// Fetches and keeps it.
    void put(std::string key, std::string value, std::vector<std::string_view> tags = {}, strata::duration ttl = {}) {
        auto call = begin(std::move(key), std::move(tags), ttl);
        REQUIRE(call->fetches());
        call->bring(std::move(value));
        REQUIRE(call->is_over());
    }
    /// The text of a hit; "-" where it is none.
    [[nodiscard]] std::string get(std::string key) {
        auto call = begin(std::move(key));
        return call->is_over() && call->code() == errc::ok ? call->text() : "-";
    }

    alone l;
    manual_world w;
};

}  // namespace

TEST_CASE("what was fetched answers the next call, by its key alone", "[cache]") {
    STATIC_REQUIRE(strata::cache<>::place == strata::place::cache);
    STATIC_REQUIRE(alone::caches);
    STATIC_REQUIRE_FALSE(strata::layers<>::caches);
    fixture f;
    CHECK(f.get("a") == "-");
    f.put("a", "1");
    f.put("b", "2");  // of the same hash
    CHECK(f.get("a") == "1");
    CHECK(f.get("b") == "2");
    CHECK(f.get("c") == "-");
    const auto s = f.counts();
    CHECK(s.hits == 2);
    CHECK(s.misses == 4);
    CHECK(s.entries == 2);
    CHECK(s.joined + s.stale + s.evictions + s.too_big + s.impatient == 0);
}

TEST_CASE("a result is fresh for its time, less a share drawn at random", "[cache]") {
    fixture f{{.ttl = 10s, .jitter = 0.2}};
    f.w.set_unit(0);
    f.put("whole", "1");
    f.w.set_unit(0.5);
    f.put("less", "2");
    f.put("own", "3", {}, 1s);
    f.w.pass(900ms - 1ns);
    CHECK(f.get("own") == "3");
    f.w.pass(1ns);
    CHECK(f.get("own") == "-");
    f.w.pass(9s - 900ms - 1ns);
    CHECK(f.get("less") == "2");
    f.w.pass(1ns);
    CHECK(f.get("less") == "-");
    f.w.pass(1s - 1ns);
    CHECK(f.get("whole") == "1");
    f.w.pass(1ns);
    CHECK(f.get("whole") == "-");
}

TEST_CASE("of calls that miss the same one fetches, and the others get what it brings", "[cache]") {
    fixture f;
    auto first = f.begin("a"), second = f.begin("a"), third = f.begin("a"), other = f.begin("b");
    CHECK(first->fetches());
    REQUIRE(second->waits());
    REQUIRE(third->waits());
    CHECK(other->fetches());
    CHECK(second->until() == f.w.now + 1s);
    CHECK_FALSE(second->is_granted());
    first->bring("1");
    CHECK(first->text() == "1");
    REQUIRE(second->is_granted());
    REQUIRE(third->is_granted());
    f.w.pass(1h);  // what was given is theirs, however old
    second->resume();
    third->resume();
    CHECK(second->is_over());
    CHECK(second->code() == errc::ok);
    CHECK(second->text() == "1");
    CHECK(third->text() == "1");
    const auto s = f.counts();
    CHECK(s.joined == 2);
    CHECK(s.misses == 2);
    CHECK(s.hits == 0);
    other->bring("2");
}

TEST_CASE("the turn of one that fails passes on, in order", "[cache]") {
    const auto ends = GENERATE(0, 1, 2, 3);
    fixture f;
    auto first = f.begin("a"), second = f.begin("a"), third = f.begin("a");
    switch (ends) {
        case 0:
            first->fail(errc::connection_lost);
            CHECK(first->code() == errc::connection_lost);
            break;
        case 1:
            first->fail(errc::cancelled);
            break;
        case 2:
            first.reset();  // destroyed
            break;
        default:
            fragile::fails = 1;  // no memory for the copy that is kept
            first->bring("0");
            CHECK(first->text() == "0");
            CHECK(first->code() == errc::ok);
            fragile::fails = 0;
    }
    REQUIRE(second->is_granted());
    CHECK_FALSE(third->is_granted());
    auto late = f.begin("a");
    CHECK(late->waits());
    second->resume();
    REQUIRE(second->fetches());
    CHECK(f.counts().misses == 2);
    second->bring("1");
    REQUIRE(third->is_granted());
    third->resume();
    late->resume();
    CHECK(third->text() == "1");
    CHECK(late->text() == "1");
    CHECK(f.get("a") == "1");
}

TEST_CASE("who is given the turn and ends before it takes it hands it on", "[cache]") {
    fixture f;
    auto first = f.begin("a"), second = f.begin("a"), third = f.begin("a");
    first->fail();
    REQUIRE(second->is_granted());
    second.reset();
    REQUIRE(third->is_granted());
    third.reset();  // nobody is left
    CHECK(f.counts().entries == 0);
    auto again = f.begin("a");
    CHECK(again->fetches());
    again->bring("1");
    CHECK(f.get("a") == "1");
}

TEST_CASE("who waited and is destroyed, or gets no memory, takes nothing with it", "[cache]") {
    fixture f;
    auto first = f.begin("a"), second = f.begin("a"), third = f.begin("a"), fourth = f.begin("a");
    second.reset();
    first->bring("1");
    REQUIRE(third->is_granted());
    third.reset();  // with the value in its hands
    fragile::fails = 1;
    fourth->resume();
    fragile::fails = 0;
    REQUIRE(fourth->fetches());  // by itself
    fourth->bring("2");
    CHECK(fourth->text() == "2");
    CHECK(f.get("a") == "1");
    fragile::fails = 1;
    auto fifth = f.begin("a");
    fragile::fails = 0;
    CHECK(fifth->fetches());
    fifth->fail();
    CHECK(f.get("a") == "1");
}

TEST_CASE("who waits is refused at its deadline, and goes on by itself after max_wait", "[cache]") {
    fixture f{{.jitter = 0, .max_wait = 200ms}};
    auto leader = f.begin("a");
    auto hurried = f.begin("a", {}, {}, f.w.now + 100ms);
    auto patient = f.begin("a"), cancelled = f.begin("a");
    CHECK(hurried->until() == f.w.now + 100ms);
    cancelled->cancel();
    CHECK(cancelled->is_over());
    CHECK(cancelled->code() == errc::cancelled);
    f.w.pass(100ms);
    hurried->resume();
    CHECK(hurried->is_over());
    CHECK(hurried->code() == errc::timeout);
    patient->resume();  // for nothing
    CHECK(patient->waits());
    f.w.pass(100ms);
    patient->resume();
    REQUIRE(patient->fetches());
    CHECK(f.counts().impatient == 1);
    CHECK(f.counts().misses == 2);
    patient->bring("2");
    CHECK(patient->text() == "2");
    CHECK(f.begin("a")->waits());  // still for the leader
    leader->bring("1");
    CHECK(f.get("a") == "1");
}

TEST_CASE("an expired result stands in for a fetch that fails, for a while", "[cache]") {
    fixture f{{.ttl = 10s, .jitter = 0, .stale_for = 60s}};
    f.put("a", "1");
    f.w.pass(10s);
    const auto refreshed = [&](errc code) {
        auto call = f.begin("a");
        REQUIRE(call->fetches());
        call->fail(code);
        REQUIRE(call->is_over());
        return call->code() == errc::ok ? call->text() : std::string("-");
    };
    for (const errc code : {errc::connection_lost, errc::cannot_connect, errc::timeout, errc::busy, errc::io_error, errc::circuit_open,
                            errc::pool_exhausted, errc::bulkhead_full, errc::rate_limited, errc::pool_unreachable, errc::refused})
        CHECK(refreshed(code) == "1");
    CHECK(f.counts().stale == 11);
    CHECK(f.counts().misses == 1);
    for (const errc code : {errc::cancelled, errc::syntax_error, errc::no_rows, errc::type_mismatch, errc::user_exception,
                            errc::shutting_down, errc::permission_denied, errc::access_denied})
        CHECK(refreshed(code) == "-");
    CHECK(f.counts().stale == 11);
    {  // those who wait get it too
        auto first = f.begin("a"), second = f.begin("a");
        REQUIRE(second->waits());
        first->fail();
        REQUIRE(second->is_granted());
        second->resume();
        CHECK(second->text() == "1");
        CHECK(f.counts().stale == 13);
    }
    f.w.pass(60s - 1ns);
    CHECK(refreshed(errc::timeout) == "1");
    f.w.pass(1ns);
    CHECK(refreshed(errc::timeout) == "-");
    f.put("a", "2");
    CHECK(f.get("a") == "2");
}

TEST_CASE("an expired result is no answer where the fetch succeeds", "[cache]") {
    fixture f{{.ttl = 10s, .jitter = 0, .stale_for = 60s}};
    f.put("a", "1");
    f.w.pass(10s);
    auto first = f.begin("a"), second = f.begin("a");
    REQUIRE(first->fetches());
    REQUIRE(second->waits());
    first->bring("2");
    second->resume();
    CHECK(first->text() == "2");
    CHECK(second->text() == "2");
    CHECK(f.get("a") == "2");
    CHECK(f.counts().entries == 1);
}

TEST_CASE("a tag drops what carries it, and only that", "[cache]") {
    fixture f;
    f.put("a", "1", {"x"});
    f.put("b", "2", {"x", "y"});
    f.put("c", "3", {"y"});
    f.put("d", "4");
    CHECK(f.cache().invalidate("z") == 0);
    CHECK(f.cache().invalidate("x") == 2);
    CHECK(f.get("a") == "-");
    CHECK(f.get("b") == "-");
    CHECK(f.get("c") == "3");
    CHECK(f.get("d") == "4");
    CHECK(f.cache().invalidate("x") == 0);
    CHECK(f.cache().invalidate("y") == 1);
    CHECK(f.get("c") == "-");
    f.put("a", "5", {"x", "x"});  // said twice
    CHECK(f.cache().invalidate("x") == 1);
    CHECK(f.cache().invalidate_all() == 1);
    CHECK(f.counts().entries == 0);
    CHECK(f.counts().bytes == 0);
    CHECK(f.get("d") == "-");
}

TEST_CASE("what is on its way when its tag is dropped reaches those who wait, and is not kept", "[cache]") {
    const bool all = GENERATE(false, true);
    fixture f{{.jitter = 0, .stale_for = 1h}};
    f.put("a", "0", {"x"});
    f.w.pass(10s);  // with an expired result besides
    auto before = f.begin("a", {"x"}), joined = f.begin("a", {"x"}), failing = f.begin("a", {"x"});
    REQUIRE(before->fetches());
    CHECK((all ? f.cache().invalidate_all() : f.cache().invalidate("x")) == 1);
    CHECK(f.counts().entries == 0);
    CHECK(f.counts().bytes == 0);
    auto after = f.begin("a", {"x"});
    REQUIRE(after->fetches());  // not the old flight
    before->bring("old");
    joined->resume();
    CHECK(joined->text() == "old");
    failing.reset();
    CHECK(f.begin("a")->waits());  // what was read before the drop is not found
    after->fail();
    CHECK(after->code() == errc::connection_lost);  // and what was dropped stands in for nothing
    CHECK(f.get("a") == "-");
}

TEST_CASE("a flight that was dropped passes its turn on as well", "[cache]") {
    fixture f;
    auto before = f.begin("a", {"x"}), joined = f.begin("a", {"x"});
    CHECK(f.cache().invalidate("x") == 1);
    before->fail();
    REQUIRE(joined->is_granted());
    joined->resume();
    REQUIRE(joined->fetches());
    joined->bring("1");
    CHECK(joined->text() == "1");
    CHECK(f.counts().entries == 0);
}

TEST_CASE("the bound is in bytes, and what was not used for the longest time goes", "[cache]") {
    fixture measure;
    measure.put("a", std::string(1000, 'x'));
    const std::size_t one = measure.counts().bytes;
    CHECK(one > 1000);
    CHECK(one < 1600);
    fixture f{{.max_bytes = 4 * one + 10, .max_share = 0.5, .jitter = 0}};
    const auto put = [&](std::string key) { f.put(std::move(key), std::string(1000, 'x'), {"t"}); };
    for (const char* key : {"a", "b", "c", "d"}) put(key);
    CHECK(f.counts().entries == 3);  // the tag counts too
    CHECK(f.counts().evictions == 1);
    CHECK(f.get("a") == "-");
    CHECK(f.get("b") != "-");  // used
    put("e");
    CHECK(f.get("c") == "-");
    CHECK(f.get("b") != "-");
    CHECK(f.counts().bytes <= 4 * one + 10);
    f.put("big", std::string(3000, 'x'));
    CHECK(f.counts().too_big == 1);
    CHECK(f.get("big") == "-");
    CHECK(f.counts().entries == 3);
    f.put("half", std::string(1300, 'x'));
    CHECK(f.get("half") != "-");
    // a result that has grown too big takes the old one with it
    f.w.pass(10s);
    f.put("half", std::string(3000, 'x'));
    CHECK(f.get("half") == "-");
    CHECK(f.counts().too_big == 2);
}

TEST_CASE("only reads that may be repeated are looked up", "[cache]") {
    fixture f;
    f.put("a", "1");
    const auto fetches = [&](strata::operation_kind kind, bool idempotent) {
        lookup_of<asked_operation> call{f.l, f.w, "a"};
        call.operation().run_time_kind = kind;
        call.operation().run_time_idempotent = idempotent;
        const bool goes_on = call.begin().fetches();
        if (goes_on) call.bring("2");
        return goes_on;
    };
    CHECK(fetches(strata::operation_kind::write, true));
    CHECK(fetches(strata::operation_kind::read, false));
    CHECK(fetches(strata::operation_kind::other, true));
    CHECK_FALSE(fetches(strata::operation_kind::read, true));
    CHECK(f.get("a") == "1");
    // a call whose key could not be made, and one that does not ask
    lookup without{f.l, f.w, "a"};
    without.operation().cache = nullptr;
    CHECK(without.begin().fetches());
    without.bring("3");
    CHECK_FALSE(run<idempotent_operation>(f.l, f.w, succeeds()));
    CHECK_FALSE(run<inner_operation>(f.l, f.w, succeeds()));
    CHECK(f.counts().hits == 2);
}

TEST_CASE("options that make no sense are refused", "[cache]") {
    CHECK_FALSE(options{}.validate());
    CHECK(options{.max_bytes = 100}.validate());
    CHECK(options{.max_share = 0}.validate());
    CHECK(options{.max_share = 1.01}.validate());
    CHECK(options{.ttl = 0s}.validate());
    CHECK(options{.jitter = 1}.validate());
    CHECK(options{.jitter = -0.1}.validate());
    CHECK(options{.stale_for = -1s}.validate());
    CHECK(options{.max_wait = -1s}.validate());
}

// ------------------------------------------------------------------------------------------------------- the model

namespace {

/// What a cache should do, without pointers: maps, lists and names of calls.
class model {
public:
    struct kept {
        std::string text;
        strata::time_point fresh_until, stale_until;
        std::size_t bytes;
    };
    struct flight {
        int leader;
        std::deque<int> waiting;
        bool dropped = false;
    };
    enum class is { fetching, waiting, turn, over, by_itself };
    struct call {
        std::string key;
        is state;
        int flight = 0;
        std::string text;  ///< where it is over; "-" for an error
        bool given = false;
    };

    explicit model(const options& o) : o_(o) {}

    void begin(int id, const std::string& key, strata::time_point now) {
        call c{key, is::over, 0, {}, false};
        if (const auto at = entries.find(key); at != entries.end() && now < at->second.fresh_until) {
            use(key);
            c.text = at->second.text;
            ++counts.hits;
        } else if (const auto flying = by_key.find(key); flying != by_key.end()) {
            c.state = is::waiting;
            c.flight = flying->second;
            flights.at(c.flight).waiting.push_back(id);
        } else {
            ++counts.misses;
            c.state = is::fetching;
            c.flight = ++flight_number;
            by_key[key] = c.flight;
            flights[c.flight] = {id, {}};
        }
        calls[id] = c;
    }
    void bring(int id, const std::string& text, strata::time_point now, double unit, std::size_t bytes) {
        call& c = calls.at(id);
        c.text = text;
        if (c.state == is::by_itself) return end(c);
        end(c);
        flight& f = flights.at(c.flight);
        if (!f.dropped) {
            const auto ttl =
                o_.ttl - strata::duration{static_cast<strata::duration::rep>(static_cast<double>(o_.ttl.count()) * o_.jitter * unit)};
            remove(c.key);
            if (static_cast<double>(bytes) > static_cast<double>(o_.max_bytes) * o_.max_share) {
                ++counts.too_big;
            } else {
                entries[c.key] = {text, now + ttl, now + ttl + o_.stale_for, bytes};
                order.push_front(c.key);
                while (total() > o_.max_bytes) {
                    ++counts.evictions;
                    drop(std::string(order.back()));
                }
            }
        }
        give_all(c.flight, text, counts.joined);
    }
    void fail(int id, bool outage, strata::time_point now) {
        call& c = calls.at(id);
        c.text = "-";
        if (c.state == is::by_itself) return end(c);
        end(c);
        flight& f = flights.at(c.flight);
        const auto at = entries.find(c.key);
        if (outage && !f.dropped && at != entries.end() && now < at->second.stale_until) {
            c.text = at->second.text;
            ++counts.stale;
            --counts.misses;
            return give_all(c.flight, c.text, counts.stale);
        }
        pass_turn(c.flight);
    }
    /// A turn or a value was given to it.
    void take(int id) {
        call& c = calls.at(id);
        if (c.state == is::turn) {
            c.state = is::fetching;
            ++counts.misses;
        } else {
            c.state = is::over;
        }
    }
    void impatient(int id) {
        call& c = calls.at(id);
        std::erase(flights.at(c.flight).waiting, id);
        c.state = is::by_itself;
        ++counts.misses;
        ++counts.impatient;
    }
    /// Cancelled, late or destroyed.
    void leave(int id) {
        call& c = calls.at(id);
        const is was = c.state;
        end(c);
        c.text = "-";
        if (was == is::fetching || was == is::turn) return pass_turn(c.flight);
        if (was == is::waiting && !c.given) std::erase(flights.at(c.flight).waiting, id);
    }
    std::size_t drop_if(const std::function<bool(const std::string&)>& what) {
        std::set<std::string> keys;
        for (const auto& [key, k] : entries)
            if (what(key)) keys.insert(key);
        for (const auto& [key, f] : by_key)
            if (what(key)) keys.insert(key);
        for (const std::string& key : keys) drop(key);
        return keys.size();
    }
    [[nodiscard]] std::size_t total() const {
        std::size_t n = 0;
        for (const auto& [key, k] : entries) n += k.bytes;
        return n;
    }

    std::map<std::string, kept> entries;
    std::list<std::string> order;  ///< the latest used first
    std::map<std::string, int> by_key;
    std::map<int, flight> flights;
    std::map<int, call> calls;
    strata::cache_snapshot counts;
    int flight_number = 0;

private:
    static void end(call& c) { c.state = is::over; }
    void use(const std::string& key) {
        order.remove(key);
        order.push_front(key);
    }
    void remove(const std::string& key) {
        if (entries.erase(key) != 0) order.remove(key);
    }
    void drop(const std::string& key) {
        remove(key);
        if (const auto at = by_key.find(key); at != by_key.end()) {
            flights.at(at->second).dropped = true;
            by_key.erase(at);
        }
    }
    void finish(int number) {
        const auto at = flights.find(number);
        for (auto k = by_key.begin(); k != by_key.end(); ++k)
            if (k->second == number) {
                by_key.erase(k);
                break;
            }
        flights.erase(at);
    }
    void give_all(int number, const std::string& text, std::uint64_t& count) {
        for (const int id : flights.at(number).waiting) {
            calls.at(id).given = true;
            calls.at(id).text = text;
            ++count;
        }
        finish(number);
    }
    void pass_turn(int number) {
        flight& f = flights.at(number);
        if (f.waiting.empty()) return finish(number);
        f.leader = f.waiting.front();
        f.waiting.pop_front();
        calls.at(f.leader).state = is::turn;
        calls.at(f.leader).given = true;
    }

    options o_;
};

/// What an entry of this key and text takes, by itself.
std::size_t bytes_of(const std::string& key, const std::string& text, const std::vector<std::string_view>& tags) {
    fixture f{{.max_bytes = 1u << 30, .max_share = 1}};
    f.put(key, text, tags);
    return f.counts().bytes;
}

}  // namespace

TEST_CASE("a cache does what its model does, however long", "[cache][random]") {
    std::uint64_t hits = 0, joined = 0, evictions = 0, impatient = 0, stale = 0;
    for (std::uint64_t seed = 1; seed <= count<std::uint64_t>(4, 40); ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        const auto below = [&](std::uint64_t n) { return random() % n; };
        const options o{.max_bytes = 4096 + below(4) * 500,
                        .max_share = 0.4,
                        .ttl = 800ms,
                        .jitter = 0.5,
                        .stale_for = seed % 2 == 0 ? strata::duration{4s} : strata::duration{0},
                        .max_wait = 1s};
        fixture f{o};
        model m{o};
        std::map<int, std::unique_ptr<lookup>> calls;
        std::map<int, strata::time_point> deadlines, patience;
        std::map<std::string, std::size_t> sizes;
        int number = 0;
        const std::vector<std::string> keys{"ax", "ay", "bx", "by", "cx", "cy", "dx", "dy"};
        const auto tags_of = [](const std::string& key) {
            return std::vector<std::string_view>{key[0] == 'a' ? "a" : key[0] == 'b' ? "b" : "rest", key[1] == 'x' ? "x" : "y"};
        };
        const auto check_call = [&](int id) {
            lookup& real = *calls.at(id);
            const model::call& c = m.calls.at(id);
            CAPTURE(id, c.key, static_cast<int>(c.state));
            switch (c.state) {
                case model::is::fetching:
                case model::is::by_itself:
                    REQUIRE(real.fetches());
                    break;
                case model::is::waiting:
                case model::is::turn:
                    REQUIRE(real.waits());
                    REQUIRE(real.is_granted() == c.given);
                    break;
                case model::is::over:
                    REQUIRE(real.is_over());
                    REQUIRE((real.code() == errc::ok ? real.text() : "-") == c.text);
            }
        };
        for (int step = 0; step < 6'000; ++step) {
            CAPTURE(step);
            std::vector<int> open;
            for (const auto& [id, call] : calls) open.push_back(id);
            const std::uint64_t what = below(100);
            if (what < 45 && open.size() < 20) {
                const int id = ++number;
                const std::string key = keys[below(keys.size())];
                const auto deadline = below(4) == 0 ? f.w.now + std::chrono::milliseconds{1 + below(2000)} : strata::never;
                calls[id] = f.begin(key, tags_of(key), {}, deadline);
                deadlines[id] = deadline;
                patience[id] = f.w.now + o.max_wait;
                m.begin(id, key, f.w.now);
                check_call(id);
            } else if (what == 45) {
                const std::string tag = std::vector<std::string>{"a", "b", "rest", "x", "y", "none"}[below(6)];
                const auto has = [&](const std::string& key) {
                    const auto tags = tags_of(key);
                    return std::find(tags.begin(), tags.end(), tag) != tags.end();
                };
                const std::size_t dropped = m.drop_if(has);
                REQUIRE(f.cache().invalidate(tag) == dropped);
            } else if (what == 46 && below(4) == 0) {
                const std::size_t dropped = m.drop_if([](const std::string&) { return true; });
                REQUIRE(f.cache().invalidate_all() == dropped);
            } else if (open.empty() || (what >= 47 && what < 57)) {
                f.w.pass(std::chrono::milliseconds{below(400)});
            } else {
                const int id = open[below(open.size())];
                lookup& call = *calls.at(id);
                const model::call c = m.calls.at(id);
                if (what >= 98) {
                    calls.erase(id);  // destroyed
                    m.leave(id);
                    m.calls.erase(id);
                } else if (call.fetches()) {
                    if (below(2) != 0) {
                        const std::string text(below(3) == 0 ? below(100) : below(1600), static_cast<char>('a' + below(26)));
                        f.w.random = random();
                        const std::string name = c.key + std::to_string(text.size());
                        if (!sizes.contains(name)) sizes[name] = bytes_of(c.key, text, tags_of(c.key));
                        call.bring(text);
                        m.bring(id, text, f.w.now, f.w.moment().random_unit(), sizes[name]);
                    } else {
                        const bool outage = below(3) != 0;
                        call.fail(outage ? errc::timeout : errc::no_rows);
                        m.fail(id, outage, f.w.now);
                    }
                    check_call(id);
                } else if (what >= 95) {  // cancelled while it waits
                    const bool given = call.is_granted();
                    call.cancel();
                    if (given)
                        m.take(id);  // too late
                    else
                        m.leave(id);
                    check_call(id);
                } else {
                    const bool given = call.is_granted();
                    call.resume();
                    if (given)
                        m.take(id);
                    else if (f.w.now >= deadlines.at(id))
                        m.leave(id);
                    else if (f.w.now >= patience.at(id))
                        m.impatient(id);
                    check_call(id);
                }
            }
            if (step % 8 == 0)
                for (const auto& [id, call] : calls) check_call(id);
            std::erase_if(calls, [&](const auto& c) { return c.second->is_over() && m.calls.erase(c.first) != 0; });
            const auto s = f.counts();
            REQUIRE(s.entries == m.entries.size());
            REQUIRE(s.bytes == m.total());
            REQUIRE(s.bytes <= o.max_bytes);
            REQUIRE(s.hits == m.counts.hits);
            REQUIRE(s.misses == m.counts.misses);
            REQUIRE(s.joined == m.counts.joined);
            REQUIRE(s.stale == m.counts.stale);
            REQUIRE(s.impatient == m.counts.impatient);
            REQUIRE(s.evictions == m.counts.evictions);
            REQUIRE(s.too_big == m.counts.too_big);
        }
        hits += f.counts().hits;
        joined += f.counts().joined;
        evictions += f.counts().evictions;
        impatient += f.counts().impatient;
        stale += f.counts().stale;
    }
    CHECK(hits > 1000);
    CHECK(joined > 500);
    CHECK(evictions > 50);
    CHECK(impatient > 50);
    CAPTURE(hits, joined, evictions, impatient);
    CHECK(stale > 50);
}

TEST_CASE("threads that miss together fetch once, and see nothing torn", "[cache][threads]") {
    alone l = build<alone>(options{.max_bytes = 1u << 16, .ttl = 2ms, .jitter = 0.5, .stale_for = 1ms, .max_wait = 5ms});
    auto& cache = l.at<0>();
    std::atomic<int> wrong{0};
    std::atomic<std::uint64_t> answered{0};
    const auto work = [&](std::uint64_t seed) {
        std::mt19937_64 random{seed};
        manual_world w;
        for (std::uint64_t i = 0; i < count<std::uint64_t>(4'000, 40'000); ++i) {
            w.now = strata::steady_now();
            w.random = random();
            const std::string key(1 + random() % 6, static_cast<char>('a' + random() % 3));
            lookup call{l, w, key, {key[0] == 'a' ? "a" : "b"}, {}, random() % 8 == 0 ? w.now + 100us : strata::never};
            call.begin();
            while (call.waits()) {
                std::this_thread::yield();
                w.now = strata::steady_now();
                if (random() % 512 == 0) break;  // destroyed while it waits
                call.resume();
            }
            if (call.fetches()) {
                for (std::uint64_t n = random() % 4; n > 0; --n) std::this_thread::yield();
                if (random() % 4 == 0)
                    call.fail(random() % 2 == 0 ? errc::timeout : errc::no_rows);
                else if (random() % 16 != 0)
                    call.bring(key + std::string(random() % 200, '.'));
                else
                    continue;  // destroyed
            }
            if (call.is_over() && call.code() == errc::ok) {
                answered.fetch_add(1);
                if (call.text().compare(0, key.size(), key) != 0 || call.text().find_first_not_of('.', key.size()) != std::string::npos)
                    wrong.fetch_add(1);
            }
            if (random() % 64 == 0) static_cast<void>(cache.invalidate("a"));
            if (random() % 512 == 0) static_cast<void>(cache.invalidate_all());
            if (random() % 32 == 0 && cache.snapshot().bytes > (1u << 16)) wrong.fetch_add(1);
        }
    };
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 8; ++t) threads.emplace_back(work, t + 1);
    for (std::thread& t : threads) t.join();
    CHECK(wrong == 0);
    CHECK(answered > 0);
    const auto s = cache.snapshot();
    CHECK(s.hits > 0);
    CHECK(s.joined > 0);
    static_cast<void>(cache.invalidate_all());
    CHECK(cache.snapshot().bytes == 0);
}
