//! Is what was measured in step? The bounds, and what is judged by them.
//!
//! A player is judged from when it had 20 s to settle, when it is started or started again. One that was stopped has to be there again 5 s
//! after SIGCONT, and has 20 s until it counts for the median. Each fault has a time, since the machine may have stood still.

use std::ops::Range;

use crate::follow::Heard;
use crate::measure::percentile;
use crate::run::{Acts, Run, SECOND, Window};

/// No two players are ever further apart.
pub(crate) const APART_US: f64 = 1_000.0;
/// Half the time they are not further apart, in a full run: in a short one the devices are still being learned.
pub(crate) const MEDIAN_US: f64 = 200.0;
/// Each piece is what was decoded, to this.
pub(crate) const FIDELITY_DB: f64 = 60.0;
/// Nothing is heard further from its time.
pub(crate) const LATE_US: f64 = 1_000.0;
/// The timeline of the last leader is not further from that of the first.
pub(crate) const DRIFT_US: f64 = 500.0;
/// How long a player may take to be in step after it tuned in, and after it was stopped.
const TUNED_NS: i64 = 20 * SECOND;
const STOPPED_NS: i64 = 5 * SECOND;
/// What is heard around an act is not the same at both ends of a window.
const EDGE_NS: i64 = SECOND / 4;
/// So long in step is in step.
const LASTING: usize = 4;

/// Something that is wrong, and when.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
}

/// A pair of players and the windows in which both were judged: when, and how far the first is behind, in microseconds.
pub(crate) struct Pair {
    pub(crate) players: [usize; 2],
    pub(crate) behind_us: Vec<(i64, f64)>,
}

impl Acts {
    /// All that is judged.
    pub(crate) fn all(&self) -> Range<i64> {
        self.settled_ns..self.end_ns
    }

    /// Nothing was done yet.
    pub(crate) fn calm(&self) -> Range<i64> {
        self.settled_ns..self.restarted.1 - EDGE_NS
    }

    /// From the first kill until the stop.
    pub(crate) fn kills(&self) -> Range<i64> {
        self.kills_ns[0]..self.stopped.1 - EDGE_NS
    }

    /// From when a player is stopped.
    pub(crate) fn stop(&self) -> Range<i64> {
        self.stopped.1 - EDGE_NS..self.end_ns
    }
}

impl Run {
    /// When the player that was started again was in step with the others for the first time, in seconds after it tuned in.
    pub(crate) fn in_step_after_restart_s(&self) -> Option<f64> {
        let (player, _, tuned_in_ns) = self.acts.restarted;
        self.in_step_after(player, tuned_in_ns)
    }

    /// The same for the one that was stopped, after it was let go.
    pub(crate) fn in_step_after_stop_s(&self) -> Option<f64> {
        let (player, _, go_ns) = self.acts.stopped;
        self.in_step_after(player, go_ns)
    }

    fn in_step_after(&self, player: usize, from_ns: i64) -> Option<f64> {
        let own = &self.windows[player];
        let mut lasting = 0;
        for (index, window) in own
            .iter()
            .enumerate()
            .filter(|(_, window)| window.at_ns > from_ns)
        {
            let is_near = |other: usize| {
                let us = behind_us(window, &self.windows[other][index]);
                us.is_some_and(|us| us.abs() <= APART_US)
            };
            let mut others = (0..self.windows.len())
                .filter(|other| *other != player && !self.is_away(*other, window.at_ns));
            lasting = if others.all(is_near) { lasting + 1 } else { 0 };
            if lasting == LASTING {
                return Some((own[index + 1 - LASTING].at_ns - from_ns) as f64 / 1e9);
            }
        }
        None
    }

    /// Whether a player cannot be judged at this time, by what was done to it.
    fn is_away(&self, player: usize, at_ns: i64) -> bool {
        let (restarted, gone_ns, tuned_in_ns) = self.acts.restarted;
        let (stopped, stopped_ns, go_ns) = self.acts.stopped;
        (player == restarted && (gone_ns - EDGE_NS..tuned_in_ns + TUNED_NS).contains(&at_ns))
            || (player == stopped && (stopped_ns - EDGE_NS..go_ns + STOPPED_NS).contains(&at_ns))
    }

    /// Whether a player is judged at this time.
    fn is_judged(&self, player: usize, at_ns: i64) -> bool {
        !self.is_away(player, at_ns)
    }

