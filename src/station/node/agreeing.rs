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
use crate::wire::election::Offer;
use crate::wire::{FrameIndex, Term};

/// For how long a leader may speak on one round of confirmations.
const LEASE: Duration = Duration::from_millis(250);
/// When it is said that there are not enough nodes: an election takes less.
const SAID_AFTER: Duration = Duration::from_secs(1);

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
        self.follows_itself()
            && matches!(&self.role, Role::Following(following) if following.term.counter == 0)
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
