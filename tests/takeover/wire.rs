//! What was on the cable, and was it right? The judge of a captured programme.
//!
//! It finds what is wrong and says it, so that it can be tested itself (`wire_tests`): frames that are missing, sent twice
//! for no reason, with other sound or at another place than they should have, and senders that are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::capture::{self, Frame, Packet};
use crate::stalls::{self, Stall};
use crate::wav::Block;
use crate::{measure, reference};

const MS: i64 = 1_000_000;
const FRAME_NS: i64 = 20 * MS;

/// Bits of the header's flags.
pub(crate) const COVER: u8 = 1;
pub(crate) const SOLO: u8 = 2;

/// A time in which frames may be sent twice, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
    pub(crate) repeats: usize,
}

impl Trouble {
    /// Around the loss of a leader, three frames.
    pub(crate) fn loss(at_ns: i64) -> Trouble {
        Trouble {
            from_ns: at_ns - 100 * MS,
            to_ns: at_ns + 1_000 * MS,
            repeats: 3,
        }
    }

    /// Two parts of a network play the same, until a second after they are one again.
    pub(crate) fn parted(from_ns: i64, healed_ns: i64) -> Trouble {
        Trouble {
            from_ns: from_ns - 100 * MS,
            to_ns: healed_ns + 1_000 * MS,
            repeats: usize::MAX,
        }
    }
}

/// What should have been on the cable.
#[derive(Default)]
pub(crate) struct Expected<'a> {
    /// All payloads of the programme.
    pub(crate) payloads: Vec<&'a [u8]>,
    /// The programme may break off early.
    pub(crate) may_end_early: bool,
    pub(crate) troubles: Vec<Trouble>,
    /// From here on, one address sends.
    pub(crate) one_sender_from_ns: Option<i64>,
}

/// A captured programme of one run, from its first frame on.
pub(crate) struct Wire {
    /// All media packets in order of arrival.
    pub(crate) frames: Vec<Frame>,
    /// The index of each.
    pub(crate) indexes: Vec<i64>,
    /// Where in `frames` each index came first.
    first: BTreeMap<i64, usize>,
}

impl Wire {
    pub(crate) fn read(packets: &[Packet]) -> Wire {
        Wire::of(capture::media(packets))
    }

    pub(crate) fn of(frames: Vec<Frame>) -> Wire {
        let indexes = reference::offsets(&frames);
        let mut first = BTreeMap::new();
        for (at, index) in indexes.iter().enumerate() {
            first.entry(*index).or_insert(at);
        }
        Wire {
            frames,
            indexes,
            first,
        }
    }

    /// Panics with everything that is not as expected.
    pub(crate) fn assert(&self, expected: &Expected) {
        let complaints = self.complaints(expected, &stalls::log());
        assert!(complaints.is_empty(), "on the wire: {complaints:#?}");
    }

    /// Everything that is not as expected; what the machine's stalls explain is said and forgiven.
    pub(crate) fn complaints(&self, expected: &Expected, stalls: &[Stall]) -> Vec<String> {
        if self.frames.is_empty() {
            return vec!["no frames".into()];
        }
        let mut complaints = self.wrong_frames();
        complaints.extend(self.wrong_sound(expected));
        complaints.extend(self.wrong_repeats(&expected.troubles, stalls));
        if let Some(from_ns) = expected.one_sender_from_ns {
            let senders = self.senders(from_ns..i64::MAX);
            if senders.len() != 1 {
                complaints.push(format!("one sender at last, not {senders:?}"));
            }
        }
        complaints
    }

    /// One source on one timeline: the timestamp follows the index, the marker is on the first frame and no other.
    fn wrong_frames(&self) -> Vec<String> {
        let head = &self.frames[0];
        let wrong = |(frame, index): (&Frame, &i64)| {
            let right = frame.ssrc == head.ssrc
                && frame.ts == head.ts.wrapping_add((*index as u32).wrapping_mul(960))
                && frame.marker == (*index == 0);
            (!right).then(|| {
                let Frame {
                    ssrc, ts, marker, ..
                } = frame;
                format!("frame {index}: source {ssrc:x}, timestamp {ts}, marker {marker}")
            })
        };
        self.frames
            .iter()
            .zip(&self.indexes)
            .filter_map(wrong)
            .collect()
    }

    /// Each index has the payload of its place, and each place is there.
    fn wrong_sound(&self, expected: &Expected) -> Vec<String> {
        let mut complaints = Vec::new();
        for (frame, index) in self.frames.iter().zip(&self.indexes) {
            let right = usize::try_from(*index)
                .ok()
                .and_then(|index| expected.payloads.get(index));
            if right.is_none_or(|right| *right != frame.opus) {
                complaints.push(format!("frame {index} from {}: other sound", frame.from));
            }
        }
        let end = self.first.last_key_value().map_or(0, |(last, _)| last + 1);
        let holes: Vec<_> = (0..end)
            .filter(|index| !self.first.contains_key(index))
            .collect();
        if !holes.is_empty() {
            complaints.push(format!("never sent: {holes:?}"));
        }
        let whole = end as usize == expected.payloads.len();
        if !whole && !expected.may_end_early {
            let total = expected.payloads.len();
            complaints.push(format!("{end} frames of {total}"));
        }
        complaints
    }

