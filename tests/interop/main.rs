//! Do others understand us, and we them? ffmpeg, ffplay, GStreamer and mpv record our station; we record streams of ffmpeg and
//! GStreamer.
//!
//! On networks of namespaces, as in `tests/lan` (whose tools are used here). Each recording is compared with the music that was
//! sent: every window of a second must be that music, at one constant distance from its source from the first window to the
//! last. A sample too many or too few, a block twice, a hole or another pitch breaks the distance.
//!
//! Needs what the LAN tests need, `ffplay`, and `gst-launch-1.0` with the base and good plugins. Where mpv is missing, only its
//! part is skipped, which is said. `LANRADIO_KEEP=1` keeps the recordings.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes read real clocks and sleep"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    dead_code,
    reason = "tools of the LAN tests, not all of them used here"
)]

#[path = "../lan/capture.rs"]
mod capture;
#[path = "../lan/measure.rs"]
mod measure;
#[path = "../lan/music.rs"]
mod music;
#[path = "../lan/net.rs"]
mod net;
#[path = "../lan/process.rs"]
mod process;
#[path = "../lan/wav.rs"]
mod wav;

mod judge;
mod ours;
mod theirs;
mod tools;
