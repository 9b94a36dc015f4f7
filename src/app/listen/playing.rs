//! What goes out: how is what the player decided heard and told?

use serde_json::json;

use super::Listener;
use crate::app::console::{Console, title_of};
use crate::playout::fade::{self, Concealment};
use crate::playout::player::Output as Decision;
use crate::wire::FrameIndex;

impl Listener {
    /// Does what the player decided.
    pub(super) fn act(&mut self, console: &mut dyn Console) {
        while let Some(decision) = self
            .dial
            .player_mut()
            .and_then(|player| player.poll_output())
        {
            match decision {
                Decision::Reset => self.voice.decoder.reset(),
                Decision::Preroll { index } => self.decode_unheard(index),
                Decision::Play { index } => self.play(index),
                Decision::Conceal { index, concealment } => self.conceal(index, concealment),
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
                    self.voice.silent = false;
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

    fn decode(&mut self, index: FrameIndex) -> bool {
        let payload = self.dial.player().and_then(|player| player.payload(index));
        payload.is_some_and(|payload| {
            self.voice
                .decoder
                .decode(payload, &mut self.voice.block)
                .is_ok()
        })
    }

    /// Brings the decoder to where it would be if it had listened all along; a hole there is a hole, too.
    fn decode_unheard(&mut self, index: FrameIndex) {
        if !self.decode(index) {
            drop(self.voice.decoder.conceal(&mut self.voice.block));
        }
    }

    fn play(&mut self, index: FrameIndex) {
        if !self.decode(index) {
            let concealment = self
                .dial
                .player_mut()
                .map_or(Concealment::Silence, |player| player.undecodable(index));
            return self.conceal(index, concealment);
        }
        if std::mem::take(&mut self.voice.silent) {
            fade::fade_in_5ms(&mut self.voice.block);
        }
        self.write_block(index);
    }

    fn conceal(&mut self, index: FrameIndex, concealment: Concealment) {
        let spoken = match concealment {
            Concealment::Extrapolate { .. } => {
                self.voice.decoder.conceal(&mut self.voice.block).is_ok()
            }
            Concealment::Silence => false,
        };
        if spoken {
            concealment.apply(&mut self.voice.block);
            self.write_block(index);
        } else {
            let late_us = self.late_us(index);
            self.output.write_silence(late_us);
        }
        self.voice.silent = !spoken || concealment.ends_in_silence();
    }

    fn write_block(&mut self, index: FrameIndex) {
        if self.leaving {
            fade::fade_out_5ms(&mut self.voice.block);
        }
        let late_us = self.late_us(index);
        self.output.write(&mut self.voice.block, late_us);
    }

    /// How long ago the play time of frame `index` was.
    fn late_us(&self, index: FrameIndex) -> i64 {
        let play_time = self
            .dial
            .player()
            .and_then(|player| player.play_time(index));
        play_time.map_or(0, |at| self.session.clock.now().micros_after(at))
    }
}
