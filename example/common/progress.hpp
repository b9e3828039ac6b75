// How far something has come, on standard error: a bar on a terminal, a line every 10 % elsewhere.
#ifndef EXAMPLE_COMMON_PROGRESS_HPP
#define EXAMPLE_COMMON_PROGRESS_HPP

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace example {

class progress {
public:
    // `what` for example "loading accounts"; at most 20 characters look best.
    progress(std::string what, std::int64_t total) : what_(std::move(what)), total_(std::max<std::int64_t>(total, 1)) { show(0); }
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;
    ~progress() {
        if (bar_) std::fputs("\r\033[K", stderr);  // the report says the rest
    }

    void show(std::int64_t done) {
        const int percent = static_cast<int>(std::clamp<std::int64_t>(done * 100 / total_, 0, 100));
        if (bar_) draw(percent, done);
        else while (shown_ < percent / 10) std::fprintf(stderr, "%s: %d %%\n", what_.c_str(), ++shown_ * 10);
    }

private:
    void draw(int percent, std::int64_t done) {
        const auto now = std::chrono::steady_clock::now();
        if (percent < 100 && now < drawn_ + std::chrono::milliseconds(50)) return;
        drawn_ = now;
        constexpr std::size_t width = 40;
        const std::size_t full = static_cast<std::size_t>(percent) * width / 100;
        std::string bar(width, '.');
        std::fill_n(bar.begin(), full, '#');
        std::fprintf(stderr, "\r%-20s [%s] %3d %%  %lld\033[K", what_.c_str(), bar.c_str(), percent, static_cast<long long>(done));
    }

    std::string what_;
    std::int64_t total_;
    const bool bar_ = ::isatty(STDERR_FILENO) != 0;
    int shown_ = 0;
    std::chrono::steady_clock::time_point drawn_{};
};

}  // namespace example

#endif
