//! Which output device does a name mean?
//!
//! People write what the list of devices shows, or the beginning of it. ALSA lists one output of a card many times: as the
//! hardware itself (`hw:`), with conversions (`plughw:`), shared (`sysdefault:`, `dmix:`), by speaker layout (`front:`,
//! `surround51:`), and by the card's number as well as by its name, all described alike. That is one device for a person, so
//! entries of one card with one description are one choice, and of them the one is taken that converts formats.

use std::collections::BTreeSet;
use std::fmt;

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

/// Why a name means no device.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
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
}

/// Names that libasound lists like devices although no sound comes out of them: converters, and bridges to what is rarely there.
/// They can be asked for by name.
const NO_DEVICES: [&str; 10] = [
    "null",
    "lavrate",
    "samplerate",
    "speexrate",
    "speex",
    "upmix",
    "vdownmix",
    "jack",
    "oss",
    "usbstream",
];

/// The entries of one output of a card that convert formats, the best one first. Speaker layouts come after them, and last the
/// hardware itself, which takes only what it is built for.
const CONVERTING: [&str; 5] = ["plughw", "sysdefault", "default", "front", "dmix"];

/// Whether a person would call it a device.
pub fn is_device(device: &OutputDevice) -> bool {
    !NO_DEVICES.contains(&Entry::of(device).kind)
}

/// The device of `all` that `wanted` names: in full, or by the beginning of its id or description. What is no device for a
/// person does not stand in the way of one, and has to be named in full.
///
/// # Errors
/// If several do, or none.
pub fn find<'a>(all: &'a [OutputDevice], wanted: &str) -> Result<&'a OutputDevice, NameError> {
    let exact = |same: fn(&str, &str) -> bool| all.iter().find(|device| same(&device.id, wanted));
    if let Some(device) =
        exact(|id, wanted| id == wanted).or_else(|| exact(str::eq_ignore_ascii_case))
    {
        return Ok(device);
    }
    let devices: Vec<&OutputDevice> = all.iter().filter(|device| is_device(device)).collect();
    let begins = |text: &str| {
        let start = text.get(..wanted.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    let matching = devices
        .iter()
        .copied()
        .filter(|device| begins(&device.id) || begins(&device.description));
    let list = |devices: Vec<&OutputDevice>| DeviceList(devices.into_iter().cloned().collect());
    let (matching, wanted) = (choices(matching.collect()), wanted.to_owned());
    match matching[..] {
        [only] => Ok(only),
        [] => Err(NameError::NoneSuch {
            wanted,
            available: list(choices(devices)),
        }),
        _ => Err(NameError::Several {
            wanted,
            matching: list(matching),
        }),
    }
}

/// One of each output, in the order of the list.
fn choices(devices: Vec<&OutputDevice>) -> Vec<&OutputDevice> {
    let entries: Vec<Entry<'_>> = devices.into_iter().map(Entry::of).collect();
    let named: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| entry.card.is_some() && !entry.is_numbered())
        .map(|entry| entry.device.description.as_str())
        .collect();
    let mut chosen: Vec<Entry<'_>> = Vec::new();
    for entry in entries {
        // The same card by its number, which the entries by its name stand for.
        if entry.is_numbered() && named.contains(entry.device.description.as_str()) {
            continue;
        }
        match chosen.iter_mut().find(|other| other.is_same_output(&entry)) {
            Some(other) if entry.rank() < other.rank() => *other = entry,
            Some(_) => {}
            None => chosen.push(entry),
        }
    }
    chosen.into_iter().map(|entry| entry.device).collect()
}

