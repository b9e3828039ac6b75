// Generated from include/strata/policy/fallback.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_FALLBACK_HPP
#define STRATA_SINGLE_POLICY_FALLBACK_HPP

#include <strata/strata.hpp>

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>

// How much memory hangs on a value besides its own bytes: what a bound in bytes is made of.
//
// Known for numbers and other types that are copied as bytes, strings, vectors and other containers, `optional`, pairs, tuples and arrays,
// and adapted structs, member by member. A type of yours says it by a member `heap_bytes()`, or by a specialisation of `heap_size`; one of
// which nothing is known does not compile.
#ifndef STRATA_VALUE_HEAP_SIZE_HPP
#define STRATA_VALUE_HEAP_SIZE_HPP

namespace strata::inline STRATA_ABI {

template <class T>
struct array;
template <class T>
struct range;
template <class T>
struct multirange;

/// Specialise it with  static std::size_t of(const T&) noexcept,  the bytes beyond sizeof(T); an estimate will do.
template <class T>
struct heap_size;

namespace detail {

template <class T>
concept optional_like = requires(const T& v) {
    { v.has_value() } -> std::convertible_to<bool>;
    *v;
};
template <class T>
concept tuple_like = requires { std::tuple_size<T>::value; };
template <class T>
concept range_like = requires(const T& v) {
    v.begin();
    v.end();
    v.size();
    typename T::value_type;
};
/// With room for more than it holds, in one piece.
template <class T>
concept growing = range_like<T> && requires(const T& v) { v.capacity(); };

template <class T>
inline constexpr bool has_no_heap = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !range_like<T>;
template <class T>
    requires tuple_like<T> && range_like<T>
inline constexpr bool has_no_heap<T> = has_no_heap<typename T::value_type>;  // std::array

template <class T>
[[nodiscard]] std::size_t heap_of(const T& value) noexcept {
    return heap_size<T>::of(value);
}

/// What a container's elements add to the memory that they lie in.
template <class T>
[[nodiscard]] std::size_t heap_of_elements([[maybe_unused]] const T& all) noexcept {
    std::size_t bytes = 0;
    if constexpr (!has_no_heap<typename T::value_type>)
        for (const typename T::value_type& one : all) bytes += detail::heap_of(one);
    return bytes;
}

}  // namespace detail

template <class T>
struct heap_size {
    [[nodiscard]] static std::size_t of(const T& value) noexcept {
        if constexpr (requires {
                          { value.heap_bytes() } -> std::convertible_to<std::size_t>;
                      }) {
            return value.heap_bytes();
        } else if constexpr (detail::has_no_heap<T>) {
            return 0;
        } else if constexpr (adapted_struct<T>) {
            std::size_t bytes = 0;
            for_each_member(value, [&](std::string_view, const auto& member) { bytes += detail::heap_of(member); });
            return bytes;
        } else if constexpr (detail::tuple_like<T>) {
            return std::apply([](const auto&... part) { return (std::size_t{0} + ... + detail::heap_of(part)); }, value);
        } else if constexpr (detail::growing<T> && requires { value.data(); }) {
            const void* const from = &value;
            const void* const data = value.data();
            const bool inside = !std::less<const void*>{}(data, from) && std::less<const void*>{}(data, &value + 1);  // a short string
            return (inside ? 0 : value.capacity() * sizeof(typename T::value_type)) + detail::heap_of_elements(value);
        } else if constexpr (detail::growing<T>) {
            return value.capacity() / 8;  // std::vector<bool>
        } else if constexpr (detail::range_like<T>) {
            constexpr std::size_t node = sizeof(typename T::value_type) + 4 * sizeof(void*);
            return value.size() * node + detail::heap_of_elements(value);
        } else if constexpr (detail::optional_like<T>) {
            return value.has_value() ? detail::heap_of(*value) : 0;
        } else {
            static_assert(detail::has_no_heap<T>,
                          "strata: how much memory this type takes is not known, but a cache is bounded in bytes: give it a member "
                          "heap_bytes(), specialise strata::heap_size<T>, or adapt the struct");
            return 0;
        }
    }
};

// PostgreSQL's values that hold values.
template <class T>
struct heap_size<array<T>> {
    [[nodiscard]] static std::size_t of(const array<T>& v) noexcept { return detail::heap_of(v.dimensions) + detail::heap_of(v.elements); }
};
template <class T>
struct heap_size<range<T>> {
    [[nodiscard]] static std::size_t of(const range<T>& v) noexcept { return detail::heap_of(v.lower) + detail::heap_of(v.upper); }
};
template <class T>
struct heap_size<multirange<T>> {
    [[nodiscard]] static std::size_t of(const multirange<T>& v) noexcept { return detail::heap_of(v.ranges); }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Arguments as bytes that tell them apart: what the key of a cache is made of. Equal bytes mean equal parameters.
//
// Each value is its kind, its length where that varies, and its bytes as they lie in memory: a key never leaves the process.
#ifndef STRATA_VALUE_KEY_WRITER_HPP
#define STRATA_VALUE_KEY_WRITER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Appends to a key what has a length of its own.
inline void append_to_key(std::string& key, std::string_view text) {
    const std::size_t size = text.size();
    key.append(reinterpret_cast<const char*>(&size), sizeof(size)).append(text);
}
/// Appends the bytes of a number or an address.
template <class T>
void append_bytes_to_key(std::string& key, const T& value) {
    static_assert(std::is_scalar_v<T>);
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A parameter writer that appends to a key.
class key_writer final : public any_parameter_writer {
public:
    explicit key_writer(std::string& key) noexcept : key_(key) {}

    void null() override { key_ += 'n'; }
    void boolean(bool value) override { key_ += value ? 'y' : 'z'; }
    void integer(std::int64_t value) override { number('i', value); }
    void real(double value) override { number('r', value); }
    void text(std::string_view value) override { bytes('t', value); }
    void text_copy(std::string_view value) override { bytes('t', value); }
    void blob(std::span<const std::byte> value) override { bytes('b', {reinterpret_cast<const char*>(value.data()), value.size()}); }
    void blob_copy(std::span<const std::byte> value) override { blob(value); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t microseconds) override {
        number('u', microseconds);
        return true;
    }
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) override {
        key_ += '(';
        key_ += static_cast<char>(what);
        key_ += static_cast<char>(flags);
        append_bytes_to_key(key_, dimensions.size());
        for (const array_dimension& d : dimensions) {
            append_bytes_to_key(key_, d.size);
            append_bytes_to_key(key_, d.lower);
        }
        return true;
    }
    [[nodiscard]] bool close() override {
        key_ += ')';
        return true;
    }

private:
    template <class T>
    void number(char kind, T value) {
        key_ += kind;
        append_bytes_to_key(key_, value);
    }
    void bytes(char kind, std::string_view value) {
        key_ += kind;
        append_to_key(key_, value);
    }

    std::string& key_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A statement with a wish: that its result be cached, or what stands for it when the database cannot be had.
//
//   db.one<account>(cached(find("id"_arg = 7), {.ttl = 5s, .tags = {"accounts"}}));
//   db.one<account>(or_else(find("id"_arg = 7), account{}));
//   db.all<city>(or_else(cached(cities), [&](const strata::error& why) { return replica.all<city>(cities); }));
//
// The mark is part of the type: a stack that has no layer for it does not compile, and a call without a mark pays for nothing.
// `cached` asks a `cache` (policy/cache.hpp), `or_else` a `fallback` (policy/fallback.hpp).
#ifndef STRATA_SQL_MARKED_HPP
#define STRATA_SQL_MARKED_HPP

namespace strata::inline STRATA_ABI {

/// How the result of a call is cached. Calls of one statement that ask for another `ttl` or for other tags share no entry.
struct caching {
    duration ttl{};  ///< how long it is fresh; zero: as the cache's options say
    /// `cache::invalidate("accounts")` drops all results that carry the tag. The texts must live as long as the call.
    std::array<std::string_view, 4> tags{};
};

namespace detail {

/// Stands for "nothing instead".
struct nothing_instead {};

/// A copy of a result, kept by a cache.
template <class T>
class kept_copy final : public kept_value {
public:
    explicit kept_copy(const T& value) : value_(value) { bytes_ = sizeof(*this) + detail::heap_of(value_); }
    void copy_to(void* result) const override {
        T copy(value_);
        *static_cast<T*>(result) = std::move(copy);
    }
    [[nodiscard]] static kept_value* keep(const void* result) { return new kept_copy(*static_cast<const T*>(result)); }

private:
    T value_;
};

/// Names a result in a key by its address: its type, and how rows become one (a row that holds NULL and no row may look alike).
template <class Value, class Form>
inline constexpr char name_of_result = 0;
template <class Sink>
struct form_of_sink {
    using type = void;
};
template <template <class, class> class Sink, class T, class Held>
struct form_of_sink<Sink<T, Held>> {
    using type = Sink<T, void>;  // only named
};

template <class Sink>
concept sink_of_result = requires(Sink& s) { s.value(); };

/// Where a sink's rows go.
template <class Sink>
struct result_of_sink {
    static_assert(sink_of_result<Sink>, "strata: what is cached, or replaced after a failure, is a result: use one, maybe_one or all");
    using type = int;
};
template <sink_of_result Sink>
struct result_of_sink<Sink> {
    using type = std::remove_reference_t<decltype(std::declval<Sink&>().value())>;
};

/// The wish to have the result of a statement cached, of one call.
template <class Sink>
class caching_wish {
    using value = typename result_of_sink<Sink>::type;
    static_assert(std::is_copy_constructible_v<value>, "strata: what is cached must be copyable");

public:
    explicit caching_wish(const caching& how) noexcept : how_(how) {
        std::size_t n = 0;  // the named ones to the front
        for (std::size_t i = 0; i < how_.tags.size(); ++i)
            if (const std::string_view tag = std::exchange(how_.tags[i], {}); !tag.empty()) how_.tags[n++] = tag;
    }

    template <class Bound>
    [[nodiscard]] const cache_request* request(const Bound& statement, Sink& sink) {
        try {
            if (!write_key(statement)) return nullptr;  // the driver will refuse the argument, and say why
        } catch (...) {                                 // no memory, or a codec threw: it will throw again where it is heard
            return nullptr;
        }
        request_.key = key_;
        request_.hash = hash_text(key_).low;
        request_.tags = {how_.tags.data(), tags()};
        request_.ttl = how_.ttl;
        request_.result = &sink.value();
        request_.keep = &kept_copy<value>::keep;
        return &request_;
    }

private:
    struct head {
        const char* type;
        hash128 statement;
        duration::rep ttl;
    };
    static_assert(std::has_unique_object_representations_v<head>);

    /// How many were named.
    [[nodiscard]] std::size_t tags() const noexcept {
        std::size_t n = 0;
        while (n < how_.tags.size() && !how_.tags[n].empty()) ++n;
        return n;
    }
    template <class Bound>
    [[nodiscard]] bool write_key(const Bound& statement) {
        const descriptor& what = statement.text();
        const head of_all{&name_of_result<value, typename form_of_sink<Sink>::type>, what.hash, how_.ttl.count()};
        key_.reserve(96);
        key_.append(reinterpret_cast<const char*>(&of_all), sizeof(of_all));
        key_ += static_cast<char>(tags());
        for (std::size_t i = 0; i < tags(); ++i) append_to_key(key_, how_.tags[i]);
        // A text made at run time may have been composed by others to have the hash of another.
        if constexpr (!is_bound<Bound>) append_to_key(key_, what.text);
        key_writer out{key_};
        bool written = true;
        statement.for_each_argument([&]<class T>(std::size_t, const T& argument) {
            if (const std::string_view type = detail::type_of_argument(argument); !type.empty()) {
                key_ += ':';
                append_to_key(key_, type);
            }
            written = codec<T>::write(out, argument) == errc::ok && written;
        });
        return written;
    }

    caching how_;
    std::string key_;
    cache_request request_;
};

template <class Given, class Value>
inline constexpr bool stands_for = std::is_convertible_v<Given, Value> && keeps_value<Value, Given>;
template <class Given, class Value>
inline constexpr bool may_stand_for = false;
template <class T, class Value>
inline constexpr bool may_stand_for<result<T>, Value> = stands_for<T, Value>;

/// What a call's function, or value, puts in the place of a failure.
template <class Instead>
class instead_of_failure {
public:
    explicit instead_of_failure(const Instead& instead) : instead_(instead) {}

    [[nodiscard]] outcome* aside() noexcept { return &aside_; }
    /// Puts it into the sink where a layer took the failure away. The error is that of a function which failed too.
    template <class Sink>
    [[nodiscard]] error fulfil(Sink& sink) {
        if (aside_.ok()) [[likely]]
            return {};
        using value = typename result_of_sink<Sink>::type;
        try {
            if constexpr (std::is_invocable_v<Instead&, const error&>)
                return put<value>(sink.value(), instead_(std::as_const(aside_.error())));
            else if constexpr (std::is_invocable_v<Instead&>)
                return put<value>(sink.value(), instead_());
            else
                return put<value>(sink.value(), std::move(instead_));
        } catch (const failure& f) {
            return f.error();
        }
    }

private:
    template <class Value, class Given>
    static error put(Value& into, Given&& given) {
        if constexpr (stands_for<Given, Value>) {
            into = Value(std::forward<Given>(given));
        } else if constexpr (may_stand_for<Given, Value>) {
            if (given.has_error()) return std::move(given).error();
            into = Value(*std::move(given));
        } else {
            static_assert(
                stands_for<Given, Value>,
                "strata: what or_else(...) is given is neither a value for the call's result, nor a function of one (with the error, "
                "or without arguments) or of a strata::result of one");
        }
        return {};
    }

    Instead instead_;
    outcome aside_;
};
template <>
class instead_of_failure<nothing_instead> {
public:
    explicit instead_of_failure(nothing_instead) noexcept {}
    template <class Sink>
    [[nodiscard]] static error fulfil(Sink&) noexcept {
        return {};
    }
};

struct no_caching_wish {
    explicit no_caching_wish(const caching&) noexcept {}
};

/// All that one call wishes; `no_wish` for others. Lives as long as the call, and is not moved once it was told.
template <class Sink, bool Cached, class Instead>
class wish_of_call {
    static constexpr bool replaced = !std::is_same_v<Instead, nothing_instead>;

public:
    wish_of_call(const caching& how, const Instead& instead) : caching_(how), instead_(instead) {}

    [[nodiscard]] static consteval operation_facts refine(operation_facts f) {
        f.cacheable = Cached;
        f.replaceable = replaced;
        return f;
    }
    template <class Op, class Bound>
    void tell(Op& op, const Bound& statement, Sink& sink) {
        if constexpr (Cached) op.cache = caching_.request(statement, sink);
        if constexpr (replaced) op.aside = instead_.aside();
    }
    [[nodiscard]] error fulfil(Sink& sink) { return instead_.fulfil(sink); }

private:
    [[no_unique_address]] std::conditional_t<Cached, caching_wish<Sink>, no_caching_wish> caching_;
    [[no_unique_address]] instead_of_failure<Instead> instead_;
};

}  // namespace detail

/// A bound statement with a mark; made by `cached` and `or_else`.
template <class Bound, bool Cached, class Instead>
struct marked_statement {
    static constexpr bool is_cached = Cached;
    static constexpr bool is_replaced = !std::is_same_v<Instead, detail::nothing_instead>;

    Bound bound;
    caching how;
    Instead instead;

    template <class Sink>
    [[nodiscard]] detail::wish_of_call<Sink, Cached, Instead> wish_for() const {
        return {how, instead};
    }
};

namespace detail {

template <class Bound, bool Cached, class Instead>
inline constexpr bool is_marked<marked_statement<Bound, Cached, Instead>> = true;

/// What it was made of, with the mark to be added.
template <class S>
[[nodiscard]] constexpr auto as_marked(S&& s) {
    if constexpr (is_marked<std::remove_cvref_t<S>>) {
        return std::remove_cvref_t<S>(std::forward<S>(s));
    } else {
        using bound = std::remove_cvref_t<decltype(detail::as_bound(std::forward<S>(s)))>;
        return marked_statement<bound, false, nothing_instead>{detail::as_bound(std::forward<S>(s)), {}, {}};
    }
}

}  // namespace detail

/// Asks for the result of a read to be taken from the stack's `cache`, and put there. Takes effect in calls of a database (`one`,
/// `maybe_one`, `all` and their forms); inside a transaction, on a pinned connection and through `any_session` the call goes to the
/// database as without it. A statement made at run time is cached where it is an idempotent read.
///
/// The key is the statement, the arguments' bytes and the type of the result; whatever else the result depends on (the user, the tenant)
/// must be among the arguments. Cost: the key, a look-up under a short lock, and a copy of the result.
template <class S>
[[nodiscard]] constexpr auto cached(S&& statement, const caching& how = {}) {
    auto m = detail::as_marked(std::forward<S>(statement));
    using bound = decltype(m.bound);
    static_assert(!bound::facts.kind_known || bound::facts.kind == statement_kind::read,
                  "strata: only what reads can be cached: a write has to reach the database each time");
    static_assert(!bound::facts.kind_known || bound::facts.idempotent != known::no,
                  "strata: this statement may give another result each time, since it calls a function that is not known to be pure: say "
                  "\"...\"_sql.idempotent() if it may be cached all the same");
    return marked_statement<bound, true, decltype(m.instead)>{std::move(m.bound), how, std::move(m.instead)};
}

/// Says what stands for the result of a read when the stack's `fallback` takes its failure away: a value, or a function that is called
/// with the error (or with nothing) by the face, after the operation has ended, in the calling thread or on the handler's executor. A
/// function returns a value, or a `strata::result`; what it throws comes out. It may use another database; on the asynchronous face it must
/// not block. Value and function are copied.
template <class S, class Instead>
[[nodiscard]] constexpr auto or_else(S&& statement, Instead&& instead) {
    auto m = detail::as_marked(std::forward<S>(statement));
    using bound = decltype(m.bound);
    using marked = decltype(m);
    static_assert(!marked::is_replaced, "strata: or_else(...) is said twice of one statement");
    static_assert(!bound::facts.kind_known || bound::facts.kind == statement_kind::read,
                  "strata: or_else(...) is for what reads: that a write has failed must be seen");
    return marked_statement<bound, marked::is_cached, std::decay_t<Instead>>{std::move(m.bound), m.how, std::forward<Instead>(instead)};
}

}  // namespace strata::inline STRATA_ABI

#endif

// A value for a failure: a read whose database cannot be had is answered with what its caller says instead.
//
//   db.one<account>(or_else(find("id"_arg = 7), account{}));
//
// The policy decides whether a failure is one to be answered, counts it and takes it away, so that the layers outside of it (metrics, logs)
// see a success; the face then puts the value there, or calls the function, with the error (see `or_else` in sql/marked.hpp). So a
// fallback may use another database: it runs after the operation has ended, under no layer of this stack.
//
// Answered are, of reads only: what is transient by the table of conditions (no connection, a lost one, timeouts, contention that outlasted
// the retries) and refusals of this process. Never: what the database or the result says (no_rows, a violated constraint, a wrong
// statement), what the caller cancelled, what the caller's own code threw, and nothing of a statement that may write.
#ifndef STRATA_POLICY_FALLBACK_HPP
#define STRATA_POLICY_FALLBACK_HPP

namespace strata::inline STRATA_ABI {

struct fallback_options {
    /// Which failures are answered, given what the table says; null: as the table says. Must not block. Not asked about a cancel or an
    /// exception of the caller's.
    bool (*when)(const error& why, bool by_table) noexcept = nullptr;

    [[nodiscard]] error validate() const { return {}; }
    friend bool operator==(const fallback_options&, const fallback_options&) = default;
};

/// What a fallback has done so far.
struct fallback_snapshot {
    std::uint64_t used = 0;       ///< failures that were taken away
    std::uint64_t passed_on = 0;  ///< failures of calls that had a fallback, but were not to be answered
};

/// Thread-safe. A success costs one comparison, and a call without `or_else` nothing.
template <class Tag = void>
class fallback {
public:
    using options = detail::options_for<Tag, fallback_options>;
    static constexpr auto place = strata::place::fallback;
    static constexpr bool replaces = true;

    fallback() : fallback(options{}) {}
    explicit fallback(const options& o) noexcept : options_(detail::untagged(o)) {}

    template <class Op>
    STRATA_INLINE void settle([[maybe_unused]] Op& op, no_frame&, [[maybe_unused]] outcome& result) noexcept {
        if constexpr (Op::facts.replaceable) {
            if (!result.ok()) [[unlikely]]
                take_away(*op.aside, op.kind() == operation_kind::read, op.idempotent(), result);
        }
    }

    [[nodiscard]] fallback_snapshot snapshot() const noexcept {
        return {used_.load(std::memory_order_relaxed), passed_on_.load(std::memory_order_relaxed)};
    }

private:
    STRATA_COLD void take_away(outcome& aside, bool reads, bool idempotent, outcome& result) noexcept {
        const effect did = result.error().effect();  // a function of the statement's may have written
        const bool harmless = idempotent || did == effect::none || did == effect::rolled_back;
        if (!reads || !harmless || !is_answered(result.error())) {
            passed_on_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        used_.fetch_add(1, std::memory_order_relaxed);
        aside.replace(std::move(result.error()));
        result.clear();
    }
    [[nodiscard]] bool is_answered(const error& e) const noexcept {
        if (e.code() == errc::cancelled || e.code() == errc::user_exception) return false;
        const bool by_table = is_refusal(e.code()) || traits_of(e.code()).transient;
        return options_.when == nullptr ? by_table : options_.when(e, by_table);
    }

    const fallback_options options_;
    std::atomic<std::uint64_t> used_{0};
    std::atomic<std::uint64_t> passed_on_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
