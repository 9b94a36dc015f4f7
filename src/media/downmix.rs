//! How do one to eight channels become two? Mono on both sides, stereo as it is, surround by ITU-R BS.775.
//!
//! Centre and surrounds are added at −3 dB, the low-frequency channel is dropped (BS.775-3, annex 4), and the sum is
//! divided by the largest sum of coefficients of a side, so that it cannot clip.

use std::f32::consts::FRAC_1_SQRT_2;

use symphonia::core::audio::{Channels, Position};

use super::source_error::SourceError;

/// The most channels of an unknown layout that are guessed at.
pub const MAX_CHANNELS: usize = 8;

/// −3 dB.
const HALF: f32 = FRAC_1_SQRT_2;

/// What each channel of a source adds to left and right.
#[derive(Clone, Debug, PartialEq)]
pub struct Downmix {
    gains: Vec<[f32; 2]>,
}

impl Downmix {
    /// The mix for a layout of channels.
    ///
    /// # Errors
    /// No channel, more than [`MAX_CHANNELS`], or nothing but low-frequency channels.
    pub fn new(channels: &Channels) -> Result<Downmix, SourceError> {
        let count = channels.count();
        let gains: Vec<[f32; 2]> = match (channels, count) {
            (_, 1) => vec![[1.0, 1.0]],
            (_, 2) => vec![[1.0, 0.0], [0.0, 1.0]],
            (_, n) if !(1..=MAX_CHANNELS).contains(&n) => return Err(SourceError::Channels(n)),
            // The first component of an ambisonic set is the sound from everywhere.
            (Channels::Ambisonic(_), n) => (0..n)
                .map(|i| if i == 0 { [1.0, 1.0] } else { [0.0, 0.0] })
                .collect(),
            (Channels::Positioned(positions), _) => positions.iter().map(gains_of).collect(),
            (_, n) => usual_layout(n).iter().map(|&p| gains_of(p)).collect(),
        };
        Self::normalised(gains).ok_or(SourceError::Channels(count))
    }

    fn normalised(mut gains: Vec<[f32; 2]>) -> Option<Downmix> {
        let sum = |side: usize| gains.iter().map(|gain| gain[side]).sum::<f32>();
        let largest = sum(0).max(sum(1));
        if largest <= 0.0 {
            return None;
        }
        if largest > 1.0 {
            gains.iter_mut().flatten().for_each(|gain| *gain /= largest);
        }
        Some(Downmix { gains })
    }

    /// Channels that it mixes.
    pub fn channels(&self) -> usize {
        self.gains.len()
    }

    /// Whether the channels are left and right as they are.
    pub fn is_identity(&self) -> bool {
        self.gains == [[1.0, 0.0], [0.0, 1.0]]
    }

    /// Mixes planes (one per channel, equally long) into left and right, which are overwritten.
    pub fn mix(&self, planes: &[Vec<f32>], stereo: &mut [Vec<f32>; 2]) {
        debug_assert_eq!(planes.len(), self.gains.len());
        for (side, out) in stereo.iter_mut().enumerate() {
            out.clear();
            let frames = planes.first().map_or(0, Vec::len);
            let mut rest = planes
                .iter()
                .zip(&self.gains)
                .filter(|(_, g)| g[side] != 0.0);
            match rest.next() {
                Some((plane, gain)) if gain[side] == 1.0 => out.extend_from_slice(plane),
                Some((plane, gain)) => out.extend(plane.iter().map(|x| x * gain[side])),
                None => out.resize(frames, 0.0),
            }
            for (plane, gain) in rest {
                let gain = gain[side];
                out.iter_mut()
                    .zip(plane)
                    .for_each(|(sum, x)| *sum += gain * x);
            }
        }
    }
}

fn gains_of(position: Position) -> [f32; 2] {
    match position {
        Position::FRONT_LEFT | Position::FRONT_LEFT_WIDE => [1.0, 0.0],
        Position::FRONT_RIGHT | Position::FRONT_RIGHT_WIDE => [0.0, 1.0],
        Position::FRONT_CENTER => [HALF, HALF],
        Position::LFE1 | Position::LFE2 => [0.0, 0.0],
        Position::REAR_LEFT
        | Position::SIDE_LEFT
        | Position::FRONT_LEFT_CENTER
        | Position::TOP_FRONT_LEFT
        | Position::TOP_REAR_LEFT
        | Position::TOP_SIDE_LEFT
        | Position::BOTTOM_FRONT_LEFT => [HALF, 0.0],
        Position::REAR_RIGHT
        | Position::SIDE_RIGHT
        | Position::FRONT_RIGHT_CENTER
        | Position::TOP_FRONT_RIGHT
        | Position::TOP_REAR_RIGHT
        | Position::TOP_SIDE_RIGHT
        | Position::BOTTOM_FRONT_RIGHT => [0.0, HALF],
        // A single surround is shared by both sides (BS.775, table 2: 0.5).
        _ => [HALF * HALF, HALF * HALF],
    }
}

