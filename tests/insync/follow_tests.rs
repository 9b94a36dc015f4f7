//! Does the measure of delays and faults see what is there, to a few microseconds, and what is not there not?

use std::f64::consts::TAU;

use crate::follow::{Heard, PIECE, WINDOW, fidelity, follow};
use crate::server::RATE;

/// Noise that is known between its samples, too: many sines.
fn noise_at(time: impl Fn(usize) -> f64, count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut dice = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let sines: Vec<(f64, f64)> = (0..150)
        .map(|_| (TAU * (150.0 + 3_500.0 * dice()) / RATE as f64, TAU * dice()))
        .collect();
    let value = |k: usize| -> f32 {
        let at = time(k);
        let sum: f64 = sines
            .iter()
            .map(|(omega, phase)| (omega * at + phase).sin())
            .sum();
        (0.02 * sum) as f32
    };
    (0..count).map(value).collect()
}

fn sine_at(time: impl Fn(usize) -> f64, count: usize) -> Vec<f32> {
    let value = |k| (0.25 * (TAU * 997.0 / RATE as f64 * time(k)).sin()) as f32;
    (0..count).map(value).collect()
}

fn delay(heard: Heard) -> f64 {
    let Heard::At(delay) = heard else {
        panic!("{heard:?}")
    };
    delay
}

#[test]
fn delay_that_drifts_is_known_to_two_microseconds() {
    let (count, ppm) = (6 * WINDOW, 120e-6);
    let reference = noise_at(|k| k as f64, count, 1);
    // 1,234.3 samples late, and the device 120 ppm fast.
    let behind = |k: f64| 1_234.3 - ppm * k;
    let recording = noise_at(|k| k as f64 - behind(k as f64), count, 1);
    let windows = follow(&reference, &recording, 4_000.0);
    for (index, heard) in windows.iter().enumerate().skip(1) {
        let truth = behind((index * WINDOW + WINDOW / 2) as f64);
        let off_us = (delay(*heard) - truth) / RATE as f64 * 1e6;
        assert!(off_us.abs() < 2.0, "{off_us} us in window {index}");
    }
}

#[test]
fn delay_of_the_programme_itself_is_known_to_two_microseconds() {
    let noise = crate::programme::noise(3 * WINDOW);
    // Half a sample between two: the mean of neighbours is a symmetric filter around it.
    let between: Vec<f32> = noise
        .windows(2)
        .map(|pair| (pair[0] + pair[1]) / 2.0)
        .collect();
    let heard = follow(&noise, &between, 0.0);
    let off_us = (delay(heard[1]) + 0.5) / RATE as f64 * 1e6;
    assert!(off_us.abs() < 2.0, "{off_us} us");
}

#[test]
fn jump_is_found_wherever_it_goes_and_other_sound_is_not_the_programme() {
    let reference = noise_at(|k| k as f64, 9 * WINDOW, 1);
    let mut recording = reference.clone();
    // From window 3 on it is 100 ms late, from 6 on 13 ms early.
    for (from, behind) in [(3, 4_800_i64), (6, -624)] {
        for (k, sample) in recording.iter_mut().enumerate().skip(from * WINDOW) {
            let at = usize::try_from(k as i64 - behind).unwrap();
            *sample = reference.get(at).copied().unwrap_or(0.01);
        }
    }
    let windows = follow(&reference, &recording, 0.0);
    for (index, truth) in [(1, 0.0), (2, 0.0), (4, 4_800.0), (5, 4_800.0), (7, -624.0)] {
        assert!(
            (delay(windows[index]) - truth).abs() < 0.05,
            "{index}: {windows:?}"
        );
    }
    let other = noise_at(|k| k as f64, 4 * WINDOW, 2);
    assert_eq!(follow(&reference, &other, 0.0)[1..3], [Heard::Unknown; 2]);
}

#[test]
fn ten_milliseconds_of_nothing_are_silence_and_a_quiet_programme_is_none() {
    let reference = noise_at(|k| k as f64, 4 * WINDOW, 1);
    let mut recording: Vec<f32> = reference.iter().map(|x| x * 0.05).collect();
    recording[WINDOW + 2_000..][..2 * RATE / 100].fill(0.0);
    let windows = follow(&reference, &recording, 0.0);
    assert_eq!(windows[1], Heard::Silence);
    assert!(delay(windows[2]).abs() < 0.05);
}

#[test]
fn sine_at_another_pace_is_the_same_sound_and_one_with_a_missing_sample_is_not() {
    let count = 4 * WINDOW;
    let reference = sine_at(|k| k as f64, count);
    let late = |k: usize| k as f64 * (1.0 + 200e-6) - 30.6;
    let mut recording = sine_at(late, count);
    let clean = fidelity(&reference, &recording, 1, 30.0);
    assert_eq!(clean.len(), WINDOW / PIECE);
    assert!(clean.iter().all(|db| *db > 75.0), "{clean:?}");
    recording.remove(WINDOW + PIECE + PIECE / 2);
    let cut = fidelity(&reference, &recording, 1, 30.0);
    assert_eq!(cut.iter().filter(|db| **db < 60.0).count(), 1, "{cut:?}");
    // A step of a thousandth of full scale is heard, too.
    recording[WINDOW + 100] += 0.02;
    assert!(fidelity(&reference, &recording, 1, 30.0)[0] < 60.0);
}
