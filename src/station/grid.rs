//! When should the next frame of the leader arrive?
//!
//! Its packets leave on a grid of 20 ms and arrive a little later, each with a delay of its own; the smallest delay is the
//! steadiest one, so the grid is the minimum of the last seconds (PROTOCOL, "COVER"). It is what silence is measured on, and
//! what a new leader goes on with: its first frame then comes when the old leader's would have come.

use std::time::Duration;

use super::clock::StationClock;
use crate::time::Instant;
use crate::wire::Slot;

/// Packets from which one minimum is taken: the grid forgets within one to two seconds, before two clocks that differ by
/// 200 ppm are half a millisecond apart.
const SAMPLES: u32 = 50;

/// The arrival times of one leader's packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grid {
    zero_at_us: Option<i64>,
    before: Option<i64>,
    samples: u32,
}

impl Grid {
    /// What stands in `slot` has arrived.
    pub fn handle_arrival(&mut self, slot: Slot, arrived: Instant) {
        self.handle_sample(slot.due_us(), arrived);
    }

    /// What was sent at this time of the station clock has arrived.
    pub fn handle_sample(&mut self, station_us: u64, arrived: Instant) {
        let zero = (arrived.as_micros() as i64).saturating_sub_unsigned(station_us);
        if self.samples == SAMPLES {
            self.before = self.zero_at_us.take();
            self.samples = 0;
        }
        self.samples += 1;
        self.zero_at_us = Some(self.zero_at_us.map_or(zero, |least| least.min(zero)));
    }

    /// Whether what was sent at this time of the station clock arrived more than `by` before it could have.
    pub fn is_ahead(&self, station_us: u64, arrived: Instant, by: Duration) -> bool {
        self.clock().is_some_and(|clock| {
            station_us
                > clock
                    .station_us(arrived)
                    .saturating_add(by.as_micros() as u64)
        })
    }

    /// The station clock as its packets show it; none before the first.
    pub fn clock(&self) -> Option<StationClock> {
        let least = self.zero_at_us.into_iter().chain(self.before).min()?;
        Some(StationClock::with_zero_at(least))
    }

    /// Forgets everything: another leader has another grid.
    pub fn reset(&mut self) {
        *self = Grid::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(grid: &mut Grid, slot: u64, late_us: u64) {
        grid.handle_arrival(
            Slot(slot),
            Instant::from_micros(5_000_000 + slot * 20_000 + late_us),
        );
    }

    fn expected_us(grid: &Grid, slot: u64) -> i64 {
        let at = grid.clock().unwrap().local(Slot(slot));
        at.micros_after(Instant::from_micros(5_000_000 + slot * 20_000))
    }

    #[test]
    fn the_smallest_delay_of_the_last_seconds_is_the_grid() {
        let mut grid = Grid::default();
        assert!(grid.clock().is_none());
        arrives(&mut grid, 0, 9_000);
        assert_eq!(expected_us(&grid, 7), 9_000);
        (1..20).for_each(|slot| arrives(&mut grid, slot, 100 + slot * 50));
        assert_eq!(expected_us(&grid, 20), 150);
        (20..70).for_each(|slot| arrives(&mut grid, slot, 400));
        assert_eq!(expected_us(&grid, 70), 150, "remembered for a second");
        (70..170).for_each(|slot| arrives(&mut grid, slot, 400));
        assert_eq!(expected_us(&grid, 170), 400, "and then forgotten");
        grid.reset();
        assert!(grid.clock().is_none());
    }

    #[test]
    fn a_station_older_than_the_machine_has_a_grid_too() {
        let mut grid = Grid::default();
        grid.handle_arrival(Slot(1 << 40), Instant::from_micros(10));
        let next = grid.clock().unwrap().local(Slot((1 << 40) + 1));
        assert_eq!(next, Instant::from_micros(10) + Duration::from_millis(20));
    }
}
