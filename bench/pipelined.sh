# Sourced by bench/run.sh: the lines of connections that are shared. Uses what bench/postgres.sh and bench/locking.sh have.
#
# Client and server share the machine's processors, and all of them are busy: what counts is the median of the ratios of neighbours.
# shellcheck shell=bash disable=SC2154

pipelined_begin() {
    postgres_begin
    if [ -z "${pipelined_filled:-}" ]; then "$gcc_programs/raw_postgres_fill" 100000 "$postgres_where"; fi
    pipelined_filled=yes
}
# A server that is not ours gets rid of the table.
pipelined_end() {
    [ -n "${STRATA_TEST_POSTGRES:-}" ] || return 0
    "$gcc_programs/raw_postgres_fill" 0 "$postgres_where"
    pipelined_filled=
}

# crowd ROUNDS CALLERS WHAT SOURCE/CALLS...: each in turn. Sets rates[SOURCE], calls a second of all rounds, and rate[SOURCE], their median.
crowd() {
    local rounds=$1 callers=$2 what=$3 round one source calls line
    shift 3
    rates=() rate=()
    for ((round = 0; round < rounds; ++round)); do
        for one in "$@"; do
            source=${one%/*} calls=${one#*/}
            line=$("$gcc_programs/ours_postgres_pipelined" "$calls" "$postgres_where" "$source" "$callers" "$what")
            rates[$source]+=" $(calculate 0 "1e9 * $calls / $(field ns "$line")")"
        done
    done
    for one in "$@"; do
        source=${one%/*}
        # shellcheck disable=SC2086
        rate[$source]=$(median ${rates[$source]})
    done
}

# best_pool: sets best, the pool with the highest rate.
best_pool() {
    local source
    best=pool:4
    for source in pool:8 pool:16 pool:32; do
        if [ "${rate[$source]}" -gt "${rate[$best]}" ]; then best=$source; fi
    done
}

# over_pool LINE WHAT LIMIT
over_pool() {
    local best i ours=() base=() all=() ratio more='' size
    local -A rates=() rate=()
    pipelined_begin
    note "$1: timing"
    crowd 5 64 "$2" pool:4/12000 pool:8/12000 shared/30000 pool:16/12000 pool:32/12000
    best_pool
    read -ra ours <<<"${rates[shared]}"
    read -ra base <<<"${rates[$best]}"
    for ((i = 0; i < ${#ours[@]}; ++i)); do all+=("$(calculate 4 "${ours[i]} / ${base[i]}")"); done
    ratio=$(calculate 3 "$(median "${all[@]}")")
    for size in 4 8 16 32; do more+=" pool_$size=${rate[pool:$size]}"; done
    echo "$1 ratio=$ratio ours=${rate[shared]} base=${rate[$best]} unit=statements_per_second limit=$3 within=$(holds "$ratio >= $3")" \
         "best=${best/:/_}$more"
    pipelined_end
}
pipelined.reads() { over_pool pipelined.reads reads 4; }
pipelined.mixed() { over_pool pipelined.mixed mixed 2; }

crowd_of_64() { "$gcc_programs/ours_postgres_pipelined" "$1" "$2" shared 64 reads; }
flight_of_64() { "$gcc_programs/raw_postgres_pipelined" "$1" "$2" 64; }

pipelined.cpu() {
    local ours_cpu base_cpu ours_time base_time least_ratio ratio instructions base_instructions
    pipelined_begin
    note "pipelined.cpu: counting"
    instructions=$(a_call pipelined.ours 3200 "$gcc_programs/ours_postgres_pipelined" "$postgres_where" shared 64 reads)
    base_instructions=$(a_call pipelined.base 3200 "$gcc_programs/raw_postgres_pipelined" "$postgres_where" 64)
    note "pipelined.cpu: timing"
    pairs 9 48000 crowd_of_64 flight_of_64 "$postgres_where"
    ratio=$(calculate 3 "$ours_cpu / $base_cpu")
    echo "pipelined.cpu ratio=$ratio ours=$ours_cpu base=$base_cpu unit=ns_of_cpu limit=1.5 within=$(holds "$ratio <= 1.5")" \
         "instructions=$instructions base_instructions=$base_instructions" \
         "instructions_ratio=$(calculate 3 "$instructions / $base_instructions") reads_per_second=$(calculate 0 "1e9 / $ours_time")" \
         "base_reads_per_second=$(calculate 0 "1e9 / $base_time")"
    pipelined_end
}

one_who_shares() { "$gcc_programs/ours_postgres_pipelined" "$1" "$2" shared 1 reads; }
one_alone() { "$gcc_programs/ours_postgres_pipelined" "$1" "$2" pool:1 1 reads; }

pipelined.single() {
    local ratio ours_time base_time ours_cpu base_cpu instructions base_instructions
    pipelined_begin
    note "pipelined.single: counting"
    instructions=$(a_call pipelined_single.ours 1000 "$gcc_programs/ours_postgres_pipelined" "$postgres_where" shared 1 reads)
    base_instructions=$(a_call pipelined_single.base 1000 "$gcc_programs/ours_postgres_pipelined" "$postgres_where" pool:1 1 reads)
    note "pipelined.single: timing"
    ratios 21 2000 one_who_shares one_alone "$postgres_where"
    ratio=$(calculate 3 "1 / $ratio")
    echo "pipelined.single ratio=$ratio ours=$ours_time base=$base_time unit=ns limit=1.05 within=$(holds "$ratio <= 1.05")" \
         "cpu_ratio=$(calculate 3 "$ours_cpu / $base_cpu") instructions=$instructions base_instructions=$base_instructions"
    pipelined_end
}

# beside WHAT CALLS: sets ours_p50, ours_p99, base_p50, base_p99: microseconds, medians.
beside() {
    local round a b ours_50=() ours_99=() base_50=() base_99=()
    for round in 1 2 3 4 5; do
        a=$("$gcc_programs/ours_postgres_pipelined" "$2" "$postgres_where" shared 32 "$1")
        b=$("$gcc_programs/ours_postgres_pipelined" "$2" "$postgres_where" pool:8 32 "$1")
        same_checksum "$a" "$b"
        ours_50+=("$(field p50_ns "$a")") ours_99+=("$(field p99_ns "$a")")
        base_50+=("$(field p50_ns "$b")") base_99+=("$(field p99_ns "$b")")
    done
    ours_p50=$(calculate 0 "$(median "${ours_50[@]}") / 1000") ours_p99=$(calculate 0 "$(median "${ours_99[@]}") / 1000")
    base_p50=$(calculate 0 "$(median "${base_50[@]}") / 1000") base_p99=$(calculate 0 "$(median "${base_99[@]}") / 1000")
}

pipelined.beside_slow() {
    local ours_p50 ours_p99 base_p50 base_p99 more
    pipelined_begin
    note "pipelined.beside_slow: beside sums"
    beside sum 4000
    more="sum_ratio=$(calculate 3 "$ours_p99 / $base_p99") sum_p50=$ours_p50 sum_p99=$ours_p99 sum_base_p50=$base_p50 sum_base_p99=$base_p99"
    note "pipelined.beside_slow: beside sleepers"
    beside sleep 10000
    echo "pipelined.beside_slow ratio=$(calculate 3 "$ours_p99 / $base_p99") ours=$ours_p99 base=$base_p99 unit=us_p99" \
         "p50=$ours_p50 base_p50=$base_p50 $more"
    pipelined_end
}

two_threads() { "$gcc_programs/ours_postgres_pipelined" "$1" "$2" shared 64 reads 2; }

pipelined.threads() {
    local ratio ours_time base_time ours_cpu base_cpu
    pipelined_begin
    note "pipelined.threads: timing"
    ratios 9 30000 two_threads crowd_of_64 "$postgres_where"
    echo "pipelined.threads ratio=$ratio ours=$(calculate 0 "1e9 / $ours_time") base=$(calculate 0 "1e9 / $base_time")" \
         "unit=reads_per_second processors=$(nproc) cpu_ratio=$(calculate 3 "$ours_cpu / $base_cpu")"
    pipelined_end
}

pipelined.callers() {
    local callers best times most=0 at=0 ours=0 base=1 calls table=$steps_temp/callers.txt results=bench/results
    local -A rates=() rate=()
    pipelined_begin
    printf 'callers\tpool, best size\tshared, a Sync each\tshared, reads share Syncs\n' >"$table"
    mkdir -p "$results"
    {
        cat <<'HEAD'
# Reads a second

Point selects by key from a table of 100,000 rows, by callers who ask again as soon as they have their answer: one Asio thread, the
bank's eight layers. *Pool*: the best of 4, 8, 16 and 32 connections. *Shared*: `pipelined<2, pool<>>`, two connections; *a Sync each*
with `pipelined_options::max_sharing = 1`. Medians of three runs. Made by `bench/run.sh pipelined.callers`.

| callers | pool | of connections | shared, a Sync each | shared, reads share Syncs | over the pool |
|---:|---:|---:|---:|---:|---:|
HEAD
        for callers in 1 4 16 64 256 1024; do
            note "pipelined.callers: $callers callers"
            calls=10000
            if [ $callers -lt 16 ]; then calls=$((2500 * callers)); fi
            crowd 3 $callers reads pool:4/$calls pool:8/$calls shared/$((3 * calls)) alone/$calls pool:16/$calls pool:32/$calls
            best_pool
            times=$(calculate 2 "${rate[shared]} / ${rate[$best]}")
            if [ "$(holds "$times > $most")" = yes ]; then
                most=$times at=$callers ours=${rate[shared]} base=${rate[$best]}
            fi
            printf '%s\t%s\t%s\t%s\n' "$callers" "${rate[$best]}" "${rate[alone]}" "${rate[shared]}" >>"$table"
            printf '| %d | %d | %d | %d | %d | %s |\n' "$callers" "${rate[$best]}" "${best#pool:}" "${rate[alone]}" "${rate[shared]}" "$times"
        done
        printf '\n![Reads a second over the number of callers](pipelined.svg)\n\n'
        printf 'On a machine with %d processors that client and server share.\n' "$(nproc)"
    } >"$steps_temp/pipelined.md"
    awk -v title='Reads a second' -v of_x='callers (logarithmic)' -v of_y='thousand reads a second' -v divide=1000 \
        -f bench/plot.awk "$table" >"$steps_temp/pipelined.svg"
    mv "$steps_temp/pipelined.md" "$steps_temp/pipelined.svg" "$results/"
    echo "pipelined.callers ratio=$most ours=$ours base=$base unit=reads_per_second ratio_at=$at" \
         "written=$results/pipelined.md"
    pipelined_end
}
