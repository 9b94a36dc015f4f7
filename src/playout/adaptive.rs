//! How long must the buffer be on this network, and how does it get there unheard?
//!
//! Each frame tells how late it came after it was due, whether by the stream or by a repair: loss, and the time that a repair takes,
//! count like jitter does. The buffer should be as long as the latest frame needed, and a frame more (`MARGIN`).
//!
//! *It grows at once*: what came after its play time would have been in time, from then on. It grows before that, when what came was
//! nearly too late. Each step moves all that follows, and what nobody must hear decides how large it is: a sound device's queue
//! and its servo take up `UNHEARD_STEP` without a cut, and the servo makes up for that with `GLIDE` a frame. As long as nothing is
//! too late, the buffer takes no larger step than that, and the rest follows as the servo does. A missing frame is
//! waited for a little beyond its play time ([`PATIENCE`]; the device's queue plays meanwhile), so a network that becomes slower
//! costs steps before it costs frames. Only where no such step is enough there is one larger one: a gap that fades out and in, after
//! which all is in time, is better than a hole for each frame that follows.
//!
//! *Holes count, too.* Nobody repairs a frame whose play time is over, so one that was asked for too late never tells how late it was.
//! Where repairs come, a hole that none of them filled makes the buffer longer by a frame, as far as that is not heard.
//!
//! *It shrinks slowly*: when for ten seconds of sound less was enough, by no more than `GLIDE` a frame: 9 ms a minute, a pitch that
//! is 0.015 % higher. Where nothing is heard anyway (between programmes) it goes where it should be at once, but looks back further
//! for that.
//!
//! *One frame proves nothing.* One that is far too late is believed if another one was, too: at once up to half a second (a network
//! that stood still delivers all frames of that time together), and without limit if the other one came at another time. So a single
//! frame, however late, changes nothing, and a single stall, however long, costs half a second at most.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// What the buffer is longer than the latest frame needed, in µs: one frame.
const MARGIN: i64 = 20_000;
/// How far the buffer moves with each frame that is played, in µs: 150 ppm. The servo makes up for
/// twice that ([`super::servo`]).
const GLIDE: i64 = 3;
/// What may be added without a cut, in µs: less than the 30 ms at which the servo makes one.
const UNHEARD_STEP: i64 = 20_000;
/// How long a missing frame is waited for after its play time. With a step not made up for yet, half a period of the device (28 ms
/// usually) and the slack of wake-ups (4 ms) it must be shorter than what waits in the device's queue (80 ms).
pub const PATIENCE: Duration = Duration::from_millis(30);
/// Frames of a second.
const SECOND: u32 = 50;
/// The buffer shrinks when for so many seconds of sound less was enough.
const SHRINK_AFTER: usize = 10;
/// Seconds that are remembered for where the buffer may go at once.
const SECONDS: usize = 60;
/// What two frames that came together can prove, in µs: the usual buffer.
const TOGETHER: i64 = 500_000;
/// Frames this far apart did not come together.
const APART: Duration = Duration::from_millis(200);
/// How long a frame that was far too late is remembered to prove another: at once, and without limit.
const FAR_SOON: Duration = Duration::from_secs(10);
const FAR_AGAIN: Duration = Duration::from_secs(60);
/// How many of them.
const MAX_FAR: usize = 64;

/// How the buffer of a listener is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BufferChoice {
    /// The station's.
    #[default]
    Station,
    /// The listener's own.
    Fixed(Duration),
    /// As long as the network needs it: begins with the station's.
    Auto {
        /// Never shorter than this.
        min: Duration,
        /// Never longer than this; at least `min`.
        max: Duration,
    },
}

impl BufferChoice {
    /// The buffer that adapts, if one was chosen; it begins with `start`.
    pub fn adaptive(self, start: Duration) -> Option<AdaptiveBuffer> {
        match self {
            BufferChoice::Auto { min, max } => Some(AdaptiveBuffer::new(min, max, start)),
            BufferChoice::Station | BufferChoice::Fixed(_) => None,
        }
    }
}

/// A buffer that is as long as it has to be. See the module.
#[derive(Clone, Debug)]
pub struct AdaptiveBuffer {
    // All in µs.
    min: i64,
    max: i64,
    current: i64,
    /// What can still be added without a cut.
    unheard: i64,
    /// Nothing was learned yet.
    untouched: bool,
    /// How late the latest believed frame was in each of the last seconds, and in the one that is not over.
    seconds: VecDeque<i64>,
    second: i64,
    /// Frames played in that.
    frames: u32,
    /// Frames that were far too late, and when they came.
    far: Vec<(Instant, i64)>,
}

