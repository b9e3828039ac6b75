#!/usr/bin/env bash
# Each test/compile_fail/*.cpp must be refused, with the text that it names, by every compiler. Prints `N passed, N failed`.
#
#   test/compile_fail/run.sh [NAME]...      NAME: without .cpp; default: all
#
# The head of a file:
#   // expect: <text>      must occur in the compiler's messages; one line or more
#   // needs: sqlite       optional: skip where this is not installed (sqlite, asio, json, hana)
# Where the file mentions STRATA_CONTROL it is compiled once more with this macro and must then compile: the control
# shows that the error is the one meant. Compilers: $CXX or g++, and clang where there is one, unless STRATA_ONE_COMPILER is set.
# A file is compiled again only when it, or a header that it reads, has changed (build/stamps).
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/install.sh
. .ci/stamps.sh

# no -fsyntax-only: g++ instantiates less with it
flags=(-std=c++20 -O0 -Iinclude -Itest -S -o /dev/null)
# the quoted source line of a message does not count as its text
quiet() { if "$1" --version | grep clang >/dev/null; then echo -fno-caret-diagnostics; else echo -fno-diagnostics-show-caret; fi; }
export LC_ALL=C  # plain quotes in messages

if [ "${1:-}" = --one ]; then  # COMPILER FILE WORK; called by the loop below
    compiler=$2 file=$3 work=$4
    complain() {
        echo "$compiler: $file: $*"
        grep -E 'error|required from here' "$work.log" | sed -n '1,8s/^/    | /p' | cut -c 1-400 || true
        exit 0
    }
    if "$compiler" "${flags[@]}" "$(quiet "$compiler")" "$file" >"$work.log" 2>&1; then complain "compiles, but must not"; fi
    while IFS= read -r text; do
        grep -qF -- "$text" "$work.log" || complain "the message lacks: $text"
    done < <(sed -n 's|^// expect: ||p' "$file")
    control=()
    if grep -q STRATA_CONTROL "$file"; then
        control=(-DSTRATA_CONTROL)
        "$compiler" "${flags[@]}" -DSTRATA_CONTROL "$file" >"$work.log" 2>&1 || complain "the control does not compile"
    fi
    "$compiler" -std=c++20 -Iinclude -Itest "${control[@]}" -M -MF "$work.d" "$file" >"$work.log" 2>&1 || complain "cannot be preprocessed"
    touch "$work.passed"
    exit 0
fi

strata_find_cxx || strata_fail "no g++ >= 12"
if [ -n "${STRATA_ONE_COMPILER:-}" ]; then STRATA_CLANGXX=; else strata_find_clang || echo "no clang >= 16 here: g++ only"; fi
compilers=("$CXX")
if [ -n "$STRATA_CLANGXX" ]; then compilers+=("$STRATA_CLANGXX"); fi
needed() {
    case $1 in
    '') ;;
    sqlite) strata_header sqlite3.h ;;
    asio) strata_header boost/asio/any_io_executor.hpp ;;
    json) strata_header boost/json/value.hpp ;;
    hana) strata_header boost/hana/adapt_struct.hpp ;;
    *) strata_fail "unknown library in '// needs: $1'" ;;
    esac
}

files=()
if [ $# -gt 0 ]; then
    for name in "$@"; do files+=("test/compile_fail/$name.cpp"); done
else
    while read -r file; do files+=("$file"); done < <(find test/compile_fail -maxdepth 1 -name '*.cpp' | sort)
fi

temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
trap 'rm -rf -- "$temp"' EXIT
stamps_load include test

passed=0
failed=0
todo=()
declare -A key
for compiler in "${compilers[@]}"; do key[$compiler]=$(stamps_key "$compiler" "${flags[@]}" "$(sha256sum <"$0")"); done
for file in "${files[@]}"; do
    [ -r "$file" ] || strata_fail "no such test: $file"
    if ! grep -q '^// expect: .' "$file"; then
        echo "$file: has no line '// expect: <text>'"
        failed=$((failed + 1))
        continue
    fi
    if ! needed "$(sed -n 's|^// needs: *||p' "$file")"; then
        echo "$file: skipped, $(sed -n 's|^// needs: *||p' "$file") is not installed"
        continue
    fi
    for compiler in "${compilers[@]}"; do
        name=$(basename "$compiler")_$(basename "$file" .cpp)
        if stamps_fresh "build/stamps/compile_fail/$name" "${key[$compiler]}"; then
            passed=$((passed + 1))
        else
            todo+=("$compiler" "$file" "$temp/$name")
        fi
    done
done
echo "$((${#todo[@]} / 3)) of $((${#todo[@]} / 3 + passed)) to compile"
if [ ${#todo[@]} -gt 0 ]; then
    printf '%s\n' "${todo[@]}" | xargs -P "${STRATA_JOBS:-$(nproc)}" -n 3 "$0" --one
fi
for ((i = 0; i < ${#todo[@]}; i += 3)); do
    work=${todo[i + 2]}
    if [ -e "$work.passed" ]; then
        passed=$((passed + 1))
        stamps_write "build/stamps/compile_fail/$(basename "$work")" "${key[${todo[i]}]}" "$work.d"
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
