// What the faces' hedged reads share: which statements may have a second try, and what the two tries are made of.
//
// Each try is one operation through the whole stack, so metrics and logs see two operations where a read was hedged: one that went
// well, and one that was cancelled, which is no sample for a breaker and is not repeated. The second try has the time that is left to the
// first, the lowest priority, and takes only a connection that is idle; it is never repeated by a retry, and costs one of its repetitions.
// The connection of a try that was cancelled is taken last from then on. A try that has lost may live on for a while after the call has
// ended, so what it uses is kept, or refused when it compiles.
#ifndef STRATA_HEDGED_HPP
#define STRATA_HEDGED_HPP

#include <strata/async/home.hpp>
#include <strata/calls.hpp>
#include <strata/policy/hedge.hpp>
#include <strata/source/beside.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What lies elsewhere, and may be gone when the call has ended.
template <class T>
inline constexpr bool lies_elsewhere = false;
template <class Char, class Traits>
inline constexpr bool lies_elsewhere<std::basic_string_view<Char, Traits>> = true;
template <class T, std::size_t Extent>
inline constexpr bool lies_elsewhere<std::span<T, Extent>> = true;
template <class T>
inline constexpr bool lies_elsewhere<std::reference_wrapper<T>> = true;
template <class T>
inline constexpr bool lies_elsewhere<typed<T>> = lies_elsewhere<T>;
template <class T>
    requires requires { typename T::value_type; } && (!std::is_same_v<typename T::value_type, T>)
inline constexpr bool lies_elsewhere<T> = lies_elsewhere<typename T::value_type>;

template <class Bound>
inline constexpr bool keeps_views = false;
template <statement_facts Facts, class... Args>
inline constexpr bool keeps_views<bound<Facts, Args...>> = (lies_elsewhere<Args> || ... || false);

/// `Bound` owns its arguments.
template <class Bound>
constexpr void assert_hedgeable() {
    if constexpr (Bound::facts.kind_known) {
        static_assert(
            Bound::facts.kind == statement_kind::read && Bound::facts.idempotent == known::yes,
            "strata: only a read that may be repeated can be hedged, for two tries of it run side by side: this statement writes, or "
            "calls functions that are not known to be pure; if they are, say so:  \"...\"_sql.idempotent()");
        static_assert(!keeps_views<Bound>,
                      "strata: a hedged read may go on for a while after its result is there: give it arguments that it can keep, such as "
                      "std::string for std::string_view, std::vector for std::span");
    }
}

/// The same for a statement that was made at run time. Its views cannot be seen: they must live until the losing try has ended too.
template <dialect Dialect, class Bound>
[[nodiscard]] error check_hedgeable(const Bound& statement) {
    if constexpr (!Bound::facts.kind_known) {
        if (error e = check_made_at_run_time<Dialect, scope::database>(statement)) return e;
        if (statement.kind() != statement_kind::read || !statement.idempotent()) {
            error e{errc::misuse, "only a read that may be repeated can be hedged: two tries of it run side by side", phase::admission};
            e.edit_texts().hint = "if the functions that it calls change nothing, say .idempotent()";
            return e;
        }
    }
    return {};
}

/// A repetition from the budget of each layer that repeats. False when one has none left.
template <class Layers>
[[nodiscard]] bool take_repetition(Layers& layers) noexcept {
    const auto of = []<class P>(P& policy) noexcept {
        if constexpr (requires { policy.take_repetition(); })
            return policy.take_repetition();
        else
            return true;
    };
    return [&]<std::size_t... I>(std::index_sequence<I...>) noexcept {
        return (of(layers.template at<I>()) && ... && true);
    }(std::make_index_sequence<Layers::size>{});
}

/// A caller's tags, for as long as a try may look at them.
struct own_tags {
    std::vector<std::pair<std::string, std::string>> texts;
    std::vector<tag> views;

    /// Null where there are none.
    [[nodiscard]] static std::shared_ptr<const own_tags> of(std::span<const tag> tags) {
        if (tags.empty()) return nullptr;
        auto own = std::make_shared<own_tags>();
        own->texts.reserve(tags.size());  // the views stay right
        for (const tag& t : tags) {
            const auto& [key, value] = own->texts.emplace_back(t.key, t.value);
            own->views.push_back({key, value});
        }
        return own;
    }
};

/// What a try keeps alive and leases from.
template <class Runtime, bool Second>
class try_home : public runtime_home<Runtime> {
public:
    static constexpr bool is_second = Second;
    using source_type = source_beside<typename Runtime::source, Second>;
    try_home(std::shared_ptr<Runtime> rt, std::shared_ptr<const own_tags> tags) noexcept
        : runtime_home<Runtime>(std::move(rt)), tags_(std::move(tags)), source_(this->runtime().connections()) {}
    [[nodiscard]] source_type& source() noexcept { return source_; }

private:
    std::shared_ptr<const own_tags> tags_;
    source_type source_;
};

/// The options of a try.
[[nodiscard]] inline call_options options_of_first(call_options o, const std::shared_ptr<const own_tags>& tags) noexcept {
    o.tags = tags != nullptr ? std::span<const tag>{tags->views} : std::span<const tag>{};
    return o;
}
/// `left`: of the call's deadline; zero: it has none.
[[nodiscard]] inline call_options options_of_second(call_options first, duration left) noexcept {
    first.deadline = left;
    first.priority = priority::low;
    return first;
}

/// When the delay is over: whether a second try is to begin, and with which time left (zero: no limit).
template <class Runtime>
[[nodiscard]] bool may_begin_second(hedged_read& read, Runtime& rt, time_point deadline, duration& left) noexcept {
    left = {};
    if (deadline != never) {
        left = deadline - rt.world().moment().now;
        if (left <= duration::zero()) return false;
    }
    return read.second_begins(rt.connections().has_idle(true), [&rt]() noexcept { return take_repetition(rt.policies()); });
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
