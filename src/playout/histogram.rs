//! How are any number of measurements kept in little memory? Loss bursts by their length, repair latencies by their logarithm.

use std::time::Duration;

use crate::wire::report::BURST_CLASSES;

/// What the buckets of [`LossBursts`] are called: frames in a row.
pub const BURST_BUCKETS: [&str; BURST_CLASSES] = ["1", "2", "3-4", "5-8", "9-16", "17-32", "33+"];

/// How many frames in a row the network lost, before any repair: frames that had not come by the stream when they were decided,
/// whether they were repaired or concealed.
///
/// A burst is counted when it has ended: when the next frame came by the stream. What was on air before a listener tuned in, the
/// network has not lost: frames count from the first one that came by the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossBursts {
    counts: [u64; BURST_CLASSES],
    longest: u64,
    frames: u64,
    /// Frames of the burst that has not ended; none before the first frame that came by the stream.
    open: Option<u64>,
}

impl LossBursts {
    /// The next frame was decided: it came by the stream, or not.
    pub fn handle_frame(&mut self, came: bool) {
        if came {
            let length = self.open.replace(0).unwrap_or(0);
            if length > 0 {
                self.counts[bucket_of_burst(length)] += 1;
                self.longest = self.longest.max(length);
            }
        } else if let Some(open) = &mut self.open {
            *open += 1;
            self.frames += 1;
        }
    }

    /// The listener tunes in, at first or anew: the next frame is not one that follows on the last one.
    pub const fn handle_tuned_in(&mut self) {
        self.open = None;
    }

    /// How many bursts of each length there were, with the name of the bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        BURST_BUCKETS.into_iter().zip(self.counts)
    }

    /// How many bursts of each length there were, in the order of [`BURST_BUCKETS`].
    pub const fn counts(&self) -> [u64; BURST_CLASSES] {
        self.counts
    }

    /// Frames that the network lost: those of all bursts, with the one that has not ended.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// The length of the longest one, in frames; 0 if there was none.
    pub const fn longest(&self) -> u64 {
        self.longest
    }

    /// Adds what another player counted. A burst that has not ended goes on there.
    pub fn add(&mut self, other: &LossBursts) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.longest = self.longest.max(other.longest);
        self.frames += other.frames;
    }
}

/// Lengths 1, 2, 3 to 4, 5 to 8, and so on: by the bits of what is one less.
fn bucket_of_burst(length: u64) -> usize {
    let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
    (bits as usize).min(BURST_BUCKETS.len() - 1)
}

/// Buckets in each doubling of a latency. With 16, the middle of a bucket is at most 1/32 of it away from what is in it.
const STEPS: u64 = 16;
/// Latencies of 2²⁴ µs (16.8 s, three of the longest buffers) and more share the last bucket.
const MAX_BITS: u32 = 24;
/// One for each of the shortest, then [`STEPS`] for each doubling: 2.6 KiB in all.
const LATENCY_BUCKETS: usize = (STEPS * (MAX_BITS as u64 - STEPS.ilog2() as u64 + 1)) as usize;

/// How long repairs took: from the first NACK for a frame to its repair.
///
/// Kept as counts per bucket, so that any number of them takes the same memory, and none as long as there are none. A quantile is
/// at most 3.2 % off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairLatency {
    /// Empty, or [`LATENCY_BUCKETS`] long.
    counts: Vec<u64>,
    total: u64,
}

