#include "report.hpp"

#include <strata/observe/print.hpp>

#include <concepts>
#include <cstdarg>
#include <cstdio>

namespace bank {

meters meters::since(const meters& before) const {
    meters m = *this;
    m.calls = calls.since(before.calls);
    m.breaker.opened -= before.breaker.opened;
    m.breaker.half_opened -= before.breaker.half_opened;
    m.breaker.closed -= before.breaker.closed;
    m.breaker.refused -= before.breaker.refused;
    m.pool.waits -= before.pool.waits;
    m.pool.waited -= before.pool.waited;
    m.faults -= before.faults;
    return m;
}

// printf into a string.
[[gnu::format(printf, 2, 3)]] static void add(std::string& s, const char* format, ...) {
    char line[512];
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(line, sizeof line, format, values);
    va_end(values);
    s += line;
}

// 1234567 as 1,234,567
template <class Integer>
static std::string grouped(Integer n) {
    std::string s = std::to_string(n);
    for (std::size_t i = s.size(); i > 3 && s[i - 4] != '-'; i -= 3) s.insert(i - 3, 1, ',');
    return s;
}

// One line of the table: a label, and a value of each phase.
static void add_line(std::string& s, const report& r, const char* label, std::string (*value)(const phase&)) {
    add(s, "%-18s", label);
    for (const phase& p : r.phases) add(s, "%14s", value(p).c_str());
    s += '\n';
}

static std::string latency(const phase& p, double share) {
    return p.did.acknowledged == 0 ? "-" : strata::to_string(p.counted.calls.latency.percentile(share));
}

static std::string breaker_changes(const phase& p) {
    const auto& b = p.counted.breaker;
    if (b.opened == 0 && b.closed == 0) return "-";
    if (b.closed == 0) return "opened";
    return b.opened == 0 ? "closed" : "both";
}

std::string to_text(const report& r) {
    std::string s = "\n";
    add_line(s, r, "", [](const phase& p) { return p.name; });
    add_line(s, r, "acknowledged", [](const phase& p) { return grouped(p.did.acknowledged); });
    add_line(s, r, "transactions/s", [](const phase& p) { return grouped(static_cast<std::int64_t>(p.per_second())); });
    add_line(s, r, "latency p50", [](const phase& p) { return latency(p, 0.50); });
    add_line(s, r, "        p95", [](const phase& p) { return latency(p, 0.95); });
    add_line(s, r, "        p99", [](const phase& p) { return latency(p, 0.99); });
    add_line(s, r, "attempts", [](const phase& p) { return grouped(p.counted.calls.attempts()); });
    add_line(s, r, "retries", [](const phase& p) { return grouped(p.counted.calls.retries); });
    add_line(s, r, "rollbacks", [](const phase& p) { return grouped(p.counted.calls.rollbacks); });
    add_line(s, r, "refusals", [](const phase& p) { return grouped(p.counted.breaker.refused); });
    add_line(s, r, "failed", [](const phase& p) { return grouped(p.did.failed); });
    add_line(s, r, "faults injected", [](const phase& p) { return grouped(p.counted.faults); });
    add_line(s, r, "breaker", breaker_changes);
    add_line(s, r, "pool waits", [](const phase& p) { return grouped(p.counted.pool.waits); });
    add_line(s, r, "   in the mean", [](const phase& p) {
        const auto waits = static_cast<std::int64_t>(p.counted.pool.waits);
        return waits == 0 ? "-" : strata::to_string(p.counted.pool.waited / waits);
    });

    s += "\nstatements of the transactions, by name\n";
    for (const strata::statement_metrics& m : r.phases.front().counted.calls.statements) {
        if (m.latency.count() == 0) continue;
        add(s, "%-18s%14s   p50 %s  p99 %s\n", m.name.c_str(), grouped(m.latency.count()).c_str(),
            strata::to_string(m.latency.percentile(0.50)).c_str(), strata::to_string(m.latency.percentile(0.99)).c_str());
    }

    s += '\n';
    for (const phase& p : r.phases) {
        if (p.did.failed != 0) s.append(p.name).append(": the last failure was ").append(p.did.last_error).append("\n");
    }
    if (r.interrupted) s += "interrupted: what was left to do was left out\n";
    add(s, "sums: branches %s, tellers %s, accounts %s, history %s\n", grouped(r.sums.branches).c_str(), grouped(r.sums.tellers).c_str(),
        grouped(r.sums.accounts).c_str(), grouped(r.sums.history).c_str());
    add(s, "transactions: %s in the history, %s acknowledged\n", grouped(r.sums.history_rows).c_str(), grouped(r.acknowledged).c_str());
    return s;
}

static std::string quoted(const std::string& text) {
    std::string s = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') s += '\\', s += c;
        else if (static_cast<unsigned char>(c) < 0x20) add(s, "\\u%04x", static_cast<unsigned>(c));
        else s += c;
    }
    return s += '"';
}

