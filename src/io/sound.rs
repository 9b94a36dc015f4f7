//! Which sound devices are there, and how is one opened? cpal with its sharp edges covered (FACTS, "cpal 0.18").
//!
//! A device is opened at its own rate and fed through a ring, from which its thread takes what it needs ([`sound_callback`]).
//! Host, device and stream are made anew for every try: nothing of a server that was restarted is of any use. Opening and
//! dropping can block for as long as a server hangs, so neither belongs on a thread that has deadlines.
//!
//! [`sound_callback`]: super::sound_callback

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig, SupportedBufferSize,
};
use ringbuf::traits::{Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::clock::Clock;
use super::device_names::{self, NameError, OutputDevice};
use super::sound_callback::{DeviceHealth, Stamps, Trouble, fill};

/// Frames that a device is asked to take at a time, of which ALSA makes two thirds: 43 ms at 48 kHz. Half of it is enough on a
/// machine that never stalls, and costs a fifth more CPU time.
const BUFFER_FRAMES: u32 = 3_072;
/// The ring holds this much; blocks are written some 0.2 s before they leave the device, and wait a part of that in its own buffer.
const RING_MS: u32 = 500;
/// The same for a device that chooses its buffer itself: some take a second at a time.
const LONG_RING_MS: u32 = 8_000;

/// Callbacks that may wait to be looked at: two seconds and more.
const MAX_STAMPS: usize = 256;
/// So often both clocks are read to compare them.
const CLOCK_PAIRS: usize = 4;

/// What the system's default device is called, whichever it is.
pub const DEFAULT: &str = "default";

/// Which device is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// What the system plays on.
    Default,
    /// A name, or its beginning.
    Named(String),
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// No device is meant, or more than one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The device or the sound server says no.
    #[error("{action} {device}: {reason}")]
    Device {
        /// What was being done.
        action: &'static str,
        /// Which one.
        device: String,
        /// What the system says.
        reason: String,
    },
}

/// A device that plays what is put into its [`Feed`]. Dropping it ends the sound; that can take as long as a server hangs.
pub struct OpenDevice {
    /// Its name.
    pub name: String,
    /// In Hz.
    pub rate: u32,
    /// What its thread says.
    pub health: Arc<DeviceHealth>,
    stream: cpal::Stream,
}

impl OpenDevice {
    /// Puts what the device says of the time on the local clock: both are read one after the other, and the closest of some pairs counts.
    /// A clock that stood still with the machine (suspend) is right again after the next time.
    pub fn compare_clocks(&self, clock: &Clock) {
        let pair = || {
            let before = clock.now().as_micros();
            let theirs_us = self.stream.now().as_nanos() / 1_000;
            let after = clock.now().as_micros();
            let ours_us = before.midpoint(after);
            (after - before, ours_us as i64 - theirs_us as i64)
        };
        if let Some((_, offset_us)) = (0..CLOCK_PAIRS).map(|_| pair()).min() {
            self.health
                .clock_offset_us
                .store(offset_us, Ordering::Relaxed);
        }
    }
}

/// The way to a device, for the thread that makes the sound.
pub struct Feed {
    /// Stereo pairs at `rate`.
    pub ring: HeapProd<f32>,
    /// What the device says each time it takes some.
    pub stamps: HeapCons<Stamps>,
    /// In Hz.
    pub rate: u32,
    /// How much the device takes at a time.
    pub period: Duration,
    /// What its thread says.
    pub health: Arc<DeviceHealth>,
}

/// All output devices that a person would call so, the default one first.
///
/// # Errors
/// If the system does not tell.
pub fn list() -> Result<Vec<OutputDevice>, SoundError> {
    let listed = quietly(|| list_devices(&cpal::default_host()))?;
    let devices = listed.into_iter().map(|(device, _)| device);
    Ok(devices.filter(device_names::is_device).collect())
}

/// The device that `wanted` names: in full, or by the beginning of its id or description.
///
/// # Errors
/// If several do, or none, or if the system does not tell.
pub fn resolve(wanted: &str) -> Result<OutputDevice, SoundError> {
    let (device, _) = quietly(|| find(&cpal::default_host(), wanted))?;
    Ok(device)
}

