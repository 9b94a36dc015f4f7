//! What was really on the wire? Every UDP packet that crossed the switch, with the kernel's time stamp.
//!
//! The reader of RTP below is a second opinion, written from PROTOCOL.md and RFC 3550 and sharing no line with the
//! library: it accepts the one shape that the protocol names and panics at anything else.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{self, ControlMessageOwned, LinkAddr, MsgFlags, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{Host, Lan};

/// The media port of the default group.
pub(crate) const MEDIA_PORT: u16 = 5004;

/// One UDP datagram as it crossed the switch.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// The kernel's stamp at reception, in nanoseconds of its real-time clock.
    pub(crate) at_ns: i64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Time to live, or IPv6's hop limit.
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

/// A running capture.
pub(crate) struct Capture {
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Listens on the bridge itself, which sees each flooded frame exactly once.
    pub(crate) fn start(lan: &Lan) -> Capture {
        Capture::tap(&lan.switch, "sw")
    }

    /// Listens where the cable of `host` ends: what any machine at that place could hear, whatever its firewall says.
    pub(crate) fn at(host: &Host) -> Capture {
        Capture::tap(&host.namespace, "lan0")
    }

    fn tap(space: &str, interface: &'static str) -> Capture {
        let socket = crate::net::enter(space, move || open_tap(interface));
        let packets = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, stopped) = (Arc::clone(&packets), Arc::clone(&stop));
        let thread = std::thread::spawn(move || read(&socket, &sink, &stopped));
        Capture {
            packets,
            stop,
            thread: Some(thread),
        }
    }

    /// What was captured up to now.
    pub(crate) fn so_far(&self) -> Vec<Packet> {
        self.packets.lock().unwrap().clone()
    }

    /// How many media packets were captured up to now.
    pub(crate) fn media_count(&self) -> usize {
        let packets = self.packets.lock().unwrap();
        packets
            .iter()
            .filter(|packet| packet.to.port() == MEDIA_PORT)
            .count()
    }

    /// Ends the capture and hands over all packets in order of arrival.
    pub(crate) fn stop(mut self) -> Vec<Packet> {
        self.end();
        std::mem::take(&mut *self.packets.lock().unwrap())
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// A socket that gets every frame on an interface of this thread's network, whatever is in it.
pub(crate) fn open_tap(interface: &str) -> Socket {
    const ETH_P_ALL: u16 = 3;
    let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_millis(50)))
        .unwrap();
    socket::setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    socket::setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
    socket::bind(socket.as_raw_fd(), &link_address(interface)).unwrap();
    socket
}

/// The link address of an interface. It names no protocol, which leaves the socket the one that it was made with.
fn link_address(name: &str) -> LinkAddr {
    let interfaces = nix::ifaddrs::getifaddrs().unwrap();
    let mut named = interfaces.filter(|interface| interface.interface_name == name);
    let address = named.find_map(|interface| interface.address?.as_link_addr().copied());
    address.unwrap_or_else(|| panic!("{name} has no link address"))
}

fn read(socket: &Socket, packets: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    loop {
        // Asked to stop, it takes what is waiting and does not wait for more.
        let stopping = stop.load(Ordering::Relaxed);
        let flags = if stopping {
            MsgFlags::MSG_DONTWAIT
        } else {
            MsgFlags::empty()
        };
        let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
        let message =
            socket::recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags);
        let (length, at_ns) = match message {
            Ok(message) => (
                message.bytes,
                message.cmsgs().unwrap().find_map(stamp).unwrap_or(0),
            ),
            Err(nix::errno::Errno::EAGAIN) if stopping => return,
            Err(_) => continue,
        };
        if let Some(packet) = read_ethernet(at_ns, &buffer[..length]) {
            packets.lock().unwrap().push(packet);
        }
    }
}