/// What an id says: `KIND:CARD=card,DEV=number`.
#[derive(Clone, Copy)]
struct Entry<'a> {
    device: &'a OutputDevice,
    kind: &'a str,
    card: Option<&'a str>,
    number: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(device: &'a OutputDevice) -> Entry<'a> {
        let (kind, arguments) = device.id.split_once(':').unwrap_or((&device.id, ""));
        let argument = |name: &str| {
            let mut values = arguments.split(',');
            values.find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
        };
        Entry {
            device,
            kind,
            card: argument("CARD"),
            number: argument("DEV"),
        }
    }

    fn is_numbered(&self) -> bool {
        let digits = |card: &str| card.bytes().all(|byte| byte.is_ascii_digit());
        self.card.is_some_and(digits)
    }

    /// Numbers are those of the hardware for the hardware only: `hdmi:CARD=PCH,DEV=0` is `hw:CARD=PCH,DEV=3`. So the
    /// description tells outputs of a card apart, and the number two pieces of hardware that are described alike.
    fn is_same_output(&self, other: &Entry<'_>) -> bool {
        let is_hardware = |entry: &Entry<'_>| matches!(entry.kind, "hw" | "plughw");
        let both_hardware = is_hardware(self) && is_hardware(other);
        self.card.is_some()
            && self.card == other.card
            && self.device.description == other.device.description
            && (!both_hardware || self.number == other.number)
    }

    fn rank(&self) -> (bool, usize) {
        let converting = CONVERTING.iter().position(|kind| *kind == self.kind);
        (self.kind == "hw", converting.unwrap_or(CONVERTING.len()))
    }
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

    fn listed(table: &[(&str, &str)]) -> Vec<OutputDevice> {
        let device = |(id, description): &(&str, &str)| OutputDevice {
            id: (*id).into(),
            description: (*description).into(),
            is_default: *id == "default",
        };
        table.iter().map(device).collect()
    }

    fn devices() -> Vec<OutputDevice> {
        listed(&[
            ("default", "Default Audio Device"),
            ("hw:CARD=PCH,DEV=0", "HDA Intel PCH, ALC257"),
            ("plughw:CARD=PCH,DEV=0", "HDA Intel PCH, ALC257"),
            ("hw", "A card that is called like a prefix"),
            ("pulse", "PulseAudio Sound Server"),
            ("übung", "Übungsraum"),
        ])
    }

    /// What libasound and cpal list on a laptop with HDMI and two USB cards of one make.
    fn laptop() -> Vec<OutputDevice> {
        const ANALOG: &str = "HDA Intel PCH, ALC257 Analog";
        const HDMI: &str = "HDA Intel PCH, HDMI 0";
        const USB: &str = "USB Audio Device, USB Audio";
        listed(&[
            ("default", "Default Audio Device"),
            (
                "null",
                "Discard all samples (playback) or generate zero samples (capture)",
            ),
            ("pulse", "PulseAudio Sound Server"),
            ("hw:CARD=PCH,DEV=0", ANALOG),
            ("hw:CARD=PCH,DEV=3", HDMI),
            ("plughw:CARD=PCH,DEV=0", ANALOG),
            ("plughw:CARD=PCH,DEV=3", HDMI),
            ("default:CARD=PCH", ANALOG),
            ("sysdefault:CARD=PCH", ANALOG),
            ("front:CARD=PCH,DEV=0", ANALOG),
            ("surround51:CARD=PCH,DEV=0", ANALOG),
            ("hdmi:CARD=PCH,DEV=0", HDMI),
            ("dmix:CARD=PCH,DEV=0", ANALOG),
            ("dmix:CARD=PCH,DEV=3", HDMI),
            ("usbstream:CARD=PCH", "HDA Intel PCH"),
            ("hw:CARD=Device,DEV=0", USB),
            ("plughw:CARD=Device,DEV=0", USB),
            ("sysdefault:CARD=Device", USB),
            ("front:CARD=Device,DEV=0", USB),
            ("hw:CARD=Device_1,DEV=0", USB),
            ("sysdefault:CARD=Device_1", USB),
            ("hw:CARD=0,DEV=0", ANALOG),
            ("plughw:CARD=0,DEV=0", ANALOG),
            ("hw:CARD=0,DEV=3", HDMI),
            ("plughw:CARD=0,DEV=3", HDMI),
            ("hw:CARD=1,DEV=0", USB),
            ("plughw:CARD=1,DEV=0", USB),
            ("hw:CARD=2,DEV=0", USB),
            ("plughw:CARD=2,DEV=0", USB),
        ])
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
    fn one_output_of_a_card_is_one_device_however_often_it_is_listed() {
        let devices = laptop();
        for (wanted, id) in [
            ("HDA Intel PCH, ALC", "plughw:CARD=PCH,DEV=0"),
            ("hda intel pch, h", "plughw:CARD=PCH,DEV=3"),
            ("hdmi", "hdmi:CARD=PCH,DEV=0"),
            ("hw:CARD=PCH,DEV=3", "hw:CARD=PCH,DEV=3"),
            ("hw:CARD=Device,", "hw:CARD=Device,DEV=0"),
            ("front:CARD=PCH", "front:CARD=PCH,DEV=0"),
            ("sysdefault:CARD=P", "sysdefault:CARD=PCH"),
            ("hw:CARD=2", "hw:CARD=2,DEV=0"),
        ] {
            let found = find(&devices, wanted).map(|device| device.id.as_str());
            assert_eq!(found.map_err(|e| e.to_string()), Ok(id), "{wanted}");
        }
    }

    #[test]
    fn different_outputs_and_cards_are_several_devices_and_each_is_named_once() {
        let devices = laptop();
        let first = ["plughw:CARD=PCH,DEV=0", "plughw:CARD=PCH,DEV=3"];
        for (wanted, ids) in [
            ("HDA Intel", &first[..]),
            (
                "USB",
                &["plughw:CARD=Device,DEV=0", "sysdefault:CARD=Device_1"],
            ),
            ("hw:CARD=PCH", &["hw:CARD=PCH,DEV=0", "hw:CARD=PCH,DEV=3"]),
            ("hw:CARD=0", &["hw:CARD=0,DEV=0", "hw:CARD=0,DEV=3"]),
            (
                "front",
                &["front:CARD=PCH,DEV=0", "front:CARD=Device,DEV=0"],
            ),
        ] {
            let Err(NameError::Several { matching, .. }) = find(&devices, wanted) else {
                panic!("{wanted}: {:?}", find(&devices, wanted));
            };
            let matching: Vec<&str> = matching.0.iter().map(|d| d.id.as_str()).collect();
            assert_eq!(matching, ids, "{wanted}");
        }
    }

    #[test]
    fn two_pieces_of_hardware_described_alike_are_two_devices() {
        let devices = listed(&[
            ("hw:CARD=M4,DEV=0", "M4, USB Audio"),
            ("plughw:CARD=M4,DEV=0", "M4, USB Audio"),
            ("hw:CARD=M4,DEV=1", "M4, USB Audio"),
            ("plughw:CARD=M4,DEV=1", "M4, USB Audio"),
        ]);
        assert!(
            matches!(find(&devices, "M4"), Err(NameError::Several { matching, .. }) if matching.0.len() == 2)
        );
    }

    #[test]
    fn converters_stand_in_nobodys_way_and_are_found_in_full() {
        let mut all = devices();
        all.extend(listed(&[
            ("speex", "Rate Converter"),
            ("speexrate", "Rate Converter"),
            ("speakers", "In the hall"),
        ]));
        assert_eq!(find(&all, "spe").unwrap().id, "speakers");
        assert_eq!(find(&all, "speex").unwrap().id, "speex");
        assert!(find(&all, "Rate").is_err());
    }

    #[test]
    fn name_of_none_is_refused_with_the_list_of_what_there_is() {
        let devices = laptop();
        let none = find(&devices, "attic").unwrap_err().to_string();
        for id in [
            "default",
            "pulse",
            "plughw:CARD=PCH,DEV=3",
            "plughw:CARD=Device,DEV=0",
        ] {
            assert!(none.contains(id), "{id}: {none}");
        }
        assert!(
            !none.contains("surround51") && !none.contains("null"),
            "{none}"
        );
    }
}
