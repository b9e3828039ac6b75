// expect: strata: how much memory this type takes is not known, but a cache is bounded in bytes
// needs: sqlite
#include "cached.hpp"

#include <memory>

struct held {
    std::shared_ptr<int> pointer;
#ifdef STRATA_CONTROL
    std::size_t heap_bytes() const noexcept { return sizeof(int); }
#endif
};
template <>
struct strata::codec<held> {
    static constexpr std::string_view name = "held";
    template <strata::column_reader R>
    static strata::errc read(const R& in, held& out) {
        out.pointer = std::make_shared<int>();
        return strata::codec<int>::read(in, *out.pointer);
    }
};

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<held>(cached(names));
#else
    db.one<held>(cached(names));
#endif
}
