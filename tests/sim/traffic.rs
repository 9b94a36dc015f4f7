//! What do nodes say to each other when nothing happens? Counted to the byte, in virtual time.

use std::collections::BTreeMap;

use crate::report::Figure;
use crate::world::{Feed, World};

const SECOND: u64 = 1_000_000;
/// How long it is counted.
const MINUTE_S: u64 = 60;
/// By then everybody is known and everything is copied, also where nodes say hello every ten seconds.
const SETTLED_S: u64 = 30;
/// What UDP and IPv4 add to each message.
const HEADER_BYTES: f64 = 28.0;

/// What 128 kbit/s are.
const MUSIC_BYTES: f64 = 16_000.0;

/// Messages and bytes by kind.
type Sent = BTreeMap<&'static str, (u64, u64)>;

/// A minute of a settled station that plays: one sender, all others stand by.
fn minute_of(nodes: usize) -> Sent {
    let mut world = World::new(nodes as u64);
    world.add_sender(&Feed::of(&[(SETTLED_S + MINUTE_S + 10) * 50]));
    (1..nodes).for_each(|_| _ = world.add_listener(true));
    world.run_for(SETTLED_S * SECOND);
    let all = |host: &crate::host::Host| host.node.roster().len() + 1 == nodes;
    assert!(world.hosts.iter().all(all), "everybody is known");
    let complete = |host: &crate::host::Host| {
        let others = host.node.roster().peers();
        others.filter(|(_, peer)| peer.standing.complete).count() + 2 >= nodes
    };
    assert!(world.hosts.iter().all(complete), "everything is copied");
    world.sent.clear();
    world.run_for(MINUTE_S * SECOND);
    assert!(world.violations.is_empty(), "{:?}", world.violations);
    assert_eq!(world.leaders(), [0]);
    world.sent
}

fn per_second(sent: &Sent, kind: &str) -> f64 {
    sent.get(kind)
        .map_or(0.0, |(count, _)| *count as f64 / MINUTE_S as f64)
}

#[test]
fn hellos_and_reports_of_all_nodes_together_stay_at_20_a_second_and_heirs_are_eight() {
    for nodes in [50, 200] {
        let sent = minute_of(nodes);
        let hellos = per_second(&sent, "hellos");
        println!("{nodes} nodes: {hellos:.1} hellos a second; {sent:?}");
        assert!(hellos < 20.0, "{hellos} hellos a second of {nodes} nodes");
        let reports = per_second(&sent, "reports");
        let most = (nodes as f64 / 5.0).min(20.0);
        let range = most * 0.95..most * 1.05;
        assert!(
            range.contains(&reports),
            "{reports} reports a second of {nodes} nodes"
        );
        // Eight heirs answer each heartbeat, however many nodes there are.
        assert!(per_second(&sent, "heartbeats") <= 10.1);
        assert!(per_second(&sent, "confirmations") <= 80.5);
        assert_eq!(per_second(&sent, "questions and answers"), 0.0);
    }
}

#[test]
fn control_traffic_of_a_settled_station_is_counted() {
    for nodes in [2, 5, 50] {
        let sent = minute_of(nodes);
        let (count, bytes) = sent
            .values()
            .fold((0, 0), |sum, sent| (sum.0 + sent.0, sum.1 + sent.1));
        let [count, bytes] = [count, bytes].map(|sum| sum as f64 / MINUTE_S as f64);
        let on_wire = bytes + count * HEADER_BYTES;
        assert!(
            bytes < MUSIC_BYTES / 2.0,
            "half of the music: {nodes} nodes: {sent:?}"
        );
        let figure = Figure {
            what: format!("control traffic of {nodes} nodes, UDP payload (virtual time, exact)"),
            unit: "B/s",
            values: vec![bytes],
            goal: None,
            note: format!(
                "{count:.0} messages a second; {on_wire:.0} B/s with UDP and IPv4 headers; the music: 16,000 B/s"
            ),
            made_by: "cargo test --test sim -- --nocapture control_traffic".into(),
        };
        figure.write().unwrap();
    }
}
