//! What does a node say of itself, and of its station, that does not lead it?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::station::{api, json, sender};
use crate::support::{Process, Studio, named};

/// Enough for everybody to have said how it fares: that comes every 5 s, give or take a fifth, of the second before.
const REPORTED: Duration = Duration::from_millis(9_000);

pub(crate) fn status(studio: &Studio) -> Value {
    let finished = studio.run("status --json").exits(0);
    serde_json::from_slice(&finished.stdout).unwrap()
}

/// The status, as soon as it is so.
#[track_caller]
pub(crate) fn status_when(studio: &Studio, is_so: impl Fn(&Value) -> bool) -> Value {
    let patience = Instant::now() + REPORTED;
    loop {
        let status = status(studio);
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < patience, "{status:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    let found = nodes.find(|node| node["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {status}"))
}

/// Waits until a node has said of so many tracks that it holds all of them.
#[track_caller]
fn wait_copied(node: &Process, tracks: usize) {
    let copied = || -> BTreeSet<String> {
        let events = named(&node.events(), "replica").into_iter();
        let complete = events.filter(|event| event["complete"] == true);
        complete.map(|event| event["track"].to_string()).collect()
    };
    let patience = Instant::now() + Duration::from_secs(8);
    while copied().len() < tracks {
        assert!(Instant::now() < patience, "{} of {tracks}", copied().len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_sender_that_follows_tells_of_itself_and_of_the_station_that_it_follows() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    studio.tone("two.wav", 5_000, 880.0);
    let leader = studio.start("send one.wav --name kitchen --events -");
    leader.wait_event("track");
    let line = format!(
        "send two.wav --name hall --buffer 200ms --quorum 3 --events - --http {}",
        api(&studio)
    );
    let follower = Process::spawn_on_terminal(studio.command(line.split(' ')), 100);
    follower.wait_event("replica");
    follower.wait_stderr("leader kitchen");
    assert!(follower.stderr().contains("one  0:0"), "what plays");
    let status = status_when(&studio, |status| {
        node(status, "hall")["replica_percent"] == 100
    });
    let hall = node(&status, "hall");
    assert_eq!(
        (&hall["role"], &hall["rank"]),
        (&"standby".into(), &0.into())
    );
    assert_eq!(
        (&hall["buffer_ms"], &hall["listens"], &hall["suffers"]),
        (&500.into(), &false.into(), &false.into()),
        "{hall}"
    );
    assert_eq!(hall["fares"], "does not listen");
    let events = follower.events();
    let stats = named(&events, "stats").pop().unwrap();
    assert_eq!(
        (&stats["leader"], &stats["term"], &stats["buffer_ms"]),
        (&status["leader"], &status["term"], &500.into()),
        "{stats}"
    );
    // Its own API tells the same as the leader's, not what it was started with.
    let own = json(&studio, "/status");
    for field in ["station", "name", "leader", "term", "quorum", "buffer_ms"] {
        assert_eq!(own[field], status[field], "{field}");
    }
    assert_eq!(node(&own, "hall")["replica_percent"], 100);
    // How others fare, only their leader is told.
    let kitchen = node(&own, "kitchen");
    assert!(kitchen["received"].is_null(), "{kitchen}");
    assert_eq!(kitchen["fares"], "has not reported yet");
}

#[test]
fn a_listener_that_leads_tells_the_stations_buffer_and_its_own() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    let sender = sender(&studio, "one.wav");
    let heir = studio.start("listen --buffer 200ms --name bar --output null --events -");
    let other = studio.start("listen --no-standby --output null --events -");
    other.wait_event_after("tuned_in", "stats");
    wait_copied(&heir, 1);
    sender.signal(Signal::SIGKILL);
    heir.wait_event("took_over");
    // The new leader is told soon, too.
    let status = status_when(&studio, |status| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.len() == 2 && nodes.iter().all(|node| node["received"].as_u64() > Some(0))
    });
    let bar = node(&status, "bar");
    assert_eq!(
        (&status["buffer_ms"], &bar["role"], &bar["buffer_ms"]),
        (&500.into(), &"leader".into(), &200.into()),
        "{status}"
    );
    assert_eq!(
        (&bar["listens"], &bar["report_age_s"]),
        (&true.into(), &0.0.into())
    );
}

#[test]
fn each_of_many_copied_tracks_is_checked_and_told_of() {
    const TRACKS: usize = 90;
    let studio = Studio::new();
    // The first one plays all the while: none is over, and forgotten, before it was looked at.
    studio.tone("0.wav", 10_000, 440.0);
    let names: Vec<_> = (0..TRACKS).map(|n| format!("{n}.wav")).collect();
    for name in &names[1..] {
        studio.tone(name, 100, 440.0);
    }
    let _sender = sender(&studio, &names.join(" "));
    let standby = studio.start("listen --output null --events -");
    wait_copied(&standby, TRACKS);
}

#[test]
fn a_node_whose_api_others_cannot_reach_says_so_and_what_to_do() {
    let studio = Studio::new();
    let port = studio.port + 3;
    let hidden = studio.start(&format!(
        "listen --output null --events - --http 127.0.0.2:{port}"
    ));
    let warning = hidden.wait_event("warning");
    let text = warning["text"].as_str().unwrap();
    assert!(text.contains("take over"), "{text}");
    assert!(text.contains(&format!("--http 0.0.0.0:{port}")), "{text}");
    drop(hidden);
    for quiet in ["--http 0.0.0.0", "--no-standby --http 127.0.0.2"] {
        let node = studio.start(&format!("listen --output null --events - {quiet}:{port}"));
        node.wait_event("stats");
        assert_eq!(
            named(&node.events(), "warning"),
            Vec::<Value>::new(),
            "{quiet}"
        );
    }
}
