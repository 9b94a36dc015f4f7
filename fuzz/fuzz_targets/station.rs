//! Two real nodes of one station, and somebody who sends in its name: what both targets and the corpus test drive.
#![allow(dead_code, reason = "each target drives its part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use lanradio::station::node::{Config, Fetch, Frames, Node, Output};
use lanradio::station::programme::Programme;
use lanradio::station::roster::MAX_NODES;
use lanradio::time::Instant;
use lanradio::wire::control::{EndReason, Heartbeat, Hello, Message, State};
use lanradio::wire::election::{Ask, Confirm, Offer, Refusal, Reply, Round, Stale, Standing};
use lanradio::wire::ids::{FRAME_MICROS, Numbering};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::probe::{Probe, Time};
use lanradio::wire::repair::Nack;
use lanradio::wire::report::{
    BURST_CLASSES, Bursts, Lately, NodeReport, RepairTimes, Report, Timing, Totals,
};
use lanradio::wire::{FrameIndex, NodeId, PlanDigest, Slot, StationId, Term, TrackId};

const STATION: StationId = StationId(0x1234_5678);
const TRACK: TrackId = TrackId([1; 16]);
/// Frames and slots that are heard are below this.
const LIMIT: u64 = FrameIndex::LIMIT / 2;
/// Frames of the track: 40 s.
const FRAMES: u64 = 2_000;
/// What one input, or one wake, may make a node put out: two buffers of frames, questions to all heirs, events.
const MAX_OUTPUTS: usize = 160;
/// Datagrams to single nodes in one second: answers of every kind, a candidate's questions to its heirs, and a report to each
/// leader that is heard for 100 ms.
const MAX_UNICAST_PER_SECOND: usize = 20 + 800 + 140 + 10 + 9 * 150 + 10;
/// Datagrams to the group in one second, frames apart.
const MAX_MULTICAST_PER_SECOND: usize = 300;

/// Everything is held by everybody.
#[derive(Default)]
pub(crate) struct Shelf(BTreeMap<TrackId, u64>);

impl Frames for Shelf {
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]> {
        (k < self.end(track)).then_some(&[0xfc, 0xff, 0xfe])
    }

    fn held_from(&self, track: TrackId, k: u64) -> u64 {
        self.end(track).saturating_sub(k)
    }

    fn end(&self, track: TrackId) -> u64 {
        self.0.get(&track).copied().unwrap_or_default()
    }
}

/// Whom the forger attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Leader,
    Heir,
    Waiting,
}

pub(crate) struct World {
    pub(crate) subject: Node,
    pub(crate) partner: Node,
    pub(crate) shelf: Shelf,
    pub(crate) now: Instant,
    partner_lives: bool,
    /// The leader's newest heartbeat to the group.
    beat: Option<Heartbeat>,
    /// The number of the subject's newest probe.
    probed: Option<u64>,
    /// What the subject sent lately: when, and whether to one node.
    sent: VecDeque<(Instant, bool)>,
    /// It was not always the leader.
    has_followed: bool,
    /// Since when it is on air without a pause and has sent no frame.
    quiet_since: Instant,
}

fn config(node: u64, sends: bool) -> Config {
    Config {
        node: NodeId(node << 32),
        name: "kitchen".into(),
        station: STATION,
        sends,
        standby: true,
        priority: 0,
        quorum: 1,
        http_port: 8_080,
        seed: node,
        buffer: Duration::from_millis(500),
        looped: false,
        first_frame: FrameIndex(0),
    }
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 40_000))
}

