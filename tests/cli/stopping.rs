//! Does the program leave when it is told to: exit 0 at the first signal, 130 at the second, sound played out, listeners told?

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::network::Witness;
use crate::sound::{blocks, raw_samples, strength, tone, wav};
use crate::support::{Process, Studio, named};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

#[test]
fn listener_without_a_station_stops_at_each_signal() {
    let studio = Studio::new();
    for signal in SIGNALS {
        let listener = studio.listener("listen --output file:out.wav --events -");
        listener.signal(signal);
        let finished = listener.finish_within(Duration::from_secs(3)).exits(0);
        assert!(named(&finished.events(), "tuned_in").is_empty());
    }
}

#[test]
fn listener_in_the_middle_stops_at_each_signal_with_a_valid_file() {
    let studio = Studio::new();
    studio.tone("a.wav", 8_000, 440.0);
    let sender = studio.start("send a.wav --events -");
    let listeners: Vec<_> = SIGNALS
        .iter()
        .map(|signal| {
            (
                signal,
                studio.start(&format!("listen --output file:{signal}.wav --events -")),
            )
        })
        .collect();
    for (signal, listener) in listeners {
        listener.wait_event_after("tuned_in", "stats");
        listener.signal(*signal);
        listener.finish_within(Duration::from_secs(3)).exits(0);
        let sound = studio.recording(&format!("{signal}.wav"));
        assert!(blocks(&sound) > 0, "{signal}");
        assert!(strength(&sound, 440.0) > 9_000.0, "{signal}");
        let tail = &sound[sound.len() - 2..];
        assert!(
            tail[0].abs() < 200 && tail[1].abs() < 200,
            "{signal}: faded out, not cut: {tail:?}"
        );
    }
    drop(sender);
}

#[test]
fn sound_that_is_heard_is_faded_out_and_not_cut() {
    let studio = Studio::new();
    studio.tone("a.wav", 8_000, 440.0);
    let _sender = studio.start("send a.wav");
    let listener = studio.start("listen --output - --events events.jsonl");
    listener.wait_stdout_bytes(20 * 3840);
    listener.signal(Signal::SIGINT);
    let finished = listener.finish_within(Duration::from_secs(3)).exits(0);
    let sound = raw_samples(&finished.stdout);
    assert_eq!(sound.len() % 1920, 0);
    let tail = &sound[sound.len() - 2..];
    assert!(
        tail[0].abs() < 200 && tail[1].abs() < 200,
        "ends faded, not cut: {tail:?}"
    );
}

#[test]
fn sender_without_a_standby_stops_at_each_signal_and_listeners_play_to_its_last_frame() {
    for signal in SIGNALS {
        let studio = Studio::new();
        studio.tone("a.wav", 20_000, 440.0);
        let witness = Witness::of(&studio);
        let listener =
            studio.listener("listen --output file:out.wav --once --no-standby --events -");
        let sender = studio.start("send a.wav --events -");
        listener.wait_event("tuned_in");
        sender.wait_event("stats");
        sender.signal(signal);
        let sender = sender.finish_within(Duration::from_secs(5)).exits(0);
        assert_eq!(
            named(&sender.events(), "off_air")[0]["reason"],
            "left",
            "{signal}"
        );
        let listener = listener.finish().exits(0);
        assert_eq!(
            named(&listener.events(), "off_air")[0]["reason"],
            "left",
            "{signal}"
        );
        let sound = studio.recording("out.wav");
        assert_eq!(
            blocks(&sound),
            witness.heard().len(),
            "{signal}: played to the last frame sent"
        );
    }
}

#[test]
fn sender_that_is_killed_without_a_standby_is_lost_after_five_seconds() {
    let studio = Studio::new();
    studio.tone("a.wav", 20_000, 440.0);
    let witness = Witness::of(&studio);
    let listener = studio.listener("listen --output file:out.wav --once --no-standby --events -");
    let sender = studio.start("send a.wav");
    listener.wait_event_after("tuned_in", "stats");
    sender.signal(Signal::SIGKILL);
    let killed = Instant::now();
    let off_air = listener.wait_event("off_air");
    assert_eq!(off_air["reason"], "source_lost");
    assert!(
        killed.elapsed() >= Duration::from_millis(4_500),
        "{:?}",
        killed.elapsed()
    );
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
    listener.finish().exits(0);
    let sound = studio.recording("out.wav");
    let (played, sent) = (blocks(&sound), witness.heard().len());
    assert!(
        (sent..=sent + 10).contains(&played),
        "all that was sent is played, and no silence after it: {played} of {sent}"
    );
}

#[test]
fn sender_waiting_for_its_pipe_stops_at_once() {
    let studio = Studio::new();
    for signal in SIGNALS {
        let mut command = studio.command(["send", "-"]);
        command.stdin(Stdio::piped());
        let sender = Process::spawn(command);
        sender.wait_stderr("lo");
        sender.signal(signal);
        sender.finish_within(Duration::from_secs(3)).exits(0);
    }
}

#[test]
fn sender_of_a_pipe_that_stays_open_hands_over_what_came_through_it_at_the_first_signal() {
    let studio = Studio::new();
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let mut command = studio.command(["send", "-", "--events", "-"]);
    command.stdin(Stdio::piped());
    let mut sender = Process::spawn(command);
    // 5 s have come through, and the pipe stays open.
    let mut bytes = wav(48_000, &tone(8_000, 440.0), &[]);
    bytes.truncate(44 + 5 * 48_000 * 4);
    let pipe = sender.stdin.as_mut().unwrap();
    pipe.write_all(&bytes).unwrap();
    listener.wait_event_after("tuned_in", "replica");
    sender.signal(Signal::SIGTERM);
    let sender = sender.finish_within(Duration::from_secs(4)).exits(0);
    assert_eq!(named(&sender.events(), "handed_over").len(), 1);
    let events = listener.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    assert_eq!(named(&events, "stats").last().unwrap()["concealed"], 0);
    let played = blocks(&studio.recording("out.wav"));
    assert!((200..=251).contains(&played), "{played} of 250 frames");
}

#[test]
fn listener_that_nobody_reads_from_leaves_at_the_second_signal_at_the_latest() {
    let studio = Studio::new();
    studio.tone("a.wav", 8_000, 440.0);
    let (mut listener, _unread) =
        Process::spawn_unread(studio.command(["listen", "--output", "-", "--events", "ev.jsonl"]));
    listener.wait_stderr("lo");
    let sender = studio.start("send a.wav --events -");
    // The pipe holds 64 KiB, 0.34 s: after two seconds on air the listener blocks, if it can.
    sender.wait_events("stats", 2);
    listener.signal(Signal::SIGINT);
    let finished = match listener.try_finish(Duration::from_secs(1)) {
        Some(finished) => finished.exits(0),
        None => {
            listener.signal(Signal::SIGINT);
            listener.finish_within(Duration::from_secs(2)).exits(130)
        }
    };
    drop(finished);
}

#[test]
fn second_signal_leaves_at_once_with_130() {
    let studio = Studio::new();
    studio.tone("a.wav", 8_000, 440.0);
    let sender = studio.start("send a.wav --events -");
    sender.wait_event("stats");
    // Both signals are pending when the program wakes up: it sees two, however fast it is.
    sender.signal(Signal::SIGSTOP);
    sender.signal(Signal::SIGTERM);
    sender.signal(Signal::SIGINT);
    sender.signal(Signal::SIGCONT);
    sender.finish_within(Duration::from_secs(3)).exits(130);
}
