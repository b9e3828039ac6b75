// expect: strata: abandon must be noexcept: it runs where an operation is destroyed
#include <strata/core/layers.hpp>

struct careless {
    static constexpr auto place = strata::place::bulkhead;
    static constexpr bool holds = true;
    struct frame {};
    void admit(auto&, frame&) {}
    void abandon(frame&) {}
};
struct careful {
    static constexpr auto place = strata::place::bulkhead;
    static constexpr bool holds = true;
    struct frame {};
    void admit(auto&, frame&) {}
    void abandon(frame&) noexcept {}
};

#ifdef STRATA_CONTROL
strata::layers<careful> policies;
#else
strata::layers<careless> policies;
#endif
