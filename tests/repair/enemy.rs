//! An enemy floods the media and the control port, with garbage and with requests and repairs as ours look. Who notices?

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lanradio::wire::FrameIndex;
use lanradio::wire::control::Message;
use lanradio::wire::ids::{NodeId, StationId};
use lanradio::wire::repair::{Nack, Repair};

use crate::garbage::{flood, garbage};
use crate::heard::{assert_heard, count, rejected_by};
use crate::losses::{Lossy, assert_counted};
use crate::report::Goal;
use crate::song::Song;
use crate::station::{Roster, SENDER, Station};
use crate::{figure, times};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 77);
const ROSTER: Roster = Roster {
    heirs: 1,
    plain: 2,
    spare: 1,
    silent: false,
};
/// What a process may have more of after the flood.
const GROWN_MIB: f64 = 2.0;
/// Repairs that a holder may send before the stream has earned any.
pub(crate) const AT_FIRST: usize = 100;

/// What the enemy knows: everything that was ever on the cable.
struct Enemy {
    station: StationId,
    /// A media packet of the station.
    genuine: Vec<u8>,
    /// How old the programme was when the flood began, in frames.
    now: u64,
}

impl Enemy {
    fn datagram(&self, number: u32) -> Vec<u8> {
        match number % 4 {
            0 => self.request(number / 4),
            1 => self.repair(number / 4),
            _ => garbage(&self.genuine, number),
        }
    }

    /// A request of somebody who is no member, for frames on air, long gone, far away, or of another station.
    fn request(&self, number: u32) -> Vec<u8> {
        let first = match number % 8 {
            0 => 0,
            1 => self.now + 1_000_000,
            // The largest index that a request can name.
            2 => FrameIndex::LIMIT / 2 - 1,
            _ => self.now + u64::from(number / 20_000 * 50),
        };
        let station = match number % 16 {
            9 => StationId(number),
            _ => self.station,
        };
        Message::Nack(Nack {
            station,
            // A new one each time, or the same again.
            node: NodeId(u64::from(if number.is_multiple_of(3) { 7 } else { number }) << 32 | 1),
            first: FrameIndex(first),
            bitmap: u64::MAX,
        })
        .to_bytes()
    }

    /// A repair that nobody asked for: old frames, those of another station, frames to come with another sound, no packet at all.
    fn repair(&self, number: u32) -> Vec<u8> {
        let mut packet = self.genuine.clone();
        match number % 4 {
            0 => {}
            1 => packet[8..12].copy_from_slice(&number.to_be_bytes()),
            2 => {
                let ahead = (number % 500) as u16;
                let add =
                    |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]).wrapping_add(ahead);
                let seq = add(&packet[2..4]);
                packet[2..4].copy_from_slice(&seq.to_be_bytes());
                let ts = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
                let ts = ts.wrapping_add(960 * u32::from(ahead));
                packet[4..8].copy_from_slice(&ts.to_be_bytes());
                packet[1] &= 0x7f;
                packet[40..].fill(number as u8);
            }
            _ => packet = garbage(&self.genuine, number),
        }
        Message::Repair(Repair { packet }).to_bytes()
    }
}

