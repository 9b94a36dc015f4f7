//! How long from the start of `listen` to its first sample, and is it the sound that the others hear?
//!
//! The start is the moment at which the kernel put our binary into the process that was started for it, seen from outside: before,
//! other programs ran in it, that moved it to its host. The end is the moment at which the first block stands in the file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::clock::event_ns;
use crate::growth::Growth;
use crate::process::{Node, binary, on};
use crate::report::Goal;
use crate::scene::{random_between, summary};
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::station::{Roster, Station, name};
use crate::traffic::Taps;
use crate::wav;
use crate::wire::Wire;
use crate::{figure, measure, reference, times};

/// The listener that was there from the beginning: its blocks are numbered as the station's frames.
const STEADY: usize = 1;
/// Blocks at the end that a listener fades when it is told to go.
const FADED: usize = 2;
/// From one start to the next.
const EVERY_S: f64 = 1.7;
const BUFFER_NS: i64 = 500_000_000;
const PATIENCE_NS: i64 = 5_000_000_000;

/// When process `pid` became `program`: looked for every 50 µs.
fn became_ns(pid: u32, program: &str) -> i64 {
    let exe = format!("/proc/{pid}/exe");
    let wanted = fs::canonicalize(program).unwrap();
    let deadline_ns = now_ns() + PATIENCE_NS;
    loop {
        let at_ns = now_ns();
        if fs::read_link(&exe).is_ok_and(|exe| exe == wanted) {
            return at_ns;
        }
        assert!(at_ns < deadline_ns, "{pid} did not become {program}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A listener that came to a station on the air.
struct Newcomer {
    node: Node,
    name: String,
    began_ns: i64,
}

/// What came of it.
struct Arrival {
    /// The blocks that are not what was sent at their place.
    wrong: Vec<usize>,
    /// From its start to the first sample.
    took_ms: f64,
    /// How much later than the steady listener it wrote its first block, and the later ones in the median.
    first_off_ms: f64,
    later_off_ms: f64,
    stalled: bool,
}

impl Newcomer {
    fn start(station: &Station, number: usize) -> Newcomer {
        let name = newcomer(number);
        let output = format!("file:{}", station.lan.wav(&name).display());
        let host = station.spare(number % station.roster.spare);
        let arguments = ["listen", "--once", "--no-standby", "--output", &output];
        let node = station.lan.start(host, &name, &arguments);
        let began_ns = became_ns(node.pid(), &binary());
        Newcomer {
            node,
            name,
            began_ns,
        }
    }

    /// Plays for half a second after its first block, and goes.
    fn go(&mut self, growth: &Growth, file: usize) {
        let deadline_ns = now_ns() + PATIENCE_NS;
        while growth.blocks(file) < 25 {
            assert!(now_ns() < deadline_ns, "{} plays nothing", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.node.signal(Signal::SIGINT);
        self.node.wait_for_code(5, 0);
    }

    /// Which of the station's frames it wrote, and when; the steady listener wrote them, too.
    fn judge(&self, station: &Station, wire: &Wire, growth: &Growth, file: usize) -> Arrival {
        let tuned_in = self.node.events_named("tuned_in");
        let [tuned_in] = &tuned_in[..] else {
            panic!("{}: {tuned_in:?}", self.name)
        };
        let first = tuned_in["frame"].as_u64().unwrap() as usize;
        let mut heard = wav::read_blocks(&station.lan.wav(&self.name));
        heard.truncate(heard.len() - FADED);
        let sent = &wire.blocks()[first..first + heard.len()];
        let wrong = reference::different(&heard, sent);
        let written_ns = |block: usize| growth.written_ns(file, block).expect("a block");
        let off_ms = |block: usize| {
            let steady_ns = growth
                .written_ns(0, first + block)
                .expect("a block of the steady one");
            (written_ns(block) - steady_ns) as f64 / 1e6
        };
        let took_ms = (written_ns(0) - self.began_ns) as f64 / 1e6;
        let said_ms =
            (event_ns(&station.lan.hosts[station.spare(0)], tuned_in) - self.began_ns) as f64 / 1e6;
        let later: Vec<_> = (5..heard.len()).map(off_ms).collect();
        let later_off_ms = measure::percentile(&later, 50.0);
        println!(
            "{}: frame {first} after {took_ms:.1} ms, {} blocks wrong (said so at {said_ms:.1}, and {} ms of its own), {:+.1} ms beside the other, later {later_off_ms:+.1}",
            self.name,
            wrong.len(),
            tuned_in["ms"],
            off_ms(0)
        );
        let log = stalls::log();
        Arrival {
            wrong,
            took_ms,
            first_off_ms: off_ms(0),
            later_off_ms,
            stalled: stalls::touching(&log, self.began_ns, written_ns(0), 20).is_some(),
        }
    }
}

fn newcomer(number: usize) -> String {
    format!("newcomer-{number}")
}

#[test]
fn listener_that_comes_in_the_middle_of_a_song_plays_at_once_and_in_step() {
    const TEST: &str = "comes_in_the_middle";
    let starts = times(8, 30);
    let roster = Roster {
        plain: 1,
        spare: 1,
        ..Roster::default()
    };
    let Some(mut station) =
        Station::measured(&Song::of(4 + (EVERY_S * starts as f64) as usize), roster)
    else {
        return;
    };
    let names = [name(STEADY)].into_iter().chain((0..starts).map(newcomer));
    let growth = Growth::watch(names.map(|name| station.lan.wav(&name)).collect());
    let tap = Taps::at(&station.lan.hosts[station.spare(0)..]);
    let mut newcomers = Vec::new();
    for number in 0..starts {
        // At any place within a frame, and between two heartbeats. Each takes as many repairs as half the stream has in 1.32 s.
        station.sleep_until_s(1.5 + EVERY_S * number as f64 + random_between(0.0, 0.2));
        let mut newcomer = Newcomer::start(&station, number);
        newcomer.go(&growth, 1 + number);
        newcomers.push(newcomer);
    }
    // What they play was played by the other, too.
    std::thread::sleep(Duration::from_millis(700));
    station
        .nodes
        .iter()
        .for_each(|node| node.signal(Signal::SIGINT));
    station.nodes[STEADY].wait_for_code(5, 0);
    let wire = station.wire();
    if let (Some(newcomer), true) = (newcomers.first(), crate::tells()) {
        let from_ns = newcomer.began_ns;
        station.taps.tell(from_ns, from_ns + 700_000_000);
        tap.tell(from_ns, from_ns + 700_000_000);
    }
    assert_on_the_clock(&wire, &growth);
    let judged = newcomers.iter().enumerate();
    let mut arrivals: Vec<_> = judged
        .map(|(number, newcomer)| newcomer.judge(&station, &wire, &growth, 1 + number))
        .collect();
    let wrong = arrivals.iter().map(|arrival| arrival.wrong.clone());
    let wrong: Vec<_> = wrong.collect();
    let stalled = arrivals.iter().filter(|arrival| arrival.stalled).count();
    println!("{starts} starts, {stalled} of them in a stall");
    // Those that the machine delayed say nothing about us, as long as most were not.
    if stalled * 2 < starts {
        arrivals.retain(|arrival| !arrival.stalled);
    }
    let all = |get: fn(&Arrival) -> f64| arrivals.iter().map(get).collect::<Vec<_>>();
    let took = all(|arrival| arrival.took_ms);
    let (first, later) = (
        all(|arrival| arrival.first_off_ms.abs()),
        all(|arrival| arrival.later_off_ms.abs()),
    );
    println!("start to first sample, ms: {}", summary(&took));
    println!(
        "first block beside the other listener's, ms: {}",
        summary(&first)
    );
    println!(
        "later blocks beside the other listener's, ms: {}",
        summary(&later)
    );
    let [median, p90] = [50.0, 90.0].map(|percent| measure::percentile(&took, percent));
    write_figures(took, first, stalled, TEST);
    assert!(
        wrong.iter().all(Vec::is_empty),
        "whole, exact frames from the first one on: {wrong:?}"
    );
    let off = measure::percentile(&later, 90.0);
    assert!(off <= 10.0, "out of step by {off} ms");
    if stalled * 2 < starts {
        assert!(median <= 80.0, "median {median} ms");
        assert!(p90 <= 200.0, "p90 {p90} ms");
    }
}

/// The steady listener, too, plays each frame a buffer after it was due on the cable.
fn assert_on_the_clock(wire: &Wire, growth: &Growth) {
    let late_ms = |block: usize| {
        let due_ns = wire.due_ns(block as i64, i64::MAX);
        let played_ns = growth.written_ns(0, block).expect("a block");
        (played_ns - due_ns - BUFFER_NS) as f64 / 1e6
    };
    let log = stalls::log();
    let calm = |block: &usize| {
        let due_ns = wire.due_ns(*block as i64, i64::MAX);
        stalls::touching(&log, due_ns, due_ns + BUFFER_NS, 300).is_none()
    };
    let blocks = (0..growth.blocks(0) - FADED).filter(calm);
    let late: Vec<_> = blocks.map(late_ms).collect();
    if late.is_empty() {
        return; // it never ran for so long without a stall
    }
    println!("the steady one after its time, ms: {}", summary(&late));
    let [early, median, p90] = [1.0, 50.0, 90.0].map(|percent| measure::percentile(&late, percent));
    assert!(
        early > -5.0 && median < 5.0 && p90 < 20.0,
        "{early} {median} {p90} ms"
    );
}

fn write_figures(took_ms: Vec<f64>, off_ms: Vec<f64>, stalled: usize, test: &str) {
    let p90 = measure::percentile(&took_ms, 90.0);
    figure(
        "start of `listen` in the middle of a song to its first sample, exact and in step",
        ("ms", took_ms),
        Some(Goal::AtMost(80.0)),
        "trx 90 (out of step), ffmpeg 149, Roc 235, GStreamer 303, snapcast 1,011, VLC 1,275",
        test,
    );
    figure(
        "the same, 90th percentile",
        ("ms", vec![p90]),
        Some(Goal::AtMost(200.0)),
        &format!("without {stalled} in stalls of the machine"),
        test,
    );
    figure(
        "its first sample beside that of a listener that was there",
        ("ms", off_ms),
        Some(Goal::AtMost(10.0)),
        "–",
        test,
    );
}

#[test]
fn start_of_a_program_is_seen_when_it_replaces_the_one_before_it() {
    let Some(lan) = crate::net::Lan::new(1) else {
        return;
    };
    let mut late_ms = Vec::new();
    for _ in 0..5 {
        let mut command = on(&lan.hosts[0], "sh");
        // The shell runs for 100 ms in the same process before it becomes the other program.
        let script = "sleep 0.1; date +%s%N; exec sleep 1";
        let spawned_ns = now_ns();
        let mut child = command
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let sleep = ["/usr/bin/sleep", "/bin/sleep"];
        let sleep = sleep
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap();
        let became_ns = became_ns(child.id(), sleep);
        assert!(became_ns - spawned_ns >= 100_000_000, "too early");
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let said: i64 = String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        late_ms.push((became_ns - said) as f64 / 1e6);
    }
    println!(
        "seen after the last word of the program before: {}",
        summary(&late_ms)
    );
    assert!(late_ms.iter().all(|late| *late >= -0.2), "{late_ms:?}");
    // In between it ends `date` and runs `exec`.
    assert!(measure::percentile(&late_ms, 50.0) < 10.0, "{late_ms:?}");
}
