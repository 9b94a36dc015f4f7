//! `lanradio listen`: one thread that drains the sockets, asks the player what to do, decodes, and hands blocks to the output.
//!
//! It wakes once a frame: play-out deadlines may be met up to 4 ms (`SLACK`) late, so that the packet that arrives at about the same
//! time does not cost a second wake-up. What counts as late is decided by the player, in exact time.

use std::time::Duration;

use serde_json::json;

use super::console::{Console, Kind, Status, title_of};
use super::error::AppError;
use super::events::{StatsState, stats_json};
use super::foreign::ForeignVoice;
use super::output::{Output, OutputConfig};
use super::session::{CommonConfig, Session};
use super::speaker::DeviceNews;
use crate::io::sockets::{Channel, Join, MAX_DATAGRAM, Received};
use crate::media::opus::{Decoder, FRAME_VALUES};
use crate::playout::dial::Dial;
use crate::playout::fade::{self, Concealment};
use crate::playout::player::{Config, Output as Decision, Player};
use crate::time::Instant;
use crate::wire::FrameIndex;
use crate::wire::control::{ControlError, Heartbeat, Message};
use crate::wire::foreign::ForeignPacket;
use crate::wire::media::{MediaError, MediaPacket};
use crate::wire::rtcp;

/// How late a deadline may be met for the sake of fewer wake-ups.
const SLACK: Duration = Duration::from_millis(4);
const SECOND: Duration = Duration::from_secs(1);

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
    /// This listener's own buffer.
    pub buffer: Option<Duration>,
}

/// Runs until Ctrl-C, the end of a programme with `once`, or a failure.
///
/// # Errors
/// If it cannot begin, if no station was heard in time, or if the output failed on the way.
pub fn run(config: &ListenConfig, console: &mut dyn Console) -> Result<(), AppError> {
    config.output.check()?;
    let mut session = Session::begin(&config.common, Join::ALL, console)?;
    let output = Output::open(&config.output, config.volume, session.waiter.waker())?;
    session.judge_buffer(config.buffer, console);
    let mut listener = Listener {
        dial: Dial::new(Config {
            buffer_override: config.buffer,
            ..Config::default()
        }),
        voice: Voice {
            decoder: Decoder::new()?,
            block: [0.0; FRAME_VALUES],
            silent: false,
        },
        foreign: ForeignVoice::new()?,
        output,
        once: config.once,
        heard: false,
        over: false,
        leaving: false,
        title: String::new(),
        unknown_control_told: false,
        session,
    };
    let outcome = listener.run(config.timeout, console);
    listener.finish(outcome, console)
}

/// The decoder and the block that it writes to.
struct Voice {
    decoder: Decoder,
    block: [f32; FRAME_VALUES],
    /// The last block ended in silence, for want of a packet or of one that decodes.
    silent: bool,
}

