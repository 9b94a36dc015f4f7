//! What do damaged files do? They are played as far as they go or named; they never panic, hang or eat the memory.
//!
//! Every damage follows from a seed: `LANRADIO_SEED=N` repeats a run. The files that misbehave are named with what was done to them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lanradio::media::source::Source;

use crate::decoded::each;
use crate::ffmpeg::{self, Folder};
use crate::layer1;
use crate::music::{Dice, STEREO};
use crate::programme::{Running, random_group};
use crate::table::TABLE;

/// What no file of half a second takes, even on a busy machine, whatever rate its header claims.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory that the whole run may add: samples of a few seconds, and the largest tables that a reader may believe in.
const MAX_MEMORY_MIB: f64 = 300.0;
const SECONDS: f64 = 0.6;

/// A whole file of each kind: its name and its bytes.
fn originals(folder: &Folder) -> Vec<(&'static str, Vec<u8>)> {
    let mut originals = each(TABLE, |kind| {
        let path = folder.path(kind.name);
        ffmpeg::make(&path, kind, SECONDS).unwrap();
        (kind.name, fs::read(&path).unwrap())
    });
    originals.push(("layer1.mp1", layer1::file(60)));
    originals
}

/// Damages `bytes`; says how.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    let length = bytes.len();
    let header = length.min(600);
    match dice.below(8) {
        0 => {
            let count = 1 + dice.below(100);
            for _ in 0..count {
                bytes[dice.below(length)] = dice.next() as u8;
            }
            format!("{count} bytes anywhere")
        }
        1 => {
            let count = 1 + dice.below(8);
            for _ in 0..count {
                bytes[dice.below(header)] ^= 1 << dice.below(8);
            }
            format!("{count} bits of the header")
        }
        2 => {
            bytes.truncate(dice.below(length));
            format!("cut to {} of {length}", bytes.len())
        }
        3 => {
            bytes.truncate(dice.below(header));
            format!("cut to {}", bytes.len())
        }
        4 | 5 => {
            const EXTREMES: [u32; 7] = [
                0,
                1,
                0x7FFF_FFFF,
                0x8000_0000,
                u32::MAX,
                0xFFFF,
                0x00FF_FFFF,
            ];
            let (at, value) = (dice.below(header.max(4) - 3), EXTREMES[dice.below(7)]);
            let end = (at + 4).min(length);
            bytes[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
            format!("{value:#x} at {at}")
        }
        6 => {
            let (from, count) = (dice.below(length), dice.below(5_000));
            let end = (from + count).min(length);
            bytes.drain(from..end);
            format!("{from}..{end} left out")
        }
        _ => {
            let (from, count) = (dice.below(length), 1 + dice.below(5_000));
            let end = (from + count).min(length);
            let noise: Vec<u8> = (from..end).map(|_| dice.next() as u8).collect();
            bytes[from..end].copy_from_slice(&noise);
            format!("{from}..{end} is noise")
        }
    }
}

/// How a damaged file ended.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Pairs of samples that were heard, and what was said of the rest.
    Played(usize, Option<String>),
    Refused(String),
}

/// Plays a file to its end.
fn play(path: &Path) -> Fate {
    let mut source = match Source::open(path) {
        Ok(source) => source,
        Err(error) => return Fate::Refused(error.to_string()),
    };
    let (mut heard, mut samples) = (0, Vec::new());
    loop {
        samples.clear();
        match source.read(&mut samples) {
            Ok(0) => return Fate::Played(heard, None),
            Ok(pairs) => heard += pairs,
            Err(error) => return Fate::Played(heard, Some(error.to_string())),
        }
    }
}

/// Plays it on a thread of its own. `Err` says what must not be.
fn guarded(path: PathBuf) -> Result<Fate, String> {
    let (done, fate) = channel();
    thread::spawn(move || {
        let _ = done.send(play(&path));
    });
    let fate = fate.recv_timeout(PATIENCE).map_err(|error| match error {
        RecvTimeoutError::Timeout => "hangs".to_owned(),
        RecvTimeoutError::Disconnected => "panicked (see above)".to_owned(),
    })?;
    match &fate {
        Fate::Refused(text) | Fate::Played(_, Some(text)) => {
            // The caller puts the file's name in front.
            let good = text.contains(':') && !text.contains('\n') && text.len() < 300;
            good.then_some(())
                .ok_or(format!("not a line with a remedy: {text:?}"))?;
        }
        Fate::Played(..) => {}
    }
    Ok(fate)
}

