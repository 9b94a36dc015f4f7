//! How much does everything around libopus cost? CPU time of a `TrackEncoder` over a 48 kHz WAV of 60 s (reading,
//! decoding, mixing, framing, encoding, storing) against bare libopus over the same samples in memory.
//!
//!     cargo bench --bench encode_ratio
//!
//! Prints the ratio of the medians of 5 alternating runs, for 48 kHz and, with the resampler, for 44.1 kHz; for a file
//! of your own (any format), name it: `cargo bench --bench encode_ratio -- FILE`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lanradio::media::opus::{EncoderConfig, FRAME_VALUES, MAX_PACKET_BYTES};
use lanradio::media::source::Source;
use lanradio::media::track::Track;
use lanradio::media::track_encoder::TrackEncoder;
use lanradio::wire::TrackId;
use nix::time::{ClockId, clock_gettime};

const SECONDS: u32 = 60;
const RUNS: usize = 5;

fn main() {
    // `cargo test --benches` runs this too, with --test: one short run says that it works.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let testing = !arguments.iter().any(|argument| argument == "--bench");
    let (seconds, runs) = if testing { (1, 1) } else { (SECONDS, RUNS) };
    let named = arguments.iter().find(|argument| !argument.starts_with('-'));
    if let Some(path) = named {
        measure(Path::new(path), path, runs);
        return;
    }
    for rate in [48_000, 44_100] {
        let path = write_wav(rate, seconds).expect("writing a WAV to the temporary folder");
        measure(&path, &format!("{rate} Hz WAV, {seconds} s"), runs);
        fs::remove_file(&path).expect("removing the WAV");
    }
}

fn measure(path: &Path, name: &str, runs: usize) {
    let samples = decode(path);
    let (mut whole, mut bare) = (vec![], vec![]);
    for _ in 0..runs {
        whole.push(cpu_ms(|| encode_file(path)));
        bare.push(cpu_ms(|| encode_bare(&samples)));
    }
    let (whole, bare) = (median(whole), median(bare));
    let audio_ms = samples.len() as f64 / 96.0;
    println!(
        "{name}: {whole:.0} ms, bare libopus {bare:.0} ms, ratio {:.3}; {:.2} % and {:.2} % of real time",
        whole / bare,
        100.0 * whole / audio_ms,
        100.0 * bare / audio_ms,
    );
}

fn encode_file(path: &Path) -> u64 {
    let source = Source::open(path).expect("a playable file");
    let mut encoder = TrackEncoder::new(source, EncoderConfig::default()).expect("encoder");
    let mut track = Track::new(TrackId([0; 16]));
    while let Some(packet) = encoder.next_packet().expect("packet") {
        track.push(packet).expect("room");
    }
    track.finish();
    track.len()
}

/// libopus alone, without our wrapper, with the same settings.
fn encode_bare(samples: &[f32]) -> u64 {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio)
        .expect("encoder");
    encoder
        .set_bitrate(opus::Bitrate::Bits(128_000))
        .and_then(|()| encoder.set_complexity(10))
        .and_then(|()| encoder.set_prediction_disabled(true))
        .expect("settings");
    let mut packet = [0; MAX_PACKET_BYTES];
    let mut made = 0;
    for frame in samples.chunks_exact(FRAME_VALUES) {
        encoder.encode_float(frame, &mut packet).expect("packet");
        made += 1;
    }
    made
}

fn decode(path: &Path) -> Vec<f32> {
    let mut source = Source::open(path).expect("a playable file");
    let mut samples = vec![];
    while source.read(&mut samples).expect("sound") > 0 {}
    samples
}

fn cpu_ms(work: impl FnOnce() -> u64) -> f64 {
    let before = cpu_now_ms();
    std::hint::black_box(work());
    cpu_now_ms() - before
}

fn cpu_now_ms() -> f64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the CPU clock: the figure is CPU time"
    )]
    let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a CPU clock");
    now.tv_sec() as f64 * 1e3 + now.tv_nsec() as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// 16-bit stereo: a chord that moves, and a little noise, so that libopus has work as with music.
fn write_wav(rate: u32, seconds: u32) -> io::Result<PathBuf> {
    let name = format!("lanradio-encode-ratio-{}-{rate}.wav", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = BufWriter::new(File::create(&path)?);
    let frames = rate * seconds;
    file.write_all(b"RIFF")?;
    file.write_all(&(36 + 4 * frames).to_le_bytes())?;
    file.write_all(b"WAVEfmt \x10\0\0\0\x01\0\x02\0")?;
    file.write_all(&rate.to_le_bytes())?;
    file.write_all(&(4 * rate).to_le_bytes())?;
    file.write_all(b"\x04\0\x10\0data")?;
    file.write_all(&(4 * frames).to_le_bytes())?;
    let mut seed = 1u32;
    for i in 0..frames {
        let t = f64::from(i) / f64::from(rate);
        let step = f64::from(i / (rate / 2) % 8);
        for base in [220.0, 277.2] {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(seed >> 16) / 65_536.0 - 0.5;
            let tone = |f: f64| (std::f64::consts::TAU * f * t).sin();
            let pitch = base * (step / 12.0).exp2();
            let value = tone(pitch) + 0.5 * tone(3.0 * pitch) + 0.2 * tone(7.0 * pitch);
            let value = (5_000.0 * value + 600.0 * noise) as i16;
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()?;
    Ok(path)
}
