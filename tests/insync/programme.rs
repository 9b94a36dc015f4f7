//! What is played, so that a recording of it can be judged to a few microseconds: noise on the left, a sine on the right.
//!
//! The noise is like itself at one place only, and holds nothing above some 4 kHz, so that the peak of its correlation is round
//! and lies where a parabola says. The sine shows every missing or doubled sample, and every jump of the phase. Neither
//! repeats: wherever a piece of the recording comes from is known.

use std::f64::consts::TAU;

use crate::music::Music;
use crate::server::RATE;

/// Which side has which.
pub(crate) const NOISE: usize = 0;
pub(crate) const SINE: usize = 1;

const SINE_HZ: f64 = 997.0;

/// A programme of so many seconds: always the same.
pub(crate) fn of(seconds: usize) -> Music {
    let frames = seconds * RATE;
    let sine = |k: usize| (0.25 * (TAU * SINE_HZ * k as f64 / RATE as f64).sin()) as f32;
    Music {
        rate_hz: RATE as u32,
        channels: vec![noise(frames), (0..frames).map(sine).collect()],
    }
}

/// Noise of about −12 dB peak, low-passed four times.
pub(crate) fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut smooth = [0.0_f64; 4];
    let mut next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut value = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
        for stage in &mut smooth {
            *stage += 0.4 * (value - *stage);
            value = *stage;
        }
        (0.45 * value) as f32
    };
    (0..frames).map(&mut next).collect()
}
