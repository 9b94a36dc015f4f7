//! What explains how a listener fares? Its figures in words, as lines beneath its row of the table of `status`.
//!
//! From the leader's JSON, which may be that of another release: what it does not tell, and what is zero, is left out.

use serde_json::Value;

use crate::playout::histogram::BURST_BUCKETS;
use crate::wire::FRAME;

/// Blanks before each line.
const INDENT: usize = 4;
/// A usual terminal.
const COLUMNS: usize = 80;

/// The figures that are not in the table, each kind of them on a line of its own.
pub(super) fn lines(node: &Value) -> String {
    let by = &node["repaired_by"];
    let mut out = String::new();
    let repaired = [
        counted(&by["replica"], "from its own copy"),
        counted(&by["unicast"], "by unicast"),
        counted(&by["multicast"], "by multicast"),
    ];
    out += &line("repaired", repaired);
    let within = [
        ("repair_ms_p50", "half of them"),
        ("repair_ms_p99", "99 of 100"),
    ];
    let within = within.map(|(field, share)| {
        let ms = node[field].as_f64()?;
        Some(format!("{} ({share})", of_ms(ms)))
    });
    out += &line("repaired in", within);
    let bursts =
        BURST_BUCKETS.map(|class| counted(&node["loss_bursts"][class], &format!("× {class}")));
    let longest = node["longest_burst"].as_u64().filter(|frames| *frames > 0);
    let longest = longest.map(|frames| {
        let ms = FRAME.as_secs_f64() * 1e3 * frames as f64;
        format!("longest {frames} ({})", of_ms(ms))
    });
    out += &line("lost in a row", bursts.into_iter().chain([longest]));
    let jitter = node["jitter_ms"].as_f64().filter(|ms| *ms > 0.0);
    let packets = [
        counted(&node["duplicate"], "came twice"),
        counted(&node["reordered"], "out of order"),
        counted(&node["rejected"], "refused"),
        jitter.map(|ms| format!("jitter {}", of_ms(ms))),
    ];
    out += &line("packets", packets);
    let dry = match node["underruns"].as_u64() {
        None | Some(0) => None,
        Some(1) => Some("ran dry once".into()),
        Some(times) => Some(format!("ran dry {times} times")),
    };
    let drift = node["drift_ppm"].as_f64().filter(|ppm| ppm.abs() >= 0.05);
    let drift = drift.map(|ppm| format!("drift {ppm:+.1} ppm"));
    out += &line("sound device", [dry, drift]);
    out
}

/// So many of something; nothing if there is none.
fn counted(count: &Value, what: &str) -> Option<String> {
    let count = count.as_u64().filter(|count| *count > 0)?;
    Some(format!("{count} {what}"))
}

/// A time with two digits or so: 4.2 ms, 34 ms, 1.3 s.
pub fn of_ms(ms: f64) -> String {
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

/// A time that is early or late, with as many digits as matter: +0.04 ms, -34 ms, +1.3 s.
pub(super) fn of_signed_ms(ms: f64) -> String {
    if ms.abs() < 9.995 {
        // What is rounded to nothing is not negative.
        let hundredths = (ms * 100.0).round() + 0.0;
        format!("{:+.2} ms", hundredths / 100.0)
    } else if ms.abs() < 999.5 {
        format!("{ms:+.0} ms")
    } else {
        format!("{:+.1} s", ms / 1e3)
    }
}

/// A line of a label and what there is, broken where it would be too long; nothing if there is nothing.
fn line(label: &str, parts: impl IntoIterator<Item = Option<String>>) -> String {
    let mut out = String::new();
    let mut column = 0;
    for part in parts.into_iter().flatten() {
        let width = part.chars().count();
        if out.is_empty() {
            out = format!("{:INDENT$}{label:<15}", "");
            column = INDENT + 15;
        } else if column + ", ".len() + width + ",".len() > COLUMNS {
            out += &format!(",\n{:1$}", "", INDENT + 15);
            column = INDENT + 15;
        } else {
            out += ", ";
            column += ", ".len();
        }
        out += &part;
        column += width;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::fares::report_json;
    use crate::wire::report::{Bursts, RepairTimes, Report, Timing, Totals};

    fn suffering() -> Report {
        Report {
            listens: true,
            totals: Totals {
                received: 30_412,
                repaired_by_replica: 12,
                repaired_by_unicast: 3_600,
                repaired_by_multicast: 98,
                duplicate: 3,
                reordered: 2,
                underruns: 7,
                rejected: 9,
                ..Totals::default()
            },
            bursts: Bursts([3_000, 300, 35, 1, 0, 0, 0]),
            longest_burst: 5,
            repair: Some(RepairTimes {
                p50_us: 4_210,
                p99_us: 34_400,
            }),
            jitter_us: 1_239,
            timing: Some(Timing {
                sync_us: 40,
                drift_ppb: -12_345,
            }),
            ..Report::default()
        }
    }

    #[test]
    fn each_kind_of_figure_has_its_line() {
        let said = lines(&report_json(Some(&suffering()), Some(1.0)));
        let expected = "    repaired       12 from its own copy, 3600 by unicast, 98 by multicast
    repaired in    4.2 ms (half of them), 34 ms (99 of 100)
    lost in a row  3000 × 1, 300 × 2, 35 × 3-4, 1 × 5-8, longest 5 (100 ms)
    packets        3 came twice, 2 out of order, 9 refused, jitter 1.2 ms
    sound device   ran dry 7 times, drift -12.3 ppm
";
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_zero_or_not_told_is_left_out() {
        let none = report_json(Some(&Report::default()), Some(1.0));
        let old = json!({"name": "bar", "repaired_by": 5, "loss_bursts": {"1": "\u{1b}", "x": 7}});
        for node in [none, old, report_json(None, None)] {
            assert_eq!(lines(&node), "", "{node}");
        }
        let one = json!({"repaired_by": {"unicast": 1}});
        assert_eq!(lines(&one), "    repaired       1 by unicast\n");
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut report = suffering();
        report.bursts = Bursts([u64::MAX; 7]);
        report.longest_burst = u32::MAX;
        report.timing = Some(Timing {
            sync_us: i32::MIN,
            drift_ppb: i32::MIN,
        });
        report.totals.repaired_by_replica = 1 << 47;
        report.totals.repaired_by_unicast = 1 << 47;
        report.totals.repaired_by_multicast = 1 << 47;
        let said = lines(&report_json(Some(&report.bounded()), Some(1.0)));
        for line in said.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        assert!(said.contains("longest 4294967295 (85899345.9 s)"), "{said}");
    }

    #[test]
    fn what_is_early_or_late_has_a_sign_and_what_is_neither_a_plus() {
        let table = [
            (0.0, "+0.00 ms"),
            (-0.004, "+0.00 ms"),
            (0.04, "+0.04 ms"),
            (-1.234, "-1.23 ms"),
            (9.994, "+9.99 ms"),
            (-9.996, "-10 ms"),
            (999.4, "+999 ms"),
            (-33_554.432, "-33.6 s"),
        ];
        for (ms, text) in table {
            assert_eq!(of_signed_ms(ms), text);
        }
    }

    #[test]
    fn times_have_two_digits_or_so() {
        let table = [
            (0.0, "0.0 ms"),
            (4.21, "4.2 ms"),
            (9.96, "10 ms"),
            (980.0, "980 ms"),
            (999.6, "1.0 s"),
            (33_000.0, "33.0 s"),
        ];
        for (ms, text) in table {
            assert_eq!(of_ms(ms), text);
        }
    }
}
