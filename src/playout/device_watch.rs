//! When is a sound device opened, given up and let go?
//!
//! Sound servers are restarted, USB devices unplugged, and neither says so reliably: ALSA reports a million errors a second or
//! none at all. So the device's health is what counts: it has to take samples. One that takes none for a second, or reports
//! errors only, is lost; a lost or missing one is tried four times a second, after a while a little less often; one that nobody
//! needed for 10 s is let go, so that others can have it. What opening and closing means is the caller's affair.
//!
//! People are told once of each change, and a device that comes and goes without ever playing for 2 s is told as lost once:
//! after that it is tried less and less often, and is news again when it plays.
//!
//! Use: `handle_*`, then [`DeviceWatch::poll_action`] until `None`, then sleep until [`DeviceWatch::poll_timeout`].

use std::time::Duration;

use crate::time::Instant;

/// How often a missing device is tried.
const RETRY: Duration = Duration::from_millis(250);
/// How often an open one is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A device that is missing for longer than this is tried every [`LATER_RETRY`].
const PATIENT_FOR: Duration = Duration::from_secs(5);
/// To list devices costs more than the little that a failed try does. With it nine of ten returns are heard within a second still.
const LATER_RETRY: Duration = Duration::from_millis(750);
/// The longest wait for a device that was lost time and again.
const LONGEST_RETRY: Duration = Duration::from_secs(4);
/// A device that took no samples for this long is lost.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// As long as it is younger than this, patience: some servers stand still for 2 s when a stream starts.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// A device that still takes samples after this much has really come.
const STEADY_AFTER: Duration = Duration::from_secs(2);
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
    /// See whether the device is there; if not, tell with [`DeviceWatch::handle_failed`].
    Check,
    /// Try to open the device, then tell with [`DeviceWatch::handle_opened`] or [`DeviceWatch::handle_failed`].
    Open,
    /// It is lost: close what is left of it.
    Lost {
        /// People do not know yet.
        is_news: bool,
    },
    /// It was told as lost, and has come back for good.
    Returned,
    /// Nobody needs it: close it.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Released,
    Missing {
        since: Instant,
        try_at: Instant,
    },
    Open {
        opened_at: Instant,
        callbacks: u64,
        progress_at: Instant,
        look_at: Instant,
        is_steady: bool,
    },
}

/// What people believe of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The truth.
    Truth,
    /// That it is waited for.
    Waiting,
    /// That it is lost, while it comes and goes.
    Lost,
}

/// Watches one device.
#[derive(Debug)]
pub struct DeviceWatch {
    state: State,
    wanted_until: Instant,
    told: Told,
    /// How often it was lost since it last was steady.
    losses: u32,
    action: Option<Action>,
}

impl DeviceWatch {
    /// Nothing is open, nothing is wanted; whether the device is there is to be seen at once.
    pub fn new() -> DeviceWatch {
        DeviceWatch {
            state: State::Released,
            wanted_until: Instant::default(),
            told: Told::Truth,
            losses: 0,
            action: Some(Action::Check),
        }
    }

    /// There was something to play at `at`.
    pub fn handle_wanted(&mut self, at: Instant) {
        self.wanted_until = self.wanted_until.max(at + RELEASE_AFTER);
    }

    /// The device is open. Answers whether this is news.
    pub fn handle_opened(&mut self, now: Instant) -> bool {
        self.state = State::Open {
            opened_at: now,
            callbacks: 0,
            progress_at: now,
            look_at: now + LOOK,
            is_steady: false,
        };
        self.told != Told::Lost
    }

    /// It is not there, or could not be opened. Answers whether this is news.
    pub fn handle_failed(&mut self, now: Instant) -> bool {
        let since = match self.state {
            State::Missing { since, .. } => since,
            State::Released | State::Open { .. } => now,
        };
        let is_recent = now.since(since) < PATIENT_FOR;
        let try_at = now + if is_recent { RETRY } else { LATER_RETRY };
        self.state = State::Missing { since, try_at };
        let is_news = self.told == Told::Truth;
        if is_news {
            self.told = Told::Waiting;
        }
        is_news
    }

