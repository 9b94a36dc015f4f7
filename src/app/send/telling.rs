//! What does a sender tell: of what its node decided, once a second to scripts, to the others and to people?

use serde_json::json;

use super::Sender;
use crate::app::console::{Console, Kind, Status, title_of};
use crate::app::device_feed::InStep;
use crate::app::events::{StatsState, reason_word, stats_json};
use crate::app::fares::audience;
use crate::app::monitor::Monitor;
use crate::io::terminal::sanitize;
use crate::station::node::Event;
use crate::wire::FRAME;
use crate::wire::report::Report;

impl Sender<'_> {
    pub(super) fn tell(&mut self, event: Event, console: &mut dyn Console) {
        match event {
            Event::OnAir { station, term } => {
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
                self.session.events.track(&title, &artist, first_frame.0);
                console.note(&format!("now playing: {}", title_of(&title, &artist)));
            }
            Event::OffAir { reason } => {
                self.session.events.off_air(reason_word(reason));
                console.note(&format!("off air: {}", reason_word(reason)));
                let founds = self.member.node.is_founding();
                if founds {
                    console.note(
                        "what is sent here had no place in it, and plays on a station of its own",
                    );
                }
                self.done |= !founds && self.member.node.followed_term().is_none();
            }
            Event::Warning(text) => self.session.warn(console, &sanitize(&text)),
            Event::Joined {
                name,
                title,
                artist,
                station,
                addr,
            } => {
                let what = title_of(&title, &artist);
                let what = if what.is_empty() {
                    "nothing yet".into()
                } else {
                    format!("\"{what}\"")
                };
                let text = format!(
                    "station {station} is on air, led by {name} ({addr}), playing {what}: what is sent here plays after that"
                );
                console.note(&sanitize(&text));
            }
            Event::Busy { station } => {
                self.busy = Some(format!(
                    "station busy: another node plays on {} (station {station}), and does not answer on its control port; is UDP \
                     port {} open? Or choose another --group",
                    self.session.group,
                    self.session.group.port() + 2
                ));
            }
            Event::Safe {
                track,
                title,
                artist,
                nodes,
            } => {
                let fields = json!({ "track": track.to_string(), "title": title, "artist": artist, "nodes": nodes });
                let others = if nodes == 1 { "node" } else { "nodes" };
                let title = title_of(&title, &artist);
                // Before the event: who acts on that finds this said.
                console.note(&format!("{title}: safe on {nodes} other {others}"));
                self.session.events.write("safe", fields);
            }
            Event::Idle => console.note("waiting for the source"),
            Event::Done => {
                self.done = true;
                if self.departs {
                    console.note("left; what was sent from here plays on (lanradio stop ends it for everybody)");
                }
            }
            // Told already, as every member does.
            _ => {}
        }
    }

    pub(super) fn every_second(&mut self, console: &mut dyn Console) {
        self.session.look_after(console);
        self.member.look_after(&mut self.session, console);
        let mut statistics = self.statistics.clone();
        if let Some(monitor) = &mut self.monitor {
            monitor.judge(&mut self.session, console);
            statistics.add(&monitor.statistics());
        }
        statistics.add_reasons(&self.member.rejected());
        let lately = self.recent.update(&statistics, self.session.clock.now());
        let jitter_us = self.monitor.as_ref().map_or(0, Monitor::jitter_us);
        let in_step = self.monitor.as_ref().and_then(Monitor::in_step);
        self.member.node.set_report(Report {
            listens: self.monitor.is_some(),
            jitter_us: u32::try_from(jitter_us).unwrap_or(u32::MAX),
            buffer_ms: self.buffer().as_millis() as u32,
            replica_percent: self.member.replica_percent(),
            timing: in_step.map(InStep::timing),
            ..statistics.report(lately)
        });
        let state = StatsState {
            buffer_ms: self.buffer().as_millis() as u64,
            term: self.member.node.followed_term(),
            jitter_ms: jitter_us as f64 / 1000.0,
            drift_ppm: in_step.map(|in_step| in_step.drift_ppm),
            sync_us: in_step.map(|in_step| in_step.error_us),
        };
        let mut stats = stats_json(&statistics, state);
        stats["sent"] = json!(self.member.node.frames_sent());
        stats["skipped"] = json!(self.member.node.skipped());
        self.session.events.write("stats", stats);
        self.show_status(console);
    }

    fn show_status(&mut self, console: &mut dyn Console) {
        let Some(playing) = self.member.node.playing() else {
            return;
        };
        let in_step = self.monitor.as_ref().and_then(Monitor::in_step);
        let ahead = self.taken.saturating_sub(self.member.node.frames_sent());
        console.status(&Status {
            title: &sanitize(&title_of(&playing.title, &playing.artist)),
            position: playing.position,
            length: playing.duration,
            leader: &sanitize(self.member.node.leader_name()),
            audience: audience(&self.member.node),
            kind: Kind::Send {
                sent: self.member.node.frames_sent(),
                ahead: FRAME * ahead as u32,
                encoded: self.packets.is_none(),
                sync_us: in_step.map(|in_step| in_step.error_us),
            },
        });
    }
}
