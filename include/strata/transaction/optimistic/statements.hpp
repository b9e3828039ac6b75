// The statements of optimistic locking, made at compile time from `strata::mapping<T>`. All names are quoted and every column is
// qualified by its table: SQLite would take an unknown quoted name that stands alone for a text.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_STATEMENTS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_STATEMENTS_HPP

#include <strata/sql/literal.hpp>
#include <strata/transaction/optimistic/versioned.hpp>
#include <strata/value/key_fit.hpp>

#include <array>
#include <concepts>
#include <tuple>

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
