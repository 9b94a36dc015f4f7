//! Who gets which repair, and how much may all of them cost?
//!
//! A question waits for a moment: if others ask for the same frame, one answer to the group serves them all. What can be answered
//! is counted in frames: each frame that is on air earns a part of a repair, and what was not needed is saved up to a limit, from
//! which a listener that tunes in gets its first half second at once. When it runs short, frames that many miss
//! go first, and nobody gets more than its share. What is not on air (any more, or yet) or not here costs nothing, and what is
//! asked for in vain is forgotten: it will be asked for again.
//!
//! A share is a machine's, whatever ports it asks from, and all that are no nodes of this station have one together: whoever
//! asks for everything under a hundred names gets no more than one listener.
//!
//! What another holder sends to the group counts here, too: together they stay within what one may send.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use crate::time::Instant;
use crate::wire::{FRAME_MICROS, FrameIndex};

/// How long a question waits for others.
const GATHER: Duration = Duration::from_millis(3);
/// What a repair costs.
const COST: u64 = 100;
/// What a frame on air earns, unless few ask: in all, repairs are at most half of the stream, what was saved included.
const EARNED: u64 = 45;
/// What it earns for each one that asks, while they are few: a fifth of the stream, lost on the way to the listener as are
/// the repairs, needs a quarter. (Two such listeners alone need half of the stream.)
const EARNED_FOR_EACH: u64 = 30;
/// So many are few. Of more, several usually miss the same frames.
const FEW: u64 = 3;
/// What a holder earns that is asked only by those that the leader does not answer: this part of it, so that all holders together
/// keep to about half of the stream, too.
const STANDING_BY: u64 = 16;
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
/// So often the group is answered. Whoever still asks then does not hear what is sent to it.
const MAX_TO_GROUP: u8 = 2;
/// For how long it is remembered that the group was answered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Frames that are asked for at the same time: more than the longest buffer.
const MAX_REQUESTED: usize = 512;
/// Those that ask for one frame, by name; of more it is enough to know that they are many.
const MAX_NAMED: usize = 8;
/// So many of them have one account: else one machine, or strangers, could take all places before anybody else asks.
const MAX_NAMED_OF_ONE: usize = 2;
/// Accounts that are kept.
const MAX_ACCOUNTS: usize = 256;
/// What serves more than so many is never refused for the sake of others: half of what can be saved is kept from a repair that serves
/// one, a quarter from one that serves two, and so on.
const MOST_RESERVED_FOR: usize = 5;
/// It is short when this part of what can be saved, and what is reserved, is left.
const SHORT: u64 = 4;
/// Shares are per second. Who has not asked for so long does not share.
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

/// Whose share a repair is: a machine's that has nodes of this station, or all others' together.
type Account = Option<IpAddr>;

/// Who asks, and whose share that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Where to answer.
    pub addr: SocketAddr,
    /// Whether this is a node of this station.
    pub is_known: bool,
}

impl Requester {
    fn account(self) -> Account {
        self.is_known.then_some(self.addr.ip())
    }
}

#[derive(Clone, Debug)]
struct Request {
    askers: Vec<Requester>,
    answer_at: Instant,
}

impl Request {
    /// Whether its name is still to be taken.
    fn has_room_for(&self, asker: Requester) -> bool {
        let its_own = |other: &&Requester| other.account() == asker.account();
        !self.askers.contains(&asker)
            && self.askers.len() < MAX_NAMED
            && self.askers.iter().filter(its_own).count() < MAX_NAMED_OF_ONE
    }

    /// How many machines one answer to the group serves; strangers are one.
    fn serves(&self) -> usize {
        let accounts = || self.askers.iter().map(|asker| asker.account());
        let is_first =
            |(n, account): &(usize, Account)| !accounts().take(*n).any(|a| a == *account);
        accounts().enumerate().filter(is_first).count()
    }
}

/// How many machines with nodes of this station ask, and whether strangers do (1).
#[derive(Clone, Copy, Debug, Default)]
struct Crowd {
    known: u64,
    strangers: u64,
}

