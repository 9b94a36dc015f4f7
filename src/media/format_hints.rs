//! What is this file, if it is not something we can play? The names behind "unsupported", for error texts only.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::*;

/// Bytes at the start of a pipe that `describe` wants to see: three packets of an MPEG transport stream.
pub(super) const HEAD_BYTES: usize = 512;
/// The same of a file, where looking costs no time: to the codecs of a Matroska file.
pub(super) const FILE_HEAD_BYTES: usize = 8192;

/// Whether the file is of the MP4 family (m4a, mp4, mov).
pub(super) fn begins_like_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

/// What a file of a kind that cannot be played is, by its first bytes. To be asked first: symphonia looks for what it knows
/// further on in a file, and finds pieces of MP2 in a film.
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
        (b".snd", "Sun AU"),
        (b"Creative Voice File", "Creative Voice"),
        (b"ajkg", "Shorten"),
        (b"tBaK", "TAK"),
        (b"OFR ", "OptimFROG"),
        (&[0x00, 0x00, 0x01, 0xBA], "an MPEG programme stream"),
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
    let magic = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    magic
        .map(|&(_, name)| name)
        .or_else(|| describe_container(head))
}

/// The same for containers, some of whose contents can be played.
fn describe_container(head: &[u8]) -> Option<&'static str> {
    let at = |at: usize, word: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(word));
    if at(0, b"RIFF") && at(8, b"WAVEfmt ") {
        return wave_codec(u16::from_le_bytes([*head.get(20)?, *head.get(21)?]));
    }
    if at(0, b"RIFF") && at(8, b"AVI ") {
        return Some("an AVI film");
    }
    if at(0, b"OggS") && at(28, b"Speex   ") {
        return Some("Speex");
    }
    let in_step =
        |first: usize, step: usize| (0..3).all(|n| head.get(first + n * step) == Some(&0x47));
    (in_step(0, 188) || in_step(4, 192)).then_some("an MPEG transport stream")
}

/// What is in a WAV by its format tag (mmreg.h), unless it can be played.
fn wave_codec(tag: u16) -> Option<&'static str> {
    Some(match tag {
        0x0001..=0x0003 | 0x0006 | 0x0007 | 0x0011 | 0xFFFE => return None,
        0x0031 => "GSM 6.10",
        0x0045 | 0x0064 | 0x0014 => "G.726",
        0x0050 => "MP2 in a WAV",
        0x0055 => "MP3 in a WAV",
        0x0065 | 0x028F => "G.722",
        0x00FF | 0x1600 | 0x1610 | 0x706D => "AAC in a WAV",
        0x0160..=0x0163 => "Windows Media, WMA",
        0x2000 => "Dolby AC-3",
        0x2001 => "DTS",
        _ => "a WAV with a codec that lanradio does not know",
    })
}

/// What a Matroska file with a codec of Windows carries, found without parsing: its format tag follows the name.
pub(super) fn describe_windows_codec(head: &[u8]) -> Option<&'static str> {
    const NAME: &[u8] = b"A_MS/ACM";
    const PRIVATE: &[u8] = &[0x63, 0xA2];
    let named = head.windows(NAME.len()).position(|word| word == NAME)?;
    // In the same entry, before or after the name; its length has one to eight bytes.
    let near = head.get(named.saturating_sub(200)..)?;
    let at = near.windows(2).position(|word| word == PRIVATE)? + 2;
    let width = near.get(at)?.leading_zeros() as usize + 1;
    let tag = near.get(at + width..at + width + 2)?;
    wave_codec(u16::from_le_bytes([tag[0], tag[1]]))
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
