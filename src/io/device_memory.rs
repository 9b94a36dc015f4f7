//! How fast was a sound device when it was last heard?
//!
//! A device's clock keeps its rate for years, to some parts per million, and to learn it takes a minute. So it is remembered: one small
//! file for each device and rate, in the user's state directory (`$STATE_DIRECTORY` of a systemd unit, `$XDG_STATE_HOME`, or
//! `~/.local/state`). Nothing depends on it: what cannot be read or written is learned anew the next time.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::playout::device_clock::{Learned, MAX_SKEW_PPM};

/// What is known this well, in ppm, is as good as anything that is.
const SURE_PPM: f64 = 5.0;
/// No file of ours is longer.
const MAX_BYTES: u64 = 4_096;

/// Remembers sound devices.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    folder: Option<PathBuf>,
}

/// What a file says.
#[derive(Serialize, Deserialize)]
struct Remembered {
    device: String,
    rate_hz: u32,
    slow_ppm: f64,
    sigma_ppm: f64,
}

impl DeviceMemory {
    /// In the user's state directory; nowhere, if there is none.
    pub fn of_user() -> DeviceMemory {
        let of = |variable: &str| {
            let value = std::env::var_os(variable).map(PathBuf::from);
            value.filter(|path| path.is_absolute())
        };
        // systemd gives the unit's own folder, or several, of which the first is meant.
        let unit = std::env::var("STATE_DIRECTORY").ok();
        let unit = unit.and_then(|paths| paths.split(':').next().map(PathBuf::from));
        let folder = unit
            .filter(|path| path.is_absolute())
            .or_else(|| of("XDG_STATE_HOME").map(|path| path.join("lanradio")))
            // A user without a home (`nobody`) gets none from us.
            .or_else(|| {
                let home = of("HOME").filter(|path| path.is_dir());
                home.map(|path| path.join(".local/state/lanradio"))
            });
        DeviceMemory { folder }
    }

    /// What was known of the device.
    pub fn recall(&self, device: &str, rate_hz: u32) -> Option<Learned> {
        let path = self.path(device, rate_hz)?;
        if fs::metadata(&path).ok()?.len() > MAX_BYTES {
            return None;
        }
        let said: Remembered = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let is_same = said.device == device && said.rate_hz == rate_hz;
        // And they are numbers.
        let is_sane = said.slow_ppm.abs() <= MAX_SKEW_PPM && said.sigma_ppm >= 0.0;
        (is_same && is_sane).then_some(Learned {
            slow_ppm: said.slow_ppm,
            sigma_ppm: said.sigma_ppm,
        })
    }

    /// Keeps it, unless something better is known. The file is there whole or not at all, whenever the machine stops.
    ///
    /// # Errors
    /// If the folder or the file cannot be written, with its name.
    pub fn keep(&self, device: &str, rate_hz: u32, learned: Learned) -> Result<(), String> {
        let (Some(folder), Some(path)) = (&self.folder, self.path(device, rate_hz)) else {
            return Ok(());
        };
        let failed = |path: &Path, error: std::io::Error| {
            format!(
                "remembering the sound device in {}: {error}",
                path.display()
            )
        };
        // Another listener, or an earlier one, may have had more time to learn.
        let better = self.recall(device, rate_hz).map(|other| other.sigma_ppm);
        if learned.sigma_ppm > SURE_PPM && better.is_some_and(|better| better < learned.sigma_ppm) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let said = Remembered {
            device: device.to_owned(),
            rate_hz,
            slow_ppm: hundredths(learned.slow_ppm),
            sigma_ppm: hundredths(learned.sigma_ppm),
        };
        let mut text = serde_json::to_vec(&said).map_err(|error| error.to_string())?;
        text.push(b'\n');
        // Several listeners may have one device: each writes a file of its own first.
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(&path, error)
        })
    }

    /// The name is the device's as far as a file can be called so, and a sum of it: two devices have two files.
    fn path(&self, device: &str, rate_hz: u32) -> Option<PathBuf> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._".contains(letter);
        let letters = device
            .chars()
            .map(|letter| if plain(letter) { letter } else { '-' });
        let name: String = letters.take(60).collect();
        let sum = blake3::hash(device.as_bytes()).to_hex();
        let file = format!("device-{name}-{}-{rate_hz}.json", &sum[..8]);
        self.folder.as_ref().map(|folder| folder.join(file))
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(name: &str) -> (DeviceMemory, PathBuf) {
        let folder = std::env::temp_dir().join(format!("lr-memory-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let memory = DeviceMemory {
            folder: Some(folder.join("below")),
        };
        (memory, folder)
    }

    #[test]
    fn a_rate_is_kept_for_each_device_and_each_of_its_rates() {
        let (memory, folder) = memory("kept");
        let of = |slow_ppm| Learned {
            slow_ppm,
            sigma_ppm: 3.0,
        };
        assert_eq!(memory.recall("hw:0", 48_000), None);
        for (device, rate, ppm) in [
            ("hw:0", 48_000, -12.345),
            ("hw:0", 44_100, 7.0),
            ("hw-0", 48_000, 99.0),
            ("/../../etc: a name\n", 48_000, 3.0),
        ] {
            memory.keep(device, rate, of(ppm)).unwrap();
        }
        assert_eq!(memory.recall("hw:0", 48_000), Some(of(-12.35)));
        assert_eq!(memory.recall("hw:0", 44_100), Some(of(7.0)));
        assert_eq!(memory.recall("hw-0", 48_000), Some(of(99.0)));
        assert_eq!(memory.recall("/../../etc: a name\n", 48_000), Some(of(3.0)));
        memory.keep("hw:0", 48_000, of(1.0)).unwrap();
        assert_eq!(memory.recall("hw:0", 48_000), Some(of(1.0)));
        let files = fs::read_dir(folder.join("below")).unwrap().count();
        assert_eq!(files, 4, "and nothing else is left there");
        // What is known worse does not replace it.
        let worse = Learned {
            sigma_ppm: 20.0,
            ..of(50.0)
        };
        memory.keep("hw:0", 48_000, worse).unwrap();
        assert_eq!(memory.recall("hw:0", 48_000), Some(of(1.0)));
        memory.keep("hw:1", 48_000, worse).unwrap();
        assert_eq!(memory.recall("hw:1", 48_000), Some(worse));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_rate_is_as_good_as_none() {
        let (memory, folder) = memory("wrong");
        let learned = Learned {
            slow_ppm: 5.0,
            sigma_ppm: 3.0,
        };
        memory.keep("a", 48_000, learned).unwrap();
        let path = memory.path("a", 48_000).unwrap();
        for text in [
            "",
            "{}",
            r#"{"device":"b","rate_hz":48000,"slow_ppm":1,"sigma_ppm":3}"#,
            r#"{"device":"a","rate_hz":48000,"slow_ppm":1001,"sigma_ppm":3}"#,
            r#"{"device":"a","rate_hz":48000,"slow_ppm":null,"sigma_ppm":3}"#,
            r#"{"device":"a","rate_hz":48000,"slow_ppm":1,"sigma_ppm":-3}"#,
            r#"{"device":"a","rate_hz":48000,"slow_ppm":1}"#,
            &"x".repeat(10_000),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(memory.recall("a", 48_000), None, "{text:.60}");
        }
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "no folder").unwrap();
        let error = memory.keep("a", 48_000, learned).unwrap_err();
        assert!(error.contains("below"), "{error}");
        fs::remove_file(folder).unwrap();
    }
}