impl Crowd {
    /// What everybody gets in a second when it is short.
    fn per_second(self) -> u64 {
        let frames = SECOND.as_micros() as u64 / FRAME_MICROS;
        let all = earned(self.known) * frames;
        (LEAST_SHARE * COST).max(all / (self.known + self.strangers).max(1))
    }
}

/// What is left of somebody's share.
#[derive(Clone, Copy, Debug)]
struct Share {
    asked_at: Instant,
    filled_at: Instant,
    left: u64,
}

/// What one holder answers. See the module.
#[derive(Debug)]
pub struct Answerer {
    requests: BTreeMap<FrameIndex, Request>,
    shares: BTreeMap<Account, Share>,
    /// Frames that the group got, when at last and how often.
    to_group: BTreeMap<FrameIndex, (Instant, u8)>,
    credit: u64,
    most: u64,
    top: Option<FrameIndex>,
    /// Repairs that were not sent, for want of credit or of room.
    refused: u64,
}

impl Default for Answerer {
    fn default() -> Answerer {
        Answerer {
            requests: BTreeMap::new(),
            shares: BTreeMap::new(),
            to_group: BTreeMap::new(),
            credit: AT_FIRST,
            most: LEAST_SAVED,
            top: None,
            refused: 0,
        }
    }
}

impl Answerer {
    /// `top` is the newest frame on air; a listener that tunes in needs `needed` frames. This holder is asked before all others, or
    /// it `stands_by`.
    pub fn handle_on_air(&mut self, top: FrameIndex, needed: u64, stands_by: bool, now: Instant) {
        let new = self.top.map_or(0, |before| top.since(before));
        self.top = self.top.max(Some(top));
        self.most = LEAST_SAVED.max(needed * TUNING_IN * COST);
        if new > 0 {
            let earned = earned(self.crowd(now).known) * new.min(MAX_EARNING);
            let earned = if stands_by {
                earned / STANDING_BY
            } else {
                earned
            };
            self.credit = self.most.min(self.credit + earned);
        }
    }

