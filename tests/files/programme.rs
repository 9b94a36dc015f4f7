//! Does it arrive? A file of each container goes through the real binary: `send`, the loopback interface, `listen`.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ffmpeg::{self, Folder};
use crate::measure;
use crate::table::{Kind, SECONDS, TABLE};

/// Longer than any honest step takes on a busy machine: what runs into it is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Samples by which a decoder of Opus is behind its encoder.
const LOOKAHEAD: usize = 312;

/// One of each container.
const NAMES: [&str; 14] = [
    "s16-44k.wav",
    "s24-44k.aiff",
    "alac-44k.caf",
    "5.1.flac",
    "flac.oga",
    "cbr-44k.mp3",
    "free.mp2",
    "adts-44k.aac",
    "aac-44k-faststart.m4a",
    "s16.mov",
    "vorbis-44k.ogg",
    "stereo.opus",
    "opus.webm",
    "aac-44k.mkv",
];

/// A process of ours, which does not outlive its test.
pub(crate) struct Running {
    pub(crate) child: Child,
    stderr: std::path::PathBuf,
}

impl Running {
    /// Starts `lanradio` in `folder`, on the loopback interface, with none of the tester's own settings.
    pub(crate) fn start(folder: &Path, group: &str, arguments: &[&str]) -> Running {
        let bits = RandomState::new().build_hasher().finish();
        let stderr = folder.join(format!("stderr-{bits:016x}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanradio"));
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("LANRADIO_") {
                command.env_remove(&key);
            }
        }
        let child = command
            .args(arguments)
            .env("LANRADIO_INTERFACE", "lo")
            .env("LANRADIO_GROUP", group)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running { child, stderr }
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn wait_said(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(
                Instant::now() < until,
                "never said {text:?}: {}",
                self.said()
            );
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end: the exit code (none if a signal ended it).
    pub(crate) fn code(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "hangs: {}", self.said());
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A group that nobody else uses.
pub(crate) fn random_group() -> (std::net::Ipv4Addr, u16) {
    let bits = RandomState::new().build_hasher().finish();
    let ip = std::net::Ipv4Addr::new(239, 255, (bits >> 8) as u8, (bits >> 16) as u8 | 1);
    // Below the ephemeral ports; steps of 4, since a station uses three ports in a row.
    (ip, 10_000 + (bits >> 32) as u16 % 5_000 * 4)
}

/// Left and right of what `listen --output file:` wrote.
fn recording(path: &Path) -> [Vec<f32>; 2] {
    let bytes = fs::read(path).unwrap();
    let data = bytes.windows(4).position(|word| word == b"data").unwrap() + 8;
    let value = |bytes: &[u8]| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0;
    let values: Vec<f32> = bytes[data..].chunks_exact(2).map(value).collect();
    measure::sides(&values)
}

/// Sends one file to one listener. What was found, or what is wrong.
fn play(folder: &Folder, name: &str) -> Result<String, String> {
    let kind: &Kind = TABLE.iter().find(|kind| kind.name == name).unwrap();
    let path = folder.path(name);
    ffmpeg::make(&path, kind, SECONDS)?;
    let reference = ffmpeg::heard(&path, kind)?;
    let (ip, port) = random_group();
    let group = format!("{ip}:{port}");
    let wav = format!("{name}.heard.wav");
    let output = format!("file:{wav}");
    let arguments = ["listen", "--once", "--timeout", "30s", "--output", &output];
    let mut listener = Running::start(&folder.0, &group, &arguments);
    listener.wait_said("lo");
    let mut sender = Running::start(&folder.0, &group, &["send", name]);
    if sender.code() != Some(0) {
        return Err(format!("send failed: {}", sender.said()));
    }
    if listener.code() != Some(0) {
        return Err(format!("listen failed: {}", listener.said()));
    }
    let heard = recording(&folder.path(&wav));
    let frames = heard[0].len() / 960;
    let samples = match kind.knows_its_length {
        true => kind.samples_at_48k(SECONDS),
        false => reference[0].len(),
    };
    let expected = (samples + LOOKAHEAD).div_ceil(960);
    let (snr_db, delay) = measure::snr_db(&reference, &heard, LOOKAHEAD + 2);
    let line = format!("{frames} frames of {expected}, {snr_db:.1} dB, {delay} samples late");
    if frames.abs_diff(expected) > 1 || snr_db < 15.0 || delay < LOOKAHEAD - 2 {
        return Err(line);
    }
    Ok(line)
}

#[test]
fn a_file_of_each_container_arrives_whole() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    // They mostly wait: more at a time than there are cores.
    let pairs: Vec<&[&str]> = NAMES.chunks(NAMES.len().div_ceil(2)).collect();
    let mut wrong = 0;
    for names in pairs {
        let lines: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| scope.spawn(|| play(&folder, name)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (name, line) in names.iter().zip(lines) {
            wrong += usize::from(line.is_err());
            println!("{name:24} {line:?}");
        }
    }
    assert_eq!(wrong, 0, "files that did not arrive whole");
}
