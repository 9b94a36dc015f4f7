//! A station on paper and a player that listens to it. Every output is checked against the laws that hold for any input.

use super::super::*;
use crate::wire::control::{Heartbeat, RunInfo};
use crate::wire::ids::{NodeId, PlanDigest, ShortTerm};
use crate::wire::media::{Flags, MediaPacket};
use crate::wire::{FRAME_MICROS, Slot};

pub(super) const STATION: StationId = StationId(0x00c0_ffee);
/// Local clock minus station clock.
const OFFSET_US: u64 = 1_000_000_000;
pub(super) const BUFFER: Duration = Duration::from_millis(200);

/// Local time of an instant on the station clock.
pub(super) fn at_us(station_us: u64) -> Instant {
    Instant::from_micros(OFFSET_US + station_us)
}

/// When the frame in `slot` is due (and arrives, if nothing delays it).
pub(super) fn due(slot: u64) -> Instant {
    at_us(slot * FRAME_MICROS)
}

/// When the frame in `slot` is played.
pub(super) fn play(slot: u64) -> Instant {
    due(slot) + BUFFER
}

pub(super) fn config() -> Config {
    Config {
        buffer: BufferChoice::Station,
        default_buffer: BUFFER,
        ..Config::default()
    }
}

pub(super) fn term(counter: u32) -> Term {
    Term {
        counter,
        leader: NodeId(u64::from(counter) << 32 | 7),
    }
}

/// A media packet to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) index: u64,
    pub(super) idle: u64,
    pub(super) marker: bool,
    pub(super) term: ShortTerm,
    pub(super) plan: PlanDigest,
    pub(super) flags: Flags,
}

/// Frame `index` of the station's first leader, with no idle time before it.
pub(super) fn packet(index: u64) -> Packet {
    let plan = PlanDigest(1);
    Packet {
        index,
        idle: 0,
        marker: index == 0,
        term: term(1).short(),
        plan,
        flags: Flags::default(),
    }
}

impl Packet {
    pub(super) fn idle(self, idle: u64) -> Packet {
        Packet { idle, ..self }
    }
    pub(super) fn marker(self) -> Packet {
        Packet {
            marker: true,
            ..self
        }
    }
    pub(super) fn term(self, counter: u32) -> Packet {
        Packet {
            term: term(counter).short(),
            ..self
        }
    }
    pub(super) fn plan(self, digest: u32) -> Packet {
        Packet {
            plan: PlanDigest(digest),
            ..self
        }
    }
    pub(super) fn flags(self, flags: Flags) -> Packet {
        Packet { flags, ..self }
    }
    /// When it is due.
    pub(super) fn due(self) -> Instant {
        due(self.index + self.idle)
    }
}

/// A heartbeat of the station's first leader, sent when the next frame is due, in a run from 0 on.
pub(super) fn beat(next: u64) -> Heartbeat {
    Heartbeat {
        station: STATION,
        term: term(1),
        number: next + 1,
        sent_at_us: next * FRAME_MICROS,
        young: false,
        state: State::Playing,
        next: FrameIndex(next),
        buffer_ms: BUFFER.as_millis() as u32,
        plan: PlanDigest(1),
        run: Some(run(0, 0, None)),
        tracks: [None, None],
        name: "studio".into(),
        succession: Default::default(),
    }
}

pub(super) fn run(first: u64, starts_at: u64, end: Option<u64>) -> RunInfo {
    RunInfo {
        first: FrameIndex(first),
        starts_at: Slot(starts_at),
        end: end.map(FrameIndex),
    }
}

pub(super) fn track(first: u64, title: &str) -> Option<TrackInfo> {
    Some(TrackInfo {
        first: FrameIndex(first),
        frames: None,
        title: title.into(),
        artist: String::new(),
    })
}

/// A player, all that it said, and the frames that it decided: (index, played with data).
pub(super) struct Listener {
    pub(super) player: Player,
    pub(super) log: Vec<Output>,
    pub(super) decided: Vec<(u64, bool)>,
    with_data: u64,
    undecodable: u64,
}

impl Listener {
    pub(super) fn new() -> Listener {
        Listener::with(config())
    }

    pub(super) fn with(config: Config) -> Listener {
        Listener {
            player: Player::new(STATION, config),
            log: Vec::new(),
            decided: Vec::new(),
            with_data: 0,
            undecodable: 0,
        }
    }

