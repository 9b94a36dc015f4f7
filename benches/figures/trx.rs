//! What does a peer cost in the same minutes? trx sends and plays live sound, so it gets a private sound server that nobody
//! hears: one null sink plays music, `trx-tx` records its monitor and sends to `trx-rx` on 127.0.0.1, which plays to another.
//! (ALSA's own `null` and `file` devices do not pace: trx would run at a thousand times real time.)

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::process::Process;
use crate::report::Figure;
use crate::scenes::Stage;

/// Two figures of trx, or rows that say why there are none.
pub(crate) fn scene(stage: &Stage) -> Result<Vec<Figure>, String> {
    let (mut send, mut listen) = (Vec::new(), Vec::new());
    for _ in 0..stage.runs {
        match measure(stage) {
            Ok((tx, rx)) => {
                send.push(tx);
                listen.push(rx);
            }
            Err(why) => {
                eprintln!("figures: no figure of trx: {why}");
                break;
            }
        }
    }
    let figure = |what, values| Figure {
        what,
        unit: "%",
        values,
        goal: None,
        note: "128 kbit/s; through ALSA’s pulse plugin, which costs, too",
        scene: "trx",
    };
    Ok(vec![
        figure("trx, sender (`trx-tx`)", send),
        figure("trx, listener (`trx-rx`)", listen),
    ])
}

fn measure(stage: &Stage) -> Result<(f64, f64), String> {
    let music = stage.music("trx.wav", stage.span + Duration::from_secs(20), 48_000)?;
    let server = SoundServer::start()?;
    let _player = Process::start(server.client("paplay").arg("--device=music").arg(&music))?;
    let port = (20_000 + 2 * (std::process::id() % 10_000)).to_string();
    let rx = Process::start(server.client("trx-rx").env("PULSE_SINK", "ears").args([
        "-v",
        "0",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
    ]))?;
    let tx = Process::start(
        server
            .client("trx-tx")
            .env("PULSE_SOURCE", "music.monitor")
            .args(["-v", "0", "-h", "127.0.0.1", "-p", &port]),
    )?;
    sleep(Duration::from_secs(3));
    let before = (tx.cpu()?, rx.cpu()?);
    sleep(stage.span);
    let percent = |used: Duration| 100.0 * used.as_secs_f64() / stage.span.as_secs_f64();
    let (tx_cpu, rx_cpu) = (percent(tx.cpu()? - before.0), percent(rx.cpu()? - before.1));
    // A trx that failed to open its device or lost its peer costs nothing, and proves nothing.
    if tx_cpu < 0.3 || rx_cpu < 0.3 {
        return Err(format!(
            "it did not run properly: sender {tx_cpu:.2} %, listener {rx_cpu:.2} %"
        ));
    }
    Ok((tx_cpu, rx_cpu))
}

/// A PulseAudio server of our own, with two null sinks.
struct SoundServer {
    folder: PathBuf,
    _process: Process,
}

impl SoundServer {
    fn start() -> Result<SoundServer, String> {
        // Short, since the path of a socket may be 107 bytes long; private, or the server refuses it.
        let folder = PathBuf::from(format!("/tmp/lr-pa-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for part in ["", "home", "run"] {
            let part = folder.join(part);
            let made = fs::DirBuilder::new().mode(0o700).create(&part);
            made.map_err(|error| format!("making {}: {error}", part.display()))?;
        }
        let asound = format!(
            "pcm.!default {{ type pulse server \"unix:{0}\" }}\nctl.!default {{ type pulse server \"unix:{0}\" }}\n",
            socket(&folder).display()
        );
        fs::write(folder.join("asound.conf"), asound)
            .map_err(|error| format!("writing asound.conf: {error}"))?;
        let sink = |name: &str| {
            format!(
                "module-null-sink sink_name={name} norewinds=1 rate=48000 channels=2 format=float32le"
            )
        };
        let process = Process::start(
            environment(Command::new("pulseaudio"), &folder)
                .args([
                    "-n",
                    "--daemonize=no",
                    "--use-pid-file=no",
                    "--exit-idle-time=-1",
                    "--realtime=no",
                ])
                .args(["--high-priority=no", "--log-level=error"])
                .arg("-L")
                .arg(format!(
                    "module-native-protocol-unix socket={} auth-anonymous=1",
                    socket(&folder).display()
                ))
                .args(["-L", &sink("music"), "-L", &sink("ears")])
                .stderr(Stdio::null()),
        )?;
        for _ in 0..100 {
            if UnixStream::connect(socket(&folder)).is_ok() {
                return Ok(SoundServer {
                    folder,
                    _process: process,
                });
            }
            sleep(Duration::from_millis(50));
        }
        Err("the private sound server did not come up in 5 s".into())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = environment(Command::new(program), &self.folder);
        command
            .env(
                "PULSE_SERVER",
                format!("unix:{}", socket(&self.folder).display()),
            )
            .env(
                "ALSA_CONFIG_PATH",
                format!(
                    "/usr/share/alsa/alsa.conf:{}",
                    self.folder.join("asound.conf").display()
                ),
            )
            .stderr(Stdio::null());
        command
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("pa.sock")
}

fn environment(mut command: Command, folder: &Path) -> Command {
    command
        .env("HOME", folder.join("home"))
        .env("XDG_RUNTIME_DIR", folder.join("run"))
        .env("PULSE_RUNTIME_PATH", folder.join("run"))
        .env("PULSE_STATE_PATH", folder.join("run"))
        .env("PULSE_COOKIE", folder.join("cookie"))
        .env_remove("DISPLAY")
        .env_remove("DBUS_SESSION_BUS_ADDRESS");
    command
}
