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
use crate::time::{ClockMap, Instant};

/// From probe to probe, at first.
const FIRST_EVERY: Duration = Duration::from_millis(100);
/// For how long the map follows the filter at once, and probes are sent so often.
const ACQUIRING: Duration = Duration::from_secs(3);
/// From probe to probe later.
const EVERY: Duration = Duration::from_millis(200);
/// All nodes together send no more than one probe in this time, but for those that have just come.
const EVERY_FOR_EACH: Duration = Duration::from_millis(40);
/// From probe to probe while answers say that what is known cannot be; all nodes together ask so many times more often than otherwise.
const CHECKING_EVERY: Duration = Duration::from_millis(50);
const CHECKING_MORE: u32 = 8;
/// So many of them in a row are right: this node's clock has jumped. If it is the leader's, most who ask see it, and the leader has
/// noticed before.
const JUMPED: u32 = 8;
/// Of so many answers, or of all in this time, the best one counts; but the first ones all do.
const BEST_OF: u32 = 4;
const BEST_WITHIN: Duration = Duration::from_secs(1);
const ALL_OF: u32 = 2;
/// Probes whose answers may still come.
const MAX_ASKED: usize = 16;
/// The map turns by no more than this, in parts per million.
const SLEW_PPM: f64 = 300.0;
/// It would be right after this time, in seconds, if it is not that far off.
const SLEW_S: f64 = 4.0;
/// Standard deviation of the offset beyond which a clock is not known well enough to lead with, in µs (PROTOCOL, "HEIRS").
const SURE_US: f64 = 5_000.0;
/// How far two machines' clocks usually are apart, in ppm.
const USUAL_SKEW_PPM: f64 = 60.0;
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

    fn clock(self) -> StationClock {
        let station_us = self.at.as_micros() as f64 + self.offset_us;
        StationClock::of(ClockMap::new(self.at, station_us, self.skew_ppm))
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
    /// From probe to probe, at least: so that all nodes together do not ask too often.
    share: Duration,
    asked: VecDeque<(u64, Instant)>,
    /// Answers since the beginning, and since the last one that was taken.
    answers: u32,
    in_bin: u32,
    bin_since: Option<Instant>,
    best: Option<(f64, Sample)>,
    /// So many answers in a row say that what is known cannot be, and the last of them how far it is off, in µs.
    contradictions: u32,
    contradiction_us: f64,
    /// It is the leader's clock that has jumped.
    doubted: bool,
    /// Of this node's own rate, when it leads; the founder's is the clock's.
    rate_sigma_ppm: f64,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// When the probe came, in µs on the station clock.
    pub received_us: u64,
    /// When the answer left.
    pub replied_us: u64,
    /// Standard deviation of the leader's own rate, in ppm.
    pub rate_sigma_ppm: f64,
    /// Most who ask it say that its clock has jumped.
    pub doubted: bool,
}

impl Sync {
    /// Somebody leads, another one than before: it is asked at once.
    pub fn handle_leader(&mut self, now: Instant) {
        self.filter.handle_new_leader();
        (self.contradictions, self.doubted) = (0, false);
        self.asked.clear();
        (self.in_bin, self.best) = (0, None);
        self.probe_at = Some(now);
        self.began.get_or_insert(now);
    }

    /// This node leads, and this is the clock.
    pub fn handle_own(&mut self, clock: StationClock, now: Instant) {
        let offset_us = clock.map().shown_us(now) as f64 - now.as_micros() as f64;
        let skew_ppm = clock.map().skew_ppm();
        let rate = (skew_ppm, self.rate_sigma_ppm);
        (self.contradictions, self.doubted) = (0, false);
        self.filter.handle_known(offset_us, rate, now);
        self.map = Some(Map {
            at: now,
            offset_us,
            skew_ppm,
        });
    }

    /// Nobody leads: nobody is asked, and the map goes on as fast as the clock is known to go.
    pub fn handle_nobody(&mut self, now: Instant) {
        if self.probe_at.take().is_some() {
            self.asked.clear();
            self.map = self.frozen(now);
        }
    }

