//! What does a leader do at each wake?
//!
//! It plans ahead, starts a run when enough is ready, sends the frames that are due, and says that it is there. Heartbeats
//! stand on every fifth slot of the station clock: while frames are on air they cost no wake-up of their own.
//!
//! Nothing that is said of a frame may change less than the cover horizon before it (PROTOCOL, "change of plan"): the end of a
//! run, too, is named that early. So a leader looks [`CUSHION_FRAMES`] ahead before each frame: what is not ready then, is not
//! in this run.

use super::flaws::Flaw;
use super::roles::{Phase, Role};
use super::{CUSHION_FRAMES, Event, Frames, Node, Output};
use crate::station::pacing::Pacer;
use crate::station::playlist::PlayList;
use crate::wire::control::{EndReason, RunInfo};
use crate::wire::ids::{FRAME_MICROS, ShortTerm};
use crate::wire::media::{Flags, MAX_PAYLOAD_BYTES, MediaPacket};
use crate::wire::{FrameIndex, Slot, TrackId};

/// How far ahead the programme is planned: twice the cover horizon, so that a change is announced at least one horizon before
/// it takes effect. As much has to be ready before a run starts, so that a source that is not steady does not end it at once.
pub(super) const PLANNED_FRAMES: u64 = 2 * CUSHION_FRAMES;
/// Slots from one sender report to the next: 5 s (RFC 3550 section 6.2).
const REPORT_SLOTS: u64 = 5_000_000 / FRAME_MICROS;

impl Node {
    /// One wake of a leader.
    pub(super) fn lead(&mut self, frames: &dyn Frames) {
        if self.is_listening() || !self.keep_lease() {
            return;
        }
        self.keep_contact();
        let Role::Leading { phase, .. } = &self.role else {
            return;
        };
        if let Phase::Idle { next } = *phase
            && self.keep_leaving(next)
        {
            self.start_if_ready(next, frames);
        }
        self.look_ahead_first(frames);
        self.send_due(frames);
        if let Role::Leading { lead, .. } = &self.role
            && lead.clock.slot(self.latest) >= lead.beat_due
        {
            self.order_heirs();
            self.beat(None);
        }
    }

    fn start_if_ready(&mut self, next: FrameIndex, frames: &dyn Frames) {
        self.plan(next, frames);
        if self.is_ready(next, frames) {
            self.start_run(next);
        } else if self.is_ended(next) {
            self.become_over(self.end_reason());
        }
    }

    /// Learns the length of the last track, and plans further tracks until enough lies before frame `next`.
    fn plan(&mut self, next: FrameIndex, frames: &dyn Frames) {
        if self.offer().is_some() {
            return; // frozen until the successor leads
        }
        self.give_up_lost_owners();
        self.cut_lost(next, frames);
        let mut appended = false;
        loop {
            if let Some(open) = self
                .programme
                .last_track()
                .filter(|last| last.frames.is_none())
            {
                let (track, played) = (open.track, open.from + next.since(open.first));
                let sent = open.from + self.next().since(open.first);
                match self.length(track, played, sent, frames) {
                    Some(0) => self.programme.cut(next.minus(played)),
                    Some(length) => self.programme.close(length),
                    None => break,
                }
            }
            let far_enough = self.programme.planned_end() >= Some(next.plus(PLANNED_FRAMES));
            if far_enough && self.programme.track_after(next).is_some() {
                break;
            }
            if !(self.programme).append_next(|track| frames.end(track) > 0) {
                if self.pass_over_lost(frames) {
                    continue;
                }
                break;
            }
            // Pruning here, not at the end: a loop of tiny tracks slept through may append millions. What an incomplete
            // source still has to play must not be forgotten, though: it may not catch up with `next`.
            let needed = if self.programme.list().is_complete() {
                next
            } else {
                self.next()
            };
            self.programme.prune(needed);
            appended = true;
        }
        if appended {
            self.note_planned();
            tracing::trace!(version = self.programme.version(), "planned");
        }
    }

    /// Passes over the next track of the list if nobody has anything of it, nor ever will.
    fn pass_over_lost(&mut self, frames: &dyn Frames) -> bool {
        let next = self
            .programme
            .list()
            .waiting()
            .first()
            .map(|track| track.id);
        let lost = next.is_some_and(|track| frames.end(track) == 0 && !self.may_grow(track));
        if lost {
            self.lose();
            self.programme.change_list(PlayList::pass_over);
            next.into_iter().for_each(|track| self.tell_lost(track));
        }
        lost
    }

