//! With a quorum: three of five have to agree, so at most one side of a cut network plays.

use nix::sys::signal::Signal;

use crate::returning::part;
use crate::scene::{HEIRS, LISTENERS, SENDER, Scene, random_between, sleep_until};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::wire::{Expected, Trouble};

const SECOND: i64 = 1_000_000_000;
const QUORUM: [&str; 2] = ["--quorum", "3"];

#[test]
fn smaller_part_with_the_sender_falls_silent_and_the_other_goes_on() {
    // The sender with a listener that only listens; both heirs are in the larger part.
    const SMALLER: [usize; 2] = [SENDER, 3];
    const LARGER: [usize; 3] = [1, 2, 4];
    let Some(mut scene) = Scene::with(&Song::of(12), &QUORUM, &LISTENERS, 0) else {
        return;
    };
    scene.sleep_until_s(3.0);
    let parted_ns = now_ns();
    part(&scene, &SMALLER, true);
    sleep_until(parted_ns + 4 * SECOND);
    let healed_ns = now_ns();
    part(&scene, &SMALLER, false);
    scene.end(&[]);
    let wire = scene.wire();
    wire.assert(&Expected {
        // Until the lease is over both sides send the same.
        troubles: vec![Trouble {
            from_ns: parted_ns - SECOND / 10,
            to_ns: parted_ns + SECOND,
            repeats: usize::MAX,
        }],
        one_sender_from_ns: Some(parted_ns + SECOND),
        ..scene.expected()
    });
    let last = scene.host_of(wire.frames.last().unwrap().from.ip());
    assert!(HEIRS.contains(&last), "host {last} leads");
    scene.assert_heard(&LARGER, &wire);
    let (at_ns, event) = scene.events_after(SENDER, "stepped_down", parted_ns)[0].clone();
    let after_ms = (at_ns - parted_ns) as f64 / 1e6;
    println!("the sender stepped down after {after_ms:.0} ms: {event}");
    assert!(
        event["reason"].as_str().unwrap().contains("quorum"),
        "{event}"
    );
    // Who was cut off heard nothing for the rest of the time, and is with the others again.
    assert!(scene.nodes[SMALLER[1]].last_stat("concealed") > 100);
    let leaders = scene.events_after(SMALLER[1], "leader", healed_ns);
    assert!(!leaders.is_empty(), "host {} follows nobody", SMALLER[1]);
}

#[test]
fn with_a_quorum_a_killed_sender_is_not_heard_either() {
    let Some(mut scene) = Scene::with(&Song::of(10), &QUORUM, &LISTENERS, 0) else {
        return;
    };
    scene.sleep_until_s(random_between(3.0, 3.1));
    let killed_ns = scene.kill(SENDER);
    scene.end(&[SENDER]);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    });
    scene.assert_heard(&LISTENERS, &wire);
}

#[test]
fn with_a_quorum_a_sender_hands_over_without_a_late_or_repeated_frame() {
    let Some(mut scene) = Scene::with(&Song::of(10), &QUORUM, &LISTENERS, 0) else {
        return;
    };
    scene.sleep_until_s(3.5);
    scene.nodes[SENDER].signal(Signal::SIGINT);
    scene.end(&[]);
    let wire = scene.wire();
    wire.assert(&scene.expected());
    scene.assert_heard(&LISTENERS, &wire);
    let handed = scene.nodes[SENDER].events_named("handed_over");
    assert_eq!(handed.len(), 1, "{handed:?}");
}

#[test]
fn with_a_quorum_a_sender_that_stood_still_says_nothing_more_when_its_lease_is_over() {
    let Some(mut scene) = Scene::with(&Song::of(10), &QUORUM, &LISTENERS, 0) else {
        return;
    };
    scene.sleep_until_s(random_between(3.0, 3.1));
    let stopped_ns = now_ns();
    scene.nodes[SENDER].signal(Signal::SIGSTOP);
    // Longer than the lease (250 ms), and than the others need to elect another one.
    sleep_until(stopped_ns + SECOND);
    let resumed_ns = now_ns();
    scene.nodes[SENDER].signal(Signal::SIGCONT);
    scene.end(&[]);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![
            Trouble::loss(stopped_ns),
            // It may have been about to send one (PROTOCOL, S8).
            Trouble {
                from_ns: resumed_ns,
                to_ns: resumed_ns + SECOND / 10,
                repeats: 1,
            },
        ],
        ..scene.expected()
    });
    let sender = scene.ip_of(SENDER);
    let stale = (wire.frames.iter()).filter(|frame| frame.at_ns >= resumed_ns);
    let stale = stale.filter(|frame| frame.from.ip() == sender).count();
    assert!(stale <= 1, "{stale} frames of a term that is over");
    scene.assert_heard(&LISTENERS, &wire);
    assert!(
        !scene
            .events_after(SENDER, "stepped_down", resumed_ns)
            .is_empty()
    );
}
