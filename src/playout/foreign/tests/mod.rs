//! A sender, a network and an output in virtual time: every sample that comes out is known by the packet it came from.

mod adapting;
mod endings;
mod restarts;
mod sound;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::wire::ids::{RtpTimestamp, Seq};

/// When the first packet is sent, in microseconds of the listener's clock.
const BEGIN_US: u64 = 1_000_000_000;
const BUFFER: Duration = Duration::from_millis(500);
pub(super) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A packet on its way.
#[derive(Clone, Debug)]
struct Sent {
    source: u32,
    seq: u16,
    timestamp: u32,
    samples: u32,
    /// Microseconds after [`BEGIN_US`].
    arrives_us: u64,
    /// Names it in the sound.
    id: u32,
}

/// Packets of `samples` samples each, sent in real time.
#[derive(Clone, Copy)]
struct Sender {
    source: u32,
    seq: u16,
    timestamp: u32,
    samples: u32,
    /// When it begins.
    from_us: u64,
    /// Ids of its packets count from here.
    id: u32,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            source: 7,
            seq: 65_000,
            timestamp: 0xffff_0000,
            samples: 960,
            from_us: 0,
            id: 0,
        }
    }
}

impl Sender {
    /// Its packets of the next `ms` milliseconds.
    fn packets(self, ms: u64) -> Vec<Sent> {
        let count = ms * 48 / u64::from(self.samples);
        let packet = |k: u64| Sent {
            source: self.source,
            seq: self.seq.wrapping_add(k as u16),
            timestamp: self
                .timestamp
                .wrapping_add((k * u64::from(self.samples)) as u32),
            samples: self.samples,
            arrives_us: self.from_us + k * u64::from(self.samples) * 125 / 6,
            id: self.id + k as u32,
        };
        (0..count).map(packet).collect()
    }
}

/// Samples that came out, in a row of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    /// Of this packet, from this sample of it on.
    Packet(u32, u64),
    MadeUp,
    Padding,
}

/// A listener with a perfect decoder.
struct World {
    foreign: Foreign,
    now: Instant,
    /// What was appended, and how many samples each.
    sound: Vec<(Sound, u64)>,
    appended: u64,
    /// When each block was played.
    played_at: Vec<Instant>,
    told: Vec<Output>,
    /// When the first two of each kind were told.
    told_at: Vec<Instant>,
    /// Packets that do not decode.
    damaged: Vec<u32>,
}

impl World {
    fn new() -> World {
        World::with_buffer(BUFFER)
    }

    fn with_buffer(buffer: Duration) -> World {
        World::with(BufferChoice::Fixed(buffer))
    }

