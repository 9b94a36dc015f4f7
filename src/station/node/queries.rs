//! What can be read from a node?

use std::time::Duration;

use super::roles::{Phase, Role};
use super::{Config, Node, Playing};
use crate::station::programme::Programme;
use crate::station::roster::Roster;
use crate::wire::control::State;
use crate::wire::ids::FRAME_MICROS;
use crate::wire::report::Report;
use crate::wire::{FrameIndex, Term};

impl Node {
    /// What this node was told when it started, with what the station has taught it since.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The others.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// How this node fares, as its owner said last.
    pub fn report(&self) -> Report {
        self.reporting.report.unwrap_or_default()
    }

    /// The term that is followed, or in which this node leads.
    pub fn followed_term(&self) -> Option<Term> {
        match &self.role {
            Role::Following(following) => Some(following.term),
            role => role.lead().map(|lead| lead.term),
        }
    }

    /// Whether this node is about to found a station.
    pub fn is_founding(&self) -> bool {
        matches!(self.role, Role::Founding { .. })
    }

    /// How many have to agree in the station that this node follows or leads; none if it knows of none, or has not heard its leader
    /// say so.
    pub fn station_quorum(&self) -> Option<u16> {
        match &self.role {
            Role::Following(following) => following.addr.map(|_| following.quorum),
            role => role.lead().map(|_| self.config.quorum),
        }
    }

    /// The buffer of that station; none as above.
    pub fn station_buffer(&self) -> Option<Duration> {
        match &self.role {
            Role::Following(following) => following.addr.map(|_| following.buffer),
            role => role.lead().map(|_| self.config.buffer),
        }
    }

    /// What the leader is called.
    pub fn leader_name(&self) -> &str {
        let leader = self.followed_term().map(|term| term.leader);
        match leader.and_then(|leader| self.roster.get(leader)) {
            Some(peer) => &peer.name,
            None if self.term().is_some() => &self.config.name,
            None => "",
        }
    }

    /// The frame that goes on air next.
    pub fn play_position(&self) -> FrameIndex {
        match &self.role {
            Role::Following(_) => self.first_to_lead(),
            _ => self.next(),
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
            Role::Founding { .. } | Role::Waiting { .. } | Role::Following(_) | Role::Gone => None,
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

    /// The track that the frame last on air belongs to.
    pub fn playing(&self) -> Option<Playing> {
        let next = match &self.role {
            Role::Following(_) => self.first_to_lead(),
            role => role.next().filter(|_| self.frames_sent > 0)?,
        };
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
}
