//! `lanradio listen`: one thread that drains the sockets, asks the player what to do, decodes, and hands blocks to the output.
//!
//! It wakes once a frame: play-out deadlines may be met up to 4 ms (`SLACK`) late, so that the packet that arrives at about the same
//! time does not cost a second wake-up. What counts as late is decided by the player, in exact time.

mod hearing;
mod playing;
mod telling;

use std::time::Duration;

use super::console::Console;
use super::error::AppError;
use super::foreign::ForeignVoice;
use super::member::{HANDING_OVER, Member, MemberConfig};
use super::output::{Output, OutputConfig};
use super::session::{CommonConfig, Session};
use super::voice::Voice;
use super::waiting::Waiting;
use crate::io::sockets::{Join, MAX_DATAGRAM};
use crate::playout::dial::Dial;
use crate::playout::player::{BufferChoice, Config};
use crate::playout::recent::Recent;
use crate::playout::store::Via;
use crate::station::clock::StationClock;
use crate::station::node::Event;
use crate::time::Instant;
use crate::wire::control::{EndReason, Message};
use crate::wire::media::MediaPacket;
use crate::wire::{FrameIndex, StationId};
use hearing::clean;

/// How late a deadline may be met for the sake of fewer wake-ups.
const SLACK: Duration = Duration::from_millis(4);
const SECOND: Duration = Duration::from_secs(1);
/// What to do about a device that is not there.
const NO_DEVICE: &str = "another one: --output, lanradio devices";

/// What `listen` was asked to do.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// What all commands share.
    pub common: CommonConfig,
    /// Where the sound goes.
    pub output: OutputConfig,
    /// In percent.
    pub volume: u16,
    /// Exit when the programme ends.
    pub once: bool,
    /// Give up if nothing is heard in this time.
    pub timeout: Option<Duration>,
    /// The station's buffer, or this listener's own.
    pub buffer: BufferChoice,
    /// It is heard so many microseconds later than the others.
    pub delay_us: i64,
    /// It takes over if it has to.
    pub standby: bool,
    /// Its place among heirs that are as good; higher goes first.
    pub priority: i16,
    /// Memory for the copy of the programme, in bytes.
    pub cache_bytes: u64,
}

/// Runs until Ctrl-C, the end of a programme with `once`, or a failure.
///
/// # Errors
/// If it cannot begin, if no station was heard in time, or if the output failed on the way.
pub fn run(config: &ListenConfig, console: &mut dyn Console) -> Result<(), AppError> {
    config.output.check()?;
    let mut session = Session::begin(&config.common, Join::ALL, console)?;
    let output = Output::open(&config.output, config.volume, session.waiter.waker())?;
    let (own, shortest) = match config.buffer {
        BufferChoice::Station => (None, None),
        BufferChoice::Fixed(buffer) => (Some(buffer), Some(buffer)),
        // One that may be long is told of when it has become short.
        BufferChoice::Auto { max, .. } => (None, Some(max)),
    };
    let short_told = session.judge_buffer(shortest, console);
    let member = MemberConfig {
        sends: false,
        standby: config.standby,
        priority: config.priority,
        cache_bytes: config.cache_bytes,
        http: config.common.http,
        quorum: config.common.quorum,
        buffer: own.unwrap_or_default(),
        looped: false,
        found: (StationId(0), FrameIndex(0)),
    };
    let member = Member::start(&member, &mut session, console)?;
    let mut listener = Listener {
        dial: Dial::new(Config {
            buffer: config.buffer,
            delay_us: config.delay_us,
            lead: output.lead(),
            ..Config::default()
        }),
        voice: Voice::new()?,
        foreign: ForeignVoice::new()?,
        output,
        once: config.once,
        heard: false,
        tuned_to: None,
        short_told,
        over: false,
        leaving: false,
        title: String::new(),
        gone: false,
        leave_asked: false,
        unknown_control_told: false,
        recent: Recent::default(),
        member,
        session,
    };
    let outcome = listener.run(config.timeout, console);
    listener.finish(outcome, console)
}

struct Listener {
    session: Session,
    member: Member,
    dial: Dial,
    /// What was counted in the last ten seconds, for the others.
    recent: Recent,
    voice: Voice,
    foreign: ForeignVoice,
    output: Output,
    once: bool,
    /// A station was heard at least once.
    heard: bool,
    /// What its node was last told to follow.
    tuned_to: Option<StationId>,
    /// That the buffer is short was said.
    short_told: bool,
    /// With `once`: the programme has ended.
    over: bool,
    /// What is played now is the last block.
    leaving: bool,
    title: String,
    unknown_control_told: bool,
    /// The node led, and has handed over or ended the programme.
    gone: bool,
    /// It was asked to.
    leave_asked: bool,
}

impl Listener {
    fn run(
        &mut self,
        timeout: Option<Duration>,
        console: &mut dyn Console,
    ) -> Result<(), AppError> {
        let started = self.session.started;
        let give_up = timeout.map(|timeout| started + timeout);
        let mut waiting = Waiting::new(started);
        let mut next_second = started + SECOND;
        let mut buffer = [0u8; MAX_DATAGRAM];
        loop {
            let play = self.dial.poll_timeout().map(|at| at + SLACK);
            let deadline = play.into_iter().chain(self.member.poll_timeout()).min();
            let mut until = deadline.map_or(next_second, |at| at.min(next_second));
            if let Some(at) = give_up.filter(|_| !self.heard) {
                until = until.min(at);
            }
            self.session.wait(until);
            while let Some(received) = self.session.sockets.receive(&mut buffer) {
                self.handle_datagram(&received, &buffer[..received.len], console);
                self.act(console);
            }
            // What this node sends itself is heard before it is missed.
            self.take_part(console);
            let now = self.session.clock.now();
            self.dial.handle_timeout(now);
            self.act(console);
            self.output.tell(NO_DEVICE, &mut self.session, console);
            self.dial.handle_lead(self.output.lead());
            if now >= next_second {
                next_second = now + SECOND;
                self.every_second(&mut waiting, now, console);
            }
            let ends = self.over
                || self.session.signals.stop_asked()
                || self.output.is_closed()
                || self.session.events.is_closed();
            if ends && self.may_leave(console) {
                return Ok(());
            }
            if let Some(timeout) =
                timeout.filter(|timeout| !self.heard && now >= started + *timeout)
            {
                let interface = self.session.interface().to_string();
                return Err(AppError::NoStation {
                    timeout,
                    group: self.session.group,
                    interface,
                });
            }
        }
    }

