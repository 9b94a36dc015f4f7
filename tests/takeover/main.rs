//! The show goes on: whoever drops, in whatever way, does anybody hear it?
//!
//! On networks of namespaces, as in `tests/lan` (whose tools are used here). Five hosts play: a sender, two listeners that
//! stand by, two with `--no-standby`. A sixth runs nothing of ours and captures what is on the cable, so that nobody can
//! pass by playing a copy of his own. The capture is held against the song, encoded here without the library under test,
//! and each listener's file against the capture, decoded here.
//!
//! A stalling machine makes standbys send frames that the leader was about to send, rightly. So threads of the test itself
//! log when the machine stood still (`stalls`), and only what coincides with that is excused.
//!
//! Needs what the LAN tests need. `LANRADIO_PROOF=1` runs the full counts and writes the figures of the README (to the file
//! that FIGURES_OUT names, see `report`), `LANRADIO_KEEP=1` keeps the files. One scenario:
//! `cargo test --test takeover -- --nocapture NAME`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes read real clocks and sleep"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "tools of other tests, not all of them used here")]

#[path = "../lan/capture.rs"]
mod capture;
#[path = "../lan/measure.rs"]
mod measure;
#[path = "../lan/music.rs"]
mod music;
#[path = "../lan/net.rs"]
mod net;
#[path = "../lan/process.rs"]
mod process;
#[path = "../lan/reference.rs"]
mod reference;
#[path = "../../benches/figures/report.rs"]
mod report;
#[path = "../interop/judge.rs"]
mod sound;
#[path = "../interop/tools.rs"]
mod tools;
#[path = "../lan/wav.rs"]
mod wav;

mod clock;
mod scene;
mod song;
mod stalls;
mod wire;
mod wire_tests;

mod agreeing;
mod alone;
mod copies;
mod kills;
mod leaving;
mod newcomers;
mod players;
mod quiet;
mod returning;
mod safe;
mod strangers;
mod successors;

use report::{Figure, Goal};

/// Whether the full counts are asked for.
fn in_full() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}

/// How often something is tried: in `make test`, and in `make proof`.
fn times(test: usize, proof: usize) -> usize {
    if in_full() { proof } else { test }
}

/// Writes a figure of a full run; with fewer counts it would be none.
fn figure(
    what: &str,
    (unit, values): (&'static str, Vec<f64>),
    goal: Goal,
    note: &str,
    test: &str,
) {
    let figure = Figure {
        what: what.into(),
        unit,
        values,
        goal: Some(goal),
        note: note.into(),
        made_by: format!("LANRADIO_PROOF=1 cargo test --test takeover -- --nocapture {test}"),
    };
    if in_full() {
        figure.write().unwrap();
    }
}
