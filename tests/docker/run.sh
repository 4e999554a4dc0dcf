#!/usr/bin/env bash
# The sidecar in containers: image, health, messages, stop. `tests/docker/run.sh ADIT`, a built binary.
# Removes only what bears its own label. Stand-ins use this host's python3, mounted read-only.
set -euo pipefail
cd "$(dirname "$0")/../.."
adit=$(realpath "${1:-target/debug/adit}")
label=adit.test=$$
prefix=adit-test-$$
good=0

if ! docker info >/dev/null 2>&1; then
    echo "docker: skipped: no Docker engine answers"
    exit 0
fi

work=$(mktemp -d)
trap clean_up EXIT
clean_up() {
    local ids
    ids=$(docker ps -aq --filter "label=$label"); [[ -z $ids ]] || docker rm -f $ids >/dev/null
    ids=$(docker network ls -q --filter "label=$label"); [[ -z $ids ]] || docker network rm $ids >/dev/null
    ids=$(docker images -q --filter "label=$label" | sort -u); [[ -z $ids ]] || docker rmi -f $ids >/dev/null
    rm -rf "$work"
}
pass() { echo "docker: ok: $1"; good=$((good + 1)); }
fail() { echo "docker: FAILED: $1"; echo "docker: $good passed, 1 failed"; exit 1; }
becomes() { # WHAT COMMAND...: waits for it, two minutes at most
    local what=$1 end=$((SECONDS + 120)); shift
    until "$@"; do ((SECONDS < end)) || fail "$what"; sleep 0.5; done
    pass "$what"
}

# The image's root: the stripped binary with what its loader names.
root=$work/root
mkdir -p "$root/var/lib/adit" "$root/var/lib/adit-gateway"
touch "$root/var/lib/adit/.keep" "$root/var/lib/adit-gateway/.keep"
strip -o "$root/adit" "$adit"
for library in $(ldd "$adit" | grep -o '/[^ ]*') $(ldconfig -p | grep -o '/.*x86-64.*/libnss_\(dns\|files\)\.so\.2'); do
    install -D "$library" "$root$library"
done
docker build -q --label "$label" -t "$prefix" -f deploy/Dockerfile --target outside "$root" >/dev/null || fail "the image builds"
size=$(docker image inspect -f '{{.Size}}' "$prefix")
echo "docker: image of $((size / 1000)) kB (unoptimised binary; aim 25000 kB)"
pass "the image builds"
docker run --rm --label "$label" --read-only --cap-drop ALL "$prefix" --version >/dev/null || fail "it starts"
pass "it starts with a read-only root and no capability"

# Gateway and two sides, each sidecar in the network namespace of its stand-in Mirth.
lab=$work/lab
"$adit" lab "$lab" --p2p mllp:127.0.0.1:6661:127.0.0.1:6662 >/dev/null
port=$(sed -nE 's/^listen *= ".*:([0-9]+)"/\1/p' "$lab/gateway.toml")
sed -i -E "s/^(name *= )\".*\"/\1\"gateway:$port\"/; s/^(listen *= )\".*\"/\1\"0.0.0.0:$port\"/" "$lab/gateway.toml"
sed -i "s/127\.0\.0\.1:$port/gateway:$port/" "$lab"/{a,b}/connector.toml
sed -i -E 's/^(listen *= )"127.0.0.1:0"/\1"0.0.0.0:0"/' "$lab"/{a,b}/agent.toml
chmod 755 "$work"; chown -R 65532:65532 "$lab"
cat >"$work/mirth.py" <<'PYTHON'
import re, socket, sys
server = socket.create_server(("127.0.0.1", 6662))
while True:
    peer, _ = server.accept()
    with peer:
        data = b""
        while not data.endswith(b"\x1c\r") and (more := peer.recv(4096)):
            data += more
        if data:
            control = data.split(b"|")[9]
            print(control.decode(), flush=True)
            peer.sendall(b"\x0bMSH|^~\\&|B|B|A|A|20260101||ACK|1|P|2.5\rMSA|AA|" + control + b"\r\x1c\r")
PYTHON
cat >"$work/send.py" <<'PYTHON'
import socket, sys
for number in range(20):
    with socket.create_connection(("127.0.0.1", 6661), 5) as peer:
        peer.sendall(b"\x0bMSH|^~\\&|A|A|B|B|20260101||ADT^A01|C%d|P|2.5\rPID|1\r\x1c\r" % number)
        peer.settimeout(10)
        answer = b""
        while not answer.endswith(b"\x1c\r") and (more := peer.recv(4096)):
            answer += more
        sys.exit(1) if b"MSA|AA|C%d\r" % number not in answer else None
