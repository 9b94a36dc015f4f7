//! When does a sample that is written now leave the sound device?
//!
//! With each callback the device tells how many samples it has taken and when the next one will leave (cpal's `playback`). A device
//! is a straight line: so many samples a second, from some instant on. What it tells is not as straight. Measured on PulseAudio, against
//! what was recorded: the first three callbacks are wrong by 25 ms; the next ones tell the truth to 0.1 ms; later ones do, too, to
//! 30 µs, but whenever a stream begins or the machine is busy, what is told goes astray by 0.3 to 3 ms, and comes back within ten
//! seconds, as the server's own smoothing has a memory of that length.
//!
//! What is astray moves. So a second of callbacks counts the less the more what is told changes within it, and from the second before;
//! and what is far from the line then counts hardly at all (`line`). The first callbacks are an anchor that holds until others have had
//! the time to stand still. (On a busy machine they can be wrong all the same, by milliseconds, if the server's first answer came late. What
//! was placed wrongly is placed again when others have had that time.)
//!
//! When callbacks come is another matter. They come as soon as there is room for a period, or later, or with the one before
//! them if there is room for two; but for whole periods, the earliest ones of each second lie on a straight line to 0.1 ms, to 0.5 ms on
//! a busy machine, whatever the server tells. So the slope is that of two parallel lines, through what is told and through the
//! earliest callbacks. How well that works is measured in `tests/insync`, by a recording of four devices.
//!
//! A stream that ran empty begins anew: its first callback says that nothing is queued. Until those after it are known it goes on where
//! it was. If the device moves without saying so (another sink), callbacks and what is told are off by the same, or what is told stays at
//! another place for longer than any disturbance does. After a pause of callbacks everything begins anew but for the slope.

mod line;

use std::collections::VecDeque;

use line::{Line, Window};

/// Callbacks after a beginning that are wrong, and those after them that the line begins with.
const WRONG: u32 = 3;
const FIRST: usize = 5;
/// Callbacks are looked at by windows of so many seconds, of which so many are remembered.
const WINDOW_S: f64 = 1.0;
const WINDOWS: usize = 100;
/// When there are all, the line is drawn anew with each so many.
const LATER_EVERY: u32 = 5;
/// Standard deviation of what is told in a window while nothing disturbs it, in µs; how much of the range in which most of it lies
/// comes on top, beside the change from the window before; and that of the first callbacks.
const TOLD_US: f64 = 25.0;
const OF_RANGE: f64 = 0.5;
const FIRST_US: f64 = 100.0;
/// The first callbacks count until there are so many windows.
const ANCHORED: u32 = 12;
/// That of what is told after the device has moved without a beginning.
const MOVED_SIGMA_US: f64 = 300.0;
/// A callback that is more than this earlier than the line, in µs, is a period early.
const EARLY_US: f64 = 5_000.0;
/// A stream that tells that less than this is queued, and usually much more, has begun anew, in µs.
const EMPTY_US: f64 = 500.0;
const QUEUED_US: f64 = 10.0 * EMPTY_US;
/// Standard deviation of a device's skew if it was never heard, and at least if it was, in ppm: a quartz moves by 5, a server's timer by 50
/// in a minute.
const FIRST_SKEW_PPM: f64 = 60.0;
const KNOWN_SKEW_PPM: f64 = 10.0;
/// No device is farther from its nominal rate, in ppm.
pub const MAX_SKEW_PPM: f64 = 1_000.0;
/// A device is new until there were so many windows; what is known then is worth remembering.
const KNOWN_AFTER: u32 = 15;
/// Callbacks that tell where the device is now.
const RECENT: usize = 12;
/// It has moved if what it tells is off by more than this, in µs, and its callbacks by the same. (When they come is known after so many
/// windows: the first ones may all have been late.)
const ASKS_AFTER: u32 = 7;
const MOVED_US: f64 = 5_000.0;
const SAME_US: f64 = 1_500.0;
/// Or if the line of all windows leaps by more than this, in µs; and what was placed while the device was new is not where it should be
/// if the line was off by more than this then.
const LEAP_US: f64 = 2_000.0;
const ELSEWHERE_US: f64 = 1_000.0;
/// Or if it tells so for so many seconds, by more than this, in µs, and at each look by as much as at the first one, to this part: a
/// disturbance dies away. (Less than half of what tells the place: the line must not bend towards two places.)
const STAYS_S: f64 = 14.0;
const LOOK_EVERY_S: f64 = 2.0;
const STAYS_US: f64 = 250.0;
const SAME: f64 = 0.2;
/// It goes at another rate if the last windows, so many, are off by more than this, in µs, by both measures; only they count then.
const LATELY: usize = 8;
const BENT_US: f64 = 250.0;
/// Without a callback for so long beside two periods and what is queued the device stood still, in µs: some devices take a second at a
/// time.
const PAUSE_US: f64 = 400_000.0;

