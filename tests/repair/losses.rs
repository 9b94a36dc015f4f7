//! Random loss at every listener, of everything: what is heard of it, and what does the repair cost?

use std::collections::BTreeSet;
use std::time::Duration;

use crate::heard::{assert_heard, count};
use crate::holes::Ear;
use crate::report::Goal;
use crate::song::Song;
use crate::stalls;
use crate::station::{Roster, Station};
use crate::traffic::Traffic;
use crate::wire::Wire;
use crate::{figure, times};

/// The default buffer.
const BUFFER_NS: i64 = 500_000_000;

/// Listeners that lose packets, and what tells which.
pub(crate) struct Lossy {
    ears: Vec<(usize, Ear)>,
}

impl Lossy {
    /// From now on these hosts lose so much of all that comes by UDP, each by its own dice.
    pub(crate) fn start(
        station: &Station,
        hosts: impl IntoIterator<Item = usize>,
        per_mille: u32,
    ) -> Lossy {
        let ears = hosts
            .into_iter()
            .map(|host| (host, Ear::at(station.host(host))));
        let ears: Vec<_> = ears.collect();
        // Each has heard a frame before the first one is lost.
        std::thread::sleep(Duration::from_millis(100));
        for (host, _) in &ears {
            station.host(*host).start_loss_of_all(per_mille);
        }
        Lossy { ears }
    }

    /// The frames that each host lost.
    pub(crate) fn dropped(&self, wire: &Wire) -> Vec<(usize, BTreeSet<usize>)> {
        let dropped = |(host, ear): &(usize, Ear)| (*host, ear.dropped(wire));
        self.ears.iter().map(dropped).collect()
    }
}

/// The listener's own count of repaired frames is that of the frames which its host dropped. A frame that was asked for and came
/// after all is among the repaired ones, and its other copy among the duplicates.
pub(crate) fn assert_counted(station: &Station, host: usize, dropped: &BTreeSet<usize>) {
    let node = &station.nodes[host];
    let [repaired, concealed, duplicate] =
        ["repaired", "concealed", "duplicate"].map(|field| count(node, field));
    let lost = dropped.len();
    println!(
        "host {host}: {lost} dropped, {repaired} repaired, {concealed} concealed, {duplicate} twice"
    );
    assert!(
        (lost..=lost + duplicate).contains(&(repaired + concealed)),
        "host {host}: {lost} dropped, {repaired} repaired, {concealed} concealed, {duplicate} twice"
    );
}

/// Bytes of the media packets that these hosts lost.
pub(crate) fn lost_bytes(wire: &Wire, dropped: &[(usize, BTreeSet<usize>)]) -> usize {
    const HEADER: usize = 32;
    let size = |index: &usize| HEADER + wire.payload(*index).len();
    let all = dropped.iter().flat_map(|(_, indexes)| indexes);
    all.map(size).sum()
}

/// Says what was said, and that the answers are at most half as many bytes more than what was lost.
pub(crate) fn assert_thrifty(traffic: &Traffic, lost: usize) {
    let repairs = traffic.repairs();
    let times_lost = repairs.bytes as f64 / lost as f64;
    println!(
        "{} repairs ({} to the group) of {} bytes: {times_lost:.3} times the loss; {} requests of {} bytes for {} frames; the rest {} bytes",
        repairs.packets,
        traffic.multicast.packets,
        repairs.bytes,
        traffic.nacks.packets,
        traffic.nacks.bytes,
        traffic.nacked,
        traffic.rest.bytes,
    );
    assert!(times_lost <= 1.5, "{times_lost} times the loss");
}

