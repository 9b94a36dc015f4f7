//! Which frames go out now?
//!
//! Deadlines are absolute: frame n of a run is due at a time that is computed from the run's start, never from the frame
//! before it, so late wake-ups do not add up. After a stall the missed frames go out at once and in order, but at most one
//! buffer's worth: listeners have played past the older ones, which are skipped so that the rest stays on the timeline.

use std::ops::Range;
use std::time::Duration;

use super::clock::StationClock;
use crate::time::Instant;
use crate::wire::control::RunInfo;
use crate::wire::{FRAME, FrameIndex, Slot};

/// The pace of one run.
#[derive(Clone, Debug)]
pub struct Pacer {
    clock: StationClock,
    run: RunInfo,
    next: FrameIndex,
    /// How many frames may go out at once.
    burst: u64,
}

impl Pacer {
    /// The pace of `run`, for a station with this buffer.
    pub fn new(clock: StationClock, run: RunInfo, buffer: Duration) -> Pacer {
        let burst = (buffer.as_micros() / FRAME.as_micros()).max(1) as u64;
        Pacer { clock, run, next: run.first, burst }
    }

    /// The next frame to send.
    pub fn next(&self) -> FrameIndex {
        self.next
    }

    /// The frames to send now, oldest first; empty before the next one is due. Those between [`Pacer::next`] and its start
    /// are too old to be of use.
    pub fn due(&self, now: Instant) -> Range<FrameIndex> {
        let now_slot = self.clock.slot(now);
        if now_slot < self.slot(self.next) {
            return self.next..self.next;
        }
        let end = self.run.first.plus(now_slot.0 - self.run.starts_at.0 + 1);
        self.next.max(end.minus(self.burst))..end
    }

    /// Everything before `next` was sent or skipped.
    pub fn advance(&mut self, next: FrameIndex) {
        debug_assert!(next >= self.next);
        self.next = next;
    }

    /// Where a frame of this run stands on the station clock.
    pub fn slot(&self, index: FrameIndex) -> Slot {
        Slot(self.run.starts_at.0 + index.since(self.run.first))
    }

    /// When the next frame is due.
    pub fn poll_timeout(&self) -> Instant {
        self.clock.local(self.slot(self.next))
    }
}
