//! A node in virtual time: what it puts out is logged with the time at which it did so.

mod deafness;
mod forged;
mod founding;
mod on_air;
mod repairing;
mod reporting;
mod sources;
mod submitting;
mod syncing;

use std::collections::BTreeMap;

use super::*;
use crate::wire::Term;
use crate::wire::control::{Heartbeat, Hello, State};
use crate::wire::ids::{NodeId, PlanDigest, Slot};
use crate::wire::media::Flags;

const NODE: NodeId = NodeId(0x5555_5555_0000_0001);
const STATION: StationId = StationId(0x1234_5678);
/// When the node starts: local clocks do not begin at 0.
const START: Instant = Instant::from_micros(77_000_123);
/// When it is on air, if its source is ready.
const ON_AIR: Instant = Instant::from_micros(77_250_123);

fn config() -> Config {
    Config {
        node: NODE,
        name: "kitchen".into(),
        station: STATION,
        sends: true,
        standby: true,
        priority: 0,
        quorum: 1,
        http_port: 0,
        seed: 1,
        buffer: Duration::from_millis(500),
        looped: false,
        first_frame: FrameIndex(0),
    }
}

fn at_ms(ms: u64) -> Instant {
    ON_AIR + Duration::from_millis(ms)
}

fn track(n: u8) -> TrackId {
    TrackId([n; 16])
}

/// A node that founds nothing says hello.
fn hello_of(node: NodeId, station: Option<StationId>, standing: Standing) -> Hello {
    Hello {
        node,
        name: "another".into(),
        founding: false,
        station,
        standing,
        held_to: None,
    }
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 40_000))
}

/// Frames whose payload says what they are: the track, then `k`.
#[derive(Default)]
struct Shelf(BTreeMap<TrackId, Vec<[u8; 5]>>);

impl Frames for Shelf {
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]> {
        Some(
            self.0
                .get(&track)?
                .get(usize::try_from(k).ok()?)?
                .as_slice(),
        )
    }

    fn held_from(&self, track: TrackId, k: u64) -> u64 {
        self.end(track).saturating_sub(k)
    }

    fn end(&self, track: TrackId) -> u64 {
        self.0.get(&track).map_or(0, |frames| frames.len() as u64)
    }
}

/// A media packet as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    at: Instant,
    index: FrameIndex,
    slot: Slot,
    marker: bool,
    last_of_track: bool,
    plan: PlanDigest,
    track: u8,
    k: u32,
}

struct Bench {
    node: Node,
    shelf: Shelf,
    now: Instant,
    log: Vec<(Instant, Output)>,
}

impl Bench {
    fn new(config: Config, start: Instant) -> Bench {
        let node = Node::new(config, start);
        let mut bench = Bench {
            node,
            shelf: Shelf::default(),
            now: start,
            log: Vec::new(),
        };
        bench.drain();
        bench
    }

    /// A node with these finished tracks.
    fn with_tracks(config: Config, frames: &[u64]) -> Bench {
        Bench::with_tracks_at(START, config, frames)
    }

    fn with_tracks_at(start: Instant, config: Config, frames: &[u64]) -> Bench {
        let mut bench = Bench::new(config, start);
        for (n, &frames) in (0..).zip(frames) {
            bench.add(n);
            bench.finish(n, frames);
        }
        bench.node.source_finished();
        bench
    }

    fn add(&mut self, n: u8) {
        self.node
            .add_track(track(n), &format!("title {n}"), "artist");
    }

    fn stock(&mut self, n: u8, frames: u64) {
        let shelf = self.shelf.0.entry(track(n)).or_default();
        for k in shelf.len() as u32..frames as u32 {
            let [a, b, c, d] = k.to_be_bytes();
            shelf.push([n, a, b, c, d]);
        }
    }

    fn grow(&mut self, n: u8, frames: u64) {
        self.stock(n, frames);
        self.node.track_grew();
    }

    fn finish(&mut self, n: u8, frames: u64) {
        self.stock(n, frames);
        self.node.track_finished(track(n), frames, None);
    }

