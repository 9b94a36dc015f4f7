//! How far apart do two loudspeakers sound? Measured in one recording that has the one on the left and the other on the right.
//!
//! What anybody can do who wants to know whether two rooms are in step: two microphones, or two line outputs, into one stereo
//! recorder, which has one clock. [`Apart::of`] compares the sides second by second. The peak of the correlation says how far
//! the right one is behind; music is thinned out and searched widely first, then closely, then between samples by a parabola. Its
//! differences are compared, not its samples: bass is loud and says little about time. Where several delays explain a second as
//! well (a held tone, silence, another room's sound), nothing is said about it.

use super::SAMPLE_RATE;

/// What is compared at a time: a second.
pub const WINDOW: usize = SAMPLE_RATE as usize;
/// How far apart the sides may be, in samples: 100 ms, which is an echo to anybody.
pub const REACH: usize = SAMPLE_RATE as usize / 10;

/// Every so many samples are one in the wide search; must divide [`WINDOW`] and [`REACH`].
const THIN: usize = 4;
/// Around the best place of the wide search, in samples.
const NEAR: i64 = 2 * THIN as i64;
/// Below this the two sides are not the same sound.
const ALIKE: f64 = 0.5;
/// Another place that explains as much of it as this leaves it open which is meant.
const AMBIGUOUS: f64 = 0.9;
/// Places nearer than this, in thinned samples, are the same one: 1 ms.
const SAME: usize = SAMPLE_RATE as usize / 1_000 / THIN;
/// Below this (mean square of the differences) there is no sound.
const SILENT: f64 = 1e-10;

/// How far apart two sides are in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apart {
    /// How far the right side is behind the left one, in microseconds.
    pub behind_us: f64,
    /// How much of the sound that explains: 1 is all of it.
    pub likeness: f64,
}

impl Apart {
    /// For each whole window of a recording, how far apart its sides are, if that can be said. The first and the last 100 ms have
    /// no neighbours to be compared with, and belong to no window.
    #[must_use]
    pub fn of(left: &[f32], right: &[f32]) -> Vec<Option<Apart>> {
        let (left, right) = (differences(left), differences(right));
        let (left_thin, right_thin) = (thinned(&left), thinned(&right));
        let end = left.len().min(right.len()).saturating_sub(REACH);
        let starts = (REACH..)
            .step_by(WINDOW)
            .take_while(|start| start + WINDOW <= end);
        let measure = |start: usize| {
            let coarse = wide(&left_thin, &right_thin, start / THIN)?;
            near(&left, &right, start, coarse)
        };
        starts.map(measure).collect()
    }
}

/// Half of the windows, 95 of 100, and all of them are not further apart than this, in microseconds; none if nothing could be said.
#[must_use]
pub fn summary(windows: &[Option<Apart>]) -> Option<[f64; 3]> {
    let mut sizes: Vec<f64> = windows
        .iter()
        .flatten()
        .map(|apart| apart.behind_us.abs())
        .collect();
    sizes.sort_by(f64::total_cmp);
    let last = sizes.len().checked_sub(1)?;
    Some(
        [50, 95, 100]
            .map(|percent| sizes[(sizes.len() * percent).div_ceil(100).clamp(1, last + 1) - 1]),
    )
}

fn differences(sound: &[f32]) -> Vec<f32> {
    sound.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Means of neighbours: a low pass that is good enough to find a place.
fn thinned(sound: &[f32]) -> Vec<f32> {
    sound
        .chunks_exact(THIN)
        .map(|group| group.iter().sum())
        .collect()
}

/// The delay of the right side in samples, to the nearest few; none if it is open.
fn wide(left: &[f32], right: &[f32], start: usize) -> Option<i64> {
    let reach = REACH / THIN;
    let window = left.get(start..start + WINDOW / THIN)?;
    let likenesses: Vec<f64> = (0..=2 * reach)
        .map(|shift| likeness(window, right, start + shift - reach))
        .collect();
    let best = (0..likenesses.len()).max_by(|a, b| likenesses[*a].total_cmp(&likenesses[*b]))?;
    let rival = likenesses
        .iter()
        .enumerate()
        .filter(|(place, _)| place.abs_diff(best) > SAME);
    let rival = rival.map(|(_, likeness)| *likeness).fold(0.0, f64::max);
    let is_clear = likenesses[best] >= ALIKE && rival < AMBIGUOUS * likenesses[best];
    is_clear.then_some((best as i64 - reach as i64) * THIN as i64)
}

/// The delay around `coarse`, between samples.
fn near(left: &[f32], right: &[f32], start: usize, coarse: i64) -> Option<Apart> {
    let window = left.get(start..start + WINDOW)?;
    let delays: Vec<i64> = (coarse - NEAR..=coarse + NEAR).collect();
    let at = |delay: &i64| match usize::try_from(start as i64 + delay) {
        Ok(place) => likeness(window, right, place),
        Err(_) => 0.0,
    };
    let values: Vec<f64> = delays.iter().map(at).collect();
    let best = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))?;
    if values[best] < ALIKE || best == 0 || best + 1 == values.len() {
        return None;
    }
    let (before, after) = (values[best - 1], values[best + 1]);
    let bend = before - 2.0 * values[best] + after;
    let between = if bend < 0.0 {
        0.5 * (before - after) / bend
    } else {
        0.0
    };
    Some(Apart {
        behind_us: (delays[best] as f64 + between) * 1e6 / f64::from(SAMPLE_RATE),
        likeness: values[best],
    })
}

