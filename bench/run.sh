#!/usr/bin/env bash
# Measures what strata costs over the same work by hand and prints a line for each promise; see --help.
set -euo pipefail
shopt -s inherit_errexit
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/install.sh
. .ci/install.sh
# shellcheck source=../.ci/steps.sh
. .ci/steps.sh
# shellcheck source=../test/support/postgres.sh
. test/support/postgres.sh
# shellcheck source=postgres.sh
. bench/postgres.sh
# shellcheck source=locking.sh
. bench/locking.sh
# shellcheck source=resilience.sh
. bench/resilience.sh
# shellcheck source=optimistic.sh
. bench/optimistic.sh
# shellcheck source=pipelined.sh
. bench/pipelined.sh

names=(overhead.sqlite.select overhead.sqlite.scan overhead.chain.blocking overhead.chain.async overhead.breaker.reject
       pool.borrow pool.contention pool.fairness chain.six simulation.steps locking.transaction locking.optimistic
       compile.blocking compile.async compile.statements postgres.roundtrip.blocking postgres.roundtrip.async postgres.pipeline100
       postgres.rows postgres.copy_in postgres.stream.memory
       pipelined.reads pipelined.mixed pipelined.cpu pipelined.single pipelined.beside_slow pipelined.threads pipelined.callers)

