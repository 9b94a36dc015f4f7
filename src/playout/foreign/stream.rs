//! When is which part of one foreign stream played? Its packets in, blocks of 20 ms out.
//!
//! Nothing is known of the sender but its packets: sequence numbers say what is missing, timestamps say when it sounds, and the
//! arrival of the packets says how the sender's clock runs ([`Timeline`]). A packet sounds for 2.5 to 120 ms, so time is counted
//! in samples here: `cursor` is the timestamp up to which sound was handed out, and a block is due when its first sample is.
//! A block is filled only when it is due by the time of the last timeout (all sockets had been read by then), with packets and,
//! where there is none, with concealment. What does not continue the stream is a [`Misfit`]: perhaps it begins another one, which
//! the module above decides.

mod blocks;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::super::adaptive::AdaptiveBuffer;
use super::super::fade::{Concealment, SILENT_AFTER};
use super::super::player::{LOST_AFTER, SOURCE_LOST_AFTER};
use super::super::servo::JUMP;
use super::super::statistics::Statistics;
use super::super::timeline::Timeline;
use crate::time::Instant;
use crate::wire::foreign::ForeignPacket;
use crate::wire::{FRAME, StationId};

/// Samples of a block: our own 20 ms.
pub(super) const BLOCK: u64 = 960;
/// Packets held at most: more than 5 s of the shortest ones, the longest buffer.
const MAX_HELD: usize = 4_096;
/// Bytes held at most: 5 s at 1.6 Mbit/s, three times what Opus can be told to make.
const MAX_HELD_BYTES: usize = 1 << 20;
/// Copies are known by the last packets; a copy of an older one counts as too old.
const RECENT: usize = 512;
/// Missing packets whose copies are waited for; with more, the oldest count as lost early.
const MAX_MISSING: usize = 4_096;
/// A packet this many numbers ahead is another stream's (RFC 3550 appendix A.1, MAX_DROPOUT).
const MAX_DROPOUT: u64 = 3_000;
/// A packet that would be due this much after its arrival, too.
const EARLIEST: Duration = Duration::from_secs(1);
/// A packet that was sent this much before the newest one is too old: nothing is overtaken for longer than the longest buffer, and
/// then some. Taken for a late one, it would move the play-out into the far future.
const FARTHEST_BEHIND: Duration = Duration::from_secs(10);
/// After this much of nothing, silence is not handed out any more.
const STILL_AFTER: Duration = Duration::from_millis(200);
/// After a goodbye, this many packets more prove it wrong.
const ALIVE_AGAIN: u32 = 3;

/// What to do for the next block.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Playing begins.
    Begin,
    /// Decode, drop the first `skip` samples, append the rest.
    Decode {
        payload: Vec<u8>,
        samples: u32,
        skip: u32,
    },
    /// Append made-up sound.
    Conceal {
        samples: u32,
        concealment: Concealment,
    },
    /// Append zeros after the last sample.
    Pad { samples: u32 },
    /// A block is whole, and due then; it is nothing but silence for want of packets.
    Block { due: Instant, silence: bool },
}

/// Why a packet does not continue the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Its numbers lie elsewhere.
    Jump,
    /// Its time is over, and it was not missed.
    Old,
    /// Its time is over, and it is the newest: all of them may be late from now on.
    Late,
    /// It was missed, and its time is over.
    Missed,
    /// It was here before.
    Copy,
    /// There is no room.
    Full,
}

#[derive(Debug)]
struct Held {
    start: u64,
    samples: u32,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sound,
    MadeUp,
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Packets are collected until the first one is due.
    Joining,
    Playing,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// It said goodbye; so many packets came after that.
    Goodbye(u32),
    /// Another one is about to begin: what is held is due at once.
    Replaced,
}

