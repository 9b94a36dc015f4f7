//! How does a node fare, as it tells its leader?
//!
//! Every few seconds, by unicast: the totals since it started, what happened in the last ten seconds, and how repairs do. The
//! leader keeps the newest one of each node, so that `status` can show who suffers and why. All numbers are in a range
//! ([`Report::check`]): whoever shows them can add them up and divide by them.

use serde::{Deserialize, Serialize};

use super::control::BUFFER_MS;
use super::ids::{NodeId, StationId};

/// A total is below this: 20,000 packets a second for 446 years.
pub const COUNT_LIMIT: u64 = 1 << 48;
/// The longest repair latency that can be told, in microseconds: 33 s, longer than the longest buffer.
pub const MAX_REPAIR_US: u32 = 1 << 25;

/// A report, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// In which station.
    pub station: StationId,
    /// Who fares like this.
    pub node: NodeId,
    /// How.
    pub report: Report,
}

/// How a node fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// It plays (a node that only sends does not).
    pub listens: bool,
    /// Since it started.
    pub totals: Totals,
    /// In the last ten seconds.
    pub lately: Lately,
    /// The most frames in a row that did not come by the stream.
    pub longest_burst: u32,
    /// How long repairs took, since it started; none if there were none.
    pub repair: Option<RepairTimes>,
    /// Its play-out delay in milliseconds.
    pub buffer_ms: u32,
    /// How much of the programme it holds, in per cent.
    pub replica_percent: u8,
}

/// Counters as DESIGN 2 defines them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Frames played with data.
    pub received: u64,
    /// First copies that came after the play time of their frame.
    pub late: u64,
    /// Frames of which no copy came within 1 s of their play time.
    pub lost: u64,
    /// Frames that came from this node's own copy of the programme.
    pub repaired_by_replica: u64,
    /// By a repair for this node alone.
    pub repaired_by_unicast: u64,
    /// By a repair for several.
    pub repaired_by_multicast: u64,
    /// Frames played without data.
    pub concealed: u64,
    /// Further copies.
    pub duplicate: u64,
    /// First copies that came after a frame with a higher index.
    pub reordered: u64,
    /// How often the device wanted samples that were not there.
    pub underruns: u64,
}

impl Totals {
    /// Frames that the network lost and that were played all the same.
    pub const fn repaired(&self) -> u64 {
        self.repaired_by_replica
            .saturating_add(self.repaired_by_unicast)
            .saturating_add(self.repaired_by_multicast)
    }

    fn each(&mut self) -> [&mut u64; 10] {
        [
            &mut self.received,
            &mut self.late,
            &mut self.lost,
            &mut self.repaired_by_replica,
            &mut self.repaired_by_unicast,
            &mut self.repaired_by_multicast,
            &mut self.concealed,
            &mut self.duplicate,
            &mut self.reordered,
            &mut self.underruns,
        ]
    }
}

/// What happened in the last ten seconds (or since the start, if that is shorter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lately {
    /// Frames played, with data or without.
    pub frames: u32,
    /// Of these, frames that the network lost: they did not come by the stream, whether they were repaired or not. (What was on
    /// air before the listener tuned in is none of them.)
    pub missed: u32,
    /// Of these, frames played without data.
    pub concealed: u32,
    /// First copies that came too late.
    pub late: u32,
    /// How often the device wanted samples that were not there.
    pub underruns: u32,
}

impl Lately {
    /// How much of what was sent did not come by the stream in time, in per cent; none if nothing was played.
    pub fn loss_percent(&self) -> Option<f64> {
        self.percent(self.missed.max(self.concealed))
    }

    /// How much of it could not be repaired either, and was heard as a hole.
    pub fn concealed_percent(&self) -> Option<f64> {
        self.percent(self.concealed)
    }

    fn percent(&self, part: u32) -> Option<f64> {
        (self.frames > 0).then(|| f64::from(part) * 100.0 / f64::from(self.frames))
    }
}

/// How long it takes from the first NACK for a frame to its repair, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairTimes {
    /// Of half of all repairs, at most.
    pub p50_us: u32,
    /// Of 99 in a hundred.
    pub p99_us: u32,
}

