//! What does the operating system give us? Clock, sockets, files, threads, terminal: everything that is not a pure
//! function lives here and nowhere else, so that the layers below can be simulated.
//!
//! Nothing here knows the protocol. Each file wraps one thing and turns its failures into an error that names the action,
//! the object and the remedy.

pub mod clock;
mod datagram;
pub mod device_memory;
pub mod device_names;
pub mod event_log;
pub mod host;
pub mod http_client;
mod http_question;
pub mod http_server;
pub mod interface;
pub mod interface_watch;
pub mod pcm_stdout;
pub mod random;
pub mod signals;
mod socket_setup;
pub mod sockets;
pub mod sound;
pub mod sound_callback;
pub mod terminal;
pub mod thread;
pub mod wait;
pub mod wav;

/// Samples in one block of sound: 20 ms at 48 kHz, two channels interleaved.
pub const BLOCK_SAMPLES: usize = 1920;

/// What became of bytes given to an output whose reader may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it was written.
    Done,
    /// The reader has gone (`EPIPE`): nothing more will ever be read, so end quietly.
    Closed,
    /// Not written, for a reason that was reported before.
    Lost,
}
