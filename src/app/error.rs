//! How does a command fail? With one line for the user and an exit code (DESIGN 5, "Exit codes").

use thiserror::Error;

use crate::io::event_log::EventLogError;
use crate::io::http_server::HttpError;
use crate::io::interface::InterfaceError;
use crate::io::pcm_stdout::PcmError;
use crate::io::random::RandomError;
use crate::io::signals::SignalError;
use crate::io::sockets::SocketError;
use crate::io::sound::SoundError;
use crate::io::thread::ThreadError;
use crate::io::wav::WavError;
use crate::media::opus::OpusError;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum AppError {
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The sockets cannot be opened.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The event file cannot be opened.
    #[error(transparent)]
    Events(#[from] EventLogError),
    /// The WAV file cannot be made.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// The sound device cannot be meant.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// Standard output cannot be used.
    #[error(transparent)]
    Stdout(#[from] PcmError),
    /// The codec cannot be set up.
    #[error(transparent)]
    Opus(#[from] OpusError),
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No more threads.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// The node API cannot be had.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Signals cannot be handled.
    #[error(transparent)]
    Signals(#[from] SignalError),
    /// Anything else of the operating system.
    #[error("{action}: {source}")]
    Os {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else is on air.
    #[error("{0}")]
    Busy(String),
    /// Files that could not be played; they were named when it happened.
    #[error("{0}")]
    Files(String),
    /// A node did not do what it was asked to.
    #[error("{0}")]
    Refused(String),
    /// No station within `--timeout`.
    #[error(
        "no station heard on {group} ({interface}) within {timeout:?}: is a sender running there, on the same network? \
         (see --group, --interface, --timeout)"
    )]
    NoStation {
        /// How long was waited.
        timeout: std::time::Duration,
        /// The group.
        group: std::net::SocketAddr,
        /// The interface.
        interface: String,
    },
}

impl AppError {
    /// The exit code of DESIGN 5.
    pub fn exit_code(&self) -> u8 {
        match self {
            AppError::NoStation { .. } => 3,
            _ => 1,
        }
    }
}
