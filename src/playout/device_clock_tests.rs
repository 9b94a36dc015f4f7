//! A device that takes whole periods and tells of it as sound servers do.

use super::*;
use crate::station::random::Random;

/// Frames of a period.
pub(in crate::playout) const PERIOD: u64 = 2_048;
const RATE: u32 = 48_000;
/// From the callback until its first frame leaves, in µs.
pub(in crate::playout) const LATENCY_US: f64 = 110_000.0;

/// How what a device tells is off, in µs.
#[derive(Clone, Copy, Debug)]
pub(in crate::playout) enum Noise {
    /// By this standard deviation, each time anew.
    White(f64),
    /// By 30 µs, and now and then by up to this for some seconds.
    Excursions(f64),
    /// As PulseAudio's library smooths what its server tells: an answer is off by 20 µs, or, this often, by up to this, and those
    /// that follow soon with it.
    Smoothed(f64, f64),
}

/// How PulseAudio's library makes one curve of the server's answers (its `time-smoother`): it asks after 10 ms, 20, 40, … 1,500 and aims at
/// where the stream will be in a second, by the last answer and by the slope of those of the last five seconds. So an answer
/// that is wrong leads astray twice: at once, and as long as it is remembered. All in s and in µs off the truth.
#[derive(Clone, Debug, Default)]
struct Smoother {
    from: (f64, f64),
    from_slope: f64,
    to: (f64, f64),
    to_slope: f64,
    answers: Vec<(f64, f64)>,
    asks_s: f64,
    every_s: f64,
    /// What the last answer was off by, if it was wrong.
    wrong_us: Option<f64>,
}

impl Smoother {
    const FIRST_S: f64 = 0.01;
    const LAST_S: f64 = 1.5;
    const ADJUSTS_S: f64 = 1.0;
    const REMEMBERS_S: f64 = 5.0;
    const LEAST: usize = 4;

    /// Where it is, and how steep.
    fn at(&self, s: f64) -> (f64, f64) {
        if s >= self.to.0 {
            return (self.to.1 + self.to_slope * (s - self.to.0), self.to_slope);
        }
        // A cubic from here to there, with both slopes.
        let (span, rise) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        let b = (3.0 * rise / span - self.to_slope - 2.0 * self.from_slope) / span;
        let c = (self.to_slope + self.from_slope - 2.0 * rise / span) / (span * span);
        let t = s - self.from.0;
        (
            self.from.1 + t * (self.from_slope + t * (b + t * c)),
            self.from_slope + t * (2.0 * b + 3.0 * t * c),
        )
    }

    fn answer(&mut self, s: f64, off_us: f64) {
        let is_first = self.answers.is_empty();
        (self.from, self.from_slope) = {
            let (us, slope) = self.at(s);
            ((s, if is_first { off_us } else { us }), slope)
        };
        self.answers.push((s, off_us));
        self.answers
            .retain(|(then_s, _)| s - then_s <= Smoother::REMEMBERS_S);
        self.to_slope = self.slope();
        self.to = (
            s + Smoother::ADJUSTS_S,
            off_us + self.to_slope * Smoother::ADJUSTS_S,
        );
        self.every_s = (2.0 * self.every_s).clamp(Smoother::FIRST_S, Smoother::LAST_S);
        self.asks_s = s + self.every_s;
    }

    fn slope(&self) -> f64 {
        let count = self.answers.len() as f64;
        if self.answers.len() < Smoother::LEAST {
            return 0.0;
        }
        let s = self.answers.iter().map(|(s, _)| s).sum::<f64>() / count;
        let us = self.answers.iter().map(|(_, us)| us).sum::<f64>() / count;
        let product = |(a, b): &(f64, f64)| (a - s) * (b - us);
        let square = |(a, _): &(f64, f64)| (a - s) * (a - s);
        self.answers.iter().map(product).sum::<f64>() / self.answers.iter().map(square).sum::<f64>()
    }
}