    /// How long a track is, if that is known.
    /// Whoever says that it is shorter than what was sent of it is wrong: what was on air stays where it was.
    fn length(
        &mut self,
        track: TrackId,
        played: u64,
        sent: u64,
        frames: &dyn Frames,
    ) -> Option<u64> {
        let listed = self.programme.listed(track)?;
        if let Some(frames) = listed.frames {
            return Some(frames.max(sent));
        }
        self.length_of_lost(track, played, frames)
    }

    /// One past the last frame that can be sent without a hole, looking at most `limit` frames ahead of `next`.
    ///
    /// The newest frame of a growing track is held back: only the next one, or the end, tells whether it is the last of its
    /// track, and the packet has to say so.
    pub(super) fn ready_end(
        &self,
        next: FrameIndex,
        limit: u64,
        frames: &dyn Frames,
    ) -> FrameIndex {
        let stop = next.plus(limit);
        let mut at = next;
        while at < stop
            && let Some(entry) = self.programme.track_at(at)
        {
            let held = frames.held_from(entry.track, entry.from + at.since(entry.first));
            let reached = match entry.end() {
                Some(end) => at.plus(held).min(end),
                None => at.plus(held.saturating_sub(1)),
            };
            at = reached;
            if entry.end() != Some(reached) {
                break;
            }
        }
        at
    }

    /// Where the programme ends, if that is known.
    pub(super) fn known_end(&mut self) -> Option<FrameIndex> {
        self.programme
            .planned_end()
            .filter(|_| self.programme.is_exhausted())
    }

    /// Whether nothing is left from `next` on.
    fn is_ended(&mut self, next: FrameIndex) -> bool {
        self.known_end().is_some_and(|end| next >= end)
    }

    /// Whether a run can start at `next`: the cushion is there, or all that will ever come.
    fn is_ready(&mut self, next: FrameIndex, frames: &dyn Frames) -> bool {
        let ready = self.ready_end(next, PLANNED_FRAMES, frames);
        let all = self.known_end().is_some_and(|end| ready >= end) || !self.is_awaited(ready);
        let between_tracks = self.programme.track_at(ready).is_none();
        match ready.since(next) {
            0 => false,
            PLANNED_FRAMES.. => true,
            CUSHION_FRAMES.. if between_tracks => true,
            _ => all,
        }
    }

    fn start_run(&mut self, first: FrameIndex) {
        let Role::Leading { lead, phase, .. } = &mut self.role else {
            return;
        };
        let past = self.programme.last_run().map_or(Slot(first.0), |run| {
            Slot(run.starts_at.0 + run.end.unwrap_or(first).since(run.first))
        });
        // Frames are never ahead of the clock, whatever was heard of them.
        let starts_at = (lead.clock.next_slot(self.latest).max(past)).max(Slot(first.0));
        lead.report_due = starts_at;
        let run = RunInfo {
            first,
            starts_at,
            end: None,
        };
        *phase = Phase::Playing(Pacer::new(lead.clock, run, self.config.buffer));
        self.programme.start_run(first, starts_at);
        self.programme.prune(first);
        if let Some(end) = self.known_end() {
            self.programme.end_run(end);
        }
        // Before the first packet: it tells how the listeners are to buffer it.
        self.beat(None);
    }

    /// A new leader may hold less than a horizon of the run that it goes on with. Heirs cover by the first plan that they hear
    /// of in a term: it has to say where the run ends.
    fn look_ahead_first(&mut self, frames: &dyn Frames) {
        if let Role::Leading {
            lead,
            phase: Phase::Playing(pacer),
        } = &self.role
            && lead.number == 0
        {
            let next = pacer.next();
            self.plan(next, frames);
            self.foresee(next, frames);
            // Before the first packet: who takes over next is known, should this node die with it.
            self.beat(None);
        }
    }

