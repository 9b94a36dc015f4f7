//! How does a node fare, as it tells its leader?
//!
//! Every few seconds, by unicast: the totals since it started, what happened in the last ten seconds, and how repairs do. The
//! leader keeps the newest one of each node, so that `status` can show who suffers and why. All numbers are in a range
//! ([`Report::check`]): whoever shows them can add them up and divide by them.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::control::BUFFER_MS;
use super::ids::{NodeId, StationId};

/// A total is below this: 20,000 packets a second for 446 years.
pub const COUNT_LIMIT: u64 = 1 << 48;
/// The longest repair latency that can be told, in microseconds: 33 s, longer than the longest buffer.
pub const MAX_REPAIR_US: u32 = 1 << 25;
/// The largest jitter that can be told, in microseconds.
pub const MAX_JITTER_US: u32 = MAX_REPAIR_US;
/// How far from its time what is heard can be told to leave, earlier or later, in microseconds.
pub const MAX_SYNC_US: u32 = MAX_REPAIR_US;
/// The largest drift that can be told, either way, in parts per billion: 1 %, far beyond what any sound device drifts.
pub const MAX_DRIFT_PPB: u32 = 10_000_000;
/// Loss bursts are counted in so many classes: of 1 frame, of 2, of 3 and 4, of 5 to 8 and so on.
pub const BURST_CLASSES: usize = 7;

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
    /// How often how many in a row did not, since it started.
    pub bursts: Bursts,
    /// How long repairs took, since it started; none if there were none.
    pub repair: Option<RepairTimes>,
    /// How much the way of the packets varies (RFC 3550 section 6.4.1), in microseconds.
    pub jitter_us: u32,
    /// Its play-out delay in milliseconds.
    pub buffer_ms: u32,
    /// How much of the programme it holds, in per cent.
    pub replica_percent: u8,
    /// How well what it plays is in step; none while it plays nothing, or does not know yet.
    pub timing: Option<Timing>,
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
    /// By a repair for this node alone, or copied for it because it hears nothing.
    pub repaired_by_unicast: u64,
    /// By a repair for several.
    pub repaired_by_multicast: u64,
    /// Frames played without data.
    pub concealed: u64,
    /// Further copies, by the stream or by a repair for this node alone.
    pub duplicate: u64,
    /// First copies that came after a frame with a higher index.
    pub reordered: u64,
    /// How often the device wanted samples that were not there.
    pub underruns: u64,
    /// Packets that were not used, for whatever reason.
    pub rejected: u64,
}

impl Totals {
    /// Frames that the network lost and that were played all the same.
    pub const fn repaired(&self) -> u64 {
        self.repaired_by_replica
            .saturating_add(self.repaired_by_unicast)
            .saturating_add(self.repaired_by_multicast)
    }