    /// Whether it has had time to settle, too, after it was started again or stopped.
    fn is_settled(&self, player: usize, at_ns: i64) -> bool {
        let (stopped, stopped_ns, go_ns) = self.acts.stopped;
        let settles = stopped_ns - EDGE_NS..go_ns + TUNED_NS;
        self.is_judged(player, at_ns) && !(player == stopped && settles.contains(&at_ns))
    }

    /// The windows of a player in which it is judged.
    pub(crate) fn judged(&self, player: usize, span: Range<i64>) -> impl Iterator<Item = &Window> {
        let windows = self.windows[player].iter();
        windows.filter(move |window| {
            span.contains(&window.at_ns) && self.is_judged(player, window.at_ns)
        })
    }

    /// How far all are from each other.
    pub(crate) fn pairs(&self, span: &Range<i64>) -> Vec<Pair> {
        let count = self.windows.len();
        let all = (0..count).flat_map(|b| (0..b).map(move |a| [a, b]));
        all.map(|players| self.pair(players, span)).collect()
    }

    fn pair(&self, players: [usize; 2], span: &Range<i64>) -> Pair {
        let [first, second] = players.map(|player| self.windows[player].iter());
        let judged = |at_ns| players.iter().all(|player| self.is_judged(*player, at_ns));
        let both = first
            .zip(second)
            .filter(|(window, _)| span.contains(&window.at_ns) && judged(window.at_ns));
        Pair {
            players,
            behind_us: both
                .filter_map(|(a, b)| Some((a.at_ns, behind_us(a, b)?)))
                .collect(),
        }
    }
}

fn behind_us(a: &Window, b: &Window) -> Option<f64> {
    match (a.heard, b.heard) {
        (Heard::At(a), Heard::At(b)) => Some((a - b) / crate::server::RATE as f64 * 1e6),
        _ => None,
    }
}

/// Pairs that are too far apart in this time.
pub(crate) fn apart(run: &Run, span: &Range<i64>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for Pair {
        players: [a, b],
        behind_us,
    } in run.pairs(span)
    {
        let whole = |what| Fault {
            what,
            from_ns: span.start,
            to_ns: span.end,
        };
        if behind_us.is_empty() {
            // One of them may have had leave all the time; but not while nothing was done.
            if run.judged(a, span.clone()).count() == 0 || run.judged(b, span.clone()).count() == 0
            {
                continue;
            }
            faults.push(whole(format!("n{a} and n{b} were never heard together")));
            continue;
        }
        let settled = |at_ns: i64| run.is_settled(a, at_ns) && run.is_settled(b, at_ns);
        let sizes = behind_us.iter().filter(|(at_ns, _)| settled(*at_ns));
        let sizes: Vec<f64> = sizes.map(|(_, us)| us.abs()).collect();
        let median = if sizes.is_empty() {
            0.0
        } else {
            percentile(&sizes, 50.0)
        };
        if median > MEDIAN_US && run.in_full {
            faults.push(whole(format!("n{a} and n{b}: median {median:.0} us apart")));
        }
        let far = behind_us.iter().filter(|(_, us)| us.abs() > APART_US);
        faults.extend(
            far.map(|(at_ns, us)| at(*at_ns, run, format!("n{a} is {us:.0} us behind n{b}"))),
        );
    }
    faults
}

/// Windows with silence, or with something else than what was decoded.
pub(crate) fn broken(run: &Run) -> Vec<Fault> {
    let mut faults = Vec::new();
    for player in 0..run.windows.len() {
        for window in run.judged(player, run.acts.all()) {
            let worst = window
                .fidelity_db
                .iter()
                .copied()
                .fold(f64::INFINITY, f64::min);
            let what = match window.heard {
                Heard::Silence => "silence".to_owned(),
                Heard::Unknown => "not the programme".to_owned(),
                Heard::At(_) if worst < FIDELITY_DB => {
                    format!("only {worst:.1} dB of what was decoded")
                }
                Heard::At(_) => continue,
            };
            faults.push(at(window.at_ns, run, format!("n{player}: {what}")));
        }
    }
    faults
}

/// Windows that are heard at another time than a buffer after they are due.
pub(crate) fn late(run: &Run) -> Vec<Fault> {
    let mut faults = Vec::new();
    for player in 0..run.windows.len() {
        for window in run.judged(player, run.acts.all()) {
            for (late_us, whose) in window
                .late_us
                .into_iter()
                .flatten()
                .zip(["the leader's", "the first leader's"])
            {
                if late_us.abs() > LATE_US {
                    faults.push(at(
                        window.at_ns,
                        run,
                        format!("n{player} is {late_us:.0} us late by {whose} time"),
                    ));
                }
            }
        }
    }
    faults
}

