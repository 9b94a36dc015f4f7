//! What sound do tests send, and what do they find in what came out? Tones, and WAV files read by somebody else than us.

use std::fs;
use std::path::Path;

/// Frames that a source of `samples` samples (48 kHz) becomes: the encoder's look-ahead of 312 samples is flushed.
pub(crate) fn frames_of(samples: usize) -> usize {
    if samples < 960 {
        1
    } else {
        (samples + 312).div_ceil(960)
    }
}

/// A stereo tone at half scale, interleaved, 48 kHz; the right side an octave higher, so that sides cannot be swapped.
pub(crate) fn tone(ms: usize, hz: f64) -> Vec<i16> {
    (0..ms * 48)
        .flat_map(|i| {
            let phase = i as f64 / 48_000.0 * hz * std::f64::consts::TAU;
            [
                (phase.sin() * 16_000.0) as i16,
                ((2.0 * phase).sin() * 16_000.0) as i16,
            ]
        })
        .collect()
}

/// A stereo 16-bit WAV file with the tags of a LIST INFO chunk.
pub(crate) fn wav(rate: u32, samples: &[i16], tags: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(b"WAVEfmt ");
    body.extend(16u32.to_le_bytes());
    body.extend(1u16.to_le_bytes());
    body.extend(2u16.to_le_bytes());
    body.extend(rate.to_le_bytes());
    body.extend(rate.wrapping_mul(4).to_le_bytes());
    body.extend(4u16.to_le_bytes());
    body.extend(16u16.to_le_bytes());
    if !tags.is_empty() {
        let mut list = b"INFO".to_vec();
        for (id, text) in tags {
            list.extend(*id);
            list.extend((text.len() as u32 + 1).to_le_bytes());
            list.extend(*text);
            list.resize((list.len() + 2) & !1, 0);
        }
        body.extend(b"LIST");
        body.extend((list.len() as u32).to_le_bytes());
        body.extend(list);
    }
    body.extend(b"data");
    body.extend((samples.len() as u32 * 2).to_le_bytes());
    for sample in samples {
        body.extend(sample.to_le_bytes());
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}

/// The samples of a recording of ours, whose header must be true: 48 kHz, 16 bit, stereo, whole blocks, sizes no larger than
/// the file (data are written first, then sizes).
#[track_caller]
pub(crate) fn read_wav(path: &Path) -> Vec<i16> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match parse_wav(&bytes) {
        Ok(samples) => samples,
        Err(fault) => panic!("{} is no valid WAV file: {fault}", path.display()),
    }
}

/// See [`read_wav`].
pub(crate) fn parse_wav(bytes: &[u8]) -> Result<Vec<i16>, String> {
    let u32_at = |at: usize| -> Result<usize, String> {
        let raw = bytes
            .get(at..at + 4)
            .ok_or(format!("ends before byte {at}"))?;
        Ok(u32::from_le_bytes(raw.try_into().unwrap()) as usize)
    };
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("no RIFF WAVE header".into());
    }
    let riff = u32_at(4)? + 8;
    if riff > bytes.len() {
        return Err(format!("RIFF size {riff} in {} bytes", bytes.len()));
    }
    let (mut at, mut format_seen) = (12, false);
    loop {
        let (id, size) = (&bytes[at..at + 4], u32_at(at + 4)?);
        at += 8;
        match id {
            b"fmt " => {
                let expected = [1, 0, 2, 0, 0x80, 0xBB, 0, 0, 0, 0xEE, 2, 0, 4, 0, 16, 0];
                if bytes[at..at + 16] != expected {
                    return Err(format!("format {:?}", &bytes[at..at + 16]));
                }
                format_seen = true;
            }
            b"data" => {
                if !format_seen || size % 3840 != 0 || at + size > bytes.len() {
                    return Err(format!("data of {size} bytes at {at} in {}", bytes.len()));
                }
                // Between the two writes of sizes the outer one may lag behind by the block just written.
                let samples = bytes[at..at + size].chunks_exact(2);
                return Ok(samples.map(|s| i16::from_le_bytes([s[0], s[1]])).collect());
            }
            _ => {}
        }
        at += size + size % 2;
    }
}

/// The samples of raw s16le sound.
pub(crate) fn raw_samples(bytes: &[u8]) -> Vec<i16> {
    bytes
        .chunks_exact(2)
        .map(|s| i16::from_le_bytes([s[0], s[1]]))
        .collect()
}

/// 960-sample stereo blocks in interleaved samples.
#[track_caller]
pub(crate) fn blocks(samples: &[i16]) -> usize {
    assert_eq!(samples.len() % 1920, 0, "not whole blocks");
    samples.len() / 1920
}

/// How strong `hz` is on the left side of `samples`, as an amplitude (Goertzel).
pub(crate) fn strength(samples: &[i16], hz: f64) -> f64 {
    let step = hz / 48_000.0 * std::f64::consts::TAU;
    let (mut re, mut im) = (0.0, 0.0);
    for (i, frame) in samples.chunks_exact(2).enumerate() {
        re += f64::from(frame[0]) * (step * i as f64).cos();
        im += f64::from(frame[0]) * (step * i as f64).sin();
    }
    2.0 * f64::hypot(re, im) / (samples.len() / 2).max(1) as f64
}
