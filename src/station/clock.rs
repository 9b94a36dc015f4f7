//! What time is it on the station?
//!
//! The station clock counts microseconds since the founding. Every node knows it as an affine map of its own clock; at the
//! founder the map is a mere offset, at all others it has a rate, too: no two quartzes are alike. The offset is signed: a station may
//! be older than the machine's last start.

mod filter;
mod sync;

pub use filter::{ClockFilter, Estimate, Sample};
pub use sync::Sync;

use crate::time::Instant;
use crate::wire::Slot;
use crate::wire::ids::FRAME_MICROS;

const BILLION: i128 = 1_000_000_000;

/// The map between the local clock and the station clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationClock {
    /// A local time in microseconds; negative if that was before the local clock's own zero.
    local_us: i64,
    /// What the station clock shows then.
    station_us: i64,
    /// How much faster the station clock goes, in parts per billion.
    skew_ppb: i32,
}

impl StationClock {
    /// The clock that shows `station_us` at the local time `at`, and goes as fast as the local one.
    pub fn new(at: Instant, station_us: u64) -> StationClock {
        StationClock::with_zero_at((at.as_micros() as i64).saturating_sub_unsigned(station_us))
    }

    /// The clock whose zero was at this time of the local one, in microseconds.
    pub const fn with_zero_at(zero_at_us: i64) -> StationClock {
        StationClock {
            local_us: zero_at_us,
            station_us: 0,
            skew_ppb: 0,
        }
    }

    /// The clock that shows `station_us` at the local time `at` (both in microseconds), and goes faster by so many parts per million.
    pub fn with_skew(at: Instant, station_us: f64, skew_ppm: f64) -> StationClock {
        StationClock {
            local_us: at.as_micros() as i64,
            station_us: station_us.round() as i64,
            skew_ppb: (skew_ppm * 1e3).round() as i32,
        }
    }

    /// The same clock, but everything is due so much earlier.
    pub const fn earlier_by(self, us: i64) -> StationClock {
        StationClock {
            local_us: self.local_us.saturating_sub(us),
            ..self
        }
    }

    /// How much faster it goes than the local clock, in parts per million.
    pub fn skew_ppm(&self) -> f64 {
        f64::from(self.skew_ppb) / 1e3
    }

    /// The station's time in microseconds; 0 before the founding.
    pub fn station_us(&self, now: Instant) -> u64 {
        self.shown(now.as_micros() as i64).max(0) as u64
    }

    /// The slot that contains `now`: the last one that is due.
    pub fn slot(&self, now: Instant) -> Slot {
        Slot(self.station_us(now) / FRAME_MICROS)
    }

    /// The first slot that is not due before `now`.
    pub fn next_slot(&self, now: Instant) -> Slot {
        Slot(self.station_us(now).div_ceil(FRAME_MICROS))
    }

    /// The first local microsecond at which the clock shows a station time; the local clock's zero, if it was before that.
    pub fn local_us(&self, station_us: u64) -> Instant {
        let wanted = i128::from(station_us);
        let passed = wanted - i128::from(self.station_us);
        let passed = passed * BILLION / (BILLION + i128::from(self.skew_ppb));
        let local = i128::from(self.local_us) + passed;
        let mut local = local.clamp(0, i128::from(i64::MAX)) as i64;
        // Off by one, as integers are; and not more often, where numbers end.
        for _ in 0..2 {
            if local > 0 && i128::from(self.shown(local - 1)) >= wanted {
                local -= 1;
            }
        }
        for _ in 0..2 {
            if local < i64::MAX && i128::from(self.shown(local)) < wanted {
                local += 1;
            }
        }
        Instant::from_micros(local as u64)
    }

    /// When a slot falls due on the local clock.
    pub fn local(&self, slot: Slot) -> Instant {
        self.local_us(slot.due_us())
    }

    /// What the clock shows at a local time, in microseconds; negative before the founding.
    fn shown(&self, local_us: i64) -> i64 {
        let passed = i128::from(local_us) - i128::from(self.local_us);
        let gained = (passed * i128::from(self.skew_ppb)).div_euclid(BILLION);
        let shown = i128::from(self.station_us) + passed + gained;
        shown.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_begin_on_the_microsecond() {
        let clock = StationClock::new(Instant::from_micros(1_000_000), 40_000);
        assert_eq!(clock.local(Slot(2)), Instant::from_micros(1_000_000));
        for (us, slot, next_slot) in [
            (999_999, 1, 2),
            (1_000_000, 2, 2),
            (1_000_001, 2, 3),
            (1_020_000, 3, 3),
        ] {
            let now = Instant::from_micros(us);
            assert_eq!(
                (clock.slot(now), clock.next_slot(now)),
                (Slot(slot), Slot(next_slot)),
                "{us}"
            );
        }
    }

    #[test]
    fn a_station_can_be_older_than_the_machine() {
        let clock = StationClock::new(Instant::from_micros(5), 1 << 50);
        assert_eq!(clock.station_us(Instant::from_micros(6)), (1 << 50) + 1);
        assert_eq!(clock.local_us((1 << 50) + 1), Instant::from_micros(6));
        assert_eq!(
            clock.local_us(0),
            Instant::from_micros(0),
            "before the local clock's zero"
        );
    }

    #[test]
    fn a_clock_that_goes_faster_is_due_earlier() {
        let at = Instant::from_micros(5_000_000);
        let clock = StationClock::with_skew(at, 1_000_000.4, 100.0);
        assert_eq!(clock.station_us(at), 1_000_000);
        let later = Instant::from_micros(15_000_000);
        assert_eq!(clock.station_us(later), 11_001_000);
        assert_eq!(clock.local_us(11_001_000), later);
        assert_eq!(clock.skew_ppm(), 100.0);
        let before = Instant::from_micros(4_000_000);
        assert_eq!(clock.station_us(before), 0, "100 us before the founding");
    }

    proptest! {
        #[test]
        fn there_and_back_is_exact(at in 0u64..1 << 60, station_us in 0u64..1 << 60, later in 0u64..1 << 60) {
            let clock = StationClock::new(Instant::from_micros(at), station_us);
            let now = Instant::from_micros(at + later);
            prop_assert_eq!(clock.local_us(clock.station_us(now)), now);
        }

        #[test]
        fn what_is_due_is_due_at_the_first_microsecond_at_which_the_clock_shows_it(
            at in 1u64 << 40..1 << 50,
            station_us in 0u64..1 << 50,
            skew_ppm in -500.0..500.0f64,
            due in 0u64..1 << 50,
        ) {
            let at = Instant::from_micros(at);
            let clock = StationClock::with_skew(at, station_us as f64, skew_ppm);
            let local = clock.local_us(due);
            if local.as_micros() > 0 {
                prop_assert!(clock.station_us(local) >= due);
                let before = Instant::from_micros(local.as_micros() - 1);
                prop_assert!(clock.shown(before.as_micros() as i64) < due as i64);
            }
        }
    }
}
