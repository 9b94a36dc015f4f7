//! How does a track of any rate become exactly as long, and exactly as high, at 48 kHz?
//!
//! One windowed-sinc resampler runs over the whole track. Its delay is cut off at the front and its tail is flushed at
//! the end, so that n samples at r Hz become round(n · 48000 / r), and sample 0 stays at time 0. The delay is a whole
//! number of input samples but rarely of output samples, so as many zeros go in first as make it one.
//!
//! Between usual rates the output falls on few places between two input samples (44.1 kHz: 160). Then the filter is
//! computed for exactly these places, and nothing has to be interpolated: as good, and less than half the CPU time.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use super::SAMPLE_RATE;

/// Output samples made at a time: 10 ms.
const CHUNK: usize = 480;
/// Length of the filter in samples of the lower of both rates: 133 dB, flat to 18 kHz at 44.1 kHz.
const SINC_LENGTH: usize = 128;
/// The longest filter, in input samples: the sharpness of 128 output samples up to 384 kHz, somewhat less above.
const MAX_SINC_LENGTH: usize = 1024;
/// Places between two input samples for which the filter is computed, at least and at most (11,025 Hz needs 640).
const PLACES: std::ops::RangeInclusive<usize> = 128..=640;
/// The most zeros fed in front to make the delay whole; odder rates keep an error of less than one output sample.
const MAX_LEAD: u64 = 8192;

/// The rates that can be converted, in Hz.
pub const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Converts one stereo track from one rate to 48 kHz.
pub struct Resampler {
    inner: Async<f32>,
    rate: u32,
    /// Input not yet used: left and right, equally long.
    pending: [Vec<f32>; 2],
    /// One chunk of output, left and right.
    chunk: Vec<Vec<f32>>,
    /// Track samples taken in.
    taken: u64,
    /// Output samples still to be dropped at the front.
    to_trim: usize,
    /// Output samples given away.
    given: u64,
}

impl Resampler {
    /// A resampler at the start of a track of `rate` Hz.
    ///
    /// # Errors
    /// The library's words, for a rate outside [`RATES`].
    pub fn new(rate: u32) -> Result<Resampler, String> {
        if !RATES.contains(&rate) {
            return Err(format!("{rate} Hz"));
        }
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        // Going down, the filter must be as sharp in terms of the output rate as it is otherwise of the input rate.
        let length = (SINC_LENGTH as f64 / ratio).ceil() as usize;
        let length = length
            .clamp(SINC_LENGTH, MAX_SINC_LENGTH)
            .next_multiple_of(8);
        let places = places(rate);
        let parameters = SincInterpolationParameters::new(length, WindowFunction::BlackmanHarris2)
            .oversampling_factor(places.unwrap_or(*PLACES.start()))
            .interpolation(match places {
                Some(_) => SincInterpolationType::Nearest,
                None => SincInterpolationType::Cubic,
            });
        let inner = Async::<f32>::new_sinc(ratio, 1.01, &parameters, CHUNK, 2, FixedAsync::Output)
            .map_err(|error| error.to_string())?;
        let (lead, to_trim) = lead_and_trim(rate, length as u64 / 2);
        let pending = [vec![0.0; lead], vec![0.0; lead]];
        Ok(Resampler {
            inner,
            rate,
            pending,
            chunk: vec![vec![0.0; CHUNK]; 2],
            taken: 0,
            to_trim,
            given: 0,
        })
    }

    /// Takes `stereo` (left and right, equally long) and appends what can be made of it to `out`, interleaved.
    pub fn push(&mut self, stereo: [&[f32]; 2], out: &mut Vec<f32>) {
        self.taken += stereo[0].len() as u64;
        for (pending, new) in self.pending.iter_mut().zip(stereo) {
            pending.extend_from_slice(new);
        }
        self.convert(out);
    }

