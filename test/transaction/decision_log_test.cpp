// The coordinator's log: what it promises is there after a crash at any moment, and damage is never passed over.
#include "failing_syncs.hpp"

#include <support/catch.hpp>

#include <strata/transaction/two_phase/decision_log.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <random>
#include <thread>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using strata::decision;
using strata::decision_log;
using strata::effect;
using strata::errc;
using strata::transaction_number;
using strata_test::failing_syncs;
using strata_test::no_memory;
using strata_test::starves;
using strata_test::syncs;
using strata_test::write_room;

namespace {

struct temp_folder {
    std::string path = (std::filesystem::temp_directory_path() / "strata-log.XXXXXX").string();
    temp_folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
    ~temp_folder() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::string file(const std::string& name = "log") const { return path + "/" + name; }
};

std::string read_file(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
}
void write_file(const std::string& path, std::string_view bytes) {
    std::ofstream out{path, std::ios::binary | std::ios::trunc};
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

decision some(std::uint64_t number, std::size_t branches = 2) {
    decision d{{1, number}, {}};
    for (std::uint32_t i = 0; i < branches; ++i) d.branches.push_back({i, {0x5eed0000u + i, 5}, number * 10 + i});
    return d;
}

/// The error of opening it; without one what it holds comes out.
strata::error opening(const std::string& path, std::vector<decision>& held, const std::string& name = "test") {
    try {
        const decision_log log{path, name};
        held = log.decisions();
        return {};
    } catch (const strata::failure& f) {
        return f.error();
    }
}
strata::error opening(const std::string& path, const std::string& name = "test") {
    std::vector<decision> held;
    return opening(path, held, name);
}

/// A file of decisions 1 .. n, and where each record of it ends; the first is the beginning's.
std::string sample(const temp_folder& t, std::uint64_t n, const std::string& name, std::vector<std::size_t>& ends) {
    const std::string path = t.file("sample");
    std::filesystem::remove(path);
    decision_log log{path, name};
    ends = {log.size()};
    for (std::uint64_t i = 1; i <= n; ++i) {
        REQUIRE(!log.decide(some(i, i % 4)));
        ends.push_back(log.size());
    }
    return read_file(path);
}

}  // namespace

/// In the place of the C library's: counts, and fails as told.
extern "C" int fdatasync(int fd) {
    ++syncs;
    if (failing_syncs > 0) {
        --failing_syncs;
        errno = EIO;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" ::ssize_t pwrite(int fd, const void* bytes, std::size_t n, ::off_t at) {
    if (write_room == 0) {
        if (starves) no_memory = true;
        errno = ENOSPC;
        return -1;
    }
    if (write_room > 0) n = std::min(n, static_cast<std::size_t>(write_room));
    if (write_room > 0) write_room -= static_cast<long>(n);
    return ::syscall(SYS_pwrite64, fd, bytes, n, at);
}

void* operator new(std::size_t n) {
    if (!no_memory)
        if (void* const p = std::malloc(n != 0 ? n : 1)) return p;
    throw std::bad_alloc{};
}
void operator delete(void* p) noexcept {
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}

TEST_CASE("a decision log remembers what was decided until it is forgotten", "[two_phase][decision_log]") {
    const temp_folder t;
    std::uint64_t identity = 0;
    {
        decision_log log{t.file(), "test"};
        identity = log.identity();
        CHECK(log.opening() == 1);
        CHECK(identity != 0);
        const int before = syncs;
        CHECK(!log.decide(some(1)));
        CHECK(syncs == before + 1);  // one a decision
        CHECK(!log.decide(some(2, 3)));
        CHECK(log.find({1, 2}) == some(2, 3));
        log.forget({1, 1});
        log.forget({1, 77});  // of nobody
        CHECK(syncs == before + 2);
        CHECK_FALSE(log.find({1, 1}));
        CHECK(!log.note({{1, 1}, {1, {9, 8}, 7}, true}));
        CHECK(!log.note({{1, 1}, {1, {9, 8}, 7}, true}));  // the same once more
    }
    {
        decision_log log{t.file(), "test"};
        CHECK(log.identity() == identity);
        CHECK(log.opening() == 2);
        CHECK(log.decisions() == std::vector{some(2, 3)});
        REQUIRE(log.heuristics().size() == 1);
        CHECK(log.heuristics()[0] == strata::heuristic_outcome{{1, 1}, {1, {9, 8}, 7}, true});
        CHECK(!log.acknowledge_heuristics());
        log.forget({1, 2});
        log.tidy();
        CHECK(read_file(t.file()).size() == log.size());
        CHECK(log.heuristics().empty());
    }
    decision_log log{t.file(), "test"};
    CHECK(log.decisions().empty());
    CHECK(log.heuristics().empty());
    CHECK(decision_log{t.file("other"), "test"}.identity() != identity);
}

TEST_CASE("whatever moment a crash comes at, no decision is lost and none is invented", "[two_phase][decision_log]") {
    const temp_folder t;
    std::mt19937 random{Catch::rngSeed()};
    auto log = std::make_unique<decision_log>(t.file(), "test");
    std::map<transaction_number, decision> live, ever;
    std::uint64_t next = 0;
    const int steps = strata_test::count(400, 4000);
    for (int step = 0; step < steps; ++step) {
        const auto what = random() % 100;
        if (what < 55) {
            decision d = some(++next, random() % 4);
            d.id.opening = log->opening();
            REQUIRE(!log->decide(d));
            live[d.id] = ever[d.id] = d;
        } else if (what < 95 && !live.empty()) {
            const auto at = std::next(live.begin(), static_cast<std::ptrdiff_t>(random() % live.size()));
            log->forget(at->first);
            live.erase(at);
        } else if (what < 97) {
            log.reset();
            log = std::make_unique<decision_log>(t.file(), "test");
        } else {
            log->tidy();
        }
        // As if the machine had stopped here: what is in the file, and a part of what would have come next.
        std::string bytes = read_file(t.file());
        if (random() % 2 == 0) {
            std::string more;
            strata::detail::append_record(more, "Dnever written to its end");
            bytes += more.substr(0, random() % more.size());
        }
        write_file(t.file("crashed"), bytes);
        const decision_log after{t.file("crashed"), "test"};
        for (const auto& [id, d] : live) REQUIRE(after.find(id) == d);
        for (const decision& d : after.decisions()) REQUIRE(ever.at(d.id) == d);  // perhaps forgotten since
    }
}

TEST_CASE("a file that ends early has a torn tail, and loses what was never acknowledged", "[two_phase][decision_log]") {
    const temp_folder t;
    for (const std::string name : {"x", "test-of-a-longer-name"}) {
        std::vector<std::size_t> ends;
        const std::string whole = sample(t, 12, name, ends);
        REQUIRE(whole.size() == ends.back());
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            INFO("cut at " << size << " of " << whole.size());
            write_file(t.file(), std::string_view{whole}.substr(0, size));
            std::vector<decision> held;
            const strata::error e = opening(t.file(), held, name);
            if (size < ends[0]) {
                REQUIRE(e.code() == errc::corrupt);  // never written in parts
                continue;
            }
            REQUIRE(!e);
            const auto records = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), size) - ends.begin());
            REQUIRE(held.size() == records - 1);
            for (const decision& d : held) REQUIRE(d == some(d.id.number, d.id.number % 4));
        }
    }
}

