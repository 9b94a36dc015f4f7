//! How does a test hold a real process by the hand, and never longer than a deadline?
//!
//! A [`Studio`] is one test's own little world: a random group and port on the loopback interface, so that tests run side
//! by side without hearing each other, and a folder that is the working directory of all its processes. A [`Process`] is one
//! running `lanradio`: threads collect what it prints, a test waits for a line or an event with a condition variable instead
//! of sleeping, and whatever a test leaves running is killed, by its pid, when the `Process` is dropped.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::OpenptyResult;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use signal_hook::consts::SIGHUP;

use crate::pseudo_terminal::terminal;
use crate::sound::{read_wav, tone, wav};

/// Longer than any honest step takes, even while two other test processes compile: what runs into it is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// 64 random bits from the standard library's own seed.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Reports that a part of a test cannot run here: loud by default, a failure where everything must run (`CI=true`).
pub(crate) fn cannot(what: &str, missing: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{what} needs {missing}, and CI=true allows no skipping"
    );
    // Not `eprintln!`, which a test that passes swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} needs {missing}");
}

/// One test's own group, port and folder.
pub(crate) struct Studio {
    pub(crate) ip: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
}

impl Studio {
    pub(crate) fn new() -> Studio {
        let bits = random();
        let ip = Ipv4Addr::new(239, 255, (bits >> 8) as u8, (bits >> 16) as u8);
        // Below the ephemeral ports; steps of 4, since a station uses three ports in a row.
        let port = 10_000 + (bits >> 32) as u16 % 5_000 * 4;
        let dir = std::env::temp_dir().join(format!("lanradio-cli-{bits:016x}"));
        fs::create_dir(&dir).unwrap();
        Studio { ip, port, dir }
    }

    pub(crate) fn group(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The program with this studio's group and folder, and nothing of the tester's own settings.
    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        // Where hang-ups are ignored (`nohup make test`), what is started would ignore them, too; where they are handled, it does not.
        static HANG_UP: Once = Once::new();
        HANG_UP.call_once(|| drop(signal_hook::flag::register(SIGHUP, Arc::default())));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanradio"));
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("LANRADIO_") || name == "NO_COLOR" || name.starts_with("CLICOLOR") {
                command.env_remove(&key);
            }
        }
        command
            .args(args)
            .env("LANRADIO_INTERFACE", "lo")
            .env("LANRADIO_GROUP", self.group())
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts `lanradio` with the words of `line` as arguments.
    pub(crate) fn start(&self, line: &str) -> Process {
        Process::spawn(self.command(line.split_whitespace()))
    }

    /// The same, with environment variables.
    pub(crate) fn start_with(&self, env: &[(&str, &str)], line: &str) -> Process {
        let mut command = self.command(line.split_whitespace());
        command.envs(env.iter().copied());
        Process::spawn(command)
    }

    /// Starts and waits for the end.
    pub(crate) fn run(&self, line: &str) -> Finished {
        self.start(line).finish()
    }

    /// A listener that has joined: it has said on which interface it listens.
    pub(crate) fn listener(&self, line: &str) -> Process {
        let process = self.start(line);
        process.wait_stderr("lo");
        process
    }

    /// Writes a stereo tone of `ms` milliseconds at 48 kHz as `name`; its samples per channel.
    pub(crate) fn tone(&self, name: &str, ms: usize, hz: f64) -> usize {
        let samples = tone(ms, hz);
        fs::write(self.path(name), wav(48_000, &samples, &[])).unwrap();
        samples.len() / 2
    }

    /// What `name` holds by now, as a WAV file of ours must be.
    pub(crate) fn recording(&self, name: &str) -> Vec<i16> {
        read_wav(&self.path(name))
    }

    /// Whether `name` is there yet and not empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        fs::metadata(self.path(name)).is_ok_and(|meta| meta.len() > 0)
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What a stream of a process has said so far.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    closed: bool,
}

/// A stream of a process, read by a thread of its own so that the process never blocks on it.
#[derive(Clone, Default)]
struct Ear(Arc<(Mutex<Said>, Condvar)>);

impl Ear {
    fn on(mut source: impl Read + Send + 'static) -> Ear {
        let ear = Ear::default();
        let shared = ear.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                // A pty reports the end as EIO, a pipe as 0 bytes.
                let count = source.read(&mut chunk).unwrap_or(0);
                let mut said = shared.0.0.lock().unwrap();
                said.bytes.extend_from_slice(&chunk[..count]);
                said.closed = count == 0;
                shared.0.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        ear
    }

