//! When has something changed about this machine's network interfaces? The kernel says so on a netlink socket, which costs nothing
//! as long as nothing does: what has changed is then read from the list of interfaces. Where there is no such socket, it is time to
//! look once a second.

use std::time::Duration;

use crate::time::Instant;

/// From one look to the next, if the kernel has more to say: one change is often many messages.
const BETWEEN: Duration = Duration::from_millis(50);
/// The same where the kernel does not say.
const UNTOLD: Duration = Duration::from_secs(1);

/// Waits for changes.
#[derive(Debug)]
pub struct InterfaceWatch {
    kernel: Option<Kernel>,
    /// When it is time to look.
    look_at: Option<Instant>,
    looked_at: Option<Instant>,
}

impl InterfaceWatch {
    /// It is time for a first look.
    pub fn new(now: Instant) -> InterfaceWatch {
        InterfaceWatch {
            kernel: Kernel::open(),
            look_at: Some(now),
            looked_at: None,
        }
    }

    /// What to wait for, beside [`InterfaceWatch::poll_timeout`].
    pub fn poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.kernel.as_ref().map(Kernel::fd)
    }

    /// The descriptor has something.
    pub fn handle_ready(&mut self, now: Instant) {
        if self.kernel.as_ref().is_some_and(Kernel::has_news) {
            self.look_again(now);
        }
    }

    /// It is time to look at `now`, or as soon after it as is good for the machine.
    pub fn look_again(&mut self, now: Instant) {
        let soonest = self.looked_at.map_or(now, |at| now.max(at + BETWEEN));
        self.look_at = Some(self.look_at.map_or(soonest, |at| at.min(soonest)));
    }

    /// When it is time to look, if that is known.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether it is time to look; whoever asks does so.
    pub fn is_time(&mut self, now: Instant) -> bool {
        if self.look_at.is_none_or(|at| now < at) {
            return false;
        }
        self.looked_at = Some(now);
        self.look_at = self.kernel.is_none().then(|| now + UNTOLD);
        true
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux::Kernel;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

    use nix::errno::Errno;
    use nix::sys::socket::{
        self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
    };

    /// rtnetlink(7): links, IPv4 addresses, IPv6 addresses.
    const GROUPS: u32 = 0x1 | 0x10 | 0x100;
    /// Messages read at a time; what is left ends the next wait at once.
    const AT_A_TIME: usize = 64;

    /// A socket on which the kernel tells of changes.
    #[derive(Debug)]
    pub(super) struct Kernel(OwnedFd);

    impl Kernel {
        /// None where it is not allowed.
        pub(super) fn open() -> Option<Kernel> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let protocol = SockProtocol::NetlinkRoute;
            let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).ok()?;
            socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).ok()?;
            Some(Kernel(fd))
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        /// Whether there was a message, or too many. They are not read: the list of interfaces says the same, and all of it.
        pub(super) fn has_news(&self) -> bool {
            let mut start = [0; 16];
            let mut count = 0;
            while count < AT_A_TIME {
                match socket::recv(self.0.as_raw_fd(), &mut start, MsgFlags::MSG_DONTWAIT) {
                    Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => count += 1,
                    Err(_) => break,
                }
            }
            count > 0
        }
    }
}

/// Elsewhere nobody says.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
enum Kernel {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Kernel {
    fn open() -> Option<Kernel> {
        None
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }

    fn has_news(&self) -> bool {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn untold() -> InterfaceWatch {
        InterfaceWatch {
            kernel: None,
            ..InterfaceWatch::new(at_ms(0))
        }
    }

    #[test]
    fn it_is_time_at_the_start_and_then_only_when_the_kernel_has_news() {
        let mut watch = InterfaceWatch::new(at_ms(0));
        assert!(watch.kernel.is_some(), "this system has a netlink");
        assert!(watch.is_time(at_ms(0)) && !watch.is_time(at_ms(0)));
        watch.handle_ready(at_ms(10));
        assert!(!watch.is_time(at_ms(100_000)));
        assert_eq!(watch.poll_timeout(), None);
    }

    #[test]
    fn without_a_netlink_it_is_time_once_a_second() {
        let mut watch = untold();
        assert!(watch.is_time(at_ms(0)) && !watch.is_time(at_ms(999)));
        assert_eq!(watch.poll_timeout(), Some(at_ms(1_000)));
        assert!(watch.is_time(at_ms(1_000)));
    }

    #[test]
    fn many_messages_are_one_look_now_and_one_a_little_later() {
        let mut watch = untold();
        assert!(watch.is_time(at_ms(0)));
        watch.look_again(at_ms(500));
        assert!(watch.is_time(at_ms(500)));
        for ms in 500..520 {
            watch.look_again(at_ms(ms));
            assert!(!watch.is_time(at_ms(ms)));
        }
        assert_eq!(watch.poll_timeout(), Some(at_ms(550)));
        assert!(watch.is_time(at_ms(550)));
    }
}
