//! How fast must a block be played, so that each sample leaves the device at its instant?
//!
//! A sound device takes samples at its own pace, some hundred parts per million beside ours. When a sample that is written now will leave
//! it, [`DeviceClock`](super::device_clock::DeviceClock) knows; when it should, the station clock says. The difference is the error, and a
//! PI controller turns it into a rate for the resampler: the integral is the device's skew, which its clock has learned already, and
//! the proportional part would be done with the error in `HORIZON_S`. Both are smooth, as what they come from is, and the rate
//! changes so slowly that nobody hears it (FACTS: 9 ppm in 10 ms cost a sine 64 dB; this is a ninth of that).
//!
//! Above 30 ms of error no rate helps: silence is put in or a block is left out, once, with fades of 5 ms. So it is above 1.5 ms when the
//! device turns out to be elsewhere: to be in step soon is worth a cut then. What begins after silence is placed exactly.

use std::time::Duration;

/// The error would be gone after this time, in s, if it is not that large.
const HORIZON_S: f64 = 3.0;
/// The rate that an error makes, at most, in ppm.
const MAX_SLEW_PPM: f64 = 300.0;
/// From one block to the next the rate changes by no more than this, in ppm.
const MAX_STEP_PPM: f64 = 2.0;
/// Blocks that the error is averaged over for people: a second.
const TOLD_BLOCKS: f64 = 50.0;
/// If the device has moved, what follows is placed exactly from this error on.
const MOVED_US: f64 = 1_500.0;
/// Beyond this error the place is corrected at once.
pub const JUMP: Duration = Duration::from_millis(30);
/// What is played of a block that is cut off: its 5 ms fade and the resampler's delay.
pub const TAIL: Duration = Duration::from_millis(7);

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
#[derive(Debug, Default)]
pub struct Servo {
    /// The rate of the last block, in ppm.
    ppm: f64,
    /// The smoothed error in µs; none while nothing plays.
    told_us: Option<f64>,
    state: State,
    has_moved: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The last thing heard is silence: what comes next is placed exactly.
    #[default]
    Silent,
    /// The place is wrong: what comes next is placed exactly, after a cut.
    Cutting,
    Playing,
}

impl Servo {
    /// A block of one frame is to be written; its first sample would leave `error_us` after it should (positive: the sound is behind), on
    /// a device that is slower than nominal by `slow_ppm`.
    pub fn handle_block(&mut self, error_us: f64, slow_ppm: f64) -> Placement {
        if self.state == State::Playing {
            let has_moved = std::mem::take(&mut self.has_moved) && error_us.abs() > MOVED_US;
            if error_us.abs() <= micros(JUMP) && !has_moved {
                return self.track(error_us, slow_ppm);
            }
            // What fades out takes its time: if there is not as much, the next block is the first at its place.
            if error_us > -micros(TAIL) {
                self.state = State::Cutting;
                return Placement::Skip { fade_out: true };
            }
        }
        if error_us > 0.0 {
            return Placement::Skip { fade_out: false };
        }
        let fade_out = std::mem::replace(&mut self.state, State::Playing) == State::Playing;
        (self.ppm, self.told_us, self.has_moved) = (slow_ppm, Some(0.0), false);
        Placement::Play {
            pad: Duration::from_nanos((-error_us * 1e3) as u64),
            fade_out,
            fade_in: true,
            ppm: self.ppm,
        }
    }

    /// The device found the queue empty, or stood still: silence was heard.
    pub fn handle_missing(&mut self) {
        self.state = State::Silent;
    }

    /// The device has moved: what was placed is at a wrong place.
    pub fn handle_move(&mut self) {
        self.has_moved = true;
    }

    /// Nothing more is written for a while: the queue runs dry, and that is no error.
    pub fn handle_pause(&mut self) {
        self.state = State::Silent;
        self.told_us = None;
    }

    /// Whether blocks are written without a pause: then the device must find samples.
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    /// How much faster than nominal the input is used up now, in parts per million.
    pub fn ppm(&self) -> f64 {
        self.ppm
    }

    /// How much later than they should samples leave, in µs, averaged over a second; none while nothing plays.
    pub fn error_us(&self) -> Option<f64> {
        self.told_us
    }

    fn track(&mut self, error_us: f64, slow_ppm: f64) -> Placement {
        let told_us = self.told_us.unwrap_or(error_us);
        self.told_us = Some(told_us + (error_us - told_us) / TOLD_BLOCKS);
        // µs of error a second are parts per million.
        let slew = (error_us / HORIZON_S).clamp(-MAX_SLEW_PPM, MAX_SLEW_PPM);
        let change = (slow_ppm + slew - self.ppm).clamp(-MAX_STEP_PPM, MAX_STEP_PPM);
        self.ppm += change;
        Placement::Play {
            pad: Duration::ZERO,
            fade_out: false,
            fade_in: false,
            ppm: self.ppm,
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_micros() as f64
}

#[cfg(test)]
#[path = "servo_tests.rs"]
mod tests;
