//! Interfaces that go and return, addresses that change, switches that forget, firewalls that let half of it pass: is that noticed
//! within two seconds, said, and healed? What is meanwhile heard of it?
//!
//! Unicast passes throughout. Listeners with `--no-standby` have no copy that could hide what they do not get.

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{self, MsgFlags};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::capture::{self, Capture, Frame};
use crate::net::{Host, Lan, enter};
use crate::process::{Node, SUSPENDED_S, wait_until};
use crate::{music, proof, reference, wav};

const GROUP: &str = "239.255.77.77";
const SECOND: i64 = 1_000_000_000;
/// The bound on noticing.
const NOTICED: i64 = 2 * SECOND;
/// The same for a sender, with what a busy machine adds: it counts the time of the others, too.
const SENDER_NOTICED: i64 = 3 * SECOND;
/// The station's buffer.
const BUFFER: i64 = SECOND / 2;
/// What a deaf listener without a copy may miss until it knows: none, as measured; repairs have all of a second's frames, and in time, if
/// the machine lets everybody speak in time.
const FEW_FRAMES: usize = 10;
/// The sender's host.
const SENDER: usize = 0;

fn clock_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).unwrap();
    time.tv_sec() * SECOND + time.tv_nsec()
}

/// The clock of captured packets.
fn now_ns() -> i64 {
    clock_ns(ClockId::CLOCK_REALTIME)
}

fn sleep_until(at_ns: i64) {
    let left = u64::try_from(at_ns - now_ns()).unwrap_or(0);
    std::thread::sleep(Duration::from_nanos(left));
}

/// A station on air, on a bench of hosts.
struct Bench {
    capture: Capture,
    sender: Node,
    /// On host number `n` runs `listeners[n - 1]`.
    listeners: Vec<Node>,
    /// When the first frame was on the wire.
    began_ns: i64,
    /// Last: the nodes show what lies in its folder when they are dropped.
    lan: Lan,
}

/// What a listener is told on its command line.
const PLAIN: &[&str] = &["--once", "--no-standby"];
const HEIR: &[&str] = &["--once"];

impl Bench {
    /// `seconds` of music from host 0, and a listener with these flags on each host after it; `spare` more hosts.
    fn start(seconds: f64, listeners: &[&[&str]], spare: usize) -> Option<Bench> {
        Bench::on(Lan::new(1 + listeners.len() + spare)?, seconds, listeners)
    }

    fn on(lan: Lan, seconds: f64, listeners: &[&[&str]]) -> Option<Bench> {
        music::piece(48_000, 2, seconds).save(&lan.dir.join("song.wav"), &[]);
        // What arrives at the last listener, which nothing is done to. (A switch that snoops keeps it from itself.)
        let capture = Capture::at(&lan.hosts[listeners.len()]);
        let listen = |(at, flags): (usize, &&[&str])| lan.listen(at + 1, &name(at + 1), flags);
        let mut listeners: Vec<Node> = listeners.iter().enumerate().map(listen).collect();
        let song = lan.path("song.wav");
        let sender = lan.start(SENDER, "sender", &["send", "--name", "kitchen", &song]);
        for listener in &mut listeners {
            listener.await_event("tuned_in", 1, 10);
        }
        let began_ns = capture::media(&capture.so_far())[0].at_ns;
        Some(Bench {
            lan,
            capture,
            sender,
            listeners,
            began_ns,
        })
    }

    fn at_s(&self, seconds: f64) -> i64 {
        self.began_ns + (seconds * 1e9) as i64
    }

    /// Waits for a good end everywhere.
    fn end(&mut self) {
        self.sender.wait_for_code(60, 0);
        for listener in &mut self.listeners {
            listener.wait_for_code(10, 0);
        }
    }

    fn host(&self, host: usize) -> &Host {
        &self.lan.hosts[host]
    }

    /// What the node on `host` has warned of, and when.
    fn warnings(&self, host: usize) -> Vec<(i64, String)> {
        let node = match host {
            SENDER => &self.sender,
            host => &self.listeners[host - 1],
        };
        let warnings = node.events_named("warning").into_iter();
        let text = |event: &Value| event["text"].as_str().unwrap().to_owned();
        warnings
            .map(|event| (written_ns(self.host(host), &event), text(&event)))
            .collect()
    }