// , "name": value
static void add_field(std::string& s, const char* name, std::integral auto n) { add(s, ", \"%s\": %s", name, std::to_string(n).c_str()); }
static void add_field(std::string& s, const char* name, double n) { add(s, ", \"%s\": %.3f", name, n); }
static void add_field(std::string& s, const char* name, strata::duration d) {
    add_field(s, name, std::chrono::duration<double, std::milli>(d).count());
}

static void add_json(std::string& s, const phase& p) {
    const meters& m = p.counted;
    s.append("{\"name\": ").append(quoted(p.name));
    add_field(s, "seconds", p.seconds);
    add_field(s, "acknowledged", p.did.acknowledged);
    add_field(s, "transactions_per_second", p.per_second());
    add_field(s, "p50_ms", m.calls.latency.percentile(0.50));
    add_field(s, "p95_ms", m.calls.latency.percentile(0.95));
    add_field(s, "p99_ms", m.calls.latency.percentile(0.99));
    add_field(s, "attempts", m.calls.attempts());
    add_field(s, "retries", m.calls.retries);
    add_field(s, "rollbacks", m.calls.rollbacks);
    add_field(s, "refusals", m.breaker.refused);
    add_field(s, "failed", p.did.failed);
    add_field(s, "in_doubt", p.did.in_doubt);
    add_field(s, "faults", m.faults);
    add_field(s, "breaker_opened", m.breaker.opened);
    add_field(s, "breaker_half_opened", m.breaker.half_opened);
    add_field(s, "breaker_closed", m.breaker.closed);
    add_field(s, "pool_waits", m.pool.waits);
    add_field(s, "pool_waited_ms", m.pool.waited);
    if (!p.missed.empty()) s.append(", \"missed\": ").append(quoted(p.missed));
    s += '}';
}

std::string to_json(const report& r) {
    std::string s = "{\"database\": " + quoted(r.place);
    add_field(s, "clients", r.asked.clients);
    add_field(s, "seed", r.asked.seed);
    add_field(s, "accounts", r.accounts);
    add_field(s, "load_seconds", r.load_seconds);
    s += ", \"phases\": [";
    for (const phase& p : r.phases) {
        if (&p != &r.phases.front()) s += ", ";
        add_json(s, p);
    }
    s.append("], \"interrupted\": ").append(r.interrupted ? "true" : "false");
    add_field(s, "acknowledged", r.acknowledged);
    add_field(s, "history_rows", r.sums.history_rows);
    add_field(s, "sum_of_branches", r.sums.branches);
    add_field(s, "sum_of_tellers", r.sums.tellers);
    add_field(s, "sum_of_accounts", r.sums.accounts);
    add_field(s, "sum_of_history", r.sums.history);
    if (!r.problem.empty()) s.append(", \"problem\": ").append(quoted(r.problem));
    return s.append(", \"balances\": ").append(r.problem.empty() ? "\"consistent\"" : "\"inconsistent\"").append("}\n");
}

}  // namespace bank