/// What is known of a device and holds the next time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// How much slower than nominal it is, in ppm.
    pub slow_ppm: f64,
    /// Standard deviation of that.
    pub sigma_ppm: f64,
}

impl Learned {
    /// What is left of that for a new beginning.
    fn some_time_ago(self) -> Learned {
        Learned {
            slow_ppm: clamped(self.slow_ppm),
            sigma_ppm: (2.0 * self.sigma_ppm).clamp(KNOWN_SKEW_PPM, FIRST_SKEW_PPM),
        }
    }

    /// The same, known no better than this.
    pub fn at_least(self, sigma_ppm: f64) -> Learned {
        Learned {
            sigma_ppm: self.sigma_ppm.max(sigma_ppm),
            ..self
        }
    }
}

/// What a device says at a callback; instants in µs of the local clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Frames that it took before.
    pub frames: u64,
    /// When it asked for more.
    pub called_us: f64,
    /// When the next frame leaves.
    pub leaves_us: f64,
}

/// How one device takes its samples. See the module.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    rate_hz: f64,
    /// What is known of the skew without its callbacks.
    skew: Learned,
    /// The first callback: from there on all is counted.
    origin: Option<Tick>,
    last: Option<Tick>,
    /// Callbacks since the beginning.
    ticks: u32,
    line: Option<Line>,
    windows: VecDeque<Window>,
    /// Where the line lay as long as the device was new: at which instant, and when a frame left then.
    lay: Vec<(f64, f64)>,
    /// The stream has begun anew, and where is not known yet.
    is_anew: bool,
    /// Windows since the line began, and of the one that is not over: its beginning, and each callback: when it came, and what it told.
    seen: u32,
    from_s: f64,
    open: Vec<(f64, f64)>,
    /// How far from the line the last callbacks were: what they told, and when they came.
    recent: VecDeque<(f64, f64)>,
    elsewhere: Option<Elsewhere>,
    latency_us: Option<f64>,
    moves: u32,
}

impl DeviceClock {
    /// A device with this nominal rate, and what was known of it when it was last heard.
    pub fn new(rate_hz: u32, learned: Option<Learned>) -> DeviceClock {
        let never = Learned {
            slow_ppm: 0.0,
            sigma_ppm: FIRST_SKEW_PPM,
        };
        let skew = learned.map_or(never, Learned::some_time_ago);
        DeviceClock {
            rate_hz: f64::from(rate_hz.max(1)),
            skew,
            origin: None,
            last: None,
            ticks: 0,
            line: None,
            windows: VecDeque::with_capacity(WINDOWS + 1),
            lay: Vec::new(),
            is_anew: false,
            seen: 0,
            from_s: 0.0,
            open: Vec::new(),
            recent: VecDeque::with_capacity(RECENT),
            elsewhere: None,
            latency_us: None,
            moves: 0,
        }
    }

