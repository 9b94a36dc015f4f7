//! When is which missing frame asked for, and whom?
//!
//! A frame that is missing is asked for [`REORDER_WAIT`] after it was first missed; at once, if it cannot be on its way. It is asked
//! for again when an eighth of the time that is left until it is played has passed, but not before an answer could have come: far
//! from its play time asks are far apart, and the last ones follow each other as fast as the network answers. So a hole at
//! the end of which all gets through again is mended with few questions, and one with loss both ways has a dozen chances in
//! 200 ms. Frames that are due at about the same time share a question. While nobody answers anything, questions get rare.
//!
//! Holders are asked in the order given; one that did not answer twice in a row is passed over for a second.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::playout::store::Missing;
use crate::time::Instant;
use crate::wire::FrameIndex;

/// How long a missing frame may still be on its way.
pub const REORDER_WAIT: Duration = Duration::from_millis(8);
/// Frames that are waited for at most: the longest buffer's 5 s and the pre-roll, twice.
const MAX_WANTED: usize = 520;
/// A frame is asked for again after this part of the time that is left for it.
const PART: u32 = 8;
/// How long an answer to the first question is waited for.
const FIRST_PATIENCE: Duration = Duration::from_millis(30);
/// The bounds of it later. An answer waits up to 3 ms for others that ask.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);
const MOST_PATIENCE: Duration = Duration::from_millis(200);
/// What is to be asked so soon is asked now, with the rest.
const TOGETHER: Duration = Duration::from_millis(4);
/// From one question to the next, at least; doubled with each [`DOUBLED_AFTER`] questions without any answer, up to a limit.
const PAUSE: Duration = Duration::from_millis(5);
const DOUBLED_AFTER: u32 = 8;
const MAX_DOUBLED: u32 = 6;
/// After so long without any packet, nothing passes: more than two frames in a row did not.
const SILENCE: Duration = Duration::from_millis(50);
/// A holder that answered none of so many questions in a row is passed over.
const IN_VAIN: u8 = 2;
/// For how long.
const PASSED_OVER: Duration = Duration::from_secs(1);
/// An answer that comes later than this after the play time is none.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);
/// Holders that are remembered.
const MAX_HOLDERS: usize = 32;

/// A frame that is or was missing.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    play_at: Instant,
    /// When it is to be asked for; none: it is not missing any more.
    ask_at: Option<Instant>,
    first_asked_at: Option<Instant>,
    asks: u32,
}

/// One that was asked.
#[derive(Clone, Copy, Debug)]
struct Holder {
    asked_at: Instant,
    /// Questions since its last answer.
    unanswered: u8,
}

/// What one listener asks for. See the module.
#[derive(Debug, Default)]
pub struct Asker {
    wanted: BTreeMap<FrameIndex, Wanted>,
    holders: BTreeMap<SocketAddr, Holder>,
    round_trip: RoundTrip,
    asked_at: Option<Instant>,
    /// When anything at all was heard.
    heard_at: Option<Instant>,
    /// Questions since anybody's last answer.
    unanswered: u32,
}

impl Asker {
    /// A packet came, whatever it is: something passes. If nothing did before, nobody is to blame that did not answer, and all that is
    /// missing is asked for at once.
    pub fn handle_heard(&mut self, now: Instant) {
        let was_silent = self.heard_at.is_some_and(|at| now.since(at) >= SILENCE);
        self.heard_at = self.heard_at.max(Some(now));
        if !was_silent {
            return;
        }
        self.unanswered = 0;
        self.round_trip.backed_off = Duration::ZERO;
        for known in self.holders.values_mut() {
            known.unanswered = 0;
        }
        let missing = self
            .wanted
            .values_mut()
            .filter_map(|wanted| wanted.ask_at.as_mut());
        missing.for_each(|ask_at| *ask_at = now.min(*ask_at));
    }

    /// These frames are missing now, in order, and no others.
    pub fn handle_missing(&mut self, missing: &[Missing], now: Instant) {
        self.forget(now);
        let patience = self.round_trip.patience();
        let is_missing = |index: &FrameIndex| {
            let found = missing.binary_search_by_key(index, |missing| missing.index);
            found.is_ok()
        };
        for (index, wanted) in &mut self.wanted {
            if wanted.ask_at.is_some() && !is_missing(index) {
                wanted.ask_at = None;
            }
        }
        for missing in missing {
            let is_full = self.wanted.len() >= MAX_WANTED;
            match self.wanted.get_mut(&missing.index) {
                Some(wanted) => {
                    wanted.play_at = missing.play_at;
                    if wanted.ask_at.is_none() {
                        // It came and was of no use: perhaps its holder had not heard of a new leader yet.
                        wanted.ask_at = Some(now + patience.max(missing.play_at.since(now) / PART));
                    }
                    if missing.at_once && wanted.asks == 0 {
                        wanted.ask_at = Some(now);
                    }
                }
                None if is_full => break,
                None => {
                    let wait = if missing.at_once {
                        Duration::ZERO
                    } else {
                        REORDER_WAIT
                    };
                    let wanted = Wanted {
                        play_at: missing.play_at,
                        ask_at: Some(now + wait),
                        first_asked_at: None,
                        asks: 0,
                    };
                    self.wanted.insert(missing.index, wanted);
                }
            }
        }
    }

