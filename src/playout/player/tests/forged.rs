//! What somebody can do to a listener who knows the station's numbers and sends a few packets in its name.

use proptest::prelude::*;

use super::super::*;
use super::harness::*;
use crate::wire::control::Heartbeat;
use crate::wire::election::MAX_LEAP;

const MICRO: Duration = Duration::from_micros(1);

/// Frames 0..100 were heard on time, with their heartbeats.
fn following() -> Listener {
    let mut listener = Listener::new();
    listener.is_sent(0..100);
    listener
}

impl Listener {
    /// The true station goes on, on time.
    fn is_sent(&mut self, frames: std::ops::Range<u64>) {
        for n in frames {
            if n.is_multiple_of(5) {
                self.run_until(due(n) - MICRO);
                let _ = self.player.handle_heartbeat(&beat(n), due(n), due(n));
            }
            self.run_until(due(n) - MICRO);
            let _ = self.receive(packet(n), due(n));
        }
    }

    /// How many frames were concealed by the time frame `last` was played, and whether that one was.
    fn concealed_until(&mut self, last: u64) -> u64 {
        self.run_until(play(last));
        assert_eq!(self.decided.last(), Some(&(last, true)));
        self.player.statistics().concealed
    }
}

#[test]
fn a_packet_or_heartbeat_of_the_near_future_makes_nothing_overdue() {
    let mut listener = following();
    let _ = listener.receive(packet(145), due(100));
    listener.is_sent(100..200);
    let early = Heartbeat {
        sent_at_us: 200 * crate::wire::FRAME_MICROS + 900_000,
        ..beat(201)
    };
    let _ = listener.player.handle_heartbeat(&early, due(200), due(200));
    listener.is_sent(200..1_000);
    assert_eq!(listener.concealed_until(999), 0);
}

#[test]
fn heartbeats_that_agree_on_a_far_future_make_nothing_overdue() {
    let mut listener = following();
    for k in 1..=3 {
        let early = Heartbeat {
            number: 100 + k,
            sent_at_us: 500_000_000,
            ..beat(100)
        };
        let _ = listener.player.handle_heartbeat(&early, due(100), due(100));
    }
    listener.is_sent(100..1_000);
    assert_eq!(listener.concealed_until(999), 0);
}

#[test]
fn a_join_whose_first_packets_were_held_back_plays_on_time_soon_and_without_a_gap() {
    for held_back in [10, 20, 60] {
        let mut listener = Listener::new();
        (0..held_back).for_each(|n| {
            let _ = listener.receive(packet(n), due(held_back));
        });
        listener.is_sent(held_back..200);
        assert_eq!(
            listener.concealed_until(199),
            0,
            "{held_back} frames held back"
        );
        assert_eq!(listener.player.poll_timeout(), Some(play(200)));
    }
}

#[test]
fn frames_are_not_taken_before_they_can_have_been_sent() {
    let mut listener = following();
    for n in 200..900 {
        let refused = listener.receive(packet(n), due(100));
        assert_eq!(refused, Err(Rejection::TooFar(FrameIndex(n))));
    }
    listener.is_sent(100..1_000);
    assert_eq!(listener.concealed_until(999), 0);
    assert_eq!(listener.player.statistics().duplicate, 0);
}

#[test]
fn a_machine_whose_clock_stood_still_plays_on_within_half_a_second() {
    let mut listener = following();
    let stood_still = FRAME * 250;
    for n in 350..500 {
        let arrives = due(n) - stood_still;
        listener.run_until(arrives - MICRO);
        let _ = listener.receive(packet(n), arrives);
    }
    listener.run_until(play(499) - stood_still);
    let stretches = listener.stretches();
    let (from, to, with_data) = stretches.last().copied().unwrap();
    assert!(from <= 350 + 25 && to == 500 && with_data, "{stretches:?}");
}

