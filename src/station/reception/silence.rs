//! For how long has something not been heard that should be?

use std::time::Duration;

use crate::time::Instant;

/// When one kind of message was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// Longer pauses than this end a stretch.
    gap: Duration,
    /// Since when it is expected.
    begun_at: Instant,
    /// When it was heard last.
    heard_at: Option<Instant>,
    /// When it was heard first, since the last pause.
    comes_since: Instant,
}

impl Silence {
    pub(super) fn since(now: Instant, gap: Duration) -> Silence {
        Silence {
            gap,
            begun_at: now,
            heard_at: None,
            comes_since: now,
        }
    }

    /// The silence counts from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun_at = self.begun_at.max(now);
    }

    /// It was heard. What was overtaken is no news.
    pub(super) fn end(&mut self, at: Instant) {
        if self.heard_at.is_none_or(|last| at.since(last) >= self.gap) {
            self.comes_since = at;
        }
        self.heard_at = self.heard_at.max(Some(at));
    }

    /// When the silence began: when it was heard last, or is expected since.
    pub(super) fn began_at(&self) -> Instant {
        self.heard_at
            .map_or(self.begun_at, |at| at.max(self.begun_at))
    }

    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// Since when it has been coming without a pause, if it still does.
    pub(super) fn comes_since(&self) -> Instant {
        self.comes_since
    }

    /// It should have been heard in the last `limit`, and was not.
    pub(super) fn is_quiet(&self, now: Instant, limit: Duration) -> bool {
        now >= self.quiet_at(limit)
    }

    /// When that will be so.
    pub(super) fn quiet_at(&self, limit: Duration) -> Instant {
        self.began_at() + limit
    }

    /// It comes: the last one was heard before the next pause would count.
    pub(super) fn comes(&self, now: Instant) -> bool {
        self.was_heard(now, self.gap)
    }

    pub(super) fn was_heard(&self, now: Instant, within: Duration) -> bool {
        self.heard_at.is_some_and(|at| now < at + within)
    }
}
