//! How long is the buffer now, and what does each frame teach it?
//!
//! A buffer that adapts ([`AdaptiveBuffer`]) may change between any two frames, and each frame is still decided once and in order: only
//! the play time of the next one is ever looked at, and it moves with the buffer. A missing frame is decided
//! [`PATIENCE`] after its play time; if it comes until then, it is played (its lateness has made the buffer longer), and what waits in
//! a sound device's queue is heard meanwhile.

use super::*;
use crate::playout::adaptive::PATIENCE;
use crate::playout::evidence::Head;
use crate::playout::servo::JUMP;
use crate::playout::store::Via;
use crate::time::ClockMap;

/// Repairs of frames that were due while nothing was heard for this long do not count: nobody was there to ask for them in time.
const DEAF: Duration = Duration::from_millis(500);
/// If one came in this time, others will.
const REPAIRED_WITHIN: Duration = Duration::from_secs(10);
/// When the station clock moves by more than this at once, it is the network that changed, and not the clocks' drift.
const SHIFT_US: u64 = 5_000;

/// The buffer that adapts, and which frames it learns from.
#[derive(Debug)]
pub(super) struct Buffering {
    adaptive: Option<AdaptiveBuffer>,
    /// When the stream was last heard.
    streamed_at: Instant,
    /// Repairs of frames that were due before do not count.
    repairs_from: Instant,
    /// When the last repair came.
    repaired_at: Option<Instant>,
}

/// With so much a takeover is not heard (DESIGN 5): what a device takes does not make less of it.
const SAFE_WAIT: Duration = Duration::from_millis(100);

impl Buffering {
    pub(super) fn new(config: &Config) -> Buffering {
        Buffering {
            adaptive: config.buffer.adaptive(config.default_buffer),
            streamed_at: Instant::default(),
            repairs_from: Instant::default(),
            repaired_at: None,
        }
    }

    /// The station tells its buffer.
    pub(super) fn handle_station(&mut self, buffer: Duration) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.handle_start(buffer);
        }
    }

    /// One frame with data was played.
    pub(super) fn handle_played(&mut self) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.handle_played();
        }
    }
}

impl Player {
    /// How long after its due time a frame is heard, now, but for this listener's own delay. One that adapts is as long as the network needs;
    /// what the device takes comes on top of that.
    pub fn buffer(&self) -> Duration {
        match (self.config.buffer, &self.buffering.adaptive) {
            (_, Some(adaptive)) => adaptive.current(),
            (BufferChoice::Fixed(buffer), _) => buffer,
            _ => self.station_buffer.unwrap_or(self.config.default_buffer),
        }
    }

    /// How long after its due time a frame should be heard.
    fn goal(&self) -> Duration {
        let buffer_us = i64::try_from(self.buffer().as_micros()).unwrap_or(i64::MAX);
        let heard_us = buffer_us.saturating_add(self.config.delay_us);
        let goal = Duration::from_micros(heard_us.max(0) as u64).max(LEAST_WAIT);
        match self.buffering.adaptive {
            Some(_) => goal + self.config.lead,
            None => goal,
        }
    }

    /// How long after its due time a frame is played: what the device takes before it is heard. If the buffer is too short for that, it is
    /// heard late, by as little as a takeover that is not heard allows.
    pub(super) fn wait(&self) -> Duration {
        let goal = self.goal();
        let early = goal.saturating_sub(self.config.lead);
        if early >= LEAST_WAIT {
            early
        } else {
            goal.min(SAFE_WAIT)
        }
    }

    /// How much later than it should this listener is heard, as its device takes longer than the buffer leaves it.
    pub fn behind(&self) -> Duration {
        (self.wait() + self.config.lead).saturating_sub(self.goal())
    }

    /// A sound device takes so long until what is played is heard.
    pub fn handle_lead(&mut self, lead: Duration) {
        self.config.lead = lead;
    }

    /// How much faster than ours the station's clock goes, in parts per million, as far as that is known.
    pub fn station_ppm(&self) -> f64 {
        self.timeline.skew_ppm()
    }

    /// Whether the next frame is played so much later than the one before that a device runs dry: the clock has moved, or the buffer
    /// has grown by more than can be done unheard.
    pub fn has_gap(&self) -> bool {
        match self.phase {
            Phase::Playing { next } => self
                .play_time(next)
                .is_some_and(|at| at > self.now + FRAME + JUMP),
            _ => false,
        }
    }

