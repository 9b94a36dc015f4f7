//! One `lanradio` process on one host of the test network: started, watched through its files, ended by pid.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::net::{Host, Lan, inside};

/// The binary under test.
pub(crate) const LANRADIO: &str = env!("CARGO_BIN_EXE_lanradio");

/// The nodes' program: the binary under test, or another build of it that LANRADIO_BINARY names (an optimised one, for figures).
pub(crate) fn binary() -> String {
    std::env::var("LANRADIO_BINARY").unwrap_or_else(|_| LANRADIO.into())
}

/// `239.255.77.77` as the kernel prints it in `/proc/net/igmp`.
const GROUP_IN_IGMP: &str = "4D4DFFEF";
/// `ff15::cc52:1` as the kernel prints it in `/proc/net/igmp6`.
const GROUP_IN_IGMP6: &str = "ff1500000000000000000000cc520001";

/// Every host looks as if it had been suspended for this long: the two clocks differ by it.
pub(crate) const SUSPENDED_S: u32 = 5_000;

/// How long anything that should happen at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running process of ours. Dropping it kills it; in a panic it first shows what it had to say.
pub(crate) struct Node {
    name: String,
    child: Child,
    events: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A command that will run on `host`: in its network, with its clocks.
pub(crate) fn on(host: &Host, program: &str) -> Command {
    let offset = host.clock_offset_s;
    let (monotonic, boot) = (offset.to_string(), (offset + SUSPENDED_S).to_string());
    let mut command = inside(&host.namespace, "unshare");
    command.args(["-T", "--monotonic", &monotonic, "--boottime", &boot]);
    command.args(["--", program]);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LANRADIO_") {
            command.env_remove(variable);
        }
    }
    command
        .env("LANRADIO_INTERFACE", "lan0")
        .stdin(Stdio::null());
    command
}

impl Lan {
    /// Starts `lanradio ARGUMENTS` on host number `host`; `name` names its files.
    pub(crate) fn start(&self, host: usize, name: &str, arguments: &[&str]) -> Node {
        self.start_with(host, name, arguments, |_| {})
    }

    /// The same, after `adjust` had a look at the command (environment, stdin).
    pub(crate) fn start_with(
        &self,
        host: usize,
        name: &str,
        arguments: &[&str],
        adjust: impl FnOnce(&mut Command),
    ) -> Node {
        let file = |extension: &str| self.dir.join(format!("{name}.{extension}"));
        let (events, stdout, stderr) = (file("events"), file("out"), file("err"));
        let mut command = on(&self.hosts[host], &binary());
        command.args(arguments).arg("--events").arg(&events);
        command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        adjust(&mut command);
        let child = command.spawn().unwrap();
        Node {
            name: name.into(),
            child,
            events,
            stdout,
            stderr,
        }
    }

    /// Starts a listener that writes `NAME.wav` and returns once it is a member of the group.
    pub(crate) fn listen(&self, host: usize, name: &str, more: &[&str]) -> Node {
        let output = format!("file:{}", self.wav(name).display());
        let mut arguments = vec!["listen", "--output", &output];
        arguments.extend(more);
        let mut node = self.start(host, name, &arguments);
        node.await_joined();
        node
    }

    /// Where [`Lan::listen`] lets the listener `name` write its sound.
    pub(crate) fn wav(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.wav"))
    }

    /// A file of this test, as text for a command line.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The process's stdin, for a command that was given a pipe.
    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Waits for the end of the process; panics when it takes longer than `limit_s`.
    pub(crate) fn wait(&mut self, limit_s: u64) -> ExitStatus {
        let mut status = None;
        self.until(Duration::from_secs(limit_s), "did not end", |node| {
            status = node.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits for the end of the process and expects this exit code.
    pub(crate) fn wait_for_code(&mut self, limit_s: u64, code: i32) {
        let status = self.wait(limit_s);
        assert_eq!(
            status.code(),
            Some(code),
            "{} ended with {status}: {}",
            self.name,
            self.stderr()
        );
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    pub(crate) fn stdout(&self) -> Vec<u8> {
        fs::read(&self.stdout).unwrap()
    }

    /// All events up to now. Each line must be an object with the three fields that every event has.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        // Each event is one write: there are no half lines, but a reader is not to depend on that.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let read = |line: &str| {
            let event: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(
                event["t_us"].is_i64() && event["at"].is_string() && event["event"].is_string(),
                "{line}"
            );
            event
        };
        whole.lines().map(read).collect()
    }

    /// The events of one name, in order.
    pub(crate) fn events_named(&self, name: &str) -> Vec<Value> {
        self.events()
            .into_iter()
            .filter(|event| event["event"] == name)
            .collect()
    }

    /// Waits until `count` events of this name were written and returns the last of them.
    pub(crate) fn await_event(&mut self, name: &str, count: usize, limit_s: u64) -> Value {
        let failure = format!("did not write event number {count} of {name}");
        self.until(Duration::from_secs(limit_s), &failure, |node| {
            node.events_named(name).len() >= count
        });
        self.events_named(name)[count - 1].clone()
    }

    /// A number from the last `stats` event.
    pub(crate) fn last_stat(&self, field: &str) -> u64 {
        let stats = self.events_named("stats");
        let last = stats
            .last()
            .unwrap_or_else(|| panic!("{} wrote no stats", self.name));
        last[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field} in {last}"))
    }

    /// Waits until the kernel lists the process's host as a member of the default group (IPv4 or IPv6).
    pub(crate) fn await_joined(&mut self) {
        let pid = self.pid();
        self.until(PATIENCE, "did not join the group", |node| {
            assert!(
                node.is_running(),
                "{} ended early: {}",
                node.name,
                node.stderr()
            );
            let read =
                |table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            read("igmp").contains(GROUP_IN_IGMP) || read("igmp6").contains(GROUP_IN_IGMP6)
        });
    }

    /// The most memory the process ever had, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn until(&mut self, limit: Duration, failure: &str, mut done: impl FnMut(&mut Node) -> bool) {
        let deadline = Instant::now() + limit;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "{} {failure} within {limit:?}: {}",
                self.name,
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- {} (stderr)\n{}", self.name, tail(&self.stderr, 8));
            println!("--- {} (events)\n{}", self.name, tail(&self.events, 3));
        }
    }
}

fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Waits until `done`, at most `limit_s` seconds.
pub(crate) fn wait_until(limit_s: u64, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(limit_s);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {limit_s} s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
