//! What time is it? Whoever asks is told by an argument.
//!
//! `Instant` is a plain integer with no `now()`: the state machines of `station` and `playout` get it from their caller, so
//! that the simulator owns time and the compiler, not discipline, keeps clocks out of them (the model is smoltcp's
//! `time.rs`). Only `io::clock` reads a real clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

const BILLION: i128 = 1_000_000_000;
/// No clock goes slower beside the local one, in parts per billion.
const LEAST_SKEW_PPB: i32 = -500_000_000;

/// A point on the local clock: microseconds of a clock that also counts while the machine sleeps (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `us` microseconds after the clock's zero.
    pub const fn from_micros(us: u64) -> Instant {
        Instant(us)
    }

    /// Microseconds since the clock's zero.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if `earlier` lies in the future.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `self − other` in microseconds, with its sign.
    pub const fn micros_after(self, other: Instant) -> i64 {
        self.0.wrapping_sub(other.0) as i64
    }

    /// The instant `us` microseconds away, clamped to what the clock can say.
    pub const fn offset_by(self, us: i64) -> Instant {
        Instant(self.0.saturating_add_signed(us))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration.as_micros() as u64))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(duration.as_micros() as u64))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// An affine map from the local clock to another one: what that shows, and how fast it goes.
///
/// Times before either clock's zero exist in between: a station may be older than the machine's last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMap {
    /// A local time in microseconds.
    local_us: i64,
    /// What the other clock shows then, in microseconds.
    shown_us: i64,
    /// How much faster it goes, in parts per billion.
    skew_ppb: i32,
}

impl ClockMap {
    /// The clock whose zero was at this time of the local one, in microseconds, and that goes as fast.
    pub const fn with_zero_at(zero_at_us: i64) -> ClockMap {
        ClockMap {
            local_us: zero_at_us,
            shown_us: 0,
            skew_ppb: 0,
        }
    }

    /// The clock that shows `shown_us` at the local time `at`, and goes faster by so many parts per million: at least half as fast as the
    /// local one, since one that stands still cannot be mapped back.
    pub fn new(at: Instant, shown_us: f64, skew_ppm: f64) -> ClockMap {
        ClockMap {
            local_us: at.0 as i64,
            shown_us: shown_us.round() as i64,
            skew_ppb: ((skew_ppm * 1e3).round() as i32).max(LEAST_SKEW_PPB),
        }
    }

    /// The same clock, but it shows everything so much earlier.
    pub const fn earlier_by(self, us: i64) -> ClockMap {
        ClockMap {
            local_us: self.local_us.saturating_sub(us),
            ..self
        }
    }

    /// How much faster it goes than the local clock, in parts per million.
    pub fn skew_ppm(&self) -> f64 {
        f64::from(self.skew_ppb) / 1e3
    }

    /// What it shows at a local time, in microseconds; negative before its zero.
    pub fn shown_us(&self, at: Instant) -> i64 {
        let at = i128::from(at.0).min(i64::MAX.into());
        let passed = at - i128::from(self.local_us);
        let passed = (passed * (BILLION + i128::from(self.skew_ppb))).div_euclid(BILLION);
        let shown = i128::from(self.shown_us) + passed;
        shown.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The first local microsecond at which it shows this; the local clock's zero, if it was before that.
    pub fn local(&self, shown_us: u64) -> Instant {
        let passed = i128::from(shown_us) - i128::from(self.shown_us);
        // Rounded up, as what is shown is rounded down.
        let passed = -(-passed * BILLION).div_euclid(BILLION + i128::from(self.skew_ppb));
        let local = i128::from(self.local_us) + passed;
        Instant(local.clamp(0, i64::MAX.into()) as u64)
    }
}

/// Whether what comes first can come so long after a clock says that it was sent, in µs: clocks and minima are a little off, and networks
/// have their delay; otherwise one of the machines stood still, and its clock with it.
pub const fn is_plausible(arrives_after_us: i64) -> bool {
    const BEFORE_US: i64 = -30_000;
    const AFTER_US: i64 = 300_000;
    BEFORE_US <= arrives_after_us && arrives_after_us <= AFTER_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_goes_faster_is_due_earlier() {
        let at = Instant(5_000_000);
        let map = ClockMap::new(at, 1_000_000.4, 100.0);
        assert_eq!(map.shown_us(at), 1_000_000);
        assert_eq!(map.shown_us(Instant(15_000_000)), 11_001_000);
        assert_eq!(map.local(11_001_000), Instant(15_000_000));
        assert_eq!(map.shown_us(Instant(4_000_000)), -100);
        assert_eq!(map.skew_ppm(), 100.0);
        assert_eq!(map.earlier_by(7).local(1_000_000), Instant(4_999_993));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_shown_from_the_first_microsecond_on(
            at in 1u64 << 40..1 << 50,
            shown_us in 0u64..1 << 50,
            skew_ppm in -500.0..500.0f64,
            due_us in 0u64..1 << 50,
        ) {
            let map = ClockMap::new(Instant(at), shown_us as f64, skew_ppm);
            let local = map.local(due_us);
            if local.0 > 0 {
                prop_assert!(map.shown_us(local) >= due_us as i64);
                prop_assert!(map.shown_us(Instant(local.0 - 1)) < due_us as i64);
            }
        }

        #[test]
        fn where_numbers_end_it_is_wrong_but_says_something(
            at in any::<u64>(),
            shown_us in -1e19..1e19f64,
            skew_ppm in prop_oneof![-1e7..1e7f64, Just(-1e6)],
            due_us in any::<u64>(),
        ) {
            let map = ClockMap::new(Instant(at), shown_us, skew_ppm);
            let local = map.local(due_us);
            let _ = (map.shown_us(local), map.earlier_by(i64::MAX).shown_us(local));
        }
    }
}