    /// An ear with nothing to hear.
    fn deaf() -> Ear {
        let ear = Ear::default();
        ear.0.0.lock().unwrap().closed = true;
        ear
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().bytes.clone()
    }

    /// Waits until `found` finds something in what was said; None when the stream closes or the time is over.
    fn wait<T>(&self, patience: Duration, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let until = Instant::now() + patience;
        let mut said = self.0.0.lock().unwrap();
        loop {
            if let Some(value) = found(&said.bytes) {
                return Some(value);
            }
            let left = until.saturating_duration_since(Instant::now());
            if said.closed || left.is_zero() {
                return None;
            }
            said = self.0.1.wait_timeout(said, left).unwrap().0;
        }
    }

    fn wait_closed(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut said = self.0.0.lock().unwrap();
        while !said.closed && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            said = self.0.1.wait_timeout(said, left).unwrap().0;
        }
        said.closed
    }
}

/// A running `lanradio`.
pub(crate) struct Process {
    child: Child,
    line: String,
    started: Instant,
    stdout: Ear,
    stderr: Ear,
    pub(crate) stdin: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Process {
        let line = line_of(&command);
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map_or_else(Ear::deaf, Ear::on);
        let stderr = child.stderr.take().map_or_else(Ear::deaf, Ear::on);
        let stdin = child.stdin.take();
        Process {
            child,
            line,
            started,
            stdout,
            stderr,
            stdin,
        }
    }

    /// Starts it without a reader on stdout, which the caller takes.
    pub(crate) fn spawn_unread(mut command: Command) -> (Process, std::process::ChildStdout) {
        let line = line_of(&command);
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        let stderr = child.stderr.take().map_or_else(Ear::deaf, Ear::on);
        let process = Process {
            child,
            line,
            started,
            stdout: Ear::deaf(),
            stderr,
            stdin: None,
        };
        (process, pipe)
    }

    /// Starts it with a terminal of `columns` columns as its stderr (and stdout stays a pipe).
    pub(crate) fn spawn_on_terminal(mut command: Command, columns: u16) -> Process {
        let OpenptyResult { master, slave } = terminal(columns);
        command.stderr(Stdio::from(slave));
        let line = line_of(&command);
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        // The command holds the parent's copy of the slave: without dropping it the master never sees the end.
        drop(command);
        let stdout = child.stdout.take().map_or_else(Ear::deaf, Ear::on);
        Process {
            child,
            line,
            started,
            stdout,
            stderr: Ear::on(fs::File::from(master)),
            stdin: None,
        }
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until stderr holds `text`.
    #[track_caller]
    pub(crate) fn wait_stderr(&self, text: &str) {
        let found = self.stderr.wait(PATIENCE, |bytes| {
            String::from_utf8_lossy(bytes).contains(text).then_some(())
        });
        assert!(
            found.is_some(),
            "`{}` never said {text:?} on stderr, which is:\n{}",
            self.line,
            self.stderr()
        );
    }

    /// Waits for `count` bytes on stdout.
    #[track_caller]
    pub(crate) fn wait_stdout_bytes(&self, count: usize) {
        let found = self
            .stdout
            .wait(PATIENCE, |bytes| (bytes.len() >= count).then_some(()));
        assert!(
            found.is_some(),
            "`{}` wrote {} of {count} bytes to stdout; stderr:\n{}",
            self.line,
            self.stdout().len(),
            self.stderr()
        );
    }

    /// With `--events -`: all events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        parse_events(&self.stdout.bytes())
    }

    /// With `--events -`: the first event called `name`, waited for.
    #[track_caller]
    pub(crate) fn wait_event(&self, name: &str) -> Value {
        self.wait_events(name, 1).remove(0)
    }

    /// With `--events -`: `count` or more events called `name`, waited for.
    #[track_caller]
    pub(crate) fn wait_events(&self, name: &str, count: usize) -> Vec<Value> {
        let found = self.stdout.wait(PATIENCE, |bytes| {
            let named = named(&parse_events(bytes), name);
            (named.len() >= count).then_some(named)
        });
        found.unwrap_or_else(|| {
            panic!(
                "`{}` never wrote {count} events `{name}`; stdout:\n{}\nstderr:\n{}",
                self.line,
                String::from_utf8_lossy(&self.stdout()),
                self.stderr()
            )
        })
    }

