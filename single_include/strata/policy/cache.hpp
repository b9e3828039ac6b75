// Generated from include/strata/policy/cache.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_CACHE_HPP
#define STRATA_SINGLE_POLICY_CACHE_HPP

#include <strata/strata.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

// The entries of a cache: found by key, dropped by tag, evicted when they were not used for the longest time. Not synchronised: its owner's
// lock guards it. What is dropped goes into a `cache_litter`, which frees it after the lock was let go.
#ifndef STRATA_POLICY_CACHE_TABLE_HPP
#define STRATA_POLICY_CACHE_TABLE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

struct cache_entry;

/// A place in the ring of all entries that carry a tag. The ring's head has no entry, but the tag's name.
struct tag_link {
    tag_link* next = this;
    tag_link* previous = this;
    cache_entry* entry = nullptr;
    const std::string* name = nullptr;

    [[nodiscard]] bool is_alone() const noexcept { return next == this; }
    void leave() noexcept {
        next->previous = previous;
        previous->next = next;
        next = previous = this;
    }
};

/// A result, or one that is on its way, or both: an old one that is being fetched anew.
struct cache_entry {
    explicit cache_entry(const cache_request& r) : hash(r.hash), key(r.key), tags(r.tags.size()), links(tags) {}
    cache_entry(const cache_entry&) = delete;
    cache_entry& operator=(const cache_entry&) = delete;
    ~cache_entry() {
        if (value != nullptr) value->release();
    }

    const std::uint64_t hash;
    const std::string key;
    const std::size_t tags;
    heap_array<tag_link> links;

    kept_value* value = nullptr;  ///< with one it stands in the order of use
    time_point fresh_until{};
    time_point stale_until{};
    std::size_t bytes = 0;
    cache_entry *newer = nullptr, *older = nullptr;

    bool in_table = false;   ///< false: dropped while it was being fetched, so that nobody finds it any more
    bool in_flight = false;  ///< somebody fetches it, who will put it away if it is no longer in the table
    wait_queue waiting;      ///< for what is fetched
};

/// Entries on their way out.
class cache_litter {
public:
    cache_litter() noexcept = default;
    cache_litter(const cache_litter&) = delete;
    cache_litter& operator=(const cache_litter&) = delete;
    ~cache_litter() {
        while (first_ != nullptr) delete std::exchange(first_, first_->older);
    }
    void take(cache_entry& e) noexcept { e.older = std::exchange(first_, &e); }

private:
    cache_entry* first_ = nullptr;
};

class cache_table {
public:
    cache_table(std::size_t max_bytes, double max_share) noexcept
        : max_bytes_(max_bytes), max_entry_(static_cast<std::size_t>(static_cast<double>(max_bytes) * max_share)) {}
    cache_table(const cache_table&) = delete;
    cache_table& operator=(const cache_table&) = delete;
    ~cache_table() {
        for (cache_entry* e : entries_) delete e;
    }

    /// Null: there is none.
    [[nodiscard]] cache_entry* find(const cache_request& r) const noexcept {
        const auto at = entries_.find(r);
        return at != entries_.end() ? *at : nullptr;
    }

    /// A new one, without a value. Throws where there is no memory; then nothing has changed.
    [[nodiscard]] cache_entry& add(const cache_request& r) {
        auto e = std::make_unique<cache_entry>(r);
        try {
            for (std::size_t i = 0; i < e->tags; ++i) join(e->links[i], *e, r.tags[i]);
            entries_.insert(e.get());
        } catch (...) {
            leave_tags(*e, nullptr);
            throw;
        }
        e->in_table = true;
        return *e.release();
    }

    /// Gives an entry of the table its value, and evicts others until there is room; where it is too big the entry is dropped instead.
    /// `old`: the value it had, for the caller to release.
    void store(cache_entry& e, kept_value& v, time_point fresh_until, time_point stale_until, kept_value*& old,
               cache_litter& litter) noexcept {
        const std::size_t bytes = v.bytes() + cost_of(e);
        if (bytes > max_entry_) {
            ++too_big_;
            return drop(e, litter);
        }
        if (e.value != nullptr) {
            unlink(e);
            bytes_ -= e.bytes;
        } else {
            ++size_;
        }
        v.retain();
        old = std::exchange(e.value, &v);
        e.fresh_until = fresh_until;
        e.stale_until = stale_until;
        e.bytes = bytes;
        bytes_ += bytes;
        link_newest(e);
        while (bytes_ > max_bytes_) {
            ++evictions_;
            drop(*oldest_, litter);
        }
    }

