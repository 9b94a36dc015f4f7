//! One sender and one listener on a network that drops packets: what is heard, and what does it cost?
//!
//! The same nodes, players and run loops as in the `world`, and of its checks only those about repairs: so a million frames take
//! seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lanradio::station::node::{Fetch, Output};
use lanradio::station::random::Random;
use lanradio::wire::control::Message;
use lanradio::wire::ids::Numbering;
use lanradio::wire::media::MediaPacket;
use lanradio::wire::{FrameIndex, PlanDigest, TrackId};

use super::channel::{Channel as Way, Loss};
use crate::host::{Heard, Host, LocalClock, config, payload, sound};
use crate::world::{Channel, Packet};

const SENDER: usize = 0;
const LISTENER: usize = 1;
/// The list that is played again and again: two songs, of 3 and of 2 minutes.
const TRACKS: [(TrackId, u64); 2] = [(TrackId([0xA; 16]), 9_000), (TrackId([0xB; 16]), 6_000)];
/// How long nothing is lost: the listener tunes in and copies.
const CALM_US: u64 = 5_000_000;
/// Frames of which it is remembered how they were sent.
const REMEMBERED: usize = 1_024;
/// What a packet takes at least.
const LEAST_DELAY_US: u64 = 50;
/// How much later than it wants to a machine wakes at most.
const LATE_US: u64 = 300;

/// One cell of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) loss: Loss,
    /// What the listener sends is lost, too.
    pub(crate) both_ways: bool,
    pub(crate) buffer_ms: u64,
    /// What a packet takes at most; each takes another time, and so they overtake each other.
    pub(crate) delay_us: u64,
    /// The listener stands by, and has copied everything.
    pub(crate) replica: bool,
    pub(crate) frames: u64,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Frames whose time to be played came.
    pub(crate) decided: u64,
    pub(crate) concealed: u64,
    /// Those of the concealed ones during whose whole buffer nothing at all got through.
    pub(crate) hopeless: u64,
    /// Frames of the stream that did not reach the listener.
    pub(crate) lost: u64,
    pub(crate) nacks: u64,
    pub(crate) repairs: u64,
    /// Repairs of what was there already.
    pub(crate) needless: u64,
    /// From the first question to the answer, in microseconds, in order.
    pub(crate) latencies_us: Vec<u32>,
}

impl Tally {
    /// The latency that so many per cent of the repairs did not exceed, in milliseconds.
    pub(crate) fn latency_ms(&self, percent: usize) -> Option<f64> {
        let at = (self.latencies_us.len() * percent).div_ceil(100);
        let us = self.latencies_us.get(at.checked_sub(1)?)?;
        Some(f64::from(*us) / 1_000.0)
    }
}

/// What is on its way.
enum What {
    Packet(usize, Packet),
    Plan(PlanDigest),
    Frames(TrackId, u64),
}

/// A frame as it was sent.
struct Said {
    index: FrameIndex,
    sent_us: u64,
    packet: (u16, u32, Vec<u8>),
}

struct Pair {
    setup: Setup,
    now_us: u64,
    hosts: [Host; 2],
    wake_at: [Option<u64>; 2],
    on_its_way: BTreeMap<(u64, u64), What>,
    number: u64,
    random: Random,
    /// To the listener, and from it; none while nothing is lost.
    ways: Option<[Way; 2]>,
    said: VecDeque<Said>,
    before: Option<FrameIndex>,
    tally: Tally,
}

/// Runs one cell.
pub(crate) fn run(setup: Setup) -> Tally {
    let mut pair = Pair::new(setup);
    while pair.now_us < CALM_US || !pair.is_ready() {
        assert!(pair.now_us < CALM_US * 4, "{setup:?}: never ready");
        pair.step();
    }
    let calm = std::mem::take(&mut pair.tally);
    assert_eq!(calm.concealed, 0, "{setup:?}");
    pair.begin_losing();
    while pair.tally.decided < setup.frames {
        pair.step();
    }
    let mut tally = pair.tally;
    tally.latencies_us.sort_unstable();
    tally
}

impl Pair {
    fn new(setup: Setup) -> Pair {
        let mut random = Random::new(setup.seed);
        let mut host = |number: usize| {
            let sends = number == SENDER;
            let mut config = config(number, 0, setup.seed);
            (config.sends, config.looped) = (sends, sends);
            config.standby = sends || setup.replica;
            config.buffer = Duration::from_millis(setup.buffer_ms);
            let clock = LocalClock {
                offset_us: (random.bits() % 1_000_000_000) as i64,
                ppm: if sends { -70 } else { 40 },
            };
            Host::start(config, !sends, clock, 0, 0)
        };
        let mut hosts = [host(SENDER), host(LISTENER)];
        let sender = &mut hosts[SENDER];
        for (track, frames) in TRACKS {
            (0..frames).for_each(|k| sender.shelf.insert(track, k, &payload(track, k)));
            sender.node.add_track(track, "a song", "");
            sender.node.track_finished(track, frames, None);
        }
        sender.node.source_finished();
        Pair {
            setup,
            now_us: 0,
            hosts,
            wake_at: [Some(0), Some(0)],
            on_its_way: BTreeMap::new(),
            number: 0,
            random,
            ways: None,
            said: VecDeque::new(),
            before: None,
            tally: Tally::default(),
        }
    }

