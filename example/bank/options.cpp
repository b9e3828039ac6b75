#include "options.hpp"

#include "../common/flags.hpp"

namespace bank {

options parse(int argc, char** argv) {
    options o;
    example::command_line line(argc, argv);
    while (line.next()) {
        if (line.is("--clients")) o.clients = line.number(1, 10'000);
        else if (line.is("--transactions")) o.transactions = line.number(1, 1'000'000'000);
        else if (line.is("--accounts")) o.accounts = line.number(1, 100'000'000);
        else if (line.is("--file")) o.file = line.text();
        else if (line.is("--seed")) o.seed = static_cast<std::uint64_t>(line.number(0, INT64_MAX));
        else if (line.is("--no-faults")) o.faults = false;
        else if (line.is("--json")) o.json = true;
        else if (line.is("--acknowledge")) o.acknowledge = line.text();
        else if (line.is("--check")) o.check = true, o.file = line.text();
        else if (line.is("--help") || line.is("-h")) o.help = true;
        else throw example::usage_error("there is no option " + line.name() + "; try --help");
    }
    return o;
}

}  // namespace bank
