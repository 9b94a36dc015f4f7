//! Who is here, and who takes over?
//!
//! Every node says hello now and then, an heir confirms each heartbeat. From that everybody knows the others, and a leader
//! orders its heirs: those that hold the next seconds first, then those that hold everything, then by priority and age
//! (PROTOCOL, "HEIRS"). A wrong order costs duplicates, never safety.
//!
//! Anybody can say hello in the name of nodes that do not exist, and say that they could take over at once. So those that have
//! confirmed a heartbeat keep their seats among the heirs: of the others, some are tried at a time, and who does not confirm
//! waits longer each time. One address counts for so many nodes; all that are known are never more than [`MAX_NODES`], and
//! whoever was there first stays.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::time::Instant;
use crate::wire::control::{Heartbeat, Hello};
use crate::wire::election::{Confirm, MAX_HEIRS, Standing};
use crate::wire::report::Report;
use crate::wire::{NodeId, PlanDigest, Term, TrackId};

/// Nodes that are known at most; more are served, but not named.
pub const MAX_NODES: usize = 1_024;
/// Of these, at one address: a machine with more is a test of ours, or somebody who makes them up.
pub const MAX_NODES_PER_ADDRESS: usize = 64;
/// All hellos of a station together, in one second; and all of its reports.
const TURNS_PER_SECOND: u32 = 20;
/// A node says hello at least this seldom.
const HELLO_EVERY: Duration = Duration::from_secs(1);
/// A node is gone when this many of its hellos are missing.
const MISSED_HELLOS: u32 = 3;
/// An heir that has not confirmed for this long is none: ten heartbeats.
const HEIR_SILENT: Duration = Duration::from_secs(1);
/// For how long it is none then: others can be trusted more. Twice as long each time, if it has never confirmed.
const HEIR_PAUSE: Duration = Duration::from_secs(5);
/// How often a pause is doubled: to 10 minutes.
const MAX_FAILURES: u32 = 7;
/// Heirs that have not confirmed yet, if enough others have.
const ON_TRIAL: usize = 2;
/// A full roster is looked through at most this often for nodes that are gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
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
    /// How it fares, as it told this node while that one led, and when.
    pub report: Option<(Report, Instant)>,
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
    /// It has confirmed this leader, or was an heir of the one before it.
    proven: bool,
    /// How often it was an heir and never confirmed.
    failures: u32,
    /// How long it may say nothing: its next hello was promised when there were as many nodes as then.
    patience: Duration,
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
    /// The last node for which there was no place: its address, and when.
    refused: Option<(IpAddr, Instant)>,
}

/// What a hello was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Of a node that is known.
    Again,
    /// Of one that was not.
    New,
    /// Of one for which there is no place.
    Full,
}

impl Roster {
    /// A node said hello.
    pub fn handle_hello(&mut self, hello: &Hello, from: SocketAddr, now: Instant) -> Heard {
        let Some((peer, new)) = self.peer(hello.node, from, now) else {
            return Heard::Full;
        };
        if peer.name != hello.name {
            peer.name.clone_from(&hello.name);
        }
        (peer.standing, peer.held_to) = (hello.standing, hello.held_to);
        if new { Heard::New } else { Heard::Again }
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
        self.ordered_at = None;
        for (id, peer) in &mut self.peers {
            (peer.heir_since, peer.no_heir_until) = (None, None);
            peer.proven = self.heirs.contains(id);
        }
        self.heirs.clear();
    }

