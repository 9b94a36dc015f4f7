//! What if two nodes lead one station?
//!
//! After a partition, or when a node that was away returns. Both sides have sent the same frames until somebody changed the plan,
//! so nobody hears anything if one of them steps down (PROTOCOL, "MERGE"). Which one is decided by those that follow: each side
//! counts the heirs that confirm heartbeats sent since the contact, and the one with more supporters stays; a lone node that
//! returns has none (trace 4). With a quorum the higher term is right at once.

use std::net::SocketAddr;
use std::time::Duration;

use super::flaws::Flaw;
use super::following::Following;
use super::roles::{Phase, Role};
use super::{Event, Node};
use crate::time::Instant;
use crate::wire::control::{EndReason, Heartbeat, Message, State};
use crate::wire::election::{GRACE, Stale};
use crate::wire::ids::ShortTerm;
use crate::wire::{FRAME, FrameIndex, Term};

/// Heirs are counted for this long.
const CONTEST: Duration = Duration::from_millis(60);
/// A contact that was not heard for this long is none.
const FORGOTTEN: Duration = Duration::from_secs(1);
/// After this much calm a node that stepped down is as good as any.
const CALM: Duration = Duration::from_secs(20);
/// The back-off doubles up to this many claim times: 5 s.
const MAX_FACTOR: u32 = 25;
/// How many frames a leader sends again in its new term: a packet may be under way, another is about to be.
const AGAIN_FRAMES: u64 = 2;
/// Covers that are further ahead of what is due than this say that the leader's own clock is behind.
const RESIGN_FRAMES: u64 = 2;
/// So many frames after the first of these another one has to come.
const AHEAD_AGAIN: u64 = 3;
/// A node that stood still for longer than this was away: others may have taken over.
const AWAY: Duration = Duration::from_millis(200);
/// How long it listens then before it speaks.
const LISTEN: Duration = Duration::from_millis(45);
/// Stale leaders are told so at most this often.
const STALE_EVERY: Duration = Duration::from_millis(100);

/// Another leader of the same station.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub(super) since: Instant,
    heard_at: Instant,
    /// What it said of itself: supporters, the plan's version, its term.
    other: (u16, u64, Term),
    /// The other one has counted for long enough.
    counted: bool,
    /// This one has won: the other's term is over.
    won: bool,
}

/// How long a node lets others claim first, after it had to step down.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    factor: u32,
    since: Option<Instant>,
}

impl BackOff {
    /// How many times the usual silence it waits for.
    pub(super) fn factor(&self, now: Instant) -> u32 {
        let calm = self.since.is_none_or(|since| now.since(since) >= CALM);
        if calm { 1 } else { self.factor.max(1) }
    }

    fn again(&mut self, now: Instant) {
        self.factor = (self.factor(now) * 2).min(MAX_FACTOR);
        self.since = Some(now);
    }
}

impl Node {
    /// Whether this node stood still, and what follows from it. Asked before anything is heard, too: what waited in the sockets
    /// may be as old as that, and nothing of it is to be answered.
    pub(super) fn notice_absence(&mut self) {
        let now = self.latest;
        // Something that was due long ago may have come up just now, and it was here a moment ago.
        let promised = self.poll_timeout().map(|at| at.max(self.active_at));
        let away = promised.is_some_and(|at| now.since(at) > AWAY);
        self.active_at = now;
        if !away || self.has(Flaw::ResumeAtOnce) {
            return;
        }
        let knows_others = match &mut self.role {
            Role::Following(following) => {
                // Those who would have voted for it have done so long ago.
                following.claim.abandon();
                true
            }
            Role::Leading { .. } | Role::Over { .. } => !self.roster.heirs().is_empty(),
            _ => false,
        };
        if knows_others {
            tracing::debug!("stood still; listening before speaking");
            self.listen_until = now + LISTEN;
        }
    }

    /// Whether this node may send: it has listened for long enough after it stood still.
    pub(super) fn is_listening(&self) -> bool {
        self.latest < self.listen_until
    }

    /// Heartbeats are sent five times as often while others wait for them.
    pub(super) fn is_hurried(&self) -> bool {
        match &self.role {
            Role::Leading { lead, .. } => {
                lead.contact.is_some() || lead.leaving.is_some() || self.config.quorum > 1
            }
            _ => false,
        }
    }

