# Sourced by test/run.sh and example/run.sh: a throw-away PostgreSQL server in a temporary folder, on loopback and a Unix socket.
#
#   postgres_start FOLDER    makes and starts it; sets postgres_url (loopback, SCRAM password, TLS), postgres_socket
#   postgres_stop            stops it, whatever state it is in; call it from a trap
#
# A server does not run as root: then it runs as the user `postgres`, which Debian's package makes.

postgres_folder= postgres_url= postgres_socket=

postgres_as() {  # COMMAND...: as the user that owns the server
    if [ "$(id -u)" -eq 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); else "$@"; fi
}

postgres_bin() {
    local bin
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

postgres_start() {
    local bin port
    bin=$(postgres_bin) || return 1
    postgres_folder=$1
    mkdir -p "$postgres_folder"
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$postgres_folder"; fi
    chmod 711 "$postgres_folder"
    local secret
    secret=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$secret" >"$postgres_folder/password")
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$postgres_folder/password"; fi
    if ! postgres_as "$bin/initdb" -D "$postgres_folder/data" -U strata --pwfile="$postgres_folder/password" -A scram-sha-256 \
        --locale=C.UTF-8 -E UTF8 --no-sync >"$postgres_folder/initdb.log" 2>&1; then
        cat "$postgres_folder/initdb.log" >&2
        return 1
    fi
    postgres_as openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$postgres_folder/data/server.key" -out "$postgres_folder/data/server.crt" >/dev/null 2>&1 || return 1
    postgres_as chmod 600 "$postgres_folder/data/server.key"
    local tries
    for tries in 1 2 3; do
        port=$(postgres_free_port)
        postgres_as tee "$postgres_folder/data/postgresql.auto.conf" >/dev/null <<END
listen_addresses = '127.0.0.1'
port = $port
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
        if postgres_as "$bin/pg_ctl" -D "$postgres_folder/data" -w -s -l "$postgres_folder/server.log" start; then
            postgres_url="postgresql://strata:$secret@127.0.0.1:$port/postgres"
            postgres_socket="postgresql://strata:$secret@/postgres?host=$postgres_folder&port=$port"
            return 0
        fi
        [ "$tries" -lt 3 ] || tail -n 5 "$postgres_folder/server.log" >&2
    done
    return 1
}

postgres_stop() {
    [ -n "$postgres_folder" ] || return 0
    if [ -e "$postgres_folder/data/postmaster.pid" ]; then
        postgres_as "$(postgres_bin)/pg_ctl" -D "$postgres_folder/data" -m immediate -s stop || true
    fi
    rm -rf -- "$postgres_folder"
    postgres_folder=
}
