//! What does a sender's node do, and when?
//!
//! It listens whether the group is free (*founding*), then paces the programme on the group (*leading*), and when that has
//! ended stays until the last frame had time to play (*over*). Run loop: give it inputs with `handle_*`, call
//! [`Node::handle_timeout`] at [`Node::poll_timeout`] or at any other time (early or repeated calls do nothing), then take
//! every [`Node::poll_output`]. Drain all sockets into it before `handle_timeout`: a node that stood still must hear what
//! happened meanwhile before it speaks.
//!
//! * this file: what goes in and what comes out
//! * `roles`: founding, leading, over, and how they follow each other
//! * `on_air`: what a leader does at each wake: plan, send, starve, beat

mod on_air;
mod roles;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::programme::Programme;
use super::source::Source;
use crate::time::Instant;
use crate::wire::control::{EndReason, Hello, MAX_NAME_BYTES, MAX_TEXT_BYTES, Message, State};
use crate::wire::ids::{FRAME_MICROS, Numbering};
use crate::wire::media::MediaPacket;
use crate::wire::{FrameIndex, NodeId, StationId, Term, TrackId, clip};
use roles::{Phase, Role};

/// How many frames must be ready before a run starts: the cover horizon H of PROTOCOL.
pub const CUSHION_FRAMES: u64 = 25;
/// How often a leader says that it is there.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// Answers to hellos in any one second: the bound on what others can make this node send.
pub const MAX_ANSWERS_PER_SECOND: usize = 20;
/// How many other stations on the group are named in warnings.
const MAX_WARNED_OF: usize = 16;

/// What a node has to know when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process; drawn at random.
    pub node: NodeId,
    /// What it is called; cut to [`MAX_NAME_BYTES`].
    pub name: String,
    /// The station that it founds; drawn at random.
    pub station: StationId,
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
    /// The source is slower than real time: nothing is sent until enough is ready.
    Idle,
    /// The station has left the air.
    OffAir {
        /// Why.
        reason: EndReason,
    },
    /// Something to tell, though playing goes on.
    Warning(String),
    /// Another station is on air; this one is not, or not any more.
    Busy {
        /// Its leader's name; empty if only its packets were heard.
        name: String,
        /// What it plays; may be empty.
        title: String,
        /// Who plays there; may be empty.
        artist: String,
        /// Which station.
        station: StationId,
        /// From where it was heard.
        addr: Option<SocketAddr>,
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

/// A sender's node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    numbering: Numbering,
    role: Role,
    source: Source,
    programme: Programme,
    outputs: VecDeque<Output>,
    /// The latest time that was heard of: time that goes back is ignored.
    latest: Instant,
    /// The source has changed since the last wake.
    fed: bool,
    /// The first frame of the track that was last told of.
    told_track: Option<FrameIndex>,
    /// The track of which a missing frame was told.
    told_missing: Option<TrackId>,
    warned_of: Vec<StationId>,
    /// When the last hellos were answered.
    answered_at: VecDeque<Instant>,
    frames_sent: u64,
    octets_sent: u64,
    skipped: u64,
}

impl Node {
    /// A node that starts to found its station: it asks at once whether another one is on air.
    pub fn new(config: Config, now: Instant) -> Node {
        let config = Config {
            name: clip(&config.name, MAX_NAME_BYTES).to_owned(),
            ..config
        };
        let mut node = Node {
            numbering: Numbering::of(config.station),
            role: Role::founding(now),
            source: Source::new(config.looped),
            programme: Programme::new(config.first_frame),
            outputs: VecDeque::new(),
            latest: now,
            fed: false,
            told_track: None,
            told_missing: None,
            warned_of: Vec::new(),
            answered_at: VecDeque::new(),
            frames_sent: 0,
            octets_sent: 0,
            skipped: 0,
            config,
        };
        node.ask();
        node
    }

    /// A message came in on the control port or on this node's own socket.
    pub fn handle_control(&mut self, from: SocketAddr, message: &Message, now: Instant) {
        self.latest = self.latest.max(now);
        match message {
            Message::Hello(hello) if hello.node != self.config.node => {
                self.answer(from);
                self.hear_founder(hello);
            }
            Message::Heartbeat(beat) if beat.term.leader != self.config.node => {
                self.hear_leader(from, beat)
            }
            // Our own, looped back by the kernel.
            Message::Hello(_) | Message::Heartbeat(_) => {}
        }
    }

