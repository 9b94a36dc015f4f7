//! `lanradio send`: one thread that owns the node and the sockets, beside the encoder's.
//!
//! It wakes for the next frame and does everything else in the same wake-up: taking packets from the encoder, heartbeats,
//! draining what came back. Only while there is something to encode and nothing to send does it look at the encoder by time.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use serde_json::json;

use super::console::{Console, Kind, Status, title_of};
use super::encoder::{self, Encoded, MAX_HELD_BYTES};
use super::error::AppError;
use super::events::{StatsState, reason_word, stats_json};
use super::session::{CommonConfig, Session};
use super::tracks::Tracks;
use crate::io::sockets::{Channel, Join, MAX_DATAGRAM, Received};
use crate::media::opus::EncoderConfig;
use crate::playout::statistics::Statistics;
use crate::station::node::{Config, Event, Node, Output};
use crate::wire::control::Message;
use crate::wire::media::{MediaError, MediaPacket};
use crate::wire::{FRAME, TrackId};

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
}

/// Runs until the programme has been heard to its end, or Ctrl-C.
///
/// # Errors
/// If it cannot begin, if another station is on air, or if a file could not be played.
pub fn run(config: &SendConfig, console: &mut dyn Console) -> Result<(), AppError> {
    let packets = encoder::start(config.files.clone(), config.encoder)?;
    let mut session = Session::begin(&config.common, Join::STATION, console)?;
    session.judge_buffer(Some(config.buffer), console);
    let (station, first_frame) = super::debug::found()?;
    let node = Node::new(
        Config {
            node: session.node,
            name: session.name.clone(),
            station,
            buffer: config.buffer,
            looped: config.looped,
            first_frame,
        },
        session.clock.now(),
    );
    let mut sender = Sender {
        session,
        node,
        tracks: Tracks::new(MAX_HELD_BYTES),
        packets: Some(packets),
        config,
        statistics: Statistics::default(),
        taken: 0,
        problems: 0,
        tracks_seen: 0,
        title: String::new(),
        busy: None,
        foreign_told: false,
        send_failing: false,
        done: false,
    };
    sender.run(console)?;
    sender.finish(console)
}

