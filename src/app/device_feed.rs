//! How does a block reach the ring of a sound device, at its rate, at its place, and without a click?
//!
//! The resampler is a filter: what it was given last comes out of it 1.3 ms later, with the next block. So when nothing follows,
//! what is left in it is pushed out; and when something follows after a gap, it is forgotten, since the gap was heard already.
//! Whatever is cut off falls to silence in 5 ms, whatever begins rises from it.
//!
//! Each block is to leave the device at its instant. When that is, the device's clock tells, which learns from each callback; blocks that
//! come before it is known are left out, in the first quarter of a second after the device was opened.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ringbuf::traits::{Consumer, Observer, Producer};

use crate::io::sound::Feed;
use crate::io::sound_callback::Stamps;
use crate::media::device_rate::{DELAY, DeviceRate};
use crate::media::opus::FRAME_VALUES;
use crate::playout::device_clock::{DeviceClock, Learned, Tick};
use crate::playout::fade;
use crate::playout::servo::{Placement, Servo, TAIL};
use crate::time::Instant;
use crate::wire::ids::FRAME;
use crate::wire::report::Timing;

/// The 5 ms that fade.
const ECHO_VALUES: usize = FRAME_VALUES / 4;
/// Silence that is put into the ring at a time.
const SILENCE: [f32; 960] = [0.0; 960];

/// How much later than planned a block may be written and still be there when the device asks: what wake-ups are late, and what a frame
/// that is missing is waited for.
const SLACK: Duration = Duration::from_millis(60);
/// Blocks are written later only if there is more than a frame and this to spare.
const LEAD_STEP: Duration = Duration::from_millis(10);

/// When a block is to be heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Due {
    /// When its first sample is to leave.
    pub(super) at: Instant,
    /// What time it is now.
    pub(super) now: Instant,
    /// How much faster than the local clock the station's goes, in parts per million.
    pub(super) station_ppm: f64,
}

impl Due {
    /// What is heard as soon as it is written.
    #[cfg(test)]
    pub(super) fn now(now: Instant) -> Due {
        Due {
            at: now,
            now,
            station_ppm: 0.0,
        }
    }
}

/// How well a device is in step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InStep {
    /// How much later than they should samples leave, in µs, averaged over a second.
    pub error_us: f64,
    /// How much faster than the device the station's clock goes, in parts per million.
    pub drift_ppm: f64,
}

impl InStep {
    /// The same in whole numbers, as other nodes are told.
    pub(super) fn timing(self) -> Timing {
        Timing {
            sync_us: self.error_us.round() as i32,
            drift_ppb: (self.drift_ppm * 1e3).round() as i32,
        }
    }
}

/// What the listener's thread needs while the device is there.
pub(super) struct DeviceFeed {
    feed: Feed,
    rate: DeviceRate,
    clock: DeviceClock,
    servo: Servo,
    /// Frames that were put into the ring.
    written: u64,
    lead: Option<Duration>,
    station_ppm: f64,
    missing_seen: u64,
    moves_seen: u32,
    /// The end of the last block that was played, backwards: where it may have to be faded out without what follows.
    echo: [f32; ECHO_VALUES],
}

impl DeviceFeed {
    /// The way to a device that was just opened, and what was known of it when it was last heard.
    ///
    /// # Errors
    /// Its rate, if that is not supported.
    pub(super) fn new(feed: Feed, learned: Option<Learned>) -> Result<DeviceFeed, String> {
        Ok(DeviceFeed {
            rate: DeviceRate::new(feed.rate)?,
            clock: DeviceClock::new(feed.rate, learned),
            servo: Servo::default(),
            written: 0,
            lead: None,
            station_ppm: 0.0,
            missing_seen: 0,
            moves_seen: 0,
            echo: [0.0; ECHO_VALUES],
            feed,
        })
    }

    /// How long it takes from the ring to the air.
    pub(super) fn latency(&self) -> Duration {
        let latency_us = self.clock.latency_us();
        latency_us.map_or(self.feed.period * 3, |us| {
            Duration::from_micros(us as u64) + self.feed.period
        })
    }

    /// How long before it is to be heard a block has to be written; none while that is not known.
    pub(super) fn lead(&self) -> Option<Duration> {
        self.lead
    }

