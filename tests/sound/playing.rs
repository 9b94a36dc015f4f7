//! While the device is there: the recording is the music, without a gap, at the right pace.

use std::time::Duration;

use crate::judge::{Heard, WINDOW, follow, heard, windows};
use crate::server::{RATE, Server};
use crate::support::{Process, Studio, named};
use crate::{command, has_sound_server, proof, stalls, start};

/// What is sent; the right side is an octave higher (see `sound::tone`).
pub(crate) const HERTZ: f64 = 997.0;
pub(crate) const AMPLITUDE: f64 = 16_000.0 / 32_768.0;

/// CPU time of a process so far, in seconds, with all its threads.
pub(crate) fn cpu_s(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// What is wrong with a recording: both sides must be those of `reference` over their whole length, without a hole, at nearly the
/// right pace.
pub(crate) fn faults(recording: &[Vec<f32>; 2], reference: &[i16], floor_db: f64) -> Vec<String> {
    let mut faults = Vec::new();
    for (side, heard) in recording.iter().enumerate() {
        let sent = reference.iter().skip(side).step_by(2);
        let sent: Vec<f32> = sent.map(|x| f32::from(*x) / 32_768.0).collect();
        let windows = follow(&sent, heard);
        let missing = sent.len() as f64 / WINDOW as f64 - windows.len() as f64;
        if missing >= 3.0 {
            faults.push(format!(
                "side {side}: {missing} windows are missing at the end"
            ));
        }
        // The first second is the servo's.
        let judged = windows.get(RATE / WINDOW..).unwrap_or_default();
        let Some(worst) = judged.iter().min_by(|a, b| a.snr_db.total_cmp(&b.snr_db)) else {
            faults.push(format!("side {side}: nothing was heard"));
            continue;
        };
        let drift =
            (judged[judged.len() - 1].delay - judged[0].delay) / (judged.len() * WINDOW) as f64;
        println!(
            "side {side}: worst window {:.1} dB, pace {:.0} ppm",
            worst.snr_db,
            drift * 1e6
        );
        if worst.snr_db < floor_db {
            faults.push(format!("side {side}: {worst:?}"));
        }
        if drift.abs() >= 500e-6 {
            faults.push(format!("side {side}: pace {drift}"));
        }
    }
    faults
}

/// Asserts that an attempt finds no fault. A machine that does not run a program in time makes the device run dry, or the server:
/// that is heard, and not ours. Then once more, but only if a witness saw the machine stand still.
#[track_caller]
pub(crate) fn assert_faultless(attempt: fn() -> Vec<String>) {
    const ATTEMPTS: usize = 3;
    stalls::watch();
    for number in 1..=ATTEMPTS {
        let from_ns = stalls::now_ns();
        let faults = attempt();
        if faults.is_empty() {
            return;
        }
        let log = stalls::log();
        let stall = stalls::touching(&log, from_ns, stalls::now_ns(), 0);
        println!("attempt {number}: {faults:?}, {stall:?}");
        assert!(stall.is_some() && number < ATTEMPTS, "{faults:?}");
    }
}

#[test]
fn recording_of_the_device_is_what_was_sent_for_30_s() {
    if has_sound_server() {
        assert_faultless(faults_of_a_recording);
    }
}

/// Plays a tone on the device: what is wrong with what was recorded of it. What no stall explains is asserted.
fn faults_of_a_recording() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    let seconds = if proof() { 60 } else { 30 };
    studio.tone("tone.wav", seconds * 1_000, HERTZ);
    let listener = start(&studio, &server, 1_000, "listen --once --events -");
    let other = start(&studio, &server, 7, "listen --once --output file:sent.wav");
    listener.wait_stderr("lo");
    other.wait_stderr("lo");
    assert_eq!(server.streams(), 0, "nothing is on air: the device is free");
    let recorder = server.record("lr");
    let sender = start(&studio, &server, 90_000, "send tone.wav");
    listener.wait_event("tuned_in");
    let (cpu_before, age_before) = (cpu_s(&listener), listener.age());
    sender.finish_within(Duration::from_secs(90)).exits(0);
    let spent = cpu_s(&listener) - cpu_before;
    let percent = 100.0 * spent / (listener.age() - age_before).as_secs_f64();
    let listener = listener.finish().exits(0);
    other.finish().exits(0);
    assert!(percent < 5.0, "{percent:.2} % of a core");
    let events = listener.events();
    let devices = named(&events, "device");
    assert_eq!(devices.len(), 1, "{devices:?}");
    assert_eq!(
        (&devices[0]["state"], &devices[0]["name"]),
        (&"opened".into(), &"default".into())
    );
    let mut faults = faults(&recorder.stop(), &studio.recording("sent.wav"), 60.0);
    let last = named(&events, "stats").pop().unwrap();
    for counter in ["underruns", "concealed"] {
        if last[counter] != 0 {
            faults.push(format!("{counter}: {}", last[counter]));
        }
    }
    faults
}

