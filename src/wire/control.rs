//! What do nodes say to each other on the control port?
//!
//! A version byte, then one postcard enum, at most [`MAX_BYTES`] (DESIGN 4). A version or a variant that we do not know is
//! counted, never guessed at: a newer node on the same network must not disturb an older one.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::election::{Ask, Confirm, MAX_HEIRS, MAX_QUORUM, Reply, Stale, Standing, Succession};
use super::ids::{FRAME_MICROS, FrameIndex, NodeId, PlanDigest, Slot, StationId, Term, TrackId};
use super::probe::{Probe, Time};
use super::repair::{MAX_REPAIR_BYTES, Nack, Repair};
use super::report::NodeReport;

/// The first byte of every control datagram.
pub const VERSION: u8 = 1;
/// The largest control datagram: fits in every MTU unfragmented. (A repair may be [`MAX_REPAIR_BYTES`] long.)
pub const MAX_BYTES: usize = 1_200;
/// The longest node name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest title or artist, in bytes.
pub const MAX_TEXT_BYTES: usize = 128;
/// Buffers that a station can have, in milliseconds (DESIGN 5).
pub const BUFFER_MS: RangeInclusive<u32> = 40..=5_000;

/// Everything that a control datagram can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "I lead this station": multicast every 100 ms, and unicast in answer to a hello.
    Heartbeat(Box<Heartbeat>),
    /// "Who is on air?", and "I am here".
    Hello(Hello),
    /// "I hear you", from an heir to its leader.
    Confirm(Confirm),
    /// A candidate asks for votes.
    Ask(Ask),
    /// A voter answers.
    Reply(Reply),
    /// "Your term is over".
    Stale(Stale),
    /// "I have missed these frames".
    Nack(Nack),
    /// "Here is one".
    Repair(Repair),
    /// "This is how I fare", to the leader.
    Report(Box<NodeReport>),
    /// "What time is it?", to the leader.
    Probe(Probe),
    /// "It is".
    Time(Time),
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
    /// For those that may take over.
    pub succession: Succession,
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
    /// Its source is gone, and what was copied of it has been played.
    SourceLost,
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

