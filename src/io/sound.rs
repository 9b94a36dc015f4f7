//! Which sound devices are there, and how is one opened? cpal with its sharp edges covered (FACTS, "cpal 0.18").
//!
//! A device is opened at its own rate and fed through a ring, from which its thread takes what it needs ([`sound_callback`]).
//! Host, device and stream are made anew for every try: nothing of a server that was restarted is of any use. Opening and
//! dropping can block for as long as a server hangs, so neither belongs on a thread that has deadlines.
//!
//! [`sound_callback`]: super::sound_callback

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig, SupportedBufferSize,
};
use ringbuf::traits::Split;
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::sound_callback::{DeviceHealth, Trouble, fill};

/// Frames that a device is asked to take at a time, of which ALSA makes two thirds: 43 ms at 48 kHz. Half of it is enough on a
/// machine that never stalls, and costs a fifth more CPU time.
const BUFFER_FRAMES: u32 = 3_072;
/// The ring holds this much; the target of the servo is far below.
const RING_SECONDS: u32 = 1;
/// The same for a device that chooses its buffer itself: some take a second at a time.
const LONG_RING_SECONDS: u32 = 8;

/// Which device is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// What the system plays on.
    Default,
    /// A name, or its beginning.
    Named(String),
}

/// An output device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputDevice {
    /// What the system calls it: `default`, `hw:CARD=PCH,DEV=0`.
    pub id: String,
    /// What people call it; may be the same for several.
    pub description: String,
    /// The one that is used when nothing else was asked for.
    pub is_default: bool,
}

/// Devices as a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList(pub Vec<OutputDevice>);

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// More than one device is called so.
    #[error(
        "several output devices begin with `{wanted}`: {matching}; write more of the name (see lanradio devices)"
    )]
    Several {
        /// What was asked for.
        wanted: String,
        /// Those that match.
        matching: DeviceList,
    },
    /// No device is called so.
    #[error(
        "no output device begins with `{wanted}`; there are: {available} (see lanradio devices)"
    )]
    NoneSuch {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: DeviceList,
    },
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
    /// What its thread says.
    pub health: Arc<DeviceHealth>,
    _stream: cpal::Stream,
}

/// The way to a device, for the thread that makes the sound.
pub struct Feed {
    /// Stereo pairs at `rate`.
    pub ring: HeapProd<f32>,
    /// In Hz.
    pub rate: u32,
    /// How much the device takes at a time.
    pub period: Duration,
    /// What its thread says.
    pub health: Arc<DeviceHealth>,
}

/// Names that libasound lists like devices although no sound comes out of them: converters, and bridges to what is rarely there.
/// They can be asked for by name.
const NO_DEVICES: [&str; 9] = [
    "null",
    "lavrate",
    "samplerate",
    "speexrate",
    "speex",
    "upmix",
    "vdownmix",
    "jack",
    "oss",
];

/// All output devices that a person would call so, the default one first.
///
/// # Errors
/// If the system does not tell.
pub fn list() -> Result<Vec<OutputDevice>, SoundError> {
    let mut devices = quietly(list_devices)?;
    devices.retain(is_device);
    Ok(devices)
}

fn is_device(device: &OutputDevice) -> bool {
    !NO_DEVICES.contains(&device.id.as_str())
}

/// The device that `wanted` names: in full, or by the beginning of its id or description.
///
/// # Errors
/// If several do, or none, or if the system does not tell.
pub fn resolve(wanted: &str) -> Result<OutputDevice, SoundError> {
    quietly(|| resolve_in(&list_devices()?, wanted))
}

/// What is no device for a person does not stand in the way of one, and has to be named in full.
fn resolve_in(all: &[OutputDevice], wanted: &str) -> Result<OutputDevice, SoundError> {
    if let Some(exact) = all.iter().find(|device| device.id == wanted) {
        return Ok(exact.clone());
    }
    let devices: Vec<OutputDevice> = all.iter().filter(|d| is_device(d)).cloned().collect();
    find(&devices, wanted).cloned()
}

fn list_devices() -> Result<Vec<OutputDevice>, SoundError> {
    let failed = |error: cpal::Error| device_error("listing", "the output devices", &error);
    let host = cpal::default_host();
    // The default one first; the system need not list it.
    let default = host.default_output_device();
    let listed = host.output_devices().map_err(failed)?;
    let mut devices: Vec<OutputDevice> = Vec::new();
    for device in default.into_iter().chain(listed) {
        let is_default = devices.is_empty();
        if let Some(id) = id_of(&device)
            && devices.iter().all(|other| other.id != id)
        {
            devices.push(OutputDevice {
                description: device.to_string(),
                id,
                is_default,
            });
        }
    }
    Ok(devices)
}

