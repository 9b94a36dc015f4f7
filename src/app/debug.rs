//! What takes hours to reach, what only other machines have, or a fault of our own: can a test begin shortly before it? In a debug
//! build it can ask for a station that is founded shortly before both wrap-arounds, for WAV files that are full after a few
//! seconds, for a sound device at another rate than 48 kHz, for an encoder that fails, and for a membership that is renewed often.

use std::time::Duration;

use crate::io::random::{self, RandomError};
use crate::io::wav::MAX_FILE_BYTES;
use crate::wire::{FrameIndex, StationId};

/// A new station, drawn at random, and its first frame index.
///
/// # Errors
/// If the system has no random numbers.
#[cfg(not(debug_assertions))]
pub(super) fn found() -> Result<(StationId, FrameIndex), RandomError> {
    Ok((StationId(random::ssrc()?), FrameIndex(0)))
}

/// A new station, drawn at random, and its first frame index: 0, unless `LANRADIO_DEBUG_WRAP_IN=K` asks for one at which the
/// sequence number wraps in exactly K frames and the timestamp in the second half of them.
///
/// # Errors
/// If the system has no random numbers.
#[cfg(debug_assertions)]
pub(super) fn found() -> Result<(StationId, FrameIndex), RandomError> {
    let asked = std::env::var("LANRADIO_DEBUG_WRAP_IN")
        .ok()
        .and_then(|text| text.parse::<u16>().ok());
    loop {
        let station = StationId(random::ssrc()?);
        let Some(frames) = asked.filter(|&frames| frames > 1) else {
            return Ok((station, FrameIndex(0)));
        };
        // 65,536 frames move the timestamp by 15·2²² ticks: a station has 1,024 places to begin at, and about one in
        // sixty has a fitting one at K = 100.
        if let Some(first) = before_both_wraps(station, frames) {
            return Ok((station, first));
        }
    }
}

/// The size in bytes at which a WAV file is full.
#[cfg(not(debug_assertions))]
pub(super) fn wav_limit() -> u64 {
    MAX_FILE_BYTES
}

/// The size in bytes at which a WAV file is full: what its format can say, unless `LANRADIO_DEBUG_WAV_BYTES` asks for less.
#[cfg(debug_assertions)]
pub(super) fn wav_limit() -> u64 {
    std::env::var("LANRADIO_DEBUG_WAV_BYTES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(MAX_FILE_BYTES)
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(super) fn encoded(_frames: u64) {}

/// Panics in the encoder's thread, if `LANRADIO_DEBUG_PANIC_AFTER` asks for it after so many frames of a file.
#[cfg(debug_assertions)]
pub(super) fn encoded(frames: u64) {
    let asked = std::env::var("LANRADIO_DEBUG_PANIC_AFTER").ok();
    assert!(
        asked.is_none_or(|text| text != frames.to_string()),
        "asked for by a test"
    );
}

/// The rate in Hz at which a sound device is opened; `None`: its own.
#[cfg(not(debug_assertions))]
pub(super) fn device_hz() -> Option<u32> {
    None
}

/// The rate in Hz at which a sound device is opened: its own, unless `LANRADIO_DEBUG_DEVICE_HZ` asks for another.
#[cfg(debug_assertions)]
pub(super) fn device_hz() -> Option<u32> {
    let asked = std::env::var("LANRADIO_DEBUG_DEVICE_HZ").ok()?;
    asked.parse().ok()
}

/// How often the membership of the groups is renewed; `None`: as often as is good.
#[cfg(not(debug_assertions))]
pub(super) fn renewal() -> Option<Duration> {
    None
}

/// How often the membership of the groups is renewed: as often as is good, unless `LANRADIO_DEBUG_RENEW_MS` asks for more.
#[cfg(debug_assertions)]
pub(super) fn renewal() -> Option<Duration> {
    let asked = std::env::var("LANRADIO_DEBUG_RENEW_MS").ok()?;
    asked.parse().ok().map(Duration::from_millis)
}

#[cfg(debug_assertions)]
fn before_both_wraps(station: StationId, frames: u16) -> Option<FrameIndex> {
    use crate::wire::Slot;
    use crate::wire::ids::{FRAME_TICKS, Numbering};
    let numbering = Numbering::of(station);
    let to_seq_wrap = u64::from(station.first_seq().0.wrapping_neg().wrapping_sub(frames));
    let ticks = u64::from(frames) * FRAME_TICKS;
    let wraps_soon = |n: &u64| {
        let left = u64::from(numbering.timestamp(Slot(*n)).0.wrapping_neg());
        (ticks / 2..ticks).contains(&left)
    };
    (0..1024u64)
        .map(|step| to_seq_wrap + (step << 16))
        .find(wraps_soon)
        .map(FrameIndex)
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use crate::wire::Slot;
    use crate::wire::ids::Numbering;

    #[test]
    fn both_wraps_come_within_the_frames_asked_for() {
        let found: Vec<_> = (0..300)
            .filter_map(|ssrc| Some((ssrc, before_both_wraps(StationId(ssrc), 100)?)))
            .collect();
        assert!(!found.is_empty());
        for (ssrc, first) in found {
            let numbering = Numbering::of(StationId(ssrc));
            assert_eq!(numbering.seq(first.plus(100)).0, 0);
            assert!(
                numbering.timestamp(Slot(first.0 + 100)).0 < numbering.timestamp(Slot(first.0)).0
            );
        }
    }
}
