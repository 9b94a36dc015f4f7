//! What does a leader know, from the first frame of its term to the last?

use std::time::Duration;

use super::handing_over::Leaving;
use super::merging::Contact;
use crate::station::clock::StationClock;
use crate::time::Instant;
use crate::wire::{FrameIndex, Slot, Term};

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
    /// When it last went on in a higher term.
    pub(super) raised_at: Option<Instant>,
}

impl Lead {
    /// An office that begins now, with frame `first`.
    pub(super) fn new(term: Term, first: FrameIndex, clock: StationClock, now: Instant) -> Lead {
        let slot = clock.slot(now);
        Lead {
            term,
            first,
            founded_at: now,
            is_founder: false,
            clock,
            number: 0,
            beat_due: slot,
            report_due: slot,
            lost: false,
            leaving: None,
            again_from: None,
            contact: None,
            raised_at: None,
        }
    }

    /// Whether the station is so new that it yields to an older one.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        self.is_founder && now.since(self.founded_at) < YOUNG
    }
}
