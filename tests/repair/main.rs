//! What the network drops, does anybody hear it? And how soon is a listener there?
//!
//! On networks of namespaces, as in `tests/lan` and `tests/takeover` (whose tools are used here). The listeners that are judged
//! have `--no-standby`: they hold no copy of the programme and can pass by asking only. A host that runs nothing of ours
//! captures the music, each host's cable is tapped for what was said beside it, and a second member of the group behind each
//! listener's firewall knows which frames the kernel dropped there.
//!
//! Time is measured from outside: `growth` looks at the listeners' files every millisecond, `stalls` logs when the machine stood
//! still. `traffic_tests`, `heard` and `growth` test the instruments themselves.
//!
//! Needs what the LAN tests need. `LANRADIO_PROOF=1` runs the full counts and writes the figures of the README (to the file
//! that FIGURES_OUT names, see `report`), `LANRADIO_KEEP=1` keeps the files, `LANRADIO_TELL=1`
//! prints who said what to whom where it matters. One scenario:
//! `cargo test --test repair -- --nocapture NAME`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes read real clocks and sleep"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "tools of other tests, not all of them used here")]

#[path = "../lan/capture.rs"]
mod capture;
#[path = "../takeover/clock.rs"]
mod clock;
#[path = "../lan/garbage.rs"]
mod garbage;
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
#[path = "../takeover/scene.rs"]
mod scene;
#[path = "../takeover/song.rs"]
mod song;
#[path = "../interop/judge.rs"]
mod sound;
#[path = "../takeover/stalls.rs"]
mod stalls;
#[path = "../interop/tools.rs"]
mod tools;
#[path = "../lan/wav.rs"]
mod wav;
#[path = "../takeover/wire.rs"]
mod wire;

mod growth;
mod heard;
mod holes;
mod station;
mod traffic;
mod traffic_tests;

mod audience;
mod bursts;
mod enemy;
mod kills;
mod losses;
mod others;
mod outages;
mod tuning;

use report::{Figure, Goal};

/// Whether the full counts are asked for.
fn in_full() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}

/// Whether the talk at the place in question is to be printed.
fn tells() -> bool {
    std::env::var_os("LANRADIO_TELL").is_some()
}

/// How long or how often something is tried: in `make test`, and in `make proof`.
fn times(test: usize, proof: usize) -> usize {
    if in_full() { proof } else { test }
}

/// Writes a figure of a full run; with fewer counts it would be none.
fn figure(
    what: &str,
    (unit, values): (&'static str, Vec<f64>),
    goal: Option<Goal>,
    note: &str,
    test: &str,
) {
    let figure = Figure {
        what: what.into(),
        unit,
        values,
        goal,
        note: note.into(),
        made_by: format!("LANRADIO_PROOF=1 cargo test --test repair -- --nocapture {test}"),
    };
    if in_full() {
        figure.write().unwrap();
    }
}
