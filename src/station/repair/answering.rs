//! Who gets which repair, and how much may all of them cost?
//!
//! A question waits for a moment: if others ask for the same frame, one answer to the group serves them all. What can be answered
//! is counted in frames: each frame that is on air earns a part of a repair, and what was not needed is saved up to a limit, from
//! which a listener that tunes in gets its first half second at once. When it runs short, frames that many miss
//! go first, and nobody gets more than its share. What is not on air (any more, or yet) costs nothing, and what is asked
//! for in vain is forgotten: it will be asked for again.
//!
//! What another holder sends to the group counts here, too: together they stay within what one may send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::time::Instant;
use crate::wire::{FRAME_MICROS, FrameIndex};

/// How long a question waits for others.
const GATHER: Duration = Duration::from_millis(3);
/// What a repair costs.
const COST: u64 = 100;
/// What a frame on air earns: in all, repairs are at most half of the stream, what was saved included.
const EARNED: u64 = 45;
/// What it earns for each one that asks, while they are few: a fifth of the stream, lost on the way to the listener as are
/// the repairs, needs a quarter. (Two such listeners alone need half of the stream.)
const EARNED_FOR_EACH: u64 = 30;
/// So many are few. Of more, several usually miss the same frames.
const FEW: u64 = 3;
/// What is there at first: 100 repairs.
const AT_FIRST: u64 = 100 * COST;
/// What can be saved at least: 150 repairs.
const LEAST_SAVED: u64 = 150 * COST;
/// A listener that tunes in needs a buffer and its pre-roll. So many can come at the same time.
const TUNING_IN: u64 = 2;
/// Frames that earn at once: more were not heard, but for an outage.
const MAX_EARNING: u64 = 50;
/// So many that ask for one frame are answered together.
const SEVERAL: usize = 2;
/// The same, if the group was answered before: what does not reach some that way may reach them by another.
const SEVERAL_AGAIN: usize = 4;
/// For how long it is remembered that the group was answered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Frames that are asked for at the same time: more than the longest buffer.
const MAX_REQUESTED: usize = 512;
/// Those that ask for one frame, by name; of more it is enough to know that they are many.
const MAX_NAMED: usize = 8;
/// Askers that are told apart.
const MAX_ASKERS: usize = 256;
/// It is short when this part of what can be saved is left.
const SHORT: u64 = 4;
/// Shares are counted per second.
const SECOND: Duration = Duration::from_secs(1);
/// Repairs that everybody gets in a second, however many ask.
const LEAST_SHARE: u64 = 2;

/// A repair that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which frame.
    pub index: FrameIndex,
    /// To whom; none: to the group.
    pub to: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Request {
    askers: Vec<SocketAddr>,
    answer_at: Instant,
}

/// What one asker got in this second.
#[derive(Clone, Copy, Debug)]
struct Asker {
    asked_at: Instant,
    since: Instant,
    repairs: u64,
}

/// What one holder answers. See the module.
#[derive(Debug)]
pub struct Answerer {
    requests: BTreeMap<FrameIndex, Request>,
    askers: BTreeMap<SocketAddr, Asker>,
    /// Frames that the group got, and when.
    to_group: BTreeMap<FrameIndex, Instant>,
    credit: u64,
    most: u64,
    top: Option<FrameIndex>,
    /// Repairs that were not sent, for want of credit.
    refused: u64,
}

impl Default for Answerer {
    fn default() -> Answerer {
        Answerer {
            requests: BTreeMap::new(),
            askers: BTreeMap::new(),
            to_group: BTreeMap::new(),
            credit: AT_FIRST,
            most: LEAST_SAVED,
            top: None,
            refused: 0,
        }
    }
}

impl Answerer {
    /// `top` is the newest frame on air; a listener that tunes in needs `needed` frames.
    pub fn handle_on_air(&mut self, top: FrameIndex, needed: u64, now: Instant) {
        let new = self.top.map_or(0, |before| top.since(before));
        self.top = self.top.max(Some(top));
        self.most = LEAST_SAVED.max(needed * TUNING_IN * COST);
        if new > 0 {
            let earned = earned(self.active(now)) * new.min(MAX_EARNING);
            self.credit = self.most.min(self.credit + earned);
        }
    }

