//! How do packets come and go? Media (group:port), RTCP (group:port+1) and control (group:port+2) receive, one ephemeral unicast
//! socket sends everything and names the node.
//!
//! One thread owns them all and drains them before it acts (PROTOCOL, "every wake"). They are drained in turn, so that a
//! flood of media cannot starve control; and a socket counts as drained at the first datagram that came after the wait
//! ended, so that a flood cannot keep the thread from its deadlines either. A socket is read only if the wait said so.

mod membership;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{SockAddr, Socket};

use super::clock::Clock;
use super::datagram::{self, Read};
use super::interface::{Choice, Interface, InterfaceError};
use super::socket_setup::{self as setup, scoped};
use super::wait::{Ready, Waiter};
use crate::time::Instant;

/// Longest datagram that is looked at, in bytes; more than any of ours, which fit an Ethernet frame.
pub const MAX_DATAGRAM: usize = 1_600;
/// Errors in a row after which a socket is given up until [`StationSockets::rejoin`].
const MAX_FAILURES: u32 = 16;
/// Datagrams of one drain when the kernel's stamps cannot end it; more than any receive buffer holds in practice.
const MAX_UNSTAMPED: u32 = 65_536;

const MEDIA: usize = 0;
const RTCP: usize = 1;
const CONTROL: usize = 2;
const UNICAST: usize = 3;
const PORTS: usize = 4;
const CHANNELS: [Channel; PORTS] = [
    Channel::Media,
    Channel::Rtcp,
    Channel::Control,
    Channel::Unicast,
];

/// Which groups to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// group:port.
    pub media: bool,
    /// group:port+1. If it cannot be had, the goodbyes of foreign streams are not heard, and nothing else is missing.
    pub rtcp: bool,
    /// group:port+2.
    pub control: bool,
}

impl Join {
    /// All of them: a listener.
    pub const ALL: Join = Join {
        media: true,
        rtcp: true,
        control: true,
    };
    /// What stations of ours need.
    pub const STATION: Join = Join {
        media: true,
        rtcp: false,
        control: true,
    };
    /// Control only.
    pub const CONTROL: Join = Join {
        media: false,
        rtcp: false,
        control: true,
    };
}

/// What to open.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Multicast group and media port (even; RTCP is +1, control +2).
    pub group: SocketAddr,
    /// The interface to use.
    pub interface: Interface,
    /// The address of `interface` to send from, of the group's family.
    pub source: IpAddr,
    /// Routers that a packet may pass, plus one.
    pub ttl: u32,
    /// What to receive.
    pub join: Join,
}

impl SocketConfig {
    /// Everything of `group` on the interface that was chosen.
    pub fn new(group: SocketAddr, choice: &Choice, ttl: u32) -> SocketConfig {
        SocketConfig {
            group,
            interface: choice.interface.clone(),
            source: choice.source,
            ttl,
            join: Join::ALL,
        }
    }
}

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The port is held by a program that does not share it.
    #[error(
        "address in use: joining {address}: another program holds {address} without sharing; stop it or choose --group"
    )]
    InUse {
        /// Group and port.
        address: SocketAddr,
    },
    /// No socket, or an option was refused.
    #[error("opening a UDP socket for {address}: {source}")]
    Open {
        /// What for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address is not ours (any more), or not allowed.
    #[error("binding a UDP socket to {address}: {source} (see --interface and --group)")]
    Bind {
        /// What to.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The interface cannot do multicast, or is gone.
    #[error(
        "joining {group} on {interface}: {source} (does it support multicast? see --interface)"
    )]
    Join {
        /// The group.
        group: IpAddr,
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The interface is gone, or has lost its address.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// The socket that a datagram came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// group:port.
    Media,
    /// group:port+1.
    Rtcp,
    /// group:port+2.
    Control,
    /// Our own address: for us alone.
    Unicast,
}