/// One source's packets, played.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) source: StationId,
    pub(super) from: IpAddr,
    /// The buffer, unless it adapts.
    fixed: Duration,
    adaptive: Option<AdaptiveBuffer>,
    phase: Phase,
    ending: Ending,
    /// By extended sequence number.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// The highest sequence number and its timestamp.
    high: (u64, u64),
    recent: VecDeque<(u64, u64)>,
    missing: VecDeque<(u64, Instant)>,
    timeline: Timeline,
    /// Local clock minus the stream's, as the play-out uses it; before it begins, as the first packet told it.
    offset_us: i64,
    /// When the first packets (often a burst, or held back) are forgotten, if they are not yet.
    settles_at: Option<Instant>,
    pub(super) heard_at: Instant,
    /// The timestamp of the next sample to be handed out.
    cursor: u64,
    /// The last packet decoded: its number and its samples.
    last: (u64, u64),
    /// Samples of the hole that ends at the cursor.
    hole: u64,
    /// Handed out and not in a whole block yet.
    pieces: VecDeque<(u64, Kind)>,
    queued: u64,
    /// A block is being filled.
    filling: bool,
    /// The timestamp of the last step without a hole.
    stepped_at: Option<u64>,
}

impl Stream {
    /// A stream that begins with `first`, which came at `arrived`.
    pub(super) fn new(
        first: &ForeignPacket<'_>,
        from: IpAddr,
        (fixed, adaptive): (Duration, Option<AdaptiveBuffer>),
        (arrived, now): (Instant, Instant),
    ) -> Stream {
        // Far from zero, so that what came before the first packet has a number, too.
        let high = (
            (1 << 32) + u64::from(first.seq.0),
            (1 << 40) + u64::from(first.timestamp.0),
        );
        let buffer = adaptive.as_ref().map_or(fixed, AdaptiveBuffer::current);
        Stream {
            source: first.source,
            from,
            fixed,
            adaptive,
            phase: Phase::Joining,
            ending: Ending::No,
            held: BTreeMap::new(),
            held_bytes: 0,
            high: (high.0 - 1, high.1 - 1),
            recent: VecDeque::new(),
            missing: VecDeque::new(),
            timeline: Timeline::new(),
            offset_us: arrived.micros_after(Instant::from_micros(stream_us(high.1))),
            settles_at: Some(now + buffer / 2),
            heard_at: arrived,
            cursor: 0,
            last: (high.0 - 1, 0),
            hole: 0,
            pieces: VecDeque::new(),
            queued: 0,
            filling: false,
            stepped_at: None,
        }
    }

    /// A packet of this source came.
    pub(super) fn handle_packet(
        &mut self,
        packet: &ForeignPacket<'_>,
        (arrived, now): (Instant, Instant),
        statistics: &mut Statistics,
    ) -> Result<(), Misfit> {
        let (high_seq, high_start) = self.high;
        let seq = near(
            high_seq,
            i64::from(packet.seq.0.wrapping_sub(high_seq as u16) as i16),
        );
        let ahead = packet.timestamp.0.wrapping_sub(high_start as u32) as i32;
        let start = near(high_start, ahead.into());
        if seq <= high_seq && self.recent.contains(&(seq, start)) {
            statistics.duplicate += 1;
            return Err(Misfit::Copy);
        }
        let newer = seq > high_seq;
        if !self.is_in_order(seq, start) || newer && self.is_far_ahead(seq, start, arrived) {
            return Err(Misfit::Jump);
        }
        if stream_us(high_start.saturating_sub(start)) > FARTHEST_BEHIND.as_micros() as u64 {
            return Err(Misfit::Old);
        }
        if self.is_over(seq, start + u64::from(packet.samples), arrived) {
            return Err(self.take_late(seq, start, arrived, statistics));
        }
        if newer {
            self.heard_at = self.heard_at.max(now);
        }
        if self.held.len() >= MAX_HELD || self.held_bytes + packet.payload.len() > MAX_HELD_BYTES {
            return Err(Misfit::Full);
        }
        self.measure(start, arrived);
        let payload = packet.payload.to_vec();
        self.held_bytes += payload.len();
        let samples = packet.samples;
        self.held.insert(
            seq,
            Held {
                start,
                samples,
                payload,
            },
        );
        self.remember(seq, start);
        self.timeline.handle_sample(stream_us(start), arrived);
        if newer {
            self.count_life();
        } else {
            statistics.reordered += 1;
        }
        Ok(())
    }