    /// Waits for a warning with these words; when it came. What it says is printed.
    fn await_warning(&self, host: usize, words: &str, limit_s: u64) -> i64 {
        let mut found = None;
        wait_until(limit_s, &format!("{words:?} at host {host}"), || {
            let all = self.warnings(host).into_iter();
            found = all.into_iter().find(|(_, text)| text.contains(words));
            found.is_some()
        });
        let (at_ns, text) = found.unwrap();
        println!("host {host}: {text}");
        at_ns
    }

    /// It was said within two seconds.
    fn assert_noticed(&self, host: usize, words: &str, since_ns: i64) {
        let said_ns = self.await_warning(host, words, 3);
        let after_ms = (said_ns - since_ns) / 1_000_000;
        println!("    after {after_ms} ms");
        assert!(
            said_ns - since_ns <= NOTICED,
            "{words:?} after {after_ms} ms"
        );
    }

    /// All frames of the song, each once.
    fn frames(&self) -> Vec<Frame> {
        capture::first_copies(capture::media(&self.capture.so_far()))
    }

    fn heard(&self, host: usize) -> Vec<wav::Block> {
        wav::read_blocks(&self.lan.wav(&name(host)))
    }

    /// When the frames were on the wire that were not played as they were sent at `host`, of all those that `host` should have
    /// played.
    fn wrong_at(&self, host: usize, frames: &[Frame]) -> Vec<i64> {
        let (heard, sent) = (self.heard(host), reference::decode(frames));
        let offsets = reference::offsets(frames);
        let whole = (0..).zip(&offsets).all(|(index, offset)| index == *offset);
        assert!(whole, "the observer missed some: {offsets:?}");
        assert_eq!(heard.len(), sent.len(), "host {host}: each frame once");
        let wrong = reference::different(&heard, &sent).into_iter();
        wrong.map(|index| frames[index].at_ns).collect()
    }

    /// All that was sent was played exactly, but for a few frames of the time in which this host did not know yet that it was deaf.
    fn assert_exact_but_a_few(&self, host: usize, frames: &[Frame], unaware: std::ops::Range<i64>) {
        let ever = [self.began_ns..unaware.start, unaware.end..i64::MAX];
        self.assert_exact(host, frames, &ever);
        let wrong = self.wrong_at(host, frames).len();
        assert!(wrong <= FEW_FRAMES, "host {host}: {wrong} blocks differ");
        let listener = &self.listeners[host - 1];
        let concealed = listener.last_stat("concealed");
        assert!(
            concealed <= FEW_FRAMES as u64,
            "host {host}: {concealed} frames concealed"
        );
    }

    /// What was sent in these times was played exactly.
    fn assert_exact(&self, host: usize, frames: &[Frame], times: &[std::ops::Range<i64>]) {
        let wrong = self.wrong_at(host, frames);
        let since_ms = |at_ns: &i64| (at_ns - self.began_ns) / 1_000_000;
        println!(
            "host {host}: {} blocks differ, sent {:?} to {:?} ms after the first",
            wrong.len(),
            wrong.first().map(since_ms),
            wrong.last().map(since_ms)
        );
        for time in times {
            let inside: Vec<_> = wrong.iter().filter(|at_ns| time.contains(at_ns)).collect();
            assert!(
                inside.is_empty(),
                "host {host}: {} blocks of {} to {} ms",
                inside.len(),
                since_ms(&time.start),
                since_ms(&time.end)
            );
        }
    }
}

fn name(host: usize) -> String {
    format!("listener-{host}")
}

/// When an event was written on `host`, whose boot clock is ahead of the machine's.
fn written_ns(host: &Host, event: &Value) -> i64 {
    let ahead_s = i64::from(host.clock_offset_s + SUSPENDED_S);
    let boot_ns = event["t_us"].as_i64().unwrap() * 1_000 - ahead_s * SECOND;
    boot_ns + now_ns() - clock_ns(ClockId::CLOCK_BOOTTIME)
}

