//! What does this node ask others for, and what has it for them?
//!
//! A frame that its player misses comes from the node's own copy, if it has one; else the leader is asked, and while that is
//! silent (or does not answer) the heirs are, so that repair goes on while nobody leads. What is asked for is answered from the
//! copy as it was on air, or would have been: the same packet, whoever sends it (DESIGN 3.1), and never of a frame that
//! is still to come. What lies further than the cover horizon past the leader's last word may have been changed: nobody
//! repairs with it.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::flaws::Flaw;
use super::roles::Role;
use super::{CUSHION_FRAMES, Frames, Node, Output};
use crate::playout::player::PREROLL;
use crate::playout::store::Missing;
use crate::station::programme::{KEPT_FRAMES, Programme};
use crate::station::repair::{Answerer, Asker, REORDER_WAIT, Requester};
use crate::time::Instant;
use crate::wire::control::{EndReason, Message};
use crate::wire::election::SILENT_AFTER;
use crate::wire::media::{Flags, MediaPacket};
use crate::wire::repair::{Nack, Repair};
use crate::wire::{FRAME, FrameIndex, Slot, Term, TrackId};

/// Frames that were on air and are still repaired: 10 s, twice the longest buffer.
const WINDOW: u64 = KEPT_FRAMES;
/// Holders that are asked, beside the leader.
const MAX_HOLDERS: usize = 8;
/// A leader that was heard no longer ago than this has sent the last frame.
const ALIVE: Duration = FRAME.saturating_add(REORDER_WAIT);
/// A leader that was not heard for so long is asked last.
const ASKED_LAST: Duration = SILENT_AFTER;

/// Both sides of repair.
#[derive(Debug, Default)]
pub(super) struct Repairing {
    asker: Asker,
    answerer: Answerer,
    /// The programme that has just ended: its last frames are still to be played, and can be lost like all others.
    ended: Option<Box<Ended>>,
}

/// What a repair that came is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// Of a stranger, of another station, or for this node, which never asked for it: it is not to be used.
    Refused,
    /// For others that asked for it.
    Overheard,
    /// This node has asked for it.
    Asked {
        /// How long before, at first.
        after: Duration,
    },
}

impl Repaired {
    /// How long after it was first asked for it came, if it was.
    pub fn after(self) -> Option<Duration> {
        match self {
            Repaired::Asked { after } => Some(after),
            Repaired::Overheard | Repaired::Refused => None,
        }
    }
}

/// What was followed until it ended.
#[derive(Debug)]
struct Ended {
    played_at: Instant,
    holders: Vec<SocketAddr>,
    programme: Programme,
    term: Term,
    top: Option<FrameIndex>,
    end: Option<FrameIndex>,
}

impl Repairing {
    /// A packet of another node came.
    pub(super) fn hear(&mut self, now: Instant) {
        self.asker.handle_heard(now);
    }
}

impl Node {
    /// These frames are missing here now, in order, and no others. Tell it before each [`Node::handle_timeout`].
    pub fn handle_missing(&mut self, missing: &[Missing], now: Instant) {
        self.latest = self.latest.max(now);
        self.repairing.asker.handle_missing(missing, self.latest);
    }

    /// A repair came, for this node alone or for the `group`.
    pub fn handle_repair(
        &mut self,
        from: SocketAddr,
        packet: &MediaPacket<'_>,
        group: bool,
        now: Instant,
    ) -> Repaired {
        self.latest = self.latest.max(now);
        if packet.station != self.config.station || !self.may_repair(from) {
            return Repaired::Refused;
        }
        let index = (self.numbering).index(packet.element.index_high, packet.seq);
        self.repairing.hear(self.latest);
        let Repairing {
            asker, answerer, ..
        } = &mut self.repairing;
        if group {
            answerer.handle_group_repair(index, self.latest);
        }
        match asker.handle_repair(index, from, group, self.latest) {
            Some(after) => Repaired::Asked { after },
            None if group => Repaired::Overheard,
            None => Repaired::Refused,
        }
    }

    /// The first frame that is still needed, to be played or to repair it: what comes before it may be dropped when memory is short.
    pub fn first_needed(&self) -> Option<(TrackId, u64)> {
        let first = self.play_position().minus(WINDOW);
        let entry = self.programme.tracks_from(first).next()?;
        Some((entry.track, entry.from + first.since(entry.first)))
    }

