//! What is played, and what that has to be on the wire: the songs, encoded here as the contract says.
//!
//! libopus gives the same bytes for the same samples on one machine. So the stream that nobody disturbed is known without
//! playing it: each payload that was captured must be the one that stands here at its place.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use opus::{Application, Bitrate, Channels, Encoder};

use crate::music::{self, Music};
use crate::net::Lan;
use crate::reference;

/// Longer songs are this much of music, again and again: composing takes time that others need. It is more than what ffmpeg
/// records, since a place in music that comes again cannot be told.
const COMPOSED_S: usize = 70;

/// Seconds, and whether the sides are exchanged.
type Name = (usize, bool);

/// A song, and its packets.
pub(crate) struct Song {
    pub(crate) music: Music,
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl Song {
    /// The song of so many seconds: always the same.
    pub(crate) fn of(seconds: usize) -> Arc<Song> {
        Song::kept(seconds, false)
    }

    /// Another one.
    pub(crate) fn other(seconds: usize) -> Arc<Song> {
        Song::kept(seconds, true)
    }

    fn kept(seconds: usize, crossed: bool) -> Arc<Song> {
        static SONGS: LazyLock<Mutex<HashMap<Name, Arc<Song>>>> = LazyLock::new(Mutex::default);
        let mut songs = SONGS.lock().unwrap();
        let make = || Arc::new(Song::make(seconds, crossed));
        Arc::clone(songs.entry((seconds, crossed)).or_insert_with(make))
    }

    fn make(seconds: usize, crossed: bool) -> Song {
        let mut music = music::piece(48_000, 2, seconds.min(COMPOSED_S) as f64);
        for side in &mut music.channels {
            *side = side
                .iter()
                .copied()
                .cycle()
                .take(seconds * 48_000)
                .collect();
        }
        if crossed {
            music.channels.reverse();
        }
        let payloads = encode(&music);
        Song { music, payloads }
    }

    /// Writes it as `NAME.wav` into the test's folder and returns the path, for a command line.
    pub(crate) fn save(&self, lan: &Lan, name: &str) -> String {
        let file = format!("{name}.wav");
        self.music.save(&lan.dir.join(&file), &[]);
        lan.path(&file)
    }
}

/// By DESIGN 3 to 5: 20 ms at 128 kbit/s, inter-frame prediction off, padded with silence for the encoder's look-ahead.
fn encode(music: &Music) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
    encoder.set_bitrate(Bitrate::Bits(128_000)).unwrap();
    encoder.set_complexity(10).unwrap();
    encoder.set_prediction_disabled(true).unwrap();
    let frame = |index: usize| -> Vec<f32> {
        let sample = |at: usize, side: usize| {
            // What a 16-bit file keeps of a sample.
            let sample = music.channels[side].get(at).copied().unwrap_or(0.0);
            (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) / 32_768.0
        };
        (index * 960..(index + 1) * 960)
            .flat_map(|at| [sample(at, 0), sample(at, 1)])
            .collect()
    };
    (0..reference::frames_of(music.len()))
        .map(|index| encoder.encode_vec_float(&frame(index), 1_275).unwrap())
        .collect()
}
