//! What does a leader do at each wake?
//!
//! It plans ahead, starts a run when enough is ready, sends the frames that are due, and says that it is there. Heartbeats
//! stand on every fifth slot of the station clock: while frames are on air they cost no wake-up of their own.

use super::roles::{Phase, Role, YOUNG};
use super::{CUSHION_FRAMES, Event, Frames, HEARTBEAT, Node, Output};
use crate::station::pacing::Pacer;
use crate::wire::control::{BUFFER_MS, EndReason, Heartbeat, Message, RunInfo};
use crate::wire::ids::FRAME_MICROS;
use crate::wire::media::{Flags, HEADER_BYTES, MAX_PAYLOAD_BYTES, MediaPacket};
use crate::wire::{FRAME, FrameIndex, Slot, rtcp};

/// How far ahead the programme is planned: twice the cover horizon, so that a change is announced at least one horizon before
/// it takes effect.
const PLANNED_FRAMES: u64 = 2 * CUSHION_FRAMES;
/// Slots from one heartbeat to the next.
const HEARTBEAT_SLOTS: u64 = (HEARTBEAT.as_micros() / FRAME.as_micros()) as u64;
/// Slots from one sender report to the next: 5 s (RFC 3550 section 6.2).
const REPORT_SLOTS: u64 = 5_000_000 / FRAME_MICROS;

impl Node {
    /// One wake of a leader.
    pub(super) fn lead(&mut self, frames: &dyn Frames) {
        let Role::Leading { phase, .. } = &self.role else {
            return;
        };
        if let Phase::Idle { next } = *phase {
            self.plan(next);
            if self.is_ready(next) {
                self.start_run(next);
            } else if self.is_ended(next) {
                self.become_over(EndReason::Ended);
            }
        }
        self.send_due(frames);
        if let Role::Leading { lead, .. } = &self.role
            && lead.clock.slot(self.latest) >= lead.beat_due
        {
            self.beat(None);
        }
    }

    /// Sends a heartbeat to the group, or to one node that asked.
    pub(super) fn beat(&mut self, to: Option<std::net::SocketAddr>) {
        let (Some(state), Some(next)) = (self.state(), self.role.next()) else {
            return;
        };
        let (Role::Leading { lead, .. } | Role::Over { lead, .. }) = &mut self.role else {
            return;
        };
        lead.number += 1;
        if to.is_none() {
            let beats = lead.clock.slot(self.latest).0 / HEARTBEAT_SLOTS;
            lead.beat_due = Slot((beats + 1) * HEARTBEAT_SLOTS);
        }
        let beat = Heartbeat {
            station: self.config.station,
            term: lead.term,
            number: lead.number,
            sent_at_us: lead.clock.station_us(self.latest),
            young: self.latest.since(lead.founded_at) < YOUNG,
            state,
            next,
            buffer_ms: u32::try_from(self.config.buffer.as_millis())
                .unwrap_or(u32::MAX)
                .clamp(*BUFFER_MS.start(), *BUFFER_MS.end()),
            plan: self.programme.digest(),
            run: self.programme.last_run(),
            tracks: [
                self.programme.track_at(next),
                self.programme.track_after(next),
            ]
            .map(|entry| entry.map(|entry| entry.info())),
            name: self.config.name.clone(),
        };
        self.outputs.push_back(Output::Control {
            to,
            bytes: Message::Heartbeat(Box::new(beat)).to_bytes(),
        });
    }

    /// The canonical name in RTCP: the station's, so that a takeover does not change it.
    pub(super) fn cname(&self) -> String {
        format!("{}@lanradio", self.config.station)
    }

    /// Learns the length of the last track, and plans further tracks until enough lies before frame `next`.
    fn plan(&mut self, next: FrameIndex) {
        let mut appended = false;
        loop {
            if self.programme.is_open() {
                let last = self
                    .programme
                    .last_track()
                    .and_then(|entry| self.source.track(entry.track));
                let Some(frames) = last.and_then(|track| track.frames()) else {
                    break;
                };
                self.programme.close(frames);
            }
            let far_enough = self.programme.planned_end() >= Some(next.plus(PLANNED_FRAMES));
            if far_enough && self.programme.track_after(next).is_some() {
                break;
            }
            let Some(track) = self.source.take_next() else {
                break;
            };
            self.programme
                .append(track.id, 0, track.frames(), &track.title, &track.artist);
            // Pruning here, not at the end: a loop of tiny tracks slept through may append millions. What an incomplete
            // source still has to play must not be forgotten, though: it may not catch up with `next`.
            let needed = if self.source.is_complete() {
                next
            } else {
                self.next()
            };
            self.programme.prune(needed);
            appended = true;
        }
        if appended {
            tracing::trace!(version = self.programme.version(), "planned");
        }
    }

    /// The first frame that cannot be sent yet.
    fn sendable_end(&self) -> FrameIndex {
        match (self.programme.planned_end(), self.programme.last_track()) {
            (None, Some(open)) => open.first.plus(
                self.source
                    .track(open.track)
                    .map_or(0, |track| track.sendable()),
            ),
            (end, _) => end.unwrap_or_default(),
        }
    }

