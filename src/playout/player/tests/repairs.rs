//! Frames that come by another way than the stream, and which are asked for.

use proptest::prelude::*;

use super::super::*;
use super::harness::*;
use crate::playout::store::{Missing, Via};
use crate::wire::media::MediaPacket;
use crate::wire::{FRAME_MICROS, Slot};

const MICRO: Duration = Duration::from_micros(1);
const MS: Duration = Duration::from_millis(1);

impl Listener {
    /// The packet comes by another way, at `now`.
    fn repair(&mut self, packet: Packet, via: Via, now: Instant) -> Result<(), Rejection> {
        let payload = packet.index.to_be_bytes();
        let (index, slot) = (FrameIndex(packet.index), Slot(packet.index + packet.idle));
        let header = (packet.term, packet.plan, packet.flags);
        let numbering = Numbering::of(STATION);
        let media = MediaPacket::place(&numbering, index, slot, packet.marker, header, &payload);
        self.player.handle_repair(&media, via, now, now)
    }

    fn missing(&self, now: Instant) -> Vec<u64> {
        let missing = self.player.missing(now);
        missing.iter().map(|missing| missing.index.0).collect()
    }

    /// Hears the frames `0..count`, but for some.
    fn hears_all_but(&mut self, count: u64, lost: &[u64]) {
        self.hears(&beat(0));
        (0..count)
            .filter(|index| !lost.contains(index))
            .for_each(|index| self.on_time(packet(index)));
    }
}

#[test]
fn a_hole_is_missing_from_the_next_packet_on_until_its_play_time() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[19]);
    assert!(listener.missing(due(20) - MICRO).is_empty());
    listener.on_time(packet(20));
    let missing = listener.player.missing(due(20));
    let expected = Missing {
        index: FrameIndex(19),
        late_at: due(19),
        play_at: play(19),
        at_once: false,
    };
    assert_eq!(missing, [expected]);
    assert!(listener.missing(play(19) - MICRO).contains(&19));
    assert!(!listener.missing(play(19)).contains(&19));
}

#[test]
fn what_was_lost_with_others_is_not_on_its_way_and_a_single_frame_may_be() {
    let lost = |lost: &[u64], told: u64| {
        let mut listener = Listener::new();
        listener.hears_all_but(25, lost);
        listener.hears(&beat(told));
        let missing = listener.player.missing(due(24));
        missing
            .iter()
            .map(|missing| (missing.index.0, missing.at_once))
            .collect::<Vec<_>>()
    };
    assert_eq!(lost(&[23], 25), [(23, false)]);
    assert_eq!(lost(&[22, 23], 25), [(22, true), (23, true)]);
    assert_eq!(lost(&[21, 23], 25), [(21, false), (23, false)]);
    // Of what the leader only said nobody knows how it is.
    assert_eq!(lost(&[23, 24], 25), [(23, false), (24, false)]);
    assert_eq!(
        lost(&[21, 22, 24], 25),
        [(21, true), (22, true), (24, false)]
    );
}

#[test]
fn where_packets_take_longer_and_shorter_a_frame_is_late_later() {
    // How much packets differ, and how much later a frame may come: at most half of the buffer of 200 ms.
    for (jitter_ms, late_ms) in [(0, 0..1), (6, 15..19), (30, 80..91), (60, 100..101)] {
        let mut listener = Listener::new();
        listener.hears(&beat(0));
        for index in (0..200).filter(|index| *index != 198) {
            let late = Duration::from_millis(jitter_ms * (index % 2));
            let _ = listener.receive(packet(index), due(index) + late);
        }
        let now = due(199) + Duration::from_millis(jitter_ms);
        let missing = listener.player.missing(now)[0];
        let late = missing.late_at.since(due(198)).as_millis() as u64;
        assert!(late_ms.contains(&late), "{jitter_ms} ms: {late} ms");
    }
}

#[test]
fn the_first_frames_of_a_programme_can_be_lost_like_all_others() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (3..8).for_each(|index| listener.on_time(packet(index)));
    let missing = listener.player.missing(due(7));
    let indices: Vec<u64> = missing.iter().map(|missing| missing.index.0).collect();
    assert_eq!(indices, [0, 1, 2], "long before any frame is played");
    for index in 0..3 {
        let now = due(7) + MS;
        assert_eq!(listener.repair(packet(index), Via::Unicast, now), Ok(()));
    }
    (8..30).for_each(|index| listener.on_time(packet(index)));
    listener.run_until(play(29));
    assert_eq!(listener.stretches(), [(0, 30, true)]);
}

