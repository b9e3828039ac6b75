// `result<T>`: exactly one of a value and an error, through every copy, move and assignment.
#include <strata/core/result.hpp>

#include <support/catch.hpp>

#include <memory>
#include <string>

using strata::errc;
using strata::result;

namespace {

/// Counts its living objects, and throws on the copy or move that it is told to.
struct counted {
    static inline int alive = 0;
    static inline int until_throw = -1;
    int value = 0;
    counted() { ++alive; }
    explicit counted(int v) : value(v) { ++alive; }
    counted(const counted& o) : value(o.value) { made(); }
    counted(counted&& o) : value(o.value) { made(); }
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    static void made() {
        if (until_throw == 0) throw std::bad_alloc{};
        if (until_throw > 0) --until_throw;
        ++alive;
    }
};

strata::error texted(errc code, const char* text) { return strata::error{code, text}; }

}  // namespace

TEST_CASE("a result holds a value or an error", "[core][result]") {
    const result<std::string> text = "seven";
    REQUIRE(text);
    CHECK(text.has_value());
    CHECK(!text.has_error());
    CHECK(*text == "seven");
    CHECK(text->size() == 5);
    CHECK(text.value() == "seven");
    CHECK(!text.error());

    const result<std::string> failed = texted(errc::busy, "locked");
    CHECK(!failed);
    CHECK(failed.error().code() == errc::busy);
    CHECK(failed.error().message() == "locked");
    CHECK(failed.value_or("none") == "none");
    try {
        static_cast<void>(failed.value());
        FAIL("no value, and nothing thrown");
    } catch (const strata::failure& f) {
        CHECK(f.code() == errc::busy);
        CHECK(std::string{f.what()} == "busy: locked");
    }
    CHECK(result<int>{}.value() == 0);
    CHECK(result<void>{}.has_value());
    CHECK_THROWS_AS(result<void>{strata::error{errc::timeout}}.value(), strata::failure);
    CHECK(*result<int*>{nullptr} == nullptr);
}

TEST_CASE("an error that is none is still no value", "[core][result]") {
    CHECK(result<std::string>{strata::error{}}.error().code() == errc::unknown);
    CHECK(result<void>{strata::error{}}.error().code() == errc::unknown);
    result<std::string> r = "x";
    r = strata::error{};
    CHECK(r.error().code() == errc::unknown);
}

TEST_CASE("copies, moves and assignments of results destroy each value once", "[core][result]") {
    REQUIRE(counted::alive == 0);
    {
        result<counted> value = counted{1};
        result<counted> failed = texted(errc::timeout, "late");
        CHECK(counted::alive == 1);
        result<counted> copy = value;
        CHECK(counted::alive == 2);
        copy = failed;
        CHECK(counted::alive == 1);
        CHECK(copy.error().message() == "late");
        failed = value;
        CHECK(counted::alive == 2);
        CHECK(failed->value == 1);
        result<counted> moved = std::move(copy);
        CHECK(moved.error().message() == "late");
        CHECK(!copy);  // NOLINT: what was moved from is an error still
        moved = std::move(value);
        CHECK(moved->value == 1);
        moved = texted(errc::busy, "again");
        CHECK(moved.error().code() == errc::busy);
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a value that throws while it moves leaves an error behind", "[core][result]") {
    {
        result<counted> target = counted{1};
        const result<counted> other = counted{2};
        counted::until_throw = 1;  // the copy into the parameter goes well, the move into the target does not
        CHECK_THROWS_AS(target = other, std::bad_alloc);
        counted::until_throw = -1;
        CHECK(target.error().code() == errc::unknown);
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a failure is copied without a throw and keeps its error", "[core][error]") {
    auto first = std::make_unique<strata::failure>(texted(errc::io_error, "disk gone"));
    strata::failure second = *first;
    static_assert(std::is_nothrow_copy_constructible_v<strata::failure> && std::is_nothrow_copy_assignable_v<strata::failure>);
    strata::failure third{strata::error{errc::busy}};
    third = second;
    third = *&third;
    first.reset();
    CHECK(second.error().message() == "disk gone");
    CHECK(std::string{third.what()} == "io_error: disk gone");
}

TEST_CASE("an error that was moved from keeps its condition and loses its texts", "[core][error]") {
    strata::error e = texted(errc::busy, "locked");
    const strata::error other = std::move(e);
    CHECK(other.message() == "locked");
    CHECK(e.code() == errc::busy);  // NOLINT
    CHECK(!e.has_texts());
    strata::error& same = e;
    e = std::move(same);
    CHECK(e.code() == errc::busy);
}

TEST_CASE("a result of a number is not made of what would be cut", "[core][result]") {
    static_assert(!std::is_constructible_v<result<std::int8_t>, int>);
    static_assert(!std::is_constructible_v<result<bool>, const char*>);
    static_assert(!std::is_constructible_v<result<int>, double>);
    static_assert(std::is_constructible_v<result<std::int64_t>, int>);
    static_assert(std::is_constructible_v<result<double>, float>);
    CHECK(*result<std::int64_t>{7} == 7);
}
