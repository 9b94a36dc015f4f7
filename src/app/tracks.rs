//! Where are the encoded frames of a sender? In its tracks, within a budget.
//!
//! Frames are dropped only when the budget is spent, oldest first, and never before they were played: a pipe that never ends
//! runs in bounded memory, and a loop that fits is encoded once.

use std::collections::VecDeque;

use crate::media::track::Track;
use crate::station::Frames;
use crate::wire::TrackId;

/// The tracks of one `send`.
pub struct Tracks {
    /// Those of which something is held, the oldest first.
    tracks: VecDeque<Track>,
    budget_bytes: u64,
    dropped_any: bool,
}

impl Tracks {
    /// No tracks yet, and room for `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Tracks {
        Tracks {
            tracks: VecDeque::new(),
            budget_bytes,
            dropped_any: false,
        }
    }

    /// Begins a track; packets go to the newest one.
    pub fn begin(&mut self, id: TrackId) {
        self.tracks.push_back(Track::new(id));
    }

    /// Appends a frame to the newest track; answers which track it is and how long it is now.
    pub fn push(&mut self, packet: &[u8]) -> Option<(TrackId, u64)> {
        let track = self.tracks.back_mut()?;
        track.push(packet).ok()?;
        Some((track.id(), track.len()))
    }

    /// Ends the newest track.
    pub fn finish(&mut self) -> Option<(TrackId, u64)> {
        let track = self.tracks.back_mut()?;
        track.finish();
        Some((track.id(), track.len()))
    }

    /// Whether another packet fits; makes room by dropping what was played before frame `k` of `track`.
    pub fn has_room(&mut self, played_to: Option<(TrackId, u64)>) -> bool {
        while self.bytes_held() >= self.budget_bytes {
            let Some((playing, frame)) = played_to else {
                return false;
            };
            let Some(oldest) = self.tracks.front_mut() else {
                return false;
            };
            if oldest.id() == playing {
                let before = oldest.bytes_held();
                oldest.drop_before(frame);
                self.dropped_any |= oldest.bytes_held() < before;
                return self.bytes_held() < self.budget_bytes;
            }
            self.tracks.pop_front();
            self.dropped_any = true;
        }
        true
    }

    /// Whether some frames are gone, so that the list cannot be played again from here.
    pub fn dropped_any(&self) -> bool {
        self.dropped_any
    }

    /// Bytes of packets in memory.
    pub fn bytes_held(&self) -> u64 {
        self.tracks
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::BLOCK_PACKETS;

    const PACKET: [u8; 300] = [7; 300];
    const ID: [TrackId; 2] = [TrackId([1; 16]), TrackId([2; 16])];
    /// What ten blocks of packets take at the least.
    const BUDGET: u64 = (10 * BLOCK_PACKETS * PACKET.len()) as u64;

    /// Pushes packets as long as there is room; how many.
    fn fill(tracks: &mut Tracks, played_to: Option<(TrackId, u64)>) -> u64 {
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
        let mut tracks = Tracks::new(BUDGET);
        tracks.begin(ID[0]);
        let held = fill(&mut tracks, None);
        assert!((450..=500).contains(&held), "{held}");
        assert_eq!(fill(&mut tracks, Some((ID[0], 0))), 0);
        assert!((0..held).all(|k| tracks.packet(ID[0], k).is_some()));
        assert!(!tracks.dropped_any());
    }

    #[test]
    fn the_oldest_played_frames_go_first_and_only_when_room_is_needed() {
        let mut tracks = Tracks::new(BUDGET);
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
        let mut tracks = Tracks::new(BUDGET);
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
