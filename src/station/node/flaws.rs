//! Nodes that are broken on purpose: the simulator shows that its invariants catch each of these, so that a run without a
//! violation means something. Only builds with debug assertions have them.

use super::Node;

/// A rule of PROTOCOL that is left out.
#[cfg_attr(
    not(debug_assertions),
    expect(
        dead_code,
        unreachable_pub,
        reason = "only builds with debug assertions have flaws"
    )
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A lower term is followed like any other.
    NoTerms,
    /// A plan is named by its version (trace 1).
    VersionNotDigest,
    /// Covers go on for ever (trace 12).
    NoHorizon,
    /// Votes are asked for at once.
    NoPreVote,
    /// A vote is given to everybody who asks.
    VoteTwice,
    /// A voter that hears the leader does not say so.
    NoVeto,
    /// Who stood still goes on as if nothing had been.
    ResumeAtOnce,
    /// A cover is a sign of life.
    CoverIsLife,
    /// A leader that is covered does not send (trace 3).
    CoveredLeaderIsSilent,
    /// A change of plan takes effect now, not a horizon after the last frame that was sent (trace 12).
    ChangeFromNow,
    /// A leader of any other term deposes.
    LowerTermDeposes,
    /// The higher term is right, whoever follows it (trace 4).
    HigherTermWins,
    /// A voter's promise is counted from when the leader hears of it (trace 13).
    LeaseFromReception,
    /// Who has just started votes, though it may have voted before.
    VotesAtOnce,
    /// A new leader goes on when it was elected, not on the old leader's grid.
    OwnGrid,
    /// What is asked for is answered, whether it was on air or not.
    RepairsTheFuture,
    /// A holder repairs with its plan, however long ago it heard the leader.
    RepairsPastTheHorizon,
    /// Repairs go where the stream goes.
    RepairsOnTheMediaPort,
}

impl Node {
    /// From now on this node breaks a rule.
    #[cfg(debug_assertions)]
    pub fn break_on_purpose(&mut self, flaw: Flaw) {
        self.flaw = Some(flaw);
        self.name_plan();
    }

    /// Whether this node breaks a rule on purpose.
    #[cfg(debug_assertions)]
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Nobody does where it matters.
    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "the same call in both kinds of build")]
    pub(super) const fn has(&self, _: Flaw) -> bool {
        false
    }

    /// How plans are named.
    #[cfg(debug_assertions)]
    pub(super) fn name_plan(&mut self) {
        if self.has(Flaw::VersionNotDigest) {
            self.programme.name_by_version();
        }
    }
}
