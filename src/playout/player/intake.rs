//! What a packet or a heartbeat changes: is it ours, where does it belong, is its sender the one to follow?

use super::*;
use crate::playout::evidence::{Head, Held};
use crate::playout::runs::Fit;
use crate::playout::store::{CAPACITY, FrameInfo, Holder, Via};
use crate::playout::terms::Verdict;
use crate::wire::Slot;
use crate::wire::control::Heartbeat;
use crate::wire::ids::PlanDigest;
use crate::wire::media::MediaPacket;

/// The window: frames are accepted from the next one to be decided up to this many after it.
const WINDOW: u64 = CAPACITY as u64;
/// Frames are sent when they are due. One that would be due this much after its arrival is garbage.
const EARLIEST: Duration = Duration::from_secs(1);
/// As long as the station was heard within this time, packets that contradict it are wrong, however many agree.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

impl Player {
    /// A media packet came: `arrived` is when (the kernel's stamp, if there is one), `now` is when it is read.
    ///
    /// # Errors
    /// Says why it is not used; it is counted already. (Packets rejected as `too_far` or `timestamp` are remembered: three in a
    /// row that agree are followed, and played.)
    pub fn handle_media(
        &mut self,
        packet: &MediaPacket<'_>,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        self.tick(now);
        let result = self
            .place(packet, arrived.min(self.now))
            .and_then(|head| self.take(head, packet.payload));
        self.reject(result)
    }

    /// A heartbeat came.
    ///
    /// # Errors
    /// Says why it is not used; it is counted already.
    pub fn handle_heartbeat(
        &mut self,
        beat: &Heartbeat,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        self.tick(now);
        let result = self.take_heartbeat(beat, arrived.min(self.now));
        self.reject(result)
    }

    /// The packet's place by its own numbers.
    pub(super) fn place(
        &self,
        packet: &MediaPacket<'_>,
        arrived: Instant,
    ) -> Result<Head, Rejection> {
        if packet.station != self.station() {
            return Err(Rejection::OtherStation(packet.station));
        }
        let element = packet.element;
        if self.terms.is_stale(element.term) {
            return Err(Rejection::StaleTerm);
        }
        if self.terms.is_leap(element.term) {
            return Err(Rejection::TermLeap);
        }
        let index = self.numbering.index(element.index_high, packet.seq);
        // A timestamp fixes the slot modulo 15 days: idle time goes on from that of the run before, if that makes sense.
        let idle = self.runs.idle_before(index).unwrap_or_default();
        let slot_from = |idle| self.numbering.slot(Slot(index.0 + idle), packet.timestamp);
        let slot = slot_from(idle)
            .filter(|slot| !self.is_early(*slot, arrived))
            .or_else(|| slot_from(0))
            .ok_or(Rejection::Timestamp(index))?;
        let idle = slot.0 - index.0;
        let (term, plan, flags) = (element.term, element.plan, element.flags);
        Ok(Head {
            index,
            idle,
            marker: packet.marker,
            term,
            plan,
            flags,
            arrived,
            via: Via::Stream,
        })
    }

    /// Uses a packet if it fits what is known, or if others agree with it.
    pub(super) fn take(&mut self, head: Head, payload: &[u8]) -> Result<(), Rejection> {
        if self.phase == Phase::Finished {
            return Ok(());
        }
        let Err(misfit) = self.fits(&head) else {
            return self.admit(head, payload);
        };
        let searching = self.phase == Phase::Searching;
        let undecided = self.next().unwrap_or(self.floor);
        if head.index < undecided {
            return Err(misfit); // what is decided stays decided, whoever agrees
        }
        self.evidence.forget_before(undecided);
        if self.is_contradicted(&head) {
            return Err(misfit);
        }
        match self.evidence.add(head, payload) {
            Some(agreeing) => {
                self.believe(&agreeing);
                agreeing
                    .into_iter()
                    .try_for_each(|held| self.admit(held.head, &held.payload))
            }
            None if searching => Ok(()),
            None => Err(misfit),
        }
    }

