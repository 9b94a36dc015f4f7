//! Which files of this node's own would outlive it?
//!
//! A node knows best what it holds: in its hellos (as the leader in its heartbeats) it names the last track of the play list up to
//! which it holds everything that is still to be played. Tracks are copied in play order, so that says it of all of them. Whoever
//! sends counts the nodes that have got past each of its own tracks. Such a track is *safe*: it plays on, whoever dies next.
//!
//! A sender that has joined another's programme and is asked to leave stays until all of its own tracks are safe somewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use super::roles::Role;
use super::submitting::OwnTrack;
use super::{Event, Frames, Node};
use crate::time::Instant;
use crate::wire::ids::FRAME_MICROS;
use crate::wire::{NodeId, TrackId};

/// How often a node looks who holds what.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The number of nodes that hold a track is told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// How safe a track of this node's own is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Safety {
    /// How many other nodes hold all of it.
    nodes: usize,
    /// What was told of that, and when.
    told: usize,
    told_at: Option<Instant>,
}

impl Safety {
    /// Another look; what is news.
    fn look(&mut self, nodes: usize, now: Instant) -> Option<usize> {
        self.nodes = nodes;
        if nodes == 0 {
            self.told = 0; // not safe any more: when it is again, that is news
        }
        let lately = self.told_at.is_some_and(|at| now.since(at) < TELL_EVERY);
        if nodes <= self.told || lately {
            return None;
        }
        (self.told, self.told_at) = (nodes, Some(now));
        Some(nodes)
    }
}

impl Node {
    /// The last track of the list up to which nothing is missing here that is still to be played, and whether that is all there is.
    pub(super) fn held_to(&self, frames: &dyn Frames) -> (Option<TrackId>, bool) {
        let list = self.programme.list();
        let next = self.play_position();
        let mut to_play = BTreeMap::new();
        for entry in self.programme.tracks_from(next) {
            let played = next.max(entry.first).since(entry.first);
            to_play.entry(entry.track).or_insert(entry.from + played);
        }
        let planned = list.tracks().len() - list.waiting().len();
        let mut held_to = None;
        for (at, track) in list.tracks().iter().enumerate() {
            let first = if list.is_looped() || at >= planned {
                Some(0)
            } else {
                to_play.get(&track.id).copied() // none: it is over
            };
            let is_held = |first: u64, length: u64| {
                let own = track.owner == self.config.node;
                own || first + frames.held_from(track.id, first) >= length
            };
            let whole = first.is_none_or(|first| {
                let length = track.frames;
                length.is_some_and(|length| is_held(first, length))
            });
            if !whole {
                return (held_to, false);
            }
            held_to = Some(track.id);
        }
        let known = !list.tracks().is_empty() || self.programme.last_track().is_some();
        (held_to, known && list.is_complete())
    }

    /// Looks who holds this node's own tracks, and tells it; goes, if that is all that it waited for.
    pub(super) fn keep_safe(&mut self, frames: &dyn Frames) {
        let now = self.latest;
        if self.safe_at.is_some_and(|at| now < at) {
            return;
        }
        self.safe_at = Some(now + LOOK_EVERY * self.list_weight());
        let me = self.config.node;
        match &self.role {
            Role::Following(_) => {} // it has just looked, see `assess`
            Role::Leading { .. } => {
                let tracks = self.programme.list().tracks();
                // Of its own tracks everybody knows that.
                let is_asked = tracks.iter().any(|track| track.owner != me);
                self.held_to = is_asked.then(|| self.held_to(frames).0).flatten();
            }
            _ => return,
        }
        self.count_holders();
        self.keep_departing();
    }

    fn count_holders(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let now = self.latest;
        let list = self.programme.list().tracks();
        let places: BTreeMap<TrackId, usize> = (list.iter().zip(1..))
            .map(|(track, place)| (track.id, place))
            .collect();
        let reached = |(id, peer): (NodeId, &crate::station::roster::Peer)| {
            let is_here = self.roster.is_alive(id, now) && !peer.fell_silent;
            places.get(&peer.held_to?).copied().filter(|_| is_here)
        };
        let mut reached: Vec<usize> = self.roster.peers().filter_map(reached).collect();
        reached.sort_unstable();
        let mut news = Vec::new();
        for OwnTrack { track, safety, .. } in &mut self.own {
            // All of it, not what was made of it while this node was thought to be gone.
            let is_whole =
                |place: &&usize| track.frames.is_some() && list[**place - 1].frames == track.frames;
            let place = places.get(&track.id).filter(is_whole);
            let nodes = place.map_or(0, |place| {
                reached.len() - reached.partition_point(|reached| reached < place)
            });
            if let Some(nodes) = safety.look(nodes, now) {
                news.push(Event::Safe {
                    track: track.id,
                    title: track.title.clone(),
                    artist: track.artist.clone(),
                    nodes,
                });
            }
        }
        news.into_iter().for_each(|event| self.tell(event));
    }

    /// How much music of this node's own no other node holds whole, as far as it is encoded.
    pub fn unsafe_music(&self, frames: &dyn Frames) -> Duration {
        let own = self.own.iter().filter(|own| own.safety.nodes == 0);
        let lengths = own.map(|own| own.track.frames.unwrap_or(frames.end(own.track.id)));
        Duration::from_micros(lengths.sum::<u64>().saturating_mul(FRAME_MICROS))
    }

    /// The user wants this follower to leave: it does, as soon as what it came to send is safe.
    pub(super) fn depart(&mut self) {
        let again = std::mem::replace(&mut self.departs, true);
        if again || self.relieved.is_some() || !self.has_unsafe() {
            self.become_gone();
        }
    }

    /// Whether a follower would take something with it that others are still to copy, and can.
    fn has_unsafe(&self) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let unsafe_own = self.own.iter().any(|own| own.safety.nodes == 0);
        let can_copy = self.config.http_port != 0 && following.http.is_some();
        can_copy && (self.is_source_open || unsafe_own)
    }

    fn keep_departing(&mut self) {
        if !self.departs {
            return;
        }
        match &self.role {
            Role::Following(_) if !self.has_unsafe() => self.become_gone(),
            // Meanwhile it leads.
            Role::Leading { lead, .. } if lead.leaving.is_none() => self.leave(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_holders_are_told_of_at_once_then_seldom_and_again_after_none() {
        let at = |ms: u64| Instant::from_micros(1_000_000 + ms * 1_000);
        let mut safety = Safety::default();
        let table = [
            (0, 0, None),
            (200, 1, Some(1)),
            (400, 3, None),
            (3_199, 2, None),
            (3_200, 2, Some(2)),
            (9_000, 1, None),
            (9_200, 2, None),
            (9_400, 0, None),
            (9_600, 1, Some(1)),
        ];
        for (ms, nodes, told) in table {
            assert_eq!(safety.look(nodes, at(ms)), told, "{ms}");
        }
    }
}
