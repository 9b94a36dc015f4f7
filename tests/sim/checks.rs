//! PROTOCOL's invariants, looked at on every packet and every wake. A violation is noted, and the run goes on: tests of broken
//! nodes ask which one it was.

use std::collections::BTreeMap;

use lanradio::station::node::{Event, Frames};
use lanradio::wire::control::{Message, State};
use lanradio::wire::election::{Refusal, Reply, Round};
use lanradio::wire::ids::{Numbering, ShortTerm};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FrameIndex, NodeId, StationId, TrackId};

use crate::host::Host;
use crate::world::{Channel, Packet, World};

/// How long a node that stood still has to listen before it speaks.
const LISTENS_US: u64 = 44_950; // 45 ms on a clock that is 200 ppm fast, and a little
/// How long a higher term may be ignored.
const IGNORED_US: u64 = 450_000;
/// How long an heir holds what plays next: 5 s.
const NEXT_FRAMES: u64 = 250;

/// What broke.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
}

/// What was on air: sequence number, timestamp, payload.
pub(crate) type Said = (u16, u32, Vec<u8>);

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) said: BTreeMap<(StationId, ShortTerm, FrameIndex), (Said, usize)>,
    /// The same by plan, of the media port only.
    pub(crate) planned: BTreeMap<(StationId, u32, FrameIndex), (Said, usize)>,
    /// The highest frame that was on air, or that a leader has passed over as it did not hold it.
    pub(crate) tops: BTreeMap<StationId, FrameIndex>,
    votes: BTreeMap<(NodeId, StationId, u32), NodeId>,
    /// When each frame was first on air.
    pub(crate) first: BTreeMap<(StationId, FrameIndex), u64>,
    /// Frames with which a sequence number or a timestamp begins again, by station.
    wraps: BTreeMap<StationId, Vec<FrameIndex>>,
    /// Since when some part of the network has not one leader: what it has, since when.
    pub(crate) odd_since: BTreeMap<(StationId, u8), (usize, u64)>,
}

impl Checks {
    /// The first frames at or after `first` with which a number begins again.
    pub(crate) fn wraps_of(&mut self, station: StationId, first: u64) {
        self.wraps.insert(station, wraps(station, first).to_vec());
    }
}

/// The first frames at or after `first` with which the sequence number and the timestamp begin again.
pub(crate) fn wraps(station: StationId, first: u64) -> [FrameIndex; 2] {
    let seq = u64::from(station.first_seq().0);
    let ticks = u64::from(station.first_timestamp().0);
    let seq_wrap = (seq + first).next_multiple_of(1 << 16) - seq;
    let ts_wrap = ((ticks + first * 960).next_multiple_of(1 << 32) - ticks).div_ceil(960);
    [FrameIndex(seq_wrap), FrameIndex(ts_wrap)]
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hellos",
        Message::Heartbeat(_) => "heartbeats",
        Message::Confirm(_) => "confirmations",
        Message::Ask(_) | Message::Reply(_) => "questions and answers",
        Message::Nack(_) => "NACKs",
        Message::Repair(_) => "repairs",
        Message::Report(_) => "reports",
        Message::Probe(_) | Message::Time(_) => "the time",
        Message::Stale(_) => "others",
    }
}

impl World {
    pub(crate) fn violate(&mut self, invariant: &'static str, text: String) {
        self.say(&format!("!! {invariant}: {text}"));
        self.violations.push(Violation { invariant, text });
    }

    /// A host puts a frame on air.
    pub(crate) fn sent_media(&mut self, number: usize, bytes: &[u8]) {
        self.speaks(number, "media");
        let packet = MediaPacket::parse(bytes).expect("our own packet");
        let numbering = Numbering::of(packet.station);
        let index = numbering.index(packet.element.index_high, packet.seq);
        let at_us = self.now_us;
        self.checks
            .first
            .entry((packet.station, index))
            .or_insert(at_us);
        self.is_on_air(number, &packet);
        let flags = packet.element.flags;
        if flags.has(Flags::SOLO) {
            return;
        }
        if !flags.has(Flags::COVER) {
            self.hosts[number].watch.own_media_at = at_us;
            let until = self.hosts[number].node.lease_until();
            if until.is_some_and(|until| self.hosts[number].clock.local(at_us) >= until) {
                self.violate(
                    "S8",
                    format!("{number} sends frame {index} after its lease"),
                );
            }
        }
        self.has_said(number, &packet);
    }

