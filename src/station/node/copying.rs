//! What does this node copy from others, and from whom?
//!
//! A standby keeps every frame that it hears; what it has not heard it fetches: first the plan that the leader named, then the
//! frames from the play position on, then those of the tracks after it. A leader copies likewise what others have added. One
//! request at a time, so that copies never starve the media; who did not answer is not asked again at once.

use std::net::SocketAddr;
use std::time::Duration;

use super::roles::Role;
use super::{Frames, Node};
use crate::time::Instant;
use crate::wire::media::MediaPacket;
use crate::wire::{NodeId, PlanDigest, TrackId};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is asked again when nothing new was there.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Tracks looked at in one wake for something that is missing.
const LOOK_AT: usize = 64;

/// What is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The plan of this name.
    Plan {
        /// From whose node API.
        from: SocketAddr,
        /// Which.
        digest: PlanDigest,
    },
    /// Frames of a track, as many as are there and fit into one answer.
    Frames {
        /// From whose node API.
        from: SocketAddr,
        /// Which track.
        track: TrackId,
        /// The first frame that is missing.
        first: u64,
    },
}

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Copying {
    plan: Option<(PlanDigest, Instant)>,
    candidate_plan: Option<(SocketAddr, PlanDigest)>,
    frames: Option<Asked>,
    /// Nothing is asked for before this.
    frames_at: Option<Instant>,
    /// Who did not answer last.
    silent: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    from: SocketAddr,
    at: Instant,
}

impl Copying {
    pub(super) fn plan_answered(&mut self) {
        self.plan = None;
    }

    pub(super) fn frames_answered(&mut self, came: bool, now: Instant) {
        let asked = self.frames.take();
        if !came {
            self.silent = asked.map(|asked| asked.from);
            self.frames_at = Some(now + ASK_AGAIN);
        } else {
            self.silent = None;
        }
    }

    /// There is something new to copy.
    pub(super) fn look_at_once(&mut self) {
        self.frames_at = None;
    }

    pub(super) fn leader_changed(&mut self) {
        self.plan = None;
    }

    /// A voter holds a newer plan than this candidate.
    pub(super) fn want_candidate_plan(&mut self, from: SocketAddr, digest: PlanDigest) {
        self.candidate_plan = Some((from, digest));
    }
}

impl Node {
    /// Asks for what is missing; answers when to look again.
    pub(super) fn copy(&mut self, frames: &dyn Frames) -> Option<Instant> {
        match &self.role {
            Role::Following(_) if self.config.standby => {}
            Role::Leading { .. } => {}
            _ => return None,
        }
        if let Some((from, digest)) = self.copying.candidate_plan.take() {
            self.outputs
                .push_back(super::Output::Fetch(Fetch::Plan { from, digest }));
        }
        let plan = self.copy_plan();
        let copied = self.copy_frames(frames);
        [plan, copied].into_iter().flatten().min()
    }

    fn copy_plan(&mut self) -> Option<Instant> {
        let now = self.latest;
        let Role::Following(following) = &self.role else {
            return None;
        };
        let digest = following.named_plan()?;
        if digest == self.programme.digest() {
            return None;
        }
        let from = following.http?;
        let waits = match self.copying.plan {
            Some((asked, at)) if asked == digest => Some(at + ASK_AGAIN * 2).filter(|at| now < *at),
            _ => None,
        };
        if waits.is_some() {
            return waits;
        }
        self.copying.plan = Some((digest, now));
        self.outputs
            .push_back(super::Output::Fetch(Fetch::Plan { from, digest }));
        Some(now + ASK_AGAIN * 2)
    }

