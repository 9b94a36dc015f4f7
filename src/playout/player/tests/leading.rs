//! What if a frame has to be decided before it is heard, and what if it is to be heard at another time than the others do?

use std::time::Duration;

use super::harness::*;
use crate::playout::player::{BufferChoice, Config, LEAST_WAIT};
use crate::time::{ClockMap, Instant};
use crate::wire::FrameIndex;

const LEAD: Duration = Duration::from_millis(200);

/// When frame 40 is decided, and when it is heard, after it was due, in ms; and how much later than it should.
fn times_ms(config: Config) -> (u64, u64, u64) {
    let mut listener = Listener::with(config);
    (0..40).for_each(|n| listener.on_time(packet(n)));
    let (player, index) = (&listener.player, FrameIndex(40));
    let after = |at: Option<Instant>| at.unwrap().since(due(40)).as_millis() as u64;
    (
        after(player.play_time(index)),
        after(player.heard_at(index)),
        player.behind().as_millis() as u64,
    )
}

#[test]
fn a_frame_is_decided_as_early_as_the_device_takes_and_heard_when_it_should_be() {
    let buffer_ms = BUFFER.as_millis() as u64;
    for (lead_ms, delay_ms, expected) in [
        (0, 0, (buffer_ms, buffer_ms, 0)),
        (150, 0, (buffer_ms - 150, buffer_ms, 0)),
        (150, 30, (buffer_ms - 120, buffer_ms + 30, 0)),
        (0, -30, (buffer_ms - 30, buffer_ms - 30, 0)),
        // No less than 40 ms are left for the network; else all is heard later, and then a takeover shall not be heard.
        (buffer_ms - 40, 0, (40, buffer_ms, 0)),
        (buffer_ms - 39, 0, (100, buffer_ms + 61, 61)),
        // A delay that would come before the frame.
        (0, -10_000, (40, 40, 0)),
    ] {
        let config = Config {
            lead: Duration::from_millis(lead_ms),
            delay_us: delay_ms * 1_000,
            ..config()
        };
        assert_eq!(times_ms(config), expected, "{lead_ms}, {delay_ms}");
    }
}

#[test]
fn what_a_device_takes_comes_on_top_of_a_buffer_that_adapts() {
    let buffer = BufferChoice::Auto {
        min: Duration::from_millis(60),
        max: Duration::from_secs(2),
    };
    let config = Config {
        buffer,
        lead: LEAD,
        ..config()
    };
    let (decided_ms, heard_ms, behind_ms) = times_ms(config);
    assert_eq!((heard_ms - decided_ms, behind_ms), (200, 0));
    assert!(decided_ms >= LEAST_WAIT.as_millis() as u64);
}

#[test]
fn a_buffer_is_as_long_on_the_stations_clock_as_it_says() {
    let mut listener = Listener::new();
    (0..40).for_each(|n| listener.on_time(packet(n)));
    // The station's clock goes 1,000 ppm faster, and shows now what it showed before.
    let shown_us = (40 * 20_000) as f64;
    listener
        .player
        .handle_clock(Some(ClockMap::new(due(40), shown_us, 1_000.0)));
    let heard = listener.player.heard_at(FrameIndex(40)).unwrap();
    let buffer_us = BUFFER.as_micros() as u64;
    let expected_us = buffer_us - buffer_us / 1_001;
    let off_us = heard.since(due(40)).as_micros() as i64 - expected_us as i64;
    assert!(off_us.abs() <= 1, "{off_us}");
    assert_eq!(listener.player.station_ppm(), 1_000.0);
}
