//! One sound server on which several nodes play at the same time, recorded as one: how far they are apart is in the recording.
//!
//! The bus is one null sink of eight channels; each node has a sink of its own that is two of these. All of them leave at the same
//! instants, so the recording is exact to the sample. When that was on the machine's clock is known without asking the
//! server, whose answers are estimates: a sample can be read here a moment after the sink passed it on, never before
//! ([`Curve`]).

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, fcntl};

use crate::lines::Curve;
use crate::process::wait_until;
use crate::server::{RATE, Server, null_sink};
use crate::stalls::now_ns;

/// So many nodes can play.
pub(crate) const PLAYERS: usize = 4;
const CHANNELS: usize = 2 * PLAYERS;
const MAP: &str = "aux0,aux1,aux2,aux3,aux4,aux5,aux6,aux7";
/// Bytes of a frame of the recording: 16 bit.
const FRAME: usize = 2 * CHANNELS;

/// How much later than the sink's own instant a sample can be read, at least: 0.18 ms until the sink has woken up and mixed a
/// block, the rest on the way here. Held against the sink's own timer: 0.27 to 0.42 ms on a busy machine.
const ON_THE_WAY_NS: i64 = 320_000;
/// After a pause of this the next bytes are the beginning of what the sink passed on.
const PAUSE_NS: i64 = 5_000_000;

/// Frames in which the server's pace is one, and some arrival was not late: 4 s.
const STRETCH: f64 = 4.0 * RATE as f64;

/// Whether there is a sound server to start; says so if not, and fails where everything must run.
pub(crate) fn require() -> Option<()> {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if has("pulseaudio") && has("parec") {
        return Some(());
    }
    const WHY: &str = "tests of what is heard in step need pulseaudio and pulseaudio-utils";
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "{WHY}, and CI=true forbids skipping them");
    // Not `eprintln!`, which a test that passes swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {WHY}");
    None
}

/// A server with a bus and a sink `n0`, `n1`, … for each player.
pub(crate) struct Bus {
    server: Server,
}

impl Bus {
    pub(crate) fn start() -> Bus {
        let mut modules = vec![null_sink(
            "bus",
            &format!("channels={CHANNELS} channel_map={MAP}"),
        )];
        modules.extend((0..PLAYERS).map(|player| {
            let (left, right) = (2 * player, 2 * player + 1);
            format!(
                "module-remap-sink sink_name=n{player} master=bus channels=2 channel_map=front-left,front-right \
                 master_channel_map=aux{left},aux{right} remix=no"
            )
        }));
        let mut server = Server::prepare_loading(modules);
        server.run();
        Bus { server }
    }

    /// Makes a program play as this player.
    pub(crate) fn play_as(&self, player: usize, command: &mut Command) {
        self.server.environment(command);
        command.env("PULSE_SINK", format!("n{player}"));
    }

    /// A program that plays what it is fed with on all channels at once, for tests of what is measured here.
    pub(crate) fn feed(&self) -> Command {
        let mut command = self.server.client("pacat");
        command
            .args(["-p", "-d", "bus", "--raw", "--format=float32le"])
            .args([format!("--rate={RATE}"), format!("--channels={CHANNELS}")])
            .arg(format!("--channel-map={MAP}"));
        command
    }

    /// Records all players from now on.
    pub(crate) fn record(&self) -> Recorder {
        let mut command = self.server.client("parec");
        command
            .args(["-d", "bus.monitor", "--raw", "--format=s16le"])
            .args([format!("--rate={RATE}"), format!("--channels={CHANNELS}")])
            .args([&format!("--channel-map={MAP}"), "--latency-msec=20"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        // Two seconds fit: should this process stand still, the recorder loses nothing.
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        let tape = Arc::new(Mutex::new(Tape::default()));
        let sink = Arc::clone(&tape);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 18];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let at_ns = now_ns();
                sink.lock().unwrap().add(&buffer[..count], at_ns);
            }
        });
        wait_until(20, "the recording begins", || {
            !tape.lock().unwrap().bytes.is_empty()
        });
        Recorder {
            child,
            tape,
            thread: Some(thread),
        }
    }
}

/// What came from the recorder.
#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    /// The frames before each block that the sink passed on, and when it came.
    arrivals: Vec<(f64, i64)>,
    last_ns: i64,
}

impl Tape {
    fn add(&mut self, bytes: &[u8], at_ns: i64) {
        let paused = at_ns - std::mem::replace(&mut self.last_ns, at_ns) > PAUSE_NS;
        if paused && self.bytes.len().is_multiple_of(FRAME) {
            self.arrivals
                .push(((self.bytes.len() / FRAME) as f64, at_ns));
        }
        self.bytes.extend_from_slice(bytes);
    }
}

/// A recording that goes on.
pub(crate) struct Recorder {
    child: Child,
    tape: Arc<Mutex<Tape>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Ends it.
    pub(crate) fn stop(mut self) -> Recording {
        self.end();
        let tape = std::mem::take(&mut *self.tape.lock().unwrap());
        // The first blocks are what the server held already.
        let settled = tape
            .arrivals
            .iter()
            .filter(|(frame, _)| *frame > RATE as f64);
        let curve = Curve::under(&settled.copied().collect::<Vec<_>>(), STRETCH);
        let value = |bytes: &[u8]| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0;
        let channel = |channel: usize| -> Vec<f32> {
            let frames = tape.bytes.chunks_exact(FRAME);
            frames.map(|frame| value(&frame[2 * channel..])).collect()
        };
        Recording {
            channels: (0..CHANNELS).map(channel).collect(),
            curve,
        }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all players played.
pub(crate) struct Recording {
    channels: Vec<Vec<f32>>,
    curve: Curve,
}

impl Recording {
    /// One side of a player.
    pub(crate) fn side(&self, player: usize, side: usize) -> &[f32] {
        &self.channels[2 * player + side]
    }

    /// When sample `position` was heard, on the clock of captured packets.
    pub(crate) fn heard_ns(&self, position: f64) -> i64 {
        self.curve.at_ns(position) - ON_THE_WAY_NS
    }

    /// Which sample was heard at this instant.
    pub(crate) fn position(&self, at_ns: i64) -> f64 {
        self.curve.step(at_ns + ON_THE_WAY_NS)
    }

    /// How far the device's pace is off, in parts per million.
    pub(crate) fn pace_ppm(&self) -> f64 {
        (1e9 / self.curve.per_step_ns() / RATE as f64 - 1.0) * 1e6
    }
}
