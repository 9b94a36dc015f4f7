//! What does a follower learn from its leader, and when does it change to another one?
//!
//! The rules RECEIVE and "adopt" of PROTOCOL. A lower term is dropped. A higher one is adopted at once when the followed leader
//! has fallen silent or has named its successor, and otherwise when it has been heard, from its leader itself, for a grace
//! time: covers of a dead leader must not depose a live one (trace 9). Only progress is a sign of life: a leader that repeats
//! itself is none (trace 3). What is followed is what the leader itself said: its newest packet, with the plan that it named,
//! is the *base* from which covers are counted.

use std::net::SocketAddr;
use std::time::Duration;

use super::claiming::Claim;
use super::covering::Duty;
use super::doubting::{Doubt, News, Odd};
use super::flaws::Flaw;
use super::roles::Role;
use super::{Event, Node, Output};
use crate::station::clock::StationClock;
use crate::station::grid::Grid;
use crate::station::programme::Programme;
use crate::time::{Instant, is_plausible};
use crate::wire::control::{Heartbeat, Message, State};
use crate::wire::election::{CLAIM_AFTER, GRACE, MAX_HEIRS, Offer, SILENT_AFTER};
use crate::wire::ids::{PlanDigest, ShortTerm, Slot};
use crate::wire::media::{Flags, MediaPacket};
use crate::wire::{FrameIndex, NodeId, Term};

/// A silence after which a leader may be replaced while the station is idle and only heartbeats are sent, ten a second.
pub(super) const CLAIM_AFTER_IDLE: Duration = Duration::from_millis(500);

/// So many cover horizons may a leader that is known, or a packet, be ahead of what was heard.
const HORIZONS: u64 = 8;

/// What a follower knows of its leader.
#[derive(Debug)]
pub(super) struct Following {
    /// The term that is followed. Of a leader that was only heard on the media port, the low half of the id is not known yet.
    pub(super) term: Term,
    /// The newest heartbeat's number, and when it came; none was heard before the first.
    pub(super) number: Option<u64>,
    pub(super) numbered_at: Instant,
    /// The last heartbeat, if it was not believed.
    pub(super) odd: Option<Odd>,
    /// The last frame of the leader's, if it came too early to be believed.
    pub(super) early: Option<FrameIndex>,
    /// The last frame of a heartbeat that was further ahead than can be.
    pub(super) far: Option<FrameIndex>,
    /// When this node joined, on one heartbeat.
    pub(super) joined_at: Option<Instant>,
    /// Where the leader is reached.
    pub(super) addr: Option<SocketAddr>,
    /// Where its plan and frames can be fetched.
    pub(super) http: Option<SocketAddr>,
    /// The leader's last sign of life.
    pub(super) heard_at: Instant,
    /// The highest index that the leader itself has sent, as far as is known.
    highest: Option<FrameIndex>,
    /// The leader's newest packet and the plan that it named.
    newest: Option<(FrameIndex, PlanDigest)>,
    /// The leader's newest packet of which this node holds the plan.
    pub(super) base: Option<(FrameIndex, PlanDigest)>,
    /// When the leader's packets arrive.
    pub(super) grid: Grid,
    /// When its heartbeats arrive: the grid of an idle station.
    pub(super) beats: Grid,
    pub(super) is_idle: bool,
    /// Idle frames before the run that plays.
    idle_frames: u64,
    pub(super) offer: Option<Offer>,
    /// When the offer came.
    pub(super) offered_at: Option<Instant>,
    /// The offer names this node, and it has confirmed it.
    pub(super) has_accepted: bool,
    pub(super) quorum: u16,
    /// A heartbeat has told the quorum.
    pub(super) is_quorum_told: bool,
    pub(super) buffer: Duration,
    /// That nobody leads, for want of nodes, was said.
    pub(super) told_too_few: bool,
    rival: Option<Rival>,
    pub(super) told_stale_at: Option<Instant>,
    pub(super) duty: Duty,
    pub(super) claim: Claim,
    /// A newer plan of this term, fetched while standing for election: it is not for covering (trace 7).
    pub(super) candidate_plan: Option<Programme>,
}

/// Another leader, with a higher term.
#[derive(Debug)]
struct Rival {
    term: ShortTerm,
    since: Instant,
    leader_itself: bool,
}

