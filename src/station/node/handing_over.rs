//! How does a leader leave without being missed?
//!
//! It names its successor and the frame from which that one leads, ten frames ahead, and says so every 20 ms; the plan is frozen
//! until then. It sends up to that frame and not further, and stays for a moment as the first to cover. If the successor has
//! not confirmed by then, the leader goes on and tries the next heir (PROTOCOL, "HAND OVER").

use std::time::Duration;

use super::agreeing::Lease;
use super::following::Following;
use super::roles::{HANDED_OVER, Phase, Role};
use super::{Event, Node};
use crate::station::roster::Peer;
use crate::time::Instant;
use crate::wire::control::EndReason;
use crate::wire::election::Offer;
use crate::wire::ids::ShortTerm;
use crate::wire::{FRAME, FrameIndex, NodeId};

/// How many frames ahead the change is named.
const NOTICE_FRAMES: u64 = 10;
/// The old leader goes when it has heard this many frames of its successor.
const HEARD_FRAMES: u64 = 10;
/// It goes after this time in any case.
const STAY: Duration = Duration::from_secs(1);

/// A leader that is about to leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaving {
    /// To whom, from when.
    pub(super) offer: Option<(Offer, Instant)>,
    /// Heirs that did not answer.
    tried: Vec<NodeId>,
}

/// A leader that has handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relieved {
    offer: Offer,
    until: Instant,
}

impl Node {
    /// The user wants this leader to leave.
    pub(super) fn leave(&mut self) {
        let has_standby = self.has_standby();
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let now = self.latest;
        if !has_standby || lead.leaving.is_some() {
            return self.become_over(EndReason::Left);
        }
        lead.leaving = Some(Leaving::default());
        lead.beat_due = lead.clock.slot(now);
        self.fed = true;
    }

    /// Whether this leader waits for an heir that could go on, or this follower until what it sends is safe.
    pub fn is_leaving(&self) -> bool {
        let departs = self.departs && matches!(self.role, Role::Following(_));
        departs || self.role.lead().is_some_and(|lead| lead.leaving.is_some())
    }

    /// Whether somebody is here who would take over.
    fn has_standby(&self) -> bool {
        (self.roster.peers())
            .any(|(id, peer)| peer.standing.standby && self.roster.is_alive(id, self.latest))
    }

    /// Whether another node holds all that is listed. (Others may still add to the list.)
    pub(super) fn could_go_on(&self, peer: &Peer) -> bool {
        let last = self.programme.list().tracks().last().map(|track| track.id);
        let holds_all = peer.standing.complete || last.is_some() && peer.held_to == last;
        peer.standing.eligible && holds_all
    }

    /// Whether this node led, and stays for a moment as the first to cover for its successor.
    pub fn is_relieved(&self) -> bool {
        self.relieved.is_some()
    }

    /// What the heartbeats say of it.
    pub(super) fn offer(&self) -> Option<Offer> {
        let leaving = self.role.lead()?.leaving.as_ref()?;
        let (offer, at) = leaving.offer?;
        Some(if self.is_accepted(offer, at) {
            self.offer_lease(offer)
        } else {
            offer
        })
    }

    /// Whether the successor has said that it leads from there on.
    fn is_accepted(&self, offer: Offer, at: Instant) -> bool {
        let term = self.role.lead().map(|lead| lead.term);
        let peer = self.roster.get(offer.successor);
        let last = peer.and_then(|peer| peer.confirmed);
        last.is_some_and(|last| last.accepts && Some(last.term) == term && last.at >= at)
    }

    /// The offer that was made to the leader of this term.
    pub(super) fn offer_to(&self, term: ShortTerm) -> Option<Offer> {
        self.offer()
            .filter(|offer| offer.successor.short() == term.leader)
    }

