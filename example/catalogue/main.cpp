// A catalogue of characters: a real file, imported in one transaction, streamed back, looked up by name.
//
// character.hpp is where to begin to read: the struct, its table, the statements.
#include "unicode_data.hpp"

#include "../common/flags.hpp"
#include "../common/interrupt.hpp"
#include "../common/progress.hpp"
#include "../common/scratch_folder.hpp"

#include <cstdio>
#include <fstream>
#include <map>
#include <vector>

namespace catalogue {

constexpr const char* default_file = "/usr/share/unicode/UnicodeData.txt";

struct options {
    std::string file = default_file;
    std::string database;
    std::string export_to;
    std::vector<std::string> names;
    bool import = true;
    bool help = false;
};

constexpr const char* help =
    R"(usage: catalogue [OPTION]... [FILE]

Imports FILE, by default Unicode's UnicodeData.txt (Debian: package unicode-data), into a table of an SQLite database, in
one transaction: a broken row is told by its line and field, and then nothing of the file is kept. Streams the table
back, a row in memory at a time, and looks up characters by name.

  --find NAME       look up this character, for example 'snowman'; may be given several times
  --export FILE     write what is streamed back to FILE: it equals the file that was imported
  --database FILE   where the table lies. Without it: in a temporary file (in TMPDIR), removed at the end
  --no-import       look into the table that is in the database already
  -h, --help        this

The status is 0 when all went well, 1 for a broken file or a name that is not found, 2 for a wrong option or a file that
cannot be used.
)";

static options parse(int argc, char** argv) {
    options o;
    example::command_line line(argc, argv);
    bool file_given = false;
    while (line.next()) {
        if (line.is("--find")) o.names.push_back(line.text());
        else if (line.is("--export")) o.export_to = line.text();
        else if (line.is("--database")) o.database = line.text();
        else if (line.is("--no-import")) o.import = false;
        else if (line.is("--help") || line.is("-h")) o.help = true;
        else if (line.is_flag()) throw example::usage_error("there is no option " + line.name() + "; try --help");
        else if (std::exchange(file_given, true)) throw example::usage_error("one file at a time, please: " + line.name());
        else o.file = line.name();
    }
    if (!o.import && file_given) throw example::usage_error("--no-import and a file to import");
    if (!o.import && o.database.empty()) throw example::usage_error("--no-import needs --database FILE");
    if (o.names.empty()) o.names = {"snowman", "Greek small letter alpha", "Latin small letter e with acute"};
    return o;
}

// Where in the file something is wrong.
static std::string at(const options& o, std::int64_t line) { return o.file + ":" + std::to_string(line) + ": "; }

// Imports the file; how many rows there were. When anything is thrown, the database is as it was before.
static std::int64_t import(database& db, const options& o) {
    std::ifstream in(o.file, std::ios::ate | std::ios::binary);
    const std::int64_t size = in.tellg();
    in.seekg(0);
    if (!in || (in.peek() == std::ifstream::traits_type::eof() && size > 0)) {
        const char* const hint = o.file == default_file ? ": install the package unicode-data, or name another file" : "";
        throw example::usage_error("cannot read " + o.file + hint);
    }

    // `once`: a file that was read cannot be read again, so the closure must not be repeated.
    return db.transaction(strata::once([&](auto& tx) {
        tx.execute(drop_table);
        tx.execute(create_table);
        example::progress bar("importing", size);
        std::int64_t number = 0;
        for (std::string line; std::getline(in, line);) {
            ++number;
            if (line.ends_with('\r')) line.pop_back();
            try {
                tx.execute(strata::bind_members(insert, parse_line(line)));
            } catch (const broken_row& b) {
                throw broken_row(at(o, number) + b.what());
            } catch (const strata::failure& f) {
                if (f.code() != strata::errc::unique_violation) throw;
                throw broken_row(at(o, number) + "field 0 (code point): is there twice");
            }
            if (example::interrupted) throw std::runtime_error("interrupted: nothing of the file is kept");
            if (number % 256 == 0) bar.show(in.tellg());
        }
        if (in.bad() || number == 0) throw std::runtime_error(o.file + (in.bad() ? ": reading failed" : ": is empty"));
        tx.execute(create_index);
        bar.show(size);
        return number;
    }));
}

// Goes through all rows and never holds more than one of them.
static void stream_back(database& db, const options& o) {
    std::ofstream out;
    if (!o.export_to.empty()) {
        out.open(o.export_to, std::ios::binary);
        if (!out) throw example::usage_error("cannot write " + o.export_to);
    }
    std::map<std::string, std::int64_t> by_category;
    std::int64_t rows = 0;
    for (const character& c : db.rows<character>(select_all)) {
        ++rows;
        ++by_category[c.category];
        if (out.is_open()) out << to_line(c) << '\n';
    }
    if (out.is_open() && !out.flush()) throw example::usage_error("cannot write " + o.export_to);
    std::printf("streamed %lld rows back, by category:", static_cast<long long>(rows));
    for (const auto& [category, count] : by_category) std::printf(" %s %lld", category.c_str(), static_cast<long long>(count));
    std::printf("\n");
}

static bool look_up(database& db, const std::string& name) {
    const std::vector<character> found = db.all<character>(select_by_name("name"_arg = name));
    if (found.empty()) std::printf("%s: not found\n", name.c_str());
    for (const character& c : found) {
        std::printf("%s  %s  %s, category %s", notation(c.code).c_str(), glyph(c).c_str(), c.name.c_str(), c.category.c_str());
        if (c.upper) std::printf(", uppercase %s", notation(*c.upper).c_str());
        if (c.lower) std::printf(", lowercase %s", notation(*c.lower).c_str());
        if (c.numeric) std::printf(", value %s", c.numeric->c_str());
        std::printf("\n");
    }
    return !found.empty();
}

static int run(const options& o) {
    // Before the work, not after it; what is there stays until then.
    if (!o.export_to.empty() && !std::ofstream(o.export_to, std::ios::app)) throw example::usage_error("cannot write " + o.export_to);
    std::optional<example::scratch_folder> scratch;
    if (o.database.empty()) scratch.emplace("strata-catalogue");
    const std::string file = scratch ? scratch->file("catalogue.db") : o.database;
    try {
        database db{strata::sqlite_options{.path = file, .create = o.import}};
        if (o.import) {
            const strata::time_point begin = strata::clock::now();
            const std::int64_t rows = import(db, o);
            const std::chrono::duration<double> took = strata::clock::now() - begin;
            std::printf("imported %lld rows of %s in %.2f s\n", static_cast<long long>(rows), o.file.c_str(), took.count());
        }
        stream_back(db, o);
        bool all_found = true;
        for (const std::string& name : o.names) all_found &= look_up(db, name);
        return all_found ? 0 : 1;
    } catch (const strata::failure& f) {
        throw example::usage_error("cannot use " + file + ": " + f.what());
    }
}

}  // namespace catalogue

int main(int argc, char** argv) {
    try {
        const catalogue::options o = catalogue::parse(argc, argv);
        if (o.help) {
            std::fputs(catalogue::help, stdout);
            return 0;
        }
        example::watch_for_interrupts();
        return catalogue::run(o);
    } catch (const example::usage_error& e) {
        std::fprintf(stderr, "catalogue: %s\n", e.what());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "catalogue: %s\n", e.what());
        return 1;
    }
}
