//! Does a real sound device play the music: cpal into a PulseAudio null sink, recorded and compared?
//!
//! Each test has a sound server of its own ([`server`]); each program runs with clocks of its own, so that what is in
//! step is so because it was made so. What is recorded is judged in windows of 50 ms ([`judge`]).
//! `LANRADIO_PROOF=1` plays longer and takes the return of the device more often.

// Helpers outside of #[test] functions, and threads and clocks of the tests' own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests: a failed unwrap is a failed test, and deadlines need a clock"
)]

mod adapting;
mod devices;
mod foreign;
mod judge;
mod monitor;
mod pausing;
mod playing;
mod returning;
mod server;

// The same helpers as the command line's tests; not all of them are needed here.
#[allow(dead_code, reason = "shared with tests/cli, which uses all of it")]
#[path = "../cli/network.rs"]
mod network;
#[allow(dead_code, reason = "shared with tests/cli, which uses all of it")]
#[path = "../cli/pseudo_terminal.rs"]
mod pseudo_terminal;
#[allow(dead_code, reason = "shared with tests/cli, which uses all of it")]
#[path = "../cli/sound.rs"]
mod sound;
#[allow(dead_code, reason = "shared with tests/takeover, which uses all of it")]
#[path = "../takeover/stalls.rs"]
mod stalls;
#[allow(dead_code, reason = "shared with tests/cli, which uses all of it")]
#[path = "../cli/support.rs"]
mod support;

use std::process::Command;

use server::Server;
use support::{Process, Studio, cannot};

/// The long versions.
pub(crate) fn proof() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}

/// Whether there is what these tests need; says so if not, and fails where everything must run.
pub(crate) fn has_sound_server() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let all = has("pulseaudio") && has("pactl") && has("parec");
    if !all {
        cannot("a sound test", "pulseaudio and pulseaudio-utils");
    }
    all
}

/// `lanradio LINE` on the sound server, with clocks of its own (`offset_s` seconds ahead).
pub(crate) fn start(studio: &Studio, server: &Server, offset_s: u32, line: &str) -> Process {
    Process::spawn(command(studio, server, offset_s, line))
}

/// The same, to be started.
pub(crate) fn command(studio: &Studio, server: &Server, offset_s: u32, line: &str) -> Command {
    let plain = studio.command(line.split_whitespace());
    let mut command = Command::new("unshare");
    let (monotonic, boot) = (offset_s.to_string(), (offset_s + 5_000).to_string());
    command.args(["-T", "--monotonic", &monotonic, "--boottime", &boot, "--"]);
    command.arg(plain.get_program()).args(plain.get_args());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    server.environment(&mut command);
    command
        .current_dir(&studio.dir)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}
