//! Two machines, and one of them dies: the listener that is left has nobody to ask, and plays on.

use serde_json::Value;

use crate::scene::{HEIRS, PLAIN, SENDER, Scene};
use crate::song::Song;
use crate::wire::{Expected, Trouble};

#[test]
fn last_listener_goes_on_alone_to_the_end_of_the_song() {
    let listener = HEIRS[0];
    let Some(mut scene) = Scene::with(&Song::of(10), &[], &[listener], 0) else {
        return;
    };
    scene.sleep_until_s(3.0);
    let killed_ns = scene.kill(SENDER);
    let solo = scene.nodes[listener].await_event("solo", 1, 5);
    let after_ms = (scene.event_ns(listener, &solo) - killed_ns) as f64 / 1e6;
    println!("alone after {after_ms:.0} ms: {solo}");
    scene.end(&[SENDER]);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + 1_000_000_000),
        ..scene.expected()
    });
    let (_, first) = wire
        .replaced(killed_ns, scene.ip_of(SENDER))
        .expect("frames");
    let frame = solo["frame"].as_i64().expect("a frame");
    assert!(
        (first..first + 100).contains(&frame),
        "{solo} after {first}"
    );
    assert_eq!(scene.off_air(listener), "ended");
    scene.assert_heard(&[listener], &wire);
}

/// The listener that is left is a station like any other: it can be asked, joined, heard late, and stopped.
#[test]
fn lone_survivor_answers_takes_more_and_is_stopped() {
    let listener = HEIRS[0];
    let Some(mut scene) = Scene::with(&Song::of(12), &[], &[listener], 0) else {
        return;
    };
    scene.sleep_until_s(3.0);
    scene.kill(SENDER);
    scene.nodes[listener].await_event("solo", 1, 5);
    let mut asks = scene.lan.start(PLAIN[0], "asks", &["status", "--json"]);
    asks.wait_for_code(5, 0);
    let status: Value = serde_json::from_slice(&asks.stdout()).unwrap();
    assert_eq!(status["playing"]["title"], "song", "{status}");
    let took_over = scene.nodes[listener].await_event("took_over", 1, 5);
    assert_eq!(status["term"], took_over["term"], "{status}");
    // The killed sender is started again, and somebody comes late.
    let path = scene.lan.path("song.wav");
    let mut again = scene.lan.start(SENDER, "again", &["send", &path]);
    let mut late = scene.lan.listen(HEIRS[1], "late", &["--once"]);
    again.await_event("leader", 1, 5);
    for name in ["on_air", "tuned_in", "track"] {
        late.await_event(name, 1, 5);
    }
    let safe = again.await_event("safe", 1, 10);
    println!("{safe}");
    let mut stops = scene.lan.start(HEIRS[1], "stops", &["stop"]);
    stops.wait_for_code(5, 0);
    for node in [&mut scene.nodes[listener], &mut late] {
        node.wait_for_code(10, 0);
        let off_air = node.events_named("off_air");
        assert_eq!(off_air.last().unwrap()["reason"], "stopped", "{off_air:?}");
    }
    again.wait_for_code(10, 0);
}
