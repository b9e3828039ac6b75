// The protocol of two-phase commit against a model of databases: every step of every shape of transaction fails in every way, alone and
// in pairs, and what is told is held against what became of the databases.
#include <support/catch.hpp>

#include <strata/transaction/two_phase/global_id.hpp>
#include <strata/transaction/two_phase/protocol.hpp>

#include <limits>
#include <optional>
#include <random>

using strata::effect;
using strata::errc;
using strata::error;
using strata::two_phase_step;
using protocol = strata::detail::two_phase_protocol;
using strata::detail::two_phase_order;

namespace {

/// How a step goes.
enum class fate { well, refused, lost_before, lost_after, by_hand };
constexpr fate fates[] = {fate::refused, fate::lost_before, fate::lost_after, fate::by_hand};

/// What became of a participant's transaction, in truth.
enum class state { open, prepared, committed, rolled_back };

struct shape {
    std::size_t participants;
    std::size_t last;
    unsigned wrote;  // a bit a participant
    bool closure_fails;
};

struct world {
    explicit world(const shape& s) : how(s), states(s.participants, state::open), held(s.participants, true) {}

    [[nodiscard]] bool wrote(std::size_t i) const { return i == how.last || (how.wrote >> i & 1) != 0; }
    [[nodiscard]] int writers() const {
        int n = 0;
        for (std::size_t i = 0; i < how.participants; ++i) n += wrote(i) ? 1 : 0;
        return n;
    }

    static error lost(effect e = effect::none) {
        return error{errc::connection_lost, "lost", strata::phase::commit, e}.set(strata::health::lost);
    }
    static error refused(errc c = errc::io_error) { return error{c, "refused", strata::phase::commit}; }

    /// Does what was ordered, or does not.
    error perform(const two_phase_order& o, fate f, bool& said_wrote) {
        const std::size_t i = o.participant;
        const auto end = [&](state to) {  // of an open transaction, which ends with its connection
            REQUIRE(held[i]);
            REQUIRE(states[i] == state::open);
            held[i] = false;
            if (f == fate::refused || f == fate::by_hand)
                return states[i] = state::rolled_back, refused(errc::serialization_failure).set(effect::rolled_back);
            if (f == fate::lost_before) return states[i] = state::rolled_back, lost(effect::unknown);
            states[i] = to;
            return f == fate::lost_after ? lost(effect::unknown) : error{};
        };
        const auto end_prepared = [&](state to, bool on_its_own) {
            if (!on_its_own) {
                REQUIRE(held[i]);
                held[i] = false;
            }
            REQUIRE_FALSE(held[i]);
            if (f == fate::by_hand && states[i] == state::prepared) {
                states[i] = to == state::committed ? state::rolled_back : state::committed;
                touched = true;
            }
            if (f == fate::refused) return refused();
            if (f == fate::lost_before) return lost();
            const bool gone = states[i] != state::prepared;
            if (!gone) states[i] = to;
            if (f == fate::lost_after) return lost();
            if (!gone) return error{};
            if (!on_its_own) return refused(errc::undefined_object);
            const bool other = states[i] == (to == state::committed ? state::rolled_back : state::committed);
            return other ? error{errc::heuristic_outcome, "by hand", strata::phase::commit, effect::applied} : error{};
        };
        switch (o.step) {
            case two_phase_step::ask:
                REQUIRE(i != how.last);
                said_wrote = wrote(i);
                return f == fate::well ? error{} : f == fate::refused ? refused(errc::transaction_aborted) : lost();
            case two_phase_step::commit: {
                if (wrote(i) && writers() > 1) {
                    REQUIRE(i == how.last);
                    REQUIRE(noted);
                    for (std::size_t j = 0; j < how.participants; ++j)
                        REQUIRE((j == i || !wrote(j) || states[j] == state::prepared));  // nobody can refuse any more
                }
                error e = end(state::committed);
                decided = decided || (i == how.last && states[i] == state::committed);
                return e;
            }
            case two_phase_step::roll_back:
                REQUIRE(held[i]);
                held[i] = false;
                REQUIRE(states[i] != state::committed);
                REQUIRE(states[i] != state::prepared);
                states[i] = state::rolled_back;
                return {};
            case two_phase_step::prepare: {
                REQUIRE(i != how.last);
                REQUIRE(wrote(i));
                REQUIRE(writers() > 1);
                error e = end(state::prepared);
                if (!e) held[i] = true;
                return e;
            }
            case two_phase_step::note_decision:
                REQUIRE(i == how.last);
                noted = f == fate::well;
                return noted ? error{} : f == fate::refused ? refused() : lost();
            case two_phase_step::decide:
                REQUIRE(how.last == protocol::none);
                for (std::size_t j = 0; j < how.participants; ++j) REQUIRE((!wrote(j) || states[j] == state::prepared));
                if (f == fate::refused || f == fate::by_hand) return refused(errc::disk_full);
                decided = f != fate::lost_before;
                return f == fate::well ? error{} : error{errc::io_error, "sync", strata::phase::commit, effect::unknown};
            case two_phase_step::commit_prepared:
                REQUIRE(decided);
                return end_prepared(state::committed, false);
            case two_phase_step::rollback_prepared:
                REQUIRE_FALSE(decided);
                return end_prepared(state::rolled_back, false);
            case two_phase_step::complete:
                REQUIRE(decided);
                return end_prepared(state::committed, true);
            case two_phase_step::discard:
                REQUIRE_FALSE(decided);
                return end_prepared(state::rolled_back, true);
            case two_phase_step::forget:
                REQUIRE(decided);
                for (std::size_t j = 0; j < how.participants; ++j) REQUIRE((!wrote(j) || states[j] == state::committed || touched));
                forgotten = true;
                return {};
            default:
                FAIL("no such order");
                return {};
        }
    }

