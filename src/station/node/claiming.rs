//! Who leads when the leader is silent?
//!
//! The rule CLAIM of PROTOCOL: a candidate first asks whether the others would vote for it (a pre-vote disturbs nobody, Raft
//! thesis 9.6), and anybody who heard the leader a moment ago says no. Only then it asks for votes in a new counter, of which
//! each node has one. Meanwhile covers are on air, so there is no hurry. If nobody at all answers, there is nobody to agree
//! with: with a quorum of 1 the survivor goes on alone.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::agreeing::Lease;
use super::covering::{Duty, RANK_STEP};
use super::flaws::Flaw;
use super::on_air::PLANNED_FRAMES;
use super::roles::Role;
use super::voting::{BOOT, Vote};
use super::{Frames, Node};
use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::election::{Ask, MAX_HEIRS, MAX_LEAP, MAX_QUORUM, Refusal, Reply, Round};
use crate::wire::{FrameIndex, NodeId};

/// When the copies of a question are sent, after the first.
const COPIES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(8),
    Duration::from_millis(15),
    Duration::from_millis(40),
    Duration::from_millis(70),
];
/// How long answers are waited for.
const ROUND: Duration = Duration::from_millis(30);
/// The same where a quorum has to agree and nobody has refused: each vote may be the one that is needed.
const LONG_ROUND: Duration = Duration::from_millis(100);
/// How long a new leader waits before it speaks: longer than a packet is under way.
const SETTLING: Duration = Duration::from_millis(5);
/// How much longer those wait that do not hold the next seconds: others may.
const NOT_ELIGIBLE: Duration = Duration::from_millis(150);
/// How much longer those wait that the leader did not name.
const NOT_NAMED: Duration = Duration::from_millis(200);

/// How far a node is on its way to lead.
#[derive(Debug, Default)]
pub(super) enum Claim {
    /// Not at all, or not again before `not_before`.
    #[default]
    None,
    /// It has been refused, or not been heard.
    Resting {
        /// When to try again.
        not_before: Instant,
        /// The highest counter that it was told of.
        told: u32,
    },
    /// It waits for answers.
    Asking(Asking),
}

/// A question that was asked, and its answers.
#[derive(Debug)]
pub(super) struct Asking {
    round: Round,
    attempt: u32,
    asked_at: Instant,
    /// Copies sent so far.
    copies: usize,
    granted: BTreeSet<NodeId>,
    refused: bool,
    /// The highest counter that it was told of.
    told: u32,
}

impl Asking {
    /// How long answers are waited for.
    fn waits(&self, quorum: u16) -> Duration {
        let is_needed = self.granted.len() + 1 < usize::from(quorum);
        if is_needed && !self.refused {
            LONG_ROUND
        } else {
            ROUND
        }
    }
}

impl Claim {
    pub(super) fn is_asking(&self) -> bool {
        matches!(self, Claim::Asking(_))
    }

    /// Forgets a question that was asked long ago, and its answers.
    pub(super) fn abandon(&mut self) {
        if let Claim::Asking(Asking { asked_at, told, .. }) = *self {
            *self = Claim::Resting {
                not_before: asked_at,
                told,
            };
        }
    }

    fn told(&self) -> u32 {
        match self {
            Claim::None => 0,
            Claim::Resting { told, .. } => *told,
            Claim::Asking(asking) => asking.told,
        }
    }
}

impl Node {
    /// Stands for election when the leader has been silent for long enough; answers when to come back.
    pub(super) fn claim(&mut self, frames: &dyn Frames) -> Option<Instant> {
        let now = self.latest;
        let Role::Following(following) = &self.role else {
            return None;
        };
        if !self.config.standby || self.deaf || self.relieved.is_some() {
            return None;
        }
        match &following.claim {
            Claim::Asking(asking) => {
                if now >= asking.asked_at + asking.waits(following.quorum) {
                    return self.decide(frames);
                }
                self.repeat_question()
            }
            claim => {
                let rested = match claim {
                    Claim::Resting { not_before, .. } => *not_before,
                    _ => now,
                };
                let waits = if self.is_candidate_founder() {
                    Duration::ZERO
                } else {
                    following.claim_after() * self.back_off.factor(now) + self.claim_delay()
                };
                let at = (following.heard_at + waits)
                    .max(rested)
                    .max(self.born + BOOT)
                    .max(self.is_free_at());
                if now < at {
                    return Some(at);
                }
                if self.has(Flaw::NoPreVote) {
                    return self.ask_for_votes();
                }
                self.ask(Round::PreVote);
                self.repeat_question()
            }
        }
    }