    /// The other leader's term, if this one has won against it.
    pub(super) fn contested(&self) -> Option<Term> {
        match &self.role {
            Role::Leading { lead, .. } => {
                let contact = lead.contact.as_ref()?;
                ((contact.won || self.has(Flaw::HigherTermWins)) && contact.other.2 < lead.term)
                    .then_some(contact.other.2)
            }
            _ => None,
        }
    }

    /// Another node leads this station, too.
    pub(super) fn hear_other_leader(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
    ) {
        let now = self.latest;
        let any_term = self.has(Flaw::LowerTermDeposes);
        let is_alone = self.supporters() == 0;
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let mine = lead.term;
        // A part that has come to its own end ends nothing for those that follow here; what a user stopped is over.
        let is_over = matches!(beat.state, State::Over(_));
        let counts = is_alone || beat.state == State::Over(EndReason::Stopped);
        if is_over && (beat.term < mine || !counts) {
            return;
        }
        if let Some(offer) = self.offer_to(beat.term.short()) {
            // Its clock is a little ahead of this one: all before its first frame has been sent or is covered from here.
            self.become_relieved(offer);
            self.hear_beat(from, beat, arrived);
            return;
        }
        let deposed = any_term && beat.term != mine
            || beat.term > mine
                && (self.config.quorum > 1
                    || now < self.listen_until
                    || beat.succession.over == Some(mine)
                    || is_over);
        if deposed {
            return self.become_deposed(from, beat, arrived, "another node leads");
        }
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let other = (
            beat.succession.supporters,
            beat.succession.version,
            beat.term,
        );
        match &mut lead.contact {
            Some(contact) => {
                // Its supporters count as of now, not as of a second ago.
                contact.counted |= now.since(contact.since) >= CONTEST;
                (contact.heard_at, contact.other) = (now, other);
            }
            contact => {
                tracing::debug!(other = %beat.term, "another leader of this station");
                *contact = Some(Contact {
                    since: now,
                    heard_at: now,
                    other,
                    counted: false,
                    won: false,
                });
                lead.beat_due = lead.clock.slot(now);
            }
        }
        self.contest(Some((from, beat, arrived)));
    }

    /// The lower term decides: it goes up, or it goes.
    fn contest(&mut self, heard: Option<(SocketAddr, &Heartbeat, Instant)>) {
        let now = self.latest;
        let supporters = self.supporters();
        let version = self.programme.version();
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let Some(contact) = &lead.contact else {
            return;
        };
        let mine = lead.term;
        if contact.other.2 < mine {
            return;
        }
        let counted = contact.counted;
        let wins = (supporters, version, mine) > contact.other;
        if counted && wins {
            let other = contact.other.2;
            if let Some(contact) = &mut lead.contact {
                contact.won = true;
            }
            self.raise_term(other);
        } else if (counted || now.since(contact.since) >= GRACE)
            && let Some((from, beat, arrived)) = heard
        {
            self.become_deposed(
                from,
                beat,
                arrived,
                "the other part of the network has more listeners",
            );
        }
    }

    /// A packet of this station that is not this leader's own.
    pub(super) fn hear_media_as_leader(
        &mut self,
        term: ShortTerm,
        index: FrameIndex,
        stand_in: bool,
    ) {
        let Role::Leading { lead, phase } = &mut self.role else {
            return;
        };
        let own = match phase {
            Phase::Playing(pacer) => pacer.next(),
            Phase::Idle { next } => *next,
        };
        let near = index.0.abs_diff(own.0) < super::CUSHION_FRAMES * 8;
        let due = match phase {
            Phase::Playing(pacer) => pacer.due(self.latest).end,
            Phase::Idle { next } => *next,
        };
        // Its clock has lost time, or the others would not think that it is late: they go on in time, and it never will.
        let ahead =
            stand_in && near && term == lead.term.short() && index > due.plus(RESIGN_FRAMES);
        // One packet is soon forged; who covers sends the next one, too.
        let before = if ahead {
            lead.covered_ahead.replace((index, self.latest))
        } else {
            None
        };
        let again = before.is_some_and(|(before, at)| {
            (1..=AHEAD_AGAIN).contains(&index.since(before))
                && self.latest.since(at) <= FRAME * (AHEAD_AGAIN + 1) as u32
        });
        if again {
            let mut following = Following::new(lead.term, self.latest);
            following.keep_clock(lead.clock, own.minus(1));
            return self.become_follower(following, "its clock has lost time");
        }
        // A lower term's packets count for nobody; those that stand in for this leader are what it missed.
        if term >= lead.term.short() && stand_in && near {
            self.seen.insert(index);
        }
    }

