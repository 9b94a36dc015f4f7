//! What is there to play?
//!
//! The tracks in play order, as everybody who may lead has to know them: who encodes each, how long it is, whether more will
//! come. How much of a track is ready is not said here: that differs from node to node, and each asks its own store. The
//! station plans its programme from this list, one track at a time, and in a loop from the beginning again.

use serde::{Deserialize, Serialize};

use crate::wire::{NodeId, TrackId};

/// Tracks in one list: a programme of weeks.
pub const MAX_TRACKS: usize = 4_096;
/// Nodes that may add to one list at a time.
pub const MAX_OWNERS: usize = 64;

/// One track of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTrack {
    /// Which.
    pub id: TrackId,
    /// The node that encodes it.
    pub owner: NodeId,
    /// Its title.
    pub title: String,
    /// Who plays; may be empty.
    pub artist: String,
    /// Its length, once that is known.
    pub frames: Option<u64>,
    /// BLAKE3 over all of it, once that is known.
    pub digest: Option<[u8; 32]>,
}

/// The play list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayList {
    looped: bool,
    tracks: Vec<ListedTrack>,
    /// The next track to plan.
    cursor: usize,
    /// Nodes that will add more.
    open: Vec<NodeId>,
}

impl PlayList {
    /// Play the list for ever, or only once.
    pub(super) fn set_looped(&mut self, looped: bool) {
        self.looped = looped;
    }

    /// Whether it is played for ever.
    pub fn is_looped(&self) -> bool {
        self.looped
    }

    /// This node will add tracks. `false` if too many do, or it is known already.
    pub(super) fn open(&mut self, owner: NodeId) -> bool {
        let new = !self.open.contains(&owner) && self.open.len() < MAX_OWNERS;
        if new {
            self.open.push(owner);
        }
        new
    }

    /// This node will add no more tracks. `false` if that is known already.
    pub(super) fn close(&mut self, owner: NodeId) -> bool {
        let before = self.open.len();
        self.open.retain(|open| *open != owner);
        self.open.len() < before
    }

    /// Nodes that will add more.
    pub fn open_owners(&self) -> &[NodeId] {
        &self.open
    }

    /// Appends a track. `false` if it is in the list already, or the list is full.
    pub(super) fn add(&mut self, track: ListedTrack) -> bool {
        let new = self.tracks.len() < MAX_TRACKS && self.track(track.id).is_none();
        if new {
            self.tracks.push(track);
        }
        new
    }

    /// A track has so many frames, and no more will come. `false` if that is known already.
    pub(super) fn finish_track(
        &mut self,
        id: TrackId,
        frames: u64,
        digest: Option<[u8; 32]>,
    ) -> bool {
        match self.tracks.iter_mut().rfind(|track| track.id == id) {
            Some(track) if track.frames.is_none() => {
                (track.frames, track.digest) = (Some(frames), digest);
                true
            }
            _ => false,
        }
    }

    /// Nobody has more of a track than its first `frames` frames. `false` if it is known to be no longer.
    pub(super) fn shorten_track(&mut self, id: TrackId, frames: u64) -> bool {
        match self.tracks.iter_mut().rfind(|track| track.id == id) {
            Some(track) if track.frames.is_none_or(|known| known > frames) => {
                (track.frames, track.digest) = (Some(frames), None);
                true
            }
            _ => false,
        }
    }

    /// A track of the list.
    pub fn track(&self, id: TrackId) -> Option<&ListedTrack> {
        self.tracks.iter().rfind(|track| track.id == id)
    }

    /// All tracks that are remembered, in play order.
    pub fn tracks(&self) -> &[ListedTrack] {
        &self.tracks
    }

    /// The tracks that are not planned yet, in play order (of a loop: of this lap).
    pub fn waiting(&self) -> &[ListedTrack] {
        self.tracks.get(self.cursor..).unwrap_or_default()
    }

    /// Takes the next track to plan: one of which a frame is there. Empty tracks are passed over.
    pub(super) fn take_next(&mut self, is_there: impl Fn(TrackId) -> bool) -> Option<ListedTrack> {
        self.settle();
        let track = self.tracks.get(self.cursor)?;
        if !is_there(track.id) {
            return None;
        }
        self.cursor += 1;
        Some(track.clone())
    }

    /// Passes over the next track: nobody has it. `false` if there is none. In a loop it gets another chance.
    pub(super) fn pass_over(&mut self) -> bool {
        let looped = self.looped;
        let Some(track) = self.tracks.get_mut(self.cursor) else {
            return false;
        };
        if !looped {
            (track.frames, track.digest) = (Some(0), None);
        }
        self.cursor += 1;
        true
    }

    /// Whether every track has been planned and no other one will come.
    pub(super) fn is_exhausted(&self) -> bool {
        self.open.is_empty() && self.settled() == self.tracks.len()
    }

