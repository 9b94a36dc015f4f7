//! Who has which frames? "Give me frames lo..hi from a holder" is one mechanism (DESIGN 4).
//!
//! Replica, repair, pre-roll and instant tune-in all ask a [`Holder`]. The frames that a listener received are the first one:
//! a ring, because the window of a jitter buffer moves and a ring forgets by itself. Played frames stay until their place is
//! needed: they are the history that pre-roll and repair are served from.

use std::ops::Range;

use crate::time::Instant;
use crate::wire::FrameIndex;
use crate::wire::ids::{PlanDigest, ShortTerm};
use crate::wire::media::Flags;

/// Frames that a listener holds at most: 20.48 s, or 1.3 MB of the largest Opus packets. Longer than the longest buffer (5 s).
pub const CAPACITY: usize = 1024;

/// Whoever holds encoded frames.
pub trait Holder {
    /// Visits the frames of `range` that are held, in order, each with its Opus packet.
    fn frames(&self, range: Range<FrameIndex>, visit: &mut dyn FnMut(FrameIndex, &[u8]));
}

/// By which way a frame came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// The media port.
    #[default]
    Stream,
    /// This node's own copy of the programme.
    Replica,
    /// Copied for this node alone, ahead of time, as what is on air does not reach it: at hand like a replica, and yet a repair by
    /// unicast.
    Fetched,
    /// A repair for this node alone.
    Unicast,
    /// A repair for several.
    Multicast,
}

impl Via {
    /// Whether it was here before it was missing: then it says nothing of the network, nor that anything is on air.
    pub const fn was_at_hand(self) -> bool {
        matches!(self, Via::Replica | Via::Fetched)
    }
}

/// A frame that is missing and can still be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub index: FrameIndex,
    /// When it is later than frames usually are: before, it is on its way.
    pub late_at: Instant,
    /// When it is played.
    pub play_at: Instant,
    /// It was on air before this listener came, or is long overdue, or was lost with others: it cannot be on its way.
    pub at_once: bool,
}

/// What is known of a held frame besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The flags of the packet that brought it.
    pub flags: Flags,
    /// The term of that packet.
    pub term: ShortTerm,
    /// The plan of its sender.
    pub plan: PlanDigest,
    /// How it came first.
    pub via: Via,
    /// It came by the stream, at first or later.
    pub streamed: bool,
}

/// A place in the ring. The payload's memory is kept and used again.
#[derive(Debug, Default)]
struct Place {
    held: Option<(FrameIndex, FrameInfo)>,
    payload: Vec<u8>,
}

/// The frames that were received, by index modulo [`CAPACITY`].
#[derive(Debug)]
pub struct ReceivedFrames {
    places: Vec<Place>,
}

impl Default for ReceivedFrames {
    fn default() -> ReceivedFrames {
        ReceivedFrames::new()
    }
}

impl ReceivedFrames {
    /// An empty ring.
    pub fn new() -> ReceivedFrames {
        ReceivedFrames {
            places: std::iter::repeat_with(Place::default)
                .take(CAPACITY)
                .collect(),
        }
    }

    /// Keeps a frame in place of whatever older frame (or older copy) was there. `false` if a newer frame has its place.
    pub fn insert(&mut self, index: FrameIndex, info: FrameInfo, payload: &[u8]) -> bool {
        let place = self.place_mut(index);
        if place.held.is_some_and(|(holds, _)| holds > index) {
            return false;
        }
        place.held = Some((index, info));
        place.payload.clear();
        place.payload.extend_from_slice(payload);
        true
    }

    /// The Opus packet of frame `index`.
    pub fn get(&self, index: FrameIndex) -> Option<&[u8]> {
        self.info(index)
            .map(|_| self.place(index).payload.as_slice())
    }

    /// What is known of frame `index`.
    pub fn info(&self, index: FrameIndex) -> Option<FrameInfo> {
        self.place(index)
            .held
            .filter(|(holds, _)| *holds == index)
            .map(|(_, info)| info)
    }

