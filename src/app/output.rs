//! Where does a listener's sound go, and what if that place is slow?
//!
//! To a sound device through a [`Speaker`], which has a clock of its own. A file or a pipe is written by a thread of its own, so that a slow disk or a paused reader never keeps the network
//! waiting. The queue between holds 30 s. When it is full, a file makes the listener wait (nothing is lost; the sockets hold
//! what arrives), and a pipe loses the newest blocks, which are counted as underruns: its reader lives in real time. That is also
//! why a pipe gets no made-up silence while it has sound waiting: after an outage all missed blocks come at once, their time
//! has passed, and a reader that was given them would be late by them for ever.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use serde_json::json;

use super::console::Console;
use super::device_feed::{Due, InStep};
use super::error::AppError;
use super::session::Session;
use super::speaker::{DeviceNews, Speaker};
use crate::io::pcm_stdout::PcmStdout;
use crate::io::sound::DeviceChoice;
use crate::io::wait::Waker;
use crate::io::wav::{self, WavFile};
use crate::io::{Written, thread};
use crate::media::opus::{FRAME_VALUES, sample_to_i16};
use crate::playout::player::{LEAST_WAIT, Player};

/// Blocks between the listener and its writer: 30 s, 5.8 MB when full.
const QUEUE_BLOCKS: usize = 1_500;
/// A pipe with more than this waiting (200 ms) gets no made-up silence.
const PIPE_BACKLOG: usize = 10;
/// Blocks that their lateness is averaged over: a second.
const TOLD_BLOCKS: f64 = 50.0;
/// How long a pipe's reader may take for what is left when the listener stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where the sound goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputConfig {
    /// To a sound device.
    Device(DeviceChoice),
    /// Nowhere: decoded and thrown away.
    Null,
    /// Into a WAV file.
    File(PathBuf),
    /// s16le 48 kHz stereo on standard output.
    Stdout,
}

type Block = Box<[i16; FRAME_VALUES]>;

/// What the writer has to say.
enum Report {
    /// It could not write; said once.
    Failed(String),
    /// The reader of standard output has gone.
    Closed,
    /// Everything is written.
    Done,
}

enum Sink {
    Null,
    Device(Box<Speaker>),
    /// Takes its time: a WAV file, or standard output redirected to a file.
    File(Sender<Block>),
    /// Read in real time.
    Pipe(Sender<Block>),
}

/// An open output.
pub struct Output {
    sink: Sink,
    reports: Receiver<Report>,
    gain: f32,
    closed: bool,
    failed: bool,
    /// How late blocks are written, where that is when they are heard.
    in_step: Option<InStep>,
    /// That it is heard after the others was said.
    behind_told: bool,
    /// Blocks that a pipe's reader was too slow for.
    refused: u64,
}

impl OutputConfig {
    /// Whether there is any use in joining a station for this output; touches nothing.
    ///
    /// # Errors
    /// If the file's folder is missing, or something else than a file has its name.
    pub fn check(&self) -> Result<(), AppError> {
        match self {
            OutputConfig::File(path) => Ok(wav::check(path)?),
            OutputConfig::Device(_) | OutputConfig::Null | OutputConfig::Stdout => Ok(()),
        }
    }
}

impl Output {
    /// Opens the output; `volume` in percent, 100 leaves samples untouched.
    ///
    /// # Errors
    /// If the file cannot be made (a missing folder, a directory) or standard output is closed.
    pub fn open(config: &OutputConfig, volume: u16, waker: Waker) -> Result<Output, AppError> {
        let (reporter, reports) = bounded(4);
        let (sender, blocks) = bounded::<Block>(QUEUE_BLOCKS);
        let sink = match config {
            OutputConfig::Null => Sink::Null,
            OutputConfig::Device(choice) => {
                Sink::Device(Box::new(Speaker::new(choice.clone(), waker)?))
            }
            OutputConfig::File(path) => {
                let mut file = WavFile::create(path, super::debug::wav_limit())?;
                let write = move |block: &Block| match file.write_block(block) {
                    Ok(()) => None,
                    Err(error) => Some(Report::Failed(error.to_string())),
                };
                thread::spawn("wav", move || write_all(&blocks, &reporter, &waker, write))?;
                Sink::File(sender)
            }
            OutputConfig::Stdout => {
                let mut pipe = PcmStdout::open()?;
                let is_file = pipe.is_file();
                let write = move |block: &Block| match pipe.write_block(block) {
                    Ok(Written::Done | Written::Lost) => None,
                    Ok(Written::Closed) => Some(Report::Closed),
                    Err(error) => Some(Report::Failed(error.to_string())),
                };
                thread::spawn("stdout", move || {
                    write_all(&blocks, &reporter, &waker, write)
                })?;
                if is_file {
                    Sink::File(sender)
                } else {
                    Sink::Pipe(sender)
                }
            }
        };
        Ok(Output {
            sink,
            reports,
            gain: f32::from(volume) / 100.0,
            closed: false,
            failed: false,
            in_step: None,
            behind_told: false,
            refused: 0,
        })
    }

