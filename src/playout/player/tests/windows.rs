//! What is accepted: the window, runs, wrap-arounds, and whatever a hostile network can send.

use proptest::prelude::*;

use super::super::*;
use super::harness::*;
use crate::wire::control::Heartbeat;
use crate::wire::ids::{PlanDigest, RtpTimestamp, Seq, ShortTerm};
use crate::wire::media::{Element, Flags, MediaPacket};
use crate::wire::{FRAME_MICROS, Slot};

/// A listener that has frames 0..10 and plays.
fn tuned() -> Listener {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..10).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(5));
    listener
}

#[test]
fn a_listener_that_was_stopped_loses_nothing_that_waited_in_its_sockets() {
    for stopped in [750, 2_500] {
        let mut listener = Listener::new();
        listener.hears(&beat(0));
        (0..100).for_each(|n| listener.on_time(packet(n)));
        let wakes = due(100 + stopped);
        (100..=100 + stopped).for_each(|n| assert_eq!(listener.receive(packet(n), wakes), Ok(())));
        listener.run_until(wakes);
        (101 + stopped..120 + stopped).for_each(|n| listener.on_time(packet(n)));
        listener.run_until(play(119 + stopped));
        assert_eq!(
            listener.stretches(),
            [(0, 120 + stopped, true)],
            "stopped for {stopped} frames"
        );
    }
}

#[test]
fn a_caller_that_never_polls_is_told_that_there_is_no_room() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    let full = (0..20_000).find_map(|n| listener.receive(packet(n), due(n)).err());
    assert!(matches!(full, Some(Rejection::Full(_))), "{full:?}");
}

#[test]
fn one_packet_beyond_the_window_is_garbage_and_three_that_agree_are_followed() {
    let mut listener = tuned();
    for stray in [5_000, 9_000, 5_001, 900_000] {
        assert_eq!(
            listener.receive(packet(stray), play(5)),
            Err(Rejection::TooFar(FrameIndex(stray)))
        );
    }
    // Nobody is believed while the station is heard, and everybody when it is not.
    let heard_nothing_at = due(9) + Duration::from_secs(1);
    for (now, believed) in [
        (heard_nothing_at - Duration::from_micros(1), false),
        (heard_nothing_at, true),
    ] {
        let jump = [5_000, 5_001, 5_002].map(|n| listener.receive(packet(n), now).is_ok());
        assert_eq!(jump, [false, false, believed]);
    }
    listener.drain();
    assert_eq!(listener.stretches(), [(0, 10, true), (10, 5_000, false)]);
    assert_eq!(listener.rejected("too_far"), 9);
    listener.run_until(heard_nothing_at + BUFFER);
    assert_eq!(listener.stretches().last(), Some(&(5_000, 5_003, true)));
}

#[test]
fn a_gap_of_more_than_an_hour_is_not_concealed_but_tuned_in_anew() {
    let mut listener = tuned();
    let (far, heard_nothing_at) = (MAX_GAP + 100, due(9) + Duration::from_secs(1));
    for n in far..far + 12 {
        let _ = listener.receive(packet(n), heard_nothing_at + FRAME * (n - far) as u32);
    }
    listener.run_until(heard_nothing_at + BUFFER + FRAME * 11);
    assert_eq!(
        listener
            .words()
            .iter()
            .filter(|word| matches!(word, Output::TunedIn { .. }))
            .count(),
        2
    );
    assert_eq!(
        listener.stretches(),
        [(0, 10, true), (far + 8, far + 12, true)]
    );
}

#[test]
fn a_machine_that_slept_for_two_hours_does_not_play_two_hours_of_silence() {
    let mut listener = tuned();
    let wakes = 2 * 3600 * 50;
    // Only a heartbeat was waiting.
    let numbered = |number, next| Heartbeat {
        number,
        ..beat(next)
    };
    listener
        .player
        .handle_heartbeat(&numbered(2, wakes), due(wakes), due(wakes))
        .unwrap();
    listener.run_until(due(wakes));
    assert!(listener.decided.len() < 300, "{}", listener.decided.len());
    listener.hears(&numbered(3, wakes + 1));
    (wakes + 1..wakes + 30).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(wakes + 29));
    assert_eq!(
        listener.stretches().last(),
        Some(&(wakes + 9, wakes + 30, true))
    );
}

#[test]
fn a_timestamp_of_another_run_needs_a_marker_a_heartbeat_or_two_that_agree() {
    let wrong = Err(Rejection::Timestamp(FrameIndex(10)));
    let mut listener = tuned();
    assert_eq!(listener.receive(packet(10).idle(50), play(5)), wrong);
    assert_eq!(
        listener.receive(packet(10).idle(1 << 25).marker(), play(5)),
        wrong
    );
    assert_eq!(listener.receive(packet(10), play(5)), Ok(()));
    // With a marker, when it is due.
    let mut listener = tuned();
    listener.hears(&Heartbeat {
        state: State::Idle,
        run: Some(run(0, 0, Some(10))),
        ..beat(10)
    });
    (10..20).for_each(|n| {
        assert_eq!(
            listener.receive(packet(n).idle(50).marker_at(10), due(n + 50)),
            Ok(())
        )
    });
    // With a heartbeat.
    let mut listener = tuned();
    listener.hears(&Heartbeat {
        run: Some(run(10, 60, None)),
        ..beat(10)
    });
    listener.on_time(packet(11).idle(50));
    // With two that agree; what was rejected meanwhile plays.
    let mut listener = tuned();
    let accepted = [11, 12, 13].map(|n| listener.receive(packet(n).idle(50), due(n + 50)).is_ok());
    assert_eq!(
        (accepted, listener.rejected("timestamp")),
        ([false, false, true], 2)
    );
    listener.run_until(play(63));
    assert_eq!(listener.stretches().last(), Some(&(11, 14, true)));
}