#[test]
fn device_at_44_1_khz_plays_what_was_sent_at_its_own_rate() {
    const DEVICE_HZ: usize = 44_100;
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    server.control("load-module module-null-sink sink_name=cd norewinds=1 rate=44100 channels=2 format=float32le");
    studio.tone("tone.wav", 8_000, HERTZ);
    let mut listener = command(&studio, &server, 1_000, "listen --once --events -");
    listener
        .env("PULSE_SINK", "cd")
        .env("LANRADIO_DEBUG_DEVICE_HZ", DEVICE_HZ.to_string());
    let listener = Process::spawn(listener);
    listener.wait_stderr("lo");
    let recorder = server.record_at("cd", DEVICE_HZ);
    start(&studio, &server, 1, "send tone.wav")
        .finish()
        .exits(0);
    let events = listener.finish().exits(0).events();
    for (side, sound) in recorder.stop().iter().enumerate() {
        // The judge knows 48 kHz only: there the same samples are a higher tone.
        let hertz = HERTZ * (side + 1) as f64 * RATE as f64 / DEVICE_HZ as f64;
        let all = windows(sound, hertz);
        let heard = &all[heard(&all, AMPLITUDE)];
        let expected = 8_000 * DEVICE_HZ / 1_000 / WINDOW;
        assert!(
            heard.len().abs_diff(expected) <= 2,
            "{} windows",
            heard.len()
        );
        // The first second is the servo's, and at the end the tone ends. Opus itself leaves 40 dB of a tone.
        let judged = &heard[RATE / WINDOW..heard.len() - 2];
        let is_right = |window: &&Heard| {
            window.snr_db > 30.0
                && window.off_ppm.abs() < 600.0
                && (window.amplitude / AMPLITUDE - 1.0).abs() < 0.03
        };
        let wrong: Vec<&Heard> = judged.iter().filter(|window| !is_right(window)).collect();
        // A stall of the machine may cost some.
        assert!(wrong.len() <= 4, "side {side}: {wrong:?}");
    }
    assert_eq!(named(&events, "stats").pop().unwrap()["underruns"], 0);
}

#[test]
fn two_listeners_play_on_one_server_each_at_its_own_volume() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start_with(&["half", "quarter"]));
    studio.tone("tone.wav", 8_000, HERTZ);
    let start_on = |sink: &str, percent: u32, offset_s| {
        let line = format!("listen --once --volume {percent} --events -");
        let mut command = command(&studio, &server, offset_s, &line);
        command.env("PULSE_SINK", sink);
        let listener = Process::spawn(command);
        listener.wait_stderr("lo");
        (listener, server.record(sink), f64::from(percent) / 100.0)
    };
    let both = [
        start_on("half", 50, 3_000),
        start_on("quarter", 25, 700_000),
    ];
    let sender = start(&studio, &server, 1, "send tone.wav");
    let before = both.each_ref().map(|(listener, ..)| {
        listener.wait_event("tuned_in");
        (cpu_s(listener), listener.age())
    });
    sender.finish().exits(0);
    for ((listener, recorder, volume), (cpu_before, age_before)) in both.into_iter().zip(before) {
        let spent = cpu_s(&listener) - cpu_before;
        let percent = 100.0 * spent / (listener.age() - age_before).as_secs_f64();
        assert!(percent < 5.0, "{percent:.2} % of a core");
        let events = listener.finish().exits(0).events();
        assert_eq!(named(&events, "device")[0]["state"], "opened");
        let [left, _] = recorder.stop();
        let all = windows(&left, HERTZ);
        let heard = &all[heard(&all, AMPLITUDE * volume)];
        let middle = &heard[heard.len() / 2..heard.len() / 2 + 20];
        let is_right = |window: &&Heard| (window.amplitude / AMPLITUDE / volume - 1.0).abs() < 0.03;
        // A stall of the machine may cost one.
        assert!(middle.iter().filter(is_right).count() >= 18, "{middle:?}");
    }
}

#[test]
fn device_is_let_go_when_nothing_was_on_air_for_10_s_and_opened_for_the_next_programme() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    studio.tone("tone.wav", 1_000, HERTZ);
    let listener = start(&studio, &server, 500, "listen --events -");
    listener.wait_stderr("lo");
    start(&studio, &server, 1, "send tone.wav")
        .finish()
        .exits(0);
    listener.wait_event("off_air");
    let ended = listener.age();
    assert_eq!(server.streams(), 1);
    crate::server::wait_until("the device is let go", || server.streams() == 0);
    let took = (listener.age() - ended).as_secs_f64();
    assert!((7.0..14.0).contains(&took), "after {took} s");
    let recorder = server.record("lr");
    start(&studio, &server, 1, "send tone.wav")
        .finish()
        .exits(0);
    listener.wait_events("off_air", 2);
    let [left, _] = recorder.stop();
    let all = windows(&left, HERTZ);
    assert!(
        (18..=22).contains(&heard(&all, AMPLITUDE).len()),
        "it is heard again"
    );
    listener.signal(nix::sys::signal::Signal::SIGINT);
    let events = listener.finish().exits(0).events();
    let states: Vec<_> = named(&events, "device")
        .iter()
        .map(|e| e["state"].clone())
        .collect();
    assert_eq!(states, ["opened", "opened"]);
}
