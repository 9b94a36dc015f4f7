//! A programme on the air, listeners that hold a copy and listeners that hold none, and a host that only captures.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::capture::{Capture, Frame};
use crate::net::{Host, Lan};
use crate::process::{Node, wait_until};
use crate::scene::sleep_until;
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::traffic::Taps;
use crate::wav::{self, Block};
use crate::wire::{Expected, Wire};

const SECOND: i64 = 1_000_000_000;

/// The host that sends.
pub(crate) const SENDER: usize = 0;

/// Who is on the network besides the sender and the observer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Roster {
    /// Listeners that stand by.
    pub(crate) heirs: usize,
    /// Listeners with `--no-standby`.
    pub(crate) plain: usize,
    /// Hosts that run nothing yet.
    pub(crate) spare: usize,
    /// Listeners decode and write no file, and only what the sender sends and gets is captured.
    pub(crate) silent: bool,
}

impl Roster {
    /// So many listeners with `--no-standby`, and nobody else.
    pub(crate) fn plain(plain: usize) -> Roster {
        Roster {
            plain,
            ..Roster::default()
        }
    }

    fn hosts(self) -> usize {
        1 + self.heirs + self.plain + 1 + self.spare
    }
}

/// A station on the air.
pub(crate) struct Station {
    /// On host number `n` runs `nodes[n]`.
    pub(crate) nodes: Vec<Node>,
    pub(crate) song: Arc<Song>,
    /// When the first frame was on the cable.
    pub(crate) began_ns: i64,
    pub(crate) observer: Capture,
    /// What each node's host sends and gets.
    pub(crate) taps: Taps,
    pub(crate) roster: Roster,
    /// Last: the nodes show what lies in its folder when they are dropped.
    pub(crate) lan: Lan,
}

impl Station {
    /// Beside other tests; returns when the first frame was seen.
    pub(crate) fn start(song: &Arc<Song>, roster: Roster) -> Option<Station> {
        Some(Station::on(Lan::new(roster.hosts())?, song, roster))
    }

    /// With the machine to itself.
    pub(crate) fn alone(song: &Arc<Song>, roster: Roster) -> Option<Station> {
        Some(Station::on(Lan::alone(roster.hosts())?, song, roster))
    }

    /// With the machine to itself where figures are made; else its bounds have room for others.
    pub(crate) fn measured(song: &Arc<Song>, roster: Roster) -> Option<Station> {
        if crate::in_full() {
            Station::alone(song, roster)
        } else {
            Station::start(song, roster)
        }
    }

    fn on(lan: Lan, song: &Arc<Song>, roster: Roster) -> Station {
        stalls::watch();
        let path = song.save(&lan, "song");
        let listeners = 1..1 + roster.heirs + roster.plain;
        let observer = Capture::at(&lan.hosts[listeners.end]);
        // With many, only the sender's: what a capture costs is on the account of whoever sends what it sees.
        let tapped = if roster.silent { 1 } else { listeners.end };
        let taps = Taps::at(&lan.hosts[..tapped]);
        let listen = |host: usize| listen(&lan, host, roster);
        let mut listeners: Vec<_> = listeners.map(listen).collect();
        listeners.iter_mut().for_each(Node::await_joined);
        let mut nodes = vec![lan.start(SENDER, "sender", &["send", &path])];
        nodes.extend(listeners);
        let mut station = Station {
            nodes,
            song: Arc::clone(song),
            began_ns: 0,
            observer,
            taps,
            roster,
            lan,
        };
        wait_until(20, "the first frame", || station.observer.media_count() > 0);
        station.began_ns = station.frames()[0].at_ns;
        station
    }

    /// The hosts of the listeners that stand by.
    pub(crate) fn heirs(&self) -> Range<usize> {
        1..1 + self.roster.heirs
    }

    /// The hosts of the listeners that hold no copy.
    pub(crate) fn plain(&self) -> Range<usize> {
        self.heirs().end..self.heirs().end + self.roster.plain
    }

    /// All listeners' hosts.
    pub(crate) fn listeners(&self) -> Range<usize> {
        1..self.plain().end
    }

    /// The number of spare host number `n`.
    pub(crate) fn spare(&self, n: usize) -> usize {
        self.plain().end + 1 + n
    }

    pub(crate) fn host(&self, host: usize) -> &Host {
        &self.lan.hosts[host]
    }

