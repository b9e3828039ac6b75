// SQL under both dialects: tokens lie in the text, in order, and parameters are names in it; a statement of it is refused or fits.
#include "fuzz.hpp"

#include <strata/sql/statement.hpp>

#include <string>

namespace {

void read(const std::string& text, strata::dialect d) {
    std::size_t behind = 0;
    std::size_t parameters = 0;
    strata::detail::lexer tokens{text, d};
    for (;;) {
        const strata::detail::token t = tokens.next();
        if (t.kind == strata::detail::token_kind::bad) break;
        strata_fuzz::require(t.begin >= behind && t.end >= t.begin && t.end <= text.size());
        if (t.kind == strata::detail::token_kind::end) break;
        strata_fuzz::require(t.end > t.begin);
        behind = t.end;
    }
    behind = 0;
    const auto facts = strata::detail::read_text(
        text, d, [](const strata::detail::token&) { return strata::text_problem::none; },
        [&](const strata::detail::occurrence& o) {
            strata_fuzz::require(o.begin >= behind && o.end > o.begin && o.end <= text.size() && text[o.begin] == ':');
            strata_fuzz::require(!o.name(text).empty());
            behind = o.end;
            ++parameters;
            return strata::text_problem::none;
        });
    strata_fuzz::require(facts.problem != strata::text_problem::none || facts.statements <= text.size() + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const strata_fuzz::input in{data, size};
    // a lexer's text ends with a NUL
    const std::string text{in.text()};
    read(text, strata::dialect::postgres);
    read(text, strata::dialect::sqlite);

    // cut in two, as fragments are
    const std::size_t cut = text.empty() ? 0 : in.choice() % text.size();
    strata::statement whole{text};
    strata::statement parts{text.substr(0, cut)};
    parts += text.substr(cut);
    strata_fuzz::require(static_cast<bool>(whole.check()) == static_cast<bool>(parts.check()));
    if (!whole.check()) strata_fuzz::require(whole.text().hash == parts.text().hash);
    return 0;
}
