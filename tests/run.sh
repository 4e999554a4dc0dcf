#!/usr/bin/env bash
# Runs everything that is checked of adit, on a Debian machine with Rust, from a clean clone.
#
#   tests/run.sh           what every change must pass
#   tests/run.sh --long    the same with full counts (ADIT_TEST_LONG=1), optimised benches, and 10,000 agents on
#                          either database
#
# Installs what is missing and says so: rustfmt and clippy, Debian packages, among them squid-openssl,
# tinyproxy, postgresql and chromium (as root or with sudo; no service of theirs is started or enabled, and no
# cluster of the host made), and the Python packages hl7, oidc-provider-mock, schemathesis and one that brings
# axe-core into a virtual environment below target/. Needs no network but package registries. Each suite prints its own summary and how long it took;
# the last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."

long=
case "${1:-}" in
    "") ;;
    --long) long=1; export ADIT_TEST_LONG=1 ;;
    *) echo "usage: tests/run.sh [--long]" >&2; exit 64 ;;
esac

# Not every user's PATH has the folders of root's programs.
PATH=$PATH:/usr/sbin:/sbin
target=${CARGO_TARGET_DIR:-target}
python=$target/interop-venv/bin/python
hl7_version=0.4.5
oidc_version=0.3.4
schemathesis_version=4.32.5
# Of it, axe-core alone is used.
axe_version=0.1.8
passed=0
failed=0
failures=()
service_policy=
cluster_policy=
postgres=
agents_database=
pages_database=
people_database=
log=$(mktemp)
why=$(mktemp)
trap clean_up EXIT

main() {
    set_up || exit 1

    suite "formatting" cargo fmt --check
    suite "lints" cargo clippy --all-targets --test browser --locked -- -D warnings
    suite "documentation" documentation
    # Full counts load the machine; beside each other they would measure its patience.
    suite "tests" cargo test --locked --no-fail-fast -- ${long:+--test-threads=1} \
        --skip hospital_networks --skip every_seed_keeps_the_promises
    postgres=$(mktemp -d)
    suite "platform on PostgreSQL" platform_on_postgres
    # What these measure is for people.
    suite "simulation" cargo test --locked --test simulation -- --nocapture every_seed_keeps_the_promises
    suite "networks" cargo test --locked --test it -- --nocapture ${long:+--test-threads=1} hospital_networks
    suite "single sign-on" single_sign_on
    suite "browser" browser
    suite "interop" interop
    people_database=$(mktemp -d)
    suite "people" people
    [[ ! $long ]] || agents_database=$(mktemp -d)
    pages_database=$(mktemp -d)
    suite "agents" agents
    suite "pages" pages
    suite "docker" bash tests/docker/run.sh "$target/debug/adit"
    suite "fuzzing" bash tests/fuzz/run.sh "$([[ $long ]] && echo 300 || echo 15)"
    if [[ $long ]]; then
        suite "binaries of the benches" cargo build --locked --release
        suite "bench codec" cargo bench --locked -p adit-benches --bench codec
        suite "bench setup" cargo bench --locked -p adit-benches --bench setup
        suite "bench filter" cargo bench --locked -p adit-benches --bench filter
        suite "bench relay" cargo bench --locked -p adit-benches --bench relay
        suite "bench tunnel" cargo bench --locked -p adit-benches --bench tunnel -- --peers direct,adit
        suite "bench carriers" cargo bench --locked -p adit-benches --bench carriers
        suite "bench paths" bench_paths release bench --rounds 3
    else
        suite "bench codec" cargo test --locked --bench codec -- --once
        suite "bench setup" cargo test --locked --bench setup -- --once
        suite "bench filter" cargo test --locked --bench filter -- --quick --rounds 1
        suite "bench relay" cargo test --locked --bench relay -- --quick
        suite "bench tunnel" cargo test --locked --bench tunnel -- --quick --rounds 1 --peers direct,adit
        suite "bench carriers" cargo test --locked --bench carriers -- --quick
        suite "bench paths" bench_paths debug test --quick
    fi

    echo
    # Hours of output later, whoever reads the end alone learns why.
    cat "$why"
    for name in ${failures[@]+"${failures[@]}"}; do echo "failed: $name"; done
    echo "all of it took $(clock "$SECONDS")"
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}

