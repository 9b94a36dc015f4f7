//! Does a sender hear its own station as the others do?

use std::time::Duration;

use crate::playing::{HERTZ, assert_faultless, faults};
use crate::server::Server;
use crate::support::{Studio, named};
use crate::{has_sound_server, start};

/// How far from its time the sound may leave the device, in microseconds, as the sender tells.
const SYNC_US: f64 = 1_000.0;

#[test]
fn what_is_sent_is_played_on_the_senders_own_device_too() {
    if has_sound_server() {
        assert_faultless(faults_of_the_sender);
    }
}

fn faults_of_the_sender() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    studio.tone("tone.wav", 20_000, HERTZ);
    let other = start(&studio, &server, 7, "listen --once --output file:sent.wav");
    other.wait_stderr("lo");
    let recorder = server.record("lr");
    let sender = start(&studio, &server, 500, "send tone.wav --listen --events -");
    let events = sender
        .finish_within(Duration::from_secs(60))
        .exits(0)
        .events();
    other.finish().exits(0);
    let mut faults = faults(&recorder.stop(), &studio.recording("sent.wav"), 60.0);
    let stats = named(&events, "stats");
    let last = stats.iter().rfind(|line| line["sync_us"].is_number());
    match last.and_then(|line| line["sync_us"].as_f64()) {
        Some(us) if us.abs() <= SYNC_US => {}
        other => faults.push(format!("in step by {other:?} us")),
    }
    let (opened, tuned_in) = (named(&events, "device"), named(&events, "tuned_in"));
    if opened.first().map(|event| event["state"].clone()) != Some("opened".into()) {
        faults.push(format!("devices: {opened:?}"));
    }
    if tuned_in.len() != 1 || tuned_in[0]["frame"] != 0 {
        faults.push(format!("tuned in: {tuned_in:?}"));
    }
    let underruns = &stats[stats.len() - 1]["underruns"];
    if *underruns != 0 {
        faults.push(format!("underruns: {underruns}"));
    }
    faults
}
