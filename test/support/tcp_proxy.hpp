// A TCP proxy on loopback that a test puts before a server: it counts what passes, and cuts, holds, delays or refuses when told.
//
// One thread and poll(2). libpq's cancel is a second connection, and comes through the proxy as well.
#ifndef STRATA_TEST_SUPPORT_TCP_PROXY_HPP
#define STRATA_TEST_SUPPORT_TCP_PROXY_HPP

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace strata_test {

/// Which way bytes go through a proxy.
enum class way : std::uint8_t { to_server, to_client };

/// Forwards connections to 127.0.0.1:`target`. What is told applies to all connections, those that stand and those that come. Thread-safe.
class tcp_proxy {
public:
    using duration = std::chrono::steady_clock::duration;

    explicit tcp_proxy(std::uint16_t target) : target_(target), listener_(listen_on(0)), port_(port_of(listener_)) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) fail("pipe");
        wake_read_ = ends[0];
        wake_write_ = ends[1];
        thread_ = std::thread([this] { run(); });
    }
    tcp_proxy(const tcp_proxy&) = delete;
    tcp_proxy& operator=(const tcp_proxy&) = delete;
    ~tcp_proxy() {
        tell([&] { stop_ = true; });
        thread_.join();
        for (link& l : links_) reset(l);
        if (listener_ >= 0) ::close(listener_);
        ::close(wake_read_);
        ::close(wake_write_);
    }

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

    /// Lets this many more bytes pass in that direction, over all connections; when the next one comes, it is dropped and every
    /// connection reset. Happens once.
    void cut_after(way w, std::uint64_t bytes) {
        tell([&] { left_[index(w)] = bytes; });
    }
    /// Takes back a `cut_after` that has not happened.
    void do_not_cut() {
        tell([&] { left_[0] = left_[1] = none; });
    }
    /// Resets every connection now.
    void cut() {
        tell([&] { cut_ = true; });
    }
    /// While true, no byte passes either way and no connection is opened to the server; all stay open.
    void black_hole(bool yes) {
        tell([&] { hole_ = yes; });
    }
    /// From the next byte in that direction on (which does not pass), a black hole.
    void black_hole_at_next(way w) {
        tell([&] { hole_at_[index(w)] = true; });
    }
    /// Holds each piece that comes from now on back for this long before it passes.
    void delay(duration d) {
        tell([&] { delay_[0] = delay_[1] = d; });
    }
    void delay(way w, duration d) {
        tell([&] { delay_[index(w)] = d; });
    }
    /// While true, nobody listens: a connection is refused.
    void refuse(bool yes) {
        tell([&] {
            if (yes && listener_ >= 0) ::close(std::exchange(listener_, -1));
            if (!yes && listener_ < 0) listener_ = listen_on(port_);
        });
    }

    /// From the next connection on to another port.
    void lead_to(std::uint16_t target) {
        tell([&] { target_ = target; });
    }

    /// Bytes that have passed in that direction.
    [[nodiscard]] std::uint64_t bytes(way w) const {
        std::lock_guard guard{lock_};
        return passed_[index(w)];
    }
    /// Bytes that have come in that direction, whether or not they have passed.
    [[nodiscard]] std::uint64_t taken(way w) const {
        std::lock_guard guard{lock_};
        return taken_[index(w)];
    }
    /// Connections accepted so far.
    [[nodiscard]] int accepted() const {
        std::lock_guard guard{lock_};
        return accepted_;
    }
    /// How many times connections were reset by `cut_after`, or a black hole begun by `black_hole_at_next`.
    [[nodiscard]] int struck() const {
        std::lock_guard guard{lock_};
        return struck_;
    }
    /// Connections that stand.
    [[nodiscard]] std::size_t open() const {
        std::lock_guard guard{lock_};
        return links_.size();
    }