/// So much loss for a minute, at a station whose sender lives.
fn lose(per_cent: u32, listeners: usize, most_concealed: f64, test: &str) {
    let seconds = times(8, 60);
    let song = Song::of(seconds + 2);
    let Some(mut station) = Station::start(&song, Roster::plain(listeners)) else {
        return;
    };
    station.sleep_until_s(1.5);
    let lossy = Lossy::start(&station, station.plain(), per_cent * 10);
    // To the very end: the last frames are repaired, too, and the word that it is over comes through.
    station.end(&[]);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    let traffic = station.taps.sent();
    traffic.assert_right(&wire);
    if crate::tells() {
        let end = wire.sent_ns(wire.len() - 1);
        println!("last seq {}", wire.frames.last().unwrap().seq);
        station.taps.tell(end - 100_000_000, end + 900_000_000);
    }
    let mut concealed = 0;
    let dropped = lossy.dropped(&wire);
    for (host, dropped) in &dropped {
        concealed += assert_heard(&station, *host, &wire);
        assert_counted(&station, *host, dropped);
    }
    let frames = listeners * seconds * 50;
    let residual = 100.0 * concealed as f64 / frames as f64;
    println!("{per_cent} %: {concealed} of {frames} frames concealed, {residual:.4} %");
    assert_thrifty(&traffic, lost_bytes(&wire, &dropped));
    assert!(residual <= most_concealed, "{residual} % concealed");
    let of_stream = traffic.repairs().bytes as f64 / (traffic.media.bytes * listeners) as f64;
    write_figures(per_cent, residual, most_concealed, 100.0 * of_stream, test);
}

fn write_figures(per_cent: u32, residual: f64, most: f64, overhead: f64, test: &str) {
    let others = match per_cent {
        5 => "GStreamer 8.5, with FEC 0.18; Roc 0.9; snapcast 0 at 1 s, 0.6 at 0.3 s",
        10 => "GStreamer 14.9, with FEC 0.76; Roc 1.5; snapcast 0 at 1 s, 5.2 at 0.3 s",
        20 => "GStreamer 31.8, with FEC 5.7; Roc 2.1; snapcast 10.8 at 1 s, 23.9 at 0.3 s",
        _ => "–",
    };
    figure(
        &format!(
            "frames concealed at {per_cent} % random loss of all packets, default buffer, no copy of the programme"
        ),
        ("%", vec![residual]),
        Some(Goal::AtMost(most)),
        others,
        test,
    );
    figure(
        &format!("repairs for one listener at {per_cent} % loss, of the stream"),
        ("%", vec![overhead]),
        Some(Goal::AtMost(1.5 * f64::from(per_cent))),
        "GStreamer’s FEC 50; Roc 16 times the bytes",
        test,
    );
}

#[test]
fn at_one_per_cent_of_loss_nothing_is_concealed() {
    lose(1, 3, 0.0, "at_one_per_cent");
}

#[test]
fn at_five_per_cent_of_loss_nothing_is_concealed() {
    lose(5, 3, 0.0, "at_five_per_cent");
}

#[test]
fn at_ten_per_cent_of_loss_nothing_is_concealed() {
    lose(10, 3, 0.0, "at_ten_per_cent");
}

#[test]
fn at_twenty_per_cent_of_loss_a_frame_of_ten_thousand_may_be_concealed() {
    lose(20, 3, 0.01, "at_twenty_per_cent");
}

#[test]
fn without_loss_nothing_is_asked_for() {
    let roster = Roster {
        heirs: 1,
        ..Roster::plain(2)
    };
    let Some(mut station) = Station::start(&Song::of(times(6, 60)), roster) else {
        return;
    };
    station.end(&[]);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    for host in station.listeners() {
        assert_eq!(assert_heard(&station, host, &wire), 0);
    }
    let traffic = station.taps.sent();
    println!(
        "{} requests, {} answers",
        traffic.nacks.packets,
        traffic.repairs().packets
    );
    for at_ns in &traffic.nacked_ns {
        // What was asked for should have come within the buffer before.
        let excused = stalls::excuse("a request", at_ns - BUFFER_NS, *at_ns);
        assert!(excused, "a request though nothing was lost");
    }
}
