//! One machine: a node, a player, and the frames that it holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lanradio::playout::dial::Dial;
use lanradio::playout::player::{Config as PlayerConfig, Output as Decision};
use lanradio::station::clock::StationClock;
use lanradio::station::node::{Config, Frames, Node};
use lanradio::station::random::Random;
use lanradio::time::Instant;
use lanradio::wire::{FrameIndex, NodeId, StationId, TrackId};

use crate::teller::Teller;
use crate::watch::Watch;

/// Frames by track and number.
#[derive(Default)]
pub(crate) struct Shelf(BTreeMap<TrackId, BTreeMap<u64, Vec<u8>>>);

impl Shelf {
    pub(crate) fn insert(&mut self, track: TrackId, k: u64, payload: &[u8]) {
        let frames = self.0.entry(track).or_default();
        frames.entry(k).or_insert_with(|| payload.to_vec());
    }

    /// How many frames it has.
    pub(crate) fn frames(&self) -> u64 {
        self.0.values().map(|frames| frames.len() as u64).sum()
    }

    /// One past the last frame that it has of the track of which it has most.
    pub(crate) fn most(&self) -> u64 {
        let ends = self.0.keys().map(|track| self.end(*track));
        ends.max().unwrap_or(0)
    }

    /// Frames of a track from `first` on, as they are there without a hole.
    pub(crate) fn copy_from(&self, track: TrackId, first: u64, most: usize) -> Vec<Vec<u8>> {
        let held = self.held_from(track, first);
        (first..first + held)
            .take(most)
            .filter_map(|k| self.packet(track, k).map(<[u8]>::to_vec))
            .collect()
    }
}

impl Frames for Shelf {
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]> {
        self.0.get(&track)?.get(&k).map(Vec::as_slice)
    }

    fn held_from(&self, track: TrackId, k: u64) -> u64 {
        let Some(frames) = self.0.get(&track) else {
            return 0;
        };
        // Nothing is ever removed: without a hole, the last number tells how many there are.
        let last = frames.keys().next_back().copied().unwrap_or(0);
        if frames.len() as u64 == last + 1 {
            return (last + 1).saturating_sub(k);
        }
        let held = frames
            .range(k..)
            .zip(k..)
            .take_while(|((at, _), k)| *at == k);
        held.count() as u64
    }

    fn end(&self, track: TrackId) -> u64 {
        let last = self
            .0
            .get(&track)
            .and_then(|frames| frames.keys().next_back());
        last.map_or(0, |last| last + 1)
    }
}

/// What one frame of one track sounds like: its name.
pub(crate) fn payload(track: TrackId, k: u64) -> Vec<u8> {
    [&track.0[..4], &k.to_be_bytes()[..]].concat()
}

/// Which frame of which track sounds like this.
pub(crate) fn sound(payload: &[u8]) -> Sound {
    let track: [u8; 4] = payload[..4].try_into().expect("our own payload");
    let k: [u8; 8] = payload[4..12].try_into().expect("our own payload");
    (u32::from_be_bytes(track), u64::from_be_bytes(k))
}

/// The beginning of a track's id, and the number of a frame in it.
pub(crate) type Sound = (u32, u64);

/// A local clock: off by an offset, and faster or slower by some millionths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock {
    pub(crate) offset_us: i64,
    pub(crate) ppm: i64,
}

impl LocalClock {
    pub(crate) fn local(&self, true_us: u64) -> Instant {
        let drift = true_us as i64 / 1_000 * self.ppm / 1_000;
        Instant::from_micros((true_us as i64 + self.offset_us + drift).max(0) as u64)
    }

    /// The first true microsecond at which the local clock shows at least `at`.
    pub(crate) fn true_us(&self, at: Instant) -> u64 {
        let mut guess = at.as_micros() as i64 - self.offset_us;
        guess -= guess / 1_000 * self.ppm / 1_000;
        let mut guess = guess.max(0) as u64;
        while self.local(guess) < at {
            guess += 1;
        }
        guess
    }
}

