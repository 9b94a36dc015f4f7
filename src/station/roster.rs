//! Who is here, and who takes over?
//!
//! Every node says hello now and then, an heir confirms each heartbeat. From that everybody knows the others, and a leader
//! orders its heirs: those that hold the next seconds first, then those that hold everything, then by priority and age
//! (PROTOCOL, "HEIRS"). A wrong order costs duplicates, never safety.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::wire::control::{Heartbeat, Hello};
use crate::wire::election::{Confirm, MAX_HEIRS, Report, Standing};
use crate::wire::{NodeId, PlanDigest, Term, TrackId};

/// Nodes that are known at most; more are served, but not named.
pub const MAX_NODES: usize = 1_024;
/// All hellos of a station together, in one second.
const HELLOS_PER_SECOND: usize = 20;
/// A node says hello at least this seldom.
const HELLO_EVERY: Duration = Duration::from_secs(1);
/// A node is gone when this many of its hellos are missing.
const MISSED_HELLOS: u32 = 3;
/// An heir that has not confirmed for this long is none: ten heartbeats.
const HEIR_SILENT: Duration = Duration::from_secs(1);
/// For how long it is none then: others can be trusted more.
const HEIR_PAUSE: Duration = Duration::from_secs(5);
/// How often heirs are ordered anew, if none has gone.
const REPUBLISH: Duration = Duration::from_secs(1);

/// What is known of another node.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is reached.
    pub addr: SocketAddr,
    /// What it is called.
    pub name: String,
    /// Whether it could take over.
    pub standing: Standing,
    /// How it fares.
    pub report: Report,
    /// The last track of the play list up to which it holds all that is still to be played.
    pub held_to: Option<TrackId>,
    /// When it was heard last.
    pub heard_at: Instant,
    /// It led and fell silent, and has not been heard since.
    pub fell_silent: bool,
    /// The newest heartbeat that it confirmed, and its plan then.
    pub confirmed: Option<Confirmation>,
    /// Since when it has been an heir without a break.
    heir_since: Option<Instant>,
    /// It did not confirm as an heir: it is none before this.
    no_heir_until: Option<Instant>,
}

/// An heir's word on a leader.
#[derive(Clone, Copy, Debug)]
pub struct Confirmation {
    /// Whom.
    pub term: Term,
    /// Which heartbeat.
    pub number: u64,
    /// With which plan.
    pub plan: PlanDigest,
    /// When that was heard.
    pub at: Instant,
    /// It has seen the offer that names it.
    pub accepts: bool,
}

/// The nodes of a station, without this one.
#[derive(Debug, Default)]
pub struct Roster {
    peers: BTreeMap<NodeId, Peer>,
    heirs: Vec<NodeId>,
    ordered_at: Option<Instant>,
}

impl Roster {
    /// A node said hello. `true` if it was not known.
    pub fn handle_hello(&mut self, hello: &Hello, from: SocketAddr, now: Instant) -> bool {
        let Some((peer, new)) = self.peer(hello.node, from, now) else {
            return false;
        };
        if peer.name != hello.name {
            peer.name.clone_from(&hello.name);
        }
        (peer.standing, peer.report) = (hello.standing, hello.report);
        peer.held_to = hello.held_to;
        new
    }

    /// A leader's heartbeat: it is a node of the station, too.
    pub fn handle_leader(&mut self, beat: &Heartbeat, from: SocketAddr, now: Instant) {
        if let Some((peer, _)) = self.peer(beat.term.leader, from, now) {
            if peer.name != beat.name {
                peer.name.clone_from(&beat.name);
            }
            peer.standing.http_port = beat.succession.http_port;
            peer.held_to = beat.succession.held_to;
        }
    }

    /// A leader fell silent: it is no heir of the next one until it is heard again. It is not gone yet: what it encodes may come.
    pub fn fall_silent(&mut self, leader: u32) {
        let peers = self.peers.iter_mut();
        peers
            .filter(|(id, _)| id.short() == leader)
            .for_each(|(_, peer)| peer.fell_silent = true);
    }

    /// Another leader begins: it orders its heirs at once.
    pub fn begin_term(&mut self) {
        self.heirs.clear();
        self.ordered_at = None;
        for peer in self.peers.values_mut() {
            (peer.heir_since, peer.no_heir_until) = (None, None);
        }
    }

