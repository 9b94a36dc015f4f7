//! Which track's frame plays at index n, and when?
//!
//! The plan that a leader publishes: *entries* lay the tracks end to end on the frame indices, *runs* lay the frame indices
//! on the station clock, and the *list* says what comes after them. Entries and runs only grow at their end, so what was said
//! about an index stays true. The plan is named by a digest of all it says, never by its version alone: two leaders of
//! different terms can both make "version 4" (PROTOCOL, trace 1).

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::playlist::{ListedTrack, PlayList};
use crate::wire::control::{MAX_TEXT_BYTES, RunInfo, TrackInfo};
use crate::wire::ids::{FRAME_MICROS, FrameIndex, PlanDigest, Slot, TrackId};

/// How long an entry or a run is remembered after its end: 10 s of frames, twice the largest buffer. Entries have at least
/// one frame each, so never more than this many are kept that are over, also in an endless loop of tiny files.
pub const KEPT_FRAMES: u64 = 500;
/// Entries, and runs, of a plan that is received: what is remembered, what is planned ahead, and something to spare.
const MAX_PARTS: usize = 2 * KEPT_FRAMES as usize;
/// A plan in bytes: a list of 4,096 tracks with long titles fits.
pub const MAX_PLAN_BYTES: usize = 2 << 20;

/// Why bytes are no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// More than any plan has.
    #[error("plan of {0} bytes, more than {MAX_PLAN_BYTES}")]
    TooLong(usize),
    /// Not postcard.
    #[error("malformed plan of {0} bytes")]
    Malformed(usize),
    /// Entries or runs that overlap, go back, or lie beyond time; text that is too long; too many parts.
    #[error("plan with {0} out of order or range")]
    Range(&'static str),
    /// Another plan than the one that was asked for.
    #[error("plan {got:06x} instead of {asked:06x}")]
    Digest {
        /// What was asked for.
        asked: u32,
        /// What came.
        got: u32,
    },
}

impl PlanError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            PlanError::TooLong(_) => "plan_too_long",
            PlanError::Malformed(_) => "plan_malformed",
            PlanError::Range(_) => "plan_range",
            PlanError::Digest { .. } => "plan_digest",
        }
    }
}

/// A track on the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    pub track: TrackId,
    /// The index of its first frame.
    pub first: FrameIndex,
    /// Its length, as soon as that is known.
    pub frames: Option<u64>,
    /// Which frame of the track is its first one.
    pub from: u64,
    /// The track's title.
    pub title: String,
    /// Who plays; may be empty.
    pub artist: String,
}

impl Entry {
    /// One past its last frame, as soon as that is known.
    pub fn end(&self) -> Option<FrameIndex> {
        self.frames.map(|frames| self.first.plus(frames))
    }

    /// How it stands in a heartbeat.
    pub fn info(&self) -> TrackInfo {
        TrackInfo {
            first: self.first,
            frames: self.frames,
            title: self.title.clone(),
            artist: self.artist.clone(),
        }
    }

    /// How long it lasts, as soon as that is known.
    pub fn duration(&self) -> Option<Duration> {
        self.frames
            .map(|frames| Duration::from_micros(frames.saturating_mul(FRAME_MICROS)))
    }
}

/// The plan of one station.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Programme {
    version: u64,
    runs: VecDeque<RunInfo>,
    entries: VecDeque<Entry>,
    /// Where the next entry begins; while the last one is open, where that begins.
    end: FrameIndex,
    list: PlayList,
    #[serde(skip)]
    digest: OnceCell<PlanDigest>,
    /// Named by its version: wrong, and there to be caught by the simulator.
    #[cfg(debug_assertions)]
    #[serde(skip)]
    is_named_by_version: bool,
}