    /// Whether a packet lies in the window and in its run.
    fn fits(&mut self, head: &Head) -> Result<(), Rejection> {
        let index = head.index;
        if index < self.floor {
            return Err(Rejection::TooOld(index));
        }
        if self.phase == Phase::Searching {
            return Err(Rejection::Timestamp(index)); // nothing to fit in yet
        }
        if let Phase::Joining { low: Some(_), .. } = self.phase
            && !self.in_window(index)
        {
            // A listener that was stopped while it joined has its first frames overdue.
            self.advance();
        }
        let fit = self.runs.fit(index, head.idle, head.marker);
        if fit == Fit::Known && self.is_early(head.slot(), head.arrived) {
            // If all frames of the run come early, it is the timeline that is wrong.
            self.sample(head.slot().due_us(), head.arrived);
            if self.is_early(head.slot(), head.arrived) {
                return Err(Rejection::TooFar(index));
            }
        }
        let fits =
            fit == Fit::Known || fit == Fit::Starts && !self.is_early(head.slot(), head.arrived);
        let has_place = self.in_window(index) || fits && self.make_room(index);
        if !has_place {
            return Err(Rejection::TooFar(index));
        }
        if fits {
            Ok(())
        } else {
            Err(Rejection::Timestamp(index))
        }
    }

    /// Whether a frame comes long before it is due.
    pub(super) fn is_early(&self, slot: Slot, arrived: Instant) -> bool {
        let due = self.timeline.local(slot.due_us());
        due.is_some_and(|due| due > arrived + EARLIEST)
    }

    /// Whether a packet contradicts a station that is heard: frames are sent when they are due, and idle time only grows.
    fn is_contradicted(&self, head: &Head) -> bool {
        let is_heard = self.now.since(self.heard_at) < BELIEVED_FOR;
        let idle = self.runs.idle_before(head.index);
        is_heard
            && (self.is_early(head.slot(), head.arrived)
                || idle.is_some_and(|idle| head.idle < idle))
    }

    /// The next frame to be decided, once playing has begun.
    pub(super) fn next(&self) -> Option<FrameIndex> {
        match self.phase {
            Phase::Playing { next } | Phase::OffAir { next } => Some(next),
            _ => None,
        }
    }

    /// Whether the ring has a place for the frame; what lies before the window is not too far, only old.
    pub(super) fn in_window(&self, index: FrameIndex) -> bool {
        match self.phase {
            Phase::Searching | Phase::Finished => true,
            Phase::Joining { low: None, near } => index.0.abs_diff(near.0) < WINDOW,
            Phase::Joining { low: Some(low), .. } => {
                let high = self.high.map_or(low, |high| high.max(low));
                high.max(index).since(low.min(index)) < WINDOW
            }
            Phase::Playing { next } | Phase::OffAir { next } => index.since(next) < WINDOW,
        }
    }

    /// Makes room for a frame beyond the window, if all that would leave it are overdue: a listener that was stopped reads
    /// everything that waited in its sockets, and loses nothing.
    fn make_room(&mut self, index: FrameIndex) -> bool {
        let (Some(next), leaves) = (self.next(), index.minus(WINDOW)) else {
            return false;
        };
        if self.play_time(leaves).is_none_or(|at| at > self.now) {
            return false;
        }
        let last_held = self.high.filter(|high| *high >= next).unwrap_or(next);
        if leaves.since(last_held) > MAX_GAP {
            return false;
        }
        self.decide_until(next, leaves.plus(1));
        true
    }

    /// The first frame that is held from `next` on.
    pub(super) fn next_held(&self, next: FrameIndex) -> Option<FrameIndex> {
        (next.0..next.0 + WINDOW)
            .map(FrameIndex)
            .find(|index| self.frames.contains(*index))
    }

