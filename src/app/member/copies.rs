//! What is done with what came from other nodes, and what is told of the copies?

use serde_json::json;

use super::{Asked, Member, TOLD_REFUSAL};
use crate::app::console::Console;
use crate::app::session::Session;
use crate::io::http_client::{FetchError, Fetched};
use crate::io::terminal::sanitize;
use crate::media::library::Kept;
use crate::station::Frames;
use crate::station::playlist::ListedTrack;
use crate::wire::TrackId;
use crate::wire::block::Block;

impl Member {
    /// An answer has come.
    pub(super) fn take(
        &mut self,
        fetched: Fetched,
        session: &mut Session,
        console: &mut dyn Console,
    ) {
        let now = session.clock.now();
        let Some(asked) = self.asked.remove(&fetched.key) else {
            return;
        };
        if let Asked::Submission = asked {
            self.tell_submitted(fetched.result.as_ref().err(), session, console);
        }
        let bytes = fetched.result.map_err(|error| {
            if let FetchError::TooLong { .. } = error {
                self.node.count_rejected("http_too_long");
            }
            console.detail(&error.to_string());
        });
        match (asked, bytes) {
            (Asked::Plan(digest), Ok(bytes)) => {
                if let Err(error) = self.node.handle_plan(digest, &bytes, now) {
                    console.detail(&error.to_string());
                }
            }
            (Asked::Plan(_), Err(())) | (Asked::Submission, _) => {}
            (Asked::Frames(track), Ok(bytes)) => {
                let came = self.keep_blocks(track, &bytes, session, console);
                self.node.handle_frames(came, now);
            }
            (Asked::Frames(_), Err(())) => self.node.handle_frames(false, now),
        }
    }

    /// Says that the leader does not take what is sent here, once. A few refusals are none: it has to hear of this node first.
    fn tell_submitted(
        &mut self,
        error: Option<&FetchError>,
        session: &mut Session,
        console: &mut dyn Console,
    ) {
        let Some(error) = error else {
            self.refusals = 0;
            return;
        };
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == TOLD_REFUSAL && !std::mem::replace(&mut self.refusal_told, true) {
            let text = format!(
                "what is sent here is not in the programme yet: {}; it is tried again (see lanradio status), and plays when that \
                 station is over at the latest",
                sanitize(&error.to_string())
            );
            session.warn(console, &text);
        }
    }

    /// Keeps the frames of an answer; whether any of them was new.
    fn keep_blocks(
        &mut self,
        track: TrackId,
        bytes: &[u8],
        session: &mut Session,
        console: &mut dyn Console,
    ) -> bool {
        let (mut rest, mut came) = (bytes, false);
        while !rest.is_empty() {
            let block = match Block::parse(rest) {
                Ok((block, after)) if block.track == track => {
                    rest = after;
                    block
                }
                Ok(_) => {
                    self.node.count_rejected("block_of_another_track");
                    return came;
                }
                Err(error) => {
                    self.node.count_rejected(error.reason());
                    console.detail(&error.to_string());
                    return came;
                }
            };
            for (k, packet) in (block.first..).zip(&block.packets) {
                match self.library.keep(track, k, packet) {
                    Kept::New => came = true,
                    Kept::Full => {
                        self.tell_full(session, console);
                        return came;
                    }
                    Kept::Known | Kept::Refused(_) => {}
                }
            }
        }
        came
    }

    fn tell_full(&mut self, session: &mut Session, console: &mut dyn Console) {
        if !std::mem::replace(&mut self.full_told, true) {
            let text = format!(
                "the cache of {} MiB is full: what does not fit is not copied, and this node cannot take over with it (see --cache)",
                self.library.budget_bytes() >> 20
            );
            session.warn(console, &text);
        }
    }

    /// Says how far a copy is, if that has changed; a whole one is looked at first, however its frames came.
    pub(super) fn tell_copied(
        &mut self,
        track: TrackId,
        frames: Option<u64>,
        session: &mut Session,
        console: &mut dyn Console,
    ) {
        let held = self.library.held(track);
        if self.told.get(&track) == Some(&(held, frames)) {
            return;
        }
        let complete = frames.is_some_and(|frames| held >= frames);
        if complete && !self.verify(track, session, console) {
            return;
        }
        self.told.insert(track, (held, frames));
        let total = frames.unwrap_or(self.library.end(track));
        let (track, bytes) = (track.to_string(), self.library.bytes(track));
        let fields = json!({ "track": track, "held": held, "total": total, "complete": complete, "bytes": bytes });
        session.events.write("replica", fields);
    }

    /// Whether a whole copy is what its owner encoded; one that is not is dropped, and copied again.
    fn verify(&mut self, track: TrackId, session: &mut Session, console: &mut dyn Console) -> bool {
        let listed = self.node.programme().listed(track);
        let Some((frames, digest)) =
            listed.and_then(|listed| Some((listed.frames?, listed.digest?)))
        else {
            return true;
        };
        let right = self.library.verify(track, frames, digest);
        if !right {
            self.node.count_rejected("track_digest");
            session.warn(
                console,
                &format!("the copy of track {track} is damaged; copying it again"),
            );
        }
        right
    }

    /// How much of the programme is held, in per cent. What this node encoded itself is held, also where it was played and dropped.
    pub fn replica_percent(&self) -> u8 {
        let tracks = self.node.programme().list().tracks();
        let frames = |track: &ListedTrack| {
            let known = track.frames;
            known.unwrap_or_else(|| self.library.end(track.id)).max(1)
        };
        let total: u64 = tracks.iter().map(frames).sum();
        let held: u64 = tracks
            .iter()
            .map(|track| match track.owner == self.node.config().node {
                true => frames(track),
                false => self.library.held(track.id).min(frames(track)),
            })
            .sum();
        (held * 100)
            .checked_div(total)
            .map_or(0, |percent| percent.min(100) as u8)
    }
}
