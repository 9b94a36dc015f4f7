//! Who asks whom what time it is on the station?
//!
//! Whoever follows asks its leader; the rules of when and of what comes of it are in `station::clock`. A leader answers the nodes that it
//! knows, and nobody else: a question is as long as its answer, so nothing is gained by asking in another's name. Who takes
//! over goes on with its own map of the clock, which is frozen from then on, and who has led knows the clock better than
//! anybody could tell it.
//!
//! Each question says how far the last answer was from all that can be true. If it was far from it again and again, and for most who
//! ask, then it is the leader's clock that has jumped (its machine stood still, and its clock with it): another one leads on, which has
//! the time that everybody has.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Node;
use super::doubting::{Budget, Doubt};
use super::following::Following;
use super::roles::Role;
use crate::station::clock::{Answer, Estimate, StationClock, Sync};
use crate::station::roster::Peer;
use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::election::Standing;
use crate::wire::probe::{Probe, Time};
use crate::wire::{NodeId, StationId};

/// Answers of a leader to all nodes together, in a second: what a full station asks, twice.
const MAX_TIMES_PER_SECOND: usize = 500;
/// The clocks of an asker and its leader are apart if they differ by more than this, in µs; what is less is mended without a step.
const APART_US: u64 = 30_000;
/// So many questions in a row say so.
const APART_TIMES: u32 = 4;
/// Of one that says so, nobody knows whose clock it is.
const LEAST_APART: usize = 2;
/// Who has not asked for so long, or for so many of its turns, does not count.
const ASKED_LATELY: Duration = Duration::from_secs(15);
const TURNS: u32 = 3;
/// Who asks again before this is not answered.
const LEAST_BETWEEN: Duration = Duration::from_millis(10);

/// What an asker says of the leader's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witness {
    at: Instant,
    /// All nodes of a machine have one clock. (On the loopback interface each node counts.)
    machine: IpAddr,
    /// So many questions in a row said that it is ahead (positive) or behind.
    apart: i64,
}

/// The station clock, as far as this node knows it.
#[derive(Debug)]
pub(super) struct Syncing {
    sync: Sync,
    /// Which station's clock it is, and who is asked.
    of: Option<StationId>,
    asks: Option<NodeId>,
    times: Budget,
    /// Of those that ask this leader.
    pub(super) witnesses: BTreeMap<NodeId, Witness>,
}

impl Default for Syncing {
    fn default() -> Syncing {
        Syncing {
            sync: Sync::default(),
            of: None,
            asks: None,
            times: Budget::of(MAX_TIMES_PER_SECOND),
            witnesses: BTreeMap::new(),
        }
    }
}

impl Node {
    /// The station clock: this node's own, if it leads, or the leader's as far as it is known; none before the first answer.
    pub fn station_clock(&self) -> Option<StationClock> {
        match &self.role {
            Role::Leading { lead, .. } | Role::Over { lead, .. } => Some(lead.clock),
            Role::Following(_) => self.syncing.sync.clock(),
            _ => None,
        }
    }

    /// How well it is known, if another one's.
    pub fn clock_estimate(&self) -> Option<Estimate> {
        let follows = matches!(self.role, Role::Following(_));
        follows
            .then(|| self.syncing.sync.estimate(self.latest))
            .flatten()
    }

    /// The clock of the leader that is followed, if it is known well enough to lead with.
    pub(super) fn synced_clock(&self) -> Option<StationClock> {
        let sync = &self.syncing.sync;
        let is_ours = self.syncing.of == Some(self.config.station);
        (is_ours && sync.is_sure(self.latest))
            .then(|| sync.clock())
            .flatten()
    }

    /// Whether it has learned the station clock well enough to be an heir (PROTOCOL, "HEIRS").
    pub(super) fn has_learned_clock(&self) -> bool {
        let is_ours = self.syncing.of == Some(self.config.station);
        is_ours && self.syncing.sync.is_learned(self.latest)
    }

    /// Whether the packets of the leader tell nothing of the time, as its clock has jumped.
    pub(super) fn is_leader_doubted(&self) -> bool {
        self.syncing.sync.is_leader_doubted()
    }

    /// The clock to lead with from now on, if it is known well enough.
    pub(super) fn take_over_clock(&mut self) -> Option<StationClock> {
        if self.syncing.of != Some(self.config.station) {
            self.syncing.sync = Sync::default();
        }
        self.syncing.sync.take_over(self.latest)
    }

    /// Asks the leader what time it is, if it is time to; answers when it is next.
    pub(super) fn keep_time(&mut self) -> Option<Instant> {
        let now = self.latest;
        if let Role::Leading { lead, .. } = &self.role {
            self.syncing.of = Some(self.config.station);
            self.syncing.asks = None;
            self.syncing.sync.handle_own(lead.clock, now);
            return None;
        }
        self.syncing.witnesses.clear();
        let leader = match &self.role {
            Role::Following(following) if !self.follows_itself() => {
                (following.addr).map(|addr| (addr, following.term.leader))
            }
            _ => None,
        };
        let Some((addr, leader)) = leader else {
            self.syncing.asks = None;
            self.syncing.sync.handle_nobody(now);
            return None;
        };
        if self.syncing.of.replace(self.config.station) != Some(self.config.station) {
            self.syncing.sync = Sync::default();
        }
        if self.syncing.asks.replace(leader) != Some(leader) {
            self.syncing.sync.handle_leader(now);
        }
        let (number, nodes) = (self.random.bits(), self.roster.len());
        if self.syncing.sync.handle_timeout(number, nodes, now) {
            let probe = Probe {
                station: self.config.station,
                node: self.config.node,
                number,
                apart_us: self.syncing.sync.apart_us(),
            };
            self.send_control(Some(addr), &Message::Probe(probe));
        }
        self.syncing.sync.poll_timeout()
    }

