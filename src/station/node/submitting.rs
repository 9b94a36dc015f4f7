//! How does what one node has to send come into the programme of another?
//!
//! A node that follows submits its own tracks to the leader, again and again until the leader's plan has them: the leader may die
//! in between, and its successor may never have heard of them. A submission can come twice; a track is known by its id. The
//! leader appends what it did not know, and copies the frames from their owner. A leader that cannot be asked is named to the
//! user. If the station ends before it has heard of them, their owner founds one of its own: nothing is silently not played.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::roles::Role;
use super::safe::Safety;
use super::{Event, Node, Output};
use crate::station::playlist::{ListedTrack, MAX_TRACKS, PlayList};
use crate::station::programme::Programme;
use crate::time::Instant;
use crate::wire::control::{EndReason, MAX_TEXT_BYTES};
use crate::wire::ids::Numbering;
use crate::wire::{FrameIndex, NodeId, StationId};

/// How long the leader has to put it into its plan, before it is asked again.
const SUBMIT_AGAIN: Duration = Duration::from_millis(500);
/// A leader that could not be asked for this long is told of.
const UNHEEDED_AFTER: Duration = Duration::from_secs(2);

/// What a node wants to be played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Who encodes it.
    pub owner: NodeId,
    /// Its tracks, in play order.
    pub tracks: Vec<ListedTrack>,
    /// More will come.
    pub open: bool,
}

/// Why a submission is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmissionError {
    /// No postcard, or tracks of others, or out of range.
    #[error("malformed submission of {0} bytes")]
    Malformed(usize),
    /// This node does not lead, or is about to leave.
    #[error("this node does not lead; ask the leader (see lanradio status)")]
    NotLeading,
    /// Its owner has not said hello to this node yet: nothing could be copied from it.
    #[error("its owner is not known here yet; it has to say hello first")]
    Stranger,
    /// The list has no place for all of it.
    #[error("the programme is full: it has {MAX_TRACKS} tracks")]
    Full,
}

/// A track of this node's own.
#[derive(Clone, Debug)]
pub(super) struct OwnTrack {
    pub(super) track: ListedTrack,
    /// It has been seen in a plan, with a place of its own: it needs no more submitting.
    planned: bool,
    pub(super) safety: Safety,
}

impl OwnTrack {
    pub(super) fn new(track: ListedTrack) -> OwnTrack {
        OwnTrack {
            track,
            planned: false,
            safety: Safety::default(),
        }
    }
}

/// That the leader could not be asked to play what this node came to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unheeded {
    since: Option<Instant>,
    told: bool,
}

impl Node {
    /// The list of a station that this node founds.
    pub(super) fn begin_list(&mut self) {
        let (owner, looped) = (self.config.node, self.config.looped);
        self.programme.change_list(|list| {
            list.set_looped(looped);
            list.open(owner)
        });
    }

    /// The followed station is over. What this node came to send and nobody has planned, it plays itself.
    pub(super) fn outlive(&mut self, station: StationId, reason: EndReason) {
        self.note_planned();
        let Role::Following(following) = &self.role else {
            return;
        };
        let played_at = self.latest + following.buffer;
        let founds = self.has_unheeded() && reason != EndReason::Stopped;
        let farewell = self.farewell(reason, played_at);
        self.become_waiting(Some(station));
        self.repairing = farewell;
        if founds && !self.departs && self.relieved.is_none() {
            self.become_founding_again(played_at);
        }
    }

    /// The next station is one of its own, with a new identity: it has nothing in common with the one that ended. It begins when
    /// that one has been heard to its end, or its first frames would be missed.
    fn become_founding_again(&mut self, played_at: Instant) {
        debug_assert!(matches!(self.role, Role::Waiting { .. }));
        tracing::debug!("founding again: what is sent from here was in no plan");
        self.config.station = StationId(self.random.bits() as u32);
        self.numbering = Numbering::of(self.config.station);
        self.programme = Programme::new(self.config.first_frame);
        self.begin_list();
        self.submit_to_self();
        self.role = Role::founding(played_at);
        self.say_hello();
    }

