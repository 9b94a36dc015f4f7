//! When is a foreign source to be believed? When three packets of it follow each other (DESIGN 5).
//!
//! Each number is one more than the last one, each timestamp one packet's sound later: what merely looks like Opus (there is no
//! session description that says so) does not. The packets are kept meanwhile, so that nothing of the stream is lost; and
//! beyond the third one, because a source that waits for another to fall silent goes on sending.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::time::Instant;
use crate::wire::StationId;
use crate::wire::foreign::ForeignPacket;
use crate::wire::ids::{RtpTimestamp, Seq};

/// Packets that must follow each other.
const NEEDED: usize = 3;
/// Sources looked at side by side: a flood of invented ones neither fills the memory nor keeps a true one out.
const MAX_SOURCES: usize = 4;
/// A step of the timestamps by less than this (10 ms) proves nothing, but what came before it belongs to the same sound:
/// GStreamer's first packet is 312 samples early.
const SMALL_STEP: u32 = 480;
/// Packets kept of each: 300 ms of the shortest ones.
const MAX_KEPT: usize = 128;
/// Bytes kept of each.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// A packet that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    seq: Seq,
    timestamp: RtpTimestamp,
    samples: u32,
    payload: Vec<u8>,
    pub(super) arrived: Instant,
}

impl Kept {
    /// As it came.
    pub(super) fn packet(&self, source: StationId) -> ForeignPacket<'_> {
        ForeignPacket {
            source,
            seq: self.seq,
            timestamp: self.timestamp,
            samples: self.samples,
            payload: &self.payload,
        }
    }

    /// How far the next packet's timestamp is from where this one's sound ends; nothing, if it is not the next packet.
    fn step_to(&self, next: &ForeignPacket<'_>) -> Option<u32> {
        let end = self.timestamp.0.wrapping_add(self.samples);
        let off = next.timestamp.0.wrapping_sub(end) as i32;
        (next.seq.0 == self.seq.0.wrapping_add(1)).then_some(off.unsigned_abs())
    }
}

/// A source and its last packets, each following the one before.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) source: StationId,
    pub(super) from: IpAddr,
    pub(super) kept: VecDeque<Kept>,
    bytes: usize,
    /// How many of the last ones follow each other.
    run: usize,
}

impl Candidate {
    fn keep(&mut self, packet: &ForeignPacket<'_>, arrived: Instant) {
        self.bytes += packet.payload.len();
        self.kept.push_back(Kept {
            seq: packet.seq,
            timestamp: packet.timestamp,
            samples: packet.samples,
            payload: packet.payload.to_vec(),
            arrived,
        });
        while self.kept.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let gone = self.kept.pop_front();
            self.bytes -= gone.map_or(self.bytes, |gone| gone.payload.len());
        }
    }
}

/// The sources that are not listened to.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// A packet came that is not of the stream that plays. Says how many packets were let go for it.
    pub(super) fn add(
        &mut self,
        packet: &ForeignPacket<'_>,
        from: IpAddr,
        arrived: Instant,
    ) -> usize {
        let known = self.0.iter().position(|one| one.source == packet.source);
        let mut gone = 0;
        let at = known.unwrap_or_else(|| {
            if self.0.len() == MAX_SOURCES {
                gone += self.evict();
            }
            self.0.push(Candidate {
                source: packet.source,
                from,
                kept: VecDeque::new(),
                bytes: 0,
                run: 0,
            });
            self.0.len() - 1
        });
        let candidate = &mut self.0[at];
        let last = candidate.kept.back();
        if last.is_some_and(|last| (last.seq, last.timestamp) == (packet.seq, packet.timestamp)) {
            return gone + 1; // a copy proves nothing, neither for nor against
        }
        match last.map(|last| last.step_to(packet)) {
            Some(Some(0)) => candidate.run += 1,
            Some(Some(1..SMALL_STEP)) => candidate.run = 1,
            _ => {
                gone += candidate.kept.len();
                candidate.kept.clear();
                (candidate.bytes, candidate.run, candidate.from) = (0, 1, from);
            }
        }
        candidate.keep(packet, arrived);
        gone
    }

    /// Takes `source` out if it is to be believed.
    pub(super) fn take(&mut self, source: StationId) -> Option<Candidate> {
        let proved = |one: &Candidate| one.source == source && one.run >= NEEDED;
        let at = self.0.iter().position(proved)?;
        Some(self.0.swap_remove(at))
    }

    /// Forgets `source`, and says how many packets of it were kept.
    pub(super) fn forget(&mut self, source: StationId) -> usize {
        let kept = self.0.extract_if(.., |one| one.source == source);
        kept.map(|one| one.kept.len()).sum()
    }

    /// Lets the one go that least speaks for.
    fn evict(&mut self) -> usize {
        let least = (0..self.0.len()).min_by_key(|at| self.0[*at].kept.len());
        least.map_or(0, |at| self.0.remove(at).kept.len())
    }
}