/// The order that files of `count` channels without a layout usually have (WAVE's, which SMPTE shares up to 5.1).
fn usual_layout(count: usize) -> &'static [Position] {
    const L: Position = Position::FRONT_LEFT;
    const R: Position = Position::FRONT_RIGHT;
    const C: Position = Position::FRONT_CENTER;
    const LFE: Position = Position::LFE1;
    const RL: Position = Position::REAR_LEFT;
    const RR: Position = Position::REAR_RIGHT;
    const RC: Position = Position::REAR_CENTER;
    const SL: Position = Position::SIDE_LEFT;
    const SR: Position = Position::SIDE_RIGHT;
    match count {
        3 => &[L, R, C],
        4 => &[L, R, RL, RR],
        5 => &[L, R, C, RL, RR],
        6 => &[L, R, C, LFE, RL, RR],
        7 => &[L, R, C, LFE, RC, SL, SR],
        _ => &[L, R, C, LFE, RL, RR, SL, SR],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: &Channels, frame: &[f32]) -> [f32; 2] {
        let planes: Vec<Vec<f32>> = frame.iter().map(|&x| vec![x]).collect();
        let mut stereo = [vec![], vec![9.0; 7]];
        let mix = Downmix::new(channels).expect("a layout that can be mixed");
        mix.mix(&planes, &mut stereo);
        assert_eq!((stereo[0].len(), stereo[1].len()), (1, 1));
        [stereo[0][0], stereo[1][0]]
    }

    fn five_one() -> Channels {
        Channels::Positioned(Position::from_wave_channel_mask(0x3F).expect("5.1"))
    }

    #[test]
    fn mono_goes_to_both_sides_unchanged_and_stereo_stays() {
        assert_eq!(mixed(&Channels::Discrete(1), &[0.3]), [0.3, 0.3]);
        assert_eq!(
            mixed(&Channels::Positioned(Position::FRONT_LEFT), &[0.3]),
            [0.3, 0.3]
        );
        assert_eq!(mixed(&Channels::Discrete(2), &[0.3, -0.4]), [0.3, -0.4]);
    }

    #[test]
    fn five_one_is_mixed_by_bs775_without_lfe() {
        let scale = 1.0 / (1.0 + 2.0 * FRAC_1_SQRT_2);
        let table: &[([f32; 6], [f32; 2])] = &[
            ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [scale, 0.0]),
            ([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, scale]),
            ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [scale * HALF, scale * HALF]),
            ([0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0]),
            ([0.0, 0.0, 0.0, 0.0, 1.0, 0.0], [scale * HALF, 0.0]),
            ([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, scale * HALF]),
        ];
        for (frame, expected) in table {
            for layout in [five_one(), Channels::Discrete(6)] {
                let got = mixed(&layout, frame);
                for side in 0..2 {
                    assert!(
                        (got[side] - expected[side]).abs() < 1e-6,
                        "{frame:?}: {got:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_layout_clips_at_full_scale() {
        for mask in 1u32..1 << 18 {
            if !(3..=8).contains(&mask.count_ones()) || mask % 7 != 0 {
                continue;
            }
            let layout =
                Channels::Positioned(Position::from_wave_channel_mask(mask).expect("mask"));
            let Ok(mix) = Downmix::new(&layout) else {
                continue;
            };
            for side in 0..2 {
                let sum: f32 = mix.gains.iter().map(|gain| gain[side]).sum();
                assert!(sum <= 1.0 + 1e-6, "mask {mask:#x}: {sum}");
            }
        }
        for count in 3..=8 {
            assert!(
                mixed(&Channels::Discrete(count), &vec![1.0; usize::from(count)])[0] <= 1.000_001
            );
        }
    }

    #[test]
    fn no_channel_too_many_channels_and_bass_alone_are_refused() {
        for (layout, count) in [
            (Channels::None, 0),
            (Channels::Discrete(9), 9),
            (Channels::Discrete(u16::MAX), 65535),
        ] {
            let refused = Downmix::new(&layout);
            assert!(matches!(refused, Err(SourceError::Channels(n)) if n == count));
        }
    }
}
