//! What does one read of a UDP socket give? A datagram with its sender and the kernel's stamp, nothing, or an error.
//!
//! recvmsg(2) through nix, because only it gives the stamp (`SO_TIMESTAMPNS`) and tells that a datagram was cut: user space
//! sees packets up to 5 ms late on a loaded machine, the kernel does not (FACTS, clocks).

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::{TimeSpec, TimeVal};
use socket2::Socket;

/// The outcome of a read.
pub(super) enum Read {
    /// The first `len` bytes of the buffer; `stamp` is wall time since 1970.
    Datagram {
        from: SocketAddr,
        len: usize,
        truncated: bool,
        stamp: Option<Duration>,
    },
    /// No datagram is waiting.
    Empty,
    /// An error, which reading has consumed if it was a passing one.
    Failed,
}

/// Room for the control messages of one datagram, to be used again and again.
pub(super) fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(TimeSpec, TimeVal)
}

/// One recvmsg(2), again if a signal came. Never blocks.
pub(super) fn read(socket: &Socket, buffer: &mut [u8], control: &mut [u8]) -> Read {
    loop {
        let (fd, mut parts) = (socket.as_raw_fd(), [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        return match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut *control), flags) {
            Ok(message) => {
                let Some(from) = message.address.as_ref().and_then(socket_address) else {
                    return Read::Failed;
                };
                let stamp = message
                    .cmsgs()
                    .ok()
                    .and_then(|mut messages| messages.find_map(stamp_of));
                let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
                Read::Datagram {
                    from,
                    len: message.bytes,
                    truncated,
                    stamp,
                }
            }
            Err(nix::Error::EINTR) => continue,
            Err(nix::Error::EAGAIN) => Read::Empty,
            Err(_) => Read::Failed,
        };
    }
}

fn stamp_of(message: ControlMessageOwned) -> Option<Duration> {
    match message {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp.into()),
        ControlMessageOwned::ScmTimestamp(stamp) => Some(Duration::new(
            stamp.tv_sec() as u64,
            stamp.tv_usec() as u32 * 1_000,
        )),
        _ => None,
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
    })
}
