//! What if the leader should have sent a frame and has not?
//!
//! When two frames in a row are missing, the best heir sends them, and each next one as it falls due, until the leader is heard:
//! no vote, no change of state (PROTOCOL, "COVER"). It follows the plan that the leader named last, and no further than one
//! horizon past the last frame that the leader itself sent under it: what comes after may have been changed. Each heir
//! waits a little longer than the one before it, so that usually one speaks.
//!
//! A cover comes one frame late: with the leader's next frame, if there is one. A heir that lost two packets by itself therefore
//! repeats a frame only after its successor was on air, and then falls silent. ffmpeg drops such a repetition as too old, but
//! would play one of the newest frame twice.
//!
//! A lone survivor covers without a horizon (*solo*): there is nobody whom it could contradict, and listeners play solo
//! frames only if they hear no leader.

use std::time::Duration;

use super::flaws::Flaw;
use super::roles::Role;
use super::{CUSHION_FRAMES, Event, Frames, Node};
use crate::time::Instant;
use crate::wire::media::Flags;
use crate::wire::{FRAME, FrameIndex};

/// Heirs that cover; those after them only claim.
const COVERERS: usize = 3;
/// How much later than on the leader's grid a frame has to be before it is missing.
pub(super) const GUARD: Duration = Duration::from_millis(4);
/// How much longer each heir waits than the one before it.
pub(super) const RANK_STEP: Duration = Duration::from_millis(5);

/// What a follower sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Duty {
    /// Nothing.
    #[default]
    Listening,
    /// What the leader does not.
    Covering(Stint),
    /// Everything: nobody else is heard.
    Solo(Stint),
}

/// What was sent in place of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stint {
    /// Everything before this frame is settled.
    next: FrameIndex,
    last: FrameIndex,
    sent: u64,
}

impl Node {
    /// One wake of a follower; answers when to come back.
    pub(super) fn attend(&mut self, frames: &dyn Frames) -> Option<Instant> {
        if !matches!(self.role, Role::Following(_)) {
            return None;
        }
        if self.latest < self.listen_until {
            return Some(self.listen_until);
        }
        self.assess(frames);
        let claim = self.claim(frames);
        let cover = self.cover(frames);
        let succeed = self.succeed_by_offer();
        [claim, cover, succeed].into_iter().flatten().min()
    }

    /// When a frame is to be covered by this node; none if it is not planned.
    fn missing_at(&self, index: FrameIndex) -> Option<Instant> {
        let Role::Following(following) = &self.role else {
            return None;
        };
        let late = match following.duty {
            // Nobody is heard who could be repeated; and when the leader is heard again, nothing is to be missing in between.
            Duty::Solo(_) => GUARD,
            _ => FRAME + GUARD,
        };
        let due = following.clock()?.local(self.programme.slot(index)?);
        Some(due + late + RANK_STEP * self.rank() as u32)
    }

    /// Sends what is missing, if it is for this node to do so; answers when to come back.
    fn cover(&mut self, frames: &dyn Frames) -> Option<Instant> {
        let Role::Following(following) = &self.role else {
            return None;
        };
        if !self.config.standby || self.deaf {
            return None;
        }
        match &following.duty {
            Duty::Listening => {
                let (base, plan) = following.base?;
                if self.rank() >= COVERERS || plan != self.programme.digest() {
                    return None;
                }
                let first = self.two_missing(base)?;
                let at = self.missing_at(first)?;
                if self.latest < at {
                    return Some(at);
                }
                let place = self.programme.place(first);
                if place.is_none_or(|(track, k)| frames.packet(track, k).is_none()) {
                    return Some(self.latest + FRAME); // it has nothing to cover with
                }
                self.begin_covering(first);
                self.send_missing(self.horizon(base), Flags::COVER, frames)
            }
            Duty::Covering(_) => {
                let (base, _) = following.base?;
                self.send_missing(self.horizon(base), Flags::COVER, frames)
            }
            Duty::Solo(_) => self.send_missing(None, Flags::SOLO, frames),
        }
    }