    /// Another node asks what time it is.
    pub(super) fn hear_probe(&mut self, from: SocketAddr, probe: &Probe, arrived: Instant) {
        let Role::Leading { lead, .. } = &self.role else {
            return;
        };
        let (now, term) = (self.latest, lead.term);
        let received_us = lead.clock.station_us(arrived);
        // Whoever asks in many names is one witness.
        let by_addr = |(id, peer): (NodeId, &Peer)| (peer.addr == from).then_some(id);
        let asker = self.roster.peers().find_map(by_addr);
        let Some(asker) = asker.filter(|_| probe.station == self.config.station) else {
            return self.refuse(Doubt::Asker, Some(from));
        };
        let asked_at = self.syncing.witnesses.get(&asker).map(|asked| asked.at);
        let is_flood = asked_at.is_some_and(|at| now.since(at) < LEAST_BETWEEN);
        if is_flood || !self.syncing.times.spend(now) {
            return self.refuse(Doubt::Flood, Some(from));
        }
        self.hear_witness(asker, from.ip(), probe.apart_us.unwrap_or_default());
        // If nobody could go on, it is the others that learn this clock anew.
        let doubted = self.is_apart(1) && self.can_be_succeeded();
        if doubted && self.is_apart(APART_TIMES) {
            return self.resign_as_its_clock_jumped();
        }
        let waited_us = u32::try_from(now.since(arrived).as_micros()).unwrap_or(u32::MAX);
        let time = Time {
            station: probe.station,
            term,
            number: probe.number,
            received_us,
            waited_us,
            rate_sigma_ppb: (self.syncing.sync.rate_sigma_ppm() * 1e3) as u32,
            doubted,
        };
        self.send_control(Some(from), &Message::Time(time));
    }

    /// One who asks says how far this leader's clock is ahead of what it thinks.
    fn hear_witness(&mut self, asker: NodeId, machine: IpAddr, apart_us: i64) {
        let now = self.latest;
        let lately = ASKED_LATELY.max(Sync::share(self.roster.len()) * TURNS);
        let witnesses = &mut self.syncing.witnesses;
        witnesses.retain(|_, witness| now.since(witness.at) < lately);
        let witness = witnesses.entry(asker).or_insert(Witness {
            at: now,
            machine,
            apart: 0,
        });
        witness.at = now;
        witness.apart = if apart_us.unsigned_abs() <= APART_US {
            0
        } else if apart_us < 0 {
            witness.apart.min(0) - 1
        } else {
            witness.apart.max(0) + 1
        };
    }

    /// Whether most machines that ask say so many times in a row that this leader's clock is wrong, all in one direction.
    fn is_apart(&self, times: u32) -> bool {
        let voices = self.syncing.witnesses.iter().map(|(node, witness)| {
            let node = witness.machine.is_loopback().then_some(*node);
            ((witness.machine, node), witness.apart)
        });
        let voices: BTreeMap<(IpAddr, Option<NodeId>), i64> = voices.collect();
        let say = |sign: i64| {
            let says_so = |apart: &&i64| **apart * sign >= i64::from(times);
            voices.values().filter(says_so).count()
        };
        let apart = say(1).max(say(-1));
        apart >= LEAST_APART && 2 * apart > voices.len()
    }

    /// Whether somebody could go on. (To a clock that jumped everybody seems to be away, so the list of heirs tells nothing.)
    fn can_be_succeeded(&self) -> bool {
        let can_lead = |standing: &Standing| standing.standby && standing.eligible;
        let mut peers = self.roster.peers();
        peers.any(|(_, peer)| can_lead(&peer.standing))
    }

    fn resign_as_its_clock_jumped(&mut self) {
        let next = self.next();
        let Role::Leading { lead, .. } = &self.role else {
            return;
        };
        let mut following = Following::new(lead.term, self.latest);
        following.keep_clock(lead.clock, next.minus(1));
        self.syncing.sync = Sync::default();
        self.become_follower(following, "its clock has jumped");
    }

    /// The leader says what time it is.
    pub(super) fn hear_time(&mut self, from: SocketAddr, time: &Time, arrived: Instant) {
        let is_leaders = match &self.role {
            Role::Following(following) => {
                following.addr == Some(from) && following.term == time.term
            }
            _ => false,
        };
        if !is_leaders || time.station != self.config.station {
            return;
        }
        let answer = Answer {
            received_us: time.received_us,
            replied_us: time.received_us.saturating_add(time.waited_us.into()),
            rate_sigma_ppm: f64::from(time.rate_sigma_ppb) / 1e3,
            doubted: time.doubted,
        };
        let sync = &mut self.syncing.sync;
        if !sync.handle_answer(time.number, &answer, arrived) {
            self.refuse(Doubt::Time, Some(from));
        }
    }
}
