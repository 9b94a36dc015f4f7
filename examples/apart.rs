//! How far apart do two rooms sound? `cargo run --release --example apart -- RECORDING` says it of a stereo recording (WAV, FLAC, Ogg …) that
//! has one of them on the left and the other on the right.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command of its own"
)]

use std::path::Path;
use std::process::ExitCode;

use lanradio::media::apart::{Apart, summary};
use lanradio::media::source::Source;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: apart RECORDING (stereo: one room on the left, the other on the right)");
        return ExitCode::from(2);
    };
    match measure(Path::new(path)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn measure(path: &Path) -> Result<String, String> {
    let mut source = Source::open(path).map_err(|error| error.to_string())?;
    let mut samples = Vec::new();
    while source
        .read(&mut samples)
        .map_err(|error| error.to_string())?
        > 0
    {}
    let side =
        |side: usize| -> Vec<f32> { samples.iter().skip(side).step_by(2).copied().collect() };
    let windows = Apart::of(&side(0), &side(1));
    let mut lines: Vec<String> = Vec::new();
    for (second, window) in windows.iter().enumerate() {
        lines.push(match window {
            Some(apart) => format!(
                "{second:>5} s   right is {:>9.0} us behind left   (alike: {:.2})",
                apart.behind_us, apart.likeness
            ),
            None => format!(
                "{second:>5} s   nothing can be said (silence, a held tone, or different sounds)"
            ),
        });
    }
    let [half, most, all] =
        summary(&windows).ok_or("nothing can be said: is the same music on both sides?")?;
    lines.push(format!(
        "apart: {half:.0} us (median), {most:.0} us (95 %), {all:.0} us (worst)"
    ));
    Ok(lines.join("\n"))
}
