//! What do nodes say to each other about who leads, besides the leader's heartbeat?
//!
//! The messages of PROTOCOL's rules RECEIVE (confirm, stale) and CLAIM (pre-vote, vote). They are variants of
//! [`super::control::Message`]; here is what each of them carries, and the times of PROTOCOL by which listeners and followers alike
//! judge a leader.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{FrameIndex, NodeId, PlanDigest, StationId, Term, TrackId};

/// A leader is silent after 2.5 frames.
pub const SILENT_AFTER: Duration = Duration::from_millis(50);
/// How long a higher term must be heard while the followed leader lives.
pub const GRACE: Duration = Duration::from_millis(200);
/// A silence after which a leader may be replaced, and solo packets count.
pub const CLAIM_AFTER: Duration = Duration::from_millis(200);
/// How far a term's counter may be above the highest one that a node knows. It rises by one with each takeover: a node that was away
/// for a week has missed fewer, even if a leader died every ten minutes. Without a limit one forged packet with the highest
/// counter would forbid every later claim.
pub const MAX_LEAP: u32 = 1_024;
/// A heartbeat's number may have risen by this much more than by [`NUMBERS_PER_SECOND`].
const NUMBER_STEP: u64 = 32;
/// Heartbeats come ten times a second, with a quorum fifty times, and in answer to hellos twenty times.
const NUMBERS_PER_SECOND: u64 = 80;

/// Whether a heartbeat's number cannot have followed on `last` within this time: believed, it would make all others look old.
pub fn is_number_leap(last: u64, number: u64, waited: Duration) -> bool {
    let most = (waited.as_millis() as u64).saturating_mul(NUMBERS_PER_SECOND) / 1_000;
    number.saturating_sub(last) > most.saturating_add(NUMBER_STEP)
}

/// The most heirs that a leader names.
pub const MAX_HEIRS: usize = 8;
/// The largest quorum: more nodes than a station counts cannot agree.
pub const MAX_QUORUM: u16 = 1_024;

/// What a heartbeat says for those that may take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The first frame index of the leader's term.
    pub first: FrameIndex,
    /// The plan's version: an order within one term, never a name (that is the digest).
    pub version: u64,
    /// Those that take over, best first; at most [`MAX_HEIRS`].
    pub heirs: Vec<NodeId>,
    /// The leader wants to leave.
    pub offer: Option<Offer>,
    /// How many nodes (the leader included) have to agree for somebody to lead, 1 to [`MAX_QUORUM`].
    pub quorum: u16,
    /// How many other nodes confirm this leader.
    pub supporters: u16,
    /// In a contest between two leaders: the other one's term, which is over.
    pub over: Option<Term>,
    /// The TCP port of the leader's node API, on the address that the heartbeat came from; 0: none.
    pub http_port: u16,
    /// As in a hello, of the leader: where others have added to the list, up to which track it holds all of it.
    pub held_to: Option<TrackId>,
}

impl Default for Succession {
    fn default() -> Succession {
        Succession {
            first: FrameIndex(0),
            version: 0,
            heirs: Vec::new(),
            offer: None,
            quorum: 1,
            supporters: 0,
            over: None,
            http_port: 0,
            held_to: None,
        }
    }
}

/// "From frame `first` on, `successor` leads" (PROTOCOL, "HAND OVER").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Who.
    pub successor: NodeId,
    /// Its first frame.
    pub first: FrameIndex,
    /// With a quorum, once the successor has accepted: until when, in microseconds on the station clock, the others have promised
    /// to vote for nobody else. That promise is the successor's from its first frame on.
    pub lease_until_us: Option<u64>,
}

/// How far a node could take over, in its own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It takes over if it has to (not `--no-standby`).
    pub standby: bool,
    /// It holds what plays in the next 5 s, and knows the station clock to 5 ms.
    pub eligible: bool,
    /// It holds all of the programme.
    pub complete: bool,
    /// As its user set it; higher goes first.
    pub priority: i16,
    /// Seconds since it started; older goes first.
    pub age_s: u32,
    /// The TCP port of its node API, on the address that this came from; 0: none.
    pub http_port: u16,
}

/// An heir's answer to each heartbeat, by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Which station.
    pub station: StationId,
    /// Who confirms.
    pub node: NodeId,
    /// Whom.
    pub term: Term,
    /// Which heartbeat of that term.
    pub number: u64,
    /// The plan that it holds.
    pub plan: PlanDigest,
    /// Whether it could take over.
    pub standing: Standing,
    /// It has seen the offer that names it, and leads from there on.
    pub accepts: Option<FrameIndex>,
}

/// The two rounds of a claim (Raft thesis section 9.6: a pre-vote disturbs nobody).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Round {
    /// "Would you vote for me?"
    PreVote,
    /// "Vote for me in this counter."
    Vote {
        /// The counter of the term that the candidate would lead in.
        counter: u32,
    },
}

/// A candidate asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Which station.
    pub station: StationId,
    /// Who asks.
    pub node: NodeId,
    /// The term that it follows.
    pub term: Term,
    /// Tells its attempts apart.
    pub attempt: u32,
    /// What is asked.
    pub round: Round,
    /// Its place among the heirs; [`MAX_HEIRS`] if it has none.
    pub rank: u8,
    /// It holds what plays in the next 5 s.
    pub eligible: bool,
    /// The plan that it holds.
    pub plan: PlanDigest,
    /// That plan's version.
    pub version: u64,
    /// How many have to agree, 1 to [`MAX_QUORUM`]: with more than 1, nodes that follow no station vote, too.
    pub quorum: u16,
}

/// Why a voter refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It leads itself.
    Leads,
    /// It heard the leader a moment ago.
    LeaderHeard,
    /// It holds a newer plan of that term; the candidate fetches it there.
    NewerPlan,
    /// It stands for election itself, with a better rank.
    BetterCandidate,
    /// It has confirmed the leader a moment ago, and a quorum is asked for.
    Confirmed,
    /// It has given its vote to another a moment ago, or in this counter.
    Granted,
    /// It has just started, and may have voted before.
    Young,
}

/// A voter's answer, by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which station.
    pub station: StationId,
    /// Who answers.
    pub node: NodeId,
    /// The candidate.
    pub candidate: NodeId,
    /// Its attempt.
    pub attempt: u32,
    /// Its question.
    pub round: Round,
    /// None: granted.
    pub refusal: Option<Refusal>,
    /// The highest counter that the voter has seen or voted in.
    pub counter: u32,
    /// The voter's plan.
    pub plan: PlanDigest,
    /// That plan's version.
    pub version: u64,
    /// Where it can be fetched: the TCP port of the voter's node API; 0: nowhere.
    pub http_port: u16,
}

/// "Your term is over": to a leader that was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// Which station.
    pub station: StationId,
    /// Who says so.
    pub node: NodeId,
    /// The term that it follows.
    pub term: Term,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_risen_by_a_step_and_by_what_the_time_since_allows() {
        let ms = Duration::from_millis;
        let table = [
            (7, 39, ms(0), false),
            (7, 40, ms(0), true),
            (7, 40, ms(13), false),
            (7, 119, ms(1_000), false),
            (7, 120, ms(1_000), true),
            (7, 3, ms(0), false),
            (0, u64::MAX, Duration::from_secs(1 << 40), true),
        ];
        for (last, number, waited, leap) in table {
            let said = is_number_leap(last, number, waited);
            assert_eq!(said, leap, "{number} after {last} in {waited:?}");
        }
    }
}