fn find(host: &cpal::Host, wanted: &str) -> Result<(OutputDevice, cpal::Device), SoundError> {
    let (names, handles): (Vec<_>, Vec<_>) = list_devices(host)?.into_iter().unzip();
    let meant = device_names::find(&names, wanted)?;
    let mut pairs = names.iter().zip(handles);
    let (_, handle) = pairs
        .find(|(name, _)| *name == meant)
        .ok_or_else(|| refused(&meant.id, "it is not there"))?;
    Ok((meant.clone(), handle))
}

fn list_devices(host: &cpal::Host) -> Result<Vec<(OutputDevice, cpal::Device)>, SoundError> {
    let failed = |error: cpal::Error| device_error("listing", "the output devices", &error);
    // The default one first; the system need not list it.
    let default = host.default_output_device();
    let listed = host.output_devices().map_err(failed)?;
    let mut devices: Vec<(OutputDevice, cpal::Device)> = Vec::new();
    for handle in default.into_iter().chain(listed) {
        let is_default = devices.is_empty();
        if let Ok(id) = handle.id()
            && devices.iter().all(|(other, _)| other.id != id.id())
        {
            let device = OutputDevice {
                id: id.id().to_owned(),
                description: handle.to_string(),
                is_default,
            };
            devices.push((device, handle));
        }
    }
    Ok(devices)
}

/// Whether the device is there and might be opened now. Nothing is played.
///
/// # Errors
/// If it is not there, is busy, or cannot be used.
pub fn check(choice: &DeviceChoice) -> Result<(), SoundError> {
    quietly(|| {
        let (device, name) = chosen(&cpal::default_host(), choice)?;
        let told = device.default_output_config();
        told.map_err(|error| device_error("opening", &name, &error))?;
        Ok(())
    })
}

/// Opens a device and starts it, at its own rate if no other is asked for; it plays silence until something is put into its ring.
///
/// # Errors
/// If it is not there, is busy, or cannot be used.
pub fn open(
    choice: &DeviceChoice,
    asked_hz: Option<u32>,
) -> Result<(OpenDevice, Feed), SoundError> {
    quietly(|| {
        let host = cpal::default_host();
        let (device, name) = chosen(&host, choice)?;
        start_device(&device, name, asked_hz)
    })
}

fn chosen(host: &cpal::Host, choice: &DeviceChoice) -> Result<(cpal::Device, String), SoundError> {
    match choice {
        DeviceChoice::Default => {
            let none = || refused(DEFAULT, "this machine has no output device");
            let device = host.default_output_device().ok_or_else(none)?;
            Ok((device, DEFAULT.to_owned()))
        }
        DeviceChoice::Named(wanted) => {
            let (name, device) = find(host, wanted)?;
            Ok((device, name.id))
        }
    }
}

fn start_device(
    device: &cpal::Device,
    name: String,
    asked_hz: Option<u32>,
) -> Result<(OpenDevice, Feed), SoundError> {
    let failed = |error: cpal::Error| device_error("opening", &name, &error);
    let supported = device.default_output_config().map_err(failed)?;
    let frames = match supported.buffer_size() {
        SupportedBufferSize::Range { min, max } => BUFFER_FRAMES.clamp(*min, (*max).max(*min)),
        SupportedBufferSize::Unknown => BUFFER_FRAMES,
    };
    let mut config = supported.config();
    config.buffer_size = BufferSize::Fixed(frames);
    config.sample_rate = asked_hz.unwrap_or(config.sample_rate);
    let format = supported.sample_format();
    let (stream, (ring, stamps), health) = match start_as(format, device, config) {
        // Whatever it likes, which can be a long one.
        Err(error) if error.kind() == ErrorKind::UnsupportedConfig => {
            config.buffer_size = BufferSize::Default;
            start_as(format, device, config)
        }
        started => started,
    }
    .map_err(failed)?;
    let period = stream.buffer_size().unwrap_or(frames);
    let rate = config.sample_rate;
    let feed = Feed {
        ring,
        stamps,
        rate,
        period: Duration::from_micros(u64::from(period) * 1_000_000 / u64::from(rate.max(1))),
        health: health.clone(),
    };
    let open = OpenDevice {
        name,
        rate,
        health,
        stream,
    };
    Ok((open, feed))
}

