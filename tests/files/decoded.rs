//! Does the encoder get what is in the file? The library's decode of each file of the table, beside ffmpeg's.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lanradio::media::source::{Source, SourceError};

use crate::ffmpeg::{self, Folder};
use crate::measure;
use crate::table::{Kind, SECONDS, TABLE};

/// All that a source gives, interleaved, and what it complained of.
pub(crate) fn drained(mut source: Source) -> (Vec<f32>, Option<SourceError>) {
    let mut samples = Vec::new();
    loop {
        match source.read(&mut samples) {
            Ok(0) => return (samples, None),
            Ok(_) => {}
            Err(error) => return (samples, Some(error)),
        }
    }
}

/// Runs `job` for each item on as many threads as there are cores; what they say, in the items' order.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = job(item);
                    done.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What was found of one file, as a line of the table; `Err` if it is not as it should be.
fn judge(folder: &Folder, kind: &Kind) -> Result<String, String> {
    let path = folder.path(kind.name);
    ffmpeg::make(&path, kind, SECONDS).map_err(|why| format!("cannot be made: {why}"))?;
    compare(&path, kind, kind.samples_at_48k(SECONDS))
}

/// The library's decode of `path` beside ffmpeg's; `samples` are in it if it says where it ends.
pub(crate) fn compare(path: &Path, kind: &Kind, samples: usize) -> Result<String, String> {
    let source = Source::open(path).map_err(|error| format!("is refused: {error}"))?;
    let known = source.known_samples();
    let (values, failure) = drained(source);
    if let Some(failure) = failure {
        return Err(format!("ends with: {failure}"));
    }
    let heard = measure::sides(&values);
    let reference = ffmpeg::heard(path, kind)?;
    let expected = match kind.knows_its_length {
        true => samples,
        false => reference[0].len(),
    };
    let more = heard[0].len() as i64 - expected as i64;
    let (snr_db, _) = measure::snr_db(&reference, &heard, 0);
    let mut line = format!("{snr_db:.1} dB, {more:+} samples");
    if let Some(known) = known.filter(|&known| known != heard[0].len() as u64) {
        write!(
            line,
            ", promised {:+}",
            known as i64 - heard[0].len() as i64
        )
        .unwrap();
    }
    // Two resamplers may round a length differently.
    let rounding = i64::from(kind.rate_hz != 48_000);
    if snr_db < kind.snr_db || more < -rounding || more > kind.padding as i64 + rounding {
        let (late_db, late) = measure::snr_db(&reference, &heard, 3_000);
        let (early_db, early) = measure::snr_db(&heard, &reference, 3_000);
        return Err(format!(
            "{line}; wanted {} dB; {late_db:.1} dB at {late} late, {early_db:.1} dB at {early} early",
            kind.snr_db
        ));
    }
    Ok(line)
}

#[test]
fn each_file_of_the_table_is_heard_in_full_and_as_ffmpeg_hears_it() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let lines = each(TABLE, |kind| judge(&folder, kind));
    let mut wrong = 0;
    for (kind, line) in TABLE.iter().zip(&lines) {
        wrong += usize::from(line.is_err());
        let mark = if line.is_ok() { "  " } else { "! " };
        let text = line.as_ref().unwrap_or_else(|why| why);
        println!(
            "{mark}{:24} {:6} Hz {:6}  {text}",
            kind.name, kind.rate_hz, kind.layout.name
        );
    }
    assert!(TABLE.len() >= 40);
    assert_eq!(wrong, 0, "files that are not heard as they should be");
}

#[test]
fn a_pipe_is_heard_like_the_file_or_says_why_not() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let wrong = each(TABLE, |kind| {
        let path = folder.path(kind.name);
        ffmpeg::make(&path, kind, 0.5).unwrap();
        let pipe = Box::new(File::open(&path).unwrap());
        match Source::from_reader(pipe, "stdin") {
            Ok(source) => {
                let (piped, failure) = drained(source);
                let (whole, _) = drained(Source::open(&path).unwrap());
                // A pipe cannot be read twice, so an MP4's run-up stays in.
                let run_up = kind.name.contains("faststart") && piped.len() > whole.len();
                let alike = failure.is_none() && (piped == whole || run_up);
                (!alike).then(|| format!("{} of {} values, {failure:?}", piped.len(), whole.len()))
            }
            Err(SourceError::IndexAtEnd) if kind.name.contains(".m") => None,
            Err(SourceError::NeedsFile) if kind.name.ends_with(".caf") => None,
            Err(error) => Some(error.to_string()),
        }
        .map(|why| format!("{}: {why}", kind.name))
    });
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
