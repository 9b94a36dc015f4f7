//! How do a container's packets become planes of samples? Through symphonia, and Opus through libopus.
//!
//! The most common kind of WAV is unpacked here: symphonia's PCM decoder goes sample by sample through a closure, which
//! costs a tenth of what libopus needs for the same sound.

use opus as libopus;
use symphonia::core::audio::{AudioSpec, Channels};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS, CODEC_ID_PCM_S16LE};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::Track;
use symphonia::core::packet::Packet;

use super::SAMPLE_RATE;
use super::format_hints::codec_name;
use super::source_error::SourceError;

/// The longest Opus packet: 120 ms (RFC 6716, section 3.2.5).
const MAX_OPUS_SAMPLES: usize = 5760;

/// Decodes the packets of one track.
pub(super) enum PacketDecoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusTrack),
    /// 16-bit little-endian samples, interleaved.
    Pcm16(AudioSpec),
}

/// Why a packet gave no samples. The next one may: symphonia calls some errors final that a single wrong bit can cause.
pub(super) type DecodeFailure = String;

impl PacketDecoder {
    /// A decoder for a track.
    ///
    /// # Errors
    /// [`SourceError::Codec`], with the codec's name.
    pub(super) fn new(
        track: &Track,
        params: &AudioCodecParameters,
    ) -> Result<PacketDecoder, SourceError> {
        if params.codec == CODEC_ID_OPUS {
            return OpusTrack::new(track, params).map(PacketDecoder::Opus);
        }
        if let Some(spec) = spec_of_pcm16(params) {
            return Ok(PacketDecoder::Pcm16(spec));
        }
        if params.codec == CODEC_ID_AAC
            && let Some(kind) = super::aac::unsupported(params)
        {
            return Err(SourceError::Codec(kind));
        }
        let options = AudioDecoderOptions::default().gapless(true);
        symphonia::default::get_codecs()
            .make_audio_decoder(params, &options)
            .map(PacketDecoder::Symphonia)
            .map_err(|_| SourceError::Codec(codec_name(params.codec)))
    }

    /// Whether its packets are AAC.
    pub(super) fn is_aac(&self) -> bool {
        match self {
            PacketDecoder::Symphonia(decoder) => decoder.codec_params().codec == CODEC_ID_AAC,
            PacketDecoder::Opus(_) | PacketDecoder::Pcm16(_) => false,
        }
    }

    /// Samples at the start that the container counts and nobody is meant to hear.
    pub(super) fn hidden_samples(&self) -> u64 {
        match self {
            PacketDecoder::Opus(opus) => opus.to_skip as u64,
            _ => 0,
        }
    }