    /// This node begins to lead: what it was told when it led before is old.
    pub fn forget_reports(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.report = None);
    }

    /// An heir confirmed. `false` if it is not known: only those that said hello can be heirs. Where a quorum has to agree
    /// (`strangers`), each confirmation may be the one that is needed, even if the hello before it was lost.
    pub fn handle_confirm(
        &mut self,
        confirm: &Confirm,
        from: SocketAddr,
        strangers: bool,
        now: Instant,
    ) -> bool {
        if !strangers && !self.peers.contains_key(&confirm.node) {
            return false;
        }
        let Some((peer, _)) = self.peer(confirm.node, from, now) else {
            return false;
        };
        peer.standing = confirm.standing;
        (peer.proven, peer.failures) = (true, 0);
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
        true
    }

    /// A node tells its leader how it fares. `false` if it is not known, or not there: whoever said hello reports from the same
    /// address.
    pub fn handle_report(
        &mut self,
        node: NodeId,
        report: Report,
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let known = self.peers.get(&node).is_some_and(|peer| peer.addr == from);
        if known && let Some((peer, _)) = self.peer(node, from, now) {
            peer.report = Some((report, now));
        }
        known
    }

    fn peer(&mut self, id: NodeId, addr: SocketAddr, now: Instant) -> Option<(&mut Peer, bool)> {
        let new = !self.peers.contains_key(&id);
        if new && !self.has_place(addr, now) {
            return None;
        }
        let patience = self.hello_every() * MISSED_HELLOS;
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            addr,
            name: String::new(),
            standing: Standing::default(),
            report: None,
            held_to: None,
            heard_at: now,
            confirmed: None,
            heir_since: None,
            no_heir_until: None,
            fell_silent: false,
            proven: false,
            failures: 0,
            patience,
        });
        (peer.addr, peer.heard_at, peer.fell_silent) = (addr, now, false);
        peer.patience = patience;
        Some((peer, new))
    }

    /// Whether one more node can be known; those that are gone make room.
    fn has_place(&mut self, addr: SocketAddr, now: Instant) -> bool {
        let ip = addr.ip();
        let is_full = self.peers.len() >= MAX_NODES;
        // A flood must not make this node look at everybody for each of its packets.
        let lately = self
            .refused
            .is_some_and(|(refused, at)| (is_full || refused == ip) && now.since(at) < LOOK_EVERY);
        if lately {
            return false;
        }
        let has_place = |peers: &BTreeMap<NodeId, Peer>| {
            let there = peers.values().filter(|peer| peer.addr.ip() == ip);
            peers.len() < MAX_NODES && there.count() < MAX_NODES_PER_ADDRESS
        };
        if !has_place(&self.peers) {
            self.forget(now);
        }
        let has_place = has_place(&self.peers);
        self.refused = (!has_place).then_some((ip, now));
        has_place
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
        self.turn(HELLO_EVERY)
    }

    /// How long a node leaves between two messages of a kind that all nodes send: `least`, or longer where all of them together
    /// would send more than 20 a second.
    pub fn turn(&self, least: Duration) -> Duration {
        let nodes = u32::try_from(self.peers.len() + 1).unwrap_or(u32::MAX);
        least.max(Duration::from_secs(1) * nodes / TURNS_PER_SECOND)
    }

    /// Whether a node was heard lately enough to be alive.
    pub fn is_alive(&self, id: NodeId, now: Instant) -> bool {
        let patience = self.hello_every() * MISSED_HELLOS;
        self.peers
            .get(&id)
            .is_some_and(|peer| now.since(peer.heard_at) <= patience.max(peer.patience))
    }

    /// Forgets nodes that are gone.
    pub fn forget(&mut self, now: Instant) {
        let patience = self.hello_every() * MISSED_HELLOS;
        self.peers
            .retain(|_, peer| now.since(peer.heard_at) <= patience.max(peer.patience));
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
                    let pause = HEIR_PAUSE * (1 << peer.failures);
                    (peer.heir_since, peer.no_heir_until) = (None, Some(now + pause));
                    if !std::mem::take(&mut peer.proven) {
                        peer.failures = (peer.failures + 1).min(MAX_FAILURES);
                    }
                }
                Some(_) if alive => self.heirs.push(heir),
                _ => {}
            }
        }
        let is_time = self.ordered_at.is_none_or(|at| now.since(at) >= REPUBLISH);
        if !is_time && self.heirs.len() > 1 {
            return;
        }
        let heirs = self.choose_heirs(now);
        if is_time || heirs.len() != self.heirs.len() {
            for (id, peer) in &mut self.peers {
                let is_heir = heirs.contains(id);
                peer.heir_since = is_heir.then(|| peer.heir_since.unwrap_or(now));
            }
            self.heirs = heirs;
            self.ordered_at = Some(now);
        }
    }

    /// Those that can take over best, best first. Of those that never confirmed, few if there are others.
    fn choose_heirs(&self, now: Instant) -> Vec<NodeId> {
        let may = |(id, peer): &(&NodeId, &Peer)| {
            let rests = peer.no_heir_until.is_some_and(|until| now < until);
            peer.standing.standby && !rests && !peer.fell_silent && self.is_alive(**id, now)
        };
        let mut able: Vec<(NodeId, bool, Standing)> = (self.peers.iter().filter(may))
            .map(|(id, peer)| (*id, peer.proven, peer.standing))
            .collect();
        let rank = |standing: &Standing| {
            let Standing {
                complete,
                priority,
                age_s,
                ..
            } = *standing;
            (complete, priority, age_s)
        };
        able.sort_unstable_by_key(|(id, _, standing)| {
            (Reverse((standing.eligible, rank(standing))), *id)
        });
        let proven = able.iter().filter(|(_, proven, _)| *proven).count();
        let mut on_trial = ON_TRIAL.max(MAX_HEIRS.saturating_sub(proven));
        able.retain(|(_, proven, _)| {
            let stays = *proven || on_trial > 0;
            on_trial -= usize::from(!*proven && on_trial > 0);
            stays
        });
        able.truncate(MAX_HEIRS);
        able.sort_by_key(|(id, proven, standing)| {
            (Reverse((standing.eligible, *proven, rank(standing))), *id)
        });
        able.into_iter().map(|(id, ..)| id).collect()
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
            let heard = roster.handle_hello(&hello(node, standing), addr(), at_ms(0));
            assert_eq!(heard, Heard::New);
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
            roster.handle_confirm(&confirm(10, ms), addr(), false, at_ms(ms));
            roster.handle_hello(&hello(11, standing(true, true, 0, 0)), addr(), at_ms(ms));
            roster.order_heirs(TERM, at_ms(ms));
            assert_eq!(
                roster.heirs().len(),
                if ms <= 1_000 { 2 } else { 1 },
                "{ms}"
            );
        }
        roster.handle_confirm(&confirm(10, 2_001), addr(), false, at_ms(2_001));
        roster.order_heirs(TERM, at_ms(2_001));
        assert_eq!(roster.heirs(), [NodeId(10)], "it stays out for a while");
        assert_eq!(roster.supporters(TERM, at_ms(2_001)), 1);
    }

    #[test]
    fn a_million_nodes_take_the_place_of_a_thousand() {
        let mut roster = Roster::default();
        let at = |node: u64| SocketAddr::from(([192, 0, (node / 50) as u8, 1], 40_000));
        for node in 0..2_000 {
            let heard = roster.handle_hello(&hello(node, Standing::default()), at(node), at_ms(0));
            assert_eq!(heard == Heard::New, node < MAX_NODES as u64, "{node}");
        }
        assert_eq!(roster.len(), MAX_NODES);
        assert_eq!(roster.hello_every(), Duration::from_millis(51_250));
        let later = at_ms(200_000);
        let heard = roster.handle_hello(&hello(9_999, Standing::default()), addr(), later);
        assert_eq!(heard, Heard::New);
        assert_eq!(roster.len(), 1, "those that are gone make room");
    }

    #[test]
    fn one_address_has_so_many_nodes_and_slows_the_others_down_no_further() {
        let mut roster = Roster::default();
        for node in 0..1_024 {
            roster.handle_hello(&hello(node, Standing::default()), addr(), at_ms(0));
        }
        assert_eq!(roster.len(), MAX_NODES_PER_ADDRESS);
        assert_eq!(roster.hello_every(), Duration::from_millis(3_250));
        let other = SocketAddr::from(([192, 0, 2, 99], 40_000));
        let heard = roster.handle_hello(&hello(5_000, Standing::default()), other, at_ms(0));
        assert_eq!(heard, Heard::New);
    }

    #[test]
    fn who_promised_to_be_heard_seldom_is_not_gone_when_the_crowd_is() {
        let mut roster = Roster::default();
        let at = |node: u64| SocketAddr::from(([192, 0, (node / 50) as u8, 1], 40_000));
        for node in 1..1_000 {
            roster.handle_hello(&hello(node, Standing::default()), at(node), at_ms(0));
        }
        // The crowd was never there; node 1000 was, and says hello every 50 s as long as all are counted.
        roster.handle_hello(
            &hello(1_000, Standing::default()),
            at(1_000),
            at_ms(100_000),
        );
        roster.forget(at_ms(150_300));
        assert_eq!(
            roster.len(),
            1,
            "the crowd is gone, before 1000 is heard again"
        );
        assert_eq!(roster.hello_every(), Duration::from_secs(1));
        assert!(roster.is_alive(NodeId(1_000), at_ms(249_000)));
        assert!(!roster.is_alive(NodeId(1_000), at_ms(250_200)));
    }

    #[test]
    fn nodes_that_never_confirm_do_not_take_the_seats_of_those_that_do() {
        let mut roster = Roster::default();
        let real = [10, 11, 12, 13, 14, 15, 16, 17];
        let best = standing(true, true, i16::MAX, u32::MAX);
        let at = |node: u64| SocketAddr::from(([192, 0, (node / 50) as u8, 1], 40_000));
        for node in real {
            roster.handle_hello(&hello(node, standing(true, true, 0, 0)), addr(), at_ms(0));
        }
        roster.order_heirs(TERM, at_ms(0));
        for ms in (0..20_000).step_by(100) {
            for node in roster.heirs().to_vec() {
                if real.contains(&node.0) {
                    let confirm = Confirm {
                        station: crate::wire::StationId(1),
                        node,
                        term: TERM,
                        number: ms,
                        plan: PlanDigest(1),
                        standing: standing(true, true, 0, 0),
                        accepts: None,
                    };
                    assert!(roster.handle_confirm(&confirm, addr(), false, at_ms(ms)));
                }
            }
            if ms == 500 {
                for node in 1_000..2_000 {
                    roster.handle_hello(&hello(node, best), at(node), at_ms(ms));
                }
            }
            roster.order_heirs(TERM, at_ms(ms));
            let heirs = roster.heirs();
            let seats = heirs.iter().filter(|heir| real.contains(&heir.0)).count();
            assert!(seats >= MAX_HEIRS - ON_TRIAL, "{ms}: {heirs:?}");
            assert!(
                real.contains(&heirs[0].0),
                "the first is one that has confirmed"
            );
        }
        // A new leader knows only whom the old one named: those come first, too.
        roster.begin_term();
        let next = Term { counter: 4, ..TERM };
        roster.order_heirs(next, at_ms(20_000));
        let seats = roster.heirs().iter().filter(|heir| real.contains(&heir.0));
        assert!(
            seats.count() >= MAX_HEIRS - ON_TRIAL,
            "{:?}",
            roster.heirs()
        );
    }

    #[test]
    fn a_newcomer_gets_its_trial_although_a_crowd_asks_for_it() {
        let mut roster = Roster::default();
        let best = standing(true, true, i16::MAX, u32::MAX);
        for node in 1_000..2_000 {
            roster.handle_hello(&hello(node, best), addr(), at_ms(0));
        }
        let other = SocketAddr::from(([192, 0, 2, 99], 40_000));
        let named = (0..60_000).step_by(100).find(|ms| {
            roster.handle_hello(&hello(7, standing(true, true, 0, 0)), other, at_ms(*ms));
            for node in 1_000..1_064 {
                roster.handle_hello(&hello(node, best), addr(), at_ms(*ms));
            }
            roster.order_heirs(TERM, at_ms(*ms));
            roster.heirs().contains(&NodeId(7))
        });
        assert!(named.is_some_and(|ms| ms < 30_000), "{named:?}");
    }
}
