//! What is counted, and what exactly does each counter mean? (DESIGN 2)
//!
//! These equations hold at any moment and are tested: blocks played = `received` + `concealed`; `concealed` = `late` + `lost` +
//! those concealed less than a second ago of which no copy has come yet; `repaired` = the sum of its three ways, a part of
//! `received`. The frames of all loss bursts are a part of `repaired` + `concealed`: they did not come by the stream. (What was on
//! air before the listener tuned in is repaired and was not lost, and so is what the stream brought after its repair, in time.)
//! Frames decoded unheard (pre-roll) are in none of them.
//!
//! (Of another program's stream, `received` and `concealed` count blocks, and the others its packets.)

use std::collections::BTreeMap;

use super::histogram::{LossBursts, RepairLatency};
use super::store::Via;
use crate::wire::report::{Bursts, Lately, MAX_REPAIR_US, RepairTimes, Report, Totals};

/// Totals since the player was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Blocks played with data.
    pub received: u64,
    /// First copies that came after their frame was concealed, within 1 s of its play time.
    pub late: u64,
    /// Frames of which no (or no decodable) copy had come 1 s after their play time, or when the player finished.
    pub lost: u64,
    /// The part of `received` that came by repair or replica: the sum of the next three.
    pub repaired: u64,
    /// From this node's own copy.
    pub repaired_by_replica: u64,
    /// By a repair for this node alone, or copied for it because it hears nothing.
    pub repaired_by_unicast: u64,
    /// By a repair for several.
    pub repaired_by_multicast: u64,
    /// Blocks played without data.
    pub concealed: u64,
    /// Further copies of a frame, by the stream or by a repair for this node alone: not repairs for several that it overheard
    /// without having missed the frame, nor what its own copy had, too.
    pub duplicate: u64,
    /// First copies that came after a frame with a higher index.
    pub reordered: u64,
    /// How often the device wanted samples that were not there; counted by the output.
    pub underruns: u64,
    /// Frames in a row that the network lost, before any repair.
    pub loss_bursts: LossBursts,
    /// How long repairs took.
    pub repair_latency: RepairLatency,
    /// Packets that were not used, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

impl Statistics {
    /// Packets that were not used.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Adds the counters of another player.
    pub fn add(&mut self, other: &Statistics) {
        self.received += other.received;
        self.late += other.late;
        self.lost += other.lost;
        self.repaired += other.repaired;
        self.repaired_by_replica += other.repaired_by_replica;
        self.repaired_by_unicast += other.repaired_by_unicast;
        self.repaired_by_multicast += other.repaired_by_multicast;
        self.concealed += other.concealed;
        self.duplicate += other.duplicate;
        self.reordered += other.reordered;
        self.underruns += other.underruns;
        self.loss_bursts.add(&other.loss_bursts);
        self.repair_latency.add(&other.repair_latency);
        self.add_rejected(other);
    }

    /// Adds the packets that another player did not use.
    pub fn add_rejected(&mut self, other: &Statistics) {
        self.add_reasons(&other.rejected);
    }

    /// Adds what another part of the program refused.
    pub fn add_reasons(&mut self, rejected: &BTreeMap<&'static str, u64>) {
        for (reason, count) in rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }

