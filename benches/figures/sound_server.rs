//! A sound server that nobody hears, for what needs a sound device to pace it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::process::Process;

/// A PulseAudio server of our own, with null sinks.
pub(crate) struct SoundServer {
    folder: PathBuf,
    sinks: Vec<String>,
    process: Option<Process>,
}

impl SoundServer {
    /// A server with null sinks of these names, of which the first is the default one.
    pub(crate) fn start(names: &[&str]) -> Result<SoundServer, String> {
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
        let sink = |name: &&str| {
            format!(
                "module-null-sink sink_name={name} norewinds=1 rate=48000 channels=2 format=float32le"
            )
        };
        let mut server = SoundServer {
            folder,
            sinks: names.iter().map(sink).collect(),
            process: None,
        };
        server.run()?;
        Ok(server)
    }

    /// Starts the server, again if need be, and waits until it answers.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let socket = socket(&self.folder);
        let _ = fs::remove_file(&socket);
        let mut command = environment(Command::new("pulseaudio"), &self.folder);
        command
            .args(["-n", "--daemonize=no", "--use-pid-file=no"])
            .args(["--exit-idle-time=-1", "--realtime=no"])
            .args(["--high-priority=no", "--log-level=error"])
            .arg("-L")
            .arg(format!(
                "module-native-protocol-unix socket={} auth-anonymous=1",
                socket.display()
            ))
            .stderr(Stdio::null());
        for sink in &self.sinks {
            command.args(["-L", sink]);
        }
        self.process = Some(Process::start(&mut command)?);
        for _ in 0..1_000 {
            if UnixStream::connect(&socket).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
        Err("the private sound server did not come up in 5 s".into())
    }

    /// Ends it without a word, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A command that plays on and records from this server only.
    pub(crate) fn client(&self, program: &str) -> Command {
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
        self.kill();
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
