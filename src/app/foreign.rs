//! How does the stream of another program become sound? Its packets, of any duration, are decoded one after the other and
//! cut into the blocks of 20 ms that outputs take; events and the status line tell where it comes from.

use std::collections::VecDeque;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::console::{Console, Kind, Status};
use super::device_feed::Due;
use super::error::AppError;
use super::output::Output;
use super::session::Session;
use crate::media::opus::{Decoder, FRAME_VALUES, LONGEST_VALUES};
use crate::playout::Statistics;
use crate::playout::fade::{self, Concealment};
use crate::playout::foreign::{Foreign, Output as Decision};

/// The decoder of foreign streams and what of its sound is not a whole block yet.
pub(super) struct ForeignVoice {
    decoder: Decoder,
    scratch: Box<[f32; LONGEST_VALUES]>,
    /// At most the longest packet and a block.
    waiting: VecDeque<f32>,
    block: Box<[f32; FRAME_VALUES]>,
    /// The last samples were silence, for want of packets: what follows fades in.
    silent: bool,
    title: String,
}

/// What the listener has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// A stream is on air.
    pub(super) heard: bool,
    /// A stream has ended.
    pub(super) over: bool,
}

impl ForeignVoice {
    /// Nothing decoded yet.
    ///
    /// # Errors
    /// Only if memory is exhausted.
    pub(super) fn new() -> Result<ForeignVoice, AppError> {
        Ok(ForeignVoice {
            decoder: Decoder::new()?,
            scratch: Box::new([0.0; LONGEST_VALUES]),
            waiting: VecDeque::with_capacity(LONGEST_VALUES + FRAME_VALUES),
            block: Box::new([0.0; FRAME_VALUES]),
            silent: false,
            title: String::new(),
        })
    }

    /// Does what was decided. With `leaving`, a block is the last one.
    pub(super) fn act(
        &mut self,
        foreign: &mut Foreign,
        output: &mut Output,
        leaving: bool,
        (session, console): (&mut Session, &mut dyn Console),
    ) -> Told {
        let mut told = Told::default();
        while let Some(decision) = foreign.poll_output() {
            match decision {
                Decision::OnAir { source, from } => {
                    self.title = title_of(from);
                    output.prepare();
                    console.note(&format!("now playing: {}", self.title));
                    let fields = json!({ "station": source.to_string(), "term": Value::Null });
                    session.events.write("on_air", fields);
                }
                Decision::TunedIn { frame } => {
                    self.begin();
                    let ms = session.clock.now().since(session.started).as_millis() as u64;
                    let fields = json!({ "frame": frame, "ms": ms });
                    session.events.write("tuned_in", fields);
                }
                Decision::Decode {
                    payload,
                    samples,
                    skip,
                } => {
                    if !self.decode(&payload, samples, skip) {
                        foreign.undecodable();
                    }
                }
                Decision::Conceal {
                    samples,
                    concealment,
                } => self.conceal(samples, concealment),
                Decision::Pad { samples } => {
                    let zeros = std::iter::repeat_n(0.0, 2 * samples as usize);
                    self.waiting.extend(zeros);
                }
                Decision::Play { due, silence, .. } => {
                    // Nobody else has to be in step with it: it is heard when the device is ready.
                    let due = Due {
                        at: due + output.lead(),
                        now: session.clock.now(),
                        station_ppm: 0.0,
                    };
                    self.play((silence, leaving), due, output);
                }
                Decision::OffAir { reason } => {
                    output.pause();
                    session.events.off_air(reason.as_str());
                    console.note(&format!("off air: {}", reason.as_str().replace('_', " ")));
                    told.over = true;
                }
            }
        }
        if foreign.stands_still() {
            output.pause();
        } else if foreign.has_gap() {
            output.interrupt();
        }
        told.heard = foreign.is_on_air();
        told
    }

    /// Shows the stream on the status line; `false` if there is none.
    pub(super) fn show(
        &self,
        (foreign, adapts): (&Foreign, bool),
        statistics: &Statistics,
        console: &mut dyn Console,
    ) -> bool {
        if foreign.is_on_air() {
            console.status(&Status {
                title: &self.title,
                position: crate::wire::FRAME.saturating_mul(foreign.frames() as u32),
                length: None,
                leader: "",
                audience: None,
                kind: Kind::Listen {
                    held: foreign.held(),
                    buffer: foreign.buffer(),
                    adapts,
                    sync_us: None,
                    statistics,
                },
            });
        }
        foreign.is_on_air()
    }

    /// The first packet heard is usually one from the middle: it must not begin with a click.
    fn begin(&mut self) {
        self.decoder.reset();
        self.waiting.clear();
        self.silent = true;
    }

    fn decode(&mut self, payload: &[u8], samples: u32, skip: u32) -> bool {
        let values = 2 * samples as usize;
        let decoded = self.decoder.decode_any(payload, &mut self.scratch);
        if !decoded.is_ok_and(|made| made == values) {
            return false;
        }
        let heard = &mut self.scratch[2 * skip as usize..values];
        if std::mem::take(&mut self.silent) {
            fade::fade_in_5ms(heard);
        }
        self.waiting.extend(heard.iter());
        true
    }

    fn conceal(&mut self, samples: u32, concealment: Concealment) {
        let values = 2 * samples as usize;
        let spoken = match concealment {
            Concealment::Silence => false,
            Concealment::Extrapolate { .. } => {
                let made = self
                    .decoder
                    .conceal_any(samples as usize, &mut self.scratch);
                made.is_ok_and(|made| made == values)
            }
        };
        let sound = &mut self.scratch[..values];
        if spoken {
            concealment.apply(sound);
        } else {
            sound.fill(0.0);
        }
        self.silent = !spoken || concealment.ends_in_silence();
        self.waiting.extend(sound.iter());
    }

    fn play(&mut self, (silence, leaving): (bool, bool), due: Due, output: &mut Output) {
        for value in self.block.iter_mut() {
            *value = self.waiting.pop_front().unwrap_or(0.0);
        }
        if silence {
            return output.write_silence(due);
        }
        if leaving {
            fade::fade_out_5ms(&mut self.block[..]);
        }
        output.write(&mut self.block, due);
    }
}

fn title_of(from: IpAddr) -> String {
    format!("RTP stream from {from}")
}