#[test]
fn what_is_long_overdue_is_missing_though_nothing_else_comes() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[]);
    // Half of the buffer of 200 ms, as that is not more than what a cover needs.
    let overdue = due(20) + 100 * MS;
    assert!(listener.missing(overdue - MICRO).is_empty());
    let missing = listener.player.missing(overdue);
    assert_eq!(
        (missing[0].index, missing[0].at_once),
        (FrameIndex(20), true)
    );
    assert_eq!(missing.len(), 1);
}

#[test]
fn what_the_leader_says_that_it_has_sent_is_missing_and_never_what_is_not_due() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[]);
    listener.hears(&beat(24));
    assert_eq!(listener.missing(due(24)), [20, 21, 22, 23]);
    let far = crate::wire::control::Heartbeat {
        number: 26,
        next: FrameIndex(1_000),
        ..beat(24)
    };
    let _ = listener.player.handle_heartbeat(&far, due(24), due(24));
    assert_eq!(listener.missing(due(24)), [20, 21, 22, 23, 24, 25, 26]);
}

#[test]
fn who_tunes_in_misses_what_is_still_to_be_played_and_the_pre_roll() {
    let mut listener = Listener::new();
    listener.hears(&beat(100));
    let missing = listener.player.missing(due(100));
    let indices: Vec<u64> = missing.iter().map(|missing| missing.index.0).collect();
    // Frame 91 is the first that is played more than 15 ms later.
    assert_eq!(indices, (83..100).collect::<Vec<_>>());
    assert!(missing.iter().all(|missing| missing.at_once));
    assert!(
        missing[..9]
            .iter()
            .all(|missing| missing.play_at == play(91))
    );
    assert_eq!(missing[9].play_at, play(92));
}

#[test]
fn who_tunes_in_near_the_start_misses_no_more_than_there_is() {
    let mut listener = Listener::new();
    listener.hears(&beat(12));
    assert_eq!(listener.missing(due(12)), (0..12).collect::<Vec<_>>());
    for index in 0..12 {
        assert_eq!(
            listener.repair(packet(index), Via::Unicast, due(12)),
            Ok(())
        );
    }
    (12..30).for_each(|index| listener.on_time(packet(index)));
    listener.run_until(play(29));
    // Frame 0 and 1 were played before: they are decoded unheard, from where all began.
    assert_eq!(listener.stretches(), [(2, 30, true)]);
    let preroll = |index| Output::Preroll {
        index: FrameIndex(index),
    };
    assert_eq!(
        listener.words()[1..],
        [tuned_in(2), Output::Reset, preroll(0), preroll(1)]
    );
}

#[test]
fn fetched_frames_are_played_at_their_time_behind_an_exact_pre_roll() {
    let mut listener = Listener::new();
    listener.hears(&beat(100));
    for index in 83..100 {
        assert_eq!(
            listener.repair(packet(index), Via::Unicast, due(100) + 2 * MS),
            Ok(())
        );
    }
    listener.run_until(play(91) - MICRO);
    assert_eq!(listener.decided, []);
    listener.run_until(play(91));
    assert_eq!(listener.decided, [(91, true)]);
    let preroll = (83..91).map(|index| Output::Preroll {
        index: FrameIndex(index),
    });
    let expected: Vec<_> = [tuned_in(91), Output::Reset]
        .into_iter()
        .chain(preroll)
        .collect();
    assert_eq!(listener.words()[1..], expected);
    (101..130).for_each(|index| listener.on_time(packet(index)));
    listener.run_until(play(129));
    assert_eq!(
        listener.stretches(),
        [(91, 100, true), (100, 101, false), (101, 130, true)]
    );
    let statistics = listener.player.statistics();
    assert_eq!(
        (statistics.repaired, statistics.repaired_by_unicast),
        (9, 9)
    );
    // The network has not lost what was on air before.
    assert_eq!(statistics.loss_bursts.frames(), 0);
}

#[test]
fn frames_that_were_fetched_too_late_are_not_played_out_of_step() {
    let mut listener = Listener::new();
    listener.hears(&beat(100));
    for index in 83..100 {
        assert_eq!(
            listener.repair(packet(index), Via::Unicast, due(100) + 70 * MS),
            Ok(())
        );
    }
    (104..130).for_each(|index| listener.on_time(packet(index)));
    listener.run_until(play(129));
    // At 70 ms, frame 93 has been due for 10 ms: a listener may be late by less than a frame.
    assert_eq!(listener.decided[0], (93, true));
    assert_eq!(listener.words()[1], tuned_in(93));
}

