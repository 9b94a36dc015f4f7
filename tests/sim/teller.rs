//! What does a host tell its node of itself? As the program does: what its player counts, once a second.

use std::time::Duration;

use lanradio::playout::dial::Dial;
use lanradio::playout::recent::Recent;
use lanradio::time::Instant;
use lanradio::wire::report::Report;

/// What a host tells its node of itself once a second.
#[derive(Default)]
pub(crate) struct Teller {
    recent: Recent,
    told_at: Option<Instant>,
}

impl Teller {
    /// What is to be told now, if it is time.
    pub(crate) fn tell(&mut self, dial: Option<&Dial>, now: Instant) -> Option<Report> {
        let told_at = self
            .told_at
            .filter(|at| now.since(*at) < Duration::from_secs(1));
        if told_at.is_some() {
            return None;
        }
        self.told_at = Some(now);
        let Some(dial) = dial else {
            return Some(Report::default());
        };
        let statistics = dial.statistics();
        let player = dial.player();
        let buffer = player.map(|player| player.buffer());
        let lately = self.recent.update(&statistics, now);
        Some(Report {
            jitter_us: player.map_or(0, |player| player.jitter_us() as u32),
            buffer_ms: buffer.map_or(0, |buffer| buffer.as_millis() as u32),
            ..statistics.report(lately)
        })
    }
}