    fn wrong_repeats(&self, troubles: &[Trouble], stalls: &[Stall]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut counts = vec![0; troubles.len()];
        for (at, index) in self.repeats() {
            let at_ns = self.frames[at].at_ns;
            let trouble = troubles
                .iter()
                .rposition(|trouble| (trouble.from_ns..=trouble.to_ns).contains(&at_ns));
            if let Some(trouble) = trouble {
                counts[trouble] += 1;
            } else if let Some(stall) = stalls::touching(stalls, at_ns - FRAME_NS, at_ns, 100) {
                println!("frame {index} twice: a stall of {:.0} ms", stall.ms());
            } else {
                let from = self.frames[at].from;
                let first_ns = self.frames[self.first[&index]].at_ns;
                let late_ms = (first_ns - self.due_ns(index, first_ns + 1)) as f64 / 1e6;
                let after_ms = (at_ns - first_ns) as f64 / 1e6;
                complaints.push(format!(
                    "frame {index} again from {from}, for no reason: {after_ms:.1} ms after the first, which was {late_ms:.1} ms late"
                ));
            }
        }
        for (trouble, count) in troubles.iter().zip(counts) {
            if count > trouble.repeats {
                complaints.push(format!("{count} repeats in {trouble:?}"));
            }
        }
        complaints
    }

    /// The packets that were there before: place in `frames`, and index.
    pub(crate) fn repeats(&self) -> Vec<(usize, i64)> {
        let all = self.indexes.iter().copied().enumerate();
        all.filter(|(at, index)| self.first[index] != *at).collect()
    }

    /// Who sent in this time.
    pub(crate) fn senders(&self, time_ns: Range<i64>) -> BTreeSet<SocketAddr> {
        let within = |frame: &&Frame| time_ns.contains(&frame.at_ns);
        let senders = self.frames.iter().filter(within);
        senders.map(|frame| frame.from).collect()
    }

    /// The first packet after `after_ns` that another host than `old` sent: when, and which index.
    pub(crate) fn replaced(&self, after_ns: i64, old: IpAddr) -> Option<(i64, i64)> {
        let mut all = self.frames.iter().zip(&self.indexes);
        let found = all.find(|(frame, _)| frame.at_ns >= after_ns && frame.from.ip() != old);
        found.map(|(frame, index)| (frame.at_ns, *index))
    }

    /// When anybody but `last` sent for the last time.
    pub(crate) fn last_of_others(&self, last: IpAddr) -> Option<i64> {
        let mut others = self.frames.iter().rev();
        let found = others.find(|frame| frame.from.ip() != last);
        found.map(|frame| frame.at_ns)
    }

    /// When frame `index` should arrive: the grid is that of the fastest packets up to `until_ns`.
    pub(crate) fn due_ns(&self, index: i64, until_ns: i64) -> i64 {
        let undisturbed = self
            .first
            .iter()
            .filter(|(_, at)| self.frames[**at].at_ns < until_ns);
        let phase = undisturbed
            .map(|(index, at)| self.frames[*at].at_ns - index * FRAME_NS)
            .min();
        phase.expect("frames before the trouble") + index * FRAME_NS
    }

    /// The sound of frame `index`, as it was first sent.
    pub(crate) fn payload(&self, index: usize) -> &[u8] {
        &self.frames[self.first[&(index as i64)]].opus
    }

    /// When frame `index` was first sent.
    pub(crate) fn sent_ns(&self, index: usize) -> i64 {
        self.frames[self.first[&(index as i64)]].at_ns
    }

    /// How late the frames came that were due in the second after `at_ns`, on the grid of those before, in ms.
    pub(crate) fn lateness_ms(&self, at_ns: i64) -> Vec<f64> {
        let base_ns = self.due_ns(0, at_ns);
        let window = at_ns - FRAME_NS..at_ns + 1_000 * MS;
        let late = |(index, at): (&i64, &usize)| {
            let due_ns = base_ns + index * FRAME_NS;
            let late_ms = (self.frames[*at].at_ns - due_ns) as f64 / 1e6;
            window.contains(&due_ns).then_some(late_ms)
        };
        self.first.iter().filter_map(late).collect()
    }

    /// The worst of them.
    pub(crate) fn worst_lateness_ms(&self, at_ns: i64) -> f64 {
        measure::percentile(&self.lateness_ms(at_ns), 100.0)
    }

    /// How many indexes were sent.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// What a listener must have heard: each frame once, in order. (Nothing is missing, see [`Wire::assert`].)
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let once: Vec<_> = self
            .first
            .values()
            .map(|at| self.frames[*at].clone())
            .collect();
        reference::decode(&once)
    }
}
