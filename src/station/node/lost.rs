//! What if nobody has the rest of a track?
//!
//! Its owner is gone, or cannot be reached by HTTP, and whoever could have copied it has been asked. What is held of it is played, and then what comes after it,
//! or the programme ends as *source lost*. Nothing is given up before it matters: an owner that was only cut off may come back,
//! and somebody may join who has it. So a track is cut no sooner than its end has to be announced, and as every change
//! of plan a cover horizon ahead.

use super::on_air::PLANNED_FRAMES;
use super::roles::{Phase, Role};
use super::{CUSHION_FRAMES, Event, Frames, Node};
use crate::station::playlist::ListedTrack;
use crate::wire::{FrameIndex, NodeId, TrackId};

impl Node {
    /// Whether a track may still get longer, or come here at all: somebody encodes it, or may have more of it.
    pub(super) fn may_grow(&self, track: TrackId) -> bool {
        let Some(listed) = self.programme.listed(track) else {
            return false;
        };
        if listed.owner == self.config.node {
            return listed.frames.is_none();
        }
        let is_here = self.roster.is_alive(listed.owner, self.latest);
        // Who still encodes may be slow; who has it all and does not give it cannot be reached.
        let gives = listed.frames.is_none() || !self.is_mute(track, listed.owner);
        is_here && gives || self.may_be_had(track, listed.owner)
    }

    /// Nodes that would add to the list and are gone add nothing.
    pub(super) fn give_up_lost_owners(&mut self) {
        let me = self.config.node;
        let gone: Vec<NodeId> = (self.programme.list().open_owners().iter().copied())
            .filter(|owner| *owner != me && !self.roster.is_alive(*owner, self.latest))
            .collect();
        if gone.is_empty() {
            return;
        }
        self.programme
            .change_list(|list| gone.iter().filter(|owner| list.close(**owner)).count() > 0);
        self.lose();
    }

    /// The programme is not what it would have been.
    pub(super) fn lose(&mut self) {
        if let Role::Leading { lead, .. } = &mut self.role {
            lead.lost = true;
        }
    }

    /// How long a track of unknown length is, that plays last and of which `played` frames were played: as long as what is held
    /// of it, if its end is near and nobody has more.
    pub(super) fn length_of_lost(
        &mut self,
        track: TrackId,
        played: u64,
        frames: &dyn Frames,
    ) -> Option<u64> {
        let length = frames.end(track).max(played);
        if length > played + PLANNED_FRAMES || self.may_grow(track) {
            return None;
        }
        self.lose();
        self.programme
            .change_list(|list| list.shorten_track(track, length));
        self.tell_lost(track);
        Some(length)
    }

    /// Cuts planned tracks whose rest would soon be due and is nowhere.
    pub(super) fn cut_lost(&mut self, next: FrameIndex, frames: &dyn Frames) {
        while let Some(end) = self.end_of_lost(next, frames) {
            let track = self.programme.track_at(end).map(|entry| entry.track);
            self.programme.shorten(end);
            self.lose();
            let run_end = self.programme.last_run().and_then(|run| run.end);
            if run_end.is_some_and(|run_end| run_end > end) {
                match self.known_end() {
                    Some(known) => self.programme.end_run(known),
                    None => self.programme.reopen_run(),
                }
            }
            track.into_iter().for_each(|track| self.tell_lost(track));
        }
    }

    /// Where the next track ends that is to be cut.
    fn end_of_lost(&self, next: FrameIndex, frames: &dyn Frames) -> Option<FrameIndex> {
        let ready = self.ready_end(next, PLANNED_FRAMES, frames);
        let entry = self.programme.track_at(ready)?;
        let end = entry.end()?; // unknown: see `length_of_lost`
        let is_own = |listed: &ListedTrack| listed.owner == self.config.node;
        if ready >= next.plus(PLANNED_FRAMES)
            || self.programme.listed(entry.track).is_some_and(is_own)
        {
            return None;
        }
        // Past a hole there may be more.
        let held = frames.end(entry.track).saturating_sub(entry.from);
        let held = entry.first.plus(held).max(ready);
        let run = self.programme.last_run();
        // Of a plan that nobody has heard of in this term nothing was announced.
        let is_told = matches!(
            &self.role,
            Role::Leading { lead, phase: Phase::Playing(_) } if lead.number > 0
        );
        let announced = is_told && run.is_some_and(|run| run.end.is_none_or(|end| ready < end));
        let earliest = next.max(self.first_to_lead()).plus(CUSHION_FRAMES);
        let stays = if announced { held.max(earliest) } else { held };
        (stays < end && !self.may_grow(entry.track)).then_some(stays)
    }

    pub(super) fn tell_lost(&mut self, track: TrackId) {
        let Some(listed) = self.programme.listed(track) else {
            return;
        };
        let rest = if listed.frames == Some(0) {
            ""
        } else {
            "the rest of "
        };
        let title = &listed.title;
        self.tell(Event::Warning(format!(
            "{rest}\"{title}\" is lost: its sender is gone or cannot be reached, and nobody has a copy"
        )));
    }
}
