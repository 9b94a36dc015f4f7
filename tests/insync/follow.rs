//! How far is a recording behind what was decoded, window by window, and is it the same sound?
//!
//! The delay comes from the noise: the peak of its correlation with what a listener of `--output file:` wrote, between samples by
//! a parabola. Two nodes are as far apart as their delays. The faults come from the sine: each piece of 50 ms must be what was
//! decoded, at some delay and a pace that may be a little off, to a thousandth; a missing or doubled sample is far above that.
//! (A sine that went through the encoder is no sine to more than 45 dB; so it is compared with what was decoded.)

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::server::RATE;

/// What is measured at a time: 250 ms.
pub(crate) const WINDOW: usize = RATE / 4;
/// What is judged at a time: 50 ms, in which no servo bends a delay.
pub(crate) const PIECE: usize = RATE / 20;

/// Around the delay of the window before, in samples: 1 ms.
const NEAR: i64 = 48;
/// Where it may be at all: 400 ms.
const FAR: i64 = 19_200;
/// Every so many samples count in the wide search; the noise has nothing to say in between.
const THIN: usize = 4;
/// Below this the two are not the same sound.
const ALIKE: f64 = 0.7;
/// Below this (mean square) there is no sound.
const SILENT: f64 = 1e-7;

/// One window of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Heard {
    /// The programme, so many samples behind.
    At(f64),
    /// No sound in at least a part of it of 10 ms.
    Silence,
    /// Sound, but nothing of the programme that is near enough.
    Unknown,
}

/// Follows `reference` through `recording`, starting at `expected` samples behind.
pub(crate) fn follow(reference: &[f32], recording: &[f32], expected: f64) -> Vec<Heard> {
    let mut last = None;
    let mut windows = Vec::new();
    for (index, window) in recording.chunks_exact(WINDOW).enumerate() {
        let from = (index * WINDOW) as i64;
        let heard = if is_silent(window) {
            Heard::Silence
        } else {
            let near = last.and_then(|delay| peak(reference, window, from, delay, NEAR, 1));
            near.or_else(|| search(reference, window, from, last.unwrap_or(expected)))
                .map_or(Heard::Unknown, Heard::At)
        };
        if let Heard::At(delay) = heard {
            last = Some(delay);
        }
        windows.push(heard);
    }
    windows
}

fn is_silent(window: &[f32]) -> bool {
    let power = |part: &[f32]| energy(part.iter().copied()) / part.len() as f64;
    window.chunks(RATE / 100).any(|part| power(part) < SILENT)
}

fn energy(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum()
}

/// The delay, wherever it is.
fn search(reference: &[f32], window: &[f32], from: i64, around: f64) -> Option<f64> {
    let coarse = peak(reference, window, from, around, FAR, THIN)?;
    peak(reference, window, from, coarse, NEAR, 1)
}

/// The delay within `reach` samples of `around` with the highest correlation; none if that is low, or at the edge.
fn peak(
    reference: &[f32],
    window: &[f32],
    from: i64,
    around: f64,
    reach: i64,
    step: usize,
) -> Option<f64> {
    let thinned: Vec<f32> = window.iter().copied().step_by(step).collect();
    let norm = energy(thinned.iter().copied()).sqrt();
    let middle = around.round() as i64;
    let likeness = |delay: i64| -> f64 {
        let Ok(start) = usize::try_from(from - delay) else {
            return 0.0;
        };
        let Some(part) = reference.get(start..start + window.len()) else {
            return 0.0;
        };
        let (mut product, mut square) = (0.0_f32, 1e-12_f32);
        for (ours, theirs) in thinned.iter().zip(part.iter().step_by(step)) {
            product += ours * theirs;
            square += theirs * theirs;
        }
        f64::from(product) / (norm * f64::from(square).sqrt())
    };
    let delays: Vec<i64> = (middle - reach..=middle + reach).step_by(step).collect();
    let values: Vec<f64> = delays.iter().map(|delay| likeness(*delay)).collect();
    let best = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))?;
    let inside = best > 0 && best + 1 < values.len();
    if values[best] < ALIKE || !inside {
        return None;
    }
    let (left, right) = (values[best - 1], values[best + 1]);
    let bend = left - 2.0 * values[best] + right;
    let fraction = if bend < 0.0 {
        0.5 * (left - right) / bend
    } else {
        0.0
    };
    Some(delays[best] as f64 + fraction * step as f64)
}

