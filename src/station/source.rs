//! What is there to play, and how much of it is ready?
//!
//! The encoder runs ahead of the air, track by track. The newest frame of a growing track is held back: only the next one,
//! or the end, tells whether it is the last of its track, and the packet has to say so. The station plans its programme
//! from here, one track at a time, and in a loop from the beginning again.

use std::collections::BTreeMap;

use crate::wire::TrackId;

/// One track of the list.
#[derive(Clone, Debug)]
pub struct SourceTrack {
    /// Which.
    pub id: TrackId,
    /// Its title.
    pub title: String,
    /// Who plays; may be empty.
    pub artist: String,
    grown: u64,
    finished: bool,
}

impl SourceTrack {
    /// Its length, once that is known.
    pub fn frames(&self) -> Option<u64> {
        self.finished.then_some(self.grown)
    }

    /// How many of its frames may be sent.
    pub fn sendable(&self) -> u64 {
        if self.finished {
            self.grown
        } else {
            self.grown.saturating_sub(1)
        }
    }
}

/// The play list; as long as the command line makes it.
#[derive(Debug)]
pub struct Source {
    looped: bool,
    tracks: Vec<SourceTrack>,
    by_id: BTreeMap<TrackId, usize>,
    /// The next track to plan.
    cursor: usize,
    finished: bool,
}

impl Source {
    /// An empty list, to be played for ever if `looped`.
    pub fn new(looped: bool) -> Source {
        Source {
            looped,
            tracks: Vec::new(),
            by_id: BTreeMap::new(),
            cursor: 0,
            finished: false,
        }
    }

    /// Appends a track; one that is already in the list is ignored.
    pub fn add(&mut self, id: TrackId, title: String, artist: String) {
        if !self.finished && !self.by_id.contains_key(&id) {
            self.by_id.insert(id, self.tracks.len());
            self.tracks.push(SourceTrack {
                id,
                title,
                artist,
                grown: 0,
                finished: false,
            });
        }
    }

    /// A track has so many frames by now.
    pub fn grew(&mut self, id: TrackId, frames: u64) {
        if let Some(track) = self.by_id.get(&id).and_then(|&at| self.tracks.get_mut(at))
            && !track.finished
        {
            track.grown = track.grown.max(frames);
        }
    }

    /// A track has so many frames, and no more will come.
    pub fn finish_track(&mut self, id: TrackId, frames: u64) {
        self.grew(id, frames);
        if let Some(track) = self.by_id.get(&id).and_then(|&at| self.tracks.get_mut(at)) {
            track.finished = true;
        }
    }

    /// No more tracks will come.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether it is played for ever.
    pub fn is_looped(&self) -> bool {
        self.looped
    }

    /// A track of the list.
    pub fn track(&self, id: TrackId) -> Option<&SourceTrack> {
        self.by_id.get(&id).and_then(|&at| self.tracks.get(at))
    }

    /// Takes the next track to plan: one that has a frame. Empty tracks are passed over.
    pub fn take_next(&mut self) -> Option<&SourceTrack> {
        self.settle();
        let track = self
            .tracks
            .get(self.cursor)
            .filter(|track| track.grown > 0)?;
        self.cursor += 1;
        Some(track)
    }

    /// Whether every track has been planned and no other one will come.
    pub fn is_exhausted(&mut self) -> bool {
        self.settle();
        self.finished && self.cursor == self.tracks.len()
    }

    /// Whether all of it is ready: nothing will ever be waited for.
    pub fn is_complete(&self) -> bool {
        self.finished && self.tracks.iter().all(|track| track.finished)
    }

    /// Moves the cursor over tracks that turned out empty, and back to the start of a lap.
    fn settle(&mut self) {
        while self
            .tracks
            .get(self.cursor)
            .is_some_and(|track| track.frames() == Some(0))
        {
            self.cursor += 1;
        }
        let again = self.looped && self.finished && self.cursor == self.tracks.len();
        if again && let Some(first) = self.tracks.iter().position(|track| track.grown > 0) {
            self.cursor = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(looped: bool, tracks: u8) -> Source {
        let mut source = Source::new(looped);
        (0..tracks).for_each(|n| source.add(id(n), n.to_string(), String::new()));
        source
    }

    fn id(n: u8) -> TrackId {
        TrackId([n; 16])
    }

    fn next(source: &mut Source) -> Option<TrackId> {
        source.take_next().map(|track| track.id)
    }

    #[test]
    fn the_newest_frame_of_a_growing_track_is_held_back() {
        let mut source = source(false, 1);
        for (frames, sendable) in [(0, 0), (1, 0), (2, 1), (50, 49), (40, 49)] {
            source.grew(id(0), frames);
            assert_eq!(source.track(id(0)).unwrap().sendable(), sendable);
        }
        source.finish_track(id(0), 50);
        assert_eq!(source.track(id(0)).unwrap().sendable(), 50);
        source.grew(id(0), 60);
        assert_eq!(
            source.track(id(0)).unwrap().frames(),
            Some(50),
            "it had ended"
        );
    }

    #[test]
    fn a_track_is_planned_when_it_has_a_frame_and_never_if_it_has_none() {
        let mut source = source(false, 3);
        assert_eq!(next(&mut source), None);
        source.finish_track(id(0), 0);
        assert_eq!(next(&mut source), None);
        source.grew(id(1), 1);
        assert_eq!(next(&mut source), Some(id(1)));
        source.finish_track(id(2), 0);
        assert!(!source.is_exhausted(), "more may come");
        source.finish();
        assert!(source.is_exhausted());
        assert!(!source.is_complete(), "track 1 is still growing");
    }

    #[test]
    fn a_loop_begins_again_when_the_list_is_known_and_not_before() {
        let mut source = source(true, 2);
        source.finish_track(id(0), 0);
        source.finish_track(id(1), 5);
        assert_eq!(next(&mut source), Some(id(1)));
        assert_eq!(next(&mut source), None);
        source.finish();
        assert_eq!(next(&mut source), Some(id(1)));
        assert_eq!(next(&mut source), Some(id(1)));
        assert!(!source.is_exhausted() && source.is_complete());
    }

    #[test]
    fn a_loop_over_nothing_ends() {
        let mut source = source(true, 2);
        source.finish_track(id(0), 0);
        source.finish_track(id(1), 0);
        source.finish();
        assert_eq!(next(&mut source), None);
        assert!(source.is_exhausted());
    }
}
