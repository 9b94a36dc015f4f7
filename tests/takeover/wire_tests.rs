//! Can the judge of the wire be trusted? It must find each fault in a capture that was made up.

use std::net::{Ipv4Addr, SocketAddr};

use crate::capture::Frame;
use crate::stalls::Stall;
use crate::wire::{COVER, Expected, Trouble, Wire};

const MS: i64 = 1_000_000;
const TOTAL: usize = 200;
/// The leader dies right after frame 99.
const KILLED_NS: i64 = 1_990 * MS;

fn sender(host: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 77, 0, host), 40_000).into()
}

fn frame(index: usize, at_ms: i64, host: u8) -> Frame {
    Frame {
        at_ns: at_ms * MS,
        from: sender(host),
        marker: index == 0,
        // Both counters wrap on the way.
        seq: (65_480 + index) as u16,
        ts: 4_294_900_000_u32.wrapping_add(960 * index as u32),
        ssrc: 7,
        term_counter: 1,
        leader: 9,
        plan_digest: [1, 2, 3],
        flags: if host == 1 { 0 } else { COVER },
        n_high: 0,
        opus: payload(index),
    }
}

fn payload(index: usize) -> Vec<u8> {
    vec![index as u8; 9]
}

/// A takeover as it should be: host 1 to frame 99, then host 2, whose first two frames are late.
fn takeover() -> Vec<Frame> {
    let at_ms = |index: usize| match index {
        100 => 2_026,
        101 => 2_027,
        _ => 20 * index as i64 + if index > 101 { 6 } else { 0 },
    };
    (0..TOTAL)
        .map(|index| frame(index, at_ms(index), if index < 100 { 1 } else { 2 }))
        .collect()
}

/// Adds a packet where it belongs in time.
fn with(mut frames: Vec<Frame>, more: Frame) -> Vec<Frame> {
    let at = frames.partition_point(|frame| frame.at_ns <= more.at_ns);
    frames.insert(at, more);
    frames
}

fn complaints_with(frames: Vec<Frame>, stalls: &[Stall]) -> Vec<String> {
    let payloads: Vec<_> = (0..TOTAL).map(payload).collect();
    let expected = Expected {
        payloads: payloads.iter().map(Vec::as_slice).collect(),
        troubles: vec![Trouble::loss(KILLED_NS)],
        one_sender_from_ns: Some(KILLED_NS + 1_000 * MS),
        ..Expected::default()
    };
    Wire::of(frames).complaints(&expected, stalls)
}

/// The one complaint about `frames` has these words in it.
fn assert_one_complaint(frames: Vec<Frame>, words: &str) {
    let complaints = complaints_with(frames, &[]);
    assert!(
        complaints.len() == 1 && complaints[0].contains(words),
        "{words:?} is expected: {complaints:?}"
    );
}

#[test]
fn judge_accepts_a_clean_takeover_and_three_repeats_around_it() {
    assert_eq!(complaints_with(takeover(), &[]), Vec::<String>::new());
    let repeated = [97, 98, 99].into_iter().fold(takeover(), |frames, index| {
        with(frames, frame(index, 2_030, 3))
    });
    assert_eq!(complaints_with(repeated, &[]), Vec::<String>::new());
}

#[test]
fn judge_finds_a_hole_and_a_missing_end() {
    let mut holed = takeover();
    holed.remove(103);
    assert_one_complaint(holed, "never sent: [103]");
    let mut short = takeover();
    short.pop();
    assert_one_complaint(short, "199 frames of 200");
    assert_one_complaint(Vec::new(), "no frames");
}

#[test]
fn judge_finds_a_fourth_repeat_around_the_kill_and_one_elsewhere() {
    let four = (97..101).fold(takeover(), |frames, index| {
        with(frames, frame(index, 2_030, 3))
    });
    assert_one_complaint(four, "4 repeats");
    let elsewhere = with(takeover(), frame(40, 805, 3));
    assert_one_complaint(elsewhere, "frame 40 again from 10.77.0.3");
}

#[test]
fn judge_excuses_a_repeat_in_a_stall_and_no_other() {
    let repeated = with(takeover(), frame(40, 850, 3));
    let stall = |from_ms: i64| Stall {
        from_ns: from_ms * MS,
        to_ns: (from_ms + 45) * MS,
    };
    assert_eq!(
        complaints_with(repeated.clone(), &[stall(800)]),
        Vec::<String>::new()
    );
    assert_eq!(complaints_with(repeated, &[stall(300)]).len(), 1);
}

#[test]
fn judge_finds_a_second_address_after_the_claim() {
    let mut frames = takeover();
    frames[180].from = sender(3);
    assert_one_complaint(frames, "one sender at last");
    // Another port of the same host is another socket: that is two senders, too.
    let mut frames = takeover();
    frames[180].from.set_port(40_001);
    assert_one_complaint(frames, "one sender at last");
}

#[test]
fn judge_finds_other_sound_timestamps_markers_and_sources() {
    let spoilt = |spoil: fn(&mut Frame)| {
        let mut frames = takeover();
        spoil(&mut frames[120]);
        frames
    };
    assert_one_complaint(spoilt(|frame| frame.opus[3] ^= 1), "other sound");
    assert_one_complaint(spoilt(|frame| frame.ts += 960), "timestamp");
    assert_one_complaint(spoilt(|frame| frame.marker = true), "marker true");
    assert_one_complaint(spoilt(|frame| frame.ssrc = 8), "source 8");
    // The second copy is no better than the first.
    let mut conflict = frame(99, 2_030, 3);
    conflict.opus = payload(98);
    assert_one_complaint(with(takeover(), conflict), "frame 99 from 10.77.0.3");
}

#[test]
fn judge_measures_replacement_and_lateness_on_the_grid_before_the_kill() {
    let wire = Wire::of(takeover());
    let old = sender(1).ip();
    assert_eq!(wire.replaced(KILLED_NS, old), Some((2_026 * MS, 100)));
    assert_eq!(wire.due_ns(100, KILLED_NS), 2_000 * MS);
    assert_eq!(wire.worst_lateness_ms(KILLED_NS), 26.0);
    assert_eq!(wire.lateness_ms(KILLED_NS)[..5], [0.0, 26.0, 7.0, 6.0, 6.0]);
    assert_eq!(wire.senders(KILLED_NS..i64::MAX).len(), 1);
}
