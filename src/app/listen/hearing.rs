//! What comes in: who is a datagram for?

use super::Listener;
use crate::app::console::Console;
use crate::io::sockets::{Channel, Received};
use crate::playout::store::Via;
use crate::station::node::Repaired;
use crate::wire::control::{ControlError, Heartbeat, Message};
use crate::wire::foreign::ForeignPacket;
use crate::wire::media::{MediaError, MediaPacket};
use crate::wire::repair::Repair;
use crate::wire::rtcp;

impl Listener {
    pub(super) fn handle_datagram(
        &mut self,
        received: &Received,
        bytes: &[u8],
        console: &mut dyn Console,
    ) {
        let now = self.session.clock.now();
        if received.from == self.session.sockets.local_addr() {
            return;
        }
        if received.truncated {
            return self.dial.reject("oversized");
        }
        // What the dial refuses it counts itself.
        match received.channel {
            Channel::Media => match MediaPacket::parse(bytes) {
                Ok(packet) => {
                    self.member.hear_media(&packet, received.arrived, now);
                    let taken = self.dial.handle_media(&packet, received.arrived, now);
                    // What was accepted is played soon: a device that was let go meanwhile is opened in time.
                    if taken.is_ok() {
                        self.output.prepare();
                    }
                }
                Err(MediaError::Foreign(_)) => match ForeignPacket::parse(bytes) {
                    Ok(packet) => {
                        let (from, arrived) = (received.from.ip(), received.arrived);
                        let taken = self.dial.handle_foreign(&packet, from, arrived, now);
                        if taken.is_ok() && self.dial.foreign().is_on_air() {
                            self.output.prepare();
                        }
                    }
                    Err(error) => self.dial.reject(error.reason()),
                },
                Err(error) => self.dial.reject(error.reason()),
            },
            Channel::Rtcp => match rtcp::goodbyes(bytes) {
                Ok(sources) => {
                    let foreign = self.dial.foreign_mut();
                    foreign.handle_goodbyes(&sources, received.from.ip());
                }
                Err(error) => self.dial.reject(error.reason()),
            },
            Channel::Control | Channel::Unicast => match Message::parse(bytes) {
                Ok(message) => {
                    match &message {
                        Message::Heartbeat(beat) => {
                            let beat = clean((**beat).clone());
                            let _ = self.dial.handle_heartbeat(&beat, received.arrived, now);
                            self.follow();
                        }
                        Message::Repair(repair) => return self.handle_repair(received, repair),
                        _ => {}
                    }
                    self.member.hear_control(received, &message, now);
                }
                Err(error) => self.reject_control(&error, console),
            },
        }
    }

    /// A frame that was lost on the way. What nobody asked for is not believed.
    fn handle_repair(&mut self, received: &Received, repair: &Repair) {
        let now = self.session.clock.now();
        let packet = match MediaPacket::parse(&repair.packet) {
            Ok(packet) => packet,
            Err(error) => return self.dial.reject(error.reason()),
        };
        let group = received.channel == Channel::Control;
        let repaired = (self.member).hear_repair(received.from, &packet, group, now);
        if repaired == Repaired::Refused {
            return self.dial.reject("unasked");
        }
        let via = if group { Via::Multicast } else { Via::Unicast };
        let (how, arrived) = ((via, repaired.after()), received.arrived);
        if self.dial.handle_repair(&packet, how, arrived, now).is_ok() {
            self.output.prepare();
        }
    }

    fn reject_control(&mut self, error: &ControlError, console: &mut dyn Console) {
        self.dial.reject(error.reason());
        if matches!(error, ControlError::Version(_) | ControlError::Unknown(_))
            && !self.unknown_control_told
        {
            self.unknown_control_told = true;
            self.session.warn(console, &error.to_string());
        }
    }
}

/// Text from the network is stripped of control characters before it goes anywhere.
pub(super) fn clean(mut beat: Heartbeat) -> Heartbeat {
    use crate::io::terminal::sanitize;
    beat.name = sanitize(&beat.name);
    for track in beat.tracks.iter_mut().flatten() {
        track.title = sanitize(&track.title);
        track.artist = sanitize(&track.artist);
    }
    beat
}
