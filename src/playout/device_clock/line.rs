//! Through all that a device told and when it asked, where is the straight line?
//!
//! Two lines of one slope: one through what was told, one through the earliest callbacks. What is far from them counts hardly at all
//! (Geman and McClure, "Bayesian Image Analysis", 1985), so each look begins with the line of the one before, and the first one with
//! a slope that asks for none: the median of all slopes (Theil and Sen).

use std::collections::VecDeque;

use super::{Learned, clamped, median};

/// Of the windows, so many tell the place: the farther back, the more a slope that is not quite right moves it.
const TOLD_WINDOWS: usize = 30;
/// A slope is measured over no less than this, and is tracked from here on.
const LEAST_SPAN_S: f64 = 4.0;
const TRACKED_SPAN_S: f64 = 12.0;
/// What is told farther from the line than this is astray, and so are callbacks, in µs.
const ASTRAY_US: f64 = 500.0;
const CALLED_ASTRAY_US: f64 = 1_000.0;
/// Each round judges by the line of the one before.
const ROUNDS: u32 = 3;
/// The earliest callbacks lie on a line to this standard deviation, in µs, at best; a standard deviation is so many medians of sizes.
const CALLED_US: f64 = 200.0;
const SIGMA_OF_MEDIAN: f64 = 1.4826;

/// A second of callbacks. Instants are less what the frames before would have lasted at the nominal rate, in µs since the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Its middle, in seconds of frames.
    pub(super) at_s: f64,
    /// The earliest callback.
    pub(super) called_us: f64,
    /// The median of what was told, and the standard deviation of that.
    pub(super) told_us: f64,
    pub(super) told_sigma_us: f64,
}

/// Where frames leave: a straight line. Instants as in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) at_s: f64,
    pub(super) leaves_us: f64,
    /// When the earliest callbacks come.
    pub(super) called_us: f64,
    /// How steep it is.
    pub(super) skew: Learned,
}

impl Line {
    /// The line through all windows, which were on `before`, of a device whose skew was `known`.
    pub(super) fn through(windows: &VecDeque<Window>, before: Line, known: Learned) -> Line {
        let (Some(first), Some(last)) = (windows.front(), windows.back()) else {
            return before;
        };
        let span_s = last.at_s - first.at_s;
        let is_long = span_s >= LEAST_SPAN_S;
        let mut line = if is_long && span_s < TRACKED_SPAN_S {
            Line::begun(windows, first, span_s)
        } else {
            before
        };
        line = line.at(last.at_s);
        let called = windows.iter().map(|window| line.off_us(window).1.abs());
        let called_sigma_us = (SIGMA_OF_MEDIAN * median(called)).max(CALLED_US);
        let told_from = windows.len().saturating_sub(TOLD_WINDOWS);
        let known_weight = known.sigma_ppm.powi(-2);
        for _ in 0..ROUNDS {
            // If what stands still is all elsewhere, it is the line that is astray.
            let told = windows.iter().skip(told_from);
            let told =
                told.map(|window| (line.off_us(window).0.abs(), window.told_sigma_us.powi(-2)));
            let astray_us = weighted_median(told).max(ASTRAY_US);
            let (mut told, mut called) = (Moments::default(), Moments::default());
            for (n, window) in windows.iter().enumerate() {
                let after_s = window.at_s - line.at_s;
                let (told_us, called_us) = line.off_us(window);
                if n >= told_from {
                    let weight = weight(told_us, window.told_sigma_us, astray_us);
                    told.add(after_s, told_us, weight);
                }
                let weight = weight(called_us, called_sigma_us, CALLED_ASTRAY_US);
                called.add(after_s, called_us, weight);
            }
            let mut turn_ppm = 0.0;
            if is_long {
                let known_co = known_weight * (known.slow_ppm - line.skew.slow_ppm);
                let square = told.square() + called.square() + known_weight;
                turn_ppm = (told.co() + called.co() + known_co) / square;
            }
            line.skew.slow_ppm = clamped(line.skew.slow_ppm + turn_ppm);
            line.leaves_us += told.at_us(turn_ppm);
            line.called_us += called.at_us(turn_ppm);
        }
        line.skew.sigma_ppm = if is_long {
            let measured_weight = (CALLED_US / span_s).powi(-2);
            (known_weight + measured_weight).sqrt().recip()
        } else {
            known.sigma_ppm
        };
        line
    }

