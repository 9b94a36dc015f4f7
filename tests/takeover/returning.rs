//! Those that were taken for dead and are not: a cable that is plugged in again, a process that was stopped, two halves of
//! a network.

use nix::sys::signal::Signal;

use crate::scene::{LISTENERS, SENDER, Scene, sleep_until};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::wire::{Expected, Trouble};

const SECOND: i64 = 1_000_000_000;

/// The sender stepped down after `after_ns`, and says why.
fn assert_stepped_down(scene: &Scene, after_ns: i64) {
    let events = scene.events_after(SENDER, "stepped_down", after_ns);
    let (at_ns, event) = events.first().expect("a stepped_down");
    let after_ms = (at_ns - after_ns) as f64 / 1e6;
    println!(
        "the sender stepped down after {after_ms:.0} ms: {}",
        event["reason"]
    );
    assert!(event["reason"].is_string(), "{event}");
    assert!(after_ms < 1_000.0, "{after_ms} ms");
}

#[test]
fn sender_whose_cable_is_pulled_is_replaced_and_steps_down_when_it_is_back() {
    let Some(mut scene) = Scene::start(&Song::of(10)) else {
        return;
    };
    scene.sleep_until_s(2.5);
    let pulled_ns = now_ns();
    scene.lan.hosts[SENDER].cut_cable();
    sleep_until(pulled_ns + 3 * SECOND);
    let replaced_by = scene.on_air_now();
    scene.lan.hosts[SENDER].mend_cable();
    let back_ns = now_ns();
    scene.end(&[]);
    let wire = scene.wire();
    let (replaced_ns, _) = wire
        .replaced(pulled_ns, scene.ip_of(SENDER))
        .expect("a sender");
    println!(
        "pulled to first replacement: {:.1} ms",
        (replaced_ns - pulled_ns) as f64 / 1e6
    );
    wire.assert(&Expected {
        // Before the sender knows better it sends the same frames as the new leader.
        troubles: vec![
            Trouble::loss(pulled_ns),
            Trouble::parted(back_ns - SECOND / 5, back_ns),
        ],
        one_sender_from_ns: Some(back_ns + SECOND),
        ..scene.expected()
    });
    let last = wire.frames.last().unwrap().from.ip();
    assert_eq!(last, scene.ip_of(replaced_by), "the one with the listeners");
    scene.assert_heard(&LISTENERS, &wire);
    assert_stepped_down(&scene, back_ns);
}

#[test]
fn sender_that_was_stopped_for_3_s_sends_nothing_old_and_joins() {
    let Some(mut scene) = Scene::start(&Song::of(10)) else {
        return;
    };
    scene.sleep_until_s(2.5);
    let stopped_ns = now_ns();
    scene.nodes[SENDER].signal(Signal::SIGSTOP);
    sleep_until(stopped_ns + 3 * SECOND);
    let resumed_ns = now_ns();
    scene.nodes[SENDER].signal(Signal::SIGCONT);
    scene.end(&[]);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![Trouble::loss(stopped_ns)],
        one_sender_from_ns: Some(stopped_ns + SECOND),
        ..scene.expected()
    });
    let senders = wire.senders(resumed_ns..i64::MAX);
    assert!(
        senders
            .iter()
            .all(|sender| sender.ip() != scene.ip_of(SENDER)),
        "stale frames: {senders:?}"
    );
    scene.assert_heard(&LISTENERS, &wire);
    assert_stepped_down(&scene, resumed_ns);
}

/// Parts the hosts of `side` from the other ones of the five, or joins them again.
pub(crate) fn part(scene: &Scene, side: &[usize], parted: bool) {
    for host in 0..scene.nodes.len() {
        let here = side.contains(&host);
        if !parted {
            scene.lan.hosts[host].join_again();
            continue;
        }
        let others = (0..scene.nodes.len()).filter(|other| side.contains(other) != here);
        scene.lan.hosts[host].part_from(others.map(|other| &scene.lan.hosts[other]));
    }
}

#[test]
fn network_in_two_parts_for_5_s_is_not_heard_and_has_one_sender_afterwards() {
    // With an heir on either side, and with both heirs on the far one.
    let sides: [&[usize]; 2] = [&[0, 1], &[0, 3]];
    let start = |_| Scene::start(&Song::of(12));
    let Some(mut scenes) = sides.iter().map(start).collect::<Option<Vec<_>>>() else {
        return;
    };
    let each = |parted: bool| {
        let change = |(scene, side): (&Scene, &&[usize])| part(scene, side, parted);
        scenes.iter().zip(&sides).for_each(change);
    };
    scenes[1].sleep_until_s(2.0);
    let parted_ns = now_ns();
    each(true);
    sleep_until(parted_ns + 5 * SECOND);
    each(false);
    let healed_ns = now_ns();
    for (scene, side) in scenes.iter_mut().zip(sides) {
        scene.end(&[]);
        let wire = scene.wire();
        wire.assert(&Expected {
            troubles: vec![Trouble::parted(parted_ns, healed_ns)],
            one_sender_from_ns: Some(healed_ns + SECOND),
            ..scene.expected()
        });
        let within = wire.senders(parted_ns + SECOND..healed_ns);
        assert_eq!(within.len(), 2, "a sender in each part: {within:?}");
        let last = wire.frames.last().unwrap();
        let since_ms = |at_ns: i64| (at_ns - healed_ns) as f64 / 1e6;
        let other = wire.last_of_others(last.from.ip()).map_or(0.0, since_ms);
        println!(
            "{side:?} apart: host {} remains, the other's last frame {other:.0} ms after the heal",
            scene.host_of(last.from.ip())
        );
        scene.assert_heard(&LISTENERS, &wire);
    }
}
