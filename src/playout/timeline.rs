//! What is the local time of an instant on the station clock?
//!
//! Every packet is a sample: "the station clock said S when this was sent, and it arrived at A". A − S is the clocks' offset
//! plus the delay of this packet, so the smallest of the last seconds is the best that one-way packets can tell: stalls of
//! sender, network or listener only make samples larger. It is a minimum over a *window*, because clocks drift apart: at
//! 500 ppm the minimum of 8 s is 4 ms old at worst, a tenth of the smallest buffer.
//!
//! A minimum believes whoever is earliest, and anybody can forge a packet of the future: it would make all that is held overdue at
//! once. So a second may bring the minimum down by a little only. What is earlier than that is believed when for a while
//! nothing else was heard: then the first samples were late ones, or this machine's clock stood still (a virtual machine was paused).
//!
//! Who has asked the leader what time it is knows better: its map of the station clock is free of what packets take to arrive, and
//! all who play by it play at the same instant. It is used as long as it fits to what arrives: packets come after they were sent,
//! and not much.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::{ClockMap, Instant, is_plausible};

/// Seconds with samples that the minimum is taken over.
const BUCKETS: usize = 8;
/// A bucket's length in microseconds.
const BUCKET_US: u64 = 1_000_000;
/// After a pause, older buckets still count (the first packets that are read after a stall are all late), but not when the
/// clocks have had this many buckets' time to drift apart.
const FORGET_AFTER: u64 = 60;

/// How much earlier than before samples can become within a second, in microseconds.
const STEP_US: i64 = 20_000;
/// The same for the first second: access points hold multicast back for up to three beacon intervals of 102 ms. Must be shorter
/// than the usual buffer (500 ms).
const FIRST_STEP_US: i64 = 300_000;
/// Samples that are earlier still are believed when they agree and there was no other for this long.
const BELIEVED_AFTER: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    number: u64,
    least_us: i64,
}

/// Samples that are too early and agree on how much.
#[derive(Clone, Copy, Debug)]
struct Leap {
    since: Instant,
    transit_us: i64,
}

/// The station clock in local time. See the module.
#[derive(Debug, Default)]
pub struct Timeline {
    buckets: VecDeque<Bucket>,
    offset_us: Option<i64>,
    map: Option<ClockMap>,
    last_transit_us: Option<i64>,
    jitter_us: f64,
    /// Samples earlier than this are not believed at once.
    floor_us: i64,
    floor_since: Instant,
    /// The first of those that were too early to believe, if no other was heard since.
    leap: Option<Leap>,
}

impl Timeline {
    /// A timeline that knows nothing.
    pub fn new() -> Timeline {
        Timeline::default()
    }

    /// Something that was sent at `station_us` on the station clock arrived at `arrived`.
    pub fn handle_sample(&mut self, station_us: u64, arrived: Instant) {
        let transit_us = arrived.micros_after(Instant::from_micros(station_us));
        let number = arrived.as_micros() / BUCKET_US;
        self.forget_before(number.saturating_sub(FORGET_AFTER));
        if !self.is_plausible(transit_us, arrived) {
            return;
        }
        self.measure_jitter(transit_us);
        match self.buckets.back_mut() {
            Some(bucket) if bucket.number >= number => {
                bucket.least_us = bucket.least_us.min(transit_us)
            }
            _ => {
                self.buckets.push_back(Bucket {
                    number,
                    least_us: transit_us,
                });
                if self.buckets.len() > BUCKETS {
                    self.buckets.pop_front();
                }
            }
        }
        self.offset_us = self.least_us();
    }

    fn forget_before(&mut self, number: u64) {
        let is_old = |bucket: &Bucket| bucket.number < number;
        while self.buckets.front().is_some_and(is_old) {
            self.buckets.pop_front();
        }
    }

    fn least_us(&self) -> Option<i64> {
        self.buckets.iter().map(|bucket| bucket.least_us).min()
    }

