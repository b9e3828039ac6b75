// The compile-time side of `"..."_sql`: reads a literal under both dialects and lays out its descriptor.
//
// Each step is a constant of its own, so that each has the whole budget of constant evaluation that compilers allow.
// One variable a literal is emitted; its name carries the text, so everything else is kept out of it.
#ifndef STRATA_SQL_LITERAL_TEXT_HPP
#define STRATA_SQL_LITERAL_TEXT_HPP

#include <strata/sql/descriptor.hpp>
#include <strata/sql/fixed_string.hpp>
#include <strata/sql/reading.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

inline constexpr std::size_t literal_limit = 16 * 1024;

/// A literal under one dialect. `Capacity` is the number of colons in the text: there are no more parameters. Names are
/// found by hashing, or a literal of a thousand parameters would exceed the compilers' limits.
template <std::size_t Capacity>
struct literal_reading {
    reading read;
    std::size_t count = 0;                 // of occurrences
    std::size_t parameters = 0;            // of different names
    std::uint16_t begins[Capacity + 1]{};  // of each occurrence
    std::uint16_t ends[Capacity + 1]{};
    std::uint16_t numbers[Capacity + 1]{};  // of each occurrence: its parameter, from 0
    std::uint16_t firsts[Capacity + 1]{};   // of each parameter: its first occurrence

    constexpr void add(std::string_view text, const occurrence& o) {
        begins[count] = static_cast<std::uint16_t>(o.begin);
        ends[count] = static_cast<std::uint16_t>(o.end);
        numbers[count] = number_of(text, o.name(text));
        ++count;
    }

    [[nodiscard]] constexpr std::string_view name(std::string_view text, std::size_t parameter) const noexcept {
        const std::size_t o = firsts[parameter];
        return {text.data() + begins[o] + 1, static_cast<std::size_t>(ends[o] - begins[o] - 1)};
    }
    /// The parameter of this name, or `parameters`.
    [[nodiscard]] constexpr std::size_t find(std::string_view text, std::string_view wanted) const noexcept {
        const std::size_t b = bucket_of(text, wanted);
        return buckets[b] != 0 ? buckets[b] - 1U : parameters;
    }

private:
    constexpr std::uint16_t number_of(std::string_view text, std::string_view wanted) {
        const std::size_t b = bucket_of(text, wanted);
        if (buckets[b] == 0) {
            firsts[parameters++] = static_cast<std::uint16_t>(count);
            buckets[b] = static_cast<std::uint16_t>(parameters);
        }
        return static_cast<std::uint16_t>(buckets[b] - 1);
    }
    /// Where the name is, or would be.
    [[nodiscard]] constexpr std::size_t bucket_of(std::string_view text, std::string_view wanted) const noexcept {
        std::size_t hash = 0;
        for (const char c : wanted) hash = hash * 31 + static_cast<unsigned char>(c);
        std::size_t b = hash % bucket_count;
        while (buckets[b] != 0 && !same_text(name(text, buckets[b] - 1U), wanted)) b = (b + 1) % bucket_count;
        return b;
    }

    static constexpr std::size_t bucket_count = 2 * Capacity + 3;  // odd, and never full
    std::uint16_t buckets[bucket_count]{};                         // a parameter and one, or 0
};

/// A literal that is being read.
template <std::size_t Capacity>
struct literal_reader {
    text_reader reader;
    literal_reading<Capacity> found;

    constexpr literal_reader(std::string_view text, dialect d) : reader(text, d) {}

    [[nodiscard]] constexpr literal_reader read(std::string_view text, std::size_t until) const {
        literal_reader next = *this;
        next.reader.read(
            until, [](const token&) { return text_problem::none; },
            [&](const occurrence& o) {
                if (o.list) return text_problem::list;
                next.found.add(text, o);
                return text_problem::none;
            });
        next.found.read = next.reader.result();
        return next;
    }
};

/// Writes the text with placeholders that carry the numbers of `names`; `Same`: `names` is `r`. (No comparison of addresses: g++ 12
/// with UBSan takes none for a constant.)
template <bool Same, std::size_t Capacity>
constexpr void write_literal(text_writer& out, std::string_view text, dialect d, const literal_reading<Capacity>& r,
                             const literal_reading<Capacity>& names) {
    std::size_t from = 0;
    for (std::size_t i = 0; i < r.count; ++i) {
        out.put(std::string_view(text.data() + from, r.begins[i] - from));
        const std::size_t number = Same ? r.numbers[i] : names.find(text, r.name(text, r.numbers[i]));
        out.put_placeholder(d, static_cast<unsigned>(number + 1), r.begins[i] == 0 ? '\0' : text[r.begins[i] - 1U]);
        from = r.ends[i];
    }
    out.put(std::string_view(text.data() + from, text.size() - from));
    out.put('\0');
}

/// All that is found out about one literal.
template <fixed_string Text>
struct literal_text {
    static constexpr std::size_t count_colons() {
        std::size_t n = 0;
        for (const char c : Text.characters) n += c == ':' ? 1U : 0U;
        return n;
    }
    static constexpr std::string_view text = Text.view();

