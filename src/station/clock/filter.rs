//! How does another clock go, as seen from here?
//!
//! A probe is sent, answered, and comes back: four time stamps (RFC 5905, "on-wire protocol"). Half of the sum of both differences is
//! the offset of the other clock, if both ways took equally long; how far they may not have done so is half the round trip, of which
//! the part that never changes is the network's and the rest is queues. So of some probes in a row the one with the shortest round
//! trip is taken, and believed the less the longer that was against the shortest of late.
//!
//! What is taken goes through a Kalman filter with two states, offset and skew: a quartz has a rate of its own, up to 200 parts per million
//! from nominal, that hardly changes. A sample far from what is expected counts less (Huber, "Robust Estimation of a Location
//! Parameter", 1964), but is never refused: a gate that is shut once stays shut. Only what cannot be true is: the offset lies within half
//! a round trip of each sample. If some in a row say that it does not, a clock has jumped (a virtual machine stood still).

use std::collections::VecDeque;

use crate::time::Instant;

/// Standard deviation of a sample with the shortest round trip, in µs: what it takes to get on the wire and off it.
const LEAST_SIGMA_US: f64 = 3.0;
/// How much of what round trips usually are above the shortest one is a sample's standard deviation.
const USUAL: f64 = 0.5;
/// How much of what this one is above it.
const EXCESS: f64 = 1.0;
/// How much of the round trip, divided by the number of those that are known: of a few, the shortest one may be a long one.
const UNKNOWN: f64 = 0.5;
/// Round trips that count for the shortest one and the usual.
const REMEMBERED: usize = 64;
/// Change of the skew, in ppm² per second: a quartz that gets warm.
const SKEW_NOISE: f64 = 1e-3;
/// Change of the offset beside it, in µs² per second.
const OFFSET_NOISE: f64 = 0.05;
/// Standard deviation of the skew before anything is known, in ppm.
const FIRST_SKEW: f64 = 200.0;
/// Samples that are off in one direction again and again speak of another rate: NTP corrects a clock by up to 500 ppm. Their signs are
/// added up, and forgotten by this factor from sample to sample; beyond so much (after some dozen in a row) the rate may have changed by this,
/// in ppm. By chance that is once in an hour, and costs some µs.
const LEAN_KEPT: f64 = 0.8;
const LEANS: f64 = 4.6;
const CHANGED_PPM: f64 = 100.0;
/// No clock goes so much faster or slower than another one, in ppm.
const MAX_SKEW_PPM: f64 = 1_000.0;
/// Beyond so many standard deviations a sample counts less.
const HUBER: f64 = 1.5;
/// What is known may be so many standard deviations off.
const SURE: f64 = 3.0;
/// Uncertainty of the offset that a new leader adds, in µs: its clock is our clock's equal, and as good as its own filter was.
const NEW_LEADER_US: f64 = 1_000.0;

/// A probe and its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was sent, here.
    pub sent: Instant,
    /// When it arrived there, on the other clock, in µs.
    pub received_us: u64,
    /// When the answer was sent, on the other clock, in µs.
    pub replied_us: u64,
    /// When the answer arrived, here.
    pub heard: Instant,
    /// Standard deviation of the other clock's own rate, in ppm: who took over knows the rate of the one before it just so well.
    pub rate_sigma_ppm: f64,
}

impl Sample {
    /// The other clock less ours, in µs, at the middle of the round trip.
    fn offset_us(&self) -> f64 {
        let there = |theirs: u64, ours: Instant| theirs as f64 - ours.as_micros() as f64;
        (there(self.received_us, self.sent) + there(self.replied_us, self.heard)) / 2.0
    }

    /// The round trip without the time that it waited there, in µs; none if the stamps make no sense.
    pub fn round_trip_us(&self) -> Option<f64> {
        let away = self.heard.as_micros().checked_sub(self.sent.as_micros())?;
        let waited = self.replied_us.checked_sub(self.received_us)?;
        away.checked_sub(waited).map(|us| us as f64)
    }

    fn middle(&self) -> Instant {
        self.sent + self.heard.since(self.sent) / 2
    }
}

/// What is known of the other clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The other clock less ours, in µs.
    pub offset_us: f64,
    /// How much faster it goes, in parts per million.
    pub skew_ppm: f64,
    /// Standard deviation of the offset, in µs, as far as the filter can tell.
    pub sigma_us: f64,
    /// Standard deviation of the skew against the founder's clock, in ppm.
    pub skew_sigma_ppm: f64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    at: Instant,
    offset_us: f64,
    skew_ppm: f64,
    /// Covariances: of the offset, of both, of the skew.
    p: [f64; 3],
}

impl State {
    /// The same at another time, less sure.
    fn at(mut self, at: Instant) -> State {
        let dt = at.micros_after(self.at) as f64 / 1e6;
        let [offset, both, skew] = self.p;
        self.offset_us += self.skew_ppm * dt;
        let passed = dt.max(0.0);
        self.p = [
            offset
                + 2.0 * dt * both
                + dt * dt * skew
                + OFFSET_NOISE * passed
                + SKEW_NOISE * passed.powi(3) / 3.0,
            both + dt * skew + SKEW_NOISE * passed * passed / 2.0,
            skew + SKEW_NOISE * passed,
        ];
        self.at = at;
        self
    }
}

