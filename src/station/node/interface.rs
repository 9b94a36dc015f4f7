//! What is a node told, what does it want done, and what has it to tell?

use std::net::SocketAddr;
use std::time::Duration;

use super::copying::Fetch;
use crate::wire::control::EndReason;
use crate::wire::{FrameIndex, NodeId, StationId, Term, TrackId};

/// What a node has to know when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process; drawn at random.
    pub node: NodeId,
    /// What it is called; cut to `MAX_NAME_BYTES` (64).
    pub name: String,
    /// The station that it founds, drawn at random; later the one that it follows.
    pub station: StationId,
    /// It has something to send: it founds a station if there is none.
    pub sends: bool,
    /// It takes over if it has to.
    pub standby: bool,
    /// Its place among heirs that are as good; higher goes first.
    pub priority: i16,
    /// How many nodes have to agree for somebody to lead; the founder's value rules the station.
    pub quorum: u16,
    /// The TCP port of this node's API; 0: it has none, and nothing can be copied from it.
    pub http_port: u16,
    /// For random waits.
    pub seed: u64,
    /// The station's buffer, 40 ms to 5 s: at least one frame, at most half of what the programme remembers.
    pub buffer: Duration,
    /// Play the list for ever.
    pub looped: bool,
    /// Where frame indices and the station clock begin: 0, unless a debug setting lets the station look old.
    pub first_frame: FrameIndex,
}

/// Where the encoded frames are.
pub trait Frames {
    /// Frame `k` of a track, if it is held.
    fn packet(&self, track: TrackId, k: u64) -> Option<&[u8]>;
    /// How many frames of a track are held without a hole, from frame `k` on.
    fn held_from(&self, track: TrackId, k: u64) -> u64;
    /// One past the last frame of a track that is held.
    fn end(&self, track: TrackId) -> u64;
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to the media port of the group.
    Media(Vec<u8>),
    /// Send this to the RTCP port of the group.
    Rtcp(Vec<u8>),
    /// Send this to the control port of the group, or to one node.
    Control {
        /// One node; `None` is the group.
        to: Option<SocketAddr>,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// A frame that the player misses, from this node's own copy: its packet.
    Repair(Vec<u8>),
    /// Copy this from another node.
    Fetch(Fetch),
    /// Submit this to the leader's node API.
    Submit {
        /// Where that is.
        to: SocketAddr,
        /// A `Submission` as it travels.
        bytes: Vec<u8>,
    },
    /// Tell the user.
    Event(Event),
}

/// What a user or a script may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The station is on air.
    OnAir {
        /// Which.
        station: StationId,
        /// Its first term.
        term: Term,
    },
    /// Who leads.
    Leader {
        /// In which term.
        term: Term,
        /// Why.
        reason: &'static str,
    },
    /// A track has begun.
    Track {
        /// Its title.
        title: String,
        /// Who plays; may be empty.
        artist: String,
        /// The index of its first frame.
        first_frame: FrameIndex,
    },
    /// Packets of another station are heard, and nothing of its leader on the control port: this node cannot take part.
    Busy {
        /// Which station.
        station: StationId,
    },
    /// The source is slower than real time: nothing is sent until enough is ready.
    Idle,
    /// The station has left the air.
    OffAir {
        /// Why.
        reason: EndReason,
    },
    /// Something to tell, though playing goes on.
    Warning(String),
    /// All of a track of this node's own is held by so many others: it plays on if this node dies.
    Safe {
        /// Which.
        track: TrackId,
        /// Its title.
        title: String,
        /// Who plays; may be empty.
        artist: String,
        /// How many.
        nodes: usize,
    },
    /// Another station is on air: this node's tracks are added to its programme.
    Joined {
        /// Its leader's name; empty if only its packets were heard.
        name: String,
        /// What it plays; may be empty.
        title: String,
        /// Who plays there; may be empty.
        artist: String,
        /// Which station.
        station: StationId,
        /// From where it was heard.
        addr: SocketAddr,
    },
    /// The leader is silent: this node sends in its place.
    Covering {
        /// The first frame that was missing.
        frame: FrameIndex,
    },
    /// It does not any more.
    CoverEnd {
        /// The last frame that it sent.
        frame: FrameIndex,
        /// How many it sent.
        sent: u64,
    },
    /// This node leads from here on.
    TookOver {
        /// In which term.
        term: Term,
        /// Its first frame.
        frame: FrameIndex,
        /// For how long the leader had been silent.
        silence: Duration,
    },
    /// Nobody answers: this node goes on alone.
    Solo {
        /// Its first frame.
        frame: FrameIndex,
    },
    /// This node led, and another one does now.
    SteppedDown {
        /// Why.
        reason: &'static str,
    },
    /// This node led, and has handed over.
    HandedOver {
        /// To whom.
        to: NodeId,
        /// The successor's first frame.
        frame: FrameIndex,
    },
    /// Nothing more will come out of this node.
    Done,
}

/// What is on air right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playing {
    /// The track's title.
    pub title: String,
    /// Who plays; may be empty.
    pub artist: String,
    /// How much of it has been sent.
    pub position: Duration,
    /// Its length, once that is known.
    pub duration: Option<Duration>,
}