/// Resident memory of a node, in MiB.
fn memory_mib(station: &Station, host: usize) -> f64 {
    let path = format!("/proc/{}/status", station.nodes[host].pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib: f64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib / 1024.0
}

#[test]
fn flood_of_20000_packets_a_second_is_not_heard_and_takes_no_memory() {
    const TEST: &str = "flood_of_20000";
    let seconds = times(3, 10);
    let Some(mut station) = Station::alone(&Song::of(seconds + 6), ROSTER) else {
        return;
    };
    station.sleep_until_s(2.5);
    let frames = station.frames();
    let newest = frames.last().unwrap();
    let mut media = station.observer.so_far();
    media.retain(|packet| packet.to.port() == 5004);
    let enemy = Enemy {
        station: StationId(newest.ssrc),
        genuine: media.pop().unwrap().payload,
        now: frames.len() as u64,
    };
    let targets = targets(&station, newest.from);
    let hosts: Vec<_> = (0..station.nodes.len()).collect();
    let memory = || {
        hosts
            .iter()
            .map(|host| memory_mib(&station, *host))
            .collect::<Vec<_>>()
    };
    let before = memory();
    let socket = station.host(station.spare(0)).socket();
    let sent = flood(&socket, &targets, seconds as f64, |number| {
        enemy.datagram(number)
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let after = memory();
    let stolen = station.taps.sent_by(SENDER).repairs();
    let on_air = station.frames().len();
    station.end(&[]);
    println!("{sent} packets; memory {before:.1?} MiB, then {after:.1?}; {stolen:?} to the enemy");
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    let mut concealed = 0;
    for host in station.listeners() {
        let [repaired, rejected] =
            ["repaired", "rejected"].map(|field| count(&station.nodes[host], field));
        println!("host {host}: {repaired} repaired, {rejected} rejected");
        concealed += assert_heard(&station, host, &wire);
    }
    let grown = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after - before);
    let grown: Vec<_> = grown.collect();
    let most = grown.iter().copied().fold(0.0, f64::max);
    for (what, unit, value, goal) in [
        (
            "frames concealed in a flood of 20,000 packets a second for 10 s, at three listeners",
            "",
            concealed as f64,
            0.0,
        ),
        (
            "memory that the flood cost, most of four nodes",
            "MiB",
            most,
            GROWN_MIB,
        ),
    ] {
        figure(
            what,
            (unit, vec![value]),
            Some(Goal::AtMost(goal)),
            "garbage, and requests and repairs of strangers",
            TEST,
        );
    }
    assert_eq!(concealed, 0);
    assert!(most <= GROWN_MIB, "memory grew by {grown:?} MiB");
    // Strangers get at most what everybody together may have: half of the stream, and what is there at first.
    let most = on_air / 2 + AT_FIRST;
    assert!(stolen.packets <= most, "{stolen:?} of {on_air} frames");
}

/// The media and the control port of the group, to which most of it goes, and where nodes send from.
fn targets(station: &Station, leader: SocketAddr) -> Vec<SocketAddr> {
    let own = own_sockets(station, leader);
    let group = [5004, 5006].map(|port| SocketAddr::from((GROUP, port)));
    let times = 4 * own.len() / group.len();
    group.repeat(times).into_iter().chain(own).collect()
}

/// Where nodes send from, the leader first.
fn own_sockets(station: &Station, leader: SocketAddr) -> Vec<SocketAddr> {
    let mut own_sockets = vec![leader];
    for host in station.listeners() {
        let own = station.host(host).ip;
        let mut sent = station.taps.at_host(host);
        sent.retain(|packet| packet.from.ip() == own);
        own_sockets.extend(sent.last().map(|packet| packet.from));
    }
    own_sockets
}

/// Ports that a stranger asks from, and questions per second from each of them to each node, and to the group.
const PORTS: usize = 24;
const QUESTIONS: u64 = 20;

#[test]
fn strangers_that_ask_for_everything_keep_no_repair_from_the_listeners() {
    let seconds = times(6, 20);
    let Some(mut station) = Station::alone(&Song::of(seconds + 4), ROSTER) else {
        return;
    };
    station.sleep_until_s(1.5);
    let lossy = Lossy::start(&station, station.plain(), 50);
    let newest = station.frames().pop().unwrap();
    let group = SocketAddr::from((GROUP, 5006));
    let targets: Vec<_> = (own_sockets(&station, newest.from).into_iter())
        .chain([group])
        .collect();
    let sockets: Vec<_> = (0..PORTS)
        .map(|_| station.host(station.spare(0)).socket())
        .collect();
    let began = Instant::now();
    for tick in 0..seconds as u64 * QUESTIONS {
        // What was on air lately, the same from all ports.
        let first = station.frames().len() as u64 - 66;
        let nack = Message::Nack(Nack {
            station: StationId(newest.ssrc),
            node: NodeId(tick << 32 | 1),
            first: FrameIndex(first),
            bitmap: u64::MAX,
        });
        for (socket, target) in sockets
            .iter()
            .flat_map(|socket| targets.iter().map(move |target| (socket, target)))
        {
            let _ = socket.send_to(&nack.to_bytes(), target);
        }
        let next = began + Duration::from_secs(1) * (tick as u32 + 1) / QUESTIONS as u32;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    station.end(&[]);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    let traffic = station.taps.sent();
    println!(
        "{} repairs to one, {} to the group, {} frames",
        traffic.unicast.packets,
        traffic.multicast.packets,
        wire.len()
    );
    for (host, dropped) in &lossy.dropped(&wire) {
        assert_eq!(assert_heard(&station, *host, &wire), 0, "host {host}");
        assert_counted(&station, *host, dropped);
    }
    // Each holder has what it may send at first, and all that comes is within half of the stream and the heir's sixteenth of it.
    let holders = 1 + ROSTER.heirs;
    let most = wire.len() * 9 / 10 + holders * AT_FIRST;
    let sent = traffic.repairs().packets;
    assert!(sent <= most, "{sent} repairs of {} frames", wire.len());
    // A question to the group is nobody's, and strangers are one however many ports they have: two listeners miss a frame seldom.
    let most = wire.len() / 25;
    assert!(traffic.multicast.packets <= most, "{traffic:?}");
    for host in station.listeners() {
        assert!(rejected_by(&station.nodes[host], "nack_to_group") > 0);
    }
}
