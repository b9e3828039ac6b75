// The table for people.
#include <strata/observe/print.hpp>

#include <support/catch.hpp>

using namespace std::chrono_literals;
using strata_test::contains_text;

TEST_CASE("durations have three digits and a unit", "[print]") {
    CHECK(strata::to_string(strata::duration{0}) == "0ns");
    CHECK(strata::to_string(strata::duration{870ns}) == "870ns");
    CHECK(strata::to_string(strata::duration{999ns}) == "999ns");
    CHECK(strata::to_string(strata::duration{1us}) == "1.00us");
    CHECK(strata::to_string(strata::duration{12'540ns}) == "12.5us");
    CHECK(strata::to_string(strata::duration{999'499ns}) == "999us");
    CHECK(strata::to_string(strata::duration{999'500ns}) == "1.00ms");
    CHECK(strata::to_string(strata::duration{9'996us}) == "10.0ms");
    CHECK(strata::to_string(strata::duration{1'070ms}) == "1.07s");
    CHECK(strata::to_string(strata::duration{2h}) == "7200s");
}

TEST_CASE("a snapshot is a table of what occurred", "[print]") {
    strata::metrics_snapshot m;
    CHECK_THAT(strata::to_string(m), contains_text("operations              0"));
    m.operations[static_cast<std::size_t>(strata::operation_kind::transaction)][0] = 40;
    m.operations[static_cast<std::size_t>(strata::operation_kind::transaction)][static_cast<std::size_t>(strata::outcome_class::refused)] =
        2;
    m.retries = 3;
    m.rollbacks = 1;
    strata::small_histogram h;
    h.record(4ns);
    m.statements.push_back({"find_account", 7, h.snapshot()});
    const std::string text = strata::to_string(m);
    CHECK_THAT(text, contains_text("operations              42"));
    CHECK_THAT(text, contains_text("attempts                45  retries 3  rollbacks 1  refusals 2  abandoned 0\n"));
    CHECK_THAT(text, contains_text("transaction             ok 40  refused 2\n"));
    CHECK_THAT(text, contains_text("find_account            1  p50 4ns  p95 4ns  p99 4ns  max 4ns  failures 7\n"));
    CHECK_THAT(text, !contains_text("read"));
}

TEST_CASE("each condition has a class, each class a name", "[outcome_class]") {
    using strata::class_of;
    using strata::errc;
    using strata::outcome_class;
    for (int i = 0; i <= static_cast<int>(errc::unknown); ++i) {
        const auto code = static_cast<errc>(i);
        CAPTURE(code);
        CHECK((class_of(code) == outcome_class::ok) == (code == errc::ok));
        CHECK_FALSE(to_string(class_of(code)).empty());
    }
    CHECK(class_of(errc::circuit_open) == outcome_class::refused);
    CHECK(class_of(errc::busy_snapshot) == outcome_class::contention);
    CHECK(class_of(errc::unique_violation) == outcome_class::constraint);
    CHECK(class_of(errc::connection_lost) == outcome_class::connection);
    CHECK(class_of(errc::syntax_error) == outcome_class::statement);
    CHECK(class_of(errc::no_rows) == outcome_class::result);
    CHECK(class_of(errc::corrupt) == outcome_class::machine);
    CHECK(class_of(errc::outcome_unknown) == outcome_class::in_doubt);
    CHECK(class_of(errc::user_exception) == outcome_class::user);
    CHECK(class_of(errc::unknown) == outcome_class::other);
    CHECK(to_string(outcome_class::contention) == "contention");
    CHECK(to_string(outcome_class::other) == "other");
}