struct Sender<'a> {
    session: Session,
    node: Node,
    tracks: Tracks,
    /// From the encoder; none once the list is through.
    packets: Option<Receiver<Encoded>>,
    config: &'a SendConfig,
    statistics: Statistics,
    /// Frames taken from the encoder.
    taken: u64,
    /// Files of which nothing was played.
    problems: usize,
    tracks_seen: usize,
    title: String,
    busy: Option<String>,
    foreign_told: bool,
    send_failing: bool,
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
            self.node.handle_timeout(now, &self.tracks);
            self.act(console);
            self.drain(&mut buffer);
            self.act(console);
            if now >= next_second {
                next_second = now + SECOND;
                self.every_second(console);
            }
            if self.done || self.session.events.is_closed() || self.nothing_to_play() {
                return Ok(());
            }
            if self.session.signals.stop_asked() && !leaving {
                leaving = true;
                self.node.handle_leave(self.session.clock.now());
                continue;
            }
            let mut until = self
                .node
                .poll_timeout()
                .map_or(next_second, |at| at.min(next_second));
            if self.packets.is_some() {
                until = until.min(now + LOOK);
            }
            self.session.sockets.wait(&self.session.waiter, Some(until));
            self.drain(&mut buffer);
        }
    }

    /// Every file turned out to be unplayable before anything was sent.
    fn nothing_to_play(&self) -> bool {
        self.packets.is_none() && self.tracks_seen == 0
    }

    fn take_packets(&mut self, console: &mut dyn Console) -> Result<(), AppError> {
        if !self.tracks.has_room(self.playing()) {
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
        self.node.source_finished();
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
                self.tracks.begin(id);
                self.node.add_track(id, &title, &artist);
            }
            Encoded::Packet(packet) => {
                self.taken += 1;
                if let Some((id, frames)) = self.tracks.push(&packet) {
                    self.node.track_grew(id, frames);
                }
            }
            Encoded::TrackEnd => {
                if let Some((id, frames)) = self.tracks.finish() {
                    self.node.track_finished(id, frames);
                }
            }
            Encoded::Problem { text, skipped } => {
                self.problems += usize::from(skipped);
                self.session.warn(console, &text);
            }
            Encoded::ListEnd
                if self.config.looped && self.tracks.dropped_any() && self.can_read_again() =>
            {
                // Too long to be held: every lap is encoded anew.
                self.packets = Some(encoder::start(
                    self.config.files.clone(),
                    self.config.encoder,
                )?);
            }
            Encoded::ListEnd => {
                self.packets = None;
                self.node.source_finished();
            }
        }
        Ok(())
    }

    /// The frame that is sent next: what comes before it may be dropped when memory is short.
    fn playing(&self) -> Option<(TrackId, u64)> {
        let next = self.node.next();
        let entry = self.node.programme().track_at(next)?;
        Some((entry.track, entry.from + next.since(entry.first)))
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
                Ok(packet) => self.node.handle_media(&packet, now),
                Err(error) => {
                    self.foreign_told |= matches!(error, MediaError::Foreign(_));
                    self.statistics.reject(error.reason());
                }
            },
            Channel::Rtcp => {} // not joined
            Channel::Control | Channel::Unicast => match Message::parse(bytes) {
                Ok(message) => self.node.handle_control(received.from, &message, now),
                Err(error) => self.statistics.reject(error.reason()),
            },
        }
    }

    /// Does what the node decided.
    fn act(&mut self, console: &mut dyn Console) {
        while let Some(output) = self.node.poll_output() {
            let sent = match output {
                Output::Media(bytes) => self.session.sockets.send_media(&bytes),
                Output::Rtcp(bytes) => self.session.sockets.send_rtcp(&bytes),
                Output::Control { to: None, bytes } => self.session.sockets.send_control(&bytes),
                Output::Control {
                    to: Some(to),
                    bytes,
                } => self.session.sockets.send_to(to, &bytes),
                Output::Event(event) => {
                    self.tell(event, console);
                    continue;
                }
            };
            match sent {
                Ok(()) => self.send_failing = false,
                Err(error) if !self.send_failing => {
                    self.send_failing = true;
                    let text = format!(
                        "sending on {}: {error}; it goes on when the network is back",
                        self.session.interface()
                    );
                    self.session.warn(console, &text);
                }
                Err(_) => {}
            }
        }
    }

    fn tell(&mut self, event: Event, console: &mut dyn Console) {
        match event {
            Event::OnAir { station, term } => {
                // From here on only control is listened to: the media port carries our own packets.
                self.session.sockets.leave_media();
                self.session.events.on_air(station, term);
                console.note(&format!(
                    "on air as {} (station {station})",
                    self.session.name
                ));
                if self.foreign_told {
                    self.session.warn(console, "another program sends RTP to this group; choose another --group for one of them");
                }
            }
            Event::Leader { term, reason } => self.session.events.leader(term, reason),
            Event::Track {
                title,
                artist,
                first_frame,
            } => {
                self.title = title_of(&title, &artist);
                self.session.events.track(&title, &artist, first_frame.0);
                console.note(&format!("now playing: {}", self.title));
            }
            Event::OffAir { reason } => {
                self.session.events.off_air(reason_word(reason));
                console.note(&format!("off air: {}", reason_word(reason)));
            }
            Event::Warning(text) => self
                .session
                .warn(console, &crate::io::terminal::sanitize(&text)),
            Event::Busy {
                name,
                title,
                artist,
                station,
                addr,
            } => {
                let what = title_of(&title, &artist);
                let what = if what.is_empty() {
                    "something".to_string()
                } else {
                    format!("\"{what}\"")
                };
                let who = if name.is_empty() {
                    "another node".to_string()
                } else {
                    name
                };
                let place = addr.map(|addr| format!(" ({addr})")).unwrap_or_default();
                let text = format!(
                    "station busy: {who}{place} plays {what} on {} (station {station}); stop it there, or choose another --group",
                    self.session.group
                );
                self.busy = Some(crate::io::terminal::sanitize(&text));
            }
            Event::Idle => console.note("waiting for the source"),
            Event::Done => self.done = true,
        }
    }

    fn every_second(&mut self, console: &mut dyn Console) {
        self.session.look_after(console);
        let state = StatsState {
            buffer_ms: self.config.buffer.as_millis() as u64,
            term: self.node.term(),
            ..StatsState::default()
        };
        let mut stats = stats_json(&self.statistics, state);
        stats["sent"] = json!(self.node.frames_sent());
        stats["skipped"] = json!(self.node.skipped());
        self.session.events.write("stats", stats);
        self.show_status(console);
    }

    fn show_status(&mut self, console: &mut dyn Console) {
        let Some(playing) = self.node.playing() else {
            return;
        };
        let ahead = self.taken.saturating_sub(self.node.frames_sent());
        console.status(&Status {
            title: &self.title,
            position: playing.position,
            length: playing.duration,
            leader: &self.session.name,
            kind: Kind::Send {
                sent: self.node.frames_sent(),
                ahead: FRAME * ahead as u32,
                encoded: self.packets.is_none(),
            },
        });
    }

    fn finish(mut self, console: &mut dyn Console) -> Result<(), AppError> {
        if let Some(text) = self.busy.take() {
            console.finish();
            return Err(AppError::Busy(text));
        }
        self.every_second(console);
        console.finish();
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
