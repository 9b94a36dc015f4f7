//! What is decided and what is counted, for any order, loss and duplication.

use proptest::prelude::*;

use super::super::*;
use super::harness::*;
use crate::playout::histogram::LossBursts;
use crate::wire::control::Heartbeat;

const MICRO: Duration = Duration::from_micros(1);

/// A listener that plays frames 0..10 and has decided all before 10 at the return.
fn tuned() -> Listener {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..10).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(10) - MICRO);
    listener
}

#[test]
fn a_frame_plays_if_it_arrives_at_its_deadline_and_is_late_when_it_was_decided() {
    let table = [(play(10) - MICRO, true), (play(10), true)];
    for (arrives, plays) in table {
        let mut listener = tuned();
        assert_eq!(listener.receive(packet(10), arrives), Ok(()));
        listener.run_until(play(10));
        assert_eq!(listener.decided[10], (10, plays));
    }
    let mut listener = tuned();
    listener.run_until(play(10));
    assert_eq!(listener.decided[10], (10, false));
    assert_eq!(listener.receive(packet(10), play(10)), Ok(()));
    assert_eq!(listener.player.statistics().late, 1);
}

#[test]
fn a_frame_is_decided_at_its_play_time_and_not_a_microsecond_before() {
    let mut listener = tuned();
    assert_eq!(
        (listener.decided.len(), listener.player.poll_timeout()),
        (10, Some(play(10)))
    );
    listener.run_until(play(10));
    assert_eq!(
        (listener.decided.len(), listener.player.poll_timeout()),
        (11, Some(play(11)))
    );
}

#[test]
fn late_and_repeated_timeouts_and_time_that_goes_back_change_nothing() {
    let mut listener = tuned();
    listener.run_until(play(12));
    let before = listener.decided.clone();
    for now in [play(12), play(3), Instant::default(), play(12)] {
        listener.player.handle_timeout(now);
        listener.drain();
    }
    assert_eq!(listener.decided, before);
    assert_eq!(listener.receive(packet(13), due(13)), Ok(()));
    listener.run_until(play(13));
    assert_eq!(listener.decided.last(), Some(&(13, true)));
}

#[test]
fn every_copy_has_its_name() {
    let mut listener = tuned();
    // 10 is late, 11 comes when it counts as lost, 12 never comes; 13 comes twice, and once more when it was played.
    for (n, arrives) in [
        (13, due(13)),
        (13, due(13)),
        (14, due(14)),
        (10, play(14)),
        (10, play(14)),
        (13, play(15)),
    ] {
        listener.run_until(arrives);
        assert_eq!(listener.receive(packet(n), arrives), Ok(()));
    }
    let statistics = listener.player.statistics().clone();
    assert_eq!(
        (statistics.late, statistics.duplicate, statistics.reordered),
        (1, 3, 1)
    );
    assert_eq!((statistics.lost, statistics.concealed), (0, 4));
    listener.run_until(play(11) + LOST_AFTER - MICRO);
    assert_eq!(listener.player.statistics().lost, 0);
    listener.run_until(play(11) + LOST_AFTER);
    assert_eq!(listener.player.statistics().lost, 1);
    let too_old = Rejection::TooOld(FrameIndex(11));
    assert_eq!(
        listener.receive(packet(11), play(11) + LOST_AFTER),
        Err(too_old)
    );
    assert_eq!(listener.rejected("too_old"), 1);
}

#[test]
fn frames_before_the_first_one_are_in_no_counter() {
    let mut listener = Listener::new();
    (100..110).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(109));
    assert_eq!(listener.player.statistics().received, 2);
    assert_eq!(
        listener.receive(packet(99), play(109)),
        Err(Rejection::TooOld(FrameIndex(99)))
    );
    assert_eq!(listener.player.statistics().played(), 2);
}

#[test]
fn a_finished_player_has_one_more_block_to_fade_out_in_and_counts_what_is_missing_as_lost() {
    let mut listener = tuned();
    listener.on_time(packet(14));
    listener.run_until(play(12));
    listener.player.handle_finish();
    listener.run_until(play(100));
    assert_eq!(listener.stretches(), [(0, 10, true), (10, 14, false)]);
    assert_eq!(
        (
            listener.player.statistics().lost,
            listener.player.poll_timeout()
        ),
        (4, None)
    );
    assert_eq!(listener.receive(packet(15), play(100)), Ok(()));
}

#[test]
fn a_payload_that_does_not_decode_is_concealed_and_fades_like_a_hole() {
    let mut listener = tuned();
    (10..20).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(19));
    for k in 0..8 {
        assert_eq!(listener.undecodable(10 + k), Concealment::after(k));
    }
    assert_eq!(listener.undecodable(19), Concealment::after(0));
    let statistics = listener.player.statistics();
    assert_eq!(
        (statistics.received, statistics.concealed, statistics.lost),
        (11, 9, 9)
    );
    assert_eq!(listener.rejected("opus"), 9);
    // They came: the network has lost nothing.
    assert_eq!(statistics.loss_bursts.frames(), 0);
}

