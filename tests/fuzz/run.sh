#!/usr/bin/env bash
# Fuzzes what a partner's requests pass first, and the masking of answers, each target for so many seconds, and fails on any crash.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]     head, path, body, mask; all of them by default
#
# Needs Rust (stable), python3 and g++ (Debian: g++). Everything it writes lies below target/fuzz/: what
# it found worth keeping in corpus/, inputs that crash in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[[ $# -gt 0 ]] || targets=(head path body mask)
command -v g++ >/dev/null || { echo "libFuzzer is C++: install the Debian package g++" >&2; exit 69; }

out=$(cd ../.. && pwd)/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# What `cargo fuzz` passes, but for the address sanitizer, which needs a nightly toolchain: there is no
# unsafe code to watch. With a target named, build scripts are left alone.
export CARGO_TARGET_DIR=$out/build
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions"
cargo build --release --locked --target "$host"
python3 seeds.py "$out"

failed=0
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
    log=$out/$target.log
    echo "== $target: $seconds s =="
    status=0
    "$CARGO_TARGET_DIR/$host/release/$target" "$out/corpus/$target" "$out/seeds/$target" \
        -dict="$out/seeds/$target.dict" -artifact_prefix="$out/artifacts/$target/" \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    grep -E '^#[0-9]+.*cov: ' "$log" | tail -1 || true
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$log" || true
    if [[ $status -ne 0 ]]; then
        failed=1
        grep -E 'panicked|SUMMARY|ERROR|Test unit written' -A 2 "$log" || true
    fi
done
exit "$failed"
