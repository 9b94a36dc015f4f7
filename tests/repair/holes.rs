//! Which frames did the kernel drop at a host? And a rule that drops all, for 100 ms, again and again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};

use crate::capture::MEDIA_PORT;
use crate::net::{Host, Lan};
use crate::process::wait_until;
use crate::wire::Wire;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 77);

/// A second member of the group on a listener's host: the frames that it does not get did not pass the host's firewall.
pub(crate) struct Ear(UdpSocket);

impl Ear {
    pub(crate) fn at(host: &Host) -> Ear {
        Ear(host.ear(GROUP, MEDIA_PORT))
    }

    /// The frames that were dropped since the ear listened, by index.
    pub(crate) fn dropped(&self, wire: &Wire) -> BTreeSet<usize> {
        let mut passed = BTreeSet::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = self.0.recv(&mut buffer) {
            assert!(length > 32, "{length} bytes on the media port");
            passed.insert(u16::from_be_bytes([buffer[2], buffer[3]]));
        }
        let once = wire.indexes.iter().zip(&wire.frames);
        let all: BTreeSet<_> = once
            .map(|(index, frame)| (*index as usize, frame.seq))
            .collect();
        // Before the first one it did not listen yet.
        let since = all.iter().position(|(_, seq)| passed.contains(seq));
        let since = since.expect("the ear heard something");
        let listened = all.iter().skip(since);
        listened
            .filter(|(_, seq)| !passed.contains(seq))
            .map(|(index, _)| *index)
            .collect()
    }
}

/// Waits until the first host and the others hear each other: a link that was just made drops the first packets.
pub(crate) fn await_links(lan: &Lan) {
    const OTHER_PORT: u16 = 5_100;
    let hear = |from: &Host, to: &Host| {
        let (socket, ear) = (from.socket(), to.ear(GROUP, OTHER_PORT));
        let mut buffer = [0; 4];
        wait_until(10, "a link", || {
            socket.send_to(b"ping", (GROUP, OTHER_PORT)).unwrap();
            ear.recv(&mut buffer).is_ok()
        });
    };
    let first = &lan.hosts[0];
    for other in &lan.hosts[1..] {
        hear(first, other);
        hear(other, first);
    }
}

/// From now on nothing comes through by UDP for 100 ms, every 100 media packets (2 s), the first time after `phase` of them. It
/// is all in the kernel: a media packet puts an element into a set where it stays for a while, and as long as it is there,
/// everything is dropped.
pub(crate) fn start_holes(host: &Host, phase: usize) {
    // The fifth packet comes after 80 ms, the sixth after 100; the kernel's clock for such sets ticks every 4 or 10 ms.
    host.nft(&format!(
        "table inet holes {{
            set hole {{
                type inet_proto; size 1; flags dynamic,timeout; timeout 90ms;
            }}
            chain input {{
                type filter hook input priority 0
                iifname \"lan0\" udp dport {MEDIA_PORT} numgen inc mod 100 == {phase} add @hole {{ meta l4proto }}
                iifname \"lan0\" meta l4proto udp meta l4proto @hole counter drop
            }}
        }}"
    ));
}

#[test]
fn holes_take_five_media_packets_in_a_row_out_of_a_hundred_and_all_else_meanwhile() {
    use std::time::{Duration, Instant};
    let Some(lan) = Lan::new(2) else { return };
    await_links(&lan);
    let ears = [MEDIA_PORT, MEDIA_PORT + 2].map(|port| lan.hosts[1].ear(GROUP, port));
    let socket = lan.hosts[0].socket();
    start_holes(&lan.hosts[1], 10);
    let began = Instant::now();
    for number in 0..250_u32 {
        for port in [MEDIA_PORT, MEDIA_PORT + 2] {
            socket
                .send_to(&number.to_be_bytes(), (GROUP, port))
                .unwrap();
        }
        let next = began + Duration::from_millis(20) * (number + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    std::thread::sleep(Duration::from_millis(100));
    for ear in ears {
        let mut buffer = [0; 4];
        let heard = std::iter::from_fn(|| {
            ear.recv(&mut buffer)
                .ok()
                .map(|_| u32::from_be_bytes(buffer))
        });
        let heard: BTreeSet<_> = heard.collect();
        let dropped: Vec<_> = (0..250).filter(|number| !heard.contains(number)).collect();
        // Where the machine stalls, what it sends late comes in another hole, or in none.
        let one_hole = |from: u32| {
            dropped
                .iter()
                .filter(|n| (from..from + 5).contains(*n))
                .count()
        };
        assert!(dropped.len() <= 15, "{dropped:?}");
        let whole = [10, 110, 210].map(one_hole);
        assert!(
            whole.iter().filter(|count| **count == 5).count() >= 2,
            "{dropped:?}"
        );
    }
}
