//! What does each role know, and how do they follow each other? Only `become_*` changes the role.

use std::net::SocketAddr;
use std::time::Duration;

use super::agreeing::Lease;
use super::copying::Copying;
use super::flaws::Flaw;
use super::following::Following;
use super::office::Lead;
use super::repairing::Repairing;
use super::{Event, HEARTBEAT, Node, Output};
use crate::station::clock::StationClock;
use crate::station::pacing::Pacer;
use crate::station::programme::Programme;
use crate::station::roster::Roster;
use crate::station::seen::Seen;
use crate::time::{Instant, is_plausible};
use crate::wire::control::{EndReason, Heartbeat};
use crate::wire::ids::Numbering;
use crate::wire::rtcp;
use crate::wire::{FRAME, FrameIndex, Slot, StationId, Term};

/// What a packet takes at least from one machine to the next, in microseconds: without this every takeover would move the
/// timeline back by as much. A wired network takes 30 to 120; what is left over adds up to less than 5 ms in 100 takeovers.
const TRAVEL_US: i64 = 70;
/// How long a founder listens.
pub(super) const LISTEN: Duration = Duration::from_millis(250);
/// When it asks for the second time.
pub(super) const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long a founder listens at most while others with lower ids ask, too: what they can do to it must end.
const LISTEN_AT_MOST: Duration = Duration::from_secs(2);
/// Why a successor leads, if its predecessor has named it.
pub(super) const HANDED_OVER: &str = "handed over";
/// How long a station stays after the last frame has played: the delay of the network and of sound devices.
const PLAY_OUT_MARGIN: Duration = Duration::from_millis(200);
/// How often a station says at least that it is over: each of these may be lost.
const LAST_BEATS: u32 = 3;
/// The time between these when the node is in a hurry.
const LAST_BEATS_EVERY: Duration = Duration::from_millis(20);

/// What a node is, with what it then has to remember.
#[derive(Debug)]
pub(super) enum Role {
    /// Asks and listens whether a station is on air.
    Founding {
        /// When to ask again.
        ask_at: Option<Instant>,
        /// Until when to listen.
        until: Instant,
        /// Until when to listen at most, as others found, too.
        until_at_most: Instant,
        /// A station whose packets were heard, and when last; its heartbeat will say more.
        media_heard: Option<(StationId, Instant)>,
    },
    /// Has nothing to send, and hears no station that it is to follow.
    Waiting {
        /// The one to follow, if it comes.
        station: Option<StationId>,
        since: Instant,
    },
    /// Another node is on air.
    Following(Box<Following>),
    /// On air.
    Leading { lead: Lead, phase: Phase },
    /// The programme has ended; listeners play out what they have.
    Over {
        lead: Lead,
        next: FrameIndex,
        reason: EndReason,
        beat_at: Instant,
        beats_left: u32,
        until: Instant,
    },
    /// Off the air for good.
    Gone,
}

/// Whether frames are on air.
#[derive(Debug)]
pub(super) enum Phase {
    /// The source has not enough; frame indices stand still.
    Idle { next: FrameIndex },
    /// A run is on air.
    Playing(Pacer),
}

impl Role {
    pub(super) fn founding(now: Instant) -> Role {
        Role::Founding {
            ask_at: Some(now + ASK_AGAIN_AFTER),
            until: now + LISTEN,
            until_at_most: now + LISTEN_AT_MOST,
            media_heard: None,
        }
    }

    pub(super) fn waiting(station: Option<StationId>, since: Instant) -> Role {
        Role::Waiting { station, since }
    }

    pub(super) fn lead(&self) -> Option<&Lead> {
        match self {
            Role::Leading { lead, .. } | Role::Over { lead, .. } => Some(lead),
            _ => None,
        }
    }

    pub(super) fn next(&self) -> Option<FrameIndex> {
        match self {
            Role::Leading {
                phase: Phase::Playing(pacer),
                ..
            } => Some(pacer.next()),
            Role::Leading {
                phase: Phase::Idle { next },
                ..
            }
            | Role::Over { next, .. } => Some(*next),
            _ => None,
        }
    }
}

