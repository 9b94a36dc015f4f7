//! What does a sound device cost: the body of its callback, and the conversion of a frame to its rate?
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use lanradio::io::sound_callback::{DeviceHealth, fill};
use lanradio::media::device_rate::DeviceRate;
use lanradio::media::opus::FRAME_VALUES;
use ringbuf::HeapRb;
use ringbuf::traits::{Producer, Split};

/// Stereo samples of one callback.
const VALUES: usize = 2 * 512;

fn callback(criterion: &mut Criterion) {
    let health = DeviceHealth::default();
    let (mut producer, mut consumer) = HeapRb::<f32>::new(4_096).split();
    let sound = [0.25f32; VALUES];
    let mut floats = [0.0f32; VALUES];
    let mut integers = [0i16; VALUES];
    criterion.bench_function("callback of 512 frames, f32", |bencher| {
        bencher.iter(|| {
            producer.push_slice(&sound);
            fill(&mut consumer, &mut floats, 2, &health);
        });
    });
    criterion.bench_function("callback of 512 frames, i16", |bencher| {
        bencher.iter(|| {
            producer.push_slice(&sound);
            fill(&mut consumer, &mut integers, 2, &health);
        });
    });
}

fn resampling(criterion: &mut Criterion) {
    let mut block = [0.0f32; FRAME_VALUES];
    for (k, value) in block.iter_mut().enumerate() {
        *value = (k as f32 * 0.01).sin();
    }
    for rate in [48_000, 44_100] {
        let mut converter = DeviceRate::new(rate).unwrap();
        criterion.bench_function(&format!("a frame to {rate} Hz"), |bencher| {
            bencher.iter(|| converter.process(&block, 100.0).len());
        });
    }
}

criterion_group!(benches, callback, resampling);
criterion_main!(benches);
