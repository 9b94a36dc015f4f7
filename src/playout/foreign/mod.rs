//! What is played of RTP streams that other programs send?
//!
//! One source at a time: the first of which three packets follow each other (`candidates`), until it has ended. Others are
//! counted and ignored. A sender that is started again has a new SSRC or new numbers, and cannot say that it is the same one: so
//! whoever sends after the source was silent for 300 ms is its successor, and what is held of the old one is played before
//! (`stream`). It ends by a goodbye (RTCP BYE), once what came was played, or after 5 s of nothing.
//!
//! Use: `handle_*`, then [`Foreign::poll_output`] until `None`, then sleep until [`Foreign::poll_timeout`].
//!
//! A buffer that adapts (`--buffer auto`) begins with the usual one here, as no station says another.
//!
//! Counters: `received` and `concealed` count blocks of 20 ms as everywhere, a block with any made-up sample in it as concealed;
//! `late`, `lost`, `duplicate` and `reordered` count the sender's packets, whatever their length. A pause of the sender (numbers
//! go on, timestamps jump) is concealed and not lost. So blocks played = `received` + `concealed`, as everywhere.

mod candidates;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use super::adaptive::BufferChoice;
use super::fade::Concealment;
use super::player::OffAirReason;
use super::statistics::Statistics;
use crate::time::Instant;
use crate::wire::StationId;
use crate::wire::foreign::ForeignPacket;
use candidates::{Candidate, Candidates};
use stream::{Misfit, Step, Stream};

/// A source that was silent for so long has no claim on the listener any more. Longer than a pause between packets and than
/// most stalls; and well below the second within which a restarted sender is to be heard.
const SUCCEEDED_AFTER: Duration = Duration::from_millis(300);

/// Why a packet of a foreign stream was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ForeignRejection {
    /// A station of ours is on air.
    #[error("RTP of source {0} while a station is on air")]
    StationOnAir(StationId),
    /// Another source plays.
    #[error("RTP of source {0} while another source plays")]
    OtherSource(StationId),
    /// Numbers that do not continue the stream.
    #[error("packet {1} of source {0} does not continue the stream")]
    Jump(StationId, u16),
    /// Of a time that is over, and not missed.
    #[error("packet {1} of source {0} is no longer waited for")]
    TooOld(StationId, u16),
    /// More than is ever held.
    #[error("no room for packet {1} of source {0}")]
    Full(StationId, u16),
}

impl ForeignRejection {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            ForeignRejection::StationOnAir(_) => "foreign",
            ForeignRejection::OtherSource(_) => "other_source",
            ForeignRejection::Jump(..) => "jump",
            ForeignRejection::TooOld(..) => "too_old",
            ForeignRejection::Full(..) => "full",
        }
    }
}

/// What the caller has to do or to tell. Sound is gathered in blocks: each output appends to the block or takes one off.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// A source is listened to: the first one, or the successor of one that fell silent.
    OnAir {
        /// Its SSRC.
        source: StationId,
        /// Where it sends from.
        from: IpAddr,
    },
    /// Its first packet is played. Forget the decoder's state.
    TunedIn {
        /// How many blocks were played before.
        frame: u64,
    },
    /// Decode a packet, drop the first samples, append the rest. If it does not decode: [`Foreign::undecodable`].
    Decode {
        /// An Opus packet.
        payload: Vec<u8>,
        /// How many samples it has.
        samples: u32,
        /// How many of them come too late.
        skip: u32,
    },
    /// Append samples without data.
    Conceal {
        /// How many: at most a block.
        samples: u32,
        /// How they sound.
        concealment: Concealment,
    },
    /// Append zeros: the stream ended in the middle of a block.
    Pad {
        /// How many.
        samples: u32,
    },
    /// Take a block of 960 samples off and play it.
    Play {
        /// Which one, counted from 0.
        frame: u64,
        /// When its first sample is to sound.
        due: Instant,
        /// It is silence, for want of packets.
        silence: bool,
    },
    /// Nothing is played any more, until the next [`Output::OnAir`].
    OffAir {
        /// Why.
        reason: OffAirReason,
    },
}

/// The player of foreign streams. See the module.
#[derive(Debug)]
pub struct Foreign {
    choice: BufferChoice,
    /// The buffer of a stream when it begins.
    start: Duration,
    /// Up to when is decided. Only a timeout sets it, when all sockets were read: after a stall of ours, the packets that wait in
    /// them are older than the time at which the first of them is read.
    now: Instant,
    /// What is listened to.
    stream: Option<Stream>,
    /// Its successor, until its first packet is due.
    next: Option<Stream>,
    candidates: Candidates,
    told: VecDeque<Output>,
    statistics: Statistics,
    /// Blocks played since the start.
    frame: u64,
    finished: bool,
}

