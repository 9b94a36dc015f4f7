//! Where does a state machine get its random waits from? From a generator that its owner seeds (SplitMix64, Steele et al. 2014):
//! in production by the system, in the simulator by the run, so that a run can be repeated byte for byte.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A small seeded generator; for waits, not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of this range.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end() - range.start() + 1;
        range.start() + self.bits() % span
    }

    /// A wait, in milliseconds.
    pub fn wait_ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_waits_and_all_of_the_range() {
        let waits = |seed| {
            let mut random = Random::new(seed);
            (0..200)
                .map(|_| random.wait_ms(30..=33).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        assert!((30..=33).all(|ms| waits(7).contains(&ms)));
        assert!(waits(7).iter().all(|ms| (30..=33).contains(ms)));
    }
}