    /// One callback.
    pub fn handle_tick(&mut self, tick: &Tick) {
        if self.last.is_some_and(|last| tick.frames == last.frames) {
            return; // it took nothing
        }
        let last = self.last.replace(*tick);
        let stood_still = last.is_some_and(|last| {
            let passed_us = tick.called_us - last.called_us;
            let period_us = tick.frames.saturating_sub(last.frames) as f64 / self.rate_hz * 1e6;
            // A device that has much may wait until it needs more.
            let queued_us = (last.leaves_us - last.called_us).max(0.0);
            let longest_us = PAUSE_US + 2.0 * period_us + queued_us;
            !(0.0..=longest_us).contains(&passed_us) || tick.frames < last.frames
        });
        if stood_still {
            self.forget();
        }
        let latency_us = (tick.leaves_us - tick.called_us).max(0.0);
        if latency_us < EMPTY_US && self.latency_us.is_some_and(|usual_us| usual_us > QUEUED_US) {
            (self.ticks, self.is_anew) = (0, true);
            self.open.clear();
        }
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks <= WRONG {
            return;
        }
        let before_us = *self.latency_us.get_or_insert(latency_us);
        self.latency_us = Some(before_us + (latency_us - before_us) / RECENT as f64);
        let origin = *self.origin.get_or_insert(*tick);
        let period_us = last.map_or(0.0, |last| {
            tick.frames.saturating_sub(last.frames) as f64 / self.rate_hz * 1e6
        });
        let at_s = tick.frames.saturating_sub(origin.frames) as f64 / self.rate_hz;
        let nominal_us = origin.called_us + at_s * 1e6;
        let (called_us, told_us) = (tick.called_us - nominal_us, tick.leaves_us - nominal_us);
        self.follow(at_s, called_us, told_us, period_us);
    }

    /// When frame number `frames` leaves, in µs of the local clock; none while that is not known.
    pub fn leaves_us(&self, frames: u64) -> Option<f64> {
        let (line, origin) = (self.line?, self.origin?);
        let at_s = (frames as f64 - origin.frames as f64) / self.rate_hz;
        let nominal_us = origin.called_us + at_s * 1e6;
        Some(nominal_us + line.leaves_us + line.drifted_us(at_s))
    }

    /// How much slower than nominal the device is, in ppm: each sample lasts so much longer.
    pub fn slow_ppm(&self) -> f64 {
        self.line.map_or(self.skew, |line| line.skew).slow_ppm
    }

    /// What is known of the device and will hold the next time; none while that is not much.
    pub fn learned(&self) -> Option<Learned> {
        let line = self.line.filter(|_| self.seen >= KNOWN_AFTER)?;
        Some(line.skew)
    }

    /// How long after a callback the first frame that it takes leaves, in µs; none while that is not known.
    pub fn latency_us(&self) -> Option<f64> {
        self.latency_us.filter(|_| self.line.is_some())
    }

    /// How often the device turned out to be elsewhere: what was placed before is at a wrong place.
    pub fn moves(&self) -> u32 {
        self.moves
    }

    fn forget(&mut self) {
        if let Some(learned) = self.learned() {
            self.skew = learned.some_time_ago();
        }
        (self.origin, self.line, self.latency_us) = (None, None, None);
        self.lay.clear();
        (self.ticks, self.seen, self.from_s) = (0, 0, 0.0);
        (self.elsewhere, self.is_anew) = (None, false);
        self.windows.clear();
        self.open.clear();
        self.recent.clear();
    }