TEST_CASE("sectors that were not written are a torn tail too", "[two_phase][decision_log]") {
    const temp_folder t;
    int across = 0;
    for (std::uint64_t n = 1; n < 30; ++n) {
        std::vector<std::size_t> ends;
        const std::string whole = sample(t, n, "test", ends);
        const std::size_t begin = ends[ends.size() - 2];
        for (std::size_t from = begin; from < whole.size(); ++from) {
            if (from != begin && from % 512 != 0) continue;
            across += from != begin ? 1 : 0;
            for (const std::size_t more : {0u, 5u, 4096u}) {  // the file may have grown further
                std::string torn = whole.substr(0, from);
                torn.resize(whole.size() + more, '\0');
                write_file(t.file(), torn);
                std::vector<decision> held;
                INFO(n << " decisions, zeros from " << from << " of " << whole.size());
                REQUIRE(!opening(t.file(), held));
                REQUIRE(held.size() == n - 1);
            }
        }
        // A tear in the middle of a sector does not happen: that is damage.
        if (whole.size() - begin > 40 && (begin + 30) % 512 != 0 && begin / 512 == (whole.size() - 1) / 512) {
            std::string damaged = whole.substr(0, begin + 30);
            damaged.resize(whole.size(), '\0');
            write_file(t.file(), damaged);
            REQUIRE(opening(t.file()).code() == errc::corrupt);
        }
    }
    CHECK(across > 2);
}

