//! What does a listener tell: about its device, to the other nodes, once a second to scripts and to people?

use super::Listener;
use crate::app::console::{Console, Kind, Status};
use crate::app::device_feed::InStep;
use crate::app::events::{StatsState, stats_json};
use crate::app::fares::audience;
use crate::playout::Statistics;
use crate::wire::report::Report;

impl Listener {
    /// What others are told of this listener.
    pub(super) fn report(&mut self) {
        let mut statistics = self.statistics();
        statistics.add_reasons(&self.member.rejected());
        let lately = self.recent.update(&statistics, self.session.clock.now());
        let player = self.dial.player();
        let jitter_us = player.map_or(0, |player| player.jitter_us());
        let buffer = player.map(|player| player.buffer());
        let in_step = player.and(self.output.in_step());
        self.member.node.set_report(Report {
            jitter_us: u32::try_from(jitter_us).unwrap_or(u32::MAX),
            buffer_ms: buffer.map_or(0, |buffer| buffer.as_millis() as u32),
            replica_percent: self.member.replica_percent(),
            timing: in_step.map(InStep::timing),
            ..statistics.report(lately)
        });
    }

    /// What was counted since the start, by the players and by the output.
    fn statistics(&self) -> Statistics {
        let mut statistics = self.dial.statistics();
        statistics.underruns += self.output.underruns();
        statistics
    }

    pub(super) fn write_stats(&mut self) {
        let mut statistics = self.statistics();
        statistics.add_reasons(&self.member.rejected());
        let (player, foreign) = (self.dial.player(), self.dial.foreign());
        let foreign = foreign
            .is_on_air()
            .then(|| (foreign.buffer(), foreign.jitter_us()));
        let heard = player
            .map(|player| (player.buffer(), player.jitter_us()))
            .or(foreign);
        let in_step = self.output.in_step();
        let state = heard.map_or_else(StatsState::default, |(buffer, jitter_us)| StatsState {
            buffer_ms: buffer.as_millis() as u64,
            jitter_ms: jitter_us as f64 / 1000.0,
            drift_ppm: in_step.map(|in_step| in_step.drift_ppm),
            sync_us: in_step.map(|in_step| in_step.error_us),
            term: player.and_then(|player| player.term()),
        });
        self.session
            .events
            .write("stats", stats_json(&statistics, state));
    }

    pub(super) fn show_status(&mut self, console: &mut dyn Console) {
        let statistics = self.dial.statistics();
        let adapts = self.dial.adapts();
        let foreign = (self.dial.foreign(), adapts);
        if self.foreign.show(foreign, &statistics, console) {
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
            audience: audience(&self.member.node),
            kind: Kind::Listen {
                held: crate::wire::FRAME * player.buffered_frames() as u32,
                buffer: player.buffer(),
                adapts,
                sync_us: self.output.in_step().map(|in_step| in_step.error_us),
                statistics: &statistics,
            },
        });
    }
}
