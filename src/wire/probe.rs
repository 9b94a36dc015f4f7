//! How does a node ask its leader what time it is?
//!
//! Four time stamps, as in NTP (RFC 5905 section 8): the asker keeps when it sent the probe and when the answer came, the answer says when
//! the probe came and when the answer left, both on the station clock. The number is drawn at random, so that only who has seen the
//! probe can answer it.

use serde::{Deserialize, Serialize};

use super::ids::{NodeId, StationId, Term};

/// "What time is it on the station?", by unicast to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Of which station.
    pub station: StationId,
    /// Who asks.
    pub node: NodeId,
    /// Names this probe; drawn at random.
    pub number: u64,
    /// By how many microseconds the last answer was ahead of all that can be true, if what the asker knew before is: one of both clocks
    /// has jumped. If it is the leader's, most who ask say so at once.
    pub apart_us: Option<i64>,
}

/// "It is": the answer, by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Of which station.
    pub station: StationId,
    /// Whose clock this is.
    pub term: Term,
    /// The probe's.
    pub number: u64,
    /// When the probe came: microseconds on the station clock.
    pub received_us: u64,
    /// How many microseconds later this answer left.
    pub waited_us: u32,
    /// How well the leader knows how fast the station clock goes: standard deviation in parts per billion; 0 of a founder, whose own
    /// clock it is.
    pub rate_sigma_ppb: u32,
    /// Most who ask say that this clock has jumped: it is not to be followed.
    pub doubted: bool,
}
