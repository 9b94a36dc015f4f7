//! Does a full disk cost one error and exit 1 at the end, and not the programme?

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use crate::sound::blocks;
use crate::support::{Studio, cannot, named};

/// A disk of 256 KiB at `small` in the studio, gone when dropped; None where one may not mount.
struct SmallDisk<'a>(&'a Studio);

impl SmallDisk<'_> {
    fn at(studio: &Studio) -> Option<SmallDisk<'_>> {
        let path = studio.path("small");
        fs::create_dir(&path).unwrap();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            flags,
            Some("size=256k"),
        )
        .ok()
        .map(|()| SmallDisk(studio))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = umount2(&self.0.path("small"), MntFlags::MNT_DETACH);
    }
}

#[test]
fn full_disk_is_one_error_and_the_listener_goes_on_to_the_end() {
    let studio = Studio::new();
    let Some(_disk) = SmallDisk::at(&studio) else {
        return cannot("the full disk", "root (to mount a small tmpfs)");
    };
    // 4 s are 768 kB: full after a third of it.
    studio.tone("a.wav", 4_000, 440.0);
    let listener = studio.listener("listen --output file:small/out.wav --once --events -");
    studio.run("send a.wav").exits(0);
    let finished = listener.finish().exits(1).says(&["small/out.wav", "space"]);
    let errors = finished.stderr.to_lowercase().matches("no space").count();
    assert_eq!(
        errors, 1,
        "one error, not one per block:\n{}",
        finished.stderr
    );

    let events = finished.events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    let last: Value = named(&events, "stats").pop().unwrap();
    let played = last["received"].as_u64().unwrap() + last["concealed"].as_u64().unwrap();
    assert_eq!(played, 201, "the frames after the error were played, too");
    let kept = blocks(&studio.recording("small/out.wav"));
    assert!(
        (50..=68).contains(&kept),
        "what fits is kept, whole: {kept} blocks"
    );
}

#[test]
fn a_full_wav_file_goes_on_in_the_next_part_without_losing_a_sample() {
    if cfg!(not(debug_assertions)) {
        return cannot("small WAV parts", "a debug build");
    }
    let studio = Studio::new();
    studio.tone("a.wav", 3_000, 440.0);
    // 50 blocks of 3,840 bytes after a header of 44.
    let small = [("LANRADIO_DEBUG_WAV_BYTES", "192044")];
    let parts = studio.start_with(&small, "listen --output file:out.wav --once");
    parts.wait_stderr("lo");
    let whole = studio.listener("listen --output file:whole.wav --once");
    studio.run("send a.wav").exits(0);
    parts.finish().exits(0);
    whole.finish().exits(0);

    let names = ["out.wav", "out-2.wav", "out-3.wav", "out-4.wav"];
    let recordings = names.map(|name| studio.recording(name));
    assert_eq!(
        recordings.each_ref().map(|part| blocks(part)),
        [50, 50, 50, 1]
    );
    assert_eq!(recordings.concat(), studio.recording("whole.wav"));
    assert!(!studio.has("out-5.wav"));
}
