//! When the device goes and comes back: sound again within a second, at the right place, and never a busy loop.

use std::f64::consts::TAU;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::playing::cpu_s;
use crate::server::{RATE, Server, wait_until};
use crate::support::{Process, Studio, named};
use crate::{has_sound_server, start};

/// The programme is a tone that rises from this pitch, so that its pitch tells the place.
const FROM_HZ: f64 = 300.0;
const RISES_HZ_PER_S: f64 = 40.0;
const SECONDS: usize = 120;
/// What a listener may take with a device that is gone, as a multiple of what it takes to play. (2 % of a core is usual; a dead server's
/// errors are a million a second.)
const MOST_CPU: f64 = 2.5;

fn rising_tone() -> Vec<u8> {
    let mut phase = 0.0f64;
    let samples: Vec<i16> = (0..SECONDS * RATE)
        .flat_map(|k| {
            phase += TAU * (FROM_HZ + RISES_HZ_PER_S * k as f64 / RATE as f64) / RATE as f64;
            [(phase.sin() * 16_000.0) as i16; 2]
        })
        .collect();
    crate::sound::wav(RATE as u32, &samples, &[])
}

/// A listener and a sender of the rising tone; the listener's sound may begin once the device is there.
fn on_air(studio: &Studio, server: &Server) -> (Process, Process) {
    let listener = start(studio, server, 4_000, "listen --events -");
    listener.wait_stderr("lo");
    let sender = send_rising_tone(studio, server);
    listener.wait_event("tuned_in");
    (listener, sender)
}

fn send_rising_tone(studio: &Studio, server: &Server) -> Process {
    fs::write(studio.path("tone.wav"), rising_tone()).unwrap();
    start(studio, server, 1, "send tone.wav")
}

/// What a recording from now on tells: how long it took until there was sound, and when the programme began by the place that
/// is heard then (seconds after `epoch`).
#[derive(Debug)]
struct Return {
    after_s: f64,
    began_s: f64,
}

fn listen_for_sound(server: &Server, epoch: Instant) -> Return {
    let begun = Instant::now();
    let recorder = server.record("lr");
    let offset_s = begun.elapsed().as_secs_f64();
    wait_until("four seconds are recorded", || {
        recorder.frames() >= 4 * RATE
    });
    let (now_s, frames) = (epoch.elapsed().as_secs_f64(), recorder.frames());
    let [left, _] = recorder.stop();
    let loud = left.iter().position(|x| x.abs() > 0.1);
    // A stall of the machine leaves a gap somewhere: the median of the last windows has none.
    let mut began_s: Vec<f64> = (0..9)
        .map(|k| {
            let end = frames - k * RATE / 5;
            let place_s = (pitch_hz(&left[end - RATE / 5..end]) - FROM_HZ) / RISES_HZ_PER_S + 0.1;
            now_s - (k as f64) / 5.0 - place_s
        })
        .collect();
    began_s.sort_by(f64::total_cmp);
    Return {
        after_s: offset_s + loud.expect("it is heard again") as f64 / RATE as f64,
        began_s: began_s[began_s.len() / 2],
    }
}

/// From the crossings of zero upwards, each placed between two samples.
fn pitch_hz(sound: &[f32]) -> f64 {
    let crossings: Vec<f64> = sound
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] < 0.0 && pair[1] >= 0.0)
        .map(|(k, pair)| k as f64 + f64::from(pair[0] / (pair[0] - pair[1])))
        .collect();
    let (Some(first), Some(last)) = (crossings.first(), crossings.last()) else {
        return 0.0;
    };
    (crossings.len() - 1) as f64 * RATE as f64 / (last - first)
}

/// Waits until the device was in this state for the `count`th time.
fn wait_for_state(listener: &Process, state: &str, count: usize) {
    wait_until("the device changes its state", || {
        let events = named(&listener.events(), "device");
        events
            .iter()
            .filter(|event| event["state"] == state)
            .count()
            >= count
    });
}

/// The device's return may not move the programme by more than what its own buffers do.
#[track_caller]
fn assert_same_place(returned: &Return, undisturbed: &Return) {
    let moved_s = returned.began_s - undisturbed.began_s;
    assert!(moved_s.abs() < 0.25, "{returned:?} against {undisturbed:?}");
}

