//! Idle time, the end, and a source that is gone.

use super::super::*;
use super::harness::*;
use crate::wire::Slot;
use crate::wire::control::Heartbeat;
use crate::wire::control::RunInfo;
use crate::wire::media::Flags;

fn told(state: State, next: u64, slot: u64, end: Option<u64>) -> Heartbeat {
    let sent_at_us = slot * crate::wire::FRAME_MICROS;
    Heartbeat {
        state,
        sent_at_us,
        number: slot + 1,
        run: Some(run(0, 0, end)),
        ..beat(next)
    }
}

/// Frames 0..50 were sent on time, and 50 is the end, as `state` says.
fn at_the_end(state: State) -> Listener {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..50).for_each(|n| listener.on_time(packet(n)));
    listener.hears(&told(state, 50, 50, Some(50)));
    listener
}

#[test]
fn the_last_frame_is_played_to_its_end_before_the_station_goes_off_the_air() {
    let reasons = [
        (EndReason::Ended, OffAirReason::Ended),
        (EndReason::Stopped, OffAirReason::Stopped),
        (EndReason::Left, OffAirReason::Left),
    ];
    for (reason, said) in reasons {
        let mut listener = at_the_end(State::Over(reason));
        listener.run_until(play(50) - Duration::from_micros(1));
        assert_eq!(
            (listener.stretches(), listener.words().len()),
            (vec![(0, 50, true)], 3)
        );
        listener.run_until(play(50));
        assert_eq!(listener.words().last(), Some(&off_air(said)));
        assert_eq!(
            (listener.player.is_off_air(), listener.player.poll_timeout()),
            (true, None)
        );
    }
}

#[test]
fn a_lost_tail_is_concealed_to_the_end_whatever_the_buffer() {
    for buffer in [40, 200, 5_000].map(Duration::from_millis) {
        let mut listener = Listener::with(Config {
            buffer: BufferChoice::Fixed(buffer),
            ..config()
        });
        listener.hears(&beat(0));
        (0..45).for_each(|n| listener.on_time(packet(n)));
        listener.hears(&told(State::Over(EndReason::Ended), 50, 50, Some(50)));
        listener.run_until(due(2_000));
        assert_eq!(listener.stretches(), [(0, 45, true), (45, 50, false)]);
        assert_eq!(listener.words().last(), Some(&off_air(OffAirReason::Ended)));
        assert_eq!(listener.player.statistics().lost, 5);
    }
}

#[test]
fn an_announced_end_after_which_nobody_says_anything_is_an_end() {
    let mut listener = at_the_end(State::Playing);
    listener.run_until(play(50) + END_GRACE - Duration::from_micros(1));
    assert_eq!(listener.words().len(), 3);
    listener.run_until(play(50) + END_GRACE);
    assert_eq!(listener.words().last(), Some(&off_air(OffAirReason::Ended)));
}

#[test]
fn an_idle_station_is_waited_for_and_its_next_run_goes_on_where_the_last_ended() {
    let mut listener = at_the_end(State::Idle);
    (51..1_050)
        .step_by(5)
        .for_each(|slot| listener.hears(&told(State::Idle, 50, slot, Some(50))));
    assert_eq!(listener.stretches(), [(0, 50, true)]);
    let second = |state, slot, end| Heartbeat {
        run: Some(run(50, 1_050, end)),
        ..told(state, 50, slot, None)
    };
    listener.hears(&second(State::Playing, 1_050, None));
    (50..70).for_each(|n| listener.on_time(packet(n).idle(1_000)));
    listener.hears(&Heartbeat {
        next: FrameIndex(70),
        ..second(State::Over(EndReason::Ended), 1_070, Some(70))
    });
    listener.run_until(play(1_070));
    assert_eq!(listener.stretches(), [(0, 70, true)]);
    let words = [
        leader(1, "first"),
        tuned_in(0),
        Output::Reset, // none for the second run: the track goes on
        off_air(OffAirReason::Ended),
    ];
    assert_eq!(listener.words(), words);
}