    /// The listener plays, and has copied what it copies.
    fn is_ready(&self) -> bool {
        let all: u64 = TRACKS.iter().map(|(_, frames)| frames).sum();
        let sender = &self.hosts[SENDER].node;
        let complete = || {
            sender
                .roster()
                .peers()
                .any(|(_, peer)| peer.standing.complete)
        };
        let copied =
            !self.setup.replica || self.hosts[LISTENER].shelf.frames() == all && complete();
        copied && self.before.is_some()
    }

    fn begin_losing(&mut self) {
        let Setup { loss, seed, .. } = self.setup;
        // In a burst nothing passes in either direction; else each way loses its own.
        let seeds = match loss {
            Loss::Random(_) => [seed ^ 0xD0, seed ^ 0x0B],
            Loss::Bursts(_) => [seed ^ 0xD0; 2],
        };
        self.ways = Some(seeds.map(|seed| Way::new(loss, seed, self.now_us)));
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let woken = (0..2).filter_map(|host| Some((self.wake_at[host]?, host)));
        let woken = woken.min().expect("somebody always waits for something");
        let coming = self.on_its_way.first_key_value().map(|(at, _)| *at);
        match coming.filter(|(at, _)| *at <= woken.0) {
            Some(key) => {
                self.now_us = key.0;
                let what = self.on_its_way.remove(&key).expect("the first one");
                self.happen(what);
            }
            None => {
                self.now_us = woken.0;
                self.wake(woken.1);
            }
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Packet(to, packet) => {
                let is_new = to == LISTENER && self.is_missing(&packet);
                let asked = self.hosts[to].hear(&packet, self.now_us);
                if let Some(latency) = asked {
                    if is_new {
                        self.tally.latencies_us.push(latency.as_micros() as u32);
                    } else {
                        self.tally.needless += 1;
                    }
                }
                self.listen();
                self.wake(to);
            }
            What::Plan(digest) => {
                if let Some(bytes) = self.hosts[SENDER].node.plan_bytes(digest) {
                    let listener = &mut self.hosts[LISTENER];
                    let now = listener.clock.local(self.now_us);
                    let result = listener.node.handle_plan(digest, &bytes, now);
                    result.expect("the plan that was asked for");
                }
                self.wake(LISTENER);
            }
            What::Frames(track, first) => {
                let copied = self.hosts[SENDER].shelf.copy_from(track, first, 500);
                let listener = &mut self.hosts[LISTENER];
                let came = !copied.is_empty();
                for (k, payload) in (first..).zip(copied) {
                    listener.shelf.insert(track, k, &payload);
                }
                let now = listener.clock.local(self.now_us);
                listener.node.handle_frames(came, now);
                self.wake(LISTENER);
            }
        }
    }

    /// Whether a packet is a repair of a frame that is not here.
    fn is_missing(&self, packet: &Packet) -> bool {
        let Some(repair) = repair(&packet.bytes).filter(|_| packet.channel != Channel::Media)
        else {
            return false;
        };
        let (index, _) = frame(&repair);
        let player = self.hosts[LISTENER]
            .dial
            .as_ref()
            .and_then(|dial| dial.player());
        player.is_some_and(|player| !player.frames().contains(index))
    }

    /// One turn of a host's run loop.
    fn wake(&mut self, number: usize) {
        self.hosts[number].turn(self.now_us);
        self.act(number);
        let host = &mut self.hosts[number];
        let now = host.clock.local(self.now_us);
        if let Some(dial) = &mut host.dial {
            dial.handle_timeout(now);
        }
        self.listen();
        let late = self.random.bits() % LATE_US;
        let host = &self.hosts[number];
        let at = host.wish().map(|at| host.clock.true_us(at));
        self.wake_at[number] = at.map(|at| at.max(self.now_us) + late);
    }