/// Ends both; the states of the device in order, and the CPU time of the listener per second of its life, its start and what it did
/// about its device included, as a multiple of what it takes to play.
fn end(listener: Process, sender: Process) -> (Vec<String>, f64) {
    let used_s = cpu_s(&listener);
    let taken = used_s / listener.age().as_secs_f64();
    // How much that is depends on the machine and on who else is on it: the same listener, while it plays, is the measure.
    std::thread::sleep(Duration::from_secs(4));
    let playing = (cpu_s(&listener) - used_s) / 4.0;
    let ratio = taken / playing.max(0.01);
    println!("CPU: {taken:.3}, {playing:.3} while it plays");
    for process in [&sender, &listener] {
        process.signal(Signal::SIGINT);
    }
    sender.finish().exits(0);
    let listener = listener.finish().exits(0);
    let state = |event: &serde_json::Value| event["state"].as_str().unwrap().to_owned();
    let states = named(&listener.events(), "device")
        .iter()
        .map(state)
        .collect();
    (states, ratio)
}

#[test]
fn sound_returns_within_a_second_of_a_killed_server() {
    if !has_sound_server() {
        return;
    }
    let (studio, mut server) = (Studio::new(), Server::start());
    let (listener, sender) = on_air(&studio, &server);
    let epoch = Instant::now();
    let undisturbed = listen_for_sound(&server, epoch);
    let mut times = Vec::new();
    for round in 1..=if crate::proof() { 10 } else { 2 } {
        wait_for_state(&listener, "opened", round);
        server.kill();
        // Sound is lost, said once, and the program does not spin while it waits.
        wait_for_state(&listener, "lost", round);
        std::thread::sleep(Duration::from_millis(1_500));
        server.run();
        let returned = listen_for_sound(&server, epoch);
        assert_same_place(&returned, &undisturbed);
        times.push(returned.after_s);
    }
    let stderr = listener.stderr();
    assert!(!stderr.contains("ALSA lib"), "{stderr}");
    assert!(stderr.lines().count() < 40, "{stderr}");
    let (states, ratio) = end(listener, sender);
    times.sort_by(f64::total_cmp);
    println!("device returned: sound after {times:.2?} s, {ratio:.2} times what it takes to play");
    assert!(
        times[(times.len() * 9).div_ceil(10) - 1] <= 1.5,
        "{times:?}"
    );
    assert!(ratio < MOST_CPU, "{ratio:.2} times what it takes to play");
    assert_eq!(states[..5], ["opened", "lost", "waiting", "opened", "lost"]);
}

#[test]
fn server_that_stood_still_for_3_s_plays_on_at_the_right_place() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    let (listener, sender) = on_air(&studio, &server);
    listener.wait_event("device");
    let epoch = Instant::now();
    let undisturbed = listen_for_sound(&server, epoch);
    server.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(3));
    server.signal(Signal::SIGCONT);
    let returned = listen_for_sound(&server, epoch);
    assert_same_place(&returned, &undisturbed);
    let (states, ratio) = end(listener, sender);
    assert!(returned.after_s < 1.5, "{returned:?}");
    assert!(ratio < MOST_CPU, "{ratio:.2} times what it takes to play");
    assert_eq!(states[..3], ["opened", "lost", "opened"]);
}

#[test]
fn device_that_is_absent_at_start_plays_when_it_appears() {
    if !has_sound_server() {
        return;
    }
    let (studio, mut server) = (Studio::new(), Server::prepare());
    let listener = start(&studio, &server, 4_000, "listen --events -");
    // Said at once, although nothing is on air.
    listener.wait_event("device");
    let sender = send_rising_tone(&studio, &server);
    listener.wait_event("tuned_in");
    std::thread::sleep(Duration::from_secs(2));
    server.run();
    let seconds = listen_for_sound(&server, Instant::now()).after_s;
    let stderr = listener.stderr();
    let (states, ratio) = end(listener, sender);
    assert!(seconds < 1.5, "{seconds} s");
    assert!(ratio < MOST_CPU, "{ratio:.2} times what it takes to play");
    assert_eq!(states, ["waiting", "opened"]);
    assert_eq!(stderr.matches("no sound: ").count(), 1, "{stderr}");
    assert!(!stderr.contains("ALSA lib"), "{stderr}");
}