    /// How well it is in step; none while nothing plays.
    pub(super) fn in_step(&self) -> Option<InStep> {
        self.servo.error_us().map(|error_us| InStep {
            error_us,
            drift_ppm: self.clock.slow_ppm() + self.station_ppm,
        })
    }

    /// What is known of the device and will hold the next time.
    pub(super) fn learned(&self) -> Option<Learned> {
        self.clock.learned()
    }

    /// Learns what the device has said since it was last asked.
    pub(super) fn listen(&mut self) {
        let offset_us = self.feed.health.clock_offset_us.load(Ordering::Relaxed);
        while let Some(stamps) = self.feed.stamps.try_pop() {
            if offset_us != i64::MIN {
                self.clock.handle_tick(&tick(stamps, offset_us));
            }
        }
        if let Some(latency_us) = self.clock.latency_us() {
            let needed = Duration::from_micros(latency_us as u64) + self.feed.period + SLACK;
            let fits = |lead: Duration| needed <= lead && lead - needed <= FRAME + LEAD_STEP;
            if !self.lead.is_some_and(fits) {
                // Whole frames: then a block is to be written when a packet comes, and that costs no wake-up of its own.
                let frames = needed.as_micros().div_ceil(FRAME.as_micros());
                self.lead = Some(FRAME * u32::try_from(frames).unwrap_or(u32::MAX));
            }
        }
    }

