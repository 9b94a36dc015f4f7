//! Is it true on a network? The real binary, on hosts that share nothing but a cable.
//!
//! Every host is a network namespace with its own clock offset (a time namespace), all of them plugged into one bridge
//! in a namespace of its own. The tests drive `lanradio` through its command line only and judge it by what they saw on
//! the bridge, decoded straight with libopus: nothing here uses the library under test, so an error in it cannot hide
//! itself. No packet leaves the namespaces.
//!
//! Needs root and `ip`, `nft`, `ffmpeg`, `unshare`. Without them each test says so in one line; under `CI=true` it fails.
//! `LANRADIO_PROOF=1` runs the long versions, `LANRADIO_KEEP=1` keeps the folder with logs and WAV files.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes read real clocks and sleep"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod capture;
mod garbage;
mod measure;
mod music;
mod net;
mod process;
mod reference;
mod wav;

mod faults;
mod formats;
mod harness;
mod reception;
mod stations;
mod suffering;
mod timing;

/// Whether the long versions were asked for (`make proof`).
fn proof() -> bool {
    std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1")
}
