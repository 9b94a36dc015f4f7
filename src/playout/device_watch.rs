//! When is a sound device opened, given up and let go?
//!
//! Sound servers are restarted, USB devices unplugged, and neither says so reliably: ALSA reports a million errors a second or
//! none at all. So the device's health is what counts: it has to take samples. One that takes none for a second, or reports
//! errors only, is lost; a lost or missing one is tried four times a second; one that nobody needed for 10 s is let go, so that
//! others can have it. What opening and closing means is the caller's affair.

use std::time::Duration;

use crate::time::Instant;

/// How often a missing device is tried.
const RETRY: Duration = Duration::from_millis(250);
/// How often an open one is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A device that took no samples for this long is lost.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// As long as it is younger than this, patience: some servers stand still for 2 s when a stream starts.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// A device is let go when nothing was on air for this long.
const RELEASE_AFTER: Duration = Duration::from_secs(10);

/// How an open device does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How often it has taken samples.
    pub callbacks: u64,
    /// It reports errors and takes nothing.
    pub broken: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try to open the device, then tell with [`DeviceWatch::handle_opened`] or [`DeviceWatch::handle_failed`].
    Open,
    /// It is lost: close what is left of it.
    Lost,
    /// Nobody needs it: close it.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Released,
    Missing {
        try_at: Instant,
    },
    Open {
        opened_at: Instant,
        callbacks: u64,
        progress_at: Instant,
    },
}

/// Watches one device.
#[derive(Debug)]
pub struct DeviceWatch {
    state: State,
    wanted_until: Instant,
    /// It was told that the device is waited for.
    told: bool,
}

impl DeviceWatch {
    /// Nothing is open, nothing is wanted.
    pub fn new() -> DeviceWatch {
        DeviceWatch {
            state: State::Released,
            wanted_until: Instant::default(),
            told: false,
        }
    }

    /// There was something to play at `at`.
    pub fn handle_wanted(&mut self, at: Instant) {
        self.wanted_until = self.wanted_until.max(at + RELEASE_AFTER);
    }

    /// The device is open.
    pub fn handle_opened(&mut self, now: Instant) {
        self.told = false;
        self.state = State::Open {
            opened_at: now,
            callbacks: 0,
            progress_at: now,
        };
    }

    /// It could not be opened. Answers whether this is news.
    pub fn handle_failed(&mut self, now: Instant) -> bool {
        self.state = State::Missing {
            try_at: now + RETRY,
        };
        !std::mem::replace(&mut self.told, true)
    }

    /// What to do now; `health` is that of the open device.
    pub fn handle_timeout(&mut self, now: Instant, health: Health) -> Option<Action> {
        let wanted = now < self.wanted_until;
        match &mut self.state {
            State::Released if wanted => {
                self.state = State::Missing {
                    try_at: now + RETRY,
                };
                Some(Action::Open)
            }
            State::Released => None,
            State::Missing { .. } if !wanted => {
                self.state = State::Released;
                None
            }
            State::Missing { try_at } if now >= *try_at => {
                *try_at = now + RETRY;
                Some(Action::Open)
            }
            State::Missing { .. } => None,
            State::Open { .. } if !wanted => {
                self.state = State::Released;
                Some(Action::Release)
            }
            State::Open {
                opened_at,
                callbacks,
                progress_at,
            } => {
                if health.callbacks > *callbacks {
                    (*callbacks, *progress_at) = (health.callbacks, now);
                }
                let is_stuck = now.since(*progress_at) >= STUCK_AFTER
                    && now.since(*opened_at) >= SETTLED_AFTER;
                if health.broken || is_stuck {
                    self.state = State::Missing { try_at: now };
                    return Some(Action::Lost);
                }
                None
            }
        }
    }

    /// When to come back; `None`: when something is wanted.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Released => None,
            State::Missing { try_at } => Some(try_at),
            State::Open { .. } => Some(now + LOOK),
        }
    }
}

impl Default for DeviceWatch {
    fn default() -> DeviceWatch {
        DeviceWatch::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_micros(1_000_000 + ms * 1_000)
    }

    fn health(callbacks: u64) -> Health {
        Health {
            callbacks,
            broken: false,
        }
    }

    fn open() -> DeviceWatch {
        let mut watch = DeviceWatch::new();
        watch.handle_wanted(at_ms(0));
        assert_eq!(
            watch.handle_timeout(at_ms(0), health(0)),
            Some(Action::Open)
        );
        watch.handle_opened(at_ms(0));
        watch
    }

    #[test]
    fn nothing_is_opened_before_it_is_wanted() {
        let mut watch = DeviceWatch::new();
        assert_eq!(watch.handle_timeout(at_ms(0), health(0)), None);
        assert_eq!(watch.poll_timeout(at_ms(0)), None);
    }

    #[test]
    fn missing_device_is_tried_four_times_a_second_and_told_once() {
        let mut watch = DeviceWatch::new();
        watch.handle_wanted(at_ms(0));
        let mut tries = 0;
        let mut news = 0;
        for ms in 0..=5_000 {
            if watch.handle_timeout(at_ms(ms), health(0)) == Some(Action::Open) {
                tries += 1;
                news += u32::from(watch.handle_failed(at_ms(ms)));
            }
        }
        assert_eq!((tries, news), (21, 1));
        // Once it was there, its absence is news again.
        watch.handle_opened(at_ms(5_001));
        assert!(watch.handle_failed(at_ms(5_002)));
    }

    #[test]
    fn device_that_takes_nothing_for_a_second_is_lost_and_not_a_moment_before() {
        let mut watch = open();
        assert_eq!(watch.handle_timeout(at_ms(4_000), health(7)), None);
        assert_eq!(watch.handle_timeout(at_ms(4_999), health(7)), None);
        let lost = watch.handle_timeout(at_ms(5_000), health(7));
        assert_eq!(lost, Some(Action::Lost));
        // It is tried at once.
        let again = watch.handle_timeout(at_ms(5_000), health(0));
        assert_eq!(again, Some(Action::Open));
    }

    #[test]
    fn device_that_has_just_been_opened_may_take_its_time() {
        let mut watch = open();
        assert_eq!(watch.handle_timeout(at_ms(100), health(3)), None);
        assert_eq!(watch.handle_timeout(at_ms(2_999), health(3)), None);
        let lost = watch.handle_timeout(at_ms(3_000), health(3));
        assert_eq!(lost, Some(Action::Lost));
    }

    #[test]
    fn device_with_errors_only_is_lost_at_the_next_look() {
        let mut watch = open();
        let broken = Health {
            callbacks: 9,
            broken: true,
        };
        assert_eq!(watch.handle_timeout(at_ms(250), broken), Some(Action::Lost));
    }

    #[test]
    fn device_is_let_go_10_s_after_the_last_sound_and_opened_for_the_next() {
        let mut watch = open();
        watch.handle_wanted(at_ms(500));
        assert_eq!(watch.handle_timeout(at_ms(10_499), health(300)), None);
        assert_eq!(
            watch.handle_timeout(at_ms(10_500), health(310)),
            Some(Action::Release)
        );
        assert_eq!(watch.poll_timeout(at_ms(10_500)), None);
        watch.handle_wanted(at_ms(60_000));
        assert_eq!(
            watch.handle_timeout(at_ms(60_000), health(0)),
            Some(Action::Open)
        );
    }
}
