//! What does ffmpeg make, and what does it hear? It is asked to make the files, and is the judge of what is in them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::music::{self, Layout};
use crate::table::Kind;

/// A folder for one test's files, removed at its end unless LANRADIO_KEEP says otherwise.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// None (after saying so) where there is no ffmpeg; a failure under `CI=true`.
    pub(crate) fn with_ffmpeg() -> Option<Folder> {
        let found = Command::new("ffmpeg").arg("-version").output().is_ok();
        if found {
            return Some(Folder::new());
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "these tests need ffmpeg, and CI=true allows no skipping"
        );
        // Not `eprintln!`, which a test that passes swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a test of files needs ffmpeg");
        None
    }

    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lanradio-files-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("LANRADIO_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Runs ffmpeg with these arguments; what it wrote to standard output, or what it complained of.
pub(crate) fn try_run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Result<Vec<u8>, String> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-v", "error", "-y"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Makes a file of this kind, of so many seconds of music.
pub(crate) fn make(path: &Path, kind: &Kind, seconds: f64) -> Result<(), String> {
    encode(path, kind.rate_hz, kind.layout, seconds, &kind.options())
}

/// Encodes a piece of music to `path`.
pub(crate) fn encode(
    path: &Path,
    rate_hz: u32,
    layout: Layout,
    seconds: f64,
    options: &[&str],
) -> Result<(), String> {
    let mut source = path.as_os_str().to_owned();
    source.push(".source.wav");
    let source = PathBuf::from(source);
    let music = music::piece(rate_hz, layout.channels(), seconds);
    fs::write(&source, music::wav(rate_hz, layout, &music)).unwrap();
    let mut arguments = vec!["-i", source.to_str().unwrap()];
    arguments.extend(options);
    arguments.push(path.to_str().unwrap());
    let made = try_run(&arguments);
    fs::remove_file(&source).unwrap();
    made.map(|_| ())
}

/// What is to be heard of a file of this kind: its channels at 48 kHz, mixed by the book.
pub(crate) fn heard(path: &Path, kind: &Kind) -> Result<[Vec<f32>; 2], String> {
    let layout = kind.layout;
    // A sharper filter than ffmpeg's usual one: the judge should be better than the judged.
    let filter = format!(
        "aformat=sample_fmts=fltp:channel_layouts={},aresample=48000:filter_size=128:cutoff=0.98",
        layout.name
    );
    let path = path.to_str().unwrap();
    let mut arguments = kind.decoder().map_or(vec![], |name| vec!["-c:a", name]);
    arguments.extend([
        "-i", path, "-map", "0:a:0", "-af", &filter, "-f", "f32le", "-",
    ]);
    let bytes = try_run(&arguments)?;
    let count = layout.channels();
    let samples: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let channel = |index: usize| samples.iter().skip(index).step_by(count).copied().collect();
    let channels: Vec<Vec<f32>> = (0..count).map(channel).collect();
    Ok(layout.to_stereo(&channels))
}
