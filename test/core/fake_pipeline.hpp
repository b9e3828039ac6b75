// A server with a pipeline, as PostgreSQL has one, in a few lines, and the link to it that a multiplexer drives.
//
// The server executes what has come in order. What stands before one Sync is one transaction: when a statement of it fails, all behind it
// are skipped up to the Sync, and what those before it wrote is undone. It may have forgotten what was prepared, and may refuse to commit.
// Bytes leave, arrive and are executed when the test says so; the connection may break at any point in between.
#ifndef STRATA_TEST_CORE_FAKE_PIPELINE_HPP
#define STRATA_TEST_CORE_FAKE_PIPELINE_HPP

#include <strata/core/multiplexer.hpp>

#include <algorithm>
#include <deque>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace strata_test {

/// A statement: what it is to do, and what became of it on the server. Lives as long as the server.
struct deed {
    std::uint64_t id = 0;
    unsigned text = 1;
    std::size_t bytes = 8;
    bool writes = false;
    bool fails = false;       // on the server
    bool fails_late = false;  // when it is committed
    bool refused = false;     // its argument, by the link
    bool unfit = false;       // its columns, by the link
    bool bursts = false;      // its sink throws
    bool shares = true;
    bool ended = false;  // its caller was told

    int sent = 0, executed = 0, committed = 0, stale = 0;

    [[nodiscard]] std::uint64_t truth() const noexcept { return id * 7 + 3; }
};

/// What a sink throws.
struct burst {
    std::uint64_t id;
};

/// Chance, other threads and time, as a link sees them. This one: no chance, and nobody else.
struct circumstances {
    virtual ~circumstances() = default;
    [[nodiscard]] virtual std::uint64_t below(std::uint64_t) noexcept { return 1; }
    virtual void others() {}
    virtual void wait(const strata::io_wait&) {}
    virtual void wrong(const std::string& what) = 0;
};

struct fake_answer {
    enum class is : std::uint8_t { answered, failed, skipped, stale, late, synced };
    is what;
    deed* of;
};

/// The connection and the server's end of it. Its members are guarded by `lock`, for a server in a thread of its own.
struct fake_server {
    explicit fake_server(circumstances& c, std::size_t most_sharing = 64, std::size_t most_statements = 256)
        : world(c), share(most_sharing), statements(most_statements) {}

    /// Executes one of what has come; false: there is nothing.
    bool execute() {
        if (inbox.empty()) return !std::exchange(has_room, true);
        deed* const d = inbox.front();
        inbox.pop_front();
        has_room = true;
        d != nullptr ? run(*d) : commit();
        return true;
    }
    /// One answer reaches the client; false: there is none.
    bool deliver() {
        if (preparation == asked::yes) {
            preparation = asked::answered;
            return true;
        }
        if (outbox.empty()) return false;
        wire.push_back(outbox.front());
        outbox.pop_front();
        return true;
    }
    [[nodiscard]] bool is_readable() const { return dead || !wire.empty() || preparation == asked::answered; }

    enum class asked : std::uint8_t { no, yes, answered };
    circumstances& world;
    std::size_t share, statements;
    std::mutex lock;
    std::deque<deed*> inbox;  // null: a Sync
    std::deque<fake_answer> outbox, wire;
    std::set<unsigned> prepared;
    asked preparation = asked::no;
    deed* preparing_for = nullptr;
    strata::time_point prepares_until = strata::never;
    bool prepares_writable = false;
    bool dead = false;
    bool has_room = true;  // for bytes that the client wants to send
    int descriptor = 7;
    strata::watch_place watch;

private:
    void run(deed& d) {
        using is = fake_answer::is;
        group_.push_back(&d);
        if (group_.size() > 1 && std::any_of(group_.begin(), group_.end(), [](const deed* g) { return g->writes; }))
            world.wrong("a write shares its Sync");
        if (group_.size() > share) world.wrong("too many share a Sync");
        if (failed_) return outbox.push_back({is::skipped, &d});
        if (!prepared.contains(d.text)) {
            failed_ = true;
            ++d.stale;
            return outbox.push_back({is::stale, &d});
        }
        ++d.executed;
        failed_ = d.fails;
        outbox.push_back({d.fails ? is::failed : is::answered, &d});
    }
    void commit() {
        using is = fake_answer::is;
        const bool late = !failed_ && std::any_of(group_.begin(), group_.end(), [](deed* d) { return d->fails_late; });
        if (late) outbox.push_back({is::late, group_.front()});
        if (!failed_ && !late)
            for (deed* d : group_) ++d->committed;
        outbox.push_back({is::synced, nullptr});
        group_.clear();
        failed_ = false;
    }

