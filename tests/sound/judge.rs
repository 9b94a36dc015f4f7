//! Is a recording the tone that was sent? Each window by itself, so that a device's own pace is no fault.

use std::f64::consts::TAU;

use crate::server::RATE;

/// What is judged at a time: 50 ms.
pub(crate) const WINDOW: usize = RATE / 20;

/// One window of a recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// Amplitude of the tone.
    pub(crate) amplitude: f64,
    /// Energy of the tone over everything else, in dB.
    pub(crate) snr_db: f64,
    /// How far its pitch is off, in parts per million.
    pub(crate) off_ppm: f64,
}

/// Every whole window of `sound`, which should be a tone of `hertz`.
pub(crate) fn windows(sound: &[f32], hertz: f64) -> Vec<Heard> {
    sound
        .chunks_exact(WINDOW)
        .map(|window| judge(window, hertz))
        .collect()
}

/// Fits the best sine of nearly `hertz`: Newton's method on the frequency, least squares for amplitude and phase.
fn judge(window: &[f32], hertz: f64) -> Heard {
    let mut omega = TAU * hertz / RATE as f64;
    let mut fit = Fit::of(window, omega);
    for _ in 0..4 {
        let correction = fit.slope(window, omega);
        omega += correction.clamp(-1e-4, 1e-4);
        fit = Fit::of(window, omega);
    }
    let total: f64 = window.iter().map(|x| f64::from(*x).powi(2)).sum();
    let noise: f64 = (0..window.len())
        .map(|k| (f64::from(window[k]) - fit.at(omega, k)).powi(2))
        .sum();
    Heard {
        amplitude: fit.sine.hypot(fit.cosine),
        snr_db: 10.0 * ((total - noise).max(1e-12) / noise.max(1e-12)).log10(),
        off_ppm: (omega * RATE as f64 / TAU / hertz - 1.0) * 1e6,
    }
}

struct Fit {
    sine: f64,
    cosine: f64,
}

impl Fit {
    /// Least squares with both basis functions, not only projections: windows are no whole periods.
    fn of(window: &[f32], omega: f64) -> Fit {
        let (mut ss, mut sc, mut cc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (k, x) in window.iter().enumerate() {
            let (s, c) = (omega * k as f64).sin_cos();
            (ss, sc, cc) = (ss + s * s, sc + s * c, cc + c * c);
            (xs, xc) = (xs + f64::from(*x) * s, xc + f64::from(*x) * c);
        }
        let determinant = ss * cc - sc * sc;
        Fit {
            sine: (xs * cc - xc * sc) / determinant,
            cosine: (xc * ss - xs * sc) / determinant,
        }
    }

    fn at(&self, omega: f64, k: usize) -> f64 {
        let (s, c) = (omega * k as f64).sin_cos();
        self.sine * s + self.cosine * c
    }

    /// The change of frequency that explains the rest best.
    fn slope(&self, window: &[f32], omega: f64) -> f64 {
        let middle = window.len() as f64 / 2.0;
        let (mut product, mut energy) = (0.0, 1e-12);
        for (k, x) in window.iter().enumerate() {
            let (s, c) = (omega * k as f64).sin_cos();
            // d/domega of the fit, around the middle, where the phase is right already.
            let derivative = (k as f64 - middle) * (self.sine * c - self.cosine * s);
            product += (f64::from(*x) - self.sine * s - self.cosine * c) * derivative;
            energy += derivative * derivative;
        }
        product / energy
    }
}

/// One window of a recording against what was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    /// Energy of what was sent over the energy of the difference, in dB.
    pub(crate) snr_db: f64,
    /// How far the recording is behind, in samples.
    pub(crate) delay: f64,
}

/// Follows `reference` through `recording` from the first sound in both, window by window: a device may play it a little faster or
/// slower, but nothing else.
pub(crate) fn follow(reference: &[f32], recording: &[f32]) -> Vec<Followed> {
    let onset = |sound: &[f32]| sound.iter().position(|x| x.abs() > 0.05).expect("sound");
    let (from, to) = (onset(recording), onset(reference));
    let (mut delay, mut rate) = (from as f64 - to as f64, 0.0);
    let mut windows = Vec::new();
    for start in (from..recording.len() - WINDOW).step_by(WINDOW) {
        let last = (start + WINDOW) as f64 - delay;
        if last + 64.0 > reference.len() as f64 {
            break;
        }
        let window = &recording[start..start + WINDOW];
        for _ in 0..4 {
            let (moved, bent) = correction(reference, window, start, delay, rate);
            delay += moved.clamp(-8.0, 8.0);
            rate += bent.clamp(-1e-4, 1e-4);
        }
        let (mut noise, mut signal) = (1e-12, 0.0);
        for (k, x) in window.iter().enumerate() {
            let expected = expected(reference, start, k, delay, rate);
            noise += (f64::from(*x) - expected).powi(2);
            signal += expected * expected;
        }
        let snr_db = 10.0 * (signal / noise).log10();
        windows.push(Followed { snr_db, delay });
        delay -= rate * WINDOW as f64;
    }
    windows
}

