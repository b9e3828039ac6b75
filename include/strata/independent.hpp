// Work that stands by itself, also within a transaction of the same database: an audit record that must not be rolled back with it.
//
//   db.transaction([&](auto& tx) {
//       tx.execute(pay(...));
//       db.independent().execute(audit(...));      // on a connection of its own, kept for such work
//   });
//
// Whoever holds a connection and asks the pool for another one may wait for himself, when all who hold one do so. What is independent waits
// for none of those: it has places of its own, `pool_options::reserved`.
#ifndef STRATA_INDEPENDENT_HPP
#define STRATA_INDEPENDENT_HPP

#include <strata/transaction/run.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The pool of what is independent; throws `failure` where there is none.
template <class Runtime>
[[nodiscard]] auto& reserve_of(Runtime& rt) {
    static_assert(!Runtime::driver::single_writer,
                  "strata: this database has one writer, so independent work would wait for the transaction it is independent of: write "
                  "before or after the transaction");
    static_assert(requires { rt.connections().reserve(); }, "strata: independent() needs a stack with a pool");
    auto* reserve = rt.connections().reserve();
    if (reserve == nullptr)
        throw_failure(error{errc::misuse, "independent() needs connections of its own: set pool_options.reserved", phase::admission});
    return *reserve;
}
template <class Runtime>
using reserve_type = std::remove_reference_t<decltype(reserve_of(std::declval<Runtime&>()))>;

}  // namespace detail

/// Calls and transactions on the reserved connections; they pass all layers of the stack as any others. Cheap; keeps the runtime alive.
template <class Runtime>
class independent_database : public calls<independent_database<Runtime>>,
                             public detail::extensions<independent_database<Runtime>, typename Runtime::interceptors> {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// `database::independent()`.
    explicit independent_database(std::shared_ptr<Runtime> rt) : rt_(std::move(rt)), source_(detail::reserve_of(*rt_)) {}

    /// As `database::transaction`.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::run_transaction(*rt_, source_, closure, o);
    }
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::try_run_transaction(*rt_, source_, closure, o);
    }

    // For `calls`.
    template <class Bound, class Sink, class Wish = detail::no_wish>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended, Wish&& wish = {}) {
        detail::perform_statement<false>(*rt_, source_, statement, sink, done, o, nullptr, ended, wish);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return detail::perform_batch<false>(*rt_, source_, statement, elements, 0, done, o, nullptr);
    }
    template <class F>
    error on_source(F&& f) {
        return f(*rt_, source_, 0u, static_cast<const interruption*>(nullptr));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::borrowed_source<detail::reserve_type<Runtime>>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, false>;
        return std::make_unique<state>(*rt_, source{&source_}, std::move(statement), std::move(sink), o, nullptr, rt_);
    }

private:
    std::shared_ptr<Runtime> rt_;
    detail::reserve_type<Runtime>& source_;
};

}  // namespace strata::inline STRATA_ABI

#endif