    /// What a line begins with whose slope is not known: through the first callbacks, as steep as the earliest ones of all windows.
    fn begun(windows: &VecDeque<Window>, first: &Window, span_s: f64) -> Line {
        let slow_ppm = slope_ppm(windows, span_s / 2.0);
        let called = windows
            .iter()
            .map(|window| window.called_us - slow_ppm * (window.at_s - first.at_s));
        Line {
            at_s: first.at_s,
            leaves_us: first.told_us,
            called_us: median(called),
            skew: Learned {
                slow_ppm,
                sigma_ppm: f64::INFINITY,
            },
        }
    }

    /// The same line, told at `at_s`.
    pub(super) fn at(self, at_s: f64) -> Line {
        let drifted_us = self.drifted_us(at_s);
        Line {
            at_s,
            leaves_us: self.leaves_us + drifted_us,
            called_us: self.called_us + drifted_us,
            ..self
        }
    }

    /// How much later than at the nominal rate it is at `at_s`, in µs.
    pub(super) fn drifted_us(&self, at_s: f64) -> f64 {
        (at_s - self.at_s) * self.skew.slow_ppm
    }

    /// How far from it a window is: what was told, and the earliest callback.
    pub(super) fn off_us(&self, window: &Window) -> (f64, f64) {
        let drifted_us = self.drifted_us(window.at_s);
        (
            window.told_us - self.leaves_us - drifted_us,
            window.called_us - self.called_us - drifted_us,
        )
    }
}

/// The median of the slopes between earliest callbacks that are so far apart, in ppm.
fn slope_ppm(windows: &VecDeque<Window>, apart_s: f64) -> f64 {
    let slopes = windows.iter().enumerate().flat_map(|(n, later)| {
        let before = windows.iter().take(n);
        let before = before.take_while(move |before| later.at_s - before.at_s >= apart_s);
        before.map(move |before| (later.called_us - before.called_us) / (later.at_s - before.at_s))
    });
    clamped(median(slopes))
}

/// Half of the weight lies at smaller values; 0 of none.
fn weighted_median(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut values: Vec<(f64, f64)> = values.collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let reached = values.iter().find(|(_, weight)| {
        below += weight;
        below >= half
    });
    reached.map_or(0.0, |(value, _)| *value)
}

/// What a point counts that is so far from the line, of this standard deviation, if what is farther than `astray_us` is astray.
fn weight(off_us: f64, sigma_us: f64, astray_us: f64) -> f64 {
    let far = 1.0 + (off_us / astray_us).powi(2);
    (sigma_us * far).powi(-2)
}

/// Weighted sums of points: what a straight line is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    weight: f64,
    s: f64,
    us: f64,
    s_s: f64,
    s_us: f64,
}

impl Moments {
    fn add(&mut self, after_s: f64, us: f64, weight: f64) {
        self.weight += weight;
        self.s += weight * after_s;
        self.us += weight * us;
        self.s_s += weight * after_s * after_s;
        self.s_us += weight * after_s * us;
    }

    /// The square of times, about their mean.
    fn square(&self) -> f64 {
        self.s_s - self.s * self.s / self.weight
    }

    /// The product of times and values, about their means.
    fn co(&self) -> f64 {
        self.s_us - self.s * self.us / self.weight
    }

    /// Where the line of this slope through them is at 0 s.
    fn at_us(&self, slope: f64) -> f64 {
        (self.us - slope * self.s) / self.weight
    }
}
