//! Who is on the network, and what is done to them.
//!
//! Four nodes play on one bus, with `--no-standby`: what they play came over the network. A fifth writes what it decodes to a file,
//! so that the content of each frame index is known. One node sends, two more hold copies and can take over. Every node has a network
//! and clocks of its own; the switch is captured.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::bus::{Bus, PLAYERS, Recorder, Recording};
use crate::capture::{self, Capture, Frame};
use crate::net::Lan;
use crate::process::{Node, wait_until};
use crate::stalls::now_ns;
use crate::{programme, wav};

/// The host whose listener writes a file.
const WRITER: usize = PLAYERS;
/// The host that sends at first.
const SENDER: usize = PLAYERS + 1;
/// The hosts that can be on the air.
pub(crate) const SENDERS: std::ops::Range<usize> = SENDER..SENDER + 3;
/// How long after it is due a frame is played, everywhere.
const BUFFER: &str = "500ms";
pub(crate) const BUFFER_NS: i64 = 500_000_000;

/// A station on the air, with four who play it.
pub(crate) struct Scene {
    players: Vec<Node>,
    writer: Node,
    /// By host, from [`SENDER`] on.
    senders: Vec<Node>,
    /// How often a node was started.
    starts: usize,
    recorder: Option<Recorder>,
    observer: Capture,
    /// When the first frame was on the cable.
    pub(crate) began_ns: i64,
    bus: Bus,
    /// Last: the nodes show what lies in its folder when they are dropped.
    lan: Lan,
}

/// What a scene left behind.
pub(crate) struct Evidence {
    pub(crate) recording: Recording,
    /// The media packets.
    pub(crate) frames: Vec<Frame>,
    /// What was decoded: both sides, from frame `first_frame` on.
    pub(crate) decoded: [Vec<f32>; 2],
    pub(crate) first_frame: i64,
    /// Frames that the writer had to invent.
    pub(crate) concealed: u64,
}

impl Scene {
    /// A programme of so many seconds; returns when the first frame was seen.
    pub(crate) fn start(seconds: usize) -> Option<Scene> {
        crate::bus::require()?;
        let lan = Lan::alone(SENDERS.end)?;
        programme::of(seconds).save(&lan.dir.join("programme.wav"), &[]);
        let bus = Bus::start();
        let recorder = bus.record();
        let observer = Capture::start(&lan);
        let mut players: Vec<Node> = (0..PLAYERS)
            .map(|player| play(&lan, &bus, player, 0))
            .collect();
        players.iter_mut().for_each(Node::await_joined);
        let writer = lan.listen(WRITER, "W", &["--no-standby", "--buffer", BUFFER]);
        let path = lan.path("programme.wav");
        let mut senders = vec![lan.start(SENDER, "S5", &["send", &path, "--buffer", BUFFER])];
        for host in SENDERS.skip(1) {
            senders.push(stand_by(&lan, host, 0));
        }
        let mut scene = Scene {
            players,
            writer,
            senders,
            starts: 0,
            recorder: Some(recorder),
            observer,
            began_ns: 0,
            bus,
            lan,
        };
        wait_until(20, "the first frame", || scene.observer.media_count() > 0);
        scene.began_ns = capture::media(&scene.observer.so_far())[0].at_ns;
        for player in &mut scene.players {
            player.await_event("tuned_in", 1, 10);
        }
        Some(scene)
    }

    /// Waits until so many seconds after the first frame; says when that is.
    pub(crate) fn sleep_until_s(&self, seconds: f64) -> i64 {
        let at_ns = self.began_ns + (seconds * 1e9) as i64;
        let left_ns = u64::try_from(at_ns - now_ns()).unwrap_or(0);
        std::thread::sleep(std::time::Duration::from_nanos(left_ns));
        at_ns
    }

    /// `kill -9` of the node that is on the air, once another one has a whole copy; it is started again as a standby. Says when that
    /// was, and who was killed.
    pub(crate) fn kill_leader(&mut self) -> (i64, usize) {
        let leader = self.on_air();
        let senders = &self.senders;
        wait_until(20, "an heir with a whole copy", || {
            let heirs = (0..senders.len()).filter(|heir| *heir != leader);
            heirs.map(|heir| &senders[heir]).any(has_copy)
        });
        let at_ns = now_ns();
        self.senders[leader].signal(Signal::SIGKILL);
        self.senders[leader].wait(10);
        wait_until(10, "another node sends", || self.on_air() != leader);
        self.starts += 1;
        self.senders[leader] = stand_by(&self.lan, SENDER + leader, self.starts);
        (at_ns, leader)
    }

    /// The sender whose media packet is the newest, by its place in `senders`.
    fn on_air(&self) -> usize {
        let packets = self.observer.so_far();
        let newest = packets
            .iter()
            .rfind(|packet| packet.to.port() == capture::MEDIA_PORT);
        let from = newest.expect("frames").from.ip();
        let mut hosts = self.lan.hosts[SENDERS].iter();
        hosts
            .position(|host| from == host.ip)
            .expect("a sender of ours")
    }

    /// Ends a player as a user would and starts it again; says when it plays again.
    pub(crate) fn restart(&mut self, player: usize) -> (i64, i64) {
        let from_ns = now_ns();
        self.players[player].signal(Signal::SIGINT);
        self.players[player].wait_for_code(10, 0);
        self.starts += 1;
        self.players[player] = play(&self.lan, &self.bus, player, self.starts);
        self.players[player].await_event("tuned_in", 1, 10);
        (from_ns, now_ns())
    }

    /// SIGSTOP or SIGCONT; says when that was.
    pub(crate) fn signal(&self, player: usize, signal: Signal) -> i64 {
        self.players[player].signal(signal);
        now_ns()
    }

    /// CPU time of a player so far, with all its threads, in seconds.
    pub(crate) fn cpu_s(&self, player: usize) -> f64 {
        let pid = self.players[player].pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Ends it all.
    pub(crate) fn end(mut self) -> Evidence {
        let recording = self.recorder.take().expect("it records").stop();
        // Who holds the file closes it, and then it is whole.
        self.writer.signal(Signal::SIGINT);
        self.writer.wait_for_code(10, 0);
        let blocks = wav::read_blocks(&self.lan.wav("W"));
        let tuned_in = self.writer.events_named("tuned_in");
        Evidence {
            recording,
            frames: capture::media(&self.observer.so_far()),
            decoded: [0, 1].map(|side| wav::channel(&blocks, side)),
            first_frame: tuned_in[0]["frame"].as_i64().expect("a frame"),
            concealed: self.writer.last_stat("concealed"),
        }
    }
}

fn play(lan: &Lan, bus: &Bus, player: usize, start: usize) -> Node {
    let arguments = ["listen", "--no-standby", "--buffer", BUFFER];
    let name = format!("N{player}-{start}");
    lan.start_with(player, &name, &arguments, |command: &mut Command| {
        bus.play_as(player, command);
    })
}

fn stand_by(lan: &Lan, host: usize, start: usize) -> Node {
    let name = format!("S{host}-{start}");
    lan.start(
        host,
        &name,
        &["listen", "--output", "null", "--buffer", BUFFER],
    )
}

fn has_copy(node: &Node) -> bool {
    let copies = node.events_named("replica");
    copies.last().is_some_and(|copy| copy["complete"] == true)
}
