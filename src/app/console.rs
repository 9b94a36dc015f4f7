//! How does a running command tell its user something, without knowing a terminal? The `cli` layer implements [`Console`].

use std::time::Duration;

use crate::playout::statistics::Statistics;

/// Where lines for people go.
pub trait Console {
    /// A line that is worth its place: what is on air, which interface.
    fn note(&mut self, text: &str);
    /// A line for those who asked for more (`-v`).
    fn detail(&mut self, text: &str);
    /// Something went wrong and playing goes on; also shown with `-q`.
    fn warn(&mut self, text: &str);
    /// The state of the command, once a second; the console decides how often it shows it.
    fn status(&mut self, status: &Status<'_>);
    /// Nothing more comes: finish the live line.
    fn finish(&mut self);
}

/// What the live line and the plain line show.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// `title – artist`, or what is waited for.
    pub title: &'a str,
    /// Place in the track.
    pub position: Duration,
    /// Its length, if known.
    pub length: Option<Duration>,
    /// Who leads; empty where nobody does or it is not known.
    pub leader: &'a str,
    /// Who listens, where this node leads.
    pub audience: Option<Audience>,
    /// What the command adds of its own.
    pub kind: Kind<'a>,
}

/// The listeners of a station, as its leader knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// How many there are.
    pub listening: usize,
    /// How many of them heard a hole in the last ten seconds.
    pub suffering: usize,
    /// The one that heard most of them; empty if there is none.
    pub worst: String,
}

/// The part of the status in which the commands differ.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// `send`: frames sent, how far the encoder is ahead, and how what is heard here is in step.
    Send {
        /// Frames sent.
        sent: u64,
        /// Encoded and not sent yet.
        ahead: Duration,
        /// The encoder has nothing more to do.
        encoded: bool,
        /// How much later than it should what is heard leaves the device, in microseconds; none where it is not known, and
        /// without `--listen`.
        sync_us: Option<f64>,
    },
    /// `listen`: how full the buffer is, and the counters.
    Listen {
        /// Sound in the buffer.
        held: Duration,
        /// Size of the buffer.
        buffer: Duration,
        /// The size follows the network.
        adapts: bool,
        /// How much later than it should what is heard leaves the device, in microseconds, if that is known.
        sync_us: Option<f64>,
        /// Counters since start.
        statistics: &'a Statistics,
    },
}

/// `title – artist`, or what there is of it.
pub(super) fn title_of(title: &str, artist: &str) -> String {
    if artist.is_empty() {
        title.to_string()
    } else {
        format!("{title} – {artist}")
    }
}
