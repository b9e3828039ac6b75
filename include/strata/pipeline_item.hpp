// A statement of a pipeline: what its rows become, and the place where they do.
#ifndef STRATA_PIPELINE_ITEM_HPP
#define STRATA_PIPELINE_ITEM_HPP

#include <strata/core/heap_array.hpp>
#include <strata/core/result.hpp>
#include <strata/sql/literal.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/transaction/batch.hpp>
#include <strata/value/sinks.hpp>

#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct one_row {
    using value = T;
    using sink = one_sink<T, T&>;
};
template <class T>
struct maybe_one_row {
    using value = std::optional<T>;
    using sink = maybe_one_sink<T, std::optional<T>&>;
};
template <class T>
struct all_rows {
    using value = std::vector<T>;
    using sink = all_sink<T, std::vector<T>&>;
};
struct no_rows {
    using value = execution;
    using sink = discard_sink;
};

/// A statement, and what its rows become. `Bound` may be a const reference.
template <class Kind, class Bound>
struct piped {
    using bound_type = std::remove_cvref_t<Bound>;
    using kind = Kind;
    Bound statement;

    [[nodiscard]] auto own() const {
        auto owned = statement.own();
        return piped<Kind, decltype(owned)>{std::move(owned)};
    }
};
/// A literal for each element of a range. `Range` may be a const reference.
template <class Kind, class Literal, class Range>
struct piped_each {
    using bound_type = bound_element<Literal, std::remove_cvref_t<Range>>;
    using kind = Kind;
    Literal statement;
    Range elements;

    [[nodiscard]] auto own() const { return piped_each<Kind, Literal, std::remove_cvref_t<Range>>{statement, elements}; }
};

template <class P>
inline constexpr bool is_piped = false;
template <class Kind, class Bound>
inline constexpr bool is_piped<piped<Kind, Bound>> = true;
template <class Kind, class Literal, class Range>
inline constexpr bool is_piped<piped_each<Kind, Literal, Range>> = true;

/// What an argument is kept as: an lvalue by reference.
template <class S>
using piped_as = std::conditional_t<std::is_lvalue_reference_v<S>, const std::remove_cvref_t<S>&, std::remove_cvref_t<S>>;

template <class Kind, class S>
[[nodiscard]] auto pipe(S&& s) {
    using given = std::remove_cvref_t<S>;
    static_assert(!is_piped<given>, "strata: this statement says already what its rows become");
    if constexpr (is_literal<given>)
        return piped<Kind, decltype(s())>{s()};
    else if constexpr (bound_statement<given>)
        return piped<Kind, piped_as<S>>{static_cast<S&&>(s)};
    else
        return piped<Kind, std::remove_cvref_t<decltype(as_bound(s))>>{as_bound(s)};  // says what is wrong
}
/// A run-time statement finds out.
template <class Bound>
inline constexpr bool has_typed_arguments = true;
template <statement_facts Facts, class... Args>
inline constexpr bool has_typed_arguments<bound<Facts, Args...>> = (may_be_typed<std::remove_cvref_t<Args>> || ...);

template <class Kind, class Literal, class Range>
[[nodiscard]] auto pipe_each(const Literal& statement, Range&& elements) {
    static_assert(std::forward_iterator<decltype(std::begin(std::declval<const std::remove_cvref_t<Range>&>()))>,
                  "strata: the elements of a pipeline's statement must be a forward range: some may be sent again");
    static_assert(!has_typed_arguments<bound_element<Literal, std::remove_cvref_t<Range>>>,
                  "strata: say the type in the text, as in :x::jsonb: all elements of a pipeline's statement share one");
    return piped_each<Kind, Literal, piped_as<Range>>{statement, static_cast<Range&&>(elements)};
}
template <class S>
[[nodiscard]] decltype(auto) as_piped(const S& s) {
    if constexpr (is_piped<S>)
        return (s);
    else
        return pipe<no_rows>(s);
}
template <class S>
using piped_type = std::remove_cvref_t<decltype(as_piped(std::declval<const S&>()))>;

/// A statement in its flight, with the place for its result. `Piped` outlives it.
template <class Piped>
class pipeline_item;

/// What items of both kinds share.
template <class Kind, class Bound>
class pipeline_item_base {
public:
    using value = typename Kind::value;
    using sink = typename Kind::sink;
    static constexpr bool wants_count = std::is_same_v<Kind, no_rows>;

    [[nodiscard]] static const void* tag() noexcept {
        if constexpr (std::is_same_v<Kind, no_rows>)
            return nullptr;
        else
            return sink::tag();
    }
    template <class Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return sink::plan(meta, p);
    }

protected:
    template <class F>
    static void give_sink([[maybe_unused]] value& place, F& f) {
        if constexpr (wants_count)
            f(sink{});
        else
            f(sink{place});
    }
    /// A read that calls nothing but pure functions, whatever the user says of it.
    [[nodiscard]] static bool only_reads(const descriptor& d) noexcept { return d.kind == statement_kind::read && d.idempotent; }
};

