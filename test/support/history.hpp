// Checks what clients saw of a database for anomalies that an isolation level forbids, after the method of Elle (Kingsbury, Alvaro 2020).
//
// Clients append unique values to lists and read lists. A list tells the order of its versions: the longest one that was read, of which
// every other read must be a beginning. From these orders follow dependencies between transactions (Adya 1999):
//
//     ww   A appended, and B appended next            wr   B read what A appended last
//     rw   A read the list as it was before B's append (an anti-dependency)
//
// and a cycle of dependencies is an anomaly: G0 of ww alone, G1c of ww and wr, G-single with exactly one rw, G2 with more. A transaction
// whose outcome nobody knows may have happened: it counts as committed if somebody has read what it appended.
#ifndef STRATA_TEST_SUPPORT_HISTORY_HPP
#define STRATA_TEST_SUPPORT_HISTORY_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata_test {

enum class fate : std::uint8_t { committed, aborted, unknown };

/// One step of a transaction: an append, or a read of a whole list.
struct list_step {
    int list = 0;
    std::optional<std::int64_t> appended;
    std::vector<std::int64_t> read;
};
[[nodiscard]] inline list_step appends(int list, std::int64_t value) {
    return {list, value, {}};
}
[[nodiscard]] inline list_step reads(int list, std::vector<std::int64_t> values) {
    return {list, {}, std::move(values)};
}

struct list_transaction {
    fate ended = fate::committed;
    std::vector<list_step> steps;
};
using list_history = std::vector<list_transaction>;

enum class anomaly : std::uint8_t {
    invented,   ///< a value was read that nobody appended
    repeated,   ///< a value is twice in a list
    diverging,  ///< two reads of a list of which neither is the beginning of the other
    lost,       ///< a transaction does not see its own append
    vanished,   ///< what a committed transaction appended is not there in the end
    g1a,        ///< a committed transaction read what an aborted one appended
    g1b,        ///< or what another had appended on the way, before its last append to the list
    g0,
    g1c,
    g_single,
    g2
};
[[nodiscard]] constexpr std::string_view to_string(anomaly a) noexcept {
    constexpr std::string_view names[] = {"invented", "repeated", "diverging", "lost",     "vanished", "G1a",
                                          "G1b",      "G0",       "G1c",       "G-single", "G2"};
    return names[static_cast<std::size_t>(a)];
}

struct anomaly_found {
    anomaly kind;
    std::string where;
};

struct history_report {
    std::vector<anomaly_found> found;
    std::size_t committed = 0;  ///< with those of unknown outcome that were seen
    std::size_t resolved = 0;   ///< these
    std::size_t dependencies = 0;

    [[nodiscard]] std::size_t count(anomaly a) const {
        return static_cast<std::size_t>(std::count_if(found.begin(), found.end(), [a](const anomaly_found& f) { return f.kind == a; }));
    }
    /// `G-single 3 (7 -rw-> 9 -wr-> 7), G2 1 (...)`: of each kind how often, and one example; `none`.
    [[nodiscard]] std::string to_string() const {
        std::string text;
        for (int a = 0; a <= static_cast<int>(anomaly::g2); ++a) {
            const auto kind = static_cast<anomaly>(a);
            const auto first = std::find_if(found.begin(), found.end(), [&](const anomaly_found& f) { return f.kind == kind; });
            if (first == found.end()) continue;
            if (!text.empty()) text += ", ";
            text.append(strata_test::to_string(kind)).append(" ").append(std::to_string(count(kind)));
            text.append(" (").append(first->where).append(")");
        }
        return text.empty() ? "none" : text;
    }
};

class history_checker {
public:
    /// `ended`: the history's last transaction began when all others had ended.
    history_checker(const list_history& h, bool ended) : history_(h), ended_(ended), counts_(h.size()), edges_(h.size()) {}

    [[nodiscard]] history_report check() {
        collect_writers();
        resolve_unknown();
        order_versions();
        for (std::size_t t = 0; t < history_.size(); ++t)
            if (counts_[t]) look_at_reads(t);
        if (ended_) look_at_the_end();
        depend_on_writes();
        find_cycles();
        return std::move(report_);
    }

private:
    enum kind : std::uint8_t { ww, wr, rw };
    struct edge {
        std::size_t to;
        kind what;
        friend auto operator<=>(const edge&, const edge&) = default;
    };
    struct writer {
        std::size_t transaction;
        bool last;  // of its appends to this list
    };
    using place = std::pair<int, std::int64_t>;  // a value in a list

    void note(anomaly a, std::string where) { report_.found.push_back({a, std::move(where)}); }
    [[nodiscard]] static std::string name(std::size_t t) { return "T" + std::to_string(t); }
    [[nodiscard]] static std::string name(int list, std::int64_t value) {
        return "value " + std::to_string(value) + " of list " + std::to_string(list);
    }

