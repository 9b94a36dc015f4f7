//! Where are the encoded frames of a sender? In its tracks, within a budget.
//!
//! Frames are dropped only when the budget is spent, oldest first, and never before they were played: a pipe that never ends
//! runs in bounded memory, and a loop that fits is encoded once.

use crate::media::track::Track;
use crate::station::Frames;
use crate::wire::TrackId;

/// The tracks of one `send`.
pub struct Tracks {
    tracks: Vec<Track>,
    budget_bytes: u64,
    /// Tracks before this one hold nothing any more.
    oldest: usize,
    dropped_any: bool,
}

impl Tracks {
    /// No tracks yet, and room for `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Tracks {
        Tracks {
            tracks: Vec::new(),
            budget_bytes,
            oldest: 0,
            dropped_any: false,
        }
    }

    /// Begins a track; packets go to the newest one.
    pub fn begin(&mut self, id: TrackId) {
        self.tracks.push(Track::new(id));
    }

    /// Appends a frame to the newest track; answers which track it is and how long it is now.
    pub fn push(&mut self, packet: &[u8]) -> Option<(TrackId, u64)> {
        let track = self.tracks.last_mut()?;
        track.push(packet).ok()?;
        Some((track.id(), track.len()))
    }

    /// Ends the newest track.
    pub fn finish(&mut self) -> Option<(TrackId, u64)> {
        let track = self.tracks.last_mut()?;
        track.finish();
        Some((track.id(), track.len()))
    }

    /// Whether another packet fits; makes room by dropping what was played before frame `k` of `track`.
    pub fn has_room(&mut self, played_to: Option<(TrackId, u64)>) -> bool {
        while self.bytes_held() >= self.budget_bytes {
            let Some((playing, frame)) = played_to else {
                return false;
            };
            let Some(oldest) = self.tracks.get_mut(self.oldest) else {
                return false;
            };
            let is_playing = oldest.id() == playing;
            let before = oldest.bytes_held();
            oldest.drop_before(if is_playing { frame } else { u64::MAX });
            self.dropped_any |= oldest.bytes_held() < before;
            if is_playing {
                return self.bytes_held() < self.budget_bytes;
            }
            self.oldest += 1;
        }
        true
    }

    /// Whether some frames are gone, so that the list cannot be played again from here.
    pub fn dropped_any(&self) -> bool {
        self.dropped_any
    }

    /// Bytes of packets in memory.
    pub fn bytes_held(&self) -> u64 {
        self.tracks[self.oldest.min(self.tracks.len())..]
            .iter()
            .map(|track| track.bytes_held() as u64)
            .sum()
    }
}

impl Frames for Tracks {
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]> {
        self.tracks
            .iter()
            .rev()
            .find(|candidate| candidate.id() == track)?
            .get(k)
    }
}
