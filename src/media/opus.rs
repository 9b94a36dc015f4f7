//! Which Opus do we speak? One kind only: 48 kHz, stereo, 20 ms, inter-frame prediction disabled. (We understand the others.)
//!
//! With prediction disabled a decoder is exact again within four packets of a hole or a join instead of forty (the cost
//! is 0.06 dB at 128 kbit/s), so a lost packet costs one frame and eight frames of pre-roll are exact. In-band FEC stays
//! off: it never carries anything for music and drives libopus into hybrid mode.

use opus as libopus;

use crate::wire::media::MAX_PAYLOAD_BYTES;

/// Samples of one frame, per channel: 20 ms at 48 kHz.
pub const FRAME_SAMPLES: usize = 960;
/// Values of one frame, interleaved left and right.
pub const FRAME_VALUES: usize = 2 * FRAME_SAMPLES;
/// The largest packet of one 20 ms frame, in bytes (RFC 6716, section 3.4, R2).
pub const MAX_PACKET_BYTES: usize = MAX_PAYLOAD_BYTES;
/// Values of the longest packet of anybody: 120 ms.
pub const LONGEST_VALUES: usize = 6 * FRAME_VALUES;
/// Samples per channel of the shortest frame, 2.5 ms: libopus conceals multiples of it.
const GRAIN_SAMPLES: usize = 120;
/// Samples per channel by which the decoder's output lags behind the encoder's input.
pub const LOOKAHEAD: usize = 312;

/// The limits of `EncoderConfig::bitrate_kbps` (libopus's own).
pub const BITRATE_KBPS: std::ops::RangeInclusive<u32> = 6..=510;
/// The largest `EncoderConfig::complexity` (libopus's own).
pub const MAX_COMPLEXITY: u8 = 10;

/// What can go wrong in libopus or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum OpusError {
    /// A bitrate outside [`BITRATE_KBPS`].
    #[error("bitrate of {0} kbit/s: choose 6 to 510")]
    Bitrate(u32),
    /// A complexity above [`MAX_COMPLEXITY`].
    #[error("complexity of {0}: choose 0 to 10")]
    Complexity(u8),
    /// A frame to encode that is not [`FRAME_VALUES`] long.
    #[error("encoding a frame of {0} values: a frame has 1920")]
    FrameLength(usize),
    /// A packet without a byte; concealment is asked for with [`Decoder::conceal`].
    #[error("decoding a packet of 0 bytes")]
    Empty,
    /// A packet of another duration than 20 ms.
    #[error("decoding a packet of {0} samples: a frame has 960")]
    PacketDuration(usize),
    /// An encoder of another look-ahead: the arithmetic of track lengths would be wrong.
    #[error("libopus looks {0} samples ahead: lanradio is made for 312")]
    Lookahead(i32),
    /// libopus refused.
    #[error("{action}: {cause}")]
    Library {
        /// What was being done.
        action: &'static str,
        /// libopus's own words.
        cause: &'static str,
    },
}

impl OpusError {
    fn during(action: &'static str) -> impl Fn(libopus::Error) -> OpusError {
        move |error| OpusError::Library {
            action,
            cause: error.description(),
        }
    }
}

/// What a user may choose about the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Mean bitrate (VBR), 6 to 510 kbit/s.
    pub bitrate_kbps: u32,
    /// 0 (cheapest) to 10 (best).
    pub complexity: u8,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig {
            bitrate_kbps: 128,
            complexity: 10,
        }
    }
}

impl EncoderConfig {
    /// Refuses what libopus would refuse, with the limits in the text.
    pub fn check(&self) -> Result<(), OpusError> {
        if !BITRATE_KBPS.contains(&self.bitrate_kbps) {
            return Err(OpusError::Bitrate(self.bitrate_kbps));
        }
        if self.complexity > MAX_COMPLEXITY {
            return Err(OpusError::Complexity(self.complexity));
        }
        Ok(())
    }
}

/// Makes packets of 20 ms from interleaved stereo at 48 kHz.
pub struct Encoder {
    inner: libopus::Encoder,
}

impl Encoder {
    /// An encoder at the start of a track.
    ///
    /// # Errors
    /// A config outside its limits, no memory, or a libopus with another look-ahead.
    pub fn new(config: EncoderConfig) -> Result<Encoder, OpusError> {
        config.check()?;
        let make = OpusError::during("making an Opus encoder");
        let mut inner = libopus::Encoder::new(
            super::SAMPLE_RATE,
            libopus::Channels::Stereo,
            libopus::Application::Audio,
        )
        .map_err(&make)?;
        let bits = libopus::Bitrate::Bits(config.bitrate_kbps as i32 * 1000);
        inner.set_bitrate(bits).map_err(&make)?;
        inner
            .set_complexity(i32::from(config.complexity))
            .map_err(&make)?;
        inner.set_prediction_disabled(true).map_err(&make)?;
        inner.set_inband_fec(false).map_err(&make)?;
        inner.set_packet_loss_perc(0).map_err(&make)?;
        let lookahead = inner.get_lookahead().map_err(&make)?;
        if lookahead != LOOKAHEAD as i32 {
            return Err(OpusError::Lookahead(lookahead));
        }
        Ok(Encoder { inner })
    }

