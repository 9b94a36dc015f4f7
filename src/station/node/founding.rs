//! Is a station there already, and if so, whose goes on?
//!
//! Who founds asks twice and listens for 250 ms; whoever is heard keeps the group. Of two founders that hear each other ask, the
//! higher id listens on until the other one is on air. Those that did not find out in time do so while *young*, in the first 2 s on
//! air: one of them yields (PROTOCOL, "FOUND").

use std::net::SocketAddr;
use std::time::Duration;

use super::roles::{ASK_AGAIN_AFTER, LISTEN, Role};
use super::{Event, MAX_WARNED_OF, Node};
use crate::time::Instant;
use crate::wire::control::{Heartbeat, Hello, State};

/// How much longer it listens after a founder with a lower id has asked: for that one's first heartbeat to arrive, even if
/// its second question was lost.
const LISTEN_LONGER: Duration = Duration::from_millis(50);

impl Node {
    /// Asks again, and founds the station when nobody has answered.
    pub(super) fn go_on_founding(&mut self) {
        let now = self.latest;
        let Role::Founding {
            ask_at,
            until,
            until_at_most,
            media_heard,
        } = &mut self.role
        else {
            return;
        };
        if ask_at.is_some_and(|at| now >= at) {
            *ask_at = None;
            // Asked late, listens late: the answer needs its time.
            *until = (*until).max(now + (LISTEN - ASK_AGAIN_AFTER));
            self.say_hello();
        } else if now >= *until {
            match *media_heard {
                // Its leader has just died: others send in its place, and one of them will lead.
                Some((_, at)) if now < *until_at_most && now.since(at) < LISTEN => {
                    *until = (now + LISTEN).min(*until_at_most);
                    self.say_hello();
                }
                Some((station, at)) if now.since(at) < LISTEN => {
                    self.tell(Event::Busy { station });
                    self.become_gone();
                }
                _ if self.programme.is_exhausted() => self.become_gone(),
                _ if self.config.quorum > 1 => self.become_candidate_founder(),
                _ => self.become_leading(),
            }
        }
    }

    /// Somebody else asks: if it is about to found with a lower id, its first heartbeat comes [`LISTEN`] from now at the latest.
    pub(super) fn hear_founder(&mut self, hello: &Hello) {
        if let Role::Founding {
            until,
            until_at_most,
            ..
        } = &mut self.role
            && hello.founding
            && hello.node < self.config.node
        {
            *until = (*until).max((self.latest + LISTEN + LISTEN_LONGER).min(*until_at_most));
        }
    }

    /// Another leader was heard: who stays?
    pub(super) fn hear_leader(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
    ) -> bool {
        let over = matches!(beat.state, State::Over(_));
        let founds = self.is_candidate_founder();
        match &mut self.role {
            Role::Founding { media_heard, .. } if over => {
                media_heard.take_if(|(station, _)| *station == beat.station);
            }
            Role::Founding { .. } => self.give_way(from, beat, arrived),
            Role::Waiting { station, .. } if !over && *station == Some(beat.station) => {
                self.become_following(from, beat, arrived);
            }
            Role::Following(_) if beat.station == self.config.station => {
                return self.hear_beat(from, beat, arrived);
            }
            Role::Following(_) if !over && founds => {
                self.give_way(from, beat, arrived);
            }
            Role::Leading { .. } if beat.station == self.config.station => {
                self.hear_other_leader(from, beat, arrived);
                return true;
            }
            Role::Leading { lead, .. } if !over => {
                match (lead.may_yield(self.latest), beat.young) {
                    // The other one is to yield.
                    (true, true) if self.config.node < beat.term.leader => {}
                    (true, _) if lead.is_there(beat, arrived) => self.give_way(from, beat, arrived),
                    (false, false) => self.warn_of(from, beat),
                    (true, _) | (false, true) => {}
                }
            }
            _ => {}
        }
        // Of another station, or of the first leader of all.
        false
    }

    fn warn_of(&mut self, from: SocketAddr, beat: &Heartbeat) {
        if !self.warned_of.contains(&beat.station) && self.warned_of.len() < MAX_WARNED_OF {
            self.warned_of.push(beat.station);
            self.tell(Event::Warning(format!(
                "another station ({}) is on air on this group, sent by {} at {}: listeners hear one of the two; stop one \
                 or give it another --group",
                beat.station, beat.name, from
            )));
        }
    }

    /// Another station is on air: this node takes part in it.
    fn give_way(&mut self, from: SocketAddr, beat: &Heartbeat, arrived: Instant) {
        let track = beat.tracks.iter().flatten().next();
        let joined = Event::Joined {
            name: beat.name.clone(),
            title: track.map(|track| track.title.clone()).unwrap_or_default(),
            artist: track.map(|track| track.artist.clone()).unwrap_or_default(),
            station: beat.station,
            addr: from,
        };
        self.tell(joined);
        if let Role::Leading { .. } = self.role {
            self.say_goodbye();
        }
        self.become_following(from, beat, arrived);
    }
}
