//! How do frames travel in bulk, and did they arrive whole?
//!
//! A block is up to [`BLOCK_FRAMES`] consecutive frames of one track, with a BLAKE3 hash over what it says: a copy is checked second by
//! second while the track still grows. All numbers are big-endian:
//!
//! `track 16 · first u64 · count u8 · hash 32 · count × (length u16 · packet)`

use thiserror::Error;

use super::ids::TrackId;
use super::media::MAX_PAYLOAD_BYTES;

/// Frames in a block: one second.
pub const BLOCK_FRAMES: u64 = 50;
/// Track, first frame, count and hash.
const HEADER_BYTES: usize = 16 + 8 + 1 + 32;
/// Frames that a track can have: an index fits 32 bits.
pub const MAX_TRACK_FRAMES: u64 = 1 << 32;

/// Some frames of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Which track.
    pub track: TrackId,
    /// The number of the first packet in it.
    pub first: u64,
    /// The packets, 1 to [`BLOCK_FRAMES`].
    pub packets: Vec<&'a [u8]>,
}

/// Why bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Fewer bytes than it says.
    #[error("block of frames cut short: {0} bytes")]
    Truncated(usize),
    /// No packets, or too many, or a packet of an impossible length, or beyond the end of any track.
    #[error("block of frames with {what} of {value}")]
    Range {
        /// What is wrong.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Damaged on its way.
    #[error("block from frame {0} does not match its hash")]
    Hash(u64),
}

impl BlockError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            BlockError::Truncated(_) => "block_truncated",
            BlockError::Range { .. } => "block_range",
            BlockError::Hash(_) => "block_hash",
        }
    }
}

impl<'a> Block<'a> {
    /// Reads the block that `bytes` begin with; answers it and what comes after it.
    ///
    /// # Errors
    /// Says why that is no block; never panics.
    pub fn parse(bytes: &'a [u8]) -> Result<(Block<'a>, &'a [u8]), BlockError> {
        let truncated = BlockError::Truncated(bytes.len());
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(truncated)?;
        let (track, header) = header.split_first_chunk::<16>().ok_or(truncated)?;
        let (first, header) = header.split_first_chunk::<8>().ok_or(truncated)?;
        let (count, hash) = header.split_first().ok_or(truncated)?;
        let (first, count) = (u64::from_be_bytes(*first), *count);
        if count == 0 || u64::from(count) > BLOCK_FRAMES {
            let value = u64::from(count);
            return Err(BlockError::Range {
                what: "a count",
                value,
            });
        }
        if first > MAX_TRACK_FRAMES - u64::from(count) {
            return Err(BlockError::Range {
                what: "a first frame",
                value: first,
            });
        }
        let mut packets = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (length, after) = rest.split_first_chunk::<2>().ok_or(truncated)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if !(1..=MAX_PAYLOAD_BYTES).contains(&length) {
                let value = length as u64;
                return Err(BlockError::Range {
                    what: "a packet",
                    value,
                });
            }
            let (packet, after) = after.split_at_checked(length).ok_or(truncated)?;
            packets.push(packet);
            rest = after;
        }
        let block = Block {
            track: TrackId(*track),
            first,
            packets,
        };
        if block.hash() != *hash {
            return Err(BlockError::Hash(first));
        }
        Ok((block, rest))
    }

    /// Appends the block to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!((1..=BLOCK_FRAMES as usize).contains(&self.packets.len()));
        out.extend_from_slice(&self.track.0);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.push(self.packets.len() as u8);
        out.extend_from_slice(&self.hash());
        for packet in &self.packets {
            out.extend_from_slice(&(packet.len() as u16).to_be_bytes());
            out.extend_from_slice(packet);
        }
    }

    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.track.0);
        hasher.update(&self.first.to_be_bytes());
        for packet in &self.packets {
            hasher.update(&(packet.len() as u16).to_be_bytes());
            hasher.update(packet);
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(block: &Block<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        block.write(&mut out);
        out
    }

    fn block<'a>(packets: &[&'a [u8]]) -> Block<'a> {
        Block {
            track: TrackId([9; 16]),
            first: 100,
            packets: packets.to_vec(),
        }
    }

    #[test]
    fn every_way_to_be_wrong_has_its_own_reason() {
        let good = bytes_of(&block(&[&[1, 2], &[3]]));
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let range = |what, value| BlockError::Range { what, value };
        let table = [
            (vec![], BlockError::Truncated(0)),
            (
                good[..good.len() - 1].to_vec(),
                BlockError::Truncated(good.len() - 1),
            ),
            (with(24, 0), range("a count", 0)),
            (with(24, 51), range("a count", 51)),
            (with(16, 1), range("a first frame", (1 << 56) + 100)),
            (with(58, 0), range("a packet", 0)),
            (with(57, 9), range("a packet", 9 * 256 + 2)),
            (with(59, 9), BlockError::Hash(100)),
            (with(0, 1), BlockError::Hash(100)),
        ];
        for (bytes, error) in table {
            assert_eq!(Block::parse(&bytes), Err(error));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..=50), after in any::<[u8; 3]>(),
        ) {
            let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let block = block(&packets);
            let bytes = [bytes_of(&block), after.to_vec()].concat();
            prop_assert_eq!(Block::parse(&bytes), Ok((block, &after[..])));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Block::parse(&bytes);
        }
    }
}