    /// Numbers and times must rise together.
    fn is_in_order(&self, seq: u64, start: u64) -> bool {
        let before = self.held.range(..seq).next_back();
        let after = self.held.range(seq..).next();
        let rises = before.is_none_or(|(_, held)| held.start < start)
            && after.is_none_or(|(other, held)| *other > seq && held.start > start);
        let (high_seq, high_start) = self.high;
        rises && (seq > high_seq) == (start > high_start)
    }

    fn is_far_ahead(&self, seq: u64, start: u64, arrived: Instant) -> bool {
        // By the timeline, and by the play-out, which follows it slowly: else a sender that runs ahead again and again would be
        // played later and later.
        let played_as_due = Instant::from_micros(stream_us(start)).offset_by(self.offset_us);
        let due = self.due(start).max(played_as_due);
        seq - self.high.0 > MAX_DROPOUT || due > arrived + EARLIEST
    }

    /// When the packet of this timestamp usually arrives.
    fn due(&self, start: u64) -> Instant {
        let offset_us = self.timeline.offset_us().unwrap_or(self.offset_us);
        Instant::from_micros(stream_us(start)).offset_by(offset_us)
    }

    /// Whether the time of a packet is over: others were played in its place, or (where nothing is played) its instant is past.
    fn is_over(&self, seq: u64, end: u64, arrived: Instant) -> bool {
        let is_decided = seq <= self.last.0 || end <= self.cursor;
        let is_past = self.is_past(end, arrived);
        match self.phase {
            Phase::Joining => is_past && seq < self.high.0,
            _ => is_decided || is_past && self.stands_still(arrived),
        }
    }

    /// Whether the sample at this timestamp was to sound before. (Numbers, not instants: it may be from before the clock began.)
    fn is_past(&self, end: u64, arrived: Instant) -> bool {
        let offset_us = self.timeline.offset_us().unwrap_or(self.offset_us);
        let plays_at_us = stream_us(end) as i64 + offset_us + self.buffer().as_micros() as i64;
        plays_at_us <= arrived.as_micros() as i64
    }

    /// A packet whose time is over: newer than all that was used, or missed, or unknown.
    fn take_late(
        &mut self,
        seq: u64,
        start: u64,
        arrived: Instant,
        statistics: &mut Statistics,
    ) -> Misfit {
        if self.phase != Phase::Joining && seq > self.last.0 {
            statistics.late += 1;
            statistics.reordered += u64::from(seq < self.high.0);
            self.timeline.handle_sample(stream_us(start), arrived);
            self.skip_to(seq, arrived, statistics);
            statistics.loss_bursts.handle_frame(false);
            self.last = (seq, 0);
            self.remember(seq, start);
            // The play-out has run ahead of the stream: it waits for it.
            let offset_us = self.timeline.offset_us().unwrap_or(self.offset_us);
            self.offset_us = self.offset_us.max(offset_us);
            self.measure(start, arrived);
            return Misfit::Late;
        }
        let found = self.missing.iter().position(|missing| missing.0 == seq);
        let Some((_, gives_up_at)) = found.and_then(|at| self.missing.remove(at)) else {
            return Misfit::Old;
        };
        self.measure(start, arrived);
        if arrived < gives_up_at {
            statistics.late += 1;
        } else {
            statistics.lost += 1;
        }
        statistics.reordered += 1;
        self.remember(seq, start);
        Misfit::Missed
    }

    /// The first copy of a packet came: how late is it for what is played?
    fn measure(&mut self, start: u64, arrived: Instant) {
        if let Some(adaptive) = self
            .adaptive
            .as_mut()
            .filter(|_| self.phase == Phase::Playing)
        {
            let due = Instant::from_micros(stream_us(start)).offset_by(self.offset_us);
            adaptive.handle_frame(arrived.micros_after(due), arrived);
        }
    }

    /// How long after its usual arrival a packet is played, now.
    pub(super) fn buffer(&self) -> Duration {
        let adaptive = self.adaptive.as_ref();
        adaptive.map_or(self.fixed, AdaptiveBuffer::current)
    }

