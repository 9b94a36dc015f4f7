//! When nothing follows: the end of a run, the end of listening, and what comes after a pause.

use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::server::{RATE, Server};
use crate::sound::{tone, wav};
use crate::support::{Process, Studio, named};
use crate::{command, has_sound_server, start};

/// Where sound begins and ends in a recording: parts with less than 0.5 s of silence in them.
fn parts(sound: &[f32]) -> Vec<std::ops::Range<usize>> {
    let mut parts: Vec<std::ops::Range<usize>> = vec![];
    for (k, _) in sound.iter().enumerate().filter(|(_, x)| x.abs() > 0.05) {
        match parts.last_mut() {
            Some(part) if k < part.end + RATE / 2 => part.end = k + 1,
            _ => parts.push(k..k + 1),
        }
    }
    parts
}

#[test]
fn sound_is_complete_after_a_short_and_after_a_long_pause_of_the_sender() {
    const PART_MS: usize = 2_000;
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    let listener = start(&studio, &server, 1_000, "listen --once --events -");
    listener.wait_stderr("lo");
    let recorder = server.record("lr");
    let mut command = command(&studio, &server, 1, "send -");
    command.stdin(Stdio::piped());
    let mut sender = Process::spawn(command);
    let file = wav(RATE as u32, &tone(3 * PART_MS, 440.0), &[]);
    let part = RATE * 4 * PART_MS / 1_000;
    let header = file.len() - 3 * part;
    let mut pipe = sender.stdin.take().unwrap();
    // 10 s after the last sound the device is let go.
    let pauses = [0, 2, 13].map(Duration::from_secs);
    for (n, pause) in pauses.into_iter().enumerate() {
        sleep(pause);
        let from = if n == 0 { 0 } else { header + n * part };
        pipe.write_all(&file[from..header + (n + 1) * part])
            .unwrap();
        pipe.flush().unwrap();
        sleep(Duration::from_millis(PART_MS as u64));
    }
    drop(pipe);
    sender.finish().exits(0);
    let events = listener.finish().exits(0).events();
    let [left, _] = recorder.stop();
    let parts = parts(&left);
    let lengths: Vec<usize> = parts.iter().map(|part| part.len() * 1_000 / RATE).collect();
    // The encoder keeps the last samples of a part back until more comes, so the next part has them.
    let total: usize = lengths.iter().sum();
    let is_whole = lengths.iter().all(|ms| *ms + 80 >= PART_MS) && total + 20 >= 3 * PART_MS;
    assert!(lengths.len() == 3 && is_whole, "{lengths:?} ms");
    let states: Vec<_> = named(&events, "device")
        .iter()
        .map(|e| e["state"].clone())
        .collect();
    assert_eq!(states, ["opened", "opened"]);
    let last = named(&events, "stats").pop().unwrap();
    // A stall of the machine leaves a gap, which makes it longer, and is an underrun indeed.
    let has_stalled = total > 3 * PART_MS + 20;
    assert!(has_stalled || last["underruns"] == 0, "{last}");
}

#[test]
fn listener_that_is_stopped_ends_without_a_click() {
    if !has_sound_server() {
        return;
    }
    // A machine that stalls makes the device run dry, which is a click, and not ours: then once more.
    for attempt in 0..3 {
        let (step, underruns) = step_at_the_end();
        println!("attempt {attempt}: a step of {step}, {underruns} underruns");
        if underruns == 0 {
            return assert!(step < 0.012, "a step of {step}");
        }
    }
    panic!("the device ran dry each time");
}

/// Stops a listener in the midst of a tone: the largest step in the last 50 ms, and how often the device ran dry.
fn step_at_the_end() -> (f32, u64) {
    let (studio, server) = (Studio::new(), Server::start());
    // So low that the tone itself moves by 0.007 a sample at most.
    studio.tone("tone.wav", 20_000, 50.0);
    let recorder = server.record("lr");
    let listener = start(&studio, &server, 1_000, "listen --events -");
    listener.wait_stderr("lo");
    let sender = start(&studio, &server, 1, "send tone.wav");
    listener.wait_event("tuned_in");
    sleep(Duration::from_secs(2));
    listener.signal(Signal::SIGINT);
    let events = listener.finish().exits(0).events();
    sleep(Duration::from_millis(500));
    let [_, right] = recorder.stop();
    sender.signal(Signal::SIGINT);
    sender.finish().exits(0);
    let end = right.iter().rposition(|x| x.abs() > 1e-3).expect("sound");
    let last = &right[end - RATE / 20..end + 2];
    let steps = last.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    let last = named(&events, "stats").pop().unwrap();
    (
        steps.fold(0.0, f32::max),
        last["underruns"].as_u64().unwrap(),
    )
}
