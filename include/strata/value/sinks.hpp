// Where the rows of a statement go: into one value, none or one, all, batches, nowhere.
#ifndef STRATA_VALUE_SINKS_HPP
#define STRATA_VALUE_SINKS_HPP

#include <strata/value/any_row.hpp>
#include <strata/value/row_decoder.hpp>

#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

/// What a sink says after a row.
enum class flow : std::uint8_t {
    more,   ///< the next row
    pause,  ///< not before I am asked again: a batch is full
    stop    ///< no further row: enough, or the error is set
};

/// Takes the rows of one statement, attempt by attempt; `Row` is the driver's. A sink that pauses says
/// `static constexpr bool one_by_one = true`: it is given rows as they arrive, where others wait for the whole result.
template <class S, class Row = any_row>
concept row_sink = requires(S& s, const Row& row, row_plan& plan, const row_plan& made, error& e) {
    // `tag()` is missing: which plan the rows need; nullptr when none (row_decoder<T>::tag()).
    { s.tag() } -> std::convertible_to<const void*>;
    // `plan(row, row_plan&)` is missing: finds the columns, once a statement; also asked when there is no row at all.
    { s.plan(row, plan) } -> std::same_as<error>;
    // `row(row, const row_plan&, error&)` is missing: takes one row; `stop` with the error set when it cannot.
    { s.row(row, made, e) } -> std::same_as<flow>;
    // `finish(error&)` is missing: after the last row, not after `stop`; may set the error (no_rows).
    s.finish(e);
    // `restart()` is missing: before another attempt; forgets what the attempt before has delivered.
    s.restart();
};

namespace detail {

[[nodiscard]] STRATA_COLD inline error no_rows_error() {
    return error{errc::no_rows, "the statement returned no row, but exactly one was wanted", phase::result};
}
[[nodiscard]] STRATA_COLD inline error too_many_rows_error() {
    return error{errc::too_many_rows, "the statement returned more than one row", phase::result};
}

/// What sinks that keep rows as T share.
template <class T>
class decoding_sink {
    static_assert(std::is_default_constructible_v<T>,
                  "strata: a row is read into a default-constructed object; give this type a default constructor");
    static_assert(!keeps_view<T>::value,
                  "strata: this type keeps a view (std::string_view, std::span) into the row, which is gone when the call returns; use "
                  "std::string or strata::blob, or read the rows one by one with rows()");

public:
    /// Whoever wants rows asks for no number of changed ones.
    static constexpr bool wants_count = false;
    [[nodiscard]] static const void* tag() noexcept { return row_decoder<T>::tag(); }
    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return row_decoder<T>::plan(meta, p);
    }
};

}  // namespace detail

/// At most one row. `Held` is `std::optional<T>&` for a value that lies with the caller.
template <class T, class Held = std::optional<T>>
class maybe_one_sink : public detail::decoding_sink<T> {
public:
    maybe_one_sink() requires(!std::is_reference_v<Held>) = default;
    explicit maybe_one_sink(std::optional<T>& value) noexcept requires std::is_reference_v<Held> : value_(value) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if (value_) {
            e = detail::too_many_rows_error();
            return flow::stop;
        }
        return row_decoder<T>::decode(r, p, value_.emplace(), e) ? flow::more : flow::stop;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { value_.reset(); }

    /// The value that was read. Call when the statement went well.
    [[nodiscard]] std::optional<T> take() && { return std::move(value_); }
    /// Where the value lies, for a layer that answers in the database's stead.
    [[nodiscard]] std::optional<T>& value() noexcept { return value_; }

private:
    Held value_;
};

/// Exactly one row. `Held` is `T&` for a value that lies with the caller, fresh.
template <class T, class Held = T>
class one_sink : public detail::decoding_sink<T> {
public:
    one_sink() requires(!std::is_reference_v<Held>) : value_{} {}
    explicit one_sink(T& value) noexcept requires std::is_reference_v<Held> : value_(value) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if (found_) [[unlikely]] {
            e = detail::too_many_rows_error();
            return flow::stop;
        }
        found_ = true;
        return row_decoder<T>::decode(r, p, value_, e) ? flow::more : flow::stop;
    }
    void finish(error& e) {
        if (!found_) [[unlikely]] e = detail::no_rows_error();
    }
    void restart() {
        found_ = false;
        value_ = T{};
    }

    /// The value that was read. Call when the statement went well.
    [[nodiscard]] T take() && { return std::move(value_); }
    [[nodiscard]] T& value() noexcept { return value_; }

private:
    Held value_;
    bool found_ = false;
};

/// All rows, in memory. `Held` is `std::vector<T>&` for rows that lie with the caller.
template <class T, class Held = std::vector<T>>
class all_sink : public detail::decoding_sink<T> {
public:
    all_sink() requires(!std::is_reference_v<Held>) = default;
    explicit all_sink(std::vector<T>& rows) noexcept requires std::is_reference_v<Held> : rows_(rows) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if constexpr (std::is_same_v<T, bool>) {  // std::vector<bool> has no bool to refer to
            bool value = false;
            if (!row_decoder<bool>::decode(r, p, value, e)) return flow::stop;
            rows_.push_back(value);
        } else {
            if (!row_decoder<T>::decode(r, p, rows_.emplace_back(), e)) [[unlikely]] return flow::stop;
        }
        return flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { rows_.clear(); }

    /// The rows that were read. Call when the statement went well.
    [[nodiscard]] std::vector<T> take() && { return std::move(rows_); }
    [[nodiscard]] std::vector<T>& value() noexcept { return rows_; }

private:
    Held rows_;
};

/// Rows in batches: pauses when `limit` rows lie in `batch()`; the consumer takes them and lets the statement go on.
template <class T>
class batch_sink : public detail::decoding_sink<T> {
public:
    static constexpr bool one_by_one = true;
    explicit batch_sink(std::size_t limit) noexcept : limit_(limit == 0 ? 1 : limit) {}

    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE flow row(const Row& r, const row_plan& p, error& e) {
        if constexpr (std::is_same_v<T, bool>) {
            bool value = false;
            if (!row_decoder<bool>::decode(r, p, value, e)) return flow::stop;
            rows_.push_back(value);
        } else if (!row_decoder<T>::decode(r, p, rows_.emplace_back(), e)) {
            rows_.pop_back();
            return flow::stop;
        }
        return rows_.size() >= limit_ ? flow::pause : flow::more;
    }
    void finish(error&) noexcept {}
    void restart() noexcept { rows_.clear(); }

    /// The rows since the last `clear()`: at most `limit`, fewer after the last row.
    [[nodiscard]] std::vector<T>& batch() noexcept { return rows_; }
    void clear() noexcept { rows_.clear(); }

private:
    std::vector<T> rows_;
    std::size_t limit_;
};

/// Rows nobody wants.
class discard_sink {
public:
    [[nodiscard]] static const void* tag() noexcept { return nullptr; }
    template <row_reader Row>
    [[nodiscard]] static error plan(const Row&, row_plan& p) noexcept {
        p.tag = nullptr;
        return {};
    }
    template <row_reader Row>
    [[nodiscard]] static flow row(const Row&, const row_plan&, error&) noexcept {
        return flow::more;
    }
    static void finish(error&) noexcept {}
    static void restart() noexcept {}
};

}  // namespace strata::inline STRATA_ABI

#endif