    /// Whether the length of everything is known: nothing will be waited for.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty() && self.tracks.iter().all(|track| track.frames.is_some())
    }

    /// Whether the numbers of a list that was received make sense.
    pub(super) fn is_sound(&self, max_text: usize) -> bool {
        self.cursor <= self.tracks.len()
            && self.tracks.len() <= MAX_TRACKS
            && self.open.len() <= MAX_OWNERS
            && self.tracks.iter().all(|track| {
                track.title.len() <= max_text
                    && track.artist.len() <= max_text
                    && track.frames.is_none_or(|frames| frames <= 1 << 32)
            })
    }

    /// Forgets the tracks that have been planned, unless `is_needed` or the list is played again. `true` if there were any.
    pub(super) fn prune(&mut self, is_needed: impl Fn(TrackId) -> bool) -> bool {
        if self.looped {
            return false;
        }
        let planned = self.tracks.iter().take(self.cursor);
        let gone = planned.take_while(|track| !is_needed(track.id)).count();
        self.tracks.drain(..gone);
        self.cursor -= gone;
        gone > 0
    }

    /// Moves the cursor over tracks that turned out empty, and back to the start of a lap.
    fn settle(&mut self) {
        self.cursor = self.settled();
    }

    /// Where the cursor stands without empty tracks, and in a loop at the beginning again. Only looking must change nothing: the
    /// list is part of what the plan's digest names.
    fn settled(&self) -> usize {
        let is_empty = |track: &ListedTrack| track.frames == Some(0);
        let waiting = self.tracks.iter().skip(self.cursor);
        let cursor = self.cursor + waiting.take_while(|track| is_empty(track)).count();
        let again = self.looped && self.open.is_empty() && cursor == self.tracks.len();
        let first = self.tracks.iter().position(|track| !is_empty(track));
        first.filter(|_| again).unwrap_or(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(7);

    fn list(looped: bool, tracks: u8) -> PlayList {
        let mut list = PlayList::default();
        list.set_looped(looped);
        assert!(list.open(ME) && !list.open(ME));
        (0..tracks).for_each(|n| assert!(list.add(track(n)) && !list.add(track(n))));
        list
    }

    fn track(n: u8) -> ListedTrack {
        ListedTrack {
            id: id(n),
            owner: ME,
            title: n.to_string(),
            artist: String::new(),
            frames: None,
            digest: None,
        }
    }

    fn id(n: u8) -> TrackId {
        TrackId([n; 16])
    }

    /// The next track, if those in `there` have frames.
    fn next(list: &mut PlayList, there: &[u8]) -> Option<TrackId> {
        let track = list.take_next(|track| there.iter().any(|n| id(*n) == track));
        track.map(|track| track.id)
    }

    #[test]
    fn a_track_is_planned_when_it_has_a_frame_and_never_if_it_has_none() {
        let mut list = list(false, 3);
        assert_eq!(next(&mut list, &[]), None);
        assert!(list.finish_track(id(0), 0, None) && !list.finish_track(id(0), 5, None));
        assert_eq!(next(&mut list, &[0]), None);
        assert_eq!(next(&mut list, &[1]), Some(id(1)));
        list.finish_track(id(2), 0, None);
        assert!(!list.is_exhausted(), "more may come");
        assert!(list.close(ME) && !list.close(ME));
        assert!(list.is_exhausted());
        assert!(!list.is_complete(), "track 1 is still growing");
    }

    #[test]
    fn a_track_whose_rest_is_lost_is_as_long_as_what_is_there() {
        let mut list = list(false, 2);
        list.finish_track(id(0), 50, Some([1; 32]));
        assert!(!list.shorten_track(id(0), 50));
        assert!(list.shorten_track(id(0), 30) && !list.shorten_track(id(0), 40));
        assert!(list.shorten_track(id(1), 0), "its length was unknown");
        assert!(!list.shorten_track(id(9), 0));
        let lengths = list
            .tracks()
            .iter()
            .map(|track| (track.frames, track.digest));
        assert!(lengths.eq([(Some(30), None), (Some(0), None)]));
        assert!(!list.finish_track(id(0), 50, Some([1; 32])), "too late");
    }

    #[test]
    fn a_loop_begins_again_when_the_list_is_known_and_not_before() {
        let mut list = list(true, 2);
        list.finish_track(id(0), 0, None);
        list.finish_track(id(1), 5, None);
        assert_eq!(next(&mut list, &[1]), Some(id(1)));
        assert_eq!(next(&mut list, &[1]), None);
        list.close(ME);
        assert_eq!(next(&mut list, &[1]), Some(id(1)));
        assert_eq!(next(&mut list, &[1]), Some(id(1)));
        assert!(!list.is_exhausted() && list.is_complete());
    }

    #[test]
    fn a_loop_over_nothing_ends() {
        let mut list = list(true, 2);
        list.finish_track(id(0), 0, None);
        list.finish_track(id(1), 0, None);
        list.close(ME);
        assert_eq!(next(&mut list, &[]), None);
        assert!(list.is_exhausted());
    }

    #[test]
    fn what_was_planned_is_forgotten_unless_it_is_needed_or_played_again() {
        let mut played = list(false, 3);
        (0..2).for_each(|n| assert_eq!(next(&mut played, &[0, 1]), Some(id(n))));
        assert!(!played.prune(|track| track == id(0)));
        assert!(played.prune(|track| track == id(1)));
        assert_eq!(played.tracks().len(), 2);
        assert_eq!(next(&mut played, &[2]), Some(id(2)));
        let mut looped = list(true, 2);
        assert_eq!(next(&mut looped, &[0]), Some(id(0)));
        assert!(!looped.prune(|_| false));
    }

    #[test]
    fn the_list_and_its_owners_are_bounded() {
        let mut list = PlayList::default();
        let with = |n: u32| ListedTrack {
            id: TrackId(
                [n.to_be_bytes(), [0; 4], [0; 4], [0; 4]]
                    .concat()
                    .try_into()
                    .unwrap(),
            ),
            ..track(0)
        };
        let added = (0..MAX_TRACKS as u32 + 5).filter(|n| list.add(with(*n)));
        assert_eq!(added.count(), MAX_TRACKS);
        let opened = (0..100).filter(|n| list.open(NodeId(*n)));
        assert_eq!(opened.count(), MAX_OWNERS);
        assert!(list.is_sound(128));
    }
}
