#!/usr/bin/env bash
# The examples as a user meets them: what they print, what they return, what they leave behind.
#
#   test/examples/run.sh [FOLDER]        FOLDER holds the programs bank, catalogue and queue; default: build/dev/example
#
# STRATA_TEST_POSTGRES=<url> names the PostgreSQL server for the bank; a schema is made there, and dropped.
set -uo pipefail
cd "$(dirname "$0")/../.."
. test/examples/checks.sh
programs=$(cd "${1:-build/dev/example}" && pwd) || exit 1
checks_begin

# run PROGRAM ARGUMENT...: its status is in $status, its output in $temp/out and $temp/err
run() {
    status=0
    timeout --foreground -k 5 100 "$programs/$1" "${@:2}" >"$temp/out" 2>"$temp/err" </dev/null || status=$?
    echo "$* -> status $status"
    tail -n 3 "$temp/out" "$temp/err"
}
last_line() { [ "$(tail -n 1 "$temp/$1")" = "$2" ]; }
nothing_left() { ! ls -d "$temp"/strata-* 2>/dev/null; }
# One clear line on standard error that begins with the program's name, status 2, nothing else.
refused() { # PROGRAM ARGUMENT...
    run "$@"
    [ "$status" -eq 2 ] && [ "$(wc -l <"$temp/err")" -eq 1 ] && [[ $(cat "$temp/err") == "$1: "* ]] && [ ! -s "$temp/out" ]
}
small=(--clients 4 --transactions 400 --accounts 500)

# ------------------------------------------------------------------------------------------------------ the bank

bank_small() {
    run bank "${small[@]}"
    [ "$status" -eq 0 ] && last_line out "balances: consistent" && grep -q 'disk gone' "$temp/out" && nothing_left
}
bank_without_faults() {
    run bank "${small[@]}" --no-faults
    [ "$status" -eq 0 ] && last_line out "balances: consistent" && ! grep -q 'disk gone' "$temp/out" &&
        grep -q 'transactions: 400 in the history, 400 acknowledged' "$temp/out"
}
bank_plain_progress() {
    run bank "${small[@]}" --no-faults
    grep -qx 'loading accounts: 100 %' "$temp/err" && grep -qx 'transactions: 10 %' "$temp/err" && ! grep -q $'\r' "$temp/err"
}
bank_json() {
    run bank "${small[@]}" --json
    [ "$status" -eq 0 ] && [ "$(wc -l <"$temp/out")" -eq 1 ] && last_line err "balances: consistent" &&
        grep -q '"balances": "consistent"}$' "$temp/out" || return 1
    if command -v python3 >/dev/null; then python3 -m json.tool <"$temp/out"; fi
}
bank_same_file_again() {
    run bank "${small[@]}" --file "$temp/again.db" && run bank "${small[@]}" --file "$temp/again.db" --no-faults --transactions=70
    [ "$status" -eq 0 ] && grep -q 'transactions: 70 in the history' "$temp/out" && run bank --check "$temp/again.db"
    [ "$status" -eq 0 ] && last_line out "balances: consistent"
}
bank_checks_acknowledgements() {
    run bank "${small[@]}" --file "$temp/log.db" --acknowledge "$temp/log"
    [ "$status" -eq 0 ] || return 1
    run bank --check "$temp/log.db" --acknowledge "$temp/log"
    [ "$status" -eq 0 ] && last_line out "balances: consistent" || return 1
    echo 987654321 >>"$temp/log"
    run bank --check "$temp/log.db" --acknowledge "$temp/log"
    [ "$status" -eq 1 ] && tail -n 1 "$temp/out" | grep -q INCONSISTENT
}
bank_ends_on() { # SIGNAL
    local waited=0
    rm -f "$temp/log"
    "$programs/bank" --clients 4 --transactions 1000000000 --accounts 500 --file "$temp/signal.db" --acknowledge "$temp/log" \
        >"$temp/out" 2>"$temp/err" </dev/null &
    started $!
    while [ ! -s "$temp/log" ] && [ $waited -lt 200 ]; do sleep 0.1 && waited=$((waited + 1)); done
    kill "-$1" $!
    status=0
    wait $! || status=$?
    gone $!
    tail -n 5 "$temp/out"
    [ "$status" -eq 0 ] && grep -q '^interrupted' "$temp/out" && last_line out "balances: consistent"
}
bank_refuses_foreign_database() {
    head -n 200 /usr/share/unicode/UnicodeData.txt >"$temp/foreign.txt"
    run catalogue --database "$temp/foreign.db" --find "DIGIT ONE" "$temp/foreign.txt"
    [ "$status" -eq 0 ] && refused bank --file "$temp/foreign.db" || return 1
    run catalogue --database "$temp/foreign.db" --no-import --find "DIGIT ONE"
    [ "$status" -eq 0 ]
}
bank_refuses_text_file() {
    printf '%0500d' 7 >"$temp/text.db"
    cp "$temp/text.db" "$temp/before"
    refused bank --file "$temp/text.db" && cmp "$temp/before" "$temp/text.db"
}
bank_full_disk() {
    status=0
    "$programs/bank" "${small[@]}" --no-faults >/dev/full 2>"$temp/err" </dev/null || status=$?
    [ "$status" -eq 1 ] && grep -q 'could not be written' "$temp/err"
}
helps() { # PROGRAM
    run "$1" --help
    [ "$status" -eq 0 ] && grep -q "^usage: $1" "$temp/out" && [ ! -s "$temp/err" ]
}