    /// By how much later than at `at` the first sample of a block would leave that is written now, in µs, if the device has found so many
    /// frames missing; none while that is not known.
    fn error_us(&self, at: Instant, missing: u64) -> Option<f64> {
        let leaves_us = self.clock.leaves_us(self.written + missing)?;
        Some(leaves_us + DELAY.as_nanos() as f64 / 1e3 - at.as_micros() as f64)
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

    /// Plays one block.
    pub(super) fn write(&mut self, block: &mut [f32; FRAME_VALUES], due: Due) {
        self.listen();
        self.station_ppm = due.station_ppm;
        let missing = self.feed.health.missing.load(Ordering::Relaxed);
        if !self.servo.is_playing() {
            // What the device wanted up to now was silence, and is part of the place.
            self.missing_seen = missing;
        }
        let Some(error_us) = self.error_us(due.at, missing) else {
            if self.servo.is_playing() {
                self.push_fading(block);
                self.servo.handle_missing();
            }
            return;
        };
        if std::mem::replace(&mut self.moves_seen, self.clock.moves()) != self.clock.moves() {
            self.servo.handle_move();
        }
        let ppm = self.clock.slow_ppm() + due.station_ppm;
        match self.servo.handle_block(error_us, ppm) {
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
                self.written += push(&mut self.feed, self.rate.process(block, ppm));
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
            self.written += push(&mut self.feed, self.rate.flush());
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
        let frames = u64::from(self.feed.rate) * TAIL.as_millis() as u64 / 1_000;
        let values = 2 * frames as usize;
        self.written += push(&mut self.feed, &samples[..values.min(samples.len())]);
        Duration::from_nanos(frames * 1_000_000_000 / u64::from(self.feed.rate))
    }

    fn push_silence(&mut self, pad: Duration) {
        let frames = pad.as_secs_f64() * f64::from(self.feed.rate);
        let mut values = 2 * frames.round() as usize;
        while values > 0 {
            let part = values.min(SILENCE.len());
            values -= part;
            let pushed = push(&mut self.feed, &SILENCE[..part]);
            self.written += pushed;
            if 2 * (pushed as usize) < part {
                break;
            }
        }
    }
}

/// As many whole pairs of `samples` as there is room for; how many that are. A full ring is a device that takes nothing: the supervisor
/// sees that, too.
fn push(feed: &mut Feed, samples: &[f32]) -> u64 {
    let fitting = samples.len().min(feed.ring.vacant_len());
    let pushed = feed.ring.push_slice(&samples[..fitting - fitting % 2]);
    (pushed / 2) as u64
}

/// What the device said, on the local clock.
fn tick(stamps: Stamps, offset_us: i64) -> Tick {
    let local_us = |ns: u64| ns as f64 / 1e3 + offset_us as f64;
    Tick {
        frames: stamps.frames,
        called_us: local_us(stamps.called_ns),
        leaves_us: local_us(stamps.leaves_ns),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringbuf::traits::Split;
    use ringbuf::{HeapCons, HeapProd, HeapRb};

    use super::*;
    use crate::io::sound_callback::{DeviceHealth, fill};

    const RATES: [u32; 3] = [44_100, 48_000, 96_000];
    /// A fade of 5 ms moves by 0.003 a sample at 48 kHz, at this volume; a cut by all of it.
    const VOLUME: f32 = 0.5;
    const SMOOTH: f32 = 0.01;
    /// What the device takes at a time, how long that takes to be heard, and how long before it is heard a block is written, in ms.
    const PERIOD_MS: usize = 20;
    const LATENCY_MS: u64 = 20;
    const LEAD_MS: u64 = 80;

    /// A feed, and the device that it feeds: what that played, left side only.
    struct Device {
        feed: DeviceFeed,
        ring: HeapCons<f32>,
        stamps: HeapProd<Stamps>,
        health: Arc<DeviceHealth>,
        rate: u32,
        /// Frames that it took before the first block was due.
        before: usize,
        taken: u64,
        /// When the next block is to be heard.
        due: Instant,
        played: Vec<f32>,
    }

    impl Device {
        fn new(rate: u32) -> Device {
            let (producer, ring) = HeapRb::new(2 * rate as usize).split();
            let (stamps, told) = HeapRb::new(256).split();
            let health = Arc::new(DeviceHealth::default());
            health.clock_offset_us.store(7_000_000, Ordering::Relaxed);
            let feed = Feed {
                ring: producer,
                stamps: told,
                rate,
                period: Duration::from_millis(PERIOD_MS as u64),
                health: health.clone(),
            };
            let mut device = Device {
                feed: DeviceFeed::new(feed, None).unwrap(),
                ring,
                stamps,
                health,
                rate,
                before: 0,
                taken: 0,
                due: Instant::default(),
                played: vec![],
            };
            // As much as it takes to know the device.
            device.take(10 * PERIOD_MS);
            (device.played, device.before) = (vec![], device.taken as usize);
            device.due = device.now() + Duration::from_millis(LEAD_MS);
            device
        }

        /// What time it is, by what the device has taken.
        fn now(&self) -> Instant {
            Instant::from_micros(7_000_000 + self.taken * 1_000_000 / u64::from(self.rate))
        }

        /// One block, which is `late_us` too late.
        fn write_block(&mut self, block: &mut [f32; FRAME_VALUES], late_us: i64) {
            // As the speaker does it.
            self.feed.found_missing();
            let (at, now) = (self.due.offset_by(-late_us), self.now());
            let due = Due {
                at,
                now,
                station_ppm: 0.0,
            };
            self.feed.write(block, due);
            self.wait(20);
        }

        fn write(&mut self, blocks: usize, late_us: i64) {
            for _ in 0..blocks {
                self.write_block(&mut [VOLUME; FRAME_VALUES], late_us);
            }
        }

        /// The next block is heard that much later.
        fn wait(&mut self, ms: u64) {
            self.due += Duration::from_millis(ms);
        }

        /// The device takes that much.
        fn take(&mut self, ms: usize) {
            for _ in 0..ms / PERIOD_MS {
                let called_ns = self.taken * 1_000_000_000 / u64::from(self.rate);
                let told = self.stamps.try_push(Stamps {
                    frames: self.taken,
                    called_ns,
                    leaves_ns: called_ns + LATENCY_MS * 1_000_000,
                });
                told.unwrap();
                let frames = PERIOD_MS * self.rate as usize / 1_000;
                let mut out = vec![0.0f32; 2 * frames];
                fill(&mut self.ring, &mut out, 2, &self.health);
                self.played.extend(out.iter().step_by(2));
                self.taken += frames as u64;
            }
        }

        /// Blocks in real time.
        fn play(&mut self, blocks: usize) {
            for _ in 0..blocks {
                self.write(1, 0);
                self.take(20);
            }
        }

        /// Silence with a click in it; when that is to be heard.
        fn play_a_click(&mut self) -> Instant {
            let mut heard_at = self.due;
            for n in 0..60 {
                let mut block = [0.0; FRAME_VALUES];
                if n == 10 {
                    heard_at = self.due + Duration::from_millis(10);
                    block[960..962].fill(1.0);
                }
                self.write_block(&mut block, 0);
                self.take(20);
            }
            heard_at
        }

        #[track_caller]
        fn assert_clicks_at(&self, heard_at: Instant, samples: f64) {
            let loudest = self.played.iter().enumerate();
            let (at, _) = loudest.max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
            let leaves_us = (self.before + at) as f64 / f64::from(self.rate) * 1e6;
            let leaves_us = leaves_us + 7e6 + LATENCY_MS as f64 * 1e3;
            let off_us = leaves_us - heard_at.as_micros() as f64;
            let most_us = samples * 1e6 / f64::from(self.rate) + 1.0;
            assert!(off_us.abs() <= most_us, "{} Hz: {off_us} us", self.rate);
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
            device.write_block(&mut last, 0);
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
            let play = |device: &mut Device, blocks: std::ops::Range<usize>| {
                for n in blocks {
                    let mut block = [0.0; FRAME_VALUES];
                    for (k, pair) in block.chunks_exact_mut(2).enumerate() {
                        pair.fill(tone(960 * n + k));
                    }
                    device.write_block(&mut block, 0);
                    device.take(20);
                }
            };
            play(&mut device, 0..50);
            // The next block comes 160 ms after this one, and the device has sound for 80.
            device.feed.interrupt();
            device.feed.interrupt();
            device.take(140);
            device.wait(140);
            let quiet = device.played.len() - rate as usize / 50;
            assert!(device.played[quiet..].iter().all(|x| x.abs() < 1e-3));
            play(&mut device, 50..100);
            device.assert_smooth(0);
            assert!(device.is_loud(quiet) && !device.feed.found_missing());
            let heard = device.played.iter().filter(|x| x.abs() > 1e-3).count();
            // What waits in the ring is heard later.
            let expected = (100 * 20 - 60) * rate as usize / 1_000;
            assert!(
                heard.abs_diff(expected) < rate as usize / 100,
                "{heard} of {expected}"
            );
        }
    }

    #[test]
    fn what_the_device_wanted_just_before_the_first_block_is_not_missing() {
        let mut device = Device::new(48_000);
        assert!(!device.feed.found_missing());
        // It asks between the look at what is missing and the block.
        device.take(PERIOD_MS);
        device.wait(PERIOD_MS as u64);
        let due = Due {
            at: device.due,
            now: device.now(),
            station_ppm: 0.0,
        };
        device.feed.write(&mut [VOLUME; FRAME_VALUES], due);
        assert!(device.feed.in_step().is_some() && !device.feed.found_missing());
        // What it wants from then on is.
        device.take(500);
        assert!(device.feed.found_missing());
    }

    #[test]
    fn nothing_old_is_heard_after_an_underrun() {
        for rate in RATES {
            let mut device = Device::new(rate);
            device.play(50);
            device.take(500);
            device.wait(500);
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
            device.wait(dry_ms as u64);
            let paused = device.played.len();
            device.feed.pause();
            device.feed.pause();
            device.take(500);
            device.wait(500);
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

    #[test]
    fn a_sample_leaves_at_its_instant_at_every_rate() {
        for rate in [8_000, 44_100, 48_000, 96_000, 192_000] {
            let mut device = Device::new(rate);
            let heard_at = device.play_a_click();
            device.assert_clicks_at(heard_at, 1.0);
        }
    }

    #[test]
    fn what_follows_a_move_is_heard_at_its_instant_however_small_that_is() {
        for rate in RATES {
            for late_us in [-20_000, -7_500, -6_500, -1_600, 1_600, 20_000] {
                let mut device = Device::new(rate);
                device.play(50);
                // Its clock tells of a move.
                device.feed.moves_seen = u32::MAX;
                device.due = device.due.offset_by(-late_us);
                let heard_at = device.play_a_click();
                // The silence before it is a whole number of samples, too.
                device.assert_clicks_at(heard_at, 1.5);
            }
        }
    }

    #[test]
    fn what_comes_before_the_device_is_known_is_left_out() {
        let mut device = Device::new(48_000);
        device.feed.listen();
        device.feed.clock = DeviceClock::new(48_000, None);
        device.play(5);
        device.take(300);
        assert!(!device.is_loud(0) && device.feed.in_step().is_none());
    }
}
