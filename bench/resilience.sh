# Sourced by bench/run.sh: the lines of the pool, of the interceptors at their full depth, and of the simulated world.
# shellcheck shell=bash disable=SC2154

pool.borrow() {
    local ours ours_clang base larger_one allocations
    note "pool.borrow: counting"
    ours=$(a_call pool.ours 10000 "$gcc_programs/ours_pool" 1 8)
    allocations=$(field allocations "$(<"$steps_temp/pool.ours.txt")")
    ours_clang=$(a_call pool.ours.clang 10000 "$clang_programs/ours_pool" 1 8)
    allocations=$((allocations + $(field allocations "$(<"$steps_temp/pool.ours.clang.txt")")))
    base=$(a_call pool.base 10000 "$gcc_programs/raw_pool" 1 8)
    same_checksum "$(<"$steps_temp/pool.ours.txt")" "$(<"$steps_temp/pool.base.txt")"
    larger_one=$(larger "$ours" "$ours_clang")
    note "pool.borrow: timing"
    alternate 1000000 "$gcc_programs/ours_pool" "$gcc_programs/raw_pool" 1 8
    echo "pool.borrow ratio=$(calculate 3 "$larger_one / $base") ours=$larger_one base=$base unit=instructions limit=120" \
         "allocations=$allocations within=$(holds "$larger_one <= 120 && $allocations == 0") g++=$ours clang++=$ours_clang $(time_fields)"
}

# contended BORROWINGS THREADS CONNECTIONS: both pools in turn; sets ours and base, nanoseconds a borrowing, medians, and
# processors, that ours had on an average: fewer than there are threads and the machine has, and the threads hardly met.
contended() {
    local round a b ours_ns=() base_ns=() used=()
    for round in 1 2 3 4 5 6 7 8 9; do
        a=$("$gcc_programs/ours_pool" $(($1 / $2)) "$2" "$3")
        b=$("$gcc_programs/raw_pool" $(($1 / $2)) "$2" "$3")
        same_checksum "$a" "$b"
        ours_ns+=("$(field ns "$a")") base_ns+=("$(field ns "$b")")
        used+=("$(calculate 2 "$(field cpu_ns "$a") / $(field ns "$a")")")
    done
    processors=$(median "${used[@]}")
    ours=$(calculate 1 "$(median "${ours_ns[@]}") / $1") base=$(calculate 1 "$(median "${base_ns[@]}") / $1")
}

pool.contention() {
    local ours base processors threads table='' line ratio
    for threads in 1 2 4 8; do
        note "pool.contention: $threads threads"
        contended 2000000 $threads $threads
        ratio=$(calculate 3 "$ours / $base")
        table+=" ours_$threads=$ours base_$threads=$base ratio_$threads=$ratio"
        line="ratio=$ratio ours=$ours base=$base unit=ns_a_borrowing processors=$processors"
        if [ $threads = 1 ]; then continue; fi
        contended 400000 $threads $((threads / 2))
        table+=" ours_${threads}_short=$ours base_${threads}_short=$base ratio_${threads}_short=$(calculate 3 "$ours / $base")"
    done
    echo "pool.contention $line$table"
}

pool.fairness() {
    local ours base connections line theory ratio more='' within=yes acquires=2000000
    for connections in 2 32 8; do  # the last one is the line's
        note "pool.fairness: $connections connections"
        theory=$("$gcc_programs/raw_fairness" $acquires $connections 1)
        line=$("$gcc_programs/ours_fairness" $acquires $connections 1)
        base=$(field computed "$theory") ours=$(field p999 "$line")
        [ "$(holds "$(field fifo "$theory") / $base < 1.03 && $(field fifo "$theory") / $base > 0.97")" = yes ] ||
            strata_fail "the queue that was computed is not the one that was simulated by hand: $theory"
        ratio=$(calculate 3 "$ours / $base")
        if [ "$(holds "$ratio <= 1.1 && $ratio >= 0.9")" = no ]; then within=no; fi
        more+=" ratio_$connections=$ratio"
    done
    echo "pool.fairness ratio=$ratio ours=$ours base=$base unit=ns limit=1.10 within=$within acquires=$acquires" \
         "fifo_by_hand=$(field fifo "$theory") lifo_by_hand=$(field lifo "$theory")$more"
}

