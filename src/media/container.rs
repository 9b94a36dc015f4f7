//! Which track of which container is to be played, and how long does it claim to be?

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::*;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use std::io::ErrorKind;

use super::decoder::PacketDecoder;
use super::format_hints::begins_like_mp4;
use super::resample::RATES;
use super::source_error::SourceError;

/// Bytes of sound from which on a WAV's or AIFF's length is the placeholder of a program that wrote into a pipe.
const PLACEHOLDER_BYTES: u64 = 0x7FFF_0000;

/// The longest packet of a CAF, in samples: ALAC's.
const MAX_CAF_PACKET: u64 = 4096;

/// What the container says about the track's length, in samples at the track's rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Length {
    /// Never 0: that stands for "unknown" in several formats.
    pub(super) known: Option<u64>,
    /// Whether it is a promise, or an estimate from the bitrate.
    pub(super) exact: bool,
    /// By how much a promise may be too large.
    pub(super) slack: u64,
}

/// A track that can be played.
pub(super) struct Chosen {
    pub(super) track_id: u32,
    pub(super) decoder: PacketDecoder,
    /// The container's word on the rate, in Hz.
    pub(super) nominal_rate: Option<u32>,
    pub(super) length: Length,
    /// The unit of a packet's time and duration: often a sample, in Matroska 1 ms.
    pub(super) time_base: Option<TimeBase>,
    /// Samples at the start that the decoder drops by itself.
    pub(super) hidden: u64,
    /// Whether the reader would cut the track off where it estimates its end: symphonia's MPEG reader does so for files
    /// (not for pipes) without an encoder's header, and loses a fifth of a VBR file.
    pub(super) cut_to_estimate: bool,
    /// The unit of the first packet's time, if that is how much before the sound it begins: Matroska's way to tell the
    /// encoder's run-up, rounded to 1 ms (Opus tells its own).
    pub(super) run_up: Option<TimeBase>,
    /// Whether a packet's duration says how many of its samples are meant to be heard.
    pub(super) cut_to_duration: bool,
}

