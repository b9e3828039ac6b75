# One file of single_include/: the header `root` with every header of strata that it needs, each once, in the order of
# need, with its include guard, so that two generated files may hold the same header. Includes of the standard library,
# Boost and others are hoisted to the top; those under a condition stay where they are.
#
# What one of the other `roots` holds already is left to it and included: strata.hpp always, async.hpp and the drivers by the headers'
# folders, the others where they are named.

function stop(text) {
    print "generate: " text > "/dev/stderr"
    failed = 1
    exit 1
}

# The header's lines in lines[header, 1..count[header]], read once.
function load(header,   line, n, status) {
    if (header in count) return
    n = 0
    while ((status = (getline line < header)) > 0) lines[header, ++n] = line
    if (status < 0) stop("cannot read " header)
    close(header)
    count[header] = n
}

function strata_include(line) {
    if (line !~ /^[ \t]*#[ \t]*include[ \t]*<strata\//) return ""
    sub(/^[^<]*</, "", line)
    sub(/>.*/, "", line)
    return line
}

# Marks in set[] what `header` reaches.
function reach(header, set,   i, to) {
    if (header in set) return
    set[header] = 1
    load(header)
    for (i = 1; i <= count[header]; i++) {
        to = strata_include(lines[header, i])
        if (to != "") reach(to, set)
    }
}

function emit(header,   i, line, to, depth, blank) {
    if (header in emitted || header in held) return
    emitted[header] = 1
    load(header)
    for (i = 1; i <= count[header]; i++) {
        to = strata_include(lines[header, i])
        if (to == "") continue
        if (to != root && to in is_root) above[to] = 1
        else emit(to)
    }
    body = body "\n"
    depth = 0
    blank = 0
    for (i = 1; i <= count[header]; i++) {
        line = lines[header, i]
        if (line ~ /^[ \t]*#[ \t]*if/) depth++
        if (line ~ /^[ \t]*#[ \t]*endif/) depth--
        if (line ~ /^[ \t]*#[ \t]*include/) {
            if (line ~ /"/) stop(header ": quoted include: " line)
            if (strata_include(line) != "") {
                if (depth > 1) stop(header ": a header of strata is included under a condition: " line)
                continue
            }
            if (depth <= 1) {
                sub(/[ \t]*\/\/.*/, "", line)
                hoisted[line] = 1
                continue
            }
        }
        if (line == "" && blank) continue
        blank = line == ""
        body = body line "\n"
    }
}

# Prints the keys of set[] that match, in order.
function print_sorted(set, wanted,   key, list, n, i, j, swap, any) {
    n = 0
    for (key in set)
        if (kind(key) == wanted) list[++n] = key
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && list[j - 1] > list[j]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
    if (n > 0) print ""
    for (i = 1; i <= n; i++) print list[i]
}

function kind(line) {
    if (line ~ /<boost\//) return "boost"
    if (line ~ /<[a-z0-9_]+>/) return "standard"
    return "other"
}

BEGIN {
    n = split(roots, list, " ")
    for (i = 1; i <= n; i++) is_root[list[i]] = 1

    if (root != "strata/strata.hpp") {
        reach("strata/strata.hpp", held)
        above["strata/strata.hpp"] = 1
        reach(root, reached)
        for (i = 1; i <= n; i++)
            if (list[i] != root && list[i] in reached) reach(list[i], held)
        # What lies in async/ stands on async.hpp, and what reaches a driver's folder on that driver. (A single header of async/ may
        # serve those that need no Asio.)
        for (i = 1; i <= n; i++) {
            if (list[i] == root || list[i] !~ /^strata\/(async|driver\/[a-z0-9]+)\.hpp$/) continue
            folder = list[i]
            sub(/\.hpp$/, "/", folder)
            if (index(root, folder) == 1) above[list[i]] = 1
            for (header in reached)
                if (folder ~ /driver/ && index(header, folder) == 1) above[list[i]] = 1
            if (list[i] in above) reach(list[i], held)
        }
        delete held[root]
    }
    emit(root)

    guard = "STRATA_SINGLE_" toupper(substr(root, 8))
    gsub(/[^A-Z0-9]/, "_", guard)
    print "// Generated from include/" root " by single_include/generate.sh: edit that, not this."
    print "// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt)."
    print "#ifndef " guard
    print "#define " guard
    above_count = 0
    for (i = 1; i <= n; i++)
        if (list[i] in above) {
            if (!above_count++) print ""
            print "#include <" list[i] ">"
        }
    print_sorted(hoisted, "other")
    print_sorted(hoisted, "boost")
    print_sorted(hoisted, "standard")
    printf "%s", body
    print ""
    print "#endif"
}
END { exit failed }
