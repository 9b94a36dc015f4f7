//! What is played now? One station's packets and heartbeats in; each frame index out exactly once and in order, played or concealed.
//!
//! A frame is late when its index has been *decided*, not when a clock says so: callers read all sockets before they call
//! [`Player::handle_timeout`], so a frame that arrives at its very deadline plays, and one that the program itself was too
//! slow to read does not count as the network's fault. Everything else follows DESIGN 3 and the rules RECEIVE of PROTOCOL.
//!
//! Use: `handle_*`, then [`Player::poll_output`] until `None`, then sleep until [`Player::poll_timeout`]. Payloads are read with
//! [`Player::payload`] before the next `handle_*`. Time that goes back is ignored; late and repeated timeouts are no-ops.

mod beats;
mod buffering;
mod decide;
mod intake;
mod missing;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use thiserror::Error;

use super::adaptive::AdaptiveBuffer;
pub use super::adaptive::BufferChoice;
use super::evidence::Evidence;
use super::fade::Concealment;
use super::runs::Runs;
use super::statistics::Statistics;
use super::store::ReceivedFrames;
use super::terms::Terms;
use super::timeline::Timeline;
use super::tracks::Tracks;
use crate::time::Instant;
use crate::wire::control::{EndReason, State, TrackInfo};
use crate::wire::ids::Numbering;
use crate::wire::{FRAME, FrameIndex, StationId, Term};
use buffering::Buffering;
use queue::Queue;

/// A frame is waited for at least so long after its due time.
pub const LEAST_WAIT: Duration = Duration::from_millis(40);
/// Frames decoded unheard before the first one that is played (DESIGN 3.7).
pub const PREROLL: u64 = 8;
/// The longest gap that is concealed: 1 h. After a longer one the player tunes in anew.
pub const MAX_GAP: u64 = 180_000;
/// After this much of nothing at all the source is lost.
pub const SOURCE_LOST_AFTER: Duration = Duration::from_secs(5);
/// A copy that comes later than this after its play time does not count as late any more: the frame is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(1);
/// After this much of nothing at all, silence is not decided any more. Longer than the heartbeats' 100 ms.
const STILL_AFTER: Duration = Duration::from_millis(200);
/// When a run's announced end was played and nobody says what comes next, the programme is over after this.
const END_GRACE: Duration = Duration::from_secs(1);
/// Concealed frames whose copies are waited for; with more, the oldest count as lost early.
const MISSING_LIMIT: usize = 4096;

/// What the listener chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The listener's buffer: the station's, or its own.
    pub buffer: BufferChoice,
    /// The station's buffer until a heartbeat tells the station's.
    pub default_buffer: Duration,
    /// So many microseconds later than all others this listener is heard: what its room or its amplifier is worth. May be negative.
    pub delay_us: i64,
    /// So long before it is heard a frame has to be decided: what a sound device takes. No less than [`LEAST_WAIT`] is left of the buffer for
    /// it, or the device is heard later than it should be.
    pub lead: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            buffer: BufferChoice::Station,
            default_buffer: Duration::from_millis(500),
            delay_us: 0,
            lead: Duration::ZERO,
        }
    }
}

/// Why a packet or heartbeat was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Another station's.
    #[error("of station {0}, which is not tuned in")]
    OtherStation(StationId),
    /// Of a term that is over.
    #[error("of a term lower than the followed one")]
    StaleTerm,
    /// Of a term that so many takeovers cannot have led to.
    #[error("of a term far above the followed one")]
    TermLeap,
    /// Its timestamp is not where the frame's run puts it.
    #[error("timestamp of frame {0} does not fit its run")]
    Timestamp(FrameIndex),
    /// Beyond the window, and nothing agrees with it.
    #[error("frame {0} is beyond the window")]
    TooFar(FrameIndex),
    /// Of a frame that is no longer (or never was) waited for.
    #[error("frame {0} is no longer waited for")]
    TooOld(FrameIndex),
    /// From a node that hears nobody, while a leader is heard.
    #[error("solo frame {0} while a leader is on air")]
    Solo(FrameIndex),
    /// The caller polls no outputs.
    #[error("no room for frame {0}: outputs are not polled")]
    Full(FrameIndex),
}

