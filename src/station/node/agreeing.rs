//! May this leader speak? With a quorum, only while enough others have promised to vote for nobody else.
//!
//! Whoever confirms a heartbeat votes for no other node for the hold time (285 ms). So a leader that was confirmed by all but one
//! of a quorum has a *lease* of a little less, 250 ms, counted from when that heartbeat was *sent* (PROTOCOL, "LEAD"; Gray and
//! Cheriton, "Leases", 1989): counted from when the answer came it would outlast the promises. A new leader's lease begins when it
//! asked for the votes, and a successor by hand-over takes over the rest of its predecessor's. Before each frame the lease is
//! looked at; when it is over, the leader steps down, and stands for election again as soon as somebody answers.
//!
//! A station with a quorum is founded the same way: its founder follows itself, in a term that nobody has led, until it is
//! elected by nodes that follow nobody.

use std::collections::VecDeque;
use std::time::Duration;

use super::flaws::Flaw;
use super::following::Following;
use super::roles::{Phase, Role};
use super::{Event, Node};
use crate::station::clock::StationClock;
use crate::time::Instant;
use crate::wire::election::{Offer, Refusal};
use crate::wire::{FrameIndex, NodeId, Term};

/// For how long a leader may speak on one round of confirmations.
const LEASE: Duration = Duration::from_millis(250);
/// For how long a confirmation or a vote binds: longer than any lease that it may have given, by more than clocks drift.
pub(super) const HOLD: Duration = Duration::from_millis(285);
/// A process that was started less than this ago may have promised something before: it neither votes nor claims. Longer than
/// [`HOLD`].
pub(super) const BOOT: Duration = Duration::from_millis(400);
/// When it is said that there are not enough nodes: an election takes less.
const SAID_AFTER: Duration = Duration::from_secs(1);
/// In stations that are larger than this only heirs vote, unless more have to agree than there are heirs.
const ALL_VOTE: usize = 32;

/// The promises of the others, as far as a leader knows them.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    until: Instant,
    /// When the heartbeats of the last [`LEASE`] were sent, by number.
    sent: VecDeque<(u64, Instant)>,
}

impl Lease {
    /// A lease that others have given by votes that were asked for at `asked_at`.
    pub(super) fn voted(asked_at: Instant) -> Lease {
        Lease::until(asked_at + LEASE)
    }

    pub(super) fn until(until: Instant) -> Lease {
        Lease {
            until,
            sent: VecDeque::new(),
        }
    }

    /// A heartbeat was sent.
    pub(super) fn note_sent(&mut self, number: u64, now: Instant) {
        while (self.sent.front()).is_some_and(|(_, at)| now.since(*at) > LEASE) {
            self.sent.pop_front();
        }
        self.sent.push_back((number, now));
    }

    /// Enough others have confirmed the heartbeat of this number, or a later one.
    fn renew(&mut self, number: u64) {
        let at = self.sent.iter().rev().find(|(sent, _)| *sent <= number);
        if let Some((_, at)) = at {
            self.until = self.until.max(*at + LEASE);
        }
    }
}

/// What this process has promised.
#[derive(Debug, Default)]
pub(super) struct Voter {
    /// Its newest vote: in which counter, to whom, when.
    pub(super) granted: Option<(u32, NodeId, Instant)>,
    /// When it last confirmed a leader.
    pub(super) confirmed_at: Option<Instant>,
}

impl Voter {
    /// The highest counter in which a vote was given.
    pub(super) fn counter(&self) -> u32 {
        self.granted.map_or(0, |(counter, ..)| counter)
    }

    /// Whether a vote for `candidate` in `counter` would be a second one.
    pub(super) fn has_voted(&self, candidate: NodeId, counter: u32) -> bool {
        self.granted
            .is_some_and(|(voted, to, _)| voted > counter || voted == counter && to != candidate)
    }

    /// The promise that forbids to vote for `candidate` where a quorum has to agree.
    pub(super) fn promised(&self, candidate: NodeId, now: Instant) -> Option<Refusal> {
        let binds = |at: Instant| now.since(at) < HOLD;
        if self.confirmed_at.is_some_and(binds) {
            return Some(Refusal::Confirmed);
        }
        let another = self.granted.filter(|(_, to, _)| *to != candidate);
        another
            .is_some_and(|(.., at)| binds(at))
            .then_some(Refusal::Granted)
    }
}

impl Node {
    /// Until when this leader may speak; none if it does not lead, or needs nobody's leave.
    pub fn lease_until(&self) -> Option<Instant> {
        match &self.role {
            Role::Leading { lead, .. } if self.config.quorum > 1 => Some(lead.lease.until),
            _ => None,
        }
    }

    /// Steps down if the lease is over. `false`: nothing is to be sent any more.
    pub(super) fn keep_lease(&mut self) -> bool {
        let over = |until: Instant| self.latest >= until;
        if !self.lease_until().is_some_and(over) {
            return true;
        }
        self.become_resigned();
        false
    }