    /// `from` asks for these frames. Those outside of `held` cost nothing.
    pub fn handle_nack(
        &mut self,
        from: Requester,
        frames: impl Iterator<Item = FrameIndex>,
        held: &Range<FrameIndex>,
        now: Instant,
    ) {
        for index in frames.filter(|index| held.contains(index)) {
            let is_full = self.requests.len() >= MAX_REQUESTED;
            match self.requests.get_mut(&index) {
                Some(request) if request.has_room_for(from) => request.askers.push(from),
                Some(_) => {}
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
        self.know(from.account(), now);
    }

    /// Another holder has sent this frame to the group.
    pub fn handle_group_repair(&mut self, index: FrameIndex, now: Instant) {
        self.requests.remove(&index);
        self.credit = self.credit.saturating_sub(COST);
        self.remember(index, now);
    }

    /// What is to be sent now, of the frames that are `here`.
    pub fn answers(&mut self, here: impl Fn(FrameIndex) -> bool, now: Instant) -> Vec<Answer> {
        self.to_group
            .retain(|_, (at, _)| now.since(*at) < REMEMBERED);
        let requests = std::mem::take(&mut self.requests);
        let (due, later): (BTreeMap<_, _>, _) =
            (requests.into_iter()).partition(|(_, request)| request.answer_at <= now);
        self.requests = later;
        let due = due.into_iter().filter(|(index, _)| here(*index));
        let mut due: Vec<(usize, FrameIndex, Request)> = due
            .map(|(index, request)| (request.serves(), index, request))
            .collect();
        // What most miss first; then in order.
        due.sort_by_key(|(serves, index, _)| (std::cmp::Reverse(*serves), *index));
        let crowd = self.crowd(now);
        let mut answers = Vec::new();
        for (serves, index, request) in due {
            let several = match self.to_group.get(&index) {
                None => SEVERAL,
                Some((_, times)) if *times < MAX_TO_GROUP => SEVERAL_AGAIN,
                Some(_) => usize::MAX,
            };
            if serves >= several {
                if self.spend((serves, &request.askers), crowd, now) {
                    self.remember(index, now);
                    answers.push(Answer { index, to: None });
                }
                continue;
            }
            for asker in request.askers {
                if self.spend((1, &[asker]), crowd, now) {
                    let to = Some(asker.addr);
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

    /// How many repairs were asked for and not sent, for want of credit or of room, since this was last asked.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Whether a repair for these may be sent; it is, then.
    fn spend(
        &mut self,
        (serves, askers): (usize, &[Requester]),
        crowd: Crowd,
        now: Instant,
    ) -> bool {
        let reserved = self.reserved(serves, crowd);
        let is_short =
            crowd.known + crowd.strangers > 1 && self.credit < reserved + self.most / SHORT;
        let (per_second, most) = (crowd.per_second(), self.tuning_in());
        let mut payer = None;
        for asker in askers {
            let Some(share) = self.shares.get_mut(&asker.account()) else {
                continue;
            };
            share.fill(per_second, most, now);
            if share.left >= COST {
                payer = Some(asker.account());
                break;
            }
        }
        if self.credit < COST + reserved || is_short && payer.is_none() {
            self.refused += 1;
            return false;
        }
        self.credit -= COST;
        let payer = payer.or_else(|| Some(askers.first()?.account()));
        if let Some(share) = payer.and_then(|payer| self.shares.get_mut(&payer)) {
            share.left = share.left.saturating_sub(COST);
        }
        true
    }

    /// What has to be left after a repair that serves so many. Where many ask, there is enough for some only, and what is spent on one
    /// is missed by several a moment later.
    fn reserved(&self, serves: usize, crowd: Crowd) -> u64 {
        if crowd.known <= FEW || serves > MOST_RESERVED_FOR {
            return 0;
        }
        self.most >> serves
    }

    /// Who asks at this time.
    fn crowd(&self, now: Instant) -> Crowd {
        let mut crowd = Crowd::default();
        for (account, share) in &self.shares {
            if now.since(share.asked_at) < SECOND {
                match account {
                    Some(_) => crowd.known += 1,
                    None => crowd.strangers += 1,
                }
            }
        }
        crowd
    }

    fn know(&mut self, account: Account, now: Instant) {
        if self.shares.len() >= MAX_ACCOUNTS && !self.shares.contains_key(&account) {
            (self.shares).retain(|_, share| now.since(share.asked_at) < SECOND);
            if self.shares.len() >= MAX_ACCOUNTS {
                return; // one of a crowd: it gets what those that are known leave over
            }
        }
        let left = self.tuning_in();
        let share = self.shares.entry(account).or_insert(Share {
            asked_at: now,
            filled_at: now,
            left,
        });
        share.asked_at = now;
    }

    /// What one that tunes in needs, and the most that is kept of a share.
    const fn tuning_in(&self) -> u64 {
        self.most / TUNING_IN
    }

    fn remember(&mut self, index: FrameIndex, now: Instant) {
        if self.to_group.len() >= MAX_REQUESTED {
            self.to_group.pop_first();
        }
        let (at, times) = self.to_group.entry(index).or_insert((now, 0));
        (*at, *times) = (now, times.saturating_add(1));
    }
}

impl Share {
    /// Time has passed: `per_second` of it makes no more than `most`.
    fn fill(&mut self, per_second: u64, most: u64, now: Instant) {
        let passed = now.since(self.filled_at).min(SECOND * 60).as_micros() as u64;
        let filled = passed * per_second / SECOND.as_micros() as u64;
        // What is not enough for one yet still counts.
        if filled > 0 {
            self.left = most.min(self.left + filled);
            self.filled_at = now;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MICRO: Duration = Duration::from_micros(1);
    /// What is on air and held.
    const HELD: Range<FrameIndex> = FrameIndex(1_000)..FrameIndex(1_500);

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(1_000_000_000 + ms * 1_000)
    }

    fn asker(number: u32) -> Requester {
        let [a, b, c, d] = (0x0a00_0000 + number).to_be_bytes();
        Requester {
            addr: SocketAddr::from(([a, b, c, d], 40_000)),
            is_known: true,
        }
    }

    /// Somebody who is no node of this station.
    fn stranger(number: u16) -> Requester {
        Requester {
            addr: SocketAddr::from(([10, 9, (number % 3) as u8, 9], 1_024 + number)),
            is_known: false,
        }
    }

    fn unicast(index: u64, number: u32) -> Answer {
        let to = Some(asker(number).addr);
        Answer {
            index: FrameIndex(index),
            to,
        }
    }

    fn group(index: u64) -> Answer {
        Answer {
            index: FrameIndex(index),
            to: None,
        }
    }

    impl Answerer {
        fn asks(&mut self, number: u32, frames: impl IntoIterator<Item = u64>, now: Instant) {
            let frames = frames.into_iter().map(FrameIndex);
            self.handle_nack(asker(number), frames, &HELD, now);
        }

        fn answers_all(&mut self, now: Instant) -> Vec<Answer> {
            self.answers(|_| true, now)
        }

        /// So many frames have been on air since.
        fn earns(&mut self, frames: u64, now: Instant) {
            let top = self.top.unwrap_or(FrameIndex(0));
            (1..=frames).for_each(|n| self.handle_on_air(top.plus(n), 0, false, now));
        }
    }

    /// A holder that has been asked for so much that nothing is left.
    fn spent(now: Instant) -> Answerer {
        let mut answerer = Answerer::default();
        answerer.handle_on_air(FrameIndex(0), 0, false, now);
        answerer.credit = 0;
        answerer
    }

    #[test]
    fn a_question_is_answered_when_others_had_time_to_ask_and_not_a_microsecond_before() {
        let mut answerer = Answerer::default();
        answerer.asks(1, [1_100, 1_102], at_ms(0));
        assert_eq!(answerer.poll_timeout(), Some(at_ms(0) + GATHER));
        assert_eq!(answerer.answers_all(at_ms(0) + GATHER - MICRO), []);
        let answers = answerer.answers_all(at_ms(0) + GATHER);
        assert_eq!(answers, [unicast(1_100, 1), unicast(1_102, 1)]);
        assert_eq!(answerer.poll_timeout(), None);
        assert_eq!(answerer.answers_all(at_ms(9)), []);
    }

    #[test]
    fn what_is_outside_the_window_costs_nothing() {
        let mut answerer = Answerer::default();
        let before = answerer.credit;
        answerer.asks(1, [0, 999, 1_500, 1_501, u64::MAX], at_ms(0));
        assert_eq!(
            (answerer.poll_timeout(), answerer.answers_all(at_ms(3))),
            (None, Vec::new())
        );
        assert_eq!((answerer.credit, answerer.take_refused()), (before, 0));
        answerer.asks(1, [1_000, 1_499], at_ms(5));
        assert_eq!(answerer.answers_all(at_ms(8)).len(), 2);
        assert_eq!(answerer.credit, before - 2 * COST);
    }

    #[test]
    fn several_are_answered_once_and_what_most_miss_comes_first() {
        let mut answerer = Answerer::default();
        answerer.asks(1, [1_100, 1_101, 1_102], at_ms(0));
        answerer.asks(2, [1_101, 1_102], at_ms(1));
        answerer.asks(3, [1_102], at_ms(2));
        answerer.asks(3, [1_102], at_ms(2));
        let before = answerer.credit;
        let answers = answerer.answers_all(at_ms(3));
        assert_eq!(answers, [group(1_102), group(1_101), unicast(1_100, 1)]);
        assert_eq!(answerer.credit, before - 3 * COST);
    }

    #[test]
    fn whom_the_group_repair_did_not_reach_is_answered_by_itself_unless_they_are_many() {
        let answered = |again: u32, at: Instant| {
            let mut answerer = Answerer::default();
            (1..=5).for_each(|number| answerer.asks(number, [1_100], at_ms(0)));
            assert_eq!(answerer.answers_all(at_ms(3)), [group(1_100)]);
            (1..=again).for_each(|number| answerer.asks(number, [1_100], at));
            answerer.answers_all(at + GATHER)
        };
        let soon = at_ms(20);
        assert_eq!(answered(1, soon), [unicast(1_100, 1)]);
        let three = [1, 2, 3].map(|number| unicast(1_100, number));
        assert_eq!(answered(3, soon), three);
        assert_eq!(answered(4, soon), [group(1_100)]);
        // After a second it is as if it had not been.
        assert_eq!(answered(2, at_ms(3) + REMEMBERED), [group(1_100)]);
    }

    #[test]
    fn whoever_still_asks_when_the_group_got_it_twice_is_answered_by_itself_however_many_they_are()
    {
        let mut answerer = Answerer::default();
        for ms in [0, 20] {
            (1..=6).for_each(|number| answerer.asks(number, [1_100], at_ms(ms)));
            assert_eq!(answerer.answers_all(at_ms(ms + 3)), [group(1_100)]);
        }
        (1..=6).for_each(|number| answerer.asks(number, [1_100], at_ms(40)));
        let each = [1, 2, 3, 4, 5, 6].map(|number| unicast(1_100, number));
        assert_eq!(answerer.answers_all(at_ms(43)), each);
    }

    #[test]
    fn what_is_not_here_costs_nothing_and_is_not_said_to_be_sent() {
        let mut answerer = Answerer::default();
        let before = answerer.credit;
        for number in 1..=3 {
            answerer.asks(number, [1_100, 1_101], at_ms(0));
        }
        let here = |index| index != FrameIndex(1_100);
        assert_eq!(answerer.answers(here, at_ms(3)), [group(1_101)]);
        assert_eq!(answerer.credit, before - COST);
        // It comes meanwhile.
        (1..=3).for_each(|number| answerer.asks(number, [1_100], at_ms(20)));
        assert_eq!(answerer.answers_all(at_ms(23)), [group(1_100)]);
    }

    /// How much of what so many listeners ask for they get, in percent, if each of them loses one of so many frames, and strangers with
    /// so many ports ask for all old frames, or for all of the newest.
    fn got_beside_strangers(listeners: u32, loses: u64, ports: u64, newest: bool) -> usize {
        let mut answerer = Answerer::default();
        let (mut asked, mut got) = (0, 0);
        for n in 0..1_500u64 {
            let now = at_ms(n * 20);
            answerer.earns(1, now);
            let top = 1_100 + n % 300;
            let first = if newest { top } else { 1_000 };
            for port in 0..10 {
                let from = stranger(((n * 10 + port) % ports) as u16);
                let frames = (first..first + 65).map(FrameIndex);
                answerer.handle_nack(from, frames, &HELD, now);
            }
            for number in (0..listeners).filter(|k| (n + u64::from(k * 7)).is_multiple_of(loses)) {
                // No two of them have lost the same one.
                answerer.asks(number, [top + u64::from(number)], now);
                asked += 1;
            }
            let belongs = |to: SocketAddr| (0..listeners).any(|k| asker(k).addr == to);
            let answers = answerer.answers_all(now + GATHER);
            let served = answers
                .iter()
                .filter(|answer| answer.to.is_none_or(belongs));
            got += served.count();
        }
        got * 100 / asked
    }

    #[test]
    fn strangers_keep_nothing_from_those_that_belong_whatever_ports_they_ask_from() {
        // Listeners, of how many frames each of them loses one, and how much it gets at least.
        for (listeners, loses, least) in [(1, 5, 100), (3, 10, 100), (8, 20, 90), (20, 50, 90)] {
            for (ports, newest) in [(1, false), (12, false), (1_000, false), (12, true)] {
                let percent = got_beside_strangers(listeners, loses, ports, newest);
                let case = format!("{listeners} listeners, {ports} ports, newest: {newest}");
                assert!(percent >= least, "{case}: {percent} %");
            }
        }
    }

    #[test]
    fn what_another_holder_sends_to_the_group_is_not_sent_again_and_counts() {
        let mut answerer = Answerer::default();
        let before = answerer.credit;
        (1..=2).for_each(|number| answerer.asks(number, [1_100, 1_101], at_ms(0)));
        answerer.handle_group_repair(FrameIndex(1_100), at_ms(2));
        assert_eq!(answerer.answers_all(at_ms(3)), [group(1_101)]);
        assert_eq!(answerer.credit, before - 2 * COST);
        // It reached all but one.
        answerer.asks(2, [1_100], at_ms(20));
        assert_eq!(answerer.answers_all(at_ms(23)), [unicast(1_100, 2)]);
        // More than there is cannot be owed.
        (0..1_000).for_each(|n| answerer.handle_group_repair(FrameIndex(n), at_ms(30)));
        assert_eq!(answerer.credit, 0);
    }

    #[test]
    fn frames_on_air_earn_repairs_up_to_a_limit() {
        let earned = |frames: u64, needed: u64, stands_by: bool| {
            let mut answerer = spent(at_ms(0));
            for n in 1..=frames {
                answerer.handle_on_air(FrameIndex(n), needed, stands_by, at_ms(n * 20));
            }
            answerer.credit as f64 / COST as f64
        };
        let table = [
            (100, 33, false, 45.0),
            (300, 33, false, 135.0),
            // What can be saved: 150 repairs, or what two need that tune in.
            (1_000, 33, false, 150.0),
            (1_000, 258, false, 450.0),
            (2_000, 258, false, 516.0),
            (1_600, 33, true, 32.0),
        ];
        for (frames, needed, stands_by, repairs) in table {
            assert_eq!(
                earned(frames, needed, stands_by),
                repairs,
                "{frames} frames"
            );
        }
        // Frames that were not heard do not earn as much as they may, and old ones nothing.
        let mut answerer = spent(at_ms(0));
        answerer.handle_on_air(FrameIndex(10_000), 33, false, at_ms(20));
        assert_eq!(answerer.credit, MAX_EARNING * EARNED);
        answerer.handle_on_air(FrameIndex(9_000), 33, false, at_ms(20));
        assert_eq!(answerer.credit, MAX_EARNING * EARNED);
    }

    #[test]
    fn each_of_few_earns_what_it_needs_and_many_together_half_of_the_stream() {
        let table = [
            (0, 45),
            (1, 45),
            (2, 60),
            (3, 90),
            (4, 45),
            (50, 45),
            (256, 45),
        ];
        for (askers, of_a_hundred) in table {
            let mut answerer = spent(at_ms(0));
            (0..askers).for_each(|number| answerer.asks(number, [1_100], at_ms(1)));
            answerer.earns(100, at_ms(2));
            assert_eq!(answerer.credit, of_a_hundred * COST, "{askers}");
        }
    }

    #[test]
    fn without_credit_nothing_is_sent_and_what_was_refused_is_counted() {
        let mut answerer = spent(at_ms(0));
        answerer.asks(1, [1_100, 1_101], at_ms(0));
        assert_eq!(answerer.answers_all(at_ms(3)), []);
        assert_eq!(
            (answerer.take_refused(), answerer.poll_timeout()),
            (2, None)
        );
        answerer.earns(3, at_ms(60));
        answerer.asks(1, [1_100, 1_101], at_ms(60));
        assert_eq!(answerer.answers_all(at_ms(63)), [unicast(1_100, 1)]);
    }

    #[test]
    fn when_it_runs_short_who_asks_for_little_gets_all_of_that() {
        let mut answerer = Answerer::default();
        let (mut little, mut much) = (0, 0);
        // A minute: one listener misses every tenth frame, the other one asks for everything ten times.
        for n in 0..3_000 {
            let now = at_ms(n * 20);
            answerer.earns(1, now);
            answerer.asks(1, (0..10).map(|k| 1_000 + (n + k * 40) % 400), now);
            if n % 10 == 0 {
                answerer.asks(2, [1_400 + n % 100], now);
            }
            for answer in answerer.answers_all(now + GATHER) {
                match answer.to {
                    Some(to) if to == asker(2).addr => little += 1,
                    _ => much += 1,
                }
            }
        }
        assert_eq!(little, 300);
        // Two earn three fifths of the stream, and what is there at first.
        assert!((1_400..=1_600).contains(&much), "{much}");
    }

    #[test]
    fn of_what_many_ask_for_that_is_kept_which_serves_most() {
        // How much has to be there, as a part of what can be saved, for a repair that serves so many.
        let table = [(1, 75), (2, 37), (3, 18), (4, 9), (5, 4), (6, 0), (8, 0)];
        for (serves, left) in table {
            for (credit, is_sent) in [(left + 2, true), (left, false)] {
                let mut answerer = spent(at_ms(0));
                (1..=8).for_each(|number| answerer.asks(number, [1_000], at_ms(0)));
                answerer.requests.clear();
                answerer.credit = credit * COST;
                (1..=serves).for_each(|number| answerer.asks(number, [1_100], at_ms(0)));
                let sent = !answerer.answers_all(at_ms(3)).is_empty();
                assert_eq!(sent, is_sent, "{credit} repairs are left for {serves}");
            }
        }
    }

    #[test]
    fn who_tunes_in_gets_half_a_second_at_once() {
        for others in [0, 20] {
            let mut answerer = Answerer::default();
            answerer.handle_on_air(FrameIndex(1_499), 33, false, at_ms(0));
            answerer.earns(200, at_ms(0));
            (0..others).for_each(|number| answerer.asks(10 + number, [1_000], at_ms(0)));
            answerer.answers_all(at_ms(3));
            answerer.asks(1, 1_467..1_500, at_ms(5));
            assert_eq!(answerer.answers_all(at_ms(8)).len(), 33, "{others} others");
        }
    }

    #[test]
    fn a_flood_of_questions_is_not_remembered() {
        let mut answerer = Answerer::default();
        let mut answers = 0;
        for n in 0..100_000u32 {
            let now = at_ms(u64::from(n) / 100);
            answerer.asks(n, [1_000 + u64::from(n) % 500], now);
            if n % 100 == 0 {
                answers += answerer.answers_all(now).len();
            }
            assert!(answerer.shares.len() <= MAX_ACCOUNTS);
        }
        assert!(answers as u64 <= AT_FIRST / COST, "{answers}");
        assert!(answerer.to_group.len() <= MAX_REQUESTED);
        let held = FrameIndex(0)..FrameIndex(1_000_000);
        let frames = (0..100_000).map(FrameIndex);
        answerer.handle_nack(asker(1), frames, &held, at_ms(2_000));
        (2..5_000).for_each(|number| {
            answerer.handle_nack(
                asker(number),
                [FrameIndex(0)].into_iter(),
                &held,
                at_ms(2_001),
            );
        });
        assert_eq!(answerer.requests.len(), MAX_REQUESTED);
        let named = answerer
            .requests
            .values()
            .map(|request| request.askers.len());
        assert_eq!(named.max(), Some(MAX_NAMED));
        (0..10_000).for_each(|n| answerer.handle_group_repair(FrameIndex(n), at_ms(2_002)));
        assert!(answerer.to_group.len() <= MAX_REQUESTED);
        // A second later, everybody is heard again.
        answerer.earns(1_000, at_ms(4_000));
        answerer.asks(7, [1_200], at_ms(4_000));
        assert_eq!(
            answerer.answers_all(at_ms(4_000) + 5 * MS),
            [unicast(1_200, 7)]
        );
    }
}