    /// Whether the next block is so much later than the one before that a device runs dry.
    pub(super) fn has_gap(&self, now: Instant) -> bool {
        self.phase == Phase::Playing && self.block_due() > now + FRAME + JUMP
    }

    fn remember(&mut self, seq: u64, start: u64) {
        self.high = self.high.max((seq, start));
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, start));
    }

    /// The numbers between the last packet used and `seq` are missing.
    fn skip_to(&mut self, seq: u64, now: Instant, statistics: &mut Statistics) {
        for missing in self.last.0 + 1..seq {
            statistics.loss_bursts.handle_frame(false);
            self.missing.push_back((missing, now + LOST_AFTER));
            if self.missing.len() > MAX_MISSING {
                self.missing.pop_front();
                statistics.lost += 1;
            }
        }
    }

    /// The source said goodbye: what is held is played, then it is over.
    pub(super) fn handle_goodbye(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Goodbye(0);
        }
    }

    fn count_life(&mut self) {
        if let Ending::Goodbye(count) = &mut self.ending {
            *count += 1;
            if *count >= ALIVE_AGAIN {
                self.ending = Ending::No;
            }
        }
    }

    /// Another stream is about to begin: what is held is played now.
    pub(super) fn handle_replaced(&mut self) {
        self.ending = Ending::Replaced;
    }

    /// The listener leaves: one more block is handed out before its time; copies are no longer waited for.
    pub(super) fn handle_finish(&mut self, now: Instant, statistics: &mut Statistics) {
        statistics.lost += self.missing.len() as u64;
        self.missing.clear();
        self.filling |= self.phase == Phase::Playing && !self.stands_still(now);
        self.phase = Phase::Finished;
    }

    /// Whether everything that came was handed out.
    pub(super) fn is_drained(&self) -> bool {
        self.held.is_empty() && self.queued == 0 && !self.filling
    }

    /// Whether it said goodbye.
    pub(super) fn has_said_goodbye(&self) -> bool {
        matches!(self.ending, Ending::Goodbye(_))
    }

    /// When the source is lost, if nothing more is heard.
    pub(super) fn lost_at(&self) -> Instant {
        self.heard_at + SOURCE_LOST_AFTER
    }

    /// Interarrival jitter in microseconds.
    pub(super) fn jitter_us(&self) -> u64 {
        self.timeline.jitter_us()
    }

    /// How much sound is held.
    pub(super) fn held(&self) -> Duration {
        let samples = |held: &Held| u64::from(held.samples);
        let total: u64 = self.held.values().map(samples).sum();
        Duration::from_micros(stream_us(total))
    }

    /// When playing begins, while it does not.
    pub(super) fn begins_at(&self) -> Option<Instant> {
        let (_, first) = self.held.first_key_value()?;
        let due = self.due(first.start) + self.buffer();
        Some(self.settles_at.map_or(due, |at| due.max(at)))
    }

    /// When to come back.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Joining => self.settles_at.or_else(|| self.begins_at()),
            Phase::Playing if self.has_nothing_to_do(now) => None,
            Phase::Playing => Some(self.block_filled_at()),
            Phase::Finished => None,
        }
    }

    /// The payload of the last [`Step::Decode`] did not decode: its time is a hole.
    pub(super) fn undecodable(&mut self, statistics: &mut Statistics) {
        statistics.reject("opus");
        statistics.lost += 1;
        if let Some((samples, Kind::Sound)) = self.pieces.pop_back() {
            self.queued -= samples;
            self.cursor -= samples;
            self.last.1 = 0;
        }
    }

    /// Forgets when the first packets came: a burst of them says nothing about when the next ones will. To be called, too,
    /// while nothing of it is played yet.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.settles_at.is_some_and(|at| now >= at) {
            self.timeline.reset();
            self.settles_at = None;
        }
    }
}

/// Microseconds of the stream's clock at a timestamp: 48 ticks are a millisecond.
fn stream_us(ticks: u64) -> u64 {
    ticks * 125 / 6
}

/// The number that lies `ahead` of another one.
fn near(number: u64, ahead: i64) -> u64 {
    number.saturating_add_signed(ahead)
}
