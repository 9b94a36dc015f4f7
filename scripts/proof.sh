#!/usr/bin/env bash
# Does it do what it claims, in full counts? Tests in full, a minute of fuzzing each, benches, figures: at most an hour.
# Writes PROOF.md, and puts the same figures between the markers in README.md; both are to be committed.
# A failing test or fuzz target ends it. A goal that was missed does not: figures depend on the machine; it is named.
set -euo pipefail
cd "$(dirname "$0")/.."
# CI: what cannot run here fails instead of being skipped.
export LANRADIO_INTERFACE=lo LANRADIO_PROOF=1 CARGO_TERM_COLOR=never CI=true CARGO_INCREMENTAL=0
export FIGURES_RUNS=${FIGURES_RUNS:-3} FIGURES_SECONDS=${FIGURES_SECONDS:-15}

# What the steps print and measure stays here, for a look when one fails.
logs=${CARGO_TARGET_DIR:-target}/proof
work=$logs/measured
rm -rf "$work"
mkdir -p "$work"

run_by="make proof" test_logs=$logs/together
rm -rf "$test_logs"
# shellcheck source=scripts/together.sh
. scripts/together.sh

step() { # step LOG COMMAND...
    local log=$logs/$1.log began=$SECONDS
    shift
    echo "== $*" >&2
    "$@" </dev/null >"$log" 2>&1 || { tail -n 40 "$log" >&2; echo "make proof: failed: $* (all of it: $log)" >&2; exit 1; }
    echo "   $((SECONDS - began)) s" >&2
}

tests_table() { # one line for each test binary, from cargo test's own output; those that were run in parts are added up
    echo '| tests | passed | ignored |'
    echo '|---|---:|---:|'
    awk '
        /^ *Running |^ *Doc-tests / {
            name = $1 == "Doc-tests" ? "documentation" : ($2 == "unittests" ? "beside the code, " $3 : $2)
            if (!(name in passed)) order[++names] = name
        }
        /^test result: ok/ { passed[name] += $4; ignored[name] += $8; all_passed += $4; all_ignored += $8 }
        END {
            for (n = 1; n <= names; n++) {
                name = order[n]
                if (passed[name] + ignored[name] > 0) printf "| %s | %d | %d |\n", name, passed[name], ignored[name]
            }
            printf "| **all** | **%d** | %d |\n", all_passed, all_ignored
        }' "$logs/test.log" "$logs/doc.log" "$test_logs"/*.log "$logs/takeover-figures.log" "$logs/takeover.log" "$logs/insync.log" "$logs/repair.log"
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

bench_us() { # bench_us NAME: its median time in microseconds
    bench_table | awk -F ' *[|] *' -v name="$1" '
        BEGIN { us["ns"] = 0.001; us["µs"] = 1; us["ms"] = 1000; us["s"] = 1000000 }
        $2 == name { split($3, time, " "); printf "%.3g\n", time[1] * us[time[2]] }'
}

row() { # row WHAT VALUE UNIT GOAL NOTE BENCH: a figure that a bench prints; "-" for no goal
    awk -v what="$1" -v value="$2" -v unit="$3" -v goal="$4" -v note="$5" -v bench="$6" 'BEGIN {
        if (value == "") { printf "| %s | not measured | | %s | `cargo bench --bench %s` |\n", what, note, bench; exit }
        verdict = goal == "-" ? "–" : "≤ " goal unit ": " (value + 0 <= goal + 0 ? "met" : "**missed**")
        printf "| %s | **%s%s** | %s | %s | `cargo bench --bench %s` |\n", what, value, unit, verdict, note, bench }'
}