impl AdaptiveBuffer {
    /// A buffer from `min` to `max` that begins as near to `start` as it may.
    pub fn new(min: Duration, max: Duration, start: Duration) -> AdaptiveBuffer {
        let (min, max) = (micros(min), micros(max.max(min)));
        AdaptiveBuffer {
            min,
            max,
            current: micros(start).clamp(min, max),
            unheard: UNHEARD_STEP,
            untouched: true,
            seconds: VecDeque::with_capacity(SECONDS + 1),
            second: 0,
            frames: 0,
            far: Vec::new(),
        }
    }

    /// Whether it knows enough of the network to shrink.
    pub fn has_learned(&self) -> bool {
        self.seconds.len() >= SHRINK_AFTER
    }

    /// How long it is now.
    pub fn current(&self) -> Duration {
        Duration::from_micros(self.current as u64)
    }

    /// The station tells its buffer: where this one begins, if nothing was learned yet.
    pub fn handle_start(&mut self, start: Duration) {
        if self.untouched {
            self.current = micros(start).clamp(self.min, self.max);
        }
    }

    /// The first copy of a frame came at `arrived`, `late_us` after it was due.
    pub fn handle_frame(&mut self, late_us: i64, arrived: Instant) {
        self.untouched = false;
        // What no buffer can hold proves that the longest is too short, and no more.
        let late = late_us.clamp(0, self.max);
        let believed = if late <= self.current + micros(PATIENCE) {
            late
        } else {
            self.witnessed(late, arrived)
        };
        self.second = self.second.max(believed);
        self.grow(believed);
    }

    /// A frame that could have been repaired was not in time.
    pub fn handle_hole(&mut self) {
        self.second = self.second.max(self.current);
        self.grow(self.current);
    }

    /// One frame that is here is played: time goes by.
    pub fn handle_played(&mut self) {
        self.unheard = (self.unheard + GLIDE).min(UNHEARD_STEP);
        self.frames += 1;
        if self.frames == SECOND {
            if self.seconds.len() == SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back(std::mem::take(&mut self.second));
            self.frames = 0;
        }
        let goal = self.goal(SHRINK_AFTER);
        if goal > self.current {
            let step = self.unheard.min(goal - self.current);
            self.unheard -= step;
            self.current += step;
        } else if self.has_learned() {
            self.current = goal.max(self.current - GLIDE);
        }
    }

    /// Nothing is heard now.
    pub fn handle_rest(&mut self) {
        self.unheard = UNHEARD_STEP;
        if self.has_learned() {
            self.current = self.goal(SECONDS);
        }
    }

    /// The clock by which frames are due has moved by so many µs (positive: they are due later). What is heard shall not.
    pub fn handle_shift(&mut self, us: i64) {
        self.current = self.current.saturating_sub(us).clamp(self.min, self.max);
        for second in self.seconds.iter_mut().chain([&mut self.second]) {
            *second = second.saturating_sub(us);
        }
        self.far.clear();
    }

    /// Where the buffer should be for what came in the last `seconds`.
    fn goal(&self, seconds: usize) -> i64 {
        let latest = self.seconds.iter().rev().take(seconds).max();
        self.needed(latest.map_or(self.second, |latest| self.second.max(*latest)))
    }

    /// The buffer for a frame this late.
    fn needed(&self, late: i64) -> i64 {
        late.saturating_add(MARGIN).clamp(self.min, self.max)
    }

    fn grow(&mut self, late: i64) {
        let lacking = self.needed(late) - self.current;
        if lacking <= 0 {
            return;
        }
        let step = lacking.min(self.unheard);
        if late - self.current <= step {
            self.unheard -= step;
            self.current += step;
        } else {
            // It is heard, once: then all is in its place, and the servo has nothing to make up for.
            self.unheard = UNHEARD_STEP;
            self.current += lacking;
        }
    }

    /// How much of this much lateness others bear out. See the module.
    fn witnessed(&mut self, late: i64, arrived: Instant) -> i64 {
        let age = |at: &Instant| arrived.since(*at);
        self.far.retain(|(at, _)| age(at) <= FAR_AGAIN);
        let latest = |from: Duration, to: Duration| {
            let of_age = |(at, _): &&(Instant, i64)| (from..=to).contains(&age(at));
            let lates = self.far.iter().filter(of_age).map(|(_, late)| *late);
            lates.max().unwrap_or_default()
        };
        let together = latest(Duration::ZERO, FAR_SOON).min(TOGETHER);
        let apart = latest(APART, FAR_AGAIN);
        self.far.push((arrived, late));
        if self.far.len() > MAX_FAR {
            // The least of them proves the least.
            let least = (0..self.far.len()).min_by_key(|at| self.far[*at].1);
            least.map(|at| self.far.swap_remove(at));
        }
        late.min(together.max(apart))
    }
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000;
    const START_MS: u64 = 100;