    std::vector<deed*> group_;  // since the last Sync
    bool failed_ = false;
};

/// The client's end.
class fake_link {
    using is = fake_answer::is;
    using error = strata::error;
    using readiness = strata::detail::readiness;
    using answer = strata::detail::shared_answer;

    /// One call of the multiplexer at a time.
    class at_work {
    public:
        explicit at_work(fake_link& l) : link_(l) {
            if (std::exchange(link_.busy_, true)) link_.world().wrong("two are at work on one link");
            link_.world().others();
        }
        ~at_work() { link_.busy_ = false; }

    private:
        fake_link& link_;
    };
    /// No memory.
    void luck(std::uint64_t one_of) {
        if (world().below(one_of) == 0) throw std::bad_alloc{};
    }

public:
    struct call {
        deed* what = nullptr;
        std::uint64_t got = 0;
        [[nodiscard]] std::uint64_t key() const noexcept { return what->text; }
    };

    explicit fake_link(fake_server& s, bool = false) noexcept : server_(s) {}
    virtual ~fake_link() = default;

    readiness find(call& c, bool idle, error& e) {
        at_work now{*this};
        here(c);
        if (idle && unanswered_ != 0) world().wrong("something is under way yet");
        luck(2000);
        const std::lock_guard guard(server_.lock);
        if (!idle && (!stale_.empty() || !prepared_.contains(c.what->text))) return readiness::when_idle;
        for (const unsigned text : stale_) prepared_.erase(text);
        stale_.clear();
        if (prepared_.contains(c.what->text)) return fit(c, e);
        preparing_ = &c;
        if (world().below(2) == 0) return has_prepared(e);
        ask();
        return readiness::waits;
    }
    readiness go_on(error& e) {
        at_work now{*this};
        if (world().below(2000) == 0) {
            preparing_ = nullptr;
            throw std::bad_alloc{};
        }
        const std::lock_guard guard(server_.lock);
        if (preparing_ == nullptr) {
            world().wrong("nothing is being prepared");
            return readiness::waits;
        }
        here(*preparing_);
        if (server_.dead) broken_ = true;
        server_.prepares_writable = false;
        if (server_.prepares_until <= strata::steady_now()) broken_ = true;
        if (broken_) {
            preparing_ = nullptr;
            e = lost_error(strata::effect::none);
            return readiness::refused;
        }
        if (server_.preparation != fake_server::asked::answered) return readiness::waits;
        if (world().below(4) == 0) {
            ask();
            return readiness::waits;
        }
        return has_prepared(e);
    }
    [[nodiscard]] bool may_share(const call& c) const { return c.what->shares; }
    std::ptrdiff_t send(call& c, error& e) {
        at_work now{*this};
        here(c);
        luck(2000);
        if (c.what->refused) {
            e = error{strata::errc::invalid_argument, std::to_string(c.what->id)};
            return -1;
        }
        ++c.what->sent;
        out_.push_back(c.what);
        ++unanswered_;
        if (++statements_ > server_.statements) world().wrong("too many statements are in flight");
        return static_cast<std::ptrdiff_t>(c.what->bytes);
    }
    void sync() {
        at_work now{*this};
        luck(1500);
        out_.push_back(nullptr);
        ++unanswered_;
        if (world().below(4) == 0) leave();  // as libpq before 17
    }
    bool flush() {
        at_work now{*this};
        leave();
        return out_.empty();
    }
    void listen() {
        at_work now{*this};
        const std::lock_guard guard(server_.lock);
        if (preparing_ != nullptr) world().wrong("it listens itself");
        if (server_.dead) broken_ = true;
        in_.insert(in_.end(), server_.wire.begin(), server_.wire.end());
        server_.wire.clear();
        drain();
    }
    bool has_answer() { return !in_.empty(); }
    void take(call* c, answer& a) {
        at_work now{*this};
        luck(2000);
        const fake_answer got = next();
        --statements_;
        if (got.what == is::late || got.what == is::synced) {
            world().wrong("not the answer to a statement");
            a.what = answer::is::broken;
        } else if (got.what == is::skipped) {
            a.what = answer::is::skipped;
        }
        if (c == nullptr || a.what != answer::is::answered) return;
        here(*c);
        if (c->what != got.of) world().wrong("the answer to another statement");
        const std::lock_guard guard(server_.lock);
        if (got.what == is::stale) {
            stale_.insert(c->what->text);
            a.what = answer::is::stale;
        }
        if (got.what == is::failed || got.what == is::stale)
            a.failed = error{got.what == is::failed ? strata::errc::unique_violation : strata::errc::invalid_statement,
                             std::to_string(c->what->id), strata::phase::execute, strata::effect::rolled_back};
        else if (c->what->bursts)
            a.thrown = std::make_exception_ptr(burst{c->what->id});
        else
            c->got = got.of->truth();
        a.affected = c->what->writes ? 1 : 0;
    }
    void take_sync(call* c, answer& a) {
        at_work now{*this};
        luck(1500);
        const fake_answer got = next();
        if (got.what == is::late) {
            ++unanswered_;  // its Sync is yet to come
            a.what = answer::is::more;
            if (c == nullptr) return;
            here(*c);
            a.failed =
                error{strata::errc::foreign_key_violation, std::to_string(c->what->id), strata::phase::commit, strata::effect::rolled_back};
        } else if (got.what != is::synced) {
            world().wrong("not the answer to a Sync");
            a.what = answer::is::broken;
        }
    }
    [[nodiscard]] bool is_broken() const { return broken_; }
    [[nodiscard]] error lost_error(strata::effect did) const {
        return error{strata::errc::connection_lost, strata::phase::execute, did}.set_lost();
    }
    bool looks_alive() {
        const std::lock_guard guard(server_.lock);
        if (server_.dead) broken_ = true;
        return !broken_;
    }
    [[nodiscard]] strata::io_wait awaited() const {
        if (busy_) server_.world.wrong("asked while one is at work");
        if (preparing_ == nullptr) return {server_.descriptor, false, strata::never};
        return {server_.descriptor, server_.prepares_writable, server_.prepares_until};
    }
    void wait(const strata::io_wait& w) { world().wait(w); }
    strata::watch_place& watch() noexcept { return server_.watch; }
    void clear() { server_.watch.clear(); }

private:
    [[nodiscard]] circumstances& world() const noexcept { return server_.world; }
    void here(const call& c) {
        if (c.what == nullptr || c.what->ended) world().wrong("of one who has gone");
    }
    readiness fit(call& c, error& e) {
        if (!c.what->unfit) return readiness::ready;
        e = error{strata::errc::type_mismatch, std::to_string(c.what->id)};
        return readiness::refused;
    }
    void ask() {
        server_.preparation = fake_server::asked::yes;
        server_.preparing_for = preparing_->what;
        server_.prepares_writable = world().below(4) == 0;
        if (server_.prepares_until == strata::never)
            server_.prepares_until = strata::add_saturated(strata::steady_now(), std::chrono::seconds{30});
        wrote();
    }
    readiness has_prepared(error& e) {
        call& c = *std::exchange(preparing_, nullptr);
        server_.preparation = fake_server::asked::no;
        server_.preparing_for = nullptr;
        server_.prepares_until = strata::never;
        prepared_.insert(c.what->text);
        server_.prepared.insert(c.what->text);
        return fit(c, e);
    }
    /// As many bytes as go.
    void leave() {
        const std::lock_guard guard(server_.lock);
        if (server_.dead) broken_ = true;
        const std::uint64_t most = world().below(6) == 0 ? world().below(out_.size() + 1) : out_.size();
        for (std::uint64_t n = 0; n != most && server_.has_room; ++n) {
            server_.inbox.push_back(out_.front());
            out_.pop_front();
        }
        if (!out_.empty()) server_.has_room = false;
        wrote();
    }
    fake_answer next() {
        --unanswered_;
        if (in_.empty()) throw std::logic_error("no answer has come");
        const fake_answer a = in_.front();
        in_.pop_front();
        return a;
    }

protected:
    /// Under the server's lock.
    virtual void drain() {}
    virtual void wrote() {}

    fake_server& server_;

private:
    std::deque<deed*> out_;
    std::deque<fake_answer> in_;
    std::set<unsigned> prepared_, stale_;
    call* preparing_ = nullptr;
    std::size_t unanswered_ = 0, statements_ = 0;
    bool broken_ = false;
    bool busy_ = false;
};

}  // namespace strata_test

#endif
