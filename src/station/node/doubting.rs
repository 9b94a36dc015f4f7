//! What does a node not believe, and who learns of it?
//!
//! Nothing on the control port is signed, and a broken program or a clever child can send anything. What a message can do is
//! therefore bounded by what can be true: a term's counter rises by takeovers, one at a time; a heartbeat's number by heartbeats; a
//! frame is not on air before it is due; the quorum is its founder's for the station's life; a leader speaks from one
//! address. What contradicts that is counted by reason and told once a minute. What may be true all the same (a leader that got
//! another address, a first heartbeat that was forged) is believed when the next one agrees with it: one packet never moves
//! anything far, and whoever stops lying is forgotten within two heartbeats.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::covering::Duty;
use super::following::Following;
use super::roles::Role;
use super::{Event, Node};
use crate::time::Instant;
use crate::wire::control::{Heartbeat, Message};
use crate::wire::election::{MAX_LEAP, Round, is_number_leap};
use crate::wire::{FRAME, FrameIndex, Slot, Term};

/// Heartbeats that are this much older than the newest are late; those that are older still were not overtaken by it.
const LATE_NUMBERS: u64 = 256;
/// A frame may come this much before the leader's other packets say: more than clocks drift apart in a long partition, and less
/// than the time after which a leader counts as silent.
const EARLY: Duration = FRAME.saturating_mul(5);
/// A heartbeat may be this much ahead of the station clock as the heartbeats before it show it.
const AHEAD: Duration = Duration::from_secs(1);
/// From one heartbeat to the next there are at most so many frames, even if some are lost: half a second.
const FAR_FRAMES: u64 = 25;
/// A leader that was not heard for this long is not waited for, if another one is there.
const FORSAKEN: Duration = Duration::from_secs(5);
/// The same of one of whom only the heartbeat was heard with which this node joined: three more should have come.
const HEARSAY: Duration = Duration::from_millis(350);
/// How often one reason is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Why something was not believed. All of these are in the node's counters by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A term that so many takeovers cannot have led to.
    TermLeap,
    /// A heartbeat whose number so many heartbeats cannot have led to.
    Number,
    /// A heartbeat of which the station clock is ahead of all that was heard.
    Clock,
    /// A heartbeat that changes the quorum.
    Quorum,
    /// A heartbeat of the leader's that does not come from where the leader is.
    Sender,
    /// A frame that cannot be on air yet.
    Frame,
    /// A confirmation by nobody who is known.
    Stranger,
    /// A report of the same.
    Reporter,
    /// A probe of the same.
    Asker,
    /// The time, though nobody asked.
    Time,
    /// A node that has no place among those that are known.
    Crowd,
    /// More than is answered in a second.
    Flood,
}

impl Doubt {
    const fn reason(self) -> &'static str {
        match self {
            Doubt::TermLeap => "term_leap",
            Doubt::Number => "heartbeat_number",
            Doubt::Clock => "heartbeat_clock",
            Doubt::Quorum => "heartbeat_quorum",
            Doubt::Sender => "heartbeat_sender",
            Doubt::Frame => "frame_too_early",
            Doubt::Stranger => "confirm_stranger",
            Doubt::Reporter => "report_stranger",
            Doubt::Asker => "probe_stranger",
            Doubt::Time => "time_unasked",
            Doubt::Crowd => "roster_full",
            Doubt::Flood => "answer_flood",
        }
    }

    /// What the user is told; none where an honest network can do it, too.
    const fn text(self) -> Option<&'static str> {
        match self {
            Doubt::TermLeap => Some("a term that so many takeovers cannot have led to"),
            Doubt::Number => Some("a heartbeat out of all order"),
            Doubt::Clock => Some("a heartbeat from the future"),
            Doubt::Quorum => Some("another quorum than the station's"),
            Doubt::Sender => Some("a heartbeat in the leader's name from another address"),
            Doubt::Crowd => Some("more nodes than a station can have"),
            Doubt::Flood => Some("more questions than are answered"),
            Doubt::Frame | Doubt::Stranger | Doubt::Reporter | Doubt::Asker | Doubt::Time => None,
        }
    }
}

/// What was refused, by reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    counts: BTreeMap<&'static str, u64>,
    told: BTreeMap<&'static str, Instant>,
    /// A heartbeat came from elsewhere than the leader's before it, and none has agreed with it yet: the leader may have moved.
    may_have_moved: bool,
}