    void collect_writers() {
        for (std::size_t t = 0; t < history_.size(); ++t) {
            std::map<int, std::int64_t> latest;
            for (const list_step& s : history_[t].steps) {
                if (!s.appended) continue;
                if (latest.count(s.list) != 0) writers_.at({s.list, latest[s.list]}).last = false;
                writers_[{s.list, *s.appended}] = {t, true};
                latest[s.list] = *s.appended;
            }
        }
    }

    /// What a committed transaction has read was committed, and so, in turn, was what that one has read.
    void resolve_unknown() {
        for (std::size_t t = 0; t < history_.size(); ++t) counts_[t] = history_[t].ended == fate::committed;
        for (bool more = true; more;) {
            more = false;
            for (std::size_t t = 0; t < history_.size(); ++t) {
                if (!counts_[t]) continue;
                for (const list_step& s : history_[t].steps) {
                    for (const std::int64_t v : s.read) {
                        const auto w = writers_.find({s.list, v});
                        if (w == writers_.end() || counts_[w->second.transaction]) continue;
                        if (history_[w->second.transaction].ended != fate::unknown) continue;
                        counts_[w->second.transaction] = more = true;
                        ++report_.resolved;
                    }
                }
            }
        }
        report_.committed = static_cast<std::size_t>(std::count(counts_.begin(), counts_.end(), true));
    }

    void order_versions() {
        for (std::size_t t = 0; t < history_.size(); ++t) {
            if (!counts_[t]) continue;
            for (const list_step& s : history_[t].steps)
                if (!s.appended && s.read.size() > versions_[s.list].size()) versions_[s.list] = s.read;
        }
        for (const auto& [list, values] : versions_)
            for (std::size_t i = 0; i < values.size(); ++i)
                if (!index_.insert({{list, values[i]}, i}).second) note(anomaly::repeated, name(list, values[i]));
    }

    void look_at_reads(std::size_t t) {
        std::map<int, std::vector<std::int64_t>> own;  // what it has appended so far
        for (const list_step& s : history_[t].steps) {
            if (s.appended) {
                own[s.list].push_back(*s.appended);
                continue;
            }
            const std::vector<std::int64_t>& order = versions_[s.list];
            if (!std::equal(s.read.begin(), s.read.end(), order.begin()))
                note(anomaly::diverging, name(t) + ", list " + std::to_string(s.list));
            const std::vector<std::int64_t>& mine = own[s.list];
            if (mine.size() > s.read.size() || !std::equal(mine.rbegin(), mine.rend(), s.read.rbegin()))
                note(anomaly::lost, name(t) + ", list " + std::to_string(s.list));
            std::size_t foreign = s.read.size();  // values before its own
            while (foreign > 0 && is_own(t, s.list, s.read[foreign - 1])) --foreign;
            for (std::size_t i = 0; i < foreign; ++i) {
                const auto w = writers_.find({s.list, s.read[i]});
                if (w == writers_.end())
                    note(anomaly::invented, name(t) + ", " + name(s.list, s.read[i]));
                else if (history_[w->second.transaction].ended == fate::aborted)
                    note(anomaly::g1a, name(t) + " read " + name(s.list, s.read[i]) + " by " + name(w->second.transaction));
            }
            depend_on_read(t, s, foreign);
        }
    }
    /// Dependencies do not tell of what nobody has read.
    void look_at_the_end() {
        for (const list_step& s : history_.back().steps) {
            if (s.appended) continue;
            for (const auto& [value, w] : writers_)
                if (value.first == s.list && counts_[w.transaction] && std::count(s.read.begin(), s.read.end(), value.second) == 0)
                    note(anomaly::vanished, name(s.list, value.second) + " by " + name(w.transaction));
        }
    }
    [[nodiscard]] bool is_own(std::size_t t, int list, std::int64_t value) const {
        const auto w = writers_.find({list, value});
        return w != writers_.end() && w->second.transaction == t;
    }

