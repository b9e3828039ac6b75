// Optimistic locking against a model: merge field by field, and random writes by clients who hold rows of any age.
#include "optimistic_fixture.hpp"

#include <limits>
#include <map>
#include <random>

using namespace strata_test;
using strata::write_status;

namespace strata_test {

/// A field for each rule.
struct sheet {
    std::int64_t id = 0;
    std::int64_t plain = 0;
    std::int64_t theirs = 0;
    std::int64_t ours = 0;
    std::int8_t small = 0;
    std::uint8_t positive = 0;
    double real = 0;
    std::string text;
    std::vector<int> list;
    std::int64_t made = 0;
    std::int64_t version = 0;

    friend bool operator==(const sheet&, const sheet&) = default;
};

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::sheet, id, plain, theirs, ours, small, positive, real, text, list, made, version);

template <>
struct strata::mapping<strata_test::sheet> {
    static constexpr std::string_view table = "sheet";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
};

namespace {

using store_stack = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;
using dice = std::mt19937_64;

[[nodiscard]] std::int64_t below(dice& r, std::int64_t n) {
    return static_cast<std::int64_t>(r() % static_cast<std::uint64_t>(n));
}

/// What a field becomes; nothing for a true conflict. The rule is given what all three have, and is asked only if both changed it.
template <class T, class Rule>
std::optional<T> field_of(const T& base, const T& ours, const T& theirs, Rule rule) {
    if (ours == base) return theirs;
    if (theirs == base) return ours;
    return rule(base, ours, theirs);
}
template <class T>
std::optional<T> same(const T&, const T& ours, const T& theirs) {
    return ours == theirs ? std::optional<T>{ours} : std::nullopt;
}
/// By numbers that are wide enough.
template <class T>
std::optional<T> sum(const T& base, const T& ours, const T& theirs) {
    const int wide = theirs + ours - base;
    if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) return {};
    return static_cast<T>(wide);
}
template <class T>
std::optional<T> appended(const T& base, const T& ours, const T& theirs) {
    if (ours.size() < base.size() || !std::equal(base.begin(), base.end(), ours.begin())) return {};
    T all = theirs;
    all.insert(all.end(), ours.begin() + static_cast<std::ptrdiff_t>(base.size()), ours.end());
    return all;
}

struct merged {
    sheet row;
    std::vector<std::string_view> conflicts;
};
merged model_of_merge(const sheet& base, const sheet& ours, const sheet& theirs) {
    merged m{theirs, {}};
    const auto put = [&](std::string_view name, auto& to, const auto& value) {
        if (value)
            to = *value;
        else
            m.conflicts.push_back(name);
    };
    const auto one = [](auto value) { return [value](auto&...) { return std::optional{value}; }; };
    put("plain", m.row.plain, field_of(base.plain, ours.plain, theirs.plain, same<std::int64_t>));
    put("theirs", m.row.theirs, field_of(base.theirs, ours.theirs, theirs.theirs, one(theirs.theirs)));
    put("ours", m.row.ours, field_of(base.ours, ours.ours, theirs.ours, one(ours.ours)));
    put("small", m.row.small, field_of(base.small, ours.small, theirs.small, sum<std::int8_t>));
    put("positive", m.row.positive, field_of(base.positive, ours.positive, theirs.positive, sum<std::uint8_t>));
    put("real", m.row.real, field_of(base.real, ours.real, theirs.real, one(theirs.real + (ours.real - base.real))));
    put("text", m.row.text, field_of(base.text, ours.text, theirs.text, appended<std::string>));
    put("list", m.row.list, field_of(base.list, ours.list, theirs.list, appended<std::vector<int>>));
    put("made", m.row.made, field_of(base.made, ours.made, theirs.made, one(base.made * 100 + ours.made * 10 + theirs.made)));
    return m;
}

template <class T>
T pick(dice& r) {
    return static_cast<T>(r());
}
/// Changes some fields, to few values: both sides often make the same of one, and lists grow as often as they do not.
void change(dice& r, sheet& s) {
    const auto maybe = [&] { return below(r, 3) != 0; };
    if (maybe()) s.plain = below(r, 3);
    if (maybe()) s.theirs = below(r, 3);
    if (maybe()) s.ours = below(r, 3);
    if (maybe()) s.small = pick<std::int8_t>(r);
    if (maybe()) s.positive = pick<std::uint8_t>(r);
    if (maybe()) s.real = static_cast<double>(below(r, 8));
    if (maybe()) s.text = below(r, 4) != 0 ? s.text + "ab"[below(r, 2)] : "c";
    if (maybe()) s.list.push_back(static_cast<int>(below(r, 3)));
    if (below(r, 8) == 0) s.list.erase(s.list.begin(), s.list.begin() + (s.list.empty() ? 0 : 1));
    if (maybe()) s.made = below(r, 3);
}

}  // namespace

