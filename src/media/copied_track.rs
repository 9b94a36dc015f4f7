//! Where do the frames of a track live that another node encodes?
//!
//! They come in any order: heard on air one by one, fetched a second at a time. Each second is a block; while it has holes its
//! packets are held one by one, and when it is full they are put together, so that a copied track takes no more memory than
//! an encoded one; their hash is taken then, 32 bytes for a second of music, so that checking an hour of it hashes hashes only, and
//! takes no time from what plays meanwhile. How far a standby could go on is asked ten times a second: the runs of frames without
//! a hole answer that, however long the track is.

use std::collections::BTreeMap;

use super::track::{BLOCK_PACKETS, Digest, PushError, hash_of, packet};
use crate::wire::TrackId;
use crate::wire::media::MAX_PAYLOAD_BYTES;

const BLOCK: u64 = BLOCK_PACKETS as u64;

/// The frames of one track that were copied so far.
#[derive(Debug)]
pub struct CopiedTrack {
    id: TrackId,
    blocks: BTreeMap<u64, Block>,
    /// Runs of held frames, first frame to one past the last: they neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
    /// Frames of which packets are held.
    held: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Block {
    /// With holes: packets one by one.
    Partial(Vec<Option<Box<[u8]>>>),
    /// All there: put together, with the end of each packet, and the hash.
    Full {
        bytes: Box<[u8]>,
        ends: Box<[u16]>,
        digest: Digest,
    },
}

impl CopiedTrack {
    /// Nothing of it yet.
    pub fn new(id: TrackId) -> CopiedTrack {
        CopiedTrack {
            id,
            blocks: BTreeMap::new(),
            runs: BTreeMap::new(),
            held: 0,
            bytes: 0,
        }
    }

    /// The track's name.
    pub fn id(&self) -> TrackId {
        self.id
    }

    /// Keeps a frame; `false` if it is held already.
    ///
    /// # Errors
    /// No frame has such a length or number; nothing was kept.
    pub fn insert(&mut self, k: u64, packet: &[u8]) -> Result<bool, PushError> {
        if packet.is_empty() || packet.len() > MAX_PAYLOAD_BYTES {
            return Err(PushError::PacketLength(packet.len()));
        }
        if k >= super::track::MAX_FRAMES {
            return Err(PushError::Full);
        }
        let block = (self.blocks.entry(k / BLOCK))
            .or_insert_with(|| Block::Partial(vec![None; BLOCK_PACKETS]));
        let Block::Partial(packets) = block else {
            return Ok(false);
        };
        let place = &mut packets[(k % BLOCK) as usize];
        if place.is_some() {
            return Ok(false);
        }
        *place = Some(packet.into());
        self.held += 1;
        self.bytes += packet.len() + 2;
        if packets.iter().all(Option::is_some) {
            *block = put_together(packets);
            self.bytes += size_of::<Digest>();
        }
        self.join_runs(k);
        Ok(true)
    }

    /// Frame `k` is held now: alone, at one end of a run, or between two.
    fn join_runs(&mut self, k: u64) {
        let end = self.runs.remove(&(k + 1)).unwrap_or(k + 1);
        let before = self.runs.range_mut(..k).next_back();
        match before.filter(|(_, before_end)| **before_end == k) {
            Some((_, before_end)) => *before_end = end,
            None => drop(self.runs.insert(k, end)),
        }
    }

    /// The packet of frame `k`, if it is held.
    pub fn get(&self, k: u64) -> Option<&[u8]> {
        let within = (k % BLOCK) as usize;
        match self.blocks.get(&(k / BLOCK))? {
            Block::Partial(packets) => packets[within].as_deref(),
            Block::Full { bytes, ends, .. } => packet(bytes, ends, within),
        }
    }

    /// How many frames are held without a hole, from frame `k` on.
    pub fn held_from(&self, k: u64) -> u64 {
        let run = self.runs.range(..=k).next_back();
        run.map_or(0, |(_, end)| end.saturating_sub(k))
    }