    /// A host sends a control message.
    pub(crate) fn sent_control(&mut self, number: usize, bytes: &[u8]) {
        let me = self.hosts[number].node.config().node;
        let message = Message::parse(bytes).expect("our own message");
        let sent = self.sent.entry(kind(&message)).or_default();
        *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
        match message {
            Message::Heartbeat(beat) => {
                self.speaks(number, "a heartbeat");
                self.has_passed(beat.station, beat.next);
            }
            Message::Repair(repair) => self.sent_repair(number, &repair.packet),
            Message::Ask(ask) => {
                self.speaks(number, "a question");
                let now = self.now_us;
                let watch = &mut self.hosts[number].watch;
                let asked = match ask.round {
                    Round::PreVote => &mut watch.pre_vote,
                    Round::Vote { .. } => &mut watch.vote,
                };
                if asked.is_none_or(|(attempt, _)| attempt != ask.attempt) {
                    *asked = Some((ask.attempt, now));
                }
                if let Round::Vote { counter } = ask.round {
                    self.voted(me, (ask.station, counter), me);
                }
            }
            Message::Reply(Reply {
                station,
                node,
                candidate,
                refusal: None,
                round: Round::Vote { counter },
                ..
            }) => {
                self.voted(node, (station, counter), candidate);
            }
            _ => {}
        }
    }

    /// S1: one vote per process start and counter of a station's terms.
    fn voted(&mut self, voter: NodeId, (station, counter): (StationId, u32), candidate: NodeId) {
        let before = *self
            .checks
            .votes
            .entry((voter, station, counter))
            .or_insert(candidate);
        if before != candidate {
            let who = self.host_of(voter);
            self.violate("S1", format!("{who:?} votes twice in counter {counter}"));
        }
    }

    /// S5: who stood still reads everything and listens before it speaks.
    pub(crate) fn speaks(&mut self, number: usize, what: &str) {
        let resumed_at = self.hosts[number].watch.resumed_at;
        if resumed_at.is_some_and(|at| self.now_us >= at && self.now_us < at + LISTENS_US) {
            self.violate(
                "S5",
                format!("{number} sends {what} right after standing still"),
            );
        }
    }

    /// A host reads a packet.
    pub(crate) fn delivered(&mut self, number: usize, packet: &Packet) {
        let now = self.now_us;
        match packet.channel {
            Channel::Media => {
                let media = MediaPacket::parse(&packet.bytes).expect("our own packet");
                let index = Numbering::of(media.station).index(media.element.index_high, media.seq);
                let flags = media.element.flags;
                let host = &mut self.hosts[number];
                if host.node.config().station == media.station
                    && !flags.has(Flags::SOLO)
                    && !flags.has(Flags::COVER)
                {
                    host.watch.hear_leader(media.element.term, index, now);
                    self.heard_term(number, media.element.term);
                }
            }
            Channel::Control | Channel::Unicast => {
                match Message::parse(&packet.bytes).expect("our own message") {
                    Message::Ask(ask) => {
                        let host = &mut self.hosts[number];
                        let same = host.node.followed_term().map(|term| term.short())
                            == Some(ask.term.short());
                        let follows =
                            host.node.term().is_none() && host.node.config().station == ask.station;
                        let lately = host.watch.disturbed_at.is_some_and(|at| now < at + 500_000);
                        if same
                            && follows
                            && !lately
                            && host.watch.has_heard(ask.term.short(), 110_000, now)
                            && let Some(candidate) = self.host_of(ask.node)
                        {
                            let must = &mut self.hosts[candidate].watch.must_refuse;
                            must.push((ask.attempt, number));
                        }
                    }
                    Message::Reply(reply) => self.replied(number, &reply),
                    _ => {}
                }
            }
        }
    }

