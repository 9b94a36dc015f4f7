//! How fast must a block be played, so that a device with a clock of its own stays with the station?
//!
//! A sound device takes samples at its own pace, some hundred parts per million beside ours. Between us and the device is a queue
//! that should be as long as the `target`; a block that is written late by some time finds the queue that much too long. The sum
//! of both errors is how far the sound is behind, and a PI controller turns it into a rate for the resampler (FACTS, "Play-out
//! servo": damping 1). The device takes whole periods, so one look at the queue is wrong by up to half a period; the error is
//! smoothed over some seconds, and the rate changes too slowly to be heard. The error that is left after the first two seconds is that
//! half period, and is kept: to correct it would be heard as a glide. Above 30 ms of error no rate helps: silence is put in
//! or a block is left out, once.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::wire::FRAME;

/// Natural frequency of the loop in Hz.
const NATURAL_HZ: f64 = 0.005;
/// Time constant of each of the two stages that smooth the error, in seconds; short against the loop's.
const SMOOTHING_S: f64 = 3.0;
/// Blocks after a beginning whose mean error is taken for the right place: 2 s.
const SETTLING: u32 = 100;
/// The rate never leaves 1 by more than this, in parts per million.
const MAX_PPM: f64 = 500.0;
/// Beyond this error (smoothed; a single look at the queue errs by a period more) the place is corrected at once.
pub const JUMP: Duration = Duration::from_millis(30);
/// The queue's length, unless the device takes more at a time.
const TARGET: Duration = Duration::from_millis(80);

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Placement {
    /// Play it: `pad` of silence first, faded in if it follows silence, at `ppm` above the nominal rate (more input per output).
    Play {
        /// Silence before it.
        pad: Duration,
        /// The block before it was played: fade out before the silence, and take that time off it.
        fade_out: bool,
        /// What is before it is silence, or was cut off.
        fade_in: bool,
        /// How much faster than nominal the input is used up, in parts per million.
        ppm: f64,
    },
    /// Leave it out: the sound is behind.
    Skip {
        /// The block before it was played: fade out.
        fade_out: bool,
    },
}

/// Keeps one device with the station.
#[derive(Debug)]
pub struct Servo {
    target_us: f64,
    period_us: f64,
    /// The error in µs, smoothed once and twice; positive: the sound is behind.
    half_smoothed_us: f64,
    error_us: f64,
    /// Blocks since the beginning, up to [`SETTLING`], and the sum of their errors in µs; then the error that is right.
    settled: u32,
    sum_us: f64,
    offset_us: f64,
    /// The drift that was learned, in ppm.
    drift_ppm: f64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The last thing heard is silence: what comes next is placed exactly.
    Silent,
    /// The place is wrong: what comes next is placed exactly, after a cut.
    Cutting,
    Playing,
}

impl Servo {
    /// A servo for a device that takes `period` at a time.
    pub fn new(period: Duration) -> Servo {
        Servo {
            target_us: micros(TARGET.max(period * 2)),
            period_us: micros(period),
            half_smoothed_us: 0.0,
            error_us: 0.0,
            settled: 0,
            sum_us: 0.0,
            offset_us: 0.0,
            drift_ppm: 0.0,
            state: State::Silent,
        }
    }

    /// A block of one frame is to be written, `late_us` after its play time, while `queued` waits in the queue.
    pub fn handle_block(&mut self, queued: Duration, late_us: i64) -> Placement {
        let error_us = micros(queued) + late_us as f64 - self.target_us;
        if self.state == State::Playing {
            self.smooth(error_us);
            let is_far = error_us.abs() > micros(JUMP) + self.period_us;
            if !is_far && self.error_us.abs() <= micros(JUMP) {
                return Placement::Play {
                    pad: Duration::ZERO,
                    fade_out: false,
                    fade_in: false,
                    ppm: self.ppm(),
                };
            }
            if error_us > micros(FRAME) / 2.0 {
                self.state = State::Cutting;
                return Placement::Skip { fade_out: true };
            }
        }
        if error_us > micros(FRAME) / 2.0 {
            return Placement::Skip { fade_out: false };
        }
        let fade_out = std::mem::replace(&mut self.state, State::Playing) == State::Playing;
        let pad = Duration::from_micros((-error_us).max(0.0) as u64);
        (self.half_smoothed_us, self.error_us) = (0.0, 0.0);
        (self.settled, self.sum_us, self.offset_us) = (0, 0.0, 0.0);
        Placement::Play {
            pad,
            fade_out,
            fade_in: true,
            ppm: self.ppm(),
        }
    }

