//! An enemy floods the media and the control port, with garbage and with requests and repairs as ours look. Who notices?

use std::net::{Ipv4Addr, SocketAddr};

use lanradio::wire::FrameIndex;
use lanradio::wire::control::Message;
use lanradio::wire::ids::{NodeId, StationId};
use lanradio::wire::repair::{Nack, Repair};

use crate::garbage::{flood, garbage};
use crate::heard::{assert_heard, count};
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

/// The group and every node, at the media and the control port, and where nodes send from.
fn targets(station: &Station, leader: SocketAddr) -> Vec<SocketAddr> {
    let ips = [GROUP]
        .into_iter()
        .chain((0..station.nodes.len()).map(|host| station.host(host).ip));
    let ports = |ip: Ipv4Addr| [5004, 5006].map(|port| SocketAddr::from((ip, port)));
    let mut targets: Vec<_> = ips.flat_map(ports).collect();
    targets.push(leader);
    for host in station.listeners() {
        let own = station.host(host).ip;
        let mut sent = station.taps.at_host(host);
        sent.retain(|packet| packet.from.ip() == own);
        targets.extend(sent.last().map(|packet| packet.from));
    }
    targets
}
