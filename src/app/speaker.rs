//! How does a listener's sound reach a device that comes and goes?
//!
//! The listener's thread converts each block to the device's rate and puts it into the ring; the device's own thread takes it from
//! there. A third one, which has no deadlines, opens the device, watches it and opens it again (`supervise`): all that can
//! block for seconds happens there. While there is no device, blocks are dropped, so that the sound is at its right
//! place of the timeline when the device returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::debug;
use super::device_feed::{DeviceFeed, Due, InStep};
use super::error::AppError;
use crate::io::clock::Clock;
use crate::io::device_memory::DeviceMemory;
use crate::io::device_names::NameError;
use crate::io::sound::{self, DeviceChoice, Feed, OpenDevice, SoundError};
use crate::io::sound_callback::DeviceHealth;
use crate::io::thread;
use crate::io::wait::{Waiter, Waker};
use crate::media::opus::FRAME_VALUES;
use crate::playout::device_clock::Learned;
use crate::playout::device_watch::{Action, DeviceWatch, Health};
use crate::time::Instant;

/// Reports that wait for the listener; it reads them with every block and once a second.
const MAX_REPORTS: usize = 16;
/// Longest time that the end of the sound may take, beyond what is queued.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What is heard a little later than the device says is heard, too.
const LAST_PERIOD: Duration = Duration::from_millis(50);
/// After this much of nothing to play, the supervisor may have let the device go: it is woken.
const WAKE_AFTER_US: u64 = 1_000_000;
/// How long before it is heard a block is written while no device has said how long it takes.
const USUAL_LEAD: Duration = Duration::from_millis(200);
/// What is known of a device is written down when its rate has changed by this much, in ppm, and no more often than this.
const NEWS_PPM: f64 = 0.5;
/// So well, in ppm, a device's rate is known if it may be another one.
const UNSURE_PPM: f64 = 15.0;
const REMEMBER_EVERY: Duration = Duration::from_secs(60);
/// The device's clock is compared with ours so often: they differ where the machine was suspended, and by what NTP corrects ours.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

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
    /// What is known of the device: how much slower than nominal it is, in parts per billion (`i64::MIN`: nothing), and the standard
    /// deviation of that.
    slow_ppb: AtomicI64,
    sigma_ppb: AtomicU64,
}

impl Shared {
    /// What the listener's thread knows of the device.
    fn learn(&self, learned: Learned) {
        let ppb = |ppm: f64| ppm * 1e3;
        self.sigma_ppb
            .store(ppb(learned.sigma_ppm) as u64, Ordering::Relaxed);
        self.slow_ppb
            .store(ppb(learned.slow_ppm) as i64, Ordering::Relaxed);
    }

    fn learned(&self) -> Option<Learned> {
        let slow_ppb = self.slow_ppb.load(Ordering::Relaxed);
        (slow_ppb != i64::MIN).then(|| Learned {
            slow_ppm: slow_ppb as f64 / 1e3,
            sigma_ppm: self.sigma_ppb.load(Ordering::Relaxed) as f64 / 1e3,
        })
    }
}

/// A sound device, as the listener's thread sees it.
pub struct Speaker {
    clock: Clock,
    shared: Arc<Shared>,
    supervisor: Waker,
    reports: Receiver<Report>,
    open: Option<DeviceFeed>,
    /// What the device needed when it was last there.
    last_lead: Duration,
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
            slow_ppb: AtomicI64::new(i64::MIN),
            sigma_ppb: AtomicU64::new(0),
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
            last_lead: USUAL_LEAD,
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

    /// How long before it is heard a block is to be written.
    pub fn lead(&self) -> Duration {
        let lead = self.open.as_ref().and_then(DeviceFeed::lead);
        lead.unwrap_or(self.last_lead)
    }

    /// How well what is heard is in step; none while nothing is.
    pub fn in_step(&self) -> Option<InStep> {
        self.open.as_ref().and_then(DeviceFeed::in_step)
    }

    /// Plays one block; nowhere, if there is no device.
    pub(super) fn write(&mut self, block: &mut [f32; FRAME_VALUES], due: Due) {
        self.want();
        if let Some(open) = &mut self.open {
            self.underruns += u64::from(open.found_missing());
            open.write(block, due);
            self.last_lead = open.lead().unwrap_or(self.last_lead);
            if let Some(learned) = open.learned() {
                self.shared.learn(learned);
            }
        }
    }

