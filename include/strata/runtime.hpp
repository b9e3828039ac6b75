// One instance of a stack: its policies' state, its source and its world. The faces share it, and operations keep it,
// so a database may be destroyed while an asynchronous call is still on its way.
#ifndef STRATA_RUNTIME_HPP
#define STRATA_RUNTIME_HPP

#include <strata/core/flight.hpp>
#include <strata/core/world.hpp>
#include <strata/options.hpp>

#include <memory>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A world that lives outside of the runtimes in it, such as a simulation; every other is part of its runtime.
template <class World>
concept shared_world = requires { requires World::shared; };

struct own_world {};
template <class World>
struct world_of_runtime {
    explicit world_of_runtime(own_world) {}
    World world;
};
template <shared_world World>
struct world_of_runtime<World> {
    explicit world_of_runtime(World& w) noexcept : world(w) {}
    World& world;
};

}  // namespace detail

template <class Stack, class World = system_world>
class runtime {
    using traits = detail::stack_traits<Stack>;

public:
    using interceptors = typename traits::interceptors;
    using driver = typename traits::driver;
    using source_layer = typename traits::source_layer;
    using source = typename source_layer::template source<driver>;
    using world_type = World;

    template <class... Options>
    explicit runtime(const Options&... options) : runtime(in_world{}, detail::own_world{}, options...) {
        static_assert(!detail::shared_world<World>,
                      "strata: a simulated world is shared: give it first, as in database<stack<...>, "
                      "strata::simulated_world> db{world, options...}");
    }
    /// In a world that is shared; it must outlive the runtime.
    template <class... Options>
    explicit runtime(World& world, const Options&... options) : runtime(in_world{}, world, options...) {}

private:
    struct in_world {};

    template <class Where, class... Options>
    runtime(in_world, Where&& where, const Options&... options)
        : world_(where), policies_([&]<class P>(std::type_identity<P>) { return detail::make_policy<P>(options...); }),
          source_(detail::make_source<source, source_layer>(detail::checked(detail::pick_option<typename driver::options>(options...)),
                                                            options...)) {
        static_assert((detail::belongs_to<Options, Stack> && ...),
                      "strata: an option given to the database belongs to no layer of its stack: add the layer, or remove the option");
        static_assert(((detail::occurrences<Options, Options...> == 1) && ...), "strata: the same kind of options is given twice");
        if (error e = source_.open_first(world())) throw_failure(std::move(e));
        tasks_.world = &world();
        source_.spawn_tasks([this](background& b) { tasks_.begin(b); });
    }

public:
    [[nodiscard]] interceptors& policies() noexcept { return policies_; }
    [[nodiscard]] source& connections() noexcept { return source_; }
    [[nodiscard]] World& world() noexcept { return world_.world; }

    /// The state of a layer, to look at or to steer: `db.policy<strata::circuit_breaker<>>().state()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return policies_.template of<P>();
    }

    /// Stops admission, waits up to `grace` for what is on its way, then cancels it and waits for its end.
    void close(duration grace) noexcept {
        if (source_.stop(world(), add_saturated(world().moment().now, grace))) return;
        source_.cancel_all();
        static_cast<void>(source_.stop(world(), never));
    }

    /// What the asynchronous face adds (its work executor); made by it on first use.
    struct extension {
        inline_lock lock;
        std::shared_ptr<void> object;
    };
    [[nodiscard]] extension& asynchronous() noexcept { return extension_; }

private:
    /// What the source does by itself; ended before the source.
    struct tasks {
        void begin(background& b) {
            world->spawn(b);
            b.behind = std::exchange(first, &b);
        }
        ~tasks() {
            for (; first != nullptr; first = first->behind) world->unspawn(*first);
        }
        World* world = nullptr;
        background* first = nullptr;
    };

    detail::world_of_runtime<World> world_;
    interceptors policies_;
    source source_;
    tasks tasks_;
    extension extension_;
};

}  // namespace strata::inline STRATA_ABI

#endif