TEST_CASE("any byte that changed is found, and told with its place and the remedy", "[two_phase][decision_log]") {
    const temp_folder t;
    for (std::size_t length = 1; length < 50; length += 16) {
        std::vector<std::size_t> ends;
        const std::string name(length, 'x');
        const std::string whole = sample(t, 13, name, ends);
        for (std::size_t at = 0; at < whole.size(); ++at) {
            for (const unsigned flip : {1u << (at % 8), 0xffu}) {
                std::string damaged = whole;
                damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
                write_file(t.file(), damaged);
                const strata::error e = opening(t.file(), name);
                INFO("byte " << at << " of " << whole.size() << ", bits " << flip);
                REQUIRE(e.code() == errc::corrupt);
                REQUIRE(e.texts().position <= static_cast<std::int64_t>(at));
                const auto record = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
                REQUIRE(e.texts().position == static_cast<std::int64_t>(record == 0 ? 0 : ends[record - 1]));
                REQUIRE_THAT(e.message(), strata_test::contains_text(t.file()));
                REQUIRE_FALSE(e.texts().hint.empty());
                REQUIRE(read_file(t.file()) == damaged);  // and left as it is
            }
        }
    }
}

TEST_CASE("whatever bytes there are, a log is read within its bounds", "[two_phase][decision_log]") {
    const temp_folder t;
    std::mt19937 random{Catch::rngSeed()};
    std::vector<std::size_t> ends;
    const std::string whole = sample(t, 5, "test", ends);
    const int tries = strata_test::count(2000, 20'000);
    int opened = 0;
    for (int i = 0; i < tries; ++i) {
        std::string bytes = whole.substr(0, random() % 3 == 0 ? random() % whole.size() : whole.size());
        if (random() % 2 == 0) {  // records that are sound, with content that is not
            std::string content;
            content += "HDFXQ"[random() % 5];
            for (auto n = random() % 40; n > 0; --n) content += static_cast<char>(random() % 4 == 0 ? random() : 0);
            strata::detail::append_record(bytes, content);
        } else {
            for (auto n = random() % 20; n > 0 && !bytes.empty(); --n) bytes[random() % bytes.size()] = static_cast<char>(random());
        }
        write_file(t.file(), bytes);
        const strata::error e = opening(t.file());
        opened += e ? 0 : 1;
        if (e && e.code() != errc::misuse) REQUIRE(e.code() == errc::corrupt);
    }
    CHECK(opened < tries);
    for (const std::string& bytes : {std::string{}, std::string{"select 1;\n"}, std::string(4096, '\0')}) {
        write_file(t.file(), bytes);
        CHECK(opening(t.file()).code() == errc::corrupt);
    }
}

TEST_CASE("one coordinator has a log open at a time, and a log belongs to one", "[two_phase][decision_log]") {
    const temp_folder t;
    {
        const decision_log log{t.file(), "test"};
        const strata::error e = opening(t.file());
        CHECK(e.code() == errc::busy);
        CHECK_THAT(e.message(), strata_test::contains_text(t.file()));
        CHECK_FALSE(e.texts().hint.empty());
    }
    const strata::error other = opening(t.file(), "other");
    CHECK(other.code() == errc::misuse);
    CHECK_THAT(other.message(), strata_test::contains_text("'test'"));
    CHECK(!opening(t.file()));

    const strata::error nowhere = opening(t.file("no/folder"));
    CHECK(nowhere.code() == errc::io_error);
    CHECK_THAT(nowhere.message(), strata_test::contains_text(t.file("no/folder")));

    decision_log log{t.file(), "test"};
    const ::pid_t child = ::fork();
    if (child == 0) ::_exit(log.decide(some(1)).code() == errc::misuse ? 7 : 8);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(log.decisions().empty());
}

TEST_CASE("a full disk refuses a decision, of which nothing stays", "[two_phase][decision_log]") {
    const temp_folder t;
    {
        decision_log log{t.file(), "test"};
        REQUIRE(!log.decide(some(1)));
        ::rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
        const auto signal_before = ::signal(SIGXFSZ, SIG_IGN);
        for (const std::size_t room : {0u, 1u, 20u, 80u}) {  // the last few bytes are missing
            const ::rlimit small{log.size() + room, before.rlim_max};
            REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
            const strata::error e = log.decide(some(2, 4));
            REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
            CHECK(e.code() == errc::disk_full);
            CHECK(e.effect() == effect::none);
            CHECK_THAT(e.message(), strata_test::contains_text(t.file()));
            CHECK(read_file(t.file()).size() == log.size());
        }
        ::signal(SIGXFSZ, signal_before);
        CHECK(!log.check());
        CHECK_FALSE(log.find({1, 2}));
        CHECK(!log.decide(some(3)));
    }
    std::vector<decision> held;
    CHECK(!opening(t.file(), held));
    CHECK(held == std::vector{some(1), some(3)});
}

TEST_CASE("a disk and a memory that are full at once leave nothing of a decision", "[two_phase][decision_log]") {
    const temp_folder t;
    for (const long bytes : {0, 1, 20, 80}) {
        std::filesystem::remove(t.file());
        {
            decision_log log{t.file(), "test"};
            REQUIRE(!log.decide(some(1)));
            starves = true;
            write_room = bytes;
            const strata::error e = log.decide(some(2, 4));
            write_room = -1;
            starves = no_memory = false;
            CHECK(e.code() == errc::disk_full);
            CHECK(e.effect() == effect::none);
            CHECK(read_file(t.file()).size() == log.size());
            CHECK_FALSE(log.find({1, 2}));
            CHECK(!log.decide(some(3)));  // shorter than what was begun before it
            // What cannot be taken back is followed by nothing.
            starves = true;
            write_room = bytes;
            failing_syncs = 1;
            const strata::error unknown = log.decide(some(4, 4));
            write_room = -1;
            starves = no_memory = false;
            CHECK(unknown.code() == errc::disk_full);
            CHECK(unknown.effect() == effect::unknown);
            CHECK(log.decide(some(5)).code() == errc::io_error);
            CHECK(log.check());
        }
        std::vector<decision> held;
        CHECK(!opening(t.file(), held));
        CHECK(held == std::vector{some(1), some(3)});
    }
}

TEST_CASE("a sync that fails takes the decision back, or says that nobody knows", "[two_phase][decision_log]") {
    const temp_folder t;
    {
        decision_log log{t.file(), "test"};
        REQUIRE(!log.decide(some(1)));
        failing_syncs = 1;
        const strata::error e = log.decide(some(2));
        CHECK(e.code() == errc::io_error);
        CHECK(e.effect() == effect::none);
        CHECK_FALSE(log.find({1, 2}));
        CHECK(!log.decide(some(3)));

        failing_syncs = 2;  // of the decision, and of taking it back
        const strata::error unknown = log.decide(some(4));
        failing_syncs = 0;
        CHECK(unknown.effect() == effect::unknown);
        CHECK(log.check().code() == errc::io_error);
        CHECK(log.decide(some(5)).effect() == effect::none);
        CHECK(log.decide(some(5)));
        CHECK(log.note({}));
        CHECK(log.acknowledge_heuristics());
        log.forget({1, 1});  // which is not written any more
    }
    std::vector<decision> held;
    CHECK(!opening(t.file(), held));
    CHECK(held == std::vector{some(1), some(3)});  // here the second try to take it back did cut the file
}

TEST_CASE("a log does not grow beyond what it must remember", "[two_phase][decision_log]") {
    const temp_folder t;
    {
        decision_log log{t.file(), "test"};
        REQUIRE(!log.decide(some(1)));
        std::size_t longest = 0;
        for (std::uint64_t n = 2; n < 6000; ++n) {
            REQUIRE(!log.decide(some(n)));
            log.forget({1, n});
            longest = std::max(longest, log.size());
        }
        CHECK(longest > 60'000);
        CHECK(longest < 140'000);
        CHECK(log.size() == read_file(t.file()).size());
    }
    decision_log log{t.file(), "test"};
    CHECK(log.decisions() == std::vector{some(1)});
    CHECK(log.size() < 400);
    CHECK_FALSE(std::filesystem::exists(t.file() + ".new"));
}

TEST_CASE("threads decide and forget on one log", "[two_phase][decision_log]") {
    const temp_folder t;
    constexpr std::uint64_t each = 100;
    {
        decision_log log{t.file(), "test"};
        std::vector<std::thread> threads;
        for (std::uint64_t n = 0; n < 4; ++n)
            threads.emplace_back([&log, n] {
                for (std::uint64_t i = 0; i < each; ++i) {
                    static_cast<void>(log.decide(some(n * each + i)));
                    if (i % 2 == 0) log.forget({1, n * each + i});
                    static_cast<void>(log.decisions());
                }
            });
        for (std::thread& thread : threads) thread.join();
    }
    std::vector<decision> held;
    CHECK(!opening(t.file(), held));
    CHECK(held.size() == 2 * each);
    for (const decision& d : held) CHECK((d == some(d.id.number) && d.id.number % 2 == 1));
}
