# Sourced by bench/run.sh: the line of optimistic locking, against a PostgreSQL server and an SQLite file.
# shellcheck shell=bash disable=SC2154

locking.optimistic() {
    local ours_cpu base_cpu ours_time base_time least_ratio ratio line file=$steps_temp/optimistic.db ours base
    postgres_begin
    note "locking.optimistic: timing"
    pairs 21 4000 "$gcc_programs/ours_postgres_locking_optimistic" "$gcc_programs/raw_postgres_locking_optimistic" "$postgres_where"
    ratio=$(calculate 3 "$base_time / $ours_time")
    line="ours=$(calculate 0 "1e9 / $ours_time") base=$(calculate 0 "1e9 / $base_time") unit=updates_per_second limit=0.95"
    line+=" cpu_ratio=$(calculate 3 "$base_cpu / $ours_cpu")"
    note "locking.optimistic: SQLite"
    pairs 11 50000 "$gcc_programs/ours_locking_optimistic" "$gcc_programs/raw_locking_optimistic" "$file"
    ours=$(a_call locking_optimistic.ours 1000 "$gcc_programs/ours_locking_optimistic" "$file")
    base=$(a_call locking_optimistic.base 1000 "$gcc_programs/raw_locking_optimistic" "$file")
    echo "locking.optimistic ratio=$ratio $line within=$(holds "$ratio >= 0.95 && $base_cpu / $ours_cpu >= 0.95")" \
         "sqlite_ratio=$(calculate 3 "$base_cpu / $ours_cpu") limit_sqlite=0.95 sqlite_time_ratio=$(calculate 3 "$base_time / $ours_time")" \
         "sqlite_instructions=$ours sqlite_base_instructions=$base"
}