    /// Whether frame `index` is held.
    pub fn contains(&self, index: FrameIndex) -> bool {
        self.info(index).is_some()
    }

    /// Frame `index`, which came by another way, came by the stream, too.
    pub fn note_streamed(&mut self, index: FrameIndex) {
        if let Some((holds, info)) = &mut self.place_mut(index).held
            && *holds == index
        {
            info.streamed = true;
        }
    }

    /// Forgets frame `index`; `true` if it was held.
    pub fn remove(&mut self, index: FrameIndex) -> bool {
        let held = self.contains(index);
        if held {
            self.place_mut(index).held = None;
        }
        held
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.places.iter_mut().for_each(|place| place.held = None);
    }

    /// The frame that stands where `index` would go, if that is another one.
    pub fn displaced_by(&self, index: FrameIndex) -> Option<FrameIndex> {
        self.place(index)
            .held
            .map(|(holds, _)| holds)
            .filter(|holds| *holds != index)
    }

    /// How many frames of `index` or later are held.
    pub fn count_from(&self, index: FrameIndex) -> usize {
        self.places
            .iter()
            .filter(|place| place.held.is_some_and(|(holds, _)| holds >= index))
            .count()
    }

    fn place(&self, index: FrameIndex) -> &Place {
        &self.places[(index.0 % CAPACITY as u64) as usize]
    }

    fn place_mut(&mut self, index: FrameIndex) -> &mut Place {
        &mut self.places[(index.0 % CAPACITY as u64) as usize]
    }
}

impl Holder for ReceivedFrames {
    fn frames(&self, range: Range<FrameIndex>, visit: &mut dyn FnMut(FrameIndex, &[u8])) {
        // A range may be absurd; at most a ring's worth of it can be held.
        let mut held: Vec<FrameIndex> = (self.places.iter())
            .filter_map(|place| {
                place
                    .held
                    .map(|(index, _)| index)
                    .filter(|index| range.contains(index))
            })
            .collect();
        held.sort_unstable();
        held.into_iter()
            .for_each(|index| visit(index, &self.place(index).payload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(counter: u32) -> FrameInfo {
        FrameInfo {
            flags: Flags::default(),
            term: ShortTerm { counter, leader: 1 },
            plan: PlanDigest(9),
            via: Via::Stream,
            streamed: true,
        }
    }

    #[test]
    fn frames_are_visited_in_order_and_only_those_of_the_range() {
        let mut frames = ReceivedFrames::new();
        for index in [1030, 1020, 1025, 1021] {
            assert!(frames.insert(FrameIndex(index), info(1), &[index as u8]));
        }
        let mut seen = Vec::new();
        frames.frames(FrameIndex(1021)..FrameIndex(1030), &mut |index, bytes| {
            seen.push((index.0, bytes.to_vec()))
        });
        assert_eq!(
            seen,
            [(1021, vec![1021u64 as u8]), (1025, vec![1025u64 as u8])]
        );
        frames.frames(FrameIndex(5)..FrameIndex(u64::MAX), &mut |_, _| {
            seen.clear()
        });
        assert!(seen.is_empty());
    }

    #[test]
    fn a_frame_stays_until_the_one_a_ring_later_comes_and_never_displaces_that() {
        let mut frames = ReceivedFrames::new();
        assert!(frames.insert(FrameIndex(3), info(1), b"old"));
        let later = FrameIndex(3 + CAPACITY as u64);
        assert_eq!(frames.displaced_by(later), Some(FrameIndex(3)));
        assert!(frames.insert(later, info(2), b"new"));
        assert!(!frames.contains(FrameIndex(3)));
        assert!(!frames.insert(FrameIndex(3), info(3), b"old"));
        assert_eq!(frames.get(later), Some(b"new".as_slice()));
        assert_eq!(
            (frames.info(later), frames.count_from(later)),
            (Some(info(2)), 1)
        );
        assert!(!frames.remove(FrameIndex(3)) && frames.remove(later) && !frames.contains(later));
    }
}
