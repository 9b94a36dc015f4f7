//! Where are the encoded frames of a node? What it encoded itself, and what it copied from others, within one budget.
//!
//! Frames are dropped only when the budget is spent, oldest first, and never before they were played: a pipe that never ends
//! runs in bounded memory, and a loop that fits is encoded once. A copy that does not fit is not made, and that is said.

use std::collections::VecDeque;

use super::copied_track::CopiedTrack;
use super::track::{Digest, PushError, Track};
use crate::station::Frames;
use crate::wire::TrackId;
use crate::wire::block::{BLOCK_FRAMES, Block};

/// Tracks that are copied at a time; a list has no more.
const MAX_COPIES: usize = crate::station::playlist::MAX_TRACKS;

/// All tracks of a node.
#[derive(Debug)]
pub struct Library {
    /// Encoded here, the oldest first.
    own: VecDeque<Track>,
    copies: VecDeque<CopiedTrack>,
    budget_bytes: u64,
    dropped_any: bool,
}

/// What became of a frame that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is held now.
    New,
    /// It was held already.
    Known,
    /// There is no room for it.
    Full,
    /// It is no frame.
    Refused(PushError),
}

impl Library {
    /// Nothing yet, and room for `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Library {
        Library {
            own: VecDeque::new(),
            copies: VecDeque::new(),
            budget_bytes,
            dropped_any: false,
        }
    }

    /// Begins a track that is encoded here; packets go to the newest one.
    pub fn begin(&mut self, id: TrackId) {
        self.own.push_back(Track::new(id));
    }

    /// Appends a frame to the newest track; answers which track it is and how long it is now.
    pub fn push(&mut self, packet: &[u8]) -> Option<(TrackId, u64)> {
        let track = self.own.back_mut()?;
        track.push(packet).ok()?;
        Some((track.id(), track.len()))
    }

    /// Ends the newest track; answers which track it is, how long, and its hash.
    pub fn finish(&mut self) -> Option<(TrackId, u64, Digest)> {
        let track = self.own.back_mut()?;
        let digest = track.finish();
        Some((track.id(), track.len(), digest))
    }

    /// Keeps frame `k` of a track that another node encodes.
    pub fn keep(&mut self, track: TrackId, k: u64, packet: &[u8]) -> Kept {
        if self.own.iter().any(|own| own.id() == track) {
            return Kept::Known;
        }
        if self.bytes_held() >= self.budget_bytes {
            return Kept::Full;
        }
        let at = self.copies.iter().rposition(|copy| copy.id() == track);
        let at = match at {
            Some(at) => at,
            None if self.copies.len() >= MAX_COPIES => return Kept::Full,
            None => {
                self.copies.push_back(CopiedTrack::new(track));
                self.copies.len() - 1
            }
        };
        match self.copies[at].insert(k, packet) {
            Ok(true) => Kept::New,
            Ok(false) => Kept::Known,
            Err(error) => Kept::Refused(error),
        }
    }

    /// Whether a copy is what its owner encoded, once all `frames` are here; a copy that is not is dropped.
    pub fn verify(&mut self, track: TrackId, frames: u64, digest: [u8; 32]) -> bool {
        let Some(at) = self.copies.iter().position(|copy| copy.id() == track) else {
            return true;
        };
        let right = self.copies[at]
            .digest(frames)
            .is_none_or(|own| own.0 == digest);
        if !right {
            self.copies.remove(at);
        }
        right
    }

    /// Blocks of a track from frame `first` on, as far as they are held without a hole, of at least one block and at most about
    /// `max_bytes`; and the frame after them.
    pub fn blocks(&self, track: TrackId, first: u64, max_bytes: usize) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let end = first + self.held_from(track, first);
        let mut at = first;
        while at < end && (at == first || out.len() < max_bytes) {
            let until = end.min((at / BLOCK_FRAMES + 1) * BLOCK_FRAMES);
            let packets = (at..until).filter_map(|k| self.packet(track, k)).collect();
            Block {
                track,
                first: at,
                packets,
            }
            .write(&mut out);
            at = until;
        }
        (out, at)
    }

    /// Whether another packet fits; makes room by dropping what was played before frame `k` of `track`.
    pub fn has_room(&mut self, played_to: Option<(TrackId, u64)>) -> bool {
        while self.bytes_held() >= self.budget_bytes {
            let Some((playing, frame)) = played_to else {
                return false;
            };
            if let Some(oldest) = self.copies.front_mut() {
                if oldest.id() != playing {
                    self.copies.pop_front();
                    continue;
                }
                oldest.drop_before(frame);
                if self.bytes_held() < self.budget_bytes {
                    return true;
                }
            }
            let Some(oldest) = self.own.front_mut() else {
                return false;
            };
            if oldest.id() == playing {
                let before = oldest.bytes_held();
                oldest.drop_before(frame);
                self.dropped_any |= oldest.bytes_held() < before;
                return self.bytes_held() < self.budget_bytes;
            }
            if self.own.iter().all(|own| own.id() != playing) {
                return false; // another node's plays: what was encoded here is still to come
            }
            self.own.pop_front();
            self.dropped_any = true;
        }
        true
    }

    /// Drops the copies that nobody needs any more.
    pub fn retain(&mut self, is_needed: impl Fn(TrackId) -> bool) {
        self.copies.retain(|copy| is_needed(copy.id()));
    }

    /// Drops of a copy what comes before frame `k`.
    pub fn forget_before(&mut self, track: TrackId, k: u64) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.id() == track) {
            copy.drop_before(k);
        }
    }

    /// Whether some frames are gone, so that the list cannot be played again from here.
    pub fn dropped_any(&self) -> bool {
        self.dropped_any
    }

    /// How many frames of a track are held.
    pub fn held(&self, track: TrackId) -> u64 {
        match self.own(track) {
            Some(own) => own.len() - own.first_held(),
            None => self.copy(track).map_or(0, CopiedTrack::held),
        }
    }

    /// Bytes of packets of a track in memory.
    pub fn bytes(&self, track: TrackId) -> u64 {
        let bytes = match self.own(track) {
            Some(own) => own.bytes_held(),
            None => self.copy(track).map_or(0, CopiedTrack::bytes_held),
        };
        bytes as u64
    }

    /// How much may be held.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Bytes of packets in memory.
    pub fn bytes_held(&self) -> u64 {
        let own: usize = self.own.iter().map(Track::bytes_held).sum();
        let copies: usize = self.copies.iter().map(CopiedTrack::bytes_held).sum();
        (own + copies) as u64
    }

    fn own(&self, track: TrackId) -> Option<&Track> {
        self.own.iter().rev().find(|own| own.id() == track)
    }

    fn copy(&self, track: TrackId) -> Option<&CopiedTrack> {
        self.copies.iter().rev().find(|copy| copy.id() == track)
    }
}

