//! Does the way from a bus through the recorder to a delay hold what is claimed? Delays that are known, with no node involved.

use std::io::Write as _;
use std::process::Stdio;

use crate::bus::{self, Bus, PLAYERS};
use crate::follow::{Heard, follow};
use crate::programme::{self, NOISE};
use crate::server::RATE;

/// How many samples each player is late, the second one half a sample more.
const LATE: [usize; PLAYERS] = [0, 24, 480, 2_405];

#[test]
fn delays_on_the_bus_are_measured_to_two_microseconds() {
    if bus::require().is_none() {
        return;
    }
    let music = programme::of(4);
    let noise = &music.channels[NOISE];
    let bus = Bus::start();
    let recorder = bus.record();
    let mut player = bus.feed().stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = player.stdin.take().unwrap();
    let at = |player: usize, k: usize| -> f32 {
        let sample = |k: Option<usize>| k.and_then(|k| noise.get(k)).copied().unwrap_or(0.0);
        let late = k.checked_sub(LATE[player]);
        match player {
            1 => 0.5 * (sample(late) + sample(late.and_then(|k| k.checked_sub(1)))),
            _ => sample(late),
        }
    };
    let frame = |k: usize| (0..2 * PLAYERS).map(move |channel| at(channel / 2, k));
    let bytes: Vec<u8> = (0..4 * RATE)
        .flat_map(frame)
        .flat_map(f32::to_le_bytes)
        .collect();
    pipe.write_all(&bytes).unwrap();
    drop(pipe);
    assert!(player.wait().unwrap().success());
    let recording = recorder.stop();
    let heard = recording.side(0, NOISE).iter().position(|x| x.abs() > 1e-3);
    let onset = noise.iter().position(|x| x.abs() > 1e-3);
    let expected = heard.unwrap() as f64 - onset.unwrap() as f64;
    let [first, second, third, fourth] =
        [0, 1, 2, 3].map(|player| follow(noise, recording.side(player, NOISE), expected));
    let mut measured = 0;
    let others = second.iter().zip(&third).zip(&fourth);
    for (index, (a, ((b, c), d))) in first.iter().zip(others).enumerate() {
        let [Heard::At(a), Heard::At(b), Heard::At(c), Heard::At(d)] = [*a, *b, *c, *d] else {
            continue;
        };
        let late = [0.0, b - a - 24.5, c - a - 480.0, d - a - 2_405.0];
        let worst_us = late.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / RATE as f64 * 1e6;
        assert!(worst_us < 2.0, "{late:?} samples in window {index}");
        measured += 1;
    }
    assert!(measured >= 12, "{measured} windows");
}