private:
    using clock = std::chrono::steady_clock;
    static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
    static constexpr std::size_t most = 256 * 1024;  // held for a slow reader

    struct piece {
        clock::time_point due;
        std::string bytes;
    };
    /// One direction of a connection.
    struct lane {
        int from = -1, to = -1;
        std::list<piece> held;
        std::size_t size = 0;
        bool ended = false;   // the writer has closed its side
        bool closed = false;  // and the reader knows
    };
    struct link {
        lane lanes[2];  // by `way`
        bool dead = false;
    };

    static constexpr std::size_t index(way w) noexcept { return static_cast<std::size_t>(w); }
    [[noreturn]] static void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

    static ::sockaddr_in loopback(std::uint16_t port) {
        ::sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(port);
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return a;
    }
    static int listen_on(std::uint16_t port) {
        const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s < 0) fail("socket");
        const int yes = 1;
        ::setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        const ::sockaddr_in a = loopback(port);
        if (::bind(s, reinterpret_cast<const ::sockaddr*>(&a), sizeof a) != 0 || ::listen(s, 128) != 0) {
            ::close(s);
            fail("bind");
        }
        return s;
    }
    static std::uint16_t port_of(int s) {
        ::sockaddr_in a{};
        ::socklen_t size = sizeof a;
        if (::getsockname(s, reinterpret_cast<::sockaddr*>(&a), &size) != 0) fail("getsockname");
        return ntohs(a.sin_port);
    }

    /// Changes what holds, and returns when the proxy's thread has seen it.
    template <class Change>
    void tell(Change change) {
        std::unique_lock guard{lock_};
        change();
        const std::uint64_t mine = ++told_;
        const char byte = 0;
        static_cast<void>(!::write(wake_write_, &byte, 1));
        changed_.wait(guard, [&] { return seen_ >= mine || stop_; });
    }

    static void reset(link& l) {
        const ::linger hard{1, 0};
        for (const int s : {l.lanes[0].from, l.lanes[1].from}) {
            if (s < 0) continue;
            ::setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            ::close(s);
        }
        l.dead = true;
        l.lanes[0].from = l.lanes[1].from = -1;
    }
    void reset_all() {
        for (link& l : links_) reset(l);
    }

    void accept_one() {
        const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0) return;
        ++accepted_;
        const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const ::sockaddr_in a = loopback(target_);
        links_.emplace_back();
        link& l = links_.back();
        l.lanes[0] = {client, server, {}, 0, false, false};
        l.lanes[1] = {server, client, {}, 0, false, false};
        if (server < 0 || ::connect(server, reinterpret_cast<const ::sockaddr*>(&a), sizeof a) != 0)
            return reset(l);  // as the server would
        const int yes = 1;
        for (const int s : {client, server}) ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        ::fcntl(server, F_SETFL, O_NONBLOCK);
    }

    /// Takes what has come; false when the connection is gone.
    bool take(lane& l, way w) {
        char buffer[16 * 1024];
        const ::ssize_t n = ::recv(l.from, buffer, sizeof buffer, 0);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        if (n == 0) return l.ended = true;
        if (hole_at_[index(w)]) {
            hole_at_[index(w)] = false;
            hole_ = true;
            ++struck_;
        }
        std::uint64_t& left = left_[index(w)];
        const auto came = static_cast<std::uint64_t>(n);
        taken_[index(w)] += came;
        const std::uint64_t pass = std::min(came, left);
        l.held.push_back({clock::now() + delay_[index(w)], std::string(buffer, static_cast<std::size_t>(pass))});
        l.size += static_cast<std::size_t>(pass);
        if (left != none) left -= pass;
        cut_lane_ = cut_lane_ || pass < came;
        return true;
    }
    /// Passes on what is due; false when the connection is gone.
    bool give(lane& l, way w) {
        while (!l.held.empty() && l.held.front().due <= clock::now()) {
            std::string& bytes = l.held.front().bytes;
            if (!bytes.empty()) {
                const ::ssize_t n = ::send(l.to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
                if (n < 0) return errno == EAGAIN || errno == EINTR;
                passed_[index(w)] += static_cast<std::uint64_t>(n);
                l.size -= static_cast<std::size_t>(n);
                bytes.erase(0, static_cast<std::size_t>(n));
            }
            if (!bytes.empty()) return true;
            l.held.pop_front();
        }
        if (l.ended && l.held.empty() && !std::exchange(l.closed, true)) ::shutdown(l.to, SHUT_WR);
        return true;
    }

    void run() {
        std::vector<::pollfd> polled;
        std::unique_lock guard{lock_};
        while (!stop_) {
            seen_ = told_;
            changed_.notify_all();
            if (std::exchange(cut_, false)) reset_all();
            links_.remove_if([](const link& l) { return l.dead; });

            polled.assign(1, {wake_read_, POLLIN, 0});
            int wait = -1;
            for (link& l : links_) {
                for (lane& a : l.lanes) {
                    const bool due = !a.held.empty() && a.held.front().due <= clock::now();
                    if (!a.held.empty() && !due && !hole_) wait = 1;
                    polled.push_back({a.from, static_cast<short>(!hole_ && !a.ended && a.size < most ? POLLIN : 0), 0});
                    polled.push_back({a.to, static_cast<short>(!hole_ && due ? POLLOUT : 0), 0});
                }
            }
            polled.push_back({hole_ ? -1 : listener_, POLLIN, 0});
            guard.unlock();
            // In a black hole nobody looks at what a peer does: a hang-up would wake poll again and again.
            ::poll(polled.data(), hole_now() ? 1 : static_cast<::nfds_t>(polled.size()), wait);
            guard.lock();
            char drain[64];
            while (::read(wake_read_, drain, sizeof drain) > 0) {
            }
            if (stop_ || hole_) continue;
            std::size_t at = 1;
            for (link& l : links_) {
                bool alive = true;
                for (std::size_t i = 0; i < 2; ++i, at += 2) {
                    lane& a = l.lanes[i];
                    if (!alive || hole_) continue;
                    if ((polled[at].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !a.ended) alive = take(a, static_cast<way>(i));
                    if (alive && !hole_) alive = give(a, static_cast<way>(i));
                }
                if (!alive || (l.lanes[0].closed && l.lanes[1].closed)) end(l, alive);
                if (std::exchange(cut_lane_, false)) {
                    left_[0] = left_[1] = none;
                    ++struck_;
                    reset_all();
                    break;
                }
            }
            if (listener_ >= 0 && (polled.back().revents & POLLIN) != 0 && !hole_) accept_one();
        }
        seen_ = told_;
        changed_.notify_all();
    }
    bool hole_now() const {
        std::lock_guard guard{lock_};
        return hole_;
    }
    static void end(link& l, bool in_order) {
        if (!in_order) return reset(l);
        ::close(l.lanes[0].from);
        ::close(l.lanes[1].from);
        l.dead = true;
        l.lanes[0].from = l.lanes[1].from = -1;
    }

    std::uint16_t target_;
    int listener_;
    const std::uint16_t port_;
    int wake_read_ = -1, wake_write_ = -1;

    mutable std::mutex lock_;
    std::condition_variable changed_;
    std::uint64_t told_ = 0, seen_ = 0;
    bool stop_ = false, cut_ = false, hole_ = false, cut_lane_ = false;
    bool hole_at_[2] = {false, false};
    duration delay_[2] = {};
    std::uint64_t left_[2] = {none, none};
    std::uint64_t passed_[2] = {0, 0}, taken_[2] = {0, 0};
    int accepted_ = 0, struck_ = 0;
    std::list<link> links_;
    std::thread thread_;
};

}  // namespace strata_test

#endif