impl Following {
    pub(super) fn new(term: Term, now: Instant) -> Following {
        Following {
            term,
            number: None,
            numbered_at: now,
            joined_at: None,
            odd: None,
            early: None,
            far: None,
            addr: None,
            http: None,
            heard_at: now,
            highest: None,
            newest: None,
            base: None,
            grid: Grid::default(),
            beats: Grid::default(),
            is_idle: false,
            idle_frames: 0,
            offer: None,
            offered_at: None,
            has_accepted: false,
            quorum: 1,
            told_too_few: false,
            is_quorum_told: false,
            buffer: Duration::from_millis(500),
            rival: None,
            told_stale_at: None,
            duty: Duty::Listening,
            claim: Claim::default(),
            candidate_plan: None,
        }
    }

    /// The highest index that the leader itself has sent.
    pub(super) fn highest(&self) -> Option<FrameIndex> {
        self.highest
    }

    /// This node led until now, and covers for its successor.
    pub(super) fn relieve(
        &mut self,
        clock: StationClock,
        base: (FrameIndex, PlanDigest),
        offer: Offer,
        buffer: Duration,
    ) {
        self.base = Some(base);
        self.newest = self.base;
        self.keep_clock(clock, base.0);
        self.offer = Some(offer);
        self.buffer = buffer;
    }

    /// The term is this node's own, and it is not to speak: it holds this plan, and goes on on the same clock if it is elected.
    pub(super) fn lead_oneself(
        &mut self,
        clock: StationClock,
        newest: (FrameIndex, PlanDigest),
        is_idle: bool,
    ) {
        self.newest = Some(newest);
        self.is_idle = is_idle;
        self.keep_clock(clock, newest.0);
    }

    /// This node led until now: should it go on alone, it is on the same clock.
    pub(super) fn keep_clock(&mut self, clock: StationClock, highest: FrameIndex) {
        self.highest = Some(highest);
        let known_at = self.heard_at;
        self.grid
            .handle_sample(clock.station_us(known_at), known_at);
    }

    /// The leader's clock, by its packets, or by its heartbeats before the first packet.
    pub(super) fn clock(&self) -> Option<StationClock> {
        self.grid.clock().or_else(|| self.beats.clock())
    }

    /// The plan that the leader named last.
    pub(super) fn named_plan(&self) -> Option<PlanDigest> {
        self.newest.map(|(_, plan)| plan)
    }

    /// Whether the leader has named `leader` as its successor.
    fn offered_to(&self, leader: u32) -> bool {
        self.offer
            .is_some_and(|offer| offer.successor.short() == leader)
    }

    /// How long a silence has to be before somebody claims.
    pub(super) fn claim_after(&self) -> Duration {
        if self.is_idle {
            CLAIM_AFTER_IDLE
        } else {
            CLAIM_AFTER
        }
    }
}

/// What to do with what a term says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the followed one.
    Followed,
    /// It is over.
    Stale,
    /// A rival's: not yet.
    Rival,
    /// It is higher, and to be followed from now on.
    Adopt,
}

impl Node {
    /// This node's place among the heirs of the leader that it follows; [`MAX_HEIRS`] if it has none.
    pub(super) fn rank(&self) -> usize {
        let heirs = self.roster.heirs();
        let rank = heirs.iter().position(|heir| *heir == self.config.node);
        rank.unwrap_or(MAX_HEIRS)
    }

