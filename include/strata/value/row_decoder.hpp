// Rows into C++ values: structs by column name, tuples and pairs by position, single values.
//
// Columns are found once a statement (`plan`); a row then costs one class check and one direct read a column. A database that
// types values and not columns (SQLite) may hold a text in an integer column: so the class is checked with every value.
#ifndef STRATA_VALUE_ROW_DECODER_HPP
#define STRATA_VALUE_ROW_DECODER_HPP

#include <strata/value/codec.hpp>
#include <strata/value/mapping.hpp>
#include <strata/value/row_error.hpp>
#include <strata/value/row_plan.hpp>

#include <tuple>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

template <row_reader Row>
STRATA_COLD void column_failed(const Row& row, int column, errc code, std::string_view wanted, std::string_view hint, error& e) {
    e = column_error(code, row.name(column), wanted, row.column(column).type(), row.declared_type(column), hint);
}

template <class T, row_reader Row>
STRATA_INLINE bool read_column(const Row& row, int column, T& out, error& e) {
    const auto& in = row.column(column);
    static_assert(column_of<T, std::remove_cvref_t<decltype(in)>>,
                  "strata: this type can be a parameter but not a column; read std::string for text, strata::blob for bytes");
    const errc code = codec<T>::read(in, out);
    if (code == errc::ok) [[likely]] return true;
    column_failed(row, column, code, codec<T>::name, hint_of<T>(), e);
    return false;
}

template <row_reader Row>
[[nodiscard]] STRATA_COLD error plan_columns(const Row& meta, std::span<const wanted_column> wanted, row_plan& p) {
    const std::size_t count = static_cast<std::size_t>(meta.size());
    const heap_array<std::string_view> names(count);
    for (std::size_t i = 0; i < count; ++i) names[i] = meta.name(static_cast<int>(i));
    return plan_by_name({names.data(), count}, wanted, p);
}

/// Tags tell plans apart. They are made of the wanted names, not of an address, which a plugin that was loaded anew may reuse:
/// two types that want the same columns can share a plan. (FNV-1a; nobody chooses names to collide.)
[[nodiscard]] constexpr std::uint64_t tag_of(std::string_view kind, std::span<const std::string_view> names) noexcept {
    std::uint64_t hash = 14695981039346656037u;
    const auto add = [&hash](char c) { hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u; };
    for (const char c : kind) add(c);
    for (const std::string_view n : names) {
        add('\0');
        for (const char c : n) add(c);
    }
    return hash | 1;  // not that of rows that need no plan
}

[[nodiscard]] inline const void* tag_pointer(std::uint64_t hash) noexcept {
    return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(hash));
}

/// True when T keeps a view into the row.
template <class T>
struct keeps_view {
    static constexpr bool value = is_view<T>();
};
template <class... E>
struct keeps_view<std::tuple<E...>> {
    static constexpr bool value = (is_view<E>() || ...);
};
template <class A, class B>
struct keeps_view<std::pair<A, B>> : keeps_view<std::tuple<A, B>> {};

template <class T>
concept struct_row = adapted_struct<T> && !has_codec<T>;

template <struct_row T>
struct keeps_view<T> {
    static constexpr bool value = []<class... M>(member_list<M...>) { return (is_view<member_type<M, T>>() || ...); }(members<T>{});
};

/// Columns by position, exactly as many as elements.
template <class... E>
struct positional {
    static constexpr wanted_column wanted[sizeof...(E) + 1] = {{{}, codec<E>::name}..., {}};

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        const std::size_t found = static_cast<std::size_t>(meta.size());
        if (found != sizeof...(E)) return column_count_error(found, {wanted, sizeof...(E)});
        p.reset(0);
        return {};
    }
};

}  // namespace detail

/// How a row becomes a T. T is one of
/// * a struct adapted by Hana or Boost.Describe: by column name, as its `mapping` renames them; a name that is equal is preferred
///   to one that is equal but for the case of ASCII letters; columns that no member has are ignored;
/// * `std::tuple`, `std::pair`: by position, with exactly as many columns;
/// * a type with a codec: exactly one column;
/// * `strata::row` (strata/value/row.hpp): whatever there is.
///
/// `tag()` tells plans apart: keep a plan while tag and prepared statement stay the same. `plan` looks at names only, so it may be
/// asked before the first row or without any. `decode` writes all of `out`, or answers false with `e` naming column, wanted and
/// found type; a struct that was there before is then half overwritten. Errors: `missing_column`, `invalid_statement` (a wanted name
/// occurs twice), `type_mismatch`, `out_of_range`, `null_value`.
template <class T>
struct row_decoder {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::tag_of("#1", {})); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return detail::positional<T>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, T& out, error& e) {
        return detail::read_column(row, 0, out, e);
    }
};

template <detail::struct_row T>
struct row_decoder<T> {
    static constexpr std::size_t count = member_count<T>;
    static_assert(count > 0, "strata: a row type needs a member");

    [[nodiscard]] static const void* tag() noexcept {
        constexpr std::uint64_t hash = detail::tag_of("struct", column_names<T>);
        return detail::tag_pointer(hash);
    }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return detail::plan_columns(meta, wanted(detail::members<T>{}, std::make_index_sequence<count>{}), p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan& p, T& out, error& e) {
        const std::uint16_t* const at = p.columns(count);
        return decode_all(detail::members<T>{}, std::make_index_sequence<count>{}, row, at, out, e);
    }

private:
    template <class... M, std::size_t... I>
    static std::span<const detail::wanted_column> wanted(detail::member_list<M...>, std::index_sequence<I...>) noexcept {
        static constexpr detail::wanted_column all[] = {{column_names<T>[I], codec<detail::member_type<M, T>>::name}...};
        return all;
    }
    template <class... M, std::size_t... I, row_reader Row>
    STRATA_INLINE static bool decode_all(detail::member_list<M...>, std::index_sequence<I...>, const Row& row, const std::uint16_t* at,
                                         T& out, error& e) {
        return (detail::read_column(row, at[I], M::get(out), e) && ...);
    }
};

template <class... E>
struct row_decoder<std::tuple<E...>> {
    [[nodiscard]] static const void* tag() noexcept {
        static constexpr char digits[] = {'#', static_cast<char>('0' + sizeof...(E) / 10 % 10), static_cast<char>('0' + sizeof...(E) % 10)};
        constexpr std::uint64_t hash = detail::tag_of({digits, sizeof(digits)}, {});
        return detail::tag_pointer(hash);
    }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return detail::positional<E...>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, std::tuple<E...>& out, error& e) {
        return decode_all(std::index_sequence_for<E...>{}, row, out, e);
    }

private:
    template <std::size_t... I, row_reader Row>
    STRATA_INLINE static bool decode_all(std::index_sequence<I...>, const Row& row, std::tuple<E...>& out, error& e) {
        return (detail::read_column(row, static_cast<int>(I), std::get<I>(out), e) && ...);
    }
};

template <class A, class B>
struct row_decoder<std::pair<A, B>> {
    [[nodiscard]] static const void* tag() noexcept { return row_decoder<std::tuple<A, B>>::tag(); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return row_decoder<std::tuple<A, B>>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan&, std::pair<A, B>& out, error& e) {
        return detail::read_column(row, 0, out.first, e) && detail::read_column(row, 1, out.second, e);
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
