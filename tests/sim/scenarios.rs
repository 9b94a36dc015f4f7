//! Named runs: the traces of PROTOCOL that a station without a quorum can show, and what users do. Each has a transcript in
//! `transcripts/`, compared line by line; `LANRADIO_BLESS=1` writes them anew.

use std::path::Path;

use crate::faults::Fault;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;
const MS: u64 = 1_000;

/// A sender of a song of 12 s and so many standbys, on air for 3 s.
fn station(seed: u64, standbys: usize) -> World {
    let mut world = World::new(seed);
    world.add_sender(&Feed::of(&[600]));
    (0..standbys).for_each(|_| _ = world.add_listener(true));
    world.run_for(3 * SECOND);
    world
}

/// Lets a run come to its end, and compares its transcript with the last good one.
pub(crate) fn compare(mut world: World, name: &str, us: u64) -> World {
    world.run_to_the_end(us);
    assert!(
        world.violations.is_empty(),
        "{name}: {:?}\n{}",
        world.violations,
        world.told()
    );
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sim/transcripts/{name}.txt"));
    let told = world.told();
    if std::env::var_os("LANRADIO_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, told).unwrap();
        return world;
    }
    let blessed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = blessed.lines().zip(told.lines()).position(|(a, b)| a != b);
    assert_eq!(
        blessed, told,
        "{name} (LANRADIO_BLESS=1 writes it anew): line {line:?}"
    );
    world
}

/// Nobody conceals a frame.
pub(crate) fn nobody_hears(world: &mut World) {
    for number in 0..world.hosts.len() {
        let concealed = world.concealed(number);
        let listens = world.hosts[number].up && world.hosts[number].dial.is_some();
        assert!(
            !listens || concealed == 0,
            "{number} conceals {concealed} frames\n{}",
            world.told()
        );
    }
}

/// Every listener that is still there has heard so many frames.
pub(crate) fn all_hear(world: &World, frames: usize) {
    for (number, host) in world
        .hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| host.up && host.dial.is_some())
    {
        let heard = host
            .heard
            .iter()
            .filter(|heard| **heard != crate::host::Heard::OffAir)
            .count();
        assert_eq!(heard, frames, "host {number}\n{}", world.told());
    }
}