PYTHON
docker network create --label "$label" "$prefix" >/dev/null
mkdir "$work/empty" && touch "$work/empty/.keep"
printf 'FROM scratch\nCOPY . /\n' | tee "$work/empty/Dockerfile" >/dev/null
docker build -q --label "$label" -t "$prefix-mirth" "$work/empty" >/dev/null 2>&1
host=(-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -v "$work:$work:ro")
start() { # NAME NETWORK COMMAND...
    local name=$1 network=$2; shift 2
    docker run -d --label "$label" --name "$prefix-$name" --network "$network" --restart on-failure --read-only --cap-drop ALL \
        --security-opt no-new-privileges "${alias[@]}" -v "$lab:$lab" "$prefix" "$@" >/dev/null
}
alias=(--network-alias gateway); start gateway "$prefix" gateway --config "$lab/gateway.toml"; alias=()
for side in a b; do
    docker run -d --init=false --label "$label" --name "$prefix-mirth-$side" --network "$prefix" "${host[@]}" \
        "$prefix-mirth" /usr/bin/python3 "$work/mirth.py" >/dev/null
    start "adit-$side" "container:$prefix-mirth-$side" agent --config "$lab/$side/agent.toml"
done
cat >"$work/stream.py" <<'PYTHON'
import socket
number = 0
while True:
    try:
        with socket.create_connection(("127.0.0.1", 6661), 5) as peer:
            peer.sendall(b"\x0bMSH|^~\\&|A|A|B|B|20260101||ADT^A01|S%d|P|2.5\rPID|1\r\x1c\r" % number)
            peer.settimeout(10)
            if b"MSA|AA|S%d\r" % number in peer.recv(4096):
                print("S%d" % number, flush=True)
    except OSError:
        break
    number += 1
PYTHON
sends() { docker exec "$prefix-mirth-a" /usr/bin/python3 "$work/send.py" >/dev/null 2>&1; }
becomes "messages are carried; the gateway is found by its DNS name" sends
docker restart -t 10 "$prefix-adit-b" >/dev/null
becomes "messages are carried after a restart of a sidecar" sends
docker restart -t 1 "$prefix-mirth-a" >/dev/null
docker restart -t 10 "$prefix-adit-a" >/dev/null
becomes "messages are carried after a restart of a Mirth and its sidecar" sends
docker restart -t 10 "$prefix-gateway" >/dev/null
becomes "messages are carried after a restart of the gateway" sends
docker exec "$prefix-mirth-a" /usr/bin/python3 "$work/stream.py" >"$work/acknowledged" &
stream=$!
becomes "messages flow before the stop" test -s "$work/acknowledged"
before=$SECONDS; docker stop -t 10 "$prefix-adit-a" >/dev/null
[[ $(docker inspect -f '{{.State.ExitCode}}' "$prefix-adit-a") == 0 ]] || fail "docker stop ends in order, not by a kill"
pass "docker stop ends in order, after $((SECONDS - before)) s"
wait "$stream" || true
docker logs "$prefix-mirth-b" 2>/dev/null | sort >"$work/received"
[[ -z $(sort "$work/acknowledged" | comm -23 - "$work/received") ]] || fail "no acknowledged message is lost"
pass "none of $(wc -l <"$work/acknowledged") acknowledged messages is lost"
docker start "$prefix-adit-a" >/dev/null

if ! docker run --rm --label "$label" "$prefix" health --help >/dev/null 2>&1; then
    fail "the image has adit health"
fi
pass "the image has adit health"
for part in gateway adit-a adit-b; do
    toml=$lab/${part#adit-}; [[ $part == gateway ]] && toml=$lab/gateway.toml || toml+=/agent.toml
    becomes "the health of $part turns green" docker exec "$prefix-$part" /adit health --ready --config "$toml"
done
if docker compose version >/dev/null 2>&1; then
    MIRTH_IMAGE=$prefix-mirth docker compose -f deploy/compose.yaml config -q || fail "compose.yaml is valid"
    pass "compose.yaml is valid"
else
    echo "docker: compose.yaml not run: the compose plugin is missing"
fi
echo "docker: $good passed, 0 failed"