#[test]
fn who_tunes_in_waits_until_few_frames_are_missing() {
    let mut listener = Listener::new();
    listener.hears(&beat(100));
    for index in (83..100).filter(|index| index % 3 > 0) {
        assert_eq!(
            listener.repair(packet(index), Via::Unicast, due(100)),
            Ok(())
        );
    }
    (100..130).for_each(|index| listener.on_time(packet(index)));
    listener.run_until(play(129));
    // Every third frame is missing up to 99; what follows is whole.
    assert_eq!(listener.stretches(), [(100, 130, true)]);
}

#[test]
fn a_repair_tells_no_time_and_says_nothing_of_a_leader() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[10, 15]);
    let offset_us = listener.player.timeline().offset_us();
    let early = packet(15).due() + MS;
    assert_eq!(listener.repair(packet(15), Via::Multicast, early), Ok(()));
    assert_eq!(listener.player.timeline().offset_us(), offset_us);
    // Of another term it is used only if it is of the same plan, and it deposes nobody.
    let now = due(19) + MS;
    let other = packet(10).term(2).plan(9);
    assert_eq!(
        listener.repair(other, Via::Unicast, now),
        Err(Rejection::StaleTerm)
    );
    assert_eq!(
        listener.repair(packet(10).term(2), Via::Unicast, now),
        Ok(())
    );
    assert_eq!(listener.player.term(), Some(term(1)));
    assert_eq!(
        listener.repair(packet(9).term(0), Via::Unicast, now),
        Err(Rejection::StaleTerm)
    );
}

#[test]
fn repairs_are_counted_by_the_way_they_came_and_copies_of_them_once() {
    let mut listener = Listener::new();
    let ways = [Via::Replica, Via::Unicast, Via::Multicast, Via::Fetched];
    listener.hears_all_but(20, &[14, 15, 16, 17]);
    let now = due(19) + MS;
    for (index, via) in (14..).zip(ways) {
        assert_eq!(listener.repair(packet(index), via, now), Ok(()));
    }
    // What is here already: for this listener alone it was sent too much.
    for (via, duplicates) in ways.into_iter().zip([0, 1, 1, 1]) {
        assert_eq!(listener.repair(packet(15), via, now), Ok(()));
        assert_eq!(listener.player.statistics().duplicate, duplicates);
    }
    listener.run_until(play(19));
    let statistics = listener.player.statistics();
    let by = (
        statistics.repaired_by_replica,
        statistics.repaired_by_unicast,
        statistics.repaired_by_multicast,
    );
    assert_eq!((statistics.repaired, by), (4, (1, 2, 1)));
    assert_eq!(
        (
            statistics.received,
            statistics.concealed,
            statistics.reordered
        ),
        (20, 0, 0)
    );
    let bursts = &statistics.loss_bursts;
    assert_eq!((bursts.frames(), bursts.longest()), (4, 4));
}

#[test]
fn what_the_stream_brings_after_its_repair_and_in_time_was_not_lost() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[10, 12, 14]);
    let now = due(19) + MS;
    for index in [10, 12, 14] {
        assert_eq!(listener.repair(packet(index), Via::Unicast, now), Ok(()));
    }
    // 10 in time, 12 when it was decided; 14 never.
    listener.run_until(play(10) - MICRO);
    assert_eq!(listener.receive(packet(10), play(10)), Ok(()));
    listener.run_until(play(12));
    assert_eq!(listener.receive(packet(12), play(12)), Ok(()));
    listener.run_until(play(19));
    let statistics = listener.player.statistics();
    assert_eq!((statistics.repaired, statistics.duplicate), (3, 2));
    let bursts = &statistics.loss_bursts;
    assert_eq!((bursts.frames(), bursts.longest()), (2, 1));
}

#[test]
fn only_what_is_not_here_and_not_decided_is_awaited() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[10, 15]);
    listener.run_until(play(12));
    let awaits = |index| {
        let numbering = Numbering::of(STATION);
        let (frame, slot) = (FrameIndex(index), Slot(index));
        let header = (term(1).short(), packet(0).plan, packet(0).flags);
        let media = MediaPacket::place(&numbering, frame, slot, false, header, &[1]);
        listener.player.awaits(&media)
    };
    let awaited: Vec<u64> = (0..22).filter(|index| awaits(*index)).collect();
    assert_eq!(awaited, [15, 20, 21]);
}

