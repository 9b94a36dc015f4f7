//! What does it cost to be in step: an answer of the leader through the filter, a second of a sound device's callbacks, the servo?
//!
//!     cargo bench --bench clock
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lanradio::playout::device_clock::{DeviceClock, Tick};
use lanradio::playout::servo::Servo;
use lanradio::station::clock::{Answer, ClockFilter, Sample, Sync};
use lanradio::time::Instant;

/// From probe to probe.
const EVERY_US: u64 = 200_000;
/// The other clock is ahead of ours by this much, in µs, and this much faster.
const AHEAD_US: u64 = 7_000_000;
const SKEW_PPM: u64 = 40;
/// Callbacks of a device in a second: it takes 1,024 frames at a time.
const PERIOD: u64 = 1_024;
const RATE_HZ: u32 = 48_000;

/// The other clock at `now`.
fn there_us(now: Instant) -> u64 {
    now.as_micros() + AHEAD_US + now.as_micros() * SKEW_PPM / 1_000_000
}

/// Some µs more or less, the same ones in each run.
fn noise_us(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58
}

/// Probe number `n`: when it is sent, when it arrives, when the answer is heard.
fn way(n: u64) -> (Instant, Instant, Instant) {
    let sent = Instant::from_micros(n * EVERY_US);
    let arrived = sent + Duration::from_micros(150 + noise_us(n));
    (
        sent,
        arrived,
        arrived + Duration::from_micros(150 + noise_us(n + 1)),
    )
}

fn filter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("station clock");
    let mut filter = ClockFilter::default();
    let mut n = 0;
    group.bench_function("filter step", |bencher| {
        bencher.iter(|| {
            n += 1;
            let (sent, arrived, heard) = way(n);
            filter.handle_sample(black_box(&Sample {
                sent,
                received_us: there_us(arrived),
                replied_us: there_us(arrived),
                heard,
                rate_sigma_ppm: 0.0,
            }));
            filter.estimate(heard)
        });
    });
    let mut sync = Sync::default();
    sync.handle_leader(Instant::default());
    let mut n = 0;
    group.bench_function("probe, answer and map", |bencher| {
        bencher.iter(|| {
            n += 1;
            let (sent, arrived, heard) = way(n);
            sync.handle_timeout(n, 1, sent);
            let answer = Answer {
                received_us: there_us(arrived),
                replied_us: there_us(arrived),
                rate_sigma_ppm: 0.0,
                doubted: false,
            };
            assert!(sync.handle_answer(n, black_box(&answer), heard));
            sync.clock()
        });
    });
    group.finish();
}

fn device(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("device clock");
    let tick = |n: u64| {
        let nominal_us = (n * PERIOD) as f64 * 1e6 / f64::from(RATE_HZ);
        let called_us = nominal_us * (1.0 + 50e-6) + noise_us(n) as f64;
        Tick {
            frames: n * PERIOD,
            called_us,
            leaves_us: called_us + 40_000.0 + noise_us(n + 7) as f64,
        }
    };
    let a_second = u64::from(RATE_HZ) / PERIOD + 1;
    // As long as it looks back, and longer: from then on it costs most.
    let mut clock = DeviceClock::new(RATE_HZ, None);
    let mut n = 0;
    while n < 120 * a_second {
        n += 1;
        clock.handle_tick(&tick(n));
    }
    group.bench_function("a second of callbacks", |bencher| {
        bencher.iter(|| {
            for _ in 0..a_second {
                n += 1;
                clock.handle_tick(black_box(&tick(n)));
            }
            clock.leaves_us(n * PERIOD)
        });
    });
    let mut servo = Servo::default();
    servo.handle_block(-1_000.0, 50.0);
    let mut n = 0;
    group.bench_function("servo, a block", |bencher| {
        bencher.iter(|| {
            n += 1;
            servo.handle_block(black_box(noise_us(n) as f64 - 32.0), 50.0)
        });
    });
    group.finish();
}

criterion_group!(benches, filter, device);
criterion_main!(benches);