    /// The media packets up to now, those of strangers left out.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let mut packets = self.observer.so_far();
        let members = &self.lan.hosts[..self.listeners().end];
        packets.retain(|packet| members.iter().any(|host| packet.from.ip() == host.ip));
        crate::capture::media(&packets)
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::of(self.frames())
    }

    /// When the programme was `seconds` old.
    pub(crate) fn at_s(&self, seconds: f64) -> i64 {
        self.began_ns + (seconds * 1e9) as i64
    }

    pub(crate) fn sleep_until_s(&self, seconds: f64) {
        sleep_until(self.at_s(seconds));
    }

    /// `kill -9`, now; says when that was.
    pub(crate) fn kill(&self, host: usize) -> i64 {
        let at_ns = now_ns();
        self.nodes[host].signal(Signal::SIGKILL);
        at_ns
    }

    /// Waits until the programme is over and all nodes but the `gone` ones have ended well.
    pub(crate) fn end(&mut self, gone: &[usize]) {
        let song_s = self.song.payloads.len() as u64 / 50;
        for host in (0..self.nodes.len()).filter(|host| !gone.contains(host)) {
            self.nodes[host].wait_for_code(song_s + 60, 0);
        }
        // What was sent last is in the captures, too.
        std::thread::sleep(Duration::from_millis(60));
    }

    /// What the listener on `host` wrote.
    pub(crate) fn heard(&self, host: usize) -> Vec<Block> {
        wav::read_blocks(&self.lan.wav(&name(host)))
    }

    /// All of the song and nothing else, each frame once.
    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            payloads: self.song.payloads.iter().map(Vec::as_slice).collect(),
            ..Expected::default()
        }
    }

    /// The media port carried the whole song, each frame once, fifty a second, from one socket. (In a stall heirs cover.)
    pub(crate) fn assert_undisturbed(&self, wire: &Wire) {
        let alone = self.roster.heirs == 0 || stalls::log().is_empty();
        wire.assert(&Expected {
            one_sender_from_ns: alone.then_some(self.began_ns),
            ..self.expected()
        });
        assert_pace(wire);
    }
}

/// The name of the listener on `host`, and of its files.
pub(crate) fn name(host: usize) -> String {
    format!("listener-{host}")
}

fn listen(lan: &Lan, host: usize, roster: Roster) -> Node {
    let output = if roster.silent {
        "null".to_owned()
    } else {
        format!("file:{}", lan.wav(&name(host)).display())
    };
    let mut arguments = vec!["listen", "--once", "--output", &output];
    if host > roster.heirs {
        arguments.push("--no-standby");
    }
    lan.start(host, &name(host), &arguments)
}

/// Each whole second had fifty packets, but where the machine stood still.
pub(crate) fn assert_pace(wire: &Wire) {
    for (second, from_ns, count) in seconds(wire) {
        let said = format!("{count} packets on the media port in second {second}");
        let right = count == 50 || stalls::excuse(&said, from_ns, from_ns + SECOND);
        assert!(right, "{said}");
    }
}

/// Each whole second of the programme: its number, when it began, how many packets came. Seconds begin in the middle between two
/// frames, so that a packet may be 10 ms early or late.
fn seconds(wire: &Wire) -> Vec<(usize, i64, usize)> {
    let begin_ns = wire.due_ns(0, i64::MAX) - SECOND / 100;
    let of_second = |second: usize| {
        let from_ns = begin_ns + second as i64 * SECOND;
        let within = |at_ns: i64| (from_ns..from_ns + SECOND).contains(&at_ns);
        let packets = wire.frames.iter().filter(|frame| within(frame.at_ns));
        (second, from_ns, packets.count())
    };
    let frames = wire
        .indexes
        .iter()
        .max()
        .map_or(0, |last| *last as usize + 1);
    (0..frames / 50).map(of_second).collect()
}

#[test]
fn seconds_with_a_packet_too_many_or_too_few_are_found() {
    let frame = |index: usize, at_ms: i64| Frame {
        at_ns: at_ms * 1_000_000,
        from: "10.77.0.1:5004".parse().unwrap(),
        marker: index == 0,
        seq: index as u16,
        ts: 960 * index as u32,
        ssrc: 7,
        term_counter: 1,
        leader: 9,
        plan_digest: [0; 3],
        flags: 0,
        n_high: 0,
        opus: vec![1],
    };
    let mut frames: Vec<_> = (0..200)
        .map(|index| frame(index, 1_000 + 20 * index as i64 + index as i64 % 7))
        .collect();
    let counts = |frames: &[Frame]| -> Vec<usize> {
        let seconds = seconds(&Wire::of(frames.to_vec()));
        seconds.into_iter().map(|(.., count)| count).collect()
    };
    assert_eq!(counts(&frames), [50; 4]);
    frames.insert(71, frame(70, 2_409));
    assert_eq!(counts(&frames), [50, 51, 50, 50]);
    frames.remove(160);
    assert_eq!(counts(&frames), [50, 51, 50, 49]);
}
