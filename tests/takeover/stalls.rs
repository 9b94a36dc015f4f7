//! When did the machine stand still? A witness that is none of the programs under test.
//!
//! One thread on each core sleeps for a millisecond, again and again, and notes when that took far longer. A program that
//! was not run for two frames has done nothing wrong; what the others did about it was right.

use std::sync::{Mutex, Once};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Shorter ones are not noted: nobody covers before two frames are overdue.
const NOTED: Duration = Duration::from_millis(20);
const NAP: Duration = Duration::from_millis(1);

/// A time in which a core did not run a thread that wanted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// On the real-time clock, as the stamps of captured packets.
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
}

static LOG: Mutex<Vec<Stall>> = Mutex::new(Vec::new());

/// Now, on the clock of the stamps.
pub(crate) fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

/// Starts the witnesses, once; they watch until the process ends.
pub(crate) fn watch() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        for core in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            std::thread::spawn(move || watch_core(core));
        }
    });
}

/// All stalls up to now.
pub(crate) fn log() -> Vec<Stall> {
    LOG.lock().unwrap().clone()
}

fn watch_core(core: usize) {
    let mut cores = CpuSet::new();
    // Where threads cannot be bound to a core, one that goes where there is room sees less, but something.
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
    loop {
        let before = Instant::now();
        std::thread::sleep(NAP);
        if let Some(stall) = noted(now_ns(), before.elapsed()) {
            LOG.lock().unwrap().push(stall);
        }
    }
}

/// What a nap that took `took` and ended at `now_ns` says.
fn noted(now_ns: i64, took: Duration) -> Option<Stall> {
    let over = took.saturating_sub(NAP);
    (over >= NOTED).then(|| Stall {
        from_ns: now_ns - i64::try_from(over.as_nanos()).unwrap_or(i64::MAX),
        to_ns: now_ns,
    })
}

impl Stall {
    pub(crate) fn ms(&self) -> f64 {
        (self.to_ns - self.from_ns) as f64 / 1e6
    }
}

/// The first of `stalls` that touches the time from `from_ns` to `to_ns`, with `slack_ms` at both ends.
pub(crate) fn touching(
    stalls: &[Stall],
    from_ns: i64,
    to_ns: i64,
    slack_ms: i64,
) -> Option<&Stall> {
    let slack_ns = slack_ms * 1_000_000;
    let touches =
        |stall: &&Stall| stall.from_ns <= to_ns + slack_ns && stall.to_ns >= from_ns - slack_ns;
    stalls.iter().find(touches)
}

/// Whether the machine stood still between these times, or so shortly before or after that what went wrong in between may come
/// of it. Says so.
pub(crate) fn excuse(what: &str, from_ns: i64, to_ns: i64) -> bool {
    const SLACK_MS: i64 = 100;
    let log = log();
    let stall = touching(&log, from_ns, to_ns, SLACK_MS);
    if let Some(stall) = stall {
        println!("{what}: a stall of {:.0} ms", stall.ms());
    }
    stall.is_some()
}

#[test]
fn nap_of_twenty_milliseconds_too_long_is_a_stall_and_a_shorter_one_is_none() {
    assert_eq!(noted(50_000_000, Duration::from_micros(20_999)), None);
    let stall = Stall {
        from_ns: 30_000_000,
        to_ns: 50_000_000,
    };
    assert_eq!(
        noted(50_000_000, Duration::from_micros(21_000)),
        Some(stall)
    );
    assert_eq!(stall.ms(), 20.0);
}

#[test]
fn stall_excuses_what_it_touches_and_nothing_else() {
    let stall = Stall {
        from_ns: 100_000_000,
        to_ns: 150_000_000,
    };
    let touched = |from_ms: i64, to_ms: i64| {
        touching(&[stall], from_ms * 1_000_000, to_ms * 1_000_000, 10).is_some()
    };
    assert!(touched(120, 130) && touched(0, 90) && touched(160, 900) && touched(0, 900));
    assert!(!touched(0, 89) && !touched(161, 900));
}