    /// When frame `index`, the next one, is decided.
    pub(super) fn decided_at(&self, index: FrameIndex) -> Option<Instant> {
        let waits = self.buffering.adaptive.is_some() && !self.frames.contains(index);
        let patience = if waits { PATIENCE } else { Duration::ZERO };
        self.play_time(index).map(|at| at + patience)
    }

    /// The first copy of a frame came: how late?
    pub(super) fn measure(&mut self, head: &Head) {
        let plays = matches!(self.phase, Phase::Playing { .. });
        let buffering = &mut self.buffering;
        if head.via == Via::Stream {
            if !plays || head.arrived.since(buffering.streamed_at) >= DEAF {
                buffering.repairs_from = head.arrived;
            }
            buffering.streamed_at = buffering.streamed_at.max(head.arrived);
        }
        let (Some(adaptive), Some(due)) = (
            buffering.adaptive.as_mut().filter(|_| plays),
            self.timeline.local(head.slot().due_us()),
        ) else {
            return;
        };
        if matches!(head.via, Via::Unicast | Via::Multicast) {
            buffering.repaired_at = Some(head.arrived);
        }
        let counts = match head.via {
            Via::Stream => true,
            // Whoever has the frame itself waits for nobody.
            Via::Replica | Via::Fetched => false,
            Via::Unicast | Via::Multicast => due >= buffering.repairs_from,
        };
        if counts {
            adaptive.handle_frame(head.arrived.micros_after(due), head.arrived);
        }
    }

    /// Frame `index` is concealed, and the one before was not. If the stream goes on and repairs come, a longer buffer helps.
    pub(super) fn measure_hole(&mut self, index: FrameIndex) {
        let due = self.runs.slot(index).map(|slot| slot.due_us());
        let due = due.and_then(|due_us| self.timeline.local(due_us));
        let buffering = &mut self.buffering;
        let is_repaired =
            (buffering.repaired_at).is_some_and(|at| self.now.since(at) <= REPAIRED_WITHIN);
        let goes_on = self.high.is_some_and(|high| high > index);
        if let (Some(adaptive), true, true) = (&mut buffering.adaptive, is_repaired, goes_on)
            && due.is_some_and(|due| due >= buffering.repairs_from)
        {
            adaptive.handle_hole();
        }
    }

    /// Something that was sent at `station_us` on the station clock came at `arrived`. If that moves the clock, a buffer that adapts
    /// moves against it, so that what is played does not.
    pub(super) fn sample(&mut self, station_us: u64, arrived: Instant) {
        let before = self.timeline.local(station_us);
        self.timeline.handle_sample(station_us, arrived);
        self.shift(before, station_us);
    }

    /// This is the station clock, as its leader says; none if that is not known.
    pub fn handle_clock(&mut self, map: Option<ClockMap>) {
        let at = self.timeline.station_us(self.now).unwrap_or_default();
        let before = self.timeline.local(at);
        self.timeline.set_map(map);
        self.shift(before, at);
    }

    fn shift(&mut self, before: Option<Instant>, station_us: u64) {
        let plays = matches!(self.phase, Phase::Playing { .. });
        let adaptive = self.buffering.adaptive.as_mut().filter(|_| plays);
        if let (Some(before), Some(after), Some(adaptive)) =
            (before, self.timeline.local(station_us), adaptive)
            && after.micros_after(before).unsigned_abs() > SHIFT_US
        {
            adaptive.handle_shift(after.micros_after(before));
        }
    }

    /// Where nothing is heard, the buffer goes where it should be. To be called before anything is decided: the play times of what
    /// was decided are asked for until it was told.
    pub(super) fn rest(&mut self) {
        let rests = self.is_waiting() || self.is_resting();
        if let Some(adaptive) = self.buffering.adaptive.as_mut().filter(|_| rests) {
            adaptive.handle_rest();
        }
    }

    /// What its buffer has learned of the network, if that is enough for another station.
    pub fn learned(&self) -> Option<&AdaptiveBuffer> {
        let adaptive = self.buffering.adaptive.as_ref();
        adaptive.filter(|adaptive| adaptive.has_learned())
    }

    /// Another station was heard before it on this network.
    pub fn handle_learned(&mut self, learned: &AdaptiveBuffer) {
        if let Some(adaptive) = &mut self.buffering.adaptive {
            adaptive.clone_from(learned);
            adaptive.handle_rest();
        }
    }
}
