#!/usr/bin/env bash
# Rules of the tree that no compiler checks. Prints what breaks them and `N passed, N failed`, one a rule.
set -euo pipefail
shopt -s lastpipe  # so that rule counts in this shell
cd "$(dirname "$0")/../.."

passed=0
failed=0
# rule NAME: the findings come on standard input; none is good.
rule() {
    local found
    found=$(cat)
    if [ -z "$found" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$1:"
        printf '%s\n' "$found" | sed -n '1,20s/^/    /p'
    fi
}

sources() {
    local folder folders=()
    for folder in "$@"; do if [ -d "$folder" ]; then folders+=("$folder"); fi; done
    find "${folders[@]}" -name '*.hpp' -o -name '*.cpp' | sort
}
headers=$(sources include)

# shellcheck disable=SC2046,SC2086
{
    { grep -l co_await $(sources include test example bench) || true; } | { xargs -r awk -f test/lint/co_await.awk || true; } |
        rule "co_await that g++ 12 miscompiles"

    { grep -nE '#include <boost/(asio|hana|json|describe|fusion)\.hpp>' $headers || true
      grep -nE '#include <boost/(asio|hana)\.hpp>' $(sources test example bench) || true; } | rule "umbrella headers of Boost cost seconds"

    wc -l $headers | awk '$2 != "total" && $1 > 400 { print $2 " has " $1 " lines" }' | rule "headers longer than 400 lines"

    { LC_ALL=C.UTF-8 grep -nE '^.{141,}' $headers $(sources test example bench) || true; } | cut -c 1-120 | rule "lines longer than 140 columns"

    { grep -L '^// ' $headers || true
      for header in $headers; do [ "$(head -c 2 "$header")" = // ] || echo "$header"; done; } | sort -u |
        rule "headers without a head comment that says why they exist"

    for header in $headers; do
        guard=$(echo "${header#include/}" | tr 'a-z/.' 'A-Z__')
        grep -q "^#ifndef $guard\$" "$header" && grep -q "^#define $guard\$" "$header" || echo "$header: no include guard $guard"
    done | rule "include guards named after the path"

    { grep -nE '^[[:space:]]*#[[:space:]]*define[[:space:]]' $headers || true; } | { grep -vE 'define[[:space:]]+STRATA_' || true; } |
        rule "macros that are not STRATA_*"

    { grep -nE '^[[:space:]]*(inline[[:space:]]+)?namespace[[:space:]]*(\{|$)' $headers || true; } | rule "unnamed namespaces in headers"

    { grep -nE '^namespace strata\b' $headers || true; } | { grep -v 'inline STRATA_ABI' || true; } |
        rule "namespace strata without its inline namespace"

    # Arrows point down only. A room and what it may include besides itself; the files directly in strata/
    # and the asynchronous face may include all but umbrellas.
    awk -F '[<>]' '
        BEGIN {
            may["core"] = " sql value "
            may["sql"] = " core value "
            may["value"] = " core sql "
            may["observe"] = " core sql value "
            may["policy"] = " core sql value observe "
            may["driver"] = " core sql value "
            may["source"] = " core sql value "
            may["transaction"] = " core sql value source call_options.hpp calls.hpp options.hpp perform.hpp stack.hpp statement_work.hpp stream.hpp "
            may["testing"] = " core sql value observe policy source "
        }
        /^#include <strata\// {
            from = FILENAME; sub(/^include\/strata\//, "", from)
            to = $2; sub(/^strata\//, "", to)
            if (to == "strata.hpp" && from !~ /^(async|testing)\.hpp$/ || to == "async.hpp" && from ~ /\// || to ~ /^driver\/[a-z]*\.hpp$/)
                print FILENAME ":" FNR ": includes an umbrella: " $2
            if (from !~ /\// || from ~ /^async\// || from ~ /^testing\/simulated_(calls|database|hedged)\.hpp$/) next  # faces
            room = from; sub(/\/.*/, "", room)
            if (from ~ /^driver\/[a-z]*\.hpp$/) room = "driver"
            other = to; sub(/\/.*/, "", other)  # a file that lies above the rooms is named as it is
            if (room == other) {
                split(from, f, "/"); split(to, t, "/")
                if (room == "driver" && t[3] != "" && f[2] !~ t[2]) print FILENAME ":" FNR ": one driver includes another: " $2
                next
            }
            if (!(room in may)) print FILENAME ": is in no known room"
            else if (index(may[room], " " other " ") == 0) print FILENAME ":" FNR ": " room " may not include " $2
        }' $headers | rule "arrows between the rooms point down only"

    for patch in $(command -v git >/dev/null && find test/mutants -name '*.patch' | sort); do
        git apply --unidiff-zero --check --include='include/*' "$patch" 2>/dev/null || echo "$patch"
    done | rule "mutants whose patch does not apply"

    { grep -nE '\b(TODO|FIXME)\b' $headers $(sources test example bench) || true; } | rule "unfinished work left in the tree"
}
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
