// The words that decide a statement's facts: key words and names of functions, in sorted tables.
//
// Words are looked up by their first eight letters, folded to lower case and packed into a number: to compare two is one
// step of constant evaluation, and a word that is in no table, as most are, meets only those with its first letter.
#ifndef STRATA_SQL_WORDS_HPP
#define STRATA_SQL_WORDS_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// What a word means at the beginning of a statement, and what it may stand before.
enum class word_role : std::uint8_t {
    none,         ///< an ordinary identifier
    connective,   ///< a key word after which an operand or a parenthesis follows
    operand,      ///< a key word that may stand before a parenthesis without calling a function, such as a type
    query,        ///< select, values, table, with
    changing,     ///< insert, update, ...: begins a write, and makes one of a query that contains it
    writing,      ///< replace, truncate: begins a write; elsewhere an ordinary identifier
    ddl,          ///< create, alter, ...
    transaction,  ///< begin, commit, ...
    session,      ///< pragma, set, ...
    prepare,      ///< with `transaction` transaction control, else session
    start,        ///< with `transaction` transaction control
    explain,
};

/// Up to eight characters of a word as a number, the first highest. Setting the sixth bit folds ASCII letters; of the
/// characters that make up words no other two fall together with those of the tables.
[[nodiscard]] constexpr std::uint64_t fold_letters(const char* p, std::size_t size) noexcept {
    const std::size_t n = size < 8 ? size : 8;
    std::uint64_t letters = 0;
    for (std::size_t i = 0; i < n; ++i) letters = (letters << 8) | (static_cast<unsigned char>(p[i]) | 0x20U);
    return n == 0 ? 0 : letters << (64 - 8 * n);
}

[[nodiscard]] constexpr bool same_folded(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if ((static_cast<unsigned char>(a[i]) | 0x20U) != (static_cast<unsigned char>(b[i]) | 0x20U)) return false;
    return true;
}

/// An index over words in alphabetical order.
template <std::size_t Count>
struct word_index {
    std::string_view words[Count]{};
    std::uint64_t letters[Count]{};
    std::uint8_t begins[27]{};  // where the words with each first letter begin

    template <class Entry>
    constexpr explicit word_index(const Entry (&entries)[Count]) {
        static_assert(Count < 256);
        for (std::size_t i = 0; i < Count; ++i) {
            words[i] = entries[i];
            letters[i] = fold_letters(words[i].data(), words[i].size());
            ++begins[words[i].front() - 'a' + 1];
        }
        for (int letter = 1; letter < 27; ++letter) begins[letter] = static_cast<std::uint8_t>(begins[letter] + begins[letter - 1]);
    }
    [[nodiscard]] constexpr bool sorted() const noexcept {
        for (std::size_t i = 1; i < Count; ++i)
            if (words[i - 1] >= words[i]) return false;
        return true;
    }
    /// Index of the word, or `Count`.
    [[nodiscard]] constexpr std::size_t find(std::string_view word) const noexcept {
        const std::uint64_t wanted = fold_letters(word.data(), word.size());
        const std::uint64_t first = (wanted >> 56) - 'a';
        if (first > 25) return Count;
        for (std::size_t i = begins[first]; i < begins[first + 1]; ++i)
            if (letters[i] == wanted && (word.size() < 8 || same_folded(words[i], word))) return i;
        return Count;
    }
    [[nodiscard]] constexpr bool contains(std::string_view word) const noexcept { return find(word) != Count; }
};

struct key_word {
    std::string_view word;
    word_role role = word_role::none;

    constexpr operator std::string_view() const noexcept { return word; }  // NOLINT: an entry of an index
};

