//! What did this node itself come to send? Its tracks as they are opened, grow and end.

use super::*;

impl Node {
    /// A track was opened: it plays after those before it.
    pub fn add_track(&mut self, track: TrackId, title: &str, artist: &str) {
        let track = ListedTrack {
            id: track,
            owner: self.config.node,
            title: clip(title, MAX_TEXT_BYTES).to_owned(),
            artist: clip(artist, MAX_TEXT_BYTES).to_owned(),
            frames: None,
            digest: None,
        };
        self.own.push(submitting::OwnTrack::new(track.clone()));
        if self.plans() {
            self.programme.change_list(|list| list.add(track));
        }
        self.fed = true;
    }

    /// Whether the plan is this node's own to change.
    fn plans(&self) -> bool {
        self.follows_itself() || matches!(self.role, Role::Founding { .. } | Role::Leading { .. })
    }

    /// A track has more frames than before.
    pub fn track_grew(&mut self) {
        self.fed = true;
    }

    /// A track has `frames` frames, and no more will come; `digest` is BLAKE3 over all of it.
    pub fn track_finished(&mut self, track: TrackId, frames: u64, digest: Option<[u8; 32]>) {
        if let Some(own) = self.own.iter_mut().rfind(|own| own.track.id == track) {
            (own.track.frames, own.track.digest) = (Some(frames), digest);
        }
        if self.plans() {
            self.programme
                .change_list(|list| list.finish_track(track, frames, digest));
        }
        self.fed = true;
    }

    /// No more tracks will come.
    pub fn source_finished(&mut self) {
        let owner = self.config.node;
        self.is_source_open = false;
        if self.plans() {
            self.programme.change_list(|list| list.close(owner));
        }
        self.fed = true;
    }

    /// The list is not played again after all: its frames do not fit into memory.
    pub fn play_once(&mut self) {
        self.config.looped = false;
        self.programme.change_list(|list| {
            let was = list.is_looped();
            list.set_looped(false);
            was
        });
    }
}
