//! A leader hears the others say hello to all, and nothing else of them that is for all: what if a hello does not come?
//!
//! It may be lost, its sender may be gone, or the leader is deaf. Waiting for more of them takes too long, as they come one a second.
//! So the others are called, by unicast, [`CALLS`] times: who is called answers by unicast, and says hello to all, too. The first hello
//! to all ends this. If answers come, and none of those hellos, it is the leader that does not hear.
//!
//! Where a fifth of all packets is lost and there is but one listener, a round begins with every fifth hello, and
//! 0.36⁸ of them end without a hello to all (a call or the hello after it is lost with 0.36), of which 0.6 have heard enough
//! answers: a false alarm about twice a day. With two listeners, once in years. Where nothing is lost, nobody is called.

use std::time::Duration;

use super::{Output, Reception};
use crate::time::Instant;

/// How often the others are called; who is called answers at most ten times a second.
pub(super) const CALL_EVERY: Duration = Duration::from_millis(105);
/// How many times; all of it, with the tenth of a second that a hello may be late, is over two seconds after the last one if they come
/// once a second.
const CALLS: u32 = 8;
/// So many answers say that they hear it.
const ENOUGH_ANSWERS: u32 = 3;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Calling {
    /// Nothing is missing.
    #[default]
    Idle,
    /// The others are called.
    Ringing {
        calls: u32,
        answers: u32,
        /// When it goes on.
        next_at: Instant,
    },
    /// Too few have answered to say anything: they are called anew then.
    Unclear { until: Instant },
    /// They hear this node, and it does not hear them. They are called now and then, lest it forgets them.
    Answered { call_at: Instant },
}

impl Reception {
    /// Another node has answered.
    pub(super) fn count_answer(&mut self) {
        if let Calling::Ringing { answers, .. } = &mut self.calling {
            *answers += 1;
        }
    }

    /// Whether what the others say to all does not get here, though they are there.
    pub(super) fn is_answered_unheard(&self) -> bool {
        matches!(self.calling, Calling::Answered { .. })
    }

    /// When the others are called next, or it is looked who has answered.
    pub(super) fn call_at(&self) -> Option<Instant> {
        match self.calling {
            Calling::Idle => None,
            Calling::Ringing { next_at: at, .. }
            | Calling::Unclear { until: at }
            | Calling::Answered { call_at: at } => Some(at),
        }
    }

    pub(super) fn go_on_calling(&mut self) {
        let now = self.latest;
        let every = self.expected.hellos;
        let Some(every) = every.filter(|every| self.control.is_quiet(now, *every)) else {
            self.calling = Calling::Idle;
            return;
        };
        if self.call_at().is_some_and(|at| now < at) {
            return;
        }
        let (calls, answers) = match self.calling {
            Calling::Idle | Calling::Unclear { .. } => (0, 0),
            Calling::Ringing { calls, answers, .. } => (calls, answers),
            Calling::Answered { .. } => {
                self.outputs.push_back(Output::Call);
                let call_at = now + every;
                self.calling = Calling::Answered { call_at };
                return;
            }
        };
        self.calling = if calls < CALLS {
            self.outputs.push_back(Output::Call);
            Calling::Ringing {
                calls: calls + 1,
                answers,
                next_at: now + CALL_EVERY,
            }
        } else if answers >= ENOUGH_ANSWERS {
            let call_at = now + every;
            Calling::Answered { call_at }
        } else {
            let until = now + every;
            Calling::Unclear { until }
        };
    }
}
