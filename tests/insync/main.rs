//! Do all players sound as one, whatever happens to the station? To a millisecond, by a recording of all of them at once.
//!
//! Four real listeners play through cpal into one sound server ([`bus`]), each with a network and clocks of its own; leaders are
//! killed, a listener is started again, one is stopped ([`run`]). The recording is exact to the sample; it is followed window by window
//! ([`follow`]), held against the machine's clock and the packets on the cable ([`lines`], [`grid`]), and judged ([`judge`]).
//!
//! All tests judge one run. Needs what the LAN and the sound tests need. `LANRADIO_PROOF=1` kills ten leaders instead of two, and
//! writes figures (also to the file that FIGURES_OUT names); the table of what was measured is printed with `cargo test --test insync -- --nocapture`.
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
#[path = "../sound/server.rs"]
mod server;
#[path = "../takeover/stalls.rs"]
mod stalls;
#[path = "../lan/wav.rs"]
mod wav;

mod bus;
mod bus_tests;
mod figures;
mod follow;
mod follow_tests;
mod grid;
mod judge;
mod judge_tests;
mod lines;
mod programme;
mod run;
mod scene;

use judge::Fault;
use run::{RUN, Run};

/// Whether the full counts are asked for.
pub(crate) fn in_full() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}

/// Judges the one run, if it can be made here.
#[track_caller]
fn assert_none(faults: impl FnOnce(&Run) -> Vec<Fault>) {
    let Some(run) = RUN.as_ref() else {
        return;
    };
    let faults = faults(run);
    let first: Vec<_> = faults.iter().take(12).map(|fault| &fault.what).collect();
    assert!(faults.is_empty(), "{} faults: {first:#?}", faults.len());
}

#[test]
fn listeners_that_nobody_disturbs_are_a_millisecond_apart_at_most() {
    assert_none(|run| judge::apart(run, &run.acts.calm()));
}

#[test]
fn listeners_stay_together_while_one_leader_after_the_other_is_killed() {
    assert_none(|run| judge::apart(run, &run.acts.kills()));
}

#[test]
fn listener_that_was_started_again_or_stopped_is_in_step_soon() {
    assert_none(judge::slow);
}

#[test]
fn others_stay_together_while_a_listener_is_stopped_and_afterwards_all_do() {
    assert_none(|run| judge::apart(run, &run.acts.stop()));
}

#[test]
fn nothing_is_missing_and_nothing_clicks_whoever_is_on_the_air() {
    assert_none(judge::broken);
}

#[test]
fn each_frame_is_heard_a_buffer_after_it_is_due_and_no_kill_adds_to_that() {
    assert_none(judge::late);
}

#[test]
fn timeline_of_the_last_leader_is_that_of_the_first() {
    assert_none(judge::crept);
}
