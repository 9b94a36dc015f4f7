//! How does a block at 48 kHz become samples of a device's own rate, a little faster or slower?
//!
//! One windowed-sinc resampler does both: conversion to the device's rate and the drift of its clock (FACTS: 133 dB, 0.36 % of a
//! core). It takes one block at a time and gives what that makes, so it adds its own delay of 64 input samples (1.3 ms) and no more.
//! The rate changes along a ramp within the block: a step would be heard.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable as _, Async, FixedAsync, Resampler as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use std::time::Duration;

use super::SAMPLE_RATE;
use super::opus::{FRAME_SAMPLES, FRAME_VALUES};

/// Length of the filter in input samples.
const SINC_LENGTH: usize = 128;
/// Places between two input samples for which the filter is computed; so many that a straight line between two of them is
/// exact to 110 dB at 18 kHz, at half the CPU time of a cubic through four.
const PLACES: usize = 512;
/// The rate may leave the nominal one by 1 %.
const MAX_RELATIVE: f64 = 1.01;

/// What goes in comes out so much later: half of the filter.
pub const DELAY: Duration =
    Duration::from_nanos(SINC_LENGTH as u64 / 2 * 1_000_000_000 / SAMPLE_RATE as u64);

/// The rates of devices that are served, in Hz.
pub const DEVICE_RATES: std::ops::RangeInclusive<u32> = 8_000..=384_000;

/// Converts blocks of one stereo stream from 48 kHz to a device's rate.
pub struct DeviceRate {
    inner: Async<f32>,
    out: Vec<f32>,
    rate: u32,
    /// Something of the blocks before may be in the filter.
    is_filled: bool,
}

impl DeviceRate {
    /// A converter to `rate` Hz.
    ///
    /// # Errors
    /// The library's words, for a rate outside [`DEVICE_RATES`].
    pub fn new(rate: u32) -> Result<DeviceRate, String> {
        if !DEVICE_RATES.contains(&rate) {
            return Err(format!("{rate} Hz"));
        }
        let ratio = f64::from(rate) / f64::from(SAMPLE_RATE);
        let parameters =
            SincInterpolationParameters::new(SINC_LENGTH, WindowFunction::BlackmanHarris2)
                .oversampling_factor(PLACES)
                .interpolation(SincInterpolationType::Linear);
        let inner = Async::<f32>::new_sinc(
            ratio,
            MAX_RELATIVE,
            &parameters,
            FRAME_SAMPLES,
            2,
            FixedAsync::Input,
        )
        .map_err(|error| error.to_string())?;
        let out = vec![0.0; 2 * inner.output_frames_max()];
        Ok(DeviceRate {
            inner,
            out,
            rate,
            is_filled: false,
        })
    }

    /// Converts one block, used up `ppm` faster than nominal; stereo samples, interleaved.
    pub fn process(&mut self, block: &[f32; FRAME_VALUES], ppm: f64) -> &[f32] {
        let relative = 1.0 / (1.0 + ppm * 1e-6);
        let set = self.inner.set_resample_ratio_relative(relative, true);
        debug_assert!(set.is_ok(), "{ppm} ppm: {set:?}");
        let room = self.out.len() / 2;
        // The buffers have two channels and the lengths asked for, so nothing here can fail.
        let (Ok(input), Ok(mut output)) = (
            InterleavedSlice::new(&block[..], 2, FRAME_SAMPLES),
            InterleavedSlice::new_mut(&mut self.out[..], 2, room),
        ) else {
            return &[];
        };
        let made = self.inner.process_into_buffer(&input, &mut output, None);
        debug_assert!(made.is_ok(), "{made:?}");
        self.is_filled = true;
        let frames = made.map_or(0, |(_, made)| made);
        &self.out[..2 * frames]
    }

    /// What is left in the filter, as if silence followed: nothing follows for a while, and then something that begins afresh.
    /// Empty if that was done already.
    pub fn flush(&mut self) -> &[f32] {
        if !self.is_filled {
            return &[];
        }
        let made = self.process(&[0.0; FRAME_VALUES], 0.0).len();
        self.reset();
        let tail = (SINC_LENGTH * self.rate as usize).div_ceil(SAMPLE_RATE as usize);
        &self.out[..made.min(2 * tail)]
    }