    /// A buffer of 60 ms to 2 s, and the network that it lives on.
    struct Network {
        buffer: AdaptiveBuffer,
        now: Instant,
    }

    impl Network {
        fn new(start_ms: u64) -> Network {
            let ms = Duration::from_millis;
            Network {
                buffer: AdaptiveBuffer::new(ms(60), ms(2_000), ms(start_ms)),
                now: Instant::from_micros(1_000_000_000),
            }
        }

        /// A frame comes this late and is played; the buffer after that, in µs.
        fn frame(&mut self, late_ms: i64) -> i64 {
            self.now += Duration::from_millis(20);
            self.buffer.handle_frame(late_ms * MS, self.now);
            self.buffer.handle_played();
            self.buffer.current
        }

        fn frames(&mut self, count: u32, late_ms: i64) -> i64 {
            (0..count).fold(self.buffer.current, |_, _| self.frame(late_ms))
        }
    }

    #[test]
    fn a_frame_that_came_late_would_be_in_time_from_then_on_with_a_frame_to_spare() {
        for late_ms in [101, 115, 121, 130] {
            let mut network = Network::new(START_MS);
            let after = network.frame(late_ms);
            assert!(after >= late_ms * MS, "{late_ms} ms: {after}");
            assert_eq!(network.frames(10_000, late_ms), (late_ms + 20) * MS);
        }
    }

    #[test]
    fn what_is_nearly_too_late_makes_it_longer_before_anything_is_too_late() {
        let table = [(79, 100), (80, 100), (81, 101), (90, 110), (100, 120)];
        for (late_ms, expected_ms) in table {
            let after = Network::new(START_MS).frame(late_ms);
            assert_eq!(after, expected_ms * MS, "{late_ms} ms");
        }
    }

    #[test]
    fn while_nothing_is_too_late_it_takes_no_step_that_a_device_must_cut_for() {
        let mut network = Network::new(START_MS);
        let (mut before, mut unheard) = (START_MS as i64 * MS, UNHEARD_STEP);
        for n in 0..50_000 {
            // The latest frame is never later than the buffer allows: always at its very end.
            let after = network.frame(before / MS - n % 7);
            unheard = (unheard + GLIDE).min(UNHEARD_STEP) - (after - before);
            assert!(unheard >= -GLIDE, "frame {n}: {before} to {after}");
            before = after;
        }
        assert!(before > 200 * MS, "{before}");
    }

    #[test]
    fn a_network_that_becomes_slower_for_good_is_followed_with_the_second_late_frame() {
        let mut network = Network::new(START_MS);
        network.frames(400, 5);
        assert_eq!(network.frame(250), START_MS as i64 * MS);
        assert_eq!(network.frame(250), 270 * MS);
    }

    #[test]
    fn one_frame_that_is_far_too_late_changes_nothing_and_two_prove_each_other() {
        // The gap between them in frames, and what they prove.
        let table = [
            (0, 520),
            (5, 520),
            (11, 1_520),
            (2_000, 1_520),
            (2_990, 1_520),
            (3_100, 100),
        ];
        for (gap, expected_ms) in table {
            let mut network = Network::new(START_MS);
            assert_eq!(network.frame(1_500), START_MS as i64 * MS, "{gap}");
            // At 80 ms the buffer of 100 ms is what it should be.
            assert_eq!(network.frames(gap, 80), START_MS as i64 * MS, "{gap}");
            let after = network.frame(1_500);
            assert_eq!(after, expected_ms * MS, "{gap} frames between them");
        }
    }

    #[test]
    fn one_frame_of_many_seconds_ago_is_no_more_believed_than_the_longest_buffer() {
        let mut network = Network::new(START_MS);
        for _ in 0..20 {
            network.frame(i64::MAX / MS);
            network.frames(100, 10);
        }
        assert_eq!(network.buffer.current, 2_000 * MS);
    }

    #[test]
    fn a_stall_of_three_seconds_costs_half_a_second_of_buffer_and_two_of_them_prove_that_it_is_needed()
     {
        let mut network = Network::new(START_MS);
        let stall = |network: &mut Network| {
            network.now += Duration::from_secs(3);
            for n in 0..150 {
                let late_us = 3_000_000 - n * 20_000;
                network.buffer.handle_frame(late_us, network.now);
            }
            network.buffer.current
        };
        assert!((520 * MS..=570 * MS).contains(&stall(&mut network)));
        network.frames(1_000, 5);
        assert_eq!(stall(&mut network), 2_000 * MS);
    }

