//! How does a listener's sound reach a device that comes and goes?
//!
//! The listener's thread converts each block to the device's rate and puts it into the ring; the device's own thread takes it from
//! there. A third one, which has no deadlines, opens the device, watches it and opens it again (`supervise`): all that can
//! block for seconds happens there. While there is no device, blocks are dropped, so that the sound is at its right
//! place of the timeline when the device returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::debug;
use super::device_feed::DeviceFeed;
use super::error::AppError;
use crate::io::clock::Clock;
use crate::io::device_names::NameError;
use crate::io::sound::{self, DeviceChoice, Feed, OpenDevice, SoundError};
use crate::io::sound_callback::DeviceHealth;
use crate::io::thread;
use crate::io::wait::{Waiter, Waker};
use crate::media::opus::FRAME_VALUES;
use crate::playout::device_watch::{Action, DeviceWatch, Health};
use crate::time::Instant;

/// Reports that wait for the listener; it reads them with every block and once a second.
const MAX_REPORTS: usize = 16;
/// Longest time that the end of the sound may take, beyond what is queued.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// After this much of nothing to play, the supervisor may have let the device go: it is woken.
const WAKE_AFTER_US: u64 = 1_000_000;
/// What the supervisor has to say. What is no news changes what is done, and is not told to people.
enum Report {
    Opened {
        feed: Box<DeviceFeed>,
        news: Option<DeviceNews>,
    },
    /// The device has gone.
    Lost { news: Option<DeviceNews> },
    /// Nothing has to be done.
    Told(DeviceNews),
    /// Nobody needed it.
    Released,
    /// It plays no more.
    Stopped,
}

/// News for people and scripts: the `device` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNews {
    /// `opened`, `lost` or `waiting`.
    pub state: &'static str,
    /// Of the device.
    pub name: String,
    /// What went wrong, if it did.
    pub reason: Option<String>,
}

/// What the listener's thread and the supervisor share.
struct Shared {
    /// When there was last something to play, in µs of the local clock.
    wanted_at_us: AtomicU64,
    /// When to end, in µs of the local clock; `u64::MAX`: not yet.
    end_at_us: AtomicU64,
}

/// A sound device, as the listener's thread sees it.
pub struct Speaker {
    clock: Clock,
    shared: Arc<Shared>,
    supervisor: Waker,
    reports: Receiver<Report>,
    open: Option<DeviceFeed>,
    /// How often the device wanted samples that were not there.
    pub underruns: u64,
}

impl Speaker {
    /// A speaker on the device that is meant; it need not be there.
    ///
    /// # Errors
    /// If several devices are called so, or the system refuses a thread.
    pub fn new(choice: DeviceChoice, waker: Waker) -> Result<Speaker, AppError> {
        if let DeviceChoice::Named(wanted) = &choice
            && let Err(error @ SoundError::Name(NameError::Several { .. })) = sound::resolve(wanted)
        {
            return Err(error.into());
        }
        let clock = Clock::new();
        let waiter = Waiter::new().map_err(|source| AppError::Os {
            action: "setting up the sound device's thread",
            source,
        })?;
        let shared = Arc::new(Shared {
            wanted_at_us: AtomicU64::new(0),
            end_at_us: AtomicU64::new(u64::MAX),
        });
        let (reporter, reports) = bounded(MAX_REPORTS);
        let supervisor = waiter.waker();
        let watched = shared.clone();
        thread::spawn("sound", move || {
            supervise(&choice, &watched, &waiter, clock, &reporter, &waker);
        })?;
        Ok(Speaker {
            clock,
            shared,
            supervisor,
            reports,
            open: None,
            underruns: 0,
        })
    }

    /// There is, or will soon be, something to play.
    pub fn want(&mut self) {
        let now_us = self.clock.now().as_micros();
        let before_us = self.shared.wanted_at_us.swap(now_us, Ordering::Relaxed);
        if now_us.saturating_sub(before_us) > WAKE_AFTER_US {
            self.supervisor.wake();
        }
    }

    /// Nothing follows for a while.
    pub fn pause(&mut self) {
        if let Some(open) = &mut self.open {
            open.pause();
        }
    }

    /// What follows comes later than the device has sound for.
    pub fn interrupt(&mut self) {
        if let Some(open) = &mut self.open {
            open.interrupt();
        }
    }

    /// Plays one block, `late_us` after its play time; nowhere, if there is no device.
    pub fn write(&mut self, block: &mut [f32; FRAME_VALUES], late_us: i64) {
        self.want();
        if let Some(open) = &mut self.open {
            self.underruns += u64::from(open.found_missing());
            open.write(block, late_us);
        }
    }

    /// What happened to the device since it was last asked.
    pub fn poll_news(&mut self) -> Option<DeviceNews> {
        loop {
            let news = match self.reports.try_recv().ok()? {
                Report::Opened { feed, news } => {
                    self.open = Some(*feed);
                    news
                }
                Report::Lost { news } => {
                    self.open = None;
                    news
                }
                Report::Told(news) => Some(news),
                Report::Released => {
                    self.open = None;
                    None
                }
                Report::Stopped => None,
            };
            if news.is_some() {
                return news;
            }
        }
    }

