//! Is an Opus file heard as its makers meant it? Small Ogg files, written here byte by byte (RFC 3533, RFC 7845).

use std::io::Cursor;

use opus as libopus;

use super::super::source::{Source, SourceError};

const FRAME: usize = 960;

/// One page with whole packets in it.
fn page(kind: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut lacing = Vec::new();
    for packet in packets {
        lacing.extend(std::iter::repeat_n(255u8, packet.len() / 255));
        lacing.push((packet.len() % 255) as u8);
    }
    let mut out = b"OggS\0".to_vec();
    out.push(kind);
    out.extend(granule.to_le_bytes());
    out.extend(7u32.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend([0; 4]);
    out.push(lacing.len() as u8);
    out.extend(lacing);
    packets.iter().for_each(|packet| out.extend(*packet));
    let checksum = out.iter().fold(0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    out[22..26].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// The identification header; more than two channels have a table of streams behind it.
fn head(channels: u8, pre_skip: u16, gain: i16) -> Vec<u8> {
    let mut out = b"OpusHead\x01".to_vec();
    out.push(channels);
    out.extend(pre_skip.to_le_bytes());
    out.extend(48_000u32.to_le_bytes());
    out.extend(gain.to_le_bytes());
    if channels > 2 {
        out.extend([1, channels - 2, 2]);
        out.extend(0..channels);
    } else {
        out.push(0);
    }
    out
}

/// A file of these packets, a page each, whose last granule position says `end`.
fn file(head: &[u8], packets: &[Vec<u8>], end: u64) -> Vec<u8> {
    let tags = b"OpusTags\x04\0\0\0test\0\0\0\0";
    let mut out = page(2, 0, 0, &[head]);
    out.extend(page(0, 0, 1, &[tags]));
    for (n, packet) in packets.iter().enumerate() {
        let last = n + 1 == packets.len();
        let granule = ((n + 1) * FRAME) as u64;
        let (kind, granule) = if last { (4, end) } else { (0, granule) };
        out.extend(page(kind, granule, n as u32 + 2, &[packet]));
    }
    out
}

/// Packets of a chord, other tones on each channel.
fn packets(channels: usize, frames: usize) -> Vec<Vec<u8>> {
    let layout = if channels == 1 {
        libopus::Channels::Mono
    } else {
        libopus::Channels::Stereo
    };
    let mut encoder =
        libopus::Encoder::new(48_000, layout, libopus::Application::Audio).expect("encoder");
    let tone = |i: usize, channel: usize| {
        let t = i as f32 / 48_000.0 * std::f32::consts::TAU;
        0.3 * (t * (440.0 + 170.0 * channel as f32)).sin() + 0.2 * (t * 1_000.0).sin()
    };
    (0..frames)
        .map(|n| {
            let frame: Vec<f32> = (n * FRAME..(n + 1) * FRAME)
                .flat_map(|i| (0..channels).map(move |channel| tone(i, channel)))
                .collect();
            encoder.encode_vec_float(&frame, 1_500).expect("packet")
        })
        .collect()
}

/// What bare libopus makes of them.
fn decoded(channels: usize, packets: &[Vec<u8>]) -> Vec<f32> {
    let layout = if channels == 1 {
        libopus::Channels::Mono
    } else {
        libopus::Channels::Stereo
    };
    let mut decoder = libopus::Decoder::new(48_000, layout).expect("decoder");
    let mut out = Vec::new();
    for packet in packets {
        let mut frame = vec![0.0; channels * FRAME];
        decoder
            .decode_float(packet, &mut frame, false)
            .expect("frame");
        out.extend(frame);
    }
    out
}

fn opened(bytes: Vec<u8>) -> Result<Source, SourceError> {
    Source::from_reader(Box::new(Cursor::new(bytes)), "song.opus")
}

fn heard(bytes: Vec<u8>) -> Vec<f32> {
    let mut source = opened(bytes).expect("an Opus file");
    let mut out = Vec::new();
    while source.read(&mut out).expect("a whole file") > 0 {}
    out
}

#[test]
fn run_up_and_padding_are_cut_off_to_the_sample() {
    let packets = packets(2, 12);
    let whole = decoded(2, &packets);
    // A run-up within the first packet, of whole packets, and over some; ends within the last packet and on its edge.
    for (pre_skip, samples) in [
        (312, 11_000),
        (312, 11_208),
        (1_920, 9_600),
        (3_840, 7_001),
        (0, 11_520),
    ] {
        let end = u64::from(pre_skip) + samples as u64;
        let out = heard(file(&head(2, pre_skip, 0), &packets, end));
        let first = 2 * usize::from(pre_skip);
        assert_eq!(out.len(), 2 * samples, "run-up of {pre_skip}");
        assert_eq!(
            out,
            whole[first..first + 2 * samples],
            "run-up of {pre_skip}"
        );
    }
}

#[test]
fn output_gain_is_applied() {
    let packets = packets(2, 6);
    let plain = heard(file(&head(2, 312, 0), &packets, 5_000));
    // In dB / 256: half, and twice.
    for (gain, factor) in [(-1_541, 0.5), (1_541, 2.0)] {
        let out = heard(file(&head(2, 312, gain), &packets, 5_000));
        let worst = out.iter().zip(&plain).map(|(x, y)| (x - factor * y).abs());
        assert!(worst.fold(0.0, f32::max) < 1e-3, "{gain}");
    }
}

#[test]
fn mono_is_heard_on_both_sides() {
    let packets = packets(1, 6);
    let out = heard(file(&head(1, 312, 0), &packets, 5_312));
    let mono = decoded(1, &packets);
    let expected: Vec<f32> = mono[312..5_312].iter().flat_map(|&x| [x, x]).collect();
    assert_eq!(out, expected);
}

#[test]
fn more_than_two_channels_are_refused_with_their_number() {
    for channels in [3, 6, 8] {
        let bytes = file(&head(channels, 312, 0), &packets(2, 4), 3_000);
        let text = opened(bytes).err().expect("refused").to_string();
        let named = format!("Opus with {channels} channels");
        assert!(text.contains(&named) && text.contains("ffmpeg"), "{text}");
    }
}

#[test]
fn damaged_packet_costs_itself_only() {
    let packets = packets(2, 12);
    let mut damaged = packets.clone();
    // A reserved code: three frames of unequal length that do not fit.
    damaged[5] = vec![0xFF, 0xFF, 0xFF];
    let out = heard(file(&head(2, 0, 0), &damaged, 12 * FRAME as u64));
    let whole = decoded(2, &packets);
    assert_eq!(out[..5 * 2 * FRAME], whole[..5 * 2 * FRAME]);
    assert!(
        (10 * 2 * FRAME..=12 * 2 * FRAME).contains(&out.len()),
        "{}",
        out.len()
    );
}
