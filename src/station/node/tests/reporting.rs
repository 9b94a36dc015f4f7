//! When does a node tell its leader how it fares, and who listens to that?

use super::*;
use crate::wire::report::{NodeReport, Totals};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A leader of an idle station: ten heartbeats a second.
#[derive(Clone, Copy)]
struct Leader {
    term: Term,
    host: u8,
    number: u64,
}

impl Leader {
    fn new(counter: u32, host: u8) -> Leader {
        let leader = NodeId(u64::from(host) << 32);
        Leader {
            term: Term { counter, leader },
            host,
            number: 0,
        }
    }

    fn beat(&mut self, now: Instant) -> Message {
        self.number += 1;
        Message::Heartbeat(Box::new(Heartbeat {
            station: STATION,
            term: self.term,
            number: self.number,
            sent_at_us: now.since(START).as_micros() as u64,
            young: false,
            state: State::Idle,
            next: FrameIndex(0),
            buffer_ms: 500,
            plan: PlanDigest(1),
            run: None,
            tracks: [None, None],
            name: "leader".into(),
            succession: Default::default(),
        }))
    }
}

fn follower(seed: u64) -> Bench {
    let config = Config {
        sends: false,
        seed,
        ..config()
    };
    let mut bench = Bench::new(config, START);
    bench.node.follow(Some(STATION));
    bench.node.set_report(Report::default());
    bench
}

fn hears(bench: &mut Bench, host: u8, message: &Message) {
    let now = bench.now;
    bench.node.handle_control(addr(host), message, now, now);
    bench.drain();
}

/// `bench` follows `leader` for so long.
fn follows(bench: &mut Bench, leader: &mut Leader, time: Duration) {
    let end = bench.now + time;
    while bench.now < end {
        let beat = leader.beat(bench.now);
        hears(bench, leader.host, &beat);
        bench.wake(bench.now);
        bench.run_until(bench.now + MS * 100);
    }
}

fn hello(node: u64) -> Message {
    Message::Hello(hello_of(NodeId(node), Some(STATION), Default::default()))
}

/// So many others say hello, each from a place of its own.
fn a_crowd(bench: &mut Bench, nodes: u64) {
    for n in 0..nodes {
        let from = SocketAddr::from(([10, 1, (n / 200) as u8, (n % 200) as u8], 40_000));
        let now = bench.now;
        bench.node.handle_control(from, &hello(1_000 + n), now, now);
    }
    bench.drain();
}

/// When reports were sent, and to whom; each is this node's own, for its station.
fn reports(bench: &Bench) -> Vec<(Instant, SocketAddr)> {
    let controls = bench.controls().into_iter();
    let reports = controls.filter_map(|(at, to, message)| match message {
        Message::Report(told) => {
            assert_eq!((told.node, told.station), (NODE, STATION));
            Some((at, to.expect("reports are for one node")))
        }
        _ => None,
    });
    reports.collect()
}

/// The times between them, the first one counted from `since`, in milliseconds.
fn gaps_ms(bench: &Bench, since: Instant) -> Vec<u64> {
    let times: Vec<_> = reports(bench).iter().map(|(at, _)| *at).collect();
    let before = std::iter::once(since).chain(times.iter().copied());
    before
        .zip(&times)
        .map(|(before, at)| at.since(before).as_millis() as u64)
        .collect()
}

