//! How does a leader say that it is there? By heartbeats to nodes, and by sender reports to standard players.

use super::roles::Role;
use super::{HEARTBEAT, HURRIED_HEARTBEAT, Node, Output};
use crate::wire::control::{BUFFER_MS, Heartbeat, Message};
use crate::wire::election::Succession;
use crate::wire::{FRAME, Slot, rtcp};

/// Slots from one heartbeat to the next.
const HEARTBEAT_SLOTS: u64 = (HEARTBEAT.as_micros() / FRAME.as_micros()) as u64;
/// The same when others wait for it: in a contest, in a hand-over, with a quorum.
const HURRIED_SLOTS: u64 = (HURRIED_HEARTBEAT.as_micros() / FRAME.as_micros()) as u64;

impl Node {
    /// Sends a heartbeat to the group, or to one node that asked.
    pub(super) fn beat(&mut self, to: Option<std::net::SocketAddr>) {
        let (Some(state), Some(next)) = (self.state(), self.role.next()) else {
            return;
        };
        let hurried = self.is_hurried();
        let heirs = self.roster.heirs().to_vec();
        let (offer, over) = (self.offer(), self.contested());
        let supporters = self.supporters();
        let (Role::Leading { lead, .. } | Role::Over { lead, .. }) = &mut self.role else {
            return;
        };
        lead.number += 1;
        lead.lease.note_sent(lead.number, self.latest);
        if to.is_none() {
            let every = if hurried {
                HURRIED_SLOTS
            } else {
                HEARTBEAT_SLOTS
            };
            let beats = lead.clock.slot(self.latest).0 / every;
            lead.beat_due = Slot((beats + 1) * every);
        }
        let beat = Heartbeat {
            station: self.config.station,
            term: lead.term,
            number: lead.number,
            sent_at_us: lead.clock.station_us(self.latest),
            young: lead.is_young(self.latest),
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
            succession: Succession {
                first: lead.first,
                version: self.programme.version(),
                heirs,
                offer,
                quorum: self.config.quorum,
                supporters,
                over,
                http_port: self.config.http_port,
                held_to: self.held_to,
            },
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

    /// Ties the timestamp of a slot to the station clock, for standard players.
    pub(super) fn report_as_sender(&mut self, slot: Slot) {
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
