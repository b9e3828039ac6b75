// Calls of a session whose headers the user chooses to include: what they are until then, a compile error that names the header.
#ifndef STRATA_OPTIONAL_CALLS_HPP
#define STRATA_OPTIONAL_CALLS_HPP

#include <strata/core/result.hpp>
#include <strata/core/time.hpp>
#include <strata/sql/fixed_string.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

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

/// Filled in by copy.hpp, pipeline.hpp and row_lock.hpp, so that this file does not know them.
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

template <class Session, bool RowLockIncluded>
struct row_lock_calls {
    template <class T, class... Any>
    static T row(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: row locks need  #include <strata/row_lock.hpp>");
        return T{};
    }
    template <class T, fixed_string, class... Any>
    static std::vector<T> rows(const Any&... any) {
        return {row<T>(any...)};
    }
    template <class... Any>
    static int timeout(const Any&... any) {
        return row<int>(any...);
    }
};

/// Inside a transaction: rows that nobody else changes until it ends. See `strata/row_lock.hpp`, where the locks are.
template <class Self>
class row_lock_members {
    using locks = row_lock_calls<Self, true>;

public:
    /// Locks the row of this key (a tuple, where the key has several columns) and reads it: `lock_one<account>(7)`, and where wanted
    /// how it is locked, and `call_options`. `errc::no_rows` where there is none, and with `skip_locked` where somebody holds it.
    template <class T, class Key, class... More>
    T lock_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template one<T>(s, o...); }, key, more...);
    }
    template <class T, class Key, class... More>
    result<T> try_lock_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template try_one<T>(s, o...); }, key,
                                      more...);
    }
    /// The same where the row may be missing.
    template <class T, class Key, class... More>
    std::optional<T> lock_maybe_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template maybe_one<T>(s, o...); }, key,
                                      more...);
    }
    template <class T, class Key, class... More>
    result<std::optional<T>> try_lock_maybe_one(const Key& key, const More&... more) {
        return locks::template row<T>([this](const auto& s, const auto&... o) { return self().template try_maybe_one<T>(s, o...); }, key,
                                      more...);
    }
    /// Up to `most` rows that nobody holds, the first ones by their key, locked `for update`: a queue's workers never wait for each other
    /// nor get the same row. The condition is SQL, a part of the program's text; it takes named arguments:
    /// `claim<job, "queue = :queue">(10, "queue"_arg = name)`.
    template <class T, fixed_string Condition = "true", class... More>
    std::vector<T> claim(std::int64_t most, const More&... more) {
        return locks::template rows<T, Condition>([this](const auto& s, const auto&... o) { return self().template all<T>(s, o...); }, most,
                                                  more...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    result<std::vector<T>> try_claim(std::int64_t most, const More&... more) {
        return locks::template rows<T, Condition>([this](const auto& s, const auto&... o) { return self().template try_all<T>(s, o...); },
                                                  most, more...);
    }
    /// From here on no statement of this transaction waits longer than this for a lock of any kind, a row's, a table's or an advisory one:
    /// it ends with `errc::lock_not_available`. Rounded up to milliseconds; zero: as long as it takes. A round trip. A savepoint that is
    /// rolled back takes it back.
    void set_lock_timeout(duration limit) {
        locks::timeout([this](const auto& s) { self().execute(s); }, limit);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

/// The same for asynchronous sessions: what they complete with, options and tokens are those of `async_one`, `async_all` and so on.
template <class Self>
class async_row_lock_members {
    using locks = row_lock_calls<Self, true>;

public:
    template <class T, class Key, class... More>
    auto async_lock_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_try_lock_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_lock_maybe_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_maybe_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, class Key, class... More>
    auto async_try_lock_maybe_one(const Key& key, More&&... more) {
        return locks::template row<T>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_maybe_one<T>(s, std::forward<O>(o)...); }, key,
            std::forward<More>(more)...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    auto async_claim(std::int64_t most, More&&... more) {
        return locks::template rows<T, Condition>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_all<T>(s, std::forward<O>(o)...); }, most,
            std::forward<More>(more)...);
    }
    template <class T, fixed_string Condition = "true", class... More>
    auto async_try_claim(std::int64_t most, More&&... more) {
        return locks::template rows<T, Condition>(
            [this]<class... O>(const auto& s, O&&... o) { return self().template async_try_all<T>(s, std::forward<O>(o)...); }, most,
            std::forward<More>(more)...);
    }
    /// Completes as `async_execute` does.
    template <class... More>
    auto async_set_lock_timeout(duration limit, More&&... more) {
        return locks::timeout([this]<class... O>(const auto& s, O&&... o) { return self().async_execute(s, std::forward<O>(o)...); }, limit,
                              std::forward<More>(more)...);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
