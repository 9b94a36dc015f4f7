//! What does this node copy from others, and from whom?
//!
//! A standby keeps every frame that it hears; what it has not heard it fetches: first the plan that the leader named, then the
//! frames from the play position on, then those of the tracks after it. A leader copies likewise what others have added. Who is no
//! standby copies only while it is deaf (`deafness`), and only what it plays soon. One request at a time, so that copies never
//! starve the media; who did not answer is not asked again at once.

use std::collections::BTreeMap;
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
/// So often a holder is asked for a frame in vain before it counts as one that has not got it: answers can be lost, too.
const IN_VAIN: u8 = 3;
/// So often the node that encoded a track is asked in vain before it counts as one that cannot be reached: 2 s if it refuses.
const OWNER_IN_VAIN: u8 = 20;
/// Holders of one track that are asked, beside its owner and the leader.
const MAX_HOLDERS: usize = 8;

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
    /// Who was asked in vain for the first missing frame of a track; of as many tracks as are looked at.
    vain: BTreeMap<TrackId, Vain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    from: SocketAddr,
    at: Instant,
    track: TrackId,
    first: u64,
}

/// Who had nothing of what is missing of a track from frame `first` on, and how often that was found.
#[derive(Debug)]
struct Vain {
    first: u64,
    asked: BTreeMap<SocketAddr, u8>,
}

impl Copying {
    pub(super) fn plan_answered(&mut self) {
        self.plan = None;
    }

    pub(super) fn frames_answered(&mut self, came: bool, now: Instant) {
        let Some(asked) = self.frames.take() else {
            return;
        };
        if came {
            self.vain.remove(&asked.track);
            return;
        }
        self.frames_at = Some(now + ASK_AGAIN);
        while self.vain.len() >= LOOK_AT && !self.vain.contains_key(&asked.track) {
            self.vain.pop_first();
        }
        let new = || Vain {
            first: asked.first,
            asked: BTreeMap::new(),
        };
        let vain = self.vain.entry(asked.track).or_insert_with(new);
        if vain.first != asked.first {
            *vain = new();
        }
        let times = vain.asked.entry(asked.from).or_default();
        *times = times.saturating_add(1);
    }

    /// How often `from` was asked in vain for the first missing frame of a track.
    fn times_in_vain(&self, track: TrackId, from: SocketAddr) -> u8 {
        let vain = self.vain.get(&track);
        vain.and_then(|vain| vain.asked.get(&from))
            .map_or(0, |times| *times)
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
            Role::Following(_) if self.config.standby || self.fetches => {}
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
        // What nobody seems to have must not keep what comes after it from being copied.
        let can_be_had = |(track, _, owner): &(TrackId, u64, NodeId)| {
            self.roster.is_alive(*owner, now) || self.may_be_had(*track, *owner)
        };
        let wanted = self.missing(frames).take(LOOK_AT).find(can_be_had);
        let ahead = wanted.or_else(|| self.first_missing(frames));
        let Some((track, first, owner)) = ahead.or_else(|| self.missing_behind(frames)) else {
            // No reason to wake up, but none to look at every wake either.
            self.copying.frames_at = Some(now + ASK_AGAIN * self.list_weight());
            return None;
        };
        let Some(from) = self.holder(track, owner) else {
            return Some(now + ASK_AGAIN);
        };
        self.copying.frames = Some(Asked {
            from,
            at: now,
            track,
            first,
        });
        self.copying.frames_at = None;
        self.outputs
            .push_back(super::Output::Fetch(Fetch::Frames { from, track, first }));
        Some(now + PATIENCE)
    }

    /// The first frame that is to be played and is not here, and who encodes its track.
    pub(super) fn first_missing(&self, frames: &dyn Frames) -> Option<(TrackId, u64, NodeId)> {
        self.missing(frames).next()
    }

