//! What do the times at which things were heard say, and when will they say something else?

use std::time::Duration;

use super::{BEATS_FRESH, Ear, Expected, QUIET, Reception, State};
use crate::time::Instant;

/// A sign of life that came so long after the last frame was not sent together with it.
const APART: Duration = Duration::from_millis(200);

/// What the times of what was heard say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// All that is expected comes.
    Heard,
    /// Something has stopped, too short a time ago to say what.
    Unclear,
    /// This does not come, and the station lives.
    Deaf(Ear),
    /// Nothing comes, and nobody says that the station lives.
    Nothing,
}

impl Reception {
    pub(super) fn find(&self) -> Finding {
        let now = self.latest;
        let Expected {
            media,
            beats,
            hellos,
            solo,
            ..
        } = self.expected;
        if solo {
            // An answer of a leader that lives and sends ends that, and another one means nothing.
            return match beats && self.beats.is_quiet(now, QUIET) {
                true => Finding::Nothing,
                false => Finding::Heard,
            };
        }
        if media && self.media.is_quiet(now, QUIET) {
            let beats_for = self
                .beats
                .comes(now)
                .then(|| now.since(self.beats.comes_since()));
            match beats_for {
                Some(long) if long >= QUIET => Finding::Deaf(Ear::Media),
                Some(_) => Finding::Unclear, // they have just begun, and frames may follow
                None => self.find_alive(),
            }
        } else if beats && self.beats.is_quiet(now, QUIET) {
            let media_for = self
                .media
                .comes(now)
                .then(|| now.since(self.media.comes_since()));
            match media_for.filter(|_| media) {
                Some(long) if long >= QUIET => Finding::Deaf(Ear::Control),
                _ if media => Finding::Unclear, // they have just begun, or stopped
                _ => self.find_alive(),
            }
        } else if let Some(every) = hellos {
            self.find_others(every)
        } else {
            Finding::Heard
        }
    }

    /// This node leads. What the others say to all is held against what they answer. Its heirs confirm ten times a second, to it
    /// alone: if none does any more, they may follow another one that is not heard.
    fn find_others(&self, every: Duration) -> Finding {
        let now = self.latest;
        let is_heard = !self.control.is_quiet(now, every);
        if self.is_answered_unheard() {
            return Finding::Deaf(Ear::Hellos);
        }
        if self.words.comes(now) {
            return Finding::Heard;
        }
        let Some(confirmed_at) = self.words.heard_at() else {
            return Finding::Heard; // it has no heirs
        };
        let is_later = |at: &Instant| *at >= confirmed_at + APART;
        let hears_others = is_heard && self.control.heard_at().is_some_and(|at| is_later(&at));
        let answered_at = self.answered_at.filter(is_later);
        if hears_others || !self.words.is_quiet(now, QUIET) {
            Finding::Heard
        } else if answered_at.is_some_and(|at| now < at + self.alone_after()) {
            Finding::Deaf(Ear::Hellos)
        } else {
            Finding::Nothing
        }
    }

    /// Nothing that is sent to all comes: does the station live?
    fn find_alive(&self) -> Finding {
        let lives_until = |at: Instant| at + self.alone_after();
        let last_frame_at = self.media.heard_at().filter(|_| self.expected.media);
        let is_later = |at: &Instant| last_frame_at.is_none_or(|last| *at >= last + APART);
        let answered_at = self.answered_at.filter(is_later);
        match self.state {
            _ if answered_at.is_some_and(|at| self.latest < lives_until(at)) => {
                Finding::Deaf(Ear::Group)
            }
            // Its heartbeats have just stopped, and it is being asked.
            State::Deaf { ear, .. }
                if self
                    .sign_of_life_at()
                    .is_some_and(|at| self.latest < lives_until(at)) =>
            {
                Finding::Deaf(ear)
            }
            _ => Finding::Nothing,
        }
    }

    /// When the leader last said that the station lives.
    pub(super) fn sign_of_life_at(&self) -> Option<Instant> {
        self.beats.heard_at().max(self.answered_at)
    }

    /// When the judgement changes, if nothing more is heard.
    pub(super) fn judge_at(&self) -> Option<Instant> {
        let Expected {
            media,
            beats,
            hellos,
            ..
        } = self.expected;
        let of_state = match self.state {
            State::Well | State::Alone => None,
            State::Asking { since } => Some(since + self.alone_after()),
            State::Deaf { heard_since, .. } => heard_since.map(|since| since + self.healed_after),
        };
        let is_deaf = matches!(self.state, State::Deaf { .. });
        let lives_until = self.sign_of_life_at().map(|at| at + self.alone_after());
        let times = [
            of_state,
            lives_until.filter(|_| is_deaf),
            media.then(|| self.media.quiet_at(QUIET)),
            media.then(|| self.media.comes_since() + QUIET),
            beats.then(|| self.beats.quiet_at(QUIET)),
            beats.then(|| self.beats.quiet_at(BEATS_FRESH)),
            beats.then(|| self.beats.comes_since() + QUIET),
            hellos.map(|every| self.control.quiet_at(every)),
            hellos.map(|_| self.words.quiet_at(QUIET)),
        ];
        let later = times.into_iter().flatten().filter(|at| *at > self.latest);
        later.min()
    }
}
