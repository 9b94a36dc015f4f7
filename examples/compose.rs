//! What does the demo play? Music that this program composes, so that it is ours, small, and free of rights.
//!
//!     cargo run --release --example compose -- OUT.wav
//!
//! Thirty seconds, stereo, 48 kHz, 16 bit: a slow progression in D major, with a pad, a bass, a plucked arpeggio that
//! echoes from side to side, a melody of bells and soft percussion. Everything is sine waves, seeded noise and envelopes,
//! so that the same program makes the same file (to rounding in the platform's `sin`). Left and right differ all the time
//! (swapped or mixed channels would be heard), and each bar has its own harmony (a skip would be heard, too).

use std::f32::consts::TAU;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

const RATE: usize = 48_000;
const BEAT: f32 = 60.0 / 92.0;
const BAR: f32 = 4.0 * BEAT;
/// One bar before the melody, eight of it, one of the last chord, and the room to let it fade.
const SECONDS: f32 = 11.0 * BAR + 2.0;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: compose OUT.wav");
        return ExitCode::from(2);
    };
    let mut song = Song::new(SECONDS);
    compose(&mut song);
    song.echo(0.75 * BEAT, 0.30);
    song.fade(0.4, 4.0);
    song.normalise(0.72); // −16 LUFS, and room for what a lossy encoder adds to the peaks
    match song.write_wav(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("writing {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One bar of harmony: the bass note and four notes above it, as MIDI note numbers.
struct Chord {
    bass: i32,
    notes: [i32; 4],
}

/// D · A/C♯ · Bm7 · G△ | D/F♯ · G△ · Em7 · A4 – A, then home.
const HARMONY: [Chord; 8] = [
    chord(38, [57, 62, 66, 69]),
    chord(37, [57, 61, 64, 69]),
    chord(35, [57, 62, 66, 71]),
    chord(31, [55, 59, 66, 71]),
    chord(30, [57, 62, 66, 74]),
    chord(31, [55, 62, 66, 71]),
    chord(28, [55, 59, 62, 67]),
    chord(33, [57, 62, 64, 69]),
];
const HOME: Chord = chord(38, [57, 62, 66, 69]);

const fn chord(bass: i32, notes: [i32; 4]) -> Chord {
    Chord { bass, notes }
}

/// The melody: beat within the eight bars, length in beats, note.
const MELODY: [(f32, f32, i32); 27] = [
    (0.0, 1.5, 78),
    (1.5, 0.5, 76),
    (2.0, 2.0, 74),
    (4.0, 1.0, 73),
    (5.0, 1.0, 76),
    (6.0, 2.0, 81),
    (8.0, 1.5, 78),
    (9.5, 0.5, 79),
    (10.0, 1.0, 78),
    (11.0, 1.0, 74),
    (12.0, 3.0, 71),
    (15.0, 0.5, 73),
    (15.5, 0.5, 74),
    (16.0, 1.5, 78),
    (17.5, 0.5, 76),
    (18.0, 1.0, 78),
    (19.0, 1.0, 81),
    (20.0, 1.5, 83),
    (21.5, 0.5, 81),
    (22.0, 1.0, 78),
    (23.0, 1.0, 74),
    (24.0, 1.0, 76),
    (25.0, 1.0, 79),
    (26.0, 2.0, 78),
    (28.0, 1.0, 74),
    (29.0, 2.0, 76),
    (31.0, 1.0, 73),
];

fn compose(song: &mut Song) {
    let bars = [&HARMONY[0]]
        .into_iter()
        .chain(&HARMONY)
        .chain([&HARMONY[3], &HOME]);
    for (bar, chord) in bars.enumerate() {
        let start = bar as f32 * BAR;
        let last = bar == 10;
        pad(song, start, if last { 2.0 * BAR } else { BAR }, chord);
        bass(song, start, chord, last);
        arpeggio(song, start, chord, last);
        if bar > 0 && !last {
            percussion(song, start, bar as u32);
        }
    }
    for (beat, length, note) in MELODY {
        bell(song, BAR + beat * BEAT, length * BEAT, note);
    }
    bell(song, 9.0 * BAR, 4.0 * BEAT, 78);
    bell(song, 10.0 * BAR, 6.0 * BEAT, 74);
    bell(song, 10.0 * BAR + 0.04, 6.0 * BEAT, 81);
}

/// Soft strings: each note on its own place, twice, a few cents apart, so that the sides beat differently.
fn pad(song: &mut Song, start: f32, length: f32, chord: &Chord) {
    for (i, &note) in chord.notes.iter().enumerate() {
        for (cents, pan) in [(-4.0, 0.15 + 0.1 * i as f32), (5.0, 0.85 - 0.1 * i as f32)] {
            let hz = pitch(note) * (cents / 1200.0f32).exp2();
            song.play(start, length + 0.5, pan, |t| {
                let envelope = (t / 0.35).min(1.0) * ((length + 0.5 - t) / 0.5).clamp(0.0, 1.0);
                let phase = TAU * hz * t;
                let tone = phase.sin()
                    + 0.35 * (2.0 * phase).sin()
                    + 0.16 * (3.0 * phase).sin()
                    + 0.05 * (5.0 * phase).sin();
                0.045 * envelope * tone * (1.0 + 0.12 * (TAU * 0.4 * t + i as f32).sin())
            });
        }
    }
}

fn bass(song: &mut Song, start: f32, chord: &Chord, last: bool) {
    let strokes: &[(f32, f32, i32)] = if last {
        &[(0.0, 7.0, 0)]
    } else {
        &[(0.0, 1.4, 0), (1.5, 0.9, 0), (2.5, 0.4, 12), (3.0, 0.9, 7)]
    };
    for &(beat, length, up) in strokes {
        let hz = pitch(chord.bass + up);
        let length = length * BEAT;
        song.play(start + beat * BEAT, length + 0.08, 0.46, |t| {
            let envelope = (t / 0.012).min(1.0)
                * ((length + 0.08 - t) / 0.08).clamp(0.0, 1.0)
                * (-0.9 * t).exp();
            let phase = TAU * hz * t;
            0.26 * envelope
                * (phase.sin()
                    + 0.45 * (2.0 * phase).sin() * (-3.0 * t).exp()
                    + 0.2 * (3.0 * phase).sin() * (-6.0 * t).exp())
        });
    }
}

/// Eighth notes up and down the chord, plucked in turn on the left and on the right.
fn arpeggio(song: &mut Song, start: f32, chord: &Chord, last: bool) {
    const ORDER: [usize; 8] = [0, 1, 2, 3, 2, 1, 3, 2];
    for (step, &which) in ORDER.iter().enumerate().take(if last { 4 } else { 8 }) {
        let hz = pitch(chord.notes[which] + 12);
        let pan = if step % 2 == 0 { 0.2 } else { 0.8 };
        let accent = if step % 4 == 0 { 1.0 } else { 0.75 };
        song.play(start + step as f32 * BEAT / 2.0, 1.2, pan, |t| {
            let phase = TAU * hz * t;
            let pluck = (1..=6)
                .map(|k| (k as f32 * phase).sin() / k as f32 * (-t * (2.5 + 2.2 * k as f32)).exp())
                .sum::<f32>();
            0.085 * accent * (t / 0.004).min(1.0) * pluck * ((1.2 - t) / 0.1).clamp(0.0, 1.0)
        });
    }
}

/// A bell by frequency modulation: bright when struck, a plain sine as it rings.
fn bell(song: &mut Song, start: f32, length: f32, note: i32) {
    let hz = pitch(note);
    let pan = 0.5 + 0.02 * (note - 76) as f32;
    let ring = length + 0.9;
    song.play(start, ring, pan, |t| {
        let vibrato = 0.004 * (TAU * 5.2 * t).sin() * (t / 0.6).min(1.0) * hz / 5.2;
        let strike = 1.6 * (-5.0 * t).exp() * (TAU * 2.0 * hz * t).sin();
        let envelope = (t / 0.006).min(1.0) * (-1.5 * t).exp() * ((ring - t) / 0.4).clamp(0.0, 1.0);
        0.19 * envelope
            * ((TAU * hz * t + vibrato + strike).sin()
                + 0.25 * (2.0 * TAU * hz * t).sin() * (-4.0 * t).exp())
    });
}

/// A soft kick on one and three, a brushed snare on two and four, a shaker off to the right.
fn percussion(song: &mut Song, start: f32, bar: u32) {
    for beat in [0.0, 2.0] {
        song.play(start + beat * BEAT, 0.30, 0.5, |t| {
            // The pitch falls from 125 to 45 Hz: the phase is the integral of 45 + 80·e^(−30 t).
            0.36 * (TAU * (45.0 * t + 80.0 / 30.0 * (1.0 - (-30.0 * t).exp()))).sin()
                * (-11.0 * t).exp()
                * ((0.30 - t) / 0.03).clamp(0.0, 1.0)
        });
    }
    for (i, beat) in [1.0, 3.0].into_iter().enumerate() {
        let mut noise = Noise::new(bar * 16 + i as u32);
        song.play(start + beat * BEAT, 0.22, 0.42, |t| {
            0.075 * (t / 0.008).min(1.0) * (-17.0 * t).exp() * noise.high_passed(0.5)
        });
    }
    for eighth in 0..8 {
        let mut noise = Noise::new(bar * 16 + 4 + eighth);
        let loud = if eighth % 2 == 1 { 0.040 } else { 0.018 };
        song.play(
            start + (eighth as f32 + 0.5) * BEAT / 2.0,
            0.08,
            0.78,
            |t| loud * (t / 0.01).min(1.0) * (-45.0 * t).exp() * noise.high_passed(0.1),
        );
    }
}

/// The frequency of a MIDI note number in hertz (69 is the A of 440 Hz).
fn pitch(note: i32) -> f32 {
    440.0 * ((note - 69) as f32 / 12.0).exp2()
}

/// White noise with its lows taken off; seeded, so that every run makes the same file.
struct Noise {
    state: u32,
    low: f32,
}

impl Noise {
    fn new(seed: u32) -> Noise {
        Noise {
            state: seed.wrapping_mul(2_654_435_769) | 1,
            low: 0.0,
        }
    }

    fn high_passed(&mut self, smooth: f32) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        let white = self.state as f32 / u32::MAX as f32 * 2.0 - 1.0;
        self.low += (1.0 - smooth) * 0.5 * (white - self.low);
        white - self.low
    }
}

/// Interleaved stereo samples that notes are added to.
struct Song {
    samples: Vec<[f32; 2]>,
}

impl Song {
    fn new(seconds: f32) -> Song {
        Song {
            samples: vec![[0.0; 2]; (seconds * RATE as f32) as usize],
        }
    }

    /// Adds `voice(seconds since its start)` at `start`, for `length` seconds, between left (0) and right (1).
    fn play(&mut self, start: f32, length: f32, pan: f32, mut voice: impl FnMut(f32) -> f32) {
        let (left, right) = ((pan * TAU / 4.0).cos(), (pan * TAU / 4.0).sin());
        let first = (start * RATE as f32) as usize;
        let count = (length * RATE as f32) as usize;
        for (i, frame) in self.samples.iter_mut().skip(first).take(count).enumerate() {
            let sample = voice(i as f32 / RATE as f32);
            frame[0] += left * sample;
            frame[1] += right * sample;
        }
    }

    /// Echoes that change sides each time.
    fn echo(&mut self, delay: f32, feedback: f32) {
        let delay = (delay * RATE as f32) as usize;
        for i in delay..self.samples.len() {
            let [left, right] = self.samples[i - delay];
            self.samples[i][0] += feedback * right;
            self.samples[i][1] += feedback * left;
        }
    }

    fn fade(&mut self, fade_in: f32, fade_out: f32) {
        let count = self.samples.len() as f32;
        for (i, frame) in self.samples.iter_mut().enumerate() {
            let begun = i as f32 / (fade_in * RATE as f32);
            let left = (count - i as f32) / (fade_out * RATE as f32);
            let gain = begun.min(left).clamp(0.0, 1.0);
            // Equal steps in level sound even; equal steps in gain do not.
            frame.iter_mut().for_each(|sample| *sample *= gain * gain);
        }
    }

    fn normalise(&mut self, peak: f32) {
        let loudest = self
            .samples
            .iter()
            .flatten()
            .fold(0.0f32, |max, sample| max.max(sample.abs()));
        self.samples
            .iter_mut()
            .flatten()
            .for_each(|sample| *sample *= peak / loudest);
    }

    fn write_wav(&self, path: &str) -> std::io::Result<()> {
        let bytes = (self.samples.len() * 4) as u32;
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(b"RIFF")?;
        out.write_all(&(36 + bytes).to_le_bytes())?;
        out.write_all(b"WAVEfmt \x10\0\0\0\x01\0\x02\0")?;
        out.write_all(&(RATE as u32).to_le_bytes())?;
        out.write_all(&(RATE as u32 * 4).to_le_bytes())?;
        out.write_all(b"\x04\0\x10\0data")?;
        out.write_all(&bytes.to_le_bytes())?;
        for sample in self.samples.iter().flatten() {
            out.write_all(&((sample * 32767.0) as i16).to_le_bytes())?;
        }
        out.flush()
    }
}