    /// `from` asks for these frames. Those outside of `held` cost nothing.
    pub fn handle_nack(
        &mut self,
        from: SocketAddr,
        frames: impl Iterator<Item = FrameIndex>,
        held: &Range<FrameIndex>,
        now: Instant,
    ) {
        for index in frames.filter(|index| held.contains(index)) {
            let is_full = self.requests.len() >= MAX_REQUESTED;
            match self.requests.get_mut(&index) {
                Some(request) if request.askers.contains(&from) => {}
                Some(request) if request.askers.len() >= MAX_NAMED => {}
                Some(request) => request.askers.push(from),
                None if is_full => self.refused += 1,
                None => {
                    let request = Request {
                        askers: vec![from],
                        answer_at: now + GATHER,
                    };
                    self.requests.insert(index, request);
                }
            }
        }
        self.know(from, now);
    }

    /// Another holder has sent this frame to the group.
    pub fn handle_group_repair(&mut self, index: FrameIndex, now: Instant) {
        self.requests.remove(&index);
        self.credit = self.credit.saturating_sub(COST);
        self.remember(index, now);
    }

    /// What is to be sent now.
    pub fn answers(&mut self, now: Instant) -> Vec<Answer> {
        self.to_group.retain(|_, at| now.since(*at) < REMEMBERED);
        let requests = std::mem::take(&mut self.requests);
        let (due, later): (BTreeMap<_, _>, _) =
            (requests.into_iter()).partition(|(_, request)| request.answer_at <= now);
        self.requests = later;
        let mut due: Vec<(FrameIndex, Request)> = due.into_iter().collect();
        // What most miss first; then in order.
        due.sort_by_key(|(index, request)| (std::cmp::Reverse(request.askers.len()), *index));
        let mut answers = Vec::new();
        for (index, request) in due {
            let again = self.to_group.contains_key(&index);
            let several = if again { SEVERAL_AGAIN } else { SEVERAL };
            if request.askers.len() >= several {
                if self.spend(&request.askers, now) {
                    self.remember(index, now);
                    answers.push(Answer { index, to: None });
                }
                continue;
            }
            for asker in request.askers {
                if self.spend(&[asker], now) {
                    let to = Some(asker);
                    answers.push(Answer { index, to });
                }
            }
        }
        answers
    }

    /// When something is to be answered next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.requests.values();
        requests.map(|request| request.answer_at).min()
    }

    /// Repairs that were asked for and not sent, for want of credit.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether one repair for these may be sent; it is, then.
    fn spend(&mut self, askers: &[SocketAddr], now: Instant) -> bool {
        let is_short = self.credit < self.most / SHORT;
        let share = self.share(now);
        let within = |asker: &SocketAddr| {
            let known = self.askers.get(asker);
            known.is_some_and(|known| now.since(known.since) >= SECOND || known.repairs < share)
        };
        let payer = askers.iter().find(|asker| within(asker)).copied();
        if self.credit < COST || is_short && payer.is_none() {
            self.refused += 1;
            return false;
        }
        self.credit -= COST;
        if let Some(known) = payer
            .or(askers.first().copied())
            .and_then(|payer| self.askers.get_mut(&payer))
        {
            if now.since(known.since) >= SECOND {
                (known.since, known.repairs) = (now, 0);
            }
            known.repairs += 1;
        }
        true
    }

    /// What everybody gets in a second when it is short.
    fn share(&self, now: Instant) -> u64 {
        let active = self.active(now);
        if active < 2 {
            return u64::MAX; // nobody else is there
        }
        let frames = SECOND.as_micros() as u64 / FRAME_MICROS;
        let per_second = earned(active) * frames / COST;
        LEAST_SHARE.max(per_second / active)
    }

    /// How many ask at this time.
    fn active(&self, now: Instant) -> u64 {
        let active = (self.askers.values()).filter(|asker| now.since(asker.asked_at) < SECOND);
        active.count() as u64
    }

    fn know(&mut self, from: SocketAddr, now: Instant) {
        if self.askers.len() >= MAX_ASKERS && !self.askers.contains_key(&from) {
            (self.askers).retain(|_, asker| now.since(asker.asked_at) < SECOND);
            if self.askers.len() >= MAX_ASKERS {
                return; // one of a crowd: it gets what those that are known leave over
            }
        }
        let known = self.askers.entry(from).or_insert(Asker {
            asked_at: now,
            since: now,
            repairs: 0,
        });
        known.asked_at = now;
    }

    fn remember(&mut self, index: FrameIndex, now: Instant) {
        if self.to_group.len() >= MAX_REQUESTED {
            self.to_group.pop_first();
        }
        self.to_group.insert(index, now);
    }
}

/// What a frame on air earns while so many ask.
const fn earned(active: u64) -> u64 {
    if active <= FEW && active * EARNED_FOR_EACH > EARNED {
        active * EARNED_FOR_EACH
    } else {
        EARNED
    }
}
