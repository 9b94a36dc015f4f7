#!/usr/bin/env bash
# Composes the demo's music anew and encodes it; what comes out is committed, so that the demo needs no ffmpeg.
set -euo pipefail
cd "$(dirname "$0")/.."
wav=$(mktemp --suffix=.wav)
trap 'rm -f "$wav"' EXIT
cargo run --quiet --release --locked --example compose -- "$wav"
# bitexact: the same bytes from every run of one ffmpeg.
ffmpeg -hide_banner -loglevel error -y -i "$wav" -c:a libvorbis -q:a 4 -bitexact \
    -metadata title="Nobody Knocks It Off the Air" -metadata artist="The lanradio developers" \
    -metadata license="CC0-1.0" assets/demo.ogg
ffmpeg -hide_banner -nostats -i assets/demo.ogg -af ebur128=peak=true -f null - 2>&1 | grep -E '^ +(I|Peak):'
ls -l assets/demo.ogg
