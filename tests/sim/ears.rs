//! What does a host do with what it hears?

use lanradio::playout::store::Via;
use lanradio::wire::control::Message;
use lanradio::wire::media::MediaPacket;

use crate::host::Host;
use crate::world::{Channel, Packet, World};

impl World {
    pub(crate) fn receive(&mut self, number: usize, packet: &Packet) {
        self.delivered(number, packet);
        let host = &mut self.hosts[number];
        let now = host.clock.local(self.now_us);
        let arrived = host.clock.local(packet.arrived_us).max(host.not_before);
        match packet.channel {
            Channel::Media => {
                let media = MediaPacket::parse(&packet.bytes).expect("our own packet");
                host.node.handle_media(&media, arrived, now);
                if let Some((track, k)) = host.node.place(&media) {
                    host.shelf.insert(track, k, media.payload);
                }
                if let Some(dial) = &mut host.dial {
                    let _ = dial.handle_media(&media, arrived, now);
                }
            }
            Channel::Control | Channel::Unicast => {
                let message = Message::parse(&packet.bytes).expect("our own message");
                if let (Message::Heartbeat(beat), Some(dial)) = (&message, &mut host.dial) {
                    let _ = dial.handle_heartbeat(beat, arrived, now);
                    host.follow();
                }
                let from = Host::addr(packet.from);
                if let Message::Repair(repair) = &message {
                    return self.receive_repair(number, packet, &repair.packet);
                }
                host.node.handle_control(from, &message, arrived, now);
            }
        }
        host.listen();
        self.act(number);
    }

    /// A frame that was lost on the way; whoever has a copy keeps it, too.
    fn receive_repair(&mut self, number: usize, packet: &Packet, bytes: &[u8]) {
        let host = &mut self.hosts[number];
        let now = host.clock.local(self.now_us);
        let media = MediaPacket::parse(bytes).expect("our own packet");
        let group = packet.channel == Channel::Control;
        let from = Host::addr(packet.from);
        let asked = host.node.handle_repair(from, &media, group, now);
        if asked.is_some()
            && let Some((track, k)) = host.node.place(&media)
        {
            host.shelf.insert(track, k, media.payload);
        }
        if asked.is_some() || group {
            let via = if group { Via::Multicast } else { Via::Unicast };
            self.hear_repair(number, bytes, via);
        }
    }

    /// A frame that the player misses came by another way than the stream.
    pub(crate) fn hear_repair(&mut self, number: usize, bytes: &[u8], via: Via) {
        let host = &mut self.hosts[number];
        let now = host.clock.local(self.now_us);
        let media = MediaPacket::parse(bytes).expect("our own packet");
        if let Some(dial) = &mut host.dial {
            let _ = dial.handle_repair(&media, via, now);
        }
        host.listen();
    }

    /// What a node sends is heard by its own player.
    pub(crate) fn hear_own(&mut self, number: usize, bytes: &[u8], channel: Channel) {
        let host = &mut self.hosts[number];
        let now = host.clock.local(self.now_us);
        let Some(dial) = &mut host.dial else { return };
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
        host.listen();
    }
}
