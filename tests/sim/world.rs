//! Hosts on a virtual network: every packet, wake and fault is an event in one queue, ordered by time and then by number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use lanradio::station::node::{Event, Fetch, Output};
use lanradio::station::random::Random;
use lanradio::wire::media::MediaPacket;
use lanradio::wire::{FrameIndex, PlanDigest, TrackId};

use crate::checks::{Checks, Violation};
use crate::errands::Errand;
use crate::faults::Fault;
use crate::host::{Host, LocalClock, config};
use crate::network::Network;

/// How often the state of the whole is looked at.
const LOOK_EVERY_US: u64 = 50_000;

/// Where a datagram goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Media,
    /// To the group.
    Control,
    /// To one host.
    Unicast,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) channel: Channel,
    pub(crate) from: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) arrived_us: u64,
}

/// What a sender has to send, and how fast it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) tracks: Vec<u64>,
    /// How long 50 frames take to be encoded; 1 s is real time.
    pub(crate) second_us: u64,
    /// How long nothing comes before the last track.
    pub(crate) gap_us: u64,
    /// After which frame nothing comes for how long, and how long 20 frames take after that.
    pub(crate) stall: Option<(u64, u64, u64)>,
    pub(crate) looped: bool,
    pub(crate) first_frame: u64,
}

