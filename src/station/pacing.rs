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
        Pacer {
            clock,
            run,
            next: run.first,
            burst,
        }
    }

    /// The pace of a run that others have begun, from frame `next` on.
    pub fn resume(clock: StationClock, run: RunInfo, buffer: Duration, next: FrameIndex) -> Pacer {
        let mut pacer = Pacer::new(clock, run, buffer);
        pacer.next = next.max(run.first);
        pacer
    }

    /// The run's first frame.
    pub fn first(&self) -> FrameIndex {
        self.run.first
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

    /// The last `frames` are to be sent again.
    pub fn step_back(&mut self, frames: u64) {
        self.next = self.next.minus(frames).max(self.run.first);
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

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: Duration = Duration::from_millis(500);

    fn pacer() -> Pacer {
        let clock = StationClock::new(Instant::from_micros(7_000_003), 0);
        let run = RunInfo {
            first: FrameIndex(100),
            starts_at: Slot(400),
            end: None,
        };
        Pacer::new(clock, run, BUFFER)
    }

    #[test]
    fn a_frame_is_due_at_its_time_and_not_a_microsecond_before() {
        let pacer = pacer();
        let at = pacer.poll_timeout();
        assert_eq!(at, Instant::from_micros(7_000_003 + 400 * 20_000));
        assert!(pacer.due(at - Duration::from_micros(1)).is_empty());
        assert_eq!(pacer.due(at), FrameIndex(100)..FrameIndex(101));
    }

    #[test]
    fn after_a_stall_at_most_a_buffer_goes_out_and_always_the_frame_now_due() {
        // how late the wake is, and which frames go out, counted from the run's first
        for (late_ms, due) in [
            (0, 0..1),
            (19, 0..1),
            (20, 0..2),
            (479, 0..24),
            (480, 0..25),
            (499, 0..25),
            (500, 1..26),
            (1_000, 26..51),
            (600_000, 29_976..30_001),
        ] {
            let pacer = pacer();
            let now = pacer.poll_timeout() + Duration::from_millis(late_ms);
            let expected = FrameIndex(100 + due.start)..FrameIndex(100 + due.end);
            assert_eq!(pacer.due(now), expected, "{late_ms} ms late");
        }
    }

    #[test]
    fn a_buffer_below_one_frame_still_sends_the_frame_now_due() {
        let mut pacer = pacer();
        pacer.burst = 1;
        let now = pacer.poll_timeout() + Duration::from_secs(1);
        assert_eq!(pacer.due(now), FrameIndex(150)..FrameIndex(151));
    }

    #[test]
    fn late_wakes_do_not_add_up_over_ten_hours() {
        let mut pacer = pacer();
        let start = pacer.poll_timeout();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut sent = 0;
        while sent < 10 * 3_600 * 50 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // mostly up to 2 ms late, once in 256 up to 170 ms
            let late_us = random % if random >> 56 == 0 { 170_000 } else { 2_000 };
            let now = pacer.poll_timeout() + Duration::from_micros(late_us);
            let due = pacer.due(now);
            assert_eq!(due.start, pacer.next(), "nothing is skipped");
            for n in due.start.0..due.end.0 {
                let ideal = start + FRAME * u32::try_from(n - 100).unwrap();
                let error_us = now.micros_after(ideal);
                assert!((0..170_000).contains(&error_us), "frame {n}: {error_us} µs");
                sent += 1;
            }
            pacer.advance(due.end);
        }
        let elapsed = pacer.poll_timeout().since(start);
        assert_eq!(
            elapsed,
            FRAME * sent,
            "the grid has not moved by a microsecond"
        );
    }
}
