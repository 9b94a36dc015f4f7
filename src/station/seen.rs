//! Which frames were on air lately, whoever sent them?
//!
//! A ring by index: it answers for the last frames only, which is all that a cover or a resumed leader asks about.

use crate::wire::FrameIndex;

/// Frames remembered: 20 s, four times the longest buffer.
const CAPACITY: usize = 1_024;

/// The frames that were seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// By index modulo [`CAPACITY`], one more than the index that was seen there.
    ring: Vec<u64>,
    top: Option<FrameIndex>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            ring: vec![0; CAPACITY],
            top: None,
        }
    }
}

impl Seen {
    /// Frame `index` was on air.
    pub fn insert(&mut self, index: FrameIndex) {
        let place = &mut self.ring[(index.0 % CAPACITY as u64) as usize];
        *place = (*place).max(index.0 + 1);
        self.top = self.top.max(Some(index));
    }

    /// Whether frame `index` was on air, as far as that is remembered.
    pub fn contains(&self, index: FrameIndex) -> bool {
        self.ring[(index.0 % CAPACITY as u64) as usize] == index.0 + 1
    }

    /// The highest index that was on air.
    pub fn top(&self) -> Option<FrameIndex> {
        self.top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_are_remembered_and_older_ones_displaced() {
        let mut seen = Seen::default();
        assert_eq!((seen.top(), seen.contains(FrameIndex(0))), (None, false));
        for index in [0, 5, 3] {
            seen.insert(FrameIndex(index));
        }
        let held = |seen: &Seen| [0, 3, 4, 5, 1_024].map(|n| seen.contains(FrameIndex(n)));
        assert_eq!(held(&seen), [true, true, false, true, false]);
        assert_eq!(seen.top(), Some(FrameIndex(5)));
        seen.insert(FrameIndex(1_024));
        seen.insert(FrameIndex(0));
        assert_eq!(held(&seen), [false, true, false, true, true]);
        assert_eq!(seen.top(), Some(FrameIndex(1_024)));
    }
}
