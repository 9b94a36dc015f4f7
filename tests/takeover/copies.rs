//! The leader dies soon after its start: how much of the song had been copied to others by then, and is all of it heard?

use serde_json::Value;

use crate::process::{Node, wait_until};
use crate::reference;
use crate::scene::{HEIRS, LISTENERS, SENDER, SPARE, Scene, sleep_until};
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::times;
use crate::wire::{Expected, Trouble, Wire};

const SECOND: i64 = 1_000_000_000;
/// After the last frame a listener may conceal for so long before it knows that no more will come.
const AFTERMATH_BLOCKS: usize = 10;

/// The newest word of `host` on its copy.
fn copy_at(scene: &Scene, host: usize) -> Value {
    let events = scene.nodes[host].events_named("replica");
    let last = events.last().cloned();
    last.unwrap_or_else(|| panic!("no replica event at host {host}"))
}

/// Kills the leader when it has been on the air for `seconds`; says when.
fn kill_after(scene: &mut Scene, seconds: f64) -> i64 {
    // The leader's start: what it does before, it does as a listener to who else may be there.
    let event = scene.nodes[SENDER].await_event("on_air", 1, 10);
    let started_ns = scene.event_ns(SENDER, &event);
    sleep_until(started_ns + (seconds * 1e9) as i64);
    scene.kill(SENDER)
}

/// What was heard of a song whose leader died early: all that was copied.
fn assert_survived(scene: &Scene, killed_ns: i64) -> Wire {
    let wire = scene.wire();
    wire.assert(&Expected {
        may_end_early: true,
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    });
    let total = scene.song.payloads.len();
    for heir in HEIRS {
        let copy = copy_at(scene, heir);
        println!("host {heir}: {copy}");
        let (held, all) = (copy["held"].as_u64(), copy["total"].as_u64());
        let (held, _) = held.zip(all).expect("held and total");
        assert!(wire.len() as u64 >= held, "{} of {held} held", wire.len());
    }
    let blocks = wire.blocks();
    for host in LISTENERS {
        let heard = scene.heard(host);
        let extra = heard.len().checked_sub(blocks.len()).expect("all of it");
        let name = format!("host {host}");
        reference::assert_same(&heard[..blocks.len()], &blocks, &name);
        let whole = wire.len() == total;
        let (reason, aftermath) = if whole {
            ("ended", 0)
        } else {
            ("source_lost", AFTERMATH_BLOCKS)
        };
        assert!(extra <= aftermath, "{name}: {extra} blocks more");
        assert_eq!(scene.off_air(host), reason, "{name}");
    }
    wire
}

#[test]
fn leader_killed_in_its_first_second_leaves_5_s_after_half_and_30_s_after_one() {
    let song = Song::of(30);
    let start = |seconds: f64| {
        let mut scene = Scene::start(&song)?;
        let killed_ns = kill_after(&mut scene, seconds);
        Some((scene, seconds, killed_ns))
    };
    let Some(scenes) = [0.5, 1.0]
        .map(start)
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    for (mut scene, seconds, killed_ns) in scenes {
        scene.end(&[SENDER]);
        let sent = assert_survived(&scene, killed_ns).len();
        println!(
            "killed after {seconds} s: {:.1} s of 30 heard",
            sent as f64 / 50.0
        );
        let least = if seconds < 1.0 {
            250
        } else {
            song.payloads.len()
        };
        let said = format!("{sent} frames, not {least}");
        let began_ns = killed_ns - (seconds * 1e9) as i64;
        assert!(
            sent >= least || stalls::excuse(&said, began_ns, killed_ns),
            "{said}"
        );
    }
}

#[test]
fn in_three_seconds_three_minutes_are_copied() {
    // Alone: a machine that encodes for other tests, too, is not so fast.
    let Some(mut scene) = Scene::alone(&Song::of(180)) else {
        return;
    };
    let killed_ns = kill_after(&mut scene, 3.0);
    let complete = |heir: usize| {
        let copies = scene.nodes[heir].events_named("replica").into_iter();
        let mut whole = copies.filter(|copy| copy["complete"] == true);
        whole.any(|copy| scene.event_ns(heir, &copy) <= killed_ns)
    };
    let complete = HEIRS.map(complete);
    println!("complete at the kill: {complete:?}");
    assert!(
        complete.contains(&true)
            || stalls::excuse("no whole copy", killed_ns - 3 * SECOND, killed_ns),
        "no heir has a whole copy"
    );
    if times(0, 1) == 1 {
        scene.nodes[HEIRS[0]].wait_for_code(240, 0);
        scene.end(&[SENDER]);
        let wire = assert_survived(&scene, killed_ns);
        assert_eq!(wire.len(), scene.song.payloads.len());
        return;
    }
    sleep_until(killed_ns + 4 * SECOND);
    scene.wire().assert(&Expected {
        may_end_early: true,
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    });
}

/// Whether a node has all of the song.
fn has_all(node: &Node) -> bool {
    let copies = node.events_named("replica");
    copies.iter().any(|copy| copy["complete"] == true)
}

#[test]
fn late_standby_copies_three_minutes_from_others_when_the_sender_is_cut_off() {
    let Some(mut scene) = Scene::with(&Song::of(180), &[], &LISTENERS, 1) else {
        return;
    };
    scene.sleep_until_s(2.0);
    // What nobody has copied by now nobody can copy: a slow machine takes longer to encode the song.
    wait_until(10, "a whole copy", || {
        HEIRS.iter().any(|heir| has_all(&scene.nodes[*heir]))
    });
    scene.lan.hosts[SENDER].cut_cable();
    let cut_ns = now_ns();
    println!(
        "cut off {:.1} s after the first frame",
        (cut_ns - scene.at_s(0.0)) as f64 / 1e9
    );
    sleep_until(cut_ns + SECOND);
    let late = scene.lan.listen(SPARE, "late", &[]);
    wait_until(20, "whole copies", || {
        has_all(&late) && HEIRS.iter().all(|heir| has_all(&scene.nodes[*heir]))
    });
    println!(
        "all have it {:.1} s after the cut",
        (now_ns() - cut_ns) as f64 / 1e9
    );
    let copies = late.events_named("replica");
    let held = copies.last().unwrap()["held"].as_u64();
    assert_eq!(held, Some(scene.song.payloads.len() as u64));
    // The new leader goes as well: the late one may be the next.
    let leader = scene.on_air_now();
    assert_ne!(leader, SENDER);
    let killed_ns = scene.kill(leader);
    sleep_until(killed_ns + 3 * SECOND);
    let mut stop = scene.lan.start(SPARE, "stop", &["stop"]);
    stop.wait_for_code(5, 0);
    for host in LISTENERS.into_iter().filter(|host| *host != leader) {
        scene.nodes[host].wait_for_code(5, 0);
    }
    let wire = scene.wire();
    wire.assert(&Expected {
        may_end_early: true,
        troubles: vec![Trouble::loss(cut_ns), Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    });
}