    /// When a probe is to be sent next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.probe_at
    }

    /// From probe to probe in a station of so many `nodes`, at least.
    pub fn share(nodes: usize) -> Duration {
        EVERY_FOR_EACH.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX))
    }

    /// Time has come. Whether a probe of this `number` (one that nobody can guess) is to be sent, in a station of so many `nodes`.
    pub fn handle_timeout(&mut self, number: u64, nodes: usize, now: Instant) -> bool {
        self.turn(now);
        if self.probe_at.is_none_or(|at| at > now) {
            return false;
        }
        let every = match self.contradictions {
            0 if !self.is_acquiring(now) => EVERY,
            0 => FIRST_EVERY,
            _ => CHECKING_EVERY,
        };
        self.share = Sync::share(nodes);
        let share = match self.contradictions {
            _ if self.is_acquiring(now) => Duration::ZERO,
            0 => self.share,
            _ => self.share / CHECKING_MORE,
        };
        self.probe_at = Some(now + every.max(share));
        if self.asked.len() == MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((number, now));
        true
    }

    /// The answer to probe `number` has come. Whether it was asked for.
    pub fn handle_answer(&mut self, number: u64, answer: &Answer, heard: Instant) -> bool {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == number) else {
            return false;
        };
        let Some((_, sent)) = self.asked.remove(at) else {
            return false;
        };
        let sample = Sample {
            sent,
            received_us: answer.received_us,
            replied_us: answer.replied_us,
            heard,
            rate_sigma_ppm: answer.rate_sigma_ppm,
        };
        let Some(round_trip_us) = sample.round_trip_us() else {
            return true;
        };
        if let Some(off_us) = self.filter.contradiction_us(&sample) {
            self.doubted = answer.doubted;
            self.handle_contradiction(&sample, off_us);
            return true;
        }
        (self.contradictions, self.doubted) = (0, false);
        if self.best.is_none_or(|(best, _)| round_trip_us < best) {
            self.best = Some((round_trip_us, sample));
        }
        (self.in_bin, self.answers) = (self.in_bin + 1, self.answers.saturating_add(1));
        let since = *self.bin_since.get_or_insert(heard);
        let enough = if self.answers <= ALL_OF { 1 } else { BEST_OF };
        if (self.in_bin >= enough || heard.since(since) >= BEST_WITHIN)
            && let Some((_, best)) = self.best.take()
        {
            (self.in_bin, self.bin_since) = (0, Some(heard));
            self.filter.handle_sample(&best);
            self.turn(heard);
        }
        true
    }

    /// An answer says that what is known cannot be: it is asked again soon, and believed if others say so, too.
    fn handle_contradiction(&mut self, sample: &Sample, off_us: f64) {
        let heard = sample.heard;
        (self.in_bin, self.best) = (0, None);
        (self.contradictions, self.contradiction_us) =
            (self.contradictions.saturating_add(1), off_us);
        if self.contradictions >= JUMPED && !self.doubted {
            self.contradictions = 0;
            self.filter.handle_jump(sample);
            self.turn(heard);
        } else if let Some(at) = &mut self.probe_at {
            *at = (*at).min(heard + CHECKING_EVERY.max(self.share / CHECKING_MORE));
        }
    }

    /// What is known of the station clock: none before the first answer.
    pub fn estimate(&self, now: Instant) -> Option<Estimate> {
        let mut known = self.filter.estimate(now)?;
        if self.contradictions > 0 && !self.doubted {
            known.sigma_us = known.sigma_us.max(self.contradiction_us.abs());
        }
        Some(known)
    }

    /// The map to play by; none before the first answer.
    pub fn clock(&self) -> Option<StationClock> {
        self.map.map(Map::clock)
    }

    /// The map to lead with from `now` on: it shows what this node has played by, and does not turn any more. A rate that is hardly
    /// known is believed the less for it: leaders that follow each other fast must not lead each other astray.
    /// None if it is not known well enough to lead with; then nothing is known of the rate either.
    pub fn take_over(&mut self, now: Instant) -> Option<StationClock> {
        self.rate_sigma_ppm = USUAL_SKEW_PPM;
        if !self.is_sure(now) {
            return None;
        }
        let (mut map, sigma) = (self.frozen(now)?, self.estimate(now)?.skew_sigma_ppm);
        let belief = USUAL_SKEW_PPM.powi(2) / (USUAL_SKEW_PPM.powi(2) + sigma.powi(2));
        map.skew_ppm *= belief;
        self.rate_sigma_ppm = belief.sqrt() * sigma;
        Some(map.clock())
    }

    /// By how many µs the last answer was ahead of all that can be true, if what was known before is.
    pub fn apart_us(&self) -> Option<i64> {
        (self.contradictions > 0).then_some(self.contradiction_us as i64)
    }

    /// Whether it is the leader's clock that has jumped, and not this node's.
    pub fn is_leader_doubted(&self) -> bool {
        self.doubted
    }

    /// Whether the clock is known well enough to lead with.
    pub fn is_sure(&self, now: Instant) -> bool {
        self.estimate(now)
            .is_some_and(|known| known.sigma_us < SURE_US)
    }

    /// Whether it has been learned that well. Answers that contradict it do not change that: they may speak of the leader's clock, and
    /// then somebody has to be there to lead on.
    pub fn is_learned(&self, now: Instant) -> bool {
        self.filter
            .estimate(now)
            .is_some_and(|known| known.sigma_us < SURE_US)
    }

    /// Standard deviation of this leader's rate against the founder's, in ppm.
    pub fn rate_sigma_ppm(&self) -> f64 {
        self.rate_sigma_ppm
    }

    fn frozen(&self, now: Instant) -> Option<Map> {
        let (map, estimate) = (self.map?, self.estimate(now)?);
        Some(Map {
            at: now,
            offset_us: map.offset_us(now),
            skew_ppm: estimate.skew_ppm,
        })
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