    /// An heir has confirmed: perhaps it was the last one that was needed.
    pub(super) fn renew_lease(&mut self) {
        let from_reception = self.has(Flaw::LeaseFromReception);
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let Some(others) = usize::from(self.config.quorum).checked_sub(2) else {
            return;
        };
        let term = lead.term;
        let confirmed = self.roster.peers().filter_map(|(_, peer)| peer.confirmed);
        let mut numbers: Vec<u64> = confirmed
            .filter(|confirmed| confirmed.term == term)
            .map(|confirmed| confirmed.number)
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let Some(number) = numbers.get(others) else {
            return;
        };
        lead.lease.renew(*number);
        if from_reception {
            lead.lease.until = self.latest + LEASE;
        }
    }

    /// Whether this node counts where `quorum` nodes have to agree.
    pub(super) fn has_vote(&self, quorum: u16) -> bool {
        let heirs = crate::wire::election::MAX_HEIRS;
        self.rank() < heirs || self.roster.len() <= ALL_VOTE || usize::from(quorum) > heirs
    }

    /// Whether a leader may count on this node: with a quorum, one that has just started may have promised otherwise before, and
    /// one that has voted for a later term has promised otherwise since.
    pub(super) fn may_confirm(&self, term: Term, quorum: u16) -> bool {
        if quorum <= 1 {
            return self.rank() < crate::wire::election::MAX_HEIRS;
        }
        self.has_vote(quorum) && !self.is_newborn() && self.voter.counter() <= term.counter
    }

    /// When this node may vote for itself: not before its own promise to the old leader is over.
    pub(super) fn is_free_at(&self) -> Instant {
        match (&self.role, self.voter.confirmed_at) {
            (Role::Following(following), Some(at)) if following.quorum > 1 => at + HOLD,
            _ => self.born,
        }
    }

    /// Whether it may have promised something in a life before.
    pub(super) fn is_newborn(&self) -> bool {
        self.latest.since(self.born) < BOOT && !self.has(Flaw::VotesAtOnce)
    }

    /// What the followers learn of an offer that was accepted: the promise goes with it.
    pub(super) fn offer_lease(&self, offer: Offer) -> Offer {
        let lease_until_us = match &self.role {
            Role::Leading { lead, .. } if self.config.quorum > 1 => {
                Some(lead.clock.station_us(lead.lease.until))
            }
            _ => None,
        };
        Offer {
            lease_until_us,
            ..offer
        }
    }

    /// Whether this node founds a station with a quorum, and is not elected yet.
    pub(super) fn is_candidate_founder(&self) -> bool {
        matches!(&self.role, Role::Following(following) if following.term.counter == 0)
    }

    /// Whether the term that is followed is this node's own: it founds a station, or led and lost its lease.
    pub(super) fn follows_itself(&self) -> bool {
        matches!(&self.role, Role::Following(following) if following.term.leader == self.config.node)
    }

    /// A founder that needs the votes of others: it is silent like a leader that has just fallen silent.
    pub(super) fn become_candidate_founder(&mut self) {
        let first = self.config.first_frame;
        let term = Term {
            counter: 0,
            leader: self.config.node,
        };
        let clock = StationClock::new(self.latest, crate::wire::Slot(first.0).due_us());
        self.become_own_follower(term, clock, first, true);
        tracing::debug!(
            quorum = self.config.quorum,
            "standing for election: founding"
        );
    }

    /// Too few confirm this leader: it says no more, and stands for election again.
    fn become_resigned(&mut self) {
        let Role::Leading { lead, phase } = &self.role else {
            return;
        };
        let (term, clock, leaves) = (lead.term, lead.clock, lead.leaving.is_some());
        let (next, is_idle) = match phase {
            Phase::Playing(pacer) => (pacer.next(), false),
            Phase::Idle { next } => (*next, true),
        };
        tracing::debug!(%term, "the lease is over");
        self.back_off_again();
        self.become_own_follower(term, clock, next, is_idle);
        let reason = "too few nodes confirm it (quorum)";
        self.tell(Event::SteppedDown { reason });
        if leaves {
            self.become_gone();
        }
    }

    fn become_own_follower(
        &mut self,
        term: Term,
        clock: StationClock,
        next: FrameIndex,
        idle: bool,
    ) {
        let mut following = Following::new(term, self.latest);
        (following.quorum, following.buffer) = (self.config.quorum, self.config.buffer);
        following.lead_oneself(clock, (next.minus(1), self.programme.digest()), idle);
        self.role = Role::Following(Box::new(following));
        self.hello_at = self.latest;
        self.assessed_at = None;
    }

    /// Says that there are too few nodes, once for each silence.
    pub(super) fn tell_of_too_few(&mut self, agreed: usize) {
        let now = self.latest;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let quorum = following.quorum;
        if quorum <= 1 || following.told_too_few || now.since(following.heard_at) < SAID_AFTER {
            return;
        }
        following.told_too_few = true;
        self.tell(Event::Warning(format!(
            "nobody leads: {quorum} nodes have to agree (quorum), and {agreed} are here; it goes on when there are enough"
        )));
    }
}