/// Says that a node is there, and asks who is on air: a leader answers a node that follows no station with a heartbeat by unicast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who asks.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// It will found a station if nobody answers: of founders that hear each other, the one with the lowest id goes first. With a
    /// station: its leader asks for a hello to all, and to itself alone.
    pub founding: bool,
    /// The station that it follows.
    pub station: Option<StationId>,
    /// Whether it could take over.
    pub standing: Standing,
    /// The last track of the play list up to which it holds all that is still to be played; none if not even the first. Nodes
    /// copy in play order, so one name says it of a list of any length, also to those whose list has been pruned or has grown.
    pub held_to: Option<TrackId>,
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
    const VARIANTS: u32 = 11;
    /// The one that may be longer than the others.
    const REPAIR: u32 = 7;

    /// Reads a datagram of the control port.
    ///
    /// # Errors
    /// Says why it is not a message of ours; never panics.
    pub fn parse(datagram: &[u8]) -> Result<Message, ControlError> {
        let (&version, body) = datagram.split_first().ok_or(ControlError::Empty)?;
        if version != VERSION {
            return Err(ControlError::Version(version));
        }
        if datagram.len() > MAX_REPAIR_BYTES {
            return Err(ControlError::TooLong(datagram.len()));
        }
        let malformed = |_| ControlError::Malformed(datagram.len());
        let (variant, _) = postcard::take_from_bytes::<u32>(body).map_err(malformed)?;
        if variant >= Message::VARIANTS {
            return Err(ControlError::Unknown(variant));
        }
        if datagram.len() > MAX_BYTES && variant != Message::REPAIR {
            return Err(ControlError::TooLong(datagram.len()));
        }
        let (message, rest) = postcard::take_from_bytes::<Message>(body).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(ControlError::Malformed(datagram.len()));
        }
        // Whoever goes on with what it has heard must have something to spare.
        message.check(FrameIndex::LIMIT / 2)?;
        Ok(message)
    }

    /// The datagram.
    pub fn to_bytes(&self) -> Vec<u8> {
        debug_assert_eq!(self.check(FrameIndex::LIMIT), Ok(()));
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Whether everything is in its range: frames and slots below `limit`.
    fn check(&self, limit: u64) -> Result<(), ControlError> {
        let within = |ok: bool, what| {
            if ok {
                Ok(())
            } else {
                Err(ControlError::Range(what))
            }
        };
        match self {
            Message::Hello(hello) => within(hello.name.len() <= MAX_NAME_BYTES, "name"),
            Message::Report(told) => told.report.check().map_err(ControlError::Range),
            Message::Confirm(confirm) => within(confirm.plan.0 < 1 << 24, "plan"),
            Message::Ask(ask) => {
                within(ask.plan.0 < 1 << 24, "plan")?;
                within(usize::from(ask.rank) <= MAX_HEIRS, "rank")?;
                within((1..=MAX_QUORUM).contains(&ask.quorum), "quorum")
            }
            Message::Reply(reply) => within(reply.plan.0 < 1 << 24, "plan"),
            Message::Stale(_) | Message::Repair(_) | Message::Probe(_) => Ok(()),
            Message::Time(time) => within(time.received_us < limit * FRAME_MICROS, "clock"),
            Message::Nack(nack) => within(nack.first.0 < limit, "first"),
            Message::Heartbeat(beat) => {
                within(beat.name.len() <= MAX_NAME_BYTES, "name")?;
                within(beat.next.0 < limit, "next")?;
                within(beat.sent_at_us < limit * FRAME_MICROS, "clock")?;
                within(BUFFER_MS.contains(&beat.buffer_ms), "buffer")?;
                within(beat.plan.0 < 1 << 24, "plan")?;
                let succession = &beat.succession;
                within(succession.heirs.len() <= MAX_HEIRS, "heirs")?;
                within((1..=MAX_QUORUM).contains(&succession.quorum), "quorum")?;
                let offered = succession.offer.map_or(0, |offer| offer.first.0);
                let lease_us = succession.offer.and_then(|offer| offer.lease_until_us);
                within(lease_us.is_none_or(|lease_us| lease_us < 1 << 60), "lease")?;
                within(succession.first.0.max(offered) < limit, "first")?;
                if let Some(run) = beat.run {
                    let ends = run.first.0..=limit;
                    let in_order = run.first.0 <= run.starts_at.0
                        && run.end.is_none_or(|end| ends.contains(&end.0));
                    within(in_order && run.starts_at.0 < limit, "run")?;
                }
                beat.tracks.iter().flatten().try_for_each(|track| {
                    within(track.title.len() <= MAX_TEXT_BYTES, "title")?;
                    within(track.artist.len() <= MAX_TEXT_BYTES, "artist")?;
                    let frames = track.frames.unwrap_or_default();
                    let in_time = track.first.0 < limit && frames <= limit;
                    within(in_time, "track")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const LARGEST: u64 = FrameIndex::LIMIT / 2 - 1;
    use crate::wire::election::Offer;
    use proptest::prelude::*;

    fn heartbeat() -> Heartbeat {
        Heartbeat {
            station: StationId(9),
            term: Term {
                counter: 1,
                leader: NodeId(7),
            },
            number: 3,
            sent_at_us: 400_000,
            young: true,
            state: State::Playing,
            next: FrameIndex(20),
            buffer_ms: 500,
            plan: PlanDigest(0x00ab_cdef),
            run: Some(RunInfo {
                first: FrameIndex(0),
                starts_at: Slot(0),
                end: None,
            }),
            tracks: [Some(track("title")), None],
            name: "kitchen".into(),
            succession: Succession::default(),
        }
    }

    fn track(title: &str) -> TrackInfo {
        TrackInfo {
            first: FrameIndex(0),
            frames: Some(100),
            title: title.into(),
            artist: String::new(),
        }
    }

    /// The bytes of a message that breaks the rules: `to_bytes` would not build it.
    fn unchecked(message: &Message) -> Vec<u8> {
        postcard::to_extend(message, vec![VERSION]).unwrap()
    }

    fn beat_with(change: impl FnOnce(&mut Heartbeat)) -> Vec<u8> {
        let mut beat = heartbeat();
        change(&mut beat);
        unchecked(&Message::Heartbeat(Box::new(beat)))
    }

    #[test]
    fn the_largest_heartbeat_fits_in_a_datagram() {
        let largest = TrackInfo {
            first: FrameIndex(LARGEST),
            frames: Some(LARGEST),
            title: "t".repeat(MAX_TEXT_BYTES),
            artist: "a".repeat(MAX_TEXT_BYTES),
        };
        let run = RunInfo {
            first: FrameIndex(LARGEST),
            starts_at: Slot(LARGEST),
            end: Some(FrameIndex(LARGEST)),
        };
        let term = Term {
            counter: u32::MAX,
            leader: NodeId(u64::MAX),
        };
        let message = Message::Heartbeat(Box::new(Heartbeat {
            station: StationId(u32::MAX),
            term,
            number: u64::MAX,
            sent_at_us: LARGEST * FRAME_MICROS,
            young: true,
            state: State::Over(EndReason::Left),
            next: FrameIndex(LARGEST),
            buffer_ms: 5_000,
            plan: PlanDigest(0x00ff_ffff),
            run: Some(run),
            tracks: [Some(largest.clone()), Some(largest)],
            name: "n".repeat(MAX_NAME_BYTES),
            succession: Succession {
                first: FrameIndex(LARGEST),
                version: u64::MAX,
                heirs: vec![NodeId(u64::MAX); MAX_HEIRS],
                offer: Some(Offer {
                    successor: NodeId(u64::MAX),
                    first: FrameIndex(LARGEST),
                    lease_until_us: Some((1 << 60) - 1),
                }),
                quorum: MAX_QUORUM,
                supporters: u16::MAX,
                over: Some(term),
                http_port: u16::MAX,
                held_to: Some(TrackId([0xff; 16])),
            },
        }));
        let bytes = message.to_bytes();
        assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
        assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn every_way_to_be_wrong_has_its_own_reason() {
        let good = unchecked(&Message::Heartbeat(Box::new(heartbeat())));
        assert!(Message::parse(&good).is_ok());
        let hello = Message::Hello(Hello {
            node: NodeId(1),
            name: "n".repeat(MAX_NAME_BYTES + 1),
            founding: false,
            station: None,
            standing: Standing::default(),
            held_to: None,
        });
        let run = |first, starts_at, end: Option<u64>| {
            beat_with(|beat| {
                let run = RunInfo {
                    first: FrameIndex(first),
                    starts_at: Slot(starts_at),
                    end: end.map(FrameIndex),
                };
                beat.run = Some(run);
            })
        };
        let long_text = "t".repeat(MAX_TEXT_BYTES + 1);
        let table = [
            ("empty", vec![], ControlError::Empty),
            ("version 2", vec![2, 0], ControlError::Version(2)),
            (
                "too long",
                [good.clone(), vec![0; MAX_BYTES]].concat(),
                ControlError::TooLong(good.len() + MAX_BYTES),
            ),
            ("variant 99", vec![VERSION, 99], ControlError::Unknown(99)),
            (
                "variant of two bytes",
                vec![VERSION, 0xac, 0x02],
                ControlError::Unknown(300),
            ),
            ("no variant", vec![VERSION], ControlError::Malformed(1)),
            (
                "cut short",
                good[..good.len() - 1].to_vec(),
                ControlError::Malformed(good.len() - 1),
            ),
            (
                "a byte too many",
                [&good[..], &[0]].concat(),
                ControlError::Malformed(good.len() + 1),
            ),
            (
                "name of a hello",
                unchecked(&hello),
                ControlError::Range("name"),
            ),
            (
                "name",
                beat_with(|beat| beat.name = "n".repeat(MAX_NAME_BYTES + 1)),
                ControlError::Range("name"),
            ),
            (
                "next",
                beat_with(|beat| beat.next.0 = FrameIndex::LIMIT),
                ControlError::Range("next"),
            ),
            (
                "clock",
                beat_with(|beat| beat.sent_at_us = 1 << 60),
                ControlError::Range("clock"),
            ),
            (
                "too short a buffer",
                beat_with(|beat| beat.buffer_ms = 39),
                ControlError::Range("buffer"),
            ),
            (
                "too long a buffer",
                beat_with(|beat| beat.buffer_ms = 5_001),
                ControlError::Range("buffer"),
            ),
            (
                "plan",
                beat_with(|beat| beat.plan.0 = 1 << 24),
                ControlError::Range("plan"),
            ),
            (
                "run before its index",
                run(5, 4, None),
                ControlError::Range("run"),
            ),
            (
                "run that ends before it starts",
                run(5, 5, Some(4)),
                ControlError::Range("run"),
            ),
            (
                "run that ends beyond time",
                run(5, 5, Some(FrameIndex::LIMIT + 1)),
                ControlError::Range("run"),
            ),
            (
                "run beyond time",
                run(5, FrameIndex::LIMIT, None),
                ControlError::Range("run"),
            ),
            (
                "title",
                beat_with(|beat| beat.tracks[0] = Some(track(&long_text))),
                ControlError::Range("title"),
            ),
            (
                "artist",
                beat_with(|beat| {
                    beat.tracks[1] = Some(TrackInfo {
                        artist: long_text.clone(),
                        ..track("")
                    })
                }),
                ControlError::Range("artist"),
            ),
            (
                "track",
                beat_with(|beat| {
                    beat.tracks[1] = Some(TrackInfo {
                        first: FrameIndex(FrameIndex::LIMIT),
                        ..track("")
                    });
                }),
                ControlError::Range("track"),
            ),
            (
                "track longer than time",
                beat_with(|beat| {
                    beat.tracks[0] = Some(TrackInfo {
                        frames: Some(FrameIndex::LIMIT + 1),
                        ..track("")
                    });
                }),
                ControlError::Range("track"),
            ),
        ];
        for (name, bytes, error) in table {
            assert_eq!(Message::parse(&bytes), Err(error), "{name}");
        }
    }

    prop_compose! {
        fn any_track()(
            first in 0..LARGEST, frames in prop::option::of(0..=LARGEST), title in "\\PC{0,32}", artist in "\\PC{0,32}",
        ) -> TrackInfo {
            TrackInfo { first: FrameIndex(first), frames, title, artist }
        }
    }

    prop_compose! {
        fn any_run()(first in 0u64..1 << 38, idle in 0u64..1 << 38, frames: Option<u32>) -> RunInfo {
            let end = frames.map(|frames| FrameIndex(first + u64::from(frames)));
            RunInfo { first: FrameIndex(first), starts_at: Slot(first + idle), end }
        }
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop::sample::select(vec![
            State::Playing,
            State::Idle,
            State::Over(EndReason::Ended),
            State::Over(EndReason::Stopped),
            State::Over(EndReason::Left),
        ])
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let hello =
            (any::<u64>(), "\\PC{0,16}", any::<bool>()).prop_map(|(node, name, founding)| {
                Message::Hello(Hello {
                    node: NodeId(node),
                    name,
                    founding,
                    station: founding.then_some(StationId(node as u32)),
                    standing: Standing {
                        age_s: node as u32,
                        standby: founding,
                        ..Standing::default()
                    },
                    held_to: founding.then_some(TrackId([node as u8; 16])),
                })
            });
        let numbers = (
            any::<(u32, u32, u64, u64, bool)>(),
            0u64..LARGEST * FRAME_MICROS,
            0..LARGEST,
            0u32..1 << 24,
        );
        let rest = (
            any_state(),
            BUFFER_MS,
            prop::option::of(any_run()),
            [prop::option::of(any_track()), prop::option::of(any_track())],
            "\\PC{0,16}",
        );
        let beat = (numbers, rest).prop_map(|(numbers, (state, buffer_ms, run, tracks, name))| {
            let ((station, counter, leader, number, young), sent_at_us, next, plan) = numbers;
            Message::Heartbeat(Box::new(Heartbeat {
                station: StationId(station),
                term: Term {
                    counter,
                    leader: NodeId(leader),
                },
                number,
                sent_at_us,
                young,
                state,
                next: FrameIndex(next),
                buffer_ms,
                plan: PlanDigest(plan),
                run,
                tracks,
                name,
                succession: Succession::default(),
            }))
        });
        prop_oneof![1 => hello, 4 => beat]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message in any_message()) {
            prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }

        #[test]
        fn a_damaged_message_never_panics(message in any_message(), at: prop::sample::Index, value: u8) {
            let mut bytes = message.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300), ours: bool) {
            if let (Some(version), true) = (bytes.first_mut(), ours) {
                *version = VERSION;
            }
            let _ = Message::parse(&bytes);
        }
    }
}
