//! Holes of 100 ms every 2 s, as of a radio that looks at other channels.

use std::collections::BTreeSet;

use crate::heard::assert_heard;
use crate::holes::{Ear, start_holes};
use crate::losses::{assert_counted, assert_thrifty, lost_bytes};
use crate::report::Goal;
use crate::song::Song;
use crate::station::{Roster, Station};
use crate::{figure, stalls, times};

const PLAIN: usize = 3;
/// Frames of a hole.
const HOLE: usize = 5;

/// Runs of numbers that follow each other: first and length.
fn runs(numbers: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((first, length)) if *first + *length == number => *length += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}

#[test]
fn holes_of_100_ms_every_2_s_are_repaired() {
    let seconds = times(9, 60);
    let song = Song::of(seconds + 2);
    let Some(mut station) = Station::start(&song, Roster::plain(PLAIN)) else {
        return;
    };
    station.sleep_until_s(1.0);
    let ears: Vec<_> = station
        .plain()
        .map(|host| (host, Ear::at(station.host(host))))
        .collect();
    station.sleep_until_s(1.2);
    for (host, _) in &ears {
        // Two of them at the same time, one at another.
        start_holes(station.host(*host), 10 + 30 * (host / 2));
    }
    station.end(&[]);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    let traffic = station.taps.sent();
    traffic.assert_right(&wire);
    let mut concealed = 0;
    let mut all = Vec::new();
    for (host, ear) in ears {
        let dropped = ear.dropped(&wire);
        let holes = runs(&dropped);
        let whole = holes.iter().filter(|(_, length)| *length == HOLE).count();
        println!(
            "host {host}: {} holes, {whole} of {HOLE} frames",
            holes.len()
        );
        // Where the machine stalls, a hole has fewer or more frames.
        assert!(
            whole + 1 >= seconds / 2 || !stalls::log().is_empty(),
            "{holes:?}"
        );
        assert!(whole * 4 >= seconds, "{holes:?}");
        concealed += assert_heard(&station, host, &wire);
        assert_counted(&station, host, &dropped);
        all.push((host, dropped));
    }
    assert_thrifty(&traffic, lost_bytes(&wire, &all));
    figure(
        "frames concealed with holes of 100 ms every 2 s, in a minute of three listeners",
        ("", vec![concealed as f64]),
        Some(Goal::AtMost(0.0)),
        "–",
        "holes_of_100_ms",
    );
    assert_eq!(concealed, 0);
}

#[test]
fn runs_are_what_is_next_to_each_other() {
    let numbers = BTreeSet::from([1, 4, 5, 6, 9, 10]);
    assert_eq!(runs(&numbers), [(1, 1), (4, 3), (9, 2)]);
}
