//! How does a block reach the ring of a sound device, at its rate, at its place, and without a click?
//!
//! The resampler is a filter: what it was given last comes out of it 1.3 ms later, with the next block. So when nothing follows,
//! what is left in it is pushed out; and when something follows after a gap, it is forgotten, since the gap was heard already.
//! Whatever is cut off falls to silence in 5 ms, whatever begins rises from it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ringbuf::traits::{Observer, Producer};

use crate::io::sound::Feed;
use crate::media::device_rate::DeviceRate;
use crate::media::opus::FRAME_VALUES;
use crate::playout::fade;
use crate::playout::servo::{Placement, Servo};

/// What is played of a block that is cut off: its 5 ms fade and the resampler's delay.
const TAIL_MS: usize = 7;
/// The 5 ms that fade.
const ECHO_VALUES: usize = FRAME_VALUES / 4;
/// Silence that is put into the ring at a time.
const SILENCE: [f32; 960] = [0.0; 960];

/// What the listener's thread needs while the device is there.
pub(super) struct DeviceFeed {
    feed: Feed,
    rate: DeviceRate,
    servo: Servo,
    missing_seen: u64,
    /// The end of the last block that was played, backwards: where it may have to be faded out without what follows.
    echo: [f32; ECHO_VALUES],
}

impl DeviceFeed {
    /// The way to a device that was just opened.
    ///
    /// # Errors
    /// Its rate, if that is not supported.
    pub(super) fn new(feed: Feed) -> Result<DeviceFeed, String> {
        Ok(DeviceFeed {
            rate: DeviceRate::new(feed.rate)?,
            servo: Servo::new(feed.period),
            missing_seen: 0,
            echo: [0.0; ECHO_VALUES],
            feed,
        })
    }

    /// How much the device takes at a time.
    pub(super) fn period(&self) -> Duration {
        self.feed.period
    }

    /// How long what is in the ring plays.
    pub(super) fn queued(&self) -> Duration {
        let frames = (self.feed.ring.occupied_len() / 2) as u64;
        Duration::from_micros(frames * 1_000_000 / u64::from(self.feed.rate))
    }

    /// Whether the device wanted samples while blocks were played one after the other.
    pub(super) fn found_missing(&mut self) -> bool {
        let heard = self.has_run_dry() && self.servo.is_playing();
        if heard {
            self.servo.handle_missing();
        }
        heard
    }

    /// Plays one block, `late_us` after its play time.
    pub(super) fn write(&mut self, block: &mut [f32; FRAME_VALUES], late_us: i64) {
        match self.servo.handle_block(self.queued(), late_us) {
            Placement::Play {
                pad,
                fade_out,
                fade_in,
                ppm,
            } => {
                let tail = if fade_out {
                    self.push_fading(block)
                } else {
                    Duration::ZERO
                };
                self.push_silence(pad.saturating_sub(tail));
                if fade_in {
                    self.rate.reset();
                    fade::fade_in_5ms(block);
                }
                push(&mut self.feed, self.rate.process(block, ppm));
                self.keep_echo(block);
            }
            Placement::Skip { fade_out: true } => drop(self.push_fading(block)),
            Placement::Skip { fade_out: false } => {}
        }
    }

    /// Nothing follows for a while: what is left in the resampler is played, unless it is late for that.
    pub(super) fn pause(&mut self) {
        if self.has_run_dry() && self.servo.is_playing() {
            self.rate.reset();
        } else {
            push(&mut self.feed, self.rate.flush());
        }
        self.servo.handle_pause();
    }

    /// Nothing follows in time, and there is no block to fade out in: what was heard last fades out backwards, which begins where it
    /// ended.
    pub(super) fn interrupt(&mut self) {
        if !self.servo.is_playing() {
            return;
        }
        if self.has_run_dry() {
            self.rate.reset();
        } else {
            let mut block = [0.0; FRAME_VALUES];
            block[..ECHO_VALUES].copy_from_slice(&self.echo);
            self.push_fading(&block);
        }
        self.servo.handle_pause();
    }

