//! Who starts threads? This file, so that each has a name (in `top -H`, in a panic) and a refusal is an error, not a panic.
//!
//! Signals that end the program are the main thread's alone: two that come at once would otherwise be handled side by side, and
//! neither would see that it is the second one.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The system refused a thread.
#[derive(Debug, thiserror::Error)]
#[error("starting the thread `{name}`: {source} (too many processes? see `ulimit -u`)")]
pub struct ThreadError {
    name: String,
    source: io::Error,
}

/// Starts `body` on its own thread. Linux shows the first 15 bytes of `name`, so keep it that short.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that starts threads"
)]
pub fn spawn<T, F>(name: &str, body: F) -> Result<JoinHandle<T>, ThreadError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    debug_assert!(name.len() <= 15, "the kernel cuts the thread name {name}");
    let refused = |source| ThreadError {
        name: name.to_owned(),
        source,
    };
    // A thread inherits the mask of the one that starts it.
    let ending = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    let mask =
        (ending.thread_swap_mask(SigmaskHow::SIG_BLOCK)).map_err(|error| refused(error.into()))?;
    let started = Builder::new().name(name.to_owned()).spawn(body);
    mask.thread_set_mask()
        .map_err(|error| refused(error.into()))?;
    started.map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_has_its_name() {
        let name = spawn("encoder", || {
            std::thread::current().name().map(str::to_owned)
        })
        .unwrap()
        .join()
        .unwrap();
        assert_eq!(name.as_deref(), Some("encoder"));
    }
}