impl Packet {
    fn marker_at(self, index: u64) -> Packet {
        Packet {
            marker: self.index == index,
            ..self
        }
    }
}

#[test]
fn both_wrap_arounds_in_mid_play_are_inaudible() {
    let numbering = Numbering::of(STATION);
    let seq_wraps = (0..)
        .find(|n| numbering.seq(FrameIndex(*n)).0 == 0)
        .unwrap();
    let wraps =
        |slot: u64| numbering.timestamp(Slot(slot)).0 > numbering.timestamp(Slot(slot + 1)).0;
    let idle = (0..).find(|idle| wraps(seq_wraps + 10 + idle)).unwrap();
    let first = seq_wraps - 20;
    for told in [true, false] {
        let mut listener = Listener::new();
        if told {
            let sent_at_us = (first + idle) * FRAME_MICROS;
            listener.hears(&Heartbeat {
                sent_at_us,
                run: Some(run(first, first + idle, None)),
                ..beat(first)
            });
        }
        (first..first + 60).for_each(|n| listener.on_time(packet(n).idle(idle).marker_at(first)));
        listener.run_until(play(first + idle + 59));
        assert_eq!(listener.stretches(), [(first, first + 60, true)]);
        assert_eq!(listener.player.statistics().rejected_total(), 0);
    }
}

#[test]
fn a_station_may_be_idle_for_years_if_never_for_fifteen_days_at_a_time() {
    let pause = (1 << 26) - 100;
    let mut listener = Listener::new();
    for k in 0..50 {
        for n in k * 10..k * 10 + 10 {
            let packet = packet(n).idle(k * pause).marker_at(k * 10);
            listener.on_time(packet);
        }
        let (first, end) = (k * 10, k * 10 + 10);
        listener.hears(&Heartbeat {
            number: k + 1,
            sent_at_us: (end + k * pause) * FRAME_MICROS,
            state: State::Idle,
            run: Some(run(first, first + k * pause, Some(end))),
            ..beat(end)
        });
    }
    listener.run_until(play(499 + 49 * pause));
    assert_eq!(listener.stretches(), [(0, 500, true)]);
}

#[test]
fn another_stations_packets_are_counted() {
    let mut listener = tuned();
    let stranger = Heartbeat {
        station: StationId(1),
        ..beat(0)
    };
    let rejected = Err(Rejection::OtherStation(StationId(1)));
    assert_eq!(
        listener
            .player
            .handle_heartbeat(&stranger, play(5), play(5)),
        rejected
    );
    assert_eq!(listener.rejected("other_station"), 1);
}

/// A packet of the station with any numbers in it, more often than not near what plays.
fn any_packet() -> impl Strategy<Value = (u64, u64, bool, u32, u32, u8)> {
    let index = prop_oneof![4 => 0u64..2_000, 1 => 0u64..40_000, 1 => 0u64..FrameIndex::LIMIT];
    let idle = prop_oneof![4 => Just(0u64), 1 => 0u64..2_000, 1 => 0u64..1 << 26];
    (
        index,
        idle,
        prop::bool::weighted(0.1),
        0u32..3,
        0u32..3,
        0u8..16,
    )
}

proptest! {
    // A leader that lies about its clock makes an hour's frames overdue at once: such cases take long.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_comes_memory_is_bounded_and_the_laws_hold(
        packets in prop::collection::vec((any_packet(), 0u64..300_000, prop::bool::weighted(0.1)), 0..150),
    ) {
        let mut listener = Listener::new();
        let mut now = due(0);
        for ((index, idle, marker, counter, plan, flags), pause_us, is_beat) in packets {
            now += Duration::from_micros(pause_us);
            if is_beat {
                let state = [State::Playing, State::Idle, State::Over(EndReason::Left)][plan as usize];
                let end = marker.then_some(FrameIndex(index + idle));
                let run = crate::wire::control::RunInfo { first: FrameIndex(index), starts_at: Slot(index + idle), end };
                let told = Heartbeat {
                    term: term(counter), number: pause_us, sent_at_us: idle * FRAME_MICROS, state, run: Some(run),
                    tracks: [track(index, "any"), None], ..beat(index)
                };
                let _ = listener.player.handle_heartbeat(&told, now, now);
            } else {
                let flags = Flags(flags & 11);
                let packet = packet(index).idle(idle).term(counter).plan(plan).flags(flags);
                let _ = listener.receive(Packet { marker, ..packet }, now);
            }
            prop_assert!(listener.player.frames.count_from(FrameIndex(0)) <= crate::playout::store::CAPACITY);
            listener.run_until(now);
        }
        listener.run_until(now + Duration::from_secs(30));
    }

    #[test]
    fn no_header_can_make_the_player_panic(headers in prop::collection::vec(any::<(u16, u32, bool, u32, u32, u8)>(), 0..50)) {
        let mut listener = tuned();
        for (seq, timestamp, marker, high, counter, flags) in headers {
            let element = Element {
                term: ShortTerm { counter, leader: 3 }, plan: PlanDigest(1), flags: Flags(flags), index_high: high,
            };
            let media = MediaPacket {
                station: STATION, seq: Seq(seq), timestamp: RtpTimestamp(timestamp), marker, element, payload: &[1],
            };
            let _ = listener.player.handle_media(&media, play(6), play(6));
        }
        listener.player.handle_timeout(play(20));
    }
}
