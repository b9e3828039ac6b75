#include "options.hpp"

#include "../common/flags.hpp"

#include <string>

namespace bank {

static bool is_url(const std::string& s) { return s.starts_with("postgresql://") || s.starts_with("postgres://"); }

options parse(int argc, char** argv) {
    options o;
    std::string checked;
    example::command_line line(argc, argv);
    while (line.next()) {
        if (line.is("--clients")) o.clients = line.number(1, 10'000);
        else if (line.is("--transactions")) o.transactions = line.number(1, 1'000'000'000);
        else if (line.is("--accounts")) o.accounts = line.number(1, 100'000'000);
        else if (line.is("--file")) o.file = line.text();
        else if (line.is("--database")) o.server = line.text();
        else if (line.is("--seed")) o.seed = static_cast<std::uint64_t>(line.number(0, INT64_MAX));
        else if (line.is("--no-faults")) o.faults = false;
        else if (line.is("--json")) o.json = true;
        else if (line.is("--acknowledge")) o.acknowledge = line.text();
        else if (line.is("--check")) o.check = true, checked = line.text();
        else if (line.is("--help") || line.is("-h")) o.help = true;
        else throw example::usage_error("there is no option " + line.name() + "; try --help");
    }
    if (o.check && !(o.file.empty() && o.server.empty()))
        throw example::usage_error("--check names the bank itself: leave out --file and --database");
    if (o.check) (is_url(checked) ? o.server : o.file) = checked;
    // The text may hold a password, so it is not shown.
    if (!o.server.empty() && !is_url(o.server)) throw example::usage_error("--database needs a URL that begins with postgresql://");
    if (!o.server.empty() && !o.file.empty()) throw example::usage_error("the bank lies in one place: a file or a server");
    return o;
}

}  // namespace bank