    /// Whether a repair from there is believed: of the leader, or of a node that is known. What strangers send is not asked for.
    fn may_repair(&self, from: SocketAddr) -> bool {
        let ended = self.repairing.ended.as_ref();
        let leads = match &self.role {
            Role::Following(following) => following.addr == Some(from),
            _ => ended.is_some_and(|ended| ended.holders.contains(&from)),
        };
        leads || (self.roster.peers()).any(|(_, peer)| peer.addr == from)
    }

    /// Another node has missed frames.
    pub(super) fn hear_nack(&mut self, from: SocketAddr, nack: Nack) {
        if nack.node == self.config.node {
            return;
        }
        if nack.station != self.config.station {
            return self.count_rejected("other_station");
        }
        let held = self.repairable();
        let from = Requester {
            addr: from,
            is_known: (self.roster.get(nack.node)).is_some_and(|peer| peer.addr == from),
        };
        let answerer = &mut self.repairing.answerer;
        answerer.handle_nack(from, nack.frames(), &held, self.latest);
        self.fed = true;
    }

    /// Asks for what is missing and answers what was asked for; answers when to come back.
    pub(super) fn repair(&mut self, frames: &dyn Frames) -> Option<Instant> {
        if let Some(top) = self.seen.top() {
            let buffer = self.station_buffer().unwrap_or(self.config.buffer);
            let needed = PREROLL + buffer.div_duration_f64(FRAME).ceil() as u64;
            let stands_by = match &self.role {
                Role::Following(following) => self.latest.since(following.heard_at) < ASKED_LAST,
                _ => false,
            };
            let answerer = &mut self.repairing.answerer;
            answerer.handle_on_air(top, needed, stands_by, self.latest);
        }
        self.ask_for_missing(frames);
        self.answer_nacks(frames);
        let Repairing {
            asker, answerer, ..
        } = &self.repairing;
        let asks = self.asks().then(|| asker.poll_timeout()).flatten();
        asks.into_iter().chain(answerer.poll_timeout()).min()
    }

    fn ask_for_missing(&mut self, frames: &dyn Frames) {
        if !self.asks() {
            return;
        }
        let mut due = self.repairing.asker.due(self.latest);
        due.retain(|index| {
            let own = self
                .is_settled(*index)
                .then(|| self.repair_of(*index, frames));
            let Some(packet) = own.flatten() else {
                return true;
            };
            self.repairing.asker.handle_found(*index);
            self.outputs.push_back(Output::Repair(packet));
            false
        });
        if due.is_empty() {
            return;
        }
        let holders = self.repairers(false);
        let now = self.latest;
        let alive = match &self.role {
            Role::Following(following) if now.since(following.heard_at) < ALIVE => following.addr,
            _ => None,
        };
        let holder = self.repairing.asker.choose(&holders, alive, now);
        self.repairing.asker.handle_asked(&due, holder, now);
        if holder.is_some() {
            for nack in Nack::of(self.config.station, self.config.node, &due) {
                self.send_control(holder, &Message::Nack(nack));
            }
        }
    }

    /// Whether there is somebody to ask, or a copy of its own.
    fn asks(&self) -> bool {
        let ended = self.repairing.ended.as_ref();
        match &self.role {
            Role::Following(_) | Role::Leading { .. } => true,
            Role::Waiting { .. } => ended.is_some_and(|ended| self.latest < ended.played_at),
            Role::Founding { .. } | Role::Over { .. } | Role::Gone => false,
        }
    }

    /// What is left to do when the followed programme ends: its last frames are played until `played_at`.
    pub(super) fn farewell(&mut self, reason: EndReason, played_at: Instant) -> Repairing {
        let mut repairing = std::mem::take(&mut self.repairing);
        if let (Some(term), EndReason::Ended | EndReason::SourceLost) =
            (self.followed_term(), reason)
        {
            repairing.ended = Some(Box::new(Ended {
                played_at,
                holders: self.repairers(true),
                top: self.seen.top(),
                end: self.settled_end(),
                programme: self.programme.clone(),
                term,
            }));
        }
        repairing
    }

    fn answer_nacks(&mut self, frames: &dyn Frames) {
        let held = self.repairable();
        let mut answerer = std::mem::take(&mut self.repairing.answerer);
        let here = |index| held.contains(&index) && self.is_here(index, frames);
        let answers = answerer.answers(here, self.latest);
        self.repairing.answerer = answerer;
        // What is not sent is asked for again; whoever wonders why a listener has holes finds it here.
        (0..self.repairing.answerer.take_refused())
            .for_each(|_| self.count_rejected("repair_budget"));
        for answer in answers {
            let packet = self.repair_of(answer.index, frames);
            if self.has(Flaw::RepairsOnTheMediaPort) {
                self.outputs.extend(packet.map(Output::Media));
            } else if let Some(packet) = packet {
                self.send_control(answer.to, &Message::Repair(Repair { packet }));
            }
        }
    }

