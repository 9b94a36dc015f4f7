//! Is what cannot be played called by its name, so that nobody takes a good file for a damaged one?

use std::fs;
use std::path::{Path, PathBuf};

use lanradio::media::source::Source;

use crate::decoded::each;
use crate::ffmpeg::{self, Folder};
use crate::music::{FIVE_ONE, Layout, MONO, STEREO};

/// A file's name, how ffmpeg makes it, and what the error must call it.
type Refused = (&'static str, Layout, &'static str, &'static str);

const REFUSED: &[Refused] = &[
    ("raw.ac3", STEREO, "-c:a ac3", "AC-3"),
    ("ac3.mkv", FIVE_ONE, "-c:a ac3", "AC-3"),
    ("ac3.mp4", STEREO, "-c:a ac3", "AC-3"),
    ("ac3.wav", STEREO, "-c:a ac3", "AC-3"),
    ("eac3.mkv", STEREO, "-c:a eac3", "E-AC-3"),
    ("eac3.mp4", STEREO, "-c:a eac3", "E-AC-3"),
    ("dts.mkv", STEREO, "-c:a dca -strict -2", "DTS"),
    ("dts.wav", STEREO, "-c:a dca -strict -2", "DTS"),
    ("truehd.mkv", STEREO, "-c:a truehd -strict -2", "TrueHD"),
    ("song.wma", STEREO, "-c:a wmav2", "WMA"),
    ("wma.mkv", STEREO, "-c:a wmav2", "WMA"),
    ("wma.wav", STEREO, "-c:a wmav2", "WMA"),
    (
        "surround.opus",
        FIVE_ONE,
        "-c:a libopus",
        "Opus with 6 channels",
    ),
    (
        "surround.webm",
        FIVE_ONE,
        "-c:a libopus",
        "Opus with 6 channels",
    ),
    (
        "surround.mp4",
        FIVE_ONE,
        "-c:a libopus -strict -2",
        "Opus with 6 channels",
    ),
    ("surround.m4a", FIVE_ONE, "-c:a aac", "AAC with 6 channels"),
    ("surround.aac", FIVE_ONE, "-c:a aac", "AAC with 6 channels"),
    (
        "surround-aac.mkv",
        FIVE_ONE,
        "-c:a aac",
        "AAC with 6 channels",
    ),
    (
        "main.m4a",
        STEREO,
        "-c:a aac -profile:a aac_main -strict -2",
        "AAC Main",
    ),
    ("song.wv", STEREO, "-c:a wavpack", "WavPack"),
    ("song.tta", STEREO, "-c:a tta", "True Audio"),
    ("tta.mkv", STEREO, "-c:a tta", "True Audio"),
    ("speex.ogg", STEREO, "-c:a libspeex -ar 32000", "Speex"),
    ("g726.wav", STEREO, "-c:a g726 -ac 1 -ar 8000", "G.726"),
    ("g722.wav", STEREO, "-c:a g722 -ac 1 -ar 16000", "G.722"),
    ("gsm.wav", STEREO, "-c:a libgsm_ms -ac 1 -ar 8000", "GSM"),
    ("mp3.wav", STEREO, "-c:a libmp3lame", "MP3 in a WAV"),
    ("big.wav", STEREO, "-c:a pcm_s16le -rf64 always", "RF64"),
    ("song.w64", STEREO, "-c:a pcm_s16le", "Wave64"),
    ("song.au", STEREO, "-c:a pcm_s16be", "Sun AU"),
    ("film.avi", STEREO, "-c:a mp2", "AVI"),
    ("film.flv", STEREO, "-c:a libmp3lame -ar 44100", "Flash"),
    ("film.ts", STEREO, "-c:a mp2", "MPEG transport stream"),
    ("film.mpg", STEREO, "-c:a mp2", "MPEG programme stream"),
    ("qcelp.voc", STEREO, "-c:a pcm_u8", "Creative Voice"),
];

/// The encoders that some ffmpeg is built without.
fn may_be_missing(why: &str) -> bool {
    why.contains("Unknown encoder") || why.contains("Requested output format")
}

#[test]
fn what_cannot_be_decoded_is_named_and_not_called_damaged() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let wrong = each(REFUSED, |(name, layout, options, called)| {
        let path = folder.path(name);
        let options: Vec<&str> = options.split(' ').collect();
        if let Err(why) = ffmpeg::encode(&path, 48_000, *layout, 0.5, &options) {
            return (!may_be_missing(&why)).then(|| format!("{name}: cannot be made: {why}"));
        }
        complaint(
            Source::open(&path).err().map(|error| error.to_string()),
            called,
        )
        .map(|why| format!("{name}: {why}"))
    });
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is wrong with an error's text.
fn complaint(text: Option<String>, called: &str) -> Option<String> {
    let Some(text) = text else {
        return Some("plays".into());
    };
    let scared = ["damaged", "corrupt", "download", "invalid"];
    if !text.contains(called) || scared.iter().any(|word| text.contains(word)) {
        return Some(format!("wanted {called:?}: {text}"));
    }
    (!text.contains("ffmpeg -i IN")).then(|| format!("no remedy: {text}"))
}

/// HE-AAC is AAC-LC at half the rate with a sketch of the treble beside it. ffmpeg has no encoder for it, so the
/// configuration of a plain file is turned into one that announces the sketch.
#[test]
fn he_aac_is_named_however_its_file_announces_it() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let path = folder.path("plain.m4a");
    let options = ["-c:a", "aac", "-movflags", "+faststart"];
    ffmpeg::encode(&path, 24_000, STEREO, 0.5, &options).unwrap();
    let plain = fs::read(&path).unwrap();
    // AAC-LC, 24 kHz, stereo; then the announcement that there is no sketch.
    let config = [0x13, 0x10, 0x56, 0xE5, 0x00];
    let at = plain.windows(5).position(|bytes| bytes == config).unwrap();
    for (name, config, called) in [
        ("implicit.m4a", [0x13, 0x10, 0x56, 0xE5, 0x98], "HE-AAC"),
        ("explicit.m4a", [0x2B, 0x11, 0x88, 0x00, 0x00], "HE-AAC"),
        ("version-2.m4a", [0xEB, 0x09, 0x88, 0x00, 0x00], "HE-AAC v2"),
    ] {
        let mut bytes = plain.clone();
        bytes[at..at + 5].copy_from_slice(&config);
        let path = folder.path(name);
        fs::write(&path, bytes).unwrap();
        let text = Source::open(&path).err().map(|error| error.to_string());
        assert_eq!(complaint(text, called), None, "{name}");
    }
    assert!(Source::open(&path).is_ok(), "the plain one plays");
}

