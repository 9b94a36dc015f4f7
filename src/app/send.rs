//! `lanradio send`: one thread that owns the node and the sockets, beside the encoder's.
//!
//! It wakes for the next frame and does everything else in the same wake-up: taking packets from the encoder, heartbeats,
//! draining what came back. Only while there is something to encode and nothing to send does it look at the encoder by time.

mod telling;

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use super::console::Console;
use super::encoder::{self, Encoded, MAX_HELD_BYTES};
use super::error::AppError;
use super::member::{HANDING_OVER, Member, MemberConfig};
use super::monitor::Monitor;
use super::session::{CommonConfig, Session};
use crate::io::sockets::{Channel, Join, MAX_DATAGRAM, Received};
use crate::media::opus::EncoderConfig;
use crate::playout::recent::Recent;
use crate::playout::statistics::Statistics;
use crate::playout::store::Via;
use crate::station::node::Repaired;
use crate::time::Instant;
use crate::wire::FRAME;
use crate::wire::control::Message;
use crate::wire::media::{MediaError, MediaPacket};

/// How often the encoder is looked at.
const LOOK: Duration = FRAME;
/// Packets taken from the encoder in one wake-up: more than it makes in the time between.
const TAKE: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);

/// What `send` was asked to do.
#[derive(Clone, Debug)]
pub struct SendConfig {
    /// What all commands share.
    pub common: CommonConfig,
    /// Files in order; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Play the list for ever.
    pub looped: bool,
    /// Bitrate and effort.
    pub encoder: EncoderConfig,
    /// The station's buffer.
    pub buffer: Duration,
    /// What is on air is played here, too.
    pub listens: bool,
}

/// Runs until the programme has been heard to its end, or Ctrl-C.
///
/// # Errors
/// If it cannot begin, if another station is on air, or if a file could not be played.
pub fn run(config: &SendConfig, console: &mut dyn Console) -> Result<(), AppError> {
    let packets = encoder::start(config.files.clone(), config.encoder)?;
    let mut session = Session::begin(&config.common, Join::STATION, console)?;
    session.judge_buffer(Some(config.buffer), console);
    let member = MemberConfig {
        sends: true,
        standby: true,
        priority: 0,
        cache_bytes: MAX_HELD_BYTES,
        http: config.common.http,
        quorum: config.common.quorum,
        buffer: config.buffer,
        looped: config.looped,
        found: super::debug::found()?,
    };
    let member = Member::start(&member, &mut session, console)?;
    let monitor = match config.listens {
        true => Some(Monitor::open(config.buffer, &session)?),
        false => None,
    };
    let mut sender = Sender {
        session,
        member,
        monitor,
        packets: Some(packets),
        config,
        statistics: Statistics::default(),
        recent: Recent::default(),
        taken: 0,
        file: 0,
        problems: 0,
        tracks_seen: 0,
        busy: None,
        foreign_told: false,
        departs: false,
        own_end: None,
        done: false,
    };
    sender.run(console)?;
    sender.finish(console)
}

struct Sender<'a> {
    session: Session,
    member: Member,
    monitor: Option<Monitor>,
    /// From the encoder; none once the list is through.
    packets: Option<Receiver<Encoded>>,
    config: &'a SendConfig,
    statistics: Statistics,
    /// What was counted in the last ten seconds, for the others.
    recent: Recent,
    /// Frames taken from the encoder.
    taken: u64,
    /// Which of the files is being encoded.
    file: usize,
    /// Files of which nothing was played.
    problems: usize,
    tracks_seen: usize,
    busy: Option<String>,
    foreign_told: bool,
    /// It follows, and waits until others have what it sends.
    departs: bool,
    /// Since when all that this node came to send is over, under another leader.
    own_end: Option<Instant>,
    done: bool,
}

