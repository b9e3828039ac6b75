// Calls of a session whose headers the user chooses to include: what they are until then, a compile error that names the header.
#ifndef STRATA_OPTIONAL_CALLS_HPP
#define STRATA_OPTIONAL_CALLS_HPP

#include <strata/core/result.hpp>

namespace strata::inline STRATA_ABI {

struct copy_options;

namespace detail {

/// Options whose type is known by name only until their header is read.
template <class Options>
[[nodiscard]] const Options& default_options() {
    static_assert(requires { sizeof(Options); }, "strata: COPY needs  #include <strata/copy.hpp>");
    static const Options none{};
    return none;
}

/// Filled in by copy.hpp and pipeline.hpp, so that this file does not know them.
template <class Session, bool CopyIncluded>
struct copy_calls {
    template <class... Any>
    static result<int> in(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: COPY needs  #include <strata/copy.hpp>");
        return 0;
    }
    template <class T, class... Any>
    static result<int> out(const Any&... any) {
        return in(any...);
    }
    template <class... Any>
    static result<int> raw(const Any&... any) {
        return in(any...);
    }
};

template <class Session, bool PipelineIncluded>
struct pipeline_calls {
    template <class... Any>
    static int run(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: db.pipeline(...) needs  #include <strata/pipeline.hpp>");
        return 0;
    }
    template <class... Any>
    static int try_run(const Any&...) {
        return run(0);
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
