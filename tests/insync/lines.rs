//! When did it happen, if all that is known is when it was noticed? The lower edge of many delays.
//!
//! A packet arrives, and a recorded sample can be read, some time after the instant that is asked for: mostly a little, sometimes a
//! lot, never before. So the instants lie on a line under all points, as close to them as can be. Nothing is averaged: a
//! stall of the machine moves no point down.

/// `at = start + per_step · step`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    start: f64,
    per_step: f64,
    /// Instants are counted from here, so that a double holds them to the nanosecond.
    epoch_ns: i64,
}

impl Line {
    /// The line under all `points` (step, nanoseconds) that is nearest to them in the sum.
    pub(crate) fn under(points: &[(f64, i64)]) -> Line {
        let epoch_ns = points.first().expect("points").1;
        let mut hull: Vec<(f64, f64)> = Vec::new();
        for &(step, at_ns) in points {
            let point = (step, (at_ns - epoch_ns) as f64);
            while let [.., before, last] = hull[..]
                && cross(before, last, point) <= 0.0
            {
                hull.pop();
            }
            hull.push(point);
        }
        // Of all lines under a set, the nearest one passes along the hull where the middle of the set is.
        let middle = points.iter().map(|(step, _)| step).sum::<f64>() / points.len() as f64;
        let right = hull.partition_point(|(step, _)| *step < middle);
        let right = right.clamp(1, hull.len().max(2) - 1);
        let ((x0, y0), (x1, y1)) = (hull[right - 1], hull[right]);
        let per_step = (y1 - y0) / (x1 - x0);
        Line {
            start: y0 - x0 * per_step,
            per_step,
            epoch_ns,
        }
    }

    /// The line of this slope that touches the `points` from below.
    pub(crate) fn under_at(points: &[(f64, i64)], per_step_ns: f64) -> Line {
        let epoch_ns = points.first().expect("points").1;
        let rest = |(step, at_ns): &(f64, i64)| (at_ns - epoch_ns) as f64 - step * per_step_ns;
        Line {
            start: points.iter().map(rest).fold(f64::INFINITY, f64::min),
            per_step: per_step_ns,
            epoch_ns,
        }
    }

    /// The instant of a step.
    pub(crate) fn at_ns(&self, step: f64) -> i64 {
        self.epoch_ns + (self.start + step * self.per_step).round() as i64
    }

    /// The step of an instant.
    pub(crate) fn step(&self, at_ns: i64) -> f64 {
        ((at_ns - self.epoch_ns) as f64 - self.start) / self.per_step
    }

    /// Nanoseconds from one step to the next.
    pub(crate) fn per_step_ns(&self) -> f64 {
        self.per_step
    }
}

/// A line that may bend slowly: a sound server's pace changes by some parts in a hundred thousand with the streams that it mixes.
#[derive(Debug)]
pub(crate) struct Curve {
    overall: Line,
    /// The earliest point of each stretch.
    knots: Vec<(f64, i64)>,
}

impl Curve {
    /// The curve under all `points` that passes through the earliest one of each `stretch` steps.
    pub(crate) fn under(points: &[(f64, i64)], stretch: f64) -> Curve {
        let overall = Line::under(points);
        let above_ns = |(step, at_ns): &(f64, i64)| at_ns - overall.at_ns(*step);
        let stretches =
            points.chunk_by(|(a, _), (b, _)| (a / stretch).floor() == (b / stretch).floor());
        let earliest = |points: &[(f64, i64)]| points.iter().copied().min_by_key(above_ns);
        Curve {
            knots: stretches.filter_map(earliest).collect(),
            overall,
        }
    }

    /// The instant of a step.
    pub(crate) fn at_ns(&self, step: f64) -> i64 {
        self.overall.at_ns(step) + self.above_ns(step)
    }

    /// The step of an instant.
    pub(crate) fn step(&self, at_ns: i64) -> f64 {
        let near = self.overall.step(at_ns);
        self.overall.step(at_ns - self.above_ns(near))
    }

