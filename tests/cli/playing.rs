//! Does what `send` plays arrive at `listen` as the files, samples and order that the contract promises?

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::network::{Witness, heckle};
use crate::sound::{blocks, frames_of, raw_samples, read_wav, strength, tone, wav};
use crate::support::{Process, Studio, cannot, feed, named, tagged};

/// received + concealed of the last statistics.
fn played(events: &[serde_json::Value]) -> u64 {
    let stats = named(events, "stats");
    let last = stats.last().expect("no stats event");
    last["received"].as_u64().unwrap() + last["concealed"].as_u64().unwrap()
}

#[test]
fn one_programme_gives_every_listener_the_same_samples_at_its_own_volume() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 1_500, 440.0);
    let full = studio.listener("listen --output file:full.wav --once --events -");
    let half = studio.listener("listen --output file:half.wav --once --volume 50");
    let double = studio.listener("listen --output file:double.wav --once --volume 200");
    let silent = studio.listener("listen --output file:silent.wav --once --volume 0");
    let piped = studio.listener("listen --output - --once");
    let patient = studio.listener("listen --output file:patient.wav --events -");

    let started = Instant::now();
    let sender = studio.start("send a.wav --events -").finish().exits(0);
    assert!(
        started.elapsed() >= Duration::from_millis(1_500 + 500),
        "send stays until the last frame has had time to play: {:?}",
        started.elapsed()
    );
    assert_eq!(named(&sender.events(), "off_air")[0]["reason"], "ended");

    let full = full.finish().exits(0);
    half.finish().exits(0);
    double.finish().exits(0);
    silent.finish().exits(0);
    let piped = piped.finish().exits(0);

    let sound = studio.recording("full.wav");
    assert_eq!(
        blocks(&sound),
        frames_of(samples),
        "from the first frame to the last"
    );
    assert_eq!(
        played(&full.events()),
        blocks(&sound) as u64,
        "file = received + concealed"
    );
    assert!(
        strength(&sound, 440.0) > 10_000.0,
        "it is the tone: {}",
        strength(&sound, 440.0)
    );
    assert!(
        raw_samples(&piped.stdout) == sound,
        "stdout and file: are the same samples"
    );

    for (name, factor) in [("half.wav", 0.5), ("double.wav", 2.0), ("silent.wav", 0.0)] {
        let scaled = studio.recording(name);
        assert_eq!(scaled.len(), sound.len());
        let far = sound.iter().zip(&scaled).position(|(&one, &other)| {
            let wanted = (f64::from(one) * factor).clamp(-32768.0, 32767.0);
            (wanted - f64::from(other)).abs() > factor.max(1.0)
        });
        assert_eq!(far, None, "{name} is {factor} times the original");
    }

    // Without --once a listener waits for the next programme, and its counters stay right.
    let mut patient = patient;
    patient.wait_event_after("off_air", "stats");
    assert!(patient.runs());
    assert_eq!(played(&patient.events()), frames_of(samples) as u64);
    studio.tone("b.wav", 300, 660.0);
    studio.start("send b.wav").finish().exits(0);
    patient.wait_events("off_air", 2);
    patient.signal(nix::sys::signal::Signal::SIGINT);
    patient.finish().exits(0);
    let both = studio.recording("patient.wav");
    assert_eq!(
        blocks(&both),
        frames_of(samples) + frames_of(300 * 48),
        "nothing for idle time"
    );
}

#[test]
fn first_packet_is_on_the_wire_within_half_a_second() {
    let studio = Studio::new();
    studio.tone("a.wav", 300, 440.0);
    let witness = Witness::of(&studio);
    let started = Instant::now();
    studio.start("send a.wav").finish().exits(0);
    let heard = witness.heard();
    // 500 ms is the claim; the rest is for a machine that compiles beside.
    let first = heard.first().expect("nothing was sent").0 - started;
    assert!(first < Duration::from_millis(1_500), "{first:?}");
    assert_eq!(
        heard.len(),
        frames_of(300 * 48),
        "one packet per frame, nothing else"
    );
}