    /// How much longer than the best heir this node waits.
    fn claim_delay(&self) -> Duration {
        if self.follows_itself() {
            return Duration::ZERO; // nobody is better placed
        }
        let rank = self.rank();
        let eligible = if self.standing.eligible {
            Duration::ZERO
        } else {
            NOT_ELIGIBLE
        };
        let named = if rank < MAX_HEIRS {
            Duration::ZERO
        } else {
            NOT_NAMED
        };
        RANK_STEP * rank as u32 + eligible + named
    }

    fn ask(&mut self, round: Round) {
        let attempt = self.random.bits() as u32;
        let now = self.latest;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        tracing::debug!(?round, term = %following.term, "asking");
        following.claim = Claim::Asking(Asking {
            round,
            attempt,
            asked_at: now,
            copies: 0,
            granted: BTreeSet::new(),
            refused: false,
            told: following.claim.told(),
        });
    }

    /// Sends the copies of the question that are due; answers when to come back.
    fn repeat_question(&mut self) -> Option<Instant> {
        let now = self.latest;
        let (rank, eligible) = (self.rank() as u8, self.standing.eligible);
        let (node, station) = (self.config.node, self.config.station);
        let (mut plan, mut version) = (self.programme.digest(), self.programme.version());
        let Role::Following(following) = &mut self.role else {
            return None;
        };
        let (term, leader) = (following.term, following.addr);
        if let Some(newer) = following
            .candidate_plan
            .as_ref()
            .filter(|newer| newer.version() > version)
        {
            (plan, version) = (newer.digest(), newer.version());
        }
        let Claim::Asking(asking) = &mut following.claim else {
            return None;
        };
        let due = COPIES
            .iter()
            .filter(|after| now >= asking.asked_at + **after)
            .count();
        let sends = due > asking.copies;
        asking.copies = due;
        let next = COPIES.get(due).copied().unwrap_or(LONG_ROUND);
        let next = asking.asked_at + next.min(asking.waits(following.quorum));
        let ask = Ask {
            station,
            node,
            term,
            attempt: asking.attempt,
            round: asking.round,
            rank,
            eligible,
            plan,
            version,
            quorum: following.quorum,
        };
        if sends {
            let message = Message::Ask(ask);
            self.send_control(None, &message);
            // Multicast is the first thing that a crowded network drops.
            let heirs = self.roster.heirs().iter().filter(|heir| **heir != node);
            let heirs = heirs
                .filter_map(|heir| self.roster.get(*heir))
                .map(|peer| peer.addr);
            let to: BTreeSet<SocketAddr> = heirs.chain(leader).collect();
            to.into_iter()
                .for_each(|to| self.send_control(Some(to), &message));
        }
        Some(next)
    }

    /// The round is over.
    fn decide(&mut self, frames: &dyn Frames) -> Option<Instant> {
        let now = self.latest;
        let Role::Following(following) = &self.role else {
            return None;
        };
        let Claim::Asking(asking) = &following.claim else {
            return None;
        };
        let answered = asking.refused || !asking.granted.is_empty();
        let (told, round, refused) = (asking.told, asking.round, asking.refused);
        let quorum = following.quorum;
        let agreed = asking.granted.len() + 1;
        if agreed < usize::from(quorum) {
            self.tell_of_too_few(agreed);
        }
        match round {
            Round::PreVote if refused => self.rest(30..=70, told),
            Round::PreVote if !answered && quorum <= 1 => {
                self.begin_solo();
                if self.has_to_plan_alone(frames) || self.has_unplanned() {
                    // Nobody is left to agree with, and the plan does not say what comes next, or says what nobody has.
                    self.lead_alone();
                    return Some(now);
                }
                self.rest(200..=300, told)
            }
            Round::PreVote if !answered => self.rest(200..=300, told),
            Round::PreVote if agreed < usize::from(quorum) => self.rest(50..=150, told),
            // It has promised something to another one meanwhile.
            Round::PreVote if now < self.is_free_at() => self.rest(30..=70, told),
            Round::PreVote => self.ask_for_votes(),
            Round::Vote { .. } => self.rest(30..=90, told),
        }
    }

