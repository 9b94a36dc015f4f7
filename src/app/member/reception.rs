//! What is done and said about what this node hears, and does not hear? The rules are in `station::reception`.

use std::time::Duration;

use super::{Member, open_api, port_for_others};
use crate::app::console::Console;
use crate::app::session::Session;
use crate::io::sockets::{Channel, Received};
use crate::io::terminal::sanitize;
use crate::station::programme::KEPT_FRAMES;
use crate::station::reception::{Ear, Heard, Link, Output, Told};
use crate::time::Instant;
use crate::wire::control::Message;

/// What usually keeps multicast from a machine that unicast reaches.
const CULPRITS: &str = "to check: a switch with IGMP snooping and no querier, Wi-Fi that keeps multicast from its clients, a firewall";

impl Member {
    /// A control message of another node was heard.
    pub fn hear_control(&mut self, received: &Received, message: &Message, now: Instant) {
        let station = self.node.expected().station;
        let is_unicast = received.channel == Channel::Unicast;
        if matches!(message, Message::Nack(_)) && !is_unicast {
            // Who asks everybody would be answered by everybody.
            return self.node.count_rejected("nack_to_group");
        }
        let is_believed = (self.node).handle_control(received.from, message, received.arrived, now);
        if let Some(heard) = Heard::of(message, is_unicast, station, is_believed) {
            self.reception.handle(heard, received.arrived);
        }
    }

    /// When [`Member::turn`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reception = self.reception.poll_timeout();
        self.node.poll_timeout().into_iter().chain(reception).min()
    }

    /// Looks whether all that should be heard is, and does what helps if not.
    pub(super) fn attend_reception(&mut self, session: &mut Session, console: &mut dyn Console) {
        if let Some((link, moved)) = session.poll_link(console) {
            let now = session.clock.now();
            if let Some(moved) = moved {
                self.reception
                    .handle_moved(moved.remade, moved.address, now);
                self.move_api(session, console);
            }
            self.reception.set_link(link, now);
        }
        let now = session.clock.now();
        self.reception.set_expected(self.node.expected(), now);
        self.reception.handle_timeout(now);
        while let Some(output) = self.reception.poll_output() {
            match output {
                Output::Rejoin => {
                    if let Some(moved) = session.rejoin(console) {
                        self.reception
                            .handle_moved(moved.remade, moved.address, now);
                        self.move_api(session, console);
                    }
                }
                Output::Renew => session.sockets.renew(),
                Output::Call => self.node.call_others(),
                Output::Seek => self.node.seek_station(),
                Output::Ask { widely } => self.node.ask_who_leads(widely),
                Output::Tell(told) => self.tell_reception(told, session, console),
            }
        }
        self.node.set_deaf(self.reception.is_deaf());
        self.node.set_fetching(self.reception.fetches());
    }

    /// Others look for the node API at the address that this node's packets come from.
    fn move_api(&mut self, session: &Session, console: &mut dyn Console) {
        let local = session.sockets.local_addr().ip();
        let at = self.server.local_addr();
        let follows = self.http.is_none() && at.ip() != local;
        let ports = [at.port(), 0].into_iter().filter(|_| follows);
        for port in ports {
            match open_api(self.http, local, port, session.waiter.waker()) {
                Ok((server, questions)) => {
                    for (reason, count) in self.server.refusals() {
                        *self.refused_before.entry(reason).or_default() += count;
                    }
                    (self.server, self.questions) = (server, questions);
                    break;
                }
                Err(error) => console.detail(&error.to_string()),
            }
        }
        let port = port_for_others(&self.server, local);
        self.node.set_http_port(port);
    }

    /// A node that is no standby and copies while it is deaf keeps of what was played only what may still be asked for.
    pub(super) fn forget_played(&mut self) {
        if self.node.config().standby {
            return;
        }
        let programme = self.node.programme();
        let from = self.node.play_position().minus(KEPT_FRAMES);
        self.library.retain(|track| {
            programme
                .tracks_from(from)
                .any(|entry| entry.track == track)
        });
        if let Some((track, k)) = self.node.first_needed() {
            self.library.forget_before(track, k);
        }
    }

    /// Tells people and scripts.
    fn tell_reception(&self, told: Told, session: &mut Session, console: &mut dyn Console) {
        let leader = sanitize(self.node.leader_name());
        let situation = Situation {
            interface: session.interface(),
            leader: if leader.is_empty() {
                "the leader"
            } else {
                &leader
            },
            media_port: session.group.port(),
            family: if session.group.is_ipv4() {
                "IPv4"
            } else {
                "IPv6"
            },
            fetches: !self.node.config().sends && self.node.may_fetch(),
        };
        let text = situation.text(told);
        if matches!(told, Told::Again { .. } | Told::Back { .. }) {
            console.note(&text);
            session.events.warning(&text);
        } else {
            session.warn(console, &text);
        }
    }
}

