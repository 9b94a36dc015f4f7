//! Music to encode, made here: plucked strings, each channel with its own melody, so that no two can be exchanged or added
//! up unnoticed. Nothing above 0.4 of the rate, where resamplers differ by taste.

use std::f64::consts::TAU;

/// Where the channels of a file stand, and what each adds to left and right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    /// As ffmpeg calls it.
    pub(crate) name: &'static str,
    /// WAVE's channel mask; the channels come in the order of its bits.
    pub(crate) mask: u32,
}

pub(crate) const MONO: Layout = layout("mono", 0x4);
pub(crate) const STEREO: Layout = layout("stereo", 0x3);
pub(crate) const THREE: Layout = layout("3.0", 0x7);
pub(crate) const QUAD: Layout = layout("quad", 0x33);
pub(crate) const FOUR: Layout = layout("4.0", 0x107);
pub(crate) const FIVE: Layout = layout("5.0", 0x37);
pub(crate) const FIVE_ONE: Layout = layout("5.1", 0x3F);
pub(crate) const SEVEN_ONE: Layout = layout("7.1", 0x63F);

const fn layout(name: &'static str, mask: u32) -> Layout {
    Layout { name, mask }
}

impl Layout {
    pub(crate) fn channels(self) -> usize {
        self.mask.count_ones() as usize
    }

    /// Left and right of one sample of each channel: BS.775, the low-frequency channel left out, turned down as a whole so
    /// that nothing clips.
    pub(crate) fn to_stereo(self, channels: &[Vec<f32>]) -> [Vec<f32>; 2] {
        assert_eq!(channels.len(), self.channels());
        if let [mono] = channels {
            return [mono.clone(), mono.clone()];
        }
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let gain = |bit: u32| match bit {
            0 => [1.0, 0.0],
            1 => [0.0, 1.0],
            2 => [half, half],
            3 => [0.0, 0.0],
            4 | 9 => [half, 0.0],
            5 | 10 => [0.0, half],
            8 => [0.5, 0.5],
            _ => unreachable!("no layout here has such a channel"),
        };
        let gains: Vec<[f32; 2]> = (0..32)
            .filter(|bit| self.mask >> bit & 1 == 1)
            .map(gain)
            .collect();
        let sum = |side: usize| gains.iter().map(|gain| gain[side]).sum::<f32>();
        let scale = 1.0 / sum(0).max(sum(1)).max(1.0);
        [0, 1].map(|side| {
            let mixed = |index: usize| {
                let parts = channels.iter().zip(&gains);
                scale * parts.map(|(c, gain)| gain[side] * c[index]).sum::<f32>()
            };
            (0..channels[0].len()).map(mixed).collect()
        })
    }
}

/// A piece of `seconds`, a list of samples for each channel, at most 0.7 loud.
pub(crate) fn piece(rate_hz: u32, channels: usize, seconds: f64) -> Vec<Vec<f32>> {
    (1..=channels as u64)
        .map(|seed| melody(rate_hz, seconds, seed))
        .collect()
}

fn melody(rate_hz: u32, seconds: f64, seed: u64) -> Vec<f32> {
    const SCALE: [f64; 8] = [0.0, 2.0, 4.0, 7.0, 9.0, 12.0, 14.0, 16.0];
    let rate = f64::from(rate_hz);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut samples = vec![0.0; (seconds * rate) as usize];
    let mut start_s = 0.0;
    while start_s < seconds {
        let step = SCALE[dice.below(8)] + (seed % 3) as f64 * 5.0;
        pluck(
            &mut samples[(start_s * rate) as usize..],
            110.0 * (step / 12.0).exp2(),
            rate,
        );
        start_s += 0.15 + 0.02 * dice.below(6) as f64;
    }
    let peak = samples.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    samples.iter_mut().for_each(|x| *x *= 0.7 / peak);
    samples
}

/// Adds one plucked string: its partials fade the faster the higher they are.
fn pluck(samples: &mut [f32], pitch_hz: f64, rate: f64) {
    for partial in 1..=16 {
        let frequency_hz = pitch_hz * f64::from(partial * partial.min(4));
        if frequency_hz > 0.4 * rate.min(40_000.0) {
            return;
        }
        let (sin, cos) = (TAU * frequency_hz / rate).sin_cos();
        let fade = (-(3.0 + f64::from(partial)) / rate).exp();
        let (mut x, mut y) = (1.0 / f64::from(partial), 0.0);
        for sample in samples.iter_mut().take((0.8 * rate) as usize) {
            *sample += y as f32;
            (x, y) = (fade * (x * cos - y * sin), fade * (x * sin + y * cos));
        }
    }
}

/// A small generator (xorshift): the same numbers in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 11) % limit as u64) as usize
    }
}

/// A WAV file of 32-bit floats which says where its channels stand.
pub(crate) fn wav(rate_hz: u32, layout: Layout, channels: &[Vec<f32>]) -> Vec<u8> {
    let block = 4 * channels.len() as u32;
    let data = block * channels[0].len() as u32;
    let mut out = b"RIFF".to_vec();
    out.extend((60 + data).to_le_bytes());
    out.extend(b"WAVEfmt \x28\0\0\0\xFE\xFF");
    out.extend((channels.len() as u16).to_le_bytes());
    out.extend(rate_hz.to_le_bytes());
    out.extend((rate_hz * block).to_le_bytes());
    out.extend((block as u16).to_le_bytes());
    out.extend(b"\x20\0\x16\0\x20\0");
    out.extend(layout.mask.to_le_bytes());
    out.extend(b"\x03\0\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71data");
    out.extend(data.to_le_bytes());
    for index in 0..channels[0].len() {
        for channel in channels {
            out.extend(channel[index].to_le_bytes());
        }
    }
    out
}
