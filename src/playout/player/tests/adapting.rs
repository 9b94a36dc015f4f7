//! What a buffer that adapts does to what is played.

use proptest::prelude::*;

use super::super::*;
use super::harness::*;
use crate::playout::adaptive::PATIENCE;
use crate::playout::store::Via;
use crate::wire::control::{EndReason, Heartbeat};
use crate::wire::media::MediaPacket;
use crate::wire::{FRAME_MICROS, Slot};

const MICRO: Duration = Duration::from_micros(1);
const MIN: Duration = Duration::from_millis(60);
const MAX: Duration = Duration::from_secs(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A listener with a buffer from 60 ms to 2 s that knows a station whose own is `start`.
fn tuned(start: Duration) -> Listener {
    let mut listener = Listener::with(Config {
        buffer: BufferChoice::Auto { min: MIN, max: MAX },
        ..config()
    });
    listener.hears(&Heartbeat {
        buffer_ms: start.as_millis() as u32,
        ..beat(0)
    });
    listener
}

/// Frames that take `delay_us(n)` each; none: lost. They arrive in the order of their arrival.
fn hear(
    listener: &mut Listener,
    frames: std::ops::Range<u64>,
    delay_us: impl Fn(u64) -> Option<u64>,
) {
    let arrival = |n| Some((due(n) + Duration::from_micros(delay_us(n)?), n));
    let mut arrivals: Vec<(Instant, u64)> = frames.filter_map(arrival).collect();
    arrivals.sort();
    for (arrives, n) in arrivals {
        listener.run_until(arrives - MICRO);
        let _too_old = listener.receive(packet(n), arrives);
        let buffer = listener.player.buffer();
        assert!((MIN..=MAX).contains(&buffer), "{buffer:?}");
    }
}

/// The same number for the same n, from 0 to below `limit`.
fn random(n: u64, limit: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) % limit.max(1)
}

fn holes(listener: &Listener) -> Vec<u64> {
    let concealed = listener.decided.iter().filter(|(_, with_data)| !with_data);
    concealed.map(|(n, _)| *n).collect()
}

#[test]
fn it_begins_with_the_stations_buffer_within_its_limits() {
    for (station_ms, expected_ms) in [(40, 60), (300, 300), (5_000, 2_000)] {
        let mut listener = tuned(ms(station_ms));
        assert_eq!(listener.player.buffer(), ms(expected_ms));
        listener.on_time(packet(0));
        let begins = due(0) + ms(expected_ms);
        assert_eq!(listener.player.poll_timeout(), Some(begins));
    }
}

#[test]
fn a_missing_frame_is_waited_for_beyond_its_play_time_and_then_concealed() {
    for (late, plays) in [(MICRO, true), (PATIENCE, true), (PATIENCE + MICRO, false)] {
        let mut listener = tuned(ms(200));
        (0..10).for_each(|n| listener.on_time(packet(n)));
        listener.on_time(packet(11));
        listener.run_until(play(10) + late - MICRO);
        let at = (play(10) + late).min(play(10) + PATIENCE);
        if plays {
            assert_eq!(listener.decided.len(), 10, "{late:?}");
            assert_eq!(listener.player.poll_timeout(), Some(play(10) + PATIENCE));
        }
        assert_eq!(listener.receive(packet(10), play(10) + late), Ok(()));
        listener.run_until(at + ms(100));
        let expected = [(10, plays), (11, true)];
        assert_eq!(listener.decided[10..12], expected, "{late:?}");
        assert_eq!(listener.player.statistics().late, u64::from(!plays));
    }
}

#[test]
fn a_network_that_becomes_150_ms_slower_costs_the_first_frames_only() {
    let mut listener = tuned(ms(100));
    let step = |n| Some(if n < 500 { 2_000 } else { 152_000 });
    hear(&mut listener, 0..520, step);
    assert_eq!(listener.player.buffer(), ms(170));
    // The network stays as it is: after some seconds the clock goes by it, and what is played does not move.
    hear(&mut listener, 520..3_000, step);
    assert_eq!(listener.player.buffer(), MIN);
    // 130 ms were in hand; the first frame came after 152, and the second one, which proved it, 20 later.
    assert_eq!(holes(&listener), [500, 501, 502]);
    assert_eq!(listener.player.statistics().late, 3);
    assert_eq!(listener.player.statistics().lost, 0);
}