    /// The first frames of tracks that are to be played and are not here, in play order.
    fn missing<'a>(
        &'a self,
        frames: &'a dyn Frames,
    ) -> impl Iterator<Item = (TrackId, u64, NodeId)> + 'a {
        let next = self.copied_from();
        let until = self.copied_to();
        let planned = self.programme.tracks_from(next).filter_map(move |entry| {
            let listed = self.programme.listed(entry.track)?;
            let from = entry.from + next.max(entry.first).since(entry.first);
            // Frame numbers of the track: those beyond are for others.
            let to = until.map(|until| entry.from + until.since(entry.first));
            Some((listed, from, to))
        });
        let list = self.programme.list();
        let again = list.tracks().iter().filter(|_| list.is_looped());
        let later = list.waiting().iter().chain(again);
        let later = later.filter(move |_| until.is_none());
        let whole = later.map(|track| (track, 0, None));
        planned.chain(whole).filter_map(move |(track, from, to)| {
            if track.owner == self.config.node {
                return None;
            }
            let first = from + frames.held_from(track.id, from);
            let whole = track.frames.is_some_and(|length| first >= length);
            let enough = to.is_some_and(|to| first >= to);
            (!whole && !enough).then_some((track.id, first, track.owner))
        })
    }

    /// The same of what was played of these tracks before this node came: last of all, for those who want the whole file.
    fn missing_behind(&self, frames: &dyn Frames) -> Option<(TrackId, u64, NodeId)> {
        let next = self.play_position();
        if self.copied_to().is_some() {
            return None;
        }
        self.programme.tracks_from(next).find_map(|entry| {
            let listed = self.programme.listed(entry.track)?;
            let first = frames.held_from(entry.track, 0);
            let missing = first < listed.frames? && listed.owner != self.config.node;
            missing.then_some((entry.track, first, listed.owner))
        })
    }

    /// How much more seldom than a short list a long one is looked through.
    pub(super) fn list_weight(&self) -> u32 {
        1 + self.programme.list().tracks().len() as u32 / 256
    }

    /// Whom to ask for a track: who was asked in vain least often, first the leader, then whoever encodes it.
    fn holder(&self, track: TrackId, owner: NodeId) -> Option<SocketAddr> {
        let holders = self.holders(track, owner);
        let times = |holder: &SocketAddr| self.copying.times_in_vain(track, *holder);
        holders.into_iter().min_by_key(times) // the first of those that are equal
    }

    /// Whether somebody is here who may have more of a track, though its owner is gone.
    pub(super) fn may_be_had(&self, track: TrackId, owner: NodeId) -> bool {
        let holders = self.holders(track, owner).into_iter();
        holders
            .map(|holder| self.copying.times_in_vain(track, holder))
            .any(|times| times < IN_VAIN)
    }

    /// Whether the one who encoded a track is heard, but does not hand it over.
    pub(super) fn is_mute(&self, track: TrackId, owner: NodeId) -> bool {
        self.reach(owner)
            .is_none_or(|owner| self.copying.times_in_vain(track, owner) >= OWNER_IN_VAIN)
    }

    /// The node API of a node that is here.
    fn reach(&self, id: NodeId) -> Option<SocketAddr> {
        let peer = self.roster.get(id)?;
        let port = Some(peer.standing.http_port).filter(|port| *port != 0)?;
        let alive = self.roster.is_alive(id, self.latest) && !peer.fell_silent;
        alive.then(|| SocketAddr::new(peer.addr.ip(), port))
    }

    /// Who may have a track: the leader, whoever encodes it, those that say that they hold it; if its owner is gone, also heirs
    /// that may hold a part of it.
    fn holders(&self, track: TrackId, owner: NodeId) -> Vec<SocketAddr> {
        let leader = match &self.role {
            Role::Following(following) => following.http,
            _ => None,
        };
        let reach = |id| self.reach(id);
        let listed = self.programme.listed(track);
        let is_finished = listed.is_some_and(|track| track.frames.is_some());
        let tracks = self.programme.list().tracks();
        let place = |id: TrackId| tracks.iter().rposition(|listed| listed.id == id);
        let at = place(track).filter(|_| is_finished);
        let has_it = |peer: &crate::station::roster::Peer| {
            at.is_some() && (peer.standing.complete || peer.held_to.and_then(place) >= at)
        };
        let complete = (self.roster.peers())
            .filter(|(_, peer)| has_it(peer))
            .filter_map(|(id, _)| reach(id));
        let heirs = self.roster.heirs().iter();
        let heirs = heirs.filter(|_| reach(owner).is_none());
        let heirs = heirs.filter_map(|heir| reach(*heir));
        let mut holders: Vec<SocketAddr> = Vec::new();
        let all = leader.into_iter().chain(reach(owner));
        for holder in all.chain(complete.take(MAX_HOLDERS)).chain(heirs) {
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        holders
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
