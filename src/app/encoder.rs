//! Who turns files into frames while others are on air? A thread of its own, ahead of real time, one file after the other.
//!
//! It hands over packet by packet through a bounded channel: a full channel is what slows it down, so that whoever keeps the
//! tracks decides how far ahead it may run.

use std::fs::File;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, SendError, Sender, bounded};

use super::error::AppError;
use crate::io::{random, terminal, thread};
use crate::media::opus::{EncoderConfig, FRAME_SAMPLES};
use crate::media::source::Source;
use crate::media::source_error::SourceError;
use crate::media::track_encoder::{TrackEncoder, encoded_bytes_estimate};
use crate::wire::control::MAX_TEXT_BYTES;
use crate::wire::{TrackId, clip};

/// Packets between the encoder and the tracks: 20 s, so that a sender that wakes every 20 ms never holds the encoder up.
const CHANNEL_PACKETS: usize = 1_000;
/// What a track may take encoded, in bytes; also what a pipe that never ends keeps.
pub const MAX_HELD_BYTES: u64 = 512 << 20;

/// What the encoder says.
#[derive(Debug)]
pub enum Encoded {
    /// A new track begins.
    Track {
        /// Drawn at random.
        id: TrackId,
        /// Its title, else the file's name.
        title: String,
        /// Its artist, may be empty.
        artist: String,
    },
    /// Its next frame.
    Packet(Box<[u8]>),
    /// It has no more frames.
    TrackEnd,
    /// A file was not played, or not to its end.
    Problem {
        /// What to tell the user: the file, what is wrong, what to do.
        text: String,
        /// Nothing of it was played.
        skipped: bool,
    },
    /// The list is through.
    ListEnd,
}

/// Starts encoding `files`, in order; `-` is standard input. If the channel is closed before [`Encoded::ListEnd`], the thread has
/// panicked.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(files: Vec<PathBuf>, config: EncoderConfig) -> Result<Receiver<Encoded>, AppError> {
    let (sender, receiver) = bounded(CHANNEL_PACKETS);
    thread::spawn("encoder", move || {
        // The receiver is gone when the sender has stopped: nothing is left to do.
        let _: Result<(), SendError<Encoded>> = files
            .iter()
            .try_for_each(|file| encode(file, config, &sender))
            .and_then(|()| sender.send(Encoded::ListEnd));
    })?;
    Ok(receiver)
}

fn encode(
    file: &Path,
    config: EncoderConfig,
    to: &Sender<Encoded>,
) -> Result<(), SendError<Encoded>> {
    let name = if file == Path::new("-") {
        "stdin".into()
    } else {
        terminal::sanitize(&file.display().to_string())
    };
    let skipped = |why: String| Encoded::Problem {
        text: format!("{name}: {why}"),
        skipped: true,
    };
    let mut encoder = match open(file, config) {
        Ok(encoder) => encoder,
        Err(why) => return to.send(skipped(why)),
    };
    let id = match random::track_id() {
        Ok(id) => TrackId(id),
        Err(why) => return to.send(skipped(why.to_string())),
    };
    let title = encoder.tags().title.clone().unwrap_or_else(|| stem(file));
    let artist = encoder.tags().artist.clone().unwrap_or_default();
    let mut frames = 0u64;
    loop {
        super::debug::encoded(frames);
        let said = match encoder.next_packet() {
            Ok(Some(packet)) => {
                if frames == 0 {
                    to.send(Encoded::Track {
                        id,
                        title: title.clone(),
                        artist: artist.clone(),
                    })?;
                }
                frames += 1;
                Encoded::Packet(packet.into())
            }
            Ok(None) => break,
            Err(error) if frames == 0 => return to.send(skipped(error.to_string())),
            Err(error) => Encoded::Problem {
                text: format!("{name}: {error}; it plays to there"),
                skipped: false,
            },
        };
        to.send(said)?;
    }
    if frames == 0 {
        return to.send(skipped("there is no sound in it".into()));
    }
    to.send(Encoded::TrackEnd)
}

fn open(file: &Path, config: EncoderConfig) -> Result<TrackEncoder, String> {
    let stdin = file == Path::new("-");
    let source = if stdin {
        // Standard input's lock cannot cross threads, and its buffer is of no use here: read the descriptor itself.
        let descriptor = stdin_descriptor().map_err(|error| error.to_string())?;
        Source::from_reader(Box::new(descriptor), "stdin")
    } else {
        Source::open(file)
    };
    let source = source.map_err(|error| match error {
        SourceError::Empty if stdin => {
            "nothing came through the pipe: look at what the program before it says".into()
        }
        error => error.to_string(),
    })?;
    let encoder = TrackEncoder::new(source, config).map_err(|error| error.to_string())?;
    let samples = encoder
        .known_frames()
        .map(|frames| frames * FRAME_SAMPLES as u64);
    match samples.map(|samples| encoded_bytes_estimate(samples, config)) {
        Some(bytes) if bytes > MAX_HELD_BYTES && !stdin => Err(format!(
            "it would take {} MiB encoded, more than the {} MiB that every node can hold; split it, or choose a lower --bitrate",
            bytes >> 20,
            MAX_HELD_BYTES >> 20
        )),
        _ => Ok(encoder),
    }
}

fn stdin_descriptor() -> std::io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(std::io::stdin().as_fd().try_clone_to_owned()?))
}

/// The file's name without its ending, for a file without tags.
fn stem(file: &Path) -> String {
    if file == Path::new("-") {
        return "stdin".into();
    }
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let clean = terminal::sanitize(&stem);
    clip(&clean, MAX_TEXT_BYTES).to_owned()
}
