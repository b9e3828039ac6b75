// Generated from include/strata/optimistic_locking.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_OPTIMISTIC_LOCKING_HPP
#define STRATA_SINGLE_OPTIMISTIC_LOCKING_HPP

#include <strata/strata.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <exception>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// The names of the asynchronous calls for versioned rows. What they do is in strata/async/optimistic_locking.hpp, for this file does not
// know Asio.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_ASYNC_CALLS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_ASYNC_CALLS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The two forms of asynchronous calls, by name only: async/answer.hpp.
template <class T>
struct throwing;
template <class T>
struct trying;

/// Filled in by async/optimistic_locking.hpp.
template <class Policy, class Self, bool AsyncIncluded>
struct async_versioned_calls {
    template <class T, template <class> class Form, class... Any>
    static int find(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: asynchronous versioned calls need  #include <strata/async/optimistic_locking.hpp>");
        return 0;
    }
    template <template <class> class Form, class... Any>
    static int insert(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <class T, bool Removes, template <class> class Form, class... Any>
    static int write(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <bool Removes, bool Together, template <class> class Form, class... Any>
    static int write_many(const Any&... any) {
        return find<void, Form>(any...);
    }
    template <bool Together, template <class> class Form, class... Any>
    static int insert_many(const Any&... any) {
        return find<void, Form>(any...);
    }
};

/// Of the asynchronous faces: the same calls, see strata/async/optimistic_locking.hpp. `async_x` completes with
/// `void(std::exception_ptr, T)`, `async_try_x` with `void(result<T>)`, those of rows by themselves with their vector.
template <class Policy, class Self>
class async_versioned_members {
    using calls = async_versioned_calls<Policy, Self, true>;

public:
    template <class T, class... A>
    auto async_find_versioned(A&&... a) {
        return calls::template find<T, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_versioned(A&&... a) {
        return calls::template insert<throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_versioned(A&&... a) {
        return calls::template write<void, false, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_update_versioned(A&&... a) {
        return calls::template write<T, false, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_versioned(A&&... a) {
        return calls::template write<void, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_remove_versioned(A&&... a) {
        return calls::template write<T, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_all_versioned(A&&... a) {
        return calls::template write_many<false, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_all_versioned(A&&... a) {
        return calls::template write_many<true, true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_all_versioned(A&&... a) {
        return calls::template insert_many<true, throwing>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_find_versioned(A&&... a) {
        return calls::template find<T, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_insert_versioned(A&&... a) {
        return calls::template insert<trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_update_versioned(A&&... a) {
        return calls::template write<void, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_update_versioned(A&&... a) {
        return calls::template write<T, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_remove_versioned(A&&... a) {
        return calls::template write<void, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class T, class... A>
    auto async_try_remove_versioned(A&&... a) {
        return calls::template write<T, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_update_all_versioned(A&&... a) {
        return calls::template write_many<false, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_remove_all_versioned(A&&... a) {
        return calls::template write_many<true, true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_try_insert_all_versioned(A&&... a) {
        return calls::template insert_many<true, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_update_each_versioned(A&&... a) {
        return calls::template write_many<false, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_remove_each_versioned(A&&... a) {
        return calls::template write_many<true, false, trying>(self(), std::forward<A>(a)...);
    }
    template <class... A>
    auto async_insert_each_versioned(A&&... a) {
        return calls::template insert_many<false, trying>(self(), std::forward<A>(a)...);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A row with the version that it had when it was read, and what becomes of a write that is checked against it.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_VERSIONED_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_VERSIONED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
concept has_version_column = adapted_struct<T> && requires { std::string_view{mapping<T>::version}; } && version_exists<T>();

template <class T>
struct version_type {
    using type = std::string;
};
template <has_version_column T>
struct version_type<T> {
    static constexpr std::size_t number = static_cast<std::size_t>(member_of_column<T>(mapping<T>::version));
    using type = member_type<member<T, number>, T>;
};

/// Writes the version into the row, where it is one of its members.
template <class T, class Version>
void set_version(T& row, const Version& v) {
    if constexpr (has_version_column<T>) get_member<version_type<T>::number>(row) = v;
}

}  // namespace detail

/// What tells two states of a row apart: the type of the member that holds T's version column, or a text where the mapping names none
/// (`by_xmin`, `by_row_hash`).
template <class T>
using version_of = typename detail::version_type<T>::type;

/// A row as it was read, and as it is to be: change it through `*` and `->`. T is copied once for it. Not thread-safe.
template <class T>
class versioned {
public:
    using row_type = T;

    versioned() = default;
    versioned(T row, version_of<T> v) : row_(std::move(row)), base_(row_), version_(std::move(v)) {}

    [[nodiscard]] T& operator*() noexcept { return row_; }
    [[nodiscard]] const T& operator*() const noexcept { return row_; }
    [[nodiscard]] T* operator->() noexcept { return &row_; }
    [[nodiscard]] const T* operator->() const noexcept { return &row_; }
    /// The row as it was read: what `merge` compares with.
    [[nodiscard]] const T& base() const noexcept { return base_; }
    [[nodiscard]] const version_of<T>& version() const noexcept { return version_; }

    /// After the row was written: it is what was read, with this version, so that it can be changed and written again.
    void written(const version_of<T>& v) {
        version_ = v;
        detail::set_version(row_, v);
        base_ = row_;
    }

private:
    T row_{};
    T base_{};
    version_of<T> version_{};
};

/// The version that a caller expects who holds no row that was read: a form that was sent with key and version.
template <class Version>
class expect_version {
public:
    explicit expect_version(Version v) : version_(std::move(v)) {}
    [[nodiscard]] const Version& version() const noexcept { return version_; }

private:
    Version version_;
};
expect_version(const char*) -> expect_version<std::string>;

namespace detail {

template <class>
inline constexpr bool is_expected_version = false;
template <class V>
inline constexpr bool is_expected_version<expect_version<V>> = true;

}  // namespace detail

/// What became of a versioned write.
enum class write_status : std::uint8_t {
    updated,         ///< it is written, and has the new version
    removed,         ///< it is gone
    conflict,        ///< another version was found: nothing was written
    not_found,       ///< there is no such row: nothing was written
    exhausted,       ///< each try met another new version: nothing was written
    merge_conflict,  ///< both sides have changed the fields that are named: nothing was written
    not_written      ///< of a batch, all or nothing, in which another row was not written
};

/// `merge_conflict` for `write_status::merge_conflict`; static storage.
[[nodiscard]] constexpr std::string_view to_string(write_status s) noexcept {
    constexpr std::string_view names[] = {"updated", "removed", "conflict", "not_found", "exhausted", "merge_conflict", "not_written"};
    return names[static_cast<std::size_t>(s)];
}

/// The outcome of one versioned write. That a row has another version is no error: what the database or the way to it did wrong is.
template <class T>
struct write_outcome {
    write_status status = write_status::not_written;
    unsigned attempts = 0;                 ///< writes that were tried
    version_of<T> version{};               ///< `updated`: the row's new version
    std::vector<std::string_view> fields;  ///< `merge_conflict`: the members that both sides have changed
    /// `updated` by `recompute` or `merge`: the row as it was written. `conflict`, `exhausted`, `merge_conflict`: the row as it was found
    /// after the last try. That is a read of its own: the row may have changed between it and the try, or since.
    std::optional<versioned<T>> row;

    /// It is as the caller wanted it.
    [[nodiscard]] explicit operator bool() const noexcept { return status == write_status::updated || status == write_status::removed; }
};

/// The outcome of a batch that is written all or nothing.
template <class T>
struct batch_outcome {
    std::vector<write_outcome<T>> rows;  ///< one for each, in order; where not all were written the others are `not_written`
    std::optional<std::size_t> failed;   ///< the first row that could not be written, so that none is

    [[nodiscard]] explicit operator bool() const noexcept { return !failed; }
};

}  // namespace strata::inline STRATA_ABI

#endif

// What optimistic locking has met so far: counts, the keys that are fought over most, and the latest conflicts.
//
// A write that meets no conflict costs one relaxed addition. The keys are counted by the space-saving algorithm (Metwally, Agrawal, El
// Abbadi 2005): a bounded table in which a new key takes the place and the count of the least, so that a key which makes up more than
// 1/N of all conflicts is surely in it, and no count is too low.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_CONFLICT_LOG_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_CONFLICT_LOG_HPP

namespace strata::inline STRATA_ABI {

/// A key that is fought over.
struct hot_key {
    std::string table;
    std::string key;              ///< readable; the parts of a key of several columns separated by ", "
    std::uint64_t conflicts = 0;  ///< not less than there were
    std::uint64_t over = 0;       ///< by so much it may be more, since the key took another's place
};

/// One conflict: a try to write met another version.
struct conflict_record {
    std::string table;
    std::string key;
    time_point when;
    unsigned attempt = 0;  ///< which try of its operation it was, from 1
};

/// What was done so far; not one moment's state.
struct conflict_snapshot {
    std::uint64_t operations = 0;          ///< versioned updates and removals that came to a write, those of batches one by one
    std::uint64_t attempts = 0;            ///< writes that they tried
    std::uint64_t conflicts = 0;           ///< of these, met another version
    std::uint64_t retries = 0;             ///< writes after the first of an operation
    std::uint64_t exhausted = 0;           ///< operations that gave up after their last try
    std::uint64_t merge_conflicts = 0;     ///< operations that met a true conflict
    std::vector<hot_key> hot_keys;         ///< the most first
    std::vector<conflict_record> history;  ///< the latest last

    [[nodiscard]] double average_attempts() const noexcept {
        return operations == 0 ? 0.0 : static_cast<double>(attempts) / static_cast<double>(operations);
    }
};

namespace detail {

/// Writes a key's parts as people read them.
class key_text final : public any_parameter_writer {
public:
    template <class... K>
    [[nodiscard]] static std::string of(const std::tuple<K...>& keys) {
        std::string text;
        key_text writer{text};
        const auto add = [&](const auto& part) {
            if (!text.empty()) text += ", ";
            static_cast<void>(codec<std::remove_cvref_t<decltype(part)>>::write(writer, part));
        };
        std::apply([&](const auto&... part) { (add(part), ...); }, keys);
        return text;
    }

    void null() override { text_ += "null"; }
    void boolean(bool v) override { text_ += v ? "true" : "false"; }
    void integer(std::int64_t v) override { text_ += std::string_view{digits_of{v}}; }
    void real(double v) override { text_ += std::to_string(v); }
    void text(std::string_view v) override { text_ += v; }
    void text_copy(std::string_view v) override { text_ += v; }
    void blob(std::span<const std::byte> v) override {
        for (const std::byte b : v)
            for (const unsigned half : {std::to_integer<unsigned>(b) >> 4, std::to_integer<unsigned>(b) & 15u})
                text_ += "0123456789abcdef"[half];
    }
    void blob_copy(std::span<const std::byte> v) override { blob(v); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t v) override {
        integer(v);
        return true;
    }

private:
    explicit key_text(std::string& text) noexcept : text_(text) {}
    std::string& text_;
};

/// Thread-safe.
class conflict_log {
public:
    conflict_log(std::size_t hot_keys, std::size_t history) : most_keys_(hot_keys), most_records_(history) {}

    void began() noexcept { operations_.fetch_add(1, std::memory_order_relaxed); }
    void retried() noexcept { retries_.fetch_add(1, std::memory_order_relaxed); }
    void exhausted() noexcept { exhausted_.fetch_add(1, std::memory_order_relaxed); }
    void merge_conflict() noexcept { merge_conflicts_.fetch_add(1, std::memory_order_relaxed); }

    /// Without memory only the counts are right.
    STRATA_COLD void met(std::string_view table, std::string key, unsigned attempt, time_point now) noexcept {
        conflicts_.fetch_add(1, std::memory_order_relaxed);
        const hold guard{lock_};
        try {
            count(table, key);
            record(table, std::move(key), attempt, now);
        } catch (const std::bad_alloc&) {
        }
    }

    [[nodiscard]] conflict_snapshot snapshot() const {
        conflict_snapshot s;
        s.operations = operations_.load(std::memory_order_relaxed);
        s.retries = retries_.load(std::memory_order_relaxed);
        s.attempts = s.operations + s.retries;
        s.conflicts = conflicts_.load(std::memory_order_relaxed);
        s.exhausted = exhausted_.load(std::memory_order_relaxed);
        s.merge_conflicts = merge_conflicts_.load(std::memory_order_relaxed);
        const hold guard{lock_};
        s.hot_keys = keys_;
        std::sort(s.hot_keys.begin(), s.hot_keys.end(), [](const hot_key& a, const hot_key& b) { return a.conflicts > b.conflicts; });
        s.history.reserve(records_.size());
        for (std::size_t i = 0; i < records_.size(); ++i) s.history.push_back(records_[(oldest_ + i) % records_.size()]);
        return s;
    }

private:
    void count(std::string_view table, const std::string& key) {
        if (most_keys_ == 0) return;
        hot_key* least = nullptr;
        for (hot_key& k : keys_) {
            if (k.key == key && k.table == table) {
                ++k.conflicts;
                return;
            }
            if (least == nullptr || k.conflicts < least->conflicts) least = &k;
        }
        if (keys_.size() < most_keys_) {
            keys_.push_back({std::string{table}, key, 1, 0});
        } else {
            const std::uint64_t taken = least->conflicts;
            *least = {std::string{table}, key, taken + 1, taken};
        }
    }
    void record(std::string_view table, std::string key, unsigned attempt, time_point now) {
        conflict_record r{std::string{table}, std::move(key), now, attempt};
        if (records_.size() < most_records_) {
            records_.push_back(std::move(r));
        } else if (most_records_ != 0) {
            records_[oldest_] = std::move(r);
            oldest_ = (oldest_ + 1) % most_records_;
        }
    }

    std::atomic<std::uint64_t> operations_{0};
    std::atomic<std::uint64_t> retries_{0};
    std::atomic<std::uint64_t> conflicts_{0};
    std::atomic<std::uint64_t> exhausted_{0};
    std::atomic<std::uint64_t> merge_conflicts_{0};
    const std::size_t most_keys_, most_records_;
    mutable inline_lock lock_;
    std::vector<hot_key> keys_;
    std::vector<conflict_record> records_;  // a ring once it is full
    std::size_t oldest_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a versioned write is given by its caller: a row that was read, a row that carries its version, a row or a key with a version beside
// it, or a key alone. Each has `keys(table)`, and the `value()`, `base()` and `version()` that it can have. They hold what the caller gave
// by reference, or where the call outlives it by value.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_GIVEN_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_GIVEN_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class>
inline constexpr bool is_versioned = false;
template <class T>
inline constexpr bool is_versioned<versioned<T>> = true;

/// A row that was read before.
template <class T, class Kept>
struct given_versioned {
    Kept row;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row.base());
    }
    [[nodiscard]] const T& value() const { return *row; }
    [[nodiscard]] const T& base() const { return row.base(); }
    [[nodiscard]] const version_of<T>& version() const { return row.version(); }
};
/// A row that carries its version.
template <class T, class Kept>
struct given_row {
    Kept row;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row);
    }
    [[nodiscard]] const T& value() const { return row; }
    [[nodiscard]] const version_of<T>& version() const {
        static_assert(has_version_column<T>,
                      "strata: this row does not carry its version: give what find_versioned returned, or "
                      "strata::expect_version{...} beside it");
        if constexpr (has_version_column<T>) return get_member<version_type<T>::number>(row);
    }
};
/// A row and its version beside it.
template <class T, class Kept>
struct given_row_and_version {
    Kept row;
    version_of<T> expected;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row);
    }
    [[nodiscard]] const T& value() const { return row; }
    [[nodiscard]] const version_of<T>& version() const { return expected; }
};
/// A key, and a version beside it.
template <class T, class Kept>
struct given_key_and_version {
    Kept key;
    version_of<T> expected;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_from(key);
    }
    [[nodiscard]] const version_of<T>& version() const { return expected; }
};
/// A key alone.
template <class T, class Kept>
struct given_key {
    Kept key;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_from(key);
    }
};

template <class Row>
struct row_of {
    using type = Row;
};
template <class T>
struct row_of<versioned<T>> {
    using type = T;
};

/// What the caller gave for a row, kept as `Kept` (by reference, or for a call that outlives its expression by value).
template <class Kept>
[[nodiscard]] auto given_for(Kept&& row) {
    using given = std::remove_cvref_t<Kept>;
    using kept = std::conditional_t<std::is_lvalue_reference_v<Kept>, const given&, given>;
    if constexpr (is_versioned<given>)
        return given_versioned<typename given::row_type, kept>{std::forward<Kept>(row)};
    else
        return given_row<given, kept>{std::forward<Kept>(row)};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a versioned write does when the row has another version than expected. `merge` has a file of its own.
//
// Each says whether it `checks` the version, whether it `repeats` after a conflict, and whether it is `idempotent`: written once more after
// a lost answer, it comes to the same row. One that is not refuses `call_options::idempotent`.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_STRATEGIES_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_STRATEGIES_HPP

namespace strata::inline STRATA_ABI {

/// Nothing: the outcome is `conflict`, with the row as it is now. The default.
struct fail_fast {
    static constexpr bool checks = true;
    static constexpr bool repeats = false;
    static constexpr bool idempotent = true;
};

/// It is not looked at: what others wrote since the row was read IS LOST, unless it is in columns that T has not. The outcome is `updated`
/// or `not_found`.
struct last_writer_wins {
    static constexpr bool checks = false;
    static constexpr bool repeats = false;
    static constexpr bool idempotent = true;
};

/// The function is called with the row as it is now, changes it, and that is written; when somebody else was faster, once more on the
/// fresh row: so no update is lost. At most `optimistic_locking_options::max_attempts` times, then the outcome is `exhausted`. Given a row
/// that was read, the first try is on it as it was read: what the caller has changed in it since is not written (`merge` does that).
///
/// It may run several times, and asynchronously on any thread; it must not use the database, and what it throws comes out and nothing
/// is written. With `call_options::idempotent` it is refused with `errc::invalid_argument`: repeated after a lost answer, the function
/// would run on what it may have written itself.
template <class F>
class recompute {
public:
    static constexpr bool checks = true;
    static constexpr bool repeats = true;
    static constexpr bool idempotent = false;

    explicit recompute(F f) : f_(std::move(f)) {}

    /// Of a copy of the fresh row makes the next one.
    template <class T>
    void make(T& row) const {
        // One that takes a copy would change nothing, and be told as updated.
        constexpr bool changes_it = std::is_invocable_v<F&, T&> && !std::is_invocable_v<F&, T>;
        static_assert(changes_it, "strata: the function of recompute changes the row in place: [](T& row) { ... }, by reference");
        if constexpr (changes_it) f_(row);
    }

private:
    mutable F f_;  // each call has its own
};

namespace detail {

template <class Strategy>
inline constexpr bool recomputes = false;
template <class F>
inline constexpr bool recomputes<recompute<F>> = true;

template <class Strategy>
inline constexpr bool merges = false;

template <class S>
concept conflict_strategy = requires {
    { S::checks } -> std::convertible_to<bool>;
    { S::repeats } -> std::convertible_to<bool>;
    { S::idempotent } -> std::convertible_to<bool>;
};

template <class Strategy>
constexpr void assert_strategy() {
    static_assert(conflict_strategy<Strategy>,
                  "strata: what follows the row is a strategy: strata::recompute{function}, strata::merge{rules...}, "
                  "strata::last_writer_wins{} or strata::fail_fast{}; or strata::expect_version{...}, or call_options");
}

/// A call that is given a key without a row, and is `right` with it.
template <bool Removes, bool Right>
constexpr void assert_key_alone() {
    static_assert(Right || Removes,
                  "strata: a key alone does not say what to write: update_versioned<T>(key, strata::recompute{[](T& row) { ... }}); a row "
                  "goes by itself: update_versioned(row)");
    static_assert(Right || !Removes,
                  "strata: a key alone does not say which version is removed: remove_versioned<T>(key, strata::expect_version{...}); a row "
                  "goes by itself: remove_versioned(row)");
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Three-way merge of a row: what the caller changed, what others changed since, and what both changed, field by field.
//
//   db.update_versioned(row, strata::merge{strata::field<"balance">(strata::add_numbers), strata::field<"tags">(strata::append_lists),
//                                          strata::field<"note">([](auto& base, auto& ours, auto& theirs) { return ours + theirs; }),
//                                          strata::otherwise(strata::take_theirs)});
//
// A field that only one side has changed needs no rule. One that both have changed follows its rule; without one, and without
// `otherwise`, it is a true conflict, unless both made the same of it. Key and version are not merged.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_MERGE_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_MERGE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
concept added_number = std::integral<T> && !std::same_as<T, bool>;

/// theirs + (ours - base), exactly; false where that is no T.
template <added_number T>
[[nodiscard]] constexpr bool add_difference(T base, T ours, T theirs, T& out) noexcept {
    using wide = std::uint64_t;
    return ours >= base ? !__builtin_add_overflow(theirs, static_cast<wide>(ours) - static_cast<wide>(base), &out)
                        : !__builtin_sub_overflow(theirs, static_cast<wide>(base) - static_cast<wide>(ours), &out);
}

struct conflict_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        static_cast<void>(base);
        if (!(ours == theirs)) return false;
        out = theirs;
        return true;
    }
};
struct take_theirs_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T&, const T&, const T& theirs, T& out) {
        out = theirs;
        return true;
    }
};
struct take_ours_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T&, const T& ours, const T&, T& out) {
        out = ours;
        return true;
    }
};
struct add_numbers_rule {
    static constexpr bool idempotent = false;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        if constexpr (added_number<T>) {
            return add_difference(base, ours, theirs, out);
        } else {
            static_assert(requires { out = theirs + (ours - base); }, "strata: add_numbers is for fields that can be added and subtracted");
            if constexpr (requires { out = theirs + (ours - base); }) out = theirs + (ours - base);
            return true;
        }
    }
};
struct append_lists_rule {
    static constexpr bool idempotent = false;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        constexpr bool list = requires { out.insert(out.end(), std::begin(ours), std::end(ours)); };
        static_assert(list, "strata: append_lists is for fields that are lists or texts: std::vector, std::string");
        if constexpr (list) {
            const auto [b, o] = std::mismatch(std::begin(base), std::end(base), std::begin(ours), std::end(ours));
            if (b != std::end(base)) return false;  // something else than appended
            out = theirs;
            out.insert(out.end(), o, std::end(ours));
        }
        return true;
    }
};
template <class F>
struct function_rule {
    static constexpr bool idempotent = false;
    F f;
    template <class T>
    bool apply(const T& base, const T& ours, const T& theirs, T& out) const {
        static_assert(std::is_convertible_v<std::invoke_result_t<const F&, const T&, const T&, const T&>, T>,
                      "strata: the function of a field is called with base, ours and theirs and returns the field's value");
        out = f(base, ours, theirs);
        return true;
    }
};

template <class R>
inline constexpr bool is_merge_rule =
    std::same_as<R, conflict_rule> || std::same_as<R, take_theirs_rule> || std::same_as<R, take_ours_rule> ||
    std::same_as<R, add_numbers_rule> || std::same_as<R, append_lists_rule>;

template <fixed_string Name, class Rule>
struct field_rule {
    static constexpr std::string_view name = Name.view();
    static constexpr bool idempotent = Rule::idempotent;
    Rule rule;
};

template <class Rule>
[[nodiscard]] auto as_merge_rule(Rule rule) {
    if constexpr (is_merge_rule<Rule>)
        return rule;
    else
        return function_rule<Rule>{std::move(rule)};
}

}  // namespace detail

/// What becomes of a field that both sides have changed.
inline constexpr detail::conflict_rule conflict{};          ///< a true conflict, unless both made the same of it
inline constexpr detail::take_theirs_rule take_theirs{};    ///< what is in the database
inline constexpr detail::take_ours_rule take_ours{};        ///< what the caller made of it
inline constexpr detail::add_numbers_rule add_numbers{};    ///< theirs + (ours - base); an integer's overflow is a true conflict
inline constexpr detail::append_lists_rule append_lists{};  ///< theirs, then what we appended; a true conflict if we did anything else

/// The rule of the member with this name: one of the above, or a function of (base, ours, theirs) that returns the value; it must not
/// use the database, and what it throws comes out and nothing is written.
template <fixed_string Name, class Rule>
[[nodiscard]] auto field(Rule rule) {
    auto made = detail::as_merge_rule(std::move(rule));
    return detail::field_rule<Name, decltype(made)>{std::move(made)};
}
/// The rule of all fields that have none of their own.
template <class Rule>
[[nodiscard]] auto otherwise(Rule rule) {
    return field<"">(std::move(rule));
}

/// The strategy: when the row has changed since it was read, both sides' changes are put together on the row as it is now, and that is
/// written; again when somebody else was faster, as `recompute`. Needs the row as it was read: `versioned<T>`. Members are compared by ==.
/// With `call_options::idempotent` it is refused with `errc::invalid_argument` where a rule adds, appends or is a function: repeated after
/// a lost answer, that would be done to what it may have written itself.
template <class... Rules>
class merge {
public:
    static constexpr bool checks = true;
    static constexpr bool repeats = true;
    static constexpr bool idempotent = (Rules::idempotent && ...);

    explicit merge(Rules... rules) : rules_(std::move(rules)...) {}

    /// `out` holds theirs. False, with the names of the members in `fields`, where it is a true conflict.
    template <class T>
    [[nodiscard]] bool make(const T& base, const T& ours, const T& theirs, T& out, std::vector<std::string_view>& fields) const {
        static_assert(((Rules::name.empty() || member_index<T>(Rules::name) >= 0) && ...),
                      "strata: a rule of this merge names a field that the row has not: write the member's name");
        static_assert((std::size_t{0} + ... + (Rules::name.empty() ? 1u : 0u)) <= 1, "strata: a merge has one rule for all other fields");
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (make_member<I>(base, ours, theirs, out, fields), ...);
        }(std::make_index_sequence<member_count<T>>{});
        return fields.empty();
    }

private:
    template <std::size_t I, class T>
    void make_member(const T& base, const T& ours, const T& theirs, T& out, std::vector<std::string_view>& fields) const {
        constexpr std::string_view column = column_names<T>[I];
        constexpr bool fixed = [] {
            if constexpr (has_version_column_at<T, I>()) return true;
            for (const std::string_view k : key_columns<T>)
                if (k == column_names<T>[I]) return true;
            return false;
        }();
        static_cast<void>(column);
        if constexpr (!fixed) {
            const auto& was = get_member<I>(base);
            const auto& our = get_member<I>(ours);
            const auto& their = get_member<I>(theirs);
            if (our == was) return;  // out holds theirs
            if (their == was) {
                get_member<I>(out) = our;
                return;
            }
            constexpr std::size_t number = rule_of(member_name<T>(I));
            bool well = false;
            if constexpr (number < sizeof...(Rules))
                well = std::get<number>(rules_).rule.apply(was, our, their, get_member<I>(out));
            else
                well = detail::conflict_rule::apply(was, our, their, get_member<I>(out));
            if (!well) fields.push_back(member_name<T>(I));
        }
    }
    template <class T, std::size_t I>
    static consteval bool has_version_column_at() {
        if constexpr (detail::has_version_column<T>)
            return I == detail::version_type<T>::number;
        else
            return false;
    }
    /// The number of the rule for a member; that for all others, if there is one; else as many as there are.
    static consteval std::size_t rule_of(std::string_view member) {
        constexpr std::string_view names[] = {Rules::name..., {}};
        std::size_t found = sizeof...(Rules);
        for (std::size_t i = 0; i < sizeof...(Rules); ++i) {
            if (names[i] == member) return i;
            if (names[i].empty()) found = i;
        }
        return found;
    }

    std::tuple<Rules...> rules_;
};

namespace detail {

template <class... Rules>
inline constexpr bool merges<merge<Rules...>> = true;

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a caller gives for a key, against the members that hold it: a text for a number would be found wrong by the server at best, and by
// SQLite never.
#ifndef STRATA_VALUE_KEY_FIT_HPP
#define STRATA_VALUE_KEY_FIT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct opened {
    using type = T;
    static constexpr bool closed = false;
};
template <class T>
struct opened<std::optional<T>> {
    using type = T;
    static constexpr bool closed = true;
};

/// A number for a number, without a fraction for one that has none; a text for a text; bytes for bytes; else what converts by itself.
template <class Member, class Given>
consteval bool key_part_fits() {
    if constexpr (std::same_as<Member, Given>)
        return true;
    else if constexpr (std::same_as<Member, bool> || std::same_as<Given, bool>)
        return false;
    else if constexpr (std::integral<Member>)
        return std::integral<Given>;
    else if constexpr (std::floating_point<Member>)
        return std::is_arithmetic_v<Given>;
    else if constexpr (requires(const Member& m, const Given& g) {
                           requires std::same_as<decltype(*std::data(m)), decltype(*std::data(g))>;
                       })
        return true;
    else
        return std::is_convertible_v<const Given&, Member>;
}

template <class T, std::size_t I, class Given>
constexpr void assert_key_part() {
    static_assert(!opened<Given>::closed,
                  "strata: this key is a std::optional, and no row has an absent key: look whether it is there, and give *key");
    if constexpr (!opened<Given>::closed && adapted_struct<T>) {
        if constexpr (I < key_columns<T>.size()) {
            constexpr int number = member_of_column<T>(key_columns<T>[I]);
            if constexpr (number >= 0) {
                using member_of_key = typename opened<member_type<member<T, static_cast<std::size_t>(number)>, T>>::type;
                static_assert(key_part_fits<member_of_key, Given>(),
                              "strata: this key is of another type than the row's key: give what the member of its column holds");
            }
        }
    }
}

/// `Key`: a value, or a tuple with a part for each column.
template <class T, class Key>
constexpr void assert_key() {
    if constexpr (requires { std::tuple_size<Key>::value; }) {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (assert_key_part<T, I, std::remove_cvref_t<std::tuple_element_t<I, Key>>>(), ...);
        }(std::make_index_sequence<std::tuple_size_v<Key>>{});
    } else {
        assert_key_part<T, 0, Key>();
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The statements of optimistic locking, made at compile time from `strata::mapping<T>`. All names are quoted and every column is
// qualified by its table: SQLite would take an unknown quoted name that stands alone for a text.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_STATEMENTS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_STATEMENTS_HPP

namespace strata::inline STRATA_ABI {

/// What a row's version is, where its mapping names no version column: nothing. Each T needs one.
struct by_version_column {};
/// PostgreSQL: the transaction that wrote the row and the place where it lies (`xmin`, `ctid`), so no column is needed. VACUUM FULL and
/// CLUSTER move rows: a conflict that is none. Not for partitioned tables.
struct by_xmin {};
/// A hash of the mapped columns (PostgreSQL: SHA-256), or where there is no such function (SQLite) their text. A row that was changed and
/// changed back counts as unchanged. It is read and reckoned again by each write, and on PostgreSQL depends on settings that change how
/// values are written (`TimeZone`, `DateStyle`), which must be the same in all sessions.
struct by_row_hash {};

namespace detail {

/// The statements of T over a dialect. `Way`: what versions are where the mapping of T names no column.
template <class T, class Way, dialect D>
class versioned_table {
    static_assert(adapted_struct<T>, "strata: a versioned row is a struct adapted with BOOST_HANA_ADAPT_STRUCT or BOOST_DESCRIBE_STRUCT");
    static constexpr bool named = requires { std::string_view{mapping<T>::table}; };
    static constexpr bool keyed = requires { mapping<T>::key; };
    static constexpr bool counted = has_version_column<T>;
    static constexpr bool possible = counted || !std::same_as<Way, by_version_column>;
    static constexpr bool by_place = !counted && std::same_as<Way, by_xmin>;
    static_assert(named,
                  "strata: optimistic locking needs the table's name: static constexpr std::string_view table = ...; in "
                  "strata::mapping<T>");
    static_assert(keyed, "strata: optimistic locking needs the key: static constexpr std::string_view key = ...; in strata::mapping<T>");
    static_assert(possible,
                  "strata: optimistic locking needs a version column: static constexpr std::string_view version = ...; in "
                  "strata::mapping<T>; or versions without a column: optimistic_locking<strata::by_row_hash>");
    static_assert(!by_place || D == dialect::postgres,
                  "strata: by_xmin needs PostgreSQL: give the table a version column, or use optimistic_locking<strata::by_row_hash>");
    static_assert(!counted || (std::integral<version_of<T>> && !std::same_as<version_of<T>, bool>),
                  "strata: the member of the version column must be an integer, which each update counts up");
    static constexpr bool right = named && keyed && possible && (!by_place || D == dialect::postgres);

public:
    using row = T;
    using version = version_of<T>;
    static constexpr bool has_column = counted;
    /// Whether an update returns the new version. One that has checked a column has counted it up by one, and the number of rows tells all:
    /// `returning` costs SQLite a fifth of the statement.
    template <bool Checks>
    static constexpr bool tells_version = !(counted && Checks);

private:
    static constexpr std::size_t members = member_count<T>;
    [[nodiscard]] static constexpr bool is_key(std::size_t i) {
        for (const std::string_view k : key_columns<T>)
            if (k == column_names<T>[i]) return true;
        return false;
    }
    [[nodiscard]] static constexpr bool is_version(std::size_t i) {
        if constexpr (counted)
            return i == version_type<T>::number;
        else
            return false;
    }
    template <std::size_t Count, class Wanted>
    [[nodiscard]] static constexpr auto numbers_of(Wanted wanted) {
        std::array<std::size_t, Count> all{};
        for (std::size_t i = 0, n = 0; i < members; ++i)
            if (wanted(i)) all[n++] = i;
        return all;
    }
    static constexpr auto is_written = [](std::size_t i) { return !is_key(i) && !is_version(i); };
    static constexpr auto is_inserted = [](std::size_t i) { return !is_version(i); };  // it begins with 1
    template <class Wanted>
    [[nodiscard]] static constexpr std::size_t count_of(Wanted wanted) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < members; ++i) n += wanted(i) ? 1u : 0u;
        return n;
    }
    static constexpr auto written_members = numbers_of<count_of(is_written)>(is_written);
    static constexpr auto inserted = numbers_of<count_of(is_inserted)>(is_inserted);
    /// In the order of the mapping.
    static constexpr auto key_members = [] {
        std::array<std::size_t, key_columns<T>.size()> all{};
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::size_t>(member_of_column<T>(key_columns<T>[i]));
        return all;
    }();
    static_assert(counted || written_members.size() > 0, "strata: this row has nothing but its key: there is nothing to update");

    static constexpr void quote(text_writer& out, std::string_view name) {
        out.put('"');
        for (const char c : name) {
            if (c == '"') out.put('"');
            out.put(c);
        }
        out.put('"');
    }
    static constexpr void put_table(text_writer& out) {
        if constexpr (requires { std::string_view{mapping<T>::schema}; }) {
            quote(out, mapping<T>::schema);
            out.put('.');
        }
        quote(out, mapping<T>::table);
    }
    static constexpr void put_column(text_writer& out, std::string_view name) {
        quote(out, mapping<T>::table);
        out.put('.');
        quote(out, name);
    }
    static constexpr void put_parameter(text_writer& out, std::string_view kind, std::size_t number) {
        out.put(kind);
        std::size_t unit = 1;
        while (number / unit >= 10) unit *= 10;
        for (; unit != 0; unit /= 10) out.put(static_cast<char>('0' + number / unit % 10));
    }
    static constexpr void put_version(text_writer& out) {
        if constexpr (counted) {
            put_column(out, mapping<T>::version);
        } else if constexpr (by_place) {
            put_column(out, "xmin");
            out.put("::text || ");
            put_column(out, "ctid");
            out.put("::text");
        } else if constexpr (D == dialect::postgres) {
            out.put("encode(sha256(convert_to(row(");
            for (std::size_t i = 0; i < members; ++i) {
                if (i > 0) out.put(", ");
                put_column(out, column_names<T>[i]);
            }
            out.put(")::text, 'UTF8')), 'hex')");
        } else {
            for (std::size_t i = 0; i < members; ++i) {  // quote() ends a text at its first NUL
                out.put(i > 0 ? " || ',' || case typeof(" : "case typeof(");
                put_column(out, column_names<T>[i]);
                out.put(") when 'text' then 't' || hex(");
                put_column(out, column_names<T>[i]);
                out.put(") else quote(");
                put_column(out, column_names<T>[i]);
                out.put(") end");
            }
        }
    }
    /// The row with its version: a column before the others, or one of them.
    static constexpr void put_row(text_writer& out) {
        if constexpr (!counted) {
            put_version(out);
            out.put(" as strata_version, ");
        }
        for (std::size_t i = 0; i < members; ++i) {
            if (i > 0) out.put(", ");
            put_column(out, column_names<T>[i]);
            out.put(" as ");
            quote(out, column_names<T>[i]);
        }
    }
    static constexpr void put_key(text_writer& out) {
        for (std::size_t i = 0; i < key_members.size(); ++i) {
            out.put(i > 0 ? " and " : " where ");
            put_column(out, column_names<T>[key_members[i]]);
            put_parameter(out, " = :k", i);
        }
    }
    static constexpr void put_check(text_writer& out) {
        out.put(" and ");
        put_version(out);
        out.put(" = :v");
    }
    static constexpr void put_find(text_writer& out) {
        out.put("select ");
        put_row(out);
        out.put(" from ");
        put_table(out);
        put_key(out);
    }
    template <bool Checks>
    static constexpr void put_update(text_writer& out) {
        out.put("update ");
        put_table(out);
        out.put(" set ");
        for (std::size_t i = 0; i < written_members.size(); ++i) {
            if (i > 0) out.put(", ");
            quote(out, column_names<T>[written_members[i]]);
            put_parameter(out, " = :s", i);
        }
        if constexpr (counted) {
            if (written_members.size() > 0) out.put(", ");
            quote(out, mapping<T>::version);
            out.put(" = ");
            put_column(out, mapping<T>::version);
            out.put(" + 1");
        }
        put_key(out);
        if constexpr (Checks) put_check(out);
        if constexpr (tells_version<Checks>) put_returning(out);
    }
    template <bool Checks>
    static constexpr void put_remove(text_writer& out) {
        out.put("delete from ");
        put_table(out);
        put_key(out);
        if constexpr (Checks) put_check(out);
    }
    static constexpr void put_returning(text_writer& out) {
        out.put(" returning ");
        put_version(out);
    }
    static constexpr void put_insert(text_writer& out) {
        out.put("insert into ");
        put_table(out);
        out.put(" (");
        for (std::size_t i = 0; i < members; ++i) {
            if (i > 0) out.put(", ");
            quote(out, column_names<T>[i]);
        }
        out.put(") values (");
        for (std::size_t i = 0; i < members; ++i) {
            if (i > 0) out.put(", ");
            if (is_version(i))
                out.put('1');
            else
                put_parameter(out, ":i", i);
        }
        out.put(") returning ");
        put_row(out);
    }

    template <void (*Put)(text_writer&)>
    static consteval auto made() {
        constexpr std::size_t size = [] {
            text_writer out;
            Put(out);
            return out.size;
        }();
        char text[size + 1]{};
        text_writer out{text};
        Put(out);
        return fixed_string<size + 1>{text, size};
    }
    template <void (*Put)(text_writer&)>
    static consteval auto statement() {
        using namespace literals;
        return operator""_sql < made<Put>()>();
    }

    template <std::size_t... S, class... K, class... Last>
    [[nodiscard]] static auto bind_update(const auto& text, std::index_sequence<S...>, const T& row, const std::tuple<K...>& keys,
                                          const Last&... last) {
        return std::apply([&](const auto&... k) { return text(get_member<written_members[S]>(row)..., k..., last...); }, keys);
    }

public:
    /// A key, as references to its parts: from a row, or from what the caller gives (a value; a tuple for a key of several columns).
    [[nodiscard]] static auto key_of(const T& row) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return std::tuple<const std::remove_cvref_t<decltype(get_member<key_members[I]>(row))>&...>(get_member<key_members[I]>(row)...);
        }(std::make_index_sequence<key_members.size()>{});
    }
    template <class Key>
    [[nodiscard]] static auto key_from(const Key& key) {
        if constexpr (right) assert_key<T, Key>();
        if constexpr (requires { std::tuple_size<Key>::value; }) {
            static_assert(std::tuple_size_v<Key> == key_members.size(),
                          "strata: a key has as many parts as strata::mapping<T>::key columns");
            return std::apply([](const auto&... part) { return std::tuple<const std::remove_cvref_t<decltype(part)>&...>(part...); }, key);
        } else {
            static_assert(!right || key_members.size() == 1,
                          "strata: this key has several columns: give a std::tuple, in the order of "
                          "strata::mapping<T>::key");
            return std::tuple<const Key&>(key);
        }
    }

    /// The version that a caller expects who has no row that was read.
    template <class V>
    [[nodiscard]] static version expected(const expect_version<V>& e) {
        constexpr bool fits = requires { version{e.version()}; };
        static_assert(
            !right || fits,
            "strata: strata::expect_version{...} holds another type than this row's versions: an integer that fits into the member "
            "of the version column, or where there is no version column the text that version() of a row gave");
        if constexpr (fits)
            return version{e.version()};
        else
            return {};
    }

    /// Bound to keys that live until the call ends, as row and version must.
    template <class... K>
    [[nodiscard]] static auto find(const std::tuple<K...>& keys) {
        return std::apply([](const auto&... k) { return statement<&put_find>()(k...); }, keys);
    }
    /// `last`: the version to check, or nothing.
    template <class... K, class... Last>
    [[nodiscard]] static auto update(const T& row, const std::tuple<K...>& keys, const Last&... last) {
        return bind_update(statement<&put_update<sizeof...(Last) != 0>>(), std::make_index_sequence<written_members.size()>{}, row, keys,
                           last...);
    }
    template <class... K, class... Last>
    [[nodiscard]] static auto remove(const std::tuple<K...>& keys, const Last&... last) {
        return std::apply([&](const auto&... k) { return statement<&put_remove<sizeof...(Last) != 0>>()(k..., last...); }, keys);
    }
    [[nodiscard]] static auto insert(const T& row) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return statement<&put_insert>()(get_member<inserted[I]>(row)...);
        }(std::make_index_sequence<inserted.size()>{});
    }

    /// The statements' texts: for logs, and tests.
    static constexpr std::string_view find_text() { return text_of<&put_find>(); }
    template <bool Checks = true>
    static constexpr std::string_view update_text() {
        return text_of<&put_update<Checks>>();
    }
    template <bool Checks = true>
    static constexpr std::string_view remove_text() {
        return text_of<&put_remove<Checks>>();
    }
    static constexpr std::string_view insert_text() { return text_of<&put_insert>(); }

private:
    template <void (*Put)(text_writer&)>
    static constexpr std::string_view text_of() {
        return statement<Put>().text().text;
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One versioned write on a connection: the checked statement, and when the row has another version the read that tells why, the
// strategy's answer, and the next try. A resumable algorithm that is part of an operation, or of a batch.
//
//   writing --row--> done
//      | none                       (strategies that repeat, while tries are left)
//      v                            v
//   [pausing] ----> reading --none--> not found
//      ^               | row
//      +--- writing <--+--> conflict, exhausted, merge conflict
//
// Each try is one statement that checks and writes, so there is no moment between a check and its write. The read after it only explains,
// or is what the next try starts from; whatever it finds, the next try checks again.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_WRITE_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_WRITE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Reads `versioned<T>`: the version is one of T's members, or stands in the first column.
template <class T>
class versioned_sink : public decoding_sink<T> {
public:
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        if (row_) {
            e = too_many_rows_error();
            return flow::stop;
        }
        T value{};
        version_of<T> version{};
        if (!row_decoder<T>::decode(r, p, value, e)) return flow::stop;
        if constexpr (has_version_column<T>)
            version = get_member<version_type<T>::number>(value);
        else if (!read_column(r, 0, version, e))
            return flow::stop;
        row_.emplace(std::move(value), std::move(version));
        return flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { row_.reset(); }
    [[nodiscard]] std::optional<versioned<T>> take() && { return std::move(row_); }

private:
    std::optional<versioned<T>> row_;
};

/// The same of exactly one row.
template <class T>
class inserted_sink : public decoding_sink<T> {
public:
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return sink_.row(r, p, e);
    }
    void finish(error&) noexcept {}
    void restart() noexcept { sink_.restart(); }
    [[nodiscard]] versioned<T> take() && {
        std::optional<versioned<T>> row = std::move(sink_).take();
        return row ? *std::move(row) : versioned<T>{};  // a trigger may have taken the row away
    }

private:
    versioned_sink<T> sink_;
};

/// How often and with which pauses strategies repeat.
struct repetition {
    unsigned max_attempts;
    duration base, cap;

    /// Full jitter: uniform in [0, min(cap, base * 2^(attempt - 1))).
    [[nodiscard]] duration pause_after(unsigned attempt, const moment& m) const noexcept {
        duration bound = base;
        for (unsigned i = 1; i < attempt && bound < cap; ++i) bound *= 2;
        if (bound > cap) bound = cap;
        return duration{static_cast<duration::rep>(m.random_unit() * static_cast<double>(bound.count()))};
    }
};

/// A statement that runs on a connection, with its sink.
template <class Connection, class Bound, class Sink>
struct running_statement {
    running_statement(Connection& c, Bound&& s) : statement(std::move(s)), query(c, statement, sink) {}
    const Bound statement;
    Sink sink;
    typename Connection::template query<Bound, Sink> query;
};

/// The statement that checks (if it does) and writes. All must live until it has run.
template <class Table, bool Removes, bool Checks, class Keys>
[[nodiscard]] auto checked_statement(const typename Table::row* row, const Keys& keys,
                                     const std::optional<typename Table::version>& expected) {
    if constexpr (Removes && Checks)
        return Table::remove(keys, *expected);
    else if constexpr (Removes)
        return Table::remove(keys);
    else if constexpr (Checks)
        return Table::update(*row, keys, *expected);
    else
        return Table::update(*row, keys);
}

/// `Given` and the strategy live until the end, as the log does.
template <class Driver, class Table, class Given, class Strategy, bool Removes>
class versioned_write {
    using connection = typename Driver::connection;
    using row_type = typename Table::row;
    using version_type = typename Table::version;
    using keys_type = decltype(std::declval<const Given&>().template keys<Table>());
    static constexpr bool starts_by_reading = recomputes<Strategy> && !requires(const Given& g) { g.value(); };
    static constexpr bool tells_version = !Removes && Table::template tells_version<Strategy::checks>;
    static constexpr bool counts_up = !Removes && !tells_version;
    static_assert(
        !merges<Strategy> || requires(const Given& g) { g.base(); },
        "strata: merge needs the row as it was read: give what find_versioned returned");
    static_assert(!Removes || !Strategy::repeats, "strata: a removal is neither merged nor recomputed: fail_fast or last_writer_wins");

public:
    using outcome_type = write_outcome<row_type>;

    /// `told` becomes the outcome, where the caller will have it.
    versioned_write(outcome_type& told, const Given& given, const Strategy& strategy, conflict_log& log, const repetition& r) noexcept
        : result(told), given_(given), strategy_(strategy), log_(log), repetition_(r), keys_(given.template keys<Table>()) {}

    /// Until `done`, with the outcome in `result`, or `failed`, with the error in `e`, and what the user's function threw in `thrown`.
    template <class World>
    [[nodiscard]] signal resume(connection& c, const operation_base& op, World& world, error& e) {
        for (;;) {
            switch (at_) {
                case at::begun:
                    if (op.is_cancelled()) [[unlikely]]  // a short statement would be over before the driver looks
                        return e = error{errc::cancelled, phase::execute}, signal::failed;
                    if constexpr (!Strategy::idempotent)
                        if (op.run_time_idempotent) [[unlikely]]
                            return e = not_idempotent(), signal::failed;
                    if (result.attempts != 0) result = {};  // of the operation's attempt before
                    thrown = nullptr;
                    if constexpr (requires { given_.base(); }) {
                        if (Table::key_of(given_.value()) != keys_) return e = key_was_changed(), signal::failed;
                    }
                    at_ = starts_by_reading ? at::reading : at::writing;
                    if constexpr (!starts_by_reading && Strategy::checks) expected_.emplace(given_.version());
                    if constexpr (!starts_by_reading && recomputes<Strategy>)
                        if (!compute(as_it_was_read(), e)) return signal::failed;
                    break;
                case at::writing: {
                    const signal s = write(c, e);
                    if (s != signal::done) return s;
                    if (ended_) return s;
                    if (Strategy::repeats && result.attempts < repetition_.max_attempts) {
                        const moment m = world.moment();
                        until_ = add_saturated(m.now, repetition_.pause_after(result.attempts, m));
                        if (until_ > op.deadline) until_ = op.deadline;
                        at_ = at::pausing;
                        return signal::park;
                    }
                    at_ = at::reading;
                    break;
                }
                case at::pausing:
                    if (error why = stopped_in_pause(op, world)) return e = std::move(why), signal::failed;
                    if (world.moment().now < until_) return signal::park;  // woken for nothing
                    at_ = at::reading;
                    if constexpr (Driver::blocking) return signal::work;  // the read may block
                    break;
                case at::reading: {
                    const signal s = read(c, op, world, e);
                    if (s != signal::done || ended_) return s;
                    at_ = at::writing;
                    break;
                }
            }
        }
    }
    /// Lets go of the connection; another resume begins anew.
    void end() noexcept {
        writing_.reset();
        reading_.reset();
        at_ = at::begun;
        ended_ = false;
    }

    [[nodiscard]] bool pauses() const noexcept { return at_ == at::pausing; }
    [[nodiscard]] time_point pauses_until() const noexcept { return until_; }

    /// Of the statement that writes, for logs.
    [[nodiscard]] static constexpr std::string_view text() {
        if constexpr (Removes)
            return Table::template remove_text<Strategy::checks>();
        else
            return Table::template update_text<Strategy::checks>();
    }

    outcome_type& result;
    std::exception_ptr thrown;

private:
    enum class at : std::uint8_t { begun, writing, pausing, reading };

    /// A removal writes none.
    [[nodiscard]] const row_type* to_write() const {
        if constexpr (Removes)
            return nullptr;
        else if constexpr (starts_by_reading)
            return &*next_;
        else
            return next_ ? &*next_ : &given_.value();
    }

    [[nodiscard]] signal write(connection& c, error& e) {
        if (!writing_) {
            if constexpr (counts_up) {
                if (*expected_ == std::numeric_limits<version_type>::max()) return e = no_version_left(), signal::failed;
            }
            (++result.attempts == 1) ? log_.began() : log_.retried();
            writing_.emplace(c, checked_statement<Table, Removes, Strategy::checks>(to_write(), keys_, expected_));
        }
        const signal s = writing_->query.resume();
        if (!has_ended(s)) return s;
        std::optional<version_type> written;
        if (s == signal::failed)
            e = std::move(writing_->query.failure());
        else if constexpr (tells_version)
            written = std::move(writing_->sink).take();
        else if (const std::int64_t rows = writing_->query.affected(); rows == 1)
            written = next_version();
        else if (rows > 1)
            return writing_.reset(), e = several_rows(), signal::failed;
        writing_.reset();
        if (s == signal::failed) return s;
        if (written) {
            result.status = Removes ? write_status::removed : write_status::updated;
            if (next_) {
                set_version(*next_, *written);
                result.row.emplace(*std::move(next_), *written);
            }
            if constexpr (!Removes) result.version = *std::move(written);
            ended_ = true;
        } else if constexpr (!Strategy::checks) {
            result.status = write_status::not_found;
            ended_ = true;
        }
        return s;
    }

    template <class World>
    [[nodiscard]] signal read(connection& c, const operation_base&, World& world, error& e) {
        if (!reading_) reading_.emplace(c, Table::find(keys_));
        const signal s = reading_->query.resume();
        if (!has_ended(s)) return s;
        std::optional<versioned<row_type>> fresh = std::move(reading_->sink).take();
        if (s == signal::failed) e = std::move(reading_->query.failure());
        reading_.reset();
        if (s == signal::failed) return s;
        if (result.attempts != 0 && fresh) log_.met(mapping<row_type>::table, key_text::of(keys_), result.attempts, world.moment().now);
        if (!fresh)
            end_with(write_status::not_found, {});
        else if (!Strategy::repeats)
            end_with(write_status::conflict, std::move(fresh));
        else if (result.attempts >= repetition_.max_attempts)
            log_.exhausted(), end_with(write_status::exhausted, std::move(fresh));
        else
            return next_from(std::move(*fresh), e);
        return s;
    }
    void end_with(write_status s, std::optional<versioned<row_type>> found) {
        result.status = s;
        result.row = std::move(found);
        ended_ = true;
    }

    /// What to write on the fresh row.
    [[nodiscard]] signal next_from([[maybe_unused]] versioned<row_type> fresh, [[maybe_unused]] error& e) {
        if constexpr (recomputes<Strategy>) {
            if (!compute(*fresh, e)) return signal::failed;
        } else if constexpr (merges<Strategy>) {
            next_.emplace(*fresh);
            if (!guarded_call(e, [&] { merged_ = strategy_.make(given_.base(), given_.value(), *fresh, *next_, result.fields); }))
                return signal::failed;
            if (!merged_) {
                log_.merge_conflict();
                next_.reset();
                end_with(write_status::merge_conflict, std::move(fresh));
                return signal::done;
            }
        }
        expected_.emplace(fresh.version());
        return signal::done;
    }
    /// What a caller did to the row that was read is no part of what is recomputed: it would be lost after a conflict, and only then.
    [[nodiscard]] const row_type& as_it_was_read() const {
        if constexpr (requires { given_.base(); })
            return given_.base();
        else
            return given_.value();
    }
    [[nodiscard]] bool compute(const row_type& from, error& e) {
        next_.emplace(from);
        return guarded_call(e, [&] { strategy_.make(*next_); });
    }
    /// What the user's function throws ends the write, which has not happened.
    template <class F>
    [[nodiscard]] bool guarded_call(error& e, F&& f) {
        try {
            f();
            return true;
        } catch (...) {
            thrown = std::current_exception();
            e = error{errc::user_exception, phase::execute};
            return false;
        }
    }

    template <class World>
    [[nodiscard]] STRATA_COLD static error stopped_in_pause(const operation_base& op, World& world) {
        if (op.is_cancelled()) return error{errc::cancelled, phase::execute};
        if (op.deadline != never && world.moment().now >= op.deadline)
            return error{errc::timeout, "the deadline passed before another try after a conflict", phase::execute};
        return {};
    }

    /// Nothing of a removal.
    [[nodiscard]] version_type next_version() const {
        if constexpr (counts_up)
            return static_cast<version_type>(*expected_ + 1);
        else
            return {};
    }
    [[nodiscard]] STRATA_COLD static error no_version_left() {
        return {errc::out_of_range, "the version is the greatest that the struct's member can hold", phase::admission};
    }
    [[nodiscard]] STRATA_COLD static error not_idempotent() {
        return {errc::invalid_argument,
                "recompute, and merge by sums, lists or functions, cannot be idempotent: repeated after a lost answer it would go on from "
                "what it may have written itself; leave call_options::idempotent out",
                phase::admission};
    }
    [[nodiscard]] STRATA_COLD static error several_rows() {
        return {errc::too_many_rows, "more than one row has this key: strata::mapping<T>::key names columns that are not unique",
                phase::result, effect::applied};
    }
    [[nodiscard]] STRATA_COLD static error key_was_changed() {
        return {errc::invalid_argument, "the key of a row that was read has been changed: insert another row, and remove this one",
                phase::admission};
    }

    const Given& given_;
    const Strategy& strategy_;
    conflict_log& log_;
    const repetition& repetition_;
    keys_type keys_;
    std::optional<version_type> expected_;
    std::optional<row_type> next_;  // where the strategy has made one
    time_point until_{};
    at at_ = at::begun;
    bool ended_ = false;
    bool merged_ = false;
    using write_statement = decltype(checked_statement<Table, Removes, Strategy::checks>(
        std::declval<const row_type*>(), std::declval<const keys_type&>(), std::declval<const std::optional<version_type>&>()));
    using read_statement = decltype(Table::find(std::declval<const keys_type&>()));
    using write_sink = std::conditional_t<tells_version, maybe_one_sink<version_type>, discard_sink>;
    std::optional<running_statement<connection, write_statement, write_sink>> writing_;
    std::optional<running_statement<connection, read_statement, versioned_sink<row_type>>> reading_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Versioned writes as one operation: one row, or many on one connection.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_WORK_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_WORK_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A caller may say `idempotent`. With `fail_fast` a write that is repeated finds the version that it wrote itself: nothing is done twice,
/// but the outcome is a conflict. What would go on from it, as if it were somebody else's, refuses (`Strategy::idempotent`).
consteval operation_facts facts_of_versioned_write(bool inside_transaction) {
    return {.kind = operation_kind::write, .idempotent = known::at_run_time, .inside_transaction = inside_transaction};
}

/// Tells the operation what it is.
template <class Write, class Op>
void describe_versioned_write(Op& op, const call_options& o) {
    op.statement = Write::text();
    op.tags = o.tags;
    op.priority = o.priority;
    op.run_time_idempotent = o.idempotent;
}

/// One write.
template <class Runtime, class Write>
class versioned_work {
    using connection = typename Runtime::driver::connection;

public:
    template <class... A>
    explicit versioned_work(Runtime& rt, A&&... a) : write_(std::forward<A>(a)...), rt_(rt) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        error e;
        const signal s = write_.resume(c, op, rt_.world(), e);
        if (s == signal::failed) result.replace(std::move(e));
        return s;
    }
    void end() noexcept { write_.end(); }
    [[nodiscard]] bool pauses() const noexcept { return write_.pauses(); }
    [[nodiscard]] time_point pauses_until() const noexcept { return write_.pauses_until(); }

    [[nodiscard]] const std::exception_ptr& thrown() const noexcept { return write_.thrown; }

private:
    Write write_;
    Runtime& rt_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Many versioned writes on one connection, as one operation: all or nothing, or each by itself.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_BATCH_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_BATCH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// An insert, as a part of a batch.
template <class Driver, class Table>
class versioned_insert {
    using connection = typename Driver::connection;
    using row_type = typename Table::row;
    using statement = decltype(Table::insert(std::declval<const row_type&>()));

public:
    using outcome_type = versioned<row_type>;

    versioned_insert(outcome_type& told, const row_type& row, const fail_fast&, conflict_log&, const repetition&) noexcept
        : result(told), row_(row) {}

    template <class World>
    [[nodiscard]] signal resume(connection& c, const operation_base&, World&, error& e) {
        if (!running_) running_.emplace(c, Table::insert(row_));
        const signal s = running_->query.resume();
        if (s == signal::failed) e = std::move(running_->query.failure());
        if (s == signal::done) result = std::move(running_->sink).take();
        return s;
    }
    [[nodiscard]] static bool pauses() noexcept { return false; }
    [[nodiscard]] static time_point pauses_until() noexcept { return never; }

    [[nodiscard]] static constexpr std::string_view text() { return Table::insert_text(); }

    outcome_type& result;
    std::exception_ptr thrown;

private:
    const row_type& row_;
    std::optional<running_statement<connection, statement, inserted_sink<row_type>>> running_;
};

/// A row of a batch on its way. `Given`: what `Write` is made of, made of an element.
template <class Write, class Given, class Element, class Strategy>
struct versioned_part {
    using outcome_type = typename Write::outcome_type;
    using write_type = Write;
    static Given given_of(const Element& element) {
        if constexpr (std::is_same_v<Given, const Element&>)
            return element;
        else
            return given_for(element);
    }
    versioned_part(const Element& element, const Strategy& s, conflict_log& log, const repetition& r)
        : given(given_of(element)), write(outcome, given, s, log, r) {}
    Given given;
    outcome_type outcome;
    Write write;
};

template <class T>
[[nodiscard]] bool was_written(const write_outcome<T>& o) noexcept {
    return static_cast<bool>(o);
}
template <class T>
[[nodiscard]] bool was_written(const versioned<T>&) noexcept {
    return true;
}

/// What the user's function threw, as the error of its row.
[[nodiscard]] STRATA_COLD inline error error_of_function(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
        return {errc::user_exception, e.what(), phase::execute};
    } catch (...) {
        return {errc::user_exception, "an exception that is no std::exception", phase::execute};
    }
}

/// `Together`: in a transaction, or behind the savepoint of `depth`, until a row is not written; else each by itself. `Rows` outlive it.
template <class Runtime, class Part, class Rows, class Strategy, bool Together>
class versioned_batch_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using iterator = decltype(std::begin(std::declval<const Rows&>()));

public:
    using outcome_type = typename Part::outcome_type;

    versioned_batch_work(Runtime& rt, const Rows& rows, const Strategy& strategy, conflict_log& log, const repetition& r,
                         unsigned depth) noexcept
        : rt_(rt), rows_(rows), strategy_(strategy), log_(log), repetition_(r), depth_(depth), plan_(plan_of(rt)) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!next_) begin();
        signal s = signal::done;
        if constexpr (Together)
            s = whole_->resume(c, op, rt_.world(), error_, [&](error& e) { return run(c, op, e); });
        else
            s = run(c, op, error_);
        if (s == signal::failed && stopped_) {
            if (error_.health() == health::good) return signal::done;  // the outcomes say why
            error_ = error{errc::connection_lost, "the rollback failed", phase::commit, effect::unknown}.set(health::lost);
        }
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        part_.reset();
        whole_.reset();
        next_.reset();
    }
    [[nodiscard]] bool pauses() const noexcept { return part_ && part_->write.pauses(); }
    [[nodiscard]] time_point pauses_until() const noexcept { return part_->write.pauses_until(); }

    /// Of each row that was come to; the last one is what stopped the batch, if something did.
    [[nodiscard]] std::vector<result<outcome_type>>& outcomes() noexcept { return outcomes_; }
    [[nodiscard]] bool stopped() const noexcept { return stopped_; }
    [[nodiscard]] const std::exception_ptr& thrown() const noexcept { return thrown_; }
    /// The operation's error as that of the row at which it failed: where rows before it stay, the operation's effect is theirs.
    [[nodiscard]] error of_row(error e) const noexcept {
        if (!Together && wrote_ && e.effect() == effect::applied) e.set(row_effect_);
        return e;
    }

private:
    void begin() {
        next_.emplace(std::begin(rows_));
        whole_.emplace(depth_, plan_);
        outcomes_.clear();
        error_ = {};
        thrown_ = nullptr;
        stopped_ = wrote_ = false;
    }

    [[nodiscard]] signal run(connection& c, const operation_base& op, error& e) {
        for (; part_ || *next_ != std::end(rows_); ++*next_) {
            if (!part_) {
                if (error why = strata::detail::stopped(op, rt_.world())) return give_up(std::move(why), e);
                part_.emplace(**next_, strategy_, log_, repetition_);
            }
            error failed;
            const signal s = part_->write.resume(c, op, rt_.world(), failed);
            if (!has_ended(s)) return s;
            if (part_->write.thrown && Together) thrown_ = part_->write.thrown;
            if (part_->write.thrown && !Together) failed = error_of_function(part_->write.thrown);
            if (s == signal::done)
                outcomes_.emplace_back(std::move(part_->outcome));
            else if (!Together && failed.health() == health::good)
                outcomes_.emplace_back(std::move(failed));
            else
                return part_.reset(), give_up(in_element(std::move(failed), outcomes_.size()), e);
            part_.reset();
            const bool written = outcomes_.back().has_value() && was_written(*outcomes_.back());
            wrote_ = wrote_ || written;
            if (Together && !written) {
                stopped_ = true;
                e = error{errc::user_error, "a row of the batch was not written", phase::execute};
                return signal::failed;
            }
        }
        return signal::done;
    }
    /// The operation fails here; what was written by itself stays.
    [[nodiscard]] signal give_up(error why, error& e) {
        e = std::move(why);
        row_effect_ = e.effect();
        if (!Together && wrote_ && e.effect() != effect::unknown) e.set(effect::applied);
        return signal::failed;
    }

    Runtime& rt_;
    const Rows& rows_;
    const Strategy& strategy_;
    conflict_log& log_;
    const repetition& repetition_;
    unsigned depth_;
    const transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    std::optional<iterator> next_;
    std::optional<Part> part_;
    std::vector<result<outcome_type>> outcomes_;
    error error_;
    std::exception_ptr thrown_;
    bool stopped_ = false;
    bool wrote_ = false;
    effect row_effect_ = effect::none;  // of the row at which the operation failed
};

/// What a batch is told to its caller as: each row's own result ...
template <class Outcome, bool Together>
struct batch_answer {
    using type = std::vector<result<Outcome>>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t) {
        return std::move(work.outcomes());
    }
    /// `e`: what ended the operation before all rows were come to.
    [[nodiscard]] static type finish(type&& all, std::size_t rows, error&& e) {
        if (e && all.size() < rows) all.emplace_back(std::move(e));
        while (all.size() < rows)
            all.emplace_back(error{errc::not_run, "a row of the batch before this one met an error that ended the batch", phase::execute});
        return std::move(all);
    }
};
/// ... one outcome for all of them ...
template <class T>
struct batch_answer<write_outcome<T>, true> {
    using type = batch_outcome<T>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t rows) {
        type all;
        all.rows.resize(rows);
        const std::size_t seen = work.outcomes().size();
        if (work.stopped()) all.failed = seen - 1;
        for (std::size_t i = work.stopped() ? seen - 1 : 0; i < seen; ++i) all.rows[i] = *std::move(work.outcomes()[i]);
        return all;
    }
    [[nodiscard]] static result<type> finish(type&& all, std::size_t, error&& e) {
        if (e) return std::move(e);
        return std::move(all);
    }
};
/// ... or the rows that were inserted.
template <class T>
struct batch_answer<versioned<T>, true> {
    using type = std::vector<versioned<T>>;
    template <class Work>
    [[nodiscard]] static type of(Work& work, std::size_t rows) {
        type all;
        all.reserve(rows);
        for (auto& o : work.outcomes()) all.push_back(*std::move(o));
        return all;
    }
    [[nodiscard]] static result<type> finish(type&& all, std::size_t, error&& e) {
        if (e) return std::move(e);
        return std::move(all);
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The calls of the blocking faces for versioned rows.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_CALLS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_CALLS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// `update_versioned<T>(key)`: what stands first is no T.
template <class T, class Key>
concept key_without_row = !std::is_convertible_v<const Key&, const T&>;

template <class Rows>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<const Rows&>()))>;

/// The part of a batch that writes a row.
template <class Policy, class Session, class Rows, class Strategy, bool Removes>
struct part_of_writes_type {
    static_assert(conflict_strategy<Strategy>,
                  "strata: what follows the rows is a strategy: strata::recompute{function}, strata::merge{rules...}, "
                  "strata::last_writer_wins{} or strata::fail_fast{}; after it call_options");
    static_assert(std::is_lvalue_reference_v<decltype(*std::begin(std::declval<const Rows&>()))>,
                  "strata: the rows of a batch lie in a container: std::vector<strata::versioned<T>>");
    using element = element_of<Rows>;
    using table = typename Policy::template table<typename row_of<element>::type, Session>;
    using given = decltype(given_for(std::declval<const element&>()));
    using type = versioned_part<versioned_write<typename Session::driver, table, given, Strategy, Removes>, given, element, Strategy>;
};
template <class Policy, class Session, class Rows, class Strategy, bool Removes>
using part_of_writes = typename part_of_writes_type<Policy, Session, Rows, Strategy, Removes>::type;
template <class Policy, class Session, class Rows>
struct part_of_inserts_type {
    using element = element_of<Rows>;
    using table = typename Policy::template table<element, Session>;
    using type = versioned_part<versioned_insert<typename Session::driver, table>, const element&, element, fail_fast>;
};
template <class Policy, class Session, class Rows>
using part_of_inserts = typename part_of_inserts_type<Policy, Session, Rows>::type;

/// Of `database`, transactions and sessions. The forms without `try_` throw `failure` for errors, never for a conflict. A row is given
/// as `find_versioned` returned it, or as a T that carries its version in the member of its version column. Keys: a value, or a tuple
/// for a key of several columns.
template <class Policy, class Self>
class versioned_calls {
public:
    /// The row with this key and its version; none if there is no such row. A read like others: it may be repeated.
    template <class T, class Key>
    [[nodiscard]] std::optional<versioned<T>> find_versioned(const Key& key, const call_options& o = no_call_options) {
        return try_find_versioned<T>(key, o).value();
    }
    template <class T, class Key>
    result<std::optional<versioned<T>>> try_find_versioned(const Key& key, const call_options& o = no_call_options) {
        using table = typename Policy::template table<T, Self>;
        return read<versioned_sink<T>>(table::find(table::key_from(key)), o);
    }

    /// Inserts the row, with 1 in its version column, and returns it as the database has it. A key that is there already is
    /// `errc::unique_violation`. Where the key of a removed row is used again, the new row's versions begin anew: whoever still holds the
    /// old row may then hold a version that the new one has.
    template <class T>
    versioned<T> insert_versioned(const T& row, const call_options& o = no_call_options) {
        return try_insert_versioned(row, o).value();
    }
    template <class T>
    result<versioned<T>> try_insert_versioned(const T& row, const call_options& o = no_call_options) {
        return read<inserted_sink<T>>(Policy::template table<T, Self>::insert(row), o);
    }

    /// Writes all columns of the row but its key, if it has the version that was read; else what the strategy says.
    template <class Row>
    auto update_versioned(const Row& row, const call_options& o = no_call_options) {
        return update_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto update_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return write_or_throw<typename row_of<Row>::type, false>(given_for(row), strategy, o);
    }
    template <class Row>
    auto try_update_versioned(const Row& row, const call_options& o = no_call_options) {
        return try_update_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto try_update_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return try_write<typename row_of<Row>::type, false>(given_for(row), strategy, o);
    }
    /// The same with the version beside the row.
    template <class T, class Version>
    auto update_versioned(const T& row, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return write_or_throw<T, false>(given_row_and_version<T, const T&>{row, Policy::template table<T, Self>::expected(expected)},
                                        fail_fast{}, o);
    }
    template <class T, class Version>
    auto try_update_versioned(const T& row, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return try_write<T, false>(given_row_and_version<T, const T&>{row, Policy::template table<T, Self>::expected(expected)},
                                   fail_fast{}, o);
    }
    /// Of the row with this key, read and written as often as it takes.
    template <class T, class Key, class F>
    write_outcome<T> update_versioned(const Key& key, const recompute<F>& strategy, const call_options& o = no_call_options) {
        return write_or_throw<T, false>(given_key<T, const Key&>{key}, strategy, o);
    }
    template <class T, class Key, class F>
    result<write_outcome<T>> try_update_versioned(const Key& key, const recompute<F>& strategy, const call_options& o = no_call_options) {
        return try_write<T, false>(given_key<T, const Key&>{key}, strategy, o);
    }
    /// Refused: a key by itself, or with what does not go with one.
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!recomputes<Other>)
    auto update_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<false, !key_without_row<T, Key>>();
    }
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!recomputes<Other>)
    auto try_update_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<false, !key_without_row<T, Key>>();
    }

    /// Removes the row if it has the version that was read. Strategies: `fail_fast`, `last_writer_wins`.
    template <class Row>
    auto remove_versioned(const Row& row, const call_options& o = no_call_options) {
        return remove_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto remove_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return write_or_throw<typename row_of<Row>::type, true>(given_for(row), strategy, o);
    }
    template <class Row>
    auto try_remove_versioned(const Row& row, const call_options& o = no_call_options) {
        return try_remove_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto try_remove_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return try_write<typename row_of<Row>::type, true>(given_for(row), strategy, o);
    }
    /// The same of a key with the version beside it.
    template <class T, class Key, class Version>
    write_outcome<T> remove_versioned(const Key& key, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return write_or_throw<T, true>(given_key_and_version<T, const Key&>{key, Policy::template table<T, Self>::expected(expected)},
                                       fail_fast{}, o);
    }
    template <class T, class Key, class Version>
    result<write_outcome<T>> try_remove_versioned(const Key& key, const expect_version<Version>& expected,
                                                  const call_options& o = no_call_options) {
        return try_write<T, true>(given_key_and_version<T, const Key&>{key, Policy::template table<T, Self>::expected(expected)},
                                  fail_fast{}, o);
    }
    /// Refused: a key by itself, or with what does not go with one.
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!is_expected_version<Other>)
    auto remove_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<true, !key_without_row<T, Key>>();
    }
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!is_expected_version<Other>)
    auto try_remove_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<true, !key_without_row<T, Key>>();
    }

    /// Batches, of a range of what the calls above take, on one connection and as one operation. `_all_`: all or nothing, in a transaction
    /// of their own or behind a savepoint; the first row that is not written, for whatever reason, stops it. `_each_`: every row by
    /// itself, with its own result, whatever becomes of the others (inside a transaction of PostgreSQL what follows an error fails too).
    /// Rows in the order of their keys cannot deadlock with other such batches.
    template <class Rows, class Strategy = fail_fast>
    auto update_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return try_update_all_versioned(rows, strategy, o).value();
    }
    template <class Rows, class Strategy = fail_fast>
    auto try_update_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, false>, true>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto update_each_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, false>, false>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto remove_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return try_remove_all_versioned(rows, strategy, o).value();
    }
    template <class Rows, class Strategy = fail_fast>
    auto try_remove_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, true>, true>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto remove_each_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, true>, false>(rows, strategy, o);
    }
    /// `std::vector<versioned<T>>`; the error of a row ends it, and names the row.
    template <class Rows>
    auto insert_all_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return try_insert_all_versioned(rows, o).value();
    }
    template <class Rows>
    auto try_insert_all_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return batch<inserts<Rows>, true>(rows, fail_fast{}, o);
    }
    template <class Rows>
    auto insert_each_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return batch<inserts<Rows>, false>(rows, fail_fast{}, o);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Sink, class Bound>
    auto read(const Bound& statement, const call_options& o) {
        using value = decltype(std::declval<Sink>().take());
        Sink sink;
        execution done;
        outcome ended;
        self().perform(statement, sink, done, o, ended);
        if (!ended.ok()) return result<value>{std::move(ended.error())};
        return result<value>{std::move(sink).take()};
    }

    template <class T, bool Removes, class Given, class Strategy>
    result<write_outcome<T>> try_write(const Given& given, const Strategy& strategy, const call_options& o) {
        result<write_outcome<T>> answer;
        if (error e = write<T, Removes>(given, strategy, o, *answer)) return e;
        return answer;
    }
    template <class T, bool Removes, class Given, class Strategy>
    write_outcome<T> write_or_throw(const Given& given, const Strategy& strategy, const call_options& o) {
        write_outcome<T> answer;
        if (error e = write<T, Removes>(given, strategy, o, answer)) throw_failure(std::move(e));
        return answer;
    }
    template <class T, bool Removes, class Given, class Strategy>
    error write(const Given& given, const Strategy& strategy, const call_options& o, write_outcome<T>& told) {
        using write_type = versioned_write<typename Self::driver, typename Policy::template table<T, Self>, Given, Strategy, Removes>;
        return self().on_source([&](auto& rt, auto& source, unsigned, const interruption* outer) {
            using work_type = versioned_work<std::remove_cvref_t<decltype(rt)>, write_type>;
            auto& policy = rt.template policy<Policy>();
            operation<facts_of_versioned_write(Self::where != scope::database)> op;
            describe_versioned_write<write_type>(op, o);
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            work_type work{rt, told, given, strategy, policy.log(), policy.repeats()};
            error failed = perform_work(rt, source, op, work);
            if (work.thrown()) [[unlikely]]
                std::rethrow_exception(work.thrown());
            return failed;
        });
    }

    template <class Rows, class Strategy, bool Removes>
    using writes = part_of_writes<Policy, Self, Rows, Strategy, Removes>;
    template <class Rows>
    using inserts = part_of_inserts<Policy, Self, Rows>;

    template <class Part, bool Together, class Rows, class Strategy>
    auto batch(const Rows& rows, const Strategy& strategy, const call_options& o) {
        using outcome_type = typename Part::outcome_type;
        using answer = batch_answer<outcome_type, Together>;
        typename answer::type value;
        error e = self().on_source([&](auto& rt, auto& source, unsigned depth, const interruption* outer) {
            using work_type = versioned_batch_work<std::remove_cvref_t<decltype(rt)>, Part, Rows, Strategy, Together>;
            auto& policy = rt.template policy<Policy>();
            operation<facts_of_batch(Self::where != scope::database)> op;
            describe_versioned_write<typename Part::write_type>(op, o);
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            work_type work{rt, rows, strategy, policy.log(), policy.repeats(), depth};
            error failed = perform_work(rt, source, op, work);
            if (work.thrown()) std::rethrow_exception(work.thrown());
            value = answer::of(work, std::size(rows));
            return work.of_row(std::move(failed));
        });
        return answer::finish(std::move(value), std::size(rows), std::move(e));
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Optimistic locking: rows with versions, and writes that are done only if the version is the one that was read.
//
//   using bank = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;
//
//   std::optional<strata::versioned<account>> row = db.find_versioned<account>(7);
//   (*row)->balance += 100;
//   if (auto done = db.update_versioned(*row)) row->written(done.version);
//   else if (done.status == strata::write_status::conflict) show(done.row);             // as it is now
//
//   db.update_versioned<account>(7, strata::recompute{[](account& a) { a.balance += 100; }});      // no update is lost
//   db.update_versioned(*row, strata::merge{strata::field<"balance">(strata::add_numbers)});       // puts both sides' changes together
//
// Table, key, version and columns are those of `strata::mapping<T>`. The check and the write are one statement. A call with all its tries
// is one operation: admitted once by the layers below, and each of its statements stands for itself, so what it tells about the effect of a
// failure is that of the statement which failed: those before it have written nothing. Inside a transaction it is part of that.
#ifndef STRATA_OPTIMISTIC_LOCKING_HPP
#define STRATA_OPTIMISTIC_LOCKING_HPP

namespace strata::inline STRATA_ABI {

struct optimistic_locking_options {
    unsigned max_attempts = 10;                      ///< writes that recompute and merge try; 1 to 1,000,000
    duration base = std::chrono::microseconds{500};  ///< bound of the first pause between tries, drawn with full jitter; not negative
    duration cap = std::chrono::milliseconds{50};    ///< bound of every pause; not below `base`. The connection is kept meanwhile
    std::size_t hot_keys = 16;                       ///< keys that are counted; at most 4,096
    std::size_t history = 64;                        ///< conflicts that are remembered; at most 65,536

    [[nodiscard]] error validate() const {
        if (max_attempts < 1 || max_attempts > 1'000'000)
            return detail::bad_option("optimistic_locking_options.max_attempts", "must lie in 1 to 1,000,000");
        if (base < duration::zero()) return detail::bad_option("optimistic_locking_options.base", "must not be negative");
        if (cap < base) return detail::bad_option("optimistic_locking_options.cap", "must not be less than base");
        if (cap > std::chrono::hours{1}) return detail::bad_option("optimistic_locking_options.cap", "must be at most an hour");
        if (hot_keys > 4096) return detail::bad_option("optimistic_locking_options.hot_keys", "must be at most 4,096");
        if (history > 65'536) return detail::bad_option("optimistic_locking_options.history", "must be at most 65,536");
        return {};
    }
};

/// The policy; it adds the members below to the faces of its stack, and has no part in other calls. `Way` says what versions are where a
/// mapping names no version column: `by_version_column` (then each must), `by_xmin`, `by_row_hash`. Thread-safe.
template <class Way = by_version_column>
class optimistic_locking {
public:
    using options = optimistic_locking_options;
    static constexpr auto place = strata::place::extend;

    explicit optimistic_locking(const options& o) : log_(o.hot_keys, o.history), repetition_{o.max_attempts, o.base, o.cap} {}

    [[nodiscard]] conflict_snapshot snapshot() const { return log_.snapshot(); }

    template <class T, class Session>
    using table = detail::versioned_table<T, Way, Session::dialect>;

    // For the calls.
    [[nodiscard]] detail::conflict_log& log() noexcept { return log_; }
    [[nodiscard]] const detail::repetition& repeats() const noexcept { return repetition_; }

    template <class Self>
    struct members : detail::versioned_calls<optimistic_locking, Self> {};
    template <class Self>
    struct async_members : detail::async_versioned_members<optimistic_locking, Self> {};

private:
    detail::conflict_log log_;
    detail::repetition repetition_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
