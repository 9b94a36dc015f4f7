//! What do nodes say to each other on the control port?
//!
//! A version byte, then one postcard enum, at most [`MAX_BYTES`] (DESIGN 4). A version or a variant that we do not know is
//! counted, never guessed at: a newer node on the same network must not disturb an older one.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::{FrameIndex, NodeId, PlanDigest, Slot, StationId, Term};

/// The first byte of every control datagram.
pub const VERSION: u8 = 1;
/// The largest control datagram: fits in every MTU unfragmented.
pub const MAX_BYTES: usize = 1_200;
/// The longest node name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest title or artist, in bytes.
pub const MAX_TEXT_BYTES: usize = 128;

/// Everything that a control datagram can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "I lead this station": multicast every 100 ms, and unicast in answer to a hello.
    Heartbeat(Box<Heartbeat>),
    /// "Who is on air?"
    Hello(Hello),
}

/// A leader's sign of life, with all that a joiner needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Which station.
    pub station: StationId,
    /// In which term.
    pub term: Term,
    /// Rises with every heartbeat of the term; an older one than the newest seen says nothing.
    pub number: u64,
    /// When it was sent: microseconds on the station clock.
    pub sent_at_us: u64,
    /// Founded less than 2 s ago: it yields to a station that is older.
    pub young: bool,
    /// Playing, idle or over.
    pub state: State,
    /// The next frame that the leader will send.
    pub next: FrameIndex,
    /// The station's buffer in milliseconds.
    pub buffer_ms: u32,
    /// Names the plan.
    pub plan: PlanDigest,
    /// The run that plays or played last; none before the first.
    pub run: Option<RunInfo>,
    /// The track that `next` belongs to, and the one after it as soon as it is planned.
    pub tracks: [Option<TrackInfo>; 2],
    /// The leader's name.
    pub name: String,
}

/// What a station is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Frames are on air.
    Playing,
    /// Waiting for the source; frame indices stand still.
    Idle,
    /// The programme is over; the station with it, unless somebody starts another one.
    Over(EndReason),
}

/// Why a programme is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// It was played to its end.
    Ended,
    /// Somebody stopped it.
    Stopped,
    /// The leader left and nobody could take over.
    Left,
}

/// A stretch of frames without a pause (PROTOCOL, "run").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its first frame.
    pub first: FrameIndex,
    /// When that frame is due.
    pub starts_at: Slot,
    /// One past its last frame, as soon as that is known.
    pub end: Option<FrameIndex>,
}

/// A track on the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackInfo {
    /// The index of its first frame; decoders start afresh there.
    pub first: FrameIndex,
    /// Its length, as soon as that is known.
    pub frames: Option<u64>,
    /// Its title (the file's name, if it has none).
    pub title: String,
    /// Who plays; may be empty.
    pub artist: String,
}

/// Asks who is on air; the leader answers with a heartbeat by unicast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who asks.
    pub node: NodeId,
    /// Its name.
    pub name: String,
}

/// Why a datagram on the control port says nothing to us.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// Nothing in it.
    #[error("empty control datagram")]
    Empty,
    /// From another generation of the program.
    #[error("control version {0} instead of {VERSION}: a node with another release of lanradio?")]
    Version(u8),
    /// More than any message of ours has.
    #[error("control datagram of {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    /// A variant that we do not know.
    #[error("unknown control message {0}")]
    Unknown(u32),
    /// Not a message.
    #[error("malformed control message of {0} bytes")]
    Malformed(usize),
    /// A name or title longer than agreed, or an index beyond 40 bits.
    #[error("control message with {0} out of range")]
    Range(&'static str),
}

impl ControlError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            ControlError::Empty => "control_empty",
            ControlError::Version(_) => "control_version",
            ControlError::TooLong(_) => "control_too_long",
            ControlError::Unknown(_) => "control_unknown",
            ControlError::Malformed(_) => "control_malformed",
            ControlError::Range(_) => "control_range",
        }
    }
}

impl Message {
    /// How many variants this release knows.
    const VARIANTS: u32 = 2;

    /// Reads a datagram of the control port.
    ///
    /// # Errors
    /// Says why it is not a message of ours; never panics.
    pub fn parse(datagram: &[u8]) -> Result<Message, ControlError> {
        let (&version, body) = datagram.split_first().ok_or(ControlError::Empty)?;
        if version != VERSION {
            return Err(ControlError::Version(version));
        }
        if datagram.len() > MAX_BYTES {
            return Err(ControlError::TooLong(datagram.len()));
        }
        let malformed = |_| ControlError::Malformed(datagram.len());
        let (variant, _) = postcard::take_from_bytes::<u32>(body).map_err(malformed)?;
        if variant >= Message::VARIANTS {
            return Err(ControlError::Unknown(variant));
        }
        let (message, rest) = postcard::take_from_bytes::<Message>(body).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(ControlError::Malformed(datagram.len()));
        }
        message.check()?;
        Ok(message)
    }

    /// The datagram.
    pub fn to_bytes(&self) -> Vec<u8> {
        debug_assert_eq!(self.check(), Ok(()));
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ControlError> {
        let within = |ok: bool, what| {
            if ok {
                Ok(())
            } else {
                Err(ControlError::Range(what))
            }
        };
        match self {
            Message::Hello(hello) => within(hello.name.len() <= MAX_NAME_BYTES, "name"),
            Message::Heartbeat(beat) => {
                within(beat.name.len() <= MAX_NAME_BYTES, "name")?;
                within(beat.next.0 < FrameIndex::LIMIT, "next")?;
                within(beat.sent_at_us < 1 << 60, "clock")?;
                within((1..=60_000).contains(&beat.buffer_ms), "buffer")?;
                within(beat.plan.0 < 1 << 24, "plan")?;
                if let Some(run) = beat.run {
                    let in_order = run.first.0 <= run.starts_at.0
                        && run.end.is_none_or(|end| end >= run.first);
                    within(in_order && run.starts_at.0 < FrameIndex::LIMIT, "run")?;
                }
                beat.tracks.iter().flatten().try_for_each(|track| {
                    within(track.title.len() <= MAX_TEXT_BYTES, "title")?;
                    within(track.artist.len() <= MAX_TEXT_BYTES, "artist")?;
                    within(track.first.0 < FrameIndex::LIMIT, "track")
                })
            }
        }
    }
}
