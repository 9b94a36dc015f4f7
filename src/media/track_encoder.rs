//! How does a source become packets, and how many? The rule that every node's arithmetic of track lengths rests on.
//!
//! Fewer than 960 samples make 1 packet: a second would hold nothing but the look-ahead's last 6.5 ms of a sound that is
//! over. Else N samples make ceil((N + 312) / 960): the decoder's output lags 312 samples behind, and the packets go on
//! until the last sample came out. No samples, no packet.

use super::opus::{
    Encoder, EncoderConfig, FRAME_SAMPLES, FRAME_VALUES, LOOKAHEAD, MAX_PACKET_BYTES,
};
use super::source::{Source, SourceError};
use super::tags::Tags;

/// Packets of a source with `samples` samples at 48 kHz.
pub fn frames_of(samples: u64) -> u64 {
    match samples {
        0 => 0,
        n if n < FRAME_SAMPLES as u64 => 1,
        n => n
            .saturating_add(LOOKAHEAD as u64)
            .div_ceil(FRAME_SAMPLES as u64),
    }
}

/// Bytes that `samples` samples at 48 kHz need once encoded, offsets and hashes included. VBR keeps the mean bitrate
/// within a few per cent over a track.
pub fn encoded_bytes_estimate(samples: u64, config: EncoderConfig) -> u64 {
    // 50 frames a second; 2 bytes of offset a frame, and a hash of 32 for 50 frames.
    let per_frame = u64::from(config.bitrate_kbps) * 1000 / 8 / 50 + 3;
    frames_of(samples).saturating_mul(per_frame)
}

/// Encodes a source from its beginning to its end.
pub struct TrackEncoder {
    source: Source,
    encoder: Encoder,
    /// Decoded samples not yet encoded, interleaved, from `used` on.
    samples: Vec<f32>,
    used: usize,
    packet: Box<[u8; MAX_PACKET_BYTES]>,
    /// Samples per channel read so far, and packets made.
    read: u64,
    made: u64,
    input: Input,
}

enum Input {
    Open,
    /// No more samples will come; what was wrong is told after the last packet.
    Ended(Option<SourceError>),
}

impl TrackEncoder {
    /// An encoder at the start of `source`.
    ///
    /// # Errors
    /// [`SourceError::Opus`], for a config outside its limits.
    pub fn new(source: Source, config: EncoderConfig) -> Result<TrackEncoder, SourceError> {
        Ok(TrackEncoder {
            source,
            encoder: Encoder::new(config)?,
            samples: Vec::new(),
            used: 0,
            packet: Box::new([0; MAX_PACKET_BYTES]),
            read: 0,
            made: 0,
            input: Input::Open,
        })
    }

    /// Title and artist.
    pub fn tags(&self) -> &Tags {
        self.source.tags()
    }

    /// How many packets there will be, if the container knows (see [`Source::known_samples`]).
    pub fn known_frames(&self) -> Option<u64> {
        self.source.known_samples().map(frames_of)
    }

    /// The next packet; `None` at the end. Waits for a slow reader.
    ///
    /// # Errors
    /// What the source says, once, after the packets of everything before, tail included; then `None`.
    pub fn next_packet(&mut self) -> Result<Option<&[u8]>, SourceError> {
        while self.samples.len() - self.used < FRAME_VALUES {
            match &mut self.input {
                Input::Open => self.fill(),
                Input::Ended(_) if self.made < frames_of(self.read) => self.pad(),
                Input::Ended(failure) => return failure.take().map_or(Ok(None), Err),
            }
        }
        let frame = &self.samples[self.used..self.used + FRAME_VALUES];
        let length = self.encoder.encode(frame, &mut self.packet[..])?;
        self.used += FRAME_VALUES;
        self.made += 1;
        Ok(Some(&self.packet[..length]))
    }

    fn fill(&mut self) {
        self.samples.drain(..self.used);
        self.used = 0;
        match self.source.read(&mut self.samples) {
            Ok(0) => self.input = Input::Ended(None),
            Ok(read) => self.read += read as u64,
            Err(error) => self.input = Input::Ended(Some(error)),
        }
    }

    /// Completes the last frame with silence, or adds one of silence for the look-ahead.
    fn pad(&mut self) {
        self.samples.resize(self.used + FRAME_VALUES, 0.0);
    }
}

#[cfg(test)]
#[path = "track_encoder_tests.rs"]
mod tests;