/// A datagram; its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it came in.
    pub channel: Channel,
    /// Who sent it. (Our own multicast comes back too: see [`StationSockets::local_addr`].)
    pub from: SocketAddr,
    /// Bytes in the buffer.
    pub len: usize,
    /// It was longer than the buffer or [`MAX_DATAGRAM`], and its end is lost: count it, do not parse it.
    pub truncated: bool,
    /// When the kernel got it.
    pub arrived: Instant,
}

/// The sockets of one node at one station.
#[derive(Debug)]
pub struct StationSockets {
    config: SocketConfig,
    clock: Clock,
    /// By [`MEDIA`], [`RTCP`], [`CONTROL`], [`UNICAST`]. The last is always there.
    ports: [Option<Port>; PORTS],
    local: SocketAddr,
    /// Media, RTCP and control, ready to send to.
    targets: [SockAddr; 3],
    /// The port to look at first.
    turn: usize,
    woke_at: Instant,
    unstamped: u32,
    /// A `rejoin` has begun and not succeeded.
    half_joined: bool,
    control_buffer: Vec<u8>,
}

#[derive(Debug)]
struct Port {
    socket: Socket,
    ready: bool,
    failures: u32,
}

impl StationSockets {
    /// Opens and joins what `config` says. Sends nothing (but the kernel announces the membership by IGMP or MLD).
    pub fn open(config: &SocketConfig) -> Result<StationSockets, SocketError> {
        let clock = Clock::new();
        let unicast = Port::new(setup::unicast(
            config.source,
            &config.interface,
            config.ttl,
        )?);
        let mut sockets = StationSockets {
            local: local_of(&unicast.socket),
            ports: [None, None, None, Some(unicast)],
            targets: targets(config),
            config: config.clone(),
            clock,
            turn: MEDIA,
            woke_at: clock.now(),
            unstamped: 0,
            half_joined: false,
            control_buffer: datagram::control_buffer(),
        };
        sockets.open_receivers()?;
        Ok(sockets)
    }

    /// Our own address: what others see our packets come from, and where we get unicast.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The interface in use.
    pub fn interface(&self) -> &Interface {
        &self.config.interface
    }

    /// Receive buffer in bytes that was got, of the socket that got least; 4 MiB were asked for.
    pub fn receive_buffer_bytes(&self) -> usize {
        let ports = self.ports.iter().flatten();
        ports
            .map(|port| setup::receive_buffer_bytes(&port.socket))
            .min()
            .unwrap_or(0)
    }

    /// True if it is time for [`StationSockets::rejoin`]: a socket failed for good, or the last `rejoin` did not succeed. (That the
    /// interface is another one the kernel tells no socket: see `InterfaceWatch`.)
    pub fn needs_rejoin(&self) -> bool {
        let ports_failed = self.ports.iter().flatten().any(Port::has_failed);
        ports_failed || self.half_joined
    }

    /// Sends to group:port.
    pub fn send_media(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(&self.targets[0], bytes)
    }

    /// Sends to group:port+1.
    pub fn send_rtcp(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(&self.targets[1], bytes)
    }

    /// Sends to group:port+2.
    pub fn send_control(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(&self.targets[2], bytes)
    }

    /// Sends to one node.
    pub fn send_to(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.send(&SockAddr::from(scoped(to, &self.config.interface)), bytes)
    }