    /// One wake at `now`, in time or not.
    fn wake(&mut self, now: Instant) {
        self.now = now;
        self.node.handle_timeout(now, &self.shelf);
        self.drain();
    }

    /// Wakes the node whenever it asks, up to and including `until`.
    fn run_until(&mut self, until: Instant) {
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= until) {
            let before = self.log.len();
            self.wake(at.max(self.now));
            let asks_again = self.node.poll_timeout().is_some_and(|next| next <= at);
            assert!(
                self.log.len() > before || !asks_again,
                "a wake for nothing, again and again, at {at}"
            );
        }
        self.now = until.max(self.now);
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.log.push((self.now, output));
        }
    }

    fn hear(&mut self, beat: &Heartbeat) {
        let message = Message::Heartbeat(Box::new(beat.clone()));
        self.node
            .handle_control(addr(9), &message, self.now, self.now);
        self.drain();
    }

    fn leave(&mut self) {
        self.node.handle_leave(self.now);
        self.drain();
    }

    fn media(&self) -> Vec<Sent> {
        let numbering = Numbering::of(self.node.config.station);
        let first = self.node.config.first_frame;
        let sent = self.log.iter().filter_map(|(at, output)| {
            let Output::Media(bytes) = output else {
                return None;
            };
            let packet = MediaPacket::parse(bytes).unwrap();
            assert_eq!(packet.element.term, self.node.config.term().short());
            let [track, k @ ..] = packet.payload else {
                panic!("a payload")
            };
            Some(Sent {
                at: *at,
                index: numbering.index(packet.element.index_high, packet.seq),
                slot: numbering.slot(Slot(first.0), packet.timestamp).unwrap(),
                marker: packet.marker,
                last_of_track: packet.element.flags.has(Flags::LAST_OF_TRACK),
                plan: packet.element.plan,
                track: *track,
                k: u32::from_be_bytes(k.try_into().unwrap()),
            })
        });
        sent.collect()
    }

    /// The indices sent so far.
    fn indices(&self) -> Vec<u64> {
        self.media().iter().map(|sent| sent.index.0).collect()
    }

    fn controls(&self) -> Vec<(Instant, Option<SocketAddr>, Message)> {
        let controls = self.log.iter().filter_map(|(at, output)| match output {
            Output::Control { to, bytes } => Some((*at, *to, Message::parse(bytes).unwrap())),
            _ => None,
        });
        controls.collect()
    }

    /// The heartbeats to the group.
    fn beats(&self) -> Vec<(Instant, Heartbeat)> {
        let beats = self
            .controls()
            .into_iter()
            .filter_map(|(at, to, message)| match message {
                Message::Heartbeat(beat) if to.is_none() => Some((at, *beat)),
                _ => None,
            });
        beats.collect()
    }

    fn events(&self) -> Vec<Event> {
        let events = self.log.iter().filter_map(|(_, output)| match output {
            Output::Event(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    fn rtcp(&self) -> Vec<(Instant, Vec<u8>)> {
        let rtcp = self.log.iter().filter_map(|(at, output)| match output {
            Output::Rtcp(bytes) => Some((*at, bytes.clone())),
            _ => None,
        });
        rtcp.collect()
    }

    fn is_done(&self) -> bool {
        assert_eq!(
            self.node.poll_timeout().is_none(),
            self.log.last().unwrap().1 == Output::Event(Event::Done)
        );
        self.node.poll_timeout().is_none()
    }
}

impl Config {
    fn term(&self) -> Term {
        Term {
            counter: 1,
            leader: self.node,
        }
    }
}

/// A heartbeat of another station.
fn foreign_beat(leader: NodeId, young: bool, state: State) -> Heartbeat {
    let mut other = Bench::with_tracks(
        Config {
            node: leader,
            station: StationId(0xffff_0000),
            name: "office".into(),
            ..config()
        },
        &[100],
    );
    other.run_until(ON_AIR);
    let (_, beat) = other.beats().remove(0);
    Heartbeat {
        young,
        state,
        ..beat
    }
}

fn has_idled(bench: &Bench) -> usize {
    bench
        .events()
        .iter()
        .filter(|event| **event == Event::Idle)
        .count()
}