    /// A packet of this station was heard by a follower or a leader. Answers whether it is of the stream that a follower follows: its
    /// leader's, or sent in the leader's place.
    pub(super) fn hear_media(&mut self, packet: &MediaPacket<'_>, arrived: Instant) -> bool {
        let element = packet.element;
        let index = self.numbering.index(element.index_high, packet.seq);
        let solo = element.flags.has(Flags::SOLO);
        let cover = element.flags.has(Flags::COVER);
        match &self.role {
            Role::Following(_) => {}
            Role::Leading { .. } => {
                self.hear_media_as_leader(element.term, index, solo || cover);
                return false;
            }
            _ => return false,
        }
        let stands_in = solo || cover;
        if !self.can_be(index, HORIZONS, arrived)
            || stands_in && self.is_cover_early(index, arrived)
        {
            self.refuse(Doubt::Frame, None);
            return false;
        }
        // Any packet of a frame suppresses covers of it (trace 11).
        let Role::Following(following) = &mut self.role else {
            return false;
        };
        if solo {
            let is_leaderless = arrived.since(following.heard_at) >= CLAIM_AFTER;
            if is_leaderless {
                self.seen.insert(index);
            }
            return is_leaderless;
        }
        match self.weigh(element.term, !cover, arrived) {
            Verdict::Stale => return false,
            Verdict::Rival => {
                if !self.is_cover_early(index, arrived) {
                    self.seen.insert(index);
                }
                return false;
            }
            Verdict::Adopt => {
                let leader = NodeId(u64::from(element.term.leader) << 32);
                let counter = element.term.counter;
                self.adopt(Term { counter, leader }, arrived);
            }
            Verdict::Followed => {}
        }
        if cover {
            self.seen.insert(index);
            if self.has(Flaw::CoverIsLife) {
                self.sign_of_life(arrived);
            }
            return true;
        }
        let Role::Following(following) = &self.role else {
            return false;
        };
        let idle = following.idle_frames;
        let slot = (self.numbering.slot(Slot(index.0 + idle), packet.timestamp))
            .filter(|slot| slot.0 < index.0 + idle + (1 << 20));
        let digest = self.programme.digest();
        if slot.is_some_and(|slot| self.is_early(index, slot, arrived)) {
            self.refuse(Doubt::Frame, None);
            return false;
        }
        self.seen.insert(index);
        let Role::Following(following) = &mut self.role else {
            return false;
        };
        if following.highest.is_some_and(|highest| index <= highest) {
            return true; // a repetition, or reordered: no progress
        }
        following.highest = Some(index);
        following.newest = Some((index, element.plan));
        following.is_idle = false;
        if element.plan == digest {
            following.base = following.newest;
        }
        if let Some(slot) = slot {
            following.grid.handle_arrival(slot, arrived);
        }
        self.sign_of_life(arrived);
        true
    }

    /// A heartbeat of this station was heard by a follower. Answers whether it is the newest of the leader that is followed.
    pub(super) fn hear_beat(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
    ) -> bool {
        let last = beat.next.0.checked_sub(1).map(FrameIndex);
        // What a leader says first is judged by nothing that it said before: its frames go on where others were heard.
        let horizons = if self.has_heard_beats_of(beat.term) {
            HORIZONS
        } else {
            1
        };
        if let Some(last) = last.filter(|last| !self.can_be(*last, horizons, arrived))
            && !self.agrees_on_far(last)
        {
            self.refuse(Doubt::Frame, Some(from));
            self.forsake();
            return false;
        }
        match self.weigh(beat.term.short(), true, arrived) {
            Verdict::Stale => {
                self.tell_stale(from, beat, arrived);
                self.forsake();
                return false;
            }
            Verdict::Rival => return false,
            Verdict::Adopt => self.adopt(beat.term, arrived),
            Verdict::Followed => {}
        }
        let (digest, me, eligible) = (
            self.programme.digest(),
            self.config.node,
            self.standing.eligible,
        );
        if self.weigh_number(from, beat, arrived) != Some(News::Newest) {
            return false; // trace 6
        }
        let Role::Following(following) = &mut self.role else {
            return false;
        };
        following.term = beat.term;
        let succession = &beat.succession;
        let http_port = Some(succession.http_port).filter(|port| *port != 0);
        following.number = Some(beat.number);
        following.addr = Some(from);
        following.http = http_port.map(|port| SocketAddr::new(from.ip(), port));
        let what = |offer: Option<Offer>| offer.map(|offer| (offer.successor, offer.first));
        if what(following.offer) != what(succession.offer) {
            following.offered_at = Some(arrived);
        }
        following.offer = succession.offer;
        let is_named = succession.offer.is_some_and(|offer| offer.successor == me);
        following.has_accepted = is_named && (eligible || following.has_accepted);
        if let Some(run) = beat.run {
            following.idle_frames = run.starts_at.0.saturating_sub(run.first.0);
        }
        (following.quorum, following.is_quorum_told) = (succession.quorum, true);
        following.buffer = Duration::from_millis(u64::from(beat.buffer_ms));
        following.is_idle = beat.state != State::Playing;
        following.beats.handle_sample(beat.sent_at_us, arrived);
        let progress = last > following.highest;
        following.highest = following.highest.max(last);
        if progress || following.newest.is_none() || following.is_idle {
            let index = last
                .unwrap_or(FrameIndex(0))
                .max(following.highest.unwrap_or_default());
            following.newest = Some((index, beat.plan));
            if beat.plan == digest {
                following.base = following.newest;
            }
        } else if let Some((_, plan)) = following
            .newest
            .as_mut()
            .filter(|(index, _)| Some(*index) == last)
        {
            *plan = beat.plan; // the plan has changed since that packet
        }
        self.roster.set_heirs(&succession.heirs);
        self.roster.handle_leader(beat, from, self.latest);
        if let Some(last) = last {
            self.seen.insert(last);
        }
        if let State::Over(reason) = beat.state {
            self.tell(Event::OffAir { reason });
            self.outlive(beat.station, reason);
            return true;
        }
        if progress || beat.state == State::Idle {
            self.sign_of_life(arrived);
        }
        self.confirm(from, beat);
        true
    }