impl Node {
    /// Whoever tuned in to the station that this node founded must hear that it is over, even if a packet is lost.
    pub(super) fn say_goodbye(&mut self) {
        self.become_over(EndReason::Left);
        for n in 1..LAST_BEATS {
            self.beat(None);
            // Later: a full queue somewhere would drop all of a burst.
            if let Some(goodbye) = self.outputs.pop_back() {
                let at = self.latest + LAST_BEATS_EVERY * n;
                self.goodbyes.push_back((at, goodbye));
            }
        }
        if self.frames_sent > 0 {
            let bye = rtcp::bye(self.config.station, &self.cname());
            self.outputs.push_back(Output::Rtcp(bye));
        }
        self.tell(Event::OffAir {
            reason: EndReason::Left,
        });
    }

    /// Sends the goodbyes that are due.
    pub(super) fn say_goodbye_again(&mut self) {
        while let Some((at, goodbye)) = self.goodbyes.pop_front() {
            if self.latest < at && !matches!(self.role, Role::Gone) {
                self.goodbyes.push_front((at, goodbye));
                return;
            }
            self.outputs.push_back(goodbye);
        }
    }

    /// Says that the programme is over, until the last frame has had time to play.
    pub(super) fn wind_up(&mut self) {
        if self.is_listening() {
            return;
        }
        let now = self.latest;
        let Role::Over {
            beat_at,
            beats_left,
            reason,
            ..
        } = &mut self.role
        else {
            return;
        };
        if now >= *beat_at {
            let every = if *reason == EndReason::Left {
                LAST_BEATS_EVERY
            } else {
                super::HEARTBEAT
            };
            while *beat_at <= now {
                *beat_at += every;
            }
            *beats_left = beats_left.saturating_sub(1);
            self.beat(None);
        }
        if let Role::Over {
            beats_left: 0,
            until,
            reason,
            ..
        } = self.role
            && now >= until
        {
            if self.config.sends || reason == EndReason::Left {
                return self.become_gone();
            }
            // A listener that led is one again: it takes over the next programme as well.
            self.say_over(reason);
            self.become_waiting(Some(self.config.station));
        }
    }

    fn say_over(&mut self, reason: EndReason) {
        if self.frames_sent > 0 {
            self.outputs
                .push_back(Output::Rtcp(rtcp::bye(self.config.station, &self.cname())));
        }
        self.tell(Event::OffAir { reason });
    }

    /// Nobody is on air: this node is. Its clock starts now.
    pub(super) fn become_leading(&mut self) {
        debug_assert!(matches!(self.role, Role::Founding { .. }));
        let first = self.config.first_frame;
        let term = Term {
            counter: 1,
            leader: self.config.node,
        };
        let starts_at = Slot(first.0);
        let clock = StationClock::new(self.latest, starts_at.due_us());
        let lease = Lease::voted(self.latest);
        let mut lead = Lead::new(term, first, clock, lease, self.latest);
        (lead.beat_due, lead.report_due, lead.is_founder) = (starts_at, starts_at, true);
        self.role = Role::Leading {
            lead,
            phase: Phase::Idle { next: first },
        };
        tracing::debug!(station = %self.config.station, %term, "leading: founded");
        self.tell(Event::OnAir {
            station: self.config.station,
            term,
        });
        self.tell(Event::Leader {
            term,
            reason: "founded",
        });
    }

