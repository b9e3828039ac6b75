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

template <class T>
[[nodiscard]] constexpr wanted_column wanted_as(std::string_view name) noexcept {
    return {name, codec<T>::name, classes_of<T>(), hint_of<T>()};
}

/// Where columns have types: whether they fit those that are wanted. `at`: the column of each, if not its own number.
template <row_reader Row>
[[nodiscard]] STRATA_COLD error check_classes(const Row& meta, std::span<const wanted_column> wanted, const std::uint16_t* at) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const int column = at != nullptr ? at[i] : static_cast<int>(i);
        const column_type found = meta.static_type(column);
        const wanted_column& w = wanted[i];
        if (found == column_type::null || w.takes.has(found)) continue;
        return column_error(errc::type_mismatch, meta.name(column), w.type, found, meta.declared_type(column), w.hint);
    }
    return {};
}
template <class T, row_reader Row>
void check_parts(const Row& meta, int column, error& e) {
    if constexpr (requires { codec<T>::fits(meta.type_of(column)); }) {
        if (!e && !codec<T>::fits(meta.type_of(column)))
            e = column_error(errc::type_mismatch, meta.name(column), codec<T>::name, meta.static_type(column), meta.declared_type(column),
                             hint_of<T>());
    }
}
template <class... T, row_reader Row>
[[nodiscard]] error check_types(const Row& meta, std::span<const wanted_column> wanted, const std::uint16_t* at) {
    if constexpr (requires { meta.static_type(0); }) {
        error e = check_classes(meta, wanted, at);
        int i = 0;
        (check_parts<T>(meta, at != nullptr ? at[i++] : i++, e), ...);
        return e;
    } else {
        return {};
    }
}

/// Tags tell plans apart. They are made of the wanted names and types, not of an address, which a plugin that was loaded anew may
/// reuse: two row types that want the same columns can share a plan. (FNV-1a; nobody chooses names to collide.)
[[nodiscard]] constexpr std::uint64_t tag_of(std::string_view kind, std::span<const wanted_column> wanted) noexcept {
    std::uint64_t hash = 14695981039346656037u;
    const auto add = [&hash](unsigned char c) { hash = (hash ^ c) * 1099511628211u; };
    const auto add_text = [&add](std::string_view text) {
        for (const char c : text) add(static_cast<unsigned char>(c));
        add(0);
    };
    add_text(kind);
    for (const wanted_column& w : wanted) {
        add_text(w.name);
        add_text(w.type);
        add(w.takes.bits());
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
    static constexpr wanted_column wanted[sizeof...(E) + 1] = {wanted_as<E>({})..., {}};
    static constexpr std::uint64_t tag = tag_of("#", {wanted, sizeof...(E)});

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        const std::size_t found = static_cast<std::size_t>(meta.size());
        if (found != sizeof...(E)) return column_count_error(found, {wanted, sizeof...(E)});
        p.reset(0);
        return check_types<E...>(meta, {wanted, sizeof...(E)}, nullptr);
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
/// `tag()` tells plans apart: keep a plan while tag and prepared statement stay the same. `plan` looks at names, and at types where
/// columns have them, so it may be asked before the first row or without any. `decode` writes all of `out`, or answers false with `e`
/// naming column, wanted and found type; a struct that was there before is then half overwritten. Errors: `missing_column`,
/// `invalid_statement` (a wanted name occurs twice), `type_mismatch`, `out_of_range`, `null_value`.
template <class T>
struct row_decoder {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::positional<T>::tag); }

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

    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(columns_of<detail::members<T>>::tag); }

    template <row_reader Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        p.tag = tag();
        return columns_of<detail::members<T>>::plan(meta, p);
    }
    template <row_reader Row>
    [[nodiscard]] STRATA_INLINE static bool decode(const Row& row, const row_plan& p, T& out, error& e) {
        const std::uint16_t* const at = p.columns(count);
        return decode_all(detail::members<T>{}, std::make_index_sequence<count>{}, row, at, out, e);
    }

private:
    template <class Members>
    struct columns_of;
    template <class... M>
    struct columns_of<detail::member_list<M...>> {
        static constexpr auto wanted = []<std::size_t... I>(std::index_sequence<I...>) {
            return std::array<detail::wanted_column, count>{detail::wanted_as<detail::member_type<M, T>>(column_names<T>[I])...};
        }(std::make_index_sequence<count>{});
        static constexpr std::uint64_t tag = detail::tag_of("struct", wanted);

        template <row_reader Row>
        [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
            if (error e = detail::plan_columns(meta, wanted, p)) return e;
            return detail::check_types<detail::member_type<M, T>...>(meta, wanted, p.columns(count));
        }
    };
    template <class... M, std::size_t... I, row_reader Row>
    STRATA_INLINE static bool decode_all(detail::member_list<M...>, std::index_sequence<I...>, const Row& row, const std::uint16_t* at,
                                         T& out, error& e) {
        return (detail::read_column(row, at[I], M::get(out), e) && ...);
    }
};

template <class... E>
struct row_decoder<std::tuple<E...>> {
    [[nodiscard]] static const void* tag() noexcept { return detail::tag_pointer(detail::positional<E...>::tag); }

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