    /// Appends the tail: after it, exactly round(n · 48000 / rate) samples were given for n taken.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let goal = samples_at_48k(self.taken, self.rate);
        let start = out.len();
        let missing = goal.saturating_sub(self.given) as usize;
        while out.len() - start < 2 * missing {
            let needed = self.inner.input_frames_next();
            for pending in &mut self.pending {
                let length = pending.len().max(needed);
                pending.resize(length, 0.0);
            }
            self.convert(out);
        }
        out.truncate(start + 2 * missing);
        self.given = goal;
    }

    fn convert(&mut self, out: &mut Vec<f32>) {
        let mut used = 0;
        loop {
            let frames = self.pending[0].len();
            if frames - used < self.inner.input_frames_next() {
                break;
            }
            let indexing = Indexing::new().input_offset(used);
            // The buffers have two channels and the lengths asked for, so nothing here can fail.
            let (Ok(input), Ok(mut output)) = (
                SequentialSliceOfVecs::new(&self.pending[..], 2, frames),
                SequentialSliceOfVecs::new_mut(&mut self.chunk[..], 2, CHUNK),
            ) else {
                break;
            };
            let made = self
                .inner
                .process_into_buffer(&input, &mut output, Some(&indexing));
            let Ok((consumed, made)) = made else {
                debug_assert!(false, "resampling: {made:?}");
                break;
            };
            used += consumed;
            let skip = self.to_trim.min(made);
            self.to_trim -= skip;
            self.given += (made - skip) as u64;
            let [left, right] = [&self.chunk[0][skip..made], &self.chunk[1][skip..made]];
            interleave(left, right, out);
        }
        for pending in &mut self.pending {
            pending.drain(..used);
        }
    }
}

/// Appends left and right as pairs.
pub(super) fn interleave(left: &[f32], right: &[f32], out: &mut Vec<f32>) {
    let start = out.len();
    out.resize(start + 2 * left.len(), 0.0);
    let pairs = out[start..].chunks_exact_mut(2);
    for (pair, (l, r)) in pairs.zip(left.iter().zip(right)) {
        pair[0] = *l;
        pair[1] = *r;
    }
}

/// How many samples at 48 kHz are as long as `samples` at `rate`: rounded to the nearest, halves up.
pub fn samples_at_48k(samples: u64, rate: u32) -> u64 {
    let rate = u128::from(rate.max(1));
    let scaled = u128::from(samples) * u128::from(SAMPLE_RATE);
    u64::try_from((scaled + rate / 2) / rate).unwrap_or(u64::MAX)
}

/// Zeros to feed in front, and output samples to drop, so that the delay of `delay` input samples is cut off exactly.
fn lead_and_trim(rate: u32, delay: u64) -> (usize, usize) {
    let (rate, target) = (u64::from(rate), u64::from(SAMPLE_RATE));
    let step = rate / greatest_common_divisor(rate, target);
    let whole = delay.next_multiple_of(step);
    let total = if whole - delay <= MAX_LEAD {
        whole
    } else {
        delay
    };
    // The resampler steps before it makes a sample: its first one is that of step 1.
    let to_trim = (total * target / rate).saturating_sub(1);
    ((total - delay) as usize, to_trim as usize)
}