    /// Where the programme ends, if that is known.
    fn known_end(&mut self) -> Option<FrameIndex> {
        self.programme
            .planned_end()
            .filter(|_| self.source.is_exhausted())
    }

    /// Whether nothing is left from `next` on.
    fn is_ended(&mut self, next: FrameIndex) -> bool {
        self.known_end().is_some_and(|end| next >= end)
    }

    /// Whether a run can start at `next`: the cushion is there, or all that will ever come.
    fn is_ready(&mut self, next: FrameIndex) -> bool {
        let ready = self.sendable_end().since(next);
        ready >= CUSHION_FRAMES || (ready > 0 && self.known_end().is_some())
    }

    fn start_run(&mut self, first: FrameIndex) {
        let Role::Leading { lead, phase } = &mut self.role else {
            return;
        };
        let starts_at = lead.clock.next_slot(self.latest);
        lead.report_due = starts_at;
        let run = RunInfo {
            first,
            starts_at,
            end: None,
        };
        *phase = Phase::Playing(Pacer::new(lead.clock, run, self.config.buffer));
        self.programme.start_run(first, starts_at);
        self.programme.prune(first);
        self.say_where_it_ends();
        // Before the first packet: it tells how the listeners are to buffer it.
        self.beat(None);
    }

    /// A run's end is in the plan as soon as it is known: it then is known also to those who miss the last heartbeats.
    fn say_where_it_ends(&mut self) {
        if let Some(end) = self.known_end() {
            self.programme.end_run(end);
        }
    }

    /// Sends what is due; ends the run when there is nothing to send.
    fn send_due(&mut self, frames: &dyn Frames) {
        let Role::Leading {
            phase: Phase::Playing(pacer),
            ..
        } = &self.role
        else {
            return;
        };
        let (next, due, pacer) = (pacer.next(), pacer.due(self.latest), pacer.clone());
        if due.is_empty() {
            return;
        }
        self.plan(due.end);
        self.say_where_it_ends();
        let sendable_end = self.sendable_end();
        // A source that fell behind plays on from where it is; only what is too old though its successors are there is lost.
        let starved_at = if due.start < sendable_end {
            let end = due.end.min(sendable_end);
            self.skip(next, due.start);
            (due.start.0..end.0).for_each(|n| self.send_frame(FrameIndex(n), &pacer, frames));
            end
        } else if self.known_end().is_some() {
            self.skip(next, sendable_end);
            sendable_end
        } else {
            next
        };
        if let Role::Leading {
            phase: Phase::Playing(pacer),
            ..
        } = &mut self.role
        {
            pacer.advance(starved_at);
        }
        if self.is_ended(starved_at) {
            self.become_over(EndReason::Ended);
        } else if starved_at < due.end {
            self.starve(starved_at);
        }
    }

    /// The source is too slow: the run ends, and indices stand still.
    fn starve(&mut self, next: FrameIndex) {
        let Role::Leading { phase, .. } = &mut self.role else {
            return;
        };
        *phase = Phase::Idle { next };
        self.programme.end_run(next);
        // What is too old for this run may be enough for the next one.
        self.fed = true;
        tracing::debug!(%next, "idle: the source has nothing to play");
        self.tell(Event::Idle);
        self.beat(None);
    }

    fn skip(&mut self, from: FrameIndex, to: FrameIndex) {
        let frames = to.since(from);
        if frames > 0 {
            self.skipped += frames;
            self.tell(Event::Warning(format!(
                "this machine stood still for longer than the buffer of {} ms: {frames} frames were not sent",
                self.config.buffer.as_millis()
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
            Some(payload) => self.send_payload(index, pacer, payload),
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

    fn send_payload(&mut self, index: FrameIndex, pacer: &Pacer, payload: &[u8]) {
        let Role::Leading { lead, .. } = &mut self.role else {
            return;
        };
        let last = self.programme.is_last_of_track(index);
        let flags = if last {
            Flags::LAST_OF_TRACK
        } else {
            Flags::default()
        };
        let identity = (lead.term.short(), self.programme.digest(), flags);
        let (slot, marker) = (pacer.slot(index), index == pacer.first());
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        MediaPacket::place(&self.numbering, index, slot, marker, identity, payload)
            .write(&mut bytes);
        self.outputs.push_back(Output::Media(bytes));
        self.frames_sent += 1;
        self.octets_sent += payload.len() as u64;
        if slot >= lead.report_due {
            lead.report_due = Slot(slot.0 + REPORT_SLOTS);
            self.report(slot);
        }
    }

    /// Ties the timestamp of a slot to the station clock, for standard players.
    fn report(&mut self, slot: Slot) {
        // RFC 3550 section 6.4.1: both counts are modulo 2³².
        let (packets, octets) = (self.frames_sent as u32, self.octets_sent as u32);
        let timestamp = self.numbering.timestamp(slot);
        let station = self.config.station;
        let bytes = rtcp::sender_report(
            station,
            slot.due_us(),
            timestamp,
            packets,
            octets,
            &self.cname(),
        );
        self.outputs.push_back(Output::Rtcp(bytes));
    }
}