impl Frames for Library {
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]> {
        match self.own(track) {
            Some(own) => own.get(k),
            None => self.copy(track)?.get(k),
        }
    }

    fn held_from(&self, track: TrackId, k: u64) -> u64 {
        match self.own(track) {
            Some(own) if k >= own.first_held() => own.len().saturating_sub(k),
            Some(_) => 0,
            None => self.copy(track).map_or(0, |copy| copy.held_from(k)),
        }
    }

    fn end(&self, track: TrackId) -> u64 {
        match self.own(track) {
            Some(own) => own.len(),
            None => self.copy(track).map_or(0, CopiedTrack::end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::BLOCK_PACKETS;

    const PACKET: [u8; 300] = [7; 300];
    const ID: [TrackId; 2] = [TrackId([1; 16]), TrackId([2; 16])];
    /// What ten blocks of packets take at the least.
    const BUDGET: u64 = (10 * BLOCK_PACKETS * PACKET.len()) as u64;

    /// Pushes packets as long as there is room; how many.
    fn fill(tracks: &mut Library, played_to: Option<(TrackId, u64)>) -> u64 {
        let mut pushed = 0;
        while tracks.has_room(played_to) {
            tracks.push(&PACKET).unwrap();
            pushed += 1;
            assert!(pushed < 100_000, "has room for ever");
        }
        pushed
    }

    #[test]
    fn what_was_not_played_is_never_dropped() {
        let mut tracks = Library::new(BUDGET);
        tracks.begin(ID[0]);
        let held = fill(&mut tracks, None);
        assert!((450..=500).contains(&held), "{held}");
        assert_eq!(fill(&mut tracks, Some((ID[0], 0))), 0);
        assert!((0..held).all(|k| tracks.packet(ID[0], k).is_some()));
        assert!(!tracks.dropped_any());
    }

    #[test]
    fn the_oldest_played_frames_go_first_and_only_when_room_is_needed() {
        let mut tracks = Library::new(BUDGET);
        tracks.begin(ID[0]);
        let held = fill(&mut tracks, None);
        tracks.finish();
        tracks.begin(ID[1]);
        let more = fill(&mut tracks, Some((ID[0], 200)));
        assert!(more > 0 && tracks.dropped_any());
        assert!(tracks.packet(ID[0], 0).is_none());
        assert!((200..held).all(|k| tracks.packet(ID[0], k).is_some()));
        // The second track plays: all of the first may go.
        assert!(fill(&mut tracks, Some((ID[1], 0))) > 0);
        assert!((0..held).all(|k| tracks.packet(ID[0], k).is_none()));
        assert!(tracks.packet(ID[1], 0).is_some());
    }

    #[test]
    fn a_pipe_that_never_ends_stays_within_its_budget() {
        let mut tracks = Library::new(BUDGET);
        tracks.begin(ID[0]);
        for k in 0..20_000u64 {
            let played = k.saturating_sub(100);
            assert!(tracks.has_room(Some((ID[0], played))), "frame {k}");
            tracks.push(&PACKET).unwrap();
            assert!(tracks.packet(ID[0], played).is_some());
            let block = (BLOCK_PACKETS * PACKET.len()) as u64 * 3 / 2;
            assert!(tracks.bytes_held() <= BUDGET + block, "frame {k}");
        }
    }
}