    /// The last frame that may be covered: what comes after it may have been changed.
    fn horizon(&self, base: FrameIndex) -> Option<FrameIndex> {
        (!self.has(Flaw::NoHorizon)).then(|| base.plus(CUSHION_FRAMES))
    }

    /// The first of two frames in a row that nobody has sent, within the horizon.
    fn two_missing(&self, base: FrameIndex) -> Option<FrameIndex> {
        (base.0 + 1..base.0 + CUSHION_FRAMES)
            .map(FrameIndex)
            .find(|index| !self.seen.contains(*index) && !self.seen.contains(index.plus(1)))
    }

    fn begin_covering(&mut self, first: FrameIndex) {
        tracing::debug!(%first, "covering");
        self.set_duty(Duty::Covering(Stint::from(first)));
        self.tell(Event::Covering { frame: first });
    }

    /// Nobody answered: this node goes on alone.
    pub(super) fn begin_solo(&mut self) {
        let Role::Following(following) = &self.role else {
            return;
        };
        if matches!(following.duty, Duty::Solo(_)) || !self.config.standby {
            return;
        }
        let heard = following.base.map(|(index, _)| index).max(self.seen.top());
        let Some(first) = heard.map(|index| index.plus(1)) else {
            return;
        };
        self.stop_covering();
        tracing::debug!(%first, "solo");
        self.set_duty(Duty::Solo(Stint::from(first)));
        self.tell(Event::Solo { frame: first });
    }

    fn set_duty(&mut self, duty: Duty) {
        if let Role::Following(following) = &mut self.role {
            following.duty = duty;
        }
    }

    /// The leader is back, or there is a new one.
    pub(super) fn stop_covering(&mut self) {
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let (Duty::Covering(stint) | Duty::Solo(stint)) = std::mem::take(&mut following.duty)
        else {
            return;
        };
        self.tell(Event::CoverEnd {
            frame: stint.last,
            sent: stint.sent,
        });
    }

    /// Sends what nobody has sent and is overdue, up to `until` (included); answers when the next frame will be.
    fn send_missing(
        &mut self,
        until: Option<FrameIndex>,
        flag: Flags,
        frames: &dyn Frames,
    ) -> Option<Instant> {
        loop {
            let Role::Following(following) = &mut self.role else {
                return None;
            };
            let (term, buffer) = (following.term.short(), following.buffer);
            let (Duty::Covering(stint) | Duty::Solo(stint)) = &mut following.duty else {
                return None;
            };
            let index = stint.next;
            if until.is_some_and(|until| index > until) {
                return None;
            }
            let at = self.missing_at(index)?;
            if self.latest < at {
                return Some(at);
            }
            let in_time = self.latest < at + buffer;
            let place = self.programme.place(index);
            let payload = place.and_then(|(track, k)| frames.packet(track, k));
            let sends = in_time && !self.seen.contains(index);
            if let (true, Some(payload), Some(run)) = (sends, payload, self.programme.run_at(index))
            {
                let slot = crate::wire::Slot(run.starts_at.0 + index.since(run.first));
                let marker = index == run.first;
                self.send_payload(index, slot, marker, (term, flag), payload);
                self.count_sent(index);
            }
            let Role::Following(following) = &mut self.role else {
                return None;
            };
            if let Duty::Covering(stint) | Duty::Solo(stint) = &mut following.duty {
                stint.next = index.plus(1);
            }
        }
    }

    fn count_sent(&mut self, index: FrameIndex) {
        if let Role::Following(following) = &mut self.role
            && let Duty::Covering(stint) | Duty::Solo(stint) = &mut following.duty
        {
            (stint.last, stint.sent) = (index, stint.sent + 1);
        }
    }
}

impl Stint {
    fn from(first: FrameIndex) -> Stint {
        Stint {
            next: first,
            last: first,
            sent: 0,
        }
    }

    /// The next frame to be settled.
    pub(super) fn next(&self) -> FrameIndex {
        self.next
    }
}