TEST_CASE("merge does with each field what its rule says", "[optimistic][property]") {
    dice r{20261};
    const auto rules =
        strata::merge{strata::field<"small">(strata::add_numbers),
                      strata::field<"positive">(strata::add_numbers),
                      strata::field<"real">(strata::add_numbers),
                      strata::field<"text">(strata::append_lists),
                      strata::field<"list">(strata::append_lists),
                      strata::field<"theirs">(strata::take_theirs),
                      strata::field<"ours">(strata::take_ours),
                      strata::field<"made">([](auto base, auto ours, auto theirs) { return base * 100 + ours * 10 + theirs; })};
    int conflicts = 0, clean = 0;
    for (int round = 0; round < count(20'000, 1'000'000); ++round) {
        sheet base;
        change(r, base);
        sheet ours = base, theirs = base;
        change(r, ours);
        change(r, theirs);
        ours.version = 99;  // neither is merged
        theirs.version = 5;
        const merged expected = model_of_merge(base, ours, theirs);
        sheet out = theirs;
        std::vector<std::string_view> fields;
        const bool well = rules.make(base, ours, theirs, out, fields);
        REQUIRE(fields == expected.conflicts);
        REQUIRE(well == fields.empty());
        (well ? clean : conflicts) += 1;
        if (well) REQUIRE(out == expected.row);
        // Without rules only what one side did, or both did alike, goes together; with a rule for all nothing is in conflict.
        fields.clear();
        out = theirs;
        static_cast<void>(strata::merge{}.make(base, ours, theirs, out, fields));
        for (const std::string_view name : fields) REQUIRE(name != "id");
        REQUIRE((std::count(fields.begin(), fields.end(), "plain") == 1) ==
                !field_of(base.plain, ours.plain, theirs.plain, same<std::int64_t>));
        fields.clear();
        out = theirs;
        REQUIRE(strata::merge{strata::otherwise(strata::take_ours)}.make(base, ours, theirs, out, fields));
        REQUIRE(out.plain == *field_of(base.plain, ours.plain, theirs.plain, [&](auto&...) { return std::optional{ours.plain}; }));
        REQUIRE(out.version == 5);
    }
    CHECK(conflicts > 1000);
    CHECK(clean > 1000);
}

TEST_CASE("numbers are added to the edge of their range and not beyond", "[optimistic]") {
    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(), most = std::numeric_limits<std::int64_t>::max();
    std::int64_t out = 0;
    CHECK(strata::detail::add_difference<std::int64_t>(least, most, -1, out) == false);  // 2^64 - 2
    CHECK(strata::detail::add_difference<std::int64_t>(least, most, least, out));
    CHECK(out == most);
    CHECK(strata::detail::add_difference<std::int64_t>(most, least, most, out));
    CHECK(out == least);
    CHECK(strata::detail::add_difference<std::int64_t>(most, least, 0, out) == false);
    std::uint64_t positive = 0;
    CHECK(strata::detail::add_difference<std::uint64_t>(10, 3, 7, positive));
    CHECK(positive == 0u);
    CHECK_FALSE(strata::detail::add_difference<std::uint64_t>(10, 3, 6, positive));
}

TEST_CASE("random writes by clients who hold rows of any age do what the model says", "[optimistic][property]") {
    const bool inside = GENERATE(false, true);
    dice r{inside ? 7u : 8u};
    file_of_its_own file;
    strata::database<store_stack> db{file.target, strata::optimistic_locking_options{.base = {}, .cap = {}}};
    db.execute(create_items);
    std::map<std::int64_t, item> model;
    std::vector<strata::versioned<item>> held;
    std::map<write_status, int> met;
    const strata::merge rules{strata::field<"amount">(strata::add_numbers)};

    // The model's answer to an update of a held row, and what it leaves there.
    const auto expected = [&](const strata::versioned<item>& h, auto strategy) {
        const auto at = model.find(h.base().id);
        if (at == model.end()) return write_status::not_found;
        item& there = at->second;
        const bool fresh = there.version == h.version();
        if constexpr (std::is_same_v<decltype(strategy), strata::fail_fast>) {
            if (!fresh) return write_status::conflict;
            there = item{there.id, h->name, h->amount, there.version + 1};
        } else if constexpr (std::is_same_v<decltype(strategy), strata::last_writer_wins>) {
            there = item{there.id, h->name, h->amount, there.version + 1};
        } else if constexpr (strata::detail::recomputes<decltype(strategy)>) {
            // Not on what the holder did to the row. (As it was read: another row of that key may have the same version.)
            there.amount = (fresh ? h.base().amount : there.amount) + 1;
            if (fresh) there.name = h.base().name;
            ++there.version;
        } else if (fresh) {
            there = item{there.id, h->name, h->amount, there.version + 1};
        } else {
            const auto name = field_of(h.base().name, h->name, there.name, same<std::string>);
            if (!name) return write_status::merge_conflict;
            there = {
                there.id, *name,
                *field_of(h.base().amount, h->amount, there.amount, [](auto& b, auto& o, auto& t) { return std::optional{t + o - b}; }),
                there.version + 1};
        }
        return write_status::updated;
    };
    const auto all_rows = [&](auto& session) {
        std::map<std::int64_t, item> rows;
        for (const item& i : session.template all<item>(R"(select * from "the ""Items""")"_sql)) rows[i.id] = i;
        return rows;
    };
    const auto step = [&](auto& session) {
        const std::int64_t id = below(r, 4);
        if (held.empty() || below(r, 4) == 0) {
            if (auto found = session.template find_versioned<item>(id)) {
                REQUIRE(**found == model.at(id));
                held.push_back(*found);
            } else {
                REQUIRE_FALSE(model.contains(id));
                held.push_back(session.insert_versioned(item{id, "new", below(r, 10), 0}));
                model[id] = *held.back();
            }
            if (held.size() > 12) held.erase(held.begin());
            return;
        }
        auto& h = held[static_cast<std::size_t>(below(r, static_cast<std::int64_t>(held.size())))];
        if (below(r, 2) == 0) h->name = std::string(1, "xyz"[below(r, 3)]);
        if (below(r, 2) == 0) h->amount += below(r, 5) - 2;
        const auto try_it = [&](auto strategy) {
            const write_status wanted = expected(h, strategy);
            const auto done = session.update_versioned(h, strategy);
            REQUIRE(done.status == wanted);
            ++met[wanted];
            const auto at = model.find(h.base().id);
            if (done) REQUIRE(done.version == at->second.version);
            if (done && done.row) REQUIRE(**done.row == at->second);
            if (!done && wanted != write_status::not_found) REQUIRE(**done.row == at->second);
            if (wanted == write_status::merge_conflict) REQUIRE(done.fields == std::vector<std::string_view>{"name"});
            if (done && !done.row)
                h.written(done.version);
            else if (done)
                h = *done.row;
        };
        switch (below(r, 6)) {
            case 0:
                return try_it(strata::fail_fast{});
            case 1:
                return try_it(strata::last_writer_wins{});
            case 2:
                return try_it(strata::recompute{[](item& i) { ++i.amount; }});
            case 3:
                return try_it(rules);
            case 4: {
                const auto at = model.find(h.base().id);
                const write_status wanted = at == model.end()                   ? write_status::not_found
                                            : at->second.version == h.version() ? write_status::removed
                                                                                : write_status::conflict;
                REQUIRE(session.remove_versioned(h).status == wanted);
                ++met[wanted];
                if (wanted == write_status::removed) model.erase(at);
                return;
            }
            default: {  // all or nothing: the model's whole answer, or nothing of it
                const auto before = model;
                std::optional<std::size_t> failed;
                std::vector<strata::versioned<item>> some(held.begin(),
                                                          held.begin() + below(r, static_cast<std::int64_t>(held.size()) + 1));
                for (std::size_t i = 0; i < some.size() && !failed; ++i)
                    if (expected(some[i], strata::fail_fast{}) != write_status::updated) failed = i;
                if (failed) model = before;
                const auto all = session.update_all_versioned(some);
                REQUIRE(all.failed == failed);
                ++met[failed ? write_status::not_written : write_status::updated];
            }
        }
    };
    for (int round = 0; round < count(40, 2'000); ++round) {
        if (inside) {
            const auto before = model;
            const auto rows = held;
            const bool undo = below(r, 4) == 0;
            try {
                db.transaction([&](auto& tx) {
                    for (int i = 0; i < 20; ++i) step(tx);
                    if (undo) throw 1;
                });
            } catch (int) {
                model = before;
                held = rows;
            }
        } else {
            for (int i = 0; i < 20; ++i) step(db);
        }
        REQUIRE(all_rows(db) == model);
    }
    for (const write_status s : {write_status::updated, write_status::removed, write_status::conflict, write_status::not_found,
                                 write_status::merge_conflict, write_status::not_written})
        CHECK(met[s] > 0);
}
