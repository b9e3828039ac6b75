// A passage driven by hand: time stands until the test moves it, randomness is what the test says.
#ifndef STRATA_TEST_SUPPORT_DRIVE_HPP
#define STRATA_TEST_SUPPORT_DRIVE_HPP

#include <strata/core/passage.hpp>

#include <support/catch.hpp>

#include <vector>

namespace strata_test {

class manual_world final : public strata::random_source {
public:
    strata::time_point now{std::chrono::hours{1}};
    std::uint64_t random = 0;  ///< what every draw answers
    unsigned draws = 0;

    std::uint64_t next() noexcept override {
        ++draws;
        return random;
    }
    /// Sets `random` so that `random_unit()` is (almost) `u`.
    void set_unit(double u) { random = static_cast<std::uint64_t>(u * 0x1.0p53) << 11; }
    [[nodiscard]] strata::moment moment() noexcept { return {now, this}; }
    void pass(strata::duration d) { now += d; }
};

using plain_operation = strata::operation<strata::operation_facts{.kind = strata::operation_kind::write}>;
using idempotent_operation =
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::read, .idempotent = strata::known::yes}>;
using inner_operation = strata::operation<strata::operation_facts{.kind = strata::operation_kind::write, .inside_transaction = true}>;

/// Drives `p` to its end: an attempt is `attempt(op, outcome)`, a park lets the time pass that it waits for.
template <class Passage, class Op, class Attempt>
strata::error& drive(Passage& p, Op& op, manual_world& w, Attempt&& attempt, std::vector<strata::duration>* pauses = nullptr) {
    strata::step s = p.first(w.moment());
    for (int steps = 0; s != strata::step::done; ++steps) {
        if (steps == 10'000) FAIL("the operation does not end");
        if (s == strata::step::attempt) {
            attempt(op, p.result());
            s = p.landed(w.moment());
        } else {
            if (pauses != nullptr) pauses->push_back(p.parked_until() - w.now);
            if (p.parked_until() > w.now) w.now = p.parked_until();
            s = p.resume(w.moment());
        }
    }
    return p.result().error();
}

/// One operation through the layers; what became of it.
template <class Op = plain_operation, class Layers, class Attempt>
strata::error run(Layers& l, manual_world& w, Attempt&& attempt, std::vector<strata::duration>* pauses = nullptr) {
    Op op;
    strata::passage p{l, op};
    return std::move(drive(p, op, w, attempt, pauses));
}

/// One operation that its test carries on by hand, so that several can be on their way at once.
template <class Layers, class Op = plain_operation>
class held_call {
public:
    held_call(Layers& l, manual_world& w, strata::priority p = strata::priority::normal, strata::time_point deadline = strata::never)
        : passage_(l, op_), world_(w) {
        op_.priority = p;
        op_.deadline = deadline;
        step_ = passage_.first(w.moment());
    }

    [[nodiscard]] bool is_inside() const { return step_ == strata::step::attempt; }
    [[nodiscard]] bool waits() const { return step_ == strata::step::park; }
    [[nodiscard]] bool is_over() const { return step_ == strata::step::done; }
    /// Whether what it waits for has come.
    [[nodiscard]] bool is_granted() const { return waits() && passage_.parked_on() != nullptr && passage_.parked_on()->is_granted(); }
    [[nodiscard]] strata::time_point until() const { return passage_.parked_until(); }
    /// Somebody woke it, or time is up.
    void resume() { step_ = passage_.resume(world_.moment()); }
    void cancel() {
        op_.cancelled.store(true);
        resume();
    }
    void end(strata::errc code = strata::errc::ok) {
        if (code != strata::errc::ok) passage_.result().replace(strata::error{code, strata::phase::execute});
        step_ = passage_.landed(world_.moment());
    }
    [[nodiscard]] const strata::error& error() { return passage_.result().error(); }
    [[nodiscard]] Op& operation() { return op_; }

private:
    Op op_;
    strata::passage<Layers, Op> passage_;
    manual_world& world_;
    strata::step step_;
};

/// An attempt that ends as told, without taking time.
inline auto ends_with(strata::errc code, strata::effect did = strata::effect::none) {
    return [=](auto&, strata::outcome& o) {
        if (code != strata::errc::ok) o.replace(strata::error{code, strata::phase::execute, did});
    };
}
inline auto succeeds() {
    return ends_with(strata::errc::ok);
}

/// The layers built from options, one for each policy that takes some, by type.
template <class Layers, class... Options>
struct built;
template <class... P, class... Options>
struct built<strata::layers<P...>, Options...> {
    static strata::layers<P...> make(const Options&... given) {
        return strata::layers<P...>([&]<class T>(std::type_identity<T>) { return one<T>(given...); });
    }
    template <class T>
    static T one() {
        return T{};
    }
    template <class T, class First, class... Rest>
    static T one(const First& first, const Rest&... rest) {
        if constexpr (std::is_constructible_v<T, const First&>)
            return T(first);
        else
            return one<T>(rest...);
    }
};
template <class Layers, class... Options>
Layers build(const Options&... given) {
    return built<Layers, Options...>::make(given...);
}

}  // namespace strata_test

#endif
