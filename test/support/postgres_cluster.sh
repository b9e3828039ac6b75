#!/usr/bin/env bash
# A throw-away PostgreSQL server for one test, which may do to it what it likes.
#
#   postgres_cluster.sh start FOLDER      makes and starts it; prints its URL
#   postgres_cluster.sh restart FOLDER    in good order; sessions are ended
#   postgres_cluster.sh crash FOLDER      at once, as after a fault, and starts it again, which recovers
#   postgres_cluster.sh down|up FOLDER    stops and starts it
#   postgres_cluster.sh stop FOLDER       ends and removes it, whatever state it is in
set -euo pipefail
. "$(dirname "$0")/postgres.sh"
postgres_folder=$2

control() { postgres_as "$(postgres_bin)/pg_ctl" -D "$postgres_folder/data" -w -s -l "$postgres_folder/data.log" "$@"; }

case $1 in
start) postgres_start "$2" >/dev/null && echo "$postgres_url" ;;
restart) control -m fast restart ;;
crash) control -m immediate restart ;;
down) control -m fast stop ;;
up) control start ;;
stop) postgres_stop ;;
*) exit 2 ;;
esac
