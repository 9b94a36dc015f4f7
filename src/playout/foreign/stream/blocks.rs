//! What goes into the next block: packets whose time has come, and what is made up where there is none.

use super::*;
use crate::playout::adaptive::PATIENCE;

/// How fast the play-out follows the timeline: 1,000 ppm, twice what clocks differ by, and no step that is heard.
const SLEW_US: i64 = 20;
/// Timestamps may step without a hole in the sound at most this often, in samples: else a sender could run ahead of time.
const STEP_EVERY: u64 = 48_000;

impl Stream {
    /// The next thing to do now.
    pub(in super::super) fn poll(
        &mut self,
        now: Instant,
        statistics: &mut Statistics,
    ) -> Option<Step> {
        self.give_up_missing(now, statistics);
        if self.phase == Phase::Joining {
            return self.join(now);
        }
        if !self.filling {
            let is_due = self.ending == Ending::Replaced || self.block_filled_at() <= now;
            if !is_due || self.has_nothing_to_do(now) {
                if let Some(adaptive) = self.adaptive.as_mut().filter(|_| is_due) {
                    adaptive.handle_rest();
                }
                return None;
            }
            self.pace();
            self.filling = true;
        }
        if self.queued >= BLOCK {
            self.filling = false;
            return Some(self.block(statistics));
        }
        self.fill(now, statistics)
    }

    fn join(&mut self, now: Instant) -> Option<Step> {
        let replaced = self.ending == Ending::Replaced;
        self.settle(now);
        if !replaced && self.begins_at().is_none_or(|at| at > now) {
            return None;
        }
        let (seq, first) = self.held.first_key_value()?;
        (self.cursor, self.last) = (first.start, (seq - 1, 0));
        self.offset_us = self.timeline.offset_us().unwrap_or(self.offset_us);
        self.phase = Phase::Playing;
        Some(Step::Begin)
    }

    /// When the next block's first sample is played.
    pub(super) fn block_due(&self) -> Instant {
        let start = stream_us(self.cursor - self.queued);
        Instant::from_micros(start).offset_by(self.offset_us) + self.buffer()
    }

    /// When the next block is filled: with a buffer that adapts, what is missing of it is waited for a little.
    pub(super) fn block_filled_at(&self) -> Instant {
        let waits = self.adaptive.is_some() && self.ending == Ending::No && !self.is_whole();
        let patience = if waits { PATIENCE } else { Duration::ZERO };
        self.block_due() + patience
    }

    /// Whether all packets of the next block are here.
    fn is_whole(&self) -> bool {
        let end = self.held.values().try_fold(self.cursor, |end, held| {
            let is_needed = held.start <= end && end < self.cursor + BLOCK - self.queued;
            is_needed
                .then(|| end.max(held.start + u64::from(held.samples)))
                .ok_or(end)
        });
        end.unwrap_or_else(|end| end) + self.queued >= self.cursor + BLOCK
    }

    fn pace(&mut self) {
        let target = self.timeline.offset_us().unwrap_or(self.offset_us);
        self.offset_us += (target - self.offset_us).clamp(-SLEW_US, SLEW_US);
    }

    pub(super) fn has_nothing_to_do(&self, now: Instant) -> bool {
        let is_over = self.ending != Ending::No && self.is_drained();
        !self.filling && (is_over || self.phase == Phase::Finished || self.stands_still(now))
    }

    /// Silence that may have no end is not handed out.
    pub(in super::super) fn stands_still(&self, now: Instant) -> bool {
        self.hole >= SILENT_AFTER * BLOCK
            && self.held.is_empty()
            && now.since(self.heard_at) >= STILL_AFTER
    }

