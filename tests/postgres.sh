#!/usr/bin/env bash
# A private PostgreSQL for tests: a new cluster in a folder of its own, on a free port of this host, run by a
# user without privileges, and ended with its folder.
#
#   tests/postgres.sh start FOLDER    makes and starts it; prints the URL of a database on it
#   tests/postgres.sh start-tls FOLDER   the same with TLS: its certificate is of FOLDER/ca.pem and for the name
#                                     localhost; FOLDER/client.pem and .key prove the user `certified`;
#                                     FOLDER/other-ca.pem has signed nothing
#   tests/postgres.sh stop FOLDER     ends it and removes the folder
#
# What is kept there is thrown away: it does not wait for the disk.
set -euo pipefail

main() {
    case "${1:-}:${2:-}" in
        start:?*) start "$2" ;;
        start-tls:?*) start "$2" tls ;;
        stop:?*) stop "$2" ;;
        *) echo "usage: tests/postgres.sh start|start-tls|stop FOLDER" >&2; exit 64 ;;
    esac
}

start() {
    local folder=$1 tls=${2:-} port
    mkdir -p "$folder"
    chmod 755 "$folder"
    mkdir "$folder/data" "$folder/socket"
    as_server_chown "$folder/data" "$folder/socket"
    as_server "$(tool initdb)" -D "$folder/data" -U adit --auth=trust --encoding=UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 ||
        { cat "$folder/initdb.log" >&2; return 1; }
    port=$(free_port)
    cat >>"$folder/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$folder/socket'
max_connections = 300
fsync = off
log_min_messages = warning
logging_collector = off
SETTINGS
    if [[ $tls ]]; then
        make_certificates "$folder" >"$folder/certificates.log" 2>&1 || { cat "$folder/certificates.log" >&2; return 1; }
        use_certificates "$folder/data"
    fi
    as_server "$(tool pg_ctl)" -D "$folder/data" -l "$folder/data/server.log" -w -t 60 start >/dev/null ||
        { cat "$folder/data/server.log" >&2; return 1; }
    echo "postgres://adit@127.0.0.1:$port/postgres"
}

make_certificates() {
    local folder=$1
    make_ca "$folder/ca"
    make_ca "$folder/other-ca"
    sign "$folder" server /CN=db subjectAltName=DNS:localhost
    sign "$folder" client /CN=certified extendedKeyUsage=clientAuth
    mv "$folder/server.pem" "$folder/server.key" "$folder/data/"
    cp "$folder/ca.pem" "$folder/data/"
    as_server_chown "$folder/data/server.pem" "$folder/data/server.key" "$folder/data/ca.pem"
}

make_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=CA of a test" \
        -keyout "$1.key" -out "$1.pem"
}

sign() {
    local folder=$1 name=$2 subject=$3 extension=$4
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" \
        -keyout "$folder/$name.key" -out "$folder/$name.csr"
    openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
        -extfile <(printf 'basicConstraints=critical,CA:FALSE\n%s\n' "$extension") -out "$folder/$name.pem"
}

use_certificates() {
    local data=$1
    cat >>"$data/postgresql.conf" <<SETTINGS
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.pem'
SETTINGS
    printf '%s\n' "hostssl all certified 127.0.0.1/32 cert" "$(cat "$data/pg_hba.conf")" >"$data/pg_hba.conf"
}

stop() {
    local folder=$1
    [[ -d $folder/data ]] || return 0
    as_server "$(tool pg_ctl)" -D "$folder/data" -m immediate -w stop >/dev/null || true
    rm -rf "$folder"
}

# Debian keeps them out of PATH.
tool() {
    local found
    found=$(command -v "$1" || ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -V | tail -n 1)
    [[ -n $found ]] || { echo "$1 is missing: install Debian's package postgresql" >&2; return 1; }
    echo "$found"
}

# The server refuses to be root.
as_server() {
    if [[ $(id -u) -eq 0 ]]; then
        (cd / && setpriv --reuid=nobody --regid=nogroup --clear-groups "$@")
    else
        "$@"
    fi
}

as_server_chown() {
    [[ $(id -u) -ne 0 ]] || chown nobody:nogroup "$@"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

main "$@"
