//! How does a node keep the station clock?
//!
//! It asks the leader what time it is, ten times a second at first and then more seldom, and gives the best of some answers to the
//! filter. What it then tells everybody who plays is a map that never steps: it turns towards what the filter knows by a rate that
//! nobody hears, and only what no rate can mend (a machine that stood still) is mended at once. In the first seconds, when
//! every answer still changes much, it follows at once: who has just begun to play is moved by the play-out's own servo.
//!
//! A new leader goes on with its own map, so the filter goes on, too; while nobody answers, the map keeps its rate (a fly-wheel).

use std::collections::VecDeque;
use std::time::Duration;

use super::StationClock;
use super::filter::{ClockFilter, Estimate, Sample};
use crate::time::Instant;

/// From probe to probe, at first.
const FIRST_EVERY: Duration = Duration::from_millis(100);
/// For how long the map follows the filter at once, and probes are sent so often.
const ACQUIRING: Duration = Duration::from_secs(3);
/// From probe to probe later.
const EVERY: Duration = Duration::from_millis(200);
/// All nodes together send no more than one probe in this time.
const EVERY_FOR_EACH: Duration = Duration::from_millis(10);
/// Of so many answers the best one counts; but the first ones all do.
const BEST_OF: u32 = 4;
const ALL_OF: u32 = 2;
/// Probes whose answers may still come.
const MAX_ASKED: usize = 16;
/// The map turns by no more than this, in parts per million.
const SLEW_PPM: f64 = 300.0;
/// It would be right after this time, in seconds, if it is not that far off.
const SLEW_S: f64 = 4.0;
/// What is more, in µs, is mended at once.
const STEP_US: f64 = 30_000.0;

/// The map that is told.
#[derive(Clone, Copy, Debug)]
struct Map {
    at: Instant,
    offset_us: f64,
    skew_ppm: f64,
}

impl Map {
    fn offset_us(&self, now: Instant) -> f64 {
        self.offset_us + self.skew_ppm * now.micros_after(self.at) as f64 / 1e6
    }
}

/// One node's view of the station clock. See the module.
#[derive(Clone, Debug, Default)]
pub struct Sync {
    filter: ClockFilter,
    map: Option<Map>,
    /// When the first probe of this station was sent.
    began: Option<Instant>,
    probe_at: Option<Instant>,
    asked: VecDeque<(u64, Instant)>,
    /// Answers since the beginning, and since the last one that was taken.
    answers: u32,
    in_bin: u32,
    best: Option<(f64, Sample)>,
}

impl Sync {
    /// Somebody leads, another one than before: it is asked at once.
    pub fn handle_leader(&mut self, now: Instant) {
        self.filter.handle_new_leader();
        self.asked.clear();
        (self.in_bin, self.best) = (0, None);
        self.probe_at = Some(now);
        self.began.get_or_insert(now);
    }

    /// Nobody leads, or this node does: nobody is asked, and the map stays.
    pub fn handle_nobody(&mut self) {
        self.probe_at = None;
        self.asked.clear();
    }

    /// When a probe is to be sent next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.probe_at
    }

    /// Time has come. Whether a probe of this `number` (one that nobody can guess) is to be sent, in a station of so many `nodes`.
    pub fn handle_timeout(&mut self, number: u64, nodes: usize, now: Instant) -> bool {
        self.turn(now);
        if self.probe_at.is_none_or(|at| at > now) {
            return false;
        }
        let every = if self.is_acquiring(now) {
            FIRST_EVERY
        } else {
            EVERY
        };
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        self.probe_at = Some(now + every.max(EVERY_FOR_EACH.saturating_mul(nodes)));
        if self.asked.len() == MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((number, now));
        true
    }

    /// The answer to probe `number`: it arrived at `received_us` there and the answer left at `replied_us`, on the station clock.
    /// Whether it was asked for.
    pub fn handle_answer(
        &mut self,
        number: u64,
        (received_us, replied_us): (u64, u64),
        heard: Instant,
    ) -> bool {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == number) else {
            return false;
        };
        let Some((_, sent)) = self.asked.remove(at) else {
            return false;
        };
        let sample = Sample {
            sent,
            received_us,
            replied_us,
            heard,
        };
        let Some(round_trip_us) = sample.round_trip_us() else {
            return true;
        };
        if self.best.is_none_or(|(best, _)| round_trip_us < best) {
            self.best = Some((round_trip_us, sample));
        }
        (self.in_bin, self.answers) = (self.in_bin + 1, self.answers.saturating_add(1));
        let enough = if self.answers <= ALL_OF { 1 } else { BEST_OF };
        if self.in_bin >= enough
            && let Some((_, best)) = self.best.take()
        {
            self.in_bin = 0;
            self.filter.handle_sample(&best);
            self.turn(heard);
        }
        true
    }

    /// What is known of the station clock: none before the first answer.
    pub fn estimate(&self, now: Instant) -> Option<Estimate> {
        self.filter.estimate(now)
    }

    /// The map to play by; none before the first answer.
    pub fn clock(&self) -> Option<StationClock> {
        let map = self.map?;
        let station_us = map.at.as_micros() as f64 + map.offset_us;
        Some(StationClock::with_skew(map.at, station_us, map.skew_ppm))
    }

    fn is_acquiring(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.since(began) < ACQUIRING)
    }

    /// Turns the map towards what the filter knows.
    fn turn(&mut self, now: Instant) {
        let Some(estimate) = self.filter.estimate(now) else {
            return;
        };
        let told_us = self.map.map(|map| map.offset_us(now));
        let off_us = told_us.map_or(f64::INFINITY, |told_us| estimate.offset_us - told_us);
        let (offset_us, slew_ppm) = match told_us {
            Some(told_us) if off_us.abs() <= STEP_US && !self.is_acquiring(now) => {
                (told_us, (off_us / SLEW_S).clamp(-SLEW_PPM, SLEW_PPM))
            }
            _ => (estimate.offset_us, 0.0),
        };
        self.map = Some(Map {
            at: now,
            offset_us,
            skew_ppm: estimate.skew_ppm + slew_ppm,
        });
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