/// A device, which is the truth.
pub(in crate::playout) struct Device {
    pub(in crate::playout) slow_ppm: f64,
    noise: Noise,
    random: Random,
    /// Frames that it took, and when the next one leaves.
    pub(in crate::playout) frames: u64,
    pub(in crate::playout) leaves_us: f64,
    latency_us: f64,
    callbacks: u32,
    /// The excursion that goes on.
    excursion_us: f64,
    smoother: Smoother,
}

impl Device {
    pub(in crate::playout) fn new(slow_ppm: f64, noise: Noise, seed: u64) -> Device {
        Device {
            slow_ppm,
            noise,
            random: Random::new(seed),
            frames: 0,
            leaves_us: 5e12 + LATENCY_US,
            latency_us: LATENCY_US,
            callbacks: 0,
            excursion_us: 0.0,
            smoother: Smoother::default(),
        }
    }

    fn unit(&mut self) -> f64 {
        ((self.random.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// When the next callback comes.
    pub(in crate::playout) fn calls_us(&self) -> f64 {
        self.leaves_us - self.latency_us
    }

    /// When frame `frames` leaves, in truth.
    pub(in crate::playout) fn truth_us(&self, frames: u64) -> f64 {
        let ahead = frames as f64 - self.frames as f64;
        self.leaves_us + ahead / f64::from(RATE) * (1e6 + self.slow_ppm)
    }

    /// The next callback.
    pub(in crate::playout) fn call(&mut self) -> Tick {
        self.callbacks += 1;
        let off_us = match self.noise {
            Noise::White(sigma) => sigma * self.normal(),
            Noise::Excursions(most) => {
                // Once in half a minute; it dies away in some seconds.
                self.excursion_us *= 0.992;
                if self.unit() < PERIOD as f64 / f64::from(RATE) / 30.0 {
                    self.excursion_us = most * (2.0 * self.unit() - 1.0);
                }
                self.excursion_us + 30.0 * self.normal()
            }
            Noise::Smoothed(often, most) => {
                let s = (self.calls_us() - 5e12) / 1e6;
                while self.smoother.asks_s <= s {
                    let asks_s = self.smoother.asks_s;
                    // Whatever made the last one wrong goes on for a while.
                    let is_soon = self.smoother.every_s < 0.2;
                    let before_us = self.smoother.wrong_us.filter(|_| is_soon);
                    let often = if before_us.is_some() { 0.5 } else { often };
                    let wrong_us = (self.unit() < often).then(|| {
                        let us = most * self.unit();
                        let early = before_us.map_or_else(|| self.unit() < 0.5, |us| us < 0.0);
                        if early { -us } else { us }
                    });
                    self.smoother.wrong_us = wrong_us;
                    let off_us = wrong_us.unwrap_or_else(|| 20.0 * self.normal());
                    self.smoother.answer(asks_s, off_us);
                }
                self.smoother.at(s).0
            }
        };
        let wrong_us = if self.callbacks <= 3 { -25_000.0 } else { 0.0 };
        // Called when there is room, or a little later.
        let late_us = -200.0 * self.unit().ln();
        let tick = Tick {
            frames: self.frames,
            called_us: self.calls_us() + late_us,
            leaves_us: self.leaves_us + off_us + wrong_us,
        };
        self.leaves_us = self.truth_us(self.frames + PERIOD);
        self.frames += PERIOD;
        tick
    }

    /// Everything that follows leaves so much later, and callbacks come that much later.
    pub(in crate::playout) fn stand_still(&mut self, us: f64) {
        self.leaves_us += us;
        if us > PAUSE_US {
            self.callbacks = 0;
        }
    }

    /// It ran empty, and begins anew after so long: it asks three times at once for what it holds, and tells each time too little.
    fn run_empty(&mut self, us: f64) -> Vec<Tick> {
        let called_us = self.leaves_us + us;
        let first = self.frames;
        self.frames += 3 * PERIOD;
        self.leaves_us = called_us + 3.0 * PERIOD as f64 / f64::from(RATE) * 1e6;
        self.latency_us = self.leaves_us - called_us - 1_000.0;
        let tick = |n: u64| Tick {
            frames: first + n * PERIOD,
            called_us: called_us + 50.0 * n as f64,
            leaves_us: called_us + (n * PERIOD) as f64 / f64::from(RATE) * 1e6
                - 20_000.0 * n as f64,
        };
        (0..3).map(tick).collect()
    }

    /// The way out has become longer, and callbacks come as before.
    fn lengthen(&mut self, us: f64) {
        self.leaves_us += us;
        self.latency_us += us;
    }
}

/// What is known from the last time.
pub(in crate::playout) fn known(slow_ppm: f64) -> Learned {
    Learned {
        slow_ppm,
        sigma_ppm: 3.0,
    }
}

fn run(device: &mut Device, clock: &mut DeviceClock, seconds: f64, mut each: impl FnMut(f64, f64)) {
    let until_us = device.leaves_us + seconds * 1e6;
    while device.leaves_us < until_us {
        clock.handle_tick(&device.call());
        if let Some(leaves_us) = clock.leaves_us(device.frames) {
            let off_us = leaves_us - device.truth_us(device.frames);
            each(off_us, clock.slow_ppm() - device.slow_ppm);
        }
    }
}

/// The worst of the last `seconds`, and what the rate is off by at last.
fn worst(device: &mut Device, clock: &mut DeviceClock, seconds: f64) -> (f64, f64) {
    let (mut worst_us, mut off_ppm) = (0.0, 0.0);
    run(device, clock, seconds, |off_us, ppm| {
        worst_us = f64::max(worst_us, off_us.abs());
        off_ppm = ppm;
    });
    (worst_us, off_ppm)
}

const NOISES: [Noise; 4] = [
    Noise::White(100.0),
    Noise::Excursions(500.0),
    Noise::Excursions(2_000.0),
    Noise::Excursions(9_000.0),
];

#[test]
fn a_device_that_errs_by_milliseconds_for_seconds_is_known_to_some_ten_microseconds() {
    for noise in NOISES {
        for seed in 0..20 {
            for slow_ppm in [-400.0, -40.0, 0.0, 350.0] {
                let mut device = Device::new(slow_ppm, noise, seed);
                let off_ppm = if seed % 2 == 0 { 1.0 } else { 2.0 };
                let mut clock = DeviceClock::new(RATE, Some(known(slow_ppm + off_ppm)));
                run(&mut device, &mut clock, 60.0, |_, _| {});
                let (worst_us, off_ppm) = worst(&mut device, &mut clock, 240.0);
                let bound_us = match noise {
                    Noise::White(_) => 100.0,
                    Noise::Excursions(most) if most <= 500.0 => 200.0,
                    Noise::Excursions(most) if most <= 2_000.0 => 600.0,
                    // A machine on which nothing has time left.
                    Noise::Excursions(_) => 3_000.0,
                    Noise::Smoothed(..) => unreachable!("none of these"),
                };
                assert!(
                    worst_us < bound_us && off_ppm.abs() < 10.0,
                    "{noise:?} {seed} {slow_ppm}: {worst_us} us, {off_ppm} ppm"
                );
            }
        }
    }
}

#[test]
fn a_device_that_was_never_heard_is_learned_within_a_minute_or_two() {
    for slow_ppm in [-450.0, -40.0, 40.0, 450.0] {
        for seed in 0..10 {
            let mut device = Device::new(slow_ppm, Noise::Excursions(300.0), seed);
            let mut clock = DeviceClock::new(RATE, None);
            run(&mut device, &mut clock, 120.0, |_, _| {});
            let (worst_us, off_ppm) = worst(&mut device, &mut clock, 60.0);
            assert!(
                worst_us < 250.0 && off_ppm.abs() < 5.0,
                "{slow_ppm}, {seed}: {worst_us} us, {off_ppm} ppm"
            );
        }
    }
}

#[test]
fn nothing_is_known_before_the_callbacks_that_count() {
    let mut device = Device::new(0.0, Noise::White(30.0), 1);
    let mut clock = DeviceClock::new(RATE, None);
    for callback in 1..=WRONG as usize + FIRST {
        assert_eq!(clock.leaves_us(0), None, "{callback}");
        assert_eq!(clock.latency_us(), None);
        clock.handle_tick(&device.call());
    }
    let off_us = clock.leaves_us(device.frames).unwrap() - device.truth_us(device.frames);
    assert!(off_us.abs() < 100.0, "{off_us}");
    let latency_us = clock.latency_us().unwrap();
    assert!((latency_us - LATENCY_US).abs() < 1_000.0, "{latency_us}");
}

#[test]
fn a_device_that_stood_still_is_known_again_after_a_second() {
    for us in [12_000.0, 45_000.0, 200_000.0, 2e6] {
        for noise in NOISES {
            let mut device = Device::new(50.0, noise, 7);
            let mut clock = DeviceClock::new(RATE, Some(known(50.0)));
            run(&mut device, &mut clock, 120.0, |_, _| {});
            device.stand_still(us);
            run(&mut device, &mut clock, 1.0, |_, _| {});
            let (worst_us, _) = worst(&mut device, &mut clock, 20.0);
            let bound_us = match noise {
                Noise::White(_) => 300.0,
                Noise::Excursions(most) => 300.0 + most,
                Noise::Smoothed(..) => unreachable!("none of these"),
            };
            assert!(worst_us < bound_us, "{us} {noise:?}: {worst_us} us");
        }
    }
}

#[test]
fn a_stream_that_ran_empty_is_known_again_with_the_callbacks_after_the_first_three() {
    for us in [3_000.0, 40_000.0, 150_000.0] {
        for noise in NOISES {
            let mut device = Device::new(50.0, noise, 7);
            let mut clock = DeviceClock::new(RATE, Some(known(50.0)));
            run(&mut device, &mut clock, 120.0, |_, _| {});
            let (moves, before_us) = (clock.moves(), clock.leaves_us(device.frames).unwrap());
            let frames = device.frames;
            for tick in device.run_empty(us) {
                clock.handle_tick(&tick);
                let off_us = clock.leaves_us(frames).unwrap() - before_us;
                assert!(
                    off_us.abs() < 1.0,
                    "what is not known yet moves nothing: {off_us} us"
                );
            }
            for _ in 0..FIRST {
                clock.handle_tick(&device.call());
            }
            assert_eq!(clock.moves(), moves + 1);
            let (worst_us, _) = worst(&mut device, &mut clock, 5.0);
            let bound_us = match noise {
                Noise::White(_) => 200.0,
                // It may begin within one.
                Noise::Excursions(most) => 200.0 + most,
                Noise::Smoothed(..) => unreachable!("none of these"),
            };
            assert!(worst_us < bound_us, "{us} {noise:?}: {worst_us} us");
        }
    }
}

#[test]
fn what_is_told_in_the_first_ten_seconds_may_go_astray() {
    for (most_us, seed) in [(-2_500.0, 1), (1_500.0, 2), (800.0, 3)] {
        let mut device = Device::new(-60.0, Noise::White(20.0), seed);
        let mut clock = DeviceClock::new(RATE, Some(known(-61.0)));
        let began_us = device.leaves_us;
        let mut worst_us = 0.0;
        while device.leaves_us < began_us + 25e6 {
            let mut tick = device.call();
            // As sound servers do: right at first, astray within three seconds, and back in ten.
            let at_s = (device.leaves_us - began_us) / 1e6;
            tick.leaves_us += match at_s {
                at_s if at_s < 0.8 => 0.0,
                at_s if at_s < 3.0 => most_us * (at_s - 0.8) / 2.2,
                at_s if at_s < 10.0 => most_us * (10.0 - at_s) / 7.0,
                _ => 0.0,
            };
            clock.handle_tick(&tick);
            if let Some(leaves_us) = clock.leaves_us(device.frames) {
                worst_us = f64::max(worst_us, (leaves_us - device.truth_us(device.frames)).abs());
            }
        }
        assert!(worst_us < 200.0, "{most_us}: {worst_us} us");
    }
}

#[test]
fn who_asks_late_at_first_and_tells_what_is_astray_has_not_moved() {
    for seed in 0..10 {
        let mut device = Device::new(-20.0, Noise::White(20.0), seed);
        let mut clock = DeviceClock::new(RATE, None);
        let (began_us, mut callbacks, mut worst_us) = (device.leaves_us, 0, 0.0);
        while device.leaves_us < began_us + 12e6 {
            let mut tick = device.call();
            callbacks += 1;
            // Seen on a busy machine: 3.8 ms late, all of the first ones.
            if callbacks <= 10 {
                tick.called_us += 3_800.0;
            }
            let at_s = (device.leaves_us - began_us) / 1e6;
            tick.leaves_us += match at_s {
                at_s if at_s < 0.5 => 0.0,
                at_s if at_s < 3.5 => -6_500.0 * (at_s - 0.5) / 3.0,
                at_s => -6_500.0 * (12.0 - at_s) / 8.5,
            };
            clock.handle_tick(&tick);
            if let Some(leaves_us) = clock.leaves_us(device.frames) {
                worst_us = f64::max(worst_us, (leaves_us - device.truth_us(device.frames)).abs());
            }
        }
        assert_eq!(clock.moves(), 1, "{seed}");
        assert!(worst_us < 500.0, "{seed}: {worst_us} us");
    }
}

#[test]
fn a_server_that_goes_at_another_rate_after_a_pause_is_followed() {
    for seed in 0..10 {
        let mut device = Device::new(-5.0, Noise::White(20.0), seed);
        let mut clock = DeviceClock::new(RATE, None);
        run(&mut device, &mut clock, 28.0, |_, _| {});
        device.slow_ppm = -65.0;
        device.stand_still(2e6);
        run(&mut device, &mut clock, 10.0, |_, _| {});
        let (worst_us, off_ppm) = worst(&mut device, &mut clock, 10.0);
        assert!(
            worst_us < 200.0 && off_ppm.abs() < 30.0,
            "{seed}: {worst_us} us, {off_ppm} ppm"
        );
    }
}

#[test]
fn a_way_that_has_become_longer_is_noticed_within_half_a_minute() {
    for us in [-20_000.0, 1_000.0, 80_000.0] {
        let mut device = Device::new(-20.0, Noise::White(50.0), 3);
        let mut clock = DeviceClock::new(RATE, Some(known(-20.0)));
        run(&mut device, &mut clock, 60.0, |_, _| {});
        device.lengthen(us);
        run(&mut device, &mut clock, 25.0, |_, _| {});
        let (worst_us, _) = worst(&mut device, &mut clock, 30.0);
        assert!(worst_us < 300.0, "{us}: {worst_us} us");
    }
}

#[test]
fn a_rate_that_changes_is_followed() {
    // NTP corrects our clock, by up to 500 ppm; a device gets warm.
    for (change_ppm, most_us) in [
        (20.0, 600.0),
        (-100.0, 1_200.0),
        (300.0, 3_200.0),
        (-500.0, 5_200.0),
    ] {
        for seed in 0..10 {
            for noise in [Noise::White(50.0), Noise::Excursions(500.0)] {
                let mut device = Device::new(-20.0, noise, seed);
                let mut clock = DeviceClock::new(RATE, Some(known(-20.0)));
                run(&mut device, &mut clock, 150.0, |_, _| {});
                device.slow_ppm += change_ppm;
                let (worst_us, _) = worst(&mut device, &mut clock, 40.0);
                let (later_us, off_ppm) = worst(&mut device, &mut clock, 60.0);
                let told = format!(
                    "{change_ppm} ppm, {seed}, {noise:?}: {worst_us:.0} us, later {later_us:.0} us, {off_ppm:.1} ppm"
                );
                assert!(
                    worst_us < most_us && later_us < 350.0 && off_ppm.abs() < 5.0,
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn a_device_that_takes_a_second_in_four_parts_is_known() {
    let mut clock = DeviceClock::new(RATE, None);
    for callback in 0..60u64 {
        let lump_us = 5e12 + (callback / 4) as f64 * 1e6;
        let queued_us = (callback % 4) as f64 * 250_000.0;
        clock.handle_tick(&Tick {
            frames: callback * u64::from(RATE) / 4,
            called_us: lump_us + (callback % 4) as f64 * 100.0,
            leaves_us: lump_us + 250_000.0 + queued_us,
        });
    }
    let leaves_us = clock.leaves_us(60 * u64::from(RATE) / 4).expect("known");
    assert!((leaves_us - (5e12 + 15.25e6)).abs() < 500.0, "{leaves_us}");
    assert_eq!(clock.moves(), 1);
}

#[test]
fn what_makes_no_sense_is_survived() {
    let mut clock = DeviceClock::new(0, Some(known(1e9)));
    let odd = [0.0, -1e300, 1e300, f64::MAX, 7.0];
    for frames in [0, 5, 2, u64::MAX, 0] {
        for (called_us, leaves_us) in odd.into_iter().zip(odd.into_iter().rev()) {
            clock.handle_tick(&Tick {
                frames,
                called_us,
                leaves_us,
            });
            let _ = (clock.leaves_us(frames), clock.latency_us());
            assert!(clock.slow_ppm().abs() <= MAX_SKEW_PPM);
        }
    }
}

#[test]
fn what_is_learned_is_known_at_the_next_beginning() {
    let mut device = Device::new(80.0, Noise::White(30.0), 4);
    let mut clock = DeviceClock::new(RATE, None);
    run(&mut device, &mut clock, 12.0, |_, _| {});
    assert_eq!(clock.learned(), None);
    run(&mut device, &mut clock, 60.0, |_, _| {});
    let learned = clock.learned().unwrap();
    assert!((learned.slow_ppm - 80.0).abs() < 2.0, "{learned:?}");
    assert!(learned.sigma_ppm < 5.0, "{learned:?}");
    let mut device = Device::new(80.0, Noise::White(30.0), 5);
    let mut clock = DeviceClock::new(RATE, Some(learned));
    run(&mut device, &mut clock, 1.0, |_, _| {});
    let (worst_us, off_ppm) = worst(&mut device, &mut clock, 20.0);
    assert!(worst_us < 150.0, "{worst_us} us");
    assert!(off_ppm.abs() < 5.0, "{off_ppm} ppm");
}

#[test]
fn a_device_that_takes_a_second_at_a_time_is_known_after_some_callbacks() {
    let mut clock = DeviceClock::new(RATE, None);
    let mut known_after = None;
    for callback in 0..40u64 {
        let called_us = 5e12 + callback as f64 * 1e6;
        clock.handle_tick(&Tick {
            frames: callback * u64::from(RATE),
            called_us,
            leaves_us: called_us + 1_000_000.0,
        });
        if known_after.is_none() && clock.leaves_us(0).is_some() {
            known_after = Some(callback);
        }
    }
    assert!(known_after.is_some_and(|n| n <= 4), "{known_after:?}");
    let off_us = clock.leaves_us(39 * u64::from(RATE)).unwrap() - (5e12 + 40e6);
    assert!(off_us.abs() < 50.0, "{off_us} us");
    assert_eq!(clock.moves(), 1);
}
