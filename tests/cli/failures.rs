//! Does what cannot be done end with exit 1 (or 3), soon, and with a message that names the object and a remedy?

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use crate::sound::{blocks, frames_of, strength, wav};
use crate::support::{Studio, named};

#[test]
fn sources_without_sound_are_named_and_exit_1() {
    let studio = Studio::new();
    fs::create_dir(studio.path("folder")).unwrap();
    fs::write(studio.path("empty.mp3"), b"").unwrap();
    fs::write(studio.path("notes.txt"), "this is not music\n".repeat(100)).unwrap();
    fs::write(studio.path("rate0.wav"), wav(0, &[0; 9600], &[])).unwrap();
    fs::write(studio.path("absurd.wav"), wav(u32::MAX, &[0; 9600], &[])).unwrap();
    fs::write(studio.path("nothing.wav"), wav(48_000, &[], &[])).unwrap();
    for (file, why) in [
        ("missing.wav", "no such file"),
        ("folder", "folder"),
        ("empty.mp3", "empty"),
        ("notes.txt", ""),
        ("rate0.wav", ""),
        ("absurd.wav", ""),
        ("nothing.wav", ""),
    ] {
        let finished = studio.run(&format!("send {file}")).exits(1).says(&[file]);
        // "folder" is the name as well: there, either word will do.
        let stderr = finished.stderr.to_lowercase();
        assert!(
            stderr.contains(why) || (file == "folder" && stderr.contains("directory")),
            "{file}: {stderr}"
        );
        assert!(finished.stdout.is_empty());
    }
}

#[test]
fn an_encoder_that_fails_is_named_what_it_made_is_played_and_the_exit_code_is_1() {
    if !cfg!(debug_assertions) {
        return; // only a debug build can be asked to fail
    }
    for frames in [0, 75] {
        let studio = Studio::new();
        studio.tone("a.wav", 4_000, 440.0);
        let listener = studio.listener("listen --output file:out.wav --once");
        let asked = [("LANRADIO_DEBUG_PANIC_AFTER", &*frames.to_string())];
        let sender = studio.start_with(&asked, "send a.wav");
        // The panic is to be seen, so not `exits`.
        let finished = sender.finish().says(&["the encoder failed"]);
        assert_eq!(finished.code(), Some(1));
        if frames > 0 {
            listener.finish().exits(0);
            assert_eq!(blocks(&studio.recording("out.wav")), frames);
        }
    }
}

#[test]
fn unknown_interface_exits_1_with_the_list() {
    let studio = Studio::new();
    for line in [
        "listen --output null --interface nosuch0",
        "listen --output null --interface 192.0.2.77",
        "sdp --interface nosuch0",
    ] {
        studio
            .run(line)
            .exits(1)
            .says(&[line.split(' ').next_back().unwrap(), "lo"]);
    }
    studio.tone("a.wav", 100, 440.0);
    studio
        .run("send a.wav --interface nosuch0")
        .exits(1)
        .says(&["nosuch0", "lo"]);
}

#[test]
fn loopback_can_be_given_by_address() {
    let studio = Studio::new();
    studio
        .run("listen --output null --timeout 50ms --interface 127.0.0.1")
        .exits(3)
        .says(&["lo"]);
}

#[test]
fn output_that_cannot_be_written_exits_1() {
    let studio = Studio::new();
    fs::create_dir(studio.path("taken.wav")).unwrap();
    studio
        .run("listen --output file:taken.wav --timeout 5s")
        .exits(1)
        .says(&["taken.wav"]);
}

#[test]
fn ipv6_group_on_loopback_exits_1_and_says_that_lo_is_ipv4_only() {
    let studio = Studio::new();
    studio
        .run("listen --output null --timeout 5s --group [ff15::cc52:1]:5004")
        .exits(1)
        .says(&["lo", "IPv4"]);
}

#[test]
fn port_held_by_another_program_exits_1() {
    let studio = Studio::new();
    let _held = UdpSocket::bind(("0.0.0.0", studio.port)).unwrap();
    studio
        .run("listen --output null --timeout 5s")
        .exits(1)
        .says(&[&studio.port.to_string(), "in use"]);
}

#[test]
fn second_sender_says_who_plays_what_and_plays_after_it_without_a_gap() {
    let studio = Studio::new();
    studio.tone("long.wav", 4_000, 440.0);
    studio.tone("other.wav", 2_000, 880.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let first = studio.start("send long.wav --name kitchen --events -");
    first.wait_event("track");
    let second = studio.run("send other.wav --name hall").exits(0);
    second.says(&["kitchen", "long"]);
    first.finish().exits(0);
    let events = listener.finish().exits(0).events();
    let tracks = named(&events, "track");
    let firsts: Vec<_> = tracks
        .iter()
        .map(|track| track["first_frame"].as_u64())
        .collect();
    assert_eq!(firsts, [Some(0), Some(201)], "{tracks:?}");
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    let sound = studio.recording("out.wav");
    assert_eq!(blocks(&sound), 201 + 101);
    let (one, two) = sound.split_at(201 * 1_920);
    assert!(strength(one, 440.0) > 9_000.0 && strength(two, 880.0) > 9_000.0);
}

#[test]
fn nobody_heard_within_the_timeout_exits_3_in_time() {
    let studio = Studio::new();
    let finished = studio
        .run("listen --output null --timeout 300ms")
        .exits(3)
        .says(&[&studio.ip.to_string()]);
    assert!(
        finished.took >= Duration::from_millis(300),
        "{:?}",
        finished.took
    );
    assert!(
        finished.took < Duration::from_secs(3),
        "{:?}",
        finished.took
    );
}

#[test]
fn file_that_no_node_could_hold_is_refused_and_the_others_play() {
    let studio = Studio::new();
    studio.tone("good.wav", 300, 440.0);
    // 75 MB of nothing at 8 kHz, mono, 8 bit: 2.6 hours, which are more than 512 MiB at 510 kbit/s.
    let mut header = crate::sound::wav(8_000, &[], &[]);
    let length = 75_000_000u32;
    for (at, value) in [(22, 1u32 | 8_000 << 16), (28, 8_000), (32, 1 | 8 << 16)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    header[24..28].copy_from_slice(&8_000u32.to_le_bytes());
    header[4..8].copy_from_slice(&(length + 36).to_le_bytes());
    let end = header.len();
    header[end - 4..].copy_from_slice(&length.to_le_bytes());
    std::fs::write(studio.path("long.wav"), &header).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(studio.path("long.wav"))
        .unwrap();
    file.set_len(end as u64 + u64::from(length)).unwrap();
    let listener = studio.listener("listen --output file:out.wav --once");
    studio
        .run("send --bitrate 510 long.wav good.wav")
        .exits(1)
        .says(&["long.wav", "512 MiB", "--bitrate"]);
    listener.finish().exits(0);
    assert_eq!(blocks(&studio.recording("out.wav")), frames_of(300 * 48));
}
