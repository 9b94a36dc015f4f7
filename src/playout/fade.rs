//! How loud is a block that is made up?
//!
//! libopus extrapolates a missing frame well for a few frames and then goes on humming: it does not fade in 800 ms (FACTS). So
//! the first 60 ms of a hole are played as the decoder makes them, the next 60 ms fade out along a raised cosine, and then there is
//! silence, without asking the decoder. Samples are interleaved stereo at 48 kHz.

use std::f32::consts::PI;

/// Concealed frames at full volume.
const FULL: u64 = 3;
/// Concealed frames that fade to silence after them.
const FADING: u64 = 3;
/// From this many concealed frames on, the last sample heard was silence.
pub(super) const SILENT_AFTER: u64 = FULL + FADING;
/// Samples of one channel in a frame.
const FRAME_SAMPLES: u64 = 960;
/// Samples of one channel in 5 ms.
const FADE_SAMPLES: usize = 240;
const CHANNELS: usize = 2;

/// What to play in place of a missing frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Concealment {
    /// The decoder's extrapolation (`decode` of an empty packet), then [`Concealment::apply`].
    Extrapolate {
        /// Gain at the block's first sample; 1 is unchanged.
        from_gain: f32,
        /// Gain after its last sample.
        to_gain: f32,
    },
    /// A block of zeros; the decoder is not asked.
    Silence,
}

impl Concealment {
    /// What to play when `before` frames right before this one were concealed too.
    pub fn after(before: u64) -> Concealment {
        Concealment::within(before.saturating_mul(FRAME_SAMPLES), FRAME_SAMPLES)
    }

    /// The same for a piece of `samples` samples, `before` samples into a hole. A piece must not reach over a multiple of a
    /// frame: the fade is a curve between such points.
    pub fn within(before: u64, samples: u64) -> Concealment {
        debug_assert!(before % FRAME_SAMPLES + samples <= FRAME_SAMPLES);
        if before >= SILENT_AFTER * FRAME_SAMPLES {
            return Concealment::Silence;
        }
        Concealment::Extrapolate {
            from_gain: gain(before),
            to_gain: gain(before + samples),
        }
    }

    /// Whether its last sample is silence: the block after it must fade in.
    pub fn ends_in_silence(self) -> bool {
        match self {
            Concealment::Silence => true,
            Concealment::Extrapolate { to_gain, .. } => to_gain < 1e-6,
        }
    }

    /// Brings a block to its volume: the decoder's extrapolation, or (silence) whatever was in it.
    pub fn apply(self, block: &mut [f32]) {
        match self {
            Concealment::Silence => block.fill(0.0),
            Concealment::Extrapolate {
                from_gain: 1.0,
                to_gain: 1.0,
            } => {}
            Concealment::Extrapolate { from_gain, to_gain } => ramp(block, from_gain, to_gain),
        }
    }
}

/// How loud the sample is that lies this many samples behind the beginning of a hole.
fn gain(samples: u64) -> f32 {
    let faded = samples.saturating_sub(FULL * FRAME_SAMPLES) as f32;
    0.5 + 0.5 * (PI * faded / (FADING * FRAME_SAMPLES) as f32).cos()
}

/// Fades the first 5 ms of a block in: what follows silence must not begin with a click.
pub fn fade_in_5ms(block: &mut [f32]) {
    let samples = block.len().min(FADE_SAMPLES * CHANNELS);
    ramp(&mut block[..samples], 0.0, 1.0);
}

/// Fades the last 5 ms of a block out: nothing comes after it.
pub fn fade_out_5ms(block: &mut [f32]) {
    let start = block.len().saturating_sub(FADE_SAMPLES * CHANNELS);
    ramp(&mut block[start..], 1.0, 0.0);
}

/// Fades the first 5 ms of a block out and silences the rest: it is left out, and what was before it must not end with a click.
pub fn fade_out_at_once(block: &mut [f32]) {
    let samples = block.len().min(FADE_SAMPLES * CHANNELS);
    ramp(&mut block[..samples], 1.0, 0.0);
    block[samples..].fill(0.0);
}

/// Multiplies by a raised cosine that passes through `from` before the first sample and reaches `to` after the last one.
fn ramp(block: &mut [f32], from: f32, to: f32) {
    let phase = |gain: f32| (2.0 * gain.clamp(0.0, 1.0) - 1.0).acos();
    let (start, end) = (phase(from), phase(to));
    let samples = (block.len() / CHANNELS).max(1) as f32;
    for (k, sample) in block.chunks_mut(CHANNELS).enumerate() {
        let gain = 0.5 + 0.5 * (start + (end - start) * (k as f32 + 0.5) / samples).cos();
        sample.iter_mut().for_each(|value| *value *= gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concealment_is_full_for_60_ms_and_silent_from_120_ms() {
        let gains: Vec<_> = (0..8)
            .map(|before| match Concealment::after(before) {
                Concealment::Extrapolate { from_gain, to_gain } => (from_gain, to_gain),
                Concealment::Silence => (0.0, 0.0),
            })
            .collect();
        let expected = [
            (1.0, 1.0),
            (1.0, 1.0),
            (1.0, 1.0),
            (1.0, 0.75),
            (0.75, 0.25),
            (0.25, 0.0),
            (0.0, 0.0),
            (0.0, 0.0),
        ];
        for (got, want) in gains.iter().zip(expected) {
            assert!(
                (got.0 - want.0).abs() < 1e-6 && (got.1 - want.1).abs() < 1e-6,
                "{gains:?}"
            );
        }
        assert_eq!(Concealment::after(5 + FULL), Concealment::Silence);
        let silent = |before| Concealment::after(before).ends_in_silence();
        assert_eq!(
            (0..8).find(|before| silent(*before)),
            Some(SILENT_AFTER - 1)
        );
    }

    #[test]
    fn a_hole_fades_without_a_step() {
        let mut sound = Vec::new();
        for before in 0..8 {
            let mut block = vec![1.0; 1920];
            Concealment::after(before).apply(&mut block);
            sound.extend(block);
        }
        assert!(sound[..1920 * 3].iter().all(|sample| *sample == 1.0));
        assert!(sound[1920 * 6..].iter().all(|sample| *sample == 0.0));
        let left: Vec<f32> = sound.iter().step_by(2).copied().collect();
        assert!(
            left.windows(2)
                .all(|pair| pair[1] <= pair[0] && pair[0] - pair[1] < 0.001)
        );
    }

    #[test]
    fn a_hole_in_pieces_sounds_like_a_hole_in_frames() {
        let heard = |piece: u64| {
            let mut sound = Vec::new();
            for before in (0..8 * 960).step_by(piece as usize) {
                let mut block = vec![1.0; 2 * piece as usize];
                Concealment::within(before, piece).apply(&mut block);
                sound.extend(block);
            }
            sound
        };
        let frames = heard(960);
        for piece in [120, 240, 480] {
            let pairs = frames.iter().zip(heard(piece));
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn fades_touch_5_ms_only() {
        let mut block = vec![1.0; 1920];
        fade_in_5ms(&mut block);
        assert!(block[0] < 0.001 && block[1] == block[0] && block[478] > 0.999);
        assert!(block[480..].iter().all(|sample| *sample == 1.0));
        fade_out_5ms(&mut block[480..]);
        assert!(block[480..1440].iter().all(|sample| *sample == 1.0));
        assert!(block[1918] < 0.001 && block[1440] > 0.999);
        fade_in_5ms(&mut []);
        fade_out_5ms(&mut [0.5]);
    }
}