    /// Of a read whose first `foreign` values are others'.
    void depend_on_read(std::size_t t, const list_step& s, std::size_t foreign) {
        std::size_t next = 0;
        if (foreign > 0) {
            const auto w = writers_.find({s.list, s.read[foreign - 1]});
            if (w != writers_.end()) {
                connect(w->second.transaction, t, wr);
                if (!w->second.last && foreign == s.read.size())
                    note(anomaly::g1b, name(t) + " read " + name(s.list, s.read[foreign - 1]) + " by " + name(w->second.transaction));
            }
            const auto at = index_.find({s.list, s.read[foreign - 1]});
            if (at == index_.end()) return;
            next = at->second + 1;
        }
        const std::vector<std::int64_t>& order = versions_[s.list];
        if (next < order.size())
            if (const auto w = writers_.find({s.list, order[next]}); w != writers_.end()) connect(t, w->second.transaction, rw);
    }
    void depend_on_writes() {
        for (const auto& [list, values] : versions_) {
            for (std::size_t i = 1; i < values.size(); ++i) {
                const auto a = writers_.find({list, values[i - 1]}), b = writers_.find({list, values[i]});
                if (a != writers_.end() && b != writers_.end()) connect(a->second.transaction, b->second.transaction, ww);
            }
        }
        for (auto& out : edges_) {
            std::sort(out.begin(), out.end());
            out.erase(std::unique(out.begin(), out.end()), out.end());
            report_.dependencies += out.size();
        }
    }
    void connect(std::size_t from, std::size_t to, kind what) {
        if (from != to && counts_[from] && counts_[to]) edges_[from].push_back({to, what});
    }

    /// The strongly connected component of each transaction, by edges up to `most` (Tarjan, without recursion).
    [[nodiscard]] std::vector<std::size_t> components(kind most) const {
        const std::size_t none = ~std::size_t{0};
        std::vector<std::size_t> number(history_.size(), none), low(history_.size()), component(history_.size(), none), stack;
        std::size_t numbers = 0, found = 0;
        struct visit {
            std::size_t node, next;
        };
        for (std::size_t root = 0; root < history_.size(); ++root) {
            if (number[root] != none) continue;
            std::vector<visit> path{{root, 0}};
            while (!path.empty()) {
                const std::size_t node = path.back().node;
                if (path.back().next == 0) {
                    number[node] = low[node] = numbers++;
                    stack.push_back(node);
                }
                if (path.back().next < edges_[node].size()) {
                    const edge& e = edges_[node][path.back().next++];
                    if (e.what > most) continue;
                    if (number[e.to] == none)
                        path.push_back({e.to, 0});
                    else if (component[e.to] == none)
                        low[node] = std::min(low[node], number[e.to]);
                    continue;
                }
                if (low[node] == number[node]) {
                    for (std::size_t member = none; member != node;) {
                        member = stack.back();
                        stack.pop_back();
                        component[member] = found;
                    }
                    ++found;
                }
                path.pop_back();
                if (!path.empty()) low[path.back().node] = std::min(low[path.back().node], low[node]);
            }
        }
        return component;
    }

    /// The shortest way back to `to` by edges up to `most`, as text; empty where there is none.
    [[nodiscard]] std::string way(std::size_t from, std::size_t to, kind most) const {
        static constexpr std::array<std::string_view, 3> names{" -ww-> ", " -wr-> ", " -rw-> "};
        std::map<std::size_t, std::pair<std::size_t, kind>> came;
        std::deque<std::size_t> todo{from};
        while (!todo.empty() && came.count(to) == 0) {
            const std::size_t at = todo.front();
            todo.pop_front();
            for (const edge& e : edges_[at])
                if (e.what <= most && e.to != from && came.insert({e.to, {at, e.what}}).second) todo.push_back(e.to);
        }
        if (came.count(to) == 0) return {};
        std::string text;
        for (std::size_t at = to; at != from; at = came.at(at).first) text = std::string(names[came.at(at).second]) + name(at) + text;
        return text;
    }

    void find_cycles() {
        const auto by_ww = components(ww), by_wr = components(wr), by_rw = components(rw);
        for (std::size_t t = 0; t < history_.size(); ++t) {
            for (const edge& e : edges_[t]) {
                if (e.what == ww && by_ww[t] == by_ww[e.to]) note(anomaly::g0, name(t) + " -ww-> " + name(e.to) + way(e.to, t, ww));
                if (e.what == wr && by_wr[t] == by_wr[e.to]) note(anomaly::g1c, name(t) + " -wr-> " + name(e.to) + way(e.to, t, wr));
                if (e.what != rw || by_rw[t] != by_rw[e.to]) continue;
                const std::string single = way(e.to, t, wr);
                note(single.empty() ? anomaly::g2 : anomaly::g_single,
                     name(t) + " -rw-> " + name(e.to) + (single.empty() ? way(e.to, t, rw) : single));
            }
        }
    }

    const list_history& history_;
    bool ended_;
    std::vector<bool> counts_;  // committed, as far as one can tell
    std::vector<std::vector<edge>> edges_;
    std::map<place, writer> writers_;
    std::map<int, std::vector<std::int64_t>> versions_;
    std::map<place, std::size_t> index_;
    history_report report_;
};

[[nodiscard]] inline history_report check_history(const list_history& h) {
    return history_checker{h, false}.check();
}
/// Of one whose last transaction reads the lists after all others have ended: nothing that was committed may be missing there.
[[nodiscard]] inline history_report check_ended_history(const list_history& h) {
    return history_checker{h, true}.check();
}

}  // namespace strata_test

#endif
