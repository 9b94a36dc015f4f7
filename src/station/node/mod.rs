//! What does a node do, and when?
//!
//! A node that has something to send listens whether the group is free (*founding*), then paces the programme on the group
//! (*leading*), and when that has ended stays until the last frame had time to play (*over*). Every other node *follows* the
//! station that it hears: it keeps the plan, and when the leader falls silent it covers, then claims (PROTOCOL). Run loop: give
//! it inputs with `handle_*`, call [`Node::handle_timeout`] at [`Node::poll_timeout`] or at any other time (early or repeated
//! calls do nothing), then take every [`Node::poll_output`]. Drain all sockets into it before `handle_timeout`: a node that
//! stood still must hear what happened meanwhile before it speaks.
//!
//! * this file: the node, and what goes in
//! * `queries`: what can be read from it
//! * `interface`: what it is told, what it wants done, what it has to tell
//! * `roles`: the roles, and how they follow each other; `founding`: is a station there already?
//! * `office`: what a leader knows
//! * `on_air`: what a leader does at each wake: plan, send, starve; `beating`: how it says that it is there
//! * `flaws`: rules that can be left out, to see that the simulator notices
//! * `following`: what a follower learns from its leader, and when it changes to another one
//! * `doubting`: what it does not believe, and who learns of it
//! * `covering`: sending what the leader should have sent
//! * `claiming`: becoming the leader, by the votes of the others
//! * `voting`: whom this node votes for, and whom it confirms
//! * `agreeing`: with a quorum: how long a leader may speak
//! * `membership`: hellos, heirs, confirmations; `reporting`: how each node fares
//! * `handing_over`: leaving without being missed
//! * `merging`: two leaders of one station
//! * `deafness`: what it should hear, and what it does not do while it does not hear it
//! * `copying`: the plan and the frames that are not here yet; `lost`: those that nobody has
//! * `sources`: what this node itself came to send
//! * `repairing`: frames that were lost on the way, here and elsewhere
//! * `submitting`: one's own tracks in the programme of another; `safe`: which of them would outlive this node

mod agreeing;
mod beating;
mod claiming;
mod copying;
mod covering;
mod deafness;
mod doubting;
mod flaws;
mod following;
mod founding;
mod handing_over;
mod interface;
mod lost;
mod membership;
mod merging;
mod office;
mod on_air;
mod queries;
mod repairing;
mod reporting;
mod roles;
mod safe;
mod sources;
mod submitting;
mod syncing;
#[cfg(test)]
mod tests;
mod voting;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::playlist::ListedTrack;
use super::programme::{PlanError, Programme};
use super::random::Random;
use super::roster::Roster;
use super::seen::Seen;
use crate::time::Instant;
use crate::wire::control::{EndReason, MAX_NAME_BYTES, MAX_TEXT_BYTES, Message};
use crate::wire::election::Standing;
use crate::wire::ids::Numbering;
use crate::wire::media::MediaPacket;
use crate::wire::report::Report;
use crate::wire::{FrameIndex, PlanDigest, StationId, TrackId, clip};
use copying::Copying;
pub use copying::Fetch;
use doubting::{Budget, Doubt};
#[cfg(debug_assertions)]
#[doc(hidden)]
pub use flaws::Flaw;
pub use interface::{Config, Event, Frames, Output, Playing};
pub use repairing::Repaired;
pub use reporting::REPORT_EVERY;
use roles::{Phase, Role};
pub use submitting::{Submission, SubmissionError};
use voting::Voter;

/// How many frames must be ready before a run starts: the cover horizon H of PROTOCOL.
pub const CUSHION_FRAMES: u64 = 25;
/// How often a leader says that it is there.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// The same when others wait for it: in a contest, in a hand-over, with a quorum.
pub const HURRIED_HEARTBEAT: Duration = Duration::from_millis(20);
/// Answers to hellos in any one second: the bound on what others can make this node send.
pub const MAX_ANSWERS_PER_SECOND: usize = 20;
/// The same to nodes that are known: those that are deaf ask again and again, all together so often.
pub const MAX_ANSWERS_TO_KNOWN_PER_SECOND: usize = 250;
/// Answers to candidates in any one second: each asks three times by two ways, eight of them at most every 60 ms.
pub const MAX_REPLIES_PER_SECOND: usize = 800;
/// Confirmations in any one second: twice as many as there can be heartbeats.
pub const MAX_CONFIRMS_PER_SECOND: usize = 140;
/// How many other stations on the group are named in warnings.
const MAX_WARNED_OF: usize = 16;

