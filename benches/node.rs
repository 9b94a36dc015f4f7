//! What does a node cost: one step with a packet, a heartbeat or nothing new? And how much faster than life is the simulator?
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation, and the simulator serves its tests first"
)]

#[path = "../tests/sim/checks.rs"]
mod checks;
#[path = "../tests/sim/ears.rs"]
mod ears;
#[path = "../tests/sim/errands.rs"]
mod errands;
#[path = "../tests/sim/faults.rs"]
mod faults;
#[path = "../tests/sim/hearing.rs"]
mod hearing;
#[path = "../tests/sim/holders.rs"]
mod holders;
#[path = "../tests/sim/host.rs"]
mod host;
#[path = "../tests/sim/liveness.rs"]
mod liveness;
#[path = "../tests/sim/network.rs"]
mod network;
#[path = "../tests/sim/teller.rs"]
mod teller;
#[path = "../tests/sim/telling.rs"]
mod telling;
#[path = "../tests/sim/watch.rs"]
mod watch;
#[path = "../tests/sim/world.rs"]
mod world;

use std::collections::HashMap;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use host::{Host, Shelf, config, payload};
use lanradio::station::node::{Fetch, Node, Output};
use lanradio::time::Instant;
use lanradio::wire::control::{Hello, Message};
use lanradio::wire::election::{Confirm, Standing};
use lanradio::wire::media::MediaPacket;
use lanradio::wire::{PlanDigest, TrackId};
use world::{Feed, World};

const TRACK: TrackId = TrackId([7; 16]);
const FRAMES: u64 = 1_000;

/// A shelf with the whole track.
fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    (0..FRAMES).for_each(|k| shelf.insert(TRACK, k, &payload(TRACK, k)));
    shelf
}

/// A leader with a track of 1,000 frames, which is about to found its station.
fn leader() -> Node {
    let mut node = Node::new(
        lanradio::station::Config {
            sends: true,
            ..config(0, 0, 1)
        },
        Instant::from_micros(0),
    );
    node.add_track(TRACK, "a track", "");
    node.track_finished(TRACK, FRAMES, None);
    node.source_finished();
    node
}

/// How the node that stands by says that it holds everything.
fn standing() -> Standing {
    Standing {
        standby: true,
        eligible: true,
        complete: true,
        ..Standing::default()
    }
}

/// What a leader sent, and when; and each of its plans, by name.
#[derive(Default)]
struct Said {
    packets: Vec<(Instant, bool, Vec<u8>)>,
    plans: HashMap<PlanDigest, Vec<u8>>,
}

/// Runs a leader with one heir to its end. The heir says hello, and confirms each heartbeat.
fn lead(mut node: Node, shelf: &Shelf) -> Said {
    let heir = config(1, 0, 1);
    let hello = Message::Hello(Hello {
        node: heir.node,
        name: heir.name.clone(),
        founding: false,
        station: Some(node.config().station),
        standing: standing(),
        held_to: None,
    });
    let mut said = Said::default();
    while let Some(now) = node.poll_timeout() {
        node.handle_timeout(now, shelf);
        while let Some(output) = node.poll_output() {
            match output {
                Output::Media(bytes) => said.packets.push((now, true, bytes)),
                Output::Control { to: None, bytes } => {
                    let message = Message::parse(&bytes).unwrap();
                    if let Message::Heartbeat(beat) = message {
                        let confirm = Message::Confirm(Confirm {
                            station: beat.station,
                            node: heir.node,
                            term: beat.term,
                            number: beat.number,
                            plan: beat.plan,
                            standing: standing(),
                            accepts: None,
                        });
                        for answer in [&hello, &confirm] {
                            node.handle_control(Host::addr(1), answer, now, now);
                        }
                        said.plans
                            .entry(beat.plan)
                            .or_insert_with(|| node.plan_bytes(beat.plan).unwrap());
                    }
                    said.packets.push((now, false, bytes));
                }
                _ => {}
            }
        }
    }
    said
}

/// The heir of this leader hears it to its end.
fn follow(mut node: Node, said: &Said, shelf: &Shelf) -> Node {
    for (now, is_media, bytes) in &said.packets {
        let now = *now + Duration::from_micros(100);
        if *is_media {
            node.handle_media(&MediaPacket::parse(bytes).unwrap(), now, now);
        } else {
            node.handle_control(Host::addr(0), &Message::parse(bytes).unwrap(), now, now);
        }
        node.handle_timeout(now, shelf);
        while let Some(output) = node.poll_output() {
            if let Output::Fetch(Fetch::Plan { digest, .. }) = output {
                let result = node.handle_plan(digest, &said.plans[&digest], now);
                result.unwrap();
            }
        }
    }
    node
}

/// Each frame is a wake of its own, every fifth with a heartbeat.
fn steps(criterion: &mut Criterion) {
    let shelf = shelf();
    let said = lead(leader(), &shelf);
    let station = config(0, 0, 1).station;
    let new = || {
        let mut node = Node::new(config(1, 0, 1), Instant::from_micros(0));
        node.follow(Some(station));
        node
    };
    let last = said.packets.iter().filter(|(_, is_media, _)| *is_media);
    assert_eq!(last.count() as u64, FRAMES);
    let mut group = criterion.benchmark_group("node, 1,000 frames");
    group.throughput(Throughput::Elements(FRAMES));
    group.bench_function("leading, with an heir that confirms", |bencher| {
        bencher.iter_batched(
            leader,
            |node| lead(node, &shelf).packets.len(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("standing by: packet in, heartbeat in, timeout", |bencher| {
        bencher.iter_batched(
            new,
            |node| follow(node, &said, &shelf),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Five hosts for ten seconds. An element is one second of theirs.
fn simulator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulator");
    group.throughput(Throughput::Elements(10)).sample_size(10);
    group.bench_function("five hosts, 10 s", |bencher| {
        bencher.iter(|| {
            let mut world = World::new(1);
            world.add_sender(&Feed::of(&[600]));
            (0..4).for_each(|_| _ = world.add_listener(true));
            world.run_for(10_000_000);
            world.now_us
        });
    });
    group.finish();
}

criterion_group!(benches, steps, simulator);
criterion_main!(benches);
