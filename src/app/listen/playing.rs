//! What goes out: how is what the player decided heard and told?

use serde_json::json;

use super::Listener;
use crate::app::console::{Console, title_of};
use crate::playout::player::Output as Decision;

impl Listener {
    /// Does what the player decided.
    pub(super) fn act(&mut self, console: &mut dyn Console) {
        while let Some(decision) = self
            .dial
            .player_mut()
            .and_then(|player| player.poll_output())
        {
            let now = self.session.clock.now();
            let spoken = (self.voice).act(&decision, &mut self.dial, (&mut self.output, now));
            match decision {
                _ if spoken => {}
                Decision::Reset
                | Decision::Preroll { .. }
                | Decision::Play { .. }
                | Decision::Conceal { .. } => {}
                Decision::TunedIn { first } => {
                    let ms = self
                        .session
                        .clock
                        .now()
                        .since(self.session.started)
                        .as_millis() as u64;
                    self.session
                        .events
                        .write("tuned_in", json!({ "frame": first.0, "ms": ms }));
                }
                Decision::Track(track) => {
                    self.title = title_of(&track.title, &track.artist);
                    self.session
                        .events
                        .track(&track.title, &track.artist, track.first.0);
                    console.note(&format!("now playing: {}", self.title));
                }
                Decision::Leader { term, reason } => {
                    if let Some(player) = self.dial.player().filter(|_| reason == "first") {
                        self.session.events.on_air(player.station(), term);
                    }
                    self.session.events.leader(term, reason);
                    self.output.prepare();
                    self.heard = true;
                }
                Decision::OffAir { reason } => {
                    // What plays next is a beginning, not the end of a hole.
                    self.voice.end();
                    self.output.pause();
                    self.session.events.off_air(reason.as_str());
                    console.note(&format!("off air: {}", reason.as_str().replace('_', " ")));
                    self.over = self.once;
                }
            }
            self.heard |= self.dial.player().is_some();
        }
        match self.dial.player() {
            Some(player) if player.is_resting() => self.output.pause(),
            Some(player) if player.has_gap() => self.output.interrupt(),
            _ => {}
        }
        let told = self.foreign.act(
            self.dial.foreign_mut(),
            &mut self.output,
            self.leaving,
            (&mut self.session, console),
        );
        self.heard |= told.heard;
        self.over |= told.over && self.once;
    }
}
