//! Bytes ↔ values: what stands in a packet, and nothing about when or why it is sent.
//!
//! * [`ids`]: frame index, sequence number, RTP timestamp, station, node, term; wrap-around is dealt with here, once
//! * [`media`]: one RTP packet with the header element of the protocol
//! * [`control`]: heartbeats and hellos on the control port
//! * [`rtcp`]: sender reports and goodbyes for standard players
//! * [`sdp`]: the session description for standard players
//!
//! Every parser answers with a value or with an error that says what was wrong, in numbers; none panics, whatever comes.

pub mod control;
pub mod ids;
pub mod media;
pub mod rtcp;
pub mod sdp;

pub use ids::{
    FRAME, FRAME_MICROS, FrameIndex, NodeId, PlanDigest, RtpTimestamp, Seq, Slot, StationId, Term,
    TrackId,
};
