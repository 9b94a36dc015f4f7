//! Who asks whom what time it is, and what does it go by?

use super::*;
use crate::wire::election::Standing;
use crate::wire::probe::{Probe, Time};

const MS: Duration = Duration::from_millis(1);
const LISTENER: NodeId = NodeId(7 << 32);
const LEADER: Term = Term {
    counter: 3,
    leader: NodeId(1 << 32),
};
/// What the station clock shows when the listener starts.
const AGE_US: u64 = 90_000_000_000;

/// The station clock goes 100 ppm faster than the listener's.
fn station_us(now: Instant) -> u64 {
    let passed = now.since(START).as_micros() as u64;
    AGE_US + passed + passed / 10_000
}

fn beat(number: u64, now: Instant) -> Message {
    Message::Heartbeat(Box::new(Heartbeat {
        station: STATION,
        term: LEADER,
        number,
        sent_at_us: station_us(now),
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

fn listener() -> Bench {
    let config = Config {
        node: LISTENER,
        sends: false,
        ..config()
    };
    let mut bench = Bench::new(config, START);
    bench.node.follow(Some(STATION));
    bench
}

/// Runs until `until`: a heartbeat comes every 100 ms, and each probe is answered a millisecond later, as if both ways took half of that.
fn follow(bench: &mut Bench, until: Instant) -> Vec<(Instant, Probe)> {
    let mut number = bench.now.as_micros() / 100_000;
    let mut probes = Vec::new();
    while bench.now < until {
        let now = bench.now;
        number += 1;
        bench
            .node
            .handle_control(addr(1), &beat(number, now), now, now);
        bench.wake(now);
        for _ in 0..100 {
            let seen = bench.log.len();
            bench.run_until(bench.now + MS);
            let sent: Vec<_> = bench.log[seen..].to_vec();
            for (at, output) in sent {
                let Output::Control {
                    to: Some(to),
                    bytes,
                } = output
                else {
                    continue;
                };
                let Ok(Message::Probe(probe)) = Message::parse(&bytes) else {
                    continue;
                };
                assert_eq!(to, addr(1));
                probes.push((at, probe));
                let time = Time {
                    station: STATION,
                    term: LEADER,
                    number: probe.number,
                    received_us: station_us(at + MS / 2),
                    waited_us: 0,
                    rate_sigma_ppb: 0,
                    doubted: false,
                };
                let heard = at + MS;
                bench.run_until(heard);
                let time = Message::Time(time);
                bench.node.handle_control(addr(1), &time, heard, heard);
            }
        }
    }
    probes
}

#[test]
fn who_follows_asks_its_leader_and_goes_by_its_clock() {
    let mut bench = listener();
    assert_eq!(bench.node.station_clock(), None);
    let probes = follow(&mut bench, START + Duration::from_secs(10));
    // Ten a second for three seconds, then five.
    assert!((60..=70).contains(&probes.len()), "{}", probes.len());
    let mut numbers: Vec<u64> = probes.iter().map(|(_, probe)| probe.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), probes.len(), "each has a number of its own");
    let clock = bench.node.station_clock().expect("known");
    let now = bench.now + Duration::from_secs(5);
    let off = clock.station_us(now) as i64 - station_us(now) as i64;
    assert!(off.abs() <= 10, "{off} us");
    let estimate = bench.node.clock_estimate().expect("known");
    assert!((estimate.skew_ppm - 100.0).abs() < 2.0, "{estimate:?}");
    assert!(estimate.sigma_us < 100.0, "{estimate:?}");
}

#[test]
fn only_the_leader_is_believed_and_only_what_was_asked_for() {
    let mut bench = listener();
    follow(&mut bench, START + Duration::from_secs(1));
    let clock = bench
        .node
        .station_clock()
        .map(|clock| clock.station_us(bench.now));
    let now = bench.now;
    let probe = follow(&mut bench, now + Duration::from_millis(100)).pop();
    let number = probe.expect("asked").1.number;
    for (host, term, number) in [
        (1, LEADER, 5),      // nobody asked
        (1, LEADER, number), // answered already
        (2, LEADER, number),
        (
            1,
            Term {
                counter: 2,
                ..LEADER
            },
            number,
        ),
    ] {
        let time = Message::Time(Time {
            station: STATION,
            term,
            number,
            received_us: 5,
            waited_us: 0,
            rate_sigma_ppb: 0,
            doubted: false,
        });
        let now = bench.now;
        bench.node.handle_control(addr(host), &time, now, now);
    }
    assert_eq!(bench.node.rejected().get("time_unasked"), Some(&2));
    let later = bench
        .node
        .station_clock()
        .map(|clock| clock.station_us(now));
    let off = later.zip(clock).map(|(later, clock)| later.abs_diff(clock));
    assert!(off.is_some_and(|off| off < 50), "{off:?}");
}

#[test]
fn a_leader_tells_the_nodes_that_it_knows_what_time_it_is_and_nobody_else() {
    let mut bench = Bench::with_tracks(config(), &[500]);
    bench.run_until(at_ms(1_000));
    let hello = Message::Hello(hello_of(LISTENER, Some(STATION), Standing::default()));
    let now = bench.now;
    bench.node.handle_control(addr(4), &hello, now, now);
    let probe = |station: StationId, number: u64| {
        Message::Probe(Probe {
            station,
            node: LISTENER,
            number,
            apart_us: None,
        })
    };
    let (arrived, now) = (now, now + MS);
    for (host, message) in [
        (4, probe(STATION, 11)),
        (5, probe(STATION, 12)),
        (4, probe(StationId(1), 13)),
    ] {
        bench
            .node
            .handle_control(addr(host), &message, arrived, now);
    }
    bench.drain();
    let told = bench
        .controls()
        .into_iter()
        .filter_map(|(_, to, message)| match message {
            Message::Time(time) => Some((to, time)),
            _ => None,
        });
    let told: Vec<_> = told.collect();
    let time = Time {
        station: STATION,
        term: bench.node.term().expect("on air"),
        number: 11,
        // It went on air when its clock began.
        received_us: 1_000_000,
        waited_us: 1_000,
        rate_sigma_ppb: 0,
        doubted: false,
    };
    assert_eq!(told, [(Some(addr(4)), time)]);
    assert_eq!(bench.node.rejected().get("probe_stranger"), Some(&2));
    let clock = bench.node.station_clock().expect("its own");
    assert_eq!(clock.station_us(arrived), 1_000_000);
}

#[test]
fn a_flood_of_probes_is_answered_in_part_and_nobody_is_starved_by_one_other() {
    let askers: Vec<SocketAddr> = (1..=60).map(addr).collect();
    let mut bench = led(&askers, Standing::default());
    let mut told = [0; 2];
    let began = bench.now;
    while bench.now < began + Duration::from_secs(1) {
        // One asks a hundred times in a row, all others fifty times a second.
        for _ in 0..100 {
            told[0] += usize::from(complain(&mut bench, askers[0], 0).is_some());
        }
        for from in &askers[1..] {
            told[1] += usize::from(complain(&mut bench, *from, 0).is_some());
        }
        bench.run_until(bench.now + 20 * MS);
    }
    assert!((8..=50).contains(&told[0]), "{told:?}");
    assert!((400..=1_000).contains(&told[1]), "{told:?}");
    assert!(bench.node.rejected()["answer_flood"] > 5_000);
}

#[test]
fn a_leader_whose_clock_has_jumped_by_what_most_say_lets_another_one_lead() {
    // How far each of three nodes thinks that the clock is off, in ms, and whether the leader resigns after so many questions of each.
    for (apart_ms, questions, resigns) in [
        ([40, 40, 0], 4, true),
        ([40, 40, 0], 3, false),
        ([-40, -40, -40], 4, true),
        ([40, 0, 0], 20, false),
        ([20, 20, 20], 20, false),
        ([5_000, 5_000, 5_000], 4, true),
    ] {
        let askers = [addr(4), addr(5), addr(6)];
        let mut bench = led(&askers, able());
        for _ in 0..questions {
            for (from, apart_ms) in askers.into_iter().zip(apart_ms) {
                complain(&mut bench, from, apart_ms * 1_000);
            }
            bench.run_until(bench.now + 200 * MS);
        }
        let has_resigned = bench.log.iter().any(|(_, output)| {
            matches!(output, Output::Event(Event::SteppedDown { reason }) if *reason == "its clock has jumped")
        });
        assert_eq!(has_resigned, resigns, "{apart_ms:?} ms, {questions} times");
    }
}

/// Whoever asks `bench`, which leads, from here says that its clock is off by so much; the answer, if there is one.
fn complain(bench: &mut Bench, from: SocketAddr, apart_us: i64) -> Option<Time> {
    let (now, sent) = (bench.now, bench.controls().len());
    let probe = Message::Probe(Probe {
        station: STATION,
        node: NodeId(9),
        number: sent as u64,
        apart_us: Some(apart_us),
    });
    bench.node.handle_control(from, &probe, now, now);
    bench.drain();
    let controls = bench.controls();
    let told = controls[sent..].iter().rev();
    let mut times = told.filter_map(|(_, _, message)| match message {
        Message::Time(time) => Some(*time),
        _ => None,
    });
    times.next()
}

/// A leader, and nodes that follow it from these addresses.
fn led(askers: &[SocketAddr], standing: Standing) -> Bench {
    let mut bench = Bench::with_tracks(config(), &[5_000]);
    bench.run_until(at_ms(1_000));
    for (number, addr) in (4..).zip(askers) {
        let hello = Message::Hello(hello_of(NodeId(number << 32), Some(STATION), standing));
        let now = bench.now;
        bench.node.handle_control(*addr, &hello, now, now);
    }
    bench.run_until(at_ms(1_500));
    bench
}

fn able() -> Standing {
    Standing {
        standby: true,
        eligible: true,
        complete: true,
        ..Standing::default()
    }
}

#[test]
fn if_nobody_could_go_on_the_clock_that_jumped_is_told_as_it_is() {
    let askers = [addr(4), addr(5)];
    for (standing, resigns) in [(able(), true), (Standing::default(), false)] {
        let mut bench = led(&askers, standing);
        let mut answers = Vec::new();
        for _ in 0..20 {
            for from in askers {
                answers.push(complain(&mut bench, from, 5_000_000));
            }
            bench.run_until(bench.now + 50 * MS);
        }
        assert_eq!(bench.node.term().is_none(), resigns, "{standing:?}");
        if !resigns {
            let is_believed = |time: &Option<Time>| time.is_some_and(|time| !time.doubted);
            assert!(answers.iter().all(is_believed), "{answers:?}");
        }
    }
}

#[test]
fn one_machine_is_one_witness_and_two_that_contradict_each_other_are_none() {
    let port = |host: u8, port: u16| SocketAddr::new(addr(host).ip(), port);
    let lo = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let table = [
        (vec![port(4, 1), port(4, 2), port(4, 3)], [1, 1, 1], false),
        (vec![addr(4), addr(5)], [1, -1, 0], false),
        (vec![addr(4), addr(5)], [-1, -1, 0], true),
        // On the loopback interface each node is one.
        (vec![lo(1), lo(2), lo(3)], [1, 1, 1], true),
    ];
    for (askers, signs, resigns) in table {
        let mut bench = led(&askers, able());
        for _ in 0..10 {
            for (from, sign) in askers.iter().zip(signs) {
                complain(&mut bench, *from, sign * 1_000_000);
            }
            bench.run_until(bench.now + 50 * MS);
        }
        assert_eq!(bench.node.term().is_none(), resigns, "{askers:?}");
    }
}

#[test]
fn a_crowd_that_asks_seldom_is_heard_too() {
    let askers: Vec<SocketAddr> = (0..240)
        .map(|n| SocketAddr::from(([10, 0, (n / 200) as u8, (n % 200) as u8 + 1], 5_000)))
        .collect();
    let mut bench = led(&askers, able());
    assert!(
        bench.node.roster().len() > 200,
        "{}",
        bench.node.roster().len()
    );
    // Each of them asks once in ten seconds, and again.
    for _ in 0..4 {
        for from in &askers {
            complain(&mut bench, *from, 1_000_000);
            bench.run_until(bench.now + 40 * MS);
        }
    }
    assert_eq!(bench.node.term(), None, "another one leads");
}

#[test]
fn one_node_in_many_names_is_one_witness() {
    let mut bench = led(&[addr(4), addr(5)], able());
    for number in 0..100 {
        let probe = Message::Probe(Probe {
            station: STATION,
            node: NodeId(number << 32 | 1),
            number,
            apart_us: Some(1_000_000),
        });
        let now = bench.now;
        bench.node.handle_control(addr(4), &probe, now, now);
        bench.run_until(now + 20 * MS);
    }
    assert!(bench.node.term().is_some(), "it leads on");
    assert_eq!(bench.node.syncing.witnesses.len(), 1);
}