    /// What happened to the device since it was last asked.
    pub fn poll_news(&mut self) -> Option<DeviceNews> {
        // Also while nothing plays: a device that nobody listened to would have to be learned anew.
        if let Some(open) = &mut self.open {
            open.listen();
        }
        loop {
            let news = match self.reports.try_recv().ok()? {
                Report::Opened { feed, news } => {
                    // What is known of another device does not hold for this one.
                    self.shared.slow_ppb.store(i64::MIN, Ordering::Relaxed);
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
        let device = open.map_or(Duration::ZERO, |open| open.latency() + LAST_PERIOD);
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
    let mut remembered = Remembered::new();
    let mut compare_at = Instant::default();
    loop {
        let now = clock.now();
        let end_at_us = shared.end_at_us.load(Ordering::Relaxed);
        if now.as_micros() >= end_at_us {
            remembered.keep(device.as_ref(), shared);
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
            remembered.look(device, shared, now);
        }
        watch.handle_timeout(now);
        while let Some(action) = watch.poll_action() {
            if matches!(action, Action::Lost { .. } | Action::Release) {
                remembered.keep(device.as_ref(), shared);
            }
            if matches!(action, Action::Open) {
                remembered.begin(now);
            }
            let report = perform(
                action,
                choice,
                (&mut watch, &remembered),
                &mut device,
                &clock,
            );
            if !report.is_none_or(tell) {
                return; // the listener is gone
            }
            // First the news, then the stream: dropping it can take as long as the server hangs.
            if matches!(action, Action::Lost { .. }) {
                device = None;
            }
        }
        // It may hang with its server: what there is to tell has been told.
        if let Some(device) = &device
            && now >= compare_at
        {
            compare_at = now + COMPARE_EVERY;
            device.compare_clocks(&clock);
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
    (watch, remembered): (&mut DeviceWatch, &Remembered),
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
        Action::Open => match usable(sound::open(choice, debug::device_hz()), remembered) {
            Ok((open, feed)) => {
                open.compare_clocks(clock);
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
fn usable<D: Named>(
    opened: Result<(D, Feed), SoundError>,
    remembered: &Remembered,
) -> Result<(D, DeviceFeed), String> {
    let (device, feed) = opened.map_err(|error| error.to_string())?;
    let mut learned = remembered.memory.recall(device.name(), feed.rate);
    if device.name() == sound::DEFAULT {
        // It may be another one today.
        learned = learned.map(|learned| learned.at_least(UNSURE_PPM));
    }
    let feed = DeviceFeed::new(feed, learned)
        .map_err(|rate| format!("a rate of {rate} is not supported"))?;
    Ok((device, feed))
}

/// What has a name under which its rate is remembered.
trait Named {
    fn name(&self) -> &str;
}

impl Named for OpenDevice {
    fn name(&self) -> &str {
        &self.name
    }
}

/// What is known of devices, on disk.
struct Remembered {
    memory: DeviceMemory,
    /// What was written last.
    kept_ppm: f64,
    look_at: Instant,
}

impl Remembered {
    fn new() -> Remembered {
        Remembered {
            memory: DeviceMemory::of_user(),
            kept_ppm: f64::INFINITY,
            look_at: Instant::default(),
        }
    }

    /// A device is opened, maybe another one than before.
    fn begin(&mut self, now: Instant) {
        (self.kept_ppm, self.look_at) = (f64::INFINITY, now + REMEMBER_EVERY);
    }

    /// Writes down what was learned of the device, now and then.
    fn look(&mut self, device: &OpenDevice, shared: &Shared, now: Instant) {
        if now >= self.look_at {
            self.look_at = now + REMEMBER_EVERY;
            self.keep(Some(device), shared);
        }
    }

    fn keep(&mut self, device: Option<&OpenDevice>, shared: &Shared) {
        let Some((device, learned)) = device.zip(shared.learned()) else {
            return;
        };
        if (self.kept_ppm - learned.slow_ppm).abs() < NEWS_PPM {
            return;
        }
        self.kept_ppm = learned.slow_ppm;
        if let Err(error) = self.memory.keep(&device.name, device.rate, learned) {
            // It is learned anew the next time; nobody has to do anything about it.
            tracing::debug!(%error, "not remembered");
        }
    }
}

fn health_of(health: &DeviceHealth) -> Health {
    Health {
        callbacks: health.callbacks.load(Ordering::Relaxed),
        broken: health.broken.load(Ordering::Relaxed),
    }
}

fn name_of(choice: &DeviceChoice) -> String {
    match choice {
        DeviceChoice::Default => sound::DEFAULT.into(),
        DeviceChoice::Named(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ringbuf::HeapRb;
    use ringbuf::traits::Split;

    use super::*;

    impl Named for Rc<()> {
        fn name(&self) -> &str {
            "of a test"
        }
    }

    #[test]
    fn device_at_a_rate_that_we_cannot_make_is_closed_and_counts_as_missing() {
        for (rate, is_usable) in [(4_000, false), (44_100, true)] {
            let device = Rc::new(());
            let feed = Feed {
                ring: HeapRb::new(2).split().0,
                stamps: HeapRb::new(2).split().1,
                rate,
                period: Duration::from_millis(20),
                health: Arc::new(DeviceHealth::default()),
            };
            let usable = usable(Ok((device.clone(), feed)), &Remembered::new());
            assert_eq!(Rc::strong_count(&device), 1 + usize::from(is_usable));
            match usable {
                Ok(_) => assert!(is_usable),
                Err(reason) => assert!(reason.contains("4000 Hz"), "{reason}"),
            }
        }
    }
}
