//! What does a host tell its node of itself? As the program does: what its player counts, once a second, the first time a second after
//! its start; and when a station is tuned in.

use std::time::Duration;

use lanradio::playout::dial::Dial;
use lanradio::playout::recent::Recent;
use lanradio::time::Instant;
use lanradio::wire::StationId;
use lanradio::wire::report::Report;

/// What a host tells its node of itself.
#[derive(Default)]
pub(crate) struct Teller {
    recent: Recent,
    /// When it told last once a second; before the first time, when it started.
    told_at: Option<Instant>,
    tuned_to: Option<StationId>,
}

impl Teller {
    /// What is to be told now, if it is time.
    pub(crate) fn tell(&mut self, dial: Option<&Dial>, now: Instant) -> Option<Report> {
        let player = dial.and_then(Dial::player);
        let station = player.map(|player| player.station());
        let before = std::mem::replace(&mut self.tuned_to, station);
        let told_at = *self.told_at.get_or_insert(now);
        let is_time = now.since(told_at) >= Duration::from_secs(1);
        if is_time {
            self.told_at = Some(now);
        }
        if !is_time && (station.is_none() || station == before) {
            return None;
        }
        let Some(dial) = dial else {
            return Some(Report::default());
        };
        let statistics = dial.statistics();
        let lately = self.recent.update(&statistics, now);
        Some(Report {
            jitter_us: player.map_or(0, |player| player.jitter_us() as u32),
            buffer_ms: player.map_or(0, |player| player.buffer().as_millis() as u32),
            ..statistics.report(lately)
        })
    }
}
