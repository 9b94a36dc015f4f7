//! Whatever is said to be a plan: read or refused, and one that is read answers every question.
#![no_main]

use lanradio::station::programme::{PlanError, Programme};
use lanradio::wire::{FrameIndex, PlanDigest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Only the true name is accepted: it is told in the refusal.
    let name = match Programme::from_bytes(bytes, PlanDigest(u32::MAX)) {
        Err(PlanError::Digest { got, .. }) => PlanDigest(got),
        _ => return,
    };
    let Ok(mut plan) = Programme::from_bytes(bytes, name) else {
        panic!("the true name is refused");
    };
    for index in [0, 1, 1 << 20, FrameIndex::LIMIT - 1].map(FrameIndex) {
        let _ = (plan.place(index), plan.slot(index), plan.track_after(index));
        assert!(plan.tracks_from(index).count() <= plan.size().1);
    }
    plan.prune(FrameIndex(1 << 20));
    // As a leader does it: the last track is closed before another one comes.
    if plan.is_open() {
        plan.close(1);
    }
    let _ = plan.append_next(|_| true);
});
