//! Two machines, and one of them dies: the listener that is left has nobody to ask, and plays on.

use crate::scene::{HEIRS, SENDER, Scene};
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