#[test]
fn a_song_plays_to_its_end() {
    let mut world = compare(station(1, 3), "a_song", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
    assert_eq!(world.counts.get("covers"), None);
}

#[test]
fn the_sender_dies() {
    let mut world = station(2, 3);
    world.strike(&Fault::Crash(0));
    let mut world = compare(world, "the_sender_dies", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
}

#[test]
fn a_lone_listener_goes_on() {
    let mut world = station(3, 1);
    world.strike(&Fault::Crash(0));
    let mut world = compare(world, "a_lone_listener", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
}

#[test]
fn a_leader_leaves() {
    let mut world = station(4, 3);
    world.strike(&Fault::Leave(0));
    let mut world = compare(world, "a_leader_leaves", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
    assert_eq!(world.counts.get("covers"), None);
}

#[test]
fn two_crashes_in_a_row() {
    let mut world = station(5, 3);
    world.strike(&Fault::Crash(0));
    world.run_for(300 * MS);
    let leader = world.leaders()[0];
    world.strike(&Fault::Crash(leader));
    let mut world = compare(world, "two_crashes", 14 * SECOND);
    nobody_hears(&mut world);
}

#[test]
fn the_heir_that_covers_dies_too() {
    let mut world = station(6, 3);
    world.strike(&Fault::Crash(0));
    world.run_for(45 * MS);
    let covers = world.transcript.iter().find_map(|line| {
        line.split(" covers")
            .next()?
            .trim()
            .rsplit(' ')
            .next()?
            .parse::<usize>()
            .ok()
            .filter(|_| line.contains(" covers"))
    });
    world.strike(&Fault::Crash(covers.expect("somebody covers by now")));
    let mut world = compare(world, "the_heir_dies_too", 14 * SECOND);
    nobody_hears(&mut world);
}

#[test]
fn partition_two_and_one() {
    let mut world = station(7, 2);
    world.strike(&Fault::Partition(vec![0, 1, 1]));
    world.fault_in(4 * SECOND, Fault::Heal);
    let mut world = compare(world, "partition_two_and_one", 14 * SECOND);
    nobody_hears(&mut world);
}

#[test]
fn partition_into_three() {
    let mut world = station(8, 2);
    world.strike(&Fault::Partition(vec![0, 1, 2]));
    world.fault_in(4 * SECOND, Fault::Heal);
    let mut world = compare(world, "partition_into_three", 14 * SECOND);
    nobody_hears(&mut world);
}

#[test]
fn five_nodes_start_at_once() {
    let mut world = World::new(9);
    (0..2).for_each(|_| _ = world.add_sender(&Feed::of(&[150])));
    (0..3).for_each(|_| _ = world.add_listener(true));
    let mut world = compare(world, "five_at_once", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 300);
}

#[test]
fn the_leader_dies_while_a_standby_copies() {
    let mut world = World::new(10);
    world.add_sender(&Feed {
        second_us: 400 * MS,
        ..Feed::of(&[600])
    });
    (0..2).for_each(|_| _ = world.add_listener(true));
    world.run_for(2_500 * MS);
    world.strike(&Fault::Crash(0));
    let mut world = compare(world, "while_a_standby_copies", 14 * SECOND);
    nobody_hears(&mut world);
    let told = world.told();
    assert!(told.contains("off air: SourceLost"), "{told}");
}

/// A sender of 30 s and of 2 s after that; nothing can be copied from it any more when some standby has 10 s. It dies 3 s later.
/// Answers how much is held.
fn copied_in_part(seed: u64, standbys: usize) -> (World, usize) {
    let mut world = World::new(seed);
    world.add_sender(&Feed::of(&[1_500, 100]));
    (0..standbys).for_each(|_| _ = world.add_listener(true));
    while world.most_held() < 500 {
        world.run_for(MS);
    }
    world.strike(&Fault::Stingy(0));
    world.fault_in(3 * SECOND, Fault::Crash(0));
    let held = world.most_held() as usize;
    (world, held)
}

/// The whole song is encoded and its length known, but only a part of it was copied: that part plays, and then what comes next.
#[test]
fn a_finished_song_that_was_copied_in_part() {
    let (mut world, held) = copied_in_part(25, 3);
    world.fault_in(5 * SECOND, Fault::Join(Feed::of(&[150])));
    let mut world = compare(world, "copied_in_part", 30 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, held + 150);
    let told = world.told();
    assert!(told.contains("off air: SourceLost"), "{told}");
}

/// A sender that joins is heard, but nothing can be copied from it: the station does not wait for it for ever, and it plays
/// its song itself when that station is over.
#[test]
fn a_sender_from_which_nothing_can_be_copied() {
    let mut world = station(28, 2);
    world.strike(&Fault::Join(Feed::of(&[150])));
    world.strike(&Fault::Stingy(3));
    world.run_for(SECOND);
    world.strike(&Fault::Join(Feed::of(&[100])));
    let mut world = compare(world, "nothing_to_copy", 20 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 850);
}

#[test]
fn a_lone_listener_plays_what_it_has_of_a_song() {
    let (world, held) = copied_in_part(26, 1);
    let mut world = compare(world, "a_part_alone", 20 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, held);
    let told = world.told();
    assert!(told.contains("off air: SourceLost"), "{told}");
}

#[test]
fn a_lone_listener_plays_all_songs_of_the_list() {
    let mut world = World::new(27);
    world.add_sender(&Feed::of(&[300, 100, 200]));
    world.add_listener(true);
    world.run_for(3 * SECOND);
    world.strike(&Fault::Crash(0));
    let mut world = compare(world, "a_list_alone", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 600);
}

#[test]
fn an_append_and_then_a_crash() {
    let mut world = station(11, 3);
    world.strike(&Fault::Join(Feed::of(&[150])));
    world.run_for(3 * SECOND);
    world.strike(&Fault::Crash(4)); // who appended
    world.strike(&Fault::Crash(0)); // who leads
    let mut world = compare(world, "append_then_crash", 16 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 750);
}

#[test]
fn a_killed_sender_that_comes_back_joins() {
    let mut world = station(12, 2);
    world.strike(&Fault::Crash(0));
    world.fault_in(SECOND, Fault::Restart(0));
    let mut world = compare(world, "a_sender_comes_back", 18 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 800);
}

#[test]
fn a_listener_that_led_takes_part_in_the_next_programme() {
    let mut world = station(25, 1);
    world.strike(&Fault::Crash(0));
    world.run_for(11 * SECOND);
    let told = world.told();
    assert!(told.contains("1 off air: Ended"), "{told}");
    let next = world.add_sender(&Feed::of(&[600]));
    world.run_for(3 * SECOND);
    world.strike(&Fault::Crash(next));
    let mut world = compare(world, "the_next_programme", 14 * SECOND);
    nobody_hears(&mut world);
    all_hear(&world, 1_200);
    assert_eq!(world.counts.get("solos"), Some(&2));
}

/// The leader announces a plan and dies; an heir that missed it leads with the old one, and makes another plan.
#[test]
fn trace_1_two_plans_with_one_number() {
    let mut world = World::new(13);
    world.add_sender(&Feed::of(&[600]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    world.fault_in(2 * SECOND, Fault::Partition(vec![0, 1, 1, 0]));
    world.fault_in(2_020 * MS, Fault::Join(Feed::of(&[100, 100])));
    world.fault_in(3 * SECOND, Fault::Crash(0));
    world.fault_in(3 * SECOND, Fault::Crash(4));
    world.fault_in(3 * SECOND, Fault::Partition(vec![2, 0, 0, 1, 2]));
    world.fault_in(3_050 * MS, Fault::Join(Feed::of(&[200])));
    world.fault_in(6 * SECOND, Fault::Heal);
    world.fault_in(12_300 * MS, Fault::Muffle(1, 3));
    world.fault_in(12_300 * MS, Fault::Muffle(2, 3));
    compare(world, "trace_1", 20 * SECOND);
}

/// Two nodes claim at once: the header says whose term a packet is of.
#[test]
fn trace_2_two_leaders_in_one_counter() {
    let mut world = station(14, 4);
    world.strike(&Fault::Partition(vec![2, 0, 0, 1, 1]));
    world.fault_in(3 * SECOND, Fault::Heal);
    let mut world = compare(world, "trace_2", 14 * SECOND);
    nobody_hears(&mut world);
}

/// A leader that is a little behind its coverers goes on sending, and they notice.
#[test]
fn trace_3_a_leader_behind_its_coverers() {
    let mut world = station(15, 3);
    world.strike(&Fault::Freeze(0, 30 * MS));
    let mut world = compare(world, "trace_3", 14 * SECOND);
    nobody_hears(&mut world);
    assert_eq!(world.counts.get("claims"), None);
}

/// A node whose cable was out goes on alone, and gives way when it returns.
#[test]
fn trace_4_a_lone_node_returns() {
    let mut world = station(16, 3);
    world.strike(&Fault::Partition(vec![0, 0, 0, 1]));
    world.fault_in(3 * SECOND, Fault::Heal);
    let mut world = compare(world, "trace_4", 14 * SECOND);
    nobody_hears(&mut world);
    assert_eq!(world.counts.get("claims"), None);
}

/// A node that hears nobody but is heard does not take the station again and again.
#[test]
fn trace_5_a_deaf_node() {
    let mut world = station(17, 3);
    (0..3).for_each(|other| world.strike(&Fault::Cut(other, 3)));
    world.fault_in(4 * SECOND, Fault::Heal);
    let world = compare(world, "trace_5", 14 * SECOND);
    assert_eq!(world.counts.get("claims"), None);
}

/// Heartbeats come late and twice: plans do not go back.
#[test]
fn trace_6_late_heartbeats() {
    let mut world = World::new(18);
    world.network.delay_us = (50, 150 * MS);
    world.network.duplicate_permille = 100;
    world.add_sender(&Feed {
        second_us: 900 * MS,
        ..Feed::of(&[100, 100, 100])
    });
    (0..2).for_each(|_| _ = world.add_listener(true));
    world.run_for(2 * SECOND);
    world.strike(&Fault::Join(Feed::of(&[100])));
    compare(world, "trace_6", 14 * SECOND);
}

/// A candidate without the newest plan is refused, and fetches it; it leads with that, and covers with the leader's.
#[test]
fn trace_7_a_candidate_plan() {
    let mut world = station(19, 3);
    (1..3).for_each(|heir| world.strike(&Fault::Muffle(0, heir)));
    world.strike(&Fault::Join(Feed::of(&[100])));
    world.fault_in(300 * MS, Fault::Crash(0));
    compare(world, "trace_7", 16 * SECOND);
}

/// Candidates that do not hear each other's votes in time wait for a random time.
#[test]
fn trace_8_two_candidates() {
    let mut world = station(20, 4);
    world.network.delay_us = (50, 9 * MS);
    world.network.loss_permille = 150;
    world.strike(&Fault::Crash(0));
    compare(world, "trace_8", 14 * SECOND);
}

/// The leader of a higher term dies in one part; its coverers do not depose the leader of the other part.
#[test]
fn trace_9_covers_of_a_higher_term() {
    let mut world = station(21, 4);
    world.strike(&Fault::Partition(vec![0, 0, 1, 1, 1]));
    world.run_for(2 * SECOND);
    let leader = world
        .leaders()
        .into_iter()
        .find(|leader| *leader != 0)
        .expect("the other part has one");
    world.strike(&Fault::Heal);
    world.strike(&Fault::Crash(leader));
    let mut world = compare(world, "trace_9", 14 * SECOND);
    nobody_hears(&mut world);
}

/// The only holder of the content has an old term, and leads nevertheless.
#[test]
fn trace_10_an_old_term_is_no_veto() {
    let mut world = station(22, 3);
    world.strike(&Fault::Partition(vec![0, 0, 0, 1]));
    world.strike(&Fault::Crash(0));
    world.run_for(2 * SECOND);
    world.strike(&Fault::Heal);
    let leader = world.leaders()[0];
    world.strike(&Fault::Crash(leader));
    let mut world = compare(world, "trace_10", 14 * SECOND);
    nobody_hears(&mut world);
}

/// Standbys do not cover against the successor while the leader hands over, though packets are lost.
#[test]
fn trace_11_a_hand_over_with_loss() {
    let mut world = station(23, 3);
    world.network.loss_permille = 20;
    world.strike(&Fault::Leave(0));
    let world = compare(world, "trace_11", 14 * SECOND);
    assert_eq!(world.counts.get("hand-overs"), Some(&1));
}

/// The source stops for a moment: what heirs may have covered of a run does not come again in the next one.
#[test]
fn trace_12_a_change_of_plan_takes_effect_a_horizon_later() {
    let mut world = World::new(24);
    world.add_sender(&Feed {
        stall: Some((300, 6_200 * MS, 100 * MS)),
        ..Feed::of(&[600])
    });
    (0..2).for_each(|_| _ = world.add_listener(true));
    for (from, to) in [(0, 1), (1, 0), (2, 1)] {
        world.fault_in(6_150 * MS, Fault::Muffle(from, to));
    }
    compare(world, "trace_12", 18 * SECOND);
}