    fn replied(&mut self, number: usize, reply: &Reply) {
        if matches!(reply.refusal, Some(Refusal::LeaderHeard | Refusal::Leads)) {
            self.count("vetoes", 1);
        }
        let now = self.now_us;
        let Some(voter) = self.host_of(reply.node) else {
            return;
        };
        let watch = &mut self.hosts[number].watch;
        if watch.must_refuse.contains(&(reply.attempt, voter)) {
            watch.refused.push((reply.attempt, now));
        }
    }

    /// S4: a higher term that is heard from its leader itself is followed within grace.
    fn heard_term(&mut self, number: usize, term: ShortTerm) {
        let now = self.now_us;
        let host = &mut self.hosts[number];
        let followed = host.node.followed_term().map(|term| term.short());
        if host.node.term().is_some() || followed.is_none_or(|followed| followed >= term) {
            host.watch
                .ignored
                .take_if(|ignored| followed >= Some(ignored.0));
            return;
        }
        match &mut host.watch.ignored {
            Some((ignored, since, count, last)) if *ignored == term && now < *last + 60_000 => {
                (*count, *last) = (*count + 1, now);
                let lately = host.watch.disturbed_at.is_some_and(|at| now < at + 500_000);
                if now - *since > IGNORED_US && *count > 15 && !lately {
                    host.watch.ignored = None;
                    let text = format!("{number} does not follow term {}", self.term_text(term));
                    self.violate("S4", text);
                }
            }
            Some((ignored, ..)) if *ignored > term => {}
            ignored => *ignored = Some((term, now, 1, now)),
        }
    }

    /// S8: two nodes never have leases that are not over, if no quorum can be had twice. (A process that was started again does
    /// not vote before what it promised before is over: so hosts are what counts.) A leader that hands over has none to lose:
    /// its own goes to the successor.
    fn leases(&mut self, number: usize) {
        let hosts = &self.hosts;
        if usize::from(self.quorum) * 2 <= hosts.len() {
            return;
        }
        let until_us = |number: usize| {
            let host = &hosts[number];
            let until = host.node.lease_until().filter(|_| host.up)?;
            (!host.node.is_leaving()).then(|| host.clock.true_us(until))
        };
        if until_us(number).is_none_or(|until| until <= self.now_us) {
            return;
        }
        let valid = |other: &usize| until_us(*other).is_some_and(|until| until > self.now_us);
        let other = (0..hosts.len()).find(|other| *other != number && valid(other));
        if let Some(other) = other {
            self.violate("S8", format!("{number} and {other} have a lease"));
        }
    }

    /// A host has had its turn.
    pub(crate) fn woken(&mut self, number: usize) {
        self.leases(number);
        let host = &mut self.hosts[number];
        if host.node.term().is_none() || !matches!(host.node.state(), Some(State::Playing)) {
            host.watch.own_media_at = self.now_us;
        }
        // S2: a node's term never falls.
        let Some(term) = host.node.followed_term().map(|term| term.short()) else {
            host.watch.terms.clear(); // what it followed is over
            return;
        };
        let station = host.node.config().station;
        let highest = host.watch.terms.entry(station).or_insert(term);
        if term < *highest {
            let (from, to) = (*highest, term);
            *highest = term;
            let text = format!(
                "{number} goes from term {} back to {}",
                self.term_text(from),
                self.term_text(to)
            );
            self.violate("S2", text);
        } else {
            *highest = term;
        }
    }

