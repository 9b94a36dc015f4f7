//! What does a packet cost: to build, to parse, to find its place in the buffer, and from the datagram to its sound?
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lanradio::media::opus::{
    Decoder, Encoder, EncoderConfig, FRAME_VALUES, MAX_PACKET_BYTES, sample_to_i16,
};
use lanradio::playout::dial::Dial;
use lanradio::playout::{Config, Output, Player};
use lanradio::time::Instant;
use lanradio::wire::ids::{Numbering, PlanDigest, ShortTerm};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FRAME_MICROS, FrameIndex, Slot, StationId};

const STATION: StationId = StationId(0x00c0_ffee);
/// A typical frame at 128 kbit/s (FACTS).
const PAYLOAD: [u8; 320] = [0x5a; 320];
const FRAMES: u64 = 1_000;

fn packet<'a>(numbering: &Numbering, n: u64, payload: &'a [u8]) -> MediaPacket<'a> {
    let term = ShortTerm {
        counter: 1,
        leader: 2,
    };
    let header = (term, PlanDigest(3), Flags::default());
    MediaPacket::place(numbering, FrameIndex(n), Slot(n), n == 0, header, payload)
}

fn wire(criterion: &mut Criterion) {
    let numbering = Numbering::of(STATION);
    let mut bytes = Vec::new();
    criterion.bench_function("packet build", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            packet(&numbering, black_box(70_000), &PAYLOAD).write(&mut bytes);
        });
    });
    criterion.bench_function("packet parse", |bencher| {
        bencher.iter(|| MediaPacket::parse(black_box(&bytes)).unwrap().payload.len());
    });
}

/// A thousand frames on time, as a listener sees them: receive, time out, take the outputs. Per element: one frame.
fn player(criterion: &mut Criterion) {
    let numbering = Numbering::of(STATION);
    let mut group = criterion.benchmark_group("player, 1,000 frames");
    group.throughput(Throughput::Elements(FRAMES));
    for loss_percent in [0, 5, 20] {
        group.bench_function(format!("{loss_percent} % loss"), |bencher| {
            let new = || Player::new(STATION, Config::default());
            bencher.iter_batched(
                new,
                |player| listen(player, &numbering, loss_percent),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn listen(mut player: Player, numbering: &Numbering, loss_percent: u64) -> Player {
    let mut octets = 0;
    for n in 0..FRAMES {
        let now = Instant::from_micros(1_000_000 + n * FRAME_MICROS);
        // A multiplicative hash: the same losses every time, without a pattern.
        if n < 3 || n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff >= loss_percent * 655 {
            player
                .handle_media(&packet(numbering, n, &PAYLOAD), now, now)
                .unwrap();
        }
        player.handle_timeout(now);
        while let Some(output) = player.poll_output() {
            if let Output::Play { index } = output {
                octets += player.payload(index).map_or(0, <[u8]>::len);
            }
        }
        black_box(player.poll_timeout());
    }
    black_box(octets);
    player
}

/// The whole way of one frame through a listener: datagram, station, buffer, decoder, 16-bit samples.
fn listener(criterion: &mut Criterion) {
    let packets = music();
    let numbering = Numbering::of(STATION);
    let mut dial = Dial::new(Config::default());
    let mut decoder = Decoder::new().unwrap();
    let (mut block, mut sound) = ([0.0; FRAME_VALUES], [0i16; FRAME_VALUES]);
    let (mut sent, mut heard, mut played) = (0u64, 0u64, 0u64);
    criterion.bench_function("listener, a frame", |bencher| {
        let datagram = || {
            let payload = &packets[sent as usize % packets.len()];
            let mut bytes = Vec::new();
            packet(&numbering, sent, payload).write(&mut bytes);
            sent += 1;
            bytes
        };
        let hear = |bytes: Vec<u8>| {
            let now = Instant::from_micros(1_000_000 + heard * FRAME_MICROS);
            heard += 1;
            let packet = MediaPacket::parse(&bytes).unwrap();
            dial.handle_media(&packet, now, now).unwrap();
            let Some(player) = dial.player_mut() else {
                return;
            };
            player.handle_timeout(now);
            while let Some(output) = player.poll_output() {
                if let Output::Play { index } = output {
                    let payload = player.payload(index).unwrap();
                    decoder.decode(payload, &mut block).unwrap();
                    for (to, from) in sound.iter_mut().zip(&block) {
                        *to = sample_to_i16(*from);
                    }
                    black_box(&sound);
                    played += 1;
                }
            }
        };
        bencher.iter_batched(datagram, hear, BatchSize::SmallInput);
    });
    // All but what waits in the buffer of half a second, and what one cannot play when joining.
    assert!(
        played + 25 + 8 >= heard,
        "{played} of {heard} frames were played"
    );
}

/// Two seconds of a chord, encoded.
fn music() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let voice = |n: usize, hz: f32| 0.3 * (std::f32::consts::TAU * hz * n as f32 / 48_000.0).sin();
    let samples: Vec<f32> = (0..100 * FRAME_VALUES / 2)
        .flat_map(|n| {
            [
                voice(n, 330.0) + voice(n, 2_637.0),
                voice(n, 440.0) + voice(n, 1_319.0),
            ]
        })
        .collect();
    let mut packet = [0; MAX_PACKET_BYTES];
    let encode = |frame: &[f32]| {
        let length = encoder.encode(frame, &mut packet).unwrap();
        packet[..length].to_vec()
    };
    samples.chunks_exact(FRAME_VALUES).map(encode).collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = wire, player, listener
}
criterion_main!(benches);