    /// Whether this node came to send something that no plan has: not even in its list, or passed over there.
    fn has_unheeded(&self) -> bool {
        let list = self.programme.list();
        let unheeded = |own: &OwnTrack| {
            let listed = list.track(own.track.id);
            let is_empty = own.track.frames == Some(0);
            let comes = listed.is_some_and(|listed| listed.frames != Some(0));
            !own.planned && !is_empty && !comes
        };
        let comes = self.is_source_open && !list.open_owners().contains(&self.config.node);
        self.own.iter().any(unheeded) || self.own.is_empty() && comes
    }

    /// Tells of a leader that cannot be asked, once; answers when that would be.
    fn keep_asking(&mut self) -> Option<Instant> {
        let now = self.latest;
        let Role::Following(following) = &self.role else {
            return None;
        };
        let (has_api, asks) = (following.http.is_some(), following.base.is_some());
        if has_api && asks || self.unheeded.told || !self.has_unheeded() {
            self.unheeded.since = None;
            return None;
        }
        let at = *self.unheeded.since.get_or_insert(now) + UNHEEDED_AFTER;
        if now < at {
            return Some(at);
        }
        self.unheeded.told = true;
        let leader = self.leader_name();
        let why = if has_api {
            format!("the TCP port of {leader} cannot be reached; open it in the firewall there")
        } else {
            format!("{leader} has no API that can be reached; start it without --http")
        };
        self.tell(Event::Warning(format!(
            "what is sent here is not in the programme yet: {why}; or wait: it plays when that station is over"
        )));
        None
    }

    /// Submits what the leader does not know yet; answers when to look again.
    pub(super) fn submit(&mut self) -> Option<Instant> {
        let now = self.latest;
        if !self.config.sends {
            return None;
        }
        let unheeded = self.keep_asking();
        let Role::Following(following) = &self.role else {
            return None;
        };
        let Some(to) = following.http.filter(|_| following.base.is_some()) else {
            return unheeded;
        };
        self.note_planned();
        let programme = &self.programme;
        let unknown = |own: &&OwnTrack| match programme.listed(own.track.id) {
            // (If it is shorter there, its rest was given up while this node was away.)
            Some(listed) => listed.frames.is_none() && own.track.frames.is_some(),
            None => !own.planned,
        };
        let tracks: Vec<ListedTrack> = (self.own.iter().filter(unknown))
            .map(|own| own.track.clone())
            .collect();
        let me = self.config.node;
        let told_open = programme.list().open_owners().contains(&me);
        if tracks.is_empty() && told_open == self.is_source_open {
            return None;
        }
        if let Some(at) = self.submit_at.filter(|at| now < *at) {
            return Some(at);
        }
        let submission = Submission {
            owner: me,
            tracks,
            open: self.is_source_open,
        };
        let bytes = postcard::to_stdvec(&submission).unwrap_or_default();
        self.outputs.push_back(Output::Submit { to, bytes });
        self.submit_at = Some(now + SUBMIT_AGAIN);
        self.submit_at
    }

    /// Notes which of this node's own tracks have a place in the plan, and forgets those that are over: whoever leads then,
    /// they are not to be played again.
    pub(super) fn note_planned(&mut self) {
        let programme = &self.programme;
        for own in &mut self.own {
            own.planned |= programme
                .tracks_from(FrameIndex(0))
                .any(|entry| entry.track == own.track.id);
        }
        let over = |own: &OwnTrack| {
            own.planned && own.track.frames.is_some() && self.is_played(own.track.id)
        };
        let left = self.own.iter().filter(|own| !over(own)).cloned().collect();
        self.own = left;
    }

    /// Another station is joined: what had a place in the plan of this node's own has none there.
    pub(super) fn submit_anew(&mut self) {
        self.own.iter_mut().for_each(|own| own.planned = false);
    }

    /// Whether this node came to send something that is in nobody's plan.
    pub(super) fn has_unplanned(&self) -> bool {
        self.own.iter().any(|own| !own.planned)
    }