#[test]
fn film_without_sound_and_picture_have_no_audio_track() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1"];
    for name in ["silent.mp4", "silent.mkv"] {
        let path = folder.path(name);
        let path = path.to_str().unwrap();
        ffmpeg::try_run(&[&picture[..], &["-c:v", "mpeg4", path]].concat()).unwrap();
        let error = Source::open(path.as_ref()).err().unwrap().to_string();
        assert!(error.contains("no audio track"), "{name}: {error}");
    }
}

/// The ways in which a stream of AAC comes without a word on the sketch: by itself, after a tag with room for a picture, and copied
/// by ffmpeg into a container whose configuration is made of the stream's own headers.
fn containers(folder: &Folder, name: &str, stream: &[u8]) -> Vec<PathBuf> {
    let bare = folder.path(&format!("{name}.aac"));
    fs::write(&bare, stream).unwrap();
    let tagged = folder.path(&format!("{name}-tagged.aac"));
    let tag = b"ID3\x04\0\0\0\0\x4e\x1e";
    let room = [0; 0x4e << 7 | 0x1e];
    fs::write(&tagged, [&tag[..], &room, stream].concat()).unwrap();
    let mut paths = vec![bare.clone(), tagged];
    let copies = [
        ("m4a", "-movflags +faststart"),
        (
            "mp4",
            "-movflags +frag_keyframe+delay_moov -bsf:a aac_adtstoasc",
        ),
        ("mov", "-movflags +faststart"),
        ("mkv", "-f matroska"),
    ];
    for (ending, options) in copies {
        let path = folder.path(&format!("{name}.{ending}"));
        let mut arguments = vec!["-i", bare.to_str().unwrap(), "-c", "copy"];
        arguments.extend(options.split(' '));
        arguments.push(path.to_str().unwrap());
        ffmpeg::try_run(&arguments).unwrap();
        paths.push(path);
    }
    paths
}

