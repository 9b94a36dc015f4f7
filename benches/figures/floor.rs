//! What is the least that a listener can cost here? A loop that receives, decodes and discards, with no protocol at all:
//! what no program of ours can beat on this machine. Runs as a process of its own, so that it is measured as they are.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::ExitCode;

use opus::{Channels, Decoder};
use socket2::{Domain, Protocol, Socket, Type};

/// The first argument of the child process; group and port follow.
pub(crate) const CHILD: &str = "floor-child";

/// Receives and decodes until it is killed.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match receive(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A socket that hears `group` on the loopback interface.
pub(crate) fn join(group: SocketAddrV4) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&group.into())?;
    socket.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST)?;
    Ok(socket.into())
}

fn receive(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let group = args.first().ok_or("no group given")?.parse()?;
    let socket = join(group)?;
    let mut decoder = Decoder::new(48_000, Channels::Stereo)?;
    let mut datagram = [0u8; 2048];
    let mut samples = [0f32; 5760 * 2];
    loop {
        let length = socket.recv(&mut datagram)?;
        let packet = &datagram[..length];
        // 12 bytes of RTP, then the header extension: 4 bytes, of which the last two say how many words follow.
        let header = match packet.get(12..16) {
            Some(extension) if packet[0] & 0x10 != 0 => {
                16 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]))
            }
            _ => 12,
        };
        if let Some(payload) = packet.get(header..) {
            decoder.decode_float(payload, &mut samples, false)?;
        }
    }
}