/// One node of a station.
#[derive(Debug)]
pub struct Node {
    config: Config,
    numbering: Numbering,
    role: Role,
    /// The plan: the leader's own, or a follower's copy of it.
    programme: Programme,
    roster: Roster,
    /// What was on air lately.
    seen: Seen,
    voter: Voter,
    copying: Copying,
    repairing: repairing::Repairing,
    random: Random,
    /// When this node started.
    born: Instant,
    /// When it says hello next.
    hello_at: Instant,
    /// When it was last asked to come back: much later means that it stood still.
    wake_at: Option<Instant>,
    /// When it last had a turn, or heard something.
    active_at: Instant,
    /// Until when it only listens, as it stood still.
    listen_until: Instant,
    /// It stepped down a moment ago: for how long it lets others claim first.
    back_off: merging::BackOff,
    /// How it fares, and when its leader is told.
    reporting: reporting::Reporting,
    /// What time it is on the station.
    syncing: syncing::Syncing,
    /// How far it could take over, and when it last looked.
    standing: Standing,
    assessed_at: Option<Instant>,
    /// It led, and has handed over.
    relieved: Option<handing_over::Relieved>,
    /// What this node came to send.
    own: Vec<submitting::OwnTrack>,
    /// More of it will come.
    is_source_open: bool,
    /// When it is submitted again.
    submit_at: Option<Instant>,
    /// Since when it cannot be.
    unheeded: submitting::Unheeded,
    /// The last track of the list up to which this node holds all that is still to be played, as others are told.
    held_to: Option<TrackId>,
    /// When it looks again who holds what.
    safe_at: Option<Instant>,
    /// It follows, and leaves as soon as what it came to send is safe.
    departs: bool,
    /// The station's frames do not reach it.
    deaf: bool,
    /// When its leader called, and was answered.
    called_at: Option<Instant>,
    /// It copies what it plays soon, though it is no standby.
    fetches: bool,
    #[cfg(debug_assertions)]
    flaw: Option<flaws::Flaw>,
    outputs: VecDeque<Output>,
    /// The latest time that was heard of: time that goes back is ignored.
    latest: Instant,
    /// The source has changed since the last wake.
    fed: bool,
    /// The first frame of the track that was last told of.
    told_track: Option<FrameIndex>,
    /// The track of which a missing frame was told.
    told_missing: Option<TrackId>,
    warned_of: Vec<StationId>,
    /// What is still to be said for the station that this node founded and let go.
    goodbyes: VecDeque<(Instant, Output)>,
    /// What was not believed.
    refused: doubting::Refused,
    /// For answers to hellos, to candidates, to heartbeats.
    answers: Budget,
    answers_to_known: Budget,
    replies: Budget,
    confirms: Budget,
    frames_sent: u64,
    octets_sent: u64,
    skipped: u64,
}

