//! What is sent to a station that is on air is played, whoever dies, as soon as it is said to be safe.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{LISTENERS, SENDER, SPARE, Scene};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::wire::{Expected, Trouble};

const SECOND: i64 = 1_000_000_000;

#[test]
fn song_that_is_safe_outlives_who_appended_it_and_the_leader() {
    let Some(mut scene) = Scene::with(&Song::of(9), &[], &LISTENERS, 1) else {
        return;
    };
    scene.sleep_until_s(2.0);
    let other = Song::other(5);
    let path = other.save(&scene.lan, "other");
    let asked_ns = now_ns();
    let mut another = scene.lan.start(SPARE, "another", &["send", &path]);
    let safe = another.await_event("safe", 1, 10);
    another.signal(Signal::SIGKILL);
    println!(
        "{:.0} ms after its start: {safe}",
        (now_ns() - asked_ns) as f64 / 1e6
    );
    another.wait(5);
    if safe["nodes"] == 1 {
        // That may be the leader, who is to die, too.
        std::thread::sleep(Duration::from_secs(1));
    }
    let killed_ns = scene.kill(SENDER);
    scene.end(&[SENDER]);
    let wire = scene.wire();
    let mut expected = Expected {
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    };
    expected
        .payloads
        .extend(other.payloads.iter().map(Vec::as_slice));
    wire.assert(&expected);
    scene.assert_heard(&LISTENERS, &wire);
    for host in LISTENERS {
        assert_eq!(scene.off_air(host), "ended", "host {host}");
    }
    let said = another.stderr();
    println!("send says: {said}");
    let leader = format!(" ({}:", scene.ip_of(SENDER));
    for text in ["led by ", &leader, "playing \"song\"", "other: safe on "] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let said = scene.nodes[SENDER].stderr();
    assert!(said.contains("song: safe on "), "{said}");
}
