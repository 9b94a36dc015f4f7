//! Is a buffer that shrinks or grows heard on a real device?

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::playing::{HERTZ, assert_faultless, faults};
use crate::server::{RATE, Server};
use crate::support::{Studio, named};
use crate::{has_sound_server, start};

/// A tone so low that it moves by 0.007 a sample at most, and what would be a click in it.
const LOW_HERTZ: f64 = 50.0;
const CLICK: f32 = 0.02;

#[test]
fn a_buffer_that_shrinks_while_it_plays_is_not_heard() {
    if has_sound_server() {
        assert_faultless(faults_while_it_shrinks);
    }
}

fn faults_while_it_shrinks() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    studio.tone("tone.wav", 24_000, HERTZ);
    let listen = "listen --once --buffer auto --events -";
    let listener = start(&studio, &server, 1_000, listen);
    let other = start(&studio, &server, 7, "listen --once --output file:sent.wav");
    listener.wait_stderr("lo");
    other.wait_stderr("lo");
    let recorder = server.record("lr");
    let sender = start(&studio, &server, 90_000, "send tone.wav");
    sender.finish_within(Duration::from_secs(90)).exits(0);
    let events = listener.finish().exits(0).events();
    other.finish().exits(0);
    let mut faults = faults(&recorder.stop(), &studio.recording("sent.wav"), 60.0);
    let stats = named(&events, "stats");
    let played = |line: &&serde_json::Value| line["received"].as_u64() > Some(1_050);
    let late = stats.iter().find(played).expect("more than 21 s");
    // For 10 s at least it has become shorter by 150 µs a second.
    let buffer_ms = late["buffer_ms"].as_u64().unwrap();
    if !(490..=498).contains(&buffer_ms) {
        faults.push(format!("a buffer of {buffer_ms} ms"));
    }
    let last = &stats[stats.len() - 1];
    for counter in ["underruns", "concealed"] {
        if last[counter] != 0 {
            faults.push(format!("{counter}: {}", last[counter]));
        }
    }
    faults
}

#[test]
fn a_buffer_that_grows_leaves_one_gap_without_a_click_and_then_plays_on() {
    if has_sound_server() {
        assert_faultless(faults_while_it_grows);
    }
}

/// After a first programme the buffer is as short as it may be; in the second one the sender stands still for 300 ms.
fn faults_while_it_grows() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    studio.tone("first.wav", 13_000, LOW_HERTZ);
    studio.tone("second.wav", 12_000, LOW_HERTZ);
    let listen = "listen --no-standby --buffer auto --events -";
    let listener = start(&studio, &server, 1_000, listen);
    listener.wait_stderr("lo");
    start(&studio, &server, 1, "send first.wav")
        .finish()
        .exits(0);
    listener.wait_event("off_air");
    let recorder = server.record("lr");
    let sender = start(&studio, &server, 1, "send second.wav");
    listener.wait_events("tuned_in", 2);
    let before = listener.wait_event_after("tuned_in", "stats");
    sleep(Duration::from_secs(2));
    sender.signal(Signal::SIGSTOP);
    sleep(Duration::from_millis(300));
    sender.signal(Signal::SIGCONT);
    sleep(Duration::from_secs(3));
    let grown = named(&listener.events(), "stats").pop().unwrap();
    sender.finish().exits(0);
    listener.wait_events("off_air", 2);
    listener.signal(Signal::SIGINT);
    let events = listener.finish().exits(0).events();
    let last = named(&events, "stats").pop().unwrap();
    let [left, right] = recorder.stop();
    let mut faults = Vec::new();
    for side in [&left, &right] {
        let steps = side.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        let step = steps.fold(0.0, f32::max);
        println!("a step of {step}");
        if step > CLICK {
            faults.push(format!("a step of {step}"));
        }
    }
    println!(
        "before: {before}\ngrown: {grown}\nlast: {last}\ngaps: {:?} ms",
        gaps_ms(&left)
    );
    let buffer_ms = grown["buffer_ms"].as_u64().unwrap();
    if !(260..=350).contains(&buffer_ms) {
        faults.push(format!("a buffer of {buffer_ms} ms after a stall of 300"));
    }
    if last["concealed"] != grown["concealed"] || last["underruns"] != 0 {
        faults.push(format!("not only the stall: {last}"));
    }
    match gaps_ms(&left)[..] {
        [gap] if (150..=500).contains(&gap) => {}
        ref gaps => faults.push(format!("gaps of {gaps:?} ms")),
    }
    faults
}

/// How long it is silent between the first and the last sound, in stretches of at least 30 ms.
fn gaps_ms(sound: &[f32]) -> Vec<usize> {
    let loud = sound.iter().enumerate().filter(|(_, x)| x.abs() > 1e-3);
    let loud: Vec<usize> = loud.map(|(k, _)| k).collect();
    let gaps = loud
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) * 1_000 / RATE);
    gaps.filter(|ms| *ms >= 30).collect()
}