    /// It was used.
    void touch(cache_entry& e) noexcept {
        unlink(e);
        link_newest(e);
    }

    /// Out of the table; and away, unless it is in flight.
    void drop(cache_entry& e, cache_litter& litter, const tag_link* kept = nullptr) noexcept {
        entries_.erase(&e);
        leave_tags(e, kept);
        if (e.value != nullptr) {
            unlink(e);
            bytes_ -= e.bytes;
            --size_;
        }
        e.in_table = false;
        if (!e.in_flight) litter.take(e);
    }
    /// All that carry the tag; how many they were.
    std::size_t drop_tagged(std::string_view tag, cache_litter& litter) noexcept {
        const auto at = tags_.find(tag);
        if (at == tags_.end()) return 0;
        std::size_t n = 0;
        for (tag_link& head = at->second; !head.is_alone(); ++n) drop(*head.next->entry, litter, &head);
        tags_.erase(at);
        return n;
    }
    std::size_t drop_all(cache_litter& litter) noexcept {
        const std::size_t n = entries_.size();
        while (!entries_.empty()) drop(**entries_.begin(), litter);
        return n;
    }

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< with a value
    [[nodiscard]] std::size_t tags() const noexcept { return tags_.size(); }
    [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_; }
    [[nodiscard]] std::uint64_t too_big() const noexcept { return too_big_; }

private:
    struct by_key {
        using is_transparent = void;
        [[nodiscard]] std::size_t operator()(const cache_entry* e) const noexcept { return static_cast<std::size_t>(e->hash); }
        [[nodiscard]] std::size_t operator()(const cache_request& r) const noexcept { return static_cast<std::size_t>(r.hash); }
        [[nodiscard]] bool operator()(const cache_entry* a, const cache_entry* b) const noexcept { return a == b; }
        [[nodiscard]] bool operator()(const cache_request& r, const cache_entry* e) const noexcept { return is_of(r, *e); }
        [[nodiscard]] bool operator()(const cache_entry* e, const cache_request& r) const noexcept { return is_of(r, *e); }
        [[nodiscard]] static bool is_of(const cache_request& r, const cache_entry& e) noexcept {
            return r.hash == e.hash && r.key == e.key;
        }
    };
    struct by_text {
        using is_transparent = void;
        [[nodiscard]] std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    };

    /// What an entry takes besides its value: itself, its key and tags, and its places in the two tables, roughly.
    [[nodiscard]] static std::size_t cost_of(const cache_entry& e) noexcept {
        return sizeof(cache_entry) + e.key.capacity() + e.tags * sizeof(tag_link) + 4 * sizeof(void*);
    }

    void join(tag_link& l, cache_entry& e, std::string_view tag) {
        auto at = tags_.find(tag);
        if (at == tags_.end()) {
            at = tags_.try_emplace(std::string{tag}).first;
            at->second.name = &at->first;
        }
        tag_link& head = at->second;
        l.entry = &e;
        l.next = &head;
        l.previous = std::exchange(head.previous, &l);
        l.previous->next = &l;
    }
    /// A ring that becomes empty goes, unless it is `kept`.
    void leave_tags(cache_entry& e, const tag_link* kept) noexcept {
        for (std::size_t i = 0; i < e.tags; ++i) {
            tag_link& l = e.links[i];
            if (l.is_alone()) continue;
            tag_link& neighbour = *l.next;
            l.leave();
            if (neighbour.is_alone() && &neighbour != kept) tags_.erase(tags_.find(*neighbour.name));  // it is the head
        }
    }
    void link_newest(cache_entry& e) noexcept {
        e.newer = nullptr;
        e.older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = &e;
        newest_ = &e;
    }
    void unlink(cache_entry& e) noexcept {
        (e.newer != nullptr ? e.newer->older : newest_) = e.older;
        (e.older != nullptr ? e.older->newer : oldest_) = e.newer;
    }

