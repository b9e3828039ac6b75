// A driver that does nothing: its statements are the empty call of bench/raw/empty_call.cpp. What is measured over it is
// strata's own.
#ifndef BENCH_OURS_NULL_DRIVER_HPP
#define BENCH_OURS_NULL_DRIVER_HPP

#include <strata/core/error.hpp>
#include <strata/core/interruption.hpp>
#include <strata/core/place.hpp>
#include <strata/core/signal.hpp>
#include <strata/sql/dialect.hpp>

#include <cstdint>

namespace bench {

struct null_options {
    bool broken = false;  ///< every statement fails as if the disk did
};

class null_connection {
public:
    strata::error open(const null_options& o, int, const strata::interruption*) noexcept {
        broken_ = o.broken;
        return {};
    }
    void close() noexcept {}
    void guard(const strata::interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const strata::interruption* guard() const noexcept { return guard_; }
    [[nodiscard]] bool in_transaction() const noexcept { return false; }
    strata::health tidy() noexcept { return strata::health::good; }
    void lend() noexcept { ++lent_; }  ///< for the pool's programs, which run no statement
    [[nodiscard]] std::int64_t lent() const noexcept { return lent_; }

    template <class Bound, class Sink>
    class query {
    public:
        query(null_connection& connection, const Bound&, Sink&) noexcept : connection_(connection) {}
        [[gnu::always_inline]] strata::signal resume() noexcept {
            if (connection_.work() == 0) return strata::signal::done;
            error_ = strata::error{strata::errc::io_error, strata::phase::execute};
            return strata::signal::failed;
        }
        strata::error& failure() noexcept { return error_; }
        [[nodiscard]] std::int64_t affected() const noexcept { return 1; }
        [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

    private:
        null_connection& connection_;
        strata::error error_;
    };

private:
    [[gnu::noinline]] int work() noexcept {
        asm volatile("" : "+m"(rows_));
        ++rows_;
        return broken_ ? 1 : 0;
    }

    const strata::interruption* guard_ = nullptr;
    std::int64_t rows_ = 0;
    std::int64_t lent_ = 0;
    bool broken_ = false;
};

/// Never used: a database wants to know how its driver would lock.
enum class null_locking { deferred, immediate };

struct null_driver {
    static constexpr auto place = strata::place::driver;
    using options = null_options;
    using connection = null_connection;
    using locking = null_locking;
    static constexpr strata::dialect dialect = strata::dialect::sqlite;
    static constexpr bool blocking = false;
    static constexpr bool single_writer = false;

    [[nodiscard]] static constexpr int role_of(bool, bool) noexcept { return 0; }
    [[nodiscard]] static strata::error check_shared(const null_options&) { return {}; }
    [[nodiscard]] static strata::error check_reopened(const null_options&) { return {}; }
};

}  // namespace bench

#endif
