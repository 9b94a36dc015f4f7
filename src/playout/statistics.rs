//! What is counted, and what exactly does each counter mean? (DESIGN 2)
//!
//! Two equations hold at any moment and are tested: blocks played = `received` + `concealed`, and `concealed` = `late` +
//! `lost` + those concealed less than a second ago of which no copy has come yet. Frames decoded unheard (pre-roll) are in none of
//! them.

use std::collections::BTreeMap;

use super::store::Via;

/// Totals since the player was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Blocks played with data.
    pub received: u64,
    /// First copies that came after their frame was concealed, within 1 s of its play time.
    pub late: u64,
    /// Frames of which no (or no decodable) copy had come 1 s after their play time, or when the player finished.
    pub lost: u64,
    /// The part of `received` that came by repair or replica: the sum of the next three.
    pub repaired: u64,
    /// From this node's own copy.
    pub repaired_by_replica: u64,
    /// By a repair for this node alone.
    pub repaired_by_unicast: u64,
    /// By a repair for several.
    pub repaired_by_multicast: u64,
    /// Blocks played without data.
    pub concealed: u64,
    /// Further copies of a frame.
    pub duplicate: u64,
    /// First copies that came after a frame with a higher index.
    pub reordered: u64,
    /// How often the device wanted samples that were not there; counted by the output.
    pub underruns: u64,
    /// Packets that were not used, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

impl Statistics {
    /// Packets that were not used.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Adds the counters of another player.
    pub fn add(&mut self, other: &Statistics) {
        self.received += other.received;
        self.late += other.late;
        self.lost += other.lost;
        self.repaired += other.repaired;
        self.repaired_by_replica += other.repaired_by_replica;
        self.repaired_by_unicast += other.repaired_by_unicast;
        self.repaired_by_multicast += other.repaired_by_multicast;
        self.concealed += other.concealed;
        self.duplicate += other.duplicate;
        self.reordered += other.reordered;
        self.underruns += other.underruns;
        self.add_rejected(other);
    }

    /// Adds the packets that another player did not use.
    pub fn add_rejected(&mut self, other: &Statistics) {
        self.add_reasons(&other.rejected);
    }

    /// Adds what another part of the program refused.
    pub fn add_reasons(&mut self, rejected: &BTreeMap<&'static str, u64>) {
        for (reason, count) in rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }

    /// Counts a packet that was not used. Reasons are a fixed set of names, so the map is small.
    pub fn reject(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// A frame with data was played that came by this way.
    pub fn count_received(&mut self, via: Via) {
        self.received += 1;
        let by = match via {
            Via::Stream => return,
            Via::Replica => &mut self.repaired_by_replica,
            Via::Unicast => &mut self.repaired_by_unicast,
            Via::Multicast => &mut self.repaired_by_multicast,
        };
        *by += 1;
        self.repaired += 1;
    }

    /// Blocks played, with or without data.
    pub fn played(&self) -> u64 {
        self.received + self.concealed
    }
}
