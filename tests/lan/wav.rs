//! WAV files, read and written by a few lines of our own: no shared code, no shared mistakes.

use std::fs;
use std::path::Path;

/// One frame's worth of sound: 960 stereo samples, interleaved.
pub(crate) type Block = [i16; 1920];

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn le32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The blocks of a WAV file that `listen --output file:` wrote. Panics unless the header is what the contract says
/// (48 kHz, 16 bit, stereo), the sizes agree with the file, and the sound is a whole number of blocks.
pub(crate) fn read_blocks(path: &Path) -> Vec<Block> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        bytes.len() >= 44,
        "{}: {} bytes",
        path.display(),
        bytes.len()
    );
    assert_eq!(
        (&bytes[..4], &bytes[8..16]),
        (&b"RIFF"[..], &b"WAVEfmt "[..])
    );
    assert_eq!(
        le32(&bytes, 4),
        bytes.len() - 8,
        "RIFF size of {}",
        path.display()
    );
    let format_size = le32(&bytes, 16);
    assert_eq!(le16(&bytes, 22), 2, "channels");
    assert_eq!(le32(&bytes, 24), 48_000, "rate");
    assert_eq!(le16(&bytes, 34), 16, "bits");
    let mut at = 20 + format_size;
    while &bytes[at..at + 4] != b"data" {
        at += 8 + le32(&bytes, at + 4);
    }
    let data = &bytes[at + 8..];
    assert_eq!(
        le32(&bytes, at + 4),
        data.len(),
        "data size of {}",
        path.display()
    );
    assert_eq!(data.len() % 3840, 0, "whole blocks in {}", path.display());
    data.chunks_exact(3840).map(block).collect()
}

fn block(bytes: &[u8]) -> Block {
    let mut block = [0; 1920];
    for (sample, pair) in block.iter_mut().zip(bytes.chunks_exact(2)) {
        *sample = i16::from_le_bytes([pair[0], pair[1]]);
    }
    block
}

/// One channel (0 left, 1 right) of blocks, as numbers around ±1.
pub(crate) fn channel(blocks: &[Block], side: usize) -> Vec<f32> {
    let samples = blocks
        .iter()
        .flat_map(|block| block[side..].iter().step_by(2));
    samples
        .map(|sample| f32::from(*sample) / 32_768.0)
        .collect()
}

/// A 16-bit WAV file of the given channels (each a list of samples around ±1), with a channel mask where there are six.
pub(crate) fn bytes(rate_hz: u32, channels: &[Vec<f32>]) -> Vec<u8> {
    let count = u16::try_from(channels.len()).unwrap();
    let frames = channels[0].len();
    let data_size = u32::try_from(frames * channels.len() * 2).unwrap();
    let extensible = count > 2;
    let format_size: u32 = if extensible { 40 } else { 16 };
    let mut out = Vec::with_capacity(data_size as usize + 68);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(20 + format_size + data_size).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&format_size.to_le_bytes());
    out.extend_from_slice(&(if extensible { 0xfffe_u16 } else { 1 }).to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&rate_hz.to_le_bytes());
    out.extend_from_slice(&(rate_hz * u32::from(count) * 2).to_le_bytes());
    out.extend_from_slice(&(count * 2).to_le_bytes());
    out.extend_from_slice(&16_u16.to_le_bytes());
    if extensible {
        out.extend_from_slice(&[22, 0, 16, 0]);
        out.extend_from_slice(&0x3f_u32.to_le_bytes());
        out.extend_from_slice(b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
    }
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_size.to_le_bytes());
    for frame in 0..frames {
        for channel in channels {
            let sample = (channel[frame] * 32_768.0)
                .round()
                .clamp(-32_768.0, 32_767.0);
            out.extend_from_slice(&(sample as i16).to_le_bytes());
        }
    }
    out
}
