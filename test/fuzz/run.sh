#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs each from its seeds. Prints `N passed, N failed`, one a target.
#
#   test/fuzz/run.sh [SECONDS] [TARGET]...      how long each runs (60), and which (all)
#
# An input that breaks a target is kept as build/fuzz/<target>-<hash>; what was found to be new in build/fuzz/corpus/<target>.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/install.sh

seconds=${1:-60}
if [ $# -gt 0 ]; then shift; fi
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then targets=(values nested connection lexer); fi
strata_find_clang || strata_fail "no clang >= 16 for libFuzzer"

folder=build/fuzz
mkdir -p "$folder"
log=$folder/build.log
if ! { cmake -S . -B "$folder" -DCMAKE_TOOLCHAIN_FILE=.cmake/clang.cmake -DCMAKE_BUILD_TYPE=Debug -DSTRATA_BUILD_FUZZ=ON \
    -DSTRATA_BUILD_EXAMPLES=OFF && cmake --build "$folder" --parallel "${STRATA_JOBS:-2}" --target "${targets[@]/#/fuzz_}"; } >"$log" 2>&1; then
    tail -n 30 "$log"
    echo "0 passed, ${#targets[@]} failed"
    exit 1
fi

passed=0
failed=0
for target in "${targets[@]}"; do
    corpus=$folder/corpus/$target
    mkdir -p "$corpus"
    log=$folder/$target.log
    if "$folder/test/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=512 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$folder/$target-" "$corpus" "test/fuzz/seed/$target" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(awk '/number_of_executed_units/ { print $2 }' "$log") inputs"
    else
        failed=$((failed + 1))
        echo "$target: FAILED ($log)"
        grep -vE '^#|^INFO' "$log" | sed -n '1,25s/^/    /p'
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