impl Programme {
    /// An empty one that begins at `first`.
    pub fn new(first: FrameIndex) -> Programme {
        Programme {
            version: 0,
            runs: VecDeque::new(),
            entries: VecDeque::new(),
            end: first,
            list: PlayList::default(),
            digest: OnceCell::new(),
            #[cfg(debug_assertions)]
            is_named_by_version: false,
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The plan's name: 24 bits of BLAKE3 over its postcard form.
    pub fn digest(&self) -> PlanDigest {
        #[cfg(debug_assertions)]
        if self.is_named_by_version {
            return PlanDigest(self.version as u32 & 0x00ff_ffff);
        }
        *self.digest.get_or_init(|| {
            let hash = blake3::hash(&self.to_bytes());
            let [a, b, c] = [0, 1, 2].map(|at| u32::from(hash.as_bytes()[at]));
            PlanDigest(a << 16 | b << 8 | c)
        })
    }

    #[cfg(debug_assertions)]
    pub(super) fn name_by_version(&mut self) {
        self.is_named_by_version = true;
    }

    /// Reads a plan that has a number for a name.
    #[cfg(debug_assertions)]
    pub(super) fn from_bytes_by_version(bytes: &[u8]) -> Result<Programme, PlanError> {
        let malformed = |_| PlanError::Malformed(bytes.len());
        let mut plan: Programme = postcard::from_bytes(bytes).map_err(malformed)?;
        plan.name_by_version();
        Ok(plan)
    }

    /// The plan as it is sent to those that may take over.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads the plan that `digest` names.
    ///
    /// # Errors
    /// Says why these bytes are not that plan; never panics.
    pub fn from_bytes(bytes: &[u8], digest: PlanDigest) -> Result<Programme, PlanError> {
        if bytes.len() > MAX_PLAN_BYTES {
            return Err(PlanError::TooLong(bytes.len()));
        }
        let malformed = |_| PlanError::Malformed(bytes.len());
        let programme: Programme = postcard::from_bytes(bytes).map_err(malformed)?;
        programme.check()?;
        let (asked, got) = (digest.0, programme.digest().0);
        if asked != got {
            return Err(PlanError::Digest { asked, got });
        }
        Ok(programme)
    }

    fn check(&self) -> Result<(), PlanError> {
        let within = |ok: bool, what| {
            if ok {
                Ok(())
            } else {
                Err(PlanError::Range(what))
            }
        };
        // Half of what there can be: whoever goes on with it must have something to spare.
        const LIMIT: u64 = FrameIndex::LIMIT / 2;
        let in_time = |index: FrameIndex| index.0 < LIMIT;
        within(self.entries.len().max(self.runs.len()) <= MAX_PARTS, "size")?;
        within(self.version < 1 << 60, "version")?;
        within(self.list.is_sound(MAX_TEXT_BYTES), "list")?;
        within(in_time(self.end), "end")?;
        let mut end = self.entries.front().map_or(self.end, |entry| entry.first);
        for (at, entry) in self.entries.iter().enumerate() {
            let is_last = at + 1 == self.entries.len();
            let is_closed = entry.frames.is_some_and(|frames| frames > 0);
            within(is_closed || is_last && entry.frames.is_none(), "entry")?;
            within(entry.first == end && entry.from <= 1 << 32, "entry")?;
            within(
                entry.title.len().max(entry.artist.len()) <= MAX_TEXT_BYTES,
                "title",
            )?;
            end = entry.end().unwrap_or(end);
            within(in_time(end), "entry")?;
        }
        within(end == self.end, "end")?;
        let (mut end, mut slot_end) = (FrameIndex(0), Slot(0));
        for (at, run) in self.runs.iter().enumerate() {
            let is_last = at + 1 == self.runs.len();
            within(run.first >= end && run.starts_at >= slot_end, "run")?;
            within(
                run.first.0 <= run.starts_at.0 && run.starts_at.0 < LIMIT,
                "run",
            )?;
            within(
                run.end.is_some_and(|end| end >= run.first) || is_last,
                "run",
            )?;
            within(run.end.is_none_or(in_time), "run")?;
            end = run.end.unwrap_or(run.first);
            slot_end = Slot(run.starts_at.0 + end.since(run.first));
        }
        Ok(())
    }

    /// Appends a track of so many frames (open, if not known yet), to be played from its frame `from` on.
    /// Only after a closed entry, and never an empty one: both would be our own bug.
    pub fn append(
        &mut self,
        track: TrackId,
        from: u64,
        frames: Option<u64>,
        title: &str,
        artist: &str,
    ) {
        debug_assert!(!self.is_open() && frames != Some(0));
        let (title, artist) = (title.to_owned(), artist.to_owned());
        self.entries.push_back(Entry {
            track,
            first: self.end,
            frames,
            from,
            title,
            artist,
        });
        self.end = self.end.plus(frames.unwrap_or(0));
        self.changed();
    }

    /// Says how long the last, open entry is.
    pub fn close(&mut self, frames: u64) {
        debug_assert!(self.is_open() && frames > 0);
        if let Some(entry) = self.entries.back_mut() {
            entry.frames = Some(frames);
            self.end = entry.first.plus(frames);
            self.changed();
        }
    }

    /// Starts a run: from index `first`, which is due at `starts_at`.
    pub fn start_run(&mut self, first: FrameIndex, starts_at: Slot) {
        debug_assert!(first.0 <= starts_at.0);
        debug_assert!(
            self.last_run()
                .is_none_or(|run| run.end.is_some_and(|end| end <= first))
        );
        self.runs.push_back(RunInfo {
            first,
            starts_at,
            end: None,
        });
        self.changed();
    }

    /// Says where the last run ends (one past its last frame).
    pub fn end_run(&mut self, end: FrameIndex) {
        if let Some(run) = self.runs.back_mut()
            && run.end != Some(end)
        {
            debug_assert!(end >= run.first);
            run.end = Some(end);
            self.changed();
        }
    }

    /// The last run goes on after all: there is more to play.
    pub fn reopen_run(&mut self) {
        if let Some(run) = self.runs.back_mut()
            && run.end.take().is_some()
        {
            self.changed();
        }
    }

    /// Cuts the entry that `index` belongs to, and all after it, so that the plan ends before `index`.
    pub fn cut(&mut self, index: FrameIndex) {
        while self
            .entries
            .back()
            .is_some_and(|entry| entry.first >= index)
        {
            self.entries.pop_back();
        }
        if let Some(entry) = self.entries.back_mut() {
            entry.frames = Some(
                entry
                    .frames
                    .unwrap_or(u64::MAX)
                    .min(index.since(entry.first)),
            );
            self.end = entry.end().unwrap_or(index);
        } else {
            self.end = index;
        }
        self.changed();
    }

    /// Ends the closed entry that `index` belongs to before `index`, and moves those after it up. What was said of the indices
    /// from there on was wrong: as every change of plan, it has to be a cover horizon away, or in no run.
    pub fn shorten(&mut self, index: FrameIndex) {
        let Some(at) = self.position(index) else {
            return;
        };
        let entry = &mut self.entries[at];
        debug_assert!(entry.end().is_some_and(|end| index < end));
        let (track, frames) = (entry.track, index.since(entry.first));
        entry.frames = Some(frames);
        let held = entry.from + frames;
        let after = if frames == 0 {
            self.entries.remove(at);
            at
        } else {
            at + 1
        };
        let mut end = index;
        for entry in self.entries.iter_mut().skip(after) {
            entry.first = end;
            end = entry.end().unwrap_or(end);
        }
        self.end = end;
        self.list.shorten_track(track, held);
        self.changed();
    }

    /// What comes after the entries.
    pub fn list(&self) -> &PlayList {
        &self.list
    }

    /// Changes the list; `change` says whether it did.
    pub fn change_list(&mut self, change: impl FnOnce(&mut PlayList) -> bool) -> bool {
        let changed = change(&mut self.list);
        if changed {
            self.changed();
        }
        changed
    }

    /// Takes the next track of the list, of which something has to be there, and appends it. `false` if there is none.
    pub fn append_next(&mut self, is_there: impl Fn(TrackId) -> bool) -> bool {
        let Some(track) = self.list.take_next(is_there) else {
            return false;
        };
        self.append(track.id, 0, track.frames, &track.title, &track.artist);
        true
    }

    /// Whether every track of the list is planned and no other one will come.
    pub fn is_exhausted(&self) -> bool {
        self.list.is_exhausted()
    }

    /// The list's word on a track: who encodes it, how long it is.
    pub fn listed(&self, id: TrackId) -> Option<&ListedTrack> {
        self.list.track(id)
    }

    /// Where frame `index` stands on the station clock, if it is planned to be sent.
    pub fn slot(&self, index: FrameIndex) -> Option<Slot> {
        let run = self.run_at(index)?;
        Some(Slot(run.starts_at.0 + index.since(run.first)))
    }

    /// The run that `index` belongs to.
    pub fn run_at(&self, index: FrameIndex) -> Option<RunInfo> {
        let after = self.runs.partition_point(|run| run.first <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        run.end.is_none_or(|end| index < end).then_some(*run)
    }

    /// Forgets what ended more than [`KEPT_FRAMES`] before `next`. The last run and the last entry stay.
    pub fn prune(&mut self, next: FrameIndex) {
        let before = next.minus(KEPT_FRAMES);
        let mut changed = false;
        while self.entries.len() > 1 && self.entries[0].end().is_some_and(|end| end < before) {
            self.entries.pop_front();
            changed = true;
        }
        while self.runs.len() > 1 && self.runs[0].end.is_some_and(|end| end < before) {
            self.runs.pop_front();
            changed = true;
        }
        let entries = &self.entries;
        changed |= (self.list).prune(|track| entries.iter().any(|entry| entry.track == track));
        if changed {
            self.changed();
        }
    }

    /// The frame `k` of a track that plays at `index`.
    pub fn place(&self, index: FrameIndex) -> Option<(TrackId, u64)> {
        let entry = self.track_at(index)?;
        Some((entry.track, entry.from + index.since(entry.first)))
    }

    /// Whether a track ends with frame `index`; false as long as its length is unknown.
    pub fn is_last_of_track(&self, index: FrameIndex) -> bool {
        self.track_at(index)
            .is_some_and(|entry| entry.end() == Some(index.plus(1)))
    }

    /// The entry that `index` belongs to.
    pub fn track_at(&self, index: FrameIndex) -> Option<&Entry> {
        let entry = self.entries.get(self.position(index)?)?;
        entry.end().is_none_or(|end| index < end).then_some(entry)
    }

    /// The entries that are not over before `index`.
    pub fn tracks_from(&self, index: FrameIndex) -> impl Iterator<Item = &Entry> {
        let over = move |entry: &&Entry| entry.end().is_some_and(|end| end <= index);
        self.entries.iter().skip_while(over)
    }

    /// The entry after the one that `index` belongs to.
    pub fn track_after(&self, index: FrameIndex) -> Option<&Entry> {
        self.entries.get(self.position(index)? + 1)
    }

    /// The last entry.
    pub fn last_track(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// The run that plays or played last.
    pub fn last_run(&self) -> Option<RunInfo> {
        self.runs.back().copied()
    }

    /// One past the last planned frame; `None` while the last track's length is unknown.
    pub fn planned_end(&self) -> Option<FrameIndex> {
        (!self.is_open()).then_some(self.end)
    }

    /// How many runs and entries it holds.
    pub fn size(&self) -> (usize, usize) {
        (self.runs.len(), self.entries.len())
    }

    /// Whether the last entry's length is unknown.
    pub fn is_open(&self) -> bool {
        self.entries
            .back()
            .is_some_and(|entry| entry.frames.is_none())
    }

    /// The position of the last entry that begins at or before `index`.
    fn position(&self, index: FrameIndex) -> Option<usize> {
        self.entries
            .partition_point(|entry| entry.first <= index)
            .checked_sub(1)
    }

    fn changed(&mut self) {
        self.version += 1;
        self.digest.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TrackId {
        TrackId([n; 16])
    }

    fn programme() -> Programme {
        let mut programme = Programme::new(FrameIndex(1_000));
        programme.append(id(1), 0, Some(10), "one", "");
        programme.append(id(2), 5, Some(1), "two", "");
        programme.append(id(3), 0, None, "three", "");
        programme
    }

    #[test]
    fn every_index_has_its_place() {
        let programme = programme();
        let table = [
            (999, None, false),
            (1_000, Some((1, 0)), false),
            (1_009, Some((1, 9)), true),
            (1_010, Some((2, 5)), true),
            (1_011, Some((3, 0)), false),
            (9_999, Some((3, 8_988)), false),
        ];
        for (n, place, last) in table {
            let n = FrameIndex(n);
            assert_eq!(
                programme.place(n),
                place.map(|(track, k)| (id(track), k)),
                "{n}"
            );
            assert_eq!(programme.is_last_of_track(n), last, "{n}");
        }
        let title_after = |n| {
            programme
                .track_after(FrameIndex(n))
                .map(|entry| &*entry.title)
        };
        assert_eq!(
            (title_after(1_009), title_after(1_010), title_after(1_011)),
            (Some("two"), Some("three"), None)
        );
    }

    #[test]
    fn a_closed_programme_ends() {
        let mut programme = programme();
        assert_eq!(programme.planned_end(), None);
        programme.close(4);
        assert_eq!(programme.planned_end(), Some(FrameIndex(1_015)));
        assert!(programme.is_last_of_track(FrameIndex(1_014)));
        assert_eq!(programme.place(FrameIndex(1_015)), None);
        assert_eq!(programme.track_after(FrameIndex(1_015)), None);
    }

    #[test]
    fn what_follows_a_shortened_track_moves_up() {
        let mut shorter = programme();
        shorter.shorten(FrameIndex(1_004));
        let place = |programme: &Programme, n| programme.place(FrameIndex(n));
        let places = [1_003, 1_004, 1_005].map(|n| place(&shorter, n));
        assert_eq!(
            places,
            [Some((id(1), 3)), Some((id(2), 5)), Some((id(3), 0))]
        );
        assert_eq!((shorter.planned_end(), shorter.check()), (None, Ok(())));
        // Nothing of it is left.
        shorter.shorten(FrameIndex(1_004));
        assert_eq!(place(&shorter, 1_004), Some((id(3), 0)));
        shorter.close(4);
        shorter.shorten(FrameIndex(1_005));
        assert_eq!(shorter.planned_end(), Some(FrameIndex(1_005)));
        assert_eq!(shorter.check(), Ok(()));
    }

    #[test]
    fn the_digest_is_that_of_the_postcard_form_and_names_each_change() {
        let mut programme = programme();
        let mut digests = vec![programme.digest()];
        programme.start_run(FrameIndex(1_000), Slot(1_000));
        digests.push(programme.digest());
        programme.close(4);
        digests.push(programme.digest());
        programme.end_run(FrameIndex(1_015));
        digests.push(programme.digest());
        let distinct: std::collections::BTreeSet<_> =
            digests.iter().map(|digest| digest.0).collect();
        assert_eq!(distinct.len(), digests.len());
        assert!(distinct.iter().all(|digest| digest >> 24 == 0));
        let (version, hash) = (
            programme.version(),
            blake3::hash(&postcard::to_stdvec(&programme).unwrap()),
        );
        let [a, b, c, ..] = *hash.as_bytes();
        assert_eq!(programme.digest().0, u32::from_be_bytes([0, a, b, c]));
        programme.end_run(FrameIndex(1_015));
        programme.prune(FrameIndex(1_015));
        assert_eq!(programme.version(), version, "nothing has changed");
    }

    #[test]
    fn what_ended_long_ago_is_forgotten_and_the_last_of_all_never() {
        let mut programme = Programme::new(FrameIndex(0));
        for n in 0..10 {
            programme.append(id(n), 0, Some(100), "", "");
            programme.start_run(FrameIndex(u64::from(n) * 100), Slot(u64::from(n) * 200));
            programme.end_run(FrameIndex(u64::from(n) * 100 + 100));
        }
        programme.prune(FrameIndex(1_000));
        assert_eq!(
            programme.size(),
            (6, 6),
            "an end exactly {KEPT_FRAMES} frames ago is kept"
        );
        assert_eq!(programme.place(FrameIndex(399)), None);
        assert_eq!(programme.place(FrameIndex(400)), Some((id(4), 0)));
        programme.prune(FrameIndex(1_000_000));
        assert_eq!(programme.size(), (1, 1));
        assert_eq!(programme.planned_end(), Some(FrameIndex(1_000)));
    }
}
