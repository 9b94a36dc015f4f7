//! Many listeners, each with a twentieth of all packets lost by its own dice: what does it cost?

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::enemy::AT_FIRST;
use crate::heard::count;
use crate::process::Node;
use crate::report::Goal;
use crate::scene::{sleep_until, summary};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::station::{Roster, SENDER, Station, name};
use crate::traffic::Traffic;
use crate::{figure, in_full, times};

const SECOND: i64 = 1_000_000_000;
/// Repairs and requests may be at most so much of the music.
const BUDGET: f64 = 0.5;

/// CPU time that a process has used.
fn cpu(node: &Node) -> Duration {
    let pid = Pid::from_raw(node.pid().cast_signed());
    let clock = ClockId::pid_cpu_clock_id(pid).and_then(clock_gettime);
    clock.unwrap().into()
}

/// What was sent between two times.
fn sent_between(station: &Station, from_ns: i64, to_ns: i64) -> Traffic {
    let mut packets = station.taps.at_host(SENDER);
    packets.retain(|packet| (from_ns..to_ns).contains(&packet.at_ns));
    let hosts: Vec<_> = station
        .lan
        .hosts
        .iter()
        .map(|host| host.ip.into())
        .collect();
    Traffic::of(&packets, &hosts)
}

#[test]
fn many_listeners_with_loss_of_their_own_cost_half_the_stream_at_most() {
    const TEST: &str = "many_listeners";
    let (listeners, seconds) = (times(15, 50), times(10, 30));
    let roster = Roster {
        silent: true,
        ..Roster::plain(listeners)
    };
    let Some(mut station) = Station::alone(&Song::of(seconds + 12), roster) else {
        return;
    };
    for host in station.plain() {
        station.host(host).start_loss_of_all(50);
    }
    // By then the song is encoded, and the listeners have asked for what they missed.
    let from_ns = station.at_s(3.0).max(now_ns() + SECOND);
    sleep_until(from_ns);
    let cpu_before = cpu(&station.nodes[SENDER]);
    let to_ns = from_ns + seconds as i64 * SECOND;
    sleep_until(to_ns);
    let used = (cpu(&station.nodes[SENDER]) - cpu_before).as_secs_f64();
    let took = (now_ns() - from_ns) as f64 / 1e9;
    // All were there to the end: their counters are of the same time.
    let stats: Vec<_> = station
        .plain()
        .map(|host| totals(&station.nodes[host]))
        .collect();
    let traffic = sent_between(&station, from_ns, to_ns);
    // With the song's end or without it: what was to be measured is.
    station
        .nodes
        .iter()
        .for_each(|node| node.signal(Signal::SIGINT));
    for host in station.plain() {
        station.nodes[host].wait_for_code(20, 0);
    }
    let wire = station.wire();
    traffic.assert_right(&wire);
    crate::station::assert_pace(&wire);
    assert!(wire.repeats().is_empty(), "{:?}", wire.repeats());

    let of_stream = |bytes: usize| bytes as f64 / traffic.media.bytes as f64;
    let (repairs, nacks) = (traffic.repairs(), traffic.nacks);
    println!(
        "{listeners} listeners, {seconds} s: {} bytes of music; {} repairs ({} to the group), {:.3} of it; {} requests for {} frames, {:.3} of it; the rest {:.3}",
        traffic.media.bytes,
        repairs.packets,
        traffic.multicast.packets,
        of_stream(repairs.bytes),
        nacks.packets,
        traffic.nacked,
        of_stream(nacks.bytes),
        of_stream(traffic.rest.bytes),
    );
    let concealed: Vec<_> = stats.iter().map(|stats| stats[0] as f64).collect();
    let repaired: Vec<_> = stats.iter().map(|stats| stats[1] as f64).collect();
    println!("concealed by each listener: {}", summary(&concealed));
    println!("repaired at each listener: {}", summary(&repaired));
    let cpu_percent = 100.0 * used / took;
    println!("the leader's CPU: {cpu_percent:.2} % of a core");
    let lost = 0.05 * (seconds * 50) as f64;
    assert!(
        repaired.iter().all(|repaired| *repaired > lost / 8.0),
        "everybody is helped: {repaired:?}"
    );
    // Half of the stream is half of what they need, and each repair that goes to the group serves two and more.
    let helped = repaired.iter().sum::<f64>() / repaired.len() as f64;
    assert!(
        helped > lost / 2.0,
        "{helped} of {lost} frames are repaired"
    );
    write_figures(&traffic, &concealed, seconds, cpu_percent, TEST);
    // In so short a time as that of `make test` what was saved before is spent, too.
    let saved = if in_full() { 0 } else { AT_FIRST };
    let most = BUDGET * traffic.media.packets as f64 + saved as f64;
    assert!(
        repairs.packets as f64 <= most,
        "{repairs:?}, {most} packets"
    );
    let part = of_stream(repairs.bytes);
    assert!(!in_full() || part <= BUDGET, "{part} of the stream");
    assert!(
        !in_full() || cpu_percent <= 5.0,
        "{cpu_percent} % of a core"
    );
}

/// Concealed and repaired, up to the last statistics.
fn totals(node: &Node) -> [usize; 2] {
    ["concealed", "repaired"].map(|field| count(node, field))
}

fn write_figures(traffic: &Traffic, concealed: &[f64], seconds: usize, cpu: f64, test: &str) {
    let listeners = concealed.len();
    let percent = |bytes: usize| vec![100.0 * bytes as f64 / traffic.media.bytes as f64];
    let to_group =
        100.0 * traffic.multicast.packets as f64 / traffic.repairs().packets.max(1) as f64;
    figure(
        &format!("{listeners} listeners that lose 5 % each: all repairs, of the stream"),
        ("%", percent(traffic.repairs().bytes)),
        Some(Goal::AtMost(100.0 * BUDGET)),
        &format!(
            "{to_group:.0} % of the answers went to the group; without them it would be {:.0} %",
            5.0 * listeners as f64
        ),
        test,
    );
    figure(
        &format!("{listeners} listeners that lose 5 % each: the leader’s CPU"),
        ("%", vec![cpu]),
        Some(Goal::AtMost(5.0)),
        "of a core, while it answers all of them",
        test,
    );
    let frames = (seconds * 50) as f64;
    figure(
        &format!("{listeners} listeners that lose 5 % each: frames concealed, at each of them"),
        (
            "%",
            concealed
                .iter()
                .map(|count| 100.0 * count / frames)
                .collect(),
        ),
        None,
        "the budget rules: what many miss at once is sent once, to all",
        test,
    );
}

#[test]
fn names_of_many_listeners_are_different() {
    let names: std::collections::BTreeSet<_> = (1..60).map(name).collect();
    assert_eq!(names.len(), 59);
}