    #[test]
    fn a_hole_that_was_not_repaired_makes_it_a_frame_longer_and_many_at_once_no_more() {
        let mut network = Network::new(START_MS);
        (0..150).for_each(|_| network.buffer.handle_hole());
        assert_eq!(network.buffer.current, 120 * MS);
        // It goes on for ten seconds as fast as nobody hears, and then back.
        let grown = network.frames(500, 5);
        assert!((121 * MS..=122 * MS).contains(&grown), "{grown}");
        assert!(network.frames(500, 5) < grown);
        for _ in 0..1_000_000 {
            network.buffer.handle_hole();
            network.frame(5);
        }
        assert_eq!(network.buffer.current, 2_000 * MS);
    }

    #[test]
    fn it_does_not_shrink_for_ten_seconds_and_then_by_150_ppm_at_most() {
        let mut network = Network::new(500);
        network.frame(480);
        assert_eq!(
            network.frames(SECOND * SHRINK_AFTER as u32 - 2, 5),
            500 * MS
        );
        let mut before = network.frames(SECOND + 1, 5);
        assert!(
            (500 * MS - 2 * GLIDE..=500 * MS).contains(&before),
            "{before}"
        );
        for n in 0..160_000 {
            let after = network.frame(if n % 40 == 0 { 30 } else { 5 });
            assert!(
                (0..=GLIDE).contains(&(before - after)),
                "{before} to {after}"
            );
            before = after;
        }
        assert_eq!(before, 60 * MS, "the least that is allowed");
    }

    #[test]
    fn what_is_still_needed_once_in_ten_seconds_is_kept() {
        let mut network = Network::new(500);
        for _ in 0..400 {
            network.frame(200);
            network.frames(490, 5);
        }
        assert_eq!(network.buffer.current, 220 * MS);
    }

    #[test]
    fn where_nothing_is_heard_it_goes_at_once_where_the_last_minute_needs_it() {
        let mut network = Network::new(500);
        network.frames(400, 5);
        network.buffer.handle_rest();
        assert_eq!(
            network.buffer.current,
            500 * MS,
            "eight seconds prove nothing"
        );
        network.frame(150);
        network.frames(2_000, 5);
        network.buffer.handle_rest();
        assert_eq!(network.buffer.current, 170 * MS);
        network.frames(3_100, 5);
        network.buffer.handle_rest();
        assert_eq!(network.buffer.current, 60 * MS);
    }

    #[test]
    fn it_begins_with_the_stations_until_it_knows_better_and_within_its_limits() {
        let ms = Duration::from_millis;
        for (start, expected) in [(40, 60), (250, 250), (5_000, 2_000)] {
            let mut network = Network::new(START_MS);
            network.buffer.handle_start(ms(start));
            assert_eq!(network.buffer.current(), ms(expected));
            network.frame(1);
            network.buffer.handle_start(ms(777));
            assert_eq!(network.buffer.current(), ms(expected));
        }
    }

    #[test]
    fn when_the_clock_moves_what_is_played_does_not() {
        let mut network = Network::new(START_MS);
        network.frames(600, 250);
        network.buffer.handle_shift(150 * MS);
        assert_eq!(network.buffer.current, 120 * MS);
        // What came before counts by the new clock.
        assert_eq!(network.frames(400, 100), 120 * MS);
        network.buffer.handle_shift(-50 * MS);
        assert_eq!(network.buffer.current, 170 * MS);
        network.buffer.handle_shift(i64::MIN);
        assert_eq!(network.buffer.current, 2_000 * MS);
        network.buffer.handle_shift(i64::MAX);
        assert_eq!(network.buffer.current, 60 * MS);
    }

    proptest! {
        #[test]
        fn whatever_comes_it_stays_within_its_limits_and_its_memory(
            limits in (40u64..5_000, 40u64..5_000),
            steps in prop::collection::vec((0u8..24, any::<i64>(), 0u64..3_000_000_000), 1..400),
        ) {
            let (min, max) = (limits.0.min(limits.1), limits.0.max(limits.1));
            let range = Duration::from_millis(min)..=Duration::from_millis(max);
            let mut buffer = AdaptiveBuffer::new(*range.start(), *range.end(), Duration::ZERO);
            for (kind, us, at) in steps {
                match kind {
                    0 => buffer.handle_rest(),
                    1 => buffer.handle_shift(us),
                    2 => buffer.handle_start(Duration::from_micros(at)),
                    3..=5 => (0..70).for_each(|_| buffer.handle_played()),
                    20.. => buffer.handle_hole(),
                    6..=9 => buffer.handle_frame(us, Instant::from_micros(at)),
                    _ => buffer.handle_frame(us % 3_000_000, Instant::from_micros(at)),
                }
                prop_assert!(range.contains(&buffer.current()), "{:?}", buffer.current());
                prop_assert!(buffer.far.len() <= MAX_FAR && buffer.seconds.len() <= SECONDS);
                prop_assert!((0..=UNHEARD_STEP).contains(&buffer.unheard));
            }
        }
    }
}
