// Catch2's main, compiled once for all test programs: with 2.13 it takes as long as ten tests.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#define CATCH_CONFIG_ENABLE_ALL_STRINGMAKERS
#include <catch2/catch.hpp>
#endif

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRATA_TEST_TSAN
#endif
#elif defined(__SANITIZE_THREAD__)
#define STRATA_TEST_TSAN
#endif
#ifdef STRATA_TEST_TSAN
// libstdc++ counts the users of an exception in code that is not instrumented.
extern "C" const char* __tsan_default_suppressions() { return "race:std::__exception_ptr::exception_ptr::_M_release\n"; }
#endif
