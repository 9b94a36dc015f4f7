//! What is the local time of an instant on the station clock?
//!
//! Every packet is a sample: "the station clock said S when this was sent, and it arrived at A". A − S is the clocks' offset
//! plus the delay of this packet, so the smallest of the last seconds is the best that one-way packets can tell: stalls of
//! sender, network or listener only make samples larger. It is a minimum over a *window*, because clocks drift apart: at
//! 500 ppm the minimum of 8 s is 4 ms old at worst, a tenth of the smallest buffer.

use std::collections::VecDeque;

use crate::time::Instant;

/// Seconds with samples that the minimum is taken over.
const BUCKETS: usize = 8;
/// A bucket's length in microseconds.
const BUCKET_US: u64 = 1_000_000;
/// After a pause, older buckets still count (the first packets that are read after a stall are all late), but not when the
/// clocks have had this many buckets' time to drift apart.
const FORGET_AFTER: u64 = 60;

/// A sample this much earlier than all others is not believed at once, in microseconds.
const LEAP_US: i64 = 1_000_000;
/// How many such samples in a row are believed.
const BELIEVED_AFTER: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    number: u64,
    least_us: i64,
}

/// The station clock in local time. See the module.
#[derive(Debug, Default)]
pub struct Timeline {
    buckets: VecDeque<Bucket>,
    offset_us: Option<i64>,
    last_transit_us: Option<i64>,
    jitter_us: f64,
    /// Samples in a row that were too early to believe.
    leaps: u32,
}

impl Timeline {
    /// A timeline that knows nothing.
    pub fn new() -> Timeline {
        Timeline::default()
    }

    /// Something that was sent at `station_us` on the station clock arrived at `arrived`.
    pub fn handle_sample(&mut self, station_us: u64, arrived: Instant) {
        let transit_us = arrived.micros_after(Instant::from_micros(station_us));
        if !self.is_plausible(transit_us) {
            return;
        }
        self.measure_jitter(transit_us);
        let number = arrived.as_micros() / BUCKET_US;
        match self.buckets.back_mut() {
            Some(bucket) if bucket.number >= number => {
                bucket.least_us = bucket.least_us.min(transit_us)
            }
            _ => {
                self.buckets.push_back(Bucket {
                    number,
                    least_us: transit_us,
                });
                let forget = number.saturating_sub(FORGET_AFTER);
                while self.buckets.len() > BUCKETS
                    || self.buckets.front().is_some_and(|b| b.number < forget)
                {
                    self.buckets.pop_front();
                }
            }
        }
        self.offset_us = self.buckets.iter().map(|bucket| bucket.least_us).min();
    }

    /// One sample that is earlier than all others by a second would make everything overdue at once: three in a row must say so
    /// before they are believed, and then nothing older is.
    fn is_plausible(&mut self, transit_us: i64) -> bool {
        let leaps = self
            .offset_us
            .is_some_and(|offset_us| transit_us < offset_us - LEAP_US);
        self.leaps = if leaps { self.leaps + 1 } else { 0 };
        if leaps && self.leaps >= BELIEVED_AFTER {
            self.leaps = 0;
            self.buckets.clear();
            return true;
        }
        !leaps
    }

    /// Interarrival jitter, RFC 3550 section 6.4.1, in microseconds.
    fn measure_jitter(&mut self, transit_us: i64) {
        if let Some(last) = self.last_transit_us.replace(transit_us) {
            let difference = transit_us.abs_diff(last) as f64;
            self.jitter_us += (difference - self.jitter_us) / 16.0;
        }
    }

    /// When the station clock says `station_us`, in local time; `None` before the first sample.
    pub fn local(&self, station_us: u64) -> Option<Instant> {
        self.offset_us
            .map(|offset| Instant::from_micros(station_us).offset_by(offset))
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
    fn one_sample_from_the_future_moves_nothing_and_three_do() {
        let mut timeline = Timeline::new();
        let arrived = Instant::from_micros(10_000_000);
        timeline.handle_sample(1_000_000, arrived);
        for _ in 0..2 {
            timeline.handle_sample(500_000_000, arrived);
            assert_eq!(timeline.offset_us(), Some(9_000_000));
        }
        timeline.handle_sample(500_000_000, arrived);
        assert_eq!(timeline.offset_us(), Some(-490_000_000));
    }
}