/// Offset and skew of another clock. See the module.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {
    state: Option<State>,
    round_trips_us: VecDeque<f64>,
    /// Of the other clock's own rate, in ppm; none before a new leader's first sample.
    rate_sigma_ppm: Option<f64>,
    /// How far samples were off lately, in one direction.
    lean: f64,
}

impl ClockFilter {
    /// The best of some probes; what makes no sense is ignored.
    pub fn handle_sample(&mut self, sample: &Sample) {
        let Some(round_trip_us) = sample.round_trip_us() else {
            return;
        };
        let offset_us = sample.offset_us();
        let variance = self.variance(round_trip_us);
        let Some(state) = self.state else {
            self.begin(sample, offset_us, variance);
            return;
        };
        let mut state = state.at(sample.middle());
        if self.rate_sigma_ppm.is_none() {
            // It goes on as fast as it thinks that the clock went.
            let sigma = sample.rate_sigma_ppm.min(FIRST_SKEW);
            state.p[2] += sigma * sigma;
        }
        self.rate_sigma_ppm = Some(sample.rate_sigma_ppm);
        let innovation = offset_us - state.offset_us;
        let sigma = (state.p[0] + variance).sqrt();
        self.lean = LEAN_KEPT * self.lean + innovation.signum();
        if self.lean.abs() > LEANS {
            self.lean = 0.0;
            state.p[2] += CHANGED_PPM * CHANGED_PPM;
        }
        let [offset, both, skew] = state.p;
        let expected = HUBER * sigma;
        let weight = (expected / innovation.abs()).min(1.0);
        let total = (offset + variance) / weight;
        let (gain, skew_gain) = (offset / total, both / total);
        state.offset_us += gain * innovation;
        state.skew_ppm =
            (state.skew_ppm + skew_gain * innovation).clamp(-MAX_SKEW_PPM, MAX_SKEW_PPM);
        state.p = [
            (1.0 - gain) * offset,
            (1.0 - gain) * both,
            skew - skew_gain * both,
        ];
        self.state = Some(state);
    }

    /// The other clock was this node's own until now.
    pub fn handle_known(
        &mut self,
        offset_us: f64,
        (skew_ppm, rate_sigma_ppm): (f64, f64),
        at: Instant,
    ) {
        (self.rate_sigma_ppm, self.lean) = (Some(rate_sigma_ppm), 0.0);
        self.state = Some(State {
            at,
            offset_us,
            skew_ppm,
            p: [1.0, 0.0, SKEW_NOISE],
        });
    }

    /// Begins with a sample: the clock was not known, or has jumped. Its rate is what it was, or it was that which has changed: clocks
    /// that NTP corrects go up to 500 ppm faster or slower for a while, and without a new rate they would jump again and again.
    fn begin(&mut self, sample: &Sample, offset_us: f64, variance: f64) {
        let skew_ppm = self.state.map_or(0.0, |state| state.skew_ppm);
        (self.rate_sigma_ppm, self.lean) = (Some(sample.rate_sigma_ppm), 0.0);
        self.state = Some(State {
            at: sample.middle(),
            offset_us,
            skew_ppm,
            p: [variance, 0.0, FIRST_SKEW * FIRST_SKEW],
        });
    }

    /// The clock has jumped: what was known of the offset does not hold any more.
    pub fn handle_jump(&mut self, sample: &Sample) {
        if let Some(round_trip_us) = sample.round_trip_us() {
            let variance = self.variance(round_trip_us);
            self.begin(sample, sample.offset_us(), variance);
        }
    }

    /// How far a sample is from what is known, in µs, if both cannot be true: the offset lies within half of its round trip. Positive: the
    /// other clock is ahead.
    pub fn contradiction_us(&self, sample: &Sample) -> Option<f64> {
        let known = self.estimate(sample.middle())?;
        let off_us = sample.offset_us() - known.offset_us;
        let may_be = sample.round_trip_us()? / 2.0 + SURE * known.sigma_us;
        (off_us.abs() > may_be).then_some(off_us)
    }

    /// The clock is now another's that went on with it.
    pub fn handle_new_leader(&mut self) {
        self.round_trips_us.clear();
        self.rate_sigma_ppm = None;
        if let Some(state) = &mut self.state {
            state.p[0] += NEW_LEADER_US * NEW_LEADER_US;
        }
    }

    /// What the other clock is at `now`; none before the first sample.
    pub fn estimate(&self, now: Instant) -> Option<Estimate> {
        let state = self.state?.at(now);
        Some(Estimate {
            offset_us: state.offset_us,
            skew_ppm: state.skew_ppm,
            sigma_us: state.p[0].sqrt(),
            skew_sigma_ppm: state.p[2].sqrt().hypot(self.rate_sigma_ppm.unwrap_or(0.0)),
        })
    }

    /// Of a sample with this round trip, in µs².
    fn variance(&mut self, round_trip_us: f64) -> f64 {
        self.round_trips_us.push_back(round_trip_us);
        if self.round_trips_us.len() > REMEMBERED {
            self.round_trips_us.pop_front();
        }
        let mut sorted: Vec<f64> = self.round_trips_us.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, usual) = (sorted[0], sorted[sorted.len() / 2]);
        let sigma = LEAST_SIGMA_US
            + USUAL * (usual - least)
            + EXCESS * (round_trip_us - least)
            + UNKNOWN * round_trip_us / sorted.len() as f64;
        sigma * sigma
    }
}