#[test]
fn a_long_hole_fades_to_silence() {
    for missing in [5, 6, 60] {
        let mut listener = tuned();
        listener.on_time(packet(10 + missing));
        listener.run_until(play(10 + missing));
        let hole: Vec<Output> = (0..missing)
            .map(|k| Output::Conceal {
                index: FrameIndex(10 + k),
                concealment: Concealment::after(k),
            })
            .collect();
        let start = listener.log.len() - hole.len() - 1;
        assert_eq!(listener.log[start..listener.log.len() - 1], hole);
        let after = Output::Play {
            index: FrameIndex(10 + missing),
        };
        assert_eq!(listener.log.last(), Some(&after));
    }
}

/// What the network does to one packet: copies, each with its delay in microseconds.
fn fate() -> impl Strategy<Value = Vec<u64>> {
    let delay = prop_oneof![6 => 0u64..20_000, 3 => 0u64..200_001, 1 => 0u64..3_000_000];
    prop_oneof![1 => Just(vec![]), 8 => prop::collection::vec(delay.clone(), 1), 1 => prop::collection::vec(delay, 2..4)]
}

proptest! {
    #[test]
    fn each_index_is_decided_once_and_in_order_whatever_the_network_does(
        fates in prop::collection::vec(fate(), 20..300),
        told in any::<bool>(),
    ) {
        let mut listener = Listener::new();
        if told {
            listener.hears(&beat(0));
        }
        let mut arrivals: Vec<(Instant, u64)> = (0u64..)
            .zip(&fates)
            .flat_map(|(n, delays)| delays.iter().map(move |delay| (due(n) + Duration::from_micros(*delay), n)))
            .collect();
        arrivals.sort_unstable();
        for (at, n) in arrivals {
            listener.run_until(at - MICRO);
            let _ = listener.receive(packet(n), at);
            listener.drain();
        }
        listener.run_until(due(2_000));
        // Order, payloads and sums were checked on the way; what came in time by its own measure was played.
        let statistics = listener.player.statistics();
        let first = listener.decided.first().map_or(0, |(first, _)| *first);
        let copies: u64 = fates[(first as usize).min(fates.len())..].iter().map(|copies| copies.len() as u64).sum();
        let used = statistics.received + statistics.late + statistics.duplicate + statistics.rejected_total();
        prop_assert!(statistics.late + statistics.received <= copies);
        prop_assert!(used >= statistics.received);
        if !listener.decided.is_empty() {
            prop_assert_eq!(listener.words().pop(), Some(off_air(OffAirReason::SourceLost)));
        }
    }

    #[test]
    fn with_a_known_start_every_counter_is_what_the_network_did(fates in prop::collection::vec(fate(), 20..300)) {
        let mut listener = Listener::new();
        listener.hears(&beat(0));
        listener.on_time(packet(0));
        let mut arrivals: Vec<(Instant, u64)> = (1u64..)
            .zip(&fates)
            .flat_map(|(n, delays)| delays.iter().map(move |delay| (due(n) + Duration::from_micros(*delay), n)))
            .collect();
        arrivals.sort_unstable();
        let end = fates.len() as u64 + 1;
        let state = State::Over(EndReason::Ended);
        let over = Heartbeat { run: Some(run(0, 0, Some(end))), state, number: 2, ..beat(end) };
        let (before, after) = arrivals.split_at(arrivals.partition_point(|(at, _)| *at < due(end)));
        for (at, n) in before {
            listener.run_until(*at - MICRO);
            let _ = listener.receive(packet(*n), *at);
        }
        // The heartbeats tell the clocks' true offset, so play times stand still.
        listener.hears(&over);
        for (at, n) in after {
            listener.run_until(*at - MICRO);
            let _ = listener.receive(packet(*n), *at);
        }
        listener.run_until(due(2_000));
        let best = |delays: &Vec<u64>| delays.iter().copied().min();
        let buffer = BUFFER.as_micros() as u64;
        let in_time = fates.iter().filter(|f| best(f).is_some_and(|best| best <= buffer)).count() as u64;
        let late = fates.iter().filter(|f| best(f).is_some_and(|best| best > buffer && best < buffer + 1_000_000)).count();
        let statistics = listener.player.statistics();
        prop_assert_eq!(listener.decided.len() as u64, end);
        prop_assert_eq!(statistics.received, in_time + 1);
        prop_assert_eq!(statistics.late, late as u64);
        prop_assert_eq!(statistics.lost, end - 1 - in_time - late as u64);
        prop_assert_eq!(statistics.received + statistics.late + statistics.duplicate + statistics.rejected_total(),
            arrivals.len() as u64 + 1);
        // Nothing is repaired here: bursts are the holes that have ended.
        let mut bursts = LossBursts::default();
        listener.decided.iter().for_each(|(_, with_data)| bursts.handle_frame(*with_data));
        prop_assert_eq!(&statistics.loss_bursts, &bursts);
        let ended = listener.stretches();
        let holes = ended.iter().filter(|(_, until, with_data)| !with_data && *until < end);
        prop_assert_eq!(bursts.buckets().map(|(_, count)| count).sum::<u64>(), holes.count() as u64);
    }
}
