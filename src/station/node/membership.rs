//! Who else is here, and who takes over?
//!
//! A node that follows a station says hello at once and then now and then; the leader orders its heirs from that and names them in
//! its heartbeats. How far a node could take over (its *standing*) it says itself: what it holds, nobody knows better.

use std::net::SocketAddr;
use std::time::Duration;

use super::doubting::Doubt;
use super::roles::Role;
use super::{Frames, Node};
use crate::station::roster::Heard;
use crate::time::Instant;
use crate::wire::control::{Heartbeat, Hello, Message};
use crate::wire::election::{Confirm, Standing};
use crate::wire::{FrameIndex, NodeId, StationId, TrackId};

/// An heir has to hold the frames of this much time: 5 s.
pub(super) const ELIGIBLE_FRAMES: u64 = 250;
/// How often a node looks at what it holds.
const ASSESS_EVERY: Duration = Duration::from_millis(100);
/// How soon a listener that has just started asks again who is on air; then after twice the time, and so on.
const ASK_AT_FIRST: Duration = Duration::from_millis(30);
/// For how long it asks.
const ASKS_FOR: Duration = Duration::from_millis(200);
/// How soon a node that hears frames and no leader asks again who leads; then after twice the time, and so on.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often it does so at least.
const ASK_AT_LEAST: Duration = Duration::from_secs(60);

impl Node {
    /// Says that this node is here.
    pub(super) fn say_hello(&mut self) {
        let (founding, station) = match &self.role {
            Role::Founding { .. } => (true, None),
            Role::Following(_) => (false, Some(self.config.station)),
            // It asks who is on air, or hears frames, and asks who leads.
            Role::Waiting { .. } => (false, None),
            _ => return,
        };
        let hello = self.hello(founding, station);
        self.send_control(None, &Message::Hello(hello));
    }

    pub(super) fn hello(&self, founding: bool, station: Option<StationId>) -> Hello {
        Hello {
            node: self.config.node,
            name: self.config.name.clone(),
            founding,
            station,
            standing: self.standing,
            held_to: self.held_to,
        }
    }

    /// Another node is here.
    pub(super) fn hear_hello(&mut self, from: SocketAddr, hello: &Hello) {
        if hello.station.is_none() {
            self.lead_if_alone();
            self.answer(from, hello.node);
            self.hear_founder(hello);
        } else if hello.station == Some(self.config.station) && !self.answer_call(from, hello) {
            match self.roster.handle_hello(hello, from, self.latest) {
                // Who is new must be able to take over soon, and a standing that has changed matters at once if there are few.
                Heard::New if matches!(self.role, Role::Leading { .. }) => self.order_heirs(),
                Heard::Full => self.refuse(Doubt::Crowd, Some(from)),
                Heard::New | Heard::Again => {}
            }
        }
    }

    fn answer(&mut self, to: SocketAddr, asker: NodeId) {
        if self.role.lead().is_none() || self.is_listening() {
            return;
        }
        let known = self.roster.get(asker);
        let budget = match known.is_some_and(|known| known.addr.ip() == to.ip()) {
            true => &mut self.answers_to_known,
            false => &mut self.answers,
        };
        // Whoever is not answered hears the next heartbeat to all, or asks again.
        if budget.spend(self.latest) {
            self.beat(Some(to));
        }
    }

    /// An heir's word that it hears its leader (PROTOCOL, "heir").
    pub(super) fn confirm(&mut self, to: SocketAddr, beat: &Heartbeat) {
        if !self.may_confirm(beat.term, beat.succession.quorum) {
            return;
        }
        if !self.confirms.spend(self.latest) {
            return self.refuse(Doubt::Flood, Some(to));
        }
        self.voter.confirmed_at = Some(self.latest);
        let me = self.config.node;
        let offer = beat.succession.offer.filter(|offer| offer.successor == me);
        let confirm = Confirm {
            station: beat.station,
            node: me,
            term: beat.term,
            number: beat.number,
            plan: self.programme.digest(),
            standing: self.standing,
            accepts: offer
                .filter(|_| self.standing.eligible)
                .map(|offer| offer.first),
        };
        self.send_control(Some(to), &Message::Confirm(confirm));
    }

    /// An heir hears this leader; `false` if it is none, or another leader.
    pub(super) fn hear_confirm(&mut self, from: SocketAddr, confirm: &Confirm) -> bool {
        if let Role::Leading { lead, .. } = &self.role
            && confirm.station == self.config.station
            && confirm.term == lead.term
            && confirm.number <= lead.number
        {
            let strangers = self.config.quorum > 1;
            let known = (self.roster).handle_confirm(confirm, from, strangers, self.latest);
            if !known {
                self.refuse(Doubt::Stranger, Some(from));
                return false;
            }
            self.renew_lease();
            return true;
        }
        false
    }

    /// Orders the heirs, if this node leads.
    pub(super) fn order_heirs(&mut self) {
        if let Role::Leading { lead, .. } = &self.role {
            let term = lead.term;
            // A leader says no hellos; at their pace it forgets who is gone.
            if self.latest >= self.hello_at {
                self.roster.forget(self.latest);
                self.hello_at = self.latest + self.roster.hello_every();
            }
            self.roster.order_heirs(term, self.latest);
        }
    }

