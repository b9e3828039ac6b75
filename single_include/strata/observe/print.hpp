// Generated from include/strata/observe/print.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_OBSERVE_PRINT_HPP
#define STRATA_SINGLE_OBSERVE_PRINT_HPP

#include <strata/strata.hpp>

#include <cstdio>

// A metrics snapshot as a table for people.
#ifndef STRATA_OBSERVE_PRINT_HPP
#define STRATA_OBSERVE_PRINT_HPP

namespace strata::inline STRATA_ABI {

/// `870ns`, `12.5us`, `3.42ms`, `1.07s`: three digits.
[[nodiscard]] inline std::string to_string(duration d) {
    constexpr const char* units[] = {"ns", "us", "ms", "s"};
    auto value = static_cast<double>(d.count());
    std::size_t unit = 0;
    for (; unit < 3 && value >= 999.5; ++unit) value /= 1000;
    char text[40];
    const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    std::snprintf(text, sizeof text, "%.*f%s", digits, value, units[unit]);
    return text;
}

/// `p50 1.20ms  p95 3.10ms  p99 7.40ms  max 12.0ms`
template <unsigned Bits>
[[nodiscard]] std::string to_string(const basic_histogram_snapshot<Bits>& h) {
    std::string s;
    s.append("p50 ").append(to_string(h.percentile(0.50))).append("  p95 ").append(to_string(h.percentile(0.95)));
    s.append("  p99 ").append(to_string(h.percentile(0.99))).append("  max ").append(to_string(h.largest()));
    return s;
}

namespace detail {

inline void append_padded(std::string& s, std::string_view text, std::size_t width) {
    s.append(text);
    if (text.size() < width) s.append(width - text.size(), ' ');
}

inline void append_count(std::string& s, std::string_view label, std::uint64_t n) {
    s.append("  ").append(label).append(" ").append(std::to_string(n));
}

}  // namespace detail

/// Several lines, each ending with a newline: the totals, one line for each kind of operation that occurred, one for each name.
[[nodiscard]] inline std::string to_string(const metrics_snapshot& m) {
    using detail::append_count;
    using detail::append_padded;
    std::string s;
    append_padded(s, "operations", 24);
    s.append(std::to_string(m.total())).append("  ").append(to_string(m.latency)).append("\n");
    append_padded(s, "attempts", 24);
    s.append(std::to_string(m.attempts()));
    append_count(s, "retries", m.retries);
    append_count(s, "rollbacks", m.rollbacks);
    append_count(s, "refusals", m.refusals());
    append_count(s, "abandoned", m.abandoned);
    s += '\n';
    for (std::size_t k = 0; k < operation_kinds; ++k) {
        const auto kind = static_cast<operation_kind>(k);
        if (m.count(kind) == 0) continue;
        append_padded(s, to_string(kind), 22);
        for (std::size_t c = 0; c < outcome_classes; ++c)
            if (m.operations[k][c] != 0) append_count(s, to_string(static_cast<outcome_class>(c)), m.operations[k][c]);
        s += '\n';
    }
    for (const statement_metrics& statement : m.statements) {
        append_padded(s, statement.name, 24);
        s.append(std::to_string(statement.latency.count())).append("  ").append(to_string(statement.latency));
        if (statement.failures != 0) append_count(s, "failures", statement.failures);
        s += '\n';
    }
    return s;
}

}  // namespace strata::inline STRATA_ABI

#endif

#endif