    /// An heir confirmed.
    pub fn handle_confirm(&mut self, confirm: &Confirm, from: SocketAddr, now: Instant) {
        let Some((peer, _)) = self.peer(confirm.node, from, now) else {
            return;
        };
        peer.standing = confirm.standing;
        let newer = peer
            .confirmed
            .is_none_or(|known| (known.term, known.number) <= (confirm.term, confirm.number));
        if newer {
            peer.confirmed = Some(Confirmation {
                term: confirm.term,
                number: confirm.number,
                plan: confirm.plan,
                at: now,
                accepts: confirm.accepts.is_some(),
            });
        }
    }

    fn peer(&mut self, id: NodeId, addr: SocketAddr, now: Instant) -> Option<(&mut Peer, bool)> {
        let new = !self.peers.contains_key(&id);
        if new && self.peers.len() >= MAX_NODES {
            self.forget(now);
            if self.peers.len() >= MAX_NODES {
                return None;
            }
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            addr,
            name: String::new(),
            standing: Standing::default(),
            report: Report::default(),
            held_to: None,
            heard_at: now,
            confirmed: None,
            heir_since: None,
            no_heir_until: None,
            fell_silent: false,
        });
        (peer.addr, peer.heard_at, peer.fell_silent) = (addr, now, false);
        Some((peer, new))
    }

    /// The others, by id.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// One of the others.
    pub fn get(&self, id: NodeId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// How many others there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody else is known.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// How long from one hello to the next: all nodes together say at most 20 a second.
    pub fn hello_every(&self) -> Duration {
        let nodes = u32::try_from(self.peers.len() + 1).unwrap_or(u32::MAX);
        HELLO_EVERY.max(HELLO_EVERY * nodes / HELLOS_PER_SECOND as u32)
    }

    /// Whether a node was heard lately enough to be alive.
    pub fn is_alive(&self, id: NodeId, now: Instant) -> bool {
        let patience = self.hello_every() * MISSED_HELLOS;
        self.peers
            .get(&id)
            .is_some_and(|peer| now.since(peer.heard_at) <= patience)
    }

    /// Forgets nodes that are gone.
    pub fn forget(&mut self, now: Instant) {
        let patience = self.hello_every() * MISSED_HELLOS;
        self.peers
            .retain(|_, peer| now.since(peer.heard_at) <= patience);
    }

    /// The heirs as they were ordered last.
    pub fn heirs(&self) -> &[NodeId] {
        &self.heirs
    }

    /// Another leader's order of heirs.
    pub fn set_heirs(&mut self, heirs: &[NodeId]) {
        self.heirs.clear();
        self.heirs.extend_from_slice(heirs);
    }

    /// Orders the heirs of the leader of `term`. Gone ones go at once; the rest at most once a second, unless there are few.
    pub fn order_heirs(&mut self, term: Term, now: Instant) {
        let silent = |peer: &Peer| {
            let confirmed = peer.confirmed.filter(|confirmed| confirmed.term == term);
            // One that was just named has not confirmed yet.
            let since = confirmed.map(|confirmed| confirmed.at).max(peer.heir_since);
            since.is_some_and(|since| now.since(since) > HEIR_SILENT)
        };
        for heir in std::mem::take(&mut self.heirs) {
            let alive = self.is_alive(heir, now);
            match self.peers.get_mut(&heir) {
                Some(peer) if silent(peer) => {
                    (peer.heir_since, peer.no_heir_until) = (None, Some(now + HEIR_PAUSE));
                }
                Some(_) if alive => self.heirs.push(heir),
                _ => {}
            }
        }
        let is_time = self.ordered_at.is_none_or(|at| now.since(at) >= REPUBLISH);
        if !is_time && self.heirs.len() > 1 {
            return;
        }
        let mut able: Vec<_> = (self.peers.iter())
            .filter(|(id, peer)| {
                let may = peer.no_heir_until.is_none_or(|until| now >= until);
                peer.standing.standby && may && !peer.fell_silent && self.is_alive(**id, now)
            })
            .map(|(id, peer)| {
                let Standing {
                    eligible,
                    complete,
                    priority,
                    age_s,
                    ..
                } = peer.standing;
                ((Reverse((eligible, complete, priority, age_s)), *id), *id)
            })
            .collect();
        able.sort_unstable();
        let heirs: Vec<NodeId> = able.into_iter().map(|(_, id)| id).take(MAX_HEIRS).collect();
        if is_time || heirs.len() != self.heirs.len() {
            for (id, peer) in &mut self.peers {
                let is_heir = heirs.contains(id);
                peer.heir_since = is_heir.then(|| peer.heir_since.unwrap_or(now));
            }
            self.heirs = heirs;
            self.ordered_at = Some(now);
        }
    }

    /// How many nodes have confirmed `term` since `since`.
    pub fn supporters(&self, term: Term, since: Instant) -> usize {
        let confirmed = |peer: &&Peer| {
            peer.confirmed
                .is_some_and(|confirmed| confirmed.term == term && confirmed.at >= since)
        };
        self.peers.values().filter(confirmed).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Term = Term {
        counter: 3,
        leader: NodeId(1),
    };

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(1_000_000 + ms * 1_000)
    }

    fn addr() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 5))
    }

    fn hello(node: u64, standing: Standing) -> Hello {
        Hello {
            node: NodeId(node),
            name: node.to_string(),
            founding: false,
            station: None,
            standing,
            report: Report::default(),
            held_to: None,
        }
    }

    fn standing(eligible: bool, complete: bool, priority: i16, age_s: u32) -> Standing {
        Standing {
            standby: true,
            eligible,
            complete,
            priority,
            age_s,
            http_port: 0,
        }
    }

    #[test]
    fn heirs_are_those_that_can_best_first() {
        let mut roster = Roster::default();
        for (node, standing) in [
            (10, standing(false, true, 9, 9)),
            (11, standing(true, false, 0, 5)),
            (12, standing(true, true, 0, 5)),
            (13, standing(true, true, 1, 1)),
            (14, standing(true, true, 0, 6)),
            (
                15,
                Standing {
                    standby: false,
                    ..standing(true, true, 9, 9)
                },
            ),
        ] {
            assert!(roster.handle_hello(&hello(node, standing), addr(), at_ms(0)));
        }
        roster.order_heirs(TERM, at_ms(0));
        assert_eq!(roster.heirs(), [13, 14, 12, 11, 10].map(NodeId));
        for node in 100..120 {
            roster.handle_hello(&hello(node, standing(true, true, 0, 0)), addr(), at_ms(1));
        }
        roster.order_heirs(TERM, at_ms(999));
        assert_eq!(roster.heirs().len(), 5, "once a second is enough");
        roster.order_heirs(TERM, at_ms(1_000));
        assert_eq!(roster.heirs().len(), MAX_HEIRS);
    }

    #[test]
    fn an_heir_that_does_not_confirm_is_removed() {
        let mut roster = Roster::default();
        let confirm = |node, number| Confirm {
            station: crate::wire::StationId(1),
            node: NodeId(node),
            term: TERM,
            number,
            plan: PlanDigest(1),
            standing: standing(true, true, 0, 0),
            accepts: None,
        };
        for node in [10, 11] {
            roster.handle_hello(&hello(node, standing(true, true, 0, 0)), addr(), at_ms(0));
        }
        roster.order_heirs(TERM, at_ms(0));
        for ms in (0..=1_400).step_by(100) {
            roster.handle_confirm(&confirm(10, ms), addr(), at_ms(ms));
            roster.handle_hello(&hello(11, standing(true, true, 0, 0)), addr(), at_ms(ms));
            roster.order_heirs(TERM, at_ms(ms));
            assert_eq!(
                roster.heirs().len(),
                if ms <= 1_000 { 2 } else { 1 },
                "{ms}"
            );
        }
        roster.handle_confirm(&confirm(10, 2_001), addr(), at_ms(2_001));
        roster.order_heirs(TERM, at_ms(2_001));
        assert_eq!(roster.heirs(), [NodeId(10)], "it stays out for a while");
        assert_eq!(roster.supporters(TERM, at_ms(2_001)), 1);
    }

    #[test]
    fn a_million_nodes_take_the_place_of_a_thousand() {
        let mut roster = Roster::default();
        for node in 0..2_000 {
            roster.handle_hello(&hello(node, Standing::default()), addr(), at_ms(0));
        }
        assert_eq!(roster.len(), MAX_NODES);
        assert_eq!(roster.hello_every(), Duration::from_millis(51_250));
        let later = at_ms(200_000);
        assert!(roster.handle_hello(&hello(9_999, Standing::default()), addr(), later));
        assert_eq!(roster.len(), 1, "those that are gone make room");
    }
}