/// What a sentence about reception names.
struct Situation<'a> {
    interface: &'a str,
    leader: &'a str,
    media_port: u16,
    family: &'a str,
    /// This node plays, and gets the frames from the leader.
    fetches: bool,
}

impl Situation<'_> {
    fn text(&self, told: Told) -> String {
        let Situation {
            interface,
            leader,
            media_port,
            family,
            ..
        } = self;
        let control_port = media_port + 2;
        let fetching = match self.fetches {
            true => format!("; fetching the stream from {leader} by unicast meanwhile"),
            false => String::new(),
        };
        match told {
            Told::Deaf(Ear::Media) => format!(
                "no music arrives by multicast on {interface} though {leader} is heard: joined the group again{fetching} (does a \
                 firewall drop UDP port {media_port}?)"
            ),
            Told::Deaf(Ear::Control) => format!(
                "music arrives by multicast on {interface}, and nothing from its leader {leader}: joined the group again; asking \
                 {leader} by unicast meanwhile (does a firewall drop UDP port {control_port}?)"
            ),
            Told::Deaf(Ear::Group) => format!(
                "nothing arrives by multicast on {interface} though {leader} answers: joined the group again{fetching} ({CULPRITS})"
            ),
            Told::Deaf(Ear::Hellos) => format!(
                "nothing of the other nodes arrives by multicast on {interface} though they answer: joined the group again ({CULPRITS})"
            ),
            Told::Again { after } => {
                format!(
                    "multicast is heard again on {interface}, after {}",
                    seconds(after)
                )
            }
            Told::Link(Link::NoCarrier) => {
                format!(
                    "{interface} has no carrier: cable out, or no access point? Waiting until it has"
                )
            }
            Told::Link(Link::SwitchedOff) => {
                format!("{interface} is switched off; waiting until it is on")
            }
            Told::Link(Link::NoAddress) => {
                format!("{interface} has no {family} address any more; waiting for one")
            }
            Told::Link(Link::Gone | Link::There) => {
                format!("{interface} is gone; waiting until there is one of that name")
            }
            Told::Back { after } => format!("{interface} is back, after {}", seconds(after)),
            Told::Remade => {
                format!("{interface} was removed and made again: joined the group again")
            }
            Told::Address { now, before } => format!(
                "{interface} has another address, {now} instead of {before}: joined the group again, and sending from there"
            ),
        }
    }
}

/// `3.2 s`, or `75 s` where tenths do not matter.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_said_in_plain_words_with_what_to_look_at() {
        let situation = |fetches| Situation {
            interface: "lan0",
            leader: "kitchen",
            media_port: 5004,
            family: "IPv4",
            fetches,
        };
        let after = Duration::from_millis(3_140);
        let [before, now] = ["10.0.0.5", "10.0.0.7"].map(|text| text.parse().unwrap());
        let cases = [
            (
                Told::Deaf(Ear::Media),
                "no music arrives by multicast on lan0 though kitchen is heard: joined the group again; fetching the stream from \
                 kitchen by unicast meanwhile (does a firewall drop UDP port 5004?)",
            ),
            (
                Told::Deaf(Ear::Control),
                "music arrives by multicast on lan0, and nothing from its leader kitchen: joined the group again; asking kitchen by \
                 unicast meanwhile (does a firewall drop UDP port 5006?)",
            ),
            (
                Told::Deaf(Ear::Group),
                "nothing arrives by multicast on lan0 though kitchen answers: joined the group again; fetching the stream from \
                 kitchen by unicast meanwhile (to check: a switch with IGMP snooping and no querier, Wi-Fi that keeps multicast \
                 from its clients, a firewall)",
            ),
            (
                Told::Again { after },
                "multicast is heard again on lan0, after 3.1 s",
            ),
            (
                Told::Link(Link::NoCarrier),
                "lan0 has no carrier: cable out, or no access point? Waiting until it has",
            ),
            (
                Told::Link(Link::NoAddress),
                "lan0 has no IPv4 address any more; waiting for one",
            ),
            (Told::Back { after: after * 30 }, "lan0 is back, after 94 s"),
            (
                Told::Address { now, before },
                "lan0 has another address, 10.0.0.7 instead of 10.0.0.5: joined the group again, and sending from there",
            ),
        ];
        for (told, text) in cases {
            assert_eq!(situation(true).text(told), text);
        }
        let sender = situation(false).text(Told::Deaf(Ear::Group));
        assert!(!sender.contains("fetching"), "{sender}");
    }
}
