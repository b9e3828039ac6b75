// A row with the version that it had when it was read, and what becomes of a write that is checked against it.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_VERSIONED_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_VERSIONED_HPP

#include <strata/core/error.hpp>
#include <strata/value/mapping.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