    /// Names a successor as soon as there is one, and goes when its time has come. Called before frame `next` is sent; `false`:
    /// it is not to be sent by this node.
    pub(super) fn keep_leaving(&mut self, next: FrameIndex) -> bool {
        let now = self.latest;
        let heirs: Vec<NodeId> = self.roster.heirs().to_vec();
        let plan = self.programme.digest();
        let source_open = self.is_source_open;
        let Role::Leading { lead, phase } = &self.role else {
            return true;
        };
        let Some(leaving) = &lead.leaving else {
            return true;
        };
        let (term, idle) = (lead.term, matches!(phase, Phase::Idle { .. }));
        match leaving.offer {
            None => {
                let able = |id: &NodeId| {
                    let confirmed = |peer: &Peer| {
                        let last = peer
                            .confirmed
                            .filter(|last| last.term == term && last.plan == plan);
                        last.is_some_and(|last| now.since(last.at) < Duration::from_millis(500))
                            && self.could_go_on(peer)
                    };
                    !leaving.tried.contains(id) && self.roster.get(*id).is_some_and(confirmed)
                };
                let successor = heirs.iter().copied().find(able).filter(|_| !source_open);
                let nobody = !self.has_standby();
                let all_tried = heirs.iter().all(|id| leaving.tried.contains(id));
                let first = if idle {
                    next
                } else {
                    next.plus(NOTICE_FRAMES + 1)
                };
                if let Some(successor) = successor {
                    let offer = Offer {
                        successor,
                        first,
                        lease_until_us: None,
                    };
                    self.set_offer(Some((offer, now)));
                    self.beat(None);
                } else if nobody {
                    self.become_over(EndReason::Left);
                    return false;
                } else if all_tried && let Role::Leading { lead, .. } = &mut self.role {
                    // None of them answered in time: the network may be better now.
                    lead.leaving = Some(Leaving::default());
                }
                true
            }
            Some((offer, at)) => {
                let due = if idle {
                    now >= at + FRAME * NOTICE_FRAMES as u32
                } else {
                    next >= offer.first
                };
                if !due {
                    return true;
                }
                if self.is_accepted(offer, at) {
                    self.become_relieved(offer);
                    return false;
                }
                self.set_offer(None);
                if let Role::Leading { lead, .. } = &mut self.role
                    && let Some(leaving) = &mut lead.leaving
                {
                    leaving.tried.push(offer.successor);
                }
                true
            }
        }
    }

    fn set_offer(&mut self, offer: Option<(Offer, Instant)>) {
        if let Role::Leading { lead, .. } = &mut self.role
            && let Some(leaving) = &mut lead.leaving
        {
            leaving.offer = offer;
        }
    }

    /// The successor leads from here on; this node covers for it for a moment.
    pub(super) fn become_relieved(&mut self, offer: Offer) {
        let now = self.latest;
        let Role::Leading { lead, .. } = &self.role else {
            return;
        };
        let last = offer.first.minus(1);
        let mut following = Following::new(lead.term, now);
        following.relieve(
            lead.clock,
            (last, self.programme.digest()),
            offer,
            self.config.buffer,
        );
        following.quorum = self.config.quorum;
        self.role = Role::Following(Box::new(following));
        // The promises to this node are the successor's now, and its own is one of them.
        self.voter.confirmed_at = Some(now);
        self.relieved = Some(Relieved {
            offer,
            until: now + STAY,
        });
        self.roster.set_heirs(&[self.config.node]);
        self.tell(Event::HandedOver {
            to: offer.successor,
            frame: offer.first,
        });
    }

    /// Whether a relieved leader can go; answers when to look again.
    pub(super) fn keep_relieved(&mut self) -> Option<Instant> {
        let Relieved { offer, until } = self.relieved?;
        let heard = match &self.role {
            Role::Following(following) => {
                let successor = following.term.leader.short() == offer.successor.short();
                successor && following.highest() >= Some(offer.first.plus(HEARD_FRAMES - 1))
            }
            _ => true,
        };
        let idle = matches!(&self.role, Role::Following(following) if following.is_idle && following.term.leader == offer.successor);
        if heard || idle || self.latest >= until {
            self.relieved = None;
            self.become_gone();
            return None;
        }
        Some(until)
    }

    /// The leader has named this node: it leads from the frame that was agreed on; answers when that is.
    pub(super) fn succeed_by_offer(&mut self) -> Option<Instant> {
        let me = self.config.node;
        let now = self.latest;
        let Role::Following(following) = &self.role else {
            return None;
        };
        let offer = following.offer.filter(|offer| offer.successor == me)?;
        if !self.standing.eligible || !following.has_accepted {
            return None;
        }
        let counter = following.term.counter.saturating_add(1);
        let lease = match (following.quorum, offer.lease_until_us) {
            (..=1, _) => now,
            // The old leader knows that this node has accepted: it will not go on.
            (_, Some(until_us)) => following.clock()?.local_us(until_us),
            (_, None) => return None,
        };
        let due = match self.programme.slot(offer.first) {
            Some(slot) => following.clock()?.local(slot),
            // Idle: when the old leader goes.
            None => following.offered_at? + FRAME * NOTICE_FRAMES as u32,
        };
        if now < due {
            return Some(due);
        }
        let first = offer.first.max(self.first_to_lead());
        self.become_successor(counter, first, HANDED_OVER, Lease::until(lease));
        Some(now)
    }
}
