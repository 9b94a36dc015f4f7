//! How does a frame that the player has decided become sound? It is decoded, or concealed, and handed to the output with the
//! instant at which it is to be heard.

use super::device_feed::Due;
use super::error::AppError;
use super::output::Output;
use crate::media::opus::{Decoder, FRAME_VALUES};
use crate::playout::dial::Dial;
use crate::playout::fade::{self, Concealment};
use crate::playout::player::Output as Decision;
use crate::time::Instant;
use crate::wire::FrameIndex;

/// The decoder and the block that it writes to.
pub(super) struct Voice {
    decoder: Decoder,
    block: [f32; FRAME_VALUES],
    /// The last block ended in silence, for want of a packet or of one that decodes.
    silent: bool,
    /// What is played now is the last block.
    leaving: bool,
}

impl Voice {
    /// A voice that has said nothing yet.
    ///
    /// # Errors
    /// If the decoder cannot be made.
    pub(super) fn new() -> Result<Voice, AppError> {
        Ok(Voice {
            decoder: Decoder::new()?,
            block: [0.0; FRAME_VALUES],
            silent: false,
            leaving: false,
        })
    }

    /// What is played from now on is the last block: it fades out.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// The programme is over. What plays next is a beginning, not the end of a hole.
    pub(super) fn end(&mut self) {
        self.silent = false;
    }

    /// Does what the player has decided of a frame; `false` if it is about something else.
    pub(super) fn act(
        &mut self,
        decision: &Decision,
        dial: &mut Dial,
        (output, now): (&mut Output, Instant),
    ) -> bool {
        match *decision {
            Decision::Reset => self.decoder.reset(),
            Decision::Preroll { index } => self.decode_unheard(index, dial),
            Decision::Play { index } => self.play(index, dial, (output, now)),
            Decision::Conceal { index, concealment } => {
                self.conceal(concealment, output, due(dial, index, now));
            }
            _ => return false,
        }
        true
    }

    fn decode(&mut self, index: FrameIndex, dial: &Dial) -> bool {
        let payload = dial.player().and_then(|player| player.payload(index));
        payload.is_some_and(|payload| self.decoder.decode(payload, &mut self.block).is_ok())
    }

    /// Brings the decoder to where it would be if it had listened all along; a hole there is a hole, too.
    fn decode_unheard(&mut self, index: FrameIndex, dial: &Dial) {
        if !self.decode(index, dial) {
            drop(self.decoder.conceal(&mut self.block));
        }
    }

    fn play(&mut self, index: FrameIndex, dial: &mut Dial, (output, now): (&mut Output, Instant)) {
        if !self.decode(index, dial) {
            let concealment = dial
                .player_mut()
                .map_or(Concealment::Silence, |player| player.undecodable(index));
            return self.conceal(concealment, output, due(dial, index, now));
        }
        if std::mem::take(&mut self.silent) {
            fade::fade_in_5ms(&mut self.block);
        }
        self.write_block(output, due(dial, index, now));
    }

    fn conceal(&mut self, concealment: Concealment, output: &mut Output, due: Due) {
        let spoken = match concealment {
            Concealment::Extrapolate { .. } => self.decoder.conceal(&mut self.block).is_ok(),
            Concealment::Silence => false,
        };
        if spoken {
            concealment.apply(&mut self.block);
            self.write_block(output, due);
        } else {
            output.write_silence(due);
        }
        self.silent = !spoken || concealment.ends_in_silence();
    }

    fn write_block(&mut self, output: &mut Output, due: Due) {
        if self.leaving {
            fade::fade_out_5ms(&mut self.block);
        }
        output.write(&mut self.block, due);
    }
}

/// When frame `index` is to be heard.
fn due(dial: &Dial, index: FrameIndex, now: Instant) -> Due {
    let player = dial.player();
    Due {
        at: player
            .and_then(|player| player.heard_at(index))
            .unwrap_or(now),
        now,
        station_ppm: player.map_or(0.0, |player| player.station_ppm()),
    }
}
