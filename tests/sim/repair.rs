//! Is what the network drops repaired before anybody hears it? A table: what it drops, and how much time there is to repair it.
//!
//! `repair/short.txt` is what `make test` makes of it, `repair/full.txt` what `LANRADIO_PROOF=1` does, each compared to the byte;
//! `LANRADIO_BLESS=1` writes it anew.
//!
//! * `channel`: what the network drops
//! * `pair`: a sender and a listener on such a network
//! * `table`: how it is written down

mod channel;
mod pair;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use channel::Loss;
use pair::{Setup, Tally, run};
use table::Row;

const LOSSES: [Loss; 6] = [
    Loss::Random(5),
    Loss::Random(10),
    Loss::Random(20),
    Loss::Bursts(60),
    Loss::Bursts(100),
    Loss::Bursts(200),
];
const BUFFERS_MS: [u64; 4] = [100, 200, 500, 1_000];
/// A wired network, and one with a bad access point.
const DELAY_US: u64 = 400;
const LONG_DELAY_US: u64 = 30_000;

/// The residual loss in per cent of the scheme that is to be beaten (NACK): for each of [`LOSSES`] at 200, 500 and 1000 ms.
const TO_BEAT: [[f64; 3]; 6] = [
    [0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0],
    [0.007, 0.0, 0.0],
    [0.23, 0.001, 0.0],
    [0.78, 0.05, 0.0],
    [2.0, 0.48, 0.07],
];

/// Repairs are not more than what is lost times this.
const MOST_REPAIRS: f64 = 1.5;

/// A part of the table: cells that have something in common.
struct Part {
    what: &'static str,
    losses: &'static [Loss],
    buffers_ms: &'static [u64],
    both_ways: bool,
    delay_us: u64,
}

const PARTS: [Part; 3] = [
    Part {
        what: "Lost is what is sent to the listener.",
        losses: &LOSSES,
        buffers_ms: &BUFFERS_MS,
        both_ways: false,
        delay_us: DELAY_US,
    },
    Part {
        what: "What the listener sends is lost, too: each packet by itself, or in the same bursts.",
        losses: &LOSSES,
        buffers_ms: &BUFFERS_MS,
        both_ways: true,
        delay_us: DELAY_US,
    },
    Part {
        what: "The same, and a packet takes up to 30 ms.",
        losses: &[Loss::Random(5), Loss::Random(20), Loss::Bursts(100)],
        buffers_ms: &[200, 500, 1_000],
        both_ways: true,
        delay_us: LONG_DELAY_US,
    },
];

/// Each cell twice, without and with a replica.
fn setups(part: &Part, in_full: bool) -> Vec<Setup> {
    let frames = |loss, replica: bool| match (in_full, loss) {
        (false, _) => 10_000,
        (true, _) if replica || part.both_ways => 500_000,
        (true, Loss::Random(_)) => 1_000_000,
        (true, Loss::Bursts(_)) => 2_000_000,
    };
    let mut setups = Vec::new();
    for (seed, &loss) in (1..).zip(part.losses) {
        for &buffer_ms in part.buffers_ms {
            for replica in [false, true] {
                setups.push(Setup {
                    loss,
                    both_ways: part.both_ways,
                    buffer_ms,
                    delay_us: part.delay_us,
                    replica,
                    frames: frames(loss, replica),
                    seed,
                });
            }
        }
    }
    setups
}

/// Runs cells on all cores; what came of them, in order.
fn run_all(setups: &[Setup]) -> Vec<Tally> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, setup)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            setups.get(at).map(|setup| (at, *setup))
        } {
            done.push((at, run(setup)));
        }
        done
    };
    let mut results: Vec<(usize, Tally)> = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            results.extend(thread.join().expect("a cell"));
        }
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, tally)| tally).collect()
}

/// What has to be at most heard of a loss, in per cent.
fn to_beat(setup: &Setup) -> Option<f64> {
    let row = LOSSES.iter().position(|loss| *loss == setup.loss)?;
    let at = BUFFERS_MS.iter().position(|ms| *ms == setup.buffer_ms)?;
    let is_known = setup.delay_us == DELAY_US && !setup.both_ways;
    (is_known.then_some(TO_BEAT[row])?)
        .get(at.checked_sub(1)?)
        .copied()
}

#[test]
fn what_is_lost_is_repaired_in_time_and_a_replica_misses_nothing() {
    let in_full = std::env::var_os("LANRADIO_PROOF").is_some_and(|value| value == "1");
    let mut text = table::head();
    let mut faults = Vec::new();
    for part in &PARTS {
        let setups = setups(part, in_full);
        let tallies = run_all(&setups);
        text += &table::title(part.what);
        for (setup, pair) in setups.chunks(2).map(|pair| pair[0]).zip(tallies.chunks(2)) {
            let row = Row {
                setup,
                to_beat: to_beat(&setup),
                without: &pair[0],
                with: &pair[1],
            };
            text += &row.line();
            faults.extend(row.faults(in_full));
        }
    }
    println!("{text}");
    assert!(faults.is_empty(), "{faults:#?}");
    let name = if in_full { "full" } else { "short" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sim/repair/{name}.txt"));
    if std::env::var_os("LANRADIO_BLESS").is_some() {
        return std::fs::write(&path, text).unwrap();
    }
    let blessed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(blessed, text, "{name} (LANRADIO_BLESS=1 writes it anew)");
}