    /// Plays what is queued to its end, and lets the device go.
    pub fn finish(mut self) {
        self.pause();
        let open = self.open.as_ref();
        let queued = open.map_or(Duration::ZERO, DeviceFeed::queued);
        let device = open.map_or(Duration::ZERO, |open| open.period() * 3);
        let end = self.clock.now() + queued + device;
        self.shared
            .end_at_us
            .store(end.as_micros(), Ordering::Relaxed);
        self.supervisor.wake();
        let patience = queued + device + LAST_WORDS;
        while let Ok(report) = self.reports.recv_timeout(patience) {
            if matches!(report, Report::Stopped) {
                break;
            }
        }
    }
}

/// Opens, watches and reopens the device until the speaker is finished or gone.
fn supervise(
    choice: &DeviceChoice,
    shared: &Shared,
    waiter: &Waiter,
    clock: Clock,
    reporter: &Sender<Report>,
    waker: &Waker,
) {
    let tell = |report| {
        let told = reporter.send(report).is_ok();
        waker.wake();
        told
    };
    let mut watch = DeviceWatch::new();
    let mut device: Option<OpenDevice> = None;
    loop {
        let now = clock.now();
        let end_at_us = shared.end_at_us.load(Ordering::Relaxed);
        if now.as_micros() >= end_at_us {
            drop(device);
            tell(Report::Stopped);
            return;
        }
        let wanted_at_us = shared.wanted_at_us.load(Ordering::Relaxed);
        if wanted_at_us > 0 {
            watch.handle_wanted(Instant::from_micros(wanted_at_us));
        }
        if let Some(device) = &device {
            watch.handle_health(now, health_of(&device.health));
        }
        watch.handle_timeout(now);
        while let Some(action) = watch.poll_action() {
            let report = perform(action, choice, &mut watch, &mut device, &clock);
            if !report.is_none_or(tell) {
                return; // the listener is gone
            }
            // First the news, then the stream: dropping it can take as long as the server hangs.
            if matches!(action, Action::Lost { .. }) {
                device = None;
            }
        }
        let end = Some(Instant::from_micros(end_at_us)).filter(|_| end_at_us < u64::MAX);
        let next = watch.poll_timeout().into_iter().chain(end).min();
        waiter.wait([], next, &clock);
    }
}

/// Does what the watch decided; what there is to report.
fn perform(
    action: Action,
    choice: &DeviceChoice,
    watch: &mut DeviceWatch,
    device: &mut Option<OpenDevice>,
    clock: &Clock,
) -> Option<Report> {
    let name = || {
        device
            .as_ref()
            .map_or_else(|| name_of(choice), |device| device.name.clone())
    };
    let news = |state, name, reason| DeviceNews {
        state,
        name,
        reason,
    };
    let waiting = |watch: &mut DeviceWatch, reason| {
        let is_news = watch.handle_failed(clock.now());
        is_news.then(|| Report::Told(news("waiting", name_of(choice), Some(reason))))
    };
    match action {
        Action::Check => {
            let missing = sound::check(choice).err();
            missing.and_then(|error| waiting(watch, error.to_string()))
        }
        Action::Open => match usable(sound::open(choice, debug::device_hz())) {
            Ok((open, feed)) => {
                let is_news = watch.handle_opened(clock.now());
                let told = news("opened", open.name.clone(), None);
                *device = Some(open);
                Some(Report::Opened {
                    feed: Box::new(feed),
                    news: is_news.then_some(told),
                })
            }
            Err(reason) => waiting(watch, reason),
        },
        Action::Lost { is_news } => {
            let told = news("lost", name(), None);
            Some(Report::Lost {
                news: is_news.then_some(told),
            })
        }
        Action::Returned => Some(Report::Told(news("opened", name(), None))),
        Action::Release => {
            *device = None;
            Some(Report::Released)
        }
    }
}

/// A device whose rate we cannot make is as good as none: it is closed, for others to use.
fn usable<D>(opened: Result<(D, Feed), SoundError>) -> Result<(D, DeviceFeed), String> {
    let (device, feed) = opened.map_err(|error| error.to_string())?;
    let feed =
        DeviceFeed::new(feed).map_err(|rate| format!("a rate of {rate} is not supported"))?;
    Ok((device, feed))
}

fn health_of(health: &DeviceHealth) -> Health {
    Health {
        callbacks: health.callbacks.load(Ordering::Relaxed),
        broken: health.broken.load(Ordering::Relaxed),
    }
}

fn name_of(choice: &DeviceChoice) -> String {
    match choice {
        DeviceChoice::Default => "default".into(),
        DeviceChoice::Named(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ringbuf::HeapRb;
    use ringbuf::traits::Split;

    use super::*;

    #[test]
    fn device_at_a_rate_that_we_cannot_make_is_closed_and_counts_as_missing() {
        for (rate, is_usable) in [(4_000, false), (44_100, true)] {
            let device = Rc::new(());
            let feed = Feed {
                ring: HeapRb::new(2).split().0,
                rate,
                period: Duration::from_millis(20),
                health: Arc::new(DeviceHealth::default()),
            };
            let usable = usable(Ok((device.clone(), feed)));
            assert_eq!(Rc::strong_count(&device), 1 + usize::from(is_usable));
            match usable {
                Ok(_) => assert!(is_usable),
                Err(reason) => assert!(reason.contains("4000 Hz"), "{reason}"),
            }
        }
    }
}
