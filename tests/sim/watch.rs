//! What is noted of each host, beside what its node knows itself, so that invariants do not trust the code under test.

use std::collections::BTreeMap;

use lanradio::wire::ids::ShortTerm;
use lanradio::wire::{FrameIndex, StationId};

/// Gaps shorter than this do not end a stretch of progress.
const STRETCH_GAP_US: u64 = 100_000;

/// One process start's notes; times are true times.
#[derive(Default)]
pub(crate) struct Watch {
    /// The highest term that it followed or led in, by station.
    pub(crate) terms: BTreeMap<StationId, ShortTerm>,
    /// The leader's own media: whose, the highest index, when, and since when without a long gap.
    pub(crate) progress: Option<Progress>,
    /// Media of a higher term than the followed one, from its leader itself: since when, how many, when last.
    pub(crate) ignored: Option<(ShortTerm, u64, u32, u64)>,
    /// When it went on after standing still for long enough to be noticed.
    pub(crate) resumed_at: Option<u64>,
    /// When it last stood still, or its clock was set.
    pub(crate) disturbed_at: Option<u64>,
    /// Its newest questions: attempt and time.
    pub(crate) pre_vote: Option<(u32, u64)>,
    pub(crate) vote: Option<(u32, u64)>,
    /// Voters that must refuse its attempt: attempt and voter.
    pub(crate) must_refuse: Vec<(u32, usize)>,
    /// Refusals of those that were delivered: attempt and time.
    pub(crate) refused: Vec<(u32, u64)>,
    /// It goes on alone.
    pub(crate) is_solo: bool,
    pub(crate) stepped_down_at: Option<u64>,
    pub(crate) has_taken_over: bool,
    /// It has left for good.
    pub(crate) is_done: bool,
    /// The last frame that it sent to the media port as the leader of a term.
    pub(crate) sent: BTreeMap<(StationId, ShortTerm), FrameIndex>,
    /// When it last sent media as leader, or began to play as one.
    pub(crate) own_media_at: u64,
}

/// How the leader was heard.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) term: ShortTerm,
    pub(crate) top: FrameIndex,
    pub(crate) at_us: u64,
    pub(crate) since_us: u64,
}

impl Watch {
    /// The leader's own packet was delivered and read.
    pub(crate) fn hear_leader(&mut self, term: ShortTerm, index: FrameIndex, now_us: u64) {
        let fresh = Progress {
            term,
            top: index,
            at_us: now_us,
            since_us: now_us,
        };
        match &mut self.progress {
            Some(known) if known.term == term => {
                if index > known.top {
                    if now_us - known.at_us > STRETCH_GAP_US {
                        known.since_us = now_us;
                    }
                    (known.top, known.at_us) = (index, now_us);
                }
            }
            Some(known) if known.term > term => {}
            known => *known = Some(fresh),
        }
    }

    /// Whether it has heard this leader without a break for so long, to this moment.
    pub(crate) fn has_heard(&self, term: ShortTerm, for_us: u64, now_us: u64) -> bool {
        self.progress.is_some_and(|known| {
            known.term == term
                && known.at_us + STRETCH_GAP_US >= now_us
                && known.since_us + for_us <= now_us
        })
    }
}
