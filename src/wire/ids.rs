//! What do the numbers in a packet mean, and how do 16 and 32 bits become 64?
//!
//! Inside the program a frame is a [`FrameIndex`] and never wraps. The sequence number and the timestamp of RTP are
//! functions of it (PROTOCOL, "Identity"), with offsets that are hashes of the SSRC: a joiner places a packet from the packet
//! alone, and two nodes that hold the same programme send the same bytes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long one frame lasts: 20 ms.
pub const FRAME: Duration = Duration::from_millis(20);
/// [`FRAME`] in microseconds.
pub const FRAME_MICROS: u64 = 20_000;
/// Ticks of the RTP clock (48 kHz, RFC 7587 section 4.1) in one frame.
pub const FRAME_TICKS: u64 = 960;

/// Frames sent since the station was founded; contiguous for ever. 40 bits of it fit in a packet: 697 years.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FrameIndex(pub u64);

impl FrameIndex {
    /// One more than the highest index a packet can carry.
    pub const LIMIT: u64 = 1 << 40;

    /// The frame `count` frames later.
    pub const fn plus(self, count: u64) -> FrameIndex {
        FrameIndex(self.0.saturating_add(count))
    }

    /// The frame `count` frames earlier, or the first one.
    pub const fn minus(self, count: u64) -> FrameIndex {
        FrameIndex(self.0.saturating_sub(count))
    }

    /// How many frames `self` comes after `other`; zero if it comes before.
    pub const fn since(self, other: FrameIndex) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for FrameIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Frame-sized steps of the station clock since the founding: a frame index plus the idle frames before it.
/// `due = slot · 20 ms`, so a slot is where a frame stands in time, as the index is where it stands in the programme.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Slot(pub u64);

impl Slot {
    /// When it falls due: microseconds on the station clock.
    pub const fn due_us(self) -> u64 {
        self.0.saturating_mul(FRAME_MICROS)
    }
}

/// RTP sequence number (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq(pub u16);

/// RTP timestamp (RFC 3550 section 5.1), in ticks of 1/48000 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpTimestamp(pub u32);

/// A station is its SSRC (RFC 3550 section 3): one for the station's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StationId(pub u32);

impl StationId {
    /// The sequence number of frame 0.
    pub fn first_seq(self) -> Seq {
        let hash = self.hash();
        Seq(u16::from_be_bytes([hash[0], hash[1]]))
    }

    /// The timestamp of slot 0.
    pub fn first_timestamp(self) -> RtpTimestamp {
        let hash = self.hash();
        RtpTimestamp(u32::from_be_bytes([hash[4], hash[5], hash[6], hash[7]]))
    }

    fn hash(self) -> [u8; 32] {
        blake3::derive_key(
            "lanradio 2026 first sequence number and timestamp of a station",
            &self.0.to_be_bytes(),
        )
    }
}

impl fmt::Display for StationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The offsets of one station, computed once: packets are placed and built with them.
#[derive(Clone, Copy, Debug)]
pub struct Numbering {
    station: StationId,
    seq0: u16,
    ts0: u32,
}

impl Numbering {
    /// The numbering of `station`.
    pub fn of(station: StationId) -> Numbering {
        Numbering {
            station,
            seq0: station.first_seq().0,
            ts0: station.first_timestamp().0,
        }
    }

    /// Whose numbering it is.
    pub fn station(&self) -> StationId {
        self.station
    }

    /// The sequence number of a frame.
    pub fn seq(&self, index: FrameIndex) -> Seq {
        Seq(self.seq0.wrapping_add(index.0 as u16))
    }

    /// The timestamp of a slot.
    pub fn timestamp(&self, slot: Slot) -> RtpTimestamp {
        RtpTimestamp(
            self.ts0
                .wrapping_add(slot.0.wrapping_mul(FRAME_TICKS) as u32),
        )
    }

    /// The frame index, from its upper 24 bits and the sequence number.
    pub fn index(&self, index_high: u32, seq: Seq) -> FrameIndex {
        FrameIndex(
            u64::from(index_high & 0x00ff_ffff) << 16 | u64::from(seq.0.wrapping_sub(self.seq0)),
        )
    }