impl RepairLatency {
    /// A frame was repaired this long after it was first asked for.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts.resize(LATENCY_BUCKETS, 0);
        self.counts[bucket_of_latency(us)] += 1;
        self.total += 1;
    }

    /// How many were recorded.
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The latency that a share of `q` (0 to 1) of all repairs did not exceed: the nearest rank, so that 0 is the shortest and 1
    /// the longest; none if there were none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (q.clamp(0.0, 1.0) * self.total as f64).ceil() as u64;
        let mut left = rank.clamp(1, self.total.max(1));
        let at = self.counts.iter().position(|count| {
            let is_here = left <= *count;
            left = left.saturating_sub(*count);
            is_here
        });
        at.map(middle_of_bucket).map(Duration::from_micros)
    }

    /// Adds what another one has recorded.
    pub fn add(&mut self, other: &RepairLatency) {
        if other.total > 0 {
            self.counts.resize(LATENCY_BUCKETS, 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }
}

/// Below [`STEPS`] µs one bucket each; above, the doubling and the bits after the first one.
fn bucket_of_latency(us: u64) -> usize {
    let us = us.min((1 << MAX_BITS) - 1);
    let doubling = us
        .checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(STEPS.ilog2());
    (u64::from(doubling) * STEPS + (us >> doubling)) as usize
}

fn middle_of_bucket(at: usize) -> u64 {
    let at = at as u64;
    let doubling = (at / STEPS).saturating_sub(1);
    let first = (at - doubling * STEPS) << doubling;
    first + ((1 << doubling) - 1) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bursts(lengths: &[u64]) -> LossBursts {
        let mut bursts = LossBursts::default();
        bursts.handle_frame(true);
        for length in lengths {
            (0..*length).for_each(|_| bursts.handle_frame(false));
            bursts.handle_frame(true);
        }
        bursts
    }

    fn counts(bursts: &LossBursts) -> Vec<u64> {
        bursts.buckets().map(|(_, count)| count).collect()
    }

    #[test]
    fn bursts_are_in_the_bucket_that_names_their_length() {
        let table = [
            (1, "1"),
            (2, "2"),
            (3, "3-4"),
            (4, "3-4"),
            (5, "5-8"),
            (8, "5-8"),
            (9, "9-16"),
            (16, "9-16"),
            (17, "17-32"),
            (32, "17-32"),
            (33, "33+"),
            (180_000, "33+"),
        ];
        for (length, name) in table {
            let bursts = bursts(&[length]);
            let found: Vec<_> = bursts.buckets().filter(|(_, count)| *count > 0).collect();
            assert_eq!(found, [(name, 1)], "{length}");
            assert_eq!(bursts.longest(), length);
        }
        assert_eq!(bucket_of_burst(u64::MAX), BURST_BUCKETS.len() - 1);
    }

    #[test]
    fn a_burst_is_counted_when_the_stream_is_heard_again() {
        let mut bursts = LossBursts::default();
        for came in [true, false, false] {
            bursts.handle_frame(came);
        }
        assert_eq!((counts(&bursts)[1], bursts.longest()), (0, 0));
        assert_eq!(bursts.frames(), 2);
        for came in [true, true] {
            bursts.handle_frame(came);
        }
        assert_eq!(counts(&bursts), [0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(bursts.longest(), 2);
    }

    #[test]
    fn bursts_of_two_players_add_up_and_an_open_one_is_left_to_its_player() {
        let mut one = bursts(&[1, 1, 40]);
        one.handle_frame(false);
        let mut sum = bursts(&[2, 7]);
        sum.handle_frame(false);
        sum.add(&one);
        assert_eq!(counts(&sum), [2, 1, 0, 1, 0, 0, 1]);
        assert_eq!((sum.longest(), sum.frames()), (40, 10 + 43));
        sum.handle_frame(true);
        assert_eq!(counts(&sum), [3, 1, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn what_was_on_air_before_a_listener_tuned_in_is_no_burst() {
        let mut bursts = LossBursts::default();
        let decides = |bursts: &mut LossBursts, frames: &[bool]| {
            frames.iter().for_each(|came| bursts.handle_frame(*came));
            (counts(bursts).iter().sum::<u64>(), bursts.frames())
        };
        assert_eq!(decides(&mut bursts, &[false, false, true]), (0, 0));
        assert_eq!(decides(&mut bursts, &[false, true, false]), (1, 2));
        // It tunes in anew in the midst of a burst.
        bursts.handle_tuned_in();
        assert_eq!(decides(&mut bursts, &[false, false, true]), (1, 2));
        assert_eq!(decides(&mut bursts, &[false, true]), (2, 3));
    }

    fn latencies(us: impl IntoIterator<Item = u64>) -> RepairLatency {
        let mut latency = RepairLatency::default();
        us.into_iter()
            .for_each(|us| latency.record(Duration::from_micros(us)));
        latency
    }

    #[test]
    fn without_a_repair_there_is_no_quantile_and_no_memory() {
        let none = RepairLatency::default();
        assert_eq!((none.quantile(0.5), none.count()), (None, 0));
        let mut sum = RepairLatency::default();
        sum.add(&none);
        assert_eq!((sum.quantile(0.5), sum.counts.capacity()), (None, 0));
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let one_to_ten = latencies(1..=10);
        let table = [
            (0.0, 1),
            (0.05, 1),
            (0.5, 5),
            (0.51, 6),
            (0.99, 10),
            (1.0, 10),
            (7.0, 10),
            (-1.0, 1),
            (f64::NAN, 1),
        ];
        for (q, us) in table {
            let said = one_to_ten.quantile(q);
            assert_eq!(said, Some(Duration::from_micros(us)), "{q}");
        }
    }

    #[test]
    fn what_is_longer_than_any_repair_has_a_place_too() {
        let latency = latencies([1 << MAX_BITS, u64::MAX]);
        let longest = latency.quantile(1.0).unwrap();
        assert!(longest > Duration::from_secs(16) && longest < Duration::from_secs(17));
        assert_eq!(latency.counts.len(), LATENCY_BUCKETS);
        assert_eq!(latency.counts.last(), Some(&2));
    }

    #[test]
    fn every_bucket_holds_its_own_middle() {
        for at in 0..LATENCY_BUCKETS {
            assert_eq!(bucket_of_latency(middle_of_bucket(at)), at);
        }
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_5_percent_off(
            mut us in prop::collection::vec(prop_oneof![0u64..100, 100u64..10_000, 10_000u64..16_000_000], 1..300), q in 0.0..=1.0f64,
        ) {
            let latency = latencies(us.iter().copied());
            us.sort_unstable();
            let rank = ((q * us.len() as f64).ceil() as usize).clamp(1, us.len());
            let exact = us[rank - 1];
            let said = latency.quantile(q).unwrap().as_micros() as u64;
            prop_assert!(said.abs_diff(exact) as f64 <= exact as f64 * 0.05, "{said} instead of {exact}");
        }

        #[test]
        fn the_sum_of_two_is_as_if_one_had_recorded_all(
            one in prop::collection::vec(0u64..16_000_000, 0..50), two in prop::collection::vec(0u64..16_000_000, 0..50),
        ) {
            let mut sum = latencies(one.iter().copied());
            sum.add(&latencies(two.iter().copied()));
            prop_assert_eq!(sum, latencies(one.into_iter().chain(two)));
        }
    }
}