    /// A packet came in on the media port (our own come back by loopback; other programs' RTP is not for this node).
    pub fn handle_media(&mut self, packet: &MediaPacket<'_>, now: Instant) {
        self.latest = self.latest.max(now);
        if let Role::Founding { media_heard, .. } = &mut self.role {
            media_heard.get_or_insert(packet.station);
        }
    }

    /// A track was opened: it plays after those before it.
    pub fn add_track(&mut self, track: TrackId, title: &str, artist: &str) {
        self.source.add(
            track,
            clip(title, MAX_TEXT_BYTES).to_owned(),
            clip(artist, MAX_TEXT_BYTES).to_owned(),
        );
    }

    /// A track has `frames` frames by now.
    pub fn track_grew(&mut self, track: TrackId, frames: u64) {
        self.source.grew(track, frames);
        self.fed = true;
    }

    /// A track has `frames` frames, and no more will come.
    pub fn track_finished(&mut self, track: TrackId, frames: u64) {
        self.source.finish_track(track, frames);
        self.fed = true;
    }

    /// No more tracks will come.
    pub fn source_finished(&mut self) {
        self.source.finish();
        self.fed = true;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, frames: &dyn Frames) {
        self.latest = self.latest.max(now);
        self.fed = false;
        self.go_on_founding();
        self.lead(frames);
        self.wind_up();
    }

    /// The user wants to leave: the programme ends after the frame last sent.
    pub fn handle_leave(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
        match &mut self.role {
            Role::Founding { .. } => self.become_gone(),
            Role::Leading { .. } => self.become_over(EndReason::Left),
            Role::Over {
                until,
                beats_left,
                beat_at,
                ..
            } => {
                (*until, *beats_left, *beat_at) = (self.latest, 1, self.latest);
            }
            Role::Gone => {}
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Node::handle_timeout`] next; `None` when the node is done.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.role {
            Role::Founding { ask_at, until, .. } => Some(ask_at.unwrap_or(*until)),
            Role::Leading { lead, phase } => {
                let work = match phase {
                    Phase::Playing(pacer) => Some(pacer.poll_timeout()),
                    Phase::Idle { .. } => self.fed.then_some(self.latest),
                };
                let beat = lead.clock.local(lead.beat_due);
                Some(work.map_or(beat, |work| work.min(beat)))
            }
            Role::Over {
                beat_at,
                until,
                beats_left: 0,
                ..
            } => Some(*beat_at.min(until)),
            Role::Over { beat_at, .. } => Some(*beat_at),
            Role::Gone => None,
        }
    }

    /// What the station is doing; `None` before it is founded and after it is gone.
    pub fn state(&self) -> Option<State> {
        match &self.role {
            Role::Leading {
                phase: Phase::Playing(_),
                ..
            } => Some(State::Playing),
            Role::Leading {
                phase: Phase::Idle { .. },
                ..
            } => Some(State::Idle),
            Role::Over { reason, .. } => Some(State::Over(*reason)),
            Role::Founding { .. } | Role::Gone => None,
        }
    }

    /// The term in which this node leads.
    pub fn term(&self) -> Option<Term> {
        self.role.lead().map(|lead| lead.term)
    }

    /// The next frame to send.
    pub fn next(&self) -> FrameIndex {
        self.role.next().unwrap_or(self.config.first_frame)
    }

    /// The plan.
    pub fn programme(&self) -> &Programme {
        &self.programme
    }

    /// The track that the frame last sent belongs to.
    pub fn playing(&self) -> Option<Playing> {
        let next = self.role.next().filter(|_| self.frames_sent > 0)?;
        let entry = self.programme.track_at(next.minus(1))?;
        Some(Playing {
            title: entry.title.clone(),
            artist: entry.artist.clone(),
            position: Duration::from_micros((entry.from + next.since(entry.first)) * FRAME_MICROS),
            duration: entry.duration(),
        })
    }

    /// Frames sent since the founding.
    pub fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    /// Frames that were due and not sent: this machine stood still for longer than the buffer, or a frame was missing.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn ask(&mut self) {
        let hello = Hello {
            node: self.config.node,
            name: self.config.name.clone(),
            founding: true,
        };
        let bytes = Message::Hello(hello).to_bytes();
        self.outputs.push_back(Output::Control { to: None, bytes });
    }

    fn answer(&mut self, to: SocketAddr) {
        let second_ago = self.latest - Duration::from_secs(1);
        while self.answered_at.front().is_some_and(|&at| at <= second_ago) {
            self.answered_at.pop_front();
        }
        if self.role.lead().is_some() && self.answered_at.len() < MAX_ANSWERS_PER_SECOND {
            self.answered_at.push_back(self.latest);
            self.beat(Some(to));
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