#[test]
fn ten_milliseconds_become_one_block() {
    let studio = Studio::new();
    studio.tone("blip.wav", 10, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once");
    studio.run("send blip.wav").exits(0);
    listener.finish().exits(0);
    assert_eq!(blocks(&studio.recording("out.wav")), 1);
}

#[test]
fn standard_input_is_played_like_a_file() {
    let studio = Studio::new();
    let samples = tone(700, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once");
    let mut command = studio.command(["send", "-"]);
    command.stdin(Stdio::piped());
    let mut sender = Process::spawn(command);
    feed(&mut sender, wav(48_000, &samples, &[]));
    sender.finish().exits(0);
    listener.finish().exits(0);
    let sound = studio.recording("out.wav");
    assert_eq!(blocks(&sound), frames_of(samples.len() / 2));
    assert!(strength(&sound, 440.0) > 10_000.0);
}

#[test]
fn standard_input_without_music_exits_1() {
    let studio = Studio::new();
    for bytes in [Vec::new(), b"this is not music\n".repeat(500)] {
        let mut command = studio.command(["send", "-"]);
        command.stdin(Stdio::piped());
        let mut sender = Process::spawn(command);
        feed(&mut sender, bytes);
        sender.finish().exits(1).says(&["stdin"]);
    }
}

#[test]
fn pipe_with_the_index_of_an_m4a_at_its_end_exits_1_and_says_so() {
    let studio = Studio::new();
    // (ffmpeg writes the index at the end unless asked for `-movflags faststart`)
    if !tagged(&studio, "a.m4a", 500, "Song", "Singer") {
        return;
    }
    let mut command = studio.command(["send", "-"]);
    command.stdin(Stdio::piped());
    let mut sender = Process::spawn(command);
    feed(&mut sender, fs::read(studio.path("a.m4a")).unwrap());
    sender.finish().exits(1).says(&["stdin", "index", "end"]);
}

/// symphonia 0.6.1 reads the INFO chunk of a WAV file and then forgets it, so it is read by ourselves.
#[test]
fn title_of_a_wav_file_comes_from_its_info_chunk() {
    let studio = Studio::new();
    let tags: [(&[u8; 4], &[u8]); 2] = [(b"INAM", b"Morning"), (b"IART", b"The Owls")];
    let file = wav(48_000, &tone(100, 440.0), &tags);
    fs::write(studio.path("a.wav"), file).unwrap();
    let events = studio.run("send a.wav --events -").exits(0).events();
    let track = named(&events, "track").remove(0);
    assert_eq!(
        (&track["title"], &track["artist"]),
        (&"Morning".into(), &"The Owls".into())
    );
}

#[test]
fn bad_files_among_good_ones_lose_nothing_and_are_named() {
    let studio = Studio::new();
    studio.tone("one.wav", 500, 400.0);
    fs::write(studio.path("notes.txt"), "not music\n".repeat(300)).unwrap();
    let mut cut = wav(48_000, &tone(2_000, 600.0), &[]);
    cut.truncate(44 + 500 * 48 * 4);
    fs::write(studio.path("cut.wav"), cut).unwrap();
    studio.tone("three.wav", 500, 900.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    studio
        .run("send one.wav notes.txt missing.wav cut.wav three.wav")
        .exits(1)
        .says(&["notes.txt", "missing.wav", "cut.wav"]);
    let listener = listener.finish().exits(0);

    let frames = frames_of(500 * 48);
    let sound = studio.recording("out.wav");
    assert_eq!(
        blocks(&sound),
        3 * frames,
        "three files of half a second, no gap"
    );
    for (part, hz) in sound.chunks(frames * 1920).zip([400.0, 600.0, 900.0]) {
        assert!(
            strength(part, hz) > 10_000.0,
            "{hz} Hz in its place: {}",
            strength(part, hz)
        );
    }
    let tracks = named(&listener.events(), "track");
    let firsts: Vec<u64> = tracks
        .iter()
        .map(|track| track["first_frame"].as_u64().unwrap())
        .collect();
    assert_eq!(tracks.len(), 3, "{tracks:?}");
    assert_eq!(firsts[1] - firsts[0], frames as u64, "{tracks:?}");
    assert_eq!(firsts[2] - firsts[1], frames as u64, "{tracks:?}");
}

#[test]
fn loop_plays_again_and_again_until_it_is_stopped() {
    let studio = Studio::new();
    studio.tone("one.wav", 200, 400.0);
    studio.tone("two.wav", 200, 800.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = studio.start("send --loop one.wav two.wav --events -");
    sender.wait_events("track", 5);
    studio.run("stop").exits(0);
    sender.finish().exits(0);
    let events = listener.finish().exits(0).events();
    let titles: Vec<String> = named(&events, "track")
        .iter()
        .map(|t| t["title"].to_string())
        .collect();
    assert!(titles.len() >= 4, "{titles:?}");
    assert!(
        titles[0].contains("one") && titles[1].contains("two") && titles[2].contains("one"),
        "{titles:?}"
    );
}

#[test]
fn existing_file_is_overwritten() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 300, 440.0);
    fs::write(studio.path("out.wav"), vec![0x55; 1_000_000]).unwrap();
    let listener = studio.listener("listen --output file:out.wav --once");
    studio.run("send a.wav").exits(0);
    listener.finish().exits(0);
    let bytes = fs::read(studio.path("out.wav")).unwrap();
    assert_eq!(blocks(&studio.recording("out.wav")), frames_of(samples));
    assert!(
        bytes.len() < 200_000,
        "nothing of the old file is left: {} bytes",
        bytes.len()
    );
}

#[test]
fn file_is_valid_at_every_moment_and_after_sigkill() {
    let studio = Studio::new();
    studio.tone("a.wav", 4_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --events -");
    let sender = studio.start("send a.wav");
    listener.wait_event("tuned_in");
    let (mut looks, mut seen) = (0, 0);
    let until = Instant::now() + Duration::from_secs(15);
    // Looks as fast as it can while the first second and a half is written.
    while seen < 75 {
        assert!(Instant::now() < until, "the file never grew: {seen} blocks");
        if studio.has("out.wav") {
            let now = blocks(&studio.recording("out.wav"));
            assert!(now >= seen, "it shrank");
            (looks, seen) = (looks + 1, now);
        }
    }
    listener.signal(nix::sys::signal::Signal::SIGKILL);
    drop(listener);
    let left = blocks(&studio.recording("out.wav"));
    assert!(left >= seen && left < frames_of(4_000 * 48), "{left}");
    assert!(looks > 10, "only {looks} looks");
    drop(sender);
}

#[test]
fn stdout_that_closes_ends_the_listener_quietly() {
    use std::io::Read;
    let studio = Studio::new();
    studio.tone("a.wav", 4_000, 440.0);
    let command = studio.command(["listen", "--output", "-"]);
    let (listener, mut pipe) = Process::spawn_unread(command);
    listener.wait_stderr("lo");
    let _sender = studio.start("send a.wav");
    let mut block = [0; 3840];
    pipe.read_exact(&mut block).unwrap();
    drop(pipe);
    listener
        .finish_within(Duration::from_secs(5))
        .exits(0)
        .says_not(&["pipe", "error", "os error"]);
}

#[test]
fn standard_output_carries_nothing_but_sound() {
    let studio = Studio::new();
    studio.tone("a.wav", 200, 440.0);
    let listener = studio.listener("listen --output - --once --events events.jsonl");
    let sender = studio.run("send a.wav").exits(0);
    assert!(sender.stdout.is_empty());
    let listener = listener.finish().exits(0);
    assert_eq!(listener.stdout.len(), frames_of(200 * 48) * 3840);
    assert!(studio.has("events.jsonl"));
}

#[test]
fn garbage_on_the_ports_is_counted_and_playing_goes_on() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 2_500, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = studio.start("send a.wav");
    listener.wait_event("tuned_in");
    for round in 0..20u8 {
        heckle(&studio, studio.port, &[]);
        heckle(
            &studio,
            studio.port,
            &vec![round; 1 + 30 * usize::from(round)],
        );
        heckle(
            &studio,
            studio.port,
            &[
                0x90, 96, 0, round, 0, 0, 0, 1, 9, 9, 9, 9, 0xBE, 0xDE, 0xFF, 0xFF,
            ],
        );
        heckle(&studio, studio.port + 1, &[round; 40]);
        heckle(&studio, studio.port + 2, &[round; 40]);
    }
    sender.finish().exits(0);
    let events = listener.finish().exits(0).events();
    let last = named(&events, "stats").pop().unwrap();
    let by_reason = last["rejected_by"].as_object().expect("rejected_by");
    let sum: u64 = by_reason
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert!(last["rejected"].as_u64().unwrap() >= 40, "{last}");
    assert_eq!(last["rejected"].as_u64(), Some(sum), "{last}");
    assert_eq!(blocks(&studio.recording("out.wav")), frames_of(samples));
}

#[test]
fn late_joiner_plays_from_where_it_joined_to_the_end() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 3_000, 440.0);
    let sender = studio.start("send a.wav --events -");
    sender.wait_event("on_air");
    sender.wait_event("stats");
    let listener = studio.start("listen --output file:out.wav --once --events -");
    let tuned = listener.wait_event("tuned_in");
    let frame = tuned["frame"].as_u64().unwrap() as usize;
    assert!(frame > 8, "{tuned}");
    sender.finish().exits(0);
    listener.finish().exits(0);
    let sound = studio.recording("out.wav");
    // (a run that starts at another index than 0 is a debug setting)
    assert_eq!(blocks(&sound), frames_of(samples) - frame);
    assert!(strength(&sound, 440.0) > 10_000.0);
}

