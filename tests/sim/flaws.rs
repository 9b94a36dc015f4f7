//! Does the simulator see anything? Every node of a run breaks one rule of PROTOCOL on purpose, and an invariant must notice;
//! the same run with whole nodes must break none.

use lanradio::station::node::Flaw;

use crate::directed;
use crate::faults::Fault;
use crate::seeds;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;
/// Random runs that are tried at most.
const TRIES: u64 = 600;

/// How a run is made.
type Make = fn(&mut World);

/// Runs with whole and with broken nodes until the flaw shows in `invariant`.
fn catches(flaw: Flaw, invariant: &str, make: Make, seeds: std::ops::Range<u64>) {
    for seed in seeds.clone() {
        let run = |flaw| {
            let mut world = World::new(seed);
            world.flaw = flaw;
            make(&mut world);
            world.run_to_the_end(20 * SECOND);
            world
        };
        let broken = run(Some(flaw));
        if broken
            .violations
            .iter()
            .any(|violation| violation.invariant == invariant)
        {
            let whole = run(None);
            assert!(
                whole.violations.is_empty(),
                "{flaw:?}, seed {seed}: {:?}\n{}",
                whole.violations,
                whole.told()
            );
            return;
        }
    }
    panic!("{flaw:?} breaks {invariant} in none of the runs {seeds:?}");
}

/// Somebody caught it in a random run.
fn random_runs_catch(flaw: Flaw, invariant: &str) {
    catches(flaw, invariant, seeds::prepare, 0..TRIES);
}

#[test]
fn without_terms_a_nodes_term_falls() {
    random_runs_catch(Flaw::NoTerms, "S2");
}

#[test]
fn plans_named_by_their_version_are_confused() {
    catches(
        Flaw::VersionNotDigest,
        "S3",
        two_plans_of_one_version,
        0..40,
    );
}

#[test]
fn without_a_horizon_a_changed_run_is_covered_as_it_was() {
    catches(Flaw::NoHorizon, "S3", a_deaf_heir_and_a_slow_source, 0..8);
}

#[test]
fn without_a_pre_vote_two_deaf_nodes_depose_a_leader() {
    catches(Flaw::NoPreVote, "L4", two_deaf_nodes, 0..8);
}

#[test]
fn who_votes_twice_is_seen() {
    catches(Flaw::VoteTwice, "S1", a_crowded_election, 0..200);
}

#[test]
fn without_a_veto_two_deaf_nodes_depose_a_leader() {
    catches(Flaw::NoVeto, "L4", two_deaf_nodes, 0..8);
}

#[test]
fn who_stood_still_and_speaks_at_once_is_seen() {
    random_runs_catch(Flaw::ResumeAtOnce, "S5");
}

#[test]
fn when_covers_are_life_nobody_claims_before_they_end() {
    catches(Flaw::CoverIsLife, "L1", directed::a_crash, 0..8);
}

#[test]
fn a_covered_leader_that_is_silent_never_speaks_again() {
    catches(Flaw::CoveredLeaderIsSilent, "L3", a_late_leader, 0..8);
}

#[test]
fn a_change_of_plan_without_notice_contradicts_covers() {
    catches(
        Flaw::ChangeFromNow,
        "S3",
        a_source_that_just_fails_to_keep_up,
        0..8,
    );
}

#[test]
fn when_any_other_term_deposes_a_nodes_term_falls() {
    random_runs_catch(Flaw::LowerTermDeposes, "S2");
}

#[test]
fn when_the_higher_term_is_right_a_lone_node_deposes() {
    random_runs_catch(Flaw::HigherTermWins, "L5");
}

#[test]
fn takeovers_that_keep_no_grid_move_the_timeline() {
    catches(Flaw::OwnGrid, "L7", directed::takeovers, 0..1);
}

#[test]
fn a_lease_from_reception_outlasts_the_promises() {
    catches(
        Flaw::LeaseFromReception,
        "S8",
        a_leader_that_stood_still,
        0..40,
    );
}

#[test]
fn a_voter_that_was_started_again_and_votes_at_once_breaks_its_promise() {
    catches(Flaw::VotesAtOnce, "S8", a_restarted_voter, 0..40);
}

#[test]
fn who_repairs_what_nobody_has_sent_is_seen() {
    catches(Flaw::RepairsTheFuture, "R1", nobody_goes_on, 0..40);
}

#[test]
fn who_repairs_with_a_plan_that_may_be_over_contradicts_the_stream() {
    catches(
        Flaw::RepairsPastTheHorizon,
        "S3",
        a_deaf_heir_and_a_slow_source,
        0..8,
    );
}

#[test]
fn repairs_on_the_media_port_are_seen() {
    catches(Flaw::RepairsOnTheMediaPort, "R2", a_bad_network, 0..8);
}