    /// Whether a sample is to be believed. See the module.
    fn is_plausible(&mut self, transit_us: i64, arrived: Instant) -> bool {
        let Some(least_us) = self.least_us() else {
            self.begin(transit_us, arrived);
            return true;
        };
        if arrived.since(self.floor_since) >= Duration::from_micros(BUCKET_US) {
            (self.floor_us, self.floor_since) = (least_us - STEP_US, arrived);
        }
        if transit_us >= self.floor_us {
            self.leap = None;
            return true;
        }
        let agrees = |leap: &Leap| leap.transit_us.abs_diff(transit_us) <= FIRST_STEP_US as u64;
        let leap = self.leap.filter(agrees).unwrap_or(Leap {
            since: arrived,
            transit_us,
        });
        self.leap = Some(leap);
        let is_believed = arrived.since(leap.since) >= BELIEVED_AFTER;
        if is_believed {
            self.buckets.clear();
            self.begin(transit_us, arrived);
        }
        is_believed
    }

    fn begin(&mut self, transit_us: i64, arrived: Instant) {
        (self.floor_us, self.floor_since) = (transit_us - FIRST_STEP_US, arrived);
        self.leap = None;
    }

    /// Interarrival jitter, RFC 3550 section 6.4.1, in microseconds.
    fn measure_jitter(&mut self, transit_us: i64) {
        if let Some(last) = self.last_transit_us.replace(transit_us) {
            let difference = transit_us.abs_diff(last) as f64;
            self.jitter_us += (difference - self.jitter_us) / 16.0;
        }
    }

    /// This is the station clock, as its leader says; none if that is not known.
    pub fn set_map(&mut self, map: Option<ClockMap>) {
        self.map = map;
    }

    /// When the station clock says `station_us`, in local time; `None` before the first sample.
    pub fn local(&self, station_us: u64) -> Option<Instant> {
        let arrives = Instant::from_micros(station_us).offset_by(self.offset_us?);
        let told = self.map.map(|map| map.local(station_us));
        let fits = |told: &Instant| is_plausible(arrives.micros_after(*told));
        told.filter(fits).or(Some(arrives))
    }

    /// What the station clock says at `at`, in microseconds; `None` before the first sample, and before the station was founded.
    pub fn station_us(&self, at: Instant) -> Option<u64> {
        let arrived_us = at.as_micros() as i64 - self.offset_us?;
        let told = self.map.map(|map| map.shown_us(at));
        let fits = |told: &i64| is_plausible(told.saturating_sub(arrived_us));
        u64::try_from(told.filter(fits).unwrap_or(arrived_us)).ok()
    }

    /// How much faster than the local clock the station's goes, in parts per million; 0 while that is not known.
    pub fn skew_ppm(&self) -> f64 {
        self.map.map_or(0.0, |map| map.skew_ppm())
    }

    /// Local clock minus station clock (with the smallest delay) in microseconds; `None` before the first sample.
    pub fn offset_us(&self) -> Option<i64> {
        self.offset_us
    }

    /// Interarrival jitter in microseconds.
    pub fn jitter_us(&self) -> u64 {
        self.jitter_us as u64
    }

