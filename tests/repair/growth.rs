//! When was each block of a listener's file written? Watched from outside, every millisecond.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::stalls::now_ns;

const HEADER_BYTES: u64 = 44;
const BLOCK_BYTES: u64 = 3_840;

/// How many blocks each file had since when.
type Log = Vec<Vec<(i64, usize)>>;

/// Watches WAV files grow. They need not be there yet.
pub(crate) struct Growth {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Growth {
    pub(crate) fn watch(paths: Vec<PathBuf>) -> Growth {
        let log = Arc::new(Mutex::new(vec![Vec::new(); paths.len()]));
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, stopped) = (Arc::clone(&log), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&paths, &sink);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Growth {
            log,
            stop,
            thread: Some(thread),
        }
    }

    /// When file number `file` was first seen with its block number `block`: at most a millisecond after it was written, unless
    /// the machine stood still. None if it never was.
    pub(crate) fn written_ns(&self, file: usize, block: usize) -> Option<i64> {
        let log = self.log.lock().unwrap();
        let at = log[file].partition_point(|(_, blocks)| *blocks <= block);
        log[file].get(at).map(|(at_ns, _)| *at_ns)
    }

    /// How many blocks it has.
    pub(crate) fn blocks(&self, file: usize) -> usize {
        let log = self.log.lock().unwrap();
        log[file].last().map_or(0, |(_, blocks)| *blocks)
    }

    /// How many blocks it had at a time.
    pub(crate) fn blocks_at(&self, file: usize, at_ns: i64) -> usize {
        let log = self.log.lock().unwrap();
        let after = log[file].partition_point(|(then_ns, _)| *then_ns <= at_ns);
        after.checked_sub(1).map_or(0, |last| log[file][last].1)
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(paths: &[PathBuf], log: &Mutex<Log>) {
    for (file, path) in paths.iter().enumerate() {
        let blocks = blocks_of(path);
        let mut log = log.lock().unwrap();
        if log[file].last().map_or(0, |(_, before)| *before) < blocks {
            log[file].push((now_ns(), blocks));
        }
    }
}

fn blocks_of(path: &Path) -> usize {
    let bytes = fs::metadata(path).map_or(0, |about| about.len());
    (bytes.saturating_sub(HEADER_BYTES) / BLOCK_BYTES) as usize
}

#[test]
fn blocks_are_seen_when_they_are_written_and_half_ones_are_not() {
    use std::io::Write as _;
    let path = std::env::temp_dir().join(format!("growth-{}.wav", std::process::id()));
    let growth = Growth::watch(vec![path.clone(), path.with_extension("none")]);
    std::thread::sleep(Duration::from_millis(10));
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&[0; 44]).unwrap();
    let mut written = Vec::new();
    for block in 0..20 {
        std::thread::sleep(Duration::from_millis(7));
        file.write_all(&[0; 3_839]).unwrap();
        std::thread::sleep(Duration::from_millis(7));
        assert_eq!(growth.blocks(0), block, "half a block is none");
        written.push(now_ns());
        file.write_all(&[0]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let seen_ms: Vec<_> = (0..20)
        .map(|block| (growth.written_ns(0, block).unwrap() - written[block]) as f64 / 1e6)
        .collect();
    assert!(seen_ms.iter().all(|late| *late > -0.1), "{seen_ms:?}");
    let late_ms = crate::measure::percentile(&seen_ms, 50.0);
    assert!(late_ms < 5.0, "{seen_ms:?}");
    assert_eq!(
        (growth.written_ns(0, 20), growth.written_ns(1, 0)),
        (None, None)
    );
    let third_ns = growth.written_ns(0, 2).unwrap();
    assert_eq!(
        [third_ns - 1, third_ns].map(|at_ns| growth.blocks_at(0, at_ns)),
        [2, 3]
    );
    fs::remove_file(&path).unwrap();
}
