//! How is each UDP socket made? The order of the options is the contract with the kernel: share the port before bind,
//! bind before join, and every option of both IP versions in one place.
//!
//! Receivers are bound to the *group* address, and have `IP_MULTICAST_ALL` off: otherwise Linux hands a socket what other
//! sockets of the machine have joined on other interfaces.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use super::interface::{Interface, is_link_local_v6};
use super::sockets::SocketError;

/// Receive buffer to ask for: 20 s of a station, or a long stall under a flood.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Send buffer to ask for: two listeners that tune in at once with the longest buffer get 516 repairs, one after the other, and
/// the next frame of the stream must not find it full. (A packet counts for 1.3 kB and more; the system may give less.)
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// A socket that receives `group` (with its port) on `interface`.
pub(super) fn receiver(group: SocketAddr, interface: &Interface) -> Result<Socket, SocketError> {
    let open = |source| SocketError::Open {
        address: group,
        source,
    };
    let socket = udp(group).map_err(open)?;
    socket.set_reuse_address(true).map_err(open)?;
    // On the BSDs, SO_REUSEADDR alone does not share a port. On Linux SO_REUSEPORT would *split* the packets.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    socket.set_reuse_port(true).map_err(open)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    only_own_groups(&socket, group).map_err(open)?;
    set_receive_buffer(&socket);
    let bound = socket.bind(&SockAddr::from(scoped(group, interface)));
    bound.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => SocketError::InUse { address: group },
        _ => SocketError::Bind {
            address: group,
            source,
        },
    })?;
    join(&socket, group.ip(), interface)?;
    Ok(socket)
}

/// The socket that names the node: sends everything, receives what is for us alone.
pub(super) fn unicast(
    source: IpAddr,
    interface: &Interface,
    ttl: u32,
) -> Result<Socket, SocketError> {
    let address = SocketAddr::new(source, 0);
    let open = |source| SocketError::Open { address, source };
    let socket = udp(address).map_err(open)?;
    set_receive_buffer(&socket);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let bound = socket.bind(&SockAddr::from(scoped(address, interface)));
    bound.map_err(|source| SocketError::Bind { address, source })?;
    send_on(&socket, source, interface, ttl).map_err(open)?;
    Ok(socket)
}

/// Directs multicast of `socket` to `interface`, with a copy for this machine's other nodes.
pub(super) fn send_on(
    socket: &Socket,
    source: IpAddr,
    interface: &Interface,
    ttl: u32,
) -> io::Result<()> {
    match source {
        IpAddr::V4(source) => {
            socket.set_multicast_if_v4(&source)?;
            socket.set_multicast_ttl_v4(ttl)?;
            socket.set_multicast_loop_v4(true)
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(interface.index)?;
            socket.set_multicast_hops_v6(ttl)?;
            socket.set_multicast_loop_v6(true)
        }
    }
}

/// Joins `group` on `interface` by its index.
pub(super) fn join(
    socket: &Socket,
    group: IpAddr,
    interface: &Interface,
) -> Result<(), SocketError> {
    let joined = match group {
        IpAddr::V4(v4) => {
            socket.join_multicast_v4_n(&v4, &InterfaceIndexOrAddress::Index(interface.index))
        }
        IpAddr::V6(v6) => socket.join_multicast_v6(&v6, interface.index),
    };
    let interface = &interface.name;
    joined.map_err(|source| SocketError::Join {
        group,
        interface: interface.clone(),
        source,
    })
}

/// Leaves `group`; that it was not joined, or that the interface is gone, is no error.
pub(super) fn leave(socket: &Socket, group: IpAddr, interface: &Interface) {
    let _ = match group {
        IpAddr::V4(v4) => {
            socket.leave_multicast_v4_n(&v4, &InterfaceIndexOrAddress::Index(interface.index))
        }
        IpAddr::V6(v6) => socket.leave_multicast_v6(&v6, interface.index),
    };
}

/// Bytes of receive buffer that `socket` got. Linux says double, for its own book-keeping: this is what can be asked for.
pub(super) fn receive_buffer_bytes(socket: &Socket) -> usize {
    let said = socket.recv_buffer_size().unwrap_or(0);
    if cfg!(any(target_os = "linux", target_os = "android")) {
        said / 2
    } else {
        said
    }
}

/// `address` with the interface in it where an IPv6 address has a meaning only there: link-local ones and groups.
pub(super) fn scoped(address: SocketAddr, interface: &Interface) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_multicast() || is_link_local_v6(v6.ip()) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, interface.index).into()
        }
        _ => address,
    }
}

fn udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    stamp_arrivals(&socket);
    Ok(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn only_own_groups(socket: &Socket, group: SocketAddr) -> io::Result<()> {
    match group {
        SocketAddr::V4(_) => socket.set_multicast_all_v4(false),
        // Since Linux 4.20; before, the address that we are bound to has to do.
        SocketAddr::V6(_) => socket.set_multicast_all_v6(false).or(Ok(())),
    }
}

/// Without stamps the time of reading is taken, hence no error. (Linux does so too for what arrives in the first moments
/// after the machine's first socket asked for stamps.)
fn stamp_arrivals(socket: &Socket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = setsockopt(socket, sockopt::ReceiveTimestamp, &true);
}

/// Asks for [`RECEIVE_BUFFER_BYTES`], past the system's limit where we may; what was got is told by the getter.
fn set_receive_buffer(socket: &Socket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_ok() {
        return;
    }
    let mut bytes = RECEIVE_BUFFER_BYTES;
    // The BSDs refuse what is too much instead of giving what they can.
    while setsockopt(socket, sockopt::RcvBuf, &bytes).is_err() && bytes > 64 << 10 {
        bytes /= 2;
    }
}
