//! How does a node fare, in plain words? From what it reports: for `status`, and for the live line of whoever leads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::console::Audience;
use super::events::to_ms;
use crate::io::terminal::sanitize;
use crate::playout::histogram::BURST_BUCKETS;
use crate::station::Node;
use crate::wire::report::{Lately, Report};

/// Whether somebody hears that something is missing: holes, or a sound device that ran dry, in the last ten seconds.
pub fn suffers(report: &Report) -> bool {
    report.listens && (report.lately.concealed > 0 || report.lately.underruns > 0)
}

/// The last ten seconds of a node in a few words.
pub fn in_words(report: &Report) -> String {
    if !report.listens {
        return "does not listen".into();
    }
    let lately = &report.lately;
    let mut text = of_frames(lately);
    match lately.underruns {
        0 => {}
        1 => text += "; its sound device ran dry once",
        times => text += &format!("; its sound device ran dry {times} times"),
    }
    text
}

fn of_frames(lately: &Lately) -> String {
    let (Some(loss), Some(heard)) = (lately.loss_percent(), lately.concealed_percent()) else {
        return "nothing to play".into();
    };
    let mostly_late = u64::from(lately.late) * 2 >= u64::from(lately.concealed);
    let [loss, heard] = [loss, heard].map(percent);
    match (lately.missed > lately.concealed, mostly_late) {
        _ if lately.missed.max(lately.concealed) == 0 => "hears everything".into(),
        _ if lately.concealed == 0 => format!("loses {loss}, all repaired"),
        (false, true) => format!("{heard} comes too late"),
        (false, false) => format!("loses {loss}, none repaired"),
        (true, true) => format!("loses {loss}, {heard} comes too late"),
        (true, false) => format!("loses {loss}, {heard} not repaired"),
    }
}

/// With as many digits as there is something to tell: 12 %, 4.8 %.
fn percent(value: f64) -> String {
    if value >= 9.95 {
        format!("{value:.0} %")
    } else if value >= 0.05 {
        format!("{value:.1} %")
    } else {
        "under 0.1 %".into()
    }
}

/// What `status --json` has of a report: all null without one.
pub fn report_json(report: Option<&Report>, age_s: Option<f64>) -> Value {
    let of = |field: fn(&Report) -> Value| report.map_or(Value::Null, field);
    let heard = report.filter(|report| report.listens);
    let share = |share: fn(&Lately) -> Option<f64>| {
        let value = heard.and_then(|report| share(&report.lately));
        value.map(|value| (value * 100.0).round() / 100.0)
    };
    json!({
        "replica_percent": of(|report| report.replica_percent.into()),
        "received": of(|report| report.totals.received.into()),
        "lost": of(|report| report.totals.lost.into()),
        "concealed": of(|report| report.totals.concealed.into()),
        "buffer_ms": of(|report| report.buffer_ms.into()),
        "listens": of(|report| report.listens.into()),
        "late": of(|report| report.totals.late.into()),
        "repaired": of(|report| report.totals.repaired().into()),
        "repaired_by": of(|report| json!({
            "replica": report.totals.repaired_by_replica,
            "unicast": report.totals.repaired_by_unicast,
            "multicast": report.totals.repaired_by_multicast,
        })),
        "duplicate": of(|report| report.totals.duplicate.into()),
        "reordered": of(|report| report.totals.reordered.into()),
        "underruns": of(|report| report.totals.underruns.into()),
        "rejected": of(|report| report.totals.rejected.into()),
        "loss_bursts": of(|report| {
            let counts = BURST_BUCKETS.into_iter().zip(report.bursts.0);
            json!(counts.collect::<BTreeMap<_, _>>())
        }),
        "longest_burst": of(|report| report.longest_burst.into()),
        "repair_ms_p50": of(|report| report.repair.map(|times| to_ms(times.p50_us)).into()),
        "repair_ms_p99": of(|report| report.repair.map(|times| to_ms(times.p99_us)).into()),
        "jitter_ms": of(|report| to_ms(report.jitter_us).into()),
        "sync_us": of(|report| report.timing.map(|timing| timing.sync_us).into()),
        "drift_ppm": of(|report| report.timing.map(|timing| to_ppm(timing.drift_ppb)).into()),
        "loss_percent": share(Lately::loss_percent),
        "concealed_percent": share(Lately::concealed_percent),
        "suffers": of(|report| suffers(report).into()),
        "fares": report.map_or_else(|| "has not reported yet".into(), in_words),
        "report_age_s": age_s.map(|age_s| (age_s * 10.0).round() / 10.0),
    })
}