    shape how;
    std::vector<state> states;
    std::vector<bool> held;
    bool noted = false, decided = false, forgotten = false, touched = false;
};

/// Steps `first` and `second` go as they say, all others well. How many steps there were.
std::size_t run(const shape& s, std::size_t first, fate f, std::size_t second, fate g) {
    world w{s};
    protocol p{s.participants, s.last, s.closure_fails ? error{errc::user_exception, "no", strata::phase::execute} : error{}};
    std::size_t step = 0;
    for (two_phase_order o = p.next(); o.step != two_phase_step::ended; o = p.next(), ++step) {
        REQUIRE(step < 30);
        bool wrote = true;
        error e = w.perform(o, step == first ? f : step == second ? g : fate::well, wrote);
        p.answer(std::move(e), wrote);
    }
    const error result = std::move(p).result();
    INFO(result.to_string());
    std::size_t committed = 0, ended_otherwise = 0, prepared = 0;
    for (std::size_t i = 0; i < s.participants; ++i) {
        REQUIRE(w.states[i] != state::open);
        if (w.held[i]) REQUIRE(w.states[i] == state::prepared);  // left in doubt with its connection, which goes back as it is
        if (!w.wrote(i)) continue;
        committed += w.states[i] == state::committed ? 1u : 0u;
        ended_otherwise += w.states[i] == state::rolled_back ? 1u : 0u;
        prepared += w.states[i] == state::prepared ? 1u : 0u;
    }
    const auto all = static_cast<std::size_t>(w.writers());
    if (w.touched && committed != 0 && ended_otherwise != 0) {  // somebody's hand has broken it: that is told above all else
        CHECK((result.code() == errc::heuristic_outcome || !result || prepared != 0 || result.code() == errc::commit_pending));
        return step;
    }
    if (!result) {
        CHECK((committed == all || w.touched));
        CHECK(prepared == 0);
        CHECK((w.forgotten || all < 2));
    } else if (result.effect() == effect::rolled_back) {
        CHECK_FALSE(w.decided);
        CHECK((committed == 0 || w.touched));
        if (prepared != 0) CHECK_THAT(result.texts().detail, strata_test::contains_text("recover()"));
        if (f == fate::refused && second > 30) CHECK(result.texts().detail.empty());
    } else if (result.effect() == effect::applied) {
        CHECK((w.decided || w.touched));
        if (result.code() == errc::commit_pending) CHECK_FALSE(w.forgotten);
        if (result.code() == errc::commit_pending) CHECK((ended_otherwise == 0 || w.touched));
        if (result.code() == errc::commit_pending) CHECK_FALSE(result.texts().hint.empty());
    } else {
        CHECK(result.effect() == effect::unknown);
        if (all > 1) {  // nothing was ended on a guess
            CHECK(result.code() == errc::outcome_unknown);
            for (std::size_t i = 0; i < s.participants; ++i)
                if (w.wrote(i) && i != s.last) CHECK(w.states[i] == state::prepared);
        }
        CHECK_FALSE(w.forgotten);
    }
    return step;
}

}  // namespace