impl Sender<'_> {
    fn run(&mut self, console: &mut dyn Console) -> Result<(), AppError> {
        let mut buffer = [0u8; MAX_DATAGRAM];
        let mut next_second = self.session.started + SECOND;
        let mut leaving = false;
        loop {
            let now = self.session.clock.now();
            self.take_packets(console)?;
            if let Some(monitor) = &self.monitor {
                monitor.ask(&mut self.member, now);
            }
            self.member.turn(&mut self.session, console);
            self.act(console);
            self.drain(&mut buffer);
            self.act(console);
            if let Some(monitor) = &mut self.monitor {
                monitor.play(&mut self.session, console);
            }
            if now >= next_second {
                next_second = now + SECOND;
                self.every_second(console);
                self.notice_own_end(now, console);
            }
            if self.done || self.session.events.is_closed() || self.nothing_to_play() {
                return Ok(());
            }
            if self.session.signals.stop_asked() {
                self.end_standard_input(console)?;
                if !std::mem::replace(&mut leaving, true) {
                    self.leave(console);
                    continue;
                }
            }
            let plays = self.monitor.as_ref().and_then(Monitor::poll_timeout);
            let next = self.member.poll_timeout().into_iter().chain(plays).min();
            let mut until = next.map_or(next_second, |at| at.min(next_second));
            if self.packets.is_some() {
                until = until.min(now + LOOK);
            }
            self.session.wait(until);
            self.drain(&mut buffer);
        }
    }

    /// Who is asked to leave does not wait for a pipe that may never end: what has come through it by now is all of it. What
    /// comes after it in the list is encoded as ever.
    fn end_standard_input(&mut self, console: &mut dyn Console) -> Result<(), AppError> {
        while self.packets.is_some() && self.reads_standard_input() {
            let encoded = self.packets.as_ref().map(Receiver::try_recv);
            if let Some(Ok(encoded)) = encoded {
                self.take(encoded, console)?;
                continue;
            }
            self.packets = None; // the encoder's thread ends with the pipe, or with this process
            self.take(Encoded::TrackEnd, console)?;
            match self.config.files.get(self.file..).unwrap_or_default() {
                [] => self.take(Encoded::ListEnd, console)?,
                rest => self.packets = Some(encoder::start(rest.to_vec(), self.config.encoder)?),
            }
        }
        Ok(())
    }

    fn reads_standard_input(&self) -> bool {
        let file = self.config.files.get(self.file);
        file.is_some_and(|file| file.as_os_str() == "-")
    }

    /// Leaves at once, or says what it waits for.
    fn leave(&mut self, console: &mut dyn Console) {
        let leads = self.member.node.term().is_some();
        self.member.node.handle_leave(self.session.clock.now());
        if !self.member.node.is_leaving() {
            return;
        }
        let music = self.member.node.unsafe_music(&self.member.library);
        let finishing = match music.as_millis().div_ceil(1_000) {
            0 if self.packets.is_some() => "finishing what is still to be encoded; ".into(),
            0 => String::new(),
            seconds => format!("finishing {seconds} s of music that no other node has yet; "),
        };
        let then = if leads {
            HANDING_OVER
        } else {
            "Ctrl-C again to leave now"
        };
        self.departs = !leads;
        console.note(&format!("{finishing}{then}"));
    }

    /// What this node came to send is over, and others send, or could go on with what plays.
    fn notice_own_end(&mut self, now: Instant, console: &mut dyn Console) {
        let node = &mut self.member.node;
        let leads = node.has_led_to_own_end();
        let over = self.packets.is_none() && (node.has_followed_to_own_end() || leads);
        let since = over.then(|| self.own_end.unwrap_or(now));
        self.own_end = since;
        let played = self.buffer() + SECOND;
        if since.is_none_or(|since| now.since(since) < played) {
            return;
        }
        if !leads {
            self.done = true;
        } else if !self.member.node.is_leaving() {
            self.leave(console);
        }
    }

    /// Every file turned out to be unplayable before anything was sent.
    fn nothing_to_play(&self) -> bool {
        self.packets.is_none() && self.tracks_seen == 0
    }

    fn take_packets(&mut self, console: &mut dyn Console) -> Result<(), AppError> {
        if !self.member.make_room() {
            return Ok(());
        }
        for _ in 0..TAKE {
            let Some(packets) = &self.packets else {
                return Ok(());
            };
            match packets.try_recv() {
                Ok(encoded) => self.take(encoded, console)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return self.end_without_encoder(console),
            }
        }
        Ok(())
    }

    /// The encoder's thread has panicked: what it made is played to its end.
    fn end_without_encoder(&mut self, console: &mut dyn Console) -> Result<(), AppError> {
        self.packets = None;
        self.member.node.source_finished();
        self.take(Encoded::TrackEnd, console)?;
        let text = "the encoder failed, by a fault of lanradio (please report the lines above): the programme ends with what is \
                    encoded; to play the rest, leave out the file that it failed at";
        let (text, skipped) = (text.into(), true);
        self.take(Encoded::Problem { text, skipped }, console)
    }

    fn take(&mut self, encoded: Encoded, console: &mut dyn Console) -> Result<(), AppError> {
        match encoded {
            Encoded::Track { id, title, artist } => {
                self.tracks_seen += 1;
                self.member.library.begin(id);
                self.member.node.add_track(id, &title, &artist);
            }
            Encoded::Packet(packet) => {
                self.taken += 1;
                if self.member.library.push(&packet).is_some() {
                    self.member.node.track_grew();
                }
            }
            Encoded::TrackEnd => {
                self.file += 1;
                if let Some((id, frames, digest)) = self.member.library.finish() {
                    self.member.node.track_finished(id, frames, Some(digest.0));
                }
            }
            Encoded::Problem { text, skipped } => {
                self.problems += usize::from(skipped);
                self.file += usize::from(skipped);
                self.session.warn(console, &text);
            }
            Encoded::ListEnd
                if self.config.looped
                    && self.member.library.dropped_any()
                    && self.can_read_again() =>
            {
                // Too long to be held: every lap is encoded anew.
                self.member.node.play_once();
                self.file = 0;
                self.packets = Some(encoder::start(
                    self.config.files.clone(),
                    self.config.encoder,
                )?);
            }
            Encoded::ListEnd => {
                self.packets = None;
                self.member.node.source_finished();
            }
        }
        Ok(())
    }

    fn can_read_again(&self) -> bool {
        !self.config.files.iter().any(|file| file.as_os_str() == "-")
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        while let Some(received) = self.session.sockets.receive(buffer) {
            if received.from != self.session.sockets.local_addr() {
                self.handle_datagram(&received, &buffer[..received.len]);
            }
        }
    }

    fn handle_datagram(&mut self, received: &Received, bytes: &[u8]) {
        let now = self.session.clock.now();
        if received.truncated {
            return self.statistics.reject("oversized");
        }
        match received.channel {
            Channel::Media => match MediaPacket::parse(bytes) {
                Ok(packet) => {
                    self.member.hear_media(&packet, received.arrived, now);
                    if let Some(monitor) = &mut self.monitor
                        && packet.station == self.member.node.config().station
                    {
                        monitor.hear_media(&packet, received.arrived, now);
                    }
                }
                Err(error) => {
                    self.foreign_told |= matches!(error, MediaError::Foreign(_));
                    self.statistics.reject(error.reason());
                }
            },
            Channel::Rtcp => {} // not joined
            Channel::Control | Channel::Unicast => match Message::parse(bytes) {
                // It plays nothing, but what others repair counts against what it may repair.
                Ok(Message::Repair(repair)) => match MediaPacket::parse(&repair.packet) {
                    Ok(packet) => {
                        let group = received.channel == Channel::Control;
                        let heard = (self.member).hear_repair(received.from, &packet, group, now);
                        if heard == Repaired::Refused {
                            return self.statistics.reject("unasked");
                        }
                        let via = if group { Via::Multicast } else { Via::Unicast };
                        if let Some(monitor) = &mut self.monitor {
                            let how = (via, heard.after());
                            monitor.hear_repair(&packet, how, received.arrived, now);
                        }
                    }
                    Err(error) => self.statistics.reject(error.reason()),
                },
                Ok(message) => {
                    if let Some(monitor) = &mut self.monitor
                        && let Message::Heartbeat(beat) = &message
                        && beat.station == self.member.node.config().station
                    {
                        monitor.hear_heartbeat(beat, received.arrived, now);
                    }
                    self.member.hear_control(received, &message, now);
                }
                Err(error) => self.statistics.reject(error.reason()),
            },
        }
    }

    /// Does what the node decided.
    fn act(&mut self, console: &mut dyn Console) {
        let done = self.member.act(&mut self.session, console);
        if let Some(monitor) = &mut self.monitor {
            monitor.hear_own(&done, &self.member, self.session.clock.now());
        }
        for event in done.events {
            self.tell(event, console);
        }
    }

    /// The station's buffer; until it is known, the one that was asked for.
    fn buffer(&self) -> Duration {
        let stations = self.member.node.station_buffer();
        stations.unwrap_or(self.config.buffer)
    }

    fn finish(mut self, console: &mut dyn Console) -> Result<(), AppError> {
        if let Some(text) = self.busy.take() {
            console.finish();
            return Err(AppError::Busy(text));
        }
        self.every_second(console);
        console.finish();
        if let Some(monitor) = self.monitor.take() {
            monitor.finish(&mut self.session);
        }
        match (self.problems, self.tracks_seen) {
            (0, _) => Ok(()),
            (_, 0) => Err(AppError::Files("nothing to play".into())),
            (1, _) => Err(AppError::Files("1 file was skipped, see above".into())),
            (n, _) => Err(AppError::Files(format!(
                "{n} files were skipped, see above"
            ))),
        }
    }
}