    fn follow(&mut self, at_s: f64, called_us: f64, told_us: f64, period_us: f64) {
        let Some(line) = self.line.filter(|_| !self.is_anew) else {
            self.open.push((called_us, told_us));
            if self.open.len() == FIRST || (self.line.is_none() && at_s >= WINDOW_S) {
                self.begin(at_s);
            }
            return;
        };
        let drifted_us = line.drifted_us(at_s);
        let expected_us = line.called_us + drifted_us;
        let called_us = in_period(called_us, expected_us, period_us);
        self.open.push((called_us, told_us));
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        let off_us = told_us - line.leaves_us - drifted_us;
        self.recent.push_back((off_us, called_us - expected_us));
        if let Some(moved_us) = self.moved(at_s, off_us, period_us) {
            self.begin_elsewhere(at_s, line, moved_us);
        } else if at_s - self.from_s >= WINDOW_S {
            self.close(at_s, line);
            // When there are all, the line hardly changes any more.
            if self.windows.len() < WINDOWS || self.seen.is_multiple_of(LATER_EVERY) {
                let mut next = Line::through(&self.windows, line, self.skew);
                if self.is_bent(&next) {
                    self.windows.drain(..self.windows.len() - LATELY);
                    self.skew = next.skew.at_least(FIRST_SKEW_PPM);
                    next = Line::through(&self.windows, next, self.skew);
                }
                let leap_us = next.leaves_us - line.at(next.at_s).leaves_us;
                let has_moved = leap_us.abs() > LEAP_US || self.lay_elsewhere(&next);
                self.moves += u32::from(has_moved);
                self.line = Some(next);
            }
        }
    }

    /// Whether the line turns out to have lain elsewhere while the device was new; asked once, when it no longer is.
    fn lay_elsewhere(&mut self, line: &Line) -> bool {
        if self.seen < KNOWN_AFTER {
            self.lay.push((line.at_s, line.leaves_us));
            return false;
        }
        let mut lay = self.lay.drain(..);
        lay.any(|(at_s, leaves_us)| (leaves_us - line.at(at_s).leaves_us).abs() > ELSEWHERE_US)
    }

    /// The line begins with the first callbacks.
    fn begin(&mut self, at_s: f64) {
        let line = Line {
            at_s,
            leaves_us: median(self.open.iter().map(|(_, told_us)| *told_us)),
            called_us: earliest(self.open.iter().map(|(called_us, _)| *called_us)),
            skew: self.skew,
        };
        self.begin_with(line, FIRST_US);
    }

    /// The device is elsewhere, by so much: what was told before does not count any more.
    fn begin_elsewhere(&mut self, at_s: f64, line: Line, moved_us: f64) {
        let called = self.recent.iter().map(|(_, called_off_us)| *called_off_us);
        let mut line = line.at(at_s);
        line.leaves_us += moved_us;
        line.called_us += earliest(called);
        self.begin_with(line, MOVED_SIGMA_US);
    }

    /// All begins anew, but for the skew, if there was one.
    fn begin_with(&mut self, line: Line, told_sigma_us: f64) {
        if let Some(before) = self.line {
            self.skew = before.skew.some_time_ago();
        }
        let skew = self.skew;
        self.line = Some(Line { skew, ..line });
        self.moves += 1;
        (self.seen, self.from_s) = (0, line.at_s);
        (self.elsewhere, self.is_anew) = (None, false);
        self.windows.clear();
        self.windows.push_back(Window {
            at_s: line.at_s,
            called_us: line.called_us,
            told_us: line.leaves_us,
            told_sigma_us,
        });
        self.lay.clear();
        self.lay.push((line.at_s, line.leaves_us));
        self.open.clear();
        self.recent.clear();
    }

    /// A second is over.
    fn close(&mut self, at_s: f64, line: Line) {
        if self.windows.len() == WINDOWS {
            self.windows.pop_front();
        }
        let middle_s = (self.from_s + at_s) / 2.0;
        let mut told: Vec<f64> = self.open.iter().map(|(_, told_us)| *told_us).collect();
        told.sort_by(f64::total_cmp);
        let few = told.len() / 10;
        let range_us = told[told.len() - 1 - few] - told[few];
        let told_us = told[told.len() / 2];
        let changed_us = self.windows.back().map_or(0.0, |before| {
            told_us - before.told_us - line.skew.slow_ppm * (middle_s - before.at_s)
        });
        self.windows.push_back(Window {
            at_s: middle_s,
            called_us: earliest(self.open.iter().map(|(called_us, _)| *called_us)),
            told_us,
            told_sigma_us: TOLD_US + changed_us.abs() + OF_RANGE * range_us,
        });
        self.seen = self.seen.saturating_add(1);
        if self.seen == ANCHORED {
            self.windows.pop_front();
        }
        self.from_s = at_s;
        self.open.clear();
    }