/// What is said of a file, opened by its name and read as from a pipe; none if it plays.
fn said_of(path: &Path) -> [Option<String>; 2] {
    let pipe = Box::new(fs::File::open(path).unwrap());
    [Source::open(path), Source::from_reader(pipe, "stdin")]
        .map(|opened| opened.err().map(|error| error.to_string()))
}

/// The same where only the frames show it: a fill element with SBR's mark is put at the end of each frame of a plain stream.
#[test]
fn he_aac_is_named_where_nothing_announces_it_and_plain_aac_plays() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let kinds = [8_000, 22_050, 24_000, 44_100, 48_000]
        .into_iter()
        .flat_map(|rate_hz| [(rate_hz, MONO), (rate_hz, STEREO)]);
    let kinds: Vec<_> = kinds.collect();
    let wrong = each(&kinds, |&(rate_hz, layout)| {
        let name = format!("{rate_hz}-{}", layout.name);
        let path = folder.path(&format!("{name}-made.aac"));
        ffmpeg::encode(&path, rate_hz, layout, 1.2, &["-c:a", "aac"]).unwrap();
        let plain = fs::read(&path).unwrap();
        let mut wrong = Vec::new();
        for path in containers(&folder, &name, &plain) {
            let said = said_of(&path);
            if said.iter().any(Option::is_some) {
                wrong.push(format!("{}: {said:?}", path.display()));
            }
        }
        for path in containers(&folder, &format!("{name}-he"), &sketched(&plain)) {
            let said = said_of(&path).map(|text| complaint(text, "HE-AAC"));
            if said.iter().any(Option::is_some) {
                wrong.push(format!("{}: {said:?}", path.display()));
            }
        }
        wrong
    });
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// An ADTS stream with a sketch at the end of each of its frames.
fn sketched(plain: &[u8]) -> Vec<u8> {
    let (mut rest, mut sketched) = (plain, Vec::new());
    while rest.len() > 7 {
        let length =
            usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
        sketched.extend(with_sketch(&rest[..length]));
        rest = &rest[length..];
    }
    sketched
}

/// An ADTS frame with a fill element of 20 bytes before its end mark.
fn with_sketch(frame: &[u8]) -> Vec<u8> {
    let bit = |byte: &u8, at: usize| byte >> (7 - at) & 1 == 1;
    let bits = frame[7..]
        .iter()
        .flat_map(|byte| (0..8).map(move |at| bit(byte, at)));
    let mut bits: Vec<bool> = bits.collect();
    bits.truncate(bits.iter().rposition(|bit| *bit).unwrap() + 1 - 3);
    let mut put = |value: usize, count: usize| {
        bits.extend((0..count).rev().map(|at| value >> at & 1 == 1));
    };
    put(0b110_1111, 7);
    put(20 - 14, 8);
    put(0xD0, 8);
    (1..20).for_each(|n| put(7 * n, 8));
    put(0b111, 3);
    let mut out = frame[..7].to_vec();
    out.extend(bits.chunks(8).map(|bits| {
        let byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        byte << (8 - bits.len())
    }));
    let length = out.len();
    out[3] = out[3] & !3 | (length >> 11) as u8;
    out[4] = (length >> 3) as u8;
    out[5] = out[5] & 0x1F | (length << 5) as u8;
    out
}