    fn with(choice: BufferChoice) -> World {
        World {
            foreign: Foreign::new(choice, BUFFER),
            now: Instant::from_micros(BEGIN_US),
            sound: Vec::new(),
            appended: 0,
            played_at: Vec::new(),
            told: Vec::new(),
            told_at: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// The packets arrive in the order of their times; deadlines are met exactly.
    fn hear(&mut self, mut packets: Vec<Sent>) {
        packets.sort_by_key(|sent| sent.arrives_us);
        for sent in packets {
            self.run_before(sent.arrives_us);
            let _ = self.receive(&sent);
        }
    }

    fn receive(&mut self, sent: &Sent) -> Result<(), ForeignRejection> {
        self.read(sent, self.now)
    }

    /// The listener was stopped until now: reads what arrived meanwhile.
    fn read_late(&mut self, packets: &[Sent]) {
        for sent in packets {
            let _ = self.read(sent, Instant::from_micros(BEGIN_US + sent.arrives_us));
        }
    }

    fn read(&mut self, sent: &Sent, arrived: Instant) -> Result<(), ForeignRejection> {
        let payload = sent.id.to_be_bytes();
        let packet = ForeignPacket {
            source: StationId(sent.source),
            seq: Seq(sent.seq),
            timestamp: RtpTimestamp(sent.timestamp),
            samples: sent.samples,
            payload: &payload,
        };
        let result = self.foreign.handle_packet(&packet, HOST, arrived, self.now);
        self.drain();
        result
    }

    fn goodbye(&mut self, source: u32) {
        self.foreign.handle_goodbyes(&[StationId(source)], HOST);
        self.drain();
    }

    /// Time passes until so many microseconds after the beginning.
    fn run_to(&mut self, us: u64) {
        self.run_before(us);
        self.foreign.handle_timeout(self.now);
        self.drain();
    }

    /// The same, but what is due then waits for what arrives then.
    fn run_before(&mut self, us: u64) {
        let until = Instant::from_micros(BEGIN_US + us);
        let mut idle = 0;
        while let Some(at) = self.foreign.poll_timeout().filter(|at| *at < until) {
            idle = if at <= self.now { idle + 1 } else { 0 };
            assert!(idle < 3, "a deadline that never passes: {at}");
            self.now = self.now.max(at);
            self.foreign.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(until);
    }

    fn drain(&mut self) {
        while let Some(output) = self.foreign.poll_output() {
            match output {
                Output::Decode {
                    payload,
                    samples,
                    skip,
                } => {
                    let id = u32::from_be_bytes(payload.try_into().unwrap());
                    if self.damaged.contains(&id) {
                        self.foreign.undecodable();
                    } else {
                        let skip = u64::from(skip);
                        self.append(Sound::Packet(id, skip), u64::from(samples) - skip);
                    }
                }
                Output::Conceal { samples, .. } => self.append(Sound::MadeUp, samples.into()),
                Output::Pad { samples } => self.append(Sound::Padding, samples.into()),
                Output::Play { frame, .. } => {
                    assert_eq!(frame, self.played_at.len() as u64);
                    self.played_at.push(self.now);
                    assert!(self.appended >= 960 * self.played_at.len() as u64);
                }
                other => {
                    self.told.push(other);
                    self.told_at.push(self.now);
                }
            }
        }
        let statistics = self.foreign.statistics();
        assert_eq!(statistics.played(), self.played_at.len() as u64);
        assert_eq!(statistics.played(), self.foreign.frames());
    }

    fn append(&mut self, sound: Sound, samples: u64) {
        self.appended += samples;
        self.sound.push((sound, samples));
    }

    /// Where each packet sounds: its id, and the sample of the output at which its first one stands (or would stand).
    fn places(&self) -> Vec<(u32, i64)> {
        let mut at = 0;
        let mut places = Vec::new();
        for (sound, samples) in &self.sound {
            if let Sound::Packet(id, skip) = sound {
                places.push((*id, at - *skip as i64));
            }
            at += *samples as i64;
        }
        places
    }

    /// How many samples are not of a packet.
    fn made_up(&self) -> u64 {
        let made_up = self
            .sound
            .iter()
            .filter(|(sound, _)| *sound == Sound::MadeUp);
        made_up.map(|(_, samples)| samples).sum()
    }

    /// How long after its arrival (as planned) a packet was played, in milliseconds, at its first sample's block.
    fn latencies_ms(&self, packets: &[Sent]) -> Vec<u64> {
        let places: BTreeMap<u32, i64> = self.places().into_iter().collect();
        let of = |sent: &Sent| {
            let at = *places.get(&sent.id)?;
            let played_at = *self.played_at.get(at.max(0) as usize / 960)?;
            let arrived = Instant::from_micros(BEGIN_US + sent.arrives_us);
            Some(played_at.since(arrived).as_millis() as u64)
        };
        packets.iter().filter_map(of).collect()
    }

    fn statistics(&self) -> &Statistics {
        self.foreign.statistics()
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.statistics().rejected.get(reason).copied().unwrap_or(0)
    }
}

/// The ids of all packets, and where their sound must stand if nothing is lost.
fn whole(packets: &[Sent]) -> Vec<(u32, i64)> {
    let mut at = 0;
    let mut places = Vec::new();
    for sent in packets {
        places.push((sent.id, at));
        at += i64::from(sent.samples);
    }
    places
}