#[test]
fn formats_of_the_world_are_played_with_their_titles() {
    let formats = ["mp3", "ogg", "flac", "m4a", "opus"];
    let Ok(version) = std::process::Command::new("ffmpeg")
        .arg("-version")
        .output()
    else {
        return cannot("playing mp3, ogg, flac, m4a and opus", "ffmpeg");
    };
    assert!(version.status.success());
    let studio = Studio::new();
    studio.tone("tone.wav", 600, 440.0);
    for (index, format) in formats.iter().enumerate() {
        let mut command = std::process::Command::new("ffmpeg");
        command
            .args(["-v", "error", "-i", "tone.wav", "-metadata"])
            .arg(format!("title=Song {index}"))
            .args(["-metadata", "artist=The \u{1b}[31mTesters"])
            .arg(format!("{index}.{format}"))
            .stdin(Stdio::null())
            .current_dir(&studio.dir);
        let made = command.output().unwrap();
        assert!(
            made.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = studio
        .run("send 0.mp3 1.ogg 2.flac 3.m4a 4.opus")
        .exits(0)
        .says_not(&["\u{1b}"]);
    drop(sender);
    let listener = listener.finish().exits(0).says_not(&["\u{1b}"]);
    let sound = read_wav(&studio.path("out.wav"));
    // Encoders pad: a little more than five times 0.6 s, and a tone all through.
    assert!((150..180).contains(&blocks(&sound)), "{}", blocks(&sound));
    for (index, part) in sound.chunks(30 * 1920).take(5).enumerate() {
        assert!(
            strength(part, 440.0) > 6_000.0,
            "part {index}: {}",
            strength(part, 440.0)
        );
    }
    let events = listener.events();
    let tracks = named(&events, "track");
    for (index, track) in tracks.iter().enumerate() {
        assert_eq!(track["title"], format!("Song {index}"));
        assert!(
            track["artist"].as_str().unwrap().contains("Testers"),
            "{track}"
        );
    }
    assert_eq!(tracks.len(), 5);
}