    /// How many others follow this leader now.
    pub(super) fn supporters(&self) -> u16 {
        let Role::Leading { lead, .. } = &self.role else {
            return 0;
        };
        let since = match &lead.contact {
            Some(contact) => contact.since,
            None => self.latest - Duration::from_secs(1),
        };
        let count = self.roster.supporters(lead.term, since);
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Says hello when it is time; answers when it is next.
    pub(super) fn keep_membership(&mut self, frames: &dyn Frames) -> Option<Instant> {
        match &self.role {
            Role::Following(_) => {}
            Role::Waiting {
                station: None,
                since,
            } => return self.ask_who_is_on_air(*since),
            Role::Waiting {
                station: Some(_),
                since,
            } => {
                if self.latest >= self.hello_at {
                    // Who has not answered will not soon: a crowd that waits must not be heard above all others.
                    let waited = self.latest.since(*since);
                    self.hello_at = self.latest + waited.clamp(ASK_AGAIN, ASK_AT_LEAST);
                    self.say_hello();
                }
                return Some(self.hello_at);
            }
            _ => return None,
        }
        self.assess(frames);
        if self.latest >= self.hello_at {
            // A deaf node hears nobody's hellos: that says nothing, and the heirs are asked who leads.
            if !self.deaf {
                self.roster.forget(self.latest);
            }
            self.hello_at = self.latest + self.roster.hello_every();
            self.say_hello();
        }
        Some(self.hello_at)
    }

    /// A listener that has just started asks, again and again for a moment, since questions can be lost: whoever leads answers at
    /// once. If nobody does, it waits until it hears something.
    fn ask_who_is_on_air(&mut self, since: Instant) -> Option<Instant> {
        if self.latest < self.hello_at {
            return Some(self.hello_at);
        }
        let waited = self.latest.since(since);
        if waited > ASKS_FOR {
            return None;
        }
        self.say_hello();
        self.hello_at = self.latest + waited.max(ASK_AT_FIRST);
        Some(self.hello_at)
    }

    /// Looks at what this node holds.
    pub(super) fn assess(&mut self, frames: &dyn Frames) {
        let is_time = self
            .assessed_at
            .is_none_or(|at| self.latest.since(at) >= ASSESS_EVERY * self.list_weight());
        if !is_time {
            return;
        }
        self.assessed_at = Some(self.latest);
        let next = self.first_to_lead();
        let before = self.standing;
        // A list of its own, from before it followed, says nothing of the leader's.
        let knows_list = match &self.role {
            Role::Following(following) => following.base.is_some(),
            _ => true,
        };
        let (held_to, holds_all) = if self.config.standby && knows_list {
            self.held_to(frames)
        } else {
            (None, false)
        };
        self.held_to = held_to;
        self.standing = Standing {
            standby: self.config.standby,
            eligible: self.config.standby
                && !self.deaf
                && self.has_learned_clock()
                && self.holds_next(next, frames),
            complete: holds_all,
            priority: self.config.priority,
            age_s: u32::try_from(self.latest.since(self.born).as_secs()).unwrap_or(u32::MAX),
            http_port: self.config.http_port,
        };
        let news =
            (before.eligible, before.complete) != (self.standing.eligible, self.standing.complete);
        if news && matches!(self.role, Role::Following(_)) {
            // Soon, but no storm: everybody's standing changes at the same time.
            let soon = self.latest + self.random.wait_ms(0..=100);
            self.hello_at = self.hello_at.min(soon);
        }
    }

    /// Whether it holds what plays in the next 5 s, or to the end.
    fn holds_next(&mut self, next: FrameIndex, frames: &dyn Frames) -> bool {
        let has_plan = match &self.role {
            Role::Following(following) => following.named_plan() == Some(self.programme.digest()),
            _ => true,
        };
        let ready = self.ready_end(next, ELIGIBLE_FRAMES, frames);
        let mut held = ready.since(next);
        if self.programme.planned_end() == Some(ready) {
            // What comes next is in the list, and not in the plan yet.
            let list = self.programme.list();
            let again = list.tracks().iter().filter(|_| list.is_looped());
            for track in list.waiting().iter().chain(again) {
                let more = frames.held_from(track.id, 0);
                held += more;
                if held >= ELIGIBLE_FRAMES || track.frames.is_none_or(|frames| more < frames) {
                    break;
                }
            }
        }
        let is_all = self.known_end() == Some(ready);
        has_plan && (held >= ELIGIBLE_FRAMES || is_all)
    }

    /// Whether a track is over, and will not be played again.
    pub(super) fn is_played(&self, track: TrackId) -> bool {
        let list = self.programme.list();
        let next = self.first_to_lead();
        !list.is_looped()
            && !list.waiting().iter().any(|waiting| waiting.id == track)
            && !self
                .programme
                .tracks_from(next)
                .any(|entry| entry.track == track)
    }
}
