//! Can the ledger of the traffic be trusted? It must find known datagrams, once each, wherever they went.

use std::net::Ipv4Addr;

use lanradio::wire::FrameIndex;
use lanradio::wire::control::Message;
use lanradio::wire::ids::{NodeId, StationId};
use lanradio::wire::repair::{Nack, Repair};

use crate::holes::await_links;
use crate::net::Lan;
use crate::process::wait_until;
use crate::traffic::{Share, Taps};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 77);

/// A media packet with so many bytes of sound.
pub(crate) fn media(seq: u16, sound: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x90, 96];
    bytes.extend(seq.to_be_bytes());
    bytes.extend((960 * u32::from(seq)).to_be_bytes());
    bytes.extend([0, 0, 0, 7, 0xbe, 0xde, 0, 4, 0x1e]);
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 0, 0, 0, 0]);
    bytes.extend(sound);
    bytes
}

#[test]
fn ledger_has_each_datagram_once_by_kind_and_by_sender() {
    let Some(lan) = Lan::new(3) else { return };
    await_links(&lan);
    let taps = Taps::at(&lan.hosts[..2]);
    let sockets = [0, 1, 2].map(|host| lan.hosts[host].socket());
    let other = (lan.hosts[1].ip, 40_000);
    let frames: Vec<_> = [3, 4, 9].map(FrameIndex).into();
    let nack = Message::Nack(Nack::of(StationId(7), NodeId(9), &frames)[0]).to_bytes();
    let repair = |seq| {
        let packet = media(seq, &[5; 60]);
        Message::Repair(Repair { packet }).to_bytes()
    };
    // To the group and to one host, from two hosts that are tapped and one that is not.
    for socket in &sockets {
        socket.send_to(&media(3, &[5; 60]), (GROUP, 5004)).unwrap();
        socket.send_to(&repair(3), (GROUP, 5006)).unwrap();
    }
    sockets[0].send_to(&repair(4), other).unwrap();
    sockets[0].send_to(&repair(4), other).unwrap();
    sockets[0].send_to(&[0x80; 28], (GROUP, 5005)).unwrap();
    sockets[0].send_to(&[1, 99, 3], (GROUP, 5006)).unwrap();
    sockets[1]
        .send_to(&nack, (lan.hosts[0].ip, 40_000))
        .unwrap();
    wait_until(5, "the last datagrams", || {
        let sent = [0, 1].map(|host| taps.sent_by(host));
        sent[0].unknown.packets == 1 && sent[1].nacks.packets == 1
    });

    let share = |packets: usize, bytes: usize| Share {
        packets,
        bytes: packets * bytes,
    };
    let (by_first, all) = (taps.sent_by(0), taps.sent());
    let sound = 32 + 60;
    assert_eq!(
        (by_first.media, all.media),
        (share(1, sound), share(2, sound))
    );
    let as_repair = repair(3).len();
    assert!((sound + 3..sound + 6).contains(&as_repair), "{as_repair}");
    assert_eq!(by_first.multicast, share(1, as_repair));
    assert_eq!(all.multicast, share(2, as_repair));
    assert_eq!(
        (by_first.unicast, all.unicast),
        (share(2, as_repair), share(2, as_repair))
    );
    assert_eq!(all.repairs(), share(4, as_repair));
    assert_eq!(
        (by_first.nacks, all.nacks),
        (share(0, 0), share(1, nack.len()))
    );
    assert_eq!(all.nacked, 3);
    assert_eq!((all.rest, all.unknown), (share(1, 28), share(1, 3)));
    let mut seqs: Vec<_> = all.frames.iter().map(|frame| frame.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [3, 3, 4, 4]);
    // What went to the second host was on its cable, whoever sent it.
    let from_third = taps.at_host(1).into_iter();
    let from_third = from_third.filter(|packet| packet.from.ip() == lan.hosts[2].ip);
    assert_eq!(from_third.count(), 2);
}