check "a small bank" bank_small
check "a bank without faults" bank_without_faults
check "progress in plain lines" bank_plain_progress
check "a report in JSON" bank_json
check "a bank in the place of another" bank_same_file_again
check "acknowledgements are checked" bank_checks_acknowledgements
check "Ctrl-C" bank_ends_on INT
check "SIGTERM" bank_ends_on TERM
check "bank --help" helps bank
check "an unknown option" refused bank --fast
check "an argument too many" refused bank 7
check "a missing value" refused bank --clients
check "a value where none belongs" refused bank --json=yes
check "no clients" refused bank --clients 0
check "not a number" refused bank --accounts 1e5
check "a negative number" refused bank --seed -1
check "a number with a tail" refused bank --transactions=10x
check "a file in a folder that is not there" refused bank --file "$temp/nowhere/bank.db"
check "a folder as file" refused bank --file "$temp"
check "a file that is no database" bank_refuses_text_file
check "somebody else's database" bank_refuses_foreign_database
check "an acknowledgement file that cannot be written" refused bank --acknowledge "$temp/nowhere/log"
check "nothing to check" refused bank --check "$temp/nothing.db"
check "a check of two banks" refused bank --check "$temp/again.db" --file "$temp/log.db"
check "a check of somebody else's database" refused bank --check "$temp/foreign.db"
check "a report that cannot be written" bank_full_disk

# ---------------------------------------------------------------------------------------- the bank on PostgreSQL

sql() { psql "$STRATA_TEST_POSTGRES" -v ON_ERROR_STOP=1 -qAtc "$1"; }
secret=$(printf %s "${STRATA_TEST_POSTGRES:-}" | sed -nE 's|^[a-z]+://[^:/@]*:([^@/]*)@.*|\1|p')
shows_no_secret() { [ -z "$secret" ] || ! grep -F "$secret" "$temp/out" "$temp/err"; }
in_own_schema() { # COMMAND...: with $url of a schema that is new and goes away
    local schema=strata_bank_$$ result=0
    url=$STRATA_TEST_POSTGRES
    case $url in *\?*) url+='&' ;; *) url+='?' ;; esac
    url+="options=-csearch_path%3D$schema"
    { sql "create schema $schema" && "$@"; } || result=$?
    sql "drop schema if exists $schema cascade" 2>/dev/null && return $result
}
server_bank_small() {
    run bank "${small[@]}" --database "$url" --acknowledge "$temp/server.log"
    [ "$status" -eq 0 ] && last_line out "balances: consistent" && grep -q 'disk gone' "$temp/out" && shows_no_secret || return 1
    run bank --check "$url" --acknowledge "$temp/server.log"
    [ "$status" -eq 0 ] && last_line out "balances: consistent" || return 1
    echo 987654321 >>"$temp/server.log"
    run bank --check "$url" --acknowledge "$temp/server.log"
    [ "$status" -eq 1 ] && tail -n 1 "$temp/out" | grep -q INCONSISTENT || return 1
    run bank "${small[@]}" --database "$url" --no-faults --transactions=70 --json  # in the place of the other
    [ "$status" -eq 0 ] && grep -q '"history_rows": 70,.*"balances": "consistent"}$' "$temp/out" && shows_no_secret
}
server_bank_refuses_foreign_tables() {
    sql "create table $1.history (what text); insert into $1.history values ('dear')" || return 1
    refused bank --database "$url" && [ "$(sql "select what from $1.history")" = dear ]
}
server_bank_ends_on_ctrl_c() {
    local waited=0
    "$programs/bank" --clients 4 --transactions 1000000000 --accounts 500 --database "$url" --acknowledge "$temp/server.acks" \
        >"$temp/out" 2>"$temp/err" </dev/null &
    started $!
    while [ ! -s "$temp/server.acks" ] && [ $waited -lt 200 ]; do sleep 0.1 && waited=$((waited + 1)); done
    kill -INT $!
    status=0
    wait $! || status=$?
    gone $!
    [ "$status" -eq 0 ] && grep -q '^interrupted' "$temp/out" && last_line out "balances: consistent"
}
wrong_password() {
    refused bank --database "$(printf %s "$STRATA_TEST_POSTGRES" | sed -E 's|^([a-z]+://[^:/@]*:)([^@/]*)@|\1not-\2@|')" && shows_no_secret
}

