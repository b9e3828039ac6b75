// expect: strata: a policy has no hook that the engine would call; their forms are  admit(auto& op, frame& f, moment m),
#include <strata/core/layers.hpp>

struct forgets_the_frame {
    static constexpr auto place = strata::place::observe;
    struct frame {};
    void admit(auto&, strata::moment) {}
};
struct right {
    static constexpr auto place = strata::place::observe;
    struct frame {};
    void admit(auto&, frame&, strata::moment) {}
};

#ifdef STRATA_CONTROL
strata::layers<right> policies;
#else
strata::layers<forgets_the_frame> policies;
#endif
