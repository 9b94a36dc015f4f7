//! What time is it on the station, as all nodes say? Real nodes, whose clocks are up to 200 ppm apart.

use lanradio::wire::FrameIndex;

use crate::faults::Fault;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;
const SEEDS: u64 = 12;
/// When clocks are known.
const SETTLED: u64 = 30 * SECOND;
/// What a switched network takes, in µs.
const WIRED_US: (u64, u64) = (60, 120);

/// A sender and some listeners, some of which could take over.
fn station(seed: u64, frames: u64) -> World {
    let mut world = World::new(seed);
    world.network.delay_us = WIRED_US;
    world.add_sender(&Feed::of(&[frames]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    (0..2).for_each(|_| _ = world.add_listener(false));
    world
}

/// What the station clock shows now, as a host knows it, in µs.
fn shown(world: &World, host: usize) -> Option<f64> {
    let host = &world.hosts[host];
    let clock = host.node.station_clock().filter(|_| host.up)?;
    Some(clock.station_us(host.clock.local(world.now_us)) as f64)
}

/// How far apart are what the hosts say, in µs?
fn spread_us(world: &World) -> f64 {
    let shown = (0..world.hosts.len()).filter_map(|host| shown(world, host));
    let (least, most) = shown.fold((f64::MAX, f64::MIN), |(least, most), us| {
        (least.min(us), most.max(us))
    });
    most - least
}

#[test]
fn half_a_minute_after_it_tuned_in_everybody_shows_the_same_time() {
    for seed in 0..SEEDS {
        let mut world = station(seed, 3_000);
        world.run_for(SETTLED);
        for _ in 0..20 {
            world.run_for(SECOND);
            let spread_us = spread_us(&world);
            assert!(spread_us <= 40.0, "seed {seed}: {spread_us} us apart");
        }
    }
}

#[test]
fn a_frame_is_played_at_the_same_instant_everywhere() {
    for seed in 0..SEEDS {
        let mut world = station(seed, 3_000);
        world.run_for(SETTLED);
        let index = FrameIndex(world.now_us / 20_000);
        let at = world.hosts.iter().filter_map(|host| {
            let player = host.dial.as_ref()?.player()?;
            Some(host.clock.true_us(player.play_time(index)?))
        });
        let at: Vec<u64> = at.collect();
        assert_eq!(at.len(), 5);
        let apart_us = at.iter().max().unwrap() - at.iter().min().unwrap();
        assert!(apart_us <= 40, "seed {seed}: {at:?}");
    }
}

#[test]
fn ten_leaders_killed_in_a_row_step_no_clock_and_add_up_to_no_bias() {
    for seed in 0..SEEDS {
        let mut world = station(seed, 12_000);
        world.run_for(SETTLED);
        // The founder's clock, had it lived.
        let founder = world.hosts[0].clock;
        let began_us =
            shown(&world, 0).expect("it leads") - founder.local(world.now_us).as_micros() as f64;
        for _ in 0..10 {
            let Some(leader) = world.leaders().first().copied() else {
                panic!("seed {seed}: nobody leads\n{}", world.told());
            };
            world.strike(&Fault::Crash(leader));
            let before: Vec<Option<f64>> = (0..world.hosts.len())
                .map(|host| shown(&world, host))
                .collect();
            let at_us = world.now_us;
            world.run_for(SECOND);
            let passed_us = (world.now_us - at_us) as f64;
            for (host, before) in before.into_iter().enumerate() {
                let (Some(before), Some(now)) = (before, shown(&world, host)) else {
                    continue;
                };
                // The station's second is the founder's.
                let step_us = now - before - passed_us * (1.0 + founder.ppm as f64 * 1e-6);
                assert!(
                    step_us.abs() <= 300.0,
                    "seed {seed}: host {host} steps by {step_us} us"
                );
            }
            world.strike(&Fault::Restart(leader));
            world.run_for(9 * SECOND);
            let spread_us = spread_us(&world);
            assert!(spread_us <= 150.0, "seed {seed}: {spread_us} us apart");
        }
        let leader = world.leaders()[0];
        let now_us = shown(&world, leader).expect("it leads");
        let off_us = now_us - began_us - founder.local(world.now_us).as_micros() as f64;
        assert!(
            off_us.abs() <= 500.0,
            "seed {seed}: {off_us} us off the founder's clock"
        );
    }
}

#[test]
fn a_leader_whose_clock_is_set_is_replaced_and_nobody_hears_it() {
    for (seed, ms) in [(1, 45), (2, 200), (3, 2_000), (4, -45), (5, -200)] {
        let mut world = station(seed, 6_000);
        world.run_for(SETTLED);
        let before: Vec<_> = (1..world.hosts.len())
            .map(|host| shown(&world, host).expect("known"))
            .collect();
        let at_us = world.now_us;
        world.strike(&Fault::Step(0, ms * 1_000));
        world.run_for(5 * SECOND);
        assert_ne!(
            world.leaders(),
            [0],
            "{ms} ms: another one leads\n{}",
            world.told()
        );
        world.run_for(25 * SECOND);
        let passed_us = (world.now_us - at_us) as f64;
        for (before, host) in before.iter().zip(1..) {
            let now = shown(&world, host).expect("known");
            let off_us = now - before - passed_us;
            // 200 ppm in half a minute, and no more.
            assert!(
                off_us.abs() <= 7_000.0,
                "{ms} ms: host {host} is off by {off_us} us"
            );
        }
        let spread_us = spread_us(&world);
        assert!(spread_us <= 300.0, "{ms} ms: {spread_us} us apart");
    }
}

#[test]
fn a_listener_whose_clock_stood_still_is_in_step_again_soon() {
    for seed in 0..4 {
        let mut world = station(seed, 6_000);
        world.run_for(SETTLED);
        world.strike(&Fault::Freeze(5, 3 * SECOND));
        world.run_for(10 * SECOND);
        let spread_us = spread_us(&world);
        assert!(spread_us <= 500.0, "seed {seed}: {spread_us} us apart");
    }
}
