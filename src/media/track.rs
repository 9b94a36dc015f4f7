//! Where do the packets of one track live while it grows, and how is a copy of it checked?
//!
//! In blocks of 50 packets (one second): one allocation per block plus its offsets, so that a minute of music at
//! 128 kbit/s costs less than 1 MiB where a `Vec` per packet would pay an allocation and its slack 3,000 times. A block
//! that is full never changes again; its BLAKE3 hash lets a copy be checked second by second while the track still
//! grows, and the hash over the block hashes names the whole track at its end.

use std::collections::VecDeque;
use std::fmt;

use crate::wire::media::MAX_PAYLOAD_BYTES;
use crate::wire::{TrackId, block};

/// Packets in a full block: one second of frames.
pub const BLOCK_PACKETS: usize = block::BLOCK_FRAMES as usize;
/// The most frames a track may have: 2³² (994 days), so that an index within a track always fits 32 bits.
pub const MAX_FRAMES: u64 = block::MAX_TRACK_FRAMES;

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The track has its last packet already.
    #[error("adding a packet to a finished track")]
    Finished,
    /// An empty packet, or one over [`MAX_PAYLOAD_BYTES`].
    #[error("adding a packet of {0} bytes: a frame has 1 to 1275")]
    PacketLength(usize),
    /// [`MAX_FRAMES`] are there.
    #[error("adding a packet to a track of 2^32 frames, the limit")]
    Full,
}

/// The packets of one source, in order, from `first_held()` to `len()`.
#[derive(Debug)]
pub struct Track {
    id: TrackId,
    /// Full blocks that are still held; the first has the number `dropped`.
    blocks: VecDeque<Block>,
    /// Blocks dropped from the front.
    dropped: usize,
    /// The block that grows; its buffers are used again for the next one.
    open: Building,
    /// Hash of every finished block, dropped ones included: 32 bytes for a second of music.
    block_digests: Vec<Digest>,
    digest: Option<Digest>,
}

/// A full block, trimmed to what it needs.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    /// Where packet i ends in `bytes`; 50 × 1,275 bytes fit in a u16.
    ends: Box<[u16]>,
}

#[derive(Debug, Default)]
struct Building {
    bytes: Vec<u8>,
    ends: Vec<u16>,
}

const _: () = assert!(BLOCK_PACKETS * MAX_PAYLOAD_BYTES <= u16::MAX as usize);

impl Track {
    /// An empty track that grows.
    pub fn new(id: TrackId) -> Track {
        Track {
            id,
            blocks: VecDeque::new(),
            dropped: 0,
            open: Building::default(),
            block_digests: Vec::new(),
            digest: None,
        }
    }

    /// The track's name.
    pub fn id(&self) -> TrackId {
        self.id
    }

    /// Appends the next packet.
    ///
    /// # Errors
    /// The track is finished or full, or no frame has such a length; nothing was appended.
    pub fn push(&mut self, packet: &[u8]) -> Result<(), PushError> {
        if self.is_finished() {
            return Err(PushError::Finished);
        }
        if packet.is_empty() || packet.len() > MAX_PAYLOAD_BYTES {
            return Err(PushError::PacketLength(packet.len()));
        }
        if self.len() >= MAX_FRAMES {
            return Err(PushError::Full);
        }
        self.open.bytes.extend_from_slice(packet);
        self.open.ends.push(self.open.bytes.len() as u16);
        if self.open.ends.len() == BLOCK_PACKETS {
            self.close_block();
        }
        Ok(())
    }

    /// Closes the track: no packet follows. Finishing again changes nothing.
    pub fn finish(&mut self) -> Digest {
        if let Some(digest) = self.digest {
            return digest;
        }
        if !self.open.ends.is_empty() {
            self.close_block();
        }
        self.open = Building::default();
        let mut hasher = blake3::Hasher::new();
        for block in &self.block_digests {
            hasher.update(&block.0);
        }
        let digest = Digest(*hasher.finalize().as_bytes());
        self.digest = Some(digest);
        digest
    }

    /// Whether the last packet is there.
    pub fn is_finished(&self) -> bool {
        self.digest.is_some()
    }

    /// Frames pushed so far, dropped ones included.
    pub fn len(&self) -> u64 {
        // Every closed block is full, except the last one of a finished track, which is never dropped alone.
        match self.blocks.back() {
            Some(last) => {
                let before = self.dropped + self.blocks.len() - 1;
                (before * BLOCK_PACKETS + last.ends.len() + self.open.ends.len()) as u64
            }
            None => (self.dropped * BLOCK_PACKETS + self.open.ends.len()) as u64,
        }
    }

    /// Whether no frame was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet of frame `i` of the track; `None` if it is not there yet or was dropped.
    pub fn get(&self, i: u64) -> Option<&[u8]> {
        let i = usize::try_from(i).ok()?;
        let index = (i / BLOCK_PACKETS).checked_sub(self.dropped)?;
        let within = i % BLOCK_PACKETS;
        match self.blocks.get(index) {
            Some(block) => packet(&block.bytes, &block.ends, within),
            None if index == self.blocks.len() => packet(&self.open.bytes, &self.open.ends, within),
            None => None,
        }
    }

    /// Memory held, in bytes: packets, offsets and hashes.
    pub fn bytes_held(&self) -> usize {
        let closed: usize = self
            .blocks
            .iter()
            .map(|block| block.bytes.len() + 2 * block.ends.len())
            .sum();
        closed
            + self.blocks.capacity() * size_of::<Block>()
            + self.open.bytes.capacity()
            + 2 * self.open.ends.capacity()
            + self.block_digests.capacity() * size_of::<Digest>()
    }

    /// Drops the full blocks that lie wholly before frame `i`. The last block of a track always stays, so that a
    /// track knows its length.
    pub fn drop_before(&mut self, i: u64) {
        let whole = usize::try_from(i).unwrap_or(usize::MAX) / BLOCK_PACKETS;
        while self.dropped < whole
            && (self.blocks.len() > 1 || (self.blocks.len() == 1 && !self.is_finished()))
        {
            self.blocks.pop_front();
            self.dropped += 1;
        }
    }

    /// The first frame that was not dropped.
    pub fn first_held(&self) -> u64 {
        (self.dropped * BLOCK_PACKETS) as u64
    }

    /// The hash of block `k` (frames 50·k to 50·k + 49), once it is finished.
    pub fn block_digest(&self, k: usize) -> Option<Digest> {
        self.block_digests.get(k).copied()
    }

    /// The hash of the whole track, once it is finished.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn close_block(&mut self) {
        let (bytes, ends) = (&self.open.bytes, &self.open.ends);
        let packets = (0..ends.len()).filter_map(|i| packet(bytes, ends, i));
        self.block_digests.push(hash_of(packets));
        self.blocks.push_back(Block {
            bytes: self.open.bytes.as_slice().into(),
            ends: self.open.ends.as_slice().into(),
        });
        self.open.bytes.clear();
        self.open.ends.clear();
    }
}

/// Packet `i` of those that lie in `bytes` and end at `ends`.
pub(super) fn packet<'a>(bytes: &'a [u8], ends: &[u16], i: usize) -> Option<&'a [u8]> {
    let end = usize::from(*ends.get(i)?);
    let start = i.checked_sub(1).map_or(0, |j| usize::from(ends[j]));
    Some(&bytes[start..end])
}

/// Each packet's length (u16, big-endian) and bytes: without the lengths two cuts of the same bytes would be alike.
pub(super) fn hash_of<'a>(packets: impl Iterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for packet in packets {
        hasher.update(&(packet.len() as u16).to_be_bytes());
        hasher.update(packet);
    }
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