usage() {
    cat <<EOF
usage: bench/run.sh [--no-install] [FILTER]

Prints a line for each figure whose name is FILTER or begins with it (without FILTER: all):

    NAME ratio=R ours=A base=B unit=U [KEY=VALUE...]

Progress goes to the standard error. ratio is ours / base unless said otherwise. Where the figure is promised, limit= names
the bound (of the ratio, or of the field before it) and within= says yes or no. The bases lie in bench/raw/ and include
nothing of strata. Instructions are counted by callgrind, in two runs of which one makes three times as many calls: the
difference is free of what comes before and after the calls. Times are taken in alternating runs of ours and base.

  overhead.sqlite.select   instructions of a prepared point select of four columns through the bank's eight layers, over the
                           same by hand. added: ours - base. added_x1, _x10, _x100: the same for 100, 1,000, 10,000 calls.
                           time_*: nanoseconds a call, the best run; time_median_ratio: of the medians
  overhead.sqlite.scan     instructions a row of 1,000,000 rows into a vector of structs. ratio_x1, _x10, _x100: 10,000 to
                           1,000,000 rows
  overhead.chain.blocking  instructions that metrics, total_timeout, retry, circuit_breaker, attempt_timeout and chaos add to
                           a call of a database that does nothing. ours: the larger of both compilers' (fields g++, clang++);
                           base: this call without them (with g++); ratio: (ours + base) / base; raw: a plain function call;
                           allocations: calls of operator new and malloc in 30,000 calls after
                           1,000 (both compilers together)
  overhead.chain.async     the same through the asynchronous face with a callback. base: what six nested coroutines
                           that do the same by hand add to a hop through the executor; ratio: ours / base
  overhead.breaker.reject  instructions of a call that an open breaker refuses, as a result; base: a breaker by hand
  pool.borrow              instructions of an uncontended borrowing from the pool and return, at the source itself, with the larger of
                           both compilers; base: a deque behind a mutex and a condition variable. allocations: in 30,000 calls
  pool.contention          nanoseconds a borrowing where 1, 2, 4 and 8 threads borrow all the time, medians; a connection for each
                           thread, and (_short) half as many, where callers wait for one another, in order; ratio: of 8 threads.
                           processors: that ours had on an average with 8 threads
  pool.fairness            99.9th percentile of the wait of two callers a connection, 8 connections, in the simulated world (ours)
                           and of the closed queue M/M/c//2c in order (base), which bench/raw/fairness.cpp computes; ratio_2,
                           ratio_32: with 2 and 32 connections. *_by_hand: simulated without strata, in order and not
  chain.six                instructions that the interceptors of overhead.chain.blocking add with all their features in use; base: six
                           layers of std::function. plain: without the features; name, deadline, budget, window, die: what each
                           of them adds (bench/ours/chain_six.cpp); allocations as above
  simulation.steps         steps of a simulation a second (ours, the best run) with 1,000 clients; base: by an event loop by hand, events.
                           ours_x1, _x10: with 10 and 100 clients. Five runs of one seed must have the same digest
  compile.blocking         CPU seconds and peak memory of compiling the smallest blocking program (-std=c++20 -O0, g++), least
                           of several. O2_ratio: at -O2; clang_*: with clang
  compile.async            the same for the smallest asynchronous program, over Asio by hand
  compile.statements       CPU seconds for each further statement of a program (110 statements less 10), and the bytes that it
                           adds to the object; base: the same by hand. ours_x1, _x10, _x30: between 1 and 11, 10 and
                           110, 10 and 310 statements
  locking.transaction      transactions a second of a closure with one single-row update through the bank's eight layers, over begin,
                           update and commit by libpq alone: ratio is the median of neighbouring runs; processor time of the client,
                           system calls and instructions of one transaction. resolve_commit_ratio: with that option
  postgres.roundtrip.blocking, postgres.roundtrip.async
                           processor time of the client for a prepared \`select \$1::int\` through the bank's eight layers, over
                           libpq alone (asynchronously: over callbacks by hand); system calls and instructions of one call
  postgres.pipeline100     the same for a flight of 100 point reads; how many times faster than one after the other
  postgres.rows            1,000,000 rows of four columns into a vector of structs, by the clock; libpqxx beside it if it is there
  postgres.copy_in         1,000,000 structs by binary COPY: rows a second over those of libpq by hand; libpqxx's stream beside it if it
                           is there
  postgres.stream.memory   peak memory of streaming 10,000,000 rows, over that of the program without a row
  locking.optimistic       updates a second of one row whose version is checked, through optimistic_locking and the bank's eight layers, over
                           those of \`update ... where version = \$n\` by libpq alone, by the clock; sqlite_: the same on an SQLite file that
                           is not synchronised, by processor time
  pipelined.reads          statements a second of 64 callers of one thread who read rows by key through the bank's eight layers, over two
                           connections that they share; base: over the best pool of 4, 8, 16 and 32 connections (best; pool_4 ...
                           pool_32: each). ratio: the median of neighbouring runs
  pipelined.mixed          the same with every fifth statement an update of one row
  pipelined.cpu            processor time of the client for one of these reads; base: in a flight of 64 behind one Sync by libpq alone
  pipelined.single         nanoseconds of one caller's read, one after the other; base: over a pool of one connection, same layers
  pipelined.beside_slow    99th percentile, in microseconds, of the reads of 32 callers while four more sleep for 20 ms on the server
                           again and again, or (sum_) sum up the whole table; base: over a pool of 8
  pipelined.threads        reads a second of 64 callers on two threads, each with an io_context and two connections; base: on one
  pipelined.callers        reads a second of 1 to 1024 callers over the best pool, and over shared connections with a Sync for each read
                           and without: written to bench/results/. ratio: the largest, with as many callers as ratio_at says

A clock read counts as the few instructions of the system call's wrapper: valgrind has no vDSO.

--no-install only names the packages that are missing, and ends with status 1 if there are any.
EOF
}

install=yes
filter=
for argument in "$@"; do
    case $argument in
    --help | -h) usage; exit 0 ;;
    --no-install) install=no ;;
    -*) echo "run.sh: unknown option $argument; see --help" >&2; exit 2 ;;
    *)
        if [ -n "$filter" ]; then echo "run.sh: only one FILTER, see --help" >&2; exit 2; fi
        filter=$argument
        ;;
    esac
done

chosen=()
for name in "${names[@]}"; do
    if [[ $name == "$filter"* ]]; then chosen+=("$name"); fi
done
if [ ${#chosen[@]} -eq 0 ]; then
    echo "run.sh: no line begins with '$filter'; the lines are: ${names[*]}" >&2
    exit 2
fi
wants() { [[ " ${chosen[*]}" == *" $1"* ]]; }

groups=(build sqlite clang bench)
if wants postgres || wants locking || wants pipelined; then groups+=(libpq postgres pqxx); fi
strata_require "$install" "${groups[@]}" >&2
steps_begin build/bench/logs >&2
note() { say "$*" >&2; }

gcc_programs=build/release/bench
clang_programs=build/clang-release/bench
profiles=$PWD/build/bench/profiles
data=$PWD/build/bench/data
mkdir -p "$profiles" "$data"

# ------------------------------------------------------------------------------------------------ calculating

calculate() { awk -v digits="$1" "BEGIN { printf \"%.*f\", digits, ($2) }"; }
larger() { calculate 1 "$1 > $2 ? $1 : $2"; }
holds() { awk "BEGIN { print (($1) ? \"yes\" : \"no\") }"; }
least() { printf '%s\n' "$@" | sort -g | head -n 1; }
median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# field KEY LINE: the value of KEY=VALUE.
field() { sed -n "s/^\(.* \)\?$1=\([^ ]*\).*/\2/p" <<<"$2"; }

# ---------------------------------------------------------------------------------------------------- building

build() {  # build PRESET PROGRAM...
    local preset=$1
    shift
    step "configure-$preset" "configuring $preset" cmake --preset "$preset" >&2
    step "build-$preset" "building $*" cmake --build "build/$preset" -j "$steps_jobs" --target "$@" >&2
}

needed=() needed_of_clang=()
if wants compile; then needed+=(bench_cost); fi
if wants overhead.sqlite; then needed+=(raw_fill); fi
if wants overhead.sqlite.select; then needed+=(raw_select ours_select); fi
if wants overhead.sqlite.scan; then needed+=(raw_scan ours_scan); fi
if wants overhead.chain.blocking; then needed+=(raw_empty_call ours_chain_blocking) needed_of_clang+=(ours_chain_blocking); fi
if wants overhead.chain.async; then needed+=(raw_tower ours_chain_async) needed_of_clang+=(raw_tower ours_chain_async); fi
if wants overhead.breaker.reject; then needed+=(raw_refusal ours_refusal) needed_of_clang+=(ours_refusal); fi
if wants pool.borrow || wants pool.contention; then needed+=(raw_pool ours_pool); fi
if wants pool.borrow; then needed_of_clang+=(ours_pool); fi
if wants locking.transaction; then needed+=(raw_postgres_transaction ours_postgres_transaction); fi
if wants pool.fairness; then needed+=(raw_fairness ours_fairness); fi
if wants chain.six; then needed+=(raw_function_tower ours_chain_six) needed_of_clang+=(ours_chain_six); fi
if wants simulation.steps; then needed+=(raw_simulation ours_simulation); fi
for program in roundtrip roundtrip_async pipeline100 rows copy_in; do
    if wants "postgres.${program%_async}"; then needed+=("raw_postgres_$program" "ours_postgres_$program"); fi
done
if wants locking.optimistic; then
    needed+=(ours_locking_optimistic raw_locking_optimistic ours_postgres_locking_optimistic raw_postgres_locking_optimistic)
fi
if wants pipelined; then needed+=(raw_postgres_fill raw_postgres_pipelined ours_postgres_pipelined); fi
if wants postgres.stream.memory; then needed+=(ours_postgres_stream); fi
if wants postgres.rows && strata_header pqxx/pqxx; then needed+=(raw_postgres_pqxx_rows); fi
if wants postgres.copy_in && strata_header pqxx/pqxx; then needed+=(raw_postgres_pqxx_copy_in); fi
build release "${needed[@]}"
if [ ${#needed_of_clang[@]} -gt 0 ]; then build clang-release "${needed_of_clang[@]}"; fi

# --------------------------------------------------------------------------------------------------- measuring

# count PROFILE PROGRAM ARGUMENT...: the instructions of one run. Its output is left in $steps_temp/PROFILE.txt, the
# profile, for callgrind_annotate, in $profiles.
count() {
    local profile=$1 instructions
    shift
    if ! valgrind --tool=callgrind --callgrind-out-file="$profiles/$profile.out" --log-file="$steps_temp/callgrind.log" "$@" \
            >"$steps_temp/$profile.txt"; then
        cat "$steps_temp/callgrind.log" >&2
        strata_fail "$1 failed"
    fi
    instructions=$(sed -n 's/.* Collected : \([0-9][0-9]*\).*/\1/p' "$steps_temp/callgrind.log")
    [ -n "$instructions" ] || strata_fail "callgrind counted nothing of $1"
    echo "$instructions"
}

# a_call PROFILE CALLS PROGRAM [MORE...]: the instructions of one call of `PROGRAM CALLS MORE...`.
a_call() {
    local profile=$1 calls=$2 program=$3 few many
    shift 3
    few=$(count "$profile" "$program" "$calls" "$@")
    many=$(count "$profile" "$program" $((3 * calls)) "$@")
    calculate 1 "($many - $few) / (2 * $calls)"
}

same_checksum() {  # same_checksum LINE LINE
    local one other
    one=$(field checksum "$1") other=$(field checksum "$2")
    [ -n "$one" ] && [ "$one" = "$other" ] || strata_fail "the results of ours and base differ: '$one' and '$other'"
}

# alternate CALLS OURS BASE [MORE...]: runs both in turn; sets ours_times and base_times (nanoseconds a call).
alternate() {
    local calls=$1 ours=$2 base=$3 round a b
    shift 3
    ours_times=() base_times=()
    for round in 1 2 3 4 5 6 7; do
        a=$("$ours" "$calls" "$@")
        b=$("$base" "$calls" "$@")
        same_checksum "$a" "$b"
        ours_times+=("$(calculate 1 "$(field ns "$a") / $calls")")
        base_times+=("$(calculate 1 "$(field ns "$b") / $calls")")
    done
}

time_fields() {
    local ours base
    ours=$(least "${ours_times[@]}") base=$(least "${base_times[@]}")
    echo "time_ratio=$(calculate 3 "$ours / $base") time_ours_ns=$ours time_base_ns=$base" \
         "time_median_ratio=$(calculate 3 "$(median "${ours_times[@]}") / $(median "${base_times[@]}")")"
}

# table ROWS: a database with so many accounts, made once.
table() {
    local file=$data/accounts-$1.db
    if [ ! -e "$file" ] || [ bench/raw/fill.cpp -nt "$file" ]; then
        rm -f "$file" "$file-wal" "$file-shm"
        "$gcc_programs/raw_fill" "$1" "$file.new"
        mv "$file.new" "$file"
    fi
    echo "$file"
}

# --------------------------------------------------------------------------------------------------- the lines

overhead.sqlite.select() {
    local file ours base calls growth='' name=x
    file=$(table 100000)
    for calls in 100 1000 10000; do
        note "overhead.sqlite.select: counting $calls calls"
        ours=$(a_call select.ours "$calls" "$gcc_programs/ours_select" "$file")
        base=$(a_call select.base "$calls" "$gcc_programs/raw_select" "$file")
        same_checksum "$(<"$steps_temp/select.ours.txt")" "$(<"$steps_temp/select.base.txt")"
        growth+=" added_x$((calls / 100))=$(calculate 1 "$ours - $base")"
    done
    note "overhead.sqlite.select: timing"
    alternate 100000 "$gcc_programs/ours_select" "$gcc_programs/raw_select" "$file"
    echo "overhead.sqlite.select ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=instructions limit=1.06" \
         "added=$(calculate 1 "$ours - $base") limit_added=300" \
         "within=$(holds "$ours <= 1.06 * $base && $ours - $base <= 300") $(time_fields)$growth"
}

# a_row PROFILE PROGRAM FILE ROWS: the instructions of one row: a pass over so many rows less no pass.
a_row() {
    local profile=$1 program=$2 file=$3 rows=$4 none all
    none=$(count "$profile" "$program" 0 "$file" "$rows")
    all=$(count "$profile" "$program" 1 "$file" "$rows")
    calculate 1 "($all - $none) / $rows"
}

overhead.sqlite.scan() {
    local file ours base rows growth=''
    file=$(table 1000000)
    for rows in 10000 100000 1000000; do
        note "overhead.sqlite.scan: counting $rows rows"
        ours=$(a_row scan.ours "$gcc_programs/ours_scan" "$file" "$rows")
        base=$(a_row scan.base "$gcc_programs/raw_scan" "$file" "$rows")
        same_checksum "$(<"$steps_temp/scan.ours.txt")" "$(<"$steps_temp/scan.base.txt")"
        growth+=" ratio_x$((rows / 10000))=$(calculate 3 "$ours / $base")"
    done
    note "overhead.sqlite.scan: timing"
    alternate 1 "$gcc_programs/ours_scan" "$gcc_programs/raw_scan" "$file" 1000000
    echo "overhead.sqlite.scan ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=instructions_a_row limit=1.05" \
         "within=$(holds "$ours <= 1.05 * $base") added=$(calculate 1 "$ours - $base") $(time_fields | sed 's/_ns=/_ns_a_pass=/g')$growth"
}

# increment PROFILE CALLS PROGRAM: sets empty (the call without layers), full, added, allocations (of CALLS * 3 calls).
increment() {
    empty=$(a_call "$1.empty" "$2" "$3" 0)
    full=$(a_call "$1" "$2" "$3" 6)
    added=$(calculate 1 "$full - $empty")
    allocations=$(field allocations "$(<"$steps_temp/$1.txt")")
    same_checksum "$(<"$steps_temp/$1.txt")" "$(<"$steps_temp/$1.empty.txt")"
}

overhead.chain.blocking() {
    local empty full added allocations ours_gcc ours_clang base raw growth='' calls of_gcc ours
    for calls in 100 1000 10000; do
        note "overhead.chain.blocking: counting $calls calls"
        increment chain.blocking $calls "$gcc_programs/ours_chain_blocking"
        growth+=" added_x$((calls / 100))=$added"
    done
    ours_gcc=$added base=$empty of_gcc=$allocations
    increment chain.blocking.clang 10000 "$clang_programs/ours_chain_blocking"
    ours_clang=$added
    allocations=$((of_gcc + allocations))
    raw=$(a_call empty_call 10000 "$gcc_programs/raw_empty_call")
    ours=$(larger "$ours_gcc" "$ours_clang")
    echo "overhead.chain.blocking ratio=$(calculate 3 "($ours + $base) / $base") ours=$ours base=$base unit=instructions limit=120" \
         "allocations=$allocations within=$(holds "$ours <= 120 && $allocations == 0") g++=$ours_gcc clang++=$ours_clang" \
         "clang++_base=$empty raw=$raw$growth"
}

overhead.chain.async() {
    local empty full added allocations of_gcc ours_gcc ours_clang base tower_allocations base_clang growth='' calls empty_gcc ours a b
    for calls in 100 1000 10000; do
        note "overhead.chain.async: counting $calls calls"
        increment chain.async $calls "$gcc_programs/ours_chain_async"
        growth+=" added_x$((calls / 100))=$added"
    done
    ours_gcc=$added of_gcc=$allocations empty_gcc=$empty
    increment chain.async.clang 10000 "$clang_programs/ours_chain_async"
    ours_clang=$added
    of_gcc=$((of_gcc + allocations))
    note "overhead.chain.async: counting the tower of coroutines"
    increment chain.async.tower 10000 "$gcc_programs/raw_tower"
    base=$added
    tower_allocations=$(calculate 1 "$allocations / 30000")
    increment chain.async.tower.clang 10000 "$clang_programs/raw_tower"
    base_clang=$added
    note "overhead.chain.async: timing"
    alternate 200000 "$gcc_programs/ours_chain_async" "$gcc_programs/raw_tower" 6
    ours=$(larger "$ours_gcc" "$ours_clang")
    echo "overhead.chain.async ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=instructions allocations=$of_gcc" \
         "within=$(holds "$of_gcc == 0") g++=$ours_gcc clang++=$ours_clang clang++_base=$base_clang tower_allocations_a_call=$tower_allocations" \
         "empty_call=$empty_gcc $(time_fields)$growth"
}

overhead.breaker.reject() {
    local ours ours_clang base larger_one
    note "overhead.breaker.reject: counting"
    ours=$(a_call refusal.ours 10000 "$gcc_programs/ours_refusal")
    ours_clang=$(a_call refusal.ours.clang 10000 "$clang_programs/ours_refusal")
    base=$(a_call refusal.base 10000 "$gcc_programs/raw_refusal")
    larger_one=$(larger "$ours" "$ours_clang")
    note "overhead.breaker.reject: timing"
    alternate 1000000 "$gcc_programs/ours_refusal" "$gcc_programs/raw_refusal"
    echo "overhead.breaker.reject ratio=$(calculate 3 "$larger_one / $base") ours=$larger_one base=$base unit=instructions limit=100" \
         "within=$(holds "$larger_one < 100") g++=$ours clang++=$ours_clang $(time_fields)"
}

# compile COMPILER FLAGS SOURCE: what compiling it costs.
compile() {
    # shellcheck disable=SC2086
    CCACHE_DISABLE=1 "$gcc_programs/bench_cost" $1 -std=c++20 $2 -Iinclude -c "$3" -o "$steps_temp/compiled.o" 2>"$steps_temp/compile.log" || {
        cat "$steps_temp/compile.log" >&2
        strata_fail "$3 does not compile"
    }
}

# compile_both ROUNDS COMPILER FLAGS NAME: sets seconds_ours, seconds_base, memory_ours, memory_base (MiB).
compile_both() {
    local rounds=$1 compiler=$2 flags=$3 name=$4 round line ours=() base=() ours_memory=() base_memory=()
    for ((round = 0; round < rounds; ++round)); do
        line=$(compile "$compiler" "$flags" "bench/ours/$name.cpp")
        ours+=("$(field seconds "$line")") ours_memory+=("$(field kilobytes "$line")")
        line=$(compile "$compiler" "$flags" "bench/raw/$name.cpp")
        base+=("$(field seconds "$line")") base_memory+=("$(field kilobytes "$line")")
    done
    seconds_ours=$(least "${ours[@]}") seconds_base=$(least "${base[@]}")
    memory_ours=$(calculate 1 "$(least "${ours_memory[@]}") / 1024") memory_base=$(calculate 1 "$(least "${base_memory[@]}") / 1024")
}

compile_line() {  # compile_line NAME PROGRAM LIMIT
    local seconds_ours seconds_base memory_ours memory_base ratio memory_ratio first more=''
    note "$1: compiling with $CXX"
    compile_both 5 "$CXX" -O0 "$2"
    ratio=$(calculate 3 "$seconds_ours / $seconds_base") memory_ratio=$(calculate 3 "$memory_ours / $memory_base")
    first="ratio=$ratio ours=$seconds_ours base=$seconds_base unit=s limit=$3 memory_ratio=$memory_ratio limit_memory=$3"
    first+=" within=$(holds "$ratio <= $3 && $memory_ratio <= $3") memory_ours_MiB=$memory_ours memory_base_MiB=$memory_base"
    compile_both 3 "$CXX" -O2 "$2"
    more+=" O2_ratio=$(calculate 3 "$seconds_ours / $seconds_base") O2_ours=$seconds_ours O2_base=$seconds_base"
    note "$1: compiling with $STRATA_CLANGXX"
    compile_both 3 "$STRATA_CLANGXX" -O0 "$2"
    more+=" clang_ratio=$(calculate 3 "$seconds_ours / $seconds_base") clang_ours=$seconds_ours clang_base=$seconds_base"
    more+=" clang_memory_ratio=$(calculate 3 "$memory_ours / $memory_base")"
    echo "$1 $first$more"
}

compile.blocking() { compile_line compile.blocking blocking_min 2.5; }
compile.async() { compile_line compile.async async_min 1.3; }

# statements KIND COUNT: writes a program of so many different statements.
statements() {
    local n
    if [ "$1" = ours ]; then
        sed '/^int main/,$d' bench/ours/blocking_min.cpp
        echo 'int main(int argc, char** argv) {'
        echo '    if (argc != 2) return 2;'
        echo '    database db{strata::sqlite_options{.path = argv[1]}};'
        echo '    std::int64_t sum = 0;'
        for ((n = 1000; n < 1000 + $2; ++n)); do
            echo "    sum += db.one<account>(\"select id, owner, balance, version from account where id = :id and version <> $n\"_sql(\"id\"_arg = 7)).balance;"
        done
        echo '    return sum == 0;'
        echo '}'
    else
        sed '/^std::optional<account> find/,$d' bench/raw/blocking_min.cpp
        for ((n = 1000; n < 1000 + $2; ++n)); do
            sed -n '/^std::optional<account> find/,/^}/p' bench/raw/blocking_min.cpp | sed "s/ find(/ find_$n(/; s/id = ?1/& and version <> $n/"
        done
        echo '}'
        echo 'int main(int argc, char** argv) {'
        echo '    sqlite3* db = nullptr;'
        echo '    if (argc != 2 || sqlite3_open(argv[1], &db) != SQLITE_OK) return 1;'
        echo '    std::int64_t sum = 0;'
        for ((n = 1000; n < 1000 + $2; ++n)); do echo "    if (const auto a = find_$n(db, 7)) sum += a->balance;"; done
        echo '    sqlite3_close(db);'
        echo '    return sum == 0;'
        echo '}'
    fi
}

# per_statement KIND COMPILER FLAGS FROM TO: sets seconds and bytes of each statement between FROM and TO.
per_statement() {
    local count round line best=() size=()
    for count in "$4" "$5"; do
        local times=()
        statements "$1" "$count" >"$steps_temp/statements.cpp"
        for round in 1 2; do
            line=$(compile "$2" "$3" "$steps_temp/statements.cpp")
            times+=("$(field seconds "$line")")
        done
        best+=("$(least "${times[@]}")")
        size+=("$(stat -c %s "$steps_temp/compiled.o")")
    done
    seconds=$(calculate 5 "(${best[1]} - ${best[0]}) / ($5 - $4)")
    bytes=$(calculate 0 "(${size[1]} - ${size[0]}) / ($5 - $4)")
}

compile.statements() {
    local seconds bytes ours ours_bytes base line more=''
    note "compile.statements: compiling 10 and 110 statements with $CXX"
    per_statement ours "$CXX" -O0 10 110
    ours=$seconds ours_bytes=$bytes
    per_statement raw "$CXX" -O0 10 110
    base=$seconds
    line="ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=s bytes=$ours_bytes base_bytes=$bytes"
    per_statement ours "$CXX" -O2 10 110
    more+=" O2_ours=$seconds O2_bytes=$bytes"
    per_statement raw "$CXX" -O2 10 110
    more+=" O2_base=$seconds O2_base_bytes=$bytes"
    note "compile.statements: compiling 10 and 110 statements with $STRATA_CLANGXX"
    per_statement ours "$STRATA_CLANGXX" -O0 10 110
    more+=" clang_ours=$seconds clang_bytes=$bytes"
    note "compile.statements: growth"
    per_statement ours "$CXX" -O0 1 11
    more+=" ours_x1=$seconds ours_x10=$ours"
    per_statement ours "$CXX" -O0 10 310
    more+=" ours_x30=$seconds"
    echo "compile.statements $line$more"
}

for name in "${chosen[@]}"; do "$name"; done
