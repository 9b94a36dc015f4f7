//! Which situations are measured? Each scene puts the real binary on a random group of the loopback interface, and makes one
//! or more figures.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::report::{Figure, Goal};
use crate::{device, floor, hour, trx};

const SCENES: [(&str, Scene); 7] = [
    ("steady", steady),
    ("wav", whole_wav),
    ("mp3", whole_mp3),
    ("memory", ten_minutes),
    ("hour", hour::scene),
    ("device", device::scene),
    ("trx", trx::scene),
];

type Scene = fn(&Stage) -> Result<Vec<Figure>, String>;

/// Runs the scenes that are named, or all of them.
pub(crate) fn run(names: &[String]) -> ExitCode {
    let all = names.iter().any(|name| name == "all");
    if names.is_empty()
        || (!all
            && names
                .iter()
                .any(|n| SCENES.iter().all(|(name, _)| name != n)))
    {
        let known: Vec<&str> = SCENES.iter().map(|(name, _)| *name).collect();
        println!("figures: name one or more of {}, or all", known.join(", "));
        return if names.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    }
    let outcome = Stage::new().and_then(|stage| {
        for (name, scene) in SCENES {
            if all || names.iter().any(|n| n == name) {
                eprintln!("figures: {name} ...");
                scene(&stage)?.iter().try_for_each(Figure::write)?;
            }
        }
        Ok(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where the scenes play: a scratch folder with the music in it, and how long and often to measure.
pub(crate) struct Stage {
    folder: PathBuf,
    pub(crate) runs: usize,
    pub(crate) span: Duration,
}

impl Stage {
    fn new() -> Result<Stage, String> {
        let folder = std::env::temp_dir().join(format!("lanradio-figures-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .map_err(|error| format!("making {}: {error}", folder.display()))?;
        Ok(Stage {
            folder,
            runs: number_from("FIGURES_RUNS", 5),
            span: Duration::from_secs(number_from("FIGURES_SECONDS", 30) as u64),
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// For figures that take long, or hardly differ from run to run.
    pub(crate) fn fewer_runs(&self) -> usize {
        self.runs.min(3)
    }

    /// The demo's music, over and over for `length`, in the format that the name's ending says.
    pub(crate) fn music(&self, name: &str, length: Duration, rate: u32) -> Result<PathBuf, String> {
        let format = format!("-ar {rate} -b:a 192k");
        self.make(name, length, &format)
    }

    /// The same as it is, without encoding it anew: a long one is made at once, and small.
    pub(crate) fn copied_music(&self, name: &str, length: Duration) -> Result<PathBuf, String> {
        self.make(name, length, "-c copy")
    }

    fn make(&self, name: &str, length: Duration, format: &str) -> Result<PathBuf, String> {
        let path = self.file(name);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.ogg");
        let status = Command::new("ffmpeg")
            .args("-hide_banner -loglevel error -y -stream_loop -1 -i".split(' '))
            .arg(source)
            .args(["-t", &length.as_secs_f64().to_string()])
            .args(format.split(' '))
            .arg(&path)
            .stdin(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => Ok(path),
            Ok(status) => Err(format!("ffmpeg making {name}: {status}")),
            Err(error) => Err(format!("starting ffmpeg: {error} (install it)")),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A station on air without pause: the sender, a listener, and the floor, one after the other.
fn steady(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.music("short.wav", Duration::from_secs(30), 48_000)?;
    let mut values: [Vec<f64>; 6] = Default::default();
    for run in 0..stage.runs {
        let group = random_group(run);
        let ears = floor::join(group).map_err(|error| format!("joining {group} on lo: {error}"))?;
        let began = Instant::now();
        let sender = Process::start(lanradio("send", group).arg("--loop").arg(&music))?;
        let first_packet = first_packet_after(&ears, began)?;
        drop(ears);
        // 30 s of music are encoded in a quarter of a second.
        sleep(Duration::from_secs(3));
        let send_cpu = sender.cpu_percent(stage.span)?;
        let events = stage.file(&format!("listen-{run}.jsonl"));
        let listener = Process::start(
            lanradio("listen", group)
                .args(["--output", "null", "--events"])
                .arg(&events),
        )?;
        sleep(Duration::from_secs(2));
        let listen_cpu = listener.cpu_percent(stage.span)?;
        let listen_mib = listener.peak_mib()?;
        listener.stop()?;
        let me = std::env::current_exe().map_err(|error| format!("finding myself: {error}"))?;
        let bare = Process::start(Command::new(me).arg(floor::CHILD).arg(group.to_string()))?;
        sleep(Duration::from_secs(1));
        let floor_cpu = bare.cpu_percent(stage.span)?;
        drop(bare);
        sender.stop()?;
        // One that heard nothing costs nothing, and proves nothing.
        let received = last_number(&events, "stats", "received")?;
        if received < stage.span.as_secs_f64() * 50.0 {
            return Err(format!("the listener received {received} frames only"));
        }
        let tuned_in = last_number(&events, "tuned_in", "ms")?;
        let results = [
            send_cpu,
            listen_cpu,
            floor_cpu,
            listen_mib,
            tuned_in,
            first_packet,
        ];
        for (all, value) in values.iter_mut().zip(results) {
            all.push(value);
        }
    }
    let [
        send_cpu,
        listen_cpu,
        floor_cpu,
        listen_mib,
        tuned_in,
        first_packet,
    ] = values;
    let figure = |what: &str, unit, values, goal: Option<f64>, note: &str| Figure {
        what: what.into(),
        unit,
        values,
        goal: goal.map(Goal::AtMost),
        note: note.into(),
        made_by: made_by("steady"),
    };
    Ok(vec![
        figure(
            "`send`, once encoded",
            "%",
            send_cpu,
            Some(0.8),
            "trx 1.9, snapcast 2.7, GStreamer 2.5",
        ),
        figure(
            "`listen --output null`",
            "%",
            listen_cpu,
            Some(0.9),
            "VLC 0.83, snapcast 0.97, trx 1.7",
        ),
        figure(
            "floor: receive, decode, discard, no protocol",
            "%",
            floor_cpu,
            None,
            "what nobody can beat here",
        ),
        figure(
            "`listen --output null`, memory (a standby, with its copy of 30 s)",
            "MiB",
            listen_mib,
            Some(12.0),
            "trx 5.9, snapcast 8.6, GStreamer 13.7",
        ),
        figure(
            "start of `listen` to its first frame (buffer 500 ms)",
            "ms",
            tuned_in,
            Some(800.0),
            "snapcast 1,011",
        ),
        figure(
            "start of `send` to its first packet",
            "ms",
            first_packet,
            Some(500.0),
            "250 ms of it listen for a station",
        ),
    ])
}

fn whole_wav(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.music("whole.wav", stage.span, 48_000)?;
    let values = whole_file(stage, &music)?;
    let what = "`send`, all of a 48 kHz WAV with its encoding";
    Ok(vec![Figure {
        what: what.into(),
        unit: "%",
        values,
        goal: Some(Goal::AtMost(1.5)),
        note: "trx 1.9, snapcast 2.7".into(),
        made_by: made_by("wav"),
    }])
}

fn whole_mp3(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.music("whole.mp3", stage.span, 44_100)?;
    let values = whole_file(stage, &music)?;
    let what = "`send`, all of a 44.1 kHz mp3 with its encoding";
    Ok(vec![Figure {
        what: what.into(),
        unit: "%",
        values,
        goal: Some(Goal::AtMost(2.0)),
        note: "trx 1.9, snapcast 2.7".into(),
        made_by: made_by("mp3"),
    }])
}

/// Per cent of a core of sending `music` from start to end, of the duration of the music.
fn whole_file(stage: &Stage, music: &Path) -> Result<Vec<f64>, String> {
    (0..stage.fewer_runs())
        .map(|run| {
            let sender = Process::start(lanradio("send", random_group(run)).arg(music))?;
            let cpu = sender.cpu_at_end(stage.span + Duration::from_secs(15))?;
            Ok(100.0 * cpu.as_secs_f64() / stage.span.as_secs_f64())
        })
        .collect()
}

/// The memory of a sender that holds ten minutes of music.
fn ten_minutes(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.music("long.wav", Duration::from_secs(600), 48_000)?;
    let mut values = Vec::new();
    for run in 0..stage.fewer_runs() {
        let sender = Process::start(lanradio("send", random_group(run)).arg(&music))?;
        // Ten minutes are encoded in 5 to 8 s; the peak only grows, so a few seconds more do no harm.
        sleep(stage.span.min(Duration::from_secs(20)));
        values.push(sender.peak_mib()?);
        sender.stop()?;
    }
    let what = "`send`, memory with 10 minutes of music at 128 kbit/s";
    Ok(vec![Figure {
        what: what.into(),
        unit: "MiB",
        values,
        goal: Some(Goal::AtMost(20.0)),
        note: "10 + 1 a minute".into(),
        made_by: made_by("memory"),
    }])
}

pub(crate) fn lanradio(command: &str, group: SocketAddrV4) -> Command {
    let mut lanradio = Command::new(env!("CARGO_BIN_EXE_lanradio"));
    lanradio.arg(command).args([
        "--quiet",
        "--interface",
        "lo",
        "--group",
        &group.to_string(),
    ]);
    lanradio
}

/// A group that nobody else is likely to use: process id and clock are random enough.
pub(crate) fn random_group(run: usize) -> SocketAddrV4 {
    let time = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .subsec_nanos();
    let mixed = (time ^ std::process::id().rotate_left(16))
        .wrapping_add(run as u32)
        .wrapping_mul(2_654_435_769);
    let [a, b, c, d] = mixed.to_be_bytes();
    let port = 20_000 + 2 * (u16::from_be_bytes([c, d]) % 10_000);
    SocketAddrV4::new(Ipv4Addr::new(239, 255, a, b.clamp(1, 254)), port)
}

/// The command that makes the figures of a scene.
pub(crate) fn made_by(scene: &str) -> String {
    format!("cargo bench --bench figures -- {scene}")
}

fn first_packet_after(ears: &std::net::UdpSocket, began: Instant) -> Result<f64, String> {
    ears.set_read_timeout(Some(Duration::from_secs(5)))
        .map_err(|error| error.to_string())?;
    ears.recv(&mut [0; 2048])
        .map_err(|error| format!("waiting for the sender's first packet: {error}"))?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

/// What the last event of this name says in this field.
fn last_number(events: &Path, name: &str, field: &str) -> Result<f64, String> {
    let text = fs::read_to_string(events)
        .map_err(|error| format!("reading {}: {error}", events.display()))?;
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|event| event["event"] == name)
        .and_then(|event| event[field].as_f64())
        .ok_or_else(|| format!("the listener told of no {name}"))
}

fn number_from(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
