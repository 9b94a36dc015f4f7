//! Which leader is followed? The rules RECEIVE and "adopt" of PROTOCOL, as far as they concern somebody who only listens.
//!
//! A lower term is dropped. A higher one is adopted at once when the followed leader has fallen silent, and otherwise
//! when it has been heard, from its leader itself, for a grace time: covers of a dead leader must not depose a live one. What comes
//! of it meanwhile is put aside. Solo packets are a last resort and never change the term.

use std::time::Duration;

use super::evidence::{Head, Held};
use crate::time::Instant;
use crate::wire::control::{Heartbeat, State};
use crate::wire::election::{CLAIM_AFTER, GRACE, MAX_LEAP, SILENT_AFTER, is_number_leap};
use crate::wire::ids::{PlanDigest, ShortTerm};
use crate::wire::media::Flags;
use crate::wire::{FrameIndex, Term};

/// Packets of a rival put aside: the grace time's, six times over.
const HELD_LIMIT: usize = 64;

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Use it.
    Take,
    /// Its term was adopted: drop what it contradicts, use what was put aside, then use it.
    Adopted(Vec<Held>),
    /// A rival's: not yet.
    Hold,
    /// Older than a heartbeat that was heard, or of a number that cannot be: says nothing.
    Old,
    /// Of a term lower than the followed one.
    Stale,
    /// Of a term that so many takeovers cannot have led to.
    Leap,
    /// Solo while a leader is heard.
    Solo,
}

#[derive(Debug)]
struct Rival {
    term: ShortTerm,
    since: Instant,
    leader_itself: bool,
    held: Vec<Held>,
}

/// The followed leader, and the one who would replace it.
#[derive(Debug, Default)]
pub(super) struct Terms {
    followed: Option<ShortTerm>,
    plan: PlanDigest,
    why: &'static str,
    told: Option<Term>,
    number: u64,
    told_at: Instant,
    heard_at: Option<Instant>,
    top: Option<FrameIndex>,
    rival: Option<Rival>,
}

impl Terms {
    /// Whether a packet of `term` is dropped.
    pub(super) fn is_stale(&self, term: ShortTerm) -> bool {
        self.followed.is_some_and(|followed| term < followed)
    }

    /// The followed term, once a heartbeat told it in full.
    pub(super) fn told(&self) -> Option<Term> {
        self.told
    }

    /// Whether a frame of this term is what the followed leader plays: it is of that leader, or of the same plan.
    pub(super) fn is_of_followed(&self, term: ShortTerm, plan: PlanDigest) -> bool {
        self.followed
            .is_some_and(|followed| term == followed || term > followed && plan == self.plan)
    }

    /// Why the followed term was adopted.
    pub(super) fn why(&self) -> &'static str {
        self.why
    }

    /// Whether a term is further above the followed one than takeovers can have led to: following it would make all others stale.
    pub(super) fn is_leap(&self, term: ShortTerm) -> bool {
        let known = self.followed.map(|followed| followed.counter);
        known.is_some_and(|known| term.counter > known.saturating_add(MAX_LEAP))
    }

    /// A media packet came that can be placed.
    pub(super) fn handle_media(&mut self, head: &Head, payload: &[u8]) -> Verdict {
        if self.is_stale(head.term) {
            return Verdict::Stale;
        }
        if self.is_leap(head.term) {
            return Verdict::Leap;
        }
        if head.flags.has(Flags::SOLO) {
            return if self.silent_for(CLAIM_AFTER, head.arrived) {
                Verdict::Take
            } else {
                Verdict::Solo
            };
        }
        let itself = !head.flags.has(Flags::COVER);
        let verdict = self.weigh(head.term, head.arrived, itself);
        match &verdict {
            // The same plan is the same sound, whoever sends it.
            Verdict::Hold if head.plan == self.plan => return Verdict::Take,
            Verdict::Hold => {
                if let Some(rival) = self
                    .rival
                    .as_mut()
                    .filter(|rival| rival.held.len() < HELD_LIMIT)
                {
                    rival.held.push(Held {
                        head: *head,
                        payload: payload.to_vec(),
                    });
                }
            }
            _ if itself => {
                self.plan = head.plan;
                self.sign_of_life(head.index, head.arrived);
            }
            Verdict::Adopted(_) => self.plan = head.plan,
            _ => {}
        }
        verdict
    }

    /// A heartbeat came.
    pub(super) fn handle_heartbeat(&mut self, beat: &Heartbeat, arrived: Instant) -> Verdict {
        if self.is_stale(beat.term.short()) {
            return Verdict::Stale;
        }
        if self.is_leap(beat.term.short()) {
            return Verdict::Leap;
        }
        let verdict = self.weigh(beat.term.short(), arrived, true);
        if verdict == Verdict::Hold {
            return verdict;
        }
        if verdict == Verdict::Take && self.told.is_some() {
            let waited = arrived.since(self.told_at);
            if beat.number <= self.number || is_number_leap(self.number, beat.number, waited) {
                return Verdict::Old;
            }
        }
        self.told = Some(beat.term);
        (self.number, self.told_at) = (beat.number, arrived);
        self.plan = beat.plan;
        if beat.state != State::Playing {
            self.heard_at = self.heard_at.max(Some(arrived));
        } else if beat.next.0 > 0 {
            self.sign_of_life(beat.next.minus(1), arrived);
        }
        verdict
    }

    /// Life is progress: a leader that repeats itself is none (PROTOCOL, trace 3).
    fn sign_of_life(&mut self, index: FrameIndex, arrived: Instant) {
        if self.top.is_none_or(|top| index > top) {
            self.top = Some(index);
            self.heard_at = self.heard_at.max(Some(arrived));
        }
    }

    fn silent_for(&self, duration: Duration, at: Instant) -> bool {
        self.heard_at
            .is_none_or(|heard_at| at.since(heard_at) > duration)
    }

    /// Follow, adopt or wait: `term` is not lower than the followed one.
    fn weigh(&mut self, term: ShortTerm, arrived: Instant, leader_itself: bool) -> Verdict {
        let Some(followed) = self.followed else {
            return self.become_follower(term, "first");
        };
        if term == followed {
            return Verdict::Take;
        }
        if self.rival.as_ref().is_none_or(|rival| rival.term < term) {
            self.rival = Some(Rival {
                term,
                since: arrived,
                leader_itself: false,
                held: Vec::new(),
            });
        }
        let mut heard_enough = false;
        if let Some(rival) = self.rival.as_mut().filter(|rival| rival.term == term) {
            rival.leader_itself |= leader_itself;
            heard_enough = rival.leader_itself && arrived.since(rival.since) >= GRACE;
        }
        if self.silent_for(SILENT_AFTER, arrived) {
            self.become_follower(term, "silence")
        } else if heard_enough {
            self.become_follower(term, "higher_term")
        } else {
            Verdict::Hold
        }
    }

    fn become_follower(&mut self, term: ShortTerm, why: &'static str) -> Verdict {
        debug_assert!(self.followed.is_none_or(|followed| followed < term));
        let rival = self.rival.take();
        let (of_term, other): (Vec<_>, Vec<_>) =
            rival.into_iter().partition(|rival| rival.term == term);
        let held = of_term.into_iter().flat_map(|rival| rival.held).collect();
        *self = Terms {
            followed: Some(term),
            why,
            rival: other.into_iter().next(),
            ..Terms::default()
        };
        Verdict::Adopted(held)
    }
}
