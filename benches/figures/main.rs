//! What does lanradio cost? The figures of the README, from the real binary on loopback, with the floor and a peer beside it.
//!
//!     cargo bench --bench figures -- steady wav mp3 memory hour device trx      (or: all)
//!
//! Each is the median of FIGURES_RUNS (5) runs of FIGURES_SECONDS (30). Every figure of one run comes from the same minutes of
//! the same machine, since figures of different days cannot be compared. The rows go to standard output and, if FIGURES_OUT is
//! set, are appended to that file. The exit code says only whether it could measure; the goals are in the rows.
//!
//! With no names it lists them and ends, so that `cargo bench` stays the criterion benches.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "measures from outside, with the ordinary clock and sockets"
)]

#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod hour;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod scenes;
#[cfg(target_os = "linux")]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with tests/sound, which uses all of it and fails where we say why there are no figures"
)]
#[path = "../../tests/sound/server.rs"]
mod sound_server;
#[cfg(target_os = "linux")]
mod trx;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [name, rest @ ..] = names.as_slice()
        && name == floor::CHILD
    {
        return floor::run(rest);
    }
    scenes::run(&names)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the figures are measured on Linux");
}