    /// Nanoseconds from one step to the next, all in all.
    pub(crate) fn per_step_ns(&self) -> f64 {
        self.overall.per_step_ns()
    }

    /// How far the curve is above the line, which is nearly flat: straight between the knots.
    fn above_ns(&self, step: f64) -> i64 {
        let above = |(step, at_ns): (f64, i64)| (at_ns - self.overall.at_ns(step)) as f64;
        let right = self.knots.partition_point(|(knot, _)| *knot < step);
        let ns = match (
            right.checked_sub(1).map(|left| self.knots[left]),
            self.knots.get(right),
        ) {
            (Some(left), Some(&right)) => {
                let share = (step - left.0) / (right.0 - left.0);
                above(left) * (1.0 - share) + above(right) * share
            }
            (Some(last), None) => above(last),
            (None, Some(&first)) => above(first),
            (None, None) => 0.0,
        };
        ns.round() as i64
    }
}

/// Positive where the way from `a` over `b` to `c` bends to the left.
fn cross(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals of a 48,002.4 Hz device in blocks of 50 ms, late by 0 to 5 ms and once by 200.
    fn arrivals() -> Vec<(f64, i64)> {
        late_arrivals(|step| step / 48_002.4)
    }

    fn late_arrivals(left_s: impl Fn(f64) -> f64) -> Vec<(f64, i64)> {
        let mut state = 7_u64;
        let point = |block: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let late_ns = (state >> 40) * 5_000_000 / (1 << 24);
            let stall_ns = if block == 300 { 200_000_000 } else { 0 };
            let step = (block * 2_404) as f64;
            let at_ns = 1_800_000_000_000_000_000 + (left_s(step) * 1e9) as i64;
            (step, at_ns + (late_ns + stall_ns) as i64)
        };
        (0..900).map(point).collect()
    }

    #[test]
    fn line_lies_where_nothing_was_late_whatever_was_late_besides() {
        let line = Line::under(&arrivals());
        let rate = 1e9 / line.per_step_ns();
        assert!((rate - 48_002.4).abs() < 0.1, "{rate}");
        for step in [0.0, 1_000_000.0, 2_100_000.0] {
            let truth = 1_800_000_000_000_000_000 + (step / 48_002.4 * 1e9) as i64;
            let off_ns = line.at_ns(step) - truth;
            assert!((0..60_000).contains(&off_ns), "{off_ns} ns at {step}");
            assert!((line.step(line.at_ns(step)) - step).abs() < 0.01);
        }
    }

    #[test]
    fn curve_follows_a_device_whose_pace_changes_and_no_stall() {
        // From 20 s on it is 25 ppm slower: a line would be off by a quarter of a millisecond in the middle.
        let left_s = |step: f64| step / 48_002.4 + 25e-6 * (step / 48_002.4 - 20.0).max(0.0);
        let curve = Curve::under(&late_arrivals(left_s), 192_000.0);
        for step in [100_000.0, 700_000.0, 960_000.0, 1_500_000.0, 2_100_000.0] {
            let truth = 1_800_000_000_000_000_000 + (left_s(step) * 1e9) as i64;
            let off_ns = curve.at_ns(step) - truth;
            assert!(
                (-30_000..150_000).contains(&off_ns),
                "{off_ns} ns at {step}"
            );
            assert!((curve.step(curve.at_ns(step)) - step).abs() < 0.01);
        }
    }

    #[test]
    fn grid_of_known_pace_is_moved_by_the_earliest_and_by_no_late_one() {
        let mut points: Vec<_> = (0..100_i64)
            .map(|n| {
                (
                    n as f64,
                    5_000_000_000 + n * 20_000_000 + 700_000 + n % 7 * 1_000,
                )
            })
            .collect();
        points[50].1 += 90_000_000;
        let line = Line::under_at(&points, 20_000_000.0);
        assert_eq!(line.at_ns(10.0), 5_200_700_000);
        points[60].1 -= 300_000;
        let earlier = Line::under_at(&points, 20_000_000.0);
        assert!(earlier.at_ns(10.0) < 5_200_410_000, "one early one does");
    }
}