    /// Reads 4 KiB more in each step.
    template <dialect D, std::size_t Step>
    static constexpr auto read_to() {
        constexpr std::size_t until = (Step + 1) * 4096;
        if constexpr (Step == 0)
            return literal_reader<count_colons()>(text, D).read(text, until);
        else
            return steps<D, Step - 1>.read(text, until);
    }
    template <dialect D, std::size_t Step>
    static constexpr auto steps = read_to<D, Step>();

    static constexpr auto postgres = steps<dialect::postgres, Text.size() / 4096>.found;
    static constexpr auto read_sqlite() {
        if constexpr (postgres.read.neutral)
            return postgres;
        else
            return steps<dialect::sqlite, Text.size() / 4096>.found;
    }
    static constexpr auto sqlite = read_sqlite();
    static constexpr bool fits = postgres.read.fits() || sqlite.read.fits();

    static constexpr bool same_names() {
        if (!postgres.read.fits() || !sqlite.read.fits()) return true;
        if (postgres.parameters != sqlite.parameters) return false;
        for (std::size_t i = 0; i < sqlite.parameters; ++i)
            if (postgres.find(text, sqlite.name(text, i)) == postgres.parameters) return false;
        return true;
    }
    /// Both dialects see the same set of names, or only one fits. If they see it in different orders, PostgreSQL's counts.
    static constexpr bool same = same_names();
    /// The one whose list of names counts; the other one's counts beside it where `same` is false.
    static constexpr const auto& main = postgres.read.fits() ? postgres : sqlite;
    static constexpr const auto& sqlite_names = same ? main : sqlite;

    static constexpr void write(text_writer& out, dialect d) {
        if (d == dialect::postgres || postgres.read.neutral)
            write_literal<true>(out, text, d, postgres, postgres);
        else
            write_literal<!same || !postgres.read.fits()>(out, text, d, sqlite, sqlite_names);
    }
    /// The size of a rewritten text with its NUL; 0 where the text as it is serves, or does not fit.
    static constexpr std::size_t measure(dialect d) {
        text_writer out;
        if (!(d == dialect::postgres ? postgres : sqlite).read.fits() || main.count + sqlite.count == 0) return 0;
        write(out, d);
        return out.size;
    }
    template <dialect D>
    struct rewritten {
        static constexpr std::size_t size = measure(D);
        char characters[size + 1]{};

        constexpr rewritten() {
            text_writer out{characters};
            if (size > 0) write(out, D);
        }
    };
    static constexpr rewritten<dialect::postgres> postgres_rewritten{};
    static constexpr rewritten<dialect::sqlite> sqlite_rewritten{};

    /// The names of a list in their order, parted by commas: the part of a literal's type that its calls are checked with.
    template <bool Main>
    static constexpr auto joined_names() {
        constexpr std::size_t size = join_names<Main>(text_writer{}) + 1;
        char joined[size]{};
        join_names<Main>(text_writer{joined});
        return fixed_string<size>(joined);
    }
    template <bool Main>
    static constexpr std::size_t join_names(text_writer out) {
        const auto& r = Main ? main : sqlite_names;
        for (std::size_t i = 0; i < r.parameters; ++i) {
            if (i > 0) out.put(',');
            out.put(r.name(text, i));
        }
        return out.size;
    }

    /// The one object that is emitted: descriptors and every character they point to.
    struct storage {
        static constexpr std::size_t lists = same ? 1 : 2;
        static constexpr std::size_t names_count = main.parameters + (same ? 0 : sqlite_names.parameters);

        descriptor of[lists]{};  // by PostgreSQL's names and, where they differ, by SQLite's
        std::string_view names[names_count + 1]{};
        char characters[Text.size() + 1 + postgres_rewritten.size + sqlite_rewritten.size]{};

        constexpr storage() {
            text_writer out{characters};
            out.put(text);
            out.put('\0');
            const std::string_view written{characters, Text.size()};
            const std::string_view postgres_text = place(out, postgres.read, postgres_rewritten, written);
            const std::string_view sqlite_text = place(out, sqlite.read, sqlite_rewritten, written);
            const reading both = join_readings(postgres.read, sqlite.read);
            for (std::size_t i = 0; i < main.parameters; ++i) names[i] = main.name(written, i);
            of[0] = {written,   hash_text(text), sqlite_text,     postgres_text,  names, static_cast<std::uint16_t>(main.parameters),
                     both.kind, both.idempotent, both.statements, both.on_session};
            if constexpr (!same) {
                for (std::size_t i = 0; i < sqlite.parameters; ++i) names[main.parameters + i] = sqlite.name(written, i);
                of[1] = of[0];
                of[1].names = names + main.parameters;
                of[1].parameters = static_cast<std::uint16_t>(sqlite.parameters);
            }
        }

    private:
        template <class Rewritten>
        static constexpr std::string_view place(text_writer& out, const reading& r, const Rewritten& from, std::string_view written) {
            if (!r.fits()) return {};
            if (from.size == 0) return written;
            const std::size_t begin = out.size;
            out.put(std::string_view(from.characters, from.size));
            return {out.out + begin, from.size - 1};
        }
    };
    static constexpr storage stored{};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
