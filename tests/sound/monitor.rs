//! Does a sender hear its own station as the others do?

use std::time::Duration;

use serde_json::Value;

use crate::playing::{HERTZ, assert_faultless, faults};
use crate::server::Server;
use crate::support::{Process, Studio, named};
use crate::{has_sound_server, start};

/// How far from its time the sound may leave the device, in microseconds, as the sender tells.
const SYNC_US: f64 = 1_000.0;

#[test]
fn what_is_sent_is_played_on_the_senders_own_device_too() {
    if has_sound_server() {
        assert_faultless(faults_of_the_sender);
    }
}

#[test]
fn a_sender_without_a_sound_device_says_how_to_do_without_it_and_sends() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::prepare());
    studio.tone("tone.wav", 3_000, HERTZ);
    let sender = start(&studio, &server, 1, "send tone.wav --listen --events -");
    let sender = sender.finish().exits(0);
    let sent = named(&sender.events(), "stats").pop().unwrap()["sent"].clone();
    assert_eq!(sent, 151);
    // `send` has no --output.
    sender
        .says(&["no sound: ", "without --listen", "lanradio listen --output"])
        .says_not(&["another one: --output"]);
}

fn faults_of_the_sender() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    studio.tone("tone.wav", 20_000, HERTZ);
    let other = start(&studio, &server, 7, "listen --once --output file:sent.wav");
    other.wait_stderr("lo");
    let recorder = server.record("lr");
    let sender = start(&studio, &server, 500, "send tone.wav --listen --events -");
    sender.wait_event("tuned_in");
    let status = told_in_the_status(&studio, &sender);
    let sender = sender.finish_within(Duration::from_secs(60)).exits(0);
    let events = sender.events();
    other.finish().exits(0);
    let mut faults = faults(&recorder.stop(), &studio.recording("sent.wav"), 60.0);
    let stats = named(&events, "stats");
    let last = stats.iter().rfind(|line| line["sync_us"].is_number());
    match last.and_then(|line| line["sync_us"].as_f64()) {
        Some(us) if us.abs() <= SYNC_US => {}
        other => faults.push(format!("in step by {other:?} us")),
    }
    if !stats.iter().any(|line| is_told_by(line, status)) {
        faults.push(format!("in the status, and in no event: {status:?}"));
    }
    // The first status line comes before there is anything to tell, the next one 10 s later.
    if !sender.stderr.contains("  sync ") {
        faults.push(format!("no sync in the status line: {}", sender.stderr));
    }
    let (opened, tuned_in) = (named(&events, "device"), named(&events, "tuned_in"));
    if opened.first().map(|event| event["state"].clone()) != Some("opened".into()) {
        faults.push(format!("devices: {opened:?}"));
    }
    if tuned_in.len() != 1 || tuned_in[0]["frame"] != 0 {
        faults.push(format!("tuned in: {tuned_in:?}"));
    }
    // One line a second: when it was is told, too.
    let underruns: Vec<_> = stats.iter().map(|line| &line["underruns"]).collect();
    if underruns.iter().any(|underruns| **underruns != 0) {
        faults.push(format!("underruns: {underruns:?}"));
    }
    faults
}

/// `sync_us` and `drift_ppm` of the sender's own node, as the station tells them while it plays.
fn told_in_the_status(studio: &Studio, sender: &Process) -> (Option<i64>, Option<f64>) {
    let playing = named(&sender.events(), "stats").len() + 5;
    sender.wait_events("stats", playing);
    let status = studio.run("status --json").exits(0);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    let node = nodes.find(|node| node["role"] == "leader").unwrap();
    (node["sync_us"].as_i64(), node["drift_ppm"].as_f64())
}

/// Whether these are the figures of this event `stats`; both are rounded, once and twice.
fn is_told_by(stats: &Value, (sync_us, drift_ppm): (Option<i64>, Option<f64>)) -> bool {
    let told = stats["sync_us"].as_f64().zip(stats["drift_ppm"].as_f64());
    let status = sync_us.zip(drift_ppm);
    told.zip(status).is_some_and(|(told, status)| {
        told.0 == status.0 as f64 && (told.1 - status.1).abs() < 0.015
    })
}