impl Rejection {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            Rejection::OtherStation(_) => "other_station",
            Rejection::StaleTerm => "stale_term",
            Rejection::TermLeap => "term_leap",
            Rejection::Timestamp(_) => "timestamp",
            Rejection::TooFar(_) => "too_far",
            Rejection::TooOld(_) => "too_old",
            Rejection::Solo(_) => "solo",
            Rejection::Full(_) => "full",
        }
    }
}

/// Why nothing is played any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffAirReason {
    /// The programme was played to its end.
    Ended,
    /// Somebody stopped it.
    Stopped,
    /// The leader left.
    Left,
    /// Nothing was heard for 5 s.
    SourceLost,
}

impl OffAirReason {
    /// The word of the `off_air` event (DESIGN 5).
    pub const fn as_str(self) -> &'static str {
        match self {
            OffAirReason::Ended => "ended",
            OffAirReason::Stopped => "stopped",
            OffAirReason::Left => "left",
            OffAirReason::SourceLost => "source_lost",
        }
    }
}

impl From<EndReason> for OffAirReason {
    fn from(reason: EndReason) -> OffAirReason {
        match reason {
            EndReason::Ended => OffAirReason::Ended,
            EndReason::Stopped => OffAirReason::Stopped,
            EndReason::Left => OffAirReason::Left,
            EndReason::SourceLost => OffAirReason::SourceLost,
        }
    }
}

/// What the caller has to do or to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Playing begins, at first or after [`Output::OffAir`].
    TunedIn {
        /// The first frame played.
        first: FrameIndex,
    },
    /// Reset the decoder.
    Reset,
    /// Decode unheard; a missing payload is concealed unheard.
    Preroll {
        /// Which frame.
        index: FrameIndex,
    },
    /// Decode and play one block.
    Play {
        /// Which frame.
        index: FrameIndex,
    },
    /// Play one block without data.
    Conceal {
        /// Which frame.
        index: FrameIndex,
        /// How.
        concealment: Concealment,
    },
    /// A track begins with the next block, or was joined there, or became known there.
    Track(TrackInfo),
    /// Another leader, or the first one.
    Leader {
        /// Its term.
        term: Term,
        /// `first`, `silence` (the one before fell silent) or `higher_term`.
        reason: &'static str,
    },
    /// Nothing is played any more, until a [`Output::TunedIn`].
    OffAir {
        /// Why.
        reason: OffAirReason,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is known of the station.
    Searching,
    /// Frames are collected; the lowest one, and (before the first) where the leader is.
    Joining {
        low: Option<FrameIndex>,
        near: FrameIndex,
    },
    /// Every index before `next` is decided; `next` is decided at its play time.
    Playing { next: FrameIndex },
    /// Every index before `next` is decided; nothing is played until a frame is heard.
    OffAir { next: FrameIndex },
    /// The listener has left.
    Finished,
}

/// The player of one station. See the module.
#[derive(Debug)]
pub struct Player {
    config: Config,
    numbering: Numbering,
    now: Instant,
    phase: Phase,
    frames: ReceivedFrames,
    timeline: Timeline,
    runs: Runs,
    tracks: Tracks,
    terms: Terms,
    evidence: Evidence,
    queue: Queue,
    statistics: Statistics,
    /// The highest index that was accepted.
    high: Option<FrameIndex>,
    /// What the leader said last that it will send next.
    told_next: Option<FrameIndex>,
    /// Before playing began anew: nothing below it is decided again.
    floor: FrameIndex,
    /// A run that was announced to us before its first frame was sent: we are there from its start.
    awaited: Option<FrameIndex>,
    /// Concealed, no copy yet, and when each is given up.
    missing: VecDeque<(FrameIndex, Instant)>,
    /// Consecutive frames concealed up to now.
    hole: u64,
    /// The last payload that did not decode, and how many in a row.
    undecodable: Option<(FrameIndex, u64)>,
    /// The next frame with data ends an [`Output::OffAir`].
    announce: bool,
    announced_track: Option<TrackInfo>,
    heard_at: Instant,
    station_buffer: Option<Duration>,
    buffering: Buffering,
    state: Option<State>,
    leader_name: String,
}

impl Player {
    /// A player for `station`. Another station needs another player.
    pub fn new(station: StationId, config: Config) -> Player {
        Player {
            buffering: Buffering::new(&config),
            config,
            numbering: Numbering::of(station),
            now: Instant::default(),
            phase: Phase::Searching,
            frames: ReceivedFrames::new(),
            timeline: Timeline::new(),
            runs: Runs::default(),
            tracks: Tracks::default(),
            terms: Terms::default(),
            evidence: Evidence::default(),
            queue: Queue::default(),
            statistics: Statistics::default(),
            high: None,
            told_next: None,
            floor: FrameIndex::default(),
            awaited: None,
            missing: VecDeque::new(),
            hole: 0,
            undecodable: None,
            announce: false,
            announced_track: None,
            heard_at: Instant::default(),
            station_buffer: None,
            state: None,
            leader_name: String::new(),
        }
    }