/// Recognises the format by its content; the extension only helps to guess.
///
/// # Errors
/// `NotAudio`, `IndexAtEnd`, `IndexMissing`, `NeedsFile` or `Unreadable`.
pub(super) fn probe(
    media: Box<dyn MediaSource>,
    head: &[u8],
    extension: Option<&str>,
) -> Result<Box<dyn FormatReader>, SourceError> {
    let seekable = media.is_seekable();
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(media, Default::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    symphonia::default::get_probe()
        .probe(&hint, stream, format, metadata)
        .map_err(|error| unrecognised(error, head, seekable))
}

fn unrecognised(error: SymphoniaError, head: &[u8], seekable: bool) -> SourceError {
    let (what, no_index) = match error {
        SymphoniaError::IoError(error) if error.kind() != ErrorKind::UnexpectedEof => {
            // symphonia's own readers use this kind for what they cannot parse; the system's have a number.
            if error.raw_os_error().is_some() {
                return SourceError::Unreadable(error);
            }
            (error.to_string(), false)
        }
        SymphoniaError::IoError(_) => ("it ends before the sound begins".to_owned(), true),
        SymphoniaError::Unsupported(text) if text.starts_with("core (probe)") => {
            ("no known format".to_owned(), false)
        }
        SymphoniaError::Unsupported(text) => (text.to_owned(), text.contains("moov")),
        error => (error.to_string(), false),
    };
    if head.starts_with(b"caff") && !seekable {
        return SourceError::NeedsFile;
    }
    if begins_like_mp4(head) && (no_index || !seekable) {
        return match seekable {
            true => SourceError::IndexMissing,
            false => SourceError::IndexAtEnd,
        };
    }
    SourceError::NotAudio { what }
}

/// The default audio track if it can be decoded, else the first that can.
///
/// # Errors
/// What is wrong with the default one: `SampleRate` or `Codec`; or `NoAudioTrack`.
pub(super) fn choose(
    format: &dyn FormatReader,
    byte_length: Option<u64>,
) -> Result<Chosen, SourceError> {
    let mut refused = None;
    let default = format.default_track(TrackType::Audio);
    for track in default.into_iter().chain(format.tracks()) {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            continue;
        };
        let params = &with_rate(format, track, params);
        let decoder = params
            .sample_rate
            .map_or(Ok(()), check_rate)
            .and_then(|()| PacketDecoder::new(track, params));
        match decoder {
            Ok(decoder) => {
                let mut length = length_of(format, track, params, byte_length);
                let hidden = decoder.hidden_samples();
                length.known = length.known.map(|samples| samples.saturating_sub(hidden));
                return Ok(Chosen {
                    track_id: track.id,
                    decoder,
                    nominal_rate: params.sample_rate,
                    length,
                    time_base: track.time_base,
                    hidden,
                    cut_to_estimate: is_mpeg(format) && !length.exact && byte_length.is_some(),
                    run_up: track.time_base.filter(|_| {
                        format.format_info().format == FORMAT_ID_MKV
                            && params.codec != CODEC_ID_OPUS
                    }),
                    cut_to_duration: durations_are_samples(format, track, params),
                });
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or(SourceError::NoAudioTrack))
}

/// An MP4's entry has no room for rates above 65,535 Hz and says 0 then; its timescale is the rate.
fn with_rate(
    format: &dyn FormatReader,
    track: &Track,
    params: &AudioCodecParameters,
) -> AudioCodecParameters {
    let mut params = params.clone();
    if params.sample_rate == Some(0) && is_mp4(format) {
        params.sample_rate = ticks_per_second(track).or(params.sample_rate);
    }
    params
}

fn ticks_per_second(track: &Track) -> Option<u32> {
    let base = track.time_base.filter(|base| base.numer.get() == 1)?;
    Some(base.denom.get())
}

/// # Errors
/// `SampleRate`, if no recording can have this rate.
pub(super) fn check_rate(rate: u32) -> Result<(), SourceError> {
    match RATES.contains(&rate) {
        true => Ok(()),
        false => Err(SourceError::SampleRate(rate)),
    }
}

/// `byte_length` is `None` for a pipe.
fn length_of(
    format: &dyn FormatReader,
    track: &Track,
    params: &AudioCodecParameters,
    byte_length: Option<u64>,
) -> Length {
    let kind = format.format_info().format;
    let known = track
        .num_frames
        .filter(|&frames| frames > 0)
        .or_else(|| samples_of(track.duration, track.time_base, params))
        .or_else(|| {
            let media = format.media_info();
            samples_of(media.duration, media.time_base, params)
        });
    let Some(samples) = known else {
        return Length::default();
    };
    if kind == FORMAT_ID_WAVE || kind == FORMAT_ID_AIFF {
        let bits = params.bits_per_coded_sample.unwrap_or(32);
        let channels = params.channels.as_ref().map_or(1, |c| c.count());
        let bytes = samples.saturating_mul(u64::from(bits) / 8 * channels as u64);
        if bytes >= PLACEHOLDER_BYTES && byte_length.is_none_or(|length| length < bytes) {
            return Length::default();
        }
    }
    let exact = match kind {
        // Without the encoder's own header the reader estimates from the bitrate.
        _ if is_mpeg(format) => track.delay.is_some(),
        FORMAT_ID_ADTS => false,
        // The duration of the longest track, which may be a film.
        FORMAT_ID_MKV => format.tracks().len() == 1,
        _ => true,
    };
    Length {
        known: Some(samples),
        exact,
        // ffmpeg counts the last packet as full.
        slack: if kind == FORMAT_ID_CAF {
            MAX_CAF_PACKET
        } else {
            0
        },
    }
}

pub(super) fn is_mp4(format: &dyn FormatReader) -> bool {
    format.format_info().format == FORMAT_ID_ISOMP4
}

fn is_mpeg(format: &dyn FormatReader) -> bool {
    let kind = format.format_info().format;
    [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&kind)
}

fn samples_of(
    duration: Option<Duration>,
    time_base: Option<TimeBase>,
    params: &AudioCodecParameters,
) -> Option<u64> {
    let duration = duration.filter(|duration| !duration.is_zero())?;
    let seconds = time_base?.calc_duration(duration)?.as_secs_f64();
    let samples = (seconds * f64::from(params.sample_rate?)).round();
    (samples >= 1.0).then_some(samples as u64)
}

/// Samples at `rate` before time 0 in what begins at `start`.
pub(super) fn samples_before_zero(start: Timestamp, base: TimeBase, rate: u32) -> u64 {
    let ticks = u128::from(start.get().min(0).unsigned_abs());
    let scaled = ticks * u128::from(base.numer.get()) * u128::from(rate);
    u64::try_from(scaled / u128::from(base.denom.get())).unwrap_or(0)
}

/// MP4 shortens the last packet's duration where the encoder padded it; its reader does not trim.
fn durations_are_samples(
    format: &dyn FormatReader,
    track: &Track,
    params: &AudioCodecParameters,
) -> bool {
    let per_second = ticks_per_second(track);
    is_mp4(format) && per_second.is_some() && per_second == params.sample_rate
}