    /// The packet arrives and is read at `now`.
    pub(super) fn receive(&mut self, packet: Packet, now: Instant) -> Result<(), Rejection> {
        let payload = packet.index.to_be_bytes();
        let (index, slot) = (FrameIndex(packet.index), Slot(packet.index + packet.idle));
        let header = (packet.term, packet.plan, packet.flags);
        let numbering = Numbering::of(STATION);
        let media = MediaPacket::place(&numbering, index, slot, packet.marker, header, &payload);
        self.player.handle_media(&media, now, now)
    }

    /// The packet arrives when it is due, and time goes by until then.
    pub(super) fn on_time(&mut self, packet: Packet) {
        self.run_until(packet.due() - Duration::from_micros(1));
        assert_eq!(self.receive(packet, packet.due()), Ok(()));
    }

    /// The heartbeat arrives when it is sent, and time goes by until then.
    pub(super) fn hears(&mut self, beat: &Heartbeat) {
        let now = at_us(beat.sent_at_us);
        self.run_until(now - Duration::from_micros(1));
        assert_eq!(self.player.handle_heartbeat(beat, now, now), Ok(()));
    }

    /// Every timeout up to and at `until`.
    pub(super) fn run_until(&mut self, until: Instant) {
        self.drain();
        while let Some(at) = self.player.poll_timeout().filter(|at| *at <= until) {
            self.player.handle_timeout(at);
            self.drain();
            let next = self.player.poll_timeout();
            assert!(
                next.is_none_or(|next| next > at),
                "spins at {at}: {next:?}, {:?}",
                self.player.phase
            );
        }
        self.player.handle_timeout(until);
        self.drain();
    }

    /// Takes all outputs.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.player.poll_output() {
            match output {
                Output::Play { index, .. } => {
                    let own = index.0.to_be_bytes();
                    assert_eq!(
                        self.player.payload(index),
                        Some(own.as_slice()),
                        "payload of {index}"
                    );
                    self.decide(index, true);
                }
                Output::Conceal { index, .. } => self.decide(index, false),
                _ => {}
            }
            self.log.push(output);
        }
        self.check_laws();
    }

    fn decide(&mut self, index: FrameIndex, with_data: bool) {
        // Only tuning in skips frames, and nothing is ever decided twice.
        let joined = matches!(
            self.log.iter().rev().find(|o| !is_prelude(o)),
            Some(Output::TunedIn { .. })
        );
        if let Some((last, _)) = self.decided.last() {
            assert!(
                index.0 == last + 1 || (joined && index.0 > *last),
                "{index} after {last}"
            );
        }
        self.decided.push((index.0, with_data));
        self.with_data += u64::from(with_data);
    }

    pub(super) fn undecodable(&mut self, index: u64) -> Concealment {
        self.undecodable += 1;
        self.player.undecodable(FrameIndex(index))
    }

    fn check_laws(&self) {
        let statistics = self.player.statistics();
        assert_eq!(statistics.received + self.undecodable, self.with_data);
        assert_eq!(statistics.played(), self.decided.len() as u64);
        let pending = self.player.missing.len() as u64;
        assert_eq!(
            statistics.concealed,
            statistics.late + statistics.lost + pending,
            "{statistics:?}"
        );
        assert!(self.player.missing.len() <= MISSING_LIMIT);
    }

    /// Stretches of decided frames: (first, one past the last, with data).
    pub(super) fn stretches(&self) -> Vec<(u64, u64, bool)> {
        let mut stretches: Vec<(u64, u64, bool)> = Vec::new();
        for (index, with_data) in &self.decided {
            match stretches.last_mut() {
                Some((_, end, same)) if *end == *index && same == with_data => *end += 1,
                _ => stretches.push((*index, index + 1, *with_data)),
            }
        }
        stretches
    }

    /// What was said besides playing and concealing.
    pub(super) fn words(&self) -> Vec<Output> {
        let is_word =
            |output: &&Output| !matches!(output, Output::Play { .. } | Output::Conceal { .. });
        self.log.iter().filter(is_word).cloned().collect()
    }

    pub(super) fn rejected(&self, reason: &str) -> u64 {
        self.player
            .statistics()
            .rejected
            .get(reason)
            .copied()
            .unwrap_or_default()
    }
}

fn is_prelude(output: &Output) -> bool {
    matches!(
        output,
        Output::Reset | Output::Preroll { .. } | Output::Track(_) | Output::Leader { .. }
    )
}

pub(super) fn tuned_in(first: u64) -> Output {
    Output::TunedIn {
        first: FrameIndex(first),
    }
}

pub(super) fn off_air(reason: OffAirReason) -> Output {
    Output::OffAir { reason }
}

pub(super) fn leader(counter: u32, reason: &'static str) -> Output {
    Output::Leader {
        term: term(counter),
        reason,
    }
}
