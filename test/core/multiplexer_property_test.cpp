// Random interleavings of a multiplexer against a model of what its callers are owed. One thread plays them all: while one is at work on
// the link, or wakes somebody, others have a moment. Equal seeds give equal runs.
#include <chrono>
#include <cstdint>
#include <ctime>
#include <type_traits>

namespace {
std::int64_t simulated_now = 0;  // nanoseconds
int simulated_clock(int, std::timespec* t) noexcept {
    t->tv_sec = simulated_now / 1'000'000'000;
    t->tv_nsec = simulated_now % 1'000'000'000;
    return 0;
}
}  // namespace

// The multiplexer asks `steady_now`, which is inlined always: here it tells the simulated time.
#define clock_gettime(which, where) simulated_clock(which, where)
#include <strata/core/time.hpp>
#undef clock_gettime

#include <support/catch.hpp>

#include "fake_pipeline.hpp"

#include <array>
#include <memory>
#include <optional>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::effect;
using strata::errc;
using strata::signal;

namespace {

using multiplexer = strata::detail::multiplexer<fake_link>;
using seat = strata::detail::seat<fake_link>;

class life;

/// A caller, with what drives it.
struct guest final : strata::waker, strata::detail::seat_owner<fake_link> {
    enum class is : std::uint8_t { idle, running, turn, to_park, parked, to_wait, waits };

    explicit guest(life& l) : world(l) { op.drive = this; }
    static strata::waker* waker_of(strata::operation_base& o);
    void wake() noexcept override;
    void dispose() noexcept override {}
    bool move(strata::operation_base&, strata::waiter& node, multiplexer*& to, strata::time_point& until) noexcept override;
    multiplexer* arrive(strata::waiter& node) noexcept override;
    [[nodiscard]] bool is_moving() const { return waiting_on != nullptr; }

    life& world;
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::read}> op;
    std::unique_ptr<seat> place;
    fake_link::call call;
    is state = is::idle;
    bool yields = true;
    bool woken = false;
    bool told = false;  // its wait, of a cancel
    int moves = 0;
    strata::waiter* waiting_on = nullptr;
    strata::time_point until = strata::never;
    bool writable = false;
};

/// A shared connection, with the reactor's part of it.
struct line final : strata::io_watch {
    line(circumstances& world, const strata::detail::flow_limits& limits)
        : server(world, limits.share, limits.statements), shared(limits, server) {
        // Not owned by the place.
        server.watch.put({std::shared_ptr<void>{}, this});
    }
    void nudge() noexcept override { nudged = true; }
    fake_server server;
    multiplexer shared;
    bool nudged = false;
};

struct tally {
    std::uint64_t steps = 0, done = 0, moved = 0, lost = 0, skipped = 0, gave_up = 0, unknown = 0, abandoned = 0;
};

class life final : public circumstances {
public:
    life(std::uint64_t seed, tally& t) : count_(t), seed_(seed * 0x9e3779b97f4a7c15u + 1) {
        limits_.statements = 1 + below(below(4) == 0 ? 200 : 12);
        limits_.bytes = 1 + below(below(2) == 0 ? 40 : 4000);
        limits_.share = 1 + below(6);
        breaks_ = below(3) == 0 ? 0 : 10 + below(60);
        chance_of_others_ = 2 + below(30);
        luckless_ = below(4) == 0;
        blocking_ = below(3) == 0 ? below(100) : 0;
        simulated_now = 1'000'000'000'000;
        const std::uint64_t many = below(12) == 0 ? 80 : 1 + below(10);
        for (int n = 0; n != 2; ++n) lines_.emplace_back(*this, limits_).server.descriptor = n;
        for (std::uint64_t i = 0; i < many; ++i) guests_.push_back(std::make_unique<guest>(*this));
    }
    life(const life&) = delete;
    life& operator=(const life&) = delete;
    ~life() override { ends_ = true; }

    std::uint64_t run(std::uint64_t steps) {
        const std::uint64_t end = count_.steps + steps;
        const bool in_crowds = guests_.size() > 20;
        while (count_.steps < end && wrong_.empty()) {
            if (in_crowds && below(60) == 0)
                for (auto& g : guests_) try_board(*g);
            step();
            if (below(50) == 0) settle(false);
            if (below(2000) == 0) settle(true);
            if ((lines_[0].shared.is_lost() || cancelled_[0]) && below(40) == 0) break;
        }
        if (wrong_.empty()) drain();
        for (const auto& d : deeds_) {
            if (d->executed > 1 && d->writes) wrong("a write was executed twice");
            if (d->committed > 1 && d->writes) wrong("a write was committed twice");
        }
        for (const deed* d : nothing_came_)
            if (d->writes && d->committed != 0) wrong("it was told that nothing came of it, but it did");
        return digest_;
    }
    [[nodiscard]] const std::vector<std::string>& violations() const { return wrong_; }

