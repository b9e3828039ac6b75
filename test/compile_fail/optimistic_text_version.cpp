// expect: strata: the member of the version column must be an integer
// needs: sqlite
#define NO_MAPPING
#include "optimistic.hpp"

template <>
struct strata::mapping<row> {
#ifdef STRATA_CONTROL
    static constexpr std::string_view table = "row";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
#else
    static constexpr std::string_view table = "row";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "name";
#endif
};

void f(strata::database<store>& db, const row& r) { db.update_versioned(r); }