struct Listener {
    session: Session,
    dial: Dial,
    voice: Voice,
    foreign: ForeignVoice,
    output: Output,
    once: bool,
    /// A station was heard at least once.
    heard: bool,
    /// With `once`: the programme has ended.
    over: bool,
    /// What is played now is the last block.
    leaving: bool,
    title: String,
    unknown_control_told: bool,
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
            let deadline = self.dial.poll_timeout().map(|at| at + SLACK);
            let mut until = deadline.map_or(next_second, |at| at.min(next_second));
            if let Some(at) = give_up.filter(|_| !self.heard) {
                until = until.min(at);
            }
            self.session.sockets.wait(&self.session.waiter, Some(until));
            while let Some(received) = self.session.sockets.receive(&mut buffer) {
                self.handle_datagram(&received, &buffer[..received.len], console);
                self.act(console);
            }
            let now = self.session.clock.now();
            self.dial.handle_timeout(now);
            self.act(console);
            self.tell_of_the_device(console);
            if now >= next_second {
                next_second = now + SECOND;
                self.every_second(&mut waiting, now, console);
            }
            if self.over
                || self.session.signals.stop_asked()
                || self.output.is_closed()
                || self.session.events.is_closed()
            {
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

    fn handle_datagram(&mut self, received: &Received, bytes: &[u8], console: &mut dyn Console) {
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
                Ok(Message::Heartbeat(beat)) => drop(self.dial.handle_heartbeat(
                    &clean(*beat),
                    received.arrived,
                    now,
                )),
                Ok(Message::Hello(_)) => {}
                Err(error) => self.reject_control(&error, console),
            },
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

    /// Does what the player decided.
    fn act(&mut self, console: &mut dyn Console) {
        while let Some(decision) = self
            .dial
            .player_mut()
            .and_then(|player| player.poll_output())
        {
            match decision {
                Decision::Reset => self.voice.decoder.reset(),
                Decision::Preroll { index } => self.decode_unheard(index),
                Decision::Play { index } => self.play(index),
                Decision::Conceal { index, concealment } => self.conceal(index, concealment),
                Decision::TunedIn { first } => {
                    let ms = self
                        .session
                        .clock
                        .now()
                        .since(self.session.started)
                        .as_millis() as u64;
                    self.session
                        .events
                        .write("tuned_in", json!({ "frame": first.0, "ms": ms }));
                }
                Decision::Track(track) => {
                    self.title = title_of(&track.title, &track.artist);
                    self.session
                        .events
                        .track(&track.title, &track.artist, track.first.0);
                    console.note(&format!("now playing: {}", self.title));
                }
                Decision::Leader { term, reason } => {
                    if let Some(player) = self.dial.player().filter(|_| reason == "first") {
                        self.session.events.on_air(player.station(), term);
                    }
                    self.session.events.leader(term, reason);
                    self.output.prepare();
                    self.heard = true;
                }
                Decision::OffAir { reason } => {
                    // What plays next is a beginning, not the end of a hole.
                    self.voice.silent = false;
                    self.output.pause();
                    self.session.events.off_air(reason.as_str());
                    console.note(&format!("off air: {}", reason.as_str().replace('_', " ")));
                    self.over = self.once;
                }
            }
            self.heard |= self.dial.player().is_some();
        }
        if self.dial.player().is_some_and(Player::is_resting) {
            self.output.pause();
        }
        let told = self.foreign.act(
            self.dial.foreign_mut(),
            &mut self.output,
            self.leaving,
            (&mut self.session, console),
        );
        self.heard |= told.heard;
        self.over |= told.over && self.once;
    }

    fn decode(&mut self, index: FrameIndex) -> bool {
        let payload = self.dial.player().and_then(|player| player.payload(index));
        payload.is_some_and(|payload| {
            self.voice
                .decoder
                .decode(payload, &mut self.voice.block)
                .is_ok()
        })
    }

    /// Brings the decoder to where it would be if it had listened all along; a hole there is a hole, too.
    fn decode_unheard(&mut self, index: FrameIndex) {
        if !self.decode(index) {
            drop(self.voice.decoder.conceal(&mut self.voice.block));
        }
    }

    fn play(&mut self, index: FrameIndex) {
        if !self.decode(index) {
            let concealment = self
                .dial
                .player_mut()
                .map_or(Concealment::Silence, |player| player.undecodable(index));
            return self.conceal(index, concealment);
        }
        if std::mem::take(&mut self.voice.silent) {
            fade::fade_in_5ms(&mut self.voice.block);
        }
        self.write_block(index);
    }

    fn conceal(&mut self, index: FrameIndex, concealment: Concealment) {
        let spoken = match concealment {
            Concealment::Extrapolate { .. } => {
                self.voice.decoder.conceal(&mut self.voice.block).is_ok()
            }
            Concealment::Silence => false,
        };
        if spoken {
            concealment.apply(&mut self.voice.block);
            self.write_block(index);
        } else {
            let late_us = self.late_us(index);
            self.output.write_silence(late_us);
        }
        self.voice.silent = !spoken || concealment.ends_in_silence();
    }

    fn write_block(&mut self, index: FrameIndex) {
        if self.leaving {
            fade::fade_out_5ms(&mut self.voice.block);
        }
        let late_us = self.late_us(index);
        self.output.write(&mut self.voice.block, late_us);
    }

    /// How long ago the play time of frame `index` was.
    fn late_us(&self, index: FrameIndex) -> i64 {
        let play_time = self
            .dial
            .player()
            .and_then(|player| player.play_time(index));
        play_time.map_or(0, |at| self.session.clock.now().micros_after(at))
    }

    fn every_second(&mut self, waiting: &mut Waiting, now: Instant, console: &mut dyn Console) {
        self.session.look_after(console);
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

    fn tell_of_the_device(&mut self, console: &mut dyn Console) {
        while let Some(news) = self.output.poll_device() {
            let DeviceNews {
                state,
                name,
                reason,
            } = &news;
            let fields = json!({ "state": state, "name": name, "reason": reason });
            self.session.events.write("device", fields);
            match (*state, reason) {
                ("waiting", reason) => console.warn(&format!(
                    "no sound: {}; it plays as soon as the device is there (another one: --output, lanradio devices)",
                    reason.as_deref().unwrap_or(name)
                )),
                ("lost", _) => console.warn(&format!("the sound device {name} is gone; waiting for it")),
                _ => console.detail(&format!("playing on {name}")),
            }
        }
    }

    fn write_stats(&mut self) {
        let mut statistics = self.dial.statistics();
        statistics.underruns += self.output.underruns();
        let (player, foreign) = (self.dial.player(), self.dial.foreign());
        let foreign = foreign
            .is_on_air()
            .then(|| (foreign.buffer(), foreign.jitter_us()));
        let heard = player
            .map(|player| (player.buffer(), player.jitter_us()))
            .or(foreign);
        let state = heard.map_or_else(StatsState::default, |(buffer, jitter_us)| StatsState {
            buffer_ms: buffer.as_millis() as u64,
            jitter_ms: jitter_us as f64 / 1000.0,
            drift_ppm: None,
            sync_us: None,
            term: player.and_then(|player| player.term()),
        });
        self.session
            .events
            .write("stats", stats_json(&statistics, state));
    }

    fn show_status(&mut self, console: &mut dyn Console) {
        let statistics = self.dial.statistics();
        if self.foreign.show(self.dial.foreign(), &statistics, console) {
            return;
        }
        let Some(player) = self.dial.player().filter(|player| !player.is_off_air()) else {
            return;
        };
        let length = player
            .track()
            .and_then(|track| track.frames)
            .map(|frames| crate::wire::FRAME * frames as u32);
        console.status(&Status {
            title: &self.title,
            position: player.track_position().unwrap_or_default(),
            length,
            leader: player.leader_name(),
            kind: Kind::Listen {
                held: crate::wire::FRAME * player.buffered_frames() as u32,
                buffer: player.buffer(),
                statistics: &statistics,
            },
        });
    }

    /// Ends the sound without a click where it is heard, settles the counters, and waits for the writer.
    fn finish(
        mut self,
        outcome: Result<(), AppError>,
        console: &mut dyn Console,
    ) -> Result<(), AppError> {
        self.dial.handle_finish();
        self.leaving = true;
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

/// Text from the network is stripped of control characters before it goes anywhere.
fn clean(mut beat: Heartbeat) -> Heartbeat {
    use crate::io::terminal::sanitize;
    beat.name = sanitize(&beat.name);
    for track in beat.tracks.iter_mut().flatten() {
        track.title = sanitize(&track.title);
        track.artist = sanitize(&track.artist);
    }
    beat
}

/// What to say while nothing is heard: where we wait after 1 s, what may be wrong after 10 s.
struct Waiting {
    since: Instant,
    told: u32,
}

impl Waiting {
    fn new(since: Instant) -> Waiting {
        Waiting { since, told: 0 }
    }

    fn line(&mut self, now: Instant, session: &Session, foreign: u64) -> Option<String> {
        let waited = now.since(self.since);
        if self.told == 0 && waited >= SECOND {
            self.told = 1;
            return Some(format!(
                "waiting for a station on {} ({})",
                session.group,
                session.interface()
            ));
        }
        if self.told == 1 && waited >= SECOND * 10 {
            self.told = 2;
            if foreign > 0 {
                return Some(format!(
                    "no station is heard, but {foreign} RTP packets of another program on this group that lanradio cannot play: it \
                     plays Opus (of payload types 96 to 127)"
                ));
            }
            let hint = "still nothing heard. Is the sender on the same network and group? A firewall may drop UDP, Docker needs the \
                        host network, guest Wi-Fi keeps its guests apart, and --interface chooses another network";
            return Some(hint.into());
        }
        None
    }
}