    /// The descriptors to wait for, for [`StationSockets::mark_ready`]. Sockets that failed are not among them: they
    /// would end every wait at once.
    pub fn poll_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.live_ports().map(|port| port.socket.as_fd())
    }

    /// Tells what a wait over exactly [`StationSockets::poll_fds`] found; [`StationSockets::receive`] reads only those.
    pub fn mark_ready(&mut self, ready: Ready) {
        let live = self
            .ports
            .iter_mut()
            .flatten()
            .filter(|port| !port.has_failed());
        for (index, port) in live.enumerate() {
            port.ready = ready.is_readable(index);
        }
        self.woke_at = self.clock.now();
        self.unstamped = 0;
    }

    /// Waits for a datagram, a waker or `until`, and marks what is ready. Returns true if a waker called.
    pub fn wait(&mut self, waiter: &Waiter, until: Option<Instant>) -> bool {
        let ready = waiter.wait(self.poll_fds(), until, &self.clock);
        self.mark_ready(ready);
        ready.woken
    }

    /// The next datagram of those that were waiting, taken from the sockets in turn; `None` when all are drained. Give it
    /// [`MAX_DATAGRAM`] bytes.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        let limit = buffer.len().min(MAX_DATAGRAM);
        let buffer = &mut buffer[..limit];
        loop {
            let index = (0..PORTS)
                .map(|step| (self.turn + step) % PORTS)
                .find(|&index| self.is_ready(index))?;
            let port = self.ports[index].as_mut()?;
            match datagram::read(&port.socket, buffer, &mut self.control_buffer) {
                Read::Datagram {
                    from,
                    len,
                    truncated,
                    stamp,
                } => {
                    port.failures = 0;
                    let arrival = self.clock.arrival(stamp);
                    self.unstamped += u32::from(!arrival.stamped);
                    // All that was waiting has been read; the rest is for the next wait, which will not wait.
                    let drained = arrival.stamped && arrival.at > self.woke_at
                        || self.unstamped >= MAX_UNSTAMPED;
                    port.ready = !drained;
                    self.turn = (index + 1) % PORTS;
                    let channel = CHANNELS[index];
                    return Some(Received {
                        channel,
                        from,
                        len,
                        truncated,
                        arrived: arrival.at,
                    });
                }
                Read::Empty => {
                    port.failures = 0;
                    port.ready = false;
                }
                // Reading has consumed the error (an ICMP of an earlier send, an interface that went down), or not.
                Read::Failed => {
                    port.failures += 1;
                    port.ready = !port.has_failed();
                }
            }
        }
    }

    /// Opens the receivers that are wanted and not there, and joins those that are. One that cannot is closed and does not
    /// keep the other from working; the first error is returned.
    fn open_receivers(&mut self) -> Result<(), SocketError> {
        let SocketConfig {
            group,
            interface,
            join,
            ..
        } = &self.config;
        let beside = |offset| SocketAddr::new(group.ip(), group.port() + offset);
        let mut result = Ok(());
        for (index, wanted, address) in [
            (MEDIA, join.media, *group),
            (RTCP, join.rtcp, beside(1)),
            (CONTROL, join.control, beside(2)),
        ] {
            let usable = self.ports[index].take().filter(|port| !port.has_failed());
            if !wanted {
                continue;
            }
            let opened = match usable {
                Some(port) => setup::join(&port.socket, address.ip(), interface).map(|()| port),
                None => setup::receiver(address, interface).map(Port::new),
            };
            match opened {
                Ok(port) => self.ports[index] = Some(port),
                Err(_) if index == RTCP => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn is_ready(&self, index: usize) -> bool {
        self.ports[index].as_ref().is_some_and(|port| port.ready)
    }

    fn live_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports
            .iter()
            .flatten()
            .filter(|port| !port.has_failed())
    }

    fn send(&self, to: &SockAddr, bytes: &[u8]) -> io::Result<()> {
        let Some(port) = &self.ports[UNICAST] else {
            return Err(ErrorKind::NotConnected.into());
        };
        // The first error may be that of an earlier datagram (an ICMP), reported late: it does not concern this one.
        let mut tries = 3;
        loop {
            tries -= 1;
            match port.socket.send_to(bytes, to) {
                Ok(_) => return Ok(()),
                Err(error) if tries > 0 && is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Port {
    fn new(socket: Socket) -> Port {
        Port {
            socket,
            ready: false,
            failures: 0,
        }
    }

    fn has_failed(&self) -> bool {
        self.failures >= MAX_FAILURES
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionRefused
    )
}

fn targets(config: &SocketConfig) -> [SockAddr; 3] {
    let group = config.group;
    let target = |offset| SocketAddr::new(group.ip(), group.port() + offset);
    [0, 1, 2].map(|offset| SockAddr::from(scoped(target(offset), &config.interface)))
}

fn local_of(socket: &Socket) -> SocketAddr {
    let local = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket());
    local.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
