//! Five hosts with a programme on the air, and a sixth that only captures.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::capture::{Capture, Frame, MEDIA_PORT};
use crate::clock::event_ns;
use crate::net::Lan;
use crate::process::{Node, wait_until};
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::wav::{self, Block};
use crate::wire::{Expected, Wire};
use crate::{measure, reference};

/// The host that sends.
pub(crate) const SENDER: usize = 0;
/// The listeners that stand by.
pub(crate) const HEIRS: [usize; 2] = [1, 2];
/// The listeners with `--no-standby`.
pub(crate) const PLAIN: [usize; 2] = [3, 4];
pub(crate) const LISTENERS: [usize; 4] = [1, 2, 3, 4];
/// The host that captures, and runs nothing of ours.
pub(crate) const OBSERVER: usize = 5;
/// The first of the hosts beyond these.
pub(crate) const SPARE: usize = 6;

const NAMES: [&str; 5] = ["S", "L1", "L2", "N1", "N2"];

/// A station on the air.
pub(crate) struct Scene {
    /// On host number `n` runs `nodes[n]`.
    pub(crate) nodes: Vec<Node>,
    pub(crate) song: Arc<Song>,
    /// When the first frame was on the cable.
    pub(crate) began_ns: i64,
    pub(crate) observer: Capture,
    /// Last: the nodes show what lies in its folder when they are dropped.
    pub(crate) lan: Lan,
}

impl Scene {
    /// All five, with default flags; returns when the first frame was seen.
    pub(crate) fn start(song: &Arc<Song>) -> Option<Scene> {
        Scene::with(song, &[], &LISTENERS, 0)
    }

    /// The same, while no other test of this binary uses the machine.
    pub(crate) fn alone(song: &Arc<Song>) -> Option<Scene> {
        Some(Scene::on(Lan::alone(SPARE)?, song, &[], &LISTENERS))
    }

    /// With these options of `send`, these listeners (the first so many of [`LISTENERS`]), and so many hosts beyond.
    pub(crate) fn with(
        song: &Arc<Song>,
        options: &[&str],
        listeners: &[usize],
        spare: usize,
    ) -> Option<Scene> {
        let lan = Lan::new(SPARE + spare)?;
        Some(Scene::on(lan, song, options, listeners))
    }

    fn on(lan: Lan, song: &Arc<Song>, options: &[&str], listeners: &[usize]) -> Scene {
        stalls::watch();
        let path = song.save(&lan, "song");
        let observer = Capture::at(&lan.hosts[OBSERVER]);
        let listeners: Vec<_> = listeners.iter().map(|host| listen(&lan, *host)).collect();
        let mut arguments = vec!["send"];
        arguments.extend(options);
        arguments.push(&path);
        let mut nodes = vec![lan.start(SENDER, NAMES[SENDER], &arguments)];
        nodes.extend(listeners);
        let mut scene = Scene {
            nodes,
            song: Arc::clone(song),
            began_ns: 0,
            observer,
            lan,
        };
        wait_until(10, "the first frame", || scene.observer.media_count() > 0);
        scene.began_ns = scene.frames()[0].at_ns;
        scene
    }

    /// The media packets up to now.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        crate::capture::media(&self.observer.so_far())
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

    /// Which of the five hosts has this address.
    pub(crate) fn host_of(&self, address: IpAddr) -> usize {
        let found = self.lan.hosts.iter().position(|host| host.ip == address);
        found.unwrap_or_else(|| panic!("{address} is none of our hosts"))
    }

    pub(crate) fn ip_of(&self, host: usize) -> IpAddr {
        self.lan.hosts[host].ip.into()
    }

    /// The host whose media packet is the newest.
    pub(crate) fn on_air_now(&self) -> usize {
        self.host_of(self.frames().last().expect("frames").from.ip())
    }

