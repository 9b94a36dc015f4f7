//! Does an error say what was done to what, and what to do about it, once and to the right address?

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Output, Stdio};

use crate::sound::{blocks, frames_of};
use crate::support::Studio;

/// Runs to the end with standard output on a full disk.
fn onto_full_disk(studio: &Studio, line: &str) -> Output {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = studio.command(line.split_whitespace());
    command.stdout(full).output().unwrap()
}

#[test]
fn session_description_on_a_full_disk_is_a_failure() {
    let studio = Studio::new();
    let output = onto_full_disk(&studio, "sdp");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("writing to standard output"), "{said}");
}

#[test]
fn sound_on_a_full_disk_is_one_error() {
    let studio = Studio::new();
    studio.tone("a.wav", 3_000, 440.0);
    let sender = studio.start("send a.wav");
    let output = onto_full_disk(&studio, "listen --output - --once --events log.jsonl");
    sender.finish().exits(0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("writing sound to stdout").count(), 1, "{said}");
    let events = fs::read_to_string(studio.path("log.jsonl")).unwrap();
    assert_eq!(events.matches("\"warning\"").count(), 1, "{events}");
}

#[test]
fn missing_folder_is_refused_before_joining() {
    let studio = Studio::new();
    studio
        .run("listen --output file:nowhere/out.wav")
        .exits(1)
        .says(&["nowhere", "create it first"])
        .says_not(&["group"]);
}

#[test]
fn wrong_interface_leaves_an_existing_recording_alone() {
    let studio = Studio::new();
    fs::write(studio.path("kept.wav"), b"an evening").unwrap();
    studio
        .run("listen --interface nope0 --output file:kept.wav")
        .exits(1);
    assert_eq!(fs::read(studio.path("kept.wav")).unwrap(), b"an evening");
}

#[test]
fn paths_need_not_be_utf_8() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 500, 440.0);
    let mut command = studio.command(["listen", "--once", "--output"]);
    command.arg(OsStr::from_bytes(b"file:\xfe.wav"));
    command
        .arg("--events")
        .arg(OsStr::from_bytes(b"\xff.jsonl"));
    let listener = crate::support::Process::spawn(command);
    listener.wait_stderr("group");
    studio.run("send a.wav").exits(0);
    listener.finish().exits(0);
    let path = |name: &[u8]| studio.dir.join(OsStr::from_bytes(name));
    assert_eq!(
        blocks(&crate::sound::read_wav(&path(b"\xfe.wav"))),
        frames_of(samples)
    );
    let events = fs::read_to_string(path(b"\xff.jsonl")).unwrap();
    assert!(events.contains("tuned_in"));
}

#[test]
fn usage_errors_are_those_of_their_command() {
    let studio = Studio::new();
    for (line, usage) in [
        ("listen --output - --events -", "lanradio listen"),
        ("send - -", "lanradio send"),
        ("listen --output null -q -v", "lanradio listen"),
    ] {
        studio
            .run(line)
            .exits(2)
            .says(&[&format!("Usage: {usage}")]);
    }
}

#[test]
fn variable_to_blame_is_named_and_an_empty_one_counts_as_unset() {
    let studio = Studio::new();
    let listen = "listen --output null --timeout 50ms";
    studio
        .start_with(&[("LANRADIO_VOLUME", "999")], listen)
        .finish()
        .exits(2)
        .says(&["LANRADIO_VOLUME", "999"]);
    studio
        .start_with(
            &[("LANRADIO_VOLUME", "999")],
            &format!("{listen} --volume 998"),
        )
        .finish()
        .exits(2)
        .says_not(&["LANRADIO_VOLUME"]);
    let empty = ["VOLUME", "EVENTS", "BUFFER", "ONCE", "TTL", "COLOR"]
        .map(|name| format!("LANRADIO_{name}"));
    let empty: Vec<_> = empty.iter().map(|name| (name.as_str(), "")).collect();
    studio.start_with(&empty, listen).finish().exits(3);
}

#[test]
fn timeouts_pipes_and_logs_have_remedies() {
    let studio = Studio::new();
    studio
        .run("listen --output null --timeout 50ms")
        .exits(3)
        .says(&["50ms", "--group", "--interface"]);
    studio
        .run("listen --output null --events nowhere/log")
        .exits(1)
        .says(&["nowhere", "create it first"]);
    nix::unistd::mkfifo(&studio.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    studio
        .run("listen --output null --events fifo")
        .exits(1)
        .says(&["fifo", "start its reader first"]);
    let mut command = studio.command(["send", "-"]);
    command.stdin(Stdio::null());
    crate::support::Process::spawn(command)
        .finish()
        .exits(1)
        .says(&["nothing came through the pipe"])
        .says_not(&["download"]);
}
