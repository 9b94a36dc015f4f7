//! What does a sound device cost, and how soon is there sound again when it returns?

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::report::{Figure, Goal};
use crate::scenes::{Stage, lanradio, made_by, random_group};
use crate::sound_server::Server;

/// How often the device goes and returns, for each run of the other figures.
const RETURNS: usize = 2;
/// Bytes of a frame of the recording.
const FRAME_BYTES: usize = 8;

/// CPU and memory of a listener on a null sink, and the time from the server's return to sound.
pub(crate) fn scene(stage: &Stage) -> Result<Vec<Figure>, String> {
    let music = stage.music("device.wav", Duration::from_secs(30), 48_000)?;
    let (mut cpu, mut memory, mut returns) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..stage.fewer_runs() {
        let mut server = Server::prepare();
        server.try_run()?;
        let group = random_group(run);
        let sender = Process::start(lanradio("send", group).arg("--loop").arg(&music))?;
        let plain = lanradio("listen", group);
        let mut listen = server.client(env!("CARGO_BIN_EXE_lanradio"));
        let listener = Process::start(listen.args(plain.get_args()))?;
        sleep(Duration::from_secs(4));
        cpu.push(listener.cpu_percent(stage.span)?);
        for _ in 0..RETURNS {
            server.kill();
            sleep(Duration::from_millis(1_500));
            server.try_run()?;
            returns.push(ms_to_sound(&server, stage)?);
        }
        memory.push(listener.peak_mib()?);
        listener.stop()?;
        sender.stop()?;
    }
    returns.sort_by(f64::total_cmp);
    let p90 = returns[(returns.len() * 9).div_ceil(10) - 1];
    let figure = |what: &str, unit, values, goal, note: &str| Figure {
        what: what.into(),
        unit,
        values,
        goal: Some(Goal::AtMost(goal)),
        note: note.into(),
        made_by: made_by("device"),
    };
    let note = "through ALSA\u{2019}s pulse plugin; trx 1.7, GStreamer 1.7";
    Ok(vec![
        figure("`listen` on a sound device", "%", cpu, 1.6, note),
        figure(
            "`listen` on a sound device, memory",
            "MiB",
            memory,
            14.0,
            "trx 5.9, GStreamer 13.7",
        ),
        figure(
            "return of a killed sound server to sound, p90 of all returns",
            "ms",
            vec![p90],
            1_000.0,
            "others have to be restarted",
        ),
    ])
}

/// How long after now the sink plays something, in ms; the server has just come up.
fn ms_to_sound(server: &Server, stage: &Stage) -> Result<f64, String> {
    let (began, path) = (Instant::now(), stage.file("return.raw"));
    let file = File::create(&path).map_err(|error| format!("making a recording: {error}"))?;
    let mut command: Command = server.client("parec");
    command
        .args(["-d", "lr.monitor", "--raw", "--format=float32le"])
        .args(["--rate=48000", "--channels=2", "--latency-msec=20"])
        .stdin(Stdio::null())
        .stdout(file);
    let mut child = command
        .spawn()
        .map_err(|error| format!("starting parec: {error}"))?;
    let mut heard = None;
    while heard.is_none() && began.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(5));
        let bytes = fs::read(&path).unwrap_or_default();
        let mut frames = bytes.chunks_exact(FRAME_BYTES);
        let is_loud = |frame: &[u8]| {
            let left = f32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
            left.abs() > 0.01
        };
        if frames.any(is_loud) {
            heard = Some(began.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    heard.ok_or_else(|| "no sound 10 s after the device\u{2019}s return".into())
}
