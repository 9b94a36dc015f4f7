//! What should a node hear, and what does it leave to others while it does not?
//!
//! Whether it is deaf is found out by its owner, who knows by which way each packet came (see `station::reception`). A deaf node
//! sees holes where there are none: it covers nothing, stands for no election, and says that it is no heir. It asks its leader by
//! unicast instead, and heartbeats to it alone keep its clock, its plan and its horizon fresh. If it is no standby it copies what it
//! plays next, and nothing more.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use super::copying::Copying;
use super::covering::Duty;
use super::roles::Role;
use crate::playout::player::PREROLL;
use crate::station::programme::Programme;
use crate::station::reception::Expected;
use crate::wire::control::{Hello, Message};
use crate::wire::election::MAX_HEIRS;
use crate::wire::{FRAME, FrameIndex};

/// How late a hello may be: a tenth of the time from one to the next.
const HELLO_LATE: u32 = 10;
/// So many others are called by a leader that misses their hellos: those that were heard last.
const MAX_CALLED: usize = 8;
/// How often a leader that calls is answered.
const ANSWER_EVERY: Duration = Duration::from_millis(100);
/// What a node that is no standby copies: as much as it plays in 30 s.
const COPIED_FRAMES: u64 = 1_500;

impl Node {
    /// What should be heard from others now.
    pub fn expected(&self) -> Expected {
        let nodes = self.roster.len();
        let station = Some(self.config.station);
        match &self.role {
            Role::Following(following) if !self.follows_itself() => Expected {
                station,
                media: !following.is_idle,
                beats: following.addr.is_some(),
                solo: matches!(following.duty, Duty::Solo(_)),
                nodes,
                ..Expected::default()
            },
            Role::Leading { .. } => {
                // As often as each of them says it: they may all do so at the same time.
                let every = self.roster.hello_every();
                Expected {
                    station,
                    hellos: (nodes > 0).then(|| every + every / HELLO_LATE),
                    nodes,
                    ..Expected::default()
                }
            }
            Role::Waiting { station: None, .. } => Expected {
                seeks: true,
                ..Expected::default()
            },
            _ => Expected::default(),
        }
    }

    /// Asks all who is on air, if this node waits for a station.
    pub fn seek_station(&mut self) {
        if matches!(self.role, Role::Waiting { station: None, .. }) {
            self.say_hello();
        }
    }

    /// Whether the leader that is followed can be copied from.
    pub fn may_fetch(&self) -> bool {
        matches!(&self.role, Role::Following(following) if following.http.is_some())
    }

    /// The station's frames do not reach this node, though the station lives; or they do again.
    pub fn set_deaf(&mut self, deaf: bool) {
        if std::mem::replace(&mut self.deaf, deaf) == deaf {
            return;
        }
        tracing::debug!(deaf, "reception");
        // Others are told at once.
        (self.assessed_at, self.fed) = (None, true);
        if deaf {
            self.stop_covering();
            if let Role::Following(following) = &mut self.role {
                following.claim.abandon();
            }
        }
    }

    /// Whether frames are to be copied though this node is no standby. What was copied is forgotten when they are not any more.
    pub fn set_fetching(&mut self, fetches: bool) {
        if std::mem::replace(&mut self.fetches, fetches) == fetches || self.config.standby {
            return;
        }
        (self.copying, self.fed) = (Copying::default(), true);
        if !fetches && let Role::Following(following) = &mut self.role {
            following.base = None;
            self.programme = Programme::new(FrameIndex(0));
        }
    }

    /// Asks the leader by unicast for a heartbeat; `widely`: the heirs, too, as one of them may lead by now. A leader asks those that
    /// could have taken over from it.
    pub fn ask_who_leads(&mut self, widely: bool) {
        if self.is_listening() {
            return;
        }
        let heirs = || {
            let heirs = self.roster.heirs().iter();
            let heirs = heirs.filter(|heir| **heir != self.config.node);
            heirs.filter_map(|heir| self.roster.get(*heir))
        };
        let to: BTreeSet<SocketAddr> = match &self.role {
            Role::Following(following) => {
                let heirs = heirs().filter(|_| widely).map(|peer| peer.addr);
                heirs.chain(following.addr).collect()
            }
            Role::Leading { .. } => {
                // Those that do not confirm any more are no heirs any more.
                let others = self.roster.peers().map(|(_, peer)| peer);
                let standbys = others.filter(|peer| peer.standing.standby);
                standbys.take(MAX_HEIRS).map(|peer| peer.addr).collect()
            }
            _ => return,
        };
        let question = Message::Hello(self.hello(false, None));
        to.into_iter()
            .for_each(|to| self.send_control(Some(to), &question));
    }

    /// A leader that misses the hellos of the others asks for some: a founder's hello, but of a station that is there. By unicast; who
    /// gets it says hello to all, and to the leader alone.
    pub fn call_others(&mut self) {
        if !matches!(self.role, Role::Leading { .. }) || self.is_listening() {
            return;
        }
        let call = Message::Hello(self.hello(true, Some(self.config.station)));
        let mut others: Vec<_> = self.roster.peers().map(|(_, peer)| peer).collect();
        others.sort_by_key(|peer| std::cmp::Reverse(peer.heard_at));
        let others: Vec<_> = (others.iter().take(MAX_CALLED))
            .map(|peer| peer.addr)
            .collect();
        others
            .into_iter()
            .for_each(|to| self.send_control(Some(to), &call));
    }

    /// Whether a hello is its leader's call; it is answered, then, but not more often than ten times a second.
    pub(super) fn answer_call(&mut self, from: SocketAddr, hello: &Hello) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let leader = (following.term.leader, following.addr);
        if !hello.founding || leader != (hello.node, Some(from)) {
            return false;
        }
        let answered = self
            .called_at
            .is_some_and(|at| self.latest < at + ANSWER_EVERY);
        if !answered {
            self.called_at = Some(self.latest);
            let answer = Message::Hello(self.hello(false, Some(self.config.station)));
            for to in [None, Some(from)] {
                self.send_control(to, &answer);
            }
        }
        true
    }

    /// The API has another port: others hear of it at once.
    pub fn set_http_port(&mut self, port: u16) {
        self.config.http_port = port;
        (self.assessed_at, self.fed) = (None, true);
        self.hello_at = self.latest;
    }

    /// The first frame to copy: the one that goes on air next, or the first one that a deaf node may still play.
    pub(super) fn copied_from(&self) -> FrameIndex {
        let next = self.play_position();
        let Role::Following(following) = &self.role else {
            return next;
        };
        if !self.deaf {
            return next;
        }
        let own = Duration::from_millis(u64::from(self.report().buffer_ms));
        let buffer = following
            .buffer
            .max(own)
            .as_millis()
            .div_ceil(FRAME.as_millis()) as u64;
        FrameIndex(next.0.saturating_sub(buffer + PREROLL))
    }

    /// One past the last frame to copy; none: all that is known.
    pub(super) fn copied_to(&self) -> Option<FrameIndex> {
        let is_all = self.config.standby || !matches!(self.role, Role::Following(_));
        (!is_all).then(|| self.play_position().plus(COPIED_FRAMES))
    }
}
