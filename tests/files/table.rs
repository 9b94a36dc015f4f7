//! Which files are there in the world? Format × rate × channels, how ffmpeg makes each, and how exactly it must be heard.

use crate::music::{FIVE, FIVE_ONE, FOUR, Layout, MONO, QUAD, SEVEN_ONE, STEREO, THREE};

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The file's name, ending included.
    pub(crate) name: &'static str,
    pub(crate) rate_hz: u32,
    pub(crate) layout: Layout,
    /// What ffmpeg is told, words separated by spaces.
    pub(crate) options: &'static str,
    /// What the whole must be like.
    pub(crate) snr_db: f64,
    /// Whether the file says where its sound ends. If not, it is as long as ffmpeg takes it to be, padding included.
    pub(crate) knows_its_length: bool,
    /// Samples at 48 kHz by which it may be longer: padding that the file names and that is heard nevertheless.
    pub(crate) padding: usize,
}

/// The length of each piece: no whole number of anybody's frames, so that padding shows.
pub(crate) const SECONDS: f64 = 2.345;

impl Kind {
    /// What ffmpeg is told to make it.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        self.options.split(' ').collect()
    }

    /// The decoder to compare with, if it is not ffmpeg's usual one: its own of Opus is another than everybody's.
    pub(crate) fn decoder(&self) -> Option<&'static str> {
        self.options.contains("libopus").then_some("libopus")
    }

    /// Samples of a piece of `seconds` at 48 kHz.
    pub(crate) fn samples_at_48k(&self, seconds: f64) -> usize {
        let samples = (seconds * f64::from(self.rate_hz)) as usize;
        (samples as f64 * 48_000.0 / f64::from(self.rate_hz)).round() as usize
    }
}

/// Samples as they are: what is not exact is wrong.
const EXACT: f64 = 130.0;
/// The same samples through two resamplers.
const RESAMPLED: f64 = 40.0;
/// The same, of a codec whose noise goes up to where resamplers differ by taste.
const NOISY: f64 = 30.0;
/// Two decoders of one lossy stream.
const DECODED: f64 = 70.0;

const fn file(
    name: &'static str,
    rate_hz: u32,
    layout: Layout,
    options: &'static str,
    snr_db: f64,
) -> Kind {
    Kind {
        name,
        rate_hz,
        layout,
        options,
        snr_db,
        knows_its_length: true,
        padding: 0,
    }
}

/// A file without a word on where its sound ends.
const fn endless(kind: Kind) -> Kind {
    Kind {
        knows_its_length: false,
        ..kind
    }
}

/// A Matroska file whose last packet says how much of it is padding, which symphonia reads and does not pass on.
const fn padded(kind: Kind, padding: usize) -> Kind {
    Kind { padding, ..kind }
}