#[test]
fn nothing_is_told_before_there_is_something_to_tell_and_then_at_once() {
    let listens = Report {
        listens: true,
        buffer_ms: 250,
        ..Report::default()
    };
    for seed in 0..20 {
        let mut bench = Bench::new(
            Config {
                sends: false,
                seed,
                ..config()
            },
            START,
        );
        bench.node.follow(Some(STATION));
        let mut leader = Leader::new(1, 1);
        follows(&mut bench, &mut leader, SECOND * 2);
        assert_eq!(reports(&bench), []);
        bench.node.set_report(listens);
        let at = bench.now;
        assert_eq!(bench.node.poll_timeout(), Some(at));
        bench.wake(at);
        let told = bench.controls().into_iter().filter_map(|told| match told {
            (at, _, Message::Report(told)) => Some((at, told.report)),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [(at, listens)]);
        follows(&mut bench, &mut leader, SECOND * 2);
        assert_eq!(reports(&bench).len(), 2, "and again soon");
    }
}

#[test]
fn a_leader_is_told_twice_soon_and_then_every_5_s_give_or_take_a_fifth() {
    let mut all = Vec::new();
    for seed in 0..60 {
        let mut bench = follower(seed);
        follows(&mut bench, &mut Leader::new(1, 9), SECOND * 32);
        assert!(reports(&bench).iter().all(|(_, to)| *to == addr(9)));
        let gaps = gaps_ms(&bench, START);
        let [first, second, usual @ ..] = &gaps[..] else {
            panic!("{gaps:?}");
        };
        assert!((100..=1_000).contains(first), "seed {seed}: {gaps:?}");
        assert!((800..=1_200).contains(second), "seed {seed}: {gaps:?}");
        assert!(usual.len() >= 4, "seed {seed}: {gaps:?}");
        all.extend_from_slice(usual);
    }
    let mean = all.iter().sum::<u64>() / all.len() as u64;
    let (least, most) = (*all.iter().min().unwrap(), *all.iter().max().unwrap());
    println!("{} intervals: {least} to {most} ms, mean {mean}", all.len());
    assert!(least >= 4_000 && most <= 6_000, "{least} to {most} ms");
    assert!(most - least > 1_600, "as jittered as may be");
    assert!((4_900..=5_100).contains(&mean), "{mean}");
}

#[test]
fn the_same_seed_reports_at_the_same_times() {
    let times = |seed| {
        let mut bench = follower(seed);
        follows(&mut bench, &mut Leader::new(1, 9), SECOND * 20);
        reports(&bench)
    };
    assert_eq!(times(5), times(5));
    assert_ne!(times(5), times(6));
}

#[test]
fn five_hundred_nodes_send_20_reports_a_second_at_most() {
    let nodes = 500u64;
    let mut per_second = [0u32; 120];
    let mut usual = Vec::new();
    for seed in 0..nodes {
        let mut bench = follower(seed);
        let mut leader = Leader::new(1, 9);
        let beat = leader.beat(START);
        hears(&mut bench, 9, &beat);
        // They are kept for three hellos, of which each says one in 25 s.
        a_crowd(&mut bench, nodes - 2);
        assert_eq!(bench.node.roster().len() as u64 + 1, nodes);
        follows(&mut bench, &mut leader, SECOND * 60);
        a_crowd(&mut bench, nodes - 2);
        follows(&mut bench, &mut leader, SECOND * 60);
        for (at, _) in reports(&bench) {
            // The last second is not a whole one.
            if let Some(count) = per_second.get_mut(at.since(START).as_secs() as usize) {
                *count += 1;
            }
        }
        let gaps = gaps_ms(&bench, START);
        assert!(gaps[0] <= 25_000, "{gaps:?}");
        usual.extend_from_slice(&gaps[1..]);
    }
    let inside = usual.iter().all(|gap| (20_000..=30_000).contains(gap));
    assert!(inside, "25 s, give or take a fifth");
    let mean = f64::from(per_second.iter().sum::<u32>()) / per_second.len() as f64;
    println!("reports in each second: {per_second:?}, mean {mean:.1}");
    assert!((19.0..=20.5).contains(&mean), "{mean}");
    // So many of 500 fall in one second by chance: 20 and five times the root of it.
    assert!(
        per_second.iter().all(|count| *count <= 42),
        "{per_second:?}"
    );
}

#[test]
fn up_to_a_hundred_nodes_report_as_often_as_a_few() {
    for (others, seconds) in [(98, 5.0), (99, 5.05), (199, 10.05)] {
        let mut bench = follower(3);
        let mut leader = Leader::new(1, 9);
        let beat = leader.beat(START);
        hears(&mut bench, 9, &beat);
        a_crowd(&mut bench, others);
        let every = bench.node.roster().turn(REPORT_EVERY).as_secs_f64();
        assert!((every - seconds).abs() < 0.06, "{others}: {every} s");
    }
}

#[test]
fn who_learns_of_a_crowd_after_it_has_joined_takes_its_turn_among_it() {
    // Nobody is known when the first report is planned, a moment after the first heartbeat.
    for seed in 0..20 {
        let mut alone = follower(seed);
        follows(&mut alone, &mut Leader::new(1, 9), SECOND * 2);
        let first_ms = gaps_ms(&alone, START)[0];
        let mut bench = follower(seed);
        let mut leader = Leader::new(1, 9);
        let beat = leader.beat(START);
        hears(&mut bench, 9, &beat);
        bench.wake(bench.now);
        a_crowd(&mut bench, 498);
        follows(&mut bench, &mut leader, SECOND * 30);
        let due_ms = first_ms * 25;
        let gap_ms = gaps_ms(&bench, START)[0];
        assert!(gap_ms.abs_diff(due_ms) <= 100, "{gap_ms} for {due_ms}");
    }
}

#[test]
fn a_new_leader_is_told_soon_and_twice() {
    for seed in 0..40 {
        let mut bench = follower(seed);
        follows(&mut bench, &mut Leader::new(1, 9), SECOND * 21);
        let changed_at = bench.now;
        let before = reports(&bench).len();
        // The old one is gone: the new one's term is adopted with its first heartbeat after 50 ms of silence.
        bench.run_until(bench.now + MS * 150);
        let mut leader = Leader::new(2, 7);
        follows(&mut bench, &mut leader, SECOND * 12);
        assert_eq!(bench.node.followed_term(), Some(leader.term));
        let told = reports(&bench).split_off(before);
        let to_new: Vec<_> = told.iter().filter(|(_, to)| *to == addr(7)).collect();
        let after = |at: Instant| at.since(changed_at).as_millis();
        assert!(after(to_new[0].0) <= 1_400, "seed {seed}: {told:?}");
        assert!(after(to_new[1].0) <= 2_600, "seed {seed}: {told:?}");
        let gap = to_new[2].0.since(to_new[1].0).as_millis();
        assert!((4_000..=6_000).contains(&gap), "seed {seed}: {gap}");
        assert!(
            told.iter()
                .all(|(at, to)| *to == addr(7) || after(*at) <= 400)
        );
    }
}

#[test]
fn a_sender_that_follows_reports_that_it_does_not_listen() {
    let mut bench = Bench::new(config(), START);
    bench.add(1);
    bench.node.set_report(Report {
        buffer_ms: 500,
        replica_percent: 255,
        ..Report::default()
    });
    let mut leader = Leader::new(1, 9);
    follows(&mut bench, &mut leader, SECOND * 2);
    let told = bench
        .controls()
        .into_iter()
        .find_map(|(_, _, message)| match message {
            Message::Report(told) => Some(told),
            _ => None,
        });
    let report = told.unwrap().report;
    assert_eq!((report.listens, report.buffer_ms), (false, 500));
    assert_eq!(report.replica_percent, 100, "what is out of range is cut");
}

#[test]
fn who_follows_nobody_reports_to_nobody() {
    let mut leads = Bench::with_tracks(config(), &[1_000]);
    leads.run_until(at_ms(15_000));
    assert_eq!(reports(&leads), []);
    let mut waits = follower(1);
    waits.run_until(START + SECOND * 30);
    assert_eq!(reports(&waits), []);
}

fn told(node: u64, station: StationId, received: u64) -> Message {
    let totals = Totals {
        received,
        ..Totals::default()
    };
    Message::Report(Box::new(NodeReport {
        station,
        node: NodeId(node),
        report: Report {
            listens: true,
            totals,
            ..Report::default()
        },
    }))
}

fn received(bench: &Bench, node: u64) -> Option<u64> {
    let peer = bench.node.roster().get(NodeId(node))?;
    peer.report.map(|(report, _)| report.totals.received)
}

fn strangers(bench: &Bench) -> u64 {
    let refused = bench.node.rejected().get("report_stranger");
    refused.copied().unwrap_or(0)
}

#[test]
fn a_leader_keeps_the_newest_report_of_each_node_that_it_knows() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    bench.run_until(at_ms(500));
    hears(&mut bench, 5, &told(50, STATION, 1));
    assert_eq!((received(&bench, 50), strangers(&bench)), (None, 1));
    hears(&mut bench, 5, &hello(50));
    assert_eq!(received(&bench, 50), None);
    for count in [2, 3] {
        bench.run_until(bench.now + SECOND);
        hears(&mut bench, 5, &told(50, STATION, count));
        assert_eq!(received(&bench, 50), Some(count));
        let at = bench
            .node
            .roster()
            .get(NodeId(50))
            .unwrap()
            .report
            .unwrap()
            .1;
        assert_eq!(at, bench.now);
    }
    // In its name from elsewhere, of another station, in this node's own name.
    hears(&mut bench, 6, &told(50, STATION, 4));
    hears(&mut bench, 5, &told(50, StationId(1), 5));
    hears(&mut bench, 5, &told(NODE.0, STATION, 6));
    assert_eq!((received(&bench, 50), strangers(&bench)), (Some(3), 2));
    // A hello says nothing of that, and a report is a sign of life.
    hears(&mut bench, 5, &hello(50));
    assert_eq!(received(&bench, 50), Some(3));
    for _ in 0..10 {
        bench.run_until(bench.now + SECOND * 2);
        hears(&mut bench, 5, &told(50, STATION, 7));
    }
    assert_eq!(received(&bench, 50), Some(7));
}

#[test]
fn a_follower_keeps_no_reports_and_counts_none_as_refused() {
    let mut bench = follower(1);
    let mut leader = Leader::new(1, 9);
    follows(&mut bench, &mut leader, SECOND);
    hears(&mut bench, 5, &hello(50));
    hears(&mut bench, 5, &told(50, STATION, 1));
    hears(&mut bench, 6, &told(60, STATION, 1));
    assert_eq!((received(&bench, 50), strangers(&bench)), (None, 0));
}
