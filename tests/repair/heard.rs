//! Is it what was sent, where it should be? The judge of a listener's file.

use std::ops::Range;

use crate::process::Node;
use crate::station::{Station, name};
use crate::wav::Block;
use crate::wire::Wire;
use crate::{reference, stalls};

/// Blocks that may sound wrong after one that was concealed.
const SHADOW: usize = 3;
/// From when a listener got its last chance of a frame to when it sounded: the default buffer.
const BUFFER_NS: i64 = 500_000_000;
/// Shorter stalls of the machine excuse nothing at that buffer.
const LONG_STALL_MS: f64 = 100.0;

/// The fewest blocks that were concealed if these sound wrong: a hole is heard in its own block, and at most in the three after
/// it.
pub(crate) fn least_holes(different: &[usize]) -> usize {
    let mut holes = 0;
    let mut excused = 0..0;
    for &block in different {
        if !excused.contains(&block) {
            holes += 1;
            excused = block..block + SHADOW + 1;
        }
    }
    holes
}

/// What is wrong with blocks of which so many were concealed. (A block that was concealed always sounds wrong.)
pub(crate) fn complaint(heard: &[Block], expected: &[Block], concealed: usize) -> Option<String> {
    if heard.len() != expected.len() {
        return Some(format!(
            "{} blocks heard, {} sent",
            heard.len(),
            expected.len()
        ));
    }
    let different = reference::different(heard, expected);
    let least = least_holes(&different);
    let right = (least..=different.len()).contains(&concealed);
    (!right).then(|| {
        let some = &different[..different.len().min(20)];
        format!(
            "{} blocks sound wrong, {concealed} were concealed: {some:?}",
            different.len()
        )
    })
}

/// The listener on `host` wrote what was sent, from the first frame to the last, but for what it says it concealed; answers how
/// many frames those are, without those for which a stall of the machine is to blame.
pub(crate) fn assert_heard(station: &Station, host: usize, wire: &Wire) -> usize {
    let concealed = station.nodes[host].last_stat("concealed") as usize;
    let received = station.nodes[host].last_stat("received") as usize;
    let (heard, sent) = (station.heard(host), wire.blocks());
    assert_eq!(received + concealed, sent.len(), "{}", name(host));
    if let Some(complaint) = complaint(&heard, &sent, concealed) {
        panic!("{}: {complaint}", name(host));
    }
    let different = reference::different(&heard, &sent);
    if concealed > 0 {
        println!("{}: {concealed} concealed, {different:?}", name(host));
    }
    let stalled: Vec<_> = different
        .iter()
        .filter(|at| is_excused(wire.sent_ns(**at)))
        .collect();
    // If all that sounds wrong is excused, so is all that was concealed.
    if stalled.len() == different.len() {
        0
    } else {
        concealed
    }
}

/// A long stall while a frame that was sent at this time could be repaired.
fn is_excused(sent_ns: i64) -> bool {
    let mut long = stalls::log();
    long.retain(|stall| stall.ms() >= LONG_STALL_MS);
    stalls::touching(&long, sent_ns, sent_ns + BUFFER_NS, 0).is_some()
}

/// A counter from the last statistics of a node.
pub(crate) fn count(node: &Node, field: &str) -> usize {
    node.last_stat(field) as usize
}

/// How much of one kind a node refused, by its last statistics.
pub(crate) fn rejected_by(node: &Node, reason: &str) -> u64 {
    let stats = node.events_named("stats");
    let last = stats.last().expect("stats");
    last["rejected_by"][reason].as_u64().unwrap_or_default()
}

/// The blocks of a range that are not as expected.
pub(crate) fn wrong_in(heard: &[Block], expected: &[Block], range: Range<usize>) -> Vec<usize> {
    let wrong = reference::different(&heard[range.clone()], &expected[range.clone()]);
    wrong.into_iter().map(|at| at + range.start).collect()
}

#[test]
fn a_hole_is_heard_in_its_block_and_three_more_and_no_further() {
    let table: [(&[usize], usize); 7] = [
        (&[], 0),
        (&[7], 1),
        (&[7, 8, 9, 10], 1),
        (&[7, 11], 2),
        (&[7, 8, 9, 10, 11], 2),
        (&[7, 10, 13, 14], 2),
        (&[7, 20, 21, 40], 3),
    ];
    for (different, least) in table {
        assert_eq!(least_holes(different), least, "{different:?}");
    }
}

/// Each block sounds different.
#[cfg(test)]
fn sent(count: usize) -> Vec<Block> {
    (0..count).map(|index| [index as i16 + 1; 1920]).collect()
}

#[test]
fn judge_believes_the_count_of_concealed_blocks_only_as_far_as_the_sound_bears_it_out() {
    let expected = sent(100);
    let mut heard = expected.clone();
    assert_eq!(complaint(&heard, &expected, 0), None);
    // Nothing sounds wrong, and something was concealed.
    assert!(complaint(&heard, &expected, 1).is_some());
    for block in [30, 31, 50, 53] {
        heard[block] = [0; 1920];
    }
    for (concealed, right) in [(0, false), (1, false), (2, true), (4, true), (5, false)] {
        assert_eq!(
            complaint(&heard, &expected, concealed).is_none(),
            right,
            "{concealed}"
        );
    }
    // A block twice, and one that is missing.
    let mut twice = expected.clone();
    twice.insert(40, expected[39]);
    assert!(complaint(&twice, &expected, 0).is_some());
    assert!(complaint(&expected[..99], &expected, 0).is_some());
    assert!(complaint(&expected[1..], &expected, 0).is_some());
}