    /// Waits until another host than `old` sends; returns its first packet. Looks every millisecond.
    pub(crate) fn await_other_sender(&self, old: usize, after_ns: i64) -> Frame {
        let old = self.ip_of(old);
        let deadline_ns = now_ns() + 5_000_000_000;
        loop {
            let packets = self.observer.so_far();
            let other = packets
                .iter()
                .rev()
                .take_while(|packet| packet.at_ns >= after_ns);
            let of_media = |packet: &&crate::capture::Packet| {
                packet.to.port() == MEDIA_PORT && packet.from.ip() != old
            };
            if let Some(packet) = other.filter(of_media).last() {
                return Frame::read(packet);
            }
            assert!(now_ns() < deadline_ns, "nobody sends but {old}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the programme is over and all nodes but the `gone` ones have ended well.
    pub(crate) fn end(&mut self, gone: &[usize]) {
        let song_s = self.song.payloads.len() as u64 / 50;
        for host in (0..self.nodes.len()).filter(|host| !gone.contains(host)) {
            self.nodes[host].wait_for_code(song_s + 60, 0);
        }
    }

    /// When an event of the node on `host` was written, on the clock of the captured packets.
    pub(crate) fn event_ns(&self, host: usize, event: &Value) -> i64 {
        event_ns(&self.lan.hosts[host], event)
    }

    /// The events of this name at `host` after `after_ns`, and when they were.
    pub(crate) fn events_after(&self, host: usize, name: &str, after_ns: i64) -> Vec<(i64, Value)> {
        let events = self.nodes[host].events_named(name).into_iter();
        events
            .map(|event| (self.event_ns(host, &event), event))
            .filter(|(at_ns, _)| *at_ns >= after_ns)
            .collect()
    }

    /// All of the song and nothing else; troubles and the last sender are added by the test.
    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            payloads: self.song.payloads.iter().map(Vec::as_slice).collect(),
            ..Expected::default()
        }
    }

    /// What the listener on `host` wrote.
    pub(crate) fn heard(&self, host: usize) -> Vec<Block> {
        wav::read_blocks(&self.lan.wav(NAMES[host]))
    }

    /// Each of the listeners on `hosts` wrote exactly what was sent, from its first frame, and concealed nothing.
    pub(crate) fn assert_heard(&self, hosts: &[usize], wire: &Wire) {
        let blocks = wire.blocks();
        for &host in hosts {
            let heard = self.heard(host);
            let excused = |at: &usize| {
                // It is played a buffer after it was sent, and what is concealed can be heard for three frames more.
                let sent_ns = wire.sent_ns(*at);
                stalls::excuse(&format!("block {at}"), sent_ns, sent_ns + 600_000_000)
            };
            let different = reference::different(&heard, &blocks);
            if heard.len() != blocks.len() || !different.iter().all(excused) {
                reference::assert_same(&heard, &blocks, NAMES[host]);
            }
            for counter in ["concealed", "late", "lost"] {
                self.assert_none(host, counter);
            }
        }
    }

    /// A counter of `host` did not grow, but in seconds in which the machine stood still.
    fn assert_none(&self, host: usize, counter: &str) {
        let (mut before, mut before_ns) = (0, self.began_ns);
        for (at_ns, stats) in self.events_after(host, "stats", 0) {
            let count = stats[counter].as_u64().expect(counter);
            let said = format!("{count} {counter} at {}", NAMES[host]);
            assert!(
                count == before || stalls::excuse(&said, before_ns, at_ns),
                "{said}"
            );
            (before, before_ns) = (count, at_ns);
        }
        assert!(before_ns > self.began_ns, "no stats of {}", NAMES[host]);
    }

    /// Nobody took over, unless the machine stood still in the silence before: `took_over` events, and when they were written.
    pub(crate) fn assert_no_claims(claims: &[(i64, Value)]) {
        for (at_ns, claim) in claims {
            let silence_ns = claim["silence_ms"].as_i64().expect("silence_ms") * 1_000_000;
            let said = claim.to_string();
            assert!(stalls::excuse(&said, at_ns - silence_ns, *at_ns), "{said}");
        }
    }

    /// The reason of the only `off_air` of `host`.
    pub(crate) fn off_air(&self, host: usize) -> String {
        let events = self.nodes[host].events_named("off_air");
        let [event] = &events[..] else {
            panic!("one off_air at {}, not {events:?}", NAMES[host])
        };
        event["reason"].as_str().unwrap().to_owned()
    }
}

fn listen(lan: &Lan, host: usize) -> Node {
    let options: &[&str] = if PLAIN.contains(&host) {
        &["--once", "--no-standby"]
    } else {
        &["--once"]
    };
    lan.listen(host, NAMES[host], options)
}

pub(crate) fn sleep_until(at_ns: i64) {
    let left = u64::try_from(at_ns - now_ns()).unwrap_or(0);
    std::thread::sleep(Duration::from_nanos(left));
}

/// A number between `from` and `to`, another one each time. Tests print what came of it.
pub(crate) fn random_between(from: f64, to: f64) -> f64 {
    let dice = RandomState::new().build_hasher().finish();
    from + (to - from) * (dice as f64 / u64::MAX as f64)
}

/// "median 34.1, p90 51.0 (29.9 to 51.0, n = 5)".
pub(crate) fn summary(values: &[f64]) -> String {
    let [least, median, p90, most] =
        [0.0, 50.0, 90.0, 100.0].map(|percent| measure::percentile(values, percent));
    let count = values.len();
    format!("median {median:.1}, p90 {p90:.1} ({least:.1} to {most:.1}, n = {count})")
}
