# Sourced by the run scripts: long steps with a line of progress, a log each, and nothing left behind.
#
#   steps_begin LOG_FOLDER     $steps_temp is a temporary folder from here on; it and every process die with the script
#   step LOG_NAME TITLE COMMAND [ARGUMENT...]     its status is the command's; the log's end is shown when it failed
#   steps_finish               before an exec, which runs no trap
#   say TEXT
#   $steps_jobs                how many things to do at once

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

steps_begin() {
    steps_logs=$1
    mkdir -p "$steps_logs"
    steps_temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
    steps_group=
    steps_at_end=  # a command that stops what the script has started
    steps_terminal=
    if [ -t 1 ]; then steps_terminal=yes; fi
    steps_count_jobs
    trap steps_end EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# One job a core, but no more than memory allows: a file full of coroutines takes more than a gigabyte.
steps_count_jobs() {
    local gigabytes
    steps_jobs=$(nproc)
    gigabytes=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo 2>/dev/null || echo 2)
    if [ "${gigabytes:-2}" -lt "$steps_jobs" ]; then steps_jobs=$gigabytes; fi
    if [ "$steps_jobs" -lt 1 ]; then steps_jobs=1; fi
}

steps_end() {
    local status=$?
    trap '' HUP INT TERM
    if [ -n "$steps_group" ]; then
        kill -TERM -- "-$steps_group" 2>/dev/null && sleep 0.3
        kill -KILL -- "-$steps_group" 2>/dev/null || true  # or set -e would end this here
    fi
    if [ -n "$steps_at_end" ]; then $steps_at_end || true; fi
    rm -rf -- "$steps_temp"
    exit $status
}

steps_finish() {
    trap - EXIT HUP INT TERM
    rm -rf -- "$steps_temp"
}

step() {
    local log=$steps_logs/$1.log title=$2 began=$SECONDS told=$SECONDS seen='' line status=0
    shift 2
    say "$title"
    set -m  # a process group of its own, which can be ended as a whole
    "$@" >"$log" 2>&1 </dev/null &
    steps_group=$!
    set +m
    while kill -0 "$steps_group" 2>/dev/null; do
        sleep 0.1
        if [ -n "$steps_terminal" ] || [ $((SECONDS - told)) -ge 10 ]; then
            told=$SECONDS
            line=$(tail -n 1 "$log" 2>/dev/null | cut -c 1-100)
            if [ -n "$line" ] && [ "$line" != "$seen" ]; then
                seen=$line
                if [ -n "$steps_terminal" ]; then printf '\r\033[K        %s' "$line"; else printf '        %s\n' "$line"; fi
            fi
        fi
    done
    wait "$steps_group" || status=$?
    kill -KILL -- "-$steps_group" 2>/dev/null || true  # a straggler of the step
    steps_group=
    if [ -n "$steps_terminal" ]; then printf '\r\033[K'; fi
    if [ "$status" -ne 0 ]; then
        echo "        failed with status $status after $((SECONDS - began)) s; the end of $log:"
        tail -n 40 "$log" | sed 's/^/        | /'
    fi
    return "$status"
}