    fn act(&mut self, number: usize) {
        while let Some(output) = self.hosts[number].node.poll_output() {
            match output {
                Output::Media(bytes) => {
                    if number == SENDER {
                        self.remember(&bytes);
                    }
                    self.hosts[number].hear_own(&bytes, Channel::Media, self.now_us);
                    self.send(number, Channel::Media, bytes);
                }
                Output::Control { to, bytes } => {
                    let channel = to.map_or(Channel::Control, |_| Channel::Unicast);
                    self.count(number, channel, &bytes);
                    self.hosts[number].hear_own(&bytes, channel, self.now_us);
                    self.send(number, channel, bytes);
                }
                Output::Repair(bytes) => self.hosts[number].hear_copy(&bytes, self.now_us),
                Output::Fetch(Fetch::Plan { digest, .. }) => self.fetch(What::Plan(digest)),
                Output::Fetch(Fetch::Frames { track, first, .. }) => {
                    self.fetch(What::Frames(track, first));
                }
                Output::Event(_) | Output::Rtcp(_) => {}
                Output::Submit { .. } => unreachable!("one sender"),
            }
        }
    }

    /// What is asked for by HTTP comes, whatever the network drops.
    fn fetch(&mut self, what: What) {
        let at = self.now_us + 2_000 + self.random.bits() % 4_000;
        self.number += 1;
        self.on_its_way.insert((at, self.number), what);
    }

    fn send(&mut self, from: usize, channel: Channel, bytes: Vec<u8>) {
        let to = 1 - from;
        let more_us = self.random.bits() % (self.setup.delay_us - LEAST_DELAY_US + 1);
        let arrived_us = self.now_us + LEAST_DELAY_US + more_us;
        let lossy = to == LISTENER || self.setup.both_ways;
        if let Some(ways) = self.ways.as_mut().filter(|_| lossy)
            && ways[from].drops(self.now_us)
        {
            self.tally.lost += u64::from(channel == Channel::Media && to == LISTENER);
            return;
        }
        let packet = Packet {
            channel,
            from,
            bytes,
            arrived_us,
        };
        self.number += 1;
        self.on_its_way
            .insert((arrived_us, self.number), What::Packet(to, packet));
    }

    fn remember(&mut self, bytes: &[u8]) {
        let (index, packet) = frame(bytes);
        let sent_us = self.now_us;
        self.said.push_back(Said {
            index,
            sent_us,
            packet,
        });
        if self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
    }

    fn said(&self, index: FrameIndex) -> Option<&Said> {
        let at = self.said.binary_search_by_key(&index, |said| said.index);
        self.said.get(at.ok()?)
    }

    /// A repair is what was on air.
    fn count(&mut self, number: usize, channel: Channel, bytes: &[u8]) {
        match Message::parse(bytes).expect("our own message") {
            Message::Nack(_) => self.tally.nacks += 1,
            Message::Repair(repair) => {
                assert!(number == SENDER && channel == Channel::Unicast);
                let (index, packet) = frame(&repair.packet);
                let said = self.said(index).expect("only what was on air is repaired");
                assert_eq!(said.packet, packet, "frame {index}");
                self.tally.repairs += 1;
            }
            _ => {}
        }
    }

    /// What the listener's player decided.
    fn listen(&mut self) {
        self.hosts[LISTENER].listen();
        let heard = std::mem::take(&mut self.hosts[LISTENER].heard);
        for heard in heard {
            let index = match heard {
                Heard::Played(index, what) => {
                    let said = self.said(index).expect("what is played was on air");
                    assert_eq!(sound(&said.packet.2), what, "frame {index}");
                    index
                }
                Heard::Concealed(index) => {
                    self.tally.concealed += 1;
                    self.tally.hopeless += u64::from(self.is_hopeless(index));
                    index
                }
                Heard::OffAir => panic!("{:?}: off air", self.setup),
            };
            self.tally.decided += 1;
            let follows = self.before.is_none_or(|before| index == before.plus(1));
            assert!(follows, "{:?}: {index} after {:?}", self.setup, self.before);
            self.before = Some(index);
        }
    }

    /// Whether nothing at all has got through from when a frame was sent until it was to be played.
    fn is_hopeless(&self, index: FrameIndex) -> bool {
        let sent_us = self.said(index).map(|said| said.sent_us);
        let ways = self.ways.as_ref();
        sent_us.zip(ways).is_some_and(|(sent_us, ways)| {
            ways[SENDER].was_closed(sent_us, sent_us + self.setup.buffer_ms * 1_000)
        })
    }
}

fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    match Message::parse(bytes) {
        Ok(Message::Repair(repair)) => Some(repair.packet),
        _ => None,
    }
}

/// Which frame a packet brings, and what has to be the same in each packet of it.
fn frame(bytes: &[u8]) -> (FrameIndex, (u16, u32, Vec<u8>)) {
    let packet = MediaPacket::parse(bytes).expect("our own packet");
    let numbering = Numbering::of(packet.station);
    let index = numbering.index(packet.element.index_high, packet.seq);
    let said = (packet.seq.0, packet.timestamp.0, packet.payload.to_vec());
    (index, said)
}
