//! What does it take to stand by with an hour of music, and what to listen to it without a copy?

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::report::{Figure, Goal};
use crate::scenes::{Stage, lanradio, made_by, random_group};

const HOUR: Duration = Duration::from_secs(3_600);
/// An hour is encoded in half a minute and copied in a quarter of one.
const COPIED_WITHIN: Duration = Duration::from_secs(240);
const MIB: f64 = (1 << 20) as f64;

/// Memory and CPU of a listener that holds all of the programme, and of one that holds nothing.
pub(crate) fn scene(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.copied_music("hour.ogg", HOUR)?;
    let group = random_group(0);
    let _sender = Process::start(lanradio("send", group).arg(&music))?;
    let mut values: [Vec<f64>; 4] = Default::default();
    let mut replica_mib = 0.0;
    for run in 0..stage.fewer_runs() {
        let events = stage.file(&format!("standby-{run}.jsonl"));
        let listen = || {
            let mut listen = lanradio("listen", group);
            listen.args(["--output", "null"]);
            listen
        };
        let standby = Process::start(listen().arg("--events").arg(&events))?;
        let plain = Process::start(listen().arg("--no-standby"))?;
        replica_mib = await_copy(&events)? / MIB;
        let before = (standby.cpu()?, plain.cpu()?);
        sleep(stage.span);
        let percent = |used: Duration| 100.0 * used.as_secs_f64() / stage.span.as_secs_f64();
        let results = [
            standby.peak_mib()? - replica_mib,
            plain.peak_mib()?,
            percent(standby.cpu()? - before.0),
            percent(plain.cpu()? - before.1),
        ];
        for (all, value) in values.iter_mut().zip(results) {
            all.push(value);
        }
        standby.stop()?;
        plain.stop()?;
    }
    let [standby_mib, plain_mib, standby_cpu, plain_cpu] = values;
    let figure = |what: &str, unit, values, goal: Option<f64>, note: String| Figure {
        what: what.into(),
        unit,
        values,
        goal: goal.map(Goal::AtMost),
        note,
        made_by: made_by("hour"),
    };
    Ok(vec![
        figure(
            "`listen --output null`, standby with a copy of 60 minutes: memory beside the copy",
            "MiB",
            standby_mib,
            Some(12.0),
            format!("the copy: {replica_mib:.1} MiB"),
        ),
        figure(
            "the same with `--no-standby`: memory",
            "MiB",
            plain_mib,
            Some(9.0),
            "snapcast 8.6, GStreamer 13.7".into(),
        ),
        figure(
            "the standby’s CPU, once copied",
            "%",
            standby_cpu,
            Some(0.9),
            "snapcast 0.97, trx 1.7, and neither takes over".into(),
        ),
        figure(
            "the same with `--no-standby`: CPU",
            "%",
            plain_cpu,
            Some(0.9),
            "VLC 0.83, snapcast 0.97, trx 1.7".into(),
        ),
    ])
}

/// Waits until all of the programme was copied; the size of the copy in bytes.
fn await_copy(events: &Path) -> Result<f64, String> {
    let deadline = Instant::now() + COPIED_WITHIN;
    while Instant::now() < deadline {
        let text = fs::read_to_string(events).unwrap_or_default();
        // The newest is the last.
        let mut all = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let whole = all.find(|event| event["event"] == "replica" && event["complete"] == true);
        if let Some(bytes) = whole.and_then(|event| event["bytes"].as_f64()) {
            return Ok(bytes);
        }
        sleep(Duration::from_millis(500));
    }
    Err(format!("no whole copy in {COPIED_WITHIN:?}"))
}
