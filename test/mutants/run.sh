#!/usr/bin/env bash
# Applies each deliberate fault of test/mutants/<policy>/<nn>-<name>.patch to a copy of include/, builds the test program
# that its first line names (`# test: <program> [filter]`) and demands that it fails. The last line is
# `N mutants, N caught`; a patch that does not apply, a mutant that does not compile and a test that fails without it are
# errors, not catches. A mutant that a static_assert of the tests refuses is caught.
#
#   test/mutants/run.sh [--no-install] [PATTERN]...      PATTERN: a policy, or the beginning of policy/nn; default: all
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/install.sh
. .ci/steps.sh
tree=$PWD

# ------------------------------------------------------------------------------------ one row of mutants, a worker

if [ "${1:-}" = --row ]; then  # NUMBER TEMP PATCH...: in a copy and a build folder of its own
    place=$tree/build/mutants/$2 temp=$3
    shift 3
    mkdir -p "$place"
    log=$place/log
    export TMPDIR=$temp

    # The copy as the tree is now; what is equal keeps its time, so that little is built.
    restore() {
        mkdir -p "$place/include"
        (cd include && find . -type f) | while read -r file; do
            if ! cmp -s "include/$file" "$place/include/$file"; then
                mkdir -p "$(dirname "$place/include/$file")"
                cp "include/$file" "$place/include/$file"
            fi
        done
        (cd "$place/include" && find . -type f) | while read -r file; do
            if [ ! -e "include/$file" ]; then rm "$place/include/$file"; fi
        done
    }
    build() { cmake --build "$place/build" --parallel 1 --target "$1" >"$log" 2>&1; }
    # No test must match nothing: Catch2 takes that for success.
    run() { timeout --foreground -k 5 120 "$place/build/test/$1" ${2:+"$2"} >"$log" 2>&1 </dev/null; }
    tell() { echo "$1" "$2 ($3)" | tee -a "$temp/outcome"; }

    restore
    if ! cmake -S . -B "$place/build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O0 -w' -DSTRATA_BUILD_EXAMPLES=OFF \
        -DSTRATA_BUILD_BENCH=OFF -DSTRATA_TEST_INCLUDE_FIRST="$place/include" >"$log" 2>&1; then
        cat "$log"
        exit 1
    fi
    declare -A sound
    for patch in "$@"; do
        name=${patch#test/mutants/}
        read -r program filter < <(sed -n '1s/^# test: *//p' "$patch") || true
        if [ -z "${program:-}" ]; then
            tell ERROR "$name" "its first line is not '# test: <program> [filter]'"
            continue
        fi
        if [ -z "${sound[$program $filter]:-}" ]; then
            restore
            if ! build "$program"; then
                sound[$program $filter]="$program does not build without a mutant"
            elif ! run "$program" "$filter"; then
                sound[$program $filter]="$program $filter fails without a mutant"
            elif grep -qi 'no test.* matched\|no tests ran' "$log"; then
                sound[$program $filter]="$program has no test $filter"
            else
                sound[$program $filter]=yes
            fi
            if [ "${sound[$program $filter]}" != yes ]; then tail -n 5 "$log"; fi
        fi
        if [ "${sound[$program $filter]}" != yes ]; then
            tell ERROR "$name" "${sound[$program $filter]}"
            continue
        fi
        restore
        # the ceiling keeps git from taking the copy for a part of the repository
        if ! (cd "$place" && GIT_CEILING_DIRECTORIES=$tree/build/mutants git apply --unidiff-zero --include='include/*' "$tree/$patch") \
            >"$log" 2>&1 || diff -rq include "$place/include" >/dev/null; then
            tell ERROR "$name" "the patch does not apply"
            tail -n 3 "$log"
        elif ! build "$program"; then
            if grep -q '/test/.*error: static assertion failed' "$log"; then
                tell caught "$name" "$program, by a static_assert"
            else
                tell ERROR "$name" "does not compile"
                grep -m 3 "error:" "$log" || true
            fi
        elif run "$program" "$filter"; then
            tell SURVIVED "$name" "$program $filter passes"
        else
            tell caught "$name" "$program $filter"
        fi
    done
    restore
    exit 0
fi

# ------------------------------------------------------------------------------------------------------- all rows

install=yes tally=
patterns=()
while [ $# -gt 0 ]; do
    case $1 in
    --no-install) install=no ;;
    --tally) tally=yes ;;  # for test/run.sh: the last line is `N passed, N failed`
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) strata_fail "unknown option: $1" ;;
    *) patterns+=("$1") ;;
    esac
    shift
done
strata_require $install build sqlite tests mutants

patches=()
while read -r patch; do
    for pattern in "${patterns[@]:-}"; do
        case ${patch#test/mutants/} in "$pattern"*) patches+=("$patch") && break ;; esac
    done
done < <(find test/mutants -name '*.patch' | sort)

# The temporary folder and every process end with this script; a step of its own would hide the outcome lines.
temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
workers=()
end() {
    for worker in "${workers[@]}"; do kill -TERM -- "-$worker" 2>/dev/null || true; done
    rm -rf -- "$temp"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
steps_count_jobs
for ((row = 0; row < steps_jobs && row < ${#patches[@]}; row++)); do
    mine=()
    for ((i = row; i < ${#patches[@]}; i += steps_jobs)); do mine+=("${patches[i]}"); done
    mkdir -p "$temp/$row"
    set -m  # a process group each, to be ended as a whole
    "$0" --row "$row" "$temp/$row" "${mine[@]}" &
    set +m
    workers+=($!)
done
for worker in "${workers[@]}"; do wait "$worker" || echo "a worker failed"; done

caught=$(cat "$temp"/*/outcome 2>/dev/null | grep -c '^caught ' || true)
grep -hv '^caught ' "$temp"/*/outcome 2>/dev/null || true
echo "${#patches[@]} mutants, $caught caught"
if [ -n "$tally" ]; then echo "$caught passed, $((${#patches[@]} - caught)) failed"; fi
[ "$caught" -eq ${#patches[@]} ]
