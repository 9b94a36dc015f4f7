//! Does somebody lead, one at a time, and for good? PROTOCOL's invariants L3 to L5, looked at now and then and at each election.

use std::collections::{BTreeMap, BTreeSet};

use lanradio::station::node::Frames;
use lanradio::wire::control::State;
use lanradio::wire::{NodeId, StationId};

use crate::host::Host;
use crate::world::World;

impl World {
    /// L4: nobody is elected although a voter heard the leader, and said so in time.
    pub(crate) fn elected(&mut self, number: usize) {
        let now = self.now_us;
        let watch = &self.hosts[number].watch;
        let refused = |asked: Option<(u32, u64)>| {
            let lately = asked.filter(|(_, at)| now < at + 120_000);
            lately.is_some_and(|(attempt, _)| {
                watch.refused.iter().any(|(refused, _)| *refused == attempt)
            })
        };
        let recent = watch.pre_vote.filter(|(_, at)| now < at + 120_000);
        if refused(watch.pre_vote) || recent.is_none() && refused(watch.vote) {
            self.violate(
                "L4",
                format!("{number} is elected against a voter that hears the leader"),
            );
        } else if recent.is_none() {
            // It did not wait for the voters' answers: those under way count as well.
            let must = watch.vote.is_some_and(|(asked, _)| {
                watch
                    .must_refuse
                    .iter()
                    .any(|(attempt, _)| *attempt == asked)
            });
            if must {
                self.violate(
                    "L4",
                    format!("{number} is elected before a voter that hears the leader was heard"),
                );
            }
        }
    }

    /// L5: a lone node never deposes a leader with a supporter.
    pub(crate) fn deposed(&mut self, number: usize) {
        let now = self.now_us;
        let is_hard = self.network.loss_permille > 50 || self.network.bursts > 0;
        // With a quorum the higher term is right.
        if is_hard || !self.cuts.is_empty() || self.quorum > 1 {
            return;
        }
        let lately = |host: &Host| {
            host.watch
                .disturbed_at
                .is_some_and(|at| now < at + 2_000_000)
        };
        let me = self.hosts[number].node.config().node;
        let Some(new) = self.hosts[number].node.followed_term() else {
            return;
        };
        let supports = |follower: usize, leader: NodeId| {
            let (host, led_by) = (&self.hosts[follower], self.host_of(leader));
            let term = host.node.followed_term();
            host.is_awake(now)
                && term.is_some_and(|term| term.leader == leader)
                && host
                    .node
                    .roster()
                    .heirs()
                    .contains(&host.node.config().node)
                && led_by.is_some_and(|led_by| {
                    led_by != follower
                        && self.hears(follower, led_by)
                        && self.hears(led_by, follower)
                })
        };
        let others = || (0..self.hosts.len()).filter(|other| *other != number);
        let mine = others().filter(|other| {
            let heard = self.hosts[*other].watch.progress;
            let heard = heard.is_some_and(|heard| {
                heard.term.leader == me.short()
                    && heard.since_us + 1_000_000 < now
                    && heard.at_us + 100_000 > now
            });
            supports(*other, me) && heard
        });
        let theirs = others()
            .filter(|other| supports(*other, new.leader))
            .count();
        if !lately(&self.hosts[number]) && mine.count() > 0 && theirs == 0 {
            self.violate(
                "L5",
                format!("{number} had a supporter, and gave way to a node that has none"),
            );
        }
    }

    /// L3: nodes that hear each other have one leader.
    pub(crate) fn look(&mut self) {
        let now = self.now_us;
        let is_lossy = self.network.loss_permille > 0 || self.network.bursts > 0;
        let is_calm = self.cuts.is_empty() && self.muffled.is_empty() && now >= self.disturbed_at;
        if !is_calm {
            self.checks.odd_since.clear();
            return;
        }
        let mut leaders: BTreeMap<(StationId, u8), (usize, bool, bool)> = BTreeMap::new();
        let mut awake: BTreeMap<u8, usize> = BTreeMap::new();
        for (host, part) in self.hosts.iter().zip(&self.parts) {
            let counts = host.is_awake(now) && !host.watch.is_done;
            *awake.entry(*part).or_default() += usize::from(counts);
        }
        for (number, host) in self
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.is_awake(now))
        {
            let key = (host.node.config().station, self.parts[number]);
            let backs_off = host
                .watch
                .stepped_down_at
                .is_some_and(|at| now < at + 20_000_000);
            let entry = leaders.entry(key).or_default();
            if host.node.term().is_some() {
                // One that says that all is over is none, but nobody needs to claim either.
                entry.0 += 1;
            } else if host.node.followed_term().is_some() && host.node.config().standby {
                entry.1 = true;
                entry.2 |= backs_off;
                entry.0 += usize::from(host.watch.is_solo);
            }
        }
        let mut broken = Vec::new();
        // Parts in which somebody follows another term than that of the only leader.
        let strays: BTreeSet<(StationId, u8)> = (self.hosts.iter().enumerate())
            .filter(|(number, host)| {
                let (station, part) = (host.node.config().station, self.parts[*number]);
                let term = host.node.followed_term();
                let astray = |leader: usize| {
                    let other = &self.hosts[leader].node;
                    let same = other.config().station == station && self.parts[leader] == part;
                    let terms = (
                        term.map(|term| term.short()),
                        other.term().map(|term| term.short()),
                    );
                    same && self.hosts[leader].is_awake(now) && terms.0 != terms.1
                };
                host.is_awake(now) && term.is_some() && self.leaders().into_iter().any(astray)
            })
            .map(|(number, host)| (host.node.config().station, self.parts[number]))
            .collect();
        let odd = &mut self.checks.odd_since;
        odd.retain(|key, _| leaders.contains_key(key));
        for (key, (count, may_claim, backs_off)) in leaders {
            let may_claim = may_claim && awake[&key.1] >= usize::from(self.quorum);
            if (count == 1 || count == 0 && !may_claim) && !strays.contains(&key) {
                odd.remove(&key);
                continue;
            }
            let entry = odd.entry(key).or_insert((count, now));
            let bound = match (count, is_lossy) {
                (0, false) => 1_300_000,
                (2.., false) if self.healed && self.network.delay_us.1 < 5_000 => 350_000,
                (_, false) => 1_050_000,
                (_, true) if self.network.loss_permille <= 50 && self.network.bursts == 0 => {
                    3_000_000
                }
                (_, true) => 8_000_000,
            };
            let bound = bound
                + if backs_off && count == 0 {
                    6_000_000
                } else {
                    0
                };
            if now.saturating_sub(entry.1) > bound {
                broken.push((key, count));
                entry.1 = now + 60_000_000;
            }
        }
        for ((_, part), count) in broken {
            self.violate(
                "L3",
                format!("part {part} has {count} leaders, or not everybody follows"),
            );
        }
        for number in 0..self.hosts.len() {
            let host = &self.hosts[number];
            let plays =
                matches!(host.node.state(), Some(State::Playing)) && host.node.term().is_some();
            let place = host.node.programme().place(host.node.next());
            let holds = place.is_some_and(|(track, k)| host.shelf.packet(track, k).is_some());
            let since = host
                .watch
                .own_media_at
                .max(host.watch.disturbed_at.unwrap_or(0));
            if host.is_awake(now) && plays && holds && now > since + 350_000 {
                self.hosts[number].watch.own_media_at = now + 60_000_000;
                let node = &self.hosts[number].node;
                let (next, run) = (node.next(), node.programme().last_run());
                self.violate(
                    "L3",
                    format!("{number} leads and does not send frame {next} of {run:?}"),
                );
            }
        }
    }
}
