use super::*;

/// The header of a PCM WAV that promises `frames` frames.
pub(in crate::media) fn wav_header(rate: u32, channels: u16, bits: u16, frames: u32) -> Vec<u8> {
    let block = channels * bits / 8;
    let data = frames * u32::from(block);
    let mut out = b"RIFF".to_vec();
    out.extend(36u32.wrapping_add(data).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend(rate.wrapping_mul(u32::from(block)).to_le_bytes());
    out.extend(block.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(data.to_le_bytes());
    out
}

/// A whole 16-bit stereo WAV.
pub(in crate::media) fn wav(rate: u32, frames: &[[i16; 2]]) -> Vec<u8> {
    let mut out = wav_header(rate, 2, 16, frames.len() as u32);
    out.extend(frames.iter().flatten().flat_map(|s| s.to_le_bytes()));
    out
}

fn source(bytes: Vec<u8>) -> Result<Source, SourceError> {
    Source::from_reader(Box::new(Cursor::new(bytes)), "-")
}

fn refused(bytes: Vec<u8>) -> SourceError {
    match source(bytes) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn drained(source: &mut Source) -> (Vec<f32>, Option<SourceError>) {
    let mut out = vec![];
    let failure = loop {
        match source.read(&mut out) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error),
        }
    };
    assert!(
        matches!(source.read(&mut out), Ok(0)),
        "an error comes once"
    );
    (out, failure)
}

#[test]
fn stereo_at_48_khz_comes_out_as_it_is() {
    let frames: Vec<[i16; 2]> = (0..5000).map(|i| [i as i16 * 3, -(i as i16)]).collect();
    let mut source = source(wav(48_000, &frames)).expect("source");
    assert_eq!(source.known_samples(), Some(5000));
    let (out, failure) = drained(&mut source);
    assert!(failure.is_none());
    let expected: Vec<f32> = frames
        .iter()
        .flatten()
        .map(|&s| f32::from(s) / 32_768.0)
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn integers_of_every_width_and_mono_keep_their_level() {
    for bits in [8u16, 16, 24, 32] {
        let mut bytes = wav_header(48_000, 1, bits, 960);
        let half: &[u8] = match bits {
            8 => &[0xC0],
            16 => &[0, 0x40],
            24 => &[0, 0, 0x40],
            _ => &[0, 0, 0, 0x40],
        };
        (0..960).for_each(|_| bytes.extend(half));
        let (out, failure) = drained(&mut source(bytes).expect("source"));
        assert_eq!((out.len(), failure.is_none()), (1920, true), "{bits} bits");
        assert!(
            out.iter().all(|x| (x - 0.5).abs() < 1e-6),
            "{bits} bits: {}",
            out[0]
        );
    }
}

#[test]
fn other_rates_come_out_with_exact_length() {
    for rate in [8_000, 22_050, 44_100, 96_000, 192_000] {
        let frames = vec![[1000i16, -1000]; rate as usize / 10 + 3];
        let mut source = source(wav(rate, &frames)).expect("source");
        let expected = samples_at_48k(frames.len() as u64, rate);
        assert_eq!(source.known_samples(), Some(expected), "{rate} Hz");
        let (out, failure) = drained(&mut source);
        assert_eq!(
            (out.len() as u64, failure.is_none()),
            (2 * expected, true),
            "{rate} Hz"
        );
    }
}

#[test]
fn absurd_rates_are_refused_with_the_number() {
    for rate in [0, 1, 999, 768_001, u32::MAX] {
        let mut bytes = wav(48_000, &[[1, 1]; 5000]);
        bytes[24..28].copy_from_slice(&rate.to_le_bytes());
        let error = refused(bytes);
        assert!(
            matches!(error, SourceError::SampleRate(r) if r == rate),
            "{error:?}"
        );
        assert!(error.to_string().contains(&rate.to_string()));
    }
}

#[test]
fn what_is_not_audio_is_refused() {
    let text = b"Dear diary, nothing here can be heard at all. ".repeat(500);
    let mut seed = 3u32;
    let noise: Vec<u8> = (0..200_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let zeros = vec![0; 100_000];
    for bytes in [text, noise, zeros, b"x".to_vec(), b"RIFF".to_vec()] {
        let error = refused(bytes);
        assert!(matches!(error, SourceError::NotAudio { .. }), "{error:?}");
    }
    assert!(matches!(refused(vec![]), SourceError::Empty));
    let jpeg = [&[0xFF, 0xD8, 0xFF, 0xE0][..], &[7; 3000]].concat();
    assert!(refused(jpeg).to_string().contains("a JPEG picture"));
    let wma = [
        &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11][..],
        &[7; 3000],
    ]
    .concat();
    assert!(refused(wma).to_string().contains("WMA"));
}

#[test]
fn mp4_with_its_index_at_the_end_of_a_pipe_says_how_to_fix_it() {
    let mut bytes = b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom\0\0\x10\0mdat".to_vec();
    bytes.resize(0x1018, 0x55);
    bytes.extend(b"\0\0\0\x08moov");
    let error = refused(bytes);
    assert!(matches!(error, SourceError::IndexAtEnd), "{error:?}");
    assert!(error.to_string().contains("-movflags +faststart"));
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let folder = std::env::temp_dir();
    let missing = folder.join("lanradio-there-is-no-such-file.wav");
    let refused = |path: &Path| Source::open(path).err();
    assert!(matches!(refused(&folder), Some(SourceError::Directory)));
    assert!(matches!(refused(&missing), Some(SourceError::Missing)));
    assert!(matches!(
        refused(Path::new("/dev/null")),
        Some(SourceError::NotAFile)
    ));
}

#[test]
fn errors_are_one_line_with_a_remedy() {
    let errors = [
        SourceError::Missing,
        SourceError::Directory,
        SourceError::NotAFile,
        SourceError::Empty,
        SourceError::NotAudio {
            what: "a picture".into(),
        },
        SourceError::IndexAtEnd,
        SourceError::IndexMissing,
        SourceError::NeedsFile,
        SourceError::NoAudioTrack,
        SourceError::SampleRate(0),
        SourceError::Codec("WMA".into()),
        SourceError::Channels(9),
        SourceError::Broken {
            at_seconds: 1.0,
            cause: "lost sync".into(),
        },
        SourceError::Truncated {
            at_seconds: 1.0,
            promised_seconds: 2.0,
        },
    ];
    for error in errors {
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        assert!(text.contains(':'), "no remedy: {text}");
    }
}

#[test]
fn cut_off_wav_is_delivered_to_its_last_sample_and_named() {
    for rate in [48_000u32, 44_100] {
        let mut bytes = wav_header(rate, 2, 16, 2 * rate);
        bytes.extend(vec![0x11; 4 * rate as usize]);
        let (out, failure) = drained(&mut source(bytes).expect("source"));
        assert_eq!(out.len(), 96_000, "{rate} Hz");
        assert!(
            matches!(failure, Some(SourceError::Truncated { .. })),
            "{failure:?}"
        );
    }
}

#[test]
fn fault_of_our_own_between_decoder_and_encoder_ends_the_source_and_no_more() {
    let mut source = source(wav(44_100, &[[1, 1]; 44_100])).expect("source");
    // No decoder gives planes of unequal lengths, and nothing asks.
    source.planes[1].clear();
    let (out, failure) = drained(&mut source);
    assert!(out.is_empty());
    assert!(
        matches!(failure, Some(SourceError::Broken { .. })),
        "{failure:?}"
    );
}

#[test]
fn packets_last_as_long_as_their_container_says_or_as_the_one_before() {
    use symphonia::core::units::TimeBase;
    let mut source = source(wav(32_000, &[[1, 1]; 320])).expect("source");
    assert_eq!(source.seconds_of(Duration::new(320)), 0.01);
    source.chosen.time_base = TimeBase::try_new(1, 1_000);
    assert_eq!(source.seconds_of(Duration::new(24)), 0.024);
    assert_eq!(source.seconds_of(Duration::ZERO), 0.01);
}

#[test]
fn a_few_missing_milliseconds_are_an_end() {
    let mut bytes = wav_header(48_000, 2, 16, 48_000);
    bytes.extend(vec![0x11; 4 * 46_000]);
    let (out, failure) = drained(&mut source(bytes).expect("source"));
    assert_eq!((out.len(), failure.is_none()), (92_000, true));
}

#[test]
fn header_without_sound_ends_at_once() {
    let (out, failure) = drained(&mut source(wav(44_100, &[])).expect("source"));
    assert!(out.is_empty() && failure.is_none());
    let promised = wav_header(48_000, 2, 16, 96_000);
    let (out, failure) = drained(&mut source(promised).expect("source"));
    assert!(out.is_empty());
    assert!(
        matches!(failure, Some(SourceError::Truncated { .. })),
        "{failure:?}"
    );
}

#[test]
fn placeholder_lengths_of_pipes_are_no_lengths() {
    for frames in [0x7FFF_FFFFu32 / 4, 0x7FFF_F000 / 4] {
        let mut bytes = wav_header(48_000, 2, 16, frames);
        bytes.extend(vec![0x11; 4 * 4800]);
        let mut source = source(bytes).expect("source");
        assert_eq!(source.known_samples(), None);
        let (out, failure) = drained(&mut source);
        assert_eq!((out.len(), failure.is_none()), (9600, true));
    }
}
