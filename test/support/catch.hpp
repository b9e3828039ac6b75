// The one place that knows which Catch2 is installed: 2.13 (one header) and 3 (a library) both work.
//
// Tests include this and nothing of Catch2; what is spelled differently has a name of its own here.
#ifndef STRATA_TEST_SUPPORT_CATCH_HPP
#define STRATA_TEST_SUPPORT_CATCH_HPP

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#define STRATA_TEST_CATCH 3
#else
#define CATCH_CONFIG_ENABLE_ALL_STRINGMAKERS
#include <catch2/catch.hpp>
#define STRATA_TEST_CATCH 2
#endif

#include <concepts>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>

namespace strata_test {

#if STRATA_TEST_CATCH == 3
using approx = Catch::Approx;
/// Matcher: the string holds `part`. For `CHECK_THAT(text, contains_text("..."))`.
inline auto contains_text(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
using approx = Catch::Detail::Approx;
/// Matcher: the string holds `part`. For `CHECK_THAT(text, contains_text("..."))`.
inline auto contains_text(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

/// True in `test/run.sh --full`, where randomized tests run with their full counts.
inline bool full_run() {
    static const bool full = std::getenv("STRATA_TEST_FULL") != nullptr;
    return full;
}

/// `reduced` in a usual run, `full` in `test/run.sh --full`.
template <std::integral Number>
Number count(Number reduced, Number full) {
    return full_run() ? full : reduced;
}

}  // namespace strata_test

/// Enumerations that have a `to_string` beside them (errc, effect, phase ...) are printed by name.
template <class Enum>
    requires std::is_enum_v<Enum> && requires(Enum e) {
        { to_string(e) } -> std::convertible_to<std::string_view>;
    }
struct Catch::StringMaker<Enum> {
    static std::string convert(Enum e) { return std::string{std::string_view{to_string(e)}}; }
};

#endif