    /// A leader of a lower term is told that it is over, if the one of the higher term cannot do it itself.
    pub(super) fn tell_stale(&mut self, to: SocketAddr, beat: &Heartbeat, arrived: Instant) {
        let every = STALE_EVERY;
        let node = self.config.node;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let silent = arrived.since(following.heard_at) >= following.claim_after();
        let told = following
            .told_stale_at
            .is_some_and(|at| arrived.since(at) < every);
        if silent && !told {
            following.told_stale_at = Some(arrived);
            let stale = Stale {
                station: beat.station,
                node,
                term: following.term,
            };
            self.send_control(Some(to), &Message::Stale(stale));
        }
    }

    /// Somebody follows a higher term than this leader's, and does not hear its leader.
    pub(super) fn hear_stale(&mut self, stale: &Stale) {
        let supporters = self.supporters();
        let Role::Leading { lead, .. } = &self.role else {
            return;
        };
        // One that forges such messages must not make this leader repeat itself, or use up all counters.
        let lately = (lead.raised_at).is_some_and(|at| self.latest.since(at) < FORGOTTEN);
        let is_news = stale.station == self.config.station
            && stale.term > lead.term
            && stale.term.leader != self.config.node;
        if !is_news || lately {
            return;
        }
        if supporters == 0 || self.config.quorum > 1 {
            let mut following = Following::new(stale.term, self.latest);
            following.keep_clock(lead.clock, self.next().minus(1));
            self.become_follower(following, "its term is over");
        } else if lead.contact.is_none() {
            // That one's leader is gone, and this one's followers refuse everybody: they meet in a term above both.
            self.raise_term(stale.term);
        }
    }

    /// Leads on in a term above this one. Who joins from the other side has dropped what this leader sent a moment ago.
    fn raise_term(&mut self, other: Term) {
        let Role::Leading { lead, phase } = &mut self.role else {
            return;
        };
        if let Phase::Playing(pacer) = phase {
            pacer.step_back(AGAIN_FRAMES);
            lead.again_from = Some(pacer.next());
        }
        lead.raised_at = Some(self.latest);
        let counter = lead.term.counter.max(other.counter);
        lead.term.counter = counter.saturating_add(1);
        let top = self.seen.top();
        (lead.number, lead.first) = (0, top.map_or(lead.first, |top| top.plus(1)));
        let term = lead.term;
        self.roster.begin_term();
        self.tell(Event::Leader {
            term,
            reason: "merged",
        });
        self.beat(None);
    }

    fn become_deposed(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
        reason: &'static str,
    ) {
        self.become_follower(Following::new(beat.term, arrived), reason);
        self.hear_beat(from, beat, arrived);
    }

    /// This node led; now it follows.
    pub(super) fn become_follower(&mut self, mut following: Following, reason: &'static str) {
        (following.quorum, following.buffer) = (self.config.quorum, self.config.buffer);
        let Role::Leading { lead, .. } = &self.role else {
            return;
        };
        tracing::debug!(term = %lead.term, reason, "stepped down");
        let leaves = lead.leaving.is_some();
        let term = following.term;
        self.back_off_again();
        self.role = Role::Following(Box::new(following));
        self.hello_at = self.latest;
        self.tell(Event::SteppedDown { reason });
        self.tell(Event::Leader {
            term,
            reason: "followed",
        });
        if leaves {
            self.become_gone();
        }
    }

    /// This node had to step down: it lets others go first for a while.
    pub(super) fn back_off_again(&mut self) {
        self.back_off.again(self.latest);
    }

    /// Forgets a contact that has gone.
    pub(super) fn keep_contact(&mut self) {
        let now = self.latest;
        if let Role::Leading { lead, .. } = &mut self.role {
            lead.contact
                .take_if(|contact| now.since(contact.heard_at) > FORGOTTEN);
        }
    }
}