    /// One past the last frame that is held.
    pub fn end(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// How many frames are held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Memory held for packets and hashes, in bytes.
    pub fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// The hash of the whole track, if all of its `frames` are held: as the one who encoded it names it.
    pub fn digest(&self, frames: u64) -> Option<Digest> {
        if self.held_from(0) < frames {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for first in (0..frames).step_by(BLOCK_PACKETS) {
            let end = frames.min(first + BLOCK);
            let digest = match self.blocks.get(&(first / BLOCK)) {
                Some(Block::Full { digest, .. }) if end == first + BLOCK => *digest,
                _ => hash_of((first..end).filter_map(|k| self.get(k))),
            };
            hasher.update(&digest.0);
        }
        Some(Digest(*hasher.finalize().as_bytes()))
    }

    /// Drops the blocks that lie wholly before frame `k`.
    pub fn drop_before(&mut self, k: u64) {
        while let Some(first) = self
            .blocks
            .first_entry()
            .filter(|first| *first.key() < k / BLOCK)
        {
            let (frames, bytes) = match first.get() {
                Block::Full { bytes, ends, .. } => (ends.len(), bytes.len() + size_of::<Digest>()),
                Block::Partial(packets) => {
                    let held = packets.iter().flatten();
                    (held.clone().count(), held.map(|packet| packet.len()).sum())
                }
            };
            self.held -= frames as u64;
            self.bytes -= bytes + 2 * frames;
            first.remove();
        }
        let kept = k / BLOCK * BLOCK;
        let after = self.runs.split_off(&kept);
        let across = self.runs.last_key_value().map_or(0, |(_, end)| *end);
        self.runs = after;
        if across > kept {
            self.runs.insert(kept, across);
        }
    }
}

fn put_together(packets: &[Option<Box<[u8]>>]) -> Block {
    let bytes: Vec<u8> = packets
        .iter()
        .flatten()
        .flat_map(|packet| packet.iter().copied())
        .collect();
    let ends = packets.iter().flatten().scan(0, |end, packet| {
        *end += packet.len() as u16;
        Some(*end)
    });
    Block::Full {
        ends: ends.collect(),
        bytes: bytes.into(),
        digest: hash_of(packets.iter().flatten().map(|packet| &**packet)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::Track;

    fn bytes(k: u64) -> Vec<u8> {
        vec![k as u8; 1 + (k % 300) as usize]
    }

    #[test]
    fn frames_come_in_any_order_and_are_found() {
        let mut copy = CopiedTrack::new(TrackId([1; 16]));
        let order = (0..120u64).map(|n| n * 77 % 120);
        for (n, k) in order.enumerate() {
            assert_eq!(copy.insert(k, &bytes(k)), Ok(true));
            assert_eq!(copy.insert(k, &bytes(k)), Ok(false));
            assert_eq!(copy.held(), n as u64 + 1);
        }
        assert!((0..120).all(|k| copy.get(k) == Some(&bytes(k)[..])));
        assert_eq!(
            (
                copy.get(120),
                copy.held_from(0),
                copy.held_from(50),
                copy.end()
            ),
            (None, 120, 70, 120)
        );
        assert_eq!(copy.insert(5, &[]), Err(PushError::PacketLength(0)));
        let expected: usize = (0..120).map(|k| bytes(k).len() + 2).sum();
        let hashes = 2 * size_of::<Digest>();
        assert_eq!(copy.bytes_held(), expected + hashes);
        copy.drop_before(60);
        assert_eq!(
            (copy.get(49), copy.held(), copy.held_from(50)),
            (None, 70, 70)
        );
        assert_eq!((copy.held_from(49), copy.end()), (0, 120));
        copy.drop_before(1_000);
        assert_eq!((copy.held(), copy.bytes_held(), copy.end()), (0, 0, 0));
    }

    #[test]
    fn holes_end_what_is_held() {
        let mut copy = CopiedTrack::new(TrackId([1; 16]));
        for k in (0..200).filter(|k| ![3, 50, 149].contains(k)) {
            copy.insert(k, &bytes(k)).unwrap();
        }
        let held = [0, 3, 4, 50, 51, 150, 999].map(|k| copy.held_from(k));
        assert_eq!(held, [3, 0, 46, 0, 98, 50, 0]);
        assert_eq!(copy.end(), 200);
    }

    #[test]
    fn a_whole_copy_has_the_hash_of_the_original() {
        for frames in [1, 49, 50, 51, 130] {
            let mut track = Track::new(TrackId([1; 16]));
            let mut copy = CopiedTrack::new(TrackId([1; 16]));
            for k in 0..frames {
                track.push(&bytes(k)).unwrap();
                assert_eq!(copy.digest(frames), None);
                copy.insert(k, &bytes(k)).unwrap();
            }
            assert_eq!(copy.digest(frames), Some(track.finish()), "{frames}");
        }
    }

    #[test]
    fn a_copy_that_goes_on_after_the_end_is_hashed_up_to_the_end() {
        let mut track = Track::new(TrackId([1; 16]));
        let mut copy = CopiedTrack::new(TrackId([1; 16]));
        for k in 0..100 {
            copy.insert(k, &bytes(k)).unwrap();
        }
        for k in 0..60 {
            track.push(&bytes(k)).unwrap();
        }
        assert_eq!(copy.digest(60), Some(track.finish()));
    }

    #[test]
    fn full_blocks_are_hashed_once_and_never_read_again() {
        let mut copy = CopiedTrack::new(TrackId([1; 16]));
        for k in 0..120 {
            copy.insert(k, &bytes(k)).unwrap();
        }
        let digest = copy.digest(120);
        for block in copy.blocks.values_mut() {
            if let Block::Full { bytes, .. } = block {
                bytes.fill(0);
            }
        }
        assert_eq!(copy.digest(120), digest);
    }
}
