//! How does the one thread that owns the sockets wait? In poll(2), until a socket has something, a deadline comes, or
//! another thread (or a signal) wakes it.
//!
//! A deadline is kept to the nanosecond where `ppoll` exists (Linux, Android); elsewhere `poll` gets milliseconds, rounded
//! up, as a wait that ends too early would spin. The waker is a socket pair, because a signal handler can write to it too.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags};

use super::clock::Clock;
use crate::time::Instant;

/// Most descriptors of one wait, besides the waker's own.
pub const MAX_FDS: usize = 7;

/// Waits for descriptors, a deadline or a [`Waker`]. One per thread that waits.
#[derive(Debug)]
pub struct Waiter {
    reader: UnixStream,
    waker: Waker,
}

/// Ends the wait of its [`Waiter`], now or (if it does not wait at the moment) the next one. Clones wake the same one.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<WakerShared>,
}

#[derive(Debug)]
struct WakerShared {
    writer: UnixStream,
    /// A byte is already on its way, so that a thousand wakes cost one system call.
    pending: AtomicBool,
}

/// What ended a wait. All false: the deadline, or a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A [`Waker`] (or a signal that is connected to it) called.
    pub woken: bool,
    bits: u8,
}

impl Ready {
    /// True if the descriptor at `index` of those given to the wait can be read without blocking, or has failed.
    pub fn is_readable(&self, index: usize) -> bool {
        index < MAX_FDS && self.bits >> index & 1 == 1
    }

    /// True if any descriptor is ready.
    pub fn any_readable(&self) -> bool {
        self.bits != 0
    }
}

impl Waiter {
    /// A waiter and its socket pair. Fails when the process has no descriptors left.
    pub fn new() -> io::Result<Waiter> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let shared = WakerShared {
            writer,
            pending: AtomicBool::new(false),
        };
        Ok(Waiter {
            reader,
            waker: Waker {
                shared: Arc::new(shared),
            },
        })
    }

    /// A handle for other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until one of `fds` (the first [`MAX_FDS`] of them) is readable, `until` has come, or somebody woke it. A
    /// deadline in the past looks once; without a deadline it waits for ever. A signal ends it with nothing ready.
    pub fn wait<'fd>(
        &'fd self,
        fds: impl IntoIterator<Item = BorrowedFd<'fd>>,
        until: Option<Instant>,
        clock: &Clock,
    ) -> Ready {
        let mut polled: [PollFd<'fd>; MAX_FDS + 1] =
            std::array::from_fn(|_| PollFd::new(self.reader.as_fd(), PollFlags::POLLIN));
        let mut count = 1;
        for (slot, fd) in polled[1..].iter_mut().zip(fds) {
            *slot = PollFd::new(fd, PollFlags::POLLIN);
            count += 1;
        }
        let polled = &mut polled[..count];
        // An error is EINTR, or memory pressure: either way the caller looks at its deadlines and comes back.
        if poll_until(polled, until, clock).is_err() {
            return Ready::default();
        }
        let woken = is_ready(&polled[0]);
        if woken {
            self.clear();
        }
        let bits = polled[1..]
            .iter()
            .enumerate()
            .fold(0, |bits, (i, fd)| bits | u8::from(is_ready(fd)) << i);
        Ready { woken, bits }
    }

    /// Swallows the wake-ups. The flag falls first: a wake that comes while we read sends another byte, or was sent before
    /// the caller looks at what it is about.
    fn clear(&self) {
        self.waker.shared.pending.store(false, Ordering::SeqCst);
        let mut bytes = [0; 64];
        while matches!((&self.reader).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }
}

impl Waker {
    /// Wakes the waiter. Never blocks and never fails: a full pair means that a wake-up is already waiting.
    pub fn wake(&self) {
        if !self.shared.pending.swap(true, Ordering::SeqCst) {
            let _ = (&self.shared.writer).write(&[1]);
        }
    }

    /// A descriptor that wakes when a byte is written to it, for a signal handler.
    pub(crate) fn writer(&self) -> io::Result<OwnedFd> {
        Ok(self.shared.writer.try_clone()?.into())
    }
}

/// Unknown flags count: whatever happened, a read will tell.
fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.any().unwrap_or(true)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>, clock: &Clock) -> nix::Result<()> {
    let timeout = until.map(|until| nix::sys::time::TimeSpec::from(until.since(clock.now())));
    nix::poll::ppoll(fds, timeout, None).map(drop)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>, clock: &Clock) -> nix::Result<()> {
    use nix::poll::PollTimeout;
    let timeout = until.map_or(PollTimeout::NONE, |until| {
        let ms = until.since(clock.now()).as_micros().div_ceil(1_000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    });
    nix::poll::poll(fds, timeout).map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: [BorrowedFd<'static>; 0] = [];

    #[test]
    fn deadline_ends_the_wait_and_not_early() {
        let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
        let until = clock.now() + Duration::from_millis(5);
        assert_eq!(waiter.wait(NONE, Some(until), &clock), Ready::default());
        assert!(clock.now() >= until);
    }

    #[test]
    fn past_deadline_looks_once() {
        let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
        let past = Some(clock.now() - Duration::from_secs(1));
        assert!(!waiter.wait(NONE, past, &clock).woken);
        waiter.waker().wake();
        assert!(waiter.wait(NONE, past, &clock).woken);
    }

    #[test]
    fn wake_before_the_wait_is_kept_and_many_are_one() {
        let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
        let waker = waiter.waker();
        (0..100_000).for_each(|_| waker.wake());
        assert!(waiter.wait(NONE, None, &clock).woken);
        assert!(!waiter.wait(NONE, Some(clock.now()), &clock).woken);
        waker.wake();
        assert!(waiter.wait(NONE, None, &clock).woken);
    }

    #[test]
    fn another_thread_wakes_a_wait_without_deadline() {
        let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
        let waker = waiter.waker();
        let thread = crate::io::thread::spawn("waker", move || waker.wake()).unwrap();
        assert!(waiter.wait(NONE, None, &clock).woken);
        thread.join().unwrap();
    }

    #[test]
    fn only_the_readable_descriptor_is_reported() {
        let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
        let (quiet, _keep) = UnixStream::pair().unwrap();
        let (loud, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        let ready = waiter.wait([quiet.as_fd(), loud.as_fd()], None, &clock);
        assert!(!ready.woken && ready.any_readable());
        assert_eq!(
            (
                ready.is_readable(0),
                ready.is_readable(1),
                ready.is_readable(2)
            ),
            (false, true, false)
        );
    }
}
