//! What happened in the last ten seconds? Totals since the start do not tell who suffers now.

use std::collections::VecDeque;
use std::time::Duration;

use super::statistics::Statistics;
use crate::time::Instant;
use crate::wire::report::Lately;

/// How far back it reaches: 500 frames, so that one frame is 0.2 %.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Totals are kept at least this far apart, so that there are at most 22 of them.
const APART: Duration = Duration::from_millis(500);

/// The totals of the last ten seconds, as often as they were looked at.
#[derive(Debug, Default)]
pub struct Recent {
    /// Oldest first; the first one is where the window begins.
    kept: VecDeque<(Instant, Counts)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    missed: u64,
    concealed: u64,
    late: u64,
    underruns: u64,
}

impl Recent {
    /// What happened since ten seconds before `now` (since the last look before that, if nobody looked for longer). To be
    /// called about once a second; time that goes back is ignored.
    pub fn update(&mut self, statistics: &Statistics, now: Instant) -> Lately {
        let counts = Counts {
            received: statistics.received,
            missed: statistics.loss_bursts.frames(),
            concealed: statistics.concealed,
            late: statistics.late,
            underruns: statistics.underruns,
        };
        // Counting began at zero.
        let begin = self
            .kept
            .front()
            .map_or((now, Counts::default()), |kept| *kept);
        if self.kept.is_empty() {
            self.kept.push_back(begin);
        }
        let is_apart = |(at, _): &(Instant, Counts)| now.since(*at) >= APART;
        if self.kept.back().is_some_and(is_apart) {
            self.kept.push_back((now, counts));
        }
        while let Some((next, _)) = self.kept.get(1)
            && now.since(*next) >= WINDOW
        {
            self.kept.pop_front();
        }
        let then = self.kept.front().map_or(begin.1, |(_, counts)| *counts);
        counts.since(&then)
    }
}

impl Counts {
    fn since(&self, then: &Counts) -> Lately {
        let of = |count: fn(&Counts) -> u64| {
            u32::try_from(count(self).saturating_sub(count(then))).unwrap_or(u32::MAX)
        };
        Lately {
            frames: of(|counts| counts.received + counts.concealed),
            missed: of(|counts| counts.missed),
            concealed: of(|counts| counts.concealed),
            late: of(|counts| counts.late),
            underruns: of(|counts| counts.underruns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::histogram::LossBursts;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(77_000_000 + ms * 1_000)
    }

    /// Totals after `ms` of a stream: of each second's 50 frames, 2 were lost, and `concealed` were concealed in all.
    fn totals(ms: u64, concealed: u64) -> Statistics {
        let mut loss_bursts = LossBursts::default();
        loss_bursts.handle_frame(true);
        (0..ms / 1_000 * 2).for_each(|_| loss_bursts.handle_frame(false));
        Statistics {
            loss_bursts,
            received: ms / 20 - concealed,
            concealed,
            late: concealed,
            underruns: concealed,
            ..Statistics::default()
        }
    }

    #[test]
    fn what_is_told_is_of_the_last_ten_seconds_and_before_that_of_all() {
        let mut recent = Recent::default();
        recent.update(&Statistics::default(), at_ms(0));
        for second in 1..=60 {
            let ms = second * 1_000;
            // Seven frames are concealed in second 20.
            let concealed = if second >= 20 { 7 } else { 0 };
            let lately = recent.update(&totals(ms, concealed), at_ms(ms));
            let seconds = second.min(10) as u32;
            assert_eq!((lately.frames, lately.missed), (seconds * 50, seconds * 2));
            let heard = if (20..30).contains(&second) { 7 } else { 0 };
            let said = (lately.concealed, lately.late, lately.underruns);
            assert_eq!(said, (heard, heard, heard), "{second}");
            assert!(recent.kept.len() <= 11);
        }
    }

    #[test]
    fn the_first_look_tells_all_that_was_counted() {
        let lately = Recent::default().update(&totals(2_000, 3), at_ms(2_000));
        assert_eq!((lately.frames, lately.concealed), (100, 3));
    }

    #[test]
    fn who_looks_all_the_time_is_told_the_same_and_takes_no_more_memory() {
        let mut recent = Recent::default();
        for ms in (0..60_000).step_by(20) {
            let lately = recent.update(&totals(ms, 0), at_ms(ms));
            assert!(recent.kept.len() <= 22, "{}", recent.kept.len());
            if ms > 11_000 {
                assert!((500..=525).contains(&lately.frames), "{lately:?}");
            }
        }
    }

    #[test]
    fn after_a_standstill_all_of_it_is_told_once() {
        let mut recent = Recent::default();
        (0..20).for_each(|second| {
            _ = recent.update(&totals(second * 1_000, 0), at_ms(second * 1_000))
        });
        let asleep = 3_600_000;
        let lately = recent.update(&totals(19_000, 0), at_ms(asleep));
        assert_eq!(lately.frames, 0, "nothing was played meanwhile");
        let lately = recent.update(&totals(20_000, 0), at_ms(asleep + 1_000));
        assert_eq!(lately.frames, 50);
    }

    #[test]
    fn counters_and_time_that_go_back_do_no_harm() {
        let mut recent = Recent::default();
        recent.update(&totals(5_000, 5), at_ms(5_000));
        recent.update(&totals(6_000, 5), at_ms(6_000));
        let lately = recent.update(&Statistics::default(), at_ms(0));
        assert_eq!(lately, Lately::default());
    }
}
