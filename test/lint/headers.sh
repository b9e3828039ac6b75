#!/usr/bin/env bash
# Each header under include/ compiles alone and twice, without a warning. Prints `N passed, N failed`.
#
#   test/lint/headers.sh [COMPILER]...      default: g++, and the newest clang where one is installed
#
# A header is compiled again only when it, or a header of strata that it reads, has changed (build/stamps).
# It also holds the blocking world free of the rest: strata.hpp and SQLite's header may read neither Asio nor Boost.JSON.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/stamps.sh

flags=(-std=c++20 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast -Werror
       -Iinclude -fsyntax-only)
if [ -d "$(pg_config --includedir 2>/dev/null)" ]; then flags+=(-isystem "$(pg_config --includedir)"); fi

if [ "${1:-}" = --one ]; then  # COMPILER HEADER STAMP: compile it; called by the loop below
    header=${3#include/}
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$4.cpp"
    if "$2" "${flags[@]}" -MD -MF "$4.d" "$4.cpp" >"$4.log" 2>&1; then
        touch "$4.passed"
    else
        echo "$2: $3 does not compile alone:"
        head -n 15 "$4.log"
    fi
    exit 0
fi

if [ $# -eq 0 ]; then
    set -- "${CXX:-g++}"
    if [ -n "${STRATA_CLANGXX:-}" ]; then set -- "$@" "$STRATA_CLANGXX"; fi
fi
temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
trap 'rm -rf -- "$temp"' EXIT
stamps_load include

passed=0
failed=0
for compiler in "$@"; do
    key=$(stamps_key "$compiler" "${flags[@]}")
    todo=()
    while read -r header; do
        stamp=build/stamps/headers/$(basename "$compiler")/${header//\//_}
        if stamps_fresh "$stamp" "$key"; then passed=$((passed + 1)); else todo+=("$header"); fi
    done < <(find include -name '*.hpp' | sort)
    echo "$compiler: ${#todo[@]} of $(find include -name '*.hpp' | wc -l) headers to compile"
    work=$temp/$(basename "$compiler")
    mkdir -p "$work"
    for header in "${todo[@]}"; do printf '%s\n' "$compiler" "$header" "$work/${header//\//_}"; done |
        xargs -r -P "${STRATA_JOBS:-$(nproc)}" -n 3 "$0" --one
    for header in "${todo[@]}"; do
        done_=$work/${header//\//_}
        if [ ! -e "$done_.passed" ]; then
            failed=$((failed + 1))
            continue
        fi
        case $header in
        include/strata/strata.hpp | include/strata/driver/sqlite.hpp | include/strata/driver/postgres.hpp)
            if grep -oE '[^ ]*/boost/(asio|json)/[^ ]*' "$done_.d" | sed -n 1,3p | grep .; then
                echo "$header reads Asio or Boost.JSON (above); only async.hpp and json.hpp may"
                failed=$((failed + 1))
                continue
            fi
            ;;
        esac
        stamps_write "build/stamps/headers/$(basename "$compiler")/${header//\//_}" "$key" "$done_.d"
        passed=$((passed + 1))
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