/// What sample `k` of the window at `start` should be, with the delay in the window's middle and its change per sample.
fn expected(reference: &[f32], start: usize, k: usize, delay: f64, rate: f64) -> f64 {
    let from_middle = k as f64 - WINDOW as f64 / 2.0;
    interpolated(reference, (start + k) as f64 - delay + rate * from_middle)
}

/// Newton's step: the change of delay and of rate that explains the difference best.
fn correction(
    reference: &[f32],
    window: &[f32],
    start: usize,
    delay: f64,
    rate: f64,
) -> (f64, f64) {
    let (mut dd, mut dr, mut rr, mut xd, mut xr) = (1e-12, 0.0, 1e-12, 0.0, 0.0);
    for (k, x) in window.iter().enumerate().step_by(4) {
        let at = |delay| expected(reference, start, k, delay, rate);
        let by_delay = (at(delay + 0.01) - at(delay - 0.01)) / 0.02;
        let by_rate = -by_delay * (k as f64 - WINDOW as f64 / 2.0);
        let error = f64::from(*x) - at(delay);
        (dd, dr, rr) = (
            dd + by_delay * by_delay,
            dr + by_delay * by_rate,
            rr + by_rate * by_rate,
        );
        (xd, xr) = (xd + error * by_delay, xr + error * by_rate);
    }
    let determinant = dd * rr - dr * dr;
    (
        (xd * rr - xr * dr) / determinant,
        (xr * dd - xd * dr) / determinant,
    )
}

/// `sound` between its samples: a windowed sinc of 48 taps.
fn interpolated(sound: &[f32], at: f64) -> f64 {
    const HALF: i64 = 24;
    let base = at.floor() as i64;
    let fraction = at - base as f64;
    (1 - HALF..=HALF)
        .map(|tap| {
            let sample = usize::try_from(base + tap)
                .ok()
                .and_then(|index| sound.get(index));
            let x = tap as f64 - fraction;
            let angle = std::f64::consts::PI * x;
            let sinc = if x.abs() < 1e-9 {
                1.0
            } else {
                angle.sin() / angle
            };
            let window = (angle / (2.0 * HALF as f64)).cos().powi(2);
            sample.map_or(0.0, |sample| f64::from(*sample) * sinc * window)
        })
        .sum()
}

/// The stretch of windows in which the tone is heard, with what lies between its parts.
pub(crate) fn heard(windows: &[Heard], amplitude: f64) -> std::ops::Range<usize> {
    let loud = |window: &Heard| window.amplitude > amplitude / 2.0;
    let first = windows.iter().position(loud).expect("the tone is heard");
    let last = windows.iter().rposition(loud).expect("the tone is heard");
    first..last + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follower_sees_drift_as_delay_and_a_lost_sample_as_noise() {
        let tone = |step: f64, count: usize| -> Vec<f32> {
            let sample = |k: usize| 0.4 * (0.13 * step * (k as f64 - 300.0)).sin();
            (0..count)
                .map(|k| if k < 300 { 0.0 } else { sample(k) as f32 })
                .collect()
        };
        let reference = tone(1.0, 60_000);
        let mut recording = vec![0.0; 777];
        recording.extend(tone(1.000_3, 50_000));
        let clean = follow(&reference, &recording);
        assert!(clean[1..].iter().all(|w| w.snr_db > 80.0), "{clean:?}");
        let drift = (clean[15].delay - clean[5].delay) / (10 * WINDOW) as f64;
        assert!((drift + 300e-6).abs() < 3e-6, "{drift}");
        recording.remove(20_000);
        let cut = follow(&reference, &recording);
        assert!(
            cut.iter().filter(|w| w.snr_db < 50.0).count() == 1,
            "{cut:?}"
        );
    }

    #[test]
    fn judge_finds_pitch_and_noise_of_a_known_sound() {
        let tone = |ppm: f64, noise: f64| -> Vec<f32> {
            let step = TAU * 997.0 * (1.0 + ppm * 1e-6) / RATE as f64;
            (0..WINDOW)
                .map(|k| {
                    let hash = (k as u32).wrapping_mul(2_654_435_761) >> 8;
                    let dither = f64::from(hash) / f64::from(1 << 23) - 1.0;
                    (0.4 * (step * k as f64 + 1.0).sin() + noise * dither) as f32
                })
                .collect()
        };
        let clean = judge(&tone(350.0, 0.0), 997.0);
        assert!(
            (clean.off_ppm - 350.0).abs() < 1.0 && clean.snr_db > 100.0,
            "{clean:?}"
        );
        // Uniform noise of 0.001 has a variance of 1e-6 / 3; the tone 0.08.
        let noisy = judge(&tone(0.0, 0.001), 997.0);
        assert!((noisy.snr_db - 53.8).abs() < 1.0, "{noisy:?}");
        let mut holed = tone(0.0, 0.0);
        holed[1_000..1_050].fill(0.0);
        assert!(judge(&holed, 997.0).snr_db < 20.0);
    }
}