    /// What does this term say to a follower?
    fn weigh(&mut self, term: ShortTerm, leader_itself: bool, arrived: Instant) -> Verdict {
        let no_terms = self.has(Flaw::NoTerms);
        let Role::Following(following) = &mut self.role else {
            return Verdict::Stale;
        };
        match term.cmp(&following.term.short()) {
            std::cmp::Ordering::Less if !no_terms => return Verdict::Stale,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => return Verdict::Followed,
            std::cmp::Ordering::Greater => {}
        }
        let silent = arrived.since(following.heard_at) > SILENT_AFTER;
        let idle = following.is_idle && arrived.since(following.heard_at) <= CLAIM_AFTER_IDLE;
        if following.quorum > 1 || silent && !idle || following.offered_to(term.leader) {
            return Verdict::Adopt;
        }
        let rival = match &mut following.rival {
            Some(rival) if rival.term >= term => rival,
            rival => rival.insert(Rival {
                term,
                since: arrived,
                leader_itself: false,
            }),
        };
        if rival.term != term {
            return Verdict::Rival;
        }
        rival.leader_itself |= leader_itself;
        if rival.leader_itself && arrived.since(rival.since) >= GRACE {
            Verdict::Adopt
        } else {
            Verdict::Rival
        }
    }

    /// From now on, this term is followed.
    pub(super) fn adopt(&mut self, term: Term, now: Instant) {
        self.stop_covering();
        let synced = self.synced_clock();
        let Role::Following(following) = &mut self.role else {
            return;
        };
        tracing::debug!(from = %following.term, to = %term, "following a higher term");
        let old = std::mem::replace(&mut **following, Following::new(term, now));
        (following.quorum, following.buffer) = (old.quorum, old.buffer);
        following.is_quorum_told = old.is_quorum_told;
        // The station clock goes on, and its grid: the new leader's first packet may be a late one.
        if let Some((shown, arrives)) = synced.zip(old.grid.clock()) {
            let arrives_us = arrives.station_us(now);
            if is_plausible(shown.station_us(now) as i64 - arrives_us as i64) {
                following.grid.handle_sample(arrives_us, now);
            }
        }
        if now.since(old.heard_at) > SILENT_AFTER && !old.offered_to(term.leader.short()) {
            self.roster.fall_silent(old.term.leader.short());
        }
        self.copying.leader_changed();
        self.tell(Event::Leader {
            term,
            reason: "followed",
        });
    }

    /// The leader is alive: nobody covers, nobody claims.
    fn sign_of_life(&mut self, arrived: Instant) {
        self.stop_covering();
        let Role::Following(following) = &mut self.role else {
            return;
        };
        following.heard_at = following.heard_at.max(arrived);
        following.claim = Claim::default();
        following.candidate_plan = None;
        following
            .rival
            .take_if(|rival| arrived.since(rival.since) > GRACE * 5);
    }

    /// The plan that was fetched is the one that the leader named, or a newer one for a candidate.
    pub(super) fn take_plan(&mut self, plan: Programme) {
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let digest = plan.digest();
        if following.named_plan() == Some(digest) {
            following.base = following.newest;
            self.programme = plan;
            self.fed = true;
        } else if !matches!(following.claim, Claim::None) {
            following.candidate_plan = Some(plan);
        }
    }

    /// Sends a control message to one node or to the group.
    pub(super) fn send_control(&mut self, to: Option<SocketAddr>, message: &Message) {
        let bytes = message.to_bytes();
        self.outputs.push_back(Output::Control { to, bytes });
    }
}