TEST_CASE("two-phase commit tells the truth whatever fails", "[two_phase][protocol]") {
    constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
    std::size_t runs = 0;
    for (std::size_t participants = 1; participants <= 3; ++participants) {
        for (std::size_t last = 0; last <= participants; ++last) {
            for (unsigned wrote = 0; wrote < 1u << participants; ++wrote) {
                for (const bool closure_fails : {false, true}) {
                    const shape s{participants, last == participants ? protocol::none : last, wrote, closure_fails};
                    CAPTURE(participants, last, wrote, closure_fails);
                    run(s, never, fate::well, never, fate::well);
                    for (std::size_t first = 0; first < 30; ++first) {
                        for (const fate f : fates) {
                            CAPTURE(first, static_cast<int>(f));
                            const std::size_t steps = run(s, first, f, never, fate::well);
                            ++runs;
                            if (first >= steps) {
                                first = 30;
                                break;
                            }
                            for (std::size_t second = first + 1; second < steps + 4; ++second)
                                for (const fate g : fates) {
                                    CAPTURE(second, static_cast<int>(g));
                                    run(s, first, f, second, g);
                                    ++runs;
                                }
                        }
                    }
                }
            }
        }
    }
    CHECK(runs > 5000);
}

TEST_CASE("two-phase commit in its usual order, and with as few steps as will do", "[two_phase][protocol]") {
    const auto steps = [](const shape& s) {
        std::string all;
        world w{s};
        protocol p{s.participants, s.last, s.closure_fails ? error{errc::user_exception, "no", strata::phase::execute} : error{}};
        for (two_phase_order o = p.next(); o.step != two_phase_step::ended; o = p.next()) {
            bool wrote = true;
            all += std::string{to_string(o.step)} + std::to_string(o.participant) + " ";
            error e = w.perform(o, fate::well, wrote);
            p.answer(std::move(e), wrote);
        }
        return all;
    };
    constexpr std::size_t none = protocol::none;
    CHECK(steps({2, none, 3, false}) == "ask0 ask1 prepare0 prepare1 decide0 commit_prepared0 commit_prepared1 forget0 ");
    CHECK(steps({3, none, 5, false}) == "ask0 ask1 ask2 commit1 prepare0 prepare2 decide0 commit_prepared0 commit_prepared2 forget0 ");
    CHECK(steps({2, none, 1, false}) == "ask0 ask1 commit1 commit0 ");
    CHECK(steps({2, none, 0, false}) == "ask0 ask1 commit0 commit1 ");
    CHECK(steps({2, 1, 3, false}) == "ask0 prepare0 note_decision1 commit1 commit_prepared0 forget0 ");
    CHECK(steps({2, 0, 3, false}) == "ask1 prepare1 note_decision0 commit0 commit_prepared1 forget0 ");
    CHECK(steps({2, 1, 0, false}) == "ask0 commit0 commit1 ");
    CHECK(steps({2, none, 3, true}) == "roll_back0 roll_back1 ");
}

TEST_CASE("global ids are read back as they were written, and nothing else is", "[two_phase]") {
    using strata::detail::global_id;
    std::mt19937_64 random{Catch::rngSeed()};
    const std::string coordinator = "strata:" + std::string(64, 'n') + ":0123456789abcdef:";
    for (int i = 0; i < 2000; ++i) {
        const auto any = [&] { return random() >> random() % 64; };
        const global_id id{{static_cast<std::uint32_t>(any()), any()}, static_cast<std::uint32_t>(any()), random() % 2 == 0 ? 0 : any()};
        const std::string text = id.to_string(coordinator);
        REQUIRE(text.size() < 200);
        REQUIRE(text.find_first_of("'\\\"") == text.npos);
        const auto back = global_id::read(text, coordinator);
        REQUIRE(back);
        CHECK(back->id == id.id);
        CHECK(back->branch == id.branch);
        CHECK(back->last_resource == id.last_resource);
        std::string other = text;
        other[coordinator.size() + random() % (text.size() - coordinator.size())] = "0123456789abcdef.: '"[random() % 20];
        const auto read = global_id::read(other, coordinator);
        if (read) CHECK(read->to_string(coordinator) == other);
    }
    for (const char* const wrong : {"", "1", "1.2", "1.2.", "01.2.3", "1.2.3 ", "1.2.3:", "1.2.3:0", "1.2.3:00000000000000001", "-1.2.3",
                                    "1.2.4294967296", "1.18446744073709551616.3", "1.2.3:0000000000000000"})
        CHECK_FALSE(global_id::read(coordinator + wrong, coordinator));
    CHECK_FALSE(global_id::read("strata:other:0123456789abcdef:1.2.3", "strata:test:0123456789abcdef:"));
}
