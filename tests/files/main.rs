//! Is every file heard: in full, on the right side, at the right pitch, whatever its format, rate and channels?
//!
//! The files are made here, by ffmpeg, from music that is made here ([`table`] is the list of them). What is heard is what the
//! library hands to the encoder; what should be heard is ffmpeg's own decode, channel by channel, mixed to stereo by the book.
//! A few of each container go through the real binary and the loopback interface as well. Damaged files must be played or
//! named; nothing may panic, hang, or take memory.
//!
//! Needs ffmpeg. Without it each test says so in one line; under `CI=true` it fails. `LANRADIO_PROOF=1` runs the long versions,
//! `LANRADIO_SEED` repeats a run with damaged files, `LANRADIO_KEEP=1` keeps the folder with the files.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes read real clocks, share lists and sleep"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod decoded;
mod ffmpeg;
mod layer1;
mod long;
mod measure;
mod music;
mod mutated;
mod programme;
mod refused;
mod table;

/// Whether the long versions were asked for (`make proof`).
fn proof() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}
