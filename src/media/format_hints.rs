//! What is this file, if it is not something we can play? The names behind "unsupported", for error texts only.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::*;

/// Bytes at the start of a file that `describe` wants to see.
pub(super) const HEAD_BYTES: usize = 16;

/// Whether the file is of the MP4 family (m4a, mp4, mov).
pub(super) fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

/// What a file that no reader recognises looks like, by its first bytes.
pub(super) fn describe(head: &[u8]) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (
            &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11],
            "Windows Media, WMA",
        ),
        (b"RF64", "an RF64 WAV of more than 4 GiB"),
        (b"riff\x2E\x91\xCF\x11", "a Sony Wave64 file"),
        (&[0x0B, 0x77], "Dolby AC-3"),
        (&[0x7F, 0xFE, 0x80, 0x01], "DTS"),
        (b"wvpk", "WavPack"),
        (b"MAC ", "Monkey's Audio"),
        (b"MPCK", "Musepack"),
        (b"MP+", "Musepack"),
        (b"TTA1", "True Audio"),
        (b"DSD ", "DSD"),
        (b"FRM8", "DSD"),
        (b".RMF", "RealAudio"),
        (b"#!AMR", "AMR"),
        (b"MThd", "MIDI: notes without sound"),
        (b"FLV\x01", "Flash video"),
        (b"#EXTM3U", "a playlist"),
        (b"[playlist]", "a playlist"),
        (&[0x89, b'P', b'N', b'G'], "a PNG picture"),
        (&[0xFF, 0xD8, 0xFF], "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (&[0x1F, 0x8B], "a gzip archive"),
        (b"\x7FELF", "a program"),
        (b"<!DOCTYPE", "a web page"),
        (b"<html", "a web page"),
    ];
    MAGIC
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|&(_, name)| name)
}

/// A codec's name as its users know it.
pub(super) fn codec_name(id: AudioCodecId) -> String {
    let name = match id {
        CODEC_ID_AAC => "AAC of another kind than AAC-LC mono or stereo (such as HE-AAC or 5.1)",
        CODEC_ID_AC3 => "Dolby AC-3",
        CODEC_ID_EAC3 => "Dolby E-AC-3",
        CODEC_ID_AC4 => "Dolby AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_TRUEHD => "Dolby TrueHD",
        CODEC_ID_WMA => "Windows Media, WMA",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_MUSEPACK => "Musepack",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_MONKEYS_AUDIO => "Monkey's Audio",
        CODEC_ID_TTA => "True Audio",
        CODEC_ID_OPUS => "a damaged Opus header",
        CODEC_ID_FLAC => "FLAC of an unknown kind",
        CODEC_ID_ALAC => "ALAC of an unknown kind",
        CODEC_ID_VORBIS => "Vorbis of an unknown kind",
        CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3 => "MPEG audio of an unknown kind",
        CODEC_ID_ADPCM_G722 | CODEC_ID_ADPCM_G726 | CODEC_ID_ADPCM_G726LE => "G.722 or G.726",
        other => return format!("a codec without a name here ({other})"),
    };
    name.to_owned()
}
