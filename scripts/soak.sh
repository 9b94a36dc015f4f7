#!/usr/bin/env bash
# Random runs of the simulator until one breaks an invariant, or until it is stopped: prints how far it got, and the seed that failed.
# LANRADIO_SEED says where to begin; without it, where the clock says, so that every soak looks at other runs.
set -euo pipefail
cd "$(dirname "$0")/.."
export LANRADIO_SEED="${LANRADIO_SEED:-$(date +%s)000}"
echo "soaking from seed $LANRADIO_SEED; Ctrl-C stops" >&2
cargo test --locked --test sim -- --ignored --exact seeds::soak --nocapture