    /// The frames that are to be asked for now.
    pub fn due(&self, now: Instant) -> Vec<FrameIndex> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_due = |wanted: &Wanted| wanted.ask_at.is_some_and(|at| at <= now + TOGETHER);
        let due = self.wanted.iter().filter(|(_, wanted)| is_due(wanted));
        due.map(|(index, _)| *index).collect()
    }

    /// These frames came from elsewhere: this node had them itself.
    pub fn handle_found(&mut self, index: FrameIndex) {
        if let Some(wanted) = self.wanted.get_mut(&index) {
            wanted.ask_at = None;
        }
    }

    /// Which of these holders, best first, is to be asked.
    pub fn choose(&self, holders: &[SocketAddr], now: Instant) -> Option<SocketAddr> {
        let answers = |holder: &&SocketAddr| {
            let known = self.holders.get(*holder);
            known.is_none_or(|known| {
                known.unanswered < IN_VAIN || now.since(known.asked_at) >= PASSED_OVER
            })
        };
        let asked_at = |holder: &&SocketAddr| self.holders.get(*holder).map(|known| known.asked_at);
        let best = holders.iter().find(answers);
        best.or_else(|| holders.iter().min_by_key(asked_at))
            .copied()
    }

    /// `holder` is asked for these frames now; none: there is nobody to ask.
    pub fn handle_asked(
        &mut self,
        frames: &[FrameIndex],
        holder: Option<SocketAddr>,
        now: Instant,
    ) {
        self.asked_at = Some(now);
        let patience = self.round_trip.patience();
        for index in frames {
            let Some(wanted) = self.wanted.get_mut(index) else {
                continue;
            };
            let left = wanted.play_at.since(now);
            wanted.ask_at = Some(now + (left / PART).max(patience));
            if holder.is_some() {
                wanted.first_asked_at.get_or_insert(now);
                wanted.asks += 1;
            }
        }
        let Some(holder) = holder else {
            return;
        };
        self.unanswered = self.unanswered.saturating_add(1);
        if self.holders.len() >= MAX_HOLDERS && !self.holders.contains_key(&holder) {
            let oldest = self.holders.iter().min_by_key(|(_, known)| known.asked_at);
            if let Some(oldest) = oldest.map(|(holder, _)| *holder) {
                self.holders.remove(&oldest);
            }
        }
        let known = self.holders.entry(holder).or_insert(Holder {
            asked_at: now,
            unanswered: 0,
        });
        if known.unanswered >= IN_VAIN {
            known.unanswered = 0; // it gets another chance
        }
        // Two questions within one round trip are one.
        if known.unanswered == 0 || now.since(known.asked_at) >= patience {
            known.unanswered = known.unanswered.saturating_add(1);
        }
        known.asked_at = now;
        self.round_trip.back_off();
    }

    /// Frame `index` came from `holder`. How long after it was first asked for; none if it was not.
    pub fn handle_repair(
        &mut self,
        index: FrameIndex,
        holder: SocketAddr,
        now: Instant,
    ) -> Option<Duration> {
        let wanted = self.wanted.get_mut(&index)?;
        let first_asked_at = wanted.first_asked_at?;
        let latency = now.since(first_asked_at);
        if wanted.ask_at.take().is_some() && wanted.asks == 1 {
            self.round_trip.handle_sample(latency);
        }
        self.unanswered = 0;
        if let Some(known) = self.holders.get_mut(&holder) {
            known.unanswered = 0;
        }
        Some(latency)
    }

    /// When something is to be asked next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self
            .wanted
            .values()
            .filter_map(|wanted| wanted.ask_at)
            .min()?;
        let doubled = (self.unanswered / DOUBLED_AFTER).min(MAX_DOUBLED);
        let pause = PAUSE * (1 << doubled);
        Some(self.asked_at.map_or(next, |at| next.max(at + pause)))
    }

    fn forget(&mut self, now: Instant) {
        self.wanted
            .retain(|_, wanted| wanted.play_at + FORGOTTEN_AFTER > now);
    }
}

/// How long an answer takes: RFC 6298, with a question that was repeated telling nothing (Karn).
#[derive(Debug, Default)]
struct RoundTrip {
    smoothed_us: Option<u64>,
    variation_us: u64,
    backed_off: Duration,
}

impl RoundTrip {
    fn handle_sample(&mut self, sample: Duration) {
        let sample_us = sample.as_micros() as u64;
        match self.smoothed_us {
            None => (self.smoothed_us, self.variation_us) = (Some(sample_us), sample_us / 2),
            Some(smoothed_us) => {
                let error_us = smoothed_us.abs_diff(sample_us);
                self.variation_us = (self.variation_us * 3 + error_us) / 4;
                self.smoothed_us = Some((smoothed_us * 7 + sample_us) / 8);
            }
        }
        self.backed_off = Duration::ZERO;
    }

    /// A question: if no answer tells how long it takes, the next one waits a quarter longer.
    fn back_off(&mut self) {
        let more = self.patience() / 4;
        self.backed_off = (self.backed_off + more).min(MOST_PATIENCE);
    }

    fn patience(&self) -> Duration {
        let measured = match self.smoothed_us {
            None => FIRST_PATIENCE,
            Some(smoothed_us) => Duration::from_micros(smoothed_us + 4 * self.variation_us),
        };
        (measured + self.backed_off).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }
}
