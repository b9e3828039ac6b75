#!/usr/bin/env bash
# Builds and runs the example bank, the catalogue or the queue. A fresh machine needs nothing but this command.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./example/run.sh [--no-install] [--postgres] [BANK'S OPTION]...
       ./example/run.sh [--no-install] --catalogue [FILE]...
       ./example/run.sh [--no-install] --queue [QUEUE'S OPTION]...

Installs what is missing (Debian, Ubuntu), builds with the preset `release` and runs the example; its status is the
example's.

  --no-install   only name missing packages, and end with status 1 if there are any
  --postgres     run the bank on a throw-away PostgreSQL server, which is stopped and removed at the end, whatever happens
                 (--database postgresql://... runs it on a server of yours)
  --catalogue    run the catalogue, which imports FILE (default: Debian's UnicodeData.txt), instead of the bank
  --queue        run the queue of jobs on such a throw-away server (or on yours: --queue --database postgresql://...)
  -h, --help     this, and the options of the example where it is built already

CXX and CMAKE_GENERATOR choose compiler and build tool.
END
}

user_folder=$PWD
cd "$(dirname "$0")/.."
. .ci/install.sh
. .ci/steps.sh
. test/support/postgres.sh

install=yes program=bank help= server=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --no-install) install=no ;;
    --catalogue) program=catalogue ;;
    --queue) program=queue ;;
    --postgres) server=yes ;;
    -h | --help) help=yes ;;
    *) arguments+=("$1") ;;
    esac
    shift
done

if [ -n "$help" ]; then
    usage
    echo
    if [ -x "build/release/example/$program" ]; then
        exec "build/release/example/$program" --help
    fi
    echo "The options of the $program itself are shown here once it is built."
    exit 0
fi

if [ $program = queue ] && [[ " ${arguments[*]} " != *" --database"* ]]; then server=yes; fi
groups=(build sqlite libpq)
if [ $program = catalogue ]; then groups+=(examples); fi
if [ -n "$server" ]; then groups+=(postgres); fi
strata_require $install "${groups[@]}"

steps_begin build/log
configure() { cmake --preset release; }
build_program() { cmake --build build/release --parallel "$steps_jobs" --target $program; }
step example-configure "configuring with $CXX" configure || exit 1
step example-build "building the $program (half a minute the first time)" build_program || exit 1

if [ -n "$server" ]; then
    if [ $program = catalogue ]; then strata_fail "the catalogue lies in SQLite: --postgres is for the others"; fi
    steps_at_end=postgres_stop
    say "starting a PostgreSQL server"
    chmod 711 "$steps_temp"  # its user must get in
    postgres_start "$steps_temp/postgres" || exit 1
    # In a process group of its own: a signal, also Ctrl-C, comes here and is handed on, and the server is stopped after it.
    export PGPASSWORD=$postgres_password
    cd "$user_folder"
    set -m
    "$OLDPWD/build/release/example/$program" --database "postgresql://strata@127.0.0.1:$postgres_port/postgres" "${arguments[@]}" &
    started=$!
    set +m
    for signal in HUP INT TERM; do
        trap 'kill -s '$signal' -- $started 2>/dev/null' $signal
    done
    while kill -0 $started 2>/dev/null; do wait $started || true; done  # a signal ends a wait
    status=0
    wait $started || status=$?
    exit $status
fi
steps_finish

binary=$PWD/build/release/example/$program
cd "$user_folder"  # a relative file is the user's
exec "$binary" "${arguments[@]}"
