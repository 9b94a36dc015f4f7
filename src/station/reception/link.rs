//! Is the interface there, and is a cable in it?

use std::collections::VecDeque;
use std::time::Duration;

use super::{Output, Told};
use crate::time::Instant;

/// A trouble that is over so soon is not told: a machine that roams, a driver that starts anew.
pub const TELL_AFTER: Duration = Duration::from_millis(500);

/// How an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// As it should be.
    There,
    /// Switched on, but the cable is out, or no access point is there.
    NoCarrier,
    /// Switched off.
    SwitchedOff,
    /// It has no address of the group's family.
    NoAddress,
    /// There is none of that name.
    Gone,
}

/// The interface over time.
#[derive(Debug)]
pub(super) struct Cable {
    link: Link,
    /// When it was last as it should be.
    lost_at: Instant,
    changed_at: Instant,
    /// What people know of it.
    told: Option<Link>,
}

impl Cable {
    /// It is there, or `is_down` and people know.
    pub(super) fn new(now: Instant, is_down: bool) -> Cable {
        let (link, told) = match is_down {
            true => (Link::SwitchedOff, Some(Link::SwitchedOff)),
            false => (Link::There, None),
        };
        Cable {
            link,
            lost_at: now,
            changed_at: now,
            told,
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.link == Link::There
    }

    /// Whether people know that something is wrong with it.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// It is like this now; answers whether it went or came.
    pub(super) fn set(&mut self, link: Link, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        let before = std::mem::replace(&mut self.link, link);
        if before == link {
            return false;
        }
        self.changed_at = now;
        match (before, link) {
            (Link::There, _) => self.lost_at = now,
            (_, Link::There) => {
                if self.told.take().is_some() {
                    let after = now.since(self.lost_at);
                    outputs.push_back(Output::Tell(Told::Back { after }));
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            self.told = Some(self.link);
            outputs.push_back(Output::Tell(Told::Link(self.link)));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let is_news = !self.is_there() && self.told != Some(self.link);
        is_news.then(|| self.changed_at + TELL_AFTER)
    }
}
