//! `lanradio status` and `lanradio stop`: ask the leader of the station.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::console::{Console, title_of};
use super::describe;
use super::error::AppError;
use super::figures::{self, of_signed_ms};
use super::session::{CommonConfig, Session};
use crate::io::http_client::{self, Job};
use crate::io::sockets::Join;
use crate::io::terminal::sanitize;

/// How long a station has to be heard, and its leader to answer (DESIGN 5).
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest status: a thousand nodes.
const MAX_STATUS_BYTES: usize = 2 << 20;

/// What `status` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table; beneath those that suffer, what explains it.
    Table,
    /// The table, and beneath each listener all that is known of it.
    AllFigures,
    /// The leader's own JSON.
    Json,
}

/// What `status` prints; nothing if it was stopped by Ctrl-C.
///
/// # Errors
/// If no station is heard, or its leader does not answer.
pub fn status(
    config: &CommonConfig,
    form: Form,
    console: &mut dyn Console,
) -> Result<String, AppError> {
    let Some(body) = ask_leader(config, "/status", None, console)? else {
        return Ok(String::new());
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    if form == Form::Json {
        return Ok(text + "\n");
    }
    match serde_json::from_str(&text) {
        Ok(status) => Ok(table(&status, form)),
        Err(error) => Err(AppError::Refused(format!(
            "the leader's answer is no JSON: {error}"
        ))),
    }
}

/// Ends the programme.
///
/// # Errors
/// If no station is heard, or its leader does not do it.
pub fn stop(config: &CommonConfig, console: &mut dyn Console) -> Result<(), AppError> {
    if ask_leader(config, "/stop", Some(Vec::new()), console)?.is_some() {
        console.note("stopped");
    }
    Ok(())
}

/// The leader's answer; none if Ctrl-C came before a station was heard.
fn ask_leader(
    config: &CommonConfig,
    path: &str,
    body: Option<Vec<u8>>,
    console: &mut dyn Console,
) -> Result<Option<Vec<u8>>, AppError> {
    let mut session = Session::begin(config, Join::CONTROL, console)?;
    let Some((beat, from)) = describe::ask(&mut session, PATIENCE, console) else {
        if session.signals.stop_asked() {
            return Ok(None);
        }
        return Err(AppError::NoStation {
            timeout: PATIENCE,
            group: session.group,
            interface: session.interface().to_string(),
        });
    };
    let port = beat.succession.http_port;
    if port == 0 {
        return Err(AppError::Refused(format!(
            "{} has no API that can be reached (see --http there)",
            sanitize(&beat.name)
        )));
    }
    let job = Job {
        key: 0,
        addr: SocketAddr::new(from.ip(), port),
        path: path.into(),
        body,
        limit_bytes: MAX_STATUS_BYTES,
        patience: PATIENCE * 3,
    };
    http_client::fetch(&job, u32::MAX)
        .map(Some)
        .map_err(|error| AppError::Refused(sanitize(&error.to_string())))
}

/// The columns of the table of nodes. The first one marks those that suffer.
const COLUMNS: [&str; 13] = [
    "",
    "node",
    "role",
    "rank",
    "replica",
    "buffer",
    "sync",
    "received",
    "repaired",
    "late",
    "lost",
    "concealed",
    "now",
];
/// Blanks after each of them.
const GAPS: [usize; COLUMNS.len()] = [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0];

/// The status for people.
fn table(status: &Value, form: Form) -> String {
    let mut out = format!(
        "station {} on air, led by {} (term {})\n",
        text(&status["station"]),
        text(&status["name"]),
        status["term"]["counter"]
    );
    match &status["playing"] {
        Value::Null => out += "nothing plays\n",
        playing => {
            let title = title_of(
                &text(&playing["title"]),
                playing["artist"].as_str().unwrap_or(""),
            );
            let length = playing["duration_ms"].as_u64().map(clock);
            out += &format!(
                "playing {} ({} of {})\n",
                sanitize(&title),
                clock(playing["position_ms"].as_u64().unwrap_or(0)),
                length.unwrap_or_else(|| "?".into())
            );
        }
    }
    for track in status["queue"].as_array().into_iter().flatten() {
        let title = title_of(
            &text(&track["title"]),
            track["artist"].as_str().unwrap_or(""),
        );
        out += &format!("then    {}\n", sanitize(&title));
    }
    let nodes: Vec<&Value> = status["nodes"].as_array().into_iter().flatten().collect();
    out += &summary(&nodes);
    out += &node_table(nodes, form);
    out
}

/// How many listen, and who of them suffers; nothing if nobody has reported.
fn summary(nodes: &[&Value]) -> String {
    let is = |field: &str, node: &Value| node[field].as_bool() == Some(true);
    let listening = nodes.iter().filter(|node| is("listens", node)).count();
    let suffering = nodes.iter().filter(|node| is("suffers", node)).count();
    match (listening, suffering) {
        (0, _) => String::new(),
        (1, 0) => "1 listens, and hears everything\n".into(),
        (1, _) => "1 listens, with holes (marked !)\n".into(),
        (_, 0) => format!("{listening} listen, and hear everything\n"),
        _ => format!("{listening} listen, {suffering} of them with holes (marked !)\n"),
    }
}

/// What each node counted since it started, and how it fares now; those that suffer come first, the worst on top.
fn node_table(mut nodes: Vec<&Value>, form: Form) -> String {
    let is = |field: &str, node: &Value| node[field].as_bool() == Some(true);
    let suffers = |node: &Value| is("suffers", node);
    let explains = |node| suffers(node) || form == Form::AllFigures && is("listens", node);
    let heard = |node: &Value| node["concealed_percent"].as_f64().unwrap_or(0.0);
    nodes.sort_by(|a, b| {
        let rank = |node| (suffers(node), heard(node));
        rank(b).partial_cmp(&rank(a)).unwrap_or(Ordering::Equal)
    });
    let mut rows = vec![COLUMNS.map(String::from)];
    for node in &nodes {
        let number = |name: &str, unit: &str| {
            node[name]
                .as_u64()
                .map_or("–".into(), |n| format!("{n}{unit}"))
        };
        let sync = node["sync_us"].as_i64();
        let sync = sync.map(|us| of_signed_ms(us as f64 / 1e3));
        rows.push([
            if suffers(node) { "!" } else { "" }.into(),
            text(&node["name"]),
            text(&node["role"]),
            number("rank", ""),
            number("replica_percent", " %"),
            number("buffer_ms", " ms"),
            sync.unwrap_or("–".into()),
            number("received", ""),
            number("repaired", ""),
            number("late", ""),
            number("lost", ""),
            number("concealed", ""),
            text(&node["fares"]),
        ]);
    }
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].width())
            .max()
            .unwrap_or(0)
    });
    let explained = nodes
        .iter()
        .map(|node| explains(node).then(|| figures::lines(node)));
    let mut out = String::new();
    for (row, explained) in rows.iter().zip(std::iter::once(None).chain(explained)) {
        let mut line = String::new();
        for ((cell, width), gap) in row.iter().zip(widths).zip(GAPS) {
            line += cell;
            line.extend(std::iter::repeat_n(' ', width - cell.width() + gap));
        }
        out += line.trim_end();
        out.push('\n');
        out += &explained.unwrap_or_default();
    }
    out
}

