# Sourced by the scripts beside it: a temporary folder, counted checks, and nothing left behind.
#
#   checks_begin                 $temp is a folder of this run, also TMPDIR of the programs; removed at the end
#   check TITLE COMMAND...       counts the command's status; what it prints is shown when it failed
#   checks_end                   prints `N passed, N failed` and ends the script
#   started PID                  a background process to be killed if the script ends early
#   gone PID                     it has ended

checks_begin() {
    passed=0
    failed=0
    running=
    temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
    export TMPDIR=$temp
    trap checks_clean EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

checks_clean() {
    if [ -n "$running" ]; then kill -KILL "$running" 2>/dev/null || true; fi
    rm -rf -- "$temp"
}

started() { running=$1; }
gone() { running=; }

check() {
    local title=$1
    shift
    if "$@" >"$temp/check.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $title"
        sed -n '1,20s/^/    /p' "$temp/check.log"
    fi
}

checks_end() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