check "a server that is not there" refused bank --database postgresql://teller:hunter2@127.0.0.1:1/bank
check "... shows no password" eval '! grep hunter2 "$temp/err"'
check "a broken URL" refused bank --database 'postgresql://teller:hunter2@[oops/bank'
check "... shows no password either" eval '! grep hunter2 "$temp/err"'
check "a database that is no URL" refused bank --database bank.db
check "a file and a server" refused bank --file "$temp/x.db" --database postgresql://127.0.0.1/bank
if [ -n "${STRATA_TEST_POSTGRES:-}" ]; then
    check "a bank on PostgreSQL" in_own_schema server_bank_small
    check "a server's bank and Ctrl-C" in_own_schema server_bank_ends_on_ctrl_c
    check "somebody else's tables" in_own_schema server_bank_refuses_foreign_tables strata_bank_$$
    if [ -n "$secret" ]; then check "a wrong password" wrong_password; fi
else
    echo "STRATA_TEST_POSTGRES is not set: no bank on PostgreSQL"
fi

# ------------------------------------------------------------------------------------------------- the catalogue

unicode_data=/usr/share/unicode/UnicodeData.txt

catalogue_round_trip() {
    run catalogue --export "$temp/export.txt"
    [ "$status" -eq 0 ] && grep -q '^U+2603 .* SNOWMAN, category So$' "$temp/out" && cmp "$unicode_data" "$temp/export.txt" && nothing_left
}
catalogue_bounded_memory() { # all rows at once would not fit
    awk 'BEGIN { for (i = 4096; i < 304096; ++i) printf "%04X;ROW %d OF MANY;Lo;0;L;<compat> 0061 0062 0063 0064;;;;N;;;;;\n", i, i }' >"$temp/many.txt"
    (
        ulimit -v 90000
        run catalogue --export "$temp/many.export" --find "row 5000 of many" "$temp/many.txt"
        [ "$status" -eq 0 ] && cmp "$temp/many.txt" "$temp/many.export"
    )
}
catalogue_not_found() {
    run catalogue --find "no such character"
    [ "$status" -eq 1 ] && grep -qx 'no such character: not found' "$temp/out"
}
# The table holds 100 rows; then a file of 200 is imported that is broken in one: EXPECTED is told and the 100 stay.
catalogue_broken() { # LINE AWK_ACTION EXPECTED
    head -n 100 "$unicode_data" >"$temp/good.txt"
    run catalogue --database "$temp/kept.db" --find "DIGIT ONE" "$temp/good.txt"
    [ "$status" -eq 0 ] || return 1
    head -n 200 "$unicode_data" | awk -v line="$1" 'BEGIN { FS = OFS = ";" } NR == line { '"$2"' } { print }' >"$temp/broken.txt"
    run catalogue --database "$temp/kept.db" --find "DIGIT ONE" "$temp/broken.txt"
    [ "$status" -eq 1 ] && [ "$(tail -n 1 "$temp/err")" = "catalogue: $temp/broken.txt:$1: $3" ] || return 1
    run catalogue --database "$temp/kept.db" --no-import --find "DIGIT ONE" --export "$temp/kept.txt"
    [ "$status" -eq 0 ] && cmp "$temp/good.txt" "$temp/kept.txt"
}
catalogue_nothing_kept() {
    printf '0041;A;Lu;0;L;;;;;N;;;;0061;\n0042;B;Lu;x;L;;;;;N;;;;0062;\n' >"$temp/second.txt"
    run catalogue --database "$temp/none.db" "$temp/second.txt"
    [ "$status" -eq 1 ] && refused catalogue --database "$temp/none.db" --no-import && grep -q 'no such table' "$temp/err"
}
catalogue_missing_file() {
    refused catalogue "$temp/nothing.txt" && grep -q "cannot read $temp/nothing.txt" "$temp/err"
}
catalogue_empty_file() {
    : >"$temp/empty.txt"
    run catalogue "$temp/empty.txt"
    [ "$status" -eq 1 ] && grep -q 'empty.txt: is empty' "$temp/err"
}

