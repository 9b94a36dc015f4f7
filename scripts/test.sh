#!/usr/bin/env bash
# Everything that must be true before a change is good, cheapest first; stops at the first thing that is not.
# All in the dev profile: one compilation of the dependencies serves lints, docs, tests and benches.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="-D warnings" CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

step() {
    echo "== $*" >&2
    local began=$SECONDS
    "$@" </dev/null || { echo "make test: failed: $*" >&2; exit 1; }
    echo "   $((SECONDS - began)) s" >&2
}

step cargo fmt --check
step cargo clippy --all-targets --locked -- -D warnings
step cargo doc --no-deps --locked
step cargo test --no-run --all-targets --locked # compiles the benches, too
step cargo test --locked
if [ -f fuzz/Cargo.toml ]; then
    step cargo fmt --check --manifest-path fuzz/Cargo.toml
    step scripts/fuzz.sh "${FUZZ_SECONDS:-5}"
fi
[ "$(id -u)" = 0 ] || echo "make test: NOT run: the LAN tests, which need root (sudo -E make test)" >&2
echo "make test: all good, $((SECONDS / 60)) min $((SECONDS % 60)) s" >&2