/// Energy of what was decoded over the energy of the difference, in dB, for each piece of a window that is `delay` behind.
pub(crate) fn fidelity(reference: &[f32], recording: &[f32], index: usize, delay: f64) -> Vec<f64> {
    let from = index * WINDOW;
    let window = &recording[from..from + WINDOW];
    let pieces = window.chunks_exact(PIECE).enumerate();
    let judge = |(number, piece): (usize, &[f32])| {
        Fit::new(reference, piece, from + number * PIECE).judge(delay)
    };
    pieces.map(judge).collect()
}

/// A piece that is fitted: what it is compared with, and where it starts.
struct Fit<'a> {
    reference: &'a [f32],
    piece: &'a [f32],
    from: usize,
}

impl<'a> Fit<'a> {
    fn new(reference: &'a [f32], piece: &'a [f32], from: usize) -> Fit<'a> {
        Fit {
            reference,
            piece,
            from,
        }
    }

    fn judge(&self, delay: f64) -> f64 {
        let (mut delay, mut rate) = (delay, 0.0);
        for _ in 0..3 {
            let (moved, bent) = self.correction(delay, rate);
            delay += moved.clamp(-2.0, 2.0);
            rate = (rate + bent).clamp(-1e-3, 1e-3);
        }
        let (mut noise, mut signal) = (1e-12, 1e-12);
        for (k, value) in self.piece.iter().enumerate() {
            let expected = self.expected(k, delay, rate);
            noise += (f64::from(*value) - expected).powi(2);
            signal += expected * expected;
        }
        10.0 * (signal / noise).log10()
    }

    /// What sample `k` should be, with the delay in the middle and its change per sample.
    fn expected(&self, k: usize, delay: f64, rate: f64) -> f64 {
        let from_middle = k as f64 - self.piece.len() as f64 / 2.0;
        interpolated(
            self.reference,
            (self.from + k) as f64 - delay - rate * from_middle,
        )
    }

    /// Newton's step: the change of delay and of rate that explains the difference best.
    fn correction(&self, delay: f64, rate: f64) -> (f64, f64) {
        let (mut dd, mut dr, mut rr, mut xd, mut xr) = (1e-12, 0.0, 1e-12, 0.0, 0.0);
        for k in (0..self.piece.len()).step_by(5) {
            let at = |delay| self.expected(k, delay, rate);
            let by_delay = (at(delay + 0.05) - at(delay - 0.05)) / 0.1;
            let by_rate = by_delay * (k as f64 - self.piece.len() as f64 / 2.0);
            let error = f64::from(self.piece[k]) - at(delay);
            (dd, dr, rr) = (
                dd + by_delay * by_delay,
                dr + by_delay * by_rate,
                rr + by_rate * by_rate,
            );
            (xd, xr) = (xd + error * by_delay, xr + error * by_rate);
        }
        let determinant = dd * rr - dr * dr;
        if determinant.abs() < 1e-9 {
            return (0.0, 0.0);
        }
        (
            (xd * rr - xr * dr) / determinant,
            (xr * dd - xd * dr) / determinant,
        )
    }
}

const HALF: i64 = 12;
const PHASES: usize = 1_024;

/// `sound` between its samples: a windowed sinc of 24 taps, from a table.
fn interpolated(sound: &[f32], at: f64) -> f64 {
    static TABLE: LazyLock<Vec<[f64; 2 * HALF as usize]>> = LazyLock::new(|| {
        (0..=PHASES)
            .map(|phase| taps(phase as f64 / PHASES as f64))
            .collect()
    });
    let base = at.floor();
    let phase = (at - base) * PHASES as f64;
    let (whole, rest) = (phase as usize, phase.fract());
    let start = base as i64 + 1 - HALF;
    let Some(part) = usize::try_from(start)
        .ok()
        .and_then(|start| sound.get(start..start + 2 * HALF as usize))
    else {
        return 0.0;
    };
    let sum = |taps: &[f64]| -> f64 {
        taps.iter()
            .zip(part)
            .map(|(tap, x)| tap * f64::from(*x))
            .sum()
    };
    sum(&TABLE[whole]) * (1.0 - rest) + sum(&TABLE[(whole + 1).min(PHASES)]) * rest
}

fn taps(fraction: f64) -> [f64; 2 * HALF as usize] {
    let tap = |index: usize| {
        let x = PI * (index as f64 + (1 - HALF) as f64 - fraction);
        let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
        sinc * (x / (2.0 * HALF as f64)).cos().powi(2)
    };
    std::array::from_fn(tap)
}
