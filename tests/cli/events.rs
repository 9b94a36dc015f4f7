//! Is each event a line of JSON with the keys that scripts rely on, once a second where promised, appended and never truncated?

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use lanradio::wire::ids::Numbering;
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FRAME, FrameIndex, NodeId, PlanDigest, Slot, StationId, Term};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::network::heckle;
use crate::support::{PATIENCE, Studio, named, parse_events};

/// The keys of a `stats` event (DESIGN 5).
const STATS: [&str; 20] = [
    "received",
    "late",
    "lost",
    "repaired",
    "concealed",
    "duplicate",
    "reordered",
    "underruns",
    "rejected",
    "buffer_ms",
    "jitter_ms",
    "drift_ppm",
    "sync_us",
    "leader",
    "term",
    "repaired_by",
    "loss_bursts",
    "longest_burst",
    "repair_ms_p50",
    "repair_ms_p99",
];

/// What the kernel's boot clock shows, in microseconds.
fn boot_us() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    time.tv_sec() * 1_000_000 + time.tv_nsec() / 1_000
}

fn is_node_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| {
        id.len() == 16
            && id
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_hex(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A term is {"counter": int, "leader": "16 hex digits"}; the node that leads it.
#[track_caller]
fn leader_of(event: &Value) -> String {
    let term = &event["term"];
    assert!(
        term["counter"].is_u64() && is_node_id(&term["leader"]),
        "term of {event}"
    );
    assert_eq!(term.as_object().unwrap().len(), 2, "{event}");
    term["leader"].as_str().unwrap().to_owned()
}

/// What every event has; `from` and `to` are the boot clock around the run.
fn check_frame(events: &[Value], from: i64, to: i64) {
    let mut last = from;
    for event in events {
        let t_us = event["t_us"]
            .as_i64()
            .unwrap_or_else(|| panic!("t_us of {event}"));
        assert!(
            (last..=to).contains(&t_us),
            "{event} is not between {last} and {to} on the boot clock"
        );
        last = t_us;
        let at = humantime::parse_rfc3339(event["at"].as_str().unwrap())
            .unwrap_or_else(|e| panic!("{e}: {event}"));
        let age = SystemTime::now()
            .duration_since(at)
            .unwrap_or_else(|e| e.duration());
        assert!(age < Duration::from_secs(60), "{event} is {age:?} away");
        assert!(!event["event"].as_str().unwrap().is_empty());
    }
}

#[test]
fn events_of_a_programme_have_the_keys_of_the_contract() {
    let studio = Studio::new();
    studio.tone("a.wav", 3_200, 440.0);
    let from = boot_us();
    let listener = studio.listener("listen --output null --once --events -");
    let sender = studio
        .start("send a.wav --events -")
        .finish()
        .exits(0)
        .events();
    let heard = listener.finish().exits(0).events();
    let to = boot_us();
    check_frame(&sender, from, to);
    check_frame(&heard, from, to);

    let mut stations = Vec::new();
    let mut leaders = Vec::new();
    for (who, events) in [("send", &sender), ("listen", &heard)] {
        let on_air = named(events, "on_air");
        assert_eq!(on_air.len(), 1, "{who}");
        assert!(is_hex(&on_air[0]["station"]), "{who}: {}", on_air[0]);
        stations.push(on_air[0]["station"].clone());
        leaders.push(leader_of(&on_air[0]));
        let tracks = named(events, "track");
        assert_eq!(tracks.len(), 1, "{who}");
        assert_eq!(
            tracks[0]["title"], "a",
            "a file without tags goes by its name"
        );
        assert!(tracks[0]["first_frame"].is_u64(), "{}", tracks[0]);
        assert!(tracks[0].get("artist").is_some(), "{}", tracks[0]);
        let off_air = named(events, "off_air");
        assert_eq!(off_air.len(), 1, "{who}");
        assert_eq!(off_air[0]["reason"], "ended", "{who}");
    }
    assert_eq!(stations[0], stations[1]);
    assert_eq!(leaders[0], leaders[1]);

    let tuned_in = named(&heard, "tuned_in");
    assert_eq!(tuned_in.len(), 1);
    assert_eq!(
        tuned_in[0]["frame"],
        named(&heard, "track")[0]["first_frame"],
        "from the first frame on"
    );
    assert!(tuned_in[0]["ms"].as_f64().unwrap() > 0.0, "{}", tuned_in[0]);

    let leader = named(&heard, "leader");
    assert_eq!(leader.len(), 1);
    assert_eq!(leader_of(&leader[0]), leaders[0]);
    assert_eq!(leader[0]["leader"].as_str(), Some(leaders[0].as_str()));
    assert!(leader[0]["reason"].is_string(), "{}", leader[0]);
}

#[test]
fn stats_come_once_a_second_with_totals() {
    let studio = Studio::new();
    studio.tone("a.wav", 4_000, 440.0);
    let listener = studio.listener("listen --output null --once --events -");
    studio.start("send a.wav").finish().exits(0);
    let stats = named(&listener.finish().exits(0).events(), "stats");
    assert!(stats.len() >= 4, "{} stats in over 4.5 s", stats.len());
    for line in &stats {
        for key in STATS {
            assert!(line.get(key).is_some(), "no {key} in {line}");
        }
        for key in [
            "received",
            "late",
            "lost",
            "repaired",
            "concealed",
            "duplicate",
            "reordered",
            "underruns",
            "rejected",
        ] {
            assert!(line[key].is_u64(), "{key} in {line}");
        }
        let by_reason = line["rejected_by"]
            .as_object()
            .unwrap_or_else(|| panic!("rejected_by in {line}"));
        let sum: u64 = by_reason
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum();
        assert_eq!(line["rejected"].as_u64(), Some(sum), "{line}");
        check_losses(line);
    }
    for pair in stats.windows(2) {
        let step = pair[1]["t_us"].as_i64().unwrap() - pair[0]["t_us"].as_i64().unwrap();
        // The last one may come early, with the end.
        assert!(step < 1_500_000, "{step} us between stats");
        assert!(
            pair[1]["received"].as_u64() >= pair[0]["received"].as_u64(),
            "totals never fall"
        );
    }
    let inner = &stats[..stats.len() - 1];
    for pair in inner.windows(2) {
        let step = pair[1]["t_us"].as_i64().unwrap() - pair[0]["t_us"].as_i64().unwrap();
        assert!(
            (500_000..1_500_000).contains(&step),
            "{step} us between stats"
        );
    }
    let tuned = stats
        .iter()
        .filter(|line| line["received"].as_u64() > Some(0));
    for line in tuned {
        leader_of(line);
        assert!(is_node_id(&line["leader"]), "{line}");
        assert_eq!(line["buffer_ms"].as_f64(), Some(500.0), "{line}");
    }
}

/// What `stats` says of losses and repairs is whole and of its kind.
#[track_caller]
fn check_losses(stats: &Value) {
    let by = |way: &str| stats["repaired_by"][way].as_u64().unwrap();
    let ways = by("replica") + by("unicast") + by("multicast");
    assert_eq!(stats["repaired"], ways, "{stats}");
    let bursts = stats["loss_bursts"].as_object().unwrap();
    let lengths: Vec<&str> = bursts.keys().map(String::as_str).collect();
    let all = ["1", "17-32", "2", "3-4", "33+", "5-8", "9-16"];
    assert_eq!(lengths, all, "{stats}");
    let count: u64 = bursts.values().map(|count| count.as_u64().unwrap()).sum();
    let longest = stats["longest_burst"].as_u64().unwrap();
    assert_eq!(count == 0, longest == 0, "{stats}");
    let lost = ways + stats["concealed"].as_u64().unwrap();
    assert!(count <= lost && longest <= lost, "{stats}");
    let (half, most) = (&stats["repair_ms_p50"], &stats["repair_ms_p99"]);
    if half.is_null() {
        assert!(most.is_null(), "{stats}");
    } else {
        assert!(half.as_f64().unwrap() <= most.as_f64().unwrap(), "{stats}");
    }
}

/// A packet of station 7.
fn packet_of_seven(n: u64) -> Vec<u8> {
    let numbering = Numbering::of(StationId(7));
    let term = Term {
        counter: 1,
        leader: NodeId(9 << 32),
    };
    let identity = (term.short(), PlanDigest(1), Flags::default());
    let (index, slot) = (FrameIndex(n), Slot(n));
    let payload = &[0xfc, 0xff, 0xfe];
    let packet = MediaPacket::place(&numbering, index, slot, n == 0, identity, payload);
    let mut bytes = Vec::new();
    packet.write(&mut bytes);
    bytes
}

#[test]
fn frames_that_never_came_are_told_as_bursts() {
    let studio = Studio::new();
    let listener = studio.listener("listen --output null --events -");
    // A sender that leaves out some frames: one, then three, then one. It plays on until they have been told.
    let begun = Instant::now();
    let told = || {
        let last = named(&listener.events(), "stats").pop()?;
        (last["received"].as_u64()? > 100).then_some(last)
    };
    let mut n = 0;
    let stats = loop {
        std::thread::sleep((begun + FRAME * n).saturating_duration_since(Instant::now()));
        if !matches!(n, 30 | 50..53 | 70) {
            heckle(&studio, studio.port, &packet_of_seven(n.into()));
        }
        n += 1;
        if n % 25 == 0
            && let Some(stats) = told()
        {
            break stats;
        }
        assert!(n < 500, "{:?}", listener.events().pop());
    };
    check_losses(&stats);
    let bursts = &stats["loss_bursts"];
    assert_eq!(
        (&bursts["1"], &bursts["3-4"]),
        (&2.into(), &1.into()),
        "{stats}"
    );
    assert_eq!(
        (&stats["longest_burst"], &stats["concealed"]),
        (&3.into(), &5.into()),
        "{stats}"
    );
    listener.signal(nix::sys::signal::Signal::SIGTERM);
    listener.finish_within(PATIENCE).exits(0);
}

#[test]
fn event_file_is_appended_to() {
    let studio = Studio::new();
    studio.tone("a.wav", 100, 440.0);
    fs::write(studio.path("log.jsonl"), "{\"event\":\"before\"}\n").unwrap();
    for _ in 0..2 {
        studio.run("send a.wav --events log.jsonl").exits(0);
    }
    let events = parse_events(&fs::read(studio.path("log.jsonl")).unwrap());
    assert_eq!(events[0]["event"], "before");
    assert_eq!(named(&events, "on_air").len(), 2);
    assert_eq!(named(&events, "off_air").len(), 2);
}

#[test]
fn several_processes_can_share_an_event_file() {
    let studio = Studio::new();
    studio.tone("a.wav", 1_200, 440.0);
    let listeners: Vec<_> = (0..3)
        .map(|_| studio.listener("listen --output null --once --events log.jsonl"))
        .collect();
    studio.run("send a.wav --events log.jsonl").exits(0);
    for listener in listeners {
        listener.finish().exits(0);
    }
    // Each event is one write: lines are never mixed, so all of them parse.
    let events = parse_events(&fs::read(studio.path("log.jsonl")).unwrap());
    assert_eq!(named(&events, "off_air").len(), 4);
    assert_eq!(named(&events, "tuned_in").len(), 3);
}

#[test]
fn small_buffer_is_warned_about_in_text_and_event() {
    let studio = Studio::new();
    let listener = studio.start("listen --output null --buffer 60ms --timeout 200ms --events -");
    let finished = listener.finish().exits(3).says(&["takeover"]);
    let warnings = named(&finished.events(), "warning");
    assert!(
        warnings
            .iter()
            .any(|w| w["text"].as_str().unwrap().contains("takeover")),
        "{warnings:?}"
    );
    // One that adapts is not as short as that yet, or never.
    for buffer in ["100ms", "auto"] {
        let finished = studio
            .run(&format!(
                "listen --output null --buffer {buffer} --timeout 200ms --events -"
            ))
            .exits(3);
        assert!(named(&finished.events(), "warning").is_empty());
    }
    studio
        .run("listen --output null --buffer auto --max-buffer 99ms --timeout 200ms")
        .exits(3)
        .says(&["takeover"]);
}

#[test]
fn buffer_that_becomes_short_by_itself_is_warned_about_once() {
    let studio = Studio::new();
    studio.tone("a.wav", 3_500, 440.0);
    // It begins as long as the station's.
    let listener = studio.listener("listen --output null --once --buffer auto --events -");
    studio.run("send a.wav --buffer 80ms").exits(0);
    let finished = listener.finish().exits(0);
    let warnings = named(&finished.events(), "warning");
    let texts: Vec<_> = warnings
        .iter()
        .map(|w| w["text"].as_str().unwrap())
        .collect();
    let short = texts.iter().filter(|text| text.contains("takeover"));
    assert_eq!(short.count(), 1, "{texts:?}");
    assert!(
        texts.iter().any(|text| text.contains("--min-buffer 100ms")),
        "{texts:?}"
    );
    // The user has seen to it.
    let listener =
        studio.listener("listen --output null --once --buffer auto --min-buffer 100ms --events -");
    studio.run("send a.wav --buffer 80ms").exits(0);
    let finished = listener.finish().exits(0);
    assert!(named(&finished.events(), "warning").is_empty());
}

#[test]
fn unreadable_network_text_never_breaks_a_line_of_events() {
    let studio = Studio::new();
    let listener = studio.listener("listen --output null --events -");
    heckle(&studio, studio.port, b"\n{\"event\":\"forged\"}\n");
    heckle(&studio, studio.port + 2, b"\n{\"event\":\"forged\"}\n");
    let stats = listener.wait_events("stats", 2);
    assert!(stats[1]["received"] == 0);
    assert!(named(&listener.events(), "forged").is_empty());
    listener.signal(nix::sys::signal::Signal::SIGTERM);
    listener.finish_within(PATIENCE).exits(0);
}