#[test]
fn jitter_that_grows_costs_no_frame_and_when_it_is_over_the_buffer_shrinks_unheard() {
    let mut listener = tuned(ms(100));
    // From none to 300 ms in two minutes, then half a minute of that, then none again.
    let jitter = |n: u64| Some(1 + random(n, 50 * n.min(6_000) * u64::from(n < 7_500)));
    hear(&mut listener, 0..7_500, jitter);
    let grown = listener.player.buffer();
    assert!((ms(300)..ms(330)).contains(&grown), "{grown:?}");
    let mut before = (listener.player.buffer(), listener.decided.len());
    for n in 7_500..110_000 {
        hear(&mut listener, n..n + 1, jitter);
        let after = (listener.player.buffer(), listener.decided.len());
        let most = Duration::from_micros(3) * (after.1 - before.1) as u32;
        assert!(before.0.saturating_sub(after.0) <= most, "frame {n}");
        before = after;
    }
    assert_eq!(before.0, MIN);
    assert_eq!(holes(&listener), [0; 0]);
}

#[test]
fn a_network_that_stands_still_now_and_then_is_held_out_after_the_first_time() {
    let mut listener = tuned(ms(60));
    // For 200 ms every four seconds; then everything comes at once.
    let stalls = |n: u64| Some(1_000 + 200_000u64.saturating_sub((n % 200) * FRAME_MICROS));
    hear(&mut listener, 150..2_000, stalls);
    let holes = holes(&listener);
    assert!(
        holes.len() <= 7 && holes.iter().all(|n| *n < 210),
        "{holes:?}"
    );
    let buffer = listener.player.buffer();
    assert!((ms(200)..=ms(225)).contains(&buffer), "{buffer:?}");
}

#[test]
fn one_packet_that_is_three_seconds_late_changes_nothing() {
    let mut listener = tuned(ms(100));
    hear(&mut listener, 0..450, |n| {
        Some(if n == 200 { 3_000_000 } else { 2_000 })
    });
    assert_eq!(listener.player.buffer(), ms(100));
    assert_eq!(holes(&listener), [200]);
}

#[test]
fn a_network_that_becomes_slower_than_the_longest_buffer_is_heard_again_and_so_it_is_with_a_fixed_one()
 {
    let slower = |n| Some(if n < 100 { 1_000 } else { 2_500_000 });
    let mut listener = tuned(ms(100));
    hear(&mut listener, 0..3_000, slower);
    let heard = |listener: &Listener| {
        listener
            .decided
            .iter()
            .rev()
            .take(1_000)
            .all(|(_, data)| *data)
    };
    assert!(heard(&listener), "{:?}", listener.stretches());
    let mut fixed = Listener::new();
    fixed.hears(&beat(0));
    for (arrives, n) in (0..3_000).map(|n| (due(n) + ms(if n < 100 { 1 } else { 600 }), n)) {
        fixed.run_until(arrives - MICRO);
        let _too_old = fixed.receive(packet(n), arrives);
    }
    assert!(heard(&fixed), "{:?}", fixed.stretches());
}

/// Frame `n` comes at `now` by another way than the stream.
fn repair(listener: &mut Listener, n: u64, via: Via, now: Instant) {
    let payload = n.to_be_bytes();
    let Packet {
        term, plan, flags, ..
    } = packet(n);
    let numbering = Numbering::of(STATION);
    let header = (term, plan, flags);
    let media = MediaPacket::place(&numbering, FrameIndex(n), Slot(n), false, header, &payload);
    listener.run_until(now - MICRO);
    assert_eq!(listener.player.handle_repair(&media, via, now, now), Ok(()));
}

#[test]
fn repairs_make_it_as_long_as_they_take_and_what_one_has_oneself_does_not() {
    let table = [
        (Via::Unicast, ms(115)),
        (Via::Multicast, ms(115)),
        (Via::Replica, ms(100)),
        (Via::Fetched, ms(100)),
    ];
    for (via, expected) in table {
        let mut listener = tuned(ms(100));
        hear(&mut listener, 0..50, |n| Some(1).filter(|_| n != 45));
        repair(&mut listener, 45, via, due(45) + ms(95));
        assert_eq!(listener.player.buffer(), expected, "{via:?}");
    }
}

#[test]
fn repairs_of_what_was_due_while_nothing_was_heard_do_not_count() {
    for (silent, expected) in [(20, ms(115)), (30, ms(100))] {
        let mut listener = tuned(ms(100));
        let back = 50 + silent;
        hear(&mut listener, 0..back + 1, |n| {
            Some(1).filter(|_| !(50..back).contains(&n))
        });
        let asked_for = back - 3;
        repair(
            &mut listener,
            asked_for,
            Via::Unicast,
            due(asked_for) + ms(95),
        );
        assert_eq!(listener.player.buffer(), expected, "{silent} frames");
    }
}

