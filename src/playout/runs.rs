//! When is a frame due? Frame indices stand still while a station is idle, time does not.
//!
//! A run is a stretch of frames without a pause; all its frames have the same number of idle frames before them, so
//! `slot = index + idle`. Runs are learned from packets with a marker, from heartbeats, and from packets that agree with each other.
//! Indices are contiguous and idle time only grows; what contradicts newer evidence is forgotten.

use crate::wire::control::RunInfo;
use crate::wire::{FrameIndex, Slot};

/// Runs remembered; a listener is never more than a window and a gap behind.
const LIMIT: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: FrameIndex,
    idle: u64,
    end: Option<FrameIndex>,
    /// `first` is where the run starts, not just the lowest index seen of it.
    exact: bool,
}

/// How a packet fits in the runs that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It belongs to a known run.
    Known,
    /// It starts a run.
    Starts,
    /// It contradicts what is known, or nothing is known.
    Unknown,
}

/// The runs that are known, by their first frame.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// How a packet with this index, idle time and marker fits.
    pub(super) fn fit(&self, index: FrameIndex, idle: u64, marker: bool) -> Fit {
        let (before, after) = self.0.split_at(self.count_to(index));
        match before.last() {
            Some(run) if run.idle == idle && !(marker && run.first < index) => Fit::Known,
            Some(run) if run.first == index || !marker || idle < run.idle => Fit::Unknown,
            None if !marker => match after.first() {
                Some(run) if run.idle == idle && !run.exact => Fit::Known,
                _ => Fit::Unknown,
            },
            _ if after.first().is_some_and(|run| run.idle < idle) => Fit::Unknown,
            _ => Fit::Starts,
        }
    }

    /// A frame of a known run came. It may lie before the lowest one known, or past an end that was taken back.
    pub(super) fn stretch(&mut self, index: FrameIndex) {
        match self.count_to(index).checked_sub(1) {
            Some(at) => {
                let run = &mut self.0[at];
                run.end = run.end.filter(|end| index < *end);
            }
            None => {
                if let Some(run) = self.0.first_mut().filter(|run| !run.exact) {
                    run.first = index;
                }
            }
        }
    }

    /// The frame that is due in `slot`, or was the last one due before it; none before the first run.
    pub(super) fn index_at(&self, slot: Slot) -> Option<FrameIndex> {
        let has_begun = |run: &&Run| run.first.0 + run.idle <= slot.0;
        match self.0.iter().rev().find(has_begun) {
            Some(run) => {
                let index = FrameIndex(slot.0 - run.idle);
                Some(run.end.map_or(index, |end| index.min(end.minus(1))))
            }
            None => {
                let run = self.0.first().filter(|run| !run.exact)?;
                slot.0.checked_sub(run.idle).map(FrameIndex)
            }
        }
    }

    /// The first frame that can be known.
    pub(super) fn begin(&self) -> Option<FrameIndex> {
        let run = self.0.first()?;
        Some(if run.exact { run.first } else { FrameIndex(0) })
    }

    /// The first frame of the run that `index` belongs to, as far as it is known.
    pub(super) fn first_of(&self, index: FrameIndex) -> Option<FrameIndex> {
        let run = &self.0[self.count_to(index).checked_sub(1)?];
        run.exact.then_some(run.first)
    }

    /// A run starts with (`exact`) or before frame `first`.
    pub(super) fn learn(&mut self, first: FrameIndex, idle: u64, exact: bool) {
        self.insert(Run {
            first,
            idle,
            end: None,
            exact,
        });
    }

    /// A leader told of a run.
    pub(super) fn learn_told(&mut self, told: RunInfo) {
        let idle = told.starts_at.0.saturating_sub(told.first.0);
        self.insert(Run {
            first: told.first,
            idle,
            end: told.end,
            exact: true,
        });
    }

    fn insert(&mut self, new: Run) {
        self.0.retain(|run| match run.first.cmp(&new.first) {
            std::cmp::Ordering::Less => run.idle <= new.idle,
            std::cmp::Ordering::Equal => false,
            std::cmp::Ordering::Greater => {
                run.idle > new.idle || (run.idle == new.idle && run.exact)
            }
        });
        self.0.insert(self.count_to(new.first), new);
        if self.0.len() > LIMIT {
            self.0.remove(0);
        }
    }

    /// Where frame `index` stands in time; `None` if that is not known (yet): no run, or past the end of the last one.
    pub(super) fn slot(&self, index: FrameIndex) -> Option<Slot> {
        let (before, after) = self.0.split_at(self.count_to(index));
        let run = match before.last() {
            // What is not in the run that ended is in the next one, even if that one was first heard a little later.
            Some(run) if run.end.is_some_and(|end| index >= end) => after.first(),
            Some(run) => Some(run),
            None => after.first(),
        };
        run.map(|run| Slot(index.0 + run.idle))
    }

    /// Where the frame after the last one would stand, if `index` lies past the end of the last run.
    pub(super) fn slot_past_end(&self, index: FrameIndex) -> Option<Slot> {
        let run = self.0.last()?;
        run.end
            .filter(|end| index >= *end && index >= run.first)
            .map(|end| Slot(end.0 + run.idle))
    }

    /// How many idle frames lie before the last run that starts at or before frame `index`.
    pub(super) fn idle_before(&self, index: FrameIndex) -> Option<u64> {
        let at = self.count_to(index).checked_sub(1)?;
        Some(self.0[at].idle)
    }

    /// Whether a run starts with frame `index`.
    pub(super) fn starts_at(&self, index: FrameIndex) -> bool {
        self.0.iter().any(|run| run.exact && run.first == index)
    }

    /// The end of the last run, if known.
    pub(super) fn end(&self) -> Option<FrameIndex> {
        self.0.last().and_then(|run| run.end)
    }

    /// Forgets all runs.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many runs start at or before `index`.
    fn count_to(&self, index: FrameIndex) -> usize {
        self.0.partition_point(|run| run.first <= index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(first: u64, starts_at: u64, end: Option<u64>) -> RunInfo {
        RunInfo {
            first: FrameIndex(first),
            starts_at: Slot(starts_at),
            end: end.map(FrameIndex),
        }
    }

    #[test]
    fn a_packet_fits_a_run_by_its_idle_time() {
        let mut runs = Runs::default();
        runs.learn_told(told(100, 110, None));
        let table = [
            (100, 10, true, Fit::Known),
            (150, 10, false, Fit::Known),
            (150, 11, false, Fit::Unknown),
            (150, 11, true, Fit::Starts),
            (150, 9, true, Fit::Unknown),
            (100, 11, true, Fit::Unknown),
            (99, 10, false, Fit::Unknown),
            (99, 9, true, Fit::Starts),
            (99, 11, true, Fit::Unknown),
        ];
        for (index, idle, marker, fit) in table {
            assert_eq!(
                runs.fit(FrameIndex(index), idle, marker),
                fit,
                "{index} {idle} {marker}"
            );
        }
        assert_eq!(Runs::default().fit(FrameIndex(5), 0, false), Fit::Unknown);
        assert_eq!(Runs::default().fit(FrameIndex(5), 0, true), Fit::Starts);
    }

    #[test]
    fn a_run_first_heard_in_its_middle_reaches_down_until_its_start_is_told() {
        let mut runs = Runs::default();
        runs.learn(FrameIndex(50), 3, false);
        assert_eq!(runs.fit(FrameIndex(48), 3, false), Fit::Known);
        runs.stretch(FrameIndex(48));
        assert!(!runs.starts_at(FrameIndex(48)));
        runs.learn_told(told(40, 43, Some(60)));
        assert!(runs.starts_at(FrameIndex(40)) && !runs.starts_at(FrameIndex(48)));
        assert_eq!(
            (runs.slot(FrameIndex(59)), runs.slot(FrameIndex(60))),
            (Some(Slot(62)), None)
        );
        assert_eq!(runs.slot_past_end(FrameIndex(60)), Some(Slot(63)));
    }

    #[test]
    fn frames_between_an_end_and_the_first_one_heard_belong_to_the_next_run() {
        let mut runs = Runs::default();
        runs.learn_told(told(0, 0, Some(10)));
        runs.learn(FrameIndex(12), 100, false);
        assert_eq!(runs.slot(FrameIndex(9)), Some(Slot(9)));
        assert_eq!(runs.slot(FrameIndex(10)), Some(Slot(110)));
        assert_eq!(
            (runs.end(), runs.slot_past_end(FrameIndex(12))),
            (None, None)
        );
    }

    #[test]
    fn newer_evidence_displaces_what_contradicts_it_and_the_table_is_bounded() {
        let mut runs = Runs::default();
        runs.learn(FrameIndex(10), 1 << 25, true);
        runs.learn(FrameIndex(12), 0, false);
        assert_eq!(runs.slot(FrameIndex(11)), Some(Slot(11)));
        for k in 0..100 {
            runs.learn(FrameIndex(100 + k), k, true);
        }
        assert_eq!(runs.0.len(), LIMIT);
    }
}