    /// There will soon be something to play.
    pub fn prepare(&mut self) {
        if let Sink::Device(speaker) = &mut self.sink {
            speaker.want();
        }
    }

    /// Nothing follows for a while.
    pub fn pause(&mut self) {
        self.in_step = None;
        if let Sink::Device(speaker) = &mut self.sink {
            speaker.pause();
        }
    }

    /// What follows comes later than the device has sound for: it ends without a click.
    pub fn interrupt(&mut self) {
        if let Sink::Device(speaker) = &mut self.sink {
            speaker.interrupt();
        }
    }

    /// What happened to the sound device.
    fn poll_device(&mut self) -> Option<DeviceNews> {
        match &mut self.sink {
            Sink::Device(speaker) => speaker.poll_news(),
            _ => None,
        }
    }

    /// Tells people and scripts what happened to the sound device, and how this command can do without it: `remedy`.
    pub(super) fn tell(&mut self, remedy: &str, session: &mut Session, console: &mut dyn Console) {
        while let Some(news) = self.poll_device() {
            let DeviceNews {
                state,
                name,
                reason,
            } = &news;
            let fields = json!({ "state": state, "name": name, "reason": reason });
            session.events.write("device", fields);
            match (*state, reason) {
                ("waiting", reason) => console.warn(&format!(
                    "no sound: {}; it plays as soon as the device is there ({remedy})",
                    reason.as_deref().unwrap_or(name)
                )),
                ("lost", _) => {
                    console.warn(&format!("the sound device {name} is gone; waiting for it"))
                }
                _ => console.detail(&format!("playing on {name}")),
            }
        }
    }

    /// A device that takes longer than the buffer leaves it is heard after the others: that is said once.
    pub(super) fn judge(
        &mut self,
        player: Option<&Player>,
        session: &mut Session,
        console: &mut dyn Console,
    ) {
        let behind = player.map_or(Duration::ZERO, Player::behind);
        if behind.is_zero() || std::mem::replace(&mut self.behind_told, true) {
            return;
        }
        let lead = self.lead();
        let text = format!(
            "this sound device needs {} ms, more than the buffer leaves it: it is heard {} ms after the others (send --buffer {}ms would do)",
            lead.as_millis(),
            behind.as_millis(),
            (lead + LEAST_WAIT).as_millis().next_multiple_of(50)
        );
        session.warn(console, &text);
    }

    /// How often a device wanted samples that were not there, and blocks that a pipe's reader was too slow for.
    pub fn underruns(&self) -> u64 {
        match &self.sink {
            Sink::Device(speaker) => speaker.underruns,
            _ => self.refused,
        }
    }

    /// How long before it is to be heard a block has to be written.
    pub fn lead(&self) -> Duration {
        match &self.sink {
            Sink::Device(speaker) => speaker.lead(),
            _ => Duration::ZERO,
        }
    }

    /// How well what is heard is in step; none while nothing plays. Files and pipes are written when it is time to, and that is all.
    pub fn in_step(&self) -> Option<InStep> {
        match &self.sink {
            Sink::Device(speaker) => speaker.in_step(),
            _ => self.in_step,
        }
    }

