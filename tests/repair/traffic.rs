//! What was said beside the music, and how much of it?

use std::net::IpAddr;

use lanradio::wire::control::Message;

use crate::capture::{Capture, Frame, MEDIA_PORT, Packet};
use crate::net::Host;

/// Datagrams of one kind; bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) packets: usize,
    pub(crate) bytes: usize,
}

impl Share {
    fn add(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += packet.payload.len();
    }
}

/// All UDP that some hosts sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// To the media port.
    pub(crate) media: Share,
    /// Requests.
    pub(crate) nacks: Share,
    /// When.
    pub(crate) nacked_ns: Vec<i64>,
    /// How many frames were requested, each as often as it was.
    pub(crate) nacked: usize,
    /// Answers to one host.
    pub(crate) unicast: Share,
    /// Answers to the group.
    pub(crate) multicast: Share,
    /// Everything else that was understood: heartbeats, hellos, RTCP and so on.
    pub(crate) rest: Share,
    /// What nobody understands.
    pub(crate) unknown: Share,
    /// The frames that were in the answers.
    pub(crate) frames: Vec<Frame>,
}

impl Traffic {
    /// What of `packets` comes from one of `hosts`.
    pub(crate) fn of(packets: &[Packet], hosts: &[IpAddr]) -> Traffic {
        let mut traffic = Traffic::default();
        for packet in packets {
            if hosts.contains(&packet.from.ip()) {
                traffic.add(packet);
            }
        }
        traffic
    }

    fn add(&mut self, packet: &Packet) {
        match packet.to.port() {
            MEDIA_PORT => self.media.add(packet),
            // RTCP is never confused with control: its version is 2, in the two highest bits.
            port if port == MEDIA_PORT + 1 => self.rest.add(packet),
            _ => match Message::parse(&packet.payload) {
                Ok(Message::Nack(nack)) => {
                    self.nacks.add(packet);
                    self.nacked_ns.push(packet.at_ns);
                    self.nacked += nack.frames().count();
                }
                Ok(Message::Repair(repair)) => {
                    if packet.to.ip().is_multicast() {
                        self.multicast.add(packet);
                    } else {
                        self.unicast.add(packet);
                    }
                    let media = Packet {
                        payload: repair.packet,
                        ..packet.clone()
                    };
                    self.frames.push(Frame::read(&media));
                }
                Ok(_) => self.rest.add(packet),
                Err(_) => self.unknown.add(packet),
            },
        }
    }

    /// All answers.
    pub(crate) fn repairs(&self) -> Share {
        Share {
            packets: self.unicast.packets + self.multicast.packets,
            bytes: self.unicast.bytes + self.multicast.bytes,
        }
    }

    fn join(mut self, other: Traffic) -> Traffic {
        let pairs = [
            (&mut self.media, other.media),
            (&mut self.nacks, other.nacks),
            (&mut self.unicast, other.unicast),
            (&mut self.multicast, other.multicast),
            (&mut self.rest, other.rest),
            (&mut self.unknown, other.unknown),
        ];
        for (all, more) in pairs {
            all.packets += more.packets;
            all.bytes += more.bytes;
        }
        self.nacked_ns.extend(other.nacked_ns);
        self.nacked += other.nacked;
        self.frames.extend(other.frames);
        self
    }

    /// Panics unless each answer is the frame that was on the media port, and all was understood.
    pub(crate) fn assert_right(&self, wire: &crate::wire::Wire) {
        assert_eq!(self.unknown, Share::default(), "unknown datagrams");
        for frame in &self.frames {
            let mut sent = wire.frames.iter().filter(|sent| sent.seq == frame.seq);
            let same = |sent: &Frame| {
                let place = |frame: &Frame| (frame.ts, frame.ssrc, frame.n_high, frame.marker);
                let ends = |frame: &Frame| frame.is_last_of_track();
                place(sent) == place(frame) && ends(sent) == ends(frame) && sent.opus == frame.opus
            };
            // A programme of a test is shorter than 65,536 frames.
            assert!(sent.any(same), "another frame than was sent: {frame:?}");
        }
    }
}

/// Captures at the cable's end of several hosts: each sees what its host sends, also by unicast, and what comes there.
pub(crate) struct Taps {
    taps: Vec<(IpAddr, Capture)>,
}

impl Taps {
    pub(crate) fn at(hosts: &[Host]) -> Taps {
        let tap = |host: &Host| (IpAddr::from(host.ip), Capture::at(host));
        Taps {
            taps: hosts.iter().map(tap).collect(),
        }
    }

    /// What all of these hosts have sent, each datagram once.
    pub(crate) fn sent(&self) -> Traffic {
        let all = 0..self.taps.len();
        all.fold(Traffic::default(), |traffic, host| {
            traffic.join(self.sent_by(host))
        })
    }

    /// What host number `host` has sent.
    pub(crate) fn sent_by(&self, host: usize) -> Traffic {
        let (ip, tap) = &self.taps[host];
        Traffic::of(&tap.so_far(), &[*ip])
    }

    /// The talk of a time, for a look when something went wrong: when, who to whom, what.
    pub(crate) fn tell(&self, from_ns: i64, to_ns: i64) {
        for (ip, tap) in &self.taps {
            for packet in tap.so_far() {
                let within = (from_ns..to_ns).contains(&packet.at_ns);
                if !within || packet.from.ip() != *ip {
                    continue;
                }
                let what = match Message::parse(&packet.payload) {
                    Ok(Message::Nack(nack)) => {
                        format!(
                            "asks {:?}",
                            nack.frames().map(|index| index.0).collect::<Vec<_>>()
                        )
                    }
                    Ok(Message::Repair(repair)) => {
                        let seq = u16::from_be_bytes([repair.packet[2], repair.packet[3]]);
                        format!("repair seq {seq}")
                    }
                    Ok(Message::Heartbeat(beat)) => {
                        format!("beat {} {:?} next {}", beat.number, beat.state, beat.next.0)
                    }
                    Ok(other) => format!("{other:?}").chars().take(60).collect(),
                    Err(_) if packet.to.port() == MEDIA_PORT => {
                        format!(
                            "media seq {}",
                            u16::from_be_bytes([packet.payload[2], packet.payload[3]])
                        )
                    }
                    Err(_) => "?".into(),
                };
                let at_ms = (packet.at_ns - from_ns) as f64 / 1e6;
                println!("{at_ms:8.2} {} -> {}: {what}", packet.from, packet.to);
            }
        }
    }

    /// Everything that was on the cable of host number `host`.
    pub(crate) fn at_host(&self, host: usize) -> Vec<Packet> {
        self.taps[host].1.so_far()
    }
}