    /// How the open device does.
    pub fn handle_health(&mut self, now: Instant, health: Health) {
        let State::Open {
            opened_at,
            callbacks,
            progress_at,
            is_steady,
            ..
        } = &mut self.state
        else {
            return;
        };
        let age = now.since(*opened_at);
        let has_progressed = health.callbacks > *callbacks;
        if has_progressed {
            (*callbacks, *progress_at) = (health.callbacks, now);
        }
        let is_stuck = now.since(*progress_at) >= STUCK_AFTER && age >= SETTLED_AFTER;
        if health.broken || is_stuck {
            let was_steady = *is_steady;
            self.lose(now, was_steady);
        } else if has_progressed && age >= STEADY_AFTER && !*is_steady {
            *is_steady = true;
            self.losses = 0;
            if std::mem::replace(&mut self.told, Told::Truth) == Told::Lost {
                self.action = Some(Action::Returned);
            }
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.action.is_some() {
            return; // one thing after the other
        }
        let is_wanted = now < self.wanted_until;
        match &mut self.state {
            State::Released if is_wanted => {
                self.state = State::Missing {
                    since: now,
                    try_at: now + RETRY,
                };
                self.action = Some(Action::Open);
            }
            State::Released => {}
            State::Missing { .. } if !is_wanted => self.state = State::Released,
            State::Missing { try_at, .. } if now >= *try_at => {
                *try_at = now + RETRY;
                self.action = Some(Action::Open);
            }
            State::Missing { .. } => {}
            State::Open { .. } if !is_wanted => {
                self.state = State::Released;
                self.action = Some(Action::Release);
            }
            State::Open { look_at, .. } => {
                if now >= *look_at {
                    *look_at = now + LOOK;
                }
            }
        }
    }

    /// The next thing to do; `None`: wait.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.action.take()
    }

