//! `lanradio status` and `lanradio stop`: ask the leader of the station.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::console::{Console, title_of};
use super::describe;
use super::error::AppError;
use super::session::{CommonConfig, Session};
use crate::io::http_client::{self, Job};
use crate::io::sockets::Join;
use crate::io::terminal::sanitize;

/// How long a station has to be heard, and its leader to answer (DESIGN 5).
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest status: a thousand nodes.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// What `status` prints: a table, or the leader's own JSON; nothing if it was stopped by Ctrl-C.
///
/// # Errors
/// If no station is heard, or its leader does not answer.
pub fn status(
    config: &CommonConfig,
    json: bool,
    console: &mut dyn Console,
) -> Result<String, AppError> {
    let Some(body) = ask_leader(config, "/status", None, console)? else {
        return Ok(String::new());
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    if json {
        return Ok(text + "\n");
    }
    match serde_json::from_str(&text) {
        Ok(status) => Ok(table(&status)),
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

/// The status for people.
fn table(status: &Value) -> String {
    let text = |value: &Value| sanitize(value.as_str().unwrap_or("–"));
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
    let mut rows = vec![
        [
            "node",
            "role",
            "rank",
            "replica",
            "received",
            "lost",
            "concealed",
            "buffer",
        ]
        .map(String::from),
    ];
    for node in status["nodes"].as_array().into_iter().flatten() {
        let number = |name: &str, unit: &str| {
            node[name]
                .as_u64()
                .map_or("–".into(), |n| format!("{n}{unit}"))
        };
        rows.push([
            text(&node["name"]),
            text(&node["role"]),
            number("rank", ""),
            number("replica_percent", " %"),
            number("received", ""),
            number("lost", ""),
            number("concealed", ""),
            number("buffer_ms", " ms"),
        ]);
    }
    let widths: [usize; 8] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].width())
            .max()
            .unwrap_or(0)
    });
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += cell;
            line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Milliseconds as minutes and seconds.
fn clock(ms: u64) -> String {
    format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60)
}