    const std::size_t max_bytes_;
    const std::size_t max_entry_;
    std::unordered_set<cache_entry*, by_key, by_key> entries_;
    std::unordered_map<std::string, tag_link, by_text, std::equal_to<>> tags_;
    cache_entry *newest_ = nullptr, *oldest_ = nullptr;
    std::size_t bytes_ = 0;
    std::size_t size_ = 0;
    std::uint64_t evictions_ = 0;
    std::uint64_t too_big_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

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

// Results of reads, kept for a while: a call that asks for it is answered without the database.
//
//   using bank = strata::stack<strata::metrics<>, strata::cache<>, strata::retry<>, strata::pool<>, strata::sqlite>;
//   db.one<account>(cached(find("id"_arg = 7), {.ttl = 5s, .tags = {"accounts"}}));
//   db.policy<strata::cache<>>().invalidate("accounts");
//
// Single flight: of calls that miss the same result one goes on, the others wait for what it brings. If it fails, is cancelled or
// destroyed, its turn passes to the one that waits longest; who has waited for `max_wait` goes on by itself. So nobody waits for ever, and
// a failure of one is not that of all.
//
// A result is fresh for its `ttl` less a random share of it, lest what was cached together expires together. Then the next call fetches it
// anew; for `stale_for` longer the old one is kept, and if the fetch fails because the database cannot be had (no connection, a timeout,
// contention, a machine's fault, a refusal of this process) the call, and who waits for it, are answered with that.
//
// Invalidate after a write was committed: what is being fetched at that time reaches those who wait for it, who asked before, but is
// not kept. Nothing is invalidated by itself: not by a transaction that commits, not by another process.
#ifndef STRATA_POLICY_CACHE_HPP
#define STRATA_POLICY_CACHE_HPP

namespace strata::inline STRATA_ABI {

struct cache_options {
    std::size_t max_bytes = 16u << 20;            ///< of all that is kept, keys included (see value/heap_size.hpp); 4 KiB at least
    double max_share = 0.125;                     ///< a result that takes a greater share of `max_bytes` is not kept; in (0, 1]
    duration ttl = std::chrono::seconds{10};      ///< where the call does not say it; positive
    double jitter = 0.1;                          ///< up to this share of the ttl is cut off, at random; in [0, 1)
    duration stale_for{};                         ///< after it has expired a result may stand in for a failed fetch; not negative
    duration max_wait = std::chrono::seconds{1};  ///< how long a call waits at most for what another fetches; not negative

    [[nodiscard]] error validate() const {
        if (max_bytes < 4096) return detail::bad_option("cache_options.max_bytes", "must be at least 4096");
        if (!(max_share > 0.0 && max_share <= 1.0)) return detail::bad_option("cache_options.max_share", "must be above 0 and at most 1");
        if (ttl <= duration::zero()) return detail::bad_option("cache_options.ttl", "must be positive");
        if (!(jitter >= 0.0 && jitter < 1.0)) return detail::bad_option("cache_options.jitter", "must lie in 0 to 1, without 1");
        if (stale_for < duration::zero()) return detail::bad_option("cache_options.stale_for", "must not be negative");
        if (max_wait < duration::zero()) return detail::bad_option("cache_options.max_wait", "must not be negative");
        return {};
    }
    friend bool operator==(const cache_options&, const cache_options&) = default;
};

/// What a cache holds and has done so far, at one moment. A call that asks for caching is counted once: as a hit, joined, stale, or a miss;
/// not at all where it gave up waiting for another.
struct cache_snapshot {
    std::uint64_t hits = 0;       ///< answered by a fresh result
    std::uint64_t misses = 0;     ///< went on to the database
    std::uint64_t joined = 0;     ///< answered by what another call fetched meanwhile
    std::uint64_t stale = 0;      ///< answered by an expired result, since the fetch failed
    std::uint64_t impatient = 0;  ///< of the misses: had waited for another call, but for `max_wait`
    std::uint64_t evictions = 0;  ///< results that had to make room
    std::uint64_t too_big = 0;    ///< results that were not kept
    std::size_t entries = 0;
    std::size_t bytes = 0;
};

/// Thread-safe; one lock, held for a look-up (on a miss for an allocation too) and never while a result is copied. Costs a call that does
/// not ask for caching nothing but a store. `Tag` tells two of them apart; then a call looks into both.
template <class Tag = void>
class cache {
    using entry = detail::cache_entry;

public:
    using options = detail::options_for<Tag, cache_options>;
    static constexpr auto place = strata::place::cache;
    static constexpr bool holds = true;
    static constexpr bool caches = true;
    struct frame {
        entry* on = nullptr;  ///< that it fetches, or waits for; null: it has nothing to do with the cache
        unset<bool> waits;    ///< read where `on` is set
        waiter node;
    };

