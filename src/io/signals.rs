//! How does Ctrl-C end us? The first SIGINT, SIGTERM or SIGHUP asks (a flag, and a wake-up for the thread that waits), so
//! that a leader can hand over; the second ends the process with 130 at once, even if the program hangs.
//!
//! The second one is done in the signal handler itself (`register_conditional_shutdown`), hence no thread of ours must be
//! alive for it. SIGHUP stays ignored where it was ignored at the start: that is what `nohup` means.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::wait::Waker;

/// Exit code of the second signal (as a shell gives it for SIGINT).
pub const FORCED_EXIT_CODE: i32 = 130;

/// Whether somebody asked us to end. Clones share the flag.
#[derive(Clone, Debug)]
pub struct Signals {
    asked: Arc<AtomicBool>,
}

/// The handlers could not be set.
#[derive(Debug, thiserror::Error)]
#[error("setting the handler of signal {signal}: {source}")]
pub struct SignalError {
    signal: i32,
    source: io::Error,
}

impl Signals {
    /// True once a first signal came.
    pub fn stop_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Sets the handlers, once per process; the first signal also wakes `waker`'s waiter.
pub fn install(waker: &Waker) -> Result<Signals, SignalError> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        register(signal, &asked, waker).map_err(|source| SignalError { signal, source })?;
    }
    Ok(Signals { asked })
}

/// The order matters: handlers run as registered, so the exit sees the flag that an earlier signal has set.
fn register(signal: i32, asked: &Arc<AtomicBool>, waker: &Waker) -> io::Result<()> {
    flag::register_conditional_shutdown(signal, FORCED_EXIT_CODE, Arc::clone(asked))?;
    flag::register(signal, Arc::clone(asked))?;
    low_level::pipe::register(signal, waker.writer()?)?;
    Ok(())
}

/// Whether we were started with `signal` ignored. Linux tells it as a mask; elsewhere we assume not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_mask(&status) >> (signal - 1) & 1 == 1
}

fn ignored_mask(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::clock::Clock;
    use super::super::wait::Waiter;
    use super::*;

    const CHILD: &str = "LANRADIO_TEST_SIGNAL_CHILD";

    /// Handlers are for the whole process, so they are tried in a child: this same test, started again.
    fn in_child(test: &str) -> Option<i32> {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args([
                "--exact",
                &format!("io::signals::tests::{test}"),
                "--nocapture",
            ])
            .env(CHILD, test);
        child
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .code()
    }

    fn is_child() -> bool {
        std::env::var_os(CHILD).is_some()
    }

    #[test]
    fn first_signal_sets_the_flag_and_wakes() {
        if !is_child() {
            return assert_eq!(in_child("first_signal_sets_the_flag_and_wakes"), Some(0));
        }
        let waiter = Waiter::new().unwrap();
        let signals = install(&waiter.waker()).unwrap();
        assert!(!signals.stop_asked());
        low_level::raise(SIGTERM).unwrap();
        assert!(signals.stop_asked());
        assert!(waiter.wait([], None, &Clock::new()).woken);
    }

    #[test]
    fn second_signal_of_another_kind_exits_130() {
        if !is_child() {
            return assert_eq!(
                in_child("second_signal_of_another_kind_exits_130"),
                Some(FORCED_EXIT_CODE)
            );
        }
        let waiter = Waiter::new().unwrap();
        let _signals = install(&waiter.waker()).unwrap();
        low_level::raise(SIGTERM).unwrap();
        low_level::raise(SIGINT).unwrap();
        unreachable!("the second signal ends the process");
    }

    #[test]
    fn mask_of_ignored_signals_is_read() {
        assert_eq!(
            ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\tffff\n"),
            0x1001
        );
        assert_eq!(ignored_mask(""), 0);
    }
}
