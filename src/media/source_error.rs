//! Why can a file not be played, and what can its owner do about it?
//!
//! One line each, with the remedy, and without the file's name: the caller knows how it was called and puts it in front.

use std::io;

use super::opus::OpusError;

/// Why a source cannot be opened, or ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is at that path.
    #[error("no such file: check the name and the folder")]
    Missing,
    /// A directory was named.
    #[error("is a directory: name the files in it, as in FOLDER/*")]
    Directory,
    /// A device, a socket or a named pipe.
    #[error("is not a regular file: to play a pipe, say `lanradio send - < PIPE`")]
    NotAFile,
    /// The operating system refused to open or read the file's beginning.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Not a single byte.
    #[error("is empty (0 bytes): copy or download it again")]
    Empty,
    /// No decoder recognises it, or none finds a sound in it; `what` says what it looks like.
    #[error(
        "is not audio that lanradio can play ({what}): convert it, as in `ffmpeg -i IN OUT.flac`"
    )]
    NotAudio {
        /// What it looks like instead, or what the parser found wrong.
        what: String,
    },
    /// An MP4 on a pipe whose index comes after the sound.
    #[error(
        "has its index (moov) at the end, which a pipe cannot jump to: play the file by its name, or move the index \
         with `ffmpeg -i IN.m4a -c copy -movflags +faststart OUT.m4a`"
    )]
    IndexAtEnd,
    /// A CAF on a pipe: its reader goes to the end first.
    #[error(
        "is a CAF file, which cannot be played from a pipe: play the file by its name, or convert it, as in \
         `ffmpeg -i IN.caf OUT.flac`"
    )]
    NeedsFile,
    /// An MP4 that never got its index.
    #[error(
        "has no index (moov): the recording or the copy was not finished; copy or download it again"
    )]
    IndexMissing,
    /// A container without sound.
    #[error("has no audio track: choose a file with sound in it")]
    NoAudioTrack,
    /// A rate that no recording has: a damaged header.
    #[error(
        "claims a sample rate of {0} Hz, and 1000 to 768000 can be played: its header is damaged"
    )]
    SampleRate(u32),
    /// A codec that cannot be decoded here.
    #[error(
        "contains {0}, which lanradio cannot decode: convert it, as in `ffmpeg -i IN OUT.flac`"
    )]
    Codec(String),
    /// More channels than can be mixed to stereo sensibly.
    #[error(
        "has {0} channels, and at most 8 can be mixed to stereo: convert it, as in `ffmpeg -i IN -ac 2 OUT.flac`"
    )]
    Channels(usize),
    /// The middle of the file cannot be decoded. Everything before was delivered.
    #[error("is damaged after {at_seconds:.1} s ({cause}): copy or download it again")]
    Broken {
        /// How much sound was delivered before, in seconds.
        at_seconds: f64,
        /// The decoder's or the operating system's words.
        cause: String,
    },
    /// The file holds less sound than its header promises. All of it was delivered.
    #[error(
        "has only {at_seconds:.1} s of the {promised_seconds:.1} s that it promises, cut off or damaged: copy or \
         download it again"
    )]
    Truncated {
        /// How much sound was delivered, in seconds.
        at_seconds: f64,
        /// How much the header promises, in seconds.
        promised_seconds: f64,
    },
    /// The encoder behind the source failed.
    #[error(transparent)]
    Opus(#[from] OpusError),
}
