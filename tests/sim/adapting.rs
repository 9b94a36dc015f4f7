//! Is a buffer that adapts as long as loss and the time of a repair need it, and no longer?

use std::time::Duration;

use lanradio::playout::dial::Dial;
use lanradio::playout::player::{BufferChoice, Config};

use crate::directed::runs;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;

/// A sender with a buffer of 60 ms and three listeners without a copy: the first one has that buffer, those of the others adapt.
fn adapting(world: &mut World, loss_permille: u64, delay_us: (u64, u64)) {
    world.buffer = Duration::from_millis(60);
    world.network.loss_permille = loss_permille;
    world.network.delay_us = delay_us;
    world.add_sender(&Feed::of(&[18_000]));
    for adapts in [false, true, true] {
        let number = world.add_listener(false);
        if adapts {
            let (min, max) = (Duration::from_millis(60), Duration::from_secs(2));
            let buffer = BufferChoice::Auto { min, max };
            let config = Config {
                buffer,
                ..Config::default()
            };
            world.hosts[number].dial = Some(Dial::new(config));
        }
    }
}

/// Frames concealed so far, and the buffer in milliseconds.
fn heard(world: &World, number: usize) -> (u64, u128) {
    let dial = world.hosts[number].dial.as_ref().expect("it listens");
    let player = dial.player().expect("it is tuned in");
    (dial.statistics().concealed, player.buffer().as_millis())
}

/// So many frames in a thousand are lost, the others take so long: how long is the buffer after five minutes, of which the
/// first seconds are for finding out?
fn five_minutes<const LOSS: u64, const MIN_MS: u128, const MAX_MS: u128>(
    world: &mut World,
    delay_us: (u64, u64),
) {
    adapting(world, LOSS, delay_us);
    world.run_for(320 * SECOND);
    let (fixed, _) = heard(world, 1);
    for number in [2, 3] {
        let (concealed, buffer_ms) = heard(world, number);
        let length = (MIN_MS..=MAX_MS).contains(&buffer_ms);
        if !length || concealed > 4 + fixed / 20 {
            let text = format!(
                "{LOSS}, {delay_us:?}: {concealed} frames concealed, {fixed} with 60 ms; now {buffer_ms} ms"
            );
            world.violate("a buffer that adapts", text);
        }
    }
}

fn fast<const LOSS: u64, const MIN_MS: u128, const MAX_MS: u128>(world: &mut World) {
    five_minutes::<LOSS, MIN_MS, MAX_MS>(world, (400, 1_000));
}

fn slow<const LOSS: u64, const MIN_MS: u128, const MAX_MS: u128>(world: &mut World) {
    five_minutes::<LOSS, MIN_MS, MAX_MS>(world, (5_000, 10_000));
}

#[test]
fn it_stays_short_where_nothing_is_lost() {
    runs(fast::<0, 60, 60>, 0..2);
}

#[test]
fn it_becomes_as_long_as_repairs_need_and_a_twentieth_of_the_holes_is_left() {
    runs(fast::<50, 60, 90>, 0..3);
    runs(fast::<100, 70, 130>, 0..3);
    runs(slow::<100, 130, 260>, 0..3);
    runs(slow::<200, 200, 550>, 0..3);
}
