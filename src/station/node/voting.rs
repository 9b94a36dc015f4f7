//! Whom does this node vote for, and whom does it confirm?
//!
//! A vote and a confirmation are promises (PROTOCOL, "a voter refuses"): there is one vote for each counter of a station's terms, and
//! where a quorum has to agree, whoever has confirmed a leader or voted for somebody votes for nobody else for the hold time. They
//! outlive every change of role; a process that has just started has forgotten what it promised, and waits.

use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use super::flaws::Flaw;
use super::following::Following;
use super::roles::Role;
use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::election::{Ask, MAX_HEIRS, MAX_LEAP, Refusal, Reply, Round};
use crate::wire::{NodeId, StationId, Term};

/// Whoever heard the leader within this time refuses.
const VETO: Duration = Duration::from_millis(180);
/// For how long a confirmation or a vote binds: longer than any lease that it may have given, by more than clocks drift.
pub(super) const HOLD: Duration = Duration::from_millis(285);
/// A process that was started less than this ago may have promised something before: it neither votes nor claims. Longer than
/// [`HOLD`].
pub(super) const BOOT: Duration = Duration::from_millis(400);
/// In stations that are larger than this only heirs vote, unless more have to agree than there are heirs.
const ALL_VOTE: usize = 32;

/// A vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    pub(super) station: StationId,
    pub(super) counter: u32,
    pub(super) candidate: NodeId,
    pub(super) at: Instant,
}

/// What this process has promised.
#[derive(Debug, Default)]
pub(super) struct Voter {
    /// Its newest vote.
    pub(super) granted: Option<Vote>,
    /// When it last confirmed a leader.
    pub(super) confirmed_at: Option<Instant>,
}

impl Voter {
    /// The highest counter of a station's terms in which a vote was given.
    pub(super) fn counter(&self, station: StationId) -> u32 {
        let vote = self.granted.filter(|vote| vote.station == station);
        vote.map_or(0, |vote| vote.counter)
    }

    /// Whether a vote for `candidate` in `counter` would be a second one.
    pub(super) fn has_voted(&self, station: StationId, candidate: NodeId, counter: u32) -> bool {
        let vote = self.granted.filter(|vote| vote.station == station);
        vote.is_some_and(|vote| {
            vote.counter > counter || vote.counter == counter && vote.candidate != candidate
        })
    }

    /// The promise that forbids to vote for `candidate` where a quorum has to agree.
    pub(super) fn promised(&self, candidate: NodeId, now: Instant) -> Option<Refusal> {
        let binds = |at: Instant| now.since(at) < HOLD;
        if self.confirmed_at.is_some_and(binds) {
            return Some(Refusal::Confirmed);
        }
        let another = self.granted.filter(|vote| vote.candidate != candidate);
        another
            .is_some_and(|vote| binds(vote.at))
            .then_some(Refusal::Granted)
    }
}

impl Node {
    /// A candidate asks for this node's vote.
    pub(super) fn hear_candidate(&mut self, from: SocketAddr, ask: &Ask) {
        if self.is_listening() {
            return; // it does not know yet whether the leader lives
        }
        let ours = ask.station == self.config.station;
        // Who does not follow the station cannot know whether its counter can be true.
        let is_far = matches!(ask.round, Round::Vote { counter } if counter > MAX_LEAP);
        let (is_asked, counter) = match &self.role {
            Role::Following(following) => (
                ours && self.has_vote(ask.quorum)
                    || self.is_candidate_founder() && ask.quorum > 1 && !is_far,
                following.term.counter,
            ),
            Role::Leading { lead, .. } => (ours, lead.term.counter),
            // Who follows nobody has a vote where so many have to agree that every one may be needed.
            Role::Waiting { .. } | Role::Founding { .. } => (ask.quorum > 1 && !is_far, 0),
            _ => return,
        };
        if !is_asked {
            return;
        }
        if !self.replies.spend(self.latest) {
            return self.refuse(super::doubting::Doubt::Flood, Some(from));
        }
        let refusal = self.refusal(ask);
        if let (None, Round::Vote { counter }) = (refusal, ask.round) {
            self.voter.granted = Some(Vote {
                station: ask.station,
                counter,
                candidate: ask.node,
                at: self.latest,
            });
            // Its own candidacy is over: who votes for another is bound by that.
            if let Role::Following(following) = &mut self.role {
                following.claim.abandon();
            }
        }
        let reply = Reply {
            station: ask.station,
            node: self.config.node,
            candidate: ask.node,
            attempt: ask.attempt,
            round: ask.round,
            refusal,
            counter: counter.max(self.voter.counter(ask.station)),
            plan: self.programme.digest(),
            version: self.programme.version(),
            http_port: self.config.http_port,
        };
        self.send_control(Some(from), &Message::Reply(reply));
    }

