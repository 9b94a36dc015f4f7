//! What can be asked of a node by HTTP, and what does it answer? The words between the server's thread and the node's.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::wire::{PlanDigest, TrackId};

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `GET /status`: the station, as JSON.
    Status,
    /// `GET /programme`: what plays and what comes, as JSON.
    Programme,
    /// `GET /plan/{digest}`: the plan of this name, as nodes exchange it.
    Plan(PlanDigest),
    /// `GET /tracks/{id}?from=N`: blocks of frames.
    Frames {
        /// Which track.
        track: TrackId,
        /// From which frame on.
        from: u64,
    },
    /// `GET /tracks/{id}.opus`: the track as an Ogg Opus file.
    File(TrackId),
    /// `POST /programme`: plays these after what plays now.
    Append(Vec<u8>),
    /// `POST /stop`: ends the programme for everybody.
    Stop,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Question {
    /// What is wanted.
    pub what: What,
    /// By whom.
    pub from: SocketAddr,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Question {
    /// Answers it. (If the client has gone, nobody hears it.)
    pub fn answer(self, answer: Answer) {
        drop(self.answer.send(answer));
    }
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here it is.
    Content {
        /// Its media type.
        kind: &'static str,
        /// It.
        bytes: Vec<u8>,
    },
    /// The frames of a file are all there; they are asked for piece by piece.
    File {
        /// Its title.
        title: String,
        /// Who plays; may be empty.
        artist: String,
        /// How many frames it has.
        frames: u64,
    },
    /// Some frames.
    Frames {
        /// Blocks.
        bytes: Vec<u8>,
        /// The frame after the last one in them.
        next: u64,
        /// No more will come.
        complete: bool,
    },
    /// It cannot be done: the HTTP status, and why, with the remedy.
    Refused(u16, String),
}
