//! Which track does a frame belong to, and where do decoders start afresh? As the heartbeats tell it.
//!
//! A listener plays behind the leader, so it remembers tracks that the leader has already left. The newest heartbeat is right
//! about everything from its first track on.

use crate::wire::FrameIndex;
use crate::wire::control::TrackInfo;

/// Tracks remembered.
const LIMIT: usize = 16;

/// The tracks that are known, by their first frame.
#[derive(Debug, Default)]
pub(super) struct Tracks(Vec<TrackInfo>);

impl Tracks {
    /// A leader told of its tracks.
    pub(super) fn learn(&mut self, told: &[Option<TrackInfo>]) {
        let Some(first) = told.iter().flatten().map(|track| track.first).min() else {
            return;
        };
        let kept = self.0.partition_point(|track| track.first < first);
        let same = self.0[kept..].iter().eq(told.iter().flatten());
        if !same {
            self.0.truncate(kept);
            self.0.extend(told.iter().flatten().cloned());
            self.0.sort_by_key(|track| track.first);
            let excess = self.0.len().saturating_sub(LIMIT);
            self.0.drain(..excess);
        }
    }

    /// The track of frame `index`.
    pub(super) fn at(&self, index: FrameIndex) -> Option<&TrackInfo> {
        let count = self.0.partition_point(|track| track.first <= index);
        self.0[..count].last().filter(|track| {
            track
                .frames
                .is_none_or(|frames| index.since(track.first) < frames)
        })
    }

    /// Whether a track starts with frame `index`.
    pub(super) fn starts_at(&self, index: FrameIndex) -> bool {
        self.0.iter().any(|track| track.first == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(first: u64, frames: Option<u64>) -> Option<TrackInfo> {
        Some(TrackInfo {
            first: FrameIndex(first),
            frames,
            title: format!("from {first}"),
            artist: String::new(),
        })
    }

    #[test]
    fn the_newest_heartbeat_is_right_from_its_first_track_on() {
        let mut tracks = Tracks::default();
        tracks.learn(&[track(0, None), None]);
        tracks.learn(&[track(0, Some(10)), track(10, None)]);
        tracks.learn(&[track(10, Some(5)), track(20, None)]);
        tracks.learn(&[track(10, Some(5)), track(15, None)]);
        tracks.learn(&[None, None]);
        let first_of = |n| tracks.at(FrameIndex(n)).map(|track| track.first.0);
        assert_eq!(
            [0, 9, 10, 14, 15, 99].map(first_of),
            [Some(0), Some(0), Some(10), Some(10), Some(15), Some(15)]
        );
        assert!(tracks.starts_at(FrameIndex(15)) && !tracks.starts_at(FrameIndex(20)));
        (0..100).for_each(|n| tracks.learn(&[track(20 + n, Some(1)), None]));
        assert_eq!(tracks.0.len(), LIMIT);
        assert_eq!(tracks.at(FrameIndex(200)), None);
    }
}
