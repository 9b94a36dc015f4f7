//! Where does a station begin to count? At 0; in a debug build a test can begin shortly before both wrap-arounds.

use crate::wire::{FrameIndex, StationId};

/// The first frame index of a new station.
#[cfg(not(debug_assertions))]
pub(super) fn first_frame(_: StationId) -> FrameIndex {
    FrameIndex(0)
}

/// The first frame index of a new station: 0, unless `LANRADIO_DEBUG_WRAP_IN=K` asks for one at which the sequence number
/// wraps in exactly K frames and the timestamp within K frames.
#[cfg(debug_assertions)]
pub(super) fn first_frame(station: StationId) -> FrameIndex {
    let frames = std::env::var("LANRADIO_DEBUG_WRAP_IN").ok().and_then(|text| text.parse::<u16>().ok());
    frames.filter(|&frames| frames > 1).map_or(FrameIndex(0), |frames| before_both_wraps(station, frames))
}

#[cfg(any(debug_assertions, test))]
fn before_both_wraps(station: StationId, frames: u16) -> FrameIndex {
    use crate::wire::Slot;
    use crate::wire::ids::{FRAME_TICKS, Numbering};
    let numbering = Numbering::of(station);
    let to_seq_wrap = u64::from(station.first_seq().0.wrapping_neg().wrapping_sub(frames));
    let ticks = u64::from(frames) * FRAME_TICKS;
    let wraps_soon = |n: &u64| u64::from(numbering.timestamp(Slot(*n)).0.wrapping_neg()) < ticks;
    // The timestamp moves by 65536 frames per step, so that a hit comes after about 2³² / ticks steps.
    let found = (0..1u64 << 20).map(|step| to_seq_wrap + (step << 16)).find(wraps_soon);
    FrameIndex(found.unwrap_or(to_seq_wrap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Slot;
    use crate::wire::ids::Numbering;

    #[test]
    fn both_wraps_come_within_the_frames_asked_for() {
        for ssrc in [0, 7, 0xdead_beef] {
            let numbering = Numbering::of(StationId(ssrc));
            let first = before_both_wraps(StationId(ssrc), 100);
            assert_eq!(numbering.seq(first.plus(100)).0, 0);
            assert!(numbering.timestamp(Slot(first.0 + 100)).0 < numbering.timestamp(Slot(first.0)).0);
        }
    }
}
