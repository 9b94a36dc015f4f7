//! When is which missing frame asked for, and whom?
//!
//! A frame that is missing is asked for [`REORDER_WAIT`] after it was first missed, and not before it is later than usual; at once,
//! if it cannot be on its way. It is asked for again when an answer should have come, but far from its play time when a
//! sixteenth of the time that is left has passed: so a loss both ways has a dozen chances in 200 ms. Frames that are due at
//! about the same time share a question. While nobody answers anything, questions get rare.
//!
//! While nothing at all is heard, the network is at fault and nobody else: most of what is answered then is lost, too. One frame is
//! asked for now and then (perhaps only this node does not hear what is sent to all), and as soon as anything comes, all
//! that is missing. So a hole is mended with one question, as early as it can be, and costs little more than what was lost.
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
const PART: u32 = 16;
/// How long an answer is waited for before it is known how long that takes; and at most this part of the time that is left.
const FIRST_PATIENCE: Duration = Duration::from_millis(30);
const FIRST_PART: u32 = 4;
/// The bounds of it later. An answer waits up to 3 ms for others that ask.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);
const MOST_PATIENCE: Duration = Duration::from_millis(200);
/// What is to be asked so soon is asked now, with the rest.
const TOGETHER: Duration = Duration::from_millis(4);
/// After so long without any packet, nothing passes: more than two frames in a row did not.
const SILENCE: Duration = Duration::from_millis(50);
/// From one question to the next, at least. If all is asked for that has been asked for before, doubled with each
/// [`DOUBLED_AFTER`] questions too many, up to a limit.
const PAUSE: Duration = Duration::from_millis(5);
/// The same while nothing passes: of what is answered then, most is lost.
const PAUSE_IN_SILENCE: Duration = Duration::from_millis(40);
const DOUBLED_AFTER: u32 = 8;
const MAX_DOUBLED: u32 = 6;
/// So many questions for each frame that comes are not too many.
const QUESTIONS_FOR_ONE: u32 = 3;
/// A holder that answered none of so many questions in a row is passed over.
const IN_VAIN: u8 = 2;
/// For how long.
const PASSED_OVER: Duration = Duration::from_secs(1);
/// One that answers others cannot answer everything, and all holders together should not send more than it does. It is asked for
/// so long without an answer; then it does not hear this node.
const BUSY_FOR: Duration = Duration::from_secs(5);
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
    /// When it was asked for, at first and at last.
    asked_at: Option<(Instant, Instant)>,
    asks: u32,
}

/// One that was asked.
#[derive(Clone, Copy, Debug)]
struct Holder {
    asked_at: Instant,
    /// When it should have answered, if it still has to.
    answers_by: Option<Instant>,
    /// Questions since its last answer, but for the last one.
    unanswered: u8,
    /// When it last answered anybody.
    answered_at: Option<Instant>,
    /// When it last answered this node, or was asked for the first time.
    answered_me_at: Instant,
}

impl Holder {
    /// How many questions in a row it has not answered in time.
    fn in_vain(&self, now: Instant) -> u8 {
        let is_late = self.answers_by.is_some_and(|at| at <= now);
        self.unanswered.saturating_add(is_late.into())
    }

    /// Whether it is worth a question.
    fn answers(&self, now: Instant) -> bool {
        self.in_vain(now) < IN_VAIN || now.since(self.asked_at) >= PASSED_OVER
    }

    /// Whether it answers others.
    fn is_busy(&self, now: Instant) -> bool {
        let answers_others = (self.answered_at).is_some_and(|at| now.since(at) < PASSED_OVER);
        answers_others && now.since(self.answered_me_at) < BUSY_FOR
    }

    fn forgive(&mut self) {
        (self.answers_by, self.unanswered) = (None, 0);
    }
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
    /// Questions that were too many: whoever is asked has not enough for all, or nobody is there.
    in_vain: u32,
}

