# Sourced by test.sh and proof.sh: tests that mostly wait, side by side. More at a time than there are cores, they take as long as the
# longest. shellcheck shell=bash

# The command that is told when something fails.
: "${run_by:=make test}"
# Where their logs go.
: "${test_logs:=${CARGO_TARGET_DIR:-target}/test-logs}"

# Every test there is: files of their own are quick; folders ([[test]] in Cargo.toml) drive the binary and wait for it, but for `files` and
# `sim`, which keep all cores busy. `takeover`, `insync` and `repair` have the machine to themselves: they judge milliseconds.
quick_tests() {
    for file in tests/*.rs; do printf -- '--test %s ' "$(basename "$file" .rs)"; done
}
waiting_tests() {
    sed -n '/^\[\[test\]\]/,/^$/s/^name *= *"\(.*\)"/\1/p' Cargo.toml | grep -vxE 'architecture|files|sim|takeover|insync|repair'
}

together() { # together TEST...
    echo "== cargo test --locked --test $* (side by side)" >&2
    local began=$SECONDS logs=$test_logs name pid pids=() failed= threads nice
    mkdir -p "$logs"
    for name in "$@"; do
        # Sound cannot wait: not more streams at a time than there are cores, and the others give way to it, as they do to a
        # desktop's sound server.
        threads=4 nice=10
        [ "$name" != sound ] || threads=2 nice=0
        [ "$name" != repair ] || threads=6
        [ $# != 1 ] || nice=0
        RUST_TEST_THREADS=$threads nice -n "$nice" cargo test --locked --test "$name" </dev/null >"$logs/$name.log" 2>&1 &
        pids+=($!)
    done
    for name in "$@"; do
        pid=${pids[0]} pids=("${pids[@]:1}")
        if wait "$pid"; then
            grep '^test result' "$logs/$name.log" | sed "s/^/   $name: /" >&2
        else
            cat "$logs/$name.log" >&2
            failed="$failed $name"
        fi
        grep -h 'SKIPPED' "$logs/$name.log" >&2 || true
    done
    [ -z "$failed" ] || { echo "$run_by: failed:$failed" >&2; exit 1; }
    echo "   $((SECONDS - began)) s" >&2
}