    /// The device found the queue empty: silence was heard.
    pub fn handle_missing(&mut self) {
        self.state = State::Silent;
    }

    /// Nothing more is written for a while: the queue runs dry, and that is no error.
    pub fn handle_pause(&mut self) {
        self.state = State::Silent;
    }

    /// Whether blocks are written without a pause: then the device must find samples.
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    /// The drift of the device against the station that was learned so far, in parts per million; positive: it is slow.
    pub fn drift_ppm(&self) -> f64 {
        self.drift_ppm
    }

    fn smooth(&mut self, error_us: f64) {
        if self.settled < SETTLING {
            self.settled += 1;
            self.sum_us += error_us;
            let mean_us = self.sum_us / f64::from(self.settled);
            self.offset_us = mean_us.clamp(-self.period_us / 2.0, self.period_us / 2.0);
            return;
        }
        let error_us = error_us - self.offset_us;
        let seconds = FRAME.as_secs_f64();
        let share = seconds / SMOOTHING_S;
        self.half_smoothed_us += (error_us - self.half_smoothed_us) * share;
        self.error_us += (self.half_smoothed_us - self.error_us) * share;
        let omega = TAU * NATURAL_HZ;
        // The integral stands still while the rate is at its limit (anti-windup).
        if self.ppm().abs() < MAX_PPM {
            let step = omega * omega * self.error_us * seconds;
            self.drift_ppm = (self.drift_ppm + step).clamp(-MAX_PPM, MAX_PPM);
        }
    }

