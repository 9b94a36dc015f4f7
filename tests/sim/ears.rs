//! What does a host do with what it hears?

use std::net::SocketAddr;
use std::time::Duration;

use lanradio::playout::store::Via;
use lanradio::station::node::Repaired;
use lanradio::time::Instant;
use lanradio::wire::control::Message;
use lanradio::wire::media::MediaPacket;

use crate::host::Host;
use crate::world::{Channel, Packet, World};

impl World {
    pub(crate) fn receive(&mut self, number: usize, packet: &Packet) {
        self.delivered(number, packet);
        let host = &mut self.hosts[number];
        host.hear(packet, self.now_us);
        host.listen();
        self.act(number);
    }
}

impl Host {
    /// Reads a packet. If it is a repair that was asked for: how long that is ago.
    pub(crate) fn hear(&mut self, packet: &Packet, now_us: u64) -> Option<Duration> {
        let now = self.clock.local(now_us);
        let arrived = self.clock.local(packet.arrived_us).max(self.not_before);
        match packet.channel {
            Channel::Media => {
                let media = MediaPacket::parse(&packet.bytes).expect("our own packet");
                self.node.handle_media(&media, arrived, now);
                self.keep(&media);
                if let Some(dial) = &mut self.dial {
                    let _ = dial.handle_media(&media, arrived, now);
                }
            }
            Channel::Control | Channel::Unicast => {
                let message = Message::parse(&packet.bytes).expect("our own message");
                if let (Message::Heartbeat(beat), Some(dial)) = (&message, &mut self.dial) {
                    let _ = dial.handle_heartbeat(beat, arrived, now);
                    self.follow();
                }
                let from = Host::addr(packet.from);
                if let Message::Repair(repair) = &message {
                    let group = packet.channel == Channel::Control;
                    return self.hear_lost(from, &repair.packet, group, now);
                }
                self.node.handle_control(from, &message, arrived, now);
            }
        }
        None
    }

    /// A frame that was lost on the way; whoever has a copy keeps it, too.
    fn hear_lost(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        group: bool,
        now: Instant,
    ) -> Option<Duration> {
        let media = MediaPacket::parse(bytes).expect("our own packet");
        let repaired = self.node.handle_repair(from, &media, group, now);
        if repaired == Repaired::Refused {
            return None;
        }
        self.keep(&media);
        let via = if group { Via::Multicast } else { Via::Unicast };
        self.hear_repair(&media, (via, repaired.after()), now);
        repaired.after()
    }

    /// A frame that the player misses came by another way than the stream.
    fn hear_repair(&mut self, media: &MediaPacket<'_>, how: (Via, Option<Duration>), now: Instant) {
        if let Some(dial) = &mut self.dial {
            let _ = dial.handle_repair(media, how, now, now);
        }
    }

    /// The player misses a frame that is in this node's own copy.
    pub(crate) fn hear_copy(&mut self, bytes: &[u8], now_us: u64) {
        let media = MediaPacket::parse(bytes).expect("our own packet");
        self.hear_repair(&media, (Via::Replica, None), self.clock.local(now_us));
        self.listen();
    }

    /// What a node sends is heard by its own player.
    pub(crate) fn hear_own(&mut self, bytes: &[u8], channel: Channel, now_us: u64) {
        let now = self.clock.local(now_us);
        let Some(dial) = &mut self.dial else { return };
        match channel {
            Channel::Media => {
                let media = MediaPacket::parse(bytes).expect("our own packet");
                let _ = dial.handle_media(&media, now, now);
            }
            Channel::Control | Channel::Unicast => {
                if let Ok(Message::Heartbeat(beat)) = Message::parse(bytes) {
                    let _ = dial.handle_heartbeat(&beat, now, now);
                }
            }
        }
        self.listen();
    }

    /// One turn of the run loop, after everything was read: what is due, in the order of the program's own.
    pub(crate) fn turn(&mut self, now_us: u64) {
        let now = self.clock.local(now_us);
        self.follow();
        if let Some(dial) = &self.dial {
            self.node.handle_missing(&dial.missing(now), now);
        }
        if let Some(report) = self.teller.tell(self.dial.as_ref(), now) {
            self.node.set_report(report);
        }
        self.node.handle_timeout(now, &self.shelf);
    }

    fn keep(&mut self, media: &MediaPacket<'_>) {
        if let Some((track, k)) = self.node.place(media) {
            self.shelf.insert(track, k, media.payload);
        }
    }
}