    cache() : cache(options{}) {}
    explicit cache(const options& o) noexcept : options_(detail::untagged(o)), table_(options_.max_bytes, options_.max_share) {}

    template <class Op>
    STRATA_INLINE verdict admit([[maybe_unused]] Op& op, [[maybe_unused]] frame& f, [[maybe_unused]] moment m) noexcept {
        if constexpr (Op::facts.cacheable) {
            if (op.cache != nullptr && op.kind() == operation_kind::read && op.idempotent())
                return f.on == nullptr ? look_up(op, *op.cache, f, m) : end_of_wait(*op.cache, f);
        }
        return proceed();
    }
    template <class Op>
    STRATA_INLINE void settle([[maybe_unused]] Op& op, [[maybe_unused]] frame& f, [[maybe_unused]] outcome& result,
                              [[maybe_unused]] moment m) noexcept {
        if constexpr (Op::facts.cacheable) {
            if (f.on != nullptr) land(*op.cache, *f.on, result, m);
        }
    }
    void abandon(frame& f) noexcept {
        if (f.on != nullptr) [[unlikely]]
            give_up(f);
    }

    /// Drops all results whose calls named this tag; how many they were, those that are being fetched included. In time that grows with
    /// their number.
    std::size_t invalidate(std::string_view tag) noexcept {
        detail::cache_litter litter;
        hold guard{lock_};
        return table_.drop_tagged(tag, litter);
    }
    /// Drops all.
    std::size_t invalidate_all() noexcept {
        detail::cache_litter litter;
        hold guard{lock_};
        return table_.drop_all(litter);
    }

    [[nodiscard]] cache_snapshot snapshot() noexcept {
        hold guard{lock_};
        cache_snapshot s = counts_;
        s.evictions = table_.evictions();
        s.too_big = table_.too_big();
        s.entries = table_.size();
        s.bytes = table_.bytes();
        return s;
    }

private:
    STRATA_NOINLINE verdict look_up(operation_base& op, const cache_request& r, frame& f, moment m) noexcept {
        kept_value* found = nullptr;
        {
            hold guard{lock_};
            entry* e = table_.find(r);
            if (e != nullptr && e->value != nullptr && m.now < e->fresh_until) {
                table_.touch(*e);
                found = e->value;
                found->retain();
                ++counts_.hits;
            } else if (e != nullptr && e->in_flight) {
                f.on = e;
                f.waits = true;
                f.node.prepare(op.waking());
                e->waiting.push(f.node);
                return park(&f.node, add_saturated(m.now, options_.max_wait), errc::ok);
            } else {
                ++counts_.misses;
                f.on = e != nullptr ? e : added(r);
                f.waits = false;
                if (f.on != nullptr) f.on->in_flight = true;
                return proceed();
            }
        }
        return answer_with(*found, r);
    }
    [[nodiscard]] entry* added(const cache_request& r) noexcept {
        try {
            return &table_.add(r);
        } catch (...) {  // no memory: then it is not cached
            return nullptr;
        }
    }

    /// Asked again: with a value, with the turn to fetch it, or without either after `max_wait`.
    STRATA_COLD verdict end_of_wait(const cache_request& r, frame& f) noexcept {
        f.waits = false;
        if (f.node.is_granted()) {
            if (f.node.gift == nullptr) {
                hold guard{lock_};
                ++counts_.misses;
                return proceed();
            }
            f.on = nullptr;
            return answer_with(*static_cast<kept_value*>(f.node.gift), r);
        }
        hold guard{lock_};
        if (f.node.queued) f.on->waiting.remove(f.node);
        f.on = nullptr;
        ++counts_.misses;
        ++counts_.impatient;
        return proceed();
    }