    fn copy_frames(&mut self, frames: &dyn Frames) -> Option<Instant> {
        let now = self.latest;
        if let Some(asked) = self.copying.frames {
            if now < asked.at + PATIENCE {
                return Some(asked.at + PATIENCE);
            }
            self.copying.frames_answered(false, now);
        }
        if let Some(at) = self.copying.frames_at.filter(|at| now < *at) {
            return Some(at);
        }
        let ahead = self.first_missing(frames, LOOK_AT);
        let Some((track, first, owner)) = ahead.or_else(|| self.missing_behind(frames)) else {
            // No reason to wake up, but none to look at every wake either.
            self.copying.frames_at = Some(now + ASK_AGAIN);
            return None;
        };
        let Some(from) = self.holder(track, owner) else {
            return Some(now + ASK_AGAIN);
        };
        self.copying.frames = Some(Asked { from, at: now });
        self.copying.frames_at = None;
        self.outputs
            .push_back(super::Output::Fetch(Fetch::Frames { from, track, first }));
        Some(now + PATIENCE)
    }

    /// The first frame that is to be played and is not here, and who encodes its track; `look_at` tracks are looked at.
    pub(super) fn first_missing(
        &self,
        frames: &dyn Frames,
        look_at: usize,
    ) -> Option<(TrackId, u64, NodeId)> {
        let next = self.play_position();
        let planned = self.programme.tracks_from(next).map(|entry| {
            let played = next.max(entry.first).since(entry.first);
            (entry.track, entry.from + played)
        });
        let list = self.programme.list();
        let waiting = list.waiting().iter().map(|track| (track.id, 0));
        let again = list
            .tracks()
            .iter()
            .filter(|_| list.is_looped())
            .map(|track| (track.id, 0));
        planned
            .chain(waiting)
            .chain(again)
            .take(look_at)
            .find_map(|(track, from)| {
                let listed = self.programme.listed(track)?;
                if listed.owner == self.config.node {
                    return None;
                }
                let first = from + frames.held_from(track, from);
                let whole = listed.frames.is_some_and(|length| first >= length);
                (!whole).then_some((track, first, listed.owner))
            })
    }

    /// The same of what was played of these tracks before this node came: last of all, for those who want the whole file.
    fn missing_behind(&self, frames: &dyn Frames) -> Option<(TrackId, u64, NodeId)> {
        let next = self.play_position();
        self.programme.tracks_from(next).find_map(|entry| {
            let listed = self.programme.listed(entry.track)?;
            let first = frames.held_from(entry.track, 0);
            let missing = first < listed.frames? && listed.owner != self.config.node;
            missing.then_some((entry.track, first, listed.owner))
        })
    }

    /// Whom to ask for a track: its leader, whoever encodes it, or somebody who holds everything.
    fn holder(&self, track: TrackId, owner: NodeId) -> Option<SocketAddr> {
        let leader = match &self.role {
            Role::Following(following) => following.http,
            _ => None,
        };
        let listed = self.programme.listed(track);
        let is_finished = listed.is_some_and(|track| track.frames.is_some());
        let reach = |id: NodeId| {
            let peer = self.roster.get(id)?;
            let port = Some(peer.standing.http_port).filter(|port| *port != 0)?;
            let alive = self.roster.is_alive(id, self.latest);
            alive.then(|| SocketAddr::new(peer.addr.ip(), port))
        };
        let complete = self
            .roster
            .peers()
            .filter(|(_, peer)| is_finished && peer.standing.complete);
        let holders: Vec<SocketAddr> = (leader.into_iter())
            .chain(reach(owner))
            .chain(complete.filter_map(|(id, _)| reach(id)))
            .collect();
        let other = holders
            .iter()
            .find(|holder| Some(**holder) != self.copying.silent);
        other.or(holders.first()).copied()
    }

    /// The plan of this name, for others; none if this node holds another one.
    pub fn plan_bytes(&self, digest: PlanDigest) -> Option<Vec<u8>> {
        (digest == self.programme.digest()).then(|| self.programme.to_bytes())
    }

    /// Where a packet of this station belongs, if its sender follows the plan that this node holds: such a packet can be kept.
    pub fn place(&self, packet: &MediaPacket<'_>) -> Option<(TrackId, u64)> {
        let element = packet.element;
        let index = self.numbering.index(element.index_high, packet.seq);
        let ours = packet.station == self.config.station && element.plan == self.programme.digest();
        ours.then(|| self.programme.place(index))?
    }
}