    /// Encodes [`FRAME_VALUES`] values into `out` and says how many bytes the packet has: at most
    /// [`MAX_PACKET_BYTES`], however long `out` is.
    ///
    /// # Errors
    /// A frame of another length, or an `out` too small for libopus.
    pub fn encode(&mut self, frame: &[f32], out: &mut [u8]) -> Result<usize, OpusError> {
        if frame.len() != FRAME_VALUES {
            return Err(OpusError::FrameLength(frame.len()));
        }
        let room = out.len().min(MAX_PACKET_BYTES);
        self.inner
            .encode_float(frame, &mut out[..room])
            .map_err(OpusError::during("encoding an Opus packet"))
    }
}

/// Makes interleaved stereo at 48 kHz from packets of 20 ms.
pub struct Decoder {
    inner: libopus::Decoder,
}

impl Decoder {
    /// A decoder at the start of a track.
    ///
    /// # Errors
    /// Only if memory is exhausted.
    pub fn new() -> Result<Decoder, OpusError> {
        libopus::Decoder::new(super::SAMPLE_RATE, libopus::Channels::Stereo)
            .map(|inner| Decoder { inner })
            .map_err(OpusError::during("making an Opus decoder"))
    }

    /// Decodes one packet. The output may exceed ±1.
    ///
    /// # Errors
    /// A packet that is empty, of another duration than 20 ms (found before the decoder's state is touched), or that
    /// libopus cannot decode. `out` is then unspecified.
    pub fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [f32; FRAME_VALUES],
    ) -> Result<(), OpusError> {
        if packet.is_empty() {
            return Err(OpusError::Empty);
        }
        let action = OpusError::during("decoding an Opus packet");
        let samples = self.inner.get_nb_samples(packet).map_err(&action)?;
        if samples != FRAME_SAMPLES {
            return Err(OpusError::PacketDuration(samples));
        }
        match self.inner.decode_float(packet, out, false) {
            Ok(FRAME_SAMPLES) => Ok(()),
            Ok(other) => Err(OpusError::PacketDuration(other)),
            Err(error) => Err(action(error)),
        }
    }

    /// Writes what libopus guesses for one missing frame. It does not fade out over a long hole: the caller does.
    ///
    /// # Errors
    /// Only on a fault inside libopus.
    pub fn conceal(&mut self, out: &mut [f32; FRAME_VALUES]) -> Result<(), OpusError> {
        let action = OpusError::during("concealing a frame");
        match self.inner.decode_float(&[], out, false) {
            Ok(FRAME_SAMPLES) => Ok(()),
            Ok(other) => Err(OpusError::PacketDuration(other)),
            Err(error) => Err(action(error)),
        }
    }

    /// Decodes a packet of any duration, mono or stereo, and says how many values it made. The output may exceed ±1.
    ///
    /// # Errors
    /// A packet that is empty or that libopus cannot decode. `out` is then unspecified.
    pub fn decode_any(
        &mut self,
        packet: &[u8],
        out: &mut [f32; LONGEST_VALUES],
    ) -> Result<usize, OpusError> {
        if packet.is_empty() {
            return Err(OpusError::Empty);
        }
        let decoded = self.inner.decode_float(packet, out, false);
        decoded
            .map(|samples| 2 * samples)
            .map_err(OpusError::during("decoding an Opus packet"))
    }

    /// Writes what libopus guesses for `samples` missing samples, at most [`FRAME_SAMPLES`], and says how many values that are.
    ///
    /// # Errors
    /// Only on a fault inside libopus.
    pub fn conceal_any(
        &mut self,
        samples: usize,
        out: &mut [f32; LONGEST_VALUES],
    ) -> Result<usize, OpusError> {
        let samples = samples.min(FRAME_SAMPLES);
        let guessed = samples.next_multiple_of(GRAIN_SAMPLES);
        let made = self
            .inner
            .decode_float(&[], &mut out[..2 * guessed], false)
            .map_err(OpusError::during("concealing samples"))?;
        Ok(2 * made.min(samples))
    }

    /// Forgets everything: the next packet is the first of a track.
    pub fn reset(&mut self) {
        // OPUS_RESET_STATE cannot fail on a decoder that exists.
        let _ = self.inner.reset_state();
    }
}

/// The 16-bit sample of a decoded float: × 32768, rounded half to even, clamped; identical to libopus's own 16-bit
/// output. NaN becomes 0.
pub fn sample_to_i16(value: f32) -> i16 {
    // `as` saturates at the ends and maps NaN to 0.
    (value * 32768.0).round_ties_even() as i16
}

#[cfg(test)]
#[path = "opus_tests.rs"]
mod tests;