    /// Why a candidate does not get this node's vote, if it does not.
    fn refusal(&self, ask: &Ask) -> Option<Refusal> {
        let by_role = match &self.role {
            Role::Following(following) if ask.station == self.config.station => {
                self.refusal_of_follower(following, ask)
            }
            // Of two founders the lower id goes first, and both after a station that was on air.
            Role::Following(_) | Role::Founding { .. } => (ask.term.counter == 0
                && ask.node > self.config.node)
                .then_some(Refusal::BetterCandidate),
            Role::Waiting { .. } => None,
            _ => Some(Refusal::Leads),
        };
        let quorum = match &self.role {
            Role::Following(following) => following.quorum.max(ask.quorum),
            _ => ask.quorum,
        };
        let promised = || {
            let promised = self.voter.promised(ask.node, self.latest);
            promised.filter(|_| quorum > 1)
        };
        let voted = || match ask.round {
            Round::Vote { counter } => self.voter.has_voted(ask.station, ask.node, counter),
            Round::PreVote => false,
        };
        by_role
            .or_else(promised)
            .or_else(|| (voted() && !self.has(Flaw::VoteTwice)).then_some(Refusal::Granted))
            .or_else(|| self.is_newborn().then_some(Refusal::Young))
    }

    fn refusal_of_follower(&self, following: &Following, ask: &Ask) -> Option<Refusal> {
        let veto = if following.is_idle {
            following.claim_after() - Duration::from_millis(20)
        } else {
            VETO
        };
        let same_term = ask.term.short() == following.term.short();
        let newer = self.programme.version() > ask.version
            && (following.base.is_some() || self.follows_itself());
        let is_better = self.standing.eligible && !ask.eligible
            || following.claim.is_asking() && self.rank() < usize::from(ask.rank);
        if self.latest.since(following.heard_at) < veto
            && !self.follows_itself()
            && !self.has(Flaw::NoVeto)
        {
            Some(Refusal::LeaderHeard)
        } else if same_term && newer {
            Some(Refusal::NewerPlan)
        } else {
            is_better.then_some(Refusal::BetterCandidate)
        }
    }

    /// Whether this node counts where `quorum` nodes have to agree.
    pub(super) fn has_vote(&self, quorum: u16) -> bool {
        self.rank() < MAX_HEIRS || self.roster.len() <= ALL_VOTE || usize::from(quorum) > MAX_HEIRS
    }

    /// Whether a leader may count on this node: with a quorum, one that has just started may have promised otherwise before, and
    /// one that has voted for a later term has promised otherwise since.
    pub(super) fn may_confirm(&self, term: Term, quorum: u16) -> bool {
        if quorum <= 1 {
            return self.rank() < MAX_HEIRS;
        }
        self.has_vote(quorum) && !self.is_newborn() && self.voted_counter() <= term.counter
    }

    /// The highest counter of this station's terms in which this node has voted.
    pub(super) fn voted_counter(&self) -> u32 {
        self.voter.counter(self.config.station)
    }

    /// When this node may vote for itself: not before its own promises to others are over.
    pub(super) fn is_free_at(&self) -> Instant {
        let Role::Following(following) = &self.role else {
            return self.born;
        };
        if following.quorum <= 1 {
            return self.born;
        }
        let vote = (self.voter.granted).filter(|vote| vote.candidate != self.config.node);
        let promised_at = self.voter.confirmed_at.max(vote.map(|vote| vote.at));
        promised_at.map_or(self.born, |at| at + HOLD)
    }

    /// Whether it may have promised something in a life before.
    pub(super) fn is_newborn(&self) -> bool {
        self.latest.since(self.born) < BOOT && !self.has(Flaw::VotesAtOnce)
    }
}