/// The correlation of `window` with what `sound` has at `place`, between −1 and 1.
fn likeness(window: &[f32], sound: &[f32], place: usize) -> f64 {
    let Some(part) = sound.get(place..place + window.len()) else {
        return 0.0;
    };
    let (mut product, mut ours, mut theirs) = (0.0_f64, 0.0_f64, 0.0_f64);
    // Sums of many small numbers: in single precision by blocks, in double over them.
    for (a, b) in window.chunks(64).zip(part.chunks(64)) {
        let sum = |terms: &dyn Fn(f32, f32) -> f32| -> f64 {
            f64::from(a.iter().zip(b).map(|(a, b)| terms(*a, *b)).sum::<f32>())
        };
        product += sum(&|a, b| a * b);
        ours += sum(&|a, _| a * a);
        theirs += sum(&|_, b| b * b);
    }
    if ours.min(theirs) < SILENT * window.len() as f64 {
        return 0.0;
    }
    product / (ours * theirs).sqrt()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// Plucked chords that change all the time, with some noise, `late` samples behind: two windows of them.
    fn music(late: f64, noise: f64, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut dice = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 23) - 1.0
        };
        let rate = f64::from(SAMPLE_RATE);
        let value = |k: usize| {
            let at = (k as f64 - late) / rate;
            let beat = (at * 7.0).floor();
            let since = at - beat / 7.0;
            let pitch =
                |voice: f64| 180.0 + 60.0 * ((beat + 31.0) * (voice + 1.7)).rem_euclid(19.0);
            let voices = [0.0, 1.0, 2.0].map(|voice| (TAU * pitch(voice) * at).sin());
            0.1 * voices.iter().sum::<f64>() * (-since * 12.0).exp()
        };
        (0..2 * WINDOW + 2 * REACH + 1)
            .map(|k| (value(k) + noise * dice()) as f32)
            .collect()
    }

    #[test]
    fn delay_of_either_side_is_known_to_a_few_microseconds() {
        for late in [0.0, 13.4, -481.25, 4_321.5] {
            let measured = Apart::of(&music(0.0, 0.0, 1), &music(late, 0.0, 1));
            assert_eq!(measured.len(), 2);
            for apart in measured {
                let off_us = apart.unwrap().behind_us - late / 0.048;
                assert!(off_us.abs() < 5.0, "{off_us} us at {late}");
            }
        }
    }

    #[test]
    fn quieter_side_in_a_noisy_room_is_measured_and_says_how_alike_it_is() {
        let quiet: Vec<f32> = music(100.0, 0.003, 5).iter().map(|x| 0.2 * x).collect();
        let [first, _] = Apart::of(&music(0.0, 0.003, 9), &quiet)[..] else {
            panic!("two windows")
        };
        let first = first.unwrap();
        assert!((first.behind_us - 100.0 / 0.048).abs() < 30.0, "{first:?}");
        assert!((0.5..0.99).contains(&first.likeness), "{first:?}");
    }

    #[test]
    fn silence_a_held_tone_and_another_sound_say_nothing() {
        let tone: Vec<f32> = (0..2 * WINDOW + 2 * REACH + 1)
            .map(|k| (TAU * 440.0 * k as f64 / f64::from(SAMPLE_RATE)).sin() as f32)
            .collect();
        assert_eq!(Apart::of(&tone, &tone), [None, None]);
        let silence = vec![0.0; tone.len()];
        assert_eq!(Apart::of(&silence, &music(0.0, 0.0, 1)), [None, None]);
        let hiss = |seed| music(1e9, 0.1, seed);
        assert_eq!(Apart::of(&hiss(1), &hiss(2)), [None, None]);
        assert!(Apart::of(&tone[..WINDOW], &tone[..WINDOW]).is_empty());
    }

    #[test]
    fn summary_counts_what_could_be_said() {
        let apart = |behind_us| {
            Some(Apart {
                behind_us,
                likeness: 1.0,
            })
        };
        let mut windows: Vec<_> = (1..=100).map(|us| apart(-f64::from(us))).collect();
        windows.push(None);
        assert_eq!(summary(&windows), Some([50.0, 95.0, 100.0]));
        assert_eq!(summary(&[None]), None);
    }
}