    /// Which station it plays.
    pub fn station(&self) -> StationId {
        self.numbering.station()
    }

    /// Whether it has proved to be a station: by a heartbeat, or by packets that agree with each other.
    pub fn is_accepted(&self) -> bool {
        !matches!(self.phase, Phase::Searching)
    }

    /// Whether no frame of it is on air as far as it is known: it is idle, or was not heard yet, or is gone.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Joining { low: None, .. }) || self.is_off_air()
    }

    /// Whether it has to be left alone as yet: its frames are on air, or some that it decided were not polled.
    pub fn is_busy(&self) -> bool {
        !self.is_waiting() || self.queue.has_frames()
    }

    /// How many packets speak for it while it is not accepted.
    pub fn evidence(&self) -> usize {
        self.evidence.count()
    }

    /// Whether nothing is played any more, until the station is heard again.
    pub fn is_off_air(&self) -> bool {
        matches!(self.phase, Phase::Searching | Phase::OffAir { .. })
    }

    /// The next thing to do or to tell; `None`: wait for packets or for [`Player::poll_timeout`].
    pub fn poll_output(&mut self) -> Option<Output> {
        self.queue.pop()
    }

    /// The Opus packet of a frame that is held (of a [`Output::Play`] or [`Output::Preroll`]); valid until the next `handle_*`.
    pub fn payload(&self, index: FrameIndex) -> Option<&[u8]> {
        self.frames.get(index).or_else(|| self.queue.saved(index))
    }

    /// The received frames, also those already played.
    pub fn frames(&self) -> &ReceivedFrames {
        &self.frames
    }

    /// The payload of an [`Output::Play`] did not decode: it counts as concealed (and lost: no usable copy came), and this is
    /// how to conceal it.
    pub fn undecodable(&mut self, index: FrameIndex) -> Concealment {
        let before = match self.undecodable {
            Some((last, count)) if last.plus(1) == index => count,
            _ => 0,
        };
        self.undecodable = Some((index, before + 1));
        self.statistics.reject("opus");
        let info = self.frames.info(index);
        let via = info.map(|info| info.via).unwrap_or_default();
        self.statistics.count_undecodable(via);
        Concealment::after(before)
    }

    /// The totals so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The totals, for counters that only the caller knows (underruns, packets that did not parse).
    pub fn statistics_mut(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    /// Frames that wait to be played.
    pub fn buffered_frames(&self) -> usize {
        match self.phase {
            Phase::Joining {
                low: Some(from), ..
            }
            | Phase::Playing { next: from } => self.frames.count_from(from),
            _ => 0,
        }
    }

    /// Interarrival jitter in microseconds (RFC 3550 section 6.4.1).
    pub fn jitter_us(&self) -> u64 {
        self.timeline.jitter_us()
    }

    /// The station clock in local time.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The followed term, once a heartbeat told it in full.
    pub fn term(&self) -> Option<Term> {
        self.terms.told()
    }

    /// The leader's name; empty before the first heartbeat.
    pub fn leader_name(&self) -> &str {
        &self.leader_name
    }

    /// What the station last said it does.
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// The track that plays.
    pub fn track(&self) -> Option<&TrackInfo> {
        self.position().and_then(|index| self.tracks.at(index))
    }

    /// How far in its track the playing frame is.
    pub fn track_position(&self) -> Option<Duration> {
        let index = self.position()?;
        let frames = index.since(self.tracks.at(index)?.first);
        Some(Duration::from_micros(
            frames.saturating_mul(FRAME.as_micros() as u64),
        ))
    }

    /// The last frame that was decided, while something is played.
    pub fn position(&self) -> Option<FrameIndex> {
        match self.phase {
            Phase::Playing { next } => next.0.checked_sub(1).map(FrameIndex),
            _ => None,
        }
    }

    fn reject(&mut self, result: Result<(), Rejection>) -> Result<(), Rejection> {
        if let Err(rejection) = &result {
            self.statistics.reject(rejection.reason());
        }
        result
    }
}
