//! What should the listeners have played? The captured packets, decoded straight with libopus.
//!
//! No jitter buffer, no clock, no concealment: frame after frame into one decoder, a fresh one at each track's start.

use std::collections::BTreeSet;

use opus::{Channels, Decoder};

use crate::capture::Frame;
use crate::wav::Block;

/// The blocks of `frames`, in their order.
pub(crate) fn decode(frames: &[Frame]) -> Vec<Block> {
    let mut decoder = Decoder::new(48_000, Channels::Stereo).unwrap();
    let mut blocks = Vec::with_capacity(frames.len());
    for frame in frames {
        let mut samples = [0.0_f32; 1920];
        let decoded = decoder
            .decode_float(&frame.opus, &mut samples, false)
            .unwrap();
        assert_eq!(decoded, 960, "each packet holds 20 ms");
        blocks.push(samples.map(to_integer));
        if frame.is_last_of_track() {
            decoder = Decoder::new(48_000, Channels::Stereo).unwrap();
        }
    }
    blocks
}

/// The contract of `file:`: × 32768, rounded to even, clamped.
fn to_integer(sample: f32) -> i16 {
    (sample * 32_768.0)
        .round_ties_even()
        .clamp(-32_768.0, 32_767.0) as i16
}

/// How far each frame is behind the first one, by sequence number; wraps are followed, order need not be kept.
pub(crate) fn offsets(frames: &[Frame]) -> Vec<i64> {
    let mut newest = 0_i64;
    let mut offsets = Vec::with_capacity(frames.len());
    for frame in frames {
        let first = frames[0].seq;
        let expected = first.wrapping_add(newest as u16);
        let step = i64::from(frame.seq.wrapping_sub(expected) as i16);
        let offset = newest + step;
        newest = newest.max(offset);
        offsets.push(offset);
    }
    offsets
}

/// The same as [`assert_one_timeline`], all of it sent by one leader.
pub(crate) fn assert_one_run(frames: &[Frame]) {
    assert_one_timeline(frames);
    assert_eq!(terms(frames).len(), 1, "one term: {:?}", terms(frames));
}

/// The terms of these frames in the order in which they came, each with its first frame.
pub(crate) fn terms(frames: &[Frame]) -> Vec<(usize, (u32, u32))> {
    let mut terms: Vec<(usize, (u32, u32))> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let term = (frame.term_counter, frame.leader);
        if terms.last().is_none_or(|(_, last)| *last != term) {
            terms.push((index, term));
        }
    }
    terms
}

/// Panics unless `frames` are one station's frames, one after the other, with nothing missing and nothing twice, on
/// one timeline of one run: the marker on the first only, the timestamp 960 further each time, one source.
pub(crate) fn assert_one_timeline(frames: &[Frame]) {
    let first = frames.first().expect("some frames");
    assert!(first.marker, "the first frame of a run carries the marker");
    for (index, pair) in frames.windows(2).enumerate() {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(
            after.seq,
            before.seq.wrapping_add(1),
            "sequence at frame {}",
            index + 1
        );
        assert_eq!(
            after.ts,
            before.ts.wrapping_add(960),
            "timestamp at frame {}",
            index + 1
        );
        assert!(
            !after.marker,
            "a marker in the middle of a run, frame {}",
            index + 1
        );
        assert_eq!(after.ssrc, first.ssrc, "source at frame {}", index + 1);
    }
}

/// Panics unless bits 16 and up of the index in each header agree with a count from `first`.
pub(crate) fn assert_high_bits(frames: &[Frame], first: u64) {
    for (index, offset) in offsets(frames).into_iter().enumerate() {
        let n = first.checked_add_signed(offset).unwrap();
        assert_eq!(
            u64::from(frames[index].n_high),
            n >> 16,
            "high bits of frame {n}"
        );
    }
}

/// How many frames a 48 kHz source of `samples` samples makes: the padding flushes the encoder's 312 samples.
pub(crate) fn frames_of(samples: usize) -> usize {
    if samples < 960 {
        1
    } else {
        (samples + 312).div_ceil(960)
    }
}

/// Panics, naming the places, unless the two are the same sound.
pub(crate) fn assert_same(heard: &[Block], expected: &[Block], whose: &str) {
    let wrong = different(heard, expected);
    assert!(
        wrong.is_empty() && heard.len() == expected.len(),
        "{whose}: {} blocks heard, {} expected, {} differ: {:?}",
        heard.len(),
        expected.len(),
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

/// The blocks that are not the same in both, as far as both reach.
pub(crate) fn different(heard: &[Block], expected: &[Block]) -> Vec<usize> {
    let pairs = heard.iter().zip(expected).enumerate();
    pairs
        .filter(|(_, (heard, expected))| heard != expected)
        .map(|(index, _)| index)
        .collect()
}

/// Panics unless `heard` is `expected` everywhere but in the holes and the three frames after each of them. Returns how
/// many of the missing blocks sound different, as they must.
pub(crate) fn assert_same_around_holes(
    heard: &[Block],
    expected: &[Block],
    holes: &BTreeSet<usize>,
    whose: &str,
) -> usize {
    assert_eq!(heard.len(), expected.len(), "{whose}: blocks");
    let excused =
        |index: usize| (index.saturating_sub(3)..=index).any(|hole| holes.contains(&hole));
    let wrong = different(heard, expected);
    let strays: Vec<_> = wrong.iter().filter(|index| !excused(**index)).collect();
    assert!(
        strays.is_empty(),
        "{whose}: blocks {strays:?} differ, the holes are {holes:?}"
    );
    wrong.iter().filter(|index| holes.contains(index)).count()
}