    /// Decides every frame from `next` to before `until`, at once.
    fn decide_until(&mut self, next: FrameIndex, until: FrameIndex) {
        if let Phase::OffAir { .. } = self.phase {
            self.announce = true;
        }
        (next.0..until.0).for_each(|index| self.decide(FrameIndex(index)));
    }

    /// Three packets agree with each other and not with us: they are right.
    fn believe(&mut self, agreeing: &[Held]) {
        let (Some(lowest), Some(highest)) = (agreeing.first(), agreeing.last()) else {
            return;
        };
        let (low, high) = (lowest.head, highest.head.index);
        let near = low.index;
        match self.phase {
            Phase::Searching => self.phase = Phase::Joining { low: None, near },
            Phase::Joining { .. } if self.in_window(low.index) && self.in_window(high) => {}
            Phase::Playing { next } | Phase::OffAir { next }
                if low.index.since(next) <= MAX_GAP =>
            {
                if high.since(next) >= WINDOW {
                    self.decide_until(next, low.index);
                    self.timeline.reset();
                }
            }
            _ => {
                self.tune_in_anew();
                self.phase = Phase::Joining { low: None, near };
            }
        }
        self.runs.learn(low.index, low.idle, low.marker);
    }

    /// Where the station is has nothing to do with where it was: what is held is played, then the search begins anew.
    pub(super) fn tune_in_anew(&mut self) {
        if let (Some(next), Some(high)) = (self.next(), self.high) {
            self.decide_until(next, high.plus(1).min(next.plus(WINDOW)));
        }
        self.floor = self.next().unwrap_or(self.floor);
        self.statistics.lost += self.missing.len() as u64;
        self.missing.clear();
        self.frames.frames(
            FrameIndex(0)..FrameIndex(u64::MAX),
            &mut |index, payload| {
                if self.queue.needs(index) {
                    self.queue.save(index, payload);
                }
            },
        );
        self.frames.clear();
        self.runs.clear();
        self.timeline.reset();
        self.high = None;
        self.told_next = None;
        self.awaited = None;
        self.phase = Phase::Searching;
    }

    /// Uses a packet that fits, if its sender is the one to follow.
    fn admit(&mut self, head: Head, payload: &[u8]) -> Result<(), Rejection> {
        match self.terms.handle_media(&head, payload) {
            Verdict::Take => self.keep(head, payload),
            Verdict::Adopted(held) => {
                let first = held
                    .iter()
                    .map(|held| held.head.index)
                    .fold(head.index, FrameIndex::min);
                self.drop_contradicted(first, head.plan);
                // A held packet that has become too old meanwhile is no fault of this one.
                held.iter().for_each(|held| {
                    let result = self.keep(held.head, &held.payload);
                    let _counted = self.reject(result);
                });
                self.keep(head, payload)
            }
            Verdict::Hold | Verdict::Old => {
                self.heard_at = self.now;
                Ok(())
            }
            Verdict::Stale => Err(Rejection::StaleTerm),
            Verdict::Leap => Err(Rejection::TermLeap),
            Verdict::Solo => Err(Rejection::Solo(head.index)),
        }
    }

    /// A new leader goes on from `first` with another plan: what others planned from there on is not played.
    pub(super) fn drop_contradicted(&mut self, first: FrameIndex, plan: PlanDigest) {
        let from = first.max(self.next().unwrap_or_default());
        for index in (from.0..from.0 + WINDOW).map(FrameIndex) {
            if self
                .frames
                .info(index)
                .is_some_and(|info| info.plan != plan)
            {
                self.frames.remove(index);
            }
        }
    }

