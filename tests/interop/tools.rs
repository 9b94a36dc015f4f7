//! Programs of others on a host of the test network, and what they recorded.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::net::Lan;
use crate::process::on;

/// Another program. Dropping it kills it, and in a panic shows what it had to say.
pub(crate) struct Tool {
    name: String,
    child: Child,
    log: std::path::PathBuf,
}

impl Tool {
    /// Starts `program` with `arguments` (separated by blanks) on host number `host`.
    pub(crate) fn start(
        lan: &Lan,
        host: usize,
        name: &str,
        program: &str,
        arguments: &str,
    ) -> Tool {
        let log = lan.dir.join(format!("{name}.log"));
        let mut command: Command = on(&lan.hosts[host], program);
        command.args(arguments.split_whitespace());
        command
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap());
        let child = command.spawn().unwrap();
        Tool {
            name: name.into(),
            child,
            log,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Kills it as the loss of its machine would: no goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit_s: u64) {
        let deadline = Instant::now() + Duration::from_secs(limit_s);
        while self.child.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < deadline,
                "{} did not end in {limit_s} s",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            println!(
                "--- {}\n{}",
                self.name,
                &log[log.len().saturating_sub(2_000)..]
            );
        }
    }
}

/// The two sides of raw 16-bit stereo at 48 kHz.
pub(crate) fn raw_stereo(path: &Path) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let side = |side: usize| {
        let frames = bytes.chunks_exact(4);
        let sample =
            |frame: &[u8]| f32::from(i16::from_le_bytes([frame[2 * side], frame[2 * side + 1]]));
        frames.map(|frame| sample(frame) / 32_768.0).collect()
    };
    vec![side(0), side(1)]
}

/// Says why these tests cannot run, once per test; fails instead where tests must run (`CI=true`).
pub(crate) fn require() -> Option<()> {
    static MISSING: OnceLock<bool> = OnceLock::new();
    let missing = *MISSING.get_or_init(|| {
        let elements = [
            "udpsrc",
            "rtpjitterbuffer",
            "rtpopuspay",
            "opusdec",
            "wavparse",
        ];
        let exists = |element: &&str| {
            let asked = Command::new("gst-inspect-1.0")
                .args(["--exists", element])
                .status();
            asked.is_ok_and(|status| status.success())
        };
        !has("ffplay") || !elements.iter().all(exists)
    });
    if missing {
        let what = "ffplay, and gst-launch-1.0 with the base and good plugins of GStreamer (scripts/setup.sh test)";
        assert!(
            !in_ci(),
            "interop tests need {what}, and CI=true forbids skipping them"
        );
        say(&format!("SKIPPED: interop tests need {what}"));
        return None;
    }
    crate::net::require()
}

/// Whether tests must run (`CI=true`).
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether there is such a program.
pub(crate) fn has(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// A line that is seen also when the test passes (which swallows what `eprintln!` says).
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
