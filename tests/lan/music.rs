//! Music to send, made here so that nobody's rights are touched and every run hears the same.
//!
//! Plucked notes with many partials, each channel with its own melody and a little noise: broadband enough for an encoder
//! to have work, tonal enough to survive it well, and never the same on two sides.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::wav;

/// Sound in memory: one list of samples around ±1 for each channel.
pub(crate) struct Music {
    pub(crate) rate_hz: u32,
    pub(crate) channels: Vec<Vec<f32>>,
}

/// A small generator (SplitMix64): the same piece in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between −1 and 1.
    fn noise(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A piece of `seconds`; each channel has its own notes.
pub(crate) fn piece(rate_hz: u32, channels: usize, seconds: f64) -> Music {
    let channels = (0..channels)
        .map(|channel| melody(rate_hz, seconds, channel as u64 + 1))
        .collect();
    Music { rate_hz, channels }
}

fn melody(rate_hz: u32, seconds: f64, seed: u64) -> Vec<f32> {
    const SCALE: [i32; 8] = [0, 2, 4, 7, 9, 12, 14, 16];
    let rate = f64::from(rate_hz);
    let mut dice = Dice(seed);
    let mut samples: Vec<f32> = (0..(seconds * rate) as usize)
        .map(|_| dice.noise() * 0.001)
        .collect();
    let mut start_s = 0.0;
    while start_s < seconds {
        let step = SCALE[(dice.next() % 8) as usize];
        let pitch_hz = 130.81
            * (f64::from(step) / 12.0).exp2()
            * if seed.is_multiple_of(2) { 1.5 } else { 1.0 };
        let from = (start_s * rate) as usize;
        pluck(&mut samples[from..], pitch_hz, rate);
        start_s += 0.18 + 0.02 * (dice.next() % 5) as f64;
    }
    samples
}

/// Adds one plucked string: its partials fade the faster the higher they are.
fn pluck(samples: &mut [f32], pitch_hz: f64, rate: f64) {
    for partial in 1..=14 {
        let frequency_hz = pitch_hz * f64::from(partial);
        if frequency_hz > 0.4 * rate {
            return;
        }
        let (sin, cos) = (TAU * frequency_hz / rate).sin_cos();
        let fade = (-(2.0 + 0.6 * f64::from(partial)) / rate).exp();
        let (mut x, mut y) = (0.16 / f64::from(partial), 0.0);
        for sample in samples.iter_mut().take((1.2 * rate) as usize) {
            *sample += y as f32;
            (x, y) = (fade * (x * cos - y * sin), fade * (x * sin + y * cos));
        }
    }
}

/// One steady tone per channel.
pub(crate) fn tones(rate_hz: u32, frequencies_hz: &[f64], seconds: f64) -> Music {
    let length = (seconds * f64::from(rate_hz)) as usize;
    let tone = |frequency_hz: &f64| {
        let step = TAU * frequency_hz / f64::from(rate_hz);
        (0..length)
            .map(|index| (0.4 * (step * index as f64).sin()) as f32)
            .collect()
    };
    Music {
        rate_hz,
        channels: frequencies_hz.iter().map(tone).collect(),
    }
}

/// The tones of a 0 and a 1 in [`numbered_seconds`], in Hz.
pub(crate) const BIT_TONES_HZ: [f64; 2] = [1_300.0, 2_500.0];
/// Where in each second the number begins, and how long each of its eight bits lasts, in samples at 48 kHz.
pub(crate) const BITS_AT: usize = 28_800;
pub(crate) const BIT_LENGTH: usize = 2_400;

/// Seconds that tell their number: 0.6 s of a rising chirp, then eight bits as tones. 48 kHz, both sides the same.
pub(crate) fn numbered_seconds(seconds: usize) -> Music {
    let mut samples = Vec::with_capacity(seconds * 48_000);
    for second in 0..seconds {
        let mut phase = 0.0_f64;
        for index in 0..48_000 {
            let frequency_hz = if index < BITS_AT {
                200.0 + 40.0 * second as f64 + 5_000.0 * index as f64 / BITS_AT as f64
            } else {
                BIT_TONES_HZ[(second >> ((index - BITS_AT) / BIT_LENGTH)) & 1]
            };
            samples.push((0.5 * phase.sin()) as f32);
            phase += TAU * frequency_hz / 48_000.0;
        }
    }
    Music {
        rate_hz: 48_000,
        channels: vec![samples.clone(), samples],
    }
}

impl Music {
    /// The WAV file of it, in memory.
    pub(crate) fn wav(&self) -> Vec<u8> {
        wav::bytes(self.rate_hz, &self.channels)
    }

    /// How many samples each channel has.
    pub(crate) fn len(&self) -> usize {
        self.channels[0].len()
    }

    /// Writes `path`: a WAV file as it is, any other format by ffmpeg with these `options`.
    pub(crate) fn save(&self, path: &Path, options: &[&str]) {
        if path.extension().is_some_and(|extension| extension == "wav") {
            fs::write(path, self.wav()).unwrap();
            return;
        }
        let source = path.with_extension("source.wav");
        fs::write(&source, self.wav()).unwrap();
        let mut command = Command::new("ffmpeg");
        command
            .args(["-nostdin", "-v", "error", "-y", "-i"])
            .arg(&source);
        crate::net::run(command.args(options).arg(path));
        fs::remove_file(&source).unwrap();
    }
}

/// The channels of any file at 48 kHz, decoded by ffmpeg.
pub(crate) fn decoded_by_ffmpeg(path: &Path, channels: usize) -> Vec<Vec<f32>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(path);
    let output = crate::net::run(command.args(["-f", "f32le", "-ar", "48000", "-"]));
    let samples: Vec<f32> = output
        .stdout
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let channel = |side: usize| samples[side..].iter().step_by(channels).copied().collect();
    (0..channels).map(channel).collect()
}
