#!/usr/bin/env bash
# Kills the bank (SIGKILL) at random moments. Whatever an outside log says was acknowledged must be in the file afterwards,
# and its sums must agree. Prints `N passed, N failed`, one a kill and one for the whole.
#
#   test/examples/kill.sh [BANK]       BANK: the program; default: build/dev/example/bank
#
# 3 kills, or 20 with STRATA_TEST_FULL (STRATA_KILLS says another number).
set -uo pipefail
cd "$(dirname "$0")/../.."
. test/examples/checks.sh
bank=$(realpath "${1:-build/dev/example/bank}") || exit 1
checks_begin

kills=3
if [ -n "${STRATA_TEST_FULL:-}" ]; then kills=20; fi
kills=${STRATA_KILLS:-$kills}
clients=8
file=$temp/bank.db
log=$temp/acknowledged
total=0

lines() { if [ -e "$log" ]; then wc -l <"$log"; else echo 0; fi; }

# Starts a bank and kills it. Two in three die among transactions, the others anywhere: while loading or during the drill, too.
kill_one() { # NUMBER
    local waited=0 transactions=1000000000 moment
    rm -f "$file" "$file"-* "$log"
    if [ $(($1 % 3)) -eq 0 ]; then transactions=300; fi
    "$bank" --clients $clients --transactions $transactions --accounts 3000 --seed "$1" --file "$file" --acknowledge "$log" >"$temp/out" 2>&1 </dev/null &
    started $!
    if [ $(($1 % 3)) -ne 0 ]; then
        while [ "$(lines)" -eq 0 ] && [ $waited -lt 300 ]; do sleep 0.05 && waited=$((waited + 1)); done
    fi
    moment=$((RANDOM % 1500))
    sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
    { kill -KILL $! && wait $!; } 2>/dev/null
    gone $!
    echo "killed after $moment ms with $(lines) acknowledged transactions"
}

# The file is sound, and whatever the log holds is in it, in the eyes of SQLite's own shell.
shell_agrees() {
    command -v sqlite3 >/dev/null || return 0
    [ "$(sqlite3 "$file" 'pragma integrity_check')" = ok ] || return 1
    sqlite3 "$file" 'select id from history' | sort >"$temp/history"
    sort "$log" | comm -23 - "$temp/history" >"$temp/lost"
    cat "$temp/lost"
    [ ! -s "$temp/lost" ]
}

books_are_right() {
    local status=0 rows
    if [ "$(lines)" -eq 0 ]; then # nothing was promised; that the tables are not there yet is fine
        if [ -e "$file" ] && "$bank" --check "$file"; then return 0; fi
        ! grep -q '^[0-9]' "$log" 2>/dev/null
        return
    fi
    "$bank" --check "$file" --acknowledge "$log" >"$temp/books" 2>&1 || status=$?
    cat "$temp/books"
    rows=$(sed -nE 's/^bank in .*: ([0-9]+) transactions in the history$/\1/p' "$temp/books")
    # at most one a client was committed and could not be acknowledged any more
    [ "$status" -eq 0 ] && [ "$(tail -n 1 "$temp/books")" = "balances: consistent" ] && [ "$rows" -le $(($(lines) + clients)) ] && shell_agrees
}

for ((i = 1; i <= kills; ++i)); do
    kill_one $i
    total=$((total + $(lines)))
    check "kill $i: every acknowledged transaction is there" books_are_right
done

echo "$total acknowledged transactions in $kills kills"
check "something was acknowledged before the kills" [ "$total" -gt 0 ]
work_on() { "$bank" --clients $clients --transactions 300 --accounts 500 --file "$file"; }
check "a killed bank can be replaced" work_on
checks_end
