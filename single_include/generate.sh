#!/bin/sh
# Makes single_include/ from include/: the library as a few files that can be copied into a project.
#
#   single_include/generate.sh            write them
#   single_include/generate.sh --check    only tell whether they are current; status 1 if they are not
#
# strata/strata.hpp holds everything that needs neither a driver nor Asio; strata/async.hpp, strata/driver/<name>.hpp and
# the opt-in headers hold what they add to it and include it. The output depends on nothing but the headers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../include"

case ${1:-} in
'' | --check) ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] && exit 0
    exit 2
    ;;
esac

temp=$(mktemp -d "${TMPDIR:-/tmp}/strata.XXXXXX")
trap 'rm -rf -- "$temp"' EXIT

if [ ! -e strata/strata.hpp ]; then
    echo "include/strata/strata.hpp is not there yet: nothing to generate"
    exit 0
fi

roots=strata/strata.hpp
for root in strata/async.hpp strata/driver/*.hpp strata/copy.hpp strata/pipeline.hpp strata/optimistic_locking.hpp strata/async/optimistic_locking.hpp strata/async/copy.hpp strata/async/pipeline.hpp strata/async/hedged.hpp strata/async/guard.hpp \
            strata/verify.hpp strata/distributed_transaction.hpp strata/async/listener.hpp strata/sql/statement.hpp strata/sql/cursor.hpp strata/value/row.hpp strata/value/chrono.hpp strata/value/uuid.hpp \
            strata/value/decimal.hpp strata/value/json.hpp strata/value/interval.hpp strata/value/array.hpp strata/value/range.hpp \
            strata/value/composite.hpp strata/value/enum_name.hpp strata/value/hstore.hpp strata/observe/print.hpp strata/policy/bulkhead.hpp strata/policy/concurrency_limit.hpp strata/policy/keyed.hpp strata/policy/rate_limit.hpp \
            strata/policy/throttle.hpp strata/transaction/modes.hpp strata/policy/cache.hpp strata/policy/fallback.hpp strata/policy/hedge.hpp strata/guard.hpp strata/database_registry.hpp strata/server_budget.hpp \
            strata/source/pool_planner.hpp strata/source/pipelined.hpp strata/row_lock.hpp strata/advisory_lock.hpp strata/leader.hpp strata/testing/chaos.hpp strata/testing/scripted.hpp \
            strata/testing/simulated_world.hpp strata/testing/simulated_database.hpp strata/testing/simulated_hedged.hpp; do
    if [ -e "$root" ]; then roots="$roots $root"; fi
done
for root in $roots; do
    mkdir -p "$temp/$(dirname "$root")"
    awk -v root="$root" -v roots="$roots" -f "$here/generate.awk" </dev/null >"$temp/$root"
done

if [ "${1:-}" = --check ]; then
    stale=$(diff -rq "$temp/strata" "$here/strata" 2>&1 | sed "s|Files $temp/\\([^ ]*\\) and .*|single_include/\\1|; s|: |/|; s|$temp/|$here/|; s|$here/|single_include/|")
    if [ -n "$stale" ]; then
        printf "%s\n" "$stale" "single_include is not current: run single_include/generate.sh"
        exit 1
    fi
    echo "single_include is current"
else
    rm -rf -- "$here/strata"
    mv "$temp/strata" "$here/strata"
    wc -l $(for root in $roots; do echo "$here/$root"; done) | sed "s|$here/||"
fi
