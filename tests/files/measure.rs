//! How close is one sound to another? Energy of the reference over the energy of the difference, in dB.

/// Samples at both ends that are not judged: resamplers differ in what they take to be there before and after a sound.
const EDGE: usize = 1_000;

/// What is wrong with `heard` is measured at the delay, from 0 to `max_delay` samples, at which it fits best. The worse of
/// both sides counts. Returns dB and the delay.
pub(crate) fn snr_db(
    reference: &[Vec<f32>; 2],
    heard: &[Vec<f32>; 2],
    max_delay: usize,
) -> (f64, usize) {
    let at = |delay: usize| {
        let sides = [0, 1].map(|side| snr_of_side(&reference[side], &heard[side], delay));
        sides[0].min(sides[1])
    };
    let best = (0..=max_delay).map(|delay| (at(delay), delay));
    best.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn snr_of_side(reference: &[f32], heard: &[f32], delay: usize) -> f64 {
    let heard = heard.get(delay..).unwrap_or_default();
    let both = reference.len().min(heard.len());
    if both < 4 * EDGE {
        return f64::MIN;
    }
    let (mut signal, mut noise) = (0.0, 1e-20);
    for index in EDGE..both - EDGE {
        let (ideal, got) = (f64::from(reference[index]), f64::from(heard[index]));
        signal += ideal * ideal;
        noise += (got - ideal) * (got - ideal);
    }
    10.0 * (signal.max(1e-20) / noise).log10()
}

/// Left and right of interleaved samples.
pub(crate) fn sides(interleaved: &[f32]) -> [Vec<f32>; 2] {
    [0, 1].map(|side| interleaved.iter().skip(side).step_by(2).copied().collect())
}

#[test]
fn what_is_shifted_swapped_or_turned_down_is_found() {
    let [left, right] = <[Vec<f32>; 2]>::try_from(crate::music::piece(48_000, 2, 0.5)).unwrap();
    let reference = [left.clone(), right.clone()];
    assert!(snr_db(&reference, &reference, 0).0 > 150.0);
    let late = [&left, &right].map(|side| [&[0.0; 7], &side[..]].concat());
    assert!(snr_db(&reference, &late, 0).0 < 25.0);
    assert_eq!(snr_db(&reference, &late, 10).1, 7);
    assert!(snr_db(&reference, &[right.clone(), left.clone()], 100).0 < 3.0);
    let quiet = [&left, &right].map(|side| side.iter().map(|x| 0.9 * x).collect());
    assert!(snr_db(&reference, &quiet, 0).0 < 21.0);
    let mono = [left.clone(), left];
    assert!(snr_db(&reference, &mono, 0).0 < 3.0);
}