/// Parts per billion as parts per million, to a hundredth.
fn to_ppm(ppb: i32) -> f64 {
    (f64::from(ppb) / 10.0).round() / 100.0
}

/// Who listens, and who suffers, as the leader knows it; none on nodes that do not lead.
pub fn audience(node: &Node) -> Option<Audience> {
    node.term()?;
    let me = (node.config().name.as_str(), node.report());
    let others = node.roster().peers().filter(|(_, peer)| !peer.fell_silent);
    let others = others.filter_map(|(_, peer)| Some((peer.name.as_str(), peer.report?.0)));
    let all = std::iter::once(me).chain(others);
    Some(count(all.filter(|(_, report)| report.listens)))
}

fn count<'a>(listeners: impl Iterator<Item = (&'a str, Report)>) -> Audience {
    let mut audience = Audience::default();
    let mut most = None;
    for (name, report) in listeners {
        audience.listening += 1;
        if !suffers(&report) {
            continue;
        }
        audience.suffering += 1;
        let share = report.lately.concealed_percent();
        if most.is_none_or(|most| share > most) {
            most = Some(share);
            audience.worst = sanitize(name);
        }
    }
    audience
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::events::{StatsState, stats_json};
    use crate::playout::Statistics;
    use crate::wire::report::{Bursts, RepairTimes, Timing};

    fn lately(frames: u32, missed: u32, concealed: u32, late: u32) -> Report {
        Report {
            listens: true,
            lately: Lately {
                frames,
                missed,
                concealed,
                late,
                underruns: 0,
            },
            ..Report::default()
        }
    }

    #[test]
    fn words_say_what_is_lost_what_of_it_is_heard_and_what_comes_too_late() {
        let table = [
            ((0, 0, 0, 0), "nothing to play", false),
            ((500, 0, 0, 0), "hears everything", false),
            ((500, 24, 0, 0), "loses 4.8 %, all repaired", false),
            ((500, 60, 1, 0), "loses 12 %, 0.2 % not repaired", true),
            ((500, 54, 5, 3), "loses 11 %, 1.0 % comes too late", true),
            ((500, 25, 25, 25), "5.0 % comes too late", true),
            ((500, 25, 25, 1), "loses 5.0 %, none repaired", true),
            ((500, 500, 500, 0), "loses 100 %, none repaired", true),
            ((500, 49, 2, 0), "loses 9.8 %, 0.4 % not repaired", true),
            ((5_000, 2, 2, 0), "loses under 0.1 %, none repaired", true),
            // They came and do not decode.
            ((500, 0, 25, 0), "loses 5.0 %, none repaired", true),
            // A copy that came late of a frame that was concealed before.
            ((500, 0, 0, 1), "hears everything", false),
        ];
        for ((frames, missed, concealed, late), words, heard) in table {
            let report = lately(frames, missed, concealed, late);
            assert_eq!(
                (in_words(&report).as_str(), suffers(&report)),
                (words, heard)
            );
        }
        let silent = Report {
            listens: false,
            ..lately(500, 0, 5, 0)
        };
        assert_eq!(
            (in_words(&silent).as_str(), suffers(&silent)),
            ("does not listen", false)
        );
    }

    #[test]
    fn a_device_that_runs_dry_is_heard_too() {
        for (times, words) in [
            (1, "hears everything; its sound device ran dry once"),
            (7, "hears everything; its sound device ran dry 7 times"),
        ] {
            let mut report = lately(500, 0, 0, 0);
            report.lately.underruns = times;
            assert_eq!(
                (in_words(&report).as_str(), suffers(&report)),
                (words, true)
            );
        }
    }

    #[test]
    fn without_a_report_all_is_null_and_said_to_be() {
        let value = report_json(None, None);
        for (field, value) in value.as_object().unwrap() {
            assert_eq!(value.is_null(), field != "fares", "{field}");
        }
        assert_eq!(value["fares"], "has not reported yet");
    }

    #[test]
    fn a_leader_tells_of_each_node_all_that_the_node_tells_of_itself() {
        let told = stats_json(&Statistics::default(), StatsState::default());
        let status = report_json(Some(&Report::default()), Some(0.0));
        // The leader and its term are the station's; the reasons are too many for a report.
        let of_the_node_alone = ["leader", "term", "rejected_by"];
        for field in told.as_object().unwrap().keys() {
            let is_told = status.get(field).is_some();
            assert_eq!(
                is_told,
                !of_the_node_alone.contains(&field.as_str()),
                "{field}"
            );
        }
        for counted in ["repaired_by", "loss_bursts"] {
            assert_eq!(status[counted], told[counted]);
        }
    }

    #[test]
    fn figures_of_a_report_are_those_that_were_told() {
        let mut report = lately(500, 60, 1, 0);
        report.totals.received = 10_000;
        report.totals.repaired_by_replica = 1;
        report.totals.repaired_by_unicast = 20;
        report.totals.repaired_by_multicast = 300;
        report.totals.rejected = 4;
        report.bursts = Bursts([300, 20, 0, 1, 0, 0, 2]);
        report.jitter_us = 1_239;
        report.repair = Some(RepairTimes {
            p50_us: 2_345,
            p99_us: 11_000,
        });
        report.timing = Some(Timing {
            sync_us: -1_234,
            drift_ppb: 12_345,
        });
        let value = report_json(Some(&report), Some(3.07));
        let table = [
            ("received", json!(10_000)),
            ("repaired", json!(321)),
            (
                "repaired_by",
                json!({"replica": 1, "unicast": 20, "multicast": 300}),
            ),
            ("rejected", json!(4)),
            (
                "loss_bursts",
                json!({"1": 300, "2": 20, "3-4": 0, "5-8": 1, "9-16": 0, "17-32": 0, "33+": 2}),
            ),
            ("jitter_ms", json!(1.24)),
            ("repair_ms_p50", json!(2.35)),
            ("repair_ms_p99", json!(11.0)),
            ("sync_us", json!(-1_234)),
            ("drift_ppm", json!(12.35)),
            ("loss_percent", json!(12.0)),
            ("concealed_percent", json!(0.2)),
            ("suffers", json!(true)),
            ("fares", json!("loses 12 %, 0.2 % not repaired")),
            ("report_age_s", json!(3.1)),
        ];
        for (field, said) in table {
            assert_eq!(value[field], said, "{field}");
        }
        // What only sends loses nothing, as it plays nothing, and is in step with nothing.
        let sends = report_json(Some(&Report::default()), Some(0.0));
        for field in ["sync_us", "drift_ppm"] {
            assert!(sends[field].is_null(), "{field}");
        }
        assert_eq!(
            (&sends["received"], &sends["loss_percent"]),
            (&json!(0), &Value::Null)
        );
    }

    type Listeners<'a> = &'a [(&'a str, Report)];
    type Counted<'a> = (usize, usize, &'a str);

    #[test]
    fn the_worst_of_an_audience_is_named() {
        let dry = {
            let mut report = lately(0, 0, 0, 0);
            report.lately.underruns = 1;
            report
        };
        let table: [(Listeners<'_>, Counted<'_>); 4] = [
            (&[], (0, 0, "")),
            (&[("bar", lately(500, 30, 0, 0))], (1, 0, "")),
            (&[("bar", dry)], (1, 1, "bar")),
            (
                &[
                    ("bar", dry),
                    ("hall", lately(500, 0, 2, 0)),
                    ("ha\u{7}ll 2", lately(500, 0, 3, 0)),
                    ("attic", lately(500, 0, 3, 0)),
                    ("cellar", lately(500, 0, 0, 0)),
                ],
                (5, 4, "hall 2"),
            ),
        ];
        for (listeners, (listening, suffering, worst)) in table {
            let audience = count(listeners.iter().copied());
            assert_eq!(
                (
                    audience.listening,
                    audience.suffering,
                    audience.worst.as_str()
                ),
                (listening, suffering, worst)
            );
        }
    }
}