fn start_as(
    format: SampleFormat,
    device: &cpal::Device,
    config: StreamConfig,
) -> Result<Started, cpal::Error> {
    match format {
        SampleFormat::F32 => start::<f32>(device, config),
        SampleFormat::F64 => start::<f64>(device, config),
        SampleFormat::I32 => start::<i32>(device, config),
        SampleFormat::I24 => start::<cpal::I24>(device, config),
        SampleFormat::I16 => start::<i16>(device, config),
        SampleFormat::I8 => start::<i8>(device, config),
        SampleFormat::U32 => start::<u32>(device, config),
        SampleFormat::U24 => start::<cpal::U24>(device, config),
        SampleFormat::U16 => start::<u16>(device, config),
        SampleFormat::U8 => start::<u8>(device, config),
        other => Err(cpal::Error::with_message(
            ErrorKind::UnsupportedOperation,
            format!("its sample format {other} is not supported"),
        )),
    }
}

type Started = (
    cpal::Stream,
    (HeapProd<f32>, HeapCons<Stamps>),
    Arc<DeviceHealth>,
);

fn start<T>(device: &cpal::Device, config: StreamConfig) -> Result<Started, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let in_ring = |ms: u32| ms as usize * config.sample_rate as usize / 1_000;
    let frames = match config.buffer_size {
        // Some devices cannot take as little as they are asked to.
        BufferSize::Fixed(asked) => in_ring(RING_MS).max(4 * asked as usize),
        BufferSize::Default => in_ring(LONG_RING_MS),
    };
    let (producer, mut consumer): (HeapProd<f32>, HeapCons<f32>) = HeapRb::new(2 * frames).split();
    let (mut tell, stamps) = HeapRb::new(MAX_STAMPS).split();
    let health = Arc::new(DeviceHealth::default());
    let (for_data, for_errors) = (health.clone(), health.clone());
    let channels = usize::from(config.channels);
    let mut trouble = Trouble::default();
    let mut frames = 0;
    let stream = device.build_output_stream(
        config,
        move |out: &mut [T], info| {
            let at = info.timestamp();
            // What there is no room for is missed: whoever feeds the device looks at them often.
            let _ = tell.try_push(Stamps {
                frames,
                called_ns: at.callback.as_nanos() as u64,
                leaves_ns: at.playback.as_nanos() as u64,
            });
            frames += (out.len() / channels.max(1)) as u64;
            fill(&mut consumer, out, channels, &for_data);
        },
        move |_| trouble.handle_error(&for_errors),
        None,
    )?;
    stream.play()?;
    Ok((stream, (producer, stamps), health))
}

fn refused(device: &str, reason: &str) -> SoundError {
    SoundError::Device {
        action: "opening",
        device: device.to_owned(),
        reason: reason.to_owned(),
    }
}

fn device_error(action: &'static str, device: &str, error: &cpal::Error) -> SoundError {
    SoundError::Device {
        action,
        device: device.to_owned(),
        // The library writes sentences; this becomes a part of one.
        reason: error.to_string().trim_end_matches('.').to_owned(),
    }
}

/// Runs `body` without what libasound writes to standard error by itself: a missing device is tried four times a second, and
/// its errors come back as values, too.
#[cfg(target_os = "linux")]
fn quietly<T>(body: impl FnOnce() -> T) -> T {
    // It collects the lines of this thread from now on; a new one drops those of the one before.
    let _lines = alsa::Output::local_error_handler();
    body()
}

#[cfg(not(target_os = "linux"))]
fn quietly<T>(body: impl FnOnce() -> T) -> T {
    body()
}