/// Leaders whose timeline is not that of the first one.
pub(crate) fn crept(run: &Run) -> Vec<Fault> {
    let far = run
        .drifts_us
        .iter()
        .enumerate()
        .filter(|(_, us)| us.abs() > DRIFT_US);
    far.map(|(leader, us)| Fault {
        what: format!("leader {leader} is {us:.0} us behind the first one"),
        from_ns: run.acts.kills_ns[0],
        to_ns: run.acts.end_ns,
    })
    .collect()
}

/// The player that was started again or stopped was in step too late.
pub(crate) fn slow(run: &Run) -> Vec<Fault> {
    let acts = &run.acts;
    let within = |what: &str, s: Option<f64>, limit_ns: i64, from_ns: i64| {
        let limit_s = limit_ns as f64 / 1e9;
        (!s.is_some_and(|s| s <= limit_s)).then(|| Fault {
            what: format!("{what}: in step after {s:?} s, not within {limit_s}"),
            from_ns,
            to_ns: from_ns + limit_ns,
        })
    };
    let restarted = within(
        "started again",
        run.in_step_after_restart_s(),
        TUNED_NS,
        acts.restarted.2,
    );
    let stopped = within(
        "stopped",
        run.in_step_after_stop_s(),
        STOPPED_NS,
        acts.stopped.2,
    );
    restarted.into_iter().chain(stopped).collect()
}

/// Everything.
pub(crate) fn all(run: &Run) -> Vec<Fault> {
    let mut faults = apart(run, &run.acts.calm());
    faults.extend(apart(run, &run.acts.kills()));
    faults.extend(apart(run, &run.acts.stop()));
    for more in [broken, late, crept, slow] {
        faults.extend(more(run));
    }
    faults
}

fn at(at_ns: i64, run: &Run, what: String) -> Fault {
    let after_s = (at_ns - run.acts.settled_ns) as f64 / 1e9;
    Fault {
        what: format!("{after_s:.2} s after all had settled: {what}"),
        from_ns: at_ns - EDGE_NS,
        to_ns: at_ns + EDGE_NS,
    }
}

/// The figures, as a table.
pub(crate) fn print(run: &Run) {
    let acts = &run.acts;
    println!("apart, us              |   n | median |    p95 |    max | mean");
    for (name, span) in [
        ("calm", acts.calm()),
        ("kills", acts.kills()),
        ("stop", acts.stop()),
    ] {
        for Pair {
            players: [a, b],
            behind_us,
        } in run.pairs(&span)
        {
            if behind_us.is_empty() {
                println!("{name:8} n{a} - n{b}       | nothing");
                continue;
            }
            let sizes: Vec<f64> = behind_us.iter().map(|(_, us)| us.abs()).collect();
            let [median, p95, max] = [50.0, 95.0, 100.0].map(|percent| percentile(&sizes, percent));
            let mean = behind_us.iter().map(|(_, us)| us).sum::<f64>() / sizes.len() as f64;
            println!(
                "{name:8} n{a} - n{b}        | {:3} | {median:6.0} | {p95:6.0} | {max:6.0} | {mean:+.0}",
                sizes.len()
            );
        }
    }
    println!("late, us (by the leader of the time; by the first one)");
    for player in 0..run.windows.len() {
        let lates: Vec<[f64; 2]> = run
            .judged(player, acts.all())
            .filter_map(|window| window.late_us)
            .collect();
        let worst = run
            .judged(player, acts.all())
            .flat_map(|window| window.fidelity_db.iter().copied());
        let worst_db = worst.fold(f64::INFINITY, f64::min);
        let text = [0, 1].map(|whose| {
            let values: Vec<f64> = lates.iter().map(|late| late[whose]).collect();
            if values.is_empty() {
                return "nothing".to_owned();
            }
            let [least, median, most] =
                [0.0, 50.0, 100.0].map(|percent| percentile(&values, percent));
            format!("median {median:.0} ({least:.0} to {most:.0})")
        });
        let cpu =
            run.cpu_percent[player].map_or("-".to_owned(), |percent| format!("{percent:.2} %"));
        println!(
            "n{player}: {}; {}; least fidelity {worst_db:.1} dB; CPU {cpu}",
            text[0], text[1]
        );
    }
    println!(
        "in step after restart {:?} s, after SIGCONT {:?} s; timelines {:.0?} us behind the first; device {:+.1} ppm; {} concealed",
        run.in_step_after_restart_s(),
        run.in_step_after_stop_s(),
        run.drifts_us,
        run.pace_ppm,
        run.concealed
    );
}
