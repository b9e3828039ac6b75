#!/usr/bin/env bash
# Builds and runs the example bank, or the catalogue. A fresh machine needs nothing but this command.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./example/run.sh [--no-install] [BANK'S OPTION]...
       ./example/run.sh [--no-install] --catalogue [FILE]...

Installs what is missing (Debian, Ubuntu), builds with the preset `release` and runs the example; its status is the
example's.

  --no-install   only name missing packages, and end with status 1 if there are any
  --catalogue    run the catalogue, which imports FILE (default: Debian's UnicodeData.txt), instead of the bank
  -h, --help     this, and the options of the example where it is built already

CXX and CMAKE_GENERATOR choose compiler and build tool.
END
}

user_folder=$PWD
cd "$(dirname "$0")/.."
. .ci/install.sh
. .ci/steps.sh

install=yes program=bank help=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --no-install) install=no ;;
    --catalogue) program=catalogue ;;
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

groups=(build sqlite)
if [ $program = catalogue ]; then groups+=(examples); fi
strata_require $install "${groups[@]}"

steps_begin build/log
configure() { cmake --preset release; }
build_program() { cmake --build build/release --parallel "$steps_jobs" --target $program; }
step example-configure "configuring with $CXX" configure || exit 1
step example-build "building the $program (half a minute the first time)" build_program || exit 1
steps_finish

binary=$PWD/build/release/example/$program
cd "$user_folder"  # a relative file is the user's
exec "$binary" "${arguments[@]}"
