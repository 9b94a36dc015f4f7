use std::io::{Cursor, Read};

use super::super::opus::Decoder;
use super::super::source::tests::{wav, wav_header};
use super::*;

fn encoder(bytes: Vec<u8>) -> TrackEncoder {
    let source = Source::from_reader(Box::new(Cursor::new(bytes)), "-").expect("source");
    TrackEncoder::new(source, EncoderConfig::default()).expect("encoder")
}

/// The packets, and the error that came after them.
fn drained(mut encoder: TrackEncoder) -> (Vec<Vec<u8>>, Option<SourceError>) {
    let mut packets = vec![];
    let failure = loop {
        match encoder.next_packet() {
            Ok(Some(packet)) => packets.push(packet.to_vec()),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(
        matches!(encoder.next_packet(), Ok(None)),
        "an error comes once"
    );
    (packets, failure)
}

fn decoded(packets: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = Decoder::new().expect("decoder");
    let mut out = [0.0; FRAME_VALUES];
    packets
        .iter()
        .flat_map(|packet| {
            decoder.decode(packet, &mut out).expect("frame");
            out
        })
        .collect()
}

#[test]
fn packets_follow_the_rule_of_lengths() {
    for (samples, packets) in [
        (0, 0),
        (1, 1),
        (912, 1),
        (959, 1),
        (960, 2),
        (1608, 2),
        (1609, 3),
        (48_000, 51),
    ] {
        assert_eq!(frames_of(samples), packets, "{samples} samples");
        let silence = vec![[0i16; 2]; samples as usize];
        let encoder = encoder(wav(48_000, &silence));
        assert_eq!(
            encoder.known_frames().unwrap_or(0),
            packets,
            "{samples} samples"
        );
        let (made, failure) = drained(encoder);
        assert_eq!(made.len() as u64, packets, "{samples} samples");
        assert!(failure.is_none());
    }
}

#[test]
fn impulse_in_the_last_samples_is_heard() {
    for samples in [960, 1000, 48_000, 48_600, 48_700] {
        let mut frames = vec![[0i16; 2]; samples];
        frames[samples - 5] = [30_000, -30_000];
        let (packets, _) = drained(encoder(wav(48_000, &frames)));
        let out = decoded(&packets);
        let peak = (0..out.len() / 2).max_by(|&a, &b| out[2 * a].total_cmp(&out[2 * b]));
        assert_eq!(peak, Some(samples - 5 + LOOKAHEAD), "{samples} samples");
        assert!(out[2 * (samples - 5 + LOOKAHEAD)] > 0.2);
    }
}

#[test]
fn file_of_19_ms_is_one_frame_and_can_be_heard() {
    let frames: Vec<[i16; 2]> = (0..912).map(|i| [((i * 37) % 8000) as i16, 500]).collect();
    let (packets, failure) = drained(encoder(wav(48_000, &frames)));
    assert_eq!((packets.len(), failure.is_none()), (1, true));
    assert!(decoded(&packets).iter().any(|x| x.abs() > 0.05));
}

#[test]
fn cut_off_source_gives_every_packet_then_the_error_once() {
    let mut bytes = wav_header(48_000, 2, 16, 96_000);
    bytes.extend((0..48_000u32).flat_map(|i| [(i % 251) as u8; 4]));
    let (packets, failure) = drained(encoder(bytes));
    assert_eq!(packets.len(), 51);
    let text = failure.expect("an error").to_string();
    assert!(text.starts_with("has only 1.0 s of the 2.0 s"), "{text}");
}

/// Gives what the channel brings; ends when the sender does.
struct Pipe(crossbeam_channel::Receiver<Vec<u8>>, Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.1.read(buffer)? {
                0 => match self.0.recv() {
                    Ok(more) => self.1 = Cursor::new(more),
                    Err(_) => return Ok(0),
                },
                read => return Ok(read),
            }
        }
    }
}

#[test]
fn growing_pipe_gives_packets_before_it_ends() {
    // One thread: the pipe blocks for ever if the encoder asks for more than it was given.
    let (sender, receiver) = crossbeam_channel::unbounded();
    let second: Vec<u8> = (0..48_000u32).flat_map(|i| [(i % 200) as u8; 4]).collect();
    let mut header = wav_header(48_000, 2, 16, 0);
    header[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let length = header.len();
    header[length - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    sender
        .send([header, second.clone()].concat())
        .expect("open");
    let pipe = Box::new(Pipe(receiver, Cursor::default()));
    let source = Source::from_reader(pipe, "-").expect("source");
    assert_eq!(source.known_samples(), None);
    let mut encoder = TrackEncoder::new(source, EncoderConfig::default()).expect("encoder");
    // All but what the last half-full blocks hold back.
    for n in 0..48 {
        assert!(matches!(encoder.next_packet(), Ok(Some(_))), "packet {n}");
    }
    sender.send(second).expect("open");
    for n in 48..98 {
        assert!(matches!(encoder.next_packet(), Ok(Some(_))), "packet {n}");
    }
    drop(sender);
    let (rest, failure) = drained(encoder);
    assert_eq!((98 + rest.len(), failure.is_none()), (101, true));
}

#[test]
fn estimate_is_near_the_bitrate() {
    let config = EncoderConfig::default();
    let minute = encoded_bytes_estimate(60 * 48_000, config);
    assert!((960_000..1 << 20).contains(&minute), "{minute}");
    assert_eq!(encoded_bytes_estimate(0, config), 0);
    let day = encoded_bytes_estimate(24 * 3600 * 48_000, config);
    assert!(day > 512 << 20);
    assert!(encoded_bytes_estimate(u64::MAX, config) > 512 << 20);
}