    /// Puts a frame in its place, or counts what it is if it comes too late for that.
    pub(super) fn keep(&mut self, head: Head, payload: &[u8]) -> Result<(), Rejection> {
        let index = head.index;
        let streamed = head.via == Via::Stream;
        if streamed {
            self.evidence.clear();
        }
        if index < self.next().unwrap_or(self.floor) {
            return self.keep_old(&head, payload);
        }
        let info = FrameInfo {
            flags: head.flags,
            term: head.term,
            plan: head.plan,
            via: head.via,
            streamed: head.via == Via::Stream,
        };
        let held = self.frames.info(index);
        if held.is_some_and(|held| held.term >= head.term || held.plan == head.plan) {
            self.count_duplicate(head.via);
            if streamed {
                self.frames.note_streamed(index);
            }
            return Ok(());
        }
        if let Some(displaced) = self
            .frames
            .displaced_by(index)
            .filter(|displaced| self.queue.needs(*displaced))
        {
            if self.queue.is_full() {
                return Err(Rejection::Full(index));
            }
            let saved = self.frames.get(displaced).unwrap_or_default();
            self.queue.save(displaced, saved);
        }
        self.frames.insert(index, info, payload);
        if streamed {
            self.sample(head.slot().due_us(), head.arrived);
        }
        if held.is_none() {
            self.measure(&head);
        }
        if head.marker && self.runs.fit(index, head.idle, true) == Fit::Starts {
            self.runs.learn(index, head.idle, true);
        }
        self.runs.stretch(index);
        self.count_order(&head, held.is_none());
        match self.phase {
            Phase::Joining { low, near } => {
                self.phase = Phase::Joining {
                    low: Some(low.map_or(index, |low| low.min(index))),
                    near,
                };
            }
            Phase::OffAir { next } => {
                // Heard again: what was missed meanwhile is overdue and concealed at once.
                self.announce = true;
                self.phase = Phase::Playing { next };
            }
            _ => {}
        }
        Ok(())
    }

    /// What this listener was sent once more. A repair for several reaches those, too, that miss nothing, in a large audience as
    /// often as not: that is no copy that was sent too much, and would hide those that are (two senders, a loop in the network).
    /// Nor is what this node holds itself.
    fn count_duplicate(&mut self, via: Via) {
        if matches!(via, Via::Stream | Via::Unicast) {
            self.statistics.duplicate += 1;
        }
    }

    fn count_order(&mut self, head: &Head, first_copy: bool) {
        let index = head.index;
        if head.via.was_at_hand() {
            return; // says nothing of the station
        }
        if first_copy && head.via == Via::Stream && self.high.is_some_and(|high| high > index) {
            self.statistics.reordered += 1;
        }
        // Life is progress: copies of what was heard before can come from anywhere.
        if self.high.is_none_or(|high| high < index) {
            self.high = Some(index);
            self.heard_at = self.now;
        }
    }

    /// A copy of a frame that is already decided. It is still worth keeping: as history for others.
    fn keep_old(&mut self, head: &Head, payload: &[u8]) -> Result<(), Rejection> {
        if self.frames.contains(head.index) || self.queue.saved(head.index).is_some() {
            self.count_duplicate(head.via);
            return Ok(());
        }
        let missed = self
            .missing
            .binary_search_by_key(&head.index, |(index, _)| *index);
        // If even the newest frames come late, the way has become longer.
        let newest = self.high.is_none_or(|high| high < head.index);
        if newest && head.via == Via::Stream {
            self.sample(head.slot().due_us(), head.arrived);
        }
        if newest || missed.is_ok() {
            self.measure(head);
        }
        let Ok(at) = missed else {
            return Err(Rejection::TooOld(head.index));
        };
        self.count_order(head, true);
        if self
            .missing
            .remove(at)
            .is_some_and(|(_, gives_up_at)| head.arrived < gives_up_at)
        {
            self.statistics.late += 1;
        } else {
            self.statistics.lost += 1;
        }
        let info = FrameInfo {
            flags: head.flags,
            term: head.term,
            plan: head.plan,
            via: head.via,
            streamed: head.via == Via::Stream,
        };
        self.frames.insert(head.index, info, payload);
        Ok(())
    }
}