impl Asker {
    /// A packet came, whatever it is: something passes. If nothing did before, everything is asked for again, and nobody is to
    /// blame that did not answer.
    pub fn handle_heard(&mut self, now: Instant) {
        let was_silent = self.is_silent(now);
        self.heard_at = self.heard_at.max(Some(now));
        if !was_silent {
            return;
        }
        self.in_vain = 0;
        self.holders.values_mut().for_each(Holder::forgive);
        let patience = self.round_trip.patience();
        for wanted in self.wanted.values_mut() {
            let waits = wanted
                .asked_at
                .is_some_and(|(_, at)| now.since(at) < patience);
            if let Some(ask_at) = wanted.ask_at.as_mut().filter(|_| !waits) {
                *ask_at = now.min(*ask_at);
            }
        }
    }

    /// These frames are missing now, in order, and no others.
    pub fn handle_missing(&mut self, missing: &[Missing], now: Instant) {
        self.forget(now);
        let is_missing = |index: &FrameIndex| {
            let found = missing.binary_search_by_key(index, |missing| missing.index);
            found.is_ok()
        };
        for (index, wanted) in &mut self.wanted {
            if wanted.ask_at.is_some() && !is_missing(index) {
                wanted.ask_at = None;
            }
        }
        let patience = self.round_trip.patience();
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
                    let ask_at = if missing.at_once {
                        now
                    } else {
                        missing.late_at.max(now + REORDER_WAIT)
                    };
                    let wanted = Wanted {
                        play_at: missing.play_at,
                        ask_at: Some(ask_at),
                        asked_at: None,
                        asks: 0,
                    };
                    self.wanted.insert(missing.index, wanted);
                }
            }
        }
    }

    /// The frames that are to be asked for now. While nothing passes, one: its answer tells that something does.
    pub fn due(&self, now: Instant) -> Vec<FrameIndex> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Vec::new();
        }
        if self.is_silent(now) {
            return self.most_urgent(now).into_iter().collect();
        }
        let is_due = |wanted: &Wanted| wanted.ask_at.is_some_and(|at| at <= now + TOGETHER);
        let due = self.wanted.iter().filter(|(_, wanted)| is_due(wanted));
        due.map(|(index, _)| *index).collect()
    }

    /// The first frame for which an answer can come in time, or else the last one.
    fn most_urgent(&self, now: Instant) -> Option<FrameIndex> {
        let answered_at = now + self.round_trip.patience();
        let is_asked = |wanted: &Wanted| wanted.ask_at.is_some();
        let mut missing = self.wanted.iter().filter(|(_, wanted)| is_asked(wanted));
        let last = missing.clone().next_back();
        let in_time = missing.find(|(_, wanted)| wanted.play_at > answered_at);
        in_time.or(last).map(|(index, _)| *index)
    }

    /// Whether nothing passes.
    fn is_silent(&self, now: Instant) -> bool {
        self.heard_at.is_some_and(|at| now.since(at) >= SILENCE)
    }

    /// These frames came from elsewhere: this node had them itself.
    pub fn handle_found(&mut self, index: FrameIndex) {
        if let Some(wanted) = self.wanted.get_mut(&index) {
            wanted.ask_at = None;
        }
    }

    /// Which of these holders, best first, is to be asked. One of them may be known to be `alive`, whether it answers or not.
    pub fn choose(
        &self,
        holders: &[SocketAddr],
        alive: Option<SocketAddr>,
        now: Instant,
    ) -> Option<SocketAddr> {
        let is_asked = |holder: &&SocketAddr| {
            let known = self.holders.get(*holder);
            let is_alive = alive == Some(**holder);
            known.is_none_or(|known| known.answers(now) || is_alive && known.is_busy(now))
        };
        let asked_at = |holder: &&SocketAddr| self.holders.get(*holder).map(|known| known.asked_at);
        let best = holders.iter().find(is_asked);
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
        let is_silent = self.is_silent(now);
        let patience = self.round_trip.patience();
        for index in frames {
            let Some(wanted) = self.wanted.get_mut(index) else {
                continue;
            };
            let left = wanted.play_at.since(now);
            let patience = if self.round_trip.is_known() {
                patience
            } else {
                patience.min(left / FIRST_PART).max(LEAST_PATIENCE)
            };
            wanted.ask_at = Some(now + (left / PART).max(patience));
            if holder.is_some() {
                let first = wanted.asked_at.map_or(now, |(first, _)| first);
                wanted.asked_at = Some((first, now));
                wanted.asks += 1;
            }
        }
        let Some(holder) = holder else {
            return;
        };
        self.in_vain = (self.in_vain + 1).min(DOUBLED_AFTER * MAX_DOUBLED);
        if self.holders.len() >= MAX_HOLDERS && !self.holders.contains_key(&holder) {
            let oldest = self.holders.iter().min_by_key(|(_, known)| known.asked_at);
            if let Some(oldest) = oldest.map(|(holder, _)| *holder) {
                self.holders.remove(&oldest);
            }
        }
        let known = self.holders.entry(holder).or_insert(Holder {
            asked_at: now,
            answers_by: None,
            unanswered: 0,
            answered_at: None,
            answered_me_at: now,
        });
        let has_waited = now.since(known.asked_at) >= PASSED_OVER;
        let gets_another_chance = has_waited || !known.answers(now);
        known.unanswered = known.in_vain(now);
        if gets_another_chance {
            known.forgive();
        }
        // A question within the time for the answer to the one before is no other one.
        let answers_by = known.answers_by.filter(|at| *at > now);
        known.answers_by = answers_by.or(Some(now + patience));
        known.asked_at = now;
        if !is_silent {
            self.round_trip.back_off();
        }
    }

    /// Frame `index` came from `holder`, for this node alone or for the `group`. How long after it was first asked for; none if it
    /// was not.
    pub fn handle_repair(
        &mut self,
        index: FrameIndex,
        holder: SocketAddr,
        group: bool,
        now: Instant,
    ) -> Option<Duration> {
        if let Some(known) = self.holders.get_mut(&holder) {
            known.answered_at = Some(now);
        }
        let wanted = self.wanted.get_mut(&index)?;
        let (first_asked_at, last_asked_at) = wanted.asked_at?;
        let is_first = wanted.ask_at.take().is_some();
        self.round_trip.handle_answer();
        if is_first && wanted.asks == 1 || !is_first && wanted.asks > 1 && !group {
            // Of two answers the second one is to the last question.
            self.round_trip.handle_sample(now.since(last_asked_at));
        }
        if is_first {
            self.in_vain = self.in_vain.saturating_sub(QUESTIONS_FOR_ONE);
        }
        if let Some(known) = self.holders.get_mut(&holder) {
            known.forgive();
            known.answered_me_at = now;
        }
        Some(now.since(first_asked_at))
    }

    /// When something is to be asked next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Of what was not asked for yet, and of the rest.
        let mut ask_at: [Option<Instant>; 2] = [None; 2];
        for wanted in self.wanted.values() {
            let earliest = &mut ask_at[usize::from(wanted.asks > 0)];
            *earliest = earliest.iter().copied().chain(wanted.ask_at).min();
        }
        let [new, again] = ask_at;
        let doubled = 1 << (self.in_vain / DOUBLED_AFTER);
        let not_before = |at: Instant, pause: Duration| {
            let earliest = self.asked_at.map(|asked_at| asked_at + pause);
            earliest.map_or(at, |earliest| at.max(earliest))
        };
        let new = new.map(|at| not_before(at, PAUSE));
        let again = again.map(|at| not_before(at, PAUSE * doubled));
        let at = new.into_iter().chain(again).min()?;
        Some(if self.is_silent(at) {
            not_before(at, PAUSE_IN_SILENCE * doubled)
        } else {
            at
        })
    }

    fn forget(&mut self, now: Instant) {
        self.wanted
            .retain(|_, wanted| wanted.play_at + FORGOTTEN_AFTER > now);
    }
}

