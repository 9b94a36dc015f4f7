//! How does a sender hear its own station? As all others do: what it sends is played a buffer after it is due, on its own clock while
//! it leads and on the leader's while it follows (`send --listen`).

use std::time::Duration;

use serde_json::json;

use super::console::Console;
use super::device_feed::InStep;
use super::error::AppError;
use super::member::{Done, Member};
use super::output::{Output, OutputConfig};
use super::session::Session;
use super::voice::Voice;
use crate::io::sound::DeviceChoice;
use crate::playout::Statistics;
use crate::playout::dial::Dial;
use crate::playout::player::{Config, Output as Decision};
use crate::playout::store::Via;
use crate::station::clock::StationClock;
use crate::time::Instant;
use crate::wire::control::{Heartbeat, Message};
use crate::wire::media::MediaPacket;

/// In percent: samples are untouched.
const VOLUME: u16 = 100;
/// What to do about a device that is not there: a sender knows only the default one.
const NO_DEVICE: &str = "to send only: without --listen; on another one: lanradio listen --output beside it, see lanradio devices";

/// A player of the station that this node sends to.
pub(super) struct Monitor {
    dial: Dial,
    voice: Voice,
    output: Output,
}

impl Monitor {
    /// A player on the default sound device; that need not be there yet.
    ///
    /// # Errors
    /// If the system refuses a thread, or the decoder cannot be made.
    pub(super) fn open(buffer: Duration, session: &Session) -> Result<Monitor, AppError> {
        let device = OutputConfig::Device(DeviceChoice::Default);
        let output = Output::open(&device, VOLUME, session.waiter.waker())?;
        Ok(Monitor {
            dial: Dial::new(Config {
                default_buffer: buffer,
                lead: output.lead(),
                ..Config::default()
            }),
            voice: Voice::new()?,
            output,
        })
    }

    /// When there is something to play next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dial.poll_timeout()
    }

    /// A media packet of the station came from another node.
    pub(super) fn hear_media(&mut self, packet: &MediaPacket<'_>, arrived: Instant, now: Instant) {
        if self.dial.handle_media(packet, arrived, now).is_ok() {
            self.output.prepare();
        }
    }

    /// So did a frame that was missing.
    pub(super) fn hear_repair(
        &mut self,
        packet: &MediaPacket<'_>,
        how: (Via, Option<Duration>),
        arrived: Instant,
        now: Instant,
    ) {
        let _ = self.dial.handle_repair(packet, how, arrived, now);
    }

    /// The leader says what plays.
    pub(super) fn hear_heartbeat(&mut self, beat: &Heartbeat, arrived: Instant, now: Instant) {
        let _ = self.dial.handle_heartbeat(beat, arrived, now);
    }

    /// Tells the node what is missing, before it acts.
    pub(super) fn ask(&self, member: &mut Member, now: Instant) {
        let missing = self.dial.missing(now);
        member.node.handle_missing(&missing, now);
    }

    /// What the node has sent is heard here, too.
    pub(super) fn hear_own(&mut self, done: &Done, member: &Member, now: Instant) {
        let station = member.node.config().station;
        if let Some(player) = self.dial.player_mut() {
            let clock = member.node.station_clock();
            let clock = clock.filter(|_| player.station() == station);
            player.handle_clock(clock.map(StationClock::map));
        }
        for bytes in &done.media {
            if let Ok(packet) = MediaPacket::parse(bytes) {
                self.hear_media(&packet, now, now);
            }
        }
        for bytes in &done.controls {
            if let Ok(Message::Heartbeat(beat)) = Message::parse(bytes) {
                self.hear_heartbeat(&beat, now, now);
            }
        }
        for bytes in &done.repairs {
            if let Ok(packet) = MediaPacket::parse(bytes) {
                self.hear_repair(&packet, (Via::Replica, None), now, now);
            }
        }
    }

    /// Plays what it is time for.
    pub(super) fn play(&mut self, session: &mut Session, console: &mut dyn Console) {
        self.dial.handle_timeout(session.clock.now());
        self.speak(session);
        self.output.tell(NO_DEVICE, session, console);
        self.dial.handle_lead(self.output.lead());
    }

    fn speak(&mut self, session: &mut Session) {
        while let Some(decision) = self
            .dial
            .player_mut()
            .and_then(|player| player.poll_output())
        {
            let now = session.clock.now();
            if (self.voice).act(&decision, &mut self.dial, (&mut self.output, now)) {
                continue;
            }
            match decision {
                Decision::TunedIn { first } => {
                    let ms = now.since(session.started).as_millis() as u64;
                    let fields = json!({ "frame": first.0, "ms": ms });
                    session.events.write("tuned_in", fields);
                }
                Decision::Leader { .. } => self.output.prepare(),
                Decision::OffAir { .. } => {
                    self.voice.end();
                    self.output.pause();
                }
                // The node tells of what is on air itself.
                _ => {}
            }
        }
        match self.dial.player() {
            Some(player) if player.is_resting() => self.output.pause(),
            Some(player) if player.has_gap() => self.output.interrupt(),
            _ => {}
        }
    }

    /// Once a second.
    pub(super) fn judge(&mut self, session: &mut Session, console: &mut dyn Console) {
        self.output.judge(self.dial.player(), session, console);
    }

    /// What was counted since the start.
    pub(super) fn statistics(&self) -> Statistics {
        let mut statistics = self.dial.statistics();
        statistics.underruns += self.output.underruns();
        statistics
    }

    /// The jitter of what is heard, in µs.
    pub(super) fn jitter_us(&self) -> u64 {
        self.dial.player().map_or(0, |player| player.jitter_us())
    }

    /// How well what is heard is in step.
    pub(super) fn in_step(&self) -> Option<InStep> {
        self.output.in_step()
    }

    /// Ends the sound without a click, once all that is queued was heard.
    pub(super) fn finish(mut self, session: &mut Session) {
        self.dial.handle_finish();
        self.voice.leave();
        self.speak(session);
        self.output.finish();
    }
}