    /// Forgets what is left in the filter.
    pub fn reset(&mut self) {
        self.inner.reset();
        self.is_filled = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine of 1 kHz, left, and its opposite, right, through the converter; `ppm` by block.
    fn converted(rate: u32, blocks: usize, ppm: impl Fn(usize) -> f64) -> Vec<f32> {
        let mut converter = DeviceRate::new(rate).unwrap();
        let mut out = vec![];
        for n in 0..blocks {
            let mut block = [0.0; FRAME_VALUES];
            for (k, pair) in block.chunks_exact_mut(2).enumerate() {
                let t = (n * FRAME_SAMPLES + k) as f64 / 48_000.0;
                let value = (0.5 * (std::f64::consts::TAU * 1_000.0 * t).sin()) as f32;
                (pair[0], pair[1]) = (value, -value);
            }
            out.extend_from_slice(converter.process(&block, ppm(n)));
        }
        out
    }

    /// Signal to noise in dB of the left channel against the sine of `hertz` that fits it best.
    fn snr(samples: &[f32], rate: f64, hertz: f64) -> f64 {
        let left: Vec<f64> = samples.iter().step_by(2).map(|x| f64::from(*x)).collect();
        let angle = |k: usize| std::f64::consts::TAU * hertz * k as f64 / rate;
        let project = |wave: fn(f64) -> f64| {
            let sum: f64 = left
                .iter()
                .enumerate()
                .map(|(k, x)| x * wave(angle(k)))
                .sum();
            2.0 * sum / left.len() as f64
        };
        let (sine, cosine) = (project(f64::sin), project(f64::cos));
        let fit = |k: usize| sine * angle(k).sin() + cosine * angle(k).cos();
        let noise: f64 = left
            .iter()
            .enumerate()
            .map(|(k, x)| (x - fit(k)).powi(2))
            .sum();
        let signal = left.len() as f64 * (sine * sine + cosine * cosine) / 2.0;
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn sine_stays_a_sine_at_every_device_rate() {
        for rate in [44_100, 48_000, 88_200, 96_000, 192_000] {
            let out = converted(rate, 60, |_| 0.0);
            let frames = out.len() / 2;
            assert!(
                frames.abs_diff(rate as usize * 6 / 5) < 16,
                "{rate} Hz: {frames}"
            );
            // Whole periods, after the filter has filled.
            let second = &out[2 * rate as usize / 10..2 * (rate as usize / 10 + rate as usize)];
            let snr = snr(second, f64::from(rate), 1_000.0);
            assert!(snr > 90.0, "{rate} Hz: {snr:.1} dB");
            assert!(second.chunks_exact(2).all(|pair| pair[0] == -pair[1]));
        }
    }

    #[test]
    fn drift_changes_the_pitch_and_nothing_else() {
        for ppm in [-500.0, 350.0] {
            let out = converted(48_000, 60, |_| ppm);
            let second = &out[9_600..9_600 + 96_000];
            let snr = snr(second, 48_000.0, 1_000.0 * (1.0 + ppm * 1e-6));
            assert!(snr > 60.0, "{ppm} ppm: {snr:.1} dB");
        }
    }

    #[test]
    fn rate_that_moves_slowly_is_not_heard() {
        let out = converted(48_000, 60, |n| n as f64 * 0.2);
        let part = &out[9_600..9_600 + 9_600];
        let snr = snr(part, 48_000.0, 1_000.0 * (1.0 + 1.5e-6));
        assert!(snr > 70.0, "{snr:.1} dB");
    }

    #[test]
    fn flush_gives_the_last_samples_and_leaves_nothing_of_them() {
        for rate in [44_100, 48_000, 96_000] {
            let mut converter = DeviceRate::new(rate).unwrap();
            assert!(converter.flush().is_empty());
            let mut block = [0.0; FRAME_VALUES];
            block[FRAME_VALUES - 2..].fill(0.5);
            assert!(
                converter
                    .process(&block, 0.0)
                    .iter()
                    .all(|x| x.abs() < 0.01)
            );
            let tail = converter.flush().to_vec();
            assert!(tail.iter().any(|x| *x > 0.4), "{rate} Hz: {tail:?}");
            assert!(tail.len() <= 2 * (rate as usize * 3 / 1_000), "{rate} Hz");
            assert!(converter.flush().is_empty());
            let flush = |converter: &mut DeviceRate| {
                converter.flush();
            };
            for forget in [DeviceRate::reset, flush] {
                converter.process(&block, 0.0);
                forget(&mut converter);
                let after = converter.process(&[0.0; FRAME_VALUES], 0.0);
                assert!(after.iter().all(|x| *x == 0.0), "{rate} Hz");
            }
        }
    }

    #[test]
    fn absurd_rates_are_refused() {
        for rate in [0, 7_999, 384_001, u32::MAX] {
            assert!(DeviceRate::new(rate).is_err(), "{rate} Hz");
        }
    }
}
