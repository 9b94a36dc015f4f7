//! Is it the music, at the right pitch? Numbers for sound that went through an encoder and a resampler.

use std::f64::consts::TAU;

/// How well one sound follows another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Likeness {
    /// Energy of the reference over the energy of the difference, in dB.
    pub(crate) snr_db: f64,
    /// How far the heard sound is behind, in samples.
    pub(crate) delay: f64,
    /// The factor on the reference that fits best.
    pub(crate) gain: f64,
}

/// Samples at both ends that are not judged: codecs differ in how they start.
const EDGE: usize = 6_000;
/// Half the length of the interpolator for fractions of a sample.
const HALF: isize = 16;

/// Compares `heard` with `reference` over all that both have, after finding the delay (−`max_delay`..=`max_delay`
/// samples, to a sixteenth). `with_gain` also fits the volume; else the volume has to be right.
pub(crate) fn likeness(
    reference: &[f32],
    heard: &[f32],
    max_delay: isize,
    with_gain: bool,
) -> Likeness {
    let whole = coarse_delay(reference, heard, max_delay);
    let middle = heard.len() / 2;
    let probe = middle..(middle + 24_000).min(heard.len());
    let mut best = (f64::MAX, 0.0);
    for sixteenth in -16..=16 {
        let delay = whole as f64 + f64::from(sixteenth) / 16.0;
        let (error, _, _) = compare(reference, heard, delay, probe.clone(), with_gain);
        if error < best.0 {
            best = (error, delay);
        }
    }
    let delay = best.1;
    let (error, energy, gain) =
        compare(reference, heard, delay, EDGE..heard.len() - EDGE, with_gain);
    Likeness {
        snr_db: 10.0 * (energy / error.max(1e-12)).log10(),
        delay,
        gain,
    }
}

/// The whole delay at which the middle of `heard` correlates best.
fn coarse_delay(reference: &[f32], heard: &[f32], max_delay: isize) -> isize {
    let start = heard.len() / 2;
    let window = &heard[start..(start + 16_384).min(heard.len())];
    find(
        reference,
        window,
        (start as isize - max_delay).max(0),
        start as isize + max_delay,
    )
    .map_or(0, |found| start as isize - found)
}

/// Where in `sound` (first sample between `from` and `to`) the `window` fits best.
pub(crate) fn find(sound: &[f32], window: &[f32], from: isize, to: isize) -> Option<isize> {
    let last = (sound.len() as isize - window.len() as isize).min(to);
    let score = |at: isize| {
        let other = &sound[at as usize..at as usize + window.len()];
        let (mut product, mut energy) = (0.0_f32, 1e-9_f32);
        for (a, b) in window.iter().zip(other) {
            product += a * b;
            energy += b * b;
        }
        product / energy.sqrt()
    };
    let scored = (from.max(0)..=last).map(|at| (score(at), at));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}

/// Energy of the error, energy of the reference and the best gain over `range` of `heard`.
fn compare(
    reference: &[f32],
    heard: &[f32],
    delay: f64,
    range: std::ops::Range<usize>,
    with_gain: bool,
) -> (f64, f64, f64) {
    let whole = delay.floor();
    let kernel = kernel(1.0 - (delay - whole));
    let (mut product, mut energy, mut total) = (0.0, 1e-12, 0.0);
    for index in range {
        let base = index as isize - whole as isize - 1;
        if base < HALF || base + HALF >= reference.len() as isize {
            continue;
        }
        let taps = &reference[(base - HALF + 1) as usize..=(base + HALF) as usize];
        let expected: f32 = taps
            .iter()
            .zip(&kernel)
            .map(|(tap, weight)| tap * weight)
            .sum();
        product += f64::from(expected) * f64::from(heard[index]);
        energy += f64::from(expected).powi(2);
        total += f64::from(heard[index]).powi(2);
    }
    let fitted = product / energy;
    let gain = if with_gain { fitted } else { 1.0 };
    let error = total - 2.0 * gain * product + gain * gain * energy;
    (error.max(0.0), gain * gain * energy, fitted)
}

/// A windowed sinc that reads the sound `fraction` of a sample after its centre.
fn kernel(fraction: f64) -> [f32; 2 * HALF as usize] {
    let mut kernel = [0.0; 2 * HALF as usize];
    for (index, weight) in kernel.iter_mut().enumerate() {
        let x = (index as isize - HALF + 1) as f64 - fraction;
        let sinc = if x.abs() < 1e-9 {
            1.0
        } else {
            (TAU / 2.0 * x).sin() / (TAU / 2.0 * x)
        };
        let window = (TAU / 4.0 * x / (HALF as f64 + 1.0)).cos().powi(2);
        *weight = (sinc * window) as f32;
    }
    kernel
}

/// How much of the energy of `sound` a pure tone of `frequency_hz` explains, with its phase.
pub(crate) fn tone(sound: &[f32], frequency_hz: f64) -> (f64, f64) {
    let step = TAU * frequency_hz / 48_000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (index, sample) in sound.iter().enumerate() {
        // A Hann window keeps the rest of the spectrum out.
        let weight = 0.5 - 0.5 * (TAU * (index as f64 + 0.5) / sound.len() as f64).cos();
        let (sin, cos) = (step * index as f64).sin_cos();
        re += weight * f64::from(*sample) * cos;
        im -= weight * f64::from(*sample) * sin;
    }
    (re.hypot(im) / sound.len() as f64, im.atan2(re))
}

/// How far a tone that should have `frequency_hz` is off, in parts per million: the slope of its phase over the sound.
pub(crate) fn pitch_error_ppm(sound: &[f32], frequency_hz: f64) -> f64 {
    const WINDOW: usize = 12_000;
    let mut points = Vec::new();
    let mut unwrapped = 0.0;
    for (index, window) in sound.chunks_exact(WINDOW).enumerate() {
        let expected = TAU * frequency_hz * (index * WINDOW) as f64 / 48_000.0;
        let error = tone(window, frequency_hz).1 - expected;
        // The nearest value to the one before: between two windows the phase moves by far less than half a turn.
        unwrapped = error + TAU * ((unwrapped - error) / TAU).round();
        points.push(((index * WINDOW) as f64 / 48_000.0, unwrapped));
    }
    let points = &points[1..points.len() - 1];
    slope(points) / (TAU * frequency_hz) * 1e6
}

/// The slope of the straight line through the points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    covariance
        / points
            .iter()
            .map(|(x, _)| (x - mean_x).powi(2))
            .sum::<f64>()
}

/// The value below which `percent` of the values are.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