    /// When to come back; `None`: when something is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Released => None,
            State::Missing { try_at, .. } => Some(try_at),
            State::Open { look_at, .. } => Some(look_at),
        }
    }

    /// One that played is tried at once; one that did not is as bad as before, most likely.
    fn lose(&mut self, now: Instant, was_steady: bool) {
        let is_news = self.told != Told::Lost;
        let mut wait = Duration::ZERO;
        if !was_steady {
            self.told = Told::Lost;
            self.losses = (self.losses + 1).min(4);
            wait = (RETRY * 2u32.pow(self.losses)).min(LONGEST_RETRY);
        }
        self.state = State::Missing {
            since: now,
            try_at: now + wait,
        };
        self.action = Some(Action::Lost { is_news });
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

    /// What is to be done at that time, if the open device does so well.
    fn look(watch: &mut DeviceWatch, ms: u64, health: Health) -> Option<Action> {
        watch.handle_health(at_ms(ms), health);
        watch.handle_timeout(at_ms(ms));
        let action = watch.poll_action();
        assert_eq!(watch.poll_action(), None);
        action
    }

    fn after(callbacks: u64) -> Health {
        Health {
            callbacks,
            broken: false,
        }
    }

    const BROKEN: Health = Health {
        callbacks: 9,
        broken: true,
    };
    const LOST: Option<Action> = Some(Action::Lost { is_news: true });

    fn checked() -> DeviceWatch {
        let mut watch = DeviceWatch::new();
        assert_eq!(watch.poll_action(), Some(Action::Check));
        watch
    }

    fn open() -> DeviceWatch {
        let mut watch = checked();
        watch.handle_wanted(at_ms(0));
        assert_eq!(look(&mut watch, 0, after(0)), Some(Action::Open));
        assert!(watch.handle_opened(at_ms(0)));
        watch
    }

    #[test]
    fn nothing_is_opened_before_it_is_wanted() {
        let mut watch = checked();
        assert_eq!(look(&mut watch, 0, after(0)), None);
        assert_eq!(watch.poll_timeout(), None);
    }

    #[test]
    fn device_that_is_missing_at_the_start_is_told_at_once_and_not_tried_before_it_is_wanted() {
        let mut watch = checked();
        assert!(watch.handle_failed(at_ms(0)));
        for ms in 0..2_000 {
            assert_eq!(look(&mut watch, ms, after(0)), None);
        }
        assert_eq!(watch.poll_timeout(), None);
        watch.handle_wanted(at_ms(60_000));
        assert_eq!(look(&mut watch, 60_000, after(0)), Some(Action::Open));
        assert!(!watch.handle_failed(at_ms(60_001)), "it is known");
        assert!(watch.handle_opened(at_ms(60_300)));
    }

    #[test]
    fn missing_device_is_tried_four_times_a_second_then_slower_and_told_once() {
        let mut watch = checked();
        let mut tries = vec![];
        let mut news = 0;
        for ms in 0..20_000 {
            watch.handle_wanted(at_ms(ms));
            if look(&mut watch, ms, after(0)) == Some(Action::Open) {
                tries.push(ms);
                news += u32::from(watch.handle_failed(at_ms(ms)));
            }
        }
        assert_eq!(news, 1);
        let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses[..20], [250; 20]);
        assert!(pauses[20..].iter().all(|pause| *pause == 750), "{pauses:?}");
        assert!(tries.len() <= 42, "{tries:?}");
        // Once it was there and played, its absence is news again.
        assert!(watch.handle_opened(at_ms(20_000)));
        assert_eq!(look(&mut watch, 22_000, after(50)), None);
        assert_eq!(look(&mut watch, 22_250, BROKEN), LOST);
        assert!(watch.handle_failed(at_ms(22_251)));
    }

    #[test]
    fn device_that_takes_nothing_for_a_second_is_lost_and_not_a_moment_before() {
        let mut watch = open();
        assert_eq!(look(&mut watch, 4_000, after(7)), None);
        assert_eq!(look(&mut watch, 4_999, after(7)), None);
        assert_eq!(look(&mut watch, 5_000, after(7)), LOST);
        // It is tried at once.
        assert_eq!(watch.poll_timeout(), Some(at_ms(5_000)));
        assert_eq!(look(&mut watch, 5_000, after(0)), Some(Action::Open));
    }

    #[test]
    fn device_that_has_just_been_opened_may_take_its_time() {
        let mut watch = open();
        assert_eq!(look(&mut watch, 100, after(3)), None);
        assert_eq!(look(&mut watch, 2_999, after(3)), None);
        assert_eq!(look(&mut watch, 3_000, after(3)), LOST);
    }

    #[test]
    fn device_with_errors_only_is_lost_at_the_next_look() {
        let mut watch = open();
        assert_eq!(watch.poll_timeout(), Some(at_ms(250)));
        assert_eq!(look(&mut watch, 250, BROKEN), LOST);
    }

    /// A minute with a device that opens and then delivers errors only, until `good_ms`: what people are told, and the tries.
    fn flapping(good_ms: u64) -> (Vec<&'static str>, usize) {
        let mut watch = checked();
        let (mut told, mut tries, mut opened_ms) = (vec![], 0, 0);
        for ms in 0..60_000 {
            watch.handle_wanted(at_ms(ms));
            let is_broken = ms < good_ms && ms > opened_ms + 200;
            let health = if is_broken { BROKEN } else { after(ms) };
            match look(&mut watch, ms, health) {
                Some(Action::Open) => {
                    (tries, opened_ms) = (tries + 1, ms);
                    if watch.handle_opened(at_ms(ms)) {
                        told.push("opened");
                    }
                }
                Some(Action::Lost { is_news: true }) => told.push("lost"),
                Some(Action::Returned) => told.push("returned"),
                Some(Action::Lost { is_news: false }) | None => {}
                other => panic!("{other:?}"),
            }
        }
        (told, tries)
    }

    #[test]
    fn device_that_opens_and_has_errors_only_is_told_once_and_tried_ever_more_rarely() {
        let (told, tries) = flapping(60_000);
        assert_eq!(told, ["opened", "lost"]);
        assert!((14..=20).contains(&tries), "{tries}");
    }

    #[test]
    fn device_that_came_and_went_is_news_again_when_it_plays() {
        let (told, tries) = flapping(20_000);
        assert_eq!(told, ["opened", "lost", "returned"]);
        assert!(tries <= 10, "{tries}");
    }

    #[test]
    fn device_is_let_go_10_s_after_the_last_sound_and_opened_for_the_next() {
        let mut watch = open();
        watch.handle_wanted(at_ms(500));
        assert_eq!(look(&mut watch, 10_499, after(300)), None);
        assert_eq!(look(&mut watch, 10_500, after(310)), Some(Action::Release));
        assert_eq!(watch.poll_timeout(), None);
        watch.handle_wanted(at_ms(60_000));
        assert_eq!(look(&mut watch, 60_000, after(0)), Some(Action::Open));
    }

    #[test]
    fn looks_do_not_come_back_to_back() {
        let mut watch = open();
        for ms in [0, 100, 250, 250, 251] {
            look(&mut watch, ms, after(ms));
            assert!(watch.poll_timeout() > Some(at_ms(ms)));
        }
    }
}