/// The one device of `devices` that `wanted` names: in full, or by the beginning of its id or description.
///
/// # Errors
/// If several do, or none.
fn find<'a>(devices: &'a [OutputDevice], wanted: &str) -> Result<&'a OutputDevice, SoundError> {
    let is = |text: &str| text.eq_ignore_ascii_case(wanted);
    let begins = |text: &str| {
        let start = text.get(..wanted.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    if let Some(exact) = devices.iter().find(|device| is(&device.id)) {
        return Ok(exact);
    }
    let matching: Vec<&OutputDevice> = devices
        .iter()
        .filter(|device| begins(&device.id) || begins(&device.description))
        .collect();
    let wanted = wanted.to_owned();
    match matching[..] {
        [only] => Ok(only),
        [] => Err(SoundError::NoneSuch {
            wanted,
            available: DeviceList(devices.to_vec()),
        }),
        _ => Err(SoundError::Several {
            wanted,
            matching: DeviceList(matching.into_iter().cloned().collect()),
        }),
    }
}

/// Opens a device and starts it; it plays silence until something is put into its ring.
///
/// # Errors
/// If it is not there, is busy, or cannot be used.
pub fn open(choice: &DeviceChoice) -> Result<(OpenDevice, Feed), SoundError> {
    quietly(|| {
        let host = cpal::default_host();
        let (device, name) = chosen(&host, choice)?;
        start_device(&device, name)
    })
}

fn chosen(host: &cpal::Host, choice: &DeviceChoice) -> Result<(cpal::Device, String), SoundError> {
    let (device, name) = match choice {
        DeviceChoice::Default => (host.default_output_device(), "default".to_owned()),
        DeviceChoice::Named(wanted) => {
            let name = resolve_in(&list_devices()?, wanted)?.id;
            let devices = host.output_devices();
            let mut devices = devices.map_err(|error| device_error("finding", &name, &error))?;
            let device = devices.find(|device| id_of(device).as_ref() == Some(&name));
            (device, name)
        }
    };
    let device = device.ok_or_else(|| refused(&name, "this machine has no output device"))?;
    Ok((device, name))
}

fn start_device(device: &cpal::Device, name: String) -> Result<(OpenDevice, Feed), SoundError> {
    let failed = |error: cpal::Error| device_error("opening", &name, &error);
    let supported = device.default_output_config().map_err(failed)?;
    let frames = match supported.buffer_size() {
        SupportedBufferSize::Range { min, max } => BUFFER_FRAMES.clamp(*min, (*max).max(*min)),
        SupportedBufferSize::Unknown => BUFFER_FRAMES,
    };
    let mut config = supported.config();
    config.buffer_size = BufferSize::Fixed(frames);
    let format = supported.sample_format();
    let (stream, ring, health) = match start_as(format, device, config) {
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
        rate,
        period: Duration::from_micros(u64::from(period) * 1_000_000 / u64::from(rate.max(1))),
        health: health.clone(),
    };
    let open = OpenDevice {
        name,
        health,
        _stream: stream,
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

type Started = (cpal::Stream, HeapProd<f32>, Arc<DeviceHealth>);

fn start<T>(device: &cpal::Device, config: StreamConfig) -> Result<Started, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let seconds = match config.buffer_size {
        BufferSize::Fixed(_) => RING_SECONDS,
        BufferSize::Default => LONG_RING_SECONDS,
    };
    let (producer, mut consumer): (HeapProd<f32>, HeapCons<f32>) =
        HeapRb::new((2 * seconds * config.sample_rate) as usize).split();
    let health = Arc::new(DeviceHealth::default());
    let (for_data, for_errors) = (health.clone(), health.clone());
    let channels = usize::from(config.channels);
    let mut trouble = Trouble::default();
    let stream = device.build_output_stream(
        config,
        move |out: &mut [T], _| fill(&mut consumer, out, channels, &for_data),
        move |_| trouble.handle_error(&for_errors),
        None,
    )?;
    stream.play()?;
    Ok((stream, producer, health))
}

fn id_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
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

impl fmt::Display for OutputDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id == self.description {
            return f.write_str(&self.id);
        }
        write!(f, "{} ({})", self.id, self.description)
    }
}

impl fmt::Display for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(OutputDevice::to_string).collect();
        f.write_str(&if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Vec<OutputDevice> {
        let table = [
            ("default", "Default Audio Device"),
            ("hw:CARD=PCH,DEV=0", "HDA Intel PCH, ALC257"),
            ("plughw:CARD=PCH,DEV=0", "HDA Intel PCH, ALC257"),
            ("hw", "A card that is called like a prefix"),
            ("pulse", "PulseAudio Sound Server"),
            ("übung", "Übungsraum"),
        ];
        let device = |(id, description): (&str, &str)| OutputDevice {
            id: id.into(),
            description: description.into(),
            is_default: id == "default",
        };
        table.map(device).to_vec()
    }

    #[test]
    fn device_is_found_by_its_name_or_by_the_beginning_of_it() {
        let devices = devices();
        for (wanted, id) in [
            ("pulse", "pulse"),
            ("pul", "pulse"),
            ("PulseAudio", "pulse"),
            ("hw", "hw"),
            ("HW:card=pch", "hw:CARD=PCH,DEV=0"),
            ("Ü", "übung"),
            ("plughw:", "plughw:CARD=PCH,DEV=0"),
        ] {
            assert_eq!(find(&devices, wanted).unwrap().id, id, "{wanted}");
        }
    }

    #[test]
    fn converters_stand_in_nobodys_way_and_are_found_in_full() {
        let mut all = devices();
        for id in ["speex", "speexrate"] {
            let description = "Rate Converter".into();
            all.push(OutputDevice {
                id: id.into(),
                description,
                is_default: false,
            });
        }
        all.push(OutputDevice {
            id: "speakers".into(),
            description: "In the hall".into(),
            is_default: false,
        });
        assert_eq!(resolve_in(&all, "spe").unwrap().id, "speakers");
        assert_eq!(resolve_in(&all, "speex").unwrap().id, "speex");
        assert!(resolve_in(&all, "Rate").is_err());
    }

    #[test]
    fn name_of_several_or_of_none_is_refused_with_a_list() {
        let devices = devices();
        let several = find(&devices, "HDA Intel").unwrap_err().to_string();
        assert!(several.contains("hw:CARD=PCH,DEV=0") && !several.contains("pulse"));
        let none = find(&devices, "usb").unwrap_err().to_string();
        assert!(devices.iter().all(|device| none.contains(&device.id)));
    }
}
