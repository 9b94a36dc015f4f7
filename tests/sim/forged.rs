//! Somebody sends in the station's name, from the addresses of its hosts: the song goes on, and so does the succession.

use lanradio::station::roster::MAX_NODES;
use lanradio::wire::control::{Heartbeat, Hello, Message, State};
use lanradio::wire::election::{Ask, MAX_LEAP, Round, Stale, Standing, Succession};
use lanradio::wire::ids::Numbering;
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{NodeId, PlanDigest, Slot, StationId, Term};

use crate::directed::no_hole;
use crate::faults::Fault;
use crate::world::{Channel, Feed, World};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;

/// A hello of a node that does not exist, and says that it is the best of heirs.
fn hello(station: StationId, id: u64) -> Vec<u8> {
    let standing = Standing {
        standby: true,
        eligible: true,
        complete: true,
        priority: i16::MAX,
        age_s: u32::MAX,
        http_port: 0,
    };
    Message::Hello(Hello {
        node: NodeId(id << 32 | 0xdead),
        name: "nobody".into(),
        founding: false,
        station: Some(station),
        standing,
        held_to: None,
    })
    .to_bytes()
}

/// A crowd of nodes that do not exist says hello from every address; then the leader dies, and the next one.
fn a_crowd(world: &mut World) {
    world.network.delay_us.1 = world.pick(&[400, 5_000]);
    world.add_sender(&Feed::of(&[900]));
    let listeners = 3 + world.random(3);
    (0..listeners).for_each(|_| _ = world.add_listener(true));
    world.run_for(3 * SECOND);
    let station = world.hosts[0].node.config().station;
    let mut id = 1_000;
    let mut dies = vec![5 * SECOND, 9 * SECOND];
    while world.now_us < 13 * SECOND {
        for from in 0..world.hosts.len() {
            for _ in 0..20 {
                id += 1;
                let bytes = hello(station, id);
                (0..world.hosts.len())
                    .filter(|to| *to != from)
                    .for_each(|to| world.forge(from, to, Channel::Control, &bytes));
            }
        }
        world.run_for(100 * MS);
        if let Some(at) = dies.first().copied()
            && world.now_us >= at
        {
            dies.remove(0);
            let leader = world.leaders()[0];
            world.strike(&Fault::Crash(leader));
        }
        let known = world.hosts.iter().map(|host| host.node.roster().len());
        assert!(known.max() <= Some(MAX_NODES));
    }
    world.run_for(8 * SECOND);
    no_hole(world, "L2", 899);
}

/// What cannot be true, in the name of whoever leads: one of each kind now and then, from all addresses.
fn a_forger(world: &mut World) {
    world.network.delay_us.1 = world.pick(&[400, 5_000]);
    world.add_sender(&Feed::of(&[600]));
    (0..3).for_each(|_| _ = world.add_listener(true));
    world.run_for(3 * SECOND);
    let crash_at = 5 * SECOND + world.random(3 * SECOND);
    let mut has_crashed = false;
    while world.now_us < 12 * SECOND {
        let leaders = world.leaders();
        if let [leader] = leaders[..] {
            let from = world.random(4) as usize;
            for to in (0..4).filter(|to| *to != from) {
                for (channel, bytes) in forgery(world, leader) {
                    world.forge(from, to, channel, &bytes);
                }
            }
        }
        // Two packets that agree within 100 ms would be believed.
        let pause = 120 * MS + world.random(200 * MS);
        world.run_for(pause);
        if !has_crashed && world.now_us >= crash_at {
            has_crashed = true;
            world.strike(&Fault::Crash(0));
        }
    }
    world.run_for(4 * SECOND);
    assert_eq!(world.counts.get("claims"), Some(&1), "{}", world.told());
    no_hole(world, "L1", 599);
}

fn forgery(world: &mut World, leader: usize) -> Vec<(Channel, Vec<u8>)> {
    let node = &world.hosts[leader].node;
    let (station, next) = (node.config().station, node.next());
    let mine = node.term().unwrap();
    let plan = node.programme().digest();
    let run = node.programme().last_run();
    let counter = mine.counter + MAX_LEAP + 1 + world.random(1 << 31) as u32;
    let liar = NodeId(world.random(u64::MAX));
    let term = Term {
        counter,
        leader: liar,
    };
    let beat = |term, number, next, over| {
        let beat = Heartbeat {
            station,
            term,
            number,
            sent_at_us: 7_000_000,
            young: false,
            state: State::Playing,
            next,
            buffer_ms: 5_000,
            plan,
            run,
            tracks: [None, None],
            name: "nobody".into(),
            succession: Succession {
                over,
                quorum: 1,
                supporters: u16::MAX,
                version: 1 << 40,
                ..Succession::default()
            },
        };
        (
            Channel::Control,
            Message::Heartbeat(Box::new(beat)).to_bytes(),
        )
    };
    let numbering = Numbering::of(station);
    let media = |term: Term, ahead, flags| {
        let index = next.plus(ahead);
        let identity = (term.short(), plan, flags);
        let slot = Slot(index.0 + 3);
        let packet = MediaPacket::place(&numbering, index, slot, false, identity, b"forged frame");
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        (Channel::Media, bytes)
    };
    let vote = Message::Ask(Ask {
        station,
        node: liar,
        term,
        attempt: 1,
        round: Round::Vote { counter },
        rank: 0,
        eligible: true,
        plan: PlanDigest(1),
        version: 1 << 40,
        quorum: 1,
    });
    let stale = Message::Stale(Stale {
        station,
        node: liar,
        term,
    });
    let all = [
        beat(term, 1, next, Some(mine)),
        beat(mine, u64::MAX, next, None),
        beat(mine, 1 << 30, next.plus(150), None),
        media(term, 0, Flags::default()),
        media(term, 3, Flags::COVER),
        media(mine, 400, Flags::default()),
        media(mine, 150, Flags::COVER),
        (Channel::Control, vote.to_bytes()),
        (Channel::Control, stale.to_bytes()),
    ];
    let which = world.random(all.len() as u64) as usize;
    vec![all[which].clone()]
}

#[test]
fn a_crowd_that_does_not_exist_displaces_no_heir() {
    crate::directed::runs(a_crowd, 0..40);
}

#[test]
fn what_cannot_be_true_is_not_heard() {
    crate::directed::runs(a_forger, 0..64);
}