#[test]
fn player_rests_from_the_last_frame_of_a_run_until_the_next_run_is_known() {
    let mut listener = at_the_end(State::Idle);
    listener.run_until(play(49) - Duration::from_micros(1));
    assert!(!listener.player.is_resting());
    listener.run_until(play(49));
    assert!(listener.player.is_resting());
    listener.hears(&Heartbeat {
        run: Some(run(50, 100, None)),
        ..told(State::Playing, 50, 100, None)
    });
    assert!(!listener.player.is_resting());
}

#[test]
fn an_idle_station_that_falls_silent_is_lost() {
    let mut listener = at_the_end(State::Idle);
    listener.run_until(due(50) + SOURCE_LOST_AFTER - Duration::from_micros(1));
    assert!(!listener.player.is_off_air());
    listener.run_until(due(50) + SOURCE_LOST_AFTER);
    assert_eq!(
        listener.words().last(),
        Some(&off_air(OffAirReason::SourceLost))
    );
}

#[test]
fn a_new_run_after_the_end_is_tuned_in_again() {
    let mut listener = at_the_end(State::Over(EndReason::Ended));
    listener.run_until(play(60));
    (50..55).for_each(|n| {
        let packet = packet(n).idle(500);
        listener.on_time(if n == 50 { packet.marker() } else { packet });
    });
    listener.run_until(play(554));
    assert_eq!(listener.stretches(), [(0, 55, true)]);
    assert_eq!(
        listener.words()[3..],
        [off_air(OffAirReason::Ended), tuned_in(50), Output::Reset]
    );
}

#[test]
fn silence_is_concealed_until_it_has_faded_out_and_after_five_seconds_the_source_is_lost() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..50).for_each(|n| listener.on_time(packet(n)));
    let lost_at = due(49) + SOURCE_LOST_AFTER;
    listener.run_until(lost_at - Duration::from_micros(1));
    assert!(!listener.player.is_off_air());
    listener.run_until(due(10_000));
    assert_eq!(listener.stretches(), [(0, 50, true), (50, 56, false)]);
    assert_eq!(
        listener.words().last(),
        Some(&off_air(OffAirReason::SourceLost))
    );
    assert_eq!(listener.player.statistics().lost, 6);
}

#[test]
fn what_is_buffered_is_played_out_before_the_source_is_lost() {
    let mut listener = Listener::with(Config {
        buffer: BufferChoice::Fixed(Duration::from_millis(5_500)),
        ..config()
    });
    listener.hears(&beat(0));
    (0..50).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(due(1_000));
    assert_eq!(listener.stretches(), [(0, 50, true)]);
    assert_eq!(
        listener.words().last(),
        Some(&off_air(OffAirReason::SourceLost))
    );
}

#[test]
fn a_source_that_returns_is_played_on_and_what_was_missed_is_concealed_at_once() {
    for missed in [300, 5_000] {
        let mut listener = Listener::new();
        listener.hears(&beat(0));
        (0..50).for_each(|n| listener.on_time(packet(n)));
        let back = 50 + missed;
        (back..back + 20).for_each(|n| {
            listener.on_time(packet(n));
            listener.run_until(packet(n).due());
        });
        assert_eq!(
            listener.decided.last(),
            Some(&(back + 9, true)),
            "playing goes on within a buffer"
        );
        listener.run_until(play(back + 19));
        assert_eq!(
            listener.stretches(),
            [(0, 50, true), (50, back, false), (back, back + 20, true)]
        );
        assert_eq!(
            listener.words()[3..],
            [
                off_air(OffAirReason::SourceLost),
                tuned_in(back),
                Output::Reset
            ]
        );
        listener.run_until(play(back + 19) + Duration::from_secs(1));
        assert_eq!(listener.player.statistics().lost, missed);
    }
}

#[test]
fn heartbeats_alone_keep_a_silent_station_on_the_air() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..50).for_each(|n| listener.on_time(packet(n)));
    (50..1_000)
        .step_by(5)
        .for_each(|n| listener.hears(&beat(n)));
    assert_eq!(listener.words().len(), 3);
    assert_eq!(listener.stretches()[1], (50, 985, false));
}