    /// Counts a packet that was not used. Reasons are a fixed set of names, so the map is small.
    pub fn reject(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// A frame with data was played that came by this way.
    pub fn count_received(&mut self, via: Via) {
        self.received += 1;
        if let Some(by) = self.repaired_by(via) {
            *by += 1;
            self.repaired += 1;
        }
    }

    /// A frame that was counted as received by this way does not decode: it is concealed, and lost, as no usable copy came.
    pub fn count_undecodable(&mut self, via: Via) {
        if self.received == 0 {
            return;
        }
        self.received -= 1;
        if let Some(by) = self.repaired_by(via) {
            *by = by.saturating_sub(1);
            self.repaired = self.repaired.saturating_sub(1);
        }
        self.concealed += 1;
        self.lost += 1;
    }

    fn repaired_by(&mut self, via: Via) -> Option<&mut u64> {
        match via {
            Via::Stream => None,
            Via::Replica => Some(&mut self.repaired_by_replica),
            Via::Unicast | Via::Fetched => Some(&mut self.repaired_by_unicast),
            Via::Multicast => Some(&mut self.repaired_by_multicast),
        }
    }

    /// What a listener tells its leader of itself, but for its jitter, its buffer and its copy of the programme.
    pub fn report(&self, lately: Lately) -> Report {
        let quantile_us = |q| {
            let latency = self.repair_latency.quantile(q)?;
            Some(u32::try_from(latency.as_micros()).unwrap_or(MAX_REPAIR_US))
        };
        let repair = quantile_us(0.5).zip(quantile_us(0.99));
        Report {
            listens: true,
            totals: Totals {
                received: self.received,
                late: self.late,
                lost: self.lost,
                repaired_by_replica: self.repaired_by_replica,
                repaired_by_unicast: self.repaired_by_unicast,
                repaired_by_multicast: self.repaired_by_multicast,
                concealed: self.concealed,
                duplicate: self.duplicate,
                reordered: self.reordered,
                underruns: self.underruns,
                rejected: self.rejected_total(),
            },
            lately,
            longest_burst: u32::try_from(self.loss_bursts.longest()).unwrap_or(u32::MAX),
            bursts: Bursts(self.loss_bursts.counts()),
            repair: repair.map(|(p50_us, p99_us)| RepairTimes { p50_us, p99_us }),
            ..Report::default()
        }
        .bounded()
    }

    /// Blocks played, with or without data.
    pub fn played(&self) -> u64 {
        self.received + self.concealed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WAYS: [Option<Via>; 6] = [
        None,
        Some(Via::Stream),
        Some(Via::Replica),
        Some(Via::Unicast),
        Some(Via::Multicast),
        Some(Via::Fetched),
    ];

    /// Statistics after these frames; every repair took 3 ms.
    fn decided(frames: &[usize]) -> Statistics {
        let mut statistics = Statistics::default();
        for way in frames {
            let via = WAYS[way % WAYS.len()];
            statistics
                .loss_bursts
                .handle_frame(via == Some(Via::Stream));
            match via {
                Some(via) => statistics.count_received(via),
                None => statistics.concealed += 1,
            }
            if via.is_some_and(|via| via != Via::Stream) {
                statistics.repair_latency.record(Duration::from_millis(3));
            }
        }
        statistics
    }

    fn ways(statistics: &Statistics) -> u64 {
        statistics.repaired_by_replica
            + statistics.repaired_by_unicast
            + statistics.repaired_by_multicast
    }

    #[test]
    fn a_frame_that_does_not_decode_was_neither_received_nor_repaired() {
        for via in WAYS.into_iter().flatten() {
            let mut statistics = decided(&[1, 2, 3, 4]);
            statistics.count_undecodable(via);
            let repaired = if via == Via::Stream { 3 } else { 2 };
            assert_eq!(
                (statistics.received, statistics.repaired, ways(&statistics)),
                (3, repaired, repaired),
                "{via:?}"
            );
            assert_eq!((statistics.concealed, statistics.lost), (1, 1));
            assert_eq!(statistics.played(), 4);
        }
        let mut none = Statistics::default();
        none.count_undecodable(Via::Unicast);
        assert_eq!(none, Statistics::default());
    }

    #[test]
    fn a_report_says_what_was_counted() {
        let mut statistics = decided(&[1, 2, 3, 3, 4, 0, 1]);
        (statistics.late, statistics.duplicate) = (1, 5);
        (statistics.reordered, statistics.underruns) = (6, 7);
        (0..8).for_each(|_| statistics.reject("stale_term"));
        statistics.reject("too_old");
        let lately = Lately {
            frames: 5,
            missed: 2,
            ..Lately::default()
        };
        let report = statistics.report(lately);
        let totals = Totals {
            received: 6,
            late: 1,
            lost: 0,
            repaired_by_replica: 1,
            repaired_by_unicast: 2,
            repaired_by_multicast: 1,
            concealed: 1,
            duplicate: 5,
            reordered: 6,
            underruns: 7,
            rejected: 9,
        };
        assert_eq!((report.totals, report.lately), (totals, lately));
        assert_eq!((report.listens, report.longest_burst), (true, 5));
        assert_eq!(report.bursts, Bursts([0, 0, 0, 1, 0, 0, 0]));
        let times = report.repair.unwrap();
        for us in [times.p50_us, times.p99_us] {
            assert!((2_900..=3_100).contains(&us), "{times:?}");
        }
        assert_eq!(Statistics::default().report(lately).repair, None);
    }

    proptest! {
        #[test]
        fn the_equations_hold_and_stay_true_when_players_are_added_up(
            one in prop::collection::vec(0usize..6, 0..200), two in prop::collection::vec(0usize..6, 0..200),
        ) {
            // Bursts are counted from the first frame that came on, and when they have ended.
            let ended = |frames: &[usize]| [&[1], frames, &[1]].concat();
            let (one, two) = (ended(&one), ended(&two));
            let mut sum = decided(&one);
            sum.add(&decided(&two));
            let all = [one, two].concat();
            prop_assert_eq!(&sum, &decided(&all));
            prop_assert_eq!(sum.played(), all.len() as u64);
            prop_assert_eq!(sum.repaired, ways(&sum));
            prop_assert!(sum.repaired <= sum.received);
            prop_assert_eq!(sum.repair_latency.count(), sum.repaired);
            let bursts = all.split(|way| *way == 1).filter(|burst| !burst.is_empty());
            let lengths: Vec<u64> = bursts.map(|burst| burst.len() as u64).collect();
            prop_assert_eq!(lengths.iter().sum::<u64>(), sum.repaired + sum.concealed);
            prop_assert_eq!(sum.loss_bursts.frames(), sum.repaired + sum.concealed);
            prop_assert_eq!(sum.loss_bursts.buckets().map(|(_, count)| count).sum::<u64>(), lengths.len() as u64);
            prop_assert_eq!(sum.loss_bursts.longest(), lengths.into_iter().max().unwrap_or(0));
        }
    }
}
