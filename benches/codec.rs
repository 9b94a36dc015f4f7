//! What does one frame cost? Encoding and decoding 20 ms at the default settings, and storing its packet.
//!
//!     cargo bench --bench codec

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lanradio::media::opus::{
    Decoder, Encoder, EncoderConfig, FRAME_SAMPLES, FRAME_VALUES, MAX_PACKET_BYTES,
};
use lanradio::media::track::Track;
use lanradio::wire::TrackId;

/// Two seconds of a beating chord, different left and right.
fn music() -> Vec<f32> {
    let tau = std::f32::consts::TAU;
    (0..100 * FRAME_SAMPLES)
        .flat_map(|i| {
            let t = i as f32 / 48_000.0;
            let beat = 0.6 + 0.4 * (tau * 1.5 * t).sin();
            let left = (tau * 261.6 * t).sin() + (tau * 1046.5 * t).sin();
            let right = (tau * 329.6 * t).sin() + (tau * 3520.3 * t).sin();
            [0.2 * beat * left, 0.2 * beat * right]
        })
        .collect()
}

fn codec(c: &mut Criterion) {
    let samples = music();
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));

    for complexity in [0, 5, 10] {
        let config = EncoderConfig {
            complexity,
            ..EncoderConfig::default()
        };
        let mut encoder = Encoder::new(config).expect("encoder");
        let mut packet = [0; MAX_PACKET_BYTES];
        let mut frames = samples.chunks_exact(FRAME_VALUES).cycle();
        group.bench_function(format!("encode, complexity {complexity}"), |b| {
            b.iter(|| {
                let frame = frames.next().expect("endless");
                encoder
                    .encode(black_box(frame), &mut packet)
                    .expect("packet")
            });
        });
    }

    let mut encoder = Encoder::new(EncoderConfig::default()).expect("encoder");
    let mut packet = [0; MAX_PACKET_BYTES];
    let mut track = Track::new(TrackId([0; 16]));
    for frame in samples.chunks_exact(FRAME_VALUES) {
        let length = encoder.encode(frame, &mut packet).expect("packet");
        track.push(&packet[..length]).expect("room");
    }
    let mut decoder = Decoder::new().expect("decoder");
    let mut out = [0.0; FRAME_VALUES];
    let mut numbers = (0..track.len()).cycle();
    group.bench_function("decode", |b| {
        b.iter(|| {
            let packet = numbers.next().and_then(|n| track.get(n)).expect("held");
            decoder.decode(black_box(packet), &mut out).expect("frame");
        });
    });
    group.bench_function("conceal", |b| {
        b.iter(|| decoder.conceal(black_box(&mut out)).expect("frame"));
    });
    group.bench_function("store in a track", |b| {
        let mut track = Track::new(TrackId([0; 16]));
        b.iter(|| {
            track.push(black_box(&packet[..320])).expect("room");
            if track.len().is_multiple_of(3_000) {
                track = Track::new(TrackId([0; 16]));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
