#!/usr/bin/env bash
# Runs everything that is checked of adit, on a Debian machine with Rust, from a clean clone.
#
#   tests/run.sh           what every change must pass
#   tests/run.sh --long    the same with full counts (ADIT_TEST_LONG=1) and optimised benches
#
# Installs what is missing and says so: Debian packages (as root or with sudo), and the Python
# package hl7 into a virtual environment below target/. Needs no network but package registries.
# Each suite prints its own summary; the last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."

long=
case "${1:-}" in
    "") ;;
    --long) long=1; export ADIT_TEST_LONG=1 ;;
    *) echo "usage: tests/run.sh [--long]" >&2; exit 64 ;;
esac

target=${CARGO_TARGET_DIR:-target}
python=$target/interop-venv/bin/python
passed=0
failed=0
failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

main() {
    set_up || exit 1

    suite "formatting" cargo fmt --check
    suite "lints" cargo clippy --all-targets --locked -- -D warnings
    suite "documentation" documentation
    # Full counts load the machine; beside each other they would measure its patience.
    suite "tests" cargo test --locked --no-fail-fast -- ${long:+--test-threads=1}
    suite "interop" interop
    if [[ $long ]]; then
        suite "bench codec" cargo bench --locked --bench codec
        suite "bench tunnel" cargo bench --locked --bench tunnel -- --peers direct,adit
    else
        suite "bench codec" cargo test --locked --bench codec -- --once
        suite "bench tunnel" cargo test --locked --bench tunnel -- --quick --rounds 1 --peers direct,adit
    fi

    echo
    for name in ${failures[@]+"${failures[@]}"}; do echo "failed: $name"; done
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}

set_up() {
    local packages=()
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    command -v python3 >/dev/null || packages+=(python3)
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    # For the hosts of the walk-through.
    [[ -x /usr/sbin/nft ]] || packages+=(nftables)
    [[ -x /sbin/ip ]] || packages+=(iproute2)
    if ((${#packages[@]})); then
        echo "installing Debian packages: ${packages[*]}"
        as_root apt-get update -q && as_root apt-get install -qy --no-install-recommends "${packages[@]}" || return 1
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or later" >&2
        return 1
    fi
    if ! "$python" -c 'import hl7' 2>/dev/null; then
        echo "installing the Python package hl7 into $target/interop-venv"
        python3 -m venv "$target/interop-venv" && "$python" -m pip install -q hl7==0.4.5 || return 1
    fi
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

# The bench binary, built without optimisation like the other tests, can be a stand-in Mirth.
interop() {
    local built
    built=$(cargo test --locked --no-run --bench tunnel --message-format=json) || return 1
    "$python" tests/interop/run.py --bench "$(built_as tunnel <<<"$built")" --adit "$(built_as adit <<<"$built")"
}

built_as() {
    "$python" -c '
import json, sys
for line in sys.stdin:
    if line.startswith("{"):
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == sys.argv[1]:
            print(message["executable"])
' "$1"
}

# Runs one suite and adds up the tests it counted; one that counts none is one test itself.
suite() {
    local name=$1 status good bad
    shift
    echo
    echo "== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    read -r good bad < <(sed -nE 's/^(test result: .*\. |interop: )([0-9]+) passed[;,] ([0-9]+) failed.*/\2 \3/p' "$log" |
        awk '{ good += $1; bad += $2 } END { print good + 0, bad + 0 }')
    if [[ $status -ne 0 ]]; then
        failures+=("$name")
        ((bad > 0)) || bad=1
    elif ((good + bad == 0)); then
        good=1
    fi
    ((passed += good, failed += bad))
    echo "== $name: $good passed, $bad failed"
}

main
