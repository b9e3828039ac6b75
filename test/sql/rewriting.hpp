// Rewrites texts at run time, as literals are at compile time, so that tables and random texts can be checked.
#ifndef STRATA_TEST_SQL_REWRITING_HPP
#define STRATA_TEST_SQL_REWRITING_HPP

#include <strata/sql/reading.hpp>

#include <string>
#include <vector>

namespace strata_test {

struct rewritten {
    strata::detail::reading facts;
    std::string text;                // rewritten; empty when it does not fit
    std::vector<std::string> names;  // in the order of first appearance
    std::vector<std::pair<std::size_t, std::size_t>> places;
};

/// Lists are left as they are.
inline rewritten rewrite(const std::string& text, strata::dialect d) {
    using namespace strata::detail;
    rewritten r;
    std::size_t from = 0;
    std::string out;
    r.facts = read_text(
        text, d, [](const token&) { return strata::text_problem::none; },
        [&](const occurrence& o) {
            r.places.emplace_back(o.begin, o.end);
            const std::string name(o.name(text));
            std::size_t n = 0;
            while (n < r.names.size() && r.names[n] != name) ++n;
            if (n == r.names.size()) r.names.push_back(name);
            out.append(text, from, o.begin - from);
            char placeholder[16];
            text_writer w{placeholder};
            w.put_placeholder(d, static_cast<unsigned>(n + 1), o.begin == 0 ? '\0' : text[o.begin - 1]);
            out.append(placeholder, w.size);
            from = o.end;
            return strata::text_problem::none;
        });
    if (r.facts.fits()) r.text = out.append(text, from, std::string::npos);
    return r;
}

}  // namespace strata_test

#endif