#[test]
fn decoders_start_afresh_with_each_track_also_when_the_packets_that_say_so_are_lost() {
    let mut listener = Listener::new();
    let tracks = |next: u64| Heartbeat {
        tracks: [track(0, "one"), track(20, "two")],
        ..beat(next)
    };
    listener.hears(&tracks(0));
    let ends = |n| {
        if n == 29 {
            crate::wire::media::Flags::LAST_OF_TRACK
        } else {
            Default::default()
        }
    };
    (0..40)
        .filter(|n| ![19, 20].contains(n))
        .for_each(|n| listener.on_time(packet(n).flags(ends(n))));
    listener.hears(&Heartbeat {
        tracks: [track(30, "three"), None],
        ..beat(40)
    });
    listener.run_until(play(39));
    let resets: Vec<_> = (listener.log.windows(2))
        .filter(|pair| pair[0] == Output::Reset)
        .map(|pair| match pair[1] {
            Output::Play { index, .. } | Output::Conceal { index, .. } => index.0,
            _ => u64::MAX,
        })
        .collect();
    assert_eq!(resets, [0, 20, 30]);
    let titles: Vec<_> = (listener.log.iter())
        .filter_map(|output| {
            if let Output::Track(track) = output {
                Some(track.title.as_str())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(titles, ["one", "two", "three"]);
    assert_eq!(listener.player.track_position(), Some(FRAME * 9));
}

#[test]
fn a_station_that_says_goodbye_before_a_frame_was_heard_is_off_the_air_at_once() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    let goodbye = Heartbeat {
        state: State::Over(EndReason::Left),
        number: 2,
        ..beat(0)
    };
    listener.hears(&goodbye);
    listener.drain();
    assert!(listener.player.is_off_air());
    assert_eq!(listener.words().last(), Some(&off_air(OffAirReason::Left)));
}

#[test]
fn the_only_frame_is_played_though_the_goodbye_is_heard_before_it() {
    let run = RunInfo {
        first: FrameIndex(0),
        starts_at: Slot(0),
        end: Some(FrameIndex(1)),
    };
    let over = Heartbeat {
        state: State::Over(EndReason::Ended),
        number: 2,
        run: Some(run),
        ..beat(1)
    };
    for comes in [true, false] {
        let mut listener = Listener::new();
        listener.hears(&beat(0));
        listener.hears(&over);
        listener.drain();
        assert!(!listener.player.is_off_air(), "it may still come");
        if comes {
            listener.on_time(packet(0).flags(Flags::LAST_OF_TRACK));
        }
        listener.run_until(play(0) + FRAME * 2);
        let ended = off_air(OffAirReason::Ended);
        assert_eq!(listener.words().last(), Some(&ended));
        let plays = Output::Play {
            index: FrameIndex(0),
        };
        assert_eq!(listener.log.contains(&plays), comes);
        assert!(listener.player.is_off_air());
    }
}

#[test]
fn a_station_that_dies_before_its_first_frame_is_lost() {
    let mut listener = Listener::new();
    listener.hears(&told(State::Idle, 0, 0, None));
    listener.run_until(due(0) + SOURCE_LOST_AFTER - Duration::from_micros(1));
    assert_eq!(listener.words(), [leader(1, "first")]);
    listener.run_until(due(0) + SOURCE_LOST_AFTER);
    let lost = off_air(OffAirReason::SourceLost);
    assert_eq!(listener.words(), [leader(1, "first"), lost]);
    assert!(listener.player.is_off_air());
}

#[test]
fn an_idle_pause_of_which_nobody_told_costs_the_next_run_no_more_than_its_own_hole() {
    let mut listener = Listener::new();
    (0..50).for_each(|n| listener.on_time(packet(n)));
    listener.run_until(due(199));
    for n in 50..70 {
        let next = packet(n).idle(150);
        let next = if n == 50 { next.marker() } else { next };
        listener.run_until(next.due());
        // The marker was too old: three that agree say where the run stands, and are played, too.
        assert_eq!(listener.receive(next, next.due()).is_ok(), n >= 58);
    }
    listener.run_until(play(150 + 69));
    let stretches = [(0, 50, true), (50, 56, false), (56, 70, true)];
    assert_eq!(listener.stretches(), stretches);
}

#[test]
fn silence_is_decided_as_long_as_frames_are_known_to_exist() {
    let mut listener = Listener::new();
    listener.hears(&beat(0));
    (0..50).for_each(|n| listener.on_time(packet(n)));
    listener.hears(&beat(80));
    listener.run_until(play(100));
    assert_eq!(listener.stretches(), [(0, 50, true), (50, 80, false)]);
}
