//! Who else is on the network? A witness who writes down what is on air, and somebody who heckles.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Studio;

/// A datagram and when it came.
type Arrival = (Instant, Vec<u8>);

/// Somebody in the audience with a notebook: every datagram of the media port, and when it came.
pub(crate) struct Witness {
    heard: Arc<Mutex<Vec<Arrival>>>,
}

impl Witness {
    pub(crate) fn of(studio: &Studio) -> Witness {
        let socket = group_socket(studio.ip, studio.port);
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notebook = Arc::clone(&heard);
        thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok(len) = socket.recv(&mut datagram) {
                let entry = (Instant::now(), datagram[..len].to_vec());
                notebook.lock().unwrap().push(entry);
            }
        });
        Witness { heard }
    }

    pub(crate) fn heard(&self) -> Vec<Arrival> {
        self.heard.lock().unwrap().clone()
    }
}

/// A socket that hears `ip:port` on loopback beside the others that do.
fn group_socket(ip: Ipv4Addr, port: u16) -> UdpSocket {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddrV4::new(ip, port).into()).unwrap();
    socket.join_multicast_v4(&ip, &Ipv4Addr::LOCALHOST).unwrap();
    socket.into()
}

/// Sends one datagram to a port of the studio's group, on loopback only.
pub(crate) fn heckle(studio: &Studio, port: u16, datagram: &[u8]) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_loop_v4(true).unwrap();
    socket
        .send_to(datagram, &SocketAddrV4::new(studio.ip, port).into())
        .unwrap();
}