#[test]
fn a_hole_makes_it_longer_where_repairs_come_and_the_stream_goes_on() {
    // What is repaired, what is heard at last, and what it is after the hole at 60.
    let table = [
        (None, 70, ms(100)),
        (Some(40), 70, ms(120)),
        (Some(40), 59, ms(100)),
    ];
    for (repaired, last, expected) in table {
        let mut listener = tuned(ms(100));
        let lost = |n: u64| n == 60 || Some(n) == repaired;
        for n in 0..=last {
            hear(&mut listener, n..n + 1, |n| Some(1).filter(|_| !lost(n)));
            if Some(n) == repaired {
                repair(&mut listener, n, Via::Unicast, due(n) + ms(10));
            }
        }
        listener.run_until(due(60) + ms(131));
        assert_eq!(holes(&listener), [60], "{repaired:?}");
        assert_eq!(listener.player.buffer(), expected, "{repaired:?}");
    }
}

#[test]
fn between_programmes_it_goes_where_it_should_be_at_once() {
    let mut listener = tuned(ms(400));
    hear(&mut listener, 0..1_000, |n| {
        Some(1_000 + random(n, 100_000))
    });
    let before = listener.player.buffer();
    assert!(before > ms(395), "{before:?}");
    listener.hears(&Heartbeat {
        state: State::Over(EndReason::Ended),
        run: Some(run(0, 0, Some(1_000))),
        sent_at_us: 1_001 * FRAME_MICROS,
        ..beat(1_000)
    });
    // What was decided last keeps its place until it was told: a device asks for it.
    let last = FrameIndex(999);
    let decided_at = listener.player.play_time(last).unwrap() - Duration::from_micros(200);
    listener.run_until(decided_at);
    while listener.decided.len() < 1_000 {
        let at = listener.player.poll_timeout().unwrap();
        listener.player.handle_timeout(at);
        let moved = listener.player.play_time(last).unwrap().micros_after(at);
        listener.drain();
        assert!(
            listener.decided.len() < 1_000 || moved.abs() <= 3,
            "{moved}"
        );
    }
    listener.run_until(due(1_030));
    assert_eq!(listener.words().last(), Some(&off_air(OffAirReason::Ended)));
    assert_eq!(listener.stretches(), [(0, 1_000, true)]);
    let rested = listener.player.buffer();
    assert!((ms(115)..ms(122)).contains(&rested), "{rested:?}");
}

#[test]
fn a_gap_is_told_where_a_device_would_run_dry_and_only_there() {
    for (delay_ms, gap) in [(85, false), (120, false), (250, true)] {
        let mut listener = tuned(ms(100));
        let mut gaps = 0;
        for n in 0..200 {
            hear(&mut listener, n..n + 1, |n| {
                Some(if n < 100 { 1 } else { 1_000 * delay_ms })
            });
            listener.run_until(due(n) + ms(delay_ms) + ms(5));
            gaps += u64::from(listener.player.has_gap());
        }
        assert_eq!(gaps > 0, gap, "{delay_ms} ms");
        assert!(gaps < 12, "{gaps}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Order, and each frame once, are checked by the harness with every output.
    #[test]
    fn whatever_the_network_does_each_frame_is_decided_once_in_order_and_the_buffer_keeps_its_limits(
        start in 40u64..3_000,
        stretches in prop::collection::vec((1u64..150, 0u64..2_500_000, 0u64..400_000, 0u64..4), 1..12),
        ends in any::<bool>(),
    ) {
        let mut listener = tuned(ms(start));
        let mut first = 0;
        let mut arrivals = Vec::new();
        for (frames, delay, jitter, lost) in stretches {
            for n in first..first + frames {
                let is_lost = random(n, 10) < lost;
                let at = due(n) + Duration::from_micros(delay * u64::from(lost > 0) + random(n, jitter));
                if !is_lost {
                    arrivals.push((at, n));
                }
                if random(n, 7) == 0 {
                    arrivals.push((at + ms(random(n, 900)), n));
                }
            }
            first += frames;
        }
        arrivals.sort();
        for (arrives, n) in arrivals {
            listener.run_until(arrives - MICRO);
            let _refused = listener.receive(packet(n), arrives);
            prop_assert!((MIN..=MAX).contains(&listener.player.buffer()));
        }
        if ends {
            listener.run_until(due(first));
            let _refused = listener.player.handle_heartbeat(&Heartbeat {
                state: State::Over(EndReason::Ended),
                run: Some(run(0, 0, Some(first))),
                ..beat(first)
            }, due(first), due(first));
        }
        listener.run_until(due(first) + ms(20_000));
        prop_assert!(listener.player.is_off_air());
    }
}
