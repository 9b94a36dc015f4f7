//! What does a node do that hears nothing, and how often?

use std::time::Duration;

use super::{Ear, Output, Reception, State};
use crate::time::Instant;

/// How often the leader is asked by unicast while its heartbeats to all are not heard; more seldom in a large station.
pub const ASK_EVERY: Duration = Duration::from_millis(250);
/// All nodes of a station together ask so often in one second, if all of them are deaf.
const ASKS_PER_SECOND: u32 = 200;
/// Questions that must have had their time before nobody answers.
const ASKED_AT_LEAST: u32 = 4;
/// Whoever has not answered for this long does not; longer in a large station.
pub const ALONE_AFTER: Duration = Duration::from_secs(1);
/// How soon a node that nobody has answered asks again; then after twice the time, up to [`SELDOM`].
const ALONE_ASKS: Duration = Duration::from_secs(1);
/// How soon the groups are joined a second time; then after twice the time, up to [`SELDOM`].
const REJOIN_AGAIN: Duration = Duration::from_secs(2);
/// How often at least something is tried.
const SELDOM: Duration = Duration::from_secs(30);
/// A node that waits for a station asks this often, in milliseconds.
const SEEK_MS: std::ops::RangeInclusive<u64> = 30_000..=60_000;
/// The membership is renewed this often, in milliseconds: switches that nobody asks forget it after 2 to 5 minutes.
pub(super) const RENEW_MS: std::ops::RangeInclusive<u64> = 50_000..=70_000;
/// Renewing takes microseconds in which nothing is heard: it is done between two frames, this long after one…
const AFTER_FRAME: Duration = Duration::from_millis(2);
/// … and not later than this.
const BEFORE_FRAME: Duration = Duration::from_millis(14);
/// How soon it is looked for such a moment again, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
const LOOK_FOR: Duration = Duration::from_secs(1);

impl Reception {
    /// How often the leader is asked in a station of this size.
    fn ask_every(&self) -> Duration {
        let nodes = u32::try_from(self.expected.nodes).unwrap_or(u32::MAX);
        ASK_EVERY.max(Duration::from_secs(1).saturating_mul(nodes) / ASKS_PER_SECOND)
    }

    pub(super) fn alone_after(&self) -> Duration {
        ALONE_AFTER.max(self.ask_every() * ASKED_AT_LEAST)
    }

    /// When the leader is to be asked.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        let every = match self.state {
            _ if !self.may_ask() => return None,
            State::Well => return None,
            // Its heirs follow it: there is nothing to ask.
            State::Deaf { ear, .. } if ear == Ear::Hellos && self.words.comes(self.latest) => {
                return None;
            }
            State::Asking { .. } | State::Deaf { .. } => self.ask_every(),
            State::Alone => {
                let times = self.asked_in_vain.saturating_sub(ASKED_AT_LEAST).min(5);
                (ALONE_ASKS * (1 << times)).clamp(self.ask_every(), SELDOM.max(self.ask_every()))
            }
        };
        let last = self.sign_of_life_at().max(self.asked_at);
        Some(last.map_or(self.latest, |at| at + every) + self.spread)
    }

    /// There is a leader to be asked, or others whether they have another one.
    fn may_ask(&self) -> bool {
        self.expected.beats || self.expected.hellos.is_some()
    }

    pub(super) fn go_on_asking(&mut self) {
        if self.ask_at().is_some_and(|at| self.latest >= at) {
            self.ask();
        }
    }

    pub(super) fn ask(&mut self) {
        if self.expected.seeks {
            return self.seek();
        }
        if !self.may_ask() {
            return;
        }
        let widely = self.asked_in_vain > 0 || !self.expected.beats;
        self.outputs.push_back(Output::Ask { widely });
        self.asked_at = Some(self.latest);
        self.asked_in_vain = self.asked_in_vain.saturating_add(1);
        self.draw_spread();
    }

    /// Where multicast does not get in, but out, a listener is found by a station that begins later.
    pub(super) fn go_on_seeking(&mut self) {
        if self.expected.seeks && self.latest >= self.seek_at {
            self.seek();
        }
    }

    fn seek(&mut self) {
        self.outputs.push_back(Output::Seek);
        self.put_off_seeking(self.latest);
    }

    /// (All listeners of a station that has ended wait since the same moment.)
    pub(super) fn put_off_seeking(&mut self, now: Instant) {
        self.seek_at = now + self.random.wait_ms(SEEK_MS);
    }

    /// In a large station all fall silent together, and are not to ask together. In a small one nobody waits.
    pub(super) fn draw_spread(&mut self) {
        let over = self.ask_every().saturating_sub(ASK_EVERY).as_millis() as u64;
        self.spread = self.random.wait_ms(0..=over);
    }

    /// Joins the groups again, and goes on doing so as long as nothing is heard.
    pub(super) fn begin_joining(&mut self) {
        self.rejoin = Some((self.latest, REJOIN_AGAIN));
    }

    pub(super) fn go_on_joining(&mut self) {
        if let Some((at, wait)) = self.rejoin
            && self.latest >= at
        {
            self.join_again();
            self.rejoin = Some((self.latest + wait, (wait * 2).min(SELDOM)));
        }
    }

    pub(super) fn join_again(&mut self) {
        self.outputs.push_back(Output::Rejoin);
        self.put_off_renewal();
    }

    pub(super) fn put_off_renewal(&mut self) {
        let usual = self.random.wait_ms(RENEW_MS);
        self.renew_at = self.latest + self.renewal.unwrap_or(usual);
        self.look_at = self.renew_at;
    }

    /// Reminds the switches of this node, in a moment in which no frame is to be expected.
    pub(super) fn keep_membership(&mut self) {
        let now = self.latest;
        if now < self.look_at {
            return;
        }
        if !self.cable.is_there() {
            return self.put_off_renewal();
        }
        let last = self.media.heard_at().filter(|_| self.expected.media);
        let between = AFTER_FRAME..=BEFORE_FRAME;
        let is_between = last.is_none_or(|at| between.contains(&now.since(at)));
        if is_between || now >= self.renew_at + LOOK_FOR {
            self.outputs.push_back(Output::Renew);
            return self.put_off_renewal();
        }
        self.look_at = now + LOOK_AGAIN;
    }
}