    /// Whether another node leads, and has played all that this one came to send.
    pub fn has_followed_to_own_end(&self) -> bool {
        matches!(self.role, Role::Following(_)) && !self.is_source_open && self.own.is_empty()
    }

    /// Whether this node leads, all that it came to send is over, and what others added could go on without it.
    pub fn has_led_to_own_end(&mut self) -> bool {
        if self.is_source_open || !matches!(self.role, Role::Leading { .. }) {
            return false;
        }
        self.note_planned();
        let mut heirs = (self.roster.heirs().iter()).filter_map(|heir| self.roster.get(*heir));
        self.own.is_empty() && heirs.any(|heir| self.could_go_on(heir))
    }

    /// Another node wants its tracks to be played: after those that are there.
    ///
    /// # Errors
    /// Says why not.
    pub fn handle_submission(&mut self, bytes: &[u8], now: Instant) -> Result<(), SubmissionError> {
        self.latest = self.latest.max(now);
        let result = self.take_submission(bytes);
        match result {
            Err(SubmissionError::Malformed(_)) => self.count_rejected("submission_malformed"),
            Err(SubmissionError::Full) => self.count_rejected("submission_full"),
            Err(SubmissionError::Stranger) => self.count_rejected("submission_stranger"),
            Err(SubmissionError::NotLeading) | Ok(()) => {}
        }
        result
    }

    fn take_submission(&mut self, bytes: &[u8]) -> Result<(), SubmissionError> {
        let malformed = SubmissionError::Malformed(bytes.len());
        let submission: Submission = postcard::from_bytes(bytes).map_err(|_| malformed)?;
        let Submission {
            owner,
            tracks,
            open,
        } = submission;
        let sound = |track: &ListedTrack| {
            track.owner == owner
                && track.title.len().max(track.artist.len()) <= MAX_TEXT_BYTES
                && track.frames.is_none_or(|frames| frames <= 1 << 32)
        };
        // Whoever encodes a track says how long it is, and nobody else.
        let is_others = |track: &ListedTrack| {
            let listed = self.programme.listed(track.id);
            listed.is_some_and(|listed| listed.owner != owner)
        };
        if tracks.len() > MAX_TRACKS
            || !tracks.iter().all(sound)
            || owner == self.config.node
            || tracks.iter().any(is_others)
        {
            return Err(malformed);
        }
        if !matches!(self.role, Role::Leading { .. }) || self.is_leaving() {
            return Err(SubmissionError::NotLeading);
        }
        if !self.roster.is_alive(owner, self.latest) {
            return Err(SubmissionError::Stranger);
        }
        let place = MAX_TRACKS - self.programme.list().tracks().len();
        let new = tracks
            .iter()
            .filter(|track| self.programme.listed(track.id).is_none());
        if new.count() > place {
            return Err(SubmissionError::Full);
        }
        self.programme.change_list(|list| {
            let mut changed = append(list, tracks);
            changed |= if open {
                list.open(owner)
            } else {
                list.close(owner)
            };
            changed
        });
        self.fed = true;
        self.copying.look_at_once();
        Ok(())
    }

    /// What this node has to send is part of the plan that it makes itself.
    pub(super) fn submit_to_self(&mut self) {
        let (me, open) = (self.config.node, self.is_source_open);
        let tracks: Vec<ListedTrack> = (self.own.iter().filter(|own| !own.planned))
            .map(|own| own.track.clone())
            .collect();
        self.programme.change_list(|list| {
            let changed = append(list, tracks);
            changed | if open { list.open(me) } else { list.close(me) }
        });
    }
}

fn append(list: &mut PlayList, tracks: Vec<ListedTrack>) -> bool {
    let mut changed = false;
    for track in tracks {
        let (id, frames, digest) = (track.id, track.frames, track.digest);
        changed |= list.add(track);
        if let Some(frames) = frames {
            changed |= list.finish_track(id, frames, digest);
        }
    }
    changed
}
