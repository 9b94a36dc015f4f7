//! What happens on the sound device's own thread? Four things: pop, copy, zero the rest, add to an atomic. What the device says of the
//! time goes into a ring as it is, and is thought about elsewhere.
//!
//! No lock, no allocation, no log, no clock, no wait: whoever is late here is heard. [`fill`] is a free function, so that it is
//! tested (and measured) without a device. Errors come on the same thread and can come a million times a second when a server has
//! died; [`Trouble`] counts them and brakes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cpal::{FromSample, Sample};
use ringbuf::traits::Consumer;

/// Values of the ring that are copied at a time: pairs of left and right.
const CHUNK: usize = 512;
/// Errors without a callback in between from which on each one waits.
const BRAKE_AFTER: u32 = 20;
/// Errors without a callback in between that mean that the device is gone.
const BROKEN_AFTER: u32 = 100;
/// How long an error waits, so that a dead device does not cost a core.
const BRAKE: Duration = Duration::from_millis(2);

/// What a device's thread tells the others.
#[derive(Debug)]
pub struct DeviceHealth {
    /// How often samples were asked for.
    pub callbacks: AtomicU64,
    /// Frames that were asked for and not there.
    pub missing: AtomicU64,
    /// There is nothing but errors.
    pub broken: AtomicBool,
    /// The local clock less the device's, in µs; `i64::MIN` while that is not known.
    pub clock_offset_us: AtomicI64,
}

impl Default for DeviceHealth {
    fn default() -> DeviceHealth {
        DeviceHealth {
            callbacks: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            clock_offset_us: AtomicI64::new(i64::MIN),
        }
    }
}

/// What the device says when it asks for samples, on its own clock.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    /// Frames that it was given before.
    pub frames: u64,
    /// When it asked, in ns.
    pub called_ns: u64,
    /// When the next frame leaves, in ns.
    pub leaves_ns: u64,
}

/// Fills `out`, frames of `channels` values, from a ring of stereo pairs; what is not there becomes silence and is counted.
///
/// One channel gets the mean of both sides, further ones than two get silence. Values beyond ±1 are clamped.
pub fn fill<T: Sample + FromSample<f32>>(
    ring: &mut impl Consumer<Item = f32>,
    out: &mut [T],
    channels: usize,
    health: &DeviceHealth,
) {
    let mut chunk = [0.0f32; CHUNK];
    let mut rest = out.chunks_exact_mut(channels.max(1));
    loop {
        let wanted = (2 * rest.len()).min(CHUNK);
        let got = ring.pop_slice(&mut chunk[..wanted]);
        for (pair, frame) in chunk[..got].chunks_exact(2).zip(&mut rest) {
            write_frame(frame, pair[0].clamp(-1.0, 1.0), pair[1].clamp(-1.0, 1.0));
        }
        if got < wanted || wanted == 0 {
            break;
        }
    }
    let missing = rest.len() as u64;
    rest.for_each(|frame| frame.fill(T::EQUILIBRIUM));
    health.missing.fetch_add(missing, Ordering::Relaxed);
    health.callbacks.fetch_add(1, Ordering::Relaxed);
}

fn write_frame<T: Sample + FromSample<f32>>(frame: &mut [T], left: f32, right: f32) {
    match frame {
        [mono] => *mono = T::from_sample(0.5 * (left + right)),
        [first, second, others @ ..] => {
            (*first, *second) = (T::from_sample(left), T::from_sample(right));
            others.fill(T::EQUILIBRIUM);
        }
        [] => {}
    }
}

/// Counts the errors of a device since it last took samples.
#[derive(Debug, Default)]
pub struct Trouble {
    callbacks: u64,
    errors: u32,
}

impl Trouble {
    /// One more error. Sleeps when they come hot: the thread that they come on has nothing else to do.
    pub fn handle_error(&mut self, health: &DeviceHealth) {
        let callbacks = health.callbacks.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.callbacks, callbacks) != callbacks {
            self.errors = 0;
        }
        self.errors = self.errors.saturating_add(1);
        if self.errors > BROKEN_AFTER {
            health.broken.store(true, Ordering::Relaxed);
        }
        if self.errors > BRAKE_AFTER {
            brake();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "not our thread: the sound library's, spinning on a dead device"
)]
fn brake() {
    std::thread::sleep(BRAKE);
}

#[cfg(test)]
mod tests {
    use ringbuf::HeapRb;
    use ringbuf::traits::{Producer, Split};

    use super::*;

    fn filled<T: Sample + FromSample<f32> + Copy>(
        ring: &[f32],
        frames: usize,
        channels: usize,
    ) -> (Vec<T>, u64) {
        let (mut producer, mut consumer) = HeapRb::<f32>::new(4096).split();
        producer.push_slice(ring);
        let health = DeviceHealth::default();
        let mut out = vec![T::from_sample(0.7f32); frames * channels];
        fill(&mut consumer, &mut out, channels, &health);
        assert_eq!(health.callbacks.load(Ordering::Relaxed), 1);
        (out, health.missing.load(Ordering::Relaxed))
    }

    #[test]
    fn samples_are_copied_and_the_rest_is_silence_that_is_counted() {
        assert_eq!(
            filled::<f32>(&[0.1, -0.1, 0.2, -0.2], 3, 2),
            (vec![0.1, -0.1, 0.2, -0.2, 0.0, 0.0], 1)
        );
        assert_eq!(filled::<f32>(&[], 2, 2), (vec![0.0; 4], 2));
        assert_eq!(filled::<f32>(&[0.5; 8], 2, 2), (vec![0.5; 4], 0));
    }

    #[test]
    fn every_layout_and_format_gets_both_sides() {
        let ring = [0.5, -0.25];
        assert_eq!(filled::<f32>(&ring, 1, 1).0, [0.125]);
        assert_eq!(filled::<f32>(&ring, 1, 4).0, [0.5, -0.25, 0.0, 0.0]);
        assert_eq!(filled::<i16>(&ring, 1, 2).0, [16_384, -8_192]);
        assert_eq!(filled::<i32>(&ring, 1, 2).0, [1 << 30, -(1 << 29)]);
        assert_eq!(filled::<u8>(&ring, 1, 3).0, [192, 96, 128]);
        assert_eq!(filled::<i16>(&[7.0, -7.0], 1, 2).0, [32_767, -32_768]);
    }

    #[test]
    fn more_than_a_chunk_is_copied_in_order() {
        let ring: Vec<f32> = (0..2_730).map(|k| k as f32 / 4096.0).collect();
        let (out, missing) = filled::<f32>(&ring, 1_365, 2);
        assert_eq!((out, missing), (ring, 0));
    }

    #[test]
    fn errors_without_end_are_broken_and_errors_between_callbacks_are_not() {
        let (health, mut trouble) = (DeviceHealth::default(), Trouble::default());
        for _ in 0..50 {
            (0..20).for_each(|_| trouble.handle_error(&health));
            health.callbacks.fetch_add(1, Ordering::Relaxed);
        }
        assert!(!health.broken.load(Ordering::Relaxed));
        (0..=100).for_each(|_| trouble.handle_error(&health));
        assert!(health.broken.load(Ordering::Relaxed));
    }
}
