//! Does the leader know who suffers?

use std::time::Duration;

use lanradio::wire::report::Report;

use crate::faults::Fault;
use crate::host::Host;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;

/// What the leader knows of a host: its report, and how old that is.
fn known(world: &World, number: usize) -> Option<(Report, Duration)> {
    let [leader] = world.leaders()[..] else {
        panic!("leaders: {:?}", world.leaders());
    };
    let leader: &Host = &world.hosts[leader];
    let node = world.hosts[number].node.config().node;
    let (report, at) = leader.node.roster().get(node)?.report?;
    Some((report, leader.clock.local(world.now_us).since(at)))
}

/// So many seconds, in each of which a host does not hear the sender for 100 ms.
fn with_holes(world: &mut World, seconds: u64, from: usize, to: usize) {
    for _ in 0..seconds {
        let until = world.now_us + SECOND / 10;
        world.deaf_until.insert((from, to), until);
        world.run_for(SECOND);
    }
}

#[test]
fn a_leader_knows_within_7_s_who_suffers_and_so_does_the_next_one() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.add_sender(&Feed::of(&[3_000]));
        world.add_listener(true);
        world.add_listener(true);
        let deaf = world.add_listener(false);
        world.run_for(12 * SECOND);
        for number in 1..4 {
            let (report, age) = known(&world, number).expect("it has reported");
            assert!(age <= Duration::from_millis(6_100), "{age:?}");
            // What was on air before they came was fetched, and not lost.
            assert_eq!(report.lately.loss_percent(), Some(0.0), "{number}");
            assert!(report.listens && report.totals.received > 200);
            assert_eq!(report.longest_burst, 0, "{number}");
        }
        with_holes(&mut world, 7, 0, deaf);
        let loss = |world: &World, number| {
            let (report, _) = known(world, number).expect("it has reported");
            report.lately.loss_percent().expect("it plays")
        };
        assert!(loss(&world, deaf) > 2.0, "{}", loss(&world, deaf));
        assert_eq!((loss(&world, 1), loss(&world, 2)), (0.0, 0.0));
        let suffers = known(&world, deaf).unwrap().0;
        assert!((4..=6).contains(&suffers.longest_burst), "{suffers:?}");
        // Those holes of four to six frames that there were before its last report, and no others.
        let [_, _, few, more, ..] = suffers.bursts.0;
        assert!((1..=7).contains(&(few + more)), "{suffers:?}");
        assert_eq!(suffers.bursts.0.iter().sum::<u64>(), few + more);
        // All of it was repaired, as soon as the sender was heard again, by somebody who has a copy.
        assert_eq!(
            (suffers.totals.concealed, suffers.totals.repaired() >= 15),
            (0, true),
            "{suffers:?}"
        );
        let times = suffers.repair.expect("it was asked for");
        assert!(times.p50_us < 20_000 && times.p99_us < 150_000, "{times:?}");
        // Another one leads: within 3 s it knows the same.
        world.strike(&Fault::Crash(0));
        world.run_for(SECOND);
        let [leader] = world.leaders()[..] else {
            panic!("{}", world.told());
        };
        with_holes(&mut world, 2, leader, deaf);
        let other = 3 - leader;
        for number in [other, deaf] {
            let (report, age) = known(&world, number).expect("it has reported");
            assert!(age <= Duration::from_millis(2_500), "{age:?}");
            assert!(report.totals.received > 400, "{report:?}");
        }
        assert!(loss(&world, deaf) > 2.0);
        assert_eq!(loss(&world, other), 0.0);
    }
}

#[test]
fn whatever_a_listener_tells_it_listens_and_has_a_buffer() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        // One that waits for a station, and one that joins it.
        world.add_listener(true);
        world.run_for(5 * SECOND + seed * 90_000);
        let sender = world.add_sender(&Feed::of(&[3_000]));
        world.run_for(2 * SECOND);
        let joiner = world.add_listener(false);
        for _ in 0..100 {
            world.run_for(SECOND / 20);
            for number in [0, joiner] {
                if let Some((report, _)) = known(&world, number) {
                    let what = (report.listens, report.buffer_ms);
                    assert_eq!(what, (true, 500), "host {number} of seed {seed}");
                }
            }
        }
        assert_eq!(world.leaders(), [sender]);
        let told = [0, joiner].map(|number| known(&world, number).is_some());
        assert_eq!(told, [true; 2]);
    }
}