/// How long an answer takes: RFC 6298. The answer to a question that was repeated tells nothing of that (Karn); but if it was
/// repeated too soon, another answer follows, and that tells.
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
    }

    fn is_known(&self) -> bool {
        self.smoothed_us.is_some()
    }

    /// Somebody answers.
    fn handle_answer(&mut self) {
        self.backed_off = Duration::ZERO;
    }

    /// A question: as long as nobody answers, each waits a quarter longer than the one before.
    fn back_off(&mut self) {
        let more = self.patience() / 4;
        self.backed_off = (self.backed_off + more).min(MOST_PATIENCE);
    }

    fn patience(&self) -> Duration {
        let measured = match self.smoothed_us {
            None => FIRST_PATIENCE,
            Some(smoothed_us) => Duration::from_micros(smoothed_us + 2 * self.variation_us),
        };
        (measured + self.backed_off).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MICRO: Duration = Duration::from_micros(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(1_000_000_000 + ms * 1_000)
    }

    fn holder(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 40_000))
    }

    /// Frame `index` is due at `20 * index` ms, and played 500 ms after that.
    fn missing(index: u64) -> Missing {
        Missing {
            index: FrameIndex(index),
            late_at: at_ms(index * 20),
            play_at: at_ms(index * 20 + 500),
            at_once: false,
        }
    }

    fn frames(indices: &[u64]) -> Vec<FrameIndex> {
        indices.iter().copied().map(FrameIndex).collect()
    }

    /// A network on which something is heard all the time, with an asker that misses frames.
    #[derive(Default)]
    struct Bench {
        asker: Asker,
        missing: Vec<Missing>,
        /// What was asked, when, and whom.
        asked: Vec<(Instant, Vec<FrameIndex>, SocketAddr)>,
        /// What is on its way: when it arrives.
        answers: Vec<(Instant, FrameIndex, SocketAddr)>,
        came: u64,
    }

    impl Bench {
        /// Asks `holders` until `until`; each question to one of those that answer is answered after `takes`.
        fn run(
            &mut self,
            (from, until): (Instant, Instant),
            holders: &[SocketAddr],
            answers: &dyn Fn(Instant, SocketAddr) -> Option<Duration>,
        ) {
            let mut now = from;
            while now < until {
                self.asker.handle_heard(now);
                let (here, later): (Vec<_>, Vec<_>) =
                    self.answers.iter().partition(|(at, ..)| *at <= now);
                self.answers = later;
                for (_, index, holder) in here {
                    self.came += 1;
                    self.asker.handle_repair(index, holder, false, now);
                    self.missing.retain(|missing| missing.index != index);
                }
                self.missing.retain(|missing| missing.play_at > now);
                self.asker.handle_missing(&self.missing, now);
                let due = self.asker.due(now);
                let holder = self.asker.choose(holders, None, now);
                if let (Some(holder), false) = (holder, due.is_empty()) {
                    self.asker.handle_asked(&due, Some(holder), now);
                    if let Some(takes) = answers(now, holder) {
                        let answers = due.iter().map(|index| (now + takes, *index, holder));
                        self.answers.extend(answers);
                    }
                    self.asked.push((now, due, holder));
                }
                now += MS;
            }
        }
    }

    fn nobody(_: Instant, _: SocketAddr) -> Option<Duration> {
        None
    }

    #[test]
    fn a_frame_is_asked_for_after_the_reorder_wait_and_not_a_microsecond_before() {
        let table = [
            // Missed on time; before it is late; when it is long overdue.
            (missing(0), at_ms(20), REORDER_WAIT),
            (missing(2), at_ms(20), 20 * MS),
            (
                Missing {
                    at_once: true,
                    ..missing(0)
                },
                at_ms(100),
                Duration::ZERO,
            ),
        ];
        for (missing, now, wait) in table {
            let mut asker = Asker::default();
            asker.handle_missing(&[missing], now);
            assert_eq!(asker.poll_timeout(), Some(now + wait));
            assert!(wait.is_zero() || asker.due(now + wait - MICRO).is_empty());
            assert_eq!(asker.due(now + wait), [missing.index]);
        }
    }

    #[test]
    fn what_comes_meanwhile_is_not_asked_for_and_what_turns_out_to_be_lost_is_at_once() {
        let mut asker = Asker::default();
        asker.handle_missing(&[missing(0), missing(1)], at_ms(20));
        asker.handle_missing(&[missing(1)], at_ms(24));
        assert_eq!(asker.due(at_ms(28)), frames(&[1]));
        let lost = Missing {
            at_once: true,
            ..missing(2)
        };
        asker.handle_missing(&[missing(1), missing(2)], at_ms(40));
        asker.handle_asked(&frames(&[1]), Some(holder(1)), at_ms(40));
        asker.handle_missing(&[missing(1), lost], at_ms(46));
        assert_eq!(asker.due(at_ms(46)), frames(&[2]));
        // Once it was asked for, it is overdue in vain.
        asker.handle_asked(&frames(&[2]), Some(holder(1)), at_ms(46));
        asker.handle_missing(&[missing(1), lost], at_ms(47));
        assert!(asker.due(at_ms(52)).is_empty());
    }

    #[test]
    fn questions_are_far_apart_far_from_the_play_time_and_never_closer_than_answers_can_come() {
        let mut bench = Bench {
            missing: vec![missing(0)],
            ..Bench::default()
        };
        // One answer tells that answers take 5 ms; then all are lost.
        bench.asker.round_trip.handle_sample(5 * MS);
        bench.run((at_ms(20), at_ms(500)), &[holder(1)], &nobody);
        let asked: Vec<u64> = (bench.asked.iter())
            .map(|(at, ..)| at.since(at_ms(0)).as_millis() as u64)
            .collect();
        let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!((asked[0], pauses[0]), (28, 30), "a sixteenth of 472 ms");
        assert!((10..=25).contains(&asked.len()), "{asked:?}");
        assert!(pauses.iter().all(|pause| *pause >= 10), "{pauses:?}");
        assert!(*asked.last().unwrap() > 300, "{asked:?}");
    }

    #[test]
    fn with_two_of_five_questions_unanswered_a_frame_has_many_chances_within_a_small_buffer() {
        let mut bench = Bench {
            missing: vec![Missing {
                play_at: at_ms(200),
                ..missing(0)
            }],
            ..Bench::default()
        };
        bench.asker.round_trip.handle_sample(5 * MS);
        bench.run((at_ms(20), at_ms(200)), &[holder(1)], &nobody);
        assert!(bench.asked.len() >= 7, "{:?}", bench.asked);
    }

    #[test]
    fn a_holder_that_does_not_answer_is_passed_over_and_asked_again_after_a_second() {
        let mut bench = Bench::default();
        let both = [holder(1), holder(2)];
        for n in 0..100 {
            let from = at_ms(n * 100);
            let lost = Missing {
                play_at: from + 90 * MS,
                ..missing(n * 5)
            };
            bench.missing.push(lost);
            bench.run((from, from + 100 * MS), &both, &|now, who| {
                // The first one is away from 2 s to 5 s.
                let is_away = (at_ms(2_000)..at_ms(5_000)).contains(&now);
                (who == holder(2) || !is_away).then_some(4 * MS)
            });
        }
        let asked = |who: SocketAddr, from, until| {
            let asked = bench.asked.iter();
            let asked = asked.filter(|(at, _, asked)| *asked == who && (from..until).contains(at));
            asked.count()
        };
        assert_eq!(bench.came, 100, "no frame is lost by that");
        let before = (at_ms(0), at_ms(2_000));
        assert_eq!(asked(holder(1), before.0, before.1), 20);
        assert_eq!(asked(holder(2), before.0, before.1), 0);
        // Two questions in vain, and another one each second.
        let away = (at_ms(2_000), at_ms(5_000));
        assert!((2..=8).contains(&asked(holder(1), away.0, away.1)));
        let after = (at_ms(6_100), at_ms(10_000));
        assert_eq!(asked(holder(2), after.0, after.1), 0);
    }

    #[test]
    fn where_nobody_answers_it_is_asked_in_turn() {
        let mut bench = Bench {
            missing: (0..3).map(missing).collect(),
            ..Bench::default()
        };
        let three = [holder(1), holder(2), holder(3)];
        bench.run((at_ms(20), at_ms(500)), &three, &nobody);
        for who in three {
            let asked = bench.asked.iter().filter(|(_, _, asked)| *asked == who);
            assert!(asked.count() >= 2, "{who}: {:?}", bench.asked);
        }
    }

    #[test]
    fn a_leader_that_answers_others_is_not_passed_over_for_five_seconds() {
        let both = [holder(1), holder(2)];
        let mut asker = Asker::default();
        let mut asked = Vec::new();
        for n in 0..800 {
            let now = at_ms(n * 20);
            asker.handle_heard(now);
            // A frame that others asked for.
            asker.handle_repair(FrameIndex(n), holder(1), true, now);
            let lost = Missing {
                play_at: now + 200 * MS,
                at_once: true,
                ..missing(n)
            };
            asker.handle_missing(&[lost], now);
            let who = asker.choose(&both, Some(holder(1)), now);
            asker.handle_asked(&frames(&[n]), who, now);
            asked.push(who);
        }
        let first = |who| asked.iter().position(|asked| *asked == Some(who));
        assert_eq!(first(holder(1)), Some(0));
        let passed_over = first(holder(2)).unwrap();
        // After 5 s, as soon as it is clear that it has not answered the last question.
        assert!((250..262).contains(&passed_over), "{passed_over}");
    }

    #[test]
    fn how_long_answers_take_is_learned_also_if_that_is_longer_than_was_thought() {
        for takes_ms in [2, 20, 60, 120] {
            let mut bench = Bench::default();
            let mut repeated = Vec::new();
            for n in 0..60 {
                bench.asked.clear();
                let from = at_ms(n * 400);
                bench.missing = vec![Missing {
                    play_at: from + 390 * MS,
                    at_once: true,
                    ..missing(n * 20)
                }];
                let takes = Duration::from_millis(takes_ms);
                let until = from + 400 * MS;
                bench.run((from, until), &[holder(1)], &|_, _| Some(takes));
                repeated.push(bench.asked.len() - 1);
            }
            // What is on its way is not asked for again.
            let late: usize = repeated[30..].iter().sum();
            assert_eq!(late, 0, "{takes_ms} ms: {repeated:?}");
        }
    }

    #[test]
    fn an_answer_tells_how_long_it_took_and_what_was_not_asked_for_is_none() {
        let mut asker = Asker::default();
        asker.handle_missing(&[missing(0), missing(1)], at_ms(20));
        assert_eq!(
            asker.handle_repair(FrameIndex(0), holder(1), false, at_ms(25)),
            None
        );
        assert_eq!(
            asker.handle_repair(FrameIndex(9), holder(1), false, at_ms(25)),
            None
        );
        asker.handle_asked(&frames(&[0, 1]), Some(holder(1)), at_ms(28));
        asker.handle_asked(&frames(&[1]), Some(holder(2)), at_ms(60));
        let mut came = |index, at| asker.handle_repair(FrameIndex(index), holder(1), false, at);
        assert_eq!(came(0, at_ms(33)), Some(5 * MS));
        // The same again, and one that was asked for twice.
        assert_eq!(came(0, at_ms(34)), Some(6 * MS));
        assert_eq!(came(1, at_ms(64)), Some(36 * MS));
        // Late, it still was asked for; much later it is forgotten.
        let after = |ms| at_ms(500) + SECOND + Duration::from_millis(ms);
        assert!(came(0, after(0) - MICRO).is_some());
        asker.handle_missing(&[], after(0));
        assert_eq!(
            asker.handle_repair(FrameIndex(0), holder(1), false, after(0)),
            None
        );
    }

    #[test]
    fn what_came_and_was_of_no_use_is_asked_for_again() {
        let mut asker = Asker::default();
        asker.handle_missing(&[missing(0)], at_ms(20));
        asker.handle_asked(&frames(&[0]), Some(holder(1)), at_ms(28));
        asker.handle_repair(FrameIndex(0), holder(1), false, at_ms(33));
        assert_eq!(asker.poll_timeout(), None);
        asker.handle_missing(&[missing(0)], at_ms(33));
        let again = asker.poll_timeout().unwrap();
        assert!((at_ms(43)..at_ms(80)).contains(&again), "{again}");
    }

    #[test]
    fn in_silence_one_frame_is_asked_for_that_can_still_come_in_time_and_then_everything() {
        let silent = |from: u64| {
            let mut asker = Asker::default();
            asker.handle_heard(at_ms(0));
            let all: Vec<_> = (from..from + 30).map(missing).collect();
            asker.handle_missing(&all, at_ms(480));
            asker
        };
        // An answer takes up to 30 ms, as far as is known: frame 0 would come too late.
        assert_eq!(silent(0).due(at_ms(488)), frames(&[1]));
        let mut asker = silent(10);
        let due = asker.due(at_ms(488));
        assert_eq!(due, frames(&[10]));
        asker.handle_asked(&due, Some(holder(1)), at_ms(488));
        assert_eq!(asker.due(at_ms(528) - MICRO), []);
        assert_eq!(asker.due(at_ms(528)), due);
        asker.handle_asked(&due, Some(holder(1)), at_ms(528));
        // Something comes. What was just asked for may be on its way.
        asker.handle_heard(at_ms(540));
        let all = asker.due(at_ms(540));
        assert_eq!(all.len(), 29, "{all:?}");
        assert!(!all.contains(&due[0]));
        // Nobody is to blame.
        let best = asker.choose(&[holder(1), holder(2)], None, at_ms(540));
        assert_eq!(best, Some(holder(1)));
    }

    #[test]
    fn where_nobody_answers_questions_get_rare() {
        for is_heard in [false, true] {
            let mut asker = Asker::default();
            asker.handle_heard(at_ms(0));
            let mut asked: Vec<Instant> = Vec::new();
            for ms in 0..10_000 {
                let now = at_ms(ms);
                if is_heard && ms % 20 == 0 {
                    asker.handle_heard(now);
                }
                let all: Vec<_> = (ms / 20..ms / 20 + 25).map(missing).collect();
                asker.handle_missing(&all, now);
                let due = asker.due(now);
                if !due.is_empty() {
                    asker.handle_asked(&due, Some(holder(1)), now);
                    asked.push(now);
                }
            }
            let count = |from, until| {
                let within = |at: &&Instant| (at_ms(from)..at_ms(until)).contains(*at);
                asked.iter().filter(within).count()
            };
            // What is new is asked for once.
            let most = if is_heard { 55 } else { 2 };
            assert!(count(0, 1_000) <= 100, "{}", count(0, 1_000));
            assert!(count(9_000, 10_000) <= most, "{}", count(9_000, 10_000));
        }
    }

    #[test]
    fn whatever_is_missing_and_whoever_is_asked_little_is_remembered() {
        let mut asker = Asker::default();
        let all: Vec<_> = (0..100_000).map(missing).collect();
        asker.handle_missing(&all, at_ms(0));
        assert!(asker.wanted.len() <= MAX_WANTED);
        for n in 0..1_000u32 {
            let who = SocketAddr::from(([10, 1, (n / 256) as u8, n as u8], 1));
            asker.handle_asked(&frames(&[0]), Some(who), at_ms(u64::from(n)));
        }
        assert!(asker.holders.len() <= MAX_HOLDERS);
    }
}