    /// Something was told.
    pub(crate) fn noted(&mut self, number: usize, event: &Event) {
        match event {
            Event::Solo { .. } => self.hosts[number].watch.is_solo = true,
            Event::Done => self.hosts[number].watch.is_done = true,
            Event::CoverEnd { .. } => self.hosts[number].watch.is_solo = false,
            Event::TookOver { frame, .. } => {
                let watch = &mut self.hosts[number].watch;
                (watch.is_solo, watch.has_taken_over, watch.own_media_at) =
                    (false, true, self.now_us);
                let station = self.hosts[number].node.config().station;
                let wraps = self.checks.wraps.get(&station);
                let near = wraps
                    .is_some_and(|wraps| wraps.iter().any(|wrap| wrap.0.abs_diff(frame.0) < 50));
                self.count("wraps", near.into());
            }
            Event::Leader {
                reason: "elected", ..
            } => {
                self.elected(number);
                self.holds_what_comes(number);
            }
            Event::Safe { track, nodes, .. } => self.is_safe(number, *track, *nodes),
            Event::SteppedDown { reason } => {
                self.hosts[number].watch.stepped_down_at = Some(self.now_us);
                if *reason != "handed over" {
                    self.deposed(number);
                }
            }
            _ => {}
        }
    }

    /// Whoever is said to hold a track holds all of it that is still to be played.
    fn is_safe(&mut self, number: usize, track: TrackId, nodes: usize) {
        let holds = |host: &Host| {
            let (node, now) = (&host.node, host.node.play_position());
            let programme = node.programme();
            let Some(length) = programme.listed(track).and_then(|listed| listed.frames) else {
                return programme.listed(track).is_none(); // it is over, and forgotten
            };
            let entry = programme
                .tracks_from(now)
                .find(|entry| entry.track == track);
            let played = entry.map_or(0, |entry| {
                entry.from + now.max(entry.first).since(entry.first)
            });
            let is_over = entry.is_none()
                && programme
                    .list()
                    .waiting()
                    .iter()
                    .all(|waiting| waiting.id != track);
            // What was started again has nothing, and others do not know that yet.
            is_over || host.lives > 0 || played + host.shelf.held_from(track, played) >= length
        };
        let others = self
            .hosts
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        let holders = others.filter(|(_, host)| holds(host)).count();
        // A process that crashed counts for 3 s, beside the one that was started in its place.
        let again = self.hosts.iter().filter(|host| host.lives > 0).count();
        if nodes > holders + again {
            self.violate(
                "safe",
                format!("{number} counts {nodes} holders, not {holders}"),
            );
        }
    }

    /// S6: nobody leads without the next 5 s if somebody else has them.
    fn holds_what_comes(&mut self, number: usize) {
        let lossy = self.network.loss_permille > 50 || self.network.bursts > 0 || !self.is_whole();
        if lossy || self.now_us < self.disturbed_at + 100_000 {
            return;
        }
        let holds = |host: &Host, from: FrameIndex| {
            let programme = host.node.programme();
            let held = |index: FrameIndex| {
                let place = programme.place(index);
                place.is_none_or(|(track, k)| host.shelf.packet(track, k).is_some())
            };
            (from.0..from.0 + NEXT_FRAMES).all(|index| held(FrameIndex(index)))
        };
        let me = &self.hosts[number];
        let (next, digest, station) = (
            me.node.play_position(),
            me.node.programme().digest(),
            me.node.config().station,
        );
        if holds(me, next) {
            return;
        }
        let able = |other: &Host| {
            let awake = other.is_awake(self.now_us)
                && other
                    .watch
                    .disturbed_at
                    .is_none_or(|at| self.now_us > at + 2_000_000);
            let follows = other.node.config().standby && other.node.config().station == station;
            let settled = other.node.followed_term().is_some() && other.node.term().is_none();
            awake
                && follows
                && settled
                && other.node.programme().digest() == digest
                && holds(other, next)
        };
        if let Some(other) =
            (0..self.hosts.len()).find(|other| *other != number && able(&self.hosts[*other]))
        {
            self.violate(
                "S6",
                format!("{number} leads and does not hold what {other} holds"),
            );
        }
    }
}