impl Foreign {
    /// Nothing heard yet. Packets are played a buffer after they usually arrive; without a station that says how long that is, it
    /// is `default`, or begins with it.
    pub fn new(choice: BufferChoice, default: Duration) -> Foreign {
        let start = match choice {
            BufferChoice::Fixed(buffer) => buffer,
            BufferChoice::Station | BufferChoice::Auto { .. } => default,
        };
        Foreign {
            choice,
            start,
            now: Instant::default(),
            stream: None,
            next: None,
            candidates: Candidates::default(),
            told: VecDeque::new(),
            statistics: Statistics::default(),
            frame: 0,
            finished: false,
        }
    }

    /// Whether a source is listened to.
    pub fn is_on_air(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the source has been silent for so long that no blocks are handed out, not even of silence.
    pub fn stands_still(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.stands_still(self.now))
    }

    /// Where the source sends from.
    pub fn from(&self) -> Option<IpAddr> {
        self.newest().map(|stream| stream.from)
    }

    /// How long after its usual arrival a packet is played, now.
    pub fn buffer(&self) -> Duration {
        self.stream.as_ref().map_or(self.start, Stream::buffer)
    }

    /// Whether the next block is played so much later than the one before that a device runs dry: the buffer has grown.
    pub fn has_gap(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.has_gap(self.now))
    }

    /// How much sound waits to be played.
    pub fn held(&self) -> Duration {
        let streams = self.stream.iter().chain(&self.next);
        streams.map(Stream::held).sum()
    }

    /// Interarrival jitter in microseconds (RFC 3550 section 6.4.1).
    pub fn jitter_us(&self) -> u64 {
        self.newest().map_or(0, Stream::jitter_us)
    }

    /// The totals so far. See the module for what they count.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How many blocks were played so far.
    pub fn frames(&self) -> u64 {
        self.frame
    }

    /// A packet came: `arrived` is when (the kernel's stamp, if there is one), `now` is when it is read.
    ///
    /// # Errors
    /// Says why it is not used; it is counted already. (It may be used later: three that follow each other are a successor, once
    /// the source that plays has fallen silent.)
    pub fn handle_packet(
        &mut self,
        packet: &ForeignPacket<'_>,
        from: IpAddr,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), ForeignRejection> {
        if self.finished {
            return Ok(());
        }
        let now = now.max(self.now);
        let times = (arrived.min(now), now);
        let (source, seq) = (packet.source, packet.seq.0);
        let of_source = |stream: &&mut Stream| stream.source == source;
        let newest = self.next.as_mut().or(self.stream.as_mut());
        let rejection = match newest.filter(of_source) {
            None => self
                .stream
                .as_ref()
                .map(|_| ForeignRejection::OtherSource(source)),
            Some(stream) => match stream.handle_packet(packet, times, &mut self.statistics) {
                Ok(()) => return Ok(()),
                Err(Misfit::Full) => return self.reject(ForeignRejection::Full(source, seq)),
                Err(Misfit::Jump) => Some(ForeignRejection::Jump(source, seq)),
                Err(Misfit::Old) => Some(ForeignRejection::TooOld(source, seq)),
                Err(Misfit::Missed | Misfit::Copy) => return Ok(()), // counted as late and duplicate
                Err(Misfit::Late) => None,
            },
        };
        let gone = self.candidates.add(packet, from, times.0);
        if self.stream.is_none() {
            (0..gone).for_each(|_| self.statistics.reject("foreign"));
        }
        if self.may_be_succeeded(times.0)
            && let Some(candidate) = self.candidates.take(source)
        {
            self.accept(candidate, now);
            return Ok(());
        }
        rejection.map_or(Ok(()), |rejection| self.reject(rejection))
    }

    fn reject(&mut self, rejection: ForeignRejection) -> Result<(), ForeignRejection> {
        self.statistics.reject(rejection.reason());
        Err(rejection)
    }

    /// Sources said goodbye, by RTCP that came `from` there. Only the host that sends a stream can end it.
    pub fn handle_goodbyes(&mut self, sources: &[StationId], from: IpAddr) {
        for source in sources {
            let streams = self.stream.iter_mut().chain(&mut self.next);
            streams
                .filter(|stream| (stream.source, stream.from) == (*source, from))
                .for_each(Stream::handle_goodbye);
            let gone = self.candidates.forget(*source);
            if self.stream.is_none() {
                (0..gone).for_each(|_| self.statistics.reject("foreign"));
            }
        }
    }

    /// Time has come: what is due is decided, and told by the outputs that follow. Call it after all sockets were read.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if let Some(next) = &mut self.next {
            next.settle(self.now);
        }
    }

    /// The listener leaves: one more block is handed out before its time, so that the sound can fade out in it.
    pub fn handle_finish(&mut self) {
        self.finished = true;
        self.next = None;
        if let Some(stream) = &mut self.stream {
            stream.handle_finish(self.now, &mut self.statistics);
        }
    }

    /// The payload of the last [`Output::Decode`] did not decode: its time is concealed by the outputs that follow.
    pub fn undecodable(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.undecodable(&mut self.statistics);
        }
    }

    /// When to come back, if no packet comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stream = self.stream.as_ref().filter(|_| !self.finished)?;
        let next = self.next.as_ref().and_then(Stream::begins_at);
        let ends = match self.next.is_none() && stream.is_drained() {
            true if stream.has_said_goodbye() => Some(self.now),
            true => Some(stream.lost_at()),
            false => None, // the next block comes first
        };
        let times = [stream.poll_timeout(self.now), next, ends];
        times.into_iter().flatten().min()
    }

    /// The next thing to do or to tell; `None`: wait.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let stream = self.stream.as_mut()?;
            if let Some(step) = stream.poll(self.now, &mut self.statistics) {
                return Some(self.output(step));
            }
            if self.finished || !self.go_on() {
                return None;
            }
        }
    }

    fn output(&mut self, step: Step) -> Output {
        match step {
            Step::Begin => Output::TunedIn { frame: self.frame },
            Step::Decode {
                payload,
                samples,
                skip,
            } => Output::Decode {
                payload,
                samples,
                skip,
            },
            Step::Conceal {
                samples,
                concealment,
            } => Output::Conceal {
                samples,
                concealment,
            },
            Step::Pad { samples } => Output::Pad { samples },
            Step::Block { due, silence } => {
                let frame = self.frame;
                self.frame += 1;
                Output::Play {
                    frame,
                    due,
                    silence,
                }
            }
        }
    }

    /// What is next, when the stream has nothing to do now; `false`: nothing.
    fn go_on(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let begins = self.next.as_ref().and_then(Stream::begins_at);
        if begins.is_some_and(|at| at <= self.now) {
            if stream.is_drained() {
                stream.handle_finish(self.now, &mut self.statistics);
                self.stream = self.next.take();
            } else {
                stream.handle_replaced();
            }
            return true;
        }
        let reason = if !stream.is_drained() || self.next.is_some() {
            return false;
        } else if stream.has_said_goodbye() {
            OffAirReason::Ended
        } else if stream.lost_at() <= self.now {
            OffAirReason::SourceLost
        } else {
            return false;
        };
        stream.handle_finish(self.now, &mut self.statistics);
        self.stream = None;
        self.told.push_back(Output::OffAir { reason });
        true
    }

    fn newest(&self) -> Option<&Stream> {
        self.next.as_ref().or(self.stream.as_ref())
    }

    /// Whether another stream, of which a packet `arrived` then, may take the place of what is listened to.
    fn may_be_succeeded(&self, arrived: Instant) -> bool {
        self.newest()
            .is_none_or(|stream| arrived.since(stream.heard_at) >= SUCCEEDED_AFTER)
    }

    /// Listens to a source that has proved to be one: to what it sent since the one before was heard.
    fn accept(&mut self, candidate: Candidate, now: Instant) {
        let (source, from) = (candidate.source, candidate.from);
        let before = self.newest();
        let since = before.map_or(Instant::default(), |stream| stream.heard_at);
        let is_new = before.is_none_or(|stream| stream.source != source);
        let mut stream: Option<Stream> = None;
        for kept in candidate.kept.iter().filter(|kept| kept.arrived >= since) {
            let (packet, times) = (kept.packet(source), (kept.arrived, now));
            let stream = stream.get_or_insert_with(|| {
                let adaptive = self.choice.adaptive(self.start);
                Stream::new(&packet, from, (self.start, adaptive), times)
            });
            // They follow each other, so they fit.
            let _ = stream.handle_packet(&packet, times, &mut self.statistics);
        }
        if is_new && stream.is_some() {
            self.told.push_back(Output::OnAir { source, from });
        }
        if self.stream.is_none() {
            self.stream = stream;
        } else {
            self.next = stream;
        }
    }
}
