//! What does a leader know, from the first frame of its term to the last?

use std::time::Duration;

use super::agreeing::Lease;
use super::handing_over::Leaving;
use super::merging::Contact;
use crate::station::clock::StationClock;
use crate::time::Instant;
use crate::wire::control::Heartbeat;
use crate::wire::{FrameIndex, Slot, StationId, Term};

/// Two heartbeats that are at least this far apart say that a station is there: 100 ms, less what delays may differ by.
const TWICE_WITHIN: Duration = Duration::from_millis(80);
/// A station that was heard once, and then not again for so long, is not there.
const ELDER_FORGOTTEN: Duration = Duration::from_millis(500);
/// For how long a station is young.
const YOUNG: Duration = Duration::from_secs(2);

/// What a leader knows from the founding to the end.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub(super) term: Term,
    /// The term's first frame.
    pub(super) first: FrameIndex,
    /// When it began to lead; for a founder, when the station was founded.
    pub(super) founded_at: Instant,
    /// The station was founded by this node in this term: it may yield to another one while it is young.
    pub(super) is_founder: bool,
    pub(super) clock: StationClock,
    /// Of the last heartbeat.
    pub(super) number: u64,
    /// With a quorum: until when it may speak.
    pub(super) lease: Lease,
    /// When the next heartbeat is due.
    pub(super) beat_due: Slot,
    /// With which frame the next sender report goes out.
    pub(super) report_due: Slot,
    /// Something of the programme was encoded by a node that is gone, and copied by nobody.
    pub(super) lost: bool,
    /// It is about to leave.
    pub(super) leaving: Option<Leaving>,
    /// From here on frames are sent though they have been on air.
    pub(super) again_from: Option<FrameIndex>,
    /// Another leader of this station was heard.
    pub(super) contact: Option<Contact>,
    /// Another station to which this one would yield, if it is heard once more.
    pub(super) elder: Option<Elder>,
    /// A cover that was ahead of what is due, and when it came.
    pub(super) covered_ahead: Option<(FrameIndex, Instant)>,
    /// When it last went on in a higher term.
    pub(super) raised_at: Option<Instant>,
}

/// A station that was heard once while this one was young. One heartbeat is soon forged, or comes from a leader that was just
/// killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elder {
    station: StationId,
    number: u64,
    heard_at: Instant,
}

impl Lead {
    /// Whether another station was heard twice, nearly a heartbeat's time apart: then it is there.
    pub(super) fn is_there(&mut self, beat: &Heartbeat, arrived: Instant) -> bool {
        let known = (self.elder).filter(|elder| arrived.since(elder.heard_at) <= ELDER_FORGOTTEN);
        let first = *self.elder.insert(known.unwrap_or(Elder {
            station: beat.station,
            number: beat.number,
            heard_at: arrived,
        }));
        first.station == beat.station
            && beat.number > first.number
            && arrived.since(first.heard_at) >= TWICE_WITHIN
    }

    /// Whether this station is young, or has heard another one while it was.
    pub(super) fn may_yield(&self, now: Instant) -> bool {
        let heard = self.elder.map(|elder| elder.heard_at);
        self.is_young(now) || heard.is_some_and(|at| now.since(at) <= ELDER_FORGOTTEN)
    }

    /// An office that begins now, with frame `first`.
    pub(super) fn new(
        term: Term,
        first: FrameIndex,
        clock: StationClock,
        lease: Lease,
        now: Instant,
    ) -> Lead {
        let slot = clock.slot(now);
        Lead {
            term,
            first,
            founded_at: now,
            is_founder: false,
            clock,
            number: 0,
            lease,
            beat_due: slot,
            report_due: slot,
            lost: false,
            leaving: None,
            again_from: None,
            contact: None,
            elder: None,
            covered_ahead: None,
            raised_at: None,
        }
    }

    /// Whether the station is so new that it yields to an older one.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        self.is_founder && now.since(self.founded_at) < YOUNG
    }
}