    /// With `--events -`: the first event called `name` after the first one called `after`.
    #[track_caller]
    pub(crate) fn wait_event_after(&self, after: &str, name: &str) -> Value {
        let found = self.stdout.wait(PATIENCE, |bytes| {
            let events = parse_events(bytes);
            let at = events.iter().position(|event| event["event"] == after)?;
            events[at..]
                .iter()
                .find(|event| event["event"] == name)
                .cloned()
        });
        found.unwrap_or_else(|| {
            panic!(
                "`{}` never wrote `{name}` after `{after}`; stdout:\n{}\nstderr:\n{}",
                self.line,
                String::from_utf8_lossy(&self.stdout()),
                self.stderr()
            )
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, `PATIENCE` at most.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    #[track_caller]
    pub(crate) fn finish_within(mut self, patience: Duration) -> Finished {
        match self.try_finish(patience) {
            Some(finished) => finished,
            None => panic!(
                "`{}` still runs after {:?}; stderr:\n{}",
                self.line,
                self.age(),
                self.stderr()
            ),
        }
    }

    /// Waits for its end; None if it still runs then.
    pub(crate) fn try_finish(&mut self, patience: Duration) -> Option<Finished> {
        let until = Instant::now() + patience;
        let left = || until.saturating_duration_since(Instant::now());
        self.stderr.wait_closed(left());
        self.stdout.wait_closed(left());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(Finished {
                    line: self.line.clone(),
                    status,
                    took: self.age(),
                    stdout: self.stdout(),
                    stderr: self.stderr(),
                });
            }
            if left().is_zero() {
                return None;
            }
            // Both streams are closed: the exit itself is a matter of microseconds, and cannot be waited for with a deadline.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a process has left behind.
pub(crate) struct Finished {
    line: String,
    status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts the exit code, and that the program did not panic on its way.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Finished {
        assert_eq!(
            self.code(),
            Some(code),
            "`{}` (signal {:?}); stderr:\n{}\nstdout:\n{}",
            self.line,
            self.status.signal(),
            self.stderr,
            String::from_utf8_lossy(&self.stdout)
        );
        assert!(
            !self.stderr.contains("panicked"),
            "`{}` panicked:\n{}",
            self.line,
            self.stderr
        );
        self
    }

    /// Asserts that stderr holds each of `texts`, whatever their case.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Finished {
        let stderr = self.stderr.to_lowercase();
        for text in texts {
            assert!(
                stderr.contains(&text.to_lowercase()),
                "`{}` does not say {text:?}:\n{}",
                self.line,
                self.stderr
            );
        }
        self
    }

    /// Asserts that stderr holds none of `texts`, whatever their case.
    #[track_caller]
    pub(crate) fn says_not(self, texts: &[&str]) -> Finished {
        let stderr = self.stderr.to_lowercase();
        for text in texts {
            assert!(
                !stderr.contains(&text.to_lowercase()),
                "`{}` says {text:?}:\n{}",
                self.line,
                self.stderr
            );
        }
        self
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        parse_events(&self.stdout)
    }
}

/// The command as one would type it, for messages.
fn line_of(command: &Command) -> String {
    let words: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect();
    format!("lanradio {}", words.join(" "))
}

/// The complete lines of `bytes` as JSON; a line that is not JSON fails the test.
pub(crate) fn parse_events(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    let Some(end) = text.rfind('\n') else {
        return Vec::new();
    };
    text[..end]
        .lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("not an event: {line:?}: {error}"),
        })
        .collect()
}

/// The events called `name`.
pub(crate) fn named(events: &[Value], name: &str) -> Vec<Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .cloned()
        .collect()
}

/// Makes `name`, a FLAC file with a tone and these tags; false (after saying so) where there is no ffmpeg.
#[must_use]
pub(crate) fn tagged(studio: &Studio, name: &str, ms: usize, title: &str, artist: &str) -> bool {
    let source = format!("{name}.wav");
    studio.tone(&source, ms, 440.0);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-i", &source])
        .args(["-metadata", &format!("title={title}")])
        .args(["-metadata", &format!("artist={artist}")])
        .arg(name)
        .stdin(Stdio::null())
        .current_dir(&studio.dir)
        .output();
    let Ok(made) = made else {
        cannot("a file with tags", "ffmpeg");
        return false;
    };
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    true
}

/// Feeds `bytes` to the process's stdin and closes it.
pub(crate) fn feed(process: &mut Process, bytes: Vec<u8>) {
    let mut stdin = process.stdin.take().unwrap();
    thread::spawn(move || {
        // The process may leave before it has read everything; the test sees that by its exit code.
        let _ = stdin.write_all(&bytes);
    });
}