    /// Decodes one packet into one plane per channel. `spec` becomes the rate and the channels of these samples, and is
    /// not written to if it is so already. Encoder delay and padding are cut off as far as the container names them.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        planes: &mut Vec<Vec<f32>>,
        spec: &mut AudioSpec,
    ) -> Result<(), DecodeFailure> {
        let decoder = match self {
            PacketDecoder::Opus(decoder) => return decoder.decode(packet, planes, spec),
            PacketDecoder::Pcm16(pcm) => {
                unpack_pcm16(&packet.data, pcm.channels().count(), planes);
                if pcm != spec {
                    spec.clone_from(pcm);
                }
                return Ok(());
            }
            PacketDecoder::Symphonia(decoder) => decoder,
        };
        match decoder.decode(packet) {
            Ok(buffer) => {
                buffer.copy_to_vecs_planar(planes);
                if buffer.spec() != spec {
                    spec.clone_from(buffer.spec());
                }
                Ok(())
            }
            Err(SymphoniaError::DecodeError(cause) | SymphoniaError::Unsupported(cause)) => {
                Err(cause.to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

fn spec_of_pcm16(params: &AudioCodecParameters) -> Option<AudioSpec> {
    let channels = params.channels.as_ref().filter(|c| c.count() > 0)?;
    let plain = params.codec == CODEC_ID_PCM_S16LE && params.bits_per_coded_sample == Some(16);
    plain.then_some(AudioSpec::new(params.sample_rate?, channels.clone()))
}

fn unpack_pcm16(data: &[u8], channels: usize, planes: &mut Vec<Vec<f32>>) {
    const SCALE: f32 = 1.0 / 32_768.0;
    let value = |bytes: &[u8]| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) * SCALE;
    planes.resize_with(channels, Vec::new);
    // What a cut-off file has of its last frame is dropped.
    let frames = data.chunks_exact(2 * channels);
    for (channel, plane) in planes.iter_mut().enumerate() {
        plane.clear();
        plane.extend(frames.clone().map(|frame| value(&frame[2 * channel..])));
    }
}

/// An Opus track in somebody else's container: any frame duration, one or two channels.
pub(super) struct OpusTrack {
    inner: libopus::Decoder,
    channels: usize,
    /// Samples of the encoder's delay still to be dropped (RFC 7845, section 4.2).
    to_skip: usize,
    /// One packet's samples, interleaved.
    buffer: Vec<f32>,
}

/// What the identification header says (RFC 7845, section 5.1; in MP4 the same fields are big-endian).
struct OpusHead {
    channels: usize,
    pre_skip: u16,
    /// Gain in dB / 256.
    gain: i16,
}

impl OpusHead {
    fn read(data: &[u8]) -> Option<OpusHead> {
        let fields = data.strip_prefix(b"OpusHead").unwrap_or(data);
        let [version, channels, s0, s1, _, _, _, _, g0, g1, ..] = *fields else {
            return None;
        };
        // MP4 has version 0 and network byte order; everybody else 1 and little-endian.
        let (pre_skip, gain) = match version {
            0 => (u16::from_be_bytes([s0, s1]), i16::from_be_bytes([g0, g1])),
            _ => (u16::from_le_bytes([s0, s1]), i16::from_le_bytes([g0, g1])),
        };
        Some(OpusHead {
            channels: usize::from(channels),
            pre_skip,
            gain,
        })
    }
}

impl OpusTrack {
    fn new(track: &Track, params: &AudioCodecParameters) -> Result<OpusTrack, SourceError> {
        let head = params.extra_data.as_deref().and_then(OpusHead::read);
        let head = head.unwrap_or(OpusHead {
            channels: params.channels.as_ref().map_or(2, Channels::count),
            pre_skip: track.delay.and_then(|d| u16::try_from(d).ok()).unwrap_or(0),
            gain: 0,
        });
        // A stereo decoder would take such packets without an error and drop channels.
        let layout = match head.channels {
            1 => libopus::Channels::Mono,
            2 => libopus::Channels::Stereo,
            n => return Err(SourceError::Codec(format!("Opus with {n} channels"))),
        };
        let failed = |error: libopus::Error| SourceError::Codec(format!("Opus ({error})"));
        let mut inner = libopus::Decoder::new(SAMPLE_RATE, layout).map_err(failed)?;
        inner.set_gain(i32::from(head.gain)).map_err(failed)?;
        Ok(OpusTrack {
            inner,
            channels: head.channels,
            to_skip: usize::from(head.pre_skip),
            buffer: vec![0.0; MAX_OPUS_SAMPLES * head.channels],
        })
    }

    fn decode(
        &mut self,
        packet: &Packet,
        planes: &mut Vec<Vec<f32>>,
        spec: &mut AudioSpec,
    ) -> Result<(), DecodeFailure> {
        if packet.data.is_empty() {
            return Err("an Opus packet of 0 bytes".to_owned());
        }
        let samples = self
            .inner
            .decode_float(&packet.data, &mut self.buffer, false)
            .map_err(|error| error.description().to_owned())?;
        let trimmed = usize::try_from(packet.trim_start.get()).unwrap_or(usize::MAX);
        let first = self.to_skip.max(trimmed).min(samples);
        self.to_skip = self.to_skip.saturating_sub(first);
        let cut = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let last = samples.saturating_sub(cut).max(first);
        planes.resize_with(self.channels, Vec::new);
        let kept = &self.buffer[first * self.channels..last * self.channels];
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            plane.extend(kept.iter().skip(channel).step_by(self.channels));
        }
        if spec.rate() != SAMPLE_RATE || spec.channels().count() != self.channels {
            *spec = AudioSpec::new(SAMPLE_RATE, Channels::Discrete(self.channels as u16));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "opus_input_tests.rs"]
mod tests;