/// So many answers in any one second.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: usize,
    spent_at: VecDeque<Instant>,
}

impl Budget {
    pub(super) const fn of(per_second: usize) -> Budget {
        Budget {
            per_second,
            spent_at: VecDeque::new(),
        }
    }

    /// Whether one more answer may be given now; it is, then.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let second_ago = now - Duration::from_secs(1);
        while self.spent_at.front().is_some_and(|&at| at <= second_ago) {
            self.spent_at.pop_front();
        }
        let may = self.spent_at.len() < self.per_second;
        if may {
            self.spent_at.push_back(now);
        }
        may
    }
}

/// A heartbeat that was not believed, because it did not fit the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    number: u64,
    quorum: u16,
    from: SocketAddr,
}

/// What a heartbeat's number says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is the newest.
    Newest,
    /// It was overtaken by a newer one (PROTOCOL, trace 6).
    Late,
}

impl Following {
    /// How long this leader is waited for, if another one is there.
    fn patience(&self) -> Duration {
        let hearsay = self.joined_at.is_some_and(|at| self.heard_at <= at);
        if hearsay { HEARSAY } else { FORSAKEN }
    }
}

impl Node {
    /// Messages and packets that were not believed since the start, by reason.
    pub fn rejected(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused.counts
    }

    /// Counts what was refused by others than this state machine, under a name of theirs.
    pub fn count_rejected(&mut self, reason: &'static str) {
        *self.refused.counts.entry(reason).or_default() += 1;
    }

    /// Counts what is not believed, and tells of it now and then.
    pub(super) fn refuse(&mut self, doubt: Doubt, from: Option<SocketAddr>) {
        let (reason, now) = (doubt.reason(), self.latest);
        self.count_rejected(reason);
        let Some(text) = doubt.text() else { return };
        if doubt == Doubt::Sender && !std::mem::replace(&mut self.refused.may_have_moved, true) {
            return; // if it has, the next one agrees, and there is nothing to tell
        }
        let told = self.refused.told.get(reason);
        if told.is_some_and(|at| now.since(*at) < TELL_EVERY) {
            return;
        }
        self.refused.told.insert(reason, now);
        let from = from.map_or_else(String::new, |from| format!(" from {from}"));
        self.tell(Event::Warning(format!(
            "{text}{from}: not believed, and counted as {reason}; is another program, or somebody, sending in this station's name?"
        )));
    }

    /// Whether a term's counter is further above what this node knows than takeovers can have led to.
    pub(super) fn is_leap(&self, counter: u32) -> bool {
        let known = match &self.role {
            Role::Following(following) => following.term.counter,
            role => match role.lead() {
                Some(lead) => lead.term.counter,
                None => return false,
            },
        };
        let known = known.max(self.voted_counter());
        counter > known.saturating_add(MAX_LEAP)
    }

    /// Whether a message tells of a term that cannot be. A leader of such a term is followed all the same by a node that has nobody
    /// else: it was away for a very long time, or it was told of a leader that never was.
    pub(super) fn doubts(&mut self, from: SocketAddr, message: &Message) -> bool {
        let (station, counter) = match message {
            Message::Heartbeat(beat) => (beat.station, beat.term.counter),
            Message::Stale(stale) => (stale.station, stale.term.counter),
            Message::Ask(ask) => match ask.round {
                Round::PreVote => return false,
                Round::Vote { counter } => (ask.station, counter),
            },
            // A veto counts, whatever it tells: what it tells is cut.
            Message::Hello(_) | Message::Confirm(_) | Message::Reply(_) => return false,
            // Who asks is answered whatever it follows; what is in a repair is looked at as a packet.
            Message::Nack(_) | Message::Repair(_) => return false,
            // A report tells of no term.
            Message::Report(_) => return false,
            // The time of another term than the followed one is not taken.
            Message::Probe(_) | Message::Time(_) => return false,
        };
        let doubts = station == self.config.station && self.is_leap(counter);
        if doubts {
            self.refuse(Doubt::TermLeap, Some(from));
            if let Message::Heartbeat(_) = message {
                self.forsake();
            }
        }
        doubts
    }

