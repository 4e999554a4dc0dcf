#!/usr/bin/env bash
# The sidecar in containers, by `deploy/compose.yaml`: image, health, messages, restarts, stop.
# `tests/docker/run.sh ADIT`, a built binary with `adit-lab` beside it. Removes only what bears its own label or project name.
# Stand-ins: Mirth is a small MLLP receiver, run by this host's python3, which is mounted read-only.
set -euo pipefail
cd "$(dirname "$0")/../.."
adit=$(realpath "${1:-target/debug/adit}")
adit_lab=$(dirname "$adit")/adit-lab
label=adit.test=$$
project=adit-test-$$
good=0

if ! docker info >/dev/null 2>&1; then
    echo "docker: skipped: no Docker engine answers"
    exit 0
fi
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
if ! "${compose[@]}" version >/dev/null 2>&1; then
    echo "docker: skipped: neither docker compose nor docker-compose is installed"
    exit 0
fi

work=$(mktemp -d)
trap clean_up EXIT
clean_up() {
    local status=$? ids
    if [[ $status != 0 && -e $work/override.yaml ]]; then
        run_compose ps || true
        run_compose logs --tail 20 || true
    fi
    [[ ! -e $work/override.yaml ]] || run_compose down -v --remove-orphans >/dev/null 2>&1 || true
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
mkdir -p "$root"
mkdir -p -m 0700 "$root/var/lib/adit" "$root/var/lib/adit-gateway"
touch "$root/var/lib/adit/.keep" "$root/var/lib/adit-gateway/.keep"
strip -o "$root/adit" "$adit"
for library in $(ldd "$adit" | grep -o '/[^ ]*') $(ldconfig -p | grep -o '/.*x86-64.*/libnss_\(dns\|files\)\.so\.2'); do
    install -D "$library" "$root$library"
done
docker build -q --label "$label" -t "$project" -f deploy/Dockerfile --target outside "$root" >/dev/null || fail "the image builds"
size=$(docker image inspect -f '{{.Size}}' "$project")
echo "docker: image of $((size / 1000)) kB ($(basename "$(dirname "$adit")") binary; aim 25000 kB for a release)"
pass "the image builds"
docker run --rm --label "$label" --read-only --cap-drop ALL "$project" --version >/dev/null || fail "it starts"
pass "it starts with a read-only root and no capability"

# A lab's files, as a person would write them for compose.yaml.
lab=$work/lab
"$adit_lab" lab "$lab" --p2p mllp:127.0.0.1:6661:127.0.0.1:6662 >/dev/null
port=$(sed -nE 's/^listen *= ".*:([0-9]+)"/\1/p' "$lab/gateway.toml")
sed -i -E "/^metrics/d; s/^(name *= )\".*\"/\1\"gateway:443\"/; s/^(listen *= )\".*\"/\1\"0.0.0.0:443\"/
    s|^(state *= )\".*\"|\1\"/var/lib/adit-gateway\"|" "$lab/gateway.toml"
sed -i "s/127\.0\.0\.1:$port/gateway:443/" "$lab"/{a,b}/connector.toml
sed -i -E '/^metrics/d; s/^(listen *= )"127.0.0.1:0"/\1"0.0.0.0:0"/; s|^(state *= )".*"|\1"/var/lib/adit"|
    s|^(connector *= )".*"|\1"/etc/adit/connector.toml"|' "$lab"/{a,b}/agent.toml
chmod 755 "$work"; chown -R 65532:65532 "$lab"
cat >"$work/mirth.py" <<'PYTHON'
import os, re, signal, socket, sys, threading
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
def serve(peer):
    with peer:
        data = b""
        while more := peer.recv(4096):
            data += more
            while b"\x1c\r" in data:
                message, data = data.split(b"\x1c\r", 1)
                control = message.split(b"|")[9]
                print(control.decode(), flush=True)
                peer.sendall(b"\x0bMSH|^~\\&|B|B|A|A|20260101||ACK|1|P|2.5\rMSA|AA|" + control + b"\r\x1c\r")
server = socket.create_server(("127.0.0.1", 6662))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
PYTHON
cat >"$work/send.py" <<'PYTHON'
# `send.py NAME COUNT`: prints the control id of each acknowledged message; ends where one is not.
import itertools, socket, sys
def answer(peer):
    data = b""
    while not data.endswith(b"\x1c\r") and (more := peer.recv(4096)):
        data += more
    return data
count = int(sys.argv[2])
try:
    for number in range(count) if count else itertools.count():
        with socket.create_connection(("127.0.0.1", 6661), 10) as peer:
            control = b"%s%d" % (sys.argv[1].encode(), number)
            peer.sendall(b"\x0bMSH|^~\\&|A|A|B|B|20260101||ADT^A01|%s|P|2.5\rPID|1\r\x1c\r" % control)
            if b"MSA|AA|%s\r" % control not in answer(peer):
                sys.exit(1)
            print(control.decode(), flush=True)
except OSError:
    sys.exit(1)
PYTHON
mkdir "$work/empty" && touch "$work/empty/.keep"
printf 'FROM scratch\nCOPY . /\n' | tee "$work/empty/Dockerfile" >/dev/null
docker build -q --label "$label" -t "$project-mirth" "$work/empty" >/dev/null 2>&1
mounts="[\"/usr:/usr:ro\", \"/lib:/lib:ro\", \"/lib64:/lib64:ro\", \"$work:$work:ro\"]"
cat >"$work/override.yaml" <<YAML
services:
  gateway:
    volumes: ["$lab/gateway-state:/var/lib/adit-gateway"]
  mirth-a: {command: ["/usr/bin/python3", "$work/mirth.py"], volumes: $mounts}
  mirth-b: {command: ["/usr/bin/python3", "$work/mirth.py"], volumes: $mounts}
YAML
run_compose() {
    ADIT_IMAGE=$project MIRTH_IMAGE=$project-mirth "${compose[@]}" -p "$project" --project-directory "$lab" \
        -f deploy/compose.yaml -f "$work/override.yaml" "$@"
}
quietly() { run_compose "$@" >"$work/said" 2>&1 || { cat "$work/said"; fail "compose $*"; }; }
container() { run_compose ps -q "$1"; }
sends() { docker exec "$(container mirth-a)" /usr/bin/python3 "$work/send.py" C 1 >/dev/null 2>&1; }
is_healthy() { [[ $(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")") == healthy ]]; }

quietly up -d
becomes "compose up carries messages; the gateway is found by its DNS name" sends
for service in gateway adit-a adit-b; do
    becomes "the health of $service turns green" is_healthy "$service"
done
pid=$(docker inspect -f '{{.State.Pid}}' "$(container adit-a)")
[[ $(sed -nE 's/^NSpid:.*\t([0-9]+)$/\1/p' "/proc/$pid/status") == 1 ]] || fail "the agent is PID 1"
[[ $(sed -nE 's/^Uid:\t([0-9]+)\t.*/\1/p' "/proc/$pid/status") == 65532 ]] || fail "the agent is user 65532"
[[ $(sed -nE 's/^CapBnd:\t0*([0-9a-f]*)$/\1/p' "/proc/$pid/status") == "" ]] || fail "the agent has no capability"
pass "the agent is PID 1 of user 65532 without a capability"

for service in adit-b adit-a mirth-a mirth-b gateway; do
    quietly restart -t 10 "$service"
    becomes "messages are carried after a restart of $service alone" sends
done
quietly stop -t 10
for service in network-a network-b adit-a adit-b mirth-b mirth-a gateway; do quietly start "$service"; done
becomes "messages are carried where the gateway came last" sends
quietly stop -t 10
for service in network-b network-a mirth-a mirth-b gateway adit-b adit-a; do quietly start "$service"; done
becomes "messages are carried where the agents came last" sends

# Acknowledged and received, as the two ends say it.
stop_amid() { # SERVICE NAME
    local service=$1 name=$2 acknowledged=$work/acknowledged-$2 sending before id
    id=$(container "$service")
    docker exec "$(container mirth-a)" /usr/bin/python3 "$work/send.py" "$name" 0 >"$acknowledged" 2>/dev/null &
    sending=$!
    becomes "messages flow before the stop of $service" test -s "$acknowledged"
    before=$SECONDS; docker stop -t 10 "$id" >/dev/null
    [[ $(docker inspect -f '{{.State.ExitCode}}' "$id") == 0 ]] || fail "docker stop of $service ends in order, not by a kill"
    pass "docker stop of $service ends in order, after $((SECONDS - before)) s"
    wait "$sending" || true
    docker logs "$(container mirth-b)" 2>/dev/null | grep "^$name" | sort >"$work/received" || true
    [[ -z $(sort "$acknowledged" | comm -23 - "$work/received") ]] || fail "no acknowledged message is lost by a stop of $service"
    pass "none of $(wc -l <"$acknowledged") acknowledged messages is lost by a stop of $service"
    [[ -z $(sort "$acknowledged" | comm -13 - "$work/received") ]] || fail "no message is delivered without its acknowledgement by a stop of $service"
    pass "no message is delivered without its acknowledgement by a stop of $service"
    quietly start "$service"
    becomes "messages are carried after the stop of $service" sends
}
stop_amid adit-a S
stop_amid adit-b T
echo "docker: $good passed, 0 failed"