    /// Nobody leads the station that this node follows, and the others agree (or there are none): it goes on from the frame
    /// after the last one that was on air, on the grid of the leader before it.
    pub(super) fn become_successor(
        &mut self,
        counter: u32,
        first: FrameIndex,
        reason: &'static str,
        lease: Lease,
    ) {
        self.stop_covering();
        let now = self.latest;
        let founds = self.is_candidate_founder();
        let plans = self.follows_itself();
        let is_doubted = self.is_leader_doubted();
        let synced = self.take_over_clock();
        let Role::Following(following) = &self.role else {
            debug_assert!(false, "only a follower succeeds");
            return;
        };
        let silence = now.since(following.heard_at);
        let first_slot = self.programme.slot(first).unwrap_or(Slot(first.0));
        // The station clock goes on as this node knows it; before it knows, as its leader's packets have shown it.
        let shown = following.clock();
        let fits = |synced: &StationClock| {
            is_doubted
                || shown.is_none_or(|shown| {
                    let arrives = synced.station_us(now) as i64 - shown.station_us(now) as i64;
                    is_plausible(arrives)
                })
        };
        let clock = synced
            .filter(fits)
            .or_else(|| Some(shown?.earlier_by(TRAVEL_US)))
            .filter(|_| !self.has(Flaw::OwnGrid))
            .unwrap_or(StationClock::new(now, first_slot.due_us()));
        if self.programme.size() == (0, 0) && !plans {
            // Its leader was gone before its plan came: what plays now begins where that one was.
            self.programme = Programme::new(first);
        }
        let term = Term {
            counter,
            leader: self.config.node,
        };
        let mut lead = Lead::new(term, first, clock, lease, now);
        lead.is_founder = founds;
        // The buffer and the quorum are the station's, not this node's.
        (self.config.buffer, self.config.quorum) = (following.buffer, following.quorum);
        lead.report_due = self.programme.slot(first).unwrap_or(lead.report_due);
        let phase = match self.programme.run_at(first) {
            Some(run) => Phase::Playing(Pacer::resume(clock, run, self.config.buffer, first)),
            None => Phase::Idle { next: first },
        };
        if reason != HANDED_OVER {
            self.roster.fall_silent(following.term.leader.short());
        }
        self.roster.begin_term();
        self.roster.forget_reports();
        self.role = Role::Leading { lead, phase };
        tracing::debug!(station = %self.config.station, %term, %first, reason, "leading");
        let reason = if founds {
            let station = self.config.station;
            self.tell(Event::OnAir { station, term });
            "founded"
        } else {
            self.tell(Event::TookOver {
                term,
                frame: first,
                silence,
            });
            reason
        };
        self.tell(Event::Leader { term, reason });
        self.fed = true;
        self.submit_to_self();
        self.order_heirs();
    }

    /// Another node leads this station.
    pub(super) fn become_following(
        &mut self,
        from: SocketAddr,
        beat: &Heartbeat,
        arrived: Instant,
    ) {
        if self.config.station != beat.station {
            self.become_waiting(Some(beat.station));
            self.submit_anew();
            self.config.station = beat.station;
            self.numbering = Numbering::of(beat.station);
        }
        let mut following = Following::new(beat.term, arrived);
        following.joined_at = Some(arrived);
        self.role = Role::Following(Box::new(following));
        self.tell(Event::Leader {
            term: beat.term,
            reason: "joined",
        });
        self.hello_at = self.latest;
        self.hear_beat(from, beat, arrived);
    }

    /// This node follows no station any more.
    pub(super) fn become_waiting(&mut self, station: Option<StationId>) {
        debug_assert!(!matches!(self.role, Role::Gone));
        self.stop_covering();
        self.role = Role::waiting(station, self.latest);
        // Its leader says more within 100 ms, if it has one; until then there is nobody to ask for what is lost.
        self.hello_at = self.latest + HEARTBEAT + FRAME;
        (self.wake_at, self.told_track) = (None, None);
        self.programme = Programme::new(FrameIndex(0));
        #[cfg(debug_assertions)]
        self.name_plan();
        self.seen = Seen::default();
        self.roster = Roster::default();
        self.copying = Copying::default();
        self.repairing = Repairing::default();
    }

    /// The programme ends before `next`.
    pub(super) fn become_over(&mut self, reason: EndReason) {
        let now = self.latest;
        let Role::Leading { lead, phase, .. } = &self.role else {
            debug_assert!(false, "only what is on air can be over");
            return;
        };
        let lead = lead.clone();
        let next = match phase {
            Phase::Playing(pacer) => {
                self.programme.end_run(pacer.next());
                pacer.next()
            }
            Phase::Idle { next } => *next,
        };
        let until = match self.programme.last_run() {
            Some(run) if reason == EndReason::Ended => {
                let end = Slot(run.starts_at.0 + run.end.unwrap_or(next).since(run.first));
                lead.clock.local(end) + self.config.buffer + PLAY_OUT_MARGIN
            }
            _ => now,
        };
        tracing::debug!(term = %lead.term, ?reason, "over");
        self.role = Role::Over {
            lead,
            next,
            reason,
            beat_at: now,
            beats_left: LAST_BEATS,
            until,
        };
        self.wind_up();
    }

    /// The end of this node; standard players are told, if they heard anything.
    pub(super) fn become_gone(&mut self) {
        let role = std::mem::replace(&mut self.role, Role::Gone);
        self.say_goodbye_again();
        debug_assert!(!matches!(role, Role::Leading { .. } | Role::Gone));
        (self.wake_at, self.fed, self.relieved) = (None, false, None);
        if let Role::Over { reason, .. } = role {
            self.say_over(reason);
        }
        self.tell(Event::Done);
    }
}