    fn keep_echo(&mut self, block: &[f32; FRAME_VALUES]) {
        let last = block.rchunks_exact(2);
        for (kept, pair) in self.echo.chunks_exact_mut(2).zip(last) {
            kept.copy_from_slice(pair);
        }
    }

    fn has_run_dry(&mut self) -> bool {
        let missing = self.feed.health.missing.load(Ordering::Relaxed);
        std::mem::replace(&mut self.missing_seen, missing) != missing
    }

    /// The first 5 ms of what is left out, falling to silence, so that the cut is not heard as a click. How long that is.
    fn push_fading(&mut self, block: &[f32; FRAME_VALUES]) -> Duration {
        let mut fading = *block;
        fade::fade_out_at_once(&mut fading);
        let samples = self.rate.process(&fading, 0.0);
        let tail = 2 * (self.feed.rate as usize * TAIL_MS / 1_000);
        push(&mut self.feed, &samples[..tail.min(samples.len())]);
        Duration::from_millis(TAIL_MS as u64)
    }

    fn push_silence(&mut self, pad: Duration) {
        let mut values = 2 * (pad.as_micros() as usize * self.feed.rate as usize / 1_000_000);
        while values > 0 {
            let part = values.min(SILENCE.len());
            values -= part;
            if self.feed.ring.push_slice(&SILENCE[..part]) < part {
                break;
            }
        }
    }
}