# Does nothing that is done already; a machine that has everything waits for none of it.
set_up() {
    install_debian_packages && check_rust && install_python_packages
}

check_rust() {
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or later" >&2
        return 1
    fi
    # A minimal toolchain has neither.
    if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        echo "installing the Rust components rustfmt and clippy"
        rustup component add rustfmt clippy || return 1
    fi
}

install_debian_packages() {
    local packages=() service
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    has_python || packages+=(python3 python3-venv)
    # For the hosts of the walk-through.
    command -v nft >/dev/null || packages+=(nftables)
    command -v ip >/dev/null || packages+=(iproute2)
    command -v unshare >/dev/null || packages+=(util-linux)
    # Proxies as hospitals run them; this squid can open TLS, which the package of that name cannot.
    is_squid_with_tls || packages+=(squid-openssl)
    command -v tinyproxy >/dev/null || packages+=(tinyproxy)
    command -v openssl >/dev/null || packages+=(openssl)
    # The other engine of the gateway's database.
    has_postgres || packages+=(postgresql)
    # DICOM software that none of us wrote.
    command -v storescu >/dev/null && command -v storescp >/dev/null || packages+=(dcmtk)
    command -v Orthanc >/dev/null || packages+=(orthanc)
    # The HTTP server that Mirth is built on, and what compiles and runs the one of the tests.
    command -v javac >/dev/null && command -v keytool >/dev/null || packages+=(default-jdk-headless)
    [[ -e /usr/share/java/jetty9-server.jar ]] || packages+=(libjetty9-java)
    # The ACME authority that clients are tried with.
    command -v pebble >/dev/null && command -v pebble-challtestsrv >/dev/null || packages+=(pebble)
    # The console is looked at with it; without fonts of its own it would draw boxes for names of other scripts.
    command -v chromium >/dev/null || packages+=(chromium)
    command -v chromedriver >/dev/null || packages+=(chromium-driver)
    [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]] || packages+=(fonts-dejavu-core)
    [[ -e /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ]] || packages+=(fonts-noto-color-emoji)
    # Where an engine runs, the sidecar is tried by its compose file.
    if docker info >/dev/null 2>&1 && ! { docker compose version || docker-compose version; } >/dev/null 2>&1; then
        packages+=(docker-compose)
    fi
    # libFuzzer is C++.
    command -v g++ >/dev/null || packages+=(g++)
    # The walk-through asks a Mirth with it.
    command -v curl >/dev/null || packages+=(curl)
    # What comes back over the API is read with it.
    command -v jq >/dev/null || packages+=(jq)
    ((${#packages[@]})) || return 0
    echo "installing Debian packages: ${packages[*]}"
    if ! command -v apt-get >/dev/null; then
        echo "apt-get is missing: install what these packages have in another way" >&2
        return 1
    fi
    as_root apt-get update -q || return 1
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
        without_cluster || return 1
    fi
    without_services apt-get install -qy --no-install-recommends "${packages[@]}" || return 1
    lift_cluster_policy
    if [[ " ${packages[*]} " == *" postgresql "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl disable -q postgresql.service || return 1
    fi
    if [[ " ${packages[*]} " == *" orthanc "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl disable -q orthanc.service || return 1
    fi
    for service in squid tinyproxy; do
        if [[ " ${packages[*]} " == *" $service"* ]] && command -v systemctl >/dev/null; then
            as_root systemctl disable -q "$service.service" || return 1
        fi
    done
}

is_squid_with_tls() {
    command -v squid >/dev/null && squid -v | grep with-openssl >/dev/null
}

# Debian keeps it out of PATH.
has_postgres() {
    command -v initdb >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null
}

# Debian's package would make a cluster `main` of the host. A setting the machine has stays what it is.
without_cluster() {
    local settings=/etc/postgresql-common/createcluster.conf
    [[ -e $settings ]] && return 0
    cluster_policy=$settings
    as_root mkdir -p "${settings%/*}" && echo "create_main_cluster = false" | as_root tee "$settings" >/dev/null
}

lift_cluster_policy() {
    [[ -z $cluster_policy ]] || as_root rm -f "$cluster_policy"
    cluster_policy=
}

has_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

# Runs a command with which packages may not start their services: the suites start their own, on
# ports and folders of their own. A policy the machine has stays what it is.
without_services() {
    local policy=/usr/sbin/policy-rc.d status
    if [[ ! -e $policy ]]; then
        service_policy=$policy
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return 1
    fi
    as_root "$@"
    status=$?
    lift_service_policy
    return "$status"
}

lift_service_policy() {
    [[ -z $service_policy ]] || as_root rm -f "$service_policy"
    service_policy=
}

clean_up() {
    lift_service_policy
    lift_cluster_policy
    [[ -z $postgres ]] || bash tests/postgres.sh stop "$postgres"
    [[ -z $pages_database ]] || bash tests/postgres.sh stop "$pages_database"
    [[ -z $agents_database ]] || bash tests/postgres.sh stop "$agents_database"
    [[ -z $people_database ]] || bash tests/postgres.sh stop "$people_database"
    rm -f "$log" "$why"
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

install_python_packages() {
    local venv=$target/interop-venv
    local wanted=("hl7==$hl7_version" "oidc-provider-mock==$oidc_version" "schemathesis==$schemathesis_version")
    local axe=axe-playwright-python
    has_hl7 2>/dev/null && has_package oidc-provider-mock "$oidc_version" 2>/dev/null &&
        has_package schemathesis "$schemathesis_version" 2>/dev/null &&
        has_package "$axe" "$axe_version" 2>/dev/null && return 0
    echo "installing the Python packages ${wanted[*]} $axe==$axe_version into $venv"
    # `--clear`: one whose Python was upgraded away, or that was left half made, cannot be mended. What axe comes
    # with would drive a browser too; ours does.
    python3 -m venv --clear "$venv" && "$python" -m pip install -q "${wanted[@]}" &&
        "$python" -m pip install -q --no-deps "$axe==$axe_version" && has_hl7
}

has_package() {
    "$python" -c 'import importlib.metadata, sys
sys.exit(importlib.metadata.version(sys.argv[1]) != sys.argv[2])' "$1" "$2"
}

has_hl7() {
    "$python" -c 'import hl7' && has_package hl7 "$hl7_version"
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

# The store and the rules of the platform once more, on a private cluster.
platform_on_postgres() {
    local url gateway platform
    gateway=$(test_program adit_gateway) && platform=$(test_program platform) || return 1
    url=$(bash tests/postgres.sh start "$postgres") || return 1
    (cd src/gateway && ADIT_TEST_POSTGRES=$url "$gateway") || return 1
    (cd tests && ADIT_TEST_POSTGRES=$url "$platform" --nocapture)
}

# Signs in at an identity provider that none of us wrote.
single_sign_on() {
    local gateway oidc
    gateway=$(test_program adit_gateway) && oidc=$(realpath -s "$python") || return 1
    (cd src/gateway && ADIT_TEST_OIDC=$oidc "$gateway" real_provider)
}

# The console in a real browser, with real agents; its screenshots are in target/console/.
browser() {
    local axe oidc
    oidc=$(realpath -s "$python") || return 1
    axe=$("$python" -c 'import axe_playwright_python, pathlib
print(pathlib.Path(axe_playwright_python.__file__).with_name("axe.min.js"))') || return 1
    ADIT_TEST_AXE=$axe ADIT_TEST_OIDC=$oidc cargo test --locked --test browser -- --nocapture --test-threads=2
}

# Users over HTTPS, with clients that none of us wrote: attacks, secrets, and the API against its description.
people() {
    local url
    url=$(bash tests/postgres.sh start "$people_database") || return 1
    "$python" tests/interop/people/run.py --adit "$target/debug/adit" --postgres "$url" \
        --examples "$([[ $long ]] && echo 100 || echo 2)"
}

# The bench binary, built without optimisation like the other tests, can be a stand-in Mirth. The suite
# "tests" has built the binaries.
interop() {
    local built
    built=$(cargo test --locked --no-run --bench tunnel --message-format=json) || return 1
    "$python" tests/interop/run.py --bench "$(built_as tunnel <<<"$built")" --adit "$target/debug/adit" \
        --cache "$target/interop-objects"
}

# Each kind of path over the same network; the suites before have built the binaries.
bench_paths() {
    local profile=$1 build=$2 built
    shift 2
    built=$(cargo "$build" --locked --no-run --bench tunnel --message-format=json) || return 1
    "$python" benches/paths/run.py --profile "$profile" --load "$(built_as tunnel <<<"$built")" "$@"
}

# Simulated agents with real control links: all of them get one, hear of every termination and are back after the
# gateway was killed. What it costs is for people. Not optimised, like the other tests, so they are fewer.
agents() {
    if [[ ! $long ]]; then
        # Built by the suite "tests".
        "$target/debug/adit-lab" agents 500 --people 50 --sockets 50 --window 2 --terminations 20
        return
    fi
    cargo build --locked --release || return 1
    "$target/release/adit-lab" agents 10000 --people 200 --patience 600 || return 1
    local url
    url=$(bash tests/postgres.sh start "$agents_database") || return 1
    "$target/release/adit-lab" agents 10000 --people 200 --patience 600 --database "$url"
}

# Every page of the console of a large platform, on either engine, and streams of events beside. How long it takes is for
# people; that each page comes and each stream stays open is not.
pages() {
    local url program="$target/debug/adit-lab" once=--once
    url=$(bash tests/postgres.sh start "$pages_database") || return 1
    [[ ! $long ]] || { program="$target/release/adit-lab" once=; cargo build --locked --release || return 1; }
    "$program" pages ${once:+"$once"} && "$program" pages ${once:+"$once"} --database "$url"
}

# Prints the program of tests with this name, which the suite "tests" has built. Where a single package is named to
# cargo, its dependencies have that package's features alone, and are built once more for it: minutes, each time.
test_program() {
    local built
    built=$(cargo test --locked --no-run --message-format=json-render-diagnostics) || return 1
    built_as "$1" <<<"$built"
}

built_as() {
    "$python" -c '
import json, sys
for line in sys.stdin:
    if line.startswith("{"):
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"].replace("-", "_") == sys.argv[1]:
            print(message["executable"])
' "$1"
}

# Runs one suite and adds up the tests it counted; one that counts none is one test itself.
suite() {
    local name=$1 status good bad began=$SECONDS
    shift
    echo
    echo "== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    local counted='^(test result: .*\. |interop: |people: |docker: )([0-9]+) passed[;,] ([0-9]+) failed.*'
    read -r good bad < <(sed -nE "s/$counted/\\2 \\3/p" "$log" |
        awk '{ good += $1; bad += $2 } END { print good + 0, bad + 0 }')
    if [[ $status -ne 0 ]]; then
        failures+=("$name")
        ((bad > 0)) || bad=1
        { echo "== why $name failed"; reasons; } >>"$why"
    elif ((good + bad == 0)); then
        good=1
    fi
    ((passed += good, failed += bad))
    echo "== $name: $good passed, $bad failed, $(clock $((SECONDS - began)))"
}

# What the log of a suite that failed says of it: what panicked and the names, else how it ended.
reasons() {
    grep -E -A 12 'panicked at |^error(\[|:)|^Error: ' "$log" | cut -c -400 | head -n 60 | grep . || tail -n 25 "$log" | cut -c -400
    grep -E '^test .* FAILED$' "$log" | head -n 20
}

clock() {
    printf '%d min %02d s' $(($1 / 60)) $(($1 % 60))
}

main
