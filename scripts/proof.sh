#!/usr/bin/env bash
# Does it do what it claims, in full counts? Tests in full, a minute of fuzzing each, benches, figures: at most an hour.
# Writes PROOF.md, and puts the same figures between the markers in README.md; both are to be committed.
# A failing test or fuzz target ends it. A goal that was missed does not: figures depend on the machine; it is named.
set -euo pipefail
cd "$(dirname "$0")/.."
# CI: what cannot run here fails instead of being skipped.
export LANRADIO_INTERFACE=lo LANRADIO_PROOF=1 CARGO_TERM_COLOR=never CI=true

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What the steps print stays here, for a look when one fails.
logs=${CARGO_TARGET_DIR:-target}/proof
mkdir -p "$logs"

step() { # step LOG COMMAND...
    local log=$logs/$1.log began=$SECONDS
    shift
    echo "== $*" >&2
    "$@" </dev/null >"$log" 2>&1 || { tail -n 40 "$log" >&2; echo "make proof: failed: $* (all of it: $log)" >&2; exit 1; }
    echo "   $((SECONDS - began)) s" >&2
}

tests_table() { # one line for each test binary, from cargo test's own output
    echo '| tests | passed | ignored |'
    echo '|---|---:|---:|'
    awk '
        /^ *Running |^ *Doc-tests / { name = $1 == "Doc-tests" ? "documentation" : ($2 == "unittests" ? "beside the code, " $3 : $2) }
        /^test result: ok/ { if ($4 + $8 > 0) printf "| %s | %d | %d |\n", name, $4, $8; passed += $4; ignored += $8 }
        END { printf "| **all** | **%d** | %d |\n", passed, ignored }' "$logs/test.log"
}

fuzz_table() {
    echo '| fuzz target | seconds | inputs | found |'
    echo '|---|---:|---:|---|'
    awk '{ printf "| %s | %d | %d | nothing |\n", $1, $3, $2 }' "$work/fuzz"
}

bench_table() { # criterion puts the time on a line of its own after a long name
    echo '| bench | median time |'
    echo '|---|---:|'
    awk '
        /change:/ { next } # against a run before; what is below it are per cents
        /time: +\[/ && !/%/ {
            name = $0; sub(/ *time:.*/, "", name); if (name == "") name = before
            times = $0; sub(/.*\[/, "", times); split(times, part, " ")
            printf "| %s | %s %s |\n", name, part[3], part[4]
        }
        NF { before = $0 }' "$logs/bench.log"
}

figures_table() {
    echo '| figure | measured: median (least to most) | goal | others, another day | made by |'
    echo '|---|---|---|---|---|'
    cat "$work/figures"
    # The bench encode_ratio prints: 48000 Hz WAV, 60 s: 620 ms, bare libopus 570 ms, ratio 1.088; ...
    ratio=$(sed -n 's/^48000 Hz WAV.*, ratio \([0-9.]*\);.*/\1/p' "$logs/bench.log" | tail -n 1)
    [ -z "$ratio" ] || awk -v r="$ratio" 'BEGIN {
        printf "| encoding a 48 kHz WAV, times the CPU time of bare libopus | **%s** | ≤ 1.15: %s | – | `cargo bench --bench encode_ratio` |\n", \
            r, r <= 1.15 ? "met" : "**missed**" }'
}

machine() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    echo "$(nproc) cores (${cpu:-unknown}), Linux $(uname -r), $(rustc --version | cut -d' ' -f1-2), $(date -u +%Y-%m-%d)," \
        "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD -- src 2>/dev/null || echo ' with changes')"
}

step build cargo build --release --locked
step build-figures cargo bench --no-run --locked
# What can fail comes first: figures take long and fail nothing.
step test cargo test --locked
if [ -f fuzz/Cargo.toml ]; then
    FUZZ_REPORT=$work/fuzz step fuzz scripts/fuzz.sh "${FUZZ_SECONDS:-60}"
fi
FIGURES_OUT=$work/figures step figures cargo bench --locked --bench figures -- all
step bench cargo bench --locked

figures_table >"$work/table"
{
    echo '# Proof'
    echo
    echo "Made by \`make proof\` in $((SECONDS / 60)) minutes, on: $(machine)."
    echo
    echo '## Figures'
    echo
    echo "Medians of ${FIGURES_RUNS:-5} runs of ${FIGURES_SECONDS:-30} s on the loopback interface, all from this one run. CPU is in per cent of one core,"
    echo 'memory is the peak of what was resident. The column of others repeats what was measured with network namespaces once.'
    echo
    cat "$work/table"
    echo
    echo '## Tests'
    echo
    tests_table
    if [ -f "$work/fuzz" ]; then
        echo
        echo '## Fuzzing'
        echo
        fuzz_table
    fi
    echo
    echo '## Benches'
    echo
    bench_table
} >"$work/proof"
awk -v table="$work/table" '
    /^<!-- figures:/ { print; while ((getline line < table) > 0) print line; skip = 1 }
    /^<!-- end of figures/ { skip = 0 }
    !skip { print }
    ' README.md >"$work/readme"
grep -q '^<!-- end of figures' "$work/readme" || { echo "make proof: README.md has lost its markers" >&2; exit 1; }
cp "$work/proof" PROOF.md
cp "$work/readme" README.md
echo "make proof: wrote PROOF.md and the table of README.md, $((SECONDS / 60)) min"
[ -n "$ratio" ] || echo "make proof: the bench encode_ratio printed no ratio"
if grep -nE 'missed|not measured' "$work/table"; then echo "make proof: these goals were missed or not measured (see above)"; fi
