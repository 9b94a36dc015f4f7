//! Bytes ↔ values: what stands in a packet, and nothing about when or why it is sent.
//!
//! * [`ids`]: frame index, sequence number, RTP timestamp, station, node, term; wrap-around is dealt with here, once
//! * [`media`]: one RTP packet with the header element of the protocol
//! * [`control`]: what nodes say to each other on the control port, and [`election`]: what of it is about who leads
//! * [`repair`]: which frames a node has missed, and what it gets for them
//! * [`report`]: how a node fares, as it tells its leader
//! * [`block`]: frames in bulk
//! * [`foreign`]: one RTP packet of another program, and [`opus`]: how long it sounds
//! * [`rtcp`]: sender reports and goodbyes, for standard players and from them
//! * [`sdp`]: the session description for standard players
//!
//! Every parser answers with a value or with an error that says what was wrong, in numbers; none panics, whatever comes.

pub mod block;
pub mod control;
pub mod election;
pub mod foreign;
pub mod ids;
pub mod media;
pub mod opus;
pub mod probe;
pub mod repair;
pub mod report;
pub mod rtcp;
pub mod sdp;

pub use ids::{
    FRAME, FRAME_MICROS, FrameIndex, NodeId, PlanDigest, RtpTimestamp, Seq, Slot, StationId, Term,
    TrackId,
};

/// The longest beginning of `text` that has at most `limit` bytes and ends between characters.
/// (`str::floor_char_boundary` is newer than our oldest compiler.)
pub fn clip(text: &str, limit: usize) -> &str {
    let fits = (0..=text.len().min(limit))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    &text[..fits.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_cut_between_characters() {
        let table = [
            ("", 0, ""),
            ("abc", 2, "ab"),
            ("abc", 9, "abc"),
            ("aü", 2, "a"),
            ("ü", 1, ""),
            ("ü", 2, "ü"),
        ];
        for (text, limit, cut) in table {
            assert_eq!(super::clip(text, limit), cut, "{text} {limit}");
        }
    }
}