impl Feed {
    /// Tracks of so many frames, encoded at once.
    pub(crate) fn of(tracks: &[u64]) -> Feed {
        Feed {
            tracks: tracks.to_vec(),
            second_us: 10_000,
            gap_us: 0,
            stall: None,
            looped: false,
            first_frame: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Arrive(usize, Packet),
    Wake(usize),
    Fault(Fault),
    Look,
    Plan(Errand, PlanDigest),
    Frames(Errand, TrackId, u64),
    Submission(Errand, Vec<u8>),
    Encoded(Errand, TrackId, u64, bool),
}

/// The world.
pub(crate) struct World {
    pub(crate) now_us: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) checks: Checks,
    pub(crate) violations: Vec<Violation>,
    /// One line for each thing that somebody might want to know.
    pub(crate) transcript: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Control messages by kind: how many, and their bytes. One to the group counts once.
    pub(crate) sent: BTreeMap<&'static str, (u64, u64)>,
    /// Which host a node is on, by the short id.
    pub(crate) names: BTreeMap<u32, usize>,
    /// How long each track is, by the beginning of its id.
    pub(crate) tracks: BTreeMap<u32, u64>,
    /// When a fault last struck, or ended.
    pub(crate) disturbed_at: u64,
    /// That was a healed network.
    pub(crate) healed: bool,
    /// So many nodes have to agree.
    pub(crate) quorum: u16,
    /// The station's buffer.
    pub(crate) buffer: std::time::Duration,
    /// So many new leaders crash with their first frame.
    pub(crate) kill_new_leaders: u64,
    /// How every node is broken.
    #[cfg(debug_assertions)]
    pub(crate) flaw: Option<lanradio::station::node::Flaw>,
    pub(crate) cuts: Vec<(usize, usize)>,
    pub(crate) muffled: Vec<(usize, usize)>,
    /// Hosts from which no frames can be copied.
    pub(crate) stingy: Vec<usize>,
    pub(crate) parts: Vec<u8>,
    pub(crate) seed: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, What>,
    number: u64,
    pub(crate) random: Random,
    pub(crate) deaf_until: BTreeMap<(usize, usize), u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut world = World {
            now_us: 1_000_000,
            hosts: Vec::new(),
            network: Network {
                loss_permille: 0,
                bursts: 0,
                duplicate_permille: 0,
                delay_us: (50, 400),
            },
            checks: Checks::default(),
            violations: Vec::new(),
            transcript: Vec::new(),
            counts: BTreeMap::new(),
            sent: BTreeMap::new(),
            names: BTreeMap::new(),
            tracks: BTreeMap::new(),
            disturbed_at: 0,
            healed: false,
            quorum: 1,
            buffer: std::time::Duration::from_millis(500),
            kill_new_leaders: 0,
            #[cfg(debug_assertions)]
            flaw: None,
            cuts: Vec::new(),
            muffled: Vec::new(),
            stingy: Vec::new(),
            parts: Vec::new(),
            seed,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            number: 0,
            random: Random::new(seed),
            deaf_until: BTreeMap::new(),
        };
        world.at(world.now_us, What::Look);
        world
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random.bits() % below.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random(from.len() as u64) as usize]
    }

    pub(crate) fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// A machine that sends, and does not play.
    pub(crate) fn add_sender(&mut self, feed: &Feed) -> usize {
        let host = self.add(true, true, false, feed);
        self.feed(host, feed);
        host
    }

    pub(crate) fn add_listener(&mut self, standby: bool) -> usize {
        self.add(false, standby, true, &Feed::of(&[]))
    }

    fn add(&mut self, sends: bool, standby: bool, listens: bool, feed: &Feed) -> usize {
        let number = self.hosts.len();
        let clock = LocalClock {
            offset_us: self.random(1_000_000_000) as i64,
            ppm: self.random(401) as i64 - 200,
        };
        let mut config = config(number, 0, self.seed);
        (config.sends, config.standby, config.quorum) = (sends, standby, self.quorum);
        config.buffer = self.buffer;
        (config.looped, config.first_frame) = (feed.looped, FrameIndex(feed.first_frame));
        if feed.first_frame > 0 {
            self.checks.wraps_of(config.station, feed.first_frame);
        }
        self.parts.push(0);
        let host = Host::start(config, listens, clock, self.now_us, 0);
        self.install(number, host);
        number
    }

    /// Puts a process that has just been started on a host.
    pub(crate) fn install(
        &mut self,
        number: usize,
        #[cfg_attr(not(debug_assertions), expect(unused_mut))] mut host: Host,
    ) {
        #[cfg(debug_assertions)]
        if let Some(flaw) = self.flaw {
            host.node.break_on_purpose(flaw);
        }
        self.names.insert(host.node.config().node.short(), number);
        if number == self.hosts.len() {
            self.hosts.push(host);
        } else {
            self.hosts[number] = host;
        }
        self.act(number);
        self.wake_at(number, self.now_us);
    }

    pub(crate) fn fault_at(&mut self, at_us: u64, fault: Fault) {
        self.at(at_us, What::Fault(fault));
    }

    pub(crate) fn at(&mut self, at_us: u64, what: What) {
        self.number += 1;
        self.queue.push(Reverse((at_us, self.number)));
        self.events.insert(self.number, what);
    }

    pub(crate) fn wake_at(&mut self, host: usize, at_us: u64) {
        self.at(at_us.max(self.now_us), What::Wake(host));
    }

    fn schedule(&mut self, number: usize) {
        if !self.hosts[number].up {
            return;
        }
        if let Some(at) = self.hosts[number].wish() {
            let host = &self.hosts[number];
            let at = host.clock.true_us(at).max(self.now_us);
            // A real machine wakes a little late.
            let late = host.late_us + self.random(300);
            self.wake_at(number, at + late);
        }
    }

    /// Lets `us` pass.
    pub(crate) fn run_for(&mut self, us: u64) {
        self.run_until(self.now_us + us);
    }

    /// Lets `us` pass and then looks at what can only be looked at after a run. An assertion of a node that fails is a
    /// violation, too: the transcript tells how it came to that.
    pub(crate) fn run_to_the_end(&mut self, us: u64) {
        let run = std::panic::AssertUnwindSafe(|| self.run_for(us));
        if let Err(panic) = std::panic::catch_unwind(run) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            self.violate("assertion", text.unwrap_or_default());
        }
        for number in 0..self.hosts.len() {
            let concealed = self.concealed(number) as u64;
            self.count("concealed", concealed);
        }
    }

    pub(crate) fn run_until(&mut self, until_us: u64) {
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > until_us {
                break;
            }
            self.queue.pop();
            self.now_us = at;
            if let Some(what) = self.events.remove(&number) {
                self.happen(what);
            }
        }
        self.now_us = until_us;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive(to, packet) => {
                if self.hosts[to].up {
                    self.hosts[to].inbox.push(packet);
                    if self.hosts[to].is_awake(self.now_us) {
                        self.wake(to);
                    }
                }
            }
            What::Wake(host) => {
                let paused_until = self.hosts[host].paused_until;
                if self.now_us < paused_until {
                    self.wake_at(host, paused_until);
                } else if self.hosts[host].up {
                    // Only the newest wish counts.
                    let local = self.hosts[host].clock.local(self.now_us);
                    if self.hosts[host].wish().is_some_and(|at| at <= local) {
                        self.wake(host);
                    } else if self.now_us == paused_until {
                        self.schedule(host); // its clock stood still, too
                    }
                }
            }
            What::Fault(fault) => self.strike(&fault),
            What::Look => {
                self.look();
                self.at(self.now_us + LOOK_EVERY_US, What::Look);
            }
            What::Plan(errand, digest) => {
                let bytes = self.hosts[errand.holder].node.plan_bytes(digest);
                if let Some(bytes) = bytes.filter(|_| self.is_reachable(errand)) {
                    let host = &mut self.hosts[errand.host];
                    let now = host.clock.local(self.now_us);
                    let result = host.node.handle_plan(digest, &bytes, now);
                    assert!(result.is_ok(), "seed {}: {result:?}", self.seed);
                    self.wake_if_awake(errand.host);
                }
            }
            What::Frames(errand, track, first) => self.copy(errand, track, first),
            What::Submission(errand, bytes) => {
                if self.is_reachable(errand) {
                    let holder = &mut self.hosts[errand.holder];
                    let now = holder.clock.local(self.now_us);
                    let result = holder.node.handle_submission(&bytes, now);
                    let said =
                        result.map_or_else(|error| error.to_string(), |()| "accepted".into());
                    self.say(&format!(
                        "{} submits to {}: {said}",
                        errand.host, errand.holder
                    ));
                    self.count("submissions", 1);
                    self.wake(errand.holder);
                }
            }
            What::Encoded(errand, track, frames, last) => self.encode(errand, track, frames, last),
        }
    }

    pub(crate) fn wake_if_awake(&mut self, number: usize) {
        if self.hosts[number].is_awake(self.now_us) {
            self.wake(number);
        }
    }

    /// One turn of a host's run loop: all packets, then all deadlines.
    pub(crate) fn wake(&mut self, number: usize) {
        let inbox = std::mem::take(&mut self.hosts[number].inbox);
        for packet in inbox {
            self.receive(number, &packet);
        }
        self.hosts[number].turn(self.now_us);
        self.act(number);
        let host = &mut self.hosts[number];
        host.play_by_the_clock();
        let now = host.clock.local(self.now_us);
        if let Some(dial) = &mut host.dial {
            dial.handle_timeout(now);
        }
        host.listen();
        self.woken(number);
        self.schedule(number);
    }

    /// Does what a node decided.
    pub(crate) fn act(&mut self, number: usize) {
        while let Some(output) = self.hosts[number].node.poll_output() {
            if !self.hosts[number].up {
                continue; // it has just crashed
            }
            match output {
                Output::Media(bytes) => {
                    self.sent_media(number, &bytes);
                    self.hosts[number].hear_own(&bytes, Channel::Media, self.now_us);
                    self.multicast(number, Channel::Media, &bytes);
                    self.kill_if_new(number);
                }
                Output::Control { to: None, bytes } => {
                    self.sent_control(number, &bytes);
                    self.hosts[number].hear_own(&bytes, Channel::Control, self.now_us);
                    self.multicast(number, Channel::Control, &bytes);
                }
                Output::Control {
                    to: Some(to),
                    bytes,
                } => {
                    self.sent_control(number, &bytes);
                    let to = (0..self.hosts.len()).find(|host| Host::addr(*host) == to);
                    self.send(
                        number,
                        to.expect("an address of a host"),
                        Channel::Unicast,
                        &bytes,
                    );
                }
                Output::Repair(bytes) => {
                    let media = MediaPacket::parse(&bytes).expect("our own packet");
                    self.has_repaired(number, &media);
                    self.hosts[number].hear_copy(&bytes, self.now_us);
                }
                Output::Rtcp(_) => {}
                Output::Fetch(Fetch::Plan { from, digest }) => {
                    let errand = self.errand(number, from);
                    self.later(What::Plan(errand, digest));
                }
                Output::Fetch(Fetch::Frames { from, track, first }) => {
                    let errand = self.errand(number, from);
                    self.later(What::Frames(errand, track, first));
                }
                Output::Submit { to, bytes } => {
                    let errand = self.errand(number, to);
                    self.later(What::Submission(errand, bytes));
                }
                Output::Event(event) => self.note(number, &event),
            }
        }
    }

    fn kill_if_new(&mut self, number: usize) {
        let leads = self.hosts[number].node.term().is_some();
        if leads && self.kill_new_leaders > 0 && self.hosts[number].watch.has_taken_over {
            self.kill_new_leaders -= 1;
            self.strike(&Fault::Crash(number));
        }
    }

    fn note(&mut self, number: usize, event: &Event) {
        let count = match event {
            Event::Covering { .. } => "covers",
            Event::TookOver { .. } => "claims",
            Event::Solo { .. } => "solos",
            Event::SteppedDown { reason } if reason.contains("quorum") => "leases lost",
            Event::SteppedDown { .. } => "merges",
            Event::HandedOver { .. } => "hand-overs",
            Event::Idle => "idle times",
            _ => "other events",
        };
        self.count(count, 1);
        if let Some(line) = self.describe(event) {
            self.say(&format!("{number} {line}"));
        }
        self.noted(number, event);
    }

    /// The hosts that lead.
    pub(crate) fn leaders(&self) -> Vec<usize> {
        let leads =
            |number: &usize| self.hosts[*number].up && self.hosts[*number].node.term().is_some();
        (0..self.hosts.len()).filter(leads).collect()
    }
}
