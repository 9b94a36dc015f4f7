//! Does the judge complain about what is wrong, and about nothing else?

use crate::follow::Heard;
use crate::judge;
use crate::run::{Acts, Run, SECOND, Window};

/// A run of 60 s in which all is well: everybody is 4,800.5 samples behind.
fn good() -> Run {
    let window = |index: i64| Window {
        at_ns: index * SECOND / 4,
        heard: Heard::At(4_800.5),
        fidelity_db: vec![70.0; 5],
        late_us: Some([120.0, 100.0]),
    };
    Run {
        acts: Acts {
            settled_ns: 20 * SECOND,
            kills_ns: vec![30 * SECOND],
            restarted: (2, 25 * SECOND, 26 * SECOND),
            stopped: (1, 40 * SECOND, 42 * SECOND),
            end_ns: 60 * SECOND,
        },
        windows: vec![(0..240).map(window).collect(); 4],
        drifts_us: vec![0.0, -40.0],
        cpu_percent: vec![None; 4],
        pace_ppm: 40.0,
        concealed: 0,
        in_full: true,
    }
}

fn shift(run: &mut Run, player: usize, seconds: std::ops::Range<f64>, us: f64) {
    for window in &mut run.windows[player] {
        if seconds.contains(&(window.at_ns as f64 / 1e9)) {
            window.heard = Heard::At(4_800.5 + us * 0.048);
        }
    }
}

#[test]
fn run_in_which_all_is_well_has_no_faults() {
    let run = good();
    assert!(judge::all(&run).is_empty(), "{:?}", judge::all(&run));
    assert!(run.in_step_after_restart_s().unwrap() <= 0.25);
}

#[test]
fn one_window_that_is_too_far_is_a_fault_where_it_is_and_three_pairs_say_so() {
    let mut run = good();
    shift(&mut run, 3, 22.0..22.2, 1_001.0);
    let acts = run.acts.clone();
    assert_eq!(judge::apart(&run, &acts.calm()).len(), 3);
    assert_eq!(judge::all(&run).len(), 3);
    assert!(judge::all(&run)[0].from_ns <= 22 * SECOND);
    let mut run = good();
    shift(&mut run, 3, 22.0..22.2, 999.0);
    assert!(judge::all(&run).is_empty());
}

#[test]
fn half_the_time_too_far_is_a_fault_of_the_median() {
    let mut run = good();
    shift(&mut run, 0, 30.0..36.0, -250.0);
    let faults = judge::all(&run);
    // Not with the one that was started again: it has 20 s.
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].what.contains("median 250"), "{faults:?}");
    run.in_full = false;
    assert!(judge::all(&run).is_empty());
}

#[test]
fn who_was_stopped_has_five_seconds_and_who_was_started_again_twenty() {
    let mut run = good();
    shift(&mut run, 1, 40.0..46.9, 9_000.0);
    shift(&mut run, 2, 25.0..44.0, 9_000.0);
    assert!(judge::all(&run).is_empty(), "{:?}", judge::all(&run));
    assert!((run.in_step_after_restart_s().unwrap() - 18.0).abs() < 0.3);
    shift(&mut run, 1, 40.0..47.4, 9_000.0);
    assert!(judge::slow(&run).len() == 1 && !judge::apart(&run, &run.acts.stop()).is_empty());
    shift(&mut run, 2, 25.0..47.0, 9_000.0);
    assert_eq!(judge::slow(&run).len(), 2);
}

#[test]
fn silence_clicks_and_other_sound_are_faults_unless_nobody_was_to_play() {
    let mut run = good();
    run.windows[0][100].heard = Heard::Silence;
    run.windows[0][101].heard = Heard::Unknown;
    run.windows[0][102].fidelity_db[3] = 59.9;
    assert_eq!(judge::broken(&run).len(), 3);
    let mut run = good();
    // While it was stopped, and before it was started again.
    run.windows[1][164].heard = Heard::Silence;
    run.windows[2][101].heard = Heard::Silence;
    assert!(judge::broken(&run).is_empty());
}

#[test]
fn sound_at_another_time_and_a_timeline_that_creeps_are_faults() {
    let mut run = good();
    run.windows[3][90].late_us = Some([300.0, -1_100.0]);
    assert_eq!(judge::late(&run).len(), 1);
    run.drifts_us.push(501.0);
    assert_eq!(judge::crept(&run).len(), 1);
}
