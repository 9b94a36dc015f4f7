//! What does a station say of itself, who may change it, and does it outlive its sender? (Sample by sample on a LAN: tests/takeover.)

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use lanradio::io::http_client::{FetchError, Job, fetch};
use lanradio::wire::control::{Heartbeat, Message, State};
use lanradio::wire::ids::NodeId;
use lanradio::wire::media::MediaPacket;
use lanradio::wire::{FrameIndex, PlanDigest, StationId, Term};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::members::{node, status_when};
use crate::network::{Witness, heckle};
use crate::sound::{blocks, strength};
use crate::support::{PATIENCE, Process, Studio, cannot, named};

/// The port of a sender's API in this studio: the one after its three.
pub(crate) fn api(studio: &Studio) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, studio.port + 3))
}

fn ask(studio: &Studio, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, FetchError> {
    let job = Job {
        key: 0,
        addr: api(studio),
        path: path.into(),
        body: body.map(<[u8]>::to_vec),
        limit_bytes: 10 << 20,
        patience: Duration::from_secs(5),
    };
    fetch(&job, u32::MAX)
}

pub(crate) fn json(studio: &Studio, path: &str) -> Value {
    serde_json::from_slice(&ask(studio, path, None).unwrap()).unwrap()
}

pub(crate) fn sender(studio: &Studio, files: &str) -> Process {
    let sender = studio.start(&format!(
        "send {files} --name kitchen --events - --http {}",
        api(studio)
    ));
    sender.wait_event("track");
    sender
}

#[test]
fn without_a_station_status_and_stop_exit_3_after_a_second() {
    let studio = Studio::new();
    for line in ["status", "status --json", "stop"] {
        let finished = studio
            .run(line)
            .exits(3)
            .says(&["no station", &studio.ip.to_string()]);
        assert!(finished.stdout.is_empty());
        assert!(
            finished.took >= Duration::from_millis(1_000),
            "{line}: {:?}",
            finished.took
        );
        assert!(
            finished.took < Duration::from_secs(4),
            "{line}: {:?}",
            finished.took
        );
    }
}

#[test]
fn ctrl_c_ends_status_and_stop_before_they_give_up() {
    let studio = Studio::new();
    for line in ["status", "stop"] {
        let asking = studio.listener(line);
        asking.signal(Signal::SIGINT);
        let finished = asking.finish().exits(0);
        assert!(finished.stdout.is_empty(), "{line}: data of no station");
        assert!(!finished.stderr.contains("no station"), "{line}");
        assert!(!finished.stderr.contains("stopped"), "{line}");
    }
}

#[test]
fn status_names_the_nodes_what_plays_and_what_comes() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    studio.tone("two.wav", 5_000, 880.0);
    let _sender = sender(&studio, "one.wav two.wav");
    let standby = studio.start("listen --output null --name hall --events -");
    let listener = studio.start("listen --output null --name bar --no-standby --events -");
    for node in [&standby, &listener] {
        node.wait_event_after("tuned_in", "stats");
    }
    standby.wait_event("replica");
    let heard = |status: &Value, name| node(status, name)["received"].as_u64() > Some(20);
    let status = status_when(&studio, |status| {
        heard(status, "hall") && heard(status, "bar")
    });
    assert_eq!(
        (&status["name"], &status["quorum"], &status["buffer_ms"]),
        (&"kitchen".into(), &1.into(), &500.into())
    );
    assert_eq!(status["term"]["counter"], 1);
    assert_eq!(status["term"]["leader"], status["leader"]);
    assert_eq!(
        (
            &status["playing"]["title"],
            &status["playing"]["duration_ms"]
        ),
        (&"one".into(), &20_020.into())
    );
    assert!(status["playing"]["position_ms"].as_u64().unwrap() > 1_000);
    assert_eq!(status["queue"][0]["title"], "two");
    let nodes = status["nodes"].as_array().unwrap();
    let of = |name: &str| {
        nodes
            .iter()
            .find(|node| node["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {nodes:?}"))
    };
    assert_eq!(
        (&of("kitchen")["role"], &of("kitchen")["id"]),
        (&"leader".into(), &status["leader"])
    );
    assert_eq!(of("kitchen")["replica_percent"], 100, "it made all of it");
    assert_eq!(of("kitchen")["buffer_ms"], 500);
    let hall = of("hall");
    assert_eq!(
        (&hall["role"], &hall["rank"]),
        (&"standby".into(), &0.into())
    );
    assert!(hall["replica_percent"].as_u64().unwrap() > 80, "{hall}");
    assert_eq!(
        (&hall["lost"], &hall["concealed"]),
        (&0.into(), &0.into()),
        "{hall}"
    );
    for node in nodes {
        check_figures(node);
    }
    assert_eq!(hall["fares"], "hears everything");
    assert_eq!(of("kitchen")["fares"], "does not listen");
    assert_eq!(
        (&of("bar")["role"], &of("bar")["rank"]),
        (&"listener".into(), &Value::Null)
    );
    let table = studio.run("status").exits(0);
    let table = String::from_utf8(table.stdout).unwrap();
    for word in [
        "kitchen",
        "hall",
        "bar",
        "leader",
        "standby",
        "listener",
        "one",
        "two",
        "repaired",
        "sync",
        "2 listen, and hear everything",
        "hears everything",
        "does not listen",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

/// Every figure of a node that has reported is there and of its kind.
#[track_caller]
fn check_figures(node: &Value) {
    let counts = [
        "replica_percent",
        "received",
        "late",
        "lost",
        "repaired",
        "concealed",
        "duplicate",
        "reordered",
        "underruns",
        "buffer_ms",
        "longest_burst",
        "rejected",
    ];
    for field in counts {
        assert!(node[field].is_u64(), "{field} of {node}");
    }
    let bursts = node["loss_bursts"].as_object().unwrap();
    assert_eq!(bursts.len(), 7, "{node}");
    let of_one = bursts["1"].as_u64().unwrap();
    assert!(of_one == 0 || node["longest_burst"].as_u64() > Some(0));
    assert!(node["jitter_ms"].is_f64(), "{node}");
    let by = |way: &str| node["repaired_by"][way].as_u64().unwrap();
    let ways = by("replica") + by("unicast") + by("multicast");
    assert_eq!(node["repaired"], ways, "{node}");
    assert!(
        node["suffers"].is_boolean() && node["fares"].is_string(),
        "{node}"
    );
    let listens = node["listens"].as_bool().unwrap();
    // Who plays nothing is in step with nothing.
    assert_eq!(node["sync_us"].is_i64(), listens, "{node}");
    assert_eq!(node["drift_ppm"].is_f64(), listens, "{node}");
    for unknown in ["sync_us", "drift_ppm"] {
        assert!(listens || node[unknown].is_null(), "{unknown} of {node}");
    }
    for share in ["loss_percent", "concealed_percent"] {
        let percent = node[share].as_f64();
        assert_eq!(percent.is_some(), listens, "{share} of {node}");
        assert!(percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
    }
    // What another node was asked for was timed.
    for times in ["repair_ms_p50", "repair_ms_p99"] {
        let told = node[times].is_f64() || by("unicast") == 0 && node[times].is_null();
        assert!(told && node.get(times).is_some(), "{times} of {node}");
    }
    let age_s = node["report_age_s"].as_f64().unwrap();
    assert!((0.0..7.5).contains(&age_s), "{node}");
}

#[test]
fn a_listener_that_has_just_come_is_in_the_status_before_it_has_reported() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    let _sender = sender(&studio, "one.wav");
    let _listener = studio.start("listen --output null --name hall --events -");
    let is_there = |status: &Value| {
        let mut nodes = status["nodes"].as_array().unwrap().iter();
        nodes.any(|node| node["name"] == "hall")
    };
    // Whenever it is asked, all fields are there; what is not known is null.
    for _ in 0..8 {
        let status = status_when(&studio, is_there);
        let hall = node(&status, "hall");
        if hall["report_age_s"].is_null() {
            for field in [
                "received",
                "lost",
                "concealed",
                "buffer_ms",
                "loss_percent",
                "suffers",
            ] {
                assert!(
                    hall[field].is_null() && hall.get(field).is_some(),
                    "{field}"
                );
            }
            assert_eq!(hall["fares"], "has not reported yet");
        } else {
            assert!(hall["received"].is_u64(), "{hall}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn stop_ends_the_programme_for_everybody() {
    let studio = Studio::new();
    studio.tone("a.wav", 60_000, 440.0);
    let listener = studio.listener("listen --output null --once --events -");
    let sender = sender(&studio, "a.wav");
    listener.wait_event("tuned_in");
    studio.run("stop").exits(0);
    for process in [listener, sender] {
        let events = process
            .finish_within(Duration::from_secs(5))
            .exits(0)
            .events();
        assert_eq!(named(&events, "off_air")[0]["reason"], "stopped");
    }
}

#[test]
fn a_track_is_exported_as_an_ogg_opus_file_that_others_read() {
    let studio = Studio::new();
    studio.tone("a tone.wav", 3_000, 440.0);
    let _sender = {
        let mut command = studio.command(["send", "a tone.wav", "--events", "-", "--http"]);
        command.arg(api(&studio).to_string());
        let sender = Process::spawn(command);
        sender.wait_event("track");
        sender
    };
    // It plays before it is encoded to its end.
    let began = Instant::now();
    let programme = loop {
        let programme = json(&studio, "/programme");
        if !programme["tracks"][0]["frames"].is_null() {
            break programme;
        }
        assert!(began.elapsed() < PATIENCE, "{programme}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let track = programme["tracks"][0]["track"].as_str().unwrap().to_owned();
    assert_eq!(
        (
            &programme["tracks"][0]["title"],
            &programme["tracks"][0]["frames"]
        ),
        (&"a tone".into(), &151.into())
    );
    let file = ask(&studio, &format!("/tracks/{track}.opus"), None).unwrap();
    std::fs::write(studio.path("out.opus"), file).unwrap();
    let probe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "format=duration:stream=codec_name,channels:stream_tags=title",
            "-of",
            "json",
        ])
        .arg(studio.path("out.opus"))
        .output();
    let Ok(probe) = probe else {
        return cannot("reading the exported file", "ffprobe");
    };
    assert!(
        probe.status.success(),
        "{}",
        String::from_utf8_lossy(&probe.stderr)
    );
    let probe: Value = serde_json::from_slice(&probe.stdout).unwrap();
    let stream = &probe["streams"][0];
    assert_eq!(
        (
            &stream["codec_name"],
            &stream["channels"],
            &stream["tags"]["TITLE"]
        ),
        (&"opus".into(), &2.into(), &"a tone".into())
    );
    let seconds: f64 = probe["format"]["duration"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((seconds - 3.0).abs() < 0.03, "{seconds} s");
}

#[test]
fn nonsense_is_refused_and_the_song_goes_on() {
    let studio = Studio::new();
    studio.tone("a.wav", 4_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = sender(&studio, "a.wav");
    for (path, body, status) in [
        ("/programme", Some(&b"garbage"[..]), 400),
        ("/programme", Some(&[0xff; 100_000][..]), 400),
        ("/plan/000000", None, 404),
        ("/tracks/00000000000000000000000000000000", None, 404),
        ("/tracks/00000000000000000000000000000000.opus", None, 404),
    ] {
        match ask(&studio, path, body) {
            Err(FetchError::Refused { status: said, .. }) => assert_eq!(said, status, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    sender.finish().exits(0);
    listener.finish().exits(0);
    let sound = studio.recording("out.wav");
    assert_eq!(blocks(&sound), 201);
}

#[test]
fn a_killed_sender_is_not_missed() {
    let studio = Studio::new();
    studio.tone("a.wav", 8_000, 440.0);
    let one = studio.listener("listen --output file:one.wav --once --events -");
    let two = studio.listener("listen --output file:two.wav --once --no-standby --events -");
    let sender = sender(&studio, "a.wav");
    two.wait_event_after("tuned_in", "stats");
    sender.signal(Signal::SIGKILL);
    let events = one.finish().exits(0).events();
    assert!(
        named(&events, "covering").len() + named(&events, "took_over").len() > 0,
        "{events:?}"
    );
    for (process, name) in [(None, "one.wav"), (Some(two), "two.wav")] {
        if let Some(process) = process {
            let events = process.finish().exits(0).events();
            assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
            assert_eq!(named(&events, "stats").last().unwrap()["concealed"], 0);
        }
        let sound = studio.recording(name);
        assert_eq!(blocks(&sound), 401, "{name}");
        assert!(strength(&sound, 440.0) > 9_000.0);
    }
}

#[test]
fn a_young_station_that_yields_to_one_that_is_never_heard_again_plays_its_song_all_the_same() {
    let studio = Studio::new();
    studio.tone("a.wav", 3_000, 440.0);
    let witness = Witness::of(&studio);
    let sender = sender(&studio, "a.wav");
    // Two heartbeats of an old station, and nothing more of it.
    let mut beat = Heartbeat {
        station: StationId(7),
        term: Term {
            counter: 1,
            leader: NodeId(9 << 32),
        },
        number: 1,
        sent_at_us: 60_000_000,
        young: false,
        state: State::Idle,
        next: FrameIndex(0),
        buffer_ms: 500,
        plan: PlanDigest(1),
        run: None,
        tracks: [None, None],
        name: "nobody".into(),
        succession: Default::default(),
    };
    for number in 1..=2 {
        beat.number = number;
        let bytes = Message::Heartbeat(Box::new(beat.clone())).to_bytes();
        heckle(&studio, studio.port + 2, &bytes);
        std::thread::sleep(Duration::from_millis(120));
    }
    let events = sender.finish().exits(0).events();
    assert_eq!(
        named(&events, "off_air").last().unwrap()["reason"],
        "ended",
        "{events:?}"
    );
    let heard = witness.heard();
    let of_seven = heard.iter().filter(|(_, bytes)| {
        MediaPacket::parse(bytes).is_ok_and(|packet| packet.station == StationId(7))
    });
    assert_eq!(of_seven.count(), 151, "all of it, on the other station");
}

#[test]
fn a_station_with_a_quorum_plays_while_enough_nodes_agree_and_is_silent_otherwise() {
    let studio = Studio::new();
    studio.tone("one.wav", 6_000, 440.0);
    let sender = studio.start("send one.wav --quorum 2 --name kitchen --events -");
    let warning = sender.wait_event("warning");
    let text = warning["text"].as_str().unwrap();
    assert!(text.contains("2 nodes have to agree"), "{text}");
    assert!(named(&sender.events(), "on_air").is_empty());
    // It waits for anybody, one that will not take over too; and what another one wants does not count.
    let first = studio.start("listen --output null --no-standby --quorum 3 --events -");
    sender.wait_event("on_air");
    first.wait_event("tuned_in");
    let other = first.wait_event("warning");
    let text = other["text"].as_str().unwrap();
    assert!(text.contains("quorum is 2"), "{text}");
    let status: Value =
        serde_json::from_slice(&studio.run("status --json").exits(0).stdout).unwrap();
    assert_eq!(status["quorum"], 2);
    // Alone it falls silent, and goes on when somebody is there again.
    first.signal(Signal::SIGKILL);
    sender.wait_event("stepped_down");
    studio.run("status").exits(3);
    let second = studio.start("listen --once --output null --events -");
    let took_over = sender.wait_event("took_over");
    assert!(
        took_over["silence_ms"].as_u64().unwrap() > 200,
        "{took_over}"
    );
    second.finish().exits(0);
    let events = sender.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
}
