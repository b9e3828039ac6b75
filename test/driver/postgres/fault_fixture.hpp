// What the fault tests share: a server behind a proxy, and one of a test's own that may be stopped.
#ifndef STRATA_TEST_DRIVER_POSTGRES_FAULT_FIXTURE_HPP
#define STRATA_TEST_DRIVER_POSTGRES_FAULT_FIXTURE_HPP

#include "fixture.hpp"

#include <support/tcp_proxy.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <stdlib.h>

namespace strata_test {

/// The bank's table on the server under test, and a way to it through a proxy. `is_there()` is false for a server that the proxy
/// does not reach, which is said.
class proxied_bank {
public:
    explicit proxied_bank(int accounts = 0) : behind(accounts), proxy(port()) {
        behind.db.execute("create table echo (n bigint primary key)"_sql());
    }

    [[nodiscard]] static bool is_there() {
        const std::string host = setting_of(server_url(), "host");
        if (host == "127.0.0.1" || host == "localhost") return true;
        WARN("the server is not on loopback: this is left out");
        return false;
    }
    /// Without TLS unless `more` says so, for the number of its bytes changes from time to time.
    [[nodiscard]] strata::postgres_options options(const std::string& more = "sslmode=disable gssencmode=disable") const {
        return at(server_url(), "127.0.0.1", std::to_string(proxy.port()), more + " options='-csearch_path=" + behind.in.schema() + "'");
    }
    [[nodiscard]] bool holds(std::int64_t n) { return behind.db.one<bool>("select exists (select from echo where n = :n)"_sql(n)); }

    bank<> behind;
    tcp_proxy proxy;

private:
    [[nodiscard]] static std::uint16_t port() {
        const std::string text = setting_of(server_url(), "port");
        return static_cast<std::uint16_t>(text.empty() ? 5432 : std::stoi(text));
    }
};

/// A server of the test's own; see test/support/postgres_cluster.sh.
class own_server {
public:
    own_server() : folder_(std::filesystem::temp_directory_path() / "strata-cluster.XXXXXX") {
        if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("no folder " + folder_);
        url_ = run("start");
    }
    own_server(const own_server&) = delete;
    own_server& operator=(const own_server&) = delete;
    ~own_server() { run("stop"); }

    /// Empty where there are no programs of a server, or its user cannot get at the temporary folder.
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// Does to it what the script can do; returns what that printed.
    std::string run(const std::string& what) const {
        const std::string command = STRATA_TEST_SOURCE_DIR "/test/support/postgres_cluster.sh " + what + " " + folder_;
        const std::unique_ptr<FILE, int (*)(FILE*)> out{::popen(command.c_str(), "re"), &::pclose};
        std::string text;
        std::array<char, 256> buffer{};
        while (out != nullptr && std::fgets(buffer.data(), static_cast<int>(buffer.size()), out.get()) != nullptr) text += buffer.data();
        while (!text.empty() && text.back() == '\n') text.pop_back();
        return text;
    }

private:
    std::string folder_;
    std::string url_;
};

/// A name of this process for a connection that is to be ended, lest two runs at once end each other's.
inline std::string victim(const std::string& name) {
    return name + "-" + std::to_string(::getpid());
}

/// Descriptors that this process holds.
inline std::ptrdiff_t descriptors() {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return std::distance(begin(all), end(all));
}

/// Waits for `true`, with a loose guard against hanging.
inline bool comes_true(const std::function<bool()>& what, std::chrono::seconds guard = std::chrono::seconds{60}) {
    for (const auto until = strata::clock::now() + guard; strata::clock::now() < until; std::this_thread::sleep_for(1ms))
        if (what()) return true;
    return what();
}

/// Fails the test, instead of the run's patience, when it takes longer than any machine should need.
class in_time {
public:
    ~in_time() { CHECK(strata::clock::now() - began_ < 60s); }

private:
    strata::time_point began_ = strata::clock::now();
};

inline constexpr auto insert_echo = "insert into echo values (:n) returning n"_sql;
inline constexpr auto echo = "select :n::int8"_sql;

}  // namespace strata_test

#endif