impl Node {
    /// A node that starts to found its station: it asks at once whether another one is on air.
    pub fn new(config: Config, now: Instant) -> Node {
        let config = Config {
            name: clip(&config.name, MAX_NAME_BYTES).to_owned(),
            ..config
        };
        let mut node = Node {
            numbering: Numbering::of(config.station),
            role: if config.sends {
                Role::founding(now)
            } else {
                Role::waiting(None, now)
            },
            programme: Programme::new(config.first_frame),
            roster: Roster::default(),
            seen: Seen::default(),
            voter: Voter::default(),
            copying: Copying::default(),
            repairing: repairing::Repairing::default(),
            random: Random::new(config.seed),
            born: now,
            hello_at: now,
            wake_at: None,
            active_at: now,
            listen_until: now,
            back_off: merging::BackOff::default(),
            reporting: reporting::Reporting::default(),
            syncing: syncing::Syncing::default(),
            standing: Standing::default(),
            assessed_at: None,
            relieved: None,
            own: Vec::new(),
            is_source_open: config.sends,
            submit_at: None,
            unheeded: submitting::Unheeded::default(),
            held_to: None,
            safe_at: None,
            departs: false,
            deaf: false,
            called_at: None,
            fetches: false,
            #[cfg(debug_assertions)]
            flaw: None,
            outputs: VecDeque::new(),
            latest: now,
            fed: !config.sends,
            told_track: None,
            told_missing: None,
            warned_of: Vec::new(),
            goodbyes: VecDeque::new(),
            refused: doubting::Refused::default(),
            answers: Budget::of(MAX_ANSWERS_PER_SECOND),
            answers_to_known: Budget::of(MAX_ANSWERS_TO_KNOWN_PER_SECOND),
            replies: Budget::of(MAX_REPLIES_PER_SECOND),
            confirms: Budget::of(MAX_CONFIRMS_PER_SECOND),
            frames_sent: 0,
            octets_sent: 0,
            skipped: 0,
            config,
        };
        if node.config.sends {
            node.begin_list();
            node.say_hello();
        }
        node
    }

    /// A listener has tuned in to a station, or to none: that one is followed.
    pub fn follow(&mut self, station: Option<StationId>) {
        let follows = match &self.role {
            // A silence ends nothing where others may have to agree that it does.
            Role::Following(following) if following.quorum > 1 && station.is_none() => return,
            Role::Waiting { station, .. } => *station,
            Role::Following(_) => Some(self.config.station),
            _ => return,
        };
        if follows != station {
            self.become_waiting(station);
        }
    }

    /// A message came in on the control port or on this node's own socket. Answers whether it was believed: of a heartbeat, that it
    /// is the newest of the leader that is followed, or another leader's of a station that this node leads; of a confirmation, that
    /// it is an heir's of this leader. What only this node's owner would conclude from it is to be concluded only then.
    pub fn handle_control(
        &mut self,
        from: SocketAddr,
        message: &Message,
        arrived: Instant,
        now: Instant,
    ) -> bool {
        self.latest = self.latest.max(now);
        self.notice_absence();
        self.repairing.hear(self.latest);
        if self.doubts(from, message) {
            return false;
        }
        let me = self.config.node;
        match message {
            Message::Hello(hello) if hello.node != me => self.hear_hello(from, hello),
            Message::Heartbeat(beat) if beat.term.leader != me => {
                return self.hear_leader(from, beat, arrived.min(self.latest));
            }
            Message::Confirm(confirm) if confirm.node != me => {
                return self.hear_confirm(from, confirm);
            }
            Message::Ask(ask) if ask.node != me => self.hear_candidate(from, ask),
            Message::Reply(reply) if reply.candidate == me => self.hear_voter(from, reply),
            Message::Stale(stale) if stale.node != me => self.hear_stale(stale),
            Message::Nack(nack) => self.hear_nack(from, *nack),
            Message::Report(told) if told.node != me => self.hear_report(from, told),
            Message::Probe(probe) if probe.node != me => {
                self.hear_probe(from, probe, arrived.min(self.latest));
            }
            Message::Time(time) => self.hear_time(from, time, arrived.min(self.latest)),
            // Our own, looped back by the kernel, or for others.
            _ => return false,
        }
        true
    }

    /// A packet came in on the media port (not this node's own; other programs' RTP is not for it). Answers whether it is of the
    /// stream that this node follows, as far as it knows.
    pub fn handle_media(
        &mut self,
        packet: &MediaPacket<'_>,
        arrived: Instant,
        now: Instant,
    ) -> bool {
        self.latest = self.latest.max(now);
        self.notice_absence();
        self.repairing.hear(self.latest);
        match &mut self.role {
            Role::Founding { media_heard, .. } => {
                *media_heard = Some((packet.station, self.latest));
            }
            Role::Following(_) | Role::Leading { .. } if packet.station == self.config.station => {
                if self.is_leap(packet.element.term.counter) {
                    self.refuse(Doubt::TermLeap, None);
                    return false;
                }
                return self.hear_media(packet, arrived.min(self.latest));
            }
            _ => {}
        }
        false
    }

