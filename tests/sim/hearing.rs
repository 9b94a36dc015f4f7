//! What did a listener hear, and when was each frame on air? Looked at after a run (PROTOCOL's S7).

use std::collections::BTreeMap;

use lanradio::wire::FrameIndex;

use crate::host::Heard;
use crate::world::World;

impl World {
    /// How many frames a host concealed. S7: each index is played or concealed exactly once, in order; and what follows a frame
    /// is the next one, unless the player changed to another leader.
    pub(crate) fn concealed(&mut self, number: usize) -> usize {
        let mut last: Option<FrameIndex> = None;
        let mut before: Option<(FrameIndex, (u32, u64))> = None;
        let (mut concealed, mut jumps) = (0, 0);
        let heard = self.hosts[number].heard.clone();
        for heard in heard {
            let index = match heard {
                Heard::OffAir => {
                    (last, before) = (None, None);
                    continue;
                }
                Heard::Played(index, sound) => {
                    if let Some((at, old)) = before
                        && !self.follows(old, sound, index.since(at))
                    {
                        jumps += 1;
                        self.say(&format!(
                            "{number} hears {sound:?} in frame {index}, {old:?} in {at}"
                        ));
                    }
                    before = Some((index, sound));
                    index
                }
                Heard::Concealed(index) => {
                    concealed += 1;
                    index
                }
            };
            if last.is_some_and(|last| index != last.plus(1)) {
                self.violate(
                    "S7",
                    format!("{number} decides frame {index} after {last:?}"),
                );
            }
            last = Some(index);
        }
        let allowed = self.hosts[number].leaders_heard.saturating_sub(1);
        if jumps > allowed {
            self.violate(
                "S7",
                format!("{number} heard {jumps} jumps and {allowed} changes of leader"),
            );
        }
        concealed
    }

    /// Whether one sound is what comes `frames` after the other.
    fn follows(
        &self,
        (track, k): (u32, u64),
        (next_track, next_k): (u32, u64),
        frames: u64,
    ) -> bool {
        let length = self.tracks.get(&track).copied().expect("a known track");
        // The plan was changed: of the old track nothing more was to be had, and the new one began since.
        if next_k < frames {
            return true;
        }
        let rest = length.saturating_sub(k + 1); // of the old track
        track == next_track && k + frames == next_k || frames > rest && frames - rest - 1 == next_k
    }

    /// The longest time from one frame's first packet to the next one's, in microseconds, from frame `from` to `to`.
    pub(crate) fn longest_hole(&self, from: u64, to: u64) -> u64 {
        let mut times: BTreeMap<FrameIndex, u64> = BTreeMap::new();
        for ((_, index), first) in &self.checks.first {
            times.insert(*index, *first);
        }
        let mut longest = 0;
        for index in from..to {
            let (Some(a), Some(b)) = (
                times.get(&FrameIndex(index)),
                times.get(&FrameIndex(index + 1)),
            ) else {
                return u64::MAX;
            };
            longest = longest.max(b.saturating_sub(*a));
        }
        longest
    }
}
