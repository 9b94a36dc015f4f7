//! When is a packet that fits nowhere to be believed? When two more agree with it.
//!
//! A station that was never heard, an index beyond the window, a timestamp of another run: any single packet may be garbage.
//! Three in a row that are neighbours of each other with the same idle time are a station that knows where it is (DESIGN 5).

use super::store::Via;
use crate::time::Instant;
use crate::wire::FrameIndex;
use crate::wire::Slot;
use crate::wire::ids::{PlanDigest, ShortTerm};
use crate::wire::media::Flags;

/// Packets that must agree.
const NEEDED: usize = 3;
/// Neighbours are less than this many frames apart: loss and reordering happen at a start, too.
const NEAR: u64 = 16;

/// A media packet without its payload, placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) index: FrameIndex,
    /// Idle frames before it.
    pub(super) idle: u64,
    pub(super) marker: bool,
    pub(super) term: ShortTerm,
    pub(super) plan: PlanDigest,
    pub(super) flags: Flags,
    pub(super) arrived: Instant,
    pub(super) via: Via,
}

impl Head {
    /// Where it stands in time.
    pub(super) fn slot(&self) -> Slot {
        Slot(self.index.0 + self.idle)
    }
}

/// A packet put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) head: Head,
    pub(super) payload: Vec<u8>,
}

/// The last packets that fitted nowhere, as long as they agree.
#[derive(Debug, Default)]
pub(super) struct Evidence(Vec<Held>);

impl Evidence {
    /// One more packet that fits nowhere; all of them, by index, once enough agree.
    pub(super) fn add(&mut self, head: Head, payload: &[u8]) -> Option<Vec<Held>> {
        let is_copy = |other: &Held| (other.head.index, other.head.idle) == (head.index, head.idle);
        if self.0.iter().any(is_copy) {
            return None; // proves nothing, neither for nor against
        }
        let agrees = |other: &Held| {
            let distance = other.head.index.0.abs_diff(head.index.0);
            other.head.idle == head.idle && distance > 0 && distance < NEAR
        };
        if !self.0.iter().all(agrees) {
            self.0.clear();
        }
        self.0.push(Held {
            head,
            payload: payload.to_vec(),
        });
        (self.0.len() == NEEDED).then(|| self.take())
    }

    /// What was put aside, by index.
    pub(super) fn take(&mut self) -> Vec<Held> {
        let mut held = std::mem::take(&mut self.0);
        held.sort_by_key(|held| held.head.index);
        held
    }

    /// What was put aside before has been decided meanwhile: it proves nothing any more.
    pub(super) fn forget_before(&mut self, undecided: FrameIndex) {
        self.0.retain(|held| held.head.index >= undecided);
    }

    /// How many packets agree so far.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// A packet fitted: the ones in between were garbage.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