    /// The plan that was asked for has come.
    ///
    /// # Errors
    /// Says why these bytes are not that plan.
    pub fn handle_plan(
        &mut self,
        digest: PlanDigest,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), PlanError> {
        self.latest = self.latest.max(now);
        #[cfg(debug_assertions)]
        let plan = if self.has(flaws::Flaw::VersionNotDigest) {
            Programme::from_bytes_by_version(bytes)
        } else {
            Programme::from_bytes(bytes, digest)
        };
        #[cfg(not(debug_assertions))]
        let plan = Programme::from_bytes(bytes, digest);
        self.copying.plan_answered();
        match plan {
            Ok(plan) => self.take_plan(plan),
            Err(error) => {
                self.count_rejected(error.reason());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Frames that were asked for have come and are held now, or will not come.
    pub fn handle_frames(&mut self, came: bool, now: Instant) {
        self.latest = self.latest.max(now);
        self.copying.frames_answered(came, self.latest);
        self.fed = true;
    }

    /// How this node fares, for its leader and for those that ask; what is out of range is cut.
    pub fn set_report(&mut self, report: Report) {
        let before = self.reporting.report.replace(report.bounded());
        self.fed |= before.is_none(); // it may have been waited for
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, frames: &dyn Frames) {
        self.latest = self.latest.max(now);
        self.notice_absence();
        if self.is_listening() {
            return;
        }
        self.fed = false;
        self.say_goodbye_again();
        self.go_on_founding();
        let attended = self.attend(frames);
        let relieved = self.keep_relieved();
        self.lead(frames);
        self.wind_up();
        let member = self.keep_membership(frames);
        let reports = self.keep_reporting();
        let probes = self.keep_time();
        let copying = self.copy(frames);
        let submits = self.submit();
        let repairs = self.repair(frames);
        self.keep_safe(frames);
        self.wake_at = [
            attended, relieved, member, reports, probes, copying, submits, repairs,
        ]
        .into_iter()
        .flatten()
        .min();
    }

    /// The user wants to leave: an heir goes on, or the programme ends after the frame last sent if there is none. Who has added
    /// to the programme of another leaves when that is safe. Asked again, it does not wait for anything.
    pub fn handle_leave(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
        match &mut self.role {
            Role::Founding { .. } | Role::Waiting { .. } => self.become_gone(),
            Role::Following(_) => self.depart(),
            Role::Leading { .. } => self.leave(),
            Role::Over {
                until,
                beats_left,
                beat_at,
                ..
            } => {
                (*until, *beats_left, *beat_at) = (self.latest, 1, self.latest);
            }
            Role::Gone => {}
        }
    }

    /// Ends the programme for everybody; `false` if this node does not lead.
    pub fn handle_stop(&mut self, reason: EndReason, now: Instant) -> bool {
        self.latest = self.latest.max(now);
        let leads = matches!(self.role, Role::Leading { .. });
        if leads {
            self.become_over(reason);
        }
        leads
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Node::handle_timeout`] next; `None` when the node is done, or only waits to be told of a station.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fed = self.fed.then_some(self.latest);
        let goodbye = self.goodbyes.front().map(|(at, _)| *at);
        let next = [fed, goodbye, self.wake_at, self.poll_work()]
            .into_iter()
            .flatten()
            .min();
        let listens = self.latest < self.listen_until;
        next.map(|at| {
            if listens {
                at.max(self.listen_until)
            } else {
                at
            }
        })
    }

    /// When the work of a founder or a leader is due.
    fn poll_work(&self) -> Option<Instant> {
        match &self.role {
            Role::Founding { ask_at, until, .. } => Some(ask_at.unwrap_or(*until)),
            Role::Leading { lead, phase, .. } => {
                let work = match phase {
                    Phase::Playing(pacer) => Some(pacer.poll_timeout()),
                    Phase::Idle { .. } => None,
                };
                let beat = lead.clock.local(lead.beat_due);
                Some(work.map_or(beat, |work| work.min(beat)))
            }
            Role::Over {
                beat_at,
                until,
                beats_left: 0,
                ..
            } => Some(*beat_at.min(until)),
            Role::Over { beat_at, .. } => Some(*beat_at),
            Role::Waiting { .. } | Role::Following(_) | Role::Gone => None,
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
