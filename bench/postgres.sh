# Sourced by bench/run.sh: the lines of PostgreSQL, against a server of its own or the one that STRATA_TEST_POSTGRES names.
#
# Both sides run in turn, and what is compared is the processor time of the client, user and system mode together, as medians.
# The server shares the machine's processors, so what is measured by the clock says more of it than of us.
# shellcheck shell=bash disable=SC2154

# The Unix socket: no TLS, which would hide what we add.
postgres_begin() {
    [ -z "${postgres_where:-}" ] || return 0
    if [ -n "${STRATA_TEST_POSTGRES:-}" ]; then
        postgres_where=$STRATA_TEST_POSTGRES
        return
    fi
    steps_at_end=postgres_stop
    note "starting a PostgreSQL server"
    chmod 711 "$steps_temp"  # its own user, if this is root
    postgres_start "$steps_temp/postgres" || strata_fail "no PostgreSQL server"
    postgres_where=$postgres_socket
}

# pairs ROUNDS CALLS OURS BASE [MORE...]: runs both in turn; sets ours_cpu, base_cpu and ours_time, base_time: medians, nanoseconds
# a call; least_ratio: of the least times, for a client and a server that share two processors now and then lose a third by placement.
pairs() {
    local rounds=$1 calls=$2 ours=$3 base=$4 round a b a_cpu=() b_cpu=() a_time=() b_time=()
    shift 4
    for ((round = 0; round < rounds; ++round)); do
        a=$("$ours" "$calls" "$@")
        b=$("$base" "$calls" "$@")
        same_checksum "$a" "$b"
        a_cpu+=("$(field cpu_ns "$a")") b_cpu+=("$(field cpu_ns "$b")")
        a_time+=("$(field ns "$a")") b_time+=("$(field ns "$b")")
    done
    ours_cpu=$(calculate 1 "$(median "${a_cpu[@]}") / $calls") base_cpu=$(calculate 1 "$(median "${b_cpu[@]}") / $calls")
    ours_time=$(calculate 1 "$(median "${a_time[@]}") / $calls") base_time=$(calculate 1 "$(median "${b_time[@]}") / $calls")
    least_ratio=$(calculate 3 "$(least "${a_time[@]}") / $(least "${b_time[@]}")")
}

# system_calls PROGRAM [MORE...]: of one call; "unknown" where a process must not be traced.
system_calls() {
    local program=$1 calls counted=()
    shift
    for calls in 1000 3000; do
        if ! strace -f -qq -o "$steps_temp/strace" "$program" "$calls" "$@" >/dev/null 2>&1; then
            echo unknown
            return
        fi
        counted+=("$(grep -vc ' resumed>' "$steps_temp/strace")")
    done
    calculate 2 "(${counted[1]} - ${counted[0]}) / 2000"
}

postgres_roundtrip() {  # postgres_roundtrip LINE PROGRAM
    local ours_cpu base_cpu ours_time base_time least_ratio ours base instructions base_instructions
    postgres_begin
    note "$1: counting"
    ours=$(system_calls "$gcc_programs/ours_$2" "$postgres_where") base=$(system_calls "$gcc_programs/raw_$2" "$postgres_where")
    instructions=$(a_call "$2.ours" 1000 "$gcc_programs/ours_$2" "$postgres_where")
    base_instructions=$(a_call "$2.base" 1000 "$gcc_programs/raw_$2" "$postgres_where")
    note "$1: timing"
    pairs 11 20000 "$gcc_programs/ours_$2" "$gcc_programs/raw_$2" "$postgres_where"
    echo "$1 ratio=$(calculate 3 "$ours_cpu / $base_cpu") ours=$ours_cpu base=$base_cpu unit=ns_of_cpu limit=1.05" \
         "within=$(holds "$ours_cpu <= 1.05 * $base_cpu") syscalls=$ours base_syscalls=$base instructions=$instructions" \
         "base_instructions=$base_instructions calls_per_second=$(calculate 0 "1e9 / $ours_time")" \
         "base_calls_per_second=$(calculate 0 "1e9 / $base_time")"
}