    // As the links see it.
    [[nodiscard]] std::uint64_t below(std::uint64_t n) noexcept override {
        if (ends_) return 1;
        if (n >= 1000 && !luckless_) return 1;
        std::uint64_t z = (seed_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return (z ^ (z >> 31)) % n;
    }
    /// One is at work, or has let go of the lock to wake others.
    void others() override {
        if (ends_ || depth_ >= 3 || below(chance_of_others_) != 0) return;
        ++depth_;
        ++amid_;
        for (std::uint64_t n = 1 + below(4); n != 0; --n) aside();
        --amid_;
        --depth_;
    }
    /// A thread blocks for the descriptor.
    void wait(const strata::io_wait& w) override {
        line& l = lines_[static_cast<std::size_t>(w.descriptor)];
        if (++waits_ > 1'000'000) {
            wrong("a thread waits for ever");
            throw std::runtime_error("waits");
        }
        if (depth_ < 3) {
            ++depth_;
            for (std::uint64_t n = below(4); n != 0; --n) aside();
            --depth_;
        }
        simulated_now += 1'000'000;
        while (l.server.execute()) {
        }
        for (std::uint64_t n = 1 + below(3); n != 0; --n) static_cast<void>(l.server.deliver());
    }
    void wrong(const std::string& what) override {
        if (!ends_ && wrong_.size() < 3) wrong_.push_back(what);
    }

    /// For a waker. Who gets none goes at once, which blocks while another is at work.
    [[nodiscard]] bool lacks_memory() { return amid_ == 0 && below(2000) == 0 && !somebody_blocks(); }
    [[nodiscard]] bool somebody_blocks() const {
        return std::any_of(guests_.begin(), guests_.end(), [](const auto& g) { return !g->yields && g->state != guest::is::idle; });
    }
    /// The next wait for a connection.
    bool moves(guest& g, strata::waiter& node, multiplexer*& to, strata::time_point& until) {
        if (++g.moves > 1) wrong("it moved twice");
        ++count_.moved;
        to = nullptr;
        switch (below(4)) {
            case 0:
                return false;
            case 1:
                node.prepare(g.yields ? &g : nullptr);
                g.waiting_on = &node;
                until = strata::time_point{strata::duration{simulated_now}} + std::chrono::milliseconds{below(30)};
                if (g.op.deadline < until) until = g.op.deadline;
                return true;
            default:
                to = &lines_[1].shared;
                return false;
        }
    }

private:
    [[nodiscard]] strata::time_point now() const { return strata::time_point{strata::duration{simulated_now}}; }
    [[nodiscard]] line& line_of(guest& g) { return &g.place->watch() == &lines_[0].server.watch ? lines_[0] : lines_[1]; }

    // ------------------------------------------------------------------------------------------- what may happen

    void step() {
        switch (below(12)) {
            case 0:
            case 1:
            case 2:
                return try_board(any());
            case 3:
                return abandon(any());
            case 4:
                ++count_.steps;
                simulated_now += static_cast<std::int64_t>(below(2'000'000));
                return;
            case 5:
                if (below(400) == 0) {
                    ++count_.steps;
                    line& l = lines_[below(2)];
                    cancelled_[&l == &lines_[1]] = true;
                    l.shared.cancel_all();
                }
                return;
            default:
                aside();
        }
    }
    /// What other threads may do while one is at work.
    void aside() {
        ++count_.steps;
        line& l = lines_[below(5) == 0];
        switch (below(24)) {
            case 0:
            case 1:
                return try_board(any());
            case 2:
                return cancel(any());
            case 3:
            case 4:
            case 5:
                for (std::uint64_t n = 1 + below(8); n != 0 && l.server.execute(); --n) {
                }
                return;
            case 6:
            case 7:
                for (std::uint64_t n = 1 + below(8); n != 0 && l.server.deliver(); --n) {
                }
                return;
            case 8:
                if (breaks_ != 0 && below(breaks_) == 0) l.server.dead = true;
                return;
            case 9:
                if (below(10) == 0) l.server.prepared.clear();
                return;
            case 10:
                return grant(any());
            default:
                return static_cast<void>(go_on(any(), below(20) == 0));
        }
    }
    [[nodiscard]] guest& any() { return *guests_[below(guests_.size())]; }

    void try_board(guest& g) {
        if (g.state != guest::is::idle) return;
        ++count_.steps;
        auto made = std::make_unique<deed>();
        deed& d = *made;
        deeds_.push_back(std::move(made));
        d.id = deeds_.size();
        d.text = static_cast<unsigned>(1 + below(4));
        d.bytes = below(20);
        d.writes = below(3) == 0;
        const std::uint64_t fate = below(24);
        d.fails = fate == 0 || fate == 1;
        d.fails_late = d.writes && fate == 2;
        d.refused = fate == 3;
        d.unfit = fate == 4;
        d.bursts = !d.writes && fate == 5;
        d.shares = fate != 6;
        g.call.what = &d;
        g.call.got = 0;
        g.yields = amid_ != 0 || below(100) >= blocking_;
        g.woken = g.told = false;
        g.moves = 0;
        g.op.cancelled = false;
        g.op.deadline = below(3) != 0 ? strata::never : now() + std::chrono::nanoseconds{below(500'000'000)};
        g.op.make_waker = g.yields ? &guest::waker_of : nullptr;
        g.state = guest::is::running;
        if (g.place == nullptr || below(2) == 0) g.place = std::make_unique<seat>();
        g.place->on_resume(g.op, {now()});
        g.place->may_yield(g.yields);
        line& on = lines_[below(16) == 0];
        g.place->sit(on.shared, below(4) == 0 ? nullptr : &g);
        handle(g, [&] { return g.place->begin(g.call, !d.writes); });
    }
    template <class Does>
    void handle(guest& g, Does&& does) {
        signal s = signal::failed;
        bool burst_out = false;
        try {
            s = does();
        } catch (const burst& b) {
            burst_out = true;
            if (!g.call.what->bursts || b.id != g.call.what->id) wrong("what another's sink threw");
        } catch (const std::bad_alloc&) {
            g.place->end();
            return leaves(g);
        }
        note(g.call.what->id);
        note(static_cast<std::uint64_t>(s));
        switch (s) {
            case signal::done:
            case signal::failed:
                return ends(g, s == signal::done, burst_out);
            case signal::turn:
                g.state = guest::is::turn;
                return;
            case signal::park:
                g.state = guest::is::to_park;
                return;
            case signal::io:
                g.state = guest::is::to_wait;
                return;
            default:
                wrong("what signal is this?");
        }
    }
    /// Its drive does what can be done: whether it could. `for_nothing`: it may wake for no reason.
    bool go_on(guest& g, bool for_nothing) {
        using is = guest::is;
        if (amid_ != 0 && !g.yields) return false;
        bool resumes = false;
        switch (g.state) {
            case is::turn:
                resumes = true;
                break;
            case is::to_park:
                resumes = std::exchange(g.woken, false);
                // Either a cancel sees the waiting, or the waiting sees the cancel.
                resumes = resumes || (g.op.cancelled && !g.is_moving() && line_of(g).server.preparing_for != g.call.what);
                g.until = g.place->parked_until();
                g.state = is::parked;
                if (!resumes) return true;
                break;
            case is::to_wait: {
                const strata::io_wait w = g.place->awaited();
                g.until = w.until;
                g.writable = w.writable;
                g.state = is::waits;
                if (g.op.cancelled && !std::exchange(g.told, true)) line_of(g).nudged = true;
                if (std::exchange(line_of(g).nudged, false)) end_waits(line_of(g));
                return true;
            }
            case is::parked:
                resumes = for_nothing || g.until <= now() || (!g.yields && g.place->parked_on()->is_granted());
                break;
            case is::waits: {
                line& l = line_of(g);
                if (std::exchange(l.nudged, false)) end_waits(l);
                if (g.state != is::waits) return true;
                resumes = for_nothing || g.until <= now() || l.server.dead || (g.writable ? l.server.has_room : l.server.is_readable());
                break;
            }
            default:
                return false;
        }
        if (resumes) resume(g);
        return resumes;
    }
    /// Their handlers are called.
    void end_waits(line& l) {
        for (auto& g : guests_)
            if (g->state == guest::is::waits && &line_of(*g) == &l) g->state = guest::is::turn;
    }
    void resume(guest& g) {
        ++count_.steps;
        g.state = guest::is::running;
        g.place->on_resume(g.op, {now()});
        g.place->may_yield(g.yields);
        const bool too_early = g.is_moving() && !g.waiting_on->is_granted() && g.until > now() && !g.op.cancelled;
        handle(g, [&] { return g.place->go_on(); });
        if (too_early && !g.is_moving()) wrong("it gave up its wait for another connection");
    }
    void cancel(guest& g) {
        if (g.state == guest::is::idle || !g.yields || below(20) != 0) return;
        g.op.cancelled = true;
        if (g.state == guest::is::waits) {
            line_of(g).nudged = false;
            end_waits(line_of(g));
        } else {
            g.wake();
        }
    }
    /// Its frame goes, midway.
    void abandon(guest& g) {
        if (g.state == guest::is::idle || g.state == guest::is::running || below(40) != 0) return;
        // It may have to wait for a leader that blocks: a thread of its own, which has none here.
        if (somebody_blocks()) return;
        ++count_.steps;
        ++count_.abandoned;
        g.state = guest::is::running;
        g.place->end();
        g.place.reset();
        leaves(g);
    }
    void grant(guest& g) {
        if (!g.is_moving() || g.state == guest::is::running) return;
        strata::wake_call wake;
        if (g.waiting_on->grant(below(4) == 0 ? nullptr : &lines_[1].shared, wake)) wake();
    }

    // ----------------------------------------------------------------------------------- what they must be told

    void leaves(guest& g) {
        g.call.what->ended = true;
        g.call.what = nullptr;
        g.waiting_on = nullptr;
        g.state = guest::is::idle;
    }
    void ends(guest& g, bool well, bool burst_out) {
        deed& d = *g.call.what;
        const strata::error& e = g.place->error_;
        note(static_cast<std::uint64_t>(e.code()) * 8 + static_cast<std::uint64_t>(e.effect()));
        const auto must = [&](bool holds, const char* what) {
            if (!holds) wrong(std::string{what} + ": " + std::to_string(d.id) + " " + std::string{to_string(e.code())} + " " + e.message());
        };
        if (d.ended) wrong("it ended twice");
        const bool sound = !d.fails && !d.fails_late && !d.refused && !d.unfit;
        if (burst_out) {
            must(d.bursts && sound, "thrown");
        } else if (well) {
            ++count_.done;
            must(sound && !d.bursts && !e, "well, though it fails");
            must(d.writes || g.call.got == d.truth(), "not its own answer");
            must(!d.writes || (d.committed == 1 && g.place->affected_ == 1), "not committed");
        } else {
            must(static_cast<bool>(e), "failed without an error");
            const std::string mine = std::to_string(d.id);
            if (e.effect() == effect::applied) wrong("applied");
            if (e.effect() == effect::unknown) {
                ++count_.unknown;
                must(d.writes && d.sent != 0, "unknown");
            } else {
                nothing_came_.push_back(&d);
            }
            switch (e.code()) {
                case errc::unique_violation:
                    must(d.fails && e.message() == mine && (d.executed == 1 || !d.writes), "not its own failure");
                    break;
                case errc::foreign_key_violation:
                    must(d.fails_late && e.message() == mine && d.executed == 1, "not its own failure");
                    break;
                case errc::invalid_argument:
                    must(d.refused && e.message() == mine && d.executed == 0, "not refused");
                    break;
                case errc::type_mismatch:
                    must(d.unfit && e.message() == mine && d.executed == 0, "not unfit");
                    break;
                case errc::invalid_statement:
                    must(d.stale > 1 && e.message() == mine, "was not prepared anew");
                    break;
                case errc::cancelled:
                    must(g.op.cancelled || cancelled_[0] || cancelled_[1], "nobody cancelled it");
                    must(e.effect() == effect::unknown || !d.writes || d.executed == 0, "it was executed");
                    ++count_.gave_up;
                    break;
                case errc::timeout:
                    must(g.op.deadline <= now(), "too early");
                    must(e.effect() == effect::unknown || !d.writes || d.executed == 0, "it was executed");
                    ++count_.gave_up;
                    break;
                case errc::connection_lost:
                    must(e.effect() == effect::unknown || !d.writes || d.executed == 0, "it was executed");
                    ++count_.lost;
                    break;
                default:
                    must(false, "what error is this?");
            }
        }
        g.place->end();
        leaves(g);
    }

    // --------------------------------------------------------------------------------------- nobody is forgotten

    /// All do what they can without the servers; then none may be left that could have gone. `late`: after all deadlines.
    void settle(bool late) {
        if (late) simulated_now += 1'000'000'000;
        const std::uint64_t most = count_.steps + 1000 * (10 + guests_.size());
        for (bool any = true; any && wrong_.empty();) {
            any = false;
            for (auto& g : guests_) any = go_on(*g, false) || any;
            if (count_.steps > most) return wrong("they run in circles");
        }
        std::array<int, 2> here{}, lead{};
        for (auto& g : guests_) {
            if (g->state == guest::is::idle || g->is_moving()) continue;
            const std::size_t n = &line_of(*g) == &lines_[1];
            ++here[n];
            lead[n] += g->state == guest::is::waits;
            if ((g->op.deadline > now() && !g->op.cancelled) || lines_[n].server.preparing_for == g->call.what) continue;
            wrong("it has given up, and waits yet: " + std::to_string(g->call.what->id));
        }
        for (const std::size_t n : {0u, 1u}) {
            if (lead[n] > 1) wrong("two lead");
            if (here[n] != 0 && lead[n] == 0) wrong("nobody leads");
            const fake_server& f = lines_[n].server;
            const bool is_idle =
                f.inbox.empty() && f.outbox.empty() && f.wire.empty() && f.has_room && !f.dead && f.preparation == fake_server::asked::no;
            if (here[n] != 0 && (is_idle || lines_[n].shared.is_lost())) wrong("they wait for nothing");
            if (lines_[n].shared.load() != static_cast<std::size_t>(here[n])) wrong("its load is not who is here");
        }
    }
    void drain() {
        for (int round = 0; wrong_.empty(); ++round) {
            settle(false);
            bool any = false, all_gone = true;
            for (line& l : lines_) {
                while (l.server.execute()) any = true;
                while (l.server.deliver()) any = true;
            }
            for (auto& g : guests_) {
                if (g->state != guest::is::idle) all_gone = false;
                if (g->is_moving()) any = true, grant(*g);
            }
            if (all_gone) return;
            if (!any && round > 1) {
                settle(false);
                for (auto& g : guests_)
                    if (g->state != guest::is::idle) return wrong("forgotten: " + std::to_string(g->call.what->id));
                return;
            }
            if (round > 10'000) return wrong("no end");
        }
    }

    void note(std::uint64_t what) { digest_ = (digest_ ^ what) * 0x100000001b3u; }

    tally& count_;
    std::uint64_t seed_;
    strata::detail::flow_limits limits_{};
    std::uint64_t breaks_ = 0, chance_of_others_ = 2, blocking_ = 0, digest_ = 0;
    bool luckless_ = false;
    bool ends_ = false;
    int depth_ = 0;
    int amid_ = 0;  // somebody's work, which goes on only when we return: none may block
    int waits_ = 0;
    std::vector<std::string> wrong_{};
    std::vector<std::unique_ptr<deed>> deeds_{};
    std::vector<const deed*> nothing_came_{};
    std::array<bool, 2> cancelled_{};
    std::deque<line> lines_{};
    std::vector<std::unique_ptr<guest>> guests_{};
};

strata::waker* guest::waker_of(strata::operation_base& o) {
    guest& g = *static_cast<guest*>(o.drive);
    if (g.world.lacks_memory()) throw std::bad_alloc{};
    return &g;
}
void guest::wake() noexcept {
    if (state == is::parked)
        state = is::turn;
    else
        woken = true;
    world.others();
}
bool guest::move(strata::operation_base&, strata::waiter& node, multiplexer*& to, strata::time_point& limit) noexcept {
    return world.moves(*this, node, to, limit);
}
multiplexer* guest::arrive(strata::waiter& node) noexcept {
    waiting_on = nullptr;
    return node.withdraw() ? nullptr : static_cast<multiplexer*>(node.gift);
}

/// Lives of `each` steps until there were so many.
std::uint64_t run_lives(std::uint64_t from, std::uint64_t steps, tally& t) {
    std::uint64_t all = 0;
    for (std::uint64_t seed = from; t.steps < steps; ++seed) {
        life l{seed, t};
        all = (all ^ l.run(2000)) * 0x100000001b3u;
        INFO("seed " << seed);
        CHECK(l.violations() == std::vector<std::string>{});
        if (!l.violations().empty()) break;
    }
    return all;
}

}  // namespace

TEST_CASE("random interleavings of a multiplexer: each is told the truth, once, and nobody is forgotten", "[multiplexer][property]") {
    tally t;
    run_lives(1, count(1'000'000u, 50'000'000u), t);
    INFO("steps " << t.steps << " done " << t.done << " moved " << t.moved << " lost " << t.lost << " gave up " << t.gave_up << " unknown "
                  << t.unknown << " abandoned " << t.abandoned);
    CHECK(t.done > 15'000);
    CHECK(t.moved > 1'000);
    CHECK(t.lost > 1'000);
    CHECK(t.gave_up > 1'000);
    CHECK(t.unknown > 100);
    CHECK(t.abandoned > 1'000);
}

TEST_CASE("equal seeds give equal interleavings", "[multiplexer][property]") {
    tally one, other;
    CHECK(run_lives(1, 30'000, one) == run_lives(1, 30'000, other));
}
