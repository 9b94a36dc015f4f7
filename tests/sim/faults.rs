//! What happens to machines and wires.

use lanradio::wire::FrameIndex;
use lanradio::wire::control::State;

use crate::host::{Host, config};
use crate::world::{Feed, World};

/// What happens to a machine or a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash(usize),
    Restart(usize),
    /// A machine stands still for so many microseconds.
    Pause(usize, u64),
    /// A machine stands still, and its clock does, too: a virtual one that is moved elsewhere.
    Freeze(usize, u64),
    /// A machine's clock is set forwards or back. The boot clock never is; the kernel's stamps may be by a little.
    Step(usize, i64),
    /// A machine wakes so much later than it wants to.
    Late(usize, u64),
    /// Packets from one host do not reach another.
    Cut(usize, usize),
    /// The same, but only what is sent to all: the first thing that a crowded network drops.
    Muffle(usize, usize),
    /// No frames can be copied from a host any more.
    Stingy(usize),
    /// Hosts hear only those of their own part.
    Partition(Vec<u8>),
    Heal,
    /// So many of a thousand packets are lost.
    Loss(u64),
    Leave(usize),
    /// Another sender comes, and wants its tracks to be played.
    Join(Feed),
}

impl World {
    pub(crate) fn fault_in(&mut self, us: u64, fault: Fault) {
        self.fault_at(self.now_us + us, fault);
    }

    pub(crate) fn strike(&mut self, fault: &Fault) {
        if let Some(line) = self.announce(fault) {
            self.say(&line);
        }
        self.disturbed_at = self.disturbed_at.max(self.now_us);
        self.healed = false;
        match fault {
            Fault::Crash(host) => self.hosts[*host].up = false,
            Fault::Restart(host) => self.restart(*host),
            Fault::Pause(host, us) => {
                let machine = &mut self.hosts[*host];
                machine.paused_until = machine.paused_until.max(self.now_us + us);
                let until = machine.paused_until;
                self.disturbed_at = self.disturbed_at.max(until);
                let is_noticed = self.is_noticed(*host, *us);
                let watch = &mut self.hosts[*host].watch;
                watch.disturbed_at = Some(until);
                watch.resumed_at = is_noticed.then_some(until).or(watch.resumed_at);
            }
            Fault::Freeze(host, us) => {
                let machine = &mut self.hosts[*host];
                machine.not_before = machine.clock.local(self.now_us);
                machine.clock.offset_us -= *us as i64;
                machine.paused_until = machine.paused_until.max(self.now_us + us);
                let until = machine.paused_until;
                machine.watch.disturbed_at = Some(until);
                self.disturbed_at = self.disturbed_at.max(until);
            }
            Fault::Step(host, us) => {
                let machine = &mut self.hosts[*host];
                machine.clock.offset_us += us;
                machine.watch.disturbed_at = Some(self.now_us + us.unsigned_abs());
                machine.watch.resumed_at = None;
                self.disturbed_at = self.disturbed_at.max(self.now_us + us.unsigned_abs());
                if machine.is_awake(self.now_us) {
                    self.wake(*host);
                }
            }
            Fault::Late(host, us) => self.hosts[*host].late_us = *us,
            Fault::Cut(from, to) => self.cuts.push((*from, *to)),
            Fault::Muffle(from, to) => self.muffled.push((*from, *to)),
            Fault::Stingy(host) => self.stingy.push(*host),
            Fault::Partition(parts) => {
                self.parts.clone_from(parts);
                self.parts.resize(self.hosts.len(), 0);
            }
            Fault::Heal => {
                let was_apart = self.parts.iter().any(|part| *part != self.parts[0]);
                self.count("heals", was_apart.into());
                self.healed = self.cuts.is_empty() && self.muffled.is_empty();
                self.cuts.clear();
                self.muffled.clear();
                self.parts.iter_mut().for_each(|part| *part = 0);
            }
            Fault::Loss(permille) => self.network.loss_permille = *permille,
            Fault::Leave(host) => {
                if self.hosts[*host].is_awake(self.now_us) {
                    let now = self.hosts[*host].clock.local(self.now_us);
                    self.hosts[*host].node.handle_leave(now);
                    self.wake(*host);
                }
            }
            Fault::Join(feed) => _ = self.add_sender(&feed.clone()),
        }
    }

    fn announce(&self, fault: &Fault) -> Option<String> {
        Some(match fault {
            Fault::Crash(host) => format!("{host} crashes"),
            Fault::Restart(host) => format!("{host} is started again"),
            Fault::Pause(host, us) => format!("{host} stands still for {} ms", us / 1_000),
            Fault::Freeze(host, us) => {
                format!("{host} and its clock stand still for {} ms", us / 1_000)
            }
            Fault::Step(host, us) => format!("the clock of {host} is set by {} ms", us / 1_000),
            Fault::Late(host, us) => format!("{host} wakes {us} us late from now on"),
            Fault::Cut(from, to) => format!("{to} does not hear {from} any more"),
            Fault::Muffle(from, to) => format!("{to} does not hear what {from} sends to all"),
            Fault::Stingy(host) => format!("no frames can be copied from {host} any more"),
            Fault::Partition(parts) => {
                let parts: Vec<String> = parts.iter().map(u8::to_string).collect();
                format!("the network falls apart: {}", parts.join("|"))
            }
            Fault::Heal if self.is_whole() => return None,
            Fault::Heal => "the network is whole again".into(),
            Fault::Loss(permille) => format!("of 1000 packets {permille} are lost from now on"),
            Fault::Leave(host) => format!("{host} is asked to leave"),
            Fault::Join(_) => "another sender comes".into(),
        })
    }

    /// Whether a machine that stands still for so long has to notice it: it would have had something to do.
    fn is_noticed(&self, host: usize, us: u64) -> bool {
        let machine = &self.hosts[host];
        let on_air = matches!(machine.node.state(), Some(State::Playing | State::Idle));
        let leads = on_air && !machine.node.roster().heirs().is_empty();
        let follows = machine.node.term().is_none()
            && machine.node.followed_term().is_some()
            && machine.node.config().standby;
        machine.up && (leads && us > 330_000 || follows && us > 1_300_000)
    }

    fn restart(&mut self, number: usize) {
        let old = &self.hosts[number];
        let (clock, lives, listens) = (old.clock, old.lives + 1, old.dial.is_some());
        let (sends, standby) = (old.node.config().sends, old.node.config().standby);
        let mut config = config(number, lives, self.seed);
        (config.sends, config.standby, config.quorum) = (sends, standby, self.quorum);
        config.first_frame = FrameIndex(0);
        config.buffer = old.node.config().buffer;
        let host = Host::start(config, listens, clock, self.now_us, lives);
        self.install(number, host);
        if sends {
            self.feed(number, &Feed::of(&[200]));
        }
    }
}