    /// Forgets everything: another timeline begins.
    pub fn reset(&mut self) {
        *self = Timeline::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE_US: u64 = 1_000_000_000;

    /// Samples every 20 ms for `seconds`, with a local clock that is `ppm` fast and a delay of `delay(sample)`.
    fn run(timeline: &mut Timeline, seconds: u64, ppm: i64, delay: impl Fn(u64) -> u64) -> i64 {
        let mut worst = 0;
        for k in 0..seconds * 50 {
            let station_us = k * 20_000;
            let true_us =
                BASE_US + station_us.saturating_add_signed(station_us as i64 * ppm / 1_000_000);
            timeline.handle_sample(station_us, Instant::from_micros(true_us + delay(k)));
            let error = timeline
                .local(station_us)
                .unwrap()
                .micros_after(Instant::from_micros(true_us));
            if error.abs() > i64::abs(worst) {
                worst = error;
            }
        }
        worst
    }

    #[test]
    fn knows_nothing_before_the_first_sample() {
        let mut timeline = Timeline::new();
        assert_eq!(
            (
                timeline.local(5),
                timeline.offset_us(),
                timeline.jitter_us()
            ),
            (None, None, 0)
        );
        timeline.handle_sample(5, Instant::from_micros(105));
        assert_eq!(
            (timeline.local(20), timeline.offset_us()),
            (Some(Instant::from_micros(120)), Some(100))
        );
        timeline.reset();
        assert_eq!(timeline.local(5), None);
    }

    #[test]
    fn drift_of_500_ppm_costs_at_most_4_ms() {
        for ppm in [-500, 500] {
            let worst = run(&mut Timeline::new(), 600, ppm, |_| 0);
            assert!(worst.abs() <= 4_100, "{ppm} ppm: {worst} us");
        }
    }

    #[test]
    fn delayed_packets_do_not_move_the_timeline() {
        let worst = run(&mut Timeline::new(), 60, 0, |k| {
            if k % 10 == 0 {
                100
            } else {
                100 + (k * 7919) % 30_000
            }
        });
        assert_eq!(worst, 100);
    }

    #[test]
    fn what_is_read_late_after_a_stall_does_not_move_the_timeline() {
        let mut timeline = Timeline::new();
        run(&mut timeline, 10, 0, |_| 0);
        let after = Instant::from_micros(BASE_US + 25_000_000);
        for k in 500..1250 {
            timeline.handle_sample(k * 20_000, after);
            assert_eq!(timeline.offset_us(), Some(BASE_US as i64));
        }
    }

    #[test]
    fn after_minutes_of_nothing_only_new_samples_count() {
        let mut timeline = Timeline::new();
        run(&mut timeline, 10, 0, |_| 0);
        timeline.handle_sample(600_000_000, Instant::from_micros(BASE_US + 600_300_000));
        assert_eq!(timeline.offset_us(), Some(BASE_US as i64 + 300_000));
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut timeline = Timeline::new();
        run(&mut timeline, 60, 0, |k| (k % 2) * 1_000);
        assert!(
            (990..=1_000).contains(&timeline.jitter_us()),
            "{}",
            timeline.jitter_us()
        );
    }

    #[test]
    fn samples_from_the_future_move_nothing_as_long_as_the_others_are_heard() {
        for early_us in [30_000, 900_000, 500_000_000] {
            let mut timeline = Timeline::new();
            for k in 0..500 {
                let arrived = Instant::from_micros(BASE_US + k * 20_000);
                timeline.handle_sample(k * 20_000, arrived);
                if k > 50 {
                    (0..20).for_each(|_| timeline.handle_sample(k * 20_000 + early_us, arrived));
                }
                assert_eq!(timeline.offset_us(), Some(BASE_US as i64), "{early_us} us");
            }
        }
    }

    #[test]
    fn nobody_can_bring_the_timeline_down_by_more_than_20_ms_a_second() {
        let mut timeline = Timeline::new();
        run(&mut timeline, 10, 0, |_| 0);
        for k in 0..150 {
            let arrived = Instant::from_micros(BASE_US + 10_000_000 + k * 20_000);
            (1..100).for_each(|step| {
                timeline.handle_sample(10_000_000 + k * 20_000 + step * 19_000, arrived)
            });
            timeline.handle_sample(10_000_000 + k * 20_000, arrived);
        }
        let moved_us = BASE_US as i64 - timeline.offset_us().unwrap();
        assert!(moved_us <= 4 * STEP_US, "{moved_us} us in 3 s");
    }

    #[test]
    fn earlier_samples_are_believed_when_nothing_else_was_heard_for_300_ms() {
        for early_us in [300_001, 5_000_000, 500_000_000] {
            let mut timeline = Timeline::new();
            timeline.handle_sample(0, Instant::from_micros(BASE_US));
            let sample = |timeline: &mut Timeline, after_us| {
                timeline.handle_sample(
                    early_us + after_us,
                    Instant::from_micros(BASE_US + after_us),
                );
                timeline.offset_us().unwrap() - BASE_US as i64
            };
            for after_us in [20_000, 100_000, 319_999] {
                assert_eq!(sample(&mut timeline, after_us), 0);
            }
            assert_eq!(sample(&mut timeline, 320_000), -(early_us as i64));
        }
    }

    #[test]
    fn packets_that_an_access_point_held_back_at_first_are_forgotten_at_once() {
        let delay_us = |k| if k < 5 { 290_000 - k * 20_000 } else { 0 };
        let mut timeline = Timeline::new();
        run(&mut timeline, 1, 0, delay_us);
        assert_eq!(timeline.offset_us(), Some(BASE_US as i64));
    }
}
