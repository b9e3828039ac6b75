// The error as a value: small, cheap without texts, complete in one line with them.
#include <strata/core/error.hpp>
#include <strata/core/time.hpp>

#include <support/catch.hpp>

using namespace std::chrono_literals;
using strata::errc;

TEST_CASE("an error without texts holds the condition and nothing happened", "[error]") {
    const strata::error none;
    CHECK_FALSE(none);
    CHECK(none.code() == errc::ok);

    const strata::error refused{errc::circuit_open};
    CHECK(refused);
    CHECK(refused.effect() == strata::effect::none);
    CHECK(refused.phase() == strata::phase::admission);
    CHECK(refused.health() == strata::health::good);
    CHECK_FALSE(refused.has_texts());
    CHECK(refused.message().empty());
    CHECK(refused.to_string() == "circuit_open");
}

TEST_CASE("each condition has a name", "[error]") {
    for (int i = 0; i <= static_cast<int>(errc::unknown); ++i) CHECK_FALSE(to_string(static_cast<errc>(i)).empty());
    CHECK(to_string(errc::ok) == "ok");
    CHECK(to_string(errc::unique_violation) == "unique_violation");
    CHECK(to_string(errc::unknown) == "unknown");
    CHECK(to_string(strata::effect::unknown) == "unknown");
    CHECK(to_string(strata::phase::result) == "result");
}

TEST_CASE("a copy of an error has texts of its own", "[error]") {
    strata::error first{errc::unique_violation, "UNIQUE constraint failed: account.owner"};
    first.edit_texts().table = "account";
    strata::error second = first;
    second.edit_texts().table = "branch";
    CHECK(first.texts().table == "account");
    CHECK(second.texts().table == "branch");

    second = first;
    CHECK(second.texts().table == "account");
    const strata::error third = std::move(second);
    CHECK(third.message() == "UNIQUE constraint failed: account.owner");
}

TEST_CASE("an error reads as one line with everything that is known", "[error]") {
    strata::error e{errc::unique_violation, "UNIQUE constraint failed", strata::phase::execute, strata::effect::rolled_back};
    e.set_attempts(3).set(strata::health::lost).set_retry_after(5ms).set_local();
    strata::error_texts& texts = e.edit_texts();
    texts.native_code = "2067";
    texts.detail = "a row with this owner is there";
    texts.table = "account";
    texts.column = "owner";
    texts.constraint = "account_owner";
    texts.position = 12;
    texts.statement = "insert_account";
    texts.hint = "choose another owner";
    CHECK(e.to_string() ==
          "unique_violation: UNIQUE constraint failed; a row with this owner is there [code 2067]; table account; column owner; "
          "constraint account_owner; at byte 12; in: insert_account; effect: rolled_back; attempts: 3; hint: choose another owner");
    CHECK(e.attempts() == 3);
    CHECK(e.health() == strata::health::lost);
    CHECK(e.retry_after() == 5ms);
    CHECK(e.local());
}

TEST_CASE("failure carries its error and says it in what()", "[error]") {
    try {
        strata::throw_failure(strata::error{errc::no_rows, "one() found none"});
    } catch (const strata::failure& f) {
        const strata::failure copy = f;
        CHECK(copy.code() == errc::no_rows);
        CHECK(copy.error().message() == "one() found none");
        CHECK(std::string_view{copy.what()} == "no_rows: one() found none");
        return;
    }
    FAIL("nothing was thrown");
}

TEST_CASE("points of time stop at never instead of overflowing", "[time]") {
    const strata::time_point start{};
    CHECK(strata::add_saturated(start, 5s) == start + 5s);
    CHECK(strata::add_saturated(strata::never, 1ns) == strata::never);
    CHECK(strata::add_saturated(strata::never - 2ns, 1ns) == strata::never - 1ns);
    CHECK(strata::add_saturated(strata::never - 2ns, strata::duration::max()) == strata::never);
}

TEST_CASE("a moment draws randomness only when asked, uniform in [0, 1)", "[time]") {
    struct counting final : strata::random_source {
        std::uint64_t next() noexcept override { return answers[drawn++ % 2]; }
        std::uint64_t answers[2] = {~std::uint64_t{0}, 0};
        int drawn = 0;
    } source;
    const strata::moment m{.now = {}, .source = &source};
    CHECK(source.drawn == 0);
    CHECK(m.random_unit() < 1.0);
    CHECK(m.random_unit() == 0.0);
    CHECK(source.drawn == 2);
    CHECK(strata::moment{}.random() == 0);
}