/// A number of places between two input samples that every output sample of this rate falls on, if there is a small one.
fn places(rate: u32) -> Option<usize> {
    let target = u64::from(SAMPLE_RATE);
    let exact = (target / greatest_common_divisor(u64::from(rate), target)) as usize;
    let enough = PLACES.start().next_multiple_of(exact);
    PLACES.contains(&enough).then_some(enough)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(rate: u32, samples: usize, block: usize, wave: impl Fn(f64) -> f64) -> Vec<f32> {
        let input: Vec<f32> = (0..samples)
            .map(|i| wave(i as f64 / f64::from(rate)) as f32)
            .collect();
        let mut resampler = Resampler::new(rate).expect("a sane rate");
        let mut out = vec![];
        for part in input.chunks(block) {
            let opposite: Vec<f32> = part.iter().map(|x| -x).collect();
            resampler.push([part, &opposite], &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    fn sine(hertz: f64) -> impl Fn(f64) -> f64 {
        move |t| 0.5 * (std::f64::consts::TAU * hertz * t).sin()
    }

    /// In dB, against the ideal sine at the same time. rubato's table of filters is centred one of its places between
    /// two input samples off (0.2 µs); any other shift would be seen.
    fn snr(out: &[f32], rate: u32, wave: impl Fn(f64) -> f64) -> f64 {
        let places = places(rate).unwrap_or(*PLACES.start());
        let shift = 1.0 / places as f64 / f64::from(rate);
        let frames = out.len() / 2;
        let (mut signal, mut noise) = (0.0, 0.0);
        for i in 2000..frames - 2000 {
            let ideal = wave(i as f64 / 48_000.0 + shift);
            signal += 2.0 * ideal * ideal;
            noise += (f64::from(out[2 * i]) - ideal).powi(2);
            noise += (f64::from(out[2 * i + 1]) + ideal).powi(2);
        }
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn sine_keeps_pitch_phase_and_length_at_every_rate() {
        for (rate, floor) in [
            (8_000, 90.0),
            (11_025, 90.0),
            (12_000, 90.0),
            (44_056, 90.0),
            (22_050, 90.0),
            (44_100, 90.0),
            (88_200, 90.0),
            (96_000, 90.0),
            (192_000, 90.0),
        ] {
            let samples = rate as usize * 2 + 17;
            let out = resampled(rate, samples, 1152, sine(1000.0));
            assert_eq!(
                out.len() as u64 / 2,
                samples_at_48k(samples as u64, rate),
                "{rate} Hz"
            );
            let snr = snr(&out, rate, sine(1000.0));
            assert!(snr >= floor, "{rate} Hz: {snr:.1} dB");
        }
    }

    #[test]
    fn a_minute_does_not_drift() {
        let out = resampled(44_100, 60 * 44_100, 4096, sine(1000.0));
        assert_eq!(out.len(), 60 * 96_000);
        let snr = snr(&out[59 * 96_000..], 44_100, sine(1000.0));
        assert!(snr >= 90.0, "{snr:.1} dB in the last second");
    }

    #[test]
    fn eighteen_kilohertz_passes_and_thirty_does_not_fold_back() {
        let level = |out: &[f32]| {
            let middle = &out[4000..out.len() - 4000];
            let sum: f64 = middle.iter().map(|x| f64::from(*x).powi(2)).sum();
            10.0 * (sum / middle.len() as f64 / 0.125).log10()
        };
        for rate in [44_100, 96_000, 192_000] {
            let pass = level(&resampled(rate, rate as usize, 1000, sine(18_000.0)));
            assert!(pass.abs() < 0.1, "{rate} Hz: 18 kHz at {pass:.2} dB");
        }
        for rate in [96_000, 192_000] {
            let fold = level(&resampled(rate, rate as usize, 1000, sine(30_000.0)));
            assert!(fold < -90.0, "{rate} Hz: 30 kHz at {fold:.1} dB");
        }
    }

    #[test]
    fn length_is_exact_for_odd_rates_and_lengths() {
        for rate in [
            1_000, 7_999, 11_025, 44_056, 47_999, 48_001, 176_400, 767_999,
        ] {
            for samples in [1, 2, 100, 4_801] {
                let out = resampled(rate, samples, 64, |_| 0.25);
                let expected = samples_at_48k(samples as u64, rate) as usize;
                assert_eq!(out.len(), 2 * expected, "{samples} samples at {rate} Hz");
            }
        }
    }

    #[test]
    fn impulse_stays_at_its_time_and_blocks_do_not_matter() {
        let impulse = |t: f64| if (t - 0.1).abs() < 1e-9 { 1.0 } else { 0.0 };
        let whole = resampled(44_100, 8_820, 8_820, impulse);
        let pieces = resampled(44_100, 8_820, 7, impulse);
        assert_eq!(whole, pieces);
        let peak = (0..whole.len() / 2).max_by(|&a, &b| whole[2 * a].total_cmp(&whole[2 * b]));
        assert_eq!(peak, Some(4_800));
    }

    #[test]
    fn absurd_rates_are_refused() {
        for rate in [0, 999, 768_001, u32::MAX] {
            assert!(Resampler::new(rate).is_err(), "{rate} Hz");
        }
    }
}