#[test]
fn packets_that_agree_conceal_nothing_as_long_as_the_station_is_heard() {
    for (far, idle) in [(170_000, 0), (5_000, 0), (150, 50_000)] {
        let mut listener = following();
        for n in far..far + 10 {
            assert!(listener.receive(packet(n).idle(idle), due(100)).is_err());
        }
        listener.is_sent(100..1_000);
        assert_eq!(listener.concealed_until(999), 0, "{far} {idle}");
    }
}

#[test]
fn copies_of_what_was_heard_keep_no_dead_station_on_the_air() {
    let mut listener = following();
    let lost_at = due(99) + SOURCE_LOST_AFTER;
    for n in 100..400 {
        listener.run_until(due(n));
        let _ = listener.receive(packet(99), due(n));
        let _ = listener.receive(packet(50), due(n));
        let repeated = Heartbeat {
            number: n,
            sent_at_us: n * crate::wire::FRAME_MICROS,
            ..beat(95)
        };
        let _ = listener.player.handle_heartbeat(&repeated, due(n), due(n));
        assert_eq!(listener.player.is_off_air(), due(n) >= lost_at);
        listener.run_until(due(n));
    }
}

#[test]
fn a_term_that_takeovers_cannot_have_led_to_is_not_followed() {
    let mut listener = following();
    for n in 100..124 {
        let forged = packet(n).term(MAX_LEAP + 2).plan(9);
        let refused = listener.receive(forged, due(n) - MICRO);
        assert_eq!(refused, Err(Rejection::TermLeap));
        let beat = Heartbeat {
            term: term(u32::MAX),
            ..beat(n)
        };
        let refused = listener.player.handle_heartbeat(&beat, due(n), due(n));
        assert_eq!(refused, Err(Rejection::TermLeap));
        listener.is_sent(n..n + 1);
    }
    listener.is_sent(124..300);
    assert_eq!(listener.concealed_until(299), 0);
    assert_eq!(listener.rejected("term_leap"), 48);
}

#[test]
fn the_highest_term_silences_a_listener_for_five_seconds_at_most() {
    let mut listener = following();
    for n in [100, 112] {
        let forged = packet(n).term(MAX_LEAP + 1).plan(9);
        let _ = listener.receive(forged, due(n) - MICRO);
        listener.is_sent(n..n + 12);
    }
    listener.is_sent(124..600);
    listener.run_until(play(599));
    let (from, to, with_data) = listener.stretches().last().copied().unwrap();
    assert!(
        from <= 112 + 250 + 10 && to == 600 && with_data,
        "{from} to {to}"
    );
}

#[test]
fn a_heartbeat_of_the_highest_number_does_not_make_all_others_old() {
    let mut listener = following();
    let forged = Heartbeat {
        number: u64::MAX,
        buffer_ms: 5_000,
        ..beat(101)
    };
    let _ = listener
        .player
        .handle_heartbeat(&forged, due(100), due(100));
    listener.is_sent(100..200);
    assert_eq!(listener.player.buffer(), BUFFER);
    // One that comes after a while may have risen by as much as heartbeats do meanwhile.
    let later = Heartbeat {
        number: 196 + 64 + 32,
        buffer_ms: 300,
        ..beat(245)
    };
    listener.hears(&later);
    assert_eq!(listener.player.buffer(), Duration::from_millis(300));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_few_packets_in_the_stations_name_cost_little_and_the_tail_plays(
        forged in prop::collection::vec((100u64..800, 0u64..20_000, 0u64..3_000, any::<bool>()), 0..4),
    ) {
        let mut forged = forged;
        forged.sort_unstable();
        let mut listener = following();
        let mut from = 100;
        for (at, ahead, idle, marker) in forged {
            listener.is_sent(from..at.max(from));
            from = at.max(from);
            let packet = Packet { marker, ..packet(at + ahead).idle(idle) };
            let _ = listener.receive(packet, due(from) - MICRO);
        }
        listener.is_sent(from..1_500);
        listener.run_until(play(1_499));
        let (start, end, with_data) = listener.stretches().last().copied().unwrap();
        prop_assert!(end == 1_500 && with_data && start <= 1_000, "{:?}", listener.stretches());
        prop_assert!(listener.player.statistics().concealed <= 200, "{:?}", listener.stretches());
    }
}