#[test]
fn group_that_a_firewall_drops_is_noticed_and_said_and_the_stream_fetched_by_unicast() {
    let flags = [PLAIN, PLAIN, PLAIN, HEIR, HEIR];
    let Some(mut bench) = Bench::start(16.0, &flags, 0) else {
        return;
    };
    let cases = [
        (1, "5004", "no music arrives by multicast on lan0 though"),
        (
            2,
            "5006",
            "music arrives by multicast on lan0, and nothing from its leader",
        ),
        (
            3,
            "5004-5006",
            "nothing arrives by multicast on lan0 though",
        ),
        (
            4,
            "5004-5006",
            "nothing arrives by multicast on lan0 though",
        ),
    ];
    sleep_until(bench.at_s(3.0));
    let cut_ns = now_ns();
    for (host, ports, _) in cases {
        bench.host(host).drop_group(ports);
    }
    for (host, _, words) in cases {
        bench.assert_noticed(host, words, cut_ns);
    }
    // A node that is deaf says that it is no heir, and one without a copy has one for the moment.
    sleep_until(cut_ns + 5 * SECOND);
    let status = status(&bench);
    println!("{status}");
    let of = |host: usize| {
        let addr = format!("{}:", bench.host(host).ip);
        let nodes = status["nodes"].as_array().unwrap();
        let at = |node: &&Value| node["addr"].as_str().unwrap().starts_with(&addr);
        nodes.iter().find(at).cloned().expect("a node")
    };
    assert!(of(1)["replica_percent"].as_u64() > Some(0));
    assert!(of(3)["replica_percent"].as_u64() > Some(0));
    assert_eq!(of(5)["rank"], 0, "the heir that hears goes first");
    sleep_until(cut_ns + 7 * SECOND);
    let healed_ns = now_ns();
    for (host, ..) in cases {
        bench.host(host).let_group_in();
    }
    for (host, ..) in cases {
        bench.assert_noticed(host, "multicast is heard again on lan0", healed_ns);
    }
    bench.end();
    assert_eq!(bench.warnings(5), []);
    assert_eq!(bench.warnings(SENDER), []);
    for (host, ..) in cases {
        assert_eq!(bench.warnings(host).len(), 2, "{:?}", bench.warnings(host));
    }
    let frames = bench.frames();
    let (start, end) = (bench.began_ns, i64::MAX);
    let ever = std::slice::from_ref(&(start..end)).to_vec();
    bench.assert_exact(5, &frames, &ever);
    bench.assert_exact(2, &frames, &ever);
    bench.assert_exact(4, &frames, &ever);
    // Who keeps no replica has fetched from others, five seconds of it at least.
    for (host, is_standby) in [(1, false), (3, false), (4, true)] {
        let by = bench.listeners[host - 1]
            .events_named("stats")
            .pop()
            .unwrap()["repaired_by"]
            .clone();
        println!("host {host}: {by}");
        let of_many = if is_standby { "replica" } else { "unicast" };
        assert!(by[of_many].as_u64() > Some(250), "host {host}: {by}");
        assert_eq!(
            is_standby,
            by["replica"].as_u64() > Some(0),
            "host {host}: {by}"
        );
    }
    // A node without a copy notices after a second; until then it has repairs only.
    let noticed = cut_ns + SECOND + SECOND / 2;
    for host in [1, 3] {
        bench.assert_exact_but_a_few(host, &frames, cut_ns..noticed);
    }
    // The deaf heir covered until it knew better, and then no more; nobody took over.
    let deaf_ip = bench.host(4).ip;
    let while_deaf = |frame: &Frame| frame.from.ip() == deaf_ip && frame.at_ns < healed_ns;
    let mut covers = capture::media(&bench.capture.so_far());
    covers.retain(while_deaf);
    let last = covers.iter().map(|frame| frame.at_ns).max().unwrap_or(0);
    println!(
        "{} covers, the last one {} ms after",
        covers.len(),
        (last - cut_ns) / 1_000_000
    );
    assert!(last < cut_ns + NOTICED, "a deaf node covers");
    for event in ["took_over", "solo"] {
        assert_eq!(bench.listeners[3].events_named(event).len(), 0, "{event}");
    }
    for listener in &bench.listeners {
        assert_eq!(listener.events_named("off_air").len(), 1, "at the end");
    }
}