    /// Before frame `next` is sent: is the run's end in sight? It is named one horizon ahead, or not at all.
    fn foresee(&mut self, next: FrameIndex, frames: &dyn Frames) {
        let notice = if self.has(Flaw::ChangeFromNow) {
            0
        } else {
            CUSHION_FRAMES
        };
        let horizon = next.plus(notice);
        let run_end = self.programme.last_run().and_then(|run| run.end);
        let known_end = self.known_end();
        match (run_end, known_end) {
            (None, Some(end))
                if self.ready_end(next, CUSHION_FRAMES + 1, frames) >= end.min(horizon) =>
            {
                self.programme.end_run(end);
            }
            (None, _) => _ = self.end_run_if_awaited(next, horizon, frames),
            // Its end is known, but something before it is still to be copied.
            (Some(end), _) if end > horizon && self.end_run_if_awaited(next, horizon, frames) => {}
            (Some(end), known) if end >= horizon && known != Some(end) => {
                // More has come in time: the run goes on.
                if self.ready_end(end, 1, frames) > end && self.is_ahead(end) {
                    self.programme.reopen_run();
                }
            }
            (Some(_), _) => {}
        }
    }

    /// Ends the run where frames are missing within the horizon that may still come.
    fn end_run_if_awaited(
        &mut self,
        next: FrameIndex,
        horizon: FrameIndex,
        frames: &dyn Frames,
    ) -> bool {
        let ready = self.ready_end(next, CUSHION_FRAMES + 1, frames);
        let ends = ready <= horizon && self.is_awaited(ready);
        if ends {
            self.programme.end_run(ready.max(next));
        }
        ends
    }

    /// Whether a frame of the last run is still to come.
    fn is_ahead(&self, index: FrameIndex) -> bool {
        let run = self.programme.last_run();
        let slot = run.map(|run| Slot(run.starts_at.0 + index.since(run.first)));
        (self.role.lead().zip(slot)).is_some_and(|(lead, slot)| lead.clock.slot(self.latest) < slot)
    }

    /// Sends what is due; ends the run where its end was named.
    fn send_due(&mut self, frames: &dyn Frames) {
        let Role::Leading {
            phase: Phase::Playing(pacer),
            ..
        } = &self.role
        else {
            return;
        };
        let (mut next, due, pacer) = (pacer.next(), pacer.due(self.latest), pacer.clone());
        if due.is_empty() {
            return;
        }
        self.plan(due.end, frames);
        // A source that fell behind, too, plays on from where it is; only what is too old though its successors are there is lost.
        let known_end = self.known_end();
        let resume = match known_end {
            _ if self.ready_end(due.start, 1, frames) > due.start => due.start,
            Some(end) => end.min(due.start).max(next),
            None => next,
        };
        self.skip(next, resume);
        // Heirs may have covered what is ready, as part of this run: it must not come again in the next one.
        let is_alone = self.roster.heirs().is_empty();
        if known_end == Some(resume) || known_end.is_none() && resume < due.start && is_alone {
            self.programme.end_run(resume);
        }
        // No more than a horizon of it can have been covered. The rest of what a source has caught up with is a run of its own: all at
        // once, it would be a flood.
        let covered = (self.seen.top()).map_or(resume, |top| resume.max(top.plus(1)));
        let stop = covered.plus(CUSHION_FRAMES);
        if resume < due.start && stop < due.end && self.run_end().is_none_or(|end| stop < end) {
            self.programme.end_run(stop);
        }
        next = resume;
        while next < due.end && self.run_end().is_none_or(|end| next < end) {
            if !self.keep_leaving(next) {
                return;
            }
            self.foresee(next, frames);
            if self.run_end().is_some_and(|end| next >= end) {
                break;
            }
            // What others sent in our place is on air already, but the frame now due always is sent (PROTOCOL, trace 3).
            let is_newest = next.plus(1) == due.end && !self.has(Flaw::CoveredLeaderIsSilent);
            let again = self.role.lead().and_then(|lead| lead.again_from);
            if is_newest || !self.seen.contains(next) || again.is_some_and(|from| next >= from) {
                self.send_frame(next, &pacer, frames);
            }
            next = next.plus(1);
            if self.config.quorum > 1 {
                break; // the lease is to be looked at before each frame, on the clock as it is then
            }
        }
        if let Role::Leading {
            phase: Phase::Playing(pacer),
            lead,
        } = &mut self.role
        {
            lead.again_from = None;
            pacer.advance(next);
        }
        if self.run_end().is_some_and(|end| next >= end) {
            if self.is_ended(next) {
                self.become_over(self.end_reason());
            } else {
                self.starve(next, frames);
            }
        }
    }