    /// Copies it to where the call wants it, and lets go of it. Without memory for that the call goes on to the database.
    [[nodiscard]] static bool copy_out(kept_value& v, const cache_request& r) noexcept {
        bool copied = true;
        try {
            v.copy_to(r.result);
        } catch (...) {
            copied = false;
        }
        v.release();
        return copied;
    }
    [[nodiscard]] static verdict answer_with(kept_value& v, const cache_request& r) noexcept {
        return copy_out(v, r) ? answer() : proceed();
    }

    /// What was fetched has come, or not.
    STRATA_COLD void land(const cache_request& r, entry& e, outcome& result, moment m) noexcept {
        if (!result.ok()) return land_without(r, e, result, m);
        kept_value* v = nullptr;
        try {
            v = r.keep(r.result);
        } catch (...) {
            return pass_turn(e);
        }
        const duration ttl = r.ttl > duration::zero() ? r.ttl : options_.ttl;
        const duration cut{static_cast<duration::rep>(static_cast<double>(ttl.count()) * options_.jitter * m.random_unit())};
        const time_point fresh_until = add_saturated(m.now, ttl - cut);
        kept_value* old = nullptr;
        detail::cache_litter litter;
        {
            hold guard{lock_};
            if (e.in_table) table_.store(e, *v, fresh_until, add_saturated(fresh_until, options_.stale_for), old, litter);
        }
        if (old != nullptr) old->release();
        hand_out(e, *v, counts_.joined);
    }

    STRATA_COLD void land_without(const cache_request& r, entry& e, outcome& result, moment m) noexcept {
        kept_value* v = nullptr;
        if (can_stand_in_for(result.error())) {
            hold guard{lock_};
            if (e.in_table && e.value != nullptr && m.now < e.stale_until) {
                v = e.value;
                v->retain();
            }
        }
        if (v == nullptr) return pass_turn(e);
        v->retain();
        if (copy_out(*v, r)) {
            result.clear();
            hold guard{lock_};
            ++counts_.stale;
            --counts_.misses;
        }
        hand_out(e, *v, counts_.stale);
    }
    [[nodiscard]] static bool can_stand_in_for(const error& e) noexcept {
        const condition_traits t = traits_of(e.code());
        return is_refusal(e.code()) || t.transient || t.sign == health_sign::ill;
    }

    /// To all who wait for it now; one user of the value is gone then. Who comes meanwhile finds it, or has the turn where it was stale.
    void hand_out(entry& e, kept_value& v, std::uint64_t& count) noexcept {
        std::size_t left = 0;
        {
            hold guard{lock_};
            left = e.waiting.size();
        }
        for (; left != 0; --left) {
            wake_call wake;
            hold guard{lock_};
            v.retain();
            if (!e.waiting.grant_first(&v, wake)) {
                v.release();
                break;
            }
            ++count;
            guard.unlock();
            wake();
        }
        v.release();
        pass_turn(e);
    }
    /// To the one who waits longest; where nobody does, the flight is over.
    STRATA_COLD void pass_turn(entry& e) noexcept {
        detail::cache_litter litter;
        wake_call wake;
        {
            hold guard{lock_};
            if (!e.waiting.grant_first(nullptr, wake)) end_flight(e, litter);
        }
        wake();
    }
    /// Under the lock.
    void end_flight(entry& e, detail::cache_litter& litter) noexcept {
        e.in_flight = false;
        if (!e.in_table)
            litter.take(e);
        else if (e.value == nullptr)
            table_.drop(e, litter);
    }

    STRATA_COLD void give_up(frame& f) noexcept {
        if (f.waits) {
            hold guard{lock_};
            if (!f.node.is_granted()) {
                static_cast<void>(f.node.withdraw());
                if (f.node.queued) f.on->waiting.remove(f.node);
                return;
            }
            if (f.node.gift != nullptr) return static_cast<kept_value*>(f.node.gift)->release();
        }
        pass_turn(*f.on);
    }

    const cache_options options_;
    inline_lock lock_;
    detail::cache_table table_;
    cache_snapshot counts_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