    /// Another leader is there, of a term that is not to be followed. If the own one is gone for good, it is as if this node had
    /// just been started: it hears who leads, and joins.
    pub(super) fn forsake(&mut self) {
        if let Role::Following(following) = &self.role
            && !matches!(following.duty, Duty::Solo(_))
            && following.quorum <= 1
            && self.latest.since(following.heard_at) >= following.patience()
        {
            tracing::debug!(term = %following.term, "its leader is gone for good, and another one is there");
            self.become_waiting(Some(self.config.station));
        }
    }

    /// Whether a heartbeat of the followed term is its newest; none if it is not believed.
    pub(super) fn weigh_number(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
    ) -> Option<News> {
        let Role::Following(following) = &mut self.role else {
            return None;
        };
        let known = following.number.zip(following.addr);
        let (number, quorum) = (beat.number, beat.succession.quorum);
        let doubt = match known {
            None if following.is_quorum_told && quorum != following.quorum => Some(Doubt::Quorum),
            None => None,
            Some((_, addr)) if from != addr => Some(Doubt::Sender),
            Some(_) if quorum != following.quorum => Some(Doubt::Quorum),
            Some(_) if following.beats.is_ahead(beat.sent_at_us, arrived, AHEAD) => {
                Some(Doubt::Clock)
            }
            Some((last, _)) if number <= last => {
                let late = last - number <= LATE_NUMBERS;
                (!late).then_some(Doubt::Number)
            }
            Some((last, _)) => {
                let waited = arrived.since(following.numbered_at);
                is_number_leap(last, number, waited).then_some(Doubt::Number)
            }
        };
        let Some(doubt) = doubt else {
            if known.is_some_and(|(last, _)| number <= last) {
                return Some(News::Late);
            }
            following.odd = None;
            following.numbered_at = arrived;
            return Some(News::Newest);
        };
        let this = Odd {
            number,
            quorum,
            from,
        };
        let agrees = following.odd.replace(this).is_some_and(|odd| {
            (odd.quorum, odd.from) == (quorum, from)
                && number > odd.number
                && !is_number_leap(odd.number, number, Duration::ZERO)
        });
        if agrees {
            following.odd = None;
            following.numbered_at = arrived;
            self.refused.may_have_moved = false;
            return Some(News::Newest);
        }
        self.refuse(doubt, Some(from));
        None
    }

    /// Whether a heartbeat of this term was heard before.
    pub(super) fn has_heard_beats_of(&self, term: Term) -> bool {
        matches!(&self.role, Role::Following(following) if following.number.is_some() && following.term == term)
    }

    /// Whether a frame can be on air: nobody is further ahead than so many horizons and what the time since allows.
    pub(super) fn can_be(&self, index: FrameIndex, horizons: u64, arrived: Instant) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let known = self.seen.top().max(following.highest());
        let silent = arrived.since(following.heard_at).as_millis() as u64 / 20;
        index.0 < FrameIndex::LIMIT / 2
            && known.is_none_or(|top| index <= top.plus(super::CUSHION_FRAMES * horizons + silent))
    }

    /// Whether the heartbeat before this one, which could not be either, agrees with it: this node was away for longer than it
    /// knows.
    pub(super) fn agrees_on_far(&mut self, last: FrameIndex) -> bool {
        let Role::Following(following) = &mut self.role else {
            return false;
        };
        let before = following.far.replace(last);
        before.is_some_and(|before| (1..=FAR_FRAMES).contains(&last.since(before)))
    }

    /// Whether a frame of the followed leader's comes long before the leader's other packets say that it is due. (If two in a row
    /// do, they are right: the first ones that were heard had been held back.)
    pub(super) fn is_early(&mut self, index: FrameIndex, slot: Slot, arrived: Instant) -> bool {
        let Role::Following(following) = &mut self.role else {
            return false;
        };
        let due = following.grid.clock().map(|clock| clock.local(slot));
        if due.is_none_or(|due| due <= arrived + EARLY) {
            following.early = None;
            return false;
        }
        let before = following.early.replace(index);
        let agrees = before.is_some_and(|before| (1..=5).contains(&index.since(before)));
        if agrees {
            following.early = None;
        }
        !agrees
    }

    /// Whether a frame that others send in the leader's place comes long before it is due, as far as that is known.
    pub(super) fn is_cover_early(&self, index: FrameIndex, arrived: Instant) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let due = self
            .programme
            .slot(index)
            .zip(following.grid.clock())
            .map(|(slot, clock)| clock.local(slot));
        due.is_some_and(|due| due > arrived + EARLY)
    }
}
