// expect: strata: a policy that takes something in admit (holds = true) must give it back in  void abandon(frame&) noexcept
#include "layers.hpp"

struct keeper {
    static constexpr auto place = strata::place::bulkhead;
    static constexpr bool holds = true;
    struct frame {};
    void admit(auto&, frame&) {}
};

struct giver : keeper {
    void abandon(frame&) noexcept {}
};

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<giver, source, driver>>);
#else
static_assert(accepted<strata::stack<keeper, source, driver>>);
#endif
