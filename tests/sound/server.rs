//! A private PulseAudio server with a null sink: a sound device on a machine without one, whose recording can be judged.
//!
//! Each server lives in a short folder of its own (a socket path over 107 bytes makes it run without a socket and without an
//! error) and is ended by its process id. The sink's pace is its own, some hundred parts per million off: real drift.
//! The figures (`benches/figures`) use it, too.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Frames of a recording a second, and values of a frame.
pub(crate) const RATE: usize = 48_000;
/// What a server or a recorder may need to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sound server that can be killed, stopped and started again.
pub(crate) struct Server {
    dir: PathBuf,
    modules: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A folder for a server that does not run yet, and will have one null sink `lr`.
    pub(crate) fn prepare() -> Server {
        Server::prepare_with(&["lr"])
    }

    /// The same with null sinks of these names, of which the first is the default one.
    pub(crate) fn prepare_with(sinks: &[&str]) -> Server {
        Server::prepare_loading(
            sinks
                .iter()
                .map(|name| null_sink(name, "channels=2"))
                .collect(),
        )
    }

    /// The same with modules of one's own, in the order in which they are to be loaded.
    pub(crate) fn prepare_loading(modules: Vec<String>) -> Server {
        let number = std::process::id() as u64 ^ unique();
        let dir = std::env::temp_dir().join(format!("lr-{number:08x}"));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        for folder in ["home", "run"] {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let socket = dir.join("pa.sock");
        assert!(socket.as_os_str().len() < 100, "{socket:?} is too long");
        let device = |kind: &str| {
            format!(
                "{kind}.!default {{ type pulse server \"unix:{}\" }}\n",
                socket.display()
            )
        };
        let config = device("pcm") + &device("ctl");
        fs::write(dir.join("asound.conf"), config).unwrap();
        Server {
            dir,
            modules,
            child: None,
        }
    }

    /// A server that runs, with one null sink `lr`.
    pub(crate) fn start() -> Server {
        Server::start_with(&["lr"])
    }

    /// A server that runs, with null sinks of these names.
    pub(crate) fn start_with(sinks: &[&str]) -> Server {
        let mut server = Server::prepare_with(sinks);
        server.run();
        server
    }

    /// Starts the server (again) and waits until it answers.
    pub(crate) fn run(&mut self) {
        self.try_run().unwrap();
    }

    /// The same, where there may be no sound server to start.
    pub(crate) fn try_run(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it runs already");
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("pulseaudio");
        self.environment(&mut command);
        command
            .args([
                "-n",
                "--daemonize=no",
                "--use-pid-file=no",
                "--exit-idle-time=-1",
            ])
            .args(["--realtime=no", "--high-priority=no"])
            .arg(format!(
                "--log-target=file:{}",
                self.dir.join("pa.log").display()
            ))
            .args([
                "-L",
                &format!(
                    "module-native-protocol-unix socket={} auth-anonymous=1",
                    self.socket().display()
                ),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for module in &self.modules {
            command.args(["-L", module]);
        }
        let child = command.spawn();
        self.child = Some(child.map_err(|error| format!("starting pulseaudio: {error}"))?);
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            if Instant::now() > deadline {
                return Err(format!("the sound server does not answer in {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    /// Makes programs play on this server, and nowhere else.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("HOME", self.dir.join("home"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env("PULSE_RUNTIME_PATH", self.dir.join("run"))
            .env("PULSE_STATE_PATH", self.dir.join("run"))
            .env("PULSE_COOKIE", self.dir.join("cookie"))
            .env("PULSE_SERVER", self.address())
            .env(
                "ALSA_CONFIG_PATH",
                format!("/usr/share/alsa/alsa.conf:{}", self.config().display()),
            )
            .env_remove("DISPLAY")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
    }

    /// A program that plays on this server, and nowhere else.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.environment(&mut command);
        command.stderr(Stdio::null());
        command
    }

    /// Runs `pactl` with these words; what it prints.
    pub(crate) fn control(&self, words: &str) -> String {
        let mut command = Command::new("pactl");
        self.environment(&mut command);
        let output = command.args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "pactl {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many programs play on it.
    pub(crate) fn streams(&self) -> usize {
        self.control("list short sink-inputs").lines().count()
    }

    /// Records what a sink plays from now on.
    pub(crate) fn record(&self, sink: &str) -> Recorder {
        self.record_at(sink, RATE)
    }

    /// The same, with so many frames a second.
    pub(crate) fn record_at(&self, sink: &str, hz: usize) -> Recorder {
        let path = self.dir.join(format!("{:x}.raw", unique()));
        let mut command = self.client("parec");
        command
            .args([
                "-d",
                &format!("{sink}.monitor"),
                "--raw",
                "--format=float32le",
            ])
            .args([&format!("--rate={hz}"), "--channels=2", "--latency-msec=20"])
            .stdin(Stdio::null())
            .stdout(File::create(&path).unwrap());
        let child = command.spawn().unwrap();
        let recorder = Recorder { child, path };
        wait_until("the recording begins", || recorder.frames() > 0);
        recorder
    }

    /// Where its devices are described for libasound.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("asound.conf")
    }

    /// How libasound and the pulse library name it.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("pa.sock")
    }
}

/// The module that is a sink without a device. Without `norewinds` every start stalls for more than a second.
pub(crate) fn null_sink(name: &str, channels: &str) -> String {
    format!("module-null-sink sink_name={name} norewinds=1 rate={RATE} format=float32le {channels}")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("pa.log")).unwrap_or_default();
            println!("--- sound server\n{log}");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A recording that goes on.
pub(crate) struct Recorder {
    child: Child,
    path: PathBuf,
}

impl Recorder {
    /// Frames recorded so far.
    pub(crate) fn frames(&self) -> usize {
        fs::metadata(&self.path).map_or(0, |meta| meta.len() as usize / 8)
    }

    /// Ends it; left and right.
    pub(crate) fn stop(mut self) -> [Vec<f32>; 2] {
        self.end();
        read(&self.path)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(path: &Path) -> [Vec<f32>; 2] {
    let bytes = fs::read(path).unwrap();
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let frames = bytes.chunks_exact(8);
    [
        frames.clone().map(|frame| value(&frame[..4])).collect(),
        frames.map(|frame| value(&frame[4..])).collect(),
    ]
}

/// Waits for something that happens in another process.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn unique() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}
