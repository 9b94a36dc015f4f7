//! What time is it on the station?
//!
//! The station clock counts microseconds since the founding. Every node knows it as an affine map of its own clock; at the
//! founder the map is a mere offset, at all others it has a rate, too: no two quartzes are alike. The offset is signed: a station may
//! be older than the machine's last start.

mod filter;
mod sync;

pub use filter::{ClockFilter, Estimate, Sample};
pub use sync::{Answer, Sync};

use crate::time::{ClockMap, Instant};
use crate::wire::Slot;
use crate::wire::ids::FRAME_MICROS;

/// The map between the local clock and the station clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationClock(ClockMap);

impl StationClock {
    /// The clock that shows `station_us` at the local time `at`, and goes as fast as the local one.
    pub fn new(at: Instant, station_us: u64) -> StationClock {
        StationClock::with_zero_at((at.as_micros() as i64).saturating_sub_unsigned(station_us))
    }

    /// The clock whose zero was at this time of the local one, in microseconds.
    pub const fn with_zero_at(zero_at_us: i64) -> StationClock {
        StationClock(ClockMap::with_zero_at(zero_at_us))
    }

    /// The clock that this map leads to.
    pub const fn of(map: ClockMap) -> StationClock {
        StationClock(map)
    }

    /// The map, for those who play by it.
    pub const fn map(self) -> ClockMap {
        self.0
    }

    /// The same clock, but everything is due so much earlier.
    pub const fn earlier_by(self, us: i64) -> StationClock {
        StationClock(self.0.earlier_by(us))
    }

    /// The station's time in microseconds; 0 before the founding.
    pub fn station_us(&self, now: Instant) -> u64 {
        self.0.shown_us(now).max(0) as u64
    }

    /// The slot that contains `now`: the last one that is due.
    pub fn slot(&self, now: Instant) -> Slot {
        Slot(self.station_us(now) / FRAME_MICROS)
    }

    /// The first slot that is not due before `now`.
    pub fn next_slot(&self, now: Instant) -> Slot {
        Slot(self.station_us(now).div_ceil(FRAME_MICROS))
    }

    /// The local time of a station time; the local clock's zero, if it was before that.
    pub fn local_us(&self, station_us: u64) -> Instant {
        self.0.local(station_us)
    }

    /// When a slot falls due on the local clock.
    pub fn local(&self, slot: Slot) -> Instant {
        self.local_us(slot.due_us())
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

    proptest! {
        #[test]
        fn there_and_back_is_exact(at in 0u64..1 << 60, station_us in 0u64..1 << 60, later in 0u64..1 << 60) {
            let clock = StationClock::new(Instant::from_micros(at), station_us);
            let now = Instant::from_micros(at + later);
            prop_assert_eq!(clock.local_us(clock.station_us(now)), now);
        }
    }
}