/// A decision of the player, with its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Played(FrameIndex, Sound),
    Concealed(FrameIndex),
    /// Nothing is played any more.
    OffAir,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) shelf: Shelf,
    pub(crate) dial: Option<Dial>,
    pub(crate) clock: LocalClock,
    pub(crate) up: bool,
    /// Until when it stands still, in true time.
    pub(crate) paused_until: u64,
    /// No packet is stamped earlier: its clock stood still until then.
    pub(crate) not_before: Instant,
    /// How much later than asked for it wakes at least.
    pub(crate) late_us: u64,
    /// What waits in its sockets.
    pub(crate) inbox: Vec<super::world::Packet>,
    pub(crate) heard: Vec<Heard>,
    /// How often its player changed to another leader.
    pub(crate) leaders_heard: usize,
    pub(crate) off_air: Option<String>,
    /// How often it was started.
    pub(crate) lives: u32,
    /// What is noted for the invariants.
    pub(crate) watch: Watch,
    /// What it tells of itself.
    pub(crate) teller: Teller,
}

impl Host {
    pub(crate) fn addr(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number as u8 + 1], 40_000))
    }

    pub(crate) fn http(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number as u8 + 1], HTTP_PORT))
    }

    /// Starts, for the first time or again: nothing is remembered but what is on the disk, which is nothing.
    pub(crate) fn start(
        config: Config,
        listens: bool,
        clock: LocalClock,
        now_us: u64,
        lives: u32,
    ) -> Host {
        let dial = listens.then(|| Dial::new(PlayerConfig::default()));
        Host {
            node: Node::new(config, clock.local(now_us)),
            shelf: Shelf::default(),
            dial,
            clock,
            up: true,
            paused_until: 0,
            not_before: Instant::from_micros(0),
            late_us: 0,
            inbox: Vec::new(),
            heard: Vec::new(),
            leaders_heard: 0,
            off_air: None,
            lives,
            watch: Watch::default(),
            teller: Teller::default(),
        }
    }

    /// Whether it runs at this moment.
    pub(crate) fn is_awake(&self, now_us: u64) -> bool {
        self.up && now_us >= self.paused_until
    }

    /// When it wants to be woken.
    pub(crate) fn wish(&self) -> Option<Instant> {
        let dial = self.dial.as_ref().and_then(Dial::poll_timeout);
        self.node.poll_timeout().into_iter().chain(dial).min()
    }

    /// The node takes part in the station that is tuned in.
    pub(crate) fn follow(&mut self) {
        if let Some(dial) = &self.dial {
            let station = dial.player().map(|player| player.station());
            self.node.follow(station);
        }
    }

    /// What is played is played by the station clock, as far as the node knows it.
    pub(crate) fn play_by_the_clock(&mut self) {
        let (station, clock) = (self.node.config().station, self.node.station_clock());
        if let Some(player) = self.dial.as_mut().and_then(Dial::player_mut) {
            let is_ours = player.station() == station;
            let clock = clock.filter(|_| is_ours);
            player.handle_clock(clock.map(StationClock::map));
        }
    }

    /// What the player decided since it was last asked.
    pub(crate) fn listen(&mut self) {
        let Some(player) = self.dial.as_mut().and_then(Dial::player_mut) else {
            return;
        };
        while let Some(decision) = player.poll_output() {
            match decision {
                Decision::Play { index } => {
                    let payload = player.payload(index).expect("what is played is there");
                    self.heard.push(Heard::Played(index, sound(payload)));
                }
                Decision::Conceal { index, .. } => self.heard.push(Heard::Concealed(index)),
                Decision::Leader { .. } => self.leaders_heard += 1,
                Decision::OffAir { reason } => {
                    self.off_air = Some(reason.as_str().to_owned());
                    self.heard.push(Heard::OffAir);
                }
                _ => {}
            }
        }
    }
}

pub(crate) const HTTP_PORT: u16 = 8_080;

/// A node's configuration in these tests.
pub(crate) fn config(number: usize, lives: u32, seed: u64) -> Config {
    let mut random = Random::new(seed << 16 ^ (number as u64) << 8 ^ u64::from(lives));
    let id = random.bits();
    Config {
        node: NodeId(id),
        name: format!("host {number}"),
        station: StationId(id as u32),
        sends: false,
        standby: true,
        priority: 0,
        quorum: 1,
        http_port: HTTP_PORT,
        seed: id,
        buffer: std::time::Duration::from_millis(500),
        looped: false,
        first_frame: FrameIndex(0),
    }
}
