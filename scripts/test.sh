#!/usr/bin/env bash
# Everything that must be true before a change is good, cheapest first; stops at the first thing that is not.
# All in the dev profile: one compilation of the dependencies serves docs and tests; benches are linted.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="-D warnings" CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
target=${CARGO_TARGET_DIR:-target}
# Incremental compilation costs a quarter more when there is nothing yet to start from. Where somebody builds by hand it goes on.
compgen -G "$target/debug/incremental/*" >/dev/null || export CARGO_INCREMENTAL=0

step() {
    echo "== $*" >&2
    local began=$SECONDS
    "$@" </dev/null || { echo "make test: failed: $*" >&2; exit 1; }
    echo "   $((SECONDS - began)) s" >&2
}

# shellcheck source=scripts/together.sh
. scripts/together.sh

# The fuzz targets share no artefact with the rest. One job compiles them beside lints, docs and tests: each of the two leaves cores
# idle while it waits for one large crate, and with as many jobs as that they end at about the same time. Nothing is tested meanwhile.
fuzz_build=
trap '[ -z "$fuzz_build" ] || kill "$fuzz_build" 2>/dev/null || true' EXIT
begin_fuzz_build() {
    mkdir -p "$target"
    CARGO_BUILD_JOBS=1 scripts/fuzz.sh 0 </dev/null >"$target/fuzz-build.log" 2>&1 &
    fuzz_build=$!
}
end_fuzz_build() { # its log only if it failed
    local pid=$fuzz_build
    fuzz_build=
    wait "$pid" || { cat "$target/fuzz-build.log" >&2; return 1; }
}

step cargo fmt --check
[ ! -f fuzz/Cargo.toml ] || begin_fuzz_build
step cargo clippy --all-targets --locked -- -D warnings
step cargo doc --no-deps --locked
step cargo test --no-run --locked
[ -z "$fuzz_build" ] || step end_fuzz_build
# shellcheck disable=SC2046 # a list of words
step cargo test --locked --lib --bins --test architecture --test files --test sim $(quick_tests)
step cargo test --locked --doc
# shellcheck disable=SC2046 # a list of words
together $(waiting_tests)
together takeover
together insync
together repair
if [ -f fuzz/Cargo.toml ]; then
    step cargo fmt --check --manifest-path fuzz/Cargo.toml
    step scripts/fuzz.sh "${FUZZ_SECONDS:-5}"
fi
[ "$(id -u)" = 0 ] || echo "make test: NOT run: the LAN tests, which need root (sudo -E make test)" >&2
echo "make test: all good, $((SECONDS / 60)) min $((SECONDS % 60)) s" >&2