    /// By how much the device has moved, if it has: see the module.
    fn moved(&mut self, at_s: f64, off_us: f64, period_us: f64) -> Option<f64> {
        if self.seen >= ASKS_AFTER && self.recent.len() == RECENT && off_us.abs() > MOVED_US {
            let told_us = self.told_off_us();
            // But for whole periods, which the callbacks do not show.
            let rest_us = told_us - (told_us / period_us.max(1.0)).round() * period_us;
            let called_us = earliest(self.recent.iter().map(|(_, called_us)| *called_us));
            let with_callbacks = [0.0, period_us]
                .map(|period_us| (called_us - period_us - rest_us).abs() < SAME_US)
                .contains(&true);
            if told_us.abs() > MOVED_US && with_callbacks {
                return Some(told_us);
            }
        }
        self.stays(at_s, off_us)
    }

    /// How far what the device tells is from the line, lately.
    fn told_off_us(&self) -> f64 {
        median(self.recent.iter().map(|(off_us, _)| *off_us))
    }

    /// By how much the device tells that it is elsewhere, if it does so for so long that this is true.
    fn stays(&mut self, at_s: f64, off_us: f64) -> Option<f64> {
        if off_us.abs() < STAYS_US {
            self.elsewhere = None;
            return None;
        }
        let same_side = |before: &Elsewhere| before.side == off_us.signum();
        let Some(mut elsewhere) = self.elsewhere.filter(same_side) else {
            self.elsewhere = Some(Elsewhere {
                side: off_us.signum(),
                since_s: at_s,
                look_s: at_s + LOOK_EVERY_S,
                first_us: None,
            });
            return None;
        };
        if at_s < elsewhere.look_s {
            return None;
        }
        let told_us = self.told_off_us();
        let first_us = *elsewhere.first_us.get_or_insert(told_us);
        elsewhere.look_s = at_s + LOOK_EVERY_S;
        let is_same = (told_us - first_us).abs() <= SAME * told_us.abs();
        self.elsewhere = is_same.then_some(elsewhere);
        (is_same && at_s - elsewhere.since_s >= STAYS_S).then_some(told_us)
    }

    /// Whether the device goes at another rate than before (its clock, or ours, is corrected): lately what it tells and when it asks are off
    /// the line in the same direction, both.
    fn is_bent(&self, line: &Line) -> bool {
        if self.windows.len() < 2 * LATELY {
            return false;
        }
        let lately = || self.windows.iter().rev().take(LATELY);
        let told_us = median(lately().map(|window| line.off_us(window).0));
        let called_us = median(lately().map(|window| line.off_us(window).1));
        told_us.abs().min(called_us.abs()) > BENT_US && told_us.signum() == called_us.signum()
    }
}

/// The device tells that it is elsewhere.
#[derive(Clone, Copy, Debug)]
struct Elsewhere {
    /// Later or earlier: 1 or −1.
    side: f64,
    since_s: f64,
    /// When to look again whether it is the same place.
    look_s: f64,
    /// Where, at the first look.
    first_us: Option<f64>,
}

/// The same callback, less the periods that it was early.
fn in_period(called_us: f64, expected_us: f64, period_us: f64) -> f64 {
    if period_us <= 0.0 {
        return called_us;
    }
    let periods = ((called_us - expected_us + EARLY_US) / period_us).floor();
    called_us - periods * period_us
}

fn clamped(ppm: f64) -> f64 {
    ppm.clamp(-MAX_SKEW_PPM, MAX_SKEW_PPM)
}

fn earliest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
#[path = "device_clock_tests.rs"]
pub(super) mod tests;