template <class Kind, class Bound>
class pipeline_item<piped<Kind, Bound>> : public pipeline_item_base<Kind, Bound> {
    using base = pipeline_item_base<Kind, Bound>;

public:
    using bound_type = std::remove_cvref_t<Bound>;
    using value_type = typename base::value;
    using result_type = result<value_type>;
    static constexpr bool may_have_types = has_typed_arguments<bound_type>;

    explicit pipeline_item(const piped<Kind, Bound>& p) noexcept : statement_(p.statement) {}
    [[nodiscard]] const descriptor& text() const { return statement_.text(); }
    [[nodiscard]] static constexpr bool literal() noexcept { return bound_type::facts.kind_known; }
    [[nodiscard]] bool only_reads() const { return base::only_reads(text()); }
    [[nodiscard]] bool idempotent() const { return statement_.idempotent(); }
    [[nodiscard]] std::string_view label() const { return statement_.label(); }
    [[nodiscard]] static constexpr std::size_t size() noexcept { return 1; }
    template <class F>
    void with_statement(std::size_t, F&& f) const {
        f(statement_);
    }
    template <class F>
    void with_sink(std::size_t, F&& f) {
        base::give_sink(*result_, f);
    }
    void end(std::size_t, error e, [[maybe_unused]] const execution& done) {
        if (e) [[unlikely]]
            result_ = std::move(e);
        else if constexpr (base::wants_count)
            *result_ = done;
    }
    void restart() { result_ = value_type{}; }
    void fail(const error& e) { result_ = e; }
    [[nodiscard]] result_type take() { return std::move(result_); }
    /// When nothing has failed.
    [[nodiscard]] value_type take_value() { return *std::move(result_); }

private:
    const bound_type& statement_;
    result_type result_;
};

template <class Kind, class Literal, class Range>
class pipeline_item<piped_each<Kind, Literal, Range>>
    : public pipeline_item_base<Kind, typename piped_each<Kind, Literal, Range>::bound_type> {
    using base = pipeline_item_base<Kind, typename piped_each<Kind, Literal, Range>::bound_type>;
    using range = std::remove_cvref_t<Range>;
    using iterator = decltype(std::begin(std::declval<const range&>()));

public:
    using bound_type = typename piped_each<Kind, Literal, Range>::bound_type;
    using value_type = std::vector<typename base::value>;
    using result_type = std::vector<result<typename base::value>>;
    static constexpr bool may_have_types = false;

    explicit pipeline_item(const piped_each<Kind, Literal, Range>& p)
        : statement_(p.statement), elements_(p.elements), at_(std::begin(elements_)),
          size_(static_cast<std::size_t>(std::distance(std::begin(elements_), std::end(elements_)))), values_(size_) {}
    [[nodiscard]] const descriptor& text() const { return statement_.text(); }
    [[nodiscard]] static constexpr bool literal() noexcept { return true; }
    [[nodiscard]] bool only_reads() const { return base::only_reads(text()); }
    [[nodiscard]] static constexpr bool idempotent() noexcept { return bound_type::idempotent(); }
    [[nodiscard]] std::string_view label() const { return statement_.label(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    template <class F>
    void with_statement(std::size_t i, F&& f) {
        if (i < index_) {
            at_ = std::begin(elements_);
            index_ = 0;
        }
        std::advance(at_, i - index_);
        index_ = i;
        f(bind_element(statement_, *at_));
    }
    template <class F>
    void with_sink(std::size_t i, F&& f) {
        base::give_sink(values_[i], f);
    }
    void end(std::size_t i, error e, [[maybe_unused]] const execution& done) {
        if (e) [[unlikely]]
            failed_.emplace_back(i, std::move(e));
        else if constexpr (base::wants_count)
            values_[i] = done;
    }
    void restart() {
        failed_.clear();
        values_ = places(size_);
    }
    void fail(const error& e) {
        failed_.clear();
        for (std::size_t i = 0; i < size_; ++i) failed_.emplace_back(i, e);
    }
    [[nodiscard]] result_type take() {
        result_type all;
        all.reserve(size_);
        for (std::size_t i = 0; i < size_; ++i) all.emplace_back(std::move(values_[i]));
        for (auto& [i, e] : failed_) all[i] = std::move(e);
        return all;
    }
    [[nodiscard]] value_type take_value() {
        if constexpr (std::is_same_v<places, value_type>)
            return std::move(values_);
        else
            return value_type(values_.data(), values_.data() + size_);
    }

private:
    // std::vector<bool> has no bool to refer to
    using places = std::conditional_t<std::is_same_v<typename base::value, bool>, heap_array<typename base::value>, value_type>;

    const Literal& statement_;
    const range& elements_;
    iterator at_;
    std::size_t index_ = 0;
    std::size_t size_;
    places values_;
    std::vector<std::pair<std::size_t, error>> failed_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