/// Numbers out of an input; nothing is left at its end.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn wide(&mut self) -> Option<i16> {
        Some(i16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn some(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        let (some, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(some)
    }

    /// A number near `truth`, or one of those at the ends.
    fn near(&mut self, truth: u64) -> Option<u64> {
        Some(match self.byte()? {
            255 => u64::MAX,
            254 => 0,
            253 => u64::from(u32::MAX),
            252 => truth.saturating_add(1_024),
            more => truth.saturating_add_signed(i64::from(more as i8)),
        })
    }
}

impl World {
    pub(crate) fn new(part: Part) -> World {
        let start = Instant::from_micros(77_000_123);
        let leads = part == Part::Leader;
        let mut world = World {
            subject: Node::new(config(2, leads), start),
            partner: Node::new(config(1, !leads), start),
            shelf: Shelf(BTreeMap::from([(TRACK, FRAMES)])),
            now: start,
            partner_lives: true,
            beat: None,
            probed: None,
            sent: VecDeque::new(),
            has_followed: false,
            quiet_since: start,
        };
        let (leader, listener) = match part {
            Part::Leader => (&mut world.subject, &mut world.partner),
            _ => (&mut world.partner, &mut world.subject),
        };
        leader.add_track(TRACK, "song", "band");
        leader.track_finished(TRACK, FRAMES, None);
        leader.source_finished();
        if part == Part::Waiting {
            return world;
        }
        listener.follow(Some(STATION));
        // On air after 250 ms, and joined soon after.
        for _ in 0..35 {
            world.advance(20);
        }
        world
    }

    /// One step of an input; `false` at its end.
    pub(crate) fn step(&mut self, bytes: &mut Bytes<'_>) -> bool {
        self.try_step(bytes).is_some()
    }

    fn try_step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.byte()? % 12 {
            0..=2 => self.advance(20),
            3 => self.advance(u64::from(bytes.byte()?)),
            4 => {
                let ms = u64::from(bytes.wide()?.unsigned_abs());
                self.stand_still(ms);
            }
            5 => {
                let (host, raw) = (bytes.byte()?, bytes.some()?);
                if let Ok(message) = Message::parse(raw) {
                    self.hear(host, &message);
                }
            }
            6 => self.forge_beat(bytes)?,
            7 => self.forge_media(bytes)?,
            8 => self.forge_word(bytes)?,
            9 => {
                let (crowd, host) = (u64::from(bytes.byte()?), bytes.byte()?);
                for n in 0..crowd * 8 {
                    let from = host.wrapping_add((n / 50) as u8);
                    let hello = hello(1_000 * u64::from(host) + n, Some(STATION), host);
                    self.hear(from, &hello);
                }
            }
            10 => match bytes.byte()? % 3 {
                0 => self.partner_lives = !self.partner_lives,
                1 => self.subject.follow(Some(STATION)),
                _ => self.subject.handle_frames(true, self.now),
            },
            _ => {
                let raw = bytes.some()?;
                let digest = PlanDigest(u32::from_le_bytes([bytes.byte()?, 0, 0, 0]));
                let _ = self.subject.handle_plan(digest, raw, self.now);
                let _ = self.subject.handle_submission(raw, self.now);
            }
        }
        self.take_outputs();
        Some(())
    }

    /// The subject hears this from a host.
    pub(crate) fn hear(&mut self, host: u8, message: &Message) {
        let now = self.now;
        // As it comes from the network: what is out of range does not.
        if let Ok(message) = &Message::parse(&message.to_bytes()) {
            self.subject.handle_control(addr(host), message, now, now);
        }
        self.take_outputs();
    }

    fn term(&self) -> Term {
        let known = self.subject.followed_term();
        known.unwrap_or(Term {
            counter: 1,
            leader: NodeId(1 << 32),
        })
    }

    fn forged_term(&self, bytes: &mut Bytes<'_>) -> Option<Term> {
        let term = self.term();
        let counter = bytes.near(u64::from(term.counter))?;
        let counter = u32::try_from(counter).unwrap_or(u32::MAX);
        let leader = match bytes.byte()? {
            0..128 => term.leader,
            other => NodeId(u64::from(other) << 32),
        };
        Some(Term { counter, leader })
    }

    fn forge_beat(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let Some(mut beat) = self.beat.clone() else {
            return Some(());
        };
        let host = bytes.byte()? % 4;
        let what = bytes.byte()?;
        beat.number = bytes.near(beat.number)?;
        match what % 10 {
            0 => beat.term = self.forged_term(bytes)?,
            1 => beat.next = FrameIndex(bytes.near(beat.next.0)? % LIMIT),
            2 => beat.state = State::Over(EndReason::Left),
            3 => beat.state = State::Idle,
            4 => beat.plan = PlanDigest(u32::from(bytes.byte()?)),
            5 => beat.succession.quorum = (bytes.near(1)? % 1_024) as u16 + 1,
            6 => {
                let heirs = (0..bytes.byte()? % 9).map(|n| NodeId(u64::from(n) << 32));
                beat.succession.heirs = heirs.collect();
            }
            7 => {
                let successor = NodeId(u64::from(bytes.byte()? % 4) << 32);
                let first = FrameIndex(bytes.near(beat.next.0)? % LIMIT);
                beat.succession.offer = Some(Offer {
                    successor,
                    first,
                    lease_until_us: (what >= 128)
                        .then_some(beat.sent_at_us + u64::from(host) * 100_000),
                });
            }
            8 => {
                beat.succession.over = Some(self.term());
                beat.term = self.forged_term(bytes)?;
                beat.succession.supporters = u16::MAX;
            }
            _ => {
                beat.station = StationId(u32::from(bytes.byte()?));
                beat.young = what >= 128;
            }
        }
        beat.sent_at_us = bytes.near(beat.sent_at_us)? % (LIMIT * FRAME_MICROS);
        if beat.run.is_some_and(|run| run.first.0 > run.starts_at.0) {
            beat.run = None;
        }
        self.hear(host, &Message::Heartbeat(Box::new(beat)));
        Some(())
    }

    fn forge_media(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let next = self.subject.play_position().0;
        let index = FrameIndex(bytes.near(next)? % LIMIT);
        let slot = Slot(bytes.near(index.0)?);
        let term = self.forged_term(bytes)?.short();
        let (flags, plan) = (Flags(bytes.byte()? & 15), bytes.byte()?);
        let plan = match plan {
            0..128 => self.partner.programme().digest(),
            other => PlanDigest(u32::from(other)),
        };
        let numbering = Numbering::of(STATION);
        let packet =
            MediaPacket::place(&numbering, index, slot, false, (term, plan, flags), &[0xfc]);
        self.subject.handle_media(&packet, self.now, self.now);
        let _ = self.subject.place(&packet);
        Some(())
    }

    fn forge_word(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let (what, host) = (bytes.byte()?, bytes.byte()?);
        let (term, station) = (self.forged_term(bytes)?, STATION);
        let node = NodeId(u64::from(host) << 32);
        let round = match bytes.byte()? % 2 {
            0 => Round::PreVote,
            _ => Round::Vote {
                counter: term.counter,
            },
        };
        let plan = PlanDigest(u32::from(bytes.byte()?));
        let version = bytes.near(1)?;
        let message = match what % 6 {
            _ if what >= 240 => Message::Nack(Nack {
                station,
                node,
                first: FrameIndex(version % LIMIT),
                bitmap: u64::MAX >> (what - 240),
            }),
            _ if what >= 232 => Message::Probe(Probe {
                station,
                node,
                number: version,
                apart_us: (host % 2 == 0).then_some(version as i64 >> (what % 8 * 7)),
            }),
            _ if what >= 224 => Message::Time(Time {
                station,
                term,
                number: self.probed.unwrap_or(version),
                received_us: version % (LIMIT * 20_000),
                waited_us: u32::from(host) << (what % 8 * 3),
                rate_sigma_ppb: u32::from(host) << (what % 8 * 3),
                doubted: host % 4 == 0,
            }),
            0 => Message::Stale(Stale {
                station,
                node,
                term,
            }),
            1 => Message::Ask(Ask {
                station,
                node,
                term,
                attempt: u32::from(what),
                round,
                rank: host % 9,
                eligible: what >= 128,
                plan,
                version,
                quorum: u16::from(host % 4) + 1,
            }),
            2 => Message::Reply(Reply {
                station,
                node,
                candidate: self.subject.config().node,
                attempt: u32::from(what),
                round,
                refusal: (what >= 128).then_some(Refusal::NewerPlan),
                counter: term.counter,
                plan,
                version,
                http_port: 80,
            }),
            3 => Message::Confirm(Confirm {
                station,
                node,
                term,
                number: version,
                plan,
                standing: Standing::default(),
                accepts: (what >= 128).then_some(FrameIndex(5)),
            }),
            4 => Message::Report(Box::new(NodeReport {
                station,
                node,
                report: report(version),
            })),
            _ => hello(u64::from(host), (what < 128).then_some(STATION), what),
        };
        self.hear(host, &message);
        Some(())
    }

    /// Neither node has a turn for so long.
    pub(crate) fn stand_still(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.quiet_since = self.now + Duration::from_millis(100);
        self.advance(1);
    }

    /// So much time passes, in steps of 5 ms (more if it is long).
    pub(crate) fn advance(&mut self, ms: u64) {
        let steps = ms.div_ceil(5).clamp(1, 20);
        for _ in 0..steps {
            self.now += Duration::from_micros(ms * 1_000 / steps);
            if self.partner_lives {
                self.partner.handle_timeout(self.now, &self.shelf);
                self.take_partner_outputs();
            }
            let before = (self.subject.state(), self.subject.term());
            self.subject.handle_timeout(self.now, &self.shelf);
            self.check_speech(before);
            self.take_outputs();
        }
    }

    fn take_partner_outputs(&mut self) {
        while let Some(output) = self.partner.poll_output() {
            let now = self.now;
            match output {
                Output::Media(bytes) => {
                    let packet = MediaPacket::parse(&bytes).expect("our own packet");
                    self.subject.handle_media(&packet, now, now);
                }
                Output::Control { to, bytes } if to.is_none_or(|to| to == addr(2)) => {
                    let message = Message::parse(&bytes).expect("our own message");
                    if let (None, Message::Heartbeat(beat)) = (to, &message) {
                        self.beat = Some((**beat).clone());
                    }
                    self.subject.handle_control(addr(1), &message, now, now);
                }
                Output::Fetch(Fetch::Plan { digest, .. }) => {
                    if let Some(plan) = self.subject.plan_bytes(digest) {
                        let _ = self.partner.handle_plan(digest, &plan, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// A leader that is on air, and does not stand still, sends. (One that followed somebody goes on by that one's clock, and the forger
    /// may have been that one: it is not looked at any more.)
    fn check_speech(&mut self, before: (Option<State>, Option<Term>)) {
        self.has_followed |= self.subject.state().is_none() && self.beat.is_some();
        if self.has_followed {
            return;
        }
        let playing = Some(State::Playing);
        let goes_on = before.0 == playing && self.subject.state() == playing;
        if !goes_on || before.1 != self.subject.term() {
            self.quiet_since = self.quiet_since.max(self.now);
        }
        let quiet = self.now.since(self.quiet_since);
        assert!(
            quiet <= Duration::from_millis(150),
            "on air, and silent for {quiet:?}"
        );
    }

    /// What the subject wants done, within its limits.
    pub(crate) fn take_outputs(&mut self) {
        let mut count = 0;
        while let Some(output) = self.subject.poll_output() {
            count += 1;
            assert!(count <= MAX_OUTPUTS, "one more: {output:?}");
            let now = self.now;
            match output {
                Output::Media(bytes) => {
                    self.quiet_since = self.quiet_since.max(now);
                    let packet = MediaPacket::parse(&bytes).expect("our own packet");
                    if self.partner_lives {
                        self.partner.handle_media(&packet, now, now);
                    }
                }
                Output::Control { to, bytes } => {
                    self.sent.push_back((now, to.is_some()));
                    let message = Message::parse(&bytes).expect("our own message");
                    if let (None, Message::Heartbeat(beat)) = (to, &message) {
                        self.beat = Some((**beat).clone());
                    }
                    if let Message::Probe(probe) = &message {
                        self.probed = Some(probe.number);
                    }
                    if self.partner_lives && to.is_none_or(|to| to == addr(1)) {
                        self.partner.handle_control(addr(2), &message, now, now);
                    }
                }
                Output::Fetch(Fetch::Plan { digest, .. }) => {
                    if let Some(plan) = self.partner.plan_bytes(digest) {
                        let _ = self.subject.handle_plan(digest, &plan, now);
                    }
                }
                Output::Fetch(Fetch::Frames { .. }) => self.subject.handle_frames(false, now),
                _ => {}
            }
        }
        while (self.sent.front()).is_some_and(|(at, _)| self.now.since(*at).as_millis() >= 1_000) {
            self.sent.pop_front();
        }
        let unicast = self.sent.iter().filter(|(_, to_one)| *to_one).count();
        let multicast = self.sent.len() - unicast;
        assert!(unicast <= MAX_UNICAST_PER_SECOND, "{unicast} answers");
        assert!(multicast <= MAX_MULTICAST_PER_SECOND, "{multicast} to all");
        assert!(self.subject.roster().len() <= MAX_NODES);
        assert!(self.subject.roster().heirs().len() <= 8);
    }

    /// The subject hears that `plan` is the plan, from its leader, and fetches it.
    pub(crate) fn plan(&mut self, plan: &[u8]) -> bool {
        let Some(name) = true_name(plan) else {
            return false;
        };
        if let Some(mut beat) = self.beat.clone() {
            (beat.plan, beat.number) = (name, beat.number + 1);
            self.hear(1, &Message::Heartbeat(Box::new(beat)));
        }
        self.subject.handle_plan(name, plan, self.now).is_ok()
    }

    pub(crate) fn kill_partner(&mut self) {
        self.partner_lives = false;
    }
}

/// The name under which a plan would be accepted, if it is one at all.
pub(crate) fn true_name(plan: &[u8]) -> Option<PlanDigest> {
    use lanradio::station::programme::PlanError;
    match Programme::from_bytes(plan, PlanDigest(u32::MAX)) {
        Err(PlanError::Digest { got, .. }) => Some(PlanDigest(got)),
        _ => None,
    }
}

fn hello(id: u64, station: Option<StationId>, standing: u8) -> Message {
    Message::Hello(Hello {
        node: NodeId(id << 32 | 1),
        name: "nobody".into(),
        founding: standing >= 128,
        station,
        standing: Standing {
            standby: standing % 2 == 1,
            eligible: standing % 4 >= 2,
            complete: standing % 8 >= 4,
            priority: i16::from(standing) * 100,
            age_s: u32::MAX,
            http_port: 80,
        },
        held_to: (standing % 16 >= 8).then_some(lanradio::wire::TrackId([standing; 16])),
    })
}

/// A report that is as good or as bad as `number`.
fn report(number: u64) -> Report {
    let (low, high) = (number as u32, (number >> 32) as u32);
    let totals = Totals {
        received: number,
        repaired_by_unicast: number,
        ..Totals::default()
    };
    Report {
        listens: true,
        totals,
        lately: Lately {
            frames: high,
            missed: low,
            concealed: low / 2,
            ..Lately::default()
        },
        longest_burst: low,
        bursts: Bursts([number; BURST_CLASSES]),
        repair: Some(RepairTimes {
            p50_us: low,
            p99_us: high,
        }),
        jitter_us: high,
        buffer_ms: low,
        replica_percent: low as u8,
        timing: Some(Timing {
            sync_us: low as i32,
            drift_ppb: high as i32,
        }),
    }
    .bounded()
}
