//! Which frames are missing, and what if one comes by another way than the stream?
//!
//! A frame is missing that was on air and is not here, as long as it can still be played. That it was on air is known from later
//! ones, from the leader's heartbeats, and from the station clock: what is long overdue is missing even if nothing else
//! comes. Who tunes in misses all that has still to be played of what was on air before it came, and the frames that its decoder
//! needs before the first of them: with those it need not wait for its buffer to fill.
//!
//! A repair is no sign of a leader and tells no time: it is the sound of one frame. It is used where a frame is missing, if
//! it is of the followed leader, or of the same plan.

use super::*;
use crate::playout::evidence::Head;
use crate::playout::runs::Fit;
use crate::playout::store::{CAPACITY, Missing, Via};
use crate::wire::media::MediaPacket;
use crate::wire::{FRAME_MICROS, Slot};

/// A frame that has not come so long after it was due is not on its way any more, even if it had to be covered.
const OVERDUE_AFTER: Duration = Duration::from_millis(100);
/// Who tunes in leaves its questions this much time: what is due sooner is not waited for.
const TUNING_IN: Duration = Duration::from_millis(15);
/// What one heartbeat or packet tells of frames after this much of time that they are not due yet is not believed.
const AHEAD: Duration = Duration::from_millis(40);
/// Who tunes in begins when it has all but this part of what was on air, and all of the first frames: those would come too late.
const MAY_MISS: u64 = 8;
const FIRST_FRAMES: u64 = 4;

impl Player {
    /// The frames that are missing, in order.
    pub fn missing(&self, now: Instant) -> Vec<Missing> {
        let now = self.now.max(now);
        match self.phase {
            Phase::Playing { next } if !self.is_over(next) => {
                let from = next.max(self.first_in_time(now).unwrap_or(next));
                self.holes(from, from, now)
            }
            Phase::Joining { .. } if self.state.is_none_or(|state| state == State::Playing) => {
                let Some(first) = self.first_in_time(now + TUNING_IN) else {
                    return Vec::new();
                };
                let first = first.max(self.floor);
                let begin = self.runs.first_of(first).unwrap_or_default();
                let from = first.minus(PREROLL).max(begin).max(self.floor);
                self.holes(from, first, now)
            }
            _ => Vec::new(),
        }
    }

    /// Whether this packet is of a frame that is not here and can still be played.
    pub fn awaits(&self, packet: &MediaPacket<'_>) -> bool {
        let index = (self.numbering).index(packet.element.index_high, packet.seq);
        let is_undecided = self.next().is_none_or(|next| index >= next);
        packet.station == self.station() && is_undecided && !self.frames.contains(index)
    }

    /// A packet came by another way than the stream.
    ///
    /// # Errors
    /// Says why it is not used; it is counted already.
    pub fn handle_repair(
        &mut self,
        packet: &MediaPacket<'_>,
        via: Via,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        self.tick(now);
        let head = self
            .place(packet, arrived.min(self.now))
            .map(|head| Head { via, ..head });
        let result = head.and_then(|head| self.take_repair(head, packet.payload));
        self.reject(result)
    }

    /// The missing frames of those from `from` on that were on air; the ones before `first` are for the decoder alone.
    fn holes(&self, from: FrameIndex, first: FrameIndex, now: Instant) -> Vec<Missing> {
        let tunes_in = matches!(self.phase, Phase::Joining { .. }) && self.awaited.is_none();
        let overdue_after = OVERDUE_AFTER.min(self.wait() / 2);
        let overdue = self.index_at(now - overdue_after);
        let told = self.told_next.and_then(|next| next.0.checked_sub(1));
        let latest = self.high.max(overdue).max(told.map(FrameIndex));
        let (Some(latest), Some(due)) = (latest, self.index_at(now + AHEAD)) else {
            return Vec::new();
        };
        let usual = self.usual_delay();
        let is_missing = |index: FrameIndex| index >= from && !self.frames.contains(index);
        (from.0..=latest.min(due).0.min(from.0 + CAPACITY as u64))
            .map(FrameIndex)
            .filter(|index| is_missing(*index))
            .filter_map(|index| {
                let play_at = self.play_time(index.max(first))?;
                let due = play_at - self.wait();
                let late_at = due + usual;
                // Packets overtake each other one by one.
                let with_others = is_missing(index.plus(1)) || is_missing(index.minus(1));
                let is_lost = with_others && self.high > Some(index) && late_at <= now;
                let is_overdue = overdue.is_some_and(|overdue| index <= overdue);
                let at_once = tunes_in || is_lost || is_overdue;
                let missing = Missing {
                    index,
                    late_at,
                    play_at,
                    at_once,
                };
                (play_at > now).then_some(missing)
            })
            .collect()
    }

    /// How much later than the earliest ones frames usually come, as long as there is time left to ask for them.
    fn usual_delay(&self) -> Duration {
        // If all delays up to some limit are as likely, they differ by a third of that on average.
        let jitter = Duration::from_micros(self.jitter_us());
        (jitter * 3).min(self.wait() / 2)
    }

    /// Whether the last run has been played to its end.
    fn is_over(&self, next: FrameIndex) -> bool {
        self.runs.slot_past_end(next).is_some()
    }

    /// The frame that is due at `at`, or was the last one due before.
    fn index_at(&self, at: Instant) -> Option<FrameIndex> {
        let station_us = self.timeline.station_us(at)?;
        self.runs.index_at(Slot(station_us / FRAME_MICROS))
    }

    /// The first frame whose play time has not come at `at`.
    fn first_in_time(&self, at: Instant) -> Option<FrameIndex> {
        self.timeline.offset_us()?;
        let played = self.index_at(at - self.wait());
        // Before the first frame is played, that one is still in time.
        played.map_or_else(|| self.runs.begin(), |played| Some(played.plus(1)))
    }

    /// Where to begin if what was on air before was fetched: where the next frames are there, but for a few that may still come.
    pub(super) fn fetched_start(&self, low: FrameIndex) -> Option<FrameIndex> {
        let is_fetched = (self.frames.info(low)).is_some_and(|info| info.via != Via::Stream);
        let high = self.high.filter(|_| is_fetched)?;
        let first = self.first_in_time(self.now - FRAME)?.max(low);
        let (mut missing, mut in_a_row) = (0, 0);
        let mut start = first.max(high.plus(1));
        for index in (first.0..=high.0).rev().map(FrameIndex) {
            let held = self.frames.contains(index);
            (missing, in_a_row) = if held {
                (missing, in_a_row + 1)
            } else {
                (missing + 1, 0)
            };
            if missing * MAY_MISS > high.plus(1).since(index) {
                break;
            }
            if in_a_row >= FIRST_FRAMES {
                start = index;
            }
        }
        Some(start)
    }

    fn take_repair(&mut self, head: Head, payload: &[u8]) -> Result<(), Rejection> {
        let index = head.index;
        match self.phase {
            Phase::Joining { .. } | Phase::Playing { .. } => {}
            // It was asked for before the player went off air, or it is of a station that was never heard.
            Phase::Searching | Phase::OffAir { .. } | Phase::Finished => return Ok(()),
        }
        if index < self.floor {
            return Err(Rejection::TooOld(index));
        }
        let fit = self.runs.fit(index, head.idle, head.marker);
        if fit == Fit::Unknown || self.is_early(head.slot(), head.arrived) {
            return Err(Rejection::Timestamp(index));
        }
        if !self.in_window(index) {
            return Err(Rejection::TooFar(index));
        }
        if !self.terms.is_of_followed(head.term, head.plan) {
            return Err(Rejection::StaleTerm);
        }
        self.keep(head, payload)
    }
}