#[test]
fn a_repair_that_comes_after_its_play_time_is_late() {
    let mut listener = Listener::new();
    listener.hears_all_but(30, &[10]);
    assert!(listener.decided.contains(&(10, false)));
    assert_eq!(listener.repair(packet(10), Via::Unicast, due(29)), Ok(()));
    let statistics = listener.player.statistics();
    assert_eq!(
        (statistics.late, statistics.concealed, statistics.repaired),
        (1, 1, 0)
    );
}

#[test]
fn a_repair_brings_nobody_back_on_air() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[]);
    listener.run_until(due(19) + SOURCE_LOST_AFTER + BUFFER);
    assert_eq!(
        listener.words().last(),
        Some(&off_air(OffAirReason::SourceLost))
    );
    let now = due(19) + SOURCE_LOST_AFTER + BUFFER + MS;
    let index = 20 + (SOURCE_LOST_AFTER.as_micros() as u64 / FRAME_MICROS);
    assert_eq!(listener.repair(packet(index), Via::Unicast, now), Ok(()));
    assert!(listener.player.is_off_air() && listener.missing(now).is_empty());
}

#[test]
fn nothing_is_missing_past_the_end() {
    let mut listener = Listener::new();
    listener.hears_all_but(20, &[18, 19]);
    let over = crate::wire::control::Heartbeat {
        state: State::Over(EndReason::Ended),
        run: Some(run(0, 0, Some(20))),
        ..beat(20)
    };
    listener.hears(&over);
    assert_eq!(listener.missing(due(25)), [18, 19]);
    for index in [18, 19] {
        assert_eq!(
            listener.repair(packet(index), Via::Unicast, due(25)),
            Ok(())
        );
    }
    listener.run_until(due(60));
    assert_eq!(listener.stretches(), [(0, 20, true)]);
    assert_eq!(listener.words().last(), Some(&off_air(OffAirReason::Ended)));
}

/// What happens to one frame: it is heard (after so many milliseconds), repaired, both or neither.
#[derive(Clone, Copy, Debug)]
struct Fate {
    heard_ms: Option<u64>,
    repaired_ms: Option<u64>,
    via: Via,
    forged: bool,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let via = prop_oneof![
        Just(Via::Replica),
        Just(Via::Unicast),
        Just(Via::Multicast),
        Just(Via::Fetched)
    ];
    let fate = (
        prop::option::weighted(0.7, 0u64..60),
        prop::option::weighted(0.6, 0u64..300),
        via,
        prop::bool::weighted(0.05),
    );
    let fate = fate.prop_map(|(heard_ms, repaired_ms, via, forged)| Fate {
        heard_ms,
        repaired_ms,
        via,
        forged,
    });
    prop::collection::vec(fate, 20..120)
}

proptest! {
    /// The harness checks that each frame is decided once, in order, and that all counters agree.
    #[test]
    fn each_frame_is_decided_once_whatever_is_repaired_and_when(fates in fates(), from in 0u64..200) {
        let mut arrivals: Vec<(Instant, u64, Option<Via>, bool)> = Vec::new();
        for (index, fate) in (from..).zip(&fates) {
            let at = |ms: u64| due(index) + Duration::from_millis(ms);
            arrivals.extend(fate.heard_ms.map(|ms| (at(ms), index, None, false)));
            arrivals.extend(fate.repaired_ms.map(|ms| (at(ms), index, Some(fate.via), fate.forged)));
        }
        arrivals.sort_by_key(|(at, index, ..)| (*at, *index));
        let mut listener = Listener::new();
        listener.hears(&beat(from));
        for (at, index, via, forged) in arrivals {
            listener.run_until(at);
            let missing = listener.missing(at);
            let is_hole = missing.contains(&index);
            let _ = match via {
                None => listener.receive(packet(index), at),
                Some(via) if forged => listener.repair(packet(index).term(7).plan(3), via, at),
                Some(via) => {
                    let result = listener.repair(packet(index), via, at);
                    prop_assert!(!is_hole || result.is_ok(), "{result:?}");
                    result
                }
            };
            if via.is_some() && !forged {
                prop_assert!(!listener.missing(at).contains(&index));
            }
            for missing in listener.player.missing(at) {
                prop_assert!(missing.play_at > at && !listener.player.frames().contains(missing.index));
            }
        }
        listener.run_until(due(from + 120) + SOURCE_LOST_AFTER * 2);
        let statistics = listener.player.statistics();
        let by = statistics.repaired_by_replica + statistics.repaired_by_unicast + statistics.repaired_by_multicast;
        prop_assert_eq!(statistics.repaired, by);
        prop_assert!(statistics.repaired <= statistics.received);
    }
}
