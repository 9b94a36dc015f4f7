//! What does a heartbeat change? It tells the plan in short: the run, the tracks, the buffer, and what comes next.

use super::*;
use crate::playout::evidence::Held;
use crate::playout::terms::Verdict;
use crate::wire::control::Heartbeat;

impl Player {
    pub(super) fn take_heartbeat(
        &mut self,
        beat: &Heartbeat,
        arrived: Instant,
    ) -> Result<(), Rejection> {
        if beat.station != self.station() {
            return Err(Rejection::OtherStation(beat.station));
        }
        if self.phase == Phase::Finished {
            return Ok(());
        }
        let known = self.terms.told();
        let held = match self.terms.handle_heartbeat(beat, arrived) {
            Verdict::Stale | Verdict::Solo => return Err(Rejection::StaleTerm),
            Verdict::Leap => return Err(Rejection::TermLeap),
            Verdict::Hold => {
                self.heard_at = self.now;
                return Ok(());
            }
            Verdict::Old => return Ok(()),
            Verdict::Take => Vec::new(),
            Verdict::Adopted(held) => {
                let first = held
                    .iter()
                    .map(|held| held.head.index)
                    .fold(beat.next, FrameIndex::min);
                self.drop_contradicted(first, beat.plan);
                held
            }
        };
        let progress = known != Some(beat.term)
            || self.told_next.is_none_or(|told| told < beat.next)
            || beat.state != State::Playing;
        if progress {
            self.heard_at = self.now;
        }
        self.told_next = Some(beat.next);
        self.learn(beat, arrived);
        if known != Some(beat.term) {
            self.queue.push(Output::Leader {
                term: beat.term,
                reason: self.terms.why(),
            });
        }
        for held in held.into_iter().chain(self.evidence_of_the_joined()) {
            let result = self.take(held.head, &held.payload);
            let _counted = self.reject(result);
        }
        Ok(())
    }

    /// The first heartbeat tells where the station is: packets that waited for others to agree need not wait.
    fn evidence_of_the_joined(&mut self) -> Vec<Held> {
        match self.phase {
            Phase::Joining { low: None, .. } => self.evidence.take(),
            _ => Vec::new(),
        }
    }

    fn learn(&mut self, beat: &Heartbeat, arrived: Instant) {
        self.sample(beat.sent_at_us, arrived);
        let buffer = Duration::from_millis(beat.buffer_ms.into());
        self.station_buffer = Some(buffer);
        self.buffering.handle_station(buffer);
        self.state = Some(beat.state);
        self.tracks.learn(&beat.tracks);
        if self.leader_name != beat.name {
            self.leader_name.clone_from(&beat.name);
        }
        if let Some(mut run) = beat.run {
            if beat.state != State::Playing && beat.next >= run.first {
                run.end = run.end.or(Some(beat.next));
            }
            self.runs.learn_told(run);
            if beat.next == run.first {
                self.awaited = Some(run.first);
            }
        }
        match (self.phase, beat.state) {
            // A station that says goodbye before a frame of it was heard: its last ones may be under way, or be repaired, as long as
            // they are to be played. Else there is nothing to wait for.
            (Phase::Joining { low: None, .. }, State::Over(_))
                if self.last_words_end().is_some() => {}
            (Phase::Joining { low: None, .. }, State::Over(reason)) => {
                self.queue.push(Output::OffAir {
                    reason: reason.into(),
                });
                self.phase = Phase::Searching;
            }
            (Phase::Searching, State::Over(_)) => {}
            (Phase::Searching | Phase::Joining { low: None, .. }, _) => {
                self.phase = Phase::Joining {
                    low: None,
                    near: beat.next,
                }
            }
            _ => {}
        }
    }
}