fn stamp(message: ControlMessageOwned) -> Option<i64> {
    match message {
        ControlMessageOwned::ScmTimestampns(at) => Some(at.tv_sec() * 1_000_000_000 + at.tv_nsec()),
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Ethernet → IPv4 or IPv6 → UDP; everything else on the bridge is none of our business.
fn read_ethernet(at_ns: i64, frame: &[u8]) -> Option<Packet> {
    let ip = frame.get(14..)?;
    let (from, to, ttl, udp): (IpAddr, IpAddr, u8, _) = match be16(frame, 12)? {
        0x0800 => {
            let is_fragment = be16(ip, 6)? & 0x3fff != 0;
            if ip[9] != 17 || is_fragment {
                return None;
            }
            let header = usize::from(ip[0] & 15) * 4;
            let total = usize::from(be16(ip, 2)?);
            let address = |at| Some(IpAddr::from(be32(ip, at)?.to_be_bytes()));
            (address(12)?, address(16)?, ip[8], ip.get(header..total)?)
        }
        0x86dd if *ip.get(6)? == 17 => {
            let address = |at: usize| {
                Some(IpAddr::from(Ipv6Addr::from(
                    <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?,
                )))
            };
            (
                address(8)?,
                address(24)?,
                ip[7],
                ip.get(40..40 + usize::from(be16(ip, 4)?))?,
            )
        }
        _ => return None,
    };
    Some(Packet {
        at_ns,
        from: SocketAddr::new(from, be16(udp, 0)?),
        to: SocketAddr::new(to, be16(udp, 2)?),
        ttl,
        payload: udp.get(8..)?.to_vec(),
    })
}

/// One media packet, read by the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) at_ns: i64,
    pub(crate) from: SocketAddr,
    pub(crate) marker: bool,
    pub(crate) seq: u16,
    pub(crate) ts: u32,
    pub(crate) ssrc: u32,
    pub(crate) term_counter: u32,
    pub(crate) leader: u32,
    pub(crate) plan_digest: [u8; 3],
    pub(crate) flags: u8,
    /// Bits 16 to 39 of the frame index.
    pub(crate) n_high: u32,
    pub(crate) opus: Vec<u8>,
}

impl Frame {
    /// The last frame of its track: the decoder starts afresh after it.
    pub(crate) fn is_last_of_track(&self) -> bool {
        self.flags & 8 != 0
    }

    /// Reads one packet; panics with what is wrong with it.
    pub(crate) fn read(packet: &Packet) -> Frame {
        let bytes = &packet.payload;
        assert!(bytes.len() > 32, "a media packet of {} bytes", bytes.len());
        // Version 2, no padding, an extension, no contributing sources.
        assert_eq!(bytes[0], 0b1001_0000, "first byte");
        assert_eq!(bytes[1] & 0x7f, 96, "payload type");
        assert_eq!(be16(bytes, 12), Some(0xbede), "profile of the extension");
        assert_eq!(be16(bytes, 14), Some(4), "words of the extension");
        assert_eq!(bytes[16], 0x1e, "element 1 with 15 bytes");
        Frame {
            at_ns: packet.at_ns,
            from: packet.from,
            marker: bytes[1] & 0x80 != 0,
            seq: be16(bytes, 2).unwrap(),
            ts: be32(bytes, 4).unwrap(),
            ssrc: be32(bytes, 8).unwrap(),
            term_counter: be32(bytes, 17).unwrap(),
            leader: be32(bytes, 21).unwrap(),
            plan_digest: bytes[25..28].try_into().unwrap(),
            flags: bytes[28],
            n_high: u32::from_be_bytes([0, bytes[29], bytes[30], bytes[31]]),
            opus: bytes[32..].to_vec(),
        }
    }
}

/// The frames of the media port, in order of arrival.
pub(crate) fn media(packets: &[Packet]) -> Vec<Frame> {
    let media = packets
        .iter()
        .filter(|packet| packet.to.port() == MEDIA_PORT);
    media.map(Frame::read).collect()
}

/// Each frame once, in order, as its first copy was: when the machine stalls, a standby covers for the leader.
pub(crate) fn first_copies(mut frames: Vec<Frame>) -> Vec<Frame> {
    let first = frames[0].seq;
    frames.sort_by_key(|frame| frame.seq.wrapping_sub(first));
    frames.dedup_by_key(|frame| frame.seq);
    frames
}

/// The frames of the media port that came from `from`.
pub(crate) fn media_from(packets: &[Packet], from: impl Into<IpAddr>) -> Vec<Frame> {
    let from = from.into();
    let ours = packets.iter().filter(|packet| packet.from.ip() == from);
    media(&ours.cloned().collect::<Vec<_>>())
}
