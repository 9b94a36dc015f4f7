//! What happens as time goes by: where playing starts, each frame's decision, the end.

use super::*;

impl Player {
    /// Time has come: decides every frame whose play time it is. Call it after all sockets were read.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        self.rest();
        self.advance();
    }

    /// The listener leaves: one more frame is decided before its time, so that the sound can fade out in it; nothing further is
    /// played, and copies are no longer waited for.
    pub fn handle_finish(&mut self) {
        if let Phase::Playing { next } = self.phase
            && self.play_time(next).is_some()
            && !self.stands_still(next)
        {
            self.decide(next);
        }
        self.statistics.lost += self.missing.len() as u64;
        self.missing.clear();
        self.phase = Phase::Finished;
    }

    /// When to come back, if no packet comes before; `None`: only a packet can change anything.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gives_up = self.missing.front().map(|(_, at)| *at);
        match self.phase {
            Phase::Joining { low: Some(low), .. } => self.begins_at(low),
            Phase::Joining { low: None, .. } => {
                let over_at = self.last_words_end().map(|(at, _)| at);
                Some(over_at.unwrap_or(self.heard_at + SOURCE_LOST_AFTER))
            }
            Phase::Playing { next } => {
                let ends_at = self
                    .over_at(next)
                    .map_or_else(|| self.silent_at(next), |(at, _)| at);
                let next_at = self.decided_at(next).filter(|_| !self.stands_still(next));
                Some(next_at.map_or(ends_at, |at| at.min(ends_at)))
            }
            Phase::Searching | Phase::OffAir { .. } | Phase::Finished => gives_up,
        }
    }

    /// Whether nothing is played until more is heard: between two runs, and while it is not known that there is more.
    pub fn is_resting(&self) -> bool {
        match self.phase {
            Phase::Playing { next } => self.play_time(next).is_none() || self.stands_still(next),
            _ => false,
        }
    }

    /// Time that goes back is ignored.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// When frame `index` is played, as far as that is known: from then on it takes what the device takes until it is heard.
    pub fn play_time(&self, index: FrameIndex) -> Option<Instant> {
        self.plays_at(self.runs.slot(index)?.due_us())
    }

    /// When the first sample of frame `index` is to be heard.
    pub fn heard_at(&self, index: FrameIndex) -> Option<Instant> {
        let due_us = self.runs.slot(index)?.due_us();
        self.later(due_us, self.wait() + self.config.lead)
    }

    /// When that is played which is due at `due_us` on the station clock.
    fn plays_at(&self, due_us: u64) -> Option<Instant> {
        self.later(due_us, self.wait())
    }

    /// So long after `due_us`, by the station clock and not by ours.
    fn later(&self, due_us: u64, by: Duration) -> Option<Instant> {
        let by_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.timeline.local(due_us.saturating_add(by_us))
    }

    /// Decides all that is due.
    pub(super) fn advance(&mut self) {
        loop {
            match self.phase {
                Phase::Joining { low: Some(low), .. } if self.is_due(self.begins_at(low)) => {
                    self.begin(low)
                }
                Phase::Joining { low: None, .. } => match self.last_words_end() {
                    Some((at, reason)) if at <= self.now => {
                        self.queue.push(Output::OffAir { reason });
                        self.phase = Phase::Searching;
                    }
                    None if self.now >= self.heard_at + SOURCE_LOST_AFTER => {
                        self.lose_source();
                        self.phase = Phase::Searching;
                    }
                    _ => break,
                },
                Phase::Playing { next } => {
                    let silent_at = self.silent_at(next);
                    let next_at = self
                        .decided_at(next)
                        .filter(|at| *at <= self.now && *at < silent_at)
                        .filter(|_| !self.stands_still(next));
                    if next_at.is_some_and(|at| self.now.since(at) > FRAME * MAX_GAP as u32)
                        && self.next_held(next).is_none()
                    {
                        self.tune_in_anew();
                    } else if next_at.is_some() {
                        self.decide(next);
                    } else if let Some(reason) = self.ending(next, silent_at) {
                        self.become_off_air(next, reason);
                    } else {
                        break;
                    }
                }
                _ => break,
            }
        }
        self.give_up_missing();
    }

    fn is_due(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }

    /// The frame to play first when `low` is the lowest one that was heard. See [`PREROLL`].
    fn start(&self, low: FrameIndex) -> FrameIndex {
        let recent = |awaited: &FrameIndex| {
            (self.floor..=low).contains(awaited) && low.since(*awaited) <= PREROLL
        };
        if let Some(awaited) = self.awaited.filter(recent) {
            return awaited;
        }
        let after_preroll = low.plus(PREROLL);
        let exact = (low.0..after_preroll.0)
            .map(FrameIndex)
            .find(|index| self.is_fresh(*index) || self.runs.starts_at(*index))
            .unwrap_or(after_preroll);
        self.fetched_start(low)
            .map_or(exact, |start| start.max(exact))
    }

    /// When playing starts; if the run ends before, when that end is.
    fn begins_at(&self, low: FrameIndex) -> Option<Instant> {
        let start = self.start(low);
        let slot = self
            .runs
            .slot(start)
            .or_else(|| self.runs.slot_past_end(start))?;
        self.plays_at(slot.due_us())
    }

    /// Whether decoders start afresh with this frame: where a track starts, not where a run goes on in the middle of one.
    fn is_fresh(&self, index: FrameIndex) -> bool {
        let ends_before = index.0 > 0
            && self
                .frames
                .info(index.minus(1))
                .is_some_and(|info| info.flags.has(crate::wire::media::Flags::LAST_OF_TRACK));
        ends_before || self.tracks.starts_at(index)
    }

    /// The play time of the first frame has come.
    fn begin(&mut self, low: FrameIndex) {
        let start = self.start(low);
        if self.runs.slot_past_end(start).is_some() {
            // Fewer frames were left than a decoder needs: there is nothing to play before the next run.
            self.announce = true;
            self.phase = Phase::Playing {
                next: self.runs.end().unwrap_or(start).max(self.floor),
            };
            return;
        }
        self.queue.push(Output::TunedIn { first: start });
        self.statistics.loss_bursts.handle_tuned_in();
        // Decoders are brought to where they would be: from where they last started afresh, if that is near.
        let near = low.max(start.minus(PREROLL));
        let fresh = |index: &FrameIndex| self.is_fresh(*index) || self.runs.starts_at(*index);
        let from = (near.0..=start.0)
            .rev()
            .map(FrameIndex)
            .find(fresh)
            .unwrap_or(near);
        if !self.is_fresh(start) {
            self.queue.push(Output::Reset);
        }
        (from.0..start.0)
            .map(FrameIndex)
            .for_each(|index| self.queue.push(Output::Preroll { index }));
        self.announce = false;
        self.phase = Phase::Playing { next: start };
    }

    /// Plays or conceals frame `index`, the next one.
    pub(super) fn decide(&mut self, index: FrameIndex) {
        let info = self.frames.info(index);
        let held = info.is_some();
        let anew = held && std::mem::take(&mut self.announce);
        if anew {
            self.queue.push(Output::TunedIn { first: index });
        }
        self.announce_track(index);
        if anew || self.is_fresh(index) {
            self.queue.push(Output::Reset);
        }
        let came = info.is_some_and(|info| info.streamed);
        self.statistics.loss_bursts.handle_frame(came);
        if let Some(info) = info {
            self.queue.push(Output::Play { index });
            self.statistics.count_received(info.via);
            self.buffering.handle_played();
            self.hole = 0;
        } else {
            self.queue.push_concealed(index, self.hole);
            if self.hole == 0 {
                self.measure_hole(index);
            }
            self.statistics.concealed += 1;
            self.hole += 1;
            let due = self.play_time(index).unwrap_or(self.now).min(self.now);
            self.missing.push_back((index, due + LOST_AFTER));
            if self.missing.len() > MISSING_LIMIT {
                self.missing.pop_front();
                self.statistics.lost += 1;
            }
        }
        self.phase = Phase::Playing {
            next: index.plus(1),
        };
    }

    fn announce_track(&mut self, index: FrameIndex) {
        let same = |track: &TrackInfo, told: &TrackInfo| {
            (track.first, &track.title, &track.artist) == (told.first, &told.title, &told.artist)
        };
        if let Some(track) = self.tracks.at(index)
            && !self
                .announced_track
                .as_ref()
                .is_some_and(|told| same(track, told))
        {
            self.queue.push(Output::Track(track.clone()));
            self.announced_track = Some(track.clone());
        }
    }

    /// Silence that may have no end is not decided: the hole has faded out, nobody is heard, and nobody said that there is a frame
    /// `next`. If one from there on comes, what was missed is overdue; if none does, the programme ended here.
    fn stands_still(&self, next: FrameIndex) -> bool {
        let is_known = |last: Option<FrameIndex>| last.is_some_and(|last| last >= next);
        let told = self
            .told_next
            .and_then(|told| told.0.checked_sub(1))
            .map(FrameIndex);
        let ends_later = matches!(self.state, Some(State::Over(_)))
            && self.runs.end().is_some_and(|end| end > next);
        self.hole >= crate::playout::fade::SILENT_AFTER
            && self.now.since(self.heard_at) >= STILL_AFTER
            && !is_known(self.high)
            && !is_known(told)
            && !ends_later
    }

    /// When the source is lost, if nothing more is heard. What is still buffered is played out first, and a programme
    /// that is over is played to its end.
    fn silent_at(&self, next: FrameIndex) -> Instant {
        let silent_at = self.heard_at + SOURCE_LOST_AFTER;
        let last = match (self.state, self.runs.end()) {
            (Some(State::Over(_)), Some(end)) if end > next => Some(end.minus(1)),
            _ => self
                .high
                .filter(|high| *high >= next && self.frames.contains(*high)),
        };
        let played_at = last
            .and_then(|last| self.play_time(last))
            .map_or(silent_at, |at| at + FRAME);
        // Frames are sent when they are due: what would play later than this is a false promise.
        silent_at.max(played_at.min(silent_at + self.wait()))
    }

    /// When the programme is over and why, if `next` lies past the end of the last run.
    fn over_at(&self, next: FrameIndex) -> Option<(Instant, OffAirReason)> {
        let end = self.plays_at(self.runs.slot_past_end(next)?.due_us())?;
        match self.state {
            Some(State::Over(reason)) => Some((end, reason.into())),
            Some(State::Idle) => None,
            Some(State::Playing) | None => {
                Some((end.max(self.heard_at) + END_GRACE, OffAirReason::Ended))
            }
        }
    }

    /// Until when the last frame of a programme that is said to be over is to be played, and why it is over.
    pub(super) fn last_words_end(&self) -> Option<(Instant, OffAirReason)> {
        let is_over = matches!(self.state, Some(State::Over(_)));
        let end = self.runs.end().filter(|_| is_over)?;
        // A run that ended before its first frame has no last one.
        self.runs.slot(end.minus(1))?;
        self.over_at(end)
    }

    fn ending(&self, next: FrameIndex, silent_at: Instant) -> Option<OffAirReason> {
        match self.over_at(next) {
            Some((at, reason)) => (at <= self.now).then_some(reason),
            None => (silent_at <= self.now).then_some(OffAirReason::SourceLost),
        }
    }

    fn become_off_air(&mut self, next: FrameIndex, reason: OffAirReason) {
        match reason {
            OffAirReason::SourceLost => self.lose_source(),
            _ => self.queue.push(Output::OffAir { reason }),
        }
        self.phase = Phase::OffAir { next };
    }

    /// Whoever is heard next is followed, whatever term was claimed before: nobody can silence a listener for good by claiming
    /// the highest one.
    fn lose_source(&mut self) {
        self.queue.push(Output::OffAir {
            reason: OffAirReason::SourceLost,
        });
        self.terms = Terms::default();
    }

    /// Frames of which no copy came in time to count as late are lost.
    fn give_up_missing(&mut self) {
        while self.missing.front().is_some_and(|(_, at)| *at <= self.now) {
            self.missing.pop_front();
            self.statistics.lost += 1;
        }
    }
}