    fn run_end(&self) -> Option<FrameIndex> {
        self.programme.last_run().and_then(|run| run.end)
    }

    /// The source is too slow: the run is over, and indices stand still until enough is ready.
    fn starve(&mut self, next: FrameIndex, frames: &dyn Frames) {
        let Role::Leading { phase, .. } = &mut self.role else {
            return;
        };
        *phase = Phase::Idle { next };
        self.start_if_ready(next, frames);
        if let Role::Leading {
            phase: Phase::Idle { .. },
            ..
        } = &self.role
        {
            tracing::debug!(%next, "idle: the source has nothing to play");
            self.tell(Event::Idle);
            self.beat(None);
        }
    }

    fn skip(&mut self, from: FrameIndex, to: FrameIndex) {
        let frames = to.since(from);
        if frames > 0 {
            self.skipped += frames;
            let buffer_ms = self.config.buffer.as_millis();
            let is_new = self
                .role
                .lead()
                .is_some_and(|lead| from == lead.first && !lead.is_founder);
            let cause = if is_new {
                "nobody led"
            } else {
                "this machine stood still"
            };
            self.tell(Event::Warning(format!(
                "{cause} for longer than the buffer of {buffer_ms} ms: {frames} frames were not sent"
            )));
        }
    }

    fn send_frame(&mut self, index: FrameIndex, pacer: &Pacer, frames: &dyn Frames) {
        let (Some(entry), Some((track, k))) =
            (self.programme.track_at(index), self.programme.place(index))
        else {
            debug_assert!(false, "frame {index} is due and not planned");
            return;
        };
        if self.told_track != Some(entry.first) {
            self.told_track = Some(entry.first);
            let event = Event::Track {
                title: entry.title.clone(),
                artist: entry.artist.clone(),
                first_frame: entry.first,
            };
            self.tell(event);
        }
        let payload = frames
            .packet(track, k)
            .filter(|payload| (1..=MAX_PAYLOAD_BYTES).contains(&payload.len()));
        match payload {
            Some(payload) => self.send_own(index, pacer, payload),
            None => {
                self.skipped += 1;
                if self.told_missing.replace(track) != Some(track) {
                    self.tell(Event::Warning(format!(
                        "frame {k} of track {track} is missing and was not sent"
                    )));
                }
            }
        }
    }

    /// Sends a frame as the leader, and a sender report now and then.
    fn send_own(&mut self, index: FrameIndex, pacer: &Pacer, payload: &[u8]) {
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let (slot, marker) = (pacer.slot(index), index == pacer.first());
        let report = slot >= lead.report_due;
        if report {
            lead.report_due = Slot(slot.0 + REPORT_SLOTS);
        }
        let term = lead.term.short();
        self.send_payload(index, slot, marker, (term, Flags::default()), payload);
        self.frames_sent += 1;
        self.octets_sent += payload.len() as u64;
        if report {
            self.report_as_sender(slot);
        }
    }

    /// Puts one frame on air.
    pub(super) fn send_payload(
        &mut self,
        index: FrameIndex,
        slot: Slot,
        marker: bool,
        (term, flags): (ShortTerm, Flags),
        payload: &[u8],
    ) {
        let flags = if self.programme.is_last_of_track(index) {
            flags.with(Flags::LAST_OF_TRACK)
        } else {
            flags
        };
        let identity = (term, self.programme.digest(), flags);
        let packet = MediaPacket::place(&self.numbering, index, slot, marker, identity, payload);
        self.seen.insert(index);
        self.outputs.push_back(Output::Media(packet.to_bytes()));
    }

    /// Whether what is not ready at `ready` may still come: a growing track, or a list to which more will be added.
    fn is_awaited(&self, ready: FrameIndex) -> bool {
        match self.programme.track_at(ready) {
            Some(entry) => self.may_grow(entry.track),
            // Either it has not been said yet, or nothing of it has come here.
            None => !self.programme.is_exhausted(),
        }
    }

    pub(super) fn end_reason(&self) -> EndReason {
        match &self.role {
            Role::Leading { lead, .. } if lead.lost => EndReason::SourceLost,
            _ => EndReason::Ended,
        }
    }
}