/// Those that are left are too few to lead: they cover as far as they may, and then nobody sends.
fn nobody_goes_on(world: &mut World) {
    world.quorum = 3;
    world.add_sender(&Feed::of(&[900]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    let at = 3 * SECOND + world.random(SECOND);
    world.fault_in(at, Fault::Crash(0));
    world.fault_in(at, Fault::Crash(1));
}

fn a_bad_network(world: &mut World) {
    world.network.loss_permille = 50;
    world.add_sender(&Feed::of(&[900]));
    (0..2).for_each(|_| _ = world.add_listener(false));
}

/// Trace 13: a leader stands still while others elect another one, which it does not hear, and then reads what confirms it.
fn a_leader_that_stood_still(world: &mut World) {
    world.quorum = 2;
    world.network.delay_us = (50, 15_000);
    world.add_sender(&Feed::of(&[900]));
    (0..2).for_each(|_| _ = world.add_listener(true));
    let at = 4 * SECOND + world.random(SECOND);
    let for_us = 450_000 + world.random(300_000);
    world.fault_in(at, Fault::Pause(0, for_us));
    world.fault_in(at + 30_000, Fault::Partition(vec![0, 1, 1]));
}

/// One of three nodes is deaf and wants to lead; the one that confirms the leader is started again, and does not hear it then.
fn a_restarted_voter(world: &mut World) {
    world.quorum = 2;
    world.add_sender(&Feed::of(&[900]));
    (0..2).for_each(|_| _ = world.add_listener(true));
    let at = 4 * SECOND + world.random(100_000);
    world.fault_in(at - 400_000, Fault::Cut(0, 1));
    world.fault_in(at - 400_000, Fault::Cut(1, 0));
    world.fault_in(at, Fault::Crash(2));
    world.fault_in(at, Fault::Partition(vec![0, 1, 1]));
    world.fault_in(at + 10_000, Fault::Restart(2));
}

/// Trace 1: the leader announces a plan and dies; who missed it makes another one with the same number; who has the first one
/// covers the second leader.
fn two_plans_of_one_version(world: &mut World) {
    world.add_sender(&Feed::of(&[600]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    let offset = world.random(400_000);
    // How many changes each plan sees differs a little: some of these meet.
    let first = Feed::of([&[200][..], &[100, 100], &[70, 70, 60]][world.random(3) as usize]);
    let second = Feed::of([&[200][..], &[100, 100]][world.random(2) as usize]);
    // 3 is with the leader when 4 comes, 1 and 2 are not.
    world.fault_in(2 * SECOND, Fault::Partition(vec![0, 1, 1, 0]));
    world.fault_in(2 * SECOND + 20_000, Fault::Join(first));
    world.fault_in(3 * SECOND, Fault::Crash(0));
    world.fault_in(3 * SECOND, Fault::Crash(4));
    // 5 comes to 1 and 2, which do not hear 3.
    world.fault_in(3 * SECOND, Fault::Partition(vec![2, 0, 0, 1, 2]));
    world.fault_in(3 * SECOND + 50_000, Fault::Join(second));
    world.fault_in(6 * SECOND + offset, Fault::Heal);
    world.fault_in(12 * SECOND + 300_000, Fault::Muffle(1, 3));
    world.fault_in(12 * SECOND + 300_000, Fault::Muffle(2, 3));
}

/// The source stops for a moment; what comes then is too late for the run that was on air, and an heir that has not heard of
/// its end holds it.
fn a_late_source(world: &mut World, (stall_us, then_us): (u64, u64), deaf_us: u64) {
    world.add_sender(&Feed {
        stall: Some((300, stall_us, then_us)),
        ..Feed::of(&[900])
    });
    (0..2).for_each(|_| _ = world.add_listener(true));
    for (from, to) in [(0, 1), (1, 0), (2, 1)] {
        world.fault_in(deaf_us, Fault::Muffle(from, to));
    }
}

/// Frame 300 is due 6.25 s after the start.
fn a_deaf_heir_and_a_slow_source(world: &mut World) {
    let stall_us = 5_850_000 + world.random(100_000);
    a_late_source(world, (stall_us, 400_000), 4 * SECOND);
}

fn a_source_that_just_fails_to_keep_up(world: &mut World) {
    let stall_us = 6_150_000 + world.random(150_000);
    a_late_source(world, (stall_us, 100_000), 6_150_000);
}

/// Two of four listeners do not hear the leader; everybody hears everybody else.
fn two_deaf_nodes(world: &mut World) {
    world.add_sender(&Feed::of(&[900]));
    (0..4).for_each(|_| _ = world.add_listener(true));
    world.fault_in(4 * SECOND, Fault::Cut(0, 1));
    world.fault_in(4 * SECOND, Fault::Cut(0, 2));
}

/// Everybody stands for election at the same time, as nobody knows its rank yet, and the network is bad.
fn a_crowded_election(world: &mut World) {
    world.network.delay_us = (50, 12_000);
    world.network.loss_permille = 100;
    world.add_sender(&Feed::of(&[900]));
    (0..6).for_each(|_| _ = world.add_listener(true));
    world.kill_new_leaders = 3;
    let at = 700_000 + world.random(SECOND);
    world.fault_in(at, Fault::Crash(0));
}

/// The leader's clock loses 30 ms: its packets are later than the covers of its heirs.
fn a_late_leader(world: &mut World) {
    world.add_sender(&Feed::of(&[900]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    world.fault_in(4 * SECOND, Fault::Freeze(0, 30_000));
}