    /// The slot of frame `index`, from its timestamp.
    ///
    /// A timestamp fixes the slot modulo 2²⁶ (960 = 15·2⁶, and 15 is invertible modulo 2²⁶): the smallest slot not before
    /// `at_least` is taken, which is exact as long as a station is idle for less than 15 days at a time. `None` if the
    /// timestamp is not a whole number of frames from the station's first one.
    pub fn slot(&self, at_least: Slot, timestamp: RtpTimestamp) -> Option<Slot> {
        const MODULUS: u64 = 1 << 26;
        const INVERSE_OF_15: u64 = inverse(15, MODULUS);
        let ticks = u64::from(timestamp.0.wrapping_sub(self.ts0));
        if !ticks.is_multiple_of(64) {
            return None;
        }
        let residue = (ticks / 64 * INVERSE_OF_15) % MODULUS;
        let ahead = residue.wrapping_sub(at_least.0) % MODULUS;
        Some(Slot(at_least.0 + ahead))
    }
}

/// The inverse of an odd number modulo a power of two (Newton's iteration).
const fn inverse(odd: u64, modulus: u64) -> u64 {
    let mut x = odd;
    let mut step = 0;
    while step < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x % modulus
}

/// One running process; drawn at random at every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The high half, which media packets carry: order in media is order in control.
    pub const fn short(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A leader's period in office (Raft section 5.1), totally ordered by counter, then leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// Rises with every claim.
    pub counter: u32,
    /// Who leads.
    pub leader: NodeId,
}

impl Term {
    /// As media packets carry it.
    pub const fn short(self) -> ShortTerm {
        ShortTerm {
            counter: self.counter,
            leader: self.leader.short(),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.counter, self.leader)
    }
}

/// A [`Term`] with the high half of its leader: what a media packet has room for. Ordered like the term itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortTerm {
    /// The term's counter.
    pub counter: u32,
    /// The high half of the leader's id.
    pub leader: u32,
}

/// The first 24 bits of a plan's BLAKE3 hash: names a plan without a version number that two leaders could both give out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanDigest(pub u32);

/// The encoded frames of one source; random, since tracks are shared while they grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub [u8; 16]);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_term_is_ordered_like_the_term() {
        let low = Term {
            counter: 1,
            leader: NodeId(0xffff_ffff_0000_0000),
        };
        let high = Term {
            counter: 2,
            leader: NodeId(0),
        };
        assert!(low < high && low.short() < high.short());
        let a = Term {
            counter: 1,
            leader: NodeId(0x0000_0001_ffff_ffff),
        };
        let b = Term {
            counter: 1,
            leader: NodeId(0x0000_0002_0000_0000),
        };
        assert!(a < b && a.short() < b.short());
    }

    #[test]
    fn a_timestamp_off_the_frame_grid_has_no_slot() {
        let numbering = Numbering::of(StationId(7));
        let on_grid = numbering.timestamp(Slot(5));
        assert_eq!(numbering.slot(Slot(5), on_grid), Some(Slot(5)));
        assert_eq!(
            numbering.slot(Slot(5), RtpTimestamp(on_grid.0.wrapping_add(1))),
            None
        );
    }

    proptest! {
        #[test]
        fn index_survives_the_sixteen_bits_of_rtp(ssrc: u32, n in 0..FrameIndex::LIMIT) {
            let numbering = Numbering::of(StationId(ssrc));
            prop_assert_eq!(numbering.index((n >> 16) as u32, numbering.seq(FrameIndex(n))), FrameIndex(n));
        }

        #[test]
        fn slot_survives_the_thirty_two_bits_of_rtp(ssrc: u32, n in 0..FrameIndex::LIMIT, idle in 0u64..1 << 26) {
            let numbering = Numbering::of(StationId(ssrc));
            let slot = Slot(n + idle);
            prop_assert_eq!(numbering.slot(Slot(n), numbering.timestamp(slot)), Some(slot));
        }
    }
}