#[rustfmt::skip]
pub(crate) const TABLE: &[Kind] = &[
    // WAVE
    file("s16.wav", 48_000, STEREO, "-c:a pcm_s16le", EXACT),
    file("s16-44k.wav", 44_100, STEREO, "-c:a pcm_s16le", RESAMPLED),
    file("u8-11k.wav", 11_025, MONO, "-c:a pcm_u8", RESAMPLED),
    file("s24-96k.wav", 96_000, STEREO, "-c:a pcm_s24le", RESAMPLED),
    file("s24.wav", 48_000, STEREO, "-c:a pcm_s24le", EXACT),
    file("s32-192k.wav", 192_000, MONO, "-c:a pcm_s32le", RESAMPLED),
    file("s32.wav", 48_000, THREE, "-c:a pcm_s32le", EXACT),
    file("f32-88k.wav", 88_200, STEREO, "-c:a pcm_f32le", RESAMPLED),
    file("f64.wav", 48_000, STEREO, "-c:a pcm_f64le", EXACT),
    file("quad.wav", 48_000, QUAD, "-c:a pcm_s16le", EXACT),
    file("four.wav", 48_000, FOUR, "-c:a pcm_s16le", EXACT),
    file("5.1-44k.wav", 44_100, FIVE_ONE, "-c:a pcm_s16le", RESAMPLED),
    file("7.1.wav", 48_000, SEVEN_ONE, "-c:a pcm_s24le", EXACT),
    file("alaw-8k.wav", 8_000, MONO, "-c:a pcm_alaw", RESAMPLED),
    file("mulaw.wav", 48_000, STEREO, "-c:a pcm_mulaw", EXACT),
    endless(file("adpcm-ms.wav", 48_000, STEREO, "-c:a adpcm_ms", EXACT)),
    endless(file("adpcm-ms-22k.wav", 22_050, STEREO, "-c:a adpcm_ms", NOISY)),
    endless(file("adpcm-ima.wav", 48_000, MONO, "-c:a adpcm_ima_wav", EXACT)),
    endless(file("adpcm-ima-37k.wav", 37_800, STEREO, "-c:a adpcm_ima_wav", NOISY)),
    file("odd-44056.wav", 44_056, STEREO, "-c:a pcm_s16le", RESAMPLED),
    // AIFF
    file("s16.aiff", 48_000, STEREO, "-c:a pcm_s16be", EXACT),
    file("s24-44k.aiff", 44_100, STEREO, "-c:a pcm_s24be", RESAMPLED),
    file("s8-22k.aiff", 22_050, MONO, "-c:a pcm_s8", RESAMPLED),
    file("sowt.aifc", 48_000, STEREO, "-c:a pcm_s16le -f aiff", EXACT),
    file("f32.aifc", 48_000, STEREO, "-c:a pcm_f32be -f aiff", EXACT),
    // CAF
    file("s16.caf", 48_000, STEREO, "-c:a pcm_s16le", EXACT),
    file("f32-32k.caf", 32_000, STEREO, "-c:a pcm_f32be", RESAMPLED),
    file("alac-44k.caf", 44_100, STEREO, "-c:a alac", RESAMPLED),
    endless(file("opus.caf", 48_000, STEREO, "-c:a libopus -b:a 128k", DECODED)),
    endless(file("ima4.caf", 48_000, STEREO, "-c:a adpcm_ima_qt", NOISY)),
    endless(file("ima4-44k.caf", 44_100, STEREO, "-c:a adpcm_ima_qt", NOISY)),
    // FLAC
    file("s16-44k.flac", 44_100, STEREO, "-sample_fmt s16", RESAMPLED),
    file("s24.flac", 48_000, STEREO, "-sample_fmt s32", EXACT),
    file("s16-8k.flac", 8_000, MONO, "-sample_fmt s16", RESAMPLED),
    file("s24-192k.flac", 192_000, STEREO, "-sample_fmt s32", RESAMPLED),
    file("three.flac", 48_000, THREE, "-sample_fmt s16", EXACT),
    file("quad.flac", 48_000, QUAD, "-sample_fmt s16", EXACT),
    file("5.0.flac", 48_000, FIVE, "-sample_fmt s16", EXACT),
    file("5.1.flac", 48_000, FIVE_ONE, "-sample_fmt s16", EXACT),
    file("7.1.flac", 48_000, SEVEN_ONE, "-sample_fmt s16", EXACT),
    file("flac.oga", 48_000, STEREO, "-c:a flac -sample_fmt s16", EXACT),
    // MPEG
    file("cbr-44k.mp3", 44_100, STEREO, "-b:a 192k", RESAMPLED),
    file("vbr.mp3", 48_000, STEREO, "-q:a 2", DECODED),
    endless(file("vbr-no-header.mp3", 48_000, STEREO, "-q:a 2 -write_xing 0", DECODED)),
    endless(file("cbr-no-header.mp3", 48_000, STEREO, "-b:a 128k -write_xing 0 -id3v2_version 0", DECODED)),
    file("mono-22k.mp3", 22_050, MONO, "-b:a 64k", RESAMPLED),
    file("mono-8k.mp3", 8_000, MONO, "-b:a 16k", RESAMPLED),
    endless(file("free.mp2", 48_000, STEREO, "-c:a mp2 -b:a 256k", DECODED)),
    endless(file("mono-16k.mp2", 16_000, MONO, "-c:a mp2 -b:a 64k", RESAMPLED)),
    // AAC
    endless(file("adts-44k.aac", 44_100, STEREO, "-c:a aac -aac_pns 0 -b:a 160k", RESAMPLED)),
    endless(file("mono-32k.aac", 32_000, MONO, "-c:a aac -aac_pns 0 -b:a 64k", RESAMPLED)),
    file("aac.m4a", 48_000, STEREO, "-c:a aac -aac_pns 0 -b:a 160k", DECODED),
    file("aac-44k-faststart.m4a", 44_100, STEREO, "-c:a aac -aac_pns 0 -movflags +faststart", RESAMPLED),
    file("aac-8k.m4a", 8_000, MONO, "-c:a aac -aac_pns 0 -b:a 24k", RESAMPLED),
    file("aac-96k.m4a", 96_000, STEREO, "-c:a aac -aac_pns 0", RESAMPLED),
    padded(file("aac-fragments.mp4", 48_000, STEREO, "-c:a aac -aac_pns 0 -movflags +frag_keyframe+empty_moov -frag_duration 500000", DECODED), 1_024),
    // Others in MP4 and QuickTime
    file("alac-44k.m4a", 44_100, STEREO, "-c:a alac", RESAMPLED),
    file("alac-96k.m4a", 96_000, STEREO, "-c:a alac -sample_fmt s32p", RESAMPLED),
    file("alac-5.1.m4a", 48_000, FIVE_ONE, "-c:a alac", EXACT),
    file("flac.mp4", 48_000, STEREO, "-c:a flac -sample_fmt s16 -strict -2", EXACT),
    file("flac-96k.mp4", 96_000, STEREO, "-c:a flac -sample_fmt s16 -strict -2", RESAMPLED),
    file("opus.mp4", 48_000, STEREO, "-c:a libopus -b:a 128k -strict -2", DECODED),
    file("mp3-44k.mp4", 44_100, STEREO, "-c:a libmp3lame -b:a 192k", RESAMPLED),
    file("s16.mov", 48_000, STEREO, "-c:a pcm_s16le", EXACT),
    file("s24-44k.mov", 44_100, STEREO, "-c:a pcm_s24le", RESAMPLED),
    // Ogg
    file("vorbis-44k.ogg", 44_100, STEREO, "-c:a libvorbis -q:a 6", RESAMPLED),
    file("vorbis.ogg", 48_000, MONO, "-c:a libvorbis -q:a 5", DECODED),
    file("vorbis-5.1.ogg", 48_000, FIVE_ONE, "-c:a libvorbis -q:a 6", DECODED),
    file("stereo.opus", 48_000, STEREO, "-c:a libopus -b:a 128k", DECODED),
    file("mono.opus", 48_000, MONO, "-c:a libopus -b:a 64k", DECODED),
    file("voice-60ms.opus", 48_000, MONO, "-c:a libopus -b:a 24k -frame_duration 60 -application voip", DECODED),
    file("low-delay-2.5ms.opus", 48_000, STEREO, "-c:a libopus -frame_duration 2.5", DECODED),
    // Matroska
    padded(file("opus.webm", 48_000, STEREO, "-c:a libopus -b:a 128k", DECODED), 960),
    padded(file("vorbis-44k.webm", 44_100, STEREO, "-c:a libvorbis -q:a 6", RESAMPLED), 48),
    padded(file("opus.mkv", 48_000, MONO, "-c:a libopus", DECODED), 960),
    file("flac-44k.mkv", 44_100, STEREO, "-c:a flac -sample_fmt s16", RESAMPLED),
    file("s16.mkv", 48_000, STEREO, "-c:a pcm_s16le", EXACT),
    file("f32.mkv", 48_000, STEREO, "-c:a pcm_f32le", EXACT),
    endless(file("aac-44k.mkv", 44_100, STEREO, "-c:a aac -aac_pns 0 -b:a 160k", RESAMPLED)),
    padded(endless(file("mp3-44k.mkv", 44_100, STEREO, "-c:a libmp3lame -b:a 192k", RESAMPLED)), 960),
    file("alac.mkv", 48_000, STEREO, "-c:a alac", EXACT),
];