/// As many whole pairs of `samples` as there is room for. A full ring is a device that takes nothing: the supervisor sees that,
/// too.
fn push(feed: &mut Feed, samples: &[f32]) {
    let fitting = samples.len().min(feed.ring.vacant_len());
    feed.ring.push_slice(&samples[..fitting - fitting % 2]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringbuf::traits::Split;
    use ringbuf::{HeapCons, HeapRb};

    use super::*;
    use crate::io::sound_callback::{DeviceHealth, fill};

    const RATES: [u32; 3] = [44_100, 48_000, 96_000];
    /// A fade of 5 ms moves by 0.003 a sample at 48 kHz, at this volume; a cut by all of it.
    const VOLUME: f32 = 0.5;
    const SMOOTH: f32 = 0.01;

    /// A feed, and the device that it feeds: what that played, left side only.
    struct Device {
        feed: DeviceFeed,
        ring: HeapCons<f32>,
        health: Arc<DeviceHealth>,
        rate: u32,
        played: Vec<f32>,
    }

    impl Device {
        fn new(rate: u32) -> Device {
            let (producer, ring) = HeapRb::new(2 * rate as usize).split();
            let health = Arc::new(DeviceHealth::default());
            let feed = Feed {
                ring: producer,
                rate,
                period: Duration::from_millis(20),
                health: health.clone(),
            };
            Device {
                feed: DeviceFeed::new(feed).unwrap(),
                ring,
                health,
                rate,
                played: vec![],
            }
        }

        fn write(&mut self, blocks: usize, late_us: i64) {
            for _ in 0..blocks {
                // As the speaker does it.
                self.feed.found_missing();
                self.feed.write(&mut [VOLUME; FRAME_VALUES], late_us);
            }
        }

        /// The device takes that much.
        fn take(&mut self, ms: usize) {
            let mut out = vec![0.0f32; 2 * ms * self.rate as usize / 1_000];
            fill(&mut self.ring, &mut out, 2, &self.health);
            self.played.extend(out.iter().step_by(2));
        }

        /// Blocks in real time.
        fn play(&mut self, blocks: usize) {
            for _ in 0..blocks {
                self.write(1, 0);
                self.take(20);
            }
        }

        #[track_caller]
        fn assert_smooth(&self, from: usize) {
            let mut before = if from == 0 {
                0.0
            } else {
                self.played[from - 1]
            };
            for (k, sample) in self.played.iter().enumerate().skip(from) {
                let step = (sample - before).abs();
                assert!(step < SMOOTH, "{} Hz: {step} at {k}", self.rate);
                before = *sample;
            }
        }

        fn is_loud(&self, from: usize) -> bool {
            self.played[from..].iter().any(|x| *x > 0.99 * VOLUME)
        }
    }

    #[test]
    fn last_block_fades_out_to_its_very_end() {
        for rate in RATES {
            let mut device = Device::new(rate);
            device.play(50);
            let mut last = [VOLUME; FRAME_VALUES];
            fade::fade_out_5ms(&mut last);
            device.feed.write(&mut last, 0);
            device.feed.pause();
            device.take(300);
            assert!(device.is_loud(0));
            device.assert_smooth(0);
        }
    }

    #[test]
    fn sound_that_is_interrupted_fades_out_without_what_follows_and_in_again_at_its_place() {
        for rate in RATES {
            let mut device = Device::new(rate);
            let tone = |k: usize| (k as f32 * 0.013).sin() * VOLUME;
            let play = |device: &mut Device, blocks: std::ops::Range<usize>, late_us| {
                for n in blocks {
                    device.feed.found_missing();
                    let mut block = [0.0; FRAME_VALUES];
                    for (k, pair) in block.chunks_exact_mut(2).enumerate() {
                        pair.fill(tone(960 * n + k));
                    }
                    device.feed.write(&mut block, late_us);
                    device.take(20);
                }
            };
            play(&mut device, 0..50, 0);
            // The next block comes 160 ms after this one, and the device has sound for 80.
            device.feed.interrupt();
            device.feed.interrupt();
            device.take(140);
            let quiet = device.played.len() - rate as usize / 50;
            assert!(device.played[quiet..].iter().all(|x| x.abs() < 1e-3));
            play(&mut device, 50..100, 0);
            device.assert_smooth(0);
            assert!(device.is_loud(quiet) && !device.feed.found_missing());
            let heard = device.played.iter().filter(|x| x.abs() > 1e-3).count();
            let expected = (100 * 20 - 80) * rate as usize / 1_000;
            assert!(
                heard.abs_diff(expected) < rate as usize / 100,
                "{heard} of {expected}"
            );
        }
    }

    #[test]
    fn nothing_old_is_heard_after_an_underrun() {
        for rate in RATES {
            let mut device = Device::new(rate);
            device.play(50);
            device.take(500);
            let resumed = device.played.len();
            device.play(50);
            assert!(device.is_loud(resumed));
            device.assert_smooth(resumed);
        }
    }

    #[test]
    fn nothing_old_is_heard_after_a_pause_or_when_the_device_ran_dry_before_it() {
        for dry_ms in [0, 500] {
            let mut device = Device::new(48_000);
            device.play(50);
            device.take(dry_ms);
            let paused = device.played.len();
            device.feed.pause();
            device.feed.pause();
            device.take(500);
            let resumed = device.played.len();
            device.play(50);
            assert!(device.is_loud(resumed));
            device.assert_smooth(resumed);
            if dry_ms > 0 {
                device.assert_smooth(paused);
            }
        }
    }

    #[test]
    fn sound_that_ends_is_played_to_its_last_sample() {
        for rate in RATES {
            let mut device = Device::new(rate);
            device.write(3, 0);
            device.feed.pause();
            device.take(300);
            // Three blocks, half of a fade of 5 ms less.
            let heard = device.played.iter().filter(|x| **x > VOLUME / 2.0).count();
            let expected = rate as usize * 115 / 2_000;
            assert!(
                heard.abs_diff(expected) <= 2,
                "{rate} Hz: {heard} of {expected}"
            );
        }
    }

    #[test]
    fn jump_in_either_direction_fades_out_and_in() {
        for rate in RATES {
            for late_us in [400_000, -150_000] {
                let mut device = Device::new(rate);
                device.play(50);
                for _ in 0..50 {
                    device.write(1, late_us);
                    device.take(20);
                }
                let quiet = device.played[rate as usize..]
                    .iter()
                    .any(|x| x.abs() < 1e-3);
                assert!(quiet, "{rate} Hz: there was no jump by {late_us} µs");
                device.assert_smooth(0);
            }
        }
    }
}