    /// µs of error a second are parts per million.
    fn ppm(&self) -> f64 {
        let omega = TAU * NATURAL_HZ;
        (2.0 * omega * self.error_us + self.drift_ppm).clamp(-MAX_PPM, MAX_PPM)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_micros() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_US: f64 = 28_437.5; // 1365 frames at 48 kHz

    /// A device that takes whole periods from a queue, `ppm` faster than nominal.
    struct Device {
        ppm: f64,
        queued_us: f64,
        next_at_us: f64,
        missing_us: f64,
    }

    impl Device {
        fn new(ppm: f64) -> Device {
            Device {
                ppm,
                queued_us: 0.0,
                next_at_us: 0.0,
                missing_us: 0.0,
            }
        }

        fn run_until(&mut self, now_us: f64) {
            while self.next_at_us <= now_us {
                self.missing_us += (PERIOD_US - self.queued_us).max(0.0);
                self.queued_us = (self.queued_us - PERIOD_US).max(0.0);
                self.next_at_us += PERIOD_US / (1.0 + self.ppm * 1e-6);
            }
        }

        /// Blocks `from..to` are written when they are due, or `late_us` later; the rates, for each block that was played.
        fn play(
            &mut self,
            servo: &mut Servo,
            blocks: std::ops::Range<u64>,
            late_us: impl Fn(u64) -> i64,
        ) -> Vec<Placement> {
            blocks
                .map(|n| {
                    let late_us = late_us(n);
                    let missing_us = self.missing_us;
                    self.run_until(n as f64 * 20_000.0 + late_us as f64);
                    if self.missing_us > missing_us && servo.is_playing() {
                        servo.handle_missing();
                    }
                    let queued = Duration::from_micros(self.queued_us as u64);
                    let placement = servo.handle_block(queued, late_us);
                    if let Placement::Play { pad, ppm, .. } = placement {
                        self.queued_us += micros(pad) + 20_000.0 / (1.0 + ppm * 1e-6);
                    }
                    placement
                })
                .collect()
        }
    }

    fn servo() -> Servo {
        Servo::new(Duration::from_micros(PERIOD_US as u64))
    }

    fn is_jump(placement: &Placement) -> bool {
        !matches!(placement, Placement::Play { fade_in: false, .. })
    }

    #[test]
    fn drift_is_learned_and_nothing_is_missing_for_an_hour() {
        for ppm in [-450.0, -40.0, 0.0, 350.0, 450.0] {
            let (mut servo, mut device) = (servo(), Device::new(ppm));
            let first = device.play(&mut servo, 0..1, |_| 0);
            assert!(matches!(first[0], Placement::Play { fade_in: true, .. }));
            device.missing_us = 0.0;
            let placements = device.play(&mut servo, 1..180_000, |n| {
                (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as i64
            });
            assert_eq!(device.missing_us, 0.0, "{ppm} ppm");
            assert!(!placements.iter().any(is_jump), "{ppm} ppm");
            let learned = -servo.drift_ppm();
            assert!((learned - ppm).abs() < 5.0, "{ppm} ppm: {learned}");
        }
    }

    #[test]
    fn rate_changes_too_slowly_to_be_heard() {
        let (mut servo, mut device) = (servo(), Device::new(350.0));
        let placements = device.play(&mut servo, 0..30_000, |n| {
            (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as i64
        });
        let rates: Vec<f64> = placements
            .iter()
            .filter_map(|placement| match placement {
                Placement::Play { ppm, .. } => Some(*ppm),
                Placement::Skip { .. } => None,
            })
            .collect();
        let worst = |rates: &[f64], blocks: usize| {
            let changes = rates.windows(blocks).map(|w| (w[blocks - 1] - w[0]).abs());
            changes.fold(0.0, f64::max)
        };
        // At first the drift is learned.
        assert!(worst(&rates, 2) < 1.0, "{} ppm in 20 ms", worst(&rates, 2));
        let settled = &rates[10_000..];
        assert!(
            worst(settled, 51) < 5.0,
            "{} ppm in 1 s",
            worst(settled, 51)
        );
    }

    #[test]
    fn a_stall_of_ours_costs_one_gap_and_the_place_is_right_at_once() {
        for stall_ms in [40, 100, 166, 500, 3_000] {
            let (mut servo, mut device) = (servo(), Device::new(100.0));
            device.play(&mut servo, 0..500, |_| 0);
            // Blocks that fell due meanwhile are all written at the end of the stall.
            let stall_us = stall_ms * 1_000;
            let late = |n: u64| (stall_us - (n as i64 - 500) * 20_000).max(0);
            let placements = device.play(&mut servo, 500..1_000, late);
            let jumps = placements.iter().filter(|p| is_jump(p)).count();
            let skipped = placements
                .iter()
                .filter(|p| matches!(p, Placement::Skip { .. }));
            let most = (stall_us as f64 / 20_000.0) as usize;
            assert!(skipped.count() <= most, "{stall_ms} ms");
            assert!(jumps <= most + 1, "{stall_ms} ms: {jumps} jumps");
            let settled = &placements[most + 2..];
            assert!(!settled.iter().any(is_jump), "{stall_ms} ms");
        }
    }

    #[test]
    fn a_device_that_stood_still_is_caught_up_with() {
        let (mut servo, mut device) = (servo(), Device::new(0.0));
        device.play(&mut servo, 0..500, |_| 0);
        device.next_at_us += 400_000.0;
        let placements = device.play(&mut servo, 500..1_000, |_| 0);
        let skipped = placements
            .iter()
            .filter(|p| matches!(p, Placement::Skip { .. }));
        // What it did not take in 400 ms is left out, less what the jump's threshold forgives.
        assert!((16..=21).contains(&skipped.count()));
        assert!(!placements[60..].iter().any(is_jump));
    }

    #[test]
    fn silence_is_put_in_after_a_fade_where_there_was_sound_and_without_one_where_there_was_none() {
        let mut servo = Servo::new(Duration::from_millis(20));
        let queued = Duration::from_millis;
        let fades = |placement| match placement {
            Placement::Play {
                pad,
                fade_out,
                fade_in,
                ..
            } => (pad.as_millis(), fade_out, fade_in),
            Placement::Skip { .. } => panic!("{placement:?}"),
        };
        assert_eq!(fades(servo.handle_block(queued(0), 0)), (80, false, true));
        for _ in 0..100 {
            assert_eq!(fades(servo.handle_block(queued(80), 0)), (0, false, false));
        }
        // The timeline moves: from now on everything is to be played 150 ms later.
        let moved = servo.handle_block(queued(80), -150_000);
        assert_eq!(fades(moved), (150, true, true));
        let next = servo.handle_block(queued(230), -150_000);
        assert_eq!(fades(next), (0, false, false));
        servo.handle_missing();
        assert_eq!(fades(servo.handle_block(queued(0), 0)), (80, false, true));
    }

    #[test]
    fn after_a_pause_playing_begins_with_a_full_queue() {
        let (mut servo, mut device) = (servo(), Device::new(0.0));
        device.play(&mut servo, 0..100, |_| 0);
        servo.handle_pause();
        device.run_until(10_000_000.0);
        device.missing_us = 0.0;
        let placements = device.play(&mut servo, 500..1_000, |_| 0);
        let Placement::Play { pad, fade_in, .. } = placements[0] else {
            panic!("{:?}", placements[0]);
        };
        assert!(fade_in && (50..=90).contains(&pad.as_millis()), "{pad:?}");
        assert_eq!(device.missing_us, 0.0);
    }
}