    /// The next piece of a block that is not whole.
    fn fill(&mut self, now: Instant, statistics: &mut Statistics) -> Option<Step> {
        let room = BLOCK - self.queued;
        while let Some((seq, next)) = self.held.first_key_value() {
            let gap = next.start.saturating_sub(self.cursor);
            if gap > 0 && !self.is_step(*seq, next.start) {
                return Some(self.conceal(gap.min(room)));
            }
            if let Some(step) = self.decode(now, statistics) {
                return Some(step);
            }
        }
        if self.ending == Ending::No {
            return Some(self.conceal(room));
        }
        self.append(room, Kind::Sound);
        let samples = room as u32;
        Some(Step::Pad { samples })
    }

    /// Whether the packet after the last one has a timestamp that is off by less than it would be after a pause: the sender's
    /// clock made a step (GStreamer's does at the start), its sound did not.
    fn is_step(&self, seq: u64, start: u64) -> bool {
        let off = start.abs_diff(self.cursor);
        let is_pause = start > self.cursor
            && off >= self.last.1
            && off.is_multiple_of(crate::wire::opus::GRAIN_SAMPLES.into());
        let is_rare = self
            .stepped_at
            .is_none_or(|at| start.saturating_sub(at) >= STEP_EVERY);
        seq == self.last.0 + 1
            && self.hole == 0
            && self.last.1 > 0
            && off > 0
            && off < BLOCK
            && !is_pause
            && is_rare
    }

    /// Decodes the next packet; nothing, if it has no sound that was not played.
    fn decode(&mut self, now: Instant, statistics: &mut Statistics) -> Option<Step> {
        let (seq, held) = self.held.pop_first()?;
        self.held_bytes -= held.payload.len();
        let samples = u64::from(held.samples);
        let mut skip = self.cursor.saturating_sub(held.start);
        if self.is_step(seq, held.start) {
            (self.stepped_at, skip) = (Some(held.start), 0);
        }
        self.skip_to(seq, now, statistics);
        statistics.loss_bursts.handle_frame(true);
        self.last = (seq, samples);
        if skip >= samples {
            statistics.reject("timestamp");
            return None;
        }
        self.append(samples - skip, Kind::Sound);
        (self.cursor, self.hole) = (held.start + samples, 0);
        Some(Step::Decode {
            payload: held.payload,
            samples: held.samples,
            skip: skip as u32,
        })
    }

    /// Makes up to `samples` samples up, at most to where the fade bends.
    fn conceal(&mut self, samples: u64) -> Step {
        let samples = samples.min(BLOCK - self.hole % BLOCK);
        let concealment = Concealment::within(self.hole, samples);
        let kind = match concealment {
            Concealment::Silence => Kind::Silence,
            Concealment::Extrapolate { .. } => Kind::MadeUp,
        };
        self.append(samples, kind);
        self.hole += samples;
        let samples = samples as u32;
        Step::Conceal {
            samples,
            concealment,
        }
    }

    fn append(&mut self, samples: u64, kind: Kind) {
        self.pieces.push_back((samples, kind));
        self.queued += samples;
        self.cursor += samples;
    }

    /// Takes a whole block off and counts it: as concealed, if any of it was made up.
    fn block(&mut self, statistics: &mut Statistics) -> Step {
        let due = self.block_due();
        let (mut left, mut made_up, mut silence) = (BLOCK, false, true);
        while let Some((samples, kind)) = self.pieces.front_mut().filter(|_| left > 0) {
            made_up |= *kind != Kind::Sound;
            silence &= *kind == Kind::Silence;
            let taken = left.min(*samples);
            *samples -= taken;
            left -= taken;
            if *samples == 0 {
                self.pieces.pop_front();
            }
        }
        self.queued -= BLOCK;
        if made_up {
            statistics.concealed += 1;
        } else {
            statistics.received += 1;
            if let Some(adaptive) = &mut self.adaptive {
                adaptive.handle_played();
            }
        }
        Step::Block { due, silence }
    }

    fn give_up_missing(&mut self, now: Instant, statistics: &mut Statistics) {
        while self.missing.front().is_some_and(|(_, at)| *at <= now) {
            self.missing.pop_front();
            statistics.lost += 1;
        }
    }
}