figures_table() {
    echo '| figure | measured: median (least to most of n) | goal | others, another day | made by |'
    echo '|---|---|---|---|---|'
    cat "$work/figures-takeover" "$work/figures-insync" "$work/figures-repair" "$work/figures-sim" "$work/figures"
    # The bench encode_ratio prints: 48000 Hz WAV, 60 s: 620 ms, bare libopus 570 ms, ratio 1.088; ...
    local ratio leads stands simulates clock
    ratio=$(sed -n 's/^48000 Hz WAV.*, ratio \([0-9.]*\);.*/\1/p' "$logs/bench.log" | tail -n 1)
    row 'encoding a 48 kHz WAV, times the CPU time of bare libopus' "$ratio" '' 1.15 – encode_ratio
    leads=$(bench_us 'node, 1,000 frames/leading, with an heir that confirms')
    stands=$(bench_us 'node, 1,000 frames/standing by: packet in, heartbeat in, timeout')
    simulates=$(bench_us 'simulator/five hosts, 10 s')
    per_frame() { [ -z "$1" ] || awk -v us="$1" 'BEGIN { printf "%.2f", us / 1000 }'; }
    row 'one step of a node that leads: a frame, every fifth time a heartbeat, with an heir’s answer' "$(per_frame "$leads")" ' µs' 2 – node
    row 'one step of a node that stands by: packet in, every fifth time a heartbeat in, timeout' "$(per_frame "$stands")" ' µs' 2 – node
    clock=$(bench_us 'station clock/probe, answer and map')
    row 'one answer of the leader, through the clock’s filter to a new map' "$clock" ' µs' - – clock
    row 'a second of a sound device’s callbacks: when does a sample leave it?' "$(bench_us 'device clock/a second of callbacks')" ' µs' - – clock
    row 'a frame to the device’s rate, its drift made up for' "$(bench_us 'a frame to 48000 Hz')" ' µs' - '0.02 s of sound' device
    row 'simulator, five hosts: seconds of theirs in one second' \
        "$([ -z "$simulates" ] || awk -v us="$simulates" 'BEGIN { printf "%.0f", 10 * 1000000 / us }')" '' - – node
}

machine() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    echo "$(nproc) cores (${cpu:-unknown}), Linux $(uname -r), $(rustc --version | cut -d' ' -f1-2), $(date -u +%Y-%m-%d)," \
        "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD -- src 2>/dev/null || echo ' with changes')"
}

step build cargo build --release --locked
step build-figures cargo bench --no-run --locked
# What can fail comes first: figures take long and fail nothing. Those that keep all cores busy, then those that wait, side by side.
# shellcheck disable=SC2046 # a list of words
FIGURES_OUT=$work/figures-sim step test cargo test --locked --lib --bins --test architecture --test files --test sim $(quick_tests)
step doc cargo test --locked --doc
# shellcheck disable=SC2046 # a list of words
together $(waiting_tests)
release=$(readlink -f "${CARGO_TARGET_DIR:-target}/release/lanradio")
FIGURES_OUT=$work/figures-insync LANRADIO_BINARY=$release step insync cargo test --locked --test insync
# Takeover judges milliseconds: it has the machine to itself, and what is measured is alone on it. These tests make figures.
measured="random_instants buffer_of_100_ms quiet_station tenth_of_all_packets"
# shellcheck disable=SC2086 # a list of words
FIGURES_OUT=$work/figures-takeover step takeover-figures cargo test --locked --test takeover -- --test-threads=1 $measured
# The rest, as repair and tune-in, of the program as it is installed: three minutes are encoded and copied in three seconds.
# shellcheck disable=SC2046,SC2086 # a list of words
LANRADIO_BINARY=$release step takeover cargo test --locked --test takeover -- --test-threads=4 $(printf -- '--skip %s ' $measured)
# What is measured in milliseconds waits until it is alone by itself.
FIGURES_OUT=$work/figures-repair LANRADIO_BINARY=$release \
    step repair cargo test --locked --test repair -- --test-threads=4
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
    echo "All from this one run. CPU and memory: runs of $FIGURES_SECONDS s on the loopback interface, CPU in per cent of one core, memory the peak of what"
    echo 'was resident. Takeovers and repairs: hosts in network namespaces. The column of others repeats what was measured with network namespaces once.'
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
if grep -nE 'missed|not measured' "$work/table"; then echo "make proof: these goals were missed or not measured (see above)"; fi
