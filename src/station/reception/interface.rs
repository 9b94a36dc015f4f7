//! What is reception told, and what does it say?

use std::net::IpAddr;
use std::time::Duration;

use super::Link;
use crate::wire::StationId;
use crate::wire::control::Message;

/// What should be heard now, as far as the node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The station that the node takes part in.
    pub station: Option<StationId>,
    /// Another node leads, and frames are on air.
    pub media: bool,
    /// Another node leads, and it is known where to ask it.
    pub beats: bool,
    /// This node sends all frames itself, as nobody is heard to: if it were taken for deaf, nobody would.
    pub solo: bool,
    /// This node leads, and each of the others says hello to all so often, or a little more often.
    pub hellos: Option<Duration>,
    /// This node waits for a station.
    pub seeks: bool,
    /// How many other nodes there are.
    pub nodes: usize,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A frame of the stream that is followed, on the media port of the group.
    Media,
    /// A heartbeat of the station's leader to all, on the control port of the group.
    Beat,
    /// Another message to all, on the control port of the group.
    Hello,
    /// A heartbeat of the station's leader to this node alone.
    Answer,
    /// A confirmation, to this node alone.
    Word,
    /// A hello of another node of the station, to this node alone.
    Greeting,
}

impl Heard {
    /// What a control message of another node is for a node of `station`. Heartbeats and confirmations count only if the node
    /// believes them: anybody can send them in a leader's name, and whoever takes them for life while nobody sends frames is found
    /// to be deaf, and keeps silent.
    pub fn of(
        message: &Message,
        is_unicast: bool,
        station: Option<StationId>,
        is_believed: bool,
    ) -> Option<Heard> {
        match message {
            Message::Heartbeat(beat) if is_believed && Some(beat.station) == station => {
                Some(if is_unicast {
                    Heard::Answer
                } else {
                    Heard::Beat
                })
            }
            Message::Confirm(_) if is_unicast => is_believed.then_some(Heard::Word),
            Message::Hello(hello) if is_unicast => {
                let is_ours = hello.station.is_some() && hello.station == station;
                (is_ours && is_believed).then_some(Heard::Greeting)
            }
            _ => (!is_unicast).then_some(Heard::Hello),
        }
    }
}

/// What does not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ear {
    /// Frames; heartbeats to all are heard.
    Media,
    /// The leader's heartbeats to all; frames are heard.
    Control,
    /// All that is sent to the group; the leader answers by unicast.
    Group,
    /// The other nodes' hellos to all, at the leader; they answer it by unicast.
    Hellos,
}

/// What to do, or to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Leave the groups and join them again.
    Rejoin,
    /// The same, as a mere reminder for switches: not where it could do harm.
    Renew,
    /// Ask who leads, by unicast.
    Ask {
        /// Not only the leader, but the heirs, too: the leader has not answered, or this node leads itself.
        widely: bool,
    },
    /// Ask other nodes, by unicast, to say hello, to this node and to all.
    Call,
    /// Ask all who is on air.
    Seek,
    /// Tell people.
    Tell(Told),
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something does not get through, though the station lives.
    Deaf(Ear),
    /// Everything is heard again.
    Again {
        /// After this time.
        after: Duration,
    },
    /// The interface is not as it should be. (Never [`Link::There`].)
    Link(Link),
    /// The interface is as it should be again.
    Back {
        /// After this time.
        after: Duration,
    },
    /// There is another interface of the same name, so soon that the first one was not missed.
    Remade,
    /// The interface has another address.
    Address {
        /// The one that this node has now.
        now: IpAddr,
        /// The one that it had.
        before: IpAddr,
    },
}