    /// Does a node's part: follows the station that is heard, covers, claims, leads.
    fn take_part(&mut self, console: &mut dyn Console) {
        self.follow();
        let now = self.session.clock.now();
        let missing = self.dial.missing(now);
        self.member.node.handle_missing(&missing, now);
        self.member.turn(&mut self.session, console);
        let done = self.member.act(&mut self.session, console);
        self.play_by_the_clock();
        let now = self.session.clock.now();
        for bytes in done.media {
            if let Ok(packet) = MediaPacket::parse(&bytes)
                && self.dial.handle_media(&packet, now, now).is_ok()
            {
                self.output.prepare();
            }
        }
        for bytes in done.controls {
            if let Ok(Message::Heartbeat(beat)) = Message::parse(&bytes) {
                let _ = self.dial.handle_heartbeat(&clean(*beat), now, now);
            }
        }
        // What a node that keeps no replica has copied, it has copied as it hears nothing.
        let is_replica = self.member.node.config().standby;
        let via = if is_replica {
            Via::Replica
        } else {
            Via::Fetched
        };
        for bytes in done.repairs {
            if let Ok(packet) = MediaPacket::parse(&bytes) {
                let _ = self.dial.handle_repair(&packet, (via, None), now, now);
            }
        }
        for event in done.events {
            match event {
                Event::Warning(text) => self
                    .session
                    .warn(console, &crate::io::terminal::sanitize(&text)),
                Event::Done => self.gone = true,
                // It led, nobody could go on, and it will be gone before its own player says so.
                Event::OffAir {
                    reason: EndReason::Left,
                } if self.leave_asked => self.session.events.off_air("left"),
                // Of what is on air the player tells, when it is heard.
                _ => {}
            }
        }
        self.act(console);
    }

    /// What is played is played when it is due on the station clock, as far as the node knows it.
    fn play_by_the_clock(&mut self) {
        let node = &self.member.node;
        let (station, clock) = (node.config().station, node.station_clock());
        if let Some(player) = self.dial.player_mut() {
            let is_ours = player.station() == station;
            let clock = clock.filter(|_| is_ours);
            player.handle_clock(clock.map(StationClock::map));
        }
    }

    /// The node takes part in the station that is tuned in, and tells it at once how it will play.
    fn follow(&mut self) {
        let station = self.dial.player().map(|player| player.station());
        let before = std::mem::replace(&mut self.tuned_to, station);
        if station.is_some() && station != before {
            self.report();
        }
        self.member.node.follow(station);
    }

    /// A node that leads does not leave without handing over, or saying that the programme is over; then it stays for a moment, to
    /// cover for its successor.
    fn may_leave(&mut self, console: &mut dyn Console) -> bool {
        let node = &mut self.member.node;
        if self.gone || node.term().is_none() && !node.is_relieved() {
            return true;
        }
        // What is over ends by itself.
        if !self.over && !std::mem::replace(&mut self.leave_asked, true) {
            node.handle_leave(self.session.clock.now());
            if node.is_leaving() {
                console.note(HANDING_OVER);
            }
        }
        false
    }

    fn every_second(&mut self, waiting: &mut Waiting, now: Instant, console: &mut dyn Console) {
        self.session.look_after(console);
        self.member.look_after(&mut self.session, console);
        self.report();
        self.judge_buffer(console);
        if let Some(text) = self.output.poll_failure() {
            self.session.warn(console, &text);
        }
        if !self.heard
            && let Some(text) = waiting.line(now, &self.session, self.dial.unplayable())
        {
            console.note(&text);
        }
        self.write_stats();
        self.show_status(console);
    }

    /// One that adapts may become so short that a takeover is heard, which adapting does not foresee: that is said once.
    fn judge_buffer(&mut self, console: &mut dyn Console) {
        let player = self.dial.player().filter(|_| self.dial.adapts());
        if let Some(player) = player.filter(|_| !self.short_told) {
            self.short_told = (self.session).judge_adapted_buffer(player.buffer(), console);
        }
        self.output
            .judge(self.dial.player(), &mut self.session, console);
    }

    /// Ends the sound without a click where it is heard, settles the counters, and waits for the writer.
    fn finish(
        mut self,
        outcome: Result<(), AppError>,
        console: &mut dyn Console,
    ) -> Result<(), AppError> {
        self.dial.handle_finish();
        self.leaving = true;
        self.voice.leave();
        self.act(console);
        self.write_stats();
        console.finish();
        let (failed, untold) = self.output.finish();
        if let Some(text) = untold {
            console.warn(&text);
            self.session.events.warning(&text);
        }
        match outcome {
            Ok(()) if failed => Err(AppError::Files(
                "the output is incomplete, see above".into(),
            )),
            outcome => outcome,
        }
    }
}