    fn each(&mut self) -> [&mut u64; 11] {
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
            &mut self.rejected,
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

/// How many loss bursts there were of each class.
///
/// Nearly all listeners have few or none, so only what is not zero travels: a byte that says which classes these are, and their
/// counts. There is one way to write each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts(pub [u64; BURST_CLASSES]);

impl Serialize for Bursts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self.0.iter().filter(|count| **count > 0);
        let classes = (0..).zip(self.0).filter(|(_, count)| *count > 0);
        let classes = classes.fold(0u8, |bits, (class, _)| bits | 1 << class);
        let mut tuple = serializer.serialize_tuple(1 + told.clone().count())?;
        tuple.serialize_element(&classes)?;
        for count in told {
            tuple.serialize_element(count)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Bursts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bursts, D::Error> {
        deserializer.deserialize_tuple(1 + BURST_CLASSES, BurstsVisitor)
    }
}

struct BurstsVisitor;

impl<'de> Visitor<'de> for BurstsVisitor {
    type Value = Bursts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("classes of loss bursts and how many there were of each")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bursts, A::Error> {
        let few = || A::Error::custom("too few counts");
        let classes: u8 = seq.next_element()?.ok_or_else(few)?;
        if classes >> BURST_CLASSES != 0 {
            return Err(A::Error::custom("a class of bursts that there is not"));
        }
        let mut bursts = Bursts::default();
        for (class, count) in bursts.0.iter_mut().enumerate() {
            if classes >> class & 1 == 1 {
                *count = seq.next_element()?.ok_or_else(few)?;
                if *count == 0 {
                    return Err(A::Error::custom("a class that is told and empty"));
                }
            }
        }
        Ok(bursts)
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

/// How well a listener is in step, as the event `stats` tells it: both are known together, or neither is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How much later than it should what is heard leaves the device, averaged over a second, in microseconds; negative if earlier.
    pub sync_us: i32,
    /// How much faster than the device the station's clock goes, in parts per billion; negative if slower.
    pub drift_ppb: i32,
}

impl Timing {
    fn is_in_range(self) -> bool {
        self.sync_us.unsigned_abs() <= MAX_SYNC_US && self.drift_ppb.unsigned_abs() <= MAX_DRIFT_PPB
    }

    fn bounded(self) -> Timing {
        let cut = |value: i32, limit: u32| value.clamp(-(limit as i32), limit as i32);
        Timing {
            sync_us: cut(self.sync_us, MAX_SYNC_US),
            drift_ppb: cut(self.drift_ppb, MAX_DRIFT_PPB),
        }
    }
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
            (
                self.bursts.0.iter().all(|count| *count < COUNT_LIMIT),
                "bursts",
            ),
            (lately.missed.max(lately.concealed) <= lately.frames, "loss"),
            (
                self.repair.is_none_or(|times| {
                    times.p50_us <= times.p99_us && times.p99_us <= MAX_REPAIR_US
                }),
                "repair time",
            ),
            (self.jitter_us <= MAX_JITTER_US, "jitter"),
            (self.buffer_ms <= *BUFFER_MS.end(), "buffer"),
            (self.replica_percent <= 100, "replica"),
            (self.timing.is_none_or(Timing::is_in_range), "timing"),
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
        for count in &mut self.bursts.0 {
            *count = (*count).min(COUNT_LIMIT - 1);
        }
        let lately = &mut self.lately;
        lately.concealed = lately.concealed.min(lately.frames);
        lately.missed = lately.missed.min(lately.frames);
        if let Some(times) = &mut self.repair {
            times.p99_us = times.p99_us.min(MAX_REPAIR_US);
            times.p50_us = times.p50_us.min(times.p99_us);
        }
        self.jitter_us = self.jitter_us.min(MAX_JITTER_US);
        self.buffer_ms = self.buffer_ms.min(*BUFFER_MS.end());
        self.replica_percent = self.replica_percent.min(100);
        self.timing = self.timing.map(Timing::bounded);
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
            bursts: Bursts([u64::MAX; BURST_CLASSES]),
            repair: Some(RepairTimes {
                p50_us: u32::MAX,
                p99_us: u32::MAX - 1,
            }),
            jitter_us: u32::MAX,
            buffer_ms: u32::MAX,
            replica_percent: u8::MAX,
            timing: Some(Timing {
                sync_us: i32::MIN,
                drift_ppb: i32::MAX,
            }),
        }
    }

    #[test]
    fn the_largest_report_fits_in_a_datagram_many_times() {
        let message = message(largest().bounded());
        let bytes = message.to_bytes();
        assert!(bytes.len() <= MAX_BYTES / 6, "{} bytes", bytes.len());
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
        let timing = |sync_us, drift_ppb| {
            let timing = Some(Timing { sync_us, drift_ppb });
            Report { timing, ..good }
        };
        let (sync_us, drift_ppb) = (MAX_SYNC_US as i32, MAX_DRIFT_PPB as i32);
        assert_eq!(timing(sync_us, -drift_ppb).check(), Ok(()));
        assert_eq!(timing(-sync_us, drift_ppb).check(), Ok(()));
        let table = [
            (
                with(|report| report.totals.duplicate = COUNT_LIMIT),
                "count",
            ),
            (
                with(|report| report.bursts.0[BURST_CLASSES - 1] = COUNT_LIMIT),
                "bursts",
            ),
            (
                with(|report| report.jitter_us = MAX_JITTER_US + 1),
                "jitter",
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
            (timing(sync_us + 1, 0), "timing"),
            (timing(-sync_us - 1, 0), "timing"),
            (timing(0, drift_ppb + 1), "timing"),
            (timing(i32::MIN, i32::MIN), "timing"),
        ];
        for (report, what) in table {
            let bytes = postcard::to_extend(&message(report), vec![VERSION]).unwrap();
            let said = Message::parse(&bytes);
            assert_eq!(said, Err(ControlError::Range(what)), "{report:?}");
            assert_eq!(report.bounded().check(), Ok(()), "{what}");
        }
    }

    #[test]
    fn of_loss_bursts_only_what_there_is_travels() {
        let table: [([u64; BURST_CLASSES], &[u8]); 4] = [
            ([0; BURST_CLASSES], &[0]),
            ([5, 0, 0, 0, 0, 0, 0], &[1, 5]),
            ([300, 0, 2, 0, 0, 0, 1], &[0b100_0101, 0xac, 2, 2, 1]),
            ([1; BURST_CLASSES], &[0x7f, 1, 1, 1, 1, 1, 1, 1]),
        ];
        for (counts, bytes) in table {
            assert_eq!(postcard::to_allocvec(&Bursts(counts)).unwrap(), bytes);
            assert_eq!(postcard::from_bytes(bytes), Ok(Bursts(counts)));
        }
        // A class that there is not, one that is told and empty, one whose count is missing.
        for bad in [&[0x80, 1][..], &[1, 0], &[3, 5], &[]] {
            assert!(postcard::from_bytes::<Bursts>(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_report_of_a_tenth_lost_in_an_hour_is_small() {
        let report = Report {
            listens: true,
            totals: Totals {
                received: 180_000,
                late: 10,
                lost: 20,
                repaired_by_unicast: 18_000,
                concealed: 30,
                duplicate: 200,
                reordered: 20,
                ..Totals::default()
            },
            lately: Lately {
                frames: 500,
                missed: 50,
                ..Lately::default()
            },
            longest_burst: 5,
            bursts: Bursts([15_000, 1_400, 130, 2, 0, 0, 0]),
            repair: Some(RepairTimes {
                p50_us: 4_000,
                p99_us: 40_000,
            }),
            jitter_us: 2_000,
            buffer_ms: 500,
            replica_percent: 100,
            timing: Some(Timing {
                sync_us: -1_200,
                drift_ppb: 300_000,
            }),
        };
        let bytes = message(report).to_bytes();
        assert!(bytes.len() <= 77, "{} bytes", bytes.len());
    }

    #[test]
    fn a_node_that_is_in_step_with_nothing_pays_a_byte_for_it() {
        let silent = Report::default();
        let playing = Report {
            timing: Some(Timing::default()),
            ..silent
        };
        let bytes = |report| postcard::to_allocvec(&report).unwrap();
        assert_eq!(bytes(silent).last(), Some(&0));
        assert_eq!(bytes(playing).len() - bytes(silent).len(), 2);
    }

    #[test]
    fn each_total_is_checked_and_cut() {
        for at in 0..11 {
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
            listens: bool, counts: [u64; 11], lately: [u32; 5], times: Option<(u32, u32)>, more: (u32, u32, u32, u8),
            timing: Option<(i32, i32)>,
            bursts in prop::array::uniform7(prop_oneof![Just(0), any::<u64>()]),
        ) {
            let mut report = Report {
                listens,
                lately: Lately {
                    frames: lately[0], missed: lately[1], concealed: lately[2], late: lately[3], underruns: lately[4],
                },
                repair: times.map(|(p50_us, p99_us)| RepairTimes { p50_us, p99_us }),
                longest_burst: more.0,
                bursts: Bursts(bursts),
                buffer_ms: more.1,
                jitter_us: more.2,
                replica_percent: more.3,
                timing: timing.map(|(sync_us, drift_ppb)| Timing { sync_us, drift_ppb }),
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
