//! What do scripts learn? One JSON object per line per event (DESIGN 5, "Events"), the same for every command.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::io::Written;
use crate::io::clock::Clock;
use crate::io::event_log::{EventLog, EventLogError};
use crate::playout::statistics::Statistics;
use crate::wire::control::EndReason;
use crate::wire::{StationId, Term};

/// Writes events, or nothing if nobody asked for them.
pub struct Events {
    log: Option<EventLog>,
    clock: Clock,
    closed: bool,
    trouble: Option<EventLogError>,
}

impl Events {
    /// Opens the file (or standard output, for `-`).
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Events, EventLogError> {
        let log = path.map(EventLog::open).transpose()?;
        Ok(Events {
            log,
            clock,
            closed: false,
            trouble: None,
        })
    }

    /// Whether the reader of standard output has gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The first failure to write, once.
    pub fn take_trouble(&mut self) -> Option<EventLogError> {
        self.trouble.take()
    }

    /// Writes one event: `fields` must be a JSON object.
    pub fn write(&mut self, event: &str, fields: Value) {
        let Some(log) = &mut self.log else { return };
        let mut object = Map::new();
        object.insert("t_us".into(), self.clock.now().as_micros().into());
        object.insert("at".into(), self.clock.wall_rfc3339().into());
        object.insert("event".into(), event.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        match log.write_line(&Value::Object(object).to_string()) {
            Ok(Written::Closed) => self.closed = true,
            Ok(Written::Done | Written::Lost) => {}
            Err(error) => self.trouble = Some(error),
        }
    }

    /// `warning`.
    pub fn warning(&mut self, text: &str) {
        self.write("warning", json!({ "text": text }));
    }

    /// `on_air`.
    pub fn on_air(&mut self, station: StationId, term: Term) {
        self.write(
            "on_air",
            json!({ "station": station.to_string(), "term": term_json(term) }),
        );
    }

    /// `leader`.
    pub fn leader(&mut self, term: Term, reason: &str) {
        self.write(
            "leader",
            json!({ "term": term_json(term), "leader": term.leader.to_string(), "reason": reason }),
        );
    }

    /// `track`.
    pub fn track(&mut self, title: &str, artist: &str, first_frame: u64) {
        self.write(
            "track",
            json!({ "title": title, "artist": artist, "first_frame": first_frame }),
        );
    }

    /// `off_air`.
    pub fn off_air(&mut self, reason: &str) {
        self.write("off_air", json!({ "reason": reason }));
    }
}

/// The once-a-second `stats`: totals since start, the state of the buffer, and who leads.
pub fn stats_json(statistics: &Statistics, state: StatsState) -> Value {
    let quantile_ms = |q| {
        let latency = statistics.repair_latency.quantile(q);
        latency.map(|latency| to_ms(latency.as_micros() as u32))
    };
    json!({
        "received": statistics.received,
        "late": statistics.late,
        "lost": statistics.lost,
        "repaired": statistics.repaired,
        "repaired_by": {
            "replica": statistics.repaired_by_replica,
            "unicast": statistics.repaired_by_unicast,
            "multicast": statistics.repaired_by_multicast,
        },
        "concealed": statistics.concealed,
        "duplicate": statistics.duplicate,
        "reordered": statistics.reordered,
        "underruns": statistics.underruns,
        "loss_bursts": statistics.loss_bursts.buckets().collect::<BTreeMap<_, _>>(),
        "longest_burst": statistics.loss_bursts.longest(),
        "repair_ms_p50": quantile_ms(0.5),
        "repair_ms_p99": quantile_ms(0.99),
        "rejected": statistics.rejected_total(),
        "rejected_by": statistics.rejected,
        "buffer_ms": state.buffer_ms,
        "jitter_ms": state.jitter_ms,
        "drift_ppm": state.drift_ppm.map(|ppm| (ppm * 100.0).round() / 100.0),
        "sync_us": state.sync_us.map(f64::round),
        "leader": state.term.map(|term| term.leader.to_string()),
        "term": state.term.map(term_json),
    })
}

/// What `stats` says beside the counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatsState {
    /// Play-out delay in milliseconds.
    pub buffer_ms: u64,
    /// Inter-arrival jitter (RFC 3550 section 6.4.1) in milliseconds.
    pub jitter_ms: f64,
    /// Rate of the station's clock against the sound device's (without one, against this machine's), in parts per million; none while
    /// nothing plays.
    pub drift_ppm: Option<f64>,
    /// How much later than they should samples leave the device, in microseconds; none while nothing plays.
    pub sync_us: Option<f64>,
    /// The term that is followed.
    pub term: Option<Term>,
}

/// Microseconds as milliseconds, to a hundredth.
pub fn to_ms(us: u32) -> f64 {
    (f64::from(us) / 10.0).round() / 100.0
}

/// A term as every event writes it.
pub fn term_json(term: Term) -> Value {
    json!({ "counter": term.counter, "leader": term.leader.to_string() })
}

/// The `reason` of `off_air`.
pub fn reason_word(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Ended => "ended",
        EndReason::Stopped => "stopped",
        EndReason::Left => "left",
        EndReason::SourceLost => "source_lost",
    }
}
