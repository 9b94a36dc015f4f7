//! Where playing starts.

use super::super::*;
use super::harness::*;
use crate::wire::control::Heartbeat;
use crate::wire::media::Flags;

fn preroll(low: u64) -> Vec<Output> {
    let frames = (low..low + PREROLL).map(|index| Output::Preroll {
        index: FrameIndex(index),
    });
    [Output::Reset].into_iter().chain(frames).collect()
}

#[test]
fn a_listener_that_hears_the_first_frame_plays_from_it() {
    let mut listener = Listener::new();
    (0..10).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(9));
    assert_eq!(listener.words(), [tuned_in(0), Output::Reset]);
    assert_eq!(listener.stretches(), [(0, 10, true)]);
}

#[test]
fn one_that_joins_later_decodes_eight_frames_unheard() {
    let mut listener = Listener::new();
    (100..118).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(108) - Duration::from_micros(1));
    assert_eq!(listener.log, []);
    (118..120).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(119));
    assert_eq!(
        listener.words(),
        [vec![tuned_in(108)], preroll(100)].concat()
    );
    assert_eq!(listener.stretches(), [(108, 120, true)]);
    assert_eq!(listener.player.statistics().received, 12);
}

#[test]
fn preroll_frames_that_are_missing_are_told_without_payload() {
    let mut listener = Listener::new();
    [100, 101, 102, 104, 106, 107, 108, 109]
        .into_iter()
        .for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(109));
    assert_eq!(
        listener.words(),
        [vec![tuned_in(108)], preroll(100)].concat()
    );
    assert_eq!(listener.player.payload(FrameIndex(103)), None);
    assert_eq!(
        listener.player.payload(FrameIndex(104)),
        Some(104u64.to_be_bytes().as_slice())
    );
    assert_eq!(listener.player.statistics().concealed, 0);
}

#[test]
fn without_a_heartbeat_three_packets_must_agree() {
    let mut listener = Listener::new();
    listener.on_time(packet(50));
    listener.on_time(packet(51));
    // A copy proves nothing, and a stranger starts the count anew.
    assert_eq!(listener.receive(packet(51), due(51)), Ok(()));
    assert!(!listener.player.is_accepted());
    listener.run_until(due(200));
    assert_eq!(
        (listener.log.len(), listener.player.is_accepted()),
        (0, false)
    );
    (200..203).for_each(|n| listener.on_time(packet(n)));
    assert!(listener.player.is_accepted());
    listener.run_until(play(208));
    assert_eq!(listener.words()[0], tuned_in(208));
}

#[test]
fn with_a_heartbeat_one_packet_is_enough_also_if_it_came_before() {
    for beat_first in [true, false] {
        let mut listener = Listener::new();
        let mut early = beat(100);
        early.run = Some(run(0, 0, None));
        if beat_first {
            listener.hears(&early);
            listener.on_time(packet(100));
        } else {
            listener.on_time(packet(100));
            listener.hears(&early);
        }
        listener.run_until(play(108));
        assert_eq!(listener.words()[..2], [leader(1, "first"), tuned_in(108)]);
        assert_eq!(listener.player.leader_name(), "studio");
    }
}

#[test]
fn first_packets_out_of_order_do_not_hide_the_first_frame() {
    let mut listener = Listener::new();
    for (n, arrives) in [(2, 2), (1, 2), (3, 3), (0, 4), (4, 4)] {
        assert_eq!(listener.receive(packet(n), due(arrives)), Ok(()));
    }
    listener.run_until(play(4));
    assert_eq!(listener.stretches(), [(0, 5, true)]);
    assert_eq!(listener.words(), [tuned_in(0), Output::Reset]);
}

#[test]
fn a_track_that_starts_during_the_preroll_is_played_from_its_start() {
    let by_flag = |listener: &mut Listener| {
        (100..120).for_each(|n| {
            let flags = if n == 103 {
                Flags::LAST_OF_TRACK
            } else {
                Flags::default()
            };
            listener.on_time(packet(n).flags(flags));
        });
    };
    let by_heartbeat = |listener: &mut Listener| {
        let tracks = [track(0, "one"), track(104, "two")];
        listener.hears(&Heartbeat {
            tracks,
            ..beat(100)
        });
        (100..120).for_each(|n| listener.on_time(packet(n)));
    };
    let mut flagged = Listener::new();
    by_flag(&mut flagged);
    let mut told = Listener::new();
    by_heartbeat(&mut told);
    for listener in [&mut flagged, &mut told] {
        listener.run_until(play(119));
        assert_eq!(listener.stretches(), [(104, 120, true)]);
    }
    assert_eq!(flagged.words(), [tuned_in(104), Output::Reset]);
    let two = track(104, "two").map(Output::Track).unwrap();
    assert_eq!(
        told.words(),
        [leader(1, "first"), tuned_in(104), two, Output::Reset]
    );
}

#[test]
fn a_listener_that_was_there_before_the_run_plays_from_its_start_even_if_that_is_lost() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (1..5).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(play(4));
    assert_eq!(listener.stretches(), [(0, 1, false), (1, 5, true)]);
}

#[test]
fn the_buffer_is_the_listeners_own_else_the_stations_else_the_default() {
    let own = Duration::from_millis(40);
    let mut listener = Listener::with(Config {
        buffer: BufferChoice::Fixed(own),
        ..config()
    });
    listener.hears(&Heartbeat {
        buffer_ms: 900,
        ..beat(0)
    });
    assert_eq!(listener.player.buffer(), own);
    listener.on_time(packet(0));
    assert_eq!(listener.player.poll_timeout(), Some(due(0) + own));
    let mut listener = Listener::new();
    assert_eq!(listener.player.buffer(), BUFFER);
    listener.hears(&Heartbeat {
        buffer_ms: 900,
        ..beat(0)
    });
    assert_eq!(listener.player.buffer(), Duration::from_millis(900));
}

#[test]
fn a_run_that_is_over_before_a_decoder_is_ready_is_waited_out() {
    let mut listener = Listener::new();
    listener.hears(&Heartbeat {
        run: Some(run(0, 0, Some(105))),
        ..beat(100)
    });
    (100..105).for_each(|n| listener.on_time(packet(n)));
    let over = State::Over(EndReason::Ended);
    listener.hears(&Heartbeat {
        run: Some(run(0, 0, Some(105))),
        state: over,
        ..beat(106)
    });
    listener.run_until(play(120));
    assert_eq!(
        listener.words(),
        [leader(1, "first"), off_air(OffAirReason::Ended)]
    );
    assert_eq!(listener.decided, []);
}

#[test]
fn copies_do_not_keep_a_listener_from_joining() {
    let mut listener = Listener::new();
    for n in 50..53 {
        listener.on_time(packet(n));
        assert_eq!(listener.receive(packet(n), due(n)), Ok(()));
    }
    assert!(listener.player.is_accepted());
}