    /// A lone survivor needs no term, until somebody wants something of it: a user's command, or a node that has just come
    /// (PROTOCOL, "CLAIM").
    pub(super) fn lead_if_alone(&mut self) {
        let is_alone = matches!(&self.role, Role::Following(following) if matches!(following.duty, Duty::Solo(_)));
        if is_alone && !self.is_listening() {
            self.lead_alone();
        }
    }

    fn lead_alone(&mut self) {
        self.take_candidate_plan();
        let (counter, first) = (self.next_counter(), self.first_to_lead());
        let lease = Lease::voted(self.latest);
        self.become_successor(counter, first, "alone", lease);
    }

    /// The counter of the next term, as far as this node has been told.
    fn next_counter(&self) -> u32 {
        let (followed, told) = match &self.role {
            Role::Following(following) => (following.term.counter, following.claim.told()),
            _ => (0, 0),
        };
        followed
            .max(told)
            .max(self.voted_counter())
            .saturating_add(1)
    }

    /// Asks for votes in the next counter, after giving its own.
    fn ask_for_votes(&mut self) -> Option<Instant> {
        let counter = self.next_counter();
        self.voter.granted = Some(Vote {
            station: self.config.station,
            counter,
            candidate: self.config.node,
            at: self.latest,
        });
        self.ask(Round::Vote { counter });
        self.repeat_question()
    }

    /// Tries again after a random time: two that do so at once would go on doing so.
    fn rest(&mut self, wait_ms: std::ops::RangeInclusive<u64>, told: u32) -> Option<Instant> {
        let not_before = self.latest + self.random.wait_ms(wait_ms);
        if let Role::Following(following) = &mut self.role {
            following.claim = Claim::Resting { not_before, told };
        }
        Some(not_before)
    }

    /// Whether a lone survivor has come to the end of all that it has, or soon to that of what is planned.
    fn has_to_plan_alone(&self, frames: &dyn Frames) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let Duty::Solo(stint) = &following.duty else {
            return false;
        };
        let next = stint.next();
        let ready = self.ready_end(next, PLANNED_FRAMES, frames);
        let is_last = self.programme.is_exhausted() && self.programme.planned_end() == Some(ready);
        let is_mute = following.clock().is_none();
        is_mute || ready == next || ready < next.plus(PLANNED_FRAMES) && !is_last
    }

    /// The first frame of this node as a leader: the one after all that was on air, never one by the clock.
    pub(super) fn first_to_lead(&self) -> FrameIndex {
        let heard = self.seen.top().map(|top| top.plus(1));
        heard.unwrap_or(if self.is_candidate_founder() {
            self.config.first_frame
        } else {
            FrameIndex(0)
        })
    }

    /// A voter has answered.
    pub(super) fn hear_voter(&mut self, from: SocketAddr, reply: &Reply) {
        let me = self.config.node;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let needed = usize::from(following.quorum.max(2)) - 1;
        let Claim::Asking(asking) = &mut following.claim else {
            return;
        };
        if (reply.attempt, reply.round) != (asking.attempt, asking.round) || reply.node == me {
            return;
        }
        asking.told = asking.told.max(
            reply
                .counter
                .min(following.term.counter.saturating_add(MAX_LEAP)),
        );
        match reply.refusal {
            Some(refusal) => {
                asking.refused = true;
                if refusal == Refusal::NewerPlan && reply.http_port != 0 {
                    let at = SocketAddr::new(from.ip(), reply.http_port);
                    self.copying.want_candidate_plan(at, reply.plan);
                }
                return;
            }
            None if asking.granted.len() < usize::from(MAX_QUORUM) => {
                asking.granted.insert(reply.node);
            }
            None => {}
        }
        if let Round::Vote { counter } = asking.round
            && asking.granted.len() >= needed
        {
            let lease = Lease::voted(asking.asked_at);
            self.take_candidate_plan();
            let first = self.first_to_lead();
            self.become_successor(counter, first, "elected", lease);
            // Covers of the old term are under way: who hears of the new one first would drop them.
            self.listen_until = self.latest + SETTLING;
        }
    }

    fn take_candidate_plan(&mut self) {
        if let Role::Following(following) = &mut self.role
            && let Some(plan) = following.candidate_plan.take()
            && plan.version() > self.programme.version()
        {
            self.programme = plan;
        }
    }
}