    /// Whom to ask, best first. A leader that was not heard for a while comes last, unless it `is_here`.
    fn repairers(&self, is_here: bool) -> Vec<SocketAddr> {
        let Role::Following(following) = &self.role else {
            let ended = self.repairing.ended.as_ref();
            return ended.map_or_else(Vec::new, |ended| ended.holders.clone());
        };
        let leader = following.term.leader;
        let is_silent = !is_here && self.latest.since(following.heard_at) > ASKED_LAST;
        let heirs = (self.roster.heirs().iter())
            .filter(|heir| **heir != self.config.node && **heir != leader)
            .filter_map(|heir| self.roster.get(*heir));
        let others = (self.roster.peers())
            .filter(|(id, peer)| *id != leader && peer.standing.complete)
            .map(|(_, peer)| peer);
        let mut holders: Vec<SocketAddr> = Vec::new();
        for peer in heirs.chain(others).filter(|peer| !peer.fell_silent) {
            if holders.len() < MAX_HOLDERS && !holders.contains(&peer.addr) {
                holders.push(peer.addr);
            }
        }
        if let Some(leader) = following.addr {
            let place = if is_silent { holders.len() } else { 0 };
            holders.insert(place, leader);
        }
        holders
    }

    /// The frames that this node repairs for others: what was on air lately and cannot have been changed.
    fn repairable(&self) -> Range<FrameIndex> {
        let ended = self.repairing.ended.as_ref();
        let Some(top) = self.seen.top().or_else(|| ended?.top) else {
            return FrameIndex(0)..FrameIndex(0);
        };
        let window = top.minus(WINDOW)..top.plus(1);
        let settled = self.settled_end().unwrap_or_default();
        if self.has(Flaw::RepairsTheFuture) {
            return window.start..top.plus(WINDOW);
        }
        window.start..settled.min(window.end)
    }

    /// One past the last frame of which this node's plan says for sure what it is.
    fn settled_end(&self) -> Option<FrameIndex> {
        match &self.role {
            Role::Following(following) => {
                let (base, plan) = following.base?;
                let ours = plan == self.programme.digest();
                if self.has(Flaw::RepairsPastTheHorizon) {
                    return Some(base.plus(WINDOW));
                }
                ours.then(|| base.plus(1 + CUSHION_FRAMES))
            }
            Role::Waiting { .. } => self.repairing.ended.as_ref()?.end,
            role => role.next(),
        }
    }

    fn is_settled(&self, index: FrameIndex) -> bool {
        self.settled_end().is_some_and(|end| index < end)
    }

    /// The programme that is repaired: this one, or the one that has just ended.
    fn repaired_programme(&self) -> &Programme {
        match (&self.role, &self.repairing.ended) {
            (Role::Waiting { .. }, Some(ended)) => &ended.programme,
            _ => &self.programme,
        }
    }

    /// Whether a frame is held.
    fn is_here(&self, index: FrameIndex, frames: &dyn Frames) -> bool {
        let place = self.repaired_programme().place(index);
        place.is_some_and(|(track, k)| frames.packet(track, k).is_some())
    }

    /// The packet of a frame as it was on air, if it is held.
    fn repair_of(&self, index: FrameIndex, frames: &dyn Frames) -> Option<Vec<u8>> {
        let programme = self.repaired_programme();
        let term = match (&self.role, &self.repairing.ended) {
            (Role::Waiting { .. }, Some(ended)) => ended.term,
            _ => self.followed_term()?,
        };
        let (track, k) = programme.place(index)?;
        let payload = frames.packet(track, k)?;
        let run = programme.run_at(index)?;
        let slot = Slot(run.starts_at.0 + index.since(run.first));
        let ends = programme.is_last_of_track(index);
        let flags = if ends {
            Flags::LAST_OF_TRACK
        } else {
            Flags::default()
        };
        let identity = (term.short(), programme.digest(), flags);
        let marker = index == run.first;
        let packet = MediaPacket::place(&self.numbering, index, slot, marker, identity, payload);
        Some(packet.to_bytes())
    }
}