/// `lanradio status --json`, asked for on the host of the last listener.
fn status(bench: &Bench) -> Value {
    let host = bench.listeners.len();
    let mut command = crate::process::on(bench.host(host), crate::process::LANRADIO);
    let output = crate::net::run(command.args(["status", "--json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn listener_that_multicast_never_reached_finds_the_station_and_plays_by_unicast() {
    let Some(mut bench) = Bench::start(14.0, &[PLAIN], 2) else {
        return;
    };
    sleep_until(bench.at_s(2.5));
    for host in [2, 3] {
        bench.host(host).drop_group("5004-5006");
    }
    let started_ns = now_ns();
    for (host, flags) in [(2, PLAIN), (3, HEIR)] {
        let listener = bench.lan.listen(host, &name(host), flags);
        bench.listeners.push(listener);
    }
    for host in [2, 3] {
        bench.assert_noticed(
            host,
            "nothing arrives by multicast on lan0 though kitchen",
            started_ns,
        );
    }
    bench.end();
    let frames = bench.frames();
    let sent = reference::decode(&frames);
    for host in [2, 3] {
        let tuned_in = &bench.listeners[host - 1].events_named("tuned_in");
        assert_eq!(tuned_in.len(), 1);
        let first = tuned_in[0]["frame"].as_u64().unwrap() as usize;
        let after_ms = (frames[first].at_ns + BUFFER - started_ns) / 1_000_000;
        let heard = bench.heard(host);
        assert_eq!(heard.len(), sent.len() - first, "host {host}: to the end");
        let wrong = reference::different(&heard, &sent[first..]);
        println!("host {host}: plays from {after_ms} ms after its start on, {wrong:?} differ");
        // Until it knows that it is deaf, it has repairs only.
        let noticed = (frames.iter()).position(|frame| frame.at_ns > started_ns + NOTICED);
        let exact_from = noticed.unwrap() - first;
        assert!(wrong.iter().all(|index| *index < exact_from), "{wrong:?}");
        let concealed = bench.listeners[host - 1].last_stat("concealed");
        println!("    {concealed} concealed");
        assert!(wrong.len() <= FEW_FRAMES, "{wrong:?}");
        assert!(concealed <= FEW_FRAMES as u64, "{concealed} concealed");
        assert!(after_ms < 1_000);
    }
}

/// The switch forgets a listener, and later the sender. What the last listener is told on its command line, `last`, decides whether there
/// is an heir.
fn forgetful(igmp_version: u8, last: &[&str]) {
    let Some(lan) = Lan::new(4) else { return };
    lan.snoop(igmp_version);
    for host in &lan.hosts {
        host.report_once();
    }
    let Some(mut bench) = Bench::on(lan, 14.0, &[PLAIN, PLAIN, last]) else {
        return;
    };
    sleep_until(bench.at_s(2.5));
    for host in 0..4 {
        assert!(bench.host(host).is_known(GROUP), "host {host} has reported");
    }
    bench.host(1).be_forgotten(GROUP);
    let forgotten_ns = now_ns();
    assert!(!bench.host(1).is_known(GROUP));
    bench.assert_noticed(
        1,
        "nothing arrives by multicast on lan0 though",
        forgotten_ns,
    );
    bench.await_warning(1, "multicast is heard again on lan0", 3);
    assert!(bench.host(1).is_known(GROUP), "it has reported again");
    // The sender misses the hellos, which come once a second from each, and the others answer its calls.
    bench.host(SENDER).be_forgotten(GROUP);
    let forgotten_there_ns = now_ns();
    let said_ns = bench.await_warning(SENDER, "arrives by multicast on lan0", 4);
    let after_ns = said_ns - forgotten_there_ns;
    println!("    after {} ms", after_ns / 1_000_000);
    assert!(after_ns <= SENDER_NOTICED, "after {after_ns} ns");
    wait_until(2, "a report", || bench.host(SENDER).is_known(GROUP));
    bench.await_warning(SENDER, "multicast is heard again on lan0", 5);
    bench.end();
    let frames = bench.frames();
    let (start, end) = (bench.began_ns, i64::MAX);
    let noticed = forgotten_ns + SECOND + SECOND / 2;
    bench.assert_exact_but_a_few(1, &frames, forgotten_ns..noticed);
    for host in [2, 3] {
        bench.assert_exact(host, &frames, std::slice::from_ref(&(start..end)));
        assert_eq!(bench.warnings(host), []);
    }
}

#[test]
fn switch_that_forgets_a_node_is_reminded() {
    forgetful(3, HEIR);
}

#[test]
fn switch_that_forgets_a_node_is_reminded_in_the_old_version_of_igmp() {
    // Nobody there confirms what the sender says.
    forgetful(2, PLAIN);
}

#[test]
fn deaf_sender_that_was_replaced_learns_of_it() {
    let Some(mut bench) = Bench::start(12.0, &[HEIR, PLAIN], 0) else {
        return;
    };
    sleep_until(bench.at_s(2.5));
    bench.host(SENDER).drop_group("5004-5006");
    bench.sender.signal(Signal::SIGSTOP);
    bench.listeners[0].await_event("took_over", 1, 3);
    bench.sender.signal(Signal::SIGCONT);
    let back_ns = now_ns();
    let event = bench.sender.await_event("stepped_down", 1, 5);
    let after_ns = written_ns(bench.host(SENDER), &event) - back_ns;
    println!("stepped down after {} ms", after_ns / 1_000_000);
    assert!(after_ns <= NOTICED, "{after_ns} ns");
    bench.await_warning(SENDER, "arrives by multicast on lan0", 3);
    bench.host(SENDER).let_group_in();
    bench.await_warning(SENDER, "multicast is heard again on lan0", 3);
    bench.end();
    let frames = bench.frames();
    for host in [1, 2] {
        let ever = bench.began_ns..i64::MAX;
        bench.assert_exact(host, &frames, std::slice::from_ref(&ever));
    }
}

#[test]
fn cable_and_adapter_that_were_out_are_said_and_sound_is_back_soon_after_them() {
    let Some(mut bench) = Bench::start(14.0, &[PLAIN, PLAIN, PLAIN, HEIR, PLAIN], 0) else {
        return;
    };
    sleep_until(bench.at_s(2.5));
    let out_ns = now_ns();
    bench.host(1).cut_cable();
    bench.host(2).pull_out();
    bench.host(4).cut_cable();
    // So short that nobody missed it.
    bench.host(3).pull_out();
    bench.host(3).plug_in();
    let short_ns = now_ns();
    bench.assert_noticed(1, "lan0 has no carrier: cable out", out_ns);
    bench.assert_noticed(2, "lan0 is gone", out_ns);
    bench.assert_noticed(4, "lan0 has no carrier: cable out", out_ns);
    bench.assert_noticed(3, "lan0 was removed and made again", out_ns);
    sleep_until(out_ns + 3 * SECOND);
    bench.host(2).plug_in();
    let mended_ns = now_ns();
    bench.host(1).mend_cable();
    bench.host(4).mend_cable();
    for host in [1, 2, 4] {
        bench.assert_noticed(host, "lan0 is back, after 3.", mended_ns);
    }
    bench.end();
    let frames = bench.frames();
    let (start, end) = (bench.began_ns, i64::MAX);
    // What is played from 300 ms after the link on was sent a buffer before that.
    let soon = |back_ns: i64| back_ns + 3 * SECOND / 10 - BUFFER;
    for (host, back_ns) in [(1, mended_ns), (2, mended_ns), (3, short_ns)] {
        let right = [start..out_ns, soon(back_ns)..end];
        bench.assert_exact(host, &frames, &right);
        let told = bench.warnings(host).into_iter();
        let deaf: Vec<_> = told
            .filter(|(_, text)| text.contains("multicast"))
            .collect();
        assert_eq!(deaf, [], "a link that is down is no deafness");
    }
    // The one with a copy plays on, and nobody else notices.
    bench.assert_exact(4, &frames, std::slice::from_ref(&(start..end)));
    bench.assert_exact(5, &frames, std::slice::from_ref(&(start..end)));
    assert_eq!(bench.warnings(5), []);
}

#[test]
fn address_that_changes_is_said_and_everything_goes_on_from_the_new_one() {
    let Some(mut bench) = Bench::start(16.0, &[PLAIN, HEIR, PLAIN], 1) else {
        return;
    };
    sleep_until(bench.at_s(2.5));
    let [before, now] = [bench.host(1).ip, Ipv4Addr::new(10, 77, 0, 101)];
    let moved_ns = now_ns();
    bench.lan.hosts[1].move_to(now);
    let words = format!("lan0 has another address, {now} instead of {before}");
    bench.assert_noticed(1, &words, moved_ns);
    // The sender moves, too.
    sleep_until(bench.at_s(5.0));
    let [before, now] = [bench.host(SENDER).ip, Ipv4Addr::new(10, 77, 0, 100)];
    let moved_ns = now_ns();
    bench.lan.hosts[SENDER].move_to(now);
    let words = format!("lan0 has another address, {now} instead of {before}");
    bench.assert_noticed(SENDER, &words, moved_ns);
    // A newcomer finds it and its node API, and copies all of the song.
    let mut newcomer = bench
        .lan
        .start(4, "newcomer", &["listen", "--output", "null", "--once"]);
    let deadline_ns = now_ns() + 5 * SECOND;
    loop {
        let copy = newcomer.await_event("replica", 1, 5);
        let last = newcomer.events_named("replica").pop().unwrap_or(copy);
        if last["complete"] == true {
            break;
        }
        assert!(now_ns() < deadline_ns, "{last}");
        std::thread::sleep(Duration::from_millis(50));
    }
    bench.end();
    newcomer.wait_for_code(10, 0);
    let frames = bench.frames();
    let last = frames.last().unwrap();
    assert_eq!(last.from.ip(), now, "the sender leads from its new address");
    // A frame that was due while the sender had no address at all was never on the wire, and was asked for.
    let all = reference::frames_of(16 * 48_000);
    let hole = (reference::offsets(&frames).iter().zip(0..))
        .find_map(|(offset, index)| (*offset != index).then_some(index as usize));
    let before = hole.unwrap_or(all);
    println!("{} of {all} frames on the wire", frames.len());
    assert!(all - frames.len() <= 5);
    let sent = reference::decode(&frames);
    for host in [1, 2, 3] {
        let heard = bench.heard(host);
        reference::assert_same(&heard[..before], &sent[..before], &name(host));
        assert_eq!(heard.len(), all, "host {host}");
        let listener = &bench.listeners[host - 1];
        let counts = ["received", "concealed"].map(|count| listener.last_stat(count));
        assert_eq!(counts, [all as u64, 0], "host {host}");
        let off_air = listener.events_named("off_air");
        assert_eq!(off_air.len(), 1, "{off_air:?}");
    }
    // That the leader has moved is no reason to suspect anybody.
    assert_eq!(bench.warnings(3), []);
}

/// What a host reported of its membership, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reports(Vec<Report>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// IGMPv3 and MLDv2: a change "to exclude nothing".
    Joins,
    /// What makes a switch forget.
    Leaves,
}

impl Reports {
    /// Reads what `tap` got until now.
    fn read(tap: &socket2::Socket) -> Reports {
        use std::os::fd::AsRawFd as _;
        let mut reports = Reports::default();
        let mut buffer = [0; 2_048];
        while let Ok(length) = socket::recv(tap.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            reports.count(&buffer[..length]);
        }
        reports
    }

    fn count(&mut self, ethernet: &[u8]) {
        let (ether_type, packet) = (&ethernet[12..14], &ethernet[14..]);
        let records = match ether_type {
            // IGMP (2) in IPv4: a report of version 3 (0x22), or a leave of version 2 (0x17).
            [0x08, 0x00] if packet[9] == 2 => {
                let igmp = &packet[usize::from(packet[0] & 15) * 4..];
                self.0.extend((igmp[0] == 0x17).then_some(Report::Leaves));
                (igmp[0] == 0x22).then(|| (&igmp[8..], 8, igmp[7]))
            }
            // ICMPv6 behind a hop-by-hop header of 8 bytes: a report of version 2 (143), or a "done" of version 1 (132).
            [0x86, 0xdd] if packet[6] == 0 && packet[40] == 58 => {
                let mld = &packet[48..];
                self.0.extend((mld[0] == 132).then_some(Report::Leaves));
                (mld[0] == 143).then(|| (&mld[8..], 20, mld[7]))
            }
            _ => None,
        };
        let Some((records, length, count)) = records else {
            return;
        };
        for record in records.chunks(length).take(usize::from(count)) {
            let ours = [&[239, 255, 77, 77][..], &[0xff, 0x15]];
            if !ours.iter().any(|group| record[4..].starts_with(group)) {
                continue;
            }
            assert_eq!(record[2..4], [0, 0], "no sources");
            // To include nothing (3), to exclude nothing (4).
            match record[0] {
                3 => self.0.push(Report::Leaves),
                4 => self.0.push(Report::Joins),
                kind => panic!("a record of kind {kind}"),
            }
        }
    }
}

/// A listener renews its membership five times a second while the music plays: reported each time, and no packet is missed or comes
/// twice.
fn renewed(group: &str) {
    let Some(lan) = Lan::new(2) else { return };
    let seconds = if proof() { 201.0 } else { 12.0 };
    music::piece(48_000, 2, seconds).save(&lan.dir.join("song.wav"), &[]);
    let arguments = [
        "listen",
        "--output",
        "null",
        "--once",
        "--no-standby",
        "--group",
        group,
    ];
    let often = |command: &mut std::process::Command| {
        command.env("LANRADIO_DEBUG_RENEW_MS", "200");
    };
    let mut listener = lan.start_with(1, "listener", &arguments, often);
    listener.await_joined();
    let song = lan.path("song.wav");
    let mut sender = lan.start(0, "sender", &["send", "--group", group, &song]);
    listener.await_event("tuned_in", 1, 10);
    let port = lan.hosts[1].port.clone();
    let tap = enter(&lan.switch, move || {
        let port: &'static str = port.leak();
        capture::open_tap(port)
    });
    listener.await_event("track", 1, 5);
    sender.wait_for_code(240, 0);
    let reports = Reports::read(&tap);
    listener.wait_for_code(10, 0);
    let total = reference::frames_of((seconds * 48_000.0) as usize) as u64;
    // At its end the listener leaves.
    let Reports(mut reports) = reports;
    while reports.pop_if(|last| *last == Report::Leaves).is_some() {}
    println!("{total} frames, {} reports", reports.len());
    // The kernel says each change twice, unless the next one comes before that.
    let renewals = (seconds * 5.0) as usize;
    let sane = renewals * 8 / 10..=renewals * 2 + 2;
    assert!(sane.contains(&reports.len()), "{renewals} renewals");
    let leaves = reports.iter().filter(|report| **report == Report::Leaves);
    assert_eq!(leaves.count(), 0, "no switch was told that it leaves");
    let count = |name| listener.last_stat(name);
    assert_eq!(count("received"), total);
    // Each frame came by the stream before it was played, whatever came beside it.
    for none in ["lost", "late", "concealed", "longest_burst"] {
        assert_eq!(count(none), 0, "{none}");
    }
    // Where the machine stands still for more than 8 ms, what is only late is asked for, and comes twice.
    let asked_for = [count("repaired"), count("duplicate")];
    println!("repaired and duplicate: {asked_for:?}");
    assert!(asked_for.iter().all(|count| *count <= total / 100));
}

#[test]
fn membership_is_renewed_without_missing_a_packet() {
    renewed(GROUP);
}

#[test]
fn membership_of_an_ipv6_group_is_renewed_likewise() {
    renewed("ff15::cc52:1");
}
