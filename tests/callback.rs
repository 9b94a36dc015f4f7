//! Does the body of the audio callback keep house rule 9? It must not allocate, whatever it meets.
#![allow(
    clippy::unwrap_used,
    reason = "tests: a failed unwrap is a failed test"
)]

use std::sync::atomic::Ordering;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use lanradio::io::sound_callback::{DeviceHealth, fill};
use ringbuf::HeapRb;
use ringbuf::traits::{Producer, Split};

/// Ends the process at an allocation (or a release) inside of `assert_no_alloc`.
#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

#[test]
fn callback_allocates_nothing_whether_samples_are_there_or_not() {
    let health = DeviceHealth::default();
    let (mut producer, mut consumer) = HeapRb::<f32>::new(8_192).split();
    let (mut floats, mut integers) = (vec![0.0f32; 2 * 1_365], vec![0i16; 6 * 512]);
    for frames in [0, 100, 1_365, 4_096] {
        producer.push_slice(&vec![0.25; 2 * frames]);
        assert_no_alloc(|| {
            fill(&mut consumer, &mut floats, 2, &health);
            fill(&mut consumer, &mut integers, 6, &health);
            fill(&mut consumer, &mut floats, 1, &health);
        });
    }
    assert_eq!(health.callbacks.load(Ordering::Relaxed), 12);
    assert!(health.missing.load(Ordering::Relaxed) > 0);
}