check "UnicodeData.txt comes back as it went in" catalogue_round_trip
check "rows are streamed in bounded memory" catalogue_bounded_memory
check "a name that is not there" catalogue_not_found
check "an export to nowhere" refused catalogue --database "$temp/unexported.db" --export "$temp/nowhere/file"
check "... is refused before the work" eval '[ ! -e "$temp/unexported.db" ]'
check "a broken code point" catalogue_broken 123 '$1 = "00G7"' "field 0 (code point): '00G7' is not a hexadecimal code point up to 10FFFF"
check "a broken combining class" catalogue_broken 123 '$4 = 255' "field 3 (combining class): '255' is not a number from 0 to 254"
check "an empty name" catalogue_broken 1 '$2 = ""' "field 1 (name): '' is empty"
check "a broken flag" catalogue_broken 200 '$10 = "yes"' "field 9 (mirrored): 'yes' is neither Y nor N"
check "a broken mapping" catalogue_broken 98 '$13 = "41"' "field 12 (uppercase): '41' is not a hexadecimal code point of at least four digits"
check "a field too few" catalogue_broken 77 'NF = 14' "15 fields are expected, there are 14"
check "a field too many" catalogue_broken 77 '$16 = "x"' "15 fields are expected, there are 16"
check "a code point twice" catalogue_broken 150 '$1 = "0041"' "field 0 (code point): is there twice"
check "nothing of a broken file is kept" catalogue_nothing_kept
check "catalogue --help" helps catalogue
check "a missing file" catalogue_missing_file
check "an empty file" catalogue_empty_file
check "a folder to import" refused catalogue "$temp"
check "two files" refused catalogue "$unicode_data" "$unicode_data"
check "an option that is not there" refused catalogue --quick
check "a database that cannot be made" refused catalogue --database "$temp/nowhere/x.db"

# ----------------------------------------------------------------------------------------------------- the queue

queue_small() {
    run queue --database "$url" --jobs 300
    [ "$status" -eq 0 ] && last_line out "queue: consistent" && grep -q '^jobs: 300 done by .* workers, 0 left, 0 done twice$' "$temp/out" &&
        grep -qx 'jobs: 100 %' "$temp/err" && shows_no_secret && [ "$(sql "select to_regclass('$1.strata_job') is null")" = t ]
}
# Three processes; one is killed while it holds jobs, and the others do these too. Each job is done once.
queue_survives_a_kill() {
    local pids=() pid before waited=0
    run queue --database "$url" --fill --jobs 120
    [ "$status" -eq 0 ] || return 1
    for pid in 1 2 3; do
        "$programs/queue" --database "$url" --work --workers 2 --work-ms 20 >"$temp/worker$pid" 2>&1 </dev/null &
        pids+=($!)
    done
    started "${pids[0]}"
    until [ "$(sql "select count(*) >= 4 from $1.strata_job_done where worker like '${pids[0]}/%'")" = t ] || [ $waited -gt 500 ]; do
        sleep 0.02 && waited=$((waited + 1))
    done
    { kill -KILL "${pids[0]}" && wait "${pids[0]}"; } 2>/dev/null
    gone
    before=$(sql "select count(*) from $1.strata_job")
    wait "${pids[1]}" && wait "${pids[2]}" || return 1
    run queue --database "$url" --check
    echo "killed with $before jobs left"
    [ "$before" -gt 0 ] && [ "$status" -eq 0 ] && grep -q '^jobs: 120 done by .* 0 left, 0 done twice$' "$temp/out" && last_line out "queue: consistent"
}
queue_ends_on_ctrl_c() {
    local waited=0
    "$programs/queue" --database "$url" --jobs 100000 --workers 2 --work-ms 10 >"$temp/out" 2>"$temp/err" </dev/null &
    started $!
    until [ "$(sql "select count(*) > 5 from $1.strata_job_done" 2>/dev/null)" = t ] || [ $waited -gt 500 ]; do
        sleep 0.05 && waited=$((waited + 1))
    done
    kill -INT $!
    status=0
    wait $! || status=$?
    gone $!
    tail -n 5 "$temp/out"
    [ "$status" -eq 0 ] && grep -q '^interrupted' "$temp/out" && last_line out "queue: consistent"
}
queue_tells_a_job_done_twice() {
    run queue --database "$url" --fill --jobs 5 && run queue --database "$url" --work && sql "insert into $1.strata_job_done values (3, 'x', 1)" || return 1
    run queue --database "$url" --check
    [ "$status" -eq 1 ] && last_line out "queue: INCONSISTENT"
}

check "queue --help" helps queue
check "a queue without a server" refused queue
check "a queue's server that is not there" refused queue --database postgresql://teller:hunter2@127.0.0.1:1/queue
check "... shows no password" eval '! grep hunter2 "$temp/err"'
check "a queue without workers" refused queue --workers 0
if [ -n "${STRATA_TEST_POSTGRES:-}" ]; then
    check "a queue" in_own_schema queue_small strata_bank_$$
    check "a killed worker's jobs are done by others" in_own_schema queue_survives_a_kill strata_bank_$$
    check "a queue and Ctrl-C" in_own_schema queue_ends_on_ctrl_c strata_bank_$$
    check "a job done twice is told" in_own_schema queue_tells_a_job_done_twice strata_bank_$$
else
    echo "STRATA_TEST_POSTGRES is not set: no queue"
fi

checks_end