    /// Plays one block of silence in place of a frame that is missing.
    pub(super) fn write_silence(&mut self, due: Due) {
        match &self.sink {
            Sink::Pipe(queue) if queue.len() > PIPE_BACKLOG => {}
            _ => self.write(&mut [0.0; FRAME_VALUES], due),
        }
    }

    /// Plays one block; it is scratch space afterwards.
    pub(super) fn write(&mut self, samples: &mut [f32; FRAME_VALUES], due: Due) {
        let error_us = due.now.micros_after(due.at) as f64;
        let before_us = self.in_step.map_or(error_us, |in_step| in_step.error_us);
        self.in_step = Some(InStep {
            error_us: before_us + (error_us - before_us) / TOLD_BLOCKS,
            drift_ppm: due.station_ppm,
        });
        // At 100 % the product is the sample itself, bit for bit.
        let gain = self.gain;
        let (queue, waits) = match &mut self.sink {
            Sink::Null => return,
            Sink::Device(speaker) => {
                samples.iter_mut().for_each(|sample| *sample *= gain);
                return speaker.write(samples, due);
            }
            Sink::File(queue) => (queue, true),
            Sink::Pipe(queue) => (queue, false),
        };
        let mut block = Box::new([0i16; FRAME_VALUES]);
        for (to, from) in block.iter_mut().zip(samples) {
            *to = sample_to_i16(*from * gain);
        }
        if waits {
            let _ = queue.send(block);
        } else if let Err(TrySendError::Full(_)) = queue.try_send(block) {
            self.refused += 1;
        }
    }

    /// A failure that was not yet told.
    pub fn poll_failure(&mut self) -> Option<String> {
        loop {
            match self.reports.try_recv() {
                Ok(Report::Failed(text)) => {
                    self.failed = true;
                    return Some(text);
                }
                Ok(Report::Closed) => self.closed = true,
                Ok(Report::Done) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// Whether the reader of standard output has gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what is left. Answers whether anything failed, now or before, and what was not told yet.
    pub fn finish(mut self) -> (bool, Option<String>) {
        let waits = match std::mem::replace(&mut self.sink, Sink::Null) {
            Sink::Null => None,
            Sink::Device(speaker) => {
                speaker.finish();
                None
            }
            Sink::File(_) => Some(Duration::MAX),
            Sink::Pipe(_) => Some(LAST_WORDS),
        };
        let mut untold = None;
        while let Some(patience) = waits {
            match self.reports.recv_timeout(patience) {
                Ok(Report::Failed(text)) => untold = Some(text),
                Ok(Report::Closed) => {}
                Ok(Report::Done) | Err(_) => break,
            }
        }
        (self.failed || untold.is_some(), untold)
    }
}

fn write_all(
    blocks: &Receiver<Block>,
    reporter: &Sender<Report>,
    waker: &Waker,
    mut write: impl FnMut(&Block) -> Option<Report>,
) {
    // After a failure the rest is taken and dropped: playing goes on, and one error is enough.
    let mut working = true;
    for block in blocks {
        if working && let Some(report) = write(&block) {
            working = false;
            let _ = reporter.send(report);
            waker.wake();
        }
    }
    let _ = reporter.send(Report::Done);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn a_pipe_that_is_behind_gets_no_made_up_silence_and_a_file_gets_everything() {
        for (paced, kept) in [
            (true, PIPE_BACKLOG + 1 + 1),
            (false, PIPE_BACKLOG + 1 + 500 + 1),
        ] {
            let (sender, blocks) = bounded(QUEUE_BLOCKS);
            let mut output = Output {
                sink: if paced {
                    Sink::Pipe(sender)
                } else {
                    Sink::File(sender)
                },
                reports: bounded(1).1,
                gain: 1.0,
                closed: false,
                failed: false,
                in_step: None,
                behind_told: false,
                refused: 0,
            };
            let due = Due::now(Instant::default());
            (0..=PIPE_BACKLOG).for_each(|_| output.write(&mut [0.0; FRAME_VALUES], due));
            (0..500).for_each(|_| output.write_silence(due));
            output.write(&mut [0.5; FRAME_VALUES], due);
            assert_eq!((blocks.len(), output.underruns()), (kept, 0));
            assert_ne!(blocks.iter().nth(kept - 1).unwrap()[0], 0);
        }
    }
}
