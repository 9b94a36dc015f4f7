//! A listener that leads is asked to leave: it hands over like a sender, or says that nobody goes on.

use nix::sys::signal::Signal;

use crate::scene::{HEIRS, LISTENERS, SENDER, Scene};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::wire::{Expected, Trouble};

const SECOND: i64 = 1_000_000_000;

#[test]
fn listener_that_leads_and_is_asked_to_leave_hands_over_to_the_frame() {
    let Some(mut scene) = Scene::start(&Song::of(12)) else {
        return;
    };
    scene.sleep_until_s(3.0);
    let killed_ns = scene.kill(SENDER);
    scene.sleep_until_s(5.0);
    let successor = scene.on_air_now();
    assert!(HEIRS.contains(&successor), "host {successor} leads");
    let asked_ns = now_ns();
    scene.nodes[successor].signal(Signal::SIGTERM);
    scene.nodes[successor].wait_for_code(5, 0);
    scene.end(&[SENDER, successor]);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(asked_ns + SECOND),
        ..scene.expected()
    });
    let handed_over = scene.nodes[successor].events_named("handed_over");
    assert_eq!(handed_over.len(), 1, "{handed_over:?}");
    let said = scene.nodes[successor].stderr();
    assert!(said.contains("lanradio stop"), "how to end it: {said}");
    let staying: Vec<_> = LISTENERS
        .into_iter()
        .filter(|host| *host != successor)
        .collect();
    scene.assert_heard(&staying, &wire);
}

#[test]
fn lone_listener_that_leads_and_is_asked_to_leave_ends_the_programme_and_says_so() {
    let Some(mut scene) = Scene::with(&Song::of(12), &[], &[HEIRS[0], 3], 0) else {
        return;
    };
    let (leader, other) = (1, 2); // places among the nodes; the other one only listens
    scene.sleep_until_s(3.0);
    scene.kill(SENDER);
    scene.nodes[leader].await_event("took_over", 1, 5);
    scene.nodes[leader].signal(Signal::SIGTERM);
    for node in [leader, other] {
        scene.nodes[node].wait_for_code(10, 0);
        let off_air = scene.nodes[node].events_named("off_air");
        assert_eq!(off_air.last().expect("off_air")["reason"], "left");
        assert_eq!(off_air.len(), 1, "{off_air:?}");
    }
}
