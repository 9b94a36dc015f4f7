#!/usr/bin/env bash
# What does lanradio do? One sender and three listeners on this machine's loopback interface, and what came of it.
# Two listeners record to WAV files in demo-out/; the third plays on the speakers, if there are any. Nothing leaves this machine. Works without a terminal, too.
set -euo pipefail
cd "$(dirname "$0")/.."

music=assets/demo.ogg
out=demo-out
group=239.255.$((RANDOM % 256)).$((1 + RANDOM % 254)):$((20000 + 2 * (RANDOM % 10000)))
bound=120 # seconds for half a minute of music: longer means that something hangs
pids=()

main() {
    echo "Building lanradio (the first time this takes a minute or two) ..."
    cargo build --release --locked --bin lanradio </dev/null
    lanradio=${CARGO_TARGET_DIR:-target}/release/lanradio
    trap stop EXIT
    trap 'echo; echo "Stopped."; exit 130' INT TERM HUP
    mkdir -p $out
    rm -f $out/listener-*.wav $out/*.jsonl $out/*.log
    touch $out/speakers.log

    echo
    echo "Three listeners tune in to $group on the loopback interface; then a sender goes on air there."
    echo "Two of them record, the third one plays on the speakers, if there are any."
    echo
    for i in 1 2; do
        "$lanradio" listen --once --timeout 30s --interface lo --group "$group" --name "listener-$i" \
            --output file:$out/listener-$i.wav --events $out/listener-$i.jsonl </dev/null 2> >(label $i) &
        pids+=($!)
    done
    # Without a device it waits for one until the programme ends; what it says about that stays in its log.
    "$lanradio" listen --once --timeout 30s --interface lo --group "$group" --name speakers \
        --events $out/speakers.jsonl </dev/null 2>$out/speakers.log &
    pids+=($!)
    for log in listener-1 listener-2 speakers; do await_line $out/$log.log; done
    "$lanradio" send --interface lo --group "$group" --name sender --events $out/sender.jsonl $music </dev/null &
    pids+=($!)

    await_all
    sleep 0.2 # the last lines of the listeners
    summary
}

# Waits until a listener has said where it listens.
await_line() {
    local tries=0
    until grep -q "^lanradio: group" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "A listener does not start; see $1." >&2; exit 1; }
        sleep 0.1
    done
}

# Passes a listener's lines on, each with its name; on a terminal first wipes the sender's live line, which then redraws.
label() {
    trap '' INT
    local wipe=
    [ ! -t 2 ] || wipe=$'\r\e[K'
    while IFS= read -r line; do
        printf '%s\n' "$line" >>$out/listener-"$1".log
        printf '%slistener %s: %s\n' "$wipe" "$1" "$line" >&2
    done
}

await_all() {
    local deadline=$((SECONDS + bound)) pid
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do
            [ $SECONDS -lt $deadline ] || { echo "The demo should have ended long ago; giving up. See $out/*.log." >&2; exit 1; }
            sleep 0.2
        done
    done
}

stop() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
}

# One number out of the last statistics that a listener wrote.
counter() {
    sed -n "/\"event\":\"stats\"/s/.*\"$2\":\([0-9]*\).*/\1/p" "$1" 2>/dev/null | tail -n 1 || true
}

summary() {
    local ok=true i code wav
    wait "${pids[3]}" || { echo "The sender failed (exit code $?)."; ok=false; }
    echo
    echo "What the listeners got"
    echo "                 seconds   frames received       lost  concealed   file"
    for i in 1 2; do
        code=0
        wait "${pids[i - 1]}" || code=$?
        wav=$out/listener-$i.wav
        local received lost concealed centis
        received=$(counter $out/listener-$i.jsonl received)
        lost=$(counter $out/listener-$i.jsonl lost)
        concealed=$(counter $out/listener-$i.jsonl concealed)
        if [ $code -ne 0 ] || [ "${received:-0}" -eq 0 ] || [ ! -s $wav ]; then
            echo "  listener $i failed (exit code $code); its messages are in $out/listener-$i.log"
            ok=false
            continue
        fi
        centis=$((($(wc -c <$wav) - 44) / 1920)) # 192,000 bytes are a second
        printf '  listener %s   %5d.%02d %17d %10d %10d   %s\n' $i $((centis / 100)) $((centis % 100)) \
            "$received" "${lost:-0}" "${concealed:-0}" $wav
    done
    echo
    if ! $ok; then
        echo "The demo failed."
        exit 1
    fi
    if grep -q '"event":"device".*"state":"opened"' $out/speakers.jsonl; then
        echo "You heard it on the device $(sed -n 's/.*"event":"device".*"name":"\([^"]*\)".*/\1/p' $out/speakers.jsonl | tail -n 1)."
    else
        echo "No sound device plays here, so nothing was heard; the files hold it."
    fi
    if cmp -s $out/listener-1.wav $out/listener-2.wav; then
        echo "Both files are identical, to the last sample. Play one of them: it is what the sender sent."
    elif [ "$(counter $out/listener-1.jsonl concealed)$(counter $out/listener-2.jsonl concealed)" = 00 ]; then
        echo "The files differ although no frame was missing: that is a bug."
        exit 1
    else
        echo "The files differ where frames came too late (concealed) on this busy machine."
    fi
    echo "A frame is 20 ms of sound. Lost: it never came. Concealed: played without its data."
}

main