# deep PROGRAMS DEPTH: sets added, what the six layers add to the call, and allocations.
deep() {
    local empty full
    empty=$(a_call "chain.six.empty" 10000 "$1/ours_chain_six" 0 "$2")
    full=$(a_call "chain.six" 10000 "$1/ours_chain_six" 6 "$2")
    same_checksum "$(<"$steps_temp/chain.six.txt")" "$(<"$steps_temp/chain.six.empty.txt")"
    added=$(calculate 1 "$full - $empty")
    allocations=$(field allocations "$(<"$steps_temp/chain.six.txt")")
}

chain.six() {
    local added allocations feature i=0 plain more='' empty full ours ours_gcc ours_clang of_gcc base
    note "chain.six: counting"
    deep "$gcc_programs" 0
    plain=$added
    for feature in name deadline budget window die; do
        deep "$gcc_programs" $((1 << i++))
        more+=" $feature=$(calculate 1 "$added - $plain")"
    done
    deep "$clang_programs" 31
    ours_clang=$added of_gcc=$allocations
    deep "$gcc_programs" 31
    ours_gcc=$added allocations=$((of_gcc + allocations))
    note "chain.six: counting the tower of functions"
    empty=$(a_call function_tower.empty 10000 "$gcc_programs/raw_function_tower" 0)
    full=$(a_call function_tower 10000 "$gcc_programs/raw_function_tower" 6)
    base=$(calculate 1 "$full - $empty")
    note "chain.six: timing"
    ours=$(larger "$ours_gcc" "$ours_clang")
    alternate_six
    echo "chain.six ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=instructions limit=160 allocations=$allocations" \
         "within=$(holds "$ours <= 160 && $allocations == 0") g++=$ours_gcc clang++=$ours_clang $(time_fields) plain=$plain$more"
}
alternate_six() {
    local round a b
    ours_times=() base_times=()
    for round in 1 2 3 4 5 6 7; do
        a=$("$gcc_programs/ours_chain_six" 150000 6 31)
        b=$("$gcc_programs/raw_function_tower" 150000 6)
        ours_times+=("$(calculate 1 "$(field ns "$a") / 150000")")
        base_times+=("$(calculate 1 "$(field ns "$b") / 150000")")
    done
}

# stepping CALLS CLIENTS: both in turn; sets ours and base, steps a second, the best runs; steps and digest of the latest.
stepping() {
    local round a b ours_rates=() base_rates=()
    for round in 1 2 3 4 5; do
        a=$("$gcc_programs/ours_simulation" "$1" "$2" 1)
        b=$("$gcc_programs/raw_simulation" "$1" "$2" 1)
        same_checksum "$a" "$b"
        if [ $round -gt 1 ] && [ "$digest" != "$(field digest "$a")" ]; then strata_fail "two simulations of one seed differ"; fi
        steps=$(field steps "$a") digest=$(field digest "$a")
        ours_rates+=("$(calculate 0 "1e9 * $steps / $(field ns "$a")")")
        base_rates+=("$(calculate 0 "1e9 * $(field steps "$b") / $(field ns "$b")")")
    done
    ours=$(printf '%s\n' "${ours_rates[@]}" | sort -g | tail -n 1) base=$(printf '%s\n' "${base_rates[@]}" | sort -g | tail -n 1)
}

simulation.steps() {
    local clients ours base steps digest other more=''
    for clients in 10 100 1000; do
        note "simulation.steps: $clients clients"
        stepping 300000 $clients
        more+=" ours_x$((clients / 10))=$ours"
    done
    other=$(field digest "$("$gcc_programs/ours_simulation" 300000 1000 2)")
    [ "$digest" != "$other" ] || strata_fail "simulations of two seeds are the same"
    echo "simulation.steps ratio=$(calculate 3 "$ours / $base") ours=$ours base=$base unit=steps_per_second steps=$steps equal_digests=5" \
         "digest=$digest$more"
}