postgres.roundtrip.blocking() { postgres_roundtrip postgres.roundtrip.blocking postgres_roundtrip; }
postgres.roundtrip.async() { postgres_roundtrip postgres.roundtrip.async postgres_roundtrip_async; }

postgres.pipeline100() {
    local ours_cpu base_cpu ours_time base_time least_ratio one ratio
    postgres_begin
    note "postgres.pipeline100: timing"
    pairs 5 100 "$gcc_programs/ours_postgres_pipeline100" "$gcc_programs/raw_postgres_pipeline100" "$postgres_where" blocking
    one=$ours_time
    pairs 11 1000 "$gcc_programs/ours_postgres_pipeline100" "$gcc_programs/raw_postgres_pipeline100" "$postgres_where"
    ratio=$(calculate 3 "$ours_cpu / $base_cpu")
    echo "postgres.pipeline100 ratio=$ratio ours=$ours_cpu base=$base_cpu unit=ns_of_cpu_a_flight limit=1.05 within=$(holds "$ratio <= 1.05")" \
         "times_a_blocking_round_trip=$(calculate 1 "$one / $ours_time")"
}

# by_libpqxx PROGRAM: " libpqxx=NANOSECONDS" for 1,000,000 rows; nothing where libpqxx is not there.
by_libpqxx() {
    local round line times=()
    [ -x "$gcc_programs/$1" ] || return 0
    for round in 1 2 3 4 5; do
        line=$("$gcc_programs/$1" 1 "$postgres_where" 1000000)
        times+=("$(field ns "$line")")
    done
    echo " libpqxx=$(median "${times[@]}")"
}

postgres.rows() {
    local ours_cpu base_cpu ours_time base_time least_ratio ratio rows growth='' line
    postgres_begin
    for rows in 10000 100000 1000000; do
        note "postgres.rows: timing $rows rows"
        pairs 21 1 "$gcc_programs/ours_postgres_rows" "$gcc_programs/raw_postgres_rows" "$postgres_where" "$rows"
        growth+=" cpu_ratio_x$((rows / 10000))=$(calculate 3 "$ours_cpu / $base_cpu")"
    done
    ratio=$(calculate 3 "$ours_time / $base_time")
    line=$(by_libpqxx raw_postgres_pqxx_rows)
    echo "postgres.rows ratio=$ratio ours=$ours_time base=$base_time unit=ns limit=1.05 within=$(holds "$ratio <= 1.05") least_ratio=$least_ratio$line$growth"
}

postgres.copy_in() {
    local ours_cpu base_cpu ours_time base_time least_ratio ratio pqxx
    postgres_begin
    note "postgres.copy_in: timing"
    pairs 7 1 "$gcc_programs/ours_postgres_copy_in" "$gcc_programs/raw_postgres_copy_in" "$postgres_where" 1000000
    ratio=$(calculate 3 "$base_time / $ours_time")
    pqxx=$(by_libpqxx raw_postgres_pqxx_copy_in)
    echo "postgres.copy_in ratio=$ratio ours=$(calculate 0 "1e15 / $ours_time") base=$(calculate 0 "1e15 / $base_time") unit=rows_per_second" \
         "limit=0.95 within=$(holds "$ratio >= 0.95") cpu_ratio=$(calculate 3 "$ours_cpu / $base_cpu")" \
         ${pqxx:+"libpqxx=$(calculate 0 "1e15 / ${pqxx#*=}")"}
}

postgres.stream.memory() {
    local none all
    postgres_begin
    note "postgres.stream.memory: 10,000,000 rows"
    none=$(field kilobytes "$("$gcc_programs/ours_postgres_stream" 0 "$postgres_where" 1)")
    all=$(field kilobytes "$("$gcc_programs/ours_postgres_stream" 1 "$postgres_where" 10000000)")
    echo "postgres.stream.memory ratio=$(calculate 3 "$all / $none") ours=$all base=$none unit=KiB added=$((all - none)) limit_added=32768" \
         "within=$(holds "$all - $none <= 32768")"
}
