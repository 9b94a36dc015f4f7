#!/usr/bin/env bash
# Runs every fuzz target for SECONDS, on stable Rust and without cargo-fuzz (which takes a minute to install).
#
#   scripts/fuzz.sh SECONDS [TARGET...]
#   scripts/fuzz.sh 0          builds them only
#
# The flags are those of `cargo fuzz run -s none`: libFuzzer is led by coverage; the address sanitizer, which needs
# nightly, has nothing to find in a crate that denies unsafe code. What a run learns stays in fuzz/target/corpus; the
# seeds in fuzz/corpus are only read. The last line of each target goes to $FUZZ_REPORT, if that is set.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:+$CARGO_TARGET_DIR/fuzz}
target_dir=${target_dir:-fuzz/target}
# With --target the flags reach the code under test only, not the build scripts.
build=(cargo build --release --quiet --locked --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$target_dir" --bins)
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions"
[ "$seconds" != 0 ] || exec "${build[@]}" # so that to stop this is to stop cargo
"${build[@]}"

[ $# -gt 0 ] || set -- $(sed -n '/^\[\[bin\]\]/,/^$/s/^name *= *"\(.*\)"/\1/p' fuzz/Cargo.toml)
[ $# -gt 0 ] || { echo "fuzz/Cargo.toml names no targets" >&2; exit 1; }
fuzz() { # fuzz TARGET: its log lies beside the targets
    local name=$1 learned=$target_dir/corpus/$1 seeds=fuzz/corpus/$1
    mkdir -p "$learned" fuzz/artifacts
    [ -d "$seeds" ] || seeds=
    "$target_dir/$host/release/$name" -max_total_time="$seconds" -max_len=2048 -rss_limit_mb=1024 -timeout=30 \
        -artifact_prefix="fuzz/artifacts/$name-" -print_final_stats=1 "$learned" $seeds </dev/null >"$target_dir/$name.log" 2>&1
}

# Each keeps one core busy: as many at a time as there are cores.
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
while [ $# -gt 0 ]; do
    batch=("${@:1:cores}") pids=()
    shift "${#batch[@]}"
    for name in "${batch[@]}"; do
        fuzz "$name" &
        pids+=($!)
    done
    failed=
    for n in "${!batch[@]}"; do
        name=${batch[n]} log=$target_dir/${batch[n]}.log
        if ! wait "${pids[n]}"; then
            tail -n 40 "$log" >&2
            echo "fuzz target $name failed: see above and fuzz/artifacts/; the whole log is $log" >&2
            failed=yes
            continue
        fi
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz target $name: ${runs:-?} inputs in $seconds s, nothing found"
        [ -z "${FUZZ_REPORT:-}" ] || echo "$name ${runs:-?} $seconds" >>"$FUZZ_REPORT"
    done
    [ -z "$failed" ] || exit 1
done