impl Report {
    /// Whether everything is in its range.
    ///
    /// # Errors
    /// Names what is not.
    pub fn check(&self) -> Result<(), &'static str> {
        let mut totals = self.totals;
        let lately = &self.lately;
        let table = [
            (
                totals.each().iter().all(|count| **count < COUNT_LIMIT),
                "count",
            ),
            (lately.missed.max(lately.concealed) <= lately.frames, "loss"),
            (
                self.repair.is_none_or(|times| {
                    times.p50_us <= times.p99_us && times.p99_us <= MAX_REPAIR_US
                }),
                "repair time",
            ),
            (self.buffer_ms <= *BUFFER_MS.end(), "buffer"),
            (self.replica_percent <= 100, "replica"),
        ];
        table
            .into_iter()
            .try_for_each(|(ok, what)| if ok { Ok(()) } else { Err(what) })
    }

    /// The same in its range: what is out of it is cut.
    pub fn bounded(mut self) -> Report {
        for count in self.totals.each() {
            *count = (*count).min(COUNT_LIMIT - 1);
        }
        let lately = &mut self.lately;
        lately.concealed = lately.concealed.min(lately.frames);
        lately.missed = lately.missed.min(lately.frames);
        if let Some(times) = &mut self.repair {
            times.p99_us = times.p99_us.min(MAX_REPAIR_US);
            times.p50_us = times.p50_us.min(times.p99_us);
        }
        self.buffer_ms = self.buffer_ms.min(*BUFFER_MS.end());
        self.replica_percent = self.replica_percent.min(100);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::control::{ControlError, MAX_BYTES, Message, VERSION};

    fn message(report: Report) -> Message {
        Message::Report(Box::new(NodeReport {
            station: StationId(u32::MAX),
            node: NodeId(u64::MAX),
            report,
        }))
    }

    fn largest() -> Report {
        let mut totals = Totals::default();
        for count in totals.each() {
            *count = u64::MAX;
        }
        Report {
            listens: true,
            totals,
            lately: Lately {
                frames: u32::MAX,
                missed: u32::MAX,
                concealed: u32::MAX / 2,
                late: u32::MAX,
                underruns: u32::MAX,
            },
            longest_burst: u32::MAX,
            repair: Some(RepairTimes {
                p50_us: u32::MAX,
                p99_us: u32::MAX - 1,
            }),
            buffer_ms: u32::MAX,
            replica_percent: u8::MAX,
        }
    }

    #[test]
    fn the_largest_report_fits_in_a_datagram_many_times() {
        let message = message(largest().bounded());
        let bytes = message.to_bytes();
        assert!(bytes.len() <= MAX_BYTES / 8, "{} bytes", bytes.len());
        assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn every_number_has_its_range() {
        let good = largest().bounded();
        assert_eq!(good.check(), Ok(()));
        let with = |change: fn(&mut Report)| {
            let mut report = good;
            change(&mut report);
            report
        };
        let times = |p50_us, p99_us| {
            let repair = Some(RepairTimes { p50_us, p99_us });
            Report { repair, ..good }
        };
        let table = [
            (
                with(|report| report.totals.duplicate = COUNT_LIMIT),
                "count",
            ),
            (with(|report| report.lately.frames -= 1), "loss"),
            (
                with(|report| (report.lately.frames, report.lately.missed) = (1, 1)),
                "loss",
            ),
            (times(MAX_REPAIR_US, MAX_REPAIR_US + 1), "repair time"),
            (times(2, 1), "repair time"),
            (with(|report| report.buffer_ms = 5_001), "buffer"),
            (with(|report| report.replica_percent = 101), "replica"),
        ];
        for (report, what) in table {
            let bytes = postcard::to_extend(&message(report), vec![VERSION]).unwrap();
            let said = Message::parse(&bytes);
            assert_eq!(said, Err(ControlError::Range(what)), "{report:?}");
            assert_eq!(report.bounded().check(), Ok(()), "{what}");
        }
    }

    #[test]
    fn each_total_is_checked_and_cut() {
        for at in 0..10 {
            let mut report = Report::default();
            *report.totals.each()[at] = COUNT_LIMIT;
            assert_eq!(report.check(), Err("count"), "{at}");
            *report.totals.each()[at] -= 1;
            assert_eq!(report.check(), Ok(()), "{at}");
        }
    }

    #[test]
    fn loss_is_what_did_not_come_by_the_stream_whether_it_was_repaired_or_not() {
        let table = [
            ((0, 0, 0), None, None),
            ((500, 0, 0), Some(0.0), Some(0.0)),
            ((500, 24, 0), Some(4.8), Some(0.0)),
            ((500, 60, 1), Some(12.0), Some(0.2)),
            ((500, 500, 500), Some(100.0), Some(100.0)),
            // They came and do not decode.
            ((500, 1, 25), Some(5.0), Some(5.0)),
        ];
        for ((frames, missed, concealed), loss, heard) in table {
            let lately = Lately {
                frames,
                missed,
                concealed,
                ..Lately::default()
            };
            let said = (lately.loss_percent(), lately.concealed_percent());
            assert_eq!(said, (loss, heard), "{lately:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_in_its_range_and_what_is_in_its_range_is_not_cut(
            listens: bool, counts: [u64; 10], lately: [u32; 5], times: Option<(u32, u32)>, more: (u32, u32, u8),
        ) {
            let mut report = Report {
                listens,
                lately: Lately {
                    frames: lately[0], missed: lately[1], concealed: lately[2], late: lately[3], underruns: lately[4],
                },
                repair: times.map(|(p50_us, p99_us)| RepairTimes { p50_us, p99_us }),
                longest_burst: more.0,
                buffer_ms: more.1,
                replica_percent: more.2,
                ..Report::default()
            };
            for (count, value) in report.totals.each().into_iter().zip(counts) {
                *count = value;
            }
            let cut = report.bounded();
            prop_assert_eq!(cut.check(), Ok(()));
            prop_assert_eq!(cut.bounded(), cut);
            if report.check().is_ok() {
                prop_assert_eq!(cut, report);
            }
            prop_assert_eq!(Message::parse(&message(cut).to_bytes()), Ok(message(cut)));
        }
    }
}