/// Words with a meaning, and a few ordinary ones that have one behind others (`for share`).
struct key_words {
    using enum word_role;
    static constexpr word_role n = none, c = connective, o = operand, q = query, m = changing, w = writing, d = ddl, t = transaction,
                               s = session;
    // clang-format off
    static constexpr key_word words[] = {
        {"abort", t}, {"all", o}, {"alter", d}, {"analyse", n}, {"analyze", n}, {"and", c}, {"any", o}, {"array", o}, {"as", c},
        {"atomic", n}, {"attach", s}, {"begin", t}, {"between", c}, {"bit", o}, {"by", c}, {"case", c}, {"char", o},
        {"character", o}, {"close", s}, {"comment", d}, {"commit", t}, {"create", d}, {"cross", c}, {"cube", o},
        {"deallocate", s}, {"decimal", o}, {"declare", s}, {"delete", m}, {"detach", s}, {"discard", s}, {"distinct", c},
        {"drop", d}, {"else", c}, {"end", t}, {"except", c}, {"exists", c}, {"explain", explain}, {"fetch", s}, {"filter", o},
        {"float", o}, {"for", n}, {"from", c}, {"grant", d}, {"group", o}, {"having", c}, {"ilike", c}, {"import", d},
        {"in", c}, {"insert", m}, {"intersect", c}, {"interval", o}, {"into", m}, {"is", c}, {"join", c}, {"key", n},
        {"lateral", c}, {"like", c}, {"limit", c}, {"listen", s}, {"load", s}, {"materialized", o}, {"merge", m}, {"move", s},
        {"not", c}, {"numeric", o}, {"offset", c}, {"on", c}, {"or", c}, {"over", o}, {"pragma", s}, {"precision", o},
        {"prepare", prepare}, {"reassign", d}, {"refresh", d}, {"release", t}, {"replace", w}, {"reset", s}, {"returning", c},
        {"revoke", d}, {"rollback", t}, {"rollup", o}, {"row", o}, {"savepoint", t}, {"security", d}, {"select", q}, {"set", s},
        {"share", n}, {"show", s}, {"some", o}, {"start", start}, {"table", q}, {"then", c}, {"time", o}, {"timestamp", o},
        {"transaction", n}, {"trigger", n}, {"truncate", w}, {"union", c}, {"unlisten", s}, {"update", m}, {"using", c},
        {"values", q}, {"varchar", o}, {"when", c}, {"where", c}, {"with", q}};
    // clang-format on
    static constexpr std::size_t count = sizeof(words) / sizeof(words[0]);
    static constexpr word_index<count> index{words};

    /// The role of the word at an index that `index.find` returned.
    [[nodiscard]] static constexpr word_role role(std::size_t i) noexcept { return i < count ? words[i].role : none; }
};
static_assert(key_words::index.sorted());

/// Functions that compute their value from their arguments, the rows or the time, and change nothing: a read that calls
/// no others may be repeated.
struct pure_functions {
    // clang-format off
    static constexpr std::string_view words[] = {
        "abs", "acos", "age", "array_agg", "array_length", "array_position", "asin", "atan", "atan2", "avg", "bit_length",
        "bool_and", "bool_or", "btrim", "cast", "cbrt", "ceil", "ceiling", "char_length", "chr", "coalesce", "concat",
        "concat_ws", "cos", "count", "cume_dist", "date", "date_part", "date_trunc", "datetime", "degrees", "dense_rank", "div",
        "every", "exp", "extract", "first_value", "floor", "format", "generate_series", "glob", "greatest", "group_concat",
        "grouping", "hex", "ifnull", "iif", "initcap", "instr", "json", "json_agg", "json_array", "json_array_length",
        "json_each", "json_extract", "json_object", "json_type", "json_valid", "jsonb_agg", "jsonb_array_length", "julianday",
        "lag", "last_value", "lead", "least", "left", "length", "ln", "log", "log10", "log2", "lower", "lpad", "ltrim", "max",
        "md5", "min", "mod", "now", "nth_value", "ntile", "nullif", "octet_length", "overlay", "percent_rank", "percentile_cont",
        "percentile_disc", "pi", "position", "pow", "power", "printf", "quote", "radians", "rank", "regexp_replace", "repeat",
        "replace", "reverse", "right", "round", "row_number", "rpad", "rtrim", "sign", "sin", "split_part", "sqrt", "stddev",
        "stddev_pop", "stddev_samp", "strftime", "string_agg", "strpos", "substr", "substring", "sum", "tan", "to_char",
        "to_date", "to_number", "to_timestamp", "total", "translate", "trim", "trunc", "typeof", "unicode", "unistr", "unixepoch",
        "unnest", "upper", "var_pop", "var_samp", "variance"};
    // clang-format on
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};
};
static_assert(pure_functions::index.sorted());

/// Functions that change something or answer about their own connection: a query that calls one is no read, for on a
/// reader or a replica it fails or answers for the wrong connection.
struct writing_functions {
    // clang-format off
    static constexpr std::string_view words[] = {
        "changes", "currval", "last_insert_rowid", "lastval", "load_extension", "nextval", "pg_current_xact_id",
        "pg_export_snapshot", "pg_notify", "set_config", "setseed", "setval", "total_changes", "txid_current"};
    // clang-format on
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};

    /// The same for families: pg_advisory_lock, pg_try_advisory_xact_lock, lo_create, dblink_exec, ...
    [[nodiscard]] static constexpr bool contains(std::string_view word) noexcept {
        constexpr std::string_view families[] = {"dblink", "lo_", "pg_advisory", "pg_create", "pg_drop", "pg_try_advisory"};
        for (const std::string_view family : families)
            if (word.size() > family.size() && same_folded(word.substr(0, family.size()), family)) return true;
        return index.contains(word);
    }
};
static_assert(writing_functions::index.sorted());

/// Those of them that neither set anything for their session nor ask about it.
struct passing_functions {
    static constexpr std::string_view words[] = {"nextval", "pg_current_xact_id", "pg_notify", "setval", "txid_current"};
    static constexpr word_index<sizeof(words) / sizeof(words[0])> index{words};
};
static_assert(passing_functions::index.sorted());

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
