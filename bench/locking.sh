# Sourced by bench/run.sh: the lines of transactions and locks on PostgreSQL. Uses what bench/postgres.sh has.
#
# A transaction is three round trips by hand and two of ours, since BEGIN goes with the first statement; of that the server and the kernel take nearly all: both sides run in turn, in short runs, and what
# counts is the median of the ratios of neighbours, which a drift of the machine leaves alone.
# shellcheck shell=bash disable=SC2154

# ratios ROUNDS CALLS OURS BASE [MORE...]: sets ratio (base's time over ours: throughput), ours_time, base_time (medians, nanoseconds a
# call), ours_cpu and base_cpu. Who comes first alternates. ours_more: arguments of ours alone.
ratios() {
    local rounds=$1 calls=$2 ours=$3 base=$4 round a b all=() a_time=() b_time=() a_cpu=() b_cpu=()
    shift 4
    for ((round = 0; round < rounds; ++round)); do
        if ((round % 2)); then b=$("$base" "$calls" "$@"); fi
        a=$("$ours" "$calls" "$@" ${ours_more:-})
        if ((round % 2 == 0)); then b=$("$base" "$calls" "$@"); fi
        same_checksum "$a" "$b"
        a_time+=("$(field ns "$a")") b_time+=("$(field ns "$b")")
        a_cpu+=("$(field cpu_ns "$a")") b_cpu+=("$(field cpu_ns "$b")")
        all+=("$(calculate 4 "$(field ns "$b") / $(field ns "$a")")")
    done
    ratio=$(calculate 3 "$(median "${all[@]}")")
    ours_time=$(calculate 0 "$(median "${a_time[@]}") / $calls") base_time=$(calculate 0 "$(median "${b_time[@]}") / $calls")
    ours_cpu=$(calculate 0 "$(median "${a_cpu[@]}") / $calls") base_cpu=$(calculate 0 "$(median "${b_cpu[@]}") / $calls")
}

locking.transaction() {
    local program=postgres_transaction limit=0.97 ours_more='' resolved ratio ours_time base_time ours_cpu base_cpu ours base instructions base_instructions
    postgres_begin
    note "locking.transaction: counting"
    ours=$(system_calls "$gcc_programs/ours_$program" "$postgres_where") base=$(system_calls "$gcc_programs/raw_$program" "$postgres_where")
    instructions=$(a_call "$program.ours" 1000 "$gcc_programs/ours_$program" "$postgres_where")
    base_instructions=$(a_call "$program.base" 1000 "$gcc_programs/raw_$program" "$postgres_where")
    note "locking.transaction: timing with resolve_commit"
    ours_more=resolve
    ratios 11 2000 "$gcc_programs/ours_$program" "$gcc_programs/raw_$program" "$postgres_where"
    resolved=$ratio ours_more=''
    note "locking.transaction: timing"
    ratios 31 2000 "$gcc_programs/ours_$program" "$gcc_programs/raw_$program" "$postgres_where"
    echo "locking.transaction ratio=$ratio ours=$(calculate 0 "1e9 / $ours_time") base=$(calculate 0 "1e9 / $base_time")" \
         "unit=transactions_per_second limit=$limit within=$(holds "$ratio >= $limit") resolve_commit_ratio=$resolved" \
         "ours_cpu_ns=$ours_cpu base_cpu_ns=$base_cpu syscalls=$ours base_syscalls=$base" \
         "instructions=$instructions base_instructions=$base_instructions"
}