/// Text of the leader's, or a dash.
fn text(value: &Value) -> String {
    sanitize(value.as_str().unwrap_or("–"))
}

/// Milliseconds as minutes and seconds.
fn clock(ms: u64) -> String {
    format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::fares::report_json;
    use crate::wire::report::{Lately, Report, Timing};

    fn node(name: &str, role: &str, report: Option<&Report>) -> Value {
        let mut node = report_json(report, report.map(|_| 1.0));
        for (field, value) in [("name", name), ("role", role)] {
            node[field] = value.into();
        }
        node["rank"] = Value::Null;
        node
    }

    fn listener(repaired: u32, concealed: u32) -> Report {
        let mut report = Report {
            listens: true,
            buffer_ms: 500,
            lately: Lately {
                frames: 500,
                missed: repaired + concealed,
                concealed,
                ..Lately::default()
            },
            ..Report::default()
        };
        report.totals.received = 90_000;
        report.totals.repaired_by_unicast = u64::from(repaired);
        report.totals.concealed = u64::from(concealed);
        report
    }

    /// The same, which is heard so much too late, in µs.
    fn late(report: Report, sync_us: i32) -> Report {
        let timing = Some(Timing {
            sync_us,
            drift_ppb: -81_000,
        });
        Report { timing, ..report }
    }

    fn lines(nodes: &[Value]) -> Vec<String> {
        lines_of(nodes, Form::Table)
    }

    fn lines_of(nodes: &[Value], form: Form) -> Vec<String> {
        let status = json!({
            "station": "0badcafe", "name": "kitchen", "term": {"counter": 1}, "playing": null, "queue": [], "nodes": nodes,
        });
        table(&status, form).lines().map(String::from).collect()
    }

    #[test]
    fn those_that_suffer_are_counted_marked_and_on_top_the_worst_first() {
        let lines = lines(&[
            node("kitchen", "leader", Some(&Report::default())),
            node("attic", "standby", Some(&listener(0, 0))),
            node("bar", "listener", Some(&late(listener(59, 1), -12_345))),
            node("cellar", "standby", Some(&late(listener(24, 0), 40))),
            node("hall\u{1b}[2J", "listener", Some(&listener(0, 60))),
            node("new", "listener", None),
        ]);
        let table = [
            "  node     role      rank  replica  buffer  sync      received  repaired  late  lost  concealed  now",
            "! hall     listener  –     0 %      500 ms  –         90000     0         0     0     60         loses 12 %, none repaired",
            "! bar      listener  –     0 %      500 ms  -12 ms    90000     59        0     0     1          loses 12 %, 0.2 % not repaired",
            "    repaired       59 by unicast",
            "    sound device   drift -81.0 ppm",
            "  kitchen  leader    –     0 %      0 ms    –         0         0         0     0     0          does not listen",
            "  attic    standby   –     0 %      500 ms  –         90000     0         0     0     0          hears everything",
            "  cellar   standby   –     0 %      500 ms  +0.04 ms  90000     24        0     0     0          loses 4.8 %, all repaired",
            "  new      listener  –     –        –       –         –         –         –     –     –          has not reported yet",
        ];
        assert_eq!(
            lines[..3],
            [
                "station 0badcafe on air, led by kitchen (term 1)",
                "nothing plays",
                "4 listen, 2 of them with holes (marked !)"
            ]
        );
        assert_eq!(lines[3..], table);
    }

    #[test]
    fn all_figures_of_those_that_do_not_suffer_are_there_for_the_asking() {
        let mut sends = listener(7, 0);
        sends.listens = false;
        let nodes = [
            node("kitchen", "leader", Some(&sends)),
            node("cellar", "standby", Some(&listener(24, 0))),
            node("attic", "standby", Some(&late(listener(0, 0), 5))),
            node("new", "listener", None),
        ];
        let short = lines_of(&nodes, Form::Table);
        let long = lines_of(&nodes, Form::AllFigures);
        let at = short.iter().position(|line| line.contains("cellar"));
        let mut expected = short.clone();
        expected.insert(at.unwrap() + 1, "    repaired       24 by unicast".into());
        let at = expected.iter().position(|line| line.contains("attic"));
        expected.insert(at.unwrap() + 1, "    sound device   drift -81.0 ppm".into());
        assert_eq!(long, expected);
    }

    #[test]
    fn the_number_of_listeners_is_said_in_whole_sentences() {
        let (good, bad) = (listener(3, 0), listener(3, 3));
        let table: [(&[&Report], &str); 5] = [
            (&[], ""),
            (&[&good], "1 listens, and hears everything"),
            (&[&bad], "1 listens, with holes (marked !)"),
            (&[&good, &good], "2 listen, and hear everything"),
            (&[&good, &bad], "2 listen, 1 of them with holes (marked !)"),
        ];
        for (reports, sentence) in table {
            let nodes: Vec<_> = reports
                .iter()
                .map(|report| node("n", "listener", Some(report)))
                .collect();
            let nodes: Vec<_> = nodes.iter().collect();
            assert_eq!(summary(&nodes).trim_end(), sentence);
        }
    }

    #[test]
    fn the_answer_of_an_older_leader_is_shown_as_far_as_it_goes() {
        let old = json!({"name": "bar", "role": "listener", "rank": null, "replica_percent": 7, "received": 5, "lost": 0, "concealed": 1, "buffer_ms": 500});
        let lines = lines(&[old]);
        assert_eq!(
            lines.last().unwrap(),
            " bar   listener  –     7 %      500 ms  –     5         –         –     0     1          –"
        );
    }
}
