//! Named runs of stations with a quorum: at most one side speaks. Transcripts as in `scenarios`.

use crate::faults::Fault;
use crate::host::Heard;
use crate::scenarios::{all_hear, compare, nobody_hears};
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;

/// A sender of a song of 12 s and so many standbys, on air for 3 s; so many have to agree.
fn station(seed: u64, standbys: usize, quorum: u16) -> World {
    let mut world = World::new(seed);
    world.quorum = quorum;
    world.add_sender(&Feed::of(&[600]));
    (0..standbys).for_each(|_| _ = world.add_listener(true));
    world.run_for(3 * SECOND);
    world
}

/// When a part of the network was last sent a frame, by the leader itself or by somebody who covers, in true time.
fn frames_from(world: &World, frame: u64) -> Option<u64> {
    let firsts = world.checks.first.iter();
    let found = firsts.filter(|((_, index), _)| index.0 == frame);
    found.map(|(_, at)| *at).min()
}

#[test]
fn a_station_is_founded_when_enough_are_here() {
    let mut world = World::new(31);
    world.quorum = 3;
    world.add_sender(&Feed::of(&[600]));
    world.add_listener(true);
    world.run_for(4 * SECOND);
    assert!(world.leaders().is_empty(), "{}", world.told());
    world.add_listener(false);
    let mut world = compare(world, "quorum_founding", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
}

#[test]
fn two_founders_with_a_quorum_make_one_station() {
    let mut world = World::new(32);
    world.quorum = 3;
    (0..2).for_each(|_| _ = world.add_sender(&Feed::of(&[150])));
    (0..2).for_each(|_| _ = world.add_listener(true));
    let mut world = compare(world, "quorum_two_founders", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 300);
}

#[test]
fn with_a_quorum_a_killed_sender_is_not_missed() {
    let mut world = station(33, 4, 3);
    world.strike(&Fault::Crash(0));
    let mut world = compare(world, "quorum_the_sender_dies", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
}

#[test]
fn with_a_quorum_a_leader_leaves_without_being_missed() {
    let mut world = station(34, 4, 3);
    world.strike(&Fault::Leave(0));
    let mut world = compare(world, "quorum_a_leader_leaves", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
    assert_eq!(world.counts.get("covers"), None);
    assert_eq!(world.counts.get("hand-overs"), Some(&1));
}

/// The leader is in the smaller part: that one falls silent, and the other goes on.
#[test]
fn trace_13_one_side_of_a_partition_speaks() {
    let mut world = station(35, 4, 3);
    world.strike(&Fault::Partition(vec![0, 0, 1, 1, 1]));
    world.run_for(SECOND);
    let leaders = world.leaders();
    assert!(leaders.len() == 1 && leaders[0] >= 2, "{leaders:?}");
    world.run_for(2 * SECOND);
    world.strike(&Fault::Heal);
    let mut world = compare(world, "trace_13", 14 * SECOND);
    for number in 2..5 {
        assert_eq!(world.concealed(number), 0, "host {number}");
    }
    // Who was cut off hears nothing for the rest of the time, and then goes on with everybody else.
    let heard = &world.hosts[1].heard;
    let decided = heard.iter().filter(|heard| **heard != Heard::OffAir);
    let is_played = |index: u64| {
        let played = |heard: &&Heard| matches!(heard, Heard::Played(at, _) if at.0 == index);
        heard.iter().any(|heard| played(&heard))
    };
    assert_eq!(decided.count(), 600, "{}", world.told());
    assert!(
        (300..600).all(is_played) && !is_played(200),
        "{}",
        world.told()
    );
}

/// Heartbeats come often enough that a fifth of all packets may be lost.
#[test]
fn trace_14_loss_does_not_cost_the_lease() {
    let mut world = World::new(36);
    world.quorum = 3;
    world.network.loss_permille = 200;
    world.add_sender(&Feed::of(&[3_000]));
    (0..4).for_each(|_| _ = world.add_listener(true));
    let world = compare(world, "trace_14", 62 * SECOND);
    assert_eq!(world.counts.get("leases lost"), None);
    assert_eq!(world.counts.get("claims"), None);
}

#[test]
fn a_quorum_is_lost_and_regained() {
    let mut world = station(37, 2, 2);
    world.strike(&Fault::Partition(vec![0, 1, 2]));
    world.run_for(SECOND);
    assert!(world.leaders().is_empty(), "{}", world.told());
    let lost_at = world.now_us;
    world.run_for(2 * SECOND);
    world.strike(&Fault::Heal);
    let world = compare(world, "quorum_lost_and_regained", 14 * SECOND);
    let (before, after) = (frames_from(&world, 100), frames_from(&world, 590));
    assert!(
        before < Some(lost_at) && after > Some(lost_at),
        "{}",
        world.told()
    );
    for number in 1..3 {
        assert_eq!(world.hosts[number].off_air.as_deref(), Some("ended"));
    }
}

/// Two of three processes that have to agree are started again.
#[test]
fn voters_that_are_started_again_vote_again() {
    let mut world = station(38, 2, 2);
    for voter in 1..3 {
        world.strike(&Fault::Crash(voter));
        world.fault_in(SECOND, Fault::Restart(voter));
    }
    let world = compare(world, "quorum_voters_return", 14 * SECOND);
    assert_eq!(world.hosts[0].off_air, None);
    for number in 1..3 {
        assert_eq!(world.hosts[number].off_air.as_deref(), Some("ended"));
    }
}
