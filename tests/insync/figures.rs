//! What a run in full measured, as rows of the table of figures.

use std::ops::Range;

use crate::judge::{APART_US, DRIFT_US, FIDELITY_DB, LATE_US, MEDIAN_US, Pair};
use crate::measure::percentile;
use crate::report::{Figure, Goal};
use crate::run::Run;

/// Writes them all.
pub(crate) fn write(run: &Run) {
    let acts = &run.acts;
    for (when, span) in [
        (
            "nobody disturbed, from 20 s after their first start",
            acts.calm(),
        ),
        (
            "through ten kills of the leader and a restart",
            acts.kills(),
        ),
        (
            "from 5 s after one of them was stopped for 2 s",
            acts.stop(),
        ),
    ] {
        apart(run, when, &span);
    }
    let late: Vec<f64> = (0..run.windows.len())
        .flat_map(|player| run.judged(player, acts.all()))
        .filter_map(|window| window.late_us)
        .map(|[by_leader, _]| by_leader.abs())
        .collect();
    let most = |values: &[f64]| percentile(values, 100.0);
    let note = format!(
        "against the packets on the wire; median {:.0} µs",
        percentile(&late, 50.0)
    );
    row(
        "frame heard at another time than due + buffer, most at any time",
        "µs",
        most(&late),
        Goal::AtMost(LATE_US),
        &note,
    );
    let crept: Vec<f64> = run.drifts_us.iter().map(|us| us.abs()).collect();
    row(
        "the tenth new leader’s timeline beside the first one’s",
        "µs",
        crept.last().copied().unwrap_or_default(),
        Goal::AtMost(DRIFT_US),
        "nobody’s bias adds up",
    );
    // Of a build that was not optimised it would say nothing.
    if std::env::var_os("LANRADIO_BINARY").is_some() {
        let cpu = run
            .cpu_percent
            .iter()
            .flatten()
            .copied()
            .fold(0.0, f64::max);
        row(
            "`listen --no-standby` on a sound device through all that, CPU, most of three",
            "%",
            cpu,
            Goal::AtMost(2.0),
            "of a core, of the optimised build that `LANRADIO_BINARY` names",
        );
    }
    let fidelity = (0..run.windows.len())
        .flat_map(|player| run.judged(player, acts.all()))
        .flat_map(|window| window.fidelity_db.iter().copied())
        .fold(f64::INFINITY, f64::min);
    row(
        "what is heard beside what was decoded, least at any time",
        "dB",
        fidelity,
        Goal::AtLeast(FIDELITY_DB),
        "a sine, of each of four devices; nothing missing, nothing that clicks",
    );
}

fn apart(run: &Run, when: &str, span: &Range<i64>) {
    let pairs = run.pairs(span);
    let sizes = pairs.iter().map(|Pair { behind_us, .. }| -> Vec<f64> {
        behind_us.iter().map(|(_, us)| us.abs()).collect()
    });
    let sizes: Vec<Vec<f64>> = sizes.filter(|sizes| !sizes.is_empty()).collect();
    let worst = |percent: f64| {
        let of_pairs = sizes.iter().map(|sizes| percentile(sizes, percent));
        of_pairs.fold(0.0, f64::max)
    };
    let all = sizes.concat();
    let note = format!(
        "pairs of four real streams on one bus, recorded to the sample; median of all {:.0} µs",
        percentile(&all, 50.0)
    );
    row(
        &format!("two listeners apart, {when}: median of the worst pair"),
        "µs",
        worst(50.0),
        Goal::AtMost(MEDIAN_US),
        &note,
    );
    row(
        &format!("two listeners apart, {when}: most at any time"),
        "µs",
        worst(100.0),
        Goal::AtMost(APART_US),
        "–",
    );
}

fn row(what: &str, unit: &'static str, value: f64, goal: Goal, note: &str) {
    let figure = Figure {
        what: what.to_owned(),
        unit,
        values: vec![value],
        goal: Some(goal),
        note: note.to_owned(),
        made_by: "LANRADIO_PROOF=1 cargo test --test insync -- --nocapture".to_owned(),
    };
    figure.write().expect("a file");
}