/// The most memory that this process ever had resident, in MiB; 0 where the system does not say.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[test]
fn damaged_files_are_played_or_named_and_never_panic_or_hang() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let seed = std::env::var("LANRADIO_SEED").ok();
    let seed: u64 = seed.map_or(20_260_101, |text| text.parse().unwrap());
    // Not `println!`: whatever ends this process, the seed is known.
    let _ = writeln!(std::io::stderr(), "damaged files: LANRADIO_SEED={seed}");
    let originals = originals(&folder);
    let count = if crate::proof() { 2_000 } else { 200 };
    let before_mib = peak_mib();
    let mutants: Vec<usize> = (0..count).collect();
    let fates = each(&mutants, |&number| {
        let (name, whole) = &originals[number % originals.len()];
        let mut dice = Dice((seed ^ (number as u64) << 32) | 1);
        for _ in 0..20 {
            dice.next();
        }
        let mut bytes = whole.clone();
        let how = damage(&mut bytes, &mut dice);
        let path = folder.path(&format!("{number}-{name}"));
        fs::write(&path, bytes).unwrap();
        (path.clone(), how, guarded(path))
    });
    let more_mib = peak_mib() - before_mib;
    let wrong: Vec<String> = fates
        .iter()
        .filter_map(|(path, how, fate)| {
            let why = fate.as_ref().err()?;
            Some(format!("{} ({how}): {why}", path.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    let fates: Vec<(PathBuf, Fate)> = fates.into_iter().map(|f| (f.0, f.2.unwrap())).collect();
    for (path, fate) in &fates {
        println!("{}: {fate:?}", path.file_name().unwrap().display());
    }
    let played = fates
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Played(1.., _)))
        .count();
    println!("{played} of {count} were heard, {more_mib:.0} MiB");
    // Most damage leaves something to hear; some leaves nothing.
    assert!(2 * played > count && played < count, "{played} of {count}");
    assert!(more_mib < MAX_MEMORY_MIB, "{more_mib:.0} MiB more");
    the_program_names_them(&folder, &fates);
}

/// In Matroska a packet's duration counts milliseconds, if it is there at all.
#[test]
fn packets_that_are_skipped_are_not_missing_at_the_end() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let path = folder.path("holes.mkv");
    let options = ["-c:a", "libmp3lame", "-b:a", "128k"];
    ffmpeg::encode(&path, 48_000, STEREO, 3.0, &options).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The same bytes begin each frame: MPEG 1, layer 3, 128 kbit/s, 48 kHz.
    let is_frame = |at: &usize| bytes[*at..].starts_with(&[0xFF, 0xFB, 0x94]);
    let frames: Vec<usize> = (0..bytes.len()).filter(is_frame).collect();
    assert!((120..=130).contains(&frames.len()), "{}", frames.len());
    for at in frames.iter().skip(20).step_by(8) {
        bytes[*at..at + 4].fill(0);
    }
    fs::write(&path, &bytes).unwrap();
    let fate = play(&path);
    assert!(
        matches!(fate, Fate::Played(110_000..=140_000, None)),
        "{fate:?}"
    );
}

/// Files that the program is given at a time.
const PLAYLIST: usize = 20;

/// All that fail through the real binary: each is named in a line of its own.
fn the_program_names_them(folder: &Folder, fates: &[(PathBuf, Fate)]) {
    let names = |fails: fn(&Fate) -> bool| {
        let failed = fates.iter().filter(|(_, fate)| fails(fate));
        let names = failed.map(|(path, _)| path.file_name().unwrap().to_str().unwrap());
        names.collect::<Vec<_>>()
    };
    let unheard = names(|fate| matches!(fate, Fate::Refused(_) | Fate::Played(0, _)));
    let broken = names(|fate| matches!(fate, Fate::Played(1.., Some(_))));
    println!("{} are not heard, {} in part", unheard.len(), broken.len());
    assert!(unheard.len() >= 8 && broken.len() >= 4);
    let playlists: Vec<&[&str]> = unheard.chunks(PLAYLIST).collect();
    each(&playlists, |names| {
        let mut sender = send(folder, names);
        assert_eq!(sender.code(), Some(1), "{names:?}: {}", sender.said());
        assert_named(names, &sender.said());
    });
    // What is wrong with them is known long before they are heard to their ends, so nobody waits for these.
    let playlists: Vec<&[&str]> = broken.chunks(PLAYLIST).collect();
    each(&playlists, |names| {
        let sender = send(folder, names);
        names
            .iter()
            .for_each(|name| sender.wait_said(&naming(name)));
        assert_named(names, &sender.said());
    });
    // A file that is heard in part is no failure. Not those whose header claims that they last long.
    let short = names(|fate| matches!(fate, Fate::Played(1..96_000, Some(_))));
    let short = &short[..short.len().min(4)];
    let mut sender = send(folder, short);
    assert_eq!(sender.code(), Some(0), "{short:?}: {}", sender.said());
}

fn send(folder: &Folder, names: &[&str]) -> Running {
    let (ip, port) = random_group();
    let arguments = [&["send"], names].concat();
    Running::start(&folder.0, &format!("{ip}:{port}"), &arguments)
}

/// How a line about a file begins, after whose line it is: one file's name may be the end of another's.
fn naming(name: &str) -> String {
    format!(": {name}: ")
}

fn assert_named(names: &[&str], said: &str) {
    assert!(!said.contains("panicked"), "{said}");
    for name in names {
        let named = said.lines().any(|line| line.contains(&naming(name)));
        assert!(named, "{name} is not named: {said}");
    }
}
